"""Which stationary points are there, and how high are the passes between them?"""

from concurrent.futures import Executor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import paths, plot, stationary
from vaesurface.experiments.study import Setting, verdict
from vaesurface.experiments.ways import far_ends, way_out
from vaesurface.marks import KINDS, UNIT
from vaesurface.paths.exploring import Explored, explore
from vaesurface.paths.graph import Network, Passage, network
from vaesurface.problem import Problem
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind, StationaryPoint, tally
from vaesurface.stationary.model import at

__all__ = ["graph"]


def graph(setting: Setting, alpha: float, budget: int) -> Study:
    """Points that random starts find, and the collapsed one, connected pair by pair; budget: pairs
    at most.
    """
    problem = setting.problem(alpha)
    collapsed = stationary.analyze(problem, problem.collapsed())
    with setting.side_by_side() as crewed:
        ends = crewed.ends(problem)
        explored = _explored(problem, ends, collapsed, budget, crewed.executor)
    net = network(problem, [ends, collapsed], explored.transitions)
    lowest = stationary.analyze(problem, jax.tree.map(jnp.asarray, at(net.params, 0)))
    sentences = [
        f"At alpha = {alpha:g}, {setting.starts} random starts, the collapsed point and the ways "
        f"between them led to {_counted(net)}.",
        f"{explored.tried} pairs of them were tried, {len(explored.failed)} of them in vain.",
        f"Of the starts: {_rivals(problem, ends)}.",
    ]
    if len(net.islands) > 1:
        sentences.append(f"{len(net.islands)} groups of them are without a known connection.")
    figures = _figures(setting, alpha, net, collapsed)
    return setting.study(
        "network",
        "How do the stationary points hang together?",
        sentences,
        table=net.table,
        columns=_columns(net),
        verdicts=[verdict("lowest point", lowest), verdict("collapsed point", collapsed)],
        figures=figures,
        settings={"alpha": alpha, "pairs at most": budget},
    )


def _columns(net: Network) -> dict[str, Any]:
    """A row for each point."""
    return {
        "label": net.label,
        "kind": [KINDS[code].name for code in net.kind.tolist()],
        "energy": net.energy,
        "inertia_negative": net.negative,
        "active": np.asarray(net.active).sum(axis=1),
        "met": net.met,
    }


def _explored(
    problem: Problem,
    ends: StationaryPoint,
    collapsed: StationaryPoint,
    budget: int,
    executor: Executor | None,
) -> Explored:
    """The pairs that were connected.

    Collapse is far from all else, and its turn would never come: the pass out of it is known to
    begin with.
    """
    out = way_out(problem, far_ends(problem, ends)[:1]) if budget else None
    passes = [] if out is None else [out.crossing]
    return explore(problem, [ends, collapsed], _connect, budget, passes, executor)


def _connect(problem, a, b):
    """What a saddle between two points joins: the bottoms to which descent from its sides falls
    on.
    """
    crossing = paths.barrier(problem, a, b, anywhere=True)
    if crossing is None:
        return None
    one, other = (paths.fall(problem, crossing.end(i)) for i in (0, 1))
    return Passage(crossing.saddle, (one, other))


def _counted(net: Network) -> str:
    """How many points there are, by kind."""
    minima = int((net.kind == Kind.MINIMUM).sum())
    weak = int(net.bottom.sum()) - minima
    words = f"{len(net.energy)} distinct points, {minima} of them minima"
    if weak:
        words += f", {weak} degenerate saddles whose descent float64 does not resolve"
    return words


def _rivals(problem: Problem, ends: StationaryPoint) -> str:
    """What the starts say about what they missed."""
    reached = np.asarray(ends.kind) != Kind.NOT_STATIONARY
    return tally.best_of(problem, ends.loss, ends.params, reached).words


def _figures(
    setting: Setting, alpha: float, net: Network, collapsed: StationaryPoint
) -> list[Figure]:
    """The tree of minima; index and energy of all points; what latents carry at two of them."""
    title = setting.heading(alpha=alpha)
    active = np.asarray(net.active).sum(axis=1)
    place = {int(node): i for i, node in enumerate(net.leaves)}
    joined = [
        (place[edge.low], place[edge.high], edge.energy)
        for edge in net.edges
        if {edge.low, edge.high} <= place.keys() and edge.low != edge.high
    ]
    widths = {
        "lowest point": np.exp(net.params.log_std[0]),
        "collapsed point": np.exp(np.asarray(collapsed.params.log_std)),
    }
    look: dict[str, Any] = {"unit": UNIT, "title": title}
    tree = look | {"active": active[net.leaves], "scale": "symlog"}
    return [
        setting.draw(
            "disconnectivity",
            "Which minima join at which energy; colors: active latents.",
            partial(plot.disconnectivity, net.energy[net.leaves], joined, **tree),
        ),
        setting.draw(
            "index",
            "Index of the points against their energy.",
            partial(plot.index_scatter, net.energy, net.negative, active, **look),
        ),
        setting.draw(
            "sigma",
            "Posterior standard deviations; those at 1 carry nothing.",
            partial(plot.sigma_histogram, widths, log=True, title=title),
        ),
    ]
