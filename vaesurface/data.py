"""Which data shape the surface?

Real images that ship or can be fetched, files you have, and families made to measure. Every data
matrix is a float64 array (n, d): rows are data, columns features. Pixels are scaled to [0, 1];
color images are flattened channel by channel (red, green, blue, each row by row), as CIFAR's files
are.

    >>> from vaesurface import data
    >>> data.load("digits").shape
    (1797, 64)
    >>> data.antipodal(d=2)
    array([[ 1.,  1.],
           [-1., -1.]])
"""

import gzip
import hashlib
import math
import os
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from numbers import Integral
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["antipodal", "check", "clusters", "digest", "gaussian", "load", "shape"]

# Element types of an IDX file by the third byte of its magic number (Y. LeCun's MNIST page); all
# big-endian.
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_PIXELS = 3 * 32 * 32  # of one CIFAR or SVHN image
# CIFAR-10 has one label byte before the pixels, CIFAR-100 two.
_CIFAR_RECORDS = (1 + _PIXELS, 2 + _PIXELS)
# Image data sets of openml.org: number, axes of a row, and whether these are (height, width,
# channels). CIFAR-10's rows are those of its own files, red first; SVHN's keep the three colors of
# a pixel together, as notebooks that draw them show.
_OPENML: dict[str, tuple[int, tuple[int, int, int], bool]] = {
    "mnist": (554, (1, 28, 28), False),
    "fashion-mnist": (40996, (1, 28, 28), False),
    "cifar-10": (40927, (3, 32, 32), False),
    "svhn": (41081, (32, 32, 3), True),
}
_STRIDE = 8  # pixels between the squares that are cut from photographs
_IMAGES = (
    ".bmp",
    ".gif",
    ".jpeg",
    ".jpg",
    ".pbm",
    ".pgm",
    ".png",
    ".ppm",
    ".tif",
    ".tiff",
    ".webp",
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
    - `.npy`, `.npz` (its only array, or the one named X or x), `.csv` (a header is optional), as
      they are
    - IDX such as MNIST's, plain or `.gz`, told by its magic number: unsigned bytes are pixels,
      others values
    - `.bin`, CIFAR-10 or CIFAR-100, told by the length of a record; `.mat`, SVHN's cropped digits:
      (n, 3072)
    - a folder of images by file name: one size, all 8-bit grayscale or all RGB, the first frame of
      animations

    Nothing is ever unpickled. Raises FileNotFoundError where the path does not exist,
    ConnectionError where a data set cannot be fetched, and ValueError for all that gives no such
    matrix: an unknown name, a truncated file, a limit below 2, data that `check` refuses.
    """
    if limit is not None:
        _count("limit", limit, least=2)
    if isinstance(source, str) and source in _SHIPPED:
        return check(_SHIPPED[source]()[:limit])
    if isinstance(source, str) and source in _OPENML:
        return check(_openml(source, limit))
    path = _existing(source)
    read = _folder if path.is_dir() else _FORMATS.get(path.suffix.lower(), _idx)
    rows = read(path, limit)
    try:
        return check(rows)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def check(X: npt.ArrayLike) -> np.ndarray:
    """The data matrix `X` (n, d) as a C-contiguous float64 array; a copy only where one is needed.

    Raises ValueError unless `X` holds finite real numbers in at least two rows and one column, with
    a total variance that is neither zero (to rounding) nor infinite.
    """
    try:
        X = np.asarray(X)
    except ValueError as error:
        got, remedy = "rows of unequal length", "give each row d values"
        raise _complaint("a matrix (n, d)", got, remedy) from error
    if X.dtype.kind not in "iuf":
        remedy = "convert them, for example with X.astype(float)"
        raise _complaint("real numbers", f"dtype {X.dtype}", remedy)
    if X.ndim != 2:
        raise _complaint("a matrix (n, d)", f"shape {X.shape}", "reshape it to one row per datum")
    if len(X) < 2:
        raise _complaint("at least 2 rows", f"shape {X.shape}", "give more data, one datum a row")
    if X.shape[1] == 0:
        raise _complaint("at least 1 column", f"shape {X.shape}", "give every datum a feature")
    with np.errstate(over="ignore"):
        X = np.ascontiguousarray(X, dtype=np.float64)
    bad = ~np.isfinite(X)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        got = f"{bad.sum()} NaN or infinite, the first at row {row}, column {column}"
        raise _complaint("finite numbers", got, "drop or impute those rows")
    _check_spread(X)
    return X


def shape(X: npt.ArrayLike) -> tuple[int, int, int]:
    """(channels, height, width) of the square images that the rows of X (n, d) are, gray or RGB.

    d alone tells, for no number is both a square and three times a square. Raises ValueError where
    it is neither.

    >>> shape(np.zeros((5, 64))), shape(np.zeros((5, 192)))
    ((1, 8, 8), (3, 8, 8))
    """
    d = np.shape(X)[-1]
    for channels in (1, 3):
        side = math.isqrt(d // channels)
        if side and channels * side**2 == d:
            return channels, side, side
    expected, remedy = (
        "rows that are square images, gray or RGB",
        "crop the images, or choose other data",
    )
    raise _complaint(expected, f"{d} features", remedy)


def antipodal(d: int = 2) -> np.ndarray:
    """Two data (2, d), all ones and all minus ones: the trap of the paper's Proposition 4.1."""
    _count("d", d, least=1)
    return np.stack([np.ones(d), -np.ones(d)])


def gaussian(n: int, spectrum: npt.ArrayLike, *, seed: int) -> np.ndarray:
    """Data (n, d) of mean zero whose covariance has just the eigenvalues `spectrum` (d,).

    That is exact up to rounding, for the covariance normalized by 1/n; scores and principal
    directions are uniformly random, as in a normal sample. Raises ValueError where `spectrum` has a
    negative, no positive, or at least n nonzero eigenvalues.

    >>> X = gaussian(20, [4.0, 1.0, 0.0], seed=0)
    >>> np.abs(np.linalg.eigvalsh(X.T @ X / 20)).round(12)
    array([0., 1., 4.])
    """
    _count("n", n, least=2)
    _count("seed", seed, least=0)
    spectrum = np.asarray(spectrum, dtype=np.float64)
    valid = np.isfinite(spectrum) & (spectrum >= 0)
    if spectrum.ndim != 1 or not valid.all() or not spectrum.any():
        expected = "a spectrum (d,) of eigenvalues >= 0, one of them > 0"
        raise _complaint(expected, f"{spectrum.tolist()}", "give a covariance's")
    variances = spectrum[spectrum > 0]
    rank = len(variances)
    if n <= rank:
        raise _complaint(f"n > {rank}, the number of nonzero eigenvalues", f"n = {n}", "raise n")
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((n, rank))
    scores = np.linalg.qr(scores - scores.mean(axis=0)).Q
    directions, triangle = np.linalg.qr(rng.standard_normal((len(spectrum), rank)))
    # This makes them uniform: F. Mezzadri, Notices of the AMS 54 (2007).
    directions *= np.sign(np.diag(triangle))
    return check((scores * np.sqrt(n * variances)) @ directions.T)


def clusters(n: int, d: int, *, centers: int, noise: float, seed: int) -> np.ndarray:
    """Data (n, d) at `centers` standard normal points, plus isotropic noise.

    noise: its standard deviation. Row i belongs to center i mod `centers`. Raises ValueError unless
    1 <= centers <= n and 0 <= noise < inf, and where one center without noise leaves nothing that
    varies.
    """
    _count("n", n, least=2)
    _count("d", d, least=1)
    _count("centers", centers, least=1)
    _count("seed", seed, least=0)
    if centers > n:
        raise _complaint(f"at most n = {n} centers", f"{centers}", "raise n or lower centers")
    if not 0 <= noise < math.inf:
        expected = "noise as a finite standard deviation >= 0"
        raise _complaint(expected, f"{noise}", "give such a number")
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((centers, d))
    return check(points[np.arange(n) % centers] + noise * rng.standard_normal((n, d)))


def digest(X: npt.ArrayLike) -> str:
    """SHA-256 (hexadecimal) of an array's shape and values (little-endian float64): provenance."""
    X = np.ascontiguousarray(X, dtype="<f8")
    return hashlib.sha256(repr(X.shape).encode() + X.tobytes()).hexdigest()


def _check_spread(X):
    """Raise unless the total variance of `X` (n, d) is a positive float, whatever rounding does."""
    low, high = X.min(axis=0), X.max(axis=0)
    with np.errstate(over="ignore", under="ignore"):
        spread = high - low
        spread[spread <= 4 * np.finfo(float).eps * np.maximum(-low, high)] = 0.0
        total = spread @ spread
    if total == 0.0:
        remedy = "give data of positive variance"
        raise _complaint("data that vary", "rows all equal to rounding", remedy)
    if not np.isfinite(total):
        got = f"values that differ by {spread.max():.3g}"
        raise _complaint("a finite variance", got, "rescale the data")


def _digits():
    from sklearn.datasets import load_digits

    return load_digits().data / 16.0


def _digits_4x4():
    return _digits().reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)


