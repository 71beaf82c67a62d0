"""Which passes join the minima known so far, and which minima lie between them?

`explore` connects pairs of minima until a budget is spent.

>>> import jax.numpy as jnp
>>> from vaesurface import stationary
>>> from vaesurface.paths.graph import Passage
>>> wells = Problem(loss=lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2)
>>> left, right, top = (stationary.analyze(wells, jnp.array([x, 0.0])) for x in (-1.0, 1.0, 0.0))
>>> explored = explore(wells, [left, right], lambda problem, a, b: Passage(top, (a, b)))
>>> print(len(explored.points), len(explored.transitions), explored.tried)
2 1 1
"""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future
from contextlib import closing
from functools import partial
from itertools import combinations
from typing import NamedTuple

import jax
from scipy.cluster.hierarchy import DisjointSet

from vaesurface.glance import brief
from vaesurface.paths.graph import Points, Transition, groups_of, is_bottom, singly
from vaesurface.problem import Problem, adopt
from vaesurface.stationary import tally
from vaesurface.stationary.verdict import Kind, StationaryPoint

__all__ = ["Explored", "explore"]

Connect = Callable[[Problem, StationaryPoint, StationaryPoint], Transition | None]
Pair = tuple[int, int]
AHEAD = 16  # pairs handed out at a time, of an executor that does not say how many workers it has


@brief()
class Explored(NamedTuple):
    """What there is to make a `network` of, after exploring.

    points: all bottoms met.
    transitions: all there are.
    failed: pairs of points that no transition was met for.
    tried: how many pairs were.
    """

    points: list[StationaryPoint]
    transitions: list[Transition]
    failed: list[tuple[StationaryPoint, StationaryPoint]]
    tried: int


def explore(
    problem: Problem,
    minima: Points,
    connect: Connect,
    budget: int = 20,
    transitions: Iterable[Transition] = (),
    executor: Executor | None = None,
) -> Explored:
    """Connect pairs of minima, `budget` of them at most, and the minima newly met on the way with
    the rest.

    connect(problem, a, b) looks for a saddle between two points and what it joins, or gives None.
    The nearest pair (`tally.distance`) that does not hang together goes first: what a pass leads to
    on the way from one far point to another lies near to what was met. Once all hang together,
    pairs that no transition joins directly, the nearest first. A pair counts as failed where
    connect gives None, or a saddle that is none. Points that are no bottoms are left out;
    transitions to begin with may be given.

    executor: any of `concurrent.futures`, which works ahead on the pairs that are next as far as is
    known; what comes of a pair is used when its turn comes, so the result does not depend on it.
    """
    problem = adopt(problem)
    chart, passes = _Chart(problem, minima), list(transitions)
    failed: list[tuple[StationaryPoint, StationaryPoint]] = []
    for transition in passes:
        chart.enter(transition)
    with closing(_Ahead(partial(_connected, connect, problem), chart, executor)) as ahead:
        while len(chart.tried) < budget and (pairs := chart.next_pairs()):
            crossing = ahead.answer(pairs[: budget - len(chart.tried)])
            chart.tried.add(pairs[0])
            a, b = (chart.minima[i] for i in pairs[0])
            if crossing is None or not _is_pass(problem, crossing.saddle):
                failed.append((a, b))
                continue
            passes.append(crossing)
            chart.enter(crossing)
    return Explored(points=chart.minima, transitions=passes, failed=failed, tried=len(chart.tried))


def _is_pass(problem: Problem, point: StationaryPoint) -> bool:
    """Whether a point is one: a saddle or, in one dimension, a maximum. A saddle that only rows at
    zero leave, weakly, is a bottom and no pass.
    """
    return point.kind in (Kind.SADDLE, Kind.MAXIMUM) and not is_bottom(problem, point)


class _Chart:
    """Minima met so far, by number; which of them hang together, which are joined by one pass, and
    which pairs were tried.
    """

    def __init__(self, problem: Problem, minima: Points) -> None:
        bottoms = [point for point in singly(minima) if is_bottom(problem, point)]
        self.problem = problem
        self.minima = [bottoms[group[0]] for group in groups_of(problem, bottoms)]
        self.together: DisjointSet = DisjointSet(range(len(self.minima)))
        self.direct: set[Pair] = set()
        self.tried: set[Pair] = set()
        self.gaps: dict[Pair, float] = {}

    def enter(self, transition: Transition) -> None:
        """Enter what a transition joins: the minima at its ends, but no runaway or saddle there."""
        ends = [end for end in singly(transition.ends) if is_bottom(self.problem, end)]
        joined = sorted(self.number(end) for end in ends)
        if len(joined) == 2:
            self.together.merge(*joined)
            self.direct.add((joined[0], joined[1]))

    def number(self, point: StationaryPoint) -> int:
        """Of a minimum, which is added where it is new."""
        for i, minimum in enumerate(self.minima):
            if len(groups_of(self.problem, [minimum, point])) == 1:
                return i
        self.minima.append(point)
        self.together.add(len(self.minima) - 1)
        return len(self.minima) - 1

    def next_pairs(self) -> list[Pair]:
        """Pairs that are not joined by one pass and were not tried, the next one first."""
        pairs = set(combinations(range(len(self.minima)), 2)) - self.tried - self.direct
        return sorted(sorted(pairs), key=self.rank)

    def rank(self, pair: Pair) -> tuple[bool, float]:
        """Pairs that hang together last, near ones first."""
        if pair not in self.gaps:
            a, b = (self.minima[i].params for i in pair)
            self.gaps[pair] = tally.distance(self.problem, a, b)
        return self.together.connected(*pair), self.gaps[pair]


class _Ahead:
    """Works on the pairs that are next.

    join: of two points. executor: None works when a pair's turn has come.
    """

    def __init__(
        self,
        join: Callable[[StationaryPoint, StationaryPoint], Transition | None],
        chart: _Chart,
        executor: Executor | None,
    ) -> None:
        self._join, self._chart, self._executor = join, chart, executor
        self._width = getattr(executor, "_max_workers", AHEAD)
        self._futures: dict[Pair, Future] = {}

    def answer(self, pairs: list[Pair]) -> Transition | None:
        """What comes of the first of some pairs; the others are next."""
        if self._executor is None:
            return self._join(*self._points(pairs[0]))
        wanted = pairs[: self._width]
        for pair in self._futures.keys() - set(wanted):
            if self._futures[pair].cancel():  # else it may come in useful yet
                del self._futures[pair]
        for pair in wanted:
            if pair not in self._futures:
                points = self._points(pair)
                self._futures[pair] = self._executor.submit(self._join, *points)
        return self._futures.pop(pairs[0]).result()

    def close(self) -> None:
        """What is not begun is not wanted any more."""
        for future in self._futures.values():
            future.cancel()

    def _points(self, pair: Pair) -> list[StationaryPoint]:
        return [self._chart.minima[i] for i in pair]


def _connected(
    connect: Connect, problem: Problem, a: StationaryPoint, b: StationaryPoint
) -> Transition | None:
    """As in float64, which may be set for the caller's thread only."""
    with jax.enable_x64(True):
        return connect(problem, a, b)
