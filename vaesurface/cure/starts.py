"""Which cures change where a run begins, or where it begins again?

They leave the surface and every way down as they are, and begin outside of the basin of collapse:
inside it nothing has changed.

>>> import jax
>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(2), latent=1, alpha=0.2)
>>> small, large = problem.init(jax.random.key(0), 0.1), larger(problem, 0.1, jax.random.key(0))
>>> print((large.weight / small.weight).round(6).tolist())
[[10.0], [10.0]]
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from vaesurface import energy as terms
from vaesurface.cure.descent import Way, descend
from vaesurface.problem import Params
from vaesurface.vae import ThresholdVAE

__all__ = ["FACTOR", "autoencoder", "beside", "dead_rows", "larger"]

FACTOR = 10.0  # of a larger start
# Of a code's own deviation: a posterior's, where an autoencoder becomes a VAE; and the least of
# those, of a code that says nothing.
NARROW = 0.1
LEAST_WIDTH = 1e-3
LEAST_GAMMA = 0.01  # of the data's variance, from which a VAE begins that has reconstructed them


def larger(problem: Any, scale: float, key: Array) -> Params:
    """The same start, ten times as large."""
    return problem.init(key, FACTOR * scale)


def beside(problem: Any, scale: float, key: Array, place: Params) -> Params:
    """At a place, as far from it as the plain start is from collapse: paired starts differ."""
    start, collapsed = problem.init(key, scale), problem.collapsed()
    moved = {
        name: getattr(place, name) + getattr(start, name) - getattr(collapsed, name)
        for name in ("weight", "mean")
    }
    return place._replace(**moved)


def autoencoder(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """The autoencoder of the same decoder is trained first, without noise and KL; then posteriors
    are as narrow as its codes are apart, and gamma is its error.
    """

    def loss(problem: Any, params: Params, key: Array, t: Array) -> Array:
        return problem.X.shape[1] * problem.reconstruction_error(params)

    end = descend(way, problem, start, key, loss)
    if problem.gamma is None:
        error = problem.reconstruction_error(end)
        least = LEAST_GAMMA * terms.gammabar(problem.X)
        end = end._replace(log_gamma=jnp.log(jnp.maximum(error, least)))
    if isinstance(problem, ThresholdVAE):
        width = _widths(end.mean)
        return end._replace(log_std=jnp.broadcast_to(width, end.log_std.shape))
    mean, _ = problem.architecture.encode(end.encoder, problem.X)
    head = end.encoder["log_std"] | {"bias": _widths(mean)}
    return end._replace(encoder=end.encoder | {"log_std": head})


def _widths(codes: Array) -> Array:
    """Logarithms (k,) of posterior deviations for codes (n, k), at most the prior's."""
    return jnp.log(jnp.clip(NARROW * jnp.std(codes, axis=0), LEAST_WIDTH, 1.0))


def dead_rows(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """A plain run to its end; then rows of the weight at zero along which the energy is known to
    fall leave (`theory.dead_rows`). Of collapse itself none does.
    """
    end = problem.settle(descend(way, problem, start, key, steps=way.steps, decay=True))
    return end._replace(weight=end.weight + problem.theory(end).descent.weight)
