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

from vaesurface.energy import VAEParams
from vaesurface.theory.affine import centered, global_minimum

__all__ = ["ULPS", "Ray", "ray_slope", "unbounded_ray"]

# of the largest number of a feature (or alpha): errors of a reconstruction below that are rounding
ULPS = 16


class Ray(NamedTuple):
    """Decoders and posteriors along which the energy falls without bound as gamma -> 0; gamma must
    be learned.

    exists: whether one was found. slope: of the energy in log gamma as gamma -> 0. weight (d, k),
    zero in columns that are not needed; bias (d,); mean (n, k). All but exists are NaN where none
    was found.
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
            self.weight,
            self.bias,
            jnp.log(gamma),
            self.mean,
            jnp.broadcast_to(log_std[None], self.mean.shape),
        )


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
    gamma is d - beta q, and the ray exists for beta q < d. Of five biases (the data's mean,
    midrange, zero, minimum and maximum, all per feature) the one that needs the fewest columns is
    taken, and its reconstruction compared with the data: each feature must agree to 16 units in the
    last place of its largest number plus alpha, so what is found is true to rounding
    (`proof.certify_unbounded` knows no rounding). At alpha > 0 "not found" proves nothing: another
    bias may do, or other values of M than 0 where x = b. At alpha = 0 the mean is the best of all
    biases, and there is no ray where `global_minimum` is finite (lowest: its value, if known
    already). X (n, d), alpha and beta may be traced. Jitted.
    """
    X = jnp.asarray(X, float)
    alpha = jnp.asarray(alpha, X.dtype)
    n, d = X.shape
    center, low, high = centered(X)[0], X.min(axis=0), X.max(axis=0)
    biases = jnp.stack([center, 0.5 * (low + high), jnp.zeros_like(low), low, high])
    rounding = ULPS * jnp.finfo(X.dtype).eps * jnp.max(jnp.abs(X), axis=0)
    tolerance = rounding + ULPS * jnp.finfo(X.dtype).eps * alpha

    def exact(bias: Array, u: Array) -> Array:
        y = jnp.sign(u) * jnp.maximum(jnp.abs(u) - alpha, 0.0)
        return jnp.all(jnp.abs(y + bias[None] - X) <= tolerance[None])

    def factor(bias: Array) -> tuple[Array, Array, Array]:
        """Columns (k, n), rows (k, d) and how many are needed, by Gram-Schmidt on the feature that
        is reproduced worst.
        """
        deviation = jnp.where(jnp.abs(X - bias[None]) > rounding[None], X - bias[None], 0.0)
        M = deviation + alpha * jnp.sign(deviation)

        def peel(rest: Array, _: None) -> tuple[Array, tuple[Array, Array, Array]]:
            square = jnp.sum(rest**2, axis=0)
            worst = jnp.argmax(jnp.sqrt(square) / jnp.where(tolerance > 0, tolerance, 1.0))
            column = rest[:, worst] / jnp.where(square[worst] > 0, jnp.sqrt(square[worst]), 1.0)
            row = column @ rest
            rest = rest - column[:, None] * row[None]
            again = (
                column @ rest
            )  # twice, and nothing along the column is left but the rounding of what is left
            rest = rest - column[:, None] * again[None]
            return rest, (column, row + again, exact(bias, M - rest))

        columns, rows, enough = jax.lax.scan(peel, M, length=latent)[1]
        return columns, rows, jnp.where(jnp.any(enough), jnp.argmax(enough) + 1, latent + 1)

    ranks = jax.lax.map(lambda bias: factor(bias)[2], biases)
    bias = biases[jnp.argmin(ranks)]
    columns, rows, rank = factor(bias)
    used = (jnp.arange(latent) < rank)[:, None]
    weight = jnp.where(used, rows, 0.0).T / jnp.sqrt(1.0 * n)
    mean = jnp.where(used, columns, 0.0).T * jnp.sqrt(1.0 * n)
    slope = d - jnp.asarray(beta, X.dtype) * rank
    exists = (rank <= latent) & (slope > 0) & exact(bias, mean @ weight.T)
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
