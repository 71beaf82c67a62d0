"""How does a loss with a few parameters per datum curve, at a cost linear in the number of data?

For losses of the form `problem.PerDatum`, with every datum's parameters in units where it weighs
one, the Hessian is [A B; B' D]: A of the s shared parameters (d rows of r numbers, and t shared by
all), D block diagonal, one q x q block per datum. By Haynsworth's formula In(H) = In(D) + In(S)
with S = A - B D^-1 B', so the inertia of a large surface and its Newton steps come from n small
eigenproblems and one of size s. In A and B an output row couples to no other row, so derivatives
are taken term by term, in r + t + q variables. Data are streamed: what stays in memory is
s^2 + n q^2 numbers and one batch.

>>> import jax.numpy as jnp
>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.0)
>>> print(*inertia(problem, problem.collapsed()))
1 0 8
"""

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import curvature, shards
from vaesurface.glance import brief
from vaesurface.problem import Params, Parts, PerDatum, Problem, apart, entry

__all__ = [
    "Factors",
    "Scale",
    "downhill",
    "factor",
    "inertia",
    "lowest",
    "solve",
    "steps",
    "unscaled",
]

# Smallest |eigenvalue| of a datum's block, relative to its largest, beside which the others of the
# whole Hessian can be counted.
SEPARATED = 1e-10
# How much larger than A and D the subtracted B D^-1 B' may be where an eigenvalue counts as flat.
AMPLIFIED = 100.0
# Numbers in the border of the data taken at a time: 4 MiB, which caches nearly hold.
BORDER = 2**19
DEPTH = 1024  # columns of it at least: a product of fewer is slower, by a third at 200
# Blocks that a symmetric product's rows are cut into, each of NARROW rows at least: of 12, 11/24
# need not be computed, and products that are narrower are slower.
PARTS = 12
NARROW = 128


@brief()
class Factors(NamedTuple):
    """The Hessian, taken apart, in units where every datum weighs one.

    A local block is n times that of the loss.

    gradient: of the loss, like params.
    eigenvalues: (s + n q,), those of S, then those of the blocks of D.
    width: (s + n q,), half-widths of their flat bands.
    shared: (s, s), eigenvectors of S, in the parameters' own units.
    local: (n, q, q), eigenvectors of D, in the same.
    safe: (n, q), eigenvalues of D kept away from zero.
    reliable: (), whether rounding leaves the count as it is.
    separated: (), whether it does if the flat directions are known to be flat.
    missing: (), entries of the Hessian that are not finite.
    scale: of the units that the eigenvalues are taken in.
    faint: (s + n q,), whether an eigenvalue stands out in these units only, beside the flat band in
        the parameters' own.
    """

    gradient: Params
    eigenvalues: Array
    width: Array
    shared: Array
    local: Array
    safe: Array
    reliable: Array
    separated: Array
    missing: Array
    scale: "Scale"
    faint: Array


@brief()
class Scale(NamedTuple):
    """Units of parameters; zero where they are still to be found.

    shared: (s,).
    local: (n, q).
    """

    shared: Array
    local: Array


