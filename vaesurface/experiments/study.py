"""What the studies of the loss surface's geometry share: their setting, where they start from, how they are shown.

A study answers one question and leaves a `report.Study` with its figures in a directory: `rim` (how high is the rim of the
collapsed basin?), `branches` (where do stationary points go?), `width` (how wide is the basin?), `graph` (what is joined to
what?), `overview` (a sweep, for a page).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from matplotlib import pyplot as plt

from vaesurface import curvature, landscape, optimize, paths, plot, report, stationary, tally, theory, vae
from vaesurface.plot import Mark
from vaesurface.problem import Params, Problem
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind, StationaryPoint

ADAM = optimize.adam()  # one object, so that one program serves all
ESCAPES = 3  # how often a start goes on from a saddle
HOME = 1e-6  # distance up to which the end of a descent is the collapsed point
LEGS = 4  # saddles met on the way out of collapse at most
DENSE = 2000  # parameters up to which a page shows all eigenvalues


class Setting(NamedTuple):
    """What a study is about.

    X (n, d), called `source`; the threshold VAE's latent, gamma (None: learned) and beta; starts, scale and seed: number,
    scale and first seed of random starts; out: directory; command: that makes it again.
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

    def problem(self, alpha: Any, gamma: Any = None, beta: Any = None) -> Problem:
        """The loss surface, at another gamma or beta where one is given."""
        gamma, beta = self.gamma if gamma is None else gamma, self.beta if beta is None else beta
        return vae.threshold_vae(self.X, self.latent, alpha, gamma, beta)

    def ends(self, problem: Problem) -> StationaryPoint:
        """Where random starts lead, leading axis: starts."""
        keys = [jax.random.key(self.seed + i) for i in range(self.starts)]
        found = [stationary.find(problem, key, self.scale, ADAM, ESCAPES) for key in keys]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    def study(self, name: str, title: str, said: Sequence[str], **more: Any) -> Study:
        """Written to disk; more: fields of the study."""
        n, d = self.X.shape
        gamma = "learned" if self.gamma is None else self.gamma
        common = {"data": self.source, "n": n, "d": d, "latents": self.latent, "gamma": gamma, "beta": self.beta}
        common |= {"random starts": f"{self.starts} of scale {self.scale:g}, seeds from {self.seed}", "optimizer": ADAM.name}
        study = Study(name, title, said, settings=common | more.pop("settings", {}), command=self.command, **more)
        report.save(study, self.out)
        return study

    def draw(self, name: str, caption: str, axes: Callable[[], Any]) -> Figure:
        """A figure on disk."""
        self.out.mkdir(parents=True, exist_ok=True)
        with plot.style():
            figure = axes().figure
            figure.savefig(self.out / f"{name}.png", dpi=200, bbox_inches="tight")
            plt.close(figure)
        return Figure(f"{name}.png", caption)


def far_end(problem: Problem, ends: StationaryPoint) -> StationaryPoint | None:
    """Something below collapse, judged: the lowest point that starts have led to, or one on a ray to minus infinity."""
    collapsed = problem.collapsed()  # type: ignore[misc]
    level = float(problem.loss(collapsed))
    losses = np.where(np.asarray(ends.kind) == Kind.NOT_STATIONARY, np.inf, ends.loss)
    best = int(np.argmin(losses))
    if losses[best] < level - 1e-9 * max(1.0, abs(level)):
        return stationary.analyze(problem, jax.tree.map(lambda x: x[best], ends.params))
    if collapsed.log_gamma is None:
        return None
    given = problem.recipe()[1]  # type: ignore[misc]
    ray = theory.unbounded_ray(given["X"], collapsed.weight.shape[1], given["alpha"], given["beta"])
    gammas = jnp.exp(collapsed.log_gamma) * 0.5 ** jnp.arange(1.0, 40.0)
    below = jax.lax.map(lambda gamma: problem.loss(ray.at(gamma)), gammas) < level - 0.1  # none where there is no ray: NaN
    return stationary.analyze(problem, ray.at(gammas[jnp.argmax(below)])) if below.any() else None


def over(problem: Problem, a: Params | StationaryPoint, b: StationaryPoint) -> tuple[paths.Path, paths.Transition] | None:
    """A path between two points and the transition over its saddle; None where no image lies above both or none is a saddle."""
    path = paths.minimum_energy_path(problem, a, b)
    if not path.interior:
        return None
    saddle = paths.saddle(problem, path)
    return (path, paths.connect(problem, saddle)) if saddle.kind == Kind.SADDLE else None


class Crossing(NamedTuple):
    """The way out of collapse: a path to a lower place, its saddle with what that joins, by how much it is higher, and whether
    the collapsed point is one of the two that it joins.
    """

    path: paths.Path
    transition: paths.Transition
    rise: float
    error: float
    home: bool


def way_out(problem: Problem, end: StationaryPoint) -> Crossing | None:
    """Over a saddle between the collapsed point and a lower one; None where the way there leads over none.

    Where the highest saddle on the way joins two other minima the nearer one is the next end: the rim of collapse comes first.
    """
    collapsed = problem.collapsed()  # type: ignore[misc]
    crossing = None
    for _ in range(LEGS):
        found = over(problem, collapsed, end)
        if found is None:
            break
        path, transition = found
        sides = [jax.tree.map(lambda x: x[i], transition.ends) for i in (0, 1)]  # noqa: B023
        away = [tally.distance(problem, side.params, collapsed) for side in sides]
        home = min(away) <= HOME
        rise = float(transition.saddle.loss - problem.loss(collapsed))
        crossing = Crossing(path, transition, rise, float(transition.error[0]), home)
        end = sides[int(np.argmin(away))]
        if home or end.kind == Kind.NOT_STATIONARY:
            break
    return crossing


def longest_row(params: Any) -> float:
    """Of the weight."""
    return float(jnp.max(jnp.linalg.norm(params.weight, axis=1)))


def verdict(name: str, point: StationaryPoint) -> dict[str, Any]:
    """As a page shows it."""
    return {"name": name, "label": point.label, "energy": float(point.loss), "evidence": point.evidence}


def surface(plane: landscape.Plane, title: str, marks: Sequence[Mark]) -> dict[str, Any]:
    """A plane as `report.surface` takes it: above the lowest on the grid, cut where nine tenths of it lie below."""
    height = np.asarray(plane.energy) - np.min(plane.energy)
    x, y = np.asarray(plane.x), np.asarray(plane.y)
    near = lambda m: height[np.abs(y - m.y).argmin(), np.abs(x - m.x).argmin()]  # noqa: E731
    shown = [{"x": m.x, "y": m.y, "value": near(m), "label": m.label, "kind": m.kind} for m in marks]
    quantity = "energy above the lowest here (2 × nats / datum)"
    caption = "Drag to turn. Coordinates are Euclidean distances in parameter space."
    where = {"x": x, "y": y, "values": height, "cap": np.quantile(height, 0.9), "marks": shown}
    return {"kind": "surface", "title": title, "quantity": quantity, "caption": caption, **where}


def spectra(problem: Problem, points: dict[str, StationaryPoint]) -> list[dict[str, Any]]:
    """All eigenvalues at points, where there are not too many to show."""
    shown = []
    for name, point in points.items():
        if ravel_pytree(point.params)[0].size <= DENSE:
            values = curvature.spectrum(problem.loss, point.params)
            signs = {"negative": point.inertia.negative, "flat": point.inertia.flat}
            shown.append({"kind": "spectrum", "title": f"Hessian at the {name}: {point.label}", "eigenvalues": values, **signs})
    return shown
