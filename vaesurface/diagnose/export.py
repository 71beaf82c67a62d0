"""What has to be known of a trained VAE, from any framework? Arrays with names, checked at the
door.

>>> export = check(x=[[1.0, 1.0], [-1.0, -1.0]], mean=[[0.0], [0.0]], log_std=[[0.0], [0.0]],
...     reconstruction=[[0.0, 0.0], [0.0, 0.0]], gamma=1.0)
>>> export.gamma.shape, export.beta
((), 1.0)
"""

import difflib
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaesurface import data
from vaesurface.diagnose import likelihoods
from vaesurface.glance import brief
from vaesurface.refusal import LARGEST, located, number, reading

__all__ = ["OPTIONAL", "PRIOR", "REQUIRED", "Export", "check", "load"]

REQUIRED = ("x", "mean", "log_std", "reconstruction", "gamma")
WANTED = f"an .npz with {', '.join(REQUIRED)}"
OPTIONAL = (
    "beta",
    "learned_gamma",
    "sampled_reconstruction",
    "prior_reconstruction",
    "affine",
    "likelihood",
)
PRIOR = ("prior_mean", "prior_std")  # of N(0, I) where they are not there
KEYS = (*REQUIRED, *OPTIONAL, *PRIOR)
NEAR = 0.87  # share of two names that agrees, from which one is the other misspelt
LARGEST_LOG_STD = 100  # the square of its deviation, in nats, float64 still holds beside others
WEIGHTS = (".weight", ".bias", "/kernel", "kernel:0")  # how frameworks name those of a network
# What people call arrays that say the same as one of ours, and how that is made of them.
KIN = {
    **dict.fromkeys(("mu", "z_mean", "z_mu", "means", "loc"), ("mean", "{}")),
    **dict.fromkeys(
        ("logvar", "log_var", "logvars", "z_logvar", "z_log_var"), ("log_std", "0.5 * {}")
    ),
    **dict.fromkeys(("std", "sigma", "scale", "z_std"), ("log_std", "np.log({})")),
    **dict.fromkeys(("log_sigma", "log_scale", "logstd"), ("log_std", "{}")),
    **dict.fromkeys(("recon", "x_hat", "xhat", "reconstructions"), ("reconstruction", "{}")),
    **dict.fromkeys(("X", "data", "inputs"), ("x", "{}")),
}
SHOWN = 8  # names that a message lists
# Relative range of variances up to which they are one number: more than float32 rounds to.
ONE_VARIANCE = 1e-6


