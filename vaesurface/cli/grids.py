"""Which cells does `vaesurface sweep` compute? Its settings, from the command line and from TOML
files, as texts or lists.

>>> seeds("--seeds", "3"), seeds("--seeds", "100:102"), seeds("--seeds", [7, 9])
(range(0, 3), range(100, 102), [7, 9])
>>> whole("--latent", "1,2,4"), axis("--axis", "width=0:3"), axis("--axis", "rate=0.1,1")
([1, 2, 4], ('width', [0, 1, 2]), ('rate', [0.1, 1.0]))
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from vaesurface.cli import names, values
from vaesurface.cli.options import (
    ACTIVATION,
    ACTIVATIONS,
    DATA,
    DISPERSION,
    LIKELIHOOD,
    LIKELIHOODS,
    POSTERIOR,
    POSTERIORS,
    Limit,
)
from vaesurface.refusal import complaint, reading

__all__ = ["Own", "Settings", "axis", "gathered", "options", "seeds", "shard", "whole"]

LAST = values.SEEDS - values.MOST - 1  # seed that may be
MEMBER = ("activation", "likelihood", "posterior")  # of the family of VAEs, by names
RANGE = re.compile(r"\s*(\d{1,18})\s*:\s*(\d{1,18})\s*")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `vaesurface sweep` takes from the command line or else from a TOML file."""

    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            help="name, or path of a .csv, .npy or other, as in analyze; default digits-4x4",
            autocompletion=DATA,
        ),
    ] = None
    limit: Limit = None
    rows: Annotated[
        str | None,
        typer.Option("--rows", help="use the first so many rows; several, 100,200: a store each"),
    ] = None
    latent: Annotated[
        str | None,
        typer.Option("--latent", help="latent dimensions; default 2; several, 1,2: a store each"),
    ] = None
    alpha: Annotated[
        str | None, typer.Option("--alpha", help="decoder perturbation strengths, comma separated")
    ] = None
    scale: Annotated[
        str | None, typer.Option("--scale", help="initialization scales, comma separated")
    ] = None
    seeds: Annotated[
        str | None, typer.Option("--seeds", help="starts per cell, 20, or which, 100:200 or 3,5")
    ] = None
    gamma: Annotated[
        str | None,
        typer.Option("--gamma", help="decoder variance, or several; learned if not given"),
    ] = None
    beta: Annotated[
        str | None, typer.Option("--beta", help="weight of the KL part, or several; default 1")
    ] = None
    activation: Annotated[
        str | None,
        typer.Option("--activation", help=ACTIVATION, autocompletion=ACTIVATIONS),
    ] = None
    likelihood: Annotated[
        str | None,
        typer.Option("--likelihood", help=LIKELIHOOD, autocompletion=LIKELIHOODS),
    ] = None
    posterior: Annotated[
        str | None,
        typer.Option("--posterior", help=POSTERIOR, autocompletion=POSTERIORS),
    ] = None
    dispersion: Annotated[float | None, typer.Option("--dispersion", help=DISPERSION)] = None
    optimizer: Annotated[
        str | None,
        typer.Option(
            "--optimizer",
            help="adam, gradient-descent or lbfgs",
            autocompletion=names.among(names.OPTIMIZERS),
        ),
    ] = None
    steps: Annotated[int | None, typer.Option("--steps", help="optimizer steps")] = None
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="not for lbfgs")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Own:
    """A function of the user's, in place of all that."""

    function: Annotated[
        str | None,
        typer.Option(
            "--function",
            help="sweep a JAX function of your own instead, MODULE:FUNCTION, over its arguments; "
            "one that is called X gets the data",
        ),
    ] = None
    axes: Annotated[
        list[str] | None,
        typer.Option("--axis", help="an argument of it and its values: width=1,2,4 or seed=0:100"),
    ] = None
    each: Annotated[
        list[str] | None,
        typer.Option(
            "--each",
            help="the same of an argument that sizes of arrays depend on: a program and a store "
            "for each value",
        ),
    ] = None
    fixed: Annotated[
        list[str] | None,
        typer.Option("--set", help="an argument and its one value: steps=100, name=abc"),
    ] = None


