"""Where do the collapsed point, the saddle and the best minimum go as a hyper-parameter moves?"""

from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from vaesurface import paths, plot, stationary, sweep, theory
from vaesurface.experiments import tables
from vaesurface.experiments.boundaries import Plane, boundaries
from vaesurface.experiments.study import Setting, keep, verdict
from vaesurface.experiments.ways import far_ends, way_out
from vaesurface.marks import KINDS, UNIT
from vaesurface.paths.branch import Branch
from vaesurface.problem import Problem
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind
from vaesurface.stationary.model import at

__all__ = ["Second", "branches"]

Branches = dict[str, Branch]  # by name


class Second(NamedTuple):
    """A second hyper-parameter: its name, its value, and the range that it moves over."""

    name: str
    at: float
    ends: tuple[float, float]


NAMES = {
    "alpha": "decoder perturbation strength α (data units)",
    "gamma": "decoder variance γ (data units²)",
    "beta": "weight β of the KL part",
}
SHOWN = 8  # events that a sentence lists
WIDE = 100.0  # ratio of the largest value to the smallest above which their axis is logarithmic


def branches(
    setting: Setting,
    parameter: str,
    values: np.ndarray,
    alpha: float,
    jump: bool,
    second: Second | None = None,
) -> Study:
    """Follow them from the first of the values on; alpha where it is not the one that moves. jump:
    at folds of the minimum. second: the events of the minimum's branch are followed over it too.
    """
    fixed = {"alpha": alpha} if parameter != "alpha" else {}

    alone = setting._replace(executor=None)  # which other processes can have

    def make(value):
        return alone.problem(**fixed, **{parameter: value})

    with setting.side_by_side() as crewed:
        followed = _followed(crewed, make, parameter, values, jump)
    sentences = [_course(name, branch) for name, branch in followed.items()]
    if "best minimum" in followed:
        sentences.insert(0, _crossed(followed["best minimum"], make))
    else:
        sentences.insert(
            0,
            f"Nothing stationary below collapse was found at {parameter} = {values[0]:g}.",
        )
    title = setting.heading(parameter, **fixed)
    switches = _switches(setting, parameter, values)
    look: dict[str, Any] = {"xlabel": NAMES[parameter], "over": values, "title": title}
    figures = [_energies(setting, followed, values, theory=switches, **look)]
    if "best minimum" in followed and parameter in ("gamma", "beta"):
        marked = list(switches.values())
        figures.append(_active(setting, make(values[0]), followed, eigenvalues=marked, **look))
    if "best minimum" in followed and second is not None:
        more, figure = _boundaries(alone, _minima(followed), values, fixed, second)
        sentences += more
        figures.append(figure)
    _keep(setting, followed)
    return setting.study(
        "follow",
        f"Where do the stationary points go as {parameter} moves?",
        sentences,
        table=_table(followed),
        columns=_columns(followed, parameter),
        verdicts=[
            verdict(f"{name} at {parameter} = {branch.value[i]:.6g}", at(branch.point, i))
            for name, branch in followed.items()
            for i in (0, -1)
        ],
        figures=figures,
        settings={
            "parameter": parameter,
            "from": values[0],
            "to": values[-1],
            "values": len(values),
            **fixed,
            "jump": jump,
            **({} if second is None else {f"{second.name} of boundaries": second.ends}),
        },
    )


def _boundaries(
    setting: Setting,
    minima: list[Branch],
    values: np.ndarray,
    fixed: dict[str, float],
    second: Second,
) -> tuple[list[str], Figure]:
    """What goes through the events of minima's branches as a second hyper-parameter moves."""
    kept = {name: value for name, value in fixed.items() if name != second.name}

    def make(**moved):
        return setting.problem(**kept, **moved)

    names = minima[0].parameter, second.name
    plane = Plane(make, names, ((values[0], values[-1]), second.ends), second.at)
    title = setting.heading(*names, **kept)
    look = {"xlabel": NAMES[names[0]], "ylabel": NAMES[names[1]], "title": title}
    return boundaries(setting, plane, minima, **look)


