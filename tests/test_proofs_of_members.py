"""Proofs for other activations and likelihoods: balls contain what 40 digits of quadrature say, and
what is certified is verified, and refused once another member is claimed.
"""

import itertools
import subprocess
import sys
from functools import partial

import jax
import mpmath
import numpy as np
import pytest
from scipy import optimize

from vaesurface import proof, vae
from vaesurface.energy import VAEParams
from vaesurface.proof import balls, enclosure, logistic
from vaesurface.proof.certificate import checksum
from vaesurface.proof.form import Settings
from vaesurface.proof.member import data_and_settings

DIGITS = 50
REACH, PANEL, NODES = 14, 2.0, 30  # standard deviations, widths of panels, nodes of each
STEP = "1e-6"  # of differences of order six: 1e-30 off
CLOSE = 1e-26
COEFFICIENTS = [0.5, 0.0, -0.2, 0.1, 0.05]
made = partial(Settings, latent=2, gamma=None, beta=1.5)
POISSON, BERNOULLI, BINOMIAL = "poisson", "bernoulli", "negative binomial"
FEATURES = "gaussian per feature"
MEMBERS = {
    "identity": made(alpha=0.0, activation="identity", gamma=0.3),
    "soft threshold": made(alpha=0.5),
    "hard tanh": made(alpha=0.7, activation="hard tanh"),
    "relu": made(alpha=0.4, activation="relu", gamma=0.3),
    "abs": made(alpha=0.3, activation="abs"),
    "erf": made(alpha=0.6, activation="erf"),
    "sin": made(alpha=0.8, activation="sin", gamma=2.0),
    "exp": made(alpha=0.3, activation="exp"),
    "polynomial": made(alpha=0.3, activation="polynomial", coefficients=COEFFICIENTS),
    "sin, feature": made(alpha=1.0, activation="sin", likelihood=FEATURES),
    "relu, feature": made(alpha=1.0, activation="relu", likelihood=FEATURES, gamma=[0.3, 2.0]),
    "identity, poisson": made(alpha=0.0, activation="identity", likelihood=POISSON),
    "soft threshold, poisson": made(alpha=0.4, likelihood=POISSON),
    "hard tanh, poisson": made(alpha=1.3, activation="hard tanh", likelihood=POISSON),
    "abs, poisson": made(alpha=0.8, activation="abs", likelihood=POISSON),
    "sin, poisson": made(alpha=0.9, activation="sin", likelihood=POISSON),
    "bernoulli": made(alpha=0.0, activation="identity", likelihood=BERNOULLI),
    "binomial": made(alpha=0.0, activation="identity", likelihood=BINOMIAL, dispersion=1.5),
}


def bent(settings, u):
    """f_alpha(u) by its definition."""
    alpha, sign = mpmath.mpf(settings.alpha), mpmath.sign(u)
    match settings.activation:
        case "identity":
            return u
        case "soft threshold":
            return sign * max(abs(u) - alpha, 0)
        case "hard tanh":
            return sign * min(abs(u), 1 / alpha)
        case "relu":
            return max(u, (1 - alpha) * u)
        case "polynomial":
            g = sum(mpmath.mpf(c) * u**j for j, c in enumerate(settings.coefficients))
        case name:
            g = {"abs": abs, "erf": mpmath.erf, "sin": mpmath.sin, "exp": mpmath.exp}[name](u)
    return (1 - alpha) * u + alpha * g


def kinks(settings):
    """Where f_alpha is not smooth."""
    alpha = mpmath.mpf(settings.alpha)
    return {
        "soft threshold": [-alpha, alpha],
        "hard tanh": [-1 / alpha, 1 / alpha] if alpha else [],
        "relu": [mpmath.mpf(0)],
        "abs": [mpmath.mpf(0)],
    }.get(settings.activation, [])


