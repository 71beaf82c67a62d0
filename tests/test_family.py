"""Activations x likelihoods: energies and derivatives against 50 digits, collapse, and doors."""

import pickle
from dataclasses import replace

import family_cases
import family_cells
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from family_cases import LIKELIHOODS, cases
from family_cells import BENT
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

from vaesurface import activations, bordered, optimize, stationary, theory, vae
from vaesurface.stationary import Kind
from vaesurface.theory.corner import corner, threshold
from vaesurface.vae import corners
from vaesurface.vae.likelihood import Bernoulli

KINKED = ("soft threshold", "hard tanh", "relu", "abs", "own kinks")
CELLS = [
    (bent, likelihood)
    for bent in BENT
    for likelihood in LIKELIHOODS
    if not (likelihood == "poisson" and bent in ("exp", "cubic", "quintic"))
    and not (likelihood == "categorical" and bent in KINKED)
]
SOME = [
    ("tanh", "bernoulli"),
    ("relu", "negative binomial"),
    ("hard tanh", "poisson"),
    ("own kinks", "gaussian per feature learned"),
    ("erf", "categorical"),
]
POINTS = (  # alpha, largest deviation of w.z or so, whether a row is at zero
    (0.3, 1.5, False),
    (1.0, 1.5, False),
    (0.0, 1.5, False),
    (0.3, 1e-6, False),
    (1.0, 0.6, True),
)


# Energies and derivatives


def both(bent, likelihood, points):
    """(off, rounding, first, second) at each point: errors of the energy, relative to it, of its
    derivative along each array and along all, and of the second derivative along all.
    """
    problem = family_cells.member(bent, likelihood)
    at = family_cells.reference(bent, likelihood)
    params = problem.collapsed()

    @jax.jit
    def along(problem, params, theta, direction):
        def first(theta):
            slope = jax.grad(lambda theta: family_cells.loss_at(problem, params, theta))(theta)
            return {name: jnp.vdot(slope[name], direction[name]) for name in theta}

        slopes, bends = jax.jvp(first, (theta,), (direction,))
        return slopes, sum(bends.values())

    for seed, (alpha, size, dead) in enumerate(points):
        if bent == "identity" and alpha:
            continue
        here = problem if bent == "identity" else replace(problem, alpha=jnp.asarray(alpha))
        params = family_cells.point(problem, size, dead, seed)
        theta = family_cells.numbers(here, params)
        rng = np.random.default_rng(seed)
        direction = jax.tree.map(lambda x, rng=rng: jnp.asarray(rng.normal(size=x.shape)), theta)
        edge = bent in ("identity", "hard tanh", "soft threshold") and alpha == 0
        cornered = dead and bent in ("relu", "abs", "own kinks")
        if edge and "alpha" in theta:  # alpha has one side there
            direction["alpha"] = jnp.zeros(())
        if cornered:  # as has the weight
            direction["weight"] = direction["weight"].at[0].set(0.0)
            direction["mean"] = jnp.zeros_like(direction["mean"])
        slopes, bend = along(here, params, theta, direction)
        exact = {name: family_cells.exact(each) for name, each in theta.items()}
        tiny = mp.mpf(10) ** -12
        below, level, above = family_cells.line(at, exact, direction, tiny)
        first, second = (
            float((above - below) / (2 * tiny)),
            float((above - 2 * level + below) / tiny**2),
        )
        value = here.loss(params)
        error = abs(float(mp.mpf(float(value)) - level))
        yield (
            error / max(1.0, abs(float(level))),
            error <= here.rounding(params),
            abs(float(sum(slopes.values())) - first) / max(1.0, abs(first)),
            0.0 if cornered else abs(float(bend) - second) / max(1.0, abs(second)),
        )


def assert_right(bent, likelihood, points):
    with mp.workdps(family_cells.DIGITS):
        for off, told, first, second in both(bent, likelihood, points):
            print(bent, likelihood, f"{off:.1e} {first:.1e} {second:.1e}")
            assert off < 1e-12
            assert told
            assert first < 1e-9
            assert second < 1e-7


@pytest.mark.parametrize(("bent", "likelihood"), SOME)
def test_some_cells_are_what_mpmath_says(bent, likelihood):
    assert_right(bent, likelihood, POINTS[1:3] if bent == "hard tanh" else POINTS[-1:])


