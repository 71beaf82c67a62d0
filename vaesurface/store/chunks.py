"""How is a chunk of a sweep's cells kept?

One immutable `.npz`, named after its cells: computed twice, it replaces itself. It knows the sweep
that it is of, who computed it with what, and a digest of each of its arrays. Arrays are read one by
one, when they are asked for.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as place:
...     cells, leaves = {"alpha": np.array([0.0, 0.5])}, {"loss": np.array([3.0, 4.0])}
...     sweep = {"axes": {"alpha": "float64"}, "leaves": layout(leaves)}
...     read(write(Path(place), Contents(cells, leaves, None), sweep), sweep).leaf("loss")
array([3., 4.])
"""

import errno
import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

from vaesurface import files
from vaesurface.store.names import Columns, complaint, differences, identities

__all__ = ["Chunk", "Contents", "array_of", "layout", "read", "readable", "told", "write"]

# What keeps a file from being read that may be whole.
UNREADABLE = {errno.EACCES, errno.EPERM, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ETIMEDOUT}
REMEDY = "delete it to have its cells computed again"
Value = TypeVar("Value")


class Contents(NamedTuple):
    """Cells and their results.

    cells: of each axis its values, once per cell.
    leaves: the results by name, leading axis: cells.
    label: (cells,) the results in words; None where they have none.
    """

    cells: Columns
    leaves: Columns
    label: np.ndarray | None


class Chunk(NamedTuple):
    """A file whose cells are read, and whose results are there to be read.

    cells: of each axis its values, once per cell.
    about: what the chunk says of itself: "sweep", "made" and "digests"; None before it did.
    layout: of each leaf its shape at one cell, and its dtype.
    label_dtype: of the results in words; None where it has none.
    """

    file: Path
    cells: Columns
    about: dict[str, Any] | None
    layout: dict[str, list]
    label_dtype: np.dtype | None

    def __len__(self) -> int:
        return len(next(iter(self.cells.values())))

    def leaf(self, name: str) -> np.ndarray:
        """One result, leading axis: cells. Raises ValueError where it is damaged or edited."""
        shape, dtype = self.layout[name]
        return self._array(f"leaf_{name}", (len(self), *shape), dtype)

    def label(self) -> np.ndarray:
        """The results in words (cells,)."""
        return self._array("label", (len(self),), None)

    def contents(self) -> Contents:
        """All that it holds."""
        leaves = {name: self.leaf(name) for name in self.layout}
        return Contents(self.cells, leaves, None if self.label_dtype is None else self.label())

    def _array(self, name: str, shape: tuple[int, ...], dtype: str | None) -> np.ndarray:
        array = readable(self.file, partial(_member, name=name, about=self.about))
        if array.shape != shape or dtype not in (None, str(array.dtype)):
            raise complaint("a whole chunk", f"{self.file} damaged ({name})", REMEDY)
        return array


def write(
    folder: Path,
    contents: Contents,
    sweep: Mapping[str, Any],
    made: Mapping[str, Any] | None = None,
) -> Path:
    """Keep cells as a chunk in a folder.

    sweep: settings that the results depend on. made: by whom, with what, in how long.
    """
    arrays = {f"axis_{name}": column for name, column in contents.cells.items()}
    arrays |= {f"leaf_{name}": column for name, column in contents.leaves.items()}
    if contents.label is not None:
        arrays["label"] = contents.label
    digests = {name: _digest(array) for name, array in arrays.items()}
    about = json.dumps({"sweep": sweep, "made": made, "digests": digests}, allow_nan=False)
    file = folder / f"{_name(contents.cells)}.npz"
    folder.mkdir(parents=True, exist_ok=True)
    with files.replacing(file) as new, new.open("xb") as raw:
        np.savez(raw, allow_pickle=False, about=np.frombuffer(about.encode(), np.uint8), **arrays)
    return file


def read(file: Path, sweep: Mapping[str, Any]) -> Chunk:
    """A chunk's cells.

    sweep: that it should be of. Raises ValueError where it is of another or damaged, and
    FileNotFoundError where it is gone.
    """
    chunk = readable(file, partial(_chunk, sweep=sweep, file=file))
    there = {} if chunk.about is None else chunk.about["sweep"]
    if differing := differences(there, {name: sweep.get(name) for name in there}):
        remedy = f"move it out of {file.parent}, or delete store.json if that is the wrong one"
        raise complaint(f"{file} to be of the sweep that store.json tells of", differing, remedy)
    return chunk


