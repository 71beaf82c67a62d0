"""How is somebody told, while a run goes on, that it is collapsing? In one sentence, with a number
and what to do.

>>> plural(1, "latent"), plural(3, "latent")
('1 latent', '3 latents')
"""

from collections.abc import Sequence

from vaesurface.monitor.course import IN_USE, Course, Phase
from vaesurface.monitor.reading import Update

__all__ = ["plural", "recovery", "sentence", "state", "unread"]


def sentence(updates: Sequence[Update], found: Course) -> str:
    """Of a run whose last look raises an alarm: what, since when, why, what to do."""
    last = updates[-1]
    if found.phase == Phase.BROKEN:
        return (
            f"step {last.step:,}: the model's answers are those of no VAE any more ({last.doubt}): "
            "if it diverged, go back to an earlier checkpoint, with a smaller learning rate or "
            "clipped gradients"
        )
    return f"step {last.step:,}: {_what(updates, found)}: {_why(updates, found.phase)}"


def unread(step: int, error: Exception) -> str:
    """Of a look that could not be taken."""
    return f"step {step:,}: this look could not be taken: {type(error).__name__}: {error}"


def recovery(update: Update) -> str:
    """Of a run that an alarm was raised about and that goes well now."""
    on = sum(update.active)
    return (
        f"step {update.step:,}: {on} of {plural(len(update.kl), 'latent')} in use now; the earlier "
        "warning is void"
    )


def state(updates: Sequence[Update], found: Course) -> str:
    """What the run is at, in a sentence, alarming or not."""
    last = updates[-1]
    if found.phase.alarming:
        return sentence(updates, found)
    on, k = sum(last.active), len(last.kl)
    begun = f"step {last.step:,}: {on} of {plural(k, 'latent')} in use"
    unsettled = ", ".join(f"{nats:.3g} by {name}" for name, nats in last.unsettled.items())
    gain = f"; still to gain, in nats per datum: {unsettled}" if unsettled else ""
    if found.phase == Phase.PLATEAU and last.pays == 1:
        return (
            f"{begun} since step {found.since:,}, though a further one would gain {last.gain:.3g} "
            f"nats per datum: a plateau so far{gain}"
        )
    if found.phase == Phase.USED:
        return f"{begun}, and no other is wanted{gain}"
    return f"{begun}; {found.phase.words}{gain}"


def plural(number: int, what: str) -> str:
    """A number of things."""
    return f"{number} {what}" + "s" * (number != 1)


def _what(updates: Sequence[Update], found: Course) -> str:
    """Which latents, and since when."""
    k = len(updates[-1].kl)
    if found.phase == Phase.SPIKED:
        return f"density grows without bound on few data since step {found.since:,}"
    on = sum(updates[-1].active)
    before = [u.step for u in updates if u.step < found.since and sum(u.active) > on]
    used = bool(before) and before[-1] - before[0] >= IN_USE * updates[-1].step
    off = updates[-1].active.count(False)
    wanted = "" if found.lost >= off else f" ({found.lost} of which the data have use for)"
    which = f"{off} of {plural(k, 'latent')}{wanted}"
    if used:
        then = next(u for u in updates if u.step >= found.since)
        first = "from" if then.active.count(False) >= off else "the first of them from"
        return f"{which} switched off, {first} step {found.since:,} on"
    since = "" if found.since <= updates[0].step else f" since step {found.since:,}"
    return f"{which} have not switched on{since}"


def _why(updates: Sequence[Update], phase: Phase) -> str:
    """And what to do."""
    last = updates[-1]
    if phase == Phase.SHUT and last.variance > last.beta * last.gamma:
        return (
            f"they were in use at a beta of about 1, and it is {last.beta:.3g} now; lower it "
            "if they are wanted"
        )
    if phase == Phase.SHUT:
        return (
            f"at {_level(last)} a latent pays only along a direction with more variance, and the "
            f"largest in the residual is {last.variance:.3g}, so training on changes nothing; "
            f"{_lower(updates)}"
        )
    if phase == Phase.STUCK:
        return (
            f"a further one would gain {last.gain:.3g} nats per datum at {_level(last)}, yet none "
            "is on its way: a bad local optimum or a long plateau; start from larger weights, "
            "other seeds, or the autoencoder trained without KL term, or simplify the networks if "
            "that is stuck too"
        )
    if phase == Phase.SEEN:
        return (
            f"the decoder reaches an error of {last.error:.3g} per coordinate from what it sees "
            "besides them; let it see less (drop skips, labels, teacher forcing, shorten what it "
            "looks back on) if latents are wanted"
        )
    return "give the decoder one learned variance for all data instead of one per datum"


def _level(last: Update) -> str:
    """What a direction's variance is held against."""
    if last.likelihood == "gaussian":
        return f"beta gamma = {last.beta * last.gamma:.3g}"
    return f"beta = {last.beta:.3g}, in units of the variance that the decoder gives the data,"


def _lower(updates: Sequence[Update]) -> str:
    """How beta gamma gets below the residual's variance."""
    last = updates[-1]
    below = f"below {last.variance / last.beta:.3g}"
    if last.beta > 1.0 and last.gamma < last.variance:
        return f"lower beta from {last.beta:.3g} to 1 (it has to be below " + (
            f"{last.variance / last.gamma:.3g})"
        )
    if min(update.gamma for update in updates) < max(update.gamma for update in updates):
        return f"gamma moves, but does not get {below}: start it lower, or let it learn faster"
    return (
        f"learn gamma, or hold it {below} (a squared error averaged over d features makes it d/2)"
    )