def _followed(
    setting: Setting, make: Callable, parameter: str, values: np.ndarray, jump: bool
) -> Branches:
    """The branches of the collapsed point and, where there is something lower, of the best minimum
    and of the saddle between; then of minima that take over from that minimum.
    """
    problem = make(values[0])
    far = far_ends(problem, setting.ends(problem))
    begun: dict[str, Any] = {"collapsed point": problem.collapsed()}
    if far and far[0].kind != Kind.NOT_STATIONARY:
        begun["best minimum"] = far[0]
    way = way_out(problem, far, setting.executor)
    if way is not None:
        begun["saddle"] = way.crossing.saddle
    moved: dict[str, Any] = {parameter: values}
    ways = [
        {"point": start, "jump": jump and name == "best minimum", **moved}
        for name, start in begun.items()
    ]
    branches = sweep.each(partial(_follow, make), ways, setting.executor)
    followed = dict(zip(begun, branches, strict=True))
    if "best minimum" in followed:
        followed |= _taken_over(make, followed["best minimum"], moved, setting.executor)
    return followed


def _follow(make: Callable, way: dict[str, Any]) -> Branch:
    """A branch; way: arguments of `paths.follow`."""
    return paths.follow(make, **way)


def _taken_over(make: Callable, branch: Branch, moved: dict[str, Any], executor: Any) -> Branches:
    """The minima that cross a branch where it first ceases to be one, or turns back, followed both
    ways.
    """
    ((parameter, values),) = moved.items()
    lost = next((e for e in branch.events if e.kind == "branch point"), None)
    if lost is None or branch.point.kind[0] != Kind.MINIMUM:
        return {}
    back = (branch.value[-1] - lost.value) * (lost.value - branch.value[0]) < 0
    if branch.point.kind[-1] == Kind.MINIMUM and not back:
        return {}
    ways = [
        {"point": start, "direction": direction, parameter: [start.value, *values]}
        for start in paths.switch(make, lost)
        for direction in (1, -1)
    ]
    others = sweep.each(partial(_follow, make), ways, executor)
    minima = [other for other in others if Kind.MINIMUM in other.point.kind]
    return {f"minimum {i} from {lost.value:.4g}": other for i, other in enumerate(minima, 1)}


def _switches(setting: Setting, parameter: str, values: np.ndarray) -> dict[str, float]:
    """Values at which a latent of the affine model switches off: an eigenvalue of the covariance
    is beta gamma, or that of D^(-1/2) S D^(-1/2) beta (`theory.collapse_ratios`).
    """
    likelihood = setting.member.likelihood
    if parameter == "beta" and likelihood in theory.natural.NATURAL:
        classes = setting.X.shape[1] if likelihood == "categorical" else 1
        eigenvalues = theory.collapse_ratios(setting.X, likelihood, classes)
    elif likelihood != "gaussian" or parameter == "alpha":
        return {}
    elif parameter == "gamma":
        eigenvalues = theory.eigenvalues(setting.X) / setting.beta
    else:
        eigenvalues = theory.eigenvalues(setting.X) / (setting.gamma or np.inf)
    low, high = values.min(), values.max()
    return {f"λ{i + 1}": float(v) for i, v in enumerate(eigenvalues) if low <= v <= high}


def _energies(setting: Setting, followed: Branches, values: np.ndarray, **look: Any) -> Figure:
    """The branches' energies."""

    def axes():
        drawn = plot.bifurcation(
            list(followed.values()), labels=list(followed), ylabel=f"energy ({UNIT})", **look
        )
        if 0 < WIDE * values.min() < values.max():
            drawn.set_xscale("log")
        return drawn

    caption = (
        "Energy of the branches, minima solid, all else dashed; folds, branch points and "
        "jumps are marked."
    )
    return setting.draw("bifurcation", caption, axes)


def _active(setting: Setting, problem: Problem, followed: Branches, **look: Any) -> Figure:
    """What every latent carries at the minima."""
    minima = _minima(followed)
    points = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(b.point for b in minima))
    lowest = points.kind == Kind.MINIMUM
    along = np.concatenate([branch.value for branch in minima])[lowest]
    points = jax.tree.map(lambda x: x[lowest], points)
    params = jax.tree.map(jnp.asarray, points.params)
    kl = 0.5 * np.asarray(jax.lax.map(problem.information, params))
    active = points.active.sum(axis=1)
    caption = (
        "KL divergence of every latent along the branches of minima, and the number of active ones."
    )
    return setting.draw("active", caption, partial(plot.active_units, along, kl, active, **look))


