"""How does any loss curve at a point: which way, how much, and in how many directions not at all?

Everything here takes `loss, params` with params any pytree of p float64 numbers; eigenvalues ascend. Dense functions
cost p Hessian-vector products and p^3 operations; `extremes` needs products only.

>>> import jax.numpy as jnp
>>> print(*inertia(lambda w: w[0] ** 2 - w[1] ** 2 + w[2] ** 4, jnp.zeros(3)))
1 1 1
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from matfree import decomp, eig

from vaesurface.problem import Params, require_float64

Loss = Callable[[Params], Array]

# An eigenvalue is flat when |lambda| <= FLAT p eps max|lambda|: the error of a symmetric eigensolver is a modest multiple
# of eps ||H|| (Demmel, Applied Numerical Linear Algebra, 1997, section 5.2), that of summing p-term products p eps ||H||.
FLAT = 16.0


class Inertia(NamedTuple):
    """Numbers of negative, flat and positive eigenvalues; integers."""

    negative: Array
    flat: Array
    positive: Array


class Steps(NamedTuple):
    """Second-order model at a point. Steps are pytrees like the parameters.

    newton solves H s = -g, without the flat directions; descent is the same with |eigenvalues|, so the loss falls along
    it. eigenvalues and width: the numbers that inertia counts and their flat bands, of one shape. reliable: whether
    rounding leaves the count as it is.
    """

    gradient: Params
    newton: Params
    descent: Params
    inertia: Inertia
    eigenvalues: Array
    width: Array
    reliable: Array


@partial(jax.jit, static_argnums=0)
def hvp(loss: Loss, params: Params, vector: Params) -> Params:
    """Hessian-vector product, a pytree like params."""
    return jax.jvp(jax.grad(loss), (params,), (vector,))[1]


@partial(jax.jit, static_argnums=(0, 2))
def hessian(loss: Loss, params: Params, batch_size: int | None = None) -> Array:
    """Dense symmetric Hessian (p, p) in the order of `ravel_pytree`.

    One linearization, applied to the columns of the identity: batch_size of them at a time, by default one on CPU, where
    small products stay in cache, and 256 elsewhere.
    """
    flat, unravel = ravel_pytree(params)
    _, product = jax.linearize(jax.grad(lambda w: loss(unravel(w))), flat)
    if batch_size is None and jax.default_backend() != "cpu":
        batch_size = 256
    columns = jax.lax.map(product, jnp.eye(flat.size, dtype=flat.dtype), batch_size=batch_size)
    return 0.5 * (columns + columns.T)


def band(scale: Array, p: int) -> Array:
    """Half-width of the band of eigenvalues that count as flat; scale is max|lambda|."""
    return FLAT * p * jnp.finfo(jnp.result_type(scale)).eps * scale


def count(eigenvalues: Array, width: Array) -> Inertia:
    """Inertia from eigenvalues of any shape and the half-width of the flat band."""
    negative, positive = jnp.sum(eigenvalues < -width), jnp.sum(eigenvalues > width)
    return Inertia(negative, eigenvalues.size - negative - positive, positive)


@partial(jax.jit, static_argnums=0)
def spectrum(loss: Loss, params: Params) -> Array:
    """All p eigenvalues of the dense Hessian, ascending."""
    require_float64("a Hessian spectrum", params)
    return jnp.linalg.eigvalsh(hessian(loss, params))


@partial(jax.jit, static_argnums=0)
def inertia(loss: Loss, params: Params) -> Inertia:
    """Numbers of negative, flat and positive eigenvalues of the dense Hessian."""
    eigenvalues = spectrum(loss, params)
    return count(eigenvalues, band(jnp.max(jnp.abs(eigenvalues)), eigenvalues.size))


@partial(jax.jit, static_argnums=(0, 3))
def extremes(loss: Loss, params: Params, key: Array, num_matvecs: int = 100) -> tuple[Array, Array, Params]:
    """Both ends of the spectrum by Lanczos with full reorthogonalization, without forming the Hessian.

    Returns (eigenvalues (2,), bounds (2,), vectors with leading axis 2): the lowest and the highest Ritz pair, and for
    each the residual ||H v - theta v||; an eigenvalue lies within it of theta. Whether a lower eigenvalue was missed, the
    residual cannot say. num_matvecs is cut to p.
    """
    require_float64("extreme eigenvalues", params)
    flat, unravel = ravel_pytree(params)
    _, product = jax.linearize(jax.grad(lambda w: loss(unravel(w))), flat)
    lanczos = eig.eigh_partial(decomp.tridiag_sym(min(num_matvecs, flat.size), reortho="full"))
    values, vectors = lanczos(product, jax.random.normal(key, flat.shape, flat.dtype))
    order = jnp.argsort(values)[jnp.array([0, -1])]
    vectors = vectors[order] / jnp.linalg.norm(vectors[order], axis=1, keepdims=True)
    images = jax.lax.map(product, vectors)
    values = jnp.sum(vectors * images, axis=1)
    bounds = jnp.linalg.norm(images - values[:, None] * vectors, axis=1)
    return values, bounds, jax.vmap(unravel)(vectors)


@partial(jax.jit, static_argnums=0)
def steps(loss: Loss, params: Params) -> Steps:
    """Newton and descent step and inertia, from the dense Hessian."""
    flat, unravel = ravel_pytree(params)
    gradient = jax.grad(lambda w: loss(unravel(w)))(flat)
    eigenvalues, vectors = jnp.linalg.eigh(hessian(loss, params))
    width = band(jnp.max(jnp.abs(eigenvalues)), flat.size)
    newton, descent = (unravel(vectors @ (f * (vectors.T @ -gradient))) for f in inverses(eigenvalues, width))
    inertia = count(eigenvalues, width)
    width = jnp.full_like(eigenvalues, width)
    return Steps(unravel(gradient), newton, descent, inertia, eigenvalues, width, jnp.asarray(True))


def inverses(eigenvalues: Array, width: Array) -> tuple[Array, Array]:
    """1/lambda with 0 in the flat band, and 1/|lambda| with the band's width as a floor."""
    flat = jnp.abs(eigenvalues) <= width
    floor = jnp.maximum(width, jnp.finfo(eigenvalues.dtype).tiny)
    return jnp.where(flat, 0.0, 1.0 / jnp.where(flat, 1.0, eigenvalues)), 1.0 / jnp.maximum(jnp.abs(eigenvalues), floor)
