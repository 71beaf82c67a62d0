"""How long does each of several calls take, and how many times as long as one of them?

Seconds are of processor time, of this process and of those that it has started: on one core, what a
clock shows where nothing else runs. Calls take turns, so that what else the machine does slows all
alike, and ratios are those of calls that ran one after the other.
"""

import math
import resource
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

__all__ = [
    "Contender",
    "Refused",
    "finished",
    "measured",
    "off",
    "processor_time",
    "row",
    "seconds",
]

SAMPLE = 0.02  # seconds that one timing takes at least: calls are repeated within it
ROUNDS = 15  # at most
SLOW = 1.0  # seconds of a first call that may have been compiling


class Contender(NamedTuple):
    """One way to get an answer.

    name: of the program.
    make: prepares, and returns the call that is timed; what it, or the first call, raises is told
        in the row in place of times.
    error: of the call's result, relative to the right answer; or None.
    note: on the result, in a few words; or None.
    scale: how many times its call the whole task is, where only a part is run.
    compiles: whether the first call takes longer than the next.
    """

    name: str
    make: Callable[[], Callable[[], Any]]
    error: Callable[[Any], float] | None = None
    note: Callable[[Any], str] | None = None
    scale: float = 1.0
    compiles: bool = True


class Refused(Exception):
    """A program cannot do the task; says why in a few words."""


def finished(function: Callable, *args: Any) -> Callable[[], Any]:
    """The call function(*args), as one that returns when JAX has the result."""
    return lambda: jax.block_until_ready(function(*args))


def processor_time() -> float:
    """Seconds, of this process and of those it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def seconds(call: Callable[[], Any], number: int = 1) -> float:
    """Of one call, from several in a row."""
    start = processor_time()
    for _ in range(number):
        call()
    return (processor_time() - start) / number


def off(got: Any, expected: Any) -> float:
    """Largest deviation in an array, or in any of the arrays of a pytree, relative to the largest
    entry there.
    """
    pairs = zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)
    arrays = [(np.asarray(a), np.asarray(b)) for a, b in pairs]
    return max(float(np.max(np.abs(a - b)) / np.max(np.abs(b))) for a, b in arrays)


def measured(
    title: str,
    contenders: list[Contender],
    unit: str,
    budget: float = 4.0,
    tolerance: float = 1e-6,
) -> dict[str, Any]:
    """A row of a table: of each contender seconds and ratios to the contender named `unit`.

    budget: seconds of measuring, of which each has a share, for `ROUNDS` rounds at most and for one
        in any case; first calls do not count.
    tolerance: what an error may be. Raises ArithmeticError where one is larger.
    """
    begun = [_begun(contender, tolerance) for contender in contenders]
    timers = [timer for timer, _ in begun if timer]
    turns = _in_turns(timers, budget)
    samples = {timer.name: times for timer, times in zip(timers, turns, strict=True)}
    told = row(title, samples, unit)
    times = {entry["name"]: entry for entry in told["entries"]}
    told["entries"] = [entry | times.get(entry["name"], {}) for _, entry in begun]
    return told


def row(title: str, samples: Mapping[str, Any], unit: str) -> dict[str, Any]:
    """A row of a table, of seconds (rounds,) by name; not numbers where there was no round."""
    base = np.asarray(samples[unit])
    base = np.where(np.isnan(base), np.nanmedian(base), base)
    entries = [
        {
            "name": name,
            "rounds": int(np.sum(~np.isnan(times))),
            "seconds": _quartiles(np.asarray(times)),
            "ratio": _quartiles(np.asarray(times) / base),
        }
        for name, times in samples.items()
    ]
    return {"title": title, "unit": unit, "entries": entries}


class _Timer(NamedTuple):
    """A contender that is ready.

    once: about how long a call takes, in seconds.
    """

    name: str
    call: Callable[[], Any]
    scale: float
    once: float

    def sample(self) -> float:
        """Seconds of the task."""
        number = max(1, math.ceil(SAMPLE / self.once))
        return self.scale * seconds(self.call, number)


def _begun(contender: Contender, tolerance: float) -> tuple[_Timer | None, dict[str, Any]]:
    """A contender made ready, if it can do the task, and what its first call tells."""
    told: dict[str, Any] = {"name": contender.name}
    try:
        call = contender.make()
        start = processor_time()
        result = call()
    except Exception as failure:  # whatever a peer cannot do
        why = str(failure) if isinstance(failure, Refused) else f"failed: {failure!r}"
        return None, told | {"note": " ".join(why.split())[:160]}
    once = told["first"] = processor_time() - start
    if contender.error:
        told["error"] = contender.error(result)
        if not told["error"] <= tolerance:
            raise ArithmeticError(
                f"expected {contender.name} to be right within {tolerance:g}, got "
                f"{told['error']:.1e}; measure equal answers"
            )
    if contender.note:
        told["note"] = contender.note(result)
    if once < SLOW or contender.compiles:
        once = seconds(call)
    if once < SAMPLE:
        once = min(seconds(call) for _ in range(5))
    return _Timer(contender.name, call, contender.scale, once), told


def _in_turns(timers: list[_Timer], budget: float) -> np.ndarray:
    """Seconds (timers, rounds); no numbers where a slow one has had its share of the budget."""
    share = budget / len(timers)
    rounds = [min(ROUNDS, int(share / max(timer.once, SAMPLE))) for timer in timers]
    samples = np.full((len(timers), max(1, *rounds)), np.nan)
    for turn in range(samples.shape[1]):
        for i in np.roll(range(len(timers)), turn):
            if turn < rounds[i]:
                samples[i, turn] = timers[i].sample()
    once = [timer.scale * timer.once for timer in timers]
    samples[:, 0] = np.where(np.isnan(samples[:, 0]), once, samples[:, 0])  # measured already
    return samples


def _quartiles(samples: np.ndarray) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return np.nanquantile(samples, [0.25, 0.5, 0.75]).tolist()
