"""How do the stationary points found so far hang together: which minimum is how high a pass away
from which?

`network` makes a graph of points and of transitions between them: points that are one up to a
signed permutation of the latents are one node, however often they were met. `merges` says at which
energy each minimum joins others, which is what a disconnectivity graph shows (Becker & Karplus, J.
Chem. Phys. 106, 1997). `explore` connects pairs of minima until a budget is spent. Plain NumPy at
the border; energies are those of the problem, negative counts a point's negative eigenvalues.

>>> import jax.numpy as jnp
>>> from vaesurface import stationary
>>> wells = Problem(loss=lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2)
>>> left, right, top = (stationary.analyze(wells, jnp.array([x, 0.0])) for x in (-1.0, 1.0, 0.0))
>>> print(network(wells, [left, right, right], [Passage(top, (left, right))]).table)
point       energy  negative  met  label
    0            0         0    1  local minimum
    1            0         0    2  local minimum
    2            1         1    1  saddle of index 1
<BLANKLINE>
   at energy  join (over saddle)
           1  0 + 1 (2)
"""

from collections.abc import Callable, Iterable
from functools import cache
from itertools import combinations
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from vaesurface.problem import Params, Problem
from vaesurface.stationary import tally
from vaesurface.stationary.verdict import Kind, StationaryPoint


class Transition(Protocol):
    """Two points that are joined over a saddle: descent from it on each side ends there. ends: two
    points, or one with a leading axis 2.
    """

    @property
    def saddle(self) -> StationaryPoint: ...
    @property
    def ends(self) -> StationaryPoint | Iterable[StationaryPoint]: ...


class Passage(NamedTuple):
    """The least that is a `Transition`."""

    saddle: StationaryPoint
    ends: tuple[StationaryPoint, StationaryPoint]


class Edge(NamedTuple):
    """Nodes low and high are joined over node saddle, at its energy. A saddle that falls to one
    node both ways: low = high.
    """

    low: int
    high: int
    saddle: int
    energy: float


class Merge(NamedTuple):
    """At this energy, over this saddle, the minima left (those around the lower one) and right
    become connected.
    """

    energy: float
    saddle: int
    left: tuple[int, ...]
    right: tuple[int, ...]


class Network(NamedTuple):
    """Points told apart, lowest energy first, and how they are joined.

    energy (m,); negative (m,) eigenvalues; kind (m,), a `Kind`; bottom (m,): whether it is a
    minimum to float64, as `is_bottom` says; active (m, k), or None without latents; met (m,): how
    often; label: m strings; params: leaves (m, ...). edges: known transitions, lowest first.
    dropped: how many points were left out as not stationary; ends of transitions are kept whatever
    they are, and their label says it.
    """

    energy: np.ndarray
    negative: np.ndarray
    kind: np.ndarray
    bottom: np.ndarray
    active: np.ndarray | None
    met: np.ndarray
    label: tuple[str, ...]
    params: Params
    edges: tuple[Edge, ...]
    dropped: int

    @property
    def leaves(self) -> np.ndarray:
        """Nodes that valleys end in: bottoms, and ends of transitions that are not known to be
        anything else.
        """
        saddles = {edge.saddle for edge in self.edges}
        ends = {node for edge in self.edges for node in (edge.low, edge.high)} - saddles
        return np.array([i for i in range(len(self.energy)) if self.bottom[i] or i in ends], int)

    @property
    def merges(self) -> tuple[Merge, ...]:
        """Which leaves join at which energy, lowest first: single linkage, the saddles' energies
        being the distances.
        """
        groups, joined = DisjointSet(self.leaves.tolist()), []
        for edge in self.edges:
            # A transition may end in a saddle where a descent stopped: that joins nothing that is
            # known.
            if (
                edge.low in groups
                and edge.high in groups
                and not groups.connected(edge.low, edge.high)
            ):
                parts = sorted(tuple(sorted(groups.subset(node))) for node in (edge.low, edge.high))
                joined.append(Merge(edge.energy, edge.saddle, *parts))
                groups.merge(edge.low, edge.high)
        return tuple(joined)

    @property
    def islands(self) -> tuple[tuple[int, ...], ...]:
        """Leaves that are connected by what is known; more than one group says that connections are
        missing.
        """
        groups = DisjointSet(self.leaves.tolist())
        for merge in self.merges:
            groups.merge(merge.left[0], merge.right[0])
        return tuple(sorted(tuple(sorted(int(i) for i in group)) for group in groups.subsets()))

    @property
    def table(self) -> str:
        """Points and merges as plain text."""
        lines = [f"{'point':>5}  {'energy':>11}  {'negative':>8}  {'met':>3}  label"]
        for i, (energy, negative, met) in enumerate(
            zip(self.energy, self.negative, self.met, strict=True)
        ):
            lines.append(f"{i:>5}  {energy:>11.6g}  {negative:>8}  {met:>3}  {self.label[i]}")
        if self.merges:
            lines += ["", f"{'at energy':>12}  join (over saddle)"]
            lines += [
                f"{m.energy:>12.6g}  {_names(m.left)} + {_names(m.right)} ({m.saddle})"
                for m in self.merges
            ]
        if len(self.islands) > 1:
            lines += [
                "",
                "without a known connection: "
                + " | ".join(_names(group) for group in self.islands),
            ]
        if self.dropped:
            lines += ["", f"{self.dropped} more ended at no stationary point"]
        return "\n".join(lines)


