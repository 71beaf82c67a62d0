"""Which rows of the weight that are zero are at a minimum, and how far down do the others lead?

At alpha > 0 the energy is flat to all orders where a row of the decoder's weight is zero, so no
eigenvalue can say. What it does there is known in closed form: for each row on its own, since the
energy is a sum over rows and data. X is (n, d); energies in the paper's units, mean per datum.

>>> from vaesurface import data
>>> X = data.gaussian(20, [1.0, 0.1], seed=0)
>>> params = VAEParams(
...     weight=jnp.array([[1.0], [0.0]]),
...     bias=jnp.asarray(X.mean(axis=0)),
...     log_gamma=jnp.log(0.1),
...     mean=jnp.asarray(X[:, :1]),
...     log_std=jnp.full((20, 1), -1.0).at[0].add(0.1),
... )
>>> dead_rows(X, params, 0.2, 0.1).falling.tolist()
[False, True]
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import energy
from vaesurface.energy import VAEParams
from vaesurface.glance import brief

__all__ = ["Rows", "dead_rows", "energies"]

# Deviations of a feature that is one number from its mean: up to so many units in its last place
# they are rounding.
CONSTANT_ULPS = 16
# Relative difference of posterior widths that the rounding of a refined point could turn round.
TIED_WIDTHS = 1e-7
# In natural units: what a refined point's means and biases are uncertain by.
REFINED = 1e-9
# Relative error of a Gaussian tail `TAIL_START` standard deviations out, where rounding counts
# thousandfold.
TAIL_ERROR = 2e-12
# Standard deviations below the threshold at which a line is first looked at; its energies are
# still well above the smallest double.
TAIL_START = 35.0
# Distances per line, from there to well past the threshold.
DISTANCES = 64
# Fixed random lines on which a falling row is looked for, next to the latents' axes.
GENERIC_LINES = 8


@brief()
class Rows(NamedTuple):
    """Rows of the weight at zero, where the energy is flat to all orders; what becomes of it there.

    A dead row that is neither strict nor falling is undecided.

    dead: (d,), the row is zero.
    strict: (d,), zero is its strict minimum.
    falling: (d,), the energy falls along `direction` at all distances small enough: no minimum.
    direction: (d, k), unit vectors; zero where not falling.
    way: (d, k), the displacement to the lowest of `DISTANCES` places on each of several rays before
        a rise that shows at one of them; zero where nothing is lower to rounding.
    drop: (d,), by how much it is lower there; zero where nothing is.
    """

    dead: Array
    strict: Array
    falling: Array
    direction: Array
    way: Array
    drop: Array


class _Setting(NamedTuple):
    """Arguments of `dead_rows`, and what follows from them.

    X: (n, d).
    params: the point.
    alpha: ().
    gamma: ().
    noise: (), by how much energy a way out may rise.
    deviation: (n, d), X less the bias.
    doubt: what decides nothing.
    covariance: (n, k, k), of the posteriors where latents are correlated.
    tied: whether all posteriors have one covariance, whatever the parameters.
    """

    X: Array
    params: VAEParams
    alpha: Array
    gamma: ArrayLike
    noise: ArrayLike
    deviation: Array
    doubt: "_Doubt"
    covariance: Array | None
    tied: bool


class _Doubt(NamedTuple):
    """Sizes up to which the point's own uncertainty could turn round what is compared.

    width: (), relative, of two posterior widths.
    mean: (), of a posterior mean along a line.
    deviation: (d,), of a datum from the bias.
    """

    width: Array
    mean: Array
    deviation: Array


class _Line(NamedTuple):
    """What becomes of every row along u and along -u.

    falls: (2, d), the row falls at first.
    distance: (2, d), of the lowest place before a rise.
    drop: (2, d), by how much it is lower there; zero where that is no more than rounding.
    """

    falls: Array
    distance: Array
    drop: Array


class _Fall(NamedTuple):
    """The lines along which rows fall: fields as of `Rows`."""

    falling: Array
    direction: Array
    way: Array
    drop: Array


def energies(
    X: ArrayLike,
    params: VAEParams,
    alpha: ArrayLike,
    gamma: ArrayLike,
    direction: ArrayLike,
    distance: ArrayLike,
    covariance: Array | None = None,
) -> tuple[Array, Array]:
    """By how much each row of the weight, moved from zero, changes the mean energy, (2, m, d), and
    a bound (m, d) on rounding.

    Row r at t u and, second, at -t u, u = direction (k,) and t = distance (m,), changes it by

        1/(n gamma) sum_i -2 (x_ir - b_r) E pi + E pi^2

    with means +-t u.mu_i and variances t^2 sum_j u_j^2 sigma_ij^2, or t^2 u.Sigma_i u of
    covariances (n, k, k); the other rows do not matter. Terms keep their relative accuracy down to
    the smallest floats. X (n, d).
    """
    X = jnp.asarray(X, float)
    center, spread = _projected(params, jnp.asarray(direction, X.dtype), covariance)
    t = jnp.asarray(distance, X.dtype)[:, None]
    m, v = t * center[None], (t * spread[None]) ** 2
    y = energy.soft_threshold(m, v, alpha)
    absolute = energy.relu(m - alpha, v).mean + energy.relu(-m - alpha, v).mean  # E |pi|
    deviation = X - params.bias[None]
    largest = jnp.max(jnp.abs(deviation), axis=0, keepdims=True)
    unit = len(X) * jnp.asarray(gamma, X.dtype)
    odd = 2.0 * (y.mean @ deviation) / unit
    even = jnp.sum(y.variance + y.mean**2, axis=1, keepdims=True) / unit
    terms = 2.0 * jnp.sum(absolute, axis=1, keepdims=True) * largest / unit + even
    rounding = (len(X) * jnp.finfo(X.dtype).eps + TAIL_ERROR) * terms
    return jnp.stack([even - odd, even + odd]), rounding


@partial(jax.jit, static_argnames="tied")
def dead_rows(
    X: ArrayLike,
    params: VAEParams,
    alpha: ArrayLike,
    gamma: ArrayLike,
    uncertainty: ArrayLike = 0.0,
    noise: ArrayLike = 0.0,
    covariance: Array | None = None,
    tied: bool = False,
) -> Rows:
    """What the energy does where rows of the weight are exactly zero, alpha > 0: judged for each
    row on its own.

    The row of a feature that is the same number for every datum can only add error: zero is its
    strict minimum. Of the others those fall that do so along one of several lines (`_falls`). The
    ray that falls first may soon end its fall while another goes far down after a rise that no
    float64 energy shows: so the way out is looked for on all lines, both ways. A feature so faint
    that (x_ik - b_k) < alpha / 35^2 may have no drop that float64 holds: it begins at energies like
    exp(-alpha / (2 (x_ik - b_k))).

    uncertainty: how far the stationary point that is meant may be, as the largest change of a
    parameter in units of its size (its absolute value, at least 1 or sqrt(gammabar)). Widths, signs
    and deviations that so much, with a factor of two in hand, could turn round decide nothing.
    noise: of the energy, by which a way out may rise. covariance: (n, k, k), of the posteriors
    where latents are correlated; tied: whether they have one covariance by construction. All but
    this may be traced. Jitted; O(n d) in memory, O(n d k) in time.
    """
    X = jnp.asarray(X, float)
    alpha = jnp.asarray(alpha, X.dtype)
    doubt = _doubt(X, params, uncertainty, covariance)
    deviation = X - params.bias[None]
    setting = _Setting(X, params, alpha, gamma, noise, deviation, doubt, covariance, tied)
    dead = jnp.all(params.weight == 0, axis=1)
    varying = dead & (X.min(axis=0) < X.max(axis=0)) & (alpha > 0)

    def search() -> _Fall:
        return _fall(setting)

    def skip() -> _Fall:
        none = jnp.zeros_like(params.weight)
        return _Fall(jnp.zeros_like(dead), none, none, jnp.zeros_like(params.bias))

    fall = jax.lax.cond(jnp.any(varying), search, skip)
    falling = varying & fall.falling
    return Rows(
        dead=dead,
        strict=dead & _constant(setting) & (alpha > 0),
        falling=falling,
        direction=jnp.where(falling[:, None], fall.direction, 0.0),
        way=jnp.where(falling[:, None], fall.way, 0.0),
        drop=jnp.where(falling, fall.drop, 0.0),
    )


def _projected(
    params: VAEParams, direction: Array, covariance: Array | None
) -> tuple[Array, Array]:
    """Means u.mu_i (n,) of u.z and standard deviations s_i (n,), s_i^2 = sum_j (u_j sigma_ij)^2."""
    if covariance is None:
        return params.mean @ direction, jnp.sqrt(jnp.exp(2.0 * params.log_std) @ direction**2)
    return params.mean @ direction, jnp.sqrt(covariance @ direction @ direction)


def _doubt(X: Array, params: VAEParams, uncertainty: ArrayLike, covariance: Array | None) -> _Doubt:
    """Twice what parameters uncertain by so much may be off by, and at least what a refined point's
    are. Of correlated latents a width s = |R' u| is off by a part of at most |dR| / s, with at most
    2 k^2 numbers in R, none above the deviations' norm.
    """
    off = jnp.where(jnp.isfinite(uncertainty), uncertainty, jnp.inf)
    unit = jnp.sqrt(energy.gammabar(X))
    wide, away = (jnp.maximum(1.0, jnp.max(jnp.abs(x))) for x in (params.log_std, params.mean))
    shifted = jnp.maximum(unit, jnp.abs(params.bias - X.mean(axis=0)))
    if covariance is not None:
        ends = jnp.linalg.eigvalsh(covariance)[:, jnp.array([0, -1])]
        most = jnp.maximum(1.0, jnp.sqrt(ends[:, 1])) / jnp.sqrt(ends[:, 0])
        wide = wide * 2.0 * covariance.shape[1] * jnp.max(most)
    return _Doubt(
        width=jnp.maximum(TIED_WIDTHS, 4.0 * off * wide),
        mean=jnp.maximum(REFINED, 2.0 * math.sqrt(params.mean.shape[1]) * off * away),
        deviation=jnp.maximum(REFINED * unit, 2.0 * off * shifted),
    )


def _constant(setting: _Setting) -> Array:
    """Whether a feature (d,) is one number, and the bias that number to rounding."""
    X = setting.X
    rounding = CONSTANT_ULPS * jnp.finfo(X.dtype).eps * jnp.abs(X.mean(axis=0))
    met = jnp.max(jnp.abs(setting.deviation), axis=0) <= setting.doubt.deviation + rounding
    return (X.min(axis=0) == X.max(axis=0)) & met


def _lines(latent: int) -> Array:
    """Unit vectors (m, k): the latents' axes and, of several latents, a few fixed others."""
    generic = np.random.default_rng(0).normal(size=(GENERIC_LINES if latent > 1 else 0, latent))
    generic = generic / np.linalg.norm(generic, axis=1, keepdims=True)
    return jnp.asarray(np.concatenate([np.eye(latent), generic]))


