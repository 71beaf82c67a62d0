"""How does any loss curve at a point: which way, how much, and in how many directions not at all?

Everything here takes `loss, params` with params any pytree of p float64 numbers; eigenvalues
ascend. Dense functions cost p Hessian-vector products and p^3 operations: to several thousand
parameters. `extremes`, `descent` and `density` need products only; the Hessian is linearized once
and the product applied often.

>>> import jax.numpy as jnp
>>> print(*inertia(lambda w: w[0] ** 2 - w[1] ** 2 + w[2] ** 4, jnp.zeros(3)))
1 1 1
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from matfree import decomp

from vaesurface.problem import Params, Symmetry, require_float64

Loss = Callable[[Params], Array]

# An eigenvalue is flat when |lambda| <= FLAT p eps max|lambda|: the error of a symmetric
# eigensolver is a modest multiple of eps ||H|| (Demmel, Applied Numerical Linear Algebra, 1997,
# section 5.2), that of summing p-term products p eps ||H||.
FLAT = 16.0
KEPT = 2**27  # numbers in a Lanczos basis: 1 GiB
STAGES = 6  # runs of `descent` at most
# coupling to the next Lanczos vector, relative to the operator, below which that is noise
EXHAUSTED = 1e-10
LOWEST = 16  # Ritz vectors that `descent` looks at


class Inertia(NamedTuple):
    """Numbers of negative, flat and positive eigenvalues; integers."""

    negative: Array
    flat: Array
    positive: Array


class Factors(NamedTuple):
    """A dense Hessian, taken apart.

    gradient: like params; eigenvalues (p,) and vectors (p, p); width (p,): half-width of the flat
    band for each eigenvalue; reliable: whether rounding leaves the count as it is.
    """

    gradient: Params
    eigenvalues: Array
    width: Array
    vectors: Array
    reliable: Array


class Steps(NamedTuple):
    """Second-order model at a point. Steps are pytrees like the parameters.

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


class Descent(NamedTuple):
    """What a matrix-free search for negative curvature found in p parameters.

    eigenvalues and residuals (j,): Rayleigh quotients of orthonormal vectors, ascending, and ||H v
    - theta v||: within it of theta lies an eigenvalue, and at least as many eigenvalues are
    negative as quotients. directions: the vectors, like params with leading axis j. highest,
    highest_residual: the same at the upper end. width: half-width of the flat band. lower: no
    eigenvalue lies below it with probability 1 - delta over the random starts (Kuczynski &
    Wozniakowski 1992, Theorem 4.2). symmetries: dimension of the loss's continuous symmetry at this
    point, projected out. products: spent. settled: a negative curvature was found, or `lower` is as
    close to zero as asked.
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


class Density(NamedTuple):
    """Distribution of a Hessian's eigenvalues, by Gauss quadrature from m random vectors: nodes and
    weights (m, s).

    A vector's weights add up to 1.
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
        each = jnp.sum(
            self.weights * jnp.where(jnp.isnan(self.nodes), jnp.nan, f(self.nodes)), axis=1
        )
        return jnp.mean(each), jnp.std(each, ddof=1) / jnp.sqrt(1.0 * len(each))

    def at(self, x: ArrayLike, width: ArrayLike) -> Array:
        """The density at x (j,), each node smeared by a Gaussian of that standard deviation; its
        integral is 1.
        """
        smeared = jax.scipy.stats.norm.pdf(jnp.asarray(x)[:, None], self.nodes.ravel()[None], width)
        return smeared @ self.weights.ravel() / len(self.weights)


@partial(jax.jit, static_argnums=0)
def hvp(loss: Loss, params: Params, vector: Params) -> Params:
    """Hessian-vector product, a pytree like params."""
    return jax.jvp(jax.grad(loss), (params,), (vector,))[1]


@partial(jax.jit, static_argnums=(0, 2))
def hessian(loss: Loss, params: Params, batch_size: int | None = None) -> Array:
    """Dense symmetric Hessian (p, p) in the order of `ravel_pytree`.

    One linearization, applied to the columns of the identity: batch_size of them at a time, by
    default one on CPU, where small products stay in cache, and 256 elsewhere.
    """
    flat, _, product = _linearized(loss, params)
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
    """Numbers of negative, flat and positive eigenvalues of the dense Hessian.

    From all eigenvalues, which cost less here than the two factorizations H ± width I that
    Sylvester's law asks for (`scripts/bench`), and count at any other width too.
    """
    eigenvalues = spectrum(loss, params)
    return count(eigenvalues, band(jnp.max(jnp.abs(eigenvalues)), eigenvalues.size))


