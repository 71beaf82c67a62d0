"""What is known of collapse where a decoder is bent by any activation?

Where f_alpha is smooth at 0 the Hessian says all. Where it has a corner there is none at W = 0, and
`theory.corner`'s form of degree two decides. Where it has a dead zone the energy is flat to all
orders, and an inequality decides (`theory.dead_zone_radius`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vaesurface import problem
from vaesurface.energy import VAEParams
from vaesurface.problem import Theory
from vaesurface.theory.collapse import dead_zone_radius
from vaesurface.theory.corner import Corner, corner, judged
from vaesurface.vae.elementwise import NEGLIGIBLE, SILENT, VANISHING

__all__ = [
    "Leaning",
    "effects",
    "known",
    "plain",
    "pull",
    "residual",
    "settled",
]

# Beside a corner a row without effect leaves only if it is this short, in units of the decoder's.
SHORT = 1e-4
# Deviation of a feature from its mean, in the decoder's units, below which it is constant.
CONSTANT = 1e-10
# Largest entry of the weight, in the decoder's units, of a point that is the collapsed one where
# nothing sets rows to zero: its energy differs in the twelfth digit.
NEAR = 1e-6
# Down the leading form, in units of the decoder's deviation or of the posteriors'.
STEPS = (0.1, 0.03, 1e-2, 3e-3, 1e-3, 3e-4)


class Leaning(NamedTuple):
    """How the terms of all coordinates depend on what the decoder says, at the collapsed point.

    left: (n, d), x less its mean.
    stiffness: (n, d), half the second derivative of the term, D.
    bend: (n, d), what `left` is multiplied by in half its first derivative.
    cubic: 1 where the second derivative may fall off like exp(-|y|), 0 where it is constant.
    """

    left: Array
    stiffness: Array
    bend: Array
    cubic: float


def residual(own: Leaning) -> Array:
    """(n, d), what the constant decoder leaves, in units of sqrt(D); zero where nothing varies."""
    return jnp.where(_varies(own)[None], own.left * own.bend / _root(own)[None], 0.0)


def _varies(own: Leaning) -> Array:
    """(d,), whether a coordinate does."""
    return jnp.max(jnp.abs(own.left), axis=0) > 0


def _root(own: Leaning) -> Array:
    """(d,), sqrt(D); 1 where nothing varies."""
    return jnp.sqrt(jnp.where(_varies(own), jnp.mean(own.stiffness, axis=0), 1.0))


def plain(vae: Any, params: VAEParams) -> Theory:
    """What is known without a look at the activation: whether it is collapsed."""
    dead = jnp.all(params.weight == 0, axis=1)
    longest = jnp.max(jnp.abs(params.weight) / jnp.reshape(vae.unit(), (-1, 1)))
    collapsed = (longest <= NEAR) & (jnp.max(vae.information(params)) < SILENT)
    unknown = jnp.asarray(jnp.nan)
    return Theory(
        dead_rows=jnp.sum(dead),
        collapsed=collapsed,
        # What correlates latents of the prior changes nothing to second order, and costs then.
        strict=jnp.where(collapsed, vae.posterior.idle * len(vae.X) * vae.latent, 0),
        falling=jnp.asarray(0),
        drop=jnp.zeros(()),
        descent=jax.tree.map(jnp.zeros_like, params),
        radius=jnp.zeros(()),
        minimum=unknown,
        slope=unknown,
        push=unknown,
        runaway=_runs_away(vae, params),
    )


def known(vae: Any, params: VAEParams) -> Theory:
    """`Problem.theory` of a bent decoder."""
    left, right = vae.bend.slopes(vae.alpha)
    own, cornered = corner(left, right), left != right
    zone = vae.bend.dead_zone(vae.alpha)
    rough = cornered | ((vae.alpha > 0) & (not vae.bend.smooth_at_zero))
    base = plain(vae, params)
    trapped = base.collapsed & (zone > 0)
    dead = jnp.all(params.weight == 0, axis=1)
    varies = jnp.max(jnp.abs(vae.X - vae.center[None]), axis=0) > CONSTANT * vae.unit()
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    counts, way = jax.lax.cond(
        cornered & base.collapsed,
        lambda: _by_form(vae, own, size),
        lambda: (jnp.full(3, -1), base.descent),
    )
    return base._replace(
        # At every alpha > 0, for every data set (`theory.dead_zone_radius`).
        strict=base.strict + jnp.where(trapped, dead.size * vae.latent, 0),
        descent=way,
        radius=jnp.where(trapped, _radius(vae, zone), 0.0),
        form=counts,
        corner=rough & ~base.collapsed & jnp.any(dead & varies),
        limit=trapped,
    )


def _radius(vae: Any, zone: Array) -> Array:
    """Row norm () up to which a dead zone of that width leaves nothing lower beside collapse."""
    leaning = vae.leaning()
    return dead_zone_radius(zone, pull(leaning, vae.beta), leaning.cubic)


def _by_form(vae: Any, own: Corner, size: int) -> tuple[Array, VAEParams]:
    """Numbers of directions (3,), and a displacement along which the form falls most of those that
    were looked at; zero where it does not.

    The bias gives way to what a column says on average, the posteriors follow it.
    """
    leaning = vae.leaning()
    scaled, root = residual(leaning), _root(leaning)
    pulls = scaled * root[None]
    # What one encoder says of all deviations answers to no datum's own level.
    answering = own._replace(level=0.0) if vae.posterior.tied else own
    counts, found = judged(scaled, vae.latent, answering, vae.beta, size)
    column = jnp.where(_varies(leaning), found.column / root, 0.0)
    length = jnp.abs(column)
    zero = jax.tree.map(jnp.zeros_like, vae.collapsed())
    way = zero._replace(
        weight=zero.weight.at[:, 0].set(column),
        bias=-own.level * length,
        mean=zero.mean.at[:, 0].set(own.slope / vae.beta * pulls @ column),
        log_std=zero.log_std.at[:, 0].set(0.5 * answering.level / vae.beta * pulls @ length),
    )
    return counts, optax.tree.where(counts[0] > 0, _lowest(vae, way), zero)


def _lowest(vae: Any, way: VAEParams) -> VAEParams:
    """The multiple of a way from collapse that leads lowest; zero if none leads lower."""
    start = vae.collapsed()
    far = jnp.maximum(jnp.max(jnp.abs(way.mean)), jnp.max(jnp.abs(way.log_std)))
    steps = jnp.asarray((0.0, *STEPS)) / jnp.maximum(1.0, far)

    def level(step: Array) -> Array:
        return vae.loss(optax.tree.add_scale(start, step, way))

    levels = jax.lax.map(level, steps)
    return optax.tree.scale(steps[jnp.nanargmin(levels)], way)


def pull(own: Leaning, beta: Array) -> Array:
    """R (), by `theory.dead_zone_radius`: max_i sum_k (bend left)^2 / D, over beta."""
    varies = _varies(own)[None]
    squares = (own.left * own.bend) ** 2 / jnp.where(varies, own.stiffness, 1.0)
    return jnp.max(jnp.sum(jnp.where(varies, squares, 0.0), axis=1)) / beta


def _runs_away(vae: Any, params: VAEParams) -> Array:
    """Whether a learned gamma is on its way to zero."""
    if params.log_gamma is None:
        return jnp.asarray(False)
    return jnp.any(vae.gamma_of(params) < VANISHING * vae.gammabar)


def settled(vae: Any, params: VAEParams) -> VAEParams:
    """Rows without effect at zero; where the activation has a corner there, biases take over what
    such rows say on average.
    """
    left, right = vae.bend.slopes(vae.alpha)
    level = corner(left, right).level * jnp.linalg.norm(params.weight, axis=1)
    zero = params._replace(
        weight=jnp.zeros_like(params.weight),
        bias=params.bias + jnp.where(left == right, 0.0, level),
    )
    short = jnp.max(jnp.abs(params.weight), axis=1) <= SHORT * vae.unit()
    # Rows that are not short have an effect, but in a dead zone; to tell it takes as long as the
    # energy, at every step of a descent.
    asked = jnp.any(short | (vae.bend.dead_zone(vae.alpha) > 0))
    large = jnp.full(short.shape, jnp.inf, params.weight.dtype)
    signed, absolute = jax.lax.cond(
        asked, lambda: effects(vae, params, zero), lambda: (large, large)
    )
    gone = jnp.where(left != right, short & (signed < NEGLIGIBLE), absolute < NEGLIGIBLE)
    return params._replace(
        weight=jnp.where(gone[:, None], 0.0, params.weight),
        bias=jnp.where(gone, zero.bias, params.bias),
    )


def effects(vae: Any, params: VAEParams, zero: VAEParams) -> tuple[Array, Array]:
    """|mean| and mean || (d,) over data, of what each row's term changes by where it is that of
    zero.
    """
    parts, rest = vae.split(params), vae.split(zero)

    def row(each: tuple) -> tuple[Array, Array]:
        own, other, x = each
        at = jax.vmap(vae.term, (None, None, 0, 0))
        here, there = (at(one, parts.shared, parts.local, x) for one in (own, other))
        return jnp.abs(jnp.mean(here - there)), jnp.mean(jnp.abs(here - there))

    each = parts.rows, rest.rows, jnp.moveaxis(vae.data, 1, 0)
    if vae.X.size <= problem.STREAM:
        return jax.vmap(row)(each)
    return jax.lax.map(row, each)
