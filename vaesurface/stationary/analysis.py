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
from vaesurface.problem import (
    Params,
    Problem,
    Theory,
    adopt,
    entry,
    hessians,
    irregular,
    require_key,
)
from vaesurface.refusal import whole
from vaesurface.stationary import crossing, flat, model, ties
from vaesurface.stationary.lines import Kink
from vaesurface.stationary.model import DENSE
from vaesurface.stationary.pieces import Outcome
from vaesurface.stationary.verdict import NEAR, SCALED, STATIONARY, Kind, StationaryPoint

__all__ = ["analyze"]

# Fraction by which no eigenvalue may change over the Newton step to the stationary point. Towards a
# degenerate point they shrink: by a half where the loss is cubic, by 5/9 where it is quartic.
FIRM = 0.25
# Twice nats of KL divergence per datum above which a latent dimension carries information.
CARRIES = 1e-8
# Places where eigenvalues are taken: at the point, moved by rounding, by the Newton step, and then
AT, JITTERED, STEPPED = range(3)
MOVES = 4  # along flat directions: two of them, there and back
KNOWN = 100.0  # widths of the flat band that an eigenvalue known to be zero may be away from it
HIDDEN = 4.0  # changes by rounding that a part of the gradient may be made of
SIGNS = 4  # draws of signs for them
# Newton step, in sizes, up to which a point is stationary whatever the gradient's units make of it.
PRECISE = 1e-9
HESSIANS = 4  # that an analysis takes at least, and seldom more
OPTIMAL = 1e-9  # relative distance from the global minimum's energy at which a minimum is that


class _Curvature(NamedTuple):
    """What is known of the Hessian at a point; fields as in `StationaryPoint`, but for

    positive: whether all eigenvalues but `symmetries` are known to be positive.
    left: what flat directions leave open; None where their number is not known.
    changes: of the gradient by rounding, like params with a leading axis.
    beyond: (), sizes within which no stationary point lies, for the gradient along flat directions.
    missing: (), entries of the Hessian that are not finite.
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
    left: flat.Open | None
    changes: Params
    beyond: Array
    missing: Array


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
    problem: or a loss of one's own, as a function of params; a function made anew is compiled anew.
    directions: how many flat directions to probe, 0 for none. Raises RuntimeError without float64.
    A flat direction along which nothing is known makes a point DEGENERATE, never a minimum. So does
    a kink there, as one of the loss's operations shows or a straight line; outside of `vmap` and
    `jit` the smooth pieces that meet there are examined, where they are few.
    """
    if key is not None:
        require_key(key)
    dense, directions = whole("dense", dense, least=0), whole("directions", directions, least=0)
    judge = partial(_judged, problem, params, key, dense=dense)
    point, left = judge()
    if left is None:
        directions = 0
    if isinstance(point.kind, jax.core.Tracer):
        if not directions:
            return point
        return flat.judged(point, flat.explore(problem, point.params, left, directions=directions))
    near, own = point.ties, adopt(problem)
    found = crossing.examine(own, point)
    if found is not None and found.outcome == Outcome.SMOOTH:
        falls = point.kink is not None and bool(point.kink.falls)
        smooth = judge(smooth=True)
        if falls and smooth[0].kind == Kind.MINIMUM:
            # A fall that was measured on a line overrules what sides say.
            found = found._replace(outcome=Outcome.UNDECIDED)
        else:
            point, left = smooth
    kinked = point.kink is not None and point.kink.found
    if directions and point.kind == Kind.DEGENERATE and left.undecided and not kinked:
        explored = flat.explore(own, point.params, left, directions=directions)
        tied = near is not None and bool(ties.at_tie(near))
        point = flat.settle(own, point, left, explored, tied)
    point = point if found is None else crossing.settle(own, point, found, near)
    return _at_the_bottom(own, point)


