"""Is there a trap beside perfect reconstruction? Proposition 4.1 of Dai, Wang & Wipf (ICML 2020),
on the two antipodal data.

At each alpha: a ray on which the error goes to zero and the energy to minus infinity, a proof that
collapse is a strict local minimum all the same, and how many random starts end in it.
"""

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import binomtest

from vaesurface import data, optimize, plot, proof, stationary, store, sweep, theory
from vaesurface.experiments import starts, tables
from vaesurface.experiments.study import ADAM, Setting, keep, verdict
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind

__all__ = ["RAY", "SCALES", "Row", "prop41"]

ALPHAS = (0.01, 5.0)  # from where to where alpha goes
SCALES = (0.1, 1.0, 3.0)  # of random starts
RAY = np.geomspace(1.0, 1e-12, 25)  # gamma along the ray
DRAWN = 4  # rays in the figure
PERFECT = 1e-9  # error per coordinate below which the data are said to be reproduced


class Row(NamedTuple):
    """At one alpha.

    radius: certified.
    proved: by how many of two proofs.
    energy, error: (m,), at RAY; the error per coordinate.
    slope: of the energy in log gamma at the ray's end.
    """

    alpha: float
    radius: float
    proved: int
    energy: np.ndarray
    error: np.ndarray
    slope: float


def prop41(
    out: Path, command: str, full: bool, seeds: int = 3, executor: Any = sweep.threads
) -> Study:
    """alpha from 0.01 to 5, 10 starts per seed at every alpha and scale; full: 100, and alpha twice
    as finely. executor: as for `sweep.grid`.
    """
    alphas = np.geomspace(*ALPHAS, 19 if full else 10)
    count = (100 if full else 10) * seeds
    setting = Setting(
        X=data.antipodal(d=2),
        source="antipodal, d = 2",
        latent=1,
        gamma=None,
        beta=1.0,
        starts=count,
        scale=SCALES[0],
        seed=0,
        out=out,
        command=command,
        executor=executor,
    )
    rows = [_row(setting, alpha) for alpha in alphas]
    ended, lost = _ended(setting, alphas)
    problem: Any = setting.problem(alphas[-1])
    collapsed = stationary.analyze(problem, problem.collapsed())
    level = _level(setting, alphas[0])
    figures = [_trap(setting, rows, ended), _rays(setting, rows, level)]
    _keep(setting, rows, ended, lost)
    return setting.study(
        "prop41",
        "Is there a bad local minimum beside perfect reconstruction?",
        [_verdict(rows, ended, count, level), _columns(count)],
        table=_table(rows, ended, count),
        verdicts=[verdict(f"collapsed point, alpha = {alphas[-1]:g}", collapsed)],
        figures=figures,
        settings={
            "alpha": ", ".join(f"{a:.4g}" for a in alphas),
            "random starts": f"{count} of scales {', '.join(f'{s:g}' for s in SCALES)}, "
            f"seeds from 0",
        },
    )


def _row(setting: Setting, alpha: float) -> Row:
    """The ray and the proofs at one alpha."""
    problem: Any = setting.problem(alpha)
    ray = theory.unbounded_ray(setting.X, setting.latent, alpha)
    energy = jax.lax.map(lambda gamma: problem.loss(ray.at(gamma)), jnp.asarray(RAY))
    error = jax.lax.map(partial(_error, problem, ray), jnp.asarray(RAY))
    minimum = proof.certify(problem, problem.collapsed())
    certificates = (minimum, proof.certify_unbounded(problem))
    return Row(
        alpha=alpha,
        radius=minimum.numbers["radius"],
        proved=sum(proof.verify(certificate, setting.X).valid for certificate in certificates),
        energy=np.asarray(energy),
        error=np.asarray(error),
        slope=float(theory.ray_slope(problem.loss, ray, RAY[-2:])[-1]),
    )


def _error(problem: Any, ray: theory.Ray, gamma: Any) -> Any:
    """Squared error per coordinate on the ray, mean over data."""
    model = problem.autoencoder(ray.at(gamma))
    errors = jax.vmap(model.error)(model.mean, model.log_std, model.data)
    return jnp.mean(errors) / model.data.shape[1]


