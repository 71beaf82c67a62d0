"""How do a store's many small files become a few large ones?

Cells are written as they are finished, a second's worth or more at a time; where that makes many
files, they are put together. The new file is complete before the old ones go, so nobody ever misses
a cell, and an interruption leaves some of them twice, which is no harm.
"""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vaesurface.store import chunks
from vaesurface.store.chunks import Chunk, Contents
from vaesurface.store.names import Columns

__all__ = ["LARGE", "MANY", "compact"]

MANY = 256  # files from which on they are put together: opening a store reads all their cells
LARGE = 2**26  # bytes of a file to which no more are added


def compact(path: Path, sweep: dict[str, Any]) -> None:
    """Put a store's small chunks together, those made with the same software, and let chunks of
    older versions, which do not say so, know which sweep they are of.
    """
    groups: dict[str, list[Chunk]] = {}
    for file in sorted(path.glob("chunks/*.npz")):
        chunk = chunks.read(file, sweep)
        if chunk.about is None or file.stat().st_size < LARGE:
            groups.setdefault(_software(chunk), []).append(chunk)
    for group in groups.values():
        for some in _portions(group):
            if len(some) > 1 or some[0].about is None:
                _merged(path, some, sweep)


def _software(chunk: Chunk) -> str:
    """What it was made with, and whether it has words, which either all of a file have or none."""
    made = (chunk.about or {}).get("made") or {}
    return json.dumps([made.get("software"), chunk.label_dtype is not None], sort_keys=True)


def _portions(group: list[Chunk]) -> Iterator[list[Chunk]]:
    """Of chunks, as many at a time as make one large file."""
    some: list[Chunk] = []
    size = 0
    for chunk in group:
        some.append(chunk)
        size += chunk.file.stat().st_size
        if size >= LARGE:
            yield some
            some, size = [], 0
    if some:
        yield some


def _merged(path: Path, some: list[Chunk], sweep: dict[str, Any]) -> None:
    """Write chunks as one, and remove them."""
    parts = [chunk.contents() for chunk in some]
    labels = [part.label for part in parts if part.label is not None]
    whole = Contents(
        cells=_joined([part.cells for part in parts]),
        leaves=_joined([part.leaves for part in parts]),
        label=np.concatenate(labels) if labels else None,
    )
    new = chunks.write(path / "chunks", whole, sweep, _made(some))
    for chunk in some:
        if chunk.file != new:
            chunk.file.unlink(missing_ok=True)


def _made(some: list[Chunk]) -> dict[str, Any] | None:
    """By whom all of them were made; "cells", of a file that was put together only: how many by
    each.
    """
    made = [chunk.about["made"] for chunk in some if chunk.about and chunk.about["made"]]
    if not made:
        return None
    cells: Counter[str] = Counter()
    for chunk in some:
        one = (chunk.about or {}).get("made") or {}
        cells.update(one.get("cells") or {one.get("by", "unknown"): len(chunk)})
    by = dict.fromkeys(name for one in made for name in one["by"].split(", "))
    seconds = sum(one["seconds"] for one in made)
    return made[0] | {"seconds": seconds, "by": ", ".join(by), "cells": dict(cells)}


def _joined(parts: list[Columns]) -> Columns:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
