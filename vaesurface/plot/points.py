"""What stationary points are there: their eigenvalues, their indices and energies?

>>> ax = spectrum([-2.0, 0.0, 1.0, 3.0], inertia=(1, 1, 2), title="pass")
>>> print(ax.get_title())
pass
index 1, 1 flat, 2 positive
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vaesurface.marks import KINDS, MINIMUM, SADDLE
from vaesurface.plot.canvas import (
    colorbar,
    counted,
    drawing,
    drawn_on,
    heights,
    legend,
    lowest,
)
from vaesurface.plot.scales import (
    SAME,
    unflattened,
)

__all__ = ["index_scatter", "spectrum"]

BINS_PER_DECADE = 5
# On the logarithmic axis of counts: its lower end, the ticks of eigenvalues, the foot of the bars.
BOTTOM, RUG, FOOT = 0.45, 0.55, 0.7
DOT = 16.0  # area of a dot, square points
NEAR = 2.5  # points within which places are one


@drawing
def spectrum(
    eigenvalues: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    inertia: Sequence[Any],
    unit: str = "",
    title: str = "",
) -> Axes:
    """Histogram of all Hessian eigenvalues, five bins a decade on both sides of zero, with a tick
    for each.

    inertia: numbers of negative, flat and positive eigenvalues; the flat ones share the bar at
    zero. unit: of the energy, `marks.UNIT` of a VAE's; without one the axis says loss. Raises
    ValueError where these are not the eigenvalues' signs, or an eigenvalue is not finite.
    """
    parts = _by_sign(eigenvalues, inertia)
    negative, flat, positive = (part.size for part in parts)
    sizes = np.abs(np.concatenate([parts[0], parts[2]])) if negative + positive else np.ones(1)
    low = math.floor(np.log10(sizes).min())
    high = max(math.ceil(np.log10(sizes).max()), low + 1)
    edges = np.logspace(low, high, BINS_PER_DECADE * (high - low) + 1)
    left = -(10.0 ** math.ceil(np.log10(-parts[0][0]))) if negative else -edges[0]
    right = edges[-1] if positive else edges[0]
    step = math.ceil((high - low) / (3 if negative else 6))
    shown = 10.0 ** np.arange(low + 1, high + 1, step)

    with drawn_on(ax, 2.2 + 0.15 * title.count("\n")) as axes:
        axes.set_xscale("symlog", linthresh=edges[0], linscale=max(0.3, 0.06 * (high - low)))
        axes.set_yscale("log")
        tallest = _draw_bars(axes, parts, edges)
        if flat:
            look: Any = {"textcoords": "offset points", "ha": "center", "size": "small"}
            axes.annotate("flat", (0, flat), (0, 2), **look)
        axes.set_xticks([*-shown[-shown >= left][::-1], 0, *(shown if positive else [])])
        axes.set(xlim=(1.5 * left, 1.5 * right), ylim=(BOTTOM, 2 * tallest))
        axes.set_xlabel(f"Hessian eigenvalue ({unit or 'loss'} / distance²)")
        axes.set_ylabel("number of eigenvalues")
        summary = f"{title}\nindex {negative}, {flat} flat, {positive} positive".strip()
        legend(axes, [], summary)
    return axes


def _by_sign(eigenvalues: npt.ArrayLike, inertia: Sequence[Any]) -> list[np.ndarray]:
    """The negative, the flat and the positive eigenvalues, ascending."""
    values = np.sort(np.asarray(eigenvalues, dtype=float).ravel())
    negative, flat, positive = (int(count) for count in inertia)
    parts = np.split(values, [negative, negative + flat])
    finite = np.isfinite(values)
    complete = negative + flat + positive == values.size and finite.all()
    if not (complete and np.all(parts[0] < 0) and np.all(parts[2] > 0)):
        raise ValueError(
            f"expected finite eigenvalues and their inertia, got {(negative, flat, positive)} for "
            f"{finite.sum()} finite of {values.size} values; give all eigenvalues"
        )
    return parts


def _draw_bars(axes: Axes, parts: Sequence[np.ndarray], edges: np.ndarray) -> int:
    """Draws a histogram and a rug of every part; returns the number in the fullest bin."""
    bins = -edges[::-1], 0.6 * edges[0] * np.array([-1.0, 1.0]), edges
    colors = KINDS[SADDLE].color, "0.55", KINDS[MINIMUM].color
    tallest = 1
    for part, bounds, color in zip(parts, bins, colors, strict=True):
        count = np.histogram(np.clip(part, bounds[0], bounds[-1]), bounds)[0]
        tallest = max(tallest, *count)
        heights = np.maximum(count, FOOT)
        axes.stairs(heights, bounds, baseline=FOOT, fill=True, color=color, linewidth=0)
        rug = np.full(part.size, RUG)
        axes.plot(part, rug, "|", color=color, markersize=4, markeredgewidth=0.4)
    return tallest


@drawing
def index_scatter(
    energy: npt.ArrayLike,
    index: npt.ArrayLike,
    active: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    best: float | None = None,
    unit: str = "",
    title: str = "",
) -> Axes:
    """Index of stationary points against their energy above the best, colored by active latents;
    all (m,).

    Points in one place are one dot, larger the more they are, in rings of their colors. best:
    energy to measure from, by default the lowest of these. unit: as for `spectrum`. Points that are
    not finite are left out. Raises ValueError where none is left.
    """
    height, negative, count = (
        np.ravel(np.asarray(v, dtype=float)) for v in (energy, index, active)
    )
    height = height - min(lowest(height), np.inf if best is None else best)
    kept = np.isfinite(height)
    points = np.stack([height[kept], negative[kept], count[kept]], axis=1)
    with drawn_on(ax, 2.9 + 0.15 * bool(title)) as axes:
        axes.set_xlabel(heights(unit, "above the best"))
        axes.set_ylabel("index (negative eigenvalues)")
        axes.set_ylim(points[:, 1].min() - 0.5, points[:, 1].max() + 0.5)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(color="0.9", linewidth=0.5)
        axes.set_axisbelow(True)
        unflattened(axes.xaxis, points[:, 0], least=SAME * abs(lowest(energy)))
        colors, norm, ticks = counted(points[:, 2])
        # Invisible, for the limits and the color bar, which the places on the page depend on.
        shades: Any = {"cmap": colors, "norm": norm}
        every = axes.scatter(points[:, 0], points[:, 1], s=0, c=points[:, 2], **shades)
        colorbar(axes, every, "active latents", ticks, "%d")
        dots = _stacked(axes, points)
        look: Any = {"edgecolors": "0.2", "linewidths": 0.4, "zorder": 3}
        x, y, shade, number, part = dots.T
        size = _area(number) * part**2
        axes.scatter(x, y, s=size, c=shade, **shades, **look)
        legend(axes, _key(number), title)
    return axes


def _key(number: np.ndarray) -> list[Line2D]:
    """A legend's dots for one point and for the most in one place, where there are several."""
    most = number.max()
    if most == 1:
        return []
    dot: Any = {"marker": "o", "linestyle": "", "mfc": "w", "mec": "0.2"}
    said = {1.0: "one point"} if (number == 1).any() else {}
    said[most] = f"{most:.0f} in one place"
    return [
        Line2D([], [], markersize=math.sqrt(_area(count)), label=words, **dot)
        for count, words in said.items()
    ]


def _area(number: Any) -> Any:
    """Of a dot that stands for a number of points, in square points."""
    return DOT * (1.0 + np.log2(number))


def _stacked(axes: Axes, points: np.ndarray) -> np.ndarray:
    """Dots (j, 5), the largest first: place, active latents, how many points there are, and the
    radius, 1 for all. points (m, 3): place and active latents.
    """
    figure: Any = axes.figure
    figure.draw_without_rendering()
    places = axes.transData.transform(points[:, :2])
    near = NEAR * figure.dpi / 72
    free, dots = np.ones(len(points), bool), []
    for first in range(len(points)):
        if not free[first]:
            continue
        stack = free & (np.abs(places - places[first]).max(axis=1) <= near)
        free &= ~stack
        shades = np.unique(points[stack, 2])
        for ring, shade in enumerate(shades):
            part = 1.0 - ring / len(shades)
            dots.append((*points[first, :2], shade, stack.sum(), part))
    return np.array(dots)
