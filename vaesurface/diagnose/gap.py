"""How far from the best of all? What no decoder that sees only z, with any encoder, can be below.

For one gamma the marginal of such a decoder is a mixture of N(t, gamma I) over places t, so that

    energy >= d log gamma + beta (k - 2 U),     U >= (1/n) sum_i log m_i   for every mixture,

m_i = int exp(-||x_i - t||^2 / 2 s) dmu(t), s = beta gamma: over beta, error and KL part are those
of a VAE at gamma = s and beta = 1. The best mixture is the nonparametric maximum likelihood
estimate (Kiefer & Wolfowitz 1956; Lindsay 1983), of which U is the dual value, with a supremum over
t that is bounded from above and not searched.

>>> X = np.array([[1.0, 1.0], [-1.0, -1.0]])
>>> round(largest_likelihood(X, 0.01), 6)  # two data far apart: each has half of the mixture
-0.693147
"""

import math
from collections.abc import Iterable

import numpy as np

from vaesurface import theory
from vaesurface.diagnose.bounds import mean_shift
from vaesurface.diagnose.diagnosis import Facts
from vaesurface.diagnose.shares import into_shares
from vaesurface.diagnose.terms import SAME_NATS, Gap

__all__ = ["gap", "largest_likelihood", "of_facts", "searched_likelihood"]

# Data that are bounded at once, in time n^3. Of more, parts: the best mixture of all is no better,
# on average over parts, than the best of each.
PART = 2000
ROUNDS = 12  # of the weights' fixed point at most, each of which gives a bound
ROUND_GAIN = 1e-3  # nats that a round has to gain for another one
SHIFTS = 15  # steps of expectation and maximization towards the best mixture
LEAST_WEIGHT = 1e-12  # of a component that is kept, times the number of data
PLACES = 32  # of the data and of the mixture, from which the supremum is searched
EPS = float(np.finfo(float).eps)
# Units of rounding per operation: of an exponential's argument, of a sum's terms. Generous, since
# what they are taken for is some 1e-12 nats.
UNITS = 64.0
AXES = 3  # directions at most that a grid can fill
FILLED = 1e-3  # of s: variance of a direction from which it is one of them
GRID_NATS = 0.005  # that the grid's spacing costs, where it is not too many
CORNERS = 3e6  # of the grid times data, at most
COARSER = 1.2  # by what it is made coarser where there are more
PAIRS = 2e6  # of corners and data that are held at once
ROWS = 128  # of data: with as many components as a part has data, what a processor's cache holds
TINY = 1e-300  # stands for a weight that has underflowed


def of_facts(x: np.ndarray, values: np.ndarray, facts: Facts) -> Gap | None:
    """The gap at a VAE's gamma and beta, of data x (n, d) whose covariance has eigenvalues `values`
    (d,); None where it says nothing of decoders like that: gamma that varies, decoders that see
    more than latents, data whose likelihood nobody has named.
    """
    if facts.spike is not None or facts.flexible or facts.binary:
        return None
    k, gamma, beta = len(facts.kl), facts.gamma, facts.beta
    affine = theory.affine_optimum(values, k, gamma, beta)
    lower = [("the best affine VAE", float(affine.energy))]
    if facts.alone and facts.error_status != "estimated" and not facts.contradictions:
        lower.append(("this VAE", facts.energy + 2.0 * facts.energy_noise))
    if facts.search is not None and facts.learned is False:
        lower.append(("a run", facts.search.best))
    return gap(x, k, gamma, beta, lower)


def gap(
    X: np.ndarray, latent: int, gamma: float, beta: float, lower: Iterable[tuple[str, float]]
) -> Gap:
    """What collapse costs at this gamma and beta, at least and at most.

    X (n, d); lower: energies at the same gamma and beta that are known to be reached, and of what.
    """
    d, level = X.shape[1], beta * gamma
    square = np.sum((X - X.mean(axis=0)) ** 2, axis=1)
    collapse = -0.5 * float(square.mean()) / level
    if square.max() <= level:
        # log D of `bounds.best_component` is concave: the collapsed decoder is the best of all.
        proved = searched = collapse
    else:
        proved = largest_likelihood(X, level)
        searched = min(proved, searched_likelihood(X, level))
    collapsed = _energy(d, latent, gamma, beta, collapse)
    known, lowest = min(lower, key=_second, default=("", collapsed))
    least = max(0.0, 0.5 * (collapsed - lowest))
    energy, measured = (_energy(d, latent, gamma, beta, bound) for bound in (proved, searched))
    rounding = UNITS * EPS * (abs(d * math.log(gamma)) + beta * latent + abs(collapsed))
    return Gap(
        energy=float(energy - rounding),
        measured=float(measured - rounding),
        least=float(least) if least > SAME_NATS else 0.0,
        known=known if least > SAME_NATS else "",
        most=max(0.0, float(0.5 * (collapsed - energy + rounding))),
        most_measured=max(0.0, float(0.5 * (collapsed - measured + rounding))),
    )


