"""A VAE in PyTorch that collapses, is warned, is cured and lives: python docs/monitor/pytorch.py

Needs torch and scikit-learn beside vaesurface. Leaves runs/averaged.jsonl and runs/summed.jsonl;
`vaesurface report runs` makes a page of them.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from vaesurface import monitor

STEPS, BATCH, LATENTS = 3000, 128, 4


class VAE(nn.Module):
    """Two layers either way."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, 2 * LATENTS))
        self.decoder = nn.Sequential(nn.Linear(LATENTS, 128), nn.ReLU(), nn.Linear(128, d))
        self.log_gamma = nn.Parameter(torch.zeros(()))

    def gamma(self) -> torch.Tensor:
        """The decoder's variance."""
        return self.log_gamma.exp()

    def encode(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Means and log deviations."""
        mean, log_var = self.encoder(x).chunk(2, dim=-1)
        return mean, 0.5 * log_var

    def decode(self, z: torch.Tensor) -> torch.Tensor:
        """Means."""
        return self.decoder(z)


def averaged(model: VAE, x: torch.Tensor, y: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
    """As many write it: the squared error averaged over features, so that gamma is d / 2."""
    return nn.functional.mse_loss(y, x) + kl


def summed(model: VAE, x: torch.Tensor, y: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
    """As the warning has it: gamma learned, the error summed over features."""
    error, d = ((y - x) ** 2).sum(1).mean(), x.shape[1]
    return error / (2 * model.gamma()) + d / 2 * model.log_gamma + kl


def train(name: str, loss_of, x: torch.Tensor, gamma: float | None) -> None:
    """With a monitor: three lines. gamma: None where it is learned."""
    torch.manual_seed(0)
    model = VAE(x.shape[1])
    known = {"gamma": gamma or model.gamma, "learned_gamma": gamma is None}
    path = f"runs/{name}.jsonl"
    look = monitor.watch(
        x[:256], model.encode, model.decode, path=path, steps=STEPS, every=100, warn=print, **known
    )
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for step in range(STEPS + 1):
        batch = x[torch.randint(len(x), (BATCH,))]
        mean, log_std = model.encode(batch)
        y = model.decode(mean + log_std.exp() * torch.randn_like(mean))
        kl = 0.5 * (mean**2 + (2 * log_std).exp() - 1 - 2 * log_std).sum(1).mean()
        loss = loss_of(model, batch, y, kl)
        look(step, loss=loss)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = look.finish()
    print(f"{name}: {found.label}\n  {found.change}")


if __name__ == "__main__":
    pixels = torch.tensor(load_digits().data / 16, dtype=torch.float32)
    train("averaged", averaged, pixels, gamma=pixels.shape[1] / 2)
    train("summed", summed, pixels, gamma=None)
