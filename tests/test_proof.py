"""Certificates: what is true is proved, what is false or was edited is refused, and the ball
arithmetic agrees with JAX.
"""

import subprocess
import sys
import time
from functools import partial

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from vaesurface import data, proof, stationary, theory, vae
from vaesurface.energy import VAEParams
from vaesurface.proof import balls, enclosure
from vaesurface.proof.certificate import checksum
from vaesurface.proof.form import Settings

N, D, K = 7, 3, 2


@pytest.fixture(scope="module")
def trap():
    """The problem of the paper's Proposition 4.1."""
    return vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.5)


@pytest.fixture(scope="module")
def affine():
    """A small affine problem and its stationary points by number of negative eigenvalues."""
    X = data.gaussian(N, [3.0, 1.5, 0.5], seed=0)
    return vae.threshold_vae(X, K, 0.0), {
        e.negative: e.params for e in theory.stationary_points(X, K)
    }


@pytest.fixture(scope="module")
def minimum(affine):
    """Certificate of that problem's global minimum, and the data."""
    problem, points = affine
    return proof.certify(problem, points[0]), np.asarray(problem.X)


@pytest.fixture(scope="module")
def find():
    """Where a random start leads at alpha > 0: problem, stationary point."""

    @partial(jax.jit, static_argnums=1)
    def end(X, latent, alpha, key):
        return stationary.find(vae.threshold_vae(X, latent, alpha), key, 1.0)

    def run(X, latent, alpha, seed):
        point = end(X, latent, alpha, jax.random.key(seed))
        return vae.threshold_vae(X, latent, alpha), point

    return run


def sealed(certificate):
    """The certificate with a checksum that fits."""
    return certificate._replace(checksum=checksum(certificate))


def refused(certificate, X, **changes):
    """Whether the mathematics refuses the certificate with other numbers: its checksum is made to
    fit.
    """
    result = proof.verify(sealed(certificate._replace(numbers=certificate.numbers | changes)), X)
    assert "checksum" not in result.reason
    return not result.valid


def times(factor, part):
    """Numbers of a certificate, all multiplied."""
    return {k: (factor * np.array(v)).tolist() for k, v in part.items()}


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5, 1.0, 5.0])
def test_the_trap_of_proposition_4_1_is_proved(tmp_path, alpha):
    X = data.antipodal(d=2)
    problem = vae.threshold_vae(X, latent=1, alpha=alpha)
    collapse = proof.certify(problem, problem.collapsed(), index=0)
    ray = proof.certify_unbounded(problem)
    assert (collapse.claim, ray.claim) == ("collapsed minimum", "unbounded below")
    region = theory.collapse_radius(X, alpha)
    assert collapse.numbers["radius"] == pytest.approx(float(region.radius), rel=0.01)
    assert (ray.numbers["rank"], ray.numbers["slope"], ray.numbers["pivots"]) == (1, 1.0, [0])
    for name, certificate in {"collapse": collapse, "ray": ray}.items():
        proof.save(certificate, tmp_path / "new" / f"{name}.json")
        assert proof.load(tmp_path / "new" / f"{name}.json") == certificate
        assert proof.verify(certificate, X) == (True, certificate.statement)


@pytest.mark.parametrize(
    ("alpha", "gamma", "beta"),
    [(0.3, None, 1.0), (0.05, 0.2, 1.0), (2.0, 1.5, 3.0), (1.0, 50.0, 4.0)],
)
def test_collapse_is_proved_for_any_data_gamma_and_beta(alpha, gamma, beta):
    X = data.load("digits-4x4", limit=50)
    problem = vae.threshold_vae(X, 3, alpha, gamma, beta)
    rounded = jax.tree.map(lambda x: x + 1e-12, problem.collapsed())
    certificate = proof.certify(problem, rounded._replace(weight=np.zeros((16, 3))))
    region = theory.collapse_radius(X, alpha, gamma, beta)
    assert certificate.claim == "collapsed minimum"
    assert certificate.numbers["radius"] == pytest.approx(float(region.radius), rel=0.01)
    assert proof.verify(certificate, X).valid
    if gamma is None or gamma < 1:  # for a larger one any radius will do
        with pytest.raises(proof.Unproved, match="choose a radius up to"):
            proof.certify(problem, problem.collapsed(), radius=1.01 * float(region.radius))


