"""How do the results of a sweep outlive their process, and get names that other tools understand?

A store is a directory: `store.json` says what the sweep is, `chunks/` holds one immutable file per
computed chunk. Cells are known by the values of their axes, not by position, so sweeps over
different grids add up. `open` and `dataset` are the only bridge to the labelled world (xarray).

>>> labelled = dataset({"energy": np.array([[3.0, 4.0], [1.0, 2.0]])}, alpha=[0.5, 0.1], seed=[1, 2])
>>> labelled.energy.sel(alpha=0.1).values, labelled.energy.dims
(array([1., 2.]), ('alpha', 'seed'))
"""

import hashlib
import json
import math
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import vaesurface
from vaesurface import data
from vaesurface.sweep import Axis, Columns, canonical, columns, identities

try:
    import fcntl
except ImportError:  # Windows: do not start two processes on a new store at the same moment there
    fcntl = None  # type: ignore[assignment]

__all__ = ["Store", "create", "dataset", "open", "recall", "save"]

FORMAT = 3  # of the directory; raised by changes that older code would misread
DIMENSIONS = {  # trailing dimensions of the leaves that every threshold VAE's points have
    "params_weight": ("feature", "latent"),
    "params_bias": ("feature",),
    "params_mean": ("datum", "latent"),
    "params_log_std": ("datum", "latent"),
    "active": ("latent",),
}


class Store(NamedTuple):
    """A directory of results, made by `create`. Any number of processes may read and write it at
    once.
    """

    path: Path


def create(path: str | os.PathLike, X: Any = None, **config: Any) -> Store:
    """Open a store, or make one. X: the data, known by digest; config: all else that the results
    depend on.

    Raises ValueError where config holds anything but strings, finite numbers, booleans and None,
    where path is something else, and where its store has another config, data or dtype; then
    nothing is written. Other versions of the software, or another device, are noted in store.json
    and no reason to refuse.
    """
    path = Path(path).expanduser()
    config = {k: v.item() if isinstance(v, np.generic) else v for k, v in config.items()}
    for name, value in config.items():
        finite = not isinstance(value, float) or math.isfinite(value)
        if not (isinstance(value, str | int | float | None) and finite):
            remedy = "pass a name or a finite number that stands for it"
            raise _complaint(f"a JSON scalar for {name}", f"{value!r}", remedy)
    dtype = "float64" if jax.config.jax_enable_x64 else "float32"  # type: ignore[attr-defined]
    here = {"config": config, "data": None if X is None else data.digest(X), "dtype": dtype}
    software = {name: version(name) for name in ("jax", "jaxlib", "numpy")}
    software |= {"vaesurface": vaesurface.__version__, "device": jax.devices()[0].device_kind}
    if path.exists() and not path.is_dir():
        raise _complaint("a directory for the store", f"the file {path}", "name another place")
    if path.is_dir() and not (path / "store.json").exists():
        if others := [p.name for p in path.iterdir() if not p.name.startswith(".store")]:
            got = f"{path} with {min(others)}"
            raise _complaint("a store or an empty directory", got, "name another one")
    path.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        record: dict[str, Any] = {
            "format": FORMAT,
            **here,
            "software": [],
            "axes": None,
            "leaves": None,
        }
        if (path / "store.json").exists():
            record = _record(path)
            _require_same(path, record, here)
        if software not in record["software"]:
            _write_record(path, record | {"software": [*record["software"], software]})
    return Store(path)


def recall(
    store: Store | str | os.PathLike,
    axes: Mapping[str, Axis],
    cells: Columns,
    shapes: Any,
    results: list[np.ndarray],
) -> tuple[np.ndarray, Callable[[np.ndarray], None]]:
    """What `sweep.grid` asks of a store: fills in the results that it holds, one array per leaf of
    shapes.

    Returns which cells are missing, and a function that adds some of them, by index, as one chunk.
    Raises ValueError where the store is of another sweep, where names clash, and for damaged files,
    naming them.
    """
    path = (store if isinstance(store, Store) else create(store)).path
    leaves = _layout(shapes, axes)
    here = {
        "axes": {name: a.kind for name, a in axes.items()},
        "leaves": {name: [list(x.shape), str(x.dtype)] for name, x in leaves.items()},
    }
    with _locked(path):
        record = _record(path)
        if record["axes"] is None:
            _write_record(path, record | here)
        else:
            _require_same(path, record, here)
    named = dict(zip(leaves, results, strict=True))
    known, values = _load(path)
    rows = {cell: row for row, cell in enumerate(identities(known))}
    row = np.array([rows.get(cell, -1) for cell in identities(cells)])
    for name, value in values.items():
        named[name][row >= 0] = value[row[row >= 0]]

    def keep(rows: np.ndarray) -> None:
        _append(
            path,
            *({name: column[rows] for name, column in part.items()} for part in (cells, named)),
        )

    return np.flatnonzero(row < 0), keep


