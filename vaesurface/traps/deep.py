"""Which small deep networks collapse?

Fully connected ones of the paper's section 5, on digits: so deep that training ends in collapse
(kind (v)) with gamma learned and with gamma held, and shallow ones (kind (ii)) whose gamma is held
too large, as a squared error with weight one does, or whose beta is. Their collapsed points are
stationary whatever the hidden layers; of what is around them nothing is certified.

>>> [trap.name for trap in deep()][:2]
['mlp 10 deep, gamma learned', 'mlp 10 deep, gamma = 0.1']
>>> [trap.name for trap in deep()][2:]
['mlp 2 deep, gamma = 1', 'mlp 2 deep, gamma learned, beta = 12']
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import data, theory, vae
from vaesurface.diagnose.terms import Collapse
from vaesurface.traps.trap import Trap, ratio
from vaesurface.vae import architecture

__all__ = ["deep"]

ROWS = 600  # of the digits
WIDTH = 16  # of hidden layers: twice the latents, as many as an affine map takes
LATENT = 8
SCALE = 0.1  # of the last layers at the start
NODES = 16  # of the energy that ends are judged by; training draws anew


class _Network(NamedTuple):
    """A trap.

    depth: hidden layers in encoder and in decoder.
    gamma: None where it is learned.
    kind: of collapse.
    beta: weight of the KL part.
    """

    depth: int
    gamma: float | None
    kind: Collapse
    beta: float = 1.0


NETWORKS = (
    _Network(10, None, Collapse.LOCAL),
    _Network(10, 0.1, Collapse.LOCAL),
    _Network(2, 1.0, Collapse.GAMMA),
    _Network(2, None, Collapse.GAMMA, beta=12.0),
)


def deep() -> list[Trap]:
    """All of them: each is a family of its own, `problem` a `vae.NetworkVAE` in float32 on the
    first 600 of the digits.

    The optimum that energies are compared with is that of the best affine VAE, which these networks
    contain up to the resolution of their encoders' deviations: the best of all is lower.
    """
    X = data.load("digits", limit=ROWS)
    return [_trap(X, network) for network in NETWORKS]


def _trap(X: np.ndarray, network: _Network) -> Trap:
    depth, gamma, kind, beta = network
    made = architecture.mlp(X.shape[1], LATENT, depth=depth, width=WIDTH)
    nodes = vae.antithetic(jax.random.key(0), LATENT, NODES)
    rows = jnp.asarray(X, jnp.float32)
    problem = vae.network_vae(rows, made, nodes=nodes, gamma=gamma, beta=beta)
    name = f"mlp {depth} deep, gamma {'learned' if gamma is None else f'= {gamma:g}'}"
    name += f", beta = {beta:g}" if beta != 1.0 else ""
    return Trap(
        name=name,
        family=name,
        problem=problem,
        scale=SCALE,
        kind=kind,
        verdict="stationary point",
        collapsed=problem.collapsed(),
        energy=_collapsed_energy(X, gamma, beta),
        radius=0.0,
        barrier=math.nan,
        optimum=float(theory.global_minimum(X, LATENT, gamma, beta)),
        known="the best affine VAE's, exact; networks may be lower",
        ratio=ratio(X, gamma, beta),
    )


def _collapsed_energy(X: np.ndarray, gamma: float | None, beta: float) -> float:
    """Of the constant decoder and the prior: d (gammabar / gamma + log gamma) + beta k."""
    spread = float(np.mean((X - X.mean(axis=0)) ** 2))
    level = spread if gamma is None else gamma
    return X.shape[1] * (spread / level + math.log(level)) + beta * LATENT
