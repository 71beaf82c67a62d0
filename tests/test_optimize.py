"""Optimizers made alike are equal, so that one program serves them all."""

from functools import partial

import jax
import optax
import pytest

from vaesurface import optimize, stationary
from vaesurface.problem import Problem
from vaesurface.stationary import search

KEY = jax.random.key(0)


def constant(_):
    return 0.1


ALIKE = {
    "Adam": optimize.adam,
    "gradient descent": partial(optimize.gradient_descent, 10, 0.1),
    "L-BFGS": optimize.lbfgs,
    "path": lambda: optimize.adam(10, record=5),
    "chain": lambda: optimize.descend(
        optax.chain(optax.clip(1.0), optax.adamw(optax.warmup_cosine_decay_schedule(0, 1, 2, 9))),
        9,
        "chain",
    ),
    "masked": lambda: optimize.descend(optax.masked(optax.sgd(0.1), {"w": True}), 9, "masked"),
    "injected": lambda: optimize.descend(optax.inject_hyperparams(optax.sgd)(0.1), 9, "injected"),
    "own schedule": lambda: optimize.descend(optax.sgd(constant), 9, "own"),
    "noisy": lambda: optimize.descend_noisily(optax.sgd(0.1), 9, "noisy"),
}
# A lambda made anew may read what has changed, 1 and 1.0 are other programs.
UNLIKE = {
    "steps": lambda: (optimize.adam(10), optimize.adam(11)),
    "rate, by less than its name shows": lambda: (
        optimize.adam(10, 0.1),
        optimize.adam(10, 0.1 + 1e-12),
    ),
    "kind": lambda: (optimize.adam(10, 0.1), optimize.gradient_descent(10, 0.1)),
    "kind, of one name": lambda: (
        optimize.descend(optax.lion(0.1), 9, "mine"),
        optimize.descend(optax.adam(0.1), 9, "mine"),
    ),
    "type": lambda: (
        optimize.descend(optax.scale(1), 9, "mine"),
        optimize.descend(optax.scale(1.0), 9, "mine"),
    ),
    "somebody's function": lambda: tuple(
        optimize.descend(optax.sgd(lambda _: 0.1), 9, "mine") for _ in range(2)
    ),
    "record": lambda: (optimize.adam(10), optimize.adam(10, record=5)),
}


@pytest.mark.parametrize("name", ALIKE)
def test_made_alike_are_equal(name):
    first, second = ALIKE[name](), ALIKE[name]()
    assert first is not second
    assert first == second
    assert hash(first) == hash(second)


@pytest.mark.parametrize("name", UNLIKE)
def test_others_are_not(name):
    first, second = UNLIKE[name]()
    assert first != second


def test_one_program_serves_every_call_of_find():
    def wells(w):
        return (w[0] ** 2 - 1) ** 2

    problem = Problem(loss=wells, init=lambda key, scale: scale * jax.random.normal(key, (1,)))
    before = search._run._cache_size()
    for scale in (0.5, 1.0):
        point = stationary.find(problem, KEY, scale, optimize.adam(50))
        assert point.label == "local minimum"
    assert search._run._cache_size() == before + 1
    assert abs(abs(float(point.params[0])) - 1) < 1e-9
