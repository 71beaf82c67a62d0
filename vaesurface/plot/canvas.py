"""What do all figures share: their look, their colors, their color bars and legends?

>>> with style():
...     plt.rcParams["font.size"]
8.0
>>> readable((1.0, 1.0, 0.0))
'black'
"""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import (
    AutoLocator,
    ScalarFormatter,
)
from matplotlib.transforms import IdentityTransform, blended_transform_factory

from vaesurface.plot.scales import finite
from vaesurface.refusal import refusing, shown

__all__ = [
    "ALPHA",
    "COLORS",
    "COLUMN",
    "DASHED",
    "DOTTED",
    "EMPTY",
    "GAMMA",
    "HALO",
    "MARKERS",
    "PALETTE",
    "colorbar",
    "counted",
    "draw_eigenvalues",
    "drawing",
    "drawn_on",
    "edges",
    "heights",
    "legend",
    "lowest",
    "nested",
    "palette",
    "readable",
    "require_scale",
    "side_by_side",
    "stretches",
    "style",
]

P = ParamSpec("P")
R = TypeVar("R")

COLUMN = 3.3  # inches
COLORS = "viridis"  # perceptually uniform, safe for the color-blind
# Okabe & Ito's palette, for curves.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "0.35")
MARKERS = "osD^v"  # for points of curves
EMPTY = {"facecolor": "0.95", "edgecolor": "0.6", "hatch": "/////"}  # where nothing was computed
HALO = [withStroke(linewidth=2.2, foreground="w")]
DASHED: Any = {"color": "k", "linestyle": (0, (4, 2))}  # theory
DOTTED: Any = {"color": "0.35", "linestyle": ":", "linewidth": 0.8}  # eigenvalues, limits
ALPHA = "decoder perturbation strength α (data units)"
GAMMA = "decoder variance γ (data units²)"
LEGEND_WIDTH = 60  # characters of its font that a column of text holds
LONG = 40  # characters of a label that is nearly as long as its axes
TITLE_WIDTH = 58  # and of a title's
GAP = 0.1  # inches between axes and their color bar
PAD = 0.04  # inches around all that is in a figure
ROOM = 0.3  # inches above axes that the heights of figures count with
LARGEST = 1.1  # growth of markers and lines that others cover
# Figures that a function made for itself, and may make higher.
OWN: WeakSet[Any] = WeakSet()


def style() -> AbstractContextManager[None]:
    """The look of a paper's column, as a context: for figures of your own, and around `savefig`."""
    # Loads the backend, of which a notebook's switches interaction on. Loaded in the context, that
    # would be undone at its end, and only the first figure be shown.
    plt.draw_if_interactive()
    look: Any = {
        "figure.figsize": (COLUMN, 2.4),
        "figure.dpi": 150,
        "savefig.dpi": 300,
        "figure.constrained_layout.use": True,
        "font.size": 8,
        "axes.titlesize": 8,
        "xtick.labelsize": 7,
        "ytick.labelsize": 7,
        "legend.fontsize": 7,
        "axes.linewidth": 0.6,
        "lines.linewidth": 1.0,
        "hatch.linewidth": 0.4,
        "pdf.fonttype": 42,  # text stays text, as journals ask
    }
    return mpl.rc_context(look)


