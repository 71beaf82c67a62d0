"""How do time and memory grow, and where is a wall: `scripts/bench --growth`.

Writes docs/growth.json, a figure for each axis, and docs/benchmarks.md.
"""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import growth_figures, machine, tables

__all__ = ["SIZES", "main"]

SIZES = {
    "n": (100, 300, 1000, 3000, 10_000, 30_000, 60_000),
    "d": (4, 16, 64, 256, 784),
    "k": (1, 2, 4, 8, 16),
    "p": (100, 300, 1000, 3000, 10_000, 30_000, 100_000, 1_000_000),
    "cells": (10, 100, 1000, 10_000, 100_000),
}
NAMES = {
    "n": ("energy with gradient", "bordered Newton step", "dense Newton step"),
    "d": ("energy with gradient", "bordered Newton step"),
    "k": ("energy with gradient", "bordered Newton step"),
    "p": ("Hessian product", "dense Hessian", "all eigenvalues"),
    "cells": ("sweep.grid", "sweep.grid, stored"),
}
SECONDS = 60.0  # that a point may take
BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
FITTED = 3  # points, the last ones
RESOLVED = {"seconds": 0.0, "bytes": 2.0**24}  # less is a matter of what the allocator had left
PATIENCE = 4.0  # times the seconds, by the clock, of a point that takes longer than expected


def curve(axis: str, name: str) -> dict[str, Any]:
    """Points up to the largest size, or to the wall."""
    points: list[dict[str, Any]] = []
    wall = f"none up to {SIZES[axis][-1]:,}"
    for size in SIZES[axis]:
        if beyond := expected_wall(points, size):
            wall = beyond
            break
        if (point := measured(axis, name, size)) is None:
            wall = f"time or memory: no answer at {size:,}"
            break
        points.append(point)
        print(f"{axis:6s}{name:24s}{json.dumps(point)}", flush=True)
    return {
        "name": name,
        "points": points,
        "time": exponent(points, "seconds"),
        "memory": exponent(points, "bytes"),
        "wall": wall,
    }


def measured(axis: str, name: str, size: int) -> dict[str, Any] | None:
    """One point, in a process of its own; None where there is no answer."""
    command = [sys.executable, "-m", "benchmarks.growth_points", axis, name, str(size)]
    try:
        made = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, timeout=PATIENCE * SECONDS
        )
    except subprocess.TimeoutExpired:
        return None
    return None if made.returncode else json.loads(made.stdout)


def expected_wall(points: Sequence[dict[str, Any]], size: int) -> str:
    """What the next point would pass, by the last two; nothing where it passes no limit."""
    if len(points) < 2:
        return ""
    seconds, held = (extrapolated(points, key, size) for key in ("seconds", "bytes"))
    if seconds > SECONDS:
        return f"time: {seconds:,.0f} s expected at {size:,}"
    if held > BYTES:
        return f"memory: {held / 2**30:,.0f} GiB expected at {size:,}"
    return ""


def extrapolated(points: Sequence[dict[str, Any]], key: str, size: int) -> float:
    """By a power law through the last two points, of exponent one at least."""
    last = points[-1]
    slope = max(1.0, exponent(points[-2:], key) or 0.0)
    return last[key] * (size / last["size"]) ** slope


def exponent(points: Sequence[dict[str, Any]], key: str) -> float | None:
    """Of the power law that fits the last points best; None where they are too few or too small."""
    chosen = points[-FITTED:]
    if len(chosen) < 2 or min(p[key] for p in chosen) <= RESOLVED[key]:
        return None
    x, y = ([math.log(p[name]) for p in chosen] for name in ("size", key))
    middle = sum(x) / len(x)
    spread = sum((a - middle) ** 2 for a in x)
    return sum((a - middle) * b for a, b in zip(x, y, strict=True)) / spread


def main() -> None:
    """Measure, print, write, draw."""
    start = time.perf_counter()
    record = {
        "machine": machine.described(),
        "limits": {"seconds": SECONDS, "bytes": BYTES},
        "axes": {axis: [curve(axis, name) for name in names] for axis, names in NAMES.items()},
    }
    record["minutes"] = (time.perf_counter() - start) / 60
    tables.GROWTH.write_text(json.dumps(record, indent=1) + "\n")
    growth_figures.draw(record)
    tables.write()


if __name__ == "__main__":
    main()
