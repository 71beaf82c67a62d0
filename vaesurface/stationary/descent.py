"""Which stationary point is nearby, and where does descent from a point lead?

`refine` is Newton's method where it contracts, to a stationary point of any index, and descent
where it does not. `descend` never rises: it goes on from saddles, and from rows of a weight at zero
that fall, until float64 resolves no descent. Both are one loop; every way down in this package is.

>>> import jax.numpy as jnp
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + w[1] ** 2)
>>> print(refine(wells, jnp.array([0.01, 0.1])).params.round(9))
[0. 0.]
>>> print(descend(wells, jnp.zeros(2)).params.round(9))
[1. 0.]
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike

from vaesurface import curvature
from vaesurface.curvature import Steps
from vaesurface.problem import Params, Problem, adopt, entry, hessians
from vaesurface.stationary import model
from vaesurface.stationary.verdict import NEAR, SCALED, Outcome, Refinement

__all__ = ["GRADIENT", "LEAP", "POLISHED", "below", "descend", "off_rows", "refine"]

GRADIENT = 1e-10  # gradient norm aimed at: some hundred roundings of an energy of order one
POLISHED = 1e-8  # Newton step that is short enough before rounding stops it
CONTRACTED = 0.5  # of a gradient's norm: what a Newton step has to bring it down to
ARMIJO = 1e-4  # of the fall that the slope promises: what a step has to achieve
LAST_TRIAL = 40  # 2^-39 of a descent step changes nothing that float64 resolves
WAY = (0.25, 0.5, 0.75, 1.0)  # parts of a step at which nothing may rise
LEAP = 0.1  # step beside a saddle, in the parameters' sizes, before it is halved
TRUSTED = 0.25  # misfit of the quadratic model up to which the next step may be twice as long
HESSIANS = 50  # that a way from an optimizer's end takes
HALVINGS = 20  # of a distance along a direction of descent, each way


class _Rules(NamedTuple):
    """What a way down may do.

    saddles: how many saddles, or falling rows, it may go on from; None: Newton's method may end in
        saddles.
    radius: (), longest step in the parameters' sizes, at first.
    steady: whether that is the longest step throughout; else it follows the quadratic model.
    level: (), an energy below which the way ends.
    """

    saddles: Array | None
    radius: Array
    steady: bool
    level: Array


class _State(NamedTuple):
    """Of the loop."""

    params: Params
    loss: Array
    norm: Array  # of the gradient
    second: Steps  # at params; meaningful from the first trial on
    trial: Array  # -1 settles the start, 0 tries Newton's step, j >= 1 descent halved j - 1 times
    radius: Array
    peak: Array  # highest energy met
    steps: Array
    descended: Array  # whether a descent step has been taken
    left: Array  # saddles gone on from
    outcome: Array  # an `Outcome`


@entry("refinement", static=("max_steps",), size=hessians(HESSIANS))
def refine(problem: Problem, params: Params, max_steps: int = 300) -> Refinement:
    """Take a point to a stationary point of any index nearby, or say that it did not get there.

    A start from which Newton's method contracts (every step halves the gradient norm) ends where
    that leads: a start close to a saddle in that saddle. Otherwise steps of descent (|eigenvalues|,
    backtracking over segments without a rise), which do not leave the start's basin, lead to where
    no eigenvalue is negative, and Newton's method on from there. A step that does neither is not
    taken. What has no effect on the energy is set to exactly zero.
    """
    rules = _Rules(saddles=None, radius=jnp.asarray(1.0), steady=True, level=jnp.asarray(-jnp.inf))
    return _walk(problem, params, rules, jnp.asarray(max_steps))


def descend(
    problem: Problem,
    params: Params,
    radius: ArrayLike = LEAP,
    max_steps: ArrayLike = 1000,
    saddles: ArrayLike = 1000,
    level: ArrayLike = -jnp.inf,
    steady: bool = False,
) -> Refinement:
    """Go down from a point, never rising, until float64 resolves no descent.

    In steps with |eigenvalues|, at first no longer than radius in the parameters' sizes, and as
    long as the quadratic model holds after that (steady: never longer than radius). On from
    saddles, along their most negative curvature, and from falling rows at zero, which no eigenvalue
    shows: `saddles` times at most. It ends below level, where one is given. All numbers may be
    traced.
    """
    numbers = (jnp.asarray(x, float) for x in (radius, level))
    counts = (jnp.asarray(x, int) for x in (max_steps, saddles))
    return _descended(adopt(problem), params, *numbers, *counts, steady=steady)


@entry("descent", static=("steady",), size=hessians(HESSIANS))
def _descended(
    problem: Problem,
    params: Params,
    radius: Array,
    level: Array,
    max_steps: Array,
    saddles: Array,
    steady: bool,
) -> Refinement:
    rules = _Rules(saddles=saddles, radius=radius, steady=steady, level=level)
    return _walk(problem, params, rules, max_steps)


def _walk(problem: Problem, params: Params, rules: _Rules, max_steps: Array) -> Refinement:
    """One trial step per turn, and one place for each evaluation, so that programs stay small."""
    noise = problem.rounding(params)
    start = _started(problem, params, rules)

    def unfinished(state: _State) -> Array:
        return (state.outcome == Outcome.ON_THE_WAY) & (state.steps < max_steps)

    end = jax.lax.while_loop(unfinished, partial(_attempt, problem, rules, noise), start)
    newton, gradient = end.second.newton, end.second.gradient
    scaled_grad, newton_step = model.nearness(problem, end.params, gradient, newton)
    near = (end.norm <= GRADIENT) & (scaled_grad <= SCALED) & (newton_step <= NEAR)
    rise = end.peak - start.loss
    resolved = 1e-12 * jnp.maximum(1.0, jnp.abs(start.loss))
    grown = optax.tree.norm(end.params) / optax.tree.norm(problem.size(params))
    return Refinement(
        params=end.params,
        converged=(end.outcome == Outcome.STATIONARY) & near,
        grad_norm=end.norm,
        steps=end.steps,
        moved=optax.tree.norm(optax.tree.sub(end.params, params)),
        rise=jnp.where(rise > resolved, rise, 0.0),
        outcome=end.outcome,
        grown=jnp.where(end.loss < start.loss - noise, grown, 0.0),
    )


def _started(problem: Problem, params: Params, rules: _Rules) -> _State:
    loss = problem.loss(params)
    shapes = jax.eval_shape(lambda: model.steps(problem, params))
    zero = jnp.asarray(0)
    outcome = jnp.where(loss < rules.level, Outcome.BELOW, Outcome.ON_THE_WAY)
    return _State(
        params=params,
        loss=loss,
        norm=jnp.full_like(loss, jnp.inf),
        second=jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes),
        trial=zero - 1,
        radius=jnp.asarray(rules.radius),
        peak=loss,
        steps=zero,
        # Beside a saddle Newton's method would go back there.
        descended=jnp.asarray(rules.saddles is not None),
        left=zero,
        outcome=jnp.where(jnp.isfinite(loss), outcome, Outcome.NOT_FINITE),
    )


class _Trial(NamedTuple):
    """A step that is tried, and where it leads.

    newton: whether it is Newton's; leaves: whether it goes on from a saddle; step: like params;
    reach: its longest part in sizes; t: how much of it is tried.
    """

    newton: Array
    leaves: Array
    step: Params
    reach: Array
    t: Array


def _attempt(problem: Problem, rules: _Rules, noise: Array, state: _State) -> _State:
    fresh, start = state.trial == 0, state.trial < 0
    second = jax.lax.cond(fresh, lambda: model.steps(problem, state.params), lambda: state.second)
    state = state._replace(second=second)
    tried = _tried(problem, rules, noise, state)

    parts = tried.t * jnp.array(WAY)
    heights = jax.lax.map(
        lambda part: problem.loss(optax.tree.add_scale(state.params, part, tried.step)), parts
    )
    heights = jnp.where(jnp.isfinite(heights), heights, jnp.inf)
    moved = problem.settle(optax.tree.add_scale(state.params, tried.t, tried.step))
    gradient = jax.grad(problem.loss)(moved)
    norm = optax.tree.norm(gradient)
    gone = model.reach(problem, state.params, optax.tree.sub(moved, state.params))
    good = start | (_good(rules, noise, state, tried, heights, norm) & (gone > 0))

    taken = state._replace(
        params=moved,
        loss=heights[-1],
        norm=norm,
        trial=jnp.asarray(0),
        radius=_radius(problem, rules, state, tried, gradient),
        peak=jnp.maximum(state.peak, jnp.max(heights)),
        steps=state.steps + ~start,
        descended=state.descended | ~(tried.newton | start),
        left=state.left + tried.leaves,
        outcome=jnp.where(heights[-1] < rules.level, Outcome.BELOW, state.outcome),
    )
    there = state.norm <= GRADIENT
    arrived = fresh & there & (tried.reach <= POLISHED) & ~tried.leaves
    # A small gradient is no end where the step is long: of a row that hardly matters, say.
    ends = (state.trial == LAST_TRIAL) | (there & (tried.reach <= NEAR) & ~tried.leaves)
    reason = jnp.where(there, Outcome.STATIONARY, Outcome.NO_STEP)
    refused = state._replace(trial=state.trial + 1, outcome=jnp.where(ends, reason, state.outcome))
    arrived_state = state._replace(outcome=jnp.asarray(Outcome.STATIONARY))
    after = optax.tree.where(good, taken, refused)
    after = optax.tree.where(arrived, arrived_state, after)
    return after if rules.saddles is None else _off_rows(problem, rules, noise, after)


def _tried(problem: Problem, rules: _Rules, noise: Array, state: _State) -> _Trial:
    """Newton's step first and last, descent halved in between; where both are over at a saddle, a
    step beside it.
    """
    second, last = state.second, state.trial == LAST_TRIAL
    newton = (state.trial == 0) | last
    leaves = jnp.asarray(False)
    step = optax.tree.where(newton, second.newton, second.descent)
    if rules.saddles is not None:
        promised = -optax.tree.vdot(second.gradient, second.descent)
        over = (state.norm <= GRADIENT) | (promised <= noise)
        leaves = over & (second.inertia.negative > 0) & (state.left < rules.saddles)
        leaves &= state.trial >= 0
        newton &= ~leaves
        uphill = optax.tree.vdot(second.gradient, second.downhill) > 0
        unit = LEAP / model.reach(problem, state.params, second.downhill)
        aside = optax.tree.scale(jnp.where(uphill, -unit, unit), second.downhill)
        step = optax.tree.where(leaves, aside, step)
    reach = model.reach(problem, state.params, step)
    halvings = jnp.where(leaves, state.trial, state.trial - 1.0)
    longest = jnp.where(leaves, LEAP, state.radius)
    part = 0.5**halvings * jnp.minimum(1.0, longest / reach)
    t = jnp.where(newton, 1.0, part)
    return _Trial(newton, leaves, step, reach, jnp.where(state.trial < 0, 0.0, t))


def _good(
    rules: _Rules, noise: Array, state: _State, tried: _Trial, heights: Array, norm: Array
) -> Array:
    """Whether a step is taken: Newton's where it contracts, descent where it falls."""
    last = state.trial == LAST_TRIAL
    level = jnp.max(heights) <= state.loss + noise
    # Where the energy is down to its rounding, any Newton step that lowers the gradient is
    # progress.
    contracts = norm <= jnp.where(last, 0.99, CONTRACTED) * state.norm
    contracts &= tried.reach <= state.radius
    contracts &= ~state.descended | (state.second.inertia.negative == 0) | last
    if rules.saddles is not None:
        contracts &= level
    slope = optax.tree.vdot(state.second.gradient, tried.step)
    falls = heights[-1] <= state.loss + ARMIJO * tried.t * slope
    if rules.saddles is not None:
        falls |= ~tried.leaves & (norm <= CONTRACTED * state.norm)
    finite = jnp.isfinite(norm) & jnp.isfinite(heights[-1])
    return jnp.where(tried.newton, contracts, falls & level) & finite


