"""What does a member of the family cost: `scripts/bench --family`?

Energy with gradient, in units of one vectorized exp per datum and coordinate.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.clock import Contender, finished, measured
from vaesurface import activations, vae

__all__ = ["main"]

N, D, LATENT = 200, 64, 8
CLASSES = 4
LIKELIHOODS = ("gaussian", "gaussian per feature", "bernoulli", "poisson", "negative binomial")
ONES = (1, 2)  # latents of a categorical likelihood, for its nodes are a power


def _data(likelihood: str) -> np.ndarray:
    noise = np.random.default_rng(0)
    if likelihood == "bernoulli":
        return (noise.random((N, D)) < 0.5).astype(float)
    if likelihood in ("poisson", "negative binomial"):
        return noise.poisson(2.0, (N, D)).astype(float)
    if likelihood == "categorical":
        return np.eye(CLASSES)[noise.integers(CLASSES, size=(N // 4, D // CLASSES))]
    return noise.normal(size=(N, D))


def _member(name: str, likelihood: str, latent: int) -> Any:
    """None where there is none."""
    options = {"dispersion": 2.0} if likelihood == "negative binomial" else {}
    alpha = 0.0 if name == "identity" else 0.3
    try:
        return vae.elementwise_vae(_data(likelihood), latent, name, alpha, likelihood, **options)
    except ValueError:
        return None


def _ratio(name: str, likelihood: str, latent: int) -> float:
    """Of energy with gradient to exp of as many numbers; NaN where there is no member."""
    problem = _member(name, likelihood, latent)
    if problem is None:
        return float("nan")
    params = problem.init(jax.random.key(0), 0.5)
    gradient = jax.jit(jax.value_and_grad(problem.loss))
    exponential = jax.jit(jnp.exp)
    row = measured(
        f"{name}, {likelihood}",
        [
            Contender("exp", lambda: finished(exponential, -problem.X)),
            Contender("member", lambda: finished(gradient, params)),
        ],
        unit="exp",
        budget=0.5,
    )
    return next(entry["ratio"][1] for entry in row["entries"] if entry["name"] == "member")


def _figures(ratio: float) -> str:
    return "–" if np.isnan(ratio) else f"{ratio:.2g}" if ratio < 100 else f"{ratio:.0f}"


def main() -> None:
    """Prints a table."""
    columns = [(likelihood, LATENT) for likelihood in LIKELIHOODS]
    columns += [("categorical", latent) for latent in ONES]
    titles = [name if name != "categorical" else f"{name}, k = {k}" for name, k in columns]
    print(f"| activation | {' | '.join(titles)} |")
    print("|---" * (1 + len(columns)) + "|")
    for name in activations.NAMED:
        ratios = [_ratio(name, likelihood, latent) for likelihood, latent in columns]
        print(f"| {name} | {' | '.join(map(_figures, ratios))} |", flush=True)


if __name__ == "__main__":
    main()
