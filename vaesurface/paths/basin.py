"""How wide and how large is the basin of a minimum, and does noise carry a run out of it?

`width` goes out from a minimum along given directions and finds the farthest start from which
descent returns; `volume` counts how many of many starts end there, with a confidence interval;
`compare` puts the width of the collapsed point beside the radius that theory certifies and the
saddle that a path crosses. Descent is a function, a `Flow`: gradient flow, monotone second-order
descent, an optimizer, or an optimizer of a sampled loss. A run's end is refined before it is
judged.

>>> import jax.numpy as jnp
>>> wells = Problem(loss=lambda x: jnp.sum((x**2 - 1) ** 2))
>>> right = width(wells, jnp.array([-1.0]), jnp.array([[1.0]]), jnp.array([0.5, 4.0]))
>>> print(f"{right.inner[0]:.2f}")  # the saddle lies at zero
1.00
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.experimental.ode import odeint
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from scipy.stats import binomtest

from vaesurface import optimize, stationary, theory
from vaesurface.energy import VAEParams
from vaesurface.problem import Params, Problem, adopt, entry, require_float64
from vaesurface.stationary import model
from vaesurface.vae import ThresholdVAE

# flow(problem, start, level, key) -> where that leads. It may stop where the loss has fallen below
# level, the minimum's, from where no descent returns. key: for flows that draw.
Flow = Callable[[Problem, Params, Array, Array], Params]
Draw = Callable[[Problem, Array, Array], Params]  # draw(problem, key, scale) -> a start

TIME = (
    100.0  # of gradient flow: in its metric a posterior mean without effect relaxes like exp(-2 t)
)
SETTLING = 30.0  # time in which posteriors settle: exp(-60) is nothing
# length of the first stretch of a flow, after which the loss is looked at; each is twice as long as
# the last
FIRST = 1.0
# relative error of an integration step, and the absolute one in units of the natural sizes is a
# thousandth
ERROR = 1e-7
# distance, in units of the parameters' sizes, up to which a refined end is the minimum: as in
# `tally.distinct`
SAME = 1e-6
CONFIDENCE = 0.95


class Ends(NamedTuple):
    """Where runs end, leading axis: runs. params: refined, where the run did not end below; loss;
    returned: at the minimum; below: at a loss below the minimum's. Neither: at another point above
    it, or at none.
    """

    params: Params
    loss: Array
    returned: Array
    below: Array


class Width(NamedTuple):
    """How far out along each of m directions descent returns; all (m,), in units of the directions.

    inner: the farthest start that is known to return before the first one found that does not, at
    outer (0 and inf where none does or does not); crossing: from where on the start itself lies
    below the minimum (inf: nowhere); params: the start at inner; distance: its Euclidean distance
    from the minimum.
    """

    inner: Array
    outer: Array
    crossing: Array
    params: Params
    distance: Array


class Volume(NamedTuple):
    """How many of `starts` runs returned, ended below the minimum, or neither; share: of those that
    returned, low and high its exact interval (Clopper & Pearson, Biometrika 26, 1934) with 95 %
    confidence.
    """

    starts: int
    returned: int
    below: int
    other: int
    share: float
    low: float
    high: float


class Lengths(NamedTuple):
    """The collapsed basin in one norm: that of the weight's longest row.

    radius: below it no energy is lower (`theory.collapse_radius`); width: (inner, outer), least
    over the directions; crossing: least distance at which a start is lower than collapse, inf for
    none; saddle: distance of the saddle.

    Two orders hold for certain, and their failure is a mistake somewhere. descent: width <=
    crossing in every direction, for what is lower does not return. certified: radius <= crossing,
    as long as starts lie in the certificate's region. Two more are to be expected, and measured.
    returns: radius <= width fails where the certificate is tight: it reaches to where energies come
    down to the collapsed one again, beyond the crest from which they come down (0.771 and 0.650
    alpha for antipodal data and alpha -> 0). inside: width <= saddle (of the lower end of the
    bracket) may fail for few directions, and because starts have bias and gamma as at collapse, and
    the saddle has not.
    """

    radius: float
    width: tuple[float, float]
    crossing: float
    saddle: float
    returns: bool
    inside: bool
    certified: bool
    descent: bool

    @property
    def ordered(self) -> bool:
        """radius <= width <= saddle."""
        return self.returns and self.inside


def gradient_flow(
    problem: Problem, params: Params, level: ArrayLike, key: Any = None, time: float = TIME
) -> Params:
    """The gradient flow's end after `time`, or where the loss has fallen below level.

    Per-datum parameters move n times as fast as the loss, a mean over data, would have them: so
    that time is alike for all of them whatever n (Euclidean metric, weighed 1/n). By Dormand and
    Prince's method with an error of 1e-7 a step.
    """
    return _flow(problem, params, level, time, _rates(problem, params, 1.0))


def second_order_descent(
    problem: Problem, params: Params, level: ArrayLike, key: Any = None
) -> Params:
    """The end of `stationary.refine`: second-order steps along which the loss never rises, or
    Newton's method at once.
    """
    return stationary.refine(problem, params).params


def optimized(optimizer: optimize.Optimizer) -> Flow:
    """An optimizer's run on the exact loss, as a flow. Make it once: a program is compiled for
    each.
    """

    def flow(problem: Problem, params: Params, level: ArrayLike, key: Any = None) -> Params:
        return optimizer(problem.loss, params).params

    return flow


def noisy(optimizer: optimize.NoisyOptimizer, loss: Callable[..., Array]) -> Flow:
    """An optimizer's run on a loss that is drawn anew each step, loss(problem, params, key), as
    `vae.sampled_loss` is.

    A run too short to leave the ridge between two basins behind may be refined into the saddle
    there.
    """

    def flow(problem: Problem, params: Params, level: ArrayLike, key: Any) -> Params:
        return optimizer(partial(loss, problem), params, key).params

    return flow


def settled(problem: Problem, params: Params) -> Params:
    """The same with per-datum parameters at the optimum that gradient flow leads them to, all
    others held.
    """
    if problem.structure is None:
        return params
    return _flow(problem, params, -jnp.inf, SETTLING, _rates(problem, params, 0.0))


def principal(problem: Problem, count: int) -> VAEParams:
    """Directions (count, ...) u_j e_1^T of the weight, for `width`: u_j the j-th principal
    direction of the data.

    Their longest row is one long, so that lengths along them are row norms, as
    `theory.collapse_radius` counts. Raises ValueError for a problem without data or with fewer
    features.
    """
    if problem.structure is None or not 1 <= count <= problem.structure.data.shape[1]:
        have = "no data"
        if problem.structure is not None:
            have = f"{problem.structure.data.shape[1]} features"
        raise ValueError(
            f"expected a VAE's problem with at least {count} >= 1 features, got {have}; ask for "
            "fewer directions"
        )
    X = problem.structure.data
    axes = jnp.linalg.svd(X - X.mean(axis=0)[None], full_matrices=X.shape[0] < X.shape[1])[2]
    axes = axes[:count]
    axes = axes / jnp.max(jnp.abs(axes), axis=1, keepdims=True)
    blank = jax.tree.map(lambda x: jnp.zeros((count, *x.shape), x.dtype), problem.collapsed())
    return blank._replace(weight=blank.weight.at[:, :, 0].set(axes))


def width(
    problem: Problem,
    minimum: Params,
    directions: Params,
    lengths: ArrayLike,
    flow: Flow = gradient_flow,
    halvings: int = 12,
) -> Width:
    """How far out along each direction (leading axis m) do starts return to the minimum?

    lengths (g,), ascending: tried in turn until one does not return, which is the outer end of a
    bracket that is halved `halvings` times; what a basin does beyond its first edge is not asked.
    Posteriors are first put at their optimum for that weight (`settled`), so that the start lies on
    the floor of the valley that runs would follow, and the width is a length along it; starts with
    the minimum's own posteriors return from farther away. Raises ValueError for lengths that do not
    ascend from above zero.
    """
    require_float64("a basin's width", minimum)
    grid = jnp.asarray(lengths, float)
    if not isinstance(grid, jax.core.Tracer) and (
        grid.size == 0 or not np.all(np.diff(grid, prepend=0.0) > 0)
    ):
        raise ValueError(f"expected lengths ascending from above 0, got {grid}; sort them")
    return _width(adopt(problem), minimum, directions, grid, flow=flow, halvings=halvings)


@entry("a basin's width", static=("flow", "halvings"))
def _width(
    problem: Problem,
    minimum: Params,
    directions: Params,
    lengths: Array,
    flow: Flow,
    halvings: int,
) -> Width:
    level = _level(problem, minimum)

    def along(direction):
        def start(t):
            return settled(problem, jax.tree.map(lambda x, v: x + t * v, minimum, direction))

        def returns(begun):
            return _end(
                problem, minimum, level, flow(problem, begun, level, jax.random.key(0))
            ).returned

        def edge(run):
            def holds(begun):
                return jax.lax.cond(run, returns, lambda w: problem.loss(w) >= level, begun)

            return _edge(start, holds, lengths, halvings, minimum)

        # Both edges by one program: a whole run is in it, which takes long to compile.
        inner, outer, start_at = jax.lax.map(edge, jnp.array([True, False]))
        params = jax.tree.map(lambda x: x[0], start_at)
        return Width(
            inner[0], outer[0], outer[1], params, _norm(jax.tree.map(jnp.subtract, params, minimum))
        )

    return jax.lax.map(along, directions)


def _edge(
    start: Callable, holds: Callable, lengths: Array, halvings: int, origin: Params
) -> tuple[Array, Array, Params]:
    """Bracket of the first length found whose start does not hold, and the start at its lower end.

    (0, lengths[0], origin) at the least; (lengths[-1], inf, ...) where all hold.
    """

    def unfinished(state):
        _, outer, tried, _ = state
        return jnp.where(outer < jnp.inf, tried < halvings, tried < lengths.size)

    def attempt(state):
        inner, outer, tried, best = state
        searching = outer == jnp.inf
        t = jnp.where(searching, lengths[tried], 0.5 * (inner + outer))
        begun = start(t)
        held = holds(begun)
        best = jax.tree.map(lambda x, y: jnp.where(held, x, y), begun, best)
        tried = jnp.where(searching & ~held, 0, tried + 1)
        return jnp.where(held, t, inner), jnp.where(held, outer, t), tried, best

    zero = jnp.zeros((), lengths.dtype)
    inner, outer, _, best = jax.lax.while_loop(
        unfinished, attempt, (zero, zero + jnp.inf, jnp.asarray(0), origin)
    )
    return inner, outer, best


def ends(
    problem: Problem,
    keys: Array,
    scale: ArrayLike = 0.1,
    flow: Flow = gradient_flow,
    draw: Draw | None = None,
    minimum: Params | None = None,
) -> Ends:
    """Where the runs from starts draw(problem, key, scale), one per key (m,), end; draw is by
    default the problem's init.

    minimum: whose basin is asked for, by default the collapsed point's. A drawing flow gets a key
    of its own. Raises ValueError where the problem has no init, or no collapsed point, and none is
    given instead.
    """
    require_float64("a basin's volume", minimum)
    problem = adopt(problem)
    if minimum is None:
        minimum = problem.collapsed()
    ran = _ran(problem, keys, scale, minimum, flow=flow, draw=draw or _init)
    return _ends(problem, minimum, ran)  # by one program for all flows


@partial(jax.jit, static_argnames=("flow", "draw"))
def _ran(
    problem: Problem, keys: Array, scale: ArrayLike, minimum: Params, flow: Flow, draw: Draw
) -> Params:
    level = _level(problem, minimum)

    def run(key):
        first, second = jax.random.split(key)
        return flow(problem, draw(problem, first, scale), level, second)

    return jax.lax.map(run, keys)


@jax.jit
def _ends(problem: Problem, minimum: Params, ran: Params) -> Ends:
    level = _level(problem, minimum)
    return jax.lax.map(lambda end: _end(problem, minimum, level, end), ran)


def _init(problem: Problem, key: Array, scale: Array) -> Params:
    return problem.init(key, scale)


def volume(found: Ends) -> Volume:
    """Count the ends of starts drawn alike. NumPy, so not for `jit`. Raises ValueError for no
    ends.
    """
    returned, below = np.ravel(found.returned), np.ravel(found.below)
    if returned.size == 0:
        raise ValueError("expected at least one end, got none; run some starts")
    hits = int(returned.sum())
    interval = binomtest(hits, returned.size).proportion_ci(CONFIDENCE, "exact")
    return Volume(
        starts=returned.size,
        returned=hits,
        below=int(below.sum()),
        other=returned.size - hits - int(below.sum()),
        share=hits / returned.size,
        low=float(interval.low),
        high=float(interval.high),
    )


def compare(problem: Problem, widths: Width, saddle: VAEParams) -> Lengths:
    """Put the certified radius, the widths along `principal` directions from the collapsed point,
    and the distance of the saddle that a path out of there crosses side by side. Raises ValueError
    for a problem of which theory knows nothing.
    """
    if not isinstance(problem, ThresholdVAE):
        raise ValueError(
            "expected a problem of vae.threshold_vae, got another one; read the widths by "
            "themselves"
        )
    region = theory.collapse_radius(problem.X, problem.alpha, problem.gamma, problem.beta)
    least = float(region.radius)
    far = float(jnp.max(jnp.linalg.norm(saddle.weight, axis=1)))
    inner, outer, crossing = (
        float(np.min(x)) for x in (widths.inner, widths.outer, widths.crossing)
    )
    return Lengths(
        radius=least,
        width=(inner, outer),
        crossing=crossing,
        saddle=far,
        returns=least <= outer,
        inside=inner <= far,
        certified=least <= crossing,
        descent=bool(np.all(np.asarray(widths.inner) <= np.asarray(widths.crossing))),
    )


def _end(problem: Problem, minimum: Params, level: Array, end: Params) -> Ends:
    """Refined, and told whether it is the minimum."""
    # Far below, on the way to where the loss has no bound, there may be nothing to refine to.
    refined = jax.lax.cond(
        problem.loss(end) < level, lambda: end, lambda: stationary.refine(problem, end).params
    )
    loss = problem.loss(refined)
    away = model.reach(problem, minimum, jax.tree.map(jnp.subtract, refined, minimum))
    return Ends(refined, loss, away <= SAME, loss < level)


def _level(problem: Problem, minimum: Params) -> Array:
    """The minimum's loss, less what rounding can make of it."""
    return problem.loss(minimum) - problem.rounding(minimum)