def _fall(setting: _Setting) -> _Fall:
    """Of every row: whether it falls along one of the lines, the direction of those that falls
    farthest, and the way to the lowest place on all of them.
    """
    latent = setting.params.weight.shape[1]
    lines = _lines(latent)
    along = jax.lax.map(lambda u: _along(setting, u), lines)
    falls, distances, drops = (x.reshape(-1, x.shape[-1]) for x in along)
    both = jnp.stack([lines, -lines], axis=1).reshape(-1, latent)
    best = jnp.argmax(drops, axis=0)[None]
    drop = jnp.take_along_axis(drops, best, axis=0)[0]
    distance = jnp.where(drop > 0, jnp.take_along_axis(distances, best, axis=0)[0], 0.0)
    return _Fall(
        falling=jnp.any(falls, axis=0),
        direction=both[jnp.argmax(jnp.where(falls, drops, -1.0), axis=0)],
        way=distance[:, None] * both[best[0]],
        drop=drop,
    )


def _along(setting: _Setting, u: Array) -> _Line:
    """Every row along u and -u: energies at distances from where the thresholded decoder's tails
    begin to where it has left the data behind.
    """
    center, spread = _projected(setting.params, u, setting.covariance)
    alpha = jnp.where(setting.alpha > 0, setting.alpha, 1.0)
    start = alpha / jnp.max(TAIL_START * spread + jnp.abs(center))
    reach = alpha + jnp.max(jnp.abs(setting.deviation))
    end = 8.0 * reach / jnp.sqrt(jnp.mean(spread**2 + center**2))
    t = start * (end / start) ** jnp.linspace(0.0, 1.0, DISTANCES)
    heights, error = energies(
        setting.X, setting.params, alpha, setting.gamma, u, t, setting.covariance
    )
    lowest = jnp.minimum(jax.lax.cummin(heights, axis=1), 0.0)
    before = jnp.cumprod(heights - lowest <= error[None] + setting.noise, axis=1) > 0
    last = jnp.argmin(jnp.where(before, heights, jnp.inf), axis=1)[:, None]
    drop = -jnp.take_along_axis(heights, last, axis=1)[:, 0]
    unsure = jnp.take_along_axis(jnp.stack([error, error]), last, axis=1)[:, 0]
    return _Line(
        falls=_falls(setting, center, spread),
        distance=t[last[:, 0]],
        drop=jnp.where(drop > unsure, drop, 0.0),
    )