CHECKS: dict[str, Any] = {  # of settings, by name
    "data": values.text,
    "limit": lambda name, value: values.count(name, value, least=2, most=10**9),
    "rows": lambda name, value: whole(name, value, least=2, most=10**9),
    "latent": lambda name, value: whole(name, value),
    "alpha": lambda name, value: values.numbers(name, value, least=0),
    "scale": lambda name, value: values.numbers(name, value, least=0),
    "seeds": lambda name, value: seeds(name, value),
    "gamma": lambda name, value: _one_or_more(name, value),
    "beta": lambda name, value: _one_or_more(name, value),
    **dict.fromkeys(MEMBER, values.text),
    "dispersion": values.positive,
    "optimizer": values.text,
    "steps": values.count,
    "learning_rate": values.rate,
    "out": values.text,
}
OWN: dict[str, Any] = {  # of a function of the user's, in a TOML file tables
    "function": values.text,
    "axis": lambda name, value: _table(name, value, _values),
    "each": lambda name, value: _table(name, value, _values),
    "set": lambda name, value: _table(name, value, _scalar),
}


def gathered(settings: Settings, own: Own, config: Path | None) -> dict[str, Any]:
    """All settings that were given, checked; those of the command line win. Raises ValueError for
    what makes no sweep.
    """
    told = {} if config is None else _from_file(config)
    told |= _checked({n: v for n, v in vars(settings).items() if v is not None}, "--")
    if own.function is not None:
        told["function"] = values.text("--function", own.function)
    for name, parts, check in (
        ("axis", own.axes, axis),
        ("each", own.each, axis),
        ("set", own.fixed, _setting),
    ):
        if parts:
            told[name] = _distinct(name, [check(f"--{name}", part) for part in parts])
    _require_one_kind(told)
    return told


def _require_one_kind(told: dict[str, Any]) -> None:
    """Refuse options of which some would be passed over."""
    if "function" in told:
        needless = sorted(told.keys() - {"function", "axis", "each", "set", *_ABOUT})
        remedy = "name arguments of the function with --axis and --set"
        if needless:
            got = ", ".join(f"--{name.replace('_', '-')}" for name in needless)
            raise complaint("--axis, --each and --set with --function", got, remedy)
        if "axis" not in told:
            raise complaint("an --axis for --function", "none", "give one, like --axis seed=0:10")
        twice = [
            name for name in told["axis"] if name in told.get("each", {}) | told.get("set", {})
        ]
        if twice:
            raise complaint("an argument once", f"{twice[0]} twice", "drop one of them")
    elif stray := sorted(told.keys() & {"axis", "each", "set"}):
        remedy = "name one with --function MODULE:FUNCTION"
        raise complaint(f"a function for --{stray[0]}", "none", remedy)


_ABOUT = ("data", "limit", "out")  # what a function of the user's may have, too


def _from_file(path: Path) -> dict[str, Any]:
    from vaesurface import files

    with reading("a TOML file", "mend it", path):
        told = files.read_toml(path)
    known = CHECKS | OWN
    for name in told:
        if name not in known:
            got = f"{name} in {path}"
            raise complaint(f"settings out of {', '.join(known)}", got, "rename or drop it")
    return _checked(told, "", f" in {path}")


def _checked(told: dict[str, Any], before: str, after: str = "") -> dict[str, Any]:
    """Settings, each after its check, under their names as the user wrote them."""
    shown = {name: f"{before}{name.replace('_', '-') if before else name}{after}" for name in told}
    checks = CHECKS | OWN
    return {name: checks[name](shown[name], value) for name, value in told.items()}


def whole(name: str, value: Any, least: int = 1, most: int = values.MOST) -> list[int]:
    """One whole number or more that are different: with commas or as a range in a text, a list, or
    one of them.
    """
    found = _integers(name, value)
    if not found:
        raise complaint(f"at least one number for {name}", "none", "write one, or some: 1,2,4")
    for each in found:
        values.count(name, each, least=least, most=most)
    _require_different(name, found)
    return found


