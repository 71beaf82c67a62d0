"""Which kind of collapse: numbers against closed forms, verdicts against invariances, doors against
bad input.
"""

import gzip
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import savemat
from scipy.optimize import minimize, minimize_scalar

from vaesurface import cli, data, diagnose, report, theory, vae
from vaesurface.diagnose import Collapse, bounds, export, halves, posteriors
from vaesurface.diagnose.diagnosis import affine_gain
from vaesurface.diagnose.terms import ACTIVE_NATS
from vaesurface.plot import divergences, residual_spectrum
from vaesurface.problem import Problem

NOT_ENDED = "(v) a bad local optimum, or training has not ended"
STATUSES = ("exact", "proved", "closed form", "measured", "estimated", "unknown", "judged")
KEYS = ("x", "mean", "log_std", "reconstruction", "gamma")


@pytest.fixture(scope="module")
def partial_collapse():
    """Affine, gamma fixed between the third and the fourth eigenvalue: an export as anyone would
    make it, all keys.
    """
    X = data.load("digits-4x4", limit=120)
    values = theory.eigenvalues(X)
    gamma = math.sqrt(values[2] * values[3])
    params = min(theory.stationary_points(X, 5, gamma), key=lambda e: e.loss).params
    return diagnose.exported(vae.threshold_vae(X, 5, 0.0, gamma), params)


def required(exported, **changed):
    """Arguments of `diagnose.arrays`: the keys that an .npz needs."""
    return {name: getattr(exported, name) for name in KEYS} | changed


# Numbers


def test_information_of_two_data_far_apart_is_log_2_and_of_collapse_zero():
    apart = posteriors.information(np.array([[9.0], [-9.0]]), np.full((2, 1), -3.0))
    assert apart.value == pytest.approx(math.log(2), abs=1e-12)
    assert apart.limit == math.log(2)
    none = posteriors.information(np.zeros((5, 2)), np.zeros((5, 2)))
    assert abs(none.value) < 1e-14


def test_information_of_a_gaussian_channel():
    # z = s x + noise with var z = 1 has 1/2 log(1 / sigma^2) nats a latent; with finite n a mixture
    # sees a little less.
    rng = np.random.default_rng(0)
    std = np.array([0.5, 0.3])
    mean = np.sqrt(1 - std**2) * rng.standard_normal((1500, 2))
    information = posteriors.information(mean, np.log(std) * np.ones((1500, 1)))
    print(information, -np.log(std).sum())
    assert abs(information.value + np.log(std).sum()) < 4 * information.error
    assert (
        information.value
        < posteriors.divergences(mean, np.log(std) * np.ones((1500, 1))).sum(axis=1).mean()
        + 4 * information.error
    )


def test_information_of_posteriors_that_are_much_sharper_than_they_are_far_apart():
    # Of densities by products, not by differences, digits are lost: 1e14 less 1e14.
    pairs = np.repeat(np.linspace(-1.0, 1.0, 50), 2) + np.tile([0.0, 1e-7], 50)
    log_std = np.full((100, 1), math.log(1e-7))
    sharp = posteriors.information(pairs[:, None], log_std)
    units = np.repeat(1e4 * np.arange(50.0), 2) + np.tile([0.0, 1.0], 50)
    wide = posteriors.information(units[:, None], np.zeros((100, 1)))
    assert sharp.value == pytest.approx(wide.value, abs=1e-7)


def test_information_takes_part_of_many_data(monkeypatch):
    monkeypatch.setattr(posteriors, "PAIRS", 2**10)
    information = posteriors.information(
        np.linspace(-1e3, 1e3, 500)[:, None], np.full((500, 1), -9.0)
    )
    assert information.limit == math.log(32)
    assert information.value == pytest.approx(information.limit, abs=1e-9)


def test_the_affine_optimum_is_the_lowest_stationary_point():
    X = data.gaussian(12, [3.0, 1.0, 0.2, 0.0], seed=1)
    values = theory.eigenvalues(X)
    for latent, gamma, beta in (
        (2, None, 1.0),
        (3, None, 1.0),
        (3, 0.5, 1.0),
        (3, None, 1.5),
        (2, 0.4, 0.5),
    ):
        optimum = theory.affine_optimum(values, latent, gamma, beta)
        assert optimum.energy == pytest.approx(
            float(theory.global_minimum(X, latent, gamma, beta)), rel=1e-12
        )
        if math.isfinite(optimum.energy):
            best = min(theory.stationary_points(X, latent, gamma, beta), key=lambda e: e.loss)
            assert optimum.kept == len(best.retained)
    assert theory.affine_optimum(values, 3, None, 1.0) == (3, 0.0, -math.inf)
    # Slack: of gamma = 0.195 the third direction gains next to nothing.
    assert theory.affine_optimum(values, 3, 0.195, 1.0).kept == 3
    assert theory.affine_optimum(values, 3, 0.195, 1.0, slack=0.02).kept == 2


