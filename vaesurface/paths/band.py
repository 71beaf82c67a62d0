"""Along which way from one point to another does the energy rise the least?

A chain of images is relaxed between two points until no force is left across it, and drawn together
where it is highest. Users find `minimum_energy_path` in `paths`, with what follows from it.

>>> import jax.numpy as jnp
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + (w[1] - w[0] ** 2) ** 2)
>>> path = minimum_energy_path(wells, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
>>> print(f"{path.loss[path.top]:.3f}")
1.000
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import curvature
from vaesurface.problem import Params, Problem, adopt, entry, irregular, require_float64
from vaesurface.stationary import model, tally
from vaesurface.stationary.verdict import StationaryPoint

EQUAL = 1e-9  # distance, relative to the parameters' sizes, at which two ends are one
# the part of a window that lies above both its ends is at least one in this many images, or it is
# zoomed in on
RESOLVED = 3
BESIDE = (
    2  # images on each side of the highest one down to where the window ends, or it is zoomed in on
)
ZOOMS = (
    24  # at most: each narrows the window about threefold or more, so 1e-10 of the way is reached
)
OUTSIDE = 5  # one in this many images stays on each side of a window
PATIENCE = 100  # steps after which a window is zoomed in on although it has not settled
SETTLED = 3.0  # residual at which the highest image begins to climb, and a window may be narrowed
# part of the way to the middle of its neighbors that an image moves per step; up to 1/2 is stable
SPREAD = 0.4
BEND = 1e-2  # of the length of a chain: how far it is bent at random
FIRST = 0.1  # first step of the image on which the force is largest, in distances between images
STRIDE = 0.3  # longest step, in distances between images


class Path(NamedTuple):
    """A chain of m images from one point to another, many of them where its highest part is; all
    fields survive `vmap`.

    params: leading axis m, the first end as given, the last one relabelled; loss (m,); distance
    (m,): Euclidean, along the chain from the first image; top: index of the highest image;
    interior: whether it is higher than both ends by more than rounding; converged: residual <=
    tolerance; residual: largest force across the path (on the highest image: any force) where it is
    above its ends, times the length of the part that was relaxed last and over the height of its
    pass; steps taken.
    """

    params: Params
    loss: Array
    distance: Array
    top: Array
    interior: Array
    converged: Array
    residual: Array
    steps: Array


class _Band(NamedTuple):
    """Of the loop in `minimum_energy_path`. m images in p scaled coordinates."""

    images: Array  # (m, p)
    loss: Array  # (m,)
    gradient: Array  # (m, p)
    velocity: Array  # (m, p)
    pace: Array  # (m,) time step; zero: to be set
    mix: Array  # (m,)
    streak: Array  # (m,) steps downhill in a row
    window: tuple[Array, Array]  # images between these are relaxed
    climbs: Array
    residual: Array
    steps: Array
    since: Array  # steps since the last zoom
    zooms: Array
    done: Array


def minimum_energy_path(
    problem: Problem,
    a: Params | StationaryPoint,
    b: Params | StationaryPoint,
    images: int = 20,
    metric: Params = None,
    tolerance: float = 0.05,
    max_steps: int = 1000,
) -> Path:
    """Relax a chain of images from a to b until no force is left across it.

    A nudged elastic band with tangents towards the higher neighbor (Henkelman and Jonsson, J. Chem.
    Phys. 113, 9978, 2000) whose highest image climbs (Henkelman, Uberuaga and Jonsson, ibid. 9901),
    each image moved by FIRE (Bitzek et al., Phys. Rev. Lett. 97, 170201, 2006). b is first
    relabelled: of its images under the latents' symmetries the nearest to a. Where the highest part
    of the chain takes up few images the chain is drawn together there: only the window between the
    nearest images on both sides that lie below the ends is relaxed on, so that a barrier is
    resolved however low, narrow and near to an end it is.

    metric: positive weights like params; the square of a displacement is the sum of weight times
    change^2. Descent is fast where curvatures are of the same order in it. By default 1 / size^2
    (`Problem.size`), and 1/n of that for parameters of one of n data. tolerance: of
    `Path.residual`. Runs under `jit` and `vmap`. Raises ValueError for ends that do not fit or are
    the same up to symmetry, RuntimeError without float64.
    """
    a, b = (end.params if isinstance(end, StationaryPoint) else end for end in (a, b))
    require_float64("a path", (a, b))

    if jax.tree.map(jnp.shape, a) != jax.tree.map(jnp.shape, b):
        shapes = [jax.tree.map(jnp.shape, end) for end in (a, b)]
        raise ValueError(
            f"expected two ends alike, got {shapes[0]} and {shapes[1]}; take both from one problem"
        )
    if images < 2 * OUTSIDE:
        raise ValueError(f"expected at least {2 * OUTSIDE} images, got {images}; take more")
    path, apart = _relaxed(adopt(problem), a, b, metric, tolerance, max_steps, images=images)
    if not isinstance(apart, jax.core.Tracer) and not apart.all() > EQUAL:
        raise ValueError(
            "expected two different ends, got the same point up to symmetry; choose another one"
        )
    return path


@entry("a path", static=("images",))
def _relaxed(
    problem: Problem,
    a: Params,
    b: Params,
    metric: Params,
    tolerance: Array,
    max_steps: Array,
    images: int,
) -> tuple[Path, Array]:
    b = tally.align(problem, a, b)
    apart = model.reach(problem, a, jax.tree.map(jnp.subtract, b, a))
    root = jnp.sqrt(ravel_pytree(model.natural_metric(problem, a) if metric is None else metric)[0])
    first, unravel = ravel_pytree(a)
    last = ravel_pytree(b)[0]
    noise = jnp.max(
        jax.lax.map(problem.rounding, jax.tree.map(lambda *ends: jnp.stack(ends), a, b))
    )
    height = jax.value_and_grad(lambda y: problem.loss(unravel(y / root)))

    def evaluate(band: _Band) -> _Band:
        """Energies and gradients where images have moved."""

        def skip(y, value, slope):
            return (value, slope)

        def visit(z):
            return jax.lax.cond(z[0], lambda y, *_: height(y), skip, *z[1:])

        moved = _inside(band) | (band.since == 0)
        loss, gradient = jax.lax.map(visit, (moved, band.images, band.loss, band.gradient))
        return band._replace(loss=jnp.where(jnp.isfinite(loss), loss, jnp.inf), gradient=gradient)

    def turn(band: _Band) -> _Band:
        band = evaluate(band)
        band, force, tangent = _forces(band, noise)
        top, low, high, interior = _summit(band.loss, noise)
        wide = (
            (high - top >= BESIDE)
            & (top - low >= BESIDE)
            & (RESOLVED * (high - low) >= band.window[1] - band.window[0])
        )
        wide &= (low >= band.window[0]) & (high <= band.window[1])
        ready = (band.residual <= SETTLED) | (band.since >= PATIENCE)
        zoom = ready & ~(wide & interior) & (band.zooms < ZOOMS)
        done = wide & interior & (band.residual <= tolerance) & band.climbs
        done |= ~(wide & interior) & ready & (band.zooms >= ZOOMS)
        return jax.lax.cond(
            zoom,
            lambda: _zoom(band, low, high),
            lambda: _move(band, force, tangent)._replace(done=done),
        )

    zero = jnp.asarray(0)
    line = jnp.linspace(0.0, 1.0, images)[:, None]
    chain = _bent(
        (first * root)[None] + line * ((last - first) * root)[None], zero, zero + images - 1
    )
    rest = jnp.zeros(images)
    band = _Band(
        images=chain,
        loss=rest,
        gradient=jnp.zeros_like(chain),
        velocity=jnp.zeros_like(chain),
        pace=rest,
        mix=rest,
        streak=rest,
        window=(zero, zero + images - 1),
        climbs=zero > 0,
        residual=jnp.asarray(jnp.inf),
        steps=zero,
        since=zero,
        zooms=zero,
        done=zero > 0,
    )
    band = jax.lax.while_loop(lambda band: ~band.done & (band.steps < max_steps), turn, band)
    params = jax.vmap(unravel)((band.images / root[None]).at[0].set(first).at[-1].set(last))
    loss = jax.lax.map(problem.loss, params)
    top, _, _, interior = _summit(loss, noise)
    path = Path(
        params=params,
        loss=loss,
        distance=_arc(jax.vmap(lambda w: ravel_pytree(w)[0])(params)),
        top=top,
        interior=interior,
        converged=interior & (band.residual <= tolerance),
        residual=band.residual,
        steps=band.steps,
    )
    return path, apart


def _bent(images: Array, left: Array, right: Array) -> Array:
    """A chain, bent a little at random between two images: one that is symmetric would pass over a
    higher saddle for ever.
    """
    index = jnp.clip(jnp.arange(len(images)), left, right)
    bow = (
        jnp.sin(jnp.pi * (index - left) / (right - left))
        * BEND
        * jnp.linalg.norm(images[right] - images[left])
    )
    aside = curvature.unit(irregular(images.shape[1]))
    return images + bow[:, None] * aside[None]


def _arc(points: Array) -> Array:
    """Lengths (m,) along a chain of points (m, p)."""
    return jnp.append(0.0, jnp.cumsum(jnp.linalg.norm(jnp.diff(points, axis=0), axis=1)))


def _summit(loss: Array, noise: Array) -> tuple[Array, Array, Array, Array]:
    """Highest image, the nearest on each side that is no higher than the higher end, and whether it
    is above that end.
    """
    index, last = jnp.arange(loss.size), loss.size - 1
    level = jnp.maximum(loss[0], loss[-1])
    top = jnp.argmax(loss)
    interior = loss[top] > level + noise
    top = jnp.where(interior, top, jnp.where(loss[0] >= loss[-1], 0, last))
    below = loss < level - noise
    low = jnp.max(jnp.where((below | (index == 0)) & (index < jnp.maximum(top, 1)), index, 0))
    high = jnp.min(
        jnp.where((below | (index == last)) & (index > jnp.minimum(top, last - 1)), index, last)
    )
    return top, low, high, interior


def _inside(band: _Band) -> Array:
    index = jnp.arange(band.loss.size)
    return (index > band.window[0]) & (index < band.window[1])


def _forces(band: _Band, noise: Array) -> tuple[_Band, Array, Array]:
    """Forces across the path, and its unit tangents, all (m, p); residual and climbing brought up
    to date.
    """
    forward = jnp.diff(band.images, axis=0, append=band.images[-1:])
    backward = jnp.roll(forward, 1, axis=0)
    rise = jnp.diff(band.loss, append=band.loss[-1:])
    fall = jnp.roll(rise, 1)
    most, least = (
        jnp.maximum(jnp.abs(rise), jnp.abs(fall)),
        jnp.minimum(jnp.abs(rise), jnp.abs(fall)),
    )
    uphill = jnp.where(rise + fall > 0, most, least), jnp.where(rise + fall > 0, least, most)
    ahead = jnp.where(
        (rise > 0) & (fall > 0), 1.0, jnp.where((rise <= 0) & (fall <= 0), 0.0, uphill[0])
    )
    behind = jnp.where(
        (rise > 0) & (fall > 0), 0.0, jnp.where((rise <= 0) & (fall <= 0), 1.0, uphill[1])
    )
    level = most <= noise
    ahead, behind = jnp.where(level, 1.0, ahead), jnp.where(level, 1.0, behind)
    tangent = jax.vmap(curvature.unit)(ahead[:, None] * forward + behind[:, None] * backward)

    inside = _inside(band)
    left, right = band.window
    along = jnp.sum(band.gradient * tangent, axis=1)
    across = -band.gradient + along[:, None] * tangent
    top = jnp.argmax(jnp.where(inside, band.loss, -jnp.inf))
    climber = (jnp.arange(inside.size) == top) & (
        band.loss[top] > jnp.maximum(band.loss[left], band.loss[right]) + noise
    )
    force = jnp.where((climber & band.climbs)[:, None], across + along[:, None] * tangent, across)
    arc = _arc(band.images)
    ends, passes = (band.loss[left], band.loss[right]), jnp.any(climber)
    level = jnp.maximum(*ends)
    span = jnp.where(passes, band.loss[top] - level, jnp.abs(ends[0] - ends[1]))
    # The end of a window may lie beside the best path. What lies below it does not matter for the
    # pass, and would fall on.
    free = inside & ((band.zooms == 0) | (band.loss > jnp.where(passes, level, jnp.minimum(*ends))))
    force = jnp.where(free[:, None], force, 0.0)
    counts = free & (~passes | (band.loss > level))
    largest = jnp.max(jnp.where(counts, jnp.linalg.norm(force, axis=1), 0.0))
    residual = largest * (arc[right] - arc[left]) / jnp.maximum(span, noise)
    climbs = band.climbs | (residual <= SETTLED)
    return band._replace(residual=residual, climbs=climbs), force, tangent


def _move(band: _Band, force: Array, tangent: Array) -> _Band:
    """One step of FIRE for every image across the path, and one towards equal distances along
    it.
    """
    inside = _inside(band)
    left, right = band.window
    arc = _arc(band.images)
    spacing = (arc[right] - arc[left]) / (right - left)
    size = jnp.linalg.norm(force, axis=1)
    safe = jnp.where(size > 0, size, 1.0)
    fresh = band.pace == 0
    power = jnp.sum(force * band.velocity, axis=1)
    good = (power > 0) | fresh | (size == 0)
    speed = jnp.linalg.norm(band.velocity, axis=1)
    mix = jnp.where(good, jnp.where(band.streak > 5, 0.99 * band.mix, band.mix), 0.1)
    turned = (1 - mix)[:, None] * band.velocity + (mix * speed / safe)[:, None] * force
    pace = jnp.where(good, jnp.where(band.streak > 5, 1.1 * band.pace, band.pace), 0.5 * band.pace)
    pace = jnp.where(
        fresh,
        jnp.sqrt(FIRST * spacing / jnp.maximum(jnp.max(size), jnp.finfo(size.dtype).tiny)),
        pace,
    )
    velocity = jnp.where((good & (size > 0))[:, None], turned, 0.0) + pace[:, None] * force
    step = pace[:, None] * velocity
    length = jnp.linalg.norm(step, axis=1)
    shrink = jnp.minimum(1.0, STRIDE * spacing / jnp.where(length > 0, length, 1.0))
    velocity, step = shrink[:, None] * velocity, shrink[:, None] * step

    gaps = jnp.diff(arc, append=arc[-1:])
    slide = 0.5 * SPREAD * (gaps - jnp.roll(gaps, 1))
    climber = band.climbs & (
        jnp.arange(inside.size) == jnp.argmax(jnp.where(inside, band.loss, -jnp.inf))
    )
    slide = jnp.where(climber, 0.0, jnp.clip(slide, -STRIDE * spacing, STRIDE * spacing))
    moved = band.images + jnp.where(inside[:, None], step + slide[:, None] * tangent, 0.0)
    return band._replace(
        images=moved,
        velocity=velocity,
        pace=pace,
        mix=mix,
        streak=jnp.where(good, band.streak + 1, 0.0),
        steps=band.steps + 1,
        since=band.since + 1,
    )


def _zoom(band: _Band, low: Array, high: Array) -> _Band:
    """Draw the chain together between two of its images; outside, distances grow geometrically away
    from there.
    """
    m = band.loss.size
    index, arc = jnp.arange(m), _arc(band.images)
    few = m // OUTSIDE
    left, right = jnp.where(low > 0, few, 0), jnp.where(high < m - 1, m - 1 - few, m - 1)
    start, end, length = arc[low], arc[high], arc[-1]
    spacing = (end - start) / (right - left)
    before, after = (
        (left - index) / jnp.maximum(left, 1),
        (index - right) / jnp.maximum(m - 1 - right, 1),
    )
    at = start + (index - left) * spacing
    at = jnp.where(
        index < left, start - spacing * (jnp.maximum(1.0, 1 + start / spacing) ** before - 1), at
    )
    at = jnp.where(
        index > right,
        end + spacing * (jnp.maximum(1.0, 1 + (length - end) / spacing) ** after - 1),
        at,
    )
    j = jnp.clip(jnp.searchsorted(arc, at, side="right") - 1, 0, m - 2)
    gap = arc[j + 1] - arc[j]
    part = jnp.clip((at - arc[j]) / jnp.where(gap > 0, gap, 1.0), 0.0, 1.0)[:, None]
    images = (1 - part) * band.images[j] + part * band.images[j + 1]
    images = _bent(images.at[0].set(band.images[0]).at[-1].set(band.images[-1]), left, right)
    rest = jnp.zeros(m)
    return band._replace(
        images=images,
        velocity=jnp.zeros_like(images),
        pace=rest,
        mix=rest,
        streak=rest,
        window=(left, right),
        climbs=jnp.asarray(False),
        residual=jnp.asarray(jnp.inf),
        since=jnp.asarray(0),
        zooms=band.zooms + 1,
    )
