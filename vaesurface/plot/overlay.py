"""What lies on a slice: which stationary points and which ways, called what, and how far off it?

>>> end = Mark(x=2.0, y=0.5, label="best found", kind=1, residual=0.25)
>>> words(end)
'best found\\n(0.25 off)'
"""

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from vaesurface.marks import KINDS
from vaesurface.plot.canvas import HALO, legend

__all__ = ["Mark", "Track", "draw_track", "overlay", "words"]

SIZE = 6.0  # of markers, points
RING = 0.7  # by which a marker is larger for each that lies on it
MARKER: Any = {"linestyle": "", "markeredgewidth": 1.2, "path_effects": HALO}
LEADER = {"arrowstyle": "-", "linewidth": 0.5, "color": "0.1", "shrinkA": 0, "shrinkB": 3}
LABEL: Any = {
    "arrowprops": LEADER,
    "textcoords": "offset points",
    "ha": "center",
    "va": "center",
    "linespacing": 1.2,
    "size": "small",
    "zorder": 6,
    "path_effects": HALO,
    "in_layout": False,
}
# Where a label may stand: gaps between it and its mark in points, and directions.
GAPS = np.array([6.0, 10.0, 15.0, 22.0, 30.0, 40.0, 55.0])
ANGLES = np.pi / 12 * np.arange(24)
DIRECTIONS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
PRICE = 5.0  # of a square point that a label hides, in points of distance from its mark


class Mark(NamedTuple):
    """A point to draw on a slice.

    x: distance along the segment, or first coordinate on the plane.
    y: the point's energy (NaN: the line's there), or second coordinate.
    label: its name.
    kind: a `stationary.Kind` or its code.
    residual: distance from the slice.
    """

    x: float
    y: float
    label: str
    kind: int
    residual: float = 0.0


class Track(NamedTuple):
    """A way to draw on a plane: a run's, or the images of a minimum-energy path.

    points: (m, 2), coordinates of the feet.
    label: its name.
    residual: distance from the plane, of its end or, where every point counts, of the farthest.
    images: whether every point counts (connected dots) or only start and end do.
    """

    points: npt.ArrayLike
    label: str = "trajectory"
    residual: float = 0.0
    images: bool = False


def overlay(
    axes: Axes,
    marks: Sequence[Mark],
    curve: np.ndarray,
    title: str,
    surface: str = "slice",
    more: Sequence[Any] = (),
) -> None:
    """Markers by kind, their labels clear of a curve (m, 2), and a legend above the axes.

    The legend has the kinds and more handles; surface: what hollow marks are off.
    """
    place: Any = {"zorder": 5, "clip_on": False}
    handles = []
    sized = MARKER | {"markersize": SIZE}
    for look in (KINDS[code] for code in sorted({int(mark.kind) for mark in marks})):
        handles.append(
            Line2D([], [], label=look.name, marker=look.marker, color=look.color, **sized)
        )
    if any(mark.residual > 0 for mark in marks):
        hollow: Any = {"marker": "o", "color": "0.3", "fillstyle": "none"}
        handles.append(Line2D([], [], label=f"hollow: off the {surface}", **hollow, **sized))
    legend(axes, [*handles, *more], title)
    for mark, size in zip(marks, _sizes(axes, marks), strict=True):
        look = KINDS[int(mark.kind)]
        face = "none" if mark.residual > 0 else look.color
        kind: Any = {"marker": look.marker, "mec": look.color, "mfc": face, "markersize": size}
        axes.plot(mark.x, mark.y, **kind, **place, **MARKER)
    if marks:
        _annotate(axes, marks, curve)


def _sizes(axes: Axes, marks: Sequence[Mark]) -> list[float]:
    """Of markers: of those in one place the first are larger, and seen around the others."""
    figure: Any = axes.figure
    figure.draw_without_rendering()
    feet = axes.transData.transform(np.reshape([(mark.x, mark.y) for mark in marks], (-1, 2)))
    near = SIZE / 2 * axes.figure.dpi / 72
    sizes = []
    for i, foot in enumerate(feet):
        after = int((np.linalg.norm(feet[i + 1 :] - foot, axis=1) < near).sum())
        sizes.append(SIZE * (1.0 + RING * min(after, 3)))
    return sizes


