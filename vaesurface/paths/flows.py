"""Where does a way down lead from a start?

A `Flow` is a function that says so: gradient flow, monotone second-order descent, an optimizer, or
an optimizer of a sampled loss. Times are of gradient flow in the Euclidean metric, weighed 1/n for
parameters of one of n data.

>>> import jax.numpy as jnp
>>> wells = Problem(loss=lambda x: jnp.sum((x**2 - 1) ** 2))
>>> print(gradient_flow(wells, jnp.array([-0.1]), level=-1.0).round(6))
[-1.]
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.experimental.ode import odeint
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import optimize, stationary
from vaesurface.problem import Params, Problem

__all__ = [
    "Flow",
    "gradient_flow",
    "noisy",
    "optimized",
    "second_order_descent",
    "settled",
]

# flow(problem, start, level, key) -> where that leads. It may stop where the loss has fallen below
# level, the minimum's, from where no descent returns. key: for flows that draw.
Flow = Callable[[Problem, Params, Array, Array], Params]

# Of gradient flow: in its metric a posterior mean without effect relaxes like exp(-2 t).
FLOW_TIME = 100.0
# In which posteriors settle: exp(-60) is nothing.
SETTLING_TIME = 30.0
# Length of the first stretch of a flow, after which the loss is looked at; each is twice as long as
# the last.
FIRST_STRETCH = 1.0
# Relative error of an integration step; and the absolute one, a thousandth of that.
FLOW_ERROR = 1e-7
ABSOLUTE_ERROR = 1e-3 * FLOW_ERROR


def gradient_flow(
    problem: Problem, params: Params, level: ArrayLike, key: Any = None, time: float = FLOW_TIME
) -> Params:
    """The gradient flow's end after `time`, or where the loss has fallen below level.

    Per-datum parameters move n times as fast as the loss, a mean over data, would have them: so
    that time is alike for all of them whatever n (Euclidean metric, weighed 1/n). By Dormand and
    Prince's method with an error of 1e-7 a step.
    """
    return _flow(problem, params, level, time, _rates(problem, params, 1.0))


def second_order_descent(
    problem: Problem, params: Params, level: ArrayLike, key: Any = None
) -> Params:
    """The end of `stationary.refine`: second-order steps along which the loss never rises, or
    Newton's method at once.
    """
    return stationary.refine(problem, params).params


def optimized(optimizer: optimize.Optimizer) -> Flow:
    """An optimizer's run on the exact loss, as a flow. Make it once: a program is compiled for
    each.
    """

    def flow(problem: Problem, params: Params, level: ArrayLike, key: Any = None) -> Params:
        return optimizer(problem.loss, params).params

    return flow


def noisy(optimizer: optimize.NoisyOptimizer, loss: Callable[..., Array]) -> Flow:
    """An optimizer's run on a loss that is drawn anew each step, loss(problem, params, key), as
    `vae.sampled_loss` is.

    A run too short to leave the ridge between two basins behind may be refined into the saddle
    there.
    """

    def flow(problem: Problem, params: Params, level: ArrayLike, key: Any) -> Params:
        return optimizer(partial(loss, problem), params, key).params

    return flow


def settled(problem: Problem, params: Params) -> Params:
    """The same with per-datum parameters at the optimum that gradient flow leads them to, all
    others held.
    """
    if problem.structure is None:
        return params
    return _flow(problem, params, -jnp.inf, SETTLING_TIME, _rates(problem, params, 0.0))


def _rates(problem: Problem, params: Params, others: float) -> Params:
    """How fast each parameter moves down its slope: n for per-datum ones, `others` for the rest."""
    rates = optax.tree.full_like(params, others)
    if problem.structure is None:
        return rates
    parts, n = problem.structure.split(rates), 1.0 * len(problem.structure.data)
    return problem.structure.join(parts._replace(local=optax.tree.full_like(parts.local, n)))


class _Stretch(NamedTuple):
    """How far a flow has come.

    y: (p,), raveled parameters.
    t: (), the time.
    span: (), length of the next stretch.
    """

    y: Array
    t: Array
    span: Array


def _flow(
    problem: Problem, params: Params, level: ArrayLike, time: ArrayLike, rates: Params
) -> Params:
    """Where y' = -rates * gradient leads until time, or until the loss is below level."""
    x, unravel = ravel_pytree(params)
    rate = ravel_pytree(rates)[0]
    valued = jax.value_and_grad(lambda y: problem.loss(unravel(y)))

    def velocity(y: Array, _: Array) -> Array:
        # Below the level everything stands still: gamma may be on its way to zero there, and the
        # flow ever stiffer.
        value, gradient = valued(y)
        return jnp.where(value >= level, -rate * gradient, 0.0)

    def unfinished(state: _Stretch) -> Array:
        return (state.t < time) & (valued(state.y)[0] >= level)  # false for NaN as well

    def on(state: _Stretch) -> _Stretch:
        span = jnp.minimum(state.span, time - state.t)
        times = jnp.stack([jnp.zeros_like(span), span])
        y = odeint(velocity, state.y, times, rtol=FLOW_ERROR, atol=ABSOLUTE_ERROR)[-1]
        return _Stretch(y=y, t=state.t + span, span=2 * span)

    zero = jnp.zeros((), x.dtype)
    start = _Stretch(y=x, t=zero, span=zero + FIRST_STRETCH)
    return unravel(jax.lax.while_loop(unfinished, on, start).y)
