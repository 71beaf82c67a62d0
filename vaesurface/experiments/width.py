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
from vaesurface.experiments import tables
from vaesurface.experiments.study import Setting, keep
from vaesurface.experiments.ways import far_ends, way_out
from vaesurface.paths import basin, flows
from vaesurface.report import Figure, Study

__all__ = ["Row", "width"]

DIRECTIONS = 3  # leading principal directions along which the width is measured
REACH = np.geomspace(0.05, 20.0, 13)  # row norms, in alpha, that are tried
START = 0.5  # of the width: where the runs begin that noise may carry away
RATE = 0.02  # of Adam on sampled gradients at first; falls to zero along a cosine
NOISES = ((1, None), (10, None), (1, 4))  # samples, and parts that the data are cut into (None: 1)

Flows = dict[str, flows.Flow]  # by name
Shares = dict[
    str, list[tuple[float, float, float]]
]  # by a flow's name, per alpha: share, low, high


class Row(NamedTuple):
    """At one alpha.

    radius: certified.
    widths: along the leading principal directions.
    lengths: these beside the saddle's, or None where no lower place was found.
    rise, error: how much higher the saddle is, NaN where no lower place was found.
    """

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
    with setting.side_by_side() as crewed:
        rows = [_row(crewed, alpha) for alpha in alphas]
    sentences = [_conclusion(rows), *map(_sentence, rows)]
    shares: Shares = {}
    exact, noisy = _flows(steps, len(setting.X))
    for row in rows if runs else ():
        sentences += _taken(setting, row, runs, exact | noisy, shares)
        sentences += _kept(setting, row, runs, noisy)
    saddles = [math.nan if row.lengths is None else row.lengths.saddle for row in rows]
    curves: dict[str, Any] = {
        "certified": [row.radius for row in rows],
        "width": [np.asarray(row.widths.inner) for row in rows],
        "open_ended": [~np.isfinite(np.asarray(row.widths.outer)) for row in rows],
        "saddle": saddles,
    }
    rises, errors = ([getattr(row, name) for row in rows] for name in ("rise", "error"))
    columns: dict[str, Any] = {"alpha": alphas, "rise": rises, "error": errors, **curves}
    figures = _figures(setting, rows, curves, runs, shares)
    keep(setting.out, "basin", **columns)
    return setting.study(
        "basin",
        "How wide is the basin of collapse?",
        sentences,
        table=_table(rows, shares),
        columns=_columns(rows, shares),
        figures=figures,
        settings={
            "alpha": ", ".join(f"{a:g}" for a in alphas),
            "runs": runs,
            "steps of Adam": steps,
        },
    )


def _row(setting: Setting, alpha: float) -> Row:
    problem: Any = setting.problem(alpha)
    directions = basin.principal(problem, min(DIRECTIONS, setting.X.shape[1]))
    widths = basin.width(problem, problem.collapsed(), directions, alpha * REACH)
    radius = float(theory.collapse_radius(setting.X, alpha, setting.gamma, setting.beta).radius)
    way = way_out(problem, far_ends(problem, setting.ends(problem)), setting.executor)
    if way is None:
        return Row(alpha, radius, widths, None, math.nan, math.nan)
    lengths = basin.compare(problem, widths, way.crossing.saddle.params)
    return Row(alpha, radius, widths, lengths, way.crossing.height, way.crossing.height_error)


def _taken(setting: Setting, row: Row, runs: int, flows: Flows, shares: Shares) -> list[str]:
    """How many random starts each flow takes into collapse, which is added to shares; in words."""
    problem = setting.problem(row.alpha)
    keys = jax.random.split(jax.random.key(setting.seed), runs)
    sentences = []
    for name, flow in flows.items():
        volume = basin.volume(basin.ends(problem, keys, setting.scale, flow))
        shares.setdefault(name, []).append((volume.share, volume.low, volume.high))
        sentences.append(
            f"At alpha = {row.alpha:g}, {name} takes {volume.returned} of {volume.starts} random "
            f"starts of scale {setting.scale:g} into collapse: {_percent(volume)}."
        )
    return sentences


def _kept(setting: Setting, row: Row, runs: int, flows: Flows) -> list[str]:
    """How many runs begun well within the basin each flow keeps there, in words."""
    problem = setting.problem(row.alpha)
    keys = jax.random.split(jax.random.key(setting.seed), runs)
    begin = partial(_near, radius=START * float(np.min(row.widths.inner)))
    sentences = []
    for name, flow in flows.items():
        volume = basin.volume(basin.ends(problem, keys, 1.0, flow, begin))
        sentences.append(
            f"At alpha = {row.alpha:g}, begun within half the basin's width, {name} stays in "
            f"collapse in {volume.returned} of {volume.starts} runs: {_percent(volume)}."
        )
    return sentences


def _figures(
    setting: Setting, rows: list[Row], curves: dict[str, Any], runs: int, shares: Shares
) -> list[Figure]:
    """Lengths; how high the rim is, where two were found; shares, where there are any."""
    alphas, title = [row.alpha for row in rows], setting.heading()
    figures = [
        setting.draw(
            "basin_width",
            "The basin of collapse, in the norm of the weight's longest row.",
            partial(plot.basin_width, alphas, title=title, **curves),
        )
    ]
    rises, errors = [row.rise for row in rows], [row.error for row in rows]
    if len(rows) > 1 and any(map(math.isfinite, rises)):
        figures.append(
            setting.draw(
                "barrier",
                "Height of the rim, in units of alpha squared.",
                partial(plot.barrier_scaling, alphas, rises, error=errors, title=title),
            )
        )
    if shares:
        surface, _ = setting.heading().splitlines()
        counted = f"{surface}\n{runs} starts per point; bars: 95\N{NO-BREAK SPACE}% intervals"
        figures.append(
            setting.draw(
                "basin_volume",
                f"Share of {runs} random starts that collapse, with 95 % confidence intervals.",
                partial(plot.basin_volume, alphas, shares, scale=setting.scale, title=counted),
            )
        )
    return figures


