"""Along which decoders and posteriors does the energy fall without bound?

X is (n, d); energies in the paper's units, mean per datum.

>>> from vaesurface import data
>>> ray = unbounded_ray(data.antipodal(d=2), 1, 0.1)
>>> bool(ray.exists), float(ray.slope)
(True, 1.0)
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data
from vaesurface.energy import VAEParams
from vaesurface.glance import brief
from vaesurface.refusal import shown, whole
from vaesurface.theory import doors
from vaesurface.theory.affine import global_minimum
from vaesurface.theory.pairs import PAIR_BITS, Pair, added, less_product
from vaesurface.theory.spectra import centered

__all__ = ["Ray", "ray_slope", "unbounded_ray"]

# Errors of a reconstruction are rounding of the data up to so many units in the last place of a
# feature's largest number, however large alpha is.
EXACT_ULPS = 16
# Times what is left of the data is rounded as one column is taken out of it: as often as a product
# is taken away.
PASSES = 2


@brief()
class Ray(NamedTuple):
    """Decoders and posteriors along which the energy falls without bound as gamma -> 0; gamma must
    be learned. All but `exists` are NaN where none was found.

    exists: (), whether one was found.
    slope: (), of the energy in log gamma as gamma -> 0.
    weight: (d, k), zero in columns that are not needed.
    bias: (d,).
    mean: (n, k).
    error: (), rounding of the largest reconstruction with those as float64 holds them, which is
        that of alpha: at a gamma of about its square the energies of this ray level off.
    doubt: (), where float64 cannot tell whether there is a ray: how far it is off, in units of what
        is allowed for rounding of the data; NaN where it can.
    """

    exists: Array
    slope: Array
    weight: Array
    bias: Array
    mean: Array
    error: Array | float = math.nan
    doubt: Array | float = math.nan

    @property
    def undecided(self) -> Array:
        """(), whether float64 cannot tell whether there is a ray."""
        return ~jnp.isnan(self.doubt)

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
    tolerance: (d,), rounding of the data: deviations, and errors, up to it are none.
    """

    X: Array
    alpha: Array
    tolerance: Array


