"""How do the results of a sweep get names that other tools understand?

`open` and `dataset` are the only bridge to the labelled world (xarray), which they load when they
are called.

>>> found = dataset({"energy": np.array([[3.0, 4.0], [1.0, 2.0]])}, alpha=[0.5, 0.1], seed=[1, 2])
>>> found.energy.sel(alpha=0.1).values, found.energy.dims
(array([1., 2.]), ('alpha', 'seed'))
"""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaesurface import files
from vaesurface.store import directory
from vaesurface.store.names import Columns, canonical, columns, complaint, named

__all__ = ["DIMENSIONS", "dataset", "open", "save"]

# Trailing dimensions of the leaves that every threshold VAE's points have.
DIMENSIONS = {
    "params_weight": ("feature", "latent"),
    "params_bias": ("feature",),
    "params_mean": ("datum", "latent"),
    "params_log_std": ("datum", "latent"),
    "active": ("latent",),
}
# What stands where nothing was computed, by kind of dtype; 0 or False for all others.
NOT_COMPUTED = "not computed"
FILL = {"f": np.nan, "c": np.nan, "U": NOT_COMPUTED}


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
    path = Path(path).expanduser()
    if not (path / "store.json").exists():
        remedy = "name the directory of a sweep"
        raise complaint("a store", f"{path} without store.json", remedy)
    record, contents = directory.read_record(path), directory.read(path)
    if not contents.cells:
        remedy = "let the sweep finish its first chunk"
        raise complaint("a store with results", f"{path} without", remedy)
    runs = record["software"]
    attrs = {name: ", ".join(dict.fromkeys(run[name] for run in runs)) for name in runs[0]}
    attrs["config"] = json.dumps(record["config"])
    attrs["data"] = record["data"] or ""
    attrs["dtype"] = record["dtype"]
    label = directory.words(result, contents.leaves)
    return _labelled(
        contents.cells, contents.leaves, contents.label if label is None else label, attrs
    )


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
    flat = {name: leaf.reshape(-1, *leaf.shape[len(sizes) :]) for name, leaf in leaves.items()}
    return _labelled(columns(parsed), flat, directory.words(type(points), flat), {})


def save(ds: Any, path: str | os.PathLike) -> None:
    """Write a dataset to a `.nc` (NetCDF 4) or `.zarr`.

    One that is there gives way to the complete new one. Raises ValueError for other suffixes, and
    where it would replace something else.
    """
    path = Path(path).expanduser()
    if path.suffix not in (".nc", ".zarr"):
        remedy = "choose one of the two"
        raise complaint("a path that ends in .nc or .zarr", f"{path.name!r}", remedy)
    is_zarr = (path / ".zgroup").exists() or (path / "zarr.json").exists()
    if path.exists() and not (is_zarr if path.suffix == ".zarr" else path.is_file()):
        got, remedy = f"something else at {path}", "name another place"
        raise complaint(f"a {path.suffix} to replace", got, remedy)
    with files.replacing(path) as new:
        if path.suffix == ".nc":
            ds.to_netcdf(new, engine="h5netcdf")
        else:
            ds.to_zarr(new, zarr_format=2)  # version 3 has no specification of strings yet


def _labelled(
    cells: Columns, leaves: Columns, label: np.ndarray | None, attrs: Mapping[str, Any]
) -> Any:
    """The cells' results on the smallest grid that holds them all."""
    import xarray as xr  # inside, because it is slow to load and most sweeps do without

    coords, place = _grid(cells)
    shape = tuple(len(values) for values in coords.values())
    results = leaves | {"computed": np.ones(len(place[0]), bool)}
    if label is not None:
        results["label"] = label
    sizes = dict(zip(coords, shape, strict=True))
    variables = {}
    for name, leaf in results.items():
        trailing = _dimensions(name, leaf.shape[1:], sizes, coords)
        sizes |= zip(trailing, leaf.shape[1:], strict=True)
        variables[name] = (*coords, *trailing), _scattered(leaf, place, shape)
    return xr.Dataset(variables, coords, {"format": directory.FORMAT, **attrs})


def _grid(cells: Columns) -> tuple[dict[str, Any], tuple[np.ndarray, ...]]:
    """The axes' values, ascending, keys as hexadecimal strings; each cell's place on each axis."""
    coords, place = {}, []
    for name, column in cells.items():
        values, index = np.unique(column, axis=0, return_inverse=True)
        coords[name] = values if values.ndim == 1 else [_hexadecimal(key) for key in values]
        place.append(index.reshape(-1))
    return coords, tuple(place)


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
    return tuple(f"{name}_{i}" for i in range(len(shape)))


def _scattered(leaf: np.ndarray, place: tuple[np.ndarray, ...], shape: tuple[int, ...]) -> Any:
    """A leaf (cells, ...) on a grid of that shape, and `FILL` where there is no cell."""
    kind = leaf.dtype.kind
    dtype = np.result_type(leaf, f"U{len(NOT_COMPUTED)}") if kind == "U" else leaf.dtype
    full = np.full((*shape, *leaf.shape[1:]), FILL.get(kind, 0), dtype)
    full[place] = leaf
    return full
