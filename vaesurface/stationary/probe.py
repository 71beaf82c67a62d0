"""Where eigenvalues are no verdict: is anything lower along flat directions, and has the loss
second derivatives at all?

`probe` follows the loss along a flat direction on shells of growing radius, at each of which
Newton's method in the other directions finds the bottom of the valley (so that a curved valley is
followed, as in (y - x^2)^2 - x^6). Where the loss falls as soon as it can be told from rounding,
and from there on like a power of the distance, the point is no minimum; where none is found, that
is all that is said. `kink` compares the loss with its quadratic model on straight lines.

>>> import jax.numpy as jnp
>>> valley = lambda w: (w[1] - w[0] ** 2) ** 2 - w[0] ** 6
>>> found = probe(valley, jnp.zeros(2), lambda g: g * jnp.array([0.0, 0.5]), jnp.ones(2))
>>> bool(found.falls), bool(kink(valley, jnp.zeros(2), jnp.ones(2)).found)
(True, False)
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Params

RADII = 10.0 ** np.arange(
    -6.0, -0.4, 0.5
)  # of the shells, in units of the parameters' sizes: up to about a third
SETTLING, TURNING = (
    3,
    8,
)  # steps that turn a random direction into a flat one, and that into a falling one
TURN = 0.03  # radius at which directions are turned
CORRECTIONS = 3  # Newton steps back to the bottom of the valley
# Radii around the first shell that is lower, over its own.
FINER = 10.0 ** np.linspace(-1.0, 1.0, SETTLING + TURNING + RADII.size)
STRIDE = (
    4  # of those, between two measurements of the power with which the loss falls: a factor of 2.3
)
# By how much that power may be larger nearer to the point: a rise before the fall, too small to be
# seen, makes it larger.
STEEPER = 1.05
SAMPLES, NEXT = (
    9,
    1e-3,
)  # values that rounding is estimated from; how far apart, over their distance from the point
RAYS = 4  # straight lines on which the quadratic model is tried
DISTANCES = 10.0 ** np.arange(-9.0, -2.9)  # along them
# The mismatch over distance squared shrinks by ten per decade where third derivatives exist, and
# not at a kink.
LASTING = 0.5


class Probe(NamedTuple):
    """falls: a direction of descent was found; drop: by how much the loss falls along it; radius:
    where, in units of the parameters' sizes (where nothing is lower: how far was looked);
    directions: how many were tried; displacement: to the lowest place met, like params (zero where
    nothing is lower). A drop without falls: something is lower, but whether the loss falls all the
    way there could not be told.
    """

    falls: Array
    drop: Array
    radius: Array
    directions: Array
    displacement: Params


class Kink(NamedTuple):
    """found: at no distance that rounding leaves visible does the loss follow its quadratic model;
    mismatch: |loss - model| over distance^2, which does not shrink; falls: the loss falls along a
    straight line; drop: by how much; displacement: to there, like params (zero where nothing
    falls). Distances are in units of the parameters' sizes.
    """

    found: Array
    mismatch: Array
    falls: Array
    drop: Array
    displacement: Params


def probe(
    loss: Callable[[Params], Array],
    params: Params,
    pseudo_inverse: Callable[[Params], Params],
    size: Params,
    band: Array | float = 0.0,
    directions: int = 12,
) -> Probe:
    """Look for descent along the flat directions of a stationary point without negative
    eigenvalues.

    pseudo_inverse solves with the Hessian and leaves its flat directions out; size: natural size of
    each parameter, like params; band: largest |eigenvalue| that counts as flat. The random
    directions are always the same.
    """
    x, unravel = ravel_pytree(params)
    scale = ravel_pytree(size)[0]

    def value(y):
        return loss(unravel(y))

    def back(y):
        return ravel_pytree(pseudo_inverse(unravel(jax.grad(value)(y))))[0]

    half = max(1, directions // 2)
    random = jax.random.normal(jax.random.key(0), (half, x.size), x.dtype)
    starts = scale[None] * jnp.concatenate([random, -random])
    level, slope = value(x), jnp.linalg.norm(scale * jax.grad(value)(x))
    first = SETTLING + TURNING

    def unit(v):
        norm = jnp.linalg.norm(v / scale)
        return v / jnp.where(norm > 0, norm, 1.0)

    def clear(radii, changes, noise):
        """Changes beyond rounding, and beyond those of a gradient and an eigenvalue that are not
        exactly zero.
        """
        allowed = noise + 4 * slope * radii + 5 * band * jnp.max(scale) ** 2 * radii**2
        return jnp.isfinite(changes) & (jnp.abs(changes) > allowed)

    def step(v, shell):
        radius, turn, settle = shell
        y = jax.lax.fori_loop(0, CORRECTIONS, lambda _, y: y - back(y), x + radius * v)
        flat = (y - x) / radius
        downhill = -unit(scale**2 * jax.grad(value)(y)) * jnp.linalg.norm(flat / scale)
        turned = unit(flat + turn * downhill)
        sound = jnp.all(jnp.isfinite(turned)) & settle
        heights = jax.lax.map(lambda i: value(y + NEXT * i * radius * v), jnp.arange(1.0 * SAMPLES))
        return jnp.where(sound, turned, v), (heights[0] - level, _rounding(heights), y - x)

    coarse = jnp.array((1e-4,) * SETTLING + (TURN,) * TURNING + tuple(RADII))
    turns = jnp.array(
        (0.0,) * SETTLING + tuple(0.5 * 0.8**i for i in range(TURNING)) + (0.0,) * RADII.size
    )
    settles = jnp.arange(coarse.size) < first

    def walk(state, fine):
        """On the shells, or on finer ones around the first shell that was lower: one program for
        both.
        """
        v, around, _ = state
        radii = jnp.where(fine, around * FINER, coarse)

        def walked():
            return jax.lax.scan(step, v, (radii, jnp.where(fine, 0.0, turns), settles & ~fine))

        def skipped():
            return (
                v,
                jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), jax.eval_shape(walked)[1]),
            )

        v, (changes, noise, offsets) = jax.lax.cond(~fine | (around > 0), walked, skipped)
        noise = jnp.where(fine, state[2], _bound(noise[first:], level))
        seen = clear(radii, changes, noise) & (fine | ~settles)
        start = jnp.argmax(seen)
        around = jnp.where(jnp.any(seen) & (changes[start] < 0), radii[start], 0.0)
        return (v, around, noise), (changes, offsets, start, around > 0)

    def follow(v):
        zero = jnp.zeros((), x.dtype)
        _, (changes, offsets, start, lower) = jax.lax.scan(
            walk, (unit(v), zero, zero), jnp.array([False, True])
        )
        # On from the first shell that is lower, as long as the loss goes on falling.
        on = jnp.where(
            jnp.arange(coarse.size) > start[0], jnp.diff(changes[0], prepend=0.0) < 0, True
        )
        on = (jnp.cumprod(on) > 0) & ~settles & jnp.isfinite(changes[0])
        lowest = jnp.argmin(jnp.where(on, changes[0], jnp.inf))
        # Nothing rises first on the finer shells either, and from there on the loss falls like a
        # power of the distance.
        then = start[1] + jnp.arange(2 * STRIDE + 1)
        depths = -changes[1][jnp.minimum(then, coarse.size - 1)]
        falling = (then[-1] < coarse.size) & (depths[0] > 0) & jnp.all(jnp.diff(depths) > 0)
        near, far = (
            jnp.log(jnp.where(falling, depths[i + STRIDE] / depths[i], 1.0)) for i in (0, STRIDE)
        )
        falls = lower[0] & lower[1] & falling & (near <= STEEPER * far)
        return (
            falls,
            jnp.where(lower[0], -changes[0][lowest], 0.0),
            coarse[lowest],
            offsets[0][lowest],
        )

    falls, drop, radius, offset = jax.lax.map(follow, starts)
    any_ = jnp.any(falls)
    best = jnp.argmax(jnp.where(falls | ~any_, drop, -1.0))
    return Probe(
        falls=any_,
        drop=drop[best],
        radius=jnp.where(drop[best] > 0, radius[best], RADII[-1]),
        directions=jnp.asarray(2 * half),
        displacement=unravel(jnp.where(drop[best] > 0, offset[best], 0.0)),
    )


def kink(loss: Callable[[Params], Array], params: Params, size: Params) -> Kink:
    """Does a loss have the second derivatives that differentiation returns? At a kink it returns
    those of one side.

    Where it has, and they are continuous, the loss differs from its quadratic model by less and
    less in units of the distance squared. size: natural size of each parameter, like params. The
    random lines are always the same.
    """
    x, unravel = ravel_pytree(params)
    scale = ravel_pytree(size)[0]

    def value(y):
        return loss(unravel(y))

    level = value(x)
    gradient, product = jax.linearize(jax.grad(value), x)
    irregular = scale[None] * jnp.cos(jnp.arange(1.0, 1.0 + RAYS * x.size) ** 2).reshape(RAYS, -1)
    irregular = irregular / jnp.linalg.norm(irregular / scale[None], axis=1, keepdims=True)
    rays, images = jnp.concatenate([irregular, -irregular]), jax.lax.map(product, irregular)
    distances = jnp.asarray(DISTANCES)

    def look(i):
        """The loss, and how far it is from its model, at the i-th place: by ray, distance, and
        which of `SAMPLES` there.
        """
        ray, distance = i // (SAMPLES * distances.size), distances[i // SAMPLES % distances.size]
        u, image = rays[ray], jnp.where(ray < RAYS, 1.0, -1.0) * images[ray % RAYS]
        y = x + distance * (1 + NEXT * (i % SAMPLES)) * u
        v = y - x  # as it is after rounding, which matters to the first order
        change = value(y) - level
        return change, change - gradient @ v - 0.5 * distance * (2 * v - distance * u) @ image

    looked = jax.lax.map(look, jnp.arange(2 * RAYS * distances.size * SAMPLES))
    changes, mismatch = (a.reshape(2 * RAYS, distances.size, SAMPLES) for a in looked)
    # Of differences as far as the farthest place, and as at most a hundred times as far, where the
    # loss may not be smooth yet.
    rounding = _rounding(changes)
    noise = jax.vmap(_bound, (0, None))(rounding, level)[:, None]
    near = jnp.stack(
        [jax.vmap(_bound, (0, None))(rounding[:, : i + 3], level) for i in range(distances.size)],
        axis=1,
    )
    changes, mismatch = changes[..., 0], jnp.abs(mismatch[..., 0]) / distances[None] ** 2
    visible = 4 * noise / distances[None] ** 2
    # What is a kink at one distance is one at every smaller distance, as far down as it could be
    # seen there; else it is some way off, or there is none. Axes: rays, closer, distance.
    closer = (distances[:, None] < distances[None])[None] & (
        4 * near[..., None] < LASTING * (distances**2)[None, :, None] * mismatch[:, None]
    )
    lasts = jnp.all(~closer | (mismatch[..., None] >= LASTING * mismatch[:, None]), axis=1)
    lasts &= jnp.any(closer, axis=1) & (mismatch > visible)  # over a decade at least
    found = jnp.any(lasts)
    seen = jnp.abs(changes) > noise
    falls = jnp.all(~seen | (changes < 0), axis=1) & jnp.all(
        ~seen[:, :-1] | (jnp.diff(changes) < 0), axis=1
    )
    drop = jnp.where(falls & (jnp.sum(seen, axis=1) >= 3), -changes[:, -1], 0.0)
    best = jnp.argmax(drop)
    return Kink(
        found=found,
        mismatch=jnp.max(jnp.where(lasts, mismatch, 0.0)),
        falls=found & (drop[best] > 0),
        drop=drop[best],
        displacement=unravel(jnp.where(drop[best] > 0, distances[-1] * rays[best], 0.0)),
    )


def _rounding(values: Array) -> Array:
    """Standard deviation of the rounding in a function's values at `SAMPLES` equally spaced places,
    along the last axis.

    From sixth differences: J. J. More & S. M. Wild, Estimating computational noise, SIAM J. Sci.
    Comput. 33 (2011).
    """
    return jnp.sqrt(jnp.mean(jnp.diff(values, n=6) ** 2, axis=-1) / math.comb(12, 6))


def _bound(noise: Array, level: Array) -> Array:
    """On the rounding of a difference. Noise that comes from cancellation inside the loss shows at
    some distances only.
    """
    eps = jnp.finfo(level.dtype).eps
    return 8 * jnp.max(jnp.where(jnp.isfinite(noise), noise, 0.0)) + 32 * eps * jnp.abs(level)
