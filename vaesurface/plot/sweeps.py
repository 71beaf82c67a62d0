"""How do energies, latents, barriers, basins and errors change with a hyper-parameter?

>>> ax = barrier_scaling([0.1, 0.01], [1e-4, 1e-6], limit=0.01)
>>> [text.get_text() for text in ax.get_legend().get_texts()]
['measured', 'limit for α → 0: 0.01']
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vaesurface.marks import KINDS, MINIMUM, SADDLE, UNIT
from vaesurface.plot.canvas import (
    ALPHA,
    COLORS,
    DASHED,
    DOTTED,
    GAMMA,
    HALO,
    MARKERS,
    PALETTE,
    decimals,
    drawing,
    drawn_on,
    legend,
    stretches,
)

__all__ = ["active_units", "barrier_scaling", "basin_width", "bifurcation", "depth_errors"]

SOLID, BROKEN = "-", (0, (3, 1.5))
# What a legend of branches may hold, in its order. Markers are of `paths.events.EventKind`s.
CURVES: dict[str, Any] = {"minimum": SOLID, "not a minimum": BROKEN}
EVENTS = {"fold": ">", "branch point": "o", "jump": "v"}


@drawing
def bifurcation(
    branches: Sequence[Any],
    ax: Axes | None = None,
    *,
    labels: Sequence[str] = (),
    quantity: Callable[[Any], npt.ArrayLike] | None = None,
    xlabel: str = ALPHA,
    ylabel: str = f"energy ({UNIT})",
    theory: Mapping[str, float] | None = None,
    title: str = "",
) -> Axes:
    """Branches of stationary points over a hyper-parameter: minima solid, all else dashed, events
    marked.

    branches: `paths.branch.Branch`es (value (m,), point with loss and kind (m,), events with kind,
    value and loss); quantity: the scalar (m,) of such a point to draw, by default its energy.
    theory: dotted vertical lines by name. Raises ValueError for no branch.
    """
    if not branches:
        raise ValueError("expected at least one branch, got none; follow a stationary point first")
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        names: set[str] = set()  # of all that is drawn
        for branch, color in zip(branches, cycle(PALETTE)):
            names |= _draw_branch(axes, branch, quantity, color)
        handles = [
            Line2D([], [], color=color, label=label) for label, color in zip(labels, cycle(PALETTE))
        ]
        for name, linestyle in CURVES.items():
            if name in names:
                handles.append(Line2D([], [], color="0.2", linestyle=linestyle, label=name))
        for name, marker in EVENTS.items():
            if name in names:
                look: Any = {"marker": marker, "mec": "0.2", "mfc": "w", "linestyle": ""}
                handles.append(Line2D([], [], label=name, **look))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        legend(axes, handles, title)
        _draw_verticals(axes, theory or {})
    return axes


def _draw_branch(
    axes: Axes, branch: Any, quantity: Callable[[Any], npt.ArrayLike] | None, color: str
) -> set[str]:
    """Draws a branch with its events; returns the names of what it shows."""
    x = np.asarray(branch.value, dtype=float)
    heights = branch.point.loss if quantity is None else quantity(branch.point)
    y = np.asarray(heights, dtype=float)
    names = set()
    for part, is_minimum in stretches(np.asarray(branch.point.kind) == MINIMUM):
        name = "minimum" if is_minimum else "not a minimum"
        axes.plot(x[part], y[part], color=color, linestyle=CURVES[name], zorder=3)
        names.add(name)
    look: Any = {"markersize": 5, "mec": color, "mfc": "w", "linestyle": "", "zorder": 4}
    for event in branch.events:
        nearest = np.abs(x - event.value).argmin()
        height = event.loss if quantity is None else y[nearest]
        axes.plot(event.value, height, marker=EVENTS[str(event.kind)], **look)
        names.add(str(event.kind))
    return names


def _draw_verticals(axes: Axes, lines: Mapping[str, float]) -> None:
    """Dotted lines with their names along them, in room made above the curves."""
    if not lines:
        return
    low, high = axes.get_ylim()
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()
    top = axes.get_xaxis_transform()
    place: Any = {"xycoords": top, "textcoords": "offset points", "rotation": 90}
    look: Any = {"ha": "right", "va": "top", "size": "small", "color": "0.25", "path_effects": HALO}
    texts = []
    for name, at in lines.items():
        axes.axvline(at, zorder=1, **DOTTED)
        texts.append(axes.annotate(name, (at, 1), (-1, -3), **place, **look))
    tallest = max(text.get_window_extent().height for text in texts)
    share = min(0.5, tallest / axes.bbox.height + 0.05)
    axes.set_ylim(low, low + (high - low) / (1 - share))


@drawing
def active_units(
    value: npt.ArrayLike,
    kl: npt.ArrayLike,
    active: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    eigenvalues: npt.ArrayLike = (),
    xlabel: str = GAMMA,
    title: str = "",
) -> Axes:
    """KL divergence of every latent (m, k), largest first, and number of active ones (m,) against
    gamma or beta (m,).

    eigenvalues: of the data's covariance, dotted: a latent that keeps a direction switches off
    where beta gamma passes its eigenvalue. Axes that are returned carry the divergences; the count
    is on an axis of its own on the right.
    """
    x, divergence, count = (np.asarray(v, dtype=float) for v in (value, kl, active))
    order = np.argsort(x)
    x, count = x[order], count[order]
    divergence = -np.sort(-divergence[order], axis=1)
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        for at in np.ravel(eigenvalues):
            axes.axvline(at, zorder=1, **DOTTED)
        colors = mpl.colormaps[COLORS](np.linspace(0, 0.85, divergence.shape[1]))
        for curve, color in zip(divergence.T, colors, strict=True):
            axes.plot(x, curve, color=color, zorder=3)
        axes.set(xscale="log", xlabel=xlabel, xlim=(x.min(), x.max()))
        axes.set_ylabel(f"KL divergence per latent\n({UNIT})")
        _draw_count(axes.twinx(), x, count, PALETTE[1])
        handles = [
            Line2D([], [], color=colors[0], label="KL of each latent"),
            Line2D([], [], color=PALETTE[1], label="active latents"),
        ]
        if np.size(eigenvalues):
            handles.append(Line2D([], [], label="eigenvalues of the data", **DOTTED))
        legend(axes, handles, title)
    return axes


def _draw_count(axes: Any, x: np.ndarray, count: np.ndarray, color: str) -> None:
    """A number of active latents as steps, on axes in their color."""
    axes.step(x, count, where="mid", color=color, linewidth=1.4, alpha=0.8)
    axes.set_ylabel("active latents", color=color)
    most = max(1, count.max())
    axes.set_ylim(-0.05 * most, 1.08 * most)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.tick_params(axis="y", colors=color)


@drawing
def basin_width(
    alpha: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    certified: npt.ArrayLike,
    width: npt.ArrayLike,
    saddle: npt.ArrayLike | None = None,
    ylabel: str = "row norm of W (data units)",
    title: str = "",
) -> Axes:
    """How far the basin of collapse reaches at every alpha (m,), on logarithmic axes, in one norm.

    certified (m,): radius of the region in which provably nothing is lower, dashed; width (m, r):
    measured along r directions, the band from the least to the largest with its median; saddle
    (m,): distance of the nearest saddle. What is not finite is left out.
    """
    a, proved, measured = (np.asarray(v, dtype=float) for v in (alpha, certified, width))
    order = np.argsort(a)
    a, proved = a[order], proved[order]
    least, median, most = _quantiles(measured.reshape(order.size, -1)[order])
    dot: Any = {"color": PALETTE[0], "marker": "o", "markersize": 3, "zorder": 3}
    with drawn_on(ax, 2.5 + 0.2 * bool(title)) as axes:
        shade: Any = {"color": PALETTE[0], "alpha": 0.25, "linewidth": 0, "zorder": 2}
        band = axes.fill_between(a, least, most, label="least to largest", **shade)
        handles: list[Any] = [*axes.plot(a, median, label="measured width", **dot), band]
        if saddle is not None:
            look = KINDS[SADDLE]
            cross: Any = {"color": look.color, "marker": look.marker, "markersize": 4, "zorder": 3}
            distance = np.asarray(saddle, dtype=float)[order]
            handles += axes.plot(a, distance, label="nearest saddle", **cross)
        handles += axes.plot(a, proved, label="certified radius", zorder=3, **DASHED)
        axes.set(xscale="log", yscale="log", xlabel=ALPHA, ylabel=ylabel)
        legend(axes, handles, title)
    return axes


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
        for (name, values), color, marker in zip(errors.items(), cycle(PALETTE), cycle(MARKERS)):
            error = np.asarray(values, dtype=float)[order]
            error = np.where(np.isfinite(error) & (error > 0), error, np.nan)
            _, median, _ = _quantiles(error)
            look: Any = {"color": color, "marker": marker}
            axes.plot(x, error, **seed, **look)
            some = np.isfinite(median)
            axes.plot(x[some], median[some], markersize=4, zorder=3, **look)
            handles.append(Line2D([], [], markersize=4, label=name, **look))
        for name, level in (floor or {}).items():
            handles.append(axes.axhline(level, label=name, linewidth=0.8, zorder=1, **DASHED))
        if log:
            axes.set_yscale("log")
            decimals(axes.yaxis, subs=(1, 2, 3, 5), numticks=12)
        axes.set_xticks(x, [f"{v:g}" for v in x])
        axes.set(xlabel=xlabel, ylabel=ylabel)
        legend(axes, handles, title)
    return axes
