"""Closed forms: the affine model's stationary points as an oracle for everything, and the certified radius of collapse."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, stats

from vaesurface import bordered, curvature, data, stationary, theory, vae
from vaesurface.problem import Parts, Problem, Structure
from vaesurface.stationary import Kind

N, D, K = 9, 5, 3


@pytest.fixture(scope="module")
def judge():
    """analyze, compiled once for every data set, gamma and beta of one shape."""

    def fixed(X, gamma, beta, params):
        return stationary.analyze(vae.threshold_vae(X, K, 0.0, gamma, beta), params)

    return {True: jax.jit(fixed), False: jax.jit(lambda X, _, beta, params: fixed(X, None, beta, params))}


@pytest.mark.parametrize(
    ("seed", "gamma", "beta"),
    [*itertools.product(range(2), [None], [1.0, 0.5]), *itertools.product(range(2, 4), [0.05, 1.0], [1.0, 3.0])],
)
def test_every_affine_stationary_point_has_the_predicted_energy_and_index(judge, seed, gamma, beta):
    rng = np.random.default_rng(seed)
    X = data.gaussian(N, rng.uniform(0.1, 4.0, D), seed=seed) + rng.normal(size=D)
    least, cases = np.inf, []
    for expected in theory.stationary_points(X, K, gamma, beta):
        point = judge[gamma is not None](X, gamma, beta, expected.params)
        assert point.grad_norm < 1e-9
        assert tuple(point.inertia)[:2] == (expected.negative, 0)
        assert point.loss == pytest.approx(expected.loss, abs=1e-12)
        assert point.kind == (Kind.SADDLE if expected.negative else Kind.MINIMUM)
        assert tuple(point.active) == tuple(j < len(expected.retained) for j in range(K))
        least = min(least, expected.loss)
        cases.append((float(point.grad_norm), abs(float(point.loss) - expected.loss)))
        if expected.negative == 0:
            assert point.label.startswith("global optimum")
    print(f"{len(cases)} points; largest gradient norm, energy error:", *np.max(cases, axis=0))
    assert theory.global_minimum(X, K, gamma, beta) == pytest.approx(least, abs=1e-12)


def test_collapse_of_the_affine_model_is_a_saddle_and_never_a_minimum(judge):
    X = data.gaussian(N, [3.0, 2.0, 1.5, 0.2, 0.1], seed=1)
    point = judge[False](X, None, 1.0, vae.threshold_vae(X, K, 0.0).collapsed())
    assert point.kind == Kind.SADDLE
    assert point.label == f"saddle of index {K * 3}, collapsed"  # gammabar = 1.36 lies below three eigenvalues


def test_a_fixed_gamma_above_all_eigenvalues_makes_collapse_the_global_optimum(judge):
    X = data.gaussian(N, [3.0, 2.0, 1.5, 0.2, 0.1], seed=1)
    problem = vae.threshold_vae(X, K, 0.0, 3.5)
    point = judge[True](X, 3.5, 1.0, problem.collapsed())
    assert point.label == "global optimum, collapsed"


def test_bordered_inertia_and_steps_are_those_of_the_dense_hessian():
    X = data.gaussian(N, np.linspace(0.3, 3.0, D), seed=5)

    @jax.jit
    def both(alpha, beta, params):
        problem = vae.threshold_vae(X, 2, alpha, 0.4 if params.log_gamma is None else None, beta)
        return bordered.steps(problem.structure, params), curvature.steps(problem.loss, params)

    for alpha, gamma, beta in ((0.0, None, 1.0), (0.3, None, 2.0), (0.3, 0.4, 1.0)):
        for seed in range(4):
            params = vae.threshold_vae(X, 2, alpha, gamma, beta).init(jax.random.key(seed), 0.8)
            a, b = both(alpha, beta, params)
            assert tuple(a.inertia) == tuple(b.inertia)
            for x, y in zip(jax.tree.leaves((a.gradient, a.newton)), jax.tree.leaves((b.gradient, b.newton)), strict=True):
                np.testing.assert_allclose(x, y, atol=1e-9 * max(1.0, float(abs(y).max())))
            slope = sum(jnp.vdot(x, y) for x, y in zip(*map(jax.tree.leaves, (a.gradient, a.descent)), strict=True))
            assert slope < 0


@pytest.mark.parametrize("corner", [1e-8, -1e-8, 0.0])
@pytest.mark.parametrize("block", [1e-4, 1e-8, 1e-12])
def test_a_nearly_singular_block_gives_the_dense_count_or_none(block, corner):
    # H = [corner I, b; b^T, block]: the Schur complement is of size |b|^2 / block, and its rounding with it.
    b = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3)))

    def term(row, _, local, x):
        return x * row[0] * local[0] + 0.5 * corner * row[0] ** 2

    structure = Structure(
        b, term, lambda _, local: 0.5 * block * local[0] ** 2,
        split=lambda w: Parts((w[0],), jnp.zeros(0), (w[1],)), join=lambda parts: (parts.rows[0], parts.local[0]),
    )  # fmt: skip
    point = stationary.analyze(Problem(structure.loss, structure=structure), (jnp.zeros(3), jnp.zeros(1)))
    dense = curvature.inertia(structure.loss, (jnp.zeros(3), jnp.zeros(1)))
    assert tuple(point.inertia) == tuple(dense) or not point.reliable


def test_a_large_beta_leaves_a_finite_minimum_where_the_latents_span_the_data():
    X = data.gaussian(12, [1.5, 0.7], seed=0)
    for beta in (1.5, 2.5):
        found = stationary.find(vae.threshold_vae(X, 2, 0.0, beta=beta), jax.random.key(0), 0.7)
        assert found.loss == pytest.approx(float(theory.global_minimum(X, 2, beta=beta)), abs=1e-9)
        assert found.label.startswith("global optimum")


def test_bordered_inertia_needs_structure():
    problem = Problem(loss=lambda w: jnp.sum(w**2))
    with pytest.raises(ValueError, match=r"use curvature\.inertia"):
        bordered.inertia(problem, jnp.zeros(2))


@pytest.mark.parametrize(("d", "share"), [(2, 0.771), (64, 0.328), (784, 0.262)])
def test_radius_tends_to_the_root_of_the_limiting_inequality(d, share):
    region = theory.collapse_radius(data.antipodal(d), 0.5)
    assert float(region.limit) / 0.5 == pytest.approx(share, abs=5e-4)
    second = lambda a: (1 + a * a) * stats.norm.sf(a) - a * stats.norm.pdf(a)  # noqa: E731
    root = optimize.brentq(lambda a: 2 * d * stats.norm.sf(a) ** 2 - second(a), 0.1, 10)
    assert float(region.limit) == pytest.approx(0.5 / root, rel=1e-9)
    assert region.radius < region.limit


@pytest.mark.parametrize("slack", [0.0, 0.01, 0.3])
def test_inequality_holds_for_every_standard_deviation_a_row_can_have(slack):
    X = data.clusters(30, 6, centers=3, noise=0.2, seed=0)
    alpha = 0.7
    region = theory.collapse_radius(X, alpha, slack=slack)
    ratio = (np.sqrt(((X - X.mean(0)) ** 2).sum(1).max()) + float(region.bias)) ** 2 / float(region.gamma)
    a = np.linspace(alpha / (float(region.radius) * np.exp(slack)) * (1 + 1e-9), 25.0, 20_000)
    q = stats.norm.sf(a - slack * np.exp(slack)) + stats.norm.sf(a + slack * np.exp(slack))
    second = (1 + a * a) * stats.norm.sf(a) - a * stats.norm.pdf(a)
    keep = a < 8  # beyond, this textbook formula of h2 has no digits left
    assert (ratio * np.exp(2 * slack) * q**2 <= 2 * second * (1 + 1e-6))[keep].all()


@pytest.mark.parametrize(("gamma", "beta"), [(None, 1.0), (0.3, 1.0), (None, 3.0)])
def test_nothing_in_the_certified_region_is_lower_than_collapse(gamma, beta):
    X = data.clusters(12, 4, centers=3, noise=0.3, seed=1)
    problem = vae.threshold_vae(X, 2, 0.4, gamma, beta)
    region = theory.collapse_radius(X, 0.4, gamma, beta, slack=0.1)
    floor = problem.loss(problem.collapsed())

    def worst(key):
        keys = jax.random.split(key, 6)
        rows = jax.random.normal(keys[0], (4, 2))
        means = jax.random.normal(keys[2], (12, 2))
        unit = lambda x: x / jnp.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
        params = problem.collapsed()
        params = params._replace(
            weight=region.radius * unit(rows) * jax.random.uniform(keys[1], (4, 1)),
            mean=region.mean * unit(means) * jax.random.choice(keys[3], jnp.array([0.0, 0.1, 1.0])),
            log_std=region.log_std * jax.random.uniform(keys[4], (12, 2), minval=-1),
            bias=params.bias + region.bias * jax.random.normal(keys[5], (4,)) / 8,
        )
        return problem.loss(params)

    energies = jax.lax.map(worst, jax.random.split(jax.random.key(0), 2000))
    assert float(energies.min()) > float(floor)


def test_radius_grows_without_bound_where_the_prior_outweighs_the_data_and_is_zero_without_threshold():
    X = data.antipodal(2)
    assert theory.collapse_radius(X, 1.0, gamma=100.0).radius > 1e4
    assert theory.collapse_radius(X, 0.0).radius == 0


def test_latents_that_span_the_data_have_no_lowest_energy_and_no_global_optimum():
    X = data.gaussian(6, [2.0, 1.0, 0.0], seed=0)
    assert theory.global_minimum(X, 2) == -np.inf
    problem = vae.threshold_vae(X, 2, 0.0)
    for expected in theory.stationary_points(X, 2):
        point = stationary.analyze(problem, expected.params)
        assert not point.optimal
        assert "global" not in point.label
