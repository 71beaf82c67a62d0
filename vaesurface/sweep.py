"""What does one function give at every cell of a grid?

The function is compiled once and run chunk by chunk: a chunk is what an executor is handed, what a
progress bar moves by, and what a store keeps when a run is interrupted. On a CPU the results are
the same to the last bit whatever the chunks, the executor and the number of restarts.

>>> powers = grid(lambda base, exponent: {"power": base**exponent}, base=[0.5, 2.0], exponent=[1, 2, 3])
>>> print(powers["power"])
[[0.5   0.25  0.125]
 [2.    4.    8.   ]]
"""

import pickle
import threading
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import closing, nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface.problem import require_float64

__all__ = ["Axis", "canonical", "columns", "grid", "identities", "together"]

LARGEST = 32  # cells in a chunk by default
# at least, on a CPU and where cells allow: workers end together, and an interruption costs little
CHUNKS = 16
Columns = dict[str, np.ndarray]  # one array per name, leading axis: cells
Mapper = Callable[[Callable, Any], Any]


class Axis(NamedTuple):
    """Values (m,) in float64 or int64, or the data (m, words) of m PRNG keys of the implementation
    `impl`.
    """

    values: np.ndarray
    impl: str | None = None

    @property
    def kind(self) -> str:
        return f"keys of {self.impl}" if self.impl else str(self.values.dtype)


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
    """`fn(**cell)` at each cell of a grid: its pytree, as NumPy arrays, the axes leading in the
    order given.

    fn: traceable by JAX, of one scalar per axis; its arguments are named like the axes, so none of
    them can be called like an option of this function. axes: 1-D, distinct numbers (int64, float64)
    or typed JAX keys. batch_size: cells in a chunk; the last chunk is padded, so that one program
    serves all. executor: any of `concurrent.futures`; None computes in this thread. Threads share
    one program; for any other executor fn is pickled and each worker compiles once; process pools
    have to spawn. store: a `store.Store`, or a path: cells that it holds are not computed again,
    others are added by chunk. mapper: like `jax.lax.map`, the default on CPU (each cell runs its
    own loops no longer than it needs); elsewhere the default is `together`. With that one, the last
    bits may depend on batch_size. progress: like `tqdm.tqdm`: progress(total=, initial=,
    unit="cell"), a context manager, `update(cells)`.

    Raises ValueError for axes and options that make no sense and for the store of another sweep,
    RuntimeError without float64. The first error in a chunk is raised when the chunks under way are
    finished and stored.
    """
    from vaesurface.store import recall  # here, because store builds on this module

    require_float64("a sweep")
    parsed = canonical(axes)
    cells = columns(parsed)
    total = len(next(iter(cells.values())))
    if batch_size is None:
        batch_size = min(
            LARGEST, total if jax.default_backend() != "cpu" else max(1, total // CHUNKS)
        )
    if batch_size < 1:
        raise _complaint(
            "batch_size >= 1", f"{batch_size}", "give the number of cells in a chunk, or none"
        )
    task = _Task(fn, mapper, {name: a.impl for name, a in parsed.items()}, min(batch_size, total))
    payload = None
    if executor is not None and not isinstance(executor, ThreadPoolExecutor):
        payload = _pickled(task, cells, executor)

    one = task.one()
    shapes = jax.eval_shape(one, {name: column[0] for name, column in cells.items()})
    leaves, treedef = jax.tree.flatten(shapes)
    if bad := [
        str(leaf.dtype) for leaf in leaves if getattr(leaf.dtype, "kind", "key") not in "biufc"
    ]:
        raise _complaint(
            "a function that returns numbers", f"dtype {bad[0]}", "return a key's data for a key"
        )
    results = [np.empty((total, *leaf.shape), leaf.dtype) for leaf in leaves]
    missing, keep = np.arange(total), None
    if store is not None:
        missing, keep = recall(store, parsed, cells, shapes, results)

    work = None  # nothing is compiled where nothing is missing
    if len(missing):
        work = partial(_work, payload) if payload else partial(_run, task.compiled(one, cells))
    bar: Any = nullcontext()
    if progress:
        bar = progress(total=total, initial=total - len(missing), unit="cell")
    with bar, closing(_finished(work, cells, missing, task.size, executor)) as finished:
        for chunk, values in finished:
            for result, value in zip(results, values, strict=True):
                result[chunk] = value[: len(chunk)]
            if keep:
                keep(chunk)
            if progress:
                bar.update(len(chunk))
    sizes = [len(a.values) for a in parsed.values()]
    return jax.tree.unflatten(treedef, [r.reshape(*sizes, *r.shape[1:]) for r in results])


def together(fn: Callable, cells: Any) -> Any:
    """All cells of a chunk side by side, by `jax.vmap`: a loop runs until the slowest cell is
    done.
    """
    return jax.vmap(fn)(cells)


def canonical(axes: Mapping[str, Any]) -> dict[str, Axis]:
    """Axes in one dtype per kind. Raises ValueError unless each is 1-D, of distinct numbers or
    typed keys.
    """
    if not axes:
        raise _complaint("at least one axis", "none", "name one, like alpha=[0.0, 0.1]")
    return {name: _axis(name, values) for name, values in axes.items()}


def columns(axes: Mapping[str, Axis]) -> Columns:
    """The cells of a grid, the last axis fastest: for each axis its values, once per cell."""
    index = np.indices([len(a.values) for a in axes.values()])
    return {name: a.values[i.ravel()] for (name, a), i in zip(axes.items(), index, strict=True)}


def identities(cells: Columns) -> list[bytes]:
    """What a cell is known by among cells of the same axes: the bytes of its values, axes by
    name.
    """
    parts = [[value.tobytes() for value in cells[name]] for name in sorted(cells)]
    return [b"".join(cell) for cell in zip(*parts, strict=True)]


def _axis(name: str, values: Any) -> Axis:
    if isinstance(values, jax.Array) and jnp.issubdtype(values.dtype, jax.dtypes.prng_key):
        impl, shape = str(jax.random.key_impl(values)), values.shape
        array = given = np.asarray(jax.random.key_data(values))
    else:
        try:
            impl, given = None, np.asarray(values)
        except (TypeError, ValueError) as error:
            got, remedy = (
                type(values).__name__,
                "give a list of numbers, or one array of typed JAX keys",
            )
            raise _complaint(f"numbers along {name}", f"an irregular {got}", remedy) from error
        if given.dtype.kind not in "iuf":
            raise _complaint(
                f"numbers along {name}", f"dtype {given.dtype}", "give numbers or typed JAX keys"
            )
        array = (
            given.astype(np.float64 if given.dtype.kind == "f" else np.int64) + 0
        )  # -0.0 becomes 0.0
        shape = given.shape
    if len(shape) != 1:
        remedy = "put a single value in a list; keys come from jax.random.key"
        raise _complaint(f"a 1-D axis {name}", f"shape {shape}", remedy)
    if not len(array):
        raise _complaint(
            f"at least one value along {name}", "none", "give some, or leave the axis out"
        )
    if (array != given).any():
        raise _complaint(
            f"int64 or float64 along {name}", "NaN or too large a number", "leave it out"
        )
    if len(np.unique(array, axis=0)) < len(array):
        raise _complaint(
            f"distinct values along {name}", "the same one twice", "leave duplicates out"
        )
    return Axis(array, impl)


class _Task(NamedTuple):
    """What a worker needs to know. impls: of the axes, None for numbers; size: cells in a chunk."""

    fn: Callable[..., Any]
    mapper: Mapper | None
    impls: dict[str, str | None]
    size: int

    def one(self) -> Callable:
        """fn of a dict of plain arrays, traced once: `jax.jit` keeps the trace."""
        wrap = jax.random.wrap_key_data

        def one(cell):
            return self.fn(
                **{
                    k: cell[k] if i is None else wrap(cell[k], impl=i)
                    for k, i in self.impls.items()
                }
            )

        return jax.jit(one)

    def compiled(self, one: Callable, cells: Columns) -> Callable:
        """Program of a chunk of cells and a mask; in a loop, cells that are not wanted cost
        nothing.

        The branch also keeps `one` a computation of its own, optimized alike whatever the loop's
        length.
        """

        def guarded(item):
            cell, wanted = item
            blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, cell))
            return jax.lax.cond(wanted, one, lambda _: blank, cell)

        mapper = self.mapper or (jax.lax.map if jax.default_backend() == "cpu" else together)
        shapes = {
            k: jax.ShapeDtypeStruct((self.size, *x.shape[1:]), x.dtype) for k, x in cells.items()
        }
        program = jax.jit(lambda *chunk: jax.tree.leaves(mapper(guarded, chunk)))
        return program.lower(shapes, jax.ShapeDtypeStruct((self.size,), bool)).compile()


