"""What would a reader who knows nothing of a run have to see of its results?

A study is what one verb of the command line found: sentences, verdicts with their evidence,
figures, the settings to reproduce it; a JSON file beside its figures. `page` makes one HTML file of
several, which needs nothing else, not even a network: a surface that turns, a spectrum, a phase
diagram whose cells open. Imports no JAX and computes nothing.

>>> shown = page([(Study("path", "A way out", said=["The barrier is 0.01 high."]), ".")])
>>> "The barrier is 0.01 high." in shown
True
"""

import base64
import html
import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from types import MappingProxyType
from typing import Any, NamedTuple

import vaesurface

FORMAT = 1
SOFTWARE = ("jax", "numpy", "scipy")
TYPES = {".png": "image/png", ".svg": "image/svg+xml"}
UNIT = "2 × nats / datum"
# Of `stationary.Kind`, by code: marker and color as in `plot`.
MARKERS = {
    0: ("diamond", "#999999"),
    1: ("circle", "#0072B2"),
    2: ("x", "#D55E00"),
    3: ("diamond", "#1a1a1a"),
    4: ("square", "#CC79A7"),
}


class Figure(NamedTuple):
    """A picture: file name in the study's directory (.png or .svg), and what it shows."""

    file: str
    caption: str


class Study(NamedTuple):
    """What one verb found; plain data, so that it is its JSON file.

    name: of the verb; title; said: the answer in sentences; verdicts: dicts with name, label,
    energy and evidence (a dict of sentences); figures; interactive: dicts with kind "surface",
    "spectrum" or "phase" and its numbers (see `surface`, `spectrum`, `phase`); settings: name ->
    value; command: that makes it again; software: versions.
    """

    name: str
    title: str
    said: Sequence[str] = ()
    verdicts: Sequence[dict[str, Any]] = ()
    figures: Sequence[Figure] = ()
    interactive: Sequence[dict[str, Any]] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    command: str = ""
    software: Mapping[str, str] = MappingProxyType({})


def save(study: Study, out: str | os.PathLike) -> Path:
    """Write a study as `<name>.json` into a directory, with the versions of the software; figures
    are there already.
    """
    path = Path(out) / f"{study.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    software = {name: version(name) for name in SOFTWARE} | {"vaesurface": vaesurface.__version__}
    fields = study._asdict() | {
        "software": software,
        "figures": [f._asdict() for f in study.figures],
    }
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(
        json.dumps({"format": FORMAT, **_plain(fields)}, allow_nan=False), encoding="utf-8"
    )
    temporary.replace(path)
    return path


def load(path: str | os.PathLike) -> Study:
    """Read a study. Raises ValueError for other files."""
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8"))
        if fields.pop("format") != FORMAT:
            raise ValueError("it is of another format")
        return Study(**fields | {"figures": [Figure(**f) for f in fields["figures"]]})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"expected a study of vaesurface, got {path}: {error}; make it again"
        ) from error


def studies(directory: str | os.PathLike) -> list[Study]:
    """All studies of a directory, by name; other JSON files are passed over."""
    found = []
    for path in sorted(Path(directory).glob("*.json")):
        try:
            known = "verdicts" in json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, TypeError):
            continue
        if known:
            found.append(load(path))
    return found


def page(
    studies: Sequence[tuple[Study, str | os.PathLike]], title: str = "vaesurface report"
) -> str:
    """One HTML page of several studies, each with the directory that its figures are read from, to
    be put into the page.

    Raises ValueError for a figure that is not there.
    """
    from plotly.offline import get_plotlyjs

    interactive = [one for study, _ in studies for one in study.interactive]
    numbers = iter(range(len(interactive)))
    sections = "\n".join(_section(study, Path(directory), numbers) for study, directory in studies)
    contents = "".join(
        f'<li><a href="#{_safe(study.name)}">{_safe(study.title)}</a></li>' for study, _ in studies
    )
    drawn = json.dumps([_drawn(one) for one in interactive]).replace("<", "\\u003c")
    library = f"<script>{get_plotlyjs()}</script>" if interactive else ""
    script = (
        f'<script type="application/json" '
        f'id="drawn">{drawn}</script>{library}<script>{_asset("script.js")}</script>'
    )
    parts = {
        "title": _safe(title),
        "style": _asset("style.css"),
        "contents": contents,
        "sections": sections,
        "script": script,
    }
    return Template(_asset("page.html")).substitute(parts)


