"""Which member of the family: activation x likelihood x posterior?

>>> from vaesurface import data
>>> X = data.antipodal(d=2)
>>> elementwise_vae(X, 1, "soft threshold", alpha=0.1) == threshold_vae(X, 1, alpha=0.1)
False
>>> type(elementwise_vae(X, 1, "soft threshold", alpha=0.1)).__name__
'ThresholdVAE'
>>> bent = elementwise_vae(X, 1, "tanh", alpha=0.5)
>>> print(f"{bent.loss(bent.collapsed()):.3f}")
3.000
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import activations, data, shards
from vaesurface.activations import Activation, Identity, SoftThreshold
from vaesurface.problem import require_float64
from vaesurface.refusal import complaint, number, shown, whole
from vaesurface.theory import doors
from vaesurface.theory.natural import require_range
from vaesurface.vae.amortized import AmortizedVAE, amortized_vae
from vaesurface.vae.bent import BentVAE, PerFeatureVAE
from vaesurface.vae.elementwise import ElementwiseVAE
from vaesurface.vae.likelihood import likelihood as likelihood_of
from vaesurface.vae.natural import CategoricalVAE, NaturalVAE
from vaesurface.vae.posterior import DIAGONAL, FULL, Posterior, low_rank
from vaesurface.vae.threshold import threshold_vae

__all__ = ["LIKELIHOODS", "elementwise_vae"]

PER_FEATURE, AMORTIZED = "gaussian per feature", "amortized"
LIKELIHOODS = (
    "gaussian",
    PER_FEATURE,
    "bernoulli",
    "poisson",
    "negative binomial",
    "categorical",
)
MOST_DIMENSIONS = 3  # of a categorical likelihood's quadrature: 24^3 nodes per datum


def elementwise_vae(
    X: ArrayLike,
    latent: int,
    activation: str | Activation | Callable[[Array], Array] | None = None,
    alpha: ArrayLike = 0.0,
    likelihood: str = "gaussian",
    posterior: str | Posterior = "diagonal",
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
    *,
    dispersion: ArrayLike | None = None,
) -> ElementwiseVAE | AmortizedVAE:
    """VAE with a decoder f_alpha(W z) + b and a Gaussian posterior per datum: the exact energy.

    X: (n, d); of a categorical likelihood also (n, groups, classes), classes last.
    latent: k, 1 <= k <= d.
    activation: f_alpha, by its name in `activations.NAMED`, as one of `activations`, or a function
        g of JAX arrays, for (1 - alpha) u + alpha g(u); None: the identity.
    alpha: how much the decoder is bent, f_0 being the identity: >= 0, of blends <= 1.
    likelihood: "gaussian"; "gaussian per feature" (a gamma for each); "bernoulli" (x in [0, 1]);
        "poisson" and "negative binomial" (x >= 0, b + f is the logarithm of the mean);
        "categorical" (one-hot; quadrature over min(k, classes - 1) dimensions, of a bent decoder
        min(k, classes), at most three; no activation with a kink).
    posterior: of every datum: "diagonal", "full", "low rank R" or one of `vae.posterior`; or
        "amortized", all by one affine encoder (`amortized_vae`, parameters `AmortizedParams`).
    gamma: of a Gaussian, the variance > 0, per feature also (d,); None: it is learned.
    beta: > 0, weight of the KL part.
    dispersion: r > 0 of a negative binomial, whose variance is mean + mean^2 / r.

    Parameters are `VAEParams`; alpha, gamma, beta and dispersion may be traced. Raises ValueError
    for data outside the likelihood's range, for values out of range and for members that do not
    exist, such as exp of a cubic, RuntimeError without float64.
    """
    require_float64("the exact energy")
    bend = activations.named(activation)
    if posterior == AMORTIZED:
        free = elementwise_vae(
            X, latent, bend, alpha, likelihood, DIAGONAL, gamma, beta, dispersion=dispersion
        )
        assert isinstance(free, ElementwiseVAE)
        return amortized_vae(free)
    of_data = _posterior(posterior)
    _require_member(bend, alpha, likelihood, gamma, dispersion)
    if likelihood == "gaussian" and isinstance(bend, Identity | SoftThreshold):
        bent = isinstance(bend, SoftThreshold)
        paper = threshold_vae(X, latent, alpha if bent else 0.0, gamma, beta)
        return paper if of_data == DIAGONAL else replace(paper, posterior=of_data)
    classes = np.shape(X)[-1] if likelihood == "categorical" else 1
    X = _data(X, likelihood, classes)
    doors.positive("beta", beta)
    made: dict[str, Any] = {
        "X": shards.spread(X),
        "latent": _latents(latent, np.shape(X)[1], classes, bend),
        "beta": jnp.asarray(beta, jnp.float64),
        "alpha": jnp.asarray(0.0 if isinstance(bend, Identity) else alpha, jnp.float64),
        "bend": bend,
        "posterior": of_data,
    }
    if likelihood in ("gaussian", PER_FEATURE):
        per_feature = likelihood == PER_FEATURE
        made["gamma"] = _gamma(X, gamma, per_feature)
        return PerFeatureVAE(**made) if per_feature else BentVAE(**made)
    made |= {"gamma": jnp.ones(()), "noise": likelihood_of(likelihood, dispersion)}
    if likelihood == "categorical":
        return CategoricalVAE(**made, size_of_group=classes)
    return NaturalVAE(**made)


def _data(X: ArrayLike, likelihood: str, classes: int) -> Any:
    """(n, d), checked."""
    if likelihood == "categorical" and np.ndim(X) > 2:
        X = jnp.asarray(X).reshape(np.shape(X)[0], -1)
    if isinstance(X, jax.core.Tracer):
        return X
    X = data.check(np.asarray(X))
    require_range("X", X, likelihood, classes)
    return X


def _require_member(
    bend: Activation,
    alpha: ArrayLike,
    likelihood: Any,
    gamma: Any,
    dispersion: Any,
) -> None:
    """Refuse members that do not exist, and settings that they do not have. Raises ValueError."""
    if not isinstance(likelihood, str) or likelihood not in LIKELIHOODS:
        raise complaint(
            f"likelihood as one of {', '.join(LIKELIHOODS)}", shown(likelihood), "choose one"
        )
    if isinstance(bend, Identity):
        _require_straight(alpha)
    number("alpha", alpha, least=0.0, most=min(bend.most, doors.LARGEST))
    exponential = likelihood == "poisson"
    if exponential and (why := bend.diverges()):
        raise complaint(
            "a decoder whose energy is finite",
            f"{bend.name} with likelihood='poisson': {why}",
            "choose another activation, or the negative binomial",
        )
    if likelihood == "categorical" and (bend.cuts(0.5) or isinstance(bend, SoftThreshold)):
        raise complaint(
            "a smooth activation with likelihood='categorical'",
            f"{bend.name}, which has kinks that no rule over several dimensions follows",
            "choose a smooth one, or Bernoulli coordinates",
        )
    if not likelihood.startswith("gaussian") and gamma is not None:
        raise complaint(
            f"no gamma with likelihood={likelihood!r}",
            shown(gamma),
            "leave it out: only a Gaussian has a variance of its own",
        )
    _require_dispersion(likelihood, dispersion)


def _posterior(posterior: Any) -> Posterior:
    """One by its name, or as it is."""
    if isinstance(posterior, Posterior):
        return posterior
    words = posterior.split() if isinstance(posterior, str) else []
    if len(words) == 3 and words[:2] == ["low", "rank"] and words[2].isdecimal():
        return low_rank(int(words[2]))
    named = {one.name: one for one in (DIAGONAL, FULL)}
    if " ".join(words) not in named:
        raise complaint(
            f"posterior='diagonal', 'full', 'low rank R' or {AMORTIZED!r}",
            shown(posterior),
            "choose one",
        )
    return named[posterior]


def _require_straight(alpha: ArrayLike) -> None:
    if isinstance(alpha, jax.core.Tracer):
        return
    if np.shape(alpha) != () or np.asarray(alpha) != 0:
        raise complaint(
            "alpha=0 with activation=None, an affine decoder",
            f"alpha={shown(alpha)}",
            "name an activation: 'soft threshold' is the paper's",
        )


def _require_dispersion(likelihood: str, dispersion: Any) -> None:
    if likelihood == "negative binomial":
        if dispersion is None:
            raise complaint(
                "dispersion=r with likelihood='negative binomial'",
                "none",
                "give r > 0: the variance is mean + mean^2 / r",
            )
        doors.positive("dispersion", dispersion)
    elif dispersion is not None:
        raise complaint(
            f"no dispersion with likelihood={likelihood!r}", shown(dispersion), "leave it out"
        )


def _gamma(X: Any, gamma: Any, per_feature: bool) -> Array | None:
    """() or, per feature, (d,); None where it is learned."""
    if gamma is not None:
        for one in np.ravel(gamma) if not isinstance(gamma, jax.core.Tracer) else ():
            doors.positive("gamma", one, ", or None to learn it")
        value = jnp.asarray(gamma, jnp.float64)
        d = np.shape(X)[1]
        if value.shape != () and not (per_feature and value.shape == (d,)):
            raise complaint(
                f"gamma as a number{f' or {d} of them' if per_feature else ''}",
                f"shape {value.shape}",
                "give one, or likelihood='gaussian per feature' and one for each",
            )
        return jnp.broadcast_to(value, (d,)) if per_feature else value
    if per_feature and not isinstance(X, jax.core.Tracer):
        constant = np.flatnonzero(np.ptp(np.asarray(X), axis=0) == 0)
        if len(constant):
            raise complaint(
                "features that vary, each with a learned gamma of its own",
                f"feature {constant[0]}, which is constant: its gamma would be zero",
                "leave it out, or fix gamma",
            )
    return None


def _latents(latent: Any, features: int, classes: int, bend: Activation) -> int:
    latents = whole("latents", latent)
    if not 1 <= latents <= features:
        raise complaint(
            f"1 <= latent <= {features} (the data's features)", shown(latents), "choose fewer"
        )
    most = classes - isinstance(bend, Identity)
    if classes > 1 and min(latents, most) > MOST_DIMENSIONS:
        raise complaint(
            f"at most {MOST_DIMENSIONS} latents or {MOST_DIMENSIONS} dimensions of the classes "
            f"with likelihood='categorical' (its quadrature is over the fewer of them)",
            f"{latents} latents and {most} dimensions",
            "choose fewer latents",
        )
    return latents
