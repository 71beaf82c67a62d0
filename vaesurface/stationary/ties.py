"""Is a loss twice differentiable at a point, as far as its operations tell?

It is where none of its operations is at a tie there (`kinks`): at the point, within rounding of it
or of the Newton step to the stationary point. A tie that holds wherever the parameters go, as that
of a ReLU's input that is always zero, is none. A tie some way off is a fact about that distance.

>>> import jax.numpy as jnp
>>> def edge(w):
...     return jnp.sum(w**2) + jnp.abs(w[0] - 1e-3)
>>> at, near = (look(edge, jnp.array([x, 0.0]), jnp.zeros(2), jnp.ones(2)) for x in (1e-3, 0.0))
>>> print(int(at.active), int(near.active), f"{float(near.nearest):.0e}")
1 0 1e-03
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.glance import brief
from vaesurface.problem import Params, irregular
from vaesurface.stationary import kinks
from vaesurface.stationary.kinks import Tie

__all__ = [
    "MOST_OPERATIONS",
    "Standing",
    "Ties",
    "at_tie",
    "by_shapes",
    "is_smooth",
    "look",
    "shifts",
    "standing",
]

# Steps from the point, in units of the parameters' sizes: two that show what rounding of the
# parameters does, and two that show whether a tie is there wherever they go.
ROUNDING = (1e-13, 1e-13)
AROUND = (1e-6, 1e-3)
BESIDE = 4.0  # changes over those, or over the Newton step, within which a tie is at the point
MOST_OPERATIONS = 2**22  # elementwise, that are looked at: some 600 MB
ULPS = 4.0  # units in the last place of the operands within which they are equal


@brief()
class Ties(NamedTuple):
    """What of a loss is not smooth at a point.

    active: (), operations, elementwise, that are at a tie there.
    exact: (), those of them that are within rounding of it.
    nearest: (), distance to the nearest other one, roughly and in units of the parameters' sizes;
        infinity for none.
    opaque: (), whether the loss holds operations of which nothing is known, stops gradients, or
        holds too many to be looked at.
    pieces: (), smooth pieces that meet at the point and were examined; 0 where they were not.
    outcome: (), a `pieces.Outcome`, what they say together.
    slope: (), of the fall that was found, per unit of the parameters' sizes; 0 where it begins with
        curvature.
    drop: (), by how much the loss falls along it.
    """

    active: Array
    exact: Array
    nearest: Array
    opaque: Array
    pieces: Array | int = 0
    outcome: Array | int = 0
    slope: Array | float = 0.0
    drop: Array | float = 0.0


class Standing(NamedTuple):
    """Of one operation, elementwise.

    active: whether it is at a tie.
    always: whether it is at one wherever it was looked at, and so is none of the point's own.
    exact: whether it is at one whatever the Newton step.
    distance: to it otherwise, in units of the parameters' sizes.
    """

    active: Array
    always: Array
    exact: Array
    distance: Array


def is_smooth(loss: Callable[[Params], Array], params: Params) -> bool:
    """Whether all operations of a loss are smooth where it is finite. By shapes alone."""
    walk, _ = by_shapes(loss, params)
    return not (walk.kinds or walk.opaque or walk.stopped or walk.ruled)


def by_shapes(loss: Callable[[Params], Array], params: Params) -> tuple[kinks.Walk, int]:
    """What a loss holds, and how many operations that are not smooth, elementwise."""
    walks = []

    def trace(w: Params) -> list[Array]:
        walks.append(kinks.evaluate(loss, w))
        return [tie.gap for tie in walks[-1].ties.values()]

    gaps = jax.eval_shape(trace, params)
    return walks[-1], sum(gap.size for gap in gaps)


def look(loss: Callable[[Params], Array], params: Params, newton: Params, size: Params) -> Ties:
    """newton: the step to the stationary point, like params; size: natural sizes, like params."""
    x, unravel = ravel_pytree(params)
    walk, count = by_shapes(loss, params)
    none, far = jnp.asarray(0), jnp.asarray(jnp.inf)
    nothing = Ties(active=none, exact=none, nearest=far, opaque=jnp.asarray(True))
    if count > MOST_OPERATIONS:
        return nothing

    def ties(step: Array) -> dict[str, Tie]:
        return kinks.evaluate(loss, unravel(x + step)).ties

    seen = jax.lax.map(ties, shifts(newton, size))
    each = [standing(tie) for tie in seen.values()]
    nearest = far
    for one in each:
        nearest = jnp.minimum(nearest, jnp.min(one.distance, initial=jnp.inf))
    return Ties(
        active=sum((jnp.sum(one.active) for one in each), start=none),
        exact=sum((jnp.sum(one.exact) for one in each), start=none),
        nearest=nearest,
        opaque=jnp.asarray(bool(walk.opaque) or walk.stopped),
    )


def shifts(newton: Params, size: Params) -> Array:
    """(steps, p): none, Newton's, and those of `ROUNDING` and `AROUND`."""
    flat, scale = ravel_pytree(newton)[0], ravel_pytree(size)[0]
    lengths = jnp.asarray(ROUNDING + AROUND)
    random = lengths[:, None] * scale[None] * irregular(len(lengths), scale.size)
    return jnp.concatenate([jnp.zeros((1, scale.size)), flat[None], random])


def standing(tie: Tie) -> Standing:
    """Of an operation, from its ties at all of `shifts` (steps, ...)."""
    distance, magnitude = tie.distance[0], jnp.max(tie.magnitude, axis=0)
    change = jnp.abs(tie.gap - tie.gap[:1])
    eps = ULPS * jnp.finfo(distance.dtype).eps
    around = slice(2 + len(ROUNDING), None)

    def tied(first: int) -> Array:
        near = jnp.max(change[first : around.start], axis=0)
        return distance <= BESIDE * near + eps * tie.magnitude[0]

    always = jnp.all(tie.distance[around] <= eps * magnitude[None], axis=0)
    slope = change[around][0] / AROUND[0]
    apart = distance / jnp.where(slope > 0, slope, 1.0)
    return Standing(
        active=tied(1) & ~always,
        always=always,
        exact=tied(2) & ~always,  # without the Newton step
        distance=jnp.where(tied(1) | ~(slope > 0), jnp.inf, apart),
    )


def at_tie(ties: Ties) -> Array:
    """Whether eigenvalues are no verdict, as far as operations tell."""
    return (ties.active > 0) | ties.opaque