@partial(jax.jit, static_argnums=0)
def factor(loss: Loss, params: Params) -> Factors:
    """Eigenvalues and eigenvectors of the dense Hessian."""
    flat, unravel = ravel_pytree(params)
    gradient = jax.grad(lambda w: loss(unravel(w)))(flat)
    eigenvalues, vectors = jnp.linalg.eigh(hessian(loss, params))
    width = jnp.full_like(eigenvalues, band(jnp.max(jnp.abs(eigenvalues)), flat.size))
    return Factors(unravel(gradient), eigenvalues, width, vectors, jnp.asarray(True))


def solve(params: Params, factors: Factors, right: Params, inverse: Array) -> Params:
    """x with H x = right, for inverse = 1 / eigenvalues; zeros in it leave directions out, |1 /
    eigenvalues| goes downhill.
    """
    unravel = ravel_pytree(params)[1]
    return unravel(factors.vectors @ (inverse * (factors.vectors.T @ ravel_pytree(right)[0])))


def downhill(params: Params, factors: Factors) -> Params:
    """Unit eigenvector of the lowest eigenvalue."""
    return ravel_pytree(params)[1](factors.vectors[:, 0])


@partial(jax.jit, static_argnums=0)
def steps(loss: Loss, params: Params) -> Steps:
    """Newton's step and descent from the dense Hessian."""
    factors = factor(loss, params)
    return steps_from(factors, partial(solve, params, factors), downhill(params, factors))


def steps_from(factors: Any, solve: Callable[[Params, Array], Params], downhill: Params) -> Steps:
    """Newton's step and descent, from what `factor` returned and a function (right, inverse) -> x
    that solves with it; downhill as it will be in the result.
    """
    both = jnp.stack(inverses(factors.eigenvalues, factors.width))
    right = jax.tree.map(jnp.negative, factors.gradient)
    solved = jax.vmap(solve, (None, 0))(right, both)
    return Steps(
        gradient=factors.gradient,
        newton=jax.tree.map(lambda x: x[0], solved),
        descent=jax.tree.map(lambda x: x[1], solved),
        downhill=downhill,
        inertia=count(factors.eigenvalues, factors.width),
    )


def inverses(eigenvalues: Array, width: Array) -> tuple[Array, Array]:
    """1/lambda with 0 in the flat band, and 1/|lambda| with the band's width as a floor."""
    flat = jnp.abs(eigenvalues) <= width
    floor = jnp.maximum(width, jnp.finfo(eigenvalues.dtype).tiny)
    return jnp.where(flat, 0.0, 1.0 / jnp.where(flat, 1.0, eigenvalues)), 1.0 / jnp.maximum(
        jnp.abs(eigenvalues), floor
    )


def unit(tree: Params) -> Params:
    """A direction at length one; zero stays zero."""
    norm = jnp.linalg.norm(ravel_pytree(tree)[0])
    return jax.tree.map(lambda x: x / jnp.where(norm > 0, norm, 1.0), tree)


@partial(jax.jit, static_argnums=(0, 3))
def extremes(
    loss: Loss, params: Params, key: Array, num_matvecs: int = 100
) -> tuple[Array, Array, Params]:
    """Both ends of the spectrum by Lanczos with full reorthogonalization, without forming the
    Hessian.

    Returns (eigenvalues (2,), bounds (2,), vectors with leading axis 2): the lowest and the highest
    Ritz pair, and for each the residual ||H v - theta v||; an eigenvalue lies within it of theta.
    Whether a lower eigenvalue was missed, the residual cannot say: ask `descent`. num_matvecs is
    cut to p.
    """
    require_float64("extreme eigenvalues", params)
    flat, unravel, product = _linearized(loss, params)
    start = jax.random.normal(key, flat.shape, flat.dtype)
    _, vectors = _ritz(product, start, min(num_matvecs, flat.size))
    values, bounds, vectors = _quotients(product, vectors[:, jnp.array([0, -1])])
    return values, bounds, jax.vmap(unravel)(vectors.T)


