"""What is to be changed, in the words of a framework?

>>> print(lines("KL warm-up", "pytorch", Model(d=64, k=8)))
beta = min(1.0, step / (0.5 * steps))  # from 0 to 1 over the first half
loss = reconstruction + beta * kl.sum(1).mean()
"""

import math
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from vaesurface.cure.cures import CURES
from vaesurface.cure.like import Advice, Case
from vaesurface.cure.words import gradients
from vaesurface.diagnose import Collapse
from vaesurface.refusal import complaint

__all__ = ["FRAMEWORKS", "NAMES", "Model", "lines", "names", "said"]

# What the lines take from the loop that they are put in.
NAMES = {
    "step": "how many steps have been taken",
    "steps": "how many there will be",
    "x": "the batch, (batch, d)",
    "z": "drawn from the posteriors, (batch, k)",
    "squared_error": "(batch, d)",
    "kl": "(batch, k) in nats",
    "reconstruction": "the loss's data term, mean over the batch",
    "loss": "the one that is trained",
    "log_std": "of the posteriors, (batch, k)",
    "hidden": "the encoder before its heads",
    "encoder_mean": "head of the posterior means",
    "encoder_log_std": "head of the deviations' logarithms",
    "encode": "(params, x) to means and log deviations",
    "decode": "(params, z) to means",
    "decoder": "from z to means",
    "decoder_out": "the decoder's last layer",
    "params": "nested dicts",
    "log_gamma": "a parameter",
    "gradients": "of the loss, the encoder's first",
    "updates": "the optimizer's, by the parts of params",
    "encoder_weights": "the encoder's",
    "decoder_weights": "all others",
    "encoder_optimizer": "of the encoder's parameters",
    "decoder_optimizer": "of all others",
    "epochs": "how many there will be",
    "latents": "how many there are",
    "layers": "the decoder's hidden ones",
    "skips": "linear maps of z, one for each hidden layer after the first",
    "depth": "of the decoder",
    "width": "of its hidden layers",
}
OF_ARRAYS = {  # of an exact energy, whose posteriors are parameters
    "x": "all data, (n, d)",
    "weight": "(d, k)",
    "bias": "(d,)",
    "mean": "of the posteriors, (n, k)",
    "log_std": "of the posteriors, (n, k)",
    "z": "drawn from them",
    "params": "all of these by name",
    "alpha": "of the decoder",
    "gamma": "of the decoder",
    "way": "where rows of the weight at zero fall",
}
EXACT = ("affine optimum", "alpha homotopy", "leaving dead rows")  # cures of exact energies only
FRAMEWORKS = ("pytorch", "keras", "jax")
BELOW = 0.1  # of the leading eigenvalue: a gamma at which what it belongs to is coded sharply
LEAST_ERROR = 0.01  # of the data's variance, as `starts.LEAST_GAMMA` has it
LEARNED = "# where gamma is learned"
OF_GAMMA = ("learned gamma", "gamma at its optimum", "lower gamma")  # their beta is at most 1


class Model(NamedTuple):
    """What the lines need to know of what is to be cured; NaN where that is not known.

    d, k: features and latents.
    leading: eigenvalue of what is not reconstructed.
    gamma, beta: as they were.
    learned: whether gamma was.
    error: expected squared error per coordinate.
    gammabar: variance of the data per coordinate.
    alpha: of an exact energy.
    optimum: gamma of its affine optimum.
    """

    d: int
    k: int
    leading: float = math.nan
    gamma: float = math.nan
    beta: float = 1.0
    learned: bool = True
    error: float = math.nan
    gammabar: float = math.nan
    alpha: float = math.nan
    optimum: float = math.nan


def lines(cure: str, framework: str, model: Model) -> str:
    """Lines to change for a cure, or for "lower gamma". Raises ValueError for other frameworks."""
    if framework not in FRAMEWORKS:
        raise complaint(f"a framework out of {', '.join(FRAMEWORKS)}", framework, "choose one")
    text = _texts(framework)[cure].strip()
    for name, value in _numbers(cure, model).items():
        text = text.replace(f"{{{name}}}", value)
    kept = [line for line in text.splitlines() if model.learned or LEARNED not in line]
    return "\n".join(kept)


def _numbers(cure: str, model: Model) -> dict[str, str]:
    """What stands for the names in braces."""
    weight = min(model.beta, 1.0) if cure in OF_GAMMA else model.beta
    both = "gamma at the error, posteriors narrow"
    return {
        "d": f"{model.d}",
        "k": f"{model.k}",
        "half": f"{model.d / 2:g}",
        "twice": f"{2 * model.k}",
        "below": _short(BELOW * model.leading / min(model.beta, 1.0)),
        "leading": _short(model.leading),
        "beta": _short(model.beta),
        "times": "" if weight == 1.0 else f"{weight:g} * ",
        "limit": _short(model.leading / model.gamma),
        "error": _short(model.error),
        "log_error": _logarithm(model.error),
        "least": _short(LEAST_ERROR * model.gammabar),
        "narrow": both if model.learned else "posteriors narrow",
        "alpha": f"{model.alpha:g}",
        "level": f"{model.beta * model.optimum:.6g}",
        "log_gamma": _logarithm(model.optimum),
    }


