"""What no decoder that sees only z can be below: never above an energy that some model reaches."""

import json
import math
import sys

import exports
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import cli, data, diagnose, theory, vae
from vaesurface.diagnose import Collapse, gap
from vaesurface.diagnose.export import check
from vaesurface.diagnose.judge import judge
from vaesurface.diagnose.measures import measure

MODELS = 5000  # of each of two families
LATENT = 2
# Of one shape, for one program: (30, 16).
TURN = np.linalg.qr(np.random.default_rng(0).standard_normal((16, 16))).Q
DATA = {
    "digits": data.load("digits-4x4", limit=30),
    "clusters": data.clusters(30, 3, centers=4, noise=0.15, seed=0) @ TURN[:3],
    "antipodal": np.tile(data.antipodal(16), (15, 1)),
    "far away": 1e4 + data.gaussian(30, [2.0, 0.5], seed=1) @ TURN[:2],
}
LEVELS = (0.03, 0.3, 1.0, 3.0)  # gamma over the leading eigenvalue


def mixture_energies(X, gamma, beta, count, seed):
    """Energies (count,) that decoders come as close to as one likes whose values are a mixture's
    places, at the best encoder: places on and near data and their means, weights at random.
    """
    rng, (n, d) = np.random.default_rng(seed), X.shape
    energies = []
    for _ in range(count):
        number = rng.integers(1, n + 1)
        places = X[rng.choice(n, number, replace=False)]
        places = X.mean(axis=0) + rng.choice([1.0, rng.random()]) * (places - X.mean(axis=0))
        places = places + rng.choice([0.0, 0.3 * math.sqrt(gamma)]) * rng.standard_normal(
            (number, d)
        )
        weights = rng.dirichlet(np.full(number, rng.choice([0.3, 3.0, 1e4])))
        square = np.sum((X[:, None] - places) ** 2, axis=2)
        nearest = square.min(axis=1)
        sums = np.exp((nearest[:, None] - square) / (2 * beta * gamma)) @ weights
        log_m = np.log(np.maximum(sums, 1e-300)) - nearest / (2 * beta * gamma)
        energies.append(d * math.log(gamma) + beta * (LATENT - 2 * log_m.mean()))
    return np.array(energies)


@jax.jit
def threshold_energies(X, alpha, gamma, beta, keys, scales):
    """Energies of threshold VAEs (affine at alpha = 0) with the posteriors of an affine one."""
    problem = vae.threshold_vae(X, LATENT, alpha, gamma, beta)
    center = X.mean(axis=0)
    directions = jnp.linalg.svd(X - center[None], full_matrices=False)[2][:LATENT].T

    def energy(key, scale):
        first, second, third = jax.random.split(key, 3)
        size = scale * jax.random.uniform(first, (LATENT,))
        noise = 0.1 * scale * jax.random.normal(second, directions.shape)
        weight = directions * size[None] + noise
        precision = weight.T @ weight / (beta * gamma) + jnp.eye(LATENT)
        mean = jnp.linalg.solve(precision, weight.T @ (X - center[None]).T / (beta * gamma)).T
        params = problem.collapsed()._replace(
            weight=weight,
            mean=mean + 0.05 * jax.random.normal(third, mean.shape),
            log_std=jnp.broadcast_to(-0.5 * jnp.log(jnp.diag(precision))[None], mean.shape),
        )
        return problem.loss(params)

    return jax.vmap(energy)(keys, scales)


def test_the_bound_is_never_above_an_energy_that_a_model_reaches():
    cases = [(name, level) for name in DATA for level in LEVELS]
    share = math.ceil(MODELS / len(cases))
    for seed, (name, level) in enumerate(cases):
        X, beta = DATA[name], (1.0, 4.0)[seed % 2]
        largest = float(theory.eigenvalues(X)[0])
        gamma = level * largest / beta
        affine = float(theory.affine_optimum(theory.eigenvalues(X), LATENT, gamma, beta).energy)
        found = gap.gap(X, LATENT, gamma, beta, [("the best affine VAE", affine)])
        mixtures = mixture_energies(X, gamma, beta, share, seed)
        keys = jax.random.split(jax.random.key(seed), share)
        scales = jnp.sqrt(largest) * jnp.logspace(-2, 0.5, share)
        alpha = (0.0, 0.2 * math.sqrt(largest))[seed % 3 == 0]
        thresholds = np.asarray(threshold_energies(X, alpha, gamma, beta, keys, scales))
        lowest = min(mixtures.min(), thresholds.min(), affine)
        assert found.energy <= found.measured <= lowest + 1e-9 * abs(lowest), (name, level)
        # And the bound that is searched is close to the best of these.
        assert lowest - found.measured < 0.2 * beta * (1 + found.most), (name, level)
        assert found.least <= found.most_measured + 1e-9 <= found.most + 2e-9


