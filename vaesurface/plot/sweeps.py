"""How do latents, barriers, basins and errors change with a hyper-parameter?

>>> ax = barrier_scaling([0.1, 0.01], [1e-4, 1e-6], limit=0.01)
>>> [text.get_text() for text in ax.get_legend().get_texts()]
['measured', 'limit for α → 0: 0.01']
"""

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vaesurface.marks import KINDS, SADDLE, UNIT
from vaesurface.plot.canvas import (
    ALPHA,
    COLORS,
    DASHED,
    DOTTED,
    GAMMA,
    MARKERS,
    PALETTE,
    draw_eigenvalues,
    drawing,
    drawn_on,
    legend,
    nested,
)
from vaesurface.plot.scales import (
    decimals,
    finite,
    logarithmic,
    spanned,
    unflattened,
)

__all__ = ["active_units", "barrier_scaling", "basin_width", "depth_errors"]


@drawing
def active_units(
    value: npt.ArrayLike,
    kl: npt.ArrayLike,
    active: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    eigenvalues: npt.ArrayLike = (),
    over: npt.ArrayLike = (),
    xlabel: str = GAMMA,
    title: str = "",
) -> Axes:
    """KL divergence of every latent (m, k), in nats, largest first, and number of active ones
    (m,) against gamma or beta (m,).

    eigenvalues: of the data's covariance, dotted: a latent that keeps a direction switches off
    where beta gamma passes its eigenvalue; those off the axis are left out. over: values that were
    asked for, which the axis holds even where there is no minimum. Axes that are returned carry the
    divergences; the count is on an axis of its own on the right.
    """
    x, divergence, count = (np.asarray(v, dtype=float) for v in (value, kl, active))
    order = np.argsort(x)
    x, count = x[order], count[order]
    divergence = -np.sort(-divergence[order], axis=1)
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        logarithmic(axes.xaxis, x, over)
        colors = mpl.colormaps[COLORS](np.linspace(0, 0.85, divergence.shape[1]))
        dot = "." if np.unique(x).size == 1 else None  # a line of one point would not be seen
        for i, (curve, color) in enumerate(zip(divergence.T, colors, strict=True)):
            width = 1.0 * nested(i, divergence.shape[1])
            axes.plot(x, curve, color=color, marker=dot, linewidth=width, zorder=3)
        axes.set_xlabel(xlabel)
        spanned(axes, [*x, *finite(over)])
        axes.set_ylabel("KL divergence per latent\n(nats / datum)")
        unflattened(axes.yaxis, divergence)
        _draw_count(axes.twinx(), x, count, PALETTE[1], dot)
        handles = [
            Line2D([], [], color=colors[0], marker=dot, label="KL of each latent"),
            Line2D([], [], color=PALETTE[1], marker=dot, label="active latents"),
        ]
        if draw_eigenvalues(axes, eigenvalues):
            handles.append(Line2D([], [], label="eigenvalues of the data", **DOTTED))
        legend(axes, handles, title)
    return axes


def _draw_count(axes: Any, x: np.ndarray, count: np.ndarray, color: str, dot: str | None) -> None:
    """A number of active latents as steps, on axes in their color."""
    axes.step(x, count, where="mid", color=color, marker=dot, linewidth=1.4, alpha=0.8)
    axes.set_ylabel("active latents", color=color)
    most = max(1, count.max())
    axes.set_ylim(-0.05 * most, 1.08 * most)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.tick_params(axis="y", colors=color)


@drawing
def basin_width(
    alpha: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    certified: npt.ArrayLike,
    width: npt.ArrayLike,
    saddle: npt.ArrayLike | None = None,
    open_ended: npt.ArrayLike | None = None,
    ylabel: str = "row norm of W (data units)",
    title: str = "",
) -> Axes:
    """How far the basin of collapse reaches at every alpha (m,), on logarithmic axes, in one norm.

    certified (m,): radius of the region in which provably nothing is lower, dashed; width (m, r):
    measured along r directions, the least with a band up to the largest; saddle (m,): distance of
    the nearest saddle. open_ended (m, r): where a width is only a bound from below; a least or
    largest one that is has an arrow. What is not finite is left out.
    """
    a, proved, measured = (np.asarray(v, dtype=float) for v in (alpha, certified, width))
    order = np.argsort(a)
    a, proved = a[order], proved[order]
    measured = measured.reshape(order.size, -1)[order]
    least, _, most = _quantiles(measured)
    with drawn_on(ax, 2.5 + 0.2 * bool(title)) as axes:
        logarithmic(axes.xaxis, a)
        shown = [least, most, proved]
        handles = _draw_widths(axes, a, least, most)
        if open_ended is not None:
            flags = np.asarray(open_ended, dtype=bool).reshape(order.size, -1)[order]
            handles += _draw_bounds(axes, a, measured, flags)
        if saddle is not None:
            look = KINDS[SADDLE]
            cross: Any = {"color": look.color, "marker": look.marker, "markersize": 4, "zorder": 3}
            distance = np.asarray(saddle, dtype=float)[order]
            shown.append(distance)
            handles += axes.plot(a, distance, label="nearest saddle", **cross)
        alone: Any = {"marker": "_", "markersize": 7} if a.size == 1 else {}
        handles += axes.plot(a, proved, label="certified radius", zorder=3, **DASHED, **alone)
        logarithmic(axes.yaxis, *shown)
        axes.set(xlabel=ALPHA, ylabel=ylabel)
        seen = [h for h in handles if not isinstance(h, Line2D) or finite(h.get_ydata()).size]
        legend(axes, seen, title)
    return axes


