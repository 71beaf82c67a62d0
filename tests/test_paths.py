"""Passes are found however low, narrow and near to an end they are; what they join is followed
down, not assumed.
"""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.optimize import minimize_scalar, root
from scipy.stats import norm

from vaesurface import data, paths, stationary, theory, vae
from vaesurface.problem import Problem
from vaesurface.stationary import tally

# Mueller and Brown, Theor. Chim. Acta 53, 75, 1979.
HEIGHT = np.array([-200.0, -100.0, -170.0, 15.0])
XX, XY, YY = (
    np.array([-1, -1, -6.5, 0.7]),
    np.array([0, 0, 11, 0.6]),
    np.array([-10, -10, -6.5, 0.7]),
)
X0, Y0 = np.array([1, 0, -0.5, -1.0]), np.array([0, 0.5, 1.5, 1.0])
LEFT, MIDDLE, RIGHT = [-0.558, 1.442], [-0.050, 0.467], [0.623, 0.028]
PASSES = {"left": [-0.822, 0.624], "right": [0.212, 0.293]}
BOXES = data.antipodal(d=2)


def _mueller_brown(w):
    u, v = w[0] - X0, w[1] - Y0
    return jnp.sum(HEIGHT * jnp.exp(XX * u**2 + XY * u * v + YY * v**2))


def _slope(w):
    u, v = w[0] - X0, w[1] - Y0
    e = HEIGHT * np.exp(XX * u**2 + XY * u * v + YY * v**2)
    return [np.sum(e * (2 * XX * u + XY * v)), np.sum(e * (XY * u + 2 * YY * v))]


SURFACE = Problem(loss=_mueller_brown)


def exact(start):
    found = root(_slope, start, tol=1e-14)
    assert np.linalg.norm(_slope(found.x)) < 1e-9
    return jnp.array(found.x)


@pytest.mark.parametrize(
    ("a", "b", "name", "joins"),
    [
        (LEFT, MIDDLE, "left", (MIDDLE, LEFT)),
        (MIDDLE, RIGHT, "right", (MIDDLE, RIGHT)),
        (LEFT, RIGHT, "left", (MIDDLE, LEFT)),  # not between these two, and said so
    ],
)
def test_the_passes_of_mueller_and_brown_and_the_minima_that_they_join(a, b, name, joins):
    crossing = paths.barrier(SURFACE, exact(a), exact(b))
    assert crossing.saddle.label == "saddle of index 1"
    np.testing.assert_allclose(crossing.saddle.params, exact(PASSES[name]), atol=1e-10)
    np.testing.assert_allclose(
        crossing.ends.params, jnp.stack([exact(end) for end in joins]), atol=1e-10
    )
    assert list(crossing.ends.label) == ["local minimum"] * 2
    height = [_mueller_brown(exact(PASSES[name])) - _mueller_brown(exact(end)) for end in joins]
    assert (np.abs(crossing.barrier - np.array(height)) <= crossing.error).all()
    assert (crossing.error < 1e-10).all()


def test_a_pass_joins_a_minimum_to_a_point_with_a_flat_direction():
    flat_at_one_end = Problem(
        loss=lambda w: (w[0] ** 2 - 1) ** 2 + (w[0] + 1) ** 2 * w[1] ** 2 + w[1] ** 4
    )
    joined = paths.connect(flat_at_one_end, stationary.analyze(flat_at_one_end, jnp.zeros(2)))
    assert set(joined.ends.label) == {"local minimum", "degenerate, 1 flat direction"}
    np.testing.assert_allclose(joined.barrier, 1.0, atol=1e-9)


