"""What does one function give at every cell of a grid?

The function is compiled once and run chunk by chunk: a chunk is what an executor is handed, what a
progress bar moves by, and what a store keeps when a run is interrupted. On a CPU the results are
the same to the last bit whatever the chunks, the executor and the number of restarts.

>>> powers = grid(lambda base, exponent: base**exponent, base=[0.5, 2.0], exponent=[1, 2, 3])
>>> print(powers)
[[0.5   0.25  0.125]
 [2.    4.    8.   ]]
"""

import os
import pickle
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from contextlib import closing, nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import moved
from vaesurface.problem import require_float64
from vaesurface.store import Columns, canonical, columns, create
from vaesurface.store.names import complaint

__all__ = ["grid", "together"]

__getattr__ = moved.names(__name__)

LARGEST_CHUNK = 32  # cells in a chunk by default
# At least, on a CPU and where cells allow: workers end together, and an interruption costs little.
FEWEST_CHUNKS = 16
Mapper = Callable[[Callable, Any], Any]
# Of a chunk's cells, and which of them are wanted: the leaves of their results.
Work = Callable[[Columns, np.ndarray], list[np.ndarray]]


def grid(
    fn: Callable[..., Any],
    *,
    batch_size: int | None = None,
    executor: Executor | None = None,
    store: Any = None,
    mapper: Mapper | None = None,
    progress: Callable[..., Any] | None = None,
    **axes: Any,
) -> Any:
    """`fn(**cell)` at each cell of a grid: its pytree, as NumPy arrays, axes leading as given.

    fn: traceable by JAX, of one scalar per axis; its arguments are named like the axes, so none of
    them can be called like an option of this function.
    axes: 1-D, distinct numbers (int64, float64) or typed JAX keys.
    batch_size: cells in a chunk; the last one is padded, so that one program serves all.
    executor: any of `concurrent.futures`; None computes in this thread. Threads share one program;
    for any other executor fn is pickled and each worker compiles once; process pools have to spawn.
    store: a `store.Store`, or a path: cells that it holds are not computed again, others are added
    by chunk.
    mapper: like `jax.lax.map`, the default on CPU (each cell runs its own loops no longer than it
    needs); elsewhere `together`, with which the last bits may depend on batch_size.
    progress: like `tqdm.tqdm`: progress(total=, initial=, unit="cell"), a context manager,
    `update(cells)`.

    Raises ValueError for axes and options that make no sense and for the store of another sweep,
    RuntimeError without float64. The first error in a chunk is raised when the chunks under way are
    finished and stored.
    """
    require_float64("a sweep")
    parsed = canonical(axes)
    cells = columns(parsed)
    total = len(next(iter(cells.values())))
    impls = {name: axis.impl for name, axis in parsed.items()}
    task = _Task(fn=fn, mapper=mapper, impls=impls, size=_chunk_size(batch_size, total))
    one = jax.jit(task.at)  # traced once: `jax.jit` keeps the trace
    make_work = _worker(task, one, cells, executor)
    results, missing = _room(one, cells), np.arange(total)
    if isinstance(store, str | os.PathLike):
        store = create(store)
    if store is not None:
        missing = store.recall(parsed, cells, results)
    done = total - len(missing)
    bar: Any = progress(total=total, initial=done, unit="cell") if progress else nullcontext()
    with bar:  # from here on, since compiling takes longest
        work = make_work() if len(missing) else None  # so that no more is compiled than needed
        finished = _finished(work, cells, missing, task.size, executor)
        _filled(results, finished, cells, store, bar.update if progress else None)
    sizes = [len(axis.values) for axis in parsed.values()]
    return jax.tree.map(lambda column: column.reshape(*sizes, *column.shape[1:]), results)


def _filled(
    results: Any, finished: Any, cells: Columns, store: Any, advance: Callable[[int], Any] | None
) -> None:
    """Write chunks as they are finished into the results and the store, and advance by as many
    cells.
    """
    with closing(finished):
        for rows, values in finished:
            for column, value in zip(jax.tree.leaves(results), values, strict=True):
                column[rows] = value[: len(rows)]
            if store is not None:
                store.add(_at(cells, rows), _at(results, rows))
            if advance:
                advance(len(rows))


def together(fn: Callable, cells: Any) -> Any:
    """All cells of a chunk side by side, by `jax.vmap`: loops run until the slowest is done."""
    return jax.vmap(fn)(cells)


class _Task(NamedTuple):
    """What a worker needs to know.

    fn: of one scalar per axis.
    mapper: like `jax.lax.map`, or None for the device's default.
    impls: of each axis, in order: the implementation of its keys, None for numbers.
    size: cells in a chunk.
    """

    fn: Callable[..., Any]
    mapper: Mapper | None
    impls: dict[str, str | None]
    size: int

    def at(self, cell: dict[str, Any]) -> Any:
        """fn at one cell, whose values are plain arrays."""
        keys = {
            name: jax.random.wrap_key_data(cell[name], impl=impl)
            for name, impl in self.impls.items()
            if impl is not None
        }
        return self.fn(**(cell | keys))

    def compiled(self, one: Callable, cells: Columns) -> Work:
        """The program of a chunk, of `cells`' shapes; one: the jitted `at`."""
        mapper = self.mapper or (jax.lax.map if jax.default_backend() == "cpu" else together)

        def program(chunk: Columns, wanted: np.ndarray) -> list[Any]:
            return jax.tree.leaves(mapper(partial(_where_wanted, one), (chunk, wanted)))

        chunk = {
            name: jax.ShapeDtypeStruct((self.size, *column.shape[1:]), column.dtype)
            for name, column in cells.items()
        }
        return jax.jit(program).lower(chunk, jax.ShapeDtypeStruct((self.size,), bool)).compile()


