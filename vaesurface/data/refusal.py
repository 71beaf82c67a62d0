"""What do readers of data share? Files that may be gzipped, and words of their messages.

>>> suffix("train.csv.gz"), listed(range(12))
('.csv', '[0, 1, 2, 3, 4, 5, 6, 7] and 4 more')
"""

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import IO, Any

import numpy as np

from vaesurface import files
from vaesurface.refusal import complaint, reading

__all__ = ["count", "in_float64", "listed", "opened", "suffix"]

GZIP = b"\x1f\x8b"  # what a gzipped file begins with
SHOWN = 8  # names that a message lists
KEPT = 2**26  # bytes that are unpacked before it is known how many there are


@contextmanager
def opened(path: str | os.PathLike, share: int = 1) -> Iterator[IO[bytes]]:
    """The bytes of a regular file, unpacked where it is gzipped, whatever its name; before and
    after no more than `files.most() // share`.
    """
    with files.opened(path, share) as file:
        packed = file.read(len(GZIP)) == GZIP
        file.seek(0)
        if not packed:
            yield file
            return
        with reading("a gzipped file, whole", "fetch or pack it again"):
            content = _unpacked(file, share)
        yield io.BytesIO(content)


def _unpacked(file: IO[bytes], share: int) -> bytes:
    """What is gzipped in a file. What is large is unpacked twice, the first time to be counted."""
    with gzip.GzipFile(fileobj=file) as packed:
        most = min(KEPT, files.most() // share + 1)
        begins = packed.read(most)
        size = len(begins)
        files.affordable(size, "unpacked", share)
        if size < most:
            return begins
        while piece := packed.read(2**20):
            size += len(piece)
            files.affordable(size, "unpacked", share)
        packed.seek(0)
        return packed.read(size)


def in_float64(array: np.ndarray) -> np.ndarray:
    """An array that is small enough to become one of float64. Raises ValueError for others."""
    files.affordable(8 * array.size, "in float64")
    return array


def suffix(path: str | os.PathLike) -> str:
    """That which tells a file's format: the one before .gz."""
    stem, last = os.path.splitext(os.fspath(path).lower())
    return os.path.splitext(stem)[1] if last == ".gz" else last


def listed(names: Any) -> str:
    """Names as a message lists them, no more than SHOWN."""
    names = list(names)
    more = "" if len(names) <= SHOWN else f" and {len(names) - SHOWN} more"
    return f"{names[:SHOWN]}{more}"


def count(name: str, value: Any, *, least: int) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if not isinstance(value, Integral) or value < least:
        raise complaint(f"{name} as an integer >= {least}", f"{value!r}", "give such a number")
