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

__all__ = [
    "NoisyOptimizer",
    "Optimizer",
    "Run",
    "adam",
    "descend",
    "descend_noisily",
    "gradient_descent",
    "lbfgs",
]

Loss = Callable[[Params], Array]
NoisyLoss = Callable[[Params, Array], Array]  # of params and a key


class Run(NamedTuple):
    """End of a run.

    params: like the start.
    loss: (), the energy there.
    path: parameters recorded along the way (leading axis: time, the start first), or None.
    """

    params: Params
    loss: Array
    path: Params | None


class Optimizer(NamedTuple):
    """A named function (loss, params) -> Run.

    name: says what made a result.
    run: the function.
    """

    name: str
    run: Callable[[Loss, Params], Run]

    def __call__(self, loss: Loss, params: Params) -> Run:
        return self.run(loss, params)


def descend(
    transformation: optax.GradientTransformation, steps: int, name: str, record: int | None = None
) -> Optimizer:
    """Optimizer of `steps` full-gradient steps of any optax transformation.

    record: every how many steps a point of the run is kept; None keeps none. Raises ValueError
    unless steps >= 1 and record, where given, divides steps.
    """
    if steps < 1 or (record is not None and (record < 1 or steps % record)):
        raise ValueError(
            f"expected steps >= 1 and record a divisor of it, got {steps} and {record}; "
            "change either"
        )
    update = optax.with_extra_args_support(transformation).update
    stride = record or steps

    def run(loss: Loss, params: Params) -> Run:
        def step(state):
            params, inner = state
            value, gradient = jax.value_and_grad(loss)(params)
            change, inner = update(
                gradient, inner, params, value=value, grad=gradient, value_fn=loss
            )
            return optax.apply_updates(params, change), inner

        def stretch(state, _):
            state = jax.lax.fori_loop(0, stride, lambda _, s: step(s), state)
            return state, state[0] if record else None

        start = params, transformation.init(params)
        (end, _), path = jax.lax.scan(stretch, start, length=steps // stride)
        if record:
            path = jax.tree.map(_after, params, path)
        return Run(params=end, loss=loss(end), path=path)

    return Optimizer(name=name, run=run)


class NoisyOptimizer(NamedTuple):
    """A named function (loss, params, key) -> Run, of a loss(params, key) drawn anew each step.

    name: says what made a result.
    run: the function.
    """

    name: str
    run: Callable[[NoisyLoss, Params, Array], Run]

    def __call__(self, loss: NoisyLoss, params: Params, key: Array) -> Run:
        return self.run(loss, params, key)


def descend_noisily(
    transformation: optax.GradientTransformation, steps: int, name: str
) -> NoisyOptimizer:
    """Optimizer of a sampled loss: `steps` steps of any optax transformation, each with its key.

    `Run.loss` is one more draw at the end. Raises ValueError unless steps >= 1.
    """
    if steps < 1:
        raise ValueError(f"expected steps >= 1, got {steps}; take more")

    def run(loss: NoisyLoss, params: Params, key: Array) -> Run:
        def step(state, i):
            params, inner = state
            gradient = jax.grad(loss)(params, jax.random.fold_in(key, i))
            change, inner = transformation.update(gradient, inner, params)
            return (optax.apply_updates(params, change), inner), None

        start = params, transformation.init(params)
        (end, _), _ = jax.lax.scan(step, start, jnp.arange(steps))
        return Run(params=end, loss=loss(end, jax.random.fold_in(key, steps)), path=None)

    return NoisyOptimizer(name=name, run=run)


def adam(steps: int = 3000, learning_rate: float = 0.02, record: int | None = None) -> Optimizer:
    """Adam (Kingma & Ba 2015), what people train with.

    The learning rate falls to zero along a cosine.
    """
    # At least one step, so that it is `descend` that refuses fewer.
    schedule = optax.cosine_decay_schedule(learning_rate, max(steps, 1))
    name = f"Adam, {steps} steps, rate {learning_rate:g}"
    return descend(optax.adam(schedule), steps, name, record)


def gradient_descent(
    steps: int = 10000, learning_rate: float = 0.01, record: int | None = None
) -> Optimizer:
    """Plain gradient descent; gradient flow for small rates."""
    name = f"gradient descent, {steps} steps, rate {learning_rate:g}"
    return descend(optax.sgd(learning_rate), steps, name, record)


def lbfgs(steps: int = 300, record: int | None = None) -> Optimizer:
    """L-BFGS with optax's zoom line search."""
    return descend(optax.lbfgs(), steps, f"L-BFGS, {steps} steps", record)


def _after(first: Array, rest: Array) -> Array:
    """An array with its first slice put before the others."""
    return jnp.concatenate([first[None], rest])
