"""Which smooth functions have Gaussian moments in closed form? erf, tanh, sin, exp, polynomials.

>>> import jax.numpy as jnp
>>> mean, variance = Sine().moments(jnp.array(0.5), jnp.array(0.0), 1.0)
>>> print(f"{mean:.6f} {variance:.1f}")  # sin 0.5
0.479426 0.0
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import erf

from vaesurface.activations.activation import Blend
from vaesurface.activations.expectation import NODES
from vaesurface.activations.logistic import logistic

__all__ = ["Erf", "Exponential", "Polynomial", "Sine", "Tanh", "polynomial"]

OWEN = 20  # nodes for an integral over at most [0, 1] of a function that is entire there
NARROW = 1e-5  # variance below which the third term of tanh's series is rounding
HIGHEST = 12  # degree of a polynomial
# Beyond that degree the singularities of log(1 + exp g(u)) come near the real axis, and a rule
# takes as many nodes.
FLAT, STEEP = 2, 2 * NODES


@dataclass(frozen=True)
class Erf(Blend):
    """g(u) = erf(u). With Owen's T function (1956), of which a difference is left,

        Var erf(u) = (4 / pi) int_A^1 exp(-c^2 (1 + x^2) / 2) / (1 + x^2) dx,

    A = 1 / sqrt(1 + 4 v) and c = sqrt(2) m / sqrt(1 + 2 v).
    """

    name: str = "erf"

    def bend(self, u: Array) -> Array:
        """erf(u)."""
        return erf(u)

    def of_bend(self, m: Array, v: Array) -> tuple[Array, Array, Array]:
        """E g, E g' and Var g."""
        wide = 1.0 + 2.0 * v
        exponential = jnp.exp(-m * m / wide)
        slope = 2.0 / math.sqrt(math.pi) * exponential / jnp.sqrt(wide)
        root = jnp.sqrt(1.0 + 4.0 * v)
        length = 4.0 * v / (root * (1.0 + root))  # 1 - A, without cancellation
        points, weights = np.polynomial.legendre.leggauss(OWEN)
        points = points.reshape((1,) * jnp.ndim(m) + (-1,))
        square = (1.0 - 0.5 * length[..., None] * (1.0 - points)) ** 2
        under = jnp.exp(-(m * m / wide)[..., None] * (1.0 + square)) / (1.0 + square)
        variance = (4.0 / math.pi) * 0.5 * length * (under @ weights)
        return erf(m / jnp.sqrt(wide)), slope, variance


@dataclass(frozen=True)
class Tanh(Blend):
    """g(u) = tanh u = 2 s(2 u) - 1 with s the logistic function; since g' = 1 - g^2,

        Var g = 1 - E g' - (E g)^2

    and near v = 0, where that cancels, the beginning of `Polynomial`'s series.
    """

    name: str = "tanh"

    def bend(self, u: Array) -> Array:
        """tanh u."""
        return jnp.tanh(u)

    def of_bend(self, m: Array, v: Array) -> tuple[Array, Array, Array]:
        """E g, E g' and Var g, which is right to 2e-15 of 1 and near v = 0 to 1e-9 of itself."""
        share, density, turn = logistic(2.0 * m, 4.0 * v)
        mean, slope, curve = 2.0 * share - 1.0, 4.0 * density, 8.0 * turn
        near = v * slope**2 + 0.5 * (v * curve) ** 2
        return mean, slope, jnp.where(v < NARROW, near, 1.0 - slope - mean**2)


@dataclass(frozen=True)
class Sine(Blend):
    """g(u) = sin u. With q = exp(-v), Var sin u = (1 - q) ((1 + q) / 2 - q sin^2 m)."""

    name: str = "sin"

    def bend(self, u: Array) -> Array:
        """sin u."""
        return jnp.sin(u)

    def of_bend(self, m: Array, v: Array) -> tuple[Array, Array, Array]:
        """E g, E g' and Var g."""
        damped, sine = jnp.exp(-0.5 * v), jnp.sin(m)
        q = damped**2
        variance = -jnp.expm1(-v) * (0.5 * (1.0 + q) - q * sine**2)
        return damped * sine, damped * jnp.cos(m), variance


