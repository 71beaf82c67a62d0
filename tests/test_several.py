"""Is a categorical likelihood over two and three dimensions as exact as is said?

Beside the trapezoidal rule with far more nodes, of numbers with 64 bits after the point where the
machine has them, and beside 30 digits at one point.
"""

from functools import lru_cache

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.special import erf

from vaesurface import vae
from vaesurface.vae import several

LONG = np.longdouble
STEP = LONG(1e-6)
FINE = {2: (181, 9.8), 3: (131, 9.4)}  # nodes per dimension, and how far out
BENT = {
    "identity": lambda u: u,
    "tanh": np.tanh,
    "sin": np.sin,
    "softplus": lambda u: np.logaddexp(u, LONG(0.0)),
    "erf": lambda u: erf(u.astype(float)),
    "exp": np.exp,
    "cubic": lambda u: u**3,
}
exact = pytest.mark.skipif(np.finfo(LONG).eps > 1e-18, reason="no numbers longer than float64")


@lru_cache
def fine(latent):
    nodes, reach = FINE[latent]
    points = np.linspace(-LONG(reach), LONG(reach), nodes)
    mesh = np.stack(np.meshgrid(*[points] * latent), axis=-1).reshape(-1, latent)
    mesh = mesh[np.sum(mesh**2, axis=1) <= reach**2]
    shares = np.exp(-np.sum(mesh**2, axis=1) / 2)
    return mesh, shares / shares.sum()


def energy(bent, alpha, beta, x, parts):
    """Of one group of data whose mean is x, with one posterior."""
    weight, bias, mean, log_std = (np.asarray(part, LONG) for part in parts)
    z, shares = fine(len(mean))
    u = (mean[None] + np.exp(log_std)[None] * z) @ weight.T
    u = (1 - alpha) * u + alpha * BENT[bent](u) + bias[None]
    top = np.max(u, axis=1)
    normalizer = top + np.log(np.sum(np.exp(u - top[:, None]), axis=1))
    penalty = np.sum(np.exp(2 * log_std) - 2 * log_std + mean**2)
    return 2 * np.sum(shares * (normalizer - u @ x)) + beta * penalty


def case(bent, alpha, latent, classes, seed):
    """A problem of two data with the same posterior, parameters, a direction that leaves it so."""
    rng = np.random.default_rng(seed)
    X = np.eye(classes)[:2, None]
    problem = vae.elementwise_vae(X, latent, bent, alpha, likelihood="categorical", beta=0.8)
    weight = rng.normal(size=(classes, latent))
    weight *= 1.5 / np.linalg.norm(weight, axis=1).max()
    params = problem.collapsed()._replace(
        weight=jnp.asarray(weight),
        bias=jnp.asarray(0.3 * rng.normal(size=classes)),
        mean=jnp.asarray(np.tile(0.6 * rng.normal(size=latent), (2, 1))),
        log_std=jnp.asarray(np.tile(rng.uniform(-0.3, 0.0, latent), (2, 1))),
    )
    direction = jax.tree.map(lambda part: jnp.asarray(rng.normal(size=part.shape)), params)
    direction = direction._replace(
        mean=jnp.tile(direction.mean[:1], (2, 1)), log_std=jnp.tile(direction.log_std[:1], (2, 1))
    )
    return problem, params, direction


def errors(bent, alpha, latent, classes, seed):
    """Of the energy and of its slope, each relative to its size; and what it says of the first."""
    problem, params, direction = case(bent, alpha, latent, classes, seed)
    x = np.eye(classes)[:2].mean(axis=0)

    def at(step):
        moved = [
            np.asarray(getattr(params, name), LONG)
            + step * np.asarray(getattr(direction, name), LONG)
            for name in ("weight", "bias", "mean", "log_std")
        ]
        weight, bias, mean, log_std = moved
        return energy(bent, LONG(alpha), LONG(0.8), x, (weight, bias, mean[0], log_std[0]))

    level, below, above = at(LONG(0.0)), at(-STEP), at(STEP)
    slope = float((above - below) / (2 * STEP))
    value, gradient = jax.value_and_grad(problem.loss)(params)
    found = float(jnp.vdot(ravel_pytree(gradient)[0], ravel_pytree(direction)[0]))
    off = abs(float(LONG(float(value)) - level))
    told = float(problem.rounding(params))
    return off / max(1.0, abs(level)), abs(found - slope) / max(1.0, abs(slope)), off <= told


