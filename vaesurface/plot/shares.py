"""How often do runs end collapsed, against what they started from and how they were trained?

>>> ax = collapse_shares([1, 4], {"Adam": [[0.5, 0.2, 0.8], [1.0, 0.7, 1.0]]})
>>> ax.get_ylabel()
'share of runs that end collapsed'
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaesurface.marks import NOT_STATIONARY
from vaesurface.plot.canvas import (
    ALPHA,
    COLORS,
    DASHED,
    EMPTY,
    HALO,
    MARKERS,
    PALETTE,
    colorbar,
    drawing,
    drawn_on,
    edges,
    legend,
    nested,
    readable,
    side_by_side,
)
from vaesurface.plot.scales import (
    finite,
    logarithmic,
)

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["basin_volume", "collapse_shares", "phase_diagram", "trap"]

DIMS = ("scale", "alpha", "seed")
CHARACTER = 0.62  # width of a digit, in units of the font's size
GROUND = 0.8  # points around counts in which no line is drawn
TEXT, LEGIBLE = 5.8, 3.5  # sizes of texts above intervals, points: at most, at least
DIGEST = re.compile("[0-9a-f]{64}")  # that a store knows its data by
ASIDE = 0.06  # decades between shares at one alpha


class Counts(NamedTuple):
    """Numbers of runs in every cell, (scales, alphas).

    runs: that were computed.
    collapsed: that ended in the collapsed point.
    lost: that did not end in a stationary point.
    """

    runs: np.ndarray
    collapsed: np.ndarray
    lost: np.ndarray


@drawing
def phase_diagram(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    note: str = "",
    theory: npt.ArrayLike | None = None,
    theory_label: str = "theory",
) -> Axes:
    """Share of runs that ended collapsed, one cell per decoder perturbation and initialization
    scale.

    ds: dims alpha (in units of the data), scale and seed with numeric coordinates, as `store.open`
    and `store.dataset` give it; variables theory_collapsed, kind (codes of `stationary.Kind`) and,
    where runs are missing, computed; attributes optimizer and data, or config, make the title.
    ax: what to draw into; else a figure of its own.
    note: ends the caption.
    theory (m, 2): a line through points (alpha, scale), dashed, on axes that are logarithmic from
    cell to cell (linear from 0), such as the scale below which collapse is certain.
    theory_label: what the legend calls it.

    A run that is not stationary counts as computed and not as collapsed. Raises ValueError for
    other dims, and for a line over one alpha or one scale.
    """
    counts = _count(ds)
    alpha, scale = np.sort(ds["alpha"].values), np.sort(ds["scale"].values)
    with drawn_on(ax, 1.75 + max(1.1, 0.26 * scale.size)) as axes:
        mesh = _draw_cells(axes, counts, _caption(counts, note))
        width = 72 * axes.get_window_extent().width / axes.figure.dpi / alpha.size  # of a cell
        _name_cells(axes, alpha, scale, width)
        handles: list[Any] = []
        if theory is not None:
            line = _on_cells(np.asarray(theory, dtype=float), alpha, scale)
            dashed = DASHED | {"linewidth": 1.2, "path_effects": HALO}
            axes.plot(*line.T, zorder=2.5, **dashed)  # below the counts, which interrupt it
            limits = np.array([[-0.5, alpha.size - 0.5], [-0.5, scale.size - 0.5]])
            axes.set(xlim=limits[0], ylim=limits[1])
            if _crosses(line, limits):
                handles.append(Line2D([], [], label=theory_label, **dashed))
        legend(axes, handles, "\n".join(filter(None, _origin(ds.attrs))))
        figure: Any = axes.figure
        figure.draw_without_rendering()  # lays the figure out: now cells have their width
        _write_counts(axes, counts, mesh, 72 * axes.bbox.width / axes.figure.dpi / alpha.size)
    return axes


def _origin(attrs: Mapping[Any, Any]) -> tuple[str, str]:
    """Optimizer and data in words, "" where nothing says so; a store tells in its config what
    `vaesurface sweep` read.
    """
    config = json.loads(attrs.get("config", "{}"))
    data = str(attrs.get("data", ""))
    if DIGEST.fullmatch(data):
        named = {"source", "rows"} <= config.keys()
        data = f"{PurePath(config['source']).name}, n = {config['rows']}" if named else ""
    return str(attrs.get("optimizer", config.get("optimizer", ""))), data


def _crosses(line: np.ndarray, limits: np.ndarray) -> bool:
    """Whether a piece of a line (m, 2) lies between limits (2, 2)."""
    ends = [(line[:-1], line[1:])] if len(line) > 1 else [(line, line)]
    dense = np.concatenate([np.linspace(a, b, 50).reshape(-1, 2) for a, b in ends])
    inside = (dense >= limits[:, 0]) & (dense <= limits[:, 1])
    return bool(inside.all(axis=1).any())


def _count(ds: xr.Dataset) -> Counts:
    """Runs in every cell, by ascending scale and alpha."""
    names = ["kind", "theory_collapsed", *(["computed"] if "computed" in ds else [])]
    for name in names:
        if set(ds[name].dims) != set(DIMS):
            raise ValueError(
                f"expected {name} with dims {DIMS}, got {ds[name].dims}; select or rename dims"
            )
    ds = ds.sortby(["alpha", "scale"])
    kind, collapsed, *rest = (ds[name].transpose(*DIMS).values.astype(float) for name in names)
    computed = np.isfinite(kind) & np.isfinite(collapsed)
    if rest:
        computed &= rest[0] == 1
    stationary = kind != NOT_STATIONARY
    return Counts(
        runs=computed.sum(axis=-1),
        collapsed=(computed & stationary & (collapsed == 1)).sum(axis=-1),
        lost=(computed & ~stationary).sum(axis=-1),
    )


def _caption(counts: Counts, note: str) -> str:
    """What the texts and the hatching of cells mean, where there are such, and a note."""
    parts = [
        "c/m: c of m runs ended collapsed",
        "ns: did not end stationary" if counts.lost.any() else "",
        "hatched: not computed" if (counts.runs == 0).any() else "",
        note,
    ]
    return textwrap.fill("; ".join(filter(None, parts)), 64)


def _draw_cells(axes: Axes, counts: Counts, caption: str) -> Any:
    """Cells colored by the share that collapsed, a color bar, and a caption below it."""
    rows, columns = counts.runs.shape
    share = np.ma.masked_where(counts.runs == 0, counts.collapsed / np.maximum(counts.runs, 1))
    look: Any = {"cmap": COLORS, "vmin": 0, "vmax": 1, "edgecolors": "w", "linewidth": 0.5}
    x, y = edges(np.arange(columns)), edges(np.arange(rows))
    mesh = axes.pcolormesh(x, y, share, **look)
    axes.patch.set(**EMPTY)
    bar = colorbar(axes, mesh, "probability of collapse", [0, 0.25, 0.5, 0.75, 1])
    below: Any = {"xycoords": bar.ax.xaxis.label, "textcoords": "offset points", "va": "top"}
    bar.ax.annotate(caption, (0.5, 0), (0, -3), ha="center", size="small", color="0.3", **below)
    return mesh


def _name_cells(axes: Axes, alpha: np.ndarray, scale: np.ndarray, width: float) -> None:
    """Ticks at every cell; upright where names do not fit into its width in points."""
    names = [f"{v:g}" for v in alpha]
    needed = 0.6 * float(mpl.rcParams["font.size"]) * max(map(len, names))
    axes.set_xticks(np.arange(alpha.size), names, rotation=90 if needed > width else 0)
    axes.set_yticks(np.arange(scale.size), [f"{v:g}" for v in scale])
    axes.tick_params(length=0)
    axes.set(xlabel=ALPHA, ylabel="initialization scale")


def _write_counts(axes: Axes, counts: Counts, mesh: Any, width: float) -> None:
    """In every cell how many of its runs ended where, as large as its width in points allows."""
    most = counts.runs.max()
    fitting = (width - 2 * GROUND) / (CHARACTER * len(f"{most}/{most}"))
    size = min(float(mpl.rcParams["font.size"]) - 1, fitting)
    look: Any = {"ha": "center", "va": "center", "size": size, "linespacing": 1.0}
    colors = mesh.cmap(mesh.norm(mesh.get_array()))
    for i, j in np.argwhere(counts.runs):
        lost = counts.lost[i, j]
        text = f"{counts.collapsed[i, j]}/{counts.runs[i, j]}" + f"\n{lost} ns" * bool(lost)
        ground: Any = {"facecolor": colors[i, j], "edgecolor": "none", "pad": GROUND}
        axes.text(j, i, text, color=readable(colors[i, j]), bbox=ground, zorder=3, **look)


def _on_cells(line: np.ndarray, alpha: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Points (alpha, scale), (m, 2), in units of cells."""
    return np.stack([_positions(line[:, 0], alpha), _positions(line[:, 1], scale)], axis=1)


