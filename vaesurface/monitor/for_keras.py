"""How does Keras' fit look at a model while it trains it? By a callback, on whichever backend.

    look = monitor.watch(rows, encode, decode, gamma=gamma, path="run.jsonl")
    model.fit(x, epochs=10, callbacks=[for_keras.callback(look)])
    look.diagnosis

with encode(x) the means and log deviations alone: `mean, log_var, _ = encoder(x)`, then
`return mean, 0.5 * log_var`.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from vaesurface.monitor.watching import Watch

__all__ = ["callback"]


def callback(look: Watch) -> Any:
    """A callback of Keras' that looks after each batch that the monitor is due at."""
    from keras import callbacks

    class Look(callbacks.Callback):
        """Looks; changes nothing."""

        def __init__(self) -> None:
            super().__init__()
            self.before = self.step = 0  # steps of earlier epochs; of all

        def on_train_begin(self, logs: Any = None) -> None:
            look.monitor.plan(self.params["epochs"] * (self.params["steps"] or 0))

        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            self.before = self.step

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.step = self.before + batch + 1
            # The model is asked for only when it is looked at: with JAX that is a copy.
            with _same_draws(self.model) if look.due(self.step) else nullcontext():
                look(self.step, loss=(logs or {}).get("loss"))

        def on_train_end(self, logs: Any = None) -> None:
            with _same_draws(self.model):
                look.finish()

    return Look()


@contextmanager
def _same_draws(model: Any) -> Iterator[None]:
    """Seeds of layers are variables of the model, and put back; Keras' global one is not."""
    weights = {id(weight) for weight in model.weights}
    kept = [(seed, seed.numpy().copy()) for seed in model.variables if id(seed) not in weights]
    try:
        yield
    finally:
        for seed, value in kept:
            seed.assign(value)
