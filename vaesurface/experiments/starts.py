"""Where do random starts end, over alpha x initialization scale x seed, and gamma and beta too?

A sweep of `stationary.find`, kept in a store. `ends` says what it found, `pictures` draws it; the
CLI's `demo`, `sweep`, `slice` and `plot` are these modules.

>>> settings = {"latent": 1, "gamma": None, "beta": 1.0}
>>> problem = Sweep(ds=None, X=data.antipodal(2), settings=settings).problem(alpha=0.5)
>>> float(problem.loss(problem.collapsed()))
3.0
"""

import itertools
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vaesurface import data, optimize, stationary, store, sweep
from vaesurface.energy import VAEParams
from vaesurface.experiments import member
from vaesurface.experiments.member import PAPERS, Member
from vaesurface.problem import Problem
from vaesurface.stationary import StationaryPoint
from vaesurface.vae.amortized import AmortizedParams

__all__ = [
    "AXIS",
    "Asked",
    "Sweep",
    "asked",
    "compute",
    "has_params",
    "keeping",
    "named",
    "params",
    "parts",
    "reopen",
    "run",
    "stores",
]

SETTINGS = {"source", "rows", "latent", "gamma", "beta", "optimizer"}  # that every store has
AXIS = "axis"  # stands among a store's settings for what is one of its axes
WEIGHED = ("gamma", "beta")  # which may be settings or axes
OPTIONAL = ("log_gamma", "factor")  # parameters that not every problem has
ALL = "all"  # results, to keep
SMALL = "params_log_gamma"  # which is a number, unlike the other parameters


class Asked(NamedTuple):
    """A sweep that is asked for.

    X: (n, d), the data; None of a function that takes none.
    settings: that its store is known by.
    cell: of one scalar of each axis, what is there: a `StationaryPoint`, unless a function of the
        user's is swept (`functions`).
    axes: alpha, scale and seed; gamma and beta where there are several; or that function's.
    """

    X: Any
    settings: dict[str, Any]
    cell: partial
    axes: dict[str, np.ndarray]


class Sweep(NamedTuple):
    """What a sweep has found.

    ds: results, labelled, dims alpha, scale and seed; gamma and beta where there are several
        (`parts` takes these apart).
    X: (n, d), the data they are for.
    settings: that it ran with.
    """

    ds: Any
    X: np.ndarray
    settings: dict[str, Any]

    def problem(self, alpha: float) -> Problem:
        """The loss surface at one alpha."""
        s = self.settings
        return self.member.problem(self.X, s["latent"], alpha, s["gamma"], s["beta"])

    @property
    def member(self) -> Member:
        """Of the family of VAEs."""
        return member.of_settings(self.settings)


def run(
    X: np.ndarray,
    latent: int,
    gamma: float | None,
    beta: float,
    make_optimizer: Callable[[], optimize.Optimizer],
    alpha: Any,
    scale: Any,
    seed: Any,
    of: Member = PAPERS,
) -> StationaryPoint:
    """The stationary point that one random start leads to, one cell of a sweep; of: a member of the
    family.

    The same seed is the same start at every alpha, up to scale.
    """
    problem = of.problem(X, latent, alpha, gamma, beta)
    return stationary.find(problem, jax.random.key(seed), scale, make_optimizer())