def _where_wanted(one: Callable, item: tuple[Columns, Any]) -> Any:
    """`one` of a cell where that is wanted, else zeros, which in a loop cost nothing.

    The branch also keeps `one` a computation of its own, optimized alike whatever the loop's
    length.
    """
    cell, wanted = item
    shapes = jax.eval_shape(one, cell)
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.cond(wanted, one, lambda _: blank, cell)


def _chunk_size(batch_size: int | None, total: int) -> int:
    if batch_size is None:
        most = max(1, total // FEWEST_CHUNKS) if jax.default_backend() == "cpu" else total
        return min(LARGEST_CHUNK, most)
    if batch_size < 1:
        remedy = "give the number of cells in a chunk, or none"
        raise complaint("batch_size >= 1", f"{batch_size}", remedy)
    return min(batch_size, total)


def _room(one: Callable, cells: Columns) -> Any:
    """What `one` returns, with room for all cells: NumPy arrays, not yet filled."""
    total = len(next(iter(cells.values())))
    shapes = jax.eval_shape(one, {name: column[0] for name, column in cells.items()})
    for leaf in jax.tree.leaves(shapes):
        if getattr(leaf.dtype, "kind", "key") not in "biufc":
            remedy = "return a key's data for a key"
            raise complaint("a function that returns numbers", f"dtype {leaf.dtype}", remedy)
    return jax.tree.map(lambda leaf: np.empty((total, *leaf.shape), leaf.dtype), shapes)


def _at(columns: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda column: column[rows], columns)


def _padded(cells: Columns, rows: np.ndarray, size: int) -> tuple[Columns, np.ndarray]:
    """A chunk of `size` cells, and which of them are wanted: the last may be repetitions."""
    return _at(cells, np.resize(rows, size)), np.arange(size) < len(rows)


def _worker(
    task: _Task, one: Callable, cells: Columns, executor: Executor | None
) -> Callable[[], Work]:
    """Makes, when called, what computes a chunk. Raises ValueError for an executor that cannot."""
    if executor is None or isinstance(executor, ThreadPoolExecutor):
        return lambda: partial(_run, task.compiled(one, cells))
    payload = _pickled(task, cells, executor)
    return lambda: partial(_work, payload)


def _finished(
    work: Work | None, cells: Columns, missing: np.ndarray, size: int, executor: Executor | None
) -> Generator[tuple[np.ndarray, list[np.ndarray]], None, None]:
    """Chunks, by their cells' indices, with their results, as they finish.

    work: None only where nothing is missing.
    """
    if work is None:
        return
    chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
    if executor is not None:
        waiting = {executor.submit(work, *_padded(cells, rows, size)): rows for rows in chunks}
        yield from _as_finished(waiting)
        return
    for rows in chunks:
        yield rows, work(*_padded(cells, rows, size))


def _as_finished(
    waiting: dict[Future, np.ndarray],
) -> Generator[tuple[np.ndarray, list[np.ndarray]], None, None]:
    """Futures' chunks with their results; after the first failure those under way still finish."""
    failure = None
    try:
        while waiting:
            for future in as_completed(list(waiting)):
                rows = waiting.pop(future)
                if (error := future.exception()) is None:
                    yield rows, future.result()
                elif failure is None:
                    failure = error
                    waiting = {f: rows for f, rows in waiting.items() if not f.cancel()}
                    break
    finally:
        for future in waiting:
            future.cancel()
    if failure is not None:
        raise failure


def _run(program: Work, cells: Columns, wanted: np.ndarray) -> list[np.ndarray]:
    with jax.enable_x64(True):  # may be set for the caller's thread or process only
        return jax.device_get(program(cells, wanted))


_compiling = threading.Lock()


def _work(payload: bytes, cells: Columns, wanted: np.ndarray) -> list[np.ndarray]:
    """What a worker elsewhere does with a chunk; payload: as `_pickled` made it."""
    with jax.enable_x64(True), _compiling:  # a worker may have several threads
        program = _program(payload)
    return _run(program, cells, wanted)


@lru_cache(maxsize=4)
def _program(payload: bytes) -> Work:
    try:
        task, cells = pickle.loads(payload)
    except (AttributeError, ImportError) as error:
        got, remedy = (
            f"one they cannot ({error})",
            "define it at the top of a module that they find",
        )
        raise complaint("a function that workers can import", got, remedy) from error
    return task.compiled(jax.jit(task.at), cells)


def _pickled(task: _Task, cells: Columns, executor: Executor) -> bytes:
    """The task and one blank cell. Raises ValueError where workers could not use them."""
    context = getattr(executor, "_mp_context", None)  # of the standard library's process pool
    if context is not None and context.get_start_method() == "fork":
        got = "one that forks, which dead-locks JAX"
        remedy = 'give it mp_context=multiprocessing.get_context("spawn")'
        raise complaint("a process pool that spawns", got, remedy)
    blank = {name: np.zeros_like(column[:1]) for name, column in cells.items()}
    try:
        return pickle.dumps((task, blank))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        expected = "a function that other processes can unpickle"
        remedy = "define it at the top of a module; functools.partial of such a one will do"
        raise complaint(expected, f"{error}", remedy) from error
