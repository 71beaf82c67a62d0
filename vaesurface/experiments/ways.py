"""Which way leads out of collapse, over which pass?

What `rim`, `branches`, `width` and `graph` share: lower places, and the lowest saddle on ways to
them.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import paths, stationary, theory
from vaesurface.experiments.study import at
from vaesurface.problem import Params, Problem
from vaesurface.stationary import Kind, StationaryPoint, tally

__all__ = ["Crossing", "far_ends", "over", "side", "way_out"]

HOME = 1e-6  # distance up to which the end of a descent is the collapsed point


def far_ends(problem: Any, ends: StationaryPoint) -> list[StationaryPoint]:
    """What is below collapse, judged: points that starts have led to, lowest first, or else one on
    a ray to minus infinity.
    """
    collapsed = problem.collapsed()
    level = float(problem.loss(collapsed))
    below = (np.asarray(ends.kind) != Kind.NOT_STATIONARY) & (
        np.asarray(ends.loss) < level - 1e-9 * max(1.0, abs(level))
    )
    lower = jax.tree.map(lambda x: x[below], ends)
    if below.any():
        first = [group[0] for group in tally.distinct(problem, lower.loss, lower.params)]
        return [stationary.analyze(problem, at(lower.params, i)) for i in first]
    if collapsed.log_gamma is None:
        return []
    ray = theory.unbounded_ray(problem.X, problem.latent, problem.alpha, problem.beta)
    gammas = jnp.exp(collapsed.log_gamma) * 0.5 ** jnp.arange(1.0, 40.0)
    falls = (
        jax.lax.map(lambda gamma: problem.loss(ray.at(gamma)), gammas) < level - 0.1
    )  # none where there is no ray: NaN
    return [stationary.analyze(problem, ray.at(gammas[jnp.argmax(falls)]))] if falls.any() else []


class Crossing(NamedTuple):
    """The way out of collapse: a path to the lower place far, the saddle that was found by it with
    what that joins, by how much it is higher, and whether the collapsed point is one of the two
    that it joins.
    """

    far: StationaryPoint
    path: paths.Path
    transition: paths.Transition
    rise: float
    error: float
    home: bool


def way_out(problem: Problem, ends: Sequence[StationaryPoint]) -> Crossing | None:
    """Over the lowest saddle met on ways from the collapsed point to some lower ones; None where
    there is none. A saddle that the collapsed point is on one side of comes before any other.
    """
    crossings = [crossing for end in ends if (crossing := _way_to(problem, end)) is not None]
    return min(crossings, key=lambda crossing: (not crossing.home, crossing.rise), default=None)


def _way_to(problem: Problem, end: StationaryPoint) -> Crossing | None:
    """Where the highest saddle on the way joins two other points, the edge of collapse's own basin
    is tracked instead.
    """
    collapsed = problem.collapsed()
    path = paths.minimum_energy_path(problem, collapsed, end)
    found = over(problem, path)
    if found is not None and not _at(problem, found, collapsed):
        found = paths.rim(problem, path) or found
    if found is None:
        return None
    rise = float(found.saddle.loss - problem.loss(collapsed))
    return Crossing(end, path, found, rise, float(found.error[0]), _at(problem, found, collapsed))


def over(problem: Problem, path: paths.Path) -> paths.Transition | None:
    """The transition over a path's highest saddle or, where there is none, over one on the edge of
    its first end's basin.
    """
    saddle = paths.saddle(problem, path) if path.interior else None
    if saddle is None or saddle.kind != Kind.SADDLE or saddle.inertia.negative == 0:
        return paths.rim(problem, path)
    return paths.connect(problem, saddle)


def _at(problem: Problem, transition: paths.Transition, point: Params) -> bool:
    """Whether one end of a transition is this point, up to symmetry."""
    return min(tally.distance(problem, side(transition, i).params, point) for i in (0, 1)) <= HOME


def side(transition: paths.Transition, i: int) -> StationaryPoint:
    """One of the two ends, 0 the higher one."""
    return jax.tree.map(lambda x: x[i], transition.ends)
