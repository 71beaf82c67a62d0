"""Of what kind is a point, and how do we know?

>>> point = analyze(Problem(loss=lambda w: w[0] ** 2 - w[1] ** 2), jnp.zeros(2))
>>> print(point.label, *point.inertia)
saddle of index 1 1 0 1
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface import curvature
from vaesurface.curvature import Inertia
from vaesurface.problem import Params, Problem, Theory, adopt, entry, require_key
from vaesurface.stationary import crossing, model
from vaesurface.stationary.lines import Kink
from vaesurface.stationary.model import DENSE
from vaesurface.stationary.pieces import Outcome
from vaesurface.stationary.probe import Probe, probe
from vaesurface.stationary.verdict import NEAR, SCALED, STATIONARY, Kind, StationaryPoint

__all__ = ["analyze"]

# Fraction by which no eigenvalue may change over the Newton step to the stationary point. Towards a
# degenerate point they shrink: by a half where the loss is cubic, by 5/9 where it is quartic.
FIRM = 0.25
# Twice nats of KL divergence per datum above which a latent dimension carries information.
CARRIES = 1e-8
MOVES = 4  # along flat directions: two of them, there and back
OPTIMAL = 1e-9  # relative distance from the global minimum's energy at which a minimum is that


class _Curvature(NamedTuple):
    """What is known of the Hessian at a point; fields as in `StationaryPoint`, but for

    positive: whether all eigenvalues but `symmetries` are known to be positive.
    """

    gradient: Params
    newton: Params
    theory: Theory | None
    inertia: Inertia
    wide: Inertia
    reliable: Array
    positive: Array
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
    A flat direction along which nothing is known makes a point DEGENERATE, never a minimum. So does
    a kink there, as one of the loss's operations shows or a straight line; outside of `vmap` and
    `jit` the smooth pieces that meet there are examined, where they are few.
    """
    judge = partial(_judged, problem, params, key, dense=dense)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(params)):
        return judge(directions=directions)
    # The search along flat directions takes as long to compile as all else, and few points need it.
    point = judge(directions=0)
    directions = 0 if point.search is not None else directions
    if isinstance(point.kind, jax.core.Tracer):
        return judge(directions=directions) if directions else point
    near, own = point.ties, adopt(problem)
    found = crossing.examine(own, point)
    if found is not None and found.outcome == Outcome.SMOOTH:
        judge = partial(judge, smooth=True)
        point = judge(directions=0)
    kinked = point.kink is not None and point.kink.found
    if directions and point.kind == Kind.DEGENERATE and not kinked:
        point = judge(directions=directions)
    return point if found is None else crossing.settle(point, found, near)


@entry("analysis", static=("dense", "directions", "smooth"))
def _judged(
    problem: Problem,
    params: Params,
    key: Array | None,
    dense: int,
    directions: int,
    smooth: bool = False,
) -> StationaryPoint:
    params = problem.settle(params)
    key = jax.random.key(0) if key is None else key
    require_key(key)
    if problem.structure is None and ravel_pytree(params)[0].size > dense:
        second = _searched(problem, params, key)
    else:
        second = _counted(problem, params, directions)
    # The exact energies that come with a theory are smooth.
    smooth |= second.theory is not None
    seen = None if smooth else crossing.look(problem, params, second.newton)
    bent = None if seen is None else seen.kink._replace(found=seen.doubtful)
    loss, grad_norm = problem.loss(params), optax.tree.norm(second.gradient)
    scaled_grad, newton_step = model.nearness(problem, params, second.gradient, second.newton)
    stationary = (grad_norm <= STATIONARY) & (scaled_grad <= SCALED)
    stationary &= (newton_step <= NEAR) & jnp.isfinite(loss)
    if second.theory is not None:
        stationary &= ~second.theory.runaway
    kind = _kind(second, bent, stationary)
    descent = _descent(second, bent)
    information = problem.information(params)
    return StationaryPoint(
        params=params,
        loss=loss,
        grad_norm=grad_norm,
        scaled_grad=scaled_grad,
        newton_step=newton_step,
        inertia=second.inertia,
        wide=second.wide,
        kind=kind,
        active=None if information is None else information > CARRIES,
        theory=None if second.theory is None else second.theory._replace(descent=None),
        symmetries=second.symmetries,
        reliable=second.reliable & ~_kinked(None if seen is None else seen.kink),
        optimal=_optimal(second.theory, kind, loss),
        descent=descent,
        curvature=optax.tree.vdot(descent, curvature.hvp(problem.loss, params, descent)),
        probe=None if second.probe is None else second.probe._replace(displacement=None),
        search=second.search,
        kink=None if seen is None else seen.kink._replace(displacement=None),
        ties=None if seen is None else seen.ties,
    )


