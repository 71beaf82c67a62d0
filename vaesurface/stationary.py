"""Which stationary point does a run end in, of what kind is it, and how do we know?

`refine` takes a point to a stationary point nearby, `analyze` judges it, `find` does both after an
optimizer's run, and `distinct` tells points apart. All but `distinct` run under `vmap` and `jit`:
verdicts are integers until read as words.

>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.5)
>>> point = analyze(problem, problem.collapsed())
>>> point.label
'collapsed local minimum'
>>> print(*point.inertia, point.kind == Kind.MINIMUM)
0 2 7 True
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import curvature, optimize, second_order
from vaesurface.curvature import Inertia, Steps
from vaesurface.probe import Probe, kink, probe
from vaesurface.problem import Params, Problem, Theory, compiled, require_float64
from vaesurface.second_order import DENSE
from vaesurface.verdict import NEAR, SCALED, STATIONARY, Kind, Refinement, StationaryPoint

__all__ = ["Kind", "Refinement", "StationaryPoint", "analyze", "find", "refine"]

GRADIENT = 1e-10  # gradient norm `refine` aims at: some hundred roundings of an energy of order one
POLISHED = 1e-8  # Newton step at which `refine` is content before rounding stops it
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
    params = second_order.settle(problem, params)
    if problem.structure is None and ravel_pytree(params)[0].size > dense:
        second = _searched(problem, params, jax.random.key(0) if key is None else key)
    else:
        second = _counted(problem, params, directions)
    known = second.theory
    loss, grad_norm = problem.loss(params), second_order.norm(second.gradient)
    scaled_grad, newton_step = second_order.nearness(
        problem, params, second.gradient, second.newton
    )
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
    bent = kink(problem.loss, params, second_order.size(problem, params)) if known is None else None
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
    descent = second_order.where(
        (negative > 0) & ~kinked, second.descent, jax.tree.map(jnp.zeros_like, params)
    )
    if bent is not None:
        descent = second_order.where(bent.falls, bent.displacement, descent)
        bent = bent._replace(displacement=None)
    if second.probe is not None:
        descent = second_order.where(
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
            descent = second_order.where(
                (negative == 0) & (known.falling > 0), known.descent, descent
            )
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
        curvature=second_order.dot(descent, curvature.hvp(problem.loss, params, descent)),
        probe=None if second.probe is None else second.probe._replace(displacement=None),
        search=second.search,
        kink=bent,
    )


def _known(problem: Problem, params: Params, newton: Params) -> Theory | None:
    """What theory says of a point that is a Newton step away from the stationary one."""
    return (
        None
        if problem.theory is None
        else problem.theory(params, second_order.reach(problem, params, newton))
    )


def _counted(problem: Problem, params: Params, directions: int) -> _Curvature:
    """From all eigenvalues."""
    factor, solve, downhill = second_order.methods(problem)
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
        there = factor(second_order.add(params, step, 1.0))
        here = second_order.where(i == 0, there, here)
        change = jnp.abs(there.eigenvalues - here.eigenvalues)
        changes = [
            jnp.where(now, jnp.maximum(old, change), old)
            for now, old in zip((i == 1, i > 1), changes, strict=True)
        ]
        right, inverse = (
            second_order.scale(here.gradient, -1.0),
            curvature.inverses(here.eigenvalues, here.width)[0],
        )
        if problem.theory is None:  # after the Newton step some flat direction, there and back
            flattened, unravel = ravel_pytree(second_order.size(problem, params))
            irregular = unravel(
                flattened * jnp.cos(jnp.arange(flattened.size) ** 2.0 + (i - 1) // 2)
            )
            right = second_order.where(i == 0, right, irregular)
            inverse = jnp.where(i == 0, inverse, is_flat(here))
        step = solve(params, here, right, inverse)
        newton = second_order.where(i == 0, step, newton)
        if problem.theory is None:
            length = jnp.where(i % 2 == 1, NEAR, -NEAR) / second_order.reach(problem, params, step)
            step = second_order.scale(step, jnp.where(i == 0, 1.0, length))
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

            return probe(
                problem.loss, params, back, second_order.size(problem, params), band, directions
            )

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
    ends = params, second_order.add(params, taken.newton, 1.0)
    p = ravel_pytree(params)[0].size

    # A minimum is looked for where the Newton step leads, too: the bound stands if it is the same
    # there.
    def open_(state):
        i, (here, _) = state
        return (i == 0) | ((i == 1) & (here.lower > here.width))

    def look(state):
        i, (here, _) = state
        there = curvature.descent(
            problem.loss, second_order.where(i == 0, *ends), key, problem.symmetry
        )
        return i + 1, (second_order.where(i == 0, there, here), there)

    blank = jax.eval_shape(lambda: curvature.descent(problem.loss, params, key, problem.symmetry))
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), blank)
    _, (found, there) = jax.lax.while_loop(open_, look, (jnp.asarray(0), (blank, blank)))
    bounded = (found.lower > found.width) & (there.lower > there.width)
    bounded &= jnp.abs(there.lower - found.lower) <= FIRM * found.lower

    # Only directions along which the loss bends as much where the Newton step leads count.
    def bend(v):
        return second_order.dot(v, curvature.hvp(problem.loss, ends[1], v))

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


class _State(NamedTuple):
    """Of the loop in `refine`."""

    params: Params
    loss: Array
    norm: Array  # of the gradient
    second: Steps  # at params; meaningful from the first trial on
    # -1 settles the start, 0 tries the Newton step, j >= 1 the descent step halved j - 1 times
    trial: Array
    peak: Array  # highest energy met
    steps: Array
    stuck: Array  # no trial is left, or none is needed
    descended: Array  # whether a descent step has been taken


LAST_TRIAL = 40  # 2^-39 of a descent step changes nothing that float64 resolves


def refine(problem: Problem, params: Params, max_steps: int = 300) -> Refinement:
    """Take a point to a stationary point of any index nearby, or say that it did not get there.

    A start from which Newton's method contracts (every step halves the gradient norm) ends where
    that leads: a start close to a saddle in that saddle. Otherwise steps of descent (|eigenvalues|,
    backtracking over segments without a rise), which do not leave the start's basin, lead to where
    no eigenvalue is negative, and Newton's method on from there. A step that does neither is not
    taken. What has no effect on the energy is set to exactly zero.
    """
    require_float64("refinement", params)
    return compiled(_refine, problem, params, max_steps=max_steps)


def _refine(problem: Problem, params: Params, max_steps: int) -> Refinement:
    def attempt(state):
        # One trial step per turn, and one place for each evaluation: the program compiles in a
        # third of the time.
        fresh = state.trial == 0
        second = jax.lax.cond(
            fresh, lambda: second_order.steps(problem, state.params), lambda: state.second
        )
        last = state.trial == LAST_TRIAL
        newton = fresh | last
        start = state.trial < 0
        reach = second_order.reach(
            problem, state.params, second_order.where(newton, second.newton, second.descent)
        )
        there = state.norm <= GRADIENT
        done = fresh & there & (reach <= POLISHED)
        t = jnp.where(newton, 1.0, 0.5 ** (state.trial - 1.0) / jnp.maximum(1.0, reach))
        t = jnp.where(start, 0.0, t)
        step = second_order.where(newton, second.newton, second.descent)

        fractions = t * jnp.array([0.25, 0.5, 0.75, 1.0])
        heights = jax.lax.map(
            lambda f: problem.loss(second_order.add(state.params, step, f)), fractions
        )
        heights = jnp.where(jnp.isfinite(heights), heights, jnp.inf)
        moved = second_order.settle(problem, second_order.add(state.params, step, t))
        norm = second_order.norm(jax.grad(problem.loss)(moved))

        # Where the energy is down to its rounding, any Newton step that lowers the gradient is
        # progress.
        contracts = (reach <= 1.0) & (norm <= jnp.where(last, 0.99, 0.5) * state.norm)
        contracts &= ~state.descended | (second.inertia.negative == 0) | last
        slack = 4 * jnp.finfo(state.loss.dtype).eps * jnp.abs(state.loss)
        falls = heights[-1] <= state.loss + 1e-4 * t * second_order.dot(
            second.gradient, second.descent
        )
        falls &= jnp.max(heights) <= state.loss + slack
        good = start | (
            jnp.where(newton, contracts, falls) & jnp.isfinite(norm) & jnp.isfinite(heights[-1])
        )
        peak = jnp.maximum(state.peak, jnp.max(heights))
        taken = state._replace(
            params=moved, loss=heights[-1], norm=norm, peak=peak, trial=jnp.asarray(0)
        )
        taken = taken._replace(
            steps=state.steps + ~start, descended=state.descended | ~(newton | start)
        )
        refused = state._replace(second=second, trial=state.trial + 1, stuck=last | there)
        return second_order.where(
            done,
            state._replace(second=second, stuck=done),
            second_order.where(good, taken, refused),
        )

    def unfinished(state):
        return ~state.stuck & (state.steps < max_steps)

    loss = problem.loss(params)
    blank = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda: second_order.steps(problem, params)),
    )
    infinite = jnp.full_like(loss, jnp.inf)
    zero = jnp.asarray(0)
    state = _State(
        params, loss, infinite, blank, zero - 1, loss, zero, ~jnp.isfinite(loss), zero > 0
    )
    state = jax.lax.while_loop(unfinished, attempt, state)
    rise = state.peak - loss
    rise = jnp.where(rise > 1e-12 * jnp.maximum(1.0, jnp.abs(loss)), rise, 0.0)
    moved = second_order.norm(jax.tree.map(jnp.subtract, state.params, params))
    scaled_grad, newton_step = second_order.nearness(
        problem, state.params, state.second.gradient, state.second.newton
    )
    converged = (
        state.stuck & (state.norm <= GRADIENT) & (scaled_grad <= SCALED) & (newton_step <= NEAR)
    )
    return Refinement(state.params, converged, state.norm, state.steps, moved, rise)


def find(
    problem: Problem,
    key: Array,
    scale: ArrayLike = 0.1,
    optimizer: optimize.Optimizer | None = None,
    escapes: int = 0,
) -> StationaryPoint:
    """Random start, optimizer's run (Adam by default), refinement, verdict.

    escapes: how often to go on where a run has ended at a saddle: a step down along its most
    negative curvature, the optimizer again, refinement again. 0 answers for the optimizer as it is.
    Flat directions that nothing explains are not probed, and the direction of descent is not kept:
    `analyze` does both. Raises ValueError for a problem without `init`.
    """
    if problem.init is None:
        raise ValueError(
            "expected a problem with init, got one without; start from parameters with refine "
            "and analyze"
        )
    return compiled(
        _find, problem, key, scale, optimizer=optimizer or optimize.adam(), escapes=escapes
    )


def _find(
    problem: Any, key: Array, scale: ArrayLike, optimizer: optimize.Optimizer, escapes: int
) -> StationaryPoint:
    def run(start):
        refined = refine(problem, optimizer(problem.loss, start).params)
        return analyze(problem, refined.params, directions=0)._replace(
            refinement=refined._replace(params=None)
        )

    def escape(state):
        point, tries = state
        return run(downhill(problem, point.params, point.descent)), tries + 1

    point = run(problem.init(key, scale))
    if escapes:

        def on_saddle(state):
            return (state[0].kind == Kind.SADDLE) & (state[1] < escapes)

        point, _ = jax.lax.while_loop(on_saddle, escape, (point, 0))
    return point._replace(descent=None)


def downhill(problem: Problem, params: Params, direction: Params) -> Params:
    """A point below a saddle: the lowest along its direction of descent, both ways, of distances
    that halve.
    """
    distances = jnp.concatenate([s * 0.5 ** jnp.arange(20.0) for s in (1.0, -1.0)])
    values = jax.lax.map(lambda t: problem.loss(second_order.add(params, direction, t)), distances)
    return second_order.add(
        params, direction, distances[jnp.argmin(jnp.where(jnp.isfinite(values), values, jnp.inf))]
    )
