"""How do PyTorch and the libraries on it see the networks of `subjects`?

Vectors are in the order of the parameters, which is the same in JAX.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.subjects import Network

__all__ = [
    "curvlinops_operator",
    "eigenthings_operator",
    "functional",
    "gradient",
    "model",
    "product",
    "product_of_kept_graph",
    "pyhessian_products",
]


def model(network: Network) -> nn.Sequential:
    """The network at its point."""
    modules: list[nn.Module] = []
    for weight, bias in network.layers:
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        with torch.no_grad():
            layer.weight.copy_(tensor(weight))
            layer.bias.copy_(tensor(bias))
        modules += [layer, nn.Tanh()]
    return nn.Sequential(*modules[:-1])


def tensor(x: Any) -> Tensor:
    """A copy of an array."""
    return torch.tensor(np.asarray(x))


def batch(network: Network) -> tuple[Tensor, Tensor]:
    """All data."""
    return tensor(network.inputs), tensor(network.targets)


def prepared(network: Network) -> tuple[Callable[[], Tensor], list[nn.Parameter]]:
    """The loss as a call, and what it is differentiated by."""
    net, (x, y) = model(network), batch(network)
    return lambda: nn.functional.mse_loss(net(x), y), list(net.parameters())


def joined(tensors: Any) -> Tensor:
    """One vector."""
    return torch.cat([x.reshape(-1) for x in tensors])


def split(vector: Tensor, params: list[nn.Parameter]) -> list[Tensor]:
    """One tensor for each parameter."""
    parts = torch.split(vector, [w.numel() for w in params])
    return [part.view_as(w) for part, w in zip(parts, params, strict=True)]


def gradient(network: Network) -> Callable[[], Tensor]:
    """The call that returns the gradient."""
    loss, params = prepared(network)
    return lambda: joined(torch.autograd.grad(loss(), params))


def product(network: Network) -> Callable[[], Tensor]:
    """The call that differentiates twice, anew each time."""
    loss, params = prepared(network)
    direction = split(tensor(network.direction), params)

    def call() -> Tensor:
        first = torch.autograd.grad(loss(), params, create_graph=True)
        return joined(torch.autograd.grad(first, params, direction))

    return call


def product_of_kept_graph(network: Network) -> Callable[[], Tensor]:
    """The call that differentiates a gradient that is computed once."""
    loss, params = prepared(network)
    direction = split(tensor(network.direction), params)
    first = torch.autograd.grad(loss(), params, create_graph=True)
    return lambda: joined(torch.autograd.grad(first, params, direction, retain_graph=True))


def functional(network: Network) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The loss as a function of one vector, and the point."""
    net, (x, y) = model(network), batch(network)
    names, params = zip(*net.named_parameters(), strict=True)

    def loss(vector: Tensor) -> Tensor:
        parts = dict(zip(names, split(vector, list(params)), strict=True))
        return nn.functional.mse_loss(torch.func.functional_call(net, parts, (x,)), y)

    return loss, joined(params).detach()


def curvlinops_operator(network: Network) -> Any:
    """The Hessian as curvlinops has it."""
    from curvlinops import HessianLinearOperator

    net = model(network)
    data = [batch(network)]
    return HessianLinearOperator(
        net, nn.MSELoss(), list(net.parameters()), data, check_deterministic=False
    )


def eigenthings_operator(network: Network) -> Any:
    """The Hessian as hessian-eigenthings has it."""
    from hessian_eigenthings import HessianOperator, supervised_loss

    loss = supervised_loss(nn.functional.mse_loss)
    return HessianOperator(model(network), [batch(network)], loss)


def pyhessian_products(network: Network) -> tuple[Any, Callable[[], Tensor]]:
    """PyHessian's own object, and the call of its product with the direction."""
    import warnings

    from pyhessian import hessian
    from pyhessian.utils import hessian_vector_product

    warnings.filterwarnings("ignore", message="Using backward.. with create_graph")
    net = model(network)
    made = hessian(net, nn.MSELoss(), data=batch(network), cuda=False)
    direction = split(tensor(network.direction), made.params)

    def call():
        return joined(hessian_vector_product(made.gradsH, made.params, direction))

    return made, call
