"""How far is a store: which of the planned cells are there, who is at the others, what went wrong?

Everything is read from the directory, which is left as it is, so anybody may ask at any time.

>>> import tempfile
>>> from vaesurface.store import Plan, create
>>> with tempfile.TemporaryDirectory() as place:
...     made, axes = create(place, latent=1), canonical({"alpha": [0.0, 0.5, 1.0]})
...     with made.drive(Plan(axes, size=2), {"loss": np.empty(())}) as driver:
...         driver.begin()
...     made.add({"alpha": np.array([0.5])}, {"loss": np.array([3.0])})
...     for line in read(place).words:
...         print(line)
3 cells planned, 1 done, 2 missing
nobody is at work
done by ...: 1 cell
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaesurface.store import claims, directory, plans, record
from vaesurface.store.chunks import Chunk
from vaesurface.store.driver import COMPACTING
from vaesurface.store.names import Axis, at, canonical, complaint, places, plain
from vaesurface.store.plans import Plan

__all__ = ["Failure", "Running", "Status", "below", "present", "read", "spell"]

UNKNOWN = "an older version, which did not say"
RECENT = 64  # chunks, the newest, that tell how fast cells are computed now


class Running(NamedTuple):
    """A driver at work.

    by: host and process. blocks: numbers of those that it has claimed. cells: missing ones in
    them.
    """

    by: str
    blocks: list[int]
    cells: int


class Failure(NamedTuple):
    """A block that could not be computed.

    cells: of it that are missing. error: in words. by, when: of the last attempt; when in seconds
    since 1970.
    """

    block: int | None
    cells: int
    error: str
    by: str
    when: float | None


class Status(NamedTuple):
    """How far a store is.

    path: of the store.
    planned: cells that were ever asked for; in stores without plans those that are there.
    done: of these, those that are there.
    running: drivers that hold claims.
    failed: blocks, the latest first.
    made: cells by driver; where files were put together, by several of them.
    rate: cells in a second, lately, by all drivers while they were at work; None: not known.
    seconds: that one worker took for a cell, lately; None: not known.
    """

    path: str
    planned: int
    done: int
    running: list[Running]
    failed: list[Failure]
    made: dict[str, int]
    rate: float | None
    seconds: float | None

    @property
    def missing(self) -> int:
        """Cells that were asked for and are not there."""
        return self.planned - self.done

    @property
    def left(self) -> float | None:
        """Seconds until all planned cells are there, at that rate; None: not known."""
        if self.missing == 0:
            return 0.0
        return None if self.rate is None else self.missing / self.rate

    @property
    def words(self) -> list[str]:
        """All of it in lines."""
        lines = [f"{_count(self.planned)} planned, {self.done} done, {self.missing} missing"]
        if self.missing:
            lines += [_at_work(one) for one in self.running] or ["nobody is at work"]
        if self.missing and self.left is not None and self.rate is not None:
            pace = f"{self.rate:.2g} cells a second" if self.rate >= 1 else _pace(self.rate)
            who = "" if self.running else ", once somebody is at work"
            lines.append(f"about {spell(self.left)} left{who}, at {pace} lately")
        lines += [_failed(one) for one in self.failed]
        lines += [f"done by {by}: {_count(cells)}" for by, cells in self.made.items()]
        return lines

    def plain(self) -> dict[str, Any]:
        """The same as JSON may hold it."""
        return {
            "store": self.path,
            "planned": self.planned,
            "done": self.done,
            "missing": self.missing,
            "running": [one._asdict() for one in self.running],
            "failed": [one._asdict() for one in self.failed],
            "made": self.made,
            "cells_per_second": self.rate,
            "seconds_per_cell_and_worker": self.seconds,
            "seconds_left": self.left,
        }


def read(path: str | os.PathLike) -> Status:
    """The status of a store. Raises ValueError where there is none, and for damaged files, naming
    them.
    """
    path = Path(path).expanduser()
    if not directory.is_store(path):
        remedy = "name the directory of a sweep"
        raise complaint("a store", f"{path} without store.json", remedy)
    told = record.read(path)
    # Claims first: a block that is finished in between is no longer missing, rather than lost.
    held = claims.living(path / "claims")
    found, planned = _chunks(path, told), plans.read(path)
    grid = _grid(told["axes"] or {}, found, planned)
    there = _numbers(places(grid, chunk.cells) for chunk in found)
    asked = _numbers(_places(grid, plan, np.arange(plan.total)) for plan in planned)
    asked = asked if planned else there
    missing = np.setdiff1d(asked, there, assume_unique=True)
    return Status(
        path=str(path),
        planned=len(asked),
        done=len(asked) - len(missing),
        running=_running(grid, planned, held, missing),
        failed=_failures(path, grid, planned, missing),
        made=_made(found),
        rate=_rate(found),
        seconds=_seconds(found),
    )


def below(path: str | os.PathLike) -> dict[str, Path]:
    """The stores of a directory by their names in it; the directory itself, if it is one, is ""."""
    path = Path(path).expanduser()
    if directory.is_store(path):
        return {"": path}
    folders = sorted(path.iterdir()) if path.is_dir() else []
    return {one.name: one for one in folders if one.is_dir() and directory.is_store(one)}


def present(path: str | os.PathLike, axes: Mapping[str, Any]) -> int:
    """How many cells of a grid are in the store at `path`; 0 where there is none."""
    path, parsed = Path(path).expanduser(), canonical(axes)
    if not directory.is_store(path):
        return 0
    told = record.read(path)
    if told["axes"] is None:
        return 0
    found = _numbers(places(parsed, chunk.cells) for chunk in _chunks(path, told))
    return int((found >= 0).sum())


def spell(seconds: float) -> str:
    """A time in words, two digits of it.

    >>> spell(0.2), spell(90), spell(7200), spell(400_000)
    ('a second', '90 s', '120 min', '4.6 days')
    """
    if seconds < 1.5:
        return "a second"
    for unit, size, most in (("s", 1, 120), ("min", 60, 180), ("h", 3600, 72)):
        if seconds < most * size:
            return f"{_rounded(seconds / size)} {unit}"
    return f"{_rounded(seconds / 86_400)} days"


def _chunks(path: Path, told: Mapping[str, Any]) -> list[Chunk]:
    from vaesurface.store import lazy  # inside, because it loads xarray

    return lazy.present(path, told)


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _count(cells: int) -> str:
    return f"{cells} cell{'s' * (cells != 1)}"


def _pace(rate: float) -> str:
    return f"{spell(1 / rate)} a cell"


def _at_work(one: Running) -> str:
    blocks = ", ".join(map(str, one.blocks))
    many = f"block{'s' * (len(one.blocks) != 1)} {blocks}"
    return f"running: {one.by} at {many} ({_count(one.cells)})"


def _failed(one: Failure) -> str:
    when = "" if one.when is None else time.strftime(" on %Y-%m-%d %H:%M:%S", _local(one.when))
    what = "a block" if one.block is None else f"block {one.block} ({_count(one.cells)})"
    return f"failed: {what}, by {one.by}{when}: {one.error}"


def _local(when: float) -> time.struct_time:
    try:
        return time.localtime(when)
    except (OverflowError, ValueError, OSError):
        return time.localtime(0)


def _grid(kinds: Mapping[str, str], found: list[Chunk], planned: list[Plan]) -> dict[str, Axis]:
    """All values of each axis that any cell has, ascending."""
    axes = {}
    for name in kinds:
        parts = [chunk.cells[name] for chunk in found]
        parts += [plan.axes[name].values for plan in planned]
        if parts:
            values = np.concatenate(parts)
            axes[name] = Axis(values[np.unique(plain(values), return_index=True)[1]])
    return axes


def _places(grid: dict[str, Axis], plan: Plan, rows: np.ndarray) -> np.ndarray:
    """Where in the grid some cells of a plan are."""
    return places(grid, at(plan.axes, rows))


def _numbers(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Distinct numbers, ascending."""
    return np.unique(np.concatenate([np.empty(0, np.int64), *parts]))


