"""Energies of deep VAEs: collapse is stationary, the affine one meets the closed form, noise is
unbiased.
"""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from vaesurface import curvature, data, energy, optimize, stationary, theory, vae
from vaesurface.stationary import Kind
from vaesurface.vae import architecture, network
from vaesurface.vae.network import NetworkParams, NetworkVAE

X = data.gaussian(12, [6.0, 2.0, 0.3, 0.2], seed=0)
NODES = network.gauss_hermite(1, 4)
MAKES = {
    "mlp": partial(network.mlp_vae, latent=1, depth=1, width=6),
    "conv": partial(network.conv_vae, shape=(1, 2, 2), latent=1, convs=1, scales=1, channels=3),
    "resnet": partial(
        network.resnet_vae, shape=(1, 2, 2), latent=1, blocks=1, convs=1, scales=1, channels=3
    ),
}


@pytest.fixture(scope="module", params=MAKES)
def problem(request):
    return MAKES[request.param](X, nodes=NODES)


def norm(tree):
    return float(jnp.linalg.norm(ravel_pytree(tree)[0]))


def test_collapse_is_stationary_whatever_the_hidden_layers(problem):
    gradient = jax.jit(jax.grad(problem.loss))
    for params in (
        problem.collapsed(),
        problem.collapsed(jax.random.key(1)),
        problem.collapsed(dead=True),
    ):
        assert norm(gradient(params)) < 1e-14 * norm(params)
        assert problem.loss(params) == pytest.approx(
            4 + 4 * np.log(np.mean((X - X.mean(axis=0)) ** 2)) + 1
        )
        assert problem.information(params) == pytest.approx(0, abs=1e-15)
    start = problem.init(jax.random.key(1), scale=0.0)
    jax.tree.map(np.testing.assert_array_equal, start, problem.collapsed(jax.random.key(1)))
    assert norm(gradient(problem.init(jax.random.key(1)))) > 1


def escape(problem, params, **how):
    """The verdict on a collapsed point, when the way that `analyze` hands back, and descent from
    there, led lower.
    """
    point = stationary.analyze(problem, params, **how)
    start = jax.tree.map(lambda x, v: x + 0.1 * v, params, point.descent)
    ends = jax.jit(
        lambda start: optimize.adam(steps=60, learning_rate=0.02)(problem.loss, start).loss
    )(start)
    print(
        point.label,
        "curvature",
        float(point.curvature),
        "energies",
        [float(e) for e in (point.loss, problem.loss(start), ends)],
    )
    assert point.kind == Kind.SADDLE and point.label.startswith("saddle of index")
    assert point.curvature < 0 and point.symmetries == problem.symmetry.size
    assert ends < problem.loss(start) < point.loss
    return point


@pytest.mark.slow
def test_products_alone_lead_out_of_collapse_and_call_dead_units_a_plateau():
    problem = MAKES["mlp"](X, nodes=NODES)
    free = escape(problem, problem.collapsed(), dense=0)
    assert free.search is not None and free.inertia.negative >= 1
    dead = stationary.analyze(problem, problem.collapsed(dead=True), dense=0)
    assert dead.label == "undecided, no negative curvature found"
    eigenvalues = curvature.spectrum(problem.loss, problem.collapsed(dead=True))
    assert eigenvalues[0] > -1e-12 * eigenvalues[-1]


@pytest.mark.slow
@pytest.mark.parametrize("dense", [0, stationary.model.DENSE])
def test_every_network_has_a_way_out_of_collapse(problem, dense):
    escape(problem, problem.collapsed(), dense=dense)


@pytest.mark.slow
def test_a_residual_network_has_a_way_out_of_collapse():
    problem = MAKES["resnet"](X, nodes=NODES)
    params = problem.collapsed()
    values, bounds, vectors = curvature.extremes(problem.loss, params, jax.random.key(0), 60)
    assert values[0] + bounds[0] < 0
    way = jax.tree.map(lambda x, v: x + 0.1 * v[0], params, vectors)
    assert problem.loss(way) < problem.loss(params) - 1e-3


