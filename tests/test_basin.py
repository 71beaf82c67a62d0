"""Basins are as wide and as large as closed forms say; noise moves nothing that no draw lifts over
the threshold.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.stats import norm

from vaesurface import data, optimize, theory, vae
from vaesurface.paths import basin, flows
from vaesurface.problem import Problem

X = data.antipodal(2)
LEFT = jnp.array([-1.0, 0.0])


def double_well(w):
    """Minima at (-1, 0) and (1, 0); the basins meet at x = 0."""
    return (w[0] ** 2 - 1) ** 2 + 3 * w[1] ** 2


WELLS = Problem(loss=double_well)
TURN = jnp.array([[0.8, -0.6], [0.6, 0.8]])

# Turned, and higher on the right.
TILTED = Problem(loss=lambda w: double_well(TURN @ w) + 0.3 * (TURN @ w)[0])
RESOLVED = 2.0**-12  # of a bracket, after the default number of halvings


@pytest.fixture(scope="module")
def widths():
    """Of the antipodal data's collapsed point along its principal direction, at any alpha: one
    program.
    """

    def run(alpha):
        problem = vae.threshold_vae(X, 1, alpha)
        directions, lengths = basin.principal(problem, 1), alpha * jnp.array([0.3, 0.6, 0.7, 1.0])
        return problem, basin.width(problem, problem.collapsed(), directions, lengths)

    return run


@pytest.mark.parametrize("flow", [flows.gradient_flow, flows.second_order_descent])
def test_a_double_well_is_as_wide_as_the_way_to_its_ridge(flow):
    directions = jnp.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    widths = basin.width(WELLS, LEFT, directions, jnp.array([0.25, 0.9, 3.0]), flow)
    inner, outer = widths.inner[:2], widths.outer[:2]
    if flow is flows.gradient_flow:
        assert np.all((inner <= 1.0) & (outer >= 1.0))
        np.testing.assert_allclose(outer - inner, (3.0 - 0.9) * RESOLVED)
    else:  # Newton's method leads from near the ridge to the saddle on it, which is no return
        assert np.all((inner > 0.5) & (inner < outer) & (outer <= 1.0))
    assert (widths.inner[2], widths.outer[2]) == (3.0, np.inf)  # no ridge on that side
    assert np.all(widths.crossing == np.inf)  # nothing is lower than this minimum
    np.testing.assert_allclose(widths.params, LEFT[None] + widths.inner[:, None] * directions)
    np.testing.assert_allclose(widths.distance, widths.inner * np.linalg.norm(directions, axis=1))


def test_an_oblique_ridge_and_the_place_beyond_it_where_starts_are_lower_than_the_minimum():
    low, top, high = np.sort(np.roots([4.0, 0.0, -4.0, 0.3]))  # of the derivative along the valley
    minimum = TURN.T @ jnp.array([high, 0.0])
    left = jnp.array([-1.0, 0.0])
    directions = jnp.stack([left, TURN.T @ left])
    cosines = np.array([0.8, 1.0])  # with the valley
    widths = basin.width(TILTED, minimum, directions, jnp.linspace(0.2, 2.0, 10))
    ridge = (high - top) / cosines
    assert np.all((widths.inner <= ridge) & (ridge <= widths.outer))

    def valley(x):
        return (x**2 - 1) ** 2 + 0.3 * x

    def oblique(t):
        return valley(high - 0.8 * t) + 3 * (0.6 * t) ** 2

    assert min(oblique(t) for t in np.linspace(0.01, 2.0, 500)) > oblique(0.0)
    assert valley(low) < valley(high)
    assert widths.crossing[0] == np.inf  # this line leaves the valley too far
    # Twice high, and where the level is met again.
    level = np.roots(np.polysub([1.0, 0.0, -2.0, 0.3, 1.0], [valley(high)]))
    first = max(x.real for x in level if x.real < high - 1e-3)
    assert widths.crossing[1] == pytest.approx(high - first, abs=0.2 * RESOLVED)


def test_where_nothing_returns_the_width_is_zero():
    directions = jnp.array([[1.0, 0.0], [1.0, 1.0], [-1.0, 0.0]])
    none = basin.width(WELLS, jnp.zeros(2), directions, jnp.array([0.1, 0.5, 1.0]))
    assert np.all(none.inner == 0.0) and np.all(none.distance == 0.0)
    np.testing.assert_allclose(none.outer, 0.1 * RESOLVED)
    with pytest.raises(ValueError, match="expected lengths ascending from above 0, got"):
        basin.width(WELLS, LEFT, LEFT[None], jnp.array([0.5, 0.1]))


def highest(function, low, high, precision):
    """Where a function of one variable is largest."""
    options = {"method": "bounded", "options": {"xatol": precision}}
    return minimize_scalar(lambda x: -function(x), bounds=(low, high), **options).x


def reduced(alpha):
    """The antipodal saddle by itself: W = (w, w), means (m, -m), deviations s, b = 0; best m, s and
    gamma for each w.
    """

    def best(w):
        def energy(v):
            m, s = v[0], np.exp(v[1])
            a, b, t = (alpha - w * m) / (w * s), (alpha + w * m) / (w * s), w * s
            first = t * ((norm.pdf(a) - a * norm.sf(a)) - (norm.pdf(b) - b * norm.sf(b)))
            second = t**2 * sum((1 + c * c) * norm.sf(c) - c * norm.pdf(c) for c in (a, b))
            error = 1 - 2 * first + second  # per feature; the best gamma is this
            return 2 * np.log1p(error - 1) + 2 + s**2 - 2 * v[1] + m**2 - 3

        finely = {"tol": 1e-14, "method": "Nelder-Mead", "options": {"xatol": 1e-9}}
        return minimize(energy, [0.3 * w, 0.0], **finely).fun

    return highest(best, 0.6 * alpha, 0.72 * alpha, 1e-7)


@pytest.mark.slow
def test_the_collapsed_basin_ends_at_the_saddle_and_the_certificate_reaches_beyond_it(widths):
    problem, width = widths(0.5)
    saddle = reduced(0.5)
    print("width / alpha:", float(width.inner[0]) / 0.5, "saddle:", saddle / 0.5)
    # gamma starts at collapse here, and is best there
    assert width.inner[0] == pytest.approx(saddle, rel=2e-3)
    weight = jnp.full((2, 1), saddle)
    sides = basin.compare(problem, width, problem.collapsed()._replace(weight=weight))
    assert sides.saddle == saddle
    assert sides.radius == pytest.approx(float(theory.collapse_radius(X, 0.5).radius), rel=1e-12)
    assert sides.certified and sides.descent and not sides.returns and not sides.ordered
    assert sides.width[1] < sides.radius < sides.crossing
    with pytest.raises(ValueError, match=r"expected a problem of vae.threshold_vae, got another"):
        basin.compare(WELLS, width, problem.collapsed())


@pytest.mark.slow
def test_for_small_alpha_width_and_crossing_take_the_values_of_the_limit(widths):
    # Energy over alpha^2 at w = alpha / a, best mean, sigma = 1, gamma = 1: its crest is the
    # saddle, its root the radius.
    def height(a):
        return (4 * ((1 + a * a) * norm.sf(a) - a * norm.pdf(a)) - 16 * norm.sf(a) ** 2) / a**2

    crest = highest(height, 1.3, 2.5, 1e-10)
    for alpha in (1e-2, 1e-3):
        _, width = widths(alpha)
        assert width.inner[0] <= alpha / crest <= width.outer[0]
        assert width.outer[0] - width.inner[0] < 1e-4 * alpha
        limit = float(theory.collapse_radius(X, alpha).limit)
        assert width.crossing[0] == pytest.approx(limit, abs=0.4 * alpha * RESOLVED + alpha**3)


def test_principal_directions_are_the_datas_and_row_norms_their_unit():
    Z = data.gaussian(14, [3.0, 1.5, 0.6, 0.3], seed=3)
    problem = vae.threshold_vae(Z, 2, 0.1)
    directions = basin.principal(problem, 2)
    w = np.asarray(directions.weight[:, :, 0])
    np.testing.assert_allclose(np.abs(w).max(axis=1), 1.0)
    covariance = Z.T @ Z / 14
    np.testing.assert_allclose(w @ covariance, np.array([[3.0], [1.5]]) * w, atol=1e-12)
    blank = directions._replace(weight=directions.weight[:, :, 1])
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(blank))
    with pytest.raises(ValueError, match="with at least 5 >= 1 features, got 4 features"):
        basin.principal(problem, 5)
    with pytest.raises(ValueError, match="got no data"):
        basin.principal(WELLS, 1)


def shake(problem, params, key, strength=0.0):
    return problem.loss(params) + strength * jnp.dot(jax.random.normal(key, params.shape), params)


def shifted(problem, key, scale):
    return jax.random.normal(key, (2,)) + jnp.array([scale, 0.0])


@pytest.mark.parametrize(
    "flow",
    [
        flows.gradient_flow,
        flows.optimized(optimize.adam(800, 0.01)),
        flows.noisy(
            optimize.descend_noisily(optax.sgd(0.01), 2000, "descent"),
            partial(shake, strength=0.01),
        ),
    ],
    ids=["flow", "Adam", "noise"],
)
def test_a_basins_volume_is_the_probability_of_starting_on_its_side(flow):
    keys = jax.random.split(jax.random.key(1), 300)
    ends = basin.ends(WELLS, keys, 0.4, flow, shifted, LEFT)
    starts = np.array([shifted(WELLS, jax.random.split(key)[0], 0.4)[0] for key in keys])
    counted = basin.volume(ends)
    assert counted.starts == 300 and counted.below == 0
    assert counted.low <= norm.cdf(-0.4) <= counted.high
    assert counted.returned == counted.share * 300 and counted.returned + counted.other == 300
    sure = np.abs(starts) > (1e-6 if flow is flows.gradient_flow else 0.1)
    assert np.all((starts < 0)[sure] == np.asarray(ends.returned)[sure])


def test_strong_noise_makes_runs_forget_where_they_began():
    keys = jax.random.split(jax.random.key(1), 40)
    optimizer = optimize.descend_noisily(optax.sgd(0.02), 2000, "descent")
    flow = flows.noisy(optimizer, partial(shake, strength=20.0))
    counted = basin.volume(basin.ends(WELLS, keys, 0.0, flow, lambda *_: LEFT, LEFT))
    assert counted.low < 0.5 < counted.high


def test_an_interval_for_a_share_of_all_or_none_is_clopper_and_pearsons():
    def ends(hit):
        return basin.Ends(None, np.zeros(40), np.full(40, hit), np.full(40, not hit))

    every, none = basin.volume(ends(True)), basin.volume(ends(False))
    assert (every.share, every.low, every.high) == (1.0, pytest.approx(0.025 ** (1 / 40)), 1.0)
    assert (none.below, none.low, none.high) == (40, 0.0, pytest.approx(1 - every.low))


def test_ends_need_starts_and_a_minimum():
    with pytest.raises(ValueError, match="give draw and minimum instead"):
        basin.ends(WELLS, jax.random.split(jax.random.key(0), 2))
    with pytest.raises(ValueError, match="expected at least one end"):
        basin.volume(basin.Ends(None, np.zeros(0), np.zeros(0, bool), np.zeros(0, bool)))


Z = data.gaussian(14, [3.0, 1.5, 0.6, 0.3], seed=3)


@jax.jit
def generic(alpha, gamma):
    """A point without symmetry, a problem with all hyper-parameters off their defaults, and its
    exact energy and gradient.
    """
    problem = vae.threshold_vae(Z, 2, alpha, gamma, 1.5)
    params = problem.init(jax.random.key(3), 1.0)
    params = params._replace(bias=params.bias + 0.1, log_std=params.mean - 0.3)
    return params, *jax.value_and_grad(problem.structure.loss)(params)


@pytest.mark.parametrize(("samples", "batch"), [(1, None), (10, 3)])
def test_the_sampled_energy_and_its_gradient_are_unbiased(samples, batch):
    draws = 10000
    problem = vae.threshold_vae(Z, 2, 0.4, 0.7, 1.5)
    params, energy, gradient = generic(0.4, 0.7)

    @jax.jit
    def statistics(keys):
        draw = jax.value_and_grad(lambda w, key: vae.sampled_loss(problem, w, key, samples, batch))
        values = jax.lax.map(lambda key: draw(params, key), keys, batch_size=1000)
        means = jax.tree.map(lambda x: x.mean(axis=0), values)
        return means, jax.tree.map(lambda x: x.std(axis=0) / np.sqrt(draws), values)

    (mean, slope), (error, spread) = statistics(jax.random.split(jax.random.key(0), draws))
    print(f"{mean} -+ {error}, exactly {energy}")
    assert abs(mean - energy) <= 4 * error
    assert 0 < error < 0.02 * abs(energy)
    assert slope.log_gamma is None
    for at, exact, wide in zip(*map(jax.tree.leaves, (slope, gradient, spread)), strict=True):
        assert np.all(np.abs(at - exact) <= 4.5 * wide) and np.all(wide > 0)


def test_a_draw_of_all_data_without_noise_is_the_energy():
    problem = vae.threshold_vae(Z, 2, 0.4)
    params = problem.init(jax.random.key(3), 1.0)._replace(log_std=jnp.full((14, 2), -40.0))
    sampled = jax.jit(lambda w: vae.sampled_loss(problem, w, jax.random.key(0), batch=14))(params)
    assert sampled == pytest.approx(float(problem.loss(params)), rel=1e-12)
    for samples, batch in ((0, None), (1, 0), (1, 15)):
        with pytest.raises(ValueError, match="samples >= 1 and a batch of 1 to 14 data"):
            vae.sampled_loss(problem, params, jax.random.key(0), samples, batch)
    with pytest.raises(ValueError, match="expected a problem with sampled, got one without"):
        vae.sampled_loss(WELLS, params, jax.random.key(0))


def test_noise_leaves_a_weight_alone_that_no_draw_lifts_over_the_threshold():
    optimizer = optimize.descend_noisily(optax.adam(0.01), 300, "Adam")
    collapsed = vae.threshold_vae(Z, 2, 0.4).collapsed()

    @jax.jit
    def run(alpha, weight):
        loss = partial(vae.sampled_loss, vae.threshold_vae(Z, 2, alpha), batch=4)
        return optimizer(loss, collapsed._replace(weight=weight), jax.random.key(0)).params

    within = np.full((4, 2), 0.4 / 20)  # draws beyond 14 deviations do not occur
    for weight in (0 * within, within):
        end = run(0.4, weight)
        assert np.all(end.weight == weight)
        assert np.any(end.bias != collapsed.bias)  # mini-batches did shake the rest
    assert not np.any(run(0.4, 20 * within).weight == 20 * within)
    # Without a threshold every draw moves the weight, at zero too.
    assert not np.any(run(0.0, 0 * within).weight == 0)


def test_a_noisy_run_needs_steps():
    with pytest.raises(ValueError, match="expected steps >= 1, got 0"):
        optimize.descend_noisily(optax.sgd(0.1), 0, "none")