def test_what_an_affine_latent_gains():
    X = data.gaussian(12, [3.0, 1.0, 0.5], seed=1)
    energy = {e.retained: e.loss for e in theory.stationary_points(X, 1, 0.4, 1.0)}
    assert affine_gain(3.0 / 0.4) == pytest.approx(0.5 * (energy[()] - energy[(0,)]), rel=1e-12)
    assert affine_gain(1.0) == affine_gain(0.3) == 0.0


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.9])
def test_the_best_component_of_two_data_in_closed_form(gamma):
    # X = +-v, |v|^2 = 2, theta = t v: log D = log cosh(2 t / gamma) - t^2 / gamma.
    component = bounds.best_component(data.antipodal(2), gamma)
    height = minimize_scalar(
        lambda t: t**2 / gamma - math.log(math.cosh(2 * t / gamma)), bounds=(0, 2), method="bounded"
    )
    assert component.gain == pytest.approx(-height.fun, abs=1e-9)
    assert not component.proved


def test_no_component_is_better_where_that_is_proved():
    X = data.clusters(30, 2, centers=3, noise=0.3, seed=1)
    square = np.sum((X - X.mean(axis=0)) ** 2, axis=1).max()
    assert bounds.best_component(X, 1.001 * square) == (0.0, True)
    grid = np.stack(np.meshgrid(*[np.linspace(-4, 4, 161)] * 2), axis=-1).reshape(-1, 2)
    Z = X - X.mean(axis=0)
    for gamma in (0.1 * square, 0.3 * square, 0.6 * square):
        exponent = (2 * grid @ Z.T - np.sum(grid**2, axis=1)[:, None]) / (2 * gamma)
        brute = np.log(np.mean(np.exp(exponent), axis=1)).max()
        component = bounds.best_component(X, gamma)
        print(gamma, component, brute)
        assert brute - 1e-9 <= component.gain <= brute + 0.01


def test_no_decoder_of_latents_alone_beats_the_bound():
    X = data.load("digits-4x4", limit=40)
    problem = vae.threshold_vae(X, 3, 0.02)
    leading = float(theory.eigenvalues(X)[0])

    @jax.jit
    def errors(keys, scales):
        def one(key, scale):
            p = problem.init(key, scale)
            p = p._replace(weight=p.weight / scale, log_std=-0.05 * jnp.abs(p.mean))
            return jnp.mean(
                jax.vmap(problem.autoencoder(p).error)(p.mean, p.log_std, X)
            ), problem.information(p).sum() / 2

        return jax.vmap(one)(keys, scales)

    errors_and_nats = errors(jax.random.split(jax.random.key(0), 60), jnp.logspace(-3, 0, 60))
    tight = []
    for error, nats in zip(*map(np.asarray, errors_and_nats), strict=True):
        bound, _ = bounds.least_error(X, nats, error, leading)
        assert error >= bound
        tight.append(bound > 0)
    assert sum(tight) > 10
    # Where a latent only just pays, the best affine decoder comes close.
    G = data.gaussian(30, [1.0, 0.3, 0.3], seed=0)
    error, nats = 0.6 + 0.95, -0.5 * math.log(0.95)  # at gamma = 0.95
    bound, proved = bounds.least_error(G, nats, error, 1.0)
    print(bound, error, 1.6, proved)
    assert 1.6 - 2.0 * nats * np.sum(G**2, axis=1).max() <= bound <= error


def test_noise_does_not_last_from_one_half_to_the_other_and_structure_does():
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((400, 20))
    assert theory.eigenvalues(noise)[0] > 1.3
    assert halves.held_out(noise, 1)[0] < 1.15
    structured = noise + 3 * rng.standard_normal((400, 1)) * np.eye(20)[0]
    assert halves.held_out(structured, 1)[0] == pytest.approx(10.0, rel=0.15)
    assert halves.held_out(data.antipodal(3), 2) == pytest.approx([3.0, 0.0])


def test_the_error_at_the_posterior_mean_tells_the_expected_one(partial_collapse):
    # Exact where the decoder is affine and posteriors are at their best: eq. 10's error from five
    # keys alone.
    whole = diagnose.arrays(**partial_collapse._asdict())
    few = diagnose.arrays(**required(partial_collapse))
    assert (whole.error_status, few.error_status) == ("exact", "estimated")
    assert few.error == pytest.approx(whole.error, rel=1e-12)
    assert few.error_at_mean < 0.9 * whole.error


# Verdicts


def test_some_latents_off_because_gamma_is_fixed(partial_collapse):
    diagnosis = diagnose.arrays(**required(partial_collapse))
    assert diagnosis.kinds.tolist() == [0, 0, 0, 2, 2]
    assert diagnosis.fixed and not diagnosis.matches
    assert diagnosis.label == "(ii) gamma or beta too large: 2 of 5 latents inactive"
    assert "Learn gamma" in diagnosis.change
    assert diagnosis.affine.kept == 3 and diagnosis.free.kept == 5
    assert diagnosis.kl[:3] == pytest.approx(
        0.5 * np.log(theory.eigenvalues(partial_collapse.x)[:3] / diagnosis.gamma), rel=1e-9
    )
    assert diagnosis.counts.sum() == partial_collapse.mean.size
    assert diagnosis.counts[20] == 2 * len(partial_collapse.x)


