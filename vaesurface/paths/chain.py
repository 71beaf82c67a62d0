"""What moves the images of a chain between two points?

Forces across it, towards a path along which the energy rises the least, which FIRE follows; and a
slide along it, towards equal distances. All in coordinates in which the metric is Euclidean.

>>> print(arc_lengths(jnp.array([[0.0, 0.0], [3.0, 4.0], [3.0, 5.0]])))
[0. 5. 6.]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from vaesurface import curvature

__all__ = ["NEARLY_RELAXED", "Band", "arc_lengths", "forces", "inside", "moved"]

# Residual at which the highest image begins to climb.
NEARLY_RELAXED = 3.0
# Part of the way to the middle of its neighbors that an image moves per step; up to 1/2 is stable.
SPREAD = 0.4
# First step of the image on which the force is largest, and longest step of any, in distances
# between images.
FIRST_MOVE = 0.1
LONGEST_MOVE = 0.3
# FIRE's own constants (Bitzek et al., 2006): steps downhill until it speeds up; factors of its time
# step, faster and slower; the share of the force that velocities are turned to at first, and its
# decay.
FIRE_DELAY, FIRE_FASTER, FIRE_SLOWER, FIRE_MIX, FIRE_DECAY = 5, 1.1, 0.5, 0.1, 0.99


class Band(NamedTuple):
    """Of the loop in `minimum_energy_path`: m images in p scaled coordinates.

    images: (m, p).
    loss: (m,).
    gradient: (m, p).
    velocity: (m, p).
    pace: (m,), time step; zero where it is to be set.
    mix: (m,), the share of the force that velocities are turned to.
    streak: (m,), steps downhill in a row.
    window: (2 of ()), images between these are relaxed.
    climbs: (), whether the highest image does.
    residual: (), as in `Path`.
    steps: (), taken.
    since: (), steps since the last zoom.
    zooms: (), done.
    done: (), whether all is.
    """

    images: Array
    loss: Array
    gradient: Array
    velocity: Array
    pace: Array
    mix: Array
    streak: Array
    window: tuple[Array, Array]
    climbs: Array
    residual: Array
    steps: Array
    since: Array
    zooms: Array
    done: Array


def arc_lengths(points: Array) -> Array:
    """Lengths (m,) along a chain of points (m, p)."""
    return jnp.append(0.0, jnp.cumsum(jnp.linalg.norm(jnp.diff(points, axis=0), axis=1)))


def inside(band: Band) -> Array:
    """(m,) bool, the images that are relaxed."""
    index = jnp.arange(band.loss.size)
    return (index > band.window[0]) & (index < band.window[1])


def _tangents(band: Band, noise: Array) -> Array:
    """Unit tangents (m, p): towards the higher neighbor; at a highest or lowest image a mean of
    both ways, weighed by the larger rise and the smaller one; and along the chain where it is
    level.
    """
    forward = jnp.diff(band.images, axis=0, append=band.images[-1:])
    backward = jnp.roll(forward, 1, axis=0)
    rise = jnp.diff(band.loss, append=band.loss[-1:])
    fall = jnp.roll(rise, 1)
    sizes = jnp.abs(rise), jnp.abs(fall)
    most, least = jnp.maximum(*sizes), jnp.minimum(*sizes)
    steeper = rise + fall > 0
    ahead, behind = jnp.where(steeper, most, least), jnp.where(steeper, least, most)
    up, down = (rise > 0) & (fall > 0), (rise <= 0) & (fall <= 0)
    ahead = jnp.where(up, 1.0, jnp.where(down, 0.0, ahead))
    behind = jnp.where(up, 0.0, jnp.where(down, 1.0, behind))
    level = most <= noise
    ahead, behind = jnp.where(level, 1.0, ahead), jnp.where(level, 1.0, behind)
    return jax.vmap(curvature.unit)(ahead[:, None] * forward + behind[:, None] * backward)


def _highest(band: Band) -> Array:
    """Index of the highest image that is relaxed."""
    return jnp.argmax(jnp.where(inside(band), band.loss, -jnp.inf))


def forces(band: Band, noise: Array) -> tuple[Band, Array, Array]:
    """Forces across the path, and its unit tangents, all (m, p); residual and climbing brought up
    to date.

    -g + (g . t) t, and -g + 2 (g . t) t on the image that climbs.
    """
    relaxed, tangent = inside(band), _tangents(band, noise)
    along = jnp.sum(band.gradient * tangent, axis=1)[:, None] * tangent
    across = -band.gradient + along
    top, ends = _highest(band), [band.loss[i] for i in band.window]
    level, passes = jnp.maximum(*ends), band.loss[top] > jnp.maximum(*ends) + noise
    climber = (jnp.arange(relaxed.size) == top) & passes
    force = jnp.where((climber & band.climbs)[:, None], across + along, across)
    # The end of a window may lie beside the best path. What lies below it does not matter for the
    # pass, and would fall on.
    lowest = jnp.where(passes, level, jnp.minimum(*ends))
    free = relaxed & ((band.zooms == 0) | (band.loss > lowest))
    force = jnp.where(free[:, None], force, 0.0)
    counts = free & (~passes | (band.loss > level))
    largest = jnp.max(jnp.where(counts, jnp.linalg.norm(force, axis=1), 0.0))
    span = jnp.where(passes, band.loss[top] - level, jnp.abs(ends[0] - ends[1]))
    residual = largest * _length(band) / jnp.maximum(span, noise)
    climbs = band.climbs | (residual <= NEARLY_RELAXED)
    return band._replace(residual=residual, climbs=climbs), force, tangent


def _length(band: Band) -> Array:
    """Of the window, along the chain."""
    arc, (left, right) = arc_lengths(band.images), band.window
    return arc[right] - arc[left]


def moved(band: Band, force: Array, tangent: Array) -> Band:
    """After one step of FIRE for every image across the path, and one towards equal distances along
    it.
    """
    left, right = band.window
    spacing = _length(band) / (right - left)
    longest = LONGEST_MOVE * spacing
    band = _accelerated(band, force, spacing)
    step = band.pace[:, None] * band.velocity
    length = jnp.linalg.norm(step, axis=1)
    shrink = jnp.minimum(1.0, longest / jnp.where(length > 0, length, 1.0))
    step = shrink[:, None] * step + _slide(band, longest)[:, None] * tangent
    return band._replace(
        images=band.images + jnp.where(inside(band)[:, None], step, 0.0),
        velocity=shrink[:, None] * band.velocity,
        steps=band.steps + 1,
        since=band.since + 1,
    )


def _accelerated(band: Band, force: Array, spacing: Array) -> Band:
    """With the velocities and time steps of FIRE.

    v = (1 - mix) v + mix |v| F / |F| + pace F while v goes down (F . v > 0), else v = pace F.
    """
    size = jnp.linalg.norm(force, axis=1)
    fresh, quick = band.pace == 0, band.streak > FIRE_DELAY
    good = (jnp.sum(force * band.velocity, axis=1) > 0) | fresh | (size == 0)
    speed = jnp.linalg.norm(band.velocity, axis=1)
    mix = jnp.where(good, jnp.where(quick, FIRE_DECAY * band.mix, band.mix), FIRE_MIX)
    towards = (mix * speed / jnp.where(size > 0, size, 1.0))[:, None] * force
    turned = (1 - mix)[:, None] * band.velocity + towards
    faster = jnp.where(quick, FIRE_FASTER * band.pace, band.pace)
    pace = jnp.where(good, faster, FIRE_SLOWER * band.pace)
    largest = jnp.maximum(jnp.max(size), jnp.finfo(size.dtype).tiny)
    pace = jnp.where(fresh, jnp.sqrt(FIRST_MOVE * spacing / largest), pace)
    velocity = jnp.where((good & (size > 0))[:, None], turned, 0.0) + pace[:, None] * force
    streak = jnp.where(good, band.streak + 1, 0.0)
    return band._replace(velocity=velocity, pace=pace, mix=mix, streak=streak)


def _slide(band: Band, longest: Array) -> Array:
    """Moves (m,) along the chain towards the middle of the neighbors; none of the image that
    climbs.
    """
    arc = arc_lengths(band.images)
    gaps = jnp.diff(arc, append=arc[-1:])
    slide = 0.5 * SPREAD * (gaps - jnp.roll(gaps, 1))
    climber = band.climbs & (jnp.arange(arc.size) == _highest(band))
    return jnp.where(climber, 0.0, jnp.clip(slide, -longest, longest))
