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
from vaesurface.problem import Params, Problem, adopt, require_float64, require_key
from vaesurface.refusal import number, whole
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

    problem: with an `init(key, scale)` that draws a start, as the VAEs of `vae` have.
    key: of that start, from `jax.random.key`.
    scale: handed to `init`; where energies are exact the size of random weights, in units of
    sqrt(gammabar), the data's deviation per feature.
    optimizer: what runs from there, such as `optimize.adam(steps=500)`.
    escapes: how often to go on down where a run has ended at a saddle (`descend`); 0 answers for
    the optimizer as it is.

    Flat directions that nothing explains are not probed, and the direction of descent is not kept:
    `analyze` does both. Raises ValueError for a problem without `init` and
    for what is no key, RuntimeError without float64.
    """
    own = adopt(problem)
    require_key(key)
    number("scale", scale, least=0.0)
    whole("escapes", escapes, least=0)
    # A program each, of which the two that take no long loops are compiled quickly.
    refined = refine(own, _run(own, key, scale, optimizer=optimizer or optimize.adam()))
    if escapes:
        refined = descend(own, refined.params, saddles=escapes)
    point = analyze(own, refined.params, directions=0)
    return point._replace(refinement=refined._replace(params=None), descent=None)


@partial(jax.jit, static_argnames="optimizer")
def _run(problem: Problem, key: Array, scale: ArrayLike, optimizer: optimize.Optimizer) -> Params:
    """Where an optimizer ends that begins at a random start."""
    require_float64("finding stationary points")
    require_key(key)
    return optimizer(problem.loss, problem.init(key, scale)).params