def _finished(
    work: Callable | None, cells: Columns, missing: np.ndarray, size: int, executor: Executor | None
) -> Generator[tuple[np.ndarray, list[np.ndarray]], None, None]:
    """Chunks with their values, as they finish; after a failure those under way still do."""

    def submit(call, chunk):
        rows = np.resize(chunk, size)
        return call(
            work,
            {name: column[rows] for name, column in cells.items()},
            np.arange(size) < len(chunk),
        )

    chunks = [missing[start : start + size] for start in range(0, len(missing), size)]
    if executor is None:
        for chunk in chunks:
            yield chunk, submit(lambda f, *chunk: f(*chunk), chunk)
        return
    waiting = {submit(executor.submit, chunk): chunk for chunk in chunks}
    failure = None
    try:
        while waiting:
            for future in as_completed(list(waiting)):
                chunk = waiting.pop(future)
                if (error := future.exception()) is None:
                    yield chunk, future.result()
                elif failure is None:
                    failure = error
                    waiting = {f: c for f, c in waiting.items() if not f.cancel()}
                    break
    finally:
        for future in waiting:
            future.cancel()
    if failure is not None:
        raise failure


def _run(program: Callable, cells: Columns, wanted: np.ndarray) -> list[np.ndarray]:
    with jax.enable_x64(True):  # may be set for the caller's thread or process only
        return jax.device_get(program(cells, wanted))