def _minima(followed: Branches) -> list[Branch]:
    """The branches of minima, the best one's first."""
    others = [branch for name, branch in followed.items() if name.startswith("minimum")]
    return [followed["best minimum"], *others]


def _keep(setting: Setting, followed: Branches) -> None:
    """The branches as arrays on disk."""
    columns: dict[str, np.ndarray] = {}
    for name, branch in followed.items():
        own = {
            "value": branch.value,
            "energy": branch.point.loss,
            "negative": branch.point.inertia.negative,
            "kind": branch.point.kind,
        }
        for part, column in own.items():
            columns[f"{name}_{part}".replace(" ", "_")] = np.asarray(column)
    keep(setting.out, "follow", **columns)


def _columns(followed: Branches, parameter: str) -> dict[str, list]:
    """A row for each point of each branch."""
    columns: dict[str, list] = defaultdict(list)
    for name, branch in followed.items():
        columns["branch"] += [name] * len(branch.value)
        columns[parameter] += np.asarray(branch.value).tolist()
        columns["label"] += list(branch.point.label)
        columns["kind"] += [KINDS[code].name for code in np.asarray(branch.point.kind).tolist()]
        columns["energy"] += np.asarray(branch.point.loss).tolist()
        columns["inertia_negative"] += np.asarray(branch.point.inertia.negative).tolist()
    return columns


def _table(followed: Branches) -> str:
    """A row for each branch."""
    kinds = ("fold", "branch point", "jump")
    head = [
        "branch",
        "from",
        "to",
        "points",
        "folds",
        "branch points",
        "jumps",
        "energy at the end",
    ]
    rows = [
        [
            name,
            float(branch.value[0]),
            float(branch.value[-1]),
            len(branch.value),
            *([str(event.kind) for event in branch.events].count(kind) for kind in kinds),
            f"{float(branch.point.loss[-1]):.8g}",
        ]
        for name, branch in followed.items()
    ]
    return tables.aligned(head, rows)


def _course(name: str, branch: Branch) -> str:
    """How far a branch was followed, and what it met."""
    kinds = [str(event.kind) for event in branch.events]
    counts = [
        f"{kinds.count(kind)} {kind}{'s' * (kinds.count(kind) != 1)}"
        for kind in dict.fromkeys(kinds)
    ]
    parts = [", ".join(counts) or "no fold and no branch point"]
    parts += [f"{event.kind} at {event.value:.10g}" for event in branch.events[:SHOWN]]
    if len(kinds) > SHOWN:
        parts.append("...")
    closed_forms: Any = branch.point.theory
    dead = closed_forms.dead_rows
    if dead[-1] > dead[0]:
        parts.append(f"rows of the weight at zero: {dead[0]} at first, {dead[-1]} at last")
    return (
        f"The {name} from {branch.parameter} = {branch.value[0]:g}: followed over "
        f"{len(branch.value)} points to {branch.value[-1]:.6g} ({branch.ended}), "
        f"{'; '.join(parts)}."
    )


def _crossed(branch: Branch, make: Callable) -> str:
    """Where the energy of a branch passes the collapsed point's."""
    level = partial(_level, make)
    gap = np.asarray(branch.point.loss) - np.asarray(jax.lax.map(level, jnp.asarray(branch.value)))
    passed = np.flatnonzero((gap[:-1] < 0) & (gap[1:] >= 0))
    if not passed.size:
        side = "below" if gap[-1] < 0 else "above"
        return (
            f"At its end the minimum's branch is {abs(gap[-1]):.6g} {side} collapse, which it "
            f"did not rise past on the way."
        )
    low, high = (branch.value[passed[0] + j] for j in (0, 1))
    below, above = (
        jax.tree.map(jnp.asarray, at(branch.point.params, passed[0] + j)) for j in (0, 1)
    )

    def height(value):
        """From the chord between both points, so that refinement stays on the branch."""
        problem, t = make(value), (value - low) / (high - low)
        start = jax.tree.map(lambda a, b: (1 - t) * a + t * b, below, above)
        return float(problem.loss(stationary.refine(problem, start).params) - level(value))

    where = brentq(height, low, high, rtol=1e-10)
    return f"Collapse becomes the better of the two at {branch.parameter} = {where:.10g}."


def _level(make: Callable, value: Any) -> Any:
    """The collapsed point's energy."""
    problem = make(value)
    return problem.loss(problem.collapsed())
