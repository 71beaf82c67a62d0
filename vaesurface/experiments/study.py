"""What do the studies of the loss surface's geometry share? Their setting, where they start from,
how they are shown.

A study answers one question and leaves a `report.Study` with its figures in a directory: `rim` (how
high is the rim of the collapsed basin?), `branches` (where do stationary points go?), `width` (how
wide is the basin?), `graph` (what is joined to what?), `overview` (a sweep, for a page).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from matplotlib import pyplot as plt

from vaesurface import (
    curvature,
    files,
    landscape,
    optimize,
    paths,
    plot,
    report,
    stationary,
    sweep,
)
from vaesurface.experiments.member import PAPERS, Member
from vaesurface.plot import Mark
from vaesurface.problem import Problem
from vaesurface.report import Figure, Study
from vaesurface.stationary import StationaryPoint
from vaesurface.store import flat

__all__ = [
    "ADAM",
    "DENSE",
    "Setting",
    "draw",
    "has_hessian",
    "keep",
    "keep_table",
    "longest_row",
    "spectra",
    "surface",
    "verdict",
]

ADAM = optimize.adam()
GREEK = {"alpha": "α", "beta": "β", "gamma": "γ"}
DENSE = 2000  # parameters up to which a page shows all eigenvalues


class Setting(NamedTuple):
    """What a study is about.

    X: (n, d), the data.
    source: what they are called.
    latent, gamma, beta: of the VAE; gamma None: learned, or none.
    starts, scale, seed: number, scale and first seed of random starts.
    out: directory for the results.
    command: that makes them again.
    executor: who computes what can be done side by side, as for `sweep.grid` and `sweep.each`.
    member: of the family of VAEs.
    table: file for what a study found as a flat table, `.csv` or `.parquet`; None: none.
    """

    X: np.ndarray
    source: str
    latent: int
    gamma: float | None
    beta: float
    starts: int
    scale: float
    seed: int
    out: Path
    command: str
    executor: Any = sweep.threads
    member: Member = PAPERS
    table: Path | None = None

    def problem(self, alpha: Any, gamma: Any = None, beta: Any = None) -> Problem:
        """The loss surface, at another gamma or beta where one is given."""
        gamma = self.gamma if gamma is None else gamma
        beta = self.beta if beta is None else beta
        return self.member.problem(self.X, self.latent, alpha, gamma, beta)

    @property
    def title(self) -> str:
        """Of figures: the data, and the member if it is not the paper's."""
        return ", ".join(filter(None, [self.source, self.member.words]))

    def heading(self, *moving: str, **fixed: float) -> str:
        """Of a figure: the data, the model and the starts; moving: hyper-parameters that are on its
        axes; fixed: values of others.
        """
        n = len(self.X)
        said = [self.title, f"n = {n}", f"{self.latent} latent{'s' * (self.latent != 1)}"]
        if self.member.likelihood.startswith("gaussian") and "gamma" not in moving:
            said.append("γ learned" if self.gamma is None else f"γ = {self.gamma:g}")
        if self.beta != 1 and "beta" not in moving:
            said.append(f"β = {self.beta:g}")
        said += [f"{GREEK[name]} = {value:g}" for name, value in fixed.items()]
        starts = f"{self.starts} random starts of scale {self.scale:g}, {ADAM.name}"
        return f"{', '.join(said)}\n{starts}"

    def ends(self, problem: Problem) -> StationaryPoint:
        """Where random starts lead, leading axis: starts. From saddles they fall on: Adam's ends
        have rows at zero still.
        """
        seeds = range(self.seed, self.seed + self.starts)
        points = sweep.each(partial(_end, problem, self.scale), seeds, self.executor)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)

    @contextmanager
    def side_by_side(self) -> Iterator["Setting"]:
        """The setting with workers that are started once for all that a study does."""
        with sweep.side_by_side(self.executor) as hands:
            yield self._replace(executor=hands)

    def study(self, name: str, title: str, said: Sequence[str], **more: Any) -> Study:
        """The study, written to disk; more: fields of it, a table as text, which is written beside
        it, and columns by name, of what is written where a table is asked for.
        """
        if table := more.pop("table", ""):
            keep_table(self.out, name, table)
        columns = more.pop("columns", None)
        if self.table is not None:
            import pandas  # inside, because most do without

            self.table.parent.mkdir(parents=True, exist_ok=True)
            flat.write(pandas.DataFrame(columns), self.table)
        n, d = self.X.shape
        settings = {
            "data": self.source,
            "n": n,
            "d": d,
            "latents": self.latent,
            **self.member.settings,
            **self._gamma(),
            "beta": self.beta,
            "random starts": f"{self.starts} of scale {self.scale:g}, seeds from {self.seed}",
            "optimizer": f"{ADAM.name}, then down from saddles",
        }
        more["settings"] = settings | more.get("settings", {})
        study = Study(name=name, title=title, said=said, command=self.command, **more)
        report.save(study, self.out)
        return study

    def _gamma(self) -> dict[str, Any]:
        """As a page has it; nothing where the likelihood has none."""
        if not self.member.likelihood.startswith("gaussian"):
            return {}
        return {"gamma": "learned" if self.gamma is None else self.gamma}

    def draw(self, name: str, caption: str, axes: Callable[[], Any]) -> Figure:
        """A figure on disk."""
        return draw(self.out, name, caption, axes)


