"""Which cures are there, whose are they, and where do they apply?

A `Cure` is a few lines: perhaps another surface, another start, another way down; then the run is
ended on that surface's own energy, and judged there.

>>> for cure in CURES[:4]:
...     print(f"{cure.name} ({cure.moves})")
plain (nothing)
longer (nothing)
larger start (start)
KL warm-up (way)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from vaesurface.cure import schedules, starts, surfaces
from vaesurface.cure.descent import Way, finish
from vaesurface.problem import Params
from vaesurface.traps import End, Trap, judge

__all__ = ["CURES", "Cure", "cured"]

Run = Callable[[Way, Any, Params, Array], Params]
# Of a problem, the scale of plain starts, a key, and the affine optimum or None.
Begin = Callable[[Any, Any, Array, Any], Params]


def _itself(problem: Any) -> Any:
    return problem


def _drawn(problem: Any, scale: Any, key: Array, _: Any) -> Params:
    return problem.init(key, scale)


def _enlarged(problem: Any, scale: Any, key: Array, _: Any) -> Params:
    return starts.larger(problem, scale, key)


def _there(way: Way, problem: Any, start: Params, key: Array) -> Params:
    return start


def _once(way: Way) -> int:
    return way.steps


def _anywhere(trap: Trap) -> str:
    return ""


def _never(trap: Trap) -> bool:
    return False


def _always(trap: Trap) -> bool:
    return True


class Cure(NamedTuple):
    """What may help against collapse.

    name: of it.
    source: the paper it comes from.
    moves: what it changes, "start", "way" or "surface"; "nothing" of what others are compared with.
    run: (way, problem, start, key) -> parameters, its own part of the descent.
    begin: (problem, scale, key, affine optimum) -> start.
    surface: problem -> problem.
    lacking: trap -> why it does not apply there; "" where it does.
    changes: trap -> whether the surface is another one then.
    cost: way -> gradients in all.
    """

    name: str
    source: str
    moves: str
    run: Run = schedules.plain
    begin: Begin = _drawn
    surface: Callable[[Any], Any] = _itself
    lacking: Callable[[Trap], str] = _anywhere
    changes: Callable[[Trap], bool] = _never
    cost: Callable[[Way], int] = _once


def cured(cure: Cure, way: Way, problem: Any, scale: Any, place: Any, key: Array) -> End:
    """The end of one run. The same key is the same start for all cures that do not change it."""
    begin, run, end = jax.random.split(key, 3)
    own = cure.surface(problem)
    start = cure.begin(own, scale, begin, place)
    return judge(own, finish(way, own, cure.run(way, own, start, run), end))


def _exact_only(trap: Trap) -> str:
    return "a network has no alpha" if trap.deep else ""


def _bent(trap: Trap) -> str:
    if not trap.deep and not float(trap.problem.alpha) > 0:
        return "the surface is affine already"
    return _exact_only(trap)


def _affine(trap: Trap) -> str:
    if trap.deep:
        return "networks are not given an affine map's weights"
    return "" if trap.affine is not None else "the affine energy has no lower bound"


def _rows(trap: Trap) -> str:
    if trap.deep:
        return "a network has no rows that stay at zero"
    return _bent(trap)


def _held(trap: Trap) -> str:
    return "gamma is learned already" if trap.learned else ""


def _weighted(trap: Trap) -> str:
    return "" if float(trap.problem.beta) > 1 else "beta is not above 1"


def _networks(trap: Trap) -> str:
    return "" if trap.deep else "the decoder has one layer"


def _wide(trap: Trap) -> str:
    if trap.deep or 2 * trap.problem.latent <= trap.problem.X.shape[1]:
        return ""
    return "there are no more features"


def _is_held(trap: Trap) -> bool:
    return not trap.learned


def _freed_if_held(problem: Any) -> Any:
    return problem if problem.gamma is None else surfaces.freed(problem)


def _beside(problem: Any, scale: Any, key: Array, place: Any) -> Params:
    return starts.beside(problem, scale, key, place)


CURES = (
    Cure("plain", "Kingma & Ba 2015 (Adam)", "nothing"),
    Cure(
        "longer",
        "twice the steps, what any schedule has to beat",
        "nothing",
        run=schedules.longer,
        cost=lambda way: 2 * way.steps,
    ),
    Cure("larger start", "ten times the scale", "start", begin=_enlarged),
    Cure("KL warm-up", "Bowman 2016; Soenderby 2016", "way", run=schedules.warm_up),
    Cure("cyclical annealing", "Fu 2019", "way", run=schedules.cyclical),
    Cure("free bits", "Kingma 2016", "way", run=schedules.free_bits),
    Cure("delta-VAE floor", "Razavi 2019", "way", run=schedules.floor),
    Cure("aggressive encoder", "He 2019", "way", run=schedules.aggressive),
    Cure("alpha homotopy", "continuation", "way", run=schedules.homotopy, lacking=_bent),
    Cure(
        "affine optimum",
        "Tipping & Bishop 1999 (PCA)",
        "start",
        run=_there,
        begin=_beside,
        lacking=_affine,
        cost=lambda way: way.last,
    ),
    Cure("autoencoder first", "Dai, Wang & Wipf 2020", "start", run=starts.autoencoder),
    Cure(
        "leaving dead rows",
        "theory.dead_rows",
        "start",
        run=starts.dead_rows,
        lacking=_rows,
        cost=lambda way: way.steps + way.last,
    ),
    Cure(
        "learned gamma",
        "Dai & Wipf 2019; Lucas 2019",
        "surface",
        surface=surfaces.freed,
        lacking=_held,
        changes=_always,
    ),
    Cure(
        "gamma at its optimum",
        "Rybkin 2021",
        "surface",
        run=surfaces.best_gamma,
        surface=_freed_if_held,
        changes=_is_held,
    ),
    Cure(
        "beta = 1",
        "Kingma & Welling 2014 (the ELBO)",
        "surface",
        surface=surfaces.unweighted,
        lacking=_weighted,
        changes=_always,
    ),
    Cure(
        "more latents",
        "twice as many",
        "surface",
        surface=surfaces.widened,
        lacking=_wide,
        changes=_always,
    ),
    Cure(
        "skip connections",
        "Dieng 2019",
        "surface",
        surface=surfaces.skipping,
        lacking=_networks,
        changes=_always,
    ),
)
