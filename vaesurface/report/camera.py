"""From where does one see the points that a surface is shown for?

A mark is hidden where the surface stands between it and the eye. Of a ring of places around and
above the surface the best shows most marks, then sees them farthest apart.

>>> import numpy as np
>>> x = np.linspace(-1.0, 1.0, 21)
>>> wall = np.where(x > 0.3, 1.0, 0.0) * np.ones((21, 1))  # stands at the right
>>> eye(x, x, wall, 1.0, [(0.0, 0.0, 0.0)])["x"] < 0.3
True
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["HEIGHT", "eye", "sides"]

HEIGHT = 0.6  # of the box around a surface, whose longer side is 1.3
LONGER, SHORTER = 1.3, 0.6
DISTANCE = 2.4  # of the eye
AZIMUTHS = np.radians(np.arange(0.0, 360.0, 15.0))
ELEVATIONS = np.radians([25.0, 35.0, 45.0, 55.0])
STEPS = np.linspace(0.02, 1.0, 120)  # along a line of sight
CLEAR = 0.02  # of the line above the surface, in parts of the box


class _Box(NamedTuple):
    """A surface in the units of the plot: x, y ascending, heights (my, mx), all about 0."""

    x: np.ndarray
    y: np.ndarray
    heights: np.ndarray


def sides(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[float, float]:
    """Of the box: true to distances, unless one side would be too short to see anything."""
    spans = np.array([np.ptp(np.asarray(side, float)) for side in (x, y)])
    lengths = LONGER * spans / max(spans.max(), np.finfo(float).tiny)
    width, depth = np.maximum(lengths, SHORTER)
    return float(width), float(depth)


def eye(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    heights: npt.ArrayLike,
    cap: float,
    marks: Sequence[tuple[float, float, float]],
) -> dict[str, float]:
    """Where plotly's camera stands: x, y, z about the middle of the box.

    x (mx,) and y (my,) ascending, heights (my, mx), drawn up to cap; marks: x, y, height each.
    """
    width, depth = sides(x, y)
    box = _Box(
        _placed(x, x, width),
        _placed(y, y, depth),
        _risen(np.nan_to_num(np.asarray(heights, float), nan=cap), cap),
    )
    points = np.array(
        [
            (_placed(a, x, width), _placed(b, y, depth), _risen(np.asarray(v), cap))
            for a, b, v in marks
        ]
    ).reshape(-1, 3)
    places = [
        DISTANCE * np.array([math.cos(a) * math.cos(e), math.sin(a) * math.cos(e), math.sin(e)])
        for e in ELEVATIONS
        for a in AZIMUTHS
    ]
    best = max(places, key=lambda place: _merit(box, points, place))
    return dict(zip("xyz", (round(float(v), 3) for v in best), strict=True))


def _placed(values: npt.ArrayLike, along: npt.ArrayLike, length: float) -> np.ndarray:
    """Coordinates along a side of the box."""
    side = np.asarray(along, float)
    span = float(np.ptp(side)) or 1.0
    return length * ((np.asarray(values, float) - side.min()) / span - 0.5)


def _risen(heights: np.ndarray, cap: float) -> np.ndarray:
    """Heights in the box."""
    return HEIGHT * (np.clip(heights / cap, 0.0, 1.0) - 0.5)


def _merit(box: _Box, points: np.ndarray, place: np.ndarray) -> tuple[int, float]:
    """How many points are seen from a place, and how far apart, less for a steep look."""
    seen = sum(_clearance(box, point, place) > -CLEAR for point in points)
    steepness = place[2] / DISTANCE
    return seen, _apart(points, place) - 0.3 * abs(steepness - math.sin(math.radians(35)))


def _clearance(box: _Box, point: np.ndarray, place: np.ndarray) -> float:
    """The least height of a line of sight above the surface, as far as it runs over it."""
    sight = point + STEPS[:, None] * (place - point)
    inside = (np.abs(sight[:, 0]) <= box.x[-1]) & (np.abs(sight[:, 1]) <= box.y[-1])
    columns = np.abs(box.x - sight[inside, :1]).argmin(axis=1)
    rows = np.abs(box.y - sight[inside, 1:2]).argmin(axis=1)
    return float(np.min(sight[inside, 2] - box.heights[rows, columns], initial=0.0))


def _apart(points: np.ndarray, place: np.ndarray) -> float:
    """The least distance between two points as they are seen; 0 where there are no two."""
    if len(points) < 2:
        return 0.0
    towards = place / np.linalg.norm(place)
    flat = points - (points @ towards)[:, None] * towards
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=2)
    return float(distances[np.triu_indices(len(points), 1)].min())
