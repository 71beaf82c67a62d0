"""How wide is the basin of collapse, how large, and does noise carry runs out of it?"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vaesurface import optimize, plot, theory, vae
from vaesurface.experiments.study import Setting, far_ends, way_out
from vaesurface.paths import basin
from vaesurface.problem import Problem
from vaesurface.report import Study

DIRECTIONS = 3  # leading principal directions along which the width is measured
REACH = np.geomspace(0.05, 20.0, 13)  # row norms, in alpha, that are tried
START = 0.5  # of the width: where the runs begin that noise may carry away


class Row(NamedTuple):
    """At one alpha. lengths, rise and error: None and NaN where no lower place was found."""

    alpha: float
    radius: float
    widths: basin.Width
    lengths: basin.Lengths | None
    rise: float
    error: float


def width(setting: Setting, alphas: Sequence[float], runs: int, steps: int) -> Study:
    """Widths at every alpha > 0; runs: random starts per alpha and way to descend (0: none); steps:
    of Adam.
    """
    rows = [_row(setting, alpha) for alpha in alphas]
    said = [_sentence(row) for row in rows]
    shares: dict[str, list] = {}
    exact, noisy = _flows(steps, len(setting.X))
    for row in rows if runs else ():
        problem = setting.problem(row.alpha)
        keys = jax.random.split(jax.random.key(setting.seed), runs)
        for name, flow in (exact | noisy).items():
            v = basin.volume(basin.ends(problem, keys, setting.scale, flow))
            shares.setdefault(name, []).append((v.share, v.low, v.high))
            said.append(
                f"At alpha = {row.alpha:g}, {name} takes {v.returned} of {v.starts} random "
                f"starts of scale {setting.scale:g} "
                f"into collapse: {_percent(v)}."
            )
        begin = partial(_near, radius=START * float(np.min(row.widths.inner)))
        for name, flow in noisy.items():
            v = basin.volume(basin.ends(problem, keys, 1.0, flow, begin))
            said.append(
                f"At alpha = {row.alpha:g}, begun within half the basin's width, {name} stays in "
                f"collapse in {v.returned} of "
                f"{v.starts} runs: {_percent(v)}."
            )
    curves: dict[str, Any] = {
        "certified": [row.radius for row in rows],
        "width": [
            np.where(np.isfinite(row.widths.outer), row.widths.inner, np.nan) for row in rows
        ],
        "saddle": [math.nan if row.lengths is None else row.lengths.saddle for row in rows],
    }
    figures = [
        setting.draw(
            "basin_width",
            "The basin of collapse, in the norm of the weight's longest row.",
            lambda: plot.basin_width(alphas, title=setting.source, **curves),
        )
    ]
    rises, errors = ([getattr(row, name) for row in rows] for name in ("rise", "error"))
    if len(rows) > 1 and any(map(math.isfinite, rises)):
        caption = "Height of the rim, in units of alpha squared."
        drawn = partial(plot.barrier_scaling, alphas, rises, error=errors, title=setting.source)
        figures.append(setting.draw("barrier", caption, drawn))
    if shares:
        caption = f"Share of {runs} random starts that collapse, with 95 % confidence intervals."
        drawn = partial(
            plot.basin_volume, alphas, shares, scale=setting.scale, title=setting.source
        )
        figures.append(setting.draw("basin_volume", caption, drawn))
    np.savez(
        setting.out / "basin.npz",
        allow_pickle=False,
        alpha=alphas,
        rise=rises,
        error=errors,
        **curves,
    )
    settings = {"alpha": ", ".join(f"{a:g}" for a in alphas), "runs": runs, "steps of Adam": steps}
    return setting.study(
        "basin", "How wide is the basin of collapse?", said, figures=figures, settings=settings
    )


def _row(setting: Setting, alpha: float) -> Row:
    problem = setting.problem(alpha)
    directions = basin.principal(problem, min(DIRECTIONS, setting.X.shape[1]))
    widths = basin.width(problem, problem.collapsed(), directions, alpha * REACH)  # type: ignore[misc]
    radius = float(theory.collapse_radius(setting.X, alpha, setting.gamma, setting.beta).radius)
    crossing = way_out(problem, far_ends(problem, setting.ends(problem)))
    if crossing is None:
        return Row(alpha, radius, widths, None, math.nan, math.nan)
    lengths = basin.compare(problem, widths, crossing.transition.saddle.params)
    return Row(alpha, radius, widths, lengths, crossing.rise, crossing.error)


def _sentence(row: Row) -> str:
    edges = zip(np.asarray(row.widths.inner), np.isfinite(row.widths.outer), strict=True)
    along = ", ".join(f"{'' if found else 'at least '}{w:.4g}" for w, found in edges)
    said = (
        f"At alpha = {row.alpha:g}, lengths being of the weight's longest row: nothing is lower "
        f"within {row.radius:.4g} "
        f"(certified, on the region of theory.collapse_radius); "
        f"descent returns from up to {along} along the leading principal directions; "
    )
    if row.lengths is None:
        return said + "no way to a lower place over a saddle was found."
    said += f"the saddle lies at {row.lengths.saddle:.4g}, {row.rise:.5g} high. "
    if row.lengths.ordered:
        return said + "The three are in order."
    why = [
        "descent leaves from within the certified radius, where energies are above collapse still"
    ] * (not row.lengths.returns)
    why += ["the saddle, whose gamma and bias are not those of the starts, is nearer"] * (
        not row.lengths.inside
    )
    return said + f"The three are not in order: {'; '.join(why)}."


def _percent(v: basin.Volume) -> str:
    return f"{100 * v.share:.0f} % ({100 * v.low:.0f} to {100 * v.high:.0f} % with 95 % confidence)"


def _near(problem: Problem, key: Any, scale: Any, radius: float) -> Any:
    """A start in a random direction of the weight, its longest row `radius` long, the rest as at
    collapse.
    """
    collapsed = problem.collapsed()  # type: ignore[misc]
    weight = jax.random.normal(key, collapsed.weight.shape, collapsed.weight.dtype)
    longest = jnp.max(jnp.linalg.norm(weight, axis=1))
    return collapsed._replace(weight=scale * radius * weight / longest)


def _flows(steps: int, n: int) -> tuple[dict[str, basin.Flow], dict[str, basin.Flow]]:
    """Ways to descend, by name: on the exact energy, and on what training sees of it."""
    exact = {
        "gradient flow": basin.gradient_flow,
        "second-order descent": basin.second_order_descent,
        "Adam": basin.optimized(optimize.adam(steps)),
    }
    noisy = {}
    for samples, batch in ((1, None), (10, None), (1, max(1, n // 4))):
        name = f"Adam, {samples} sample{'s' * (samples > 1)}" + f", batch {batch}" * (
            batch is not None
        )
        step = optimize.descend_noisily(
            optax.adam(optax.cosine_decay_schedule(0.02, steps)), steps, name
        )
        noisy[name] = basin.noisy(step, partial(vae.sampled_loss, samples=samples, batch=batch))
    return exact, noisy
