"""Which arrays are in a file? `.npy`, `.npz`, MATLAB's `.mat`, or columns of a table.

Nothing is ever unpickled, and every complaint names the array.
"""

import warnings
from pathlib import Path
from typing import IO, Any
from zipfile import BadZipFile

import numpy as np

from vaesurface.data import images, tables
from vaesurface.data.matrix import check
from vaesurface.data.refusal import complaint, listed, located, opened, reading, suffix

__all__ = ["named", "one"]

MAGIC = (b"\x93NUMPY", b"PK")  # what NumPy's files begin with
UNNAMED = ""  # an array that is alone in its file
FORM = "a NumPy file of numbers, whole and not pickled"


def one(path: Path, limit: int | None) -> np.ndarray:
    """A file's only array, or the one named X or x, as a data matrix; SVHN's as pixels."""
    if suffix(path) == ".mat":
        content = _matlab(path)
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
    if suffix(path) == ".mat":
        return _matlab(path)
    if suffix(path) in (".parquet", ".feather", ".arrow"):
        return tables.named_columns(path)
    content = _numpy(path)
    if UNNAMED in content:
        got = f"one of shape {np.shape(content[UNNAMED])} without a name"
        raise complaint("arrays with names", got, "save them with np.savez(path, name=array, ...)")
    return content


def _rows(array: np.ndarray, limit: int | None) -> np.ndarray:
    """The first rows of a matrix; all of what is none, so that its refusal names its shape."""
    return array[:limit] if array.ndim == 2 else array


def _numpy(path: Path) -> dict[str, Any]:
    """Arrays by name, that of an `.npy` as UNNAMED."""
    with opened(path) as file:
        with reading(FORM, "save plain arrays again with np.save or np.savez"):
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
        return np.load(file, allow_pickle=False)
    except Exception as error:
        raise _unreadable(error) from error


def _member(archive: Any, name: str) -> Any:
    """One array of an archive, or why it cannot be read."""
    try:
        array = archive[name]
        # A member that is no array comes as bytes.
        if isinstance(array, np.ndarray):
            return array
        return _unreadable(ValueError("it is no array"))
    except Exception as error:
        return _unreadable(error)


def _unreadable(error: Exception) -> ValueError:
    if "Object arrays" in str(error):
        got = "an object array (a dict, rows of unequal length, None, tensors in a list), pickled"
        remedy = "save np.stack(rows).astype(float), or a dict with np.savez(path, **it)"
        return complaint("numbers", got, remedy)
    got = f"{type(error).__name__}: {error}"
    if isinstance(error, BadZipFile):
        got = f"an archive that is cut off or damaged ({error})"
    return complaint(FORM, got, "save plain arrays again with np.save or np.savez")


def _matlab(path: Path) -> dict[str, Any]:
    """Arrays by name."""
    from scipy.io import loadmat

    form = "MATLAB's arrays, whole"
    with opened(path) as file, warnings.catch_warnings():
        # An unreadable variable is only a warning to scipy.
        warnings.simplefilter("error", UserWarning)
        try:
            content = loadmat(file)
        except NotImplementedError as error:
            remedy = "save it with -v7 in MATLAB, or as .npz"
            raise complaint(form, "version 7.3 (HDF5)", remedy) from error
        except Exception as error:
            got = f"{type(error).__name__}: {error}"
            raise complaint(form, got, "fetch or save it again") from error
    return {name: _matlab_numbers(a) for name, a in content.items() if not name.startswith("__")}


def _matlab_numbers(array: Any) -> Any:
    """An array, or why it is none of numbers."""
    if hasattr(array, "toarray"):
        return array.toarray()
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biufcUS":
        got = f"MATLAB's cell, structure or function ({getattr(array, 'dtype', type(array))})"
        return complaint("numbers", got, "save a plain array: cell2mat(it), or one of its fields")
    return array
