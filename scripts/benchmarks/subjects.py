"""Which losses of networks are measured?"""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaesurface import optimize

__all__ = ["LARGE", "SMALL", "Network", "network"]

SMALL = (16, 32, 16, 32, 20)  # 2,276 parameters
LARGE = (200, 400, 340, 20)  # 223,560


@dataclass(frozen=True, eq=False)
class Network:
    """Mean squared error of a network with tanh between its layers.

    inputs (n, first), targets (n, last); layers: (weight (out, in), bias (out,)) of each, which
    is the order of PyTorch's parameters.
    """

    inputs: np.ndarray
    targets: np.ndarray
    layers: list[tuple[Any, Any]]

    def loss(self, layers: list[tuple[Any, Any]]) -> Any:
        *hidden, last = layers
        x: Any = self.inputs
        for weight, bias in hidden:
            x = jnp.tanh(x @ weight.T + bias)
        weight, bias = last
        return jnp.mean((x @ weight.T + bias - self.targets) ** 2)

    @cached_property
    def vector(self) -> np.ndarray:
        """All parameters (p,)."""
        return np.asarray(ravel_pytree(self.layers)[0])

    def flat(self, vector: Any) -> Any:
        """The loss, of all parameters as one vector."""
        return self.loss(ravel_pytree(self.layers)[1](vector))

    @cached_property
    def direction(self) -> np.ndarray:
        """A random vector (p,)."""
        return np.random.default_rng(1).normal(size=self.vector.size)


def network(sizes: tuple[int, ...], n: int = 200, steps: int = 0) -> Network:
    """Of layers of those sizes, on n random inputs, at a random point or after steps of Adam."""
    noise = np.random.default_rng(0)
    inputs = noise.normal(size=(n, sizes[0]))
    mixed = noise.normal(size=(sizes[0], sizes[-1])) / math.sqrt(sizes[0])
    layers = [
        (noise.normal(size=(after, before)) / math.sqrt(before), 0.1 * noise.normal(size=after))
        for before, after in pairwise(sizes)
    ]
    made = Network(inputs, np.sin(inputs @ mixed), jax.tree.map(jnp.asarray, layers))
    if not steps:
        return made
    trained = optimize.adam(steps)(made.loss, made.layers).params
    return Network(made.inputs, made.targets, trained)