def drawing(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a function that draws: what it cannot draw is a ValueError of one line, and a
    figure that it began is closed.
    """

    @wraps(function)
    def drawn(*args: P.args, **options: P.kwargs) -> R:
        before = set(plt.get_fignums())
        form, remedy = f"what plot.{function.__name__} draws", "its help says the shapes"
        try:
            with refusing(form, remedy):
                return function(*args, **options)
        except Exception:
            for number in set(plt.get_fignums()) - before:
                plt.close(number)
            raise

    return drawn


@contextmanager
def drawn_on(ax: Axes | None, height: float) -> Iterator[Axes]:
    """The axes given, or new ones in the look of `style`, height inches high."""
    if ax is not None:
        yield ax
        return
    with style():
        figure = plt.figure(figsize=(COLUMN, height))
        OWN.add(figure)
        yield figure.add_subplot()


def require_scale(scale: str, *choices: str) -> None:
    """Raise ValueError for a scale that is none of the choices."""
    if not isinstance(scale, str) or scale not in choices:
        *others, last = map(repr, choices)
        raise ValueError(
            f"expected scale {', '.join(others)} or {last}, got {shown(repr(scale))}; choose one "
            f"of them"
        )


def lowest(energies: npt.ArrayLike) -> float:
    """The lowest finite energy. Raises ValueError where there is none."""
    finite = np.ma.masked_invalid(energies).compressed()
    if not finite.size:
        raise ValueError("expected finite energies, got none; draw other points")
    return float(finite.min())


def side_by_side(number: int) -> np.ndarray:
    """Places (number,) of as many marks or bars beside the middle of a group that is one wide."""
    return 0.6 * ((np.arange(number) + 0.5) / number - 0.5)


def stretches(flags: np.ndarray) -> list[tuple[slice, bool]]:
    """Stretches of equal flags, each with the first point of the next, so that the curve has no
    gap.
    """
    starts = np.flatnonzero(np.diff(flags, prepend=~flags[:1]))
    ends = [*starts[1:], len(flags)]
    return [(slice(a, b + 1), bool(flags[a])) for a, b in zip(starts, ends, strict=True)]


def colorbar(
    axes: Axes, mappable: Any, label: str, ticks: npt.ArrayLike | None = None, form: str = "%.3g"
) -> Any:
    """A color bar below the axes: a column has no width to spare."""
    figure: Any = axes.figure
    pad = GAP / figure.get_figheight()
    look: Any = {"location": "bottom", "aspect": 35, "format": form, "pad": pad}
    bar = figure.colorbar(mappable, ax=axes, label=label, ticks=ticks, **look)
    bar.ax.minorticks_off()
    return bar


def counted(numbers: npt.ArrayLike) -> tuple[Any, BoundaryNorm, list[int]]:
    """One color for every whole number from 0 to the largest: a map, its norm, a color bar's ticks.

    Ticks are at most nine.
    """
    most = max(1, int(np.max(numbers, initial=0)))
    colors = mpl.colormaps[COLORS].resampled(most + 1)
    norm = BoundaryNorm(np.arange(most + 2) - 0.5, most + 1)
    step = -(-(most + 1) // 9)
    return colors, norm, list(range(0, most + 1, step))


def readable(color: Any) -> str:
    """Black or white, whichever contrasts more with a color (relative luminance, WCAG 2.1)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
    return "black" if np.dot([0.2126, 0.7152, 0.0722], linear) > 0.179 else "white"


def legend(axes: Axes, handles: Sequence[Any], title: str = "") -> None:
    """A legend above the axes, where it hides nothing, under the title; without handles there is
    the title alone.

    It has as many columns as a column of text is wide. A figure that the function made itself grows
    by what needs more than ROOM inches, so that its axes keep their height.
    """
    wrapped = "\n".join(textwrap.fill(line, TITLE_WIDTH) for line in title.split("\n"))
    alone = _is_as_wide_as_its_figure(axes)
    if handles:
        across = axes.figure.transFigure if alone else axes.transAxes
        above: Any = axes.legend(
            handles=handles,
            ncols=_columns([str(handle.get_label()) for handle in handles]),
            loc="lower center",
            bbox_to_anchor=(0.5, 1.01),
            bbox_transform=blended_transform_factory(across, axes.transAxes),
            frameon=False,
            title=wrapped or None,
            handletextpad=0.4,
            columnspacing=1.0,
            borderaxespad=0.2,
        )
        above.get_title().set_multialignment("center")
    else:
        above = axes.set_title(wrapped)
        if alone:
            own: Any = axes
            higher = axes.transAxes + own.titleOffsetTrans
            above.set_transform(blended_transform_factory(axes.figure.transFigure, higher))
    for axis in (axes.xaxis, axes.yaxis):
        _tidy(axis, alone)
    figure: Any = axes.figure
    if figure in OWN:
        needed = above.get_window_extent().height / figure.dpi
        figure.set_figheight(figure.get_figheight() + max(0.0, needed - ROOM))
        if axes.get_aspect() != "auto":
            _close(axes)


def _tidy(axis: Any, alone: bool) -> None:
    """Ticks that leave room for their labels; a power of ten that all share goes into the label of
    the axis, where it hides nothing; a long label below axes that are alone is in the middle of
    the figure.
    """
    locator, formatter, label = axis.get_major_locator(), axis.get_major_formatter(), axis.label
    horizontal = axis.axis_name == "x"
    if horizontal and isinstance(locator, AutoLocator):
        locator.set_params(nbins=6)
    if isinstance(formatter, ScalarFormatter):
        formatter.set_useOffset(False)
        formatter.format_ticks(axis.get_majorticklocs())
        if power := formatter.get_offset():
            axis.set_label_text(f"{label.get_text()}\n(in {power})")
            axis.offsetText.set_visible(False)
    if horizontal and alone and len(label.get_text()) > LONG:
        across = axis.axes.figure.transFigure
        label.set_transform(blended_transform_factory(across, IdentityTransform()))


def _close(axes: Axes) -> None:
    """Takes from a figure the height that axes of equal scale leave empty above them."""
    figure: Any = axes.figure
    axes.set_anchor("S")
    for _ in range(2):  # what is above the axes moves a little with them
        figure.draw_without_rendering()
        figure.set_figheight(figure.get_tightbbox().height + 2 * PAD)


def _columns(labels: Sequence[str]) -> int:
    """How many columns of a legend fit side by side."""
    lengths = [len(label) + 6 for label in labels]  # six for a handle and the space around it
    fitting = [
        columns
        for columns in range(1, len(labels) + 1)
        if sum(max(part) for part in np.array_split(lengths, columns)) <= LEGEND_WIDTH
    ]
    return max(fitting, default=1)


def _is_as_wide_as_its_figure(axes: Axes) -> bool:
    """Whether nothing stands beside the axes."""
    place = axes.get_subplotspec()
    return place is not None and place.get_gridspec().ncols == 1


def heights(unit: str, above: str = "", upright: bool = False) -> str:
    """What an axis of energies says: "energy above the best (2 × nats / datum)", say; without a
    unit they are those of somebody's own loss. upright: in two lines, as a vertical axis has room.
    """
    words = " ".join(filter(None, ["energy" if unit else "loss", above]))
    return words + ("\n" if upright else " ") * bool(unit) + f"({unit})" * bool(unit)


def nested(place: int, number: int) -> float:
    """How much larger the place-th of a number of markers or lines is drawn than the last, so that
    what it would hide stays seen around it.

    >>> nested(0, 1), nested(0, 2), nested(1, 2)
    (1.0, 1.45, 1.0)
    """
    steps = number - 1
    return 1.0 + min(0.45 * steps, LARGEST) * (steps - place) / max(1, steps)


def palette(number: int) -> list[Any]:
    """As many colors: of PALETTE, or where that is too short of COLORS."""
    if number <= len(PALETTE):
        return list(PALETTE[:number])
    return list(mpl.colormaps[COLORS](np.linspace(0.0, 0.95, number)))


def edges(centers: npt.ArrayLike) -> np.ndarray:
    """Where cells around centers (m,) that ascend or descend begin and end, (m + 1,)."""
    middle = np.asarray(centers, dtype=float)
    if middle.size == 1:
        return middle[0] + np.array([-0.5, 0.5])
    between = (middle[1:] + middle[:-1]) / 2
    first, last = 2 * middle[0] - between[0], 2 * middle[-1] - between[-1]
    return np.array([first, *between, last])


def draw_eigenvalues(axes: Axes, eigenvalues: npt.ArrayLike) -> bool:
    """Dotted vertical lines at those within the limits of the axes; whether there is one."""
    low, high = sorted(axes.get_xlim())
    inside = [at for at in finite(eigenvalues) if low <= at <= high]
    for at in inside:
        axes.axvline(at, zorder=1, **DOTTED)
    return bool(inside)
