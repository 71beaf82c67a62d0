"""Do deeper networks reconstruct worse, and their VAEs always worse than their autoencoders? Figure
1 of the paper.

Trained pairs, an autoencoder and a VAE of the same networks from the same start, over depth: fully
connected (`fig1_left`), convolutional (`fig1_middle`) and, autoencoders only as in the paper,
residual (`fig1_right`).

>>> trend(np.array([[2.0, 2.1, 2.2], [1.0, 1.1, 1.2], [1.0, 2.1, 2.2]]))
Trend(at=1, falls=True, rises=False, median=array([2.1, 1.1, 2.1]))
"""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaesurface import data, plot, report
from vaesurface.experiments import tables
from vaesurface.experiments.study import draw, keep, keep_table
from vaesurface.experiments.trained import (
    Plan,
    autoencoder,
    best_constant,
    convolutional,
    finite,
    fully_connected,
    lower,
    names,
    near_prior,
    over_depth,
    residual,
    vae,
)
from vaesurface.report import Figure, Study
from vaesurface.vae.train import Trained

__all__ = [
    "LEFT",
    "LEFT_FULL",
    "MIDDLE",
    "MIDDLE_FULL",
    "RIGHT",
    "RIGHT_FULL",
    "Trend",
    "checks",
    "claim",
    "collapse",
    "fig1_left",
    "fig1_middle",
    "fig1_right",
    "relative_claim",
    "trend",
]

# standard errors of a sampled error beyond which a difference is none of sampling
CLEAR = 3.0
# times the shallowest net's: a larger error is drawn on a logarithmic axis
TALL = 5.0

LEFT = Plan(
    networks=partial(fully_connected, width=64),
    depths=(1, 2, 4, 8, 16),
    sources=("digits",),
    limit=None,
    latent=8,
    steps=1500,
    batch=64,
)
LEFT_FULL = Plan(
    networks=partial(fully_connected, width=512),
    depths=(1, 2, 4, 6, 8, 10),
    sources=("fashion-mnist",),
    limit=None,
    latent=32,
    steps=100_000,
    batch=128,
)
MIDDLE = Plan(
    networks=partial(convolutional, scales=2, channels=16, growth=1),
    depths=(1, 2, 3, 4, 5, 10),
    sources=("digits",),
    limit=500,
    latent=8,
    steps=1200,
    batch=32,
)
MIDDLE_FULL = Plan(
    networks=partial(convolutional, scales=3, channels=32, growth=2),
    depths=(1, 2, 3, 4, 5),
    sources=("cifar-10",),
    limit=None,
    latent=64,
    steps=100_000,
    batch=128,
)
RIGHT = MIDDLE._replace(
    networks=partial(residual, scales=2, channels=8, growth=1),
    depths=tuple(product((1, 2), (2, 5))),
    sources=("digits", "patches"),
    limit=300,
    steps=800,
)
RIGHT_FULL = MIDDLE_FULL._replace(
    networks=partial(residual, scales=3, channels=32, growth=2),
    depths=tuple(product((1, 2, 4), (2, 3, 4, 5))),
    sources=("svhn", "cifar-10"),
)


class Panel(NamedTuple):
    """A part of the figure.

    name: of the study and its files.
    title: of the study.
    xlabel: of the axis that depth is on.
    unit: of depth, in sentences.
    """

    name: str
    title: str
    xlabel: str
    unit: str


