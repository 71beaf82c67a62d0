"""Which starts collapse, at which decoder perturbation strength, and what is the point they
collapse to?

A sweep over alpha x initialization scale x seed of `stationary.find`, then what it found: a table
of distinct points, figures, and the answer in sentences. The CLI's `demo`, `sweep`, `slice` and
`plot` are these functions.
"""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import (
    curvature,
    data,
    landscape,
    optimize,
    plot,
    stationary,
    store,
    sweep,
    theory,
    vae,
)
from vaesurface.energy import VAEParams
from vaesurface.problem import Problem
from vaesurface.stationary import Kind, StationaryPoint, tally


class Sweep(NamedTuple):
    """A finished sweep: labelled results, the data they are for, and the settings it ran with."""

    ds: Any
    X: np.ndarray
    settings: dict[str, Any]

    def problem(self, alpha: float) -> Problem:
        """The loss surface at one alpha."""
        s = self.settings
        return vae.threshold_vae(self.X, s["latent"], alpha, s["gamma"], s["beta"])


class Found(NamedTuple):
    """One distinct stationary point of one alpha, or all runs there that reached none.

    starts: how many ended there; cell: (scale, seed) of one of them.
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
    cell: tuple[float, int]


def run(
    X: np.ndarray,
    latent: int,
    gamma: float | None,
    beta: float,
    make_optimizer: Callable[[], optimize.Optimizer],
    alpha: Any,
    scale: Any,
    seed: Any,
) -> StationaryPoint:
    """One cell: find a stationary point from one random start. The same seed is the same start at
    every alpha, up to scale.
    """
    problem = vae.threshold_vae(X, latent, alpha, gamma, beta)
    return stationary.find(problem, jax.random.key(seed), scale, make_optimizer())


def compute(
    X: np.ndarray,
    source: str,
    latent: int,
    out: Path,
    *,
    alpha: Sequence[float],
    scale: Sequence[float],
    seeds: int,
    gamma: float | None = None,
    beta: float = 1.0,
    make_optimizer: Callable[[], optimize.Optimizer] = optimize.adam,
    progress: Any = None,
) -> Sweep:
    """Run the sweep, or what a store at `out` lacks of it, on all cores; `source` says where X came
    from.

    Raises ValueError for settings that make no problem and for a store of another sweep.
    """
    for a in (
        min(alpha, default=0.0),
        max(alpha, default=0.0),
    ):  # refuse what no problem can be built from at once
        vae.threshold_vae(X, latent, a, gamma, beta)
    if not all(s >= 0 for s in scale):
        raise ValueError(f"expected scales >= 0, got {min(scale)}; choose other scales")
    if seeds < 1:
        raise ValueError(f"expected at least one seed, got {seeds}; choose --seeds 1 or more")
    store.canonical({"alpha": alpha, "scale": scale})
    settings = {"source": source, "rows": len(X), "latent": latent, "gamma": gamma, "beta": beta}
    settings["optimizer"] = make_optimizer().name
    results = store.create(out, X, **settings)
    cell = partial(run, X, latent, gamma, beta, make_optimizer)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        sweep.grid(
            cell,
            executor=pool,
            store=results,
            progress=progress,
            alpha=alpha,
            scale=scale,
            seed=np.arange(seeds),
        )
    ds = store.open(out, StationaryPoint)
    ds = ds.sel(alpha=sorted(alpha), scale=sorted(scale), seed=np.arange(seeds))
    return Sweep(_described(ds, settings), X, settings)


def reopen(path: Path, source: str | None = None) -> Sweep:
    """A sweep from its store; `source` where its data have moved. Raises ValueError where they are
    other data.
    """
    ds = store.open(path, StationaryPoint)
    settings = json.loads(ds.attrs["config"])
    if missing := {"source", "rows", "latent", "gamma", "beta", "optimizer"} - settings.keys():
        raise ValueError(
            f"expected a store of `vaesurface sweep`, got one without {min(missing)}; name "
            f"another one"
        )
    X = data.load(source or settings["source"])[: settings["rows"]]
    if data.digest(X) != ds.attrs["data"]:
        raise ValueError(
            f"expected the data {path} was made from, got others; name them with --data"
        )
    return Sweep(_described(ds, settings), X, settings)


def _described(ds, settings):
    name = Path(str(settings["source"])).name
    about = f"{name}, n = {settings['rows']}, {settings['latent']} latents"
    if settings["gamma"] is not None:
        about += f", γ = {settings['gamma']:g}"
    if settings["beta"] != 1:
        about += f", β = {settings['beta']:g}"
    return ds.assign_attrs(optimizer=settings["optimizer"], data=about, digest=ds.attrs["data"])


def params(ds: Any) -> VAEParams:
    """Parameters of a dataset's cells, leading axes first."""
    fields: dict[str, Any] = {
        k: ds[f"params_{k}"].values if f"params_{k}" in ds else None for k in VAEParams._fields
    }
    return VAEParams(**fields)


