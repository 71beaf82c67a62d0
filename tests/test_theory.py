"""Closed forms: the affine model's stationary points as an oracle for everything, the certified
radius of collapse, and rays along which the energy has no lower bound.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from scipy import optimize, stats

from vaesurface import bordered, curvature, data, stationary, theory, vae
from vaesurface.problem import Parts, Problem, Structure
from vaesurface.stationary import Kind, analysis
from vaesurface.theory.bisection import bisect
from vaesurface.vae.elementwise import VANISHING

N, D, K = 9, 5, 3


@pytest.fixture(scope="module")
def judge():
    """analyze, compiled once for every data set, gamma and beta of one shape."""

    def fixed(X, gamma, beta, params):
        return stationary.analyze(vae.threshold_vae(X, K, 0.0, gamma, beta), params)

    return {
        True: jax.jit(fixed),
        False: jax.jit(lambda X, _, beta, params: fixed(X, None, beta, params)),
    }


@pytest.mark.parametrize(
    ("seed", "gamma", "beta"),
    [
        *itertools.product(range(2), [None], [1.0, 0.5]),
        *itertools.product(range(2, 4), [0.05, 1.0], [1.0, 3.0]),
    ],
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
    assert (
        point.label == f"saddle of index {K * 3}, collapsed"
    )  # gammabar = 1.36 lies below three eigenvalues


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
            for x, y in zip(
                jax.tree.leaves((a.gradient, a.newton)),
                jax.tree.leaves((b.gradient, b.newton)),
                strict=True,
            ):
                np.testing.assert_allclose(x, y, atol=1e-9 * max(1.0, float(abs(y).max())))
            slope = sum(
                jnp.vdot(x, y)
                for x, y in zip(*map(jax.tree.leaves, (a.gradient, a.descent)), strict=True)
            )
            assert slope < 0


@pytest.mark.slow
def test_streaming_over_the_data_changes_nothing(monkeypatch):
    X = data.gaussian(23, np.linspace(0.3, 3.0, D), seed=5)
    problem = vae.threshold_vae(X, 2, 0.2)
    params = problem.init(jax.random.key(0), 0.8)
    whole = bordered.factor(problem.structure, params)
    for batch_size in (1, 4, 8):  # the last batch is full for none of the larger ones
        parts = bordered.factor(problem.structure, params, batch_size)
        for x, y in zip(
            jax.tree.leaves((parts.gradient, parts.eigenvalues)),
            jax.tree.leaves(whole[:2]),
            strict=True,
        ):
            np.testing.assert_allclose(x, y, atol=1e-12)
    loss, gradient = jax.value_and_grad(problem.structure.loss)(params)
    vae.ThresholdVAE.loss.clear_cache()
    monkeypatch.setattr("vaesurface.problem.HELD", 0)
    for block in (1, 4, 23, 40):
        vae.ThresholdVAE.loss.clear_cache()
        monkeypatch.setattr("vaesurface.problem.BLOCK", block * D)
        streamed, slope = jax.value_and_grad(problem.structure.loss)(params)
        assert streamed == pytest.approx(float(loss), rel=1e-14)
        for x, y in zip(jax.tree.leaves(slope), jax.tree.leaves(gradient), strict=True):
            np.testing.assert_allclose(x, y, atol=1e-13)


@pytest.mark.parametrize("scale", [0.0, 0.8])
def test_all_derivatives_of_a_stream_are_those_of_the_whole(monkeypatch, scale):
    X = data.gaussian(23, np.linspace(0.3, 3.0, D), seed=5)
    start = vae.threshold_vae(X, 2, 0.2)
    params, move = start.init(jax.random.key(0), scale), start.init(jax.random.key(1), 1.0)

    def changes():
        def loss(alpha, gamma, X, params):
            problem = dataclasses.replace(start, alpha=alpha, gamma=gamma, X=X)
            return vae.ThresholdVAE.loss.__wrapped__(problem, params)

        at, rates = (start.alpha, jnp.array(0.7), start.X, params), (1.0, 0.3, start.X**2, move)
        first = jax.jvp(loss, at, rates)
        second = jax.jvp(jax.grad(loss, argnums=(0, 1, 2, 3)), at, rates)

        def bend(params):
            product = jax.linearize(jax.grad(lambda w: loss(*at[:3], w)), params)[1]
            return product(move)

        return first, second, jax.jvp(bend, (params,), (move,)), jax.grad(loss, argnums=3)(*at)

    whole = changes()
    monkeypatch.setattr("vaesurface.problem.HELD", 0)
    monkeypatch.setattr("vaesurface.problem.BLOCK", 4 * D)
    for x, y in zip(jax.tree.leaves(changes()), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-11, atol=1e-11)


def test_a_stream_of_functions_that_close_over_what_is_differentiated_by(monkeypatch):
    X = data.gaussian(23, np.linspace(0.3, 3.0, D), seed=5)
    params = jnp.ones(D), jnp.zeros((23, 0))  # and of data that have no parameters

    def loss(strength, params):
        return Structure(
            data=X,
            term=lambda row, shared, local, x: jnp.sin(strength * row) * x**2,
            penalty=lambda shared, local: 0.0,
            split=lambda w: Parts(w[0], (), w[1]),
            join=lambda parts: (parts.rows, parts.local),
        ).loss(params)

    def changes():
        second = jax.jacfwd(jax.grad(loss, argnums=(0, 1)))
        return loss(0.7, params), jax.jit(jax.grad(loss))(0.7, params), second(0.7, params)

    whole = changes()
    monkeypatch.setattr("vaesurface.problem.HELD", 0)
    monkeypatch.setattr("vaesurface.problem.BLOCK", 4 * D)
    for x, y in zip(jax.tree.leaves(changes()), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-13)


def test_one_program_serves_every_alpha_and_data_set_of_a_shape():
    program = analysis._judged.program

    def label(seed, alpha):
        problem = vae.threshold_vae(data.gaussian(N, np.linspace(0.3, 3.0, D), seed=seed), 1, alpha)
        return stationary.analyze(problem, problem.collapsed()).label

    assert label(0, 0.3) == "collapsed local minimum"
    programs = program._cache_size()
    assert label(1, 0.7) == "collapsed local minimum"
    assert label(2, 0.0).startswith("saddle")
    assert program._cache_size() == programs


@pytest.mark.parametrize(
    ("block", "corner"),
    [
        (1e-8, -1e-8),
        *(
            pytest.param(block, corner, marks=pytest.mark.slow)
            for block, corner in itertools.product([1e-4, 1e-8, 1e-12], [-1e-8, 0.0, 1e-8])
            if (block, corner) != (1e-8, -1e-8)
        ),
    ],
)
def test_a_nearly_singular_block_gives_the_dense_count_or_none(block, corner):
    # H = [corner I, b; b^T, block]: the Schur complement is of size |b|^2 / block, and its rounding
    # with it.
    b = jnp.asarray(np.random.default_rng(0).normal(size=(1, 3)))

    def term(row, _, local, x):
        return x * row[0] * local[0] + 0.5 * corner * row[0] ** 2

    structure = Structure(
        b,
        term,
        lambda _, local: 0.5 * block * local[0] ** 2,
        split=lambda w: Parts((w[0],), jnp.zeros(0), (w[1],)),
        join=lambda parts: (parts.rows[0], parts.local[0]),
    )
    point = stationary.analyze(
        Problem(structure.loss, structure=structure), (jnp.zeros(3), jnp.zeros(1))
    )
    dense = curvature.inertia(structure.loss, (jnp.zeros(3), jnp.zeros(1)))
    assert tuple(point.inertia) == tuple(dense) or not point.reliable


def test_a_large_beta_leaves_a_finite_minimum_where_the_latents_span_the_data(judge):
    X = data.gaussian(N, [1.5, 0.7, 0.4, 0.0, 0.0], seed=0)
    assert theory.global_minimum(X, K, beta=1.6) == -np.inf  # 3 beta < 5
    for beta in (2.0, 2.5):
        lowest = min(theory.stationary_points(X, K, beta=beta), key=lambda expected: expected.loss)
        assert lowest.loss == pytest.approx(
            float(theory.global_minimum(X, K, beta=beta)), abs=1e-12
        )
        assert judge[False](X, np.nan, beta, lowest.params).label == "global optimum"


@pytest.mark.slow
def test_starts_reach_the_finite_minimum_of_a_large_beta():
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

    def second(a):
        return (1 + a * a) * stats.norm.sf(a) - a * stats.norm.pdf(a)

    root = optimize.brentq(lambda a: 2 * d * stats.norm.sf(a) ** 2 - second(a), 0.1, 10)
    assert float(region.limit) == pytest.approx(0.5 / root, rel=1e-9)
    assert region.radius < region.limit


@pytest.mark.parametrize("slack", [0.0, 0.01, 0.3])
def test_inequality_holds_for_every_standard_deviation_a_row_can_have(slack):
    X = data.clusters(30, 6, centers=3, noise=0.2, seed=0)
    alpha = 0.7
    region = theory.collapse_radius(X, alpha, slack=slack)
    ratio = (np.sqrt(((X - X.mean(0)) ** 2).sum(1).max()) + float(region.bias)) ** 2 / float(
        region.gamma
    )
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

        def unit(x):
            return x / jnp.linalg.norm(x, axis=1, keepdims=True)

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


def test_bisection_ends_at_neighboring_numbers_and_at_the_ends_where_there_is_no_edge():
    low, high = jnp.asarray(1e-6), jnp.asarray(1e6)
    edges = jnp.array([1e-9, 1e-5, 0.3, 7.0, 1e5, 1e9])
    below, above = jax.vmap(lambda edge: bisect(lambda x: x <= edge, low, high))(edges)
    inside = slice(1, -1)
    assert jnp.all((below <= edges)[inside] & (edges < above)[inside])
    np.testing.assert_allclose(below[inside], above[inside], rtol=4 * np.finfo(float).eps)
    assert below[0] == low and above[-1] == high


def test_radius_is_unbounded_where_the_prior_outweighs_the_data_and_zero_without_threshold():
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


def patterns(n, d, count, seed):
    """n binary data of so many distinct rows."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, (count, d)).astype(float)[np.arange(n) % count]