class Explored(NamedTuple):
    """points and transitions: all there are now, to make a `network` of; failed: pairs of points
    that no transition was found for; tried: how many pairs were.
    """

    points: list[StationaryPoint]
    transitions: list[Transition]
    failed: list[tuple[StationaryPoint, StationaryPoint]]
    tried: int


def network(
    problem: Problem,
    points: StationaryPoint | Iterable[StationaryPoint],
    transitions: Iterable[Transition] = (),
) -> Network:
    """The graph of points, with any leading axes, and of transitions between them; not for `jit`.

    The saddles and ends of transitions are points as well. Points that are not stationary are left
    out and counted. Raises ValueError where nothing is left, and for a saddle that lies below an
    end.
    """
    given = _singly(points)
    kept = [point for point in given if point.kind != Kind.NOT_STATIONARY]
    dropped, passages = len(given) - len(kept), list(transitions)
    where = len(kept)
    for passage in passages:
        kept += [*_singly(passage.saddle), *_singly(passage.ends)]
    if not kept:
        raise ValueError(
            f"expected at least one stationary point, got none among {dropped}; refine them first"
        )
    groups = _groups(problem, kept)
    node = np.empty(len(kept), int)
    for number, group in enumerate(groups):
        node[group] = number
    first = [kept[group[0]] for group in groups]
    energy = np.array([float(point.loss) for point in first])
    edges = []
    for passage, (saddle, *ends) in zip(
        passages, node[where:].reshape(-1, 3).tolist(), strict=True
    ):
        height, highest = (
            float(passage.saddle.loss),
            max(float(end.loss) for end in _singly(passage.ends)),
        )
        if not height >= highest - 1e-9 * max(1.0, abs(height)):
            raise ValueError(
                f"expected a saddle above its ends, got {height:.12g} below {highest:.12g}; "
                f"refine the saddle"
            )
        edges.append(Edge(min(ends), max(ends), saddle, height))
    # Every transition brings copies of its ends and its saddle along: they are met once if they
    # were met as points before.
    given_in = [int(np.sum(group < where)) for group in groups]
    passed = [sum(i in edge[:3] for edge in edges) for i in range(len(groups))]
    return Network(
        energy=energy,
        negative=np.array([int(point.inertia.negative) for point in first]),
        kind=np.array([int(point.kind) for point in first]),
        bottom=np.array([is_bottom(problem, point) for point in first]),
        active=None
        if first[0].active is None
        else np.array([np.asarray(point.active) for point in first]),
        met=np.array([count or passed[i] for i, count in enumerate(given_in)]),
        label=tuple(point.label for point in first),
        params=_stacked([point.params for point in first]),
        edges=tuple(sorted(set(edges), key=lambda edge: (edge.energy, edge))),
        dropped=dropped,
    )


