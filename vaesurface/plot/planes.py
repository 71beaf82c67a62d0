"""What does a plane through parameter space look like: its energies, its curvature, any field?

Marks are stationary points, tracks the ways of runs and paths; both may lie off the plane, and say
how far.

>>> from types import SimpleNamespace
>>> x = np.linspace(-1.0, 1.0, 11)
>>> bowl = SimpleNamespace(x=x, y=x, energy=x**2 + x[:, None] ** 2, points=[[0.0, 0.0]])
>>> ax = plane(bowl, marks=[Mark(0.0, 0.0, "the minimum", 1)])
>>> ax.texts[0].get_text()
'the minimum'
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, LogNorm, Normalize, SymLogNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from vaesurface.plot.canvas import (
    COLORS,
    EMPTY,
    colorbar,
    counted,
    drawing,
    drawn_on,
    edges,
    heights,
    lowest,
    require_scale,
)
from vaesurface.plot.overlay import Mark, Track, draw_track, overlay

__all__ = ["eigenvalue_map", "field", "plane"]

TRACKS = ("w", "#E69F00", "#F0E442", "#CC79A7")  # colors on a dark ground or a dark rim
CELLS: Any = {"rasterized": True}
STRETCHED = 8.0  # times as long as the other side: then sides are no longer to one scale
TICKS = 7  # that a logarithmic color bar holds


@drawing
def plane(
    plane: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    tracks: Sequence[Track] = (),
    best: float | None = None,
    unit: str = "",
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
    unit: of the energy, `marks.UNIT` of a VAE's; without one the color bar says loss. Raises
    ValueError where no energy is finite.
    """
    height = np.ma.masked_invalid(np.asarray(plane.energy, dtype=float))
    height = height - min(lowest(height), np.inf if best is None else best)
    with _sheet(plane, ax, marks, tracks, xlabel, ylabel, title) as (axes, x, y, points):
        levels = _levels(x, y, height, points)
        norm = BoundaryNorm(levels, mpl.colormaps[COLORS].N, extend="max")
        filled = axes.contourf(x, y, height, levels, cmap=COLORS, norm=norm, extend="max")
        axes.contour(x, y, height, levels[1:], colors="k", linewidths=0.25, alpha=0.5)
        colorbar(axes, filled, heights(unit, "above the best"), levels[::2])
    return axes


@drawing
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
    require_scale(scale, "linear", "log", "count")
    shown = np.ma.masked_invalid(np.asarray(values, dtype=float))
    shown = np.ma.masked_less_equal(shown, 0.0) if scale == "log" else shown
    if not shown.count():
        positive = " positive" * (scale == "log")
        raise ValueError(f"expected finite{positive} values, got none on the plane; draw others")
    low, high = float(shown.min()), float(shown.max())
    colors: Any = COLORS
    norm: Normalize = Normalize(low, high)
    ticks: Any = None
    if scale == "count":
        colors, norm, ticks = counted(shown.compressed())
    elif scale == "log":
        norm, ticks = LogNorm(low, high), _decades(low, high)
    with _sheet(plane, ax, marks, tracks, xlabel, ylabel, title) as (axes, x, y, _):
        mesh = axes.pcolormesh(edges(x), edges(y), shown, cmap=colors, norm=norm, **CELLS)
        colorbar(axes, mesh, label, ticks)
    return axes