def test_a_verdict_does_not_depend_on_order_signs_units_shape_or_precision(partial_collapse):
    g = partial_collapse
    base = diagnose.arrays(**required(g))
    order = [4, 2, 0, 3, 1]
    swapped = diagnose.arrays(**required(g, mean=-g.mean[:, order], log_std=g.log_std[:, order]))
    assert swapped.kinds.tolist() == [base.kinds[i] for i in order]
    scaled = {k: 7.0 * getattr(g, k) for k in ("x", "reconstruction")}
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((16, 16))).Q
    images = {k: getattr(g, k).reshape(-1, 4, 4) for k in ("x", "reconstruction")}
    single = {k: np.asarray(v, np.float32) for k, v in required(g).items()}
    rows = np.random.default_rng(1).permutation(len(g.x))
    for changed in (
        required(g, **scaled, gamma=49.0 * g.gamma),
        required(g, x=g.x @ rotation, reconstruction=g.reconstruction @ rotation),
        required(g, **images, gamma=np.full((len(g.x), 1), float(g.gamma))),
        single,
        {k: v[rows] if v.ndim else v for k, v in required(g).items()},
    ):
        diagnosis = diagnose.arrays(**changed)
        assert diagnosis.kinds.tolist() == base.kinds.tolist()
        assert diagnosis.kl == pytest.approx(base.kl, rel=1e-5, abs=1e-6)
        assert diagnosis.error / diagnosis.gamma == pytest.approx(base.error / base.gamma, rel=1e-5)


def test_a_collapsed_decoder_that_misses_the_mean_is_in_training_or_in_other_units():
    rng = np.random.default_rng(0)
    x = (
        0.5
        + rng.standard_normal((200, 1)) * np.linspace(0.1, 0.4, 6)
        + 0.05 * rng.standard_normal((200, 6))
    )
    still = {"mean": np.zeros((200, 2)), "log_std": np.zeros((200, 2)), "gamma": 0.05}
    center = np.broadcast_to(x.mean(axis=0), x.shape)
    assert diagnose.arrays(x=x, reconstruction=center, **still).kind == Collapse.LOCAL
    for data_of_it, answer in ((x, 0.0 * center), (255.0 * x, center)):
        diagnosis = diagnose.arrays(x=data_of_it, reconstruction=answer, **still)
        assert diagnosis.kind == Collapse.UNDECIDED
        assert "not what it was fed" in diagnosis.change or "Give x exactly" in diagnosis.change
        assert "always answering with the mean" in diagnosis.evidence["use"]


def test_gamma_in_all_its_shapes(partial_collapse):
    g = partial_collapse
    n, d = g.x.shape
    for shape in ((), (1,), (n,), (n, 1), (d,), (1, d), (n, d)):
        assert export.check(**required(g, gamma=np.full(shape, 0.3))).gamma.shape == ()
    assert export.check(**required(g, gamma=np.linspace(1, 2, n))).gamma.shape == (n, d)
    assert (
        export.check(**required(g, gamma=np.linspace(1, 2, d))).gamma[5, 3]
        == np.linspace(1, 2, d)[3]
    )


def test_faint_coordinates_are_no_spike_and_few_data_are():
    X = data.load("digits-4x4", limit=60)
    arrays = {
        "x": X,
        "mean": np.zeros((60, 2)),
        "log_std": np.zeros((60, 2)),
        "reconstruction": np.tile(X.mean(axis=0), (60, 1)),
    }
    per_coordinate = np.maximum(X.var(axis=0), 1e-9)
    faint = diagnose.arrays(**arrays, gamma=per_coordinate)
    assert faint.kind == Collapse.LOCAL  # judged in units in which gamma is one number
    gamma = np.tile(per_coordinate, (60, 1))
    gamma[7] = 1e-12
    sharp = arrays | {
        "reconstruction": np.where(np.arange(60)[:, None] == 7, X, arrays["reconstruction"])
    }
    spiked = diagnose.arrays(**sharp, gamma=gamma)
    assert spiked.kind == Collapse.COVARIANCE
    assert spiked.spike.share == 1 / 60
    assert "no lower bound" in spiked.evidence["covariance"]
    healthy = diagnose.arrays(**sharp | {"reconstruction": X}, gamma=gamma)
    assert healthy.kind == Collapse.UNDECIDED  # others are reconstructed: not the paper's kind


def test_a_decoder_that_ignores_its_latents_is_told_by_draws_from_the_prior():
    # KL so large that nothing bounds what it could explain; but the error is the same without.
    X = data.load("digits-4x4", limit=60)
    rng = np.random.default_rng(0)
    seen = X + 0.02 * rng.standard_normal(X.shape)
    arrays = {
        "x": X,
        "mean": rng.standard_normal((60, 2)) * [1, 0],
        "log_std": np.tile([-2.0, 0.0], (60, 1)),
    }
    arrays |= {"reconstruction": seen, "gamma": np.mean((X - seen) ** 2)}
    barely = seen + 1e-4 * rng.standard_normal(X.shape)  # as a trained decoder ignores them
    assert diagnose.arrays(**arrays, prior_reconstruction=barely).kinds.tolist() == [
        0,
        Collapse.FLEXIBLE,
    ]
    copied = diagnose.arrays(**arrays, prior_reconstruction=seen)
    assert "prior_reconstruction is reconstruction itself" in copied.label
    assert diagnose.arrays(**arrays, prior_reconstruction=X[::-1]).kind != Collapse.FLEXIBLE


