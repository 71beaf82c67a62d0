"""Where do the collapsed point, the saddle and the best minimum go as a hyper-parameter moves?"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from vaesurface import paths, plot, stationary
from vaesurface.experiments.study import Setting, far_ends, verdict, way_out
from vaesurface.report import Study
from vaesurface.stationary import Kind

NAMES = {
    "alpha": "decoder perturbation strength α (data units)",
    "gamma": "decoder variance γ (data units²)",
    "beta": "weight β of the KL part",
}
SHOWN = 8  # events that a sentence lists
WIDE = 100.0  # ratio of the largest value to the smallest above which their axis is logarithmic


def branches(
    setting: Setting, parameter: str, values: np.ndarray, alpha: float, jump: bool
) -> Study:
    """Follow them from the first of the values on; alpha where it is not the one that moves. jump:
    at folds of the minimum.
    """
    fixed = {"alpha": alpha} if parameter != "alpha" else {}

    def make(value):
        return setting.problem(**fixed, **{parameter: value})

    problem = make(values[0])
    far = far_ends(problem, setting.ends(problem))
    begun: dict[str, Any] = {"collapsed point": problem.collapsed()}  # type: ignore[misc]
    if far and far[0].kind != Kind.NOT_STATIONARY:
        begun["best minimum"] = far[0]
    crossing = way_out(problem, far)
    if crossing is not None:
        begun["saddle"] = crossing.transition.saddle
    moved: dict[str, Any] = {parameter: values}
    followed = {
        name: paths.follow(make, start, jump=jump and name == "best minimum", **moved)
        for name, start in begun.items()
    }
    best = followed.get("best minimum")
    if best is not None:
        followed |= _taken_over(make, best, moved)
    said = [_followed(name, branch) for name, branch in followed.items()]
    if best is not None:
        said.append(_crossed(best, make))

    eigenvalues = np.linalg.eigvalsh(np.cov(setting.X.T, bias=True))[::-1]
    switches: Any = {
        "gamma": eigenvalues / setting.beta,
        "beta": eigenvalues / (setting.gamma or np.inf),
    }.get(parameter, [])
    lines = {
        f"λ{i + 1}": float(v) for i, v in enumerate(switches) if values.min() <= v <= values.max()
    }
    title = ", ".join([setting.source, *(f"α = {a:g}" for a in fixed.values())])
    look: dict[str, Any] = {"xlabel": NAMES[parameter], "title": title}

    def energies():
        axes = plot.bifurcation(
            list(followed.values()), labels=list(followed), theory=lines, **look
        )
        if 0 < WIDE * values.min() < values.max():
            axes.set_xscale("log")
        return axes

    caption = (
        "Energy of the branches, minima solid, all else dashed; folds, branch points and "
        "jumps are marked."
    )
    figures = [setting.draw("bifurcation", caption, energies)]
    if best is not None and parameter in ("gamma", "beta"):
        minima = [
            b
            for name, b in followed.items()
            if name == "best minimum" or name.startswith("minimum")
        ]
        points = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(b.point for b in minima))
        lowest = points.kind == Kind.MINIMUM
        points, along = (
            jax.tree.map(lambda x: x[lowest], points),
            np.concatenate([b.value for b in minima])[lowest],
        )
        kl = 0.5 * np.asarray(
            jax.lax.map(problem.information, jax.tree.map(jnp.asarray, points.params))
        )
        active = points.active.sum(axis=1)
        caption = (
            "KL divergence of every latent along the branches of minima, and the number of "
            "active ones."
        )
        marked = list(lines.values())
        figures.append(
            setting.draw(
                "active",
                caption,
                partial(plot.active_units, along, kl, active, eigenvalues=marked, **look),
            )
        )
    columns: dict[str, np.ndarray] = {}
    for name, b in followed.items():
        parts = {
            "value": b.value,
            "energy": b.point.loss,
            "negative": b.point.inertia.negative,
            "kind": b.point.kind,
        }
        columns |= {
            f"{name}_{part}".replace(" ", "_"): np.asarray(column) for part, column in parts.items()
        }
    np.savez(setting.out / "follow.npz", allow_pickle=False, **columns)
    return setting.study(
        "follow",
        f"Where do the stationary points go as {parameter} moves?",
        said,
        verdicts=[
            verdict(
                f"{name} at {parameter} = {b.value[i]:.6g}", jax.tree.map(lambda x: x[i], b.point)
            )
            for name, b in followed.items()
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
        },
    )


def _taken_over(make: Callable, branch: Any, moved: dict[str, Any]) -> dict[str, Any]:
    """The minima that cross a branch where it first ceases to be one, or turns back, followed both
    ways.
    """
    ((parameter, values),) = moved.items()
    found: dict[str, Any] = {}
    lost = next((e for e in branch.events if e.kind == "branch point"), None)
    if lost is None or branch.point.kind[0] != Kind.MINIMUM:
        return {}
    back = (branch.value[-1] - lost.value) * (lost.value - branch.value[0]) < 0
    if branch.point.kind[-1] == Kind.MINIMUM and not back:
        return {}
    for start in paths.switch(make, lost):
        both: dict[str, Any] = {parameter: [start.value, *values]}
        for direction in (1, -1):
            other = paths.follow(make, start, direction=direction, **both)
            if Kind.MINIMUM in other.point.kind:
                found[f"minimum {len(found) + 1} from {lost.value:.4g}"] = other
    return found


def _followed(name: str, branch: Any) -> str:
    kinds = [str(event.kind) for event in branch.events]
    counts = [
        f"{kinds.count(kind)} {kind}{'s' * (kinds.count(kind) != 1)}"
        for kind in dict.fromkeys(kinds)
    ]
    where = [f"{event.kind} at {event.value:.10g}" for event in branch.events[:SHOWN]] + ["..."] * (
        len(kinds) > SHOWN
    )
    dead = branch.point.theory.dead_rows
    rows = (
        f"rows of the weight at zero: {dead[0]} at first, {dead[-1]} at last"
        if dead[-1] > dead[0]
        else ""
    )
    return (
        f"The {name} from {branch.parameter} = {branch.value[0]:g}: followed over "
        f"{len(branch.value)} points to "
        f"{branch.value[-1]:.6g} ({branch.ended}), "
        f"{', '.join(counts) or 'no fold and no branch point'}"
        + "".join(f"; {one}" for one in [*where, rows] if one)
        + "."
    )


def _crossed(branch: Any, make: Callable) -> str:
    """Where the energy of a branch passes the collapsed point's."""

    def level(value):
        problem = make(value)
        return problem.loss(problem.collapsed())

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
        jax.tree.map(lambda x: jnp.asarray(x[passed[0] + j]), branch.point.params) for j in (0, 1)
    )

    def height(value):
        """From the chord between both points, so that refinement stays on the branch."""
        problem, t = make(value), (value - low) / (high - low)
        start = jax.tree.map(lambda a, b: (1 - t) * a + t * b, below, above)
        return float(problem.loss(stationary.refine(problem, start).params) - level(value))

    where = brentq(height, low, high, rtol=1e-10)
    return f"Collapse becomes the better of the two at {branch.parameter} = {where:.10g}."