def draw_track(axes: Axes, track: Track, color: str) -> list[Any]:
    """Draws a track on a plane; returns its handles for the legend."""
    way = np.asarray(track.points, dtype=float)
    rim = [withStroke(linewidth=2.0, foreground="0.1")]
    line: Any = {"color": color, "linewidth": 1.0, "path_effects": rim}
    dot: Any = {"linestyle": "", "mec": "0.1", "mfc": color, "zorder": 4.5, "clip_on": False}
    axes.plot(*way.T, zorder=4, **line)
    if track.images:
        image: Any = {"marker": "o", "markersize": 3}
        axes.plot(*way.T, markeredgewidth=0.6, **image, **dot)
        off = f", up to {track.residual:.2g} off the plane" * (track.residual > 0)
        label = track.label + off
        return [Line2D([], [], label=label, mec="0.1", mfc=color, **image, **line)]
    dot |= {"markeredgewidth": 0.8}
    start = dot | {"label": "start", "marker": "s", "markersize": 4}
    end = dot | {"label": "end", "marker": "*", "markersize": 8}
    if track.residual > 0:
        end |= {"label": f"end ({track.residual:.2g} off the plane)"}
        end |= {"mfc": "none", "mec": color, "path_effects": rim}
    axes.plot(*way[0], **start)
    axes.plot(*way[-1], **end)
    return [
        Line2D([], [], label=track.label, **line),
        Line2D([], [], **start),
        Line2D([], [], **end),
    ]


def words(mark: Mark) -> str:
    """A mark's label in short lines, and how far off the slice it is."""
    off = f"\n({mark.residual:.2g} off)" if mark.residual > 0 else ""
    return textwrap.fill(mark.label, 20) + off


def _annotate(axes: Axes, marks: Sequence[Mark], curve: np.ndarray) -> None:
    """Labels beside their marks, where they hide least of marks, curve (m, 2) and each other."""
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()  # lays the figure out, so that places in it are final
    point = figure.dpi / 72  # in pixels; all lengths below are in points
    feet = axes.transData.transform([(mark.x, mark.y) for mark in marks]) / point
    curve = axes.transData.transform(curve[np.isfinite(curve[:, 1])]) / point
    if len(curve):  # so densely that no label slips in between
        curve = np.concatenate(np.linspace(curve[:-1], curve[1:], 10))
    taken = np.concatenate([_boxes(feet, 11.0), _boxes(curve, 2.0)])
    frame = np.array([axes.bbox.extents]) / point
    for mark, foot in zip(marks, feet, strict=True):
        text = words(mark)
        if not text:
            continue
        label = axes.annotate(text, (mark.x, mark.y), (0, 0), **LABEL)
        size = np.array(label.get_window_extent().size) / point + 3
        offset = _freest(foot, size, taken, frame)
        label.set_position(tuple(offset))
        taken = np.concatenate([taken, _boxes(foot + offset, size)[None]])


def _freest(foot: np.ndarray, size: np.ndarray, taken: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Offset from a foot (2,) at which a label of a size (2,) hides least, stays in frame (1, 4)
    and near.
    """
    offsets = ((size / 2 + GAPS[:, None, None]) * DIRECTIONS).reshape(-1, 2)
    boxes = _boxes(foot + offsets, size)
    hidden = np.array([_overlap(box, taken) - _overlap(box, frame) for box in boxes])
    return offsets[np.argmin(PRICE * hidden + np.linalg.norm(offsets, axis=1))]


def _boxes(centers: np.ndarray, size: npt.ArrayLike) -> np.ndarray:
    """Boxes of a size (2,) or side around centers (..., 2): two opposite corners each, (..., 4)."""
    half = np.asarray(size) / 2
    return np.concatenate([centers - half, centers + half], axis=-1)


def _overlap(box: np.ndarray, boxes: np.ndarray) -> float:
    """Area that a box (4,) shares with boxes (m, 4), summed."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return float(np.prod(np.maximum(sides, 0.0), axis=1).sum())
