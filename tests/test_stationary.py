"""Refinement reaches stationary points and says when not; verdicts are right, and silent where
nothing is known.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import data, optimize, proof, stationary, theory, vae
from vaesurface.problem import Problem
from vaesurface.stationary import Kind, tally
from vaesurface.stationary.lines import kink

X = data.gaussian(14, [3.0, 1.5, 0.6, 0.3], seed=3)
AFFINE = list(theory.stationary_points(X, 2))


@pytest.fixture(scope="module")
def find():
    """find with Adam on X, compiled once for all alphas, scales and seeds."""

    def run(alpha, scale, seed):
        problem = vae.threshold_vae(X, 2, alpha)
        return stationary.find(problem, jax.random.key(seed), scale, optimize.adam(1500))

    return jax.jit(run)


@pytest.fixture(scope="module")
def refine_and_analyze():
    """Of 14 data with 4 features, and 2 latents: one program."""

    def run(alpha, params, data):
        problem = vae.threshold_vae(data, 2, alpha)
        refined = stationary.refine(problem, params)
        return refined, stationary.analyze(problem, refined.params)

    compiled = jax.jit(run)
    return lambda alpha, params, data=X: compiled(alpha, params, data)


@pytest.fixture(scope="module")
def analyze_collapsed():
    def run(data, alpha):
        problem = vae.threshold_vae(data, 2, alpha)
        return stationary.analyze(problem, problem.collapsed())

    return jax.jit(run)


def shifted(params, size, seed):
    leaves, treedef = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    return jax.tree.unflatten(treedef, [x + size * rng.normal(size=x.shape) for x in leaves])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.05, 0.5, 2.0])
def test_random_starts_reach_the_global_minimum_of_the_affine_model(find, seed, scale):
    point = find(0.0, scale, seed)
    print(
        "gap:", float(point.loss - theory.global_minimum(X, 2)), "gradient:", float(point.grad_norm)
    )
    assert point.label == "global optimum"
    assert point.loss == pytest.approx(float(theory.global_minimum(X, 2)), abs=1e-9)
    assert point.refinement.converged
    assert not point.refinement.left
    assert "exact" in point.evidence["global"]


def test_small_starts_collapse_at_every_positive_alpha_and_none_without(find):
    points = [find(alpha, 0.01, 0) for alpha in (0.0, 0.3, 1.0)]
    assert [p.label for p in points] == [
        "global optimum",
        "collapsed local minimum",
        "collapsed local minimum",
    ]
    assert not any(p.active.any() or p.params.weight.any() for p in points[1:])


@pytest.mark.parametrize("expected", AFFINE, ids=lambda e: str(e.retained))
def test_a_start_near_a_saddle_is_refined_into_that_saddle(refine_and_analyze, expected):
    refined, point = refine_and_analyze(0.0, shifted(expected.params, 1e-3, 0))
    assert refined.converged
    assert refined.grad_norm <= 1e-10
    assert point.inertia.negative == expected.negative
    assert point.loss == pytest.approx(expected.loss, abs=1e-10)
    assert 0 < refined.moved < 0.1


def test_refinement_says_when_it_climbed_out_of_the_starts_basin(refine_and_analyze):
    saddle = AFFINE[
        0
    ].params  # collapsed: an index 2 saddle; nudge the weight so that the energy is below its
    lower = saddle._replace(weight=saddle.weight.at[:, 0].add(1e-3 * AFFINE[1].params.weight[:, 0]))
    lower = lower._replace(mean=lower.mean.at[:, 0].add(1e-3 * AFFINE[1].params.mean[:, 0]))
    refined, point = refine_and_analyze(0.0, lower)
    assert point.label.startswith("saddle")
    assert refined.left
    assert 0 < refined.rise < 1e-5


def test_at_a_stationary_point_refinement_does_not_move(refine_and_analyze):
    for expected in AFFINE:
        refined, _ = refine_and_analyze(0.0, expected.params)
        assert refined.moved == 0
        assert refined.steps == 0


def test_the_collapsed_point_is_a_certified_minimum_with_its_radius_for_every_positive_alpha(
    refine_and_analyze,
):
    for alpha in (1e-3, 0.1, 1.0, 10.0):
        _, point = refine_and_analyze(alpha, AFFINE[0].params)
        assert point.label == "collapsed local minimum"
        assert tuple(point.inertia)[:2] == (0, 8)
        assert point.theory.radius == pytest.approx(float(theory.collapse_radius(X, alpha).radius))
        assert "proved" in point.evidence["flat"]


def test_gamma_running_to_zero_along_an_unbounded_ray_is_not_called_stationary():
    problem = vae.threshold_vae(data.antipodal(2), 1, 0.2)
    start = problem.init(jax.random.key(0), 2.0)
    start = start._replace(
        weight=jnp.full((2, 1), 1.2),
        mean=jnp.array([[1.0], [-1.0]]),
        log_std=jnp.full((2, 1), -2.0),
    )
    point = stationary.analyze(problem, optimize.adam(3000, 0.05)(problem.loss, start).params)
    assert point.kind == Kind.NOT_STATIONARY
    refined = stationary.refine(problem, start)
    assert not refined.converged
    ran = stationary.analyze(problem, refined.params)
    assert ran.kind == Kind.NOT_STATIONARY
    assert ran.label == "global infimum -inf along this ray"
    assert "1 log gamma along a ray" in ran.evidence["global"]


@pytest.mark.parametrize(
    ("loss", "start"),
    [
        (
            lambda w: jnp.sum(1.0 / (1.0 + jnp.abs(w))),
            [1e5],
        ),  # flattens out like 1/w, to |w| ~ 1e8 and beyond
        (lambda w: jnp.sum(jnp.exp(-w)), [24.0]),  # a gradient below 1e-10, and no minimum anywhere
        (lambda w: jnp.sum(w), [0.0]),  # no curvature at all
        (lambda w: jnp.sum(w + w**3), [0.1]),  # least gradient where H g vanishes and g does not
    ],
)
def test_runaways_and_places_of_least_gradient_are_no_stationary_points(loss, start):
    problem = Problem(loss=loss)
    refined = stationary.refine(problem, jnp.array(start))
    assert stationary.analyze(problem, jnp.array(start)).kind == Kind.NOT_STATIONARY
    assert not refined.converged
    assert stationary.analyze(problem, refined.params).label.startswith("not stationary")


@pytest.mark.parametrize(
    ("loss", "falls"),
    [
        (lambda w: w[0] ** 3 + w[1] ** 2, True),  # an inflection: lower points on one side
        pytest.param(
            lambda w: w[0] ** 3 / 3 + 1e-11 * w[0] + w[1] ** 2, True, marks=pytest.mark.slow
        ),  # no stationary point at all
        (lambda w: w[0] ** 4 + w[1] ** 2, False),
        pytest.param(lambda w: -(w[0] ** 4) + w[1] ** 2, True, marks=pytest.mark.slow),
        pytest.param(
            lambda w: w[0] ** 3 - 3 * w[0] * w[1] ** 2, True, marks=pytest.mark.slow
        ),  # monkey saddle
        (lambda w: (w[1] - w[0] ** 2) ** 2 - w[0] ** 6, True),  # along no straight line
        (lambda w: (w[1] - w[0] ** 2) ** 2 + w[0] ** 6, False),
    ],
)
def test_near_a_degenerate_point_the_count_of_eigenvalues_is_no_verdict(loss, falls):
    for start in ([1.0, 0.5], [1e-3, 1e-4], [1e-6, 0.0], [1e-8, 1e-9]):
        refined = stationary.refine(Problem(loss=loss), jnp.array(start))
        for params in (refined.params, jnp.array(start)):
            point = stationary.analyze(Problem(loss=loss), params)
            assert point.kind in (Kind.DEGENERATE, Kind.NOT_STATIONARY) or (
                falls and point.label == "degenerate saddle, descent along a flat direction"
            )


def safe_norm(w):
    square = jnp.sum(w**2)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def two_weights(w):
    """A ReLU's weights in and out, and weight decay."""
    inputs, targets = jnp.array([1.0, 2.0, -1.0]), jnp.array([1.0, 2.0, 0.0])
    return jnp.mean((targets - jax.nn.relu(inputs * w[0]) * w[1]) ** 2) + 0.05 * jnp.sum(w**2)