def _second(pair: tuple[str, float]) -> float:
    return pair[1]


def _energy(d: int, latent: int, gamma: float, beta: float, likelihood: float) -> float:
    """d log gamma + beta (k - 2 U); of a collapsed decoder U is -F0 / 2 s, F0 the variance."""
    return d * math.log(gamma) + beta * (latent - 2.0 * likelihood)


def largest_likelihood(X: np.ndarray, level: float) -> float:
    """U: an upper bound of (1/n) sum_i log m_i, of all mixtures at s = `level`, rounding included.

    For any weights v_i > 0, by Jensen, mean_i log m_i <= log sup_t D(t) - mean_i log(n v_i), with
    D(t) = sum_i v_i e_i, e_i = exp(-||x_i - t||^2 / 2 s). Of two upper bounds of the supremum, in
    any dimension and in few, the better one is taken.
    """
    parts = _parts(X)
    bounds = [min(_of_triples(part, level), _on_a_grid(part, level)) for part in parts]
    sums = sum(len(part) * bound for part, bound in zip(parts, bounds, strict=True))
    return float(sums) / len(X)


def _parts(X: np.ndarray) -> list[np.ndarray]:
    """The data in parts of at most PART."""
    count = math.ceil(len(X) / PART)
    return [X[i::count] for i in range(count)]


def _of_triples(X: np.ndarray, level: float) -> float:
    """U by the distances between data.

    Let x_j be the datum nearest to t, so that e_j is the largest. Then e_i e_k <= (e_i e_k
    e_j)^(2/3), and the squared distances of three points from t sum to at least a third of those
    between them, R_ij^2 + R_ik^2 + R_jk^2. So

        D(t)^2 = sum_ik v_i v_k e_i e_k <= Q_j = sum_ik v_i v_k b_ij b_ik b_jk ,
        b_ij = exp(-R_ij^2 / 9 s) .

    With pairs in place of triples, e_i <= (e_i e_j)^(1/2), the exponent would be R^2 / 8 s where
    it is R^2 / 6 s here, of equidistant points, and is R^2 / 4 s at their mean. Weights: log max_j
    Q_j is as small as can be relative to mean log v where v_i sum_j p_j dQ_j / dv_i is the same for
    all i, for some p on the largest Q_j: a fixed point, damped by a root.
    """
    n = len(X)
    kernel = np.exp(-_squared_distances(X) / (9.0 * level))
    root, product = np.empty((n, n)), np.empty((n, n))
    log_v, p, best = np.zeros(n), np.full(n, 1.0 / n), math.inf
    for _ in range(ROUNDS):
        log_v -= log_v.mean()
        log_scale = log_v.max()
        v = np.exp(log_v - log_scale)
        # A matrix times its own transpose is half the work.
        np.multiply(kernel, np.sqrt(v), out=root)
        np.matmul(root, root.T, out=product)
        product *= kernel
        Q = v @ product
        rounding = UNITS * EPS * (n + 1024.0 + np.abs(log_v).max())
        bound = 0.5 * math.log(Q.max()) + log_scale - math.log(n) + rounding
        before, best = best, min(best, bound)
        if before - bound < ROUND_GAIN:
            break
        p = np.maximum(p * Q, TINY)
        p /= p.sum()
        log_v = 0.5 * (log_v - np.log(np.maximum(product @ p, TINY)))
    return best