def _radius(
    problem: Problem, rules: _Rules, state: _State, tried: _Trial, gradient: Params
) -> Array:
    """Of the next step: twice as long where the quadratic model predicts the gradient, else as long
    as the one that was taken.
    """
    if rules.steady:
        return state.radius
    bend = curvature.hvp(problem.loss, state.params, tried.step)
    change = optax.tree.sub(gradient, state.second.gradient)
    missed = optax.tree.add_scale(change, -tried.t, bend)
    weight = model.natural_metric(problem, state.params)

    def length(tree: Params) -> Array:
        return optax.tree.norm(jax.tree.map(lambda x, w: x / jnp.sqrt(w), tree, weight))

    force = jnp.maximum(length(state.second.gradient), tried.t * length(bend))
    factor = jnp.where(length(missed) <= TRUSTED * force, 2.0, 1.0)
    grown = jnp.minimum(1.0, factor * tried.t * tried.reach)
    return jnp.where(state.trial < 0, state.radius, grown)


def _off_rows(problem: Problem, rules: _Rules, noise: Array, state: _State) -> _State:
    """On from falling rows at zero, where a way would end at a minimum but for them."""
    if not problem.has("theory"):
        return state
    over = (state.outcome == Outcome.STATIONARY) | (state.outcome == Outcome.NO_STEP)
    over &= state.left < jnp.asarray(rules.saddles)
    there = jax.lax.cond(over, partial(off_rows, problem), lambda params: params, state.params)
    loss = problem.loss(there)
    falls = over & (loss < state.loss - noise)
    gone = model.reach(problem, state.params, optax.tree.sub(there, state.params))
    on = state._replace(
        params=there,
        loss=loss,
        norm=optax.tree.norm(jax.grad(problem.loss)(there)),
        trial=jnp.asarray(0),
        # As far again: what made the row fall is on that scale, and a short step would stop short.
        radius=jnp.where(rules.steady, state.radius, gone),
        steps=state.steps + 1,
        left=state.left + 1,
        outcome=jnp.where(loss < rules.level, Outcome.BELOW, Outcome.ON_THE_WAY),
    )
    return optax.tree.where(falls, on, state)


def off_rows(problem: Problem, params: Params) -> Params:
    """Down from rows at zero that theory knows to fall; params itself where it knows of none."""
    known = problem.theory(params, jnp.asarray(0.0))
    if known is None or known.descent is None:
        return params
    return optax.tree.add(params, known.descent)


@jax.jit
def below(problem: Problem, params: Params, direction: Params) -> Params:
    """The lowest place along a direction of descent, both ways, of distances that halve; params
    itself where none is lower by more than rounding.
    """
    halved = 0.5 ** jnp.arange(1.0 * HALVINGS)
    distances = jnp.concatenate([halved, -halved])
    values = jax.lax.map(
        lambda t: problem.loss(optax.tree.add_scale(params, t, direction)), distances
    )
    values = jnp.where(jnp.isfinite(values), values, jnp.inf)
    lowest = jnp.argmin(values)
    falls = values[lowest] < problem.loss(params) - problem.rounding(params)
    t = jnp.where(falls, distances[lowest], 0.0)
    return optax.tree.add_scale(params, t, direction)
