"""What does the board say? What moves starts out of a basin, and what removes it.

>>> from vaesurface.traps import exact
>>> print(removes(exact("antipodal")[:1]))
On the 1 trap with alpha > 0 no schedule and no start removes the basin: ...
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from vaesurface import theory
from vaesurface.cure.board import Cell
from vaesurface.cure.cures import CURES, Cure
from vaesurface.diagnose import Collapse
from vaesurface.traps import Trap

__all__ = ["LEVEL", "gradients", "matrix", "overview", "removes", "sentences", "table", "told"]

LEVEL = 0.05  # of all tests of a board together (Bonferroni)
MOVES = {
    "nothing": "more of the same",
    "start": "another start",
    "way": "another way down",
    "surface": "another surface, or rule for gamma",
}


def told(cells: Sequence[Cell]) -> list[bool]:
    """Of which cells the difference from the plain runs is more than chance: McNemar's exact test,
    5 % for all cells together.
    """
    tests = sum(cell.pairs is not None and cell.cure != CURES[0].name for cell in cells)
    return [cell.pairs is not None and cell.pairs.p <= LEVEL / max(tests, 1) for cell in cells]


def sentences(traps: Sequence[Trap], cells: Sequence[Cell]) -> list[str]:
    """The answer: first what removes a basin, then each cure by what it moves."""
    exact = [trap for trap in traps if trap.radius > 0]
    said = [removes(exact)] if any(math.isfinite(trap.radius) for trap in exact) else []
    if any(trap.kind == Collapse.GAMMA for trap in traps):
        said.append(_too_large(traps, cells))
    said += [_moved(cure, traps, cells) for cure in CURES[1:] if _pairs(cure, traps, cells)]
    return [*said, *_unsure(cells)]


def removes(traps: Sequence[Trap]) -> str:
    """What is certified of the basins, whatever the way down."""
    bent = [trap for trap in traps if math.isfinite(trap.radius)]
    least = min(trap.radius / float(trap.problem.alpha) for trap in bent)
    held = [trap for trap in bent if not trap.learned]
    also = ""
    if held:
        freed = min(_freed_radius(trap) / float(trap.problem.alpha) for trap in held)
        also = f", with gamma learned in place of held within {freed:.3g} alpha"
    return (
        f"On the {len(bent)} trap{'s' * (len(bent) > 1)} with alpha > 0 no schedule and no start "
        f"removes the basin: when it ends the energy is the trap's again, and there the collapsed "
        f"point is a strict local minimum, lower than all else whose rows of the weight are up to "
        f"{least:.3g} alpha long (theory.collapse_radius, at every alpha > 0){also}. Cures move "
        f"starts out of the basin, or not; only alpha = 0 removes it, where collapse is a saddle "
        f"as far as latents pay."
    )


def _freed_radius(trap: Trap) -> float:
    problem = trap.problem
    return float(theory.collapse_radius(problem.X, problem.alpha, None, problem.beta).radius)


def _too_large(traps: Sequence[Trap], cells: Sequence[Cell]) -> str:
    """Of traps at whose gamma and beta no affine latent pays."""
    own_traps = [trap for trap in traps if trap.kind == Collapse.GAMMA]
    names = {trap.name for trap in own_traps}
    own = [cell for cell in cells if cell.trap in names]
    kept, runs = 0, 0
    others = []
    for cell in own:
        if cell.collapsed is None:
            continue
        if not cell.changed:
            kept, runs = kept + cell.collapsed.number, runs + cell.collapsed.total
        elif cell.collapsed.value < 1:
            others.append(f"{cell.cure} leaves {_count(cell)} collapsed on {cell.trap}")
    words = f". On another surface {', '.join(others)}" if others else ""
    return (
        f"Where beta gamma is above the data's leading eigenvalue ({'; '.join(sorted(names))}) no "
        f"affine latent pays, and of an affine exact energy collapse is the global minimum: "
        f"{kept} of {runs} runs that end on that surface collapse, whatever came before{words}."
    )


def _moved(cure: Cure, traps: Sequence[Trap], cells: Sequence[Cell]) -> str:
    """What one cure does to starts, over all traps of kind (v): of exact energies, of networks."""
    found = _pairs(cure, traps, cells)
    plain = {cell.trap: _count_of(cell) for cell in cells if cell.cure == CURES[0].name}
    deep = {trap.name for trap in traps if trap.deep}
    exact, networks = (
        [cell for cell in found if (cell.trap in deep) == of_networks]
        for of_networks in (False, True)
    )
    parts = [
        _counted(what, own, plain)
        for what, own in (("exact energies", exact), ("networks", networks))
        if own
    ]
    name = cure.name[0].upper() + cure.name[1:]
    costs = " or ".join(dict.fromkeys(gradients(cell.cost) for cell in found))
    moves = f"{MOVES[cure.moves]}, {costs}"
    return f"{name} ({moves}), on traps of kind (v): {'; '.join(parts)}."


def gradients(cost: float) -> str:
    """A cost, beside the plain run's."""
    return "as many gradients" if cost == 1.0 else f"{cost:.3g} times the gradients"


