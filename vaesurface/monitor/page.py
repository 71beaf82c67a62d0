"""How does a run read on a page? A study: what was said, the curves, the last look with its
evidence.

>>> import numpy as np
>>> from vaesurface.monitor.reading import Reader
>>> rng = np.random.default_rng(0)
>>> x, off = rng.standard_normal((256, 4)) * [3.0, 1.0, 1.0, 1.0], np.zeros((256, 2))
>>> reader = Reader()
>>> looks = [
...     reader.read(step, 0.0, x=x, mean=off, log_std=off, reconstruction=0 * x, gamma=20.0)
...     for step in range(0, 1000, 100)
... ]
>>> [phase.name for _, _, phase in spells(looks, course(looks, 1000))]
['PLATEAU', 'SHUT']
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

from vaesurface import plot
from vaesurface.diagnose.terms import ACTIVE_NATS
from vaesurface.monitor import words
from vaesurface.monitor.course import Course, Phase, course
from vaesurface.monitor.reading import Update
from vaesurface.monitor.record import Record
from vaesurface.refusal import complaint
from vaesurface.report import Figure, Study

__all__ = ["checkpoints", "spells", "study"]

# What names of checkpoints call their steps; and whole numbers in them, no digits of 0.25.
LABELS = ("step", "epoch", "iter")
WHOLE = re.compile(r"(?<![\d.])\d+(?![\d]*\.\d)")
CAPTION = (
    "What each latent can carry; energy of the rows looked at; expected error and gamma, equal "
    "where gamma is at its best; what a further affine latent would gain at this gamma and beta. "
    "Shaded: latents that are wanted are off."
)


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """The exports (.npz) in a folder, by their steps: in each name the whole number after "step"
    or, if names have none, after "epoch" or "iter"; else the one whole number that differs.

    Names in which none or several differ are in their order as people count, numbered from 0.
    Raises ValueError where there is no export.
    """
    found = sorted(folder.glob("*.npz"), key=lambda path: _counted(path.stem))
    if not found:
        remedy = "export checkpoints there as docs/diagnose.md says, step-000100.npz, ..."
        raise complaint(f"exports (.npz) in {folder}", "none", remedy)
    for label in LABELS:
        matches = [re.search(rf"{label}\D?(\d+)", path.stem, re.IGNORECASE) for path in found]
        if all(matches) and (steps := _distinct([m.group(1) for m in matches if m])):
            return sorted(zip(steps, found, strict=True))
    rows = [WHOLE.findall(path.stem) for path in found]
    if len({len(row) for row in rows}) == 1:
        columns = [_distinct(list(column)) for column in zip(*rows, strict=True)]
        told = [column for column in columns if column]
        if len(told) == 1:
            return sorted(zip(told[0], found, strict=True))
    return list(enumerate(found))


def _distinct(digits: list[str]) -> list[int]:
    """Numbers, if no two are the same; else none."""
    numbers = [int(text) for text in digits]
    return numbers if len(set(numbers)) == len(numbers) else []


def _counted(name: str) -> list[tuple[int, str]]:
    """A name to sort by, 10 after 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def study(record: Record, name: str, out: Path, command: str, least: int | None = None) -> Study:
    """The study of a run, its figure drawn into a directory; least: as `course` takes it. Raises
    ValueError for a record without a look.
    """
    if not record.updates:
        raise complaint("the record of a run", f"{name} without a look", "call monitor.update")
    steps = record.about.get("steps")
    found = course(record.updates, steps if isinstance(steps, int) else None, least)
    alarm = _alarm(record.updates, found)
    said = [words.state(record.updates, found)]
    if alarm is not None and not found.phase.alarming:
        said.append(f"An earlier warning, of step {alarm:,}, does not hold any more.")
    said += [str(record.end[part]) for part in ("label", "change") if part in record.end]
    out.mkdir(parents=True, exist_ok=True)
    file = f"{name}.png"
    looks = len(record.updates)
    counted = f"{name}: {words.plural(len(record.updates[-1].kl), 'latent')}, {looks} looks"
    axes = _draw(record.updates, found, alarm, counted)
    with plot.style():
        axes[0].figure.savefig(out / file)
    plt.close(axes[0].figure)
    last = record.updates[-1]
    return Study(
        name=name,
        title=f"Does {name} collapse?",
        said=said,
        verdicts=[_verdict(last, record.end)],
        figures=[Figure(file=file, caption=CAPTION)],
        settings={
            "looks": len(record.updates),
            "last step": last.step,
            "latents": len(last.kl),
            **record.about,
        },
        command=command,
    )


def spells(updates: Sequence[Update], found: Course) -> list[tuple[int, int, Phase]]:
    """Steps from and to which the run was at the same, all of it."""
    ends = [update.step for update in updates[1:]] + [updates[-1].step]
    joined: list[tuple[int, int, Phase]] = []
    for update, end, phase in zip(updates, ends, found.phases, strict=True):
        if joined and joined[-1][2] == phase:
            joined[-1] = (joined[-1][0], end, phase)
        else:
            joined.append((update.step, end, phase))
    return joined


def _alarm(updates: Sequence[Update], found: Course) -> int | None:
    """The step of the first warning."""
    alarming = (u.step for u, p in zip(updates, found.phases, strict=True) if p.alarming)
    return next(alarming, None)


def _draw(updates: Sequence[Update], found: Course, alarm: int | None, title: str) -> Any:
    """Curves, and where latents were off."""
    shaded = [(a, b, p.words) for a, b, p in spells(updates, found) if p > Phase.USED]
    return plot.course(
        [update.step for update in updates],
        [update.carried for update in updates],
        [update.energy for update in updates],
        error=[update.error for update in updates],
        gamma=[update.gamma for update in updates],
        gain=[update.gain for update in updates],
        spells=shaded,
        active=ACTIVE_NATS,
        alarm=alarm,
        likelihood=updates[-1].likelihood,
        title=title,
    )


def _verdict(last: Update, end: Mapping[str, Any]) -> dict[str, Any]:
    """Of the whole diagnosis where there is one, else of the last look."""
    numbers = {
        "in use": f"{sum(last.active)} of {words.plural(len(last.kl), 'latent')}",
        "KL": f"{sum(last.kl):.4g} nats per datum",
        "error": f"{last.error:.4g} per coordinate, gamma {last.gamma:.4g}, beta {last.beta:.4g}",
        "a further latent": f"would gain {last.gain:.3g} nats per datum",
    }
    evidence = end.get("evidence", {})
    return {
        "name": f"step {last.step:,}",
        "label": str(end.get("label", last.label)),
        "energy": last.energy if last.energy == last.energy else None,
        "evidence": {**numbers, **(evidence if isinstance(evidence, dict) else {})},
    }