def _positions(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Index of values (m,) in an ascending grid, in between by logarithm or, from 0, linearly, and
    so on beyond its ends.
    """
    if len(grid) == 1:
        raise ValueError(
            "expected at least two values a side to draw a line on the cells, got one; sweep "
            "over more"
        )
    place = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, len(grid) - 2)
    low, high = grid[place], grid[place + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithmic = np.log(values / low) / np.log(high / low)
        part = np.where(low > 0, logarithmic, (values - low) / (high - low))
    return np.where(np.isfinite(part), place + part, np.nan)


@drawing
def collapse_shares(
    depth: npt.ArrayLike,
    shares: Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    counts: Mapping[str, Sequence[str]] | None = None,
    xlabel: str = "hidden layers in encoder and in decoder",
    title: str = "",
) -> Axes:
    """Share of runs that end collapsed, at every depth (m,), for several ways to train, side by
    side.

    shares: name -> (m, 3), the share and both ends of its confidence interval; counts: name ->
    texts (m,) above the intervals, where there is room.
    """
    with drawn_on(ax, 2.3 + 0.15 * len(shares)) as axes:
        handles = []
        places = _side_by_side(len(shares), np.size(depth))
        looks = zip(places, cycle(PALETTE), cycle(MARKERS))
        for (name, intervals), (x, color, marker) in zip(shares.items(), looks, strict=False):
            look: Any = {"color": color, "marker": marker, "markersize": 4, "linestyle": ""}
            handles.append(_share_bars(axes, x, intervals, name, **look))
        _name_groups(axes, np.asarray(depth, dtype=float))
        axes.set(ylim=(-0.04, 1.12), yticks=[0, 0.25, 0.5, 0.75, 1])
        axes.set(xlabel=xlabel, ylabel="share of runs that end collapsed")
        legend(axes, handles, title)
        for (name, intervals), x in zip(shares.items(), places, strict=True):
            _write_above(axes, x, intervals, (counts or {}).get(name, ()))
    return axes


def _write_above(axes: Axes, x: np.ndarray, intervals: npt.ArrayLike, texts: Sequence[str]) -> None:
    """Texts above intervals (m, 3) at x (m,), upright where they would run into each other; none
    where even so there is no room.
    """
    width = 72 * axes.get_window_extent().width / axes.figure.dpi / np.ptp(axes.get_xlim())
    room = width * 0.6 / len(axes.containers)  # points between neighbors
    size = min(TEXT, 0.9 * room)
    longest = max(map(len, texts), default=0)
    if size < LEGIBLE:
        return
    upright = CHARACTER * size * longest > room
    look: Any = {"textcoords": "offset points", "ha": "center", "va": "bottom", "size": size}
    ends = np.asarray(intervals, dtype=float)[:, 2]
    for at, end, text in zip(x, ends, texts, strict=False):
        axes.annotate(text, (at, end), (0, 4), rotation=90 if upright else 0, **look)
    if upright:
        high = 1.12 + 0.5 * CHARACTER * size * longest / 72
        axes.set_ylim(top=max(axes.get_ylim()[1], high))


@drawing
def basin_volume(
    alpha: npt.ArrayLike,
    shares: Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    scale: float,
    title: str = "",
) -> Axes:
    """Share of random starts of a scale that collapse, at every alpha (m,), for several ways to
    descend, side by side.

    shares: name -> (m, 3), the share and both ends of its confidence interval.
    """
    order = np.argsort(np.asarray(alpha, dtype=float))
    with drawn_on(ax, 2.4 + 0.15 * len(shares)) as axes:
        handles = []
        places = _side_by_side(len(shares), order.size)
        looks = zip(places, cycle(PALETTE), cycle(MARKERS))
        for (name, intervals), (x, color, marker) in zip(shares.items(), looks, strict=False):
            ordered = np.asarray(intervals, dtype=float)[order]
            look: Any = {"color": color, "marker": marker, "linestyle": ""}
            handles.append(_share_bars(axes, x, ordered, name, **look))
        _name_groups(axes, np.asarray(alpha, dtype=float)[order])
        axes.set(ylim=(-0.04, 1.04), xlabel=ALPHA)
        axes.set_ylabel(f"share of starts of scale {scale:g}\nthat collapse")
        legend(axes, handles, title)
    return axes


@drawing
def trap(
    alpha: npt.ArrayLike,
    shares: Mapping[str, npt.ArrayLike],
    radius: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    title: str = "",
) -> Axes:
    """Share of random starts that collapse against alpha (m,), and the radius in which collapse is
    provably lowest (m,).

    shares: name -> (m, 3), the share and both ends of its confidence interval. The radius is on an
    axis of its own, dashed; axes that are returned carry the shares.
    """
    a, certified = np.asarray(alpha, dtype=float), np.asarray(radius, dtype=float)
    order = np.argsort(a)
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        logarithmic(axes.xaxis, a)
        handles: list[Any] = []
        looks = zip(shares.items(), cycle(PALETTE), cycle(MARKERS))
        for i, ((name, intervals), color, marker) in enumerate(looks):
            ordered = np.asarray(intervals, dtype=float)[order]
            # Aside, for shares of several scales are often the same: none or all.
            x = a[order] * 10.0 ** (ASIDE * (i - (len(shares) - 1) / 2))
            look: Any = {"color": color, "marker": marker, "zorder": 3}
            look |= {"markersize": 3 * nested(i, len(shares))}
            handles.append(_share_bars(axes, x, ordered, name, **look))
        axes.set(ylim=(-0.04, 1.04), xlabel=ALPHA, ylabel="share of starts that collapse")
        right = axes.twinx()
        alone = "_" if a.size == 1 else None
        line = right.plot(a[order], certified[order], marker=alone, **DASHED)
        line[0].set_label("certified radius, right")
        handles += line if finite(certified).size else []
        logarithmic(right.yaxis, certified)
        right.set_ylabel("row norm of W (data units)")
        legend(axes, handles, title)
    return axes


def _share_bars(
    axes: Axes, x: np.ndarray, intervals: npt.ArrayLike, name: str, **look: Any
) -> Line2D:
    """Draws shares at x (m,) as dots with bars to both ends of their intervals (m, 3); returns the
    handle for a legend. look: of the dots.
    """
    share, low, high = np.asarray(intervals, dtype=float).T
    dot: Any = {"marker": "o", "markersize": 3} | look
    bars = [share - low, high - share]
    axes.errorbar(x, share, bars, elinewidth=0.8, capsize=dot["markersize"] / 2, **dot)
    return Line2D([], [], label=name, **dot)


def _side_by_side(number: int, groups: int) -> np.ndarray:
    """Places (number, groups) of a number of bars that stand side by side at every whole number."""
    return np.arange(groups) + side_by_side(number)[:, None]


def _name_groups(axes: Axes, values: np.ndarray) -> None:
    """A tick with its value at every group."""
    axes.set_xticks(np.arange(values.size), [f"{v:g}" for v in values])
    axes.set_xlim(-0.5, values.size - 0.5)
