"""How is the energy of `vaesurface.energy` written in PyTorch?

With the closed form of the moments and PyTorch's derivatives. Leading axes are runs side by side,
whose energies do not depend on one another.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks.clock import Refused

__all__ = ["Point", "energy", "gradient", "point", "product", "tensor"]


class Point(NamedTuple):
    """`energy.VAEParams`, with leading axes for runs."""

    weight: Tensor
    bias: Tensor
    log_gamma: Tensor
    mean: Tensor
    log_std: Tensor


def point(params: Any) -> Point:
    """Parameters as tensors that are differentiated by."""
    return Point(*(tensor(x).requires_grad_() for x in params))


def tensor(x: Any) -> Tensor:
    """A copy of an array."""
    return torch.tensor(np.asarray(x))


def energy(X: Tensor, w: Point, alpha: Tensor) -> Tensor:
    """One energy per run."""
    m = w.mean @ w.weight.mT
    v = torch.exp(2 * w.log_std) @ (w.weight**2).mT
    mean, variance = soft_threshold(m, v, alpha)
    error = (X - w.bias.unsqueeze(-2) - mean) ** 2 + variance
    log_gamma = w.log_gamma[..., None]
    likelihood = error.sum(-1) * torch.exp(-log_gamma) + X.shape[1] * log_gamma
    divergence = torch.exp(2 * w.log_std) - 2 * w.log_std + w.mean**2
    return (likelihood + divergence.sum(-1)).mean(-1)


def soft_threshold(m: Tensor, v: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of sign(u) max(|u| - alpha, 0), u ~ N(m, v)."""
    s = torch.sqrt(v)
    up, down = (m - alpha) / s, (-m - alpha) / s
    above, below = beyond(up), beyond(down)
    mean = s * (above[0] - below[0])
    return mean, v * (above[1] + below[1]) - mean**2


def beyond(a: Tensor) -> tuple[Tensor, Tensor]:
    """E x_+ and E x_+^2 for x ~ N(a, 1)."""
    density = torch.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    mass = 0.5 * torch.special.erfc(a * -math.sqrt(0.5))
    return density + a * mass, (1 + a * a) * mass + a * density


def gradient(subject: Any, compiled: bool = False) -> Callable[[], tuple[Tensor, ...]]:
    """The call that returns the energy and its derivatives by all parameters."""
    X, w, alpha = tensor(subject.problem.X), point(subject.params), tensor(subject.problem.alpha)
    function = quicker(energy) if compiled else energy

    def call() -> tuple[Tensor, ...]:
        value = function(X, w, alpha)
        return value.detach(), *torch.autograd.grad(value, w)

    return call


def quicker(function: Callable) -> Callable:
    """A function through PyTorch's compiler, which needs one of C++."""
    import shutil

    if not shutil.which("g++"):
        raise Refused("needs a C++ compiler, not found")
    return torch.compile(function)


def product(subject: Any) -> Callable[[], tuple[Tensor, ...]]:
    """The call that returns the Hessian times the subject's direction."""
    X, w, alpha = tensor(subject.problem.X), point(subject.params), tensor(subject.problem.alpha)
    direction = [tensor(x) for x in subject.direction]

    def call() -> tuple[Tensor, ...]:
        first = torch.autograd.grad(energy(X, w, alpha), w, create_graph=True)
        return torch.autograd.grad(first, w, direction)

    return call