@pytest.mark.slow
@pytest.mark.parametrize(("bent", "likelihood"), CELLS)
def test_every_cell_is_what_mpmath_says(bent, likelihood):
    assert_right(bent, likelihood, POINTS)
    jax.clear_caches()  # a process has room for so many programs


@pytest.mark.parametrize("v", [0.0, 1e-12, 9e-6, 1.1e-5, 1e-3])
def test_the_variance_of_tanh_keeps_its_digits_where_it_is_small(v):
    tanh = activations.NAMED["tanh"]
    for m in (0.0, 0.3, -1.5):
        found = tanh.moments(jnp.array(m), jnp.array(v), 1.0)
        with mp.workdps(40):
            exact = power_of_tanh(2, m, v) - power_of_tanh(1, m, v) ** 2 if v else 0.0
        assert float(found.variance) == pytest.approx(float(exact), rel=1e-8, abs=0.0)


def power_of_tanh(k, m, v):
    def density(z):
        return mp.npdf(z) * mp.tanh(m + mp.sqrt(v) * z) ** k

    return mp.quad(density, [-12, -6, 0, 6, 12])


@pytest.mark.parametrize("name", ["identity", "tanh", "softplus", "cubic"])
def test_a_wide_gaussian_costs_no_digits(name):
    bend, value = activations.NAMED[name], BENT[name].value
    for m, s, b in ((0.3, 6.0, 0.2), (-2.0, 50.0, 4.0)):
        got = Bernoulli().expected(bend, *map(jnp.asarray, (m, s * s, 0.5, b, 1.0)))
        with mp.workdps(30):

            def density(u, m=m, s=s, b=b):
                y = value(mp.mpf(u), mp.mpf(0.5)) + b
                softplus = y if y > 200 else mp.log1p(mp.exp(y))
                return softplus * mp.npdf(u, m, s)

            inner = [-12, -6, -3, -1, 0, 1, 3, 6, 12]
            places = sorted({*(m + s * t for t in range(-10, 11, 2)), *inner})
            exact = mp.quad(density, places, maxdegree=8)
        assert float(got) == pytest.approx(float(exact), rel=1e-12)


# Collapse


def judged(case):
    """Indices by the dense Hessian, by the border and by the verdict; and the verdict."""
    problem = case.problem
    start, unravel = ravel_pytree(problem.collapsed())
    values = np.linalg.eigvalsh(DENSE(problem, start))
    negative = int((values < -1e-10 * np.abs(values).max()).sum())
    point = stationary.analyze(problem, unravel(start))
    border = bordered.inertia(problem, unravel(start))
    return negative, int(border.negative), int(point.inertia.negative), point


@jax.jit
def DENSE(problem, x):
    unravel = ravel_pytree(problem.collapsed())[1]
    return jax.hessian(lambda x: problem.loss(unravel(x)))(x)


SOME_SEEDS = 5


def count(bents, likelihoods, seeds):
    """Cases whose index was right; raises at the first that is not."""
    right = 0
    for i, bent in enumerate(bents):
        for j, likelihood in enumerate(likelihoods):
            if (bent, likelihood) not in CELLS:
                continue
            for seed in seeds:
                alpha = 0.0 if bent == "identity" else (0.05, 0.3, 0.7, 0.9)[seed % 4]
                case = cases(BENT[bent].member, likelihood, alpha, 1 + (i + j) % 2, seed)
                *indices, point = judged(case)
                assert indices == [case.index] * 3, (bent, likelihood, seed)
                kind = Kind.SADDLE if case.index else Kind.MINIMUM
                assert point.kind == kind and point.theory.collapsed, (bent, likelihood, seed)
                right += 1
            if len(seeds) > SOME_SEEDS:
                print(bent, likelihood, right, flush=True)
                jax.clear_caches()
    return right


def test_some_indices_of_collapse():
    assert count(["sin"], ["gaussian learned", "negative binomial"], range(SOME_SEEDS)) == 10


def test_logits_that_move_alike_are_no_degeneracy():
    problem = cases("tanh", "categorical", 0.5, 1, seed=0).problem
    start = problem.collapsed()
    moved = start._replace(weight=start.weight + 0.3)
    assert problem.loss(moved) == pytest.approx(float(problem.loss(start)), rel=1e-14)
    assert problem.family(start) == problem.family(moved) == 1
    tilted = start._replace(weight=start.weight.at[0].set(0.3))
    assert problem.family(tilted) == 0
    nearly = problem.settle(moved._replace(weight=moved.weight.at[0].add(1e-13)))
    assert jnp.ptp(nearly.weight) == 0