def test_white_data_with_everything_off_are_undecided_from_arrays_and_few_data_say_little():
    X = data.gaussian(300, [1.0] * 4, seed=0)
    arrays = {
        "x": X,
        "mean": np.zeros((300, 2)),
        "log_std": np.zeros((300, 2)),
        "reconstruction": np.zeros((300, 4)),
    }
    diagnosis = diagnose.arrays(**arrays, gamma=1.0)
    assert (diagnosis.kind, diagnosis.pays) == (Collapse.UNDECIDED, -1)
    assert diagnosis.lower < 1e-12
    few = np.random.default_rng(0).standard_normal((6, 30))
    arrays = {
        "x": few,
        "mean": np.zeros((6, 2)),
        "log_std": np.zeros((6, 2)),
        "reconstruction": np.tile(few.mean(axis=0), (6, 1)),
    }
    diagnosis = diagnose.arrays(**arrays, gamma=few.var(axis=0).mean())
    assert (diagnosis.kind, diagnosis.pays) == (Collapse.UNDECIDED, 0)
    assert "optional arrays" in diagnosis.change


def test_of_a_family_without_affine_maps_less_is_said():
    X = data.load("digits-4x4", limit=60)
    arrays = {
        "x": X,
        "mean": np.zeros((60, 2)),
        "log_std": np.zeros((60, 2)),
        "reconstruction": np.tile(X.mean(axis=0), (60, 1)),
    }
    gamma = float(np.mean((X - X.mean(axis=0)) ** 2))
    assert diagnose.arrays(**arrays, gamma=gamma).kind == Collapse.LOCAL
    assert diagnose.arrays(**arrays, gamma=gamma, affine=False).kind == Collapse.UNDECIDED


# No verdict that is wrong: each of these was one once


def affine_vae(X, latent, gamma, **more):
    """What an .npz of the best affine VAE at that gamma holds."""
    center = X.mean(axis=0)
    values, directions = (
        a[..., ::-1][..., :latent] for a in np.linalg.eigh(np.cov(X.T, bias=True))
    )
    ratio = np.minimum(gamma / values, 1.0)
    mean = (X - center) @ directions * np.sqrt((1 - ratio) / values)
    reconstruction = center + mean * np.sqrt(values * (1 - ratio)) @ directions.T
    log_std = 0.5 * np.log(ratio) * np.ones_like(mean)
    return {
        "x": X,
        "mean": mean,
        "log_std": log_std,
        "reconstruction": reconstruction,
        "gamma": gamma,
    } | more


def with_latents(arrays, mean, log_std, count=1):
    """With `count` more latents of those posteriors."""
    wider = {"mean": mean, "log_std": log_std}
    return arrays | {
        k: np.append(arrays[k], np.full((len(arrays[k]), count), v), axis=1)
        for k, v in wider.items()
    }


def normal(variances, n=500, seed=0):
    """Normal rows whose covariance is what it says, exactly: sampling noise has no directions."""
    rows = np.random.default_rng(seed).standard_normal((n, len(variances)))
    return np.sqrt(n) * np.linalg.qr(rows - rows.mean(axis=0)).Q * np.sqrt(variances)


def along_a_curve(gamma, noise):
    """The best decoder of one latent, to first order, of data along a curve in ten dimensions; two
    more latents are off.
    """
    rng = np.random.default_rng(0)
    t, mixing = rng.standard_normal(500), rng.standard_normal((8, 10))

    def curve(t):
        return (
            np.stack([f(w * t) for w in (0.7, 1.4, 2.1, 2.8) for f in (np.sin, np.cos)], axis=-1)
            @ mixing
        )

    X = curve(t) + noise * rng.standard_normal((500, 10))
    slope = np.mean(np.sum((curve(t + 1e-4) - curve(t - 1e-4)) ** 2, axis=1)) / 4e-8
    std = math.sqrt(gamma / (slope + gamma))
    nodes, weights = np.polynomial.hermite_e.hermegauss(20)

    def decode(t):
        return sum(
            w * curve(t + std * e) for w, e in zip(weights / weights.sum(), nodes, strict=True)
        )

    arrays = {
        "x": X,
        "mean": t[:, None],
        "log_std": np.full((500, 1), math.log(std)),
        "reconstruction": decode(t),
        "gamma": gamma,
    }
    return with_latents(arrays, 0.0, 0.0, 2) | {
        "sampled_reconstruction": decode(t + std * rng.standard_normal(500))
    }