@dataclass(frozen=True)
class Exponential(Blend):
    """g(u) = exp u, log-normal."""

    name: str = "exp"
    tilt = 1.0

    def bend(self, u: Array) -> Array:
        """exp u."""
        return jnp.exp(u)

    def of_bend(self, m: Array, v: Array) -> tuple[Array, Array, Array]:
        """E g, E g' and Var g."""
        mean = jnp.exp(m + 0.5 * v)
        return mean, mean, mean**2 * jnp.expm1(v)

    def diverges(self) -> str:
        """At once."""
        return "exp(alpha exp(u)) has no Gaussian expectation"


@dataclass(frozen=True)
class Polynomial(Blend):
    """g(u) = sum_j c_j u^j; `polynomial` makes one. Its Hermite series ends, so

        Var g = sum_(j >= 1) v^j / j! (E g^(j))^2

    coefficients: c_0, c_1, ...
    """

    coefficients: tuple[float, ...] = ()

    def bend(self, u: Array) -> Array:
        """g(u), by Horner's scheme."""
        total = jnp.zeros_like(u)
        for coefficient in reversed(self.coefficients):
            total = total * u + coefficient
        return total

    def of_bend(self, m: Array, v: Array) -> tuple[Array, Array, Array]:
        """E g, E g' and Var g."""
        means = [_mean(c, m, v) for c in _derivatives(self.coefficients)]
        slope = means[1] if len(means) > 1 else jnp.zeros_like(m)
        variance = jnp.zeros_like(m)
        for j, mean in reversed(list(enumerate(means))[1:]):
            variance = variance + v**j / math.factorial(j) * mean**2
        return means[0], slope, variance

    @property
    def growth(self) -> float:  # type: ignore[override]
        """By its coefficients."""
        return sum(abs(c) for c in self.coefficients[1:])

    def diverges(self) -> str:
        """Wherever it grows faster than u, to plus infinity."""
        degree, last = len(self.coefficients) - 1, self.coefficients[-1]
        if degree < 2 or (degree % 2 == 0 and last < 0):
            return ""
        return f"exp of a polynomial of degree {degree} has no Gaussian expectation"


def _derivatives(coefficients: tuple[float, ...]) -> list[tuple[float, ...]]:
    """Coefficients of g, g', g'', ... until they are constant."""
    found = [coefficients]
    while len(found[-1]) > 1:
        found.append(tuple(j * c for j, c in enumerate(found[-1]))[1:])
    return found


def _mean(coefficients: tuple[float, ...], m: Array, v: Array) -> Array:
    """E of a polynomial, with E u^(j+1) = m E u^j + j v E u^(j-1)."""
    before, power = jnp.zeros_like(m), jnp.ones_like(m)
    total = coefficients[0] * power
    for j, coefficient in enumerate(coefficients[1:], start=1):
        before, power = power, m * power + (j - 1) * v * before
        total = total + coefficient * power
    return total


def polynomial(coefficients: Sequence[float], name: str = "") -> Polynomial:
    """g(u) = sum_j c_j u^j. Raises ValueError for no coefficients, for what is no finite number,
    and for a degree above 12.
    """
    numbers = tuple(float(c) for c in coefficients)
    while len(numbers) > 1 and numbers[-1] == 0.0:
        numbers = numbers[:-1]
    if not 1 <= len(numbers) <= HIGHEST + 1 or not all(map(math.isfinite, numbers)):
        raise ValueError(
            f"expected 1 to {HIGHEST + 1} finite coefficients c_0, c_1, ..., got {numbers}; leave "
            "the highest powers out"
        )
    called = " ".join(f"{c:g}" for c in numbers)
    return Polynomial(
        name=name or f"polynomial {called}",
        coefficients=numbers,
        nodes=NODES if len(numbers) <= FLAT + 1 else STEEP,
    )
