"""What does a result look like, at the width of one column?

Every function takes data and, optionally, axes, and returns the axes; none computes an energy. Energies are drawn above the
best one, in the paper's units (twice nats per datum); distances are Euclidean, over all parameters. Axes that a function
makes have the look of `style`; axes of yours keep the look you gave them.

>>> ax = spectrum([-2.0, 0.0, 1.0, 3.0], inertia=(1, 1, 2))
>>> ax.get_title()
'index 1, 1 flat, 2 positive'
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    import xarray as xr

COLUMN = 3.4  # inches
COLORS = "viridis"  # perceptually uniform, safe for the colour-blind
ENERGY = "energy above the best\n(2 × nats / datum)"
EMPTY = {"facecolor": "0.95", "edgecolor": "0.6", "hatch": "/////"}  # where nothing was computed
# What `stationary.Kind` calls a point, its marker and its color (Okabe & Ito's palette).
KINDS = {
    0: ("not stationary", "D", "0.6"),
    1: ("minimum", "o", "#0072B2"),
    2: ("saddle", "X", "#D55E00"),
    3: ("maximum", "^", "0.1"),
    4: ("degenerate", "s", "#CC79A7"),
}


class Mark(NamedTuple):
    """A point to draw on a slice.

    x: distance along the segment, or the plane's first coordinate; y: the plane's second coordinate, or on a segment the
    point's energy (NaN: the line's there); kind: a `stationary.Kind` or its code; residual: distance from the slice.
    """

    x: float
    y: float
    label: str
    kind: int
    residual: float = 0.0


def style() -> AbstractContextManager[None]:
    """The look of a paper's single column, as a context: use it around your own figures, and around `savefig`."""
    look = {
        "figure.figsize": (COLUMN, 2.5),
        "figure.dpi": 150,
        "savefig.dpi": 300,
        "figure.constrained_layout.use": True,
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.labelsize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.0,
        "hatch.linewidth": 0.4,
        "pdf.fonttype": 42,  # text stays text, as journals ask
    }
    return mpl.rc_context(look)


def phase_diagram(ds: xr.Dataset, ax: Axes | None = None, *, note: str = "") -> Axes:
    """Share of runs that ended collapsed, one cell per decoder perturbation and initialization scale.

    ds: dims alpha, scale and seed with numeric coordinates; variables theory_collapsed, kind (codes of `stationary.Kind`)
    and, where some runs are missing, computed; attributes optimizer and data go into the title, note into the caption. A
    run that is not stationary counts as computed and not as collapsed. Raises ValueError for other dims.
    """
    dims = ("scale", "alpha", "seed")
    names = ["kind", "theory_collapsed", *(["computed"] if "computed" in ds else [])]
    for name in names:
        if set(ds[name].dims) != set(dims):
            raise ValueError(f"expected {name} with dims {dims}, got {ds[name].dims}; select or rename dims")
    ds = ds.sortby(["alpha", "scale"])
    kind, collapsed, *rest = (ds[name].transpose(*dims).values.astype(float) for name in names)
    computed = np.isfinite(kind) & np.isfinite(collapsed) & (rest[0] == 1 if rest else True)
    runs, lost = computed.sum(axis=-1), (computed & (kind == 0)).sum(axis=-1)
    ended = (computed & (collapsed == 1) & (kind != 0)).sum(axis=-1)
    rows, columns = runs.shape
    share = np.ma.masked_where(runs == 0, ended / np.maximum(runs, 1))

    said = ["c/m: c of m runs ended collapsed", "ns: did not end stationary" * bool(lost.any())]
    said += ["hatched: not computed" * bool((runs == 0).any()), note]
    caption = textwrap.fill("; ".join(filter(None, said)), 64)
    with _canvas(ax, 1.75 + 0.26 * rows) as axes:
        mesh = axes.pcolormesh(
            range(columns), range(rows), share, cmap=COLORS, vmin=0, vmax=1, ec="w", lw=0.5
        )
        axes.patch.set(**EMPTY)
        bar = _colorbar(axes, mesh, "probability of collapse", [0, 0.25, 0.5, 0.75, 1])
        place = {"xycoords": bar.ax.xaxis.label, "textcoords": "offset points", "ha": "center", "va": "top"}
        bar.ax.annotate(caption, (0.5, 0), (0, -3), size="small", color="0.3", **place)

        font, width = (
            float(mpl.rcParams["font.size"]),
            72 * axes.get_window_extent().width / axes.figure.dpi / columns,
        )
        values = [f"{v:g}" for v in ds["alpha"].values]
        turned = 90 if 0.6 * font * max(map(len, values)) > width else 0
        axes.set_xticks(range(columns), values, rotation=turned)
        axes.set_yticks(range(rows), [f"{v:g}" for v in ds["scale"].values])
        axes.tick_params(length=0)
        axes.set(xlabel="decoder perturbation strength α (data units)", ylabel="initialization scale")
        axes.set_title("\n".join(str(ds.attrs[k]) for k in ("optimizer", "data") if ds.attrs.get(k)))
        size = min(font - 1, width / (0.62 * len(f"{runs.max()}/{runs.max()}")))
        for i, j in zip(*np.nonzero(runs)):
            text = f"{ended[i, j]}/{runs[i, j]}" + f"\n{lost[i, j]} ns" * bool(lost[i, j])
            color = _readable(mesh.cmap(mesh.norm(share[i, j])))
            axes.text(j, i, text, ha="center", va="center", size=size, color=color, linespacing=1.0)
    return axes


