"""How does a text of numbers become rows? csv and its kin, as people and pandas write them.

What is no feature must not come in unnoticed: an index that was written as the first column, a
header of numbers, a column of labels. What is certain is read right; what could be read in two ways
is refused, with what to do.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vaesurface.data.refusal import opened
from vaesurface.files import TEXT
from vaesurface.refusal import complaint, reading

__all__ = ["header", "is_index", "refuse_labels", "text"]

FORM = "numbers, as many in every line"
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-", ".")  # what stands for no number
# Columns that are no features of a datum, but what is to be said of it.
LABELS = ("class", "classes", "label", "labels", "target", "targets")
TARGET = "y"  # another such name, where no column is another coordinate
COORDINATES = {"x", "z"}
INDEX_NAME = re.compile(r"(.*[ _.-])?(id|ids|index|idx)|row(number|_number)?", re.IGNORECASE)
UNNAMED = re.compile(r"(unnamed: \d+)?", re.IGNORECASE)  # as pandas reads and writes no name
DECLARATION = re.compile(r'"?sep=(?P<mark>.)"?[;,\t]*', re.IGNORECASE)
INTEGER = re.compile(r"[+-]?\d+")
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.IGNORECASE)
COUNTED = 4  # lines from which a first column that counts them is no coincidence
COUNTED_BESIDE_DECIMALS = 3  # the same where no other cell is an integer, and none has a name
SHUFFLED = 6  # lines from which one that holds each of their numbers once is none
CLASSES = 20  # labels that data have at most
PER_CLASS = 5  # data of each, at least
STEPPED = 4  # cells from which a first line of integers at one distance is none
FEW_ROWS = 3  # without an integer, from which a first line of integers alone is none of them
RISING = 6  # cells from which a first line that rises is none, if no other line does
EVEN = 1e-6  # relative difference of distances that are one
COMPARED = 100  # lines that are held against the first
SAMPLED = 1000  # lines, evenly spread, that are looked through for labels
INDEX_REMEDY = (
    "leave the index out, in pandas with to_csv(index=False); a feature needs a name, and decimals "
    "(0.0) where it counts"
)
NAMES_REMEDY = (
    "if it is a header, write words (x0,x1,...) in its place; if it is a datum, write them above it"
)


def text(path: Path, limit: int | None) -> np.ndarray:
    """Rows of a file of numbers between commas, semicolons, tabs or spaces, with a header or none.

    Empty lines and those that begin with # are passed over.
    """
    table = _table(path)
    return _numbers(table.body[:limit], table.delimiter, table.used, table.names)


def header(path: Path) -> list[str] | None:
    """Names of the columns that `text` reads as features; None where there is no header."""
    table = _table(path)
    return None if table.names is None else [table.names[j] for j in table.used]


class _Table(NamedTuple):
    """The lines of a file, told apart.

    names: of all columns, or None. body: the lines of data. used: columns that are features.
    """

    names: list[str] | None
    body: list[str]
    delimiter: str | None
    used: range


def _table(path: Path) -> _Table:
    """Which lines of a file are data, and which columns features."""
    with reading("text in UTF-8, whole", "save it again as such"), opened(path, TEXT) as file:
        lines = file.read().decode("utf-8-sig").splitlines()
    lines = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    lines, declared = _without_declaration(lines)
    delimiter = declared if declared and declared in lines[0] else _delimiter(lines)
    names = _header(lines, delimiter)
    body = lines if names is None else lines[1:]
    if not body:
        raise complaint(FORM, "no line of data", "correct or complete the file")
    width = len(_cells(body[0], delimiter))
    if names is None:
        spread = body[:: max(1, len(body) // SAMPLED)]
        _refuse_classes([_cells(line, delimiter) for line in spread])
    others = [_cells(line, delimiter)[1:] for line in body[:COMPARED]]
    decimals = not any(INTEGER.fullmatch(cell) for row in others for cell in row)
    name = None if names is None else names[0]
    skips = width > 1 and is_index(name, _firsts(body, delimiter), decimals)
    return _Table(names, body, delimiter, range(int(skips), width))


def _without_declaration(lines: list[str]) -> tuple[list[str], str]:
    """The lines without a first one that says what separates cells, sep=; as Excel has it, and what
    that is; nothing where none does.
    """
    found = DECLARATION.fullmatch(lines[0].lstrip(" ")) if len(lines) > 1 else None
    return (lines, "") if found is None else (lines[1:], found["mark"].strip(" "))


def is_index(name: str | None, entries: Sequence[str], beside_decimals: bool = False) -> bool:
    """Whether a table's first column is an index, and no feature: one without a name whose entries
    are different integers, or words.

    name: None where columns have none; beside_decimals: whether no other cell is an integer. Raises
    ValueError where it may be either.
    """
    numbers = [INTEGER.fullmatch(entry) is not None for entry in entries]
    if name is not None and UNNAMED.fullmatch(name):
        words = not any(_is_number(entry) for entry in entries)
        if len(set(entries)) == len(entries) and (all(numbers) or words):
            return True
        got = "a first column without one that does not number the rows"
        raise complaint("a name for every feature", got, INDEX_REMEDY)
    enough = COUNTED_BESIDE_DECIMALS if beside_decimals and name is None else COUNTED
    if numbers and all(numbers) and _counts_rows(name, [int(entry) for entry in entries], enough):
        got = f"a first column that counts them{f', {name!r}' if name else ''}"
        raise complaint("features of the rows", got, INDEX_REMEDY)
    return False


def _counts_rows(name: str | None, entries: Sequence[int], enough: int) -> bool:
    """Whether a column of integers says which row it is: by its name, by what no feature does in
    `enough` rows, or, where it has no name, by rising by one from anywhere.
    """
    count = len(entries)
    if name is not None and INDEX_NAME.fullmatch(name):
        return count > 1 and len(set(entries)) == count
    ranked = [entry - min(entries) for entry in entries]
    in_order, from_start = ranked == list(range(count)), min(entries) in (0, 1)
    if in_order and count >= enough:
        return from_start or name is None
    return from_start and count >= SHUFFLED and sorted(ranked) == list(range(count))


def refuse_labels(names: Sequence[str]) -> None:
    """Raise where a column says what its datum is called, not what it is like."""
    lowered = [name.lower() for name in names]
    said = LABELS if COORDINATES & set(lowered) else (*LABELS, TARGET)
    labels = [name for name in names if name.lower() in said]
    if labels:
        got = f"a column named {labels[0]!r}"
        raise complaint("features only", got, "drop it, or rename it if it is a feature")


def _refuse_classes(rows: Sequence[Sequence[str]]) -> None:
    """Raise where a last column without a name looks like labels: few integers from 0 or 1 on,
    each of them often, beside columns that all have decimals.
    """
    columns = list(zip(*rows, strict=False))
    if len(columns) < 2 or not all(INTEGER.fullmatch(cell) for cell in columns[-1]):
        return
    if any(all(map(INTEGER.fullmatch, column)) for column in columns[:-1]):
        return
    labels = {int(cell) for cell in columns[-1]}
    counts = labels in (set(range(len(labels))), set(range(1, len(labels) + 1)))
    if counts and 2 <= len(labels) <= CLASSES and PER_CLASS * len(labels) <= len(rows):
        got = f"a last column of {len(labels)} integers that may be labels"
        remedy = "drop it; a feature needs decimals (0.0) or a line of names above"
        raise complaint("features only", got, remedy)


def _delimiter(lines: Sequence[str]) -> str | None:
    """What separates cells, by the second line (the first may be words): a mark, None for spaces,
    nothing where a line is one cell.
    """
    bare = [re.sub(r'"[^"]*"', "0", line) for line in lines[:2]] or [""]
    first, second = bare[0], bare[-1]
    spaces = None if len(second.split()) > 1 else ""
    for mark in "\t;,":
        if mark in second or (mark in first and all(map(_is_number, first.split(mark)))):
            return mark
    return spaces


def _cells(line: str, delimiter: str | None) -> list[str]:
    """The cells of a line."""
    if delimiter == "":
        return [line.strip(' "')]
    if delimiter is None:
        line, delimiter = " ".join(line.split()), " "
    (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    return [cell.strip() for cell in cells]


def _firsts(lines: Sequence[str], delimiter: str | None) -> list[str]:
    """The first cell of each line."""
    return [line.split(delimiter or None, 1)[0].strip(' "') for line in lines]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell  # which Python allows


# The first line: names or a datum?


def _header(lines: Sequence[str], delimiter: str | None) -> list[str] | None:
    """The names of the columns, None where the first line is a datum. Raises ValueError where that
    is uncertain, and for names that are no features'.
    """
    if not lines:
        return None
    names = _cells(lines[0], delimiter)
    second = _cells(lines[1], delimiter) if len(lines) > 1 else names
    if len(second) == len(names) + 1 and not any(map(_is_number, names)):
        names = ["", *names]  # R gives the index no cell
    if not _are_names(names, lines, delimiter):
        return None
    refuse_labels(names)
    nameless = [j for j, name in enumerate(names) if j and UNNAMED.fullmatch(name)]
    if nameless:
        got = f"none for column {nameless[0]}"
        raise complaint("a name for every column but an index", got, INDEX_REMEDY)
    return names


def _are_names(names: list[str], lines: Sequence[str], delimiter: str | None) -> bool:
    """Whether the cells of the first line are names."""
    words = [name for name in names if not _is_number(name) and name.lower() not in MISSING]
    numbers = [name for name in names if _is_number(name)]
    if not words and not numbers:
        return False
    if not numbers:
        return True
    if words or UNNAMED.fullmatch(names[0]):
        return _are_mixed_names(names, numbers, words, lines, delimiter)
    if len(numbers) < len(names):
        return False  # a datum that lacks something
    if '"' in lines[0] and len(lines) > 1 and '"' not in lines[1]:
        return True
    return _are_number_names(numbers, [_cells(line, delimiter) for line in lines[1 : COMPARED + 1]])


def _are_mixed_names(
    names: list[str],
    numbers: list[str],
    words: list[str],
    lines: Sequence[str],
    delimiter: str | None,
) -> bool:
    """The same where some cells are numbers and others are not."""
    if numbers == names[1:] and len(numbers) > 1 and _step(numbers) == 1:
        return True  # as pandas numbers columns, after an index or a named one
    if names[1] == "":
        got = "none for the first two columns"
        raise complaint("a name for every column but an index", got, INDEX_REMEDY)
    if not words:
        firsts = _firsts(lines[1:], delimiter)
        return len(firsts) > 1 and firsts == [str(i) for i in range(len(firsts))]
    place = names.index(words[0])
    second = _cells(lines[1], delimiter) if len(lines) > 1 else names
    if place < len(second) and not _is_number(second[place]):
        return False  # a column of words
    got = f"{words[0]!r} beside {numbers[0]!r} in the first line"
    raise complaint("a line of names or one of numbers", got, NAMES_REMEDY)


def _are_number_names(numbers: list[str], rows: list[list[str]]) -> bool:
    """The same where all cells are numbers. A datum of integers at one distance is unlikely, 0, 1,
    2, ..., is how pandas numbers columns, and next to floats it is nothing else. Wavelengths or
    years that are no even steps rise still; and next to floats alone no datum is of integers alone.
    """
    step, width = _step(numbers), len(numbers)
    whole = not any(INTEGER.fullmatch(cell) is None for cell in numbers)
    integers = [bool(INTEGER.fullmatch(cell)) for row in rows for cell in row]
    floats, mostly = not any(integers), 2 * sum(integers) < len(integers)
    rises = width >= RISING and _rises(numbers) and 2 * sum(map(_rises, rows)) < len(rows)
    distinct = width > 1 and len(set(numbers)) == width  # as names are
    other = whole and floats and distinct and len(rows) >= FEW_ROWS
    if not rows or not (step or rises or other):
        return False
    counts = numbers == [str(i) for i in range(width)]
    if counts and floats and width >= STEPPED:
        return True
    alone = width >= STEPPED and _step(rows[0]) != step
    if rises or counts or alone or other or (whole and mostly and width > 2):
        got = f"a first line {', '.join(numbers[:3])}{', ...' if width > 3 else ''}"
        raise complaint("a header or a datum", f"{got} that may be either", NAMES_REMEDY)
    return False


def _step(cells: Sequence[str]) -> float:
    """The distance at which numbers rise, 1 for a single one; 0 where it is not one distance."""
    if not _rises(cells):
        return 0.0
    steps = [float(b) - float(a) for a, b in pairwise(cells)] or [1.0]
    return steps[0] if max(steps) - min(steps) <= EVEN * max(steps) else 0.0


def _rises(cells: Sequence[str]) -> bool:
    """Whether each cell is a number larger than the one before."""
    if not all(map(_is_number, cells)):
        return False
    return all(float(a) < float(b) for a, b in pairwise(cells))


# The others


def _numbers(
    lines: Sequence[str], delimiter: str | None, used: range, names: list[str] | None
) -> np.ndarray:
    """The numbers of lines in the columns `used`."""
    try:
        return np.loadtxt(
            lines,
            delimiter=delimiter or None,
            comments=None,
            quotechar='"',
            ndmin=2,
            usecols=list(used) if used.start else None,
        )
    except ValueError as error:
        faults = list(_faults(lines, delimiter, used))
        raise _complaint_of(faults, names) if faults else error from error


def _faults(
    lines: Sequence[str], delimiter: str | None, used: range
) -> Iterator[tuple[int, int, str]]:
    """Row, column and content of the cells that are no numbers; column -1: how many there are in a
    line that has more or fewer than the first.
    """
    for i, line in enumerate(lines):
        cells = _cells(line, delimiter)
        if len(cells) != used.stop:
            yield i, -1, f"{len(cells)} at row {i} after {used.stop}"
            continue
        yield from ((i, j, cells[j]) for j in used if not _is_number(cells[j]))


def _complaint_of(faults: list[tuple[int, int, str]], names: list[str] | None) -> ValueError:
    """The most telling of them."""
    i, j, cell = next((f for f in faults if f[2].lower() not in MISSING), faults[0])
    if j < 0:
        return complaint(FORM, cell, "correct or complete the file")
    where = f"at row {i}, column {j}" + (f" ({names[j]!r})" if names is not None else "")
    if cell.lower() in MISSING:
        got = f"{len(faults)} missing, the first {where}"
        return complaint("a number in every cell", got, "drop or impute those rows")
    if DECIMAL_COMMA.fullmatch(cell) or ";" in cell:
        return complaint(FORM, f"{cell!r} {where}", "write decimal points and one separator")
    return complaint(FORM, f"{cell!r} {where}", "drop the column, or encode what it says")