def said(settings, x, y, log_gamma):
    """What it costs to say y of x."""
    match settings.likelihood:
        case "poisson":
            return 2 * (mpmath.exp(y) - x * y)
        case "bernoulli":
            return 2 * (mpmath.log1p(mpmath.exp(y)) - x * y)
        case "negative binomial":
            r = mpmath.mpf(settings.dispersion)
            return 2 * ((x + r) * mpmath.log1p(mpmath.exp(y) / r) - x * y)
    return (x - y) ** 2 * mpmath.exp(-log_gamma) + log_gamma


@pytest.fixture(scope="module")
def rule():
    """Gauss and Legendre's on [0, 1], to all digits."""
    with mpmath.workdps(DIGITS + 10):
        found = []
        for start in np.polynomial.legendre.leggauss(NODES)[0]:
            x = mpmath.findroot(partial(mpmath.legendre, NODES), start)
            before = mpmath.legendre(NODES - 1, x)
            found.append(((1 + x) / 2, (1 - x * x) / (NODES * before) ** 2))
        return found


def expected(rule, settings, cost, m, v):
    """E cost(f(u)), u ~ N(m, v), by Gauss and Legendre's rule between kinks."""
    s, total = mpmath.sqrt(v), mpmath.mpf(0)
    if s == 0:
        return cost(bent(settings, m))
    cuts = [(place - m) / s for place in kinks(settings)]
    ends = [mpmath.mpf(-REACH), *(c for c in cuts if abs(c) < REACH), mpmath.mpf(REACH)]
    for a, b in itertools.pairwise(ends):
        count = int(mpmath.ceil((b - a) / PANEL))
        width = (b - a) / count
        for start, (x, weight) in itertools.product(range(count), rule):
            z = a + (start + x) * width
            total += width * weight * mpmath.npdf(z) * cost(bent(settings, m + s * z))
    return total


def energy(rule, settings, X, parameters):
    """By its definition; parameters are arrays of mpmath's numbers."""
    p, total = parameters, mpmath.mpf(0)
    fixed = np.broadcast_to(1.0 if settings.gamma is None else settings.gamma, X.shape[1:])
    log_gammas = np.broadcast_to(
        p.get("log_gamma", np.array([mpmath.log(g) for g in fixed.tolist()])), X.shape[1:]
    )
    for (i, r), x in np.ndenumerate(X):
        row, tau = p["weight"][r], [mpmath.exp(2 * t) for t in p["log_std"][i]]
        b, log_gamma = p["bias"][r], log_gammas[r]

        def cost(y, x=x, b=b, log_gamma=log_gamma):
            return said(settings, mpmath.mpf(x), y + b, log_gamma)

        total += expected(rule, settings, cost, row @ p["mean"][i], row**2 @ tau)
    for mu, t in zip(p["mean"].ravel(), p["log_std"].ravel(), strict=True):
        total += settings.beta * (mu**2 + mpmath.exp(2 * t) - 2 * t)
    return total / len(X)


def along(function):
    """Value, slope and curvature at 0 of a function of one number, by differences of order 6."""
    step = mpmath.mpf(STEP)
    at = {k: function(k * step) for k in range(-3, 4)}
    first, second = {1: (3, 4), 2: (-3, 20), 3: (1, 60)}, {1: (3, 2), 2: (-3, 20), 3: (1, 90)}
    slope = sum(mpmath.mpf(a) / b * (at[k] - at[-k]) for k, (a, b) in first.items()) / step
    bend = sum(mpmath.mpf(a) / b * (at[k] + at[-k] - 2 * at[0]) for k, (a, b) in second.items())
    return at[0], slope, bend / step**2


def flat(parameters):
    return np.concatenate([np.ravel(x) for x in parameters.values()])


def unflat(vector, like):
    ends = np.cumsum([x.size for x in like.values()])[:-1]
    pieces = np.split(vector, ends)
    return {k: v.reshape(x.shape) for (k, x), v in zip(like.items(), pieces, strict=True)}


