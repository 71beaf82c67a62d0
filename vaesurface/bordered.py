"""How does a loss with a few parameters per datum curve, at a cost linear in the number of data?

For losses of the form `problem.Structure` the Hessian is [A B; B^T D] with D block diagonal, one q x q block per datum.
By Haynsworth's formula In(H) = In(D) + In(A - B D^-1 B^T), so the inertia of a large surface and its Newton steps come
from n small eigenproblems and one of the size of the shared parameters (s = d r + t: d rows of r numbers, t shared by
all). In A and B an output row couples to no other row. Memory: n d (r + t + q)^2 numbers.

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
from vaesurface.problem import Params, Problem, Structure, require_float64

SEPARATED = 1e-10  # smallest |eigenvalue| of a datum's block, relative to its largest, with which others can be counted
AMPLIFIED = 100.0  # how much larger than A and D the subtracted B D^-1 B^T may be where an eigenvalue counts as flat


class Blocks(NamedTuple):
    """Gradient and Hessian in blocks, in units where every datum weighs one.

    shared (s, s) is A, border (n, s, q) is B, local (n, q, q) is D, each local derivative times n (so that the
    eigenvalues of D are those of one datum's energy); gradient_shared (s,), gradient_local (n, q).
    """

    gradient_shared: Array
    gradient_local: Array
    shared: Array
    border: Array
    local: Array


def blocks(structure: Structure, params: Params) -> Blocks:
    """Differentiate term by term; every term sees r + t + q numbers only."""
    parts = structure.split(params)
    rows, unravel_row = _ravel_leading(parts.rows)
    shared, unravel_shared = ravel_pytree(parts.shared)
    local, unravel_local = _ravel_leading(parts.local)
    (d, r), t, (n, q) = rows.shape, shared.size, local.shape
    shared = shared.astype(rows.dtype)

    def term(z, x):
        return structure.term(unravel_row(z[:r]), unravel_shared(z[r : r + t]), unravel_local(z[r + t :]), x)

    def penalty(z):
        return structure.penalty(unravel_shared(z[:t]), unravel_local(z[t:]))

    def per_row(local_i, row, x):
        return _second(lambda z: term(z, x), jnp.concatenate([row, shared, local_i]))

    def per_datum(local_i, x):
        return jax.vmap(per_row, in_axes=(None, 0, 0))(local_i, rows, x)

    g, h = jax.vmap(per_datum)(local, structure.data)  # (n, d, r+t+q), (n, d, r+t+q, r+t+q)
    z = jnp.concatenate([jnp.broadcast_to(shared, (n, t)), local], axis=1)
    gp, hp = jax.vmap(lambda z: _second(penalty, z))(z)

    row, both = slice(0, r), slice(r, None)
    over_rows_g, over_rows_h = g[:, :, both].sum(1) + gp, h[:, :, both, both].sum(1) + hp  # shared and local
    a = jnp.zeros((d, r, d, r), rows.dtype).at[jnp.arange(d), :, jnp.arange(d), :].set(h[:, :, row, row].mean(0))
    edge = h[:, :, row, r : r + t].mean(0).reshape(d * r, t)
    corner = over_rows_h[:, :t, :t].mean(0)
    return Blocks(
        gradient_shared=jnp.concatenate([g[:, :, row].mean(0).ravel(), over_rows_g[:, :t].mean(0)]),
        gradient_local=over_rows_g[:, t:],
        shared=jnp.block([[a.reshape(d * r, d * r), edge], [edge.T, corner]]),
        border=jnp.concatenate([h[:, :, row, r + t :].reshape(n, d * r, q), over_rows_h[:, :t, t:]], axis=1),
        local=over_rows_h[:, t:, t:],
    )


@partial(jax.jit, static_argnums=0)
def steps(structure: Structure, params: Params) -> curvature.Steps:
    """Gradient, Newton and descent step and inertia at params."""
    b = blocks(structure, params)
    n, s, q = b.border.shape
    d_values, d_vectors = jnp.linalg.eigh(b.local)
    scale = jnp.maximum(jnp.max(jnp.abs(d_values)), jnp.max(jnp.abs(jnp.diagonal(b.shared))))
    width_d = curvature.band(scale, s + n * q)
    # A datum's flat direction is kept at the band's edge, so that the rest can be solved; the count is then not reliable.
    safe = jnp.where(jnp.abs(d_values) > width_d, d_values, jnp.where(d_values < 0, -1.0, 1.0) * width_d)
    rotated = jnp.einsum("nsq,nqm->nsm", b.border, d_vectors)
    gradient_local = jnp.einsum("nq,nqm->nm", b.gradient_local, d_vectors)

    weighted = rotated / safe[:, None]
    schur = b.shared - jnp.einsum("nsm,ntm->st", weighted, rotated) / n
    values, vectors = jnp.linalg.eigh(0.5 * (schur + schur.T))
    # Rounding of the Schur complement is that of the sum it is the rest of, which a nearly singular block makes large.
    summed = jnp.max(jnp.einsum("nsm,nsm->s", jnp.abs(weighted), jnp.abs(rotated))) / n
    width_s = curvature.band(jnp.maximum(scale, summed), s + n * q)
    right = vectors.T @ (jnp.einsum("nsm,nm->s", weighted, gradient_local) / n - b.gradient_shared)

    def solve(inverse_schur, inverse_local):
        shared = vectors @ (inverse_schur * right)
        local = -inverse_local * gradient_local - jnp.einsum("nsm,s->nm", weighted, shared)
        return _join(structure, params, shared, jnp.einsum("nqm,nm->nq", d_vectors, local))

    exact, absolute = curvature.inverses(values, width_s)
    split = jnp.min(jnp.abs(d_values), axis=1) > SEPARATED * jnp.max(jnp.abs(d_values), axis=1)
    clear = (summed <= AMPLIFIED * scale) | (jnp.min(jnp.abs(values)) > width_s)
    eigenvalues = jnp.concatenate([values, d_values.ravel()])
    width = jnp.concatenate([jnp.full(s, width_s), jnp.full(n * q, width_d)])
    return curvature.Steps(
        gradient=_join(structure, params, b.gradient_shared, b.gradient_local / n),
        newton=solve(exact, 1.0 / safe),
        descent=solve(absolute, 1.0 / jnp.abs(safe)),
        inertia=curvature.count(eigenvalues, width),
        eigenvalues=eigenvalues,
        width=width,
        reliable=jnp.all(split) & jnp.all(jnp.abs(d_values) > width_d) & clear,
    )


def inertia(problem: Problem, params: Params) -> curvature.Inertia:
    """Numbers of negative, flat and positive eigenvalues over all parameters, without forming the Hessian.

    Raises ValueError where the problem has no such structure (use `curvature.inertia(problem.loss, params)` there).
    """
    require_float64("inertia", params)
    if problem.structure is None:
        raise ValueError(
            "expected a problem with per-datum structure, got one without; use curvature.inertia(problem.loss, params)"
        )
    return steps(problem.structure, params).inertia


def _second(f, z):
    """Gradient and Hessian of a scalar function of a vector, the gradient differentiated once."""

    def gradient(z):
        value = jax.grad(f)(z)
        return value, value

    hessian, value = jax.jacfwd(gradient, has_aux=True)(z)
    return value, hessian


def _ravel_leading(tree):
    """(leading, size) matrix of a pytree whose leaves share their leading axis, and the inverse for one slice."""
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], tree))[1]
    return jax.vmap(lambda slice_: ravel_pytree(slice_)[0])(tree), unravel


def _join(structure: Structure, params: Params, shared: Array, local: Array) -> Params:
    parts = structure.split(params)
    rows, unravel_row = _ravel_leading(parts.rows)
    unravel_shared, unravel_local = ravel_pytree(parts.shared)[1], _ravel_leading(parts.local)[1]
    row_part = jax.vmap(unravel_row)(shared[: rows.size].reshape(rows.shape))
    tail = unravel_shared(shared[rows.size :])
    return structure.join(type(parts)(row_part, tail, jax.vmap(unravel_local)(local)))
