"""How do studies become one HTML file that needs nothing else, not even a network?

The first screen is a summary, then come the contents, then a section for each study: what it says,
its figures, those in the plane first, its verdicts, and how to make it again.

>>> from vaesurface.report.study import Study
>>> html_page = page([(Study("path", "A way out", said=["The barrier is 0.01 high."]), ".")])
>>> '<p class="answer">The barrier is 0.01 high.</p>' in html_page
True
"""

import base64
import json
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files as resources
from itertools import count
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from vaesurface import files
from vaesurface.refusal import reading
from vaesurface.report.digits import told_apart
from vaesurface.report.markup import FIGURES, link, name_of, picture, table, text
from vaesurface.report.shown import ORDER, Shown, shown
from vaesurface.report.study import Study
from vaesurface.report.summary import answer, summary, told, what

__all__ = ["page"]

INSIDE = {"figures": "figures", "verdicts": "verdicts", "made": "how it was made"}
LIBRARY = "plotly-gl3d.min.js.gz"


class _Part(NamedTuple):
    """A study on its way onto the page.

    study: as it was read.
    directory: that its figures are read from.
    folder: that its results are in, below those of the page; "" for that itself.
    """

    study: Study
    directory: Path
    folder: str = ""

    @property
    def place(self) -> str:
        """Its id on the page."""
        return name_of("/".join(filter(None, ["study", self.folder])) + "-" + self.study.name)

    @property
    def heading(self) -> str:
        """Its question, after its folder, as HTML."""
        folder = f'<span class="folder">{text(self.folder)}:</span> ' if self.folder else ""
        return folder + text(self.study.title)


def page(
    studies: Sequence[tuple[Study, str | os.PathLike] | tuple[Study, str | os.PathLike, str]],
    title: str = "vaesurface report",
) -> str:
    """One HTML page of several studies, each with the directory that its figures are read from, to
    be put into the page, and the name of its folder if results are in several. Whatever studies say
    is text to it, no markup.

    Raises ValueError for a figure that is not there or outside its directory, for interactive ones
    of no known kind or without their numbers, and where figures have more than
    `files.most() // 16` bytes together.
    """
    parts = [_Part(study, Path(directory), *folder) for study, directory, *folder in studies]
    if not parts:
        raise ValueError("expected studies for a page, got none; run one first")
    files.affordable(sum(_sizes(parts)), "of figures on a page", FIGURES)
    numbers = count()  # of interactive figures, through the page
    drawn: list[Shown] = []
    first, sections = "", []
    for part in parts:
        source = part.directory / f"{part.study.name}.json"
        with reading("a study to show", "make the study again", source):
            ranked = sorted(part.study.interactive, key=_rank)
            own = [shown(one, next(numbers)) for one in ranked]
            pictures = _in_order(part, own)
            drawn += own
            taken = not first and bool(pictures)  # onto the first screen
            first = pictures.pop(0) if taken else first
            sections.append(_section(part, pictures, taken, alone=len(parts) == 1))
    return Template(_asset("page.html")).substitute(
        title=text(title),
        style=_asset("style.css"),
        summary=summary(
            [part.study for part in parts],
            [part.heading for part in parts],
            [part.place for part in parts],
            first,
        ),
        contents=_contents(parts, sections),
        sections="\n".join(sections),
        script=_scripts(drawn),
    )


def _sizes(parts: Sequence[_Part]) -> Iterator[int]:
    """Bytes of the studies' figures that are there, one by one."""
    for part in parts:
        for figure in part.study.figures:
            path = files.inside(part.directory, figure.file)
            if path.exists():
                yield path.stat().st_size


def _rank(numbers: dict[str, Any]) -> int:
    """The place of an interactive figure among others, by its kind."""
    kind = numbers.get("kind")
    return ORDER.index(kind) if kind in ORDER else len(ORDER)


