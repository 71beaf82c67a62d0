"""How does a monitor sit in a training loop? It is asked whether it is due, and fed with arrays.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> x, off = rng.standard_normal((256, 4)) * [3.0, 1.0, 1.0, 1.0], np.zeros((256, 2))
>>> said = []
>>> monitor = Monitor(every=100, steps=1000, warn=said.append)
>>> for step in range(1000):
...     if monitor.due(step):
...         seen = monitor.update(
...             step, x=x, mean=off, log_std=off, reconstruction=0 * x, gamma=20.0
...         )
>>> print(said[0].split(":")[1])
 2 of 2 latents (1 of which the data have use for) have not switched on
"""

import math
import os
import sys
import time
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np

from vaesurface.data import plain
from vaesurface.diagnose import Diagnosis
from vaesurface.monitor import words
from vaesurface.monitor.course import Course, Phase, course, extended
from vaesurface.monitor.reading import Reader, Update
from vaesurface.monitor.record import Record, Writer, load
from vaesurface.monitor.whole import diagnosis, save
from vaesurface.refusal import complaint, whole

__all__ = ["CollapseWarning", "Monitor"]

# Of the time since the first look that looks may take: with that one, which is the dearest, less
# than 2 % of a minute's run.
SHARE = 0.015
SPACING = 0.01  # of the steps so far that lie between looks at least: a long run is not all looks
# What complaints about numbers say that a run which diverges makes: none, or too large.
DIVERGED = ("finite", "of at most", "log_std", "gamma >", "gamma <")
# What is logged of every look, by name.
LOGGED = ("energy", "error", "gamma", "beta", "gain", "variance", "active_units")


class CollapseWarning(UserWarning):
    """Latents switch off, or will not switch on."""


class Monitor:
    """Watches the latents of a run, by a fixed set of rows.

    updates: all looks so far; course: what they say together (None before the first);
    said: warnings so far.
    """

    def __init__(
        self,
        path: str | os.PathLike | None = None,
        *,
        every: int | None = None,
        steps: int | None = None,
        resume: bool = False,
        log: Callable[[str, float, int], Any] | None = None,
        warn: Callable[[str], Any] | None = None,
        **about: Any,
    ) -> None:
        """Start watching.

        path: of the record, for `vaesurface report`, begun anew unless resume; every: steps between
        looks, None for as many as take 1.5 % of the time; steps: planned number of them, so that it
        is known what is early; log(name, value, step): of TensorBoard, W&B, MLflow and their like;
        warn(sentence): by default a CollapseWarning; about: what is the same at every look of what
        `diagnose.arrays` takes, such as likelihood, learned_gamma, gamma or beta.

        Raises ValueError for numbers of steps that are none, OSError where the record cannot be
        written.
        """
        self.every = None if every is None else whole("steps between looks", every, 1)
        self.steps = None if steps is None else whole("planned steps", steps, 1)
        self.updates: list[Update] = []
        self.course: Course | None = None
        self.said: list[str] = []
        self._about = about
        self._log, self._warn = log, _by_warning if warn is None else warn
        self._reader, self._clock = Reader(), _Clock()
        self._alarmed: set[tuple[Phase, bool]] = set()
        # Of the steps as the loop counts them: the last one seen, what is added where they began
        # anew, the last one at which a look was wanted.
        self._latest: int | None = None
        self._added, self._wanted = 0, -1
        self._missed = self._restarted = False
        self._writer: Writer | None = None
        if path is not None:
            if resume and os.path.exists(path) and _is_begun(path):
                self._take_up(load(path))
            self._writer = Writer(path, {"steps": self.steps}, resume)

    def plan(self, steps: float) -> None:
        """How many steps there will be, from who knows when training begins; what was said to the
        constructor stands, and what is no number of steps is passed over.
        """
        if self.steps is not None or not 1 <= steps < math.inf:
            return
        self.steps = int(steps)
        if self._writer is not None and not self.updates:
            self._writer = Writer(self._writer.path, {"steps": self.steps})

    def due(self, step: int) -> bool:
        """Whether a look is wanted at this step; costs no more than asking for the time."""
        at, last = self._counted(step), self._wanted
        if last < 0 or at == last:  # who asks twice is answered twice
            due = not (self.updates and self.updates[-1].step >= at)
        elif self.every is not None:
            due = at > last and (at % self.every == 0 or at - last >= self.every)
        else:
            due = at > last and self._clock.can_afford() and at - last >= SPACING * last
        if due:
            self._wanted = at
            self._clock.begin()
        return due

    def update(self, step: int, *, loss: float = math.nan, **arrays: Any) -> Update:
        """Take a look: arrays as `diagnose.arrays` takes them, of the same rows every time.

        x (n, ...); mean, log_std (n, k); reconstruction like x, at the posterior mean; gamma or
        likelihood; beta, learned_gamma, sampled_reconstruction and the others where there are. Of
        any library. Raises ValueError for arrays that disagree, at the first look: later ones, NaN
        among them, are an alarm, since training is worth more than a look at it.
        """
        arrays = {name: value for name, value in arrays.items() if value is not None}
        at, known = self._counted(step), _number(loss)
        self._wanted = max(self._wanted, at)
        try:
            seen = self._reader.read(at, known, **{**self._about, **arrays})
        except Exception as error:
            if not self.updates:
                raise
            if not any(word in str(error) for word in DIVERGED):
                return self.miss(step, error)
            seen = self.updates[-1]._replace(step=at, loss=known, energy=math.nan, doubt=str(error))
        self._add(seen)
        self._tell(seen)
        self._clock.end()
        return seen

    def miss(self, step: int, error: Exception) -> Update:
        """A look that could not be taken: said once, and training goes on. Raises the error before
        the first look, when there is nothing to lose yet.
        """
        if not self.updates:
            raise error
        if not self._missed:
            self._missed = True
            self._say(words.unread(self._counted(step), error))
        self._clock.end()
        return self.updates[-1]

    def finish(self) -> Diagnosis | None:
        """The whole diagnosis of the last look, gap included, as `diagnose.arrays` makes it; None
        where the model's answers are not finite any more, or were not seen by this process.

        Other likelihoods than the Gaussian are diagnosed by a process of its own, for they need
        JAX. Raises ValueError before the first look.
        """
        broken = self.course is not None and self.course.phase == Phase.BROKEN
        if broken or (self.updates and self._reader.last is None):
            return None
        seen = self._last()
        found = diagnosis(seen)
        if self._writer is not None:
            self._writer.end(
                {"label": found.label, "change": found.change, "evidence": found.evidence}
            )
        return found

    def export(self, path: str | os.PathLike) -> None:
        """Write the arrays of the last look as an .npz, for `vaesurface diagnose` and `cure`."""
        save(self._last(), path)

    @property
    def state(self) -> str:
        """What the run is at, in a sentence."""
        if self.course is None:
            return "nothing seen yet"
        return words.state(self.updates, self.course)

    def _counted(self, step: int) -> int:
        """A step as it counts: on from the last one, where a loop begins again from 0."""
        if self._latest is None:
            self._wanted = min(self._wanted, step - 1)  # taken up, at an earlier checkpoint perhaps
        elif step + self._added < self._latest:
            self._added = self._latest + 1 - step
            if not self._restarted:
                self._restarted = True
                self._say(
                    f"steps begin again at {step} after {self._latest}: counted on from there; "
                    "count them through all epochs"
                )
        self._latest = step + self._added
        return self._latest

    def _add(self, seen: Update) -> None:
        """One look; those of later steps, before an earlier checkpoint was taken up, go, and those
        of another number of latents.
        """
        k = len(seen.kl)
        kept = [u for u in self.updates if u.step < seen.step and len(u.kl) == k]
        if len(kept) < len(self.updates):
            self.course = course(kept, self.steps) if kept else None
        self.updates = [*kept, seen]
        self.course = extended(self.course, self.updates, self.steps)

    def _last(self) -> Any:
        if self._reader.last is None:
            raise complaint("a look at the run", "none yet", "call update first")
        return self._reader.last

    def _tell(self, seen: Update) -> None:
        """Write, log, warn."""
        assert self.course is not None
        if self._writer is not None:
            self._writer.add(seen)
            if self._writer.failed:
                self._say(f"the record is not written any more: {self._writer.failed}")
                self._writer = None
        if self._log is not None:
            for name, value in _logged(seen, self.course).items():
                self._log(f"vaesurface/{name}", value, seen.step)
        phase = self.course.phase
        alarm = phase, not any(seen.active)
        if phase.alarming and alarm not in self._alarmed:
            self._alarmed.add(alarm)
            self._say(words.sentence(self.updates, self.course))
        elif phase == Phase.USED and self._alarmed:
            self._alarmed = set()
            self._say(words.recovery(seen))

    def _say(self, sentence: str) -> None:
        self.said.append(sentence)
        self._warn(sentence)

    def _take_up(self, record: Record) -> None:
        """Where another process left off."""
        self.updates = list(record.updates)
        if self.updates:
            self.course = course(self.updates, self.steps)
            self._wanted = self.updates[-1].step
            for update, phase in zip(self.updates, self.course.phases, strict=True):
                self._alarmed = set() if phase == Phase.USED else self._alarmed
                self._alarmed |= {(phase, not any(update.active))} if phase.alarming else set()