ANTIPODAL, BITS, PLANE = (
    data.antipodal(2),
    patterns(30, 12, 3, seed=0),
    data.gaussian(20, [2.0, 1.0, 0.0, 0.0, 0.0], seed=1),
)
PRODUCT = np.outer(
    np.linspace(0.5, 1.0, 20), [1.0, 0.7, 0.9, 0.6, 0.8]
)  # all of one sign: the threshold adds one dimension


@pytest.mark.parametrize(
    ("X", "latent", "alpha", "beta", "slope"),
    [
        *((ANTIPODAL, 1, alpha, 1.0, 1.0) for alpha in (0.0, 0.01, 0.1, 0.5, 1.0, 5.0)),
        (ANTIPODAL, 2, 0.1, 1.0, 1.0),  # one latent is enough
        (ANTIPODAL, 1, 0.1, 1.5, 0.5),
        (BITS, 3, 0.0, 1.0, 10.0),
        (BITS, 3, 0.3, 1.0, 9.0),
        (BITS, 3, 0.3, 3.5, 1.5),
        (PLANE, 2, 0.0, 1.0, 3.0),
        (PLANE + 100.0, 3, 0.0, 1.0, 3.0),
        (PLANE, 2, 0.0, 0.5, 4.0),
        (PRODUCT, 1, 0.0, 1.0, 4.0),
        (PRODUCT, 2, 0.2, 1.0, 3.0),
        (data.gaussian(9, [3.0, 2.0, 1.0], seed=0), 3, 0.0, 0.9, 0.3),
    ],
)
def test_the_energy_falls_along_the_ray_at_the_predicted_slope(X, latent, alpha, beta, slope):
    ray = theory.unbounded_ray(X, latent, alpha, beta)
    assert ray.exists and ray.slope == pytest.approx(slope)
    u = np.asarray(ray.mean @ ray.weight.T)
    reconstructed = np.sign(u) * np.maximum(abs(u) - alpha, 0) + np.asarray(ray.bias)
    assert abs(reconstructed - X).max() <= 1e-10 * abs(X - X.mean(axis=0)).max()
    problem = vae.threshold_vae(X, latent, alpha, beta=beta)
    measured = theory.ray_slope(problem.loss, ray, X.var(axis=0).mean() * 10.0 ** -np.arange(3, 10))
    print("slope, less the predicted one:", np.asarray(measured) - slope)
    assert measured[-1] == pytest.approx(slope, abs=1e-6)
    if alpha == 0:
        assert theory.global_minimum(X, latent, beta=beta) == -np.inf


