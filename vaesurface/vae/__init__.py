"""Which VAE's loss surface?

`family`: f_alpha(W z) + b with any activation and likelihood, exact energies and no sampling.
`threshold` is the paper's member, `bent` are the other Gaussian ones, `natural` those of another
likelihood; all are `elementwise`. `posterior`, `amortized`: posteriors with a covariance, and by
one encoder. `network`: VAEs of `architecture`'s networks, by frozen noise;
`train` trains them.

>>> from vaesurface import data
>>> problem = threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1)
>>> print(f"{problem.loss(problem.collapsed()):.3f}")  # 2 from the data, 1 from the posterior
3.000
"""

import importlib
from typing import TYPE_CHECKING, Any

from vaesurface import moved
from vaesurface.vae.amortized import AmortizedParams, AmortizedVAE, amortized_vae
from vaesurface.vae.bent import BentVAE, PerFeatureVAE
from vaesurface.vae.elementwise import ElementwiseVAE
from vaesurface.vae.family import elementwise_vae
from vaesurface.vae.natural import CategoricalVAE, NaturalVAE
from vaesurface.vae.posterior import DIAGONAL, FULL, Posterior, low_rank
from vaesurface.vae.threshold import ThresholdVAE, sampled_loss, threshold_vae

if TYPE_CHECKING:
    from vaesurface.vae.network import (
        NetworkParams,
        NetworkVAE,
        antithetic,
        conv_vae,
        gauss_hermite,
        mlp_vae,
        network_vae,
        resnet_vae,
    )

__all__ = [
    "DIAGONAL",
    "FULL",
    "AmortizedParams",
    "AmortizedVAE",
    "BentVAE",
    "CategoricalVAE",
    "ElementwiseVAE",
    "NaturalVAE",
    "NetworkParams",
    "NetworkVAE",
    "PerFeatureVAE",
    "Posterior",
    "ThresholdVAE",
    "amortized_vae",
    "antithetic",
    "conv_vae",
    "elementwise_vae",
    "gauss_hermite",
    "low_rank",
    "mlp_vae",
    "network_vae",
    "resnet_vae",
    "sampled_loss",
    "threshold_vae",
]

_moved = moved.names(__name__)


def __getattr__(name: str) -> Any:
    # Networks when they are asked for, since flax makes them, whose import takes a third of a
    # second; all other names of `__all__` are here.
    if name in __all__:
        return getattr(importlib.import_module("vaesurface.vae.network"), name)
    if name in ("architecture", "network"):
        return importlib.import_module(f"vaesurface.vae.{name}")
    return _moved(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
