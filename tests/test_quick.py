"""Small problems are compiled quickly, and say the same."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import data, quick, stationary, vae
from vaesurface.problem import Problem, hessians


def net(w):
    return jnp.mean(jnp.tanh(INPUTS @ w["in"]) @ w["out"]) ** 2 + sum(
        jnp.sum(jnp.cosh(leaf)) for leaf in w.values()
    )


INPUTS = jnp.asarray(np.random.default_rng(0).standard_normal((30, 4)))
ROWS = jnp.ones((50, 1000))
ZERO = {"in": jnp.zeros((4, 3)), "out": jnp.zeros((3, 2))}


def counted(program):
    return program._quick._cache_size(), program._thorough._cache_size()


def test_a_small_problem_is_compiled_quickly_unless_it_is_part_of_a_program():
    program = stationary.analysis._judged.program
    quickly, thoroughly = counted(program)
    problem = Problem(loss=net)
    alone = stationary.analyze(problem, ZERO)
    assert counted(program) == (quickly + 1, thoroughly)
    within = jax.jit(lambda w: stationary.analyze(problem, w))(ZERO)
    many = jax.vmap(lambda w: stationary.analyze(problem, w))(
        jax.tree.map(lambda x: jnp.stack([x, x]), ZERO)
    )
    assert counted(program)[0] == quickly + 1
    assert alone.label == within.label == many.label[0] == "local minimum"
    np.testing.assert_allclose(alone.loss, within.loss, rtol=1e-14)


def test_a_loss_that_closes_over_what_is_traced_is_part_of_a_program():
    def lowest(a):
        tilted = Problem(loss=lambda w: jnp.sum((w - a) ** 2) + a**2)
        return stationary.analyze(tilted, jnp.ones(2)).loss

    assert jax.grad(lowest)(1.0) == pytest.approx(2.0)
    np.testing.assert_allclose(jax.vmap(lowest)(jnp.array([1.0, 2.0])), [1.0, 6.0])


def test_work_grows_as_the_problem_does():
    size = hessians(1)

    def of(n, latent):
        problem = vae.threshold_vae(data.load("digits", limit=n), latent, 0.1)
        return size(problem, problem.collapsed())

    assert of(40, 2) < quick.SMALL < of(1797, 8)
    assert 3.5 < of(400, 2) / of(100, 2) < 4.5
    assert of(40, 4) > 3.5 * of(40, 2)  # four times as many of a datum's own entries


@pytest.mark.parametrize(
    ("function", "operations"),
    [
        (lambda x: jnp.tanh(x), 1000),
        (lambda x: jax.lax.fori_loop(0, 7, lambda _, y: y * 0.5, x), 7000),
        (lambda x: jax.lax.cond(x[0] > 0, lambda y: jnp.sin(jnp.sin(y)), jnp.sin, x), 2000),
        (lambda x: jax.jit(jnp.tanh)(x), 1000),
        (lambda x: ROWS @ x, 12500),
    ],
)
def test_operations_are_those_that_are_repeated(function, operations):
    assert operations <= quick.work(function, jnp.zeros(1000)) < 1.5 * operations + 2100
