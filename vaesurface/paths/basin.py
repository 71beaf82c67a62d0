"""How wide and how large is the basin of a minimum, and does noise carry a run out of it?

`width` goes out from a minimum along given directions and finds the farthest start from which
descent returns; `volume` counts how many of many starts end there, with a confidence interval;
`compare` puts the width of the collapsed point beside the radius that theory certifies and the
saddle that a path crosses. Descent is one of the `flows`. A run's end is refined before it is
judged.

>>> import jax.numpy as jnp
>>> wells = Problem(loss=lambda x: jnp.sum((x**2 - 1) ** 2))
>>> right = width(wells, jnp.array([-1.0]), jnp.array([[1.0]]), jnp.array([0.5, 4.0]))
>>> print(f"{right.inner[0]:.2f}")  # the saddle lies at zero
1.00
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.typing import ArrayLike
from scipy.stats import binomtest

from vaesurface import stationary, theory
from vaesurface.energy import VAEParams
from vaesurface.glance import brief
from vaesurface.paths.flows import Flow, gradient_flow, settled
from vaesurface.problem import Params, Problem, adopt, entry, require_float64
from vaesurface.stationary import model
from vaesurface.vae import ThresholdVAE

__all__ = ["Ends", "Lengths", "Volume", "Width", "compare", "ends", "principal", "volume", "width"]

Draw = Callable[[Problem, Array, Array], Params]  # draw(problem, key, scale) -> a start

# Distance, in the parameters' sizes, up to which a refined end is the minimum: as in
# `tally.distinct`.
RETURNED = 1e-6
# Of the interval around a share.
SHARE_CONFIDENCE = 0.95


@brief()
class Ends(NamedTuple):
    """Where runs end, leading axis: runs. One that has neither returned nor ended below is at
    another point above the minimum, or at none.

    params: refined, where the run did not end below.
    loss: there.
    returned: whether that is the minimum.
    below: whether the loss is below the minimum's.
    """

    params: Params
    loss: Array
    returned: Array
    below: Array


@brief()
class Width(NamedTuple):
    """How far out along each of m directions descent returns; all (m,), in units of the directions.

    inner: the farthest start that is known to return before the first one tried that does not (0
        where none does).
    outer: that one (inf where all do).
    crossing: from where on the start itself lies below the minimum (inf: nowhere).
    params: the start at inner.
    distance: its Euclidean distance from the minimum.
    """

    inner: Array
    outer: Array
    crossing: Array
    params: Params
    distance: Array


@brief()
class Volume(NamedTuple):
    """How many runs return to a minimum.

    starts: how many were run.
    returned: of these.
    below: ended below the minimum.
    other: did neither.
    share: of those that returned.
    low: of the share's exact interval (Clopper & Pearson, Biometrika 26, 1934) with 95 %
        confidence.
    high: of that interval.
    """

    starts: int
    returned: int
    below: int
    other: int
    share: float
    low: float
    high: float


@brief()
class Lengths(NamedTuple):
    """The collapsed basin in one norm: that of the weight's longest row.

    radius: below it no energy is lower (`theory.collapse_radius`).
    width: (inner, outer), least over the directions.
    crossing: least distance at which a start is lower than collapse, inf for none.
    saddle: distance of the saddle.
    returns: whether radius <= width.
    inside: whether width <= saddle.
    certified: whether radius <= crossing.
    descent: whether width <= crossing in every direction.

    The last two hold for certain, and their failure is a mistake somewhere: what is lower does not
    return, and the certificate is right as long as starts lie in its region. The first two are to
    be expected, and measured. radius <= width fails where the certificate is tight: it reaches to
    where energies come down to the collapsed one again, beyond the crest from which they come down
    (0.771 and 0.650 alpha for antipodal data and alpha -> 0). width <= saddle (of the lower end of
    the bracket) may fail for few directions, and because starts have bias and gamma as at collapse,
    and the saddle has not.
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


def principal(problem: Problem, count: int) -> VAEParams:
    """Directions (count, ...) u_j e_1^T of the weight, for `width`: u_j the j-th principal
    direction of the data.

    Their longest row is one long, so that lengths along them are row norms, as
    `theory.collapse_radius` counts. Raises ValueError for a problem without data or with fewer
    features.
    """
    X = None if problem.structure is None else problem.structure.data
    if X is None or not 1 <= count <= X.shape[1]:
        have = "no data" if X is None else f"{X.shape[1]} features"
        raise ValueError(
            f"expected a VAE's problem with at least {count} >= 1 features, got {have}; ask for "
            "fewer directions"
        )
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
    return _widths(adopt(problem), minimum, directions, grid, flow=flow, halvings=halvings)


