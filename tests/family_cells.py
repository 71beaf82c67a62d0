"""What the energy of every member of the family is, in 50 digits: activations x likelihoods.

Everything is computed from definitions with mpmath: integrals over a Gaussian by Gauss and
Legendre's rule on panels between the places where an activation is not smooth.
"""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax.numpy as jnp
import mpmath as mp
import numpy as np

from vaesurface import activations, vae

__all__ = [
    "BENT",
    "DIGITS",
    "Bent",
    "Energy",
    "exact",
    "line",
    "loss_at",
    "member",
    "numbers",
    "own",
    "point",
    "reference",
]

DIGITS = 50
# Deviations that integrals are over, in panels of so many nodes.
REACH, PANELS, NODES = 12.0, 16, 24
FINER, STEEP = (30, 40), ("cubic", "quintic", "own")


class Bent(NamedTuple):
    """An activation: the package's, and f_alpha(u) and its cuts by mpmath."""

    member: Any
    value: Any
    cuts: Any = lambda alpha: ()


def _blend(g):
    return lambda u, alpha: (1 - alpha) * u + alpha * g(u)


def _soft(u, alpha):
    return mp.sign(u) * max(abs(u) - alpha, mp.mpf(0))


def _clip(u, alpha):
    return u if alpha == 0 else min(max(u, -1 / alpha), 1 / alpha)


def own(u):
    """Somebody's own function."""
    return jnp.arctan(u) + 0.1 * u


def _left(u):
    return 0.3 * u + 0.0 * jnp.sin(u)


def _middle(u):
    return jnp.sin(u)


def _right(u):
    return 0.5 + 0.1 * u


def _exact(number):
    return mp.mpf(float(number))


QUINTIC = (0.3, 0.0, -0.5, 0.0, 0.0, 0.25)
BENT = {
    "identity": Bent("identity", lambda u, alpha: u),
    "soft threshold": Bent("soft threshold", _soft, lambda alpha: (-alpha, alpha)),
    "hard tanh": Bent("hard tanh", _clip, lambda alpha: (-1 / alpha, 1 / alpha) if alpha else ()),
    "relu": Bent("relu", _blend(lambda u: max(u, mp.mpf(0))), lambda alpha: (mp.mpf(0),)),
    "abs": Bent("abs", _blend(abs), lambda alpha: (mp.mpf(0),)),
    "erf": Bent("erf", _blend(mp.erf)),
    "sin": Bent("sin", _blend(mp.sin)),
    "exp": Bent("exp", _blend(mp.exp)),
    "cubic": Bent("cubic", _blend(lambda u: u**3)),
    "tanh": Bent("tanh", _blend(mp.tanh)),
    "softplus": Bent("softplus", _blend(lambda u: mp.log1p(mp.exp(u)))),
    "quintic": Bent(
        activations.polynomial(QUINTIC),
        _blend(lambda u: mp.fsum(_exact(c) * u**j for j, c in enumerate(QUINTIC))),
    ),
    "own": Bent(own, _blend(lambda u: mp.atan(u) + _exact(0.1) * u)),
    "own kinks": Bent(
        activations.numeric(_left, _middle, _right, kinks=(0.0, 0.7), name="own kinks"),
        _blend(
            lambda u: (
                _exact(0.3) * u
                if u <= 0
                else mp.sin(u)
                if u <= _exact(0.7)
                else _exact(0.5) + _exact(0.1) * u
            )
        ),
        lambda alpha: (mp.mpf(0), _exact(0.7)),
    ),
}


