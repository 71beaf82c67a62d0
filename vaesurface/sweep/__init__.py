"""What does one function give at every cell of a grid?

The function is compiled once for each worker and run block by block: a block is what a worker is
handed, what a progress bar moves by, and what drivers that share a store divide among themselves.
On a CPU the results are the same to the last bit whatever the blocks, the workers and the number of
restarts. `grid` returns all results, `fill` leaves them in a store.

`task`: what a worker computes; `travel`: how that gets there; `workers`: who computes; `keeping`:
where results go; `filling`: how all of it is done whatever goes wrong; `cluster`: workers on other
machines; `each`: the same workers for functions that are not traced; `memory`: how much they may
have.

>>> powers = grid(lambda base, exponent: base**exponent, base=[0.5, 2.0], exponent=[1, 2, 3])
>>> print(powers)
[[0.5   0.25  0.125]
 [2.    4.    8.   ]]
"""

import math
import os
from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

from vaesurface import moved, refusal
from vaesurface.problem import require_float64
from vaesurface.store import Plan, Store, canonical, complaint, create, kept, named
from vaesurface.sweep import filling
from vaesurface.sweep.cluster import cluster
from vaesurface.sweep.each import each, side_by_side
from vaesurface.sweep.keeping import Keeper, Nowhere, Plainly, Shared
from vaesurface.sweep.memory import available
from vaesurface.sweep.task import Mapper, Task, Traced, together
from vaesurface.sweep.workers import Executors, cores, crew, processes, threads

__all__ = [
    "available",
    "cluster",
    "cores",
    "each",
    "fill",
    "grid",
    "processes",
    "side_by_side",
    "threads",
    "together",
]

__getattr__ = moved.names(__name__)

LARGEST_CHUNK = 32  # cells that a program computes at a time, by default
LARGEST_RESULTS = 2**26  # bytes of results of these; where they take more it computes fewer
# At least, on a CPU and where cells allow: workers end together, and an interruption costs little.
FEWEST_BLOCKS = 16
MOST_BLOCKS = 2**12  # of a grid: each costs some milliseconds
LARGEST_LEAF = 2**18  # bytes: what is larger, at a cell, is kept by `fill` on demand only


def grid(
    fn: Callable[..., Any],
    *,
    batch_size: int | None = None,
    executor: Executors | None = None,
    store: Any = None,
    mapper: Mapper | None = None,
    progress: Callable[..., Any] | None = None,
    **axes: Any,
) -> Any:
    """`fn(**cell)` at each cell of a grid: its pytree, as NumPy arrays, axes leading as given.

    fn: traceable by JAX, of one scalar per axis; its arguments are named like the axes, so none of
    them can be called like an option of this function.
    axes: 1-D, distinct numbers (int64, float64) or typed JAX keys.
    batch_size: cells in a block. On a CPU one program serves all grids of a function, whatever the
        block, so cells are added without compiling again; with a mapper it computes a block.
    executor: any of `concurrent.futures`, or a function that starts one, as `cluster` gives and
    `partial(processes, 4)` is: such a one is started again, twice, if its workers are lost. None
    computes in this thread. Threads share one program; others are sent fn with its data, once, by
    cloudpickle, and compile for themselves; process pools have to spawn.
    store: a `store.Store`, or a path: cells that it holds are not computed again, others are added.
    Drivers, in any number of processes, that are given the same store divide the grid.
    mapper: like `jax.lax.map`, the default on CPU (each cell runs its own loops no longer than it
    needs); elsewhere `together`, with which the last bits may depend on batch_size.
    progress: like `tqdm.tqdm`: progress(total=, initial=, unit="cell"), a context manager,
    `update(cells)`.

    Raises ValueError for axes and options that make no sense and for the store of another sweep,
    RuntimeError without float64 and where workers are lost again and again. The first error in a
    block is raised when the blocks under way are finished and kept.
    """
    task, traced, plan = _planned(fn, mapper, axes, batch_size)
    workers, shapes = crew(task, traced, executor), traced.shapes
    room = jax.tree.map(lambda leaf: np.empty((plan.total, *leaf.shape), leaf.dtype), shapes)
    handed = range(len(jax.tree.leaves(shapes)))
    store = create(store) if isinstance(store, str | os.PathLike) else store
    keeper = _keeper(store, plan, shapes, room, handed)
    with keeper:
        filling.fill(keeper, workers, progress=progress)
    sizes = [len(axis.values) for axis in plan.axes.values()]
    return jax.tree.map(lambda column: column.reshape(*sizes, *column.shape[1:]), room)


