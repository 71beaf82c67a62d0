"""How do the results of a sweep outlive their process?

A store is a directory: `store.json` says what the sweep is, `chunks/` holds one immutable file per
computed chunk. Cells are known by the values of their axes, not by position, so sweeps over
different grids add up.

>>> import tempfile
>>> from vaesurface.store.names import canonical, columns
>>> with tempfile.TemporaryDirectory() as place:
...     made = create(place, data.antipodal(), latent=1)
...     axes = canonical({"alpha": [0.0, 0.5, 1.0]})
...     made.recall(axes, columns(axes), {"loss": np.empty(3)})
array([0, 1, 2])
"""

import hashlib
import json
import math
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import vaesurface
from vaesurface import data, files
from vaesurface.store.names import Axis, Columns, complaint, identities, named

__all__ = ["FORMAT", "Contents", "Store", "create", "read", "read_record", "words"]

FORMAT = 3  # of the directory; raised by changes that older code would misread


class Store(NamedTuple):
    """A directory of results, made by `create`.

    Any number of processes may read and write it at once.

    path: the directory.
    """

    path: Path

    def recall(self, axes: Mapping[str, Axis], cells: Columns, results: Any) -> np.ndarray:
        """Which cells are missing, by index; the others' results are filled in.

        axes and cells: of the grid. results: a tree of NumPy arrays, leading axis: cells. Raises
        ValueError where the store is of another sweep, where names clash, and for damaged files,
        naming them.
        """
        leaves = named(results, axes)
        sweep = {
            "axes": {name: axis.kind for name, axis in axes.items()},
            "leaves": _layout(leaves),
        }
        with _locked(self.path):
            record = read_record(self.path)
            if record["axes"] is None:
                _write_record(self.path, record | sweep)
            else:
                _require_same(self.path, record, sweep)
        kept = read(self.path)
        row_of = {cell: row for row, cell in enumerate(identities(kept.cells))}
        rows = np.array([row_of.get(cell, -1) for cell in identities(cells)])
        for name, column in kept.leaves.items():
            leaves[name][rows >= 0] = column[rows[rows >= 0]]
        return np.flatnonzero(rows < 0)

    def add(self, cells: Columns, results: Any) -> None:
        """Keep cells and their results, a tree of NumPy arrays like `recall`'s, as one chunk."""
        leaves = named(results, cells)
        arrays = {f"axis_{name}": column for name, column in cells.items()}
        arrays |= {f"leaf_{name}": column for name, column in leaves.items()}
        if (label := words(type(results), leaves)) is not None:
            arrays["label"] = label
        chunks = self.path / "chunks"
        chunks.mkdir(exist_ok=True)
        with files.replacing(chunks / f"{_name(cells)}.npz") as new, new.open("xb") as file:
            np.savez(file, allow_pickle=False, **arrays)


class Contents(NamedTuple):
    """All that a store, or one of its chunks, holds.

    cells: of each axis its values, once per cell.
    leaves: the results by name, leading axis: cells.
    label: (cells,) the results in words; None where they have none, or some were kept without.
    """

    cells: Columns
    leaves: Columns
    label: np.ndarray | None


