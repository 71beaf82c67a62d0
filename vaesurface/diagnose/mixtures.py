"""Could any decoder at all be better than a constant one, under another likelihood?

As in `bounds`, for natural exponential families: a VAE's likelihood is a mixture of p(x | t), and
its energy over beta at least that of the mixture of p(x | t)^(1 / beta), which is concave in the
mixing distribution. So a constant decoder at the data's mean is the best of all, with any encoder,
if and only if D(t) = mean_i (p(x_i | t) / p(x_i | mean))^(1 / beta) <= 1 for all t (Lindsay, Ann.
Stat. 11, 1983).

>>> X = np.array([[1.0, 1.0], [0.0, 0.0]])
>>> best = best_component(X, "bernoulli", beta=1.0)  # a component at a datum: log 2
>>> round(best.gain, 6), best.proved
(0.693147, True)
>>> best_component(X, "bernoulli", beta=2.5)
Component(gain=0.0, proved=False)
"""

import math
from collections.abc import Callable

import numpy as np

from vaesurface.diagnose.likelihoods import nats, nats_between
from vaesurface.diagnose.shares import into_shares
from vaesurface.diagnose.terms import Component

__all__ = ["best_component", "least_beta"]

MODES = 64  # data from which the best component is looked for
SHIFTS = 200  # steps of that search at most
SHIFT_GAIN = 1e-10  # gain of a step at which it ends
NO_GAIN = 1e-9  # up to here what it has found is rounding
HALFWAY = 0.5  # from the mean to a datum: where the search starts
DOUBLINGS = 30  # of beta, until nothing is better
HALVINGS = 6  # of that interval, on a logarithmic scale


def best_component(x: np.ndarray, likelihood: str, beta: float) -> Component:
    """The largest log D over t, 0 where none is above 1.

    At a datum D is at least its share of the data over its own probability, to the power 1 / beta.
    From halfway to MODES data it is climbed: to the mean of the data weighted by their terms of D,
    which never falls. Proved for zeros and ones at beta <= 1, for D is then convex in every
    coordinate, and largest where t is a datum; and beyond, by Jensen's inequality, where nothing is
    better at beta = 1.
    """
    constant = nats(x, x.mean(axis=0), likelihood)
    at_data = _at_data(x, constant, likelihood)
    vertices = likelihood != "poisson" and bool(np.isin(x, (0.0, 1.0)).all())
    proved = vertices and (beta <= 1.0 or float(np.max(at_data(1.0))) <= NO_GAIN)
    gain = float(np.max(at_data(beta)))
    if not vertices or beta > 1.0:
        gain = max(gain, _climbed(x, constant, likelihood, beta))
    return Component(gain=gain if gain > NO_GAIN else 0.0, proved=proved)


def _at_data(x: np.ndarray, constant: np.ndarray, likelihood: str) -> Callable[[float], np.ndarray]:
    """A function of beta: lower bounds (rows,) of log D at every distinct datum, exact for zeros
    and ones.
    """
    _, first, counts = np.unique(x, axis=0, return_index=True, return_counts=True)
    gains = constant[first] - nats(x[first], x[first], likelihood)
    log_shares = np.log(counts / len(x))

    def log_ratios(beta: float) -> np.ndarray:
        return log_shares + gains / beta

    return log_ratios


def _climbed(x: np.ndarray, constant: np.ndarray, likelihood: str, beta: float) -> float:
    """The largest log D that the search finds."""
    n, center = len(x), x.mean(axis=0)
    outermost_first = np.argsort(-constant)
    spaced = np.unique(np.linspace(0, n - 1, min(MODES, n)).astype(int))
    at = center + HALFWAY * (x[outermost_first[spaced]] - center)
    most = x.max(axis=0)  # which rounding may exceed
    gain = -math.inf
    for _ in range(SHIFTS):
        terms = (constant[None] - nats_between(x, at, likelihood)) / beta
        before, gain = gain, float(into_shares(terms).max()) - math.log(n)
        if gain - before <= SHIFT_GAIN:
            break
        at = terms @ x
        at = np.minimum(at, most)
    return gain


def least_beta(x: np.ndarray, likelihood: str, above: float) -> float:
    """A beta, at least `above`, at which nothing is better than the constant decoder, as low as a
    few halvings find it; infinite where none is found.
    """
    low = high = above
    for _ in range(DOUBLINGS):
        if best_component(x, likelihood, high).gain == 0.0:
            break
        low, high = high, 2.0 * high
    else:
        return math.inf
    for _ in range(HALVINGS if high > low else 0):
        middle = math.sqrt(low * high)
        if best_component(x, likelihood, middle).gain == 0.0:
            high = middle
        else:
            low = middle
    return high
