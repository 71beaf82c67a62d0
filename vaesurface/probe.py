"""Where eigenvalues are zero: is anything lower along the flat directions?

The loss is followed along a flat direction on shells of growing radius, at each of which Newton's method in the other
directions finds the bottom of the valley (so that a curved valley is followed, as in (y - x^2)^2 - x^6). A direction along
which the loss falls as soon as it can be told from rounding shows that the point is no minimum; where none is found, that is
all that is said.

>>> import jax.numpy as jnp
>>> valley = lambda w: (w[1] - w[0] ** 2) ** 2 - w[0] ** 6
>>> found = probe(valley, jnp.zeros(2), lambda g: g * jnp.array([0.0, 0.5]), jnp.ones(2))
>>> bool(found.falls)
True
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Params

RADII = tuple(10.0 ** np.arange(-6.0, -0.4, 0.5))  # of the shells, in units of the parameters' sizes: up to about a third
SETTLING, TURNING = 3, 8  # steps that turn a random direction into a flat one, and that into a falling one
TURN = 0.03  # radius at which directions are turned
CORRECTIONS = 3  # Newton steps back to the bottom of the valley


class Probe(NamedTuple):
    """falls: a direction of descent was found; drop: by how much the loss falls along it; radius: where, in units of the
    parameters' sizes (where nothing falls: how far was looked); directions: how many were tried; displacement: to the
    lowest place met, like params (zero where nothing falls).
    """

    falls: Array
    drop: Array
    radius: Array
    directions: Array
    displacement: Params


def probe(
    loss: Callable[[Params], Array],
    params: Params,
    pseudo_inverse: Callable[[Params], Params],
    size: Params,
    band: Array | float = 0.0,
    directions: int = 12,
) -> Probe:
    """Look for descent along the flat directions of a stationary point without negative eigenvalues.

    pseudo_inverse solves with the Hessian and leaves its flat directions out; size: natural size of each parameter, like
    params; band: largest |eigenvalue| that counts as flat. The random directions are always the same.
    """
    x, unravel = ravel_pytree(params)
    scale = ravel_pytree(size)[0]
    value = lambda y: loss(unravel(y))  # noqa: E731
    back = lambda y: ravel_pytree(pseudo_inverse(unravel(jax.grad(value)(y))))[0]  # noqa: E731
    half = max(1, directions // 2)
    random = jax.random.normal(jax.random.key(0), (half, x.size), x.dtype)
    starts = scale[None] * jnp.concatenate([random, -random])
    level, slope = value(x), jnp.linalg.norm(scale * jax.grad(value)(x))
    # What the loss changes by where nothing changes but rounding; and what a gradient and an eigenvalue may that are not
    # exactly zero.
    jitter = jax.lax.map(lambda u: jnp.abs(value(x + 1e-14 * u) - level), starts)
    noise = 4 * jnp.max(jitter) + 32 * jnp.finfo(x.dtype).eps * jnp.abs(level)
    allowed = lambda r: noise + 4 * slope * r + 5 * band * jnp.max(scale) ** 2 * r**2  # noqa: E731

    def unit(v):
        norm = jnp.linalg.norm(v / scale)
        return v / jnp.where(norm > 0, norm, 1.0)

    def step(v, shell):
        radius, turn, settle = shell
        y = jax.lax.fori_loop(0, CORRECTIONS, lambda _, y: y - back(y), x + radius * v)
        flat = (y - x) / radius
        downhill = -unit(scale**2 * jax.grad(value)(y)) * jnp.linalg.norm(flat / scale)
        turned = unit(flat + turn * downhill)
        sound = jnp.all(jnp.isfinite(turned)) & settle
        return jnp.where(sound, turned, v), (value(y) - level, y - x)

    radii = jnp.array((1e-4,) * SETTLING + (TURN,) * TURNING + RADII)
    turns = jnp.array((0.0,) * SETTLING + tuple(0.5 * 0.8**i for i in range(TURNING)) + (0.0,) * len(RADII))
    first = SETTLING + TURNING
    settles = jnp.arange(radii.size) < first

    def follow(v):
        _, (changes, offsets) = jax.lax.scan(step, unit(v), (radii, turns, settles))
        changes, offsets = changes[first:], offsets[first:]
        clear = jnp.isfinite(changes) & (jnp.abs(changes) > allowed(radii[first:]))
        start = jnp.argmax(clear)  # the first shell on which something can be told
        falls = jnp.any(clear) & (changes[start] < 0)
        # On from there as long as it goes on falling.
        on = jnp.cumprod(jnp.where(jnp.arange(changes.size) > start, jnp.diff(changes, prepend=0.0) < 0, True)) > 0
        lowest = jnp.argmin(jnp.where(on & jnp.isfinite(changes), changes, jnp.inf))
        return falls, jnp.where(falls, -changes[lowest], 0.0), radii[first + lowest], offsets[lowest]

    falls, drop, radius, offset = jax.lax.map(follow, starts)
    best = jnp.argmax(drop)
    any_ = jnp.any(falls)
    return Probe(
        falls=any_,
        drop=drop[best],
        radius=jnp.where(any_, radius[best], RADII[-1]),
        directions=jnp.asarray(2 * half),
        displacement=unravel(jnp.where(any_, offset[best], 0.0)),
    )
