"""What do the dense Hessian of a network, and products with it, cost?"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax

from benchmarks.clock import Contender, finished, measured, off
from benchmarks.subjects import LARGE, SMALL, Network, network
from vaesurface import curvature, data, vae
from vaesurface.curvature.program import linearized

__all__ = ["columns", "dense", "products", "rows"]

OURS = "vaesurface"


def rows(peers: bool) -> Iterator[dict[str, Any]]:
    """All of this topic."""
    yield dense(peers)
    yield products(peers)
    yield columns()


def dense(peers: bool) -> dict[str, Any]:
    """The whole Hessian of 2,276 parameters."""
    net = network(SMALL)
    gradient = jax.jit(jax.grad(net.loss))
    whole = jax.jit(jax.hessian(net.flat))
    error = partial(off, expected=whole(net.vector))
    contenders = [
        Contender("gradient", lambda: finished(gradient, net.layers)),
        Contender(OURS, lambda: finished(curvature.hessian, net.loss, net.layers), error),
        Contender("jax.hessian", lambda: finished(whole, net.vector)),
    ]
    if peers:
        contenders += [
            Contender("torch.func.hessian", partial(torch_hessian, net), error),
            Contender("curvlinops, times the identity", partial(curvlinops_matrix, net), error),
        ]
    title = f"dense Hessian of a network, p = {net.vector.size}, n = {len(net.inputs)}"
    return measured(title, contenders, unit=OURS, budget=20.0)


def torch_hessian(net: Network) -> Callable[[], Any]:
    """By PyTorch's own function."""
    import torch

    from benchmarks import torch_network

    loss, point = torch_network.functional(net)
    hessian = torch.func.hessian(loss)
    return lambda: hessian(point)


def curvlinops_matrix(net: Network) -> Callable[[], Any]:
    """By products with all columns of the identity."""
    import torch

    from benchmarks import torch_network

    operator = torch_network.curvlinops_operator(net)
    identity = torch.eye(net.vector.size, dtype=torch.float64)
    return lambda: operator @ identity


def products(peers: bool) -> dict[str, Any]:
    """A product with the Hessian of 223,560 parameters."""
    net = network(LARGE)
    gradient = jax.jit(jax.grad(net.flat))

    @jax.jit
    def forward_over_reverse(w: Any, v: Any) -> Any:
        return jax.jvp(jax.grad(net.flat), (w,), (v,))[1]

    error = partial(off, expected=forward_over_reverse(net.vector, net.direction))
    contenders = [
        Contender("gradient", lambda: finished(gradient, net.vector)),
        Contender(f"{OURS}, linearized once", partial(ours_linearized, net), error),
        Contender(f"{OURS}, curvature.hvp", partial(ours, net), error),
        Contender(
            "jax.jvp of jax.grad", lambda: finished(forward_over_reverse, net.vector, net.direction)
        ),
    ]
    contenders += torch_products(net, error) if peers else []
    title = f"Hessian product of a network, p = {net.vector.size}, n = {len(net.inputs)}"
    return measured(title, contenders, unit="gradient", budget=8.0)


def ours_linearized(net: Network) -> Callable[[], Any]:
    """As Krylov methods take it: what the products share is computed before."""
    product = jax.jit(lambda w: linearized(net.loss, w)[2])(net.layers)
    return finished(jax.jit(lambda product, v: product(v)), product, net.direction)


def ours(net: Network) -> Callable[[], Any]:
    """A product by itself."""
    return finished(curvature.hvp, net.flat, net.vector, net.direction)


def torch_products(net: Network, error: Callable[[Any], float]) -> list[Contender]:
    """Those of PyTorch and of the libraries on it."""
    from benchmarks import torch_network

    def curvlinops() -> Callable[[], Any]:
        operator = torch_network.curvlinops_operator(net)
        direction = torch_network.tensor(net.direction)
        return lambda: operator @ direction

    def eigenthings() -> Callable[[], Any]:
        operator = torch_network.eigenthings_operator(net)
        direction = torch_network.tensor(net.direction)
        return lambda: operator.matvec(direction)

    kept = partial(torch_network.product_of_kept_graph, net)
    return [
        Contender("PyTorch's gradient", partial(torch_network.gradient, net)),
        Contender("PyTorch, differentiated twice", partial(torch_network.product, net), error),
        Contender("PyTorch, gradient's graph kept", kept, error),
        Contender("curvlinops", curvlinops, error),
        Contender("hessian-eigenthings", eigenthings, error),
        Contender("PyHessian", lambda: torch_network.pyhessian_products(net)[1], error),
    ]


def columns() -> dict[str, Any]:
    """The dense Hessian of an energy by one column at a time, and by 256."""
    problem = vae.threshold_vae(data.load("digits-4x4", limit=120), 2, 0.1)
    params = problem.init(jax.random.key(0), 1.0)
    one, many = (partial(curvature.hessian, problem.loss, params, size) for size in (1, 256))
    error = partial(off, expected=one())
    contenders = [
        Contender("one by one", lambda: finished(one)),
        Contender("256 at a time", lambda: finished(many), error),
    ]
    return measured("dense Hessian, n = 120, d = 16, k = 2: columns", contenders, unit="one by one")