def _draw_widths(axes: Axes, a: np.ndarray, least: np.ndarray, most: np.ndarray) -> list[Any]:
    """Draws the least and the band; returns their handles."""
    dot: Any = {"color": PALETTE[0], "marker": "o", "markersize": 6, "zorder": 2.5}
    handles: list[Any] = axes.plot(a, least, label="least measured width", **dot)
    if np.any(most > least):
        shade: Any = {"color": PALETTE[0], "alpha": 0.25, "linewidth": 0 if a.size > 1 else 4}
        name = "up to the largest"
        handles.append(axes.fill_between(a, least, most, label=name, zorder=2, **shade))
    return handles


def _draw_bounds(axes: Axes, a: np.ndarray, width: np.ndarray, flags: np.ndarray) -> list[Any]:
    """Draws arrows at the least and the largest width (m, r) that are bounds from below."""
    rows = np.arange(len(a))
    known = np.isfinite(width).any(axis=1)
    filled = np.where(np.isfinite(width), width, np.nan)
    x, y = [], []
    for end in (np.nanargmin, np.nanargmax):
        place = rows[known], end(filled[known], axis=1)
        x += a[known][flags[place]].tolist()
        y += width[place][flags[place]].tolist()
    arrow: Any = {"marker": "^", "mec": PALETTE[0], "mfc": "w", "markersize": 5, "linestyle": ""}
    return axes.plot(x, y, label="at least", zorder=4, **arrow) if x else []


def _quantiles(values: np.ndarray) -> np.ndarray:
    """Least, median and largest finite value of every row (m, r), NaN where none is: (3, m)."""
    finite = np.isfinite(values)
    values = np.where(finite, values, np.nan)
    some = finite.any(axis=1)
    quantiles = np.full((3, len(values)), np.nan)
    quantiles[:, some] = np.nanquantile(values[some], [0.0, 0.5, 1.0], axis=1)
    return quantiles


@drawing
def barrier_scaling(
    alpha: npt.ArrayLike,
    barrier: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    error: npt.ArrayLike | None = None,
    limit: float | None = None,
    title: str = "",
) -> Axes:
    """Barrier out of collapse (m,) over alpha > 0 (m,) squared; error (m,): of the barrier; limit:
    as alpha -> 0, dashed.
    """
    a, height = (np.asarray(v, dtype=float) for v in (alpha, barrier))
    order = np.argsort(a)
    bars = None if error is None else (np.asarray(error, dtype=float) / a**2)[order]
    dot: Any = {"color": PALETTE[0], "marker": "o", "markersize": 3.5, "label": "measured"}
    with drawn_on(ax, 2.4 + 0.2 * bool(title)) as axes:
        scaled = (height / a**2)[order]
        axes.errorbar(a[order], scaled, bars, capsize=2, elinewidth=0.8, zorder=3, **dot)
        handles: list[Any] = [Line2D([], [], **dot)]
        if limit is not None:
            label = f"limit for α → 0: {limit:.4g}"
            handles.append(axes.axhline(limit, label=label, zorder=2, **DASHED))
        axes.set(xscale="log", xlabel=ALPHA, ylabel=f"barrier / α²\n({UNIT} / data units²)")
        unflattened(axes.yaxis, scaled, [] if limit is None else [limit])
        legend(axes, handles, title)
    return axes


@drawing
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
    x = x[order]
    seed: Any = {"alpha": 0.35, "markersize": 3, "linestyle": "", "markeredgewidth": 0, "zorder": 2}
    with drawn_on(ax, 2.4 + 0.2 * bool(title)) as axes:
        handles: list[Any] = []
        shown: list[Any] = []
        looks = zip(errors.items(), cycle(PALETTE), cycle(MARKERS))
        for i, ((name, values), color, marker) in enumerate(looks):
            error = np.asarray(values, dtype=float)[order]
            error = np.where(np.isfinite(error), error, np.nan)
            _, median, _ = _quantiles(error)
            some = np.isfinite(median)
            if not some.any():
                continue
            look: Any = {"color": color, "marker": marker}
            size = 4 * nested(i, len(errors))
            axes.plot(x, error, **seed, **look)
            axes.plot(x[some], median[some], markersize=size, zorder=3, **look)
            handles.append(Line2D([], [], markersize=size, label=name, **look))
            shown.append(error)
        for name, level in (floor or {}).items():
            handles.append(axes.axhline(level, label=name, linewidth=0.8, zorder=1, **DASHED))
            shown.append([level])
        axes.set_xticks(x, [f"{v:g}" for v in x])
        axes.set(xlabel=xlabel, ylabel=ylabel)
        _scale_errors(axes.yaxis, shown, log)
        legend(axes, handles, title)
    return axes


def _scale_errors(axis: Any, shown: Sequence[npt.ArrayLike], log: bool) -> None:
    """The scale of an axis of errors, and its ticks."""
    values = finite(*shown)
    if not log:
        unflattened(axis, values)
    elif not values.size or (values > 0).all():
        axis.axes.set_yscale("log")
        decimals(axis, subs=(1, 2, 3, 5), numticks=12)
    else:
        logarithmic(axis, values)
