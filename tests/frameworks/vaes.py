"""VAEs as PyTorch's users write them, for the tests with the real frameworks."""

import sys

import numpy as np
import torch
from torch import nn

from vaesurface import data

__all__ = ["VAE", "X", "assert_same", "assert_without_jax", "of_arrays", "state_of"]

X = data.load("digits-4x4", limit=128).astype(np.float32)
HIDDEN, LATENTS = 16, 3


class VAE(nn.Module):
    """With all that a call could change: batch norm's statistics, dropout's draws, the mode."""

    def __init__(self, d=X.shape[1]):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(d, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENTS)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENTS, HIDDEN), nn.ReLU(), nn.Dropout(0.1), nn.Linear(HIDDEN, d)
        )
        self.log_gamma = nn.Parameter(torch.zeros(()))

    def encode(self, x):
        """Means and log deviations; draws the noise, too, as encoders do that return latents."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        self.noise = torch.randn_like(mean)
        return mean, 0.5 * log_var

    def decode(self, z):
        """Means."""
        return self.decoder(z)

    def gamma(self):
        """The decoder's variance."""
        return self.log_gamma.exp()

    def forward(self, x, **more):
        """The loss, as Hugging Face's Trainer wants it."""
        mean, log_std = self.encode(x)
        y = self.decode(mean + log_std.exp() * self.noise)
        error = ((x - y) ** 2).sum(1) / self.gamma() + x.shape[1] * self.log_gamma
        kl = (mean**2 + (2 * log_std).exp() - 2 * log_std - 1).sum(1)
        return {"loss": (0.5 * (error + kl)).mean()}


def of_arrays(model, x=X):
    """What one would export by hand, in eval mode: arguments of `diagnose.arrays`."""
    model.eval()
    with torch.no_grad():
        mean, log_std = model.encode(torch.as_tensor(x))
        y = model.decode(mean)
    model.train()
    parts = {"mean": mean, "log_std": log_std, "reconstruction": y, "gamma": model.gamma()}
    return {"x": x} | {name: part.detach().cpu().double().numpy() for name, part in parts.items()}


def state_of(model):
    """All that training left: parameters, statistics, modes, and the random state."""
    modes = {name: part.training for name, part in model.named_modules()}
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    return weights, modes, torch.get_rng_state()


def assert_same(a, b):
    """Two states, to the bit."""
    assert a[1] == b[1]
    assert a[0].keys() == b[0].keys()
    for name, value in a[0].items():
        assert torch.equal(value, b[0][name]), name
    assert torch.equal(a[2], b[2])


def assert_without_jax():
    """Nobody loaded it."""
    assert "jax" not in sys.modules
