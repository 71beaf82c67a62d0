"""How is a number kept so that every rounding is covered?

As a ball: a midpoint and a radius. What is computed from balls encloses what is computed from any
of their points. Needs python-flint.

>>> print(tail(flint.arb(0)).str(10, radius=False))
0.5000000000
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

flint: Any  # optional: `arithmetic` says what to install
try:
    import flint
except ImportError:
    flint = None

__all__ = [
    "Ball",
    "arithmetic",
    "density",
    "exactly",
    "flint",
    "midpoints",
    "second_tail",
    "tail",
    "within",
]

Ball = Any  # a flint.arb
PRECISION = 128  # bits; cancellation costs some 20 of them, far out in the tail


@contextmanager
def arithmetic() -> Iterator[None]:
    """With enough bits. Raises RuntimeError without python-flint."""
    if flint is None:
        raise RuntimeError("expected python-flint for proofs, got none; pip install python-flint")
    with flint.ctx.workprec(PRECISION):
        yield


def exactly(numbers: Any) -> Any:
    """Balls of radius zero at floats, one or an array of them."""
    return np.frompyfunc(flint.arb, 1, 1)(numbers)


def midpoints(balls: np.ndarray) -> np.ndarray:
    """Midpoints of balls, as float64."""
    return np.frompyfunc(float, 1, 1)(balls).astype(np.float64)


def within(bound: Ball) -> Ball:
    """[-bound, bound]."""
    return (-bound).union(bound)


def density(a: Ball) -> Ball:
    """phi(a) = exp(-a^2 / 2) / sqrt(2 pi)."""
    return (-a * a / 2).exp() / (2 * flint.arb.pi()).sqrt()


def tail(a: Ball) -> Ball:
    """Q(a) = P(z > a), z standard normal."""
    return (a / flint.arb(2).sqrt()).erfc() / 2


def second_tail(a: Ball) -> Ball:
    """h2(a) = E (z - a)_+^2 = (1 + a^2) Q(a) - a phi(a), z standard normal."""
    return (1 + a * a) * tail(a) - a * density(a)
