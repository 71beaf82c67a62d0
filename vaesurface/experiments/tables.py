"""How do rows become a table that lines up? Numbers with the digits that say something, to the
right; words to the left.

>>> print(aligned(["alpha", "energy", "what it is"], [[0.1, -43.18364, "saddle"], [0.25, 7, ""]]))
alpha  energy  what it is
  0.1  -43.18  saddle
 0.25       7
>>> shown(0.0000902232), shown(float("nan")), shown(True), shown(12345678)
('9.022e-05', '', 'yes', '12345678')
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

__all__ = ["aligned", "padded", "shown"]

DIGITS = 4


def aligned(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as text, a line for each row; a column in which there are words goes to the left."""
    texts = [list(head), *([shown(value) for value in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    wordy = [any(_is_text(row[i]) for row in rows) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            text.ljust(width) if left else text.rjust(width)
            for text, width, left in zip(line, widths, wordy, strict=True)
        ).rstrip()
        for line in texts
    )


def padded(markdown: str) -> str:
    """Markdown's tables with columns that line up.

    >>> print(padded("| a | energy |\\n| --- | --- |\\n| 0.25 | 7 |"))
    | a    | energy |
    | ---- | ------ |
    | 0.25 | 7      |
    """
    lines: list[str] = []
    for is_table, group in itertools.groupby(markdown.splitlines(), lambda line: line[:1] == "|"):
        rows = list(group)
        lines += _columns(rows) if is_table else rows
    return "\n".join(lines)


def _columns(lines: list[str]) -> list[str]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"| {' | '.join(_cell(text, width) for text, width in zip(row, widths, strict=True))} |"
        for row in rows
    ]


def _cell(text: str, width: int) -> str:
    return "-" * width if text == "---" else text.ljust(width)


def shown(value: Any) -> str:
    """A value with up to four digits, whole numbers with all; nothing for NaN and None."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.{DIGITS}g}" if isinstance(value, float) else str(value)


def _is_text(value: Any) -> bool:
    """Whether it is words, and not a number written out, nor an empty cell."""
    return isinstance(value, str) and value[:1].isalpha()
