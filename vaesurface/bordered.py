"""How does a loss with a few parameters per datum curve, at a cost linear in the number of data?

For losses of the form `problem.Structure` the Hessian is [A B; B^T D] with D block diagonal, one q
x q block per datum. By Haynsworth's formula In(H) = In(D) + In(S), S = A - B D^-1 B^T, so the
inertia of a large surface and its Newton steps come from n small eigenproblems and one of the size
of the shared parameters (s = d r + t: d rows of r numbers, t shared by all). In A and B an output
row couples to no other row, so derivatives are taken term by term, in r + t + q variables. Data are
streamed: what stays in memory is s^2 + n q^2 numbers and one batch.

>>> import jax.numpy as jnp
>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.0)
>>> print(*inertia(problem, problem.collapsed()))
1 0 8
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import curvature
from vaesurface.problem import Params, Parts, PerDatum, Problem, entry

# smallest |eigenvalue| of a datum's block, relative to its largest, with which others can be
# counted
SEPARATED = 1e-10
# how much larger than A and D the subtracted B D^-1 B^T may be where an eigenvalue counts as flat
AMPLIFIED = 100.0
BATCH = 2**19  # numbers in the border of the data taken at a time: 4 MiB, which caches nearly hold


class Factors(NamedTuple):
    """The Hessian, taken apart, in units where every datum weighs one (a local block is n times
    that of the loss).

    gradient: of the loss, like params; eigenvalues (s + n q,): those of S, then those of the blocks
    of D; width: their flat bands; shared (s, s): eigenvectors of S; local (n, q, q): of D; safe (n,
    q): eigenvalues of D kept away from zero; reliable: whether rounding leaves the count as it is.
    """

    gradient: Params
    eigenvalues: Array
    width: Array
    shared: Array
    local: Array
    safe: Array
    reliable: Array


class _Sums(NamedTuple):
    """Over the data seen so far; the first five divided by n give the gradient and A."""

    row_gradient: Array  # (d, r)
    shared_gradient: Array  # (t,)
    rows: Array  # (d, r, r)
    edge: Array  # (d, r, t)
    corner: Array  # (t, t)
    subtracted: Array  # (s, s) B D^-1 B^T
    summed: Array  # (s,) its diagonal, summed without cancellation


@partial(jax.jit, static_argnames="batch_size")
def factor(structure: PerDatum, params: Params, batch_size: int | None = None) -> Factors:
    """Differentiate and eliminate batch_size data at a time (by default as many as `BATCH`
    allows).
    """
    parts = structure.split(params)
    rows, unravel_row = _ravel_leading(parts.rows)
    shared, unravel_shared = ravel_pytree(parts.shared)
    local, unravel_local = _ravel_leading(parts.local)
    (d, r), t, (n, q) = rows.shape, shared.size, local.shape
    s, shared = d * r + t, shared.astype(rows.dtype)

    def term(row, shared, local_i, x):
        return structure.term(unravel_row(row), unravel_shared(shared), unravel_local(local_i), x)

    def datum(rows, shared, local_i, x):
        terms = jax.vmap(term, in_axes=(0, None, None, 0))(rows, shared, local_i, x)
        return jnp.sum(terms) + structure.penalty(unravel_shared(shared), unravel_local(local_i))

    # Border of one row and one datum: nothing sums over it. (r, q), then (m, d, r, q).
    mixed = jax.jacfwd(jax.grad(term), argnums=2)
    mixed = jax.vmap(jax.vmap(mixed, in_axes=(0, None, None, 0)), in_axes=(None, None, 0, 0))

    def eliminate(sums, batch):
        local, x, weight = batch

        def gradients(rows, shared, local):
            def total(rows, shared, local):
                return weight @ jax.vmap(partial(datum, rows, shared))(local, x)

            return jax.grad(total, argnums=(0, 1, 2))(rows, shared, local)

        # Rows couple to no other row and data to no other datum, so one product serves all of them
        # at once.
        (g_rows, g_shared, g_local), push = jax.linearize(gradients, rows, shared, local)

        def along(e):
            return push(jnp.tile(e[:r], (d, 1)), e[r : r + t], jnp.tile(e[r + t :], (len(x), 1)))

        h_rows, h_shared, h_local = jax.lax.map(along, jnp.eye(r + t + q))
        own = (
            jnp.moveaxis(h_local[r + t :], 0, -1) + jnp.eye(q)[None] * (1.0 - weight)[:, None, None]
        )
        values, vectors = jnp.linalg.eigh(own)
        floor = curvature.band(jnp.max(jnp.abs(values), axis=1, keepdims=True), q)
        # A datum's flat direction is kept at its band's edge, so that the rest can be solved; the
        # count is then not reliable.
        safe = jnp.where(jnp.abs(values) > floor, values, jnp.where(values < 0, -1.0, 1.0) * floor)
        border = mixed(rows, shared, local, x).reshape(-1, d * r, q)
        border = jnp.concatenate([border, jnp.swapaxes(h_local[r : r + t], 0, 1)], axis=1)
        border = jnp.einsum("msq,mqe->sme", border, vectors)
        eliminated = border * (weight[:, None] / safe)[None]
        added = _Sums(
            row_gradient=g_rows,
            shared_gradient=g_shared,
            rows=jnp.moveaxis(h_rows[:r], 0, -1),
            edge=jnp.moveaxis(h_rows[r : r + t], 0, -1),
            corner=h_shared[r : r + t],
            subtracted=eliminated.reshape(s, -1) @ border.reshape(s, -1).T,
            summed=jnp.sum(jnp.abs(eliminated * border), axis=(1, 2)),
        )
        return jax.tree.map(jnp.add, sums, added), (g_local, values, vectors, safe)

    m = min(n, batch_size or max(1, BATCH // (d * r * q)))
    count = -(-n // m)
    m = -(-n // count)
    missing = count * m - n  # the last batch is filled up with data of no weight

    def split(x):
        return jnp.concatenate([x, x[:missing]]).reshape(count, m, *x.shape[1:])

    batches = (
        split(local),
        split(structure.data),
        (jnp.arange(count * m) < n).astype(rows.dtype).reshape(count, m),
    )
    shapes = (d, r), (t,), (d, r, r), (d, r, t), (t, t), (s, s), (s,)
    zero = _Sums(*(jnp.zeros(shape, rows.dtype) for shape in shapes))
    sums, per_batch = jax.lax.scan(eliminate, zero, batches)
    local_gradient, local_values, local_vectors, safe = (
        x.reshape(count * m, *x.shape[2:])[:n] for x in per_batch
    )
    sums = jax.tree.map(lambda x: x / n, sums)

    a = jnp.zeros((d, r, d, r), rows.dtype).at[jnp.arange(d), :, jnp.arange(d), :].set(sums.rows)
    edge = sums.edge.reshape(d * r, t)
    a = jnp.block([[a.reshape(d * r, d * r), edge], [edge.T, sums.corner]])
    schur = a - sums.subtracted
    values, vectors = jnp.linalg.eigh(0.5 * (schur + schur.T))
    scale = jnp.maximum(jnp.max(jnp.abs(local_values)), jnp.max(jnp.abs(jnp.diagonal(a))))
    local_width = curvature.band(scale, s + n * q)
    # Rounding of the Schur complement is that of the sum it is the rest of, which a nearly singular
    # block makes large.
    summed = jnp.max(sums.summed)
    width = curvature.band(jnp.maximum(scale, summed), s + n * q)
    size = jnp.abs(local_values)
    separated = jnp.all(jnp.min(size, axis=1) > SEPARATED * jnp.max(size, axis=1)) & jnp.all(
        size > local_width
    )
    clear = (summed <= AMPLIFIED * scale) | (jnp.min(jnp.abs(values)) > width)
    gradient = jnp.concatenate([sums.row_gradient.ravel(), sums.shared_gradient])
    return Factors(
        gradient=_join(structure, params, gradient, local_gradient / n),
        eigenvalues=jnp.concatenate([values, local_values.ravel()]),
        width=jnp.concatenate([jnp.full(s, width), jnp.full(n * q, local_width)]),
        shared=vectors,
        local=local_vectors,
        safe=safe,
        reliable=separated & clear,
    )


def solve(
    structure: PerDatum, params: Params, factors: Factors, right: Params, inverse: Array
) -> Params:
    """x with H x = right, for inverse = 1 / eigenvalues; zeros in it leave directions out, |1 /
    eigenvalues| goes downhill.

    B is applied by Hessian-vector products. right and x are pytrees like params; inverse is like
    factors.eigenvalues.
    """
    s = len(factors.shared)
    shared, local = _parts(structure, right)
    n, q = local.shape

    def rotate(x):
        return jnp.einsum("nqe,nq->ne", factors.local, x)

    def rotate_back(x):
        return jnp.einsum("nqe,ne->nq", factors.local, x)

    local = rotate(n * local)
    times_border, border_times = _border(structure, params)
    reduced = shared - border_times(rotate_back(local / factors.safe))
    shared = factors.shared @ (inverse[:s] * (factors.shared.T @ reduced))
    local = inverse[s:].reshape(n, q) * local - rotate(times_border(shared)) / factors.safe
    return _join(structure, params, shared, rotate_back(local))


@jax.jit
def steps(structure: PerDatum, params: Params) -> curvature.Steps:
    """Newton's step and descent."""
    factors = factor(structure, params)
    solved = partial(solve, structure, params, factors)
    return curvature.steps_from(factors, solved, downhill(structure, params, factors))


