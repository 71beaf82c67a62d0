"""Which figures of a page does its reader turn and zoom into? Surfaces and spectra.

Each is made of a dict of plain numbers that a study keeps, and is a plotly figure. Titles are the
page's, and so are colors of text and lines, which change in the dark.

>>> numbers = {"eigenvalues": [-2.0, 0.0, 3.0], "negative": 1, "flat": 1, "title": "a saddle"}
>>> [trace.name for trace in spectrum(numbers).data]
['1 negative', '1 flat', '1 positive']
"""

import html
import json
import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from vaesurface.marks import DEGENERATE, KINDS, MINIMUM, SADDLE, UNIT
from vaesurface.report import camera
from vaesurface.report.digits import plain

__all__ = ["cap", "cut", "drawn", "spectrum", "surface"]

LOOK: dict[str, Any] = {
    "template": "none",
    "paper_bgcolor": "rgba(0,0,0,0)",
    "plot_bgcolor": "rgba(0,0,0,0)",
    "font": {"size": 13},
    "modebar": {"bgcolor": "rgba(0,0,0,0)"},
    "dragmode": False,  # in the plane: fingers that move over it move the page
}
DIGITS = 6  # of heights: as many as one sees
STORY = 4.0  # heights shown, in those of the highest mark
LEAST = 1.2  # the same at least: every mark stands below the cut
SHARE = 0.35  # of the plane that is shown at least
LABEL = (36, 30)  # pixels that a label is above its mark; each further one is higher
# Of plotly's symbols, as text, with its size; plotly's own cross is an emoji that many fonts lack.
GLYPHS = {"circle": ("●", 20), "diamond": ("◆", 20), "square": ("■", 18), "x": ("×", 34)}
EIGENVALUE = "number %{x}<br>eigenvalue %{customdata:.4g}<extra></extra>"


