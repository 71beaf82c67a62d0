"""gamma' and gamma'' agree with closed forms, with brute force over a grid of gamma, and with the
energy itself.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot as plt
from scipy.optimize import brentq

from vaesurface import data, energy, optimize, plot, stationary, theory, vae
from vaesurface.experiments import prop41, prop51
from vaesurface.experiments.study import Setting
from vaesurface.problem import Autoencoder, Problem
from vaesurface.theory import encoders, thresholds
from vaesurface.theory.thresholds import collapse_threshold, latent_thresholds
from vaesurface.vae import network

SPECTRUM = np.array([4.0, 1.0, 0.2])
X = data.gaussian(20, SPECTRUM, seed=0)
LATENT = 2


def affine(gamma, beta=1.0, unit=1.0):
    """The affine model at its global optimum for that gamma: problem and parameters."""
    *_, best = (
        e.params for e in theory.stationary_points(unit * X, LATENT, gamma, beta) if e.negative == 0
    )
    return vae.threshold_vae(unit * X, LATENT, 0.0, gamma, beta), best


def gain(g, value, square):
    """What a column of that squared length on a principal direction saves at gamma g, less its KL
    divergence, times g.
    """
    return square * value / (square + g) - g * math.log1p(square / g)


def roots(gamma, beta=1.0):
    """gamma' and gamma'' in closed form, times beta: sigma^2 = g / (w^2 + g), mu = w t / (w^2 + g)
    are the best posteriors.
    """
    kept = SPECTRUM[:LATENT][SPECTRUM[:LATENT] > beta * gamma]
    squares = kept - beta * gamma
    root = partial(brentq, a=1e-3, b=50.0, xtol=1e-14)
    each = [root(partial(gain, value=v, square=s)) for v, s in zip(kept, squares, strict=True)]
    return root(lambda g: sum(gain(g, v, s) for v, s in zip(kept, squares, strict=True))), each


@pytest.mark.parametrize(("gamma", "beta"), [(0.1, 1.0), (0.5, 1.0), (2.0, 1.0), (0.2, 4.0)])
def test_the_affine_optimum_has_its_closed_form(gamma, beta):
    problem, params = affine(gamma, beta)
    found, each = collapse_threshold(problem, params), latent_thresholds(problem, params)
    whole, columns = roots(gamma, beta)
    print(
        float(found.gamma),
        "closed form:",
        whole / beta,
        "latents:",
        each.gamma,
        "closed form:",
        np.divide(columns, beta),
    )
    assert found.gamma == pytest.approx(whole / beta, rel=1e-12)
    assert found.converged and np.all(found.agreed == encoders.STARTS)
    np.testing.assert_allclose(each.gamma[: len(columns)], np.divide(columns, beta), rtol=1e-11)
    assert np.all(each.gamma[len(columns) :] == 0.0)  # a column of zeros is worth nothing
    assert np.all(each.low <= each.gamma) and np.all(each.gamma <= each.high)
    np.testing.assert_allclose(found.per_latent[len(columns) :], 0.0, atol=1e-14)
    # Between the latents' own, as the whole is a sum; and every column that was found at gamma is
    # worth it there.
    assert min(columns) <= whole <= max(columns) and min(columns) > beta * gamma


def test_as_a_column_fades_its_threshold_is_the_eigenvalue():
    for gamma in (3.9, 3.99):
        problem, params = affine(gamma)
        assert abs(float(collapse_threshold(problem, params).gamma) - 4.0) < 0.6 * (4.0 - gamma)


def test_in_the_affine_model_no_distribution_does_better_and_both_errors_are_as_stated():
    problem, params = affine(0.5)
    found = [collapse_threshold(problem, params, jax.random.key(seed)) for seed in range(12)]
    exact = roots(0.5)[0]
    for value, error in (("upper", "upper_error"), ("fresh", "error_bar")):
        values, bars = (np.array([getattr(f, name) for f in found]) for name in (value, error))
        scores = (values - exact) / bars
        print(value, "mean and standard deviation of scores:", scores.mean(), scores.std(ddof=1))
        assert abs(scores.mean()) < 4 / np.sqrt(12)  # no bias
        assert (
            0.4 < scores.std(ddof=1) < 1.8
        )  # chi with 11 degrees of freedom: less than 1e-3 outside
        assert np.all(bars < 0.02 * exact)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_energy_itself_changes_sides_at_the_threshold(beta):
    gamma = 0.5 / beta
    _, params = affine(gamma, beta)
    params = params._replace(weight=params.weight.at[2, 0].set(0.3))

    def make(g):
        return vae.threshold_vae(X, LATENT, 0.2, g, beta)

    found = collapse_threshold(make(gamma), params)
    params = params._replace(mean=found.mean, log_std=found.log_std)
    for factor, wins in ((0.999, True), (1.001, False)):
        problem = make(factor * found.gamma)
        assert (problem.loss(params) < problem.loss(problem.collapsed())) == wins
    at = make(found.gamma)
    np.testing.assert_allclose(at.loss(params), at.loss(at.collapsed()), rtol=1e-12)
    assert found.upper > found.gamma - 4 * found.upper_error


def test_thresholds_follow_units_and_names_of_the_latents():
    problem, params = affine(0.5)
    mixed = params._replace(weight=params.weight.at[2, 0].set(0.3))
    found, each = collapse_threshold(problem, mixed), latent_thresholds(problem, mixed)
    order, sign = jnp.array([1, 0]), jnp.array([-1.0, 1.0])
    named = problem.relabel(mixed, order, sign)
    np.testing.assert_allclose(collapse_threshold(problem, named).gamma, found.gamma, rtol=1e-12)
    np.testing.assert_allclose(
        latent_thresholds(problem, named).gamma, each.gamma[order], rtol=1e-11
    )
    larger = vae.threshold_vae(3.0 * X, LATENT, 0.0, 0.5)
    scaled = mixed._replace(weight=3.0 * mixed.weight, bias=3.0 * mixed.bias)
    np.testing.assert_allclose(
        collapse_threshold(larger, scaled).gamma, 9.0 * found.gamma, rtol=1e-12
    )
    np.testing.assert_allclose(
        latent_thresholds(larger, scaled).gamma, 9.0 * each.gamma, rtol=1e-11
    )
    kept = problem.restrict(mixed, jnp.array([True, False]))
    assert latent_thresholds(problem, kept).gamma[1] == 0.0


@pytest.mark.parametrize("what", ["collapsed", "constant elsewhere", "hopeless"])
def test_a_decoder_that_never_wins_has_threshold_zero(what):
    problem, params = affine(0.5)
    collapsed = problem.collapsed()
    if what == "constant elsewhere":
        collapsed = collapsed._replace(bias=collapsed.bias + 1.0)
    if what == "hopeless":
        collapsed = collapsed._replace(
            bias=collapsed.bias + 1e3 * jnp.array([0.0, 0.0, 1.0]),
            weight=params.weight.at[2].set(0.0),
        )
    found = collapse_threshold(problem, collapsed)
    assert (found.gamma, found.fresh, found.upper, found.error_bar) == (0.0, 0.0, 0.0, 0.0)
    assert found.converged
    if what != "hopeless":
        assert np.all(latent_thresholds(problem, collapsed).gamma == 0.0)


@jax.jit
def least_energies(problem, params, gammas, starts=8):
    """Of the decoder at gammas (m,), times gamma, over free encoders: Adam from random starts, each
    datum's best.
    """
    model = problem.autoencoder(params)
    mean, log_std = jax.random.normal(jax.random.key(1), (2, starts, *model.mean.shape))

    def at(g):
        def one(m, s, x):
            return model.error(m, s, x) + g * jnp.sum(energy.divergence(m, s) - 1.0)

        def each(v):
            return jax.vmap(jax.vmap(one), (0, 0, None))(*v, model.data)

        # Adam moves every number by its own gradients, so that data and starts do not see each
        # other.
        run = optimize.adam(1500, 0.05)(lambda v: jnp.sum(each(v)), (mean, log_std - 1.0))
        return jnp.mean(jnp.min(each(run.params), axis=0))

    return jax.lax.map(at, gammas)


def soft():
    problem = vae.threshold_vae(X, LATENT, 0.3, 0.3)
    return problem, optimize.adam(500)(problem.loss, problem.init(jax.random.key(0), 1.0)).params


def soft_digits():
    problem = vae.threshold_vae(data.load("digits-4x4", limit=40), LATENT, 0.1, 0.05)
    return problem, stationary.find(problem, jax.random.key(0), 1.0, optimize.adam(1000)).params


def small_network():
    problem = network.mlp_vae(
        X[:12], 1, depth=1, width=6, nodes=network.gauss_hermite(1, 9), gamma=0.5
    )
    start = problem.init(jax.random.key(0))
    fine = network.gauss_hermite(1, 64)  # too many nodes for a posterior to be fitted to

    def known(params):
        model = problem.autoencoder(params)

        def error(mean, log_std, x):
            z = mean[None] + jnp.exp(log_std)[None] * fine.noise
            return fine.weights @ jnp.sum((x[None] - model.decode(z)) ** 2, axis=1)

        return model._replace(error=error)

    params = optimize.adam(600)(problem.loss, jax.tree.map(lambda x: x.astype(float), start)).params
    return problem.replace(autoencoder=known), params


DECODERS = {
    "affine": lambda: affine(0.5),
    "soft threshold": soft,
    "soft threshold, digits": soft_digits,
    "ReLU network": small_network,
}
SLOW = ("soft threshold, digits", "ReLU network")  # to compile


@pytest.mark.parametrize(
    "name", [n if n not in SLOW else pytest.param(n, marks=pytest.mark.slow) for n in DECODERS]
)
def test_brute_force_over_a_grid_of_gamma_agrees(name):
    problem, params = DECODERS[name]()
    found = collapse_threshold(problem, params)
    model = problem.autoencoder(params)
    level = jnp.mean(jnp.sum((model.data - model.data.mean(axis=0)[None]) ** 2, axis=1))
    factors = jnp.array([0.97, 0.98, 0.99, 1.01, 1.02, 1.03])
    wins = np.asarray(least_energies(problem, params, found.gamma * factors) < level)
    between = (
        found.gamma * factors[np.flatnonzero(wins)[-1]],
        found.gamma * factors[np.flatnonzero(~wins)[0]],
    )
    print(
        f"{name}: gamma' = {found.gamma:.6g}; by brute force between {between[0]:.6g} and "
        f"{between[1]:.6g}"
    )
    assert wins.tolist() == [True] * 3 + [False] * 3
    assert found.gamma <= found.upper + 4 * found.upper_error


def linear(restrict=None, error=None):
    """x = w z with one latent, by functions alone."""
    Z = X[:10, :1]

    def autoencoder(w):
        zero = jnp.zeros((10, 1))
        return Autoencoder(
            jnp.asarray(Z), zero, zero, lambda z: z * w, jnp.array(1.0), error=error and error(w)
        )

    return Problem(loss=lambda w: w, autoencoder=autoencoder, restrict=restrict)


def exactly(w):
    return lambda mean, log_std, x: jnp.sum((x - w * mean) ** 2 + w**2 * jnp.exp(2 * log_std))


def linear_threshold(w):
    """In closed form, for data whose mean is not the decoder's."""
    second, level = np.mean(X[:10, 0] ** 2), np.var(X[:10, 0])
    return brentq(lambda g: level - second + gain(g, second, w**2), 1e-3, 50.0, xtol=1e-14)


