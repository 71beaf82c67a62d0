"""How does the Trainer of Hugging Face look at a model while it trains it? By a callback.

look = monitor.watch(rows, model.encode, model.decode, gamma=gamma, path="run.jsonl")
Trainer(model, arguments, train_dataset=data, callbacks=[for_transformers.callback(look)]).train()
look.diagnosis
"""

from typing import Any

from vaesurface.monitor.watching import Watch

__all__ = ["callback"]


def callback(look: Watch) -> Any:
    """A callback of transformers' that looks after each step that the monitor is due at."""
    from transformers import TrainerCallback

    class Look(TrainerCallback):
        """Looks; changes nothing."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            look.monitor.plan(state.max_steps)

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            look(state.global_step)

        def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            look.finish()

    return Look()
