"""Where does a stationary point go as a hyper-parameter moves, and where does it turn, branch or
jump?

`follow` traces gradient(params, value) = 0 by arclength (H. B. Keller, in Applications of
Bifurcation Theory, 1977), so that it passes folds. Folds and branch points are located as roots of
the tangent's share of the value and of an eigenvalue of the Hessian (`events`); `switch` starts the
branches that cross there. Arclength is measured in the parameters' natural sizes (`Problem.size`;
those of one datum weigh 1/n) and in the span of the requested values. Directions that nothing
drives (rows of the weight at zero, symmetries) are left where they are. A row that loses its effect
on the way is at zero from there on, without an event: the energy does not show it, the inertia may
(`theory.dead_rows` tells why).

>>> import jax.numpy as jnp
>>> from vaesurface.problem import Problem
>>> make = lambda v: Problem(loss=lambda x: 0.5 * x**2 - v * jnp.exp(x))
>>> branch = follow(make, jnp.array(0.1), v=[0.1, 0.5])
>>> [(str(event.kind), round(event.value, 9)) for event in branch.events], str(branch.ended)
([('fold', 0.367879441)], 'left the requested range')
"""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import data
from vaesurface.paths import corrector
from vaesurface.paths.corrector import Curve, Faded, Lost, MakeProblem, Place
from vaesurface.paths.events import VANISHED, Event, EventKind, events_within
from vaesurface.paths.landing import jumped, landed
from vaesurface.paths.stride import Stride, distance, normalized, passed, start_at, stride
from vaesurface.problem import require_float64, require_numbers, require_scalar
from vaesurface.refusal import refusing, shown
from vaesurface.stationary.verdict import StationaryPoint

__all__ = ["Branch", "Ended", "follow"]

# Distance of a step's end from its prediction, over its length, at which the length is right.
BENT_RIGHT = 0.05
# That distance at which a step counts as straight.
STRAIGHT = 1e-12
# How much shorter or longer than a step the next one may be.
CHANGE = (0.5, 2.0)
# Step, in arclength, at which `follow` gives up.
SHORTEST_STEP = 1e-9


class Ended(StrEnum):
    """Why a branch ends."""

    RANGE = "left the requested range"
    LOOP = "closed loop"
    RUNAWAY = "gamma runs to zero"
    POINTS = "as many points as allowed"
    LOST = "no convergence"


class Branch(NamedTuple):
    """A stationary point as a hyper-parameter moves: m points in the order they were met.

    parameter: the hyper-parameter's name.
    value: (m,).
    arclength: (m,), from the branch's start.
    requested: (m,) bool, which values are requested ones, to the last bit.
    point: a `StationaryPoint` with leading axis m.
    events: in order of arclength.
    ended: why.
    """

    parameter: str
    value: np.ndarray
    arclength: np.ndarray
    requested: np.ndarray
    point: StationaryPoint
    events: tuple[Event, ...]
    ended: Ended


class _Sample(NamedTuple):
    """One of the m points of a branch.

    arclength: from the branch's start.
    value: of the hyper-parameter.
    requested: whether that is a requested one.
    point: judged.
    """

    arclength: float
    value: float
    requested: bool
    point: StationaryPoint


def follow(
    make_problem: MakeProblem,
    point: Any,
    *,
    jump: bool = False,
    direction: int | None = None,
    step: float = 0.02,
    max_step: float = 0.5,
    max_points: int = 1000,
    **parameter: ArrayLike,
) -> Branch:
    """Follow a stationary point as one hyper-parameter moves: follow(make_problem, point,
    alpha=alphas).

    make_problem(value) -> Problem must take a traced value. point: a `StationaryPoint`, a `Start`
    or parameters, within Newton's reach of a stationary point at the first of the requested values.
    The branch is followed, through folds, until it leaves their span; they are met as often as it
    passes them. direction: 1 sets out towards larger values, -1 towards smaller ones (default:
    towards the second). jump: go down from each fold, along the gradient just beyond it, past
    saddles, and on from the minimum that this leads to, or from a saddle where no descent got past
    it. step and max_step: first and largest step in arclength; max_points: where to stop. Verdicts
    are those of `stationary.analyze` without a look along flat directions. Not for `jit`. Raises
    ValueError for anything but one hyper-parameter with two different values, and where no
    stationary point is in reach.
    """
    name, values = _requested(parameter)
    params = getattr(point, "params", point)
    require_numbers("continuation", params)
    require_float64("continuation", params)
    with refusing("make_problem(value) of those parameters", "give those that its loss takes"):
        require_scalar(make_problem(float(values[0])).loss, params)
    curve = Curve(make_problem, params, float(np.ptp(values)))
    sign = float(np.sign(direction or values[values != values[0]][0] - values[0]))
    try:
        start = start_at(curve, ravel_pytree(params)[0], values[0], sign)
    except Lost:
        raise ValueError(
            f"expected a stationary point at {name} = {values[0]:g}, got none in reach; refine "
            f"it there"
        ) from None
    route = _Route(
        curve=curve, start=start, values=values, jump=jump, first_step=step, max_step=max_step
    )
    return _gathered(name, _walk(route), max_points)


