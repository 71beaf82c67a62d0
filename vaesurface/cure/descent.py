"""How does a run go down that a cure has changed?

A loop of gradient steps on a loss that may change on the way: a schedule is a function of the
problem, which is a value, and of how far the run has come. On exact energies the gradient is the
full one; networks are trained on mini-batches and fresh noise, as people do.

>>> import jax
>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(2), latent=1, alpha=0.2, gamma=0.5)
>>> way = Way(first=50, last=50, rate=0.02, batch=None)
>>> end = finish(way, problem, problem.init(jax.random.key(0), 1.0), jax.random.key(1))
>>> bool(problem.loss(end) < problem.loss(problem.init(jax.random.key(0), 1.0)))
True
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vaesurface.problem import Params
from vaesurface.vae import ThresholdVAE

__all__ = ["Hold", "Loss", "Way", "descend", "energy", "finish"]

# Of a problem, its parameters, a key and how far the run has come, from 0 to 1.
Loss = Callable[[Any, Params, Array, Array], Array]
Hold = Callable[[Params, Array], Params]  # what is kept of a change in that step
# By which part of a Newton step the gamma of a network moves, and the largest error that counts: as
# in `vae.train`.
GAMMA_RATE = 0.01
GAMMA_EXCESS = 10.0


class Way(NamedTuple):
    """How runs go down; the same for all cures of a trap.

    first: steps in which a cure does what it does.
    last: steps on the trap's own energy thereafter, at a rate that falls to zero along a cosine.
    rate: of Adam.
    batch: data drawn a step, with fresh noise; None: exact gradients.
    """

    first: int
    last: int
    rate: float
    batch: int | None

    @property
    def steps(self) -> int:
        """Gradients of a plain run."""
        return self.first + self.last


def energy(problem: Any, params: Params, key: Array, t: Any = None) -> Array:
    """The energy: exact, or a draw of a network's."""
    if isinstance(problem, ThresholdVAE):
        return problem.loss(params)
    return problem.sampled(params, key)


def descend(
    way: Way,
    problem: Any,
    params: Params,
    key: Array,
    loss: Loss = energy,
    *,
    steps: int | None = None,
    hold: Hold | None = None,
    best_gamma: bool = False,
    decay: bool = False,
) -> Params:
    """Parameters after `steps` (by default `way.first`) steps of Adam on a loss.

    hold: of every change. best_gamma: a learned gamma is set to its optimum at every step. decay:
    the rate falls to zero.
    """
    steps = way.first if steps is None else steps
    rate = optax.cosine_decay_schedule(way.rate, steps) if decay else way.rate
    transformation = _transformation(problem, params, rate, way.batch is not None, best_gamma)

    def step(state: tuple[Params, Any], i: Array) -> tuple[tuple[Params, Any], None]:
        params, inner = state
        # Two keys: drawn from one, a row's noise would hang on whether the row is seen.
        rows, noise = jax.random.split(jax.random.fold_in(key, i))
        seen = _seen(problem, rows, way.batch)
        gradient = jax.grad(loss, argnums=1)(seen, params, noise, i / steps)
        change, inner = transformation.update(gradient, inner, params)
        change = change if hold is None else hold(change, i)
        return (optax.apply_updates(params, change), inner), None

    start = params, transformation.init(params)
    return jax.lax.scan(step, start, jnp.arange(steps))[0][0]


def finish(way: Way, problem: Any, params: Params, key: Array) -> Params:
    """Down to the end on the problem's own energy: `way.last` steps."""
    return descend(way, problem, params, key, steps=way.last, decay=True)


def _seen(problem: Any, key: Array, batch: int | None) -> Any:
    """The problem with the data of one step."""
    if batch is None:
        return problem
    rows = jax.random.choice(key, len(problem.X), (batch,), replace=False)
    return dataclasses.replace(problem, X=problem.X[rows])


def _transformation(
    problem: Any, params: Params, rate: Any, sampled: bool, best_gamma: bool
) -> optax.GradientTransformation:
    """Adam; of a learned gamma, where it is set or gradients are drawn, a rule of its own."""
    if params.log_gamma is None or not (sampled or best_gamma):
        return optax.adam(rate)
    d = problem.X.shape[1]
    own = optax.stateless(_to_best(d)) if best_gamma else _newton(d)
    kinds = jax.tree.map(lambda _: "weights", params)._replace(log_gamma="gamma")
    return optax.partition({"weights": optax.adam(rate), "gamma": own}, kinds)


def _newton(d: int) -> optax.GradientTransformation:
    """A part of Newton's step in log gamma, whose second derivative is d where it is optimal."""
    return optax.chain(optax.scale(1.0 / d), optax.clip(GAMMA_EXCESS), optax.scale(-GAMMA_RATE))


def _to_best(d: int) -> Callable[[Any, Any], Any]:
    """To the gamma that is the expected error per coordinate, eq. 10: the gradient is d (1 - error
    / gamma).
    """
    return lambda gradient, _: jax.tree.map(lambda g: jnp.log1p(-g / d), gradient)
