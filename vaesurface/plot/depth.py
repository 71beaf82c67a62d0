"""What does depth do to a trained autoencoder, and to how often it collapses?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from vaesurface.plot.canvas import PALETTE, drawn_on, legend

MARKERS = "osD^v"


def depth_errors(
    depth: npt.ArrayLike,
    errors: Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    xlabel: str = "hidden layers in encoder and in decoder",
    ylabel: str = "squared error per feature (data units²)",
    floor: Mapping[str, float] | None = None,
    log: bool = True,
    title: str = "",
) -> Axes:
    """Errors (m, seeds) of several kinds of model against depth (m,): seeds are faint dots, medians
    lines.

    floor: horizontal lines by name, dashed, such as the error of the best constant; log: errors on
    a logarithmic axis. What is not finite is left out.
    """
    x = np.asarray(depth, dtype=float)
    order = np.argsort(x)
    with drawn_on(ax, 2.4 + 0.2 * bool(title)) as axes:
        handles: list[Any] = []
        for i, (name, drawn) in enumerate(errors.items()):
            values = np.asarray(drawn, dtype=float)[order]
            values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
            some = np.isfinite(values).any(axis=1)
            look: Any = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)]}
            for column in values.T:
                axes.plot(
                    x[order],
                    column,
                    alpha=0.35,
                    markersize=3,
                    linestyle="",
                    markeredgewidth=0,
                    zorder=2,
                    **look,
                )
            axes.plot(
                x[order][some], np.nanmedian(values[some], axis=1), markersize=4, zorder=3, **look
            )
            handles.append(Line2D([], [], markersize=4, label=name, **look))
        for name, at in (floor or {}).items():
            handles.append(
                axes.axhline(
                    at, color="k", linestyle=(0, (4, 2)), linewidth=0.8, zorder=1, label=name
                )
            )
        if log:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5), numticks=12))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(x[order], [f"{v:g}" for v in x[order]])
        axes.set(xlabel=xlabel, ylabel=ylabel)
        legend(axes, handles, title)
    return axes


def collapse_shares(
    depth: npt.ArrayLike,
    shares: Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    counts: Mapping[str, Sequence[str]] | None = None,
    xlabel: str = "hidden layers in encoder and in decoder",
    title: str = "",
) -> Axes:
    """Share of runs that end collapsed, at every depth (m,), for several ways to train, side by
    side.

    shares: name -> (m, 3), the share and both ends of its confidence interval; counts: name ->
    texts (m,) above the intervals.
    """
    x = np.asarray(depth, dtype=float)
    with drawn_on(ax, 2.3 + 0.15 * len(shares)) as axes:
        handles = []
        for i, (name, drawn) in enumerate(shares.items()):
            share, low, high = np.asarray(drawn, dtype=float).T
            aside = np.arange(x.size) + 0.6 * ((i + 0.5) / len(shares) - 0.5)
            look: Any = {
                "color": PALETTE[i % len(PALETTE)],
                "marker": MARKERS[i % len(MARKERS)],
                "markersize": 4,
            }
            axes.errorbar(
                aside,
                share,
                [share - low, high - share],
                linestyle="",
                elinewidth=0.8,
                capsize=2,
                **look,
            )
            for at, text, top in zip(aside, (counts or {}).get(name, ()), high, strict=False):
                axes.annotate(
                    text,
                    (at, top),
                    (0, 2),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    size="xx-small",
                )
            handles.append(Line2D([], [], linestyle="", label=name, **look))
        axes.set_xticks(np.arange(x.size), [f"{v:g}" for v in x])
        axes.set(xlim=(-0.5, x.size - 0.5), ylim=(-0.04, 1.12), yticks=[0, 0.25, 0.5, 0.75, 1])
        axes.set(xlabel=xlabel, ylabel="share of runs that end collapsed")
        legend(axes, handles, title)
    return axes
