"""Which arrays are in a file? `.npy`, `.npz`, MATLAB's `.mat`, or columns of a table.

Nothing is ever unpickled, and every complaint names the array.
"""

import math
import struct
from pathlib import Path
from typing import IO, Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np

from vaesurface import files
from vaesurface.data import images, matlab, tables
from vaesurface.data.matrix import check
from vaesurface.data.refusal import in_float64, listed, opened, suffix
from vaesurface.refusal import complaint, is_complete, located, reading

__all__ = ["named", "one"]

ZIP = b"PK"
MAGIC = (b"\x93NUMPY", ZIP)  # what NumPy's files begin with
UNNAMED = ""  # an array that is alone in its file
FORM = "a NumPy file of numbers, whole and not pickled"
AGAIN = "save plain arrays again with np.save or np.savez"
END = b"PK\5\6"  # of an archive: the record that tells how long its list of members is
END_BYTES = 22
COMMENT = 2**16  # bytes after it at most
LARGE, LARGE_BYTES = b"PK\6\7", 20  # what stands before it in archives of 4 GiB and more
LISTED = 2**20  # bytes of that list: NumPy takes some 60 for a member


def one(path: Path, limit: int | None) -> np.ndarray:
    """A file's only array, or the one named X or x, as a data matrix; SVHN's as pixels."""
    if suffix(path) == ".mat":
        content = matlab.arrays(path)
    else:
        content = _numpy(path)
    if UNNAMED in content:
        return check(_rows(content[UNNAMED], limit))
    names: list[str] = [name for name in ("X", "x") if name in content] or list(content)
    if len(names) != 1:
        remedy = "name one of them X" if names else "save one"
        raise complaint("one array or one named X", f"arrays {listed(content)}", remedy)
    with located(f"array {names[0]!r}"):
        array = content[names[0]]
        if isinstance(array, ValueError):
            raise array
        if suffix(path) == ".mat" and images.is_svhn(array):
            return images.svhn(array, limit)
        return check(_rows(array, limit))


def named(path: Path) -> dict[str, Any]:
    """The arrays of an `.npz`, a `.mat`, or the columns of a `.parquet`, `.feather` or `.arrow`, by
    name; in place of one that cannot be read stands the ValueError that says why.

    Raises ValueError for a file that holds no arrays with names.
    """
    with located(path), reading("a file of arrays, whole", "save it again"):
        if suffix(path) == ".mat":
            return matlab.arrays(path)
        if suffix(path) in (".parquet", ".feather", ".arrow"):
            return tables.named_columns(path)
        content = _numpy(path)
        if UNNAMED in content:
            got = f"one of shape {np.shape(content[UNNAMED])} without a name"
            remedy = "save them with np.savez(path, name=array, ...)"
            raise complaint("arrays with names", got, remedy)
        return content


def _rows(array: np.ndarray, limit: int | None) -> np.ndarray:
    """The first rows of a matrix; all of what is none, so that its refusal names its shape."""
    return in_float64(array[:limit] if array.ndim == 2 else array)


def _numpy(path: Path) -> dict[str, Any]:
    """Arrays by name, that of an `.npy` as UNNAMED."""
    with opened(path) as file:
        with reading(FORM, AGAIN):
            _require_numpy(file)
        loaded = _loaded(file)
        if isinstance(loaded, np.ndarray):
            return {UNNAMED: loaded}
        with loaded:
            return {name: _member(loaded, name) for name in loaded.files}


def _require_numpy(file: IO[bytes]) -> None:
    """np.load would take anything else for a pickle."""
    begins = file.read(6)
    if not begins.startswith(MAGIC):
        raise ValueError(f"it begins with {begins!r}")
    file.seek(0)


def _loaded(file: IO[bytes]) -> Any:
    try:
        if file.read(len(ZIP)) == ZIP:
            _require_few(file)
        else:
            _require_honest(file, file.seek(0, 2))
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        if not isinstance(loaded, np.ndarray):
            _require_small(loaded.zip)
        return loaded
    except Exception as error:
        raise _unreadable(error) from error


def _require_few(file: IO[bytes]) -> None:
    """Refuse an archive whose list of members is long: it takes many times its bytes."""
    size = file.seek(0, 2)
    file.seek(max(0, size - LARGE_BYTES - END_BYTES - COMMENT))
    ends = file.read()
    at = ends.rfind(END)
    if at < 0 or len(ends) < at + END_BYTES:
        raise BadZipFile("its end is missing")
    length = struct.unpack_from("<L", ends, at + 12)[0]
    large = ends[: max(0, at)][-LARGE_BYTES:].startswith(LARGE)
    if length > LISTED or (large and size < 2**32):
        raise complaint("an archive of some arrays", "one of very many members", "save fewer")


def _require_small(archive: ZipFile) -> None:
    """Refuse an archive of more than memory is meant for; members are read no further than their
    size is told.
    """
    for member in archive.infolist():
        if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise complaint("an archive as NumPy packs it", "another packing", AGAIN)
    files.affordable(sum(member.file_size for member in archive.infolist()), "unpacked")


def _require_honest(file: IO[bytes], size: int) -> None:
    """Refuse an array of more bytes than follow its header: NumPy takes memory for what that says.

    size: of the file.
    """
    file.seek(0)
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0
    if version != (1, 0):  # 3.0 differs in how fields are named
        header = np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    told, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if told > held and not dtype.hasobject:
        raise ValueError(f"{held} bytes where its header tells of {told}")


def _member(archive: Any, name: str) -> Any:
    """One array of an archive, or why it cannot be read."""
    try:
        inner = name if name in archive.zip.NameToInfo else f"{name}.npy"
        with archive.zip.open(inner) as file:
            if file.read(len(MAGIC[0])) == MAGIC[0]:
                _require_honest(file, archive.zip.getinfo(inner).file_size)
        array = archive[name]
        # A member that is no array comes as bytes.
        if isinstance(array, np.ndarray):
            return array
        return _unreadable(ValueError("it is no array"))
    except Exception as error:
        return _unreadable(error)


def _unreadable(error: Exception) -> ValueError:
    if isinstance(error, ValueError) and is_complete(error):
        return error
    if "Object arrays" in str(error):
        got = "an object array (a dict, rows of unequal length, None, tensors in a list), pickled"
        remedy = "save np.stack(rows).astype(float), or a dict with np.savez(path, **it)"
        return complaint("numbers", got, remedy)
    got = f"{type(error).__name__}: {error}"
    if isinstance(error, BadZipFile):
        got = f"an archive that is cut off or damaged ({error})"
    return complaint(FORM, got, AGAIN)