def test_posteriors_that_are_the_same_for_all_data_carry_nothing():
    X = normal([9, 4, 2] + [0.1] * 7)
    off = {
        "x": X,
        "reconstruction": np.tile(X.mean(axis=0), (500, 1)),
        "gamma": X.var(axis=0).mean(),
        "learned_gamma": True,
    }
    shifted = diagnose.arrays(**off, mean=np.full((500, 2), 0.2), log_std=np.zeros((500, 2)))
    assert shifted.label == f"{NOT_ENDED}: 2 of 2 latents inactive"
    far = diagnose.arrays(**off, mean=np.full((500, 2), 0.5), log_std=np.zeros((500, 2)))
    assert far.label == "undecided, training has not ended: 2 of 2 latents inactive"
    for diagnosis in (shifted, far):
        assert diagnosis.kl.min() > ACTIVE_NATS
        assert "in the same way for all data" in diagnosis.evidence["latents"]
    healthy = affine_vae(X, 3, 0.1)
    assert diagnose.arrays(**with_latents(healthy, 0.0, 0.0)).kinds.tolist() == [
        0,
        0,
        0,
        Collapse.SUPERFLUOUS,
    ]
    assert diagnose.arrays(**with_latents(healthy, 0.0, math.log(2))).kinds.tolist() == [
        0,
        0,
        0,
        Collapse.UNDECIDED,
    ]
    few = with_latents(healthy, 0.0, 0.0)
    few["mean"][7, 3] = 2.0  # two nats about one datum are not superfluous
    assert diagnose.arrays(**few).kinds.tolist() == [0, 0, 0, Collapse.UNDECIDED]


def test_what_a_latent_can_carry_is_at_least_what_it_does_and_at_most_its_divergence():
    rng = np.random.default_rng(0)
    mean, log_std = 0.3 + rng.choice([-1.0, 1.0, 4.0], (200, 1)), rng.uniform(-2, 1, (200, 1))
    most = posteriors.carried(mean, log_std)[0]
    information = posteriors.information(mean, log_std)
    assert (
        information.value - 4 * information.error
        < most
        < posteriors.divergences(mean, log_std).mean()
    )
    assert posteriors.carried(2 * mean + 7, log_std + math.log(2)) == pytest.approx(most, abs=1e-12)


def test_a_decoder_that_makes_no_use_of_its_latents_is_not_healthy():
    rng = np.random.default_rng(0)
    X = normal([9, 4, 2] + [0.1] * 7)
    arrays = {
        "mean": 0.3 * rng.standard_normal((500, 2)),
        "log_std": 0.1 * rng.standard_normal((500, 2)),
        "gamma": 1.0,
    }
    diagnosis = diagnose.arrays(x=X, reconstruction=0.1 * rng.standard_normal(X.shape), **arrays)
    assert (
        diagnosis.label
        == "undecided: all 2 latents differ between data, which the decoder makes no use of"
    )
    assert diagnosis.evidence["use"].startswith("exact") and "Train on" in diagnosis.change


def test_the_error_without_noise_does_not_show_a_decoder_that_needs_no_latents():
    # An autoencoder trained without noise: codes of little spread, deviations as they were, a steep
    # decoder.
    arrays = affine_vae(normal([9, 4, 2] + [0.1] * 7), 3, 1e-6, learned_gamma=False)
    steep = arrays | {"mean": 0.05 * arrays["mean"], "log_std": 0.0 * arrays["mean"], "gamma": 0.1}
    assert diagnose.arrays(**steep).kind == Collapse.UNDECIDED


def test_noise_that_varies_is_no_spike():
    rng = np.random.default_rng(0)
    volatile = np.exp(1.5 * rng.standard_normal(500))
    regimes = np.where(rng.random(500) < 0.1, 0.05, 1.0)
    for std in (volatile, regimes):
        X = std[:, None] * rng.standard_normal((500, 4))
        mean = np.append(np.log(std)[:, None], np.zeros((500, 1)), axis=1)
        diagnosis = diagnose.arrays(X, mean, np.full((500, 2), [-2.0, 0.0]), 0 * X, std**2)
        assert diagnosis.kinds.tolist() == [0, Collapse.UNDECIDED]
    blank = np.where(regimes[:, None] < 1, 0.0, X)  # the same point again and again is one
    diagnosis = diagnose.arrays(
        blank, np.zeros((500, 1)), np.zeros((500, 1)), 0 * X, np.where(regimes < 1, 1e-9, 1.0)
    )
    assert diagnosis.kind == Collapse.COVARIANCE


def test_what_affine_vaes_need_a_better_decoder_does_not():
    for gamma, noise in ((0.05, 0.1), (0.3, 0.0)):
        diagnosis = diagnose.arrays(**along_a_curve(gamma, noise), learned_gamma=False)
        assert (diagnosis.free.kept, diagnosis.free_lasting, diagnosis.pays) == (3, 3, -1)
        assert diagnosis.kinds.tolist() == [0, 1, 1]
        assert "higher than this VAE" in diagnosis.evidence["learned gamma"]
    # One more direction of variance above gamma: training has not ended, and gamma is not to blame.
    arrays = along_a_curve(0.05, 0.1)
    arrays["x"][:, :3] += 0.35 * np.random.default_rng(1).standard_normal((500, 1))
    diagnosis = diagnose.arrays(**arrays, learned_gamma=False)
    assert (diagnosis.pays, diagnosis.kinds.tolist()) == (1, [0, 6, 6])


