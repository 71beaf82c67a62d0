"""How high is the lowest pass from one point to another, and which minima does it join?

`minimum_energy_path` relaxes a chain of images between two points, `saddle` refines its highest
image to a stationary point, and `connect` follows the descent on both sides of that, so that the
pair it joins is known and not assumed; `barrier` does all three. `rim` looks for a saddle on the
edge of the basin of a chain's first end, however badly the chain is relaxed. Energies in the
problem's units, distances along a path Euclidean in all parameters.

>>> import jax.numpy as jnp
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + (w[1] - w[0] ** 2) ** 2)
>>> crossing = barrier(wells, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
>>> print(crossing.saddle.label, crossing.ends.label, crossing.barrier.round(9))
saddle of index 1 ['local minimum' 'local minimum'] [1. 1.]
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import curvature, stationary
from vaesurface.paths.band import Path, minimum_energy_path, natural_metric, rounding
from vaesurface.paths.branch import follow, switch
from vaesurface.problem import Params, Problem, compiled
from vaesurface.stationary import model
from vaesurface.stationary.descent import GRADIENT, POLISHED, downhill
from vaesurface.stationary.verdict import Kind, StationaryPoint

__all__ = [
    "Path",
    "Transition",
    "barrier",
    "connect",
    "fall",
    "follow",
    "minimum_energy_path",
    "rim",
    "saddle",
    "switch",
]

LEAP = 0.1  # step beside a saddle, in the parameters' sizes, before it is halved
TRIALS = 20  # halvings of a step at most
FINE = 20  # places looked at on each side of the highest image
# longest step of descents from beside an edge, in the parameters' sizes; always the same, so that
# they are a map
STRIDE = 0.2
WALK = 300  # such steps in which a descent is home, or never is
HOME = 1e-6  # distance from home, in the parameters' sizes, at which it is
NARROW = 1e-3  # distance in the parameters' sizes between the two sides of a bracket
WIDE = 30  # times that, and two descents have parted
APART = 20  # steps in which they do, or are taken to
ROUNDS = 12  # brackets at most
SEARCH = 60  # steps from a bracket to a saddle at most
SAME = 1e-6  # relative difference of two heights that are one


class Transition(NamedTuple):
    """A saddle and the two points that descent from it leads to; all fields survive `vmap`.

    ends: with a leading axis 2, the higher one first; barrier (2,): from each end up to the saddle,
    infinite where the energy falls without bound there, NaN where descent reached no stationary
    point (its label says so); error (2,): of the barrier, from rounding and the distance to the
    stationary points.
    """

    saddle: StationaryPoint
    ends: StationaryPoint
    barrier: Array
    error: Array


def saddle(problem: Problem, path: Path, max_steps: int = 200) -> StationaryPoint:
    """The highest image of a path refined to a stationary point, and judged: index 1 is expected,
    its label says what it is.

    Eigenvector following (Cerjan and Miller, J. Chem. Phys. 75, 2800, 1981) with exact second
    derivatives: up along the mode that bends the chain down most there, down along all others, in
    steps short enough for the quadratic model, which become Newton's; rows at zero that fall are
    left on the way. Raises ValueError for a path without an image above both ends, and for problems
    without structure of more than 4,096 parameters.
    """
    if not isinstance(path.interior, jax.core.Tracer) and not jnp.all(path.interior):
        raise ValueError(
            "expected a path with an image above both its ends, got one without; there is no "
            "barrier between these ends: "
            "check that both are minima, or take more images"
        )
    _require_few(problem, path)
    return stationary.analyze(problem, _climb(problem, path, max_steps))


def rim(problem: Problem, path: Path) -> Transition | None:
    """A saddle on the edge of the basin of the path's first end, and what it joins; None where none
    was met. Not for `jit`.

    Edge tracking (Itano and Toh, J. Phys. Soc. Jpn. 70, 703, 2001; Skufca, Yorke and Eckhardt,
    Phys. Rev. Lett. 96, 174101, 2006): between an image from which descent returns to the first end
    and one from which it does not the edge is bracketed by halving; both then descend until they
    part, which takes them along the edge to lower places, and it is bracketed anew. From every
    bracket a saddle is looked for as `saddle` does, until one is met twice or the edge has led down
    to it. The answer is the lowest of them with the first end on one side; the path need only lead
    out of the basin, however it does, and another path may lead to a lower one.
    """
    _require_few(problem, path)

    def at(i):
        return jax.tree.map(lambda x: x[i], path.params)

    home = at(0)
    level = problem.loss(home) - rounding(problem, home)

    def gap(a, b):
        return model.reach(problem, home, jax.tree.map(jnp.subtract, a, b))

    def descend(start, steps):
        return _led(problem, start, STRIDE, steps, steady=True, level=level)

    def returns(start):
        return problem.loss(start) >= level and gap(descend(start, WALK), home) <= HOME

    inner, outer = 0, path.loss.size - 1
    if returns(at(outer)):
        return None
    while outer - inner > 1:
        middle = (inner + outer) // 2
        inner, outer = (middle, outer) if returns(at(middle)) else (inner, middle)
    a, b = at(inner), at(outer)
    met: list[StationaryPoint] = []
    for _ in range(ROUNDS):
        while gap(a, b) > NARROW:
            middle = jax.tree.map(lambda x, y: 0.5 * (x + y), a, b)
            a, b = (middle, b) if returns(middle) else (a, middle)
        across = jax.tree.map(jnp.subtract, b, a)
        point = stationary.analyze(problem, _led(problem, a, LEAP, SEARCH, along=across))
        if point.kind == Kind.SADDLE and point.inertia.negative == 1:
            again = any(abs(point.loss - old.loss) <= SAME * (old.loss - level) for old in met)
            met.append(point)
            if again or compiled(_index, problem, a) <= 1:
                break
        for _ in range(APART):
            a, b = descend(a, 1), descend(b, 1)
            if gap(a, b) > WIDE * NARROW:
                break
    for point in sorted(met, key=lambda point: float(point.loss)):
        joined = connect(problem, point)
        if min(gap(jax.tree.map(lambda x: x[i], joined.ends.params), home) for i in (0, 1)) <= HOME:
            return joined
    return None


def _index(problem: Problem, params: Params) -> Array:
    """Number of negative eigenvalues, anywhere."""
    factors = model.methods(problem)[0](params)
    return jnp.sum(factors.eigenvalues < -factors.width)


def _require_few(problem: Problem, path: Path) -> None:
    size = sum(x[0].size for x in jax.tree.leaves(path.params))
    if problem.structure is None and size > model.DENSE:
        raise ValueError(
            f"expected at most {model.DENSE} parameters, got {size}; give the problem a structure"
        )


def _climb(problem: Problem, path: Path, max_steps: int) -> Params:
    def at(i):
        return jax.tree.map(lambda x: x[jnp.clip(i, 0, path.loss.size - 1)], path.params)

    left, top, right = (at(path.top + i) for i in (-1, 0, 1))
    start, radius = compiled(_crest, problem, left, top, right)
    return _led(problem, start, radius, max_steps, along=jax.tree.map(jnp.subtract, right, left))


def _crest(problem: Problem, left: Params, top: Params, right: Params) -> tuple[Params, Array]:
    """The highest place on the chain beside its highest image, which may be far from the next, and
    how far images are apart.
    """

    def place(t):
        before, after = (
            model.add(top, jax.tree.map(jnp.subtract, end, top), jnp.abs(t))
            for end in (left, right)
        )
        return model.where(t < 0, before, after)

    places = jnp.linspace(-1.0, 1.0, 2 * FINE + 1)
    heights = jax.lax.map(lambda t: problem.loss(place(t)), places)
    highest = places[jnp.argmax(jnp.where(jnp.isfinite(heights), heights, -jnp.inf))]
    return place(highest), model.reach(problem, top, jax.tree.map(jnp.subtract, right, left))


def _led(
    problem: Problem,
    params: Params,
    radius: ArrayLike,
    max_steps: int,
    along: Params = None,
    steady: bool = False,
    level: ArrayLike = -jnp.inf,
) -> Params:
    """Where `_pursue` leads; one program serves all its uses."""
    along = jax.tree.map(jnp.zeros_like, params) if along is None else along
    radius, level = jnp.asarray(radius, float), jnp.asarray(level, float)
    return compiled(_pursue, problem, params, radius, max_steps, along, steady, level)


def _pursue(
    problem: Problem,
    params: Params,
    radius: Array,
    max_steps: Array,
    along: Params,
    steady: Array,
    level: Array,
) -> Params:
    """Up along one mode and down along all others, or, with along = 0, down along all of them, to a
    stationary point.

    The mode is the one of most negative curvature along the direction given, and then along itself:
    modes cross, as where rows of a weight stand on barriers of their own, and the lowest is now
    this and now that one. In steps on which the quadratic model predicts the gradient to half of it
    or of its change, at first no longer than radius in the parameters' sizes; steady: at no time.
    Downwards the energy never rises, and what falls below level ends there.
    """
    factor, solve, downhill = model.methods(problem)

    def length(tree, weight):
        return model.norm(jax.tree.map(lambda x, w: x / jnp.sqrt(w), tree, weight))

    def followed(params: Params, factors: Any, along: Params) -> tuple[Array, Params]:
        """Number and shape of the mode."""
        bend, values = curvature.hvp(problem.loss, params, along), factors.eigenvalues

        def solved(inverse):
            return solve(params, factors, bend, inverse)

        # H is a sum of lambda c c^T, its inverse one of u u^T / lambda, and u^T H v = lambda (c^T
        # v).
        squares = jax.grad(lambda inverse: model.dot(bend, solved(inverse)))(jnp.zeros_like(values))
        curved = squares * curvature.inverses(values, factors.width)[0]
        mode = jnp.where(jnp.min(curved) < 0, jnp.argmin(curved), jnp.argmin(values))
        return mode, curvature.unit(solved(jnp.zeros_like(values).at[mode].set(1.0)))

    def step(state: tuple) -> tuple:
        params, radius, along, steps, _ = state
        factors = factor(params)
        flat = jnp.abs(factors.eigenvalues) <= factors.width
        mode, along = jax.lax.cond(
            up, followed, lambda *_: (jnp.asarray(0), along), params, factors, along
        )
        _, inverse = curvature.inverses(factors.eigenvalues, factors.width)
        inverse = jnp.where(up & flat, 0.0, inverse)
        inverse = inverse.at[mode].multiply(jnp.where(up, -1.0, 1.0))
        move = solve(params, factors, model.scale(factors.gradient, -1.0), inverse)
        weight, loss = natural_metric(problem, params), problem.loss(params)
        there = (model.norm(factors.gradient) <= GRADIENT) & (
            model.reach(problem, params, move) <= POLISHED
        )
        # A way down that is symmetric ends at a saddle, and goes on beside it.
        unseen = -model.dot(factors.gradient, move) <= noise
        leaves = ~up & (there | unseen) & jnp.any(factors.eigenvalues < -factors.width)
        aside = downhill(params, factors)
        aside = model.scale(aside, LEAP / model.reach(problem, params, aside))
        move = model.where(leaves, aside, move)
        reach, bend = (
            model.reach(problem, params, move),
            curvature.hvp(problem.loss, params, move),
        )
        force, slope = length(factors.gradient, weight), model.dot(factors.gradient, move)

        def attempt(tried: tuple) -> tuple:
            t, *_, count = tried
            t = 0.5 * t
            way = t * jnp.array([0.25, 0.5, 0.75, 1.0])
            heights, slopes = jax.lax.map(
                lambda f: jax.value_and_grad(problem.loss)(model.add(params, move, f)), way
            )
            missed = jax.tree.map(
                lambda new, old, change: new[-1] - old - t * change, slopes, factors.gradient, bend
            )
            off = length(missed, weight) / jnp.maximum(force, t * length(bend, weight))
            # Where the energy is down to its rounding, a smaller gradient is progress.
            smaller = length(jax.tree.map(lambda x: x[-1], slopes), weight) <= 0.5 * force
            falls = (jnp.max(heights) <= loss + noise) & (
                (heights[-1] <= loss + 1e-4 * t * slope) | smaller
            )
            return t, off, jnp.where(up, off <= 0.5, falls), count + 1

        first = (
            2.0 * jnp.minimum(1.0, radius / reach),
            jnp.asarray(jnp.inf),
            jnp.asarray(False),
            jnp.asarray(0),
        )
        t, off, good, _ = jax.lax.while_loop(lambda s: ~s[2] & (s[3] < TRIALS), attempt, first)
        done = ~good | (there & ~leaves)
        moved = model.settle(problem, model.add(params, move, t))
        grown = jnp.minimum(1.0, jnp.where(off <= 0.25, 2.0, 1.0) * t * reach)
        new = model.where(done, params, moved)
        if problem.theory is not None:
            # No eigenvalue shows the fall of a row at zero. A pass of index 1 or more lies beside
            # one that falls.
            ends = done & (~up | jnp.any(factors.eigenvalues < -factors.width))
            beside = jax.lax.cond(ends, lambda: _off_rows(problem, params), lambda: params)
            loose = problem.loss(beside) < loss - noise
            new, done = model.where(loose, beside, new), done & ~loose
            gone = model.reach(problem, params, jax.tree.map(jnp.subtract, beside, params))
            grown = jnp.where(loose, gone, grown)
        return (
            new,
            jnp.where(steady, radius, grown),
            along,
            steps + 1,
            done | (problem.loss(new) < level),
        )

    noise = rounding(problem, params)
    up = model.dot(along, along) > 0
    state = params, radius, along, jnp.asarray(0), problem.loss(params) < level
    return jax.lax.while_loop(lambda s: ~s[4] & (s[3] < max_steps), step, state)[0]


def _off_rows(problem: Problem, params: Params) -> Params:
    """Down from falling rows at zero."""
    known: Any = problem.theory(params, jnp.asarray(0.0))  # type: ignore[misc]
    return model.add(params, known.descent, 1.0)


def connect(problem: Problem, saddle: StationaryPoint, max_steps: int = 200) -> Transition:
    """Follow the descent on both sides of a saddle to the points that it joins, and judge those.

    Along the direction of its lowest curvature as far as the quadratic model holds, then down by
    steps with |eigenvalues| that start as short as that, at most double and never rise; a symmetric
    way that ends at another saddle goes on beside it. Raises ValueError for a point that is no
    saddle.
    """
    if saddle.descent is None:
        raise ValueError(
            "expected a saddle with its direction of descent, got one without; judge it with "
            "analyze"
        )
    if not isinstance(saddle.kind, jax.core.Tracer) and not (saddle.kind == Kind.SADDLE).all():
        raise ValueError(f"expected a saddle, got '{saddle.label}'; only a saddle joins two minima")

    sides = []
    for sign in (1.0, -1.0):
        start, radius = compiled(_aside, problem, saddle, sign)
        end = _led(problem, start, radius, max_steps)
        sides.append(stationary.analyze(problem, end))
    return compiled(_joined, problem, saddle, *sides)


def _aside(problem: Problem, saddle: StationaryPoint, sign: Array) -> tuple[Params, Array]:
    """A point beside a saddle, as far down as the quadratic model holds, and how far that is in the
    parameters' sizes.
    """
    unit = 1.0 / model.reach(problem, saddle.params, saddle.descent)
    distances = sign * unit * 0.5 ** jnp.arange(40.0)[::-1]
    heights = jax.lax.map(
        lambda t: problem.loss(model.add(saddle.params, saddle.descent, t)), distances
    )
    quadratic = 0.5 * saddle.curvature * distances**2
    holds = jnp.abs(heights - saddle.loss - quadratic) <= 0.25 * jnp.abs(quadratic) + rounding(
        problem, saddle.params
    )
    t = distances[jnp.maximum(jnp.sum(jnp.cumprod(holds)) - 1, 0)]
    return model.add(saddle.params, saddle.descent, t), jnp.abs(t) / unit


def fall(problem: Problem, point: StationaryPoint, max_steps: int = 1000) -> StationaryPoint:
    """Where descent from a saddle ends, judged: down its direction of descent, and on by steps that
    never rise. Not for `jit`.

    From saddles met on the way it goes on, rows at zero that fall included, until float64 resolves
    no descent, as where that is exponentially weak. An optimizer that moves all parameters alike,
    however small their gradients, may undo a step off such a row. A point that is no saddle is
    given back.
    """
    if point.kind != Kind.SADDLE:
        return point
    start = point.params
    if point.descent is not None:
        below, falls = compiled(_below, problem, start, point.descent)
        start = below if falls else start
    return stationary.analyze(problem, _led(problem, start, LEAP, max_steps))


def _below(problem: Problem, params: Params, descent: Params) -> tuple[Params, Array]:
    """The lowest place among some along a direction, both ways, and whether it is lower by more
    than rounding.
    """
    lowest = downhill(problem, params, descent)
    return lowest, problem.loss(lowest) < problem.loss(params) - rounding(problem, params)


def _joined(problem: Problem, saddle: StationaryPoint, *sides: StationaryPoint) -> Transition:
    ends = _stack(*sides)
    order = jnp.argsort(-ends.loss)
    ends = jax.tree.map(lambda x: x[order], ends)

    def doubt(point: tuple) -> Array:
        # Half the gradient times the Newton step is the energy's distance from the stationary
        # point's.
        params, newton_step = point
        scaled = jax.tree.map(
            lambda g, size: g * size,
            jax.grad(problem.loss)(params),
            model.size(problem, params),
        )
        return rounding(problem, params) + 0.5 * newton_step * jnp.sum(
            jnp.abs(ravel_pytree(scaled)[0])
        )

    points = (saddle, *sides)
    doubts = jax.lax.map(
        doubt, (_stack(*(x.params for x in points)), _stack(*(x.newton_step for x in points)))
    )
    doubts = doubts[0] + doubts[1:][order]
    reached = ends.kind != Kind.NOT_STATIONARY
    unbounded = (
        jnp.zeros_like(reached)
        if ends.theory is None
        else ends.theory.runaway & (ends.theory.minimum == -jnp.inf)
    )
    barrier = jnp.where(reached, saddle.loss - ends.loss, jnp.where(unbounded, jnp.inf, jnp.nan))
    return Transition(saddle, ends, barrier, jnp.where(reached, doubts, jnp.nan))


def _stack(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def barrier(
    problem: Problem, a: Params | StationaryPoint, b: Params | StationaryPoint, **options: Any
) -> Transition:
    """Path, saddle and what it joins, in one call; options of `minimum_energy_path`. Errors as
    there and of `saddle`.
    """
    return connect(problem, saddle(problem, minimum_energy_path(problem, a, b, **options)))
