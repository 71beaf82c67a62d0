"""Do eigenvalues decide at a point, or do kinks meet there; and what do the pieces say then?

`look` runs under `vmap` and `jit`: what the loss's operations tell (`ties`), and straight lines as
a second, measured check (`lines.kink`). Outside of these `settle` has the smooth pieces examined
(`pieces`).

>>> def ridge(w):
...     return jnp.abs(w[0]) + w[1] ** 2
>>> seen = look(Problem(loss=ridge), jnp.zeros(2), jnp.zeros(2))
>>> print(bool(seen.doubtful), int(seen.ties.active), look(Problem(loss=jnp.sum), jnp.zeros(2), 0))
True 1 None
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from vaesurface.problem import Params, Problem, irregular
from vaesurface.stationary import pieces, ties
from vaesurface.stationary.lines import KINK_DISTANCES, Kink, kink
from vaesurface.stationary.pieces import Examined, Outcome
from vaesurface.stationary.ties import Ties
from vaesurface.stationary.verdict import Kind, StationaryPoint

__all__ = ["Look", "examine", "look", "settle"]

# A tie up to this far, in units of the sizes, shows on lines that reach as far, and is none here.
EXPLAINS = 10 * float(KINK_DISTANCES[-1])


class Look(NamedTuple):
    """Whether a loss is twice differentiable at a point.

    kink: as measured on straight lines.
    ties: as its operations tell.
    doubtful: (), whether eigenvalues are no verdict.
    """

    kink: Kink
    ties: Ties
    doubtful: Array


def look(problem: Problem, params: Params, newton: Params) -> Look | None:
    """newton: the step to the stationary point, like params. None where the loss is smooth."""
    if problem.smooth(params) or ties.is_smooth(problem.loss, params):
        return None
    size = problem.size(params)
    near = ties.look(problem.loss, params, newton, size)
    at_tie = ties.at_tie(near)
    measured = kink(problem.loss, params, size)
    # Operations tell better than lines whether what these meet is here or a little further.
    found = measured.found & (at_tie | (near.nearest > EXPLAINS))
    measured = measured._replace(found=found, falls=measured.falls & found)
    return Look(kink=measured, ties=near, doubtful=at_tie | found)


def examine(problem: Problem, point: StationaryPoint) -> Examined | None:
    """The pieces that meet at a point; None where none need be looked at.

    The gradient of one side is not zero where all sides rise, so points that are not stationary by
    it are looked at, too.
    """
    near = point.ties
    if near is None or not ties.at_tie(near) or not jnp.isfinite(point.loss):
        return None
    missing = (point.missing_gradient, point.missing_hessian)
    if any(count is not None and count > 0 for count in missing):
        return None
    stationary = point.kind != Kind.NOT_STATIONARY
    if not (stationary or near.exact > 0):
        return None
    # As far as the Newton step may lead, in some direction.
    far = point.newton_step if stationary else 0.0
    leaves, treedef = jax.tree.flatten(problem.size(point.params))
    steps = [far * leaf * irregular(*jnp.shape(leaf)) for leaf in leaves]
    least = int(near.active) if stationary else 0
    found = pieces.examine(problem, point.params, jax.tree.unflatten(treedef, steps), least)
    return found if stationary or found.outcome == Outcome.RISES else None


def settle(
    problem: Problem, point: StationaryPoint, found: Examined, near: Ties
) -> StationaryPoint:
    """The verdict, with what the pieces say. near: the point's ties."""
    measured = point.kink is not None and bool(point.kink.falls)
    # A fall on a line begins at a distance, and where all pieces rise that is all it says; unless
    # a rule of somebody's own makes the derivatives, on which their proof rests.
    if found.outcome == Outcome.RISES and measured:
        walk, _ = ties.by_shapes(problem.loss, point.params)
        found = found._replace(outcome=Outcome.UNDECIDED) if walk.ruled else found
    told = near._replace(
        pieces=jnp.asarray(found.pieces),
        outcome=jnp.asarray(int(found.outcome)),
        slope=jnp.asarray(found.slope),
        drop=jnp.asarray(found.drop),
    )
    point = point._replace(ties=told)
    if found.outcome == Outcome.RISES:
        return point._replace(kind=jnp.full_like(point.kind, Kind.MINIMUM))
    if found.outcome == Outcome.FALLS:
        descent = point.descent if measured else found.displacement
        return point._replace(kind=jnp.full_like(point.kind, Kind.SADDLE), descent=descent)
    return point
