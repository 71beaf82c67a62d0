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

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import data
from vaesurface.glance import brief
from vaesurface.paths import corrector
from vaesurface.paths.corrector import Curve, Lost, MakeProblem
from vaesurface.paths.events import Event
from vaesurface.paths.stride import start_at
from vaesurface.paths.walk import FIRST_STEP, LONGEST_STEP, Ended, Met, Route, walk
from vaesurface.problem import adopt, require_float64, require_numbers, require_scalar
from vaesurface.refusal import refusing, shown
from vaesurface.stationary.verdict import StationaryPoint

__all__ = ["Branch", "follow"]


@brief("value", "events", "point", "ended", title="parameter")
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


def follow(
    make_problem: MakeProblem,
    point: Any,
    *,
    jump: bool = False,
    direction: int | None = None,
    step: float = FIRST_STEP,
    max_step: float = LONGEST_STEP,
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
        require_scalar(adopt(make_problem(float(values[0]))).loss, params)
    curve = Curve(make_problem, params, float(np.ptp(values)))
    sign = float(np.sign(direction or values[values != values[0]][0] - values[0]))
    try:
        start = start_at(curve, ravel_pytree(params)[0], values[0], sign)
    except Lost:
        raise ValueError(
            f"expected a stationary point at {name} = {values[0]:g}, got none in reach; refine "
            f"it there"
        ) from None
    route = Route(
        curve=curve,
        start=start,
        home=start,
        values=values,
        jump=jump,
        first_step=step,
        max_step=max_step,
    )
    return _gathered(name, curve, walk(route), max_points)


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


def _gathered(
    name: str, curve: Curve, met: Iterable[Met | Event | Ended], max_points: int
) -> Branch:
    """A branch of what is met on it: up to its end, a runaway, or as many points as allowed."""
    places: list[Met] = []
    points: list[StationaryPoint] = []
    events: list[Event] = []
    ended = Ended.LOST
    for item in met:
        if isinstance(item, Ended):
            ended = item
        elif isinstance(item, Event):
            events.append(item)
        else:
            places.append(item)
            points.append(_judged(curve, item.place.z))
            theory = points[-1].theory
            if theory is not None and theory.runaway:
                ended = Ended.RUNAWAY
                break
            if len(points) >= max_points:
                ended = Ended.POINTS
                break
    return Branch(
        parameter=name,
        value=np.array([float(item.place.z[-1]) for item in places]),
        arclength=np.array([item.arclength for item in places]),
        requested=np.array([item.requested for item in places]),
        point=jax.tree.map(lambda *x: np.stack(x), *points),
        events=tuple(events),
        ended=ended,
    )


def _judged(curve: Curve, z: np.ndarray) -> StationaryPoint:
    """The verdict on a place of the branch, given as its z (p + 1,)."""
    point = corrector.judged(curve, float(z[-1]), curve.params(z[:-1]))
    return point._replace(descent=None)