@entry("a basin's width", static=("flow", "halvings"))
def _widths(
    problem: Problem,
    minimum: Params,
    directions: Params,
    lengths: Array,
    flow: Flow,
    halvings: int,
) -> Width:
    """`width`, of lengths that ascend."""
    level = _level(problem, minimum)

    def returns(start: Params) -> Array:
        end = flow(problem, start, level, jax.random.key(0))
        return _end(problem, minimum, level, end).returned

    def is_above(start: Params) -> Array:
        return problem.loss(start) >= level

    def along(direction: Params) -> Width:
        def start(t: Array) -> Params:
            return settled(problem, optax.tree.add_scale(minimum, t, direction))

        def edge(run: Array) -> _Bracket:
            def holds(start: Params) -> Array:
                return jax.lax.cond(run, returns, is_above, start)

            return _edge(start, holds, lengths, halvings, minimum)

        # Both edges by one program: a whole run is in it, which takes long to compile.
        both = jax.lax.map(edge, jnp.array([True, False]))
        returning, above = model.at(both, 0), model.at(both, 1)
        return Width(
            inner=returning.inner,
            outer=returning.outer,
            crossing=above.outer,
            params=returning.best,
            distance=optax.tree.norm(optax.tree.sub(returning.best, minimum)),
        )

    return jax.lax.map(along, directions)


class _Bracket(NamedTuple):
    """Of the first length whose start does not hold.

    inner: (), the longest length before it that is known to hold.
    outer: (), the shortest that is known not to; inf as long as none is.
    tried: (), lengths, or halvings once there is an outer end.
    best: the start at inner.
    """

    inner: Array
    outer: Array
    tried: Array
    best: Params


def _edge(
    start: Callable[[Array], Params],
    holds: Callable[[Params], Array],
    lengths: Array,
    halvings: int,
    origin: Params,
) -> _Bracket:
    """Bracket of the first length tried whose start does not hold.

    (0, lengths[0], origin) at the least; (lengths[-1], inf, ...) where all hold.
    """

    def unfinished(bracket: _Bracket) -> Array:
        limit = jnp.where(bracket.outer < jnp.inf, halvings, lengths.size)
        return bracket.tried < limit

    def attempt(bracket: _Bracket) -> _Bracket:
        inner, outer, tried, best = bracket
        searching = outer == jnp.inf
        t = jnp.where(searching, lengths[tried], 0.5 * (inner + outer))
        begun = start(t)
        held = holds(begun)
        return _Bracket(
            inner=jnp.where(held, t, inner),
            outer=jnp.where(held, outer, t),
            tried=jnp.where(searching & ~held, 0, tried + 1),
            best=optax.tree.where(held, begun, best),
        )

    zero = jnp.zeros((), lengths.dtype)
    whole = _Bracket(inner=zero, outer=zero + jnp.inf, tried=jnp.asarray(0), best=origin)
    return jax.lax.while_loop(unfinished, attempt, whole)


def ends(
    problem: Problem,
    keys: Array,
    scale: ArrayLike = 0.1,
    flow: Flow = gradient_flow,
    draw: Draw | None = None,
    minimum: Params | None = None,
) -> Ends:
    """Where the runs from starts draw(problem, key, scale), one per key (m,), end.

    draw: by default the problem's init. minimum: whose basin is asked for, by default the collapsed
    point's. A drawing flow gets a key of its own. Raises ValueError where the problem has no init,
    or no collapsed point, and none stands in for it.
    """
    require_float64("a basin's volume", minimum)
    problem = adopt(problem)
    startless = draw is None and not problem.has("init")
    if startless or (minimum is None and not problem.has("collapsed")):
        raise ValueError(
            "expected a problem with init and collapsed, got one without; give draw and minimum "
            "instead"
        )
    minimum = problem.collapsed() if minimum is None else minimum
    ran = _ran(problem, keys, scale, minimum, flow=flow, draw=draw or _init)
    return _ends(problem, minimum, ran)  # one program for all flows


@partial(jax.jit, static_argnames=("flow", "draw"))
def _ran(
    problem: Problem, keys: Array, scale: Array, minimum: Params, flow: Flow, draw: Draw
) -> Params:
    """Where starts lead, one per key."""
    level = _level(problem, minimum)

    def run(key: Array) -> Params:
        drawing, flowing = jax.random.split(key)
        return flow(problem, draw(problem, drawing, scale), level, flowing)

    return jax.lax.map(run, keys)


@jax.jit
def _ends(problem: Problem, minimum: Params, ran: Params) -> Ends:
    """Runs' ends, refined and judged."""
    level = _level(problem, minimum)
    return jax.lax.map(lambda end: _end(problem, minimum, level, end), ran)


def _init(problem: Problem, key: Array, scale: Array) -> Params:
    """A start as the problem draws it."""
    return problem.init(key, scale)


def volume(runs: Ends) -> Volume:
    """Count the ends of starts drawn alike. NumPy, so not for `jit`. Raises ValueError for no
    ends.
    """
    returned, below = np.ravel(runs.returned), np.ravel(runs.below)
    if returned.size == 0:
        raise ValueError("expected at least one end, got none; run some starts")
    hits = int(returned.sum())
    interval = binomtest(hits, returned.size).proportion_ci(SHARE_CONFIDENCE, "exact")
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
    """A run's end, refined, and told whether it is the minimum."""
    # Far below, on the way to where the loss has no bound, there may be nothing to refine to.
    refined = jax.lax.cond(
        problem.loss(end) < level, lambda: end, lambda: stationary.refine(problem, end).params
    )
    loss = problem.loss(refined)
    away = model.reach(problem, minimum, optax.tree.sub(refined, minimum))
    return Ends(params=refined, loss=loss, returned=away <= RETURNED, below=loss < level)


def _level(problem: Problem, minimum: Params) -> Array:
    """The minimum's loss, less what rounding can make of it."""
    return problem.loss(minimum) - problem.rounding(minimum)
