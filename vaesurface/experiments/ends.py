"""Which starts collapse, at which decoder perturbation strength, and what is the point they
collapse to?

What a sweep found: the conclusion in a sentence, a table with a row for each alpha, the rest in
sentences; and all distinct points as a longer table.

>>> numbers = 0.1, "collapsed local minimum", 1, 3.0, 0, 2, 0, 1.0, 4
>>> point = End(*numbers, True, 0.07, False, (0.1, 0))
>>> other = point._replace(label="local minimum", energy=2.5, active=1, starts=2, collapsed=False)
>>> print(conclusion([other, point]))
At alpha > 0, 4 of 6 starts collapse, and something lower was found wherever they do.
>>> ray = other._replace(label="global infimum -inf along this ray", kind=0, energy=1.0)
>>> conclusion([point, ray]) == conclusion([point, other])
True
>>> print(by_alpha([other, point]))
alpha  starts  collapse  collapse is a  radius  points  lowest  below it  active  lowest is a
  0.1       6         4  local minimum    0.07       2     2.5       0.5       1  local minimum
>>> print(table([other, point]))
  alpha       energy index flat active     gamma starts  label
    0.1     2.500000     0    2      1         1      2  local minimum
    0.1     3.000000     0    2      0         1      4  collapsed local minimum
>>> telling([other, point])
0.1
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vaesurface.experiments import starts, tables
from vaesurface.stationary import Kind, tally

__all__ = [
    "End",
    "answer",
    "by_alpha",
    "conclusion",
    "distinct",
    "legend",
    "prose",
    "table",
    "telling",
]

HEAD = (  # of the table with a row for each alpha
    "alpha",
    "starts",
    "collapse",
    "collapse is a",
    "radius",
    "points",
    "lowest",
    "below it",
    "active",
    "lowest is a",
)
COLUMNS = (  # of that table, for those to whom it is new
    "In the table: while the weight's rows are shorter than radius, and all other parameters "
    "within about a hundredth of collapse, nothing is lower than collapse; points are the distinct "
    "stationary points found, lowest is the energy of the lowest one, below it how far that lies "
    "below collapse, active how many latents it uses."
)
LOST = "not stationary"  # the beginning of what a run is called that reached no stationary point
RUNAWAY = "gamma runs to zero"  # the end of it where that is what the energy asks for
UNEVEN = 100.0  # ratio of the columns' standard deviations from which training is slow


class End(NamedTuple):
    """One distinct stationary point of one alpha, or all runs there that reached none.

    alpha, label, kind (a code of `stationary.Kind`), energy: of the point.
    negative, flat: numbers of eigenvalues of its Hessian.
    active: number of latents that carry information.
    gamma: decoder variance, the geometric mean where each feature has its own; NaN where the
        likelihood has none.
    starts: how many ended there.
    collapsed: whether it is the collapsed point.
    radius: row norm up to which that is known to be the lowest; 0: nothing known.
    limit: whether that holds as all other parameters come near to its own, as `problem.Theory` has
        it.
    cell: (scale, seed) of one of the starts.
    """

    alpha: float
    label: str
    kind: int
    energy: float
    negative: int
    flat: int
    active: int
    gamma: float
    starts: int
    collapsed: bool
    radius: float
    limit: bool
    cell: tuple[float, int]


def distinct(swept: starts.Sweep) -> list[End]:
    """The distinct stationary points of every alpha, lowest energy first; runs that reached none
    come last.

    Where the parameters were not kept, points are one that have the same energy, up to rounding,
    the same numbers of negative and flat eigenvalues and the same number of active latents.
    """
    ends = []
    for alpha in swept.ds.alpha.values:
        cells = swept.ds.sel(alpha=alpha).stack(run=("scale", "seed")).transpose("run", ...)
        cells = cells.isel(run=cells.computed.values)
        reached = cells.kind.values != Kind.NOT_STATIONARY
        points = cells.isel(run=reached)
        groups = _told_apart(swept, alpha, points)
        runs = [np.flatnonzero(reached)[group] for group in groups]
        if not reached.all():
            runs.append(np.flatnonzero(~reached))
        fixed = swept.settings["gamma"]
        if not swept.member.likelihood.startswith("gaussian"):
            fixed = np.nan
        ends += [_end(cells.isel(run=group[0]), float(alpha), fixed, len(group)) for group in runs]
    return ends


def _told_apart(swept: starts.Sweep, alpha: float, points: Any) -> list[np.ndarray]:
    """Points of one alpha (run) in groups that are one, lowest energy first."""
    problem: Any = swept.problem(alpha)
    if starts.has_params(points):
        return tally.distinct(problem, points.loss.values, starts.params(points))
    energy = points.loss.values
    active = points.active.values.sum(axis=-1)
    counts = np.stack([points.inertia_negative.values, points.inertia_flat.values, active], axis=1)
    rounding = float(problem.rounding(problem.collapsed()))
    groups: list[list[int]] = []
    for i in np.lexsort((energy, *counts.T)):
        last = groups[-1][-1] if groups else None
        same = last is not None and (counts[i] == counts[last]).all()
        if same and energy[i] - energy[last] <= rounding:
            groups[-1].append(int(i))
        else:
            groups.append([int(i)])
    return [np.array(group) for group in sorted(groups, key=lambda group: energy[group[0]])]


def _end(run: Any, alpha: float, gamma: float | None, count: int) -> End:
    """From one of the runs that ended there; gamma: where it is not learned."""
    return End(
        alpha=alpha,
        label=str(run.label.values),
        kind=int(run.kind),
        energy=float(run.loss),
        negative=int(run.inertia_negative),
        flat=int(run.inertia_flat),
        active=int(run.active.sum()),
        gamma=float(np.exp(run.params_log_gamma.mean())) if gamma is None else gamma,
        starts=count,
        collapsed=bool(run.theory_collapsed) and int(run.kind) != Kind.NOT_STATIONARY,
        radius=float(run.theory_radius),
        limit=bool(run.get("theory_limit", False)),  # which stores of earlier versions lack
        cell=(float(run.scale), int(run.seed)),
    )


def table(ends: Sequence[End]) -> str:
    """All distinct points as text, in order of energy at each alpha."""
    head = (
        f"{'alpha':>7} {'energy':>12} {'index':>5} {'flat':>4} {'active':>6} {'gamma':>9} "
        f"{'starts':>6}  label"
    )
    return "\n".join([head, *map(_line, ends)])


def _line(end: End) -> str:
    """Of the table."""
    return (
        f"{end.alpha:7g} {end.energy:12.6f} {end.negative:5d} {end.flat:4d} {end.active:6d} "
        f"{_gamma(end.gamma):>9} {end.starts:6d}  {end.label}"
    )


def _gamma(value: float) -> str:
    """Of the table; empty of a likelihood that has none."""
    return "" if np.isnan(value) else f"{value:.3g}"


def answer(swept: starts.Sweep, ends: Sequence[End]) -> list[str]:
    """The paper's question answered for these data, in plain sentences with counts: the conclusion,
    each alpha, and the rest.
    """
    each = [_at_one_alpha(group) for group in _by_alpha(ends).values()]
    return [conclusion(ends), *each, *prose(swept)]


def conclusion(ends: Sequence[End]) -> str:
    """How many starts collapse, and whether that is the lowest there is, in one sentence."""
    groups = _by_alpha(ends)
    above = [end for end in ends if end.alpha > 0]
    at_zero = [end for end in ends if end.alpha == 0]
    parts = [
        f"at alpha {where}, {_collapsed(some)} of {_starts(some)} starts collapse"
        for where, some in (("> 0", above), ("= 0", at_zero))
        if some
    ]
    trapped = [alpha for alpha, group in groups.items() if alpha > 0 and _collapsed(group)]
    best = [alpha for alpha in trapped if _lowest(groups[alpha]).collapsed]
    if trapped and not best:
        parts[0] += ", and something lower was found wherever they do"
    elif best:
        parts[0] += f", and nothing lower was found at alpha = {', '.join(f'{a:g}' for a in best)}"
    if lost := _starts(_lost(ends)):
        parts.append(
            f"{lost} of {_starts(ends)} end at no stationary point, so whether these would "
            f"collapse is open"
        )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def by_alpha(ends: Sequence[End]) -> str:
    """A row for each alpha, as text: how many starts collapse, what that point is and up to which
    row norm it is known to be the lowest; how many distinct points there are, the lowest one's
    energy, how far below collapse that is, its active latents, and what it is. Of runs that were
    still on their way down, lower than all points, there is only what they are.
    """
    return tables.aligned(HEAD, [_row(a, group) for a, group in _by_alpha(ends).items()])


def legend(ends: Sequence[End]) -> list[str]:
    """What that table's columns are; nothing where no point is in it."""
    return [COLUMNS] if _stationary(ends) else []


