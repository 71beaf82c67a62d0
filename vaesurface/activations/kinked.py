"""Which activations are piecewise affine? ReLU, absolute value, soft threshold, hard tanh.

Their Gaussian moments are those of a soft threshold or of a ReLU, all of whose derivatives close.

>>> leaky = Hinge("relu", share=1.0)
>>> print(leaky.value(jnp.array([-1.0, 2.0]), 0.25))  # max(u, (1 - alpha) u)
[-0.75  2.  ]
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface import energy
from vaesurface.activations.activation import Activation
from vaesurface.energy import Moments

__all__ = ["HardTanh", "Hinge", "SoftThreshold"]

LEAST = 1e-100  # alpha below which hard tanh bends nowhere that float64 reaches


@dataclass(frozen=True)
class Hinge(Activation):
    """f_alpha(u) = (1 - share alpha) u + share alpha max(u, 0).

    share: 1, the leaky ReLU max(u, (1 - alpha) u), or 2, (1 - alpha) u + alpha |u|.
    """

    share: float = 1.0
    smooth_at_zero = False

    def pieces(self) -> tuple[Callable[..., Array], ...]:
        """Left and right of 0."""
        return _Line(self.share), _Line(0.0)

    def cuts(self, alpha: ArrayLike) -> Sequence:
        """At 0."""
        return (0.0,)

    def value(self, u: Array, alpha: ArrayLike) -> Array:
        """f_alpha(u)."""
        return jnp.where(u > 0, u, (1.0 - self.share * alpha) * u)

    def moments(self, m: Array, v: Array, alpha: ArrayLike) -> Moments:
        """In closed form, with Cov(u, max(u, 0)) = v P(u > 0)."""
        part = energy.relu(*jnp.broadcast_arrays(m, v))
        bent = self.share * jnp.asarray(alpha)
        rest = 1.0 - bent
        covariance = v * energy.masses(m, v)[0]
        return Moments(
            mean=rest * m + bent * part.mean,
            variance=rest**2 * v + 2.0 * rest * bent * covariance + bent**2 * part.variance,
        )

    def mean(self, m: Array, v: Array, alpha: ArrayLike) -> Array:
        """In closed form."""
        return self.moments(m, v, alpha).mean

    def slopes(self, alpha: ArrayLike) -> tuple[Array, Array]:
        """Of both pieces."""
        left = 1.0 - self.share * jnp.asarray(alpha, float)
        return left, jnp.ones_like(left)


@dataclass(frozen=True)
class _Line:
    """(1 - share alpha) u."""

    share: float

    def __call__(self, u: Array, alpha: ArrayLike) -> Array:
        return (1.0 - self.share * jnp.asarray(alpha)) * u


@dataclass(frozen=True)
class SoftThreshold(Activation):
    """f_alpha(u) = sign(u) max(|u| - alpha, 0), eq. 5 of Dai, Wang & Wipf (ICML 2020)."""

    name: str = "soft threshold"
    most = float("inf")

    def pieces(self) -> tuple[Callable[..., Array], ...]:
        """Below the dead zone, in it, above it."""
        return _raised, _dead, _lowered

    def cuts(self, alpha: ArrayLike) -> Sequence:
        """The dead zone's ends."""
        return -jnp.asarray(alpha), alpha

    def value(self, u: Array, alpha: ArrayLike) -> Array:
        """f_alpha(u)."""
        return energy.threshold(u, alpha)

    def moments(self, m: Array, v: Array, alpha: ArrayLike) -> Moments:
        """In closed form."""
        return energy.soft_threshold(m, v, alpha)

    def mean(self, m: Array, v: Array, alpha: ArrayLike) -> Array:
        """In closed form."""
        return energy.soft_threshold(m, v, alpha).mean

    def dead_zone(self, alpha: ArrayLike) -> Array:
        """All below the threshold."""
        return jnp.asarray(alpha, float)

    def slopes(self, alpha: ArrayLike) -> tuple[Array, Array]:
        """Those of the dead zone, where there is one."""
        slope = jnp.where(jnp.asarray(alpha) > 0, 0.0, 1.0)
        return slope, slope


def _raised(u: Array, alpha: ArrayLike) -> Array:
    return u + alpha


def _dead(u: Array, alpha: ArrayLike) -> Array:
    return 0.0 * u


def _lowered(u: Array, alpha: ArrayLike) -> Array:
    return u - alpha


@dataclass(frozen=True)
class HardTanh(Activation):
    """f_alpha(u) = clip(u, -1 / alpha, 1 / alpha): what the soft threshold of 1 / alpha leaves."""

    name: str = "hard tanh"
    most = float("inf")

    def pieces(self) -> tuple[Callable[..., Array], ...]:
        """The lower limit, the line, the upper limit."""
        return _lower_limit, _line, _upper_limit

    def cuts(self, alpha: ArrayLike) -> Sequence:
        """Both limits."""
        return -_limit(alpha), _limit(alpha)

    def value(self, u: Array, alpha: ArrayLike) -> Array:
        """f_alpha(u)."""
        return jnp.clip(u, -_limit(alpha), _limit(alpha))

    def moments(self, m: Array, v: Array, alpha: ArrayLike) -> Moments:
        """In closed form, with Cov(u, pi(u)) = v P(|u| > 1 / alpha)."""
        limit = _limit(alpha)
        rest = energy.soft_threshold(m, v, limit)
        beyond = energy.passing(m, v, limit)
        return Moments(mean=m - rest.mean, variance=v * (1.0 - 2.0 * beyond) + rest.variance)

    def mean(self, m: Array, v: Array, alpha: ArrayLike) -> Array:
        """In closed form."""
        return m - energy.soft_threshold(m, v, _limit(alpha)).mean

    def slopes(self, alpha: ArrayLike) -> tuple[Array, Array]:
        """One: it bends only at its limits."""
        one = jnp.ones(())
        return one, one


def _limit(alpha: ArrayLike) -> Array:
    return 1.0 / jnp.maximum(jnp.asarray(alpha, float), LEAST)


def _lower_limit(u: Array, alpha: ArrayLike) -> Array:
    return 0.0 * u - _limit(alpha)


def _line(u: Array, alpha: ArrayLike) -> Array:
    return u


def _upper_limit(u: Array, alpha: ArrayLike) -> Array:
    return 0.0 * u + _limit(alpha)
