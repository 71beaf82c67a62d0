"""What do latents carry: how much, how sharply, and what do they leave in the residual?

>>> ax = sigma_histogram([0.1, 0.2, 1.0, 0.999])
>>> ax.get_legend().get_texts()[0].get_text()
'50 % within 0.025 of 1'
"""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vaesurface.plot.canvas import (
    COLUMN,
    PALETTE,
    drawing,
    drawn_on,
    legend,
    palette,
    style,
)
from vaesurface.plot.scales import (
    finite,
    from_zero,
    logarithmic,
)

__all__ = ["diagnosis", "divergences", "residual_spectrum", "sigma_histogram"]

BIN = 0.05  # of deviations; the bins' centers are its multiples, so that 1 is in the middle of one
WIDEST = 2.0  # deviations beyond are in the last bin
FOOT = 0.7  # of bars on a logarithmic axis of counts
THRESHOLD: Any = {"color": "k", "linestyle": "--", "linewidth": 0.8}


@drawing
def sigma_histogram(
    sigma: npt.ArrayLike | Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    log: bool = False,
    title: str = "",
) -> Axes:
    """Posterior standard deviations, any shape, or several sets of them by name: shares in bins of
    0.05 (the paper's figure 2).

    The bin around 1, the prior's, holds the latents that are switched off; the legend says how many
    percent. What exceeds 2 is in the last bin. log: counts on a logarithmic axis. Raises ValueError
    where nothing is finite.
    """
    sets = sigma if isinstance(sigma, Mapping) else {"": sigma}
    foot = FOOT if log else 0.0
    with drawn_on(ax, 2.3 + 0.1 * len(sets)) as axes:
        handles = []
        for (name, deviations), color in zip(sets.items(), palette(len(sets)), strict=True):
            count, bins = _histogram(deviations, name)
            percent = 100 * count / count.sum()
            heights = np.maximum(count if log else percent, foot)
            look: Any = {"baseline": foot, "color": color, "zorder": 3}
            axes.stairs(heights, bins, fill=True, alpha=0.25, linewidth=0, **look)
            axes.stairs(heights, bins, linewidth=1.0, **look)
            off = percent[round(1 / BIN)]
            label = f"{name}, " * bool(name) + f"{off:.3g} % within {BIN / 2:g} of 1"
            handles.append(Line2D([], [], color=color, label=label))
        if log:
            axes.set_yscale("log")
            axes.set_ylim(bottom=foot)
        axes.set_xlim(left=-0.03)
        axes.set_xlabel("posterior standard deviation σ")
        axes.set_ylabel("number of latents × data" if log else "share (%)")
        legend(axes, handles, title)
    return axes