@exact
def test_the_fine_rule_is_what_mpmath_says():
    _, params, _ = case("tanh", 0.4, 2, 3, seed=1)
    weight, bias, mean, log_std = params.weight, params.bias, params.mean[0], params.log_std[0]
    at = energy(
        "tanh", LONG(0.4), LONG(0.8), np.eye(3)[:2].mean(axis=0), (weight, bias, mean, log_std)
    )
    with mp.workdps(30):
        rows = [[mp.mpf(float(w)) for w in row] for row in weight]
        shift = [mp.mpf(float(b)) for b in bias]
        alpha = mp.mpf(0.4)
        points = [mp.mpf(j) / 8 for j in range(-76, 77)]  # a rule of other nodes
        total = mass = mp.mpf(0)
        for a in points:
            for b in points:
                share = mp.exp(-(a * a + b * b) / 2)
                z = [
                    mp.mpf(float(m)) + mp.exp(mp.mpf(float(s))) * t
                    for m, s, t in zip(mean, log_std, (a, b), strict=True)
                ]
                u = [mp.fdot(row, z) for row in rows]
                u = [
                    (1 - alpha) * one + alpha * mp.tanh(one) + c
                    for one, c in zip(u, shift, strict=True)
                ]
                total += share * (mp.log(mp.fsum(map(mp.exp, u))) - (u[0] + u[1]) / 2)
                mass += share
        stds = [mp.exp(mp.mpf(float(s))) for s in log_std]
        penalty = mp.fsum(
            s**2 - 2 * mp.log(s) + mp.mpf(float(m)) ** 2 for s, m in zip(stds, mean, strict=True)
        )
        whole = 2 * total / mass + mp.mpf(0.8) * penalty
    assert float(at - LONG(mp.nstr(whole, 25))) == pytest.approx(0.0, abs=1e-17)


# Activation, alpha, latents, classes: over latents, of what is between classes, in closed form.
TWO = [
    ("identity", 0.0, 2, 4),
    ("identity", 0.0, 3, 3),
    ("identity", 0.0, 2, 2),
    ("identity", 0.0, 3, 4),
    ("tanh", 0.3, 2, 3),
    ("tanh", 1.0, 2, 3),
    ("sin", 1.0, 2, 3),
    ("softplus", 1.0, 2, 3),
    ("erf", 1.0, 2, 3),
]


@exact
@pytest.mark.parametrize(("bent", "alpha", "latent", "classes"), TWO)
def test_two_dimensions_and_affine_decoders_are_exact(bent, alpha, latent, classes):
    off, slope, told = errors(bent, alpha, latent, classes, seed=0)
    assert off < 1e-12 and slope < 1e-9 and told


@exact
@pytest.mark.parametrize(
    ("bent", "alpha", "latent", "most"),
    [("tanh", 0.3, 3, 1e-8), ("cubic", 0.3, 2, 1e-11), ("exp", 0.3, 2, 1e-8)],
)
def test_others_are_as_far_off_as_they_say(bent, alpha, latent, most):
    off, _, told = errors(bent, alpha, latent, 3, seed=0)
    assert off < most and told


@pytest.mark.parametrize(("deviation", "off"), [(40.0, 1e-12), (200.0, 1e-6), (1e4, 1.0)])
def test_classes_that_are_far_apart_are_finite(deviation, off):
    center, scaled = jnp.array([0.0, 1.0, -2.0]), deviation * jnp.eye(3)[:, :2]
    value, slope = jax.value_and_grad(lambda c: several.logsumexp(c, scaled, 80))(center)
    assert jnp.isfinite(value) and float(jnp.sum(slope)) == pytest.approx(1.0, abs=off)
