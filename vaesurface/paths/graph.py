"""How do stationary points hang together: which minimum is how high a pass away from which?

`network` makes a graph of points and of transitions between them: points that are one up to a
signed permutation of the latents are one node, however often they were met. `merges` says at which
energy each minimum joins others, which is what a disconnectivity graph shows (Becker & Karplus, J.
Chem. Phys. 106, 1997); `exploring` adds to what is known. Plain NumPy at the border; energies are
those of the problem, negative counts a point's negative eigenvalues.

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

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from scipy.cluster.hierarchy import DisjointSet

from vaesurface.glance import brief
from vaesurface.problem import Params, Problem, adopt
from vaesurface.stationary import model, tally
from vaesurface.stationary.verdict import Kind, StationaryPoint

__all__ = [
    "Edge",
    "Merge",
    "Network",
    "Passage",
    "Points",
    "Transition",
    "groups_of",
    "is_bottom",
    "network",
    "singly",
]

# By how much a saddle may lie below its ends, relative to its energy: rounding in both.
SADDLE_BELOW = 1e-9

# Points one by one, or with leading axes.
Points = StationaryPoint | Iterable[StationaryPoint]


class Transition(Protocol):
    """Two points that are joined over a saddle: descent from it on each side ends there.

    saddle: a `StationaryPoint`.
    ends: two points, or one with a leading axis 2.
    """

    @property
    def saddle(self) -> StationaryPoint: ...
    @property
    def ends(self) -> Points: ...


class Passage(NamedTuple):
    """The least that is a `Transition`.

    saddle: without leading axes.
    ends: likewise.
    """

    saddle: StationaryPoint
    ends: tuple[StationaryPoint, StationaryPoint]


class Edge(NamedTuple):
    """A transition between nodes, by their numbers.

    low: the lower node.
    high: the higher one; the same where a saddle falls to one node both ways.
    saddle: the node that they are joined over.
    energy: of that.
    """

    low: int
    high: int
    saddle: int
    energy: float


class Merge(NamedTuple):
    """Two groups of minima that become connected, by the nodes' numbers.

    energy: at which they do.
    saddle: over which.
    left: minima around the lower one.
    right: the others.
    """

    energy: float
    saddle: int
    left: tuple[int, ...]
    right: tuple[int, ...]


@brief("label", "energy", "bottom", "met", "edges", "dropped", "params")
class Network(NamedTuple):
    """Points told apart, lowest energy first, and how they are joined.

    energy: (m,).
    negative: (m,), numbers of negative eigenvalues.
    kind: (m,), each a `Kind`.
    bottom: (m,) bool, whether it is a minimum to float64, as `is_bottom` says.
    active: (m, k) bool, or None without latents.
    met: (m,), how often.
    label: m strings.
    params: leaves (m, ...).
    edges: transitions, lowest first.
    dropped: how many points were left out as not stationary. Ends of transitions are kept whatever
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
        groups, merges = DisjointSet(self.leaves.tolist()), []
        for edge in self.edges:
            nodes = edge.low, edge.high
            # A transition may end in a saddle where a descent stopped: that joins nothing that is
            # known.
            if not all(node in groups for node in nodes) or groups.connected(*nodes):
                continue
            left, right = sorted(tuple(sorted(groups.subset(node))) for node in nodes)
            merges.append(Merge(energy=edge.energy, saddle=edge.saddle, left=left, right=right))
            groups.merge(*nodes)
        return tuple(merges)

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
        columns = self.energy, self.negative, self.met, self.label
        for i, (energy, negative, met, label) in enumerate(zip(*columns, strict=True)):
            lines.append(f"{i:>5}  {energy:>11.6g}  {negative:>8}  {met:>3}  {label}")
        if self.merges:
            lines += ["", f"{'at energy':>12}  join (over saddle)"]
        for merge in self.merges:
            both = f"{_names(merge.left)} + {_names(merge.right)}"
            lines.append(f"{merge.energy:>12.6g}  {both} ({merge.saddle})")
        if len(self.islands) > 1:
            islands = " | ".join(_names(group) for group in self.islands)
            lines += ["", f"without a known connection: {islands}"]
        if self.dropped:
            lines += ["", f"{self.dropped} more ended at no stationary point"]
        return "\n".join(lines)


