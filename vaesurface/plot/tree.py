"""Which minima join at which energy, and how high are the barriers between them?

>>> ax = disconnectivity([0.0, 1.0], [(0, 1, 3.0)], labels=["best", "collapsed"])
>>> [text.get_text() for text in ax.texts]
['best', 'collapsed']
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.ticker import NullLocator

from vaesurface.plot.canvas import (
    HALO,
    colorbar,
    counted,
    drawing,
    drawn_on,
    heights,
    legend,
    require_scale,
)

__all__ = ["disconnectivity"]

CROWD = 12  # leaves, up to which there is room for a label below each
INK = "0.3"
LEAF: Any = {"linestyle": "", "marker": "o", "markersize": 4, "markeredgewidth": 0.4, "mec": "0.2"}
OFFSET: Any = {"textcoords": "offset points", "size": "small", "path_effects": HALO}


class Tree(NamedTuple):
    """A laid out graph: nodes are m minima and then the joins, from the lowest on.

    minima: m.
    joins: two children of every join.
    x: place of every node, leaves at whole numbers.
    y: energy of every node, above the best.
    top: how high the branch of every node goes: to where it joins others; infinite where it does
        not.
    """

    minima: int
    joins: list[tuple[int, int]]
    x: np.ndarray
    y: np.ndarray
    top: np.ndarray


@drawing
def disconnectivity(
    minima: npt.ArrayLike,
    edges: Sequence[tuple[int, int, float]],
    ax: Axes | None = None,
    *,
    active: npt.ArrayLike | None = None,
    labels: Sequence[str] = (),
    scale: str = "linear",
    unit: str = "",
    title: str = "",
) -> Axes:
    """Which minima join at which energy: a leaf for every minimum, branches that meet at the lowest
    saddle between them.

    (Becker & Karplus, J. Chem. Phys. 106, 1997.) minima (m,): energies; edges: (i, j, energy of a
    saddle that joins minima i and j); active (m,) colors the leaves. Barriers too low to be seen
    are written below their leaf, or counted where leaves are many. What no edge joins stays apart,
    open at the top. scale: "linear", or "symlog" where energies above the lowest differ by orders
    of magnitude. unit: of the energy, `marks.UNIT` of a VAE's; without one the axis says loss.
    Raises ValueError for another scale, for minima that are not finite, and for a saddle below a
    minimum that it joins.
    """
    require_scale(scale, "linear", "symlog")
    tree = _laid_out(*_above_best(minima, edges))
    tip = (1.06 if scale == "linear" else 3.0) * tree.y.max() or 1.0
    tree = tree._replace(top=np.minimum(tree.top, tip))
    colors, norm, ticks = counted([0.0] if active is None else active)
    leaf_colors = [INK] * tree.minima
    if active is not None:
        leaf_colors = [colors(norm(number)) for number in np.asarray(active)]

    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        _draw_branches(axes, tree, leaf_colors)
        linear = 0.0  # height up to which the axis is linear, and has no tick but zero
        if scale == "symlog":
            linear = min(tree.y[tree.y > 0], default=1.0)
            axes.set_yscale("symlog", linthresh=linear, linscale=0.5)
            axes.yaxis.set_minor_locator(NullLocator())
        axes.set(xlim=(-0.6, tree.minima - 0.4), xticks=[], xlabel="minima")
        axes.set_ylabel(heights(unit, "above the best", upright=True))
        axes.set_ylim(top=tip)
        if active is not None:
            mappable = ScalarMappable(norm, colors)
            colorbar(axes, mappable, "active latents of the minimum", ticks, "%d")
        legend(axes, [], title)
        _make_room(axes, _label(axes, tree, labels))
        axes.set_yticks([tick for tick in axes.get_yticks() if tick == 0 or linear <= tick <= tip])
    return axes


def _above_best(
    minima: npt.ArrayLike, edges: Sequence[tuple[int, int, float]]
) -> tuple[np.ndarray, list[tuple[int, int, float]]]:
    """Minima and edges with energies above the lowest minimum, where they make sense."""
    energy = np.ravel(np.asarray(minima, dtype=float))
    if not (energy.size and np.isfinite(energy).all()):
        raise ValueError(
            f"expected finite energies of minima, got {energy}; leave out what has none"
        )
    for i, j, e in edges:
        if not e >= max(energy[i], energy[j]):
            raise ValueError(
                f"expected a saddle above the minima {i} and {j}, got energy {e:g}; check the edge"
            )
    best = energy.min()
    return energy - best, [(i, j, e - best) for i, j, e in edges]


def _laid_out(heights: np.ndarray, edges: Sequence[tuple[int, int, float]]) -> Tree:
    """The tree of minima at heights (m,): a join lies in the middle above its two children."""
    joins, roots = _joined(heights, edges)
    children = [(i, j) for i, j, _ in joins]
    nodes = heights.size + len(joins)
    x, top = np.zeros(nodes), np.full(nodes, np.inf)
    y = np.array([*heights, *(height for *_, height in joins)])
    leaves = [leaf for root in roots for leaf in _leaves(root, children, heights.size)]
    x[leaves] = np.arange(heights.size)
    for node, pair in enumerate(children, heights.size):
        x[node] = sum(x[list(pair)]) / 2
        top[list(pair)] = y[node]
    return Tree(minima=heights.size, joins=children, x=x, y=y, top=top)


def _joined(
    heights: np.ndarray, edges: Sequence[tuple[int, int, float]]
) -> tuple[list[tuple[int, int, float]], list[int]]:
    """Edges that join two trees, lowest first, as (node, node, height), where node m + k is the
    k-th one; and the roots. The deeper of two trees comes first.
    """
    root = list(range(heights.size))
    joins: list[tuple[int, int, float]] = []
    depth = dict(enumerate(heights))  # of every tree's lowest minimum, by root
    for i, j, height in sorted(edges, key=lambda edge: edge[2]):
        first, second = sorted((root[i], root[j]), key=depth.__getitem__)
        if first != second:
            new = heights.size + len(joins)
            joins.append((first, second, height))
            depth[new] = min(depth.pop(first), depth.pop(second))
            root = [new if node in (first, second) else node for node in root]
    return joins, sorted(depth, key=depth.__getitem__)


def _leaves(node: int, joins: Sequence[tuple[int, int]], minima: int) -> list[int]:
    """Minima below a node, in an order in which no branches cross."""
    if node < minima:
        return [node]
    return [leaf for child in joins[node - minima] for leaf in _leaves(child, joins, minima)]


def _draw_branches(axes: Axes, tree: Tree, leaf_colors: Sequence[Any]) -> None:
    """A horizontal line for every join, a vertical one for every node, a dot for every minimum."""
    level: Any = {"color": INK, "solid_capstyle": "projecting", "zorder": 2}
    stem: Any = {"linewidth": 1.2, "solid_capstyle": "butt", "zorder": 3}
    for node, pair in enumerate(tree.joins, tree.minima):
        axes.plot(tree.x[list(pair)], [tree.y[node]] * 2, **level)
    colors = [*leaf_colors, *[INK] * len(tree.joins)]
    for x, foot, top, color in zip(tree.x, tree.y, tree.top, colors, strict=True):
        axes.plot([x, x], [foot, top], color=color, **stem)
    for x, foot, color in zip(tree.x, tree.y, leaf_colors, strict=False):
        axes.plot(x, foot, mfc=color, zorder=4, **LEAF)


def _label(axes: Axes, tree: Tree, labels: Sequence[str]) -> list[Any]:
    """Labels below the leaves, with barriers that dots hide; of many just how many those are."""
    leaves = slice(tree.minima)
    x, feet, tops = tree.x[leaves], tree.y[leaves], tree.top[leaves]
    low, high = (axes.transData.transform(np.stack([x, y], axis=1))[:, 1] for y in (feet, tops))
    hidden = high - low < 2 * axes.figure.dpi / 72
    crowded = tree.minima > CROWD
    if crowded and hidden.any():
        count = f"{hidden.sum()} barriers too low to be seen"
        axes.annotate(count, (0.95, 0), (0, 4), xycoords="axes fraction", ha="right", **OFFSET)
    texts = []
    below: Any = {"rotation": 90, "ha": "center", "va": "top", "zorder": 5}
    for leaf in range(tree.minima):
        parts = [labels[leaf]] if labels and labels[leaf] else []
        if hidden[leaf] and not crowded:
            parts.append(f"barrier {tops[leaf] - feet[leaf]:.1g}")
        text = ", ".join(parts)
        texts.append(axes.annotate(text, (x[leaf], feet[leaf]), (0, -5), **below, **OFFSET))
    return texts


def _make_room(axes: Axes, texts: Sequence[Any]) -> None:
    """Lowers the foot of the axes so far that it holds the texts."""
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()
    bottom, height = axes.bbox.y0, axes.bbox.height
    ends = [text.get_window_extent().y0 for text in texts if text.get_text()]
    share = (bottom - min(ends, default=bottom)) / height
    if share > 0:
        # The rest shrinks by 1 - share to make room; on the screen, so that any scale will do.
        foot = bottom - 1.05 * height * share / (1 - share)
        axes.set_ylim(bottom=axes.transData.inverted().transform((0, foot))[1])
