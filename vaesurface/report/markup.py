"""How do texts, tables and pictures of a study become HTML that nobody else's markup gets into?

>>> table({"<b>": 0.123456})
'<table><tr><th scope="row">&lt;b&gt;</th><td>0.1235</td></tr></table>'
"""

import base64
import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from vaesurface import files
from vaesurface.report.digits import plain
from vaesurface.report.study import Figure

__all__ = ["FIGURES", "columns", "link", "name_of", "picture", "table", "text"]

FIGURES = 16  # a page is a text that a browser holds several times
TYPES = {".png": "image/png", ".svg": "image/svg+xml"}


def text(value: Any) -> str:
    """A value as text that is no markup, and that UTF-8 can hold; numbers to four digits."""
    if isinstance(value, float):
        value = plain(value)
    elif value is None:
        value = "none"
    elif isinstance(value, bool):
        value = "yes" if value else "no"
    return html.escape(str(value).encode("utf-8", "replace").decode())


def name_of(words: str) -> str:
    """A place on the page: an id without spaces, as HTML has it."""
    return text(re.sub(r"\s+", "-", words))


def link(place: str, words: str) -> str:
    """Words that lead to a place on the page; both are HTML already."""
    return f'<a href="#{quote(html.unescape(place), safe="/,=")}">{words}</a>'


def table(values: Mapping[str, Any]) -> str:
    """Names and values."""
    rows = (f'<tr><th scope="row">{text(k)}</th><td>{text(v)}</td></tr>' for k, v in values.items())
    return f"<table>{''.join(rows)}</table>"


def columns(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a head; cells are HTML already."""
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<table class="columns"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def picture(figure: Figure, directory: Path) -> str:
    """A figure's file, in the page. Raises ValueError where it is not there, or outside."""
    path = files.inside(directory, figure.file)
    if path.suffix not in TYPES or not path.exists():
        raise ValueError(
            f"expected the figure {path} (.png or .svg), got none; make its study again"
        )
    data = base64.b64encode(files.content(figure.file, FIGURES, within=directory)).decode()
    caption = text(figure.caption)
    image = f'<img src="data:{TYPES[path.suffix]};base64,{data}" alt="{caption}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"
