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
from matplotlib.ticker import MaxNLocator

from vaesurface.marks import KINDS, MINIMUM, SADDLE, UNIT
from vaesurface.plot.canvas import colorbar, counted, drawing, drawn_on, lowest

__all__ = ["index_scatter", "spectrum"]

BINS_PER_DECADE = 5
# On the logarithmic axis of counts: its lower end, the ticks of eigenvalues, the foot of the bars.
BOTTOM, RUG, FOOT = 0.45, 0.55, 0.7


@drawing
def spectrum(
    eigenvalues: npt.ArrayLike, ax: Axes | None = None, *, inertia: Sequence[Any], title: str = ""
) -> Axes:
    """Histogram of all Hessian eigenvalues, five bins a decade on both sides of zero, with a tick
    for each.

    inertia: numbers of negative, flat and positive eigenvalues; the flat ones share the bar at
    zero. Raises ValueError where these are not the eigenvalues' signs, or an eigenvalue is not
    finite.
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
        axes.set_xlabel(f"Hessian eigenvalue ({UNIT} / distance²)")
        axes.set_ylabel("number of eigenvalues")
        axes.set_title(f"{title}\nindex {negative}, {flat} flat, {positive} positive".strip())
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
    title: str = "",
) -> Axes:
    """Index of stationary points against their energy above the best, colored by active latents;
    all (m,).

    best: energy to measure from, by default the lowest of these. Points that are not finite are
    left out. Raises ValueError where none is left.
    """
    height, negative, count = (
        np.ravel(np.asarray(v, dtype=float)) for v in (energy, index, active)
    )
    height = height - min(lowest(height), np.inf if best is None else best)
    kept = np.isfinite(height)
    colors, norm, ticks = counted(count[kept])
    look: Any = {"s": 16, "edgecolors": "0.2", "linewidths": 0.4, "alpha": 0.9, "zorder": 3}
    with drawn_on(ax, 2.6 + 0.15 * bool(title)) as axes:
        dots = axes.scatter(
            height[kept], negative[kept], c=count[kept], cmap=colors, norm=norm, **look
        )
        colorbar(axes, dots, "active latents", ticks, "%d")
        axes.set(xlabel=f"energy above the best ({UNIT})", ylabel="index (negative eigenvalues)")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="0.9", linewidth=0.5)
        axes.set_axisbelow(True)
        axes.set_title(title)
    return axes
