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
from vaesurface.refusal import complaint, reading

__all__ = ["Figure", "Study", "load", "save", "studies", "write"]

STUDY, REMEDY = "a study of vaesurface", "make it again"
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
    with reading(STUDY, REMEDY, path):
        fields = files.read_json(path.name, within=path.parent)
        if fields.pop("format") != FORMAT:
            raise complaint(STUDY, f"{path}: it is of another format", REMEDY)
        _require_form(fields)
        study = Study(**fields | {"figures": [Figure(**figure) for figure in fields["figures"]]})
        _require_texts(study)
        return study


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

    Raises ValueError for a study that cannot be read, and for a file that is no JSON (it may have
    been a study), a link out of the directory, no regular file, or larger than
    `files.most() // files.JSON` bytes.
    """
    return [load(path) for path in sorted(Path(directory).glob("*.json")) if _has_verdicts(path)]


def _has_verdicts(path: Path) -> bool:
    """Whether a JSON file has verdicts, as studies have."""
    with reading("JSON, whole", "remove it, or make it again", path):
        content = files.read_json(path.name, within=path.parent)
    return isinstance(content, dict) and "verdicts" in content


def _require_texts(study: Study) -> None:
    """Refuse what is no text where a page has words."""
    texts = [*study.said, *(text for figure in study.figures for text in figure)]
    texts += [verdict[name] for verdict in study.verdicts for name in ("name", "label")]
    texts += [numbers["title"] for numbers in study.interactive]
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{text!r} is no text")


def write(text: str, path: str | os.PathLike) -> None:
    """The old door to `files.write(path, text)`."""
    warnings.warn(
        "report.write(text, path) is now files.write(path, text); the old name goes with the next "
        "release",
        DeprecationWarning,
        stacklevel=2,
    )
    files.write(path, text)
