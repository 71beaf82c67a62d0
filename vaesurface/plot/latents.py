"""What does a collapsed VAE look like: which latents carry something, how sharp are they, what is
left in the residual?
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vaesurface.plot.canvas import COLUMN, PALETTE, drawn_on, legend, style
from vaesurface.plot.points import sigma_histogram

FAINT = 1e-4  # nats: what carries less is drawn as a bar to the foot of the axis


def divergences(
    kl: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    kinds: Sequence[str] = (),
    active: float | None = None,
    title: str = "",
) -> Axes:
    """KL divergence of every latent (k,), nats per datum, the largest first; colored by kinds (k,),
    words; active: a threshold.

    Raises ValueError where kinds are not as many as latents.
    """
    values = np.asarray(kl, dtype=float)
    words = list(kinds) or [""] * values.size
    if len(words) != values.size:
        raise ValueError(
            f"expected {values.size} kinds, one per latent, got {len(words)}; give all or none"
        )
    order = np.argsort(-values, kind="stable")
    colors = {
        word: PALETTE[i % len(PALETTE)]
        for i, word in enumerate(dict.fromkeys(words[i] for i in order))
    }
    with drawn_on(ax, 2.0) as axes:
        axes.set_yscale("log")
        height = np.maximum(values[order], FAINT)
        axes.bar(
            np.arange(1, values.size + 1),
            height,
            color=[colors[words[i]] for i in order],
            width=0.8,
            zorder=3,
        )
        if active is not None:
            axes.axhline(active, color="k", linestyle="--", linewidth=0.8, zorder=4)
        axes.set_ylim(bottom=0.7 * FAINT, top=3.0 * max(height.max(), active or FAINT))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="latent, by what it carries", ylabel="KL (nats / datum)")
        look: Any = {"linestyle": "", "marker": "s", "markersize": 5}
        handles = [
            Line2D([], [], color=color, label=word, **look)
            for word, color in colors.items()
            if word
        ]
        dashed = Line2D(
            [], [], color="k", linestyle="--", linewidth=0.8, label=f"active from {active:g} on"
        )
        legend(axes, [*handles, *([] if active is None else [dashed])], title)
    return axes


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
    with drawn_on(ax, 2.0) as axes:
        axes.set_yscale("log")
        axes.plot(rank, shown, color="0.6", linewidth=0.8, zorder=2)
        look: Any = {"linestyle": "", "marker": "o", "markersize": 3, "zorder": 3}
        axes.plot(rank[above], shown[above], color=PALETTE[1], **look)
        axes.plot(rank[~above], shown[~above], color=PALETTE[0], **look)
        axes.axhline(level, color="k", linestyle="--", linewidth=0.8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="principal direction of the residual", ylabel="variance (data units²)")
        dashed = Line2D([], [], color="k", linestyle="--", linewidth=0.8, label="beta gamma")
        pays = Line2D(
            [],
            [],
            color=PALETTE[1],
            label=f"an affine latent would pay: {int(above.sum())}",
            **look,
        )
        legend(axes, [dashed, *([pays] if above.any() else [])], title)
    return axes


def diagnosis(
    kl: npt.ArrayLike,
    sigma: npt.ArrayLike,
    eigenvalues: npt.ArrayLike,
    level: float,
    *,
    kinds: Sequence[str] = (),
    active: float | None = None,
    title: str = "",
) -> np.ndarray:
    """All three, one below the other, in the look of `style`: axes (3,). sigma: posterior
    deviations, any shape.
    """
    with style():
        _, axes = plt.subplots(3, 1, figsize=(COLUMN, 6.4))
        divergences(kl, axes[0], kinds=kinds, active=active, title=title)
        sigma_histogram(sigma, axes[1])
        residual_spectrum(eigenvalues, level, axes[2])
    return axes