def segment(
    line: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    best: float | None = None,
    scale: str = "linear",
) -> Axes:
    """Energy along a `landscape.Segment`; dotted lines are its two ends.

    A mark without a residual is a point of the curve, however narrow its basin. best: the energy to measure from, by
    default the lowest shown. scale: "linear", which cuts the margins at 1.5 times what is between the ends, or "symlog",
    which shows all and resolves basins. Raises ValueError for another scale.
    """
    if scale not in ("linear", "symlog"):
        raise ValueError(f"expected scale 'linear' or 'symlog', got {scale!r}; choose one of them")
    x, y, length = (np.asarray(v, dtype=float) for v in line)
    finite = np.isfinite(y)
    marks = [m._replace(y=np.interp(m.x, x[finite], y[finite])) if np.isnan(m.y) else m for m in marks]
    exact = np.array([(m.x, m.y) for m in marks if m.residual == 0]).reshape(-1, 2)
    x, y = np.concatenate([[x, y], exact.T], axis=1)[:, np.argsort([*x, *exact[:, 0]], kind="stable")]
    best = _lowest([*y, *(m.y for m in marks)]) if best is None else best
    y, marks = np.where(np.isfinite(y), y - best, np.nan), [m._replace(y=m.y - best) for m in marks]
    top = max([*y[np.isfinite(y) & (x >= 0) & (x <= length)], *(m.y for m in marks)], default=0.0) or 1.0
    highest = max([top, *y[np.isfinite(y)]])

    with _canvas(ax, 2.4) as axes:
        for end in (0.0, float(length)):
            axes.axvline(end, color="0.6", lw=0.6, ls=":", zorder=1)
        axes.plot(x, y, color="0.15", zorder=2)
        axes.set(xlabel="distance along the segment (parameter space)", ylabel=ENERGY, xlim=(x[0], x[-1]))
        if scale == "linear":
            highest = min(highest, 1.5 * top)
            axes.set_ylim(-0.07 * highest, 1.1 * highest)
        else:
            threshold = 10.0 ** (math.floor(math.log10(top)) - 2)
            axes.set_yscale("symlog", linthresh=threshold, linscale=0.5)
            axes.set_ylim(-0.5 * threshold, 2 * highest)
        _draw(axes, marks, "line", np.stack([x, y], axis=1))
    return axes


def plane(
    plane: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    best: float | None = None,
    xlabel: str = "distance along the line of the first two points",
    ylabel: str = "distance from that line",
) -> Axes:
    """Energy over a `landscape.Plane`: filled contours up to the highest energy between its three points (white crosses).

    best: the energy to measure from, by default the lowest on the grid, which the exact minimum may undercut. A mark with
    a residual lies off the plane: it is hollow, drawn at its foot, with its distance in the label.
    """
    x, y, energy, points = (
        np.asarray(v, dtype=float) for v in (plane.x, plane.y, plane.energy, plane.points)
    )
    height = np.ma.masked_invalid(energy) - (_lowest(energy) if best is None else best)
    limits = [
        [min(v[0], *at), max(v[-1], *at)]
        for v, at in ((x, [m.x for m in marks] + [x[0]]), (y, [m.y for m in marks] + [y[0]]))
    ]

    with _canvas(ax, 1.5 + 2.7 * np.clip(np.ptp(limits[1]) / np.ptp(limits[0]), 0.4, 1.5)) as axes:
        axes.patch.set(**EMPTY)
        if height.count():
            levels = _levels(x, y, height, points)
            norm = BoundaryNorm(levels, mpl.colormaps[COLORS].N, extend="max")
            filled = axes.contourf(x, y, height, levels, cmap=COLORS, norm=norm, extend="max")
            axes.contour(x, y, height, levels[1:], colors="k", linewidths=0.25, alpha=0.5)
            _colorbar(axes, filled, ENERGY.replace("\n", " "), levels[::2])
        axes.plot(*points.T, "+", color="w", ms=5, mew=0.8)
        axes.set(xlabel=xlabel, ylabel=ylabel, xlim=limits[0], ylim=limits[1], aspect="equal")
        _draw(axes, marks, "plane", np.empty((0, 2)))
    return axes


