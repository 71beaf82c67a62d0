"""Where is a run on its way? From looks at it to what they say together, and since when.

One look cannot tell a plateau that every run crosses from one that it stays on; several can. What
counts is the time that latents have been off for, in parts of the time that has gone by, whether
what keeps them off still moves, and whether they are about to switch on.

>>> from vaesurface.monitor.course import Phase
>>> Phase.SHUT.words
'off, and kept off by gamma or beta'
"""

import math
from collections.abc import Sequence
from enum import IntEnum
from statistics import median
from typing import NamedTuple

from vaesurface.diagnose.terms import ACTIVE_NATS
from vaesurface.monitor.reading import Update

__all__ = ["IN_USE", "Course", "Phase", "course", "extended"]

# Parts of the steps, planned ones where their number is known, else those so far, that latents are
# off for until it is said that they are kept off, and until a plateau is called a trap.
SHUT_PART = {True: 0.05, False: 0.15}
STUCK_PART = {True: 0.2, False: 0.7}
LOOKS = {True: 4, False: 12}  # in that time, at least
BEYOND_ONE = 1.1  # betas up to which are 1, as schedules round
# Nats per datum from which on a further latent is missed where others are in use, and one look does
# not decide: what an affine latent gains beside a network that is at work is rough.
MUCH = 0.3
# Part of the steps so far that latents were in use for, from which on some are said to have been
# switched off: at a random start all are in use for some steps.
IN_USE = 0.05
# Squared error over the data's variance below which data are reconstructed.
TOLD = 0.5
# Factor by which the most that an inactive latent carries grows within half that time, from which
# it is looked whether the run is leaving, and the nats from which on: below is noise of batches.
GROWING = 1.5
GROWN = 1e-4
FAINT = 1e-12


class Phase(IntEnum):
    """What a run is at."""

    STARTING = 0
    USED = 1
    PLATEAU = 2
    STUCK = 3
    SHUT = 4
    SEEN = 5
    SPIKED = 6
    BROKEN = 7

    @property
    def words(self) -> str:
        """In a clause."""
        return _WORDS[self]

    @property
    def alarming(self) -> bool:
        """Whether it stays so if nothing is changed."""
        return self >= Phase.STUCK


_WORDS = {
    Phase.STARTING: "starting: nothing is settled yet",
    Phase.USED: "in use",
    Phase.PLATEAU: "off so far",
    Phase.STUCK: "off, and stuck there",
    Phase.SHUT: "off, and kept off by gamma or beta",
    Phase.SEEN: "off, as the decoder does without",
    Phase.SPIKED: "drowned by infinite density on few data",
    Phase.BROKEN: "not finite any more",
}


class Course(NamedTuple):
    """What all looks so far say.

    phase: what the run is at.
    since: step from which on it has been so; of an alarm, from which on what it says has held.
    lost: latents that are off and are wanted.
    phases: of every look, as it was called then.
    seen: what the last look says alone.
    start: number of the look from which on all say that.
    """

    phase: Phase
    since: int
    lost: int
    phases: tuple[Phase, ...]
    seen: Phase
    start: int


def course(updates: Sequence[Update], steps: int | None = None, least: int | None = None) -> Course:
    """What looks at a run say together, one at least; steps: planned number, if that is known;
    least: looks that have to agree, where those of LOOKS are not to be had.
    """
    found: Course | None = None
    for number in range(len(updates)):
        found = extended(found, updates[: number + 1], steps, least)
    assert found is not None
    return found


def extended(
    before: Course | None,
    updates: Sequence[Update],
    steps: int | None,
    least: int | None = None,
) -> Course:
    """The same of one look more than `before` is of."""
    last, seen = updates[-1], seen_alone(updates[-1])
    if seen in (Phase.STARTING, Phase.USED) and _were_used_before_beta_rose(updates):
        seen = Phase.SHUT
    goes_on = before is not None and seen == before.seen
    start = before.start if before is not None and goes_on else len(updates) - 1
    if seen == Phase.PLATEAU and _more_are_in_use(updates[start:]):
        start = len(updates) - 1
    phase = _phase(updates[start:], seen, steps, least)
    if before is not None and phase == before.phase:
        since = before.since
    else:
        since = updates[start].step if phase.alarming else last.step
    return Course(
        phase=phase,
        since=since,
        lost=_lost(last, phase),
        phases=(*(() if before is None else before.phases), phase),
        seen=seen,
        start=start,
    )


