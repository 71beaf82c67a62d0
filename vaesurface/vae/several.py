"""What is the expectation of a smooth function of a few Gaussians together?

Of their mean (q,) and covariance (q, q), by a rule per dimension: Gauss and Hermite's or, beyond 32
nodes, the trapezoidal one, within a ball. At most three dimensions, for the number of nodes is a
power. Derivatives are those of the expectation, dE/dm = E grad g and dE/dS = E Hess g / 2, so they
hold where the covariance is singular, as at W = 0.

>>> def product(u):
...     return u[0] * u[1]
>>> moments = jnp.array([1.0, 2.0]), jnp.array([[1.0, 0.5], [0.5, 1.0]])
>>> print(f"{expected(product, 4)(*moments):.6f}")  # 2 and a half
2.500000
"""

from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaesurface.activations.expectation import FEW, gaussian_rule

__all__ = ["expected", "grid", "logsumexp"]

FAINT = 1e-300  # a sum below which its logarithm is not looked for


def expected(g: Callable[..., Array], nodes: int) -> Callable[..., Array]:
    """E g(u, *settings), u ~ N(mean (q,), covariance (q, q)), as a function of (mean, covariance,
    *settings).

    g: to an array. nodes: per dimension.
    """

    @jax.custom_jvp
    def mean(m: Array, covariance: Array, *settings: Array) -> Array:
        points, shares = grid(nodes, len(m))
        values, vectors = jnp.linalg.eigh(covariance)
        root = vectors * jnp.sqrt(jnp.maximum(values, 0.0))[None]
        at = jax.vmap(lambda u: g(u, *settings))(m[None] + points @ root.T)
        return jnp.tensordot(shares, at, 1)

    @mean.defjvp
    def _(primals, tangents):
        dm, dcovariance, *changes = tangents
        slope = jax.jacfwd(g)
        first = expected(slope, nodes)(*primals)
        second = expected(jax.jacfwd(slope), nodes)(*primals)
        total = jnp.tensordot(first, dm, 1) + 0.5 * jnp.tensordot(second, dcovariance, 2)
        for i, change in enumerate(changes):
            by = expected(jax.jacfwd(g, 1 + i), nodes)(*primals)
            total = total + jnp.tensordot(by, change, jnp.ndim(change))
        return mean(*primals), total

    return mean


def logsumexp(center: Array, scaled: Array, nodes: int) -> Array:
    """E log sum_c exp(center_c + scaled_c.z), z ~ N(0, I_q), of center (C,) and scaled (C, q).

    A power of a sum is a product: an exponential per class, dimension and node, and one logarithm
    per node of the grid. nodes: per dimension.
    """
    points, shares = gaussian_rule(nodes, scaled.shape[1])
    exponents = jnp.tensordot(scaled, jnp.asarray(points), 0)  # (C, q, nodes)
    exponents = exponents.at[:, 0].add(center[:, None])
    top = jax.lax.stop_gradient(jnp.max(exponents, axis=0))
    factors = jnp.exp(exponents - top[None])
    first, *others = (factors[:, i] for i in range(factors.shape[1]))
    if not others:
        total = jnp.sum(first, axis=0)
    else:
        *between, last = others
        for factor in between:
            first = jax.vmap(jnp.outer)(first, factor).reshape(len(first), -1)
        total = first.T @ last
    mean = jnp.log(jnp.maximum(total, FAINT)).reshape((nodes,) * scaled.shape[1])
    for _ in range(scaled.shape[1]):
        mean = mean @ shares
    return mean + jnp.sum(top @ shares)


@cache
def _mesh(nodes: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    points, shares = gaussian_rule(nodes, size)
    mesh = np.stack(np.meshgrid(*[points] * size, indexing="ij"), axis=-1).reshape(-1, size)
    shares = np.prod(np.meshgrid(*[shares] * size, indexing="ij"), axis=0).ravel()
    if nodes > FEW:  # in the corners there is nothing that counts
        within = np.sum(mesh**2, axis=1) <= points[-1] ** 2 * (1.0 + 1e-12)
        mesh, shares = mesh[within], shares[within] / shares[within].sum()
    return mesh, shares


def grid(nodes: int, size: int) -> tuple[Array, Array]:
    """Points (at most nodes^size, size) and shares of a rule for N(0, I)."""
    points, shares = _mesh(nodes, size)
    return jnp.asarray(points), jnp.asarray(shares)
