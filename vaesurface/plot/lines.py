"""How does the energy run along a line through parameter space, or along a path?

Marks are stationary points; they may lie off the line, and say how far.

>>> from types import SimpleNamespace
>>> path = SimpleNamespace(distance=[0.0, 1.0, 2.0], loss=[-7.0, -6.0, -8.0])
>>> ax = path_profile(path, barrier=1.0, error=0.01)
>>> ax.texts[0].get_text()
'barrier 1 ± 0.01'
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vaesurface.plot.canvas import (
    drawing,
    drawn_on,
    heights,
    lowest,
    require_scale,
)
from vaesurface.plot.overlay import Mark, overlay
from vaesurface.plot.scales import (
    few_ticks,
    spanned,
)

__all__ = ["path_profile", "segment"]

INK = "0.15"
GUIDE: Any = {"color": "0.6", "linewidth": 0.6, "linestyle": ":", "zorder": 1}  # ends and zero
SEEN = 2.0  # points by which a mark beside a curve is seen to be
IMAGES: Any = {"marker": "o", "markersize": 2.2, "markerfacecolor": "w", "markeredgewidth": 0.6}


@drawing
def segment(
    line: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    scale: str = "linear",
    unit: str = "",
    title: str = "",
) -> Axes:
    """Energy along a `landscape.Segment`, above the lowest of line and marks; dotted lines are the
    two ends.

    A mark without a residual is a point of the curve, however narrow its basin. scale: "linear",
    which cuts the margins at 1.5 times the highest between the ends, or "symlog", which cuts
    nothing and resolves narrow basins. unit: of the energy, `marks.UNIT` of a VAE's; without one
    the axis says loss. Raises ValueError for another scale, or where no energy is finite.
    """
    require_scale(scale, "linear", "symlog")
    x, y = np.asarray(line.distance, dtype=float), np.asarray(line.energy, dtype=float)
    length = float(line.length)
    marks = _completed(marks, x, y)
    best = lowest([*y, *(mark.y for mark in marks)])
    y, marks = _above(best, y), _lowered(marks, best)
    curve = _through(x, y, [mark for mark in marks if mark.residual == 0])
    between = curve[(curve[:, 0] >= 0) & (curve[:, 0] <= length), 1]
    top = np.nanmax([*between, *(mark.y for mark in marks), 0.0]) or 1.0
    highest = np.nanmax([*y, top])
    places = [*x, *(mark.x for mark in marks)]

    with drawn_on(ax, 2.4 + 0.2 * bool(title)) as axes:
        for end in (0.0, length):
            axes.axvline(end, **GUIDE)
        axes.plot(*curve.T, color=INK, zorder=2)
        spanned(axes, places)
        axes.set_xlabel("distance along the segment (parameter space)")
        axes.set_ylabel(heights(unit, "above the best", upright=True))
        if scale == "linear":
            axes.set_ylim(np.array([-0.07, 1.1]) * min(highest, 1.5 * top))
        else:
            threshold = 10.0 ** (math.floor(math.log10(top)) - 2)
            axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
            axes.set_ylim(-0.5 * threshold, 2 * highest)
        overlay(axes, marks, curve, title, "line")
    return axes


@drawing
def path_profile(
    path: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    barrier: float | None = None,
    error: float = 0.0,
    scale: str = "linear",
    unit: str = "",
    title: str = "",
) -> Axes:
    """Energy above the first end along a `paths.Path` (loss and distance (m,)), with a dot for
    every image.

    marks: ends, saddle and other pivots: x their distance along the path, y their energy (NaN: the
    path's there); one that the curve misses is joined to it, with its height above it. barrier and
    error: from the first end to the saddle, drawn at the highest mark or image. scale: "linear", or
    "symlog", which resolves a low and narrow barrier next to a deep basin, on both axes. unit: as
    for `segment`. Raises ValueError for another scale or where no energy is finite.
    """
    require_scale(scale, "linear", "symlog")
    x, y = np.asarray(path.distance, dtype=float), np.asarray(path.loss, dtype=float)
    lowest(y)
    start = float(y[np.isfinite(y)][0])
    marks = _lowered(_completed(marks, x, y), start)
    curve = np.stack([x, _above(start, y)], axis=1)
    images = curve[np.isfinite(curve[:, 1])]
    points = np.concatenate([images, np.reshape([(mark.x, mark.y) for mark in marks], (-1, 2))])
    at, top = points[points[:, 1].argmax()]
    first, last = points[:, 0].min(), points[:, 0].max()
    low, high = min(points[:, 1].min(), 0.0), max(top, barrier or 0.0)

    with drawn_on(ax, 2.4 + 0.2 * bool(title)) as axes:
        axes.axhline(0.0, **GUIDE)
        axes.plot(*curve.T, color=INK, zorder=2, **IMAGES)
        axes.set_xlabel("distance along the path (parameter space)")
        axes.set_ylabel(heights(unit, "above the first end", upright=True))
        pad = 0.08 * ((high - low) or 1.0)
        spanned(axes, (first, last))
        axes.set_ylim(low - pad, high + 2 * pad)
        if scale == "symlog" and top > 0:
            _resolve(axes, at, top, low, high)
        if barrier is not None:
            _draw_barrier(axes, at, last, barrier, error)
            curve = np.concatenate([curve, [(last, barrier), (at, barrier)]])
        overlay(axes, _joined(axes, marks, images), curve, title, "path")
    return axes


def _completed(marks: Sequence[Mark], x: np.ndarray, y: np.ndarray) -> list[Mark]:
    """The marks; those without an energy have that of the curve y(x), between its finite points."""
    x, y = x[np.isfinite(y)], y[np.isfinite(y)]
    return [
        mark._replace(y=np.interp(mark.x, x, y)) if np.isnan(mark.y) else mark for mark in marks
    ]


def _joined(axes: Axes, marks: Sequence[Mark], images: np.ndarray) -> list[Mark]:
    """The marks; those that the curve through images (m, 2) misses visibly are joined to it, and
    say by how much.
    """
    told = []
    for mark in marks:
        there = float(np.interp(mark.x, *images.T))
        ends = axes.transData.transform([(mark.x, there), (mark.x, mark.y)])
        if abs(ends[1, 1] - ends[0, 1]) > SEEN * axes.figure.dpi / 72:
            axes.plot([mark.x] * 2, [there, mark.y], color="0.4", linewidth=0.8, zorder=3)
            side = "above" if mark.y > there else "below"
            label = f"{mark.label} {abs(mark.y - there):.2g} {side} the path".strip()
            mark = mark._replace(label=label)
        told.append(mark)
    return told


def _lowered(marks: Sequence[Mark], level: float) -> list[Mark]:
    """The marks, with energies from a level on."""
    return [mark._replace(y=mark.y - level) for mark in marks]


def _above(level: float, y: np.ndarray) -> np.ndarray:
    """Energies from a level on, NaN where they are not finite."""
    return np.where(np.isfinite(y), y - level, np.nan)


def _through(x: np.ndarray, y: np.ndarray, marks: Sequence[Mark]) -> np.ndarray:
    """The curve y(x) and marks on it, (m, 2), by distance."""
    exact = np.reshape([(mark.x, mark.y) for mark in marks], (-1, 2))
    curve = np.concatenate([np.stack([x, y], axis=1), exact])
    return curve[np.argsort(curve[:, 0], kind="stable")]


def _draw_barrier(axes: Axes, at: float, last: float, barrier: float, error: float) -> None:
    """A dashed line at the height of a barrier, from its place to the last, its error and value."""
    look: Any = {"color": "0.1", "linewidth": 0.8, "linestyles": (0, (4, 3)), "zorder": 4}
    axes.hlines(barrier, at, last, **look)
    bar: Any = {"capsize": 2.5, "fmt": "none", "ecolor": "0.1", "elinewidth": 0.8, "zorder": 4}
    axes.errorbar(at, barrier, error, **bar)
    value = f"barrier {barrier:.3g}" + f" ± {error:.2g}" * (error > 0)
    right = axes.get_yaxis_transform()
    place: Any = {"xycoords": right, "textcoords": "offset points", "ha": "right"}
    axes.annotate(value, (1, barrier), (-2, 3), size="small", **place)


def _resolve(axes: Axes, at: float, top: float, low: float, high: float) -> None:
    """Axes that are linear up to the top of a barrier at a distance, and logarithmic beyond."""
    axes.set_yscale("symlog", linthresh=top, linscale=1.5)
    axes.set_ylim(2 * low if -low > top else -0.3 * top, 10 * high)
    if at > 0:
        axes.set_xscale("symlog", linthresh=at, linscale=1.0)
    few_ticks(axes.xaxis, axes.get_xlim(), at)
    few_ticks(axes.yaxis, axes.get_ylim(), top)
