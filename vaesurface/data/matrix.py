"""What is a data matrix? Finite real numbers (n, d) that vary.

>>> check([[1, 2], [3, 5]])
array([[1., 2.],
       [3., 5.]])
"""

import hashlib
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from vaesurface.refusal import complaint

__all__ = ["check", "digest", "plain", "reals", "shape"]

SHOWN = 40  # characters of an entry that a message quotes


def check(X: npt.ArrayLike) -> np.ndarray:
    """The data matrix `X` (n, d) as a C-contiguous float64 array; a copy only where one is needed.

    Raises ValueError unless `X` holds finite real numbers in at least two rows and one column, with
    a total variance that is neither zero (to rounding) nor infinite.
    """
    X = reals(X)
    if X.ndim != 2:
        raise complaint("a matrix (n, d)", f"shape {X.shape}", "reshape it to one row per datum")
    if len(X) < 2:
        raise complaint("at least 2 rows", f"shape {X.shape}", "give more data, one datum a row")
    if X.shape[1] == 0:
        raise complaint("at least 1 column", f"shape {X.shape}", "give every datum a feature")
    bad = ~np.isfinite(X)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        got = f"{bad.sum()} NaN or infinite, the first at row {row}, column {column}"
        raise complaint("finite numbers", got, "drop or impute those rows")
    _check_spread(X)
    return X


def reals(value: Any, name: str | None = None) -> np.ndarray:
    """An array of any shape as C-contiguous float64; a copy only where one is needed.

    name: how messages call it. Types of machine learning (bfloat16, float8) are taken as what they
    are. Raises ValueError for all that is not an array of real numbers: text, objects, complex and
    truth values, sparse and masked arrays.
    """
    array = _array(value, "" if name is None else f" as {name}")
    known = array.dtype.kind in "iuf" or _is_extension(array.dtype)
    if not known:
        got, remedy = _foreign(array)
        expected = "real numbers" if name is None else f"real numbers as {name}"
        raise complaint(expected, f"dtype {array.dtype}{got}", remedy)
    with np.errstate(over="ignore"):
        # ndim is kept: np.ascontiguousarray makes a number a row.
        return np.asarray(array, dtype=np.float64, order="C")


def plain(value: Any) -> np.ndarray:
    """An array of whatever library as NumPy has it, of its own type: one of PyTorch's also with a
    gradient, on a device, or in bfloat16, which becomes float32.
    """
    if hasattr(value, "detach") and hasattr(value, "cpu"):
        tensor = value.detach().cpu()
        try:
            return tensor.numpy()
        except TypeError:  # bfloat16, which NumPy does not have
            return tensor.float().numpy()
    if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
        return np.from_dlpack(value)
    return np.asarray(value)


def _array(value: Any, as_name: str) -> np.ndarray:
    """As NumPy has it."""
    if hasattr(value, "toarray"):
        got = f"a sparse {type(value).__name__}"
        raise complaint(f"a dense array{as_name}", got, "convert it with .toarray()")
    if np.ma.is_masked(value):
        got = f"a masked array with {np.ma.count_masked(value)} entries missing"
        raise complaint(
            f"all entries{as_name}", got, "drop those rows, or fill them with .filled()"
        )
    try:
        return plain(value)
    except ValueError as error:
        got, remedy = "rows of unequal length", "give each row as many values; pad or drop them"
        raise complaint(f"an array{as_name}", got, remedy) from error
    except (TypeError, RuntimeError) as error:
        got = f"{type(value).__name__}: {error}"
        remedy = "convert it to a NumPy array"
        raise complaint(f"an array{as_name}", got, remedy) from error


def _is_extension(dtype: np.dtype) -> bool:
    """Whether it is a number type of ml_dtypes: NumPy has it among void types, though not void."""
    return dtype.kind == "V" and dtype.names is None and dtype.type is not np.void


def _foreign(array: np.ndarray) -> tuple[str, str]:
    """What an array is whose type is not that of real numbers, and what to do."""
    first = repr(array.ravel()[:1].tolist()[0])[:SHOWN] if array.size else "nothing"
    match array.dtype.kind:
        case "b":
            return "", "convert them, for example with X.astype(float)"
        case "c":
            return "", "give real and imaginary parts as features of their own"
        case "O":
            what = f" (Python objects such as {first})"
            return what, "make it one array of numbers, for example np.stack(rows).astype(float)"
        case "U" | "S" | "T":
            return f" (text such as {first})", "give numbers: leave words out or encode them"
        case "V" if array.dtype.names is None:
            what = " (bytes without a type: bfloat16 is saved so)"
            return what, "convert them before saving, x.astype(np.float32)"
        case "V":
            return " (records)", "give one array of numbers, without named fields"
    return "", "convert them, for example with X.astype(float)"


def shape(X: npt.ArrayLike) -> tuple[int, int, int]:
    """(channels, height, width) of the square images that the rows of X (n, d) are, gray or RGB.

    d alone tells, for no number is both a square and three times a square. Raises ValueError where
    it is neither.

    >>> shape(np.zeros((5, 64))), shape(np.zeros((5, 192)))
    ((1, 8, 8), (3, 8, 8))
    """
    d = (0, *np.shape(X))[-1]
    for channels in (1, 3):
        side = math.isqrt(d // channels)
        if side and channels * side**2 == d:
            return channels, side, side
    expected, remedy = (
        "rows that are square images, gray or RGB",
        "crop the images, or choose other data",
    )
    raise complaint(expected, f"{d} features", remedy)


def digest(X: npt.ArrayLike) -> str:
    """SHA-256 (hexadecimal) of an array's shape and values (little-endian float64): provenance."""
    X = np.ascontiguousarray(reals(X), dtype="<f8")
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
        raise complaint("data that vary", "rows all equal to rounding", remedy)
    if not np.isfinite(total):
        got = f"values that differ by {spread.max():.3g}"
        raise complaint("a finite variance", got, "rescale the data")
