"""How does one come back to a curve of stationary points, over parameters and a hyper-parameter,
and which way does it go on?

A place on the curve is a vector z (p + 1,): raveled parameters, then the hyper-parameter's value.
`correct` takes a place near the curve to it by Newton's method within a plane, `look` gives what
second derivatives say of a place, `judged` its verdict. `bottom` is where descent leads from where
there is no curve.

>>> import jax.numpy as jnp
>>> curve = Curve(lambda v: Problem(loss=lambda x: x**3 / 3 - v * x), jnp.array(1.0), scale=1.0)
>>> print(correct(curve, np.array([1.1, 1.0]), np.array([0.0, 1.0])).z)
[1. 1.]
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import curvature, stationary
from vaesurface.problem import Params, Problem, compiled, recipe_of, resolution
from vaesurface.stationary import model
from vaesurface.stationary.descent import GRADIENT, POLISHED, downhill

MakeProblem = Callable[[Any], Problem]

CORRECTIONS = 8  # Newton steps back to the branch; where more are needed the step was too long
SHORTER = 0.99  # a parameter that so much of it would have no effect is at the end of its own
LEAST = 1e-100  # share of a parameter that is not zero but has the effect of zero
# relative change of an energy in which rows without effect, and the rounding of both places, are
UNSEEN = 1e-10
SADDLES = 20  # passed at most on the way down
DRIVEN = 1e-8  # share of the drive in the flat directions that is more than rounding
LED = 0.1  # share of the row in them with which it leads there: at a branch point, along the kernel
# roundings of the Hessian below which an eigenvalue's vector is mixed with those of eigenvalues
# zero, by 1e-5
MIXED = 1e5


class Curve(NamedTuple):
    """What is followed; a place on it is a vector z (p + 1,): raveled parameters, then the
    value.
    """

    make_problem: MakeProblem
    like: Params
    scale: float

    def params(self, x: ArrayLike) -> Params:
        """From the raveled ones (p,)."""
        return ravel_pytree(self.like)[1](jnp.asarray(x))


class Seen(NamedTuple):
    """A place z and the branch there; gradient and drive (its derivative in the value) are (p,).

    step: Newton's, with row . step = 0; reach: its largest change of a parameter, in sizes;
    tangent: with row . tangent = 1; weights (p + 1,): of squares in arclength; eigenvalues: all
    that can vanish (the Schur complement's where the Hessian is bordered), ascending; width: half
    their flat band; own: the others.
    """

    z: Any
    loss: Any
    gradient: Any
    drive: Any
    step: Any
    reach: Any
    tangent: Any
    weights: Any
    eigenvalues: Any
    width: Any
    own: Any


class Lost(ArithmeticError):
    """Newton's method did not come back to the branch."""


class Faded(Lost):
    """Parameters are held at zero, as they have no effect any more: gone (p + 1,) bool."""

    def __init__(self, gone: np.ndarray) -> None:
        self.gone = gone


def upright(z: np.ndarray) -> np.ndarray:
    """The row that holds the value fixed."""
    return np.append(np.zeros(len(z) - 1), 1.0)


def correct(curve: Curve, z: np.ndarray, row: np.ndarray) -> Seen:
    """Newton's method from z to the branch, within the plane through z across row. Raises Lost."""
    before, last = None, np.inf
    for _ in range(CORRECTIONS + 1):
        seen = look(curve, z, row)
        norm = float(np.linalg.norm(seen.gradient))
        if before is not None and last <= GRADIENT and not norm < last / 2:
            return before  # the step was made of rounding, as it is at a branch point
        reach = max(seen.reach, abs(seen.step[-1]) / curve.scale)
        if norm <= GRADIENT and reach <= POLISHED:
            return seen
        if not (np.isfinite(norm) and reach <= 1.0):
            break
        z, before, last = seen.z + seen.step, seen, norm
    raise Lost


def back(curve: Curve, base: Seen, z: np.ndarray, row: np.ndarray) -> Seen:
    """`correct`, to a place where no more parameters are held at zero than at base. Raises Faded
    where there are, and Lost.
    """
    seen = correct(curve, z, row)
    gone = np.append((seen.z == 0)[:-1] & (base.z != 0)[:-1], False)
    if gone.any():  # not those that just pass through zero
        gone &= look(curve, np.where(gone, LEAST * base.z, seen.z), row).z == 0
    if gone.any():
        raise Faded(gone)
    return seen


def without(curve: Curve, base: Seen, gone: np.ndarray) -> Seen | None:
    """The branch as it goes on from base with some parameters at zero; None where they still have
    an effect.

    A row of the weight may shorten along a branch until its tails have no effect that float64
    resolves: `settle` then sets it to zero, a leap that no step is short enough for. The energy
    does not show it, or this is not the branch.
    """
    row = np.where(gone, 0.0, base.weights * base.tangent)
    z = look(curve, np.where(gone, SHORTER * base.z, base.z), row).z
    if z[gone].any():
        return None
    try:
        less = correct(curve, z, row)
    except Lost:
        return None
    return less if abs(less.loss - base.loss) <= UNSEEN * max(1.0, abs(base.loss)) else None


def bottom(curve: Curve, value: float, params: Params) -> Params | None:
    """Where descent leads at a fixed value, on from saddles and from falling rows at zero; None
    where to nothing stationary.
    """
    problem, reached, level = curve.make_problem(value), None, np.inf
    for _ in range(SADDLES):
        refined = stationary.refine(problem, params)
        if not (refined.converged and problem.loss(refined.params) < level):
            break  # back at the saddle just left, where Newton's method contracts there
        point = judged(curve, value, refined.params)
        reached, level = point.params, point.loss - resolution(point.loss)
        if point.kind != stationary.Kind.SADDLE:
            break
        params = compiled(downhill, problem, point.params, point.descent)
    return reached


@dataclass(frozen=True)
class _Make:
    """A problem without a recipe, from its value."""

    make_problem: MakeProblem

    def __call__(self, value: Array) -> Problem:
        return self.make_problem(value)


def built(make_problem: MakeProblem, value: float) -> tuple[Callable[..., Problem], Any, Any]:
    """(build, arrays, rates): build(**arrays) is the problem, rates are d arrays / d value.

    Where problems have a recipe one compiled program serves all that are of one make and shape,
    whichever the hyper-parameter.
    """
    made: list[Callable[..., Problem]] = []

    def arrays(v):
        problem = make_problem(v)
        make, given = recipe_of(problem) or (_Make(make_problem), {"value": v})
        made.append(make)
        return given

    primal, rates = jax.jvp(arrays, (jnp.asarray(value, float),), (jnp.ones(()),))
    return made[0], primal, rates


def look(curve: Curve, z: np.ndarray, row: np.ndarray) -> Seen:
    build, arrays, rates = built(curve.make_problem, z[-1])
    seen = jax.device_get(_second(build, arrays, rates, curve.like, z, row))
    return seen._replace(weights=np.append(seen.weights, curve.scale**-2))


@partial(jax.jit, static_argnums=0)
def _second(build: Any, arrays: Any, rates: Any, like: Params, z: Array, row: Array) -> Seen:
    """Second derivatives at z, Newton's step and the tangent.

    [H b; c d] (x, y) = (f, g) is solved by mixed block elimination (W. Govaerts, SIAM J. Numer.
    Anal. 28, 1991), which is accurate where H is nearly singular and the bordered matrix is not. In
    H's flat directions only what b and c drive is solved for.
    """
    unravel = ravel_pytree(like)[1]

    def flatten(tree):
        return ravel_pytree(tree)[0]

    problem = build(**arrays)
    params = model.settle(problem, unravel(z[:-1]))
    factor, solve, _ = model.methods(problem)
    factors = factor(params)
    f = -flatten(factors.gradient)
    b = flatten(jax.jvp(lambda a: jax.grad(build(**a).loss)(params), (arrays,), (rates,))[1])
    c, d = row[:-1], row[-1]
    least = jnp.finfo(z.dtype).eps * jnp.maximum(jnp.max(jnp.abs(factors.eigenvalues)), 1e-300)
    edge = jnp.maximum(jnp.max(factors.width), MIXED * least)
    flat = jnp.abs(factors.eigenvalues) <= edge
    inverse = curvature.inverses(factors.eigenvalues, edge)[0]
    part = jnp.where(flat[None], jnp.stack([jnp.ones_like(inverse), factors.eigenvalues]), 0.0)
    inverses = jnp.stack([part[0], part[0], part[1], part[1], inverse, inverse, inverse])

    def safe(x):
        return jnp.where(x == 0, jnp.finfo(x.dtype).tiny, x)

    def driven(found):
        """Unit vectors in the flat directions, along the parts of b and c there, and the inverse of
        H along them.
        """

        def unit(vector, part, curved, share):
            square = safe(vector @ part)
            value = curved / square
            inverse = 1.0 / jnp.where(jnp.abs(value) > least, value, jnp.copysign(least, value))
            is_driven = square > share**2 * (vector @ vector)
            return jnp.where(is_driven, part / jnp.sqrt(jnp.abs(square)), 0.0), jnp.where(
                is_driven, inverse, 0.0
            )

        first, along = unit(b, found[0], b @ found[2], DRIVEN)
        second, across = unit(c, found[1] - (first @ c) * first, c @ found[3], LED)
        return jnp.stack([first, second]), jnp.stack([along, across])

    def stage(i, found):
        units, inverse = driven(found)
        y = -(found[5] @ f) / safe(d - found[5] @ b)
        right = jnp.stack([b, c, b, c, b, c, f - y * b])[i]
        x = flatten(solve(params, factors, unravel(right), inverses[i]))
        return found.at[i].set(x + jnp.where(i < 4, 0.0, units.T @ (inverse * (units @ right))))

    # The flat parts of b and c, and H times them; H^-1 b, H^-1 c and, with what they say, H^-1 of
    # the rest.
    found = jax.lax.fori_loop(
        jnp.where(jnp.any(flat), 0, 4), 7, stage, jnp.zeros((7, f.size), f.dtype)
    )
    by_b, by_c, rest = found[4:]
    first, second = safe(d - by_c @ b), safe(d - c @ by_b)
    y = -(by_c @ f) / first
    more = (-d * y - c @ rest) / second
    share = 1 / first
    share = share + (1 - d * share + (c @ by_b) * share) / second
    # Without sizes of its own a problem has the same for all parameters, so that no symmetry's
    # direction is along the row.
    extent = jnp.maximum(1.0, jnp.sqrt(jnp.mean(flatten(params) ** 2)))
    sizes = (
        jax.tree.map(lambda x: jnp.full_like(x, extent), params)
        if problem.size is None
        else problem.size(params)
    )
    weights = jax.tree.map(lambda size: size**-2.0, sizes)
    shared = f.size
    if problem.structure is not None:
        parts = problem.structure.split(weights)
        n, shared = len(problem.structure.data), len(factors.shared)
        weights = problem.structure.join(
            parts._replace(local=jax.tree.map(lambda x: x / n, parts.local))
        )
    step = unravel(rest - more * by_b)
    return Seen(
        z=jnp.append(flatten(params), z[-1]),
        loss=problem.loss(params),
        gradient=-f,
        drive=b,
        step=jnp.append(flatten(step), y + more),
        reach=model.reach(problem, params, step),
        tangent=jnp.append(-by_b * share, share),
        weights=flatten(weights),
        eigenvalues=factors.eigenvalues[:shared],
        width=jnp.max(factors.width[:shared]),
        own=factors.eigenvalues[shared:],
    )


def solved(curve: Curve, z: np.ndarray, right: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """H^-1 right at z, for inverses of all eigenvalues."""
    build, arrays, _ = built(curve.make_problem, z[-1])
    return np.array(_solve(build, arrays, curve.params(z[:-1]), curve.params(right), inverse))


@partial(jax.jit, static_argnums=0)
def _solve(build, arrays, params, right, inverse):
    factor, solve, _ = model.methods(build(**arrays))
    return ravel_pytree(solve(params, factor(params), right, inverse))[0]


def product(curve: Curve, seen: Seen, vector: np.ndarray) -> np.ndarray:
    build, arrays, _ = built(curve.make_problem, seen.z[-1])
    return np.array(_apply(build, arrays, curve.params(seen.z[:-1]), curve.params(vector)))


@partial(jax.jit, static_argnums=0)
def _apply(build, arrays, params, vector):
    return ravel_pytree(curvature.hvp(build(**arrays).loss, params, vector))[0]


def judged(curve: Curve, value: float, params: Params) -> stationary.StationaryPoint:
    """`stationary.analyze` at a value, without a look along flat directions."""
    build, arrays, _ = built(curve.make_problem, value)
    return jax.device_get(_analyzed(build, arrays, params))


@partial(jax.jit, static_argnums=0)
def _analyzed(build, arrays, params):
    return stationary.analyze(build(**arrays), params, directions=0)
