"""How does one of several drivers take part in filling a store's grid?

Each claims blocks of the plan, keeps their results, and learns from new chunks what the others have
done.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaesurface import files, provenance
from vaesurface.store import chunks, compaction, plans, record
from vaesurface.store.chunks import Chunk, Contents
from vaesurface.store.claims import Claims
from vaesurface.store.names import complaint, differences, places
from vaesurface.store.plans import Plan

__all__ = ["COMPACTING", "Driver", "Found"]

COMPACTING = "compacting"  # what claims a store's files call the work on them


class Found(NamedTuple):
    """Cells of a grid that a chunk has.

    rows: their places in the grid. inside: in the chunk.
    """

    rows: np.ndarray
    inside: np.ndarray
    chunk: Chunk


class Driver:
    """One that fills a plan's cells; a context manager, since it holds claims.

    path: of the store. sweep: that the store is of, with axes and leaves.
    """

    def __init__(self, path: Path, sweep: Mapping[str, Any], plan: Plan) -> None:
        self._path, self._plan = path, plan
        self._sweep = record.sweep(sweep)
        self._seen: set[str] = set()
        self._looked = -1  # when the folder of chunks last changed before it was read
        self._old = False  # whether there are chunks that do not know their sweep
        self._claims = Claims(path / "claims")

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *_: object) -> None:
        self._claims.__exit__()

    def begin(self) -> None:
        """Say what is going to be computed."""
        plans.keep(self._path, self._plan)

    def news(self) -> Iterator[Found]:
        """Cells of the grid in chunks that were not there at the last look; at the first, all.

        Raises ValueError for a damaged chunk and one of another sweep, naming it.
        """
        folder = self._path / "chunks"
        while folder.is_dir() and (changed := folder.stat().st_mtime_ns) != self._looked:
            there = {name for name in os.listdir(folder) if name.endswith(".npz")}
            for name in sorted(there - self._seen):
                yield from self._found(folder / name)
                self._seen.add(name)
            self._looked = changed

    def take(self, block: int) -> bool:
        """Claim a block."""
        return self._claims.take(self._named(block))

    def give_back(self, blocks: list[int]) -> None:
        """Let others have blocks that were claimed, finished or not."""
        self._claims.release([self._named(block) for block in blocks])

    def add(self, contents: Contents, blocks: list[int], made: Mapping[str, Any]) -> None:
        """Keep results of blocks, and give these back.

        made: "software" and "seconds". Raises ValueError where the store has become another's.
        """
        self._require_own()
        told = {**made, "by": provenance.worker()}
        file = chunks.write(self._path / "chunks", contents, self._sweep, told)
        self._seen.add(file.name)
        for block in blocks:
            self._failure(block).unlink(missing_ok=True)
        self.give_back(blocks)
        if len(self._seen) % compaction.MANY == 0:
            self.compact()

    def fail(self, block: int, error: BaseException) -> None:
        """Say that a block could not be computed, and why."""
        words = " ".join(f"{type(error).__name__}: {error}".split())
        told = {"error": words, "by": provenance.worker(), "block": block, "time": time.time()}
        files.write(self._failure(block), json.dumps(told))
        self.give_back([block])

    def end(self) -> None:
        """Leave the store in order."""
        self._require_own()
        self.compact()

    def compact(self) -> None:
        """Put many small files together, and let old ones know their sweep, unless somebody else is
        at it.
        """
        folder = self._path / "chunks"
        many = self._old or len(os.listdir(folder)) > compaction.MANY
        if many and self._claims.take(COMPACTING):
            try:
                compaction.compact(self._path, self._sweep)
            except FileNotFoundError:
                pass  # somebody removed a chunk; what is left is whole
            finally:
                self._claims.release([COMPACTING])

    def _found(self, file: Path) -> Iterator[Found]:
        try:
            chunk = chunks.read(file, self._sweep)
        except FileNotFoundError:  # put into a larger one, which the next look finds
            return
        self._old |= chunk.about is None
        place = places(self._plan.axes, chunk.cells)
        inside = np.flatnonzero(place >= 0)
        if len(inside):
            yield Found(rows=place[inside], inside=inside, chunk=chunk)

    def _require_own(self) -> None:
        """Write the record again where it is gone or damaged; refuse to add to another sweep."""
        try:
            there = files.read_json(self._path / "store.json")
            differing = differences(there, self._sweep)
        except (AttributeError, OSError, RecursionError, TypeError, ValueError):
            record.write(self._path, {**self._sweep, "software": []})
            self.begin()  # else what is missing there would not be asked for
            return
        if differing:
            expected = f"{self._path}/store.json as it was when this sweep began"
            remedy = "chunks finished before are kept; name another directory and run again"
            raise complaint(expected, differing, remedy)

    def _named(self, block: int) -> str:
        return f"{self._plan.name}-{block}"

    def _failure(self, block: int) -> Path:
        return self._path / "failures" / f"{self._named(block)}.json"