def three_units(w):
    """A ReLU network with two inputs, three hidden units, one output and a bias; w (10,), at its
    least without units.
    """
    inputs = jnp.array([[1.0, 0.5], [2.0, -1.0], [-1.0, 0.3], [0.2, -0.7]])
    hidden = jax.nn.relu(inputs @ w[:6].reshape(2, 3))
    return jnp.mean(
        (jnp.array([1.0, 2.0, 0.0, 0.4]) - hidden @ w[6:9] - w[9] - 0.85) ** 2
    ) + 0.01 * jnp.sum(w[:9] ** 2)


SMOOTH = {
    "bowl": lambda w: jnp.sum(w**2),
    "saddle of very different curvatures": lambda w: 1e8 * w[0] ** 2 - 1e-4 * w[1] ** 2 + w[2] ** 2,
    "stiff": lambda w: jnp.cosh(1e5 * w[0]) + jnp.sum(w**2),
    "waves": lambda w: jnp.sum(jnp.cos(1e4 * w)),
    "waves shorter than any distance": lambda w: jnp.sum(jnp.cos(1e8 * w)),
    "cubic": lambda w: jnp.sum(w**3) + w[0] * w[1] * w[2],
    "quartic": lambda w: jnp.sum(w**4),
    "valley": lambda w: (w[1] - w[0] ** 2) ** 2 + w[0] ** 6,
    "flat to all orders": lambda w: jnp.exp(-1.0 / (jnp.sum(w**2) + 1e-300)),
    "constant": lambda w: 0.0 * w[0] + 1.0,
    "bowl on a high plain": lambda w: 1e9 + jnp.sum(w**2),
    "cancelled": lambda w: (
        w[1] ** 2 + (1e6 + 3 * w[0] ** 2 + w[0] ** 4) - (1e6 + w[0] ** 2) - 2 * w[0] ** 2
    ),
    "two derivatives and a half": lambda w: (
        jnp.sum(w**2) + jnp.sum(jnp.where(w == 0, 0.0, jnp.abs(w) + 1e-300) ** 2.5)
    ),
    "a kink close by": lambda w: jnp.sum(w**2) - jax.nn.relu(w[0] + w[1] - w[2] - 1e-5) ** 2,
    "a sharp one": lambda w: jnp.sum(w**2) - 1e-3 * jnp.sum(jax.nn.relu(jnp.abs(w) - 1e-4)),
}
KINKED = {
    "norm": lambda w: jnp.sum(w**2) - safe_norm(w),
    "edge": lambda w: jnp.sum(w**2) + 1e-3 * jax.nn.relu(w[0]),
    "gain of a ReLU": lambda w: jnp.sum(w**2) - 3 * jax.nn.relu(w[0]) * w[1],
    "half a bowl": lambda w: jnp.sum(w**2) + 1e-2 * jax.nn.relu(w[2]) ** 2,
    "the lower of two bowls": lambda w: jnp.minimum(
        jnp.sum(w**2), w[0] ** 2 + 3 * w[1] ** 2 + 0.5 * w[2] ** 2
    ),
}


