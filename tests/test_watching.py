"""A model that is looked at while it is trained: when, in which state, by whom."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaesurface import data, diagnose, monitor

X = data.load("digits-4x4", limit=100)
K = 2


def encode(params, x):
    mean = x @ params["encoder"]
    return mean, jnp.broadcast_to(params["log_std"], mean.shape)


def decode(params, z):
    return z @ params["decoder"]


def gamma(params):
    return jnp.exp(params["log_gamma"])


def loss(params, x, key):
    mean, log_std = encode(params, x)
    y = decode(params, mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape))
    error = jnp.sum((x - y) ** 2) / gamma(params) / len(x) + x.shape[1] * params["log_gamma"]
    return error + jnp.sum(mean**2 + jnp.exp(2 * log_std) - 2 * log_std - 1) / len(x)


@jax.jit
def stepped(params, state, key):
    """One of Adam's."""
    value, gradient = jax.value_and_grad(loss)(params, X, key)
    change, state = optax.adam(0.05).update(gradient, state)
    return optax.apply_updates(params, change), state, value


def test_a_loop_of_optax_hands_its_parameters_over(tmp_path):
    key, *keys = jax.random.split(jax.random.key(0), 26)
    d = X.shape[1]
    params = {
        "encoder": 0.1 * jax.random.normal(key, (d, K)),
        "decoder": 0.1 * jax.random.normal(keys[0], (K, d)),
        "log_std": jnp.zeros(K),
        "log_gamma": jnp.zeros(()),
    }
    state = optax.adam(0.05).init(params)
    logged = []
    look = monitor.watch(
        X,
        encode,
        decode,
        gamma=gamma,
        path=tmp_path / "run.jsonl",
        every=10,
        log=lambda name, value, step: logged.append((name, step)),
    )
    for step, key in enumerate(keys, 1):
        params, state, value = stepped(params, state, key)
        look(step, params, loss=value)
    found = look.finish()
    assert look.diagnosis is found
    updates = monitor.load(tmp_path / "run.jsonl").updates
    assert [update.step for update in updates] == [1, 10, 20, 25]
    assert np.isfinite([update.loss for update in updates[:3]]).all()
    assert ("vaesurface/kl", 20) in logged
    mean, log_std = encode(params, X)
    by_hand = diagnose.arrays(X, mean, log_std, decode(params, mean), gamma(params))
    np.testing.assert_allclose(found.kl, by_hand.kl, rtol=1e-12)
    assert found.gamma == pytest.approx(by_hand.gamma, rel=1e-12)
    assert updates[-1].kl == pytest.approx(by_hand.kl)


class Model:
    """A collapsed one that counts who asks it."""

    def __init__(self):
        self.asked, self.beta = 0, 0.5

    def encode(self, x):
        self.asked += 1
        return np.zeros((len(x), K)), np.zeros((len(x), K))

    def decode(self, z):
        return np.zeros((len(z), X.shape[1]))

    def look(self, **options):
        def beta():
            return self.beta

        return monitor.watch(
            X, self.encode, self.decode, gamma=1.0, beta=beta, every=5, warn=str, **options
        )


def test_a_step_is_looked_at_once_and_the_last_one_in_any_case():
    model = Model()
    look = model.look()
    for step in (1, 5, 5, 6, 10):
        assert look.due(step) == (step in (1, 5, 10) and (step != 5 or model.asked == 1))
        look(step)
    assert model.asked == 3
    look.finish()
    assert model.asked == 3
    model.beta = 0.25
    look(11)
    assert model.asked == 3
    look.finish()
    assert model.asked == 4
    updates = [(u.step, u.beta) for u in look.monitor.updates]
    assert updates == [(1, 0.5), (5, 0.5), (10, 0.5), (11, 0.25)]


def test_a_plan_is_kept_unless_another_one_was_stated(tmp_path):
    for stated, planned, kept in (
        (None, 100, 100),
        (7, 100, 7),
        (None, float("inf"), None),
        (None, -1, None),
    ):
        look = Model().look(path=tmp_path / "run.jsonl", steps=stated)
        look.monitor.plan(planned)
        look(5)
        record = monitor.load(tmp_path / "run.jsonl")
        assert (look.monitor.steps, record.about["steps"], len(record.updates)) == (kept, kept, 1)


@pytest.mark.parametrize(
    ("ranks", "first"),
    [
        ({}, True),
        ({"RANK": "0", "LOCAL_RANK": "0"}, True),
        ({"RANK": "2", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"NODE_RANK": "1", "LOCAL_RANK": "0"}, False),
    ],
)
def test_one_process_of_a_distributed_run_speaks_and_all_look(ranks, first, tmp_path, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "NODE_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, rank in ranks.items():
        monkeypatch.setenv(name, rank)
    model, logged = Model(), []
    path = tmp_path / "run.jsonl"
    look = model.look(path=path, log=lambda *told: logged.append(told))
    look(5)
    assert model.asked == 1
    assert (path.exists(), bool(logged)) == (first, first)


@pytest.mark.parametrize("name", ["lightning", "keras", "transformers", "scvi"])
def test_frameworks_are_loaded_when_used(name):
    __import__(f"vaesurface.monitor.for_{name}")
    assert name not in sys.modules
