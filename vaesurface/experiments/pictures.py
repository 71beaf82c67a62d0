"""What does a sweep look like? Phase diagram; line, plane and Hessian spectra at one alpha."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import pyplot as plt

from vaesurface import curvature, files, landscape, plot, stationary, theory
from vaesurface.energy import VAEParams
from vaesurface.experiments import starts
from vaesurface.experiments.ends import End, telling
from vaesurface.experiments.study import has_hessian
from vaesurface.marks import UNIT
from vaesurface.plot import Mark
from vaesurface.stationary import Kind, StationaryPoint

__all__ = ["FIGURES", "Place", "cast", "draw", "without_params"]

FIGURES = ("phase", "line", "plane", "spectrum")


class Place(NamedTuple):
    """Where a slice goes through.

    params: there.
    point: the same, judged; None where it is a random start.
    """

    params: VAEParams
    point: StationaryPoint | None


def cast(swept: starts.Sweep, ends: Sequence[End], alpha: float) -> list[Place]:
    """The collapsed point and the two best others of one alpha; random starts stand in where fewer
    were found.
    """
    problem: Any = swept.problem(alpha)
    others = [
        end
        for end in ends
        if end.alpha == alpha and end.kind != Kind.NOT_STATIONARY and not end.collapsed
    ]
    chosen = [problem.collapsed()]
    for end in sorted(others, key=lambda end: end.energy)[:2]:
        scale, seed = end.cell
        run = swept.ds.sel(alpha=alpha, scale=scale, seed=seed)
        chosen.append(jax.tree.map(jnp.asarray, starts.params(run)))
    places = [Place(params, stationary.analyze(problem, params)) for params in chosen]
    for seed in range(3 - len(places)):
        places.append(Place(problem.init(jax.random.key(seed), 1.0), None))
    return places


def draw(
    swept: starts.Sweep,
    ends: Sequence[End],
    out: Path,
    alpha: float | None = None,
    kinds: Sequence[str] = FIGURES,
    note: str = "",
) -> list[Path]:
    """Figures, written into `out`: their files.

    alpha: of all but "phase", the most telling one by default. note: for the phase diagram's
    caption. Line and plane go through the places of `cast`. Where parameters are not kept only
    "phase" is drawn, and `without_params` says so; ValueError if there is nothing else to draw, and
    for an alpha that is not the sweep's.
    """
    alpha = telling(ends) if alpha is None else alpha
    if alpha not in swept.ds.alpha.values:
        raise ValueError(
            f"expected an alpha of the sweep, got {alpha:g}; choose from "
            f"{swept.ds.alpha.values.tolist()}"
        )
    if lacking := without_params(swept, kinds):
        if "phase" not in kinds:
            raise ValueError(lacking)
        kinds = ["phase"]
    places = [] if set(kinds) == {"phase"} else cast(swept, ends, alpha)
    pictures = _pictures(swept, places, alpha, kinds, note)
    with plot.style():
        for name, picture in pictures.items():
            axes = picture()
            with files.replacing(out / f"{name}.png") as new:
                axes.figure.savefig(new, dpi=200)
            plt.close(axes.figure)
    return [out / f"{name}.png" for name in pictures]


def without_params(swept: starts.Sweep, kinds: Sequence[str] = FIGURES) -> str:
    """Why some of the figures cannot be drawn, in one line; "" where they can."""
    lacking = [kind for kind in kinds if kind != "phase"]
    if starts.has_params(swept.ds) or not lacking:
        return ""
    return (
        f"expected parameters for {', '.join(lacking)}, got a sweep that did not keep them; sweep "
        f"into another --out with --keep all"
    )


def _pictures(
    swept: starts.Sweep, places: list[Place], alpha: float, kinds: Sequence[str], note: str
) -> dict[str, Callable[[], Any]]:
    """By file name, functions that draw and return the axes."""
    problem: Any = swept.problem(alpha)
    described = swept.ds.attrs
    title = f"{described['data']}, α = {alpha:g}\nstarts by {described['optimizer']}"
    pictures: dict[str, Callable[[], Any]] = {}
    if "phase" in kinds:
        pictures["phase"] = partial(_phase, swept, note)
    if "line" in kinds:
        pictures["line"] = partial(_line, problem, places, title)
    if "plane" in kinds:
        pictures["plane"] = partial(_plane, problem, places, title)
    if "spectrum" in kinds:
        for name, place in zip(("collapsed", "best"), places, strict=False):
            if place.point is not None and has_hessian(place.point):
                pictures[f"spectrum_{name}"] = partial(_spectrum, problem, place.point, title)
    return pictures


def _phase(swept: starts.Sweep, note: str) -> Any:
    """Which share of the starts collapses, and below which scale all do."""
    alphas, scales, _ = swept.ds.kind.shape
    certified = None  # a line needs two cells a side, and a decoder of which a radius is known
    if alphas > 1 and scales > 1 and not swept.member.settings:
        certified = _certified(swept)
    label = "a start's longest row of W = certified radius"
    return plot.phase_diagram(swept.ds, note=note, theory=certified, theory_label=label)


def _certified(swept: starts.Sweep) -> np.ndarray:
    """Points (alpha, scale), alpha > 0, at which the longest row of a start's weight, in the mean
    over seeds, is the radius.
    """
    problem: Any = swept.problem(0.0)
    weights = [problem.init(jax.random.key(int(s)), 1.0).weight for s in swept.ds.seed]
    longest = np.mean([np.linalg.norm(np.asarray(weight), axis=1).max() for weight in weights])
    gamma, beta = swept.settings["gamma"], swept.settings["beta"]
    alphas = [float(alpha) for alpha in swept.ds.alpha if alpha > 0]
    radii = [theory.collapse_radius(swept.X, alpha, gamma, beta).radius for alpha in alphas]
    return np.array([(alpha, r / longest) for alpha, r in zip(alphas, radii, strict=True)])


def _line(problem: Any, places: list[Place], title: str) -> Any:
    """Energy from the collapsed point to the best."""
    collapsed, best, _ = places
    line = landscape.segment(problem.loss, collapsed.params, best.params)
    ends = zip((0.0, float(line.length)), (collapsed, best), strict=True)
    marks = [
        Mark(x, float(problem.loss(place.params)), place.point.label, int(place.point.kind))
        for x, place in ends
        if place.point is not None
    ]
    return plot.segment(line, marks=marks, unit=UNIT, title=title)


def _plane(problem: Any, places: list[Place], title: str) -> Any:
    """Energy over the plane through the collapsed point, the best and the next best."""
    first, second, third = (place.params for place in places)
    plane = landscape.plane(problem.loss, first, second, third)
    names = ("collapsed", "best found", "next best")
    marks = [
        Mark(x, y, name, int(place.point.kind))
        for (x, y), place, name in zip(plane.points.tolist(), places, names, strict=True)
        if place.point is not None
    ]
    lowest = min(float(problem.loss(p.params)) for p in places if p.point is not None)
    return plot.plane(plane, marks=marks, best=lowest, unit=UNIT, title=title)


def _spectrum(problem: Any, point: StationaryPoint, title: str) -> Any:
    """All Hessian eigenvalues at a point."""
    values = curvature.spectrum(problem.loss, point.params)
    named = f"{title}\n{point.label}"
    return plot.spectrum(values, inertia=point.inertia, unit=UNIT, title=named)