def test_kinks_are_told_from_smooth_losses_however_stiff_or_flat():
    losses = list((SMOOTH | KINKED).values())

    def look(i):
        return kink(lambda w: jax.lax.switch(i, losses, w), jnp.zeros(3), jnp.ones(3))

    seen = jax.jit(lambda: jax.lax.map(look, jnp.arange(len(losses))))()
    assert dict(zip(SMOOTH | KINKED, seen.found.tolist(), strict=True)) == {
        name: name in KINKED for name in SMOOTH | KINKED
    }


def test_threshold_vaes_show_no_kink():
    @jax.jit
    def look(alpha, seed, scale):
        problem = vae.threshold_vae(X, 2, alpha)
        start = problem.init(jax.random.key(seed), scale)
        start = start._replace(weight=start.weight.at[3].set(0.0))
        return kink(problem.loss, start, problem.size(start))

    assert not any(
        look(alpha, 0, scale).found for alpha in (0.0, 0.05, 1.0) for scale in (0.0, 0.1, 1.0)
    )


@pytest.mark.parametrize(("loss", "size"), [(safe_norm, 2), (two_weights, 2), (three_units, 10)])
def test_one_sided_derivatives_at_a_kink_make_no_minimum(loss, size):
    problem = Problem(loss=(lambda w: jnp.sum(w**2) - safe_norm(w)) if loss is safe_norm else loss)
    point = stationary.analyze(problem, jnp.zeros(size))
    assert point.inertia == (0, 0, size)  # what differentiation returns
    assert point.label in (
        "degenerate, not twice differentiable here",
        "degenerate saddle, descent along a kink",
    )
    assert not point.reliable
    assert "not twice differentiable" in point.evidence["kink"]
    if point.kind == Kind.SADDLE:
        assert point.loss - problem.loss(point.descent) == pytest.approx(
            float(point.kink.drop), rel=1e-6
        )
        assert point.kink.drop > 1e-8
    assert size > 2 or point.kind == Kind.SADDLE


