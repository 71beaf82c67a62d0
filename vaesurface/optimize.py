"""Where does a run of an optimizer end?

An `Optimizer` is a function of (loss, params) with a name, so that results can say what made them.
The phase diagram answers for Adam unless another is given.

>>> import jax.numpy as jnp
>>> run = gradient_descent(steps=100, learning_rate=0.1)(lambda w: (w - 3.0) ** 2, jnp.array(0.0))
>>> print(f"{run.params:.6f}")
3.000000
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vaesurface.problem import Params


class Run(NamedTuple):
    """End of a run. path: parameters recorded along it (leading axis: time, the start first), or
    None.
    """

    params: Params
    loss: Array
    path: Params | None


class Optimizer(NamedTuple):
    """A named function (loss, params) -> Run."""

    name: str
    run: Callable[[Callable, Params], Run]

    def __call__(self, loss: Callable[[Params], Array], params: Params) -> Run:
        return self.run(loss, params)


def descend(
    transformation: optax.GradientTransformation, steps: int, name: str, record: int | None = None
) -> Optimizer:
    """Optimizer from any optax transformation: `steps` full-gradient steps; with record=r every
    r-th point is kept.

    Raises ValueError unless steps >= 1 and record, where given, divides steps.
    """
    if steps < 1 or (record is not None and (record < 1 or steps % record)):
        raise ValueError(
            f"expected steps >= 1 and record a divisor of it, got {steps} and {record}; change "
            f"either"
        )
    update = optax.with_extra_args_support(transformation).update

    def run(loss: Callable[[Params], Array], params: Params) -> Run:
        def step(state):
            params, inner = state
            value, gradient = jax.value_and_grad(loss)(params)
            change, inner = update(
                gradient, inner, params, value=value, grad=gradient, value_fn=loss
            )
            return optax.apply_updates(params, change), inner

        def stretch(state, _):
            state = jax.lax.fori_loop(0, record or steps, lambda _, s: step(s), state)
            return state, state[0] if record else None

        state, path = jax.lax.scan(
            stretch, (params, transformation.init(params)), length=steps // (record or steps)
        )
        if record:
            path = jax.tree.map(
                lambda first, rest: jnp.concatenate([first[None], rest]), params, path
            )
        return Run(state[0], loss(state[0]), path)

    return Optimizer(name, run)


class NoisyOptimizer(NamedTuple):
    """A named function (loss, params, key) -> Run, for a loss(params, key) that is drawn anew each
    step.
    """

    name: str
    run: Callable[[Callable, Params, Array], Run]

    def __call__(self, loss: Callable[[Params, Array], Array], params: Params, key: Array) -> Run:
        return self.run(loss, params, key)


def descend_noisily(
    transformation: optax.GradientTransformation, steps: int, name: str
) -> NoisyOptimizer:
    """Optimizer of a sampled loss from any optax transformation: `steps` steps, each with a key of
    its own.

    `Run.loss` is one more draw at the end. Raises ValueError unless steps >= 1.
    """
    if steps < 1:
        raise ValueError(f"expected steps >= 1, got {steps}; take more")

    def run(loss: Callable[[Params, Array], Array], params: Params, key: Array) -> Run:
        def step(state, i):
            params, inner = state
            change, inner = transformation.update(
                jax.grad(loss)(params, jax.random.fold_in(key, i)), inner, params
            )
            return (optax.apply_updates(params, change), inner), None

        (params, _), _ = jax.lax.scan(
            step, (params, transformation.init(params)), jnp.arange(steps)
        )
        return Run(params, loss(params, jax.random.fold_in(key, steps)), None)

    return NoisyOptimizer(name, run)


def adam(steps: int = 3000, learning_rate: float = 0.02, record: int | None = None) -> Optimizer:
    """Adam (Kingma & Ba 2015), what people train with; the learning rate falls to zero along a
    cosine.
    """
    schedule = optax.cosine_decay_schedule(learning_rate, max(steps, 1))
    return descend(
        optax.adam(schedule), steps, f"Adam, {steps} steps, rate {learning_rate:g}", record
    )


def gradient_descent(
    steps: int = 10000, learning_rate: float = 0.01, record: int | None = None
) -> Optimizer:
    """Plain gradient descent; gradient flow for small rates."""
    name = f"gradient descent, {steps} steps, rate {learning_rate:g}"
    return descend(optax.sgd(learning_rate), steps, name, record)


def lbfgs(steps: int = 300, record: int | None = None) -> Optimizer:
    """L-BFGS with optax's zoom line search."""
    return descend(optax.lbfgs(), steps, f"L-BFGS, {steps} steps", record)