def _patches(side=8):
    from sklearn.datasets import load_sample_images

    cut = partial(np.lib.stride_tricks.sliding_window_view, window_shape=(side, side), axis=(0, 1))
    squares = [
        cut(photo)[::_STRIDE, ::_STRIDE].reshape(-1, 3 * side**2)
        for photo in load_sample_images().images
    ]
    rows = np.concatenate(squares)
    # Shuffled, so that the first few are of both photographs.
    return np.random.default_rng(0).permutation(rows) / 255.0


def _openml(name, limit):
    from sklearn.datasets import fetch_openml

    number, axes, colors_last = _OPENML[name]
    # Without this dtype whole numbers as class labels fail with pandas 3.1.
    reading = {"nrows": limit, "dtype": None}
    remedy = "give the path of the data set's own file, or try again"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for every retry
            rows = fetch_openml(
                data_id=number, as_frame=False, parser="pandas", read_csv_kwargs=reading
            ).data
    except (OSError, HTTPException) as error:
        got = f"{type(error).__name__}: {error}"
        line = _complaint(f"{name} from openml.org or scikit-learn's cache", got, remedy)
        raise ConnectionError(str(line)) from error
    except Exception as error:
        # Parsers raise anything; also where the checksum is not the one announced.
        got = f"{type(error).__name__}: {error}"
        raise _complaint(f"{name} from openml.org, whole", got, remedy) from error
    if rows.ndim != 2 or rows.shape[1] != math.prod(axes) or rows.dtype.kind not in "iuf":
        got = f"shape {rows.shape}, dtype {rows.dtype}"
        raise _complaint(f"{name} of {math.prod(axes)} pixels", got, remedy)
    images = rows.reshape(-1, *axes)
    return (images.transpose(0, 3, 1, 2) if colors_last else images).reshape(rows.shape) / 255.0


