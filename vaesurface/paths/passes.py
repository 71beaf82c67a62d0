"""How high is the way out of a point, and what does the pass there join?

`connect` follows the descent on both sides of a saddle, so that the pair it joins is known and not
assumed. Energies in the problem's units.

>>> import jax.numpy as jnp
>>> from vaesurface import stationary
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2)
>>> joined = connect(wells, stationary.analyze(wells, jnp.zeros(2)))
>>> print(joined.ends.label, joined.barrier.round(9))
['local minimum' 'local minimum'] [1. 1.]
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import stationary
from vaesurface.glance import brief
from vaesurface.problem import Params, Problem, adopt
from vaesurface.stationary import model
from vaesurface.stationary.descent import below, descend
from vaesurface.stationary.verdict import Kind, StationaryPoint

__all__ = ["Transition", "connect", "fall"]

SHORTEST = 40  # halvings of a step beside a saddle
HOLDS = 0.25  # misfit of the quadratic model, over itself, up to which it holds


@brief("barrier", "error", "saddle", "ends")
class Transition(NamedTuple):
    """A saddle and the two points that descent from it leads to; all fields survive `vmap`.

    saddle: a `StationaryPoint`.
    ends: with a leading axis 2, the higher one first.
    barrier: (2,), from each end up to the saddle, infinite where the energy falls without bound
        there, NaN where descent reached no stationary point (its label says so).
    error: (2,), of the barrier, from rounding and the distance to the stationary points.
    """

    saddle: StationaryPoint
    ends: StationaryPoint
    barrier: Array
    error: Array


def connect(problem: Problem, saddle: StationaryPoint, max_steps: int = 200) -> Transition:
    """Follow the descent on both sides of a saddle to the points that it joins, and judge those.

    Along the direction of its lowest curvature as far as the quadratic model holds, then down as
    `descend` goes, in steps that start as short as that. Raises ValueError for a point that is no
    saddle.
    """
    problem = adopt(problem)
    if saddle.descent is None:
        raise ValueError(
            "expected a saddle with its direction of descent, got one without; judge it with "
            "analyze"
        )
    if not isinstance(saddle.kind, jax.core.Tracer) and not (saddle.kind == Kind.SADDLE).all():
        raise ValueError(f"expected a saddle, got '{saddle.label}'; only a saddle joins two minima")

    sides = []
    for sign in (1.0, -1.0):
        start, radius = _beside(problem, saddle, sign)
        end = descend(problem, start, radius, max_steps).params
        sides.append(stationary.analyze(problem, end))
    return _joined(problem, saddle, *_alike(sides))


@jax.jit
def _beside(problem: Problem, saddle: StationaryPoint, sign: Array) -> tuple[Params, Array]:
    """A point beside a saddle, as far down as the quadratic model holds, and how far that is in the
    parameters' sizes.
    """
    unit = 1.0 / model.reach(problem, saddle.params, saddle.descent)
    distances = sign * unit * 0.5 ** jnp.arange(1.0 * SHORTEST)[::-1]
    heights = jax.lax.map(
        lambda t: problem.loss(optax.tree.add_scale(saddle.params, t, saddle.descent)), distances
    )
    quadratic = 0.5 * saddle.curvature * distances**2
    misfit = jnp.abs(heights - saddle.loss - quadratic)
    holds = misfit <= HOLDS * jnp.abs(quadratic) + problem.rounding(saddle.params)
    t = distances[jnp.maximum(jnp.sum(jnp.cumprod(holds)) - 1, 0)]
    return optax.tree.add_scale(saddle.params, t, saddle.descent), jnp.abs(t) / unit


@jax.jit
def _joined(problem: Problem, saddle: StationaryPoint, *sides: StationaryPoint) -> Transition:
    ends = _stacked(*sides)
    order = jnp.argsort(-ends.loss)
    ends = model.at(ends, order)

    def doubt(point: tuple[Params, Array]) -> Array:
        """Rounding, and half the gradient times the Newton step: how far the energy is from the
        stationary point's.
        """
        params, newton_step = point
        scaled = jax.tree.map(jnp.multiply, jax.grad(problem.loss)(params), problem.size(params))
        slope = jnp.sum(jnp.abs(ravel_pytree(scaled)[0]))
        return problem.rounding(params) + 0.5 * newton_step * slope

    points = _stacked(*((point.params, point.newton_step) for point in (saddle, *sides)))
    doubts = jax.lax.map(doubt, points)
    doubts = doubts[0] + doubts[1:][order]
    reached = ends.kind != Kind.NOT_STATIONARY
    unbounded = jnp.zeros_like(reached)
    if ends.theory is not None:
        unbounded = ends.theory.runaway & (ends.theory.minimum == -jnp.inf)
    height = jnp.where(reached, saddle.loss - ends.loss, jnp.where(unbounded, jnp.inf, jnp.nan))
    return Transition(
        saddle=saddle, ends=ends, barrier=height, error=jnp.where(reached, doubts, jnp.nan)
    )


def _alike(points: Sequence[StationaryPoint]) -> list[StationaryPoint]:
    """Without what one of them lacks: flat directions are probed only where there are some."""
    lacking: dict[str, Any] = {
        name: None
        for name in StationaryPoint._fields
        if any(getattr(point, name) is None for point in points)
    }
    return [point._replace(**lacking) for point in points]


def _stacked(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def fall(problem: Problem, point: StationaryPoint, max_steps: int = 1000) -> StationaryPoint:
    """Where descent from a saddle ends, judged: down its direction of descent, and on as `descend`
    goes. Not for `jit`.

    An optimizer that moves all parameters alike, however small their gradients, may undo a step off
    a row at zero. A point that is no saddle is given back.
    """
    if point.kind != Kind.SADDLE:
        return point
    problem, start = adopt(problem), point.params
    if point.descent is not None:
        start = below(problem, start, point.descent)
    return stationary.analyze(problem, descend(problem, start, max_steps=max_steps).params)
