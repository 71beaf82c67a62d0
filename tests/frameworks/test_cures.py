"""The lines that `vaesurface cure` tells, pasted to the letter into loops of PyTorch and Keras."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
import torch
from frameworks.vaes import X
from keras import layers, ops
from torch import nn

from vaesurface.cure import told

D, K, WIDTH, STEPS, BATCH = X.shape[1], 2, 16, 20, 32
VARIANCE = float(X.var(axis=0).mean())
MODEL = told.Model(
    d=D,
    k=K,
    leading=1.0,
    gamma=VARIANCE,
    error=VARIANCE,
    gammabar=VARIANCE,
    alpha=0.1,
    optimum=0.1 * VARIANCE,
)
LOOPS = (
    "KL warm-up",
    "cyclical annealing",
    "free bits",
    "delta-VAE floor",
    "autoencoder first",
    "learned gamma",
    "gamma at its optimum",
    "lower gamma",
    "beta = 1",
)


def placed(cure, framework):
    """Lines before training, before the forward pass, after the encoder's, and in the loss."""
    text = told.lines(cure, framework, MODEL)
    parts = {"first": [], "before": [], "encoder": [], "loss": []}
    where = "loss"
    for line in text.splitlines():
        if not line.startswith(" "):
            where = "loss"
            if "Parameter(" in line or "add_weight" in line or "self.log_gamma.assign" in line:
                where = "first"
            elif "before the forward pass" in line:
                where = "before"
            elif "after the encoder's" in line:
                where = "encoder"
            elif line.startswith("floor = "):
                parts["before"].append(line)
        parts[where].append(line)
    return {name: "\n".join(lines) for name, lines in parts.items()}


@pytest.mark.parametrize("cure", LOOPS)
def test_lines_in_a_loop_of_pytorch(cure):
    torch.manual_seed(0)
    data = torch.as_tensor(np.asarray(X, np.float32))
    hidden = nn.Sequential(nn.Linear(D, WIDTH), nn.ReLU())
    encoder_mean, encoder_log_std = nn.Linear(WIDTH, K), nn.Linear(WIDTH, K)
    decoder = nn.Sequential(nn.Linear(K, WIDTH), nn.ReLU(), nn.Linear(WIDTH, D))
    log_gamma = nn.Parameter(torch.tensor(float(np.log(VARIANCE))))
    modules = (hidden, encoder_mean, encoder_log_std, decoder)
    names = {"hidden": hidden, "encoder_mean": encoder_mean, "encoder_log_std": encoder_log_std}
    space = {"torch": torch, "decoder": decoder, "steps": STEPS, "log_gamma": log_gamma, **names}
    lines = placed(cure, "pytorch")
    exec(lines["first"], space)
    own = [parameter for module in modules for parameter in module.parameters()]
    optimizer = torch.optim.Adam([*own, space["log_gamma"]], 1e-3)
    if cure == "learned gamma":
        assert space["log_gamma"].item() == pytest.approx(np.log(VARIANCE), abs=0.01)
    for step in range(STEPS):
        x = data[torch.randint(len(data), (BATCH,))]
        space |= {"step": step, "x": x}
        exec(lines["before"], space)
        if cure == "autoencoder first" and step == STEPS // 2:
            assert not encoder_log_std.weight.any()
            assert encoder_log_std.bias.max() <= 0
            assert log_gamma.isfinite()
        mean, log_std = encoder_mean(hidden(x)), encoder_log_std(hidden(x))
        space["log_std"] = log_std
        exec(lines["encoder"], space)
        log_std = space["log_std"]
        if cure == "delta-VAE floor" and step < STEPS // 2:
            kl = 0.5 * ((2 * log_std).exp() - 1 - 2 * log_std)
            assert kl.min() > 0.2 - 1e-3
        y = decoder(mean + log_std.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std)
        gamma = space["log_gamma"].exp()
        squared_error = (x - y) ** 2
        reconstruction = squared_error.sum(1).mean() / (2 * gamma) + D / 2 * gamma.log()
        space |= {"kl": kl, "squared_error": squared_error, "reconstruction": reconstruction}
        space["loss"] = reconstruction + kl.sum(1).mean()
        exec(lines["loss"], space)
        optimizer.zero_grad()
        space["loss"].backward()
        optimizer.step()
        assert space["loss"].isfinite()
    if cure == "learned gamma":
        assert space["log_gamma"].grad is not None


