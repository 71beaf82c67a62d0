"""Activations x likelihoods: terms and slopes against 50 digits, indices of collapse against dense
Hessians, corners and dead zones against places beside them, members that do not exist.
"""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from family_cases import cases
from family_cells import BENT, DIGITS, _term, slope

from vaesurface import activations, curvature, data, theory, vae
from vaesurface.theory.corner import threshold
from vaesurface.vae.corners import pull
from vaesurface.vae.likelihood import likelihood as likelihood_of

SETTINGS = {
    "gaussian": {},
    "bernoulli": {},
    "poisson": {},
    "negative binomial": {"dispersion": 2.5},
}
X = {
    "gaussian": data.gaussian(6, [2.0, 0.5], seed=0),
    "bernoulli": np.tile(np.eye(2), (3, 1)),
    "poisson": np.tile(1.0 + np.eye(2), (3, 1)),
    "negative binomial": np.tile(1.0 + np.eye(2), (3, 1)),
}
# Mean and deviation of w.z, bias, a number, alpha: also a collapsed row, and alpha at its ends.
PLACES = (
    (0.3, 0.9, -0.4, 1.0, 0.6),
    (-0.8, 1.5, 0.2, 0.0, 1.0),
    (0.5, 1e-6, 0.1, 1.0, 0.25),
    (0.4, 0.7, 0.3, 1.0, 0.0),
)
CELLS = [
    (bent, likelihood)
    for bent in BENT
    for likelihood in SETTINGS
    if bent != "quintic" and not (likelihood == "poisson" and bent in ("exp", "cubic"))
]


def problem_of(bent, likelihood, alpha):
    gamma = {"gamma": 0.7} if likelihood == "gaussian" else {}
    member = BENT[bent].member
    straight = bent == "identity"
    return vae.elementwise_vae(
        X[likelihood],
        1,
        None if straight else member,
        0.0 if straight else alpha,
        likelihood,
        **SETTINGS[likelihood],
        **gamma,
    )


@pytest.mark.parametrize(("bent", "likelihood"), CELLS)
def test_terms_are_what_50_digits_say(bent, likelihood):
    for m, s, b, x, alpha in PLACES:
        if bent == "identity" and alpha:
            continue
        problem = problem_of(bent, likelihood, alpha)
        row = jnp.array([s]), jnp.array(b)
        local = jnp.array([m / s]), jnp.zeros(1)
        found = float(problem.term(row, None, local, jnp.array(x)))
        with mp.workdps(DIGITS):
            numbers = [mp.mpf(float(t)) for t in (m / s * s, s, alpha, b, x)]
            numbers[0], numbers[1] = mp.mpf(m / s) * numbers[1], numbers[1] ** 2
            last = (mp.mpf(0.7), mp.mpf(2.5))
            exact = float(_term(bent, likelihood, (*numbers, *last)))
        assert found == pytest.approx(exact, rel=1e-12, abs=1e-12), (m, s, b, x, alpha)


@pytest.mark.parametrize("bent", ["relu", "hard tanh", "own kinks", "sin"])
def test_slopes_are_what_50_digits_say(bent):
    problem = problem_of(bent, "bernoulli", 0.6)
    place = {"weight": 0.9, "bias": -0.4, "mean": 0.3, "log_std": 0.2}

    def term(t):
        row, local = (t["weight"][None], t["bias"]), (t["mean"][None], t["log_std"][None])
        return problem.term(row, None, local, jnp.array(1.0))

    found = jax.grad(term)({name: jnp.array(value) for name, value in place.items()})

    def energy(t):
        w, b, mu, ls = (t[name] for name in place)
        moments = w * mu, (w * mp.exp(ls)) ** 2
        numbers = (*moments, mp.mpf(0.6), b, mp.mpf(1))
        return _term(bent, "bernoulli", (*numbers, None, None))

    with mp.workdps(DIGITS):
        theta = {name: np.array(mp.mpf(value), dtype=object) for name, value in place.items()}
        for name in place:
            exact = float(
                slope(
                    lambda t: energy(
                        {k: v[()] if isinstance(v, np.ndarray) else v for k, v in t.items()}
                    ),
                    theta,
                    name,
                    (),
                )
            )
            assert float(found[name]) == pytest.approx(exact, abs=1e-9), name