@pytest.mark.slow
def test_all_indices_of_collapse():
    smooth = [bent for bent in BENT if bent not in KINKED]
    total = count([*smooth, "hard tanh"], LIKELIHOODS, range(8))
    print(f"{total} indices of collapse")
    assert total > 500


def relaxed(problem, weight):
    """By how much the energy changes at that weight, all else at its best."""
    start = problem.collapsed()
    x, unravel = ravel_pytree(start._replace(weight=None))
    both = jax.jit(jax.value_and_grad(lambda x: problem.loss(unravel(x)._replace(weight=weight))))
    found = minimize(lambda x: [np.asarray(each) for each in both(x)], x, jac=True, tol=1e-11)
    return found.fun - float(problem.loss(start))


def form(problem, weight):
    """`theory.corner`'s, of a weight (d, k)."""
    own = corner(*(float(slope) for slope in problem.bend.slopes(problem.alpha)))
    leaning = problem.leaning()
    left, n = np.asarray(leaning.left * leaning.bend), len(problem.X)
    length = np.linalg.norm(weight, axis=1)
    cost = own.variance * np.asarray(leaning.stiffness).mean(axis=0) @ length**2
    odd = own.slope**2 * np.sum((left @ weight) ** 2) / n
    even = 0.5 * own.level**2 * np.sum((left @ (weight**2 / length[:, None])) ** 2) / n
    return cost - (odd + even) / float(problem.beta)


@pytest.mark.parametrize(
    ("bent", "likelihood", "alpha", "latent"),
    [
        ("abs", "gaussian learned", 1.0, 1),
        ("relu", "bernoulli", 0.6, 2),
        ("own kinks", "negative binomial", 0.8, 2),
    ],
)
def test_the_leading_form_of_a_corner_is_what_the_energy_does(bent, likelihood, alpha, latent):
    case = cases(BENT[bent].member, likelihood, alpha, latent, seed=1)
    weight = np.random.default_rng(0).normal(size=(family_cases.D, latent))
    weight /= np.linalg.norm(weight)
    step = 1e-3
    got = relaxed(case.problem, jnp.asarray(step * weight)) / step**2
    assert got == pytest.approx(form(case.problem, weight), rel=1e-2)


def test_deviations_alone_can_lead_out_of_collapse():
    # |w.z| has no slope on average, so means are of no use; that signs agree is what counts.
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(12, 1)) + 0.1 * rng.normal(size=(12, 3))
    least, certain = threshold(-1.0, 1.0, 1.0)
    assert certain == np.inf and least == pytest.approx(np.pi - 2.0)
    for signs, kind in (((1, 1, 1), Kind.SADDLE), ((-1, 1, 0), Kind.DEGENERATE)):
        X = scores * np.asarray(signs) + 0.05 * rng.normal(size=(12, 3))
        problem = vae.elementwise_vae(X, 2, "abs", 1.0, beta=1.8)
        found = stationary.analyze(problem, problem.collapsed())
        assert found.kind == kind, found.label
        if kind == Kind.SADDLE:
            lower = jax.tree.map(jnp.add, found.params, found.descent)
            assert problem.loss(lower) < found.loss - problem.rounding(found.params)
            assert "or more" in found.label
        else:
            assert found.label.startswith("undecided, no fall of the leading form")
    far = vae.elementwise_vae(X, 2, "abs", 1.0, beta=100.0)
    assert stationary.analyze(far, far.collapsed()).label == "collapsed local minimum"


@pytest.mark.parametrize("beta", [1e-6, 0.9])
def test_the_way_down_a_corner_leads_down(beta):
    case = cases("relu", "bernoulli", 0.5, 2, seed=3)
    problem = replace(case.problem, beta=jnp.asarray(beta * case.ratios[0]))
    found = problem.theory(problem.collapsed())
    lower = jax.tree.map(jnp.add, problem.collapsed(), found.descent)
    start = problem.collapsed()
    assert found.form[0] > 0
    assert problem.loss(lower) < problem.loss(start) - problem.rounding(start)


