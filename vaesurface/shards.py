"""How is a sum over many data done by several devices?

Under a mesh of JAX's with an axis "data", each device has its share of the data and of the
parameters that every datum has of its own, and only sums travel:

    with jax.set_mesh(jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))):
        problem = vae.threshold_vae(X, latent=2, alpha=0.1)
        point = stationary.find(problem, jax.random.key(0))

Without a mesh, or where the number of data is no multiple of the number of devices, one device does
it all.

>>> spread(np.ones((4, 2))).shape, summed(lambda c, e: (c * jnp.sum(e), e), 2.0, jnp.ones(3))
((4, 2), (Array(6., dtype=float64), Array([1., 1., 1.], dtype=float64)))
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.sharding import AbstractMesh, NamedSharding, PartitionSpec
from jax.typing import ArrayLike

__all__ = ["AXIS", "alone", "count", "own", "spread", "summed"]

AXIS = "data"  # of the mesh


def alone() -> AbstractContextManager:
    """What is traced in this context is for one device, of operations that say what they do."""
    return jax.sharding.use_abstract_mesh(AbstractMesh((), ()))


def count(n: int) -> int:
    """How many devices share n data. Raises ValueError under a mesh whose axis is of another type
    than Auto, by which every operation would have to say where its results are.
    """
    mesh = jax.sharding.get_abstract_mesh()
    size = 1 if mesh.empty or AXIS in mesh.manual_axes else mesh.shape.get(AXIS, 1)
    if size == 1 or n % size:
        return 1
    if AXIS not in mesh.auto_axes:
        raise ValueError(
            f"expected a mesh with the axis {AXIS!r} of type Auto, got Explicit; give "
            f"jax.make_mesh axis_types=(jax.sharding.AxisType.Auto,)"
        )
    return size


def spread(X: ArrayLike) -> Array:
    """Data (n, ...) in float64, each device's share on it; in a function that is being traced it is
    the compiler that divides them.
    """
    if isinstance(X, jax.core.Tracer) or count(len(np.shape(X)) and np.shape(X)[0]) == 1:
        return jnp.asarray(X, jnp.float64)
    try:
        mesh = jax.sharding.get_mesh()
    except ValueError:  # JAX's answer where it is tracing
        return jnp.asarray(X, jnp.float64)
    return jax.device_put(X, NamedSharding(mesh, PartitionSpec(AXIS)))


def own(tree: Any) -> Any:
    """Arrays that each device has for itself where it is at work on its share, as a loop's start
    has to be.
    """
    if AXIS not in jax.sharding.get_abstract_mesh().manual_axes:
        return tree
    return jax.tree.map(lambda x: jax.lax.pcast(x, AXIS, to="varying"), tree)


def summed(total: Callable[[Any, Any], tuple[Any, Any]], common: Any, each: Any) -> Any:
    """total(common, each), whose first part is a sum over data, and the second each datum's own.

    common: a pytree that all depend on. each: a pytree of arrays with a leading axis n, as has the
    second part.
    """
    if count(len(jax.tree.leaves(each)[0])) == 1:
        return total(common, each)

    def share(common: Any, each: Any) -> tuple[Any, Any]:
        # A copy of its own on each device: else derivatives by it are summed before they are asked
        # for, by the rules of `blocks` too.
        sums, parts = total(own(common), each)
        return jax.tree.map(lambda x: jax.lax.psum(x, AXIS), sums), parts

    whole, shares = PartitionSpec(), PartitionSpec(AXIS)
    return jax.shard_map(share, in_specs=(whole, shares), out_specs=(whole, shares))(common, each)
