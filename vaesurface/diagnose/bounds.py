"""What can no decoder do, of whatever family and with whatever encoder?

A VAE's likelihood is a mixture of N(decode(z), gamma I), and of mixtures more is known than of
networks. X is (n, d), float64 NumPy.

>>> import numpy as np
>>> X = np.array([[1.0, 1.0], [-1.0, -1.0]])
>>> best_component(X, gamma=2.5)  # no decoder whatsoever gains by using a latent at that gamma
Component(gain=0.0, proved=True)
"""

import math

import numpy as np
import numpy.typing as npt

from vaesurface.diagnose.shares import into_shares
from vaesurface.diagnose.terms import Component

__all__ = ["best_component", "least_error", "mean_shift"]

MODES = 64  # data from which the best component is looked for
SHIFTS = 200  # steps of that search at most
SHIFT_GAIN = 1e-12  # gain of a step at which it ends
NO_GAIN = 1e-9  # up to here what it has found is rounding: some hundred shifts of exponentials
HALVINGS = 8  # of the interval, on a logarithmic scale, in which the least gamma is looked for


def best_component(X: np.ndarray, gamma: float) -> Component:
    """Could any decoder at all, with any encoder, be better than the collapsed one at this gamma
    (for beta: beta gamma)?

    A VAE's likelihood is a mixture of N(decode(z), gamma I), and log-likelihood is concave in the
    mixing distribution: a constant decoder at the mean has the best one if and only if D(theta) =
    mean_i exp((||x_i - xbar||^2 - ||x_i - theta||^2) / 2 gamma) is at most 1 everywhere (Lindsay,
    Ann. Stat. 11, 1983); and the KL part of a collapsed encoder costs nothing. The largest D is
    looked for by mean shift from up to MODES data. log D is concave, and so has its maximum at
    xbar, where gamma is at least the largest ||x_i - xbar||^2.
    """
    Z = X - X.mean(axis=0)
    square = np.sum(Z**2, axis=1)
    if square.max() <= gamma:
        return Component(gain=0.0, proved=True)
    outermost_first = np.argsort(-square)
    spaced = np.unique(np.linspace(0, len(Z) - 1, min(MODES, len(Z))).astype(int))
    gain = mean_shift(Z, Z[outermost_first[spaced]], gamma)
    return Component(gain=gain if gain > NO_GAIN else 0.0, proved=False)


def mean_shift(
    Z: np.ndarray, at: np.ndarray, gamma: float, log_weights: npt.ArrayLike = 0.0
) -> float:
    """The largest log D that mean shift finds from places `at` (modes, d), of centered data Z.

    log D(theta) = log mean_i v_i exp((2 theta . z_i - ||theta||^2) / 2 gamma); a step goes to the
    mean of the data weighted by its terms. log_weights: log v_i, () or (n,).
    """
    gain = -math.inf
    for _ in range(SHIFTS):
        exponent = (2.0 * at @ Z.T - np.sum(at**2, axis=1)[:, None]) / (2.0 * gamma)
        terms = exponent + log_weights
        before, gain = gain, float(into_shares(terms).max()) - math.log(len(Z))
        if gain - before <= SHIFT_GAIN:
            break
        at = terms @ Z
    return gain


def least_error(X: np.ndarray, nats: float, above: float, leading: float) -> tuple[float, bool]:
    """Lower bound on the expected squared error of any decoder of latents alone whose posteriors
    cost `nats` per datum, summed over features, and whether it is proved.

    Above the gamma at which no decoder beats the collapsed one, F / gamma + 2 nats >= F0 / gamma,
    F0 the total variance: so F >= F0 - 2 gamma nats. Proved for gamma = max ||x_i - xbar||^2; where
    that bound is not above `above`, the least such gamma is looked for; it is at least the leading
    eigenvalue of the covariance.
    """
    square = np.sum((X - X.mean(axis=0)) ** 2, axis=1)
    total, high = float(square.mean()), float(square.max())
    bound = total - 2.0 * high * nats
    if bound > above or total - 2.0 * leading * nats <= above:
        return bound, True
    low = leading
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        if best_component(X, middle).gain == 0.0:
            high = middle
        else:
            low = middle
    return total - 2.0 * high * nats, False
