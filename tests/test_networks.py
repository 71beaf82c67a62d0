"""Losses without structure: collapsed ReLU networks with live and with dead units, symmetries, and
products alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from vaesurface import curvature, data, stationary
from vaesurface.problem import Problem, Symmetry
from vaesurface.stationary import Kind

X = data.gaussian(12, [6.0, 2.0, 0.3, 0.2], seed=0)
HIDDEN = 6
NODES, WEIGHTS = (jnp.asarray(a) for a in np.polynomial.hermite_e.hermegauss(5))


def energy(w):
    """ReLU encoder and decoder with one hidden layer each, one latent; noise frozen at nodes."""
    hidden = jax.nn.relu(X @ w["encoder"] + w["encoder_bias"][None])
    mean, log_std = (hidden @ w["moments"] + w["moments_bias"][None]).T
    z = mean[:, None] + jnp.exp(log_std)[:, None] * NODES[None]
    y = jax.nn.relu(z[..., None] * w["decoder"][None, None] + w["decoder_bias"][None, None])
    deviation = X[:, None] - y @ w["out"] - w["out_bias"][None, None]
    error = jnp.sum(deviation**2, axis=-1) @ (WEIGHTS / WEIGHTS.sum())
    divergence = jnp.exp(2 * log_std) - 2 * log_std + mean**2
    return jnp.mean(error * jnp.exp(-w["log_gamma"]) + divergence) + X.shape[1] * w["log_gamma"]


def collapsed(dead, hidden=HIDDEN):
    """Decoder constant at the data's mean, posterior the prior; dead: none of its units fires."""
    rng = np.random.default_rng(0)
    d, center = X.shape[1], X.mean(axis=0)
    params = {
        "encoder": rng.normal(size=(d, hidden)) / np.sqrt(d),
        "encoder_bias": 0.5 * rng.normal(size=hidden),
        "moments": np.zeros((hidden, 2)),
        "moments_bias": np.zeros(2),
        "decoder": rng.normal(size=hidden),
        "decoder_bias": -20.0 * dead + 0.5 * rng.normal(size=hidden),
        "out": np.zeros((hidden, d)),
        "out_bias": center,
        "log_gamma": np.log(np.mean((X - center) ** 2)),
    }
    return jax.tree.map(jnp.asarray, params)


def rescale(w, t):
    a, b = jnp.split(jnp.exp(t), 2)
    return w | {
        "encoder": w["encoder"] * a[None],
        "encoder_bias": w["encoder_bias"] * a,
        "moments": w["moments"] / a[:, None],
        "decoder": w["decoder"] * b,
        "decoder_bias": w["decoder_bias"] * b,
        "out": w["out"] / b[:, None],
    }


def rotated(diagonal, seed):
    """Quadratic loss with that spectrum; one program serves all of a size."""
    mirrors = np.random.default_rng(seed).normal(size=(3, len(diagonal)))
    mirrors = jnp.asarray(mirrors / np.linalg.norm(mirrors, axis=1, keepdims=True))
    return Partial(reflected, jnp.asarray(diagonal), mirrors)


def reflected(diagonal, mirrors, w):
    """Half of sum_i diagonal_i v_i^2, v being w in all mirrors one after the other."""
    for u in mirrors:
        w = w - 2 * u * (u @ w)
    return 0.5 * jnp.sum(diagonal * w**2)


@pytest.fixture(scope="module")
def judge():
    problem = Problem(loss=energy, symmetry=Symmetry(2 * HIDDEN, rescale))
    exact = jax.jit(lambda w: stationary.analyze(problem, w))
    free = jax.jit(lambda w: stationary.analyze(problem, w, dense=10))
    return {"all eigenvalues": exact, "products alone": free}


@pytest.mark.parametrize("by", ["all eigenvalues", "products alone"])
def test_a_collapsed_network_with_live_units_is_a_saddle_with_a_way_down(judge, by):
    params = collapsed(dead=False)
    assert jnp.linalg.norm(ravel_pytree(jax.grad(energy)(params))[0]) < 1e-12
    point = judge[by](params)
    eigenvalues = np.linalg.eigvalsh(curvature.hessian(energy, params))
    negative = eigenvalues[eigenvalues < -1e-9]
    index = len(negative)
    assert point.kind == Kind.SADDLE
    assert point.label.startswith("saddle of index")
    assert 1 <= point.inertia.negative <= index
    if by == "all eigenvalues":
        # Two of some -1e-7 are others 1e-3 away along the flat directions: they do not count as
        # firmly negative.
        assert (negative > -1e-6).sum() == 2
        assert index - point.inertia.negative == 2
    assert point.curvature < 0

    def along(t):
        return energy(jax.tree.map(lambda x, v: x + t * v, params, point.descent))

    falls = [float(along(t) - point.loss) for t in (1e-2, 0.1)]
    print(f"{point.label} of {index}; curvature {point.curvature:.3g}, energy along it: {falls}")
    assert falls[1] < falls[0] < 0