def test_sampled_expectations_give_a_lower_bound_with_its_error():
    exact = linear_threshold(1.5)
    found = collapse_threshold(linear(), jnp.array(1.5), samples=32)
    print("exact:", exact, "encoders fitted to 32 draws:", found.gamma, "+-", found.error_bar)
    assert found.gamma == found.fresh
    # The ratio is by draws that the encoders have not seen.
    assert abs(found.gamma - exact) <= 4 * found.error_bar < 0.1 * exact


@pytest.mark.slow  # to compile
def test_the_contract_name_is_in_theory_and_runs_under_vmap():
    problem, widths = linear(error=exactly), jnp.array([0.7, 1.5])
    found = jax.vmap(lambda w: theory.collapse_threshold(problem, w, draws=16).gamma)(widths)
    np.testing.assert_allclose(found, [linear_threshold(w) for w in (0.7, 1.5)], rtol=1e-12)


def test_a_latent_that_is_worth_it_at_every_gamma_and_what_is_asked_of_a_problem():
    worse = linear(
        lambda w, keep: jnp.where(keep[0], w, 9.0), exactly
    )  # ignored, it only adds noise
    assert latent_thresholds(worse, jnp.array(1.5)).gamma[0] == jnp.inf
    with pytest.raises(ValueError, match="expected a problem with restrict, got one without"):
        latent_thresholds(linear(), jnp.array(1.5))
    with pytest.raises(ValueError, match="expected a problem with autoencoder, got one without"):
        collapse_threshold(Problem(loss=lambda w: w), jnp.array(1.5))
    with pytest.raises(ValueError, match="expected samples and draws of 1 or more, got 0 and 1024"):
        collapse_threshold(linear(), jnp.array(1.5), samples=0)
    with pytest.raises(ValueError, match="expected float64 parameters for thresholds"):
        collapse_threshold(linear(), jnp.array(1.5, jnp.float32))


