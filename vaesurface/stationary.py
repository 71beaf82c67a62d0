"""Which stationary point does a run end in, of what kind is it, and how do we know?

`refine` takes a point to a stationary point nearby, `analyze` judges it, `find` does both after an optimizer's run, and
`distinct` tells points apart. All but `distinct` run under `vmap` and `jit`: verdicts are integers until read as words.

>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.5)
>>> point = analyze(problem, problem.collapsed())
>>> point.label
'collapsed local minimum'
>>> print(*point.inertia, point.kind == Kind.MINIMUM)
0 2 7 True
"""

from collections.abc import Callable
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from vaesurface import bordered, curvature, optimize
from vaesurface.curvature import Inertia, Steps
from vaesurface.problem import Params, Problem, Theory, require_float64

GRADIENT = 1e-10  # gradient norm `refine` aims at: some hundred roundings of an energy of order one
STATIONARY = 1e-9  # gradient norm up to which `analyze` calls a point stationary
# Two criteria in units of each parameter's natural size (`Problem.size`, by default max(1, |theta|)). Moving one by its size
# changes the energy by at most SCALED: a runaway to |W| ~ 1e8 has a tiny gradient and fails this by orders of magnitude. The
# Newton step is at most NEAR: where the loss decays for ever (like exp(-w) or 1/w) it does not shrink with the gradient.
SCALED = 1e-7
NEAR = 1e-3
POLISHED = 1e-8  # Newton step at which `refine` is content before rounding stops it
# Fraction by which no eigenvalue may change over the Newton step to the stationary point. Towards a degenerate point they
# shrink: by a half where the loss is cubic, by 5/9 where it is quartic.
FIRM = 0.25
ACTIVE = 1e-8  # twice nats of KL divergence per datum above which a latent dimension carries information


class Kind(IntEnum):
    """What the Hessian and theory say of a point."""

    NOT_STATIONARY = 0
    MINIMUM = 1
    SADDLE = 2
    MAXIMUM = 3
    DEGENERATE = 4


class Refinement(NamedTuple):
    """What `refine` did.

    params: the last point; converged: gradient norm <= 1e-10 and the Newton step from there negligible; grad_norm; steps
    taken; moved: Euclidean distance from the start; rise: by how much the energy rose above the start's on the way (0: it
    stayed in the start's own basin).
    """

    params: Params
    converged: Array
    grad_norm: Array
    steps: Array
    moved: Array
    rise: Array

    @property
    def left(self) -> Array:
        """Whether the way led over a rise, out of the start's sublevel set: then it is not where descent would end."""
        return self.rise > 0


class StationaryPoint(NamedTuple):
    """A judged point; all fields survive `vmap`.

    params: what has no effect on the energy set to zero; loss; grad_norm; scaled_grad: max |size_i g_i|; newton_step: largest
    change of a parameter in the Newton step, in units of its size; inertia; kind: a `Kind`; active (k,) bool, or None
    where the problem has no latents; theory: what is known in closed form, or None; reliable: whether neither rounding nor
    the distance to the stationary point could change the count; optimal: at the global minimum; refinement: what `refine`
    did, without its params, or None.
    """

    params: Params
    loss: Array
    grad_norm: Array
    scaled_grad: Array
    newton_step: Array
    inertia: Inertia
    kind: Array
    active: Array | None
    theory: Theory | None
    reliable: Array
    optimal: Array
    refinement: Refinement | None = None

    @property
    def label(self) -> Any:
        """The verdict in words: a string, or an array of strings over the leading axes."""
        return _in_words(_label, self)

    @property
    def evidence(self) -> Any:
        """Why each part of the label is believed: a dict of sentences, or an array of dicts over the leading axes."""
        return _in_words(_evidence, self)


