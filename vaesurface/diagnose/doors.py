"""How does a trained VAE come in that some framework has made? As functions, as arrays, as a file.

Every door makes an `export.Export`; `measures.measure` and `judge.judge` do the rest. Of these
doors none needs JAX where the likelihood is Gaussian.

>>> import numpy as np
>>> X = np.array([[1.0, 1.0], [-1.0, -1.0]])
>>> zeros = np.zeros((2, 1))
>>> arrays(X, mean=zeros, log_std=zeros, reconstruction=0 * X, gamma=0.5).label
'(v) a bad local optimum, or training has not ended: 1 of 1 latents inactive'
"""

import os
from typing import Any

import numpy.typing as npt

from vaesurface.diagnose import export, natural_judge
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.judge import judge
from vaesurface.diagnose.measures import measure
from vaesurface.diagnose.verdict import Diagnosis
from vaesurface.refusal import located

__all__ = ["arrays", "diagnosed", "load"]


def arrays(
    x: npt.ArrayLike,
    mean: npt.ArrayLike,
    log_std: npt.ArrayLike,
    reconstruction: npt.ArrayLike,
    gamma: npt.ArrayLike | None = None,
    **more: Any,
) -> Diagnosis:
    """Diagnose what was exported: x (n, ...), posteriors (n, k), the decoder's mean at the
    posterior mean, like x, and gamma or, in more, the likelihood: "bernoulli", "poisson" or
    "categorical" (classes last).

    more: likelihood, beta, learned_gamma, sampled_reconstruction, prior_reconstruction, affine, as
    in `export.Export`; prior_mean, prior_std as in `export.check`, where the prior is not N(0, I).
    Raises ValueError for shapes that disagree, numbers that are not finite, gamma <= 0, and data
    that the likelihood cannot have.
    """
    return diagnosed(export.check(x, mean, log_std, reconstruction, gamma, **more))


def load(path: str | os.PathLike) -> Diagnosis:
    """Diagnose an .npz with the arguments of `arrays` by name. Raises ValueError for a bad file,
    FileNotFoundError for none.
    """
    arrays = export.load(path)
    with located(path):
        return diagnosed(arrays)


def diagnosed(exported: Export) -> Diagnosis:
    """The diagnosis of what was exported, by its likelihood."""
    if exported.likelihood == "gaussian":
        return judge(measure(exported))
    return natural_judge.diagnosed(exported)
