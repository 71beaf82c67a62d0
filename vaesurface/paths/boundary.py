"""Where in the plane of two hyper-parameters do stationary points meet and vanish, or branch?

`boundary` follows a fold or a branch point that `follow` has met as a second hyper-parameter moves,
by the same steps: both are stationary points of a function of their own (`singular`), of which one
hyper-parameter is a variable and the other one moves. Where the boundary grows steep over the one
that moves, the two change places, so it is followed through its turns. Cusps, where two folds meet,
are folds of that curve. A branch point that is no longer one as the second hyper-parameter moves
ends there: its two branches come apart.

>>> import jax.numpy as jnp
>>> from vaesurface.paths.branch import follow
>>> from vaesurface.problem import Problem
>>> make = lambda a, b: Problem(loss=lambda x: x**4 / 4 - b * x**2 / 2 - a * x)
>>> fold = follow(lambda a: make(a, 1.0), jnp.array(-1.3), a=[-0.9, 0.9]).events[0]
>>> met = boundary(make, fold, a=[-0.9, 0.9], b=[1.0, 0.3, 0.6])
>>> print(met.values[met.requested[:, 1], 0].round(9), [str(end) for end in met.ended])
[0.384900179 0.178885438 0.06324555 ] ['left the requested range', 'left the requested range']
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import data
from vaesurface.paths.corrector import Curve, Lost, Place
from vaesurface.paths.events import Event, EventKind
from vaesurface.paths.singular import (
    Extended,
    Losses,
    Singular,
    drive,
    facts,
    is_structured,
    length,
)
from vaesurface.paths.stride import start_at
from vaesurface.paths.walk import FIRST_STEP, LONGEST_STEP, Ended, Route, walk
from vaesurface.problem import Params, require_float64, require_scalar
from vaesurface.refusal import refusing, shown
from vaesurface.stationary import model

__all__ = ["Boundary", "boundary"]

# Change of the hyper-parameter that is solved for over that of the one that moves, in their spans,
# from which they change places. More than one, or they would change at every step.
STEEP = 3.0
# How much longer a kernel's vector may grow, while its drive is held, before it is made a unit one.
STRETCHED = 3.0
# Share of its first size that a fold's drive may fall to: it falls with the square root of the
# distance in the hyper-parameter at which it meets a branch point and is a fold no more.
DRIVEN = 1e-2
# Imperfection, in units of the gradient, that is more than rounding.
BROKEN = 1e-7
# Size of a Hessian's eigenvalue, over its largest, that is taken for the one that vanishes.
VANISHING = 1e-8


class Boundary(NamedTuple):
    """A fold or a branch point as two hyper-parameters move: m points in order along the curve.

    parameters: the names of the hyper-parameters.
    kind: an `EventKind`.
    values: (m, 2), of the hyper-parameters.
    requested: (m, 2) bool, which of them are requested ones, to the last bit.
    params: the stationary points, leading axis m.
    loss: (m,).
    kernel: what of their Hessians' kernel is followed, like params, of length one where what
        belongs to one of n data weighs 1/n.
    negative: (m,), numbers of their Hessians' negative eigenvalues, without what vanishes: where
        there is none, a minimum is lost.
    cusps: (c, 2), where two folds meet.
    ended: why, at the first point and at the last.
    """

    parameters: tuple[str, str]
    kind: EventKind
    values: np.ndarray
    requested: np.ndarray
    params: Params
    loss: np.ndarray
    kernel: Params
    negative: np.ndarray
    cusps: np.ndarray
    ended: tuple[Ended, Ended]


def boundary(
    make_problem: Callable[..., Any],
    event: Event,
    *,
    step: float = FIRST_STEP,
    max_step: float = LONGEST_STEP,
    max_points: int = 1000,
    **parameters: ArrayLike,
) -> Boundary:
    """Follow a fold or a branch point as a second hyper-parameter moves: boundary(make_problem,
    event, alpha=alphas, gamma=gammas), both ways.

    make_problem(alpha=..., gamma=...) -> Problem must take traced values. event: of `follow` in the
    first of the two hyper-parameters, at the first value of the second. Of both the values span the
    range, which the boundary is followed up to, and are met exactly. step and max_step: first and
    largest step in arclength; max_points: where to stop, each way. Not for `jit`. Raises ValueError
    for another kind of event, for anything but two hyper-parameters with two different values each,
    for an event outside their range, and where it is none of make_problem's.
    """
    names, wanted = _requested(parameters)
    if event.kind not in (EventKind.FOLD, EventKind.BRANCH_POINT):
        raise ValueError(
            f"expected a fold or a branch point, got a {event.kind}; take one of those events"
        )
    require_float64("continuation", event.params)
    if not wanted[0].min() <= event.value <= wanted[0].max():
        raise ValueError(
            f"expected values of {names[0]} on both sides of the event, at {event.value:g}, got "
            f"{wanted[0].min():g} to {wanted[0].max():g}; widen them"
        )
    task = _Task(
        make_problem=make_problem,
        structured=False,
        names=names,
        wanted=wanted,
        kind=event.kind,
        step=step,
        max_step=max_step,
        max_points=max_points,
    )
    with refusing("make_problem of both hyper-parameters by name", "give what the event is of"):
        problem = task.losses(1).problem(wanted[1][0], event.value)
        require_scalar(problem.loss, event.params)
        values = event.value, wanted[1][0]
        task = task._replace(structured=is_structured(task.losses(1), *values[::-1]))
    try:
        home = _start(task, event)
    except Lost:
        raise ValueError(
            f"expected a {event.kind} at {names[0]} = {event.value:g}, {names[1]} = "
            f"{wanted[1][0]:g}, got none in reach; give the event's {names[1]} first"
        ) from None
    ways = [_way(task, home, 1.0)]
    if ways[0].ended != Ended.LOOP:
        ways.insert(0, _way(task, home, -1.0))
    return _gathered(task, ways)


def _requested(parameters: dict[str, ArrayLike]) -> tuple[tuple[str, str], list[np.ndarray]]:
    """Names and values of the two hyper-parameters."""
    if len(parameters) != 2:
        raise ValueError(
            f"expected two hyper-parameters, got {sorted(parameters)}; call boundary(make, event, "
            f"alpha=alphas, gamma=gammas)"
        )
    first, second = parameters
    wanted = [data.reals(values, name) for name, values in parameters.items()]
    for name, values in zip(parameters, wanted, strict=True):
        if values.ndim != 1 or not np.isfinite(values).all() or len(set(values)) < 2:
            raise ValueError(
                f"expected two or more values of {name}, got {shown(parameters[name])}; they span "
                f"the range"
            )
    return (first, second), wanted


class _Task(NamedTuple):
    """What is asked.

    make_problem: of both hyper-parameters by name.
    structured: whether the problems are means over data that do not depend on them.
    names: theirs.
    wanted: (.,) each, requested values.
    kind: of the boundary.
    step, max_step: first and largest step, in arclength.
    max_points: each way.
    """

    make_problem: Callable[..., Any]
    structured: bool
    names: tuple[str, str]
    wanted: list[np.ndarray]
    kind: EventKind
    step: float
    max_step: float
    max_points: int

    def losses(self, moved: int) -> Losses:
        """With one of the hyper-parameters as the one that moves."""
        return Losses(self.make_problem, self.names[moved], self.names[1 - moved])

    def span(self, which: int) -> float:
        """Of a hyper-parameter's requested values."""
        return float(np.ptp(self.wanted[which]))


