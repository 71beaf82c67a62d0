"""Has training ended, as far as arrays can tell? What a finished one would have settled.

An optimum over a bias, a scale or a gamma leaves nothing to gain by that alone, whatever decoder it
is part of. What is left to gain, in nats per datum, is measured here; where nothing is, a plateau
still cannot be told from a bad local optimum.

>>> import numpy as np
>>> from vaesurface.diagnose.export import check
>>> x = np.random.default_rng(0).standard_normal((500, 4))
>>> off = check(x, np.zeros((500, 2)), np.zeros((500, 2)), 0 * x + 0.5, gamma=1.0)
>>> [(part.what, round(part.nats, 1)) for part in find(off, np.full(2, False), 1.0, "exact")]
[("the decoder's bias", 0.6)]
"""

import math

import numpy as np

from vaesurface.diagnose import halves, posteriors
from vaesurface.diagnose.contradictions import GAMMA_TOLERANCE
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.terms import Unsettled

__all__ = ["BIAS", "find"]

BIAS = "the decoder's bias"  # what is not settled where that is

# Nats per datum from which something is not settled, where what a constant learning rate leaves is
# not more: so much a feature, of decoders that use latents at a small gamma and of others, and so
# much a latent.
LEFT_NATS = 0.1
JITTER = 0.01
JITTER_AT_REST = 0.001
LEFT_NATS_PER_LATENT = 0.01
# The same of an error that is only estimated, to first order.
ESTIMATED_TOLERANCE = 0.5
SCALE_TOLERANCE = 0.2  # of the factors on the outputs that are best: draws, a regularization
BIAS_SHARE = 0.3  # of the squared error at posterior means, from which it is the bias's
SURE = 2.0  # standard errors


def find(export: Export, active: np.ndarray, error: float, status: str) -> tuple[Unsettled, ...]:
    """What is not settled; active (k,): latents that carry something; error: the expected squared
    error per coordinate, known as `status` says.
    """
    d, k = export.x.shape[1], export.mean.shape[1]
    of_outputs = max(LEFT_NATS, (JITTER if active.any() else JITTER_AT_REST) * d)
    of_latents = max(LEFT_NATS, LEFT_NATS_PER_LATENT * k)
    parts = (
        (Unsettled(BIAS, _bias(export, active)), of_outputs),
        (Unsettled("the scale of the outputs", _scale(export, active)), of_outputs),
        (Unsettled("gamma", _gamma(export, active, error, status)), 0.0),
        (Unsettled("the posteriors' means and widths", _posteriors(export)), of_latents),
    )
    return tuple(part for part, allowed in parts if part.nats > allowed)


def _bias(export: Export, active: np.ndarray) -> float:
    """|mean of the residual|^2 / (2 gamma) in nats, less what the mean of so many rows has by
    chance: tr(C) / n, C the residual's covariance; 0 where it is beyond that by no more than SURE
    times its deviation, sqrt(2 tr(C^2)) / n.

    At posterior means, where latents are used, only what is much: a decoder that is not linear has
    another mean with noise.
    """
    drawn = export.sampled_reconstruction
    residual = export.x - (export.reconstruction if drawn is None else drawn)
    covariance = halves.gram(residual - residual.mean(axis=0)) / len(residual)
    spread = math.sqrt(2.0) * float(np.linalg.norm(covariance))
    chance = float(np.trace(covariance)) / len(residual)
    square = float(np.sum(residual.mean(axis=0) ** 2))
    if square <= chance + SURE * spread / len(residual):
        return 0.0
    rough = drawn is None and bool(active.any())
    if rough and square <= BIAS_SHARE * float(np.mean(np.sum(residual**2, axis=1))):
        return 0.0
    return max(0.0, square - chance) / (2.0 * float(export.gamma))


def _scale(export: Export, active: np.ndarray) -> float:
    """sum_r (c_r - 1)^2 <y_r, y_r> / (2 gamma) nats, c_r the best factor on feature r of draws y,
    centered; 0 without draws and where all c_r are 1 up to SCALE_TOLERANCE.
    """
    if export.sampled_reconstruction is None or not active.any():
        return 0.0
    y = export.sampled_reconstruction - export.sampled_reconstruction.mean(axis=0)
    missed = (export.x - export.x.mean(axis=0) - y) * y
    own = np.mean(y * y, axis=0)
    chance = SURE * missed.std(axis=0) / math.sqrt(len(y))
    sure = np.maximum(0.0, np.abs(missed.mean(axis=0)) - chance)
    gain = float(np.sum(sure**2 / np.where(own > 0, own, 1.0)))
    if gain <= SCALE_TOLERANCE**2 * float(own.sum()):
        return 0.0
    return gain / (2.0 * float(export.gamma))


def _gamma(export: Export, active: np.ndarray, error: float, status: str) -> float:
    """d/2 (F / gamma - 1 - log(F / gamma)) nats where gamma is said to be learned and is not the
    expected error F (eq. 10).
    """
    rough = status == "estimated" and bool(active.any())
    ratio = error / float(export.gamma)
    tolerance = ESTIMATED_TOLERANCE if rough else GAMMA_TOLERANCE
    if not export.learned_gamma or not ratio > 0 or abs(ratio - 1.0) <= tolerance:
        return 0.0
    return 0.5 * export.x.shape[1] * (ratio - 1.0 - math.log(ratio))


def _posteriors(export: Export) -> float:
    """KL of the normal distribution that has the moments of all posteriors together, latent by
    latent, from the prior: what shifting and scaling a latent gains, the decoder's first layer
    taking it back.
    """
    divergences = posteriors.divergences(export.mean, export.log_std).mean(axis=0)
    return float(np.sum(divergences - posteriors.carried(export.mean, export.log_std)))
