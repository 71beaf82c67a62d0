"""How does one come back to a curve of stationary points, over parameters and a hyper-parameter,
and which way does it go on?

A point near the curve is a vector z (p + 1,): raveled parameters, then the hyper-parameter's value.
`correct` takes it to the curve by Newton's method within a plane, `examine` gives what second
derivatives say of it, `judged` its verdict.

>>> import jax.numpy as jnp
>>> curve = Curve(lambda v: Problem(loss=lambda x: x**3 / 3 - v * x), jnp.array(1.0), scale=1.0)
>>> print(correct(curve, np.array([1.1, 1.0]), np.array([0.0, 1.0])).z)
[1. 1.]
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import curvature, stationary
from vaesurface.paths import elimination
from vaesurface.paths.elimination import Border
from vaesurface.problem import Params, Problem, adopt
from vaesurface.stationary import model
from vaesurface.stationary.descent import GRADIENT, POLISHED

__all__ = [
    "Curve",
    "Faded",
    "Lost",
    "MakeProblem",
    "Place",
    "back",
    "correct",
    "examine",
    "judged",
    "product",
    "solved",
    "upright",
    "without",
]

MakeProblem = Callable[[Any], Problem]

# Newton steps back to the curve; where more are needed the step along it was too long.
CORRECTIONS = 8
# A parameter that would have no effect if it were so much of itself is at its end.
SHORTENED = 0.99
# Share of a parameter that is not zero but has the effect of zero.
EFFECTLESS = 1e-100
# Relative change of an energy in which rows without effect, and the rounding of both places, are.
FADED_CHANGE = 1e-10


class Curve(NamedTuple):
    """A curve of stationary points.

    make_problem: value to problem.
    like: parameters of the shapes that they have all along.
    scale: the change of the value that is one in arclength.
    """

    make_problem: MakeProblem
    like: Params
    scale: float

    def problem(self, value: ArrayLike) -> Problem:
        """At a value."""
        return adopt(self.make_problem(value))

    def params(self, x: ArrayLike) -> Params:
        """From the raveled ones (p,)."""
        return ravel_pytree(self.like)[1](jnp.asarray(x))


class Place(NamedTuple):
    """A point near the curve, and the curve there.

    z: (p + 1,), raveled parameters, then the value.
    loss: (), the energy.
    gradient: (p,), of the energy.
    drive: (p,), the gradient's derivative in the value.
    step: (p + 1,), Newton's, with row . step = 0.
    reach: (), its largest change of a parameter, in sizes.
    tangent: (p + 1,), with row . tangent = 1.
    weights: (p + 1,), of squares in arclength.
    eigenvalues: all that can vanish (the Schur complement's where the Hessian is bordered),
        ascending.
    width: (), half their flat band.
    own: the other eigenvalues, of the per-datum blocks.
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
    """Newton's method did not come back to the curve."""


class Faded(Lost):
    """Parameters are held at zero, as they have no effect any more: gone (p + 1,) bool."""

    def __init__(self, gone: np.ndarray) -> None:
        self.gone = gone


def upright(z: np.ndarray) -> np.ndarray:
    """The row (p + 1,) that holds the value fixed."""
    return np.append(np.zeros(len(z) - 1), 1.0)


def correct(curve: Curve, z: np.ndarray, row: np.ndarray) -> Place:
    """Where Newton's method from z meets the curve, within the plane through z across row.

    Raises Lost.
    """
    before, last = None, np.inf
    for _ in range(CORRECTIONS + 1):
        place = examine(curve, z, row)
        norm = float(np.linalg.norm(place.gradient))
        if before is not None and last <= GRADIENT and not norm < last / 2:
            return before  # the step was made of rounding, as it is at a branch point
        reach = max(place.reach, abs(place.step[-1]) / curve.scale)
        if norm <= GRADIENT and reach <= POLISHED:
            return place
        if not (np.isfinite(norm) and reach <= 1.0):
            break
        z, before, last = place.z + place.step, place, norm
    raise Lost


def back(curve: Curve, base: Place, z: np.ndarray, row: np.ndarray) -> Place:
    """`correct`, to a place where no more parameters are held at zero than at base.

    Raises Faded where there are, and Lost.
    """
    place = correct(curve, z, row)
    gone = np.append((place.z == 0)[:-1] & (base.z != 0)[:-1], False)
    if gone.any():  # not those that just pass through zero
        gone &= examine(curve, np.where(gone, EFFECTLESS * base.z, place.z), row).z == 0
    if gone.any():
        raise Faded(gone)
    return place


def without(curve: Curve, base: Place, gone: np.ndarray) -> Place | None:
    """The curve as it goes on from base with some parameters at zero; None where they still have
    an effect.

    A row of the weight may shorten along the curve until its tails have no effect that float64
    resolves: `settle` then sets it to zero, a leap that no step is short enough for. The energy
    does not show it, or this is another curve.
    """
    row = np.where(gone, 0.0, base.weights * base.tangent)
    z = examine(curve, np.where(gone, SHORTENED * base.z, base.z), row).z
    if z[gone].any():
        return None
    try:
        less = correct(curve, z, row)
    except Lost:
        return None
    same = abs(less.loss - base.loss) <= FADED_CHANGE * max(1.0, abs(base.loss))
    return less if same else None


@partial(jax.tree_util.register_dataclass, data_fields=["value"], meta_fields=["make_problem"])
@dataclass(frozen=True)
class _Made:
    """A problem whose functions hold its value: it has to be made inside of every program."""

    make_problem: MakeProblem
    value: Array


def _problem(source: Any) -> Problem:
    """The problem that a source is or makes."""
    return adopt(source.make_problem(source.value)) if isinstance(source, _Made) else source


@lru_cache
def _hides_value(make_problem: MakeProblem) -> bool:
    """Whether functions in a problem hold its value: they are made anew, and equal no others."""
    one, other = (jax.eval_shape(lambda v: adopt(make_problem(v)), 1.0) for _ in range(2))
    kinds: list[Any] = [jax.tree.structure(made) for made in (one, other)]
    return type(one) is Problem or kinds[0] != kinds[1]


def _at(make_problem: MakeProblem, value: float) -> tuple[Any, Any]:
    """The problem at a value, as an argument of programs, and its rate of change.

    Where its arrays depend on the value, and its functions do not, one program serves all of a
    kind and shape.
    """
    primal, unit = jnp.asarray(value, float), jnp.ones(())
    made, rate = jax.jvp(lambda v: adopt(make_problem(v)), (primal,), (unit,))
    if not _hides_value(make_problem):
        return made, rate
    return _Made(make_problem, primal), _Made(make_problem, unit)


def examine(curve: Curve, z: np.ndarray, row: np.ndarray) -> Place:
    """What second derivatives say of z (p + 1,), with Newton's step and the tangent for row
    (p + 1,).
    """
    source, rate = _at(curve.make_problem, z[-1])
    place = jax.device_get(_examined(source, rate, curve.like, z, row))
    return place._replace(weights=np.append(place.weights, curve.scale**-2))


@jax.jit
def _examined(source: Any, rate: Any, like: Params, z: Array, row: Array) -> Place:
    """`examine`, without the value's weight."""
    unravel = ravel_pytree(like)[1]
    problem = _problem(source)
    params = problem.settle(unravel(z[:-1]))
    factors = model.methods(problem).factor(params)
    border = Border(
        f=-_flatten(factors.gradient), b=_drive(source, rate, params), c=row[:-1], d=row[-1]
    )
    answers = elimination.answers(problem, params, factors, border)
    step = elimination.newton(border, answers)
    shared = border.f.size if problem.structure is None else len(factors.shared)
    return Place(
        z=jnp.append(_flatten(params), z[-1]),
        loss=problem.loss(params),
        gradient=-border.f,
        drive=border.b,
        step=step,
        reach=model.reach(problem, params, unravel(step[:-1])),
        tangent=elimination.tangent(border, answers),
        weights=_flatten(_weights(problem, params)),
        eigenvalues=factors.eigenvalues[:shared],
        width=jnp.max(factors.width[:shared]),
        own=factors.eigenvalues[shared:],
    )


def _flatten(tree: Params) -> Array:
    """The raveled parameters (p,)."""
    return ravel_pytree(tree)[0]


def _drive(source: Any, rate: Any, params: Params) -> Array:
    """The gradient's derivative in the value (p,)."""

    def gradient(source: Any) -> Params:
        return jax.grad(_problem(source).loss)(params)

    return _flatten(jax.jvp(gradient, (source,), (rate,))[1])


def _weights(problem: Problem, params: Params) -> Params:
    """Of squares in arclength, like params: 1 / size^2, and 1/n of that for what belongs to one of
    n data.

    Without sizes of its own a problem has the same for all parameters, so that no symmetry's
    direction is along the row.
    """
    if problem.has("size"):
        return model.natural_metric(problem, params)
    extent = jnp.maximum(1.0, jnp.sqrt(jnp.mean(_flatten(params) ** 2)))
    return model.weigh_data(problem, optax.tree.full_like(params, extent**-2.0))


def solved(curve: Curve, z: np.ndarray, right: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """H^-1 right at z, for inverses of all eigenvalues."""
    source = _at(curve.make_problem, z[-1])[0]
    return np.array(_solve(source, curve.params(z[:-1]), curve.params(right), inverse))


@jax.jit
def _solve(source: Any, params: Params, right: Params, inverse: Array) -> Array:
    methods = model.methods(_problem(source))
    return _flatten(methods.solve(params, methods.factor(params), right, inverse))


def product(curve: Curve, place: Place, vector: np.ndarray) -> np.ndarray:
    """H times a vector (p,) at a place."""
    source = _at(curve.make_problem, place.z[-1])[0]
    return np.array(_apply(source, curve.params(place.z[:-1]), curve.params(vector)))


@jax.jit
def _apply(source: Any, params: Params, vector: Params) -> Array:
    return _flatten(curvature.hvp(_problem(source).loss, params, vector))


def judged(curve: Curve, value: float, params: Params) -> stationary.StationaryPoint:
    """`stationary.analyze` at a value, without a look along flat directions."""
    return jax.device_get(_analyzed(_at(curve.make_problem, value)[0], params))


@jax.jit
def _analyzed(source: Any, params: Params) -> stationary.StationaryPoint:
    return stationary.analyze(_problem(source), params, directions=0)
