"""Which data sets ship, and which are fetched once? By name.

>>> SHIPPED["digits-4x4"]().shape
(1797, 16)
"""

import math
import warnings
from collections.abc import Callable
from functools import partial
from http.client import HTTPException
from importlib.metadata import distribution

import numpy as np

from vaesurface.data.made import antipodal
from vaesurface.refusal import complaint

__all__ = ["FETCHED", "SHIPPED", "fetched"]

# Image data sets of openml.org: number, axes of a row, and whether these are (height, width,
# channels). CIFAR-10's rows are those of its own files, red first; SVHN's keep the three colors of
# a pixel together, as notebooks that draw them show.
FETCHED: dict[str, tuple[int, tuple[int, int, int], bool]] = {
    "mnist": (554, (1, 28, 28), False),
    "fashion-mnist": (40996, (1, 28, 28), False),
    "cifar-10": (40927, (3, 32, 32), False),
    "svhn": (41081, (32, 32, 3), True),
}
STRIDE = 8  # pixels between the squares that are cut from photographs


def _digits():
    """What `sklearn.datasets.load_digits` reads, less the labels; to import that takes longer than
    all else that most uses of them do.
    """
    table = distribution("scikit-learn").locate_file("sklearn/datasets/data/digits.csv.gz")
    return np.loadtxt(str(table), delimiter=",")[:, :-1] / 16.0


def _digits_4x4():
    return _digits().reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(-1, 16)


def _patches(side=8):
    from sklearn.datasets import load_sample_images

    cut = partial(np.lib.stride_tricks.sliding_window_view, window_shape=(side, side), axis=(0, 1))
    squares = [
        cut(photo)[::STRIDE, ::STRIDE].reshape(-1, 3 * side**2)
        for photo in load_sample_images().images
    ]
    rows = np.concatenate(squares)
    # Shuffled, so that the first few are of both photographs.
    return np.random.default_rng(0).permutation(rows) / 255.0


def fetched(name: str, limit: int | None) -> np.ndarray:
    """Rows (n, d) of one of the FETCHED data sets, from openml.org or scikit-learn's cache."""
    from sklearn.datasets import fetch_openml

    number, axes, colors_last = FETCHED[name]
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
        line = complaint(f"{name} from openml.org or scikit-learn's cache", got, remedy)
        raise ConnectionError(str(line)) from error
    except Exception as error:
        # Parsers raise anything; also where the checksum is not the one announced.
        got = f"{type(error).__name__}: {error}"
        raise complaint(f"{name} from openml.org, whole", got, remedy) from error
    if rows.ndim != 2 or rows.shape[1] != math.prod(axes) or rows.dtype.kind not in "iuf":
        got = f"shape {rows.shape}, dtype {rows.dtype}"
        raise complaint(f"{name} of {math.prod(axes)} pixels", got, remedy)
    images = rows.reshape(-1, *axes)
    return (images.transpose(0, 3, 1, 2) if colors_last else images).reshape(rows.shape) / 255.0


SHIPPED: dict[str, Callable[[], np.ndarray]] = {
    "digits": _digits,
    "digits-4x4": _digits_4x4,
    "antipodal": antipodal,
    "patches": _patches,
    "patches-32x32": partial(_patches, 32),
}
