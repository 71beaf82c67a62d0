"""What does a loss look like along a line or over a plane through parameter space?

Coordinates are Euclidean distances in parameter space, so equal steps on the two axes of a plane
are equal steps there. A plane is laid through three points, or through one along two directions:
random ones, eigenvectors of the Hessian, or those in which a run moved most. Directions are a
pytree like the parameters, with a leading axis of 2. Besides the energy a slice carries the values
of any functions of the parameters, such as `gamma`, `active` and `lowest_eigenvalue`.

>>> import jax.numpy as jnp
>>> a, b = jnp.array([0.0, 0.0]), jnp.array([3.0, 4.0])
>>> line = segment(lambda w: jnp.sum(w**2), a, b, num=3, margin=0.0)
>>> print(line.distance, line.energy)
[0.  2.5 5. ] [ 0.    6.25 25.  ]
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import bordered, curvature
from vaesurface.glance import brief
from vaesurface.problem import Params, Parts, PerDatum, Problem, require_numbers, require_scalar
from vaesurface.refusal import number, shown, whole

__all__ = [
    "Plane",
    "Principal",
    "Segment",
    "active",
    "gamma",
    "hessian_directions",
    "lowest_eigenvalue",
    "plane",
    "plane_along",
    "principal_directions",
    "project",
    "random_directions",
    "segment",
]

Loss = Callable[[Params], Array]
Values = Mapping[str, Callable[[Params], Array]]

# Sine of the angle between two directions below which rounding decides on their plane.
PARALLEL = 1e-10
# Twice nats per datum: the hundredth of a nat of Burda, Grosse and Salakhutdinov's active units
# (ICLR 2016).
INFORMED = 0.02
# Next to the lowest eigenvalue of the data's own blocks the Schur complement has a pole, from where
# a step of Newton's method doubles the distance: 50 lead from rounding to any size.
MOST_STEPS = 60


@brief()
class Segment(NamedTuple):
    """Energies along a line.

    distance: (m,) from the first end, signed.
    energy: (m,).
    length: (), distance of the second end.
    values: more functions of the parameters there, name -> (m,).
    """

    distance: Array
    energy: Array
    length: Array
    values: dict[str, Array]


@brief()
class Plane(NamedTuple):
    """Energies over a plane.

    x: (mx,), and y: (my,), the grid's coordinates.
    energy: (my, mx).
    origin: (p,), the point at (0, 0), in the order of `ravel_pytree`.
    basis: (2, p), orthonormal, in that order too.
    points: (j, 2), coordinates of the points it was laid through, the first at (0, 0): three, of
        which the second is at (x, 0), or the center alone.
    values: more functions of the parameters there, name -> (my, mx).
    """

    x: Array
    y: Array
    energy: Array
    origin: Array
    basis: Array
    points: Array
    values: dict[str, Array]


@brief()
class Principal(NamedTuple):
    """The two directions in which a run moved most.

    directions: like the parameters, leading axis 2.
    explained: (2,), shares of the run's squared distances from its end.
    """

    directions: Params
    explained: Array


def segment(
    loss: Loss,
    a: Params,
    b: Params,
    num: int = 201,
    margin: float = 0.2,
    values: Values | None = None,
) -> Segment:
    """Loss on the straight line from a to b, prolonged on both sides by margin times its length.

    Raises ValueError for points of different shapes, and for a loss that is no real number there.
    """
    _require(loss, num, (a, b), values, margin)
    start, unravel = ravel_pytree(a)
    step = ravel_pytree(b)[0] - start
    t = jnp.linspace(-margin, 1.0 + margin, num)
    energy, others = jax.lax.map(lambda s: _sample(loss, values, unravel(start + s * step)), t)
    length = jnp.linalg.norm(step)
    return Segment(distance=t * length, energy=energy, length=length, values=others)


def plane(
    loss: Loss,
    a: Params,
    b: Params,
    c: Params,
    num: int = 61,
    margin: float = 0.2,
    values: Values | None = None,
) -> Plane:
    """Loss on a grid of num x num points over the plane through three points.

    margin: around them, as a share of their largest extent. Raises ValueError where the points lie
    on one line, to rounding (outside `jit`; inside, the basis is NaN), and as `segment` does.
    """
    _require(loss, num, (a, b, c), values, margin)
    origin = ravel_pytree(a)[0]
    sides = jnp.stack([ravel_pytree(w)[0] - origin for w in (b, c)])
    wanted = "three points that span a plane, got three on a line; choose another third point"
    basis = _orthonormal(sides, wanted)
    points = jnp.concatenate([jnp.zeros((1, 2), origin.dtype), sides @ basis.T])
    low, high = points.min(axis=0), points.max(axis=0)
    pad = margin * jnp.max(high - low)
    x, y = (jnp.linspace(low[i] - pad, high[i] + pad, num) for i in (0, 1))
    return _grid(loss, values, a, basis, x, y, points)


def plane_along(
    loss: Loss,
    center: Params,
    directions: Params,
    x: tuple[float, float],
    y: tuple[float, float],
    num: int = 61,
    values: Values | None = None,
) -> Plane:
    """Loss on a grid of num x num points over the plane through center along two directions.

    directions: orthonormalized in their order. x and y: lowest and highest coordinate, distances
    from center along the first direction and across it. Raises ValueError for parallel directions,
    to rounding (outside `jit`; inside, the basis is NaN), and as `segment` does.
    """
    _require(loss, num, (center, jax.tree.map(lambda x: jnp.asarray(x)[0], directions)), values)
    flat = jax.vmap(lambda direction: ravel_pytree(direction)[0])(directions)
    wanted = "two directions that span a plane, got parallel or zero ones; choose others"
    basis = _orthonormal(flat, wanted)
    points = jnp.zeros((1, 2), flat.dtype)
    return _grid(loss, values, center, basis, jnp.linspace(*x, num), jnp.linspace(*y, num), points)


def project(plane: Plane, params: Params) -> tuple[Array, Array]:
    """Coordinates (2,) of a point's foot on the plane, and its distance from the plane."""
    offset = ravel_pytree(params)[0] - plane.origin
    foot = plane.basis @ offset
    return foot, jnp.linalg.norm(offset - foot @ plane.basis)


