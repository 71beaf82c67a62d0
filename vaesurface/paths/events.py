"""Where within a step along a branch does it turn back, or do others cross it?

A fold is a root of the tangent's share of the value, a branch point one of an eigenvalue of the
Hessian; at a fold an eigenvalue vanishes too.

>>> import jax.numpy as jnp
>>> from vaesurface.paths.stride import start_at, stride
>>> from vaesurface.problem import Problem
>>> curve = Curve(lambda v: Problem(loss=lambda x: x**3 / 3 + v * x), jnp.array(0.1), scale=1.0)
>>> base = start_at(curve, np.array([0.1]), -0.01, sign=1.0)
>>> step = stride(curve, base, 0.2, np.array([-1.0, 1.0]))
>>> [(str(event.kind), abs(round(event.value, 9))) for event in events_within(curve, step, 0.0)]
[('fold', 0.0)]
"""

from collections.abc import Callable
from enum import StrEnum
from functools import cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.optimize import brentq

from vaesurface.glance import brief
from vaesurface.paths import corrector
from vaesurface.paths.corrector import Curve, Lost, Place
from vaesurface.paths.stride import Stride, unit_tangent
from vaesurface.problem import Params

__all__ = ["VANISHED", "Event", "EventKind", "events_within"]

# Part of what it is at a step's ends: then a quantity is zero at an event in between.
VANISHED = 1e-5
# Part of a step: how far from an event the branch is corrected to locate it.
LOCATED_FROM = 2e-3
# Part of a step: how closely an event is located.
LOCATED = 1e-12
# Relative precision of roots, the finest that `brentq` takes.
ROOT_ROUNDINGS = 4 * float(np.finfo(float).eps)


class EventKind(StrEnum):
    """fold: the branch turns back in the value. branch point: others cross it. jump: it was left,
    downhill, at a fold.
    """

    FOLD = "fold"
    BRANCH_POINT = "branch point"
    JUMP = "jump"


@brief()
class Event(NamedTuple):
    """A special point on a branch.

    kind: an `EventKind`.
    value: of the hyper-parameter.
    arclength: from the branch's start.
    params: there; of a jump: where it landed.
    loss: there, as params.
    kernel: orthonormal basis of the Hessian's kernel, without what is flat all along the branch,
        like params with a leading axis of the kernel's dimension.
    tangent: how params change along the branch, per arclength.
    rate: how the value does.
    scale: the change of the value that is one in arclength.
    drop: by how much the energy falls in a jump, else 0.
    """

    kind: EventKind
    value: float
    arclength: float
    params: Params
    loss: float
    kernel: Params
    tangent: Params
    rate: float
    scale: float
    drop: float = 0.0

    @property
    def dimension(self) -> int:
        """Of the kernel."""
        return len(jax.tree.leaves(self.kernel)[0])


def events_within(curve: Curve, step: Stride, behind: float) -> list[Event]:
    """Folds and branch points within a step that begins at arclength behind, in order.

    Raises Lost where a root is none of those, and the step has to be shorter.
    """
    base, end = step.base, step.end
    low, high = sorted((_negative(base, step.flat), _negative(end, step.flat)))
    crossing = list(range(low, high))
    events = []
    turning = (base.tangent[-1] < 0) != (end.tangent[-1] < 0)
    while crossing or turning:
        level = partial(_level, flat=step.flat, i=crossing[0] if crossing else 0)
        sigma, place = _locate(curve, step, _turn if turning else level)
        zero = [i for i in crossing if _vanishes(step, place, i)]
        if not (turning or zero):
            raise Lost
        sizes, *ends = (np.sort(np.abs(_spectrum(x, step.flat))) for x in (place, base, end))
        dimension = max(1, len(zero), int(np.sum(sizes <= VANISHED * np.maximum(*ends))))
        events.append(_event(curve, step, sigma, place, dimension, turning, behind))
        crossing, turning = [i for i in crossing if i not in zero], False
    return sorted(events, key=lambda event: event.arclength)


def _turn(place: Place) -> float:
    """Zero at a fold: the tangent's share of the value."""
    return place.tangent[-1]


def _spectrum(place: Place, flat: int) -> np.ndarray:
    """Eigenvalues that can vanish, ascending, without so many that are nearest to zero."""
    return place.eigenvalues[np.sort(np.argsort(np.abs(place.eigenvalues))[flat:])]


def _negative(place: Place, flat: int) -> int:
    """How many eigenvalues are, those of the per-datum blocks included."""
    return int(np.sum(_spectrum(place, flat) < 0) + np.sum(place.own < 0))