def test_noise_would_not_be_revived_by_a_learned_gamma():
    X = np.random.default_rng(0).standard_normal((500, 10)) * np.sqrt([9, 4] + [0.1] * 8)
    diagnosis = diagnose.arrays(
        **with_latents(affine_vae(X, 2, 0.2), 0.0, 0.0, 3), learned_gamma=False
    )
    assert diagnosis.free.kept > 2 and diagnosis.free_lasting == 2
    assert diagnosis.kinds.tolist() == [0, 0, 1, 1, 1]
    white = np.random.default_rng(0).standard_normal((500, 6))
    assert diagnose.arrays(**affine_vae(white, 3, 2.0)).kind == Collapse.UNDECIDED


def test_clusters_that_no_affine_latent_tells_apart_are_no_superfluous_latent_s():
    rng = np.random.default_rng(0)
    centers = 2 * np.append(np.eye(4), -np.eye(4), axis=0)
    left = centers[rng.integers(0, 8, 500)] + 0.15 * rng.standard_normal((500, 4))
    X = np.append(normal([36, 36]), left, axis=1)
    gamma = 1.05 * left.var(axis=0).mean()
    for learned in (True, False):
        diagnosis = diagnose.arrays(
            **with_latents(affine_vae(X, 2, gamma), 0.0, 0.0, 2), learned_gamma=learned
        )
        assert (diagnosis.pays, diagnosis.kinds.tolist()) == (-1, [0, 0, 6, 6])
        assert "has clusters" in diagnosis.evidence["clusters"]
    white = np.append(normal([36, 36]), normal([1.0] * 4, seed=1), axis=1)
    diagnosis = diagnose.arrays(
        **with_latents(affine_vae(white, 2, 1.0), 0.0, 0.0, 2), learned_gamma=True
    )
    assert diagnosis.kinds.tolist() == [0, 0, 1, 1]


def test_zeros_and_ones_with_a_gamma_that_was_made_up():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((500, 2))
    p = 1 / (1 + np.exp(-2 * z @ rng.standard_normal((2, 30))))
    arrays = {
        "x": (rng.random(p.shape) < p).astype(float),
        "mean": 0.9 * z,
        "log_std": np.full((500, 2), -1.0),
    }
    arrays = with_latents(arrays, 0.0, 0.0, 3) | {"reconstruction": p, "gamma": 1.0}
    diagnosis = diagnose.arrays(**arrays)
    assert diagnosis.kinds.tolist() == [0, 0, 6, 6, 6]
    assert "Bernoulli" in diagnosis.evidence["likelihood"] and "Bernoulli" in diagnosis.change
    assert (
        diagnose.arrays(**arrays, learned_gamma=False).kind == Collapse.GAMMA
    )  # so it was Gaussian


def test_a_gamma_that_is_not_the_loss_s_is_noticed():
    # Trained with an error averaged over 64 features, gamma = 32; 1/2 is what was said.
    X = normal([2500.0, 400.0, 25.0] + [0.1] * 61)
    trained = affine_vae(X, 4, 32.0)
    diagnosis = diagnose.arrays(**trained, learned_gamma=False)
    assert diagnosis.kinds.tolist() == [0, 0, 2, 6]
    assert diagnosis.fitted == pytest.approx(32.0, rel=1e-9)
    diagnosis = diagnose.arrays(**trained | {"gamma": 0.5})
    assert diagnosis.kinds.tolist() == [0, 0, 6, 6]
    assert (
        "not those of the loss" in diagnosis.evidence["posteriors"] and "d / 2" in diagnosis.change
    )


def test_training_that_has_not_ended_is_no_local_optimum():
    problem = vae.threshold_vae(data.antipodal(2), 1, 0.0, gamma=0.5)
    early = problem.collapsed()
    early = early._replace(
        weight=early.weight + 0.03, mean=early.mean + jnp.array([[0.02], [-0.02]])
    )
    diagnosis = diagnose.collapse(problem, early)
    assert diagnosis.search.polished_active == 1
    assert diagnosis.kind == Collapse.UNDECIDED


# Problems


def test_a_problem_is_tried_and_judged():
    problem = vae.threshold_vae(data.antipodal(2), 1, 0.1, gamma=0.5)
    diagnosis = diagnose.collapse(problem, problem.collapsed())
    s = diagnosis.search
    assert diagnosis.label == "(v) a bad local optimum: 1 of 1 latents inactive"
    assert s.polished == pytest.approx(s.energy, abs=1e-12)
    assert (s.best_active, s.dropped) == (1, 0.0)

    def energy(q):  # of both rows alike and posteriors that mirror each other
        c = problem.collapsed()
        mirrored = jnp.array([[q[1]], [-q[1]]])
        return problem.loss(
            c._replace(weight=jnp.full((2, 1), q[0]), mean=mirrored, log_std=jnp.full((2, 1), q[2]))
        )

    lowest = minimize(
        jax.jit(energy), np.array([1.0, 1.0, -1.0]), method="Nelder-Mead", options={"fatol": 1e-10}
    )
    assert s.best == pytest.approx(lowest.fun, abs=1e-5)
    assert (
        0.9 * affine_gain(2.0 / 0.5) < s.gain < affine_gain(2.0 / 0.5)
    )  # the affine optimum is lower
    assert s.own == pytest.approx(1.0)
    assert s.fresh <= 0.5 + 1e-9  # at most one of two coordinates behind the threshold
    assert ("is stuck too" in diagnosis.change) == (s.fresh >= diagnosis.gamma)
    for sentence in diagnosis.evidence.values():
        assert sentence.startswith(STATUSES)


