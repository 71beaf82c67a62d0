"""What must the numbers of a certificate look like, whatever they claim?

A certificate may come from anyone, so its settings and parameters are checked before they are used.
Names are those of `energy.VAEParams`, arrays are NumPy's: nothing here needs JAX. X is (n, d).

>>> from vaesurface import data
>>> settings = {"latent": 1, "alpha": 0.5, "gamma": None, "beta": 1.0}
>>> checked_settings(data.antipodal(d=2), settings)
Settings(latent=1, alpha=0.5, gamma=None, beta=1.0)
"""

import math
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "Settings",
    "Unproved",
    "checked_parameters",
    "checked_settings",
    "equal_integers",
    "require_keys",
]


class Unproved(ValueError):
    """The claim could not be proved, which does not say that it is false."""


class Settings(NamedTuple):
    """What the energy depends on besides the data: arguments of `vae.threshold_vae`.

    latent: k, the number of latents.
    alpha: the threshold.
    gamma: the decoder variance, None where it is learned.
    beta: the weight of the KL divergence.
    """

    latent: int
    alpha: float
    gamma: float | None
    beta: float


def checked_settings(X: np.ndarray, settings: dict[str, Any]) -> Settings:
    """The settings of a certificate. Raises ValueError, or Unproved for values out of range."""
    require_keys(settings, *Settings._fields)
    checked = Settings(**settings)
    latent, alpha, gamma, beta = checked
    if type(latent) is not int or not 1 <= latent <= X.shape[1]:
        raise Unproved(f"latents must be between 1 and {X.shape[1]}")
    if not all(isinstance(x, float) for x in (alpha, beta, 1.0 if gamma is None else gamma)):
        raise Unproved("settings must be numbers")
    variance = gamma is None or 0 < gamma < math.inf
    if not (0 <= alpha < math.inf and 0 < beta < math.inf and variance):
        raise Unproved("alpha must be at least 0, beta and gamma positive")
    return checked


def checked_parameters(
    X: np.ndarray, settings: Settings, parameters: dict[str, Any]
) -> dict[str, np.ndarray]:
    """Parameters as float64 arrays, in the order of `VAEParams`.

    Raises ValueError unless they are the energy's, finite and of the shapes that the data ask for.
    """
    (n, d), k = X.shape, settings.latent
    shapes: dict[str, tuple[int, ...]] = {"weight": (d, k), "bias": (d,)}
    if settings.gamma is None:
        shapes["log_gamma"] = ()
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
