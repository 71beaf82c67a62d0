"""How do the results of a sweep outlive their process?

A store is a directory: `store.json` says what the sweep is, `plans/` which cells were asked for,
`chunks/` holds what was computed, `claims/` who is at what, `failures/` what could not be computed,
`payload/` the data that workers need. Cells are known by the values of their axes, not by position,
so sweeps over different grids add up.

>>> import tempfile
>>> from vaesurface.store.names import canonical, columns
>>> with tempfile.TemporaryDirectory() as place:
...     made = create(place, data.antipodal(), latent=1)
...     axes = canonical({"alpha": [0.0, 0.5, 1.0]})
...     made.recall(axes, columns(axes), {"loss": np.empty(3)})
array([0, 1, 2])
"""

import math
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import data, provenance
from vaesurface.store import chunks, record
from vaesurface.store.chunks import Contents
from vaesurface.store.driver import Driver
from vaesurface.store.names import Axis, Columns, complaint, named
from vaesurface.store.plans import Plan

__all__ = ["Store", "create", "is_store", "kept", "words"]


class Store(NamedTuple):
    """A directory of results, made by `create`.

    Any number of processes may read and write it at once.

    path: the directory.
    """

    path: Path

    @property
    def payload(self) -> Path:
        """Where workers find the data that they need."""
        return self.path / "payload"

    def recall(self, axes: Mapping[str, Axis], cells: Columns, results: Any) -> np.ndarray:
        """Which cells are missing, by index; the others' results are filled in.

        axes and cells: of the grid. results: a tree of NumPy arrays, leading axis: cells. Raises
        ValueError where the store is of another sweep, where names clash, and for damaged files,
        naming them.
        """
        leaves, missing = named(results, axes), np.ones(len(next(iter(cells.values()))), bool)
        with self.drive(Plan(dict(axes), size=1), jax.tree.map(_at_one_cell, results)) as driver:
            for rows, inside, chunk in driver.news():
                for name, column in leaves.items():
                    column[rows] = chunk.leaf(name)[inside]
                missing[rows] = False
        return np.flatnonzero(missing)

    def add(self, cells: Columns, results: Any) -> None:
        """Keep cells and their results, a tree of NumPy arrays like `recall`'s, as one chunk."""
        made = {"software": provenance.software(), "seconds": 0.0, "by": provenance.worker()}
        leaves = named(results, cells)
        contents = Contents(cells, leaves, words(type(results), leaves))
        chunks.write(self.path / "chunks", contents, record.sweep(record.read(self.path)), made)

    def name(self, **names: Sequence[str] | None) -> None:
        """What entries along dimensions are called, such as feature=data.names("my.csv"), for
        `open`; None leaves a dimension without. No part of what a sweep is known by.
        """
        told = {dimension: list(map(str, words)) for dimension, words in names.items() if words}
        there = record.read(self.path)
        if told and there.get("names") != told:
            with record.locked(self.path):
                record.write(self.path, record.read(self.path) | {"names": told})

    def drive(self, plan: Plan, one: Any, keep: Collection[str] | None = None) -> Driver:
        """One that fills a plan's cells, a context manager.

        one: shapes and dtypes of the results at one cell, as a tree. keep: names of the results
        that are kept; None keeps all. Raises ValueError where the store is of another sweep.
        """
        leaves = named(one, plan.axes)
        sweep = {
            "axes": {name: axis.kind for name, axis in plan.axes.items()},
            "leaves": {
                name: [list(leaf.shape), str(leaf.dtype)]
                for name, leaf in leaves.items()
                if keep is None or name in keep
            },
        }
        settled = record.read(self.path)
        if settled["axes"] is None:
            with record.locked(self.path):
                settled = record.read(self.path)
                if settled["axes"] is None:
                    settled |= sweep
                    record.write(self.path, settled)
        record.require_same(self.path, settled, sweep)
        return Driver(self.path, settled, plan)


def create(path: str | os.PathLike, X: Any = None, **config: Any) -> Store:
    """The store at `path`, made where there is none, its store.json made again from the chunks
    where that is gone or damaged.

    X: the data, known by digest. config: all else that the results depend on. Other versions of
    the software, or another device, are noted with each chunk and no reason to refuse. Raises
    ValueError where config holds anything but strings, finite numbers, booleans and None, where
    path is something else, and where its store has another config, data or dtype; then nothing is
    written.
    """
    path = Path(path).expanduser()
    sweep = {
        "config": _scalars(config),
        "data": None if X is None else data.digest(X),
        "dtype": str(jnp.result_type(float)),
    }
    _require_place(path)
    if not is_store(path):
        path.mkdir(parents=True, exist_ok=True)
        with record.locked(path):
            if not is_store(path):
                empty: dict[str, Any] = {"software": [], "axes": None, "leaves": None}
                record.write(path, {"format": record.FORMAT, **sweep, **empty})
    there = record.read(path)
    record.require_same(path, there, sweep)
    if not record.whole(path):
        record.write(path, there)
    return Store(path)


def kept(path: str | os.PathLike) -> list[str] | None:
    """Names of the results that the store at `path` keeps; None where that is not settled."""
    path = Path(path).expanduser()
    leaves = record.read(path)["leaves"] if is_store(path) else None
    return None if leaves is None else list(leaves)


def words(result: type | None, leaves: Mapping[str, Any]) -> np.ndarray | None:
    """The results in words (cells,), if their type has a class method `words(leaves)`; else None.

    That one returns an array of strings, or None where the leaves do not tell.
    """
    read_words = getattr(result, "words", None)
    return read_words(leaves) if callable(read_words) else None


def _at_one_cell(leaf: np.ndarray) -> Any:
    return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype)


def _scalars(config: Mapping[str, Any]) -> dict[str, Any]:
    """A store's config as JSON holds it; ValueError for what it cannot hold."""
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in config.items()}
    for name, value in plain.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        if not (isinstance(value, str | int | float | None) and finite):
            remedy = "pass a name or a finite number that stands for it"
            raise complaint(f"a JSON scalar for {name}", f"{value!r}", remedy)
    return plain


def is_store(path: Path) -> bool:
    """Whether there is one, or what is left of one."""
    return (path / "store.json").exists() or any(path.glob("chunks/*.npz"))


def _require_place(path: Path) -> None:
    """Refuse to make a store of a file, or of a directory that holds something else."""
    if path.exists() and not path.is_dir():
        raise complaint("a directory for the store", f"the file {path}", "name another place")
    if path.is_dir() and not is_store(path):
        others = [entry.name for entry in path.iterdir() if not entry.name.startswith(".store")]
        if others and not is_store(path):  # which another process may have made in between
            got = f"{path} with {min(others)}"
            raise complaint("a store or an empty directory", got, "name another one")