def found(swept: Sweep) -> list[Found]:
    """The distinct stationary points of every alpha, lowest energy first; runs that reached none
    come last.
    """
    rows = []
    for alpha in swept.ds.alpha.values:
        cells = swept.ds.sel(alpha=alpha).stack(run=("scale", "seed")).transpose("run", ...)
        cells = cells.isel(run=cells.computed.values)
        reached = cells.kind.values != Kind.NOT_STATIONARY
        good = cells.isel(run=reached)
        here = [
            np.flatnonzero(reached)[g]
            for g in tally.distinct(swept.problem(alpha), good.loss.values, params(good))
        ]
        here += [np.flatnonzero(~reached)] * bool((~reached).any())
        for group in here:
            one = cells.isel(run=group[0])
            gamma = swept.settings["gamma"]
            rows.append(
                Found(
                    alpha=float(alpha),
                    label=str(one.label.values),
                    kind=int(one.kind),
                    energy=float(one.loss),
                    negative=int(one.inertia_negative),
                    flat=int(one.inertia_flat),
                    active=int(one.active.sum()),
                    gamma=float(np.exp(one.params_log_gamma)) if gamma is None else gamma,
                    starts=len(group),
                    collapsed=bool(one.theory_collapsed) and int(one.kind) != Kind.NOT_STATIONARY,
                    radius=float(one.theory_radius),
                    cell=(float(one.scale), int(one.seed)),
                )
            )
    return rows


def table(rows: Sequence[Found], most: int | None = None) -> str:
    """The distinct points as text, the `most` commonest of each alpha where that is given, in order
    of energy.
    """
    lines = [
        f"{'alpha':>7} {'energy':>12} {'index':>5} {'flat':>4} {'active':>6} {'gamma':>9} "
        f"{'starts':>6}  label"
    ]
    for alpha in dict.fromkeys(r.alpha for r in rows):
        here = [r for r in rows if r.alpha == alpha]
        common = sorted(here, key=lambda r: -r.starts)[:most]
        lines += [
            f"{r.alpha:7g} {r.energy:12.6f} {r.negative:5d} {r.flat:4d} {r.active:6d} "
            f"{r.gamma:9.3g} {r.starts:6d}  {r.label}"
            for r in here
            if r in common
        ]
        if len(here) > len(common):
            rest = sum(r.starts for r in here if r not in common)
            lines.append(f"{alpha:7g} {'':12} and {len(here) - len(common)} more, {rest} starts")
    return "\n".join(lines)


