"""Branches of stationary points: folds, branch points, loops and jumps against normal forms and the
affine model.
"""

import math
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from vaesurface import curvature, data, stationary, theory, vae
from vaesurface.paths import elimination
from vaesurface.paths.branch import Ended, follow
from vaesurface.paths.events import EventKind
from vaesurface.paths.switching import switch
from vaesurface.problem import Problem
from vaesurface.stationary import Kind, model

ROTATION = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
X = data.gaussian(12, [3.0, 1.5, 0.6, 0.3], seed=3)
FIXED = {
    "gamma": lambda v: vae.threshold_vae(X, 2, 0.0, v),
    "beta": lambda v: vae.threshold_vae(X, 2, 0.0, 0.5, v),
}


@jax.jit
def dense(alpha, gamma, beta, params):
    """Hessian of the affine or thresholded model of X."""
    return curvature.hessian(vae.threshold_vae(X, 2, alpha, gamma, beta).loss, params)


@partial(
    jax.tree_util.register_dataclass, data_fields=["terms", "rotation", "value"], meta_fields=[]
)
@dataclass(frozen=True)
class Valley:
    """Polynomial sum c_ij x^i v^j along a curved valley, one more stable and one more unstable
    direction, one flat one.
    """

    terms: jax.Array
    rotation: jax.Array
    value: jax.Array

    def loss(self, w):
        y = self.rotation @ w["w"]
        x = y[0]
        normal = jnp.polyval(self.terms[::-1] @ self.value ** jnp.arange(3), x)
        return normal + 2.0 * (y[1] - x**2 - self.value) ** 2 - (y[2] + x * self.value) ** 2


def normal_form(terms):
    """make_problem for {(i, j): c}."""
    table = np.zeros((7, 3))
    for power, c in terms.items():
        table[power] = c
    return lambda value: Valley(jnp.asarray(table), jnp.asarray(ROTATION), value)


def at(x, value, flat=0.3):
    return {"w": jnp.asarray(ROTATION.T @ np.array([x, x**2 + value, -x * value, flat]))}


def coordinates(params):
    return np.asarray(params["w"]) @ ROTATION.T


def kernel_of(x, value):
    """Of the valley's Hessian where the polynomial's second derivative vanishes."""
    vector = np.array([1.0, 2 * x, -value, 0.0])
    return vector / np.linalg.norm(vector)


FOLD = normal_form({(3, 0): 1 / 3, (1, 1): 1.0})
PITCHFORK = normal_form({(4, 0): 1 / 4, (2, 1): -1 / 2})
SUBCRITICAL = normal_form({(6, 0): 1 / 6, (4, 0): -1 / 4, (2, 1): -1 / 2})
TRANSCRITICAL = normal_form({(3, 0): 1 / 3, (2, 1): -1 / 2})
ISOLA = normal_form({(3, 0): 1 / 3, (1, 0): -1.0, (1, 2): 1.0})
CUSP = normal_form({(4, 0): 1 / 4, (2, 0): -1 / 2, (1, 1): -1.0})


def summary(branch):
    return [(str(event.kind), event.dimension) for event in branch.events]


def check_event(event, kind, x, value):
    assert event.kind == kind
    assert event.value == pytest.approx(value, abs=1e-9)
    assert event.dimension == 1
    np.testing.assert_allclose(
        coordinates(event.params), [x, x**2 + value, -x * value, 0.3], atol=1e-5
    )
    kernel = coordinates({"w": event.kernel["w"][0]})
    np.testing.assert_allclose(kernel * np.sign(kernel[0]), kernel_of(x, value), atol=1e-5)


def test_a_fold_is_passed_and_located_and_requested_values_are_met_twice():
    values = np.array([-1.0, -0.5, -0.25, 1.0])
    branch = follow(FOLD, at(1.0, -1.0), v=values)
    assert summary(branch) == [("fold", 1)]
    check_event(branch.events[0], EventKind.FOLD, 0.0, 0.0)
    assert abs(branch.events[0].rate) < 1e-7
    assert branch.ended == Ended.RANGE
    assert branch.value[branch.requested].tolist() == [-1.0, -0.5, -0.25, -0.25, -0.5, -1.0]
    x = coordinates(branch.point.params)
    exact = np.sqrt([1, 0.5, 0.25, 0.25, 0.5, 1]) * [1, 1, 1, -1, -1, -1]
    np.testing.assert_allclose(x[branch.requested, 0], exact, atol=1e-9)
    np.testing.assert_allclose(x[:, 0] ** 2, -branch.value, atol=1e-9)
    np.testing.assert_allclose(x[:, 3], 0.3, atol=1e-12)  # nothing drives the flat direction
    assert branch.point.inertia.negative.tolist() == (1 + (x[:, 0] < 0)).tolist()
    assert (np.diff(branch.arclength) > 0).all()