@jax.jit
def random_directions(params: Params, key: Array) -> Params:
    """Two Gaussian directions, each of whose filters is as long as that of params.

    A filter is a slice along the leading axis of a leaf of two or more dimensions, and any other
    leaf as a whole. A filter of params that is zero stays zero in the directions. (Li et al.,
    NeurIPS 2018, section 4.)
    """
    flat, unravel = ravel_pytree(params)
    drawn = jax.vmap(unravel)(jax.random.normal(key, (2, flat.size), flat.dtype))

    def scaled(leaf, directions):
        lengths, drawn_lengths = _filter_lengths(leaf[None]), _filter_lengths(directions)
        return directions * lengths / drawn_lengths

    return jax.tree.map(scaled, params, drawn)


def hessian_directions(
    loss: Loss,
    params: Params,
    key: Array,
    which: tuple[int, int] = (0, -1),
    dense: int = 4096,
) -> tuple[Array, Params]:
    """Two eigenvalues (2,) of the Hessian, counted from the lowest, and their unit eigenvectors.

    From the dense Hessian up to `dense` parameters; beyond, the two ends by Lanczos
    (`curvature.extremes`, from a start drawn with key). Raises ValueError where others than (0, -1)
    are asked for there.
    """
    flat, unravel = ravel_pytree(params)
    if flat.size > dense:
        if which != (0, -1):
            raise ValueError(
                f"expected which = (0, -1) beyond {dense} parameters, got {which}; "
                "ask for the ends or raise dense"
            )
        values, _, directions = curvature.extremes(loss, params, key)
        return values, directions
    factors = curvature.factor(loss, params)
    chosen = jnp.array(which)
    return factors.eigenvalues[chosen], jax.vmap(unravel)(factors.vectors[:, chosen].T)


