"""Which bent decoders have directions down from collapse, and how many runs end there?

>>> cuts = [[1.0, 1.0], [1.2, 2.0]]
>>> ax = collapse_cuts([0.0, 1.0], {"a": cuts, "b": cuts}, [1.5])
>>> [text.get_text() for text in ax.get_legend().get_texts()]
['a, b', 'eigenvalues']
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from textwrap import fill
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaesurface.plot.canvas import (
    DOTTED,
    MARKERS,
    PALETTE,
    drawing,
    drawn_on,
    legend,
    side_by_side,
)
from vaesurface.plot.scales import (
    decimals,
    finite,
    spanned,
)

__all__ = ["collapse_by_activation", "collapse_cuts"]

ROOM = 1.6  # times the largest eigenvalue, up to which thresholds are shown
LOW = 0.75  # the least shown; of an affine decoder it is 1
STYLES = ("-", "--", "-.", (0, (1, 1)))  # of curves, which may cover each other
WIDE = 52  # characters of a legend's line
ROW = 0.17  # inches
CROWD = 4  # shares that a row of that height holds


@drawing
def collapse_cuts(
    alpha: npt.ArrayLike,
    curves: Mapping[str, npt.ArrayLike],
    eigenvalues: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    title: str = "",
) -> Axes:
    """Thresholds (m, 2) against alpha (m,), by name: up to the first no eigenvalue means a way down
    from collapse, above the second one does, and between the two, shaded, it depends; the data's
    eigenvalues dotted.

    Names whose thresholds are the same share a curve; where both are infinite it is at the top,
    with arrows.
    """
    x = np.asarray(alpha, dtype=float)
    own = np.asarray(eigenvalues, dtype=float)
    grouped = _grouped(curves)
    top = max(2.0, ROOM * finite(own).max(initial=0.0))
    with drawn_on(ax, 2.6 + 0.1 * len(grouped)) as axes:
        inside = own[(own > LOW) & (own < top)]
        for value in inside:
            axes.axhline(value, zorder=1, **DOTTED)
        handles: list[Any] = []
        for (name, values), color, line in zip(grouped, cycle(PALETTE), cycle(STYLES)):
            look: Any = {"color": color, "linestyle": line, "linewidth": 1.4}
            look |= {"marker": "."} if x.size == 1 else {}  # a line of one point is not seen
            bounded = np.where(np.isfinite(values), values, np.nan)
            axes.plot(x, bounded[:, 1], zorder=3, **look)
            axes.plot(x, bounded[:, 0], zorder=3, **look | {"linewidth": 0.7})
            shaded = np.minimum(values, 2.0 * top)
            axes.fill_between(x, shaded[:, 0], shaded[:, 1], color=color, alpha=0.15, linewidth=0)
            endless = ~np.isfinite(values[:, 0])
            if endless.sum() > 1:
                level = np.full(endless.sum(), 0.94 * top)
                axes.plot(x[endless], level, marker="^", markevery=0.1, markersize=4, **look)
            handles.append(Line2D([], [], label=fill(name, WIDE), **look))
        if inside.size:
            handles.append(Line2D([], [], label="eigenvalues", **DOTTED))
        axes.set(yscale="log", ylim=(LOW, top))
        spanned(axes, x)
        axes.set_xlabel("decoder perturbation strength α")
        axes.set_ylabel("a latent pays above\n(eigenvalue / β)")
        decimals(axes.yaxis, (1.0, 2.0, 3.0, 5.0))
        legend(axes, handles, title)
    return axes


def _grouped(curves: Mapping[str, npt.ArrayLike]) -> list[tuple[str, np.ndarray]]:
    """Names of curves that are the same, joined, in their order; one that is infinite at a single
    place, as a cubic's is where its slope is zero, is the same as one that is not.
    """
    groups: list[tuple[list[str], np.ndarray]] = []
    for name, given in curves.items():
        values = np.asarray(given, dtype=float)
        for names, others in groups:
            if _same(values, others):
                names.append(name)
                break
        else:
            groups.append(([name], values))
    return [(", ".join(names), values) for names, values in groups]


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    away = np.isfinite(one).all(axis=1) != np.isfinite(other).all(axis=1)
    return away.sum() <= 1 and np.allclose(one[~away], other[~away], rtol=1e-9)


@drawing
def collapse_by_activation(
    names: Sequence[str],
    shares: Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    traps: Sequence[str] = (),
    title: str = "",
) -> Axes:
    """Shares (m, 3) of runs that end collapsed and both ends of their intervals, of activations
    (m,), a row each; by what they started from, say.

    traps: names at which collapse is a minimum, in bold.
    """
    rows = np.arange(len(names))
    tall = ROW * max(1.0, len(shares) / CROWD) * len(names)
    with drawn_on(ax, 1.2 + tall) as axes:
        handles = []
        looks = zip(side_by_side(len(shares)), cycle(PALETTE), cycle(MARKERS))
        for (label, given), (aside, color, marker) in zip(shares.items(), looks, strict=False):
            share, low, high = np.asarray(given, dtype=float).T
            look: Any = {"color": color, "marker": marker, "markersize": 3.5, "linestyle": ""}
            bars = [share - low, high - share]
            axes.errorbar(share, rows + aside, xerr=bars, elinewidth=0.8, capsize=1.5, **look)
            handles.append(Line2D([], [], label=label, **look))
        axes.set_yticks(rows, names)
        for text in axes.get_yticklabels():
            if text.get_text() in traps:
                text.set_fontweight("bold")
        for row in rows[:-1]:
            axes.axhline(row + 0.5, color="0.9", linewidth=0.5, zorder=0)
        axes.set(ylim=(len(names) - 0.5, -0.5), xlim=(-0.03, 1.03))
        axes.set_xlabel("share of starts that collapse")
        axes.tick_params(axis="y", length=0)
        legend(axes, handles, title)
    return axes
