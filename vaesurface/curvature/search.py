"""Is there negative curvature where no Hessian can be formed, or how surely is there none?

>>> import jax
>>> import jax.numpy as jnp
>>> spectrum = jnp.ones(100).at[0].set(-1e-4)
>>> lowest = descent(lambda w: jnp.sum(spectrum * w**2) / 2, jnp.zeros(100), jax.random.key(0))
>>> print(lowest.settled, lowest.eigenvalues[0].round(9))
True -0.0001
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.curvature.dense import band
from vaesurface.curvature.lanczos import BASIS, chebyshev, quotients, ritz
from vaesurface.curvature.program import Loss, Product, linearized, program
from vaesurface.glance import brief
from vaesurface.problem import Params, Symmetry, require_float64

__all__ = ["Descent", "descent", "symmetries"]

# How many flat bands below zero a Rayleigh quotient ends the search: rounding is out of the
# question there.
CLEARLY = 10.0
VECTORS = 128  # in a Lanczos basis, where memory allows: orthogonalization costs their square
LOWEST = 16  # Ritz vectors of those that are looked at
STAGES = 6  # Lanczos runs at most
# Of the parameters' norm, or of 1: a shorter tangent of a symmetry may be none at the stationary
# point that is meant, as that of a rotation of latents that are refined to zero.
VANISHING = 1e-8


@brief()
class Descent(NamedTuple):
    """What a matrix-free search for negative curvature found in p parameters.

    eigenvalues: (j,), Rayleigh quotients theta of orthonormal vectors v, ascending: at least as
        many eigenvalues are negative as quotients.
    residuals: (j,), ||H v - theta v||: within it of theta lies an eigenvalue.
    directions: the vectors, like params with leading axis j.
    highest: (), the quotient at the upper end.
    highest_residual: (), its residual.
    width: (), half-width of the flat band.
    lower: (), no eigenvalue lies below it with probability 1 - delta over the random starts.
    delta: ().
    symmetries: (), dimension of the loss's continuous symmetry at this point, projected out.
    products: (), spent.
    settled: (), whether a negative curvature was found, or `lower` is as close to zero as asked.
    """

    eigenvalues: Array
    residuals: Array
    directions: Params
    highest: Array
    highest_residual: Array
    width: Array
    lower: Array
    delta: Array
    symmetries: Array
    products: Array
    settled: Array


@program("symmetry", "num_matvecs", "budget", "resolution", "delta")
def descent(
    loss: Loss,
    params: Params,
    key: Array,
    symmetry: Symmetry | None = None,
    num_matvecs: int | None = None,
    budget: int = 20_000,
    resolution: float = 1e-6,
    delta: float = 1e-3,
) -> Descent:
    """The lowest curvature by products alone, until negative or excluded to -resolution ||H||.

    Lanczos with full reorthogonalization, num_matvecs vectors at a time (by default `VECTORS`, or
    as many as 1 GiB hold). Where that shows nothing it is run again, from a new random start, on a
    Chebyshev polynomial of H that tells eigenvalues near zero from a null space, which plain
    Lanczos needs thousands of vectors for. Its degree grows until the bound on what was missed is
    as tight as asked, or `budget` products are spent. symmetry: directions along which the loss is
    known to be constant are projected out.
    """
    require_float64("a search for negative curvature", params)
    _, unravel, product = linearized(loss, params)
    search = _search(product, symmetry, params, key, num_matvecs, delta)
    first, top = _unfiltered(search)
    tight = _tight_degree(search.missed, resolution)

    def undecided(state: _Lowest) -> Array:
        unclear = state.values[0] >= -CLEARLY * top.width
        unclear &= state.lower < -resolution * top.scale
        cost = search.size * _degree(state.stage, tight)
        return unclear & (state.stage < STAGES - 1) & (state.spent + cost <= budget)

    def sharpened(state: _Lowest) -> _Lowest:
        return _filtered(search, top, _degree(state.stage, tight), state)

    end = jax.lax.while_loop(undecided, sharpened, first)
    lower = jnp.minimum(end.lower, end.values[0])  # rounding
    negative = end.values[0] < -CLEARLY * top.width
    return Descent(
        eigenvalues=end.values,
        residuals=end.residuals,
        directions=jax.vmap(unravel)(end.vectors.T),
        highest=top.value,
        highest_residual=top.residual,
        width=top.width,
        lower=lower,
        delta=jnp.asarray(delta),
        symmetries=search.symmetries,
        products=end.spent,
        settled=negative | (lower >= -resolution * top.scale),
    )


class _Search(NamedTuple):
    """What all stages of `descent` share.

    operator: of the Hessian P H P, with P the projection.
    project: away from the symmetry's tangents.
    symmetries: (), how many tangents there are.
    key: of the random starts.
    start: (p,), an array of a start's shape and dtype.
    size: of a Krylov space.
    kept: Ritz vectors that are looked at, at the lower end.
    missed: (), part of the spectrum's extent by which a stage's Ritz value may miss its end.
    """

    operator: Product
    project: Product
    symmetries: Array
    key: Array
    start: Array
    size: int
    kept: int
    missed: Array

    def stage(self, operator: Product, key: Array) -> tuple[Array, Array]:
        """Ritz values (size,) of an operator and vectors (p, size), ascending, from a random
        start.
        """
        random = jax.random.normal(key, self.start.shape, self.start.dtype)
        return ritz(operator, self.project(random), self.size)


class _Lowest(NamedTuple):
    """The lowest curvature met by the stages of `descent` so far.

    stage: (), how many there were after the first.
    values: (j,), Rayleigh quotients of the Hessian, ascending.
    residuals: (j,).
    vectors: (p, j).
    lower: (), no eigenvalue lies below it, most probably.
    spent: (), products.
    """

    stage: Array
    values: Array
    residuals: Array
    vectors: Array
    lower: Array
    spent: Array


class _Top(NamedTuple):
    """The upper end of a Hessian's spectrum.

    value: (), its Rayleigh quotient.
    residual: ().
    scale: (), the largest |quotient| at both ends.
    width: (), half-width of the flat band.
    """

    value: Array
    residual: Array
    scale: Array
    width: Array

    @property
    def limit(self) -> Array:
        """(), what no eigenvalue exceeds: the last one lies within its residual; a little more
        keeps it inside.
        """
        return jnp.maximum(self.value + self.residual, 1e-3 * self.scale) * 1.01


def _search(
    product: Product,
    symmetry: Symmetry | None,
    params: Params,
    key: Array,
    num_matvecs: int | None,
    delta: float,
) -> _Search:
    """The operator that `descent` looks at, how large its Krylov spaces are, and what they miss.

    From a random start, s products miss an end of the spectrum of f dimensions by more than
    (ln(1.648 sqrt(f) / delta) / (2 s - 1))^2 of its extent with probability delta at most
    (Kuczynski & Wozniakowski 1992, Theorem 4.2). Each of at most `STAGES` runs has its part of
    delta.
    """
    flat = ravel_pytree(params)[0]
    project, symmetries = _projection(symmetry, params)
    size = min(num_matvecs or max(LOWEST + 1, min(VECTORS, BASIS // flat.size)), flat.size)
    free = (flat.size - symmetries).astype(flat.dtype)
    return _Search(
        operator=product if symmetry is None else lambda v: project(product(project(v))),
        project=project,
        symmetries=symmetries,
        key=key,
        start=flat,
        size=size,
        kept=min(LOWEST, size - 1),
        missed=(jnp.log(1.648 * jnp.sqrt(free) * STAGES / delta) / (2 * size - 1)) ** 2,
    )


def _unfiltered(search: _Search) -> tuple[_Lowest, _Top]:
    """Both ends by plain Lanczos, the first stage of `descent`.

    Both may lie further out than those of the Krylov space, by the part m = missed of their
    distance D; with D' the Ritz values' distance, D <= D' + 2 m D, so by m D' / (1 - 2 m) at most.
    """
    ritz_values, vectors = search.stage(search.operator, search.key)
    kept, missed = search.kept, search.missed
    ends = jnp.concatenate([vectors[:, :kept], vectors[:, -1:]], axis=1)
    values, residuals, ends = quotients(search.operator, ends)
    scale = jnp.max(jnp.abs(values))
    beyond = jnp.where(missed < 0.5, missed / (1 - 2 * missed), jnp.inf)
    first = _Lowest(
        stage=jnp.asarray(0),
        values=values[:kept],
        residuals=residuals[:kept],
        vectors=ends[:, :kept],
        lower=ritz_values[0] - beyond * (ritz_values[-1] - ritz_values[0]),
        spent=jnp.asarray(search.size + kept + 1),
    )
    width = band(scale, len(search.start))
    return first, _Top(value=values[-1], residual=residuals[-1], scale=scale, width=width)


def _filtered(search: _Search, top: _Top, degree: Array, state: _Lowest) -> _Lowest:
    """One more stage of `descent`: Lanczos on the polynomial T_degree(1 - 2 H / limit).

    For an even degree it is between -1 and 1 where H is between 0 and limit, and cosh(degree
    arccosh(1 + 2 |lambda| / limit)) at lambda < 0, about cosh(2 degree sqrt(|lambda| / limit)).
    With m = missed, its largest eigenvalue is at most t = (theta + m) / (1 - m) for the largest
    Ritz value theta, so |lambda| <= (cosh(arccosh(t) / degree) - 1) limit / 2.
    """
    limit = top.limit

    def reflected(u: Array) -> Array:
        return u - (2 / limit) * search.operator(u)

    key = jax.random.fold_in(search.key, state.stage + 1)
    ritz_values, vectors = search.stage(partial(chebyshev, reflected, degree=degree), key)
    after = quotients(search.operator, vectors[:, -search.kept :])
    largest = (ritz_values[-1] + search.missed) / (1 - search.missed)
    largest = jnp.where(search.missed < 1, largest, jnp.inf)
    bound = -0.5 * limit * (jnp.cosh(jnp.arccosh(jnp.maximum(largest, 1.0)) / degree) - 1)
    before = (state.values, state.residuals, state.vectors)
    lower = after[0][0] < state.values[0]
    values, residuals, vectors = optax.tree.where(lower, after, before)
    return _Lowest(
        stage=state.stage + 1,
        values=values,
        residuals=residuals,
        vectors=vectors,
        lower=jnp.maximum(state.lower, bound),
        spent=state.spent + search.size * degree + search.kept,
    )


def _tight_degree(missed: Array, resolution: float) -> Array:
    """The even degree of the polynomial at which the bound on what was missed is -resolution ||H||.

    cosh(2 degree sqrt(resolution)) = (1 + missed) / (1 - missed) there, at theta = 1; a tenth more.
    """
    reach = jnp.arccosh((1 + missed) / jnp.maximum(1e-3, 1 - missed))
    return 2 * jnp.ceil(0.55 * reach / (2 * math.sqrt(resolution)) + 1)


def _degree(stage: Array, tight: Array) -> Array:
    """Of the polynomial, by stage: two cheap ones, for curvature that is easy to find, then tight
    and, should the bound not be, four times that.
    """
    return jnp.where(stage < 2, 8.0 * 4.0**stage, tight * 4.0 ** (stage - 2)).astype(int)


def symmetries(symmetry: Symmetry | None, params: Params) -> Array:
    """Dimension of a loss's continuous symmetry at a point."""
    return _projection(symmetry, params)[1]


