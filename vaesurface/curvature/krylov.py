"""What of a Hessian can be had for a few dozen products: its density, a step?

>>> import jax
>>> import jax.numpy as jnp
>>> found = density(lambda w: w @ (jnp.arange(5.0) * w), jnp.zeros(5), jax.random.key(0))
>>> mean, error = found.mean(lambda x: x)
>>> bool(abs(mean - 4.0) < 3 * error)
True
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface.curvature.dense import Steps, band, count, inverses, unit
from vaesurface.curvature.lanczos import BASIS, ritz
from vaesurface.curvature.program import Loss, linearized, program
from vaesurface.glance import brief
from vaesurface.problem import Params, require_float64
from vaesurface.refusal import whole

__all__ = ["Density", "density", "krylov_steps"]


@brief()
class Density(NamedTuple):
    """Distribution of a Hessian's eigenvalues, by Gauss quadrature from m random vectors.

    nodes: (m, s).
    weights: (m, s), a vector's add up to 1.
    """

    nodes: Array
    weights: Array

    def mean(self, f: Callable[[Array], Array]) -> tuple[Array, Array]:
        """Mean of an elementwise f over all eigenvalues, and its standard error.

        Without bias for polynomials of degree up to 2 s - 1, and close to it for what they
        approximate. A share of eigenvalues, as `mean(lambda x: x < -width)`, is as uncertain,
        besides, as the weight of the nodes next to the ends of the interval: keep these out of a
        null space, by a `width` such as `band` gives.
        """
        values = jnp.where(jnp.isnan(self.nodes), jnp.nan, f(self.nodes))
        each = jnp.sum(self.weights * values, axis=1)
        return jnp.mean(each), jnp.std(each, ddof=1) / jnp.sqrt(1.0 * len(each))

    def at(self, x: ArrayLike, width: ArrayLike) -> Array:
        """The density at x (j,), of integral 1: each node smeared by a Gaussian of that standard
        deviation.
        """
        smeared = jax.scipy.stats.norm.pdf(jnp.asarray(x)[:, None], self.nodes.ravel()[None], width)
        return smeared @ self.weights.ravel() / len(self.weights)


@program("num_matvecs", "num_vectors")
def density(
    loss: Loss, params: Params, key: Array, num_matvecs: int = 64, num_vectors: int = 8
) -> Density:
    """How all eigenvalues are distributed, by products alone: stochastic Lanczos quadrature.

    num_matvecs products (cut to p, and to what 1 GiB hold) for each of num_vectors >= 2 random
    vectors, with full reorthogonalization (Ubaru, Chen & Saad 2017; Ghorbani, Krishnan & Xiao 2019
    for networks). Raises ValueError for fewer vectors.
    """
    require_float64("a spectral density", params)
    whole("num_matvecs", num_matvecs, least=1)
    whole("num_vectors", num_vectors, least=0)
    if num_vectors < 2:
        raise ValueError(
            f"expected num_vectors >= 2, got {num_vectors}; "
            "the error is told from their differences"
        )
    flat, _, product = linearized(loss, params)
    size = max(1, min(num_matvecs, flat.size, BASIS // flat.size))

    def quadrature(key: Array) -> Density:
        start = unit(jax.random.normal(key, flat.shape, flat.dtype))
        nodes, vectors = ritz(product, start, size)
        return Density(nodes=nodes, weights=(start @ vectors) ** 2)

    return jax.lax.map(quadrature, jax.random.split(key, num_vectors))


@program("num_matvecs")
def krylov_steps(loss: Loss, params: Params, num_matvecs: int = 64) -> Steps:
    """Newton's step and descent within a Krylov space of the gradient, without the Hessian.

    The inertia counts num_matvecs Ritz values (cut to what 1 GiB hold): at least as many
    eigenvalues are negative, and positive.
    """
    flat, unravel, product = linearized(loss, params)
    gradient = jax.grad(lambda w: loss(unravel(w)))(flat)
    size = max(2, min(num_matvecs, flat.size, BASIS // flat.size))
    norm = jnp.linalg.norm(gradient)
    start = jnp.where(norm > 0, gradient, jnp.ones_like(gradient))
    values, vectors = ritz(product, start, size)
    width = band(jnp.max(jnp.abs(values)), flat.size)
    right = vectors.T @ -gradient
    newton, descent = (unravel(vectors @ (inverse * right)) for inverse in inverses(values, width))
    known = jnp.where(jnp.any(vectors != 0, axis=0), values, 0.0)
    return Steps(
        gradient=unravel(gradient),
        newton=newton,
        descent=descent,
        downhill=unravel(vectors[:, 0]),
        inertia=count(known, width),
    )
