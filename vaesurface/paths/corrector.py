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
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import curvature, stationary
from vaesurface.problem import Params, Problem, adopt
from vaesurface.stationary import model
from vaesurface.stationary.descent import GRADIENT, POLISHED, descend

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
    reached = descend(curve.make_problem(value), params, saddles=SADDLES)
    return reached.params if reached.converged else None


@partial(jax.tree_util.register_dataclass, data_fields=["value"], meta_fields=["make_problem"])
@dataclass(frozen=True)
class _Made:
    """A problem whose functions hold its value: it has to be made inside of every program."""

    make_problem: MakeProblem
    value: Array


def _problem(source: Any) -> Problem:
    return source.make_problem(source.value) if isinstance(source, _Made) else source


def _at(make_problem: MakeProblem, value: float) -> tuple[Any, Any]:
    """The problem at a value, as an argument of programs, and its rate of change.

    Where its arrays depend on the value, and its functions do not, one program serves all of a
    kind and shape.
    """
    primal, unit = jnp.asarray(value, float), jnp.ones(())
    made, rate = jax.jvp(lambda v: adopt(make_problem(v)), (primal,), (unit,))
    if type(made) is not Problem:
        return made, rate
    return _Made(make_problem, primal), _Made(make_problem, unit)


def look(curve: Curve, z: np.ndarray, row: np.ndarray) -> Seen:
    """What second derivatives say of a place z (p + 1,), with Newton's step and the tangent for
    row (p + 1,).
    """
    source, rate = _at(curve.make_problem, z[-1])
    seen = jax.device_get(_second(source, rate, curve.like, z, row))
    return seen._replace(weights=np.append(seen.weights, curve.scale**-2))


@jax.jit
def _second(source: Any, rate: Any, like: Params, z: Array, row: Array) -> Seen:
    """Second derivatives at z, Newton's step and the tangent.

    [H b; c d] (x, y) = (f, g) is solved by mixed block elimination (W. Govaerts, SIAM J. Numer.
    Anal. 28, 1991), which is accurate where H is nearly singular and the bordered matrix is not. In
    H's flat directions only what b and c drive is solved for.
    """
    unravel = ravel_pytree(like)[1]

    def flatten(tree):
        return ravel_pytree(tree)[0]

    problem = _problem(source)
    params = problem.settle(unravel(z[:-1]))
    factor, solve, _ = model.methods(problem)
    factors = factor(params)
    f = -flatten(factors.gradient)

    def gradient(source: Any) -> Params:
        return jax.grad(_problem(source).loss)(params)

    b = flatten(jax.jvp(gradient, (source,), (rate,))[1])
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
    shared = f.size if problem.structure is None else len(factors.shared)
    step = unravel(rest - more * by_b)
    return Seen(
        z=jnp.append(flatten(params), z[-1]),
        loss=problem.loss(params),
        gradient=-f,
        drive=b,
        step=jnp.append(flatten(step), y + more),
        reach=model.reach(problem, params, step),
        tangent=jnp.append(-by_b * share, share),
        weights=flatten(_weights(problem, params)),
        eigenvalues=factors.eigenvalues[:shared],
        width=jnp.max(factors.width[:shared]),
        own=factors.eigenvalues[shared:],
    )


def _weights(problem: Problem, params: Params) -> Params:
    """Of squares in arclength, like params: 1 / size^2, and 1/n of that for what belongs to a datum.

    Without sizes of its own a problem has the same for all parameters, so that no symmetry's
    direction is along the row.
    """
    if problem.has("size"):
        return model.natural_metric(problem, params)
    extent = jnp.maximum(1.0, jnp.sqrt(jnp.mean(ravel_pytree(params)[0] ** 2)))
    return model.weigh_data(problem, optax.tree.full_like(params, extent**-2.0))


def solved(curve: Curve, z: np.ndarray, right: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """H^-1 right at z, for inverses of all eigenvalues."""
    source = _at(curve.make_problem, z[-1])[0]
    return np.array(_solve(source, curve.params(z[:-1]), curve.params(right), inverse))


@jax.jit
def _solve(source: Any, params: Params, right: Params, inverse: Array) -> Array:
    factor, solve, _ = model.methods(_problem(source))
    return ravel_pytree(solve(params, factor(params), right, inverse))[0]


def product(curve: Curve, seen: Seen, vector: np.ndarray) -> np.ndarray:
    """H times a vector (p,) at a place."""
    source = _at(curve.make_problem, seen.z[-1])[0]
    return np.array(_apply(source, curve.params(seen.z[:-1]), curve.params(vector)))


@jax.jit
def _apply(source: Any, params: Params, vector: Params) -> Array:
    return ravel_pytree(curvature.hvp(_problem(source).loss, params, vector))[0]


def judged(curve: Curve, value: float, params: Params) -> stationary.StationaryPoint:
    """`stationary.analyze` at a value, without a look along flat directions."""
    return jax.device_get(_analyzed(_at(curve.make_problem, value)[0], params))


@jax.jit
def _analyzed(source: Any, params: Params) -> stationary.StationaryPoint:
    return stationary.analyze(_problem(source), params, directions=0)
