"""How are the results of a store read, which may be far more than fit into memory?

As a reader of xarray's: cells are known when a store is opened, of results only those are read that
are asked for, from the chunks that hold them.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from vaesurface.store import chunks
from vaesurface.store.chunks import Chunk
from vaesurface.store.names import Axis, places

__all__ = ["FILL", "NOT_COMPUTED", "Cells", "KeptWords", "Reader", "Words", "present"]

# What stands where nothing was computed, by kind of dtype; 0 or False for all others.
NOT_COMPUTED = "not computed"
FILL = {"f": np.nan, "c": np.nan, "U": NOT_COMPUTED, "O": NOT_COMPUTED}
PATIENCE = 5  # times that chunks may be put together while they are being read


class _Placed(NamedTuple):
    """Chunks, the number of the first cell of each, and the number of the cell at each place of a
    grid, -1 where there is none.
    """

    chunks: list[Chunk]
    begins: np.ndarray
    where: np.ndarray


class Cells:
    """Where the cells of a grid are among a store's chunks.

    path, sweep: of the store. axes: of the grid. found: chunks.
    """

    def __init__(
        self, path: Path, sweep: Mapping[str, Any], axes: dict[str, Axis], found: list[Chunk]
    ) -> None:
        self.shape = tuple(len(axis.values) for axis in axes.values())
        self._path, self._sweep, self._axes = path, sweep, axes
        self._place(found)

    @property
    def there(self) -> np.ndarray:
        """Which are computed, of the grid's shape."""
        return self._placed.where.reshape(self.shape) >= 0

    def read(self, name: str | None, where: np.ndarray, fill: np.ndarray) -> np.ndarray:
        """One result, or for None the words, at some places of the grid (m,): (m, *), `fill` where
        there is none.
        """
        for _ in range(PATIENCE):
            try:
                return self._read(name, where, fill)
            except FileNotFoundError:  # put into a larger chunk
                self._place(present(self._path, self._sweep))
        return self._read(name, where, fill)

    def _read(self, name: str | None, where: np.ndarray, fill: np.ndarray) -> np.ndarray:
        values = np.empty((len(where), *fill.shape), fill.dtype)
        values[...] = fill
        placed = self._placed  # all of it at once: another thread may renew it
        rows = placed.where[where]
        owner = np.searchsorted(placed.begins, rows, side="right") - 1
        for number in np.unique(owner[rows >= 0]):
            chunk, mine = placed.chunks[number], np.flatnonzero(owner == number)
            leaf = chunk.label() if name is None else chunk.leaf(name)
            values[mine] = leaf[rows[mine] - placed.begins[number]]
        return values

    def _place(self, found: list[Chunk]) -> None:
        where = np.full(math.prod(self.shape), -1)
        begins = np.cumsum([0, *map(len, found)])
        for chunk, begin in zip(found, begins, strict=False):
            place = places(self._axes, chunk.cells)
            inside = place >= 0
            where[place[inside]] = begin + np.flatnonzero(inside)
        self._placed = _Placed(found, begins[:-1], where)


def present(path: Path, sweep: Mapping[str, Any]) -> list[Chunk]:
    """The chunks of a store. Raises ValueError for a damaged one and one of another sweep."""
    for _ in range(PATIENCE):
        try:
            return [chunks.read(file, sweep) for file in sorted(path.glob("chunks/*.npz"))]
        except FileNotFoundError:  # put into a larger one in between
            continue
    return [chunks.read(file, sweep) for file in sorted(path.glob("chunks/*.npz"))]


class Reader(BackendEntrypoint):
    """Gives xarray a dataset whose variables are read when they are used."""

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: Any = None, **given: Any
    ) -> Any:
        """given: `cells`, `coords`, `attrs`; by name of a result `dimensions` and `leaves`, its
        shape and dtype at a cell; `words`, `KeptWords` or `Words`, or None.
        """
        cells: Cells = given["cells"]
        axes = tuple(given["coords"])
        variables = {}
        for name, (shape, dtype) in given["leaves"].items():
            lazy = indexing.LazilyIndexedArray(_Leaf(cells, name, tuple(shape), np.dtype(dtype)))
            variables[name] = xr.Variable((*axes, *given["dimensions"][name]), lazy)
        variables["computed"] = xr.Variable(axes, cells.there)
        if (words := given["words"]) is not None:
            variables["label"] = xr.Variable(axes, indexing.LazilyIndexedArray(words))
        return xr.Dataset(variables, given["coords"], given["attrs"])


class _Leaf(BackendArray):
    """A result on the grid."""

    def __init__(self, cells: Cells, name: str | None, shape: tuple[int, ...], dtype: Any) -> None:
        self._cells, self._name = cells, name
        kind = dtype.kind
        self.dtype = np.result_type(dtype, f"U{len(NOT_COMPUTED)}") if kind == "U" else dtype
        self.shape = (*cells.shape, *shape)
        self._fill = np.full(shape, FILL.get(kind, 0), self.dtype)

    def __getitem__(self, key: Any) -> Any:
        support = indexing.IndexingSupport.OUTER
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        """By an index for each dimension: a number, a slice, or an array of numbers."""
        shape = self._cells.shape
        chosen = [np.arange(size)[index] for size, index in zip(shape, key, strict=False)]
        grid = np.ix_(*[np.atleast_1d(index) for index in chosen])
        flat = np.ravel_multi_index(grid, shape) if shape else np.zeros(1, int)
        values = self._values(flat.ravel())
        values = values.reshape(*(len(np.atleast_1d(index)) for index in chosen), *values.shape[1:])
        for axis, index in reversed(list(enumerate(key))):
            if axis < len(shape):
                values = values.squeeze(axis) if np.ndim(chosen[axis]) == 0 else values
            else:
                values = values[(slice(None),) * axis + (index,)]
        return values

    def _values(self, where: np.ndarray) -> np.ndarray:
        return self._cells.read(self._name, where, self._fill)


class KeptWords(_Leaf):
    """The results in words, as the chunks have them."""

    def __init__(self, cells: Cells, dtype: Any) -> None:
        super().__init__(cells, None, (), dtype)


class Words(_Leaf):
    """The results in words, read anew from the leaves.

    words: of leaves by name, (m,) strings.
    """

    def __init__(self, cells: Cells, layout: Mapping[str, list], words: Any) -> None:
        super().__init__(cells, None, (), np.dtype(object))
        self._layout, self._words = layout, words

    def _values(self, where: np.ndarray) -> np.ndarray:
        values = np.full(len(where), NOT_COMPUTED, object)
        there = self._cells.there.ravel()[where]
        if there.any():
            values[there] = self._words(_Rows(self._cells, self._layout, where[there]))
        return values


class _Rows(Mapping):
    """The leaves of some cells, each read when it is asked for."""

    def __init__(self, cells: Cells, layout: Mapping[str, list], where: np.ndarray) -> None:
        self._cells, self._layout, self._where = cells, layout, where

    def __getitem__(self, name: str) -> np.ndarray:
        shape, dtype = self._layout[name]
        return self._cells.read(name, self._where, np.zeros(shape, dtype))

    def __iter__(self) -> Iterator[str]:
        return iter(self._layout)

    def __len__(self) -> int:
        return len(self._layout)
