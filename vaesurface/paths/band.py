"""Along which way from one point to another does the energy rise the least?

A chain of images is relaxed between two points until no force is left across it, and drawn together
where it is highest. Users find `minimum_energy_path` in `paths`, with what follows from it.

>>> import jax.numpy as jnp
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + (w[1] - w[0] ** 2) ** 2)
>>> path = minimum_energy_path(wells, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
>>> print(f"{path.loss[path.top]:.3f}")
1.000
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import curvature
from vaesurface.glance import brief
from vaesurface.paths.chain import NEARLY_RELAXED, Band, arc_lengths, forces, inside, moved
from vaesurface.problem import (
    Params,
    Problem,
    adopt,
    entry,
    irregular,
    require_float64,
    require_numbers,
)
from vaesurface.refusal import number, whole
from vaesurface.stationary import model, tally
from vaesurface.stationary.verdict import StationaryPoint

__all__ = ["Path", "minimum_energy_path"]

# Distance, in the parameters' sizes, up to which two ends are one.
SAME_ENDS = 1e-9
# A window is zoomed in on until the part that lies above both its ends takes up one in so many of
# its images, with so many on each side of the highest one.
PEAK_SHARE = 3
PEAK_SIDES = 2
# Zooms at most: each narrows the window about threefold or more, so 1e-10 of the way is reached.
ZOOMS = 24
# One in so many images stays on each side of a window.
OUTSIDE = 5
# Steps after which a window is zoomed in on although it is not nearly relaxed.
ZOOM_AFTER = 100
# How far a chain is bent at random, over its length.
BEND = 1e-2

# Scaled coordinates (p,) to energy and gradient.
Height = Callable[[Array], tuple[Array, Array]]


@brief("loss", "distance", "top", "interior", "converged", "residual", "steps", "params")
class Path(NamedTuple):
    """A chain of m images from one point to another, many of them where its highest part is; all
    fields survive `vmap`.

    params: leading axis m, the first end as it is, the last one relabelled.
    loss: (m,).
    distance: (m,), Euclidean, along the chain from the first image.
    top: (), index of the highest image.
    interior: (), whether it is higher than both ends by more than rounding.
    converged: (), whether residual <= tolerance.
    residual: (), largest force across the path (on the highest image: any force) where it is above
        its ends, times the length of the part that was relaxed last and over the height of its
        pass.
    steps: (), taken.
    """

    params: Params
    loss: Array
    distance: Array
    top: Array
    interior: Array
    converged: Array
    residual: Array
    steps: Array


class _Summit(NamedTuple):
    """The highest part of a chain.

    top: (), index of the highest image.
    low: (), of the nearest one before it that is below the higher end.
    high: (), of the nearest one after it.
    interior: (), whether the highest one is above that end.
    """

    top: Array
    low: Array
    high: Array
    interior: Array


def minimum_energy_path(
    problem: Problem,
    a: Params | StationaryPoint,
    b: Params | StationaryPoint,
    images: int = 20,
    metric: Params = None,
    tolerance: float = 0.05,
    max_steps: int = 1000,
) -> Path:
    """A chain of images from a to b, relaxed until no force is left across it.

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
    require_numbers("a path", (a, b))
    require_float64("a path", (a, b))
    images = whole("images", images, least=0)
    number("tolerance", tolerance, above=0.0)

    if jax.tree.map(jnp.shape, a) != jax.tree.map(jnp.shape, b):
        shapes = [jax.tree.map(jnp.shape, end) for end in (a, b)]
        raise ValueError(
            f"expected two ends alike, got {shapes[0]} and {shapes[1]}; take both from one problem"
        )
    if images < 2 * OUTSIDE:
        raise ValueError(f"expected at least {2 * OUTSIDE} images, got {images}; take more")
    path, apart = _relaxed(adopt(problem), a, b, metric, tolerance, max_steps, images=images)
    if not isinstance(apart, jax.core.Tracer) and not apart.all() > SAME_ENDS:
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
    """The path, and how far apart its ends are in the parameters' sizes.

    Relaxed in the coordinates root * params, in which the metric is Euclidean.
    """
    b = tally.align(problem, a, b)
    apart = model.reach(problem, a, optax.tree.sub(b, a))
    root = jnp.sqrt(ravel_pytree(model.natural_metric(problem, a) if metric is None else metric)[0])
    first, unravel = ravel_pytree(a)
    last = ravel_pytree(b)[0]
    ends = jax.tree.map(lambda *ends: jnp.stack(ends), a, b)
    noise = jnp.max(jax.lax.map(problem.rounding, ends))

    def energy(y: Array) -> Array:
        return problem.loss(unravel(y / root))

    def unfinished(band: Band) -> Array:
        return ~band.done & (band.steps < max_steps)

    turn = partial(_turn, jax.value_and_grad(energy), noise, tolerance)
    band = jax.lax.while_loop(unfinished, turn, _straight(first * root, last * root, images))
    params = jax.vmap(unravel)((band.images / root[None]).at[0].set(first).at[-1].set(last))
    loss = jax.lax.map(problem.loss, params)
    summit = _summit(loss, noise)
    path = Path(
        params=params,
        loss=loss,
        distance=arc_lengths(jax.vmap(lambda w: ravel_pytree(w)[0])(params)),
        top=summit.top,
        interior=summit.interior,
        converged=summit.interior & (band.residual <= tolerance),
        residual=band.residual,
        steps=band.steps,
    )
    return path, apart