@brief()
class Export(NamedTuple):
    """A trained VAE and its data.

    x: (n, d), data.
    mean: (n, k), of the posteriors.
    log_std: (n, k), their log deviations.
    reconstruction: (n, d), the decoder's mean at the posterior mean.
    gamma: decoder variance, (), or (n, d) where it is not one number; 1 where the likelihood is not
        Gaussian.
    beta: weight of the KL part.
    learned_gamma: whether gamma was trained; None where that is not said.
    sampled_reconstruction: (n, d), at latents drawn from the posteriors; or None.
    prior_reconstruction: (n, d), at latents drawn from the prior, everything else that the decoder
        sees being the datum's own; or None.
    affine: whether the decoder's family comes close to having an affine map added.
    squared_error: (n,), expected squared errors E ||x - decode(z)||^2 where they are known exactly;
        or None.
    alone: whether the decoder is known to see nothing but latents.
    likelihood: of the decoder.
    classes: of a categorical likelihood, the number of its classes: coordinates are groups of them.
    nats: (n,), expected negative log-likelihoods where they are known exactly and the likelihood is
        not Gaussian; or None.
    stated: whether the likelihood was said, or is taken to be Gaussian because gamma is given.
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
    likelihood: str = "gaussian"
    classes: int = 1
    nats: np.ndarray | None = None
    stated: bool = False


def check(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    log_std: npt.ArrayLike,
    reconstruction: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike = 1.0,
    learned_gamma: npt.ArrayLike | None = None,
    sampled_reconstruction: npt.ArrayLike | None = None,
    prior_reconstruction: npt.ArrayLike | None = None,
    affine: npt.ArrayLike = True,
    squared_error: npt.ArrayLike | None = None,
    alone: bool = False,
    likelihood: npt.ArrayLike | None = None,
    classes: int | None = None,
    nats: npt.ArrayLike | None = None,
    stated: bool = True,
    prior_mean: npt.ArrayLike = 0.0,
    prior_std: npt.ArrayLike = 1.0,
) -> Export:
    """An `Export` in float64, all but the first axis of data and reconstructions flattened.

    gamma: (), (n,), (n, 1), (d,) where d is not n, (1, d), or like x; of a Gaussian likelihood
    alone, which is what it says that there is where likelihood is not given. x of a categorical
    likelihood: one-hot or probabilities, classes last, as reconstructions are, or labels (n, ...)
    from 0 on. prior_mean, prior_std: (),
    (k,) or (n, k), of a prior that is not N(0, I); latents are then those of the standard one,
    (z - prior_mean) / prior_std. Raises ValueError for shapes
    that disagree, numbers that are not finite, gamma or beta <= 0, and what `data.check` refuses.
    """
    name = likelihoods.named(likelihood, gamma, x)
    if name == "categorical":
        x, classes = likelihoods.one_hot(x, reconstruction, classes)
    X = data.check(_matrix("x", x))
    n, d = X.shape
    means, deviations = _in_prior_units(*_posteriors(n, mean, log_std), prior_mean, prior_std)
    reconstructed = _like(X, "reconstruction", reconstruction)
    variance = _variance(1.0 if gamma is None or name != "gaussian" else gamma, np.shape(x), n, d)
    weight = _weight(beta)
    _require_positive(variance)
    squared = None if squared_error is None else _per_datum("squared_error", squared_error, n)
    learned = None if learned_gamma is None else _flag("learned_gamma", learned_gamma)
    sampled, prior = (
        None if array is None else _like(X, name, array)
        for name, array in (
            ("sampled_reconstruction", sampled_reconstruction),
            ("prior_reconstruction", prior_reconstruction),
        )
    )
    number = classes if name == "categorical" and classes is not None else 1
    answers = {
        "x": X,
        "reconstruction": reconstructed,
        "sampled_reconstruction": sampled,
        "prior_reconstruction": prior,
    }
    likelihoods.require_ranges(answers, name, number)
    return Export(
        x=X,
        mean=means,
        log_std=deviations,
        reconstruction=reconstructed,
        gamma=variance,
        beta=weight,
        learned_gamma=learned,
        sampled_reconstruction=sampled,
        prior_reconstruction=prior,
        affine=_flag("affine", affine),
        squared_error=squared,
        alone=alone,
        likelihood=name,
        classes=number,
        nats=None if nats is None else _per_datum("nats", nats, n),
        stated=stated and likelihood is not None,
    )


def _require_positive(variance: np.ndarray) -> None:
    number("gamma", variance.max(), most=LARGEST**2)
    if variance.min() > 0:
        number("gamma", variance.min(), least=LARGEST**-2, most=LARGEST**2)
    if not (variance > 0).all():
        raise ValueError(
            f"expected gamma > 0, got {variance.min():g}; give the decoder's variance, not its "
            "logarithm"
        )


def load(path: str | os.PathLike) -> Export:
    """Read an .npz with the REQUIRED arrays and any of the OPTIONAL and PRIOR ones; others are
    passed over and nothing is unpickled.

    Raises ValueError for other files and for what `check` refuses, FileNotFoundError where there is
    none.
    """
    _require_file(path)
    with located(path), reading("an export", "save it again; see docs/diagnose.md"):
        return check(**_read(path))


def _require_file(path: str | os.PathLike) -> None:
    if os.path.isdir(path):
        raise ValueError(
            f"expected {WANTED}, got the folder {os.fspath(path)!r}; name a file in it"
        )
    if not os.path.exists(path):
        raise FileNotFoundError(
            f"expected {WANTED}, got {os.fspath(path)!r} where no file is; correct the path"
        )


def _read(path: str | os.PathLike) -> dict[str, Any]:
    """Arguments of `check` by name, as a file has them."""
    try:
        arrays = data.named(Path(path))
    except ValueError as error:
        raise ValueError(f"{error}; see docs/diagnose.md") from error
    # Where gamma alone is missing, `check` says what is asked for.
    missing = [name for name in REQUIRED[:-1] if name not in arrays]
    if missing:
        raise ValueError(
            f"expected {WANTED}, got a file that lacks {', '.join(missing)} and holds "
            f"{_contents(list(arrays))}; {_remedy(missing, list(arrays))}see docs/diagnose.md"
        )
    _require_no_near_miss(list(arrays))
    known = {name: arrays[name] for name in KEYS if name in arrays}
    for name, array in known.items():
        if isinstance(array, ValueError):
            raise ValueError(f"array {name!r}: {array}") from array
    return known


def _require_no_near_miss(names: list[str]) -> None:
    """Refuse a name that is one of ours, misspelt, where that one is not there: passed over, it
    would change the answer without a word.
    """
    lacking = [key for key in KEYS if key not in names]
    for name in names:
        if name in KEYS:
            continue
        near = difflib.get_close_matches(name.casefold().strip(), lacking, 1, NEAR)
        if near:
            raise ValueError(
                f"expected {near[0]} or no such array, got {name!r}; rename it, or drop it "
                f"if it is something else"
            )


def _remedy(missing: list[str], names: list[str]) -> str:
    """How to make what is missing of what is there under another name."""
    kin = [(KIN[name], name) for name in names if name in KIN and KIN[name][0] in missing]
    made = [f"{ours}={recipe.format(name)}" for (ours, recipe), name in kin]
    return f"save {', '.join(made)}; " if made else ""


def _contents(names: list[str]) -> str:
    """What a file holds instead of an export."""
    if not names:
        return "nothing"
    if any(name.endswith(WEIGHTS) for name in names):
        return f"weights of a network ({names[0]}, ...), not what it answers to data"
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _posteriors(
    n: int, mean: npt.ArrayLike, log_std: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Means and log deviations, (n, k) both."""
    means, deviations = _matrix("mean", mean), _matrix("log_std", log_std)
    for name, a in (("mean", means), ("log_std", deviations)):
        if a.shape != (n, means.shape[1]) or not a.size:
            raise ValueError(
                f"expected {name} of shape ({n}, latents) as x and mean have it, got {a.shape}; "
                f"give a row per datum"
            )
    if np.abs(deviations).max() > LARGEST_LOG_STD:
        raise ValueError(
            f"expected |log_std| <= {LARGEST_LOG_STD}, got {np.abs(deviations).max():g}; give the "
            f"logarithm of the deviation"
        )
    return means, deviations


