"""What must the numbers of a certificate look like, whatever they claim?

A certificate may come from anyone, so its settings and parameters are checked before they are used.
Names are those of `energy.VAEParams`, arrays are NumPy's: nothing here needs JAX. X is (n, d).

>>> from vaesurface import data
>>> settings = {"latent": 1, "alpha": 0.5, "gamma": None, "beta": 1.0}
>>> checked_settings(data.antipodal(d=2), settings).said()
'alpha = 0.5, beta = 1.0, gamma learned, latents: 1'
"""

import math
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "GAUSSIAN",
    "NEGATIVE_BINOMIAL",
    "PER_FEATURE",
    "POLYNOMIAL",
    "Settings",
    "Unproved",
    "checked_parameters",
    "checked_settings",
    "equal_integers",
    "require_keys",
    "require_paper",
]

GAUSSIAN, PER_FEATURE, NEGATIVE_BINOMIAL = "gaussian", "gaussian per feature", "negative binomial"
POLYNOMIAL = "polynomial"
# Between what data of a likelihood may be.
RANGES = {
    GAUSSIAN: (-math.inf, math.inf),
    PER_FEATURE: (-math.inf, math.inf),
    "bernoulli": (0.0, 1.0),
    "poisson": (0.0, math.inf),
    NEGATIVE_BINOMIAL: (0.0, math.inf),
}
# alpha's largest value, as in `activations`.
MOST = {
    "identity": 0.0,
    "soft threshold": math.inf,
    "hard tanh": math.inf,
    "relu": 1.0,
    "abs": 1.0,
    "erf": 1.0,
    "sin": 1.0,
    "exp": 1.0,
    POLYNOMIAL: 1.0,
}
LONGEST = 13  # coefficients of a polynomial


class Unproved(ValueError):
    """The claim could not be proved, which does not say that it is false."""


class Settings(NamedTuple):
    """What the energy depends on besides the data: arguments of `vae.elementwise_vae`.

    latent: k, the number of latents.
    alpha: how much the decoder is bent.
    gamma: the decoder variance, per feature a list of them; None where it is learned, and where the
        likelihood has none.
    beta: the weight of the KL divergence.
    activation: one of `MOST`.
    likelihood: one of `RANGES`.
    coefficients: c_0, c_1, ... of a polynomial.
    dispersion: of a negative binomial.
    """

    latent: int
    alpha: float
    gamma: float | list[float] | None
    beta: float
    activation: str = "soft threshold"
    likelihood: str = "gaussian"
    coefficients: list[float] | None = None
    dispersion: float | None = None

    @property
    def learned(self) -> bool:
        """Whether gamma is a parameter."""
        return self.gamma is None and self.likelihood in (GAUSSIAN, PER_FEATURE)

    @property
    def dead(self) -> bool:
        """Whether nothing depends on a row of the weight near zero, to any order."""
        return self.activation == "soft threshold" and self.alpha > 0

    @property
    def cornered(self) -> bool:
        """Whether there are no second derivatives by a row of the weight at zero."""
        return self.activation in ("relu", "abs") and self.alpha > 0

    def written(self) -> dict[str, Any]:
        """As a certificate has them: without those that the paper's VAE has not, unless given."""
        absent = self._field_defaults
        return {k: v for k, v in self._asdict().items() if k not in absent or v != absent[k]}

    def said(self) -> str:
        """In words."""
        parts = [f"alpha = {self.alpha}", f"beta = {self.beta}"]
        if self.gamma is not None:
            parts.append(f"gamma = {self.gamma}")
        elif self.learned:
            parts.append("gamma learned")
        for name in self._field_defaults:
            if name in self.written():
                parts.append(f"{name} {getattr(self, name)}")
        return ", ".join([*parts, f"latents: {self.latent}"])


def checked_settings(X: np.ndarray, settings: dict[str, Any]) -> Settings:
    """The settings of a certificate. Raises ValueError, or Unproved for values out of range."""
    require_keys({**Settings._field_defaults, **settings}, *Settings._fields)
    checked = Settings(**settings)
    latent, alpha, beta = checked.latent, checked.alpha, checked.beta
    if type(latent) is not int or not 1 <= latent <= X.shape[1]:
        raise Unproved(f"latents must be between 1 and {X.shape[1]}")
    if not all(isinstance(x, float) for x in (alpha, beta)):
        raise Unproved("settings must be numbers")
    if not (0 <= alpha < math.inf and 0 < beta < math.inf):
        raise Unproved("alpha must be at least 0, beta positive")
    _require_member(X, checked)
    return checked