@pytest.mark.parametrize(("make", "sign"), [(PITCHFORK, 1.0), (SUBCRITICAL, -1.0)])
def test_a_pitchfork_is_found_from_the_trunk_and_its_branch_followed_both_ways(make, sign):
    # The branch point is a requested value as well.
    trunk = follow(make, at(0.0, -1.0), v=np.linspace(-1, 1, 5))
    assert summary(trunk) == [("branch point", 1)]
    check_event(trunk.events[0], EventKind.BRANCH_POINT, 0.0, 0.0)
    assert trunk.point.inertia.negative.tolist() == (1 + (trunk.value > 0)).tolist()
    (start,) = switch(make, trunk.events[0])
    x = coordinates(start.params)[0]
    assert abs(x) > 1e-3
    assert start.value == pytest.approx(sign * x**2 + (sign < 0) * x**4, abs=1e-10)
    for direction in (1, -1):
        branch = follow(make, start, v=[start.value, -1, 1], direction=direction)
        through = direction * sign < 0  # back through the branch point, to the mirrored half
        expected = through * [(EventKind.BRANCH_POINT, 0.0)]
        expected += (sign < 0) * [(EventKind.FOLD, -0.25)]
        assert [event.kind for event in branch.events] == [kind for kind, _ in expected]
        values = [event.value for event in branch.events]
        np.testing.assert_allclose(values, [value for _, value in expected], atol=1e-9)
        ends = coordinates(branch.point.params)[-1, 0]
        assert np.sign(ends) == (-np.sign(x) if through else np.sign(x))
        assert branch.ended == Ended.RANGE
        assert branch.value[-1] == 1.0


def test_both_branches_of_a_transcritical_point():
    along = follow(TRANSCRITICAL, at(-1.0, -1.0), v=[-1.0, 1.0])  # x = v
    assert summary(along) == [("branch point", 1)]
    check_event(along.events[0], EventKind.BRANCH_POINT, 0.0, 0.0)
    np.testing.assert_allclose(coordinates(along.point.params)[:, 0], along.value, atol=1e-9)
    (start,) = switch(TRANSCRITICAL, along.events[0])
    assert coordinates(start.params)[0] == pytest.approx(0.0, abs=1e-9)
    assert abs(start.value) > 1e-4


def test_a_closed_loop_ends_where_it_began():
    branch = follow(ISOLA, at(1.0, 0.0), v=[0.0, 0.5, -2.0, 2.0])
    assert branch.ended == Ended.LOOP
    assert [str(event.kind) for event in branch.events] == ["fold", "fold"]
    np.testing.assert_allclose([event.value for event in branch.events], [1.0, -1.0], atol=1e-9)
    assert sorted(branch.value[branch.requested]) == [0.0, 0.0, 0.5, 0.5]
    np.testing.assert_array_equal(branch.point.params["w"][0], branch.point.params["w"][-1])
    np.testing.assert_allclose(
        coordinates(branch.point.params)[:, 0] ** 2 + branch.value**2, 1.0, atol=1e-9
    )


def test_a_jump_leaves_the_fold_downhill_and_goes_on():
    edge, x = 2 / (3 * math.sqrt(3)), 1 / math.sqrt(3)
    branch = follow(build_stable, jnp.array([-1.3, 1.3**2]), v=[-0.9, 0.0, 0.9], jump=True)
    assert [str(event.kind) for event in branch.events] == ["fold", "jump"]
    fold, jump = branch.events

    def energy(u):
        return u**4 / 4 - u**2 / 2 - edge * u

    assert fold.value == jump.value == pytest.approx(edge, abs=1e-9)
    assert fold.params[0] == pytest.approx(-x, abs=1e-6)
    assert jump.params[0] == pytest.approx(2 * x, abs=1e-6)
    assert jump.drop == pytest.approx(energy(-x) - energy(2 * x), abs=1e-9)
    assert branch.value[branch.requested].tolist() == [-0.9, 0.0, 0.9]
    assert (branch.point.kind[branch.requested] == Kind.MINIMUM).all()
    assert (np.diff(branch.value) >= 0).all()