@partial(jax.jit, static_argnums=0)
def analyze(problem: Problem, params: Params) -> StationaryPoint:
    """Judge a point: exact inertia (through the per-datum structure where there is one) and what theory adds to it.

    Raises RuntimeError without float64. A flat direction that theory does not explain makes a point DEGENERATE, never a
    minimum.
    """
    require_float64("analysis", params)
    params = _settle(problem, params)

    def judge(w, _):
        second = _steps(problem, w)
        return _add(w, second.newton, 1.0), second

    # Here, and where the Newton step leads: the count stands if the eigenvalues are the same there.
    both = jax.lax.scan(judge, params, length=2)[1]
    here, there = jax.tree.map(lambda x: x[0], both), jax.tree.map(lambda x: x[1], both)
    change = jnp.abs(there.eigenvalues - here.eigenvalues) > FIRM * jnp.abs(here.eigenvalues)
    reliable = here.reliable & ~jnp.any(change & (jnp.abs(here.eigenvalues) > here.width))
    loss, grad_norm = problem.loss(params), _norm(here.gradient)
    scaled_grad, newton_step = _nearness(problem, params, here)
    known = None if problem.theory is None else problem.theory(params)

    negative, flat, positive = here.inertia
    stationary = (grad_norm <= STATIONARY) & (scaled_grad <= SCALED) & (newton_step <= NEAR) & jnp.isfinite(loss)
    if known is not None:
        stationary &= ~known.runaway
    unexplained = flat - (0 if known is None else jnp.minimum(known.strict, flat))
    kind = jnp.where(negative > 0, jnp.where(positive + flat == 0, Kind.MAXIMUM, Kind.SADDLE), Kind.MINIMUM)
    kind = jnp.where(((negative == 0) & (unexplained > 0)) | ~reliable, Kind.DEGENERATE, kind)
    kind = jnp.where(stationary, kind, Kind.NOT_STATIONARY)
    optimal = jnp.asarray(False)
    if known is not None:
        tolerance = 1e-9 * jnp.maximum(1.0, jnp.abs(known.minimum))
        optimal = (kind == Kind.MINIMUM) & jnp.isfinite(known.minimum) & (jnp.abs(loss - known.minimum) <= tolerance)
    active = None if problem.information is None else problem.information(params) > ACTIVE
    return StationaryPoint(
        params, loss, grad_norm, scaled_grad, newton_step, here.inertia, kind, active, known, reliable, optimal
    )


class _State(NamedTuple):
    """Of the loop in `refine`."""

    params: Params
    loss: Array
    norm: Array  # of the gradient
    second: Steps  # at params; meaningful from the first trial on
    trial: Array  # -1 settles the start, 0 tries the Newton step, j >= 1 the descent step halved j - 1 times
    peak: Array  # highest energy met
    steps: Array
    stuck: Array  # no trial is left, or none is needed
    descended: Array  # whether a descent step has been taken


LAST_TRIAL = 40  # 2^-39 of a descent step changes nothing that float64 resolves


