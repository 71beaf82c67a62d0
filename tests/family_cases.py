"""Random members of the family at collapse, and what their index is by definition."""

from typing import Any, NamedTuple

import numpy as np

from vaesurface import vae

__all__ = ["LIKELIHOODS", "Case", "cases", "draw", "settings"]

LIKELIHOODS = (
    "gaussian",
    "gaussian learned",
    "gaussian per feature",
    "gaussian per feature learned",
    "bernoulli",
    "poisson",
    "negative binomial",
    "categorical",
)
N, D, CLASSES = 9, 3, 3
APART = 1.02  # what beta is away from the nearest ratio, at least


class Case(NamedTuple):
    """A member at random data.

    problem: it.
    ratios: of its data, beta at which a direction turns, descending.
    latent: k.
    """

    problem: Any
    ratios: np.ndarray
    latent: int

    @property
    def index(self) -> int:
        """Negative eigenvalues at the collapsed point of a decoder that is smooth there."""
        return self.latent * int(np.sum(self.ratios > float(self.problem.beta)))


def draw(likelihood: str, rng: np.random.Generator) -> np.ndarray:
    """Data that the likelihood is of."""
    scores = rng.normal(size=(N, 1)) * rng.normal(size=D) + 0.5 * rng.normal(size=(N, D))
    if likelihood == "bernoulli":
        X = (rng.random((N, D)) < 1 / (1 + np.exp(-2 * scores))).astype(float)
        X[0], X[1] = 0.0, 1.0  # no pixel is constant
        return X
    if likelihood in ("poisson", "negative binomial"):
        return rng.poisson(np.exp(0.5 + scores)) + np.eye(N, D)
    if likelihood == "categorical":
        X = np.eye(CLASSES)[rng.integers(CLASSES, size=N)]
        X[:CLASSES] = np.eye(CLASSES)
        return X
    return scores * rng.uniform(0.3, 3.0)


def settings(likelihood: str, rng: np.random.Generator) -> dict[str, Any]:
    """What the door asks for besides."""
    if likelihood == "gaussian per feature":
        return {"gamma": rng.uniform(0.3, 3.0, D)}
    if likelihood == "gaussian":
        return {"gamma": rng.uniform(0.3, 3.0)}
    return {"dispersion": rng.uniform(0.5, 5.0)} if likelihood == "negative binomial" else {}


def cases(activation: Any, likelihood: str, alpha: Any, latent: int, seed: int) -> Case:
    """One of them; beta is away from all ratios."""
    rng = np.random.default_rng(seed)
    X, options = draw(likelihood, rng), settings(likelihood, rng)
    ratios = _ratios(X, likelihood, options)
    turns = np.append(ratios[ratios > 1e-9 * ratios[0]], 1e-2 * ratios[0])
    ends = [turns[0] * 3.0, *turns]
    between = rng.integers(len(ends) - 1)
    high, low = ends[between], ends[between + 1]
    beta = np.exp(rng.uniform(np.log(low * APART), np.log(max(high / APART, low * APART))))
    problem = vae.elementwise_vae(
        X, latent, activation, alpha, likelihood.removesuffix(" learned"), beta=beta, **options
    )
    return Case(problem=problem, ratios=ratios, latent=latent)


def _ratios(X: np.ndarray, likelihood: str, options: dict[str, Any]) -> np.ndarray:
    """Eigenvalues of D^(-1/2) S D^(-1/2), from what likelihoods are."""
    mean = X.mean(axis=0)
    left = X - mean
    covariance = left.T @ left / len(X)
    if likelihood == "categorical":
        values, vectors = np.linalg.eigh(np.diag(mean) - np.outer(mean, mean))
        root = vectors[:, 1:] / np.sqrt(values[1:])
        return np.linalg.eigvalsh(root.T @ covariance @ root)[::-1]
    variance = {
        "gaussian": options.get("gamma", 1.0) * np.ones(D),
        "gaussian learned": (left**2).mean() * np.ones(D),
        "gaussian per feature": options.get("gamma", 1.0) * np.ones(D),
        "gaussian per feature learned": (left**2).mean(axis=0),
        "bernoulli": mean * (1 - mean),
        "poisson": mean,
        "negative binomial": mean + mean**2 / options.get("dispersion", 1.0),
    }[likelihood]
    return np.linalg.eigvalsh(covariance / np.sqrt(np.outer(variance, variance)))[::-1]