def _histogram(sigma: npt.ArrayLike, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the finite deviations, and the bins from 0 to the largest of them and beyond 1."""
    values = np.asarray(sigma, dtype=float)
    values = values[np.isfinite(values)]
    if not values.size:
        named = f" of {name}" * bool(name)
        raise ValueError(f"expected finite standard deviations{named}, got none; draw others")
    number = math.ceil((min(values.max(), WIDEST) + BIN / 2) / BIN)
    number = np.clip(number, round(1 / BIN) + 1, round(WIDEST / BIN) + 1)
    bins = BIN * np.arange(number + 1) - BIN / 2
    return np.histogram(np.minimum(values, WIDEST), bins)[0], bins


@drawing
def divergences(
    kl: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    carried: npt.ArrayLike | None = None,
    kinds: Sequence[str] = (),
    active: float | None = None,
    title: str = "",
) -> Axes:
    """KL divergence of every latent (k,), nats per datum, the largest first; colored by kinds (k,),
    words; active: a threshold.

    carried (k,): what each latent carries at most, where that is known: the bars, which the
    threshold is of, while a black dash is the KL. A mean that is no prior's adds to KL and carries
    nothing. The axis is logarithmic down to the smallest, and linear from there to zero. Raises
    ValueError where kinds or carried are not as many as latents.
    """
    values = np.asarray(kl, dtype=float)
    bars = values if carried is None else np.asarray(carried, dtype=float)
    words = list(kinds) or [""] * values.size
    for name, given in (("kinds", words), ("carried", bars)):
        if len(given) != values.size:
            raise ValueError(
                f"expected {values.size} {name}, one per latent, got {len(given)}; give all or none"
            )
    order = np.argsort(-bars, kind="stable")
    words = [words[i] for i in order]
    colors = dict(zip(dict.fromkeys(words), cycle(PALETTE)))
    square: Any = {"linestyle": "", "marker": "s", "markersize": 5}
    dash: Any = {"linestyle": "", "marker": "_", "color": "k", "markersize": 6}
    with drawn_on(ax, 2.0) as axes:
        rank = np.arange(1, values.size + 1)
        shades = [colors[word] for word in words]
        axes.bar(rank, bars[order], color=shades, width=0.8, zorder=3)
        handles = [
            Line2D([], [], color=color, label=word, **square)
            for word, color in colors.items()
            if word
        ]
        shown = [bars]
        if carried is not None:
            axes.plot(rank, values[order], zorder=3.5, **dash)
            handles.append(Line2D([], [], label="KL", **dash))
            shown.append(values)
        if active is not None:
            axes.axhline(active, zorder=4, **THRESHOLD)
            handles.append(Line2D([], [], label=f"active from {active:g} on", **THRESHOLD))
            shown.append(np.array([active]))
        from_zero(axes.yaxis, *shown)
        axes.set_ylim(0.0, 3.0 * finite(*shown).max(initial=0.0) or 1.0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlabel("latent, by what it carries")
        axes.set_ylabel(
            "KL (nats / datum)" if carried is None else "carried at most\n(nats / datum)"
        )
        legend(axes, handles, title)
    return axes


@drawing
def residual_spectrum(
    eigenvalues: npt.ArrayLike, level: float, ax: Axes | None = None, *, title: str = ""
) -> Axes:
    """Eigenvalues of the residual's covariance, by rank, against level = beta gamma: those above
    would pay for a latent.

    Raises ValueError where none is positive.
    """
    values = np.sort(np.asarray(eigenvalues, dtype=float))[::-1]
    shown = values[values > 1e-12 * max(values.max(initial=0.0), 0.0)]
    if not shown.size:
        raise ValueError(
            "expected eigenvalues of which one is positive, got none; draw another residual"
        )
    rank = np.arange(1, shown.size + 1)
    above = shown > level
    dot: Any = {"linestyle": "", "marker": "o", "markersize": 3, "zorder": 3}
    with drawn_on(ax, 2.0) as axes:
        axes.plot(rank, shown, color="0.6", linewidth=0.8, zorder=2)
        axes.plot(rank[above], shown[above], color=PALETTE[1], **dot)
        axes.plot(rank[~above], shown[~above], color=PALETTE[0], **dot)
        axes.axhline(level, **THRESHOLD)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.set_xlim(0.5, shown.size + 0.5)
        axes.set(xlabel="principal direction of the residual", ylabel="variance (data units²)")
        logarithmic(axes.yaxis, shown, [level])
        handles = [Line2D([], [], label="β γ", **THRESHOLD)]
        if above.any():
            label = f"an affine latent would pay: {above.sum()}"
            handles.append(Line2D([], [], color=PALETTE[1], label=label, **dot))
        legend(axes, handles, title)
    return axes


@drawing
def diagnosis(
    kl: npt.ArrayLike,
    sigma: npt.ArrayLike,
    eigenvalues: npt.ArrayLike,
    level: float,
    *,
    carried: npt.ArrayLike | None = None,
    kinds: Sequence[str] = (),
    active: float | None = None,
    title: str = "",
) -> np.ndarray:
    """Divergences, deviations and residual, one below the other, in the look of `style`: axes (3,).

    kl, carried, kinds, active: as `divergences` takes them; sigma: posterior deviations, any shape;
    eigenvalues, level: as `residual_spectrum` takes them. Raises ValueError where these do.
    """
    with style():
        _, axes = plt.subplots(3, 1, figsize=(COLUMN, 6.4))
        divergences(kl, axes[0], carried=carried, kinds=kinds, active=active, title=title)
        sigma_histogram(sigma, axes[1])
        if np.max(eigenvalues, initial=0.0) > 0:
            residual_spectrum(eigenvalues, level, axes[2])
        else:
            axes[2].axis("off")
            axes[2].text(0.5, 0.5, "nothing is left in the residual", ha="center")
    return axes
