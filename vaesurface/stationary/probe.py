"""Where eigenvalues are no verdict: is anything lower along flat directions?

`probe` follows the loss along a flat direction on shells of growing radius, at each of which
Newton's method in the other directions finds the bottom of the valley (so that a curved valley is
followed, as in (y - x^2)^2 - x^6). Where the loss falls as soon as it can be told from rounding,
and from there on like a power of the distance, the point is no minimum; where none is found, that
is all that is said. `kink` compares the loss with its quadratic model on straight lines.

>>> import jax.numpy as jnp
>>> valley = lambda w: (w[1] - w[0] ** 2) ** 2 - w[0] ** 6
>>> fall = probe(valley, jnp.zeros(2), lambda g: g * jnp.array([0.0, 0.5]), jnp.ones(2))
>>> bool(fall.falls), bool(fall.rises)
(True, False)
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.glance import brief
from vaesurface.problem import Params, irregular
from vaesurface.stationary import model
from vaesurface.stationary.lines import NOISE_SAMPLES, NOISE_SPACING, bounds, rounding

__all__ = ["Probe", "flattened", "probe"]

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
# Then back towards the point, over the first of those that is lower.
NEARER = 10.0 ** (-0.5 * np.arange(1.0, 1.0 + len(SHELLS)))
BACK_STEPS = 3  # Newton steps back to the bottom of the valley
# Finer shells between two measurements of the power with which the loss falls: a factor of 2.3.
POWER_STRIDE = 4
# By how much that power may be larger nearer to the point: a rise before the fall, too small to be
# seen, makes it larger.
STEEPER = 1.05
FORM_CLEAR = 4.0  # roundings of its terms, above which a quadratic form is positive


@brief()
class Probe(NamedTuple):
    """What lies along flat directions; distances are in units of the parameters' sizes.

    A drop without falls: something is lower, but whether the loss falls all the way there could
    not be told.

    falls: (), whether a direction of descent was found.
    drop: (), by how much the loss falls along it.
    radius: (), where; how far was looked where nothing is lower.
    directions: (), how many were tried.
    displacement: to the lowest place met, like params; zero where nothing is lower.
    begins: (), the smallest distance at which it was seen to be lower.
    rises: (), whether it rises nearer than that: as seen, by the quadratic form, or by the series.
    power: (), with which power of the distance the loss falls; 0 where it does not like one.
    """

    falls: Array
    drop: Array
    radius: Array
    directions: Array
    displacement: Params
    begins: Array | float = 0.0
    rises: Array | bool = False
    power: Array | float = 0.0


def probe(
    loss: Callable[[Params], Array],
    params: Params,
    pseudo_inverse: Callable[[Params], Params],
    size: Params,
    bend: Array | float = 0.0,
    directions: int = 12,
    firm: Array | bool = True,
) -> Probe:
    """Look for descent along the flat directions of a stationary point without negative
    eigenvalues.

    pseudo_inverse solves with the Hessian and leaves its flat directions out; size: natural size of
    each parameter, like params; bend: largest curvature along a flat direction, in units of the
    sizes; firm: whether their quadratic forms are those of the stationary point. The random
    directions are always the same.
    """
    unravel = ravel_pytree(params)[1]
    valley = _valley(loss, params, pseudo_inverse, size, bend)._replace(firm=jnp.asarray(firm))
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
        begins=jnp.where(lower, ways.begins[best], 0.0),
        rises=lower & ways.rises[best],
        power=jnp.where(lower, ways.power[best], 0.0),
    )


class _Valley(NamedTuple):
    """A loss of flat vectors (p,) around a stationary point.

    value: y to the loss.
    solve: g to the solution of H s = g in all but the flat directions.
    product: v to H v; both with the point's Hessian H.
    x: (p,), the point.
    scale: (p,), natural sizes.
    level: (), the loss at the point.
    slope: (), norm of its gradient there, in units of the sizes.
    bend: (), largest curvature along a flat direction, in units of the sizes.
    firm: (), whether H's quadratic forms are those of the stationary point.
    """

    value: Callable[[Array], Array]
    solve: Callable[[Array], Array]
    product: Callable[[Array], Array]
    x: Array
    scale: Array
    level: Array
    slope: Array
    bend: Array
    firm: Array

    def unit(self, v: Array) -> Array:
        """A direction at length one, in units of the sizes; zero stays zero."""
        norm = jnp.linalg.norm(v / self.scale)
        return v / jnp.where(norm > 0, norm, 1.0)

    def bottom(self, y: Array) -> Array:
        """Of the valley, near y."""

        def back(_: int, y: Array) -> Array:
            return y - self.solve(jax.grad(self.value)(y))

        return jax.lax.fori_loop(0, BACK_STEPS, back, y)

    def clear(self, radii: Array, changes: Array, noise: Array) -> Array:
        """Whether changes are beyond rounding, and beyond those of a gradient and an eigenvalue
        that are not exactly zero.
        """
        allowed = noise + 4 * self.slope * radii + 5 * self.bend * radii**2
        return jnp.isfinite(changes) & (jnp.abs(changes) > allowed)

    def curves_up(self, v: Array) -> Array:
        """Whether the quadratic form is positive along the flat direction next to v, beyond the
        rounding of its terms.
        """
        v = flattened(v, self.product, self.solve)
        some = jnp.where(irregular(v.size) > 0, v, 0.0)
        parts = self.product(some), self.product(v - some)
        terms = jnp.abs(v) @ (jnp.abs(parts[0]) + jnp.abs(parts[1]))
        eps = jnp.finfo(v.dtype).eps
        return self.firm & (v @ (parts[0] + parts[1]) > FORM_CLEAR * eps * terms)


def flattened(
    v: Array, product: Callable[[Array], Array], solve: Callable[[Array], Array]
) -> Array:
    """The flat direction next to v (p,): product with the Hessian, solve with all that is not
    flat.
    """
    for _ in range(2):
        v = v - solve(product(v))
    return v


def _valley(
    loss: Callable[[Params], Array],
    params: Params,
    pseudo_inverse: Callable[[Params], Params],
    size: Params,
    bend: Array | float,
) -> _Valley:
    x, unravel = ravel_pytree(params)
    scale = ravel_pytree(size)[0]

    def value(y: Array) -> Array:
        return loss(unravel(y))

    def solve(g: Array) -> Array:
        return ravel_pytree(pseudo_inverse(unravel(g)))[0]

    gradient, product = jax.linearize(jax.grad(value), x)
    return _Valley(
        value=value,
        solve=solve,
        product=product,
        x=x,
        scale=scale,
        level=value(x),
        slope=jnp.linalg.norm(scale * gradient),
        bend=jnp.asarray(bend),
        firm=jnp.asarray(True),
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

    # A place has digits of its own: across a valley far from zero, all of what is seen near its
    # bottom may be theirs.
    digits = jnp.finfo(y.dtype).eps * jnp.abs(y)
    nudges = irregular(NOISE_SAMPLES, y.size).at[0].set(0.0)

    def beside(i: Array) -> Array:
        return valley.value(y + NOISE_SPACING * i * shell.radius * v + digits * nudges[i])

    values = jax.lax.map(beside, jnp.arange(NOISE_SAMPLES))
    change, noise = values[0] - valley.level, rounding(values)
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
    begins: (), the smallest radius at which it is lower, for all that rounding is there.
    rises: (), whether it is higher somewhere.
    """

    change: Array
    offset: Array
    start: Array
    lower: Array
    begins: Array
    rises: Array