@partial(jax.jit, static_argnames=("batch_size", "balanced"))
def factor(
    structure: PerDatum,
    params: Params,
    batch_size: int | None = None,
    scale: Scale | None = None,
    balanced: bool = False,
) -> Factors:
    """Differentiate and eliminate batch_size data at a time, by default as many as `BORDER` and
    `DEPTH` say.

    S = A - B D^-1 B' is summed over the data; the eigenvectors of S and of D are all that a
    solution or the inertia needs.

    balanced: eigenvalues of S and of D in units in which their rows are alike (`curvature.balance`;
    for S those of |A| and of the sum that is subtracted, whose rounding it has). The inertia is the
    same, and no small parameter is lost beside a large one. The units are those of scale, or found
    where it is zero, or not given.
    """
    layout = _layout(structure, params)._replace(balanced=balanced)
    rows, shared, local = layout.arrays(params)
    n, q = local.shape
    given = _given(rows.size + shared.size, n, q, scale, balanced)
    rest, whole_again = apart(structure)
    each = _Each(local=local, data=structure.data, scale=given.local)

    def passed(common: tuple, each: _Each) -> tuple[_Sums, _Blocks]:
        rest, rows, shared = common
        own = layout._replace(structure=whole_again(rest))
        return _passed(own, rows, shared, each, batch_size)

    sums, blocks = shards.summed(passed, (rest, rows, shared), each)
    sums = jax.tree.map(lambda x: x / n, sums)
    sums = sums._replace(subtracted=_mirrored(sums.subtracted))
    whole = _whole(sums)
    size = jnp.abs(whole) + jnp.sqrt(sums.summed[:, None] * sums.summed[None])
    units = given.shared
    if balanced:
        units = jnp.where(units > 0, units, curvature.balance(size))
    schur = units[:, None] * (whole - sums.subtracted) * units[None]
    values, vectors = jnp.linalg.eigh(0.5 * (schur + schur.T))
    schur = _Schur(values=values, vectors=units[:, None] * vectors, units=units)
    width = _widths(schur, whole, sums, blocks, balanced)
    gradient = jnp.concatenate([sums.row_gradient.ravel(), sums.shared_gradient])
    separated = _separated(blocks, width.local)
    missing = jnp.round(n * (sums.missing + sums.missing_blocks)).astype(int)
    return Factors(
        gradient=layout.join(gradient, blocks.gradient / n),
        eigenvalues=jnp.concatenate([values, blocks.values.ravel()]),
        width=jnp.concatenate([jnp.full(len(values), width.shared), jnp.full(n * q, width.local)]),
        shared=schur.vectors,
        local=blocks.vectors,
        safe=blocks.safe,
        reliable=separated & width.clear,
        separated=separated,
        missing=jnp.sum(~jnp.isfinite(whole)) + missing,
        scale=Scale(shared=units, local=blocks.scale),
        faint=width.faint,
    )


def unscaled(structure: PerDatum, params: Params) -> Scale:
    """Units that are still to be found."""
    shared, local = _layout(structure, params).split(params)
    return Scale(shared=jnp.zeros_like(shared), local=jnp.zeros_like(local))


class _Schur(NamedTuple):
    """S, taken apart.

    values: (s,), eigenvalues in units.
    vectors: (s, s), eigenvectors in the parameters' own.
    units: (s,).
    """

    values: Array
    vectors: Array
    units: Array


class _Widths(NamedTuple):
    """Of flat bands.

    shared: (), for eigenvalues of S.
    local: (), of D.
    clear: (), whether rounding of what S is the rest of leaves its count.
    faint: (s + n q,), as in `Factors`.
    """

    shared: Array
    local: Array
    clear: Array
    faint: Array


def _given(s: int, n: int, q: int, scale: Scale | None, balanced: bool) -> Scale:
    """The units to be taken, zero where they are to be found."""
    if balanced:
        return Scale(jnp.zeros(s), jnp.zeros((n, q))) if scale is None else scale
    return Scale(jnp.ones(s), jnp.ones((n, q)))


def _widths(
    schur: _Schur, whole: Array, sums: "_Sums", blocks: "_Blocks", balanced: bool
) -> _Widths:
    """Rounding of the Schur complement is that of the sum it is the rest of, which a nearly
    singular block makes large.
    """
    total = len(schur.values) + blocks.values.size
    corner, summed = jnp.abs(jnp.diagonal(whole)), sums.summed
    own = jnp.abs(schur.values) / jnp.sum(schur.vectors**2, axis=0)
    own_blocks = jnp.abs(blocks.values) / jnp.sum(blocks.vectors**2, axis=1)
    largest = jnp.maximum(jnp.max(own_blocks), jnp.max(corner))
    raw = curvature.band(jnp.maximum(largest, jnp.max(summed)), total)
    if not balanced:
        clear = (jnp.max(summed) <= AMPLIFIED * largest) | (jnp.min(jnp.abs(schur.values)) > raw)
        none = jnp.zeros(total, bool)
        return _Widths(shared=raw, local=curvature.band(largest, total), clear=clear, faint=none)
    rows = schur.units * jnp.max(jnp.abs(whole) * schur.units[None], axis=1)
    amplified = schur.units**2 * summed
    width = curvature.band(jnp.maximum(jnp.max(jnp.abs(schur.values)), 1.0), total)
    local = curvature.band(jnp.max(jnp.abs(blocks.values)), total)
    faint = (own <= raw) & (jnp.abs(schur.values) > width)
    faint_blocks = (own_blocks <= curvature.band(largest, total)) & (jnp.abs(blocks.values) > local)
    return _Widths(
        shared=width,
        local=local,
        clear=jnp.all(amplified <= AMPLIFIED * rows) | (jnp.min(jnp.abs(schur.values)) > width),
        faint=jnp.concatenate([faint, faint_blocks.ravel()]),
    )


