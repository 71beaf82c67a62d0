"""What do the numbers of `nonlinearities` say? A table, and sentences that follow from it.

>>> row = Row(
...     name="abs",
...     cuts=[(1.0, 1.0), (1.1, 6.0)],
...     down=[Down(4, 0), Down(2, 2)],
...     gone=float("nan"),
...     right=[""],
...     radius=[float("nan")],
... )
>>> print(table([0.9], [1.0], 0, [row]).splitlines()[2])
| abs | 4 | 2 to 4 | never |  |  |  |
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

__all__ = ["Down", "Row", "interval", "sentences", "table"]


class Down(NamedTuple):
    """Directions that lead down from collapse.

    known: how many do. open: of how many others that is not known.
    """

    known: int
    open: int

    def __str__(self) -> str:
        """As a number, or both ends of a range."""
        return f"{self.known} to {self.known + self.open}" if self.open else f"{self.known}"


class Row(NamedTuple):
    """Of one activation; alphas are the limit 0 and, from it on, the m of the plan.

    name: of it.
    cuts: (1 + m, 2), eigenvalue of D^(-1/2) S D^(-1/2) up to which no latent pays, and above which
        one does.
    down: (1 + m,), directions that lead down from collapse.
    gone: the least alpha from which on none is known; 0: at every alpha > 0; NaN: some are up to 1.
    right: (m,), by what collapse is known as a strict local minimum; empty where it is not.
    radius: (m,), certified, over alpha; NaN where nothing is.
    collapsed: (m, scales), how many starts ended in collapse.
    lost: (m, scales), how many at no stationary point that is not lower than collapse.
    lower: (m,), whether some start ended lower than collapse.
    barrier: (m,), height of the way out over alpha^2, NaN where none was looked for or found.
    home: (m,), whether that pass has collapse on one side.
    agree: of how many ends in collapse the counted index is the exact one, and of how many.
    """

    name: str
    cuts: Sequence[Sequence[float]]
    down: Sequence[Down]
    gone: float
    right: Sequence[str]
    radius: Sequence[float]
    collapsed: Any = None
    lost: Any = None
    lower: Any = None
    barrier: Sequence[float] = ()
    home: Sequence[bool] = ()
    agree: tuple[int, int] = (0, 0)


def interval(count: int, total: int) -> tuple[float, float, float]:
    """A share with its exact 95 % interval (Clopper & Pearson)."""
    exact = binomtest(int(count), total).proportion_ci(method="exact")
    return count / total, float(exact.low), float(exact.high)


def table(
    alphas: Sequence[float], scales: Sequence[float], starts: int, rows: Sequence[Row]
) -> str:
    """Markdown: a row for each activation, then shares of starts for each activation and alpha;
    only the first without starts.
    """
    head = ["activation", "directions down, alpha → 0", *(f"at {a:g}" for a in alphas)]
    head += ["none known from alpha", "a minimum by", "radius / alpha", "barrier / alpha²"]
    lines = _table(head, [_theory(row) for row in rows])
    if starts:
        head = ["activation", "alpha", *(f"scale {s:g}" for s in scales), "at no stationary point"]
        cells = [_shares(row, i, a, starts) for row in rows for i, a in enumerate(alphas)]
        lines += ["", f"Of {starts} starts collapse (95 % interval, in percent):", ""]
        lines += _table(head, cells)
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    rows = [head, ["---"] * len(head), *cells]
    return [f"| {' | '.join(row)} |" for row in rows]


def _theory(row: Row) -> list[str]:
    """Of the first table."""
    gone = "never" if np.isnan(row.gone) else "any > 0" if row.gone == 0 else f"{row.gone:.4g}"
    right = ", ".join(dict.fromkeys(filter(None, row.right)))
    indices = [str(i) for i in row.down]
    return [row.name, *indices, gone, right, _listed(row.radius), _listed(row.barrier)]


def _listed(values: Sequence[float]) -> str:
    """Those that there are, each once."""
    shown = [f"{v:.3g}" for v in values if np.isfinite(v)]
    return ", ".join(dict.fromkeys(shown))


def _shares(row: Row, i: int, alpha: float, starts: int) -> list[str]:
    """Of the second table."""
    parts = []
    for count in row.collapsed[i]:
        _, low, high = interval(count, starts)
        parts.append(f"{count} ({100 * low:.0f} to {100 * high:.0f})")
    return [row.name, f"{alpha:g}", *parts, str(int(row.lost[i].sum()))]


def sentences(
    about: str,
    latent: int,
    alphas: Sequence[float],
    starts: int,
    beta: float,
    ratios: np.ndarray,
    rows: Sequence[Row],
    left_out: Mapping[str, str],
) -> list[str]:
    """What they show, the conclusion first; about: data and likelihood; starts: per activation,
    alpha and scale.
    """
    paying = int(np.sum(ratios > beta))
    said = [
        f"{about}: the eigenvalues of D^(-1/2) S D^(-1/2) are "
        f"{', '.join(f'{r:.4g}' for r in ratios[:6])}{', ...' * (len(ratios) > 6)}; {paying} of "
        f"them {'is' if paying == 1 else 'are'} above beta = {beta:g}, so from collapse of an "
        f"affine decoder {latent * paying} directions lead down."
    ]
    said += [_of(group, alphas, starts) for group in _alike(rows)]
    said += [f"No problem with {name}: {why}." for name, why in left_out.items()]
    said += _of_starts(rows, starts)
    return [_verdict(rows, paying), *said]


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows of which the same is known, and nothing was measured that tells them apart."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        same = (tuple(row.down), str(row.gone)) if _unmoved(row) else row.name
        groups.setdefault(same, []).append(row)
    return list(groups.values())


def _of(group: Sequence[Row], alphas: Sequence[float], starts: int) -> str:
    """Activations that are alike."""
    row, count = group[0], len(group)
    course = ", ".join(f"{i} at {a:g}" for a, i in zip(alphas, row.down[1:], strict=True))
    names = ", ".join(one.name for one in group)
    parts = [f"{names}: {row.down[0]} directions down as alpha goes to 0, {course}"]
    if _unmoved(row):
        parts.append(
            "smooth at 0: to first order an affine decoder whose weight is scaled, and nothing else"
        )
        if row.gone > 0:
            parts.append(f"until at alpha = {row.gone:.6g} its slope is zero")
    elif row.gone == 0:
        parts.append("none at any alpha > 0")
    elif not np.isnan(row.gone):
        parts.append(f"none known from alpha = {row.gone:.6g} on")
    else:
        parts.append("some at every alpha up to 1")
    if not _unmoved(row) and np.isfinite(row.cuts[-1][0]):
        least, certain = row.cuts[-1]
        parts.append(
            f"at alpha = {alphas[-1]:g} no latent pays up to an eigenvalue of {least:.4g} and one "
            f"does above {certain:.4g}, in between by the signs of the data's directions"
        )
    for name in dict.fromkeys(filter(None, row.right)):
        parts.append(_as_minimum(row, alphas, name))
    collapsed = sum(one.collapsed[-1].sum() for one in group)
    total = count * starts * row.collapsed.shape[1]
    parts.append(f"{collapsed} of {total} starts collapse at alpha = {alphas[-1]:g}")
    return "; ".join(parts) + "."


def _unmoved(row: Row) -> bool:
    """Whether the threshold is that of an affine decoder at all alphas."""
    cuts = np.asarray(row.cuts, dtype=float)
    return bool(np.isfinite(cuts).all() and np.allclose(cuts, cuts[0, 0], rtol=1e-12))


def _as_minimum(row: Row, alphas: Sequence[float], right: str) -> str:
    """Where, how far around and how high, as a clause."""
    at = [i for i, each in enumerate(row.right) if each == right]
    where = ", ".join(f"{alphas[i]:g}" for i in at)
    how = {
        "dead zone": "proved, for it is flat to all orders and an inequality decides",
        "leading form": "by the leading form, of degree two, at its corner",
        "Hessian": "by its Hessian",
    }[right]
    clause = f"there, at alpha = {where}, collapse is a strict local minimum ({how})"
    if radius := _listed([row.radius[i] for i in at]):
        clause += f", nothing lower while rows are shorter than {radius} alpha"
    heights = [row.barrier[i] for i in at]
    if np.isfinite(heights).any():
        clause += f", the way out {_listed(heights)} alpha^2 high"
        away = [f"{alphas[i]:g}" for i in at if np.isfinite(row.barrier[i]) and not row.home[i]]
        clause += f" (at {', '.join(away)} over a pass between two other points)" * bool(away)
    elif any(row.lower[i] for i in at):
        clause += ", something lower known but no pass to it found"
    else:
        clause += ", and no start found anything lower"
    return clause


def _of_starts(rows: Sequence[Row], starts: int) -> list[str]:
    """How many collapse where that is a minimum, and where directions lead down."""
    said = []
    for trapped, where in ((True, "is a strict local minimum"), (False, "has directions down")):
        counts = [
            row.collapsed[i].sum()
            for row in rows
            for i, right in enumerate(row.right)
            if bool(right) == trapped and (trapped or row.down[1 + i].known)
        ]
        if counts:
            total = len(counts) * starts * rows[0].collapsed.shape[1]
            share, low, high = interval(sum(counts), total)
            said.append(
                f"Where collapse {where}, {sum(counts)} of {total} starts end in it "
                f"({100 * share:.3g} %; {100 * low:.2g} to {100 * high:.2g} %)."
            )
    agree, ends = (sum(row.agree[i] for row in rows) for i in (0, 1))
    if ends:
        said.append(
            f"At {agree} of {ends} ends in collapse the index that was counted is the exact one."
        )
    return said


def _verdict(rows: Sequence[Row], paying: int) -> str:
    """Of which activations Proposition 4.1 holds."""
    if not paying:
        return (
            "No latent of an affine decoder pays here: collapse is no trap that a perturbation "
            "makes."
        )
    groups = {
        "at every alpha > 0": [row.name for row in rows if row.gone == 0],
        "from some alpha on": [row.name for row in rows if 0 < row.gone and not _unmoved(row)],
        "never": [row.name for row in rows if np.isnan(row.gone) or _unmoved(row)],
    }
    parts = [
        f"{', '.join(names)} {'do' if len(names) > 1 else 'does'} so {when}"
        for when, names in groups.items()
        if names
    ]
    return f"Which perturbations make collapse a trap here? {'; '.join(parts)}."
