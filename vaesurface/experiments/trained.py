"""How are networks trained over depth, seed after seed, and kept? What `fig1`, `fig2` and
`warm_start` share.

A `Plan` says what is trained; every run is kept in `out/runs`, so that an interrupted study goes on
and more seeds add to it.

>>> lower(np.array([1.0, 1.1, 1.2]), np.array([2.0, 2.1, 2.2]))
True
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import mannwhitneyu

from vaesurface import data, store, sweep
from vaesurface.experiments.awake import Bar
from vaesurface.vae import architecture, train
from vaesurface.vae.architecture import Architecture
from vaesurface.vae.train import Trained

__all__ = [
    "Plan",
    "autoencoder",
    "best_constant",
    "convolutional",
    "finite",
    "fully_connected",
    "kept",
    "lower",
    "names",
    "near_prior",
    "options",
    "over_depth",
    "residual",
    "runs",
    "vae",
]

# of the one-sided test that errors differ: three seeds against three reach just 1/20
LEVEL = 0.05 * (1 + 1e-9)
RECORD = 50  # points of a run's history
PRIOR = 0.9  # standard deviations above it are said to be near the prior's


class Plan(NamedTuple):
    """What is trained, and for how long.

    networks: (X, latent, depth) -> architecture.
    depths: what depth may be.
    sources: data sets.
    limit: rows of each that are used, the first; None: all.
    latent: dimensions.
    steps, batch, learning_rate: of Adam.
    scale: of the last layers at the start: from He's full one the first reconstructions are so far
        off that a learned gamma grows, and collapse follows at any depth.
    executor: who trains, as for `sweep.grid`.
    """

    networks: Callable[[np.ndarray, int, Any], Architecture]
    depths: Sequence[Any]
    sources: Sequence[str]
    limit: int | None
    latent: int
    steps: int
    batch: int
    learning_rate: float = 1e-3
    scale: float = 0.1
    executor: Any = sweep.threads

    @property
    def training(self) -> str:
        """How networks are trained, in words."""
        return f"Adam, {self.steps} steps, batch {self.batch}, rate {self.learning_rate:g}"

    def settings(self, seeds: int) -> dict[str, Any]:
        """As a study lists them."""
        return {
            "data": ", ".join(names(self)),
            "rows": "all" if self.limit is None else f"the first {self.limit}",
            "latents": self.latent,
            "training": self.training,
            "seeds": seeds,
            "start": f"He's, last layers times {self.scale:g}",
        }


def fully_connected(X: np.ndarray, latent: int, depth: int, width: int) -> Architecture:
    """Networks of `depth` hidden layers."""
    return architecture.mlp(X.shape[1], latent, depth=depth, width=width)


def convolutional(
    X: np.ndarray, latent: int, depth: int, scales: int, channels: int, growth: int
) -> Architecture:
    """Networks of `depth` layers per scale."""
    return architecture.conv(
        data.shape(X), latent, convs=depth, scales=scales, channels=channels, growth=growth
    )


def residual(
    X: np.ndarray, latent: int, depth: tuple[int, int], scales: int, channels: int, growth: int
) -> Architecture:
    """Networks of depth[0] blocks per scale, each of depth[1] layers."""
    blocks, convs = depth
    return architecture.resnet(
        data.shape(X),
        latent,
        blocks=blocks,
        convs=convs,
        scales=scales,
        channels=channels,
        growth=growth,
    )


def options(plan: Plan) -> dict[str, Any]:
    """Of training, the same for all kinds."""
    own = {name: getattr(plan, name) for name in ("steps", "batch", "learning_rate", "scale")}
    return own | {"record": min(RECORD, plan.steps)}


def vae(X: jax.Array, networks: Architecture, plan: Plan, seed: Any) -> Trained:
    """One trained VAE; gamma is learned."""
    return kept(train.train(X, networks, jax.random.key(seed), **options(plan)))


def autoencoder(X: jax.Array, networks: Architecture, plan: Plan, seed: Any) -> Trained:
    """The autoencoder of the same networks, from the same start, on the same batches."""
    return kept(train.train_autoencoder(X, networks, jax.random.key(seed), **options(plan)))


def kept(trained: Trained) -> Trained:
    """What figures need: all but the parameters."""
    return trained._replace(params=None)


def runs(
    kind: Callable[..., Trained],
    plan: Plan,
    X: np.ndarray,
    source: str,
    depth: Any,
    out: Path,
    **axes: Any,
) -> Trained:
    """kind(X, networks, plan, **cell) over a grid, NumPy arrays, the axes leading; what `out/runs`
    holds is not run again. On the plan's workers.
    """
    networks = plan.networks(X, plan.latent, depth)
    config = {
        "kind": kind.__name__,
        "source": source,
        "networks": networks.name,
        "latent": plan.latent,
        "steps": plan.steps,
        "batch": plan.batch,
        "learning_rate": plan.learning_rate,
        "scale": plan.scale,
        "rows": len(X),
    }
    digest = hashlib.sha256(json.dumps([config, list(axes)]).encode()).hexdigest()[:12]
    results = store.create(out / "runs" / f"{kind.__name__}-{digest}", X, **config)
    cell = partial(kind, jnp.asarray(X, jnp.float32), networks, plan)
    bar = partial(Bar, desc=f"{Path(source).name}, {networks.name}: {kind.__name__}", leave=False)
    return sweep.grid(cell, executor=plan.executor, store=results, progress=bar, **axes)


def over_depth(
    kind: Callable[..., Trained], plan: Plan, X: np.ndarray, source: str, seeds: int, out: Path
) -> Trained:
    """Runs of every depth; leading axes: depth, seed."""
    trained = [
        runs(kind, plan, X, source, depth, out, seed=np.arange(seeds)) for depth in plan.depths
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trained)


def names(plan: Plan) -> list[str]:
    """Of the data sets."""
    return [Path(source).name for source in plan.sources]


def best_constant(X: np.ndarray) -> float:
    """Error per feature of the mean of X (n, d)."""
    return float(np.mean((X - X.mean(axis=0)) ** 2))


def finite(error: Any) -> np.ndarray:
    """Errors, infinite where a run diverged."""
    error = np.asarray(error, dtype=float)
    return np.where(np.isfinite(error), error, np.inf)


def lower(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether a is lower than b by the one-sided test of Mann and Whitney (1947), exact."""
    return bool(mannwhitneyu(a, b, alternative="less", method="exact").pvalue <= LEVEL)


def near_prior(counts: Any) -> np.ndarray:
    """Share of standard deviations above 0.9, of counts (..., k, bins) in the bins
    `train.SIGMA`.
    """
    counts = np.asarray(counts)
    above = train.SIGMA[:-1] > PRIOR - 1e-9
    return counts[..., above].sum(axis=(-2, -1)) / counts.sum(axis=(-2, -1))