def test_a_flat_slope_is_no_dead_zone():
    # At alpha = 1 the cubic's slope at 0 is 0, and far-off data make collapse a saddle: 9 R > 15.
    X = np.array([[3.0, 0.0], [-3.0, 0.0], [0.0, 0.1], [0.0, -0.1]])
    problem = vae.elementwise_vae(X, 1, "cubic", 1.0, gamma=1.0)
    start = problem.collapsed()
    assert problem.theory(start).strict == 0
    step = 0.02  # the mean follows 3 step^3 r, though no dead zone would let it
    lower = start._replace(
        weight=start.weight.at[0, 0].set(step),
        mean=jnp.asarray(3 * step**3 * X[:, :1]),
    )
    assert problem.loss(lower) < problem.loss(start) - problem.rounding(start)
    dead = vae.elementwise_vae(X, 1, "soft threshold", 0.5, "gaussian per feature", gamma=1.0)
    assert dead.theory(dead.collapsed()).strict == 2


@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson", "negative binomial"])
def test_nothing_is_lower_within_a_dead_zones_radius(likelihood):
    case = cases("soft threshold", likelihood, 0.8, 1, seed=2)
    problem, start = case.problem, case.problem.collapsed()
    leaning = problem.leaning()
    pull = corners.pull(leaning, problem.beta)
    radius = theory.dead_zone_radius(problem.alpha, pull, leaning.cubic)
    known = problem.theory(start)
    assert known.radius == pytest.approx(float(radius)) and known.limit
    left = leaning.left * leaning.bend
    for reach in (0.5, 0.999):
        # All rows as the datum that is pulled most would have them, its mean wherever that is best.
        most = jnp.argmax(jnp.sum(left**2 / leaning.stiffness, axis=1))
        weight = start.weight.at[:, 0].set(reach * radius * jnp.sign(left[most]))
        means = jnp.linspace(-0.05, 0.05, 201)
        centers = jnp.zeros((len(means), *start.mean.shape)).at[:, most, 0].set(means)
        levels = jax.vmap(
            lambda mean, weight=weight: problem.loss(start._replace(weight=weight, mean=mean))
        )(centers)
        assert levels.min() > problem.loss(start)
    rng = np.random.default_rng(0)
    for scale in (1e-3, 1e-2):
        rows = rng.normal(size=(64, *start.weight.shape))
        rows *= radius / np.linalg.norm(rows, axis=2, keepdims=True)
        moved = [
            jnp.asarray(scale * rng.normal(size=(64, *leaf.shape)))
            for leaf in (start.bias, start.mean, start.log_std)
        ]
        levels = jax.vmap(
            lambda w, b, m, s: problem.loss(
                start._replace(weight=w, bias=start.bias + b, mean=m, log_std=s)
            )
        )(jnp.asarray(rows), *moved)
        assert levels.min() > problem.loss(start)


def test_the_evidence_names_a_dead_zones_radius():
    problem = cases("soft threshold", "bernoulli", 0.8, 1, seed=2).problem
    point = stationary.analyze(problem, problem.collapsed())
    (told,) = [words for words in point.evidence.values() if "shorter than" in words]
    assert told.endswith(
        f"nothing is lower while every row of the weight is shorter than "
        f"{float(point.theory.radius):.4g} and all other parameters are near enough to the "
        f"collapsed point's"
    )
    smooth = cases("soft threshold", "bernoulli", 0.0, 1, seed=2).problem
    known = smooth.theory(smooth.collapsed())
    assert (known.radius, known.limit) == (0, False)


# Ends of descent


@pytest.mark.parametrize("bent", ["tanh", pytest.param("relu", marks=pytest.mark.slow)])
def test_wide_ends_are_stationary_and_collapsed_ones_are_called_so(bent):
    X = family_cases.draw("bernoulli", np.random.default_rng(5))
    for beta, label in ((0.3, "local minimum"), (3.0, "collapsed local minimum")):
        problem = vae.elementwise_vae(X, 2, bent, 0.5, "bernoulli", beta=beta)
        found = stationary.find(problem, jax.random.key(0), 0.5, optimize.adam(400))
        assert found.label == label


def test_a_row_at_zero_beside_others_is_another_corner():
    case = cases("relu", "gaussian", 0.5, 1, seed=0)
    start = case.problem.init(jax.random.key(0), 0.5)
    assert case.problem.theory(start._replace(weight=start.weight.at[1].set(0.0))).corner
    assert not case.problem.theory(start).corner
    bend = activations.numeric(lambda u: -(u**2), lambda u: u**2, kinks=(0.0,), name="square")
    assert not bend.smooth_at_zero and activations.NAMED["tanh"].smooth_at_zero