@partial(jax.jit, static_argnums=(0, 3, 4))
def density(
    loss: Loss, params: Params, key: Array, num_matvecs: int = 64, num_vectors: int = 8
) -> Density:
    """How all eigenvalues are distributed, by products alone: stochastic Lanczos quadrature.

    num_matvecs products (cut to p, and to what 1 GiB hold) for each of num_vectors >= 2 random
    vectors, with full reorthogonalization (Ubaru, Chen & Saad 2017; Ghorbani, Krishnan & Xiao 2019
    for networks).
    """
    require_float64("a spectral density", params)
    if num_vectors < 2:
        raise ValueError(
            f"expected num_vectors >= 2, got {num_vectors}; the error is told from their "
            f"differences"
        )
    flat, _, product = _linearized(loss, params)
    size = max(1, min(num_matvecs, flat.size, KEPT // flat.size))

    def quadrature(key: Array) -> Density:
        start = unit(jax.random.normal(key, flat.shape, flat.dtype))
        nodes, vectors = _ritz(product, start, size)
        return Density(nodes, (start @ vectors) ** 2)

    return jax.lax.map(quadrature, jax.random.split(key, num_vectors))


@partial(
    jax.jit, static_argnames=("loss", "symmetry", "num_matvecs", "budget", "resolution", "delta")
)
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
    """Look for negative curvature by products alone, until found or excluded down to -resolution *
    ||H||.

    Lanczos with full reorthogonalization, num_matvecs vectors at a time (by default 128, or as many
    as 1 GiB hold). Where that shows nothing it is run again, from a new random start, on a
    Chebyshev polynomial of H that is at most 1 in size between 0 and the largest eigenvalue and
    grows like cosh(2 degree sqrt(|lambda| / ||H||)) below 0: eigenvalues near zero that plain
    Lanczos needs thousands of vectors to tell from a null space. The degree grows until the bound
    on what was missed is as tight as asked, or `budget` products are spent. symmetry: directions
    along which the loss is known to be constant are projected out.
    """
    require_float64("a search for negative curvature", params)
    flat, unravel, product = _linearized(loss, params)
    project, symmetries = _without(symmetry, params)
    operator = product if symmetry is None else lambda v: project(product(project(v)))
    p = flat.size
    size = min(num_matvecs or max(LOWEST + 1, min(128, KEPT // p)), p)
    kept = min(LOWEST, size - 1)
    free = (p - symmetries).astype(flat.dtype)
    # Each of at most STAGES runs may fail with a part of delta; the bound is on (end - Ritz value)
    # / spread.
    missed = (jnp.log(1.648 * jnp.sqrt(free) * STAGES / delta) / (2 * size - 1)) ** 2
    # The degree at which the bound is as tight as asked; first two cheaper ones, for curvature that
    # is easier to find.
    reach = jnp.arccosh((1 + missed) / jnp.maximum(1e-3, 1 - missed))
    enough = 2 * jnp.ceil(0.55 * reach / (2 * math.sqrt(resolution)) + 1)

    def degree_of(i):
        return jnp.where(i < 2, 8.0 * 4.0**i, enough * 4.0 ** (i - 2)).astype(int)

    def stage(operator_, key):
        """Ritz values of an operator and vectors, both ascending, from a random start."""
        return _ritz(operator_, project(jax.random.normal(key, flat.shape, flat.dtype)), size)

    ritz, vectors = stage(operator, key)
    ends = jnp.concatenate([vectors[:, :kept], vectors[:, -1:]], axis=1)
    values, residuals, ends = _quotients(operator, ends)
    highest, highest_residual, scale = values[-1], residuals[-1], jnp.max(jnp.abs(values))
    width = band(scale, p)
    # Both ends of the spectrum may lie further out than those of the Krylov space, by this part of
    # their distance.
    lower = ritz[0] - jnp.where(missed < 0.5, missed / (1 - 2 * missed), jnp.inf) * (
        ritz[-1] - ritz[0]
    )
    first = (
        jnp.asarray(0),
        values[:kept],
        residuals[:kept],
        ends[:, :kept],
        lower,
        jnp.asarray(size + kept + 1),
    )
    # The eigenvalue at the upper end is found to its residual; a little more keeps it inside.
    limit = jnp.maximum(highest + highest_residual, 1e-3 * scale) * 1.01

    def undecided(state):
        i, values, *_, lower, spent = state
        open_ = (values[0] >= -10 * width) & (lower < -resolution * scale)
        return open_ & (i < STAGES - 1) & (spent + size * degree_of(i) <= budget)

    def sharpen(state):
        i, *best, lower, spent = state
        degree = degree_of(i)  # even, so that the polynomial is at least -1 everywhere

        def filtered(v):
            return _chebyshev(lambda u: u - (2 / limit) * operator(u), v, degree)

        ritz, vectors = stage(filtered, jax.random.fold_in(key, i + 1))
        values, residuals, ends = _quotients(operator, vectors[:, -kept:])
        top = jnp.where(missed < 1, (ritz[-1] + missed) / (1 - missed), jnp.inf)
        bound = -0.5 * limit * (jnp.cosh(jnp.arccosh(jnp.maximum(top, 1.0)) / degree) - 1)
        found = (values, residuals, ends)
        best = jax.tree.map(
            lambda a, b: jnp.where(found[0][0] < best[0][0], a, b), found, tuple(best)
        )
        return i + 1, *best, jnp.maximum(lower, bound), spent + size * degree + kept

    _, values, residuals, vectors, lower, spent = jax.lax.while_loop(undecided, sharpen, first)
    lower = jnp.minimum(lower, values[0])  # rounding
    return Descent(
        eigenvalues=values,
        residuals=residuals,
        directions=jax.vmap(unravel)(vectors.T),
        highest=highest,
        highest_residual=highest_residual,
        width=width,
        lower=lower,
        delta=jnp.asarray(delta),
        symmetries=symmetries,
        products=spent,
        settled=(values[0] < -10 * width) | (lower >= -resolution * scale),
    )


@partial(jax.jit, static_argnums=(0, 2))
def krylov_steps(loss: Loss, params: Params, num_matvecs: int = 64) -> Steps:
    """Newton's step and descent within a Krylov space of the gradient (cut to what 1 GiB hold),
    without the Hessian.

    The inertia counts num_matvecs Ritz values: at least as many eigenvalues are negative, and
    positive.
    """
    flat, unravel, product = _linearized(loss, params)
    gradient = jax.grad(lambda w: loss(unravel(w)))(flat)
    size = max(2, min(num_matvecs, flat.size, KEPT // flat.size))
    norm = jnp.linalg.norm(gradient)
    start = jnp.where(norm > 0, gradient, jnp.ones_like(gradient))
    values, vectors = _ritz(product, start, size)
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


def _linearized(loss: Loss, params: Params) -> tuple[Array, Callable, Callable]:
    """Flat parameters, their inverse map, and the Hessian-vector product at them."""
    flat, unravel = ravel_pytree(params)
    _, product = jax.linearize(jax.grad(lambda w: loss(unravel(w))), flat)
    return flat, unravel, product


def _ritz(product, start, size):
    """Ritz values (size,), ascending, and vectors (p, size) of a Krylov space."""
    result = decomp.tridiag_sym(size, reortho="full", custom_vjp=False)(product, start)
    # Where the space is exhausted, as it is soon for a Hessian of small rank, what follows is the
    # noise of a division by nothing. It is replaced by zero vectors, with a value from inside the
    # spectrum.
    small = result.J_small
    coupled = jnp.abs(jnp.diagonal(small, 1)) > EXHAUSTED * jnp.max(
        jnp.abs(small), where=jnp.isfinite(small), initial=0.0
    )
    sound = jnp.append(True, jnp.cumprod(coupled) > 0)
    small = jnp.where(sound[:, None] & sound[None], small, 0.0) + jnp.diag(
        jnp.where(sound, 0.0, small[0, 0])
    )
    values, vectors = jnp.linalg.eigh(small)
    return values, jnp.where(sound[:, None], result.Q_tall, 0.0).T @ vectors


def _quotients(product, vectors):
    """Rayleigh-Ritz in the span of vectors (p, j): values ascending, residual norms, orthonormal
    vectors.
    """
    basis = jnp.linalg.qr(vectors)[0]
    images = jax.lax.map(product, basis.T).T
    small = basis.T @ images
    values, turn = jnp.linalg.eigh(0.5 * (small + small.T))
    basis, images = basis @ turn, images @ turn
    return values, jnp.linalg.norm(images - values[None] * basis, axis=0), basis


def _chebyshev(product, v, degree):
    """T_degree(product) v for degree >= 1."""

    def step(_, pair):
        before, now = pair
        return now, 2 * product(now) - before

    return jax.lax.fori_loop(1, degree, step, (v, product(v)))[1]


def symmetries(symmetry: Symmetry | None, params: Params) -> Array:
    """Dimension of a loss's continuous symmetry at a point."""
    return _without(symmetry, params)[1]


def _without(symmetry: Symmetry | None, params: Params) -> tuple[Callable[[Array], Array], Array]:
    """Projection of flat vectors away from the tangents of a symmetry, and how many there are."""
    if symmetry is None:
        return lambda v: v, jnp.asarray(0)
    zero = jnp.zeros(symmetry.size)

    def move(t):
        return ravel_pytree(symmetry.move(params, t))[0]

    def push(t):
        return jax.jvp(move, (zero,), (t,))[1]

    def pull(v):
        return jax.vjp(move, zero)[1](v)[0]

    gram = jax.lax.map(lambda t: pull(push(t)), jnp.eye(symmetry.size))
    values, vectors = jnp.linalg.eigh(gram)
    independent = values > symmetry.size * jnp.finfo(values.dtype).eps * values[-1]
    inverse = jnp.where(independent, 1 / jnp.where(independent, values, 1.0), 0.0)

    def project(v):
        return v - push(vectors @ (inverse * (vectors.T @ pull(v))))

    # Twice, for the digits that one projection loses.
    return lambda v: project(project(v)), jnp.sum(independent)
