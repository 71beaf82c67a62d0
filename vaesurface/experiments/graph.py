"""Which stationary points are there, and how high are the passes between them?"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import paths, plot, stationary
from vaesurface.experiments.study import Setting, far_ends, over, side, verdict, way_out
from vaesurface.paths.graph import Passage, explore, network
from vaesurface.report import Study
from vaesurface.stationary import Kind, tally


def graph(setting: Setting, alpha: float, budget: int) -> Study:
    """Points that random starts find, and the collapsed one, connected pair by pair; budget: pairs
    at most.
    """
    problem = setting.problem(alpha)
    ends = setting.ends(problem)
    collapsed = stationary.analyze(problem, problem.collapsed())  # type: ignore[misc]
    # Collapse is far from all else, and its turn would never come: the pass out of it is known to
    # begin with.
    out = way_out(problem, far_ends(problem, ends)[:1]) if budget else None
    explored = explore(
        problem, [ends, collapsed], _connect, budget, [] if out is None else [out.transition]
    )
    net = network(problem, [ends, collapsed], explored.transitions)
    active = net.active.sum(axis=1)  # type: ignore[union-attr]
    place = {int(node): i for i, node in enumerate(net.leaves)}
    edges = [
        (place[e.low], place[e.high], e.energy)
        for e in net.edges
        if {e.low, e.high} <= place.keys() and e.low != e.high
    ]
    minima = int((net.kind == Kind.MINIMUM).sum())
    weak = int(net.bottom.sum()) - minima
    more = f", {weak} degenerate saddles whose descent float64 does not resolve" if weak else ""
    said = [
        f"At alpha = {alpha:g}, {setting.starts} random starts, the collapsed point and the ways "
        f"between them led to "
        f"{len(net.energy)} distinct points, {minima} of them minima{more}. {explored.tried} "
        f"pairs of them were tried, "
        f"{len(explored.failed)} of them in vain.",
        f"Of the starts: "
        f"{tally.best_of(problem, ends.loss, ends.params, np.asarray(ends.kind) != Kind.NOT_STATIONARY).words}.",
    ]
    if len(net.islands) > 1:
        said.append(f"{len(net.islands)} groups of them are without a known connection.")
    look: dict[str, Any] = {"title": f"{setting.source}, α = {alpha:g}"}
    widths = {
        "lowest point": np.exp(net.params.log_std[0]),
        "collapsed point": np.exp(np.asarray(collapsed.params.log_std)),
    }
    heights, leaves = net.energy[net.leaves], active[net.leaves]
    figures = [
        setting.draw(
            "disconnectivity",
            "Which minima join at which energy; colors: active latents.",
            partial(plot.disconnectivity, heights, edges, active=leaves, scale="symlog", **look),
        ),
        setting.draw(
            "index",
            "Index of the points against their energy.",
            partial(plot.index_scatter, net.energy, net.negative, active, **look),
        ),
        setting.draw(
            "sigma",
            "Posterior standard deviations; those at 1 carry nothing.",
            partial(plot.sigma_histogram, widths, log=True, **look),
        ),
    ]
    (setting.out / "network.txt").write_text(net.table + "\n", encoding="utf-8")
    best = stationary.analyze(problem, jax.tree.map(lambda x: jnp.asarray(x[0]), net.params))
    return setting.study(
        "network",
        "How do the stationary points hang together?",
        said,
        verdicts=[verdict("lowest point", best), verdict("collapsed point", collapsed)],
        figures=figures,
        settings={"alpha": alpha, "pairs at most": budget},
    )


def _connect(problem, a, b):
    """What a saddle between two points joins: the bottoms to which descent from its sides falls
    on.
    """
    found = over(problem, paths.minimum_energy_path(problem, a, b))
    if found is None:
        return None
    return Passage(
        found.saddle, (paths.fall(problem, side(found, 0)), paths.fall(problem, side(found, 1)))
    )
