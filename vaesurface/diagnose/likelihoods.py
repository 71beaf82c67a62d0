"""Which likelihood was a VAE trained with, and how well does it do under it?

"gaussian" where gamma is given; else "bernoulli", "poisson" or "categorical" has to be said. All is
in nats per datum. Dropped are constants of the data: log x! (Poisson), none of the others.

>>> nats(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), "bernoulli").round(4)  # log 4
array([1.3863])
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from vaesurface.theory.natural import LIKELIHOODS, require_range

__all__ = ["named", "nats", "nats_between", "one_hot", "require_ranges"]

# Least logarithm of a probability, as PyTorch's cross entropy has it: float32 rounds a sure answer
# to 1, and a wrong one would cost infinity.
LEAST_LOG = -100.0
# What losses are called that belong to a likelihood.
OTHER_NAMES = {
    "bce": "bernoulli",
    "binary cross entropy": "bernoulli",
    "binary_cross_entropy": "bernoulli",
    "binary_crossentropy": "bernoulli",
    "bcewithlogits": "bernoulli",
    "bcewithlogitsloss": "bernoulli",
    "bceloss": "bernoulli",
    "mse": "gaussian",
    "mseloss": "gaussian",
    "normal": "gaussian",
    "softmax": "categorical",
}
# Beyond [0, 1] by no more than rounding of float32 puts a probability.
ROUNDING = 1e-6


def nats(x: np.ndarray, mean: np.ndarray, likelihood: str) -> np.ndarray:
    """-log p(x | mean) (n,) for data (n, d) and a decoder's means, (n, d) or (d,)."""
    if likelihood == "bernoulli":
        terms = x * _log(mean) + (1.0 - x) * _log(1.0 - mean)
    elif likelihood == "poisson":
        terms = x * _log(mean) - mean
    else:
        terms = x * _log(mean)
    return -np.sum(terms, axis=1)


def nats_between(x: np.ndarray, means: np.ndarray, likelihood: str) -> np.ndarray:
    """The same of every datum (n, d) under every one of the means (m, d): (m, n)."""
    slopes = _log(means)
    if likelihood == "bernoulli":
        slopes = slopes - _log(1.0 - means)
    at_zero = nats(np.zeros_like(means), means, likelihood)
    return at_zero[:, None] - slopes @ x.T


def _log(mean: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(mean, np.exp(LEAST_LOG)))


def named(likelihood: Any, gamma: Any, x: npt.ArrayLike) -> str:
    """The likelihood that is said, "gaussian" where gamma is. Raises ValueError where neither is,
    or for one that is not known.
    """
    if likelihood is None:
        if gamma is None:
            raise ValueError(_ask(np.asarray(x)))
        return "gaussian"
    value = np.asarray(likelihood)
    name = value.item() if value.size == 1 else value.tolist()
    name = name.decode() if isinstance(name, bytes) else name
    name = name.strip().casefold() if isinstance(name, str) else name
    if name not in LIKELIHOODS:
        other = OTHER_NAMES.get(name) if isinstance(name, str) else None
        hint = f"give {other!r} if that is what it is" if other else "others are not judged"
        raise ValueError(
            f"expected likelihood as one of {', '.join(LIKELIHOODS)}, got {name!r}; {hint}"
        )
    if name == "gaussian" and gamma is None:
        raise ValueError(
            "expected gamma with likelihood='gaussian', got none; give the decoder's variance "
            "(diagnose.convention says which one a squared error stands for)"
        )
    return str(name)


def _ask(x: np.ndarray) -> str:
    """What to say where nobody says what the loss was."""
    squared = "gamma if it was squared error (diagnose.convention says which)"
    numeric = x.dtype.kind in "biuf" and x.size > 0
    if numeric and x.min() >= 0 and x.max() <= 1:
        return (
            "expected likelihood or gamma, got neither, and x lies in [0, 1]; give "
            f"likelihood='bernoulli' if the loss was (binary) cross entropy, {squared}"
        )
    return (
        "expected gamma or likelihood, got neither; give "
        f"{squared}, else likelihood='bernoulli', 'poisson' or 'categorical'"
    )


def one_hot(
    x: npt.ArrayLike, reconstruction: npt.ArrayLike, classes: int | None
) -> tuple[np.ndarray, int]:
    """Data of a categorical likelihood with an axis of classes, and their number: the length of the
    reconstruction's last axis where it is not given.
    """
    values, shape = np.asarray(x), np.shape(reconstruction)
    number = shape[-1] if classes is None and shape else classes
    if number is None or values.shape == shape:
        return values, number or 1
    whole = values.dtype.kind in "iu" or (
        values.dtype.kind == "f" and bool((values == np.floor(values)).all())
    )
    if values.shape != shape[:-1] or not whole or values.min() < 0 or values.max() >= number:
        raise ValueError(
            f"expected x of the shape of reconstruction, {shape}, classes last, or labels from 0 "
            f"to {number - 1} of shape {shape[:-1]}, got shape {values.shape}; put the axis of "
            "classes last in both"
        )
    return (values[..., None] == np.arange(number)).astype(float), number


def require_ranges(arrays: dict[str, np.ndarray | None], likelihood: str, classes: int) -> None:
    """Raise ValueError, with the remedy, for data or reconstructions (n, d) that the likelihood
    cannot have.
    """
    for name, values in arrays.items():
        if values is None or likelihood == "gaussian":
            continue
        exact = name == "x" or likelihood != "bernoulli"
        rounded = values if exact else _without_rounding(values)
        require_range(name, rounded, likelihood, classes)
        if name != "x" and likelihood != "poisson" and np.isin(rounded, (0.0, 1.0)).all():
            raise ValueError(
                f"expected {name} as the decoder's probabilities, got zeros and ones alone; give "
                "sigmoid(logits) or softmax(logits), not what is drawn from them or likeliest"
            )
        if name != "x" and not rounded.any():
            raise ValueError(f"expected rates as {name}, got zeros alone; give exp(log_rate)")


def _without_rounding(values: np.ndarray) -> np.ndarray:
    """Probabilities at 0 or 1 where they are so up to rounding."""
    low = np.where(np.abs(values) <= ROUNDING, 0.0, values)
    return np.where(np.abs(low - 1.0) <= ROUNDING, 1.0, low)