def _phase(held: Sequence[Update], seen: Phase, steps: int | None, least: int | None) -> Phase:
    """Of the last of the looks that all say the same."""
    if seen in (Phase.STARTING, Phase.USED, Phase.BROKEN):
        return seen
    planned, last = steps is not None, held[-1].step
    parts = STUCK_PART if seen == Phase.PLATEAU else SHUT_PART
    enough = parts[planned] * (last if steps is None else steps)
    if len(held) < (LOOKS[planned] if least is None else least) or last - held[0].step < enough:
        return Phase.PLATEAU
    ahead = last if steps is None else steps - last
    if seen == Phase.PLATEAU:
        return Phase.PLATEAU if _is_leaving(held, ahead) else Phase.STUCK
    # Beside what a decoder sees a latent may pay later, too, where gamma still falls.
    if seen in (Phase.SHUT, Phase.SEEN) and not _stays(held, ahead):
        return Phase.PLATEAU
    return seen


def seen_alone(update: Update) -> Phase:
    """What one look says, PLATEAU standing for every place where a further latent would pay."""
    if not math.isfinite(update.energy):
        return Phase.BROKEN
    kinds = update.kinds
    if "COVARIANCE" in kinds:
        return Phase.SPIKED
    if "FLEXIBLE" in kinds or _is_told_otherwise(update):
        return Phase.SEEN
    if all(update.active):
        return Phase.USED
    if "GAMMA" in kinds or "LOCAL" in kinds:
        shut = kinds.count("GAMMA") > kinds.count("LOCAL")
        return Phase.SHUT if shut else Phase.PLATEAU
    if any(update.active):
        missing = update.pays == 1 and update.gain >= MUCH and sum(update.active) < update.wanted
        undecided = update.kind == "UNDECIDED" and not update.doubt
        return Phase.PLATEAU if missing and undecided else Phase.USED
    if update.pays == 1:
        return Phase.PLATEAU
    if update.pays == -1 and update.pays_freed == 1:
        return Phase.SHUT
    return Phase.USED if update.kind == "SUPERFLUOUS" else Phase.STARTING


def _is_told_otherwise(update: Update) -> bool:
    """Whether latents carry nothing, and data are reconstructed all the same."""
    if update.likelihood != "gaussian" or any(update.active) or update.doubt:
        return False
    return update.error < TOLD * update.gammabar


def _were_used_before_beta_rose(updates: Sequence[Update]) -> bool:
    """Whether latents that are off now, at a beta well above 1, were in use for long with one of
    about 1.

    Where beta rises from 0 to 1, those that go off by then may be superfluous.
    """
    last = updates[-1]
    if last.beta <= BEYOND_ONE or all(last.active) or last.kind == "SUPERFLUOUS":
        return False
    on, low = sum(last.active), 1.0 / BEYOND_ONE
    used = [u.step for u in updates if low <= u.beta <= BEYOND_ONE and sum(u.active) > on]
    return bool(used) and used[-1] - used[0] >= IN_USE * last.step


def _more_are_in_use(held: Sequence[Update]) -> bool:
    """Whether the last look has more latents in use than any before: a run that gets on."""
    *before, now = (sum(update.active) for update in held)
    return bool(before) and now > max(before)


def _stays(held: Sequence[Update], ahead: float) -> bool:
    """Whether beta gamma, as it moved since the middle of that time, is still above the residual's
    variance after the steps ahead.
    """
    middle, last = held[len(held) // 2], held[-1]
    now, then = last.beta * last.gamma, middle.beta * middle.gamma
    if last.unsettled.get("gamma", 0.0) > 0.0:
        return False
    if now >= then or last.step <= middle.step:
        return True
    return now - (then - now) / (last.step - middle.step) * ahead > last.variance


def _is_leaving(held: Sequence[Update], ahead: float) -> bool:
    """Whether a latent that is off carries more and more, and at that pace is in use within the
    steps ahead.
    """
    late = held[len(held) // 2 :]
    third = max(1, len(late) // 3)
    (at, before), (by, now) = map(_middle, (late[:third], late[-third:]))
    if now < GROWN or now < GROWING * before or by <= at:
        return False
    pace = math.log(now / before) / (by - at)
    return math.log(ACTIVE_NATS / now) <= pace * ahead


def _middle(looks: Sequence[Update]) -> tuple[float, float]:
    """Of some looks, medians: the step, and the most that a latent that is off carries."""
    most = [max(_of_inactive(look), default=0.0) for look in looks]
    return median(look.step for look in looks), max(median(most), FAINT)


def _of_inactive(update: Update) -> list[float]:
    return [nats for nats, on in zip(update.carried, update.active, strict=True) if not on]


def _lost(update: Update, phase: Phase) -> int:
    """Latents that are off and wanted."""
    if phase in (Phase.STARTING, Phase.USED):
        return 0
    named = sum(kind in ("GAMMA", "LOCAL", "FLEXIBLE", "COVARIANCE") for kind in update.kinds)
    return named or update.active.count(False)