def test_the_edge_of_a_basin_leads_to_a_saddle_on_it_from_a_chain_that_nothing_has_relaxed():
    left, right = exact(LEFT), exact(RIGHT)
    for a, b, name, joins in (
        (left, right, "left", (MIDDLE, LEFT)),
        (right, left, "right", (MIDDLE, RIGHT)),
    ):
        joined = paths.rim(SURFACE, paths.minimum_energy_path(SURFACE, a, b, max_steps=0))
        assert joined.saddle.label == "saddle of index 1"
        np.testing.assert_allclose(joined.saddle.params, exact(PASSES[name]), atol=1e-10)
        np.testing.assert_allclose(
            joined.ends.params, jnp.stack([exact(end) for end in joins]), atol=1e-10
        )
        bottom = paths.fall(SURFACE, joined.saddle)
        assert bottom.label == "local minimum" and bottom.loss < joined.saddle.loss
        assert paths.fall(SURFACE, bottom) is bottom
    within = paths.minimum_energy_path(SURFACE, left, left + 0.05, max_steps=0)
    assert paths.rim(SURFACE, within) is None


def test_the_mode_that_the_chain_goes_along_is_climbed_though_another_bends_down_more():
    # The chain crosses x = 0 beside y = 0, where the energy bends down by 4 along x and by nearly 8
    # along y.
    wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + 2 * (w[1] ** 2 - 1) ** 2)
    chain = paths.minimum_energy_path(
        wells, jnp.array([-1.0, 0.1]), jnp.array([1.1, 0.1]), max_steps=0
    )
    top = paths.saddle(wells, chain)
    assert top.label == "saddle of index 1"
    np.testing.assert_allclose(jnp.abs(top.params), [0.0, 1.0], atol=1e-9)


def test_pairs_of_ends_under_vmap_are_what_they_are_one_by_one():
    pairs = [(LEFT, MIDDLE), (MIDDLE, RIGHT), (LEFT, RIGHT)]
    a, b = (jnp.stack([exact(pair[i]) for pair in pairs]) for i in (0, 1))
    many = jax.vmap(lambda a, b: paths.minimum_energy_path(SURFACE, a, b))(a, b)
    alone = [paths.minimum_energy_path(SURFACE, *pair) for pair in zip(a, b, strict=True)]
    for name in ("params", "loss", "distance", "top", "steps", "converged"):
        np.testing.assert_allclose(
            getattr(many, name), [getattr(path, name) for path in alone], rtol=1e-6, atol=1e-6
        )
    assert many.converged.all()
    np.testing.assert_array_equal(many.params[:, 0], a)
    np.testing.assert_array_equal(many.params[:, -1], b)
    steps = np.linalg.norm(np.diff(many.params, axis=1), axis=2)
    np.testing.assert_allclose(np.diff(many.distance, axis=1), steps, rtol=1e-12)


@pytest.mark.slow
def test_a_curved_pass_among_stiff_and_rotated_directions():
    # (u^2 - 1)^2 + sum_i k_i (v_i - c_i u^2)^2 in 12 rotated dimensions: a pass of height 1 at the
    # origin.
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    stiff, bend = 10.0 ** np.linspace(0, 3, 11), rng.normal(size=11) / 3

    def loss(w):
        u = turn @ w
        return (u[0] ** 2 - 1) ** 2 + jnp.sum(stiff * (u[1:] - bend * u[0] ** 2) ** 2)

    ends = [jnp.array(turn.T @ np.append(side, bend)) for side in (-1.0, 1.0)]
    crossing = paths.barrier(Problem(loss=loss), *ends)
    assert crossing.saddle.label == "saddle of index 1"
    np.testing.assert_allclose(crossing.barrier, 1.0, atol=1e-12)
    np.testing.assert_allclose(crossing.saddle.params, 0.0, atol=1e-9)
    assert crossing.ends.loss.max() < 1e-16
    assert jnp.linalg.norm(crossing.ends.params[0] - crossing.ends.params[1]) == pytest.approx(2.0)


def collapse_and_ray(alpha):
    problem = vae.threshold_vae(BOXES, 1, alpha)
    return problem, problem.collapsed(), theory.unbounded_ray(BOXES, 1, alpha).at(0.1)


