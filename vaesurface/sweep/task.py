"""What does a worker compute?

One program for a few cells, run as often as a block of the grid needs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaesurface.store.names import Axis, Columns, at, complaint, named

__all__ = ["Mapper", "Task", "Traced", "Work", "together"]

LARGE = 2**16  # bytes of a constant of a program, from which on it is handed over
Mapper = Callable[[Callable, Any], Any]
# Of cells, by their places in the grid: the leaves of their results that are kept.
Work = Callable[[np.ndarray], list[np.ndarray]]


class Task(NamedTuple):
    """A function over a grid.

    fn: of one scalar per axis.
    mapper: like `jax.lax.map`, or None for the device's default.
    axes: of the grid, in order.
    size: cells that the program computes at a time.
    handed: which leaves of the results are wanted, by their number; None: all.
    """

    fn: Callable[..., Any]
    mapper: Mapper | None
    axes: dict[str, Axis]
    size: int
    handed: tuple[int, ...] | None = None

    def at(self, cell: dict[str, Any]) -> Any:
        """fn at one cell, whose values are plain arrays."""
        keys = {
            name: jax.random.wrap_key_data(cell[name], impl=axis.impl)
            for name, axis in self.axes.items()
            if axis.impl is not None
        }
        return self.fn(**(cell | keys))

    def traced(self) -> "Traced":
        """fn at a cell, traced once. Raises ValueError unless it returns numbers."""
        with jax.enable_x64(True):  # may be set for the caller's thread or process only
            trace = jax.make_jaxpr(self.at, return_shape=True)
            closed, shapes = trace(at(self.axes, np.array(0)))
        for leaf in jax.tree.leaves(shapes):
            if getattr(leaf.dtype, "kind", "key") not in "biufc":
                remedy = "return a key's data for a key"
                raise complaint("a function that returns numbers", f"dtype {leaf.dtype}", remedy)
        named(shapes, self.axes)  # refuses names that clash
        return Traced(closed.jaxpr, closed.consts, shapes)

    def compiled(self, traced: "Traced") -> Work:
        """What computes cells."""
        mapper = self.mapper or (jax.lax.map if jax.default_backend() == "cpu" else together)
        one = jax.jit(traced.at)

        def program(data: list[Array], chunk: Columns, wanted: np.ndarray) -> list[Any]:
            results = mapper(partial(_where_wanted, partial(one, data)), (chunk, wanted))
            leaves = jax.tree.leaves(results)
            return leaves if self.handed is None else [leaves[i] for i in self.handed]

        chunk = {
            name: jax.ShapeDtypeStruct((self.size, *axis.values.shape[1:]), axis.values.dtype)
            for name, axis in self.axes.items()
        }
        with jax.enable_x64(True):
            data = traced.data()
            lowered = jax.jit(program).lower(data, chunk, jax.ShapeDtypeStruct((self.size,), bool))
            return partial(_run, partial(lowered.compile(), data), self.axes, self.size)


class Traced(NamedTuple):
    """A function of a cell as operations, and what they need beside it.

    constants: arrays; large ones are handed to the program, which copies those that are part of it
    several times while it is compiled.
    shapes: of the results.
    """

    jaxpr: Any
    constants: list[Any]
    shapes: Any

    def data(self) -> list[Array]:
        """The large constants, on the device."""
        return [jnp.asarray(x) for x in self.constants if _is_large(x)]

    def at(self, data: list[Any], cell: dict[str, Any]) -> Any:
        """The results at a cell. data: as `data` gives them."""
        large = iter(data)
        constants = [next(large) if _is_large(x) else x for x in self.constants]
        leaves = jax.core.eval_jaxpr(self.jaxpr, constants, *jax.tree.leaves(cell))
        return jax.tree.unflatten(jax.tree.structure(self.shapes), leaves)

    def heavy(self, most: int) -> set[int]:
        """Which results take more than so many bytes at a cell, by their number."""
        leaves = jax.tree.leaves(self.shapes)
        return {i for i, leaf in enumerate(leaves) if leaf.size * leaf.dtype.itemsize > most}


def _is_large(constant: Any) -> bool:
    return getattr(constant, "nbytes", 0) > LARGE


def together(fn: Callable, cells: Any) -> Any:
    """All cells of a chunk side by side, by `jax.vmap`: loops run until the slowest is done."""
    return jax.vmap(fn)(cells)


def _where_wanted(one: Callable, item: tuple[Columns, Any]) -> Any:
    """`one` of a cell where that is wanted, else zeros, which in a loop cost nothing.

    The branch also keeps `one` a computation of its own, optimized alike whatever the loop's
    length.
    """
    cell, wanted = item
    shapes = jax.eval_shape(one, cell)
    blank = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.cond(wanted, one, lambda _: blank, cell)


def _run(program: Callable, axes: dict[str, Axis], size: int, rows: np.ndarray) -> list[np.ndarray]:
    """The results of some cells, as many at a time as the program takes: the last time it may
    repeat some, which are not wanted.
    """
    parts = []
    for start in range(0, len(rows), size):
        some = rows[start : start + size]
        wanted = np.arange(size) < len(some)
        with jax.enable_x64(True):
            leaves = jax.device_get(program(at(axes, np.resize(some, size)), wanted))
        parts.append([leaf[: len(some)] for leaf in leaves])
    return [np.concatenate(leaf) for leaf in zip(*parts, strict=True)]