def _in_prior_units(
    mean: np.ndarray, log_std: np.ndarray, prior_mean: npt.ArrayLike, prior_std: npt.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Posteriors (n, k) of (z - prior_mean) / prior_std, whose prior is N(0, I)."""
    center = _of_latents("prior_mean", prior_mean, mean.shape)
    scale = _of_latents("prior_std", prior_std, mean.shape)
    if not (scale > 0).all():
        raise ValueError(
            f"expected prior_std > 0, got {scale.min():g}; give the prior's standard deviations, "
            "not their logarithms"
        )
    return (mean - center) / scale, log_std - np.log(scale)


def _of_latents(name: str, value: npt.ArrayLike, shape: tuple[int, ...]) -> np.ndarray:
    """One number, or one per latent, or one per datum and latent: like the posteriors (n, k)."""
    numbers = _finite(name, value)
    if numbers.size == 1:
        numbers = numbers.reshape(())
    elif numbers.shape not in (shape, shape[1:], (1, shape[1])):
        raise ValueError(
            f"expected {name} of shape (), {shape[1:]} or {shape}, got {numbers.shape}; give one "
            "number per latent, or one per datum and latent"
        )
    return np.broadcast_to(numbers, shape)


def _weight(beta: npt.ArrayLike) -> float:
    weight = _finite("beta", beta)
    if weight.size != 1 or not weight.item() > 0:
        got = f"{weight.item():g}" if weight.size == 1 else f"an array of shape {weight.shape}"
        raise ValueError(f"expected one number beta > 0, got {got}; give the weight of the KL part")
    number("beta", weight.item(), least=LARGEST**-2, most=LARGEST**2)
    return weight.item()


def _per_datum(name: str, value: npt.ArrayLike, n: int) -> np.ndarray:
    """Numbers (n,)."""
    numbers = _finite(name, value)
    if numbers.shape != (n,):
        raise ValueError(
            f"expected {name} of shape ({n},), got {numbers.shape}; give one number per datum"
        )
    return numbers


def _finite(name: str, value: Any) -> np.ndarray:
    a = data.reals(value, name)
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
            f"expected {name} with one row per datum, got shape {a.shape}; give it two axes or "
            "more, (n, 1) where a datum has one number"
        )
    if not a.size:
        raise ValueError(f"expected {name} with data in it, got shape {a.shape}; export some")
    if a.size and np.abs(a).max() > LARGEST:
        raise ValueError(
            f"expected {name} of at most {LARGEST:g} in size, got {np.abs(a).max():g}; give it in "
            f"other units"
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


def _variance(value: npt.ArrayLike, shape: tuple[int, ...], n: int, d: int) -> np.ndarray:
    """gamma, () or (n, d), of data that came as `shape`: () where all are one number."""
    gamma = _finite("gamma", value)
    if gamma.size == 1:
        return gamma.reshape(())
    if gamma.shape == (n,) and n in (d, shape[-1]) and np.ptp(gamma) > ONE_VARIANCE * gamma.max():
        raise ValueError(
            f"expected gamma per datum or per feature, got shape {gamma.shape} that may be either, "
            f"for x has shape {shape}; give it as ({n}, 1) or (1, {d})"
        )
    if gamma.shape == (n,):
        gamma = gamma.reshape(n, 1)
    elif gamma.shape in ((d,), (1, d), (n, 1), (n, d)):
        gamma = gamma.reshape(-1, gamma.shape[-1])
    elif _fits(gamma.shape, shape):
        gamma = np.broadcast_to(gamma, shape).reshape(n, d)
    else:
        raise ValueError(
            f"expected gamma of shape (), ({n},), or one that broadcasts to x, {shape}, got "
            f"{gamma.shape}; give one number, one per datum ({n}, 1) or one per feature (1, {d})"
        )
    if np.ptp(gamma) <= ONE_VARIANCE * np.max(gamma):
        return gamma.ravel()[:1].reshape(())
    return np.broadcast_to(gamma, (n, d))


def _fits(shape: tuple[int, ...], whole: tuple[int, ...]) -> bool:
    """Whether an array of that shape broadcasts to the whole one."""
    try:
        return np.broadcast_shapes(shape, whole) == whole
    except ValueError:
        return False


def _flag(name: str, value: Any) -> bool:
    a = np.asarray(value)
    if a.dtype.kind in "US":
        raise ValueError(
            f"expected {name} as true or false, got the text {str(a)!r}; give it without quotes"
        )
    if a.size != 1 or a.dtype.kind not in "biuf" or a.item() not in (0, 1):
        got = str(a.tolist()) if a.size <= 1 else f"an array of shape {a.shape}"
        raise ValueError(f"expected {name} as true or false, got {got}; give one of them")
    return bool(a.item())
