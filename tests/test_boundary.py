"""Folds and branch points in the plane of two hyper-parameters: against normal forms, the affine
model, bisected verdicts and continuation in one hyper-parameter.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import data, theory, vae
from vaesurface.paths import singular
from vaesurface.paths.boundaries import boundary
from vaesurface.paths.branch import follow
from vaesurface.paths.events import EventKind
from vaesurface.paths.walk import Ended
from vaesurface.problem import Problem
from vaesurface.stationary import model
from vaesurface.stationary.descent import descend


def of_one_number(function):
    """make_problem(a, b) of a loss f(x, a, b)."""

    def make(a, b):
        return Problem(loss=lambda x: function(x, a, b))

    return make


def event_of(make, x, a, b):
    """The first event on the branch through x as a moves over its values at b."""
    return follow(lambda value: make(value, b), jnp.array(x), a=a).events[0]


CUSP = of_one_number(lambda x, a, b: x**4 / 4 - b * x**2 / 2 - a * x)
RING = of_one_number(lambda x, a, b: x**3 / 3 + (a**2 + b**2 - 1) * x)
FORK = of_one_number(lambda x, a, b: x**4 / 4 - (a**2 - b) * x**2 / 2)
BROKEN = of_one_number(lambda x, a, b: x**4 / 4 - a * x**2 / 2 - (b - 1) ** 2 * x)
BUTTERFLY = of_one_number(lambda x, a, b: x**6 / 6 + b * x**4 / 4 + a * x**2 / 2)


def test_a_fold_is_followed_through_a_cusp_and_back():
    event = event_of(CUSP, -1.3, [-0.9, 0.9], 1.0)
    met = boundary(CUSP, event, a=[-1.0, 1.0], b=[1.0, 0.25, -1.0, 1.5])
    a, b = met.values.T
    np.testing.assert_allclose(27 * a**2, 4 * b**3, atol=1e-9)
    np.testing.assert_allclose(met.cusps, [[0.0, 0.0]], atol=1e-8)
    assert met.ended == (Ended.RANGE, Ended.RANGE)
    x = met.params
    np.testing.assert_allclose(3 * x**2, b, atol=1e-9)
    assert (np.diff(x) < 0).all() or (np.diff(x) > 0).all()
    for value in (0.25, 1.0):  # met to the last bit, on both sides
        np.testing.assert_allclose(
            np.sort(a[b == value]), [-2 * (value / 3) ** 1.5, 2 * (value / 3) ** 1.5], atol=1e-12
        )


def test_a_ring_of_folds_closes():
    event = event_of(RING, 0.7, [0.0, 0.95], 0.6)
    met = boundary(RING, event, a=[-2.0, 0.0, 2.0], b=[0.6, -2.0, 2.0])
    np.testing.assert_allclose((met.values**2).sum(axis=1), 1.0, atol=1e-9)
    assert met.ended == (Ended.LOOP, Ended.LOOP)
    np.testing.assert_allclose(met.values[0], met.values[-1], atol=1e-12)
    turned = np.unwrap(np.arctan2(*met.values.T))
    assert abs(turned[-1] - turned[0]) == pytest.approx(2 * np.pi, abs=1e-9)
    assert (met.values[:, 0] == 0.0).sum() == 2  # requested, where it is solved for as well
    assert len(met.cusps) == 0


def test_a_branch_point_is_followed_through_a_turn():
    event = event_of(FORK, 0.0, [0.0, 2.0], 1.0)
    met = boundary(FORK, event, a=[-1.5, 0.5, 2.0], b=[1.0, 1.2, -1.0])
    np.testing.assert_allclose(met.values[:, 0] ** 2, met.values[:, 1], atol=1e-9)
    assert met.kind == EventKind.BRANCH_POINT
    assert met.ended == (Ended.RANGE, Ended.RANGE)
    np.testing.assert_allclose(sorted(met.values[[0, -1], 0]), [-np.sqrt(1.2), np.sqrt(1.2)])
    np.testing.assert_allclose(np.abs(met.kernel), 1.0, atol=1e-9)
    assert (met.values[:, 0] == 0.5).sum() == 1


def test_a_branch_point_whose_branches_come_apart_ends():
    event = event_of(BROKEN, 0.0, [-1.0, 1.0], 1.0)
    met = boundary(BROKEN, event, a=[-1.0, 1.0], b=[1.0, 0.0, 2.0])
    assert met.ended == (Ended.APART, Ended.APART)
    assert np.abs(met.values[:, 1] - 1.0).max() < 1e-3


def test_a_fold_ends_where_it_meets_a_branch_point():
    event = event_of(BUTTERFLY, 0.9, [0.0, 0.4], -1.0)
    met = boundary(BUTTERFLY, event, a=[-0.5, 0.5], b=[-1.0, 1.0])
    a, b = met.values.T
    np.testing.assert_allclose(4 * a, b**2, atol=1e-9)
    last = np.argmin(np.abs(b))
    assert met.ended[int(last > 0)] == Ended.MEETS
    assert -2.1e-4 < b[last] < 0  # the drive, over its first size, is |x|, and b = -2 x^2


X = data.gaussian(12, [3.0, 1.5, 0.6, 0.3], seed=3)


def affine(gamma, beta):
    return vae.threshold_vae(X, 2, 0.0, gamma, beta)


def bent(alpha, gamma):
    return vae.threshold_vae(X, 2, alpha, gamma)


def test_a_latent_of_the_affine_model_dies_where_beta_gamma_is_an_eigenvalue():
    collapsed = affine(3.5, 1.0).collapsed()
    events = follow(lambda gamma: affine(gamma, 1.0), collapsed, gamma=[3.5, 1.0]).events
    for event, eigenvalue in zip(events, [3.0, 1.5], strict=True):
        assert event.dimension == 2  # both latents at once
        met = boundary(affine, event, gamma=[0.3, 7.0], beta=[1.0, 0.5, 2.0])
        np.testing.assert_allclose(met.values.prod(axis=1), eigenvalue, rtol=1e-9)
        assert met.ended == (Ended.RANGE, Ended.RANGE)
        assert met.negative.tolist() == [2 * (eigenvalue < 3.0)] * len(met.negative)
        assert {0.5, 1.0, 2.0} <= set(met.values[:, 1])


@pytest.mark.parametrize("rate", [0.7, None])
def test_what_is_stationary_at_a_boundary_is_a_mean_over_data(rate):
    x, y = (bent(0.3, 1.0).init(jax.random.key(seed), 0.5) for seed in (0, 1))
    mu = None if rate is not None else jnp.asarray(0.2)
    params = singular.Extended(x=x, y=y, solved=jnp.asarray(0.3), imperfection=mu)
    losses = singular.Losses(bent, moved="gamma", solved="alpha")
    assert singular.is_structured(losses, 1.0, 0.3)
    both = [
        singular.Singular(
            losses=losses,
            structured=structured,
            value=jnp.asarray(1.0),
            data=jnp.asarray(X) if structured else None,
            span=jnp.ones(()),
            rate=rate,
        )
        for structured in (True, False)
    ]
    assert both[0].loss(params) == pytest.approx(float(_dense(both[1], params)), rel=1e-12)
    parts = both[0].split(params)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, both[0].join(parts), params))


def _dense(lagrange, params):
    """With |y| where a datum's own parameters weigh 1/n, as they do in the mean."""
    if params.imperfection is None:
        return lagrange.loss(params)
    rest = lagrange.loss(params._replace(imperfection=jnp.zeros(())))
    length = singular.length(lagrange, params)
    return rest + 0.5 * params.imperfection * (length**2 - 1)


