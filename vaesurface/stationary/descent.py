"""Where does descent from a point lead, and which stationary point is nearby?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from vaesurface.curvature import Steps
from vaesurface.problem import Params, Problem, compiled, require_float64
from vaesurface.stationary import model
from vaesurface.stationary.verdict import (
    NEAR,
    SCALED,
    Refinement,
)

__all__ = ["GRADIENT", "POLISHED", "downhill", "refine"]

GRADIENT = 1e-10  # gradient norm `refine` aims at: some hundred roundings of an energy of order one
POLISHED = 1e-8  # Newton step at which `refine` is content before rounding stops it


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
            fresh, lambda: model.steps(problem, state.params), lambda: state.second
        )
        last = state.trial == LAST_TRIAL
        newton = fresh | last
        start = state.trial < 0
        reach = model.reach(
            problem, state.params, model.where(newton, second.newton, second.descent)
        )
        there = state.norm <= GRADIENT
        done = fresh & there & (reach <= POLISHED)
        t = jnp.where(newton, 1.0, 0.5 ** (state.trial - 1.0) / jnp.maximum(1.0, reach))
        t = jnp.where(start, 0.0, t)
        step = model.where(newton, second.newton, second.descent)

        fractions = t * jnp.array([0.25, 0.5, 0.75, 1.0])
        heights = jax.lax.map(lambda f: problem.loss(model.add(state.params, step, f)), fractions)
        heights = jnp.where(jnp.isfinite(heights), heights, jnp.inf)
        moved = model.settle(problem, model.add(state.params, step, t))
        norm = model.norm(jax.grad(problem.loss)(moved))

        # Where the energy is down to its rounding, any Newton step that lowers the gradient is
        # progress.
        contracts = (reach <= 1.0) & (norm <= jnp.where(last, 0.99, 0.5) * state.norm)
        contracts &= ~state.descended | (second.inertia.negative == 0) | last
        slack = 4 * jnp.finfo(state.loss.dtype).eps * jnp.abs(state.loss)
        falls = heights[-1] <= state.loss + 1e-4 * t * model.dot(second.gradient, second.descent)
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
        return model.where(
            done,
            state._replace(second=second, stuck=done),
            model.where(good, taken, refused),
        )

    def unfinished(state):
        return ~state.stuck & (state.steps < max_steps)

    loss = problem.loss(params)
    blank = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype),
        jax.eval_shape(lambda: model.steps(problem, params)),
    )
    infinite = jnp.full_like(loss, jnp.inf)
    zero = jnp.asarray(0)
    state = _State(
        params, loss, infinite, blank, zero - 1, loss, zero, ~jnp.isfinite(loss), zero > 0
    )
    state = jax.lax.while_loop(unfinished, attempt, state)
    rise = state.peak - loss
    rise = jnp.where(rise > 1e-12 * jnp.maximum(1.0, jnp.abs(loss)), rise, 0.0)
    moved = model.norm(jax.tree.map(jnp.subtract, state.params, params))
    scaled_grad, newton_step = model.nearness(
        problem, state.params, state.second.gradient, state.second.newton
    )
    converged = (
        state.stuck & (state.norm <= GRADIENT) & (scaled_grad <= SCALED) & (newton_step <= NEAR)
    )
    return Refinement(state.params, converged, state.norm, state.steps, moved, rise)


def downhill(problem: Problem, params: Params, direction: Params) -> Params:
    """A point below a saddle: the lowest along its direction of descent, both ways, of distances
    that halve.
    """
    distances = jnp.concatenate([s * 0.5 ** jnp.arange(20.0) for s in (1.0, -1.0)])
    values = jax.lax.map(lambda t: problem.loss(model.add(params, direction, t)), distances)
    return model.add(
        params, direction, distances[jnp.argmin(jnp.where(jnp.isfinite(values), values, jnp.inf))]
    )
