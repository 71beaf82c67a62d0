"""Which stationary points are there, and how high are the passes between them?"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import network, plot, stationary, tally
from vaesurface.experiments.study import Setting, over, verdict
from vaesurface.report import Study
from vaesurface.stationary import Kind


def graph(setting: Setting, alpha: float, budget: int) -> Study:
    """Points that random starts find, and the collapsed one, connected pair by pair; budget: pairs at most."""
    problem = setting.problem(alpha)
    ends = setting.ends(problem)
    collapsed = stationary.analyze(problem, problem.collapsed())  # type: ignore[misc]
    explored = network.explore(problem, [ends, collapsed], _connect, budget)
    net = network.network(problem, [ends, collapsed], explored.transitions)
    active = net.active.sum(axis=1)  # type: ignore[union-attr]
    place = {int(node): i for i, node in enumerate(net.leaves)}
    edges = [(place[e.low], place[e.high], e.energy) for e in net.edges if {e.low, e.high} <= place.keys() and e.low != e.high]
    minima = int((net.kind == Kind.MINIMUM).sum())
    said = [
        f"At alpha = {alpha:g}, {setting.starts} random starts, the collapsed point and the ways between them led to "
        f"{len(net.energy)} distinct points, {minima} of them minima. {explored.tried} pairs of minima were tried, "
        f"{len(explored.failed)} of them in vain.",
        f"Of the starts: {tally.best_of(problem, ends.loss, ends.params, np.asarray(ends.kind) != Kind.NOT_STATIONARY).words}.",
    ]
    if len(net.islands) > 1:
        said.append(f"{len(net.islands)} groups of minima are without a known connection.")
    look: dict[str, Any] = {"title": f"{setting.source}, α = {alpha:g}"}
    widths = {"lowest point": np.exp(net.params.log_std[0]), "collapsed point": np.exp(np.asarray(collapsed.params.log_std))}
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
    found = over(problem, a, b)
    return None if found is None else found[1]