def build_stable(v):
    """A cusp in a curved valley, of functions."""
    return Problem(
        loss=lambda w: w[0] ** 4 / 4 - w[0] ** 2 / 2 - v * w[0] + (w[1] - w[0] ** 2) ** 2
    )


@partial(jax.tree_util.register_dataclass, data_fields=["v"], meta_fields=[])
@dataclass(frozen=True)
class Washboard:
    """Many wells, which cease to be one after the other as it tilts."""

    v: jax.Array

    def loss(self, x):
        return jnp.cos(x) + 0.005 * x**2 - self.v * x


@pytest.mark.parametrize("far", [1.2, 900.0])
def test_a_jump_lands_just_beyond_its_fold_however_far_the_branch_is_to_go(far):
    edge = np.arccos(0.01)
    branch = follow(Washboard, jnp.array(4.3), v=[0.9, far], jump=True, max_points=30)
    fold, jump = branch.events[:2]
    assert fold.value == pytest.approx(np.sin(edge) + 0.01 * (2 * np.pi - edge), abs=1e-9)
    assert float(fold.params) == pytest.approx(2 * np.pi - edge, abs=1e-6)
    assert 2 * np.pi < float(jump.params) < 4 * np.pi  # the next of many wells
    assert jump.value == fold.value


def fading(r):
    return jnp.where(r == 0, 0.0, jnp.exp(-1.0 / jnp.where(r == 0, 1.0, r) ** 2))


def build_fading(v):
    """Along the branch w[0] = v and w[1] + w[1]^3 / 2 = v, but that w[1] has no effect where it is
    short.
    """

    def settle(w):
        return w.at[1].multiply(fading(w[1]) >= 1e-11)

    return Problem(loss=lambda w: 1.0 + (w[0] - v) ** 2 + fading(w[1]) * (w[1] - v), settle=settle)


def test_what_loses_its_effect_on_the_way_is_zero_from_there_on():
    (start,) = (float(r.real) for r in np.roots([0.5, 0.0, 1.0, -1.0]) if abs(r.imag) < 1e-12)
    branch = follow(build_fading, jnp.array([1.0, start]), v=[1.0, 0.0, -1.0])
    assert branch.ended == Ended.RANGE
    assert branch.value[branch.requested].tolist() == [1.0, 0.0, -1.0]
    x, r = branch.point.params.T
    np.testing.assert_allclose(x, branch.value, atol=1e-12)
    np.testing.assert_allclose((r + r**3 / 2)[r != 0], branch.value[r != 0], atol=1e-9)
    last = np.flatnonzero(r)[-1]
    assert (r[: last + 1] > 0).all()
    assert fading(r[last]) >= 1e-11 > fading(0.99 * r[last])
    assert not branch.events


def test_a_parameter_that_passes_through_zero_has_not_lost_its_effect():
    def build(v):
        return Problem(loss=lambda w: jnp.sum((w - v) ** 2))

    branch = follow(build, jnp.full(2, 0.75), v=[0.75, 0.0])
    assert branch.ended == Ended.RANGE and not branch.events
    np.testing.assert_allclose(branch.point.params[:, 0], branch.value, atol=1e-12)


@pytest.mark.parametrize("name", [pytest.param("gamma", marks=pytest.mark.slow), "beta"])
def test_collapse_of_the_affine_model_branches_where_theory_says(name):
    make, unit = FIXED[name], {"gamma": 1.0, "beta": 0.5}[name]
    high, low = np.array([3.5, 0.2]) / unit
    trunk = follow(make, make(high).collapsed(), **{name: [high, 1.0 / unit, low]})
    expected = np.array([3.0, 1.5, 0.6, 0.3])
    values = np.array([event.value * unit for event in trunk.events])
    print("errors:", values / expected - 1)
    np.testing.assert_allclose(values, expected, rtol=1e-8)
    assert summary(trunk) == 4 * [("branch point", 2)]  # both latents wake at once
    awake = [2 * int((expected > v * unit).sum()) for v in trunk.value]
    assert trunk.point.inertia.negative.tolist() == awake
    assert trunk.value[trunk.requested].tolist() == [high, 1.0 / unit, low]
    for event in trunk.events[:2]:
        gamma, beta = (event.value, 1.0) if name == "gamma" else (0.5, event.value)
        hessian = dense(0.0, gamma, beta, event.params)
        basis = jax.vmap(lambda v: ravel_pytree(v)[0])(event.kernel)
        np.testing.assert_allclose(basis @ basis.T, np.eye(2), atol=1e-12)
        assert jnp.linalg.norm(hessian @ basis.T) <= 1e-10 * jnp.linalg.norm(hessian)


