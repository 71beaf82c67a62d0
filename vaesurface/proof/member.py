"""Which VAE is a problem, in the settings of a certificate?

>>> from vaesurface import data, vae
>>> problem = vae.elementwise_vae(data.antipodal(d=2), 1, "relu", alpha=0.5, gamma=1.0)
>>> data_and_settings(problem)[1].said()
'alpha = 0.5, beta = 1.0, gamma = 1.0, activation relu, latents: 1'
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from vaesurface import data
from vaesurface.proof.balls import arithmetic
from vaesurface.proof.cost import cost
from vaesurface.proof.form import MOST, PER_FEATURE, POLYNOMIAL, RANGES, Settings
from vaesurface.refusal import complaint

if TYPE_CHECKING:
    from vaesurface.problem import Problem

__all__ = ["data_and_settings", "require_provable"]


def require_provable(problem: "Problem") -> None:
    """Raises ValueError for a problem of an energy that proofs are not about, RuntimeError without
    python-flint.
    """
    settings = data_and_settings(problem)[1]
    with arithmetic():
        cost(settings)


def data_and_settings(problem: "Problem") -> tuple[np.ndarray, Settings]:
    """X (n, d) and what else the energy depends on. Raises ValueError for a problem of an energy
    that proofs are not about.
    """
    # Inside, because it loads JAX: whoever has a problem has it loaded, and `verify` has none.
    from vaesurface.vae import BentVAE, NaturalVAE, PerFeatureVAE, ThresholdVAE

    # A class that inherits may have another loss.
    known = BentVAE, NaturalVAE, PerFeatureVAE, ThresholdVAE
    if not isinstance(problem, BentVAE | ThresholdVAE) or type(problem) not in known:
        raise ValueError(
            "expected a problem of vae.elementwise_vae or vae.threshold_vae, got a "
            f"{type(problem).__name__}; proofs are about those energies"
        )
    problem.posterior.require_independent()
    gamma = None if problem.gamma is None else np.asarray(problem.gamma).tolist()
    settings = Settings(
        latent=problem.latent, alpha=float(problem.alpha), gamma=gamma, beta=float(problem.beta)
    )
    if isinstance(problem, BentVAE):
        settings = settings._replace(**_bend(problem.bend))
    if isinstance(problem, PerFeatureVAE):
        settings = settings._replace(likelihood=PER_FEATURE)
    if isinstance(problem, NaturalVAE):
        settings = settings._replace(**_likelihood(problem.noise))
    return data.check(problem.X), settings


def _bend(bend: Any) -> dict[str, Any]:
    """An activation in settings. Raises ValueError for one without closed moments."""
    from vaesurface import activations as known

    names = {
        known.Identity: "identity",
        known.SoftThreshold: "soft threshold",
        known.HardTanh: "hard tanh",
        known.Erf: "erf",
        known.Sine: "sin",
        known.Exponential: "exp",
        known.Polynomial: POLYNOMIAL,
    }
    name = names.get(type(bend))
    if type(bend) is known.Hinge:
        name = {1.0: "relu", 2.0: "abs"}.get(bend.share)
    if name is None:
        raise complaint(
            f"an activation out of {', '.join(MOST)}",
            f"{bend.name}, whose moments are known by a quadrature without a bound",
            "choose one: a proof covers every rounding",
        )
    if name == POLYNOMIAL:
        return {"activation": name, "coefficients": list(bend.coefficients)}
    return {"activation": name}


def _likelihood(noise: Any) -> dict[str, Any]:
    """A likelihood in settings. Raises ValueError for one that no proof is about."""
    from vaesurface.vae import likelihood as known

    if type(noise) not in (known.Bernoulli, known.Poisson, known.NegativeBinomial):
        raise complaint(
            f"a likelihood out of {', '.join(RANGES)}", noise.name, "choose one that proofs know"
        )
    dispersion = float(noise.dispersion) if type(noise) is known.NegativeBinomial else None
    return {"gamma": None, "likelihood": noise.name, "dispersion": dispersion}