def expected_error(model, nodes):
    """Of an autoencoder, by nodes, averaged over data."""
    z = model.mean[:, None] + jnp.exp(model.log_std)[:, None] * nodes.noise[None]
    return jnp.mean(jnp.sum((model.data[:, None] - model.decode(z)) ** 2, axis=-1) @ nodes.weights)


def test_the_affine_network_attains_the_closed_form():
    X = data.gaussian(20, [3.0, 1.0, 0.2, 0.1], seed=1)
    problem = network.mlp_vae(X, 2, depth=0, nodes=network.gauss_hermite(2, 2))
    *_, best = sorted(theory.stationary_points(X, 2), key=lambda e: -e.loss)
    weight, log_std, gamma = (
        best.params.weight,
        best.params.log_std[0],
        jnp.exp(best.params.log_gamma),
    )
    kernel = weight * jnp.exp(2 * log_std)[None] / gamma
    encoder = {
        "mean": {"kernel": kernel, "bias": -best.params.bias @ kernel},
        "log_std": {"kernel": jnp.zeros((4, 2)), "bias": log_std},
    }
    decoder = {"out": {"kernel": weight.T}, "bias": best.params.bias}
    params = NetworkParams(encoder, decoder, best.params.log_gamma)
    assert problem.loss(params) == pytest.approx(float(theory.global_minimum(X, 2)), rel=1e-13)
    assert norm(jax.grad(problem.loss)(params)) < 1e-12
    model = problem.autoencoder(params)
    nodes = problem.nodes
    error = expected_error(model, nodes)
    assert error / 4 == pytest.approx(float(model.gamma), rel=1e-12)  # eq. 10
    # Eq. 8 for an affine decoder: noise adds what it spreads.
    added = jnp.sum(weight**2 * jnp.exp(2 * log_std)[None]) / 4
    assert error / 4 - problem.deterministic().loss(params) == pytest.approx(
        float(added), rel=1e-12
    )
    alone = problem.restrict(params, jnp.array([True, False]))
    assert problem.information(alone)[1] == 0 < problem.information(params)[1]


def test_an_energy_is_what_its_autoencoder_says_and_only_gamma_changes_with_gamma():
    problem = MAKES["conv"](X, nodes=NODES)
    params = problem.init(jax.random.key(0))
    params = jax.tree.map(
        lambda a: a + 0.1 * jnp.cos(jnp.arange(1.0 * a.size)).reshape(a.shape), params
    )
    fixed = replace(problem, gamma=jnp.asarray(0.7), beta=jnp.asarray(2.0))
    model = fixed.autoencoder(params._replace(log_gamma=None))
    assert (float(model.gamma), bool(model.learned), float(model.beta)) == (
        pytest.approx(0.7),
        False,
        2.0,
    )
    error = expected_error(model, NODES)
    divergence = jnp.mean(jnp.sum(energy.divergence(model.mean, model.log_std), axis=1))
    expected = error / 0.7 + 4 * jnp.log(0.7) + 2.0 * divergence
    assert fixed.loss(params._replace(log_gamma=None)) == pytest.approx(float(expected), rel=1e-12)
    learned = fixed.init(jax.random.key(0)), problem.init(jax.random.key(0))
    assert learned[0].log_gamma is None and learned[1].log_gamma is not None
    t = jnp.asarray(np.random.default_rng(0).normal(size=problem.symmetry.size))
    assert problem.loss(problem.symmetry.move(params, t)) == pytest.approx(
        float(problem.loss(params)), rel=1e-11
    )