def open(path: str | os.PathLike) -> Any:
    """All that a store holds, as one `xarray.Dataset`.

    Dimensions are the sweep's axes, ascending (keys as hexadecimal strings), then a leaf's own.
    `computed` says which cells are there; elsewhere floats are NaN, whole numbers 0, booleans
    False. `label` has the verdicts in words where the results are stationary points. attrs:
    provenance, config as JSON. Raises ValueError where there is no store, or one without results,
    or a damaged one.
    """
    path = Path(path).expanduser()
    if not (path / "store.json").exists():
        raise _complaint("a store", f"{path} without store.json", "name the directory of a sweep")
    record, (cells, leaves) = _record(path), _load(path)
    if not cells:
        raise _complaint(
            "a store with results", f"{path} without", "let the sweep finish its first chunk"
        )
    runs = record["software"]
    attrs = {name: ", ".join(dict.fromkeys(run[name] for run in runs)) for name in runs[0]}
    attrs |= {
        "config": json.dumps(record["config"]),
        "data": record["data"] or "",
        "dtype": record["dtype"],
    }
    return _labelled(cells, leaves, attrs)


def dataset(points: Any, **axes: Any) -> Any:
    """The same `xarray.Dataset` from what `sweep.grid` returned; axes: as given to it, in the same
    order.

    Raises ValueError where they do not fit.
    """
    parsed = canonical(axes)
    sizes = tuple(len(a.values) for a in parsed.values())
    leaves = _layout(jax.tree.map(np.asarray, points), parsed)
    for name, leaf in leaves.items():
        if leaf.shape[: len(sizes)] != sizes:
            raise _complaint(
                f"leading axes {sizes}", f"shape {leaf.shape} of {name}", "give the grid's own axes"
            )
    flat = {name: leaf.reshape(-1, *leaf.shape[len(sizes) :]) for name, leaf in leaves.items()}
    return _labelled(columns(parsed), flat, {})


def save(ds: Any, path: str | os.PathLike) -> None:
    """Write a dataset to a `.nc` (NetCDF 4) or `.zarr`; one that is there gives way to the complete
    new one.

    Raises ValueError for other suffixes, and where it would replace something else.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".nc", ".zarr"):
        raise _complaint(
            "a path that ends in .nc or .zarr", f"{path.name!r}", "choose one of the two"
        )
    is_zarr = (path / ".zgroup").exists() or (path / "zarr.json").exists()
    if path.exists() and not (is_zarr if path.suffix == ".zarr" else path.is_file()):
        raise _complaint(
            f"a {path.suffix} to replace", f"something else at {path}", "name another place"
        )
    with _replacing(path) as new:
        if path.suffix == ".nc":
            ds.to_netcdf(new, engine="h5netcdf")
        else:
            ds.to_zarr(new, zarr_format=2)  # version 3 has no specification of strings yet


def _layout(tree: Any, axes: Mapping[str, Axis]) -> dict[str, Any]:
    """Leaves by name: their path, joined with underscores; "value" where the tree is one array."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    names = [jax.tree_util.keystr(path, simple=True, separator="_") or "value" for path, _ in paths]
    taken = [*names, *axes, "computed", "label"]
    if twice := [name for name in taken if taken.count(name) > 1]:
        raise _complaint(
            "axes and results with distinct names", f"{twice[0]} twice", "rename that axis or field"
        )
    return dict(zip(names, (leaf for _, leaf in paths), strict=True))


def _labelled(cells: Columns, leaves: Columns, attrs: dict[str, Any]) -> Any:
    """Scatter cells onto the smallest grid that holds them all."""
    import xarray as xr

    coords, index = {}, []
    for name, column in cells.items():
        values, inverse = np.unique(column, axis=0, return_inverse=True)
        coords[name] = (
            values
            if values.ndim == 1
            else ["".join(f"{word:08x}" for word in key) for key in values]
        )
        index.append(inverse.reshape(-1))
    sizes = {name: len(values) for name, values in coords.items()}
    shape = tuple(sizes.values())
    variables = {}
    for name, leaf in (
        leaves | {"computed": np.ones(len(index[0]), bool)} | _labels(leaves)
    ).items():
        own = DIMENSIONS.get(name, ())
        fits = len(own) == leaf.ndim - 1 and not coords.keys() & set(own)
        if not fits or any(
            sizes.setdefault(d, n) != n for d, n in zip(own, leaf.shape[1:], strict=True)
        ):
            own = tuple(f"{name}_{i}" for i in range(leaf.ndim - 1))
        fill = {"f": np.nan, "c": np.nan, "U": "not computed"}.get(leaf.dtype.kind, 0)
        dtype = np.result_type(leaf, "U12") if leaf.dtype.kind == "U" else leaf.dtype
        full = np.full((*shape, *leaf.shape[1:]), fill, dtype)
        full[tuple(index)] = leaf
        variables[name] = ((*coords, *own), full)
    return xr.Dataset(variables, coords, {"format": FORMAT} | attrs)