def start(settings, X, seed, scale=0.4):
    """Random parameters."""
    rng, (n, d), k = np.random.default_rng(seed), X.shape, settings.latent
    shapes = {"weight": (d, k), "bias": (d,)}
    if settings.learned:
        shapes["log_gamma"] = (d,) if settings.likelihood == FEATURES else ()
    shapes |= {"mean": (n, k), "log_std": (n, k)}
    return {name: np.asarray(scale * rng.normal(size=shape)) for name, shape in shapes.items()}


def along_the_oracle(rule, settings, X, center, direction):
    numbers, steps = (
        np.array([mpmath.mpf(x) for x in flat(part).tolist()]) for part in (center, direction)
    )
    return along(lambda t: energy(rule, settings, X, unflat(numbers + t * steps, center)))


def contracted(found, e):
    """An enclosure's energy, slope and curvature along e (p,)."""
    e = balls.exactly(e)
    return found.energy, (found.gradient * e).sum(), (e * (found.hessian @ e)).sum()


def holds(ball, value, slack=CLOSE):
    return abs(mpmath.mpf(ball.mid().str(45, radius=False)) - value) <= float(ball.rad()) + slack


@pytest.mark.parametrize("name", MEMBERS)
def test_balls_contain_what_quadrature_says_to_forty_digits(rule, name):
    settings = MEMBERS[name]
    X = np.array([[0.25, 0.75]])[:, : 2 if settings.likelihood == FEATURES else 1]
    seed = list(MEMBERS).index(name)
    center, direction = start(settings, X, seed), start(settings, X, seed + 100)
    e, rng = flat(direction), np.random.default_rng(seed)
    with mpmath.workdps(DIGITS), balls.arithmetic():
        values = along_the_oracle(rule, settings, X, center, direction)
        sharp = enclosure.enclose(X, settings, center)
        half = unflat(np.full(e.size, 1e-4), center)
        moved = unflat(flat(center) + 1e-4 * rng.uniform(-1, 1, e.size), center)
        wide = enclosure.enclose(X, settings, moved, half)
        for value, narrow, broad in zip(
            values, contracted(sharp, e), contracted(wide, e), strict=True
        ):
            assert holds(narrow, value)
            assert float(narrow.rad()) < 1e-25
            assert holds(broad, value)
            assert 0 < float(broad.rad()) < 2 + abs(value)


X = np.array([[1.3, -0.4], [-0.2, 0.9], [-1.5, -0.6], [0.5, 0.2]])
WIDE = np.outer([1.6, 0.7, 0.1, -0.9, -1.5], [1.0, 0.8, 0.6])
WIDE += np.array([[2, -3, 4], [-4, 3, 3], [4, 2, -4], [-4, -4, -2], [3, 2, -1]]) / 10
COUNTS = np.array([[3.0, 0.0], [1.0, 2.0], [0.0, 1.0], [5.0, 1.0]])
BITS = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0], [0.9, 0.2]])
family = partial(vae.elementwise_vae, latent=1, beta=0.5)
PROBLEMS = {
    "hard tanh": partial(family, X, activation="hard tanh", alpha=0.7, gamma=0.3),
    "relu": partial(family, X, activation="relu", alpha=0.4, gamma=0.3),
    "abs": partial(family, X, activation="abs", alpha=0.25, gamma=0.3),
    "erf": partial(family, X, activation="erf", alpha=0.6, gamma=0.3),
    "sin": partial(family, X, activation="sin", alpha=0.5, gamma=0.3),
    "exp": partial(family, X, activation="exp", alpha=0.1, gamma=0.3),
    "cubic": partial(family, X, activation="cubic", alpha=0.1, gamma=0.3),
    "learned": partial(family, X, activation="sin", alpha=0.3),
    "features": partial(
        family, X, activation="erf", alpha=0.3, likelihood=FEATURES, gamma=[0.3, 0.2]
    ),
    # With beta < 1 a gamma would go to zero.
    "features, learned": partial(
        family, WIDE, activation="sin", alpha=0.3, likelihood=FEATURES, beta=1.2
    ),
    POISSON: partial(family, COUNTS, likelihood=POISSON),
    "poisson of sin": partial(family, COUNTS, activation="sin", alpha=0.3, likelihood=POISSON),
    BERNOULLI: partial(family, BITS, likelihood=BERNOULLI),
    BINOMIAL: partial(family, COUNTS, likelihood=BINOMIAL, dispersion=2.0),
}