@drawing
def eigenvalue_map(
    plane: Any,
    values: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    flat: float = 0.0,
    marks: Sequence[Mark] = (),
    tracks: Sequence[Track] = (),
    unit: str = "",
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
) -> Axes:
    """Smallest Hessian eigenvalue (my, mx) over a `landscape.Plane`, on a logarithmic scale on both
    sides of zero.

    The black line encloses the cells where it is negative. Eigenvalues no larger than flat count as
    zero and are white: give the width of the flat band, or rounding draws the line. Hatched: not
    finite, or outside the grid. unit: of the energy, as for `plane`. Raises ValueError where no
    value is finite.
    """
    shown = np.ma.masked_invalid(np.asarray(values, dtype=float))
    if not shown.count():
        raise ValueError("expected finite eigenvalues, got none on the plane; draw others")
    shown = np.ma.where(np.abs(shown) <= flat, 0.0, shown)
    norm = _both_signs(float(shown.min()), float(shown.max()))
    with _sheet(plane, ax, marks, tracks, xlabel, ylabel, title) as (axes, x, y, _):
        mesh = axes.pcolormesh(edges(x), edges(y), shown, cmap="RdBu", norm=norm, **CELLS)
        quarters = norm.inverse(np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
        ticks = [_round(value) if abs(value) > norm.linthresh else 0.0 for value in quarters]
        colorbar(
            axes, mesh, f"smallest Hessian eigenvalue\n({unit or 'loss'} / distance²)", ticks, "%g"
        )
        negative = np.ma.filled(shown < 0, False)
        if negative.any() and not negative.all():
            axes.contour(x, y, negative, [0.5], colors="k", linewidths=0.8)
    return axes


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
    """Axes of equal scale for what is drawn over a plane, its grid x and y and its points; then
    points, tracks and marks on it.
    """
    x, y, points = (np.asarray(v, dtype=float) for v in (plane.x, plane.y, plane.points))
    ways = [np.asarray(track.points, dtype=float) for track in tracks]
    corners = [(x[0], y[0]), (x[-1], y[-1])]
    feet = np.reshape([(mark.x, mark.y) for mark in marks], (-1, 2))
    inside = np.concatenate([corners, feet, *ways])
    low, high = np.nanmin(inside, axis=0), np.nanmax(inside, axis=0)
    width, height = np.where(high > low, high - low, 1.0)
    tall = 2.7 * min(max(height / width, 0.4), 1.5)
    default_x, default_y = _axis_labels(points)
    with drawn_on(ax, 1.5 + 0.3 * bool(title) + tall) as axes:
        axes.patch.set(**EMPTY)
        yield axes, x, y, points
        dark: Any = [withStroke(linewidth=1.8, foreground="0.2")]
        axes.plot(*points.T, "+", color="w", markersize=5, markeredgewidth=0.8, path_effects=dark)
        axes.set(xlabel=xlabel or default_x, ylabel=ylabel or default_y)
        if 1 / STRETCHED <= height / width <= STRETCHED:
            axes.set_aspect("equal")
        else:
            axes.set_xlabel(f"{axes.get_xlabel()}\n(sides are not to one scale)")
        if (high > low).all():
            axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        handles = {}  # by label: each once
        for track, color in zip(tracks, cycle(TRACKS)):
            for handle in draw_track(axes, track, color):
                handles[handle.get_label()] = handle
        way = np.concatenate([np.empty((0, 2)), *ways])
        overlay(axes, marks, way, title, "plane", list(handles.values()))


def _axis_labels(points: np.ndarray) -> tuple[str, str]:
    """What the coordinates are on a plane through three points, or along two directions."""
    if len(points) == 3:
        return "distance along the line of the first two points", "distance from that line"
    return "distance along the first direction", "distance across it"


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
    i = np.abs(y[:, None] - sides[:, 1]).argmin(axis=0)
    j = np.abs(x[:, None] - sides[:, 0]).argmin(axis=0)
    return float(np.ma.filled(height[i, j].max(), 0.0))


def _decades(low: float, high: float) -> np.ndarray:
    """Round numbers between two positive ones: as many a decade as leave them apart."""
    powers = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    halves, wholes = np.arange(1.0, 10.0, 0.5), np.arange(1.0, 10.0)
    for steps in (halves, wholes, np.array([1.0, 2.0, 5.0]), np.ones(1)):
        ticks = np.outer(powers, steps).ravel()
        ticks = ticks[(ticks >= low) & (ticks <= high)]
        if len(ticks) <= TICKS:
            return ticks
    return ticks[:: -(-len(ticks) // TICKS)]


def _both_signs(low: float, high: float) -> SymLogNorm:
    """Logarithmic up to a power of ten on both sides of zero, the same on either side.

    Linear from a hundredth of the smaller side on, so that it has a color too.
    """
    sides = [side for side in (high, -low) if side > 0] or [1.0]
    powers = [10.0 ** math.ceil(math.log10(side)) for side in sides]
    top = max(powers)
    threshold = 1e-2 * (min(powers) if len(powers) == 2 else 1e-2 * top)
    return SymLogNorm(threshold, linscale=0.5, vmin=-top, vmax=top)


def _round(value: float) -> float:
    """The nearest power of ten, with the sign of the value."""
    return math.copysign(10.0 ** round(math.log10(abs(value))), value)