def _conclusion(rows: Sequence[Row]) -> str:
    """How wide the basin is, in alpha, over all rows."""
    inner = [float(np.min(row.widths.inner)) / row.alpha for row in rows]
    left = [bool(np.isfinite(row.widths.outer[np.argmin(row.widths.inner)])) for row in rows]
    certified = [row.radius / row.alpha for row in rows]
    return (
        f"The basin of collapse is {'' if all(left) else 'at least '}{_between(inner)} alpha wide "
        f"along the narrowest direction tried, and nothing is lower within {_between(certified)} "
        f"alpha, in norms of the weight's longest row."
    )


def _between(values: Sequence[float]) -> str:
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low} to {high}"


def _columns(rows: Sequence[Row], shares: Shares) -> dict[str, list]:
    """A row for each alpha; of each way to descend the share of starts that collapse."""
    columns = {
        "alpha": [row.alpha for row in rows],
        "certified": [row.radius for row in rows],
        "narrowest": [float(np.min(row.widths.inner)) for row in rows],
        "saddle": [math.nan if row.lengths is None else float(row.lengths.saddle) for row in rows],
        "rise": [row.rise for row in rows],
    }
    return columns | {name: [share for share, *_ in each] for name, each in shares.items()}


def _table(rows: Sequence[Row], shares: Shares) -> str:
    """A row for each alpha: lengths of the weight's longest row; in a second table the percentage
    of random starts that each way to descend takes into collapse.
    """
    head = ["alpha", "certified", "narrowest", "saddle at", "rim height"]
    cells = [
        [
            row.alpha,
            row.radius,
            float(np.min(row.widths.inner)),
            math.nan if row.lengths is None else float(row.lengths.saddle),
            row.rise,
        ]
        for row in rows
    ]
    lengths = tables.aligned(head, cells)
    if not shares:
        return lengths
    percent = [
        [row.alpha, *(f"{100 * share[i][0]:.0f}" for share in shares.values())]
        for i, row in enumerate(rows)
    ]
    taken = tables.aligned(["alpha", *shares], percent)
    return f"{lengths}\n\nPercent of random starts that collapse:\n{taken}"


def _sentence(row: Row) -> str:
    """The three lengths side by side."""
    edges = zip(np.asarray(row.widths.inner), np.isfinite(row.widths.outer), strict=True)
    along = ", ".join(f"{'' if left else 'at least '}{w:.4g}" for w, left in edges)
    lengths = (
        f"At alpha = {row.alpha:g}, lengths being of the weight's longest row: nothing is lower "
        f"within {row.radius:.4g} (certified, on the region of theory.collapse_radius); descent "
        f"returns from up to {along} along the leading principal directions; "
    )
    if row.lengths is None:
        return lengths + "no way to a lower place over a saddle was found."
    lengths += f"the saddle lies at {row.lengths.saddle:.4g}, {row.rise:.5g} high. "
    if row.lengths.ordered:
        return lengths + "The three are in order."
    reasons = []
    if not row.lengths.returns:
        reasons.append(
            "descent leaves from within the certified radius, where energies are above collapse "
            "still"
        )
    if not row.lengths.inside:
        reasons.append("the saddle, whose gamma and bias are not those of the starts, is nearer")
    return lengths + f"The three are not in order: {'; '.join(reasons)}."


def _percent(volume: basin.Volume) -> str:
    share, low, high = (100 * x for x in (volume.share, volume.low, volume.high))
    return f"{share:.0f} % ({low:.0f} to {high:.0f} % with 95 % confidence)"


def _near(problem: Any, key: Any, scale: Any, radius: float) -> Any:
    """A start in a random direction of the weight, its longest row `radius` long, the rest as at
    collapse.
    """
    collapsed = problem.collapsed()
    weight = jax.random.normal(key, collapsed.weight.shape, collapsed.weight.dtype)
    longest = jnp.max(jnp.linalg.norm(weight, axis=1))
    return collapsed._replace(weight=scale * radius * weight / longest)


def _flows(steps: int, n: int) -> tuple[Flows, Flows]:
    """Ways to descend, by name: on the exact energy, and on what training sees of it."""
    exact: Flows = {
        "gradient flow": flows.gradient_flow,
        "second-order descent": flows.second_order_descent,
        "Adam": flows.optimized(optimize.adam(steps)),
    }
    noisy: Flows = {}
    for samples, parts in NOISES:
        batch = None if parts is None else max(1, n // parts)
        name = f"Adam, {samples} sample{'s' * (samples > 1)}"
        if batch is not None:
            name += f", batch {batch}"
        adam = optax.adam(optax.cosine_decay_schedule(RATE, steps))
        loss = partial(vae.sampled_loss, samples=samples, batch=batch)
        noisy[name] = flows.noisy(optimize.descend_noisily(adam, steps, name), loss)
    return exact, noisy
