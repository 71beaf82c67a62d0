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
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from vaesurface import moved
from vaesurface.data import plain
from vaesurface.diagnose import calls, export, likelihoods, natural_judge
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.judge import judge
from vaesurface.diagnose.measures import measure
from vaesurface.diagnose.verdict import Diagnosis
from vaesurface.refusal import located

__all__ = ["arrays", "diagnosed", "functions", "load"]


@moved.arguments(learned="learned_gamma")
def functions(
    x: Any,
    encode: Callable[[Any], tuple[Any, Any]],
    decode: Callable[[Any], Any],
    gamma: Any = None,
    *,
    beta: float = 1.0,
    learned_gamma: bool = True,
    likelihood: str | None = None,
    predict: Callable[[Any, Any], Any] | None = None,
    affine: bool = True,
    key: Any = None,
    rows_at_a_time: int = calls.ROWS,
) -> Diagnosis:
    """Diagnose an encoder and a decoder of whatever framework: functions that take and return
    arrays, PyTorch's modules or methods of one (in eval mode, without gradients, and so that
    training does not notice).

    x (n, ...); encode(x) -> mean, log_std (n, k); decode(z (n, k)) -> (n, ...), means or
    probabilities; gamma as in `arrays`, and whether it was trained, or likelihood; predict(z, x)
    where the decoder sees the datum's other coordinates too; key: of JAX's, of draws from
    posteriors and prior; rows_at_a_time: that a call is about. Raises ValueError for shapes that
    disagree and numbers that are not finite.
    """
    name = likelihoods.named(likelihood, gamma, plain(x))
    rng = np.random.default_rng(0 if key is None else _seed(key))
    answers: dict[str, Any] = calls.answers(
        x, encode, decode, predict=predict, rng=rng, rows_at_a_time=rows_at_a_time
    )
    vae = export.check(
        **answers,
        gamma=None if gamma is None else plain(gamma),
        beta=plain(beta),
        learned_gamma=learned_gamma,
        affine=affine,
        alone=predict is None,
        likelihood=name,
    )
    return diagnosed(vae)


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


def _seed(key: Any) -> np.ndarray:
    """Of NumPy's draws, from a key of JAX's."""
    import jax

    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.ravel(jax.random.key_data(key) if typed else key)