def fig1_left(plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """Fully connected networks over their number of hidden layers."""
    panel = Panel(
        name="fig1-left",
        title="Figure 1, left: fully connected networks over depth",
        xlabel="hidden layers in encoder and in decoder",
        unit="hidden layers",
    )
    return _pairs(panel, plan, seeds, out, command)


def fig1_middle(plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """Convolutional networks over their number of layers per scale."""
    panel = Panel(
        name="fig1-middle",
        title="Figure 1, middle: convolutional networks over depth",
        xlabel="convolutional layers per scale",
        unit="layers per scale",
    )
    return _pairs(panel, plan, seeds, out, command)


def fig1_right(plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """Residual autoencoders over layers per block, errors divided by the shallowest net's and
    averaged over data sets.
    """
    blocks, convs = (sorted({depth[i] for depth in plan.depths}) for i in (0, 1))
    plan = plan._replace(depths=tuple(product(blocks, convs)))
    ratios = [_relative(plan, source, seeds, out) for source in plan.sources]
    ratio = finite(np.mean(ratios, axis=0)).reshape(len(blocks), len(convs), seeds)
    held, sentence = relative_claim(blocks, convs, ratio)
    curves = {f"{b} block{'s' * (b > 1)} per scale": r for b, r in zip(blocks, ratio, strict=True)}
    axes = partial(
        plot.depth_errors,
        convs,
        curves,
        xlabel="convolutional layers per block",
        ylabel="error / the shallowest net's",
        floor={"the shallowest net": 1.0},
        log=bool(ratio.max() > TALL),
        title=f"residual autoencoders, {plan.latent} latents, mean over {', '.join(names(plan))}\n"
        f"{plan.training}, {seeds} seeds",
    )
    caption = "Error of residual autoencoders over that of the shallowest, averaged over data sets."
    figure = draw(out, "fig1-right", caption, axes)
    keep(out, "fig1-right", blocks=blocks, convs=convs, ratio=ratio)
    head = ["layers per block", *curves]
    medians = np.median(ratio, axis=2).T.tolist()
    rows = [[conv, *row] for conv, row in zip(convs, medians, strict=True)]
    keep_table(out, "fig1-right", tables.aligned(head, rows))
    study = Study(
        name="fig1-right",
        title="Figure 1, right: residual networks over depth",
        said=[sentence],
        figures=[figure],
        settings=plan.settings(seeds) | {"claim held here": held},
        command=command,
    )
    report.save(study, out)
    return study


def _relative(plan: Plan, source: str, seeds: int, out: Path) -> np.ndarray:
    """Errors (depth, seed) of autoencoders over the median of the first depth's."""
    X = data.load(source, limit=plan.limit)
    error = over_depth(autoencoder, plan, X, source, seeds, out).error
    return error / np.median(error[0])


def _pairs(panel: Panel, plan: Plan, seeds: int, out: Path, command: str) -> Study:
    """Autoencoders and VAEs over depth, for every data set."""
    sentences, figures, held, rows = [], [], [], []
    for source, short in zip(plan.sources, names(plan), strict=True):
        file = panel.name if len(plan.sources) == 1 else f"{panel.name}-{short}"
        holds, said, figure, medians = _pairs_of(panel, plan, source, file, seeds, out)
        held.append(holds)
        rows += [[short, *row] for row in medians]
        sentences += said
        figures.append(figure)
    head = ["data", panel.unit, "autoencoder's error", "VAE's error", "best constant's"]
    keep_table(out, panel.name, tables.aligned(head, rows))
    study = Study(
        name=panel.name,
        title=panel.title,
        said=sentences,
        figures=figures,
        settings=plan.settings(seeds) | {"claim held here": all(held)},
        command=command,
    )
    report.save(study, out)
    return study


def _pairs_of(
    panel: Panel, plan: Plan, source: str, file: str, seeds: int, out: Path
) -> tuple[bool, list[str], Figure, list[list[Any]]]:
    """Of one data set: whether the claim holds, sentences, figure, median errors by depth; arrays
    go to `out` too.
    """
    X, short = data.load(source, limit=plan.limit), Path(source).name
    constant = best_constant(X)
    plain, variational = (
        over_depth(kind, plan, X, source, seeds, out) for kind in (autoencoder, vae)
    )
    errors = {"autoencoder": finite(plain.error), "VAE": finite(variational.error)}
    held, sentence = claim(
        plan.depths, panel.unit, short, errors["autoencoder"], errors["VAE"], constant
    )
    axes = partial(
        plot.depth_errors,
        plan.depths,
        errors,
        xlabel=panel.xlabel,
        floor={"best constant": constant},
        title=f"{short}, n = {len(X)}, {plan.latent} latents\n{plan.training}, {seeds} seeds",
    )
    caption = f"Error of trained autoencoders and VAEs over depth, {short}."
    figure = draw(out, file, caption, axes)
    arrays = _arrays("autoencoder", plain) | _arrays("vae", variational)
    keep(out, file, depth=plan.depths, **arrays)
    sentences = [
        sentence,
        checks(plain, variational),
        collapse(plan.depths, panel.unit, variational),
    ]
    medians = [np.median(error, axis=1).tolist() for error in errors.values()]
    rows = [list(row) for row in zip(plan.depths, *medians, strict=True)]
    return held, sentences, figure, [[*row, constant] for row in rows]


def _arrays(name: str, trained: Trained) -> dict[str, Any]:
    """Of runs, by names for a file."""
    fields = trained._asdict().items()
    return {f"{name}_{field}": value for field, value in fields if value is not None}


class Trend(NamedTuple):
    """Errors over depth.

    at: which depth has the lowest median.
    falls: whether the shallowest is higher than that, by the test.
    rises: whether the deepest is.
    median: (m,), over seeds.
    """

    at: int
    falls: bool
    rises: bool
    median: np.ndarray


def trend(errors: np.ndarray) -> Trend:
    """How errors (m, seeds) go with depth."""
    median = np.median(errors, axis=1)
    at = int(np.argmin(median))
    return Trend(
        at=at,
        falls=lower(errors[at], errors[0]),
        rises=lower(errors[at], errors[-1]),
        median=median,
    )


def claim(
    depths: Sequence[int],
    unit: str,
    source: str,
    plain: np.ndarray,
    variational: np.ndarray,
    constant: float,
) -> tuple[bool, str]:
    """Whether the errors (m, seeds) of autoencoders and VAEs fall, then rise, the VAE's above the
    autoencoder's; in words.
    """
    autoencoders, vaes = trend(plain), trend(variational)
    missing = []
    if not autoencoders.falls:
        missing.append("the autoencoder's error does not fall first")
    if not autoencoders.rises:
        missing.append(f"the autoencoder's error does not rise again up to {depths[-1]} {unit}")
    if not (vaes.median >= autoencoders.median).all():
        missing.append("the VAE's error is not above the autoencoder's at every depth")
    verdict = (
        f"The paper's claim holds for {source}: the autoencoder's error falls, then rises, the "
        f"VAE's is always above"
    )
    if missing:
        verdict = f"The paper's claim is not seen in full for {source}: {'; '.join(missing)}"
    return not missing, (
        f"{verdict}. Median error per feature of {plain.shape[1]} seeds, by {unit}: autoencoder "
        f"{_course(autoencoders, depths)}; VAE {_course(vaes, depths)}; the best constant has "
        f"{constant:.4g}."
    )


def _course(t: Trend, depths: Sequence[int]) -> str:
    """Medians at the first, the best and the last depth."""
    places = sorted({0, t.at, len(depths) - 1})
    return ", ".join(f"{t.median[i]:.4g} at {depths[i]}" for i in places)


def relative_claim(
    blocks: Sequence[int], convs: Sequence[int], ratio: np.ndarray
) -> tuple[bool, str]:
    """Whether errors over the shallowest net's (blocks, convs, seeds) rise with depth, skip
    connections or not; in words.
    """
    rises = [lower(r[0], r[-1]) for r in ratio]
    median = np.median(ratio, axis=2)
    course = "; ".join(
        f"{m[0]:.3g} to {m[-1]:.3g} with {b} block{'s' * (b > 1)} per scale"
        f"{'' if up else ' (no rise by the test)'}"
        for b, m, up in zip(blocks, median, rises, strict=True)
    )
    above = "above" if lower(ratio[0, 0], ratio[-1, -1]) else "not above"
    verdict = "The paper's claim is not seen in full at this size"
    if all(rises):
        verdict = "The paper's claim holds here"
    return all(rises), (
        f"{verdict}: from {convs[0]} to {convs[-1]} layers per block the error of residual "
        f"autoencoders, over the shallowest net's, goes from {course}, medians of {ratio.shape[2]} "
        f"seeds; the deepest is {above} the shallowest by the test."
    )


def checks(plain: Trained, variational: Trained) -> str:
    """Equations 8 and 10 on every trained pair."""
    best, error, gamma = (
        np.asarray(x, float).ravel() for x in (plain.error, variational.error, variational.gamma)
    )
    doubt = CLEAR * np.asarray(variational.error_std, float).ravel()
    ran = np.isfinite(best) & np.isfinite(error) & np.isfinite(gamma)
    over, off = 100 * (best / error - 1)[ran], 100 * np.abs(gamma / error - 1)[ran]
    violated = int((over > 0).sum())
    clear = int((best - error > doubt)[ran].sum())
    worst = ""
    if violated:
        worst = (
            f", at worst by {over.max():.2g} %, by more than {CLEAR:g} standard errors in {clear}"
        )
    if clear:
        worst += ": there training left the autoencoder above its best"
    return (
        f"{ran.sum()} of {ran.size} pairs trained to finite numbers. Eq. 8, the autoencoder's "
        f"error is at most the VAE's: violated by {violated}{worst}. Eq. 10, gamma is the VAE's "
        f"expected error per feature: met to {np.median(off):.2g} % in the median, {off.max():.2g} "
        f"% at worst."
    )


def collapse(depths: Sequence[int], unit: str, variational: Trained) -> str:
    """How much of the VAEs' posteriors is near the prior."""
    shares = near_prior(variational.sigma).mean(axis=1)
    each = ", ".join(f"{100 * s:.0f} % at {d}" for d, s in zip(depths, shares, strict=True))
    return f"Share of the VAE's posterior standard deviations above 0.9, by {unit}: {each}."
