"""Which cures change the surface itself, or how gamma moves on it?

Another gamma, more latents, another decoder: what is asked at the end is whether that other surface
collapses, and its energies are no longer those of the trap.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from vaesurface import vae
from vaesurface.cure.descent import Way, descend
from vaesurface.problem import Params
from vaesurface.vae import ThresholdVAE, architecture

__all__ = ["best_gamma", "freed", "skipping", "unweighted", "widened"]


def freed(problem: Any) -> Any:
    """The same with gamma learned (Dai & Wipf 2019; Lucas et al. 2019)."""
    return replace(problem, gamma=None)


def unweighted(problem: Any) -> Any:
    """The same with beta = 1, which is the bound on the likelihood (Kingma & Welling 2014)."""
    return replace(problem, beta=jnp.ones_like(problem.beta))


def widened(problem: Any) -> Any:
    """The same with twice as many latents."""
    if isinstance(problem, ThresholdVAE):
        return replace(problem, latent=2 * problem.latent)
    own = problem.architecture
    made = architecture.mlp(own.features, 2 * own.latent, depth=own.depth, width=own.width)
    drawn = vae.antithetic(jax.random.key(0), 2 * own.latent, len(problem.nodes.weights))
    nodes = jax.tree.map(lambda new, old: new.astype(old.dtype), drawn, problem.nodes)
    return replace(problem, architecture=made, nodes=nodes)


def skipping(problem: Any) -> Any:
    """The same with latents told to every hidden layer of the decoder (Dieng et al. 2019)."""
    own = problem.architecture
    made = architecture.mlp(own.features, own.latent, depth=own.depth, width=own.width, skips=True)
    return replace(problem, architecture=made)


def best_gamma(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """gamma at the expected error per coordinate, its optimum (eq. 10), at every step: sigma-VAE
    (Rybkin et al. 2021).
    """
    return descend(way, problem, start, key, best_gamma=True)
