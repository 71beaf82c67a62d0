"""What is along the flat directions that a count of eigenvalues leaves open?

`explore` is a program of its own, since it takes as long to compile as all else and few points need
it; it runs under `vmap` and `jit`. Outside of these `settle` asks the loss's Taylor series, too,
whether a rise is hidden before a fall, and only then a fall like a high power is one.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import curvature
from vaesurface.problem import Params, Problem, entry, evaluations
from vaesurface.stationary import model, series
from vaesurface.stationary.probe import Probe, flattened, probe
from vaesurface.stationary.verdict import Kind, StationaryPoint

__all__ = ["Explored", "Open", "explore", "judged", "left_open", "settle"]

# Up to which order of the loss's Taylor series nothing rises, without taking more of it: of the
# second the probe knows, and an odd one falls to one side.
KNOWN = 2
LEAST = 4  # order that is asked for where it can be had: what is measured may be like any power
# A fall like the power p of the distance may hide a rise of any even order below it. One measured
# up to this much above an even number is told from the next.
POWER_TOLERANCE = 0.5
EVALUATIONS = 2e4  # of the loss, that `probe` takes


class Open(NamedTuple):
    """What a count of eigenvalues leaves open.

    factors: of the Hessian.
    inverse: of its eigenvalues, zero for those of flat and doubtful directions.
    bend: (), largest curvature along these, in units of the sizes.
    firm: (), whether their quadratic forms are those of the stationary point.
    undecided: (), whether what lies along them decides.
    """

    factors: Any
    inverse: Array
    bend: Array
    firm: Array
    undecided: Array


class Explored(NamedTuple):
    """What was found; displacement still in the probe.

    curvature: (), quadratic form of the Hessian along the displacement.
    """

    probe: Probe
    curvature: Array


def left_open(
    problem: Problem, params: Params, factors: Any, flat: Array, doubtful: Array, undecided: Array
) -> Open:
    """flat, doubtful: which eigenvalues are flat, and which may be."""
    values, out = factors.eigenvalues, flat | doubtful
    band = jnp.max(jnp.where(doubtful, jnp.abs(values), factors.width))
    units = factors.scale if problem.structure is None else 1.0
    return Open(
        factors=factors,
        inverse=jnp.where(out, 0.0, 1.0 / jnp.where(out, 1.0, values)),
        bend=band * jnp.max(ravel_pytree(problem.size(params))[0] / units) ** 2,
        firm=~jnp.any(doubtful),
        undecided=undecided,
    )


@entry("analysis", static=("directions",), size=evaluations(EVALUATIONS))
def explore(problem: Problem, params: Params, left: Open, directions: int) -> Explored:
    """Zeros where nothing is undecided."""

    def look() -> Explored:
        found = probe(
            problem.loss,
            params,
            partial(_back, problem, params, left),
            problem.size(params),
            left.bend,
            directions,
            left.firm,
        )
        way = found.displacement
        bent = optax.tree.vdot(way, curvature.hvp(problem.loss, params, way))
        return Explored(probe=found, curvature=bent)

    nothing = model.blank(look)
    return jax.lax.cond(left.undecided, look, lambda: nothing)


def _back(problem: Problem, params: Params, left: Open, gradient: Params) -> Params:
    """Newton's step in all but the open directions, reversed."""
    return model.methods(problem).solve(params, left.factors, gradient, left.inverse)


def judged(point: StationaryPoint, found: Explored, order: int = KNOWN) -> StationaryPoint:
    """The verdict with what was found, where nothing rises up to that order of the series."""
    seen, way = found.probe._replace(displacement=None), found.probe.displacement
    falls = seen.falls & (seen.power < order + 2 + POWER_TOLERANCE)
    point = point._replace(probe=seen._replace(falls=falls))
    lower = falls & (point.inertia.negative == 0) & (point.kind != Kind.NOT_STATIONARY)
    lower &= (point.missing_gradient == 0) & (point.missing_hessian == 0)
    if point.kink is not None:
        lower &= ~point.kink.found
    return point._replace(
        kind=jnp.where(lower, Kind.SADDLE, point.kind),
        descent=optax.tree.where(lower, way, point.descent),
        curvature=jnp.where(lower, found.curvature, point.curvature),
    )


def settle(
    problem: Problem, point: StationaryPoint, left: Open, found: Explored, tied: bool
) -> StationaryPoint:
    """The verdict with what was found, and with the Taylor series. tied: whether pieces of the loss
    meet there, of which a series knows one.
    """
    power = float(found.probe.power)
    below = max(int(2 * np.ceil((power - POWER_TOLERANCE) / 2) - 2), LEAST)
    if tied or not found.probe.falls or below > series.ORDERS:
        return judged(point, found)
    rises = _by_series(problem, point.params, left, found.probe.displacement, below)
    if rises is None:
        return judged(point, found)
    if rises:
        seen = found.probe._replace(falls=jnp.asarray(False), rises=jnp.asarray(True))
        found = found._replace(probe=seen)
    return judged(point, found, below)


def _by_series(
    problem: Problem, params: Params, left: Open, way: Params, order: int
) -> Array | None:
    """Whether the loss first rises, (), along the flat direction of a way; None: not told."""
    x, unravel = ravel_pytree(params)
    scale, along = ravel_pytree(problem.size(params))[0], ravel_pytree(way)[0]
    solver = jax.jit(partial(_back, problem, params, left))

    def value(y: Array) -> Array:
        return problem.loss(unravel(y))

    def solve(gradient: Array) -> Array:
        return ravel_pytree(solver(unravel(gradient)))[0]

    product = jax.jit(jax.linearize(jax.grad(value), x)[1])
    along = flattened(along, product, solve)
    along = along / jnp.linalg.norm(along / scale)
    return series.rises(value, x, along, solve, scale, order)
