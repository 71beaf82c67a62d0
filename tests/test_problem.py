"""A problem is a value: an argument of programs, a pytree that maps and differentiates, and what is
none is refused at the door."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import bordered, curvature, data, paths, stationary, sweep, vae
from vaesurface.problem import Problem, adopt
from vaesurface.stationary import descent

X = data.antipodal(d=2)


@partial(jax.tree_util.register_dataclass, data_fields=["depth"], meta_fields=[])
@dataclass(frozen=True)
class Wells:
    """Somebody's own class, which inherits nothing: wells at -1 and 1, a saddle between them."""

    depth: jax.Array

    def loss(self, w):
        return self.depth * (w[0] ** 2 - 1) ** 2 + w[1] ** 2


class Bowl:
    """Another one, of which JAX knows nothing."""

    def loss(self, w):
        return jnp.sum(w**2)


def test_problems_are_pytrees_of_their_arrays():
    problem = vae.threshold_vae(X, 1, 0.1, gamma=0.5)
    assert [np.shape(leaf) for leaf in jax.tree.leaves(problem)] == [(2, 2), (), (), ()]
    again = jax.tree.map(lambda leaf: leaf, problem)
    assert (again.latent, float(again.alpha)) == (1, 0.1)
    other = replace(problem, alpha=jnp.asarray(0.7))
    assert other.loss(problem.init(jax.random.key(0), 1.0)) != problem.loss(
        problem.init(jax.random.key(0), 1.0)
    )


def test_a_map_over_problems_and_a_derivative_in_a_hyper_parameter():
    params = vae.threshold_vae(X, 1, 0.1).init(jax.random.key(0), 1.0)
    alphas = jnp.array([0.1, 0.3, 0.5])
    problems = jax.vmap(lambda alpha: vae.threshold_vae(X, 1, alpha))(alphas)
    mapped = jax.vmap(lambda problem: problem.loss(params))(problems)
    singly = [vae.threshold_vae(X, 1, alpha).loss(params) for alpha in alphas]
    np.testing.assert_allclose(mapped, jnp.stack(singly), rtol=1e-14)
    problem, rate = jax.jvp(lambda a: vae.threshold_vae(X, 1, a), (alphas[1],), (jnp.ones(()),))
    slope = jax.jvp(lambda p: p.loss(params), (problem,), (rate,))[1]
    step = 1e-5
    ends = [vae.threshold_vae(X, 1, alphas[1] + s).loss(params) for s in (step, -step)]
    assert slope == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=1e-7)


def test_a_class_of_ones_own_is_a_problem_and_one_program_serves_all_of_it():
    program = descent.refine.program
    for depth in (1.0, 2.0):
        wells = Wells(jnp.asarray(depth))
        assert stationary.analyze(wells, jnp.zeros(2)).label == "saddle of index 1"
        assert stationary.refine(wells, jnp.array([0.8, 0.1])).params[0] == pytest.approx(1.0)
        if depth == 1.0:
            programs = program._cache_size()
    assert program._cache_size() == programs
    assert stationary.analyze(Bowl(), jnp.zeros(2)).label == "local minimum"


def test_it_vectorizes_and_has_paths():
    def run(depth, start):
        return stationary.refine(Wells(depth), jnp.stack([start, 0.1]))

    ends = sweep.grid(run, depth=[1.0, 2.0], start=[-0.7, 0.0, 0.7])
    assert ends.converged.all()
    np.testing.assert_allclose(ends.params[..., 0], [[-1.0, 0.0, 1.0]] * 2, atol=1e-9)
    left, right = (jnp.array([x, 0.0]) for x in (-1.0, 1.0))
    crossing = paths.barrier(Wells(jnp.asarray(2.0)), left, right)
    assert crossing.home and crossing.height == pytest.approx(2.0, abs=1e-9)
    assert crossing.label == "saddle of index 1: a pass out of the first end"


def test_what_a_problem_lacks_is_named():
    bare = Problem(loss=lambda w: jnp.sum(w**2))
    for use, name in (
        (lambda: bare.init(jax.random.key(0)), "init"),
        (lambda: bare.collapsed(), "collapsed"),
        (lambda: bare.autoencoder(jnp.zeros(1)), "autoencoder"),
        (lambda: bare.restrict(jnp.zeros(1), jnp.ones(1, bool)), "restrict"),
        (lambda: bare.deterministic(), "deterministic"),
        (lambda: bare.sampled(jnp.zeros(1), jax.random.key(0)), "sampled"),
        (lambda: stationary.find(bare, jax.random.key(0)), "init"),
    ):
        with pytest.raises(ValueError, match=f"expected a problem with {name}, got one without; "):
            use()
    with pytest.raises(TypeError, match=r"expected functions named init, .*, got initialize"):
        Problem(loss=lambda w: w, initialize=lambda key: key)


