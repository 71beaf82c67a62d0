"""Rows of the weight at zero, where the energy is flat to all orders: 50 digits as an oracle."""

import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from vaesurface import data, stationary, vae
from vaesurface.energy import VAEParams
from vaesurface.stationary import Kind
from vaesurface.theory import rows

ALPHA, GAMMA = 0.3, 0.2


def point(X, mean, std, dead):
    """Parameters with those rows at zero and the bias that belongs to them: only this matters to
    the rows.
    """
    mean, std = np.broadcast_arrays(mean, std)
    weight = np.random.default_rng(1).normal(size=(X.shape[1], mean.shape[1]))
    weight[dead] = 0.0
    return jax.tree.map(
        jnp.asarray, VAEParams(weight, X.mean(axis=0), np.log(GAMMA), mean, np.log(std))
    )


def energy_of_row(X, params, row, u, t):
    """Change of the mean energy when the row is moved to t u, by 50 digits."""
    total = mp.mpf(0)
    with mp.workdps(50):
        for x, mu, log_std in zip(
            X[:, row], np.asarray(params.mean), np.asarray(params.log_std), strict=True
        ):
            w = [mp.mpf(float(t)) * mp.mpf(float(uj)) for uj in u]
            m = mp.fsum(wj * mp.mpf(float(muj)) for wj, muj in zip(w, mu, strict=True))
            s = mp.sqrt(
                mp.fsum(
                    (wj * mp.exp(mp.mpf(float(ls)))) ** 2 for wj, ls in zip(w, log_std, strict=True)
                )
            )
            first, second = mp.mpf(0), mp.mpf(0)
            for sign in (1, -1):
                a = (mp.mpf(ALPHA) - sign * m) / s
                q, density = mp.erfc(a / mp.sqrt(2)) / 2, mp.npdf(a)
                first += sign * s * (density - a * q)
                second += s**2 * ((1 + a**2) * q - a * density)
            total += -2 * (mp.mpf(float(x)) - mp.mpf(float(params.bias[row]))) * first + second
        return total / (len(X) * mp.mpf(GAMMA))


def test_energies_of_moved_rows_are_accurate_down_to_the_smallest_floats():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(7, 3))
    params = point(X, rng.normal(size=(7, 2)), rng.uniform(0.2, 0.5, (7, 2)), [0, 1, 2])
    u = np.array([0.6, -0.8])
    t = ALPHA / (
        np.sqrt((np.exp(2 * params.log_std) @ u**2).max())
        * np.array([36.0, 30.0, 20.0, 9.0, 3.0, 1.0, 0.2])
    )
    energy, error = rows.energies(X, params, ALPHA, GAMMA, u, t)
    smallest, worst = 1.0, 0.0
    for (side, sign), i, row in itertools.product(enumerate((1, -1)), range(t.size), range(3)):
        exact, got, bound = (
            energy_of_row(X, params, row, sign * u, t[i]),
            float(energy[side, i, row]),
            float(error[i, row]),
        )
        assert abs(got - exact) <= bound <= 1e-9 * abs(exact)
        smallest, worst = min(smallest, float(abs(exact))), max(worst, float(abs(got / exact - 1)))
    print("smallest energy", smallest, "largest relative error", worst)
    assert smallest < 1e-200


