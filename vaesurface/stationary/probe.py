"""Where eigenvalues are no verdict: is anything lower along flat directions, and has the loss
second derivatives at all?

`probe` follows the loss along a flat direction on shells of growing radius, at each of which
Newton's method in the other directions finds the bottom of the valley (so that a curved valley is
followed, as in (y - x^2)^2 - x^6). Where the loss falls as soon as it can be told from rounding,
and from there on like a power of the distance, the point is no minimum; where none is found, that
is all that is said. `kink` compares the loss with its quadratic model on straight lines.

>>> import jax.numpy as jnp
>>> valley = lambda w: (w[1] - w[0] ** 2) ** 2 - w[0] ** 6
>>> fall = probe(valley, jnp.zeros(2), lambda g: g * jnp.array([0.0, 0.5]), jnp.ones(2))
>>> bool(fall.falls), bool(kink(valley, jnp.zeros(2), jnp.ones(2)).found)
(True, False)
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Params

__all__ = ["Kink", "Probe", "kink", "probe"]

# A way along a flat direction is one list of shells. All lengths are in units of the parameters'
# sizes. First come those that turn a random direction into a flat one, and that into a falling one;
FLATTENING, TURNING = 3, 8
SETTLED = FLATTENING + TURNING
# then those on which the loss is followed, up to about a third of a parameter's size.
FOLLOWED = 10.0 ** np.arange(-6.0, -0.4, 0.5)
SHELLS = np.array([1e-4] * FLATTENING + [0.03] * TURNING + [*FOLLOWED])
TURNED = np.arange(len(SHELLS)) < SETTLED
# How far a direction is turned towards the steepest descent: less and less.
TURN = np.zeros(len(SHELLS))
TURN[FLATTENING:SETTLED] = 0.5 * 0.8 ** np.arange(TURNING)
# Radii around the first shell that is lower, over its own: as many as shells, for one program.
FINER = 10.0 ** np.linspace(-1.0, 1.0, len(SHELLS))
BACK_STEPS = 3  # Newton steps back to the bottom of the valley
# Finer shells between two measurements of the power with which the loss falls: a factor of 2.3.
POWER_STRIDE = 4
# By how much that power may be larger nearer to the point: a rise before the fall, too small to be
# seen, makes it larger.
STEEPER = 1.05
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


class Probe(NamedTuple):
    """What lies along flat directions; distances are in units of the parameters' sizes.

    A drop without falls: something is lower, but whether the loss falls all the way there could
    not be told.

    falls: (), whether a direction of descent was found.
    drop: (), by how much the loss falls along it.
    radius: (), where; how far was looked where nothing is lower.
    directions: (), how many were tried.
    displacement: to the lowest place met, like params; zero where nothing is lower.
    """

    falls: Array
    drop: Array
    radius: Array
    directions: Array
    displacement: Params


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
    unravel = ravel_pytree(params)[1]
    valley = _valley(loss, params, pseudo_inverse, size, band)
    x, scale = valley.x, valley.scale
    half = max(1, directions // 2)
    random = jax.random.normal(jax.random.key(0), (half, x.size), x.dtype)
    starts = scale[None] * jnp.concatenate([random, -random])
    ways = jax.lax.map(partial(_followed, valley), starts)
    falls = jnp.any(ways.falls)
    best = jnp.argmax(jnp.where(ways.falls | ~falls, ways.drop, -1.0))
    lower = ways.drop[best] > 0
    return Probe(
        falls=falls,
        drop=ways.drop[best],
        radius=jnp.where(lower, ways.radius[best], SHELLS[-1]),
        directions=jnp.asarray(2 * half),
        displacement=unravel(jnp.where(lower, ways.offset[best], 0.0)),
    )


class _Valley(NamedTuple):
    """A loss of flat vectors (p,) around a stationary point.

    value: y to the loss.
    back: y to its Newton step in all but the flat directions, with the point's Hessian.
    x: (p,), the point.
    scale: (p,), natural sizes.
    level: (), the loss at the point.
    slope: (), norm of its gradient there, in units of the sizes.
    bend: (), largest curvature along a flat direction, in units of the sizes.
    """

    value: Callable[[Array], Array]
    back: Callable[[Array], Array]
    x: Array
    scale: Array
    level: Array
    slope: Array
    bend: Array

    def unit(self, v: Array) -> Array:
        """A direction at length one, in units of the sizes; zero stays zero."""
        norm = jnp.linalg.norm(v / self.scale)
        return v / jnp.where(norm > 0, norm, 1.0)

    def bottom(self, y: Array) -> Array:
        """Of the valley, near y."""
        return jax.lax.fori_loop(0, BACK_STEPS, lambda _, y: y - self.back(y), y)

    def clear(self, radii: Array, changes: Array, noise: Array) -> Array:
        """Whether changes are beyond rounding, and beyond those of a gradient and an eigenvalue
        that are not exactly zero.
        """
        allowed = noise + 4 * self.slope * radii + 5 * self.bend * radii**2
        return jnp.isfinite(changes) & (jnp.abs(changes) > allowed)


def _valley(
    loss: Callable[[Params], Array],
    params: Params,
    pseudo_inverse: Callable[[Params], Params],
    size: Params,
    band: Array | float,
) -> _Valley:
    x, unravel = ravel_pytree(params)
    scale = ravel_pytree(size)[0]

    def value(y: Array) -> Array:
        return loss(unravel(y))

    def back(y: Array) -> Array:
        return ravel_pytree(pseudo_inverse(unravel(jax.grad(value)(y))))[0]

    return _Valley(
        value=value,
        back=back,
        x=x,
        scale=scale,
        level=value(x),
        slope=jnp.linalg.norm(scale * jax.grad(value)(x)),
        bend=band * jnp.max(scale) ** 2,
    )


class _Shells(NamedTuple):
    """Of one way along a valley; or one of them.

    radius: (m,).
    turn: (m,), how far the direction is turned towards the steepest descent.
    turns: (m,), whether the way goes on in the direction found there; else it keeps its own.
    """

    radius: Array
    turn: Array
    turns: Array


class _Heights(NamedTuple):
    """What was met on shells.

    change: (m,), of the loss.
    noise: (m,), standard deviation of its rounding.
    offset: (m, p), from the point to the valley's bottom there.
    """

    change: Array
    noise: Array
    offset: Array


def _step(valley: _Valley, v: Array, shell: _Shells) -> tuple[Array, _Heights]:
    """The direction v (p,) to go on along, and what was met on one shell."""
    y = valley.bottom(valley.x + shell.radius * v)
    flat = (y - valley.x) / shell.radius
    steepest = valley.unit(valley.scale**2 * jax.grad(valley.value)(y))
    downhill = -steepest * jnp.linalg.norm(flat / valley.scale)
    turned = valley.unit(flat + shell.turn * downhill)
    sound = jnp.all(jnp.isfinite(turned)) & shell.turns

    def beside(i: Array) -> Array:
        return valley.value(y + NOISE_SPACING * i * shell.radius * v)

    values = jax.lax.map(beside, jnp.arange(1.0 * NOISE_SAMPLES))
    change, noise = values[0] - valley.level, _rounding(values)
    return jnp.where(sound, turned, v), _Heights(change=change, noise=noise, offset=y - valley.x)


class _Walker(NamedTuple):
    """Where a way goes on.

    direction: (p,).
    around: (), radius of the first shell that was lower than the point; 0 where none was.
    noise: (), bound on the rounding of a change.
    """

    direction: Array
    around: Array
    noise: Array


class _Walk(NamedTuple):
    """What a walk over the shells, or over finer ones, met.

    change: (m,), of the loss.
    offset: (m, p).
    start: (), the first shell on which the change is clear.
    lower: (), whether the loss is lower there.
    """

    change: Array
    offset: Array
    start: Array
    lower: Array


def _walked(valley: _Valley, walker: _Walker, fine: Array) -> tuple[_Walker, _Walk]:
    """On the shells, or on finer ones around the first that was lower: one program for both."""
    shells = _Shells(
        radius=jnp.where(fine, walker.around * FINER, SHELLS),
        turn=jnp.where(fine, 0.0, TURN),
        turns=jnp.asarray(TURNED) & ~fine,
    )

    def walk() -> tuple[Array, _Heights]:
        return jax.lax.scan(partial(_step, valley), walker.direction, shells)

    def skip() -> tuple[Array, _Heights]:
        heights = jax.eval_shape(walk)[1]
        return walker.direction, jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), heights)

    direction, heights = jax.lax.cond(~fine | (walker.around > 0), walk, skip)
    noise = jnp.where(fine, walker.noise, _bounds(heights.noise[SETTLED:], valley.level)[-1])
    clear = valley.clear(shells.radius, heights.change, noise) & (fine | ~TURNED)
    start = jnp.argmax(clear)
    lower = jnp.any(clear) & (heights.change[start] < 0)
    around = jnp.where(lower, shells.radius[start], 0.0)
    met = _Walk(change=heights.change, offset=heights.offset, start=start, lower=around > 0)
    return _Walker(direction=direction, around=around, noise=noise), met


class _Way(NamedTuple):
    """Along one direction.

    falls: (), whether the loss falls from the point on.
    drop: (), by how much at the lowest shell; 0 where none is lower.
    radius: (), of that shell.
    offset: (p,), to there.
    """

    falls: Array
    drop: Array
    radius: Array
    offset: Array


def _followed(valley: _Valley, v: Array) -> _Way:
    """From a random direction v (p,): on the shells, and on finer ones where one is lower."""
    zero = jnp.zeros((), valley.x.dtype)
    walker = _Walker(direction=valley.unit(v), around=zero, noise=zero)
    _, both = jax.lax.scan(partial(_walked, valley), walker, jnp.array([False, True]))
    coarse, fine = (_Walk(*one) for one in zip(*both, strict=True))
    # On from the first shell that is lower, as long as the loss goes on falling.
    beyond = jnp.arange(len(SHELLS)) > coarse.start
    on = jnp.where(beyond, jnp.diff(coarse.change, prepend=0.0) < 0, True)
    on = (jnp.cumprod(on) > 0) & ~TURNED & jnp.isfinite(coarse.change)
    lowest = jnp.argmin(jnp.where(on, coarse.change, jnp.inf))
    return _Way(
        falls=coarse.lower & fine.lower & _falls_like_a_power(fine),
        drop=jnp.where(coarse.lower, -coarse.change[lowest], 0.0),
        radius=jnp.asarray(SHELLS)[lowest],
        offset=coarse.offset[lowest],
    )


def _falls_like_a_power(fine: _Walk) -> Array:
    """Whether the loss falls on like a power of the distance, from the first fine shell on which
    its change is clear; then nothing rises before it on the finer shells either.

    The power is log(depth_{i + POWER_STRIDE} / depth_i) over a fixed factor of the radius.
    """
    then = fine.start + jnp.arange(2 * POWER_STRIDE + 1)
    depths = -fine.change[jnp.minimum(then, len(SHELLS) - 1)]
    falling = (then[-1] < len(SHELLS)) & (depths[0] > 0) & jnp.all(jnp.diff(depths) > 0)
    near, far = (
        jnp.log(jnp.where(falling, depths[i + POWER_STRIDE] / depths[i], 1.0))
        for i in (0, POWER_STRIDE)
    )
    return falling & (near <= STEEPER * far)


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
    bounds = _bounds(_rounding(changes), level)
    noise = bounds[:, -1:]
    # Farther out the loss may not be smooth any more.
    near = bounds[:, np.minimum(np.arange(DECADES) + KINK_NEAR, DECADES - 1)]
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


def _rounding(values: Array) -> Array:
    """Standard deviation of the rounding in a function's values at `NOISE_SAMPLES` equally spaced
    places, along the last axis.

    From sixth differences: J. J. More & S. M. Wild, Estimating computational noise, SIAM J. Sci.
    Comput. 33 (2011).
    """
    return jnp.sqrt(jnp.mean(jnp.diff(values, n=6) ** 2, axis=-1) / math.comb(12, 6))


def _bounds(noise: Array, level: Array) -> Array:
    """On the rounding of differences, from the noise up to each place of the last axis: what comes
    from cancellation inside the loss shows at some distances only.
    """
    eps = jnp.finfo(level.dtype).eps
    finite = jnp.where(jnp.isfinite(noise), noise, 0.0)
    return 8 * jax.lax.cummax(finite, axis=finite.ndim - 1) + 32 * eps * jnp.abs(level)
