"""How do verdicts, energies, barriers and basins change with a hyper-parameter?"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vaesurface.plot.canvas import (
    COLORS,
    EMPTY,
    HALO,
    KINDS,
    PALETTE,
    UNIT,
    colorbar,
    drawn_on,
    legend,
    readable,
)

if TYPE_CHECKING:
    import xarray as xr

# A `continuation.EventKind`, its marker.
EVENTS = {"fold": ">", "branch point": "o", "jump": "v"}
STABLE: dict[bool, Any] = {True: "-", False: (0, (3, 1.5))}
NAMES = {True: "minimum", False: "not a minimum"}
DASHED: Any = {"color": "k", "linestyle": (0, (4, 2))}  # theory
DOTTED: Any = {"color": "0.35", "linestyle": ":", "linewidth": 0.8}


def phase_diagram(
    ds: xr.Dataset,
    ax: Axes | None = None,
    *,
    note: str = "",
    theory: npt.ArrayLike | None = None,
    theory_label: str = "theory",
) -> Axes:
    """Share of runs that ended collapsed, one cell per decoder perturbation and initialization
    scale.

    ds: dims alpha, scale and seed with numeric coordinates; variables theory_collapsed, kind (codes
    of `stationary.Kind`) and, where runs are missing, computed; attributes optimizer and data make
    the title, note ends the caption. theory (m, 2): a line through points (alpha, scale) with its
    label, dashed, on axes that are logarithmic from cell to cell (linear from 0), such as the scale
    below which collapse is certain. A run that is not stationary counts as computed and not as
    collapsed. Raises ValueError for other dims, and for a line over one alpha or one scale.
    """
    dims = ("scale", "alpha", "seed")
    names = ["kind", "theory_collapsed", *(["computed"] if "computed" in ds else [])]
    for name in names:
        if set(ds[name].dims) != set(dims):
            raise ValueError(
                f"expected {name} with dims {dims}, got {ds[name].dims}; select or rename dims"
            )
    ds = ds.sortby(["alpha", "scale"])
    kind, collapsed, *rest = (ds[name].transpose(*dims).values.astype(float) for name in names)
    computed = np.isfinite(kind) & np.isfinite(collapsed) & (rest[0] == 1 if rest else True)
    runs, lost = computed.sum(axis=-1), (computed & (kind == 0)).sum(axis=-1)
    ended = (computed & (collapsed == 1) & (kind != 0)).sum(axis=-1)
    rows, columns = runs.shape
    share = np.ma.masked_where(runs == 0, ended / np.maximum(runs, 1))
    said = ["c/m: c of m runs ended collapsed", "ns: did not end stationary" * bool(lost.any())]
    said += ["hatched: not computed" * bool((runs == 0).any()), note]

    with drawn_on(ax, 1.75 + 0.26 * rows) as axes:
        x, y = np.arange(columns), np.arange(rows)
        mesh = axes.pcolormesh(
            x, y, share, cmap=COLORS, vmin=0, vmax=1, edgecolors="w", linewidth=0.5
        )
        axes.patch.set(**EMPTY)
        bar = colorbar(axes, mesh, "probability of collapse", [0, 0.25, 0.5, 0.75, 1])
        below: Any = {"xycoords": bar.ax.xaxis.label, "textcoords": "offset points", "va": "top"}
        caption = textwrap.fill("; ".join(filter(None, said)), 64)
        bar.ax.annotate(caption, (0.5, 0), (0, -3), ha="center", size="small", color="0.3", **below)

        font = float(mpl.rcParams["font.size"])
        width = 72 * axes.get_window_extent().width / axes.figure.dpi / columns
        values = [f"{v:g}" for v in ds["alpha"].values]
        axes.set_xticks(x, values, rotation=90 if 0.6 * font * max(map(len, values)) > width else 0)
        axes.set_yticks(y, [f"{v:g}" for v in ds["scale"].values])
        axes.tick_params(length=0)
        axes.set(
            xlabel="decoder perturbation strength α (data units)", ylabel="initialization scale"
        )
        title = [textwrap.fill(str(ds.attrs.get(name, "")), 50) for name in ("optimizer", "data")]
        handles: list[Any] = []
        if theory is not None:
            line = _on_cells(
                np.asarray(theory, dtype=float), ds["alpha"].values, ds["scale"].values
            )
            dashed: Any = {
                "color": "k",
                "linestyle": (0, (4, 2)),
                "linewidth": 1.2,
                "path_effects": HALO,
            }
            axes.plot(*line.T, zorder=2.5, **dashed)  # below the counts
            axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
            handles.append(Line2D([], [], label=theory_label, **dashed))
        legend(axes, handles, "\n".join(filter(None, title)))
        size = min(font - 1, width / (0.62 * len(f"{runs.max()}/{runs.max()}")))
        for i, j in np.argwhere(runs):
            text = f"{ended[i, j]}/{runs[i, j]}" + f"\n{lost[i, j]} ns" * bool(lost[i, j])
            color = readable(mesh.cmap(mesh.norm(share[i, j])))
            axes.text(j, i, text, ha="center", va="center", size=size, color=color, linespacing=1.0)
    return axes


def _on_cells(line: np.ndarray, alpha: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Points (alpha, scale), (m, 2), in units of cells."""
    columns = [
        _positions(values, grid) for values, grid in zip(line.T, (alpha, scale), strict=True)
    ]
    return np.stack(columns, axis=1)


