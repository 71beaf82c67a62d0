"""A census of the affine model's stationary points: every index, by closed forms and by Hessians.

Spectra are generic: eigenvalues differ from each other and from beta gamma by at least MARGIN of
themselves.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from vaesurface import bordered, curvature, data, optimize, stationary, theory, vae
from vaesurface.energy import VAEParams
from vaesurface.stationary import Kind

MARGIN = 1e-2
BETAS = (0.25, 0.5, 1.0, 2.0, 4.0)
LEARNED, FIXED = True, False  # gamma
PROGRAMS = (
    *((2, 1, LEARNED), (2, 1, FIXED), (3, 3, LEARNED), (4, 2, FIXED)),
    *((6, 2, LEARNED), (7, 3, FIXED), (8, 4, LEARNED), (8, 4, FIXED)),
)  # (d, k, gamma)
CASES = 130  # of each
STAY = optimize.Optimizer("none", lambda loss, params: optimize.Run(params, loss(params), None))


def spectrum(rng, d):
    """Log-uniform over two decades, largest first."""
    while True:
        values = np.sort(10 ** rng.uniform(-1.0, 1.0, d))[::-1]
        if np.all(values[:-1] - values[1:] > MARGIN * values[:-1]):
            return values


def cases(d, k, learned, count, seed):
    """Random stationary points of random problems, stacked: (X, gamma, beta, params), loss, index.

    Up to two of each problem.
    """
    rng = np.random.default_rng([d, k, learned, seed])
    drawn = []
    while len(drawn) < count:
        generic = drawn_generic(d, k, learned, rng)
        drawn += [generic[i] for i in rng.permutation(len(generic))[:2]]
    points, losses, negative = zip(*drawn[:count], strict=True)
    stacked = jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *points)
    return stacked, np.array(losses), np.array(negative)


def drawn_generic(d, k, learned, rng):
    """Of one random problem, ((X, gamma, beta, params), loss, index) of all points far from a
    bifurcation.
    """
    values, beta = spectrum(rng, d), rng.choice(BETAS)
    gamma = None if learned else 10 ** rng.uniform(-0.3, 0.3) * rng.choice(values) / beta
    X = data.gaussian(d + 1, values, seed=int(rng.integers(2**31))) + rng.normal(size=d)
    generic = []
    for point in theory.stationary_points(X, k, gamma, beta):
        reached = gamma if gamma is not None else np.exp(float(point.params.log_gamma))
        if np.min(np.abs(values / (beta * reached) - 1)) > MARGIN:
            problem = (X, 1.0 if learned else gamma, beta, point.params)
            generic.append((problem, point.loss, point.negative))
    return generic


def counts(d, k, learned):
    """Of stacked cases of one shape: energy, gradient norm, bordered count, whether it is reliable,
    and dense count.
    """

    def one(case):
        X, gamma, beta, params = case
        problem = vae.threshold_vae(X, k, 0.0, None if learned else gamma, beta)
        loss, gradient = jax.value_and_grad(problem.loss)(params)
        norm = jnp.linalg.norm(ravel_pytree(gradient)[0])
        factors = bordered.factor(problem.structure, params)
        bordered_count = curvature.count(factors.eigenvalues, factors.width)
        return loss, norm, bordered_count, factors.reliable, curvature.inertia(problem.loss, params)

    return jax.jit(lambda stacked: jax.lax.map(one, stacked))


@pytest.mark.parametrize(
    "programs",
    [
        pytest.param(PROGRAMS[2:4], id="some"),
        pytest.param(PROGRAMS, id="all", marks=pytest.mark.slow),
    ],
)
def test_no_affine_stationary_point_is_miscounted_by_the_bordered_or_the_dense_hessian(programs):
    total, largest, worst = 0, 0, np.zeros(2)
    wrong = {"bordered": 0, "dense": 0, "flat": 0, "unreliable": 0}
    for d, k, learned in programs:
        stacked, losses, negative = cases(d, k, learned, CASES, seed=0)
        measured = jax.tree.map(np.asarray, counts(d, k, learned)(stacked))
        loss, norm, by_structure, reliable, dense = measured
        total += len(negative)
        largest = max(largest, negative.max())
        worst = np.maximum(worst, [norm.max(), np.abs(loss - losses).max()])
        wrong["bordered"] += int((by_structure.negative != negative).sum())
        wrong["dense"] += int((dense.negative != negative).sum())
        wrong["flat"] += int(((by_structure.flat != 0) | (dense.flat != 0)).sum())
        wrong["unreliable"] += int((~reliable).sum())
    print(f"{total} cases, largest index {largest}; miscounted: {wrong}; gradient, error: {worst}")
    assert total == CASES * len(programs)
    assert wrong == {"bordered": 0, "dense": 0, "flat": 0, "unreliable": 0}
    assert worst[0] < 1e-9
    assert worst[1] < 1e-9


def profile(X, flat, k):
    """Energy of (W, b, log gamma) in a row, at the best diagonal posterior and beta = 1."""
    d = X.shape[1]
    weight, bias, gamma = flat[: d * k].reshape(d, k), flat[d * k : -1], jnp.exp(flat[-1])
    residual = X - bias[None]
    covariance = gamma * jnp.eye(d) + weight @ weight.T
    distances = jnp.sum(residual * jnp.linalg.solve(covariance, residual.T).T, axis=1)
    shrunk = jnp.sum(jnp.log1p(jnp.sum(weight**2, axis=0) / gamma))
    return jnp.mean(distances) + d * flat[-1] + k + shrunk


def best_posterior(X, weight, bias, log_gamma):
    """The parameters `profile` is the energy of."""
    gamma = jnp.exp(log_gamma)
    precision = jnp.eye(weight.shape[1]) + weight.T @ weight / gamma
    mean = jnp.linalg.solve(precision, weight.T @ (X - bias[None]).T / gamma).T
    log_std = -0.5 * jnp.log1p(jnp.sum(weight**2, axis=0) / gamma)
    return VAEParams(weight, bias, log_gamma, mean, jnp.broadcast_to(log_std[None], mean.shape))


@pytest.fixture(scope="module")
def judged(request):
    """d, k, and what find makes of starts: points, and the eigenvalues of the profile's Hessian."""
    d, k = request.param

    def one(X, start):
        problem = vae.threshold_vae(X, k, 0.0).replace(init=lambda key, scale: start)
        point = stationary.find(problem, jax.random.key(0), optimizer=STAY)
        weight, bias, log_gamma, *_ = point.params
        flat = jnp.concatenate([weight.ravel(), bias, log_gamma[None]])
        eigenvalues = jnp.linalg.eigvalsh(jax.hessian(lambda w: profile(X, w, k))(flat))
        return point, eigenvalues, profile(X, flat, k)

    def judge(X, starts):
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
        point, eigenvalues, energy = jax.tree.map(np.asarray, run(X, stacked))
        np.testing.assert_allclose(point.loss, energy, atol=1e-12)  # at the best posterior
        return point, eigenvalues

    run = jax.jit(lambda X, starts: jax.lax.map(lambda start: one(X, start), starts))
    return d, k, judge