def spectrum(
    eigenvalues: npt.ArrayLike, ax: Axes | None = None, *, inertia: Sequence[Any], title: str = ""
) -> Axes:
    """Histogram of all Hessian eigenvalues, five bins a decade on both sides of zero, and a tick for each eigenvalue.

    inertia: numbers of negative, flat and positive eigenvalues; the flat ones share the bar at zero. Raises ValueError where
    these numbers do not add up to that of the eigenvalues, or an eigenvalue is not finite.
    """
    values = np.sort(np.asarray(eigenvalues, dtype=float).ravel())
    negative, flat, positive = counts = tuple(int(v) for v in inertia)
    if sum(counts) != values.size or not np.isfinite(values).all():
        got = f"{counts} and {values.size} eigenvalues, {np.isfinite(values).sum()} of them finite"
        raise ValueError(
            f"expected an inertia that adds up to the finite eigenvalues, got {got}; give all of them"
        )
    parts = below, level, above = np.split(values, [negative, negative + flat])
    sizes = np.log10(np.abs([*below, *above])) if negative + positive else np.zeros(1)
    low, high = math.floor(sizes.min()), math.ceil(sizes.max())
    high = max(high, low + 1)
    edges = np.logspace(low, high, 5 * (high - low) + 1)
    bins = -edges[::-1], 0.6 * edges[0] * np.array([-1.0, 1.0]), edges
    colors = KINDS[2][2], "0.55", KINDS[1][2]
    floor, tallest = 0.7, 1

    with _canvas(ax, 2.2) as axes:
        axes.set_xscale("symlog", linthresh=edges[0], linscale=max(0.3, 0.06 * (high - low)))
        axes.set_yscale("log")
        for part, bounds, color in zip(parts, bins, colors):
            number = np.histogram(np.clip(part, bounds[0], bounds[-1]), bounds)[0]
            tallest = max(tallest, *number)
            axes.bar(
                bounds[:-1],
                np.maximum(number - floor, 0),
                np.diff(bounds),
                floor,
                align="edge",
                color=color,
                ec="w",
                lw=0.2,
            )
            axes.plot(part, np.full(part.size, 0.55), "|", color=color, ms=4, mew=0.4)
        if flat:
            axes.annotate("flat", (0, flat), (0, 2), textcoords="offset points", ha="center", size="small")
        left = -(10.0 ** math.ceil(np.log10(-below[0]))) if negative else -edges[0]
        shown = 10.0 ** np.arange(low + 1, high + 1, math.ceil((high - low) / (3 if negative else 6)))
        axes.set_xticks([*-shown[-shown >= left][::-1], 0, *shown[: shown.size * bool(positive)]])
        axes.set(xlim=(1.5 * left, 1.5 * edges[-1] if positive else edges[0]), ylim=(0.45, 2 * tallest))
        axes.set(xlabel="Hessian eigenvalue (2 × nats / datum / distance²)", ylabel="number of eigenvalues")
        axes.set_title(f"{title}\nindex {negative}, {flat} flat, {positive} positive".strip())
    return axes


@contextmanager
def _canvas(ax: Axes | None, height: float) -> Iterator[Axes]:
    """The axes given, or new ones in the look of `style`."""
    if ax is not None:
        yield ax
        return
    with style():
        yield plt.figure(figsize=(COLUMN, height)).add_subplot()


def _colorbar(axes: Axes, drawn: Any, label: str, ticks: npt.ArrayLike) -> Any:
    """Below the axes: a column has no width to spare."""
    bar = axes.figure.colorbar(
        drawn, ax=axes, location="bottom", aspect=35, label=label, ticks=ticks, format="%.3g"
    )
    bar.outline.set_linewidth(0.6)
    bar.ax.minorticks_off()
    return bar


def _lowest(energies: npt.ArrayLike) -> float:
    finite = np.ma.masked_invalid(energies).compressed()
    return float(finite.min()) if finite.size else 0.0


