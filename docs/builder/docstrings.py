"""How does a docstring of this package, plain text with formulas, become a page?

Docstrings here mean every character as it stands: `*`, `|` and `_` are of formulas, not markup. Of
the markup that Sphinx reads they have names in backticks, examples that begin with >>>, indented
blocks, lists, and lines that say what an argument is.

>>> page = restructured(["E |x * y|_2 of `f`.", "", "x: (n, d), rows", "are data."], {})
>>> print(*filter(None, page), sep="\\n")
E \\|x \\* y\\|\\_2 of \\ ``f``\\ .
- **x**: (n, d), rows are data.
>>> page = restructured(["x: data; y (n,):", "kinds. Raises E."], {}, "xy")
>>> print(*filter(None, page), sep="\\n")
- **x**: data;
- **y (n,)**: kinds.
Raises E.
>>> summary("Its error, i.e. E |x|. Not more."), cell("E |x|, `f`")
('Its error, i.e. E |x|.', 'E \\\\|x\\\\|, `f`')
"""

import re
from collections.abc import Iterable, Mapping
from itertools import groupby

__all__ = ["cell", "restructured", "summary"]

INDENT = 4
# "x: ...", "x, y: ...", "ends, saddle (m,): ..." at the begin of a line: what an argument is.
WORD = r"\*{0,2}[A-Za-z]\w*(?: \([^():]*\))?"
ARGUMENT = re.compile(rf"({WORD}(?:(?:, | and |, and ){WORD})*): (?=\S)")
ITEM = re.compile(r"- (?=\S)")
RAISES = r"Raises(?:\s|$)"
# What would begin a list, a comment or a field there, where none is meant.
STRUCTURE = re.compile(r"(?=(?:[-+•*]|\(?\w{1,4}[.)]|:|\.\.|#\.|\|)(?:\s|$)|:\w|[=~^-]{4})")
QUOTED = re.compile(r"(`+)(.+?)\1", re.DOTALL)
SENTENCE = re.compile(r"(?<!i\.e)(?<!e\.g)(?<!cf)(?<!eq)[.?!](?=\s+[A-Z`(\d]|\s*$)")


def restructured(
    lines: Iterable[str], targets: Mapping[str, str], arguments: Iterable[str] = ()
) -> list[str]:
    """The lines of a docstring as reStructuredText.

    targets: names that have a place, and which. arguments: names of them, which may stand within a
    line too.
    """
    blocks = [list(block) for blank, block in groupby(lines, key=_is_blank) if not blank]
    apart = [_apart(block, arguments) for block in blocks]
    return [line for block in apart for line in [*_block(block, targets), ""]]


def _apart(lines: list[str], arguments: Iterable[str]) -> list[str]:
    """A block with a line for each argument that begins behind a full stop or a semicolon, and for
    what is raised.
    """
    names = "|".join(map(re.escape, arguments))
    if not names or lines[0].lstrip().startswith(">>>"):
        return lines
    if ARGUMENT.match(lines[0]):
        lines = [line.strip() for line in lines]  # where lines may hang
    elif any(map(_is_shown, lines)):
        return lines
    name = rf"\*{{0,2}}(?:{names})(?: \([^():]*\))?"
    begins = re.compile(rf"(?<=[;.])\s(?={name}(?:(?:, | and ){name})*:\s|{RAISES})")
    parts = [part.split("\n") for part in begins.split("\n".join(lines))]
    return [line for part in parts for line in _hung(part)]


def _hung(lines: list[str]) -> list[str]:
    """Lines with what an argument is in the line that names it."""
    if len(lines) > 1 and lines[0].endswith(":"):
        return [f"{lines[0]} {lines[1]}", *lines[2:]]
    return lines


def _is_blank(line: str) -> bool:
    return not line.strip()


def _block(lines: list[str], targets: Mapping[str, str]) -> list[str]:
    if lines[0].lstrip().startswith(">>>"):
        return lines
    if all(map(_is_shown, lines)):
        return ["::", "", *lines]
    return [line for part in _parts(lines) for line in _written(part, targets)]


def _is_shown(line: str) -> bool:
    """Whether it is indented, as what is shown as it stands."""
    return line.startswith(" " * INDENT)


def _parts(lines: list[str]) -> list[list[str]]:
    """A paragraph, cut where an argument or an item of a list begins, or an indented block."""
    parts: list[list[str]] = []
    for line in lines:
        begins = ITEM.match(line) or ARGUMENT.match(line) or re.match(RAISES, line)
        within = parts and ARGUMENT.match(parts[-1][0])  # where lines may hang
        shown = _is_shown(line) and not within
        if not parts or begins or shown != _is_shown(parts[-1][0]):
            parts.append([line])
        else:
            parts[-1].append(line)
    return parts


def _written(lines: list[str], targets: Mapping[str, str]) -> list[str]:
    if _is_shown(lines[0]):
        return ["", "::", "", *lines, ""]
    text = " ".join(line.strip() for line in lines)
    if item := ITEM.match(text):
        return ["- " + _escaped(text[item.end() :], targets)]
    if argument := ARGUMENT.match(text):
        name = argument[1].replace("*", "\\*").replace("_", "\\_")
        return [f"- **{name}**: {_escaped(text[argument.end() :], targets)}"]
    return ["", _escaped(text, targets), ""]


def _escaped(text: str, targets: Mapping[str, str]) -> str:
    """Text in which only names in backticks are markup."""
    written, done = [], 0
    for quoted in QUOTED.finditer(text):
        written += [_plain(text[done : quoted.start()]), _name(quoted[2], targets)]
        done = quoted.end()
    written.append(_plain(text[done:]))
    begin = r"\ " if STRUCTURE.match(text) else ""
    return begin + "".join(written)


def _plain(text: str) -> str:
    return re.sub(r"([\\*|_`])", r"\\\1", text)


def _name(name: str, targets: Mapping[str, str]) -> str:
    """What stands in backticks, as a link where it has a place."""
    if target := targets.get(name.removesuffix("()")):
        return rf"\ :py:obj:`{name} <{target}>`\ "
    return rf"\ ``{name}``\ "


def summary(docstring: str) -> str:
    """The first sentence of a docstring, in one line.

    >>> summary("A sum; since it is odd,\\n\\n    f(0) = 0.")
    'A sum.'
    """
    text = " ".join(docstring.strip().split("\n\n")[0].split())
    if end := SENTENCE.search(text):
        return text[: end.end()]
    # Ends in a formula that is a paragraph of its own; what leads up to it is left out.
    return re.sub(r"(;[^;]*)?[,:]$", ".", text)


def cell(text: str) -> str:
    """A line as a cell of a table in Markdown, where only names in backticks are markup."""
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(
        part.replace("|", "\\|")
        if part.startswith("`")
        else re.sub(r"([\\*|_<>\[\]$~])", r"\\\1", part)
        for part in parts
    )