@partial(jax.jit, static_argnums=(0, 2))
def refine(problem: Problem, params: Params, max_steps: int = 300) -> Refinement:
    """Take a point to a stationary point of any index nearby, or say that it did not get there.

    A start from which Newton's method contracts (every step halves the gradient norm) ends where that leads: a start close
    to a saddle in that saddle. Otherwise steps of descent (|eigenvalues|, backtracking over segments without a rise), which
    do not leave the start's basin, lead to where no eigenvalue is negative, and Newton's method on from there. A step that
    does neither is not taken. What has no effect on the energy is set to exactly zero.
    """
    require_float64("refinement", params)

    def attempt(state):
        # One trial step per turn, and one place for each evaluation: the program compiles in a third of the time.
        fresh = state.trial == 0
        second = jax.lax.cond(fresh, lambda: _steps(problem, state.params), lambda: state.second)
        last = state.trial == LAST_TRIAL
        newton = fresh | last
        start = state.trial < 0
        reach = _reach(problem, state.params, _where(newton, second.newton, second.descent))
        there = state.norm <= GRADIENT
        done = fresh & there & (reach <= POLISHED)
        t = jnp.where(newton, 1.0, 0.5 ** (state.trial - 1.0) / jnp.maximum(1.0, reach))
        t = jnp.where(start, 0.0, t)
        step = _where(newton, second.newton, second.descent)

        fractions = t * jnp.array([0.25, 0.5, 0.75, 1.0])
        heights = jax.lax.map(lambda f: problem.loss(_add(state.params, step, f)), fractions)
        heights = jnp.where(jnp.isfinite(heights), heights, jnp.inf)
        moved = _settle(problem, _add(state.params, step, t))
        norm = _norm(jax.grad(problem.loss)(moved))

        # Where the energy is down to its rounding, any Newton step that lowers the gradient is progress.
        contracts = (reach <= 1.0) & (norm <= jnp.where(last, 0.99, 0.5) * state.norm)
        contracts &= ~state.descended | (second.inertia.negative == 0) | last
        slack = 4 * jnp.finfo(state.loss.dtype).eps * jnp.abs(state.loss)
        falls = heights[-1] <= state.loss + 1e-4 * t * _dot(second.gradient, second.descent)
        falls &= jnp.max(heights) <= state.loss + slack
        good = start | (jnp.where(newton, contracts, falls) & jnp.isfinite(norm) & jnp.isfinite(heights[-1]))
        peak = jnp.maximum(state.peak, jnp.max(heights))
        taken = state._replace(params=moved, loss=heights[-1], norm=norm, peak=peak, trial=jnp.asarray(0))
        taken = taken._replace(steps=state.steps + ~start, descended=state.descended | ~(newton | start))
        refused = state._replace(second=second, trial=state.trial + 1, stuck=last | there)
        return _where(done, state._replace(second=second, stuck=done), _where(good, taken, refused))

    def unfinished(state):
        return ~state.stuck & (state.steps < max_steps)

    loss = problem.loss(params)
    blank = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda: _steps(problem, params)))
    infinite = jnp.full_like(loss, jnp.inf)
    zero = jnp.asarray(0)
    state = _State(params, loss, infinite, blank, zero - 1, loss, zero, ~jnp.isfinite(loss), zero > 0)
    state = jax.lax.while_loop(unfinished, attempt, state)
    rise = state.peak - loss
    rise = jnp.where(rise > 1e-12 * jnp.maximum(1.0, jnp.abs(loss)), rise, 0.0)
    moved = _norm(jax.tree.map(jnp.subtract, state.params, params))
    scaled_grad, newton_step = _nearness(problem, state.params, state.second)
    converged = state.stuck & (state.norm <= GRADIENT) & (scaled_grad <= SCALED) & (newton_step <= NEAR)
    return Refinement(state.params, converged, state.norm, state.steps, moved, rise)


@partial(jax.jit, static_argnames=("problem", "optimizer", "escapes"))
def find(
    problem: Problem,
    key: Array,
    scale: ArrayLike = 0.1,
    optimizer: optimize.Optimizer | None = None,
    escapes: int = 0,
) -> StationaryPoint:
    """Random start, optimizer's run (Adam by default), refinement, verdict.

    escapes: how often to go on where a run has ended at a saddle: a step down along its most negative curvature, the optimizer
    again, refinement again. 0 answers for the optimizer as it is. Raises ValueError for a problem without `init`.
    """
    if problem.init is None:
        raise ValueError("expected a problem with init, got one without; start from parameters with refine and analyze")
    optimizer = optimizer or optimize.adam()

    def run(start):
        refined = refine(problem, optimizer(problem.loss, start).params)
        return analyze(problem, refined.params)._replace(refinement=refined._replace(params=None))

    def escape(state):
        point, tries = state
        return run(_downhill(problem, point.params, jax.random.fold_in(key, tries))), tries + 1

    point = run(problem.init(key, scale))
    if escapes:
        on_saddle = lambda state: (state[0].kind == Kind.SADDLE) & (state[1] < escapes)  # noqa: E731
        point, _ = jax.lax.while_loop(on_saddle, escape, (point, 0))
    return point