class _Spot(NamedTuple):
    """A point of the boundary.

    values: (2,), of the hyper-parameters.
    x, y: parameters, and the vector of the kernel.
    imperfection: (), of a branch point, else None.
    """

    values: np.ndarray
    x: Params
    y: Params
    imperfection: Any


class _Chart(NamedTuple):
    """A part of the boundary, as a curve of stationary points.

    moved: which hyper-parameter moves.
    curve: over the other one, and all else.
    start: where it is entered.
    rate: what drives the kernel's vector at a fold, by the hyper-parameter that is solved for.
    """

    moved: int
    curve: Curve
    start: Place
    rate: float

    def spot(self, place: Place) -> _Spot:
        """A place on it."""
        params = self.curve.params(place.z[:-1])
        values = np.empty(2)
        values[self.moved], values[1 - self.moved] = place.z[-1], params.solved
        return _Spot(values=values, x=params.x, y=params.y, imperfection=params.imperfection)

    def change(self, task: _Task, place: Place) -> np.ndarray:
        """Of what moves and of the other one, (2,) in their spans, per arclength."""
        other = -2 if place.tangent.size == 2 * self.size + 2 else -3
        spans = [task.span(self.moved), task.span(1 - self.moved)]
        return place.tangent[[-1, other]] / spans

    @property
    def size(self) -> int:
        """Number of parameters."""
        return ravel_pytree(self.curve.like.x)[0].size