def symmetric_saddle(alpha, w, m, s, g):
    """Energy above collapse, from 50 digits, where W = (w, w), mu = (m, -m), sigma = s, b = 0,
    gamma = e^g are stationary.
    """
    mp = mpmath.mp
    with mp.workdps(50):
        alpha = mp.mpf(alpha)

        def tail(a):
            return mp.erfc(a / mp.sqrt(2)) / 2

        def first(a):
            return mp.npdf(a) - a * tail(a)

        def second(a):
            return (1 + a * a) * tail(a) - a * mp.npdf(a)

        def moments(w, m, s):
            deviation = w * s
            over, under = (alpha - w * m) / deviation, (alpha + w * m) / deviation
            y, y2 = (
                deviation * (first(over) - first(under)),
                deviation**2 * (second(over) + second(under)),
            )
            return y, y2, tail(over) + tail(under), (mp.npdf(over) - mp.npdf(under)) / deviation / 2

        def gradient(w, m, s, g):
            y, y2, passed, slope = moments(w, m, s)
            by_mean, by_variance = (-2 * passed + 2 * y), (-2 * slope + passed)
            scale = 2 / mp.exp(g)
            return [
                scale * (by_mean * m + by_variance * 2 * w * s**2),
                scale * by_mean * w + 2 * m,
                scale * by_variance * 2 * s * w**2 + 2 * s - 2 / s,
                2 - scale * (1 - 2 * y + y2),
            ]

        w, m, s, g = mp.findroot(gradient, (w, m, s, g), tol=1e-40)
        y, y2, *_ = moments(w, m, s)
        return float(2 * (1 - 2 * y + y2) / mp.exp(g) + 2 * g + s**2 - 2 * mp.log(s) + m**2 - 3)


@pytest.mark.parametrize("alpha", [0.01, 0.1, 0.5])
def test_the_pass_out_of_collapse_is_that_of_50_digits_and_leads_to_the_unbounded_ray(alpha):
    problem, collapsed, far = collapse_and_ray(alpha)
    crossing = paths.barrier(problem, stationary.analyze(problem, collapsed), far)
    p = crossing.saddle.params
    expected = symmetric_saddle(
        alpha,
        *map(float, (p.weight[0, 0], abs(p.mean[0, 0]), jnp.exp(p.log_std[0, 0]), p.log_gamma)),
    )
    print(
        "barrier / alpha^2:",
        float(crossing.barrier[0]) / alpha**2,
        "error:",
        float(crossing.saddle.loss - 3 - expected),
    )
    assert crossing.saddle.label == "saddle of index 1"
    assert abs(float(crossing.saddle.loss - 3 - expected)) < 1e-13
    assert list(crossing.ends.label) == [
        "collapsed local minimum",
        "global infimum -inf along this ray",
    ]
    assert (
        abs(float(crossing.barrier[0] - expected)) <= crossing.error[0] < 1e-6 * crossing.barrier[0]
    )
    assert crossing.barrier[1] == np.inf


def test_a_chain_that_is_symmetric_leaves_its_symmetry_for_the_lower_pass():
    # On the straight line the posterior means are opposite, and so they are on a pass of index 2 at
    # a height of 1.089.
    problem, collapsed, far = collapse_and_ray(2.0)
    crossing = paths.barrier(problem, collapsed, far)
    assert crossing.saddle.label == "saddle of index 1"
    assert abs(crossing.saddle.params.mean.sum()) > 0.1
    assert crossing.barrier[0] < 0.6


def test_the_barrier_out_of_collapse_vanishes_like_alpha_squared():
    def height(a):
        tail, density = norm.sf(a), norm.pdf(a)
        return (4 * ((1 + a * a) * tail - a * density) - 16 * tail**2) / a**2

    limit = -minimize_scalar(
        lambda a: -height(a), bounds=(0.5, 4), method="bounded", options={"xatol": 1e-10}
    ).fun
    ratios = []
    for alpha in (0.08, 0.04, 0.02):
        problem, collapsed, far = collapse_and_ray(alpha)
        crossing = paths.saddle(problem, paths.minimum_energy_path(problem, collapsed, far))
        ratios.append((float(crossing.loss) - 3) / alpha**2)
    gaps = np.array(ratios) - limit
    np.testing.assert_allclose(gaps[:-1] / gaps[1:], 4.0, rtol=0.02)  # of second order in alpha
    assert gaps[-1] == pytest.approx(0.0, abs=1e-4 * limit)


