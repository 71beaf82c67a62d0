"""How does any problem's loss curve at a point, by whatever way is exact and cheapest, and how far
is a step?

The per-datum structure where there is one, the dense Hessian up to `DENSE` parameters, products
beyond; lengths of steps in units of the parameters' natural sizes; arithmetic with pytrees like the
parameters.

>>> import jax.numpy as jnp
>>> bowl = Problem(loss=lambda w: jnp.sum((w - 3.0) ** 2))
>>> print(steps(bowl, jnp.zeros(2)).newton, reach(bowl, jnp.zeros(2), jnp.array([0.5, 2.0])))
[3. 3.] 2.0
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import bordered, curvature
from vaesurface.curvature import Steps
from vaesurface.problem import Params, Problem

# parameters up to which a general loss's Hessian is formed: 128 MiB, some seconds for its
# eigenvalues
DENSE = 4096


def settle(problem: Problem, params: Params) -> Params:
    """What has no effect on the loss set to zero."""
    return params if problem.settle is None else problem.settle(params)


def nearness(
    problem: Problem, params: Params, gradient: Params, newton: Params
) -> tuple[Array, Array]:
    """Largest gradient times size, and largest Newton step over size, of a parameter."""
    scaled = jax.tree.map(lambda g, s: g * s, gradient, size(problem, params))
    return jnp.max(jnp.abs(ravel_pytree(scaled)[0])), reach(problem, params, newton)


def methods(problem: Problem) -> Any:
    """How to take the Hessian apart, solve with it, and find its most negative curvature."""
    if problem.structure is None:
        return partial(curvature.factor, problem.loss), curvature.solve, curvature.downhill
    return tuple(
        partial(f, problem.structure) for f in (bordered.factor, bordered.solve, bordered.downhill)
    )


def steps(problem: Problem, params: Params) -> Steps:
    """Newton's step and descent."""
    if problem.structure is None and ravel_pytree(params)[0].size > DENSE:
        return curvature.krylov_steps(problem.loss, params)
    if problem.structure is None:
        return curvature.steps(problem.loss, params)
    return bordered.steps(problem.structure, params)


def norm(tree: Params) -> Array:
    """Euclidean, over all parameters."""
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def dot(a: Params, b: Params) -> Array:
    """Over all parameters."""
    return jnp.dot(ravel_pytree(a)[0], ravel_pytree(b)[0])


def scale(tree: Params, t: ArrayLike) -> Params:
    """t times a step."""
    return jax.tree.map(lambda x: t * x, tree)


def add(params: Params, step: Params, t: ArrayLike) -> Params:
    """params + t step."""
    return jax.tree.map(lambda x, s: x + t * s, params, step)


def size(problem: Problem, params: Params) -> Params:
    """Natural sizes of the parameters, like params."""
    if problem.size is not None:
        return problem.size(params)
    return jax.tree.map(lambda x: jnp.maximum(1.0, jnp.abs(x)), params)


def reach(problem: Problem, params: Params, step: Params) -> Array:
    """Largest change of a parameter, in units of its size."""
    relative = jax.tree.map(lambda s, unit: jnp.abs(s) / unit, step, size(problem, params))
    return jnp.max(ravel_pytree(relative)[0])


def where(condition: Array, a: Params, b: Params) -> Params:
    """a or b, leaf by leaf."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)
