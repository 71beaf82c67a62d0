"""Does KL warm-start keep deep VAEs from collapse? Section 5 of the paper: not where the
autoencoder itself is stuck.

>>> shown(count(np.arange(12) < 6))
'6 of 12 (21 to 79 % with 95 % confidence)'
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
from vaesurface.experiments import tables
from vaesurface.experiments.study import draw, keep, keep_table
from vaesurface.experiments.trained import (
    Plan,
    autoencoder,
    best_constant,
    finite,
    fully_connected,
    kept,
    names,
    options,
    runs,
)
from vaesurface.report import Figure, Study
from vaesurface.vae import train
from vaesurface.vae.architecture import Architecture
from vaesurface.vae.train import Trained

__all__ = [
    "PLAN",
    "PLAN_FULL",
    "Count",
    "changed",
    "claim",
    "count",
    "listed",
    "shown",
    "warm_start",
    "warmed",
]

WARM = (0.0, 0.5)  # shares of the steps over which beta grows from 0 to 1
IDLE = 0.01  # nats per datum of KL divergence below which a latent carries nothing
# of the best constant's error: an autoencoder above it is called stuck, it explains less than half
# of the variance
STUCK = 0.5
AUTOENCODERS = 3  # seeds of them: they only say whether a depth is stuck
CONFIDENCE = 0.95  # of intervals
LEVEL = 0.05  # of the tests, all depths together
PLAN = Plan(
    networks=partial(fully_connected, width=16),
    depths=(4, 8, 16, 24),
    sources=("digits",),
    limit=1000,
    latent=8,
    steps=1200,
    batch=64,
)
PLAN_FULL = Plan(
    networks=partial(fully_connected, width=512),
    depths=(4, 10, 20, 40),
    sources=("fashion-mnist",),
    limit=None,
    latent=32,
    steps=100_000,
    batch=128,
)


HEAD = (
    "hidden layers",
    "autoencoder's error / constant's",
    "stuck",
    "VAEs collapse without",
    "with warm-start",
)


class Count(NamedTuple):
    """Of runs.

    collapsed: how many end collapsed.
    total: how many there are.
    low, high: the exact 95 % interval of their share (Clopper & Pearson, Biometrika 26, 1934).
    """

    collapsed: int
    total: int
    low: float
    high: float


class Depth(NamedTuple):
    """What came of networks of one depth; errors are squared, per feature.

    layers: hidden layers.
    counts: of VAEs, without warm-start and with it.
    error: (2,), of those VAEs, the median.
    autoencoder_error: the autoencoder's median.
    constant: the best constant's.
    """

    layers: int
    counts: list[Count]
    error: np.ndarray
    autoencoder_error: float
    constant: float

    @property
    def stuck(self) -> bool:
        """Whether the autoencoder is."""
        return self.autoencoder_error >= STUCK * self.constant

    @property
    def row(self) -> list[Any]:
        """Of the table."""
        shares = [f"{c.collapsed} of {c.total}" for c in self.counts]
        return [self.layers, self.autoencoder_error / self.constant, self.stuck, *shares]

    @property
    def words(self) -> str:
        """In a sentence."""
        without, warm = (shown(c) for c in self.counts)
        percent = [100 * error / self.constant for error in (self.autoencoder_error, *self.error)]
        return (
            f"At {self.layers} hidden layers the autoencoder's error is {percent[0]:.0f} % of the "
            f"best constant's{' (stuck)' * self.stuck}; without warm-start {without} VAEs "
            f"collapse, with it {warm}; their median error is {percent[1]:.0f} and "
            f"{percent[2]:.0f} %."
        )


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
    depths = [_at_depth(plan, X, source, layers, seeds, out) for layers in plan.depths]
    counts, stuck = [d.counts for d in depths], [d.stuck for d in depths]
    columns: dict[str, Any] = {
        "depth": plan.depths,
        "warm": WARM,
        "counts": counts,
        "error": [d.error for d in depths],
        "autoencoder_error": [d.autoencoder_error for d in depths],
    }
    study = Study(
        name="warm-start",
        title="Does KL warm-start help?",
        said=[claim(plan.depths, short, counts, stuck), *(d.words for d in depths)],
        figures=[_drawn(plan, counts, short, out)],
        settings=plan.settings(seeds)
        | {"collapsed": f"every latent's KL divergence below {IDLE} nats"},
        command=command,
    )
    keep(out, "warm-start", **columns)
    keep_table(out, "warm-start", tables.aligned(HEAD, [d.row for d in depths]))
    report.save(study, out)
    return study


def _at_depth(plan: Plan, X: np.ndarray, source: str, layers: int, seeds: int, out: Path) -> Depth:
    """VAEs, without warm-start and with it, and autoencoders of one depth."""
    ended = runs(warmed, plan, X, source, layers, out, warm=WARM, seed=np.arange(seeds))
    few = np.arange(min(seeds, AUTOENCODERS))
    plain = runs(autoencoder, plan, X, source, layers, out, seed=few)
    collapsed = (np.asarray(ended.kl) < IDLE).all(axis=-1) & np.asarray(ended.finite)
    return Depth(
        layers=layers,
        counts=[count(row) for row in collapsed],
        error=np.median(finite(ended.error), axis=1),
        autoencoder_error=float(np.median(finite(plain.error))),
        constant=best_constant(X),
    )


def _drawn(plan: Plan, counts: Sequence[Sequence[Count]], short: str, out: Path) -> Figure:
    """Shares with their intervals, for each way to train."""
    ways = ("no warm-start", f"KL warm-start over {100 * WARM[1]:.0f} % of the steps")
    shares, labels = {}, {}
    for way, of_way in zip(ways, zip(*counts, strict=True), strict=True):
        shares[way] = [(c.collapsed / c.total, c.low, c.high) for c in of_way]
        labels[way] = [f"{c.collapsed}/{c.total}" for c in of_way]
    title = (
        f"{short}, {plan.latent} latents, {plan.training}; bars: 95\N{NO-BREAK SPACE}% intervals"
    )
    axes = partial(plot.collapse_shares, plan.depths, shares, counts=labels, title=title)
    caption = "Share of VAEs that end collapsed, with exact 95 % confidence intervals."
    return draw(out, "warm-start", caption, axes)


def warmed(X: jax.Array, networks: Architecture, plan: Plan, warm: Any, seed: Any) -> Trained:
    """One trained VAE; beta grows from 0 to 1 over that share of the steps."""

    def beta(step):
        share = jnp.clip(step / jnp.maximum(warm * plan.steps, 1.0), 0.0, 1.0)
        return jnp.where(warm > 0, share, 1.0)

    return kept(train.train(X, networks, jax.random.key(seed), beta=beta, **options(plan)))


def count(collapsed: np.ndarray) -> Count:
    """How many of the runs (m,) have collapsed."""
    interval = binomtest(int(collapsed.sum()), collapsed.size).proportion_ci(CONFIDENCE, "exact")
    return Count(
        collapsed=int(collapsed.sum()),
        total=collapsed.size,
        low=float(interval.low),
        high=float(interval.high),
    )


def changed(counts: Sequence[Sequence[Count]]) -> np.ndarray:
    """(m,) whether shares without and with warm-start differ: Fisher's exact test, 5 % for all
    depths together (Bonferroni).
    """
    tables = [[[c.collapsed, c.total - c.collapsed] for c in pair] for pair in counts]
    level = LEVEL / len(tables)
    return np.array([fisher_exact(table).pvalue <= level for table in tables])


def shown(c: Count) -> str:
    """In words."""
    return (
        f"{c.collapsed} of {c.total} ({100 * c.low:.0f} to {100 * c.high:.0f} % with 95 % "
        f"confidence)"
    )


def claim(
    depths: Sequence[int], source: str, counts: Sequence[Sequence[Count]], stuck: Sequence[bool]
) -> str:
    """Whether warm-start leaves collapse as it is where the autoencoder is stuck; in words.

    counts: (m, 2), without it, with it.
    """
    moved, still = changed(counts), np.array(stuck)
    rest = ""
    if any(moved & ~still):
        where = _where(depths, moved & ~still)
        rest += f"; where the autoencoder learns, at {where}, it changes the share that collapses"
    if any(~moved & ~still):
        where = _where(depths, ~moved & ~still)
        rest += (
            f"; where the autoencoder learns, at {where}, it does not measurably change the share "
            f"that collapses"
        )
    return f"The paper's claim {_verdict(depths, source, moved, still)}{rest}."


def _verdict(depths: Sequence[int], source: str, moved: np.ndarray, still: np.ndarray) -> str:
    """Of depths where the autoencoder is stuck; moved, still (m,): where warm-start changes the
    share, where the autoencoder is stuck.
    """
    if not still.any():
        return f"is not tested for {source}: no autoencoder is stuck up to {listed(depths[-1:])}"
    if not (still & moved).any():
        return (
            f"holds for {source}: where the autoencoder is stuck ({_where(depths, still)}) "
            f"warm-start changes nothing that could be shown"
        )
    verdict = (
        f"fails for {source}: at {_where(depths, still & moved)} the autoencoder is stuck, yet "
        f"warm-start changes the share that collapses"
    )
    if (still & ~moved).any():
        verdict += (
            f", while at {_where(depths, still & ~moved)} it is stuck and nothing changes that "
            f"could be shown"
        )
    return verdict


def _where(depths: Sequence[int], chosen: np.ndarray) -> str:
    return listed([depth for depth, c in zip(depths, chosen, strict=True) if c])


def listed(depths: Sequence[int]) -> str:
    """In words."""
    return f"{', '.join(map(str, depths))} hidden layers"
