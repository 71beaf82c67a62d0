"""Which points are one, and is there more to find?

`distinct` groups the ends of many starts into points, `best_of` counts them and says how probably
one more start would end in a point not met so far; `align` relabels one point's latents as
another's. Energies in the paper's units; plain NumPy at the border, so nothing here but `align` is
for `jit`.

>>> import numpy as np
>>> wells = Problem(loss=lambda w: w)
>>> ends = np.array([0.0, 2.0, 0.0, 1.0, 0.0, 1.0, 0.0, 1.0])
>>> print(best_of(wells, ends, ends).words)
best of 8 starts (met 4 times); 3 distinct points, 1 of them met once: the next start finds a new
one with probability about 0.12 (at most 0.75 with 95 % confidence)
"""

from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy  # its modules load when used
from jax.typing import ArrayLike
from optax.assignment import hungarian_algorithm

from vaesurface.problem import Params, Problem, adopt
from vaesurface.refusal import number, shown

__all__ = ["Best", "align", "best_of", "distance", "distinct", "missing_mass"]

UPPER_CONFIDENCE = 0.95  # of `Best.upper`
# Energies and points are one up to this part of their size: refinement leaves far less between.
ONE_POINT = 1e-6


class Best(NamedTuple):
    """The lowest point of many starts, and what their coincidences say about points not met.

    starts: how many.
    failed: those that ended at no stationary point.
    distinct: points met.
    once: those met exactly once.
    best: index of the lowest end, None where all failed.
    hits: how many starts ended in that point.
    unseen: estimated probability that the next start ends in a point not met so far.
    upper: its upper bound, right with 95 % confidence.
    """

    starts: int
    failed: int
    distinct: int
    once: int
    best: int | None
    hits: int
    unseen: float
    upper: float

    @property
    def words(self) -> str:
        """The verdict in one sentence."""
        chance = (
            f"with probability about {self.unseen:.2g} (at most {self.upper:.2g} with "
            f"{100 * UPPER_CONFIDENCE:.0f} % confidence)"
        )
        best = f"best of {_count(self.starts, 'start')}"
        if self.best is None:
            return f"{best}: none reached a stationary point; the next one reaches one {chance}"
        met = "once" if self.hits == 1 else f"{self.hits} times"
        failed = f", {self.failed} of which reached no stationary point" if self.failed else ""
        points = f"{_count(self.distinct, 'distinct point')}, {self.once} of them met once"
        return f"{best} (met {met}){failed}; {points}: the next start finds a new one {chance}"


def best_of(
    problem: Problem, loss: ArrayLike, params: Params, stationary: ArrayLike | None = None
) -> Best:
    """The points that independent starts ended in, counted, and what they have missed, estimated.

    loss (...) and params, leaves (..., *), as in a `StationaryPoint` with leading axes, which are
    raveled; stationary (...) says which ends are stationary points (all with a finite loss, by
    default). The others are starts but no points: "no point" is an outcome that is never new.
    Starts must be drawn alike, as seeds of one scale are; the "next start" is one more of them.
    Raises ValueError for no start and for a mask of another shape.
    """
    if np.size(loss) == 0:
        raise ValueError("expected at least one start, got none; run some")
    if stationary is not None and np.shape(stationary) != np.shape(loss):
        raise ValueError(
            f"expected a mask of shape {np.shape(loss)}, got {np.shape(stationary)}; "
            "give one flag per start"
        )
    losses, leaves = _raveled(loss, params)
    reached = np.isfinite(losses)
    if stationary is not None:
        reached &= np.ravel(stationary).astype(bool)
    kept = np.flatnonzero(reached)
    groups = distinct(problem, losses[kept], jax.tree.map(itemgetter(kept), leaves))
    outcome = np.full(losses.size, -1)
    for i, group in enumerate(groups):
        outcome[kept[group]] = i
    unseen, upper = missing_mass(outcome)
    return Best(
        starts=losses.size,
        failed=losses.size - kept.size,
        distinct=len(groups),
        once=sum(len(group) == 1 for group in groups),
        best=int(kept[groups[0][0]]) if groups else None,
        hits=len(groups[0]) if groups else 0,
        unseen=unseen,
        upper=upper,
    )


