"""Which starts collapse? A table with a cell for each alpha and initialization scale, which opens.

It is a table and no picture: it needs no library, scrolls where it is wide, and its cells are
buttons that a finger or the keyboard reaches.

>>> run = {"seed": 0, "label": "collapsed saddle", "energy": 3.0, "collapsed": True}
>>> numbers = {"alpha": [0.0, 0.1], "scale": [1.0], "runs": [[[], [run]]]}
>>> counted(numbers)
'1 of 1 starts collapse.'
>>> "1/1" in phase(numbers)
True
"""

from collections.abc import Mapping, Sequence
from typing import Any

from vaesurface.report.digits import plain, told_apart

__all__ = ["counted", "opened", "phase"]

# Viridis at equal steps from 0 to 1; the palette of the figures, which would load matplotlib.
COLORS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fde725")
DARK = 0.45  # shares below it need white digits
SAID = 5  # alphas that a sentence lists

Run = Mapping[str, Any]


def phase(numbers: Mapping[str, Any]) -> str:
    """The table, as HTML; its buttons have the row and the column in `data-cell`.

    numbers: alpha (m,), scale (l,), runs (l, m): lists of runs, dicts with seed, label, energy,
    collapsed and what else is to be shown. Raises ValueError, TypeError or LookupError for others.
    """
    alphas = [f"{float(alpha):g}" for alpha in numbers["alpha"]]
    scales = [f"{float(scale):g}" for scale in numbers["scale"]]
    lengths = [len(row) for row in numbers["runs"]]
    if lengths != [len(alphas)] * len(scales):
        raise ValueError(f"{len(scales)} rows of {len(alphas)} runs have lengths {lengths}")
    head = "".join(f'<th scope="col">{alpha}</th>' for alpha in alphas)
    rows = []
    for i in reversed(range(len(scales))):
        cells = (
            _cell(runs, f"{i},{j}", f"α = {alphas[j]}, scale {scales[i]}")
            for j, runs in enumerate(numbers["runs"][i])
        )
        rows.append(f'<tr><th scope="row">{scales[i]}</th>{"".join(cells)}</tr>')
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="Share of starts that collapse">'
        f'<table class="cells">'
        f'<thead><tr><td></td><th scope="colgroup" colspan="{len(alphas)}">decoder perturbation '
        f'strength α (data units)</th></tr><tr><th scope="col">initialization scale</th>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>{_key()}"
        f'<div class="wide runs" aria-live="polite"></div>'
    )


def _cell(runs: Sequence[Run], place: str, name: str) -> str:
    """How many of a cell's runs collapsed, as a button."""
    if not runs:
        return '<td class="empty">none</td>'
    count = sum(bool(run["collapsed"]) for run in runs)
    share = count / len(runs)
    ink = "#fff" if share < DARK else "#000"
    return (
        f'<td><button type="button" data-cell="{place}" aria-pressed="false" '
        f'aria-label="{name}: {count} of {len(runs)} collapsed; show its runs" '
        f'style="background:{_color(share)};color:{ink}">{count}/{len(runs)}</button></td>'
    )


def _key() -> str:
    """What the colors mean."""
    return (
        f'<p class="key">none <span style="background:linear-gradient(90deg,{",".join(COLORS)})">'
        f"</span> all starts of a cell collapse</p>"
    )


def _color(share: float) -> str:
    """Of a share, between 0 and 1."""
    place = share * (len(COLORS) - 1)
    left = min(int(place), len(COLORS) - 2)
    pair = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in COLORS[left : left + 2]]
    mixed = (a + (place - left) * (b - a) for a, b in zip(*pair, strict=True))
    return "#" + "".join(f"{round(part):02x}" for part in mixed)


def opened(numbers: Mapping[str, Any]) -> dict[str, Any]:
    """The runs of every cell as texts, for the page's script: names of columns, rows of cells."""
    cells = [runs for row in numbers["runs"] for runs in row]
    runs = [run for cell in cells for run in cell]
    names = list(dict.fromkeys(name for run in runs for name in run))
    energies = iter(told_apart([run["energy"] for run in runs]))
    texts = [
        [
            [
                [next(energies) if name == "energy" else _shown(run.get(name)) for name in names]
                for run in cell
            ]
            for cell in row
        ]
        for row in numbers["runs"]
    ]
    return {"names": names, "cells": texts}


def _shown(value: Any) -> str:
    """A value of a run."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return plain(value)
    return "" if value is None else str(value)


def counted(numbers: Mapping[str, Any]) -> str:
    """How many starts collapse, in a sentence, by alpha where there are several."""
    alphas = [f"{float(alpha):g}" for alpha in numbers["alpha"]]
    counts = []
    for column in range(len(alphas)):
        runs = [run for row in numbers["runs"] for run in row[column]]
        counts.append((sum(bool(run["collapsed"]) for run in runs), len(runs)))
    total = sum(n for _, n in counts)
    sentence = f"{sum(c for c, _ in counts)} of {total} starts collapse"
    known = [(alpha, *count) for alpha, count in zip(alphas, counts, strict=True) if count[1]]
    if len(known) < 2:
        return f"{sentence}."
    listed = [known[i] for i in _evenly(len(known))]
    each = ", ".join(f"{c} of {n} at α = {alpha}" for alpha, c, n in listed)
    some = "" if len(listed) == len(known) else " for instance"
    return f"{sentence}:{some} {each}."


def _evenly(number: int) -> list[int]:
    """Places in a list of some length, evenly from the first to the last, at most `SAID`."""
    parts = min(number, SAID) - 1
    return [round(i * (number - 1) / parts) for i in range(parts + 1)]