@pytest.mark.parametrize(
    ("X", "latent", "alpha", "beta"),
    [
        (ANTIPODAL, 1, 0.1, 2.0),  # slope zero
        (ANTIPODAL, 1, 0.0, 2.5),
        (BITS, 1, 0.0, 1.0),
        (BITS, 2, 0.3, 1.0),
        (PLANE, 1, 0.0, 1.0),
        (PLANE, 2, 0.3, 1.0),
        (PLANE, 2, 0.0, 2.6),
        (data.gaussian(9, [3.0, 2.0, 1.0], seed=0), 3, 0.0, 1.0),  # as many latents as features
        (data.gaussian(9, [3.0, 2.0, 1.0], seed=0), 2, 0.1, 1.0),
    ],
)
def test_where_there_is_no_ray_none_is_made_up(X, latent, alpha, beta):
    ray = theory.unbounded_ray(X, latent, alpha, beta)
    assert not ray.exists
    assert all(np.isnan(x).all() for x in ray[1:])
    if alpha == 0:
        assert np.isfinite(theory.global_minimum(X, latent, beta=beta))


Z, NOISE = np.random.default_rng(0).normal(size=200), np.random.default_rng(1).normal(size=(200, 2))
NEARLY = {  # data that almost lie in fewer dimensions, and how many latents
    "single precision": (np.stack([Z, 0.3 * Z], 1).astype(np.float32).astype(float), 1),
    "residual 1e-8": (np.stack([Z, 0.3 * Z + 1e-8 * NOISE[:, 0]], 1), 1),
    "residual 3e-11": (np.stack([Z, 0.3 * Z + 3e-11 * NOISE[:, 0]], 1), 1),
    "units": (np.stack([1e9 * Z, 1e-9 * NOISE[:, 0]], 1), 1),
    "offset": (np.stack([1e9 + Z, NOISE[:, 0], 1e-6 * NOISE[:, 1]], 1), 2),
}