def told(file: Path) -> dict[str, Any] | None:
    """The sweep that a chunk says it is of; None where it does not."""
    about = readable(file, _about)
    return None if about is None else about["sweep"]


def readable(
    file: Path, use: Callable[[Any], Value], remedy: str = REMEDY, what: str = "a whole chunk"
) -> Value:
    """What `use` makes of a file's arrays, with whatever fails there named after the file."""
    try:
        with files.opened(file) as raw, np.load(raw, allow_pickle=False) as arrays:
            _require_stored(arrays.zip, file)
            return use(arrays)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno == errno.ESTALE:  # NFS's word for one that is gone
            raise FileNotFoundError(error.errno, error.strerror, str(file)) from error
        if error.errno in UNREADABLE:
            line = (
                f"expected {what}, got {file} that cannot be read now ({error.strerror}); see to "
                f"that and try again"
            )
            raise OSError(line) from error
        raise complaint(what, f"{file} damaged", remedy) from error
    except _Edited as error:
        got = f"{file} with another {error} than was written"
        raise complaint("a chunk as it was written", got, remedy) from error
    except Exception as error:  # parsers raise anything on a damaged file
        raise complaint(what, f"{file} damaged", remedy) from error


def array_of(arrays: Any, name: str) -> np.ndarray:
    """One of a file's arrays; raises ValueError for what is none, which NumPy gives as bytes."""
    array = arrays[name]
    if not isinstance(array, np.ndarray) or array.dtype.hasobject:
        raise ValueError(f"{name} is no array")
    return array


def layout(leaves: Columns) -> dict[str, list]:
    """Shape and dtype of each leaf at one cell, as JSON holds them."""
    return {name: [list(leaf.shape[1:]), str(leaf.dtype)] for name, leaf in leaves.items()}


def _chunk(arrays: Any, sweep: Mapping[str, Any], file: Path) -> Chunk:
    about = _about(arrays)
    expected = sweep if about is None else about["sweep"]
    cells = {name: _member(arrays, name=f"axis_{name}", about=about) for name in expected["axes"]}
    missing = {f"leaf_{name}" for name in expected["leaves"]} - set(arrays.files)
    if missing or len({len(column) for column in cells.values()}) != 1:
        raise ValueError("its arrays are not those that store.json tells of")
    return Chunk(file, cells, about, expected["leaves"], _label_dtype(arrays))


def _label_dtype(arrays: Any) -> np.dtype | None:
    """From the head of the array, which is not read."""
    if "label" not in arrays.files:
        return None
    with arrays.zip.open("label.npy") as member:
        np.lib.format.read_magic(member)
        _, _, dtype = np.lib.format.read_array_header_1_0(member)
    if dtype.kind != "U":
        raise ValueError("words are strings")
    return dtype


class _Edited(Exception):
    """An array is not the one that was written; its name."""


def _require_stored(archive: zipfile.ZipFile, file: Path) -> None:
    """Chunks are not compressed, so no array takes more memory than the file has bytes."""
    size = file.stat().st_size
    for member in archive.infolist():
        if member.compress_type != zipfile.ZIP_STORED or member.file_size > size:
            raise ValueError("compressed")


def _about(arrays: Any) -> dict[str, Any] | None:
    """What a chunk says of itself."""
    if "about" not in arrays.files:
        return None
    about = json.loads(array_of(arrays, "about").tobytes())
    if not (isinstance(about, dict) and {"sweep", "made", "digests"} <= about.keys()):
        raise ValueError("it does not say what it is")
    return about


def _member(arrays: Any, name: str, about: Mapping[str, Any] | None) -> np.ndarray:
    array = array_of(arrays, name)
    if about is not None and about["digests"].get(name) != _digest(array):
        raise _Edited(name)
    return array


def _digest(array: np.ndarray) -> str:
    content = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    content.update(np.ascontiguousarray(array).tobytes())
    return content.hexdigest()[:32]


def _name(cells: Columns) -> str:
    axes = [(name, column.dtype.str) for name, column in sorted(cells.items())]
    return hashlib.sha256(repr(axes).encode() + b"".join(identities(cells))).hexdigest()[:32]
