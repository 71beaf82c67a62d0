"""Posteriors with a covariance: energies against 50 digits, curvature against dense Hessians, and
what a rotation of the latents may not change.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from test_energy import reference_moments

from vaesurface import bordered, curvature, data, diagnose, proof, stationary, theory, vae
from vaesurface.vae.posterior import DIAGONAL, FULL, low_rank

POSTERIORS = (DIAGONAL, FULL, low_rank(1))
SIZES = {FULL: 3, DIAGONAL: 3, low_rank(1): 4}  # latents, and features: the fewest that there are
DATA = {k: data.gaussian(k + 2, [3.0, 1.0, 0.6, 0.8][:k], seed=0) for k in (3, 4)}


@pytest.fixture(autouse=True, scope="module")
def digits():
    with mp.workdps(50):
        yield


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def problems(posterior):
    """A soft threshold and a Bernoulli likelihood."""
    latent = SIZES[posterior]
    X = DATA[latent]
    bent = vae.threshold_vae(X, latent, 0.3, beta=1.5)
    binary = vae.elementwise_vae((X > 0) * 1.0, latent, likelihood="bernoulli", beta=0.7)
    return [replace(problem, posterior=posterior) for problem in (bent, binary)]


def random_point(problem, size=0.6):
    """Nothing in it is zero."""
    flat, unravel = ravel_pytree(problem.init(jax.random.key(0)))
    return unravel(flat + size * jnp.asarray(np.random.default_rng(1).normal(size=flat.size)))


# Energies


def exact_covariance(problem, params, i):
    """Sigma of a datum."""
    k = problem.latent
    scale = mp.diag([mp.exp(t) for t in params["log_std"][i]])
    if problem.posterior == DIAGONAL:
        return scale * scale
    factor = params["factor"][i]
    if problem.posterior == FULL:
        numbers = iter(factor)
        for row in range(k):
            for column in range(row):
                scale[row, column] = next(numbers)
        return scale * scale.T
    columns = mp.matrix(factor.tolist())
    return scale * scale + columns * columns.T


def softplus_mean(m, v):
    """E log(1 + e^u) by the trapezoidal rule, whose error here is like exp(-2 pi^2 / (h s))."""
    step, s = mp.mpf("0.125"), mp.sqrt(v)
    nodes = [step * j for j in range(-120, 121)]
    return step * mp.fsum(mp.npdf(z) * mp.log1p(mp.exp(m + s * z)) for z in nodes)


def exact_energy(problem, params):
    """By the definitions, of parameters by name as arrays of mpmath's numbers."""
    data_, (n, d) = np.asarray(problem.X), problem.X.shape
    total, beta = mp.mpf(0), mp.mpf(float(problem.beta))
    for i in range(n):
        covariance, mean = exact_covariance(problem, params, i), mp.matrix(params["mean"][i])
        trace = mp.fsum(covariance[j, j] for j in range(problem.latent))
        total += beta * (trace - mp.log(mp.det(covariance)) + (mean.T * mean)[0])
        for r in range(d):
            w, x, b = mp.matrix(params["weight"][r]), mp.mpf(data_[i, r]), params["bias"][r]
            m, v = (w.T * mean)[0], (w.T * covariance * w)[0]
            if problem.gamma is None:
                first, _, square = reference_moments(m, v, mp.mpf(float(problem.alpha)))
                error = (x - b) ** 2 - 2 * (x - b) * first + square
                log_gamma = np.asarray(params["log_gamma"])[()]
                total += error / mp.exp(log_gamma) + log_gamma
            else:
                total += 2 * (softplus_mean(m + b, v) - x * (m + b))
    return total / n


def numbers(params):
    """By name, as mpmath's."""
    to_mp = np.vectorize(lambda x: mp.mpf(float(x)), otypes=[object])
    fields = params._asdict().items()
    return {name: to_mp(leaf) for name, leaf in fields if leaf is not None}


@pytest.mark.parametrize("posterior", POSTERIORS, ids=lambda p: p.name)
@pytest.mark.parametrize("which", [0, 1], ids=["threshold", "bernoulli"])
def test_energies_and_gradients_agree_with_50_digits(posterior, which):
    problem = problems(posterior)[which]
    problem = replace(problem, X=problem.X[:2])
    params = random_point(problem)
    loss, gradient = jax.value_and_grad(problem.loss)(params)
    loss = float(loss)
    assert abs(loss - exact_energy(problem, numbers(params))) < 1e-12 * abs(loss)
    flat, unravel = ravel_pytree(params)
    step = mp.mpf(10) ** -15
    place, slope = numbers(params), ravel_pytree(gradient)[0]
    for seed in range(2):
        v = jnp.asarray(np.random.default_rng(seed).normal(size=flat.size))
        move = numbers(unravel(v))
        ends = [{k: place[k] + sign * step * move[k] for k in place} for sign in (1, -1)]
        above, below = (exact_energy(problem, end) for end in ends)
        size = jnp.linalg.norm(slope) * jnp.linalg.norm(v)
        assert abs(float(slope @ v) - (above - below) / (2 * step)) < 1e-9 * float(size)


