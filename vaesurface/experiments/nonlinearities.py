"""Which perturbations of an affine decoder make collapse a trap?

Proposition 4.1 of Dai, Wang & Wipf (ICML 2020) says of the soft threshold that it does. Here every
activation by name is asked the same: how many directions lead down from collapse
(`theory.corner`), from which alpha on none does, how far around nothing is lower, how high the way
out is, and how many of Adam's starts end there. The starts are paired: the same for all
activations and alphas, up to scale.

>>> from vaesurface import activations
>>> signs = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
>>> judge = judged(jnp.asarray(signs * np.sqrt([2.0, 0.5])), latent=3, beta=1.0)
>>> judge(activations.named("tanh"), 0.9), judge(activations.named("soft threshold"), 0.1)
(Down(known=3, open=0), Down(known=0, open=0))
>>> where_none_is_left(judge, activations.named("soft threshold"))
0.0
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib import pyplot as plt

from vaesurface import activations, data, files, optimize, paths, plot, stationary, sweep, theory
from vaesurface.activations import Activation
from vaesurface.experiments import nonlinear_words as words
from vaesurface.experiments import starts
from vaesurface.experiments.member import PAPERS, Member
from vaesurface.experiments.nonlinear_words import Down, Row
from vaesurface.experiments.study import Setting, keep, verdict
from vaesurface.refusal import complaint
from vaesurface.report import Figure, Study
from vaesurface.stationary import Kind
from vaesurface.theory import corner
from vaesurface.theory.corner import Threshold, threshold
from vaesurface.vae import corners

__all__ = [
    "FULL",
    "PLAN",
    "QUICK",
    "Plan",
    "judged",
    "nonlinearities",
    "of_data",
    "where_none_is_left",
]

Judge = Callable[[Activation, float], Down]

LEAST = 1e-300  # alpha that stands for its limit 0
SMOOTH = activations.NAMED["tanh"]
CLOSE = 1e-12  # to which an alpha is looked for
GRID = np.linspace(0.0, 1.0, 201)  # alphas of the thresholds' curves
SPECTRUM = (2.0, 1.2, 0.5, 0.3)  # of the Gaussian data: two latents pay
GAUSSIAN, DIGITS = 24, 24  # numbers of data where none are named
COUNTS = 16  # that digits' grey values go up to
LOWER = 1e-9  # of the energy: what is lower than collapse by so much is lower


class Plan(NamedTuple):
    """How much is computed.

    names: of activations. alphas: > 0, ascending. scales, starts: of random starts; starts per
    seed, scale, alpha and activation. steps: of Adam. latent: k.
    """

    names: tuple[str, ...]
    alphas: tuple[float, ...]
    scales: tuple[float, ...]
    starts: int
    steps: int
    latent: int


NAMES = tuple(name for name in activations.NAMED if name != "identity")
PLAN = Plan(NAMES, (0.1, 0.5, 0.9), (0.01, 0.1, 1.0), starts=10, steps=2000, latent=2)
FULL = PLAN._replace(starts=100)
QUICK = PLAN._replace(
    names=("soft threshold", "tanh", "relu", "abs"), alphas=(0.1, 0.9), starts=3, steps=1000
)


def of_data(source: str | None, limit: int | None, member: Member) -> tuple[np.ndarray, str]:
    """Data and what they are called; where none are named, some of which affine latents pay.

    Of likelihoods other than the Gaussian, features that are the same in all data are left out:
    their best bias is infinite, so that nothing would be stationary.
    """
    if member.likelihood.startswith("gaussian"):
        if source is not None:
            return data.load(source, limit=limit), Path(source).name
        n = limit or GAUSSIAN
        return data.gaussian(n, SPECTRUM, seed=0), f"gaussian, n = {n}"
    rows = data.load(source or "digits-4x4", limit=limit if source else limit or DIGITS)
    name = Path(source or "digits-4x4").name
    if source is None and member.likelihood == "bernoulli":
        rows, name = (rows > 0.5).astype(float), f"{name} above 1/2"
    elif source is None:
        rows, name = np.round(COUNTS * rows), f"{name} as counts up to {COUNTS}"
    varying = rows[:, np.ptp(rows, axis=0) > 0]
    return varying, f"{name}, n = {len(rows)}, {varying.shape[1]} features that vary"


def nonlinearities(
    plan: Plan,
    seeds: int,
    X: np.ndarray,
    source: str,
    member: Member,
    out: Path,
    command: str,
    executor: Any = sweep.threads,
    progress: Any = None,
) -> tuple[Study, str]:
    """The study, and its table as Markdown, which is written beside it; resumable.

    X (n, d), called source; member: of the family, but for the activation. progress: as for
    `sweep.fill`. Raises ValueError where no activation makes a problem of them, and for a
    likelihood of groups.
    """
    if member.likelihood == "categorical":
        raise complaint(
            "a likelihood of coordinates one by one", member.likelihood, "take another: bernoulli"
        )
    setting = Setting(
        X=X,
        source=source,
        latent=plan.latent,
        gamma=None,
        beta=1.0,
        starts=plan.starts * seeds,
        scale=plan.scales[0],
        seed=0,
        out=out,
        command=command,
        executor=executor,
        member=member._replace(activation=PAPERS.activation),
    )
    settings, left_out = _settings(plan, setting)
    # How terms depend on what the decoder says does not depend on what it is bent by.
    smooth: Any = setting._replace(member=member._replace(activation=SMOOTH)).problem(0.0)
    leaning = smooth.leaning()
    residual = corners.residual(leaning)
    ratios = np.asarray(theory.eigenvalues(residual))
    judge = judged(residual, plan.latent, setting.beta)
    radius = partial(_radius, corners.pull(leaning, jnp.asarray(setting.beta)), leaning.cubic)
    known = {name: _theory(plan, one, name, judge, radius) for name, one in settings.items()}
    rows = [_measured(plan, settings[name], row, progress) for name, row in known.items()]
    text = words.table(plan.alphas, plan.scales, setting.starts, rows)
    files.write(out / "nonlinearities.md", text)
    _keep(plan, setting, rows, ratios)
    study = setting.study(
        "nonlinearities",
        "Which perturbations make collapse a trap?",
        words.sentences(
            f"{setting.title}, {plan.latent} latents",
            plan.latent,
            plan.alphas,
            setting.starts,
            setting.beta,
            ratios,
            rows,
            left_out,
        ),
        verdicts=[_collapsed(plan, settings[row.name]) for row in rows if row.right[-1]],
        figures=[_figure(plan, setting, settings, ratios, rows)],
        settings={
            "activation": ", ".join(settings),
            "alpha": ", ".join(f"{a:g}" for a in plan.alphas),
            "random starts": f"{setting.starts} of scales "
            f"{', '.join(f'{s:g}' for s in plan.scales)}, seeds from 0",
            "optimizer": optimize.adam(plan.steps).name,
        },
    )
    return study, text


def _settings(plan: Plan, setting: Setting) -> tuple[dict[str, Setting], dict[str, str]]:
    """One for each activation that there is with the likelihood, and why there are no others."""
    there, left_out = {}, {}
    for name in plan.names:
        member = setting.member._replace(activation=activations.named(name))
        one = setting._replace(member=member)
        try:
            one.problem(plan.alphas[-1])
        except ValueError as error:
            left_out[name] = str(error)
        else:
            there[name] = one
    if not there:
        raise ValueError(next(iter(left_out.values())))
    return there, left_out


def judged(residual: Array, latent: int, beta: float) -> Judge:
    """How many directions lead down from collapse, as a function of an activation and alpha.

    residual (n, d): what the constant decoder leaves, in units of sqrt(D).
    """

    @jax.jit
    def count(left: Any, right: Any) -> Array:
        size = latent * residual.shape[1]
        counts, _ = corner.judged(residual, latent, corner.corner(left, right), beta, size)
        return counts[:2]

    def judge(bend: Activation, alpha: float) -> Down:
        if float(bend.dead_zone(alpha)) > 0:
            return Down(known=0, open=0)
        return Down(*(int(number) for number in count(*_slopes(bend, alpha))))

    return judge


def where_none_is_left(judge: Judge, bend: Activation) -> float:
    """The least alpha from which on no direction is known to lead down from collapse, 0 where that
    is so at every alpha > 0; NaN where some do up to alpha = 1. To 1e-12.
    """

    def none(alpha: float) -> bool:
        return judge(bend, max(alpha, LEAST)).known == 0

    gone = [none(alpha) for alpha in GRID]
    if not any(gone):
        return math.nan
    first = gone.index(True)
    if first == 0:
        return 0.0
    low, high = float(GRID[first - 1]), float(GRID[first])
    while high - low > CLOSE:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if none(middle) else (middle, high)
    return high


def _theory(plan: Plan, setting: Setting, name: str, judge: Judge, radius: Any) -> Row:
    """What is known of one activation before anything is run."""
    bend = setting.member.activation
    alphas = (LEAST, *plan.alphas)
    return Row(
        name=name,
        cuts=[_cuts(bend, alpha, setting.beta) for alpha in alphas],
        down=[judge(bend, alpha) for alpha in alphas],
        gone=where_none_is_left(judge, bend),
        right=[_right(bend, alpha, judge) for alpha in plan.alphas],
        radius=[radius(bend, alpha) for alpha in plan.alphas],
    )


@partial(jax.jit, static_argnums=0)
def _slopes(bend: Activation, alpha: Any) -> tuple[Array, Array]:
    """Of f_alpha at 0, from the left and from the right."""
    return bend.slopes(alpha)


def _cuts(bend: Activation, alpha: float, beta: float) -> Threshold:
    """Eigenvalues up to which no latent pays at one alpha, and above which one does."""
    left, right = (float(slope) for slope in _slopes(bend, alpha))
    return threshold(left, right, beta)


def _right(bend: Activation, alpha: float, judge: Judge) -> str:
    """By what right collapse is a strict local minimum; empty where it is none, or not known to
    be one.
    """
    if float(bend.dead_zone(alpha)) > 0:
        return "dead zone"
    if any(judge(bend, alpha)):
        return ""
    left, right = (float(slope) for slope in _slopes(bend, alpha))
    return "Hessian" if left == right else "leading form"


def _radius(pull: Any, cubic: float, bend: Activation, alpha: float) -> float:
    """Of the certified region, over alpha; NaN where there is no dead zone."""
    zone = float(bend.dead_zone(alpha))
    return float(theory.dead_zone_radius(zone, pull, cubic)) / alpha if zone > 0 else math.nan


def _measured(plan: Plan, setting: Setting, row: Row, progress: Any) -> Row:
    """With what starts and ways out tell. Resumable."""
    asked = starts.asked(
        setting.X,
        setting.source,
        plan.latent,
        alpha=plan.alphas,
        scale=plan.scales,
        seeds=setting.starts,
        beta=setting.beta,
        make_optimizer=partial(optimize.adam, plan.steps),
        of=setting.member,
    )
    place = setting.out / "nonlinearities" / row.name.replace(" ", "-")
    shown = None if progress is None else partial(progress, desc=row.name)
    swept = starts.compute(asked, place, executor=setting.executor, progress=shown)
    ds = swept.ds.transpose("alpha", "scale", "seed", ...)
    level = np.array([_level(setting, alpha) for alpha in plan.alphas])
    reached = ds.kind.values != Kind.NOT_STATIONARY
    collapsed = reached & ds.theory_collapsed.values
    lower = ds.loss.values < (level - LOWER * np.maximum(1.0, np.abs(level)))[:, None, None]
    passes = [
        _way_out(setting, swept, alpha, i, lower[i] & reached[i])
        if row.right[i] and lower[i].any()
        else (np.nan, False)
        for i, alpha in enumerate(plan.alphas)
    ]
    counted = ds.inertia_negative.values
    exact = np.array([down.known for down in row.down[1:]])[:, None, None]
    return row._replace(
        collapsed=collapsed.sum(axis=-1),
        lost=(~reached & ~lower).sum(axis=-1),
        lower=lower.any(axis=(1, 2)),
        barrier=[height for height, _ in passes],
        home=[home for _, home in passes],
        agree=(int((collapsed & (counted == exact)).sum()), int(collapsed.sum())),
    )


def _level(setting: Setting, alpha: float) -> float:
    """Energy of the collapsed point."""
    problem: Any = setting.problem(alpha)
    return float(problem.loss(problem.collapsed()))


def _way_out(
    setting: Setting, swept: starts.Sweep, alpha: float, place: int, below: np.ndarray
) -> tuple[float, bool]:
    """Height over alpha^2 of the pass towards the lowest end that is a stationary point, and
    whether it is one out of collapse; NaN where none was found.
    """
    if not below.any():
        return np.nan, False
    ds = swept.ds.transpose("alpha", "scale", "seed", ...).isel(alpha=place)
    scale, seed = np.unravel_index(np.argmin(np.where(below, ds.loss, np.inf)), below.shape)
    far = jax.tree.map(jnp.asarray, starts.params(ds.isel(scale=scale, seed=seed)))
    problem: Any = setting.problem(alpha)
    crossing = paths.barrier(problem, problem.collapsed(), far)
    if crossing is None:
        return np.nan, False
    return crossing.height / alpha**2, crossing.home


def _collapsed(plan: Plan, setting: Setting) -> dict[str, Any]:
    """The collapsed point at the largest alpha, judged."""
    alpha = plan.alphas[-1]
    problem: Any = setting.problem(alpha)
    point = stationary.analyze(problem, problem.collapsed())
    return verdict(f"collapsed point, {setting.member.activation.name}, alpha = {alpha:g}", point)


def _figure(
    plan: Plan,
    setting: Setting,
    settings: dict[str, Setting],
    ratios: np.ndarray,
    rows: list[Row],
) -> Figure:
    """Thresholds over alpha, and shares of starts that collapse at the largest alpha."""
    beta, last = setting.beta, plan.alphas[-1]
    curves = {
        name: [np.divide(_cuts(one.member.activation, max(a, LEAST), beta), beta) for a in GRID]
        for name, one in settings.items()
    }
    shares = {
        f"scale {scale:g}": [words.interval(row.collapsed[-1, i], setting.starts) for row in rows]
        for i, scale in enumerate(plan.scales)
    }

    def axes():
        size = (plot.COLUMN, 3.4 + 0.17 * len(rows))
        figure = plt.figure(figsize=size)
        above, below = figure.subplots(2, height_ratios=(1.0, 0.3 + 0.09 * len(rows)))
        title = f"{setting.title}, {setting.latent} latents, β = {beta:g}"
        plot.collapse_cuts(GRID, curves, ratios / beta, above, title=title)
        traps = [row.name for row in rows if row.right[-1]]
        names = [row.name for row in rows]
        return plot.collapse_by_activation(
            names,
            shares,
            below,
            traps=traps,
            title=f"α = {last:g}, {setting.starts} starts per row, Adam, {plan.steps} steps\n"
            f"bars: 95\N{NO-BREAK SPACE}% intervals; bold: collapse is a minimum",
        )

    caption = (
        f"Above: the eigenvalue of D^(-1/2) S D^(-1/2) above which directions lead down from "
        f"collapse, for every activation (shaded: the signs of the data's directions decide), and "
        f"the data's own (dotted). Below: share of {setting.starts} starts of each scale that "
        f"collapse at alpha = {last:g}, with 95 % confidence intervals; bold: collapse is a strict "
        f"local minimum there."
    )
    return setting.draw("nonlinearities", caption, axes)


def _keep(plan: Plan, setting: Setting, rows: list[Row], ratios: np.ndarray) -> None:
    """All numbers as arrays on disk."""
    columns: dict[str, Any] = {
        "alpha": plan.alphas,
        "scale": plan.scales,
        "starts": setting.starts,
        "ratios": ratios,
        "activation": [row.name for row in rows],
    }
    for name in ("cuts", "down", "gone", "radius", "collapsed", "lost", "barrier", "home"):
        columns[name] = np.stack([np.asarray(getattr(row, name)) for row in rows])
    keep(setting.out, "nonlinearities", **columns)