def paired(values, enclosure):
    """Numbers of the energy and its derivatives, each with its ball."""
    for part, parts in zip(values, enclosure, strict=True):
        yield from zip(np.ravel(part).tolist(), np.ravel(parts).tolist(), strict=True)


@pytest.mark.parametrize(("gamma", "beta"), [(None, 1.0), (None, 2.5), (0.3, 0.5)])
def test_enclosures_contain_the_energy_and_its_derivatives(gamma, beta):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4, D))

    @jax.jit
    def exact(alpha, params):
        flat, unravel = ravel_pytree(params)

        def loss(x):
            return vae.threshold_vae(X, K, alpha, gamma, beta).loss(unravel(x))

        return loss(flat), jax.grad(loss)(flat), jax.hessian(loss)(flat)

    for alpha in (0.0, 0.02, 0.3, 1.5):
        problem = vae.threshold_vae(X, K, alpha, gamma, beta)
        settings = Settings(latent=K, alpha=alpha, gamma=gamma, beta=beta)
        for scale in (0.2, 1.0):
            flat, unravel = ravel_pytree(problem.collapsed())
            flat = flat + scale * rng.normal(size=flat.size)
            params, inside = unravel(flat), unravel(flat + 1e-4 * rng.uniform(-1, 1, flat.size))
            center = {k: np.asarray(v) for k, v in params._asdict().items() if v is not None}
            half = {k: np.full_like(v, 1e-4) for k, v in center.items()}
            with balls.arithmetic():
                sharp = enclosure.enclose(X, settings, center)
                wide = enclosure.enclose(X, settings, center, half)
            for value, ball in paired(exact(alpha, params), sharp):
                assert abs(float(ball) - value) < 1e-10
                assert float(ball.rad()) < 1e-25
            for value, ball in paired(exact(alpha, inside), wide):
                assert abs(float(ball) - value) <= float(ball.rad()) + 1e-10


@pytest.mark.parametrize(("gamma", "beta"), [(None, 1.0), (None, 0.5), (0.2, 1.0), (1.0, 0.4)])
def test_affine_stationary_points_are_proved_with_the_predicted_index(gamma, beta):
    X = data.gaussian(N, [3.0, 1.5, 0.5], seed=1) + 1.0
    problem = vae.threshold_vae(X, K, 0.0, gamma, beta)
    points = list(theory.stationary_points(X, K, gamma, beta))
    p = D * K + D + (gamma is None) + 2 * N * K
    assert len(points) >= 3
    for point in points:
        certificate = proof.certify(problem, point.params, index=point.negative)
        assert certificate.numbers["inertia"] == [point.negative, 0, p - point.negative]
        assert proof.verify(certificate, X).valid
        index = point.negative
        kind = f"saddle of index {index}" if index else "a strict local minimum"
        assert kind in certificate.statement


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d", "seed"), [(40, 6, 0), (64, 10, 0)])
def test_points_of_hundreds_of_parameters_are_proved_at_positive_alpha(find, n, d, seed):
    X = data.gaussian(n, np.linspace(4, 0.2, d), seed=0)
    problem, point = find(X, 2, 0.1, seed)
    start = time.perf_counter()
    certificate = proof.certify(problem, point.params)
    certified = time.perf_counter()
    assert proof.verify(certificate, X).valid
    verified = time.perf_counter()
    negative, flat, positive = certificate.numbers["inertia"]
    print(
        f"p = {negative + flat + positive}: {certified - start:.1f} s to certify, "
        f"{verified - certified:.1f} s to verify"
    )
    assert (negative, flat, positive) == tuple(point.inertia)
    assert flat == 2 * int((np.asarray(point.params.weight) == 0).all(axis=1).sum())