def test_switching_gives_the_affine_models_other_points_and_those_branch_at_eigenvalues_too():
    make = FIXED["gamma"]
    trunk = follow(make, make(3.5).collapsed(), gamma=[3.5, 0.9])
    for event, retained, later in zip(trunk.events, [(0,), (1,)], [[1.5, 0.6], [0.6]], strict=True):
        starts = switch(make, event)
        # One latent alone, or both alike: a rotated point, which theory does not list.
        assert len(starts) == 2
        awake = [(np.abs(start.params.weight) > 1e-6).any(axis=0).sum() for start in starts]
        start, rotated = starts if awake[0] == 1 else starts[::-1]
        assert sorted(awake) == [1, 2]
        branch = follow(make, start, gamma=[start.value, 1.0, 0.5], direction=-1)
        np.testing.assert_allclose([e.value for e in branch.events], later, rtol=1e-8)
        assert [e.dimension for e in branch.events] == [1] * len(later)
        for value, loss, negative in zip(
            branch.value, branch.point.loss, branch.point.inertia.negative, strict=True
        ):
            (match,) = (e for e in theory.stationary_points(X, 2, value) if e.retained == retained)
            assert loss == pytest.approx(match.loss, abs=1e-9)
            assert negative == match.negative
        assert branch.value[-1] == 0.5
        np.testing.assert_allclose(*np.abs(rotated.params.weight.T), rtol=1e-6)


@pytest.mark.slow  # a learned gamma is a program of its own
def test_collapse_branches_in_beta_where_gamma_is_learned():
    def make(beta):
        return vae.threshold_vae(X, 2, 0.0, beta=beta)

    branch = follow(make, make(0.3).collapsed(), beta=[0.3, 3.0])
    spectrum = np.array([3.0, 1.5, 0.6, 0.3])
    thresholds = np.sort(spectrum / spectrum.mean())
    inside = thresholds[thresholds > 0.3]
    np.testing.assert_allclose([event.value for event in branch.events], inside, rtol=1e-8)
    assert summary(branch) == len(inside) * [("branch point", 2)]
    np.testing.assert_allclose(branch.point.params.log_gamma, np.log(spectrum.mean()), atol=1e-9)


def test_a_direction_is_followed_in_its_own_eigenvalue_past_the_others_down_to_where_it_collapses():
    generic = data.gaussian(12, [4.0, 3.0, 2.0, 1.0], seed=3)
    scores = np.linalg.svd(generic, full_matrices=False)[0] * np.sqrt(12)

    def make(value):
        roots = jnp.sqrt(jnp.stack([3.0, 1.5, 0.6, value]))
        return vae.threshold_vae(scores * roots[None], 2, 0.0, 0.5)

    points = theory.stationary_points(np.asarray(scores * np.sqrt([3.0, 1.5, 0.6, 4.0])), 2, 0.5)
    (top,) = (e for e in points if e.retained == (0,))
    branch = follow(make, top.params, eigenvalue=[4.0, 2.0, 0.3, 4.5])
    events = branch.events[:4]
    np.testing.assert_allclose([event.value for event in events], [3.0, 1.5, 0.6, 0.5], rtol=1e-8)
    assert [event.kind for event in events] == 4 * [EventKind.BRANCH_POINT]
    assert [event.dimension for event in events] == [1, 1, 1, 2]
    turned = int(np.argmin(branch.value))
    negative = [sum(x > v for x in (3.0, 1.5, 0.6)) + 3 for v in branch.value[: turned + 1]]
    assert branch.point.inertia.negative[: turned + 1].tolist() == negative
    # There it meets collapse and turns into its mirror image.
    assert branch.value.min() >= 0.5 - 1e-8
    returned = branch.point.loss[branch.value == 4.5]
    np.testing.assert_allclose(branch.point.loss[-1], returned, atol=1e-9)


