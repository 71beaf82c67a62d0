"""Which scale of an axis shows all of its values, zero and those far off the others included?

>>> from matplotlib.figure import Figure
>>> axes = Figure().add_subplot()
>>> logarithmic(axes.xaxis, [1.0, 1e4])
>>> logarithmic(axes.yaxis, [0.0, 1e4])
>>> axes.get_xscale(), axes.get_yscale()
('log', 'symlog')
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

__all__ = [
    "SAME",
    "decimals",
    "few_ticks",
    "finite",
    "from_zero",
    "logarithmic",
    "spanned",
    "unflattened",
]

DECADES = 12  # below the largest value: what is smaller lies on the linear part down to zero
FAR = 30.0  # times as wide as most values lie: an axis that a point or two make so wide is bent
SIDE = 0.7  # how long the part beyond is, in halves of where most lie
SAME = 1e-4  # relative difference of values that are the same for the eye
FEW = 2.5  # decades of an axis that has plain numbers


def finite(*values: npt.ArrayLike) -> np.ndarray:
    """All finite ones of some values, in one row."""
    rows = [np.ravel(np.asarray(part, dtype=float)) for part in values]
    joined = np.concatenate([*rows, np.empty(0)])
    return joined[np.isfinite(joined)]


def spanned(axes: Axes, values: npt.ArrayLike) -> None:
    """An x-axis from the first of values to the last, where they differ."""
    low, high = finite(values).min(), finite(values).max()
    if low < high:
        axes.set_xlim(low, high)


def logarithmic(axis: Any, *values: npt.ArrayLike) -> None:
    """A logarithmic axis; where some values are zero or less, linear around it, up to the smallest
    size there is, so that nothing is left out.
    """
    shown = finite(*values)
    if (shown <= 0).any():
        from_zero(axis, shown)
        return
    _scaled(axis, "log")
    if shown.size and np.log10(shown.max() / shown.min()) < FEW:
        decimals(axis, (1.0, 2.0, 5.0))
    if np.unique(shown).size == 1:
        getattr(axis.axes, f"set_{axis.axis_name}lim")(shown[0] / 3, 3 * shown[0])


def from_zero(axis: Any, *values: npt.ArrayLike) -> float:
    """An axis that is linear from zero to the smallest size of the values, which is returned, and
    logarithmic from there on.
    """
    shown = finite(*values)
    sizes = np.abs(shown[shown != 0])
    linear = max(sizes.min(), sizes.max() * 10.0**-DECADES) if sizes.size else 1.0
    decades = np.log10(max(sizes.max(initial=0.0) / linear, 1.0))
    _scaled(axis, "symlog", linthresh=linear, linscale=max(0.5, 0.13 * decades))
    ends = min(shown.min(initial=0.0), 0.0), max(shown.max(initial=0.0), linear)
    few_ticks(axis, ends, linear)
    return linear


def _scaled(axis: Any, name: str, **options: Any) -> None:
    """Sets the scale of an axis."""
    getattr(axis.axes, f"set_{axis.axis_name}scale")(name, **options)


def few_ticks(axis: Any, ends: tuple[float, float], linear: float) -> None:
    """Zero and up to four ticks on each side of a symlog axis, none nearer to zero than half the
    linear part: there they collide.
    """
    ticks = np.asarray(axis.get_major_locator().tick_values(*ends))
    ticks = ticks[(ticks >= ends[0]) & (ticks <= ends[1]) & (np.abs(ticks) >= 0.5 * linear)]
    sides = ticks[ticks < 0][::-1], ticks[ticks > 0]
    thinned = [side[:: max(1, -(-side.size // 4))] for side in sides]
    axis.set_ticks(np.concatenate([*thinned, [0.0]]))
    axis.set_minor_locator(NullLocator())


def decimals(axis: Any, subs: Sequence[float], numticks: int | None = None) -> None:
    """Plain numbers on a logarithmic axis that spans few decades, at subs times powers of ten."""
    axis.set_major_locator(LogLocator(subs=subs, numticks=numticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def unflattened(axis: Any, *values: npt.ArrayLike, least: float = 0.0) -> None:
    """Bends a linear axis on which a point far off would flatten all the others.

    Where four fifths of the values (all but one, of few) lie within a thirtieth of their range, the
    axis is linear there and logarithmic beyond, and its label says so. least: what they differ by
    at least, so that rounding is not made large.
    """
    shown = np.sort(finite(*values))
    most = min(-(-4 * shown.size // 5), shown.size - 1)
    if most < 2:
        return
    widths = shown[most - 1 :] - shown[: shown.size - most + 1]
    begin = int(widths.argmin())
    low, high, wide = shown[begin], shown[begin + most - 1], shown[-1] - shown[0]
    same = max(least, SAME * abs(float(np.median(shown))))
    if not same < high - low < wide / FAR:
        return
    bent, straight = _bent(low, high, wide)
    _scaled(axis, "function", functions=(bent, straight))
    pad = 0.08 * np.array([-1.0, 1.0])
    getattr(axis.axes, f"set_{axis.axis_name}lim")(straight(bent(shown[[0, -1]]) + pad))
    ticks = MaxNLocator(3).tick_values(low, high)
    ends = [end for end in (shown[0], shown[-1]) if abs(bent(end)) > 1.0 + SIDE / 2]
    axis.set_ticks([*ticks[(ticks >= low) & (ticks <= high)], *ends])
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axis.set_minor_locator(NullLocator())
    axis.set_label_text(f"{axis.get_label_text()}\n(log beyond {low:.3g} to {high:.3g})")


def _bent(low: float, high: float, wide: float) -> tuple[Callable, Callable]:
    """A function to [-1, 1] from low to high, and beyond by logarithm, SIDE for all that is wide;
    and its inverse.
    """
    middle, half = (low + high) / 2, (high - low) / 2
    rate = SIDE / np.log1p(wide / half)

    def bent(value: Any) -> Any:
        place = (np.asarray(value) - middle) / half
        beyond = np.log1p(np.maximum(np.abs(place) - 1.0, 0.0))
        return np.clip(place, -1.0, 1.0) + np.sign(place) * rate * beyond

    def straight(place: Any) -> Any:
        beyond = np.expm1(np.maximum(np.abs(place) - 1.0, 0.0) / rate)
        return middle + half * (np.clip(place, -1.0, 1.0) + np.sign(place) * beyond)

    return bent, straight