def _end(problem: Problem, scale: float, seed: int) -> StationaryPoint:
    """Where a random start leads."""
    point = paths.fall(problem, stationary.find(problem, jax.random.key(seed), scale, ADAM))
    return point._replace(descent=None, probe=None, refinement=None)


def longest_row(params: Any) -> float:
    """Norm of the weight's longest row."""
    return float(jnp.max(jnp.linalg.norm(params.weight, axis=1)))


def draw(out: Path, name: str, caption: str, axes: Callable[[], Any]) -> Figure:
    """A figure in the directory out; axes: draws it, and returns its axes."""
    out.mkdir(parents=True, exist_ok=True)
    with plot.style():
        figure = axes().figure
        with files.replacing(out / f"{name}.png") as new:
            figure.savefig(new, dpi=200)
        plt.close(figure)
    return Figure(f"{name}.png", caption)


def keep(out: Path, name: str, /, **arrays: Any) -> None:
    """Write arrays into the directory out, as .npz."""
    with files.replacing(out / f"{name}.npz") as new:
        np.savez(new, allow_pickle=False, **arrays)


def keep_table(out: Path, name: str, table: str) -> None:
    """Write a study's table into the directory out, beside it: `<name>.txt`."""
    files.write(out / f"{name}.txt", f"{table}\n")


def verdict(name: str, point: StationaryPoint) -> dict[str, Any]:
    """A point as a page shows it."""
    return {
        "name": name,
        "label": point.label,
        "energy": float(point.loss),
        "evidence": point.evidence,
    }


def surface(plane: landscape.Plane, title: str, marks: Sequence[Mark]) -> dict[str, Any]:
    """A plane as `report.surface` takes it: above the lowest on the grid, cut where nine tenths of
    it lie below.
    """
    height = np.asarray(plane.energy) - np.min(plane.energy)
    x, y = np.asarray(plane.x), np.asarray(plane.y)
    shown = []
    for m in marks:
        value = height[np.abs(y - m.y).argmin(), np.abs(x - m.x).argmin()]
        shown.append({"x": m.x, "y": m.y, "value": value, "label": m.label, "kind": m.kind})
    return {
        "kind": "surface",
        "title": title,
        "quantity": "energy above the lowest here (2 × nats / datum)",
        "caption": "Drag to turn. Coordinates are Euclidean distances in parameter space.",
        "x": x,
        "y": y,
        "values": height,
        "cap": np.quantile(height, 0.9),
        "marks": shown,
    }


def has_hessian(point: StationaryPoint) -> bool:
    """Whether there is one at a point; none is where an activation has a corner and W a row at
    zero.
    """
    theory = point.theory
    if theory is None or theory.form is None or theory.corner is None:
        return True
    return bool(theory.form[0] < 0) and not bool(theory.corner)


def spectra(problem: Problem, points: dict[str, StationaryPoint]) -> list[dict[str, Any]]:
    """All eigenvalues at points, as `report.spectrum` takes them, where there are not too many to
    show.
    """
    return [
        {
            "kind": "spectrum",
            "title": f"Hessian at the {name}: {point.label}",
            "eigenvalues": curvature.spectrum(problem.loss, point.params),
            "negative": point.inertia.negative,
            "flat": point.inertia.flat,
        }
        for name, point in points.items()
        if ravel_pytree(point.params)[0].size <= DENSE and has_hessian(point)
    ]
