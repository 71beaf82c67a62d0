"""Which kind of collapse is it, under another likelihood than the Gaussian?

As `judge`, from the numbers of `natural`.

>>> from vaesurface.diagnose.export import check
>>> x = np.repeat([[1.0] * 6, [0.0] * 6], [9, 7], axis=0)
>>> off = np.zeros((16, 1))
>>> found = diagnosed(check(x, off, off, 0 * x + 9 / 16, likelihood="bernoulli"))
>>> found.label
'(v) a bad local optimum, or training has not ended: 1 of 1 latents inactive'
"""

import math
from typing import Any

import numpy as np

from vaesurface.diagnose import natural_words
from vaesurface.diagnose.diagnosis import Facts
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.judge import PRECEDENCE
from vaesurface.diagnose.natural import SURE, known, measured
from vaesurface.diagnose.terms import ACTIVE_NATS, SHARP_STD, Collapse
from vaesurface.diagnose.verdict import Diagnosis

__all__ = ["LikelihoodDiagnosis", "diagnosed", "judged"]

# A decoder of latents alone gains at most so many times KL over the constant one, up to the search
# for that bound; what is more, and more than so many nats, comes from elsewhere.
BEYOND_BOUND = 1.2
BEYOND_NATS = 0.1
# A decoder ignores its latents where draws from the prior lose no more than this part of what it
# gains over the constant decoder, and that gain is a part of the constant's nats, and some.
UNUSED_LOSS = 0.05
UNUSED_GAIN = 0.05
UNUSED_NATS = 1.0
LOUD_NATS = 1.0  # of KL of one datum, from which a latent is not superfluous
# Variance of the data over that under the constant decoder below which the likelihood takes them
# for noisier than they are.
UNDERDISPERSED = 0.9


class LikelihoodDiagnosis(Diagnosis):
    """A `Diagnosis` with the words of its likelihood."""

    __slots__ = ()

    @property
    def evidence(self) -> dict[str, str]:
        """Why, and by what right it is said, by topic: each sentence begins with its status."""
        return natural_words.sentences(self)

    @property
    def change(self) -> str:
        """What to do about it."""
        return natural_words.change(self)


def diagnosed(export: Export) -> LikelihoodDiagnosis:
    """The diagnosis of an export whose likelihood is not Gaussian; fits are in float64, whatever
    the caller has chosen for the rest of the process.
    """
    import jax  # not for `judged`: beside another framework it is better not loaded

    with jax.enable_x64(True):
        facts = _with_plain_numbers(measured(export))
        return judged(facts)


def _with_plain_numbers(facts: Facts) -> Facts:
    """With NumPy's numbers for JAX's, which keep their type wherever they are read."""
    import jax

    names = ("affine", "affine_lasting", "free")
    plain: dict[str, Any] = {name: jax.device_get(getattr(facts, name)) for name in names}
    return facts._replace(**plain)


def judged(facts: Facts) -> LikelihoodDiagnosis:
    """The verdict on numbers of `natural.measured`."""
    kinds = np.full(len(facts.kl), int(Collapse.NONE))
    if facts.inactive:
        kinds[~facts.active] = _inactive_kinds(facts)
    elif facts.contradictions or _is_idle(facts):
        kinds[:] = Collapse.UNDECIDED
    kind = next((kind for kind in PRECEDENCE if (kinds == kind).any()), Collapse.NONE)
    return LikelihoodDiagnosis(*facts)._replace(kind=kind, kinds=kinds)


def _is_idle(facts: Facts) -> bool:
    """Whether latents differ from datum to datum and say no more than a constant decoder."""
    likelihood = known(facts)
    return bool(facts.active.any()) and likelihood.at_mean >= likelihood.constant


