"""How does growth look? `python -m benchmarks.growth_figures` draws docs/growth.json again."""

import json
from typing import Any

import numpy as np

from benchmarks import tables

__all__ = ["draw", "figure"]

LABELS = {
    "n": "number of data n (d = 64, k = 8)",
    "d": "features d (n = 500, k = 2)",
    "k": "latents k (n = 500, d = 64)",
    "p": "parameters p of a network",
    "cells": "cells of a sweep",
}
SYMBOLS = {"cells": "c"}
COLUMN = (3.4, 4.6)  # inches
MIB = 2.0**20
TIME, MEMORY = ("seconds", "time", 1.0), ("bytes", "memory", MIB)
MARKERS = "osD"
STYLE: Any = {
    "font.size": 8,
    "legend.fontsize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(record: dict[str, Any]) -> None:
    """A PNG for each axis."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    for axis, curves in record["axes"].items():
        with plt.rc_context(STYLE):
            made = figure(axis, curves, record["limits"])
            made.savefig(tables.DOCS / f"growth_{axis}.png", dpi=200)
            plt.close(made)


def figure(axis: str, curves: list[dict[str, Any]], limits: dict[str, float]) -> Any:
    """Time above, memory below."""
    import matplotlib.pyplot as plt

    made, (above, below) = plt.subplots(2, sharex=True, figsize=COLUMN, layout="constrained")
    for number, curve in enumerate(curves):
        drawn(above, axis, curve, TIME, number)
        drawn(below, axis, curve, MEMORY, number)
    above.set_ylabel("time (s, one core)")
    below.set_ylabel("memory (MiB)")
    below.set_xlabel(LABELS[axis])
    limit(above, limits["seconds"], f"limit: {limits['seconds']:.0f} s")
    limit(below, limits["bytes"] / MIB, f"limit: {limits['bytes'] / 2**30:.0f} GiB")
    for ax in (above, below):
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return made


def drawn(
    ax: Any, axis: str, curve: dict[str, Any], quantity: tuple[str, str, float], number: int
) -> None:
    """Points, the fitted power law dashed, and the exponent in the legend."""
    key, name, unit = quantity
    points = [point for point in curve["points"] if point[key] > 0]
    size = np.array([point["size"] for point in points])
    value = np.array([point[key] for point in points]) / unit
    slope = curve[name]
    label, color = curve["name"], f"C{number}"
    if slope is not None:
        label += rf" $\propto {SYMBOLS.get(axis, axis)}^{{{slope:.2f}}}$"
        last, values = size[-3:], value[-3:]
        factor = np.exp(np.mean(np.log(values) - slope * np.log(last)))
        ax.loglog(last, factor * last**slope, "--", color=color, linewidth=0.8)
    if curve["wall"].startswith(name):
        label += f"\n× wall: {curve['wall'].removeprefix(name + ': ')}"
        ax.loglog(size[-1:], value[-1:], "x", color=color, markersize=9)
    ax.loglog(size, value, MARKERS[number], color=color, markersize=3.5, label=label)


def limit(ax: Any, level: float, text: str) -> None:
    """A dotted line, where the figure reaches near to it."""
    if ax.get_ylim()[1] > level / 30:
        ax.axhline(level, color="black", linestyle=":", linewidth=0.8)
        place = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        ax.annotate(text, (0.02, level), (0, -2), va="top", fontsize=7, **place)


if __name__ == "__main__":
    draw(json.loads(tables.GROWTH.read_text()))
