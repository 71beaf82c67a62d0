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
CHANGES = 4.0  # largest changes by rounding, above which a coefficient is not zero, and
ROUNDINGS = 4.0  # epsilons of its terms, for one that is to be a fall


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
    one side. None where `jax.experimental.jet` has no rule for one of the loss's operations, or
    none that holds there.
    """
    try:
        curve = _bottom(value, x, along, solve, order // 2)
        here, own, around = _coefficients(value, x, curve, scale, order)
    except Exception:  # whatever an experimental rule stumbles over
        return None
    if not jnp.all(jnp.isfinite(jnp.stack([here, own, around]))):
        return None
    orders = jnp.arange(1, order + 1)
    # Of a place that is exact to its last digit, and of terms that cancel exactly, a rise may show
    # that their rounding would hide; no fall is said to come first that rounding might make.
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
    """Of the loss along a curve (m, p), the first to the last order; what rounding makes of them as
    they are computed, and where the place is rounded, too, to `JITTER` of the scale: (order,) all.
    """
    missing = jnp.zeros((order - len(curve), x.size), x.dtype)
    bent = jnp.concatenate([curve, missing])
    straight = jnp.zeros_like(bent).at[0].set(curve[0])
    here = _series(value, x, bent)
    terms = jnp.maximum(jnp.abs(_series(value, x, straight)), jnp.abs(here))
    powers = jnp.arange(1.0, order + 1)
    irregularity = irregular(JITTERS, x.size + 1)

    def slower(i: Array) -> Array:
        """Along the same curve at another pace, which changes nothing but the rounding."""
        pace = 1 + 0.1 * irregularity[i, -1]
        own = _series(value, x, bent * pace ** powers[:, None]) / pace**powers
        return jnp.abs(own - here)

    def beside(i: Array) -> Array:
        return jnp.abs(_series(value, x + JITTER * scale * irregularity[i, :-1], bent) - here)

    samples = jnp.arange(JITTERS)
    own = jnp.max(jax.lax.map(slower, samples), axis=0)
    around = jnp.max(jax.lax.map(beside, samples), axis=0)
    floor = ROUNDINGS * jnp.finfo(x.dtype).eps * terms
    return here, CHANGES * own, floor + CHANGES * (own + around)


def _series(function: Callable[[Array], Array], x: Array, curve: Array) -> Array:
    """Taylor coefficients of a function along x + sum_m t^m curve[m - 1], one for each m."""
    derivatives = [math.factorial(m + 1) * step for m, step in enumerate(curve)]
    _, series = jet(function, (x,), (derivatives,))
    return jnp.stack([term / math.factorial(m + 1) for m, term in enumerate(series)])