def write(text: str, path: str | os.PathLike) -> None:
    """All at once, or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def surface(one: dict[str, Any]) -> Any:
    """The energy over a plane as a surface that can be turned: a plotly figure.

    one: x (mx,), y (my,), values (my, mx) above the best energy, cap (values above are cut: they
    would hide the rest), marks: dicts with x, y, value, label and kind; quantity and title.
    """
    from plotly import graph_objects as go

    cap = one["cap"]
    hover = f"%{{x:.3g}}, %{{y:.3g}}<br>{one['quantity']} %{{z:.5g}}<extra></extra>"
    figure = go.Figure(
        go.Surface(x=one["x"], y=one["y"], z=one["values"], cmin=0, cmax=cap, colorscale="Viridis")
    )
    figure.update_traces(
        colorbar={"title": {"text": one["quantity"], "side": "right"}, "len": 0.7}, opacity=0.95
    )
    figure.update_traces(
        hovertemplate=hover, contours_z={"show": True, "color": "rgba(0,0,0,0.25)", "width": 1}
    )
    for mark in one["marks"]:
        symbol, color = MARKERS[mark["kind"]]
        place = {
            "x": [mark["x"]],
            "y": [mark["y"]],
            "z": [mark["value"] + 0.02 * cap],
        }  # or the surface hides it
        look = {"symbol": symbol, "color": color, "size": 7}
        figure.add_scatter3d(**place, mode="markers", marker=look, name=mark["label"])
    axes = {
        "xaxis_title": "distance",
        "yaxis_title": "distance",
        "zaxis": {"title": "energy", "range": [0, cap]},
    }
    return figure.update_layout(
        title=one["title"], scene=axes, height=560, legend={"orientation": "h"}
    )


def spectrum(one: dict[str, Any]) -> Any:
    """All Hessian eigenvalues, ascending, on axes that show both signs and many decades: a plotly
    figure.

    one: eigenvalues (p,), negative and flat (numbers of them), title.
    """
    from plotly import graph_objects as go

    values, negative, flat = one["eigenvalues"], one["negative"], one["flat"]
    parts = (
        ("negative", 0, negative, 2),
        ("flat", negative, negative + flat, 4),
        ("positive", negative + flat, len(values), 1),
    )
    sizes = [abs(v) for v in values[:negative] + values[negative + flat :]]
    low = 10 ** math.floor(math.log10(min(sizes))) if sizes else 1.0

    def place(v):
        return math.copysign(math.log10(1 + abs(v) / low), v)

    figure = go.Figure()
    for name, start, stop, kind in parts:
        here = values[start:stop]
        figure.add_scatter(
            x=list(range(start + 1, stop + 1)),
            y=[0.0 if name == "flat" else place(v) for v in here],
            customdata=here,
            mode="markers",
            name=f"{stop - start} {name}",
            marker={"color": MARKERS[kind][1], "size": 5},
            hovertemplate="number %{x}<br>eigenvalue %{customdata:.6g}<extra></extra>",
        )
    decades = [
        low * 10**e for e in range(1, 1 + math.ceil(math.log10(max(sizes, default=1.0) / low)))
    ]
    shown = [-t for t in decades[::-1] if negative] + [0.0, *decades]
    axis = {
        "tickvals": [place(t) for t in shown],
        "ticktext": [f"{t:.0e}" if t else "0" for t in shown],
    }
    figure.update_yaxes(title=f"eigenvalue ({UNIT} / distance²)", **axis)
    return figure.update_layout(
        title=one["title"], xaxis_title="number, from the lowest", height=420
    )


def phase(one: dict[str, Any]) -> Any:
    """Share of runs that ended collapsed, by alpha and initialization scale: a plotly figure whose
    cells open on the page.

    one: alpha (m,), scale (l,), runs (l, m): lists of runs, dicts with seed, label, energy,
    collapsed and what else is to be shown; title.
    """
    from plotly import graph_objects as go

    ended = [[sum(r["collapsed"] for r in cell) for cell in row] for row in one["runs"]]
    share = [
        [c / len(cell) if cell else None for c, cell in zip(cs, row, strict=True)]
        for cs, row in zip(ended, one["runs"], strict=True)
    ]
    text = [
        [f"{c}/{len(cell)}" if cell else "none" for c, cell in zip(cs, row, strict=True)]
        for cs, row in zip(ended, one["runs"], strict=True)
    ]
    heat = go.Heatmap(
        x=[f"{a:g}" for a in one["alpha"]],
        y=[f"{s:g}" for s in one["scale"]],
        z=share,
        text=text,
        texttemplate="%{text}",
        zmin=0,
        zmax=1,
        xgap=2,
        ygap=2,
        colorscale="Viridis",
        colorbar={"title": {"text": "probability of collapse", "side": "right"}},
        hovertemplate="α = %{x}, scale %{y}: %{text} collapsed<extra>click for its runs</extra>",
    )
    figure = go.Figure(heat)
    figure.update_xaxes(title="decoder perturbation strength α (data units)", type="category")
    figure.update_yaxes(title="initialization scale", type="category")
    return figure.update_layout(title=one["title"], height=420)


def _drawn(one: dict[str, Any]) -> dict[str, Any]:
    """What the page's script needs to draw, and of a phase diagram to open a cell."""
    makers = {"surface": surface, "spectrum": spectrum, "phase": phase}
    if one.get("kind") not in makers:
        raise ValueError(
            f"expected a kind out of {', '.join(makers)}, got {one.get('kind')!r}; make the "
            f"study again"
        )
    look = {
        "template": "plotly_white",
        "margin": {"l": 70, "r": 20, "t": 60, "b": 60},
        "font": {"size": 13},
    }
    figure = makers[one["kind"]](one).update_layout(**look)
    cells = (
        {key: one[key] for key in ("alpha", "scale", "runs")} if one["kind"] == "phase" else None
    )
    return json.loads(figure.to_json()) | {"cells": cells}