def test_rows_at_zero_are_told_apart_and_those_that_fall_do():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(8, 6))
    X[:, 1] = 0.7  # never varies
    X[:, 2] = X[:, 4] = 0.0
    X[4, 2], X[4, 4] = 0.05, 1e-4  # faint and fainter
    params = point(X, rng.normal(size=(8, 2)), rng.uniform(0.2, 0.5, (8, 2)), [1, 2, 3, 4])
    found = rows.dead_rows(X, params, ALPHA, GAMMA)
    assert found.dead.tolist() == [False, True, True, True, True, False]
    assert found.strict.tolist() == [False, True, False, False, False, False]
    assert found.falling.tolist() == [False, False, True, True, True, False]
    np.testing.assert_allclose(jnp.linalg.norm(found.direction, axis=1), [0, 0, 1, 1, 1, 0])
    assert (
        (found.drop > 0).tolist()
        == found.way.any(axis=1).tolist()
        == [False, False, True, True, False, False]
    )
    energies = []
    for row in (2, 3, 4):
        u = np.asarray(found.direction[row])
        spread, center = (
            np.sqrt(np.exp(2 * params.log_std) @ u**2),
            abs(np.asarray(params.mean) @ u),
        )
        for a in (1e4, 1e5):  # where no float goes: energies of 10^-(2 10^7) and less
            assert energy_of_row(X, params, row, u, ALPHA / (a * spread.max())) < 0
        if row == 4:
            assert (
                energy_of_row(X, params, row, u, ALPHA / (35 * spread.max())) > 0
            )  # it has risen before floats begin
            continue
        start = ALPHA / (34.0 * spread + center).max()
        distance = float(found.way[row] @ u)  # the farthest fall is along the same ray here
        assert distance == pytest.approx(float(jnp.linalg.norm(found.way[row])))
        for t in np.geomspace(start, distance, 6):
            energies.append(energy_of_row(X, params, row, u, t))
            assert energies[-1] < 0
        assert -energies[-1] == pytest.approx(float(found.drop[row]), rel=1e-9)
    print("weakest descent", mp.nstr(max(energies), 3), "drops", np.asarray(found.drop))
    assert -1e-230 < max(energies) < 0
    # For a feature that never varies the energy rises both ways.
    energy, error = rows.energies(
        X, params, ALPHA, GAMMA, np.array([1.0, 0.0]), np.geomspace(0.02, 3.0, 20)
    )
    assert (energy[:, :, 1] > error[None, :, 1]).all()

    flipped = X * np.array([1.0, 1.0, -1.0, 1.0, 1.0, 1.0])
    other = rows.dead_rows(
        flipped, params._replace(bias=jnp.asarray(flipped.mean(axis=0))), ALPHA, GAMMA
    )
    np.testing.assert_allclose(other.direction[2], -found.direction[2])
    np.testing.assert_allclose(other.drop, found.drop, rtol=1e-12)

    affine = rows.dead_rows(X, params, 0.0, GAMMA)  # then the Hessian knows
    assert affine.dead.sum() == 4 and not affine.strict.any() and not affine.falling.any()
    alphas = jnp.array([0.0, ALPHA])
    both = jax.jit(jax.vmap(lambda a: rows.dead_rows(X, params, a, GAMMA)))(alphas)
    assert both.falling[1].tolist() == found.falling.tolist() and not both.falling[0].any()
    np.testing.assert_allclose(both.drop[1], found.drop, rtol=1e-12)


def test_the_widest_posterior_decides_and_then_the_farthest_mean():
    X = np.array([[1.0], [-2.0], [1.0]])
    std, mean = np.array([[0.5], [0.3], [0.2]]), np.array([[0.1], [2.0], [0.5]])
    found = rows.dead_rows(X, point(X, mean, std, [0]), ALPHA, GAMMA)
    # Datum 0 is the widest and wants w > 0, though datum 1, of the farthest mean, wants w < 0, and
    # soon prevails.
    assert found.falling.all() and found.direction[0, 0] == 1.0
    assert 0 < found.drop[0] < 1e-20
    assert energy_of_row(X, point(X, mean, std, [0]), 0, [1.0], 3 * found.way[0, 0]) > 0
    # The other way the energy rises at first, by less than any rounding of it, and falls far: so
    # descent goes there.
    other = rows.dead_rows(X, point(X, mean, std, [0]), ALPHA, GAMMA, noise=1e-14)
    assert other.falling.all() and other.direction[0, 0] == 1.0 and other.way[0, 0] < 0
    assert -energy_of_row(
        X, point(X, mean, std, [0]), 0, [-1.0], -other.way[0, 0]
    ) == pytest.approx(float(other.drop[0]))
    assert other.drop[0] > 0.1

    # Not so where the widest datum is at the bias, or at mean zero, or two equally wide ones
    # disagree.
    X = np.array([[0.0], [-2.0], [2.0]])
    for mean_, std_ in (
        (mean, std),
        (np.array([[0.0], [2.0], [0.5]]), std),
        (np.array([[0.1], [2.0], [0.5]]), np.array([[0.1], [0.5], [0.5]])),
    ):
        params = point(X, mean_, std_, [0])
        found = rows.dead_rows(X, params, ALPHA, GAMMA)
        assert found.dead.all() and not found.strict.any() and not found.falling.any()
    for sign in (1, -1):
        assert energy_of_row(X, point(X, mean, std, [0]), 0, [sign], ALPHA / (300 * std.max())) > 0


def test_only_a_feature_that_never_varies_has_a_row_at_a_strict_minimum():
    X = np.random.default_rng(3).normal(size=(7, 4))
    X[:, 1], X[:, 2], X[:, 3] = 0.1, 0.7, 0.7
    X[4, 2] += 2e-14
    params = point(X, np.ones((7, 1)), np.linspace(0.2, 0.5, 7)[::-1, None], [1, 2, 3])
    params = params._replace(bias=params.bias.at[1].add(1e-16).at[3].add(1e-7))
    found = rows.dead_rows(X, params, ALPHA, GAMMA)
    assert found.strict.tolist() == [False, True, False, False] and not found.falling.any()
    far = rows.dead_rows(
        X, params, ALPHA, GAMMA, 1e-6
    )  # so far from the point that is meant, the bias may be off
    assert far.strict.tolist() == [False, True, False, True]
    # The one that varies by a rounding falls: towards w < 0, as its widest datum is below the mean,
    # by less than a float holds.
    below = X[0, 2] - float(params.bias[2])
    assert -1e-13 < below < 0
    assert energy_of_row(X, params, 2, [-1.0], 1e-8) < 0 < energy_of_row(X, params, 2, [1.0], 1e-8)