def skew(weight):
    """How far W^T W is from diagonal: 0 for principal directions."""
    gram = weight.T @ weight
    return np.abs(gram - np.diag(np.diag(gram))).max() / np.diag(gram).max()


STARTS = 9  # per data set, so that one program serves all
SHIFTS = (0.003, 0.01, 0.03)


def turned(X, values, k, rng):
    """`STARTS` starts beside rotated stationary points, and the energies of these."""
    turn = np.eye(k)
    turn[:2, :2] = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2)
    points = [e for e in theory.stationary_points(np.asarray(X), k) if len(e.retained) == k]
    starts, energies = [], []
    for i in range(STARTS):
        point, size = points[i // len(SHIFTS) % len(points)], SHIFTS[i % len(SHIFTS)]
        exact = (point.params.weight @ turn, point.params.bias, point.params.log_gamma)
        near = (jnp.asarray(x + size * rng.normal(size=x.shape)) for x in exact)
        starts.append(best_posterior(X, *near))
        first, second = values[list(point.retained[:2])]
        mean = (np.sqrt(first) + np.sqrt(second)) / 2
        energies.append(point.loss + 4 * np.log(mean) - np.log(first * second))
    return starts, energies


@pytest.mark.slow
@pytest.mark.parametrize(
    "judged", [(4, 2), (5, 3)], indirect=True, ids=["two latents", "three latents"]
)
def test_rotated_stationary_points_are_saddles_with_the_index_of_the_dense_hessian(judged):
    # Principal columns turned by 45 degrees in the plane of the first two latents lie near a
    # stationary point at which lambda_i and lambda_j both become the square of the mean of their
    # roots: that is what the energy shows.
    d, k, judge = judged
    rotated, indices = 0, {}
    for seed in range(6):
        rng = np.random.default_rng([seed, k])
        values = spectrum(rng, d)
        X = jnp.asarray(data.gaussian(d + 2, values, seed=seed))
        starts, expected = turned(X, values, k, rng)
        point, eigenvalues = judge(X, starts)
        for i, label in enumerate(point.label):
            negative = int((eigenvalues[i] < 0).sum())
            if skew(point.params.weight[i]) < 1e-6:  # back at principal directions
                continue
            rotated += 1
            assert point.grad_norm[i] < 1e-9
            assert label == f"saddle of index {negative}"
            assert point.inertia.negative[i] == negative > 0
            assert point.inertia.flat[i] == 0
            # Far from where the sign could be rounding's.
            assert np.abs(eigenvalues[i]).min() > 1e-6
            assert point.loss[i] == pytest.approx(expected[i], abs=1e-11)
            indices[negative] = indices.get(negative, 0) + 1
        assert all(skew(w) < 1e-6 for w in point.params.weight[point.kind == Kind.MINIMUM])
    counted = dict(sorted(indices.items()))
    print(f"{rotated} of {6 * STARTS} starts ended at a rotated saddle; index, how many: {counted}")
    assert rotated >= STARTS


@pytest.mark.parametrize("judged", [(5, 3)], indirect=True, ids=["three latents"])
def test_three_latents_rotated_together_form_a_curve_of_saddles_whose_index_is_a_lower_bound(
    judged,
):
    # All columns are equally long there: two conditions on a rotation with three angles leave a
    # curve of constant energy.
    d, k, judge = judged
    values = np.array([4.0, 3.0, 2.0, 0.3, 0.2])
    X = jnp.asarray(data.gaussian(d + 2, values, seed=0))
    directions = np.linalg.svd(X)[2][:k].T
    gamma, roots = values[k:].mean(), np.sqrt(values[:k])
    squares = roots * roots.mean() - gamma

    def differences(angles):
        """Of the columns' squared lengths."""
        turn = Rotation.from_rotvec(angles).as_matrix()
        return np.diff(np.diag(turn * squares @ turn.T))

    starts = []
    for seed in range(STARTS):
        rng = np.random.default_rng(seed)
        exact = dict.fromkeys(("xtol", "ftol", "gtol"), 1e-15)
        angles = least_squares(differences, rng.normal(size=3), **exact).x
        weight = directions * np.sqrt(squares) @ Rotation.from_rotvec(angles).as_matrix().T
        weight = weight + (1e-3 * rng.normal(size=weight.shape) if seed % 2 else 0.0)
        starts.append(best_posterior(X, jnp.asarray(weight), jnp.zeros(d), jnp.log(gamma)))
    point, eigenvalues = judge(X, starts)
    excess = 6 * np.log(roots.mean()) - np.log(values[:k]).sum()
    np.testing.assert_allclose(
        point.loss, float(theory.global_minimum(np.asarray(X), k)) + excess, atol=1e-11
    )
    assert set(point.label) == {"saddle of index 2 or more"}
    assert (point.inertia.flat == 1).all()
    assert ((eigenvalues < -1e-6).sum(axis=1) == 2).all()
    assert ((np.abs(eigenvalues) < 1e-9).sum(axis=1) == 1).all()
    along = ", ".join(f"{skew(w):.3f}" for w in point.params.weight[::2])
    print(f"W^T W off its diagonal along the curve, relative: {along}")