# Doors


def doubly(u):
    return jnp.tanh(2 * u)


def three(u):
    return 3.0 * jnp.sqrt(1.0 + u * u)


def test_a_function_of_ones_own():
    X = family_cases.draw("gaussian", np.random.default_rng(0))
    counts = family_cases.draw("poisson", np.random.default_rng(0))
    first, again = (vae.elementwise_vae(X, 1, doubly, alpha) for alpha in (0.2, 0.4))
    assert jax.tree.structure(first) == jax.tree.structure(again)
    assert first.bend.name == "doubly"
    traced = jax.jit(lambda a: vae.elementwise_vae(X, 1, doubly, a).loss(first.collapsed()))
    assert traced(0.2) == pytest.approx(float(first.loss(first.collapsed())), rel=1e-14)
    # A slope of 3 moves the mass of exp by three deviations.
    rates = vae.elementwise_vae(counts, 1, three, 1.0, "poisson")
    got = rates.noise.expected(rates.bend, *map(jnp.asarray, (0.0, 4.0, 1.0, 0.0, 1.0)))
    with mp.workdps(30):
        exact = mp.quad(
            lambda u: mp.exp(3 * mp.sqrt(1 + u * u)) * mp.npdf(u, 0, 2), np.linspace(-40, 40, 41)
        )
    assert float(got) == pytest.approx(float(exact), rel=1e-12)
    for wrong, message in (
        (lambda u: jnp.maximum(u, 0.0), "smooth between its kinks.*off by.*say where it has kinks"),
        (activations.numeric(jnp.exp), "off by"),
        (
            activations.numeric(doubly, three, kinks=(0.0,)),
            "continuous at 0.*jumps there from 0 to",
        ),
        (np.tanh, "function of JAX arrays, elementwise, got tanh"),
        (3, "expected an activation out of identity, .*got 3; choose one"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            vae.elementwise_vae(X, 1, wrong, 0.2)
        assert "\n" not in str(refused.value)
    with pytest.raises(ValueError, match="expected functions of JAX arrays, got 3"):
        activations.numeric(3)
    with pytest.raises(ValueError, match="it grows faster than u; choose another activation"):
        vae.elementwise_vae(counts, 1, lambda u: u**2, 0.2, "poisson")


def test_members_are_values():
    X = family_cases.draw("gaussian", np.random.default_rng(0))
    start = jax.jit(lambda problem: problem.loss(problem.collapsed()))
    for name in ("tanh", "relu", "quintic"):
        problem = vae.elementwise_vae(X, 1, BENT[name].member, 0.2)
        back = pickle.loads(pickle.dumps(problem))
        assert jax.tree.structure(back) == jax.tree.structure(problem)
        before = start._cache_size()
        start(problem), start(back), start(replace(problem, alpha=0.3))
        assert start._cache_size() == before + 1


def test_cells_that_do_not_exist_are_refused_in_one_line():
    X = family_cases.draw("gaussian", np.random.default_rng(0))
    counts = family_cases.draw("poisson", np.random.default_rng(0))
    words = family_cases.draw("categorical", np.random.default_rng(0))
    constant = np.column_stack([X, np.ones(len(X))])
    for arguments, options, message in (
        ((counts, 1, "cubic", 0.1, "poisson"), {}, "exp of a polynomial of degree 3 has no Gauss"),
        ((counts, 1, "exp", 0.1, "poisson"), {}, "exp has no|exp.alpha exp.u.. has no"),
        (
            (words, 1, "relu", 0.1, "categorical"),
            {},
            "expected a smooth activation with likelihood",
        ),
        (
            (constant, 1, "tanh", 0.1, "gaussian per feature"),
            {},
            "got feature 3, which is constant",
        ),
        (
            (X, 1, "tanh", 0.1, "gaussian per feature"),
            {"gamma": np.ones(4)},
            "a number or 3 of them",
        ),
        ((X, 1, "tanh", 0.1), {"gamma": "a"}, "expected gamma > 0"),
        ((X, 1, "tanh", 1.5), {}, "expected alpha <= 1, got alpha = 1.5"),
        ((X, 1, "tanh", 0.1), {"dispersion": 1.0}, "expected no dispersion with"),
    ):
        with pytest.raises(ValueError, match=message) as refused:
            vae.elementwise_vae(*arguments, **options)
        assert "\n" not in str(refused.value)