def distinct(problem: Problem, loss: ArrayLike, params: Params, tolerance: float = 1e-6) -> list[np.ndarray]:
    """Group points that are one: same energy, and same parameters up to a signed permutation of the latents.

    loss (...) and params, leaves (..., *), as in a `StationaryPoint` with leading axes, which are raveled. Both are compared
    relative to their size. Returns arrays of indices, lowest energy first. Not for `jit`.
    """
    losses = np.ravel(loss)
    leaves = jax.tree.map(lambda x: np.reshape(x, (losses.size, *np.shape(x)[np.ndim(loss) :])), params)
    at = lambda i: jax.tree.map(lambda x: x[i], leaves)  # noqa: E731
    groups: list[list[int]] = []
    for i in np.argsort(losses, kind="stable"):
        for group in reversed(groups):
            gap = abs(losses[i] - losses[group[0]])
            if not gap <= tolerance * max(1.0, abs(losses[i])):
                continue
            if distance(problem, at(i), at(group[0])) <= tolerance * max(1.0, _extent(problem, at(i))):
                group.append(int(i))
                break
        else:
            groups.append([int(i)])
    return [np.array(group) for group in groups]


def distance(problem: Problem, a: Params, b: Params) -> float:
    """Euclidean distance between two points, the least over signed permutations of the latents. Not for `jit`.

    The square is a sum over pairs of latents, so the best permutation is a linear assignment and the best signs are each
    pair's own.
    """
    if problem.latents is None:
        return float(_norm(jax.tree.map(jnp.subtract, a, b)))
    (odd_a, even_a, rest_a), (odd_b, even_b, rest_b) = (map(np.asarray, problem.latents(w)) for w in (a, b))
    square = lambda x, y: np.sum((x[:, None] - y[None]) ** 2, axis=-1)  # noqa: E731
    pairs = square(even_a, even_b) + np.minimum(square(odd_a, odd_b), square(odd_a, -odd_b))
    return float(np.sqrt(pairs[linear_sum_assignment(pairs)].sum() + np.sum((rest_a - rest_b) ** 2)))


def _extent(problem: Problem, params: Params) -> float:
    """Norm of a point, in the coordinates that its distance to others is taken in."""
    return float(_norm(params if problem.latents is None else problem.latents(params)))


def _downhill(problem: Problem, params: Params, key: Array) -> Params:
    """A point below a saddle: along its lowest Lanczos vector, as far as the energy falls by doubling."""
    _, _, vectors = curvature.extremes(problem.loss, params, key)
    direction = jax.tree.map(lambda v: v[0], vectors)
    distances = jnp.concatenate([s * 0.5 ** jnp.arange(20.0) for s in (1.0, -1.0)])
    values = jax.lax.map(lambda t: problem.loss(_add(params, direction, t)), distances)
    return _add(params, direction, distances[jnp.argmin(jnp.where(jnp.isfinite(values), values, jnp.inf))])


def _settle(problem: Problem, params: Params) -> Params:
    return params if problem.settle is None else problem.settle(params)


def _nearness(problem: Problem, params: Params, second: Steps) -> tuple[Array, Array]:
    """Largest gradient times size, and largest Newton step over size, of a parameter."""
    scaled = jax.tree.map(lambda g, s: g * s, second.gradient, _size(problem, params))
    return jnp.max(jnp.abs(ravel_pytree(scaled)[0])), _reach(problem, params, second.newton)


def _steps(problem: Problem, params: Params) -> Steps:
    if problem.structure is None:
        return curvature.steps(problem.loss, params)
    return bordered.steps(problem.structure, params)


def _in_words(say: Callable[[StationaryPoint], Any], point: StationaryPoint) -> Any:
    shape = np.shape(point.kind)
    if not shape:
        return say(point)
    words = np.empty(shape, dtype=object)
    for index in np.ndindex(shape):
        words[index] = say(jax.tree.map(lambda x: x[index], point._replace(params=None)))  # noqa: B023
    return words.astype(str) if say is _label else words