@entry("analysis", static=("dense", "smooth"), size=hessians(HESSIANS))
def _judged(
    problem: Problem, params: Params, key: Array | None, dense: int, smooth: bool = False
) -> tuple[StationaryPoint, flat.Open | None]:
    """The verdict but for what lies along flat directions, and what these leave open."""
    params = problem.settle(params)
    key = jax.random.key(0) if key is None else key
    require_key(key)
    if problem.structure is None and ravel_pytree(params)[0].size > dense:
        second = _searched(problem, params, key)
    else:
        second = _counted(problem, params)
    # The exact energies that come with a theory are smooth.
    smooth |= second.theory is not None
    seen = None if smooth else crossing.look(problem, params, second.newton)
    bent = None if seen is None else seen.kink._replace(found=seen.doubtful)
    loss, grad_norm = problem.loss(params), optax.tree.norm(second.gradient)
    scaled_grad, newton_step = model.nearness(problem, params, second.gradient, second.newton)
    small = (grad_norm <= STATIONARY) & (scaled_grad <= SCALED)
    if second.search is None:  # there `beyond` watches over flat directions
        rounded = _is_small(problem, params, second) | (newton_step <= PRECISE)
        # Rounding leaves no slope that would change the loss by all that it is within one size.
        small |= rounded & (scaled_grad <= jnp.maximum(1.0, jnp.abs(loss)))
    missing_gradient = jnp.sum(~jnp.isfinite(ravel_pytree(second.gradient)[0]))
    broken = (missing_gradient > 0) | (small & (second.missing > 0))
    near = (newton_step <= NEAR) & (second.beyond < NEAR)
    stationary = ((small & near) | broken) & jnp.isfinite(loss)
    if second.theory is not None:
        stationary &= ~second.theory.runaway
    kind = _kind(second, bent, stationary)
    kind = jnp.where(stationary & broken, Kind.DEGENERATE, kind)
    descent = _descent(second, bent)
    information = problem.information(params)
    point = StationaryPoint(
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
        probe=None,
        search=second.search,
        kink=None if seen is None else seen.kink._replace(displacement=None),
        ties=None if seen is None else seen.ties,
        rounding=optax.tree.norm(model.largest(second.changes)),
        beyond=second.beyond,
        missing_gradient=missing_gradient,
        missing_hessian=second.missing,
        size=jnp.asarray(ravel_pytree(params)[0].size),
    )
    return point, second.left


def _is_small(problem: Problem, params: Params, second: _Curvature) -> Array:
    """Whether the gradient is zero but for its rounding."""
    left = model.beyond_rounding(second.gradient, second.changes)
    scaled, _ = model.nearness(problem, params, left, second.newton)
    return (optax.tree.norm(left) <= STATIONARY) & (scaled <= SCALED)


def _kinked(bent: Kink | None) -> Array:
    return jnp.asarray(False) if bent is None else bent.found


def _falling(second: _Curvature) -> Array:
    """Whether theory knows of a descent where no eigenvalue is negative."""
    if second.theory is None:
        return jnp.asarray(False)
    return (second.inertia.negative == 0) & (second.theory.falling > 0)


def _kind(second: _Curvature, bent: Kink | None, stationary: Array) -> Array:
    """From the count, and what theory knows of flat directions."""
    negative, flat, positive = second.inertia
    kind = jnp.where(second.positive, Kind.MINIMUM, Kind.DEGENERATE)
    descending = jnp.where(positive + flat == 0, Kind.MAXIMUM, Kind.SADDLE)
    kind = jnp.where(negative > 0, descending, kind)
    kind = jnp.where(second.reliable & ~_kinked(bent), kind, Kind.DEGENERATE)
    lower = _falling(second) & ~_kinked(bent)
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
    if second.theory is not None and second.theory.descent is not None:
        descent = optax.tree.where(_falling(second), second.theory.descent, descent)
    return descent


def _optimal(known: Theory | None, kind: Array, loss: Array) -> Array:
    """Whether a minimum has the energy of the global one."""
    if known is None:
        return jnp.asarray(False)
    near = jnp.abs(loss - known.minimum) <= OPTIMAL * jnp.maximum(1.0, jnp.abs(known.minimum))
    return (kind == Kind.MINIMUM) & jnp.isfinite(known.minimum) & near


def _at_the_bottom(problem: Problem, point: StationaryPoint) -> StationaryPoint:
    """Where nothing is lower by what theory knows, flat directions need no explanation."""
    open_question = point.kind == Kind.DEGENERATE and point.inertia.negative == 0
    if point.theory is None or not open_question or not jnp.isfinite(point.theory.minimum):
        return point
    gap = jnp.abs(point.loss - point.theory.minimum)
    if not gap <= problem.rounding(point.params):
        return point
    kind = jnp.full_like(point.kind, Kind.MINIMUM)
    return point._replace(kind=kind, optimal=jnp.full_like(point.optimal, True))


def _theory(problem: Problem, params: Params, newton: Params) -> Theory | None:
    """What theory says of a point that is a Newton step away from the stationary one."""
    return problem.theory(params, model.reach(problem, params, newton))


