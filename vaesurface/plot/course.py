"""How does a run go? Curves over its steps: what latents carry, the energy, gamma, what is to gain.

>>> axes = course([0, 10, 20], [[0.5, 0.1], [0.2, 0.0], [0.0, 0.0]], [3.0, 2.0, 1.0],
...     error=[1.0, 0.9, 0.9], gamma=[1.0, 1.0, 1.0], gain=[0.0, 0.1, 0.1])
>>> axes[-1].get_xlabel()
'step'
"""

import math
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vaesurface.marks import UNIT
from vaesurface.plot.canvas import (
    COLUMN,
    DASHED,
    DOTTED,
    HALO,
    PALETTE,
    drawing,
    legend,
    style,
)
from vaesurface.plot.scales import (
    finite,
    from_zero,
    logarithmic,
    unflattened,
)
from vaesurface.refusal import complaint

__all__ = ["course"]

ALIKE = 8  # latents up to which each has a color of its own
BANDS = (PALETTE[5], PALETTE[1], PALETTE[3], PALETTE[4])  # behind curves
SPELL_ALPHA = 0.14


@drawing
def course(
    steps: npt.ArrayLike,
    carried: npt.ArrayLike,
    energy: npt.ArrayLike,
    *,
    error: npt.ArrayLike,
    gamma: npt.ArrayLike,
    gain: npt.ArrayLike,
    spells: Sequence[tuple[float, float, str]] = (),
    active: float | None = None,
    alarm: float | None = None,
    likelihood: str = "gaussian",
    title: str = "",
) -> np.ndarray:
    """Four panels over the steps (m,), in the look of `style`: axes (4,).

    carried (m, k): nats that each latent carries at most, and active, the threshold; energy (m,);
    error and gamma (m,), variances, where eq. 10 has them equal (gamma is left out where the
    likelihood is none of it); gain (m,): nats that a further latent would gain; spells: (from, to,
    words) that are shaded alike where the words are; alarm: a step that is marked. Raises
    ValueError where lengths differ.
    """
    at = np.asarray(steps, float)
    nats = np.asarray(carried, float)
    series = {"energy": energy, "error": error, "gamma": gamma, "gain": gain}
    curves = {name: np.asarray(values, float) for name, values in series.items()}
    if nats.ndim != 2 or any(len(values) != len(at) for values in (nats, *curves.values())):
        got = f"carried {nats.shape} and " + ", ".join(f"{n} {v.shape}" for n, v in curves.items())
        raise complaint(f"a row for each of {len(at)} steps", got, "give one look a row")
    with style():
        heights = {"height_ratios": [1.5, 1.0, 1.0, 1.0]}
        _, axes = plt.subplots(4, 1, figsize=(COLUMN, 6.6), sharex=True, gridspec_kw=heights)
        handles = _shaded(axes, spells)
        _latents(axes[0], at, nats, active)
        alone = "." if len(at) == 1 else None  # a line of one point would not be seen
        axes[1].plot(at, curves["energy"], color=PALETTE[0], marker=alone)
        axes[1].set_ylabel(f"energy\n({UNIT})")
        unflattened(axes[1].yaxis, curves["energy"])
        _variances(axes[2], at, curves, likelihood)
        axes[3].plot(at, curves["gain"], color=PALETTE[4], marker=alone)
        axes[3].set(xlabel="step", ylabel="a further latent\ngains (nats)")
        most = finite(curves["gain"]).max(initial=0.0) or 1.0
        axes[3].set_ylim(-0.04 * most, 1.08 * most)
        unflattened(axes[3].yaxis, curves["gain"])
        if alarm is not None:
            for ax in axes:
                ax.axvline(alarm, color=PALETTE[1], linewidth=0.9, linestyle=(0, (4, 2)))
            mark: Any = {"color": PALETTE[1], "linestyle": (0, (4, 2)), "linewidth": 0.9}
            handles.append(Line2D([], [], label=f"warning at step {alarm:,.0f}", **mark))
        legend(axes[0], handles, title)
        ends = finite(at, *(spell[:2] for spell in spells), [] if alarm is None else [alarm])
        alone_pad = 0.5 * (ends.min() == ends.max())
        axes[0].set_xlim(ends.min() - alone_pad, ends.max() + alone_pad)
    return axes


def _shaded(axes: np.ndarray, spells: Sequence[tuple[float, float, str]]) -> list[Any]:
    """Bands behind all panels, and a handle for each kind of them."""
    colors = dict(zip(dict.fromkeys(words for _, _, words in spells), cycle(BANDS), strict=False))
    for begin, end, words in spells:
        for ax in axes:
            ax.axvspan(begin, end, color=colors[words], alpha=SPELL_ALPHA, linewidth=0)
    return [Patch(color=c, alpha=2 * SPELL_ALPHA, label=words) for words, c in colors.items()]


def _latents(ax: Axes, at: np.ndarray, nats: np.ndarray, active: float | None) -> None:
    """What each carries, on a logarithmic axis."""
    few = nats.shape[1] <= ALIKE
    colors = cycle(PALETTE) if few else cycle([PALETTE[0]])
    for latent, color in zip(nats.T, colors, strict=False):
        ax.plot(
            at,
            latent,
            color=color,
            marker="." if len(at) == 1 else None,
            linewidth=0.8,
            alpha=1.0 if few else 0.5,
        )
    shown = finite(nats, [] if active is None else [active])
    linear = from_zero(ax.yaxis, shown)
    ax.set_ylim(-0.3 * linear, 3.0 * shown.max(initial=0.0) or 1.0)
    ax.set_ylabel("a latent carries\n(nats / datum)")
    if active is not None:
        ax.axhline(active, **DOTTED)
        ax.annotate(
            f"active from {active:g} on",
            (1.0, active),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=6,
            color="0.35",
            path_effects=HALO,
        )


def _variances(ax: Axes, at: np.ndarray, curves: dict[str, np.ndarray], likelihood: str) -> None:
    """Error and gamma, which are one where gamma is at its best."""
    alone = "." if len(at) == 1 else None
    ax.plot(at, curves["error"], color=PALETTE[2], marker=alone, label="expected error")
    if likelihood == "gaussian":
        ax.plot(at, curves["gamma"], **DASHED, marker=alone, label="γ")
        ax.set_ylabel("variance\n(data units²)")
        ax.legend(frameon=False, loc="best", fontsize=6)
    else:
        ax.set_ylabel("squared error\n(of a deviation²)")
    names = ("error", "gamma") if likelihood == "gaussian" else ("error",)
    shown = finite(*(curves[name] for name in names))
    positive = shown[shown > 0]
    if positive.size and shown.max() > 10.0 * positive.min():
        logarithmic(ax.yaxis, shown)
    elif not shown.size or math.isclose(shown.max(), shown.min()):
        ax.margins(y=0.2)