def answer(swept: Sweep, rows: Sequence[Found]) -> list[str]:
    """The paper's question answered for these data, in plain sentences with counts."""
    ds = swept.ds
    said = [
        f"{ds.attrs['data']}; {ds.attrs['optimizer']}; every end refined to a stationary point "
        f"and judged by its Hessian."
    ]
    said += [
        _at_one_alpha([r for r in rows if r.alpha == alpha])
        for alpha in dict.fromkeys(r.alpha for r in rows)
    ]
    ended = (ds.theory_collapsed & (ds.kind != Kind.NOT_STATIONARY)).isel(alpha=ds.alpha.values > 0)
    if ended.sizes["alpha"] and ended.sizes["scale"] > 1:
        share = ended.mean(("alpha", "seed")).values
        each = ", ".join(
            f"{100 * s:.0f} % at {x:g}" for x, s in zip(ds.scale.values, share, strict=True)
        )
        said.append(
            f"Over all alpha > 0 the share of starts that collapse is, by initialization scale: "
            f"{each}."
        )
    left = int((ds.computed & (ds.refinement_rise > 0)).sum())
    kept = (
        f"climbed over a rise, out of the run's own basin, {left} times"
        if left
        else "never left the run's own basin"
    )
    said.append(
        f"Refinement {kept}; it moved the end by {float(ds.refinement_moved.median()):.2g} in "
        f"the median."
    )
    if bool((ds.computed & (ds.theory_falling > 0)).any()):
        said.append(
            "A degenerate saddle has rows of the weight at exactly zero, where the energy is "
            "flat to all orders: no eigenvalue "
            "shows it and gradient descent stays there, but a row that leaves zero in the right "
            "direction lowers the energy; "
            f"all of a point's together by "
            f"{float(ds.theory_drop.where(ds.theory_falling > 0).median()):.2g} in the median."
        )
    if bool((ds.theory_minimum == -np.inf).any()):
        said.append(
            "Where alpha and the data allow perfect reconstruction, the energy is unbounded "
            "below as gamma goes to zero."
        )
    return said


def _at_one_alpha(here: Sequence[Found]) -> str:
    points = [r for r in here if r.kind != Kind.NOT_STATIONARY]
    collapsed = [r for r in points if r.collapsed]
    total, count = sum(r.starts for r in here), sum(r.starts for r in collapsed)
    said = f"At alpha = {here[0].alpha:g}, {count} of {total} starts collapse"
    if collapsed:
        said += f" (into a {collapsed[0].label}"
        if collapsed[0].radius > 0:
            said += (
                f"; nothing is lower while the weight's rows are shorter than "
                f"{collapsed[0].radius:.2g} and all other "
                "parameters within about a hundredth of its own"
            )
        said += ")"
    best = min(points, key=lambda r: r.energy, default=None)
    if best is not None and best.label.startswith("global optimum"):
        said += f"; {best.starts} reach the global optimum, energy {best.energy:.4f}"
    elif collapsed and best is not None and not best.collapsed:
        gap = collapsed[0].energy - best.energy
        said += f"; the best of {len(points)} points found lies {gap:.4g} lower, with {best.active} active latents"
    elif best is not None:
        said += f"; distinct points found: {len(points)}, the lowest with energy {best.energy:.4f}"
    if best is not None and not best.label.startswith("global optimum"):
        unseen, upper = tally.missing_mass(
            np.repeat(np.arange(len(here)), [r.starts for r in here])
        )
        said += f"; one more start finds a new point with probability {unseen:.2g} or so (at most {upper:.2g})"
    if lost := total - sum(r.starts for r in points):
        said += f"; {lost} end at no stationary point ({here[-1].label})"
    return said + "."


def telling(rows: Sequence[Found]) -> float:
    """The alpha at which collapsed and other ends are most evenly mixed; the largest where none
    mixes them.
    """

    def mixed(alpha):
        counts = [
            sum(r.starts for r in rows if r.alpha == alpha and r.collapsed == c)
            for c in (True, False)
        ]
        return min(counts), alpha

    return max(dict.fromkeys(r.alpha for r in rows), key=mixed)