def _in_order(part: _Part, interactive: Sequence[Shown]) -> list[str]:
    """All figures of a study, those in the plane first: a phase diagram, pictures, spectra."""
    pictures = [picture(figure, part.directory) for figure in part.study.figures]
    leading = [one for one in interactive if one.kind == ORDER[0]]
    others = [one for one in interactive if one.kind != ORDER[0]]
    return [*(one.html for one in leading), *pictures, *(one.html for one in others)]


def _section(part: _Part, pictures: Sequence[str], taken: bool, alone: bool) -> str:
    """A study: its answer, its figures, its verdicts, and how to make it again.

    taken: whether its first figure is on the first screen; alone: whether what is said there need
    not be said again.
    """
    study, place = part.study, part.place
    said = {answer(study), *told(study)} if alone else set()
    heading = "In full" if alone else part.heading
    blocks = [f'<section id="{place}"><h2>{heading}</h2>', "" if alone else what(study)]
    blocks += [f"<p>{text(sentence)}</p>" for sentence in study.said if sentence not in said]
    if taken and not alone:
        blocks.append(f"<p>{link('summary', 'Its first figure is at the top.')}</p>")
    if pictures:
        blocks += [
            f'<h3 id="{place}-figures">Figures</h3>',
            f'<div class="figures">{"".join(pictures)}</div>',
        ]
    if study.verdicts:
        blocks.append(f'<h3 id="{place}-verdicts">Verdicts, and why they are believed</h3>')
        blocks += _verdicts(study)
    blocks.append(f'<h3 id="{place}-made">How it was made</h3>')
    blocks += [f"<pre>{text(study.command)}</pre>"] if study.command else []
    made = table({**study.settings, **study.software})
    blocks.append(
        f'<details><summary>Settings and versions</summary><div class="wide">{made}</div></details>'
        "</section>"
    )
    return "\n".join(blocks)


def _verdicts(study: Study) -> list[str]:
    """What points are, which open to show why that is believed."""
    energies = told_apart([verdict.get("energy") for verdict in study.verdicts])
    return [
        _verdict(verdict, energy, opened=i == 0)
        for i, (verdict, energy) in enumerate(zip(study.verdicts, energies, strict=True))
    ]


def _verdict(verdict: dict[str, Any], energy: str, opened: bool) -> str:
    head = f"<b>{text(verdict['name'])}</b>: {text(verdict['label'])}"
    head += f", energy {energy}" if energy else ""
    state = " open" if opened else ""
    body = f'<summary>{head}</summary><div class="wide">{table(verdict["evidence"])}</div>'
    return f'<details class="verdict"{state}>{body}</details>'


def _contents(parts: Sequence[_Part], sections: Sequence[str]) -> str:
    """Links to the sections, and to what is in them."""
    items = []
    for part, section in zip(parts, sections, strict=True):
        links = [
            link(f"{part.place}-{end}", words)
            for end, words in INSIDE.items()
            if f'id="{part.place}-{end}"' in section
        ]
        items.append(
            f"<li>{link(part.place, part.heading)} <small>{' · '.join(links)}</small></li>"
        )
    return "".join(items)


def _scripts(figures: Sequence[Shown]) -> str:
    """Interactive figures as data, what draws them, and plotly, packed, where any needs it."""
    data = json.dumps([figure.data for figure in figures], allow_nan=False)
    data = data.replace("<", "\\u003c")  # no text in it can end the script
    library = ""
    if any(figure.kind != ORDER[0] for figure in figures):
        packed = resources("vaesurface.report").joinpath(LIBRARY).read_bytes()
        library = (
            f"<!-- plotly.js, gl3d bundle, packed by gzip.\n{_asset('plotly-LICENSE')}-->"
            f'<script type="text/plain" id="plotly">{base64.b64encode(packed).decode()}</script>'
        )
    return (
        f'<script type="application/json" id="drawn">{data}</script>'
        f"{library}<script>{_asset('script.js')}</script>"
    )


def _asset(name: str) -> str:
    """The text of a file beside this one."""
    return resources("vaesurface.report").joinpath(name).read_text(encoding="utf-8")
