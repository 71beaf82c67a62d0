"""Training: what it reports is what the problem says, seeds and schedules do what they should,
divergence is a value.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import data, sweep
from vaesurface.vae import architecture, network, train

X = data.gaussian(24, [4.0, 1.0, 0.05, 0.05], seed=0)
NETWORK = architecture.mlp(4, 2, depth=1, width=8)
# One program serves all that differ in arrays alone.
fit = partial(train.train, X, NETWORK, steps=1500, batch=8, learning_rate=1e-2, record=30)


@pytest.fixture(scope="module")
def trained():
    return fit(jax.random.key(0))


def test_a_trained_pair_meets_equations_8_and_10(trained):
    assert trained.finite and trained.error_std > 0
    # Eq. 10, to what the last mini-batches let gamma know.
    assert trained.gamma == pytest.approx(float(trained.error), rel=0.1)
    assert trained.error < 0.3 * np.mean((X - X.mean(axis=0)) ** 2)
    alone = train.train_autoencoder(
        X, NETWORK, jax.random.key(0), steps=1500, batch=8, learning_rate=1e-2, record=30
    )
    print(
        "VAE",
        float(trained.error),
        "+-",
        float(trained.error_std),
        "gamma",
        float(trained.gamma),
        "AE",
        float(alone.error),
    )
    assert alone.finite and alone.error == alone.autoencoder_error and alone.error_std == 0
    assert alone.error < trained.error - 3 * trained.error_std  # eq. 8
    assert alone.gamma is alone.energy is alone.kl is alone.sigma is None
    assert alone.history[-1] < alone.history[0] and trained.history[-1] < trained.history[0]


def test_what_is_reported_is_what_the_problem_says(trained):
    nodes = network.gauss_hermite(2, 20)
    problem = network.network_vae(X, NETWORK, nodes=nodes)
    params = jax.tree.map(lambda a: a.astype(float), trained.params)
    model = problem.autoencoder(params)
    z = model.mean[:, None] + jnp.exp(model.log_std)[:, None] * nodes.noise[None]
    error = jnp.mean(
        jnp.mean((model.data[:, None] - model.decode(z)) ** 2, axis=-1) @ nodes.weights
    )
    assert abs(trained.error - error) < 4 * trained.error_std
    assert trained.autoencoder_error == pytest.approx(
        float(problem.deterministic().loss(params)), rel=1e-5
    )
    assert trained.kl == pytest.approx(
        np.asarray(problem.information(params)) / 2, rel=1e-4, abs=1e-6
    )
    assert abs(trained.energy - problem.loss(params)) < 4 * 4 * trained.error_std / trained.gamma
    assert (
        trained.params.log_gamma.dtype
        == trained.error.dtype
        == trained.history.dtype
        == jnp.float32
    )
    edges = np.append(train.SIGMA[:-1], np.inf)
    for counted, deviations in zip(trained.sigma, np.exp(np.asarray(model.log_std)).T, strict=True):
        assert (
            np.abs(counted - np.histogram(deviations, edges)[0]).sum() <= 2
        )  # rounding at an edge
    assert trained.sigma.sum() == 2 * len(X)


def test_a_fixed_gamma_stays_and_a_large_one_collapses():
    large = fit(jax.random.key(0), gamma=40.0)
    assert large.gamma == 40 and large.params.log_gamma is None and large.floor is None
    assert large.kl.sum() < 1e-2
    assert large.error == pytest.approx(np.mean((X - X.mean(axis=0)) ** 2), rel=0.05)


def test_schedules_run_over_the_steps_and_end_where_they_end():
    # At collapse, where nothing moves, the loss of every batch of all data is known.
    warm = train.warm_start(20)
    assert [float(warm(i)) for i in (0, 10, 20, 30)] == [0.0, 0.5, 1.0, 1.0]

    def gamma(step):
        return 3.0 - step / 40

    quick = partial(
        train.train,
        X,
        NETWORK,
        jax.random.key(0),
        steps=40,
        batch=24,
        record=40,
        scale=0.0,
        learning_rate=0.0,
    )
    held = quick(beta=warm, gamma_schedule=gamma)
    step, spread = np.arange(40), np.mean((X - X.mean(axis=0)) ** 2)
    expected = 4 * (spread / gamma(step) + np.log(gamma(step))) + 2 * np.minimum(step / 20, 1)
    np.testing.assert_allclose(held.history, expected, rtol=1e-5)
    assert held.gamma == 2 and held.params.log_gamma is None
    assert held.energy == pytest.approx(4 * (spread / 2 + np.log(2)) + 2, rel=1e-5)


@pytest.mark.slow
def test_seeds_side_by_side_and_in_a_sweep_are_the_same_runs(tmp_path):
    def run(seed, spread):
        return train.train(
            X, NETWORK, jax.random.key(seed), steps=30, batch=8, record=3, gamma=spread
        )._replace(params=None)

    axes = {"seed": [0, 1], "spread": [0.5, 2.0]}
    one = sweep.grid(run, store=tmp_path / "runs", **axes)
    assert one.kl.shape == (2, 2, 2)
    assert np.abs(one.error[0] - one.error[1]).min() > 1e-4
    jax.tree.map(
        np.testing.assert_array_equal, sweep.grid(run, store=tmp_path / "runs", **axes), one
    )
    both = sweep.grid(run, mapper=sweep.together, **axes)
    for field in ("error", "gamma", "kl", "history"):
        np.testing.assert_allclose(getattr(both, field), getattr(one, field), rtol=1e-3)


def test_divergence_is_a_value_and_gamma_keeps_its_floor():
    assert not fit(jax.random.key(0), learning_rate=1e30).finite
    # Two data, which the decoder reproduces at last: nothing but the floor holds gamma up.
    Y = np.repeat([[1.0, 0, 0, 0], [0, 0, 0, 1.0]], 12, axis=0)
    sharp = train.train(
        Y, NETWORK, jax.random.key(0), steps=1500, batch=8, learning_rate=1e-2, record=30
    )
    print(
        "gamma on the way down:",
        float(sharp.gamma),
        "floor",
        float(sharp.floor),
        "error",
        float(sharp.error),
    )
    assert sharp.floor == pytest.approx(1e-6 * np.mean((Y - Y.mean(axis=0)) ** 2), rel=1e-5)
    assert sharp.finite and sharp.floor <= sharp.gamma < 0.01


def test_bad_input_is_one_line():
    for options, match in (
        ({"batch": 0}, "expected batch >= 1, got 0"),
        ({"steps": 10}, "expected steps >= record = 50, got 10"),
        (
            {"gamma": 1.0, "gamma_schedule": train.warm_start(3)},
            "expected gamma or gamma_schedule, got both",
        ),
    ):
        with pytest.raises(ValueError, match=match):
            train.train(X, NETWORK, jax.random.key(0), **options)
    with pytest.raises(ValueError, match="expected 4 features"):
        train.train_autoencoder(X[:, :3], NETWORK, jax.random.key(0))