def _block(name: str, planned: list[Plan]) -> tuple[Plan, int] | None:
    """The plan and number of a block by the name that claims and failures have for it."""
    known, _, number = name.rpartition("-")
    plan = next((plan for plan in planned if plan.name == known), None)
    if plan is None or not number.isdecimal() or int(number) >= plan.blocks:
        return None
    return plan, int(number)


def _missing(grid: dict[str, Axis], block: tuple[Plan, int], missing: np.ndarray) -> np.ndarray:
    """Places of a block's cells that are missing."""
    plan, number = block
    rows = np.arange(number * plan.size, min(plan.total, (number + 1) * plan.size))
    return np.intersect1d(_places(grid, plan, rows), missing)


def _running(
    grid: dict[str, Axis], planned: list[Plan], held: list[claims.Claim], missing: np.ndarray
) -> list[Running]:
    drivers: dict[str, list[tuple[Plan, int]]] = {}
    for claim in held:
        if claim.name != COMPACTING and (block := _block(claim.name, planned)) is not None:
            drivers.setdefault(claim.by, []).append(block)
    return [
        Running(
            by=by,
            blocks=sorted(number for _, number in blocks),
            cells=len(_numbers(_missing(grid, block, missing) for block in blocks)),
        )
        for by, blocks in sorted(drivers.items())
    ]