@pytest.mark.parametrize(
    "posterior", [FULL, pytest.param(low_rank(1), marks=pytest.mark.slow)], ids=lambda p: p.name
)
def test_draws_have_the_covariance_and_the_energy(posterior):
    problem = problems(posterior)[0]
    params = random_point(problem)
    draws = jax.vmap(lambda key: problem.sampled(params, key, 64))
    values = draws(jax.random.split(jax.random.key(1), 64))
    assert abs(problem.loss(params) - values.mean()) < 5 * values.std() / 8
    spread = params.log_std[0], params.factor[0]
    covariance, weight = posterior.covariance(*spread), params.weight
    for root in (posterior.root(*spread), posterior.scaled(jnp.eye(problem.latent), *spread)):
        close(root @ root.T, covariance)
    for w in weight:
        close(posterior.variance(w, *spread), w @ covariance @ w)
    close(jnp.exp(2 * posterior.widths(*spread)), jnp.linalg.eigvalsh(covariance))
    whole = jnp.trace(covariance) - jnp.linalg.slogdet(covariance)[1]
    close(posterior.divergence(params.mean[0], *spread), whole + params.mean[0] @ params.mean[0])


# Curvature


@jax.jit
def spectrum(problem, params):
    """Of the dense Hessian; one program for all data and hyper-parameters."""
    return jnp.linalg.eigvalsh(curvature.hessian(problem.loss, params))


CASES = [(p, which) for p in POSTERIORS[1:] for which in (0, 1)]
# One in every run, the others with --all: each compiles its own Hessian.
MARKED = [CASES[0], *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES[1:])]


@pytest.mark.parametrize(("posterior", "which"), MARKED)
def test_curvature_is_the_dense_one_and_collapse_has_the_diagonal_index(posterior, which):
    """What correlates latents adds no direction of descent at collapse, and none elsewhere that
    elimination by data would not see.
    """
    rng = np.random.default_rng(0)
    problem = problems(posterior)[which]
    for params in (random_point(problem), problem.collapsed()):
        found, values = bordered.inertia(problem, params), spectrum(problem, params)
        band = 1e-12 * jnp.abs(values).max()
        assert found.negative == (values < -band).sum()
        assert found.positive == (values > band).sum()
    (n, d), k = problem.X.shape, problem.latent
    for _ in range(125):
        x = rng.normal(size=(n, d)) * rng.uniform(0.3, 2.0, size=d)
        beta = rng.uniform(0.5, 1.5)
        if which == 0:
            gamma = float(np.mean((x - x.mean(axis=0)) ** 2))
            case = replace(problem, X=jnp.asarray(x), alpha=0.0, beta=beta)
            index = k * np.sum(np.linalg.eigvalsh(np.cov(x.T, bias=True)) > beta * gamma)
        else:
            x = 1.0 * (x > np.median(x, axis=0))  # no pixel is constant
            case = replace(problem, X=jnp.asarray(x), beta=beta)
            index = theory.collapse_index(x, k, "bernoulli", beta)
        values = np.asarray(spectrum(case, case.collapsed()))
        assert (values < -1e-9).sum() == index
        assert (np.abs(values) < 1e-9).sum() == n * k * posterior.idle


# Symmetries


@jax.jit
def turned(problem, params, t):
    return problem.symmetry.move(params, t)


@jax.jit
def said(problem, params):
    """What no symmetry may change, and the dimension of the orbit."""
    moved = curvature.symmetries(problem.symmetry, params)
    numbers = problem.loss(params), problem.information(params), problem.widths(params)
    return numbers, problem.latents(params), moved


def test_rotations_change_nothing_that_is_said():
    problem = problems(FULL)[0]
    params = random_point(problem)
    other = turned(problem, params, jnp.array([0.7, -2.0, 1.1]))
    assert float(jnp.abs(other.weight - params.weight).max()) > 0.5
    (numbers, _, moved), (again, _, _) = said(problem, params), said(problem, other)
    assert moved == 3
    for one, two in zip(numbers, again, strict=True):
        close(one, two)
    assert stationary.distance(problem, params, other) < 1e-12
    assert stationary.distance(problem, params, problem.collapsed()) > 1.0
    # A latent that neither decoder nor posterior has turns with no other that has none.
    for kept, expected in ((1, 2), (0, 0)):
        alone = problem.restrict(params, jnp.arange(3) < kept)
        assert said(problem, alone)[2] == expected
    assert said(problem, problem.collapsed())[0][1].max() == 0.0