def _rates(problem: Problem, params: Params, others: float) -> Params:
    """How fast each parameter moves down its slope: n for per-datum ones, `others` for the rest."""
    rates = optax.tree.full_like(params, others)
    if problem.structure is None:
        return rates
    parts, n = problem.structure.split(rates), 1.0 * len(problem.structure.data)
    return problem.structure.join(parts._replace(local=optax.tree.full_like(parts.local, n)))


def _flow(
    problem: Problem, params: Params, level: ArrayLike, time: ArrayLike, rates: Params
) -> Params:
    x, unravel = ravel_pytree(params)
    rate = ravel_pytree(rates)[0]
    valued = jax.value_and_grad(lambda y: problem.loss(unravel(y)))

    def velocity(y, _):
        # Below the level everything stands still: gamma may be on its way to zero there, and the
        # flow ever stiffer.
        value, gradient = valued(y)
        return jnp.where(value >= level, -rate * gradient, 0.0)

    def unfinished(state):
        y, t, _ = state
        return (t < time) & (valued(y)[0] >= level)  # false for NaN as well

    def stretch(state):
        y, t, span = state
        span = jnp.minimum(span, time - t)
        y = odeint(
            velocity, y, jnp.stack([jnp.zeros_like(span), span]), rtol=ERROR, atol=1e-3 * ERROR
        )[-1]
        return y, t + span, 2 * span

    t = jnp.zeros((), x.dtype)
    return unravel(jax.lax.while_loop(unfinished, stretch, (x, t, t + FIRST))[0])


def _norm(tree: Params) -> Array:
    return jnp.linalg.norm(ravel_pytree(tree)[0])
