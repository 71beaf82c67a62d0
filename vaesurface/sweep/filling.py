"""How are all cells of a grid computed, by whom it may be, whatever goes wrong?

Blocks are handed out a few at a time, so that neither all of the work nor all of the results are
held at once; what comes back is kept at once, or after a second where it comes faster.
"""

import math
import time
from collections import Counter, deque
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np

from vaesurface.sweep.keeping import Keeper
from vaesurface.sweep.workers import Block, Crew, is_lost

__all__ = ["fill"]

EVERY = 1.0  # seconds between two chunks, at least
LOOK = 0.5  # seconds between two looks at what others do
ATTEMPTS = 3  # at a block whose workers are lost: it may be what kills them


class _Sent(NamedTuple):
    """A block that a worker has; generation: of the crew then."""

    number: int
    rows: np.ndarray
    generation: int


class _Done(NamedTuple):
    """A block that has been computed, and is not kept yet."""

    number: int
    rows: np.ndarray
    block: Block


def fill(
    keeper: Keeper,
    crew: Crew,
    mine: Callable[[int], bool] = lambda block: True,
    progress: Callable[..., Any] | None = None,
) -> None:
    """Compute what is missing of a keeper's grid.

    mine: whether a block, by number, is this process's to compute; others are left out. progress:
    like `tqdm.tqdm`.

    Raises the first error of a cell, when the blocks under way are finished and kept, and
    RuntimeError where workers are lost again and again.
    """
    filling = _Filling(keeper, crew, mine)
    done, total = filling.begun()
    bar: Any = progress(total=total, initial=done, unit="cell") if progress else nullcontext()
    finished = False
    with bar:  # from here on, since compiling takes longest
        try:
            filling.run(bar.update if progress else _silent)
            finished = True
        finally:
            try:
                filling.keep()
            finally:
                crew.close(finished)


