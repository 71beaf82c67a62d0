"""Where are blocks computed: in this thread, in others, in other processes, on other machines?

A `Crew` takes blocks and gives futures of their results, whatever executor is behind it.
"""

import multiprocessing
import os
import shutil
import signal
import tempfile
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import (
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vaesurface import provenance
from vaesurface.store.names import complaint
from vaesurface.sweep import travel
from vaesurface.sweep.cluster import Remote, remote
from vaesurface.sweep.task import Task, Traced, Work

__all__ = [
    "Block",
    "Crew",
    "Elsewhere",
    "Executors",
    "cores",
    "crew",
    "is_local",
    "is_lost",
    "processes",
    "threads",
    "work",
]

Executors = Executor | Callable[[], Executor]
PROGRAMS = 4  # that a worker keeps
WIDTH = 64  # blocks under way at a time, of an executor that does not say how many workers it has


class Block(NamedTuple):
    """What a worker gives back.

    leaves: results, leading axis: cells.
    made: "software", and the "seconds" that it took, compiling aside.
    """

    leaves: list[np.ndarray]
    made: dict[str, Any]


class Crew:
    """Those who compute blocks, in this thread: when one is handed over it is computed at once.

    generation: how often workers were replaced.
    """

    generation = 0

    def __init__(self, task: Task, traced: Traced) -> None:
        self._task, self._traced = task, traced
        self._work: Work | None = None

    @property
    def width(self) -> int:
        """Blocks under way at a time."""
        return 1

    def start(self, place: Path | None) -> None:
        """Before blocks are handed over. place: a folder that workers see."""

    def submit(self, rows: np.ndarray) -> Future:
        """A future of the `Block` of some cells."""
        future: Future = Future()
        try:
            future.set_result(_timed(self._program(), rows))
        except Exception as error:
            future.set_exception(error)
        return future

    def restarted(self) -> bool:
        """Whether new workers could be had for those that were lost."""
        return False

    def close(self, finished: bool) -> None:
        """Let workers go; finished: else those at work are not waited for."""

    def _program(self) -> Work:
        if self._work is None:  # so that no more is compiled than needed
            self._work = self._task.compiled(self._traced)
        return self._work


class _Threads(Crew):
    """Threads of this process, which share a program."""

    def __init__(self, task: Task, traced: Traced, executors: Executors) -> None:
        super().__init__(task, traced)
        self._executors = executors

    @property
    def width(self) -> int:
        return 2 * _workers(self._executor)

    def start(self, place: Path | None) -> None:
        given = self._executors
        self._executor = given if isinstance(given, Executor) else given()

    def submit(self, rows: np.ndarray) -> Future:
        return self._executor.submit(_timed, self._program(), rows)

    def close(self, finished: bool) -> None:
        if not isinstance(self._executors, Executor) and self._work is not None:
            self._executor.shutdown(wait=finished, cancel_futures=True)


class Elsewhere(Crew):
    """Processes of any executor, here or on other machines: the task, or whatever else is to be
    there, goes to each of them once.
    """

    def __init__(self, task: Any, executors: Executors) -> None:
        self._executors = executors
        if isinstance(executors, Executor):
            _require_spawning(executors)
        self._parcel = travel.pack(task)
        self._temporary: str | None = None
        self._place: Path | None = None
        self._started = False

    @property
    def width(self) -> int:
        remote = self._remote
        return 2 * (_workers(self._executor) if remote is None else remote.threads)

    def start(self, place: Path | None) -> None:
        self._place = place
        self._begin()
        self._started = True

    def submit(self, rows: np.ndarray) -> Future:
        return self.send(work, self._parcel.digest, self._source, _short(rows))

    def send(self, fn: Callable[..., Any], *args: Any) -> Future:
        """A future of fn(*args) of a worker."""
        submit = self._executor.submit if self._remote is None else self._remote.submit
        return submit(fn, *args)

    def restarted(self) -> bool:
        if not isinstance(self._executors, Executor):
            self._release(wait=False)
        elif self._remote is None or not self._remote.running:
            return False
        try:
            self._begin()
        except (OSError, RuntimeError):  # there are none to be had
            return False
        self.generation += 1
        return True

    def close(self, finished: bool) -> None:
        if self._started and not isinstance(self._executors, Executor):
            self._release(wait=finished)
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def _begin(self) -> None:
        given = self._executors
        self._executor = given if isinstance(given, Executor) else given()
        self._remote: Remote | None = remote(self._executor)
        self._source: Path | Mapping[str, Any] = self.lay(self._parcel)

    def lay(self, parcel: travel.Parcel) -> Path | Mapping[str, Any]:
        """Where workers find a parcel: on the cluster's workers, in a folder, or else in each
        message.
        """
        if self._remote is not None:
            digests, contents = zip(*parcel.contents.items(), strict=True)
            return dict(zip(digests, self._remote.scattered(list(contents)), strict=True))
        if self._place is None and isinstance(self._executor, ProcessPoolExecutor):
            if self._temporary is None:
                self._temporary = tempfile.mkdtemp(prefix="vaesurface-")
            self._place = Path(self._temporary)
        if self._place is None:
            return parcel.contents
        travel.leave(parcel, self._place)
        return self._place

    def _release(self, wait: bool) -> None:
        """Let an own executor go; without waiting, its processes end now."""
        if self._remote is not None:
            self._source = {}  # what was scattered
            self._remote.close()
            return
        left = list((getattr(self._executor, "_processes", None) or {}).values())
        self._executor.shutdown(wait=wait, cancel_futures=True)
        if not wait:
            for process in left:
                process.terminate()


def crew(task: Task, traced: Traced, executor: Any) -> Crew:
    """Those who compute a task's blocks.

    traced: for threads of this process. executor: None for this thread; or a function that makes
    one, which is ours then, and made again if its workers are lost. Raises ValueError for an
    executor that cannot.
    """
    if executor is None:
        return Crew(task, traced)
    if is_local(executor):
        return _Threads(task, traced, executor)
    return Elsewhere(task, executor)


def is_local(executor: Any) -> bool:
    """Whether it is of threads of this process. Raises ValueError for what is no executor."""
    if isinstance(executor, ThreadPoolExecutor) or getattr(executor, "func", executor) is threads:
        return True
    if not isinstance(executor, Executor) and not callable(executor):
        remedy = "give one of concurrent.futures, or a function that makes one"
        raise complaint("an executor", f"{type(executor).__name__}", remedy)
    return False


def threads(count: int | None = None) -> ThreadPoolExecutor:
    """Threads of this process, which compile once; by default one for each of its `cores`."""
    return ThreadPoolExecutor(count or cores())


def processes(count: int | None = None) -> ProcessPoolExecutor:
    """Processes of this machine, each of which compiles for itself and has its share of the cores;
    they end with this one.
    """
    count = count or cores()
    share = max(1, cores() // count)
    spawn = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, mp_context=spawn, initializer=_born, initargs=(share,))


def cores() -> int:
    """Processors that this process may use: the machine's, or what its control group allows."""
    from joblib import cpu_count  # inside, because it is slow to load

    return max(1, cpu_count())


def is_lost(error: BaseException) -> bool:
    """Whether it was the worker that failed, and not what it computed."""
    if isinstance(error, BrokenExecutor | CancelledError):
        return True
    lost = {"KilledWorker", "CommClosedError", "FutureCancelledError"}
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & lost) and type(error).__module__.startswith("distributed")


