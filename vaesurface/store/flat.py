"""How do results become one flat table, a row for each cell, as spreadsheets and data frames are?

>>> import numpy as np
>>> from vaesurface import store
>>> ds = store.dataset({"loss": np.array([3.0, 1.0]), "path": np.ones((2, 9))}, seed=[1, 2])
>>> print(table(ds).to_string(index=False))
 seed  loss
    1   3.0
    2   1.0
"""

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from vaesurface import files, marks
from vaesurface.store.names import complaint

__all__ = ["SUFFIXES", "require", "table", "write"]

SUFFIXES = (".csv", ".parquet")
SETTING = re.compile(r"(?P<name>[^=]+)=(?P<value>.*)")


def table(results: Any) -> Any:
    """A `pandas.DataFrame` with a row for each cell that is computed: coordinates, then every
    number or word of the cell; `active` is how many latents are. Arrays are left out.

    results: an `xarray.Dataset` of `open` or `dataset`, or a `DataTree` of `open_tree`; the names
    of its stores, such as latent=2,rows=100, become columns.
    """
    import pandas

    if not hasattr(results, "subtree"):
        return _of_dataset(results)
    frames = []
    for node in results.subtree:
        if "computed" in node:
            frame = _of_dataset(node.to_dataset())
            for place, (name, value) in enumerate(_settings(node.path.strip("/"))):
                frame.insert(place, name, value)
            frames.append(frame)
    return pandas.concat(frames, ignore_index=True)


def write(frame: Any, path: Path) -> None:
    """A `pandas.DataFrame` into a `.csv` or `.parquet`, whole or not at all."""
    require(path)
    with files.replacing(path) as new:
        if path.suffix == ".csv":
            frame.to_csv(new, index=False)
        else:
            frame.to_parquet(new, index=False)


def require(path: Path) -> None:
    """Raise ValueError for a file that is no table, or that nothing here can write: before anything
    is computed.
    """
    if path.is_dir():
        raise complaint("a file for the table", f"the directory {path}", "name a file in it")
    if path.suffix not in SUFFIXES:
        got = f"{path.name!r}"
        raise complaint("a table's path, which ends in .csv or .parquet", got, "choose one of them")
    if path.suffix == ".parquet" and not (find_spec("pyarrow") or find_spec("fastparquet")):
        remedy = "install it (pip install pyarrow), or name a .csv"
        raise complaint("pyarrow, which writes .parquet", "none installed", remedy)


def _of_dataset(ds: Any) -> Any:
    """The table of one dataset."""
    import pandas

    if "computed" not in ds:
        remedy = "give what store.open or store.dataset returned"
        raise complaint("a dataset of cells", f"one without 'computed': {list(ds)}", remedy)
    axes = ds["computed"].dims
    if "active" in ds and len(ds.active.dims) > len(axes):
        ds = ds.assign(active=ds.active.sum(ds.active.dims[len(axes) :]))
    names = [name for name in ds.data_vars if name != "computed" and ds[name].dims == axes]
    there = ds["computed"].values.ravel()
    stacked = ds[names].reset_coords(drop=True)
    columns = {axis: _repeated(ds, axis)[there] for axis in axes}
    columns |= {name: stacked[name].values.ravel()[there] for name in stacked}
    if columns.keys() >= {"kind", "grad_norm"}:
        columns["kind"] = [marks.KINDS[code].name for code in columns["kind"].tolist()]
    return pandas.DataFrame(columns)


def _repeated(ds: Any, axis: Any) -> Any:
    """The values of an axis, once per cell."""
    return ds[axis].broadcast_like(ds["computed"]).transpose(*ds["computed"].dims).values.ravel()


def _settings(name: str) -> Iterator[tuple[str, Any]]:
    """What a store's name says: latent and 2 of latent=2; else the name, as store."""
    for part in filter(None, re.split("[,/]", name)):
        found = SETTING.fullmatch(part)
        yield ("store", part) if found is None else (found["name"], _number(found["value"]))


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