def test_one_program_serves_all_alphas_and_the_sign_of_a_latent_does_not_matter():
    alphas = jnp.array([0.05, 0.3])

    def pass_of(alpha, sign):
        problem, collapsed, far = collapse_and_ray(alpha)
        path = paths.minimum_energy_path(
            problem, collapsed, problem.relabel(far, jnp.array([0]), sign[None])
        )
        return path, tally.align(problem, collapsed, far)

    many, _ = jax.jit(jax.vmap(pass_of))(alphas, jnp.array([1.0, -1.0]))
    assert many.converged.all()
    for i, alpha in enumerate(alphas):
        problem, collapsed, far = collapse_and_ray(alpha)
        alone = paths.minimum_energy_path(problem, collapsed, far)
        barrier = alone.loss[alone.top] - alone.loss[0]
        assert many.loss[i].max() - many.loss[i, 0] == pytest.approx(float(barrier), rel=1e-3)


def test_ends_are_aligned_over_signed_permutations_of_the_latents():
    problem = vae.threshold_vae(data.gaussian(6, [3.0, 1.0, 0.5], seed=0), 3, 0.1)
    a, b = (problem.init(jax.random.key(seed), 1.0) for seed in (0, 1))
    order, sign = jnp.array([2, 0, 1]), jnp.array([1.0, -1.0, -1.0])
    shuffled = problem.relabel(b, order, sign)
    assert problem.loss(shuffled) == pytest.approx(float(problem.loss(b)), rel=1e-14)
    for end in (b, shuffled):
        nearest = jax.jit(lambda a, b: tally.align(problem, a, b))(a, end)
        gap = np.sqrt(sum(float(jnp.sum((x - y) ** 2)) for x, y in zip(a, nearest, strict=True)))
        assert gap == pytest.approx(tally.distance(problem, a, b), rel=1e-12)
    back = tally.align(problem, b, shuffled)
    assert all((x == y).all() for x, y in zip(b, back, strict=True))
    with pytest.raises(ValueError, match="expected a problem with relabel"):
        tally.align(problem.replace(relabel=None), a, b)


def test_what_no_path_leads_over_is_refused_with_advice():
    left, right = exact(LEFT), exact(RIGHT)
    with pytest.raises(ValueError, match="expected two different ends"):
        paths.minimum_energy_path(SURFACE, left, left)
    with pytest.raises(ValueError, match="expected two ends alike"):
        paths.minimum_energy_path(SURFACE, left, {"x": right})
    with pytest.raises(ValueError, match="expected at least 10 images, got 3"):
        paths.minimum_energy_path(SURFACE, left, right, images=3)
    with pytest.raises(ValueError, match="expected a saddle, got 'local minimum'"):
        paths.connect(SURFACE, stationary.analyze(SURFACE, left))
    downhill = paths.minimum_energy_path(
        SURFACE, left, left + 0.05
    )  # not a minimum: nothing lies between
    assert not downhill.interior and not downhill.converged
    with pytest.raises(
        ValueError, match="no barrier between these ends: check that both are minima"
    ):
        paths.saddle(SURFACE, downhill)


@pytest.mark.slow
def test_a_row_at_zero_is_left_along_the_ray_that_falls_and_not_the_one_that_falls_first():
    problem = vae.threshold_vae(data.gaussian(8, [1.0, 0.5, 0.05], seed=0), 2, 0.3, 0.05)
    start = problem.init(jax.random.key(0), 1.0)
    start = start._replace(weight=start.weight.at[2].set(0.0))
    held = stationary.analyze(problem, stationary.refine(problem, start).params)
    assert held.label == "degenerate saddle, descent along 1 row at zero"
    assert held.loss - problem.loss(
        jax.tree.map(jnp.add, held.params, held.descent)
    ) == pytest.approx(float(held.theory.drop))
    assert held.theory.drop > 1
    bottom = paths.fall(problem, held)
    assert bottom.label == "local minimum"
    assert held.loss - bottom.loss > 1