def principal_directions(path: Params) -> Principal:
    """The two directions in which a run moved most, seen from its end.

    Of all planes through the end, theirs is nearest to the run. path: like an `optimize.Run`'s,
    parameters with a leading axis of time. (Li et al., NeurIPS 2018, section 7, center on the mean;
    a plane that shows the end has to go through it.) Raises ValueError for fewer than three points
    in time.
    """
    flat = jax.vmap(lambda params: ravel_pytree(params)[0])(path)
    if len(flat) < 3:
        raise ValueError(
            f"expected a path of at least 3 points, got {len(flat)}; record more of the run"
        )
    unravel = ravel_pytree(jax.tree.map(lambda x: x[0], path))[1]
    _, singular, directions = jnp.linalg.svd(flat - flat[-1:], full_matrices=False)
    explained = singular**2 / jnp.sum(singular**2)
    return Principal(directions=jax.vmap(unravel)(directions[:2]), explained=explained[:2])


def gamma(params: Any) -> Array:
    """Decoder variance where it is learned. Raises ValueError where it is not."""
    if params.log_gamma is None:
        raise ValueError(
            "expected a learned gamma, got a fixed one, the same everywhere; slice another value"
        )
    return jnp.exp(params.log_gamma)


def active(problem: Problem, threshold: float = INFORMED) -> Callable[[Params], Array]:
    """A function of params: number of latents that carry more KL divergence than a threshold.

    threshold: twice nats per datum, far above that of `StationaryPoint.active`, because off the
    stationary points every latent carries a little. Raises ValueError for a problem without
    `information`.
    """
    if not problem.has("information"):
        raise ValueError(
            "expected a problem with information, got one without; give it or slice another value"
        )

    def carrying(params: Params) -> Array:
        return jnp.sum(jnp.asarray(problem.information(params)) > threshold)

    return carrying


def lowest_eigenvalue(problem: Problem) -> Callable[[Params], Array]:
    """A function of params: smallest eigenvalue of the Hessian over all of them, to rounding.

    From the per-datum structure where there is one, at a cost linear in n; else from the dense
    Hessian.
    """
    structure = problem.structure
    if structure is None:
        return lambda params: curvature.spectrum(problem.loss, params)[0]
    return partial(_lowest, structure)


def _require(
    loss: Loss,
    num: int,
    points: tuple[Params, ...],
    values: Values | None,
    margin: float = 0.0,
) -> None:
    """Refuse, by shapes alone, points of other shapes than the first, a loss that is no real number
    there, and a grid of no size.
    """
    whole("num", num, least=1)
    number("margin", margin)
    if values is not None and not (
        isinstance(values, Mapping) and all(map(callable, values.values()))
    ):
        raise ValueError(
            f"expected values as functions of the parameters by name, got {shown(values)}; give a "
            f"dict of them"
        )
    require_numbers("a slice", points)
    shapes = [str(jax.tree.map(jnp.shape, point)) for point in points]
    other = next((shape for shape in shapes if shape != shapes[0]), None)
    if other is not None:
        raise ValueError(
            f"expected points of one shape, got {shapes[0]} and {other}; take them from one problem"
        )
    if not callable(loss):
        raise ValueError(
            f"expected a loss, a function of the parameters, got {type(loss).__name__}; give one"
        )
    require_scalar(loss, points[0])


def _sample(loss: Loss, values: Values | None, params: Params) -> tuple[Array, dict[str, Array]]:
    """The energy and the other values at one point."""
    return loss(params), {name: value(params) for name, value in (values or {}).items()}


def _grid(
    loss: Loss,
    values: Values | None,
    center: Params,
    basis: Array,
    x: Array,
    y: Array,
    points: Array,
) -> Plane:
    """The plane through center along a basis, with all that is to be known at its grid's points."""
    origin, unravel = ravel_pytree(center)

    def row(v):
        return jax.lax.map(
            lambda u: _sample(loss, values, unravel(origin + u * basis[0] + v * basis[1])), x
        )

    energy, others = jax.lax.map(row, y)
    return Plane(x=x, y=y, energy=energy, origin=origin, basis=basis, points=points, values=others)