@pytest.fixture(scope="module")
def good():
    """The best minimum of the affine model, followed to alpha = 0.05 and from there, through two
    folds, to 1.
    """

    def make(alpha):
        return vae.threshold_vae(X, 2, alpha, 1.0)

    (affine,) = (e for e in theory.stationary_points(X, 2, 1.0) if e.retained == (0, 1))
    start = model.at(follow(make, affine.params, alpha=[0.0, 0.05]).point.params, -1)
    return make, start, follow(make, start, alpha=[0.05, 0.8, 1.0])


def test_a_minimum_folds_in_alpha_and_all_on_the_way_is_stationary(good):
    make, _, branch = good
    assert [event.kind for event in branch.events] == [EventKind.FOLD, EventKind.FOLD]
    assert branch.value[branch.requested].tolist() == [0.05, 0.8, 0.8, 0.8, 1.0]
    assert branch.point.label[branch.requested].tolist() == [
        "local minimum",
        "local minimum",
        "saddle of index 1",
        "local minimum",
        "local minimum",
    ]
    for fold in branch.events:
        hessian = dense(fold.value, 1.0, 1.0, fold.params)
        eigenvalues = np.linalg.eigvalsh(hessian)
        print("fold:", fold.value, np.sort(np.abs(eigenvalues))[:2])
        assert np.sum(np.abs(eigenvalues) <= 1e-10 * eigenvalues[-1]) == 1
        (kernel,) = jax.vmap(lambda v: ravel_pytree(v)[0])(fold.kernel)
        assert jnp.linalg.norm(hessian @ kernel) <= 1e-9 * eigenvalues[-1]
    for i in np.flatnonzero(branch.value == 0.8):
        beside = jax.tree.map(lambda x: x + 1e-5, model.at(branch.point.params, i))
        refined = stationary.refine(make(0.8), beside)
        assert refined.converged
        assert make(0.8).loss(refined.params) == pytest.approx(branch.point.loss[i], abs=1e-10)


@pytest.mark.slow
def test_a_minimum_jumps_at_its_fold_to_where_the_branch_comes_back_to(good):
    make, start, through = good
    branch = follow(make, start, alpha=[0.05, 0.8, 1.0], jump=True)
    assert [event.kind for event in branch.events] == [EventKind.FOLD, EventKind.JUMP]
    fold, jump = branch.events
    assert fold.value == jump.value == pytest.approx(through.events[0].value, abs=1e-9)
    landed = float(make(fold.value).loss(jump.params))
    assert jump.drop == pytest.approx(fold.loss - landed, abs=1e-12)
    assert jump.drop > 1e-3
    assert branch.value[branch.requested].tolist() == [0.05, 0.8, 1.0]
    assert (branch.point.kind[branch.requested] == Kind.MINIMUM).all()
    assert branch.point.loss[-1] == pytest.approx(through.point.loss[-1], abs=1e-10)


def affine(index):
    """A stationary point of the affine model, gamma = 1, with one principal direction."""
    return next(e for e in theory.stationary_points(X, 2, 1.0) if e.retained == (index,)).params


def test_a_jump_goes_on_down_from_saddles_to_a_minimum(good):
    branch = follow(good[0], affine(0), alpha=[0.0, 0.8], jump=True)
    fold, jump = branch.events
    assert (fold.kind, jump.kind) == (EventKind.FOLD, EventKind.JUMP)
    landed = branch.value > fold.value
    assert (branch.point.kind[~landed][:-1] == Kind.SADDLE).all()
    assert (branch.point.kind[landed] == Kind.MINIMUM).all()
    assert branch.value[-1] == 0.8


