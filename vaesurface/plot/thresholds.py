"""Where does a latent switch off, and what of the trap that starts fall into? Figures of
Propositions 4.1 and 5.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vaesurface.plot.canvas import PALETTE, UNIT, drawn_on, legend
from vaesurface.plot.sweeps import DASHED, DOTTED

GAMMA = "decoder variance γ (data units²)"
ALPHA = "decoder perturbation strength α (data units)"


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

    curves: name -> (m, k); switches: name -> (k,) the gamma at which latents reach the prior,
    triangles on the axis; theory (m, k): closed form, dashed; held (m, k): of a decoder that stays
    what it is, gray; eigenvalues: dotted.
    """
    x = np.asarray(gamma, dtype=float)
    with drawn_on(ax, 2.8 + 0.2 * bool(title)) as axes:
        for at in np.ravel(np.asarray(eigenvalues, dtype=float)):
            axes.axvline(at, zorder=1, **DOTTED)
        handles: list[Any] = []
        for (name, kl), color, marker in zip(curves.items(), PALETTE, "os^vD", strict=False):
            look: Any = {"color": color, "marker": marker, "markersize": 2.5, "linewidth": 0.8}
            axes.plot(x, -np.sort(-np.asarray(kl, dtype=float), axis=1), zorder=3, **look)
            axes.plot(
                switches[name],
                np.zeros(len(np.asarray(switches[name]))),
                "|",
                color=color,
                markersize=9,
                mew=1.4,
                zorder=4,
            )
            handles.append(Line2D([], [], label=name, **look))
        if theory is not None:
            axes.plot(x, np.asarray(theory, dtype=float), zorder=4, linewidth=0.9, **DASHED)
            handles.append(Line2D([], [], label="theory: log(λ/γ)", **DASHED))
        if held is not None:
            axes.plot(x, np.asarray(held, dtype=float), zorder=2, color="0.6", linewidth=1.0)
            handles.append(Line2D([], [], color="0.6", label="decoder held: shrinks"))
        handles += [Line2D([], [], label="eigenvalues", **DOTTED)] * bool(np.size(eigenvalues))
        axes.set(
            xscale="log",
            xlabel=GAMMA,
            ylabel=f"KL divergence per latent\n({UNIT})",
            xlim=(x.min(), x.max()),
        )
        _decimals(axes.xaxis)
        legend(axes, handles, title)
    return axes


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
    with drawn_on(ax, 2.7 + 0.2 * bool(title)) as axes:
        bars = (
            None
            if upper is None
            else [0 * first, np.maximum(np.asarray(upper, dtype=float) - first, 0.0)]
        )
        look: Any = {
            "color": PALETTE[0],
            "marker": "o",
            "markersize": 4,
            "capsize": 2,
            "elinewidth": 0.8,
            "zorder": 3,
        }
        axes.errorbar(x, first, bars, **look)
        handles: list[Any] = [
            Line2D([], [], color=PALETTE[0], marker="o", markersize=4, label="γ′ of the decoder")
        ]
        ordered = -np.sort(-np.where(np.isfinite(each) & (each > 0), each, np.nan), axis=1)
        axes.plot(x, ordered, color=PALETTE[1], marker="s", markersize=3, linewidth=0.7, zorder=2)
        handles.append(
            Line2D([], [], color=PALETTE[1], marker="s", markersize=3, label="γ″ of its latents")
        )
        handles += axes.plot(x, x, label="the γ it was found at", zorder=1, **DASHED)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel=f"{GAMMA} of the fit",
            ylabel="threshold (data units²)",
        )
        _decimals(axes.xaxis)
        _decimals(axes.yaxis)
        legend(axes, handles, title)
    return axes


def trap(
    alpha: npt.ArrayLike,
    shares: Mapping[str, npt.ArrayLike],
    radius: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    title: str = "",
) -> Axes:
    """Share of random starts that collapse against alpha (m,), and the radius in which collapse is
    provably lowest (m,).

    shares: name -> (m, 3), the share and both ends of its confidence interval. The radius is on an
    axis of its own, dashed; axes that are returned carry the shares.
    """
    a = np.asarray(alpha, dtype=float)
    order = np.argsort(a)
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        handles: list[Any] = []
        for (name, drawn), color in zip(shares.items(), PALETTE, strict=False):
            share, low, high = np.asarray(drawn, dtype=float)[order].T
            look: Any = {
                "color": color,
                "marker": "o",
                "markersize": 3,
                "capsize": 1.5,
                "elinewidth": 0.8,
                "zorder": 3,
            }
            axes.errorbar(a[order], share, [share - low, high - share], **look)
            handles.append(Line2D([], [], color=color, marker="o", markersize=3, label=name))
        axes.set(
            xscale="log", ylim=(-0.04, 1.04), xlabel=ALPHA, ylabel="share of starts that collapse"
        )
        right = axes.twinx()
        handles += right.plot(
            a[order], np.asarray(radius, dtype=float)[order], label="certified radius", **DASHED
        )
        right.set(yscale="log", ylabel="row norm of W (data units)")
        legend(axes, handles, title)
    return axes


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
        for (name, heights), color in zip(energy.items(), PALETTE, strict=False):
            handles += axes.plot(
                x, np.asarray(heights, dtype=float), color=color, label=name, zorder=3
            )
            right.plot(
                x, np.asarray(error[name], dtype=float), color=color, linestyle=":", zorder=2
            )
        if level is not None:
            handles.append(axes.axhline(level, label="collapsed point", zorder=2, **DASHED))
        handles.append(Line2D([], [], color="0.35", linestyle=":", label="error, right"))
        axes.set(xscale="log", xlabel=GAMMA, ylabel=f"energy along the ray\n({UNIT})")
        right.set(yscale="log", ylabel="squared error per coordinate")
        legend(axes, handles, title)
    return axes


def _decimals(axis: Any) -> None:
    """Of a logarithmic axis that spans few decades."""
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