def _row(alpha: float, ends: Sequence[End]) -> list[Any]:
    """Of that table."""
    points = _stationary(ends)
    counts = [_starts(ends), _collapsed(ends)]
    best = _lowest(ends)
    collapsed = next((end for end in points if end.collapsed), None)
    below: list[Any] = ["", None, None]
    if collapsed is not None:
        below = [_short(collapsed.label), collapsed.radius or None, collapsed.energy - best.energy]
    kind, radius, gap = below
    lowest: list[Any] = [f"{best.energy:.6g}", gap, best.active]
    if best.kind == Kind.NOT_STATIONARY:  # what a run had come to is no number of the surface
        lowest = ["", None, None]
    return [alpha, *counts, kind, radius, len(points), *lowest, _short(best.label)]


def _short(label: str) -> str:
    """What a point is, in a cell: without what a verdict adds, and that it is collapsed."""
    return label.partition(",")[0].removeprefix("collapsed ")


def _stationary(ends: Sequence[End]) -> list[End]:
    return [end for end in ends if end.kind != Kind.NOT_STATIONARY]


def _lost(ends: Sequence[End]) -> list[End]:
    """Those whose runs should have gone on."""
    return [end for end in ends if _is_lost(end.label)]


def _is_lost(label: str) -> bool:
    """Whether a run reached no stationary point, and may yet."""
    return label.startswith(LOST) and not label.endswith(RUNAWAY)


