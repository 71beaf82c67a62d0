"""Where does a latent switch off, and what of rays without a lower bound? Figures of Propositions
4.1 and 5.1.

>>> ax = rays([0.1, 0.01], {"a ray": [-1.0, -5.0]}, {"a ray": [1e-3, 1e-4]}, level=0.0)
>>> [text.get_text() for text in ax.get_legend().get_texts()]
['a ray', 'collapsed point', 'error, right']
"""

from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaesurface.marks import UNIT
from vaesurface.plot.canvas import (
    DASHED,
    DOTTED,
    GAMMA,
    PALETTE,
    draw_eigenvalues,
    drawing,
    drawn_on,
    legend,
    nested,
    palette,
)
from vaesurface.plot.scales import (
    decimals,
    finite,
    logarithmic,
    spanned,
    unflattened,
)

__all__ = ["decoder_thresholds", "rays", "thresholding"]

MODELS = "os^vD"  # markers of their curves
SUBS = (1.0, 2.0, 5.0)  # ticks of a decade


@drawing
def thresholding(
    gamma: npt.ArrayLike,
    curves: Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    switches: Mapping[str, npt.ArrayLike],
    theory: npt.ArrayLike | None = None,
    held: npt.ArrayLike | None = None,
    eigenvalues: npt.ArrayLike = (),
    title: str = "",
) -> Axes:
    """KL divergence of every latent, largest first, against gamma (m,), of refined minima of
    several models.

    curves: name -> (m, k); switches: name -> (k,) the gamma at which latents reach the prior, ticks
    on the axis; theory (m, k): closed form, dashed; held (m, k): of a decoder that stays what it
    is, gray; eigenvalues: dotted, those within the axis.
    """
    x = np.asarray(gamma, dtype=float)
    with drawn_on(ax, 2.8 + 0.2 * bool(title)) as axes:
        axes.set_xscale("log")
        handles: list[Any] = []
        looks = zip(curves.items(), cycle(PALETTE), cycle(MODELS))
        for i, ((name, kl), color, marker) in enumerate(looks):
            size = nested(i, len(curves))
            look: Any = {"color": color, "marker": marker, "markersize": 2.5 * size}
            look |= {"linewidth": 0.8 * size}
            axes.plot(x, -np.sort(-np.asarray(kl, dtype=float), axis=1), zorder=3, **look)
            at = np.asarray(switches[name], dtype=float)
            axes.plot(at, 0 * at, "|", color=color, markersize=9 * size, mew=1.4, zorder=4)
            handles.append(Line2D([], [], label=name, **look))
        if theory is not None:
            dashed: Any = DASHED | ({"marker": "_"} if x.size == 1 else {})
            axes.plot(x, np.asarray(theory, dtype=float), zorder=4, linewidth=0.9, **dashed)
            handles.append(Line2D([], [], label="theory: log(λ/γ)", **dashed))
        if held is not None:
            gray: Any = {"color": "0.6", "marker": "_" if x.size == 1 else None}
            axes.plot(x, np.asarray(held, dtype=float), zorder=2, linewidth=1.0, **gray)
            handles.append(Line2D([], [], label="decoder held: shrinks", **gray))
        axes.set_xlabel(GAMMA)
        spanned(axes, [*x, *finite(*switches.values())])
        if draw_eigenvalues(axes, eigenvalues):
            handles.append(Line2D([], [], label="eigenvalues", **DOTTED))
        axes.set_ylabel(f"KL divergence per latent\n({UNIT})")
        decimals(axes.xaxis, SUBS)
        legend(axes, handles, title)
    return axes


@drawing
def decoder_thresholds(
    gamma: npt.ArrayLike,
    whole: npt.ArrayLike,
    latents: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    upper: npt.ArrayLike | None = None,
    title: str = "",
) -> Axes:
    """gamma' (m,) and gamma'' (m, k) of decoders found at gamma (m,): they win where they lie above
    the dashed diagonal.

    upper (m,): the gamma' that no distribution at all exceeds, the end of a bar.
    """
    x, first, each = (np.asarray(v, dtype=float) for v in (gamma, whole, latents))
    bars = None
    if upper is not None:
        bars = [0 * first, np.maximum(np.asarray(upper, dtype=float) - first, 0.0)]
    each = -np.sort(-np.where(np.isfinite(each) & (each > 0), each, np.nan), axis=1)
    dot: Any = {"color": PALETTE[0], "marker": "o", "markersize": 4}
    square: Any = {"color": PALETTE[1], "marker": "s", "markersize": 3}
    with drawn_on(ax, 2.7 + 0.2 * bool(title)) as axes:
        axes.errorbar(x, first, bars, capsize=2, elinewidth=0.8, zorder=3, **dot)
        for i, latent in enumerate(each.T):
            size = 3 * nested(i, each.shape[1])
            axes.plot(x, latent, linewidth=0.7, zorder=2, **square | {"markersize": size})
        handles = [Line2D([], [], label="γ′ of the decoder", **dot)]
        if finite(each).size:
            handles.append(Line2D([], [], label="γ″ of its latents", **square))
        alone = "_" if np.unique(x).size == 1 else None
        line: Any = {"label": "the γ it was found at", "marker": alone, "zorder": 1}
        handles += axes.plot(x, x, **line, **DASHED)
        axes.set(xscale="log", yscale="log")
        axes.set(xlabel=f"{GAMMA} of the fit", ylabel="threshold (data units²)")
        decimals(axes.xaxis, SUBS)
        decimals(axes.yaxis, SUBS)
        legend(axes, handles, title)
    return axes


@drawing
def rays(
    gamma: npt.ArrayLike,
    energy: Mapping[str, npt.ArrayLike],
    error: Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    level: float | None = None,
    title: str = "",
) -> Axes:
    """Energies along rays on which it has no lower bound (m,) against gamma (m,), and the errors
    (m,), dotted, on the right.

    energy and error: name -> (m,), of the same names; level: the collapsed point's energy, dashed.
    """
    x = np.asarray(gamma, dtype=float)
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        right = axes.twinx()
        handles: list[Any] = []
        alone = "." if np.unique(x).size == 1 else None  # a line of one point would not be seen
        for i, (name, color) in enumerate(zip(energy, palette(len(energy)), strict=True)):
            look: Any = {"color": color, "label": name, "marker": alone}
            look |= {"linewidth": nested(i, len(energy))}
            handles += axes.plot(x, np.asarray(energy[name], dtype=float), zorder=3, **look)
            right.plot(x, np.asarray(error[name], dtype=float), linestyle=":", zorder=2, **look)
        if level is not None:
            handles.append(axes.axhline(level, label="collapsed point", zorder=2, **DASHED))
        if right.lines:
            dotted = Line2D([], [], color="0.35", linestyle=":", label="error, right", marker=alone)
            handles.append(dotted)
        axes.set(xscale="log", xlabel=GAMMA, ylabel=f"energy along the ray\n({UNIT})")
        unflattened(axes.yaxis, *energy.values(), [] if level is None else [level])
        logarithmic(right.yaxis, *error.values())
        right.set_ylabel("squared error per coordinate")
        legend(axes, handles, title)
    return axes
