"""Where does a run of an optimizer end?

An `Optimizer` is a function of (loss, params) with a name, so that results can say what made them.
Those made alike are equal, so that one program serves all. The phase diagram answers for Adam
unless another is given.

>>> import jax.numpy as jnp
>>> run = gradient_descent(steps=100, learning_rate=0.1)(lambda w: (w - 3.0) ** 2, jnp.array(0.0))
>>> print(f"{run.params:.6f}")
3.000000
>>> adam(steps=100) == adam(steps=100), adam(steps=100) == adam(steps=200)
(True, False)
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vaesurface.glance import brief
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


@brief("loss", "params", "path")
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
    return Optimizer(name, _Descent(_Transformation(transformation), steps, record))


@dataclass(frozen=True)
class _Transformation:
    """An optax transformation, compared by what it was made of (`_made_of`).

    That is taken down when it is made: some of optax's schedules change what they hold when called.
    """

    value: optax.GradientTransformation = field(compare=False)
    made_of: Hashable = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "made_of", _made_of(self.value))


@dataclass(frozen=True)
class _Descent:
    """Full-gradient steps, as `descend` says."""

    transformation: _Transformation
    steps: int
    record: int | None

    def __call__(self, loss: Loss, params: Params) -> Run:
        transformation, record = self.transformation.value, self.record
        update = optax.with_extra_args_support(transformation).update
        stride = record or self.steps

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
        (end, _), path = jax.lax.scan(stretch, start, length=self.steps // stride)
        if record:
            path = jax.tree.map(_after, params, path)
        return Run(params=end, loss=loss(end), path=path)


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
    return NoisyOptimizer(name, _NoisyDescent(_Transformation(transformation), steps))


@dataclass(frozen=True)
class _NoisyDescent:
    """Steps along sampled gradients, as `descend_noisily` says."""

    transformation: _Transformation
    steps: int

    def __call__(self, loss: NoisyLoss, params: Params, key: Array) -> Run:
        transformation, steps = self.transformation.value, self.steps

        def step(state, i):
            params, inner = state
            gradient = jax.grad(loss)(params, jax.random.fold_in(key, i))
            change, inner = transformation.update(gradient, inner, params)
            return (optax.apply_updates(params, change), inner), None

        start = params, transformation.init(params)
        (end, _), _ = jax.lax.scan(step, start, jnp.arange(steps))
        return Run(params=end, loss=loss(end, jax.random.fold_in(key, steps)), path=None)


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


def _made_of(value: Any) -> Hashable:
    """Equal for two transformations that the same calls of optax made.

    A function of the libraries is its code and what it closes over: each call makes another object,
    and would be another program. Anybody else's function is itself only, since what it reads may
    have changed.
    """
    if isinstance(value, FunctionType) and _package(value) in ("optax", "jax"):
        inside = [cell.cell_contents for cell in value.__closure__ or ()]
        settings = value.__defaults__, value.__kwdefaults__
        return value.__module__, value.__code__, _made_of(inside), _made_of(settings)
    if isinstance(value, partial):
        return _made_of((value.func, value.args, value.keywords))
    if isinstance(value, tuple | list):
        return type(value), *map(_made_of, value)
    if isinstance(value, dict):
        return dict, *((key, _made_of(one)) for key, one in value.items())
    # 1, 1.0 and True are equal, and other programs.
    return (type(value), value) if isinstance(value, Hashable) else id(value)


def _package(function: FunctionType) -> str:
    return (function.__module__ or "").partition(".")[0]