def asked(
    X: np.ndarray,
    source: str,
    latent: int,
    *,
    alpha: Sequence[float],
    scale: Sequence[float],
    seeds: int | Sequence[int],
    gamma: float | Sequence[float] | None = None,
    beta: float | Sequence[float] = 1.0,
    make_optimizer: Callable[[], optimize.Optimizer] = optimize.adam,
    of: Member = PAPERS,
) -> Asked:
    """A sweep over alpha, scale and seeds; of: a member of the family.

    source: where X comes from, a name or a path. seeds: which, or how many of the first. gamma,
    beta: several of them are an axis, one is a setting. Raises ValueError for settings that make no
    problem, before anything is computed.
    """
    seed = np.arange(seeds) if isinstance(seeds, int) else np.asarray(seeds)
    if not len(seed):
        raise ValueError("expected at least one seed, got none; choose --seeds 1 or more")
    if not all(s >= 0 for s in scale):
        raise ValueError(f"expected scales >= 0, got {min(scale)}; choose other scales")
    weighed: dict[str, Any] = {"gamma": gamma, "beta": beta}
    several = {name: values for name, values in weighed.items() if np.ndim(values)}
    axes: dict[str, Any] = {"alpha": alpha, "scale": scale, **several, "seed": seed}
    axes = {name: axis.values for name, axis in store.canonical(axes).items()}
    fixed = {name: value for name, value in weighed.items() if name not in several}
    for alpha_, gamma_, beta_ in itertools.product(
        _ends(alpha), *(_ends(np.atleast_1d(value)) for value in weighed.values())
    ):
        of.problem(X, latent, alpha_, gamma_, beta_)  # refuses what makes no problem
    settings = {
        "source": source,
        "rows": len(X),
        "latent": latent,
        **{name: fixed.get(name, AXIS) for name in weighed},
        "optimizer": make_optimizer().name,
        **of.settings,  # nothing of the paper's, as in stores of earlier versions
    }
    cell = partial(run, X, latent, make_optimizer=make_optimizer, of=of, **fixed)
    return Asked(X, settings, cell, axes)


def _ends(values: Any) -> set[Any]:
    """The smallest and the largest."""
    return {min(values), max(values)}


def compute(
    what: Asked,
    out: Path,
    *,
    executor: Any = None,
    progress: Any = None,
    keep: Collection[str] | None = None,
    shard: tuple[int, int] = (1, 1),
    batch_size: int | None = None,
    features: Sequence[str] | None = None,
) -> Sweep:
    """The sweep, of which a store at `out` keeps what has run; with a shard, cells are missing
    until all shards are done.

    executor: as for `sweep.fill`; None: threads on all cores that this process may use. keep: names
    of parameters, whose arrays are kept besides the verdicts, or "all"; None as for `sweep.fill`.
    features: what the data's columns are called. Raises ValueError for a store of another sweep.
    """
    keep = keeping(what, keep)
    results = store.create(out, what.X, **what.settings)
    with suppress(OSError):  # one that is finished may be read-only
        results.name(feature=features)
    axes: dict[str, Any] = dict(what.axes)
    sweep.fill(
        what.cell,
        store=results,
        executor=executor or sweep.threads,
        progress=progress,
        keep=keep,
        shard=shard,
        batch_size=batch_size,
        **axes,
    )
    ds = store.open(out, StationaryPoint)
    ds = ds.sel({name: np.sort(values) for name, values in what.axes.items()})
    return Sweep(_described(ds, what.settings), what.X, what.settings)


def keeping(what: Asked, chosen: Collection[str] | None) -> list[str] | None:
    """Names of the results that are kept: the verdicts, and the chosen parameters."""
    if chosen is None:
        return None
    cell = {name: jax.ShapeDtypeStruct((), v.dtype) for name, v in what.axes.items()}
    names = list(store.named(jax.eval_shape(what.cell, **cell), what.axes))
    if unknown := sorted(set(chosen) - {*names, ALL}):
        raise ValueError(
            f"expected results out of {', '.join([ALL, *names])}, got {', '.join(unknown)}; "
            f"choose some with --keep"
        )
    verdicts = [name for name in names if not name.startswith("params_") or name == SMALL]
    return [name for name in names if name in verdicts or name in chosen or ALL in chosen]


