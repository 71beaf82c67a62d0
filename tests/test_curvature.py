"""Hessians, inertia, Lanczos; optimizers' runs: against NumPy and closed forms."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaesurface import curvature, data, optimize, vae

RNG = np.random.default_rng(0)
M = RNG.normal(size=(30, 30))
M = M + M.T


def quadratic(params):
    w = jnp.concatenate([params["a"], params["b"].ravel()])
    return 0.5 * w @ M @ w + jnp.sum(w)


POINT = {"a": jnp.asarray(RNG.normal(size=10)), "b": jnp.asarray(RNG.normal(size=(4, 5)))}


@pytest.mark.parametrize("batch_size", [None, 1, 7, 64])
def test_dense_hessian_is_the_matrix_whatever_the_batch(batch_size):
    np.testing.assert_allclose(curvature.hessian(quadratic, POINT, batch_size), M, atol=1e-12)


def test_product_spectrum_inertia_and_newton_step_of_a_quadratic():
    vector = jax.tree.map(lambda x: x + 1.0, POINT)

    def flat(tree):
        return np.concatenate([tree["a"], tree["b"].ravel()])

    np.testing.assert_allclose(
        flat(curvature.hvp(quadratic, POINT, vector)), M @ flat(vector), atol=1e-12
    )
    eigenvalues = np.linalg.eigvalsh(M)
    np.testing.assert_allclose(curvature.spectrum(quadratic, POINT), eigenvalues, atol=1e-12)
    negative = int((eigenvalues < 0).sum())
    assert tuple(curvature.inertia(quadratic, POINT)) == (negative, 0, 30 - negative)
    newton = curvature.steps(quadratic, POINT).newton
    np.testing.assert_allclose(
        flat(POINT) + flat(newton), -np.linalg.solve(M, np.ones(30)), atol=1e-10
    )


def test_lanczos_finds_both_ends_with_a_bound_that_holds():
    eigenvalues = np.linalg.eigvalsh(M)
    for num_matvecs in (12, 30, 100):
        values, bounds, vectors = curvature.extremes(
            quadratic, POINT, jax.random.key(0), num_matvecs
        )
        assert vectors["b"].shape == (2, 4, 5)
        for value, bound in zip(values, bounds, strict=True):
            assert abs(eigenvalues - value).min() <= bound + 1e-12
    np.testing.assert_allclose(values, eigenvalues[[0, -1]], atol=1e-10)


def test_several_pairs_of_each_end():
    eigenvalues, key = np.linalg.eigvalsh(M), jax.random.key(0)
    ends = np.concatenate([eigenvalues[:3], eigenvalues[-3:]])
    values, bounds, vectors = curvature.extremes(quadratic, POINT, key, 30, count=3)
    np.testing.assert_allclose(values, ends, atol=1e-10)
    assert vectors["a"].shape == (6, 10)
    # Spaces of twelve hold them only after restarts.
    assert curvature.extremes(quadratic, POINT, key, 12, count=3)[1].max() > 1e-2
    for size, count in ((12, 3), (30, 3), (30, 15)):
        ends = np.concatenate([eigenvalues[:count], eigenvalues[-count:]])
        values, bounds, vectors = curvature.extremes(
            quadratic, POINT, key, size, count=count, tolerance=1e-8
        )
        np.testing.assert_allclose(values, ends, atol=1e-10)
        assert np.all(bounds <= 1e-8 * np.abs(eigenvalues).max())
        rows = np.concatenate([vectors["a"], vectors["b"].reshape(-1, 20)], axis=1)
        np.testing.assert_allclose(rows @ M @ rows.T, np.diag(ends), atol=1e-6)


def test_a_tolerance_is_relative_to_the_largest_eigenvalue():
    """Most of what a network's Hessian has at its lower end is zero but for rounding."""
    values = np.concatenate([np.zeros(150), 1e-12 * np.arange(1, 40), np.linspace(1, 9, 20)])
    for scale in (1e-9, 1.0, 1e9):
        found, bounds, _ = curvature.extremes(
            lambda w, scale=scale: 0.5 * scale * jnp.sum(jnp.asarray(values) * w**2),
            jnp.zeros(len(values)),
            jax.random.key(0),
            30,
            count=2,
            tolerance=1e-6,
        )
        assert np.all(bounds <= 1e-6 * 9 * scale)
        np.testing.assert_allclose(found / scale, [0, 0, *values[-2:]], atol=1e-6)