def _walked(valley: _Valley, walker: _Walker, stage: Array) -> tuple[_Walker, _Walk]:
    """On the shells, on finer ones around the first that was lower, and on nearer ones: one program
    for all three stages.
    """
    fine = stage > 0
    over = walker.around * jnp.where(stage == 1, FINER, NEARER)
    shells = _Shells(
        radius=jnp.where(fine, over, SHELLS),
        turn=jnp.where(fine, 0.0, TURN),
        turns=jnp.asarray(TURNED) & ~fine,
    )

    def walk() -> tuple[Array, _Heights]:
        return jax.lax.scan(partial(_step, valley), walker.direction, shells)

    nothing = walker.direction, model.blank(walk)[1]
    direction, heights = jax.lax.cond(~fine | (walker.around > 0), walk, lambda: nothing)
    noise = jnp.where(fine, walker.noise, bounds(heights.noise[SETTLED:], valley.level)[-1])
    clear = valley.clear(shells.radius, heights.change, noise) & (fine | ~TURNED)
    start = jnp.argmax(clear)
    lower = jnp.any(clear) & (heights.change[start] < 0)
    around = jnp.where(lower, shells.radius[start], 0.0)
    # What rounding is at one distance is no bound for others, but enough to leave a fall undecided.
    # Where the samples are less apart than the parameters' own digits, nothing is told.
    eps = jnp.finfo(noise.dtype).eps
    moved = NOISE_SPACING * shells.radius > 16 * eps * jnp.max(jnp.abs(valley.x / valley.scale))
    own = 8 * heights.noise + 32 * eps * jnp.abs(valley.level)
    own = jnp.where(moved, own, jnp.inf)
    seen = valley.clear(shells.radius, heights.change, own) & (shells.radius > 0)
    below = seen & (heights.change < 0)
    met = _Walk(
        change=heights.change,
        offset=heights.offset,
        start=start,
        lower=around > 0,
        begins=jnp.min(jnp.where(below, shells.radius, jnp.inf)),
        rises=jnp.any(_higher(valley, shells.radius, heights.change, own)),
    )
    return _Walker(direction=direction, around=around, noise=noise), met


