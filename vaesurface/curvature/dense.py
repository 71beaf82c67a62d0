"""What does a loss's whole Hessian say: how many eigenvalues of which sign, which step to take?

p products with vectors and p^3 operations: to several thousand parameters.

>>> import jax.numpy as jnp
>>> print(steps(lambda w: (w[0] - 1.0) ** 2 - w[1] ** 2, jnp.array([0.0, 3.0])).newton)
[ 1. -3.]
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.curvature.program import Loss, linearized, program
from vaesurface.glance import brief
from vaesurface.problem import Params, require_float64

__all__ = [
    "FLAT",
    "Factors",
    "Inertia",
    "Steps",
    "balance",
    "band",
    "count",
    "factor",
    "hessian",
    "hvp",
    "inertia",
    "inverses",
    "lowest",
    "solve",
    "spectrum",
    "steps",
    "steps_from",
    "unit",
]

# An eigenvalue is flat when |lambda| <= FLAT p eps max|lambda|: the error of a symmetric
# eigensolver is a modest multiple of eps ||H|| (Demmel, Applied Numerical Linear Algebra, 1997,
# section 5.2), that of summing p-term products p eps ||H||.
FLAT = 16.0
BALANCING = (
    8  # rounds of Ruiz's iteration: what is off by 1e16 in the first is off by 1.2 in the last
)
HESSIAN_COLUMNS = 256  # of a Hessian at a time, on an accelerator; on CPU one, which stays in cache


@brief()
class Inertia(NamedTuple):
    """How many eigenvalues have which sign; integers.

    negative: ().
    flat: (), within the flat band around zero.
    positive: ().
    """

    negative: Array
    flat: Array
    positive: Array


@brief()
class Factors(NamedTuple):
    """A dense Hessian, taken apart.

    gradient: like params.
    eigenvalues: (p,), ascending.
    width: (p,), half-width of the flat band for each eigenvalue.
    vectors: (p, p), eigenvectors in its columns, in the parameters' own units.
    reliable: (), whether rounding leaves the count as it is.
    separated: (), whether it does if the flat directions are known to be flat.
    missing: (), entries of the Hessian that are not finite.
    scale: (p,), of the units that the eigenvalues are taken in.
    faint: (p,), whether an eigenvalue stands out in these units only, beside the flat band in the
        parameters' own.
    """

    gradient: Params
    eigenvalues: Array
    width: Array
    vectors: Array
    reliable: Array
    separated: Array
    missing: Array
    scale: Array
    faint: Array


@brief()
class Steps(NamedTuple):
    """Second-order model at a point; steps are pytrees like the parameters.

    gradient: of the loss.
    newton: solves H s = -g, without the flat directions.
    descent: the same with |eigenvalues|, so that the loss falls along it.
    downhill: a unit direction of the most negative curvature that the steps know of.
    inertia: of the eigenvalues that they know of.
    """

    gradient: Params
    newton: Params
    descent: Params
    downhill: Params
    inertia: Inertia


@program()
def hvp(loss: Loss, params: Params, vector: Params) -> Params:
    """Hessian-vector product, a pytree like params."""
    return jax.jvp(jax.grad(loss), (params,), (vector,))[1]


@program("batch_size")
def hessian(loss: Loss, params: Params, batch_size: int | None = None) -> Array:
    """Dense symmetric Hessian (p, p) in the order of `ravel_pytree`.

    One linearization, applied to the columns of the identity: batch_size of them at a time, by
    default one on CPU and `HESSIAN_COLUMNS` elsewhere.
    """
    flat, _, product = linearized(loss, params)
    if batch_size is None and jax.default_backend() != "cpu":
        batch_size = HESSIAN_COLUMNS
    columns = jax.lax.map(product, jnp.eye(flat.size, dtype=flat.dtype), batch_size=batch_size)
    return 0.5 * (columns + columns.T)


@program()
def spectrum(loss: Loss, params: Params) -> Array:
    """All p eigenvalues of the dense Hessian, ascending."""
    require_float64("a Hessian spectrum", params)
    return jnp.linalg.eigvalsh(hessian(loss, params))


@program()
def inertia(loss: Loss, params: Params) -> Inertia:
    """Numbers of negative, flat and positive eigenvalues of the dense Hessian.

    From all eigenvalues, which take no longer here than the two factorizations H ± width I that
    Sylvester's law asks for (`scripts/bench --peers`), and count at any other width too.
    """
    eigenvalues = spectrum(loss, params)
    return count(eigenvalues, band(jnp.max(jnp.abs(eigenvalues)), eigenvalues.size))


def band(scale: Array, p: int) -> Array:
    """Half-width FLAT p eps scale of the band of eigenvalues that count as flat; scale is
    max|lambda|.
    """
    return FLAT * p * jnp.finfo(jnp.result_type(scale)).eps * scale


def balance(size: Array) -> Array:
    """Scales s (..., p) for which the largest s_i size_ij s_j of every row is about one; 1 for rows
    of zeros.

    size: (..., p, p), symmetric and nonnegative. By D. Ruiz, A scaling algorithm to equilibrate
    both rows and columns norms in matrices, RAL-TR-2001-034.
    """

    def sharpened(_: Any, scale: Array) -> Array:
        largest = scale * jnp.max(size * scale[..., None, :], axis=-1)
        return scale / jnp.sqrt(jnp.where(largest == 0, 1.0, largest))

    return jax.lax.fori_loop(0, BALANCING, sharpened, jnp.ones_like(size[..., 0]))


def count(eigenvalues: Array, width: Array) -> Inertia:
    """Inertia from eigenvalues of any shape and the half-width of the flat band; what is not a
    number counts nowhere.
    """
    negative, positive = jnp.sum(eigenvalues < -width), jnp.sum(eigenvalues > width)
    return Inertia(negative, jnp.sum(jnp.abs(eigenvalues) <= width), positive)


@program("balanced")
def factor(
    loss: Loss, params: Params, scale: Array | None = None, balanced: bool = False
) -> Factors:
    """Eigenvalues and eigenvectors of the dense Hessian H.

    balanced: of D H D instead, D = diag(scale), which has the same inertia (Sylvester) and loses no
    small parameter beside a large one; scale (p,) is taken from H where it is zero, or not given.
    """
    flat, unravel = ravel_pytree(params)
    gradient = jax.grad(lambda w: loss(unravel(w)))(flat)
    matrix = hessian(loss, params)
    units = jnp.ones(flat.size)
    if balanced:
        units = balance(jnp.abs(matrix))
        units = units if scale is None else jnp.where(scale > 0, scale, units)
    eigenvalues, vectors = jnp.linalg.eigh(units[:, None] * matrix * units[None])
    vectors = units[:, None] * vectors
    own = jnp.abs(eigenvalues) / jnp.sum(vectors**2, axis=0)
    width = jnp.full_like(eigenvalues, band(jnp.max(jnp.abs(eigenvalues)), flat.size))
    return Factors(
        gradient=unravel(gradient),
        eigenvalues=eigenvalues,
        width=width,
        vectors=vectors,
        reliable=jnp.asarray(True),
        separated=jnp.asarray(True),
        missing=jnp.sum(~jnp.isfinite(matrix)),
        scale=units,
        faint=(own <= band(jnp.linalg.norm(matrix), flat.size)) & (jnp.abs(eigenvalues) > width),
    )


def solve(params: Params, factors: Factors, right: Params, inverse: Array) -> Params:
    """x = V diag(inverse) V' right, which solves H x = right for inverse = 1 / eigenvalues (p,).

    Zeros in inverse leave directions out; with |1 / eigenvalues| the loss falls along x. right and
    x are like params.
    """
    unravel = ravel_pytree(params)[1]
    return unravel(factors.vectors @ (inverse * (factors.vectors.T @ ravel_pytree(right)[0])))


def lowest(params: Params, factors: Factors) -> tuple[Params, Array]:
    """right and inverse for which `solve` gives a multiple of the lowest eigenvalue's vector."""
    inverse = jnp.zeros_like(factors.eigenvalues).at[0].set(1.0)
    return ravel_pytree(params)[1](factors.vectors[:, 0]), inverse


