"""When does a latent pay near a decoder of another likelihood than the Gaussian?

Bernoulli, Poisson and categorical decoders are natural exponential families: the decoder's output
is the natural parameter, its mean the average of the data. To second order in a column w that is
added to the natural parameter of a decoder at hand, each datum's posterior being at its best, the
energy (twice nats per datum) changes by

    w' (D - S / beta) w

with D the variance of the data under the decoder (p (1 - p), the mean, diag(p) - p p'), averaged
over data, and S the covariance of what it leaves, x - mean. So a latent pays if and only if the
leading eigenvalue of D^(-1/2) S D^(-1/2) is above beta, on the range of D. That is local: it says
whether a collapsed decoder is a saddle or a minimum, not whether another one is better.

>>> X = np.array([[1.0, 1.0], [0.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
>>> collapse_ratios(X, "bernoulli").round(6)  # both pixels as one: twice their variance
array([2., 0.])
>>> collapse_index(X, latent=3, likelihood="bernoulli", beta=1.5)
3
"""

import numpy as np

from vaesurface.refusal import shown, whole
from vaesurface.theory import doors
from vaesurface.theory.spectra import eigenvalues

__all__ = [
    "LIKELIHOODS",
    "NATURAL",
    "collapse_index",
    "collapse_ratios",
    "columns",
    "inverse_root",
    "require_range",
    "scaled",
]

NATURAL = ("bernoulli", "poisson", "categorical")
LIKELIHOODS = ("gaussian", *NATURAL)
COUNTS = ("poisson", "negative binomial")
# Variance under the decoder, relative to the largest of any coordinate, up to which a coordinate is
# constant: a pixel that is always 0, a class that does not occur.
CONSTANT = 1e-12
ROUNDING = 1e-4  # of probabilities that add up to one, in float16 or bfloat16 once
PIXEL = 255.0


def inverse_root(mean: np.ndarray, likelihood: str, classes: int = 1) -> np.ndarray:
    """Matrices R with R' D R = I on the range of D, (groups, size, size), for a decoder's means
    (n, d): a number per coordinate or, of a categorical likelihood, a matrix per group of `classes`
    coordinates. Columns beyond the range are zero.
    """
    if likelihood == "categorical":
        p = mean.reshape(len(mean), -1, classes)
        outer = np.einsum("nga,ngb->gab", p, p) / len(p)
        values, vectors = np.linalg.eigh(p.mean(axis=0)[:, :, None] * np.eye(classes) - outer)
        return vectors * _inverse_roots(values)[:, None]
    variance = mean * (1.0 - mean) if likelihood == "bernoulli" else mean
    return _inverse_roots(variance.mean(axis=0))[:, None, None]


def scaled(rows: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Rows (n, d) in units of the deviation under the decoder, x R: (n, rank of D)."""
    blocks = rows.reshape(len(rows), *root.shape[:2])
    whole = np.einsum("nga,gab->ngb", blocks, root).reshape(rows.shape)
    return whole[:, _is_in_range(root)]


def columns(directions: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Directions (k, rank of D) in those units as columns R w (d, k) of a natural parameter."""
    whole = np.zeros((len(directions), root.shape[0] * root.shape[1]))
    whole[:, _is_in_range(root)] = directions
    blocks = whole.reshape(len(whole), *root.shape[:2])
    return np.einsum("kgb,gab->kga", blocks, root).reshape(whole.shape).T


def _is_in_range(root: np.ndarray) -> np.ndarray:
    return np.any(root != 0.0, axis=1).reshape(-1)


def _inverse_roots(variances: np.ndarray) -> np.ndarray:
    """1 / sqrt, and 0 where a variance is zero."""
    present = variances > CONSTANT * variances.max()
    return np.where(present, 1.0 / np.sqrt(np.where(present, variances, 1.0)), 0.0)


def collapse_ratios(X: np.ndarray, likelihood: str, classes: int = 1) -> np.ndarray:
    """Eigenvalues (rank of D,) of D^(-1/2) S D^(-1/2) at the best constant decoder, descending: the
    beta below which a latent pays along each direction.

    Raises ValueError for data that the likelihood is not of.
    """
    X = np.asarray(doors.matrix(X), np.float64)
    if not isinstance(likelihood, str) or likelihood not in NATURAL:
        raise ValueError(
            f"expected likelihood as one of {', '.join(NATURAL)}, got {shown(likelihood)}; "
            f"choose one of them"
        )
    classes = whole("classes", classes, least=1)
    if X.shape[1] % classes:
        raise ValueError(
            f"expected features in groups of {classes} classes, got {X.shape[1]}; give every "
            f"group all classes"
        )
    require_range("X", X, likelihood, classes)
    return eigenvalues(scaled(X, inverse_root(X.mean(axis=0)[None], likelihood, classes)))


def collapse_index(
    X: np.ndarray, latent: int, likelihood: str, beta: float = 1.0, classes: int = 1
) -> int:
    """Number of negative Hessian eigenvalues, over all parameters, at the collapsed point of the
    decoder that is affine in the natural parameter: latent x #{eigenvalues above beta}.

    Raises ValueError as `collapse_ratios` does.
    """
    doors.positive("beta", beta)
    latent = whole("latents", latent, least=1)
    return latent * int(np.sum(collapse_ratios(X, likelihood, classes) > beta))


def require_range(name: str, X: np.ndarray, likelihood: str, classes: int = 1) -> None:
    """Raise ValueError, with the remedy, where X (n, d) is not what that likelihood is of.

    Bernoulli: [0, 1], grey values too, as cross entropy takes them; Poisson: 0 and above;
    categorical: probabilities over groups of `classes`, one-hot or not.
    """
    low, high = float(X.min()), float(X.max())
    if likelihood == "bernoulli" and (low < 0.0 or high > 1.0):
        raise ValueError(
            f"expected {name} in [0, 1] with likelihood='bernoulli', got numbers from {low:g} to "
            f"{high:g}; {_remedy(name, low, high)}"
        )
    if likelihood in COUNTS and low < 0.0:
        raise ValueError(
            f"expected {name} >= 0 with likelihood={likelihood!r}, got {low:g}; give "
            f"{'counts' if name == 'x' else 'rates, not their logarithms'}"
        )
    if likelihood == "categorical":
        sums = X.reshape(len(X), -1, classes).sum(axis=2)
        if low < 0.0 or np.abs(sums - 1.0).max() > ROUNDING:
            raise ValueError(
                f"expected {name} to be one-hot or probabilities over its last axis with "
                f"likelihood='categorical', got numbers from {low:g} to {high:g} with sums from "
                f"{sums.min():g} to {sums.max():g}; put classes last and give softmax(logits)"
            )


def _remedy(name: str, low: float, high: float) -> str:
    """How numbers come to lie in [0, 1]."""
    if name != "x":
        return "give probabilities, sigmoid(logits)"
    if low >= -1.0 and high <= 1.0:
        return "give x as the loss had it, (x + 1) / 2 if it was scaled to [-1, 1]"
    if low >= 0.0 and high <= PIXEL:
        return "give x as the loss had it, x / 255 for bytes"
    return "give x as the loss had it, before it was standardized, or gamma if it was squared error"
