"""What are a Hessian's lowest and highest eigenvalues, by products alone?

>>> import jax
>>> import jax.numpy as jnp
>>> values, _, _ = extremes(lambda w: w @ (jnp.arange(5.0) * w), jnp.zeros(5), jax.random.key(0))
>>> print(values.round(9) + 0.0)
[0. 8.]
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from vaesurface.curvature.dense import hessian
from vaesurface.curvature.lanczos import quotients, ritz
from vaesurface.curvature.program import Loss, Product, linearized, program
from vaesurface.problem import Params, require_float64
from vaesurface.refusal import number, whole

__all__ = ["extremes"]

# Of a Hessian scaled to norm one, added to it for the iteration: then no eigenvalue is near zero,
# where ARPACK's test, relative to each eigenvalue, could not be passed.
SHIFT = 2.0
ROUGH = 10  # products that tell the norm, by a tenth or so


def extremes(
    loss: Loss,
    params: Params,
    key: Array,
    num_matvecs: int = 100,
    count: int = 1,
    tolerance: float | None = None,
    restarts: int = 300,
) -> tuple[Array, Array, Params]:
    """Both ends of the spectrum, count pairs each, without the Hessian.

    Returns (eigenvalues (2 count,), bounds (2 count,), vectors with leading axis 2 count): the
    lowest and the highest Ritz pairs, ascending (of a single parameter one pair), and for each the
    residual ||H v - theta v||; an eigenvalue lies within it of theta. Not numbers where the Hessian
    is none. Whether a lower eigenvalue was missed, the residual cannot
    say: ask `descent`.

    num_matvecs: products, cut to p: dimension of one Krylov space, made by Lanczos with full
        reorthogonalization.
    tolerance: residual to reach, relative to the largest |eigenvalue|: by spaces of that dimension
        that are restarted, at most `restarts` times (ARPACK's implicit restarts, through SciPy).
        Then outside of `jit` and `vmap` only. None: what one space gives.

    Raises ValueError for a space that is too small for so many, and RuntimeError where the
    tolerance is not reached.
    """
    for name, value in (("num_matvecs", num_matvecs), ("count", count), ("restarts", restarts)):
        whole(name, value)
    if tolerance is not None:
        number("tolerance", tolerance, above=0.0)
    p = sum(jnp.size(leaf) for leaf in jax.tree.leaves(params))
    size = min(num_matvecs, p)
    if not 1 <= count or (2 * count > size and (p > 1 or count > 1)):
        raise ValueError(
            f"expected count from 1 to half of num_matvecs and of the {p} parameters, got {count} "
            f"and num_matvecs {num_matvecs}; ask for fewer, or take more products"
        )
    if tolerance is None:
        return _of_one_space(loss, params, key, num_matvecs=size, count=count)
    if not tolerance > 0 or restarts < 1:
        raise ValueError(
            f"expected a tolerance > 0 and restarts of 1 or more, got {tolerance:g} and "
            f"{restarts}; change either, or leave tolerance out"
        )
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, key))):
        raise ValueError(
            "expected parameters that are known for a tolerance, got traced ones; call it outside "
            "of jit and vmap, or leave tolerance out"
        )
    return _restarted(loss, params, key, size, count, tolerance, restarts)


@program("num_matvecs", "count")
def _of_one_space(
    loss: Loss, params: Params, key: Array, num_matvecs: int, count: int
) -> tuple[Array, Array, Params]:
    require_float64("extreme eigenvalues", params)
    flat, unravel, product = linearized(loss, params)
    start = jax.random.normal(key, flat.shape, flat.dtype)
    _, vectors = ritz(product, start, num_matvecs)
    ends = jnp.concatenate([vectors[:, :count], vectors[:, -count:]], axis=1)
    values, bounds, vectors = quotients(product, ends)
    return values, bounds, jax.vmap(unravel)(vectors.T)


def _restarted(
    loss: Loss,
    params: Params,
    key: Array,
    size: int,
    count: int,
    tolerance: float,
    restarts: int,
) -> tuple[Array, Array, Params]:
    from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

    product, start, norm = _begun(loss, params, key)
    if not jnp.isfinite(norm):
        return _of_one_space(loss, params, key, num_matvecs=size, count=count)
    p = start.size
    if 2 * count >= size - 1 or p <= size:  # as large as the matrix, or nearly
        vectors = _of_matrix(loss, params, count=count)
    else:
        scale = max(float(norm), float(jnp.finfo(float).tiny))

        def shifted(v: np.ndarray) -> np.ndarray:
            v = np.ravel(v)
            return np.asarray(_applied(product, v)) / scale + SHIFT * v

        matrix = LinearOperator((p, p), matvec=shifted, dtype=float)
        try:
            _, vectors = eigsh(
                matrix,
                2 * count,
                which="BE",
                v0=np.asarray(start),
                ncv=size,
                maxiter=restarts,
                tol=tolerance / (1 + SHIFT),
            )
        except ArpackNoConvergence as error:
            raise RuntimeError(
                f"expected {2 * count} eigenvalues to a relative residual of {tolerance:g}, got "
                f"{len(error.eigenvalues)} after {restarts} restarts; raise num_matvecs, restarts "
                "or tolerance"
            ) from None
    return _rotated(loss, params, jnp.asarray(vectors))


@program()
def _begun(loss: Loss, params: Params, key: Array) -> tuple[Product, Array, Array]:
    """Products with the Hessian, a random start (p,), and about the Hessian's norm, ()."""
    require_float64("extreme eigenvalues", params)
    flat, _, product = linearized(loss, params)
    start = jax.random.normal(key, flat.shape, flat.dtype)
    values, _ = ritz(product, start, min(ROUGH, flat.size))
    return product, start, jnp.max(jnp.abs(values))


@jax.jit
def _applied(product: Product, v: Array) -> Array:
    return product(v)


@program("count")
def _of_matrix(loss: Loss, params: Params, count: int) -> Array:
    vectors = jnp.linalg.eigh(hessian(loss, params))[1]
    return jnp.concatenate([vectors[:, :count], vectors[:, -count:]], axis=1)


@program()
def _rotated(loss: Loss, params: Params, vectors: Array) -> tuple[Array, Array, Params]:
    """`quotients` of vectors (p, j), as pytrees."""
    _, unravel, product = linearized(loss, params)
    values, bounds, vectors = quotients(product, vectors)
    return values, bounds, jax.vmap(unravel)(vectors.T)
