"""Which terms make up the energy of one datum?

In the paper's units (twice nats, constants dropped); terms are elementwise, and the energy of a
datum is their sum over features or latents (eq. 4 of Dai, Wang & Wipf, ICML 2020), as in `drawn`.

>>> import jax.numpy as jnp
>>> print(divergence(jnp.array(0.0), jnp.array(0.0)))  # at the prior
1.0
"""

import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike


def expected_squared_error(x: Array, mean: Array, variance: Array) -> Array:
    """E (x - y)^2 for a reconstruction y of that mean and variance."""
    return (x - mean) ** 2 + variance


def gaussian(squared_error: Array, log_gamma: Array) -> Array:
    """squared_error / gamma + log gamma: twice the negative log-likelihood of one feature, less log
    2 pi.
    """
    return squared_error * jnp.exp(-log_gamma) + log_gamma


def divergence(mean: Array, log_std: Array) -> Array:
    """sigma^2 - log sigma^2 + mu^2 of one latent: twice the KL divergence from the prior, plus
    1.
    """
    return jnp.exp(2.0 * log_std) - 2.0 * log_std + mean**2


def drawn(
    x: Array, y: Array, mean: Array, log_std: Array, log_gamma: Array, beta: ArrayLike
) -> Array:
    """Mean energy of data x (n, d) by reconstructions y (samples, n, d) drawn from posteriors mean,
    log_std (n, k).
    """
    likelihood = jnp.sum(gaussian(jnp.mean((x[None] - y) ** 2, axis=0), log_gamma), axis=1)
    return jnp.mean(likelihood + beta * jnp.sum(divergence(mean, log_std), axis=1))
