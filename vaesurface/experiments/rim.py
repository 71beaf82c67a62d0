"""How high is the rim of the collapsed basin, and what lies on both sides of it?"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaesurface import curvature, landscape, plot, stationary
from vaesurface.experiments import tables
from vaesurface.experiments.study import (
    DENSE,
    Setting,
    keep,
    longest_row,
    spectra,
    surface,
    verdict,
)
from vaesurface.experiments.ways import WayOut, far_ends, way_out
from vaesurface.marks import UNIT
from vaesurface.plot import Mark, Track
from vaesurface.problem import Problem
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind, StationaryPoint
from vaesurface.stationary.model import at

__all__ = ["rim"]

ALONG = (-0.6, 1.8)  # what the plane shows towards the saddle, in distances to it
ACROSS = (-1.0, 1.0)  # and across that direction
CELLS = 41  # of the plane, a side
UNSEEN = 5e-3  # of a path's length: what lies so near to it is on it in a figure


def rim(setting: Setting, alpha: float) -> Study | str:
    """The lowest saddle on the ways from collapse to what random starts find below it; why there is
    none, in a sentence, where no way leads over one.
    """
    problem = setting.problem(alpha)
    collapsed = stationary.analyze(problem, problem.collapsed())
    if collapsed.kind == Kind.SADDLE:
        return f"collapse has no rim, for here it is a {collapsed.label}"
    with setting.side_by_side() as crewed:
        way = way_out(problem, far_ends(problem, crewed.ends(problem)), crewed.executor)
    if way is None:
        return (
            "no way over a saddle to anything lower than collapse was found; try more --starts or "
            "another --scale"
        )
    saddle = way.crossing.saddle
    plane = _plane(problem, collapsed, way)
    marks = _marks(collapsed, way)
    title = setting.heading(alpha=alpha)
    figures = [
        _profile(setting, title, collapsed, way),
        *_maps(setting, title, plane, marks, way),
    ]
    _keep(setting, way)
    points = {
        "collapsed point": collapsed,
        "saddle": saddle,
        "one side": way.crossing.end(0),
        "other side": way.crossing.end(1),
        "far end of the path": way.far,
    }
    return setting.study(
        "path",
        "How high is the rim of collapse?",
        _sentences(alpha, collapsed, way),
        table=_table(collapsed, points),
        verdicts=[verdict(name, point) for name, point in points.items()],
        figures=figures,
        interactive=[
            surface(
                plane, f"{setting.title}, α = {alpha:g}: the basin of collapse and its rim", marks
            ),
            *spectra(problem, {"saddle": saddle}),
        ],
        settings={"alpha": alpha},
    )


def _sentences(alpha: float, collapsed: StationaryPoint, way: WayOut) -> list[str]:
    """How high the rim is, what is on both sides of the saddle, and how far away that is."""
    far, saddle = way.far, way.crossing.saddle
    one, other = (way.crossing.end(i) for i in (0, 1))
    row, height = longest_row(saddle.params), way.crossing.height
    named = "point" if far.kind == Kind.NOT_STATIONARY else far.label
    meaning = "neither is the collapsed point, so lower passes may lie elsewhere."
    pass_ = "the lowest pass found on ways to something lower"
    if way.crossing.home:
        meaning, pass_ = "a pass out of collapse.", "the lowest pass found out of collapse"
    sentences = [
        f"At alpha = {alpha:g} {pass_} is {height:.4g} high, {height / alpha**2:.4g} alpha^2: a "
        f"{saddle.label}.",
        f"Descent from it leads to a {one.label} on one side and a {other.label} on the other: "
        f"{meaning}",
        f"The collapsed point is a {collapsed.label}; the way leads to a {named} "
        f"{float(collapsed.loss - far.loss):.4g} lower. The height is known within "
        f"{way.crossing.height_error:.1g}: {height:.8g}.",
        f"The longest row of the saddle's weight is {row:.4g} long, {row / alpha:.4g} alpha.",
    ]
    if not way.crossing.path.converged:
        sentences.append(
            f"The path did not settle (residual {float(way.crossing.path.residual):.2g}); its "
            "saddle is refined all the same."
        )
    return sentences


def _table(collapsed: StationaryPoint, points: dict[str, StationaryPoint]) -> str:
    """A row for each point."""
    head = ["point", "energy", "above collapse", "index", "longest row", "what it is"]
    rows = [
        [
            name,
            f"{float(point.loss):.8g}",
            float(point.loss - collapsed.loss),
            int(point.inertia.negative),
            longest_row(point.params),
            point.label,
        ]
        for name, point in points.items()
    ]
    return tables.aligned(head, rows)


def _keep(setting: Setting, way: WayOut) -> None:
    """The saddle and the path, as arrays on disk."""
    path, saddle = way.crossing.path, way.crossing.saddle
    _savez(setting, "saddle", saddle.params)
    _savez(setting, "path", path.params, energy=path.loss, distance=path.distance)


def _savez(setting: Setting, name: str, params: Any, **more: Any) -> None:
    """Parameters by name, those that the problem has, and more arrays."""
    arrays = {k: v for k, v in params._asdict().items() if v is not None} | more
    arrays = {k: np.asarray(v) for k, v in arrays.items()}
    keep(setting.out, name, **arrays)


def _plane(problem: Problem, collapsed: StationaryPoint, way: WayOut) -> landscape.Plane:
    """The surface around the collapsed point, towards the saddle and towards the far end; with the
    lowest eigenvalue where there are not too many.
    """
    saddle, far = way.crossing.saddle.params, at(way.crossing.path.params, -1)
    directions = jax.tree.map(
        lambda s, e, c: jnp.stack([s - c, e - c]), saddle, far, collapsed.params
    )
    length = _length(collapsed, way)
    values = None
    if ravel_pytree(saddle)[0].size <= DENSE:
        values = {"lowest": landscape.lowest_eigenvalue(problem)}
    return landscape.plane_along(
        problem.loss,
        collapsed.params,
        directions,
        (ALONG[0] * length, ALONG[1] * length),
        (ACROSS[0] * length, ACROSS[1] * length),
        CELLS,
        values,
    )


def _length(collapsed: StationaryPoint, way: WayOut) -> float:
    """Distance from the collapsed point to the saddle."""
    begin, end = (ravel_pytree(point.params)[0] for point in (collapsed, way.crossing.saddle))
    return float(jnp.linalg.norm(end - begin))


def _marks(collapsed: StationaryPoint, way: WayOut) -> list[Mark]:
    """The two points that the plane is laid through."""
    saddle = way.crossing.saddle
    return [
        Mark(0.0, 0.0, "collapsed", int(collapsed.kind)),
        Mark(_length(collapsed, way), 0.0, "saddle", int(saddle.kind)),
    ]


def _profile(setting: Setting, title: str, collapsed: StationaryPoint, way: WayOut) -> Figure:
    """Energy along the path."""
    path, saddle = way.crossing.path, way.crossing.saddle
    marks = [
        Mark(0.0, math.nan, "collapsed", int(collapsed.kind)),
        Mark(
            float(path.distance[path.top]),
            float(saddle.loss),
            "",
            int(saddle.kind),
            _aside(way.crossing),
        ),
        Mark(float(path.distance[-1]), math.nan, "far end", int(way.far.kind)),
    ]
    axes = partial(
        plot.path_profile,
        path,
        scale="symlog",
        marks=marks,
        barrier=way.crossing.height,
        error=way.crossing.height_error,
        unit=UNIT,
        title=title,
    )
    caption = "Energy along the path out of collapse; a dot for every image."
    return setting.draw("path_profile", caption, axes)


def _aside(crossing: Any) -> float:
    """How far the straight pieces between the images of a path pass by its saddle; 0 where that is
    too little to be seen.
    """
    images = np.asarray(jax.vmap(lambda image: ravel_pytree(image)[0])(crossing.path.params))
    saddle = np.asarray(ravel_pytree(crossing.saddle.params)[0])
    steps = np.diff(images, axis=0)
    squares = np.maximum(np.sum(steps**2, axis=1), np.finfo(float).tiny)
    shares = np.clip(np.sum((saddle - images[:-1]) * steps, axis=1) / squares, 0.0, 1.0)
    feet = images[:-1] + shares[:, None] * steps
    distance = float(np.linalg.norm(saddle - feet, axis=1).min())
    return distance if distance > UNSEEN * float(crossing.path.distance[-1]) else 0.0


def _maps(
    setting: Setting, title: str, plane: landscape.Plane, marks: list[Mark], way: WayOut
) -> list[Figure]:
    """Energy and, where it is known, the smallest eigenvalue over the plane."""
    look: dict[str, Any] = {
        "marks": marks,
        "unit": UNIT,
        "title": title,
        "xlabel": "distance towards the saddle",
        "ylabel": "distance across",
    }
    track = _track(plane, way.crossing.path, marks[1].x)
    figures = [
        setting.draw(
            "path_plane",
            "Energy around the collapsed point, towards the saddle and across it; dots: images "
            "of the path.",
            partial(plot.plane, plane, tracks=[track], **look),
        )
    ]
    if "lowest" in plane.values:
        lowest = np.asarray(plane.values["lowest"])
        flat = float(curvature.band(jnp.abs(lowest).max(), plane.origin.size))
        figures.append(
            setting.draw(
                "path_eigenvalue",
                "Smallest Hessian eigenvalue over the same plane; where it is negative nothing "
                "can rest.",
                partial(plot.eigenvalue_map, plane, lowest, flat=flat, **look),
            )
        )
    return figures


def _track(plane: landscape.Plane, path: Any, length: float) -> Track:
    """The images of the path whose feet are inside the plane's extent."""
    inside, residuals = [], [0.0]
    for i in range(len(path.loss)):
        foot, aside = landscape.project(plane, at(path.params, i))
        if foot[0] <= ALONG[1] * length and abs(foot[1]) <= ACROSS[1] * length:
            inside.append(np.asarray(foot))
            residuals.append(float(aside))
    return Track(np.array(inside), "path", max(residuals), images=True)
