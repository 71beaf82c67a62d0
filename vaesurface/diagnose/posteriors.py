"""What do a VAE's latents carry, by their posteriors alone? Exact KL divergences, the most that
each latent can carry, and mutual information by draws.

Means and log deviations are (n, k), float64 NumPy; all is in nats per datum.

>>> import numpy as np
>>> apart = information(np.array([[9.0], [-9.0]]), np.full((2, 1), -3.0))
>>> f"{apart.value:.4f} of at most {apart.limit:.4f}"  # one bit
'0.6931 of at most 0.6931'
"""

import math

import numpy as np

from vaesurface.diagnose.shares import into_shares
from vaesurface.diagnose.terms import Information

__all__ = ["carried", "divergences", "information"]

PAIRS = 2**27  # pairs of data times latents up to which all data enter the mixture of posteriors
PAIRS_AT_A_TIME = 2**16  # of data, held at once: what a processor's cache holds
DRAWS = 4  # latents per datum drawn from its posterior
SEED_OF_DRAWS = 191210702  # a diagnosis is the same twice, and no one else draws the same numbers


def divergences(mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    """KL divergence (n, k) of each posterior from the prior: exact."""
    return 0.5 * (np.exp(2.0 * log_std) - 1.0 - 2.0 * log_std + mean**2)


def carried(mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    """Nats (k,) that each latent carries at most: mean KL divergence from the normal distribution
    that has the mean and the variance of all posteriors together.

    It is an upper bound on I(x; z_j), and the KL from the prior less what that normal
    distribution's own is: so a posterior that differs from the prior but is the same for all data
    carries nothing.
    """
    variance = mean.var(axis=0) + np.mean(np.exp(2.0 * log_std), axis=0)
    return 0.5 * np.log(variance) - log_std.mean(axis=0)


def information(mean: np.ndarray, log_std: np.ndarray) -> Information:
    """Mutual information of datum and latents, the mixture of all posteriors being the marginal of
    the latents.

    It is the mean KL from the prior less the KL of the mixture from the prior (Hoffman & Johnson
    2016), by DRAWS draws from each posterior. Where data are many, a random part of them stands for
    all: no more than log of their number can be seen.
    """
    rng = np.random.default_rng(SEED_OF_DRAWS)
    n, k = mean.shape
    most = math.isqrt(PAIRS // k)
    if n > most:
        chosen = rng.choice(n, most, replace=False)
        mean, log_std, n = mean[chosen], log_std[chosen], most
    terms = np.zeros(n)
    for _ in range(DRAWS):
        z = mean + np.exp(log_std) * rng.standard_normal((n, k))
        terms += _log_ratios(z, mean, log_std) / DRAWS
    return Information(
        value=float(terms.mean()), error=float(terms.std() / math.sqrt(n)), limit=math.log(n)
    )


def _log_ratios(z: np.ndarray, mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    """log q(z_i | x_i) - log mean_j q(z_i | x_j), (n,), of one draw z (n, k) from each
    posterior.
    """
    n = len(z)
    precision, log_scale = np.exp(-log_std), np.sum(log_std, axis=1)
    ratios = np.zeros(n)
    rows = max(1, PAIRS_AT_A_TIME // n)
    for first in range(0, n, rows):
        part = np.arange(first, min(first + rows, n))
        log_density = _log_densities(z[part], mean, precision)
        log_density -= log_scale
        own = log_density[np.arange(len(part)), part]
        ratios[part] = own - into_shares(log_density) + math.log(n)
    return ratios


def _log_densities(z: np.ndarray, mean: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """-sum_l ((z_il - mean_jl) precision_jl)^2 / 2, (m, n), of latents z (m, k) under posteriors
    (n, k), a latent at a time: as differences, for sharp posteriors would cancel otherwise.
    """
    squares = np.zeros((len(z), len(mean)))
    scaled = np.empty_like(squares)
    for at, center, factor in zip(z.T, mean.T, precision.T, strict=True):
        np.subtract(at[:, None], center, out=scaled)
        scaled *= factor
        scaled *= scaled
        squares += scaled
    squares *= -0.5
    return squares