def stationary(problem, seed=0):
    """A stationary point, by midpoints of balls."""
    X, settings = data_and_settings(problem)
    first = start(settings, X, seed)

    def midpoints(vector):
        found = enclosure.enclose(X, settings, unflat(vector, first))
        return float(found.energy), *map(balls.midpoints, (found.gradient, found.hessian))

    with balls.arithmetic():
        found = optimize.minimize(
            lambda v: midpoints(v)[:2],
            flat(first),
            jac=True,
            hess=lambda v: midpoints(v)[2],
            method="trust-exact",
            options={"gtol": 1e-7},
        )
    return VAEParams(**{"log_gamma": None} | unflat(found.x, first))


@pytest.fixture(scope="module")
def proved():
    """Problems and certificates by name, made once."""
    made = {}

    def of(name):
        if name not in made:
            problem = PROBLEMS[name]()
            made[name] = problem, proof.certify(problem, stationary(problem))
        return made[name]

    return of


def sealed(certificate, **changes):
    """Changed, with a checksum that fits."""
    changed = certificate._replace(**changes)
    return changed._replace(checksum=checksum(changed))


def refusal(certificate, X, **settings):
    """Why it is not believed with other settings."""
    result = proof.verify(sealed(certificate, settings=certificate.settings | settings), X)
    assert not result.valid
    assert "checksum" not in result.reason
    return result.reason


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_stationary_point_of_every_member_is_proved_and_verified(proved, name):
    problem, certificate = proved(name)
    X = np.asarray(problem.X)
    n, d = X.shape
    free = 2 * d + 2 * n + {"learned": 1, "features, learned": d}.get(name, 0)
    assert certificate.claim == "stationary point"
    assert certificate.numbers["inertia"] == [0, 0, free]
    assert proof.verify(certificate, X) == (True, certificate.statement)
    assert not proof.verify(certificate, X + 1e-9).valid
    # The problem that was certified is the one that JAX has.
    center = {k: np.asarray(v) for k, v in certificate.numbers["center"].items()}
    with balls.arithmetic():
        own = enclosure.enclose(X, data_and_settings(problem)[1], center).energy
    with jax.disable_jit():
        assert float(own) == pytest.approx(
            float(problem.loss(VAEParams(**{"log_gamma": None} | center))), abs=1e-11
        )
    for factor in (1e4, -1.0, 0.0):
        half = {
            k: (factor * np.array(v)).tolist() for k, v in certificate.numbers["half_width"].items()
        }
        wider = sealed(certificate, numbers=certificate.numbers | {"half_width": half})
        assert not proof.verify(wider, X).valid
    refusal(certificate, X, alpha=certificate.settings["alpha"] + 0.02)
    refusal(certificate, X, beta=certificate.settings["beta"] + 0.02)


@pytest.mark.parametrize("name", ["hard tanh", "relu", "abs", "erf", "sin", "exp"])
def test_another_member_is_not_what_was_proved(proved, name):
    problem, certificate = proved(name)
    X = np.asarray(problem.X)
    for other in {"hard tanh", "relu", "abs", "erf", "sin", "exp", "soft threshold"} - {name}:
        refusal(certificate, X, activation=other)
    assert "alpha must be at most" in refusal(certificate, X, activation="identity")
    assert "activation must be one of" in refusal(certificate, X, activation="tanh")
    assert "activation must be one of" in refusal(certificate, X, likelihood="laplace")
    assert "data must be between" in refusal(certificate, X, likelihood=POISSON, gamma=None)
    for changes in (
        {"coefficients": [1.0]},
        {"dispersion": 1.0},
        {"gamma": [0.3, 0.3]},
        {"likelihood": FEATURES},
    ):
        assert "no proof: " in refusal(certificate, X, **changes)
    assert "not a certificate" in refusal(certificate, X, more=1.0)