def test_a_collapsed_network_with_dead_units_is_a_plateau(judge):
    params = collapsed(dead=True)
    assert jnp.linalg.norm(ravel_pytree(jax.grad(energy)(params))[0]) < 1e-12
    point = judge["all eigenvalues"](params)
    assert point.kind == Kind.DEGENERATE
    assert point.label.startswith("degenerate, ")
    assert point.inertia.negative == 0
    assert point.inertia.flat > point.symmetries
    assert not point.probe.falls
    assert "nothing lower found" in point.evidence["probe"]
    free = judge["products alone"](params)
    assert free.label == "undecided, no negative curvature found"
    assert "none negative found; no eigenvalue below" in free.evidence["inertia"]
    assert "with probability 0.999" in free.evidence["inertia"]
    print(point.label, free.evidence["inertia"])


def test_a_network_too_large_for_its_hessian_is_judged_by_products():
    wide = 700
    params = collapsed(dead=False, hidden=wide)
    assert ravel_pytree(params)[0].size > stationary.model.DENSE
    point = stationary.analyze(Problem(loss=energy), params)
    assert point.search is not None
    assert point.label.startswith("saddle of index")
    assert point.label.endswith("or more")
    lower = jax.tree.map(lambda x, v: x + 0.05 * v, params, point.descent)
    assert energy(lower) < point.loss
    print(point.label, point.evidence["inertia"])


def test_products_alone_claim_only_what_is_the_same_where_the_newton_step_leads():
    def inflected(w):
        return jnp.sum(w[1:11] ** 3) + jnp.sum(w[11:] ** 2)

    losses = {
        "inflection": lambda w: jnp.sum(w**3),
        "bowl": lambda w: jnp.sum(w**2),
        "saddle among inflections": lambda w: inflected(w) - 0.5 * w[0] ** 2,
        "inflection from above": lambda w: inflected(w) + w[0] ** 2,
    }
    small = jnp.zeros(40).at[1:11].set(-1e-6)
    starts = jnp.stack([jnp.full(40, 2e-6), jnp.full(40, 1e-11), small, small])

    @jax.jit
    def judge(index, start):
        def loss(w):
            return jax.lax.switch(index, list(losses.values()), w)

        return stationary.analyze(Problem(loss=loss), start, dense=0)

    points = [judge(i, start) for i, start in enumerate(starts)]
    assert [point.label for point in points] == [
        "undecided, no negative curvature found",
        "local minimum",
        "saddle of index 1 or more",
        "undecided, no lasting negative curvature found",
    ]
    assert [int(point.inertia.negative) for point in points] == [0, 0, 1, 0]
    assert points[2].curvature == pytest.approx(-1.0)
    assert "changes by more than a quarter" in points[0].evidence["inertia"]
    assert "change by more than a quarter" in points[3].evidence["inertia"]


def test_rescaling_a_relu_explains_as_many_flat_directions_and_a_minimum_stays_one():
    # A regression whose teacher has the student's architecture, on data that no kink is near; its
    # minimum is exact.
    rng = np.random.default_rng(1)
    inputs = jnp.asarray(rng.normal(size=(60, 3)))
    teacher = {
        "in": jnp.asarray(rng.normal(size=(3, 4))),
        "out": jnp.asarray(rng.normal(size=(4, 2))),
    }

    def predict(w):
        return jax.nn.relu(inputs @ w["in"]) @ w["out"]

    target = predict(teacher)

    def loss(w):
        return jnp.mean(jnp.sum((predict(w) - target) ** 2, axis=1))

    def move(w, t):
        return {"in": w["in"] * jnp.exp(t)[None], "out": w["out"] / jnp.exp(t)[:, None]}

    known = stationary.analyze(Problem(loss=loss, symmetry=Symmetry(4, move)), teacher)
    assert known.label == "local minimum"
    assert (int(known.symmetries), int(known.inertia.flat)) == (4, 4)
    assert "4 directions" in known.evidence["symmetry"]
    assert stationary.analyze(Problem(loss=loss), teacher).label == "degenerate, 4 flat directions"
    # A unit at zero has no rescaling to lose; nothing is explained that is not there.
    pruned = {"in": teacher["in"].at[:, 0].set(0.0), "out": teacher["out"].at[0].set(0.0)}
    assert curvature.symmetries(Symmetry(4, move), pruned) == 3