def downhill(structure: PerDatum, params: Params, factors: Factors) -> Params:
    """Unit vector of negative curvature where there is one: from the lowest eigenvalue of S, or
    else of D.
    """
    s, (n, q) = len(factors.shared), factors.safe.shape
    shared = factors.shared[:, 0]
    local = jnp.einsum("nqe,nq->ne", factors.local, _border(structure, params)[0](shared))
    local = -jnp.einsum("nqe,ne->nq", factors.local, local / factors.safe)
    worst = jnp.argmin(factors.eigenvalues[s:])
    own = jnp.zeros((n, q)).at[worst // q].set(factors.local[worst // q, :, worst % q])
    by_shared = factors.eigenvalues[0] < -factors.width[0]
    shared, local = jnp.where(by_shared, shared, 0.0), jnp.where(by_shared, local, own)
    return curvature.unit(_join(structure, params, shared, local))


@entry("inertia")
def inertia(problem: Problem, params: Params) -> curvature.Inertia:
    """Numbers of negative, flat and positive eigenvalues over all parameters, without forming the
    Hessian.

    Raises ValueError where the problem has no such structure (use
    `curvature.inertia(problem.loss, params)` there).
    """
    if problem.structure is None:
        raise ValueError(
            "expected a problem with per-datum structure, got one without; use "
            "curvature.inertia(problem.loss, params)"
        )
    factors = factor(problem.structure, params)
    return curvature.count(factors.eigenvalues, factors.width)


def _border(structure, params):
    """x -> B^T x and y -> B y / n, for x (s,) and y (n, q)."""

    def product(v):
        return jax.jvp(jax.grad(structure.loss), (params,), (v,))[1]

    shared, local = _parts(structure, params)
    return (
        lambda x: (
            len(local)
            * _parts(structure, product(_join(structure, params, x, jnp.zeros_like(local))))[1]
        ),
        lambda y: _parts(structure, product(_join(structure, params, jnp.zeros_like(shared), y)))[
            0
        ],
    )


def _parts(structure, params):
    """Shared parameters (s,) and local ones (n, q)."""
    parts = structure.split(params)
    shared = jnp.concatenate([_ravel_leading(parts.rows)[0].ravel(), ravel_pytree(parts.shared)[0]])
    return shared, _ravel_leading(parts.local)[0]


def _ravel_leading(tree):
    """(leading, size) matrix of a pytree whose leaves share their leading axis, and the inverse for
    one slice.
    """
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], tree))[1]
    return jax.vmap(lambda slice_: ravel_pytree(slice_)[0])(tree), unravel


def _join(structure: PerDatum, params: Params, shared: Array, local: Array) -> Params:
    parts = structure.split(params)
    rows, unravel_row = _ravel_leading(parts.rows)
    unravel_shared, unravel_local = ravel_pytree(parts.shared)[1], _ravel_leading(parts.local)[1]
    row_part = jax.vmap(unravel_row)(shared[: rows.size].reshape(rows.shape))
    tail = unravel_shared(shared[rows.size :])
    return structure.join(Parts(row_part, tail, jax.vmap(unravel_local)(local)))