def _kinked(bent: Kink | None) -> Array:
    return jnp.asarray(False) if bent is None else bent.found


def _lower_along_flat(second: _Curvature) -> Array:
    """Whether theory or the probe knows of a descent where no eigenvalue is negative."""
    lower = jnp.asarray(False)
    if second.theory is not None:
        lower |= second.theory.falling > 0
    if second.probe is not None:
        lower |= second.probe.falls
    return (second.inertia.negative == 0) & lower


def _kind(second: _Curvature, bent: Kink | None, stationary: Array) -> Array:
    """From the count, what explains flat directions, and what was found along them."""
    negative, flat, positive = second.inertia
    kind = jnp.where(second.positive, Kind.MINIMUM, Kind.DEGENERATE)
    descending = jnp.where(positive + flat == 0, Kind.MAXIMUM, Kind.SADDLE)
    kind = jnp.where(negative > 0, descending, kind)
    kind = jnp.where(second.reliable & ~_kinked(bent), kind, Kind.DEGENERATE)
    lower = _lower_along_flat(second) & ~_kinked(bent)
    if bent is not None:
        lower |= bent.falls
    kind = jnp.where(lower, Kind.SADDLE, kind)
    return jnp.where(stationary, kind, Kind.NOT_STATIONARY)


def _descent(second: _Curvature, bent: Kink | None) -> Params:
    """A direction of negative curvature, or the displacement to a lower place; zero for none."""
    counted, smooth = second.inertia.negative > 0, ~_kinked(bent)
    none = optax.tree.zeros_like(second.descent)
    descent = optax.tree.where(counted & smooth, second.descent, none)
    if bent is not None:
        descent = optax.tree.where(bent.falls, bent.displacement, descent)
    if second.probe is not None:
        falls = ~counted & second.probe.falls & smooth
        descent = optax.tree.where(falls, second.probe.displacement, descent)
    if second.theory is not None and second.theory.descent is not None:
        falls = ~counted & (second.theory.falling > 0)
        descent = optax.tree.where(falls, second.theory.descent, descent)
    return descent


def _optimal(known: Theory | None, kind: Array, loss: Array) -> Array:
    """Whether a minimum has the energy of the global one."""
    if known is None:
        return jnp.asarray(False)
    near = jnp.abs(loss - known.minimum) <= OPTIMAL * jnp.maximum(1.0, jnp.abs(known.minimum))
    return (kind == Kind.MINIMUM) & jnp.isfinite(known.minimum) & near


def _theory(problem: Problem, params: Params, newton: Params) -> Theory | None:
    """What theory says of a point that is a Newton step away from the stationary one."""
    return problem.theory(params, model.reach(problem, params, newton))


def _blank(function: Any, *args: Any) -> Any:
    """Zeros of the shapes that a function would return."""
    shapes = jax.eval_shape(function, *args)
    return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)


class _Change(NamedTuple):
    """The eigenvalues at a point, and by how much they change nearby.

    here: factors at the point; newton: the step to the stationary point; by_newton, by_flat: the
    largest change of each eigenvalue over that step, and over moves along flat directions.
    """

    here: Any
    newton: Params
    by_newton: Array
    by_flat: Array