def test_beside_perfect_reconstruction_collapse_is_proved_a_minimum(tmp_path):
    setting = Setting(data.antipodal(d=2), "antipodal", 1, None, 1.0, 3, 0.1, 0, tmp_path, "")
    rows = [prop41._row(setting, alpha) for alpha in (0.01, 5.0)]
    for row in rows:
        assert row.proved == 2 and row.slope == pytest.approx(1.0, rel=1e-6)  # d - beta q
        assert row.energy[-1] < -20 and np.all(np.diff(row.error) < 0)
        # On the ray d error = beta q gamma + O(gamma^2).
        np.testing.assert_allclose(row.error[12], 0.5 * prop41.RAY[12], rtol=1e-5)  # at 1e-6
        assert 0.7 * row.alpha < row.radius < theory.collapse_radius(setting.X, row.alpha).limit
    ended = np.array([[1, 0, 3], [3, 3, 3]])
    said = prop41._verdict(rows, ended, 3, 3.0)
    assert said.startswith("The paper's claim held here, at all 2 values of alpha from 0.01 to 5")
    assert (
        "of random starts 0 to 100 % end in it, depending on alpha and scale, 72 % over all" in said
    )
    assert "did not hold" in prop41._verdict([rows[0]._replace(proved=1)], ended[:1], 3, 3.0)