def test_data_in_batches_give_the_same_energy_and_gradient(monkeypatch):
    problem = MAKES["mlp"](X, nodes=NODES)
    params = problem.init(jax.random.key(0))

    def both():
        return jax.jit(jax.value_and_grad(lambda w, X: MAKES["mlp"](X, nodes=NODES).loss(w)))(
            params, X
        )

    def loops():
        return "scan" in str(jax.make_jaxpr(lambda X: MAKES["mlp"](X, nodes=NODES).loss(params))(X))

    assert not loops()
    value, gradient = both()
    NetworkVAE.loss.clear_cache()
    monkeypatch.setattr("vaesurface.problem.STREAM", 1)
    monkeypatch.setattr("vaesurface.problem.BATCH", 5 * 4 * 10)  # five data at a time
    assert loops()
    batched, by_batch = both()
    assert batched == pytest.approx(float(value), rel=1e-14)
    assert norm(jax.tree.map(jnp.subtract, gradient, by_batch)) < 1e-13 * norm(gradient)


def test_nodes_have_the_moments_of_the_normal_distribution():
    noise, weights = network.antithetic(jax.random.key(0), 3, 10)
    for power in (1, 3, 5):
        np.testing.assert_array_equal(noise[:5] ** power, -(noise[5:] ** power))
    assert weights.sum() == pytest.approx(1)
    noise, weights = network.gauss_hermite(2, 4)
    assert noise.shape == (16, 2)
    for powers, moment in [
        ((0, 0), 1),
        ((1, 0), 0),
        ((2, 0), 1),
        ((2, 2), 1),
        ((4, 2), 3),
        ((6, 0), 15),
        ((3, 1), 0),
    ]:
        assert weights @ jnp.prod(noise ** jnp.array([powers]), axis=1) == pytest.approx(
            moment, abs=1e-12
        )


def test_what_training_sees_is_unbiased():
    made = architecture.mlp(4, 1, depth=1, width=6)
    exact = network.network_vae(
        X, made, nodes=network.gauss_hermite(1, 200)
    )  # kinks: no order is exact
    params = exact.init(jax.random.key(3), 0.5)
    for samples, batch in ((1, None), (2, 5)):
        draw = jax.jit(
            lambda keys, s=samples, b=batch: jax.lax.map(
                lambda k: exact.sampled(params, k, s, b), keys
            )
        )
        draws = draw(jax.random.split(jax.random.key(0), 3000))
        deviation = float((draws.mean() - exact.loss(params)) / (draws.std() / np.sqrt(3000)))
        print(samples, batch, "standard errors off:", deviation)
        assert abs(deviation) < 4
    with pytest.raises(ValueError, match="a batch of 1 to 12 data, got 1 and 13"):
        exact.sampled(params, jax.random.key(0), 1, 13)


def test_float32_data_make_float32_energies():
    problem = network.mlp_vae(np.float32(X), 1, depth=1, width=6, nodes=NODES)
    params = problem.init(jax.random.key(0))
    value = problem.loss(params)
    assert value.dtype == params.log_gamma.dtype == jnp.float32
    double = MAKES["mlp"](X, nodes=NODES).loss(jax.tree.map(lambda a: a.astype(float), params))
    assert value == pytest.approx(float(double), rel=1e-5)


def test_bad_input_is_one_line():
    for call, match in (
        (
            lambda: network.mlp_vae(X, 1, gamma=0.0),
            "expected gamma > 0, or None .*got gamma = 0.0",
        ),
        (lambda: network.mlp_vae(X, 1, beta=np.nan), "expected beta > 0 .*got beta = nan"),
        (
            lambda: network.conv_vae(X, (1, 4, 4), 1),
            "expected 16 features .the architecture's., got 4",
        ),
        (lambda: network.mlp_vae(X, 2, nodes=NODES), "expected nodes .s, 2., got .4, 1."),
        (
            lambda: network.antithetic(jax.random.key(0), 1, 3),
            "expected an even number of samples, got 3",
        ),
        (lambda: network.gauss_hermite(1, 0), "expected order >= 1, got 0"),
    ):
        with pytest.raises(ValueError, match=match):
            call()
    assert (
        vae.mlp_vae is network.mlp_vae
        and vae.conv_vae is network.conv_vae
        and vae.resnet_vae is network.resnet_vae
    )
