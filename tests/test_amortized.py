"""Posteriors by one affine encoder: a free VAE's energy on a subspace, what theory says of the
whole there, and rows at zero where all posteriors are equally wide.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from vaesurface import bordered, curvature, data, stationary, theory, vae
from vaesurface.theory.rows import dead_rows, energies
from vaesurface.vae.amortized import amortized_vae
from vaesurface.vae.posterior import FULL

X = data.gaussian(8, [3.0, 1.0, 0.6], seed=0) + 1.0
FREE = vae.threshold_vae(X, 2, 0.3)
SHARED = amortized_vae(FREE)


@jax.jit
def spectrum(problem, params):
    gradient = ravel_pytree(jax.grad(problem.loss)(params))[0]
    return jnp.linalg.eigvalsh(curvature.hessian(problem.loss, params)), gradient


def test_it_is_the_free_energy_at_the_posteriors_of_an_encoder():
    start, free = (problem.init(jax.random.key(0), 0.5) for problem in (SHARED, FREE))
    made = SHARED.free(start)
    for one, other in zip(jax.tree.leaves(made), jax.tree.leaves(free), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-14)
    params = start._replace(offset=jnp.array([0.3, -1.0]), log_std=jnp.array([-0.5, 0.2]))
    made = SHARED.free(params)
    back = SHARED.fitted(made)
    for one, other in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-12)
    assert SHARED.loss(params) == FREE.loss(made)
    other = SHARED.relabel(params, jnp.array([1, 0]), jnp.array([1.0, -1.0]))
    assert SHARED.loss(other) == pytest.approx(float(SHARED.loss(params)), rel=1e-13)
    assert stationary.distance(SHARED, params, other) < 1e-12
    off = SHARED.free(SHARED.restrict(params, jnp.array([True, False])))
    kept = FREE.restrict(made, jnp.array([True, False]))
    assert all(map(np.array_equal, jax.tree.leaves(off), jax.tree.leaves(kept)))
    assert np.array_equal(SHARED.autoencoder(params).mean, made.mean)


def test_affine_points_have_the_energies_and_indices_of_free_posteriors():
    affine = amortized_vae(replace(FREE, alpha=0.0))
    for expected in theory.stationary_points(X, 2):
        params = affine.fitted(expected.params)
        assert affine.loss(params) == pytest.approx(expected.loss, rel=1e-12)
        values, gradient = spectrum(affine, params)
        assert jnp.abs(gradient).max() < 1e-12
        assert (values < -1e-9).sum() == expected.negative and jnp.abs(values).min() > 1e-9


@pytest.mark.slow
def test_collapse_has_the_index_of_free_posteriors_with_other_likelihoods():
    rng = np.random.default_rng(0)
    problem = amortized_vae(vae.elementwise_vae((X > 1) * 1.0, 2, likelihood="bernoulli"))
    for _ in range(50):
        x = rng.normal(size=X.shape)
        x = 1.0 * (x > np.median(x, axis=0))
        beta = rng.uniform(0.3, 2.0)
        case = replace(problem, vae=replace(problem.vae, X=jnp.asarray(x), beta=beta))
        values, _ = spectrum(case, case.collapsed())
        assert (values < -1e-9).sum() == theory.collapse_index(x, 2, "bernoulli", beta)


def test_rows_fall_at_first_where_the_farthest_datum_says():
    """Of posteriors of one width, against energies a little way out."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        params = FREE.collapsed()._replace(
            bias=jnp.asarray(rng.normal(size=3)) + 1.0,
            mean=jnp.asarray(rng.normal(size=(8, 2))),
            log_std=jnp.broadcast_to(jnp.asarray(rng.normal(size=2)), (8, 2)),
        )
        rows = dead_rows(X, params, 0.3, 0.5, tied=True)
        assert rows.falling.all()
        for r, u in enumerate(rows.direction):
            farthest = jnp.max(jnp.abs(params.mean @ u))
            width = jnp.sqrt(jnp.exp(2 * params.log_std[0]) @ u**2)
            at = jnp.array([0.3 / (farthest + 30.0 * width)])
            heights, rounding = energies(X, params, 0.3, 0.5, u, at)
            assert heights[0, 0, r] < -rounding[0, r]


@pytest.mark.slow
def test_points_are_judged():
    assert stationary.analyze(SHARED, SHARED.collapsed()).label == "collapsed local minimum"
    affine = amortized_vae(replace(FREE, alpha=0.0))
    *_, best = theory.stationary_points(X, 2)
    assert stationary.analyze(affine, affine.fitted(best.params)).label == "global optimum"
    # A constant feature: what the encoder makes of it is no question.
    wider = jnp.concatenate([jnp.asarray(X), jnp.ones((8, 1))], axis=1)
    blind = amortized_vae(vae.threshold_vae(wider, 2, 0.3, gamma=0.3))
    point = stationary.find(blind, jax.random.key(0), 0.5)
    assert point.label == "local minimum" and point.inertia.flat == 4  # two, and a row at zero
    free = stationary.descend(blind.vae, blind.free(point.params))
    assert blind.vae.loss(free.params) < point.loss


def test_what_there_is_not_is_refused_in_one_line():
    with pytest.raises(ValueError, match="expected a problem with per-datum structure"):
        bordered.inertia(SHARED, SHARED.collapsed())
    with pytest.raises(ValueError, match=r"expected a diagonal posterior.* got full"):
        amortized_vae(replace(FREE, posterior=FULL))
    with pytest.raises(ValueError, match="expected a VAE with an elementwise decoder"):
        amortized_vae(SHARED)


def test_one_encoder_answers_to_no_datums_own_level():
    """At a corner free posteriors' deviations follow the data; one deviation for all cannot."""
    X = data.gaussian(12, [3.0, 1.0, 0.4, 0.2], seed=0)
    for gamma, free_saddle in ((2.4, True), (3.0, False)):
        for posterior in ("diagonal", "amortized"):
            problem = vae.elementwise_vae(X, 1, "abs", 0.5, posterior=posterior, gamma=gamma)
            saddle = free_saddle and posterior == "diagonal"
            known = problem.theory(problem.collapsed())
            assert int(known.form[0]) == saddle and int(known.form[1]) == 0
            there = jax.tree.map(jnp.add, problem.collapsed(), known.descent)
            assert (problem.loss(there) < problem.loss(problem.collapsed())) == saddle
