"""Which stationary point does a run from a random start end in?

>>> def start(key, scale):
...     return scale * jax.random.normal(key, (1,))
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2, init=start)
>>> find(wells, jax.random.key(0), 1.0, optimize.adam(steps=200)).label
'local minimum'
"""

from functools import partial

import jax
from jax import Array
from jax.typing import ArrayLike

from vaesurface import optimize
from vaesurface.problem import Problem, adopt, require_float64, require_key
from vaesurface.stationary.analysis import analyze
from vaesurface.stationary.descent import descend, refine
from vaesurface.stationary.verdict import StationaryPoint

__all__ = ["find"]


def find(
    problem: Problem,
    key: Array,
    scale: ArrayLike = 0.1,
    optimizer: optimize.Optimizer | None = None,
    escapes: int = 0,
) -> StationaryPoint:
    """Random start, optimizer's run (Adam by default), refinement, verdict.

    escapes: how often to go on down where a run has ended at a saddle (`descend`); 0 answers for
    the optimizer as it is. Flat directions that nothing explains are not probed, and the direction
    of descent is not kept: `analyze` does both. Raises ValueError for a problem without `init` and
    for what is no key, RuntimeError without float64.
    """
    return _find(
        adopt(problem), key, scale, optimizer=optimizer or optimize.adam(), escapes=escapes
    )


@partial(jax.jit, static_argnames=("optimizer", "escapes"))
def _find(
    problem: Problem, key: Array, scale: ArrayLike, optimizer: optimize.Optimizer, escapes: int
) -> StationaryPoint:
    require_float64("finding stationary points")
    require_key(key)
    start = problem.init(key, scale)
    refined = refine(problem, optimizer(problem.loss, start).params)
    if escapes:
        refined = descend(problem, refined.params, saddles=escapes)
    point = analyze(problem, refined.params, directions=0)
    return point._replace(refinement=refined._replace(params=None), descent=None)