def _short(number: float) -> str:
    return f"{number:.3g}"


def _logarithm(number: float) -> str:
    return f"{math.log(max(number, math.ulp(0.0))):.3g}"


def names(text: str, cure: str) -> str:
    """What the lines take from the loop, in words: those of `NAMES` that are in them."""
    own = NAMES | OF_ARRAYS if cure in EXACT else NAMES
    code = "\n".join(line.partition("#")[0] for line in text.splitlines())
    return "; ".join(f"{name}: {own[name]}" for name in own if _is_taken(name, code))


def _is_taken(name: str, code: str) -> bool:
    """Whether code uses a name before, or where, it assigns it."""
    use = rf"(?<![\w.\"]){name}\b(?![\"=])"
    first = next((line for line in code.splitlines() if re.search(use, line)), "")
    return bool(re.search(use, re.sub(rf"^\s*{name} = ", "", first)))


@cache
def _texts(framework: str) -> dict[str, str]:
    path = Path(__file__).parent / "lines" / f"{framework}.toml"
    return tomllib.loads(path.read_text())


def said(case: Case, found: Advice | None) -> list[str]:
    """The advice in sentences."""
    if found is None:
        return [_unlike(case)]
    like = (
        f"Traps like it ({_shape(case)}): {', '.join(found.traps)}; here the leading eigenvalue of "
        f"what is not reconstructed is {case.ratio:.3g} beta gamma."
    )
    share = found.rescued
    odds = f"{share.number} of {share.total} ({share.words} with 95 % confidence)"
    if not found.cure:
        return [
            f"No cure moved half of the runs out that collapse plainly; {found.best} moved most, "
            f"{odds}.",
            like,
            *_honest(case),
        ]
    source = next(cure.source for cure in CURES if cure.name == found.cure)
    into = f", of the other {found.others} it moved {found.into} into it" if found.into else ""
    first = (
        f"{found.cure[0].upper()}{found.cure[1:]} ({source}): of the runs that collapse plainly it "
        f"kept {odds} from it{into}, with {gradients(found.cost)}"
        f"{', on another surface' if found.changed else ''}."
    )
    more = [f"{found.best[0].upper()}{found.best[1:]} moved most."]
    more = more if found.best != found.cure else []
    return [first, *more, like, *_honest(case)]


def _shape(case: Case) -> str:
    """What makes traps alike."""
    what = "networks" if case.deep else "exact energies"
    by_beta = ", by beta" if case.weighted else ""
    return f"{case.kind.words}{by_beta}, {what}, gamma {'learned' if case.learned else 'held'}"


def _honest(case: Case) -> list[str]:
    """What cures do not do."""
    if case.kind == Collapse.GAMMA:
        other = "a lower gamma" if case.unlike else "a lower or a learned gamma"
        other += ", with beta = 1," if case.beta > 1.0 else ""
        other = "a beta of 1" if case.weighted else other
        if case.optimal:
            return [
                f"At this gamma and beta collapse is the best there is: no schedule and no start "
                f"helps, {other} does."
            ]
        return [
            f"At this gamma and beta no further affine latent pays: a schedule or a start leads to "
            f"nothing lower that is known, {other} does."
        ]
    if not case.deep:
        return [
            "At every alpha > 0 collapse stays a strict local minimum: the cure moves the start, "
            "not the basin."
        ]
    if case.kind == Collapse.LOCAL:
        return [
            "Where training has not ended, train on first: arrays alone do not tell.",
            "The board's networks are ReLU ones at He's scale, all of whose latents are off. If "
            "the deterministic autoencoder of yours stays at the data's variance, no schedule "
            "helps before the networks or their start are changed (ReLU, He's scale, "
            "normalization, fewer layers).",
        ]
    return []


def _unlike(case: Case) -> str:
    """Where no trap is like it."""
    of_traps = case.kind in (Collapse.GAMMA, Collapse.LOCAL)
    why = case.unlike or (_shape(case) if of_traps else case.kind.words)
    first = f"No trap of the board is like it: {why}."
    if case.kind == Collapse.NONE:
        return f"{first} Nothing has to be cured."
    if case.deep:
        return f"{first} What the diagnosis advises stands:"
    if case.kind == Collapse.GAMMA:
        return " ".join([first, *_honest(case)])
    return f"{first} Nothing is known to help."