_compiling = threading.Lock()
_programs: OrderedDict[str, Work] = OrderedDict()


def work(digest: str, place: Path | Mapping[str, Any], rows: np.ndarray | range) -> Block:
    """What a worker elsewhere does with a block."""
    with _compiling:  # a worker may have several threads
        if digest not in _programs:
            with jax.enable_x64(True):  # else JAX's arrays lose half of their digits here
                task = travel.unpack(digest, place)
            _programs[digest] = task.compiled(task.traced())
            while len(_programs) > PROGRAMS:
                _programs.popitem(last=False)
        program = _programs[digest]
    return _timed(program, np.asarray(rows))


def _timed(program: Work, rows: np.ndarray) -> Block:
    begin = time.monotonic()
    leaves = program(rows)
    seconds = time.monotonic() - begin
    return Block(leaves, {"software": provenance.software(), "seconds": seconds})


def _short(rows: np.ndarray) -> np.ndarray | range:
    """The same numbers, in a few bytes where they follow each other."""
    whole = len(rows) and rows[-1] - rows[0] == len(rows) - 1
    return range(int(rows[0]), int(rows[-1]) + 1) if whole else rows


def _workers(executor: Executor) -> int:
    """How many blocks an executor computes at a time."""
    return getattr(executor, "_max_workers", None) or WIDTH // 2


def _require_spawning(executor: Executor) -> None:
    context = getattr(executor, "_mp_context", None)  # of the standard library's process pool
    if context is not None and context.get_start_method() == "fork":
        got = "one that forks, which dead-locks JAX"
        remedy = 'give it mp_context=multiprocessing.get_context("spawn")'
        raise complaint("a process pool that spawns", got, remedy)


def _born(share: int) -> None:
    """What a process of ours does first: take its share of the cores, and end when its parent does,
    which may be killed before it can say so.
    """
    os.environ["NPROC"] = str(share)  # as XLA reads it
    with suppress(ValueError):
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