class _Change(NamedTuple):
    """The eigenvalues at a point, and by how much they change nearby.

    here: factors at the point.
    flat: which eigenvalues count as flat.
    newton: the step to the stationary point.
    by_newton: the largest change of each eigenvalue over that step.
    by_flat: over moves along flat directions.
    """

    here: Any
    flat: Array
    newton: Params
    by_newton: Array
    by_flat: Array


class _Look(NamedTuple):
    """Of the loop over the places where eigenvalues are taken.

    phase: (), of `JITTERED` and so on: where step leads.
    plain: (), whether eigenvalues are taken in the parameters' own units, for what stands out in
        balanced ones alone did not stand the Newton step.
    here: factors at the point.
    step: from the point, like params.
    newton: the Newton step, once it is known.
    by_jitter, by_newton, by_flat: changes of the eigenvalues so far.
    expected: (), how many directions are known to be flat.
    """

    phase: Array
    plain: Array
    expected: Array
    here: Any
    step: Params
    newton: Params
    by_jitter: Array
    by_newton: Array
    by_flat: Array

    @property
    def flat(self) -> Array:
        """In the band, or faint and changed by rounding alone: such an eigenvalue is rounding. So
        are the smallest, as many as are expected, if they are near the band.
        """
        size = jnp.abs(self.here.eigenvalues)
        noise = self.here.faint & (self.by_jitter > FIRM * size)
        rank = jnp.argsort(jnp.argsort(size))
        known = (rank < self.expected) & (size <= KNOWN * self.here.width)
        return (size <= self.here.width) | noise | known

    @property
    def fails(self) -> Array:
        """Whether balanced units show what the distance to the point makes, as of x^4."""
        soft = ~self.flat & (self.by_newton > FIRM * jnp.abs(self.here.eigenvalues))
        return (self.phase == STEPPED) & ~self.plain & jnp.any(self.here.faint) & jnp.any(soft)