def drawn(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """What the page's script needs to draw a figure: data and layout.

    Raises ValueError, TypeError or LookupError where it lacks its numbers.
    """
    makers: dict[str, Any] = {"surface": surface, "spectrum": spectrum}
    figure = makers[numbers["kind"]](numbers).update_layout(LOOK)
    return json.loads(figure.to_json())


def surface(numbers: Mapping[str, Any]) -> Any:
    """The energy over a plane as a surface that can be turned: a plotly figure.

    numbers: x (mx,), y (my,), values (my, mx) above the best energy, cap (values above may be
    cut), marks: dicts with x, y, value, label and kind; quantity. The camera sees the marks.
    """
    from plotly import graph_objects as go  # heavy: for pages that have such figures only

    _require_rows(numbers["values"], numbers["y"], numbers["x"])
    x, y = ([float(value) for value in numbers[axis]] for axis in "xy")
    heights = [_reals(row) for row in numbers["values"]]
    highest = cap(numbers)
    figure = go.Figure()
    figure.add_surface(
        x=x,
        y=y,
        z=heights,
        cmin=0,
        cmax=highest,
        colorscale="Viridis",
        showscale=False,
        hovertemplate="%{x:.3g}, %{y:.3g}<br>height %{z:.4g}<extra></extra>",
        contours_z={"show": True, "color": "rgba(0,0,0,0.25)", "width": 1},
    )
    marks = numbers["marks"]
    width, depth = camera.sides(x, y)
    grid = np.array(heights, float)
    places = [(float(m["x"]), float(m["y"]), float(m["value"])) for m in marks]
    font = {"font": {"size": 12}}
    side = {"title": {"text": "distance"} | font, "nticks": 5}
    scene = {
        "xaxis": side,
        "yaxis": side,
        "zaxis": {
            "title": {"text": f"energy, cut at {at}" if (at := cut(numbers)) else "energy"} | font,
            "range": [0, highest],
            "nticks": 5,
        },
        "aspectmode": "manual",
        "aspectratio": {"x": width, "y": depth, "z": camera.HEIGHT},
        "camera": {
            "eye": camera.eye(x, y, grid, highest, places),
            "center": {"x": 0, "y": 0, "z": -0.2},
        },
        "annotations": [part for i, mark in enumerate(marks) for part in _marked(mark, i)],
        "dragmode": "turntable",
    }
    return figure.update_layout(
        scene=scene, margin={"l": 0, "r": 0, "t": 36, "b": 0}, showlegend=False
    )


def cap(numbers: Mapping[str, Any]) -> float:
    """The height at which a surface is cut, so that far corners do not flatten its marks."""
    given = float(numbers["cap"])
    top = max((float(mark["value"]) for mark in numbers["marks"]), default=0.0)
    if not 0 < top < math.inf:
        return given
    heights = np.array([_reals(row) for row in numbers["values"]], float)
    wide = float(np.nanquantile(heights, SHARE))
    return max(LEAST * top, min(given, max(STORY * top, wide)))


def cut(numbers: Mapping[str, Any]) -> str:
    """That height to two digits; "" where nothing is above it."""
    highest = cap(numbers)
    top = max(v for row in numbers["values"] for v in _reals(row) if v is not None)
    return plain(float(f"{highest:.2g}")) if top > highest else ""


def _marked(mark: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """A point and its name above it, over the surface: half of a mark within it would be hidden."""
    look = KINDS[mark["kind"]]
    place = {axis: mark[key] for axis, key in zip("xyz", ("x", "y", "value"), strict=True)}
    glyph, size = GLYPHS[look.symbol]
    first, further = LABEL
    font = {"color": look.color, "size": size}
    sign = {"text": f"<b>{glyph}</b>", "showarrow": False, "font": font}
    name = {
        "text": _text(mark["label"]),
        "ax": 0,
        "ay": -first - further * number,
        "arrowhead": 0,
        "arrowwidth": 1,
        "standoff": 7,
    }
    return [place | name, place | sign]


def spectrum(numbers: Mapping[str, Any]) -> Any:
    """All Hessian eigenvalues, ascending, on axes that show both signs and many decades: a plotly
    figure.

    numbers: eigenvalues (p,), negative and flat (numbers of them).
    """
    from plotly import graph_objects as go  # heavy: for pages that have such figures only

    values, negative, flat = (numbers[key] for key in ("eigenvalues", "negative", "flat"))
    if not 0 <= negative <= negative + flat <= len(values):
        raise ValueError(f"{negative} negative and {flat} flat of {len(values)} eigenvalues")
    curved = [abs(v) for v in [*values[:negative], *values[negative + flat :]]]
    unit = 10 ** math.floor(math.log10(min(curved))) if curved else 1.0
    parts = (
        ("negative", 0, negative, SADDLE),
        ("flat", negative, negative + flat, DEGENERATE),
        ("positive", negative + flat, len(values), MINIMUM),
    )
    figure = go.Figure()
    for name, start, stop, kind in parts:
        part = values[start:stop]
        figure.add_scatter(
            x=list(range(start + 1, stop + 1)),
            y=[0.0 if name == "flat" else _place(v, unit) for v in part],
            customdata=part,
            mode="markers",
            name=f"{stop - start} {name}",
            marker={"color": KINDS[kind].color, "symbol": KINDS[kind].symbol, "size": 7},
            hovertemplate=EIGENVALUE,
        )
    ticks = _ticks(values[:negative], values[negative + flat :], unit)
    figure.update_yaxes(
        title={"text": f"eigenvalue<br>({UNIT} / distance²)", "font": {"size": 12}},
        tickvals=[_place(v, unit) for v in ticks],
        ticktext=list(map(_power, ticks)),
        automargin=True,
    )
    wanted = len(values) / 8
    step = next(s * 10**power for power in count() for s in (1, 2, 5) if s * 10**power >= wanted)
    figure.update_xaxes(
        title={"text": "number, from the lowest", "font": {"size": 12}}, tick0=0, dtick=step
    )
    return figure.update_layout(
        margin={"l": 60, "r": 12, "t": 44, "b": 48},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )


def _ticks(negative: Sequence[float], positive: Sequence[float], unit: float) -> list[float]:
    """Powers of ten on both sides of zero as far as there are eigenvalues: at most five a side."""
    ticks = [0.0]
    for sign, part in ((-1, negative), (1, positive)):
        decades = math.floor(math.log10(max(map(abs, part)) / unit)) if part else -1
        every = max(1, math.ceil((decades + 1) / 5))
        least = -1 if every == 1 else 0  # where there are many, the first would stand on zero
        ticks += [sign * unit * 10.0**power for power in range(decades, least, -every)]
    return sorted(ticks)


def _power(value: float) -> str:
    """A power of ten, or zero, as an axis has it."""
    if value == 0 or 1e-3 <= abs(value) <= 1e4:
        return f"{value:g}".replace("-", "−")
    sign = "−" if value < 0 else ""
    return f"{sign}10<sup>{round(math.log10(abs(value)))}</sup>".replace("-", "−")


def _text(value: Any) -> str:
    """A value as text to plotly, which takes some of HTML for markup, and links for links."""
    return html.escape(str(value), quote=False)


def _reals(values: Sequence[Any]) -> list[float | None]:
    """Numbers, None where there is none; what is no number would be drawn as text."""
    return [None if value is None else float(f"{float(value):.{DIGITS}g}") for value in values]


def _place(value: float, unit: float) -> float:
    """A value on an axis that is linear up to a unit and logarithmic beyond, on both sides."""
    return math.copysign(math.log10(1 + abs(value) / unit), value)


def _require_rows(rows: Any, y: Sequence[Any], x: Sequence[Any]) -> None:
    """Raise ValueError unless there is a row for every y, and in it a value for every x."""
    lengths = [len(row) for row in rows]
    if lengths != [len(x)] * len(y):
        raise ValueError(f"{len(y)} rows of {len(x)} values have lengths {lengths}")
