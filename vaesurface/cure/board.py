"""Of many starts, how many does each cure keep out of each trap?

Every cell of the board is a sweep over the traps of one shape and the same starts for all cures, so
that runs are paired: which of a plain run's starts moved out, which moved in? Kept in stores, so
that an interrupted board goes on.

>>> told = compared(np.array([True, True, True, False]), np.array([False, True, False, False]))
>>> told.out, told.into, told.p
(2, 0, 0.5)
"""

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from scipy.stats import binomtest

from vaesurface import store, sweep
from vaesurface.cure import cures as rules
from vaesurface.cure import descent, schedules, starts, surfaces
from vaesurface.cure.cures import CURES, Cure, cured
from vaesurface.cure.descent import Way
from vaesurface.traps import End, Share, Trap, families, kept, over, share, together
from vaesurface.traps import trap as verdicts

__all__ = ["EXACT", "NETWORK", "Cell", "Pairs", "compared", "scoreboard"]

EXACT = Way(first=1000, last=2000, rate=0.02, batch=None)
NETWORK = Way(first=500, last=500, rate=1e-3, batch=64)
RULES = (descent, rules, schedules, starts, surfaces, verdicts)  # modules that say what a run does


class Pairs(NamedTuple):
    """A cure's runs beside the plain runs from the same starts.

    out: collapsed plainly, not with the cure.
    into: the other way round.
    p: of the exact two-sided test of McNemar (1947): that either is as likely.
    """

    out: int
    into: int
    p: float


class Cell(NamedTuple):
    """A trap and a cure.

    trap: name of the one.
    cure: name of the other.
    lacking: why the cure does not apply; "" where it does, else all below is None.
    changed: whether the surface is another one, so that energies are not the trap's.
    collapsed: runs that the trap has kept, `traps.kept`.
    unsure: how many ends are neither in the basin of collapse (of an exact energy, provably) nor
        below it.
    pairs: beside the plain runs.
    over: median energy at the ends over the trap's optimum; inf where that is -inf, None where the
        surface is another one.
    cost: gradients, over those of a plain run.
    """

    trap: str
    cure: str
    lacking: str
    changed: bool = False
    collapsed: Share | None = None
    unsure: int | None = None
    pairs: Pairs | None = None
    over: float | None = None
    cost: float | None = None


def scoreboard(
    traps: Sequence[Trap],
    starts: int,
    out: str | os.PathLike,
    *,
    cures: Sequence[Cure] = CURES,
    ways: tuple[Way, Way] = (EXACT, NETWORK),
    executor: Any = sweep.threads,
    progress: Callable[..., Any] | None = None,
) -> list[Cell]:
    """All cells, trap by trap; what `out` holds is not run again.

    cures: the first is what the others are compared with. starts: seeds from 0. ways: to go down on
    exact energies, and of networks. executor, progress: as for `sweep.grid`; progress is told what
    it shows by desc=.
    """
    cells = {}
    for name, members in families(traps).items():
        way = ways[members[0].deep]
        reference: End | None = None
        for cure in cures:
            lacking = _lacking(cure, members)
            if all(lacking):
                ends = None
            else:
                bar = None if progress is None else partial(progress, desc=f"{name}: {cure.name}")
                ends = _ran(members, cure, way, starts, Path(out), executor, bar)
            reference = ends if reference is None else reference
            for i, trap in enumerate(members):
                own = None if lacking[i] else _at(ends, i)
                cells[trap.name, cure.name] = _cell(
                    trap, cure, way, lacking[i], own, _at(reference, i)
                )
    return [cells[trap.name, cure.name] for trap in traps for cure in cures]


def _lacking(cure: Cure, members: Sequence[Trap]) -> list[str]:
    return [cure.lacking(trap) for trap in members]


def _ran(
    members: Sequence[Trap],
    cure: Cure,
    way: Way,
    starts: int,
    out: Path,
    executor: Any,
    progress: Any,
) -> End:
    """Ends, leading axes: traps, starts."""
    problems, places = together(members)
    config = {
        "traps": ", ".join(trap.name for trap in members),
        "cure": cure.name,
        "scale": members[0].scale,
        "rules": _written(),
        **way._asdict(),
    }
    digest = hashlib.sha256(json.dumps(config).encode()).hexdigest()[:12]
    results = store.create(out / "runs" / digest, np.asarray(members[0].problem.X), **config)
    cell = partial(_run, cure, way, problems, members[0].scale, places)
    axes: dict[str, Any] = {"trap": np.arange(len(members)), "seed": np.arange(starts)}
    return sweep.grid(cell, executor=executor, store=results, progress=progress, **axes)


@cache
def _written() -> str:
    """Digest of the text of `RULES`: what was run by other rules is not taken up again."""
    text = "".join(inspect.getsource(module) for module in RULES)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _run(
    cure: Cure, way: Way, problems: Any, scale: float, places: Any, trap: Any, seed: Any
) -> End:
    """One start in one trap of a family."""
    problem, place = (jax.tree.map(lambda x: x[trap], one) for one in (problems, places))
    return cured(cure, way, problem, scale, place, jax.random.key(seed))


def _at(ends: Any, i: int) -> End:
    return jax.tree.map(lambda x: np.asarray(x)[i], ends)


def _cell(trap: Trap, cure: Cure, way: Way, lacking: str, ends: End | None, plain: End) -> Cell:
    if ends is None:
        return Cell(trap=trap.name, cure=cure.name, lacking=lacking)
    changed = cure.changes(trap)
    stuck, stuck_plainly = kept(trap, ends, changed), kept(trap, plain)
    between = stuck & ~np.asarray(ends.collapsed)
    return Cell(
        trap=trap.name,
        cure=cure.name,
        lacking="",
        changed=changed,
        collapsed=share(stuck),
        unsure=int(np.sum(between | ~np.asarray(ends.sure))),
        pairs=compared(stuck_plainly, stuck),
        over=None if changed else over(trap, ends),
        cost=cure.cost(way) / way.steps,
    )


def compared(plain: Any, cured: Any) -> Pairs:
    """Flags (m,) of runs from the same starts."""
    plain, cured = np.asarray(plain), np.asarray(cured)
    out, into = int(np.sum(plain & ~cured)), int(np.sum(~plain & cured))
    p = float(binomtest(out, out + into).pvalue) if out + into else 1.0
    return Pairs(out, into, p)
