"""Where do branches of stationary points go as a hyper-parameter moves, and what do they meet?

>>> from types import SimpleNamespace
>>> point = SimpleNamespace(loss=[0.0, 1.0, 2.0], kind=[1, 1, 2])
>>> ax = bifurcation([SimpleNamespace(value=[0.1, 0.2, 0.3], point=point, events=[])], labels=["a"])
>>> [text.get_text() for text in ax.get_legend().get_texts()]
['a', 'minimum', 'not a minimum, one point']
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vaesurface.marks import MINIMUM
from vaesurface.plot.canvas import (
    ALPHA,
    DOTTED,
    HALO,
    drawing,
    drawn_on,
    legend,
    nested,
    palette,
    stretches,
)
from vaesurface.plot.scales import finite, unflattened

__all__ = ["bifurcation"]

EVENT = 5.0  # size of a mark, points
MARKED: Any = {"mec": "0.2", "mfc": "w", "linestyle": "", "markersize": EVENT}
POINT: Any = {"linestyle": "", "markersize": 8.0}  # around an event at its place
# What a legend of branches may hold, in its order. Events are of `paths.events.EventKind`s.
LOOKS: dict[str, dict[str, Any]] = {
    "minimum": {"color": "0.2", "linestyle": "-"},
    "not a minimum": {"color": "0.2", "linestyle": (0, (3, 1.5))},
    "minimum, one point": POINT | {"mec": "0.2", "mfc": "0.2", "marker": "o"},
    "not a minimum, one point": POINT | {"mec": "0.2", "mfc": "w", "marker": "s"},
    "fold": MARKED | {"marker": ">"},
    "branch point": MARKED | {"marker": "o"},
    "jump": MARKED | {"marker": "v"},
}


@drawing
def bifurcation(
    branches: Sequence[Any],
    ax: Axes | None = None,
    *,
    labels: Sequence[str] = (),
    quantity: Callable[[Any], npt.ArrayLike] | None = None,
    xlabel: str = ALPHA,
    ylabel: str = "loss",
    theory: Mapping[str, float] | None = None,
    over: npt.ArrayLike = (),
    title: str = "",
) -> Axes:
    """Branches of stationary points over a hyper-parameter: minima solid, all else dashed, events
    marked; a branch of one point is a dot.

    branches: `paths.branch.Branch`es (value (m,), point with loss and kind (m,), events with kind,
    value and loss); quantity: the scalar (m,) of such a point to draw, by default its energy, which
    ylabel names. theory: dotted vertical lines by name. over: values that were asked for, which the
    axis holds even where no branch gets. Raises ValueError for no branch.
    """
    if not branches:
        raise ValueError("expected at least one branch, got none; follow a stationary point first")
    with drawn_on(ax, 2.6 + 0.2 * bool(title)) as axes:
        names: set[str] = set()  # of all that is drawn
        handles: list[Any] = []
        sizes = _sizes(branches)
        for i, (branch, color) in enumerate(zip(branches, palette(len(branches)), strict=True)):
            width = float(mpl.rcParams["lines.linewidth"]) * nested(i, len(branches))
            shown = _draw_branch(axes, branch, quantity, color, width, sizes)
            names |= shown
            if shown and i < len(labels):
                handles.append(_branch_handle(shown, labels[i], color, width))
        for name, look in LOOKS.items():
            if name in names:
                handles.append(Line2D([], [], label=name, **look))
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.update_datalim([(value, 0.0) for value in finite(over)], updatey=False)
        axes.autoscale_view()
        unflattened(axes.yaxis, *(line.get_ydata() for line in axes.lines))
        legend(axes, handles, title)
        _draw_verticals(axes, theory or {})
    return axes


def _branch_handle(shown: set[str], label: str, color: Any, width: float) -> Line2D:
    """For a legend: a line, or a dot where that is all there is of a branch."""
    if shown & {"minimum", "not a minimum"}:
        return Line2D([], [], color=color, linewidth=width, label=label)
    return Line2D([], [], color=color, label=label, **POINT | {"marker": "o"})


def _draw_branch(
    axes: Axes,
    branch: Any,
    quantity: Callable[[Any], npt.ArrayLike] | None,
    color: Any,
    width: float,
    sizes: Mapping[tuple[float, float, str], float],
) -> set[str]:
    """Draws a branch with its events; returns the names of what it shows."""
    x = np.asarray(branch.value, dtype=float)
    drawn = branch.point.loss if quantity is None else quantity(branch.point)
    y = np.asarray(drawn, dtype=float)
    names = set()
    for part, is_minimum in stretches(np.asarray(branch.point.kind) == MINIMUM):
        name = "minimum" if is_minimum else "not a minimum"
        number = np.isfinite(y[part]).sum()
        if number > 1:
            line = LOOKS[name]["linestyle"]
            axes.plot(x[part], y[part], color=color, linestyle=line, linewidth=width, zorder=3)
            names.add(name)
        elif number == 1:
            look = LOOKS[alone := f"{name}, one point"] | {"mec": color}
            look |= {"mfc": color} if is_minimum else {}
            axes.plot(x[part], y[part], zorder=2.9, **look)
            names.add(alone)
    for event in branch.events:
        nearest = np.abs(x - event.value).argmin()
        height = event.loss if quantity is None else y[nearest]
        key = event.value, event.loss, str(event.kind)
        own = {"markersize": sizes[key], "zorder": 4 - 0.01 * sizes[key]}  # the smaller on top
        axes.plot(event.value, height, **LOOKS[key[2]] | {"mec": color} | own)
        names.add(key[2])
    return names


def _sizes(branches: Sequence[Any]) -> dict[tuple[float, float, str], float]:
    """Of the marks of events (value, loss, kind): those in one place are inside each other."""
    events = {(e.value, e.loss, str(e.kind)) for branch in branches for e in branch.events}
    places: dict[tuple[float, float], list[str]] = {}
    for value, loss, kind in sorted(events):
        places.setdefault((value, loss), []).append(kind)
    return {
        (*place, kind): EVENT * nested(i, len(kinds))
        for place, kinds in places.items()
        for i, kind in enumerate(kinds)
    }


def _draw_verticals(axes: Axes, lines: Mapping[str, float]) -> None:
    """Dotted lines with their names along them, in room made above the curves."""
    if not lines:
        return
    figure: Any = axes.get_figure(root=True)
    figure.draw_without_rendering()
    top = axes.get_xaxis_transform()
    place: Any = {"xycoords": top, "textcoords": "offset points", "rotation": 90}
    look: Any = {"ha": "right", "va": "top", "size": "small", "color": "0.25", "path_effects": HALO}
    for at in lines.values():
        axes.axvline(at, zorder=1, **DOTTED)
    texts = [
        axes.annotate(name, (at, 1), (-1, -3), **place, **look) for name, at in _apart(axes, lines)
    ]
    tallest = max(text.get_window_extent().height for text in texts)
    share = min(0.5, tallest / axes.bbox.height + 0.05)
    # On the screen, so that any scale will do.
    higher = axes.bbox.y0 + axes.bbox.height / (1 - share)
    axes.set_ylim(top=axes.transData.inverted().transform((0, higher))[1])


def _apart(axes: Axes, lines: Mapping[str, float]) -> list[tuple[str, float]]:
    """Names and places of lines, from the left, joined where there is no room for both."""
    joined: list[tuple[str, float]] = []
    beyond = -np.inf  # where there is room for the next
    size = 1.2 * float(mpl.rcParams["font.size"]) * axes.figure.dpi / 72
    for name, at in sorted(lines.items(), key=lambda line: line[1]):
        place = axes.transData.transform((at, 0.0))[0]
        if place < beyond:
            joined[-1] = f"{joined[-1][0]}, {name}", joined[-1][1]
        else:
            joined.append((name, at))
            beyond = place + size
    return joined
