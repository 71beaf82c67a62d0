"""How do studies become one HTML file that needs nothing else, not even a network?

>>> from vaesurface.report.study import Study
>>> html_page = page([(Study("path", "A way out", said=["The barrier is 0.01 high."]), ".")])
>>> "<p>The barrier is 0.01 high.</p>" in html_page
True
"""

import base64
import html
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files as resources
from itertools import chain, count
from pathlib import Path
from string import Template
from typing import Any

from vaesurface import files
from vaesurface.refusal import reading
from vaesurface.report.interactive import drawn
from vaesurface.report.study import Figure, Study

__all__ = ["page"]

FIGURES = 16  # a page is a text that a browser holds several times
TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def page(
    studies: Sequence[tuple[Study, str | os.PathLike]], title: str = "vaesurface report"
) -> str:
    """One HTML page of several studies, each with the directory that its figures are read from, to
    be put into the page. Whatever studies say is text to it, no markup.

    Raises ValueError for a figure that is not there or outside its directory, for interactive ones
    of no known kind or without their numbers, and where figures have more than
    `files.most() // 16` bytes together.
    """
    files.affordable(sum(_sizes(studies)), "of figures on a page", FIGURES)
    numbers = count()  # of interactive figures, through the page
    sections, figures = [], []
    for study, directory in studies:
        with reading(
            "a study to show", "make the study again", Path(directory) / f"{study.name}.json"
        ):
            sections.append(_section(study, Path(directory), numbers))
            figures += [_script_of(one) for one in study.interactive]
    return Template(_asset("page.html")).substitute(
        title=_text(title),
        style=_asset("style.css"),
        contents="".join(
            f'<li><a href="#study-{_text(study.name)}">{_text(study.title)}</a></li>'
            for study, _ in studies
        ),
        sections="\n".join(sections),
        script=_scripts(figures),
    )


def _sizes(studies: Sequence[tuple[Study, str | os.PathLike]]) -> Iterator[int]:
    """Bytes of the studies' figures that are there, one by one."""
    for study, directory in studies:
        for figure in study.figures:
            path = files.inside(directory, figure.file)
            if path.exists():
                yield path.stat().st_size


def _section(study: Study, directory: Path, numbers: count) -> str:
    """A study: its answer, its figures, its verdicts, and how to make it again."""
    blocks = chain(
        [f'<section id="study-{_text(study.name)}"><h2>{_text(study.title)}</h2>'],
        (f"<p>{_text(sentence)}</p>" for sentence in study.said),
        (_interactive(one, next(numbers)) for one in study.interactive),
        (_picture(figure, directory) for figure in study.figures),
        ["<h3>Verdicts, and why they are believed</h3>"] if study.verdicts else [],
        (_verdict(verdict, opened=i == 0) for i, verdict in enumerate(study.verdicts)),
        ["<details><summary>To reproduce</summary>"],
        [f"<pre>{_text(study.command)}</pre>"] if study.command else [],
        [_table({**study.settings, **study.software}) + "</details></section>"],
    )
    return "\n".join(blocks)


def _interactive(numbers: dict[str, Any], number: int) -> str:
    """The place where the page's script draws a figure, and opens a cell of a phase diagram."""
    place = (
        f'<figure><div class="drawn" id="figure-{number}" role="img" '
        f'aria-label="{_text(numbers["title"])}"></div>'
    )
    caption = f"<figcaption>{_text(numbers.get('caption', ''))}</figcaption></figure>"
    if numbers.get("kind") != "phase":
        return f"{place}\n{caption}"
    choice = (
        f'<div class="cell"><label>Runs of the cell <select id="cells-{number}"></select></label>'
    )
    runs = f'<div id="runs-{number}" class="runs" aria-live="polite"></div></div>'
    return f"{place}\n{choice}\n{runs}\n{caption}"


def _picture(figure: Figure, directory: Path) -> str:
    """A figure's file, in the page."""
    path = files.inside(directory, figure.file)
    if path.suffix not in TYPES or not path.exists():
        raise ValueError(
            f"expected the figure {path} (.png or .svg), got none; make its study again"
        )
    picture = files.content(figure.file, FIGURES, within=directory)
    data = base64.b64encode(picture).decode()
    caption = _text(figure.caption)
    image = f'<img src="data:{TYPES[path.suffix]};base64,{data}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _verdict(verdict: dict[str, Any], opened: bool) -> str:
    """What a point is, which opens to show why that is believed."""
    energy = verdict.get("energy")
    head = f"<b>{_text(verdict['name'])}</b>: {_text(verdict['label'])}"
    head += "" if energy is None else f", energy {energy:.10g}"
    state = " open" if opened else ""
    body = f"<summary>{head}</summary>{_table(verdict['evidence'])}"
    return f'<details class="verdict"{state}>{body}</details>'


def _table(values: Mapping[str, Any]) -> str:
    """Names and values."""
    rows = (f"<tr><th>{_text(k)}</th><td>{_text(v)}</td></tr>" for k, v in values.items())
    return f"<table>{''.join(rows)}</table>"


def _script_of(numbers: dict[str, Any]) -> str:
    """An interactive figure as data."""
    data = json.dumps(drawn(numbers), allow_nan=False)
    return data.replace("<", "\\u003c")  # no text in it can end the script


def _scripts(figures: Sequence[str]) -> str:
    """Interactive figures as data, what draws them, and plotly where there are any."""
    data = f"[{', '.join(figures)}]"
    library = ""
    if figures:
        from plotly.offline import get_plotlyjs  # heavy: for pages that have such figures only

        library = f"<script>{get_plotlyjs()}</script>"
    return (
        f'<script type="application/json" id="drawn">{data}</script>'
        f"{library}<script>{_asset('script.js')}</script>"
    )


def _asset(name: str) -> str:
    """The text of a file beside this one."""
    return resources("vaesurface.report").joinpath(name).read_text(encoding="utf-8")


def _text(value: Any) -> str:
    """A value as text that is no markup, and that UTF-8 can hold."""
    text = f"{value:.10g}" if isinstance(value, float) else str(value)
    return html.escape(text.encode("utf-8", "replace").decode())