_compiling = threading.Lock()


def _work(payload: bytes, cells: Columns, wanted: np.ndarray) -> list[np.ndarray]:
    with jax.enable_x64(True), _compiling:  # a worker may have several threads
        program = _program(payload)
    return _run(program, cells, wanted)


@lru_cache(maxsize=4)
def _program(payload: bytes) -> Callable:
    try:
        task, cells = pickle.loads(payload)
    except (AttributeError, ImportError) as error:
        remedy = "define it at the top of a module that they find"
        raise _complaint(
            "a function that workers can import", f"one they cannot ({error})", remedy
        ) from error
    return task.compiled(task.one(), cells)


def _pickled(task: _Task, cells: Columns, executor: Executor) -> bytes:
    context = getattr(executor, "_mp_context", None)  # of the standard library's process pool
    if context is not None and context.get_start_method() == "fork":
        remedy = 'give it mp_context=multiprocessing.get_context("spawn")'
        raise _complaint(
            "a process pool that spawns", "one that forks, which dead-locks JAX", remedy
        )
    try:
        return pickle.dumps(
            (task, {name: np.zeros_like(column[:1]) for name, column in cells.items()})
        )
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        remedy = "define it at the top of a module; functools.partial of such a one will do"
        raise _complaint(
            "a function that other processes can unpickle", f"{error}", remedy
        ) from error


def _complaint(expected: str, got: str, remedy: str) -> ValueError:
    return ValueError(f"expected {expected}, got {got}; {remedy}")