@pytest.mark.slow
def test_trained_models_are_not_below_the_bound():
    from vaesurface import optimize

    X = DATA["clusters"]
    problem = vae.threshold_vae(X, LATENT, 0.1, gamma=0.05)
    found = gap.gap(X, LATENT, 0.05, 1.0, [])
    starts = jax.vmap(lambda key: problem.init(key, 1.0))(jax.random.split(jax.random.key(0), 8))
    ends = jax.vmap(lambda start: optimize.adam(600)(problem.loss, start))(starts)
    assert found.energy <= found.measured <= float(jnp.min(ends.loss)) < found.energy + 12.0


def test_in_closed_form():
    # Data far apart: a component each. Close together: collapse, and that is proved by concavity.
    X = 100.0 * np.eye(7)
    assert gap.largest_likelihood(X, 1.0) == pytest.approx(-math.log(7), abs=1e-9)
    assert gap.searched_likelihood(X, 1.0) == pytest.approx(-math.log(7), abs=1e-9)
    X = DATA["clusters"]
    square = np.sum((X - X.mean(axis=0)) ** 2, axis=1)
    found = gap.gap(X, LATENT, 1.01 * square.max(), 1.0, [])
    assert found.most < 1e-10 and found.words.endswith("that of collapse: it costs nothing")
    # Two data +-v: the best mixture has two places +-t v, which are one from gamma = 2 on.
    for gamma in (0.5, 1.0, 1.9):
        t = np.linspace(0, 1, 4001)
        near, far = (np.exp(-((1 + sign * t) ** 2) / gamma) for sign in (-1, 1))
        best = np.log(0.5 * (near + far)).max()
        assert best <= gap.largest_likelihood(data.antipodal(2), gamma) < best + 0.02
        assert gap.searched_likelihood(data.antipodal(2), gamma) == pytest.approx(best, abs=0.01)


def test_in_few_directions_a_grid_proves_nearly_all_there_is(monkeypatch):
    X = DATA["clusters"]
    level = 0.5 * float(theory.eigenvalues(X)[0])
    searched, proved = gap.searched_likelihood(X, level), gap.largest_likelihood(X, level)
    assert searched < proved < searched + 0.05
    monkeypatch.setattr(gap, "AXES", 2)
    assert gap.largest_likelihood(X, level) > searched + 0.2


def test_units_and_beta_change_what_they_should():
    X = DATA["digits"]
    one = gap.gap(X, LATENT, 0.1, 1.0, [])
    other = gap.gap(1e-3 * X - 7.0, LATENT, 1e-7, 1.0, [])
    shift = X.shape[1] * math.log(1e-6)
    assert other.energy - shift == pytest.approx(one.energy, abs=1e-6)
    assert other.most == pytest.approx(one.most, abs=1e-6)
    d = X.shape[1]
    weighed = gap.gap(X, LATENT, 0.025, 4.0, [])
    assert (weighed.energy - d * math.log(0.025)) / 4.0 == pytest.approx(
        one.energy - d * math.log(0.1), rel=1e-9
    )


def test_parts_of_many_data_bound_the_whole(monkeypatch):
    X = DATA["digits"]
    whole = gap.largest_likelihood(X, 0.1)
    searched = gap.searched_likelihood(X, 0.1)
    monkeypatch.setattr(gap, "PART", 15)
    assert gap.largest_likelihood(X, 0.1) > searched
    assert gap.searched_likelihood(X, 0.1) > searched
    assert whole > searched