def _level(place: Place, flat: int, i: int) -> float:
    """Zero where eigenvalue i is, counted from below, those of the per-datum blocks first.

    A block's own eigenvalue that changes sign takes one of the Schur complement's through infinity
    and changes no count: past either end of the complement's, its largest size stands for i.
    """
    values, i = _spectrum(place, flat), i - int(np.sum(place.own < 0))
    return values[i] if 0 <= i < len(values) else np.copysign(np.max(np.abs(values)), i)


def _vanishes(step: Stride, place: Place, i: int) -> bool:
    """Whether eigenvalue i is zero at a place, beside what it is at the step's ends."""
    size, *ends = (abs(_level(x, step.flat, i)) for x in (place, step.base, step.end))
    return size <= VANISHED * max(ends)


def _locate(curve: Curve, step: Stride, test: Callable[[Place], float]) -> tuple[float, Place]:
    """Where in a step a function with opposite signs at its ends is zero: distance and place.

    At a branch point Newton's corrections are rounding divided by an eigenvalue near zero. So the
    branch is corrected at some distance on both sides, and the event found on the cubic in between,
    whose error is the fourth power of that distance.
    """
    on_branch = cache(partial(_on_branch, curve, step))
    coarse = _root(test, on_branch, step.span, 0.5 * LOCATED_FROM * step.span)
    left = max(0.0, coarse - LOCATED_FROM * step.span)
    right = min(step.span, coarse + LOCATED_FROM * step.span)
    sides = (on_branch(left), on_branch(right))
    base, end = (place._replace(z=place.z + place.step) for place in sides)
    if not test(base) * test(end) < 0:
        raise Lost
    near = step._replace(base=base, end=end, span=float(step.row @ (end.z - base.z)))
    on_cubic = cache(partial(_on_cubic, curve, near))
    root = _root(test, on_cubic, near.span, LOCATED * step.span)
    return left + root, on_cubic(root)


def _root(
    test: Callable[[Place], float], place: Callable[[float], Place], span: float, tolerance: float
) -> float:
    """Distance in (0, span) at whose place a function is zero."""
    return brentq(lambda x: test(place(x)), 0.0, span, xtol=tolerance, rtol=ROOT_ROUNDINGS)


def _end_at(step: Stride, sigma: float) -> Place | None:
    """A step's own end at a distance, if there is one."""
    return step.base if sigma == 0.0 else step.end if sigma == step.span else None


def _on_branch(curve: Curve, step: Stride, sigma: float) -> Place:
    """The place on the branch at a distance from a step's base. Raises Lost."""
    return _end_at(step, sigma) or corrector.back(curve, step.base, step.at(sigma), step.row)


def _on_cubic(curve: Curve, step: Stride, sigma: float) -> Place:
    """The place on a step's cubic at a distance from its base."""
    return _end_at(step, sigma) or corrector.examine(curve, step.at(sigma), step.row)


def _event(
    curve: Curve,
    step: Stride,
    sigma: float,
    place: Place,
    dimension: int,
    turning: bool,
    behind: float,
) -> Event:
    """The event at a place: a fold where the branch turns and the kernel is driven there."""
    kernel = _kernel(curve, step, place, dimension)
    drive, *ends = (np.linalg.norm(kernel @ x.drive) for x in (place, step.base, step.end))
    # A branch point's turn is found to half the digits.
    is_fold = turning and drive > np.sqrt(VANISHED) * max(ends)
    u = sigma / step.span
    # At a branch point the tangent is no solution of a regular system, but between those of both
    # ends.
    between = (1 - u) * step.base.tangent + u * step.end.tangent
    tangent = unit_tangent(place, place.tangent if is_fold else between)
    return Event(
        kind=EventKind.FOLD if is_fold else EventKind.BRANCH_POINT,
        value=float(place.z[-1]),
        arclength=behind + sigma,
        params=curve.params(place.z[:-1]),
        loss=float(place.loss),
        kernel=jax.vmap(ravel_pytree(curve.like)[1])(jnp.asarray(kernel)),
        tangent=curve.params(tangent[:-1]),
        rate=float(tangent[-1]),
        scale=curve.scale,
    )


def _kernel(curve: Curve, step: Stride, place: Place, dimension: int) -> np.ndarray:
    """Orthonormal basis (dimension, p) of the Hessian's kernel at a place, without what is flat all
    along the step.

    P H0 r for random r: H0 is the Hessian at the step's base, in whose range there is nothing of
    what is flat all along, and P the projector onto the eigenvectors of values nearest to zero.
    """
    vectors = np.random.default_rng(0).normal(size=(dimension, len(place.drive)))
    nearest = np.argsort(np.abs(place.eigenvalues))[: step.flat + dimension]
    projector = np.zeros(len(place.eigenvalues) + len(place.own))
    projector[nearest] = 1.0
    bent = (corrector.product(curve, step.base, vector) for vector in vectors)
    parts = [corrector.solved(curve, place.z, vector, projector) for vector in bent]
    return np.linalg.qr(np.stack(parts).T)[0].T
