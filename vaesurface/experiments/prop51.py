"""Does a VAE switch latents off, exactly and at a finite gamma? Proposition 5.1 of Dai, Wang & Wipf
(ICML 2020).

Minima are refined over a grid of gamma, of the affine model and of a softly thresholded one; then
where each latent reaches the prior is located, and gamma' and gamma'' of the decoders are computed.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from vaesurface import data, plot, stationary, sweep, theory
from vaesurface.experiments import tables
from vaesurface.experiments.study import Setting, keep, verdict
from vaesurface.problem import Params, Problem
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind, StationaryPoint
from vaesurface.stationary.descent import descend
from vaesurface.stationary.model import at
from vaesurface.theory import encoders, thresholds

__all__ = ["Minima", "Size", "prop51"]

SOFT = 0.1  # alpha of the softly thresholded decoder, in units of the data
OFF = 1e-12  # twice nats of KL divergence below which a latent is said to be the prior's
# below which it is said to be faint: a row that alone uses a latent does so by exponentially small
# terms
FAINT = 1e-6
LEAVES = 6  # saddles, or rows at zero, that a descent is led away from
HALVINGS = 14  # of the cell of the grid in which a latent switches off
DECODERS = 6  # whose thresholds are computed


class Size(NamedTuple):
    """rows: of the data; latent: dimensions; values: of gamma."""

    rows: int
    latent: int
    values: int


SMALL = Size(rows=40, latent=2, values=21)
FULL = Size(rows=400, latent=4, values=41)


class Minima(NamedTuple):
    """The lowest minimum found at each gamma (m,), and where latents switch off.

    points: m of them.
    kl: (m, k), twice nats per latent, largest first.
    off: (k,), the gamma at which the largest, the second, ... reaches the prior, NaN where it does
        not.
    edge: the last point before the last of them does.
    """

    points: list[StationaryPoint]
    kl: np.ndarray
    off: np.ndarray
    edge: StationaryPoint


class Decoders(NamedTuple):
    """Decoders of some minima and what they are worth.

    at: (m,), the gamma that they are the best at.
    whole: a `Threshold` of m decoders: gamma'.
    latents: (m, k), gamma'' of each latent.
    """

    at: np.ndarray
    whole: thresholds.Threshold
    latents: np.ndarray


def prop51(
    out: Path, command: str, full: bool, seeds: int = 3, executor: Any = sweep.threads
) -> Study:
    """The thresholding plot for the digits at 4 x 4 pixels; full: more of them, more latents, a
    finer grid. executor: as for `sweep.grid`.
    """
    size = FULL if full else SMALL
    X = data.load("digits-4x4", limit=size.rows)
    setting = Setting(
        X=X,
        source="digits-4x4",
        latent=size.latent,
        gamma=None,
        beta=1.0,
        starts=seeds,
        scale=1.0,
        seed=0,
        out=out,
        command=command,
        executor=executor,
    )
    eigenvalues = theory.eigenvalues(X)[: size.latent]
    gammas = np.geomspace(eigenvalues[-1] / 5, 1.6 * eigenvalues[0], size.values)
    affine, soft = (_minima(setting, alpha, gammas) for alpha in (0.0, SOFT))
    on = np.flatnonzero(soft.kl[:, 0] > OFF)
    decoders = _decoders(setting, gammas, soft, on[-1])
    minima = {"affine": affine, f"soft threshold, α = {SOFT:g}": soft}
    figures = _figures(setting, gammas, eigenvalues, minima, decoders)
    _keep(setting, gammas, eigenvalues, affine, soft, decoders)
    return setting.study(
        "prop51",
        "Does a VAE switch latents off at a finite gamma?",
        [
            _verdict(minima, decoders.at, decoders.whole, decoders.latents),
            *(_said(name, m, gammas) for name, m in minima.items()),
            _worth(decoders),
        ],
        table=_table(minima, gammas),
        verdicts=[
            verdict(f"soft threshold, gamma = {gammas[i]:.4g}", soft.points[i])
            for i in (0, on[-1], -1)
        ],
        figures=figures,
        settings={
            "gamma": f"{gammas[0]:.4g} to {gammas[-1]:.4g}, {size.values} values, fixed",
            "alpha": f"0, {SOFT:g}",
        },
    )


def _minima(setting: Setting, alpha: float, gammas: np.ndarray) -> Minima:
    """From random starts at the least gamma up, from the best of those back down, and from
    collapse.
    """

    def make(gamma):
        return setting.problem(alpha, gamma)

    points = [_settled(make(g), make(g).collapsed()) for g in gammas]
    ends = setting.ends(make(gammas[0]))
    for i in range(setting.starts):
        params = at(ends.params, i)
        for j, gamma in enumerate(gammas):
            point = _settled(make(gamma), params)
            params, points[j] = point.params, _lower(point, points[j])
    for j in range(len(gammas) - 2, -1, -1):
        points[j] = _lower(_settled(make(gammas[j]), points[j + 1].params), points[j])
    kl = np.stack([_kl(make(g), p.params) for g, p in zip(gammas, points, strict=True)])
    off, edge = _off(make, gammas, points, kl)
    return Minima(points=points, kl=kl, off=off, edge=edge)


def _off(
    make: Callable, gammas: np.ndarray, points: list[StationaryPoint], kl: np.ndarray
) -> tuple[np.ndarray, StationaryPoint]:
    """Where each latent reaches the prior (k,), and the last point before the last of them does."""
    off, edge = np.full(kl.shape[1], np.nan), points[0]
    for latent in range(kl.shape[1]):
        on = np.flatnonzero(kl[:, latent] > OFF)
        if not len(on) or on[-1] + 1 == len(gammas):
            continue
        cell = slice(on[-1], on[-1] + 2)
        off[latent], last = _switch(make, latent, *gammas[cell], *points[cell])
        if latent == 0:
            edge = last
    return off, edge


def _switch(
    make: Callable,
    latent: int,
    low: float,
    high: float,
    left: StationaryPoint,
    right: StationaryPoint,
) -> tuple[float, StationaryPoint]:
    """Where a latent reaches the prior between two gammas, and the last point before."""
    for _ in range(HALVINGS):
        middle = float(np.sqrt(low * high))
        problem = make(middle)
        point = _lower(*(_settled(problem, side.params) for side in (left, right)))
        if _kl(problem, point.params)[latent] > OFF:
            low, left = middle, point
        else:
            high, right = middle, point
    return float(np.sqrt(low * high)), left


def _settled(problem: Problem, params: Params) -> StationaryPoint:
    """The minimum that descent from a point leads to, on from saddles and falling rows at zero."""
    end = descend(problem, params, saddles=LEAVES)
    return stationary.analyze(problem, end.params, directions=0)


def _lower(a: StationaryPoint, b: StationaryPoint) -> StationaryPoint:
    return b if a.kind == Kind.NOT_STATIONARY or b.loss <= a.loss else a


def _kl(problem: Problem, params: Params) -> np.ndarray:
    """Twice nats per latent, largest first."""
    return -np.sort(-np.asarray(problem.information(params)))


def _decoders(setting: Setting, gammas: np.ndarray, soft: Minima, last: int) -> Decoders:
    """Those of some minima up to the last at which a latent is on, and of the edge."""
    chosen = np.unique(np.linspace(0, last, DECODERS).round().astype(int))
    problem = setting.problem(SOFT, 1.0)  # thresholds do not ask for its gamma
    fits = [soft.points[i].params for i in chosen] + [soft.edge.params]
    whole = [thresholds.collapse_threshold(problem, params) for params in fits]
    latents = [thresholds.latent_thresholds(problem, params).gamma for params in fits]
    return Decoders(
        at=np.append(gammas[chosen], soft.off[0]),
        whole=jax.tree.map(lambda *leaves: np.stack(leaves), *whole),
        latents=np.stack(latents),
    )


def _affine(eigenvalues: np.ndarray, gammas: np.ndarray) -> np.ndarray:
    """The affine model's global optimum: log(lambda / gamma), and zero from gamma = lambda on."""
    return np.log(np.maximum(eigenvalues[None] / gammas[:, None], 1.0))


