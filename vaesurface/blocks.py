"""How is a mean over many data differentiated without holding all of them at once?

A block at a time, its value and its gradient together while it lies in the processor's cache: a
reverse pass has nothing to keep of a block and none to compute anew.

>>> x = jnp.arange(10.0)
>>> def square(scale, x):
...     return (scale * x) ** 2
>>> jax.grad(partial(mean, square, 4))(2.0, x) == jnp.mean(4.0 * x**2)
Array(True, dtype=bool)
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero

__all__ = ["mean"]

Values = Callable[[Any, Any], Array]
Places = tuple[tuple[int, ...], ...]  # of leaves, by tree


def mean(values: Values, size: int, common: Any, each: Any) -> Array:
    """Mean () of values(common, each) (n,) over data, at most `size` of them at a time.

    values: each datum's is its own, and has reverse derivatives.
    common: a pytree that all depend on.
    each: a pytree of arrays with a leading axis n.
    """
    block = jax.eval_shape(lambda: jax.tree.map(lambda x: x[0], _blocks(each, size)[0]))
    # What a function closes over may be what is differentiated by.
    closed, hoisted = jax.closure_convert(values, common, block)
    if not hoisted:
        return _mean(values, size, common, each)

    def opened(every: Any, each: Any) -> Array:
        return closed(every[0], each, *every[1])

    return _mean(opened, size, (common, hoisted), each)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _mean(values: Values, size: int, common: Any, each: Any) -> Array:
    """`mean` of a function that closes over nothing that it is differentiated by."""
    totals = jax.lax.map(partial(_total, values, common), _blocks(each, size))
    return jnp.sum(totals) / _length(each)


@partial(_mean.defjvp, symbolic_zeros=True)
def _(values: Values, size: int, primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """By the gradient."""
    moving = _moving(tangents)
    value, gradient = _gradient(values, size, moving, *primals)
    products = jax.tree.map(jnp.vdot, gradient, _leaves(tangents, moving))
    return value, sum(jax.tree.leaves(products), jnp.zeros_like(value))


def _by_blocks(
    values: Values, size: int, moving: Places, common: Any, each: Any
) -> tuple[Array, list]:
    """`_mean`, and its gradient by the leaves that move."""
    n = _length(each)

    @jax.checkpoint  # further derivatives keep nothing either
    def add(sums: Any, block: tuple[Any, Array]) -> tuple[Any, Any]:
        part, counts = block

        def total(leaves: list[list[Array]]) -> Array:
            changed, own = _with((common, part), moving, leaves)
            return _total(values, changed, (own, counts))

        value, slopes = jax.value_and_grad(total)(_leaves((common, part), moving))
        return jax.tree.map(jnp.add, sums, slopes[0]), (value, slopes[1])

    start = jax.tree.map(jnp.zeros_like, _leaves((common,), moving[:1])[0])
    by_all, (totals, by_each) = jax.lax.scan(add, start, _blocks(each, size))
    by_each = [x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])[:n] for x in by_each]
    return jnp.sum(totals) / n, jax.tree.map(lambda x: x / n, [by_all, by_each])


# A rule of its own that says no more than JAX would: a loop without one loses the rules of what it
# is made of where a reverse pass is built (by the partial evaluation of `scan`).
_gradient = jax.custom_jvp(_by_blocks, nondiff_argnums=(0, 1, 2))


@partial(_gradient.defjvp, symbolic_zeros=True)
def _(values: Values, size: int, moving: Places, primals: tuple, tangents: tuple) -> Any:
    places = _moving(tangents)

    def changed(leaves: list[list[Array]]) -> tuple[Array, list]:
        return _by_blocks(values, size, moving, *_with(primals, places, leaves))

    return jax.jvp(changed, (_leaves(primals, places),), (_leaves(tangents, places),))


def _blocks(each: Any, size: int) -> tuple[Any, Array]:
    """Blocks along a leading axis, equally large and not larger than size, and which of their data
    (blocks, m) count: the last is filled up with copies of the last datum.
    """
    n = _length(each)
    count = -(-n // size)
    size = -(-n // count)

    def cut(x: Array) -> Array:
        filled = jnp.pad(x, [(0, count * size - n)] + [(0, 0)] * (x.ndim - 1), mode="edge")
        return filled.reshape(count, size, *x.shape[1:])

    return jax.tree.map(cut, each), (jnp.arange(count * size) < n).reshape(count, size)


def _total(values: Values, common: Any, block: tuple[Any, Array]) -> Array:
    """Sum of a block's values that count."""
    each, counts = block
    return jnp.sum(jnp.where(counts, values(common, each), 0.0))


def _length(each: Any) -> int:
    return len(jax.tree.leaves(each)[0])


def _moving(tangents: tuple) -> Places:
    """Leaves of each tree whose tangents are not known to be zero."""

    def places(tree: Any) -> tuple[int, ...]:
        leaves = enumerate(jax.tree.leaves(tree))
        return tuple(i for i, leaf in leaves if not isinstance(leaf, SymbolicZero))

    return tuple(map(places, tangents))


def _leaves(trees: tuple, places: Places) -> list[list[Array]]:
    """Those at these places."""
    leaves = map(jax.tree.leaves, trees)
    return [[own[i] for i in chosen] for own, chosen in zip(leaves, places, strict=True)]


def _with(trees: tuple, places: Places, leaves: list[list[Array]]) -> list[Any]:
    """The trees with other leaves at these places."""

    def changed(tree: Any, chosen: tuple[int, ...], new: list[Array]) -> Any:
        own, treedef = jax.tree.flatten(tree)
        for i, leaf in zip(chosen, new, strict=True):
            own[i] = leaf
        return jax.tree.unflatten(treedef, own)

    return list(map(changed, trees, places, leaves))