def _straight(first: Array, last: Array, images: int) -> Band:
    """A chain from first to last, bent a little, at rest."""
    zero, line = jnp.asarray(0), jnp.linspace(0.0, 1.0, images)[:, None]
    window = (zero, zero + images - 1)
    chain = _bent(first[None] + line * (last - first)[None], *window)
    return Band(
        images=chain,
        loss=jnp.zeros(images),
        gradient=jnp.zeros_like(chain),
        velocity=jnp.zeros_like(chain),
        pace=jnp.zeros(images),
        mix=jnp.zeros(images),
        streak=jnp.zeros(images),
        window=window,
        climbs=jnp.asarray(False),
        residual=jnp.asarray(jnp.inf),
        steps=zero,
        since=zero,
        zooms=zero,
        done=jnp.asarray(False),
    )


def _turn(height: Height, noise: Array, tolerance: Array, band: Band) -> Band:
    """One step of all images; or a zoom, where the highest part is not resolved."""
    band = _evaluated(height, band)
    band, force, tangent = forces(band, noise)
    summit = _summit(band.loss, noise)
    resolved = _is_wide(band, summit) & summit.interior
    ready = (band.residual <= NEARLY_RELAXED) | (band.since >= ZOOM_AFTER)
    done = resolved & (band.residual <= tolerance) & band.climbs
    done |= ~resolved & ready & (band.zooms >= ZOOMS)
    return jax.lax.cond(
        ready & ~resolved & (band.zooms < ZOOMS),
        lambda: _zoomed(band, summit.low, summit.high),
        lambda: moved(band, force, tangent)._replace(done=done),
    )


def _evaluated(height: Height, band: Band) -> Band:
    """With energies and gradients where images have moved."""

    def visit(image: tuple) -> tuple[Array, Array]:
        changed, y, value, slope = image
        return jax.lax.cond(changed, lambda: height(y), lambda: (value, slope))

    changed = inside(band) | (band.since == 0)
    loss, gradient = jax.lax.map(visit, (changed, band.images, band.loss, band.gradient))
    return band._replace(loss=jnp.where(jnp.isfinite(loss), loss, jnp.inf), gradient=gradient)


def _is_wide(band: Band, summit: _Summit) -> Array:
    """Whether the highest part takes up enough images of the window."""
    left, right = band.window
    top, low, high, _ = summit
    wide = (high - top >= PEAK_SIDES) & (top - low >= PEAK_SIDES)
    wide &= PEAK_SHARE * (high - low) >= right - left
    return wide & (low >= left) & (high <= right)


def _bent(images: Array, left: Array, right: Array) -> Array:
    """A chain, bent a little at random between two images: one that is symmetric would pass over a
    higher saddle for ever.
    """
    index = jnp.clip(jnp.arange(len(images)), left, right)
    arch = jnp.sin(jnp.pi * (index - left) / (right - left))
    bow = arch * BEND * jnp.linalg.norm(images[right] - images[left])
    aside = curvature.unit(irregular(images.shape[1]))
    return images + bow[:, None] * aside[None]


def _summit(loss: Array, noise: Array) -> _Summit:
    """Of a chain's energies (m,), where differences up to noise are none."""
    index, last = jnp.arange(loss.size), loss.size - 1
    level = jnp.maximum(loss[0], loss[-1])
    top = jnp.argmax(loss)
    interior = loss[top] > level + noise
    top = jnp.where(interior, top, jnp.where(loss[0] >= loss[-1], 0, last))
    below = loss < level - noise
    before = (below | (index == 0)) & (index < jnp.maximum(top, 1))
    after = (below | (index == last)) & (index > jnp.minimum(top, last - 1))
    low = jnp.max(jnp.where(before, index, 0))
    high = jnp.min(jnp.where(after, index, last))
    return _Summit(top=top, low=low, high=high, interior=interior)


def _zoomed(band: Band, low: Array, high: Array) -> Band:
    """Drawn together between two of its images, and at rest."""
    m, few = band.loss.size, band.loss.size // OUTSIDE
    left, right = jnp.where(low > 0, few, 0), jnp.where(high < m - 1, m - 1 - few, m - 1)
    arc = arc_lengths(band.images)
    at = _drawn(arc, (arc[low], arc[high]), (left, right))
    j = jnp.clip(jnp.searchsorted(arc, at, side="right") - 1, 0, m - 2)
    gap = arc[j + 1] - arc[j]
    part = jnp.clip((at - arc[j]) / jnp.where(gap > 0, gap, 1.0), 0.0, 1.0)[:, None]
    images = (1 - part) * band.images[j] + part * band.images[j + 1]
    images = _bent(images.at[0].set(band.images[0]).at[-1].set(band.images[-1]), left, right)
    return band._replace(
        images=images,
        velocity=jnp.zeros_like(images),
        pace=jnp.zeros(m),
        mix=jnp.zeros(m),
        streak=jnp.zeros(m),
        window=(left, right),
        climbs=jnp.asarray(False),
        residual=jnp.asarray(jnp.inf),
        since=jnp.asarray(0),
        zooms=band.zooms + 1,
    )


def _drawn(arc: Array, part: tuple[Array, Array], window: tuple[Array, Array]) -> Array:
    """New places (m,) along a chain: equal distances in part of it, which the window takes up;
    outside, they grow geometrically away from there.
    """
    (start, end), (left, right) = part, window
    m, index, length = arc.size, jnp.arange(arc.size), arc[-1]
    spacing = (end - start) / (right - left)
    before = (left - index) / jnp.maximum(left, 1)
    after = (index - right) / jnp.maximum(m - 1 - right, 1)
    at = start + (index - left) * spacing
    ahead = spacing * (jnp.maximum(1.0, 1 + start / spacing) ** before - 1)
    beyond = spacing * (jnp.maximum(1.0, 1 + (length - end) / spacing) ** after - 1)
    at = jnp.where(index < left, start - ahead, at)
    return jnp.where(index > right, end + beyond, at)