def _held(eigenvalues: np.ndarray, gammas: np.ndarray) -> np.ndarray:
    """Of the best encoder for the columns w^2 = lambda - gamma_0 of the affine optimum at the least
    gamma_0, at other gammas.

    sigma^2 = gamma / (w^2 + gamma) and E mu^2 = lambda w^2 / (w^2 + gamma)^2, as in ridge
    regression: never zero.
    """
    square, gamma = (eigenvalues - gammas[0])[None], gammas[:, None]
    variance = gamma / (square + gamma)
    mean_square = square * eigenvalues[None] / (square + gamma) ** 2
    return np.log1p(square / gamma) + variance + mean_square - 1.0


def _figures(
    setting: Setting,
    gammas: np.ndarray,
    eigenvalues: np.ndarray,
    minima: dict[str, Minima],
    decoders: Decoders,
) -> list[Figure]:
    """What latents carry against gamma; gamma' and gamma'' of decoders."""
    title = setting.heading("gamma")
    carried = partial(
        plot.thresholding,
        gammas,
        {name: m.kl for name, m in minima.items()},
        switches={name: m.off for name, m in minima.items()},
        title=title,
        eigenvalues=eigenvalues,
        theory=_affine(eigenvalues, gammas),
        held=_held(eigenvalues, gammas),
    )
    worth = partial(
        plot.decoder_thresholds,
        decoders.at,
        decoders.whole.gamma,
        decoders.latents,
        upper=decoders.whole.upper,
        title=setting.heading("gamma", alpha=SOFT),
    )
    return [
        setting.draw(
            "prop51",
            "KL divergence of every latent at the lowest minimum found; ticks on the axis mark "
            "where it reaches the prior.",
            carried,
        ),
        setting.draw(
            "prop51_thresholds",
            f"Thresholds of the decoders found at alpha = {SOFT:g}; bars end where no "
            f"distribution does better.",
            worth,
        ),
    ]


