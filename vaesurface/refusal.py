"""How is bad input answered? In one line: what was expected, what was got, what to do.

Files come from anywhere, and parsers raise anything on bad ones: `reading` is the door through
which every reader of this package goes.

>>> with located("rows.csv"):
...     raise complaint("numbers", "words", "drop the column")
Traceback (most recent call last):
ValueError: rows.csv: expected numbers, got words; drop the column
>>> with reading("a study", "make it again", "a.json"):
...     {}["title"]
Traceback (most recent call last):
ValueError: expected a study, got a.json: KeyError: 'title'; make it again
"""

import math
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from operator import index
from typing import Any

__all__ = [
    "LARGEST",
    "complaint",
    "is_complete",
    "is_traced",
    "line",
    "located",
    "number",
    "reading",
    "refusing",
    "shown",
    "whole",
]

LARGEST = 1e70  # of a number whose fourth power float64 still holds
MOST = 2**31 - 1  # of what is counted
SHOWN = 60  # characters of a value that a message quotes

COMPLETE = re.compile(r"expected .+, got .+; .", re.DOTALL)  # what says all that it has to say
QUOTED = 600  # characters of what was got that a message has room for


def complaint(expected: str, got: str, remedy: str) -> ValueError:
    """The error that says so in one line."""
    return ValueError(line(f"expected {expected}, got {_shortened(got)}; {remedy}"))


def is_complete(error: Exception) -> bool:
    """Whether it says what was expected, what was got, and what to do."""
    return COMPLETE.search(str(error)) is not None


def line(text: str) -> str:
    """A text in one line, in which nothing moves a terminal's cursor.

    >>> print(line("red \\x1b[31m is\\nno color here"))
    red \\x1b[31m is no color here
    """
    words = " ".join(text.split())
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


@contextmanager
def located(where: str | os.PathLike) -> Iterator[None]:
    """Say of every ValueError which file or array it is about, once."""
    name = _shortened(os.fspath(where))
    try:
        yield
    except ValueError as error:
        if str(error).startswith(f"{name}: "):
            raise
        raise ValueError(line(f"{name}: {error}")) from error


@contextmanager
def refusing(form: str, remedy: str, path: str | os.PathLike | None = None) -> Iterator[None]:
    """Report whatever is raised (and that may be anything) as a ValueError of one line.

    form: what was expected; path: of the file that it was expected in, where nobody else names it.
    A ValueError that says what was expected, got and is to be done is left as it is, and a missing
    file a FileNotFoundError.
    """
    name = "" if path is None else _shortened(os.fspath(path))
    try:
        yield
    except FileNotFoundError as error:
        got = f"{name or error.filename} where no file is"
        raise FileNotFoundError(line(f"expected {form}, got {got}; correct the path")) from error
    except IsADirectoryError as error:
        got = f"the folder {name or error.filename}"
        raise complaint(form, got, "name a file in it") from error
    except Exception as error:
        if not (isinstance(error, ValueError) and is_complete(error)):
            got = f"{name}: {_said(error)}" if name else _said(error)
            raise complaint(form, got, remedy) from error
        if name in str(error):
            raise
        raise ValueError(line(f"{name}: {error}")) from error


@contextmanager
def reading(form: str, remedy: str, path: str | os.PathLike | None = None) -> Iterator[None]:
    """`refusing`, for readers of files.

    A parser's warnings are no lines of ours, and not shown: whoever asked checks what it returns.
    """
    with refusing(form, remedy, path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def number(
    name: str,
    value: Any,
    *,
    least: float = -LARGEST,
    above: float = -math.inf,
    most: float = LARGEST,
    or_else: str = "",
) -> None:
    """Raise ValueError for what is known not to be one finite number in a range: what JAX traces
    passes.

    or_else: what it may be too.

    >>> number("gamma", -1.0, above=0.0, or_else=", or None to learn it")
    Traceback (most recent call last):
    ValueError: expected gamma > 0, or None to learn it, got gamma = -1.0; choose another value
    """
    if is_traced(value):
        return
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    plain = isinstance(value, int | float) or (kind in "biuf" and kind and value.shape == ())
    expected, got = f"{name} > {above:g}" if above > -math.inf else name, f"{name} = {shown(value)}"
    expected = f"{name} >= {least:g}" if -LARGEST < least else expected
    plain = plain and not hasattr(value, "mask")
    if plain and kind:  # an array of JAX's that is known, compared where others are traced, is not
        value = value.item()
    if not plain or not -math.inf < value < math.inf:
        raise complaint(f"{expected} as a finite number{or_else}", got, "choose another value")
    if not (least <= value and above < value):
        raise complaint(f"{expected}{or_else}", got, "choose another value")
    if value > most:
        raise complaint(f"{name} <= {most:g}{or_else}", got, "choose another value")


def whole(name: str, value: Any, least: int | None = None) -> int:
    """A whole number, from `least` on where that is given. Raises ValueError for anything else."""
    try:
        found = index(value)
    except TypeError:
        raise complaint(f"a whole number of {name}", shown(value), "give an integer") from None
    if least is not None and not least <= found <= MOST:
        expected = f"{name} >= {least}" if found < least else f"{name} <= {MOST}"
        raise complaint(expected, shown(value), "choose another number")
    return found


def shown(value: Any) -> str:
    """A value as a message quotes it, in one line."""
    if isinstance(value, int) and abs(value) > LARGEST:
        return "an integer beyond all floats"
    text = line(str(value))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def is_traced(value: Any) -> bool:
    """By JAX, where it is loaded."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def _said(error: Exception) -> str:
    """What an exception says, its kind first."""
    said = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _shortened(text: str) -> str:
    """At most about QUOTED characters of a text, the middle left out."""
    half = QUOTED // 2
    return text if len(text) <= QUOTED else f"{text[:half]} ... {text[-half:]}"
