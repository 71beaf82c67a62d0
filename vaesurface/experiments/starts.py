"""Where do random starts end, over alpha x initialization scale x seed?

A sweep of `stationary.find`, kept in a store. `ends` says what it found, `pictures` draws it; the
CLI's `demo`, `sweep`, `slice` and `plot` are these modules.

>>> settings = {"latent": 1, "gamma": None, "beta": 1.0}
>>> problem = Sweep(ds=None, X=data.antipodal(2), settings=settings).problem(alpha=0.5)
>>> float(problem.loss(problem.collapsed()))
3.0
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vaesurface import data, optimize, stationary, store, sweep, vae
from vaesurface.energy import VAEParams
from vaesurface.problem import Problem
from vaesurface.stationary import StationaryPoint

__all__ = ["Sweep", "compute", "params", "reopen", "run"]

SETTINGS = {"source", "rows", "latent", "gamma", "beta", "optimizer"}  # that every store has


class Sweep(NamedTuple):
    """A finished sweep.

    ds: results, labelled, dims alpha, scale and seed.
    X: (n, d), the data they are for.
    settings: that it ran with.
    """

    ds: Any
    X: np.ndarray
    settings: dict[str, Any]

    def problem(self, alpha: float) -> Problem:
        """The loss surface at one alpha."""
        s = self.settings
        return vae.threshold_vae(self.X, s["latent"], alpha, s["gamma"], s["beta"])


def run(
    X: np.ndarray,
    latent: int,
    gamma: float | None,
    beta: float,
    make_optimizer: Callable[[], optimize.Optimizer],
    alpha: Any,
    scale: Any,
    seed: Any,
) -> StationaryPoint:
    """The stationary point that one random start leads to, one cell of a sweep.

    The same seed is the same start at every alpha, up to scale.
    """
    problem = vae.threshold_vae(X, latent, alpha, gamma, beta)
    return stationary.find(problem, jax.random.key(seed), scale, make_optimizer())


def compute(
    X: np.ndarray,
    source: str,
    latent: int,
    out: Path,
    *,
    alpha: Sequence[float],
    scale: Sequence[float],
    seeds: int,
    gamma: float | None = None,
    beta: float = 1.0,
    make_optimizer: Callable[[], optimize.Optimizer] = optimize.adam,
    executor: Any = None,
    progress: Any = None,
) -> Sweep:
    """The sweep, of which a store at `out` keeps what has run.

    executor: as for `sweep.fill`; None: threads on all cores that this process may use.

    source: where X comes from, a name or a path. Raises ValueError for settings that make no
    problem and for a store of another sweep.
    """
    for extreme in (min(alpha, default=0.0), max(alpha, default=0.0)):
        vae.threshold_vae(X, latent, extreme, gamma, beta)  # refuses what makes no problem at once
    if not all(s >= 0 for s in scale):
        raise ValueError(f"expected scales >= 0, got {min(scale)}; choose other scales")
    if seeds < 1:
        raise ValueError(f"expected at least one seed, got {seeds}; choose --seeds 1 or more")
    store.canonical({"alpha": alpha, "scale": scale})
    settings = {
        "source": source,
        "rows": len(X),
        "latent": latent,
        "gamma": gamma,
        "beta": beta,
        "optimizer": make_optimizer().name,
    }
    axes: dict[str, Any] = {"alpha": alpha, "scale": scale, "seed": np.arange(seeds)}
    results = store.create(out, X, **settings)
    cell = partial(run, X, latent, gamma, beta, make_optimizer)
    sweep.fill(cell, executor=executor or sweep.threads, store=results, progress=progress, **axes)
    ds = store.open(out, StationaryPoint)
    ds = ds.sel(alpha=sorted(alpha), scale=sorted(scale), seed=np.arange(seeds))
    return Sweep(_described(ds, settings), X, settings)


def reopen(path: Path, source: str | None = None) -> Sweep:
    """A sweep from its store.

    source: where its data are now, by default where they were. Raises ValueError where they are
    other data, and for the store of something else.
    """
    ds = store.open(path, StationaryPoint)
    settings = json.loads(ds.attrs["config"])
    if missing := SETTINGS - settings.keys():
        raise ValueError(
            f"expected a store of `vaesurface sweep`, got one without {min(missing)}; name "
            f"another one"
        )
    X = data.load(source or settings["source"])[: settings["rows"]]
    if data.digest(X) != ds.attrs["data"]:
        raise ValueError(
            f"expected the data {path} was made from, got others; name them with --data"
        )
    return Sweep(_described(ds, settings), X, settings)


def params(ds: Any) -> VAEParams:
    """Parameters of a dataset's cells, leading axes first."""
    fields: dict[str, Any] = {
        name: ds[f"params_{name}"].values if f"params_{name}" in ds else None
        for name in VAEParams._fields
    }
    return VAEParams(**fields)


def _described(ds: Any, settings: dict[str, Any]) -> Any:
    """With attributes that say, in words, what the results are of."""
    name = Path(str(settings["source"])).name
    about = f"{name}, n = {settings['rows']}, {settings['latent']} latents"
    if settings["gamma"] is not None:
        about += f", γ = {settings['gamma']:g}"
    if settings["beta"] != 1:
        about += f", β = {settings['beta']:g}"
    return ds.assign_attrs(optimizer=settings["optimizer"], data=about, digest=ds.attrs["data"])
