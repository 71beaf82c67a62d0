"""In which coordinates is the boundary in the plane of two hyper-parameters a curve of stationary
points, here and further on?

A `Chart` is a curve of `singular`'s stationary points over one of the hyper-parameters, in which
the other one is solved for. At folds it is good where the boundary is not steep, and where the
kernel's vector keeps its length though its drive is held; `entered` makes one around a point,
`changed` the next one.

>>> from vaesurface.problem import Problem
>>> def make(a, b):
...     return Problem(loss=lambda x: x**4 / 4 - b * x**2 / 2 - a * x)
>>> task = Task(
...     make_problem=make,
...     structured=False,
...     names=("a", "b"),
...     wanted=[np.array([-1.0, 1.0]), np.array([0.1, 2.0])],
...     kind=EventKind.FOLD,
... )
>>> near = Spot(np.array([-0.4, 1.0]), jnp.array(0.6), jnp.array(1.0), imperfection=None)
>>> chart = entered(task, near, moved=1, sign=1.0)
>>> print(chart.spot(chart.start).values.round(9))
[-0.38490018  1.        ]
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaesurface.glance import brief
from vaesurface.paths.corrector import Curve, Place
from vaesurface.paths.events import EventKind
from vaesurface.paths.singular import Extended, Losses, Singular, drive, facts, length
from vaesurface.paths.stride import start_at
from vaesurface.paths.walk import FIRST_STEP, LONGEST_STEP
from vaesurface.problem import Params

__all__ = [
    "Chart",
    "Spot",
    "Task",
    "changed",
    "driven",
    "entered",
    "is_steep",
    "judged",
    "source",
    "stretch",
]

# Change of the hyper-parameter that is solved for over that of the one that moves, in their spans,
# from which they change places. More than one, or they would change at every step.
STEEP = 3.0
# Size of a Hessian's eigenvalue, over its largest, that is taken for the one that vanishes.
VANISHING = 1e-8


class Task(NamedTuple):
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
    step: float = FIRST_STEP
    max_step: float = LONGEST_STEP
    max_points: int = 1000

    def losses(self, moved: int) -> Losses:
        """With one of the hyper-parameters as the one that moves."""
        return Losses(self.make_problem, self.names[moved], self.names[1 - moved])

    def span(self, which: int) -> float:
        """Of a hyper-parameter's requested values."""
        return float(np.ptp(self.wanted[which]))


class Spot(NamedTuple):
    """A point of the boundary.

    values: (2,), of the hyper-parameters.
    x, y: parameters, and the vector of the kernel.
    imperfection: (), of a branch point, else None.
    """

    values: np.ndarray
    x: Params
    y: Params
    imperfection: Any


@brief()
class Chart(NamedTuple):
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

    def spot(self, place: Place) -> Spot:
        """A place on it."""
        params = self.curve.params(place.z[:-1])
        values = np.empty(2)
        values[self.moved], values[1 - self.moved] = place.z[-1], params.solved
        return Spot(values=values, x=params.x, y=params.y, imperfection=params.imperfection)

    def change(self, task: Task, place: Place) -> np.ndarray:
        """Of what moves and of the other one, (2,) in their spans, per arclength."""
        other = -2 if place.tangent.size == 2 * self.size + 2 else -3
        spans = [task.span(self.moved), task.span(1 - self.moved)]
        return place.tangent[[-1, other]] / spans

    @property
    def size(self) -> int:
        """Number of parameters."""
        return ravel_pytree(self.curve.like.x)[0].size


def is_steep(task: Task, chart: Chart, place: Place) -> bool:
    """Whether the other hyper-parameter changes much more than the one that moves.

    No matter at branch points: their system is regular where the boundary turns.
    """
    moved, other = np.abs(chart.change(task, place))
    return bool(task.kind == EventKind.FOLD and other > STEEP * moved)


def source(task: Task, spot: Spot, moved: int) -> tuple[Singular, Extended]:
    """What a spot is a stationary point of, but for its rate, and the spot's parameters there."""
    singular = _maker(task, spot.values, moved, 0.0)(spot.values[moved])
    solved = jnp.asarray(spot.values[1 - moved])
    params = Extended(x=spot.x, y=spot.y, solved=solved, imperfection=spot.imperfection)
    return singular, params


def _maker(task: Task, values: np.ndarray, moved: int, rate: Any) -> Callable[[Any], Singular]:
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


def entered(task: Task, spot: Spot, moved: int, sign: float, rate: float | None = None) -> Chart:
    """A chart around the point of the boundary near a spot, at the spot's value of what moves;
    sign: which way that sets out.

    The kernel's vector there has length one or, where it is given, the drive rate. Raises Lost.
    """
    here = source(task, spot, moved)
    own = drive(*here)
    unit = 1.0 / length(*here) if rate is None else rate / own
    params = here[1]._replace(y=jax.tree.map(lambda y: unit * y, spot.y))
    rate = float(unit * own)
    curve = Curve(_maker(task, spot.values, moved, rate), params, task.span(moved))
    start = start_at(curve, ravel_pytree(params)[0], spot.values[moved], sign)
    return Chart(moved=moved, curve=curve, start=start, rate=rate)


def changed(task: Task, chart: Chart, place: Place) -> Chart:
    """The chart in which the boundary goes on from a place. Raises Lost."""
    moved = 1 - chart.moved if is_steep(task, chart, place) else chart.moved
    sign = np.sign(chart.change(task, place)[int(moved != chart.moved)])
    return entered(task, chart.spot(place), moved, float(sign))


def stretch(chart: Chart, place: Place) -> float:
    """Length of the kernel's vector, whose drive is held."""
    params = chart.curve.params(place.z[:-1])
    return float(length(chart.curve.make_problem(place.z[-1]), params))


def driven(task: Task, chart: Chart, place: Place) -> float:
    """Drive of the kernel's vector at a fold, by both hyper-parameters in their spans."""
    moved, other = np.abs(chart.change(task, place))
    steepness = other / max(moved, np.finfo(float).tiny)
    return float(abs(chart.rate) * task.span(1 - chart.moved) * np.hypot(1.0, steepness))


def judged(task: Task, spot: Spot) -> tuple[float, int, Params]:
    """Energy, number of negative eigenvalues beside the one that vanishes, kernel."""
    here = source(task, spot, 1)
    loss, eigenvalues, width = jax.device_get(facts(*here))
    zero = np.maximum(width, VANISHING * np.max(np.abs(eigenvalues)))
    unit = 1.0 / length(*here)
    negative = int(np.sum(eigenvalues < -zero))
    return float(loss), negative, jax.tree.map(lambda y: unit * y, spot.y)