def create(path: str | os.PathLike, X: Any = None, **config: Any) -> Store:
    """The store at `path`, made where there is none.

    X: the data, known by digest. config: all else that the results depend on. Other versions of
    the software, or another device, are noted in store.json and no reason to refuse. Raises
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
    software = {name: version(name) for name in ("jax", "jaxlib", "numpy")}
    software |= {"vaesurface": vaesurface.__version__, "device": jax.devices()[0].device_kind}
    _require_place(path)
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        record: dict[str, Any] = {
            "format": FORMAT,
            **sweep,
            "software": [],
            "axes": None,
            "leaves": None,
        }
        if (path / "store.json").exists():
            record = read_record(path)
            _require_same(path, record, sweep)
        if software not in record["software"]:
            _write_record(path, record | {"software": [*record["software"], software]})
    return Store(path)


def read_record(path: Path) -> dict[str, Any]:
    """What store.json says. Raises ValueError where it is damaged or of another format."""
    file = path / "store.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        number = record["format"]
    except (KeyError, TypeError, ValueError) as error:
        remedy = f"restore it, or delete {path}"
        raise complaint("a whole store.json", f"{file} damaged", remedy) from error
    if number != FORMAT:
        remedy = "read it with the vaesurface that wrote it"
        raise complaint(f"format {FORMAT}", f"{number} in {file}", remedy)
    return record


def read(path: Path) -> Contents:
    """All cells computed so far, each once. Raises ValueError for a damaged chunk, naming it."""
    record = read_record(path)
    chunks = [_read_chunk(file, record) for file in sorted(path.glob("chunks/*.npz"))]
    if not chunks:
        return Contents(cells={}, leaves={}, label=None)
    cells = _joined([chunk.cells for chunk in chunks])
    leaves = _joined([chunk.leaves for chunk in chunks])
    rows = list({cell: row for row, cell in enumerate(identities(cells))}.values())
    labels = [chunk.label for chunk in chunks if chunk.label is not None]
    return Contents(
        cells={name: column[rows] for name, column in cells.items()},
        leaves={name: column[rows] for name, column in leaves.items()},
        label=np.concatenate(labels)[rows] if len(labels) == len(chunks) else None,
    )


def words(result: type | None, leaves: Columns) -> np.ndarray | None:
    """The results in words (cells,), if their type has a class method `words(leaves)`; else None.

    That one returns an array of strings, or None where the leaves do not tell.
    """
    read_words = getattr(result, "words", None)
    return read_words(leaves) if callable(read_words) else None


def _read_chunk(file: Path, record: dict[str, Any]) -> Contents:
    damage = (AttributeError, EOFError, KeyError, OSError, TypeError, ValueError)
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
            cells = {name: arrays[f"axis_{name}"] for name in record["axes"]}
            leaves = {name: arrays[f"leaf_{name}"] for name in record["leaves"]}
            label = arrays["label"] if "label" in arrays else None
        lengths = {len(column) for column in (*cells.values(), *leaves.values())}
        if label is not None:
            lengths.add(len(label))
        if _layout(leaves) != record["leaves"] or len(lengths) != 1:
            raise ValueError("its arrays are not those that store.json tells of")
    except (*damage, zipfile.BadZipFile, zlib.error) as error:
        remedy = "delete it to have its cells computed again"
        raise complaint("a whole chunk", f"{file} damaged", remedy) from error
    return Contents(cells=cells, leaves=leaves, label=label)


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _layout(leaves: Columns) -> dict[str, list]:
    """Shape and dtype of each leaf at one cell, as store.json holds them."""
    return {name: [list(leaf.shape[1:]), str(leaf.dtype)] for name, leaf in leaves.items()}


def _name(cells: Columns) -> str:
    """A chunk's file is named after its cells: computed twice, it replaces itself."""
    axes = [(name, column.dtype.str) for name, column in sorted(cells.items())]
    content = hashlib.sha256(repr(axes).encode() + b"".join(identities(cells)))
    return content.hexdigest()[:32]


def _scalars(config: Mapping[str, Any]) -> dict[str, Any]:
    """A store's config as JSON holds it; ValueError for what it cannot hold."""
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in config.items()}
    for name, value in plain.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        if not (isinstance(value, str | int | float | None) and finite):
            remedy = "pass a name or a finite number that stands for it"
            raise complaint(f"a JSON scalar for {name}", f"{value!r}", remedy)
    return plain


def _require_place(path: Path) -> None:
    """Refuse to make a store of a file, or of a directory that holds something else."""
    if path.exists() and not path.is_dir():
        raise complaint("a directory for the store", f"the file {path}", "name another place")
    if path.is_dir() and not (path / "store.json").exists():
        others = [entry.name for entry in path.iterdir() if not entry.name.startswith(".store")]
        if others:
            got = f"{path} with {min(others)}"
            raise complaint("a store or an empty directory", got, "name another one")


def _require_same(path: Path, record: dict[str, Any], sweep: dict[str, Any]) -> None:
    """Refuse a store whose record differs in any entry of this sweep, and say in which."""
    old, new = (_entries(one, sweep) for one in (record, sweep))
    differing = [
        f"{name} {old.get(name, 'absent')} there and {new.get(name, 'absent')} here"
        for name in sorted(old.keys() | new.keys())
        if (name in old, old.get(name)) != (name in new, new.get(name))
    ]
    if differing:
        remedy = "choose another directory (--out), or delete that one"
        raise complaint(f"the sweep that {path} holds", ", ".join(differing), remedy)


def _entries(record: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Some of a record's entries, those of a dict one by one: {"config latent": 2, ...}."""
    entries: dict[str, Any] = {}
    for key in keys:
        value = record[key]
        if isinstance(value, dict):
            entries |= {f"{key} {name}": item for name, item in value.items()}
        else:
            entries[key] = value
    return entries


def _write_record(path: Path, record: dict[str, Any]) -> None:
    files.write(path / "store.json", json.dumps(record, indent=1, allow_nan=False))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the store's lock; it ends with the process at the latest."""
    with (path / ".store.lock").open("a") as file:
        try:
            import fcntl
        except ImportError:
            # Windows has none: do not start two processes on a new store at the same moment there.
            pass
        else:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
