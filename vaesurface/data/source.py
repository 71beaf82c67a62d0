"""Where do data come from? A name or a path in, a data matrix out.

>>> load("antipodal").shape
(2, 2)
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vaesurface import files
from vaesurface.data import arrays, images, known, tables
from vaesurface.data.matrix import check
from vaesurface.data.refusal import count, opened, suffix
from vaesurface.data.text import header, text
from vaesurface.refusal import complaint, located, reading

__all__ = ["load", "names", "within"]

FORMATS: dict[str, Callable[[Path, int | None], np.ndarray]] = {
    ".npy": arrays.one,
    ".npz": arrays.one,
    ".csv": text,
    ".tsv": text,
    ".txt": text,
    ".bin": images.cifar,
    ".mat": arrays.one,
    ".parquet": tables.columns,
    ".feather": tables.columns,
    ".arrow": tables.columns,
}
HEADERS: dict[str, Callable[[Path], list[str] | None]] = {
    ".csv": header,
    ".tsv": header,
    ".txt": header,
    ".parquet": tables.header,
    ".feather": tables.header,
    ".arrow": tables.header,
}
SHOWN = 200  # characters of a source that a message quotes
PACKED = (".bz2", ".xz", ".zst", ".zip", ".7z", ".tar", ".tgz")
PICKLED = (".pkl", ".pickle", ".pt", ".pth", ".joblib", ".ckpt")
KNOWN = (
    f"a name ({', '.join([*known.SHIPPED, *known.FETCHED])}) "
    f"or a path ({' '.join(FORMATS)}, IDX, any of them .gz, image folder)"
)


def load(source: str | os.PathLike, *, limit: int | None = None) -> np.ndarray:
    """Data matrix (n, d) of a data set that ships or of a local file.

    limit: how many of its first rows; None takes all. source: a name or a path:

    - "digits" (1797, 64) in [0, 1]; "digits-4x4" (1797, 16), its means over 2 x 2 pixels;
      "antipodal" (2, 2)
    - "patches" (8480, 192): all 8 x 8 squares of scikit-learn's two color photographs, shuffled
      (once and for all); "patches-32x32" (7700, 3072): larger ones, which overlap, for each starts
      8 pixels from the next
    - "mnist", "fashion-mnist", "cifar-10", "svhn": fetched from openml.org once and kept in
      scikit-learn's cache (`sklearn.datasets.get_data_home()`); where there is no network, give the
      data set's own file by its path
    - `.npy`, `.npz`, `.mat` (their only array, or the one named X or x), as they are; a `.mat` of
      SVHN's cropped digits gives pixels (n, 3072)
    - `.csv`, `.tsv`, `.txt`: numbers between commas, semicolons, tabs or spaces, a header or none;
      an index as pandas writes it, a column without a name, is left out; what could be read in
      two ways is refused (`tables`)
    - `.parquet`, `.feather`, `.arrow`, where pyarrow is installed (or for parquet what pandas
      reads it with): columns of numbers, or one of lists
    - IDX such as MNIST's, told by its magic number: unsigned bytes are pixels, others values
    - `.bin`, CIFAR-10 or CIFAR-100, told by the length of a record
    - any of these gzipped, with `.gz` after its name
    - a folder of images by file name: one size, all 8-bit grayscale or all RGB, the first frame of
      animations

    Nothing is ever unpickled, only regular files are read (no pipes, no devices), and none that
    holds more than `files.most()` bytes, unpacked, as text or in float64 (`files.given` says how
    much). Raises FileNotFoundError where the path does not exist,
    ConnectionError where a data set cannot be fetched, and ValueError for all that gives no such
    matrix: an unknown name, a truncated file, a limit below 2, data that `check` refuses.
    """
    if limit is not None:
        count("limit", limit, least=2)
    if isinstance(source, str) and source in known.SHIPPED:
        return check(known.SHIPPED[source]()[:limit])
    if isinstance(source, str) and source in known.FETCHED:
        return check(known.fetched(source, limit))
    path = _existing(source)
    with located(path), reading("a file of data, whole", "save or fetch it again"):
        return check(_reader(path)(path, limit))


def names(source: str | os.PathLike) -> list[str] | None:
    """What the features of a table are called, in the order of `load`'s columns: by its header, or
    its columns' names; None where they have none, as pixels.

    Raises FileNotFoundError where no file is, ValueError for one that `load` would not read.
    """
    if isinstance(source, str) and source in {*known.SHIPPED, *known.FETCHED}:
        return None
    path = _existing(source)
    with located(path), reading("a file of data, whole", "save or fetch it again"):
        find = HEADERS.get("" if path.is_dir() else suffix(path))
        return None if find is None else find(path)


def within(source: Any, folder: str | os.PathLike) -> str:
    """A source that was read in a file that somebody else may have made, if to load it touches
    nothing but that folder: a data set that ships, or a path into it, which is returned free of
    links.

    Raises ValueError for any other.
    """
    if isinstance(source, str) and source in known.SHIPPED:
        return source
    expected = f"data that ship or lie in {os.fspath(folder)}"
    trouble = complaint(expected, repr(source)[:SHOWN], "if you trust it, name it with --data")
    if not isinstance(source, str) or source in known.FETCHED:
        raise trouble
    root, path = (os.path.abspath(os.path.expanduser(place)) for place in (folder, source))
    if not Path(path).is_relative_to(root):
        raise trouble
    place = files.inside(root, os.path.relpath(path, root))
    for entry in place.iterdir() if place.is_dir() else ():
        files.inside(place, entry.name)
    return str(place)


def _existing(source: Any) -> Path:
    """The path that `source` names, or an error that says what could have been named."""
    if not isinstance(source, str | os.PathLike):
        remedy = "pass arrays to `check` instead"
        raise complaint("a name or a path", f"{type(source).__name__}", remedy)
    path = Path(os.path.expanduser(source))
    if source != "" and os.path.exists(path):
        return path
    if source == "" or (isinstance(source, str) and path.name == source and not path.suffix):
        remedy = "use such a name or a path that exists"
        raise complaint(KNOWN, f"{source!r}, which is neither", remedy)
    raise FileNotFoundError(
        f"expected a file or folder, got {str(path)!r} where none is; correct the path"
    )


def _reader(path: Path) -> Callable[[Path, int | None], np.ndarray]:
    """Who reads it: by its suffix, the one before .gz, or else IDX, told by its magic number."""
    if path.is_dir():
        return images.folder
    form = suffix(path)
    if form in PACKED:
        raise complaint(KNOWN, f"{path.name!r}", "unpack it first")
    if form in PICKLED:
        remedy = "nothing is ever unpickled: save the arrays with np.savez"
        raise complaint(KNOWN, f"{path.name!r}", remedy)
    if form in FORMATS:
        return FORMATS[form]
    with reading("an IDX file, whole, plain or gzipped", "fetch it again"), opened(path) as file:
        begins = file.read(4)
    if not images.is_idx(begins):
        got = f"{path.name!r}, which begins with {begins!r} and so is not IDX either"
        raise complaint(KNOWN, got, "convert the file, for example to .npy")
    return images.idx