def reopen(path: Path, source: str | None = None) -> Sweep:
    """A sweep from its store.

    source: where its data are now, by default where they were. Raises ValueError where they are
    other data, and for the store of something else; for a directory of several, naming them.
    """
    if (names := list(stores(path))) and names != [""]:
        raise ValueError(
            f"expected the store of one sweep, got {path} with {', '.join(names)} in it; name one "
            f"of them"
        )
    ds = store.open(path, StationaryPoint)
    settings = json.loads(ds.attrs["config"])
    if missing := SETTINGS - settings.keys():
        raise ValueError(
            f"expected a store of `vaesurface sweep` without --function, got one without "
            f"{min(missing)}; read it with store.open"
        )
    if not ds.computed.any():
        raise ValueError(
            f"expected a store with results, got {path} without; let the sweep finish its first "
            f"chunk"
        )
    X = data.load(source or settings["source"])[: settings["rows"]]
    if data.digest(X) != ds.attrs["data"]:
        raise ValueError(
            f"expected the data {path} was made from, got others; name them with --data"
        )
    return Sweep(_described(ds, settings), X, settings)


def stores(path: Path) -> dict[str, Path]:
    """The stores of sweeps that have results in a directory, by their names in it; the directory
    itself, if it is a store, is "".
    """
    if store.is_store(path):
        return {"": path}
    folders = path.iterdir() if path.is_dir() else ()
    found = [folder for folder in folders if folder.is_dir() and _has_results(folder)]
    return {folder.name: folder for folder in sorted(found, key=_by_values)}


def _has_results(folder: Path) -> bool:
    there = any(folder.glob("chunks/*.npz"))
    return there and SETTINGS <= store.record.read(folder)["config"].keys()


def _by_values(folder: Path) -> list[tuple[str, float, str]]:
    """Names like latent=10 after latent=2."""
    parts = [part.partition("=") for part in folder.name.split(",")]
    return [(name, float(v) if v.isdecimal() else 0.0, v) for name, _, v in parts]


def parts(swept: Sweep) -> dict[str, Sweep]:
    """Sweeps over alpha, scale and seed alone, by name: one for each gamma and beta that has cells;
    the name of the only one is "".
    """
    axes = [name for name in WEIGHED if name in swept.ds.dims]
    found = {}
    for values in itertools.product(*(swept.ds[name].values.tolist() for name in axes)):
        chosen = dict(zip(axes, values, strict=True))
        ds = swept.ds.sel(chosen).drop_vars(axes)
        if ds.computed.any():
            settings = swept.settings | chosen
            found[named(**chosen)] = Sweep(_described(ds, settings), swept.X, settings)
    return found


def named(**values: float) -> str:
    """A name of some settings, for files too.

    >>> named(latent=2, gamma=0.1)
    'latent=2,gamma=0.1'
    """
    shown = {name: f"{v:g}" if float(f"{v:g}") == v else repr(v) for name, v in values.items()}
    return ",".join(f"{name}={value}" for name, value in shown.items())


def has_params(ds: Any) -> bool:
    """Whether a dataset has all parameters of its cells."""
    needed = [name for name in _kind(ds)._fields if name not in OPTIONAL]
    return all(f"params_{name}" in ds for name in needed)


def _kind(ds: Any) -> Any:
    """Of which type a dataset's parameters are."""
    return AmortizedParams if "params_encoder" in ds else VAEParams


def params(ds: Any) -> VAEParams | AmortizedParams:
    """Parameters of a dataset's cells, leading axes first. Raises ValueError where they are not
    kept.
    """
    if not has_params(ds):
        raise ValueError(
            "expected a sweep that kept its parameters, got one without; sweep into another --out "
            "with --keep all"
        )
    fields: dict[str, Any] = {
        name: ds[f"params_{name}"].values if f"params_{name}" in ds else None
        for name in _kind(ds)._fields
    }
    return _kind(ds)(**fields)


def _described(ds: Any, settings: dict[str, Any]) -> Any:
    """With attributes that say, in words, what the results are of."""
    name = Path(str(settings["source"])).name
    about = f"{name}, n = {settings['rows']}, {settings['latent']} latents"
    if words := member.of_settings(settings).words:
        about += f", {words}"
    if settings["gamma"] not in (None, AXIS):
        about += f", γ = {settings['gamma']:g}"
    if settings["beta"] not in (1, AXIS):
        about += f", β = {settings['beta']:g}"
    digest = ds.attrs.get("digest", ds.attrs["data"])
    return ds.assign_attrs(optimizer=settings["optimizer"], data=about, digest=digest)