def test_ends_that_cannot_be_had_are_refused():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="expected count from 1 to half of num_matvecs"):
        curvature.extremes(quadratic, POINT, key, 5, count=3)
    with pytest.raises(ValueError, match="call it outside of jit"):
        jax.jit(lambda p: curvature.extremes(quadratic, p, key, tolerance=0.1))(POINT)
    with pytest.raises(RuntimeError, match="to a relative residual of 1e-12, got"):
        curvature.extremes(quadratic, POINT, key, 8, count=3, tolerance=1e-12, restarts=1)
    with pytest.raises(ValueError, match="expected a tolerance > 0 and restarts of 1 or more"):
        curvature.extremes(quadratic, POINT, key, 8, tolerance=1e-3, restarts=0)
    with pytest.raises(ValueError, match="and num_matvecs 0"):
        curvature.extremes(quadratic, POINT, key, 0)
    broken = curvature.extremes(
        lambda w: jnp.sum(jnp.sqrt(w)), jnp.zeros(40), key, 10, tolerance=1e-8
    )
    assert np.isnan(broken[0]).all()


def test_quadrature_of_the_density_is_exact_for_polynomials_and_unbiased():
    key, eigenvalues = jax.random.key(3), np.linalg.eigvalsh(M)
    whole = curvature.density(quadratic, POINT, key, num_matvecs=100, num_vectors=40)
    assert whole.nodes.shape == (40, 30)  # cut to p
    np.testing.assert_allclose(whole.weights.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_allclose(np.sort(whole.nodes[0]), eigenvalues, atol=1e-9)
    for power in (1, 2, 3, 4):

        def f(x, power=power):
            return x**power

        (value, error), exact = whole.mean(f), (eigenvalues**power).mean()
        assert abs(value - exact) < 4 * error
        # From the same vectors: two nodes are enough for degree 3, and not for 4.
        few = curvature.density(quadratic, POINT, key, 2, 40).mean(f)[0]
        assert (abs(few - value) < 1e-10 * abs(eigenvalues).max() ** power) == (power < 4)
    value, error = whole.mean(lambda x: x < 0)
    assert 0 < error < 0.05 and abs(value - (eigenvalues < 0).mean()) < 4 * error


def test_a_smeared_density_has_integral_one_and_the_variance_of_nodes_and_width():
    whole = curvature.density(quadratic, POINT, jax.random.key(3), num_matvecs=100, num_vectors=40)
    x = np.linspace(-30, 30, 3001)
    assert np.trapezoid(whole.at(x, 0.5), x) == pytest.approx(1.0, abs=1e-9)
    assert np.trapezoid(x**2 * whole.at(x, 0.5), x) == pytest.approx(
        float(whole.mean(lambda x: x**2)[0]) + 0.25, rel=1e-9
    )


def test_a_density_of_rank_one_of_nothing_finite_and_of_a_single_vector():
    key = jax.random.key(3)
    # Of rank one, so that all directions are exhausted after two products.
    single = curvature.density(lambda w: jnp.sum(w) ** 2, jnp.zeros(7), key, 5, 3)
    np.testing.assert_allclose(single.nodes[:, -1], 14.0)
    broken = curvature.density(lambda w: jnp.nan * jnp.sum(w**2), jnp.zeros(7), key, 5, 3)
    assert jnp.isnan(broken.mean(lambda x: x < 0)[0])
    with pytest.raises(ValueError, match="expected num_vectors >= 2, got 1"):
        curvature.density(quadratic, POINT, key, 10, 1)


@pytest.mark.slow
def test_ends_and_density_of_a_vaes_spectrum_without_its_hessian():
    problem = vae.threshold_vae(data.clusters(20, 4, centers=3, noise=0.3, seed=0), 2, 0.1)
    params = problem.init(jax.random.key(0), 1.0)
    dense = curvature.spectrum(problem.loss, params)
    value, error = curvature.density(problem.loss, params, jax.random.key(0)).mean(jnp.tanh)
    assert error < 0.05 and abs(value - jnp.tanh(dense).mean()) < 4 * error
    values, bounds, _ = curvature.extremes(problem.loss, params, jax.random.key(1), 60)
    np.testing.assert_allclose(values, dense[jnp.array([0, -1])], atol=1e-8)
    assert (bounds < 1e-3).all()


TRACED: list[str] = []


@partial(jax.tree_util.register_dataclass, data_fields=["slope"], meta_fields=[])
@dataclass(frozen=True)
class Tilted:
    """(w^2 - 1)^2 + slope w; says when it is traced."""

    slope: jax.Array

    def loss(self, w):
        TRACED.append("once more")
        return jnp.sum((w**2 - 1) ** 2 + self.slope * w)


@pytest.mark.parametrize(
    "function",
    [
        curvature.hessian,
        curvature.spectrum,
        curvature.inertia,
        curvature.factor,
        curvature.steps,
        curvature.krylov_steps,
        partial(curvature.hvp, vector=jnp.ones(3)),
        partial(curvature.extremes, key=jax.random.key(0), num_matvecs=3),
        partial(curvature.density, key=jax.random.key(0), num_matvecs=3),
        partial(curvature.descent, key=jax.random.key(0), budget=10),
    ],
)
def test_problems_of_a_kind_and_shape_share_one_program(function):
    params = jnp.array([0.1, 0.2, 0.3])
    function(Tilted(jnp.array(0.0)).loss, params)
    traces = len(TRACED)
    function(Tilted(jnp.array(1.0)).loss, params)
    assert len(TRACED) == traces > 0


def test_shared_programs_give_each_problem_its_own_numbers():
    X = data.gaussian(6, [2.0, 1.0, 0.5], seed=0)
    problems = [vae.threshold_vae(X, 1, alpha) for alpha in (0.1, 0.7)]
    params = problems[0].init(jax.random.key(0), 1.0)
    first, second = (curvature.hessian(problem.loss, params) for problem in problems)
    assert abs(first - second).max() > 1e-3
    own = curvature.hessian(lambda w: problems[1].loss(w), params)
    np.testing.assert_allclose(second, own, atol=1e-12)


def test_a_method_of_what_is_no_pytree_of_arrays_is_a_loss_like_any_other():
    class Named:
        def __init__(self, name, sign):
            self.name, self.sign = name, sign

        def loss(self, w):
            return self.sign * jnp.sum(w**2)

    for sign in (1.0, -1.0):
        negative = curvature.inertia(Named("bowl", sign).loss, jnp.ones(2)).negative
        assert negative == (2 if sign < 0 else 0)


def test_flat_band_scales_with_the_hessian():
    for scale in (1e-6, 1.0, 1e6):

        def loss(w, scale=scale):
            return scale * (w[0] ** 2 - 1e-3 * w[1] ** 2 + 1e-17 * w[2] ** 2)

        assert tuple(curvature.inertia(loss, jnp.zeros(3))) == (1, 1, 1)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimize.adam(500, 0.1),
        optimize.gradient_descent(500, 0.1),
        optimize.lbfgs(20),
        optimize.descend(optax.sgd(0.1, momentum=0.5), 200, "momentum"),
    ],
    ids=lambda o: o.name,
)
def test_every_optimizer_reaches_the_minimum_of_a_bowl(optimizer):
    run = jax.jit(lambda w: optimizer(lambda v: jnp.sum((v - 2.0) ** 2), w))(jnp.zeros(3))
    np.testing.assert_allclose(run.params, 2.0, atol=1e-4)
    assert run.loss < 1e-7
    assert run.path is None


def test_the_path_of_a_run_is_recorded_from_start_to_end():
    def loss(w):
        return jnp.sum(w**2)

    run = optimize.gradient_descent(20, 0.1, record=5)(loss, jnp.ones(2))
    np.testing.assert_allclose(run.path[:, 0], 0.8 ** np.array([0, 5, 10, 15, 20]))
    np.testing.assert_array_equal(run.path[-1], run.params)


@pytest.mark.parametrize(("steps", "record"), [(0, None), (10, 3), (10, 0)])
def test_impossible_runs_are_refused(steps, record):
    with pytest.raises(ValueError, match="expected steps >= 1 and record a divisor"):
        optimize.adam(steps, record=record)