@lru_cache(maxsize=8)
def _panel(nodes):
    """Gauss and Legendre's points and weights on [0, 1]."""
    found = []
    for j in range(1, nodes // 2 + 1):
        x = mp.cos(mp.pi * (j - 0.25) / (nodes + 0.5))
        for _ in range(8):
            before, here = mp.mpf(1), x
            for n in range(1, nodes):
                before, here = here, ((2 * n + 1) * x * here - n * before) / (n + 1)
            slope = nodes * (x * here - before) / (x * x - 1)
            x -= here / slope
        weight = 1 / ((1 - x * x) * slope**2)
        found += [((1 - x) / 2, weight), ((1 + x) / 2, weight)]
    return found


def _expected(g, m, v, cuts, panels=PANELS, nodes=NODES):
    """E g(u), u ~ N(m, v)."""
    if v == 0:
        return g(m)
    s = mp.sqrt(v)
    places = [m + s * t for t in np.linspace(-REACH, REACH, panels + 1)]
    places = sorted({*places, *(cut for cut in cuts if places[0] < cut < places[-1])})
    whole = mp.mpf(0)
    for low, high in pairwise(places):
        length = high - low
        for t, weight in _panel(nodes):
            u = low + length * t
            whole += length * weight * g(u) * mp.exp(-((u - m) ** 2) / (2 * v))
    return whole / mp.sqrt(2 * mp.pi * v)


class Energy(NamedTuple):
    """An energy by mpmath, of a member's name, a likelihood's and data (n, d)."""

    bent: str
    likelihood: str
    data: Any
    classes: int = 1

    def __call__(self, theta):
        """At a dict of mpf arrays: weight, bias, mean, log_std, gamma, alpha, beta, dispersion."""
        total = mp.mpf(0)
        gamma = theta["gamma"]
        for i, x in enumerate(self.data):
            scales = [mp.exp(s) for s in theta["log_std"][i]]
            for s, mu in zip(scales, theta["mean"][i], strict=True):
                total += theta["beta"] * (s**2 - 2 * mp.log(s) + mu**2)
            rows = list(zip(theta["weight"], theta["bias"], x, strict=True))
            if self.classes > 1:
                for g in range(0, len(rows), self.classes):
                    total += self._group(
                        rows[g : g + self.classes], theta["mean"][i], scales, theta
                    )
                continue
            for r, (w, b, each) in enumerate(rows):
                m = mp.fsum(a * mu for a, mu in zip(w, theta["mean"][i], strict=True))
                v = mp.fsum((a * s) ** 2 for a, s in zip(w, scales, strict=True))
                variance = gamma[r] if len(gamma) > 1 else gamma[0]
                total += _term(
                    self.bent,
                    self.likelihood,
                    (m, v, theta["alpha"], b, _exact(each), variance, theta.get("dispersion")),
                )
        return total / len(self.data)

    def _group(self, rows, mean, scales, theta):
        """Of a softmax, one latent."""
        assert len(mean) == 1
        value, alpha = BENT[self.bent].value, theta["alpha"]

        def density(z):
            u = [value(w[0] * (mean[0] + scales[0] * z), alpha) + b for w, b, _ in rows]
            top = max(u)
            normalizer = top + mp.log(mp.fsum(mp.exp(one - top) for one in u))
            return normalizer - mp.fsum(
                _exact(x) * one for one, (_, _, x) in zip(u, rows, strict=True)
            )

        rule = FINER if self.bent in STEEP else ()
        return 2 * _expected(density, mp.mpf(0), mp.mpf(1), (), *rule)


def _term(bent, likelihood, numbers):
    *moments, gamma, dispersion = numbers
    if likelihood == "gaussian":
        return _mean(bent, likelihood, *moments, None) / gamma + mp.log(gamma)
    return 2 * _mean(bent, likelihood, *moments, dispersion)


@lru_cache(maxsize=100_000)
def _mean(bent, likelihood, m, v, alpha, b, x, dispersion):
    value, cuts = BENT[bent].value, BENT[bent].cuts(alpha)

    def gaussian(y):
        return (x - y) ** 2

    def bernoulli(y):
        return mp.log1p(mp.exp(y)) - x * y

    def poisson(y):
        return mp.exp(y) - x * y

    def binomial(y):
        return (x + dispersion) * mp.log1p(mp.exp(y) / dispersion) - x * y

    of = {
        "gaussian": gaussian,
        "bernoulli": bernoulli,
        "poisson": poisson,
        "negative binomial": binomial,
    }[likelihood]
    # Singularities near the real axis take more nodes.
    steep = likelihood != "gaussian" and bent in STEEP
    return _expected(lambda u: of(value(u, alpha) + b), m, v, cuts, *(FINER if steep else ()))


def line(energy, theta, direction, step):
    """The energy at -step, 0 and step along a direction (a dict like theta, or part of it)."""

    def at(t):
        moved = {name: theta[name] + t * exact(each) for name, each in direction.items()}
        return energy(theta | moved)

    return [at(t * step) for t in (-1, 0, 1)]


def exact(array):
    """Numbers as mpmath has them."""
    return np.vectorize(_exact, otypes=[object])(np.asarray(array))[()]


# Members and points


def data_of(likelihood):
    """(2, 2), or (2, 3) of one group of classes."""
    if likelihood == "bernoulli":
        return np.array([[1.0, 0.0], [0.0, 0.3]])
    if likelihood in ("poisson", "negative binomial"):
        return np.array([[3.0, 0.0], [1.0, 5.0]])
    if likelihood == "categorical":
        return np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    return np.array([[1.2, -0.7], [-0.4, 0.9]])


def member(bent, likelihood):
    """Of the family, with two latents, one where classes are."""
    options = {}
    if likelihood == "gaussian":
        options["gamma"] = 0.6
    if likelihood == "gaussian per feature":
        options["gamma"] = np.array([0.6, 1.7])
    if likelihood == "negative binomial":
        options["dispersion"] = 1.7
    return vae.elementwise_vae(
        data_of(likelihood),
        1 if likelihood == "categorical" else 2,
        BENT[bent].member,
        0.0 if bent == "identity" else 0.3,
        likelihood.removesuffix(" learned"),
        beta=0.8,
        **options,
    )


def point(problem, size, dead, seed):
    """Parameters with rows of the weight up to that size, the first at zero if dead."""
    rng = np.random.default_rng(seed)
    (n, d), k = problem.X.shape, problem.latent
    weight = rng.normal(size=(d, k))
    weight *= size / np.linalg.norm(weight, axis=1).max()
    weight[0] *= not dead
    collapsed = problem.collapsed()
    log_gamma = collapsed.log_gamma
    return collapsed._replace(
        weight=jnp.asarray(weight),
        bias=jnp.asarray(0.3 * rng.normal(size=d)),
        log_gamma=None if log_gamma is None else jnp.asarray(rng.normal(size=log_gamma.shape)),
        mean=jnp.asarray(0.6 * rng.normal(size=(n, k))),
        log_std=jnp.asarray(np.clip(0.2 * rng.normal(size=(n, k)), -0.3, 0.0)),
    )


def numbers(problem, params):
    """All that an energy depends on, as a dict of arrays: parameters and hyper-parameters."""
    found = {name: getattr(params, name) for name in ("weight", "bias", "mean", "log_std")}
    found |= {"beta": problem.beta}
    if hasattr(problem, "alpha"):
        found["alpha"] = problem.alpha
    if params.log_gamma is not None:
        found["log_gamma"] = params.log_gamma
    elif not hasattr(problem, "noise"):
        found["gamma"] = problem.gamma
    if hasattr(getattr(problem, "noise", None), "dispersion"):
        found["dispersion"] = problem.noise.dispersion
    return found


def loss_at(problem, params, found):
    """The package's energy there."""
    fields = {name: found[name] for name in ("alpha", "beta", "gamma") if name in found}
    if "dispersion" in found:
        fields["noise"] = replace(problem.noise, dispersion=found["dispersion"])
    names = ("weight", "bias", "mean", "log_std", "log_gamma")
    moved = params._replace(**{name: found[name] for name in names if name in found})
    return replace(problem, **fields).loss(moved)


def reference(bent, likelihood):
    """The energy by mpmath, of what `numbers` names."""
    name = "gaussian" if likelihood.startswith("gaussian") else likelihood
    energy = Energy(bent, name, data_of(likelihood), 3 if likelihood == "categorical" else 1)

    def at(theta):
        gamma = theta.get("gamma")
        if "log_gamma" in theta:
            gamma = np.vectorize(mp.exp, otypes=[object])(theta["log_gamma"])
        alpha = theta.get("alpha", mp.mpf(0))
        return energy(theta | {"gamma": np.ravel(gamma), "alpha": alpha})

    return at