def _counted(what: str, cells: Sequence[Any], plain: dict[str, int]) -> str:
    """How many runs come out, and go in."""
    out, into = (sum(getattr(cell.pairs, name) for cell in cells) for name in ("out", "into"))
    lost = sum(plain[cell.trap] for cell in cells)
    others = sum(cell.collapsed.total for cell in cells) - lost
    changed = sum(cell.changed for cell in cells)
    surface = f", {changed} of them other surfaces then" if changed else ""
    return (
        f"of {what} ({_many(len(cells))}{surface}) {out} of the {lost} plain runs that collapse "
        f"come out of it, {into} of the {others} others go in"
    )


def _pairs(cure: Cure, traps: Sequence[Trap], cells: Sequence[Cell]) -> list[Any]:
    """A cure's cells on traps that have something lower than collapse."""
    names = {trap.name for trap in traps if trap.kind == Collapse.LOCAL}
    return [c for c in cells if c.cure == cure.name and c.trap in names and c.pairs is not None]


def _count_of(cell: Cell) -> int:
    return 0 if cell.collapsed is None else cell.collapsed.number


def _count(cell: Cell) -> str:
    assert cell.collapsed is not None
    return f"{cell.collapsed.number} of {cell.collapsed.total}"


def _unsure(cells: Sequence[Cell]) -> Iterator[str]:
    """How many ends nothing is certified of."""
    unsure = sum(cell.unsure or 0 for cell in cells)
    if unsure:
        runs = sum(cell.collapsed.total for cell in cells if cell.collapsed)
        yield (
            f"{unsure} of all {runs} runs have not come to an end: neither in the basin of "
            f"collapse (certified, where that can be) nor below it. Those above it count as "
            f"collapsed."
        )


def matrix(traps: Sequence[Trap], cells: Sequence[Cell], value: Any) -> np.ndarray:
    """value(cell) of all cells, (cures, traps); NaN where it is None."""
    cures = dict.fromkeys(cell.cure for cell in cells)
    by_name = {(cell.cure, cell.trap): value(cell) for cell in cells}
    rows = [[by_name[cure, trap.name] for trap in traps] for cure in cures]
    return np.array([[math.nan if x is None else x for x in row] for row in rows], dtype=float)


def overview(traps: Sequence[Trap], cells: Sequence[Cell]) -> str:
    """The board in one table of Markdown, a row a cure: percent that collapse, with the interval
    and, after the semicolon, the median energy over the optimum.
    """
    by_name = {(cell.cure, cell.trap): cell for cell in cells}
    rows = [("cure", "steps", *(trap.name for trap in traps)), ("---",) * (len(traps) + 2)]
    for name in dict.fromkeys(cell.cure for cell in cells):
        own = [by_name[name, trap.name] for trap in traps]
        costs = sorted({f"{cell.cost:.2g}" for cell in own if cell.cost is not None})
        rows.append((name, ", ".join(costs), *map(_brief, own)))
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def _brief(cell: Cell) -> str:
    if cell.collapsed is None:
        return "does not apply"
    share = cell.collapsed
    percent = f"{100 * share.value:.0f} ({100 * share.low:.0f}-{100 * share.high:.0f})"
    if cell.over is None:
        return f"{percent}; another surface"
    return percent if math.isinf(cell.over) else f"{percent}; {cell.over:.3g}"


def table(traps: Sequence[Trap], cells: Sequence[Cell]) -> str:
    """The board in Markdown: a part for every trap."""
    frame = dict(zip(((c.trap, c.cure) for c in cells), told(cells), strict=True))
    parts = []
    for trap in traps:
        own = [cell for cell in cells if cell.trap == trap.name]
        head = ("cure", "collapsed", "95 %", "out / in", "p", "over optimum", "steps", "paper")
        rows = [head, ("---",) * len(head)]
        rows += [_row(cell, frame[cell.trap, cell.cure]) for cell in own]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        parts.append("\n".join([f"### {trap.name}", "", _about(trap), "", *lines]))
    return "\n\n".join(parts) + "\n"


def _about(trap: Trap) -> str:
    """What is known of a trap, in a sentence."""
    facts = [f"{trap.kind.words}: collapse is a {trap.verdict}"]
    if 0 < trap.radius < math.inf:
        facts.append(f"lowest within rows of {trap.radius:.3g} (certified)")
    if math.isfinite(trap.barrier):
        facts.append(f"the pass out of it is {trap.barrier:.3g} high")
    optimum = "" if trap.optimum == -math.inf else f"{trap.optimum:.4f}, "
    facts.append(f"its energy {trap.energy:.4f}, the optimum {optimum}{trap.known}")
    facts.append(f"leading eigenvalue {trap.ratio:.3g} times beta gamma")
    return "; ".join(facts) + "."


def _row(cell: Cell, differs: bool) -> tuple[str, ...]:
    source = next(cure.source for cure in CURES if cure.name == cell.cure)
    if cell.collapsed is None or cell.pairs is None:
        return (cell.cure, f"does not apply: {cell.lacking}", "", "", "", "", "", source)
    if cell.over is None:
        over = "another surface"
    else:
        over = "no lower bound" if math.isinf(cell.over) else f"{cell.over:.4g}"
    return (
        cell.cure,
        f"{cell.collapsed.number}/{cell.collapsed.total}",
        cell.collapsed.words,
        f"{cell.pairs.out} / {cell.pairs.into}",
        f"**{cell.pairs.p:.2g}**" if differs else f"{cell.pairs.p:.2g}",
        over,
        f"{cell.cost:.2f}",
        source,
    )


def _many(traps: int) -> str:
    return f"{traps} trap{'s' * (traps > 1)}"