def _start(task: _Task, event: Event) -> _Chart:
    """The chart around an event, with a vector of its kernel: of a fold's the one that is driven.

    Raises Lost.
    """
    is_fold = task.kind == EventKind.FOLD
    spot = _Spot(
        values=np.array([event.value, task.wanted[1][0]]),
        x=event.params,
        y=model.at(event.kernel, 0),
        imperfection=None if is_fold else jnp.zeros(()),
    )
    if is_fold and event.dimension > 1:
        ways = [spot._replace(y=model.at(event.kernel, i)) for i in range(event.dimension)]
        shares = jnp.stack([drive(*_source(task, way, 1)) for way in ways])
        spot = spot._replace(y=jax.tree.map(lambda y: jnp.tensordot(shares, y, 1), event.kernel))
    chart = _entered(task, spot, 1, 1.0)
    if _is_steep(task, chart, chart.start):
        chart = _entered(task, chart.spot(chart.start), 0, 1.0)
    return chart


def _is_steep(task: _Task, chart: _Chart, place: Place) -> bool:
    """Whether the other hyper-parameter changes much more than the one that moves.

    No matter at branch points: their system is regular where the boundary turns.
    """
    moved, other = np.abs(chart.change(task, place))
    return bool(task.kind == EventKind.FOLD and other > STEEP * moved)


def _source(task: _Task, spot: _Spot, moved: int) -> tuple[Singular, Extended]:
    """What a spot is a stationary point of, but for its rate, and the spot's parameters there."""
    singular = _maker(task, spot.values, moved, 0.0)(spot.values[moved])
    solved = jnp.asarray(spot.values[1 - moved])
    params = Extended(x=spot.x, y=spot.y, solved=solved, imperfection=spot.imperfection)
    return singular, params


def _maker(task: _Task, values: np.ndarray, moved: int, rate: Any) -> Callable[[Any], Singular]:
    """Of what the boundary is stationary points, over the value of what moves, near values (2,)."""
    losses, solved = task.losses(moved), values[1 - moved]

    def make(value: Any) -> Singular:
        structure: Any = losses.problem(value, solved).structure if task.structured else None
        return Singular(
            losses=losses,
            structured=task.structured,
            value=jnp.asarray(value),
            data=structure.data if task.structured else None,
            span=jnp.asarray(task.span(1 - moved)),
            rate=jnp.asarray(rate) if task.kind == EventKind.FOLD else None,
        )

    return make


def _entered(
    task: _Task, spot: _Spot, moved: int, sign: float, rate: float | None = None
) -> _Chart:
    """A chart around the point of the boundary near a spot, at the spot's value of what moves;
    sign: which way that sets out.

    The kernel's vector there has length one or, where it is given, the drive rate. Raises Lost.
    """
    source = _source(task, spot, moved)
    own = drive(*source)
    unit = 1.0 / length(*source) if rate is None else rate / own
    params = source[1]._replace(y=jax.tree.map(lambda y: unit * y, spot.y))
    rate = float(unit * own)
    curve = Curve(_maker(task, spot.values, moved, rate), params, task.span(moved))
    start = start_at(curve, ravel_pytree(params)[0], spot.values[moved], sign)
    return _Chart(moved=moved, curve=curve, start=start, rate=rate)


class _Way(NamedTuple):
    """What is met on the boundary one way from an event: spots, cusps (2,), why it ends."""

    spots: list[_Spot]
    cusps: list[np.ndarray]
    ended: Ended


def _way(task: _Task, home: _Chart, sign: float) -> _Way:
    """The boundary from home on; sign: which way the hyper-parameter that moves there sets out."""
    tangent = sign * home.start.tangent
    chart = home = home._replace(start=home.start._replace(tangent=tangent))
    way = _Way(spots=[home.spot(home.start)], cusps=[], ended=Ended.LOST)
    while True:
        try:
            left = _along(task, chart, home, way)
            if isinstance(left, Ended):
                return way._replace(ended=left)
            chart = _changed(task, chart, left)
        except Lost:
            return way


def _along(task: _Task, chart: _Chart, home: _Chart, way: _Way) -> Ended | Place:
    """Adds to a way what is met in a chart, up to where the boundary ends, or where it had better
    be left for another one. Raises Lost.
    """
    route = Route(
        curve=chart.curve,
        start=chart.start,
        home=_home_in(task, chart, home),
        values=task.wanted[chart.moved],
        first_step=task.step,
        max_step=task.max_step,
    )
    before = chart.spot(chart.start)
    driven = _driven(task, home, home.start)  # by a vector of length one
    for item in walk(route):
        if isinstance(item, Ended):
            return item
        if isinstance(item, Event):
            if item.kind == task.kind == EventKind.FOLD:
                cusp = np.empty(2)
                cusp[chart.moved], cusp[1 - chart.moved] = item.value, item.params.solved
                way.cusps.append(cusp)
            continue
        if item.place is chart.start:
            continue
        spot = chart.spot(item.place)
        if spot.imperfection is not None and abs(spot.imperfection) > BROKEN:
            return Ended.APART
        way.spots.extend(_passed(task, chart, before, spot))
        if not _is_inside(task, spot):
            return Ended.RANGE
        way.spots.append(spot)
        before = spot
        if len(way.spots) >= task.max_points:
            return Ended.POINTS
        if task.kind == EventKind.FOLD:
            stretch = _stretch(chart, item.place)
            if _driven(task, chart, item.place) < DRIVEN * stretch * driven:
                return Ended.MEETS
            if _is_steep(task, chart, item.place) or stretch > STRETCHED:
                return item.place
    return Ended.LOST