def _labels(leaves: Columns) -> Columns:
    """The verdicts in words, where the leaves are those of a `stationary.StationaryPoint`."""
    if not {"kind", "grad_norm", "inertia_negative", "optimal"} <= leaves.keys():
        return {}
    from vaesurface.curvature import Inertia
    from vaesurface.problem import Theory
    from vaesurface.stationary import StationaryPoint
    from vaesurface.stationary.probe import Kink

    def rebuild(cls, prefix="", **parts):
        return cls(**{field: leaves.get(prefix + field) for field in cls._fields} | parts)

    theory = rebuild(Theory, "theory_") if "theory_collapsed" in leaves else None
    kink = rebuild(Kink, "kink_") if "kink_found" in leaves else None
    parts = {
        "inertia": rebuild(Inertia, "inertia_"),
        "theory": theory,
        "search": leaves.get("search_lower"),
        "kink": kink,
    }
    return {"label": rebuild(StationaryPoint, **parts).label}


def _require_same(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse a store that differs in any entry of `here`, and say in which."""

    def flat(record):
        split = {
            key: value if isinstance(value, dict) else {"": value} for key, value in record.items()
        }
        return {
            f"{key} {name}".strip(): value for key in here for name, value in split[key].items()
        }

    old, new = flat(there), flat(here)
    if differing := [
        f"{key} {old.get(key, 'absent')} there and {new.get(key, 'absent')} here"
        for key in sorted(old.keys() | new.keys())
        if (key in old, old.get(key)) != (key in new, new.get(key))
    ]:
        remedy = "choose another directory (--out), or delete that one"
        raise _complaint(f"the sweep that {path} holds", ", ".join(differing), remedy)


def _record(path: Path) -> dict[str, Any]:
    file = path / "store.json"
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        found = record["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise _complaint(
            "a whole store.json", f"{file} damaged", f"restore it, or delete {path}"
        ) from error
    if found != FORMAT:
        raise _complaint(
            f"format {FORMAT}", f"{found} in {file}", "read it with the vaesurface that wrote it"
        )
    return record


def _write_record(path: Path, record: dict[str, Any]) -> None:
    with _replacing(path / "store.json") as new, new.open("x", encoding="utf-8") as file:
        json.dump(record, file, indent=1, allow_nan=False)
        _sync(file)


def _append(path: Path, cells: Columns, leaves: Columns) -> None:
    content = hashlib.sha256(
        repr([(name, x.dtype.str) for name, x in sorted(cells.items())]).encode()
    )
    content.update(b"".join(identities(cells)))
    arrays = {f"axis_{k}": v for k, v in cells.items()} | {
        f"leaf_{k}": v for k, v in leaves.items()
    }
    (path / "chunks").mkdir(exist_ok=True)
    with (
        _replacing(path / "chunks" / f"{content.hexdigest()[:32]}.npz") as new,
        new.open("xb") as file,
    ):
        np.savez(file, allow_pickle=False, **arrays)
        _sync(file)


def _load(path: Path) -> tuple[Columns, Columns]:
    """All cells computed so far, each once, and their results."""
    record = _record(path)
    chunks = [_chunk(file, record) for file in sorted(path.glob("chunks/*.npz"))]
    if not chunks:
        return {}, {}
    cells, leaves = (
        {k: np.concatenate([c[i][k] for c in chunks]) for k in chunks[0][i]} for i in (0, 1)
    )
    first = list({cell: row for row, cell in enumerate(identities(cells))}.values())
    return {k: v[first] for k, v in cells.items()}, {k: v[first] for k, v in leaves.items()}


def _chunk(file: Path, record: dict[str, Any]) -> tuple[Columns, Columns]:
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as arrays:
            cells = {name: arrays[f"axis_{name}"] for name in record["axes"]}
            leaves = {name: arrays[f"leaf_{name}"] for name in record["leaves"]}
        found = {name: [list(leaf.shape[1:]), str(leaf.dtype)] for name, leaf in leaves.items()}
        if (
            found != record["leaves"]
            or len({len(x) for x in (*cells.values(), *leaves.values())}) != 1
        ):
            raise ValueError("its arrays are not those that store.json tells of")
    except (
        AttributeError,
        EOFError,
        KeyError,
        OSError,
        TypeError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as e:
        raise _complaint(
            "a whole chunk", f"{file} damaged", "delete it to have its cells computed again"
        ) from e
    return cells, leaves


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the store's lock; it ends with the process at the latest."""
    with (path / ".store.lock").open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that takes its place if all goes well, and is gone if not."""
    new = path.with_name(f".{path.name}-{secrets.token_hex(8)}.tmp")
    try:
        yield new
        if path.is_dir():
            old = path.rename(path.with_name(f"{new.name}-old"))
            new.rename(path)
            shutil.rmtree(old)
        else:
            os.replace(new, path)
    except BaseException:
        shutil.rmtree(new) if new.is_dir() else new.unlink(missing_ok=True)
        raise


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _complaint(expected: str, got: str, remedy: str) -> ValueError:
    return ValueError(f"expected {expected}, got {got}; {remedy}")
