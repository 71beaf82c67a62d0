"""What has to be known of a trained VAE, from any framework? Arrays with names, checked at the
door.

>>> given = check(x=[[1.0, 1.0], [-1.0, -1.0]], mean=[[0.0], [0.0]], log_std=[[0.0], [0.0]],
...     reconstruction=[[0.0, 0.0], [0.0, 0.0]], gamma=1.0)
>>> given.gamma.shape, given.beta
((), 1.0)
"""

import os
import zipfile
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaesurface import data

REQUIRED = ("x", "mean", "log_std", "reconstruction", "gamma")
OPTIONAL = ("beta", "learned_gamma", "sampled_reconstruction", "prior_reconstruction", "affine")
LARGEST = 100  # of a |log std| whose square in nats float64 still holds beside others


class Export(NamedTuple):
    """A trained VAE and its data.

    x (n, d); mean and log_std (n, k) of the posteriors; reconstruction (n, d): the decoder's mean
    at the posterior mean; gamma (): decoder variance, or (n, d) where it is not one number; beta:
    weight of the KL part; learned_gamma: whether gamma was trained, None where that is not said;
    sampled_reconstruction (n, d): at latents drawn from the posteriors, or None;
    prior_reconstruction (n, d): at latents drawn from the prior, everything else that the decoder
    sees being the datum's own, or None; affine: whether the decoder's family comes close to having
    an affine map added; squared_error (n,): expected squared errors E ||x - decode(z)||^2, where
    they are known exactly, or None; alone: whether the decoder is known to see nothing but latents.
    """

    x: np.ndarray
    mean: np.ndarray
    log_std: np.ndarray
    reconstruction: np.ndarray
    gamma: np.ndarray
    beta: float = 1.0
    learned_gamma: bool | None = None
    sampled_reconstruction: np.ndarray | None = None
    prior_reconstruction: np.ndarray | None = None
    affine: bool = True
    squared_error: np.ndarray | None = None
    alone: bool = False


def check(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    log_std: npt.ArrayLike,
    reconstruction: npt.ArrayLike,
    gamma: npt.ArrayLike,
    beta: npt.ArrayLike = 1.0,
    learned_gamma: npt.ArrayLike | None = None,
    sampled_reconstruction: npt.ArrayLike | None = None,
    prior_reconstruction: npt.ArrayLike | None = None,
    affine: npt.ArrayLike = True,
    squared_error: npt.ArrayLike | None = None,
    alone: bool = False,
) -> Export:
    """An `Export` in float64, all but the first axis of data and reconstructions flattened.

    gamma: (), (n,), (n, 1), (d,) where d is not n, (1, d), or like x. Raises ValueError for shapes
    that disagree, numbers that are not finite, gamma or beta <= 0, and what `data.check` refuses.
    """
    X = data.check(_matrix("x", x))
    means, deviations = _matrix("mean", mean), _matrix("log_std", log_std)
    n, d = X.shape
    for name, a in (("mean", means), ("log_std", deviations)):
        if a.shape != (n, means.shape[1]) or not a.size:
            raise ValueError(
                f"expected {name} of shape ({n}, latents) as x and mean have it, got {a.shape}; "
                f"give a row per datum"
            )
    if np.abs(deviations).max() > LARGEST:
        raise ValueError(
            f"expected |log_std| <= {LARGEST}, got {np.abs(deviations).max():g}; give the "
            f"logarithm of the deviation"
        )
    recon = _like(X, "reconstruction", reconstruction)
    spread = _finite("gamma", gamma)
    variance = spread.reshape(()) if spread.size == 1 else _variances(spread, np.shape(x), n, d)
    weight, squared = (
        _finite("beta", beta),
        None if squared_error is None else _finite("squared_error", squared_error),
    )
    if weight.size != 1 or not weight.item() > 0:
        raise ValueError(
            f"expected one number beta > 0, got {weight.tolist()}; give the weight of the KL part"
        )
    if not (variance > 0).all():
        raise ValueError(
            f"expected gamma > 0, got {variance.min():g}; give the decoder's variance, not its "
            f"logarithm"
        )
    if squared is not None and squared.shape != (n,):
        raise ValueError(
            f"expected squared_error of shape ({n},), got {squared.shape}; give one number per "
            f"datum"
        )
    return Export(
        X,
        means,
        deviations,
        recon,
        variance,
        weight.item(),
        None if learned_gamma is None else _flag("learned_gamma", learned_gamma),
        None
        if sampled_reconstruction is None
        else _like(X, "sampled_reconstruction", sampled_reconstruction),
        None
        if prior_reconstruction is None
        else _like(X, "prior_reconstruction", prior_reconstruction),
        _flag("affine", affine),
        squared,
        alone,
    )