@pytest.mark.slow
def test_a_row_at_zero_is_held_and_said_to_be(find):
    X = np.column_stack([data.gaussian(6, [3.0, 1.0], seed=0), np.full(6, 0.7)])
    problem, point = find(X, 1, 0.1, 0)
    assert (np.asarray(point.params.weight) == 0).tolist() == [[False], [False], [True]]
    certificate = proof.certify(problem, point.params)
    half = certificate.numbers["half_width"]
    assert certificate.numbers["inertia"][1] == 1
    assert half["weight"][2] == [0.0]
    assert "one stationary point with 1 row of the weight held at zero" in certificate.statement
    minimum = "a strict local minimum among points with those at zero (0 negative, 1 flat"
    assert minimum in certificate.statement
    assert proof.verify(certificate, X).valid
    wider = (np.array(half["weight"]) + 1e-9).tolist()
    assert refused(certificate, X, half_width=half | {"weight": wider})
    assert not refused(certificate, X, half_width=times(0.5, half))


def test_a_point_nearby_is_refused_or_centered(affine):
    problem, points = affine
    near = jax.tree.map(lambda x: x + 1e-5, points[1])
    far = jax.tree.map(lambda x: x + 1e-2, points[1])
    certificate = proof.certify(problem, near)
    np.testing.assert_allclose(
        certificate.numbers["center"]["weight"], points[1].weight, atol=1e-14
    )
    for params, radius in ((far, 1e-6), (far, None), (near, 1e-6)):
        with pytest.raises(proof.Unproved, match="natural sizes of a stationary one"):
            proof.certify(problem, params, radius)
    with pytest.raises(proof.Unproved, match=r"moves by|cannot be|can be proved|singular"):
        proof.certify(problem, problem.init(jax.random.key(0), 3.0))


def test_a_saddle_is_no_minimum_and_a_box_can_be_too_large(affine, trap):
    problem, points = affine
    with pytest.raises(
        proof.Unproved, match=r"expected index 0, got a proof of another: .* a saddle of index 2"
    ):
        proof.certify(problem, points[2], index=0)
    with pytest.raises(proof.Unproved, match="expected index 1"):
        proof.certify(trap, trap.collapsed(), index=1)
    for radius in (0.3, 10.0):
        with pytest.raises(proof.Unproved, match="choose a smaller radius"):
            proof.certify(problem, points[0], radius=radius)
    assert proof.certify(problem, points[0], radius=1e-9, index=0).numbers["inertia"] == [0, 0, 38]
    assert proof.certify(trap, trap.collapsed(), radius=np.float64(0.1)).numbers["radius"] == 0.1


def test_a_degenerate_point_is_not_proved():
    # equal eigenvalues: minima form a circle
    X = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, -2.0]])
    problem = vae.threshold_vae(X, 1, 0.0, 0.5)
    (_, minimum, _) = theory.stationary_points(X, 1, 0.5)
    with pytest.raises(proof.Unproved, match="expected"):
        proof.certify(problem, minimum.params)


def test_every_digit_counts(tmp_path, trap, minimum):
    cases = [
        (proof.certify(trap, trap.collapsed()), data.antipodal()),
        (proof.certify_unbounded(trap), data.antipodal()),
        minimum,
    ]
    for number, (certificate, X) in enumerate(cases):
        path = tmp_path / f"{number}.json"
        proof.save(certificate, path)
        text, accepted = path.read_text(), []
        places = [i for i, c in enumerate(text) if c.isdigit()]
        for i in places:
            path.write_text(f"{text[:i]}{(int(text[i]) + 1) % 10}{text[i + 1 :]}")
            try:
                changed = proof.load(path)
            except ValueError:
                continue
            if proof.verify(changed, X).valid:
                accepted.append(i)
        assert len(places) > 80
        assert accepted == []