def check_index(activation, likelihood, alpha, latent, seed):
    case = cases(activation, likelihood, alpha, latent, seed)
    hessian = curvature.hessian(case.problem.loss, case.problem.collapsed())
    values = np.linalg.eigvalsh(np.asarray(hessian))
    assert (values < -1e-9 * np.abs(values).max()).sum() == case.index


def test_an_index_of_collapse_is_that_of_the_dense_hessian():
    check_index("sin", "negative binomial", 0.7, 1, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["erf", "exp", "tanh", "softplus"])
@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian per feature", "bernoulli"])
def test_indices_of_collapse_are_those_of_dense_hessians(activation, likelihood):
    for seed in range(12):
        check_index(activation, likelihood, 0.4, 1 + seed % 2, seed)


def test_thresholds_of_corners():
    assert threshold(1.0, 1.0, 2.0) == (2.0, 2.0)  # affine
    assert threshold(0.3, 0.3, 2.0) == pytest.approx((2.0, 2.0))  # smooth: a weight is scaled
    least, certain = threshold(0.5, 1.0, 1.0)
    assert 1.0 < least < certain
    assert threshold(-1.0, 1.0, 1.0).certain == np.inf  # |u|


@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson", "gaussian per feature"])
def test_nothing_is_lower_within_the_radius_of_a_dead_zone(likelihood):
    rows = {"gaussian per feature": "gaussian"}.get(likelihood, likelihood)
    problem = vae.elementwise_vae(X[rows], 1, "soft threshold", 0.5, likelihood)
    level, start = float(problem.loss(problem.collapsed())), problem.collapsed()
    own = problem.leaning()
    radius = float(theory.dead_zone_radius(0.5, pull(own, 1.0), own.cubic))
    assert 0 < radius < 2.0
    rng = np.random.default_rng(0)
    loss = jax.jit(problem.loss)
    for _ in range(40):
        w = rng.normal(size=start.weight.shape)
        w *= 0.98 * radius / np.linalg.norm(w, axis=1, keepdims=True)
        mean = 1e-2 * rng.normal(size=start.mean.shape)
        assert float(loss(start._replace(weight=jnp.asarray(w), mean=jnp.asarray(mean)))) > level


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "cubic", "likelihood": "poisson"}, "expected a decoder whose energy is"),
        ({"activation": "exp", "likelihood": "poisson"}, "expected a decoder whose energy is"),
        ({"activation": "relu", "alpha": 1.5}, "expected alpha"),
        ({"activation": "cosine"}, "expected an activation out of"),
        ({"activation": lambda u: jnp.abs(u - 0.1)}, "smooth between its kinks"),
        ({"activation": "tanh", "gamma": jnp.ones(2)}, "expected gamma as a number"),
        ({"activation": "tanh", "dispersion": 1.0}, "expected no dispersion"),
    ],
)
def test_members_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        vae.elementwise_vae(**{"X": X["poisson"], "latent": 1, "alpha": 0.5} | options)
    with pytest.raises(ValueError, match="a smooth activation with likelihood='categorical'"):
        vae.elementwise_vae(np.eye(3), 1, "relu", 0.5, "categorical")


def test_equal_activations_are_one_program():
    assert activations.named("tanh") == activations.named("tanh")
    assert hash(activations.polynomial((0.0, 1.0))) == hash(activations.polynomial((0.0, 1.0)))
    traced = []

    @jax.jit
    def energy(problem, params):
        traced.append(1)
        return problem.loss(params)

    for alpha in (0.1, 0.9):
        problem = problem_of("tanh", "negative binomial", alpha)
        energy(problem, problem.collapsed())
    assert len(traced) == 1
    assert likelihood_of("poisson") == likelihood_of("poisson")
