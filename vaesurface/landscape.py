"""What does a loss look like along a line or over a plane through parameter space?

Coordinates are Euclidean distances in parameter space, so equal steps on the two axes of a plane are equal steps there.

>>> import jax.numpy as jnp
>>> line = segment(lambda w: jnp.sum(w**2), jnp.array([0.0, 0.0]), jnp.array([3.0, 4.0]), num=3, margin=0.0)
>>> print(line.distance, line.energy)
[0.  2.5 5. ] [ 0.    6.25 25.  ]
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Params

Loss = Callable[[Params], Array]


class Segment(NamedTuple):
    """Energies (m,) at signed distances (m,) from the first end; length: distance of the second end."""

    distance: Array
    energy: Array
    length: Array


class Plane(NamedTuple):
    """Energies (my, mx) at x (mx,) and y (my,); origin (p,) and orthonormal basis (2, p) in the order of `ravel_pytree`;
    points (3, 2): coordinates of the three points it was laid through, the first at (0, 0), the second at (x, 0).
    """

    x: Array
    y: Array
    energy: Array
    origin: Array
    basis: Array
    points: Array


def segment(loss: Loss, a: Params, b: Params, num: int = 201, margin: float = 0.2) -> Segment:
    """Loss on the straight line from a to b, prolonged on both sides by margin times its length."""
    start, unravel = ravel_pytree(a)
    step = ravel_pytree(b)[0] - start
    t = jnp.linspace(-margin, 1.0 + margin, num)
    energy = jax.lax.map(lambda s: loss(unravel(start + s * step)), t)
    length = jnp.linalg.norm(step)
    return Segment(t * length, energy, length)


def plane(loss: Loss, a: Params, b: Params, c: Params, num: int = 61, margin: float = 0.2) -> Plane:
    """Loss on a grid of num x num points over the plane through three points, with a margin around them.

    Raises ValueError where the points lie on one line, to rounding (outside `jit`; inside, the basis is NaN).
    """
    origin, unravel = ravel_pytree(a)
    across, up = ravel_pytree(b)[0] - origin, ravel_pytree(c)[0] - origin
    first = across / jnp.linalg.norm(across)
    rest = up - jnp.dot(up, first) * first
    area = jnp.linalg.norm(rest) / jnp.linalg.norm(up)
    if not isinstance(area, jax.core.Tracer) and not area > 1e-10:
        raise ValueError("expected three points that span a plane, got three on a line; choose another third point")
    basis = jnp.stack([first, rest / jnp.linalg.norm(rest)])
    points = jnp.stack([jnp.zeros(2, origin.dtype), basis @ across, basis @ up])
    low, high = points.min(axis=0), points.max(axis=0)
    pad = margin * jnp.max(high - low)
    x, y = (jnp.linspace(low[i] - pad, high[i] + pad, num) for i in (0, 1))

    def row(v):
        return jax.lax.map(lambda u: loss(unravel(origin + u * basis[0] + v * basis[1])), x)

    return Plane(x, y, jax.lax.map(row, y), origin, basis, points)


def project(plane: Plane, params: Params) -> tuple[Array, Array]:
    """Coordinates (2,) of a point's foot on the plane, and its distance from the plane."""
    offset = ravel_pytree(params)[0] - plane.origin
    foot = plane.basis @ offset
    return foot, jnp.linalg.norm(offset - foot @ plane.basis)
