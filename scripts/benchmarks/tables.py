"""How are rows shown: in a terminal, and in docs/benchmarks.md?"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["GROWTH", "PEERS", "duration", "plain", "write"]

DOCS = Path(__file__).resolve().parents[2] / "docs"
PEERS, GROWTH = DOCS / "benchmarks.json", DOCS / "growth.json"
PAGE = DOCS / "benchmarks.md"

HEAD = """# Benchmarks

Made by `scripts/bench --peers` (times, beside other programs) and `scripts/bench --growth` (how
they grow), not by hand. `scripts/bench` alone measures ours in a minute, and fails where a ratio is
out of the bounds in `scripts/benchmarks/short.py`.
"""
HOW = """One process on one core, a thread each, float64. Programs take turns, each after a first
call. Times are processor time, which on one core is what a clock shows where nothing else runs:
medians over rounds, with the quartiles of the ratios. All answer one question from the same
numbers, but where a remark says otherwise; *off by* is the largest deviation from the right answer,
relative to its largest entry.

Per datum and coordinate the energy needs two exponentials, two polynomials of degree 26, eight
divisions and a root, and is bound by them: `XLA_FLAGS=--xla_cpu_prefer_vector_width=512` takes 30 %
off its gradient where the processor has AVX-512 (last bits change). `exp` is one vectorized
exponential of an array of that size.
"""
GROWS = """Each point is one call of a compiled program in a process of its own, where it is short
after a first; each call of a sweep traces anew. Memory is the most that the process held during the
call, less what it held before: data, parameters, programs. Exponents are fitted to the last three
points; memory below 16 MiB has none. A curve ends where the next point was expected to take more
than {seconds:g} s or {gib:.0f} GiB: its wall.
"""


def duration(seconds: float) -> str:
    """With a unit, to three figures."""
    for size, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= 0.9995 * size:
            return f"{figures(seconds / size)} {unit}"
    return f"{figures(seconds * 1e9)} ns"


def figures(x: float) -> str:
    """Three of them, without an exponent."""
    digits = f"{x:.3g}"
    return f"{float(digits):,.0f}" if "e" in digits else digits


def cells(entry: dict[str, Any]) -> list[str]:
    """Name, time, ratio, spread, error, note."""
    note = entry.get("note", "")
    if "seconds" not in entry:
        return [entry["name"], "–", "–", "", "", note]
    low, median, high = entry["ratio"]
    spread = f"{figures(low)} – {figures(high)}" if entry["rounds"] > 1 else "one round"
    error = f"{entry['error']:.0e}" if "error" in entry else ""
    return [entry["name"], duration(entry["seconds"][1]), figures(median), spread, error, note]


def plain(row: dict[str, Any]) -> str:
    """For a terminal."""
    table = [
        f"  {name:45s} {time:>8s} {ratio:>9s}  ({spread}) {error} {note}".rstrip()
        for name, time, ratio, spread, error, note in map(cells, row["entries"])
    ]
    return "\n".join([f"{row['title']}; in units of: {row['unit']}", *table])


def markdown(row: dict[str, Any]) -> str:
    """For the page."""
    head = ["", "time", "ratio", "quartiles", "off by", "remark"]
    table = [head, ["---"] * len(head), *map(cells, row["entries"])]
    text = "\n".join("| " + " | ".join(line) + " |" for line in table)
    return f"**{row['title']}**; ratios to: {row['unit']}.\n\n{text}\n"


def write() -> None:
    """docs/benchmarks.md, from what has been measured."""
    parts = [HEAD]
    if PEERS.exists():
        parts += compared(json.loads(PEERS.read_text()))
    if GROWTH.exists():
        parts += grown(json.loads(GROWTH.read_text()))
    PAGE.write_text("\n".join(parts))


def compared(record: dict[str, Any]) -> Iterator[str]:
    """The sections of `--peers`."""
    yield f"{HOW}\n{place(record)}\n"
    for topic, rows in record["topics"].items():
        yield f"## {topic}\n"
        yield from map(markdown, rows)


def place(record: dict[str, Any]) -> str:
    """Where and when, in a line."""
    told = ", ".join(f"{name} {text}" for name, text in record["machine"].items())
    return f"Measured in {record['minutes']:.0f} minutes: {told}."


def grown(record: dict[str, Any]) -> Iterator[str]:
    """The sections of `--growth`."""
    limits = record["limits"]
    yield "## Growth\n"
    yield GROWS.format(seconds=limits["seconds"], gib=limits["bytes"] / 2**30)
    yield f"{place(record)}\n"
    for axis, curves in record["axes"].items():
        yield f"![Time and memory over {axis}](growth_{axis}.png)\n"
        head = ["", "sizes", "last time", "exponent", "last memory", "exponent", "wall"]
        table = [head, ["---"] * len(head), *map(summary, curves)]
        yield "\n".join("| " + " | ".join(line) + " |" for line in table) + "\n"


def summary(curve: dict[str, Any]) -> list[str]:
    """A curve's row."""
    sizes = [point["size"] for point in curve["points"]]
    last = curve["points"][-1]
    exponents = [
        "" if slope is None else f"{slope:.2f}" for slope in (curve["time"], curve["memory"])
    ]
    return [
        curve["name"],
        f"{sizes[0]:,} – {sizes[-1]:,}",
        duration(last["seconds"]),
        exponents[0],
        f"{max(1, round(last['bytes'] / 2**20)):,} MiB",
        exponents[1],
        curve["wall"],
    ]
