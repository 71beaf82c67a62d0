"""scvi-tools: its model trains the same, and the callback looks."""

import anndata
import numpy as np
import pytest
import scvi
from frameworks.vaes import assert_same, state_of

from vaesurface import monitor
from vaesurface.monitor import for_lightning, for_scvi

CELLS, GENES = 200, 30


def counts():
    """Of cells of two kinds, in two batches."""
    rng = np.random.default_rng(0)
    rates = rng.gamma(2.0, 2.0, (2, GENES)) * rng.uniform(0.5, 2.0, (CELLS, 1, 1))
    kind = rng.integers(2, size=CELLS)
    cells = anndata.AnnData(rng.poisson(rates[np.arange(CELLS), kind]).astype(np.float32))
    cells.obs["batch"] = [f"batch {i % 2}" for i in range(CELLS)]
    return cells


def trained(path=None, **options):
    """A model after some epochs, and who looked."""
    scvi.settings.seed = 0
    cells = counts()
    scvi.model.SCVI.setup_anndata(cells, batch_key="batch")
    model = scvi.model.SCVI(cells, n_latent=3, n_hidden=16, **options)
    look, callbacks = None, []
    if path is not None:
        look = for_scvi.watch(model, np.arange(0, CELLS, 2), path=path, every=4)
        callbacks = [for_lightning.callback(look)]
    model.train(
        6, accelerator="cpu", batch_size=64, callbacks=callbacks, enable_progress_bar=False,
        logger=False,
    )  # fmt: skip
    return model, look


OPTIONS = {"zinb": {}, "nb": {"gene_likelihood": "nb", "use_observed_lib_size": False}}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_training_is_the_same_to_the_bit(tmp_path, options):
    plain, _ = trained(**options)
    left = state_of(plain.module)
    model, look = trained(tmp_path / "run.jsonl", **options)
    assert_same(left, state_of(model.module))
    kept = monitor.load(tmp_path / "run.jsonl")
    assert len(kept.updates) >= 3
    chosen = np.arange(0, CELLS, 2)
    means, variances = model.get_latent_representation(indices=chosen, return_dist=True)
    kl = 0.5 * (means**2 + variances - np.log(variances) - 1).mean(axis=0)
    assert look.diagnosis.kl == pytest.approx(kl, rel=1e-4)


def test_a_model_of_no_counts_is_refused():
    cells = counts()
    scvi.model.SCVI.setup_anndata(cells)
    model = scvi.model.SCVI(cells, gene_likelihood="normal")
    with pytest.raises(
        ValueError, match="expected a model of counts, got gene_likelihood='normal'"
    ):
        for_scvi.watch(model)