def test_what_is_false_is_refused_whatever_the_checksum(trap, minimum):
    X = data.antipodal()
    collapse, ray = proof.certify(trap, trap.collapsed()), proof.certify_unbounded(trap)
    for changes in (
        {"radius": 1.001 * collapse.numbers["radius"]},
        {"log_std": 0.02},
        {"mean": 0.02},
        {"mean": 1e9},
        {"bias": 0.1},
        {"gamma": 0.9},
        {"gamma": 1.0},
        {"radius": -0.1},
        {"radius": "0.1"},
        {"more": 1.0},
    ):
        assert refused(collapse, X, **changes)
    for changes in (
        {"constant": ray.numbers["constant"] * 0.999},
        {"slope": 1.1},
        {"slope": 0.0},
        {"rank": 2},
        {"pivots": [1]},
        {"bias": ["0", "1/2"]},
        {"bias": ["0", "1e999999999"]},
        {"bias": ["0", "1/0"]},
        {"bias": ["0"]},
    ):
        assert refused(ray, X, **changes)
    certificate, X = minimum
    center, half = certificate.numbers["center"], certificate.numbers["half_width"]
    for changes in (
        {"inertia": [1, 0, 37]},
        {"inertia": [False, 0, 38]},
        {"inertia": [0, 2, 36]},
        {"half_width": times(100.0, half)},
        {"half_width": times(-1.0, half)},
        {"half_width": times(0.0, half)},
        {"center": times(1.01, center)},
        {"center": center | {"weight": [[1.0]]}},
        {"center": {k: v for k, v in center.items() if k != "log_gamma"}},
    ):
        assert refused(certificate, X, **changes)
    for settings in (
        {"alpha": 0.1},
        {"beta": 1.1},
        {"gamma": 0.5},
        {"latent": 1},
        {"latent": 99},
        {"alpha": -1.0},
        {"beta": "1"},
    ):
        changed = certificate._replace(settings=certificate.settings | settings)
        assert not proof.verify(sealed(changed), X).valid
    assert "format" in proof.verify(sealed(certificate._replace(version=2)), X).reason
    assert "format" in proof.verify(sealed(certificate._replace(claim="global minimum")), X).reason
    assert "checksum" in proof.verify(certificate._replace(version=2), X).reason
    unreadable = certificate._replace(numbers={"x": float("nan")})
    assert "not a certificate" in proof.verify(unreadable, X).reason
    assert proof.verify(certificate, X + 1e-15).reason == "the certificate is for other data"


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (0.25, 1.0), (0.25, 1.4)])
def test_the_energy_on_the_ray_is_below_its_bound(alpha, beta):
    # rank 2 at either alpha
    X = np.array([[1.0, 2.0, 0.5], [-1.0, -2.0, -0.5], [2.0, 0.0, -1.0], [-2.0, 0.0, 1.0]])
    problem = vae.threshold_vae(X, 2, alpha, beta=beta)
    certificate = proof.certify_unbounded(problem)
    assert proof.verify(certificate, X).valid
    assert certificate.numbers["rank"] == 2
    assert certificate.numbers["slope"] == pytest.approx(3 - 2 * beta)
    M = X + alpha * np.sign(X)
    mean = M[:, certificate.numbers["pivots"]]
    weight = np.linalg.lstsq(mean, M)[0].T
    for log_gamma in (0.0, -2.0, -8.0):
        log_std = np.full((4, 2), log_gamma / 2)
        point = VAEParams(weight, np.zeros(3), np.asarray(log_gamma), mean, log_std)
        bound = certificate.numbers["constant"] + certificate.numbers["slope"] * log_gamma
        assert problem.loss(point) <= bound + 1e-12
        assert problem.loss(point) > bound - 25