def _starts(ends: Sequence[End]) -> int:
    return sum(end.starts for end in ends)


def _collapsed(ends: Sequence[End]) -> int:
    return _starts([end for end in ends if end.collapsed])


def prose(swept: starts.Sweep) -> list[str]:
    """What is to be said besides, about all alphas together."""
    ds = swept.ds
    sentences = [
        f"{ds.attrs['data']}; {ds.attrs['optimizer']}; every end refined to a stationary point "
        f"and judged by its Hessian."
    ]
    sentences += _over_scales(ds)
    sentences += _refined(ds)
    sentences += _unsettled(swept)
    if bool((ds.computed & (ds.theory_falling > 0)).any()):
        drop = float(ds.theory_drop.where(ds.theory_falling > 0).median())
        sentences.append(
            f"Some ends have rows of the weight at exactly zero, where the energy is flat to all "
            f"orders, and are no minima: no eigenvalue shows it and gradient descent stays there, "
            f"but a row that leaves zero in the right direction lowers the energy; all of them at "
            f"a point together by {drop:.2g} in the median."
        )
    if bool((ds.theory_minimum == -np.inf).any()):
        sentences.append(
            "Where alpha and the data allow perfect reconstruction, the energy is unbounded "
            "below as gamma goes to zero."
        )
    return sentences


def _over_scales(ds: Any) -> list[str]:
    """How collapse depends on the initialization scale; nothing where there is one scale only, no
    alpha > 0, or no run that reached a point.
    """
    reached = ds.kind != Kind.NOT_STATIONARY
    if not (ds.computed & reached).any():
        return []
    collapsed = ds.theory_collapsed & reached
    collapsed = collapsed.isel(alpha=ds.alpha.values > 0)
    if collapsed.sizes["alpha"] == 0 or collapsed.sizes["scale"] == 1:
        return []
    share = collapsed.mean(("alpha", "seed")).values
    each = ", ".join(
        f"{100 * s:.0f} % at {x:g}" for x, s in zip(ds.scale.values, share, strict=True)
    )
    return [
        f"Over all alpha > 0 the share of starts that collapse is, by initialization scale: {each}."
    ]


