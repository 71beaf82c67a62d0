"""Which saddle lies above the highest place of a path?

>>> import jax.numpy as jnp
>>> from vaesurface.paths.band import minimum_energy_path
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + (w[1] - w[0] ** 2) ** 2)
>>> path = minimum_energy_path(wells, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
>>> saddle(wells, path).label
'saddle of index 1'
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from vaesurface import curvature, stationary
from vaesurface.paths.band import Path
from vaesurface.problem import Params, Problem, adopt, entry
from vaesurface.stationary import model
from vaesurface.stationary.descent import GRADIENT, POLISHED, off_rows
from vaesurface.stationary.verdict import StationaryPoint

__all__ = ["climb", "require_few", "saddle"]

FINE = 20  # places looked at on each side of the highest image
TRIALS = 20  # halvings of a step at most
MISFIT = 0.5  # of the predicted gradient up to which a step is taken
TRUSTED = 0.25  # up to which the next one may be twice as long


def saddle(problem: Problem, path: Path, max_steps: int = 200) -> StationaryPoint:
    """The highest image of a path refined to a stationary point, and judged: index 1 is expected,
    its label says what it is.

    Eigenvector following (Cerjan and Miller, J. Chem. Phys. 75, 2800, 1981) with exact second
    derivatives: up along the mode that bends the chain down most there, down along all others, in
    steps short enough for the quadratic model, which become Newton's; rows at zero that fall are
    left on the way. Raises ValueError for a path without an image above both ends, and for problems
    without structure of more than 4,096 parameters.
    """
    problem = adopt(problem)
    if not isinstance(path.interior, jax.core.Tracer) and not jnp.all(path.interior):
        raise ValueError(
            "expected a path with an image above both its ends, got one without; there is no "
            "barrier between these ends: check that both are minima, or take more images"
        )
    require_few(problem, model.at(path.params, 0))
    return stationary.analyze(problem, _from_crest(problem, path, max_steps))


def require_few(problem: Problem, params: Params) -> None:
    """Refuse what has neither structure nor few enough parameters for a dense Hessian."""
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    if problem.structure is None and size > model.DENSE:
        raise ValueError(
            f"expected at most {model.DENSE} parameters, got {size}; give the problem a structure"
        )


@jax.jit
def _from_crest(problem: Problem, path: Path, max_steps: Array) -> Params:
    """Up from the highest place on the chain beside its highest image, which may be far from the
    next.
    """
    last = path.loss.size - 1
    sides = [model.at(path.params, jnp.clip(path.top + i, 0, last)) for i in (-1, 1)]
    top = model.at(path.params, path.top)

    def place(t: Array) -> Params:
        end = optax.tree.where(t < 0, *sides)
        return optax.tree.add_scale(top, jnp.abs(t), optax.tree.sub(end, top))

    places = jnp.linspace(-1.0, 1.0, 2 * FINE + 1)
    heights = jax.lax.map(lambda t: problem.loss(place(t)), places)
    highest = places[jnp.argmax(jnp.where(jnp.isfinite(heights), heights, -jnp.inf))]
    along = optax.tree.sub(sides[1], sides[0])
    radius = model.reach(problem, top, along)
    return climb(problem, place(highest), radius, max_steps, along)


class _State(NamedTuple):
    """Of the climb: along is the mode that it goes up; done: whether it is over."""

    params: Params
    radius: Array
    along: Params
    steps: Array
    done: Array


@entry("a way up to a saddle")
def climb(
    problem: Problem, params: Params, radius: Array, max_steps: Array, along: Params
) -> Params:
    """Up along one mode and down along all others, to a stationary point.

    The mode is the one of most negative curvature along the direction given, and then along itself:
    modes cross, as where rows of a weight stand on barriers of their own, and the lowest is now
    this and now that one. In steps on which the quadratic model predicts the gradient to half of it
    or of its change, at first no longer than radius in the parameters' sizes.
    """
    noise = problem.rounding(params)
    start = _State(
        params=params,
        radius=jnp.asarray(radius, float),
        along=along,
        steps=jnp.asarray(0),
        done=jnp.asarray(False),
    )

    def unfinished(state: _State) -> Array:
        return ~state.done & (state.steps < max_steps)

    return jax.lax.while_loop(unfinished, partial(_step, problem, noise), start).params


def _step(problem: Problem, noise: Array, state: _State) -> _State:
    methods = model.methods(problem)
    factor, solve = methods.factor, methods.solve
    factors = factor(state.params)
    mode, along = _followed(problem, state.params, factors, state.along)
    flat = jnp.abs(factors.eigenvalues) <= factors.width
    inverse = jnp.where(flat, 0.0, curvature.inverses(factors.eigenvalues, factors.width)[1])
    inverse = inverse.at[mode].multiply(-1.0)
    move = solve(state.params, factors, optax.tree.scale(-1.0, factors.gradient), inverse)
    reach = model.reach(problem, state.params, move)
    there = (optax.tree.norm(factors.gradient) <= GRADIENT) & (reach <= POLISHED)
    t, misfit = _tried(problem, state, factors.gradient, move, reach)
    done = (misfit > MISFIT) | there
    moved = problem.settle(optax.tree.add_scale(state.params, t, move))
    radius = jnp.minimum(1.0, jnp.where(misfit <= TRUSTED, 2.0, 1.0) * t * reach)
    new = _State(
        params=optax.tree.where(done, state.params, moved),
        radius=radius,
        along=along,
        steps=state.steps + 1,
        done=done,
    )
    # No eigenvalue shows the fall of a row at zero. A pass of index 1 or more lies beside one.
    negative = jnp.any(factors.eigenvalues < -factors.width)
    return _off_rows(problem, noise, done & negative, new)


def _followed(
    problem: Problem, params: Params, factors: Any, along: Params
) -> tuple[Array, Params]:
    """Number and shape of the mode of most negative curvature along a direction v.

    H is a sum of lambda c c^T, its inverse one of u u^T / lambda, and u^T H v = lambda (c^T v).
    """
    solve = model.methods(problem).solve
    bend, values = curvature.hvp(problem.loss, params, along), factors.eigenvalues

    def solved(inverse: Array) -> Params:
        return solve(params, factors, bend, inverse)

    def form(inverse: Array) -> Array:
        return optax.tree.vdot(bend, solved(inverse))

    squares = jax.grad(form)(jnp.zeros_like(values))
    curved = squares * curvature.inverses(values, factors.width)[0]
    mode = jnp.where(jnp.min(curved) < 0, jnp.argmin(curved), jnp.argmin(values))
    return mode, curvature.unit(solved(jnp.zeros_like(values).at[mode].set(1.0)))


def _tried(
    problem: Problem, state: _State, gradient: Params, move: Params, reach: Array
) -> tuple[Array, Array]:
    """How much of a step is taken, and by how much the quadratic model misses the gradient there,
    over the larger of the gradient and its predicted change.
    """
    weight = model.natural_metric(problem, state.params)
    bend = curvature.hvp(problem.loss, state.params, move)

    def length(tree: Params) -> Array:
        return optax.tree.norm(jax.tree.map(lambda x, w: x / jnp.sqrt(w), tree, weight))

    def halve(tried: tuple) -> tuple:
        t, _, count = tried
        t = 0.5 * t
        slope = jax.grad(problem.loss)(optax.tree.add_scale(state.params, t, move))
        missed = optax.tree.add_scale(optax.tree.sub(slope, gradient), -t, bend)
        misfit = length(missed) / jnp.maximum(length(gradient), t * length(bend))
        return t, misfit, count + 1

    def unfinished(tried: tuple) -> Array:
        _, misfit, count = tried
        return ~(misfit <= MISFIT) & (count < TRIALS)

    start = 2.0 * jnp.minimum(1.0, state.radius / reach), jnp.asarray(jnp.inf), jnp.asarray(0)
    t, misfit, _ = jax.lax.while_loop(unfinished, halve, start)
    return t, jnp.where(jnp.isnan(misfit), jnp.inf, misfit)


def _off_rows(problem: Problem, noise: Array, over: Array, state: _State) -> _State:
    """Down from falling rows at zero where the way is over."""
    if not problem.has("theory"):
        return state
    there = jax.lax.cond(over, partial(off_rows, problem), lambda params: params, state.params)
    falls = problem.loss(there) < problem.loss(state.params) - noise
    gone = model.reach(problem, state.params, optax.tree.sub(there, state.params))
    on = state._replace(params=there, radius=gone, done=jnp.asarray(False))
    return optax.tree.where(falls, on, state)