@pytest.mark.parametrize(
    "change",
    [
        {"rank": True},
        {"rank": 1.0},
        {"pivots": [False]},
        {"pivots": [0.0]},
        {"slope": True},
        {"constant": 10**6},
    ],
)
def test_a_ray_of_numbers_that_only_equal_the_right_ones_is_no_certificate(change):
    X = data.antipodal(2)
    certificate = proof.certify_unbounded(vae.threshold_vae(X, 1, 0.1))
    (name,) = change
    assert certificate.numbers[name] <= change[name]  # equal, or a weaker claim
    changed = certificate._replace(numbers=certificate.numbers | change)
    result = proof.verify(sealed(changed), X)
    assert not result.valid
    assert "no proof" in result.reason


def test_no_ray_is_claimed_where_there_is_none():
    X = data.antipodal(d=2)
    with pytest.raises(proof.Unproved, match="gamma to be learned"):
        proof.certify_unbounded(vae.threshold_vae(X, 1, 0.1, gamma=1.0))
    with pytest.raises(proof.Unproved, match=r"beta times rank < 2 \(features\), got 2"):
        proof.certify_unbounded(vae.threshold_vae(X, 1, 0.1, beta=2.0))
    with pytest.raises(proof.Unproved, match="rank <= 1"):
        proof.certify_unbounded(vae.threshold_vae(data.gaussian(5, [2.0, 1.0], seed=0), 1, 0.1))
    with pytest.raises(ValueError, match="a bias of 2 numbers, got 3"):
        proof.certify_unbounded(vae.threshold_vae(X, 1, 0.1), bias=[0.0, 0.0, 0.0])
    shifted = vae.threshold_vae(X + 1.0, 1, 0.1)
    assert proof.certify_unbounded(shifted, bias=["1", 1.0]).numbers["bias"] == ["1", "1"]
    with pytest.raises(proof.Unproved, match="rank <= 1"):
        proof.certify_unbounded(vae.threshold_vae(X, 1, 0.1), bias=["1/3", 2.0])


def test_the_midrange_is_tried_where_the_mean_leads_nowhere():
    problem = vae.threshold_vae(np.array([[1.0, 3.0], [1.0, 3.0], [-1.0, -3.0]]), 1, 0.5)
    assert proof.certify_unbounded(problem).numbers["bias"] == ["0", "0"]
    with pytest.raises(proof.Unproved, match="rank <= 1"):
        proof.certify_unbounded(problem, bias=["1/3", 1.0])


def test_what_cannot_be_certified_says_why(monkeypatch, trap):
    for other in (trap.replace(theory=None), vae.mlp_vae(data.antipodal(d=2), 1, width=2)):
        with pytest.raises(ValueError, match=r"expected a problem of vae\.element.*, got a "):
            proof.certify(other, trap.collapsed())
    with pytest.raises(ValueError, match="radius > 0"):
        proof.certify(trap, trap.collapsed(), radius=0.0)
    with pytest.raises(ValueError, match=r"expected bias finite, float64 and \(2,\)"):
        proof.certify(trap, trap.collapsed()._replace(bias=np.zeros(3)))
    with pytest.raises(ValueError, match="log_gamma"):
        proof.certify(trap, trap.collapsed()._replace(log_gamma=None))
    monkeypatch.setattr(balls, "flint", None)
    with pytest.raises(RuntimeError, match="pip install python-flint"):
        proof.certify(trap, trap.collapsed())


def printed(code, *arguments):
    """What a Python of its own prints, in words."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_verification_needs_no_jax(tmp_path, trap):
    path = tmp_path / "certificate.json"
    proof.save(proof.certify(trap, trap.collapsed()), path)
    code = (
        "import sys\n"
        "from vaesurface import data, proof\n"
        "print(proof.verify(proof.load(sys.argv[1]), data.antipodal()).valid)\n"
        "print('jax' in sys.modules)"
    )
    assert printed(code, path) == ["True", "False"]


def test_importing_needs_no_flint():
    code = (
        "import sys\n"
        "sys.modules['flint'] = None\n"
        "from vaesurface.proof import balls\n"
        "print(balls.flint)"
    )
    assert printed(code) == ["None"]
