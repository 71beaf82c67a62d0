"""Which gamma and beta stand for a loss as it was written?

A diagnosis reads a loss, per datum, as ||x - y||^2 / (2 gamma) + beta KL, KL summed over latents.
What frameworks average over differs: `nn.MSELoss()` divides by the batch and by the d features, so
its gamma is d / 2.

>>> convention("mse", reduction="mean", kl="batchmean", d=784)
Convention(gamma=392.0, beta=1.0, likelihood='gaussian')
>>> convention("mse", reduction="mean", kl="sum", d=784, batch=128)  # KL of 128 data
Convention(gamma=392.0, beta=128.0, likelihood='gaussian')
>>> convention("bce", reduction="mean", kl="batchmean", d=784)  # cross entropy has no gamma
Convention(gamma=None, beta=784.0, likelihood='bernoulli')
"""

import math
from typing import Any, NamedTuple

__all__ = ["LIKELIHOODS", "Convention", "convention"]

LIKELIHOODS = {  # of the reconstruction terms that are a negative log-likelihood
    "mse": "gaussian",
    "gaussian_nll": "gaussian",
    "bce": "bernoulli",
    "cross_entropy": "categorical",
    "poisson_nll": "poisson",
}
REFUSED = {  # names of terms that are none of these
    "l1": "an absolute error, a Laplace likelihood",
    "mae": "an absolute error, a Laplace likelihood",
    "smooth_l1": "a Huber loss, no likelihood that is judged",
    "huber": "a Huber loss, no likelihood that is judged",
    "ssim": "a similarity of images, no likelihood",
    "perceptual": "a distance of features, no likelihood",
}
# What a reduction averages over, features or latents first, then the batch: torch's words, and one
# for the fourth case.
REDUCTIONS = {
    "sum": (False, False),
    "mean": (True, True),
    "batchmean": (False, True),
    "featuremean": (True, False),
}


class Convention(NamedTuple):
    """What a diagnosis asks for.

    gamma: decoder variance; None where the likelihood has none, or where it is learned and so has
        to be exported.
    beta: weight of the KL part.
    likelihood: of the decoder.
    """

    gamma: float | None
    beta: float
    likelihood: str


def convention(
    reconstruction: str = "mse",
    reduction: str = "mean",
    kl: str = "sum",
    *,
    d: int | None = None,
    batch: int | None = None,
    latent: int | None = None,
    weight: float = 1.0,
    kl_weight: float = 1.0,
    variance: float | None = None,
) -> Convention:
    """gamma and beta of the loss weight R + kl_weight KL, as it was written.

    reconstruction: "mse" (the squared error, without 1/2), "gaussian_nll" (with its log variance:
    torch's GaussianNLLLoss), "bce" (from probabilities or logits), "cross_entropy", "poisson_nll";
    reduction and kl: "sum" over everything, the batch as well; "mean" over everything; "batchmean",
    summed over features (kl: latents) and averaged over the batch; "featuremean", averaged over
    features (latents) and summed over the batch. d: numbers of a datum that are averaged over
    (positions, of a cross entropy); batch and latent: their sizes; each is needed only where an
    average makes it count. variance: of "gaussian_nll" where it is fixed.

    Per datum the loss is r R + w KL, both summed. Where R is the squared error, gamma = 1 / (2 r)
    and beta = w; where it is a negative log-likelihood, beta = w / r. Raises ValueError for other
    names, for a size that is needed and missing, and for weights that are not positive.
    """
    likelihood = _likelihood(reconstruction)
    over_features, data_averaged = _reduction("reduction", reduction)
    over_latents, kl_averaged = _reduction("kl", kl)
    factor = _positive("weight", weight)
    beta = _positive("kl_weight", kl_weight)
    terms = 1  # that an average divides the reconstruction term of a datum by
    if over_features:
        terms = _size("d", d, f"reduction={reduction!r} averages over features")
    if over_latents:
        beta /= _size("latent", latent, f"kl={kl!r} averages over latents")
    if data_averaged != kl_averaged:
        reason = (
            f"reduction={reduction!r} and kl={kl!r} do not both average over the batch "
            "('batchmean' does, and sums over the rest)"
        )
        number = _size("batch", batch, reason)
        beta = beta * number if data_averaged else beta / number
    if reconstruction == "mse":
        _without_variance(reconstruction, variance)
        return Convention(gamma=0.5 * terms / factor, beta=beta, likelihood=likelihood)
    if likelihood != "gaussian":
        _without_variance(reconstruction, variance)
    gamma = None if variance is None else _positive("variance", variance)
    return Convention(gamma=gamma, beta=beta * terms / factor, likelihood=likelihood)


def _without_variance(reconstruction: str, variance: float | None) -> None:
    if variance is not None:
        raise ValueError(
            f"expected no variance with {reconstruction!r}, which has none, got {variance}; leave "
            "it out"
        )


def _likelihood(reconstruction: str) -> str:
    if reconstruction in LIKELIHOODS:
        return LIKELIHOODS[reconstruction]
    reason = REFUSED.get(reconstruction, "a term that is not known here")
    raise ValueError(
        f"expected reconstruction as one of {', '.join(LIKELIHOODS)}, got {reconstruction!r}, "
        f"{reason}; losses that are none of these are not judged"
    )


def _reduction(name: str, value: str) -> tuple[bool, bool]:
    """Whether features (or latents) and whether the batch are averaged over."""
    if value not in REDUCTIONS:
        raise ValueError(
            f"expected {name} as one of {', '.join(REDUCTIONS)}, got {value!r}; see "
            "docs/diagnose.md"
        )
    return REDUCTIONS[value]


def _positive(name: str, value: Any) -> float:
    number = float(value)
    if not 0.0 < number < math.inf:
        raise ValueError(f"expected {name} > 0, got {value}; give the factor that the loss has")
    return number


def _size(name: str, value: Any, reason: str) -> int:
    if value is None:
        raise ValueError(f"expected {name}, got none, but {reason}; give {name}")
    if isinstance(value, bool) or int(value) != value or value < 1:
        raise ValueError(f"expected a whole {name} >= 1, got {value}; give how many there are")
    return int(value)
