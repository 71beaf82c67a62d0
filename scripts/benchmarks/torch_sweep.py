"""How are many runs of Adam written in PyTorch?"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.torch_energy import energy, point, tensor

__all__ = ["runs"]


def runs(
    X: Any, starts: Any, alphas: Any, rates: list[float], compiled: bool
) -> Callable[[], Tensor]:
    """The call that takes Adam's steps with these rates, from one start or many (leading axis), and
    returns the energies where they end.
    """
    X, alpha = tensor(X), tensor(alphas)[..., None, None]
    function = torch.compile(energy) if compiled else energy

    def call() -> Tensor:
        w = point(starts)
        adam = torch.optim.Adam(w, lr=rates[0], fused=True)
        for rate in rates:
            adam.param_groups[0]["lr"] = rate
            adam.zero_grad()
            function(X, w, alpha).sum().backward()
            adam.step()
        with torch.no_grad():
            return energy(X, w, alpha)

    return call