def seeds(name: str, value: Any) -> Sequence[int]:
    """Seeds from a text, a number or a list: a number is how many of the first, a:b from a to below
    b.
    """
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value[:19])
    if isinstance(value, int) and not isinstance(value, bool):
        return range(values.count(name, value))
    if isinstance(value, str) and (found := RANGE.fullmatch(value)):
        first, after = (int(part) for part in found.groups())
        if not first < after <= LAST:
            raise complaint(f"a range of seeds for {name}", value, "write 100:200, say")
        values.count(name, after - first)
        return range(first, after)
    return whole(name, value, least=0, most=LAST)


def axis(name: str, text: str) -> tuple[str, list[Any]]:
    """An argument and its values, from name=values."""
    argument, _, listed = text.partition("=")
    if not (argument.strip().isidentifier() and listed.strip()):
        remedy = "write it so, with = and commas"
        raise complaint(f"{name} like width=1,2,4 or seed=0:100", repr(text), remedy)
    return argument.strip(), _values(f"{name} {argument.strip()}", listed)


def options(given: str | None) -> list[str] | None:
    """Names with commas."""
    return None if given is None else [part.strip() for part in given.split(",") if part.strip()]


def shard(name: str, text: str | None) -> tuple[int, int]:
    """i of n, from i/n, counted from 1; all for None."""
    if text is None:
        return 1, 1
    found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
    number, parts = map(int, found.groups()) if found else (0, 0)
    if not 1 <= number <= parts:
        raise complaint(f"{name} like 1/4, up to 4/4", repr(text), "count from 1")
    return number, parts


def _setting(name: str, text: str) -> tuple[str, Any]:
    argument, equals, value = text.partition("=")
    if not (argument.strip().isidentifier() and equals):
        raise complaint(f"{name} like steps=100", repr(text), "write it so, with =")
    return argument.strip(), _scalar(f"{name} {argument.strip()}", _read(value.strip()))


def _read(text: str) -> Any:
    """A number or truth value where a text is one, else the text."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text[:400])
        except ValueError:
            continue
    return text


def _scalar(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return values.text(name, value)
    if isinstance(value, int):
        return values.count(name, value, least=-(2**63), most=2**63 - 1)
    return values.number(name, value)


def _values(name: str, value: Any) -> list[Any]:
    """Of an axis: whole numbers where all are, else numbers."""
    texts = value if isinstance(value, list) else str(value).split(",")
    if isinstance(value, str) and (found := RANGE.fullmatch(value)):
        first, after = (int(part) for part in found.groups())
        values.count(name, after - first, most=10**7)
        return list(range(first, after))
    read = [_read(part.strip()) if isinstance(part, str) else part for part in texts]
    if all(isinstance(each, int) and not isinstance(each, bool) for each in read):
        return whole(name, read, least=-(2**63), most=2**63 - 1)
    return values.numbers(name, read)


def _one_or_more(name: str, value: Any) -> float | list[float]:
    """A positive number, or a list of several."""
    given = value if isinstance(value, str | list) else [value]
    found = values.numbers(name, given, values.positive)
    return found[0] if len(found) == 1 else found


def _integers(name: str, value: Any) -> list[Any]:
    if isinstance(value, str):
        if found := RANGE.fullmatch(value):
            first, after = (int(part) for part in found.groups())
            values.count(name, after - first)
            return list(range(first, after))
        parts = [part.strip() for part in value.split(",") if part.strip()]
        if not all(re.fullmatch(r"[+-]?\d{1,400}", part) for part in parts):
            raise complaint(f"whole numbers for {name}", repr(value), "write them with commas, 1,2")
        return [int(part) for part in parts]
    return value if isinstance(value, list) else [value]


def _require_different(name: str, found: list[int]) -> None:
    if len(set(found)) < len(found):
        again = next(each for each in found if found.count(each) > 1)
        raise complaint(f"different numbers for {name}", f"{again} twice", "drop one of them")


def _table(name: str, value: Any, check: Any) -> dict[str, Any]:
    """A TOML table of arguments."""
    if not isinstance(value, dict) or not all(key.isidentifier() for key in value):
        raise complaint(f"a table of arguments for {name}", repr(value), "write width = [1, 2]")
    return {key: check(f"{name} {key}", one) for key, one in value.items()}


def _distinct(name: str, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        again = next(one for one, _ in pairs if [n for n, _ in pairs].count(one) > 1)
        raise complaint(f"an argument once with --{name}", f"{again} twice", "drop one of them")
    return dict(pairs)