FLAT = {
    "barrier between shells": lambda w: 1 + w[0] ** 2 + w[2] ** 2 + w[1] ** 16 * (0.09 - w[1] ** 2),
    "barrier below a shell": lambda w: 1 + w[0] ** 2 + w[2] ** 2 + w[1] ** 6 - 1e4 * w[1] ** 8,
    "barrier below rounding": lambda w: 1 + w[0] ** 2 + w[2] ** 2 + w[1] ** 6 - 3e4 * w[1] ** 8,
    "cancellation": lambda w: w[2] ** 2 + SMOOTH["cancelled"](w),
    "coupled": lambda w: w[2] ** 2 + w[0] ** 4 + w[1] ** 8 - w[0] ** 2 * w[1] ** 4,
    "falls": lambda w: 1 + w[0] ** 2 + w[2] ** 2 - w[1] ** 4 + 10 * w[1] ** 6,
    "falls late": lambda w: 1 + w[0] ** 2 + w[2] ** 2 - w[1] ** 16,
    "falls along a curve": lambda w: w[2] ** 2 + (w[1] - w[0] ** 2) ** 2 - w[0] ** 6,
    "saddle beside a flat direction": lambda w: -(w[0] ** 2) * (1 + w[1]) + w[1] ** 4 + w[2] ** 2,
    "saddle and a loose direction": lambda w: (
        -(w[2] ** 2) + w[0] ** 4 + w[1] ** 8 - w[0] ** 2 * w[1] ** 4
    ),
}


@pytest.fixture(scope="module")
def judge_flat():
    """analyze for all of them, compiled once."""
    losses = list(FLAT.values())

    @jax.jit
    def run(index, params):
        return stationary.analyze(Problem(loss=lambda w: jax.lax.switch(index, losses, w)), params)

    return lambda name, params=(0.0, 0.0, 0.0): run(list(FLAT).index(name), jnp.array(params))


def test_a_lower_point_beyond_a_barrier_is_no_descent(judge_flat):
    for name in ("barrier between shells", "barrier below a shell", "barrier below rounding"):
        point = judge_flat(name)
        assert point.label == "degenerate, 1 flat direction"
        assert "lower along a flat direction, by" in point.evidence["probe"]
        assert "no verdict" in point.evidence["probe"]
        assert not jnp.any(point.descent)


def test_rounding_that_cancellation_leaves_is_no_descent(judge_flat):
    point = judge_flat("cancellation")
    assert point.label == "degenerate, 1 flat direction"
    assert "nothing lower found" in point.evidence["probe"]


def test_descent_at_a_degenerate_saddle_is_the_displacement_to_a_lower_point(judge_flat):
    for name in ("falls", "falls late", "falls along a curve"):
        # Like a high power of the distance only outside of `jit`.
        late = name != "falls"
        alone = Problem(loss=FLAT[name])
        point = stationary.analyze(alone, jnp.zeros(3)) if late else judge_flat(name)
        assert not late or judge_flat(name).label == "degenerate, 1 flat direction"
        assert point.label == "degenerate saddle, descent along a flat direction"
        fall = float(FLAT[name](point.descent) - point.loss)
        print(name, point.descent, fall)
        assert fall == pytest.approx(-float(point.probe.drop), rel=1e-6)
        assert fall < -1e-9
    assert judge_flat("saddle beside a flat direction").curvature == pytest.approx(
        -2.0
    )  # at length one


def test_a_negative_eigenvalue_that_a_flat_direction_makes_is_no_index(judge_flat):
    # 12 x^2 - 2 y^4, where y^6 is flat: the loss is positive but at zero, and Newton's step does
    # not move y.
    for params in ([0.0, 1e-3, 0.0], [1e-10, 2.646e-3, 0.0]):
        point = judge_flat("coupled", params)
        assert point.label == "degenerate, 2 flat directions"
        assert not point.reliable
        assert (
            judge_flat("saddle and a loose direction", params).label == "saddle of index 1 or more"
        )
    assert judge_flat("saddle beside a flat direction").label == "saddle of index 1 or more"