def _ended(setting: Setting, alphas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many starts end in collapse, and how many at no stationary point: (alpha, scale).
    Resumable.
    """
    results = store.create(
        setting.out / "prop41", setting.X, latent=setting.latent, optimizer=ADAM.name
    )
    cell = partial(
        starts.run, setting.X, setting.latent, setting.gamma, setting.beta, optimize.adam
    )
    axes: dict[str, Any] = {"alpha": alphas, "scale": SCALES, "seed": np.arange(setting.starts)}
    points = sweep.grid(cell, executor=setting.executor, store=results, **axes)
    reached = points.kind != Kind.NOT_STATIONARY
    return np.sum(points.theory.collapsed & reached, axis=-1), np.sum(~reached, axis=-1)


def _level(setting: Setting, alpha: float) -> float:
    """Energy of the collapsed point, which is the same at every alpha."""
    problem: Any = setting.problem(alpha)
    return float(problem.loss(problem.collapsed()))


def _trap(setting: Setting, rows: list[Row], ended: np.ndarray) -> Figure:
    """Which share of the starts collapses, and the proved radius."""
    shares = {
        f"starts of scale {s:g}": _intervals(ended[:, i], setting.starts)
        for i, s in enumerate(SCALES)
    }
    surface = setting.heading().split("\n")[0]
    how = f"{setting.starts} starts per point, {ADAM.name}"
    title = f"{surface}\n{how}; bars: 95\N{NO-BREAK SPACE}% intervals"
    axes = partial(
        plot.trap,
        [row.alpha for row in rows],
        shares,
        [row.radius for row in rows],
        title=title,
    )
    caption = (
        f"Share of {setting.starts} random starts that collapse, with 95 % confidence intervals, "
        f"and the proved radius."
    )
    return setting.draw("prop41", caption, axes)


def _intervals(counts: np.ndarray, starts: int) -> np.ndarray:
    """Shares with exact 95 % intervals (Clopper & Pearson), (alpha, 3)."""
    exact = [binomtest(int(c), starts).proportion_ci(method="exact") for c in counts]
    return np.array([(c / starts, e.low, e.high) for c, e in zip(counts, exact, strict=True)])


def _rays(setting: Setting, rows: list[Row], level: float) -> Figure:
    """Energy and error on some of the rays; level: of collapse."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, DRAWN).round().astype(int))
    energy, error = (
        {f"α = {rows[i].alpha:.3g}": getattr(rows[i], name) for i in chosen}
        for name in ("energy", "error")
    )
    return setting.draw(
        "prop41_rays",
        "Energy along rays to perfect reconstruction, and the squared error there.",
        partial(plot.rays, RAY, energy, error, level=level, title=setting.heading().split("\n")[0]),
    )


def _keep(setting: Setting, rows: list[Row], ended: np.ndarray, lost: np.ndarray) -> None:
    """All numbers as arrays on disk."""
    columns: dict[str, Any] = {
        "alpha": [row.alpha for row in rows],
        "scale": SCALES,
        "collapsed": ended,
        "not_stationary": lost,
        "starts": setting.starts,
        "gamma": RAY,
    }
    for name in ("radius", "energy", "error", "slope"):
        columns[name] = np.stack([getattr(row, name) for row in rows])
    keep(setting.out, "prop41", **columns)


def _table(rows: list[Row], ended: np.ndarray, count: int) -> str:
    """A row for each alpha: the ray, the proved radius, percentages of starts that collapse."""
    head = ["alpha", "energy on the ray", "error", "slope", "radius / alpha"]
    head += [f"% of scale {s:g}" for s in SCALES] + ["proofs"]
    cells = [
        [
            float(row.alpha),
            float(row.energy[-1]),
            float(row.error[-1]),
            row.slope,
            row.radius / row.alpha,
            *(f"{100 * c / count:.0f}" for c in collapsed),
            f"{row.proved} of 2",
        ]
        for row, collapsed in zip(rows, ended, strict=True)
    ]
    return tables.aligned(head, cells)


def _columns(count: int) -> str:
    """What the table has, for those to whom it is new."""
    return (
        f"In the table (prop41.txt): energy and squared error per coordinate on the ray to perfect "
        f"reconstruction, at gamma = {RAY[-1]:g}, and the energy's slope there in log gamma; the "
        f"length of the weight's rows up to which nothing is lower than collapse, over alpha; the "
        f"share of {count} starts of each scale that end in collapse; and how many of two proofs "
        f"were verified, that collapse is a strict local minimum and that the energy has no lower "
        f"bound."
    )


def _verdict(rows: list[Row], ended: np.ndarray, count: int, level: float) -> str:
    """Whether the proposition held; level: energy of collapse."""
    proved = all(row.proved == 2 for row in rows)
    perfect = all(row.error[-1] < PERFECT and row.energy[-1] < level for row in rows)
    least = min(row.radius / row.alpha for row in rows)
    error = max(row.error[-1] for row in rows)
    percent = 100 * ended / count
    return (
        f"The paper's claim {'held' if proved and perfect else 'did not hold'} here, at all "
        f"{len(rows)} values of alpha from {rows[0].alpha:g} to {rows[-1].alpha:g}: the data are "
        f"reproduced to {error:.1g}, the energy having no lower bound, and yet collapse is proved "
        f"a strict local minimum, lower than all else with rows of the weight up to {least:.4g} "
        f"alpha; of random starts {percent.min():.0f} to {percent.max():.0f} % end in it, "
        f"depending on alpha and scale, {percent.mean():.0f} % over all."
    )