def _inactive_kinds(facts: Facts) -> np.ndarray:
    """The kinds (inactive,) of inactive latents; they are alike, so the first are given what holds
    for some of them.
    """
    kinds = np.full(facts.inactive, int(Collapse.UNDECIDED))
    if facts.contradictions or facts.unsettled or _is_idle(facts):
        return kinds
    on = int(facts.active.sum())
    if _is_flexible(facts):
        nothing = facts.pays_at(facts.least) == -1 or facts.like_noise
        if nothing and not facts.coded(facts.least):
            kinds[:] = Collapse.FLEXIBLE
        return kinds
    lost = _lost(facts, on)
    revived = max(0, _revived(facts, lost, on) - on - lost)
    kinds[:lost] = Collapse.LOCAL
    kinds[lost : lost + revived] = Collapse.GAMMA
    if _is_superfluous(facts, lost):
        quiet = (facts.kl < ACTIVE_NATS) & (facts.loudest < LOUD_NATS)
        kinds[(kinds == Collapse.UNDECIDED) & quiet[~facts.active]] = Collapse.SUPERFLUOUS
    return kinds


def _is_flexible(facts: Facts) -> bool:
    """Whether the decoder does better than anything that sees the latents alone, or as well
    without them.
    """
    likelihood = known(facts)
    if facts.alone:
        return False
    gained = likelihood.constant - likelihood.nats - SURE * likelihood.noise
    allowed = likelihood.constant - likelihood.bound
    still = not facts.active.any()
    comparable = likelihood.status != "estimated" or still
    beyond = comparable and gained > BEYOND_BOUND * allowed + BEYOND_NATS
    # Latents that carry nothing explain nothing.
    beyond = beyond or (still and facts.kl.sum() == 0.0 and gained > BEYOND_NATS)
    gained = likelihood.constant - likelihood.at_mean
    unused = likelihood.prior - likelihood.at_mean <= UNUSED_LOSS * gained
    much = max(UNUSED_NATS, UNUSED_GAIN * abs(likelihood.constant))
    return bool(beyond or (unused and gained > much))


def _lost(facts: Facts, on: int) -> int:
    """How many inactive latents something lower at this beta uses."""
    likelihood = known(facts)
    lower = min(likelihood.lower, likelihood.lower_lasting)
    if not (facts.family and facts.pays == 1 and lower > ACTIVE_NATS):
        return 0
    return max(0, int(min(facts.affine.kept, facts.affine_lasting.kept)) - on)


def _revived(facts: Facts, lost: int, on: int) -> int:
    """How many latents would be active with beta = 1 or, of data that vary less than the likelihood
    has it, with a beta that makes up for that; those that are where nothing is known.
    """
    if not (lost or _nothing_pays(facts)):
        return on
    likelihood = known(facts)
    free = min(int(facts.free.kept), facts.free_lasting)
    if facts.beta > 1.0 and likelihood.freed > ACTIVE_NATS:
        return max(on, free)
    if likelihood.dispersion < UNDERDISPERSED and math.isnan(likelihood.freed):
        # Those of the measure in units of the deviation: a Gaussian with its variance learned.
        return max(on, free) if facts.freed > ACTIVE_NATS else on
    return on


def _nothing_pays(facts: Facts) -> bool:
    """Whether nothing that was looked at gains by a further latent at this beta."""
    return (
        facts.pays == -1
        and known(facts).lower <= ACTIVE_NATS
        and not facts.coded(facts.level)
        and (facts.component is None or facts.component.gain == 0.0)
    )


def _is_superfluous(facts: Facts, lost: int) -> bool:
    """Whether latents that nothing lower uses, here or with less noise, are known to be
    superfluous: beside sharp ones, or because no decoder at all is better than the constant one.
    """
    likelihood = known(facts)
    # An affine VAE with more latents that is lower on its own data alone has learned their noise.
    lower = min(likelihood.lower, likelihood.lower_lasting)
    nothing = lost == 0 and facts.pays_at(facts.least) == -1 and lower <= ACTIVE_NATS
    if not nothing or facts.coded(facts.least):
        return False
    if facts.active.any():
        return bool((facts.std[facts.active] <= SHARP_STD).all())
    return likelihood.free_component is not None and likelihood.free_component.gain == 0.0
