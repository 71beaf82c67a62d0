"""What does the first screen of a page say? What this is, the answer, one picture, a small table.

>>> about({"data": "antipodal", "n": 2, "d": 2, "latents": 1, "gamma": None, "beta": 1.0})
['antipodal', '2 data of 2 features', '1 latent', 'γ learned', 'β = 1']
"""

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import PurePath
from typing import Any

from vaesurface.marks import UNIT
from vaesurface.report.digits import plain, told_apart
from vaesurface.report.markup import columns, link, table, text
from vaesurface.report.phase import counted
from vaesurface.report.study import Study

__all__ = ["about", "answer", "has_energies", "points", "questions", "summary", "told", "what"]

ROWS = 6  # of the table
LONG = 140  # characters of evidence, of which all is told below
SHORT = 320  # characters of an answer, the same
SEVERAL = 5  # values of a hyper-parameter that are listed
NAMES = {
    "data": ("data", "source", "file"),
    "rows": ("n", "rows"),
    "latents": ("latents", "latent"),
}
GREEK = {"alpha": "α", "gamma": "γ", "beta": "β"}
ENERGIES = (
    f"Energies are twice the negative ELBO in nats, averaged over the data, up to constants "
    f"({UNIT}): lower is better, and half a difference is in nats per datum."
)


def summary(
    studies: Sequence[Study], titles: Sequence[str], places: Sequence[str], picture: str
) -> str:
    """The first screen, as HTML: of the first study, with what the others ask and answer.

    titles: of all, as HTML; places: where each is on the page; picture: HTML.
    """
    first = studies[0]
    said = [f'<p class="answer">{text(answer(first))}</p>'] if answer(first) else []
    if len(studies) == 1:
        said += [f"<p>{text(sentence)}</p>" for sentence in told(first)]
        small = points(first)
    else:
        small = questions(studies[1:], titles[1:], places[1:])
    note = f'<p class="note">{text(ENERGIES)}</p>' if any(map(has_energies, studies)) else ""
    return (
        f'<section id="summary"><h2>{titles[0]}</h2>'
        f"{what(first)}"
        f'<div class="first"><div>{"".join(said)}</div><div class="picture">{picture}</div>'
        f'<div><div class="wide">{small}</div>{note}</div></div></section>'
    )


def what(study: Study) -> str:
    """Data, sizes and surface of a study as a line of HTML; "" where it names none."""
    items = "".join(f"<li>{text(part)}</li>" for part in about(study.settings))
    return f'<ul class="about">{items}</ul>' if items else ""


def about(settings: Mapping[str, Any]) -> list[str]:
    """Data, sizes and surface, in a few words each."""
    known = {
        name: next((settings[key] for key in keys if key in settings), None)
        for name, keys in NAMES.items()
    }
    words = []
    if known["data"] is not None:
        words.append(PurePath(str(known["data"])).name)
    if known["rows"] is not None:
        features = f" of {_count(settings['d'], 'feature')}" if "d" in settings else ""
        words.append(f"{known['rows']} data{features}")
    if known["latents"] is not None:
        words.append(_count(known["latents"], "latent"))
    if "looks" in settings:
        words.append(f"{settings['looks']} looks, to step {settings.get('last step', 0)}")
    words += [
        str(settings[name])
        for name in ("activation", "likelihood", "posterior")
        if settings.get(name)
    ]
    for name, letter in GREEK.items():
        if name in settings:
            words.append(_valued(letter, settings[name]))
    return words


def _count(number: Any, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _valued(letter: str, value: Any) -> str:
    """A hyper-parameter; one without a value is learned."""
    if value in (None, "learned"):
        return f"{letter} learned"
    several = str(value).split(", ")
    if len(several) > SEVERAL:
        return f"{len(several)} values of {letter} from {several[0]} to {several[-1]}"
    return f"{letter} = {plain(value) if isinstance(value, float) else value}"


def answer(study: Study) -> str:
    """The answer: of a phase diagram its counts, else what the study says first."""
    for numbers in study.interactive:
        if numbers["kind"] == "phase":
            return counted(numbers)
    return study.said[0] if study.said else ""


def told(study: Study) -> list[str]:
    """What the first screen says besides: the next of what the study says."""
    return [] if answer(study) not in study.said else list(study.said[1:2])


def has_energies(study: Study) -> bool:
    """Whether a study shows energies."""
    return bool(study.interactive) or any(v.get("energy") is not None for v in study.verdicts)


def points(study: Study) -> str:
    """The first verdicts as a table; of a single one its evidence, where that is short; without any
    the settings.
    """
    if len(study.verdicts) < 2:
        values = study.verdicts[0]["evidence"] if study.verdicts else study.settings
        short = {name: value for name, value in values.items() if len(str(value)) <= LONG}
        return table(dict(islice(short.items(), ROWS)))
    energies = told_apart([verdict.get("energy") for verdict in study.verdicts])
    rows = [
        [text(verdict["name"]), text(verdict["label"]), energy]
        for verdict, energy in zip(study.verdicts, energies, strict=True)
    ]
    more = len(rows) - ROWS
    rest = [[f"and {more} more below", "", ""]] if more > 0 else []
    return columns(["point", "what it is", "energy"], rows[:ROWS] + rest)


def questions(studies: Sequence[Study], titles: Sequence[str], places: Sequence[str]) -> str:
    """What each study asks, and the beginning of its answer, as a table."""
    rows = [
        [link(place, title), text(_short(answer(study)))]
        for study, title, place in zip(studies, titles, places, strict=True)
    ]
    return columns(["asked besides", "answer"], rows)


def _short(said: str) -> str:
    """What is said, cut at a word where it is long."""
    return said if len(said) <= SHORT else f"{said[:SHORT].rsplit(' ', 1)[0]} …"
