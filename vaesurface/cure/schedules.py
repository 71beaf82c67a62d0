"""Which cures change the way down? Schedules: while they last another energy is descended, then the
trap's own.

None of them moves the collapsed point of an exact energy, a strict minimum at every alpha > 0: they
decide which starts are in its basin when they end.

>>> [round(float(cycle(t)), 3) for t in (0.1, 0.2, 0.3)]  # four of them, each half a ramp
[0.8, 1.0, 0.4]
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from scipy.optimize import brentq

from vaesurface.cure.descent import Way, descend, energy
from vaesurface.problem import Params
from vaesurface.vae import ThresholdVAE
from vaesurface.vae.architecture import Architecture

__all__ = [
    "aggressive",
    "cycle",
    "cyclical",
    "floor",
    "free_bits",
    "homotopy",
    "longer",
    "plain",
    "warm_up",
]

CYCLES = 4
FREE_NATS = 0.5  # per latent, below which the KL part is not felt
FLOOR_NATS = 0.2  # per latent, that the posterior's width alone costs
INNER = 5  # steps of the encoder for one of the decoder


def plain(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """Nothing but Adam."""
    return descend(way, problem, start, key)


def longer(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """Nothing but more steps, twice as many in all: what is left to be said for any schedule."""
    return descend(way, problem, start, key, steps=way.first + way.steps)


def warm_up(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """beta grows from 0 to its value (Bowman et al. 2016; Soenderby et al. 2016)."""

    def loss(problem: Any, params: Params, key: Array, t: Array) -> Array:
        return energy(replace(problem, beta=t * problem.beta), params, key)

    return descend(way, problem, start, key, loss)


def cyclical(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """The same four times over, each time with as long at the full beta (Fu et al. 2019)."""

    def loss(problem: Any, params: Params, key: Array, t: Array) -> Array:
        return energy(replace(problem, beta=cycle(t) * problem.beta), params, key)

    return descend(way, problem, start, key, loss)


def cycle(t: Any) -> Array:
    """Part of beta at t in [0, 1)."""
    return jnp.minimum(2.0 * (CYCLES * t % 1.0), 1.0)


def free_bits(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """What a latent's KL divergence, mean over data, has below half a nat is free (Kingma et al.
    2016).
    """

    def loss(problem: Any, params: Params, key: Array, t: Array) -> Array:
        information = problem.information(params)
        charged = jnp.maximum(information, 2.0 * FREE_NATS)
        return energy(problem, params, key) + problem.beta * jnp.sum(charged - information)

    return descend(way, problem, start, key, loss)


def floor(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """Posteriors are so narrow that each latent costs 0.2 nats whatever it says: a committed rate
    (delta-VAE, Razavi et al. 2019).
    """
    if not isinstance(problem, ThresholdVAE):
        narrow = replace(problem, architecture=_Committed.of(problem.architecture))
        end = descend(way, narrow, start, key)
        return end._replace(encoder=end.encoder | {"log_std": _at_floor(end.encoder["log_std"])})

    def narrowed(params: Params) -> Params:
        return params._replace(log_std=_narrow(params.log_std))

    def loss(problem: Any, params: Params, key: Array, t: Array) -> Array:
        return energy(problem, narrowed(params), key)

    return narrowed(descend(way, problem, start, key, loss))


# ½ (sigma^2 - 1) - log sigma nats, of the largest deviation that is allowed
LOG_WIDTH = math.log(brentq(lambda s: 0.5 * (s * s - 1.0) - math.log(s) - FLOOR_NATS, 1e-3, 1.0))


def _narrow(log_std: Array) -> Array:
    """Below LOG_WIDTH, smoothly."""
    return LOG_WIDTH - jax.nn.softplus(LOG_WIDTH - log_std)


@dataclass(frozen=True)
class _Committed(Architecture):
    """Networks whose posteriors are narrow."""

    inner: Architecture

    @classmethod
    def of(cls, inner: Architecture) -> "_Committed":
        return cls(inner.features, inner.latent, inner)

    @property
    def name(self) -> str:
        return f"{self.inner.name}, at least {FLOOR_NATS:g} nats a latent"

    @property
    def units(self) -> int:
        return self.inner.units

    def encoder(self, options: Any) -> Any:
        return self.inner.encoder(options)

    def decoder(self, options: Any) -> Any:
        return self.inner.decoder(options)

    def encode(self, encoder: Any, x: Array) -> tuple[Array, Array]:
        mean, log_std = self.inner.encode(encoder, x)
        return mean, _narrow(log_std)

    def decode(self, decoder: Any, z: Array) -> Array:
        return self.inner.decode(decoder, z)


def _at_floor(head: Any) -> Any:
    """The head of the deviations where the floor held all of them: from there they are free."""
    return {
        "kernel": jnp.zeros_like(head["kernel"]),
        "bias": jnp.full_like(head["bias"], LOG_WIDTH),
    }


def aggressive(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """Five steps of the encoder for one of the decoder (He et al. 2019)."""
    own = ("mean", "log_std") if isinstance(problem, ThresholdVAE) else ("encoder",)

    def hold(change: Params, i: Array) -> Params:
        moves = i % INNER == INNER - 1
        held = {
            name: jax.tree.map(lambda x: jnp.where(moves, x, 0.0), getattr(change, name))
            for name in change._fields
            if name not in own
        }
        return change._replace(**held)

    return descend(way, problem, start, key, hold=hold)


def homotopy(way: Way, problem: Any, start: Params, key: Array) -> Params:
    """alpha grows from 0, where collapse is a saddle as far as latents pay, to its value
    (continuation).
    """

    def loss(problem: Any, params: Params, key: Array, t: Array) -> Array:
        return energy(replace(problem, alpha=t * problem.alpha), params, key)

    return descend(way, problem, start, key, loss)
