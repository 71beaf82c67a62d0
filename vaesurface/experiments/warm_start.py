"""Does KL warm-start keep deep VAEs from collapse? Section 5 of the paper: not where the
autoencoder itself is stuck.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binomtest, fisher_exact

from vaesurface import data, plot, report
from vaesurface.experiments.fig1 import (
    Plan,
    autoencoder,
    finite,
    fully_connected,
    kept,
    names,
    options,
    runs,
)
from vaesurface.experiments.study import draw
from vaesurface.report import Study
from vaesurface.vae import train
from vaesurface.vae.architecture import Architecture
from vaesurface.vae.train import Trained

WARM = (0.0, 0.5)  # shares of the steps over which beta grows from 0 to 1
IDLE = 0.01  # nats per datum of KL divergence below which a latent carries nothing
# of the best constant's error: an autoencoder above it is called stuck, it explains less than half
# of the variance
STUCK = 0.5
PLAN = Plan(partial(fully_connected, width=16), (4, 8, 16, 24), ("digits",), 1000, 8, 1200, 64)
PLAN_FULL = Plan(
    partial(fully_connected, width=512), (4, 10, 20, 40), ("fashion-mnist",), None, 32, 100_000, 128
)


class Count(NamedTuple):
    """Of runs: how many end collapsed, and the exact 95 % interval of their share (Clopper &
    Pearson, Biometrika 26, 1934).
    """

    collapsed: int
    total: int
    low: float
    high: float


def warm_start(plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """The share of VAEs that end collapsed, with and without, over depth. Raises ValueError for
    several data sets.
    """
    if len(plan.sources) != 1:
        raise ValueError(
            f"expected one data set for warm-start, got {len(plan.sources)}; give one --data"
        )
    source, short = plan.sources[0], names(plan)[0]
    X = data.load(source, limit=plan.limit)
    constant = float(np.mean((X - X.mean(axis=0)) ** 2))
    counts, stuck, errors, ends = [], [], [], []
    for depth in plan.depths:
        ended = runs(warmed, plan, X, source, depth, out, warm=WARM, seed=np.arange(seeds))
        collapsed = (np.asarray(ended.kl) < IDLE).all(axis=-1) & np.asarray(ended.finite)
        counts.append([count(row) for row in collapsed])
        ends.append(np.median(finite(ended.error), axis=1))
        plain = runs(autoencoder, plan, X, source, depth, out, seed=np.arange(min(seeds, 3)))
        errors.append(float(np.median(finite(plain.error))))
        stuck.append(errors[-1] >= STUCK * constant)
    said = [claim(plan.depths, short, counts, stuck)]
    said += [
        f"At {depth} hidden layers the autoencoder's error is {100 * error / constant:.0f} % of "
        f"the best constant's"
        f"{' (stuck)' * s}; without warm-start {shown(without)} VAEs collapse, with it "
        f"{shown(warm)}; their median error is "
        f"{100 * end[0] / constant:.0f} and {100 * end[1] / constant:.0f} %."
        for depth, (without, warm), s, error, end in zip(
            plan.depths, counts, stuck, errors, ends, strict=True
        )
    ]
    ways = ("no warm-start", f"KL warm-start over {100 * WARM[1]:.0f} % of the steps")
    shares = {
        w: [(c[i].collapsed / c[i].total, c[i].low, c[i].high) for c in counts]
        for i, w in enumerate(ways)
    }
    labels = {w: [f"{c[i].collapsed}/{c[i].total}" for c in counts] for i, w in enumerate(ways)}
    drawn = partial(
        plot.collapse_shares,
        plan.depths,
        shares,
        counts=labels,
        title=f"{short}, {plan.latent} latents",
    )
    figure = draw(
        out,
        "warm-start",
        "Share of VAEs that end collapsed, with exact 95 % confidence intervals.",
        drawn,
    )
    arrays: dict[str, Any] = {
        "warm": WARM,
        "counts": counts,
        "error": ends,
        "autoencoder_error": errors,
    }
    np.savez(out / "warm-start.npz", allow_pickle=False, depth=plan.depths, **arrays)
    settings: dict[str, Any] = plan.settings(seeds) | {
        "collapsed": f"every latent's KL divergence below {IDLE} nats"
    }
    study = Study(
        "warm-start", "Does KL warm-start help?", said, [], [figure], (), settings, command
    )
    report.save(study, out)
    return study


def warmed(X: jax.Array, networks: Architecture, plan: Plan, warm: Any, seed: Any) -> Trained:
    """One trained VAE; beta grows from 0 to 1 over that share of the steps."""

    def beta(step):
        return jnp.where(
            warm > 0, jnp.clip(step / jnp.maximum(warm * plan.steps, 1.0), 0.0, 1.0), 1.0
        )

    return kept(train.train(X, networks, jax.random.key(seed), beta=beta, **options(plan)))


def count(collapsed: np.ndarray) -> Count:
    """collapsed (runs,)."""
    interval = binomtest(int(collapsed.sum()), collapsed.size).proportion_ci(0.95, "exact")
    return Count(int(collapsed.sum()), collapsed.size, float(interval.low), float(interval.high))


def changed(counts: Sequence[Sequence[Count]]) -> np.ndarray:
    """(m,) whether shares without and with warm-start differ: Fisher's exact test, 5 % for all
    depths together (Bonferroni).
    """
    tables = [[[c.collapsed, c.total - c.collapsed] for c in pair] for pair in counts]
    return np.array([fisher_exact(table).pvalue <= 0.05 / len(tables) for table in tables])


def shown(c: Count) -> str:
    """In words."""
    return (
        f"{c.collapsed} of {c.total} ({100 * c.low:.0f} to {100 * c.high:.0f} % with 95 % "
        f"confidence)"
    )


def claim(
    depths: Sequence[int], source: str, counts: Sequence[Sequence[Count]], stuck: Sequence[bool]
) -> str:
    """Whether warm-start leaves collapse as it is where the autoencoder is stuck; in words. counts:
    without it, with it.
    """
    moved, still = changed(counts), np.array(stuck)

    def where(chosen):
        return listed([d for d, c in zip(depths, chosen, strict=True) if c])

    verdict = (
        f"holds for {source}: where the autoencoder is stuck ({where(still)}) warm-start "
        f"changes nothing that could be shown"
    )
    if not still.any():
        verdict = f"is not tested for {source}: no autoencoder is stuck up to {listed(depths[-1:])}"
    elif (still & moved).any():
        verdict = (
            f"fails for {source}: at {where(still & moved)} the autoencoder is stuck, yet "
            f"warm-start changes the share that"
        )
        verdict += " collapses"
        if (still & ~moved).any():
            verdict += f", while at {where(still & ~moved)} it is stuck and nothing changes that could be shown"
    rest = ""
    for does, chosen in (("changes", moved), ("does not measurably change", ~moved)):
        if (here := chosen & ~still).any():
            rest += f"; where the autoencoder learns, at {where(here)}, it {does} the share that collapses"
    return f"The paper's claim {verdict}{rest}."


def listed(depths: Sequence[int]) -> str:
    """In words."""
    return f"{', '.join(map(str, depths))} hidden layers"
