"""What did one verb of the command line find, and how is that kept for a page?

A study is a JSON file beside its figures.

>>> Study("path", "A way out", said=["The barrier is 0.01 high."]).name
'path'
"""

import json
import os
import warnings
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import vaesurface
from vaesurface import files

__all__ = ["Figure", "Study", "load", "save", "studies", "write"]

FORMAT = 1  # of the file; raised by changes that older code would misread
SOFTWARE = ("jax", "numpy", "scipy")  # whose versions a study names

KINDS: dict[str, type] = {  # of a study's fields
    **dict.fromkeys(("name", "title", "command"), str),
    **dict.fromkeys(("said", "verdicts", "figures", "interactive"), list),
    **dict.fromkeys(("settings", "software"), dict),
}


class Figure(NamedTuple):
    """A picture.

    file: its name in the study's directory (.png or .svg).
    caption: what it shows.
    """

    file: str
    caption: str


class Study(NamedTuple):
    """What one verb found; plain data, so that it is its JSON file.

    name: of the verb.
    title: the question.
    said: the answer in sentences.
    verdicts: dicts with name, label, energy and evidence (a dict of sentences).
    figures: in the study's directory.
    interactive: dicts with kind "surface", "spectrum" or "phase" and what `surface`, `spectrum` or
        `phase` takes.
    settings: name -> value.
    command: that makes it again.
    software: name -> version.
    """

    name: str
    title: str
    said: Sequence[str] = ()
    verdicts: Sequence[dict[str, Any]] = ()
    figures: Sequence[Figure] = ()
    interactive: Sequence[dict[str, Any]] = ()
    settings: Mapping[str, Any] = MappingProxyType({})
    command: str = ""
    software: Mapping[str, str] = MappingProxyType({})


def save(study: Study, out: str | os.PathLike) -> Path:
    """The path of a study that was written as `<name>.json` into a directory, with the versions of
    the software; figures are there already.
    """
    software = {name: version(name) for name in SOFTWARE} | {"vaesurface": vaesurface.__version__}
    figures = [figure._asdict() for figure in study.figures]
    fields = study._replace(software=software)._asdict() | {"figures": figures}
    path = Path(out) / f"{study.name}.json"
    text = json.dumps({"format": FORMAT, **files.plain(fields)}, allow_nan=False)
    files.write(path, text)
    return path


def load(path: str | os.PathLike) -> Study:
    """The study of a file, which is no link out of its directory. Raises ValueError for others."""
    path = Path(path)
    try:
        fields = files.read_json(path.name, within=path.parent)
        if fields.pop("format") != FORMAT:
            raise ValueError("it is of another format")
        _require_form(fields)
        return Study(**fields | {"figures": [Figure(**figure) for figure in fields["figures"]]})
    except files.Refusal:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"expected a study of vaesurface, got {path}: {error}; make it again"
        ) from error


def _require_form(fields: dict[str, Any]) -> None:
    """Refuse fields that a page could not show."""
    for name, kind in KINDS.items():
        if not isinstance(fields[name], kind):
            raise ValueError(f"its {name} is no {kind.__name__}")
    for name in ("verdicts", "figures", "interactive"):
        if not all(isinstance(item, dict) for item in fields[name]):
            raise ValueError(f"its {name} are no objects")
    for verdict in fields["verdicts"]:
        energy = verdict.get("energy")
        if not isinstance(verdict["evidence"], dict) or "name" not in verdict:
            raise ValueError("a verdict lacks its name or evidence")
        if "label" not in verdict or not isinstance(energy, int | float | None):
            raise ValueError("a verdict lacks its label, or its energy is no number")


def studies(directory: str | os.PathLike) -> list[Study]:
    """All studies of a directory, by name; other JSON files are passed over.

    Raises ValueError for a study that cannot be read, and for a file that is a link out of the
    directory, no regular file, or larger than `files.most() // files.JSON` bytes.
    """
    return [load(path) for path in sorted(Path(directory).glob("*.json")) if _has_verdicts(path)]


def _has_verdicts(path: Path) -> bool:
    """Whether a file is JSON that has verdicts, as studies have."""
    try:
        return "verdicts" in files.read_json(path.name, within=path.parent)
    except files.Refusal:
        raise
    except (ValueError, TypeError):
        return False


def write(text: str, path: str | os.PathLike) -> None:
    """The old door to `files.write(path, text)`."""
    warnings.warn(
        "report.write(text, path) is now files.write(path, text); the old name goes with the next "
        "release",
        DeprecationWarning,
        stacklevel=2,
    )
    files.write(path, text)
