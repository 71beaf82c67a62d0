"""Proofs for other activations and likelihoods: balls contain what 40 digits of quadrature say, and
what is certified is verified, and refused once another member is claimed.
"""

import itertools
from functools import partial

import mpmath
import numpy as np
import pytest

from vaesurface.proof import balls, enclosure
from vaesurface.proof.form import Settings

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