def _projection(symmetry: Symmetry | None, params: Params) -> tuple[Product, Array]:
    """Projection of flat vectors away from the tangents of a symmetry, and how many there are.

    With T the tangents at params, (p, size), it is 1 - T (T'T)^+ T'.
    """
    if symmetry is None:
        return lambda v: v, jnp.asarray(0)
    push, pull = _tangents(symmetry, params)
    gram = jax.lax.map(lambda t: pull(push(t)), jnp.eye(symmetry.size))
    values, vectors = jnp.linalg.eigh(gram)
    least = VANISHING**2 * jnp.maximum(1.0, jnp.sum(ravel_pytree(params)[0] ** 2))
    relative = symmetry.size * jnp.finfo(values.dtype).eps * values[-1]
    independent = values > jnp.maximum(relative, least)
    inverse = jnp.where(independent, 1 / jnp.where(independent, values, 1.0), 0.0)

    def project(v: Array) -> Array:
        return v - push(vectors @ (inverse * (vectors.T @ pull(v))))

    # Twice, for the digits that one projection loses.
    return lambda v: project(project(v)), jnp.sum(independent)


def _tangents(symmetry: Symmetry, params: Params) -> tuple[Product, Product]:
    """t (size,) to T t (p,), and v (p,) to T' v (size,); T is the move's derivative at zero."""
    zero = jnp.zeros(symmetry.size)

    def move(t: Array) -> Array:
        return ravel_pytree(symmetry.move(params, t))[0]

    def push(t: Array) -> Array:
        return jax.jvp(move, (zero,), (t,))[1]

    def pull(v: Array) -> Array:
        return jax.vjp(move, zero)[1](v)[0]

    return push, pull