def load(path: str | os.PathLike) -> Export:
    """Read an .npz with the REQUIRED arrays and any of the OPTIONAL ones; others are passed over
    and nothing is unpickled.

    Raises ValueError for other files and for what `check` refuses, FileNotFoundError where there is
    none.
    """
    wanted = f"an .npz with {', '.join(REQUIRED)}"
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"expected {wanted}, got {os.fspath(path)!r} where no file is; correct the path"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            missing = [name for name in REQUIRED if name not in names]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
            given: dict[str, Any] = {
                name: np.asarray(file[name]) for name in (*REQUIRED, *OPTIONAL) if name in names
            }
    except (ValueError, EOFError, zipfile.BadZipFile, AttributeError, TypeError, KeyError) as error:
        raise ValueError(f"expected {wanted}, got {path}: {error}; see docs/diagnose.md") from error
    try:
        return check(**given)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _finite(name: str, value: Any) -> np.ndarray:
    try:
        a = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"expected {name} as an array, got rows of unequal length; pad or drop them"
        ) from error
    if a.dtype.kind not in "iuf":
        raise ValueError(f"expected real numbers as {name}, got dtype {a.dtype}; convert them")
    a = a.astype(np.float64)
    if not np.isfinite(a).all():
        raise ValueError(
            f"expected finite {name}, got {(~np.isfinite(a)).sum()} NaN or infinite numbers; "
            f"drop those data"
        )
    return a


def _matrix(name: str, value: Any) -> np.ndarray:
    """With one row per datum, all other axes flattened."""
    a = _finite(name, value)
    if a.ndim < 2:
        raise ValueError(
            f"expected {name} with one row per datum, got shape {a.shape}; give it two axes or more"
        )
    return a.reshape(len(a), -1)


def _like(X: np.ndarray, name: str, value: Any) -> np.ndarray:
    a = _matrix(name, value)
    if a.shape != X.shape:
        raise ValueError(
            f"expected {name} of the shape of x, {X.shape} when flattened, got {a.shape}; give "
            f"one row per datum"
        )
    return a


def _variances(gamma: np.ndarray, shape: tuple[int, ...], n: int, d: int) -> np.ndarray:
    """(n, d), or () where all are one number."""
    if gamma.shape in ((n,), (n, 1)):
        gamma = gamma.reshape(n, 1)
    elif gamma.shape in ((d,), (1, d)):
        gamma = gamma.reshape(1, d)
    elif gamma.shape == shape or gamma.shape == (n, d):
        gamma = gamma.reshape(n, d)
    else:
        raise ValueError(
            f"expected gamma of shape (), ({n},), or that of x, got {gamma.shape}; give one "
            f"number or one per datum"
        )
    if np.ptp(gamma) <= 1e-6 * np.max(gamma):
        return gamma.ravel()[:1].reshape(())
    return np.broadcast_to(gamma, (n, d))


def _flag(name: str, value: Any) -> bool:
    a = np.asarray(value)
    if a.size != 1 or a.dtype.kind not in "biuf" or a.item() not in (0, 1):
        raise ValueError(f"expected {name} as true or false, got {a.tolist()}; give one of them")
    return bool(a.item())
