"""How does a monitor get its arrays? From the model that is trained, on a fixed set of rows.

Any loop, three lines: PyTorch's modules (or their methods) stay in training mode and draw the same
random numbers as without; of JAX's pure functions the state is an argument.

>>> import numpy as np
>>> x = np.random.default_rng(0).normal(size=(50, 3))
>>> weight = np.zeros((1, 3))
>>> look = watch(x, lambda x: (x @ weight.T, 0 * x[:, :1]), lambda z: z @ weight, gamma=1.0)
>>> for step in range(3):
...     look(step)
>>> look.finish().active.tolist()
[False]
"""

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from vaesurface.data import plain
from vaesurface.diagnose import Diagnosis, calls
from vaesurface.monitor.loop import Monitor

__all__ = ["Watch", "watch"]

SILENT = {"path": None, "log": None, "warn": lambda sentence: None}


class Watch:
    """A model, looked at while it is trained: what `watch` makes.

    monitor: what it feeds.
    diagnosis: what the model showed at the end, once it has been finished.
    """

    def __init__(
        self,
        monitor: Monitor,
        rows: Any,
        functions: tuple[Callable, Callable, Callable | None],
        gamma: Any = None,
        beta: Any = 1.0,
        rows_at_a_time: int = calls.ROWS,
    ) -> None:
        self.monitor, self._rows, self._functions = monitor, rows, functions
        self._gamma, self._beta, self._rows_at_a_time = gamma, beta, rows_at_a_time
        self._seen: tuple[int, tuple] | None = None  # last step, and the state it was in
        self._updated: int | None = None
        self.diagnosis: Diagnosis | None = None

    def __call__(self, step: int, *state: Any, loss: Any = None) -> None:
        """After a step of training: looks at the model if the monitor wants to see it.

        state: what the functions take before x or z (parameters, where they are pure functions);
        loss: of that step, kept beside the numbers.
        """
        self._seen = step, state
        if self.due(step):
            self._update(step, state, loss)

    def due(self, step: int) -> bool:
        """Whether it would look."""
        return step != self._updated and self.monitor.due(step)

    def finish(self) -> Diagnosis | None:
        """After the last step: looks once more, and says what the model shows; None where it was
        not seen, or answers nothing finite any more.
        """
        if self._seen is not None and self._seen[0] != self._updated:
            self._update(*self._seen)
        if self.monitor.updates:
            self.diagnosis = self.monitor.finish()
        return self.diagnosis

    def _update(self, step: int, state: tuple, loss: Any = None) -> None:
        try:
            arrays = self._answers(state, loss)
        except Exception as error:
            self.monitor.miss(step, error)
        else:
            self.monitor.update(step, **arrays)
        self._updated = step

    def _answers(self, state: tuple, loss: Any) -> dict[str, Any]:
        """What the model says now, as `Monitor.update` takes it."""
        encode, decode, predict = self._functions
        answers: dict[str, Any] = calls.answers(
            self._rows,
            _given(state, encode),
            _given(state, decode),
            predict=None if predict is None else _given(state, predict),
            rng=np.random.default_rng(0),  # the same draws each time: what moves is the model
            rows_at_a_time=self._rows_at_a_time,
        )
        now = {"gamma": self._gamma, "beta": self._beta}
        answers |= {name: _now(value, state) for name, value in now.items() if value is not None}
        return answers | {"alone": predict is None, "loss": math.nan if loss is None else loss}


def watch(
    rows: Any,
    encode: Callable[..., tuple[Any, Any]],
    decode: Callable[..., Any],
    *,
    gamma: Any = None,
    beta: Any = 1.0,
    predict: Callable[..., Any] | None = None,
    rows_at_a_time: int = calls.ROWS,
    **options: Any,
) -> Watch:
    """Look at a model while it is trained: call what this returns after each step, and its `finish`
    after the last.

    Every process of a distributed run looks, since parts of a model may lie with each; the first
    writes, logs and warns. With such parts (FSDP) say every=N, so that all look at the same steps.

    rows (n, ...): fixed data, some hundred, as the model takes them; encode, decode, predict: as in
    `diagnose.functions`; gamma, beta: numbers, arrays, or functions without arguments that return
    what they are now; options: of `Monitor`. All these functions are given the state first where
    the loop hands one over: look(step, params).
    """
    functions = encode, decode, predict
    monitor = Monitor(**(options if _is_first() else options | SILENT))
    return Watch(monitor, rows, functions, gamma, beta, rows_at_a_time)


def _is_first() -> bool:
    """Whether this is the process that speaks, of those of a distributed run, as launchers number
    them.
    """
    ranks = ("RANK",) if "RANK" in os.environ else ("NODE_RANK", "LOCAL_RANK")
    return all(os.environ.get(rank, "0") == "0" for rank in ranks)


def _given(state: tuple, function: Callable) -> Callable:
    """A function of x or z alone."""
    return partial(function, *state) if state else function


def _now(value: Any, state: tuple) -> Any:
    """A number or an array, or what a function says that it is now, as NumPy has it."""
    return plain(value(*state) if callable(value) else value)