def _refined(ds: Any) -> list[str]:
    """What refinement did to the optimizer's ends; nothing where it reached no point."""
    reached = ds.computed & (ds.kind != Kind.NOT_STATIONARY)
    if not reached.any():
        return []
    left = int((ds.computed & (ds.refinement_rise > 0)).sum())
    course = "never left the run's own basin"
    if left:
        course = f"climbed over a rise, out of the run's own basin, {left} times"
    moved = float(ds.refinement_moved.where(reached).median())
    return [
        f"Refinement {course}; it moved the end by a distance of {moved:.2g} between parameters "
        f"in the median."
    ]


def _unsettled(swept: starts.Sweep) -> list[str]:
    """What to do about runs that reached no stationary point, if there are any."""
    ds = swept.ds
    if not any(map(_is_lost, ds.label.values[ds.computed.values].astype(str))):
        return []
    spread = swept.X.std(axis=0)
    spread = spread[spread > 0]
    if not spread.size or spread.max() < UNEVEN * spread.min():
        return ["For runs that reached no stationary point give more --steps."]
    return [
        f"For runs that reached no stationary point, divide each column of the data by its "
        f"standard deviation: these go from {spread.min():.2g} to {spread.max():.2g}, and alpha is "
        f"one number for all columns."
    ]


def _at_one_alpha(ends: Sequence[End]) -> str:
    """How many starts of one alpha collapse, and what is lower."""
    points = _stationary(ends)
    collapsed = [end for end in points if end.collapsed]
    total, count = _starts(ends), _starts(collapsed)
    sentence = f"At alpha = {ends[0].alpha:g}, {count} of {total} starts collapse"
    if collapsed:
        sentence += f" ({_trap(collapsed[0])})"
    if points:
        sentence += _best(points, collapsed)
        if not _lowest(points).label.startswith("global optimum"):
            sentence += _missing(ends)
    if lost := total - _starts(points):
        sentence += f"; {lost} end at no stationary point ({ends[-1].label})"
    return f"{sentence}."


def _trap(end: End) -> str:
    """What the collapsed point is."""
    clause = f"into a {end.label}"
    if end.radius > 0:
        near = "near enough to" if end.limit else "within about a hundredth of"
        clause += (
            f"; nothing is lower while the weight's rows are shorter than {end.radius:.2g} and all "
            f"other parameters {near} its own"
        )
    return clause


def _best(points: Sequence[End], collapsed: Sequence[End]) -> str:
    """What the lowest of the points is, as a clause."""
    best = _lowest(points)
    if best.label.startswith("global optimum"):
        return f"; {best.starts} reach the global optimum, energy {best.energy:.4f}"
    if collapsed and not best.collapsed:
        gap = collapsed[0].energy - best.energy
        return (
            f"; the best of {len(points)} points found lies {gap:.4g} lower, with {best.active} "
            f"active latents"
        )
    return f"; distinct points found: {len(points)}, the lowest with energy {best.energy:.4f}"


def _missing(ends: Sequence[End]) -> str:
    """How likely another start is to find another point, as a clause."""
    unseen, upper = tally.missing_mass(np.repeat(np.arange(len(ends)), [e.starts for e in ends]))
    return (
        f"; one more start finds a new point with probability {unseen:.2g} or so (at most "
        f"{upper:.2g})"
    )


def _lowest(points: Sequence[End]) -> End:
    return min(points, key=lambda end: end.energy)


def telling(ends: Sequence[End]) -> float:
    """The alpha at which collapsed and other ends are most evenly mixed; the largest where none
    mixes them.
    """
    rarer = {}
    for alpha, group in _by_alpha(ends).items():
        collapsed = _collapsed(group)
        rarer[alpha] = min(collapsed, _starts(group) - collapsed)
    return max(rarer, key=lambda alpha: (rarer[alpha], alpha))


def _by_alpha(ends: Sequence[End]) -> dict[float, list[End]]:
    """Grouped, in their order."""
    groups: dict[float, list[End]] = {}
    for end in ends:
        groups.setdefault(end.alpha, []).append(end)
    return groups