def test_a_row_without_effect_stays_at_zero_and_the_branch_goes_on(good):
    make = good[0]
    branch = follow(make, affine(1), alpha=[0.0, 0.2, 1.1], max_points=92)
    assert [event.kind for event in branch.events] == [EventKind.FOLD]
    dead = branch.point.theory.dead_rows
    # Long after the fold, at 1.03.
    assert branch.value[dead > 0].max() == pytest.approx(0.34, abs=0.02)
    assert (np.diff(dead) >= 0).all()
    i = np.flatnonzero(branch.value == 0.2)[1]
    assert dead[i] == 1
    params = model.at(branch.point.params, i)
    assert jnp.linalg.norm(ravel_pytree(jax.grad(make(0.2).loss)(params))[0]) <= 1e-10
    negative = int(np.sum(np.linalg.eigvalsh(dense(0.2, 1.0, 1.0, params)) < -1e-10))
    assert branch.point.inertia.negative[i] == negative
    # Along the branch the energy's slope is that by alpha alone, over the place where the row has
    # gone too.
    first = np.flatnonzero(dead)[0]
    # The row takes its own two negative eigenvalues along, and its fall is told by theory instead.
    assert branch.point.inertia.negative[first - 1 : first + 1].tolist() == [3, 1]
    assert branch.point.theory.falling[first - 1 : first + 1].tolist() == [0, 1]
    slopes = []
    for j in (first - 1, first):
        params = model.at(branch.point.params, j)
        ends = [float(make(branch.value[j] + h).loss(params)) for h in (-1e-4, 1e-4)]
        slopes.append(np.diff(ends)[0] / 2e-4)
    secant = np.diff(branch.point.loss)[first - 1] / np.diff(branch.value)[first - 1]
    assert np.mean(slopes) == pytest.approx(secant, rel=1e-4)


@pytest.mark.slow
def test_the_best_minimum_of_digits_folds_in_alpha_too():
    digits = data.load("digits-4x4", limit=40)

    def make(alpha):
        return vae.threshold_vae(digits, 2, alpha, 0.02)

    point = stationary.find(make(0.05), jax.random.key(0), 0.5)
    branch = follow(make, point, alpha=[0.05, 2.0], jump=True, max_points=300)
    folds = [event for event in branch.events if event.kind == EventKind.FOLD]
    jumps = [event for event in branch.events if event.kind == EventKind.JUMP]
    print([(event.value, event.drop) for event in jumps], branch.ended, branch.point.label[-1])
    assert len(folds) > 0
    assert all(event.drop > 0 for event in jumps)
    dead = int(branch.point.inertia.flat.max())
    for fold in folds:
        eigenvalues = np.linalg.eigvalsh(curvature.hessian(make(fold.value).loss, fold.params))
        assert np.sum(np.abs(eigenvalues) <= 1e-9 * eigenvalues[-1]) <= dead + 1
        assert eigenvalues[0] >= -1e-9 * eigenvalues[-1]


@pytest.mark.parametrize("curvature_there", [0.0, 1e-160, 1e-17])
def test_the_tangent_at_a_fold_is_a_number_where_the_hessian_is_zero(curvature_there):
    """Of a single parameter no other eigenvalue says what is small."""
    bowl = Problem(loss=lambda x: 0.5 * curvature_there * x[0] ** 2 + x[0] ** 3)
    one, zero = jnp.ones(1), jnp.zeros(1)
    border = elimination.Border(f=zero, b=-one, c=one, d=jnp.asarray(0.1))
    asked = elimination.answers(bowl, zero, model.methods(bowl).factor(zero), border)
    # [h -1; 1 0.1] (x, y) = (0, 1)
    y = curvature_there / (1 + 0.1 * curvature_there)
    np.testing.assert_allclose(
        elimination.tangent(border, asked), [1 - 0.1 * y, y], rtol=1e-12, atol=1e-15
    )
    assert np.all(elimination.newton(border, asked) == 0)


def test_what_cannot_be_followed_is_refused():
    with pytest.raises(ValueError, match="expected one hyper-parameter, got"):
        follow(FOLD, at(1.0, -1.0))
    with pytest.raises(ValueError, match="expected one hyper-parameter, got"):
        follow(FOLD, at(1.0, -1.0), v=[-1, 0], u=[0, 1])
    with pytest.raises(ValueError, match="expected two or more values of v"):
        follow(FOLD, at(1.0, -1.0), v=[-1.0, -1.0])
    with pytest.raises(ValueError, match="expected a stationary point at v = 1, got none in reach"):
        follow(FOLD, at(1.0, 1.0), v=[1.0, 2.0])
    fold = follow(FOLD, at(1.0, -1.0), v=[-1.0, 1.0]).events[0]
    with pytest.raises(ValueError, match="expected a branch point, got a fold"):
        switch(FOLD, fold)