def _is_flat(factors: Any) -> Array:
    return jnp.abs(factors.eigenvalues) <= factors.width


def _change(problem: Problem, params: Params, symmetries: Array) -> _Change:
    """Here, and where the Newton step leads: the count stands if eigenvalues are the same there.

    That step leaves flat directions out; beside some that nothing explains, negative eigenvalues
    must stand moves along those as well.
    """
    factor, solve, _ = model.methods(problem)
    informed = problem.has("theory")

    def unfinished(state: tuple) -> Array:
        i, here, *_ = state
        if informed:
            return i < 2
        beside = jnp.sum(_is_flat(here)) > symmetries
        beside &= jnp.any(here.eigenvalues < -here.width)
        return (i < 2) | (beside & (i < 2 + MOVES))

    def look(state: tuple) -> tuple:
        i, here, newton, step, by_newton, by_flat = state
        there = factor(optax.tree.add(params, step))
        here = optax.tree.where(i == 0, there, here)
        change = jnp.abs(there.eigenvalues - here.eigenvalues)
        by_newton = jnp.where(i == 1, jnp.maximum(by_newton, change), by_newton)
        by_flat = jnp.where(i > 1, jnp.maximum(by_flat, change), by_flat)
        right = optax.tree.scale(-1.0, here.gradient)
        inverse = curvature.inverses(here.eigenvalues, here.width)[0]
        if not informed:  # after the Newton step some flat direction, there and back
            sizes, unravel = ravel_pytree(problem.size(params))
            order = jnp.cos(jnp.arange(sizes.size) ** 2.0 + (i - 1) // 2)
            right = optax.tree.where(i == 0, right, unravel(sizes * order))
            inverse = jnp.where(i == 0, inverse, _is_flat(here))
        step = solve(params, here, right, inverse)
        newton = optax.tree.where(i == 0, step, newton)
        if not informed:
            length = jnp.where(i % 2 == 1, NEAR, -NEAR) / model.reach(problem, params, step)
            step = optax.tree.scale(jnp.where(i == 0, 1.0, length), step)
        return i + 1, here, newton, step, by_newton, by_flat

    here = _blank(factor, params)
    zero, unchanged = optax.tree.zeros_like(params), jnp.zeros_like(here.eigenvalues)
    start = (jnp.asarray(0), here, zero, zero, unchanged, unchanged)
    _, here, newton, _, by_newton, by_flat = jax.lax.while_loop(unfinished, look, start)
    return _Change(here=here, newton=newton, by_newton=by_newton, by_flat=by_flat)


def _counted(problem: Problem, params: Params, directions: int) -> _Curvature:
    """From all eigenvalues."""
    symmetries = curvature.symmetries(problem.symmetry, params)
    here, newton, by_newton, by_flat = _change(problem, params, symmetries)
    known = _theory(problem, params, newton)
    explained = symmetries if known is None else symmetries + known.strict
    flat, slack = _is_flat(here), FIRM * jnp.abs(here.eigenvalues)
    soft = ~flat & (by_newton > slack)
    # Those that depend on where along flat directions the point lies count as flat themselves.
    loose = (here.eigenvalues < -here.width) & ~soft & (by_flat > slack)
    counted = jnp.where(loose, 0.0, here.eigenvalues)
    inertia = curvature.count(counted, here.width)
    unexplained = jnp.maximum(inertia.flat - explained, 0)
    clean = here.reliable & ~jnp.any(soft) & ~(jnp.any(loose) & (inertia.negative == 0))
    probed = None
    if directions:
        falling = False if known is None else known.falling > 0
        undecided = (inertia.negative == 0) & ((unexplained > 0) | ~clean) & ~falling
        probed = _probed(problem, params, here, soft | loose, undecided, directions)
    return _Curvature(
        gradient=here.gradient,
        newton=newton,
        theory=known,
        inertia=inertia,
        wide=curvature.count(counted, 10 * here.width),
        reliable=clean,
        positive=(inertia.negative == 0) & (unexplained == 0),
        descent=model.methods(problem).downhill(params, here),
        symmetries=symmetries,
        search=None,
        probe=probed,
    )


def _probed(
    problem: Problem,
    params: Params,
    factors: Any,
    doubtful: Array,
    undecided: Array,
    directions: int,
) -> Probe:
    """What lies along flat directions and those of doubtful eigenvalues, where that is
    undecided.
    """
    values, out = factors.eigenvalues, _is_flat(factors) | doubtful
    inverse = jnp.where(out, 0.0, 1.0 / jnp.where(out, 1.0, values))
    band = jnp.max(jnp.where(doubtful, jnp.abs(values), factors.width))
    solve = model.methods(problem).solve

    def explore() -> Probe:
        def back(gradient: Params) -> Params:
            return solve(params, factors, gradient, inverse)

        firm, size = ~jnp.any(doubtful), problem.size(params)
        return probe(problem.loss, params, back, size, band, directions, firm)

    blank = _blank(explore)
    return jax.lax.cond(undecided, explore, lambda: blank)


def _searched(problem: Problem, params: Params, key: Array) -> _Curvature:
    """From Hessian-vector products: at least as many eigenvalues are negative, and positive, as are
    counted.
    """
    taken = curvature.krylov_steps(problem.loss, params)
    there = optax.tree.add(params, taken.newton)
    lowest, bounded = _lowest(problem, params, there, key)

    def bend(v: Params) -> Array:
        return optax.tree.vdot(v, curvature.hvp(problem.loss, there, v))

    # Only directions along which the loss bends as much where the Newton step leads count.
    bends, values = jax.lax.map(bend, lowest.directions), lowest.eigenvalues
    firm = jnp.abs(bends - values) <= FIRM * jnp.abs(values)
    size = ravel_pytree(params)[0].size

    def at_least(width: Array) -> Inertia:
        negative, positive = jnp.sum(firm & (values < -width)), jnp.sum(firm & (values > width))
        return Inertia(negative=negative, flat=size - negative - positive, positive=positive)

    inertia = at_least(lowest.width)
    return _Curvature(
        gradient=taken.gradient,
        newton=taken.newton,
        theory=_theory(problem, params, taken.newton),
        inertia=inertia,
        wide=at_least(10 * lowest.width),
        reliable=(inertia.negative > 0) | (values[0] >= -lowest.width),
        positive=bounded,
        descent=model.at(lowest.directions, jnp.argmax(firm)),  # the lowest that counts
        symmetries=lowest.symmetries,
        search=lowest._replace(directions=None),
        probe=None,
    )


def _lowest(
    problem: Problem, params: Params, there: Params, key: Array
) -> tuple[curvature.Descent, Array]:
    """The lowest curvature at params, and whether all of it is known to be positive.

    A minimum is looked for where the Newton step leads, too: the bound stands if it is the same
    there.
    """

    def search(place: Params) -> curvature.Descent:
        return curvature.descent(problem.loss, place, key, problem.symmetry)

    def unfinished(state: tuple) -> Array:
        i, here, _ = state
        return (i == 0) | ((i == 1) & (here.lower > here.width))

    def look(state: tuple) -> tuple:
        i, here, _ = state
        new = search(optax.tree.where(i == 0, params, there))
        return i + 1, optax.tree.where(i == 0, new, here), new

    blank = _blank(search, params)
    _, here, last = jax.lax.while_loop(unfinished, look, (jnp.asarray(0), blank, blank))
    bounded = (here.lower > here.width) & (last.lower > last.width)
    return here, bounded & (jnp.abs(last.lower - here.lower) <= FIRM * here.lower)
