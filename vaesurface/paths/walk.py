"""What is met on the way along a curve of stationary points, from its start to its end?

`walk` steps along it (`stride`), as far as a range of the value, past requested values and events,
and says why it ends. What the points are is for others to judge.

>>> import jax.numpy as jnp
>>> from vaesurface.paths.stride import start_at
>>> from vaesurface.problem import Problem
>>> curve = Curve(lambda v: Problem(loss=lambda x: x**3 / 3 + v * x), jnp.array(0.5), scale=2.0)
>>> start = start_at(curve, np.array([0.5]), -0.25, sign=1.0)
>>> met = list(walk(Route(curve=curve, start=start, home=start, values=np.array([-0.5, 0.5]))))
>>> print(str(met[-1]), [str(event.kind) for event in met if isinstance(event, Event)])
left the requested range ['fold']
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from vaesurface.paths import corrector
from vaesurface.paths.corrector import Curve, Faded, Lost, Place
from vaesurface.paths.events import VANISHED, Event, EventKind, events_within
from vaesurface.paths.landing import jumped, landed
from vaesurface.paths.stride import Stride, distance, normalized, passed, stride

__all__ = ["FIRST_STEP", "LONGEST_STEP", "Ended", "Met", "Route", "walk"]

# First and longest step, in arclength.
FIRST_STEP, LONGEST_STEP = 0.02, 0.5
# Distance of a step's end from its prediction, over its length, at which the length is right.
BENT_RIGHT = 0.05
# That distance at which a step counts as straight.
STRAIGHT = 1e-12
# How much shorter or longer than a step the next one may be.
CHANGE = (0.5, 2.0)
# Step, in arclength, at which `follow` gives up.
SHORTEST_STEP = 1e-9


class Ended(StrEnum):
    """Why a branch, or a boundary, ends."""

    RANGE = "left the requested range"
    LOOP = "closed loop"
    RUNAWAY = "gamma runs to zero"
    POINTS = "as many points as allowed"
    LOST = "no convergence"
    APART = "its branches come apart"
    MEETS = "meets a branch point"


class Met(NamedTuple):
    """A place that is met.

    place: on the curve.
    arclength: from the start.
    requested: whether the value there is a requested one, to the last bit.
    """

    place: Place
    arclength: float
    requested: bool


class Route(NamedTuple):
    """What is asked of a walk along a curve.

    curve: to be followed.
    start: where the walk begins.
    home: where a loop closes; the start, but for a walk that goes on from another one.
    values: (r,), requested ones.
    jump: whether to leave the curve, downhill, at folds.
    first_step: length of the first step, in arclength, and of the first after a jump.
    max_step: length of the longest.
    """

    curve: Curve
    start: Place
    home: Place
    values: np.ndarray
    jump: bool = False
    first_step: float = FIRST_STEP
    max_step: float = LONGEST_STEP


class _Position(NamedTuple):
    """How far a walk has come.

    base: the place, with a tangent of length one.
    behind: arclength up to there.
    length: of the next step.
    """

    base: Place
    behind: float
    length: float


class _Leg(NamedTuple):
    """What belongs to a branch of one step along it.

    stride: the step.
    events: on that part.
    requested: distances from the base, and places, where the value on it is a requested one.
    whole: whether it is all of the step.
    fold: where a jump leaves the branch.
    behind: arclength up to its end.
    ended: why the branch ends with it, None where it goes on.
    """

    stride: Stride
    events: list[Event]
    requested: list[tuple[float, Place]]
    whole: bool
    fold: Event | None
    behind: float
    ended: Ended | None


def walk(route: Route) -> Iterator[Met | Event | Ended]:
    """Places, events and, last, the end of a curve as they are met."""
    curve, start, values = route.curve, route.start, route.values
    yield Met(place=start, arclength=0.0, requested=start.z[-1] in values)
    if start.z[-1] == (values.max() if start.tangent[-1] > 0 else values.min()):
        yield Ended.RANGE
        return
    position = _Position(base=start, behind=0.0, length=route.first_step)
    while position.length >= SHORTEST_STEP:
        try:
            leg = _leg(route, position)
        except Faded as rows:
            position = _faded(curve, position, rows.gone)
            continue
        except Lost:
            position = position._replace(length=position.length / 2)
            continue
        yield from leg.events
        yield from _places(leg, position.behind)
        position = _advanced(route, position, leg)
        if leg.fold is not None:
            try:
                base = landed(curve, values, leg.fold, leg.stride.base)
            except Lost:
                break
            position = position._replace(base=base, length=route.first_step)
            yield jumped(curve, leg.fold, base)
            yield Met(place=base, arclength=position.behind, requested=False)
        if leg.ended == Ended.LOOP:
            yield Met(place=route.home, arclength=position.behind, requested=False)
        if leg.ended is not None:
            yield leg.ended
            return
    yield Ended.LOST


def _leg(route: Route, position: _Position) -> _Leg:
    """A step from a position, up to where the branch ends or is left. Raises Lost, or Faded, where
    the step is too long.
    """
    curve, values, behind = route.curve, route.values, position.behind
    step = stride(curve, position.base, position.length, values)
    events = events_within(curve, step, behind)
    requested = passed(curve, step, values)
    cut, ended = _end(route, step, requested)
    upto = behind + cut
    folds = [e for e in events if e.kind == EventKind.FOLD and e.arclength <= upto]
    fold = folds[0] if route.jump and folds else None
    if fold is not None:
        upto, cut, ended = fold.arclength, fold.arclength - behind, None
    return _Leg(
        stride=step,
        events=[event for event in events if event.arclength <= upto],
        requested=[(sigma, place) for sigma, place in requested if sigma <= cut],
        whole=cut >= step.span,
        fold=fold,
        behind=behind + cut,
        ended=ended,
    )


def _end(
    route: Route, step: Stride, requested: list[tuple[float, Place]]
) -> tuple[float, Ended | None]:
    """How much of a step belongs to the branch, and whether it ends there: it leaves the range, or
    comes back to its start from the side that it left on.
    """
    low, high = route.values.min(), route.values.max()
    if not low < step.end.z[-1] < high:
        edges = (sigma for sigma, place in requested if place.z[-1] in (low, high))
        return max(edges, default=step.span), Ended.RANGE
    home, base = route.home, step.base
    sigma = float(step.row @ (home.z - base.z))
    if not (0 < sigma <= step.span and step.row @ home.tangent > 0):
        return step.span, None
    if distance(base, step.at(sigma), home.z) <= BENT_RIGHT * step.span:
        place = corrector.back(route.curve, base, step.at(sigma), step.row)
        if distance(base, place.z, home.z) <= VANISHED * step.span:
            return sigma, Ended.LOOP
    return step.span, None


def _faded(curve: Curve, position: _Position, gone: np.ndarray) -> _Position:
    """On from there without parameters that have lost their effect, or in a shorter step where they
    have not.
    """
    less = corrector.without(curve, position.base, gone)
    if less is None:
        return position._replace(length=position.length / 2)
    return position._replace(base=normalized(less))


def _advanced(route: Route, position: _Position, leg: _Leg) -> _Position:
    """At a leg's end. The next step is longer by sqrt(BENT_RIGHT / bent), within limits."""
    bent = max(leg.stride.bent, STRAIGHT)
    change = float(np.clip(np.sqrt(BENT_RIGHT / bent), *CHANGE))
    return _Position(
        base=normalized(leg.stride.end),
        behind=leg.behind,
        length=min(position.length * change, route.max_step),
    )


def _places(leg: _Leg, behind: float) -> Iterator[Met]:
    """The places of a leg: those of requested values, then the step's end."""
    for sigma, place in leg.requested:
        yield Met(place=place, arclength=behind + sigma, requested=True)
    end = leg.stride.end
    if leg.whole and not any(place is end for _, place in leg.requested):
        yield Met(place=end, arclength=leg.behind, requested=False)
