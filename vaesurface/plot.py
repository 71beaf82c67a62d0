"""What does a result look like, at the width of one column?

Every function takes data and, optionally, axes, and returns the axes; none computes an energy. Energies are
drawn above the best one, in the paper's units (twice nats per datum); distances are Euclidean, over all
parameters. Axes that a function makes have the look of `style`; axes of yours keep theirs.

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
COLORS = "viridis"  # perceptually uniform, safe for the color-blind
UNIT = "2 × nats / datum"
EMPTY = {"facecolor": "0.95", "edgecolor": "0.6", "hatch": "/////"}  # where nothing was computed
HALO = [withStroke(linewidth=2.2, foreground="w")]
# A code of `stationary.Kind` in words, its marker and its color (Okabe & Ito's palette).
KINDS = {
    0: ("not stationary", "D", "0.6"),
    1: ("minimum", "o", "#0072B2"),
    2: ("saddle", "X", "#D55E00"),
    3: ("maximum", "^", "0.1"),
    4: ("degenerate", "s", "#CC79A7"),
}


class Mark(NamedTuple):
    """A point to draw on a slice.

    x: distance along the segment, or first coordinate on the plane; y: the point's energy (NaN: the line's
    there), or second coordinate; kind: a `stationary.Kind` or its code; residual: distance from the slice.
    """

    x: float
    y: float
    label: str
    kind: int
    residual: float = 0.0


def style() -> AbstractContextManager[None]:
    """The look of a paper's column, as a context: for figures of your own, and around `savefig`."""
    look: Any = {
        "figure.figsize": (COLUMN, 2.4),
        "figure.dpi": 150,
        "savefig.dpi": 300,
        "figure.constrained_layout.use": True,
        "font.size": 8,
        "axes.titlesize": 8,
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

    ds: dims alpha, scale and seed with numeric coordinates; variables theory_collapsed, kind (codes of
    `stationary.Kind`) and, where runs are missing, computed; attributes optimizer and data make the title,
    note ends the caption. A run that is not stationary counts as computed and not as collapsed. Raises
    ValueError for other dims.
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

    with _canvas(ax, 1.75 + 0.26 * rows) as axes:
        x, y = np.arange(columns), np.arange(rows)
        mesh = axes.pcolormesh(x, y, share, cmap=COLORS, vmin=0, vmax=1, edgecolors="w", linewidth=0.5)
        axes.patch.set(**EMPTY)
        bar = _colorbar(axes, mesh, "probability of collapse", [0, 0.25, 0.5, 0.75, 1])
        below: Any = {"xycoords": bar.ax.xaxis.label, "textcoords": "offset points", "va": "top"}
        caption = textwrap.fill("; ".join(filter(None, said)), 64)
        bar.ax.annotate(caption, (0.5, 0), (0, -3), ha="center", size="small", color="0.3", **below)

        font = float(mpl.rcParams["font.size"])
        width = 72 * axes.get_window_extent().width / axes.figure.dpi / columns
        values = [f"{v:g}" for v in ds["alpha"].values]
        axes.set_xticks(x, values, rotation=90 if 0.6 * font * max(map(len, values)) > width else 0)
        axes.set_yticks(y, [f"{v:g}" for v in ds["scale"].values])
        axes.tick_params(length=0)
        axes.set(xlabel="decoder perturbation strength α (data units)", ylabel="initialization scale")
        title = [textwrap.fill(str(ds.attrs.get(name, "")), 50) for name in ("optimizer", "data")]
        axes.set_title("\n".join(filter(None, title)))
        size = min(font - 1, width / (0.62 * len(f"{runs.max()}/{runs.max()}")))
        for i, j in np.argwhere(runs):
            text = f"{ended[i, j]}/{runs[i, j]}" + f"\n{lost[i, j]} ns" * bool(lost[i, j])
            color = _readable(mesh.cmap(mesh.norm(share[i, j])))
            axes.text(j, i, text, ha="center", va="center", size=size, color=color, linespacing=1.0)
    return axes


def segment(line: Any, ax: Axes | None = None, *, marks: Sequence[Mark] = (), scale: str = "linear", title: str = "") -> Axes:
    """Energy along a `landscape.Segment`, above the lowest of line and marks; dotted lines are the two ends.

    A mark without a residual is a point of the curve, however narrow its basin. scale: "linear", which cuts
    the margins at 1.5 times the highest between the ends, or "symlog", which cuts nothing and resolves narrow
    basins. Raises ValueError for another scale, or where no energy is finite.
    """
    if scale not in ("linear", "symlog"):
        raise ValueError(f"expected scale 'linear' or 'symlog', got {scale!r}; choose one of them")
    x, y = np.asarray(line.distance, dtype=float), np.asarray(line.energy, dtype=float)
    ends, finite = (0.0, float(line.length)), np.isfinite(y)
    marks = [m._replace(y=np.interp(m.x, x[finite], y[finite])) if np.isnan(m.y) else m for m in marks]
    lowest = _lowest([*y, *(m.y for m in marks)])
    y, marks = np.where(finite, y - lowest, np.nan), [m._replace(y=m.y - lowest) for m in marks]
    exact = np.array([(m.x, m.y) for m in marks if m.residual == 0]).reshape(-1, 2)
    curve = np.concatenate([np.stack([x, y], axis=1), exact])
    curve = curve[np.argsort(curve[:, 0], kind="stable")]
    inside = curve[(curve[:, 0] >= 0) & (curve[:, 0] <= ends[1]), 1]
    top = np.nanmax([*inside, *(m.y for m in marks), 0.0]) or 1.0
    highest = np.nanmax([*y, top])
    xs = [*x, *(m.x for m in marks)]

    with _canvas(ax, 2.4 + 0.2 * bool(title)) as axes:
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
        _draw(axes, marks, "line", curve, title)
    return axes


def plane(
    plane: Any,
    ax: Axes | None = None,
    *,
    marks: Sequence[Mark] = (),
    best: float | None = None,
    xlabel: str = "distance along the line of the first two points",
    ylabel: str = "distance from that line",
    title: str = "",
) -> Axes:
    """Energy over a `landscape.Plane`: filled contours up to the highest between its three points (crosses).

    best: energy of the best point known, from which to measure; the lowest on the grid is a little above it.
    A mark with a residual lies off the plane: it is hollow, at its foot, with its distance in the label.
    Hatched: not finite, or outside the grid. Raises ValueError where no energy is finite.
    """
    x, y, energy = (np.asarray(v, dtype=float) for v in (plane.x, plane.y, plane.energy))
    points = np.asarray(plane.points, dtype=float)
    height = np.ma.masked_invalid(energy) - min(_lowest(energy), np.inf if best is None else best)
    low, high = np.array([x[0], y[0]]), np.array([x[-1], y[-1]])
    for m in marks:
        low, high = np.minimum(low, [m.x, m.y]), np.maximum(high, [m.x, m.y])

    shape = (high - low)[1] / (high - low)[0]
    with _canvas(ax, 1.5 + 0.3 * bool(title) + 2.7 * min(max(shape, 0.4), 1.5)) as axes:
        axes.patch.set(**EMPTY)
        levels = _levels(x, y, height, points)
        norm = BoundaryNorm(levels, mpl.colormaps[COLORS].N, extend="max")
        filled = axes.contourf(x, y, height, levels, cmap=COLORS, norm=norm, extend="max")
        axes.contour(x, y, height, levels[1:], colors="k", linewidths=0.25, alpha=0.5)
        _colorbar(axes, filled, f"energy above the best ({UNIT})", levels[::2])
        axes.plot(*points.T, "+", color="w", markersize=5, markeredgewidth=0.8)
        axes.set(xlabel=xlabel, ylabel=ylabel, aspect="equal")
        axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        _draw(axes, marks, "plane", np.empty((0, 2)), title)
    return axes


def spectrum(eigenvalues: npt.ArrayLike, ax: Axes | None = None, *, inertia: Sequence[Any], title: str = "") -> Axes:
    """Histogram of all Hessian eigenvalues, five bins a decade on both sides of zero, with a tick for each.

    inertia: numbers of negative, flat and positive eigenvalues; the flat ones share the bar at zero. Raises
    ValueError where these are not the eigenvalues' signs, or an eigenvalue is not finite.
    """
    values = np.sort(np.asarray(eigenvalues, dtype=float).ravel())
    negative, flat, positive = (int(v) for v in inertia)
    parts = np.split(values, [negative, negative + flat])
    fits = negative + flat + positive == values.size and np.all(parts[0] < 0) and np.all(parts[2] > 0)
    if not (fits and np.isfinite(values).all()):
        got = f"{(negative, flat, positive)} for {np.isfinite(values).sum()} finite of {values.size} values"
        raise ValueError(f"expected finite eigenvalues and their inertia, got {got}; give all eigenvalues")
    sizes = np.log10(np.abs(np.concatenate(parts[::2]))) if negative + positive else np.zeros(1)
    low = math.floor(sizes.min())
    high = max(math.ceil(sizes.max()), low + 1)
    edges = np.logspace(low, high, 5 * (high - low) + 1)
    bins = -edges[::-1], 0.6 * edges[0] * np.array([-1.0, 1.0]), edges
    colors = KINDS[2][2], "0.55", KINDS[1][2]
    floor, rug = 0.7, 0.55  # on the logarithmic axis of counts: the foot of the bars, and the ticks below it

    with _canvas(ax, 2.2 + 0.15 * title.count("\n")) as axes:
        axes.set_xscale("symlog", linthresh=edges[0], linscale=max(0.3, 0.06 * (high - low)))
        axes.set_yscale("log")
        tallest = 1
        for part, bounds, color in zip(parts, bins, colors, strict=True):
            count = np.histogram(np.clip(part, bounds[0], bounds[-1]), bounds)[0]
            tallest = max(tallest, *count)
            axes.stairs(np.maximum(count, floor), bounds, baseline=floor, fill=True, color=color, linewidth=0)
            axes.plot(part, np.full(part.size, rug), "|", color=color, markersize=4, markeredgewidth=0.4)
        if flat:
            axes.annotate("flat", (0, flat), (0, 2), textcoords="offset points", ha="center", size="small")
        left = -(10.0 ** math.ceil(np.log10(-values[0]))) if negative else -edges[0]
        shown = 10.0 ** np.arange(low + 1, high + 1, math.ceil((high - low) / (3 if negative else 6)))
        axes.set_xticks([*-shown[-shown >= left][::-1], 0, *(shown if positive else [])])
        right = edges[-1] if positive else edges[0]
        axes.set(xlim=(1.5 * left, 1.5 * right), ylim=(0.45, 2 * tallest))
        axes.set(xlabel=f"Hessian eigenvalue ({UNIT} / distance²)", ylabel="number of eigenvalues")
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
    look: Any = {"location": "bottom", "aspect": 35, "format": "%.3g"}
    bar = axes.figure.colorbar(drawn, ax=axes, label=label, ticks=ticks, **look)
    bar.ax.minorticks_off()
    return bar


def _lowest(energies: npt.ArrayLike) -> float:
    finite = np.ma.masked_invalid(energies).compressed()
    if not finite.size:
        raise ValueError("expected finite energies, got none on the slice; lay it through other points")
    return float(finite.min())


def _readable(color: Any) -> str:
    """Black or white, whichever contrasts more with a color (relative luminance, WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return "black" if np.dot([0.2126, 0.7152, 0.0722], linear) > 0.179 else "white"


def _levels(x: np.ndarray, y: np.ndarray, height: np.ma.MaskedArray, points: np.ndarray) -> np.ndarray:
    """Contour levels up to the highest energy on the triangle's sides: powers of round numbers.

    The power, from 1 (even steps) over 2 (even steps up a parabola) to 4, is the one that gives half of the
    area below the highest half of the levels.
    """
    sides = np.linspace(points, np.roll(points, 1, axis=0), 50).reshape(-1, 2)
    i, j = (np.abs(grid[:, None] - at).argmin(axis=0) for grid, at in ((y, sides[:, 1]), (x, sides[:, 0])))
    top = 1.05 * float(np.ma.filled(height[i, j].max(), 0.0))
    if top <= 0:
        top = abs(float(height.max())) or 1.0
    half = np.clip(np.ma.median(height[height <= top]) / top, 0.01, 0.99)
    power = int(np.clip(np.round(np.log(half) / np.log(0.5)), 1, 4))
    even = MaxNLocator(14, steps=[1, 2, 2.5, 5, 10]).tick_values(0.0, top ** (1 / power))
    return np.asarray(even) ** power


def _draw(axes: Axes, marks: Sequence[Mark], name: str, curve: np.ndarray, title: str) -> None:
    """Markers by kind, their labels, and a legend above the axes, where it hides nothing."""
    if not marks:
        axes.set_title(title)
        return
    look: Any = {"linestyle": "", "markersize": 6, "markeredgewidth": 1.2, "path_effects": HALO}
    for m in marks:
        _, marker, color = KINDS[int(m.kind)]
        face = "none" if m.residual > 0 else color
        axes.plot(m.x, m.y, marker=marker, mec=color, mfc=face, zorder=5, clip_on=False, **look)
    entries: list[Any] = [(*KINDS[code], "full") for code in sorted({int(m.kind) for m in marks})]
    if any(m.residual > 0 for m in marks):
        entries.append((f"hollow: off the {name}", "o", "0.3", "none"))
    handles = [Line2D([], [], label=e[0], marker=e[1], color=e[2], fillstyle=e[3], **look) for e in entries]
    columns = len(handles) if len(handles) <= 3 else (len(handles) + 1) // 2
    axes.legend(
        handles=handles, ncols=columns, loc="lower center", bbox_to_anchor=(0.5, 1.01), frameon=False, title=title or None,
        handletextpad=0.1, columnspacing=1.0, borderaxespad=0.2,
    )  # fmt: skip
    _annotate(axes, marks, curve)


def _annotate(axes: Axes, marks: Sequence[Mark], curve: np.ndarray) -> None:
    """Labels beside their marks, where they hide least of marks, curve and each other. Lengths in points."""
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()  # lays the figure out, so that places in it are final
    point = figure.dpi / 72
    around = lambda at, size: np.concatenate([at - size / 2, at + size / 2], axis=-1)  # noqa: E731
    spots = axes.transData.transform([(m.x, m.y) for m in marks]) / point
    curve = axes.transData.transform(curve[np.isfinite(curve[:, 1])]) / point
    if len(curve):  # so densely that no label slips in between
        curve = np.concatenate(np.linspace(curve[:-1], curve[1:], 10))
    taken = np.concatenate([around(spots, 11.0), around(curve, 2.0)])
    frame = np.array([axes.bbox.extents]) / point
    angles = np.pi / 12 * np.arange(24)
    for m, at in zip(marks, spots, strict=True):
        text = textwrap.fill(m.label, 20) + (f"\n({m.residual:.2g} off)" if m.residual > 0 else "")
        leader = {"arrowstyle": "-", "linewidth": 0.5, "color": "0.1", "shrinkA": 0, "shrinkB": 3}
        look: Any = {"ha": "center", "va": "center", "linespacing": 1.0, "path_effects": HALO}
        look |= {"textcoords": "offset points", "size": "small", "zorder": 6, "in_layout": False}
        label = axes.annotate(text, (m.x, m.y), (0, 0), arrowprops=leader, **look)
        size = np.array(label.get_window_extent().size) / point + 3

        offsets = [(size / 2 + r) * [np.cos(a), np.sin(a)] for r in (6, 10, 15, 22, 30, 40, 55) for a in angles]
        boxes = [around(at + offset, size) for offset in offsets]
        costs = [5 * (_overlap(box, taken) - _overlap(box, frame)) for box in boxes]
        choice = np.argmin(np.array(costs) + np.linalg.norm(offsets, axis=1))
        label.set_position(offsets[choice])
        taken = np.concatenate([taken, boxes[choice][None]])


def _overlap(box: np.ndarray, boxes: np.ndarray) -> float:
    """Area that a box (4,) shares with boxes (m, 4), summed; a box is two opposite corners."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())
