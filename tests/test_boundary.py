"""Folds and branch points in the plane of two hyper-parameters: against normal forms, the affine
model, bisected verdicts and continuation in one hyper-parameter.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface.paths.boundary import boundary
from vaesurface.paths.branch import follow
from vaesurface.paths.events import EventKind
from vaesurface.paths.walk import Ended
from vaesurface.problem import Problem


def polynomial(function):
    """make_problem(a, b) of a loss f(x, a, b) of one number, beside a curved valley."""

    def make(a, b):
        return Problem(loss=lambda w: function(w[0], a, b) + (w[1] - w[0] ** 2) ** 2)

    return make


def event_of(make, x, a, b):
    """The first event on the branch through x as a moves over its values at b."""
    return follow(lambda value: make(value, b), jnp.array([x, x**2]), a=a).events[0]


CUSP = polynomial(lambda x, a, b: x**4 / 4 - b * x**2 / 2 - a * x)
RING = polynomial(lambda x, a, b: x**3 / 3 + (a**2 + b**2 - 1) * x)
FORK = polynomial(lambda x, a, b: x**4 / 4 - (a**2 - b) * x**2 / 2)
BROKEN = polynomial(lambda x, a, b: x**4 / 4 - a * x**2 / 2 - (b - 1) ** 2 * x)
BUTTERFLY = polynomial(lambda x, a, b: x**6 / 6 + b * x**4 / 4 + a * x**2 / 2)


def test_a_fold_is_followed_through_a_cusp_and_back():
    event = event_of(CUSP, -1.3, [-0.9, 0.9], 1.0)
    met = boundary(CUSP, event, a=[-1.0, 1.0], b=[1.0, 0.25, -1.0, 1.5])
    a, b = met.values.T
    np.testing.assert_allclose(27 * a**2, 4 * b**3, atol=1e-9)
    np.testing.assert_allclose(met.cusps, [[0.0, 0.0]], atol=1e-8)
    assert met.ended == (Ended.RANGE, Ended.RANGE)
    x = met.params[:, 0]
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
    assert (met.values[:, 0] == 0.0).sum() == 2
    assert len(met.cusps) == 0


def test_a_branch_point_is_followed_through_a_turn():
    event = event_of(FORK, 0.0, [0.0, 2.0], 1.0)
    met = boundary(FORK, event, a=[-1.5, 0.5, 2.0], b=[1.0, 1.2, -1.0])
    np.testing.assert_allclose(met.values[:, 0] ** 2, met.values[:, 1], atol=1e-9)
    assert met.kind == EventKind.BRANCH_POINT
    assert met.ended == (Ended.RANGE, Ended.RANGE)
    np.testing.assert_allclose(sorted(met.values[[0, -1], 0]), [-np.sqrt(1.2), np.sqrt(1.2)])
    np.testing.assert_allclose(np.abs(met.kernel[:, 0]), 1.0, atol=1e-9)
    assert (0.5 == met.values[:, 0]).sum() == 1


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
    assert -1e-4 < b[last] < 0
