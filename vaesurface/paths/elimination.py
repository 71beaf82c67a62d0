"""How is a system with a nearly singular Hessian solved, that a column and a row border?

[H b; c d] (x, y) = (f, g) with H the Hessian: regular at a fold, where H is not. `answers` asks H
for all that is needed, `newton` and `tangent` are the solutions for two right-hand sides.

>>> flat = Problem(loss=lambda x: x[0] ** 3 + x[1] ** 2)
>>> w = jnp.array([0.0, 1.0])
>>> factors = model.methods(flat).factor(w)
>>> border = Border(f=-factors.gradient, b=jnp.array([1.0, 0.0]), c=jnp.array([1.0, 0.0]), d=0.0)
>>> asked = answers(flat, w, factors, border)
>>> print(newton(border, asked), tangent(border, asked).round(9) + 0.0)
[ 0. -1.  0.] [1. 0. 0.]
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import curvature
from vaesurface.problem import Params, Problem
from vaesurface.stationary import model

__all__ = ["Answers", "Border", "answers", "newton", "tangent"]

# Share of the drive in the flat directions that is more than rounding.
DRIVEN_SHARE = 1e-8
# Share of the row in them with which it leads there: at a branch point, along the kernel.
LED_SHARE = 0.1
# Roundings of the Hessian below which an eigenvalue's vector is mixed, by 1e-5, with those of
# eigenvalues zero.
MIXED_ROUNDINGS = 1e5
# What stands for a Hessian's largest eigenvalue where that is zero: the square of its rounding's
# inverse has to be a number.
NO_CURVATURE = 1e-130


class Border(NamedTuple):
    """Of the system [H b; c d] (x, y) = (f, g), with H the Hessian.

    f: (p,), minus the gradient.
    b: (p,), the drive.
    c: (p,), the row's part for the parameters.
    d: (), its part for the value.
    """

    f: Array
    b: Array
    c: Array
    d: Array


class Answers(NamedTuple):
    """What H makes of a border's vectors, (p,) each, in the order in which it is asked.

    flat_b: P b, the part in H's flat directions.
    flat_c: P c.
    bent_b: H P b.
    bent_c: H P c.
    by_b: H^-1 b.
    by_c: H^-1 c.
    rest: H^-1 (f - y b), with y = -c . H^-1 f / (d - c . H^-1 b) from a first elimination.
    """

    flat_b: Array
    flat_c: Array
    bent_b: Array
    bent_c: Array
    by_b: Array
    by_c: Array
    rest: Array


def _safe(x: Array) -> Array:
    """To divide by."""
    return jnp.where(x == 0, jnp.finfo(x.dtype).tiny, x)


def answers(problem: Problem, params: Params, factors: Any, border: Border) -> Answers:
    """H^-1 of the border's vectors: in H's flat directions of what b and c drive, and zero of the
    rest there.

    Seven systems, one after the other, by one program for `solve`.
    """
    values = factors.eigenvalues
    f, b, c, _ = border
    least = jnp.finfo(f.dtype).eps * jnp.maximum(jnp.max(jnp.abs(values)), NO_CURVATURE)
    edge = jnp.maximum(jnp.max(factors.width), MIXED_ROUNDINGS * least)
    flat = jnp.abs(values) <= edge
    inverse = curvature.inverses(values, edge)[0]
    part = jnp.where(flat[None], jnp.stack([jnp.ones_like(inverse), values]), 0.0)
    inverses = jnp.stack([part[0], part[0], part[1], part[1], inverse, inverse, inverse])
    solve, unravel = model.methods(problem).solve, ravel_pytree(params)[1]

    def ask(i: Array, rows: Array) -> Array:
        earlier = Answers(*rows)
        units, along = _driven(border, earlier, least)
        right = jnp.stack([b, c, b, c, b, c, f - _first_share(border, earlier) * b])[i]
        x = ravel_pytree(solve(params, factors, unravel(right), inverses[i]))[0]
        x += jnp.where(i < 4, 0.0, units.T @ (along * (units @ right)))
        return rows.at[i].set(x)

    first = jnp.where(jnp.any(flat), 0, 4)
    return Answers(*jax.lax.fori_loop(first, 7, ask, jnp.zeros((7, f.size), f.dtype)))


def _driven(border: Border, answers: Answers, least: Array) -> tuple[Array, Array]:
    """Orthonormal vectors (2, p) in the flat directions, along the parts of b and c there, and H's
    inverse along them (2,).

    u = P b / |P b| where |P b|^2 = b . P b; there u . H u = b . H P b / |P b|^2, held away from
    zero by its rounding.
    """
    first, along = _unit(border.b, answers.flat_b, answers.bent_b, DRIVEN_SHARE, least)
    part = answers.flat_c - (first @ border.c) * first
    second, across = _unit(border.c, part, answers.bent_c, LED_SHARE, least)
    return jnp.stack([first, second]), jnp.stack([along, across])


def _unit(
    vector: Array, part: Array, bent: Array, share: float, least: Array
) -> tuple[Array, Array]:
    """A vector's part in the flat directions at length one, and H's inverse along it; zero where it
    is no more than a share of the vector.
    """
    square = _safe(vector @ part)
    value = (vector @ bent) / square
    inverse = 1.0 / jnp.where(jnp.abs(value) > least, value, jnp.copysign(least, value))
    is_driven = square > share**2 * (vector @ vector)
    unit = jnp.where(is_driven, part / jnp.sqrt(jnp.abs(square)), 0.0)
    return unit, jnp.where(is_driven, inverse, 0.0)


def _first_share(border: Border, answers: Answers) -> Array:
    """y = -c . H^-1 f / (d - c . H^-1 b), by a block elimination that starts with H^-1 c."""
    return -(answers.by_c @ border.f) / _safe(border.d - answers.by_c @ border.b)


def newton(border: Border, answers: Answers) -> Array:
    """(x, y) (p + 1,) of [H b; c d] (x, y) = (f, 0), by mixed block elimination (W. Govaerts, SIAM
    J. Numer. Anal. 28, 1991).

    y' of a first elimination leaves (f - y' b, -d y'), and a second one answers that: y'' =
    (-d y' - c . r) / (d - c . H^-1 b), x = r - y'' H^-1 b with r = H^-1 (f - y' b); y = y' + y''.
    Accurate where H is nearly singular and the bordered matrix is not.
    """
    y = _first_share(border, answers)
    second = _safe(border.d - border.c @ answers.by_b)
    more = (-border.d * y - border.c @ answers.rest) / second
    return jnp.append(answers.rest - more * answers.by_b, y + more)


def tangent(border: Border, answers: Answers) -> Array:
    """(x, y) (p + 1,) of [H b; c d] (x, y) = (0, 1), by the same: x = -y H^-1 b, with y = 1 / (d -
    c . H^-1 b) corrected by what the second elimination finds left.
    """
    d = border.d
    first = _safe(d - answers.by_c @ border.b)
    second = _safe(d - border.c @ answers.by_b)
    share = 1 / first
    share = share + (1 - d * share + (border.c @ answers.by_b) * share) / second
    return jnp.append(-answers.by_b * share, share)
