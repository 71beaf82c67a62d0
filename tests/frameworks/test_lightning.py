"""Lightning: its Trainer trains the same, and the callback looks."""

import lightning.pytorch as pl
import pytest
import torch
from frameworks.vaes import VAE, X, assert_same, assert_without_jax, of_arrays, state_of
from torch.utils.data import DataLoader, TensorDataset

from vaesurface import diagnose, monitor
from vaesurface.monitor import for_lightning

STEPS = 48


class Module(pl.LightningModule):
    """A VAE as Lightning wants it."""

    def __init__(self):
        super().__init__()
        self.vae = VAE()

    def training_step(self, batch, index):
        return self.vae(batch[0])["loss"]

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


def trained(folder, watched, **options):
    """A model after a run of the Trainer's, and who looked at it."""
    pl.seed_everything(0, verbose=False)
    model = Module()
    vae, look, callbacks = model.vae, None, []
    if watched:
        path = folder / "run.jsonl"
        look = monitor.watch(X, vae.encode, vae.decode, gamma=vae.gamma, every=16, path=path)
        callbacks = [for_lightning.callback(look)]
    trainer = pl.Trainer(
        max_steps=STEPS, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, callbacks=callbacks,
        default_root_dir=folder, **options,
    )  # fmt: skip
    data = DataLoader(TensorDataset(torch.as_tensor(X)), batch_size=32, shuffle=True)
    trainer.fit(model, data)
    return model.vae, look


OPTIONS = {
    "plain": {},
    "accumulated": {"accumulate_grad_batches": 2},
    "mixed": {"precision": "bf16-mixed"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_training_is_the_same_to_the_bit(tmp_path, options):
    plain, _ = trained(tmp_path, False, **options)
    left = state_of(plain)
    watched, look = trained(tmp_path, True, **options)
    assert_same(left, state_of(watched))
    kept = monitor.load(tmp_path / "run.jsonl")
    begun = 0 if "accumulate_grad_batches" in options else 1  # a batch before the first step
    assert kept.about["steps"] == 48
    assert [update.step for update in kept.updates] == [begun, 16, 32, 48]
    assert kept.end["label"] == look.diagnosis.label
    by_hand = diagnose.arrays(**of_arrays(watched))
    assert look.diagnosis.kl == pytest.approx(by_hand.kl, rel=1e-5)
    assert_without_jax()