def _change(problem: Problem, params: Params, expected: Array) -> _Change:
    """Here, and where the Newton step leads: the count stands if eigenvalues are the same there.

    That step leaves flat directions out; beside more of them than are expected (), negative
    eigenvalues must stand moves along those as well. Eigenvalues that are beyond the flat band in
    balanced units only must stand a move by rounding.
    """
    methods = model.methods(problem)
    balanced, solve = methods.balanced, methods.solve
    informed = problem.has("theory")
    jitter = ravel_pytree(params)[1](model.jitters(problem, params)[0])

    def unfinished(state: _Look) -> Array:
        if informed:
            return state.phase <= STEPPED
        beside = jnp.sum(state.flat) > expected
        beside &= jnp.any(state.here.eigenvalues < -state.here.width)
        return (state.phase <= STEPPED) | (beside & (state.phase <= STEPPED + MOVES))

    def look(state: _Look) -> _Look:
        there = balanced(optax.tree.add(params, state.step), state.here.scale)
        here = optax.tree.where(state.phase == AT, there, state.here)
        state = _compared(state._replace(here=here), jnp.abs(there.eigenvalues - here.eigenvalues))
        fails = state.fails & (model.reach(problem, params, state.newton) <= NEAR)
        shaken = (state.phase == AT) & ~state.plain & jnp.any(here.faint)
        phase = jnp.where(state.phase == AT, jnp.where(shaken, JITTERED, STEPPED), state.phase + 1)
        right = optax.tree.scale(-1.0, here.gradient)
        inverse = jnp.where(state.flat, 0.0, curvature.inverses(here.eigenvalues, here.width)[0])
        if not informed:  # after the Newton step some flat direction, there and back
            sizes, unravel = ravel_pytree(problem.size(params))
            order = jnp.cos(jnp.arange(sizes.size) ** 2.0 + (phase - STEPPED) // 2)
            right = optax.tree.where(phase <= STEPPED, right, unravel(sizes * order))
            inverse = jnp.where(phase <= STEPPED, inverse, state.flat)
        step = solve(params, here, right, inverse)
        newton = optax.tree.where(phase == STEPPED, step, state.newton)
        if not informed:
            sign = jnp.where((phase - STEPPED) % 2 == 1, NEAR, -NEAR)
            length = sign / model.reach(problem, params, step)
            step = optax.tree.scale(jnp.where(phase <= STEPPED, 1.0, length), step)
        step = optax.tree.where(phase == JITTERED, jitter, step)
        again = start._replace(plain=fails, here=here._replace(scale=own))
        return optax.tree.where(fails, again, state._replace(phase=phase, step=step, newton=newton))

    here = model.blank(balanced, params)
    zero, unchanged = optax.tree.zeros_like(params), jnp.zeros_like(here.eigenvalues)
    own = jax.tree.map(jnp.ones_like, here.scale)
    # Of a loss that nothing is known of, balanced units raise what rounding leaves beside a null
    # space, as that of a network's dead units, to eigenvalues that seem to stand: there the units
    # are the parameters' sizes.
    if not informed and problem.structure is None:
        own = ravel_pytree(problem.size(params))[0]
    start = _Look(
        phase=jnp.asarray(AT),
        plain=jnp.asarray(not informed),
        expected=jnp.asarray(expected),
        here=here if informed else here._replace(scale=own),
        step=zero,
        newton=zero,
        by_jitter=unchanged,
        by_newton=unchanged,
        by_flat=unchanged,
    )
    end = jax.lax.while_loop(unfinished, look, start)
    return _Change(
        here=end.here,
        flat=end.flat,
        newton=end.newton,
        by_newton=end.by_newton,
        by_flat=end.by_flat,
    )


def _compared(state: _Look, change: Array) -> _Look:
    """With the eigenvalues' changes at one more place."""
    phase = state.phase
    return state._replace(
        by_jitter=jnp.where(phase == JITTERED, change, state.by_jitter),
        by_newton=jnp.where(phase == STEPPED, change, state.by_newton),
        by_flat=jnp.where(phase > STEPPED, jnp.maximum(state.by_flat, change), state.by_flat),
    )


class _Solved(NamedTuple):
    """What the Hessian's inverses say.

    descent: a direction of length one along the lowest eigenvalue.
    beyond: (), sizes within which no stationary point lies.
    """

    descent: Params
    beyond: Array


def _solved(problem: Problem, params: Params, change: _Change, changes: Params) -> _Solved:
    """The direction of the lowest eigenvalue, and how far away a stationary point must be: where
    the gradient has parts c along flat directions, whose curvature is at most the band's width w,
    it is at least c / w away.

    Zero where c is no larger than its rounding makes it: measured with random signs. `NEAR` where
    no stationary point is that near by the curvature along c itself (`_is_steady`). All are
    solutions with one matrix, in one loop, since a solution takes long to compile.
    """
    here, methods = change.here, model.methods(problem)
    width = jnp.maximum(here.width, jnp.finfo(here.width.dtype).tiny)
    flat = jnp.where(change.flat, 1.0 / jnp.where(change.flat, width, 1.0), 0.0)
    gradient, unravel = ravel_pytree(here.gradient)
    noise = ravel_pytree(model.largest(changes))[0]
    right, lowest = methods.lowest(params, here)
    signed = noise[None] * jnp.sign(irregular(SIGNS, noise.size))
    rights = jnp.concatenate([ravel_pytree(right)[0][None], gradient[None], signed])

    def solution(i: Array, state: tuple[Params, Array]) -> tuple[Params, Array]:
        direction, distances = state
        inverse = jnp.where(i == 0, lowest, flat)
        step = methods.solve(params, here, unravel(rights[i]), inverse)
        distances = distances.at[i].set(model.reach(problem, params, step))
        return optax.tree.where(i == 0, step, direction), distances

    some = jnp.any(change.flat) & jnp.any(gradient != 0)
    blank = optax.tree.zeros_like(params), jnp.zeros(len(rights))
    count = jnp.where(some, len(rights), 1)
    direction, distances = jax.lax.fori_loop(0, count, solution, blank)
    rounding = HIDDEN * jnp.max(distances[2:])
    beyond = jnp.where(distances[1] > rounding, distances[1] - rounding, 0.0)
    # Of the exact energies and the structured ones no case is known that this would decide.
    if problem.structure is None and not problem.has("theory"):
        look = partial(_is_steady, problem, params, change, beyond / distances[1])
        steady = jax.lax.cond(beyond > 0, look, lambda: jnp.asarray(False))
        beyond = jnp.where(steady, jnp.maximum(beyond, NEAR), beyond)
    return _Solved(descent=curvature.unit(direction), beyond=beyond)


def _is_steady(problem: Problem, params: Params, change: _Change, certain: Array) -> Array:
    """Whether no move by `NEAR` sizes along flat directions makes the gradient zero there.

    In units of the sizes D, with P the projection on flat directions, c = P D g and s = D c, a move
    D u with |u_i| <= NEAR changes c' P D (gradient) by at most NEAR |P D H s|_1. That is compared
    with c' c, of which the share `certain` is no rounding, by the largest H of some places around.
    """
    solve, flat = model.methods(problem).solve, change.flat.astype(change.here.eigenvalues.dtype)
    step = solve(params, change.here, change.here.gradient, flat)
    square = optax.tree.vdot(change.here.gradient, step)
    length = NEAR / model.reach(problem, params, step)
    moves = jnp.outer(jnp.array([0.0, length, -length]), ravel_pytree(step)[0])
    moves = jnp.concatenate([moves, model.jitters(problem, params)])
    x, unravel = ravel_pytree(params)

    def bend(move: Array) -> Array:
        product = curvature.hvp(problem.loss, unravel(x + move), step)
        along = solve(params, change.here, product, flat)
        relative = jax.tree.map(lambda a, size: jnp.abs(a) / size, along, problem.size(params))
        return optax.tree.sum(relative)

    return certain * square > NEAR * jnp.max(jax.lax.map(bend, moves))


def _counted(problem: Problem, params: Params) -> _Curvature:
    """From all eigenvalues."""
    symmetries = curvature.symmetries(problem.symmetry, params)
    expected = symmetries + problem.family(params)
    change = _change(problem, params, expected)
    here, band = change.here, change.flat
    changes = model.gradient_changes(problem, params)
    solved = _solved(problem, params, change, changes)
    known = _theory(problem, params, change.newton)
    explained = expected if known is None else expected + known.strict
    slack = FIRM * jnp.abs(here.eigenvalues)
    soft = ~band & (change.by_newton > slack)
    # Those that depend on where along flat directions the point lies count as flat themselves, and
    # so do those that the distance to the stationary point might make.
    loose = (here.eigenvalues < -here.width) & ~band & ~soft & (change.by_flat > slack)
    counted = jnp.where(loose | soft | band, 0.0, here.eigenvalues)
    inertia = curvature.count(counted, here.width)
    formed, cornered = _corner(known)
    inertia = optax.tree.where(formed, inertia if known is None else _of_form(known), inertia)
    unexplained = jnp.maximum(inertia.flat - explained, 0)
    # Where all flat directions are explained, it does not matter how small they might be.
    sharp = here.reliable | (here.separated & (unexplained == 0))
    # Beside a negative eigenvalue that stands, those that do not leave a bound of the index.
    clean = sharp & ~(jnp.any(soft | loose) & (inertia.negative == 0))
    clean = (clean & (here.missing == 0) & ~cornered) | formed
    falling = jnp.asarray(False) if known is None else known.falling > 0
    undecided = (inertia.negative == 0) & ((unexplained > 0) | ~clean) & ~falling
    return _Curvature(
        gradient=here.gradient,
        newton=change.newton,
        theory=known,
        inertia=inertia,
        wide=optax.tree.where(formed, inertia, curvature.count(counted, 10 * here.width)),
        reliable=clean,
        positive=(inertia.negative == 0) & (unexplained == 0),
        descent=solved.descent if known is None else _downhill(known, formed, solved.descent),
        symmetries=symmetries,
        search=None,
        left=flat.left_open(problem, params, here, band, soft | loose, undecided),
        changes=changes,
        beyond=solved.beyond,
        missing=here.missing,
    )


def _corner(known: Theory | None) -> tuple[Array, Array]:
    """Whether the leading form of a corner decides, and whether nothing does at one."""
    if known is None:
        return jnp.asarray(False), jnp.asarray(False)
    formed = False if known.form is None else known.form[0] >= 0
    return jnp.asarray(formed), jnp.asarray(known.corner)


def _of_form(known: Theory) -> Inertia:
    """The directions that the leading form counts; zeros where there is none."""
    counts = jnp.zeros(3, int) if known.form is None else known.form
    return Inertia(negative=counts[0], flat=counts[1], positive=counts[2])


def _downhill(known: Theory, formed: Array, descent: Params) -> Params:
    """The displacement down the leading form, where that decides."""
    return descent if known.descent is None else optax.tree.where(formed, known.descent, descent)


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
        left=None,
        changes=model.gradient_changes(problem, params),
        beyond=jnp.zeros(()),
        missing=jnp.asarray(0),
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

    blank = model.blank(search, params)
    _, here, last = jax.lax.while_loop(unfinished, look, (jnp.asarray(0), blank, blank))
    bounded = (here.lower > here.width) & (last.lower > last.width)
    return here, bounded & (jnp.abs(last.lower - here.lower) <= FIRM * here.lower)
