"""What stationary points are there: their eigenvalues, indices and energies, the barriers between
them, their posteriors?
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from vaesurface.plot.canvas import (
    HALO,
    KINDS,
    PALETTE,
    UNIT,
    colorbar,
    counted,
    drawn_on,
    legend,
    lowest,
)

LABELED = 12  # leaves of a graph, up to which there is room for a label below each


def spectrum(
    eigenvalues: npt.ArrayLike, ax: Axes | None = None, *, inertia: Sequence[Any], title: str = ""
) -> Axes:
    """Histogram of all Hessian eigenvalues, five bins a decade on both sides of zero, with a tick
    for each.

    inertia: numbers of negative, flat and positive eigenvalues; the flat ones share the bar at
    zero. Raises ValueError where these are not the eigenvalues' signs, or an eigenvalue is not
    finite.
    """
    values = np.sort(np.asarray(eigenvalues, dtype=float).ravel())
    negative, flat, positive = (int(v) for v in inertia)
    parts = np.split(values, [negative, negative + flat])
    fits = (
        negative + flat + positive == values.size and np.all(parts[0] < 0) and np.all(parts[2] > 0)
    )
    if not (fits and np.isfinite(values).all()):
        got = (
            f"{(negative, flat, positive)} for {np.isfinite(values).sum()} finite of "
            f"{values.size} values"
        )
        raise ValueError(
            f"expected finite eigenvalues and their inertia, got {got}; give all eigenvalues"
        )
    sizes = np.log10(np.abs(np.concatenate(parts[::2]))) if negative + positive else np.zeros(1)
    low = math.floor(sizes.min())
    high = max(math.ceil(sizes.max()), low + 1)
    edges = np.logspace(low, high, 5 * (high - low) + 1)
    bins = -edges[::-1], 0.6 * edges[0] * np.array([-1.0, 1.0]), edges
    colors = KINDS[2][2], "0.55", KINDS[1][2]
    floor, rug = (
        0.7,
        0.55,
    )  # on the logarithmic axis of counts: the foot of the bars, and the ticks below it

    with drawn_on(ax, 2.2 + 0.15 * title.count("\n")) as axes:
        axes.set_xscale("symlog", linthresh=edges[0], linscale=max(0.3, 0.06 * (high - low)))
        axes.set_yscale("log")
        tallest = 1
        for part, bounds, color in zip(parts, bins, colors, strict=True):
            count = np.histogram(np.clip(part, bounds[0], bounds[-1]), bounds)[0]
            tallest = max(tallest, *count)
            axes.stairs(
                np.maximum(count, floor),
                bounds,
                baseline=floor,
                fill=True,
                color=color,
                linewidth=0,
            )
            axes.plot(
                part, np.full(part.size, rug), "|", color=color, markersize=4, markeredgewidth=0.4
            )
        if flat:
            axes.annotate(
                "flat", (0, flat), (0, 2), textcoords="offset points", ha="center", size="small"
            )
        left = -(10.0 ** math.ceil(np.log10(-values[0]))) if negative else -edges[0]
        shown = 10.0 ** np.arange(
            low + 1, high + 1, math.ceil((high - low) / (3 if negative else 6))
        )
        axes.set_xticks([*-shown[-shown >= left][::-1], 0, *(shown if positive else [])])
        right = edges[-1] if positive else edges[0]
        axes.set(xlim=(1.5 * left, 1.5 * right), ylim=(0.45, 2 * tallest))
        axes.set(xlabel=f"Hessian eigenvalue ({UNIT} / distance²)", ylabel="number of eigenvalues")
        axes.set_title(f"{title}\nindex {negative}, {flat} flat, {positive} positive".strip())
    return axes


def index_scatter(
    energy: npt.ArrayLike,
    index: npt.ArrayLike,
    active: npt.ArrayLike,
    ax: Axes | None = None,
    *,
    best: float | None = None,
    title: str = "",
) -> Axes:
    """Index of stationary points against their energy above the best, colored by active latents;
    all (m,).

    best: energy to measure from, by default the lowest of these. Points that are not finite are
    left out. Raises ValueError where none is left.
    """
    e, i, a = (np.ravel(np.asarray(v, dtype=float)) for v in (energy, index, active))
    e = e - min(lowest(e), np.inf if best is None else best)
    kept = np.isfinite(e)
    colors, norm, ticks = counted(a[kept])
    with drawn_on(ax, 2.6 + 0.15 * bool(title)) as axes:
        look: Any = {
            "cmap": colors,
            "norm": norm,
            "s": 16,
            "edgecolors": "0.2",
            "linewidths": 0.4,
            "alpha": 0.9,
        }
        drawn = axes.scatter(e[kept], i[kept], c=a[kept], zorder=3, **look)
        colorbar(axes, drawn, "active latents", ticks, "%d")
        axes.set(xlabel=f"energy above the best ({UNIT})", ylabel="index (negative eigenvalues)")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="0.9", linewidth=0.5)
        axes.set_axisbelow(True)
        axes.set_title(title)
    return axes


def disconnectivity(
    minima: npt.ArrayLike,
    edges: Sequence[tuple[int, int, float]],
    ax: Axes | None = None,
    *,
    active: npt.ArrayLike | None = None,
    labels: Sequence[str] = (),
    scale: str = "linear",
    title: str = "",
) -> Axes:
    """Which minima join at which energy: a leaf for every minimum, branches that meet at the lowest
    saddle between them.

    (Becker & Karplus, J. Chem. Phys. 106, 1997.) minima (m,): energies; edges: (i, j, energy of a
    saddle that joins minima i and j); active (m,) colors the leaves. Barriers too low to be seen
    are written below their leaf, or counted where leaves are many. What no edge joins stays apart,
    open at the top. scale: "linear", or "symlog" where energies above the lowest differ by orders
    of magnitude. Raises ValueError for another scale, for minima that are not finite, and for a
    saddle below a minimum that it joins.
    """
    if scale not in ("linear", "symlog"):
        raise ValueError(f"expected scale 'linear' or 'symlog', got {scale!r}; choose one of them")
    base = np.ravel(np.asarray(minima, dtype=float))
    if not (base.size and np.isfinite(base).all()):
        raise ValueError(f"expected finite energies of minima, got {base}; leave out what has none")
    for i, j, e in edges:
        if not e >= max(base[i], base[j]):
            raise ValueError(
                f"expected a saddle above the minima {i} and {j}, got energy {e:g}; check the edge"
            )
    heights, merges = base - base.min(), [(i, j, e - base.min()) for i, j, e in edges]
    nodes, roots = _tree(heights, merges)
    order = _leaves(nodes, roots, base.size)
    x: dict[int, float] = dict(zip(order, range(base.size), strict=True))
    y: dict[int, float] = dict(enumerate(heights))
    highest = max([*heights, *(height for *_, height in nodes)])
    count = np.zeros(base.size) if active is None else np.asarray(active)
    colors, norm, ticks = counted(count)

    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        tip = (1.06 if scale == "linear" else 3.0) * highest or 1.0

        def color(node):
            return colors(norm(count[node])) if active is not None and node < base.size else "0.3"

        rise: dict[int, float] = {}  # how high a branch goes until it joins others
        for k, (*children, height) in enumerate(nodes):
            node = base.size + k
            x[node], y[node] = sum(x[child] for child in children) / 2, height
            axes.plot(
                [x[child] for child in children],
                [height] * 2,
                color="0.3",
                solid_capstyle="projecting",
                zorder=2,
            )
            rise |= dict.fromkeys(children, height)
        for node in x:
            top = rise.get(node, tip)
            axes.plot(
                [x[node]] * 2,
                [y[node], top],
                color=color(node),
                linewidth=1.2,
                zorder=3,
                solid_capstyle="butt",
            )
        look: Any = {"linestyle": "", "markersize": 4, "markeredgewidth": 0.4, "mec": "0.2"}
        for leaf in range(base.size):
            axes.plot(x[leaf], y[leaf], marker="o", mfc=color(leaf), zorder=4, **look)
        least = 0.0  # tick above zero
        if scale == "symlog":
            least = min([v for v in y.values() if v > 0], default=1.0)
            axes.set_yscale("symlog", linthresh=least, linscale=0.5)
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set(
            xlim=(-0.6, base.size - 0.4),
            xticks=[],
            xlabel="minima",
            ylabel=f"energy above the best\n({UNIT})",
        )
        axes.set_ylim(top=tip)
        axes.set_title(title)
        if active is not None:
            colorbar(
                axes, ScalarMappable(norm, colors), "active latents of the minimum", ticks, "%d"
            )
        below = [
            (x[leaf], y[leaf], rise.get(leaf, tip), labels[leaf] if labels else "")
            for leaf in range(base.size)
        ]
        _say(axes, below)
        axes.set_yticks([tick for tick in axes.get_yticks() if tick == 0 or least <= tick <= tip])
    return axes


def _say(axes: Axes, leaves: Sequence[tuple[float, float, float, str]]) -> None:
    """Labels below leaves (x, foot, top, label), and room for them, with barriers that dots hide;
    of many just how many.
    """
    ends = axes.transData.transform([(x, y) for x, foot, top, _ in leaves for y in (foot, top)])[
        :, 1
    ].reshape(-1, 2)
    hidden = np.diff(ends, axis=1)[:, 0] < 2 * axes.figure.dpi / 72
    crowd = len(leaves) > LABELED
    if crowd and hidden.any():
        corner: Any = {
            "xycoords": "axes fraction",
            "textcoords": "offset points",
            "ha": "right",
            "path_effects": HALO,
        }
        axes.annotate(
            f"{hidden.sum()} barriers too low to be seen", (0.95, 0), (0, 4), size="small", **corner
        )
    texts = []
    for (x, foot, top, label), low in zip(leaves, hidden & (not crowd), strict=True):
        if low:
            label = f"{label}, " * bool(label) + f"barrier {top - foot:.1g}"
        look: Any = {
            "rotation": 90,
            "ha": "center",
            "va": "top",
            "size": "small",
            "path_effects": HALO,
            "zorder": 5,
        }
        texts.append(axes.annotate(label, (x, foot), (0, -5), textcoords="offset points", **look))
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()
    bottom, height = axes.bbox.y0, axes.bbox.height
    depth = (
        max(
            [bottom - text.get_window_extent().y0 for text in texts if text.get_text()], default=0.0
        )
        / height
    )
    if depth > 0:
        # The rest shrinks by 1 - depth to make room; on the screen, so that any scale will do.
        lower = axes.transData.inverted().transform(
            (0, bottom - 1.05 * height * depth / (1 - depth))
        )[1]
        axes.set_ylim(bottom=lower)


def _tree(
    heights: np.ndarray, merges: Sequence[tuple[int, int, float]]
) -> tuple[list[tuple[int, int, float]], list[int]]:
    """Merges that join two trees, lowest first, as (node, node, height), where node m + k is the
    k-th one; and the roots.
    """
    root = list(range(heights.size))
    nodes: list[tuple[int, int, float]] = []
    group = {leaf: [leaf] for leaf in root}
    for i, j, height in sorted(merges, key=lambda merge: merge[2]):
        a, b = root[i], root[j]
        if a != b:
            new = heights.size + len(nodes)
            group[new] = group[a] + group[b]
            first, second = sorted(
                (a, b), key=lambda node: heights[group.pop(node)].min()
            )  # the deeper one on the left
            nodes.append((first, second, height))
            for leaf in group[new]:
                root[leaf] = new
    return nodes, sorted(group, key=lambda node: heights[group[node]].min())


def _leaves(nodes: Sequence[tuple[int, int, float]], roots: Sequence[int], count: int) -> list[int]:
    """Minima in an order in which no branches cross."""

    def under(node: int) -> list[int]:
        return (
            [node]
            if node < count
            else [leaf for child in nodes[node - count][:2] for leaf in under(child)]
        )

    return [leaf for root in roots for leaf in under(root)]


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
    with drawn_on(ax, 2.3 + 0.1 * len(sets)) as axes:
        handles = []
        for i, (name, drawn) in enumerate(sets.items()):
            values = np.asarray(drawn, dtype=float)
            values = values[np.isfinite(values)]
            if not values.size:
                raise ValueError(
                    f"expected finite standard deviations{f' of {name}' * bool(name)}, got none; "
                    f"draw others"
                )
            last = int(np.clip(math.ceil((min(values.max(), 2.0) + 0.025) / 0.05), 21, 41))
            bins = 0.05 * np.arange(last + 1) - 0.025
            count = np.histogram(np.minimum(values, 2.0), bins)[0]
            share = count if log else 100 * count / values.size
            off = 100 * count[20] / values.size
            color = PALETTE[i % len(PALETTE)]
            foot = 0.7 if log else 0.0
            look: Any = {"baseline": foot, "color": color, "zorder": 3}
            axes.stairs(np.maximum(share, foot), bins, fill=True, alpha=0.25, linewidth=0, **look)
            axes.stairs(np.maximum(share, foot), bins, linewidth=1.0, **look)
            said = f"{name}, " * bool(name) + f"{off:.3g} % within 0.025 of 1"
            handles.append(Line2D([], [], color=color, label=said))
        if log:
            axes.set_yscale("log")
            axes.set_ylim(bottom=0.7)
        axes.set_xlim(left=-0.03)
        axes.set(
            xlabel="posterior standard deviation σ",
            ylabel="number of latents × data" if log else "share (%)",
        )
        legend(axes, handles, title)
    return axes