def test_numbers_of_a_member_count(proved):
    for name, changes in (
        ("cubic", {"coefficients": [0.0, 0.0, 0.1, 1.0]}),
        ("cubic", {"coefficients": None}),
        ("cubic", {"coefficients": [float(2**1000)] * 40}),
        ("features", {"gamma": [0.3, 0.21]}),
        ("features", {"gamma": [0.3]}),
        ("features", {"gamma": [0.3, -0.2]}),
        ("features, learned", {"likelihood": "gaussian"}),
        (POISSON, {"likelihood": BINOMIAL, "dispersion": 2.0}),
        (POISSON, {"gamma": 1.0}),
        (BINOMIAL, {"dispersion": 2.1}),
        (BINOMIAL, {"dispersion": True}),
        (BINOMIAL, {"likelihood": POISSON, "dispersion": None}),
        (BERNOULLI, {"activation": "sin", "alpha": 0.1}),
    ):
        problem, certificate = proved(name)
        refusal(certificate, np.asarray(problem.X), **changes)


def test_certificates_of_the_paper_say_what_they_said():
    problem = vae.threshold_vae(X, 1, 0.0, 0.3)
    certificate = proof.certify(problem, stationary(problem))
    assert certificate.settings == {"latent": 1, "alpha": 0.0, "gamma": 0.3, "beta": 1.0}
    assert proof.verify(certificate, X).valid
    collapse = proof.certify(bent := vae.threshold_vae(X, 1, 0.5), bent.collapsed())
    ray = proof.certify_unbounded(vae.threshold_vae(np.array([[1.0, 1.0], [-1.0, -1.0]]), 1, 0.5))
    for settings in ({"activation": "relu"}, {"likelihood": FEATURES}):
        refusal(collapse, X, **settings)
        assert "of another VAE" in refusal(ray, np.array([[1.0, 1.0], [-1.0, -1.0]]), **settings)
    assert "of another VAE" in refusal(collapse, X, activation="hard tanh")


@pytest.mark.parametrize("gamma", [None, [0.3, 0.2]])
def test_collapse_is_proved_with_a_gamma_per_feature(gamma):
    problem = family(X, activation="soft threshold", alpha=0.5, likelihood=FEATURES, gamma=gamma)
    certificate = proof.certify(problem, problem.collapsed(), index=0)
    numbers = certificate.numbers
    assert certificate.claim == "collapsed minimum"
    assert proof.verify(certificate, X) == (True, certificate.statement)
    for changes in (
        {"radius": 1.001 * numbers["radius"]},
        {"gamma": [2.0 * g for g in numbers["gamma"]]},
        {"gamma": numbers["gamma"][0]},
        {"gamma": numbers["gamma"][:1]},
    ):
        changed = sealed(certificate, numbers=numbers | changes)
        assert not proof.verify(changed, X).valid
    # Alike in all features it is the gamma of all.
    same = family(X, activation="soft threshold", alpha=0.5, likelihood=FEATURES, gamma=0.3)
    one = vae.threshold_vae(X, 1, 0.5, 0.3, 0.5)
    radii = [proof.certify(p, p.collapsed()).numbers["radius"] for p in (same, one)]
    assert radii[0] == pytest.approx(radii[1], rel=1e-9)


