"""Which rows of the weight that are zero are at a minimum, and how far down do the others lead?

At alpha > 0 the energy is flat to all orders where a row of the decoder's weight is zero, so no
eigenvalue can say. What it does there is known in closed form: for each row on its own, since the
energy is a sum over rows and data. X is (n, d); energies in the paper's units, mean per datum.

>>> from vaesurface import data
>>> X = data.gaussian(20, [1.0, 0.1], seed=0)
>>> mean, log_std = jnp.asarray(X[:, :1]), jnp.full((20, 1), -1.0).at[0].add(0.1)
>>> params = VAEParams(jnp.array([[1.0], [0.0]]), jnp.asarray(X.mean(axis=0)), jnp.log(0.1), mean, log_std)
>>> dead_rows(X, params, 0.2, 0.1).falling.tolist()
[False, True]
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import energy
from vaesurface.energy import VAEParams

ULPS = 16  # of the largest number of a feature: deviations from its mean below that are rounding
# relative difference of posterior widths that the rounding of a refined point could turn round
TIED = 1e-7
ROUNDING = 1e-9  # in natural units: what a refined point's means and biases are uncertain by
GENERIC = 8  # fixed random lines on which a falling row is looked for, next to the latents' axes
# relative error of a Gaussian tail 35 standard deviations out, where rounding counts thousandfold
FAITHFUL = 2e-12
GRID = 64  # distances per line, 35 standard deviations below the threshold to well past it


class Rows(NamedTuple):
    """Rows of the weight at zero, where the energy is flat to all orders; what becomes of it there.
    All (d,) but one.

    dead: the row is zero. strict: zero is its strict minimum. falling: the energy falls along
    direction, a unit vector (d, k), at all distances small enough: so no minimum. way (d, k): to
    the lowest of `GRID` places on each of several rays before a rise that shows at one of them;
    drop: by how much that is lower; both zero where nothing is to rounding. A dead row that is
    neither strict nor falling is undecided. Zeros where not falling.
    """

    dead: Array
    strict: Array
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
) -> tuple[Array, Array]:
    """By how much each row of the weight, moved from zero, changes the mean energy, (2, m, d), and
    a bound (m, d) on rounding.

    Row r at t u and, second, at -t u, u = direction (k,) and t = distance (m,), changes it by 1/(n
    gamma) sum_i -2 (x_ir - b_r) E pi + E pi^2, with means +-t u.mu_i and variances t^2 sum_j u_j^2
    sigma_ij^2; the other rows do not matter. Terms keep their relative accuracy down to the
    smallest floats. X (n, d).
    """
    X = jnp.asarray(X, float)
    center, spread = _projected(params, jnp.asarray(direction, X.dtype))
    t = jnp.asarray(distance, X.dtype)[:, None]
    m, v = t * center[None], (t * spread[None]) ** 2
    y = energy.soft_threshold(m, v, alpha)
    absolute = energy.relu(m - alpha, v).mean + energy.relu(-m - alpha, v).mean  # E |pi|
    deviation = X - params.bias[None]
    unit = len(X) * jnp.asarray(gamma, X.dtype)
    odd = 2.0 * (y.mean @ deviation) / unit
    even = jnp.sum(y.variance + y.mean**2, axis=1, keepdims=True) / unit
    terms = (
        2.0
        * jnp.sum(absolute, axis=1, keepdims=True)
        * jnp.max(jnp.abs(deviation), axis=0, keepdims=True)
        / unit
        + even
    )
    return jnp.stack([even - odd, even + odd]), (len(X) * jnp.finfo(X.dtype).eps + FAITHFUL) * terms


def _projected(params: VAEParams, direction: Array) -> tuple[Array, Array]:
    """Mean and standard deviation (n,) of u . z."""
    return params.mean @ direction, jnp.sqrt(jnp.exp(2.0 * params.log_std) @ direction**2)


@jax.jit
def dead_rows(
    X: ArrayLike,
    params: VAEParams,
    alpha: ArrayLike,
    gamma: ArrayLike,
    uncertainty: ArrayLike = 0.0,
    noise: ArrayLike = 0.0,
) -> Rows:
    """What the energy does where rows of the weight are exactly zero, alpha > 0: judged for each
    row on its own.

    The row of a feature that is the same number for every datum can only add error: zero is its
    strict minimum. Otherwise let w = t u. As t -> 0 the datum of largest s_i = (sum_j u_j^2
    sigma_ij^2)^(1/2) outweighs all others by a factor without bound, for E pi ~ sign(u.mu_i) t s_i
    h1((alpha - t |u.mu_i|) / (t s_i)), and its term -2 (x_ik - b_k) E pi outweighs its E pi^2. So
    the energy falls along u where (x_ik - b_k) (u.mu_i) > 0 for that datum, or for all those tied
    with it. u runs over the latents' axes and a few fixed lines, both ways. The ray that falls
    first may soon end its fall while another goes far down after a rise that no float64 energy
    shows: so the way out is looked for on all of them. A feature so faint that (x_ik - b_k) < alpha
    / 35^2 may have no drop that float64 holds: it begins at energies like exp(-alpha / (2 (x_ik -
    b_k))). (Derived here.)

    uncertainty: how far the stationary point that is meant may be, as the largest change of a
    parameter in units of its size (its absolute value, at least 1 or sqrt(gammabar)). Widths, signs
    and deviations that so much, with a factor of two in hand, could turn round decide nothing.
    noise: of the energy, by which a way out may rise. All may be traced. Jitted; O(n d) in memory,
    O(n d k) in time.
    """
    X = jnp.asarray(X, float)
    alpha = jnp.asarray(alpha, X.dtype)
    latent = params.weight.shape[1]
    center = X.mean(axis=0)
    unit = jnp.sqrt(jnp.mean((X - center[None]) ** 2))
    deviation = X - params.bias[None]
    largest = jnp.max(jnp.abs(deviation), axis=0)
    far = jnp.where(jnp.isfinite(uncertainty), uncertainty, jnp.inf)
    wide, away = (jnp.maximum(1.0, jnp.max(jnp.abs(x))) for x in (params.log_std, params.mean))
    tied = jnp.maximum(TIED, 4.0 * far * wide)
    unsigned = jnp.maximum(ROUNDING, 2.0 * math.sqrt(latent) * far * away)
    doubt = jnp.maximum(
        ROUNDING * unit, 2.0 * far * jnp.maximum(unit, jnp.abs(params.bias - center))
    )
    same = (X.min(axis=0) == X.max(axis=0)) & (
        largest <= doubt + ULPS * jnp.finfo(X.dtype).eps * jnp.abs(center)
    )
    dead = jnp.all(params.weight == 0, axis=1)
    varying = dead & (X.min(axis=0) < X.max(axis=0)) & (alpha > 0)
    generic = np.random.default_rng(0).normal(size=(GENERIC if latent > 1 else 0, latent))
    lines = jnp.asarray(
        np.concatenate([np.eye(latent), generic / np.linalg.norm(generic, axis=1, keepdims=True)])
    )

    def along(u: Array) -> tuple[Array, Array, Array]:
        """For u and -u, (2, d): whether the row falls at first; how far the lowest place before a
        rise is, and the drop.
        """
        center, spread = _projected(params, u)
        first = (spread >= (1.0 - tied) * jnp.max(spread))[:, None]
        side = jnp.where(jnp.abs(center) > unsigned, jnp.sign(center), 0.0)[:, None] * deviation
        least, most = (
            jnp.min(side, axis=0, initial=jnp.inf, where=first),
            jnp.max(side, axis=0, initial=-jnp.inf, where=first),
        )
        proved = jnp.stack([least, -most]) > doubt[None]

        safe = jnp.where(alpha > 0, alpha, 1.0)
        start = safe / jnp.max(35.0 * spread + jnp.abs(center))
        end = 8.0 * (safe + jnp.max(largest)) / jnp.sqrt(jnp.mean(spread**2 + center**2))
        t = start * (end / start) ** jnp.linspace(0.0, 1.0, GRID)
        energy, error = energies(X, params, safe, gamma, u, t)
        lowest = jnp.minimum(jax.lax.cummin(energy, axis=1), 0.0)
        before = jnp.cumprod(energy - lowest <= error[None] + noise, axis=1) > 0
        last = jnp.argmin(jnp.where(before, energy, jnp.inf), axis=1)
        drop, unsure = (
            jnp.take_along_axis(x, last[:, None], axis=1)[:, 0]
            for x in (-energy, jnp.stack([error, error]))
        )
        return proved, t[last], jnp.where(drop > unsure, drop, 0.0)

    def search() -> tuple[Array, Array, Array, Array]:
        proved, distances, drops = (x.reshape(-1, x.shape[-1]) for x in jax.lax.map(along, lines))
        both = jnp.stack([lines, -lines], axis=1).reshape(-1, latent)
        # Of the lines that fall at first the one that falls farthest.
        direction = both[jnp.argmax(jnp.where(proved, drops, -1.0), axis=0)]
        best = jnp.argmax(drops, axis=0)

        def pick(x):
            return jnp.take_along_axis(x, best[None], axis=0)[0]

        drop = pick(drops)
        return (
            jnp.any(proved, axis=0),
            direction,
            jnp.where(drop > 0, pick(distances), 0.0)[:, None] * both[best],
            drop,
        )

    def skip() -> tuple[Array, Array, Array, Array]:
        none = jnp.zeros_like(params.weight)
        return jnp.zeros_like(dead), none, none, jnp.zeros_like(params.bias)

    falls, *rest = jax.lax.cond(jnp.any(varying), search, skip)
    falling = varying & falls
    direction, way, drop = (
        jnp.where(falling.reshape(-1, *[1] * (x.ndim - 1)), x, 0.0) for x in rest
    )
    return Rows(dead, dead & same & (alpha > 0), falling, direction, way, drop)
