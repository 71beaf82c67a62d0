"""How does an interactive figure stand on a page? Its title, the place where it is drawn, a legend,
what it shows; and the data that the page's script draws it from.

>>> numbers = {"kind": "spectrum", "title": "a saddle", "eigenvalues": [-2.0], "negative": 1}
>>> shown(numbers | {"flat": 0}, 0).html.count('id="figure-0"')
1
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from vaesurface.marks import KINDS
from vaesurface.refusal import reading
from vaesurface.report.interactive import cut, drawn
from vaesurface.report.markup import text
from vaesurface.report.phase import opened, phase

__all__ = ["ORDER", "Shown", "shown"]

ORDER = ("phase", "spectrum", "surface")  # of kinds on a page: what turns comes last
# Of marks on a surface, by their names in plotly, as SVG; a cross is two strokes.
SYMBOLS = {
    "circle": '<circle cx="8" cy="8" r="6" fill="{0}"/>',
    "diamond": '<path d="M8 1L15 8L8 15L1 8Z" fill="{0}"/>',
    "square": '<path d="M2 2H14V14H2Z" fill="{0}"/>',
    "x": '<path d="M3 3L13 13M13 3L3 13" stroke="{0}" stroke-width="3.6"/>',
}


class Shown(NamedTuple):
    """A figure of a page.

    html: where it is.
    data: what the page's script needs for it.
    kind: of `ORDER`.
    """

    html: str
    data: dict[str, Any]
    kind: str


def shown(numbers: Mapping[str, Any], number: int) -> Shown:
    """The figure, the number-th of its page.

    Raises ValueError for another kind than "surface", "spectrum" or "phase", and where it lacks its
    numbers.
    """
    kind = numbers.get("kind")
    if not isinstance(kind, str) or kind not in ORDER:
        kinds = "surface, spectrum, phase"
        raise ValueError(f"expected a kind out of {kinds}, got {kind!r}; make the study again")
    with reading(f"the numbers of a {kind}", "make the study again"):
        if kind == "phase":
            html, data = phase(numbers), opened(numbers)
        else:
            html, data = _place(numbers, number), drawn(numbers)
        caption = " ".join(filter(None, [str(numbers.get("caption", "")), _height(numbers)]))
    title = f'<p class="title" id="title-{number}">{text(numbers["title"])}</p>'
    figure = (
        f'<figure class="{kind}" data-figure="{number}" aria-labelledby="title-{number}">{title}'
        f"{html}<figcaption>{text(caption)}</figcaption></figure>"
    )
    return Shown(figure, data, kind)


def _place(numbers: Mapping[str, Any], number: int) -> str:
    """Where the script draws, and what the marks mean."""
    place = (
        f'<div class="drawn" id="figure-{number}" role="img" '
        f'aria-label="{text(numbers["title"])}"></div>'
    )
    kinds = dict.fromkeys(mark["kind"] for mark in numbers.get("marks", ()))
    items = (f"<li>{_symbol(kind)} {KINDS[kind].name}</li>" for kind in kinds)
    return f"{place}<ul class=legend>{''.join(items)}</ul>" if kinds else place


def _symbol(kind: int) -> str:
    look = KINDS[kind]
    drawing = SYMBOLS[look.symbol].format(look.color)
    return f'<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true">{drawing}</svg>'


def _height(numbers: Mapping[str, Any]) -> str:
    """What a surface's height is, and what is left out, in sentences."""
    if numbers["kind"] != "surface":
        return ""
    at = cut(numbers)
    return f"Height: {numbers['quantity']}.{f' Heights above {at} are cut off.' if at else ''}"