def test_data_that_depend_on_what_is_solved_for_are_no_structure():
    def scaled(size, gamma):
        return vae.threshold_vae(X * size, 1, 0.1, gamma)

    assert not singular.is_structured(singular.Losses(scaled, "gamma", "size"), 1.0, 1.0)
    assert singular.is_structured(singular.Losses(scaled, "size", "gamma"), 1.0, 1.0)


@pytest.fixture(scope="module")
def fold():
    """Where the best minimum of the bent model ends, from its branch over alpha at gamma = 1."""
    (best,) = (e for e in theory.stationary_points(X, 2, 1.0) if e.retained == (0, 1))
    branch = follow(lambda alpha: bent(alpha, 1.0), best.params, alpha=[0.0, 0.9], max_points=25)
    met = boundary(bent, branch.events[0], alpha=[0.4, 0.9], gamma=[1.0, 1.1, 1.2])
    return branch, met


def test_the_boundary_is_where_a_minimum_is_lost_by_bisection(fold):
    branch, met = fold
    (here,) = np.flatnonzero(met.values[:, 1] == 1.1)
    params = descend(bent(0.5, 1.1), model.at(branch.point.params, 8)).params
    low, high = 0.5, 0.9
    while high - low > 5e-7:
        middle = (low + high) / 2
        end = descend(bent(middle, 1.1), params)
        assert end.converged
        kept = jnp.max(jnp.abs(end.params.weight - params.weight)) < 0.15
        low, high = (middle, high) if kept else (low, middle)
        params = end.params if kept else params
    print("bisected:", low, high, "boundary:", met.values[here, 0])
    assert abs(met.values[here, 0] - (low + high) / 2) < 1e-6
    assert (met.negative == 0).all()


def test_the_boundary_passes_the_events_of_branches_at_other_values(fold):
    branch, met = fold
    (here,) = np.flatnonzero(met.values[:, 1] == 1.2)
    start = model.at(branch.point.params, 5)
    other = follow(lambda alpha: bent(alpha, 1.2), start, alpha=[0.2, 0.9], max_points=40)
    event = other.events[0]
    assert met.values[here, 0] == pytest.approx(event.value, abs=1e-9)
    assert met.loss[here] == pytest.approx(event.loss, abs=1e-9)


def test_what_cannot_be_followed_is_refused():
    event = event_of(CUSP, -1.3, [-0.9, 0.9], 1.0)
    with pytest.raises(ValueError, match="expected two hyper-parameters, got"):
        boundary(CUSP, event, a=[-1.0, 1.0])
    with pytest.raises(ValueError, match="expected two or more values of b"):
        boundary(CUSP, event, a=[-1.0, 1.0], b=[1.0])
    with pytest.raises(ValueError, match="expected values of a on both sides of the event"):
        boundary(CUSP, event, a=[-1.0, 0.0], b=[1.0, 2.0])
    with pytest.raises(ValueError, match="expected a fold or a branch point, got a jump"):
        boundary(CUSP, event._replace(kind=EventKind.JUMP), a=[-1.0, 1.0], b=[1.0, 2.0])
    with pytest.raises(ValueError, match=r"expected a fold at .*, got none in reach"):
        boundary(CUSP, event, a=[-1.0, 1.0], b=[9.0, 2.0])
