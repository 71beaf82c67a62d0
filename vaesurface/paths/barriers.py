"""How high is the way out of a point towards another one?

>>> import jax.numpy as jnp
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + (w[1] - w[0] ** 2) ** 2)
>>> crossing = barrier(wells, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
>>> print(f"{crossing.height:.6f}", crossing.label)
1.000000 saddle of index 1: a pass out of the first end
"""

from typing import Any, NamedTuple

import jax
import optax
from jax import Array

from vaesurface import stationary
from vaesurface.glance import brief
from vaesurface.paths.band import Path, minimum_energy_path
from vaesurface.paths.climb import saddle
from vaesurface.paths.edge import rim
from vaesurface.paths.passes import Transition, connect
from vaesurface.problem import Params, Problem, adopt, require_float64
from vaesurface.stationary import model, tally
from vaesurface.stationary.verdict import NEAR, Kind, StationaryPoint

__all__ = ["Barrier", "barrier"]

HOME = 1e-6  # distance up to which the end of a descent is the first end
POLISH = 1e-9  # gradient norm above which the first end is refined


@brief("height", "height_error", "ends", "barrier", "path", title="label")
class Barrier(NamedTuple):
    """The lowest pass found out of a point a towards another one.

    saddle: the pass, a `StationaryPoint`.
    ends: the two points that it joins, leading axis 2, the higher one first.
    barrier: (2,), from each of them up to the saddle, as in `Transition`.
    error: (2,), of those.
    path: the chain that led to it.
    height: of the saddle above a.
    height_error: of that.
    home: whether a is one of the two points that the saddle joins. If not, the height is that of a
        pass between two other points, and lower ways out of a may lie elsewhere.
    """

    saddle: StationaryPoint
    ends: StationaryPoint
    barrier: Array
    error: Array
    path: Path
    height: float
    height_error: float
    home: bool

    @property
    def label(self) -> str:
        """What the saddle is, and whether it is a pass out of a."""
        if self.home:
            return f"{self.saddle.label}: a pass out of the first end"
        return f"{self.saddle.label}: a pass between two other points, not out of the first end"

    def end(self, i: int) -> StationaryPoint:
        """One of the two points that the saddle joins, 0 the higher one."""
        return model.at(self.ends, i)


def barrier(
    problem: Problem,
    a: Params | StationaryPoint,
    b: Params | StationaryPoint,
    anywhere: bool = False,
    **options: Any,
) -> Barrier | None:
    """The lowest pass found out of a towards b; None where no way was found to lead over one.

    A path is relaxed between them, its highest image refined to a saddle, and that connected to
    what it joins. Where that is not a, or there is no such saddle, the edge of a's basin is tracked
    along the path (`rim`). anywhere: a pass between two other points on the way is an answer too,
    as `label` then says. options: of `minimum_energy_path`, whose errors are raised. Not for `jit`.
    """
    problem = adopt(problem)
    path = minimum_energy_path(problem, _polished(problem, a), b, **options)
    home = model.at(path.params, 0)
    crossing = _over(problem, path)
    joins = None if crossing is None else _joins(problem, crossing, home)
    if crossing is not None and joins is None and not anywhere:
        crossing = rim(problem, path) or crossing
        joins = _joins(problem, crossing, home)
    if crossing is None:
        return None
    return Barrier(
        *crossing,
        path=path,
        height=float(crossing.saddle.loss - problem.loss(home)),
        height_error=float(crossing.error[joins or 0]),
        home=joins is not None,
    )


def _polished(problem: Problem, a: Params | StationaryPoint) -> Params:
    """The stationary point that a is all but, as an optimizer's end is; a itself for any other."""
    if isinstance(a, StationaryPoint):
        return a.params
    require_float64("a path", a)
    if optax.tree.norm(jax.grad(problem.loss)(a)) <= POLISH:
        return a
    refined = stationary.refine(problem, a)
    near = model.reach(problem, a, optax.tree.sub(refined.params, a)) <= NEAR
    return refined.params if refined.converged and near else a


def _over(problem: Problem, path: Path) -> Transition | None:
    """Over a path's highest saddle or, where there is none, over one on the edge of its first end's
    basin.
    """
    highest = saddle(problem, path) if path.interior else None
    if highest is None or highest.kind != Kind.SADDLE or highest.inertia.negative == 0:
        return rim(problem, path)
    return connect(problem, highest)


def _joins(problem: Problem, crossing: Transition, point: Params) -> int | None:
    """Which end of a transition is this point, up to symmetry; None for neither."""
    gaps = [tally.distance(problem, model.at(crossing.ends.params, i), point) for i in (0, 1)]
    nearest = int(gaps[1] < gaps[0])
    return nearest if gaps[nearest] <= HOME else None
