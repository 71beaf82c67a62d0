"""Which cells were ever asked for, and in which parts is the work on them divided?

A plan is a grid and the number of its cells in a block; drivers that were given the same axes make
the same plan, so they can tell each other by a block's number what they are at.

>>> import tempfile
>>> from vaesurface.store.names import canonical
>>> with tempfile.TemporaryDirectory() as place:
...     axes = canonical({"alpha": [0.5, 0.0], "seed": range(3)})
...     keep(Path(place), Plan(axes, size=4))
...     [(plan.total, plan.blocks, plan.axes["alpha"].values) for plan in read(Path(place))]
[(6, 2, array([0.5, 0. ]))]
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vaesurface import files
from vaesurface.store import chunks
from vaesurface.store.names import Axis, complaint

__all__ = ["Plan", "keep", "read", "read_one"]


class Plan(NamedTuple):
    """A grid whose cells are computed in blocks.

    axes: in the order in which cells are counted, the last fastest.
    size: cells in a block.
    """

    axes: dict[str, Axis]
    size: int

    @property
    def total(self) -> int:
        """Number of cells."""
        return math.prod(len(axis.values) for axis in self.axes.values())

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.total // self.size)

    @property
    def grid(self) -> str:
        """A name of the grid, whatever its blocks."""
        told = repr([(name, axis.kind, len(axis.values)) for name, axis in self.axes.items()])
        values = [axis.values.tobytes() for axis in self.axes.values()]
        return hashlib.sha256(b"".join([told.encode(), *values])).hexdigest()[:16]

    @property
    def name(self) -> str:
        """What drivers that share it know it by."""
        return f"{self.grid}-{self.size}"


def keep(path: Path, plan: Plan) -> None:
    """Add a plan to those of a store."""
    file = path / "plans" / f"{plan.name}.npz"
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    about = {"size": plan.size, "axes": {name: axis.impl for name, axis in plan.axes.items()}}
    arrays = {f"axis_{name}": axis.values for name, axis in plan.axes.items()}
    with files.replacing(file) as new, new.open("xb") as raw:
        told = np.frombuffer(json.dumps(about).encode(), np.uint8)
        np.savez(raw, allow_pickle=False, about=told, **arrays)


def read(path: Path) -> list[Plan]:
    """All plans of a store. Raises ValueError for a damaged one, naming it."""
    return [read_one(file) for file in sorted(path.glob("plans/*.npz"))]


def read_one(file: Path) -> Plan:
    """A plan from its file."""
    remedy = "delete it; the next sweep of its cells plans them again"
    plan = chunks.readable(file, _plan, remedy, "a whole plan")
    if file.stem != plan.name:
        raise complaint("a plan as it was written", f"{file} with other cells", remedy)
    return plan


def _plan(arrays: Any) -> Plan:
    about = json.loads(chunks.array_of(arrays, "about").tobytes())
    axes = {
        name: Axis(values=chunks.array_of(arrays, f"axis_{name}"), impl=impl)
        for name, impl in about["axes"].items()
    }
    plan = Plan(axes=axes, size=about["size"])
    if not isinstance(plan.size, int) or plan.size < 1 or plan.blocks < 1:
        raise ValueError("it does not say what it is")
    if not all(isinstance(axis.impl, str | None) and plan.name for axis in axes.values()):
        raise ValueError("its axes have no names")
    return plan