def lowest_affine_energy(X, latent):
    """The closed form, by 60 digits."""
    with mp.workdps(60):
        n, d = X.shape
        A = mp.matrix(X.tolist())
        A -= mp.ones(n, 1) * (mp.ones(1, n) * A / n)
        values = sorted(mp.eigsy(A.T * A / n, eigvals_only=True), reverse=True)
        energies = []
        for size in range(latent + 1):
            g = mp.fsum(values[size:]) / (d - size)
            gain = mp.fsum(mp.log(v / g) for v in values[:size])
            if all(v > g for v in values[:size]):
                energies.append(d * mp.log(g) + d + latent + gain)
        return float(min(energies))


@pytest.mark.parametrize("case", NEARLY)
def test_data_close_to_fewer_dimensions_have_their_finite_minimum_and_no_ray(case):
    X, latent = NEARLY[case]
    exact, spread = lowest_affine_energy(X, latent), X.std(axis=0)
    # Singular values are known to rounding of the largest one, once features are measured alike.
    tolerance = 4 * X.shape[1] * np.finfo(float).eps * np.linalg.cond((X - X.mean(axis=0)) / spread)
    known, traced = (
        float(theory.global_minimum(X, latent)),
        float(jax.jit(theory.global_minimum, static_argnums=1)(X, latent)),
    )
    listed = min(e.loss for e in theory.stationary_points(X, latent))
    print(
        f"{exact:.9g}; errors {known - exact:.1e}, traced {traced - exact:.1e}, listed "
        f"{listed - exact:.1e}, of {tolerance:.1e}"
    )
    assert abs(np.array([known, traced, listed]) - exact).max() <= max(tolerance, 1e-12)
    assert not theory.unbounded_ray(X, latent, 0.0).exists


@pytest.mark.parametrize("scale", [[1.0, 1.0, 1.0], [1e9, 1.0, 1e-9]])
@pytest.mark.parametrize("offset", [0.0, 0.1, 100.0])
def test_rounding_of_the_data_is_no_dimension_in_whatever_units(scale, offset):
    X = (np.stack([Z, 0.3 * Z, NOISE[:, 0]], 1) + offset) * np.array(scale)
    assert (
        theory.global_minimum(X, 2)
        == jax.jit(theory.global_minimum, static_argnums=1)(X, 2)
        == -np.inf
    )
    assert theory.unbounded_ray(X, 2, 0.0).slope == 1.0
    assert np.isfinite(theory.global_minimum(X, 1)) and not theory.unbounded_ray(X, 1, 0.0).exists