@pytest.mark.slow
def test_a_stationary_point_is_judged_where_that_is_asked():
    problem = vae.threshold_vae(data.antipodal(2), 1, 0.1, gamma=0.5)
    diagnosis = diagnose.collapse(problem, problem.collapsed(), hessian=True)
    assert diagnosis.evidence["surface"] == "judged (stationary.analyze): collapsed local minimum"


def test_functions_of_another_library_s_make(partial_collapse):
    # Amortized, in float32, on images.
    g = partial_collapse
    W = np.linalg.lstsq(g.mean, g.reconstruction - g.x.mean(axis=0), rcond=None)[0]
    E = np.linalg.lstsq(g.x - g.x.mean(axis=0), g.mean, rcond=None)[0]
    x = jnp.asarray(g.x.reshape(-1, 1, 4, 4), jnp.float32)
    center = x.mean(axis=0, keepdims=True)

    def encode(x):
        mean = (x - center).reshape(len(x), -1) @ jnp.asarray(E, jnp.float32)
        return mean, jnp.broadcast_to(jnp.asarray(g.log_std[:1], jnp.float32), mean.shape)

    def decode(z):
        return (z @ jnp.asarray(W, jnp.float32)).reshape(-1, 1, 4, 4) + center

    diagnosis = diagnose.functions(x, encode, decode, float(g.gamma), learned_gamma=False)
    assert diagnosis.kinds.tolist() == [0, 0, 0, 2, 2]
    assert diagnosis.error_status == "measured"
    assert diagnosis.error == pytest.approx(diagnose.arrays(**g._asdict()).error, rel=0.05)


def test_every_kind_has_words(partial_collapse):
    diagnosis = diagnose.arrays(**required(partial_collapse))
    for kind in Collapse:
        changed = diagnosis._replace(kind=kind, kinds=np.array([0, 0, 0, kind, kind]))
        assert kind.words in changed.label
        assert len(changed.change) > 20


# Doors


def test_a_problem_without_an_autoencoder_is_refused():
    with pytest.raises(
        ValueError, match="expected a problem with autoencoder, got one without; use"
    ):
        diagnose.collapse(Problem(loss=lambda w: w), jnp.zeros(2))


BAD = {
    "no reconstruction": ({"reconstruction": None}, "lacks reconstruction"),
    "logvar": (
        {"log_std": None, "logvar": np.zeros((120, 5))},
        "gamma, logvar; save log_std=0.5 * logvar; see docs",
    ),
    "latents": ({"log_std": np.zeros((120, 4))}, "log_std of shape"),
    "rows": ({"mean": np.zeros((7, 5))}, "mean of shape"),
    "shape": ({"reconstruction": np.zeros((120, 15))}, "of the shape of x"),
    "vector": ({"mean": np.zeros(120)}, "(n, 1) where a datum has one number"),
    "NaN": ({"x": np.full((120, 16), np.nan)}, "finite x"),
    "constant": ({"x": np.ones((120, 16))}, "data that vary"),
    "gamma": ({"gamma": 0.0}, "gamma > 0"),
    "gamma's rows": ({"gamma": 1 + np.arange(120.0)[None]}, "broadcasts to x, (120, 16), got (1,"),
    "gamma's shape": ({"gamma": np.ones(7)}, "gamma of shape"),
    "beta": ({"beta": -1.0}, "beta > 0"),
    "flag": ({"learned_gamma": 3}, "true or false"),
    "variance": ({"log_std": np.full((120, 5), -1e3)}, "logarithm of the deviation"),
    "words": ({"mean": np.full((120, 5), "a")}, "real numbers"),
    "pickle": (
        {"mean": np.array([{}], dtype=object)},
        "array 'mean': expected numbers, got an object array",
    ),
    "no data": ({"x": np.zeros((0, 16))}, "expected x with data in it"),
    "bfloat16": ({"mean": np.zeros((120, 5), "V2")}, "real numbers as mean, got dtype |V2 (bytes"),
    "text": ({"learned_gamma": "False"}, "the text 'False'; give it without quotes"),
    "betas": ({"beta": np.ones(120)}, "an array of shape (120,); give the weight"),
    "None": ({"learned_gamma": np.array(None)}, "array 'learned_gamma': expected numbers"),
    "more of it": ({"betas": 4.0}, "expected beta or no such array, got 'betas'; rename it, or"),
    "capital": ({"Beta": 4.0}, "expected beta or no such array, got 'Beta'"),
    "letter": ({"gama": 4.0, "gamma": None}, "expected gamma or no such array, got 'gama'"),
    "word": ({"learnt_gamma": True}, "expected learned_gamma or no such array"),
    "draws": (
        {"sample_reconstruction": np.zeros((120, 16))},
        "expected sampled_reconstruction or no such array",
    ),
}