def test_the_old_name_of_replace_warns():
    problem = Problem(loss=lambda w: jnp.sum(w**2))
    with pytest.warns(DeprecationWarning, match=r"Problem\._replace is now Problem\.replace"):
        assert problem._replace(size=jnp.ones_like).has("size")


@pytest.mark.parametrize(
    "use",
    [
        lambda problem, params: stationary.refine(problem, params),
        lambda problem, params: stationary.analyze(problem, params),
        lambda problem, params: descent.descend(problem, params),
        lambda problem, params: curvature.hessian(problem.loss, params),
        lambda problem, params: curvature.inertia(problem.loss, params),
        lambda problem, params: paths.minimum_energy_path(problem, params, 2 * params + 1),
    ],
)
def test_a_loss_that_is_no_real_number_is_refused(use):
    for loss, got in (
        (lambda w: w**2, r"float64 of shape \(2,\)"),
        (lambda w: jnp.sum(w) > 0, r"bool of shape \(\)"),
        (lambda w: jnp.sum(w) * 1j, r"complex128 of shape \(\)"),
    ):
        with pytest.raises(ValueError, match=f"expected a loss that is one real number, got {got}"):
            use(Problem(loss=loss), jnp.ones(2))


def test_params_keys_and_latents_of_another_kind_are_refused():
    problem = vae.threshold_vae(X, 1, 0.1)
    params = vae.threshold_vae(data.antipodal(d=3), 1, 0.1).collapsed()
    for use in (stationary.refine, stationary.analyze, bordered.inertia):
        with pytest.raises(ValueError, match="expected parameters of shapes VAEParams"):
            use(problem, params)
    with pytest.raises(ValueError, match="expected a random key, got 3; make"):
        stationary.find(problem, 3)
    with pytest.raises(ValueError, match="expected a random key, got float64 of shape"):
        problem.init(jnp.ones(2))
    for latent in (1.5, "2", None):
        with pytest.raises(ValueError, match="expected a whole number of latents, got"):
            vae.threshold_vae(X, latent, 0.1)
    assert adopt(problem) is problem
    with pytest.raises(ValueError, match="expected float64 parameters for refinement, got float32"):
        stationary.refine(Problem(loss=jnp.sum), jnp.zeros(2, jnp.float32))


def bare(w):
    return (w[0] ** 2 - 1) ** 2 + w[1] ** 2


def test_a_bare_loss_is_a_problem_to_every_verb():
    own, top, ends = Problem(loss=bare), jnp.zeros(2), (jnp.array([1.0, 0.0]), jnp.array([-1.0, 0]))
    point = stationary.analyze(bare, top)
    assert point.label == stationary.analyze(own, top).label == "saddle of index 1"
    assert adopt(jax.jit(bare)).loss(top) == adopt(partial(bare)).loss(top) == 1.0
    assert stationary.refine(bare, top + 0.01).converged
    assert stationary.distance(bare, *ends) == 2.0
    assert stationary.align(bare, *ends).tolist() == [-1.0, 0.0]
    assert len(stationary.distinct(bare, np.zeros(2), np.stack(ends))) == 2
    assert stationary.best_of(bare, np.zeros(2), np.stack(ends)).distinct == 2
    compiled = stationary.refine.program._cache_size()
    stationary.refine(bare, top + 0.02)
    assert stationary.refine.program._cache_size() == compiled
    with pytest.raises(ValueError, match="expected a problem with init, got one without"):
        stationary.find(bare, jax.random.key(0))


def test_what_may_mean_more_than_a_loss_says_how_to_wrap_it():
    problem, x = vae.threshold_vae(X, 1, 0.1), jnp.ones(2)
    held = jax.tree_util.Partial(lambda s, w: s * bare(w), x[0])
    for value, expected in (
        (held, "got Partial, which holds arrays or has no hash; wrap it: Problem.loss=lambda"),
        (problem.loss, "got a method of ThresholdVAE; give that problem, or"),
        (vae.ThresholdVAE, "got the class ThresholdVAE; give one that is made of it"),
        (x, "got ArrayImpl; give a function loss"),
    ):
        with pytest.raises(TypeError, match=expected):
            stationary.analyze(value, x)
    with pytest.raises(ValueError, match="got a function that makes problems; call it"):
        stationary.analyze(lambda w: Problem(loss=bare), x)
    with pytest.raises(ValueError, match=r"argument: 'X'; give .* lambda params: f\(params, X\)"):
        stationary.analyze(lambda w, X: bare(w), x)


@pytest.mark.slow
def test_a_bare_loss_has_ways_down_and_paths_too():
    assert stationary.descend(bare, jnp.zeros(2)).params[0] == pytest.approx(1.0)
    ends = jnp.array([1.0, 0.0]), jnp.array([-1.0, 0.0])
    assert paths.barrier(bare, *ends, images=10).height == pytest.approx(1.0)

    def make(height):
        return lambda w: (w[0] ** 2 - height) ** 2 + w[1] ** 2

    branch = paths.follow(make, ends[0], alpha=[1.0, 2.0])
    assert branch.point.params[-1, 0] == pytest.approx(2.0**0.5)