def _require_member(X: np.ndarray, settings: Settings) -> None:
    """Raises Unproved unless there is such a VAE of these data."""
    activation, likelihood = settings.activation, settings.likelihood
    if activation not in MOST or likelihood not in RANGES:
        raise Unproved(
            f"activation must be one of {', '.join(MOST)}, likelihood one of {', '.join(RANGES)}"
        )
    if settings.alpha > MOST[activation]:
        raise Unproved(f"alpha must be at most {MOST[activation]} with activation {activation}")
    low, high = RANGES[likelihood]
    if not (X.min() >= low and X.max() <= high):
        raise Unproved(f"data must be between {low} and {high} with likelihood {likelihood}")
    if not _is_gamma(settings.gamma, likelihood, X.shape[1]):
        raise Unproved("gamma must be positive, one or per feature a list, and of a Gaussian")
    dispersion = settings.dispersion
    fits = _is_size(dispersion) if likelihood == NEGATIVE_BINOMIAL else dispersion is None
    if not fits:
        raise Unproved("dispersion must be positive with a negative binomial, and absent else")
    coefficients = settings.coefficients
    given = isinstance(coefficients, list) and 1 <= len(coefficients) <= LONGEST
    if given != (activation == POLYNOMIAL) or given != (coefficients is not None):
        raise Unproved("coefficients must be those of a polynomial, and absent else")
    if not all(isinstance(c, float) and math.isfinite(c) for c in coefficients or []):
        raise Unproved("coefficients must be numbers")


def _is_gamma(gamma: Any, likelihood: str, features: int) -> bool:
    """Whether it is the decoder variance, or None."""
    if likelihood == PER_FEATURE and isinstance(gamma, list):
        return len(gamma) == features and all(map(_is_size, gamma))
    return gamma is None or (likelihood == GAUSSIAN and _is_size(gamma))


def _is_size(number: Any) -> bool:
    """Whether it is a positive number."""
    return isinstance(number, float) and 0 < number < math.inf


def require_paper(settings: Settings, claim: str, *likelihoods: str) -> None:
    """Raises Unproved for another VAE than that of `vae.threshold_vae`, unless its likelihood is
    one of those.
    """
    if settings.activation != "soft threshold" or settings.likelihood not in (
        GAUSSIAN,
        *likelihoods,
    ):
        raise Unproved(
            f"expected a soft threshold and likelihood gaussian, got {settings.said()}: of another "
            f"VAE the claim '{claim}' is not proved; certify a stationary point"
        )


def checked_parameters(
    X: np.ndarray, settings: Settings, parameters: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Parameters as float64 arrays, in the order of `VAEParams`.

    Raises ValueError unless they are the energy's, finite and of the shapes that the data ask for.
    """
    (n, d), k = X.shape, settings.latent
    shapes: dict[str, tuple[int, ...]] = {"weight": (d, k), "bias": (d,)}
    if settings.learned:
        shapes["log_gamma"] = (d,) if settings.likelihood == PER_FEATURE else ()
    shapes |= {"mean": (n, k), "log_std": (n, k)}
    require_keys(parameters, *shapes)
    arrays = {name: np.asarray(parameters[name]) for name in shapes}
    for name, array in arrays.items():
        fits = array.dtype == np.float64 and array.shape == shapes[name]
        if not fits or not np.isfinite(array).all():
            raise ValueError(
                f"expected {name} finite, float64 and {shapes[name]}, "
                f"got {array.dtype} {array.shape}; correct it"
            )
    return arrays


def equal_integers(numbers: Any, integers: list[int]) -> bool:
    """Whether they are those numbers, and plain integers: True and 1.0 equal 1 but read otherwise
    in a statement.
    """
    return numbers == integers and all(type(x) is int for x in numbers)


def require_keys(numbers: dict[str, Any], *keys: str) -> None:
    """Raises ValueError unless the numbers have just these names."""
    if set(numbers) != set(keys):
        raise ValueError(
            f"expected {', '.join(keys)}, got {', '.join(map(str, numbers))}; give just these"
        )
