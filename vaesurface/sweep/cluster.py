"""Workers on other machines, through `dask.distributed`, the extra `cluster`."""

import logging
import math
import os
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor, Future, InvalidStateError
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

from vaesurface.store.names import complaint

__all__ = ["Remote", "cluster", "remote"]

PATIENCE = 30  # seconds for a scheduler to answer
LEAVE = 5  # seconds for a scheduler to let its client go
COUNT = 1.0  # seconds between two looks at how many workers there are


def cluster(address: str | None = None, *, scheduler_file: str | os.PathLike | None = None) -> Any:
    """A function that connects to a dask cluster, for `grid` and `fill`.

    address: of its scheduler, such as "tcp://host:8786"; or scheduler_file, that the scheduler
    wrote. Raises ValueError unless one of them is given, RuntimeError where dask is not installed.
    """
    if (address is None) == (scheduler_file is None):
        got = "both" if address else "neither"
        raise complaint("a scheduler's address or its file", got, "give one of the two")
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise RuntimeError(
            "expected dask.distributed for a cluster, got none; pip install distributed"
        ) from error
    if scheduler_file is not None and not Path(scheduler_file).is_file():
        remedy = "start the scheduler with --scheduler-file first"
        raise complaint("a scheduler's file", f"no file {scheduler_file}", remedy)
    place = {"address": address} if address else {"scheduler_file": str(scheduler_file)}
    return partial(_connected, **place)


def _connected(**place: str) -> Executor:
    """Raises RuntimeError where no scheduler answers, and where it has no workers."""
    from distributed import Client

    (where,) = place.values()
    # What it logs when workers or the scheduler are lost ends in an error of ours, in one line.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    try:
        client = Client(**place, timeout=PATIENCE, set_as_default=False)
        client.wait_for_workers(1, timeout=PATIENCE)
    except (OSError, ValueError, TimeoutError) as error:
        raise RuntimeError(
            f"expected a dask scheduler with workers at {where}, got no answer within "
            f"{PATIENCE} seconds; start it, and workers for it"
        ) from error
    return client.get_executor()


class Remote:
    """What a cluster can that other executors cannot. executor: of a `distributed.Client`."""

    def __init__(self, executor: Any) -> None:
        self._client = executor._client
        self._options: dict[str, Any] = getattr(executor, "_kwargs", {})
        self._asked: WeakSet[Future] = WeakSet()
        self._threads, self._counted = 1, -math.inf

    @property
    def running(self) -> bool:
        """Whether the scheduler is there."""
        return self._client.status == "running"

    @property
    def threads(self) -> int:
        """Of all workers of now: on a cluster some come later, and some go."""
        if self.running and time.monotonic() - self._counted >= COUNT:
            with suppress(OSError):
                self._threads = max(1, sum(self._client.nthreads().values()))
            self._counted = time.monotonic()
        return self._threads

    def scattered(self, contents: list[Any]) -> list[Any]:
        """Put data on all workers: what stands for them in arguments. Raises RuntimeError where
        there are no workers.
        """
        try:
            return self._client.scatter(contents, broadcast=True, hash=False)
        except OSError as error:  # and TimeoutError, which is one
            raise RuntimeError(
                f"expected a dask scheduler with workers, got none in time ({error}); start them "
                f"and run again"
            ) from error

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future:
        """A future of fn(*args) that ends whatever happens, which those of dask's executor do not
        where an answer is lost on its way.
        """
        asked = self._client.submit(fn, *args, pure=False, **self._options)
        future: Future = Future()
        future.add_done_callback(partial(_forget, asked))
        self._asked.add(future)
        self._client.loop.add_callback(_settle, asked, future)
        return future

    def close(self) -> None:
        """Let the client go."""
        self._client.close(timeout=LEAVE)
        for future in list(self._asked):
            _end(future, None, CancelledError("its cluster was let go"))


def remote(executor: Executor) -> Remote | None:
    """What a `dask.distributed` executor can; None of any other."""
    return Remote(executor) if hasattr(getattr(executor, "_client", None), "scatter") else None


async def _settle(asked: Any, future: Future) -> None:
    """Wait for dask's answer and pass it on."""
    try:
        _end(future, await asked._result())
    except BaseException as error:  # asyncio's CancelledError is one
        lost = CancelledError(f"{error}" or type(error).__name__)
        _end(future, None, error if asked.status == "error" else lost)


def _end(future: Future, result: Any, error: BaseException | None = None) -> None:
    with suppress(InvalidStateError):  # it was given up
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


def _forget(asked: Any, future: Future) -> None:
    """What nobody waits for any more need not be computed."""
    if future.cancelled():
        asked.cancel()