def _label(p: StationaryPoint) -> str:
    collapsed = p.theory is not None and bool(p.theory.collapsed)
    match Kind(int(p.kind)):
        case Kind.NOT_STATIONARY if p.theory is not None and p.theory.runaway:
            return "not stationary: gamma runs to zero"
        case Kind.NOT_STATIONARY if p.grad_norm <= STATIONARY:
            return "not stationary, though the gradient is small"
        case Kind.NOT_STATIONARY:
            return "not stationary"
        case Kind.SADDLE:
            # A flat direction that nothing explains may hide a descent direction too small for float64.
            strict = 0 if p.theory is None else int(p.theory.strict)
            more = " or more" * (int(p.inertia.flat) > strict)
            return f"saddle of index {int(p.inertia.negative)}{more}" + ", collapsed" * collapsed
        case Kind.MAXIMUM:
            return "maximum"
        case Kind.DEGENERATE:
            dead = 0 if p.theory is None else int(p.theory.dead_rows)
            by_rows = dead and p.active is not None and int(p.inertia.flat) == dead * p.active.size
            flat = int(p.inertia.flat)
            what = f"{dead} row{'s' * (dead > 1)} at zero" if by_rows else f"{flat} flat direction{'s' * (flat > 1)}"
            return f"degenerate, {what}" + ", collapsed" * collapsed
    if p.optimal:
        return "global optimum" + ", collapsed" * collapsed
    return "collapsed local minimum" if collapsed else "local minimum"


def _evidence(p: StationaryPoint) -> dict[str, str]:
    negative, flat, positive = (int(x) for x in p.inertia)
    reached = p.kind != Kind.NOT_STATIONARY
    said = {
        "stationary": f"{'yes' if reached else 'no'}: gradient norm {float(p.grad_norm):.1e} (at most {STATIONARY:g}), "
        f"in units of the parameters' sizes at most {float(p.scaled_grad):.1e} ({SCALED:g}), Newton step "
        f"{float(p.newton_step):.1e} ({NEAR:g})",
        "inertia": f"exact in float64: {negative} negative, {flat} flat, {positive} positive eigenvalues over all "
        "parameters; flat means |lambda| <= 16 p eps max|lambda|",
    }
    if not p.reliable:
        said["inertia"] = (
            "undecided: rounding, or the distance to the stationary point, could change the count of "
            f"{negative} negative, {flat} flat, {positive} positive eigenvalues"
        )
    if p.theory is None:
        return said
    if p.theory.strict > 0 and p.kind == Kind.MINIMUM:
        said["flat"] = f"proved: the energy rises strictly along {int(p.theory.strict)} of the flat directions"
        if p.theory.radius > 0:
            said["flat"] += f"; nothing is lower while every row of the weight is shorter than {float(p.theory.radius):.4g}"
    elif flat and p.kind == Kind.DEGENERATE:
        said["flat"] = f"not explained: {int(p.theory.dead_rows)} rows of the weight are at zero"
    if np.isfinite(p.theory.minimum):
        gap = float(p.loss - p.theory.minimum)
        said["global"] = f"exact: energy {gap:.1e} above the affine model's global minimum"
    return said


def _norm(tree: Params) -> Array:
    return jnp.linalg.norm(ravel_pytree(tree)[0])


def _dot(a: Params, b: Params) -> Array:
    return jnp.dot(ravel_pytree(a)[0], ravel_pytree(b)[0])


def _scale(tree: Params, t: ArrayLike) -> Params:
    return jax.tree.map(lambda x: t * x, tree)


def _add(params: Params, step: Params, t: ArrayLike) -> Params:
    return jax.tree.map(lambda x, s: x + t * s, params, step)


def _size(problem: Problem, params: Params) -> Params:
    if problem.size is not None:
        return problem.size(params)
    return jax.tree.map(lambda x: jnp.maximum(1.0, jnp.abs(x)), params)


def _reach(problem: Problem, params: Params, step: Params) -> Array:
    """Largest change of a parameter, in units of its size."""
    relative = jax.tree.map(lambda s, size: jnp.abs(s) / size, step, _size(problem, params))
    return jnp.max(ravel_pytree(relative)[0])


def _where(condition: Array, a: Params, b: Params) -> Params:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)
