"""With how many threads are small matrices decomposed? With one.

BLAS shares out what little work a column of them makes, and after every column its threads wait for
each other, busily. Where another program has one of the processors, that takes a hundred times as
long as the work: QR of 1,797 x 64 numbers takes one thread 2 ms, and two of them 470 ms of CPU.

>>> with one_of_few((100, 10)):
...     _blas().info()[0]["num_threads"]
1
"""

from contextlib import AbstractContextManager, nullcontext
from functools import cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController

__all__ = ["one_of_few"]

# Multiplications of a decomposition of the data: more take one thread some tenths of a second.
FEW = 1e9


def one_of_few(shape: tuple[int, int]) -> AbstractContextManager[None]:
    """Within it BLAS has one thread, where data of that shape (n, d) are few."""
    n, d = shape
    return _ONE if n * d * min(n, d) <= FEW else nullcontext()


@cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


class _One(AbstractContextManager[None]):
    """Entered first it takes threads away, left last it gives them back: the number is one for the
    whole process, whoever asks.
    """

    def __init__(self) -> None:
        self._lock, self._inside = Lock(), 0
        self._limit: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._limit = _blas().limit(limits=1)
            self._inside += 1

    def __exit__(self, *_: Any) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._limit.restore_original_limits()


_ONE = _One()
