"""How much of a training's time does a monitor take?

A VAE in PyTorch on 784 features, batches of 128, as people train it on a CPU, with and without a
monitor of default settings, in turns: seconds of processor time. Fails where the median of the
share that looks take is above the promised one. What runs with a monitor take more than those
without is printed too: where the machine has other work, it is mostly that.
"""

import sys
import time
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from vaesurface import monitor

FEATURES, HIDDEN, LATENTS, BATCH, ROWS = 784, 512, 16, 128, 256
STEPS, ROUNDS = 4000, 2
PROMISED = 0.02  # of the time of training


class VAE(nn.Module):
    """One hidden layer in each network, one learned gamma."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Linear(FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * LATENTS)
        )
        self.decoder = nn.Sequential(
            nn.Linear(LATENTS, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, FEATURES)
        )
        self.log_gamma = nn.Parameter(torch.zeros(()))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log deviations."""
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        return mean, 0.5 * log_var

    def gamma(self) -> Tensor:
        """The decoder's variance."""
        return self.log_gamma.exp()

    def loss(self, x: Tensor) -> Tensor:
        """Negative evidence lower bound, in nats per datum but for a constant."""
        mean, log_std = self.encode(x)
        y = self.decoder(mean + log_std.exp() * torch.randn_like(mean))
        error = ((x - y) ** 2).sum(1) / self.gamma() + FEATURES * self.log_gamma
        kl = (mean**2 + (2 * log_std).exp() - 2 * log_std - 1).sum(1)
        return 0.5 * (error + kl).mean()


class Timed(NamedTuple):
    """A run.

    seconds: of all.
    looking: of what the monitor took, the first look included.
    first: of the first look.
    looks: how many.
    """

    seconds: float
    looking: float
    first: float
    looks: int


def images(n: int = 6000) -> Tensor:
    """Smooth ones of few causes, in [0, 1]: what they show has no part in the time."""
    rng = np.random.default_rng(0)
    causes = rng.standard_normal((n, 24)) @ rng.standard_normal((24, FEATURES)) / 5.0
    return torch.as_tensor(1.0 / (1.0 + np.exp(-causes)), dtype=torch.float32)


def trained(data: Tensor, watched: bool) -> Timed:
    """The time of a run."""
    torch.manual_seed(0)
    model = VAE()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    look = monitor.watch(
        data[:ROWS], model.encode, model.decoder, gamma=model.gamma, warn=lambda sentence: None
    )
    begun, looking, first = time.process_time(), 0.0, 0.0
    for step in range(STEPS):
        loss = model.loss(data[torch.randint(len(data), (BATCH,))])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if watched:
            before = time.process_time()
            look(step)
            looking += time.process_time() - before
            first = first or looking
    return Timed(time.process_time() - begun, looking, first, len(look.monitor.updates))


def main() -> int:
    """Print the times of rounds and the median share; 1 where that is above the promised one."""
    torch.set_num_threads(1)
    data = images()
    trained(data, True)  # what is loaded and planned at first use
    shares, more = [], []
    for number in range(ROUNDS):
        if number % 2:  # neither is always the second
            watched, alone = trained(data, True), trained(data, False)
        else:
            alone, watched = trained(data, False), trained(data, True)
        shares.append(watched.looking / watched.seconds)
        more.append(watched.seconds / alone.seconds - 1.0)
        later = (watched.looking - watched.first) / max(watched.looks - 1, 1)
        print(
            f"round {number + 1}: {1e3 * alone.seconds / STEPS:.2f} ms a step alone, "
            f"{1e3 * watched.seconds / STEPS:.2f} watched; {watched.looks} looks, the first "
            f"{1e3 * watched.first:.0f} ms, others {1e3 * later:.0f} ms: "
            f"{100 * shares[-1]:.2f} % of the time"
        )
    share = float(np.median(shares))
    print(
        f"median of {ROUNDS} pairs of runs: {100 * share:.2f} % of the time in looks, "
        f"{100 * np.median(more):.1f} % more time with a monitor than without"
    )
    return int(share > PROMISED)


if __name__ == "__main__":
    sys.exit(main())