@pytest.mark.slow
def test_eigenvalues_of_minus_1e_5_beside_a_null_space_are_found_where_plain_lanczos_sees_none():
    p, rng = 20_000, np.random.default_rng(0)
    diagonal = np.zeros(p)
    diagonal[:1900] = np.exp(rng.uniform(np.log(1e-4), 0.0, 1900))
    diagonal[0] = 1.0
    negative = diagonal.copy()
    negative[1900:2000] = -1e-5 * rng.uniform(0.8, 1.2, 100)
    zero, key = jnp.zeros(p), jax.random.key(0)
    loss = rotated(negative, 0)
    values, _, _ = curvature.extremes(loss, zero, key, 100)
    assert values[0] > 0  # the trap
    some = curvature.descent(loss, zero, key)
    lowest = float(some.eigenvalues[0])
    assert some.settled
    assert lowest < -10 * some.width
    assert 1 <= (some.eigenvalues < -some.width).sum() <= 100
    assert 2 * loss(some.directions[0]) == pytest.approx(lowest, rel=1e-6)
    none = curvature.descent(rotated(diagonal, 0), zero, key)
    print(f"products: {some.products}, {none.products}; lowest: {lowest}, {none.lower}")
    assert none.settled
    assert -1e-6 <= none.lower <= 0
    assert none.eigenvalues[0] > -none.width


def test_a_hessian_of_small_rank_is_no_trap_for_lanczos():
    # The Krylov space is exhausted long before it is full.
    for seed in range(3):
        rng = np.random.default_rng(seed)
        diagonal = np.zeros(300)
        diagonal[:10] = rng.uniform(0.1, 5.0, 10)
        diagonal[0] = -0.3
        loss = rotated(diagonal, seed)
        lowest = curvature.descent(loss, jnp.zeros(300), jax.random.key(seed))
        assert lowest.eigenvalues[0] == pytest.approx(-0.3, abs=1e-10)
        assert lowest.highest == pytest.approx(diagonal.max(), abs=1e-10)
        step = curvature.krylov_steps(loss, jnp.asarray(rng.normal(size=300)))
        assert step.inertia.negative == 1


def spectra(size, rng):
    """90 spectra (size,): without order, one eigenvalue below a bulk, one below a null space."""
    normal = [rng.normal(size=size) for _ in range(30)]
    bulk = [
        np.append(rng.uniform(0.0, 1.0, size - 1), -(10 ** rng.uniform(-7, 0))) for _ in range(30)
    ]
    null = [
        np.append(np.exp(rng.uniform(-14, 0, size - 1)), -(10 ** rng.uniform(-7, -1)))
        for _ in range(30)
    ]
    return jnp.asarray(np.array(normal + bulk + null))


@jax.jit
def searched(diagonals, keys):
    """Bound, lowest quotient and flat band of a search in losses of those spectra."""

    def one(case):
        diagonal, key = case
        zero = jnp.zeros_like(diagonal)

        def loss(w):
            return 0.5 * jnp.sum(diagonal * w**2)

        lowest = curvature.descent(loss, zero, key, num_matvecs=20, budget=1000)
        return lowest.lower, lowest.eigenvalues[0], lowest.width

    return jax.lax.map(one, (diagonals, keys))


def test_the_bound_on_what_was_missed_holds():
    diagonals = spectra(200, np.random.default_rng(0))
    bound, lowest, width = searched(diagonals, jax.random.split(jax.random.key(0), len(diagonals)))
    truth = jnp.min(diagonals, axis=1)
    negative = int((lowest < -width).sum())
    print(f"tightest slack {jnp.min(truth - bound):.2g}; negative: {negative} of {len(truth)}")
    assert (truth >= bound).all()
    assert (lowest >= truth - width).all()
