"""Where do results go?

A keeper takes what is computed: `Nowhere` for results that are returned only, `Plainly` for any
object with `recall` and `add`, `Shared` for a `store.Store`, whose drivers divide the work.
"""

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaesurface.store import Contents, Driver, Plan, Store, at, columns, named, words
from vaesurface.sweep.workers import Block

__all__ = ["Keeper", "Nowhere", "Plainly", "Shared"]


class Keeper(AbstractContextManager):
    """Keeps nothing.

    plan: the grid. one: shapes of the results at one cell. results: room for all of them, NumPy
    arrays, or None where they are only kept. handed: of the leaves of `one`, by number, those that
    blocks have. payload: a folder for what workers need, where there is one that they see.
    """

    payload: Path | None = None

    def __init__(self, plan: Plan, one: Any, results: Any, handed: Collection[int]) -> None:
        self.plan, self.one, self.results = plan, one, results
        self._handed = list(handed)

    def __exit__(self, *_: object) -> None:
        """Nothing to give back."""

    def begin(self) -> None:
        """Work is about to begin."""

    def news(self) -> Iterator[np.ndarray]:
        """Cells, by place, that are there and were not at the last look."""
        yield from ()

    def take(self, block: int) -> bool:
        """Whether this process is to compute a block."""
        return True

    def give_back(self, blocks: list[int]) -> None:
        """Leave blocks to others."""

    def add(self, rows: np.ndarray, block: Block, blocks: list[int]) -> None:
        """Keep results of cells, which finish blocks."""

    def fail(self, block: int, error: BaseException) -> None:
        """A block could not be computed."""

    def end(self) -> None:
        """All is done."""

    def fill(self, rows: np.ndarray, leaves: list[np.ndarray]) -> None:
        """Write into the results that are returned."""
        if self.results is not None:
            for column, leaf in zip(jax.tree.leaves(self.results), leaves, strict=True):
                column[rows] = leaf


class Nowhere(Keeper):
    """Keeps nothing but what is returned."""


class Plainly(Keeper):
    """Keeps in an object with `recall(axes, cells, results)`, which returns what is missing, and
    `add(cells, results)`.
    """

    def __init__(self, store: Any, *args: Any) -> None:
        super().__init__(*args)
        self._store, self._asked = store, False

    def news(self) -> Iterator[np.ndarray]:
        if not self._asked:
            self._asked = True
            axes = self.plan.axes
            missing = self._store.recall(axes, columns(axes), self.results)
            yield np.setdiff1d(np.arange(self.plan.total), missing)

    def add(self, rows: np.ndarray, block: Block, blocks: list[int]) -> None:
        tree = jax.tree.unflatten(jax.tree.structure(self.one), block.leaves)
        self._store.add(at(self.plan.axes, rows), tree)


class Shared(Keeper):
    """Keeps in a store. keep: names of the results that it holds; None: all."""

    def __init__(self, store: Store, keep: Collection[str] | None, *args: Any) -> None:
        super().__init__(*args)
        self.payload = store.payload
        self._driver: Driver = store.drive(self.plan, self.one, keep)
        self._names = list(named(self.one, self.plan.axes))
        self._keep = set(self._names) if keep is None else set(keep)

    def __exit__(self, *args: object) -> None:
        self._driver.__exit__(*args)

    def begin(self) -> None:
        self._driver.begin()

    def news(self) -> Iterator[np.ndarray]:
        for found in self._driver.news():
            if self.results is not None:
                leaves = [found.chunk.leaf(name)[found.inside] for name in self._names]
                self.fill(found.rows, leaves)
            yield found.rows

    def take(self, block: int) -> bool:
        return self._driver.take(block)

    def give_back(self, blocks: list[int]) -> None:
        self._driver.give_back(blocks)

    def add(self, rows: np.ndarray, block: Block, blocks: list[int]) -> None:
        names = [self._names[i] for i in self._handed]
        leaves = dict(zip(names, block.leaves, strict=True))
        label = words(type(self.one), leaves)
        leaves = {name: leaf for name, leaf in leaves.items() if name in self._keep}
        self._driver.add(Contents(at(self.plan.axes, rows), leaves, label), blocks, block.made)

    def fail(self, block: int, error: BaseException) -> None:
        self._driver.fail(block, error)

    def end(self) -> None:
        self._driver.end()
