"""What do posteriors, reconstructions and data say by themselves, whatever made them?

Arrays in, numbers out: float64 NumPy; rows are data. KL divergences and information are in nats per
datum, energies in the paper's units. Of what is said of decoders, some holds for affine additions
to the one at hand (`affine_optimum`, `held_out`), some for every decoder there is
(`best_component`, `least_error`).

>>> import numpy as np
>>> X = np.array([[1.0, 1.0], [-1.0, -1.0]])
>>> affine_optimum(spectrum(X), latent=2, gamma=0.5, beta=1.0).kept
1
>>> best_component(X, gamma=2.5)  # no decoder whatsoever gains by using a latent at that gamma
Component(gain=0.0, proved=True)
"""

import math
from typing import NamedTuple

import numpy as np
from scipy import linalg

from vaesurface import theory

PAIRS = 2**27  # pairs of data times latents up to which all data enter the mixture of posteriors
DRAWS = 4  # latents per datum drawn from its posterior
MODES = 64  # data from which the best component is looked for
SHIFTS = 200  # steps of that search at most
PLANE = 5  # principal directions in which clusters of the residual are looked for
WORDS = (2, 4, 8, 16)  # their numbers
LLOYD = 20  # steps that look for them
# of draws and splits: a diagnosis is the same twice, and no one else draws the same numbers
SEEDED = 191210702


class Affine(NamedTuple):
    """The affine VAE's global minimum: principal directions kept, decoder variance, energy (-inf
    where gamma runs to zero).
    """

    kept: int
    gamma: float
    energy: float


class Information(NamedTuple):
    """I(x; z) in nats under the mixture of posteriors, its standard error, and the most it can be,
    log of the data used.
    """

    value: float
    error: float
    limit: float


class Component(NamedTuple):
    """gain: logarithm of the largest ratio D (0: none is above 1); proved: whether every place was
    looked at, by concavity.
    """

    gain: float
    proved: bool