def _existing(source):
    """The path that `source` names, or an error that says what could have been named."""
    if not isinstance(source, str | os.PathLike):
        remedy = "pass arrays to `check` instead"
        raise _complaint("a name or a path", f"{type(source).__name__}", remedy)
    path = Path(os.path.expanduser(source))
    if source != "" and os.path.exists(path):
        return path
    if source == "" or (isinstance(source, str) and path.name == source and not path.suffix):
        remedy = "use such a name or a path that exists"
        raise _complaint(_KNOWN, f"{source!r}, which is neither", remedy)
    raise FileNotFoundError(
        f"expected a file or folder, got {str(path)!r} where none is; correct the path"
    )


def _numpy(path, limit):
    form = "a NumPy file of numbers, whole and not pickled"
    remedy = "save a plain array again with np.save"
    with _reading(path, form, remedy), path.open("rb") as file:
        magic = file.read(6)
        if not magic.startswith((b"\x93NUMPY", b"PK")):  # np.load would take it for a pickle
            raise ValueError(f"it begins with {magic!r}")
        file.seek(0)
        loaded = np.load(file, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return np.atleast_1d(loaded)[:limit]
        names = [name for name in ("X", "x") if name in loaded.files] or loaded.files
        if len(names) == 1:
            return np.atleast_1d(loaded[names[0]])[:limit]
    got = f"arrays {loaded.files}"
    raise _complaint("one array or one named X", got, "name one of them X", path)


def _csv(path, limit):
    form, remedy = "comma-separated numbers, as many in every line", "correct or complete the file"
    with _reading(path, form, remedy):
        lines = [line for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        has_header = bool(lines) and not any(_is_number(cell) for cell in lines[0].split(","))
        lines = lines[has_header:][:limit]
        if lines:
            return np.loadtxt(lines, delimiter=",", comments=None, quotechar='"', ndmin=2)
    raise _complaint(form, "no line of data", remedy, path)


def _is_number(cell):
    try:
        float(cell.strip(' "'))
    except ValueError:
        return False
    return True


def _idx(path, limit):
    """Rows of an IDX file.

    It holds the magic number 0, 0, type, rank; one big-endian uint32 per dimension; the values.
    """
    with _reading(path, "an IDX file, whole, plain or gzipped", "fetch it again"):
        raw = path.read_bytes()
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _IDX_TYPES:
        got = f"{path.name!r}, which begins with {raw[:4]!r} and so is not IDX either"
        raise _complaint(_KNOWN, got, "convert the file, for example to .npy")
    dtype, rank = np.dtype(_IDX_TYPES[raw[2]]), raw[3]
    if rank < 2:
        remedy = "load images, not their labels"
        raise _complaint("IDX of rank 2 or more", f"rank {rank}", remedy, path)
    start = 4 + 4 * rank
    shape = [int.from_bytes(raw[at : at + 4], "big") for at in range(4, start, 4)]
    size = start + math.prod(shape) * dtype.itemsize
    if len(raw) != size:
        expected = f"{size} bytes for shape {tuple(shape)}"
        raise _complaint(expected, f"{len(raw)}", "fetch it again", path)
    rows = np.frombuffer(raw, dtype, offset=start).reshape(shape[0], math.prod(shape[1:]))[:limit]
    return rows / 255.0 if dtype == np.uint8 else rows


def _cifar(path, limit):
    size = path.stat().st_size
    lengths = [length for length in _CIFAR_RECORDS if size and size % length == 0]
    if len(lengths) != 1:
        one, two = _CIFAR_RECORDS
        expected = f"CIFAR records of either {one} bytes (CIFAR-10) or {two} (CIFAR-100)"
        got = f"{size} bytes, a whole number of {'both' if lengths else 'neither'}"
        remedy = "drop the last record" if lengths else "fetch the file again"
        raise _complaint(expected, got, remedy, path)
    (length,) = lengths
    with _reading(path, "a CIFAR file", "make it readable"):
        raw = np.fromfile(path, np.uint8, count=-1 if limit is None else limit * length)
    return raw.reshape(-1, length)[:, -_PIXELS:] / 255.0


def _svhn(path, limit):
    from scipy.io import loadmat

    form = "SVHN's uint8 array X (32, 32, 3, n)"
    remedy = "fetch SVHN's cropped digits (format 2) again"
    with _reading(path, form, remedy), warnings.catch_warnings():
        # An unreadable variable is only a warning to scipy.
        warnings.simplefilter("error", UserWarning)
        content = loadmat(path)
    if "X" not in content:
        names = [name for name in content if not name.startswith("__")]
        raise _complaint(form, f"arrays {names}", remedy, path)
    X = content["X"]
    is_bytes = isinstance(X, np.ndarray) and X.dtype == np.uint8
    if not is_bytes or X.ndim != 4 or X.shape[:3] != (32, 32, 3):
        got = f"X of dtype {getattr(X, 'dtype', type(X).__name__)} and shape {np.shape(X)}"
        raise _complaint(form, got, remedy, path)
    return X[..., :limit].transpose(3, 2, 0, 1).reshape(-1, _PIXELS) / 255.0


def _folder(path, limit):
    files = sorted(file for file in path.glob("[!.]*") if file.suffix.lower() in _IMAGES)[:limit]
    if not files:
        expected, remedy = f"images ({' '.join(_IMAGES)})", "name the folder that holds them"
        raise _complaint(expected, "a folder without any", remedy, path)
    images = [_pixels(file) for file in files]
    kinds = [f"{'RGB' if image.ndim == 3 else 'grayscale'} {image.shape[-2:]}" for image in images]
    usual, _ = Counter(kinds).most_common(1)[0]
    for file, kind in zip(files, kinds, strict=True):
        if kind != usual:
            raise _complaint(f"{usual} like most of its folder", kind, "convert or remove it", file)
    return np.stack([image.ravel() for image in images]) / 255.0


def _pixels(path):
    """Pixels of one image, uint8: (height, width) if grayscale, (3, height, width) if RGB."""
    from PIL import Image

    with _reading(path, "an image, whole", "replace or remove it"), Image.open(path) as image:
        mode = image.mode
        if mode == "P":
            mode = "RGBA" if "transparency" in image.info else "RGB"
        pixels = np.asarray(image.convert("L" if mode == "1" else mode))
        if image.mode == "P" and (pixels == pixels[..., :1]).all():
            # A grayscale image becomes a palette of grays when saved as GIF.
            return pixels[..., 0]
    if mode not in ("1", "L", "RGB"):
        remedy = "convert it to one of these"
        raise _complaint("8-bit grayscale or RGB", f"mode {mode}", remedy, path)
    return np.moveaxis(pixels, -1, 0) if mode == "RGB" else pixels


@contextmanager
def _reading(path, form, remedy):
    """Report whatever a parser raises on a bad file (anything) as one line about that file."""
    try:
        yield
    except Exception as error:
        raise _complaint(form, f"{type(error).__name__}: {error}", remedy, path) from error


def _count(name, value, *, least):
    if not isinstance(value, Integral) or value < least:
        raise _complaint(f"{name} as an integer >= {least}", f"{value!r}", "give such a number")


def _complaint(expected, got, remedy, path=None):
    """The one line every complaint about data is: what was expected, what was got, what to do."""
    where = "" if path is None else f"{path}: "
    return ValueError(" ".join(f"{where}expected {expected}, got {got}; {remedy}".split()))


_SHIPPED: dict[str, Callable[[], np.ndarray]] = {
    "digits": _digits,
    "digits-4x4": _digits_4x4,
    "antipodal": antipodal,
    "patches": _patches,
    "patches-32x32": partial(_patches, 32),
}
_FORMATS = {".npy": _numpy, ".npz": _numpy, ".csv": _csv, ".bin": _cifar, ".mat": _svhn}
_KNOWN = (
    f"a name ({', '.join([*_SHIPPED, *_OPENML])}) "
    f"or a path ({' '.join(_FORMATS)}, IDX, IDX.gz, image folder)"
)
