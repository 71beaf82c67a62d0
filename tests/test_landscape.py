"""Slices have true distances, directions as claimed, values those of their points."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaesurface import curvature, data, landscape, optimize, theory, vae
from vaesurface.problem import Problem

RNG = np.random.default_rng(0)
X = data.clusters(7, 3, centers=2, noise=0.3, seed=0)
PROBLEM = vae.threshold_vae(X, latent=2, alpha=0.05)
START = PROBLEM.init(jax.random.key(0), 0.5)
# Two directions, not orthogonal.
AXES = {"a": jnp.array([[3.0, 0.0], [1.0, 0.0]]), "b": jnp.array([4.0, 1.0])}
CENTER = {"a": jnp.array([1.0, 2.0]), "b": jnp.array(-1.0)}


def square(w):
    return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(w))


def flat(directions):
    """Two directions as a matrix (2, p)."""
    leaves = [np.reshape(leaf, (2, -1)) for leaf in jax.tree.leaves(directions)]
    return np.concatenate(leaves, axis=1)


@jax.jit
def eigenvalues(alpha, params):
    """The lowest one, as claimed, and all of the dense Hessian."""
    problem = vae.threshold_vae(X, latent=1, alpha=alpha)
    return landscape.lowest_eigenvalue(problem)(params), curvature.spectrum(problem.loss, params)


def rounding(spectrum):
    """By how much an eigenvalue may be off: 16 p units in the last place of the largest."""
    return 16 * spectrum.size * np.finfo(float).eps * np.abs(spectrum).max()


def test_slices_have_true_distances_and_the_energies_of_their_points():
    a, b, c = jnp.zeros(3), jnp.array([3.0, 0.0, 4.0]), jnp.array([0.0, 2.0, 0.0])
    line = landscape.segment(square, a, b, num=11, margin=0.5)
    assert line.length == pytest.approx(5.0)
    np.testing.assert_allclose(line.energy, line.distance**2, atol=1e-12)
    plane = landscape.plane(square, a, b, c, num=9, margin=0.1)
    x, y = np.meshgrid(plane.x, plane.y)
    np.testing.assert_allclose(plane.energy, x**2 + y**2, atol=1e-12)
    np.testing.assert_allclose(plane.points, [[0, 0], [5, 0], [0, 2]], atol=1e-12)
    above = jnp.array([3.0, 1.0, 4.0]) + jnp.array([4.0, 0.0, -3.0])
    foot, residual = landscape.project(plane, above)
    np.testing.assert_allclose(foot, [5.0, 1.0], atol=1e-12)
    assert residual == pytest.approx(5.0)


def test_three_points_on_a_line_span_no_plane():
    with pytest.raises(ValueError, match="got three on a line"):
        landscape.plane(jnp.sum, jnp.zeros(2), jnp.ones(2), 2 * jnp.ones(2))


def test_a_plane_along_two_directions_has_true_distances_from_its_center():
    plane = landscape.plane_along(square, CENTER, AXES, x=(-1.0, 3.0), y=(-2.0, 0.5), num=7)
    np.testing.assert_array_equal(np.asarray(plane.x)[[0, -1]], [-1.0, 3.0])
    np.testing.assert_array_equal(np.asarray(plane.y)[[0, -1]], [-2.0, 0.5])
    np.testing.assert_allclose(plane.basis @ plane.basis.T, np.eye(2), atol=1e-15)
    np.testing.assert_allclose(plane.basis[0], [0.6, 0.0, 0.8], atol=1e-15)
    # The plane of the two directions, and no other one: both lie in it.
    np.testing.assert_allclose(flat(AXES) @ plane.basis.T @ plane.basis, flat(AXES), atol=1e-14)
    x, y = np.meshgrid(plane.x, plane.y)
    at = np.asarray(plane.origin) + np.stack([x, y], axis=-1) @ np.asarray(plane.basis)
    np.testing.assert_allclose(plane.energy, np.sum(at**2, axis=-1), rtol=1e-13)
    np.testing.assert_array_equal(plane.points, [[0.0, 0.0]])


@pytest.mark.parametrize("second", [0.0, -2.0])
def test_parallel_directions_span_no_plane(second):
    directions = jax.tree.map(lambda x: jnp.stack([x[0], second * x[0]]), AXES)
    complaint = "expected two directions that span a plane, got parallel or zero ones; choose"
    with pytest.raises(ValueError, match=complaint):
        landscape.plane_along(square, CENTER, directions, (-1.0, 1.0), (-1.0, 1.0))


def test_slices_carry_other_values_of_the_same_points():
    values = {"first": lambda w: w["a"][0], "half": lambda w: 0.5 * square(w)}
    plane = landscape.plane_along(
        square, CENTER, AXES, (-1.0, 1.0), (-1.0, 1.0), num=5, values=values
    )
    np.testing.assert_allclose(plane.values["half"], plane.energy / 2, rtol=1e-14)
    # Along the first axis w["a"][0] changes by its cosine 0.6.
    np.testing.assert_allclose(np.diff(plane.values["first"], axis=1), 0.6 * 0.5, rtol=1e-13)
    zero, one = optax.tree.zeros_like(CENTER), optax.tree.ones_like(CENTER)
    line = landscape.segment(square, CENTER, zero, num=5, values=values)
    np.testing.assert_allclose(line.values["half"], line.energy / 2, rtol=1e-14)
    assert landscape.segment(square, CENTER, one, num=3).values == {}


def test_random_directions_have_filters_as_long_as_the_parameters():
    dead = START._replace(weight=START.weight.at[1].set(0.0))
    drawn = landscape.random_directions(dead, jax.random.key(3))
    for name in ("weight", "mean", "log_std"):
        lengths = np.linalg.norm(getattr(dead, name), axis=-1)
        drawn_lengths = np.linalg.norm(getattr(drawn, name), axis=-1)
        np.testing.assert_allclose(drawn_lengths, np.tile(lengths, (2, 1)), rtol=1e-13)
    bias_lengths = np.linalg.norm(drawn.bias, axis=1)
    np.testing.assert_allclose(bias_lengths, np.linalg.norm(dead.bias), rtol=1e-13)
    np.testing.assert_allclose(np.abs(drawn.log_gamma), np.abs(dead.log_gamma), rtol=1e-13)
    assert not np.allclose(drawn.weight[0], drawn.weight[1])
    other = landscape.random_directions(dead, jax.random.key(4))
    assert not np.allclose(drawn.weight, other.weight)
    # The size of a convolution's filter is over all its axes but the leading one.
    kernel = landscape.random_directions(jnp.asarray(RNG.normal(size=(4, 3, 2))), jax.random.key(0))
    assert kernel.shape == (2, 4, 3, 2)


def test_hessian_directions_are_the_eigenvectors_asked_for_dense_or_not():
    matrix = RNG.normal(size=(12, 12))
    matrix = matrix + matrix.T

    def loss(w):
        x = jnp.concatenate([w["a"], w["b"].ravel()])
        return 0.5 * x @ matrix @ x

    params = {"a": jnp.ones(4), "b": jnp.ones((2, 4))}
    truth, vectors = np.linalg.eigh(matrix)
    key = jax.random.key(0)
    for which, dense in [((0, -1), 4096), ((0, 1), 4096), ((0, -1), 3)]:
        values, directions = landscape.hessian_directions(loss, params, key, which, dense)
        np.testing.assert_allclose(values, truth[list(which)], atol=1e-10)
        overlaps = np.abs(flat(directions) @ vectors[:, list(which)])
        np.testing.assert_allclose(overlaps, np.eye(2), atol=1e-8)
    complaint = r"expected which = \(0, -1\) beyond 3 parameters, got \(0, 1\); ask for the ends"
    with pytest.raises(ValueError, match=complaint):
        landscape.hessian_directions(loss, params, key, (0, 1), dense=3)


def test_no_plane_through_its_end_is_nearer_to_a_run_than_the_principal_one():
    def bowl(w):
        return jnp.sum(jnp.array([1.0, 3.0, 9.0, 27.0]) * w**2)

    path = optimize.gradient_descent(60, 0.01, record=3)(bowl, jnp.ones(4)).path
    principal = landscape.principal_directions(path)
    along = partial(landscape.plane_along, bowl, path[-1], x=(-2.0, 2.0), y=(-2.0, 2.0), num=3)
    plane = along(principal.directions)

    def strayed(plane):
        return jnp.sum(jax.vmap(partial(landscape.project, plane))(path)[1] ** 2)

    total = np.sum((path - path[-1:]) ** 2)
    share = principal.explained
    np.testing.assert_allclose(strayed(plane), (1 - share.sum()) * total, rtol=1e-9)
    assert share[0] > share[1] > 0 and share.sum() < 1
    for seed in range(20):
        tilt = 0.1 * jnp.asarray(np.random.default_rng(seed).normal(size=(2, 4)))
        assert strayed(along(principal.directions + tilt)) > strayed(plane)
    complaint = "expected a path of at least 3 points, got 2; record more"
    with pytest.raises(ValueError, match=complaint):
        landscape.principal_directions(path[:2])


def test_gamma_and_active_latents_are_those_of_the_point():
    assert landscape.gamma(START) == jnp.exp(START.log_gamma)
    count = landscape.active(PROBLEM)
    # mu = 0.3 in the first latent alone is 0.09 twice nats, above the threshold; 0.1 is 0.01 and
    # below.
    alive = PROBLEM.collapsed()._replace(mean=jnp.tile(jnp.array([[0.3, 0.1]]), (len(X), 1)))
    assert count(PROBLEM.collapsed()) == 0 and count(alive) == 1
    assert landscape.active(PROBLEM, 1e-3)(alive) == 2
    with pytest.raises(ValueError, match="expected a learned gamma, got a fixed one"):
        landscape.gamma(START._replace(log_gamma=None))
    with pytest.raises(ValueError, match="expected a problem with information, got one without"):
        landscape.active(Problem(loss=square))


@pytest.mark.slow
def test_the_lowest_eigenvalue_is_that_of_the_dense_hessian_on_every_scale():
    problem = vae.threshold_vae(X, latent=1, alpha=0.05)
    starts = [
        problem.init(jax.random.key(seed), scale)
        for seed in (0, 1)
        for scale in (0.01, 0.1, 0.3, 1.0, 3.0)
    ]
    lowest = []
    for params in [problem.collapsed(), *starts]:
        claimed, spectrum = eigenvalues(0.05, params)
        assert abs(claimed - spectrum[0]) <= rounding(spectrum)
        lowest.append(float(claimed))
    # Below the eigenvalues of every datum's own block, and zero or nearly so.
    assert abs(lowest[0]) < 1e-15 and min(lowest) < -1


def test_the_lowest_eigenvalue_of_affine_points_has_the_sign_of_theory():
    # Not weakly typed: the program serves these too.
    strong = partial(jax.tree.map, partial(jnp.asarray, dtype=float))
    signs = {}
    for expected in theory.stationary_points(X, 1):
        claimed, spectrum = eigenvalues(0.0, strong(expected.params))
        assert abs(claimed - spectrum[0]) <= rounding(spectrum)
        signs[expected.retained] = bool(claimed < 0), expected.negative > 0
    assert len(signs) > 2 and all(claimed == known for claimed, known in signs.values())
    assert signs[(0,)] == (False, False)


def test_a_loss_without_structure_has_its_dense_lowest_eigenvalue():
    bent = Problem(loss=lambda w: w[0] ** 2 - 3 * w[1] ** 2 + w[2] ** 4)
    assert landscape.lowest_eigenvalue(bent)(jnp.ones(3)) == pytest.approx(-6.0)
