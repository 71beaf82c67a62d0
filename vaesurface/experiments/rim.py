"""How high is the rim of the collapsed basin, and what lies on both sides of it?"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaesurface import curvature, landscape, plot, stationary
from vaesurface.experiments.study import (
    DENSE,
    Crossing,
    Setting,
    far_ends,
    longest_row,
    side,
    spectra,
    surface,
    verdict,
    way_out,
)
from vaesurface.plot import Mark, Track
from vaesurface.problem import Problem
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind, StationaryPoint


def rim(setting: Setting, alpha: float) -> Study | None:
    """The lowest saddle on the ways from collapse to what random starts find below it; None where
    no way leads over one.
    """
    problem = setting.problem(alpha)
    collapsed = stationary.analyze(problem, problem.collapsed())  # type: ignore[misc]
    crossing = way_out(problem, far_ends(problem, setting.ends(problem)))
    if crossing is None:
        return None
    far, saddle = crossing.far, crossing.transition.saddle
    sides = [side(crossing.transition, i) for i in (0, 1)]
    row = longest_row(saddle.params)
    per = f", {crossing.rise / alpha**2:.6g} alpha^2" if alpha > 0 else ""
    said = [
        f"At alpha = {alpha:g} the collapsed point is a {collapsed.label}, energy "
        f"{float(collapsed.loss):.10g}. On the way to "
        f"a {_named(far)} {float(collapsed.loss - far.loss):.6g} lower the lowest pass found is "
        f"a {saddle.label}, energy "
        f"{float(saddle.loss):.12g}: {crossing.rise:.8g} above collapse (within "
        f"{crossing.error:.1g}){per}.",
        f"Descent from it leads to a {sides[0].label} (energy {float(sides[0].loss):.10g}) on "
        f"one side and a {sides[1].label} "
        f"(energy {float(sides[1].loss):.10g}) on the other: "
        + (
            "a pass out of collapse."
            if crossing.home
            else "neither is the collapsed point, so lower passes may lie elsewhere."
        ),
        f"The longest row of the saddle's weight is {row:.6g} long"
        + f", {row / alpha:.4g} alpha." * (alpha > 0),
    ]
    if not crossing.path.converged:
        said.append(
            f"The path did not settle (residual {float(crossing.path.residual):.2g}); its saddle "
            f"is refined all the same."
        )
    figures, shown = _drawn(setting, alpha, problem, collapsed, far, crossing)
    for name, params, more in (
        ("saddle", saddle.params, {}),
        (
            "path",
            crossing.path.params,
            {"energy": crossing.path.loss, "distance": crossing.path.distance},
        ),
    ):
        leaves = {k: v for k, v in params._asdict().items() if v is not None} | more
        np.savez(
            setting.out / f"{name}.npz",
            allow_pickle=False,
            **{k: np.asarray(v) for k, v in leaves.items()},
        )
    names = ("collapsed point", "saddle", "one side", "other side", "far end of the path")
    points = (collapsed, saddle, *sides, far)
    return setting.study(
        "path",
        "How high is the rim of collapse?",
        said,
        verdicts=[verdict(name, point) for name, point in zip(names, points, strict=True)],
        figures=figures,
        interactive=[*shown, *spectra(problem, {"saddle": saddle})],
        settings={"alpha": alpha},
    )


def _named(point: StationaryPoint) -> str:
    return "point" if point.kind == Kind.NOT_STATIONARY else point.label


def _drawn(
    setting: Setting,
    alpha: float,
    problem: Problem,
    collapsed: StationaryPoint,
    far: StationaryPoint,
    crossing: Crossing,
) -> tuple[list[Figure], list[dict]]:
    """The path's profile, and the surface around the collapsed point, towards the saddle and
    towards the far end.
    """
    path, saddle = crossing.path, crossing.transition.saddle
    title = f"{setting.source}, α = {alpha:g}"
    here, there = ravel_pytree(collapsed.params)[0], ravel_pytree(saddle.params)[0]
    length = float(jnp.linalg.norm(there - here))
    aside = jax.tree.map(lambda x: x[-1], path.params)
    directions = jax.tree.map(
        lambda s, e, c: jnp.stack([s - c, e - c]), saddle.params, aside, collapsed.params
    )
    values = {"lowest": landscape.lowest_eigenvalue(problem)} if here.size <= DENSE else None
    extent = (-0.6 * length, 1.8 * length), (-length, length)
    plane = landscape.plane_along(problem.loss, collapsed.params, directions, *extent, 41, values)

    marks = [
        Mark(0.0, 0.0, "collapsed", int(collapsed.kind)),
        Mark(length, 0.0, "saddle", int(saddle.kind)),
    ]
    feet = [
        landscape.project(plane, jax.tree.map(lambda x: x[i], path.params))
        for i in range(len(path.loss))
    ]
    inside = [
        (np.asarray(f), float(r)) for f, r in feet if f[0] <= 1.8 * length and abs(f[1]) <= length
    ]
    track = Track(np.array([f for f, _ in inside]), "path", inside[-1][1], images=True)
    look: dict[str, Any] = {
        "marks": marks,
        "title": title,
        "xlabel": "distance towards the saddle",
        "ylabel": "distance across",
    }
    pivots = [Mark(0.0, math.nan, "collapsed", int(collapsed.kind))]
    pivots += [Mark(float(path.distance[path.top]), float(saddle.loss), "", int(saddle.kind))]
    pivots += [Mark(float(path.distance[-1]), math.nan, "far end", int(far.kind))]
    heights: dict[str, Any] = {
        "marks": pivots,
        "barrier": crossing.rise,
        "error": crossing.error,
        "title": title,
    }
    figures = [
        setting.draw(
            "path_profile",
            "Energy along the path out of collapse; a dot for every image.",
            partial(plot.path_profile, path, scale="symlog", **heights),
        ),
        setting.draw(
            "path_plane",
            "Energy around the collapsed point, towards the saddle and across it; dots: images "
            "of the path.",
            partial(plot.plane, plane, tracks=[track], **look),
        ),
    ]
    if values:
        lowest = np.asarray(plane.values["lowest"])
        flat = float(curvature.band(jnp.abs(lowest).max(), here.size))
        caption = (
            "Smallest Hessian eigenvalue over the same plane; where it is negative nothing "
            "can rest."
        )
        figures.append(
            setting.draw(
                "path_eigenvalue",
                caption,
                partial(plot.eigenvalue_map, plane, lowest, flat=flat, **look),
            )
        )
    return figures, [surface(plane, f"{title}: the basin of collapse and its rim", marks)]