class _Filling:
    """missing: which cells are not there, by place in the grid."""

    def __init__(self, keeper: Keeper, crew: Crew, mine: Callable[[int], bool]) -> None:
        self._keeper, self._crew = keeper, crew
        self.missing = np.ones(keeper.plan.total, bool)
        self._todo = deque(block for block in range(keeper.plan.blocks) if mine(block))
        self._others: deque[int] = deque()  # blocks that somebody else is at
        self._under_way: dict[Future, _Sent] = {}
        self._unkept: list[_Done] = []
        self._kept_at = -math.inf
        self._lost: Counter[int] = Counter()
        self._failure: BaseException | None = None
        self._advance: Callable[[int], object] = _silent

    def begun(self) -> tuple[int, int]:
        """How many of this process's cells are there, and how many there are to be."""
        self._look()
        size = self._keeper.plan.size
        total = sum(min(size, self.missing.size - block * size) for block in self._todo)
        return total - sum(len(self._rows(block)) for block in self._todo), total

    def run(self, advance: Callable[[int], object]) -> None:
        """Until nothing is left, or something fails. advance: is told numbers of cells."""
        if self.missing.any():  # said, too, by a process whose share is none of it
            self._keeper.begin()
        if not any(len(self._rows(block)) for block in self._todo):
            return
        self._advance = advance
        self._crew.start(self._keeper.payload)
        while self._hand_out() or self._await_others():
            self._collect()
        if self._failure is not None:
            raise self._failure
        self.keep()
        self._keeper.end()

    def _hand_out(self) -> bool:
        """Give workers as much as they can have; whether anything is under way."""
        while self._todo and len(self._under_way) < self._crew.width and self._failure is None:
            number = self._todo.popleft()
            if len(self._rows(number)) == 0:
                continue
            if not self._keeper.take(number):
                self._others.append(number)
                continue
            self._look()  # somebody may have finished it just before
            if len(rows := self._rows(number)):
                self._submit(number, rows)
            else:
                self._keeper.give_back([number])
        return bool(self._under_way)

    def _submit(self, number: int, rows: np.ndarray) -> None:
        try:
            future = self._crew.submit(rows)
        except Exception as error:
            if not is_lost(error):
                raise
            self._again([number], error, self._crew.generation)
            return
        self._under_way[future] = _Sent(number, rows, self._crew.generation)

    def _await_others(self) -> bool:
        """Look what became of blocks that others were at; whether there is still work."""
        if self._failure is not None:
            return False
        if not self._others and not self._todo:
            return False
        if self._others:
            self.keep()
            time.sleep(LOOK)
            self._look()
            self._todo.extend(self._others)
            self._others.clear()
        return True

    def _collect(self) -> None:
        """Take what is finished."""
        finished, _ = wait(self._under_way, timeout=EVERY, return_when=FIRST_COMPLETED)
        lost: list[_Sent] = []
        for future in finished:
            sent = self._under_way.pop(future)
            error = _error(future)
            if error is None:
                self._take_in(_Done(sent.number, sent.rows, future.result()))
            elif is_lost(error):
                lost.append(sent)
                cause = error
            else:
                self._fail(sent.number, error)
        if lost:
            self._again([sent.number for sent in lost], cause, max(s.generation for s in lost))
        if time.monotonic() - self._kept_at >= EVERY:
            self.keep()

    def _take_in(self, done: _Done) -> None:
        fresh = int(self.missing[done.rows].sum())
        self._keeper.fill(done.rows, done.block.leaves)
        self.missing[done.rows] = False
        self._unkept.append(done)
        if time.monotonic() - self._kept_at >= EVERY:
            self.keep()
        self._advance(fresh)

    def keep(self) -> None:
        """Write what is finished and not kept, that of the same software together."""
        while self._unkept:
            software = self._unkept[0].block.made["software"]
            group = [done for done in self._unkept if done.block.made["software"] == software]
            leaves = [np.concatenate(x) for x in zip(*(d.block.leaves for d in group), strict=True)]
            seconds = sum(done.block.made["seconds"] for done in group)
            rows = np.concatenate([done.rows for done in group])
            block = Block(leaves=leaves, made={"software": software, "seconds": seconds})
            self._keeper.add(rows, block, [done.number for done in group])
            self._unkept = [d for d in self._unkept if d.block.made["software"] != software]
            self._kept_at = time.monotonic()

    def _fail(self, number: int, error: BaseException) -> None:
        """Hand out no more, and let those under way finish."""
        self._keeper.fail(number, error)
        self._failure = self._failure or error
        for future in list(self._under_way):
            if future.cancel():
                self._keeper.give_back([self._under_way.pop(future).number])

    def _again(self, numbers: list[int], error: BaseException, generation: int) -> None:
        """Blocks whose workers were lost are handed out once more, to new workers if those of now
        are gone too.
        """
        self._keeper.give_back(numbers)
        self._lost.update(numbers)
        times = max(self._lost.values())
        there = generation < self._crew.generation or self._crew.restarted()
        if times < ATTEMPTS and there:
            self._todo.extendleft(reversed(numbers))
            return
        words = " ".join(f"{type(error).__name__}: {error}".split())
        self._failure = self._failure or RuntimeError(
            f"expected workers that stay alive, lost them {times} times ({words}); what is "
            f"finished is kept: look at their memory and their logs, take fewer of them or a "
            f"smaller batch size, and run again"
        )

    def _look(self) -> None:
        """Learn which cells are there."""
        for rows in self._keeper.news():
            fresh = int(self.missing[rows].sum())
            self.missing[rows] = False
            self._advance(fresh)

    def _rows(self, number: int) -> np.ndarray:
        """The cells of a block that are missing, by place."""
        size = self._keeper.plan.size
        begin = number * size
        return begin + np.flatnonzero(self.missing[begin : begin + size])


def _error(future: Future) -> BaseException | None:
    if future.cancelled():
        return CancelledError("the scheduler gave it up")
    return future.exception()


def _silent(cells: int) -> None:
    """Where nobody wants to know."""
