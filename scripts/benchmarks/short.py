"""Is it as fast as it was? Ours alone, in a minute: `scripts/bench`.

Ends with one line and exit code 1 where a ratio is out of bounds.
"""

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks import energies, networks, points, tables

__all__ = ["BOUNDS", "Bound", "broken"]


class Bound(NamedTuple):
    """Where a median ratio has to be; machines change times, and these hardly.

    title: how the row's title begins.
    name: the entry.
    """

    title: str
    name: str
    least: float
    most: float


BOUNDS = (
    Bound("energy with gradient, n = 200,", "vaesurface", 0, 35),
    Bound("energy with gradient, n = 1797,", "vaesurface", 0, 45),
    Bound("Hessian product, n = 200,", "vaesurface", 0, 2.5),
    Bound("Hessian product, n = 900,", "vaesurface", 0, 2.5),
    Bound("Hessian product, n = 1797,", "vaesurface", 0, 2.5),
    Bound("Hessian product of a network", "vaesurface, linearized once", 0, 2.5),
    Bound("inertia, n = 1797", "bordered", 0, 350),
    Bound("Newton step", "dense", 50, float("inf")),
)


def rows() -> Iterator[dict[str, Any]]:
    """What is measured without peers."""
    yield energies.textbook()
    yield from (energies.gradients(n, False) for n in (200, 1797))
    yield from (energies.products(n, False) for n in (200, 900, 1797))
    yield networks.products(False)
    yield points.inertia()
    yield points.step()


def broken(measured: list[dict[str, Any]]) -> list[str]:
    """A line for every bound that does not hold, or whose row is missing."""
    ratios = {
        (row["title"], entry["name"]): entry["ratio"][1]
        for row in measured
        for entry in row["entries"]
        if "ratio" in entry
    }
    lines = []
    for bound in BOUNDS:
        found = [
            ratio
            for (title, name), ratio in ratios.items()
            if title.startswith(bound.title) and name == bound.name
        ]
        if not found or not bound.least <= found[0] <= bound.most:
            lines.append(
                f"expected {bound.title.rstrip(',')}: {bound.name} between {bound.least:g} and "
                f"{bound.most:g} times its unit, got {found[0] if found else float('nan'):.3g}"
            )
    return lines


def main() -> None:
    """Measure, print, assert."""
    measured = []
    for row in rows():
        print(tables.plain(row), flush=True)
        measured.append(row)
    for line in (failures := broken(measured)):
        print(f"scripts/bench: {line}", file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
