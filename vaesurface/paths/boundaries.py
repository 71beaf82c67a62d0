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
[0.06324555 0.17888544 0.38490018] ['left the requested range', 'left the requested range']
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from vaesurface import data
from vaesurface.glance import brief
from vaesurface.paths.charts import (
    Chart,
    Spot,
    Task,
    changed,
    driven,
    entered,
    is_steep,
    judged,
    source,
    stretch,
)
from vaesurface.paths.corrector import Lost, Place
from vaesurface.paths.events import Event, EventKind
from vaesurface.paths.singular import drive, is_structured
from vaesurface.paths.walk import FIRST_STEP, LONGEST_STEP, Ended, Route, walk
from vaesurface.problem import Params, require_float64, require_scalar
from vaesurface.refusal import refusing, shown
from vaesurface.stationary import model

__all__ = ["Boundary", "boundary"]

# How much longer a kernel's vector may grow, while its drive is held, before it is made a unit one.
STRETCHED = 3.0
# Share of its first size that a fold's drive may fall to: it falls with the square root of the
# distance in the hyper-parameter at which it meets a branch point and is a fold no more.
DRIVEN = 1e-2
# Imperfection, in units of the gradient, that is more than rounding.
BROKEN = 1e-7


@brief("parameters", "values", "loss", "negative", "cusps", "ended", title="kind")
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
    kind = event.kind if isinstance(event, Event) else type(event).__name__
    if kind not in (EventKind.FOLD, EventKind.BRANCH_POINT):
        raise ValueError(
            f"expected a fold or a branch point, got a {kind}; take one of follow(...).events"
        )
    require_float64("continuation", event.params)
    if not wanted[0].min() <= event.value <= wanted[0].max():
        raise ValueError(
            f"expected values of {names[0]} on both sides of the event, at {event.value:g}, got "
            f"{wanted[0].min():g} to {wanted[0].max():g}; widen them"
        )
    task = Task(
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


def _start(task: Task, event: Event) -> Chart:
    """The chart around an event, with a vector of its kernel: of a fold's the one that is driven.

    Raises Lost.
    """
    is_fold = task.kind == EventKind.FOLD
    spot = Spot(
        values=np.array([event.value, task.wanted[1][0]]),
        x=event.params,
        y=model.at(event.kernel, 0),
        imperfection=None if is_fold else jnp.zeros(()),
    )
    if is_fold and event.dimension > 1:
        ways = [spot._replace(y=model.at(event.kernel, i)) for i in range(event.dimension)]
        shares = jnp.stack([drive(*source(task, way, 1)) for way in ways])
        spot = spot._replace(y=jax.tree.map(lambda y: jnp.tensordot(shares, y, 1), event.kernel))
    chart = entered(task, spot, 1, 1.0)
    if is_steep(task, chart, chart.start):
        chart = entered(task, chart.spot(chart.start), 0, 1.0)
    return chart


class _Way(NamedTuple):
    """What is met on the boundary one way from an event: spots, cusps (2,), why it ends."""

    spots: list[Spot]
    cusps: list[np.ndarray]
    ended: Ended


def _way(task: Task, home: Chart, sign: float) -> _Way:
    """The boundary from home on; sign: which way the hyper-parameter that moves there sets out."""
    tangent = sign * home.start.tangent
    chart = home = home._replace(start=home.start._replace(tangent=tangent))
    way = _Way(spots=[home.spot(home.start)], cusps=[], ended=Ended.LOST)
    while True:
        try:
            left = _along(task, chart, home, way)
            if isinstance(left, Ended):
                return way._replace(ended=left)
            chart = changed(task, chart, left)
        except Lost:
            return way


def _along(task: Task, chart: Chart, home: Chart, way: _Way) -> Ended | Place:
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
    first = driven(task, home, home.start)  # by a vector of length one
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
            longer = stretch(chart, item.place)
            if driven(task, chart, item.place) < DRIVEN * longer * first:
                return Ended.MEETS
            if is_steep(task, chart, item.place) or longer > STRETCHED:
                return item.place
    return Ended.LOST


def _home_in(task: Task, chart: Chart, home: Chart) -> Place:
    """Where a loop closes, in a chart; its start where that is nowhere in it."""
    if chart is home or chart.moved != home.moved:
        return chart.start
    sign = float(np.sign(home.start.tangent[-1]))
    spot = home.spot(home.start)
    return entered(task, spot, chart.moved, sign, chart.rate).start


def _is_inside(task: Task, spot: Spot) -> bool:
    """Whether both hyper-parameters are in the span of their requested values."""
    spans = zip(task.wanted, spot.values, strict=True)
    return all(wanted.min() <= value <= wanted.max() for wanted, value in spans)


def _passed(task: Task, chart: Chart, before: Spot, after: Spot) -> list[Spot]:
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
            other = entered(task, near, solved, 1.0)
            met.append(other.spot(other.start))
    return met


def _gathered(task: Task, ways: list[_Way]) -> Boundary:
    """The boundary of what is met both ways, or on a loop."""
    spots = [*ways[0].spots[:0:-1], *ways[-1].spots] if len(ways) == 2 else ways[0].spots
    cusps = [cusp for way in ways for cusp in way.cusps]
    verdicts = [judged(task, spot) for spot in spots]
    values = np.array([spot.values for spot in spots])
    wanted = zip(values.T, task.wanted, strict=True)
    return Boundary(
        parameters=task.names,
        kind=task.kind,
        values=values,
        requested=np.stack([np.isin(*pair) for pair in wanted], axis=1),
        params=_stacked([spot.x for spot in spots]),
        loss=np.array([loss for loss, *_ in verdicts]),
        kernel=_stacked([kernel for *_, kernel in verdicts]),
        negative=np.array([negative for _, negative, _ in verdicts]),
        cusps=np.reshape(cusps, (-1, 2)),
        ended=(ways[0].ended, ways[-1].ended),
    )


def _stacked(trees: list[Params]) -> Params:
    """Along a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
