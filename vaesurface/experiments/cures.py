"""What helps against collapse, where and how surely? Traps x cures x paired starts.

>>> from pathlib import Path
>>> plan = Plan(starts=20, network_starts=0, out=Path("results"), command="", families=QUICK)
>>> plan.traps()[0].name
'antipodal, alpha = 0.2'
"""

import json
import math
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from vaesurface import cure, files, plot, report, sweep, traps
from vaesurface.cure import words
from vaesurface.experiments.awake import Bar
from vaesurface.experiments.study import draw
from vaesurface.report import Figure, Study
from vaesurface.traps import Trap

__all__ = ["QUICK", "Plan", "cures"]

QUICK = ("antipodal",)  # families
CURES = cure.CURES
WAYS = (cure.EXACT, cure.NETWORK)  # down, on exact energies and of networks


class Plan(NamedTuple):
    """How much of the board is filled.

    starts: in every exact trap.
    network_starts: in every deep one; 0: none of those.
    out: directory for the results.
    command: that makes them again.
    families: of exact traps; none: all.
    executor: who runs, as for `sweep.grid`.
    """

    starts: int
    network_starts: int
    out: Path
    command: str
    families: tuple[str, ...] = ()
    executor: Any = sweep.threads

    def traps(self) -> list[Trap]:
        """The exact ones."""
        return traps.exact(*self.families)


def cures(plan: Plan) -> Study:
    """The board, filled, drawn and said; what `plan.out` holds is not run again."""
    exact, networks = plan.traps(), traps.deep() if plan.network_starts else []
    fill = partial(
        cure.scoreboard,
        out=plan.out,
        cures=CURES,
        ways=WAYS,
        executor=plan.executor,
        progress=partial(Bar, leave=False),
    )
    cells = fill(exact, plan.starts)
    if networks:
        cells += fill(networks, plan.network_starts)
    chosen = exact + networks
    files.write(plan.out / "scoreboard.json", json.dumps(record(chosen, cells), indent=1))
    parts = [words.overview(chosen, cells), words.table(chosen, cells)]
    files.write(plan.out / "scoreboard.md", "\n".join(parts))
    study = Study(
        name="cures",
        title="What helps against collapse?",
        said=words.sentences(chosen, cells),
        figures=[_drawn(chosen, cells, plan)],
        settings={
            "traps": ", ".join(trap.name for trap in chosen),
            "starts": f"{plan.starts} of exact traps, {plan.network_starts} of networks, "
            "seeds from 0, the same for all cures",
            "on exact energies": _way(WAYS[0]),
            "of networks": _way(WAYS[1]),
        },
        command=plan.command,
    )
    report.save(study, plan.out)
    return study


def _way(way: Any) -> str:
    batch = "" if way.batch is None else f", batches of {way.batch}"
    return (
        f"Adam, rate {way.rate:g}{batch}, {way.first} steps with the cure, {way.last} on the "
        f"trap's own energy"
    )


def record(chosen: list[Trap], cells: list[cure.Cell]) -> list[dict[str, Any]]:
    """The board as plain data: what `vaesurface cure` for a diagnosis looks things up in."""
    by_name = {trap.name: trap for trap in chosen}
    return [_entry(by_name[cell.trap], cell) for cell in cells if cell.collapsed is not None]


def _entry(trap: Trap, cell: cure.Cell) -> dict[str, Any]:
    assert cell.collapsed is not None and cell.pairs is not None
    return {
        "trap": trap.name,
        "kind": trap.kind.name,
        "deep": trap.deep,
        "learned": trap.learned,
        "beta": float(trap.problem.beta),
        "ratio": round(trap.ratio, 4),
        "cure": cell.cure,
        "changed": cell.changed,
        "collapsed": cell.collapsed.number,
        "starts": cell.collapsed.total,
        "out": cell.pairs.out,
        "into": cell.pairs.into,
        "cost": cell.cost,
        "over": None if cell.over is None or math.isinf(cell.over) else round(cell.over, 4),
    }


def _in_greek(name: str) -> str:
    for word, letter in (("alpha", "α"), ("beta", "β"), ("gamma", "γ")):
        name = name.replace(word, letter)
    return name


def _drawn(chosen: list[Trap], cells: list[cure.Cell], plan: Plan) -> Figure:
    names = list(dict.fromkeys(cell.cure for cell in cells))
    told = dict(zip(((c.trap, c.cure) for c in cells), words.told(cells), strict=True))

    def value(cell: cure.Cell) -> float | None:
        return None if cell.collapsed is None else cell.collapsed.value

    axes = partial(
        plot.scoreboard,
        words.matrix(chosen, cells, value),
        names,
        [_in_greek(trap.name) for trap in chosen],
        changed=words.matrix(chosen, cells, lambda cell: cell.changed) == 1,
        told=words.matrix(chosen, cells, lambda cell: told[cell.trap, cell.cure]) == 1,
        title=f"percent of {plan.starts} starts per cell; italics: on another surface",
    )
    networks = f" ({plan.network_starts} of networks)" if plan.network_starts else ""
    caption = (
        f"Share of {plan.starts}{networks} starts that end collapsed, in percent; italics: on "
        f"another surface; framed: differs from the plain runs by McNemar's exact test, 5 % over "
        f"all cells."
    )
    return draw(plan.out, "cures", caption, axes)