def _falls(setting: _Setting, center: Array, spread: Array) -> Array:
    """Whether every row falls at first along u and along -u (2, d); center and spread (n,) of u.z.

    As t -> 0 the datum of largest s_i outweighs all others by a factor without bound, for

        E pi ~ sign(u.mu_i) t s_i h1((alpha - t |u.mu_i|) / (t s_i))

    and its term -2 (x_ik - b_k) E pi outweighs its E pi^2. So the energy falls along u where
    (x_ik - b_k) (u.mu_i) > 0 for that datum, or for all those tied with it. Of one width by
    construction, the datum of largest |u.mu_i| outweighs the others, by a factor like
    exp(alpha |u.mu_i| / (t s^2)). (Derived here.)
    """
    doubt = setting.doubt
    first = (spread >= (1.0 - doubt.width) * jnp.max(spread))[:, None]
    if setting.tied:
        away = jnp.abs(center)
        first = (away >= jnp.max(away) - 2.0 * doubt.mean)[:, None]
    sign = jnp.where(jnp.abs(center) > doubt.mean, jnp.sign(center), 0.0)
    side = sign[:, None] * setting.deviation
    least = jnp.min(side, axis=0, initial=jnp.inf, where=first)
    most = jnp.max(side, axis=0, initial=-jnp.inf, where=first)
    return jnp.stack([least, -most]) > doubt.deviation[None]
