"""What the studies of the loss surface's geometry share: their setting, where they start from, how
they are shown.

A study answers one question and leaves a `report.Study` with its figures in a directory: `rim` (how
high is the rim of the collapsed basin?), `branches` (where do stationary points go?), `width` (how
wide is the basin?), `graph` (what is joined to what?), `overview` (a sweep, for a page).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from matplotlib import pyplot as plt

from vaesurface import curvature, landscape, optimize, paths, plot, report, stationary, theory, vae
from vaesurface.plot import Mark
from vaesurface.problem import Params, Problem
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind, StationaryPoint, tally

ADAM = optimize.adam()  # one object, so that one program serves all
HOME = 1e-6  # distance up to which the end of a descent is the collapsed point
DENSE = 2000  # parameters up to which a page shows all eigenvalues


class Setting(NamedTuple):
    """What a study is about.

    X (n, d), called `source`; the threshold VAE's latent, gamma (None: learned) and beta; starts,
    scale and seed: number, scale and first seed of random starts; out: directory; command: that
    makes it again.
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
        """Where random starts lead, leading axis: starts. From saddles they fall on: Adam's ends
        have rows at zero still.
        """
        keys = [jax.random.key(self.seed + i) for i in range(self.starts)]
        found = [
            paths.fall(problem, stationary.find(problem, key, self.scale, ADAM)) for key in keys
        ]
        found = [point._replace(descent=None, probe=None, refinement=None) for point in found]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *found)

    def study(self, name: str, title: str, said: Sequence[str], **more: Any) -> Study:
        """Written to disk; more: fields of the study."""
        n, d = self.X.shape
        gamma = "learned" if self.gamma is None else self.gamma
        common = {
            "data": self.source,
            "n": n,
            "d": d,
            "latents": self.latent,
            "gamma": gamma,
            "beta": self.beta,
        }
        common |= {
            "random starts": f"{self.starts} of scale {self.scale:g}, seeds from {self.seed}",
            "optimizer": f"{ADAM.name}, then down from saddles",
        }
        study = Study(
            name,
            title,
            said,
            settings=common | more.pop("settings", {}),
            command=self.command,
            **more,
        )
        report.save(study, self.out)
        return study

    def draw(self, name: str, caption: str, axes: Callable[[], Any]) -> Figure:
        """A figure on disk."""
        return draw(self.out, name, caption, axes)


def far_ends(problem: Problem, ends: StationaryPoint) -> list[StationaryPoint]:
    """What is below collapse, judged: points that starts have led to, lowest first, or else one on
    a ray to minus infinity.
    """
    collapsed = problem.collapsed()  # type: ignore[misc]
    level = float(problem.loss(collapsed))
    below = (np.asarray(ends.kind) != Kind.NOT_STATIONARY) & (
        np.asarray(ends.loss) < level - 1e-9 * max(1.0, abs(level))
    )
    lower = jax.tree.map(lambda x: x[below], ends)
    if below.any():
        first = [group[0] for group in tally.distinct(problem, lower.loss, lower.params)]
        return [
            stationary.analyze(problem, jax.tree.map(lambda x: x[i], lower.params)) for i in first
        ]
    if collapsed.log_gamma is None:
        return []
    given = problem.recipe()[1]  # type: ignore[misc]
    ray = theory.unbounded_ray(given["X"], collapsed.weight.shape[1], given["alpha"], given["beta"])
    gammas = jnp.exp(collapsed.log_gamma) * 0.5 ** jnp.arange(1.0, 40.0)
    falls = (
        jax.lax.map(lambda gamma: problem.loss(ray.at(gamma)), gammas) < level - 0.1
    )  # none where there is no ray: NaN
    return [stationary.analyze(problem, ray.at(gammas[jnp.argmax(falls)]))] if falls.any() else []


class Crossing(NamedTuple):
    """The way out of collapse: a path to the lower place far, the saddle that was found by it with
    what that joins, by how much it is higher, and whether the collapsed point is one of the two
    that it joins.
    """

    far: StationaryPoint
    path: paths.Path
    transition: paths.Transition
    rise: float
    error: float
    home: bool


def way_out(problem: Problem, ends: Sequence[StationaryPoint]) -> Crossing | None:
    """Over the lowest saddle met on ways from the collapsed point to some lower ones; None where
    there is none. A saddle that the collapsed point is on one side of comes before any other.
    """
    crossings = [crossing for end in ends if (crossing := _way_to(problem, end)) is not None]
    return min(crossings, key=lambda crossing: (not crossing.home, crossing.rise), default=None)


def _way_to(problem: Problem, end: StationaryPoint) -> Crossing | None:
    """Where the highest saddle on the way joins two other points, the edge of collapse's own basin
    is tracked instead.
    """
    collapsed = problem.collapsed()  # type: ignore[misc]
    path = paths.minimum_energy_path(problem, collapsed, end)
    found = over(problem, path)
    if found is not None and not _at(problem, found, collapsed):
        found = paths.rim(problem, path) or found
    if found is None:
        return None
    rise = float(found.saddle.loss - problem.loss(collapsed))
    return Crossing(end, path, found, rise, float(found.error[0]), _at(problem, found, collapsed))


def over(problem: Problem, path: paths.Path) -> paths.Transition | None:
    """The transition over a path's highest saddle or, where there is none, over one on the edge of
    its first end's basin.
    """
    saddle = paths.saddle(problem, path) if path.interior else None
    if saddle is None or saddle.kind != Kind.SADDLE or saddle.inertia.negative == 0:
        return paths.rim(problem, path)
    return paths.connect(problem, saddle)


def _at(problem: Problem, transition: paths.Transition, point: Params) -> bool:
    """Whether one end of a transition is this point, up to symmetry."""
    return min(tally.distance(problem, side(transition, i).params, point) for i in (0, 1)) <= HOME


def side(transition: paths.Transition, i: int) -> StationaryPoint:
    """One of the two ends, 0 the higher one."""
    return jax.tree.map(lambda x: x[i], transition.ends)


def longest_row(params: Any) -> float:
    """Of the weight."""
    return float(jnp.max(jnp.linalg.norm(params.weight, axis=1)))


def draw(out: Path, name: str, caption: str, axes: Callable[[], Any]) -> Figure:
    """A figure in the directory out."""
    out.mkdir(parents=True, exist_ok=True)
    with plot.style():
        figure = axes().figure
        figure.savefig(out / f"{name}.png", dpi=200, bbox_inches="tight")
        plt.close(figure)
    return Figure(f"{name}.png", caption)


def verdict(name: str, point: StationaryPoint) -> dict[str, Any]:
    """As a page shows it."""
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

    def near(m):
        return height[np.abs(y - m.y).argmin(), np.abs(x - m.x).argmin()]

    shown = [
        {"x": m.x, "y": m.y, "value": near(m), "label": m.label, "kind": m.kind} for m in marks
    ]
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
            shown.append(
                {
                    "kind": "spectrum",
                    "title": f"Hessian at the {name}: {point.label}",
                    "eigenvalues": values,
                    **signs,
                }
            )
    return shown
