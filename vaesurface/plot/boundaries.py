"""Where in the plane of two hyper-parameters are minima lost, and what is found in between?

>>> from types import SimpleNamespace
>>> curve = np.array([[0.0, 1.0], [0.5, 0.8], [1.0, 0.2]])
>>> none = np.empty((0, 2))
>>> fold = SimpleNamespace(kind="fold", values=curve, negative=np.zeros(3, int), cusps=none)
>>> ax = boundaries([fold])
>>> [text.get_text() for text in ax.get_legend().get_texts()]
['a minimum ends (fold)']
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from vaesurface.plot.canvas import (
    ALPHA,
    EMPTY,
    GAMMA,
    colorbar,
    counted,
    drawing,
    drawn_on,
    edges,
    legend,
    stretches,
)

__all__ = ["Verdicts", "boundaries"]

HALOED: Any = [withStroke(linewidth=2.6, foreground="w")]
# Looks and names of stretches of curves, by kind and by whether a minimum is lost there, in the
# legend's order.
LOOKS: dict[tuple[str, bool], tuple[str, Any]] = {
    ("fold", True): ("a minimum ends (fold)", {"color": "k", "linewidth": 1.4}),
    ("branch point", True): (
        "a minimum branches",
        {"color": "k", "linewidth": 1.4, "linestyle": (0, (3, 1.5))},
    ),
    ("fold", False): ("saddles end (fold)", {"color": "0.45", "linewidth": 0.8}),
    ("branch point", False): (
        "saddles branch",
        {"color": "0.45", "linewidth": 0.8, "linestyle": (0, (3, 1.5))},
    ),
}
CUSP: Any = {"marker": "D", "markersize": 3.5, "mfc": "w", "mec": "k", "linestyle": ""}


class Verdicts(NamedTuple):
    """What a grid says.

    x: (mx,), of the first hyper-parameter.
    y: (my,), of the second.
    active: (my, mx), active latents; NaN where nothing is known.
    """

    x: npt.ArrayLike
    y: npt.ArrayLike
    active: npt.ArrayLike


@drawing
def boundaries(
    curves: Sequence[Any],
    ax: Axes | None = None,
    *,
    verdicts: Verdicts | None = None,
    xlabel: str = ALPHA,
    ylabel: str = GAMMA,
    title: str = "",
) -> Axes:
    """Folds and branch points over two hyper-parameters: heavy where a minimum is lost, light where
    saddles are; over a grid's cells, colored by active latents.

    curves: `paths.Boundary`s (kind, values (m, 2), negative (m,), cusps (c, 2)). Hatched: nothing
    known there. Raises ValueError where there is neither a curve nor a grid.
    """
    if not curves and verdicts is None:
        raise ValueError("expected at least one boundary, got none; follow an event first")
    with drawn_on(ax, 2.7 + 0.4 * (verdicts is not None) + 0.2 * bool(title)) as axes:
        if verdicts is not None:
            _draw_cells(axes, verdicts)
        shown: set[Any] = set()
        for curve in curves:
            shown |= _draw_curve(axes, curve)
        handles = [
            Line2D([], [], label=name, **look)
            for key, (name, look) in LOOKS.items()
            if key in shown
        ]
        if "cusp" in shown:
            handles.append(Line2D([], [], label="cusp", **CUSP))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        legend(axes, handles, title)
    return axes


def _draw_cells(axes: Axes, verdicts: Verdicts) -> None:
    """A cell for each point of the grid, and a color bar."""
    x, y, active = (np.asarray(v, dtype=float) for v in verdicts)
    cells = np.ma.masked_invalid(active)
    colors, norm, ticks = counted(cells.compressed() if cells.count() else [0.0])
    if cells.count() < cells.size:
        axes.patch.set(**EMPTY)
    look: Any = {"rasterized": True, "alpha": 0.55, "zorder": 1}
    mesh = axes.pcolormesh(edges(x), edges(y), cells, cmap=colors, norm=norm, **look)
    colorbar(axes, mesh, "active latents of the minimum", ticks, "%d")


def _draw_curve(axes: Axes, curve: Any) -> set[Any]:
    """Draws a boundary with its cusps; returns what it shows."""
    values, cusps = np.asarray(curve.values, dtype=float), np.asarray(curve.cusps, dtype=float)
    shown: set[Any] = set()
    for part, is_minimum in stretches(np.asarray(curve.negative) == 0):
        key = str(curve.kind), is_minimum
        _, look = LOOKS[key]
        order = 4 if is_minimum else 3
        axes.plot(*values[part].T, zorder=order, path_effects=HALOED, **look)
        shown.add(key)
    if len(cusps):
        axes.plot(*cusps.T, zorder=5, **CUSP)
        shown.add("cusp")
    return shown
