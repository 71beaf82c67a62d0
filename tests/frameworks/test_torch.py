"""Plain PyTorch: training does not notice that it is looked at, and the numbers are the model's."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from frameworks.vaes import VAE, X, assert_same, assert_without_jax, of_arrays, state_of

from vaesurface import diagnose, monitor

STEPS, BATCH = 60, 64


def trained(watched, path=None, autocast=False):
    """A loop as anyone writes it: the model, and who looked at it."""
    torch.manual_seed(0)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    data = torch.as_tensor(X)
    look = None
    if watched:
        look = monitor.watch(X, model.encode, model.decode, gamma=model.gamma, every=20, path=path)
    for step in range(1, STEPS + 1):
        batch = data[torch.randint(len(data), (BATCH,))]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            if look and autocast:  # where casts of weights are kept for the loss
                look(step - 1)
            loss = model(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if look and not autocast:
            look(step)
    return model, look


@pytest.mark.parametrize("autocast", [False, True])
def test_training_is_the_same_to_the_bit(autocast, tmp_path):
    plain, _ = trained(False, autocast=autocast)
    left = state_of(plain)
    watched, look = trained(True, tmp_path / "run.jsonl", autocast)
    assert_same(left, state_of(watched))
    look(STEPS)
    look.finish()
    assert_same(left, state_of(watched))
    kept = monitor.load(tmp_path / "run.jsonl")
    looked = [0, 20, 40, 60] if autocast else [1, 20, 40, 60]
    assert [update.step for update in kept.updates] == looked
    assert_without_jax()


def test_the_end_is_what_arrays_say():
    model, look = trained(True)
    found = look.finish()
    by_hand = diagnose.arrays(**of_arrays(model))
    assert found.kl == pytest.approx(by_hand.kl, rel=1e-5)
    assert found.gamma == pytest.approx(by_hand.gamma, rel=1e-6)
    assert found.kinds.tolist() == by_hand.kinds.tolist()


@pytest.mark.parametrize(
    "way", ["methods", "closures", "containers", "partials", "compiled", "numpy"]
)
@pytest.mark.parametrize("kind", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_functions_of_a_module(way, kind):
    model = VAE().to(kind)
    nets = {"one": [model]}
    encode, decode = {
        "methods": (model.encode, model.decode),
        "closures": (lambda x: model.encode(x), lambda z: model.decode(z)),
        "containers": (lambda x: nets["one"][0].encode(x), lambda z: nets["one"][0].decode(z)),
        "partials": (partial(VAE.encode, model), partial(VAE.decode, model)),
        "compiled": (
            torch.compile(model.encode, backend="eager"),
            torch.compile(model.decode, backend="eager"),
        ),
        "numpy": (
            lambda x: tuple(a.float().numpy() for a in model.encode(torch.tensor(x).to(kind))),
            lambda z: model.decode(torch.tensor(z).to(kind)).float().numpy(),
        ),
    }[way]
    before = state_of(model)
    found = diagnose.functions(X, encode, decode, model.log_gamma.exp())
    assert_same(before, state_of(model))
    exact = copy.deepcopy(model).float()
    by_hand = diagnose.arrays(**of_arrays(exact))
    assert found.kl == pytest.approx(by_hand.kl, rel=0.05, abs=0.01)
    same = diagnose.functions(torch.as_tensor(X), encode, decode, 1.0) if way != "numpy" else found
    np.testing.assert_array_equal(same.kl, found.kl)
    assert_without_jax()


def test_what_is_frozen_stays_frozen_and_an_error_says_on_what():
    model = VAE()
    model.encoder.eval()
    before = state_of(model)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as failed:
        diagnose.functions(X[:, :5], model.encode, model.decode, 1.0)
    assert failed.value.__notes__ == [
        "raised by encode, called by vaesurface with torch.Tensor (128, 5) of torch.float32 on cpu"
    ]
    assert_same(before, state_of(model))
    assert torch.is_grad_enabled()


def test_a_tensor_is_asked_for_where_no_module_is_in_sight():
    class Slotted:
        __slots__ = ("net",)

        def __call__(self, x):
            return self.net.encode(x)

    hidden = Slotted()
    hidden.net = VAE()
    with pytest.raises(ValueError, match="expected arrays as encode takes them, got TypeError"):
        diagnose.functions(X, hidden, hidden.net.decode, 1.0)
    found = diagnose.functions(torch.as_tensor(X), hidden, hidden.net.decode, 1.0)
    assert found.n == len(X)


def test_tensorboard_takes_the_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    model = VAE()
    with SummaryWriter(tmp_path) as writer:
        look = monitor.watch(
            X, model.encode, model.decode, gamma=model.gamma, every=1, log=writer.add_scalar
        )
        for step in (1, 2):
            look(step)
    read = EventAccumulator(str(tmp_path))
    read.Reload()
    kept = [(event.step, event.value) for event in read.Scalars("vaesurface/kl")]
    expected = [(update.step, sum(update.kl)) for update in look.monitor.updates]
    np.testing.assert_allclose(kept, expected, rtol=1e-6)
