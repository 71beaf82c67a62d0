"""How is an scvi-tools model looked at while it is trained? By a callback of its Lightning Trainer.

    look = for_scvi.watch(model, path="run.jsonl")
    model.train(callbacks=[for_lightning.callback(look)])
    look.diagnosis

Posteriors are the model's own. Counts are judged as Poisson with the decoder's means, library sizes
and batches being each cell's: a negative binomial lets counts vary more about the same means, so
that a latent pays less than is said; an inactive one that would not pay here would not there.
"""

from typing import Any

import numpy as np

from vaesurface.diagnose import tensors
from vaesurface.monitor import watching
from vaesurface.refusal import complaint

__all__ = ["CELLS", "watch"]

CELLS = 512  # that are looked at, evenly spaced, unless others are named


def watch(model: Any, cells: Any = None, **options: Any) -> watching.Watch:
    """Look at `scvi.model.SCVI`, or a model whose module has its `inference` and `generative`.

    cells: indices of those looked at; options: of `monitor.watch`. Raises ValueError where the
    likelihood is not one of counts.
    """
    module = model.module
    if getattr(module, "gene_likelihood", "") not in ("zinb", "nb", "poisson"):
        got = f"gene_likelihood={getattr(module, 'gene_likelihood', None)!r}"
        raise complaint("a model of counts", got, "use monitor.watch with functions of your own")
    if cells is None:
        cells = np.unique(np.linspace(0, model.adata.n_obs - 1, CELLS).astype(int))
    with tensors.undisturbed([module]):
        (held,) = model._make_data_loader(model.adata, indices=cells, batch_size=len(cells))

    def inferred(x: Any) -> tuple[dict, dict]:
        inputs = {name: value.to(x.device) for name, value in held.items()}
        return inputs, module.inference(**module._get_inference_input(inputs))

    def encode(x: Any) -> tuple[Any, Any]:
        posterior = inferred(x)[1]["qz"]
        return posterior.loc, posterior.scale.log()

    def rates(z: Any, x: Any) -> Any:
        inputs, outputs = inferred(x)
        if outputs["ql"] is not None:  # a library size that is inferred, too: at its mean
            outputs["library"] = outputs["ql"].loc
        outputs["z"] = module.z_encoder.z_transformation(z)
        return module.generative(**module._get_generative_input(inputs, outputs))["px"].mean

    options = {"likelihood": "poisson", "rows_at_a_time": len(cells), **options}
    return watching.watch(held["X"], encode, rates, predict=rates, **options)
