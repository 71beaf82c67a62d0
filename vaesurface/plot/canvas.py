"""What do all figures share: their look, their markers and colors, and labels that hide nothing?"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

COLUMN = 3.4  # inches
COLORS = "viridis"  # perceptually uniform, safe for the color-blind
UNIT = "2 × nats / datum"
EMPTY = {"facecolor": "0.95", "edgecolor": "0.6", "hatch": "/////"}  # where nothing was computed
HALO = [withStroke(linewidth=2.2, foreground="w")]
# Okabe & Ito's palette, for curves.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.35")
# A code of `stationary.Kind` in words, its marker and its color.
KINDS = {
    0: ("not stationary", "D", "0.6"),
    1: ("minimum", "o", "#0072B2"),
    2: ("saddle", "X", "#D55E00"),
    3: ("maximum", "^", "0.1"),
    4: ("degenerate", "s", "#CC79A7"),
}


class Mark(NamedTuple):
    """A point to draw on a slice.

    x: distance along the segment, or first coordinate on the plane; y: the point's energy (NaN: the
    line's there), or second coordinate; kind: a `stationary.Kind` or its code; residual: distance
    from the slice.
    """

    x: float
    y: float
    label: str
    kind: int
    residual: float = 0.0


class Track(NamedTuple):
    """A way through parameter space to draw on a plane: a run's, or the images of a minimum-energy
    path.

    points (m, 2): coordinates of the feet; residual: distance of its end from the plane; images:
    whether every point counts (connected dots) or only start and end do.
    """

    points: npt.ArrayLike
    label: str = "trajectory"
    residual: float = 0.0
    images: bool = False


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


@contextmanager
def drawn_on(ax: Axes | None, height: float) -> Iterator[Axes]:
    """The axes given, or new ones in the look of `style`."""
    if ax is not None:
        yield ax
        return
    with style():
        yield plt.figure(figsize=(COLUMN, height)).add_subplot()


def colorbar(
    axes: Axes, drawn: Any, label: str, ticks: npt.ArrayLike | None = None, form: str = "%.3g"
) -> Any:
    """Below the axes: a column has no width to spare."""
    look: Any = {"location": "bottom", "aspect": 35, "format": form}
    bar = axes.figure.colorbar(drawn, ax=axes, label=label, ticks=ticks, **look)
    bar.ax.minorticks_off()
    return bar


def lowest(energies: npt.ArrayLike) -> float:
    """The lowest finite energy. Raises ValueError where there is none."""
    finite = np.ma.masked_invalid(energies).compressed()
    if not finite.size:
        raise ValueError("expected finite energies, got none; draw other points")
    return float(finite.min())


def readable(color: Any) -> str:
    """Black or white, whichever contrasts more with a color (relative luminance, WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return "black" if np.dot([0.2126, 0.7152, 0.0722], linear) > 0.179 else "white"


def overlay(
    axes: Axes,
    marks: Sequence[Mark],
    curve: np.ndarray,
    title: str,
    surface: str = "slice",
    more: Sequence[Any] = (),
) -> None:
    """Markers by kind, their labels clear of curve (m, 2), and a legend of kinds and more handles
    above the axes.
    """
    look: Any = {"linestyle": "", "markersize": 6, "markeredgewidth": 1.2, "path_effects": HALO}
    for m in marks:
        _, marker, color = KINDS[int(m.kind)]
        face = "none" if m.residual > 0 else color
        axes.plot(m.x, m.y, marker=marker, mec=color, mfc=face, zorder=5, clip_on=False, **look)
    entries: list[Any] = [(*KINDS[code], "full") for code in sorted({int(m.kind) for m in marks})]
    if any(m.residual > 0 for m in marks):
        entries.append((f"hollow: off the {surface}", "o", "0.3", "none"))
    handles = [
        Line2D([], [], label=e[0], marker=e[1], color=e[2], fillstyle=e[3], **look) for e in entries
    ]
    legend(axes, [*handles, *more], title)
    if marks:
        annotate(axes, marks, curve)


def legend(axes: Axes, handles: Sequence[Any], title: str = "") -> None:
    """Above the axes, where it hides nothing, under the title; in as many columns as a column of
    text is wide.
    """
    if not handles:
        axes.set_title(title)
        return
    lengths = [len(str(handle.get_label())) + 6 for handle in handles]

    def width(columns):
        return sum(max(part) for part in np.array_split(lengths, columns))

    fits = [columns for columns in range(1, len(handles) + 1) if width(columns) <= 60]
    axes.legend(
        handles=handles, ncols=max(fits, default=1), loc="lower "
        "center", bbox_to_anchor=(0.5, 1.01), frameon=False,
        title=title or None, handletextpad=0.4, columnspacing=1.0, borderaxespad=0.2,
    )  # fmt: skip


def counted(numbers: npt.ArrayLike) -> tuple[Any, BoundaryNorm, list[int]]:
    """One color for every whole number from 0 to the largest: a map, its norm and ticks for a color
    bar.
    """
    most = max(1, int(np.max(numbers, initial=0)))
    colors = mpl.colormaps[COLORS].resampled(most + 1)
    return (
        colors,
        BoundaryNorm(np.arange(most + 2) - 0.5, most + 1),
        list(range(0, most + 1, -(-(most + 1) // 9))),
    )


def annotate(axes: Axes, marks: Sequence[Mark], curve: np.ndarray) -> None:
    """Labels beside their marks, where they hide least of marks, curve and each other. Lengths in
    points.
    """
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()  # lays the figure out, so that places in it are final
    point = figure.dpi / 72

    def around(at, size):
        return np.concatenate([at - size / 2, at + size / 2], axis=-1)

    spots = axes.transData.transform([(m.x, m.y) for m in marks]) / point
    curve = axes.transData.transform(curve[np.isfinite(curve[:, 1])]) / point
    if len(curve):  # so densely that no label slips in between
        curve = np.concatenate(np.linspace(curve[:-1], curve[1:], 10))
    taken = np.concatenate([around(spots, 11.0), around(curve, 2.0)])
    frame = np.array([axes.bbox.extents]) / point
    angles = np.pi / 12 * np.arange(24)
    for m, at in zip(marks, spots, strict=True):
        text = textwrap.fill(m.label, 20) + (f"\n({m.residual:.2g} off)" if m.residual > 0 else "")
        if not text:
            continue
        leader = {"arrowstyle": "-", "linewidth": 0.5, "color": "0.1", "shrinkA": 0, "shrinkB": 3}
        look: Any = {"ha": "center", "va": "center", "linespacing": 1.0, "path_effects": HALO}
        look |= {"textcoords": "offset points", "size": "small", "zorder": 6, "in_layout": False}
        label = axes.annotate(text, (m.x, m.y), (0, 0), arrowprops=leader, **look)
        size = np.array(label.get_window_extent().size) / point + 3

        offsets = [
            (size / 2 + r) * [np.cos(a), np.sin(a)]
            for r in (6, 10, 15, 22, 30, 40, 55)
            for a in angles
        ]
        boxes = [around(at + offset, size) for offset in offsets]
        costs = [5 * (_overlap(box, taken) - _overlap(box, frame)) for box in boxes]
        choice = np.argmin(np.array(costs) + np.linalg.norm(offsets, axis=1))
        label.set_position(offsets[choice])
        taken = np.concatenate([taken, boxes[choice][None]])


def _overlap(box: np.ndarray, boxes: np.ndarray) -> float:
    """Area that a box (4,) shares with boxes (m, 4), summed; a box is two opposite corners."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())
