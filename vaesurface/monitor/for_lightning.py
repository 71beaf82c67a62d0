"""How does Lightning's Trainer look at a model while it trains it? By a callback.

    look = monitor.watch(rows, model.encode, model.decode, gamma=gamma, path="run.jsonl")
    Trainer(callbacks=[for_lightning.callback(look)]).fit(model, loader)
    look.diagnosis

Steps are the optimizers' steps.
"""

from contextlib import suppress
from typing import Any

from vaesurface.monitor.watching import Watch

__all__ = ["callback"]


def callback(look: Watch) -> Any:
    """A callback of Lightning's that looks after each step that the monitor is due at."""
    try:
        from lightning.pytorch import Callback
    except ImportError:
        from pytorch_lightning import Callback

    class Look(Callback):
        """Looks; changes nothing."""

        def on_train_start(self, trainer: Any, module: Any) -> None:
            with suppress(Exception):  # gradients accumulated by a schedule
                look.monitor.plan(trainer.estimated_stepping_batches)

        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int
        ) -> None:
            loss = outputs.get("loss") if isinstance(outputs, dict) else outputs
            look(trainer.global_step, loss=loss)

        def on_train_end(self, trainer: Any, module: Any) -> None:
            look.finish()

    return Look()
