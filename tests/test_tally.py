"""Points told apart and counted; the chance of a new one is estimated without bias that matters and
bounded honestly.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import data, theory, vae
from vaesurface.problem import Problem
from vaesurface.stationary import tally

WELLS = Problem(loss=lambda w: w)


def test_points_that_differ_by_a_signed_permutation_of_the_latents_are_one():
    X = data.gaussian(14, [3.0, 1.5, 0.6, 0.3], seed=3)
    problem = vae.threshold_vae(X, 2, 0.0)
    affine = list(theory.stationary_points(X, 2))
    best = next(e for e in affine if e.negative == 0).params
    mirrored = best._replace(
        weight=-best.weight[:, ::-1], mean=-best.mean[:, ::-1], log_std=best.log_std[:, ::-1]
    )
    half = best._replace(weight=-best.weight)
    assert tally.distance(problem, best, mirrored) < 1e-12
    assert tally.distance(problem, best, half) > 0.1
    batch = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(e.params for e in affine), mirrored, half
    )
    loss = jax.vmap(problem.loss)(batch)
    groups = tally.distinct(problem, loss, batch)
    assert len(groups) == len(affine) + 1
    assert sorted(map(len, groups)) == [1] * len(affine) + [2]
    best = tally.best_of(problem, loss, batch)
    counts = dict(starts=len(affine) + 2, failed=0, distinct=len(affine) + 1, once=len(affine))
    assert best._asdict().items() >= counts.items()
    assert best.hits == 2
    assert best.best in groups[0]
    assert loss[best.best] == loss.min()


def test_starts_that_reach_nothing_are_starts_but_no_points():
    ends = np.array([[0.0, -5.0, 1.0], [np.nan, 0.0, 3.0]])
    stationary = np.array([[True, False, True], [True, True, True]])
    best = tally.best_of(WELLS, ends, ends, stationary)
    counts = dict(starts=6, failed=2, distinct=3, once=2, best=0, hits=2)
    assert best._asdict().items() >= counts.items()
    assert best.unseen == pytest.approx(2 / 6)
    assert best.words.startswith(
        "best of 6 starts (met 2 times), 2 of which reached no stationary point; "
        "3 distinct points, 2 of them met once: "
        "the next start finds a new one with probability about 0.33 (at most "
    )


def test_starts_none_of_which_reaches_a_point_bound_the_chance_of_the_next_one():
    none = tally.best_of(WELLS, np.zeros(6), np.zeros(6), np.zeros(6, bool))
    assert none.best is None
    assert none._asdict().items() >= dict(failed=6, distinct=0, hits=0, unseen=0.0).items()
    assert none.upper == pytest.approx(1 - 0.05 ** (1 / 3))  # none of three starts reached one
    assert "none reached a stationary point" in none.words


def test_one_start_says_nothing_of_the_next():
    alone = tally.best_of(WELLS, np.zeros(1), np.zeros(1))
    assert alone.unseen == alone.upper == 1.0
    assert alone.words.startswith(
        "best of 1 start (met once); 1 distinct point, 1 of them met once"
    )


def test_a_tally_needs_starts_and_one_flag_each():
    with pytest.raises(ValueError, match="expected at least one start"):
        tally.best_of(WELLS, np.zeros(0), np.zeros(0))
    with pytest.raises(ValueError, match=r"expected a mask of shape \(3,\), got \(2,\)"):
        tally.best_of(WELLS, np.zeros(3), np.zeros(3), np.zeros(2, bool))


@pytest.mark.parametrize("draws", [10, 30, 300])
@pytest.mark.parametrize(
    "weights",
    [
        np.ones(5),
        np.ones(200),
        1 / np.arange(1, 1001.0),
        0.5 ** np.arange(30),
        np.r_[500.0, np.ones(40)],
    ],
    ids=["uniform 5", "uniform 200", "zipf", "geometric", "one and a tail"],
)
@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_the_estimate_is_right_in_the_mean_and_the_bound_in_19_of_20_cases(weights, draws, lost):
    rng = np.random.default_rng(draws)
    p = np.append((1 - lost) * weights / weights.sum(), lost)  # the last outcome is "no point"
    repeats = 2000
    estimate, upper, truth = np.empty((3, repeats))
    for i in range(repeats):
        outcome = rng.choice(p.size, draws, p=p)
        met = np.zeros(p.size, bool)
        met[outcome] = True
        truth[i] = p[:-1][~met[:-1]].sum()
        estimate[i], upper[i] = tally.missing_mass(np.where(outcome == p.size - 1, -1, outcome))
    excess = (p[:-1] ** 2 * (1 - p[:-1]) ** (draws - 1)).sum()  # E f1/N - E M0, exactly
    assert 0 <= excess <= 1 / draws
    error = (estimate - truth).std() / np.sqrt(repeats)
    covered = (truth <= upper).mean()
    print(
        f"missing {truth.mean():.4f}, estimated {estimate.mean():.4f} -+ {error:.4f}, "
        f"bound {upper.mean():.3f}, {covered:.4f}"
    )
    assert abs((estimate - truth).mean() - excess) <= 4 * error + 1e-12
    assert covered >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / repeats)
