"""Which stationary point does a run from a random start end in?"""

from typing import Any

import jax
from jax import Array
from jax.typing import ArrayLike

from vaesurface import optimize
from vaesurface.problem import Problem, compiled
from vaesurface.stationary.analysis import analyze
from vaesurface.stationary.descent import downhill, refine
from vaesurface.stationary.verdict import (
    Kind,
    StationaryPoint,
)

__all__ = ["find"]


def find(
    problem: Problem,
    key: Array,
    scale: ArrayLike = 0.1,
    optimizer: optimize.Optimizer | None = None,
    escapes: int = 0,
) -> StationaryPoint:
    """Random start, optimizer's run (Adam by default), refinement, verdict.

    escapes: how often to go on where a run has ended at a saddle: a step down along its most
    negative curvature, the optimizer again, refinement again. 0 answers for the optimizer as it is.
    Flat directions that nothing explains are not probed, and the direction of descent is not kept:
    `analyze` does both. Raises ValueError for a problem without `init`.
    """
    if problem.init is None:
        raise ValueError(
            "expected a problem with init, got one without; start from parameters with refine "
            "and analyze"
        )
    return compiled(
        _find, problem, key, scale, optimizer=optimizer or optimize.adam(), escapes=escapes
    )


def _find(
    problem: Any, key: Array, scale: ArrayLike, optimizer: optimize.Optimizer, escapes: int
) -> StationaryPoint:
    def run(start):
        refined = refine(problem, optimizer(problem.loss, start).params)
        return analyze(problem, refined.params, directions=0)._replace(
            refinement=refined._replace(params=None)
        )

    def escape(state):
        point, tries = state
        return run(downhill(problem, point.params, point.descent)), tries + 1

    point = run(problem.init(key, scale))
    if escapes:

        def on_saddle(state):
            return (state[0].kind == Kind.SADDLE) & (state[1] < escapes)

        point, _ = jax.lax.while_loop(on_saddle, escape, (point, 0))
    return point._replace(descent=None)
