"""What do functions of theory take? Data and numbers in a range, looked at where they are known,
while what is traced passes.

>>> positive("beta", 2)
>>> positive("beta", float("nan"))
Traceback (most recent call last):
ValueError: expected beta > 0 as a finite number, got beta = nan; choose another value
"""

from typing import Any

import numpy as np

from vaesurface import data
from vaesurface.refusal import LARGEST, complaint, is_traced, number

__all__ = ["matrix", "nonnegative", "positive"]


def matrix(X: Any) -> Any:
    """Data (n, d), as they are if they are an array of floats, else in float64.

    Raises ValueError for what `data.check` refuses.
    """
    if is_traced(X):
        if X.ndim != 2:
            raise complaint("a matrix (n, d)", f"shape {X.shape}", "give one row per datum")
        return X
    checked = data.check(X)
    return X if getattr(X, "dtype", None) in (np.float32, np.float64) else checked


def nonnegative(name: str, value: Any) -> None:
    """Raises ValueError for what is known not to be a number >= 0."""
    number(name, value, least=0.0)


def positive(name: str, value: Any, or_else: str = "") -> None:
    """Raises ValueError for what is known not to be a number > 0; or_else: what it may be too."""
    most = LARGEST**2  # a variance is a square, of data in small units and in large ones
    number(name, value, above=0.0, most=most, or_else=or_else)
    number(name, value, least=1 / most, most=most)