def test_verification_of_members_needs_no_jax(tmp_path, proved):
    for name in ("relu", BERNOULLI):
        proof.save(proved(name)[1], tmp_path / f"{name}.json")
        np.save(tmp_path / f"{name}.npy", np.asarray(proved(name)[0].X))
    code = (
        "import sys, numpy as np\n"
        "from vaesurface import proof\n"
        "for path in sys.argv[1:]:\n"
        "    X = np.load(path.replace('json', 'npy'))\n"
        "    print(proof.verify(proof.load(path), X).valid)\n"
        "print('jax' in sys.modules)"
    )
    paths = map(str, sorted(tmp_path.glob("*.json")))
    command = [sys.executable, "-c", code, *paths]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["True", "True", "False"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"activation": "tanh"}, "got tanh, whose moments are known by a quadrature"),
        ({"activation": "sin", "posterior": "full"}, "expected a diagonal posterior"),
        ({"activation": "sin", "posterior": "amortized"}, "got a AmortizedVAE"),
        ({"activation": "erf", "likelihood": POISSON}, "choose sin, or one that is piecewise"),
        ({"activation": "sin", "likelihood": BERNOULLI}, "expected an affine decoder"),
        ({"activation": "relu"}, "got row 0: the energy has a corner there"),
        ({"activation": "soft threshold", "likelihood": POISSON}, "of another VAE the claim"),
    ],
)
def test_what_is_not_proved_says_so_in_one_line(settings, reason):
    data = {POISSON: COUNTS, BERNOULLI: BITS}.get(settings.get("likelihood"), X)
    problem = family(data, **{"alpha": 0.3} | settings)
    with pytest.raises(ValueError, match=reason) as told:
        proof.certify(problem, problem.collapsed())
    assert "\n" not in str(told.value)
    if settings["activation"] not in ("relu", "soft threshold"):  # whatever the point
        with pytest.raises(ValueError, match=reason):
            proof.require_provable(problem)


def test_a_categorical_likelihood_is_not_proved():
    problem = vae.elementwise_vae(np.eye(2)[[[0], [1], [1]]], 1, likelihood="categorical")
    with pytest.raises(ValueError, match="got a CategoricalVAE"):
        proof.certify(problem, problem.collapsed())


def test_hard_tanh_is_smooth_where_its_decoder_is_zero(rule):
    problem = family(X, activation="hard tanh", alpha=0.7, gamma=0.3)
    certificate = proof.certify(problem, problem.collapsed())
    affine = vae.threshold_vae(X, 1, 0.0, 0.3, 0.5)
    same = proof.certify(affine, affine.collapsed())
    assert certificate.numbers["inertia"] == same.numbers["inertia"]
    assert certificate.numbers["inertia"][0] > 0
    assert proof.verify(certificate, X).valid
    # Close by, what is beyond the limits is felt, and covered.
    settings, one = made(alpha=26.0, activation="hard tanh", latent=1), np.array([[0.25]])
    center = start(settings, one, 0)
    center["weight"] = np.zeros((1, 1))
    direction = start(settings, one, 1)
    half = {k: np.full_like(v, 8e-3) for k, v in center.items()}
    inside = {k: v + 7e-3 for k, v in center.items()}
    with mpmath.workdps(DIGITS), balls.arithmetic():
        values = along_the_oracle(rule, settings, one, inside, direction)
        straight = made(alpha=0.0, activation="identity", latent=1)
        plain = along_the_oracle(rule, straight, one, inside, direction)
        found = enclosure.enclose(one, settings, center, half)
        for value, other, ball in zip(
            values, plain, contracted(found, flat(direction)), strict=True
        ):
            assert abs(value - other) > 1e-20
            assert holds(ball, value)


def test_the_softplus_is_bounded_as_it_is_said_to_be():
    p = np.polynomial.Polynomial([0.0, 1.0])  # of the sigmoid
    for j, largest in enumerate(logistic.LARGEST):
        if j < len(logistic.DERIVATIVES):
            assert p.coef[1:].tolist() == list(logistic.DERIVATIVES[j])
        reached = abs(p(np.linspace(0.0, 1.0, 20001))).max()
        assert 0.99 * largest < reached <= largest
        p = p.deriv() * np.polynomial.Polynomial([0.0, 1.0, -1.0])
    with balls.arithmetic(), pytest.raises(proof.Unproved, match="is too large"):
        logistic.softplus(balls.flint.arb(0), balls.flint.arb(1e9))
