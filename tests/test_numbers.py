"""Verdicts where float64 runs out of digits: thresholds that swamp the data, derivatives at the
smallest weights, eigenvalues that are equal or far apart, places that only look stationary.
"""

import mpmath as mp
import numpy as np
import pytest

from vaesurface import data, proof, stationary, theory, vae

N, D = 8, 3
SIGNS = np.where(np.arange(N) % 3, 1.0, -1.0)[:, None]
NOISE = np.random.default_rng(0).normal(size=(N, D))
RANKED = {  # data that a threshold decoder with two latents, or one, reproduces
    "antipodal": SIGNS * np.array([[1.0, 0.5, 2.0]]),
    "product": np.outer(np.linspace(0.5, 1.0, N), [1.0, 0.7, 0.9]),
    "patterns": np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])[np.arange(N) % 3],
    "units": SIGNS * np.array([[1e6, 1.0, 1e-6]]),
    "offset": 1e3 + SIGNS * np.array([[1.0, 1.0, 1.0]]),
}


@pytest.fixture(scope="module")
def ray():
    return theory.unbounded_ray  # jitted: one program per number of latents


def proved(X, latent, alpha):
    try:
        proof.certify_unbounded(vae.threshold_vae(X, latent, alpha))
    except proof.Unproved:
        return False
    return True


def missing_digits(X, latent, alpha, bias):
    """What the best reconstruction of that rank lacks at 60 digits, in roundings of the data."""
    rounding = 16 * np.finfo(float).eps * abs(X).max(axis=0)
    with mp.workdps(60):
        M = mp.matrix(N, D)
        for i, j in np.ndindex(N, D):
            y = mp.mpf(float(X[i, j])) - mp.mpf(float(bias[j]))
            y = y if abs(y) > rounding[j] else mp.mpf(0)
            M[i, j] = (y + mp.mpf(alpha) * mp.sign(y)) / mp.mpf(float(rounding[j]))
        return float(mp.svd_r(M, compute_uv=False)[latent])


@pytest.mark.parametrize("name", RANKED)
def test_a_ray_is_one_of_the_data_however_far_the_threshold_swamps_them(ray, name):
    exact, latent = RANKED[name], 1 if name in ("antipodal", "units") else 2
    for alpha in (1e-3, 0.5, 1e3, 1e6, 1e9, 1e12):
        for noise in (0.0, 1e-12, 1e-9, 1e-6, 1e-3, 0.1):
            X = exact * (1.0 + noise * NOISE)
            known = ray(X, latent, alpha)
            if known.exists and not proved(X, latent, alpha):
                # Then it is one up to rounding of the data, and no more.
                q = round(float(D - known.slope))
                assert missing_digits(X, q, alpha, known.bias) <= np.sqrt(N * D)
            if noise == 0 and proved(X, latent, alpha):
                assert known.exists or known.undecided
                assert known.exists or name == "units"
            assert noise == 0 or not known.exists


def test_where_float64_cannot_tell_it_says_so(ray):
    X = RANKED["antipodal"]
    for alpha in (1e17, 1e40, 1e200, 1e307):
        known = ray(X, 1, alpha)
        assert not known.exists and known.undecided
    for alpha in (0.0, 0.5, 1e9):
        assert not ray(X, 1, alpha).undecided
    with_noise = ray(X * (1.0 + 0.01 * NOISE), 1, 1e13)
    assert not with_noise.exists and not with_noise.undecided


@pytest.mark.parametrize(("alpha", "eta"), [(1e6, 1e-9), (1e12, 1e-3), (1e3, 1e-6)])
def test_no_ray_is_claimed_of_data_with_noise_beside_a_large_threshold(alpha, eta):
    X = np.tile(data.antipodal(2), (4, 1)) + eta * np.random.default_rng(0).normal(size=(8, 2))
    problem = vae.threshold_vae(X, 1, alpha)
    exact = theory.unbounded_ray(np.tile(data.antipodal(2), (4, 1)), 1, alpha)
    assert exact.exists and exact.slope == 1.0
    point = stationary.analyze(problem, exact.at(0.1 * eta**2), directions=0)
    print(point.label, float(point.theory.push), point.evidence["global"])
    assert point.theory.push < 0 or alpha * np.finfo(float).eps > 0.1 * eta
    assert not np.isneginf(point.theory.minimum)
    assert "-inf" not in point.label and "exact" not in point.evidence["global"]


def test_a_swamped_ray_is_named_as_undecided():
    problem = vae.threshold_vae(np.tile(data.antipodal(2), (4, 1)), 1, 1e17)
    point = stationary.analyze(problem, problem.collapsed(), directions=0)
    assert point.evidence["global"].startswith("undecided: whether the energy is unbounded below")
    assert np.isnan(point.theory.minimum) and point.theory.doubt > 0