def test_a_problem_of_which_a_part_was_replaced_is_another_problem():
    problem = vae.threshold_vae(data.antipodal(d=2), 1, 0.3)
    params = problem.init(jax.random.key(0), 1.0)
    negated = problem.replace(loss=lambda w: -problem.loss(w), structure=None, theory=None)
    value = jax.jit(lambda problem, w: problem.loss(w))
    assert value(problem, params) == pytest.approx(float(problem.loss(params)))
    assert value(negated, params) == pytest.approx(-float(problem.loss(params)))
    assert negated.theory(params) is None and negated.structure is None
    for prove in (lambda: proof.certify(negated, params), lambda: proof.certify_unbounded(negated)):
        with pytest.raises(ValueError, match=r"expected a problem of vae\.elementwise_vae"):
            prove()


@pytest.mark.slow
def test_at_gamma_equal_to_an_eigenvalue_theory_alone_tells_the_optimum():
    problem = vae.threshold_vae(np.array([[1.0], [-1.0]]), 1, 0.0, gamma=1.0)
    for seed in range(3):
        point = stationary.find(problem, jax.random.key(seed), 0.7)
        assert point.inertia.flat == 1 and point.symmetries == 0  # which no eigenvalue tells
        assert point.label == "global optimum"  # of the affine model: nothing is lower


@pytest.mark.slow
def test_a_dead_row_is_judged_as_the_zero_it_amounts_to():
    rng = np.random.default_rng(1)
    t, z = rng.normal(size=8), 0.3 * rng.normal(size=8)
    problem = vae.threshold_vae(np.stack([z, 3 * t], axis=1), 1, 0.2)
    start = problem.collapsed()._replace(
        weight=jnp.array([[0.0], [3.0]]),
        log_gamma=jnp.log(0.1),
        mean=t[:, None],
        log_std=jnp.full((8, 1), -2.0),
    )
    params = stationary.refine(problem, start).params
    faint = params._replace(weight=params.weight.at[0, 0].set(0.2 / 2.6))
    assert stationary.analyze(problem, faint).inertia.flat == 1
    assert stationary.analyze(problem, faint).label.startswith("degenerate saddle")


@pytest.mark.parametrize(
    ("offset", "unit"), [(0.0, 1.0), (1e5, 1.0), (0.0, 1e-4), (0.0, 1e4), (-30.0, 10.0)]
)
def test_verdicts_do_not_depend_on_the_datas_origin_and_unit(analyze_collapsed, offset, unit):
    for alpha, label in ((0.3, "collapsed local minimum"), (0.0, "saddle of index 4, collapsed")):
        point = analyze_collapsed(offset + unit * X, unit * alpha)
        assert point.label == label
        assert point.theory.radius == pytest.approx(
            unit * float(theory.collapse_radius(X, alpha).radius), rel=1e-6
        )


def test_an_index_does_not_hide_in_the_datas_unit(analyze_collapsed):
    assert analyze_collapsed(1e6 * X, 0.0).label == "saddle of index 4, collapsed"


def test_a_failed_step_never_moves_the_point():
    cliff = Problem(loss=lambda w: jnp.where(w[0] == 1.0, 0.0, jnp.nan) + w[0] ** 2)
    refined = stationary.refine(cliff, jnp.array([1.0]))
    assert not refined.converged
    assert refined.params[0] == 1.0
    assert refined.moved == 0
    broken = stationary.refine(cliff, jnp.array([2.0]))
    assert broken.params[0] == 2.0
    label = stationary.analyze(cliff, broken.params).label
    assert label == "not stationary: the energy here is nan"


@pytest.mark.parametrize(
    ("loss", "label"),
    [
        (lambda w: w[0] ** 2 + w[1] ** 2, "local minimum"),
        (lambda w: w[0] ** 2 + w[1] ** 4, "degenerate, 1 flat direction"),
        (lambda w: w[0] ** 2 - w[1] ** 4, "degenerate saddle, descent along a flat direction"),
        (lambda w: w[0] ** 2 - w[1] ** 2, "saddle of index 1"),
        (lambda w: -(w[0] ** 2) + w[1] ** 4, "saddle of index 1 or more"),
        (lambda w: -(w[0] ** 2) - w[1] ** 2, "maximum"),
        (lambda w: w[0] ** 2 + w[1], "not stationary"),
        (lambda w: 0.0 * w[0], "degenerate, 2 flat directions"),
    ],
)
def test_verdicts_on_functions_anyone_can_judge(loss, label):
    assert stationary.analyze(Problem(loss=loss), jnp.zeros(2)).label == label