def test_columns_of_a_factor_turn_for_each_datum():
    Y = data.gaussian(6, np.linspace(1, 3, 5), seed=0)
    problem = replace(vae.threshold_vae(Y, 5, 0.3), posterior=low_rank(2))
    params = random_point(problem)
    other = turned(problem, params, jnp.linspace(-2.0, 1.0, 6))
    assert float(jnp.abs(other.factor - params.factor).max()) > 0.1
    (numbers, _, moved), (again, _, _) = said(problem, params), said(problem, other)
    assert moved == 6
    for one, two in zip(numbers, again, strict=True):
        close(one, two)
    assert stationary.distance(problem, params, other) < 1e-12
    assert said(problem, params._replace(factor=0 * params.factor))[2] == 0


@pytest.mark.parametrize("posterior", POSTERIORS, ids=lambda p: p.name)
def test_latents_are_relabeled_and_switched_off(posterior):
    problem = problems(posterior)[0]
    params = random_point(problem)
    k = problem.latent
    order, sign = jnp.roll(jnp.arange(k), 1), jnp.ones(k).at[1:3].set(-1.0)
    other = problem.relabel(params, order, sign)
    close(problem.loss(other), problem.loss(params))
    assert stationary.distance(problem, params, other) < 1e-12
    keep = jnp.arange(k) > 0
    off = problem.restrict(params, keep)
    covariance, kept = (
        posterior.covariance(*(leaf[0] for leaf in (p.log_std, p.factor) if leaf is not None))
        for p in (params, off)
    )
    close(kept[1:, 1:], covariance[1:, 1:])
    close(kept[0], jnp.eye(k)[0])
    assert not off.weight[:, 0].any() and not off.mean[:, 0].any()


# Verdicts


def test_the_affine_points_are_those_of_diagonal_posteriors():
    """Energies and indices are the same, and what is flat are rotations."""
    problem = replace(problems(FULL)[0], alpha=0.0, beta=1.0)
    slope = jax.jit(jax.grad(problem.loss))
    points = list(theory.stationary_points(DATA[3], 3))
    assert {len(expected.retained) for expected in points} == {0, 1, 2}
    for expected in points:
        params = turned(problem, problem.lifted(expected.params), jnp.array([0.4, 1.0, -2.0]))
        close(problem.loss(params), expected.loss)
        assert jnp.abs(ravel_pytree(slope(params))[0]).max() < 1e-12
        values = spectrum(problem, params)
        assert (values < -1e-9).sum() == expected.negative
        # With two retained gamma is the third eigenvalue, along which the idle latent is flat.
        rotations, idle = ((0, 0), (2, 0), (3, 1))[len(expected.retained)]
        assert said(problem, params)[2] == rotations
        assert (jnp.abs(values) < 1e-9).sum() == rotations + idle


@pytest.mark.slow
@pytest.mark.parametrize("posterior", POSTERIORS[1:], ids=lambda p: p.name)
def test_points_are_judged(posterior):
    k = SIZES[posterior]
    X = DATA[k]
    affine, bent = (
        replace(vae.threshold_vae(X, k, alpha, gamma=0.3), posterior=posterior)
        for alpha in (0.0, 0.3)
    )
    point = stationary.analyze(bent, bent.collapsed())
    assert point.label == "collapsed local minimum"
    assert stationary.analyze(affine, affine.collapsed()).kind == stationary.Kind.SADDLE
    *_, best = theory.stationary_points(X, k, gamma=0.3)
    assert stationary.analyze(affine, affine.lifted(best.params)).label == "global optimum"
    found = stationary.find(replace(bent, posterior=DIAGONAL), jax.random.key(1), 0.5)
    lower = stationary.descend(bent, bent.lifted(found.params))
    assert bent.loss(lower.params) <= found.loss
    if posterior == FULL:  # one with independent latents is none of it
        assert bent.loss(lower.params) < found.loss - 1e-4
        point = stationary.analyze(bent, lower.params)
        assert point.label == "local minimum" and point.symmetries == point.inertia.flat == 3


# Doors


def test_what_there_is_not_is_refused_in_one_line():
    bent = vae.threshold_vae(DATA[3], 3, 0.3)
    with pytest.raises(ValueError, match=r"\(k - r\)\^2 > k \+ r for k = 3 latents, got 1"):
        replace(bent, posterior=low_rank(1))
    with pytest.raises(ValueError, match="rank"):
        low_rank(0)
    full = replace(bent, posterior=FULL)
    for refused in (
        lambda: diagnose.exported(full, full.collapsed()),
        lambda: proof.certify(full, full.collapsed()),
        lambda: theory.collapse_threshold(full, full.collapsed()),
    ):
        with pytest.raises(ValueError, match=r"expected a diagonal posterior.* got full; take"):
            refused()