def solve(
    structure: PerDatum, params: Params, factors: Factors, right: Params, inverse: Array
) -> Params:
    """x with H x = right, for inverse = 1 / eigenvalues, by S u = f - B D^-1 g and D v = g - B' u.

    (f, g) and (u, v) are the shared and the local part of right and of x, both like params; B is
    applied by Hessian-vector products. Zeros in inverse, like factors.eigenvalues, leave directions
    out; with |1 / eigenvalues| the loss falls along x.
    """
    layout = _layout(structure, params)
    s = len(factors.shared)
    shared, local = layout.split(right)
    n, q = local.shape
    local = _rotated(factors, n * local)
    start = _rotated_back(factors, local / factors.safe)

    def product(u: Array, first: Array) -> tuple[Array, Array]:
        """B D^-1 g and then u, or B' u: one program for both, since it is most of what compiles."""
        vector = layout.join(jnp.where(first, 0.0, u), jnp.where(first, start, 0.0))
        image = curvature.hvp(structure.loss, params, vector)
        border, back = layout.split(image)
        solved = factors.shared @ (inverse[:s] * (factors.shared.T @ (shared - border)))
        return jnp.where(first, solved, u), n * back

    u, backs = jax.lax.scan(product, jnp.zeros_like(shared), jnp.array([True, False]))
    v = inverse[s:].reshape(n, q) * local - _rotated(factors, backs[1]) / factors.safe
    return layout.join(u, _rotated_back(factors, v))


@jax.jit
def steps(structure: PerDatum, params: Params) -> curvature.Steps:
    """Newton's step and descent."""
    factors = factor(structure, params)
    solve_here = partial(solve, structure, params, factors)
    return curvature.steps_from(factors, solve_here, lowest(structure, params, factors))