def network(problem: Problem, points: Points, transitions: Iterable[Transition] = ()) -> Network:
    """The graph of points, with any leading axes, and of transitions between them; not for `jit`.

    The saddles and ends of transitions are points as well. Points that are not stationary are left
    out and counted. Raises ValueError where nothing is left, and for a saddle that lies below an
    end.
    """
    problem = adopt(problem)
    offered, passages = singly(points), [_passage(transition) for transition in transitions]
    kept = [point for point in offered if point.kind != Kind.NOT_STATIONARY]
    copies = [point for passage in passages for point in (passage.saddle, *passage.ends)]
    members, dropped = kept + copies, len(offered) - len(kept)
    if not members:
        raise ValueError(
            f"expected at least one stationary point, got none among {dropped}; refine them first"
        )
    groups = groups_of(problem, members)
    node = np.empty(len(members), int)
    for number, group in enumerate(groups):
        node[group] = number
    nodes = [members[group[0]] for group in groups]
    triples = node[len(kept) :].reshape(-1, 3).tolist()
    edges = [_edge(*both) for both in zip(passages, triples, strict=True)]
    has_latents = nodes[0].active is not None
    return Network(
        energy=np.array([float(point.loss) for point in nodes]),
        negative=np.array([int(point.inertia.negative) for point in nodes]),
        kind=np.array([int(point.kind) for point in nodes]),
        bottom=np.array([is_bottom(problem, point) for point in nodes]),
        active=np.array([np.asarray(point.active) for point in nodes]) if has_latents else None,
        met=_met(len(nodes), node[: len(kept)], edges),
        label=tuple(point.label for point in nodes),
        params=_stacked([point.params for point in nodes]),
        edges=tuple(sorted(set(edges), key=lambda edge: (edge.energy, edge))),
        dropped=dropped,
    )


def _passage(transition: Transition) -> Passage:
    """A transition of points without leading axes."""
    (saddle,), (first, second) = singly(transition.saddle), singly(transition.ends)
    return Passage(saddle=saddle, ends=(first, second))


def _edge(passage: Passage, nodes: list[int]) -> Edge:
    """A passage between nodes: the saddle's, and those of the ends. Raises ValueError for a saddle
    below an end.
    """
    saddle, *ends = nodes
    height = float(passage.saddle.loss)
    highest = max(float(end.loss) for end in passage.ends)
    if not height >= highest - SADDLE_BELOW * max(1.0, abs(height)):
        raise ValueError(
            f"expected a saddle above its ends, got {height:.12g} below {highest:.12g}; "
            f"refine the saddle"
        )
    return Edge(low=min(ends), high=max(ends), saddle=saddle, energy=height)


def _met(size: int, points: np.ndarray, edges: list[Edge]) -> np.ndarray:
    """How often each of so many nodes was met: as one of the points, or else on an edge.

    Every transition brings copies of its ends and its saddle along, which do not count beside
    points.
    """
    as_point = np.bincount(points, minlength=size)
    on_edge = [sum(i in edge[:3] for edge in edges) for i in range(size)]
    return np.where(as_point > 0, as_point, on_edge)


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


def groups_of(problem: Problem, points: list[StationaryPoint]) -> list[np.ndarray]:
    """Numbers of points that are one, lowest energy first."""
    if not points:
        return []
    return tally.distinct(
        problem,
        np.array([float(point.loss) for point in points]),
        _stacked([point.params for point in points]),
    )


def singly(points: Points) -> list[StationaryPoint]:
    """Points without leading axes."""
    if not isinstance(points, StationaryPoint):
        return [single for point in points for single in singly(point)]
    points = points._replace(descent=None, probe=None, search=None, refinement=None)
    leaves = jax.tree.map(np.asarray, points)
    return [model.at(leaves, i) for i in np.ndindex(np.shape(points.kind))]


def _stacked(trees: list[Params]) -> Any:
    """Parameters with a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *trees)


def _names(nodes: tuple[int, ...]) -> str:
    """Nodes' numbers in words."""
    return ", ".join(map(str, nodes))
