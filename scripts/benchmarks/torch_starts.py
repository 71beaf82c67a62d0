"""How do the forty runs of `torch_forty` start, and how is their KL annealed?

A start changes the parameters that PyTorch draws, in place.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.torch_vae import VAE, Knots

__all__ = ["columns", "cyclical", "dead", "pretrained", "scaled", "zeros"]


def scaled(factor: float) -> Callable[[VAE], None]:
    """All weights of encoder and decoder times this."""

    @torch.no_grad()
    def start(model: VAE) -> None:
        for parameter in (*model.encoder.parameters(), *model.decoder.parameters()):
            if parameter.ndim == 2:
                parameter.mul_(factor)

    return start


@torch.no_grad()
def dead(model: VAE) -> None:
    """The decoder's hidden units never fire."""
    for layer in [m for m in model.decoder.modules() if isinstance(m, nn.Linear)][:-1]:
        layer.bias.fill_(-10.0)


@torch.no_grad()
def zeros(model: VAE) -> None:
    """The decoder's parameters are all 0: with tanh, a stationary point."""
    for parameter in model.decoder.parameters():
        parameter.zero_()


def columns(large: int, size: int) -> Callable[[VAE], None]:
    """So many latents of `blocks` with weights that pass the threshold, the others with small."""

    @torch.no_grad()
    def start(model: VAE) -> None:
        weight = model.decoder.linear.weight  # (d, k)
        weight.normal_(std=0.01)
        for j in range(large):
            weight[j * size : (j + 1) * size, j] = 1.5

    return start


def pretrained(flips: float) -> Callable[[VAE], None]:
    """The autoregressive part is that of `torch_data.switching`, latents count for little."""
    odds = math.log((1.0 - flips) / flips)

    @torch.no_grad()
    def start(model: VAE) -> None:
        scaled(0.1)(model)
        model.decoder.net[-1].bias[1:] = -odds
        model.decoder.before.zero_().diagonal(-1).fill_(2.0 * odds)

    return start


def cyclical(cycles: int, low: float, high: float, share: float = 0.5) -> Knots:
    """Up during this share of each cycle, then held, then down at once."""
    length = 1.0 / cycles
    return tuple(
        point
        for i in range(cycles)
        for point in (
            (i * length + 1e-9, low),
            ((i + share) * length, high),
            ((i + 1) * length, high),
        )
    )
