"""How does any problem's loss curve at a point, by whatever way is exact and cheapest, and how far
is a step?

The per-datum structure where there is one, the dense Hessian up to `DENSE` parameters, products
beyond; lengths of steps in units of the parameters' natural sizes.

>>> import jax.numpy as jnp
>>> bowl = Problem(loss=lambda w: jnp.sum((w - 3.0) ** 2))
>>> print(steps(bowl, jnp.zeros(2)).newton, reach(bowl, jnp.zeros(2), jnp.array([0.5, 2.0])))
[3. 3.] 2.0
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import bordered, curvature
from vaesurface.curvature import Steps
from vaesurface.problem import JITTER, JITTERS, Params, Problem, irregular

__all__ = [
    "DENSE",
    "Methods",
    "at",
    "beyond_rounding",
    "blank",
    "gradient_changes",
    "jitters",
    "largest",
    "methods",
    "natural_metric",
    "nearness",
    "reach",
    "steps",
]

# Parameters up to which a general loss's Hessian is formed: 128 MiB, some seconds for its
# eigenvalues.
DENSE = 4096
ROUNDINGS = 4.0  # of the largest change that was measured: a bound on what rounding does


class Methods(NamedTuple):
    """How to take a problem's Hessian apart, exactly.

    factor: params to factors, with gradient, eigenvalues and their flat bands.
    balanced: (params, scale) to the same in units in which no small parameter is lost beside a
        large one, those of another factorization's scale or, where it is zero, their own.
    solve: (params, factors, right, inverse) to the solution of H x = right.
    lowest: (params, factors) to right and inverse for which x is along the most negative curvature.
    """

    factor: Callable[[Params], Any]
    balanced: Callable[[Params, Any], Any]
    solve: Callable[[Params, Any, Params, Array], Params]
    lowest: Callable[[Params, Any], tuple[Params, Array]]


def methods(problem: Problem) -> Methods:
    """Bordered where the problem has structure, dense elsewhere."""
    if problem.structure is None:
        return Methods(
            factor=partial(curvature.factor, problem.loss),
            balanced=partial(curvature.factor, problem.loss, balanced=True),
            solve=curvature.solve,
            lowest=curvature.lowest,
        )
    return Methods(
        factor=partial(bordered.factor, problem.structure),
        balanced=partial(_balanced, problem.structure),
        solve=partial(bordered.solve, problem.structure),
        lowest=partial(bordered.lowest, problem.structure),
    )


def _balanced(structure: Any, params: Params, scale: Any = None) -> Any:
    if scale is None:  # an array all the same, so that it is traced once
        scale = bordered.unscaled(structure, params)
    return bordered.factor(structure, params, scale=scale, balanced=True)


def steps(problem: Problem, params: Params) -> Steps:
    """Newton's step and descent, by the exact Hessian or, where it is too large, a Krylov space."""
    if problem.structure is not None:
        return bordered.steps(problem.structure, params)
    if ravel_pytree(params)[0].size > DENSE:
        return curvature.krylov_steps(problem.loss, params)
    return curvature.steps(problem.loss, params)


def reach(problem: Problem, params: Params, step: Params) -> Array:
    """Largest change of a parameter in a step, in units of its size."""
    relative = jax.tree.map(lambda s, unit: jnp.abs(s) / unit, step, problem.size(params))
    return jnp.max(ravel_pytree(relative)[0])


def nearness(
    problem: Problem, params: Params, gradient: Params, newton: Params
) -> tuple[Array, Array]:
    """Largest gradient times size, and largest Newton step over size, of a parameter."""
    scaled = jax.tree.map(lambda g, s: g * s, gradient, problem.size(params))
    return jnp.max(jnp.abs(ravel_pytree(scaled)[0])), reach(problem, params, newton)


def gradient_changes(problem: Problem, params: Params) -> Params:
    """By how much the gradient changes where nothing changes but rounding, as `Problem.rounding`
    tells of the loss: at `JITTERS` places, like params with a leading axis.
    """
    x, unravel = ravel_pytree(params)
    nudges = jitters(problem, params)
    # The place itself is one of them, so that the gradient is compiled once.
    places = x[None] + jnp.concatenate([jnp.zeros_like(nudges[:1]), nudges])
    slopes = jax.lax.map(lambda place: jax.grad(problem.loss)(unravel(place)), places)
    return jax.tree.map(lambda slope: slope[1:] - slope[:1], slopes)


def largest(changes: Params) -> Params:
    """Of each parameter's changes, along their leading axis."""
    return jax.tree.map(lambda c: jnp.max(jnp.abs(c), axis=0), changes)


def beyond_rounding(gradient: Params, changes: Params) -> Params:
    """The entries of a gradient that are more than four times as large as its changes by rounding;
    zero for the others.
    """

    def kept(g: Array, c: Array) -> Array:
        return jnp.where(jnp.abs(g) <= ROUNDINGS * c, 0.0, g)

    return jax.tree.map(kept, gradient, largest(changes))


def jitters(problem: Problem, params: Params) -> Array:
    """Moves (`JITTERS`, p) by `JITTER` of the parameters' sizes."""
    sizes = ravel_pytree(jax.tree.map(_full, problem.size(params), params))[0]
    return JITTER * sizes[None] * irregular(JITTERS, sizes.size)


def _full(size: Array, leaf: Array) -> Array:
    return jnp.broadcast_to(size, leaf.shape)


def natural_metric(problem: Problem, params: Params) -> Params:
    """Weights 1 / size^2, like params, and 1/n of that for what belongs to one of n data:
    curvatures are of order one in them.
    """
    sizes = problem.size(params)
    weight = jax.tree.map(lambda size: jnp.broadcast_to(size, size.shape) ** -2.0, sizes)
    return weigh_data(problem, weight)


def weigh_data(problem: Problem, weight: Params) -> Params:
    """1/n of the weights, like params, for what belongs to one of n data."""
    if problem.structure is None:
        return weight
    parts, n = problem.structure.split(weight), len(problem.structure.data)
    return problem.structure.join(parts._replace(local=optax.tree.scale(1.0 / n, parts.local)))


def blank(function: Callable, *args: Any) -> Any:
    """Zeros of the shapes that a function would return."""
    shapes = jax.eval_shape(function, *args)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


def at(tree: Any, i: Any) -> Any:
    """Entry i of every leaf's leading axis."""
    return jax.tree.map(lambda leaf: leaf[i], tree)
