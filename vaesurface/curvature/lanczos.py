"""What do products with a symmetric matrix alone tell of its eigenvalues?

>>> import jax.numpy as jnp
>>> values, vectors = ritz(lambda v: jnp.array([1.0, 2.0, 3.0]) * v, jnp.ones(3), 3)
>>> print(values.round(9))
[1. 2. 3.]
"""

import jax
import jax.numpy as jnp
from jax import Array
from matfree import decomp

from vaesurface.curvature.program import Product

__all__ = ["BASIS", "chebyshev", "quotients", "ritz"]

BASIS = 2**27  # numbers in a Lanczos basis at most: 1 GiB
# Coupling to the next Lanczos vector, relative to the operator, below which that vector is noise.
EXHAUSTED = 1e-10


def ritz(product: Product, start: Array, size: int) -> tuple[Array, Array]:
    """Ritz values (size,), ascending, and vectors (p, size) of a Krylov space.

    Where the space is exhausted, as it is soon for a Hessian of small rank, what follows is the
    noise of a division by nothing. It is replaced by zero vectors, with a value from inside the
    spectrum.
    """
    result = decomp.tridiag_sym(size, reortho="full", custom_vjp=False)(product, start)
    small = result.J_small
    largest = jnp.max(jnp.abs(small), where=jnp.isfinite(small), initial=0.0)
    coupled = jnp.abs(jnp.diagonal(small, 1)) > EXHAUSTED * largest
    sound = jnp.append(True, jnp.cumprod(coupled) > 0)
    filler = jnp.diag(jnp.where(sound, 0.0, small[0, 0]))
    small = jnp.where(sound[:, None] & sound[None], small, 0.0) + filler
    values, vectors = jnp.linalg.eigh(small)
    return values, jnp.where(sound[:, None], result.Q_tall, 0.0).T @ vectors


def quotients(product: Product, vectors: Array) -> tuple[Array, Array, Array]:
    """Rayleigh-Ritz in the span of vectors (p, j): values (j,) ascending, residual norms (j,),
    orthonormal vectors (p, j).
    """
    basis = jnp.linalg.qr(vectors)[0]
    images = jax.lax.map(product, basis.T).T
    small = basis.T @ images
    values, turn = jnp.linalg.eigh(0.5 * (small + small.T))
    basis, images = basis @ turn, images @ turn
    return values, jnp.linalg.norm(images - values[None] * basis, axis=0), basis


def chebyshev(product: Product, v: Array, degree: Array) -> Array:
    """T_degree(product) v for degree >= 1, by T_{j + 1}(x) = 2 x T_j(x) - T_{j - 1}(x)."""

    def step(_: Array, pair: tuple[Array, Array]) -> tuple[Array, Array]:
        before, now = pair
        return now, 2 * product(now) - before

    return jax.lax.fori_loop(1, degree, step, (v, product(v)))[1]
