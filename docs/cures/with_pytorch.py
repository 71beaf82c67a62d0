"""A VAE in PyTorch that collapses, and the same with the lines that `vaesurface cure` told:

    python docs/cures/with_pytorch.py before.npz
    vaesurface cure before.npz --framework pytorch
    python docs/cures/with_pytorch.py after.npz --cured

It collapses in the most common way: nn.MSELoss averages over features, so that gamma is d / 2.
Needs torch and scikit-learn.
"""

import sys

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

LATENTS, WIDTH, BATCH, STEPS = 8, 128, 128, 4000


class VAE(nn.Module):
    """A hidden layer either way."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(d, WIDTH), nn.ReLU())
        self.mean = nn.Linear(WIDTH, LATENTS)
        self.log_std = nn.Linear(WIDTH, LATENTS)
        self.decode = nn.Sequential(nn.Linear(LATENTS, WIDTH), nn.ReLU(), nn.Linear(WIDTH, d))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations."""
        h = self.hidden(x)
        return self.mean(h), self.log_std(h)


def train(x: Tensor, cured: bool) -> tuple[VAE, float]:
    """A VAE of rows x (n, d) in 4,000 steps of Adam, and its gamma."""
    torch.manual_seed(0)
    model = VAE(x.shape[1])
    # the error is 0.0738 now; hand it to the optimizer
    log_gamma = torch.nn.Parameter(torch.tensor(-2.61))
    parameters = [*model.parameters(), log_gamma] if cured else model.parameters()
    optimizer = torch.optim.Adam(parameters, 1e-3)
    for _ in range(STEPS):
        batch = x[torch.randint(len(x), (BATCH,))]
        mean, log_std = model.encode(batch)
        y = model.decode(mean + log_std.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std)
        if cured:
            squared_error = (y - batch) ** 2
            loss = (
                squared_error.sum(1).mean() / (2 * log_gamma.exp())
                + 32 * log_gamma
                + kl.sum(1).mean()
            )
        else:
            loss = nn.functional.mse_loss(y, batch) + kl.sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, log_gamma.exp().item() if cured else x.shape[1] / 2


def main(path: str, cured: bool) -> None:
    """Train, and export to path."""
    torch.set_num_threads(1)
    x = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    model, gamma = train(x, cured)
    with torch.no_grad():
        mean, log_std = model.encode(x)
        reconstruction = model.decode(mean)
    arrays = {"x": x, "mean": mean, "log_std": log_std, "reconstruction": reconstruction}
    np.savez(path, **arrays, gamma=gamma, learned_gamma=cured)


if __name__ == "__main__":
    main(sys.argv[1], "--cured" in sys.argv)