def _positions(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Index of values (m,) in an ascending grid, in between by logarithm or, from 0, linearly, and
    so on beyond its ends.
    """
    if len(grid) == 1:
        raise ValueError(
            "expected at least two values a side to draw a line on the cells, got one; sweep "
            "over more"
        )
    place = np.clip(np.searchsorted(grid, values, side="right") - 1, 0, len(grid) - 2)
    low, high = grid[place], grid[place + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        part = np.where(
            low > 0, np.log(values / low) / np.log(high / low), (values - low) / (high - low)
        )
    return np.where(np.isfinite(part), place + part, np.nan)


def bifurcation(
    branches: Sequence[Any],
    ax: Axes | None = None,
    *,
    labels: Sequence[str] = (),
    quantity: Callable[[Any], npt.ArrayLike] | None = None,
    xlabel: str = "decoder perturbation strength α (data units)",
    ylabel: str = f"energy ({UNIT})",
    theory: Mapping[str, float] | None = None,
    title: str = "",
) -> Axes:
    """Branches of stationary points over a hyper-parameter: minima solid, all else dashed, events
    marked.

    branches: `continuation.Branch`es (value (m,), point with loss and kind (m,), events with kind,
    value and loss); quantity: the scalar (m,) of such a point to draw, by default its energy.
    theory: dotted vertical lines by name. Raises ValueError for no branch.
    """
    if not branches:
        raise ValueError("expected at least one branch, got none; follow a stationary point first")
    scalar = quantity or (lambda point: point.loss)
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        seen: set[str] = set()
        handles: list[Any] = []
        for i, branch in enumerate(branches):
            color = PALETTE[i % len(PALETTE)]
            x, y = (
                np.asarray(branch.value, dtype=float),
                np.asarray(scalar(branch.point), dtype=float),
            )
            for run, stable in _runs(np.asarray(branch.point.kind) == 1):
                axes.plot(x[run], y[run], color=color, linestyle=STABLE[stable], zorder=3)
                seen.add(NAMES[stable])
            for event in branch.events:
                near = np.abs(x - event.value).argmin()
                look: Any = {
                    "marker": EVENTS[str(event.kind)],
                    "markersize": 5,
                    "mec": color,
                    "mfc": "w",
                    "linestyle": "",
                }
                axes.plot(
                    event.value, event.loss if quantity is None else y[near], zorder=4, **look
                )
                seen.add(str(event.kind))
            if labels:
                handles.append(Line2D([], [], color=color, label=labels[i]))
        for stable, name in NAMES.items():
            if name in seen:
                handles.append(Line2D([], [], color="0.2", linestyle=STABLE[stable], label=name))
        for name, marker in EVENTS.items():
            if name in seen:
                handles.append(
                    Line2D([], [], marker=marker, mec="0.2", mfc="w", linestyle="", label=name)
                )
        axes.set(xlabel=xlabel, ylabel=ylabel)
        legend(axes, handles, title)
        _verticals(axes, theory or {})
    return axes


def _runs(flags: np.ndarray) -> list[tuple[slice, bool]]:
    """Stretches of equal flags, each with the first point of the next, so that the curve has no
    gap.
    """
    starts = np.flatnonzero(np.diff(flags, prepend=~flags[:1]))
    ends = [*starts[1:], len(flags)]
    return [(slice(a, b + 1), bool(flags[a])) for a, b in zip(starts, ends, strict=True)]


def _verticals(axes: Axes, lines: Mapping[str, float]) -> None:
    """Dotted lines with their names along them, in room made above the curves."""
    if not lines:
        return
    low, high = axes.get_ylim()
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()
    said = []
    for name, at in lines.items():
        axes.axvline(at, zorder=1, **DOTTED)
        look: Any = {
            "rotation": 90,
            "ha": "right",
            "va": "top",
            "size": "small",
            "color": "0.25",
            "path_effects": HALO,
        }
        said.append(
            axes.annotate(
                name, (at, 1), (-1, -3), axes.get_xaxis_transform(), "offset points", **look
            )
        )
    share = min(
        0.5, max(text.get_window_extent().height for text in said) / axes.bbox.height + 0.05
    )
    axes.set_ylim(low, low + (high - low) / (1 - share))


def active_units(
    value: npt.ArrayLike,
    kl: npt.ArrayLike,
    active: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    eigenvalues: npt.ArrayLike = (),
    xlabel: str = "decoder variance γ (data units²)",
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
    divergence = -np.sort(-divergence[order], axis=1)
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        for at in np.ravel(np.asarray(eigenvalues, dtype=float)):
            axes.axvline(at, zorder=1, **DOTTED)
        colors = mpl.colormaps[COLORS](np.linspace(0, 0.85, divergence.shape[1]))
        for curve, color in zip(divergence.T, colors, strict=True):
            axes.plot(x[order], curve, color=color, zorder=3)
        axes.set_xscale("log")
        axes.set(
            xlabel=xlabel, ylabel=f"KL divergence per latent\n({UNIT})", xlim=(x.min(), x.max())
        )
        right = axes.twinx()
        right.step(x[order], count[order], where="mid", color=PALETTE[1], linewidth=1.4, alpha=0.8)
        right.set_ylabel("active latents", color=PALETTE[1])
        right.set_ylim(-0.05 * max(1, count.max()), 1.08 * max(1, count.max()))
        right.yaxis.set_major_locator(MaxNLocator(integer=True))
        right.tick_params(axis="y", colors=PALETTE[1])
        handles = [Line2D([], [], color=colors[0], label="KL of each latent")]
        handles += [Line2D([], [], color=PALETTE[1], label="active latents")]
        if np.size(eigenvalues):
            handles.append(Line2D([], [], label="eigenvalues of the data", **DOTTED))
        legend(axes, handles, title)
    return axes


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
    measured = np.where(np.isfinite(measured), measured, np.nan).reshape(a.size, -1)[order]
    some = np.isfinite(measured).any(axis=1)
    least, middle, most = np.full((3, a.size), np.nan)
    least[some], middle[some], most[some] = np.nanquantile(measured[some], [0.0, 0.5, 1.0], axis=1)
    with drawn_on(ax, 2.5 + 0.2 * bool(title)) as axes:
        band = axes.fill_between(
            a[order], least, most, color=PALETTE[0], alpha=0.25, linewidth=0, zorder=2
        )
        band.set_label("least to largest")
        (line,) = axes.plot(
            a[order],
            middle,
            color=PALETTE[0],
            marker="o",
            markersize=3,
            zorder=3,
            label="measured width",
        )
        handles: list[Any] = [line, band]
        if saddle is not None:
            look: Any = {"color": KINDS[2][2], "marker": KINDS[2][1], "markersize": 4}
            handles += axes.plot(
                a[order],
                np.asarray(saddle, dtype=float)[order],
                zorder=3,
                label="nearest saddle",
                **look,
            )
        handles += axes.plot(a[order], proved[order], label="certified radius", zorder=3, **DASHED)
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="decoder perturbation strength α (data units)",
            ylabel=ylabel,
        )
        legend(axes, handles, title)
    return axes


def basin_volume(
    alpha: npt.ArrayLike,
    shares: Mapping[str, npt.ArrayLike],
    ax: Axes | None = None,
    *,
    scale: float,
    title: str = "",
) -> Axes:
    """Share of random starts of a scale that collapse, at every alpha (m,), for several ways to
    descend, side by side.

    shares: name -> (m, 3), the share and both ends of its confidence interval.
    """
    a = np.asarray(alpha, dtype=float)
    order = np.argsort(a)
    with drawn_on(ax, 2.4 + 0.15 * len(shares)) as axes:
        handles = []
        for i, (name, drawn) in enumerate(shares.items()):
            share, low, high = np.asarray(drawn, dtype=float)[order].T
            aside = np.arange(a.size) + 0.6 * ((i + 0.5) / len(shares) - 0.5)
            look: Any = {
                "color": PALETTE[i % len(PALETTE)],
                "fmt": "o",
                "markersize": 3,
                "elinewidth": 0.8,
                "capsize": 1.5,
            }
            axes.errorbar(aside, share, [share - low, high - share], **look)
            handles.append(
                Line2D(
                    [], [], color=look["color"], marker="o", markersize=3, linestyle="", label=name
                )
            )
        axes.set_xticks(np.arange(a.size), [f"{v:g}" for v in a[order]])
        axes.set(
            xlim=(-0.5, a.size - 0.5),
            ylim=(-0.04, 1.04),
            xlabel="decoder perturbation strength α (data units)",
        )
        axes.set_ylabel(f"share of starts of scale {scale:g}\nthat collapse")
        legend(axes, handles, title)
    return axes


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
    with drawn_on(ax, 2.4 + 0.2 * bool(title)) as axes:
        look: Any = {
            "color": PALETTE[0],
            "marker": "o",
            "markersize": 3.5,
            "capsize": 2,
            "elinewidth": 0.8,
            "zorder": 3,
        }
        axes.errorbar(a[order], (height / a**2)[order], bars, label="measured", **look)
        handles: list[Any] = [
            Line2D([], [], color=PALETTE[0], marker="o", markersize=3.5, label="measured")
        ]
        if limit is not None:
            handles.append(
                axes.axhline(limit, label=f"limit for α → 0: {limit:.4g}", zorder=2, **DASHED)
            )
        axes.set(xscale="log", xlabel="decoder perturbation strength α (data units)")
        axes.set_ylabel(f"barrier / α²\n({UNIT} / data units²)")
        legend(axes, handles, title)
    return axes
