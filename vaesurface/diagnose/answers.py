"""Are the reconstructions answers to these posteriors? What decoding them cannot give.

Whatever the decoder sees besides its latents is the same each time, so that only latents make its
answers differ. All of it holds under every likelihood.

>>> import numpy as np
>>> from vaesurface.diagnose.export import check
>>> rng = np.random.default_rng(0)
>>> x, noise = rng.standard_normal((2, 50, 1))
>>> copied = check(x, 0.9 * x, 0 * x - 1.0, 0.8 * x, gamma=0.2, prior_reconstruction=0.8 * x,
...     sampled_reconstruction=0.8 * x + 0.3 * noise)
>>> [c.what for c in find(copied, np.array([True]))]
['prior_reconstruction is reconstruction itself, though what the decoder answers differs with its
latents']
"""

import math

import numpy as np

from vaesurface.diagnose import posteriors
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.terms import Contradiction

__all__ = ["find"]

SAME = 1e-6  # difference of two arrays, in their deviations: more than float32 rounds to
DIFFERENT = 1e-4  # and one that no rounding makes
# Nats per datum that latents carry from which no trained decoder ignores them: the posterior that
# is the prior would save as many.
WASTED_NATS = 0.1
CHANCE = 1e-6  # probability up to which something is not believed to be chance
TWICE = 2.0  # times the squared error, from which a draw is plainly worse than another


def find(export: Export, active: np.ndarray) -> tuple[Contradiction, ...]:
    """What cannot be true, the surest first; active (k,): latents that carry something."""
    checks = (
        _one_array(export, active),
        _prior_is_copied(export, active),
        _of_another_encoder(export),
    )
    return tuple(check for check in checks if check is not None)


def _one_array(export: Export, active: np.ndarray) -> Contradiction | None:
    """Noise in a latent that is used changes what the decoder answers."""
    sampled, prior = export.sampled_reconstruction, export.prior_reconstruction
    noisy = active & (np.exp(export.log_std).max(axis=0) > DIFFERENT)
    if sampled is None or not noisy.any() or not _same(export.reconstruction, sampled):
        return None
    if prior is not None and _same(export.reconstruction, prior):
        return None  # a decoder that ignores its latents, or `_prior_is_copied`
    return Contradiction(
        what="reconstruction and sampled_reconstruction are one array, though latents carry "
        "something",
        remedy="Decode mean for the one, and mean + exp(log_std) * randn for the other (in "
        "PyTorch a model in eval mode may return the mean for both), and export again; or leave "
        "sampled_reconstruction out.",
    )


def _prior_is_copied(export: Export, active: np.ndarray) -> Contradiction | None:
    """Draws from the prior are answered as those from posteriors only by a decoder that ignores its
    latents: then all its answers are one, and latents that carry something are a waste.

    Around zero there may be a dead zone. Where posteriors are the prior, and m of their draws come
    out of it, none of as many draws from the prior do with probability 2^-m at most.
    """
    prior, sampled = export.prior_reconstruction, export.sampled_reconstruction
    if prior is None:
        return None
    given = {"reconstruction": export.reconstruction, "sampled_reconstruction": sampled}
    copied = next((name for name, a in given.items() if a is not None and _same(a, prior)), None)
    if copied is None:
        return None
    carried = posteriors.carried(export.mean, export.log_std)[active].sum()
    differing = 0 if sampled is None else np.sum(_apart(export.reconstruction, sampled) > DIFFERENT)
    if differing:
        if 0.5**differing > CHANCE:
            return None
        if copied == "sampled_reconstruction" and carried <= WASTED_NATS:
            return None  # posteriors are the prior, and so are one draw from both
        why = "what the decoder answers differs with its latents"
    elif carried > WASTED_NATS:
        why = f"latents carry up to {carried:.3g} nats per datum, a waste if it ignores them"
    else:
        return None
    return Contradiction(
        what=f"prior_reconstruction is {copied} itself, though {why}",
        remedy="Decode latents drawn from the prior, decode(torch.randn_like(mean)), as "
        "prior_reconstruction (a model in eval mode may return the answer to the mean each time), "
        "or leave it out. If the decoder does answer the same to all latents, train on: their KL "
        "then falls to 0.",
    )


def _of_another_encoder(export: Export) -> Contradiction | None:
    """Draws from a posterior that is the prior are draws from the prior, so that of each datum one
    is the better as often as the other.

    Where they are not quite, the one is so with probability 1/2 + sqrt(KL_i / 2) at most (Pinsker's
    inequality); that it is so for a share s of n data, where q is the mean of these, has
    probability exp(-n (s log(s / q) + (1 - s) log((1 - s) / (1 - q)))) at most (Hoeffding 1963).
    """
    sampled, prior = export.sampled_reconstruction, export.prior_reconstruction
    if sampled is None or prior is None:
        return None
    nats = posteriors.divergences(export.mean, export.log_std).sum(axis=1)
    likely = float(np.minimum(0.5 + np.sqrt(0.5 * np.maximum(nats, 0.0)), 1.0).mean())
    own, other = (np.sum((export.x - drawn) ** 2, axis=1) for drawn in (sampled, prior))
    share = float(np.mean(other > TWICE * own))
    if share <= likely or len(own) * _divergence(share, likely) < -math.log(CHANCE):
        return None
    return Contradiction(
        what=f"posteriors are all but the prior, a mean KL of {nats.mean():.2g} nats, yet draws "
        f"from them have less than half the error of draws from the prior for {100 * share:.3g} % "
        f"of the data",
        remedy="Save mean and log_std as the trained encoder has them, those that were decoded for "
        "the reconstructions: of the same checkpoint, and in the units in which the prior is "
        "N(0, I) (or give prior_mean and prior_std).",
    )


def _divergence(share: float, likely: float) -> float:
    """Of one yes-or-no answer from another, nats."""
    terms = ((share, likely), (1.0 - share, 1.0 - likely))
    return sum(p * math.log(p / q) for p, q in terms if p > 0)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(_apart(a, b).max() <= SAME)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The largest difference of each row (n,), in deviations of the first array."""
    deviation = max(float(a.std()), np.finfo(float).tiny)
    with np.errstate(over="ignore"):  # beside what does not vary at all
        return np.abs(a - b).max(axis=1) / deviation
