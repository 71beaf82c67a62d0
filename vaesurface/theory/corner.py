"""How does the energy curve where a decoder's weight is zero, though the activation has a corner?

With f'(0) = l from the left and r from the right, f(u) is f(0) + g(u) to first order, and for a
unit Gaussian g has mean (r - l) / sqrt(2 pi) = level, expected slope (l + r) / 2 = slope, and
variance (l^2 + r^2) / 2 - level^2. A column w of the weight, the biases at b_k - level |w_k|, each
datum's posterior at its best, changes the energy to second order by

    w' (variance D - slope^2 S / beta) w,

in natural units as in `theory.natural`: the form is homogeneous of degree two, and though no
Hessian exists where l and r differ, its sign decides. So collapse is a saddle if and only if an
eigenvalue of D^(-1/2) S D^(-1/2) is above beta variance / slope^2, which is beta where f is smooth
with slope one: the formula of the affine model.

>>> print(f"{threshold(0.5, 1.0, 1.0):.4f}")  # leaky ReLU, alpha = 1/2
1.0404
>>> threshold(0.0, 0.0, 1.0)  # a dead zone
inf
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

__all__ = ["Corner", "corner", "form", "threshold"]

EQUAL = 1e-9  # relative distance from the threshold within which an eigenvalue is at it


class Corner(NamedTuple):
    """Of what an activation is beside 0, less its value there, for a unit Gaussian.

    level: its mean, 0 where it is smooth.
    slope: its expected slope.
    variance: of it.
    """

    level: Any
    slope: Any
    variance: Any


def corner(left: Any, right: Any) -> Corner:
    """Of an activation with those slopes on either side of 0."""
    level = (right - left) / math.sqrt(2.0 * math.pi)
    return Corner(
        level=level,
        slope=0.5 * (left + right),
        variance=0.5 * (left**2 + right**2) - level**2,
    )


def threshold(left: float, right: float, beta: float) -> float:
    """The eigenvalue of D^(-1/2) S D^(-1/2) above which a latent pays: beta variance / slope^2,
    infinite where the expected slope is zero.
    """
    own = corner(left, right)
    return math.inf if own.slope == 0 else beta * own.variance / own.slope**2


def form(ratios: Array, latent: int, own: Corner, beta: Array, parameters: int) -> Array:
    """Numbers (3,) of directions along which the leading form falls, is flat and rises.

    ratios: (m,), eigenvalues of D^(-1/2) S D^(-1/2), which may be fewer than the features;
        parameters: of the model, along all others of which the energy rises.
    """
    gain, cost = own.slope**2 * ratios, beta * own.variance
    flat = jnp.abs(gain - cost) <= EQUAL * jnp.maximum(gain, cost)
    negative = latent * jnp.sum((gain > cost) & ~flat)
    level = latent * jnp.sum(flat)
    return jnp.stack([negative, level, parameters - negative - level])