def _on_a_grid(X: np.ndarray, level: float) -> float:
    """U by the values of D on a grid, infinite where the data fill more than AXES directions.

    Distances in the leading directions are no longer than they are, and the supremum lies in the
    data's convex hull. Let t = c + u in a box of half width h around c, of r directions: D(t)
    exp(||u||^2 / 2 s) is a sum of exponentials of linear functions of u, convex, and so largest at
    a corner, where ||u||^2 = r h^2. Hence log sup D <= r h^2 / 2 s + its largest value at corners.
    """
    n, Z = len(X), X - X.mean(axis=0)
    _, singular, directions = np.linalg.svd(Z, full_matrices=False)
    r = int(np.sum(singular**2 > n * FILLED * level))
    if not 0 < r <= AXES:
        return math.inf
    Y = Z @ directions[:r].T
    _, log_m = _best_mixture(Y, level)
    corners, half = _corners(Y, math.sqrt(2.0 * GRID_NATS * level / r))
    highest = -math.inf
    for some in np.array_split(corners, math.ceil(len(corners) * n / PAIRS)):
        square = np.sum((some[:, None] - Y) ** 2, axis=2)
        highest = max(highest, float(into_shares(-square / (2.0 * level) - log_m).max()))
    reach = X.shape[1] * np.abs(Z).max() / math.sqrt(level)
    rounding = UNITS * EPS * (n + 1024.0 + np.abs(log_m).max() + 40.0 * reach)
    height = highest - math.log(n) + r * half**2 / (2.0 * level)
    return float(log_m.mean()) + height + float(rounding)


def _corners(Y: np.ndarray, half: float) -> tuple[np.ndarray, float]:
    """Corners (m, r) of boxes over the data (n, r), of that half width or a larger one, so that
    there are no more than CORNERS.
    """
    width = np.ptp(Y, axis=0)
    while np.prod(np.ceil(width / (2.0 * half)) + 1.0) * len(Y) > CORNERS:
        half *= COARSER
    counts = np.ceil(width / (2.0 * half)).astype(int) + 1
    axes = [low + 2.0 * half * np.arange(m) for low, m in zip(Y.min(axis=0), counts, strict=True)]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, Y.shape[1]), half


def _squared_distances(X: np.ndarray) -> np.ndarray:
    """Between rows (n, n), not above the true ones: what rounding can have added is taken off."""
    Z = X - X.mean(axis=0)
    square = np.sum(Z**2, axis=1)
    sums = square[:, None] + square
    rounding = UNITS * EPS * (X.shape[1] + 8.0)
    return np.maximum((1.0 - rounding) * sums - 2.0 * Z @ Z.T, 0.0)


def searched_likelihood(X: np.ndarray, level: float) -> float:
    """The same with a supremum that is searched for a mixture that is nearly the best: close, and
    no proof.
    """
    parts = _parts(X)
    return sum(len(part) * _searched_bound(part, level) for part in parts) / len(X)


def _searched_bound(X: np.ndarray, level: float) -> float:
    """mean_i log m_i + log sup_t (1/n) sum_i exp(-||x_i - t||^2 / 2 s) / m_i, by mean shift."""
    Z = X - X.mean(axis=0)
    places, log_m = _best_mixture(Z, level)
    square = np.sum(Z**2, axis=1)
    starts = np.concatenate([_spaced(Z), _spaced(places)])
    height = mean_shift(Z, starts, level, -square / (2.0 * level) - log_m)
    return float(log_m.mean()) + max(height, 0.0)


def _spaced(rows: np.ndarray) -> np.ndarray:
    """At most PLACES of some rows."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, PLACES).astype(int))]


def _best_mixture(Z: np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Places (m, d) of the components of a mixture that is nearly the best, and log m_i (n,), by
    expectation and maximization from one component at every datum.
    """
    n = len(Z)
    places, log_weights, log_m = Z, np.full(n, -math.log(n)), np.zeros(n)
    for _ in range(SHIFTS):
        log_m, sums, moments = _expected(Z, level, places, log_weights)
        kept = sums > LEAST_WEIGHT
        places = moments[kept] / sums[kept, None]
        log_weights = np.log(sums[kept] / n)
    return places, log_m


def _expected(
    Z: np.ndarray, level: float, places: np.ndarray, log_weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log m_i (n,); and of components at `places` (m, d) the sums (m,) of their shares in the data
    Z (n, d), and the sums (m, d) of the data times these shares.
    """
    halves = 0.5 * np.sum(places**2, axis=1)
    log_m, sums, moments = np.zeros(len(Z)), np.zeros(len(places)), np.zeros(places.shape)
    for first in range(0, len(Z), ROWS):
        rows = Z[first : first + ROWS]
        # Distances before they are divided: of sharp components digits cancel here, not later.
        terms = rows @ places.T
        terms -= halves
        terms -= 0.5 * np.sum(rows**2, axis=1)[:, None]
        terms /= level
        terms += log_weights
        log_m[first : first + ROWS] = into_shares(terms)
        sums += terms.sum(axis=0)
        moments += terms.T @ rows
    return log_m, sums, moments