def missing_mass(outcome: ArrayLike, confidence: float = UPPER_CONFIDENCE) -> tuple[float, float]:
    """Probability that the next draw is a value not in outcome (N,): an estimate and a bound.

    Values are integers, of which -1 is never new.

    The estimate is Good and Turing's, the share of draws whose value occurs once (I. J. Good,
    Biometrika 40, 1953); it exceeds the truth by at most 1/N in the mean. The upper bound holds for
    independent draws alike, whatever their distribution: values missing from all draws are missing
    from half of them, drawn by lot; how many of the other half take a value missing from the first
    is binomial, so Clopper and Pearson's limit (Biometrika 26, 1934) bounds their probability, with
    95 % confidence.

    Bounds on the estimate's own error hold for every distribution too (McAllester and Schapire,
    COLT 2000; McAllester and Ortiz, JMLR 4, 2003) but say nothing of a few dozen draws: they shrink
    as their number's root alone.
    """
    values = np.ravel(outcome)
    if values.dtype.kind not in "iu" or not values.size:
        raise ValueError(
            f"expected outcomes (N,) as integers, one or more, got {shown(outcome)}; number what "
            f"was drawn"
        )
    number("confidence", confidence, above=0.0, most=1.0)
    counts = np.unique(values[values >= 0], return_counts=True)[1]
    # By lot, so that an order of the draws, such as an axis of scales, does not matter; by the same
    # one every time.
    mixed = np.random.default_rng(0).permutation(values)
    first, second = np.split(mixed, [(values.size + 1) // 2])
    new = int(np.sum((second >= 0) & ~np.isin(second, first)))
    upper = 1.0
    if new < second.size:
        upper = float(scipy.special.betaincinv(new + 1, second.size - new, confidence))
    return float(np.sum(counts == 1) / values.size), upper


def distinct(
    problem: Problem, loss: ArrayLike, params: Params, tolerance: float = ONE_POINT
) -> list[np.ndarray]:
    """Groups of points that are one, as arrays of indices, lowest energy first.

    One are those of the same energy, and of the same parameters up to a signed permutation of the
    latents, both to a tolerance relative to their size. loss (...) and params, leaves (..., *), as
    in a `StationaryPoint` with leading axes, which are raveled. Not for `jit`.
    """
    losses, leaves = _raveled(loss, params)

    def same(i: int, j: int) -> bool:
        if not abs(losses[i] - losses[j]) <= tolerance * max(1.0, abs(losses[i])):
            return False
        one, other = (jax.tree.map(itemgetter(k), leaves) for k in (i, j))
        return distance(problem, one, other) <= tolerance * max(1.0, _extent(problem, one))

    groups: list[list[int]] = []
    for i in np.argsort(losses, kind="stable"):
        for group in reversed(groups):
            if same(i, group[0]):
                group.append(int(i))
                break
        else:
            groups.append([int(i)])
    return [np.array(group) for group in groups]


def _raveled(loss: ArrayLike, params: Params) -> tuple[np.ndarray, Params]:
    """loss (N,) and params, leaves (N, *)."""
    losses, axes = np.ravel(loss), np.ndim(loss)

    def raveled(leaf: ArrayLike) -> np.ndarray:
        return np.reshape(np.asarray(leaf), (losses.size, *np.shape(leaf)[axes:]))

    return losses, jax.tree.map(raveled, params)


def distance(problem: Problem, a: Params, b: Params) -> float:
    """Euclidean distance between two points, the least over signed permutations of the latents.

    The square is a sum over pairs of latents, so the best permutation is a linear assignment and
    the best signs are each pair's own. Not for `jit`.
    """
    (*parts_a, rest_a), (*parts_b, rest_b) = (
        map(np.asarray, adopt(problem).latents(w)) for w in (a, b)
    )
    same, mirrored = _squares(*parts_a, *parts_b)
    pairs = np.minimum(same, mirrored)
    matched = pairs[scipy.optimize.linear_sum_assignment(pairs)].sum()
    return float(np.sqrt(matched + np.sum((rest_a - rest_b) ** 2)))


def align(problem: Problem, a: Params, b: Params) -> Params:
    """b with its latents relabelled so that it is nearest to a: at `distance` from it.

    By a signed permutation; b as it is where the problem has no latents. For `jit` and `vmap`.
    Raises ValueError for latents without `relabel`.
    """
    problem = adopt(problem)
    (*parts_a, _), (*parts_b, _) = problem.latents(a), problem.latents(b)
    same, mirrored = _squares(*parts_a, *parts_b)
    if not len(same):
        return b
    row, column = hungarian_algorithm(jnp.minimum(same, mirrored))
    order = jnp.zeros(len(same), int).at[row].set(column)
    chosen = jnp.arange(len(same)), order
    return problem.relabel(b, order, jnp.where(mirrored[chosen] < same[chosen], -1.0, 1.0))


def _squares(odd_a: Any, even_a: Any, odd_b: Any, even_b: Any) -> tuple[Any, Any]:
    """Squared distances (k, k) of each latent of a from each of b as it is, and with its sign
    turned. NumPy's or JAX's.
    """

    def square(x: Any, y: Any) -> Any:
        return ((x[:, None] - y[None]) ** 2).sum(axis=-1)

    even = square(even_a, even_b)
    return even + square(odd_a, odd_b), even + square(odd_a, -odd_b)


def _extent(problem: Problem, params: Params) -> float:
    """Norm of a point, in the coordinates that its distance to others is taken in."""
    return float(optax.tree.norm(adopt(problem).latents(params)))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