def _keep(
    setting: Setting,
    gammas: np.ndarray,
    eigenvalues: np.ndarray,
    affine: Minima,
    soft: Minima,
    decoders: Decoders,
) -> None:
    """All numbers as arrays on disk."""
    columns: dict[str, Any] = {
        "gamma": gammas,
        "affine": affine.kl,
        "soft": soft.kl,
        "affine_off": affine.off,
        "soft_off": soft.off,
        "found_at": decoders.at,
        "whole": decoders.whole.gamma,
        "upper": decoders.whole.upper,
        "latents": decoders.latents,
        "eigenvalues": eigenvalues,
    }
    keep(setting.out, "prop51", **columns)


def _table(minima: dict[str, Minima], gammas: np.ndarray) -> str:
    """A row for each gamma: how many latents carry anything at the lowest minimum, and its KL."""
    head = ["gamma"]
    for name in minima:
        head += [f"latents on, {name}", "KL"]
    cells = [
        [
            float(gamma),
            *(
                value
                for m in minima.values()
                for value in (int(np.sum(m.kl[i] > OFF)), float(np.sum(m.kl[i])))
            ),
        ]
        for i, gamma in enumerate(gammas)
    ]
    return tables.aligned(head, cells)


def _said(name: str, m: Minima, gammas: np.ndarray) -> str:
    """Where latents reach the prior, and what the points are."""
    where = "; ".join(
        f"latent {j + 1} at gamma = {g:.6g} ({_last(m, gammas, j)})" for j, g in enumerate(m.off)
    )
    faint = ""
    if small := np.sum((m.kl > OFF) & (m.kl < FAINT)):
        faint = f"; in {small} of {m.kl.size} places it is between {OFF:g} and {FAINT:g}"
    labels = [point.label for point in m.points]
    counts = ", ".join(f"{labels.count(label)} {label}" for label in dict.fromkeys(labels))
    return f"{name}, KL divergence exactly zero: {where}{faint}. Points on the grid: {counts}."


def _last(m: Minima, gammas: np.ndarray, latent: int) -> str:
    """What the latent carries before that, on the grid."""
    on = np.flatnonzero(m.kl[:, latent] > FAINT)
    if not len(on):
        return f"below {FAINT:g} before"
    return f"{m.kl[on[-1], latent]:.3g} at {gammas[on[-1]]:.4g}"


def _worth(decoders: Decoders) -> str:
    """How far gamma' and gamma'' are from each other and from the gamma that decoders are for."""
    at, whole = decoders.at, decoders.whole

    def each(i):
        latents = ", ".join(f"{g:.4g}" for g in np.sort(decoders.latents[i]))
        return f"{whole.gamma[i]:.5g} (gamma'' {latents})"

    return (
        f"Decoders found at gamma = {at[0]:.4g} to {at[-2]:.4g} have gamma' from {each(0)} to "
        f"{each(-2)}; that of the last minimum before collapse, at {at[-1]:.6g}, has {each(-1)}: "
        f"there gamma and gamma' are the same to {abs(whole.gamma[-1] / at[-1] - 1):.1g}. No "
        f"distributions at all win beyond {(whole.upper / whole.gamma).max():.3g} gamma', and all "
        f"starts agree for {np.mean(whole.agreed == encoders.STARTS):.0%} of the data."
    )


def _verdict(
    minima: dict[str, Minima], at: np.ndarray, whole: thresholds.Threshold, latents: np.ndarray
) -> str:
    """Whether the proposition held; at, whole, latents: as in `Decoders`."""
    exact = all(np.isfinite(m.off).all() for m in minima.values())
    wins = bool(np.all(whole.gamma >= at * (1 - 1e-3)))
    before = int(np.sum(latents.min(axis=1) < whole.gamma))
    where = " and in the ".join(
        f"{name} from {', '.join(f'{g:.4g}' for g in m.off[::-1])}" for name, m in minima.items()
    )
    return (
        f"The paper's claim {'held' if exact and wins else 'did not hold'} here: each latent's "
        f"KL divergence {'is' if exact else 'is not always'} exactly zero (below {OFF:g}) from a "
        f"finite gamma on, in the {where}; all {len(at)} decoders have a finite gamma', "
        f"{'never' if wins else 'not always'} less than the gamma they are best at, and {before} "
        f"of them are better off without a latent from a gamma'' below it."
    )
