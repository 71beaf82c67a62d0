"""Of what kind is a point, and how do we know?

>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.5)
>>> point = analyze(problem, problem.collapsed())
>>> point.label
'collapsed local minimum'
>>> print(*point.inertia, point.kind == Kind.MINIMUM)
0 2 7 True
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import curvature
from vaesurface.curvature import Inertia
from vaesurface.problem import Params, Problem, Theory, compiled, require_float64
from vaesurface.stationary import model
from vaesurface.stationary.model import DENSE
from vaesurface.stationary.probe import Probe, kink, probe
from vaesurface.stationary.verdict import (
    NEAR,
    SCALED,
    STATIONARY,
    Kind,
    StationaryPoint,
)

__all__ = ["analyze"]

# Fraction by which no eigenvalue may change over the Newton step to the stationary point. Towards a
# degenerate point they shrink: by a half where the loss is cubic, by 5/9 where it is quartic.
FIRM = 0.25
ACTIVE = (
    1e-8  # twice nats of KL divergence per datum above which a latent dimension carries information
)
MOVES = 4  # along flat directions: two of them, there and back


class _Curvature(NamedTuple):
    """What is known of the Hessian at a point; fields as in `StationaryPoint`."""

    gradient: Params
    newton: Params
    theory: Theory | None
    inertia: Inertia
    wide: Inertia
    reliable: Array
    positive: Array  # whether all eigenvalues but `symmetries` are known to be positive
    descent: Params
    symmetries: Array
    search: curvature.Descent | None
    probe: Probe | None


def analyze(
    problem: Problem,
    params: Params,
    key: Array | None = None,
    dense: int = DENSE,
    directions: int = 12,
) -> StationaryPoint:
    """Judge a point: exact inertia, what theory adds to it, and a look along flat directions that
    nothing explains.

    The count of eigenvalues is exact through the per-datum structure where there is one, and from
    the dense Hessian up to `dense` parameters. Beyond, products alone tell what can be told: a
    direction of negative curvature, or a bound on what was missed; its random starts come from key.
    directions: how many flat directions to probe, 0 for none. Raises RuntimeError without float64.
    A flat direction along which nothing is known makes a point DEGENERATE, never a minimum, and so
    does a loss without theory that does not follow its quadratic model: one with a kink there.
    """
    require_float64("analysis", params)
    judge = partial(compiled, _analyze, problem, params, key, dense=dense)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params)):
        return judge(directions=directions)
    # The search along flat directions takes as long to compile as all else, and few points need it.
    point = judge(directions=0)
    if not directions or point.search is not None:
        return point
    if isinstance(point.kind, jax.core.Tracer):
        return judge(directions=directions)
    kinked = point.kink is not None and point.kink.found
    return judge(directions=directions) if point.kind == Kind.DEGENERATE and not kinked else point


def _analyze(
    problem: Problem, params: Params, key: Array | None, dense: int, directions: int
) -> StationaryPoint:
    params = model.settle(problem, params)
    if problem.structure is None and ravel_pytree(params)[0].size > dense:
        second = _searched(problem, params, jax.random.key(0) if key is None else key)
    else:
        second = _counted(problem, params, directions)
    known = second.theory
    loss, grad_norm = problem.loss(params), model.norm(second.gradient)
    scaled_grad, newton_step = model.nearness(problem, params, second.gradient, second.newton)
    stationary = (
        (grad_norm <= STATIONARY)
        & (scaled_grad <= SCALED)
        & (newton_step <= NEAR)
        & jnp.isfinite(loss)
    )
    if known is not None:
        stationary &= ~known.runaway

    negative, flat, positive = second.inertia
    # The exact energies that come with a theory are smooth; of any other loss that is not known.
    bent = kink(problem.loss, params, model.size(problem, params)) if known is None else None
    kinked = jnp.asarray(False) if bent is None else bent.found
    reliable = second.reliable & ~kinked
    lower = jnp.asarray(False)  # along a flat direction
    if known is not None:
        lower |= known.falling > 0
    if second.probe is not None:
        lower |= second.probe.falls
    lower = (negative == 0) & lower & ~kinked
    if bent is not None:
        lower |= bent.falls
    kind = jnp.where(second.positive, Kind.MINIMUM, Kind.DEGENERATE)
    kind = jnp.where(negative > 0, jnp.where(positive + flat == 0, Kind.MAXIMUM, Kind.SADDLE), kind)
    kind = jnp.where(reliable, kind, Kind.DEGENERATE)
    kind = jnp.where(lower, Kind.SADDLE, kind)
    kind = jnp.where(stationary, kind, Kind.NOT_STATIONARY)
    optimal = jnp.asarray(False)
    descent = model.where(
        (negative > 0) & ~kinked, second.descent, jax.tree.map(jnp.zeros_like, params)
    )
    if bent is not None:
        descent = model.where(bent.falls, bent.displacement, descent)
        bent = bent._replace(displacement=None)
    if second.probe is not None:
        descent = model.where(
            (negative == 0) & second.probe.falls & ~kinked, second.probe.displacement, descent
        )
    if known is not None:
        tolerance = 1e-9 * jnp.maximum(1.0, jnp.abs(known.minimum))
        optimal = (
            (kind == Kind.MINIMUM)
            & jnp.isfinite(known.minimum)
            & (jnp.abs(loss - known.minimum) <= tolerance)
        )
        if known.descent is not None:
            descent = model.where((negative == 0) & (known.falling > 0), known.descent, descent)
        known = known._replace(descent=None)
    return StationaryPoint(
        params=params,
        loss=loss,
        grad_norm=grad_norm,
        scaled_grad=scaled_grad,
        newton_step=newton_step,
        inertia=second.inertia,
        wide=second.wide,
        kind=kind,
        active=None if problem.information is None else problem.information(params) > ACTIVE,
        theory=known,
        symmetries=second.symmetries,
        reliable=reliable,
        optimal=optimal,
        descent=descent,
        curvature=model.dot(descent, curvature.hvp(problem.loss, params, descent)),
        probe=None if second.probe is None else second.probe._replace(displacement=None),
        search=second.search,
        kink=bent,
    )


def _known(problem: Problem, params: Params, newton: Params) -> Theory | None:
    """What theory says of a point that is a Newton step away from the stationary one."""
    return (
        None
        if problem.theory is None
        else problem.theory(params, model.reach(problem, params, newton))
    )


def _counted(problem: Problem, params: Params, directions: int) -> _Curvature:
    """From all eigenvalues."""
    factor, solve, downhill = model.methods(problem)
    symmetries = curvature.symmetries(problem.symmetry, params)

    def is_flat(factors):
        return jnp.abs(factors.eigenvalues) <= factors.width

    # Here, and where the Newton step leads: the count stands if the eigenvalues are the same there.
    # That step leaves flat directions out; beside some that nothing explains, negative eigenvalues
    # must stand moves along those as well.
    def open_(state):
        i, here, *_ = state
        if problem.theory is not None:
            return i < 2
        beside = (jnp.sum(is_flat(here)) > symmetries) & jnp.any(here.eigenvalues < -here.width)
        return (i < 2) | (beside & (i < 2 + MOVES))

    def look(state):
        i, here, newton, step, *changes = state
        there = factor(model.add(params, step, 1.0))
        here = model.where(i == 0, there, here)
        change = jnp.abs(there.eigenvalues - here.eigenvalues)
        changes = [
            jnp.where(now, jnp.maximum(old, change), old)
            for now, old in zip((i == 1, i > 1), changes, strict=True)
        ]
        right, inverse = (
            model.scale(here.gradient, -1.0),
            curvature.inverses(here.eigenvalues, here.width)[0],
        )
        if problem.theory is None:  # after the Newton step some flat direction, there and back
            flattened, unravel = ravel_pytree(model.size(problem, params))
            irregular = unravel(
                flattened * jnp.cos(jnp.arange(flattened.size) ** 2.0 + (i - 1) // 2)
            )
            right = model.where(i == 0, right, irregular)
            inverse = jnp.where(i == 0, inverse, is_flat(here))
        step = solve(params, here, right, inverse)
        newton = model.where(i == 0, step, newton)
        if problem.theory is None:
            length = jnp.where(i % 2 == 1, NEAR, -NEAR) / model.reach(problem, params, step)
            step = model.scale(step, jnp.where(i == 0, 1.0, length))
        return i + 1, here, newton, step, *changes

    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(factor, params))
    zero, none = jax.tree.map(jnp.zeros_like, params), jnp.zeros_like(blank.eigenvalues)
    start = (jnp.asarray(0), blank, zero, zero, none, none)
    _, here, newton, _, by_newton, by_flat = jax.lax.while_loop(open_, look, start)
    known = _known(problem, params, newton)
    explained = symmetries if known is None else symmetries + known.strict
    flat, slack = is_flat(here), FIRM * jnp.abs(here.eigenvalues)
    soft = ~flat & (by_newton > slack)
    # Those that depend on where along flat directions the point lies count as flat themselves.
    loose = (here.eigenvalues < -here.width) & ~soft & (by_flat > slack)
    counted = jnp.where(loose, 0.0, here.eigenvalues)
    inertia = curvature.count(counted, here.width)
    unexplained = jnp.maximum(inertia.flat - explained, 0)
    clean = here.reliable & ~jnp.any(soft) & ~(jnp.any(loose) & (inertia.negative == 0))
    found = None
    if directions:
        out = flat | soft | loose
        inverse = jnp.where(out, 0.0, 1.0 / jnp.where(out, 1.0, here.eigenvalues))
        band = jnp.max(jnp.where(soft | loose, jnp.abs(here.eigenvalues), here.width))

        def explore():
            def back(gradient):
                return solve(params, here, gradient, inverse)

            return probe(problem.loss, params, back, model.size(problem, params), band, directions)

        blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(explore))
        falling = False if known is None else known.falling > 0
        undecided = (inertia.negative == 0) & ((unexplained > 0) | ~clean) & ~falling
        found = jax.lax.cond(undecided, explore, lambda: blank)
    return _Curvature(
        gradient=here.gradient,
        newton=newton,
        theory=known,
        inertia=inertia,
        wide=curvature.count(counted, 10 * here.width),
        reliable=clean,
        positive=(inertia.negative == 0) & (unexplained == 0),
        descent=downhill(params, here),
        symmetries=symmetries,
        search=None,
        probe=found,
    )


def _searched(problem: Problem, params: Params, key: Array) -> _Curvature:
    """From Hessian-vector products: at least as many eigenvalues are negative, and positive, as are
    counted.
    """
    taken = curvature.krylov_steps(problem.loss, params)
    ends = params, model.add(params, taken.newton, 1.0)
    p = ravel_pytree(params)[0].size

    # A minimum is looked for where the Newton step leads, too: the bound stands if it is the same
    # there.
    def open_(state):
        i, (here, _) = state
        return (i == 0) | ((i == 1) & (here.lower > here.width))

    def look(state):
        i, (here, _) = state
        there = curvature.descent(problem.loss, model.where(i == 0, *ends), key, problem.symmetry)
        return i + 1, (model.where(i == 0, there, here), there)

    blank = jax.eval_shape(lambda: curvature.descent(problem.loss, params, key, problem.symmetry))
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), blank)
    _, (found, there) = jax.lax.while_loop(open_, look, (jnp.asarray(0), (blank, blank)))
    bounded = (found.lower > found.width) & (there.lower > there.width)
    bounded &= jnp.abs(there.lower - found.lower) <= FIRM * found.lower

    # Only directions along which the loss bends as much where the Newton step leads count.
    def bend(v):
        return model.dot(v, curvature.hvp(problem.loss, ends[1], v))

    firm = jnp.abs(jax.lax.map(bend, found.directions) - found.eigenvalues) <= FIRM * jnp.abs(
        found.eigenvalues
    )

    def at_least(width):
        negative = jnp.sum(firm & (found.eigenvalues < -width))
        positive = jnp.sum(firm & (found.eigenvalues > width))
        return Inertia(negative, p - negative - positive, positive)

    inertia = at_least(found.width)
    first = jnp.argmax(firm)  # the lowest that counts
    return _Curvature(
        gradient=taken.gradient,
        newton=taken.newton,
        theory=_known(problem, params, taken.newton),
        inertia=inertia,
        wide=at_least(10 * found.width),
        reliable=(inertia.negative > 0) | (found.eigenvalues[0] >= -found.width),
        positive=bounded,
        descent=jax.tree.map(lambda x: x[first], found.directions),
        symmetries=found.symmetries,
        search=found._replace(directions=None),
        probe=None,
    )
