"""How do the results of a sweep get names that other tools understand?

`open` and `dataset` are the only bridge to the labelled world (xarray), which they load when they
are called.

>>> found = dataset({"energy": np.array([[3.0, 4.0], [1.0, 2.0]])}, alpha=[0.5, 0.1], seed=[1, 2])
>>> found.energy.sel(alpha=0.1).values, found.energy.dims
(array([1., 2.]), ('alpha', 'seed'))
"""

import io
import json
import math
import os
import warnings
from collections.abc import Collection, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaesurface import files
from vaesurface.store import directory, flat, plans, record
from vaesurface.store.chunks import Chunk
from vaesurface.store.meaning import described
from vaesurface.store.names import Axis, canonical, complaint, named, plain
from vaesurface.store.plans import Plan

__all__ = ["DIMENSIONS", "dataset", "open", "save"]

# Trailing dimensions of the leaves that every threshold VAE's points have.
DIMENSIONS = {
    "params_weight": ("feature", "latent"),
    "params_bias": ("feature",),
    "params_mean": ("datum", "latent"),
    "params_log_std": ("datum", "latent"),
    "active": ("latent",),
}


def open(path: str | os.PathLike, result: type | None = None) -> Any:
    """All that a store holds, as one `xarray.Dataset`.

    Dimensions are the sweep's axes, ascending (keys as hexadecimal strings), then a leaf's own.
    `computed` says which cells are there; elsewhere floats are NaN, whole numbers 0, booleans
    False. `label` has the verdicts in words where the results are stationary points. attrs:
    provenance, config as JSON.

    result: the type of the results, such as `StationaryPoint`; its class method `words` then reads
    the labels anew. Stores made before labels were kept have no other. Raises ValueError where
    there is no store, or one without results, or a damaged one.
    """
    import xarray as xr  # inside, because it is slow to load and most sweeps do without

    from vaesurface.store import lazy

    path = Path(path).expanduser()
    if not directory.is_store(path):
        remedy = "name the directory of a sweep; of several, open_tree reads all"
        raise complaint("a store", f"{path} without store.json", remedy)
    told = record.read(path)
    found, planned = lazy.present(path, told), plans.read(path)
    if not (found or planned) or told["axes"] is None:
        remedy = "let the sweep finish its first chunk"
        raise complaint("a store with results", f"{path} without", remedy)
    axes = _grid(told["axes"], found, planned)
    cells = lazy.Cells(path, told, axes, found)
    coords = _coordinates(axes)
    sizes = {name: len(values) for name, values in coords.items()}
    dimensions = {
        name: _dimensions(name, tuple(shape), sizes, coords)
        for name, (shape, _) in told["leaves"].items()
    }
    ds = xr.open_dataset(
        path,
        engine=lazy.Reader,
        cells=cells,
        coords=coords,
        dimensions=dimensions,
        leaves=told["leaves"],
        words=_words(result, told["leaves"], cells, found),
        attrs={"format": record.FORMAT, **_provenance(path, told, found)},
    )
    names = {d: values for d, values in told.get("names", {}).items() if d in ds.dims}
    fitting = {d: values for d, values in names.items() if len(values) == ds.sizes[d]}
    return described(ds.assign_coords(fitting), told["config"])


def dataset(points: Any, **axes: Any) -> Any:
    """The same `xarray.Dataset` from what `sweep.grid` returned.

    axes: as given to it, in the same order. Raises ValueError where they do not fit.
    """
    parsed = canonical(axes)
    sizes = tuple(len(axis.values) for axis in parsed.values())
    leaves = named(jax.tree.map(np.asarray, points), parsed)
    for name, leaf in leaves.items():
        if leaf.shape[: len(sizes)] != sizes:
            got, remedy = f"shape {leaf.shape} of {name}", "give the grid's own axes"
            raise complaint(f"leading axes {sizes}", got, remedy)
    import xarray as xr

    total = math.prod(sizes)
    flat = {name: leaf.reshape(total, *leaf.shape[len(sizes) :]) for name, leaf in leaves.items()}
    if (label := directory.words(type(points), flat)) is not None:
        leaves["label"] = label.reshape(sizes)
    order = [np.argsort(plain(axis.values)) for axis in parsed.values()]
    coords = _coordinates(
        {
            name: axis._replace(values=axis.values[places])
            for (name, axis), places in zip(parsed.items(), order, strict=True)
        }
    )
    known = dict(zip(coords, sizes, strict=True))
    variables = {
        name: (
            (*coords, *_dimensions(name, leaf.shape[len(sizes) :], known, coords)),
            leaf[np.ix_(*order)],
        )
        for name, leaf in (leaves | {"computed": np.ones(sizes, bool)}).items()
    }
    return described(xr.Dataset(variables, coords, {"format": record.FORMAT}))