def lowest(structure: PerDatum, params: Params, factors: Factors) -> tuple[Params, Array]:
    """right and inverse for which `solve` gives a vector of negative curvature where there is one,
    from the lowest eigenvalue of S or D.

    For an eigenvector u of S it is along (u, -D^-1 B' u), along which H is u' S u; where S has no
    negative eigenvalue, along the lowest eigenvector of D.
    """
    layout = _layout(structure, params)
    s, (n, q) = len(factors.shared), factors.safe.shape
    worst = jnp.argmin(factors.eigenvalues[s:])
    own = jnp.zeros((n, q)).at[worst // q].set(factors.local[worst // q, :, worst % q])
    by_shared = factors.eigenvalues[0] < -factors.width[0]
    shared = jnp.where(by_shared, factors.shared[:, 0], 0.0)
    right = layout.join(shared, jnp.where(by_shared, 0.0, own))
    entry = jnp.where(by_shared, 0, s + worst)
    return right, jnp.zeros_like(factors.eigenvalues).at[entry].set(1.0)


def downhill(structure: PerDatum, params: Params, factors: Factors) -> Params:
    """Unit vector of negative curvature where there is one, as `lowest` says."""
    right, inverse = lowest(structure, params, factors)
    return curvature.unit(solve(structure, params, factors, right, inverse))


@entry("inertia")
def inertia(problem: Problem, params: Params) -> curvature.Inertia:
    """Numbers of negative, flat and positive eigenvalues over all parameters, without the Hessian.

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


class _Layout(NamedTuple):
    """How parameters read as arrays.

    structure: of the loss.
    unravel_row: (r,) to one row's parameters.
    unravel_shared: (t,) to those that all share.
    unravel_local: (q,) to one datum's.
    shape: (d, r), of all rows.
    balanced: whether units are to be found.
    """

    structure: PerDatum
    unravel_row: Callable[[Array], Params]
    unravel_shared: Callable[[Array], Params]
    unravel_local: Callable[[Array], Params]
    shape: tuple[int, ...]
    balanced: bool = False

    def arrays(self, params: Params) -> tuple[Array, Array, Array]:
        """Rows (d, r), parameters shared by all (t,) and local ones (n, q)."""
        parts = self.structure.split(params)
        rows = _raveled(parts.rows)
        return rows, ravel_pytree(parts.shared)[0].astype(rows.dtype), _raveled(parts.local)

    def split(self, params: Params) -> tuple[Array, Array]:
        """Shared parameters (s,), the rows first, and local ones (n, q)."""
        rows, shared, local = self.arrays(params)
        return jnp.concatenate([rows.ravel(), shared]), local

    def join(self, shared: Array, local: Array) -> Params:
        """The inverse of `split`."""
        size = math.prod(self.shape)
        return self.structure.join(
            Parts(
                rows=jax.vmap(self.unravel_row)(shared[:size].reshape(self.shape)),
                shared=self.unravel_shared(shared[size:]),
                local=jax.vmap(self.unravel_local)(local),
            )
        )

    def term(self, row: Array, shared: Array, local: Array, x: Array) -> Array:
        """Of one output coordinate of one datum: row (r,), shared (t,), local (q,), x ()."""
        unraveled = self.unravel_row(row), self.unravel_shared(shared), self.unravel_local(local)
        return self.structure.term(*unraveled, x)

    def datum(self, rows: Array, shared: Array, local: Array, x: Array) -> Array:
        """The part of one datum: rows (d, r), shared (t,), local (q,), x (d,)."""
        terms = jax.vmap(self.term, in_axes=(0, None, None, 0))(rows, shared, local, x)
        penalty = self.structure.penalty(self.unravel_shared(shared), self.unravel_local(local))
        return jnp.sum(terms) + penalty

    def border(self, rows: Array, shared: Array, local: Array, x: Array) -> Array:
        """Derivatives (m, d, r, q) by a row and by local (m, q), of data x (m, d): no sum."""
        mixed = jax.jacfwd(jax.grad(self.term), argnums=2)
        by_row = jax.vmap(mixed, in_axes=(0, None, None, 0))
        return jax.vmap(by_row, in_axes=(None, None, 0, 0))(rows, shared, local, x)


def _layout(structure: PerDatum, params: Params) -> _Layout:
    parts = structure.split(params)
    return _Layout(
        structure=structure,
        unravel_row=_unravel_slice(parts.rows),
        unravel_shared=ravel_pytree(parts.shared)[1],
        unravel_local=_unravel_slice(parts.local),
        shape=_raveled(parts.rows).shape,
    )


def _raveled(tree: Params) -> Array:
    """(leading, size) matrix of a pytree whose leaves share their leading axis."""
    return jax.vmap(lambda slice_: ravel_pytree(slice_)[0])(tree)


def _unravel_slice(tree: Params) -> Callable[[Array], Params]:
    """From one row of `_raveled` to a slice of the tree."""
    return ravel_pytree(jax.tree.map(lambda leaf: leaf[0], tree))[1]


class _Each(NamedTuple):
    """Of each datum.

    local: (n, q), its parameters.
    data: (n, d).
    scale: (n, q), units of the parameters, zero where they are to be found.
    """

    local: Array
    data: Array
    scale: Array


class _Batch(NamedTuple):
    """Data taken at a time.

    local, data, scale: of m data, as in `_Each`.
    weight: (m,), 1, or 0 for what fills up the last batch.
    """

    local: Array
    data: Array
    scale: Array
    weight: Array


def _passed(
    layout: _Layout, rows: Array, shared: Array, each: _Each, batch_size: int | None
) -> tuple["_Sums", "_Blocks"]:
    """Sums over data, and their blocks."""
    batches = _batches(rows.size, each, batch_size)
    sums, blocks = _summed(layout, rows, shared, batches)
    return sums, jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[: len(each.data)], blocks)


def _batches(size: int, each: _Each, batch_size: int | None) -> _Batch:
    """Data in batches along a leading axis, none larger than batch_size and equally large; size:
    number of parameters of all rows.
    """
    n, q = each.local.shape
    m = min(n, batch_size or max(1, BORDER // (size * q), DEPTH // q))
    count = -(-n // m)
    m = -(-n // count)
    missing = count * m - n

    def split(x: Array) -> Array:
        return jnp.concatenate([x, x[:missing]]).reshape(count, m, *x.shape[1:])

    weight = (jnp.arange(count * m) < n).astype(each.local.dtype).reshape(count, m)
    local, data, scale = map(split, each)
    return _Batch(local=local, data=data, scale=scale, weight=weight)


class _Sums(NamedTuple):
    """Over data; divided by n, the gradient, A and B D^-1 B'.

    row_gradient: (d, r).
    shared_gradient: (t,).
    rows: (d, r, r), the blocks of A of each row.
    edge: (d, r, t), between rows and what is shared by all.
    corner: (t, t).
    subtracted: (s, s), B D^-1 B'.
    summed: (s,), its diagonal, summed without cancellation.
    missing: (), entries of B and B' that are not finite.
    missing_blocks: (), of D.
    """

    row_gradient: Array
    shared_gradient: Array
    rows: Array
    edge: Array
    corner: Array
    subtracted: Array
    summed: Array
    missing: Array
    missing_blocks: Array


class _Blocks(NamedTuple):
    """What is each datum's own.

    gradient: (m, q).
    values: (m, q), eigenvalues of its block of D.
    vectors: (m, q, q), their eigenvectors.
    safe: (m, q), the eigenvalues kept away from zero.
    scale: (m, q), the units they are taken in.
    coupling: (m, q), the largest entry of B along each eigenvector.
    """

    gradient: Array
    values: Array
    vectors: Array
    safe: Array
    scale: Array
    coupling: Array


def _summed(layout: _Layout, rows: Array, shared: Array, batches: _Batch) -> tuple[_Sums, _Blocks]:
    """Sums over all data, and blocks with two leading axes, batch and datum."""
    (d, r), t = rows.shape, len(shared)
    s = d * r + t

    def add(sums: _Sums, batch: _Batch) -> tuple[_Sums, _Blocks]:
        added, blocks = _eliminated(layout, rows, shared, batch)
        return jax.tree.map(jnp.add, sums, added), blocks

    zeros = partial(jnp.zeros, dtype=rows.dtype)
    nothing = _Sums(
        row_gradient=zeros((d, r)),
        shared_gradient=zeros(t),
        rows=zeros((d, r, r)),
        edge=zeros((d, r, t)),
        corner=zeros((t, t)),
        subtracted=zeros((s, s)),
        summed=zeros(s),
        missing=zeros(()),
        missing_blocks=zeros(()),
    )
    return jax.lax.scan(add, shards.own(nothing), batches)


class _Derivatives(NamedTuple):
    """Of a batch's part of the loss, first ones and second ones.

    row_gradient: (d, r).
    shared_gradient: (t,).
    local_gradient: (m, q).
    by_rows: (r + t + q, d, r), of the row's gradient along each variable of a row's term.
    by_shared: (r + t + q, t), of the shared gradient along them.
    by_local: (r + t + q, m, q), of each datum's along them.
    """

    row_gradient: Array
    shared_gradient: Array
    local_gradient: Array
    by_rows: Array
    by_shared: Array
    by_local: Array


def _derivatives(layout: _Layout, rows: Array, shared: Array, batch: _Batch) -> _Derivatives:
    """Rows couple to no other row and data to no other datum, so one product serves all at once."""
    (d, r), t, (m, q) = rows.shape, len(shared), batch.local.shape

    def total(rows: Array, shared: Array, local: Array) -> Array:
        return batch.weight @ jax.vmap(partial(layout.datum, rows, shared))(local, batch.data)

    gradients, push = jax.linearize(jax.grad(total, argnums=(0, 1, 2)), rows, shared, batch.local)

    def along(e: Array) -> tuple[Array, Array, Array]:
        return push(jnp.tile(e[:r], (d, 1)), e[r : r + t], jnp.tile(e[r + t :], (m, 1)))

    row_gradient, shared_gradient, local_gradient = gradients
    by_rows, by_shared, by_local = jax.lax.map(along, shards.own(jnp.eye(r + t + q)))
    return _Derivatives(
        row_gradient=row_gradient,
        shared_gradient=shared_gradient,
        local_gradient=local_gradient,
        by_rows=by_rows,
        by_shared=by_shared,
        by_local=by_local,
    )


def _eliminated(
    layout: _Layout, rows: Array, shared: Array, batch: _Batch
) -> tuple[_Sums, _Blocks]:
    """What a batch adds to the sums, and the blocks of its data.

    With D = V diag(e) V' and C = B V, B D^-1 B' = C diag(1 / e) C'.
    """
    (d, r), t, q = rows.shape, len(shared), batch.local.shape[1]
    s = d * r + t
    derivatives = _derivatives(layout, rows, shared, batch)
    matrices = jnp.moveaxis(derivatives.by_local[-q:], 0, -1)
    blocks = _diagonalized(layout, derivatives.local_gradient, matrices, batch)
    border = layout.border(rows, shared, batch.local, batch.data).reshape(-1, d * r, q)
    by_shared = jnp.swapaxes(derivatives.by_local[r : r + t], 0, 1)
    border = jnp.concatenate([border, by_shared], axis=1)
    broken = jnp.sum(~jnp.isfinite(border), axis=(1, 2)), jnp.sum(~jnp.isfinite(matrices), (1, 2))
    border = jnp.einsum("msq,mqe->sme", border, blocks.vectors)
    blocks = blocks._replace(coupling=jnp.max(jnp.abs(border), axis=0))
    eliminated = border * (batch.weight[:, None] / blocks.safe)[None]
    sums = _Sums(
        row_gradient=derivatives.row_gradient,
        shared_gradient=derivatives.shared_gradient,
        rows=jnp.moveaxis(derivatives.by_rows[:r], 0, -1),
        edge=jnp.moveaxis(derivatives.by_rows[r : r + t], 0, -1),
        corner=derivatives.by_shared[r : r + t],
        subtracted=_upper(eliminated.reshape(s, -1), border.reshape(s, -1)),
        summed=jnp.sum(jnp.abs(eliminated * border), axis=(1, 2)),
        missing=2.0 * batch.weight @ broken[0],
        missing_blocks=batch.weight @ broken[1],
    )
    return sums, blocks


def _upper(left: Array, right: Array) -> Array:
    """left right' (s, s), which is symmetric, so that nearly half of it need not be computed: rows
    of blocks, zero left of the diagonal's.
    """
    s = len(left)
    count = min(PARTS, max(1, s // NARROW))
    edges = [s * i // count for i in range(count + 1)]
    rows = [left[a:b] @ right[a:].T for a, b in pairwise(edges)]
    return jnp.concatenate([jnp.pad(row, ((0, 0), (s - row.shape[1], 0))) for row in rows])


def _mirrored(upper: Array) -> Array:
    """A symmetric matrix from what is on its diagonal and above."""
    return jnp.triu(upper) + jnp.triu(upper, 1).T


def _diagonalized(layout: _Layout, gradient: Array, matrices: Array, batch: _Batch) -> _Blocks:
    """Eigenvalues and eigenvectors of the data's blocks (m, q, q) of D, in their units; the unit
    matrix where the weight is 0.

    A datum's flat direction is kept at its band's edge, so that the rest can be solved; the count
    is then not reliable.
    """
    q = matrices.shape[1]
    filled = matrices + jnp.eye(q)[None] * (1.0 - batch.weight)[:, None, None]
    scale = batch.scale
    if layout.balanced:
        scale = jnp.where(scale > 0, scale, curvature.balance(jnp.abs(filled)))
    values, vectors = jnp.linalg.eigh(scale[:, :, None] * filled * scale[:, None])
    floor = curvature.band(jnp.max(jnp.abs(values), axis=1, keepdims=True), q)
    edge = jnp.where(values < 0, -1.0, 1.0) * floor
    return _Blocks(
        gradient=gradient,
        values=values,
        vectors=scale[:, :, None] * vectors,
        safe=jnp.where(jnp.abs(values) > floor, values, edge),
        scale=scale,
        coupling=jnp.zeros_like(values),
    )


def _whole(sums: _Sums) -> Array:
    """A (s, s), from its parts."""
    d, r, t = sums.edge.shape
    each = jnp.arange(d)
    rows = jnp.zeros((d, r, d, r), sums.rows.dtype).at[each, :, each, :].set(sums.rows)
    edge = sums.edge.reshape(d * r, t)
    return jnp.block([[rows.reshape(d * r, d * r), edge], [edge.T, sums.corner]])


def _separated(blocks: "_Blocks", width: Array) -> Array:
    """Whether every datum's eigenvalues (n, q) are large beside rounding and beside each other,
    but for those of directions that B couples to nothing: these are eigenvalues of the Hessian
    whatever the others are.
    """
    size = jnp.abs(blocks.values)
    largest = jnp.max(size, axis=1, keepdims=True)
    alone = blocks.coupling <= curvature.band(largest, 1)
    return jnp.all(alone | ((size > SEPARATED * largest) & (size > width)))


def _rotated(factors: Factors, local: Array) -> Array:
    """Local vectors (n, q) in the eigenvectors of D."""
    return jnp.einsum("nqe,nq->ne", factors.local, local)


def _rotated_back(factors: Factors, local: Array) -> Array:
    """The inverse of `_rotated`."""
    return jnp.einsum("nqe,ne->nq", factors.local, local)
