"""Which cures keep how many starts out of which traps?

>>> ax = scoreboard([[1.0, 0.5], [float("nan"), 0.0]], ["plain", "warm-up"], ["a", "b"])
>>> [text.get_text() for text in ax.texts]
['100', '50', '0']
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from vaesurface.plot.canvas import COLORS, EMPTY, colorbar, drawing, drawn_on, legend, readable

__all__ = ["scoreboard"]

ROW = 0.17  # inches
SIZE = 5.5  # of the numbers in cells, points
CHARACTER = 0.7  # width of a digit and what parts it from the next cell, in units of its size


@drawing
def scoreboard(
    share: npt.ArrayLike,
    cures: Sequence[str],
    traps: Sequence[str],
    ax: Axes | None = None,
    *,
    changed: npt.ArrayLike | None = None,
    told: npt.ArrayLike | None = None,
    title: str = "",
) -> Axes:
    """Share (cures, traps) of starts that end collapsed, in percent, a row a cure; NaN, hatched:
    the cure does not apply.

    changed: where the surface is another one, in italics. told: where the difference from the first
    row is more than chance, framed.
    """
    values = np.asarray(share, dtype=float)
    longest = max(map(len, traps))
    with drawn_on(ax, 1.0 + ROW * len(cures) + 0.055 * longest) as axes:
        mesh = axes.pcolormesh(
            np.ma.masked_invalid(values), cmap=COLORS, vmin=0, vmax=1, edgecolors="w", linewidth=0.5
        )
        axes.patch.set(**EMPTY)
        axes.set_xticks(np.arange(len(traps)) + 0.5, traps, rotation=90)
        axes.set_yticks(np.arange(len(cures)) + 0.5, cures)
        axes.tick_params(length=0)
        axes.invert_yaxis()
        colorbar(axes, mesh, "share of starts that end collapsed", [0, 0.25, 0.5, 0.75, 1])
        framed = _flags(told, values)
        _explain(axes, values, framed, title)
        _write(axes, values, mesh, _flags(changed, values))
        for row, column in np.argwhere(framed):
            look: Any = {"fill": False, "edgecolor": "#D55E00", "linewidth": 1.1}
            axes.add_patch(mpl.patches.Rectangle((column + 0.04, row + 0.04), 0.92, 0.92, **look))
    return axes


def _flags(given: npt.ArrayLike | None, values: np.ndarray) -> np.ndarray:
    return np.zeros(values.shape, bool) if given is None else np.asarray(given, bool)


def _write(axes: Axes, values: np.ndarray, mesh: Any, changed: np.ndarray) -> None:
    """Percents into all cells that there are, as large as the width of a cell allows."""
    figure: Any = axes.figure
    figure.draw_without_rendering()
    width = 72 * axes.bbox.width / axes.figure.dpi / max(1, values.shape[1])
    size = min(SIZE, width / (CHARACTER * len("100")))
    for row, column in np.argwhere(np.isfinite(values)):
        value = values[row, column]
        axes.text(
            column + 0.5,
            row + 0.5,
            f"{100 * value:.0f}",
            ha="center",
            va="center",
            size=size,
            style="italic" if changed[row, column] else "normal",
            color=readable(mesh.cmap(mesh.norm(value))),
        )


def _explain(axes: Axes, values: np.ndarray, framed: np.ndarray, title: str) -> None:
    """What hatching and frames mean, where there are any."""
    handles: list[Any] = []
    if np.isnan(values).any():
        empty: Any = EMPTY
        handles.append(Patch(**empty, label="does not apply"))
    if framed.any():
        look: Any = {"fill": False, "edgecolor": "#D55E00", "linewidth": 1.1}
        handles.append(Patch(**look, label="differs from plain (exact, 5 % over all)"))
    legend(axes, handles, title)