@program()
def steps(loss: Loss, params: Params) -> Steps:
    """Newton's step and descent from the dense Hessian."""
    factors = factor(loss, params)
    return steps_from(factors, partial(solve, params, factors), lowest(params, factors))


def steps_from(
    factors: Any, solve: Callable[[Params, Array], Params], lowest: tuple[Params, Array]
) -> Steps:
    """Newton's step and descent, from what a `factor` returned.

    solve: (right, inverse) to x, with these factors.
    lowest: its arguments for the direction of the most negative curvature.
    """
    newton, descent = inverses(factors.eigenvalues, factors.width)
    right = jax.tree.map(jnp.negative, factors.gradient)
    asked = (right, newton), (right, descent), lowest
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *asked)
    solved = jax.lax.map(lambda each: solve(*each), stacked)
    newton, descent, downhill = (jax.tree.map(lambda x, i=i: x[i], solved) for i in range(3))
    return Steps(
        gradient=factors.gradient,
        newton=newton,
        descent=descent,
        downhill=unit(downhill),
        inertia=count(factors.eigenvalues, factors.width),
    )


def inverses(eigenvalues: Array, width: Array) -> tuple[Array, Array]:
    """1/lambda with 0 in the flat band, and 1/|lambda| with the band's width as a floor."""
    size = jnp.abs(eigenvalues)
    flat, floor = size <= width, jnp.maximum(width, jnp.finfo(eigenvalues.dtype).tiny)
    signed = jnp.where(flat, 0.0, 1.0 / jnp.where(flat, 1.0, eigenvalues))
    return signed, 1.0 / jnp.maximum(size, floor)


def unit(tree: Params) -> Params:
    """A direction at length one; zero stays zero."""
    norm = jnp.linalg.norm(ravel_pytree(tree)[0])
    return jax.tree.map(lambda x: x / jnp.where(norm > 0, norm, 1.0), tree)