def test_a_ray_reproduces_every_feature_in_its_own_units():
    X = PRODUCT + 1e-12 * NOISE[:20, :1] * np.array([0.0, 0.0, 0.0, 0.0, 1.0])
    assert theory.unbounded_ray(X, 3, 0.2).exists and not theory.unbounded_ray(X, 2, 0.2).exists
    X = PRODUCT * np.array([1e9, 1e-3, 1e-3, 1e-3, 1e-3])
    assert theory.unbounded_ray(X, 2, 0.2).exists and not theory.unbounded_ray(X, 1, 0.2).exists


def test_what_is_said_of_the_global_minimum_is_so():
    """One program: 200 data, two features, one latent."""
    X = NEARLY["single precision"][0]
    problem = vae.threshold_vae(X, 1, 0.0)
    low = stationary.analyze(problem, list(theory.stationary_points(X, 1))[-1].params)
    assert low.params.log_gamma < np.log(VANISHING * X.var()) and not low.theory.runaway
    collapsed = stationary.analyze(problem, problem.collapsed())
    assert collapsed.theory.minimum == pytest.approx(lowest_affine_energy(X, 1), abs=1e-6)
    assert collapsed.evidence["global"].startswith("exact: energy")

    # Where there is a ray, it is only named at points that go down along it.
    X = np.tile(data.antipodal(2), (100, 1))
    problem, ray = vae.threshold_vae(X, 1, 0.5), theory.unbounded_ray(X, 1, 0.5)
    start = problem.collapsed()
    for params, label in (
        (start, "collapsed local minimum"),
        (start._replace(log_gamma=jnp.array(-40.0)), "not stationary"),
        (ray.at(1e-12), "global infimum -inf along this ray"),
        (
            ray.at(1e-12)._replace(log_std=ray.at(1.7e-12).log_std),
            "not stationary: gamma runs to zero",
        ),  # F = 1.7 gamma
        (
            ray.at(1e-12)._replace(log_std=ray.at(3e-12).log_std),
            "not stationary",
        ),  # F = 3 gamma: it is better to grow
        (ray.at(1e-6), "not stationary"),
    ):
        point = stationary.analyze(problem, params)
        slope = jax.grad(lambda g, params=params: problem.loss(params._replace(log_gamma=g)))(
            params.log_gamma
        )
        print(point.label, float(point.theory.push), float(slope))
        assert point.label == label
        assert point.theory.push == pytest.approx(float(slope), rel=1e-9, abs=1e-9)
        assert "unbounded below, it falls like 1 log gamma" in point.evidence["global"]

    # The region in which nothing is lower than collapse is bounded in everything.
    collapsed = stationary.analyze(problem, start)
    region = theory.collapse_radius(X, 0.5)
    near = collapsed.evidence["flat"].split("; ")[1]
    assert (
        f"shorter than {float(region.radius):.4g}, |log std| and the norms of the means are at "
        f"most 0.01" in near
    )
    assert "within 0.01 sqrt(gammabar)" in near and "at least exp(-0.01) gammabar" in near
    unit = np.sqrt(X.var(axis=0).mean())
    np.testing.assert_allclose(
        [*region[2:4], region.bias / unit, -np.log(region.gamma / unit**2)], 0.01, rtol=1e-9
    )
    beyond = ray.at(1e-20)._replace(
        weight=0.9 * region.radius * jnp.ones((2, 1)), mean=1.5 / (0.9 * region.radius) * X[:, :1]
    )
    assert jnp.linalg.norm(beyond.weight, axis=1).max() < region.radius
    assert problem.loss(beyond) < collapsed.loss


def test_rays_under_vmap_with_everything_traced():
    alphas, sets = (
        jnp.array([0.0, 0.5]),
        jnp.stack([ANTIPODAL, ANTIPODAL @ np.diag([1.0, 0.3]) + 2.0]),
    )
    rays = jax.vmap(lambda X, a: theory.unbounded_ray(X, 1, a, 1.5))(sets, alphas)
    assert rays.exists.all() and rays.slope.tolist() == [0.5, 0.5]
    alone = theory.unbounded_ray(sets[1], 1, 0.5, 1.5)
    for x, y in zip(alone, jax.tree.map(lambda x: x[1], rays), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-14)


def test_theory_is_asked_outside_a_compiled_function():
    problem = vae.threshold_vae(data.antipodal(d=2), 1, 0.5)
    known = problem.theory(problem.collapsed())
    assert bool(known.collapsed)
    assert float(known.radius) == pytest.approx(0.5 * 0.7407, rel=1e-3)