def test_what_the_distance_to_the_stationary_point_could_turn_round_decides_nothing():
    X = np.array([[1.0], [-2.0], [1.0]])
    params = point(
        X, [[0.1], [2.0], [0.5]], [[0.5 + 1e-6], [0.5], [0.2]], [0]
    )  # the widest and the next disagree
    for uncertainty, falls in (
        (0.0, True),
        (1e-7, True),
        (1e-6, False),
        (jnp.nan, False),
        (jnp.inf, False),
    ):
        assert rows.dead_rows(X, params, ALPHA, GAMMA, uncertainty).falling[0] == falls
    params = point(X, [[1e-6], [0.0], [0.0]], [[0.5], [0.3], [0.2]], [0])  # a sign
    for uncertainty, falls in ((0.0, True), (1e-7, True), (1e-6, False)):
        assert rows.dead_rows(X, params, ALPHA, GAMMA, uncertainty).falling[0] == falls
    X[0] = -0.5 + 1e-6  # a deviation
    params = point(X, [[0.1], [2.0], [0.5]], [[0.5], [0.3], [0.2]], [0])
    for uncertainty, falls in ((0.0, True), (1e-8, True), (1e-6, False)):
        assert rows.dead_rows(X, params, ALPHA, GAMMA, uncertainty).falling[0] == falls


@pytest.mark.slow
def test_a_row_left_undecided_by_symmetry_stays_so_near_the_stationary_point():
    X = np.tile([(1, 0.3), (1, -0.3), (-1, 0.3), (-1, -0.3)], (50, 1))
    problem = vae.threshold_vae(X, 1, 0.2, beta=0.05)

    def symmetric(v):
        w, mean, log_std, log_gamma = v
        weight = jnp.array([[1.0], [0.0]]) * w
        return VAEParams(
            weight, jnp.zeros(2), log_gamma, mean * X[:, :1], jnp.full((200, 1), log_std)
        )

    def energy(v):
        return problem.structure.loss(symmetric(v))

    step = jax.jit(lambda v: jnp.linalg.solve(jax.hessian(energy)(v), jax.grad(energy)(v)))
    v = jnp.array([1.2, 1.0, -3.2, -3.0])
    for _ in range(20):
        v = v - step(v)
    params = symmetric(v)
    assert stationary.analyze(problem, params, directions=0).label == "degenerate, 1 row at zero"
    moved = params._replace(
        log_std=params.log_std.at[0, 0].add(3e-7)
    )  # now one datum is the widest
    assert rows.dead_rows(X, moved, 0.2, jnp.exp(params.log_gamma)).falling[1]
    near = stationary.analyze(problem, moved, directions=0)
    assert near.kind == Kind.DEGENERATE and near.label == "degenerate, 1 row at zero"
    assert "rows" not in near.evidence


def test_the_collapsed_point_has_no_falling_rows():
    X = data.load("digits-4x4", limit=30)
    found = rows.dead_rows(X, vae.threshold_vae(X, 2, 0.2).collapsed(), 0.2, X.var(axis=0).mean())
    assert found.dead.all() and not found.falling.any()


@pytest.mark.slow
def test_rows_of_the_digits_at_zero_fall_by_what_is_said():
    X = data.load("digits-4x4", limit=60)

    @jax.jit
    def judge(seed, scale):
        problem = vae.threshold_vae(X, 2, 0.05)
        params = stationary.find(problem, jax.random.key(seed), scale).params
        found = rows.dead_rows(X, params, 0.05, jnp.exp(params.log_gamma))

        def moved(r):
            return params.weight.at[r].set(found.way[r])

        energies = jax.lax.map(
            lambda r: problem.loss(params._replace(weight=moved(r))), jnp.arange(X.shape[1])
        )
        together = found.way + params.weight
        return (
            found,
            problem.loss(params) - energies,
            problem.loss(params) - problem.loss(params._replace(weight=together)),
        )

    found, drops, together = judge(0, 0.1)
    print(
        f"{found.falling.sum()} of {found.dead.sum()} rows at zero fall, by",
        np.asarray(found.drop[found.falling]),
    )
    assert found.dead.sum() > 0 and (X.std(axis=0) > 0).all()
    assert (found.falling == found.dead).all()
    assert (found.drop[found.falling] > 1e-10).all()
    np.testing.assert_allclose(
        drops[found.falling], found.drop[found.falling], rtol=1e-6, atol=1e-12
    )
    assert together == pytest.approx(
        float(found.drop.sum()), rel=1e-6
    )  # rows do not feel each other
