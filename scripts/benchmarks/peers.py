"""How fast is it beside whom? Everything, peers included, alternating: `scripts/bench --peers`.

Writes docs/benchmarks.json, and docs/benchmarks.md from it.
"""

import json
import sys
import time

from benchmarks import (
    energies,
    machine,
    networks,
    points,
    programs,
    short,
    spectra,
    sweeps,
    tables,
)

__all__ = ["TOPICS", "main"]

TOPICS = {
    "The exact energy": energies.rows,
    "Newton steps, inertia, stationary points": points.rows,
    "Networks: Hessians and products": networks.rows,
    "Networks: both ends of the spectrum": spectra.rows,
    "Sweeps": sweeps.rows,
    "First calls": programs.rows,
}


def main() -> None:
    """Measure, print, write, assert."""
    import torch

    torch.set_num_threads(1)
    start = time.perf_counter()
    topics: dict[str, list] = {}
    record = {"machine": machine.described(), "topics": topics}
    for topic, rows in TOPICS.items():
        topics[topic] = []
        for row in rows(True):
            print(tables.plain(row), flush=True)
            topics[topic].append(row)
        record["minutes"] = (time.perf_counter() - start) / 60
        tables.PEERS.write_text(json.dumps(record, indent=1) + "\n")
    tables.write()
    measured = [row for rows in topics.values() for row in rows]
    for line in (failures := short.broken(measured)):
        print(f"scripts/bench: {line}", file=sys.stderr)
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