def is_bottom(problem: Problem, point: StationaryPoint) -> bool:
    """Whether runs in float64 end there: at a minimum, or at a degenerate saddle that the energy
    leaves by less than rounding.

    So fall rows at zero of faint features, by exp(-1 / faintness). It stays a saddle, and its label
    says so.
    """
    if point.theory is None or point.kind != Kind.SADDLE or point.inertia.negative > 0:
        return bool(point.kind == Kind.MINIMUM)
    weak = point.theory.drop <= problem.rounding(point.params)
    return bool((point.theory.falling > 0) & weak)


def explore(
    problem: Problem,
    minima: StationaryPoint | Iterable[StationaryPoint],
    connect: Callable[[Problem, StationaryPoint, StationaryPoint], Transition | None],
    budget: int = 20,
    transitions: Iterable[Transition] = (),
) -> Explored:
    """Connect pairs of minima, `budget` of them at most, and the minima newly met on the way with
    the rest.

    connect(problem, a, b) finds a saddle between two points and what it joins, or None. The nearest
    pair (`tally.distance`) without a known connection goes first: what a pass leads to on the way
    from one far point to another lies near to what is known. Once all hang together, pairs that no
    transition joins directly, the nearest first. A pair counts as failed where connect gives None,
    or a saddle that is none. Points that are no bottoms are left out; transitions that are known
    already may be given.
    """
    known = [point for point in _singly(minima) if is_bottom(problem, point)]
    known = [known[group[0]] for group in _groups(problem, known)]
    found, failed = list(transitions), []
    tried: set[tuple[int, int]] = set()
    direct: set[tuple[int, int]] = set()
    groups: DisjointSet = DisjointSet(range(len(known)))
    gap = cache(lambda i, j: tally.distance(problem, known[i].params, known[j].params))

    def note(passage):
        """A transition joins the minima at its ends; a runaway or a saddle there is none of
        them.
        """
        ends = _add(problem, known, passage.ends)
        for i in range(len(known)):
            groups.add(i)
        joined = sorted(end for end in ends if end is not None)
        if len(joined) == 2:
            groups.merge(*joined)
            direct.add((joined[0], joined[1]))

    for passage in found:
        note(passage)
    while len(tried) < budget:
        open_ = [
            pair
            for pair in combinations(range(len(known)), 2)
            if pair not in tried and pair not in direct
        ]
        if not open_:
            break
        pair = min(open_, key=lambda pair: (groups.connected(*pair), gap(*pair)))
        tried.add(pair)
        new = connect(problem, known[pair[0]], known[pair[1]])
        # In one dimension a pass is a maximum. A saddle that only rows at zero leave, weakly, is a
        # bottom and no pass.
        if (
            new is None
            or new.saddle.kind not in (Kind.SADDLE, Kind.MAXIMUM)
            or is_bottom(problem, new.saddle)
        ):
            failed.append((known[pair[0]], known[pair[1]]))
            continue
        found.append(new)
        note(new)
    return Explored(known, found, failed, len(tried))


def _add(
    problem: Problem,
    known: list[StationaryPoint],
    ends: StationaryPoint | Iterable[StationaryPoint],
) -> list[int | None]:
    """The numbers of points among the known ones, to which new minima are added; None for what is
    no minimum.
    """
    numbers: list[int | None] = []
    for end in _singly(ends):
        if not is_bottom(problem, end):
            numbers.append(None)
            continue
        number = next(
            (i for i, old in enumerate(known) if len(_groups(problem, [old, end])) == 1), len(known)
        )
        if number == len(known):
            known.append(end)
        numbers.append(number)
    return numbers


def _groups(problem: Problem, points: list[StationaryPoint]) -> list[np.ndarray]:
    if not points:
        return []
    return tally.distinct(
        problem,
        np.array([float(point.loss) for point in points]),
        _stacked([point.params for point in points]),
    )


def _singly(points: StationaryPoint | Iterable[StationaryPoint]) -> list[StationaryPoint]:
    """Points without leading axes."""
    if not isinstance(points, StationaryPoint):
        return [single for point in points for single in _singly(point)]
    points = points._replace(descent=None, probe=None, search=None, refinement=None)
    leaves = jax.tree.map(np.asarray, points)
    return [jax.tree.map(lambda x, i=i: x[i], leaves) for i in np.ndindex(np.shape(points.kind))]


def _stacked(trees: list[Params]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def _names(nodes: tuple[int, ...]) -> str:
    return ", ".join(map(str, nodes))