def test_outliers_overflow_nothing():
    rng = np.random.default_rng(0)
    X = np.append(np.zeros((20, 2)), [[1e8, 0.0]], axis=0) + rng.standard_normal((21, 2))
    for level in (1e-6, 1e-2, 1e6, 1e15):
        found = gap.gap(X, 1, level, 1.0, [])
        assert all(map(math.isfinite, (found.energy, found.measured, found.most)))
        assert found.energy <= found.measured


def collapsed(X, gamma, **more):
    zeros = np.zeros((len(X), LATENT))
    return {
        "x": X,
        "mean": zeros,
        "log_std": zeros,
        "reconstruction": np.broadcast_to(X.mean(axis=0), X.shape),
        "gamma": gamma,
        **more,
    }


def test_a_diagnosis_says_what_collapse_costs(tmp_path, capsys, monkeypatch):
    X = DATA["digits"]
    diagnosis = diagnose.arrays(**collapsed(X, 0.1, learned_gamma=False))
    found = diagnosis.gap
    affine = theory.affine_optimum(theory.eigenvalues(X), LATENT, 0.1, 1.0)
    assert found.known == "the best affine VAE"
    assert found.least == pytest.approx(0.5 * (diagnosis.energy - affine.energy), abs=1e-9)
    assert found.least < found.most_measured < found.most
    sentence = diagnosis.evidence["gap"]
    assert sentence.startswith("proved: at this gamma and beta no decoder that sees only z")
    assert "(the best affine VAE is so much lower) and at most" in sentence
    np.savez(tmp_path / "vae.npz", **collapsed(X, 0.1, learned_gamma=False))
    monkeypatch.setattr(
        sys, "argv", ["vaesurface", "diagnose", str(tmp_path / "vae.npz"), "--json"]
    )
    with pytest.raises(SystemExit):
        cli.main()
    printed = json.loads(capsys.readouterr().out)
    assert printed["gap"]["most"] == pytest.approx(found.most)
    assert printed["evidence"]["gap"] == sentence


def test_a_gap_is_of_decoders_with_one_gamma_that_see_only_latents():
    X = DATA["digits"]
    varying = np.linspace(0.1, 0.2, len(X))
    assert diagnose.arrays(**collapsed(X, varying)).gap is None
    binary = (X > 0.5).astype(float)
    assert diagnose.arrays(**collapsed(binary, 0.1)).gap is None
    assert diagnose.arrays(**collapsed(binary, 0.1, learned_gamma=False)).gap is not None


def conditional(latents):
    """One latent in use, beside 60 classes that the decoder sees: an export, all keys."""
    rng = np.random.default_rng(3)
    seen = 3 * rng.standard_normal((60, 4))[rng.integers(0, 60, 400)]
    x = exports.data_of(exports.Setting(seed=1, n=400, d=4), (2.0,)) + seen
    gamma = exports.learned(x - seen, 1)
    return exports.beside(x, seen, latents, gamma, keep=1) | {"learned_gamma": True}


def test_a_vae_below_what_latents_alone_allow_sees_more_than_them():
    for latents, kind in ((1, Collapse.NONE), (2, Collapse.FLEXIBLE)):
        diagnosis = diagnose.arrays(**conditional(latents))
        assert diagnosis.flexible and diagnosis.below_floor
        assert diagnosis.kind == kind
        sentence = diagnosis.evidence["gap"]
        assert sentence.startswith("measured: this VAE's energy")
        assert sentence.endswith("its decoder sees more than z")
        assert "at most" not in sentence and "so much lower" not in sentence


def test_collapse_costs_at_least_what_a_decoder_of_latents_alone_is_lower():
    x = exports.data_of(exports.Setting(n=200))
    arrays = exports.affine(x, 4, exports.learned(x, 2), keep=2)
    arrays["reconstruction"] = 1.001 * arrays["reconstruction"]
    unknown = diagnose.arrays(**arrays)
    assert unknown.gap.known == "the best affine VAE"  # it may see more, and be lower for that
    # Nor is anything read off what contradicts itself.
    still = {"mean": 1e-3 * arrays["mean"], "log_std": 0 * arrays["log_std"]}
    found = judge(measure(check(**arrays | still, alone=True)))
    assert found.contradictions and not found.below_floor
    assert found.gap.known == "the best affine VAE"