def _home_in(task: _Task, chart: _Chart, home: _Chart) -> Place:
    """Where a loop closes, in a chart; its start where that is nowhere in it."""
    if chart is home or chart.moved != home.moved:
        return chart.start
    sign = float(np.sign(home.start.tangent[-1]))
    spot = home.spot(home.start)
    return _entered(task, spot, chart.moved, sign, chart.rate).start


def _changed(task: _Task, chart: _Chart, place: Place) -> _Chart:
    """The chart in which the boundary goes on from a place. Raises Lost."""
    moved = 1 - chart.moved if _is_steep(task, chart, place) else chart.moved
    sign = np.sign(chart.change(task, place)[int(moved != chart.moved)])
    return _entered(task, chart.spot(place), moved, float(sign))


def _is_inside(task: _Task, spot: _Spot) -> bool:
    """Whether both hyper-parameters are in the span of their requested values."""
    spans = zip(task.wanted, spot.values, strict=True)
    return all(wanted.min() <= value <= wanted.max() for wanted, value in spans)


def _stretch(chart: _Chart, place: Place) -> float:
    """Length of the kernel's vector, whose drive is held."""
    params = chart.curve.params(place.z[:-1])
    return float(length(chart.curve.make_problem(place.z[-1]), params))


def _driven(task: _Task, chart: _Chart, place: Place) -> float:
    """Drive of the kernel's vector at a fold, by both hyper-parameters in their spans."""
    moved, other = np.abs(chart.change(task, place))
    steepness = other / max(moved, np.finfo(float).tiny)
    return float(abs(chart.rate) * task.span(1 - chart.moved) * np.hypot(1.0, steepness))


def _passed(task: _Task, chart: _Chart, before: _Spot, after: _Spot) -> list[_Spot]:
    """Where between two places in a chart what is solved for has requested values."""
    solved = 1 - chart.moved
    start, end = before.values[solved], after.values[solved]
    wanted = np.unique(task.wanted[solved])
    within = wanted[(wanted - start) * (wanted - end) < 0]
    met = []
    for value in within[np.argsort(np.abs(within - start))]:
        part = (value - start) / (end - start)
        near = jax.tree.map(lambda a, b, part=part: (1 - part) * a + part * b, before, after)
        near.values[solved] = value
        with suppress(Lost):
            other = _entered(task, near, solved, 1.0)
            met.append(other.spot(other.start))
    return met


def _gathered(task: _Task, ways: list[_Way]) -> Boundary:
    """The boundary of what is met both ways, or on a loop."""
    spots = [*ways[0].spots[:0:-1], *ways[-1].spots] if len(ways) == 2 else ways[0].spots
    cusps = [cusp for way in ways for cusp in way.cusps]
    judged = [_judged(task, spot) for spot in spots]
    values = np.array([spot.values for spot in spots])
    wanted = zip(values.T, task.wanted, strict=True)
    return Boundary(
        parameters=task.names,
        kind=task.kind,
        values=values,
        requested=np.stack([np.isin(*pair) for pair in wanted], axis=1),
        params=_stacked([spot.x for spot in spots]),
        loss=np.array([loss for loss, *_ in judged]),
        kernel=_stacked([kernel for *_, kernel in judged]),
        negative=np.array([negative for _, negative, _ in judged]),
        cusps=np.reshape(cusps, (-1, 2)),
        ended=(ways[0].ended, ways[-1].ended),
    )


def _judged(task: _Task, spot: _Spot) -> tuple[float, int, Params]:
    """Energy, number of negative eigenvalues beside the one that vanishes, kernel."""
    source = _source(task, spot, 1)
    loss, eigenvalues, width = jax.device_get(facts(*source))
    zero = np.maximum(width, VANISHING * np.max(np.abs(eigenvalues)))
    unit = 1.0 / length(*source)
    negative = int(np.sum(eigenvalues < -zero))
    return float(loss), negative, jax.tree.map(lambda y: unit * y, spot.y)


def _stacked(trees: list[Params]) -> Params:
    """Along a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