def _failures(
    path: Path, grid: dict[str, Axis], planned: list[Plan], missing: np.ndarray
) -> list[Failure]:
    """Those of blocks of which cells are missing still."""
    found = []
    for file in path.glob("failures/*.json"):
        if file.name.startswith(".") or (told := _told(file)) is None:
            continue
        block = _block(file.stem, planned)
        cells = 0 if block is None else len(_missing(grid, block, missing))
        if block is not None and not cells:
            continue
        when = told.get("time")
        found.append(
            Failure(
                block=None if block is None else block[1],
                cells=cells,
                error=str(told.get("error", f"not known, {file} is damaged")),
                by=str(told.get("by", "somebody")),
                when=float(when) if isinstance(when, int | float) else None,
            )
        )
    return sorted(found, key=lambda one: -(one.when or 0.0))


def _told(file: Path) -> dict[str, Any] | None:
    """What a failure says, nothing where it is damaged; None where it is gone."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _made(found: list[Chunk]) -> dict[str, int]:
    """Cells by who computed them, most first."""
    cells: Counter[str] = Counter()
    for chunk in found:
        told = (chunk.about or {}).get("made") or {}
        cells.update(told.get("cells") or {str(told.get("by", UNKNOWN)): len(chunk)})
    return dict(cells.most_common())


def _rate(found: list[Chunk]) -> float | None:
    """Cells in a second, of the newest chunks, over the time in which any was being computed, which
    leaves out pauses.
    """
    single = [chunk for chunk in found if "cells" not in ((chunk.about or {}).get("made") or {})]
    # A file that was put together does not tell what was computed at a time: only if need be.
    spans = sorted(_spans(single) or _spans(found), reverse=True)[:RECENT]
    busy, cells, until = 0.0, 0, np.inf
    for end, begin, count in spans:
        busy += max(0.0, min(end, until) - min(begin, until))
        until = min(begin, until)
        cells += count
    return cells / busy if busy > 0 else None


def _seconds(found: list[Chunk]) -> float | None:
    spans = sorted(_spans(found), reverse=True)[:RECENT]
    cells = sum(count for *_, count in spans)
    return sum(end - begin for end, begin, _ in spans) / cells if cells else None


def _spans(found: list[Chunk]) -> list[tuple[float, float, int]]:
    """Of each chunk when it was kept, when its cells were begun at the earliest, their number."""
    spans = []
    for chunk in found:
        told = (chunk.about or {}).get("made") or {}
        seconds = told.get("seconds")
        try:
            kept = chunk.file.stat().st_mtime
        except FileNotFoundError:
            continue
        if isinstance(seconds, int | float) and seconds > 0:
            spans.append((kept, kept - seconds, len(chunk)))
    return spans
