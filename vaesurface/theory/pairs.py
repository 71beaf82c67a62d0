"""How does the difference of large numbers keep the digits of a small one?

A pair (high, low) of floats stands for their sum, which has twice the digits of one: 32 in float64
(T. J. Dekker, A floating-point technique for extending the available precision, Numer. Math. 18
(1971)). Factors are cut into halves whose products are exact, so that it changes nothing when a
compiler fuses multiplications with additions.

>>> import jax.numpy as jnp
>>> one, third = Pair(jnp.array(1.0), jnp.array(0.0)), jnp.array(1 / 3)
>>> rest = less_product(less_product(less_product(one, one, third), one, third), one, third)
>>> print(rest.high == 2.0**-54, rest.low)  # 1 - 3 float(1 / 3)
True 0.0
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["PAIR_BITS", "Pair", "added", "less_product"]

# Of a pair in float64: what one operation on it loses is below 2^-PAIR_BITS of its largest term.
PAIR_BITS = 103


class Pair(NamedTuple):
    """high + low, elementwise, with |low| at most half a unit in the last place of high.

    high: the rounded sum.
    low: what rounding it left out.
    """

    high: Array
    low: Array


def added(a: Array, b: Array) -> Pair:
    """a + b without any rounding."""
    high = a + b
    part = high - a
    return Pair(high=high, low=(a - (high - part)) + (b - part))


def less_product(a: Pair, b: Pair, factor: Array) -> Pair:
    """a - b * factor, elementwise over arrays that broadcast."""
    (b_front, b_back), (front, back) = _halves(b.high), _halves(factor)
    total, lost = a.high, a.low - (b_back * back + b.low * factor)
    for product in (b_front * front, b_front * back, b_back * front):
        total, rounded = added(total, -product)
        lost = lost + rounded
    return added(total, lost)


def _halves(x: Array) -> tuple[Array, Array]:
    """Of each number's digits, front + back = x."""
    kind = jnp.finfo(x.dtype)
    front = jax.lax.reduce_precision(x, kind.nexp, (kind.nmant - 1) // 2)
    return front, x - front
