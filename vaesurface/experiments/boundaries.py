"""Where does the best minimum end as two hyper-parameters move, and does a grid say the same?"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import paths, plot, stationary, sweep
from vaesurface.experiments.study import Setting, keep
from vaesurface.paths.boundaries import Boundary
from vaesurface.paths.branch import Branch
from vaesurface.paths.events import Event, EventKind
from vaesurface.problem import Params, Problem
from vaesurface.report import Figure
from vaesurface.stationary.descent import descend
from vaesurface.stationary.model import at

__all__ = ["Plane", "boundaries"]

CELLS = 20  # of the grid, each way
MOST = 6  # boundaries that are followed
POINTS = 200  # of a boundary, each way
SADDLES_PASSED = 20  # on the way down in a cell
# Change of the first hyper-parameter, in its span, within which an event is on a boundary that has
# been followed already.
SAME = 1e-7


class Plane(NamedTuple):
    """What moves.

    make: problem of the two hyper-parameters by name.
    names: theirs.
    ranges: of each, from one end to the other.
    at: of the second, where the branch is.
    """

    make: Callable[..., Any]
    names: tuple[str, str]
    ranges: tuple[tuple[float, float], tuple[float, float]]
    at: float

    def problem(self, first: float, second: float) -> Problem:
        """At a point of the plane."""
        return self.make(**dict(zip(self.names, (first, second), strict=True)))


def boundaries(
    setting: Setting, plane: Plane, branches: Sequence[Branch], **look: Any
) -> tuple[list[str], Figure]:
    """Sentences on the boundaries that go through the events of branches over the first
    hyper-parameter, and their figure over a grid's verdicts, which begin where the first branch
    does.
    """
    followed = _followed(plane, branches)
    first, second = (np.linspace(*ends, CELLS) for ends in plane.ranges)
    start = jax.tree.map(jnp.asarray, at(branches[0].point.params, 0))
    with setting.side_by_side() as crewed:
        active = _verdicts(crewed, plane, start, first, second)
    columns: dict[str, Any] = {"first": first, "second": second, "active": active}
    for i, boundary in enumerate(followed, 1):
        own = {"values": boundary.values, "negative": boundary.negative, "cusps": boundary.cusps}
        columns |= {f"{boundary.kind}_{i}_{k}".replace(" ", "_"): v for k, v in own.items()}
    keep(setting.out, "boundaries", **columns)
    caption = (
        "Where minima meet a saddle and vanish, or branch. "
        "Cells: active latents of the minimum that descent leads to from cell to cell, up and down "
        f"the first column from {plane.names[1]} = {plane.at:g} and then along the rows."
    )
    verdicts = plot.Verdicts(x=first, y=second, active=active)
    drawn = partial(plot.boundaries, followed, verdicts=verdicts, **look)
    said = [_course(boundary) for boundary in followed]
    said = said or ["No minimum folds or branches on the way: there is no boundary to follow."]
    return said, setting.draw("boundaries", caption, drawn)


def _followed(plane: Plane, branches: Sequence[Branch]) -> list[Boundary]:
    """The boundaries through events of branches at which a minimum is lost, each once."""
    followed: list[Boundary] = []
    begun = [plane.at, *plane.ranges[1]]
    moved: dict[str, Any] = dict(zip(plane.names, (plane.ranges[0], begun), strict=True))
    events = [
        event for branch in branches for event in branch.events if _is_of_a_minimum(branch, event)
    ]
    for event in events:
        if any(_passes(boundary, event, plane) for boundary in followed):
            continue
        followed.append(paths.boundary(plane.make, event, max_points=POINTS, **moved))
        if len(followed) == MOST:
            break
    return followed


def _is_of_a_minimum(branch: Branch, event: Event) -> bool:
    """Whether a minimum folds or branches: one of the points on both sides of an event is one."""
    if event.kind == EventKind.JUMP:
        return False
    after = int(np.searchsorted(branch.arclength, event.arclength))
    return stationary.Kind.MINIMUM in branch.point.kind[max(0, after - 1) : after + 1]


def _passes(boundary: Boundary, event: Event, plane: Plane) -> bool:
    """Whether a boundary goes through an event."""
    near = SAME * abs(np.ptp(plane.ranges[0]))
    there = boundary.values[:, 1] == plane.at
    values, losses = boundary.values[there, 0], boundary.loss[there]
    level = SAME * max(1.0, abs(event.loss))
    same = (np.abs(values - event.value) <= near) & (np.abs(losses - event.loss) <= level)
    return bool(boundary.kind == event.kind and same.any())


def _verdicts(
    setting: Setting, plane: Plane, start: Params, first: np.ndarray, second: np.ndarray
) -> np.ndarray:
    """Active latents (len(second), len(first)) of the minimum that descent leads to, cell by cell:
    first along a column, from the start both ways, then along the rows.
    """
    column: dict[int, Any] = {}
    above = second >= plane.at
    for cells in (np.flatnonzero(above), np.flatnonzero(~above)[::-1]):
        if second[0] > second[-1]:
            cells = cells[::-1]
        ends = _down(plane, start, [(first[0], second[i]) for i in cells])
        column |= dict(zip(cells.tolist(), ends, strict=True))
    rows = [(column[i].params, [(value, second[i]) for value in first]) for i in range(len(second))]
    ends = sweep.each(partial(_row, plane), rows, setting.executor)
    return np.array([[_active(end) for end in row] for row in ends])


def _row(plane: Plane, row: tuple[Params, Sequence[tuple[float, float]]]) -> list[Any]:
    """A row of cells."""
    return _down(plane, *row)


def _down(plane: Plane, params: Params, cells: Sequence[tuple[float, float]]) -> list[Any]:
    """Where descent leads in one cell after the other, each from the end in the last one."""
    ends = []
    for cell in cells:
        problem = plane.problem(*cell)
        params = descend(problem, params, saddles=SADDLES_PASSED).params
        ends.append(stationary.analyze(problem, params, directions=0))
    return ends


def _active(point: Any) -> float:
    """How many latents are active; NaN where the point is not stationary."""
    stands = point.kind != stationary.Kind.NOT_STATIONARY
    return float(point.active.sum()) if stands else np.nan


def _course(boundary: Boundary) -> str:
    """Where a boundary leads, and what it met."""
    first, second = boundary.parameters
    ends = [
        f"{first} = {values[0]:.6g}, {second} = {values[1]:.6g} ({ended})"
        for values, ended in zip(boundary.values[[0, -1]], boundary.ended, strict=True)
    ]
    cusps = [f"{first} = {a:.6g}, {second} = {b:.6g}" for a, b in boundary.cusps]
    met = f"; cusps at {'; '.join(cusps)}" if cusps else ""
    lost = "a minimum's" if (boundary.negative == 0).any() else "a saddle's"
    return f"{lost.capitalize()} {boundary.kind} goes from {ends[0]} to {ends[1]}{met}."