def test_the_sentence_on_thresholding_says_what_was_found():
    gammas = np.array([1.0, 2.0, 4.0])
    kl = np.array([[2.0, 1.0], [1.0, 1e-9], [0.0, 0.0]])
    switched = prop51.Minima([], kl, np.array([3.0, 2.5]), None)
    at, each = np.array([1.0, 2.0]), np.array([[1.5, 2.0], [2.8, 2.9]])
    zeros = np.zeros(2)
    found = thresholds.Threshold(
        np.array([1.8, 2.5]), zeros, zeros, np.array([1.9, 2.6]), zeros, *[zeros] * 5
    )
    held = prop51._verdict({"affine": switched, "soft": switched}, at, found, each)
    assert held.startswith(
        "The paper's claim held here: each latent's KL divergence is exactly zero (below 1e-12)"
    )
    assert (
        "in the affine from 2.5, 3 and in the soft from 2.5, 3" in held
        and "1 of them are better off" in held
    )
    never = switched._replace(off=np.array([np.nan, 2.5]))
    assert "did not hold" in prop51._verdict({"affine": never}, at, found, each)
    assert "did not hold" in prop51._verdict({"affine": switched}, 2 * at, found, each)
    said = prop51._said("affine", switched._replace(points=[]), gammas)
    assert (
        "latent 1 at gamma = 3 (1 at 2); latent 2 at gamma = 2.5 (1 at 1); in 1 of 6 places it "
        "is between" in said
    )