def _filter_lengths(leaf: Array) -> Array:
    """Norms of the filters of directions, (m, ...) of leaves, in a shape that divides them."""
    axes = tuple(range(2 if leaf.ndim >= 3 else 1, leaf.ndim))
    return jnp.sqrt(jnp.sum(leaf**2, axis=axes, keepdims=True))


def _orthonormal(directions: Array, expected: str) -> Array:
    """Directions (2, p) orthonormalized, the first one keeping its own.

    expected: how a complaint about parallel ones goes on.
    """
    first = directions[0] / jnp.linalg.norm(directions[0])
    rest = directions[1] - jnp.dot(directions[1], first) * first
    # Once more, for the digits lost between nearly parallel ones.
    rest = rest - jnp.dot(rest, first) * first
    sine = jnp.linalg.norm(rest) / jnp.linalg.norm(directions[1])
    if not isinstance(sine, jax.core.Tracer) and not sine > PARALLEL:
        raise ValueError(f"expected {expected}")
    return jnp.stack([first, rest / jnp.linalg.norm(rest)])


def _lowest(structure: PerDatum, params: Params) -> Array:
    """Lowest eigenvalue t of the Hessian H = [[A, B], [B^T, D]], D the data's own blocks.

    There the lowest eigenvalue of S(t) = A - t - B (D - t)^-1 B^T is zero. That is concave and
    decreasing in t below the lowest eigenvalue of D, so that Newton's steps from above the root
    fall to it monotonically.
    """

    def step(state):
        turn, _, now = state
        edge, quotient = _newton(structure, params, now)
        # The first turn, at t = 0, only looks for a start: below D's eigenvalues, above that of H
        # or within rounding of it.
        lower = jnp.where(turn == 0, jnp.minimum(edge, quotient), jnp.minimum(now, quotient))
        return turn + 1, now, lower

    def unfinished(state):
        turn, before, now = state
        return (turn < 2) | ((now < before) & (turn < MOST_STEPS))

    zero = jnp.zeros((), structure.data.dtype)
    return jax.lax.while_loop(unfinished, step, (0, zero, zero))[2]


def _newton(structure: PerDatum, params: Params, shift: Array) -> tuple[Array, Array]:
    """Just below D's lowest eigenvalue, and the next step of Newton's method from `shift`.

    With u the eigenvector of S(t), t less value over slope is the Rayleigh quotient of H for (u,
    -(D - t)^-1 B^T u), which is `bordered.downhill` of the loss less t/2 |params|^2: every iterate
    is an upper bound on its own.
    """
    n, p = len(structure.data), ravel_pytree(params)[0].size
    shifted = _Shifted(data=structure.data, original=structure, shift=shift)
    factors = bordered.factor(shifted, params)
    local = shift + factors.eigenvalues[len(factors.shared) :] / n  # of D
    edge = jnp.min(local) - 4 * curvature.band(jnp.max(jnp.abs(local)), p)
    direction = bordered.downhill(shifted, params, factors)
    image = curvature.hvp(structure.loss, params, direction)
    return edge, jnp.dot(ravel_pytree(direction)[0], ravel_pytree(image)[0])


@partial(
    jax.tree_util.register_dataclass, data_fields=["data", "original", "shift"], meta_fields=[]
)
@dataclass(frozen=True, eq=False)
class _Shifted(PerDatum):
    """The same loss less shift/2 |params|^2: shift is taken off every eigenvalue of its Hessian."""

    data: Array
    original: PerDatum
    shift: Array

    def term(self, row: Params, shared: Params, local: Params, value: Array) -> Array:
        return self.original.term(row, shared, local, value) - self._square(row)

    def penalty(self, shared: Params, local: Params) -> Array:
        # The loss is a mean over data: a datum's own square has to weigh n.
        penalty = self.original.penalty(shared, local)
        return penalty - self._square(shared) - len(self.data) * self._square(local)

    def split(self, params: Params) -> Parts:
        return self.original.split(params)

    def join(self, parts: Parts) -> Params:
        return self.original.join(parts)

    def _square(self, params: Params) -> Array:
        return 0.5 * self.shift * jnp.sum(ravel_pytree(params)[0] ** 2)
