"""Which cure worked on traps like this case, how surely, and what does it cost?

Like it means: the same kind of collapse, by gamma or by beta, networks or an exact energy, gamma
learned or held. The board is the one that `vaesurface cure` filled and that the package holds. A
cure worked where more of the plain runs that collapsed were moved out than in (exact test, 5 %),
and at least half of them.

>>> trap = {"trap": "a", "kind": "LOCAL", "deep": True, "learned": True, "beta": 1.0}
>>> trap |= {"changed": False, "starts": 20, "cost": 1.0, "over": None}
>>> entries = [
...     trap | {"cure": "plain", "collapsed": 9, "out": 0, "into": 0},
...     trap | {"cure": "KL warm-up", "collapsed": 1, "out": 8, "into": 0},
... ]
>>> found = advice(Case(Collapse.LOCAL, deep=True, learned=True, ratio=2.0), entries)
>>> found.cure, found.rescued.words
('KL warm-up', '52 to 100 %')
>>> print(advice(Case(Collapse.FLEXIBLE, deep=True, learned=True, ratio=2.0), entries))
None
"""

import json
import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import binomtest

from vaesurface.cure.cures import CURES
from vaesurface.diagnose import Collapse, Diagnosis
from vaesurface.traps import Share

__all__ = ["Advice", "Case", "advice", "diagnosed", "rescued", "stored"]

WORKED = 0.5  # of the plain runs that collapse, at least, are moved out
SURE = 0.05  # level of the test
UNBOUNDED = (
    "the data lie in no more dimensions than there are latents, so that a learned gamma goes to 0"
)


class Case(NamedTuple):
    """What is to be cured.

    kind: of collapse.
    deep: whether it is a network, not an exact energy.
    learned: whether gamma is.
    ratio: leading eigenvalue of what is not reconstructed over beta gamma.
    beta: weight of the KL part.
    weighted: whether it is beta that is too large: at beta = 1 a latent would pay as gamma is.
    optimal: whether collapse is known to be the best there is, at this gamma and beta.
    unlike: why no trap can be like it; "" where one can.
    """

    kind: Collapse
    deep: bool
    learned: bool
    ratio: float
    beta: float = 1.0
    weighted: bool = False
    optimal: bool = False
    unlike: str = ""


class Advice(NamedTuple):
    """What the board says.

    cure: its name; "" where none worked.
    rescued: of runs that collapse plainly, those that do not with the cure (the best one's, where
        none worked).
    into: of the other runs, how many collapse with it.
    others: how many those are.
    cost: gradients over those of a plain run.
    changed: whether the surface is another one then.
    traps: that are like the case.
    best: name of the cure that moved most out, whatever it costs.
    over: median energy at the ends over the optimum, summed over traps; inf where the surface is
        another one or has no lower bound.
    """

    cure: str
    rescued: Share
    into: int
    others: int
    cost: float
    changed: bool
    traps: tuple[str, ...]
    best: str
    over: float


def diagnosed(diagnosis: Diagnosis) -> Case:
    """The case of a trained VAE."""
    leading, component = float(diagnosis.residual[0]), diagnosis.component
    return Case(
        kind=diagnosis.kind,
        deep=True,
        learned=not diagnosis.fixed,
        ratio=leading / diagnosis.level,
        beta=diagnosis.beta,
        weighted=diagnosis.kind == Collapse.GAMMA and _by_beta(leading, diagnosis),
        optimal=component is not None and component.proved and component.gain == 0.0,
        unlike=_unlike(diagnosis),
    )


def _by_beta(leading: float, diagnosis: Diagnosis) -> bool:
    """Whether, as gamma is, a latent would pay at beta = 1, or gamma is learned already."""
    return diagnosis.beta > 1.0 and (leading > diagnosis.gamma or not diagnosis.fixed)


def _unlike(diagnosis: Diagnosis) -> str:
    if diagnosis.likelihood is not None:
        return f"its likelihood is {diagnosis.likelihood.name}, those of the board are Gaussian"
    if diagnosis.scaled:
        return "its gamma differs between coordinates, on the board it is one number"
    if diagnosis.kind == Collapse.GAMMA and diagnosis.unbounded:
        return UNBOUNDED
    return ""


@cache
def stored() -> tuple[dict[str, Any], ...]:
    """The entries of the board that the package holds, as `experiments.cures.record` makes them."""
    path = Path(__file__).with_name("scoreboard.json")
    return tuple(json.loads(path.read_text()))


def advice(case: Case, entries: Iterable[dict[str, Any]] | None = None) -> Advice | None:
    """The cheapest cure that worked, of those equally cheap the one that moved most out, then the
    one that ended lowest; None where no trap that holds plain runs is like the case.

    entries: of a board, by default `stored`.
    """
    chosen = [e for e in (stored() if entries is None else entries) if _is_like(case, e)]
    plain = {e["trap"]: e["collapsed"] for e in chosen if e["cure"] == CURES[0].name}
    chosen = [e for e in chosen if plain.get(e["trap"])]
    found = [_summed(name, chosen, plain) for name in _names(chosen)]
    if not found:
        return None
    best = max(found, key=lambda one: (one.rescued.value, -one.cost, -one.over))
    worked = [one for one in found if one.cure]
    cheapest = min(worked, key=lambda one: (one.cost, -one.rescued.value, one.over), default=best)
    name = cheapest.cure if worked else ""
    return cheapest._replace(cure=name, best=best.best)


def _is_like(case: Case, entry: dict[str, Any]) -> bool:
    own = case.kind.name, case.deep, case.learned
    weighted = entry["kind"] == Collapse.GAMMA.name and entry["beta"] > 1.0
    same = (entry["kind"], entry["deep"], entry["learned"]) == own
    return same and weighted == case.weighted and not case.unlike


def _names(entries: Sequence[dict[str, Any]]) -> list[str]:
    """Of the cures that apply to all of the traps."""
    traps = {e["trap"] for e in entries}
    by_cure: dict[str, set[str]] = {}
    for e in entries:
        by_cure.setdefault(e["cure"], set()).add(e["trap"])
    return [name for name, own in by_cure.items() if own == traps and name != CURES[0].name]


def _summed(name: str, entries: Sequence[dict[str, Any]], plain: dict[str, int]) -> Advice:
    """Of one cure over all of the traps; cure is "" where it did not work."""
    own = [e for e in entries if e["cure"] == name]
    out, into = (sum(e[key] for e in own) for key in ("out", "into"))
    lost, runs = sum(plain[e["trap"]] for e in own), sum(e["starts"] for e in own)
    found = rescued(out, lost)
    surely = out > into and binomtest(out, out + into).pvalue <= SURE
    return Advice(
        cure=name if surely and found.value >= WORKED else "",
        rescued=found,
        into=into,
        others=runs - lost,
        cost=max(e["cost"] for e in own),
        changed=any(e["changed"] for e in own),
        traps=tuple(e["trap"] for e in own),
        best=name,
        over=sum(math.inf if e["over"] is None else e["over"] for e in own),
    )


def rescued(out: int, lost: int) -> Share:
    """Of the plain runs that collapse, at least one, those that a cure moves out, with the exact
    interval.
    """
    interval = binomtest(out, lost).proportion_ci(method="exact")
    return Share(out, lost, float(interval.low), float(interval.high))