def test_the_held_decoder_shrinks_and_is_right_where_it_was_made():
    eigenvalues, gammas = np.array([4.0, 1.0]), np.geomspace(0.2, 1e3, 30)
    held, best = prop51._held(eigenvalues, gammas), prop51._affine(eigenvalues, gammas)
    np.testing.assert_allclose(held[0], best[0], rtol=1e-12)
    assert np.all(np.diff(held, axis=0) < 0) and np.all(held[-1] > 0) and np.all(best[-1] == 0)


def test_figures_show_every_number_once():
    gamma, kl = (
        np.geomspace(0.1, 1.0, 4),
        np.array([[1.0, 2.0], [0.5, 1.0], [0.0, 0.2], [0.0, 0.0]]),
    )
    axes = plot.thresholding(
        gamma,
        {"affine": kl},
        switches={"affine": [0.9, 0.4]},
        theory=kl,
        held=kl + 1,
        eigenvalues=[0.9],
    )
    drawn = [line for line in axes.lines if line.get_marker() == "o"]
    np.testing.assert_array_equal([line.get_ydata() for line in drawn], -np.sort(-kl, axis=1).T)
    assert [t.get_text() for t in axes.get_legend().get_texts()][-1] == "eigenvalues"
    axes = plot.decoder_thresholds(
        gamma, 2 * gamma, np.stack([gamma, np.full(4, np.inf)], axis=1), upper=3 * gamma
    )
    assert (
        np.isnan(axes.lines[-2].get_ydata()).all() or np.isnan(axes.lines[-3].get_ydata()).all()
    )  # inf is no point
    shares = np.array([[0.5, 0.3, 0.7], [1.0, 0.9, 1.0]])
    axes = plot.trap([0.1, 1.0], {"scale 1": shares}, [0.07, 0.7])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), shares[:, 0])
    axes = plot.rays(gamma, {"a": -gamma}, {"a": gamma}, level=3.0)
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), -gamma)
    plt.close("all")


@pytest.mark.slow
def test_proposition_41_on_antipodal_data(tmp_path):
    study = prop41.prop41(tmp_path, "", full=False, seeds=1)
    assert "held here, at all 10 values" in study.said[0]
    with np.load(tmp_path / "prop41.npz") as found:
        assert np.all(found["collapsed"][-1] == 10) and np.all(found["collapsed"][0] < 10)


@pytest.mark.slow
def test_proposition_51_on_the_digits(tmp_path):
    study = prop51.prop51(tmp_path, "", full=False, seeds=1)
    assert "The paper's claim held here" in study.said[0]
    with np.load(tmp_path / "prop51.npz") as found:
        # Twice: half a cell of the bisection, and to how near KL = 1e-12 counts as the prior.
        np.testing.assert_allclose(
            np.sort(found["affine_off"]), np.sort(found["eigenvalues"]), rtol=1e-4
        )
        gamma, values = found["gamma"][:, None], -np.sort(-found["eigenvalues"])[None]
        np.testing.assert_allclose(
            found["affine"], np.log(np.maximum(values / gamma, 1.0)), atol=1e-9
        )
        assert found["whole"][-1] == pytest.approx(found["found_at"][-1], rel=1e-4)