def _higher(valley: _Valley, radii: Array, changes: Array, noise: Array) -> Array:
    """Whether changes are a rise, beyond rounding and a gradient that is not exactly zero."""
    allowed = noise + 4 * valley.slope * radii
    return (radii > 0) & jnp.isfinite(noise) & (changes > allowed)


class _Way(NamedTuple):
    """Along one direction.

    falls: (), whether the loss falls from the point on.
    drop: (), by how much at the lowest shell; 0 where none is lower.
    radius: (), of that shell.
    offset: (p,), to there.
    begins: (), the smallest radius at which it is lower.
    rises: (), whether it rises nearer than that.
    power: (), with which power of the distance it falls; 0 where it does not like one.
    """

    falls: Array
    drop: Array
    radius: Array
    offset: Array
    begins: Array
    rises: Array
    power: Array


def _followed(valley: _Valley, v: Array) -> _Way:
    """From a random direction v (p,): on the shells, and where one is lower on finer and nearer
    ones.
    """
    zero = jnp.zeros((), valley.x.dtype)
    walker = _Walker(direction=valley.unit(v), around=zero, noise=zero)
    walker, stages = jax.lax.scan(partial(_walked, valley), walker, jnp.arange(3))
    coarse, fine, near = (_Walk(*one) for one in zip(*stages, strict=True))
    rises = near.rises | valley.curves_up(walker.direction)
    power = jnp.where(coarse.lower & fine.lower, _power(fine), 0.0)
    # On from the first shell that is lower, as long as the loss goes on falling.
    beyond = jnp.arange(len(SHELLS)) > coarse.start
    on = jnp.where(beyond, jnp.diff(coarse.change, prepend=0.0) < 0, True)
    on = (jnp.cumprod(on) > 0) & ~TURNED & jnp.isfinite(coarse.change)
    lowest = jnp.argmin(jnp.where(on, coarse.change, jnp.inf))
    return _Way(
        falls=(power > 0) & ~rises,
        drop=jnp.where(coarse.lower, -coarse.change[lowest], 0.0),
        radius=jnp.asarray(SHELLS)[lowest],
        offset=coarse.offset[lowest],
        begins=jnp.minimum(fine.begins, near.begins),
        rises=coarse.lower & rises,
        power=power,
    )


def _power(fine: _Walk) -> Array:
    """With which power of the distance the loss falls on, from the first fine shell on which its
    change is clear; then nothing rises before it on the finer shells either. 0 where it does not.

    The power is log(depth_{i + POWER_STRIDE} / depth_i) over a fixed factor of the radius.
    """
    then = fine.start + jnp.arange(2 * POWER_STRIDE + 1)
    depths = -fine.change[jnp.minimum(then, len(SHELLS) - 1)]
    falling = (then[-1] < len(SHELLS)) & (depths[0] > 0) & jnp.all(jnp.diff(depths) > 0)
    near, far = (
        jnp.log(jnp.where(falling, depths[i + POWER_STRIDE] / depths[i], 1.0))
        for i in (0, POWER_STRIDE)
    )
    fits = falling & (near <= STEEPER * far)
    return jnp.where(fits, near / np.log(FINER[POWER_STRIDE] / FINER[0]), 0.0)
