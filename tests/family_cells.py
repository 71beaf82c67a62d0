"""What the energy of every member of the family is, in 50 digits: activations x likelihoods.

Everything is computed from definitions with mpmath: integrals over a Gaussian by tanh-sinh between
the places where an activation is not smooth; derivatives by central differences of the energy.
"""

from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import jax.numpy as jnp
import mpmath as mp
import numpy as np

from vaesurface import activations

__all__ = ["BENT", "DIGITS", "Bent", "Energy", "own", "slope"]

DIGITS = 50
# Deviations that integrals are over, in panels of so many nodes.
REACH, PANELS, NODES = 12.0, 16, 24
STEP = mp.mpf(10) ** -15


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
        _blend(lambda u: mp.polyval([_exact(c) for c in reversed(QUINTIC)], u)),
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


def _expected(g, m, v, cuts):
    """E g(u), u ~ N(m, v)."""
    if v == 0:
        return g(m)
    s = mp.sqrt(v)
    places = [m + s * t for t in np.linspace(-REACH, REACH, PANELS + 1)]
    places = sorted({*places, *(cut for cut in cuts if places[0] < cut < places[-1])})
    whole = mp.mpf(0)
    for low, high in pairwise(places):
        length = high - low
        for t, weight in _panel(NODES):
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
        gamma = theta.get("gamma")
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
                variance = None if gamma is None else gamma[r] if len(gamma) > 1 else gamma[0]
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

        return 2 * _expected(density, mp.mpf(0), mp.mpf(1), ())


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
    return _expected(lambda u: of(value(u, alpha) + b), m, v, cuts)


def slope(energy, theta, name, place, step=STEP):
    """Derivative by the entry at that place of one array, by central differences."""
    ends = []
    for sign in (1, -1):
        moved = np.array(theta[name], dtype=object)
        moved[place] = moved[place] + sign * step
        ends.append(energy(theta | {name: moved if moved.shape else moved[()]}))
    return (ends[0] - ends[1]) / (2 * step)