class _Factors(NamedTuple):
    """M = columns.T @ rows for as many as are needed.

    bias: (d,).
    columns: (k, n), orthonormal.
    rows: (k, d).
    rank: (), how many of them are needed; k + 1 where k are not enough.
    least: (), how many could do, for all that float64 can tell.
    doubt: (), the largest error of what is left, in units of the tolerance.
    """

    bias: Array
    columns: Array
    rows: Array
    rank: Array
    least: Array
    doubt: Array


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
    that needs the fewest columns is taken, and what q columns leave of M is compared with the data:
    each feature must agree to 16 units in the last place of its largest number, whatever alpha is.
    So there is a ray of data that differ by rounding alone (`proof.certify_unbounded` knows no
    rounding). M has twice the digits of float64; at an alpha beside which even those lose the data,
    `doubt` says so. At alpha > 0 "not found" proves nothing: another bias may do, or other values
    of M than 0 where x = b. At alpha = 0 the mean is the best of all biases, and there is no ray
    where `global_minimum` is finite (lowest: its value, if it has been computed). X (n, d), alpha
    and beta may be traced. Jitted.
    """
    doors.nonnegative("alpha", alpha)
    doors.positive("beta", beta)
    latent = whole("latents", latent, least=1)
    return _unbounded_ray(doors.matrix(X), latent, alpha, beta, lowest)


@partial(jax.jit, static_argnums=1)
def _unbounded_ray(
    X: ArrayLike, latent: int, alpha: ArrayLike, beta: ArrayLike, lowest: ArrayLike | None
) -> Ray:
    """The same of arguments that are checked."""
    X = jnp.asarray(X, float)
    alpha = jnp.asarray(alpha, X.dtype)
    n, d = X.shape
    tolerance = EXACT_ULPS * jnp.finfo(X.dtype).eps * jnp.max(jnp.abs(X), axis=0)
    target = _Target(X=X, alpha=alpha, tolerance=tolerance)

    ways = jax.lax.map(lambda bias: _factors(target, bias, latent), _biases(X))
    best = jax.tree.map(lambda leaf: leaf[jnp.argmin(ways.rank)], ways)
    used = (jnp.arange(latent) < best.rank)[:, None]
    weight = jnp.where(used, best.rows, 0.0).T / jnp.sqrt(1.0 * n)
    mean = jnp.where(used, best.columns, 0.0).T * jnp.sqrt(1.0 * n)
    slope = d - jnp.asarray(beta, X.dtype) * best.rank
    exists = (best.rank <= latent) & (slope > 0)
    possible = (ways.least <= latent) & (d - jnp.asarray(beta, X.dtype) * ways.least > 0)
    undecided = ~exists & jnp.any(possible) & (alpha > 0)
    if lowest is None:
        lowest = jax.lax.cond(
            exists & (alpha == 0), lambda: global_minimum(X, latent, None, beta), lambda: -jnp.inf
        )
    exists &= (alpha > 0) | (jnp.asarray(lowest) == -jnp.inf)
    error = jnp.finfo(X.dtype).eps * (alpha + jnp.max(jnp.abs(X - best.bias[None])))

    def if_any(x: Array) -> Array:
        return jnp.where(exists, x, jnp.nan)

    return Ray(
        exists=exists,
        slope=if_any(slope),
        weight=if_any(weight),
        bias=if_any(best.bias),
        mean=if_any(mean),
        error=if_any(error),
        doubt=jnp.where(undecided, jnp.max(jnp.where(possible, ways.doubt, 0.0)), jnp.nan),
    )


def ray_slope(loss: Callable[[VAEParams], Array], ray: Ray, gammas: ArrayLike) -> Array:
    """Slopes (m - 1,) in log gamma of the energies measured at points (m,) of a ray: they tend to
    `ray.slope`.
    """
    if not callable(loss) or not isinstance(ray, Ray):
        raise ValueError(
            f"expected a loss and a ray, got {shown(loss)} and {shown(ray)}; take "
            f"problem.loss and theory.unbounded_ray"
        )
    if not isinstance(gammas, jax.core.Tracer):
        known = data.reals(gammas, "gammas")
        if known.ndim != 1 or len(known) < 2 or not ((known > 0) & np.isfinite(known)).all():
            raise ValueError(
                f"expected at least two gammas > 0, got {shown(gammas)}; give a row of them"
            )
    gammas = jnp.asarray(gammas, ray.slope.dtype)
    energies = jax.lax.map(loss, jax.vmap(ray.at)(gammas))
    return jnp.diff(energies) / jnp.diff(jnp.log(gammas))


def _biases(X: Array) -> Array:
    """Biases (5, d) to try: of every feature the mean, midrange, zero, minimum and maximum."""
    low, high = X.min(axis=0), X.max(axis=0)
    return jnp.stack([centered(X)[0], 0.5 * (low + high), jnp.zeros_like(low), low, high])


class _Shifted(NamedTuple):
    """M = Y + alpha sign(Y), of deviations Y = X - b with those below rounding at zero.

    M: (n, d).
    size: (n, d), |Y|.
    sign: (n, d), -1, 0 or 1.
    """

    M: Pair
    size: Array
    sign: Array


def _shifted(target: _Target, bias: Array) -> _Shifted:
    deviation = added(target.X, jnp.broadcast_to(-bias[None], target.X.shape))
    counts = jnp.abs(deviation.high) > target.tolerance[None]
    high, low = (jnp.where(counts, part, 0.0) for part in deviation)
    sign = jnp.sign(high)
    M = added(target.alpha * sign, high)
    return _Shifted(M=added(M.high, M.low + low), size=jnp.abs(high), sign=sign)


def _error(target: _Target, shifted: _Shifted, rest: Array) -> Array:
    """|pi(M - rest) - Y| (n, d), without the digits of Y that M loses beside alpha.

    Where M = Y + alpha s, s = sign(Y), it is |rest| as long as s rest <= |Y|; beyond, pi is 0, and
    from s rest = |Y| + 2 alpha on it has the other sign.
    """
    inward, size, alpha = shifted.sign * rest, shifted.size, target.alpha
    beyond = jnp.where(inward > size, jnp.maximum(size, inward - 2.0 * alpha), jnp.abs(rest))
    return jnp.where(shifted.sign == 0, jnp.maximum(jnp.abs(rest) - alpha, 0.0), beyond)


def _factors(target: _Target, bias: Array, latent: int) -> _Factors:
    """M = X - b + alpha sign(X - b) by Gram-Schmidt on the features that are reproduced worst."""
    shifted = _shifted(target, bias)
    allowed = jnp.where(target.tolerance > 0, target.tolerance, 1.0)
    # What is taken away is at most as long as M, in each of `PASSES` for every column.
    length = jnp.linalg.norm(shifted.M.high, axis=0)
    lost = PASSES * jnp.arange(1.0, latent + 1.0)[:, None] * 2.0**-PAIR_BITS * length[None]

    def peel(rest: Pair, _: None) -> tuple[Pair, tuple[Array, Array, Array]]:
        rest, column, row = _without_worst(rest, allowed)
        return rest, (column, row, jnp.max(_error(target, shifted, rest.high), axis=0))

    columns, rows, errors = jax.lax.scan(peel, shifted.M, length=latent)[1]

    def first(enough: Array) -> Array:
        return jnp.where(jnp.any(enough), jnp.argmax(enough) + 1, latent + 1)

    # An error that is no number refutes nothing.
    refuted = jnp.any(errors - lost > target.tolerance[None], axis=1)
    return _Factors(
        bias=bias,
        columns=columns,
        rows=rows,
        rank=first(jnp.all(errors + lost <= target.tolerance[None], axis=1)),
        least=first(~refuted),
        doubt=jnp.max(lost / allowed[None]),
    )


def _without_worst(rest: Pair, unit: Array) -> tuple[Pair, Array, Array]:
    """rest (n, d) without its part along c, c and that part's row: rest - c c' rest, c, c' rest.

    c (n,) is the unit vector along the feature that is longest in its unit (d,). What is taken away
    are multiples of that feature with all its digits; the second time nothing along it is left but
    the rounding of what is left.
    """
    square = jnp.sum(rest.high**2, axis=0)
    worst = jnp.argmax(jnp.sqrt(square) / unit)
    feature = jax.tree.map(lambda part: part[:, worst], rest)
    divisor = jnp.where(square[worst] > 0, square[worst], 1.0)
    along = Pair(*(part[:, None] for part in feature))
    row = jnp.zeros_like(square)
    for _ in range(PASSES):
        factor = feature.high @ rest.high / divisor
        rest = less_product(rest, along, factor[None])
        row = row + factor
    length = jnp.sqrt(divisor)
    return rest, feature.high / length, row * length