def divergences(mean: np.ndarray, log_std: np.ndarray) -> np.ndarray:
    """KL divergence (n, k) of each posterior from the prior, nats: exact."""
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
    rng = np.random.default_rng(SEEDED)
    n, k = mean.shape
    most = math.isqrt(PAIRS // k)
    if n > most:
        chosen = rng.choice(n, most, replace=False)
        mean, log_std, n = mean[chosen], log_std[chosen], most
    std = np.exp(log_std)
    terms = np.zeros(n)
    rows = max(1, 2**22 // (n * k))
    for _ in range(DRAWS):
        z = mean + std * rng.standard_normal((n, k))
        for first in range(0, n, rows):
            here = slice(first, first + rows)
            scaled = (z[here, None] - mean[None]) / std[None]
            density = -0.5 * np.sum(scaled**2, axis=2) - np.sum(log_std, axis=1)[None]
            own = density[np.arange(len(density)), np.arange(first, first + len(density))]
            terms[here] += (own - _log_sum(density) + math.log(n)) / DRAWS
    return Information(float(terms.mean()), float(terms.std() / math.sqrt(n)), math.log(n))


def _log_sum(a: np.ndarray) -> np.ndarray:
    """Logarithm of the sum of exponentials over the last axis."""
    top = a.max(axis=-1, keepdims=True)
    return np.log(np.sum(np.exp(a - top), axis=-1)) + top[..., 0]


def spectrum(X: np.ndarray) -> np.ndarray:
    """Eigenvalues (d,) of the covariance, descending, zero beyond the rank of the data."""
    return np.asarray(theory.eigenvalues(X))


def variances(residual: np.ndarray) -> np.ndarray:
    """Eigenvalues (min(n, d),) of the rows' covariance, descending, to rounding of the largest."""
    Z = residual - residual.mean(axis=0)
    gram = Z.T @ Z if len(Z) >= Z.shape[1] else Z @ Z.T
    return np.maximum(np.linalg.eigvalsh(gram / len(Z))[::-1], 0.0)


def halves(
    residual: np.ndarray,
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Centered rows in two halves at random, both ways round: what is found in the first is looked
    at in the second.
    """
    Z = residual - residual.mean(axis=0)
    order = np.random.default_rng(SEEDED).permutation(len(Z))
    first, second = Z[order[::2]], Z[order[1::2]]
    return (first, second), (second, first)


def held_out(residual: np.ndarray, count: int) -> np.ndarray:
    """Variance (count,) of one half of the rows (n, d) along the leading principal directions of
    the other, averaged both ways.

    Structure lasts, sampling noise does not: of white rows the first is their variance where the
    covariance's largest eigenvalue is (1 + sqrt(d / n))^2 times that.
    """
    found = np.zeros((2, count))
    for along, (seen, kept) in zip(found, halves(residual), strict=True):
        variances = np.mean((kept @ _leading(seen, count)) ** 2, axis=0)
        along[: len(variances)] = variances
    return found.mean(axis=0)


def _leading(Z: np.ndarray, count: int) -> np.ndarray:
    """Leading principal directions (d, min(count, n, d)) of centered rows, zero beyond their
    rank.
    """
    n, d = Z.shape
    gram = Z.T @ Z if n > d else Z @ Z.T
    values, vectors = linalg.eigh(gram, subset_by_index=(max(0, len(gram) - count), len(gram) - 1))
    values, vectors = values[::-1], vectors[:, ::-1]
    if n > d:
        return vectors
    there = values > n * np.finfo(float).eps * values[0]
    return Z.T @ (vectors * np.where(there, 1.0 / np.sqrt(np.where(there, values, 1.0)), 0.0)[None])


def gain(ratio: float) -> float:
    """Nats per datum that an affine latent gains where the residual's variance is `ratio` beta
    gamma: 0 up to 1.
    """
    return 0.5 * (ratio - 1.0 - math.log(ratio)) if ratio > 1.0 else 0.0


def affine_optimum(
    values: np.ndarray, latent: int, gamma: float | None, beta: float, slack: float = 0.0
) -> Affine:
    """`theory.affine_optimum`, plain numbers. Posteriors of amortized encoders are as good: at the
    optimum they are affine.
    """
    found = theory.affine_optimum(values, latent, gamma, beta, slack)
    return Affine(int(found.kept), float(found.gamma), float(found.energy))


def best_component(X: np.ndarray, gamma: float) -> Component:
    """Could any decoder at all, with any encoder, be better than the collapsed one at this gamma
    (for beta: beta gamma)?

    A VAE's likelihood is a mixture of N(decode(z), gamma I), and log-likelihood is concave in the
    mixing distribution: a constant decoder at the mean has the best one if and only if D(theta) =
    mean_i exp((||x_i - xbar||^2 - ||x_i - theta||^2) / 2 gamma) is at most 1 everywhere (Lindsay,
    Ann. Stat. 11, 1983); and the KL part of a collapsed encoder costs nothing. The largest D is
    looked for by mean shift from up to MODES data. log D is concave, and so has its maximum at
    xbar, where gamma is at least the largest ||x_i - xbar||^2.
    """
    Z = X - X.mean(axis=0)
    square = np.sum(Z**2, axis=1)
    if square.max() <= gamma:
        return Component(0.0, True)
    order = np.argsort(-square)
    at = Z[order[np.unique(np.linspace(0, len(Z) - 1, min(MODES, len(Z))).astype(int))]]
    gain = -math.inf
    for _ in range(SHIFTS):
        exponent = (2.0 * at @ Z.T - np.sum(at**2, axis=1)[:, None]) / (2.0 * gamma)
        before, gain = gain, float(np.max(_log_sum(exponent))) - math.log(len(Z))
        if gain - before <= 1e-12:
            break
        weight = np.exp(exponent - exponent.max(axis=1, keepdims=True))
        at = (weight @ Z) / weight.sum(axis=1, keepdims=True)
    return Component(gain if gain > 1e-9 else 0.0, False)


def codes(residual: np.ndarray) -> np.ndarray:
    """What codes of WORDS words take off the rows' mean squared length, and their entropies in
    nats: (sizes, 2).

    The words are Lloyd's, of one half of the rows along its PLANE leading directions, and used on
    the other half, both ways round. Where they save more, over 2 beta gamma, than the entropy, the
    mixture with one component a word is more likely than one component: there are clusters, and no
    affine addition finds them. Whether Gaussian posteriors can tell them apart is another question,
    so it is a reason for doubt alone. Of white normal rows no code is worth its entropy.
    """
    found = np.zeros((2, len(WORDS), 2))
    for there, (seen, kept) in zip(found, halves(residual), strict=True):
        plane = _leading(seen, PLANE)
        Z, Y = seen @ plane, kept @ plane
        words = Z[np.argmax(np.sum(Z**2, axis=1))][None]
        while len(words) < min(WORDS[-1], len(Z)):  # each as far from those before as there is
            apart = np.min(np.sum((Z[:, None] - words[None]) ** 2, axis=2), axis=1)
            words = np.append(words, Z[np.argmax(apart)][None], axis=0)
        for row, size in zip(there, WORDS, strict=True):
            book = words[:size]
            for _ in range(LLOYD):
                near = _nearest(Z, book)
                book = np.stack(
                    [
                        Z[near == j].mean(axis=0) if (near == j).any() else book[j]
                        for j in range(len(book))
                    ]
                )
            near = _nearest(Y, book)
            share = np.bincount(near) / len(Y)
            saved = np.sum(Y**2, axis=1) - np.sum((Y - book[near]) ** 2, axis=1)
            row[:] = saved.mean(), -np.sum(share * np.log(np.where(share > 0, share, 1.0)))
    return found.mean(axis=0)


def _nearest(Z: np.ndarray, book: np.ndarray) -> np.ndarray:
    """Number (n,) of the word next to each row."""
    return np.argmax(Z @ book.T - 0.5 * np.sum(book**2, axis=1)[None], axis=1)


def least_error(X: np.ndarray, nats: float, above: float, leading: float) -> tuple[float, bool]:
    """Lower bound on the expected squared error of any decoder of latents alone whose posteriors
    cost `nats` per datum.

    Above the gamma at which no decoder beats the collapsed one, F / gamma + 2 nats >= F0 / gamma,
    F0 the total variance: so F >= F0 - 2 gamma nats. Proved for gamma = max ||x_i - xbar||^2; where
    that bound is not above `above`, the least such gamma is looked for; it is at least the leading
    eigenvalue of the covariance. Returns the bound, summed over features, and whether it is proved.
    """
    square = np.sum((X - X.mean(axis=0)) ** 2, axis=1)
    total, high = float(square.mean()), float(square.max())
    bound = total - 2.0 * high * nats
    if bound > above or total - 2.0 * leading * nats <= above:
        return bound, True
    low = leading
    for _ in range(8):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if best_component(X, middle).gain == 0.0 else (middle, high)
    return total - 2.0 * high * nats, False
