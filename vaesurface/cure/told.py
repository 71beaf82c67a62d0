"""What is to be changed, in the words of a framework?

>>> print(lines("KL warm-up", "pytorch", d=64, k=8))
beta = min(1.0, step / (0.5 * steps))  # from 0 to 1 over the first half
loss = reconstruction + beta * kl.sum(1).mean()
"""

import math
import tomllib
from functools import cache
from pathlib import Path

from vaesurface.cure.cures import CURES
from vaesurface.cure.like import Advice, Case
from vaesurface.diagnose import Collapse
from vaesurface.refusal import complaint

__all__ = ["FRAMEWORKS", "NAMES", "lines", "said"]

NAMES = (
    "squared_error (batch, d), kl (batch, k) in nats, step and steps are your loop's own; "
    "reconstruction is its data term, mean over the batch"
)
FRAMEWORKS = ("pytorch", "keras", "jax")
BELOW = 0.1  # of the leading eigenvalue: a gamma at which what it belongs to is coded sharply


def lines(
    cure: str,
    framework: str,
    *,
    d: int,
    k: int,
    leading: float = math.nan,
    gamma: float = math.nan,
    beta: float = math.nan,
) -> str:
    """Lines to change for a cure, for "lower gamma" or "lower beta", d features and k latents.

    leading: eigenvalue of what is not reconstructed; gamma, beta: as they were. Raises
    ValueError for other frameworks.
    """
    if framework not in FRAMEWORKS:
        raise complaint(f"a framework out of {', '.join(FRAMEWORKS)}", framework, "choose one")
    numbers = {
        "d": f"{d}",
        "k": f"{k}",
        "half": f"{d / 2:g}",
        "twice": f"{2 * k}",
        "below": f"{BELOW * leading:.3g}",
        "leading": f"{leading:.3g}",
        "beta": f"{beta:.3g}",
        "limit": f"{leading / gamma:.3g}",
    }
    text = _texts(framework)[cure].strip()
    for name, value in numbers.items():
        text = text.replace(f"{{{name}}}", value)
    return text


@cache
def _texts(framework: str) -> dict[str, str]:
    path = Path(__file__).parent / "lines" / f"{framework}.toml"
    return tomllib.loads(path.read_text())


def said(case: Case, found: Advice | None) -> list[str]:
    """The advice in sentences."""
    if found is None:
        return [f"No trap of the board is like it: {case.kind.words}. {_instead(case)}"]
    what = "networks" if case.deep else "exact energies"
    gamma = f"gamma {'learned' if case.learned else 'held'}"
    like = (
        f"Traps like it ({case.kind.words}, {what}, {gamma}): {', '.join(found.traps)}; here the "
        f"leading eigenvalue of what is not reconstructed is {case.ratio:.3g} beta gamma."
    )
    share = found.rescued
    odds = f"{share.number} of {share.total} ({share.words} with 95 % confidence)"
    if not found.cure:
        return [
            f"No cure moved half of the runs out that collapse plainly; {found.best} moved most, "
            f"{odds}.",
            like,
        ]
    source = next(cure.source for cure in CURES if cure.name == found.cure)
    first = (
        f"{found.cure[0].upper()}{found.cure[1:]} ({source}): of the runs that collapse plainly it "
        f"kept {odds} from it, at {found.cost:.3g} times the gradients"
        f"{', on another surface' if found.changed else ''}."
    )
    more = [f"{found.best[0].upper()}{found.best[1:]} moved most."]
    more = more if found.best != found.cure else []
    return [first, *more, like, *_honest(case)]


def _honest(case: Case) -> list[str]:
    """What the cure does not do."""
    if case.kind == Collapse.GAMMA:
        return [
            "At this gamma and beta collapse is the best there is: no schedule and no start helps, "
            "a lower or a learned gamma does."
        ]
    if not case.deep:
        return [
            "At every alpha > 0 collapse stays a strict local minimum: the cure moves the start, "
            "not the basin."
        ]
    if case.kind == Collapse.LOCAL:
        return [
            "The board's networks are ReLU ones at He's scale. If the deterministic autoencoder "
            "of yours stays at the data's variance, no schedule helps before the networks or "
            "their start are changed (ReLU, He's scale, normalization, fewer layers)."
        ]
    return []


def _instead(case: Case) -> str:
    if case.kind == Collapse.NONE:
        return "Nothing has to be cured."
    return "What the diagnosis advises stands:" if case.deep else "Nothing is known to help."