def draw(
    swept: Sweep,
    rows: Sequence[Found],
    out: Path,
    alpha: float | None = None,
    kinds: Sequence[str] = ("phase", "line", "plane", "spectrum"),
    note: str = "",
) -> list[Path]:
    """Figures into `out`: "phase", and at one alpha (the most telling one by default) "line",
    "plane", "spectrum".

    Line and plane go through the collapsed point, the best other point found and, for the plane,
    the next best; random starts stand in where fewer were found. note: for the phase diagram's
    caption. Returns the files.
    """
    from matplotlib import pyplot as plt

    alpha = telling(rows) if alpha is None else alpha
    if alpha not in swept.ds.alpha.values:
        raise ValueError(
            f"expected an alpha of the sweep, got {alpha:g}; choose from "
            f"{swept.ds.alpha.values.tolist()}"
        )
    problem: Any = swept.problem(alpha)
    chosen = cast(swept, rows, alpha)
    (_, collapsed), (_, best), (_, third) = chosen
    known = [(point, p) for point, p in chosen if point is not None]
    lowest = min(float(problem.loss(p)) for _, p in known)
    title = f"{swept.ds.attrs['data']}, α = {alpha:g}"
    drawn: dict[str, Any] = {}
    with plot.style():
        if "phase" in kinds:
            said = "a start's longest row of W = certified radius"
            radius = (
                _certified(swept) if min(swept.ds.kind.shape[:2]) > 1 else None
            )  # a line needs two cells a side
            drawn["phase"] = plot.phase_diagram(
                swept.ds, note=note, theory=radius, theory_label=said
            )
        if "line" in kinds:
            line = landscape.segment(problem.loss, collapsed, best)
            ends = zip((0.0, float(line.length)), chosen, strict=False)
            marks = [
                plot.Mark(x, float(problem.loss(p)), j.label, int(j.kind))
                for x, (j, p) in ends
                if j is not None
            ]
            drawn["line"] = plot.segment(line, marks=marks, title=title)
        if "plane" in kinds:
            plane = landscape.plane(problem.loss, collapsed, best, third)
            feet = zip(
                plane.points.tolist(), chosen, ("collapsed", "best found", "next best"), strict=True
            )
            marks = [
                plot.Mark(x, y, name, int(j.kind)) for (x, y), (j, _), name in feet if j is not None
            ]
            drawn["plane"] = plot.plane(plane, marks=marks, best=lowest, title=title)
        if "spectrum" in kinds:
            for name, (judged, p) in zip(("collapsed", "best"), chosen, strict=False):
                if judged is not None:
                    values = curvature.spectrum(problem.loss, p)
                    said = f"{title}\n{judged.label}"
                    drawn[f"spectrum_{name}"] = plot.spectrum(
                        values, inertia=judged.inertia, title=said
                    )
        for name, axes in drawn.items():
            axes.figure.savefig(out / f"{name}.png", dpi=200)
            plt.close(axes.figure)
    return [out / f"{name}.png" for name in drawn]


def _certified(swept: Sweep) -> np.ndarray:
    """Points (alpha, scale), alpha > 0, at which the longest row of a start's weight, in the mean
    over seeds, is the radius.
    """
    rows = [
        np.asarray(swept.problem(0.0).init(jax.random.key(int(s)), 1.0).weight)
        for s in swept.ds.seed
    ]  # type: ignore[misc]
    longest = np.mean([np.linalg.norm(row, axis=1).max() for row in rows])
    s, alphas = swept.settings, [float(a) for a in swept.ds.alpha if a > 0]
    return np.array(
        [
            (a, theory.collapse_radius(swept.X, a, s["gamma"], s["beta"]).radius / longest)
            for a in alphas
        ]
    )


def cast(
    swept: Sweep, rows: Sequence[Found], alpha: float
) -> list[tuple[StationaryPoint | None, VAEParams]]:
    """The collapsed point and the two best others of one alpha with their verdicts; random starts,
    without, stand in.
    """
    problem: Any = swept.problem(alpha)
    points = [
        r for r in rows if r.alpha == alpha and r.kind != Kind.NOT_STATIONARY and not r.collapsed
    ]
    chosen = [problem.collapsed()]
    for r in sorted(points, key=lambda r: r.energy)[:2]:
        chosen.append(
            jax.tree.map(
                jnp.asarray, params(swept.ds.sel(alpha=alpha, scale=r.cell[0], seed=r.cell[1]))
            )
        )
    judged: list = [(stationary.analyze(problem, p), p) for p in chosen]
    return judged + [(None, problem.init(jax.random.key(i), 1.0)) for i in range(3 - len(judged))]