def _readable(color: Sequence[float]) -> str:
    """Black or white, whichever contrasts more with a color (relative luminance, WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return "black" if np.dot([0.2126, 0.7152, 0.0722], linear) > 0.179 else "white"


def _levels(x: np.ndarray, y: np.ndarray, height: np.ma.MaskedArray, points: np.ndarray) -> np.ndarray:
    """Contour levels up to the highest energy on the triangle's sides: powers of round numbers.

    The power (1 even steps, 2 even steps up a parabola, at most 4) is the one that gives half of the levels to half of the
    area below the highest.
    """
    sides = np.concatenate([np.linspace(a, b, 50) for a, b in zip(points, np.roll(points, 1, axis=0))])
    j, i = (np.abs(grid[:, None] - at).argmin(axis=0) for grid, at in zip((x, y), sides.T))
    top = 1.05 * float(np.ma.filled(height[i, j].max(), 0.0))
    if top <= 0:
        top = float(height.max()) or 1.0
    middle = np.clip(np.ma.median(height[height <= top]) / top, 0.01, 1.0)
    power = int(np.clip(np.round(np.log(middle) / np.log(0.5)), 1, 4))
    return MaxNLocator(14, steps=[1, 2, 2.5, 5, 10]).tick_values(0.0, top ** (1 / power)) ** power


def _draw(axes: Axes, marks: Sequence[Mark], name: str, curve: np.ndarray) -> None:
    """Markers by kind, a legend of them above the axes, and labels."""
    handles = {}
    for m in marks:
        kind, marker, color = KINDS[int(m.kind)]
        if m.residual > 0:
            axes.plot(m.x, m.y, marker, ms=6, mfc="none", mec="w", mew=2.6, zorder=4)
            axes.plot(m.x, m.y, marker, ms=6, mfc="none", mec=color, mew=1.3, zorder=5)
        else:
            axes.plot(m.x, m.y, marker, ms=6.5, mfc=color, mec="w", mew=0.7, zorder=5)
        handles[int(m.kind)] = Line2D(
            [], [], ls="", marker=marker, ms=5.5, mfc=color, mec="w", mew=0.5, label=kind
        )
    shown = [handles[code] for code in sorted(handles)]
    if any(m.residual > 0 for m in marks):
        shown.append(
            Line2D([], [], ls="", marker="o", ms=4.5, mfc="none", mec="0.3", label=f"hollow: off the {name}")
        )
    if shown:
        look: dict[str, Any] = {
            "frameon": False,
            "handletextpad": 0.1,
            "columnspacing": 1.0,
            "borderaxespad": 0.2,
        }
        axes.legend(
            handles=shown, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=min(len(shown), 3), **look
        )
        _annotate(axes, marks, curve)


def _annotate(axes: Axes, marks: Sequence[Mark], curve: np.ndarray) -> None:
    """Labels beside their marks, where they overlap markers, curve, frame and each other least. Lengths in points."""
    axes.get_figure(root=True).draw_without_rendering()  # lays the figure out, so that places in it are final
    point = axes.figure.dpi / 72
    around = lambda at, size: np.concatenate([at - size / 2, at + size / 2], axis=-1)  # noqa: E731
    spots = axes.transData.transform([(m.x, m.y) for m in marks]) / point
    curve = axes.transData.transform(curve[np.isfinite(curve).all(axis=1)]) / point
    taken = np.concatenate([around(spots, 9.0), around(curve, 3.0)])
    frame = axes.bbox.extents[None] / point
    angles = np.pi / 8 * np.arange(16)
    for m, at in zip(marks, spots):
        text = textwrap.fill(f"{m.label} ({m.residual:.2g} off)" if m.residual > 0 else m.label, 20)
        leader = {"arrowstyle": "-", "lw": 0.5, "color": "0.1", "shrinkA": 0, "shrinkB": 3}
        look: dict[str, Any] = {
            "textcoords": "offset points",
            "ha": "center",
            "va": "center",
            "linespacing": 1.0,
        }
        label = axes.annotate(text, (m.x, m.y), (0, 0), size="small", arrowprops=leader, zorder=6, **look)
        label.set(path_effects=[withStroke(linewidth=1.8, foreground="w", alpha=0.85)], in_layout=False)
        size = np.array(label.get_window_extent().size) / point + 2

        offsets = [(size / 2 + r) * [np.cos(a), np.sin(a)] for r in (6, 12, 20, 30) for a in angles]
        boxes = [around(at + offset, size) for offset in offsets]
        costs = [5 * (_overlap(b, taken) - _overlap(b, frame)) + np.hypot(*o) for b, o in zip(boxes, offsets)]
        label.set_position(offsets[np.argmin(costs)])
        taken = np.concatenate([taken, boxes[np.argmin(costs)][None]])


def _overlap(box: np.ndarray, boxes: np.ndarray) -> float:
    """Area that a box (4,) shares with boxes (m, 4), summed; a box is its lower left and its upper right corner."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())
