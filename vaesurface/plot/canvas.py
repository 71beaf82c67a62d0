"""What do all figures share: their look, their colors, their color bars and legends?

>>> with style():
...     plt.rcParams["font.size"]
8.0
>>> readable((1.0, 1.0, 0.0))
'black'
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

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
    "decimals",
    "drawing",
    "drawn_on",
    "legend",
    "lowest",
    "readable",
    "require_scale",
    "side_by_side",
    "stretches",
    "style",
]

P = ParamSpec("P")
R = TypeVar("R")

COLUMN = 3.4  # inches
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


def style() -> AbstractContextManager[None]:
    """The look of a paper's column, as a context: for figures of your own, and around `savefig`."""
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
        yield plt.figure(figsize=(COLUMN, height)).add_subplot()


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
    look: Any = {"location": "bottom", "aspect": 35, "format": form}
    bar = axes.figure.colorbar(mappable, ax=axes, label=label, ticks=ticks, **look)
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
    """A legend above the axes, where it hides nothing, under the title.

    It has as many columns as a column of text is wide; without handles there is the title alone.
    """
    if not handles:
        axes.set_title(title)
        return
    # Six characters stand for a handle and the space around it.
    lengths = [len(str(handle.get_label())) + 6 for handle in handles]
    fitting = [
        columns
        for columns in range(1, len(handles) + 1)
        if sum(max(part) for part in np.array_split(lengths, columns)) <= LEGEND_WIDTH
    ]
    axes.legend(
        handles=handles,
        ncols=max(fitting, default=1),
        loc="lower center",
        bbox_to_anchor=(0.5, 1.01),
        frameon=False,
        title=title or None,
        handletextpad=0.4,
        columnspacing=1.0,
        borderaxespad=0.2,
    )


def decimals(axis: Any, subs: Sequence[float], numticks: int | None = None) -> None:
    """Plain numbers on a logarithmic axis that spans few decades, at subs times powers of ten."""
    axis.set_major_locator(LogLocator(subs=subs, numticks=numticks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