def _section(study: Study, directory: Path, numbers: Any) -> str:
    parts = [f'<section id="{_safe(study.name)}"><h2>{_safe(study.title)}</h2>']
    parts += [f"<p>{_safe(sentence)}</p>" for sentence in study.said]
    for one in study.interactive:
        number = next(numbers)
        parts.append(
            f'<figure><div class="drawn" id="figure-{number}" role="img" '
            f'aria-label="{_safe(one["title"])}"></div>'
        )
        if one["kind"] == "phase":
            parts.append(
                f'<div class="cell"><label>Runs of the cell <select '
                f'id="cells-{number}"></select></label>'
            )
            parts.append(f'<div id="runs-{number}" class="runs" aria-live="polite"></div></div>')
        parts.append(f"<figcaption>{_safe(one.get('caption', ''))}</figcaption></figure>")
    parts += [_picture(figure, directory) for figure in study.figures]
    if study.verdicts:
        parts.append("<h3>Verdicts, and why they are believed</h3>")
        parts += [_verdict(v, shown=i == 0) for i, v in enumerate(study.verdicts)]
    parts.append("<details><summary>To reproduce</summary>")
    if study.command:
        parts.append(f"<pre>{_safe(study.command)}</pre>")
    rows = "".join(
        f"<tr><th>{_safe(k)}</th><td>{_safe(v)}</td></tr>"
        for k, v in {**study.settings, **study.software}.items()
    )
    return "\n".join([*parts, f"<table>{rows}</table></details></section>"])


def _verdict(v: dict[str, Any], shown: bool) -> str:
    energy = "" if v.get("energy") is None else f", energy {v['energy']:.10g}"
    rows = "".join(
        f"<tr><th>{_safe(k)}</th><td>{_safe(said)}</td></tr>" for k, said in v["evidence"].items()
    )
    head = f"<b>{_safe(v['name'])}</b>: {_safe(v['label'])}{energy}"
    return (
        f"<details "
        f'class="verdict"{" open" * shown}><summary>{head}</summary><table>{rows}</table></details>'
    )


def _picture(figure: Figure, directory: Path) -> str:
    path = directory / figure.file
    if path.suffix not in TYPES or not path.is_file():
        raise ValueError(
            f"expected the figure {path} (.png or .svg), got none; make its study again"
        )
    data = base64.b64encode(path.read_bytes()).decode()
    image = f'<img src="data:{TYPES[path.suffix]};base64,{data}" alt="{_safe(figure.caption)}">'
    return f"<figure>{image}<figcaption>{_safe(figure.caption)}</figcaption></figure>"


def _asset(name: str) -> str:
    return (files("vaesurface") / "report" / name).read_text(encoding="utf-8")


def _safe(value: Any) -> str:
    return html.escape(f"{value:.10g}" if isinstance(value, float) else str(value))


def _plain(x: Any) -> Any:
    """JSON has no infinities, no NaN and no arrays."""
    if hasattr(x, "tolist"):
        x = x.tolist()
    if isinstance(x, Mapping):
        return {str(k): _plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [_plain(v) for v in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x
