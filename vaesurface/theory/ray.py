"""Along which decoders and posteriors does the energy fall without bound?

X is (n, d); energies in the paper's units, mean per datum.

>>> from vaesurface import data
>>> ray = unbounded_ray(data.antipodal(d=2), 1, 0.1)
>>> bool(ray.exists), float(ray.slope)
(True, 1.0)
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface.energy import VAEParams, threshold
from vaesurface.theory.affine import centered, global_minimum

__all__ = ["Ray", "ray_slope", "unbounded_ray"]

# Errors of a reconstruction are rounding up to so many units in the last place of a feature's
# largest number plus alpha.
EXACT_ULPS = 16


class Ray(NamedTuple):
    """Decoders and posteriors along which the energy falls without bound as gamma -> 0; gamma must
    be learned. All but `exists` are NaN where none was found.

    exists: (), whether one was found.
    slope: (), of the energy in log gamma as gamma -> 0.
    weight: (d, k), zero in columns that are not needed.
    bias: (d,).
    mean: (n, k).
    """

    exists: Array
    slope: Array
    weight: Array
    bias: Array
    mean: Array

    def at(self, gamma: ArrayLike) -> VAEParams:
        """The ray's point at a decoder variance: posterior variances gamma / (gamma + |w_j|^2), so
        the prior where w_j = 0.
        """
        gamma = jnp.asarray(gamma, self.weight.dtype)
        log_std = -0.5 * jnp.log1p(jnp.sum(self.weight**2, axis=0) / gamma)
        return VAEParams(
            weight=self.weight,
            bias=self.bias,
            log_gamma=jnp.log(gamma),
            mean=self.mean,
            log_std=jnp.broadcast_to(log_std[None], self.mean.shape),
        )


class _Target(NamedTuple):
    """What is to be reproduced, and how well.

    X: (n, d), the data.
    alpha: (), the threshold.
    rounding: (d,), deviations below it are zero.
    tolerance: (d,), errors up to it are none.
    """

    X: Array
    alpha: Array
    rounding: Array
    tolerance: Array


class _Factors(NamedTuple):
    """M = columns.T @ rows for as many as are needed.

    columns: (k, n), orthonormal.
    rows: (k, d).
    rank: (), how many of them are needed; k + 1 where k are not enough.
    """

    columns: Array
    rows: Array
    rank: Array


@partial(jax.jit, static_argnums=1)
def unbounded_ray(
    X: ArrayLike,
    latent: int,
    alpha: ArrayLike,
    beta: ArrayLike = 1.0,
    lowest: ArrayLike | None = None,
) -> Ray:
    """A ray along which the energy tends to minus infinity as gamma -> 0, gamma learned, where one
    is found.

    If W mu_i = M_i = x_i - b + alpha sign(x_i - b) for all i, the decoder reproduces the data
    through the threshold. With q columns of W and sigma^2 proportional to gamma, the error is
    proportional to gamma too and the posteriors cost -beta q log gamma: the energy's slope in log
    gamma is d - beta q, and the ray exists for beta q < d. Of several biases (`_biases`) the one
    that needs the fewest columns is taken, and its reconstruction compared with the data: each
    feature must agree to 16 units in the last place of its largest number plus alpha, so what is
    found is true to rounding (`proof.certify_unbounded` knows no rounding). At alpha > 0 "not
    found" proves nothing: another bias may do, or other values of M than 0 where x = b. At alpha =
    0 the mean is the best of all biases, and there is no ray where `global_minimum` is finite
    (lowest: its value, if it has been computed). X (n, d), alpha and beta may be traced. Jitted.
    """
    X = jnp.asarray(X, float)
    alpha = jnp.asarray(alpha, X.dtype)
    n, d = X.shape
    unit = EXACT_ULPS * jnp.finfo(X.dtype).eps
    rounding = unit * jnp.max(jnp.abs(X), axis=0)
    target = _Target(X=X, alpha=alpha, rounding=rounding, tolerance=rounding + unit * alpha)

    biases = _biases(X)
    ranks = jax.lax.map(lambda bias: _factors(target, bias, latent).rank, biases)
    bias = biases[jnp.argmin(ranks)]
    factors = _factors(target, bias, latent)
    used = (jnp.arange(latent) < factors.rank)[:, None]
    weight = jnp.where(used, factors.rows, 0.0).T / jnp.sqrt(1.0 * n)
    mean = jnp.where(used, factors.columns, 0.0).T * jnp.sqrt(1.0 * n)
    slope = d - jnp.asarray(beta, X.dtype) * factors.rank
    exists = (factors.rank <= latent) & (slope > 0) & _reproduced(target, bias, mean @ weight.T)
    if lowest is None:
        lowest = jax.lax.cond(
            exists & (alpha == 0), lambda: global_minimum(X, latent, None, beta), lambda: -jnp.inf
        )
    exists &= (alpha > 0) | (jnp.asarray(lowest) == -jnp.inf)
    return Ray(exists, *(jnp.where(exists, x, jnp.nan) for x in (slope, weight, bias, mean)))


def ray_slope(loss: Callable[[VAEParams], Array], ray: Ray, gammas: ArrayLike) -> Array:
    """Slopes (m - 1,) in log gamma of the energies measured at points (m,) of a ray: they tend to
    `ray.slope`.
    """
    gammas = jnp.asarray(gammas, ray.slope.dtype)
    energies = jax.lax.map(loss, jax.vmap(ray.at)(gammas))
    return jnp.diff(energies) / jnp.diff(jnp.log(gammas))


def _biases(X: Array) -> Array:
    """Biases (5, d) to try: of every feature the mean, midrange, zero, minimum and maximum."""
    low, high = X.min(axis=0), X.max(axis=0)
    return jnp.stack([centered(X)[0], 0.5 * (low + high), jnp.zeros_like(low), low, high])


def _reproduced(target: _Target, bias: Array, u: Array) -> Array:
    """Whether pi(u) + b is the data, to rounding; u (n, d)."""
    error = jnp.abs(threshold(u, target.alpha) + bias[None] - target.X)
    return jnp.all(error <= target.tolerance[None])


def _factors(target: _Target, bias: Array, latent: int) -> _Factors:
    """M = X - b + alpha sign(X - b) by Gram-Schmidt on the features that are reproduced worst."""
    deviation = target.X - bias[None]
    deviation = jnp.where(jnp.abs(deviation) > target.rounding[None], deviation, 0.0)
    M = deviation + target.alpha * jnp.sign(deviation)
    unit = jnp.where(target.tolerance > 0, target.tolerance, 1.0)

    def peel(rest: Array, _: None) -> tuple[Array, tuple[Array, Array, Array]]:
        rest, column, row = _without_worst(rest, unit)
        return rest, (column, row, _reproduced(target, bias, M - rest))

    columns, rows, enough = jax.lax.scan(peel, M, length=latent)[1]
    rank = jnp.where(jnp.any(enough), jnp.argmax(enough) + 1, latent + 1)
    return _Factors(columns=columns, rows=rows, rank=rank)


def _without_worst(rest: Array, unit: Array) -> tuple[Array, Array, Array]:
    """rest (n, d) without its part along c, c and that part's row: rest - c c' rest, c, c' rest.

    c (n,) is the unit vector along the feature that is longest in its unit (d,).
    """
    square = jnp.sum(rest**2, axis=0)
    worst = jnp.argmax(jnp.sqrt(square) / unit)
    column = rest[:, worst] / jnp.where(square[worst] > 0, jnp.sqrt(square[worst]), 1.0)
    row = column @ rest
    rest = rest - column[:, None] * row[None]
    # Twice, and nothing along the column is left but the rounding of what is left.
    again = column @ rest
    return rest - column[:, None] * again[None], column, row + again
