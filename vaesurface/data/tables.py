"""Which columns are in a file of Arrow or parquet? Read by a library that the user has: pyarrow, or
what pandas reads parquet with.

A column of numbers is a feature; a column of lists is an array (n, ...).
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaesurface import files
from vaesurface.data import packed
from vaesurface.data.matrix import reals
from vaesurface.data.refusal import listed, opened, suffix
from vaesurface.data.text import is_index, refuse_labels
from vaesurface.refusal import complaint, reading

__all__ = ["columns", "header", "named_columns"]

FEATHER = b"FEA1"  # what files of Feather's first version begin with, which packed nothing
ARROW = b"ARROW1\0\0"
BOXED = 32  # bytes of a number as an object of Python, in a list


def columns(path: Path, limit: int | None) -> np.ndarray:
    """Rows of a table: its columns of numbers, or one of lists, named X or x or alone."""
    table = _columns(path)
    lists = [name for name, column in table.items() if column.ndim > 1]
    chosen = [name for name in ("X", "x") if name in lists] or lists
    if len(chosen) == 1 and (chosen[0] in ("X", "x") or len(table) == 1):
        array = reals(table[chosen[0]][:limit], f"column {chosen[0]!r}")
        return array.reshape(len(array), -1) if array.size else array
    names = _features(table)
    return np.stack([reals(table[name][:limit], f"column {name!r}") for name in names], axis=1)


def header(path: Path) -> list[str] | None:
    """Names of the columns that `columns` reads as features; None where they are one of lists."""
    table = _columns(path)
    return None if any(column.ndim > 1 for column in table.values()) else _features(table)


def _features(table: dict[str, np.ndarray]) -> list[str]:
    """The columns that are features, without an index. Raises ValueError where there are none."""
    refuse_labels(list(table))
    if lists := [name for name, column in table.items() if column.ndim > 1]:
        expected = "columns of numbers, or one of lists named X"
        raise complaint(expected, f"columns {listed(table)}", f"name {lists[0]!r} X, or drop it")
    names = list(table)
    if len(names) > 1 and is_index(names[0], [str(entry) for entry in table[names[0]]]):
        del names[0]
    if not names:
        raise complaint("columns of numbers", "none", "save a table that has some")
    return names


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
    from pyarrow import feather, ipc

    if form == ".parquet":
        return _parquet(file)
    if file.read(len(FEATHER)) == FEATHER:
        file.seek(0)
        return feather.read_table(file)
    file.seek(0)
    # A file is a stream between marks; `datasets` keeps them without. Read as one, it is what was
    # counted: what a file's end tells of may lie elsewhere.
    start = len(ARROW) if file.read(len(ARROW)) == ARROW else 0
    file.seek(start)
    sizes = (packed.length(m.metadata.to_pybytes(), memoryview(m.body)) for m in _messages(file))
    size = 0
    for one in sizes:
        size += one
        files.affordable(size, "unpacked")
    file.seek(start)
    return ipc.open_stream(file).read_all()


def _messages(file: IO[bytes]) -> Iterator[Any]:
    """Messages of a stream that have a body."""
    from pyarrow import ipc

    for message in ipc.MessageReader.open_stream(file):
        if message.body is not None:
            yield message


def _parquet(file: IO[bytes]) -> Any:
    """A table of pyarrow, counted before by what is told of it, and while it is read."""
    import pyarrow
    from pyarrow import parquet

    source = parquet.ParquetFile(file)
    about = source.metadata
    groups = [about.row_group(i) for i in range(about.num_row_groups)]
    columns = [group.column(j) for group in groups for j in range(group.num_columns)]
    files.affordable(8 * sum(column.num_values for column in columns), "in float64")
    files.affordable(sum(column.total_uncompressed_size for column in columns), "unpacked")
    batches, size = [], 0
    for batch in source.iter_batches():
        size += batch.nbytes
        files.affordable(size, "unpacked")
        batches.append(batch)
    return pyarrow.Table.from_batches(batches, source.schema_arrow)


def _array(column: Any) -> np.ndarray:
    """A column: numbers (n,), or lists (n, ...) of one length; of objects where it is neither."""
    nested = _is_list(column.type)
    count = sum(map(_numbers, column.chunks))
    files.affordable((BOXED if nested else 8) * count, "as numbers")
    return _stacked(column.to_pylist()) if nested else column.to_numpy()


def _numbers(items: Any) -> int:
    """How many there are, in lists of lists of them."""
    while _is_list(items.type):
        items = items.flatten()
    return len(items)


def _is_list(kind: Any) -> bool:
    from pyarrow import types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


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