def _keeper(store: Any, *args: Any) -> Keeper:
    """What keeps all results; args: of `Keeper`."""
    if store is None:
        return Nowhere(*args)
    return Shared(store, None, *args) if isinstance(store, Store) else Plainly(store, *args)


def fill(
    fn: Callable[..., Any],
    *,
    store: Store | str | os.PathLike,
    keep: Collection[str] | None = None,
    shard: tuple[int, int] = (1, 1),
    batch_size: int | None = None,
    executor: Executors | None = None,
    mapper: Mapper | None = None,
    progress: Callable[..., Any] | None = None,
    **axes: Any,
) -> Store:
    """The same into a store, from which `store.open` reads what is asked for: never more than a few
    blocks are in memory.

    keep: names of the results that are kept, as `store.open` gives them; None: those that the
    store has, and in a new one all but arrays of more than 256 kB at a cell.
    shard: (i, m), this is the i-th of m parts of the work, from (1, m) to (m, m).
    All else, and errors, as for `grid`.
    """
    number, parts = (refusal.whole("shards", part, 1) for part in shard)
    if not 1 <= number <= parts:
        raise complaint("a shard from (1, m) to (m, m)", f"{shard}", "count from 1")
    task, traced, plan = _planned(fn, mapper, axes, batch_size)
    names = list(named(traced.shapes, plan.axes))
    big = traced.heavy(LARGEST_LEAF)
    path = store.path if isinstance(store, Store) else store
    keep = _chosen(keep if keep is not None else kept(path), names, big)
    handed = [i for i, name in enumerate(names) if name in keep or i not in big]
    workers = crew(task._replace(handed=tuple(handed)), traced, executor)
    store = store if isinstance(store, Store) else create(store)
    with Shared(store, keep, plan, traced.shapes, None, handed) as keeper:
        filling.fill(keeper, workers, lambda block: block % parts == number - 1, progress)
    return store


def _chosen(keep: Collection[str] | None, names: list[str], big: Collection[int]) -> list[str]:
    """Results that are kept; big: which are not unless they are asked for."""
    if keep is None:
        return [name for i, name in enumerate(names) if i not in big]
    if unknown := sorted(set(keep) - set(names)):
        got = ", ".join(unknown)
        raise complaint(f"names of results to keep out of {', '.join(names)}", got, "choose some")
    return [name for name in names if name in keep]


def _planned(
    fn: Callable, mapper: Mapper | None, axes: dict[str, Any], batch_size: int | None
) -> tuple[Task, Traced, Plan]:
    """What is to be done, as operations too, and in which blocks of the grid."""
    require_float64("a sweep")
    parsed = canonical(axes)
    total = math.prod(len(axis.values) for axis in parsed.values())
    size, block = _sizes(batch_size, total)
    task = Task(fn=fn, mapper=mapper, axes=parsed, size=size)
    traced = task.traced()
    if mapper is None and jax.default_backend() == "cpu":  # where cells left out cost nothing
        task = task._replace(size=_always(traced))
    return task, traced, Plan(axes=parsed, size=block)


def _sizes(batch_size: int | None, total: int) -> tuple[int, int]:
    """Cells that a program computes at a time, and in a block, of so many."""
    if batch_size is not None:
        size = min(refusal.whole("batch_size", batch_size, 1), total)
        return size, size
    most = max(1, total // FEWEST_BLOCKS) if jax.default_backend() == "cpu" else total
    size = min(LARGEST_CHUNK, most)
    return size, -(-max(size, total // MOST_BLOCKS) // size) * size


def _always(traced: Traced) -> int:
    """Cells that a program has room for, whatever the grid."""
    each = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(traced.shapes))
    return max(1, min(LARGEST_CHUNK, LARGEST_RESULTS // max(1, each)))
