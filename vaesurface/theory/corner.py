"""How does the energy curve where a decoder's weight is zero, though the activation has a corner?

With f'(0) = l from the left and r from the right, f(u) is f(0) + g(u) to first order, and for a
unit Gaussian g has mean (r - l) / sqrt(2 pi) = level, expected slope (l + r) / 2 = slope, and
variance (l^2 + r^2) / 2 - level^2. At a row w_k of the weight, the bias at b_k - level |w_k| and
each datum's posterior at its best, the energy changes to second order by

    sum_k variance D_k |w_k|^2 - (1/n) sum_ij [ (slope sum_k r_ik w_kj)^2 / beta
                                              + (level sum_k r_ik w_kj^2 / |w_k|)^2 / (2 beta) ]

with r_ik what the constant decoder leaves of datum i, in natural units as in `theory.natural`: the
posteriors' means answer to the slope, their deviations to the level. The form is homogeneous of
degree two, and though no Hessian exists where l and r differ, its sign decides. With lambda the
eigenvalues of D^(-1/2) S D^(-1/2), S the mean of r r', collapse is a saddle if one is above beta
variance / slope^2, a minimum if all are below beta variance / (slope^2 + level^2 / 2); between the
two the form's own maximum decides (`best`), which depends on signs. Where f is smooth with slope
one both are beta: the formula of the affine model.

>>> least, certain = threshold(0.5, 1.0, 1.0)  # leaky ReLU, alpha = 1/2
>>> print(f"{least:.4f} {certain:.4f}")
1.0048 1.0404
>>> threshold(0.0, 0.0, 1.0)  # a dead zone
Threshold(least=inf, certain=inf)
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["Best", "Corner", "Threshold", "best", "corner", "form", "judged", "threshold"]

EQUAL = 1e-9  # relative distance from the threshold within which an eigenvalue is at it
STARTS, STEPS = 8, 60  # eigenvectors that the best column is looked for from, and steps from each


class Corner(NamedTuple):
    """Of what an activation is beside 0, less its value there, for a unit Gaussian.

    level: its mean, 0 where it is smooth.
    slope: its expected slope.
    variance: of it.
    """

    level: Any
    slope: Any
    variance: Any


class Threshold(NamedTuple):
    """Eigenvalues of D^(-1/2) S D^(-1/2), equal where f is smooth.

    least: up to which no latent pays.
    certain: above which one does.
    """

    least: float
    certain: float


class Best(NamedTuple):
    """A column of the weight that the form falls far along, if along any.

    gain: (), what the form loses along it, of a cost of beta variance.
    column: (d,), of length one in units of 1 / sqrt(D).
    """

    gain: Array
    column: Array


def corner(left: Any, right: Any) -> Corner:
    """Of an activation with those slopes on either side of 0."""
    level = (right - left) / math.sqrt(2.0 * math.pi)
    return Corner(
        level=level,
        slope=0.5 * (left + right),
        variance=0.5 * (left**2 + right**2) - level**2,
    )


def threshold(left: float, right: float, beta: float) -> Threshold:
    """beta variance / (slope^2 + level^2 / 2) and beta variance / slope^2, infinite where what they
    are divided by is zero.
    """
    own = corner(left, right)
    gains = own.slope**2 + 0.5 * own.level**2, own.slope**2
    least, certain = (math.inf if gain == 0 else beta * own.variance / gain for gain in gains)
    return Threshold(least=least, certain=certain)


def best(residual: Array, vectors: Array, own: Corner) -> Best:
    """The largest that was found of slope^2 x'Mx + level^2 / 2 |x|'M|x| over unit x (m,), M the
    mean of the outer squares of residual (n, m), in units of sqrt(D); a column along which the
    first part alone is largest is among the starts.

    vectors: (m, m), eigenvectors of M, ascending.
    """
    leading = vectors[:, ::-1][:, :STARTS].T
    starts = jnp.concatenate([leading, jnp.maximum(leading, 0.0), jnp.maximum(-leading, 0.0)])

    def gains(x: Array) -> tuple[Array, Array]:
        sign = jnp.where(x < 0, -1.0, 1.0)
        odd, even = residual @ x, residual @ jnp.abs(x)
        bent = own.slope**2 * (odd @ residual) + 0.5 * own.level**2 * sign * (even @ residual)
        return jnp.dot(x, bent) / len(residual), bent

    def climb(start: Array) -> Best:
        def step(_: Any, state: tuple[Array, Best]) -> tuple[Array, Best]:
            x, found = state
            gain, bent = gains(x)
            better = gain > found.gain
            found = Best(
                gain=jnp.where(better, gain, found.gain),
                column=jnp.where(better, x, found.column),
            )
            return _unit(bent), found

        first = _unit(start)
        state = first, Best(gain=gains(first)[0], column=first)
        return jax.lax.fori_loop(0, STEPS, step, state)[1]

    found = jax.vmap(climb)(starts)
    return jax.tree.map(lambda leaf: leaf[jnp.argmax(found.gain)], found)


def _unit(x: Array) -> Array:
    length = jnp.linalg.norm(x)
    return jnp.where(length > 0, x / jnp.where(length > 0, length, 1.0), 0.0)


def form(ratios: Array, latent: int, own: Corner, cost: Array, found: Array, size: int) -> Array:
    """Numbers (3,) of directions along which the leading form falls, of those of which neither is
    known, and of those along which it rises.

    ratios: (m,), eigenvalues of D^(-1/2) S D^(-1/2), which may be fewer than the features; cost:
        beta variance; found: a gain that is reached; size: the number of parameters, along all
        others of which the energy rises.
    """
    certain = own.slope**2 * ratios
    highest = certain + 0.5 * own.level**2 * ratios
    negative = latent * jnp.sum(certain > cost * (1.0 + EQUAL))
    negative = jnp.maximum(negative, jnp.asarray(found > cost * (1.0 + EQUAL), int))
    least = latent * jnp.sum(highest >= cost * (1.0 - EQUAL))
    least = jnp.maximum(least, negative)
    return jnp.stack([negative, least - negative, size - least])


def judged(residual: Array, latent: int, own: Corner, beta: Any, size: int) -> tuple[Array, Best]:
    """`form` of what a constant decoder leaves (n, m), in units of sqrt(D), and the column that
    `best` found.
    """
    values, vectors = jnp.linalg.eigh(residual.T @ residual / len(residual))
    found = best(residual, vectors, own)
    return form(values, latent, own, beta * own.variance, found.gain, size), found