def save(ds: Any, path: str | os.PathLike) -> None:
    """Write a dataset, or a tree of them, to a `.nc` (NetCDF 4) or `.zarr`; to a `.csv` or
    `.parquet` as one flat table, a row for each cell (`flat.table`).

    One that is there gives way to the complete new one. Raises ValueError for other suffixes, where
    it would replace something else, and where nothing installed writes it.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".nc", ".zarr", *flat.SUFFIXES):
        remedy = "choose one of them"
        expected = "a path that ends in .nc, .zarr, .csv or .parquet"
        raise complaint(expected, f"{path.name!r}", remedy)
    is_zarr = (path / ".zgroup").exists() or (path / "zarr.json").exists()
    if path.exists() and not (is_zarr if path.suffix == ".zarr" else path.is_file()):
        got, remedy = f"something else at {path}", "name another place"
        raise complaint(f"a {path.suffix} to replace", got, remedy)
    if path.suffix in flat.SUFFIXES:
        flat.write(flat.table(ds), path)
        return
    with files.replacing(path) as new:
        if path.suffix == ".nc":
            content = io.BytesIO()  # HDF5 itself takes a full disk ill
            ds.to_netcdf(content, engine="h5netcdf")
            new.write_bytes(content.getbuffer())
        else:
            ds.to_zarr(new, zarr_format=2)  # version 3 has no specification of strings yet


def _provenance(path: Path, told: Mapping[str, Any], found: list[Chunk]) -> dict[str, str]:
    """What the results were computed with, each version once, and what they are of.

    Warns where more than one instruction set had a part in them.
    """
    made = [(chunk.about or {}).get("made") or {} for chunk in found]
    runs = [*told["software"], *(one["software"] for one in made if one.get("software"))]
    names = dict.fromkeys(name for run in runs for name in run)
    attrs = {
        name: ", ".join(dict.fromkeys(run[name] for run in runs if name in run)) for name in names
    }
    if "," in attrs.get("instructions", ""):
        warnings.warn(
            f"{path} was computed with more than one instruction set ({attrs['instructions']}): "
            f"results may differ in their last digits between cells",
            stacklevel=3,
        )
    return attrs | {
        "config": json.dumps(told["config"]),
        "data": told["data"] or "",
        "dtype": told["dtype"],
    }


def _words(result: type | None, leaves: Mapping[str, list], cells: Any, found: list[Chunk]) -> Any:
    """The results in words, read when they are asked for; None where there are none."""
    from vaesurface.store import lazy

    empty = {name: np.empty((0, *shape), dtype) for name, (shape, dtype) in leaves.items()}
    if directory.words(result, empty) is not None:
        return lazy.Words(cells, leaves, partial(directory.words, result))
    dtypes = [chunk.label_dtype for chunk in found]
    if None in dtypes or not dtypes:
        return None
    return lazy.KeptWords(cells, np.result_type(*dtypes))


def _grid(kinds: Mapping[str, str], found: list[Chunk], planned: list[Plan]) -> dict[str, Axis]:
    """The smallest grid that holds all cells, planned or computed, its axes ascending."""
    axes = {}
    for name, kind in kinds.items():
        parts = [_distinct(chunk.cells[name]) for chunk in found]
        parts += [plan.axes[name].values for plan in planned]
        impl = kind.removeprefix("keys of ") if kind.startswith("keys of ") else None
        axes[name] = Axis(values=_distinct(np.concatenate(parts)), impl=impl)
    return axes


def _distinct(column: np.ndarray) -> np.ndarray:
    """The different values of a column, ascending."""
    return column[np.unique(plain(column), return_index=True)[1]]


def _coordinates(axes: Mapping[str, Axis]) -> dict[str, Any]:
    """The axes' values, keys as hexadecimal strings."""
    return {
        name: axis.values if axis.impl is None else [_hexadecimal(key) for key in axis.values]
        for name, axis in axes.items()
    }


def _hexadecimal(key: np.ndarray) -> str:
    return "".join(f"{word:08x}" for word in key)


def _dimensions(
    name: str, shape: tuple[int, ...], sizes: Mapping[str, int], axes: Collection[str]
) -> tuple[str, ...]:
    """Names of a leaf's trailing dimensions: its usual ones where they fit, else its own."""
    usual = DIMENSIONS.get(name, ())
    fits = len(usual) == len(shape) and not set(usual) & set(axes)
    if fits and all(sizes.get(d, n) == n for d, n in zip(usual, shape, strict=True)):
        return usual
    own = [f"{name}_{i}" for i in range(len(shape))]
    return tuple(dim + "_" * next(n for n in count() if dim + "_" * n not in axes) for dim in own)
