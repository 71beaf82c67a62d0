"""What does a slice through parameter space look like, or the energy along a path?

Marks are stationary points, tracks the ways of runs and paths; both may lie off the slice, and say
how far.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LogNorm, Normalize, SymLogNorm
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator, NullLocator

from vaesurface.plot.canvas import (
    COLORS,
    EMPTY,
    UNIT,
    Mark,
    Track,
    colorbar,
    counted,
    drawn_on,
    lowest,
    overlay,
)

TRACKS = ("w", "#E69F00", "#F0E442", "#CC79A7")  # on a dark ground or a dark rim


def segment(
    line: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    scale: str = "linear",
    title: str = "",
) -> Axes:
    """Energy along a `landscape.Segment`, above the lowest of line and marks; dotted lines are the
    two ends.

    A mark without a residual is a point of the curve, however narrow its basin. scale: "linear",
    which cuts the margins at 1.5 times the highest between the ends, or "symlog", which cuts
    nothing and resolves narrow basins. Raises ValueError for another scale, or where no energy is
    finite.
    """
    if scale not in ("linear", "symlog"):
        raise ValueError(f"expected scale 'linear' or 'symlog', got {scale!r}; choose one of them")
    x, y = np.asarray(line.distance, dtype=float), np.asarray(line.energy, dtype=float)
    ends, finite = (0.0, float(line.length)), np.isfinite(y)
    marks = [
        m._replace(y=np.interp(m.x, x[finite], y[finite])) if np.isnan(m.y) else m for m in marks
    ]
    best = lowest([*y, *(m.y for m in marks)])
    y, marks = np.where(finite, y - best, np.nan), [m._replace(y=m.y - best) for m in marks]
    exact = np.array([(m.x, m.y) for m in marks if m.residual == 0]).reshape(-1, 2)
    curve = np.concatenate([np.stack([x, y], axis=1), exact])
    curve = curve[np.argsort(curve[:, 0], kind="stable")]
    inside = curve[(curve[:, 0] >= 0) & (curve[:, 0] <= ends[1]), 1]
    top = np.nanmax([*inside, *(m.y for m in marks), 0.0]) or 1.0
    highest = np.nanmax([*y, top])
    xs = [*x, *(m.x for m in marks)]

    with drawn_on(ax, 2.4 + 0.2 * bool(title)) as axes:
        for end in ends:
            axes.axvline(end, color="0.6", linewidth=0.6, linestyle=":", zorder=1)
        axes.plot(*curve.T, color="0.15", zorder=2)
        axes.set(xlabel="distance along the segment (parameter space)", xlim=(min(xs), max(xs)))
        axes.set(ylabel=f"energy above the best\n({UNIT})")
        if scale == "linear":
            axes.set_ylim(np.array([-0.07, 1.1]) * min(highest, 1.5 * top))
        else:
            threshold = 10.0 ** (math.floor(math.log10(top)) - 2)
            axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
            axes.set_ylim(-0.5 * threshold, 2 * highest)
        overlay(axes, marks, curve, title, "line")
    return axes


def plane(
    plane: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    tracks: Sequence[Track] = (),
    best: float | None = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Axes:
    """Energy over a `landscape.Plane`: filled contours up to the highest between its three points
    (crosses).

    A plane through one point has contours up to the height below which nine tenths of the grid lie.
    best: energy of the best point known, from which to measure; the lowest on the grid is a little
    above it. A mark with a residual lies off the plane: it is hollow, at its foot, with its
    distance in the label; so is the end of a track. Hatched: not finite, or outside the grid.
    Raises ValueError where no energy is finite.
    """
    height = np.ma.masked_invalid(np.asarray(plane.energy, dtype=float))
    height = height - min(lowest(height), np.inf if best is None else best)
    with _sheet(plane, ax, marks, tracks, xlabel, ylabel, title) as (axes, x, y, points):
        levels = _levels(x, y, height, points)
        norm = BoundaryNorm(levels, mpl.colormaps[COLORS].N, extend="max")
        filled = axes.contourf(x, y, height, levels, cmap=COLORS, norm=norm, extend="max")
        axes.contour(x, y, height, levels[1:], colors="k", linewidths=0.25, alpha=0.5)
        colorbar(axes, filled, f"energy above the best ({UNIT})", levels[::2])
    return axes


def field(
    plane: Any,
    values: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    label: str,
    scale: str = "linear",
    marks: Sequence[Mark] = (),
    tracks: Sequence[Track] = (),
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Axes:
    """Any values (my, mx) over a `landscape.Plane`, one cell per point of its grid; label: what
    they are, with their unit.

    scale: "linear", "log" for what is positive, such as gamma, or "count" for whole numbers, such
    as active latents. Hatched: not finite (or, for "log", not positive), or outside the grid.
    Raises ValueError for another scale and where nothing can be drawn.
    """
    if scale not in ("linear", "log", "count"):
        raise ValueError(
            f"expected scale 'linear', 'log' or 'count', got {scale!r}; choose one of them"
        )
    shown = np.ma.masked_invalid(np.asarray(values, dtype=float))
    shown = np.ma.masked_less_equal(shown, 0.0) if scale == "log" else shown
    if not shown.count():
        raise ValueError(
            f"expected finite{' positive' * (scale == 'log')} values, got none on the plane; "
            f"draw others"
        )
    colors: Any = COLORS
    norm: Normalize = Normalize(shown.min(), shown.max())
    ticks: Any = None
    if scale == "count":
        colors, norm, ticks = counted(shown.compressed())
    elif scale == "log":
        norm = LogNorm(shown.min(), shown.max())
        ticks = _decades(float(shown.min()), float(shown.max()))
    with _sheet(plane, ax, marks, tracks, xlabel, ylabel, title) as (axes, x, y, _):
        mesh = axes.pcolormesh(
            x, y, shown, cmap=colors, norm=norm, shading="nearest", rasterized=True
        )
        colorbar(axes, mesh, label, ticks)
    return axes


def _decades(low: float, high: float) -> np.ndarray:
    """Round numbers between two positive ones: as many a decade as leave them apart."""
    powers = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in (
        np.arange(1.0, 10.0, 0.5),
        np.arange(1.0, 10.0),
        np.array([1.0, 2.0, 5.0]),
        np.ones(1),
    ):
        ticks = np.outer(powers, steps).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= 7:
            return ticks
    return ticks[:: -(-len(ticks) // 7)]


def eigenvalue_map(
    plane: Any,
    values: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    flat: float = 0.0,
    marks: Sequence[Mark] = (),
    tracks: Sequence[Track] = (),
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Axes:
    """Smallest Hessian eigenvalue (my, mx) over a `landscape.Plane`, on a logarithmic scale on both
    sides of zero.

    The black line encloses the cells where it is negative. Eigenvalues no larger than flat count as
    zero and are white: give the width of the flat band, or rounding draws the line. Hatched: not
    finite, or outside the grid. Raises ValueError where no value is finite.
    """
    shown = np.ma.masked_invalid(np.asarray(values, dtype=float))
    if not shown.count():
        raise ValueError("expected finite eigenvalues, got none on the plane; draw others")
    shown = np.ma.where(np.abs(shown) <= flat, 0.0, shown)
    sides = [float(side) for side in (shown.max(), -shown.min()) if side > 0] or [1.0]
    top = 10.0 ** math.ceil(math.log10(max(sides)))
    # Linear from a hundredth of the smaller side on, so that it has a color too.
    threshold = 1e-2 * (
        10.0 ** math.ceil(math.log10(min(sides))) if len(sides) == 2 else 1e-2 * top
    )
    norm = SymLogNorm(threshold, linscale=0.5, vmin=-top, vmax=top)
    with _sheet(plane, ax, marks, tracks, xlabel, ylabel, title) as (axes, x, y, _):
        mesh = axes.pcolormesh(
            x, y, shown, cmap="RdBu", norm=norm, shading="nearest", rasterized=True
        )
        shape = norm.inverse(np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
        ticks = [
            math.copysign(10.0 ** round(math.log10(abs(v))), v) if abs(v) > threshold else 0.0
            for v in shape
        ]
        colorbar(axes, mesh, f"smallest Hessian eigenvalue\n({UNIT} / distance²)", ticks, "%g")
        negative = np.ma.filled(shown < 0, False)
        if negative.any() and not negative.all():
            axes.contour(x, y, negative, [0.5], colors="k", linewidths=0.8)
    return axes


def path_profile(
    path: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    barrier: float | None = None,
    error: float = 0.0,
    scale: str = "linear",
    title: str = "",
) -> Axes:
    """Energy above the first end along a `paths.Path` (loss and distance (m,)), with a dot for
    every image.

    marks: ends, saddle and other pivots: x their distance along the path, y their energy (NaN: the
    path's there). barrier and error: from the first end to the saddle, drawn at the highest mark or
    image. scale: "linear", or "symlog", which resolves a low and narrow barrier next to a deep
    basin, on both axes. Raises ValueError for another scale or where no energy is finite.
    """
    if scale not in ("linear", "symlog"):
        raise ValueError(f"expected scale 'linear' or 'symlog', got {scale!r}; choose one of them")
    x, y = np.asarray(path.distance, dtype=float), np.asarray(path.loss, dtype=float)
    finite = np.isfinite(y)
    lowest(y)
    start = float(y[finite][0])
    marks = [
        m._replace(y=(np.interp(m.x, x[finite], y[finite]) if np.isnan(m.y) else m.y) - start)
        for m in marks
    ]
    y = np.where(finite, y - start, np.nan)
    every = np.concatenate(
        [np.stack([x, y], axis=1)[finite], np.reshape([(m.x, m.y) for m in marks], (-1, 2))]
    )
    at, top = every[every[:, 1].argmax()]
    low, high = min(every[:, 1].min(), 0.0), max(top, barrier or 0.0)

    with drawn_on(ax, 2.4 + 0.2 * bool(title)) as axes:
        axes.axhline(0.0, color="0.6", linewidth=0.6, linestyle=":", zorder=1)
        axes.plot(
            x,
            y,
            color="0.15",
            zorder=2,
            marker="o",
            markersize=2.2,
            markerfacecolor="w",
            markeredgewidth=0.6,
        )
        axes.set(
            xlabel="distance along the path (parameter space)",
            ylabel=f"energy above the first end\n({UNIT})",
        )
        pad = 0.08 * ((high - low) or 1.0)
        axes.set(xlim=(every[:, 0].min(), every[:, 0].max()), ylim=(low - pad, high + 2 * pad))
        if scale == "symlog" and top > 0:
            _resolve(axes, at, top, low, high)
        way = np.stack([x, y], axis=1)
        if barrier is not None:
            way = np.concatenate([way, [(every[:, 0].max(), barrier), (at, barrier)]])
            look: Any = {"color": "0.1", "linewidth": 0.8, "zorder": 4}
            axes.hlines(barrier, at, every[:, 0].max(), linestyles=(0, (4, 3)), **look)
            axes.errorbar(
                at, barrier, error, capsize=2.5, fmt="none", ecolor="0.1", elinewidth=0.8, zorder=4
            )
            said = f"barrier {barrier:.3g}" + f" ± {error:.2g}" * (error > 0)
            axes.annotate(
                said,
                (1, barrier),
                (-2, 3),
                axes.get_yaxis_transform(),
                "offset points",
                ha="right",
                size="small",
            )
        overlay(axes, marks, way, title, "path")
    return axes


def _resolve(axes: Axes, at: float, top: float, low: float, high: float) -> None:
    """Linear up to the top of a barrier at a distance, logarithmic beyond."""
    axes.set_yscale("symlog", linthresh=top, linscale=1.5)
    axes.set_ylim(2 * low if -low > top else -0.3 * top, 10 * high)
    if at > 0:
        axes.set_xscale("symlog", linthresh=at, linscale=1.0)
    for axis, ends, fine in ((axes.xaxis, axes.get_xlim(), at), (axes.yaxis, axes.get_ylim(), top)):
        ticks = np.asarray(axis.get_major_locator().tick_values(*ends))
        inside = ticks[
            (ticks >= ends[0]) & (ticks <= ends[1]) & (np.abs(ticks) >= 0.5 * fine)
        ]  # nearer to 0 they collide
        negative, positive = inside[inside < 0][::-1], inside[inside > 0]
        keep = [side[:: max(1, -(-side.size // 4))] for side in (negative, positive)]
        axis.set_ticks(np.concatenate([*keep, [0.0]]))
        axis.set_minor_locator(NullLocator())


@contextmanager
def _sheet(
    plane: Any,
    ax: Axes | None,
    marks: Sequence[Mark],
    tracks: Sequence[Track],
    xlabel: str,
    ylabel: str,
    title: str,
) -> Iterator[tuple[Axes, np.ndarray, np.ndarray, np.ndarray]]:
    """Axes of equal scale for what is drawn over a plane, its grid and its points; then points,
    tracks and marks on it.
    """
    x, y, points = (np.asarray(v, dtype=float) for v in (plane.x, plane.y, plane.points))
    ways = [np.asarray(track.points, dtype=float) for track in tracks]
    inside = np.concatenate(
        [[(x[0], y[0]), (x[-1], y[-1])], np.reshape([(m.x, m.y) for m in marks], (-1, 2)), *ways]
    )
    low, high = np.nanmin(inside, axis=0), np.nanmax(inside, axis=0)
    three = len(points) == 3
    xlabel = xlabel or (
        "distance along the line of the first two points"
        if three
        else "distance along the first direction"
    )
    ylabel = ylabel or ("distance from that line" if three else "distance across it")
    shape = (high - low)[1] / (high - low)[0]
    with drawn_on(ax, 1.5 + 0.3 * bool(title) + 2.7 * min(max(shape, 0.4), 1.5)) as axes:
        axes.patch.set(**EMPTY)
        yield axes, x, y, points
        dark: Any = [withStroke(linewidth=1.8, foreground="0.2")]
        axes.plot(*points.T, "+", color="w", markersize=5, markeredgewidth=0.8, path_effects=dark)
        axes.set(
            xlabel=xlabel,
            ylabel=ylabel,
            aspect="equal",
            xlim=(low[0], high[0]),
            ylim=(low[1], high[1]),
        )
        handles: list[Any] = []
        for i, (track, way) in enumerate(zip(tracks, ways, strict=True)):
            handles += _drawn(axes, track, way, TRACKS[i % len(TRACKS)])
        unique = {handle.get_label(): handle for handle in handles}
        overlay(
            axes,
            marks,
            np.concatenate([np.empty((0, 2)), *ways]),
            title,
            "plane",
            list(unique.values()),
        )


def _drawn(axes: Axes, track: Track, way: np.ndarray, color: str) -> list[Any]:
    """A track on a plane, and its handles for the legend."""
    rim: Any = {
        "path_effects": [withStroke(linewidth=2.0, foreground="0.1")],
        "color": color,
        "linewidth": 1.0,
    }
    dot: Any = {"linestyle": "", "mec": "0.1", "mfc": color, "zorder": 4.5, "clip_on": False}
    axes.plot(*way.T, zorder=4, **rim)
    if track.images:
        axes.plot(*way.T, marker="o", markersize=3, markeredgewidth=0.6, **dot)
        return [
            Line2D([], [], label=track.label, marker="o", markersize=3, mec="0.1", mfc=color, **rim)
        ]
    handles = [Line2D([], [], label=track.label, **rim)]
    end: Any = {"label": "end", "marker": "*", "markersize": 8}
    if track.residual > 0:
        hollow = {"mfc": "none", "mec": color, "path_effects": rim["path_effects"]}
        end |= hollow | {"label": f"end ({track.residual:.2g} off the plane)"}
    for at, look in ((0, {"label": "start", "marker": "s", "markersize": 4}), (-1, end)):
        axes.plot(*way[at], **dot | {"markeredgewidth": 0.8} | look)
        handles.append(Line2D([], [], **dot | {"markeredgewidth": 0.8} | look))
    return handles


def _levels(
    x: np.ndarray, y: np.ndarray, height: np.ma.MaskedArray, points: np.ndarray
) -> np.ndarray:
    """Contour levels, powers of round numbers: up to the highest energy on the triangle's sides,
    where there is one.

    The power, from 1 (even steps) over 2 (even steps up a parabola) to 4, is the one that gives
    half of the area below the highest half of the levels.
    """
    if len(points) < 3:
        top = float(np.quantile(height.compressed(), 0.9))
    else:
        top = 1.05 * _between(x, y, height, points)
    if top <= 0:
        top = abs(float(height.max())) or 1.0
    half = np.clip(np.ma.median(height[height <= top]) / top, 0.01, 0.99)
    power = int(np.clip(np.round(np.log(half) / np.log(0.5)), 1, 4))
    even = MaxNLocator(14, steps=[1, 2, 2.5, 5, 10]).tick_values(0.0, top ** (1 / power))
    return np.asarray(even) ** power


def _between(x: np.ndarray, y: np.ndarray, height: np.ma.MaskedArray, points: np.ndarray) -> float:
    """The highest energy on the sides of the triangle."""
    sides = np.linspace(points, np.roll(points, 1, axis=0), 50).reshape(-1, 2)
    i, j = (
        np.abs(grid[:, None] - at).argmin(axis=0)
        for grid, at in ((y, sides[:, 1]), (x, sides[:, 0]))
    )
    return float(np.ma.filled(height[i, j].max(), 0.0))