class _Clock:
    """How much of the time do looks take?"""

    def __init__(self) -> None:
        self._begun = self._spent = self._last = 0.0
        self._first: float | None = None

    def can_afford(self) -> bool:
        """Whether they do not take more than SHARE with another one like the last."""
        if self._first is None:
            return True
        return self._spent + self._last <= SHARE * (time.perf_counter() - self._first)

    def begin(self) -> None:
        """A look, with what it takes to ask the model."""
        self._begun = time.perf_counter()

    def end(self) -> None:
        """What the first look takes is paid once, for what the rows alone decide."""
        now = time.perf_counter()
        if self._first is None:
            self._first = now
        elif self._begun:
            self._last = now - self._begun
            self._spent += self._last
        self._begun = 0.0


def _logged(seen: Update, found: Course) -> dict[str, float]:
    """Numbers by name."""
    numbers = {name: float(getattr(seen, name)) for name in LOGGED}
    return {
        "kl": sum(seen.kl),
        "active": float(sum(seen.active)),
        "lost": float(found.lost),
        **numbers,
    }


def _is_begun(path: str | os.PathLike) -> bool:
    """Whether there is a whole line: a process may have been killed before."""
    with open(path, "rb") as file:
        return file.readline().endswith(b"\n")


def _number(loss: Any) -> float:
    """A loss of whatever kind as a number: the mean of several, NaN for what is none."""
    try:
        mean = float(np.mean(plain(loss)))
    except (TypeError, ValueError):
        return math.nan
    return mean if math.isfinite(mean) else math.nan


def _by_warning(sentence: str) -> None:
    """Warns of the line that the look was asked for in, which is the user's."""
    frame: FrameType | None = sys._getframe(1)
    level = 2
    while frame is not None and frame.f_globals.get("__name__", "").startswith("vaesurface."):
        frame, level = frame.f_back, level + 1
    warnings.warn(sentence, CollapseWarning, stacklevel=level)