@pytest.fixture
def verb(capsys, monkeypatch):
    """Run the command in this process: (exit code, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["vaesurface", "diagnose", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    return call


def test_a_bad_file_is_one_line_and_exit_code_2(partial_collapse, tmp_path, verb):
    for name, (changed, complaint) in BAD.items():
        arrays = {k: v for k, v in required(partial_collapse, **changed).items() if v is not None}
        np.savez(tmp_path / "bad.npz", **arrays)
        code, out, err = verb(tmp_path / "bad.npz")
        assert (code, out, err.count("\n")) == (2, "", 1), name
        assert complaint in err, name
    others = {"beta": 1.0, "betas": [1.0, 2.0], "labels": np.zeros(120), "epoch": 3, "eta": 0.1}
    np.savez(tmp_path / "more.npz", **required(partial_collapse, **others))
    assert verb(tmp_path / "more.npz")[0] == 0  # what is there is not looked for
    np.savez(tmp_path / "weights.npz", **{"encoder.0.weight": np.zeros((5, 16))})
    code, out, err = verb(tmp_path / "weights.npz")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "holds weights of a network (encoder.0.weight, ...), not what it answers" in err
    (tmp_path / "none").mkdir()
    code, out, err = verb(tmp_path / "none")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected exports (.npz) in" in err
    (tmp_path / "no.npz").write_bytes(b"PK nonsense")
    np.save(tmp_path / "one.npy", np.zeros(3))
    for path in ("no.npz", "one.npy", "none.npz", ""):
        code, out, err = verb(tmp_path / path)
        assert (code, out, err.count("\n")) == (2, "", 1)


def test_gamma_per_pixel_may_be_given_in_any_shape_that_broadcasts():
    x = np.random.default_rng(0).standard_normal((6, 2, 3, 3))
    latents = np.zeros((6, 1))
    for gamma in (1 + np.arange(2.0)[:, None, None], 1 + np.arange(9.0).reshape(1, 1, 3, 3)):
        checked = export.check(x, latents, latents, 0 * x, gamma)
        np.testing.assert_array_equal(checked.gamma, np.broadcast_to(gamma, x.shape).reshape(6, -1))
    square = x.reshape(6, -1)[:, :6]
    with pytest.raises(ValueError, match=r"per datum or per feature.* give it as \(6, 1\) or \(1,"):
        export.check(square, latents, latents, 0 * square, 1 + np.arange(6.0))


def test_an_export_may_be_a_mat_file_or_gzipped(partial_collapse, tmp_path):
    arrays = required(partial_collapse) | {"learned_gamma": False, "beta": 2.0}
    savemat(tmp_path / "vae.mat", arrays)
    np.savez(tmp_path / "vae.npz", **arrays)
    packed = gzip.compress((tmp_path / "vae.npz").read_bytes())
    (tmp_path / "vae.npz.gz").write_bytes(packed)
    expected = export.load(tmp_path / "vae.npz")
    for name in ("vae.mat", "vae.npz.gz"):
        loaded = export.load(tmp_path / name)
        assert (loaded.beta, loaded.learned_gamma, loaded.gamma.shape) == (2.0, False, ())
        np.testing.assert_array_equal(loaded.mean, expected.mean)


def test_the_verb_prints_json_and_leaves_a_study_and_a_figure(partial_collapse, tmp_path, verb):
    np.savez(tmp_path / "vae.npz", **required(partial_collapse), labels=np.arange(120))
    code, out, _ = verb(tmp_path / "vae.npz", "--json", "--out", tmp_path / "out")
    result = json.loads(out)
    assert code == 0
    assert (result["kind"], result["kinds"]) == ("GAMMA", ["NONE"] * 3 + ["GAMMA"] * 2)
    assert result["free"]["kept"] == 5
    assert result["edges"][-1] is None
    assert (tmp_path / "out" / "diagnose.png").stat().st_size > 10_000
    study = report.load(tmp_path / "out" / "diagnose.json")
    assert study.verdicts[0]["label"] == result["label"]
    assert result["label"] in report.page([(study, tmp_path / "out")])
    code, out, _ = verb(tmp_path / "vae.npz")
    assert out.startswith(
        "(ii) gamma or beta too large: 2 of 5 latents inactive\n"
        "what to do: Learn gamma: expect about 5 of 5 latents in use"
    )
    assert "\nlatents: exact: KL" in out


def test_figures():
    ax = divergences([0.0, 2.0, 0.5], kinds=["(v)", "active", "active"], active=ACTIVE_NATS)
    assert [bar.get_height() for bar in ax.patches] == [2.0, 0.5, 0.0]
    ax = residual_spectrum([0.1, 3.0, 1.0, 0.0], 0.5)
    assert "pay: 2" in ax.get_legend().get_texts()[1].get_text()
    with pytest.raises(
        ValueError, match="expected 1 kinds, one per latent, got 2; give all or none"
    ):
        divergences([1.0], kinds=["a", "b"])
    with pytest.raises(
        ValueError,
        match="expected eigenvalues of which one is positive, got none; draw another residual",
    ):
        residual_spectrum([0.0, 0.0], 1.0)