def test_a_pixel_that_never_varies_keeps_the_verdict_and_a_varying_dead_one_does_not(
    refine_and_analyze,
):
    # A fourth column that is constant: its row at zero is a strict minimum of its own. The faint
    # one's falls.
    varied = data.gaussian(14, [3.0, 1.5, 0.6], seed=3)
    constant = np.column_stack([varied, np.full(14, 0.7)])
    faint = np.column_stack([varied, np.where(np.arange(14) % 2, 0.7, 0.7001)])
    labels = []
    for matrix in (constant, faint):
        start = vae.threshold_vae(matrix, 2, 0.05).init(jax.random.key(0), 1.0)
        _, point = refine_and_analyze(
            0.05, start._replace(weight=start.weight.at[3].set(0.0)), matrix
        )
        print(point.label, point.inertia)
        assert tuple(point.inertia)[:2] == (0, 2)
        labels.append(point.label)
    assert labels == ["local minimum", "degenerate saddle, descent along 1 row at zero"]


def test_verdicts_are_the_same_under_vmap_and_read_as_an_array_of_words():
    problem = vae.threshold_vae(X, 2, 0.0)
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(e.params for e in AFFINE))
    points = jax.jit(jax.vmap(lambda p: stationary.analyze(problem, p)))(batch)
    alone = [stationary.analyze(problem, e.params) for e in AFFINE]
    assert list(points.label) == [p.label for p in alone]
    assert points.inertia.negative.tolist() == [e.negative for e in AFFINE]
    assert points.evidence.shape == (len(AFFINE),)


def test_points_that_differ_by_a_signed_permutation_of_the_latents_are_one(find):
    problem = vae.threshold_vae(X, 2, 0.0)
    points = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), *(find(0.0, 0.5, seed) for seed in range(6))
    )
    groups = tally.distinct(problem, points.loss, points.params)
    assert [len(g) for g in groups] == [6]
    best = next(e for e in AFFINE if e.retained == (0, 1)).params
    mirrored = best._replace(
        weight=-best.weight[:, ::-1], mean=-best.mean[:, ::-1], log_std=best.log_std[:, ::-1]
    )
    assert tally.distance(problem, best, mirrored) < 1e-12
    half = best._replace(weight=-best.weight)
    assert tally.distance(problem, best, half) > 0.1
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(e.params for e in AFFINE))
    assert len(tally.distinct(problem, jnp.array([e.loss for e in AFFINE]), batch)) == len(AFFINE)


@pytest.mark.slow
def test_escapes_lead_from_rows_at_zero_to_lower_minima():
    digits = data.load("digits-4x4", limit=40)

    def end(escapes):
        def run(i):
            return stationary.find(
                vae.threshold_vae(digits, 2, 0.2),
                jax.random.key(i),
                0.5,
                optimize.adam(800),
                escapes=escapes,
            )

        return jax.jit(lambda seeds: jax.lax.map(run, seeds))(jnp.arange(3))

    stay, leave = end(0), end(6)
    print(*stay.label, *leave.label, leave.loss - stay.loss)
    assert all(label.startswith("degenerate saddle, descent along") for label in stay.label)
    assert (leave.theory.falling < stay.theory.falling).all()
    assert (leave.loss < stay.loss - 0.5 * stay.theory.drop).all()
    assert "local minimum" in leave.label


def test_find_goes_on_from_a_saddle_when_asked_to():
    # Gradient descent from the axis of a saddle stays on it; an escape leaves it.
    def loss(w):
        return w[0] ** 2 + (w[1] ** 2 - 1.0) ** 2

    problem = Problem(loss=loss, init=lambda key, scale: jnp.array([1.0, 0.0]))
    descent = optimize.gradient_descent(200, 0.1)
    stay = stationary.find(problem, jax.random.key(0), optimizer=descent)
    leave = stationary.find(problem, jax.random.key(0), optimizer=descent, escapes=2)
    assert stay.label == "saddle of index 1"
    assert leave.label == "local minimum"
    assert abs(leave.params[1]) == pytest.approx(1.0)


def test_find_needs_a_start():
    with pytest.raises(ValueError, match="expected a problem with init"):
        stationary.find(Problem(loss=lambda w: w**2), jax.random.key(0))


def test_analysis_in_float32_is_refused():
    with pytest.raises(ValueError, match="expected float64 parameters for analysis, got float32"):
        stationary.analyze(Problem(loss=lambda w: jnp.sum(w**2)), jnp.zeros(2, jnp.float32))
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="jax_enable_x64"):
        stationary.analyze(Problem(loss=lambda w: jnp.sum(w**2)), jnp.zeros(2))
