"""Which figures of a page does its reader turn, zoom into and open?

Each is made of a dict of plain numbers that a study keeps, and is a plotly figure.

>>> numbers = {"eigenvalues": [-2.0, 0.0, 3.0], "negative": 1, "flat": 1, "title": "a saddle"}
>>> [trace.name for trace in spectrum(numbers).data]
['1 negative', '1 flat', '1 positive']
"""

import html
import json
import math
from collections.abc import Sequence
from typing import Any

from vaesurface.marks import DEGENERATE, KINDS, MINIMUM, SADDLE, UNIT
from vaesurface.refusal import reading

__all__ = ["drawn", "phase", "spectrum", "surface"]

LOOK = {
    "template": "plotly_white",
    "margin": {"l": 70, "r": 20, "t": 60, "b": 60},
    "font": {"size": 13},
}
LIFT = 0.02  # of marks above the surface, which would hide them, in parts of its height
EIGENVALUE = "number %{x}<br>eigenvalue %{customdata:.6g}<extra></extra>"
CELL = "α = %{x}, scale %{y}: %{text} collapsed<extra>click for its runs</extra>"


def drawn(numbers: dict[str, Any]) -> dict[str, Any]:
    """What the page's script needs to draw a figure: data, layout, and cells, None where it has
    none that open.

    Raises ValueError for another kind than "surface", "spectrum" or "phase", and where it lacks its
    numbers.
    """
    makers = {"surface": surface, "spectrum": spectrum, "phase": phase}
    kind = numbers.get("kind")
    if not isinstance(kind, str) or kind not in makers:
        raise ValueError(
            f"expected a kind out of {', '.join(makers)}, got {kind!r}; make the study again"
        )
    with reading(f"the numbers of a {kind}", "make the study again"):
        figure = makers[kind](numbers).update_layout(LOOK)
        names = ("alpha", "scale", "runs")
        cells = {name: numbers[name] for name in names} if kind == "phase" else None
        return json.loads(figure.to_json()) | {"cells": cells}


def surface(numbers: dict[str, Any]) -> Any:
    """The energy over a plane as a surface that can be turned: a plotly figure.

    numbers: x (mx,), y (my,), values (my, mx) above the best energy, cap (values above are cut:
    they would hide the rest), marks: dicts with x, y, value, label and kind; quantity and title.
    """
    from plotly import graph_objects as go  # heavy: for pages that have such figures only

    cap, quantity = numbers["cap"], _text(numbers["quantity"])
    _require_rows("values", numbers["values"], numbers["y"], numbers["x"])
    grid = [_reals(numbers["x"]), _reals(numbers["y"]), *map(_reals, numbers["values"])]
    figure = go.Figure()
    figure.add_surface(
        x=grid[0],
        y=grid[1],
        z=grid[2:],
        cmin=0,
        cmax=cap,
        colorscale="Viridis",
        colorbar={"title": {"text": quantity, "side": "right"}, "len": 0.7},
        opacity=0.95,
        hovertemplate=f"%{{x:.3g}}, %{{y:.3g}}<br>{quantity} %{{z:.5g}}<extra></extra>",
        contours_z={"show": True, "color": "rgba(0,0,0,0.25)", "width": 1},
    )
    for mark in numbers["marks"]:
        look = KINDS[mark["kind"]]
        figure.add_scatter3d(
            x=[mark["x"]],
            y=[mark["y"]],
            z=[mark["value"] + LIFT * cap],
            mode="markers",
            marker={"symbol": look.symbol, "color": look.color, "size": 7},
            name=_text(mark["label"]),
        )
    axes = {
        "xaxis_title": "distance",
        "yaxis_title": "distance",
        "zaxis": {"title": "energy", "range": [0, cap]},
    }
    return figure.update_layout(
        title=_text(numbers["title"]), scene=axes, height=560, legend={"orientation": "h"}
    )


def spectrum(numbers: dict[str, Any]) -> Any:
    """All Hessian eigenvalues, ascending, on axes that show both signs and many decades: a plotly
    figure.

    numbers: eigenvalues (p,), negative and flat (numbers of them), title.
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
            marker={"color": KINDS[kind].color, "size": 5},
            hovertemplate=EIGENVALUE,
        )
    number = math.ceil(math.log10(max(curved, default=1.0) / unit))
    decades = [unit * 10**power for power in range(1, 1 + number)]
    ticks = [*(-v for v in decades[::-1] if negative), 0.0, *decades]
    figure.update_yaxes(
        title=f"eigenvalue ({UNIT} / distance²)",
        tickvals=[_place(v, unit) for v in ticks],
        ticktext=[f"{v:.0e}" if v else "0" for v in ticks],
    )
    return figure.update_layout(
        title=_text(numbers["title"]), xaxis_title="number, from the lowest", height=420
    )


def _text(value: Any) -> str:
    """A value as text to plotly, which takes some of HTML for markup, and links for links."""
    return html.escape(str(value), quote=False)


def _reals(values: Sequence[Any]) -> list[float | None]:
    """Numbers, None where there is none; what is no number would be drawn as text."""
    return [None if value is None else float(value) for value in values]


def _place(value: float, unit: float) -> float:
    """A value on an axis that is linear up to a unit and logarithmic beyond, on both sides."""
    return math.copysign(math.log10(1 + abs(value) / unit), value)


def phase(numbers: dict[str, Any]) -> Any:
    """Share of runs that ended collapsed, by alpha and initialization scale: a plotly figure whose
    cells open on the page.

    numbers: alpha (m,), scale (l,), runs (l, m): lists of runs, dicts with seed, label, energy,
    collapsed and what else is to be shown; title.
    """
    from plotly import graph_objects as go  # heavy: for pages that have such figures only

    _require_rows("runs", numbers["runs"], numbers["scale"], numbers["alpha"])
    cells = [[_collapsed(runs) for runs in row] for row in numbers["runs"]]
    figure = go.Figure()
    figure.add_heatmap(
        x=[f"{alpha:g}" for alpha in numbers["alpha"]],
        y=[f"{scale:g}" for scale in numbers["scale"]],
        z=[[share for share, _ in row] for row in cells],
        text=[[words for _, words in row] for row in cells],
        texttemplate="%{text}",
        zmin=0,
        zmax=1,
        xgap=2,
        ygap=2,
        colorscale="Viridis",
        colorbar={"title": {"text": "probability of collapse", "side": "right"}},
        hovertemplate=CELL,
    )
    figure.update_xaxes(title="decoder perturbation strength α (data units)", type="category")
    figure.update_yaxes(title="initialization scale", type="category")
    return figure.update_layout(title=_text(numbers["title"]), height=420)


def _require_rows(name: str, rows: Any, y: Sequence[Any], x: Sequence[Any]) -> None:
    """Raise ValueError unless there is a row for every y, and in it a cell for every x."""
    lengths = [len(row) for row in rows]
    if lengths != [len(x)] * len(y):
        raise ValueError(f"{len(y)} rows of {len(x)} {name} have lengths {lengths}")


def _collapsed(runs: Sequence[dict[str, Any]]) -> tuple[float | None, str]:
    """Share of runs that ended collapsed, None for no runs, and how many of how many."""
    if not runs:
        return None, "none"
    count = sum(run["collapsed"] for run in runs)
    return count / len(runs), f"{count}/{len(runs)}"