def test_a_refinement_says_why_it_ended():
    wells = Wells(jnp.asarray(1.0))
    assert stationary.refine(wells, jnp.array([0.9, 0.0])).reason == "a stationary point"
    hill = Problem(loss=lambda w: -jnp.sum(w**2))
    assert "as many steps as allowed" in descent.descend(hill, jnp.ones(2), max_steps=3).reason
    below = descent.descend(hill, jnp.ones(2), level=-5.0)
    assert below.reason == "it came below the level asked for" and hill.loss(below.params) < -5.0
    start = stationary.refine(Problem(loss=lambda w: jnp.sum(w / 0.0)), jnp.ones(2))
    assert start.reason == "the start's energy is not finite" and not start.converged


@pytest.mark.parametrize(("decay", "says"), [(0.0, True), (0.1, False)])
def test_where_parameters_run_away_a_refinement_says_what_helps(decay, says):
    def loss(w):
        return jnp.exp(-w[0]) + w[1] ** 2 + decay * jnp.sum(w**2)

    ended = stationary.refine(Problem(loss=loss), jnp.array([0.5, 0.1]), max_steps=20)
    assert ended.reason.startswith("it took as many steps") == says
    assert ("add weight decay" in ended.reason) == says
    if says:
        grown = float(jnp.linalg.norm(ended.params)) / 2**0.5
        assert f"grew to {grown:.3g} times their size" in ended.reason
    few = stationary.refine(Problem(loss=loss), jnp.array([0.5, 0.1]), max_steps=3)
    assert few.reason == "it took as many steps as allowed"


def test_descent_never_rises_and_goes_on_from_saddles():
    wells = Wells(jnp.asarray(1.0))
    end = descent.descend(wells, jnp.zeros(2))
    assert end.converged and abs(end.params[0]) == pytest.approx(1.0) and end.rise == 0
    assert descent.descend(wells, jnp.zeros(2), saddles=0).params.tolist() == [0.0, 0.0]


def test_fields_that_are_none_are_methods_that_a_value_lacks():
    class Held(NamedTuple):
        loss: Callable
        theory: Any = None

    held = Held(loss=lambda w: jnp.sum(w**2))
    assert stationary.analyze(held, jnp.zeros(2)).label == "local minimum"
    assert stationary.distance(held, jnp.zeros(2), jnp.array([3.0, 4.0])) == 5.0


def test_a_problem_that_is_no_pytree_is_refused_in_one_line():
    class Unregistered(Problem):
        def __init__(self):
            pass

        def loss(self, params):
            return jnp.sum(params**2)

    with pytest.raises(TypeError, match="is not registered; put"):
        stationary.refine(Unregistered(), jnp.zeros(2))


def test_descent_takes_no_step_that_moves_nothing():
    corner = descent.descend(Problem(loss=lambda w: jnp.sum(jnp.abs(w))), jnp.array([2.0, 1.0]))
    assert corner.steps < 100 and corner.reason.startswith("no step leads lower")


def test_a_first_end_that_is_all_but_a_minimum_is_polished():
    left, right = jnp.array([-1.0 + 1e-5, 1e-5]), jnp.array([1.0, 0.0])
    crossing = paths.barrier(Wells(jnp.asarray(1.0)), left, right)
    assert crossing.home and crossing.height == pytest.approx(1.0, abs=1e-9)


def test_a_field_may_be_replaced_by_a_plain_number_without_another_program():
    program = descent.refine.program
    problem = vae.threshold_vae(X, 1, 0.1)
    params = problem.init(jax.random.key(0), 0.1)
    stationary.refine(problem, params)
    programs = program._cache_size()
    stationary.refine(replace(problem, alpha=0.2), params)
    assert program._cache_size() == programs
    with pytest.raises(
        ValueError, match="expected alpha >= 0 as a finite number, got alpha = a; choose another"
    ):
        vae.threshold_vae(X, 1, "a")
    wanted = "expected alpha >= 0 as a finite number, got alpha = "
    with pytest.raises(ValueError, match=f"{wanted}a; choose another"):
        vae.threshold_vae(X, 1, "a")
    with pytest.raises(ValueError, match=wanted):
        vae.threshold_vae(X, 1, np.array([0.1, 0.2]))


@partial(jax.tree_util.register_dataclass, data_fields=["offset"], meta_fields=["tilt"])
@dataclass(frozen=True)
class Slope:
    """Arrays of its own, and a function that may hold more."""

    offset: jax.Array
    tilt: object

    def loss(self, w):
        return jnp.sum((w - self.offset) ** 2) + self.tilt(w)


def test_a_branch_follows_problems_whose_functions_hold_the_value():
    branch = paths.follow(
        lambda v: Slope(jnp.asarray(1.0), lambda w: -v * jnp.sum(w)), jnp.array([1.0]), a=[0.0, 1.0]
    )
    assert branch.point.params[-1, 0] == pytest.approx(1.5)
