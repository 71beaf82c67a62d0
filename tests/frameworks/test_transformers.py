"""Hugging Face's Trainer trains the same, and the callback looks."""

import pytest
import torch
from frameworks.vaes import VAE, X, assert_same, assert_without_jax, of_arrays, state_of
from transformers import Trainer, TrainingArguments, set_seed

from vaesurface import diagnose, monitor
from vaesurface.monitor import for_transformers


def trained(folder, watched):
    """A model after a run of the Trainer's, and who looked at it."""
    set_seed(0)
    model, look, callbacks = VAE(), None, []
    if watched:
        path = folder / "run.jsonl"
        look = monitor.watch(X, model.encode, model.decode, gamma=model.gamma, every=16, path=path)
        callbacks = [for_transformers.callback(look)]
    arguments = TrainingArguments(
        folder, max_steps=48, per_device_train_batch_size=32, learning_rate=1e-2, report_to=[],
        save_strategy="no", use_cpu=True, disable_tqdm=True, logging_steps=10,
    )  # fmt: skip
    rows = [{"x": x} for x in torch.as_tensor(X)]
    Trainer(model, arguments, train_dataset=rows, callbacks=callbacks).train()
    return model, look


def test_training_is_the_same_to_the_bit(tmp_path):
    plain, _ = trained(tmp_path, False)
    left = state_of(plain)
    watched, look = trained(tmp_path, True)
    assert_same(left, state_of(watched))
    kept = monitor.load(tmp_path / "run.jsonl")
    assert kept.about["steps"] == 48
    assert [update.step for update in kept.updates] == [1, 16, 32, 48]
    assert kept.end["label"] == look.diagnosis.label
    by_hand = diagnose.arrays(**of_arrays(watched))
    assert look.diagnosis.kl == pytest.approx(by_hand.kl, rel=1e-5)
    assert_without_jax()
