"""Has a loss second derivatives at all, as far as straight lines show; and what does rounding do to
its values?

`kink` compares the loss with its quadratic model on straight lines. Where it has the second
derivatives that differentiation returns, the two differ by less and less in units of the distance
squared. What rounding does is told from values close together.

>>> import jax.numpy as jnp
>>> valley = lambda w: (w[1] - w[0] ** 2) ** 2 - w[0] ** 6
>>> bool(kink(valley, jnp.zeros(2), jnp.ones(2)).found)
False
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.glance import brief
from vaesurface.problem import Params

__all__ = [
    "KINK_DISTANCES",
    "KINK_RAYS",
    "NOISE_SAMPLES",
    "NOISE_SPACING",
    "Kink",
    "bounds",
    "kink",
    "rounding",
]

# Values that rounding is estimated from, and how far apart, over their distance from the point.
NOISE_SAMPLES = 9
NOISE_SPACING = 1e-3
KINK_RAYS = 4  # straight lines on which the quadratic model is tried, there and back
KINK_DISTANCES = 10.0 ** np.arange(-9.0, -2.9)  # along them, a decade apart
DECADES = len(KINK_DISTANCES)
KINK_NEAR = 2  # decades beyond a place from which its rounding is told, too
# The mismatch over distance squared shrinks by ten per decade where third derivatives exist, and
# not at a kink.
KINK_LASTS = 0.5
KINK_VISIBLE = 4  # bounds on rounding, above which a mismatch is one
KINK_FALLS = 3  # distances at least at which a fall along a straight line is seen


@brief()
class Kink(NamedTuple):
    """How well a loss follows its quadratic model; distances are in units of the parameters' sizes.

    found: (), whether at no distance that rounding leaves visible does the loss follow it.
    mismatch: (), |loss - model| over distance^2, which does not shrink.
    falls: (), whether the loss falls along a straight line.
    drop: (), by how much.
    displacement: to there, like params; zero where nothing falls.
    """

    found: Array
    mismatch: Array
    falls: Array
    drop: Array
    displacement: Params


def kink(loss: Callable[[Params], Array], params: Params, size: Params) -> Kink:
    """Does a loss have the second derivatives that differentiation returns? At a kink it returns
    those of one side.

    Where it has, and they are continuous, the loss differs from its quadratic model by less and
    less in units of the distance squared. size: natural size of each parameter, like params. The
    random lines are always the same.
    """
    x, unravel = ravel_pytree(params)
    rays = _rays(ravel_pytree(size)[0])
    level = loss(params)
    changes, mismatch = _measured(lambda y: loss(unravel(y)), x, level, rays)
    noises = bounds(rounding(changes), level)
    noise = noises[:, -1:]
    # Farther out the loss may not be smooth any more.
    near = noises[:, np.minimum(np.arange(DECADES) + KINK_NEAR, DECADES - 1)]
    squares = KINK_DISTANCES[None] ** 2
    changes, mismatch = changes[..., 0], jnp.abs(mismatch[..., 0]) / squares
    lasts = _lasts(mismatch, near) & (mismatch > KINK_VISIBLE * noise / squares)
    found = jnp.any(lasts)
    drop = _drops(changes, noise)
    best = jnp.argmax(drop)
    return Kink(
        found=found,
        mismatch=jnp.max(jnp.where(lasts, mismatch, 0.0)),
        falls=found & (drop[best] > 0),
        drop=drop[best],
        displacement=unravel(jnp.where(drop[best] > 0, KINK_DISTANCES[-1] * rays[best], 0.0)),
    )


def _rays(scale: Array) -> Array:
    """Directions (2 `KINK_RAYS`, p) of length one in units of the sizes, and their opposites."""
    angles = jnp.arange(1.0, 1.0 + KINK_RAYS * scale.size) ** 2
    irregular = scale[None] * jnp.cos(angles).reshape(KINK_RAYS, -1)
    irregular = irregular / jnp.linalg.norm(irregular / scale[None], axis=1, keepdims=True)
    return jnp.concatenate([irregular, -irregular])


def _measured(
    value: Callable[[Array], Array], x: Array, level: Array, rays: Array
) -> tuple[Array, Array]:
    """The loss's change from level at x, and how far it is from g' v + v' H v / 2.

    Both (rays, distances, `NOISE_SAMPLES`): places along the last axis are close together, which
    shows the rounding.
    """
    gradient, product = jax.linearize(jax.grad(value), x)
    images = jax.lax.map(product, rays[:KINK_RAYS])
    shape = len(rays), DECADES, NOISE_SAMPLES

    def at(i: Array) -> tuple[Array, Array]:
        ray, step, sample = jnp.unravel_index(i, shape)
        distance = jnp.asarray(KINK_DISTANCES)[step]
        u, image = rays[ray], jnp.where(ray < KINK_RAYS, 1.0, -1.0) * images[ray % KINK_RAYS]
        y = x + distance * (1 + NOISE_SPACING * sample) * u
        v = y - x  # as it is after rounding, which matters to the first order
        change = value(y) - level
        return change, change - gradient @ v - 0.5 * distance * (2 * v - distance * u) @ image

    changes, mismatch = jax.lax.map(at, jnp.arange(math.prod(shape)))
    return changes.reshape(shape), mismatch.reshape(shape)


def _lasts(mismatch: Array, noise: Array) -> Array:
    """Whether a mismatch over distance^2 (rays, distances) is as large at every smaller distance,
    as far down as it could be seen there above noise (rays, distances), a decade at least.

    Else the kink is some way off, or there is none.
    """
    nearer = (KINK_DISTANCES[:, None] < KINK_DISTANCES[None])[None]  # axes: rays, nearer, distance
    expected = KINK_LASTS * mismatch[:, None]
    visible = KINK_VISIBLE * noise[..., None] < KINK_DISTANCES[None, :, None] ** 2 * expected
    lasts = jnp.all(~(nearer & visible) | (mismatch[..., None] >= expected), axis=1)
    return lasts & jnp.any(nearer & visible, axis=1)


def _drops(changes: Array, noise: Array) -> Array:
    """By how much (rays,) the loss falls at the farthest place, where it falls all the way there;
    else 0. changes (rays, distances), noise (rays, 1).
    """
    clear = jnp.abs(changes) > noise
    on = ~clear[:, :-1] | (jnp.diff(changes) < 0)
    falls = jnp.all(~clear | (changes < 0), axis=1) & jnp.all(on, axis=1)
    return jnp.where(falls & (jnp.sum(clear, axis=1) >= KINK_FALLS), -changes[:, -1], 0.0)


def rounding(values: Array) -> Array:
    """Standard deviation of the rounding in a function's values at `NOISE_SAMPLES` equally spaced
    places, along the last axis.

    From sixth differences: J. J. More & S. M. Wild, Estimating computational noise, SIAM J. Sci.
    Comput. 33 (2011).
    """
    return jnp.sqrt(jnp.mean(jnp.diff(values, n=6) ** 2, axis=-1) / math.comb(12, 6))


def bounds(noise: Array, level: Array) -> Array:
    """On the rounding of differences, from the noise up to each place of the last axis: what comes
    from cancellation inside the loss shows at some distances only.
    """
    eps = jnp.finfo(level.dtype).eps
    finite = jnp.where(jnp.isfinite(noise), noise, 0.0)
    return 8 * jax.lax.cummax(finite, axis=finite.ndim - 1) + 32 * eps * jnp.abs(level)