def _requested(parameter: dict[str, ArrayLike]) -> tuple[str, np.ndarray]:
    """Name and values of the one hyper-parameter that moves."""
    if len(parameter) != 1:
        raise ValueError(
            f"expected one hyper-parameter, got {sorted(parameter)}; call follow(make, point, "
            f"alpha=alphas)"
        )
    ((name, wanted),) = parameter.items()
    values = data.reals(wanted, name)
    if values.ndim != 1 or not np.isfinite(values).all() or len(set(values)) < 2:
        raise ValueError(
            f"expected two or more values of {name}, got {shown(wanted)}; the "
            f"first is where the point is stationary"
        )
    return name, values


def _gathered(name: str, met: Iterable[_Sample | Event | Ended], max_points: int) -> Branch:
    """A branch of what is met on it: up to its end, a runaway, or as many points as allowed."""
    samples: list[_Sample] = []
    events: list[Event] = []
    ended = Ended.LOST
    for item in met:
        if isinstance(item, Ended):
            ended = item
        elif isinstance(item, Event):
            events.append(item)
        else:
            samples.append(item)
            theory = item.point.theory
            if theory is not None and theory.runaway:
                ended = Ended.RUNAWAY
                break
            if len(samples) >= max_points:
                ended = Ended.POINTS
                break
    return Branch(
        parameter=name,
        value=np.array([sample.value for sample in samples]),
        arclength=np.array([sample.arclength for sample in samples]),
        requested=np.array([sample.requested for sample in samples]),
        point=jax.tree.map(lambda *x: np.stack(x), *(sample.point for sample in samples)),
        events=tuple(events),
        ended=ended,
    )


class _Route(NamedTuple):
    """What is asked of a walk along a branch.

    curve: the branch.
    start: where it begins.
    values: (r,), requested ones.
    jump: whether to leave it at folds.
    first_step: length of the first step, in arclength, and of the first after a jump.
    max_step: length of the longest.
    """

    curve: Curve
    start: Place
    values: np.ndarray
    jump: bool
    first_step: float
    max_step: float


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


def _walk(route: _Route) -> Iterator[_Sample | Event | Ended]:
    """Points, events and, last, the end of a branch as they are met."""
    curve, start, values = route.curve, route.start, route.values
    yield _sample(curve, start, 0.0, True)
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
        yield from _samples(curve, leg, position.behind)
        position = _advanced(route, position, leg)
        if leg.fold is not None:
            try:
                base = landed(curve, values, leg.fold, leg.stride.base)
            except Lost:
                break
            position = position._replace(base=base, length=route.first_step)
            yield jumped(curve, leg.fold, base)
            yield _sample(curve, base, position.behind, False)
        if leg.ended == Ended.LOOP:
            yield _sample(curve, start, position.behind, False)
        if leg.ended is not None:
            yield leg.ended
            return
    yield Ended.LOST


def _leg(route: _Route, position: _Position) -> _Leg:
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
    route: _Route, step: Stride, requested: list[tuple[float, Place]]
) -> tuple[float, Ended | None]:
    """How much of a step belongs to the branch, and whether it ends there: it leaves the range, or
    comes back to its start from the side that it left on.
    """
    low, high = route.values.min(), route.values.max()
    if not low < step.end.z[-1] < high:
        edges = (sigma for sigma, place in requested if place.z[-1] in (low, high))
        return max(edges, default=step.span), Ended.RANGE
    start, base = route.start, step.base
    sigma = float(step.row @ (start.z - base.z))
    if not (0 < sigma <= step.span and step.row @ start.tangent > 0):
        return step.span, None
    if distance(base, step.at(sigma), start.z) <= BENT_RIGHT * step.span:
        place = corrector.back(route.curve, base, step.at(sigma), step.row)
        if distance(base, place.z, start.z) <= VANISHED * step.span:
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


def _advanced(route: _Route, position: _Position, leg: _Leg) -> _Position:
    """At a leg's end. The next step is longer by sqrt(BENT_RIGHT / bent), within limits."""
    bent = max(leg.stride.bent, STRAIGHT)
    change = float(np.clip(np.sqrt(BENT_RIGHT / bent), *CHANGE))
    return _Position(
        base=normalized(leg.stride.end),
        behind=leg.behind,
        length=min(position.length * change, route.max_step),
    )


def _samples(curve: Curve, leg: _Leg, behind: float) -> Iterator[_Sample]:
    """The points of a leg: requested ones, then the step's end."""
    for sigma, place in leg.requested:
        yield _sample(curve, place, behind + sigma, True)
    end = leg.stride.end
    if leg.whole and not any(place is end for _, place in leg.requested):
        yield _sample(curve, end, leg.behind, False)


def _sample(curve: Curve, place: Place, arclength: float, requested: bool) -> _Sample:
    """A place of the branch, judged."""
    value = float(place.z[-1])
    point = corrector.judged(curve, value, curve.params(place.z[:-1]))
    return _Sample(
        arclength=arclength,
        value=value,
        requested=requested,
        point=point._replace(descent=None),
    )
