"""Are the rows of mean those of reconstruction? Whether one depends on the other at all.

Two answers must both be no: do distances between reconstructions go with those between means more
than in random order; and are reconstructions of data alike whose means are no further apart than
draws from one posterior. A decoder of whatever shape changes its answer little there, or noise
would change it.

>>> import numpy as np
>>> from vaesurface.diagnose.export import check
>>> x = np.random.default_rng(0).standard_normal((200, 1))
>>> shuffled = check(x, 0.9 * x[::-1], 0 * x - 1.0, 0.8 * x, gamma=0.2)
>>> [c.what for c in find(shuffled, np.array([True]), level=0.2)]
['reconstruction does not depend on mean: rows of mean are not those of x']
"""

import math
from collections.abc import Callable

import numpy as np

from vaesurface.diagnose import posteriors
from vaesurface.diagnose.export import Export
from vaesurface.diagnose.terms import Contradiction

__all__ = ["find"]

ROWS = 300  # that are looked at, at most
FEWEST_ROWS = 100
ROWS_PER_LATENT = 5
# Part of the reconstructions' variance that is due to latents, from which these must show.
LATENTS_SHARE = 0.5
STILL = 1e-9  # of the data's variance: answers that vary less do not vary
ORDERS = 199  # random ones; with the given one they make the p-value exact
DEPENDENT = 0.01  # p-value up to which rows belong together
FEWEST_PAIRS = 20  # of data with means as near as draws
SEED_OF_ORDERS = 191210702  # a diagnosis is the same twice, and no one else orders the same way


def find(export: Export, active: np.ndarray, level: float) -> tuple[Contradiction, ...]:
    """That rows do not belong together, if so; active (k,): latents that carry something; level:
    beta gamma, infinite where the likelihood has none.
    """
    n, count = len(export.x), int(active.sum())
    enough = 0 < count and n >= max(FEWEST_ROWS, ROWS_PER_LATENT * count)
    if not enough or _share_of_latents(export, active, level) < LATENTS_SHARE:
        return ()
    rows = np.unique(np.linspace(0, n - 1, min(n, ROWS)).astype(int))
    answers = export.reconstruction[rows] - export.reconstruction[rows].mean(axis=0)
    width = np.sqrt(np.mean(np.exp(2.0 * export.log_std[:, active]), axis=0))
    mean = export.mean[rows][:, active] / width
    if _follow(mean, answers) <= DEPENDENT or _are_alike(mean, answers) <= DEPENDENT:
        return ()
    return (
        Contradiction(
            what="reconstruction does not depend on mean: rows of mean are not those of x",
            remedy="Encode and decode the same rows in one order: x, mean, log_std and all "
            "reconstructions row by row (a DataLoader with shuffle=True gives another order each "
            "time it is gone through).",
        ),
    )


def _share_of_latents(export: Export, active: np.ndarray, level: float) -> float:
    """Part of the reconstructions' variance that latents should make, at most: a decoder that sees
    more has the rest from there.

    A latent that carries c nats at its optimum makes beta gamma (e^2c - 1) of variance. Latents
    drawn from the prior move a decoder of them alone by twice its variance.
    """
    total = float(export.reconstruction.var(axis=0).sum())
    if total <= STILL * float(export.x.var(axis=0).sum()):
        return 0.0
    carried = np.minimum(posteriors.carried(export.mean, export.log_std)[active], math.log(1e6))
    share = level * float(np.sum(np.expm1(2.0 * carried))) / total
    if export.prior_reconstruction is not None:
        moved = np.sum((export.prior_reconstruction - export.reconstruction) ** 2, axis=1)
        share = min(share, float(moved.mean()) / (2.0 * total))
    return share if math.isfinite(share) else 0.0


def _follow(mean: np.ndarray, answers: np.ndarray) -> float:
    """P-value of the answers' dependence (n, d) on the means (n, k), whatever its form: covariance
    of distances (Szekely, Rizzo & Bakirov, Ann. Stat. 35, 2007).
    """
    near, far = (_centered(np.sqrt(_squared_distances(rows))) for rows in (mean, answers))

    def together(order: np.ndarray) -> float:
        return float(np.sum(near * far[order][:, order]))

    return _p_value(together, len(mean))


def _centered(distances: np.ndarray) -> np.ndarray:
    """Less the means of rows and columns."""
    rows = distances.mean(axis=0)
    return distances - rows[None] - rows[:, None] + rows.mean()


def _are_alike(mean: np.ndarray, answers: np.ndarray) -> float:
    """P-value of how near the answers (n, d) are to each other where means (n, k), in posterior
    deviations, are no further apart than two draws; 1 where few are.
    """
    apart = _squared_distances(mean)
    first, second = np.nonzero(np.triu(apart <= 2.0 * mean.shape[1], 1))
    if len(first) < FEWEST_PAIRS:
        return 1.0
    between = _squared_distances(answers)

    def nearness(order: np.ndarray) -> float:
        return -float(np.mean(between[order[first], order[second]]))

    return _p_value(nearness, len(mean))


def _p_value(statistic: Callable[[np.ndarray], float], n: int) -> float:
    """Share of orders of n rows, ORDERS random ones and the given one, in which it is as large."""
    rng = np.random.default_rng(SEED_OF_ORDERS)
    given = statistic(np.arange(n))
    others = [statistic(rng.permutation(n)) for _ in range(ORDERS)]
    return (1 + sum(other >= given for other in others)) / (1 + ORDERS)


def _squared_distances(rows: np.ndarray) -> np.ndarray:
    """(n, n), between rows."""
    square = np.sum(rows**2, axis=1)
    return np.maximum(square[:, None] + square - 2.0 * rows @ rows.T, 0.0)
