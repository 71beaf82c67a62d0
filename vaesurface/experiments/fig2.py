"""Do the posteriors of deeper VAEs move to the prior? Figure 2 of the paper: histograms of sigma
over convolutional depth.

>>> claim((2, 4), "digits", np.array([[0.1, 0.1, 0.1], [0.2, 0.3, 0.3]]))[0]
True
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaesurface import data, plot, report
from vaesurface.experiments import tables
from vaesurface.experiments.fig1 import MIDDLE, MIDDLE_FULL
from vaesurface.experiments.study import draw, keep, keep_table
from vaesurface.experiments.trained import Plan, lower, names, near_prior, over_depth, vae
from vaesurface.report import Figure, Study
from vaesurface.vae import train

__all__ = ["PLAN", "PLAN_FULL", "claim", "fig2", "widths"]

PLAN = MIDDLE._replace(depths=(2, 4, 5))
PLAN_FULL = MIDDLE_FULL._replace(depths=(2, 4, 5))


def fig2(plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """Histograms of the posteriors' standard deviations of all data and latents, of all seeds."""
    sentences, figures, held, rows = [], [], [], []
    for source, short in zip(plan.sources, names(plan), strict=True):
        X = data.load(source, limit=plan.limit)
        counts = np.asarray(over_depth(vae, plan, X, source, seeds, out).sigma)
        holds, sentence = claim(plan.depths, short, near_prior(counts))
        held.append(holds)
        sentences.append(sentence)
        percent = (100 * np.median(near_prior(counts), axis=1)).tolist()
        rows += [[short, depth, share] for depth, share in zip(plan.depths, percent, strict=True)]
        file = "fig2" if len(plan.sources) == 1 else f"fig2-{short}"
        figures.append(_drawn(plan, counts, file, short, out))
    head = ["data", "layers per scale", "% of sigma above 0.9"]
    keep_table(out, "fig2", tables.aligned(head, rows))
    study = Study(
        name="fig2",
        title="Figure 2: posterior standard deviations over depth",
        said=sentences,
        figures=figures,
        settings=plan.settings(seeds) | {"claim held here": all(held)},
        command=command,
    )
    report.save(study, out)
    return study


def _drawn(plan: Plan, counts: np.ndarray, file: str, short: str, out: Path) -> Figure:
    """Histograms of counts (depth, seeds, k, bins), as a figure and as arrays."""
    sets = {f"{d} layers per scale": widths(c) for d, c in zip(plan.depths, counts, strict=True)}
    title = f"{short}, {plan.latent} latents\n{plan.training}, {counts.shape[1]} seeds"
    caption = f"Posterior standard deviations of trained convolutional VAEs, {short}."
    columns: dict[str, Any] = {"depth": plan.depths, "edges": train.SIGMA, "counts": counts}
    figure = draw(out, file, caption, partial(plot.sigma_histogram, sets, title=title))
    keep(out, file, **columns)
    return figure


def widths(counts: np.ndarray) -> np.ndarray:
    """Standard deviations at the middle of their bins, of counts (..., bins) in `train.SIGMA`."""
    middle = (train.SIGMA[:-1] + train.SIGMA[1:]) / 2
    return np.repeat(middle, counts.reshape(-1, middle.size).sum(axis=0))


def claim(depths: Sequence[int], source: str, share: np.ndarray) -> tuple[bool, str]:
    """Whether the share (m, seeds) of standard deviations above 0.9 grows with depth; in words."""
    median = np.median(share, axis=1)
    held = lower(share[0], share[-1]) and bool((np.diff(median) >= 0).all())
    verdict = "The paper's claim holds" if held else "The paper's claim is not seen"
    doubt = "" if held else ", which is no growth with depth by the test"
    each = ", ".join(f"{100 * m:.3g} % at {d}" for d, m in zip(depths, median, strict=True))
    return held, (
        f"{verdict} for {source}: the share of posterior standard deviations above 0.9 is {each} "
        f"layers per scale, medians of {share.shape[1]} seeds{doubt}."
    )
