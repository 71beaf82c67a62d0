"""What is the expectation of the logistic function, and of its integral, over a Gaussian?

A logistic variable is a Gaussian whose standard deviation is twice Kolmogorov's variable K (Andrews
& Mallows 1974), so log(1 + e^u) is the mean of E max(N(u, 4 K^2), 0), and over u ~ N(m, v)

    E log(1 + e^u) = E_K E max(x, 0),    E 1 / (1 + e^-u) = E_K P(x > 0),    x ~ N(m, v + 4 K^2)

the inner ones in closed form. The outer one, of a density that falls off faster than any power at
both ends, is by the trapezoidal rule in log K: to 1e-15 whatever m and v are, derivatives as well,
with a third of the nodes that a rule over u takes.

>>> print(f"{log1p_exp(jnp.array(0.0), jnp.array(0.0)):.12f}")  # log 2
0.693147180560
"""

import math
from functools import cache

import jax.numpy as jnp
import numpy as np
from jax import Array

from vaesurface import energy

__all__ = ["log1p_exp", "logistic"]

# Of K: beyond these its density is below 1e-16.
LEAST, MOST = 0.17, 4.4
NODES = 28
TERMS = 8  # of a series with terms exp(-j^2 pi^2 / (8 K^2)), or exp(-2 j^2 K^2)


@cache
def _mixture() -> tuple[np.ndarray, np.ndarray]:
    """Variances 4 K^2 and shares (NODES,) of the Gaussians."""
    k = np.exp(np.linspace(math.log(LEAST), math.log(MOST), NODES))
    shares = k * _kolmogorov(k)
    return 4.0 * k**2, shares / shares.sum()


def _kolmogorov(k: np.ndarray) -> np.ndarray:
    """Density of Kolmogorov's distribution, by the series that converges faster."""
    k = k[:, None]
    j = np.arange(1, TERMS + 1)
    upper = 8.0 * k * (-1.0) ** (j + 1) * j**2 * np.exp(-2.0 * (j * k) ** 2)
    rate = ((2 * j - 1) * math.pi) ** 2 / 8.0
    lower = math.sqrt(2.0 * math.pi) * (2.0 * rate / k**4 - 1.0 / k**2) * np.exp(-rate / k**2)
    return np.where(k > 1.0, upper, lower).sum(axis=1)


def log1p_exp(m: Array, v: Array) -> Array:
    """E log(1 + e^u), u ~ N(m, v), elementwise."""
    wider, shares = _mixed(m, v)
    return jnp.sum(energy.relu(*wider).mean * shares, axis=-1)


def logistic(m: Array, v: Array) -> tuple[Array, Array, Array]:
    """E 1 / (1 + e^-u) and its first two derivatives by m, elementwise."""
    wider, shares = _mixed(m, v)
    above, density, slope = (jnp.sum(each * shares, axis=-1) for each in energy.masses(*wider))
    return above, density, slope


def _mixed(m: Array, v: Array) -> tuple[tuple[Array, Array], np.ndarray]:
    """Means and variances (..., NODES) of the Gaussians, and their shares."""
    variances, shares = (each.reshape((1,) * jnp.ndim(m) + (-1,)) for each in _mixture())
    wider = v[..., None] + variances
    return (jnp.broadcast_to(m[..., None], wider.shape), wider), shares
