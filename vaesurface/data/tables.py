"""Which columns are in a file of Arrow or parquet? Read by a library that the user has: pyarrow, or
what pandas reads parquet with.

A column of numbers is a feature; a column of lists is an array (n, ...).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaesurface.data.matrix import reals
from vaesurface.data.refusal import complaint, listed, opened, reading, suffix
from vaesurface.data.text import is_index, refuse_labels

__all__ = ["columns", "named_columns"]


def columns(path: Path, limit: int | None) -> np.ndarray:
    """Rows of a table: its columns of numbers, or one of lists, named X or x or alone."""
    table = _columns(path)
    lists = [name for name, column in table.items() if column.ndim > 1]
    chosen = [name for name in ("X", "x") if name in lists] or lists
    if len(chosen) == 1 and (chosen[0] in ("X", "x") or len(table) == 1):
        array = reals(table[chosen[0]][:limit], f"column {chosen[0]!r}")
        return array.reshape(len(array), -1) if array.size else array
    refuse_labels(list(table))
    if lists:
        expected = "columns of numbers, or one of lists named X"
        raise complaint(expected, f"columns {listed(table)}", f"name {lists[0]!r} X, or drop it")
    names = list(table)
    if len(names) > 1 and is_index(names[0], [str(entry) for entry in table[names[0]]]):
        del names[0]
    if not names:
        raise complaint("columns of numbers", "none", "save a table that has some")
    return np.stack([reals(table[name][:limit], f"column {name!r}") for name in names], axis=1)


def named_columns(path: Path) -> dict[str, Any]:
    """Columns by name, a number where a column holds one number throughout."""
    return {
        name: column[0] if column.ndim == 1 and len(set(column.tolist())) == 1 else column
        for name, column in _columns(path).items()
    }


def _columns(path: Path) -> dict[str, np.ndarray]:
    """Columns by name, without a table's index."""
    if find_spec("pyarrow") is None:
        return _by_pandas(path)
    with reading("a table of Arrow or parquet, whole", "save it again"), opened(path) as file:
        table = _arrow(file, suffix(path))
    index = (table.schema.pandas_metadata or {}).get("index_columns", ())
    names = [name for name in table.column_names if name not in index]
    return {name: _array(table.column(name)) for name in names}


def _arrow(file: IO[bytes], form: str) -> Any:
    """A table of pyarrow."""
    from pyarrow import ArrowInvalid, feather, ipc, parquet

    if form == ".parquet":
        return parquet.read_table(file)
    if form == ".feather":
        return feather.read_table(file)
    try:
        return ipc.open_file(file).read_all()
    except ArrowInvalid:
        file.seek(0)
        return ipc.open_stream(file).read_all()  # as `datasets` keeps them


def _array(column: Any) -> np.ndarray:
    """A column: numbers (n,), or lists (n, ...) of one length; of objects where it is neither."""
    from pyarrow import types

    nested = types.is_list, types.is_large_list, types.is_fixed_size_list
    if not any(is_nested(column.type) for is_nested in nested):
        return column.to_numpy()
    return _stacked(column.to_pylist())


def _stacked(rows: list[Any]) -> np.ndarray:
    """Lists as one array; of objects where they differ in length, so that `reals` refuses them."""
    try:
        return np.array(rows)
    except ValueError:
        ragged = np.empty(len(rows), dtype=object)
        ragged[:] = rows
        return ragged


def _by_pandas(path: Path) -> dict[str, np.ndarray]:
    """The same where there is no pyarrow: of parquet, by what else pandas reads it with."""
    expected = "pyarrow, which reads .arrow, .feather and .parquet"
    remedy = "install it (pip install pyarrow), or save the arrays as .npz"
    if suffix(path) != ".parquet" or find_spec("fastparquet") is None:
        raise complaint(expected, "none installed", remedy)
    import pandas

    with reading("a parquet table, whole", "save it again"), opened(path) as file:
        frame = pandas.read_parquet(file, engine="fastparquet")
    return {name: _unboxed(frame[name].to_numpy()) for name in frame.columns}


def _unboxed(column: np.ndarray) -> np.ndarray:
    """Rows that are lists as one array."""
    boxed = column.dtype == object and len(column) and isinstance(column[0], list | np.ndarray)
    return _stacked(list(column)) if boxed else column
