"""Which way leads out of collapse, over which pass?

What `rim`, `branches`, `width` and `graph` share: lower places, and the lowest saddle on ways to
them.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import paths, stationary, sweep, theory
from vaesurface.problem import Problem
from vaesurface.stationary import Kind, StationaryPoint, tally
from vaesurface.stationary.model import at
from vaesurface.vae import ThresholdVAE

__all__ = ["WayOut", "far_ends", "has_rays", "way_out"]

# Of the energy: what is lower than collapse by so much is lower, whatever its own rounding.
LOWER = 1e-9
RAY = 0.1  # by how much a place on a ray has to be lower


def far_ends(problem: Any, ends: StationaryPoint) -> list[StationaryPoint]:
    """What is below collapse, judged: points that starts have led to, lowest first, or else one on
    a ray to minus infinity.
    """
    collapsed = problem.collapsed()
    level = float(problem.loss(collapsed))
    below = (np.asarray(ends.kind) != Kind.NOT_STATIONARY) & (
        np.asarray(ends.loss) < level - LOWER * max(1.0, abs(level))
    )
    lower = jax.tree.map(lambda x: x[below], ends)
    if below.any():
        first = [group[0] for group in tally.distinct(problem, lower.loss, lower.params)]
        return [stationary.analyze(problem, at(lower.params, i)) for i in first]
    if collapsed.log_gamma is None or not has_rays(problem):
        return []
    ray = theory.unbounded_ray(problem.X, problem.latent, problem.alpha, problem.beta)
    gammas = jnp.exp(collapsed.log_gamma) * 0.5 ** jnp.arange(1.0, 40.0)
    falls = (
        jax.lax.map(lambda gamma: problem.loss(ray.at(gamma)), gammas) < level - RAY
    )  # none where there is no ray: NaN
    return [stationary.analyze(problem, ray.at(gammas[jnp.argmax(falls)]))] if falls.any() else []


def has_rays(problem: Problem) -> bool:
    """Whether `theory.unbounded_ray` is about its parameters."""
    return isinstance(problem, ThresholdVAE) and problem.posterior.independent


class WayOut(NamedTuple):
    """The way out of collapse.

    far: the lower place that it leads to.
    crossing: the `paths.Barrier` on the way there.
    """

    far: StationaryPoint
    crossing: paths.Barrier


def way_out(
    problem: Problem, ends: Sequence[StationaryPoint], executor: Any = None
) -> WayOut | None:
    """Over the lowest saddle met on ways from the collapsed point to some lower ones; None where
    there is none. A saddle that the collapsed point is on one side of comes before any other.
    executor: as for `sweep.each`.
    """
    ways = sweep.each(partial(paths.barrier, problem, problem.collapsed()), ends, executor)
    ends_and_ways = zip(ends, ways, strict=True)
    crossed = [WayOut(end, crossing) for end, crossing in ends_and_ways if crossing is not None]
    return min(crossed, key=lambda way: (not way.crossing.home, way.crossing.height), default=None)
