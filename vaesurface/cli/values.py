"""What may an option's value be? Everything that can be refused is refused before anything is
loaded, let alone computed.

A check takes the option's name and a value, and returns the value or raises ValueError; `checked`
makes of it what typer calls back. TOML files have the same values by the same checks.

>>> number("--alpha", 0.5), numbers("--scale", "0.1, 1"), numbers("scale", [0.1, 1])
(0.5, [0.1, 1.0], [0.1, 1.0])
>>> count("--starts", 0)
Traceback (most recent call last):
ValueError: expected --starts >= 1, got 0; choose another value
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from vaesurface.refusal import complaint

__all__ = [
    "LARGEST",
    "MOST",
    "checked",
    "count",
    "existing",
    "first_seed",
    "number",
    "numbers",
    "positive",
    "rate",
    "text",
    "texts",
]

# Of a number: energies have its fourth power over gamma, which float64 still holds.
LARGEST = 1e30
MOST = 1_000_000  # of what is counted: more starts, runs or steps than anybody waits for
FASTEST = 1e3  # rate of learning; no step goes down far below it
OTHER = "choose another value"
SEEDS = 2**32  # of them JAX makes different keys also where it has no 64-bit integers


def checked(check: Callable[..., Any], /, **limits: Any) -> Callable[..., Any]:
    """What typer calls with an option's value, once it is of the right type; limits: of the
    check.
    """

    def called(param: typer.CallbackParam, value: Any) -> Any:
        name = param.opts[0] if param.opts[0].startswith("-") else param.opts[0].upper()
        return value if value is None else check(name, value, **limits)

    return called


def number(name: str, value: Any, *, least: float = -LARGEST, most: float = LARGEST) -> float:
    """A finite number from `least` to `most`."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    if not real or not -math.inf < value < math.inf:
        raise complaint(f"{name} as a finite number", _shown(value), OTHER)
    _require_within(name, value, least, most)
    return float(value)


def positive(name: str, value: Any) -> float:
    """A number > 0 whose inverse is no larger than LARGEST either."""
    found = number(name, value)
    if not found > 0:
        raise complaint(f"{name} > 0", _shown(value), OTHER)
    return number(name, value, least=1 / LARGEST)


def rate(name: str, value: Any) -> float:
    """A learning rate: positive, and at most FASTEST."""
    return number(name, positive(name, value), most=FASTEST)


def count(name: str, value: Any, *, least: int = 1, most: int = MOST) -> int:
    """A whole number from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise complaint(f"{name} as a whole number", _shown(value), OTHER)
    _require_within(name, value, least, most)
    return value


def _require_within(name: str, value: float, least: float, most: float) -> None:
    """Raise ValueError for a value that is too small or too large."""
    if value < least:
        raise complaint(f"{name} >= {least:.7g}", _shown(value), OTHER)
    if value > most:
        raise complaint(f"{name} <= {most:.7g}", _shown(value), OTHER)


def first_seed(name: str, value: Any) -> int:
    """A seed, or the first of up to MOST of them."""
    return count(name, value, least=0, most=SEEDS - MOST - 1)


def numbers(
    name: str, value: Any, check: Callable[..., Any] = number, **limits: Any
) -> list[float]:
    """One number or more that are different: with commas in a text, or a list as TOML has it.

    check, limits: of each.
    """
    expected, remedy = f"numbers for {name}", "write them with commas, 0,0.1,0.5"
    if isinstance(value, str):
        try:
            value = [float(part) for part in value.split(",") if part.strip()]
        except ValueError as error:
            raise complaint(expected, repr(value), remedy) from error
    elif not isinstance(value, list):
        raise complaint(expected, _shown(value), "give a list of them")
    found = [check(name, each, **limits) for each in value]
    if not found:
        raise complaint(f"at least one number for {name}", "none", remedy)
    if len(set(found)) < len(found):
        again = next(each for each in found if found.count(each) > 1)
        raise complaint(f"different numbers for {name}", f"{again:g} twice", "drop one of them")
    return found


def text(name: str, value: Any) -> str:
    """A name, or a path that a system takes."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise complaint(f"a name or path for {name}", _shown(value), "write one")
    return value


def texts(name: str, value: list[str]) -> list[str]:
    """Names or paths, each once."""
    for each in value:
        text(name, each)
    if len(set(value)) < len(value):
        raise complaint(f"different data for {name}", ", ".join(value), "name each once")
    return value


def existing(name: str, path: Path) -> Path:
    """A file that can be read."""
    where = f"{os.fspath(path)!r}"
    if os.path.isdir(path):
        raise complaint(f"a file for {name}", f"the folder {where}", "name a file in it")
    if not os.path.exists(path):
        got = f"{where} where none is"
        raise FileNotFoundError(f"expected a file for {name}, got {got}; correct the path")
    if not os.access(path, os.R_OK):
        raise complaint(f"a file for {name}", f"{where} that you may not read", "change its mode")
    return path


def _shown(value: Any) -> str:
    """A value as a message has it."""
    if isinstance(value, float):
        return f"{value:g}"
    # Python refuses to write down integers of thousands of digits.
    if isinstance(value, int) and abs(value) > 10**30:
        return f"an integer of about {value.bit_length() * math.log10(2):.0f} digits"
    return repr(value)
