"""Does a valley rise before it falls, by its Taylor series where values are below rounding?

A fall that was measured from some distance on, like a power of it, says nothing of lower powers: of
c x^4 - x^6 with c = 1e-10 rounding hides the rise from every value, but not from the fourth
derivative. `rises` follows the valley's bottom order by order, x + t u + t^2 w_2 + t^3 w_3 + ...,
each w_m by Newton's step in all but the flat directions, which takes half as many orders of the
curve as are wanted of the loss, and asks for the first coefficient of the loss beyond rounding.

>>> import jax.numpy as jnp
>>> loss = lambda w: (w[1] - w[0] ** 2) ** 2 + 1e-10 * w[0] ** 4 - w[0] ** 6
>>> along = jnp.array([1.0, 0.0])
>>> bool(rises(loss, jnp.zeros(2), along, lambda g: g * jnp.array([0.0, 0.5]), jnp.ones(2), 4))
True
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental.jet import jet

from vaesurface.problem import JITTER, JITTERS, irregular

__all__ = ["ORDERS", "rises"]

ORDERS = 16  # up to which coefficients are taken
ROUNDINGS = 64.0  # epsilons of its terms, above which a coefficient is not zero
CHANGES = 4.0  # changes by rounding of the place


def rises(
    value: Callable[[Array], Array],
    x: Array,
    along: Array,
    solve: Callable[[Array], Array],
    scale: Array,
    order: int,
) -> Array | None:
    """Whether the first coefficient of the third to the given order beyond rounding is a rise, (),
    from x (p,) along a flat direction (p,) of length one in units of scale (p,).

    solve: g to the solution of H s = g in all but the flat directions. An odd coefficient falls to
    one side. None where `jax.experimental.jet` has no rule for one of the loss's operations.
    """
    try:
        curve = _bottom(value, x, along, solve, order // 2)
        here, own, around = _coefficients(value, x, curve, scale, order)
    except Exception:  # whatever an experimental rule stumbles over
        return None
    orders = jnp.arange(1, order + 1)
    # A place that is exact to its last digit may show a rise that moving it by the rounding of
    # what it is computed from would hide; no fall is said to come first that this might make.
    even = (orders % 2 == 0) & (orders > 2)
    rise, fall = even & (here > own), (orders > 2) & (jnp.abs(here) > around) & ~(even & (here > 0))
    return jnp.any(rise) & (jnp.argmax(rise | fall) == jnp.argmax(rise))


def _bottom(
    value: Callable[[Array], Array],
    x: Array,
    along: Array,
    solve: Callable[[Array], Array],
    half: int,
) -> Array:
    """Coefficients (half, p) of the valley's bottom: along, w_2, ..."""
    curve = along[None]
    for _ in range(half - 1):
        open_order = jnp.concatenate([curve, jnp.zeros_like(along)[None]])
        slope = _series(jax.grad(value), x, open_order)[-1]
        curve = jnp.concatenate([curve, -solve(slope)[None]])
    return curve


def _coefficients(
    value: Callable[[Array], Array], x: Array, curve: Array, scale: Array, order: int
) -> tuple[Array, Array, Array]:
    """Of the loss along a curve (m, p), the first to the last order; what rounding makes of them
    where only the place's own digits are rounded, and where `JITTER` of the scale is, (order,) all.
    """
    missing = jnp.zeros((order - len(curve), x.size), x.dtype)
    bent = jnp.concatenate([curve, missing])
    straight = jnp.zeros_like(bent).at[0].set(curve[0])
    eps, nudges = jnp.finfo(x.dtype).eps, irregular(JITTERS, x.size)
    nudges = jnp.stack([eps * jnp.abs(x)[None] * nudges, JITTER * scale[None] * nudges])
    here = _series(value, x, bent)
    terms = jnp.maximum(jnp.abs(_series(value, x, straight)), jnp.abs(here))

    def change(nudge: Array) -> Array:
        return jnp.abs(_series(value, x + nudge, bent) - here)

    changes = jax.lax.map(change, nudges.reshape(-1, x.size)).reshape(2, JITTERS, order)
    own, around = ROUNDINGS * eps * terms[None] + CHANGES * jnp.max(changes, axis=1)
    return here, own, jnp.maximum(own, around)


def _series(function: Callable[[Array], Array], x: Array, curve: Array) -> Array:
    """Taylor coefficients of a function along x + sum_m t^m curve[m - 1], one for each m."""
    derivatives = [math.factorial(m + 1) * step for m, step in enumerate(curve)]
    _, series = jet(function, (x,), (derivatives,))
    return jnp.stack([term / math.factorial(m + 1) for m, term in enumerate(series)])