def test_the_affine_optimum_in_pytorch():
    x = torch.as_tensor(np.asarray(X, np.float64))
    shapes = {"weight": (D, K), "bias": (D,), "mean": (len(X), K), "log_std": (len(X), K)}
    space = {name: torch.zeros(shape, dtype=x.dtype) for name, shape in shapes.items()}
    space |= {"torch": torch, "x": x, "log_gamma": torch.zeros(())}
    exec(told.lines("affine optimum", "pytorch", MODEL), space)
    values = np.linalg.eigvalsh(np.cov(X.T, bias=True))[-K:]
    lengths = space["weight"].norm(dim=0).numpy() ** 2
    assert lengths == pytest.approx(values - MODEL.optimum, rel=1e-3)


def test_lines_before_training_and_of_two_optimizers_in_pytorch():
    decoder_out, encoder_mean = nn.Linear(3, 3), nn.Linear(3, 3)
    before = decoder_out.weight.detach().clone()
    space = {"torch": torch, "decoder_out": decoder_out, "encoder_mean": encoder_mean}
    exec(told.lines("larger start", "pytorch", MODEL), space)
    assert torch.equal(decoder_out.weight, 10.0 * before)
    moved = []
    for step in range(10):
        optimizers = [torch.optim.SGD(m.parameters(), 0.1) for m in (encoder_mean, decoder_out)]
        held = decoder_out.weight.detach().clone()
        space = {"step": step, "steps": 20, "loss": decoder_out(encoder_mean(torch.ones(3))).sum()}
        space |= {"encoder_optimizer": optimizers[0], "decoder_optimizer": optimizers[1]}
        exec(told.lines("aggressive encoder", "pytorch", MODEL), space)
        moved.append(not torch.equal(decoder_out.weight, held))
        for optimizer in optimizers:
            optimizer.zero_grad()
    assert moved == [False] * 4 + [True] + [False] * 4 + [True]


class VAE(keras.Model):
    """Whose train step is what the lines make of it."""

    def __init__(self, cure):
        super().__init__()
        self.hidden = keras.Sequential([layers.Dense(WIDTH, "relu")])
        self.mean, self.log_std = layers.Dense(K), layers.Dense(K)
        self.decode = keras.Sequential([layers.Dense(WIDTH, "relu"), layers.Dense(D)])
        self.lines, self.cure = placed(cure, "keras"), cure
        space = {"self": self}
        if "add_weight" in self.lines["first"]:
            exec(self.lines["first"], space)
        else:
            self.log_gamma = self.add_weight(shape=(), name="log_gamma")
        self.losses_seen = []

    def call(self, x):
        h = self.hidden(x)
        return self.decode(self.mean(h)), self.log_std(h)

    def train_step(self, x):
        space = {"self": self, "ops": ops, "x": x, "steps": STEPS, "hidden": self.hidden}
        space |= {"encoder_mean": self.mean, "encoder_log_std": self.log_std}
        space |= {"decoder": self.decode, "step": int(self.optimizer.iterations)}
        exec(self.lines["before"], space)
        h = self.hidden(x)
        mean, space["log_std"] = self.mean(h), self.log_std(h)
        exec(self.lines["encoder"], space)
        log_std = space["log_std"]
        y = self.decode(mean + ops.exp(log_std) * keras.random.normal(ops.shape(mean)))
        kl = 0.5 * (mean**2 + ops.exp(2 * log_std) - 1 - 2 * log_std)
        squared_error = (x - y) ** 2
        gamma = ops.exp(self.log_gamma)
        reconstruction = ops.mean(ops.sum(squared_error, axis=1)) / (2 * gamma)
        reconstruction = reconstruction + D / 2 * self.log_gamma
        space |= {"kl": kl, "squared_error": squared_error, "reconstruction": reconstruction}
        space["loss"] = reconstruction + ops.mean(ops.sum(kl, axis=1))
        exec(self.lines["loss"], space)
        self.zero_grad()
        space["loss"].backward()
        with torch.no_grad():
            weights = [w for w in self.trainable_weights if w.value.grad is not None]
            self.optimizer.apply([w.value.grad for w in weights], weights)
        self.losses_seen.append(float(space["loss"].detach()))
        return {"loss": space["loss"]}


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="the step is PyTorch's")
@pytest.mark.parametrize("cure", LOOPS)
def test_lines_in_a_train_step_of_keras(cure):
    keras.utils.set_random_seed(0)
    model = VAE(cure)
    model(np.asarray(X[:2], np.float32))
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.optimizer.build(model.trainable_variables)
    rows = np.resize(np.asarray(X, np.float32), (STEPS * BATCH, D))
    model.fit(rows, batch_size=BATCH, epochs=1, verbose=0)
    assert len(model.losses_seen) == STEPS
    assert np.isfinite(model.losses_seen).all()
    if cure == "learned gamma":
        assert float(model.log_gamma) == pytest.approx(np.log(VARIANCE), abs=0.05)
