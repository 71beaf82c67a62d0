"""How are many different things done at once by a function of Python's, which is not traced?

By the same workers as the blocks of a grid: `each` returns what a loop returns. In `side_by_side`
there is an executor of the standard library's kind for those who decide on the way what is next.

>>> from vaesurface.sweep.workers import threads
>>> each(str.upper, ["one", "two"], threads)
['ONE', 'TWO']
"""

import pickle
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import cloudpickle
import jax

from vaesurface.sweep import travel
from vaesurface.sweep.filling import ATTEMPTS
from vaesurface.sweep.workers import Elsewhere, Executors, is_local, is_lost

__all__ = ["each", "side_by_side"]

FUNCTIONS = 4  # that are kept where they have been brought to


def each(
    fn: Callable[[Any], Any], items: Iterable[Any], executor: Executors | None = None
) -> list[Any]:
    """fn(item) for all items, in their order, each computed in float64.

    executor: as for `grid`, or what `side_by_side` gives; None: one after another, here. Others
    than threads are sent fn with its data once, and pickled items. Raises the error of the first
    item that has one, RuntimeError where workers are lost again and again.
    """
    with side_by_side(executor) as hands:
        if hands is None:
            return [fn(item) for item in items]
        done = partial(_in_float64, fn)
        futures = [hands.submit(done, item) for item in items]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def side_by_side(executor: Executors | None) -> Iterator[Executor | None]:
    """An executor whose functions travel once, with their data, and are done again where their
    worker is lost; None for None.

    executor: as for `grid`. What is still under way in the end is given up.
    """
    local = executor is None or is_local(executor)
    if executor is None or (local and isinstance(executor, Executor)):
        yield executor
        return
    hands = executor() if local and not isinstance(executor, Executor) else _Carrier(executor)
    try:
        yield hands
    finally:
        hands.shutdown(wait=False, cancel_futures=True)


class _Laid(NamedTuple):
    """A function that workers find.

    place: as `Elsewhere.lay` gives it. generation: of the workers then.
    """

    fn: Callable
    parcel: travel.Parcel
    place: Any
    generation: int


class _Carrier(ThreadPoolExecutor):
    """Its threads bring functions to workers elsewhere and wait for them."""

    def __init__(self, executors: Executors) -> None:
        self._crew = Elsewhere(None, executors)
        self._crew.start(None)
        self._laid: OrderedDict[int, _Laid] = OrderedDict()
        self._changing, self._closed = threading.Lock(), False
        super().__init__(max(1, self._crew.width // 2))

    def submit(self, fn: Callable, /, *args: Any, **kwargs: Any) -> Future:
        return super().submit(self._carried, fn, args, kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed = not wait
        super().shutdown(wait=wait, cancel_futures=cancel_futures)
        self._crew.close(finished=wait)

    def _carried(self, fn: Callable, args: tuple, kwargs: dict) -> Any:
        message = cloudpickle.dumps((args, kwargs))
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._changing:
                    laid = self._found(fn)
                    answer = self._crew.send(_worked, laid.parcel.digest, laid.place, message)
                content = answer.result()
                break
            except Exception as error:
                if not is_lost(error):
                    raise
                if attempt == ATTEMPTS or not self._replaced(laid.generation):
                    raise _gave_up(error, attempt) from error
        with jax.enable_x64(True):
            return pickle.loads(content)

    def _found(self, fn: Callable) -> _Laid:
        """A function at the workers of now."""
        laid = self._laid.get(id(fn))
        if laid is None or laid.generation < self._crew.generation:
            parcel = laid.parcel if laid else travel.pack(fn)
            laid = _Laid(fn, parcel, self._crew.lay(parcel), self._crew.generation)
        self._laid[id(fn)] = laid
        while len(self._laid) > FUNCTIONS:
            self._laid.popitem(last=False)
        return laid

    def _replaced(self, generation: int) -> bool:
        """Whether there are workers again, after those of some generation were lost."""
        with self._changing:
            if self._closed:
                return False
            return generation < self._crew.generation or self._crew.restarted()


def _gave_up(error: Exception, attempts: int) -> RuntimeError:
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return RuntimeError(
        f"expected workers that stay alive, lost them {attempts} times ({words}); look at their "
        f"memory and their logs, take fewer of them, and run again"
    )


_finding = threading.Lock()
_functions: OrderedDict[str, Callable] = OrderedDict()


def _worked(digest: str, place: Any, message: bytes) -> bytes:
    """What a worker elsewhere does: the function stays, and with it what JAX compiled for it."""
    with jax.enable_x64(True):
        with _finding:
            if digest not in _functions:
                _functions[digest] = travel.unpack(digest, place)
            while len(_functions) > FUNCTIONS:
                _functions.popitem(last=False)
            fn = _functions[digest]
        args, kwargs = pickle.loads(message)
        return cloudpickle.dumps(fn(*args, **kwargs))


def _in_float64(fn: Callable[[Any], Any], item: Any) -> Any:
    """Also where that is set for the caller's thread only."""
    with jax.enable_x64(True):
        return fn(item)
