"""Up to where does a condition hold?

For conditions on a positive number that hold up to some place and not beyond it. Traced: the place
is found within compiled programs, and under `vmap`.

>>> low, high = bisect(lambda x: x**2 < 2.0, jnp.array(1e-3), jnp.array(1e3))
>>> print(f"{high:.6f}")
1.414214
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array

__all__ = ["bisect"]

# They take a bracket of 100 orders of magnitude to the rounding of its logarithm.
HALVINGS = 64


def bisect(holds: Callable[[Array], Array], low: Array, high: Array) -> tuple[Array, Array]:
    """The bracket (low, high), () each, around the place up to which `holds` is true: neighboring
    numbers.

    0 < low < high. Halved in the logarithm; where the condition holds nowhere low stays, and where
    it holds everywhere high does.
    """

    def halve(_: int, bracket: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bracket
        middle = jnp.sqrt(low * high)
        inside = holds(middle)
        return jnp.where(inside, middle, low), jnp.where(inside, high, middle)

    return jax.lax.fori_loop(0, HALVINGS, halve, (low, high))
