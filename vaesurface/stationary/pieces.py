"""What is a point at which smooth pieces of a loss meet: do all rise from it, or does one fall?

`examine` gives each tie at the point a side (`forced`), and asks of every smooth piece that this
makes whether it rises in the cone that the ties leave to it (`cones`). If all do the point is a
strict local minimum, however small the rise: derivatives of pieces are exact to rounding where
differences of values are not. If one falls the point is no minimum; the loss's own derivatives on
the way there must say so, too. Ties whose side makes no difference, as of the max by which
logsumexp is shifted, are none. In NumPy and programs; not for `vmap`.

>>> loss = lambda w: 1 + 1e-6 * (w[0] ** 2 - w[1] ** 2 + 1e-4 * jnp.abs(w[1]))
>>> found = examine(Problem(loss=loss), jnp.zeros(2), jnp.zeros(2))
>>> print(found.outcome.name, found.pieces)
RISES 2
"""

from enum import IntEnum
from itertools import product
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Params, Problem, irregular
from vaesurface.stationary import cones
from vaesurface.stationary.forced import Forced, Second, tied
from vaesurface.stationary.kinks import ABOVE, BELOW, EQUAL, NATURAL

__all__ = ["Examined", "Outcome", "examine"]

MOST_PARAMETERS = 1000  # whose pieces' Hessians are formed
MOST_PIECES = 1024  # some seconds
MOST_PROGRAMS = 4000  # linear ones that list the pieces, a millisecond each
MOST_TURNED = 20_000  # gradients by which sides are found to make no difference
EPS = float(np.finfo(float).eps)
SAME = 1e-9  # relative difference of derivatives that are the same
ALIKE = 256 * EPS  # of pieces' values and gradients far out, where their side makes no difference
ALIKE_HERE = 4 * EPS  # of the same at the point, over those far out
CONTEXTS = 32  # sides of all others in which a side makes no difference: random ones
SURFACES = 8  # pieces, random ones, in which ties that are one surface must be one
JITTER = 1e-14  # as `Problem.rounding`: changes nothing but rounding
JITTERS = 3
ROUNDED = 8.0  # largest changes by it, as a bound
SUMMED = 32.0  # roundings of a gradient's norm, which what is left of it may be
CLEAR = 32.0  # bounds on rounding from which a slope is one
SHOWN = 1e-12  # of the loss, from which a drop is the difference of two values
JUMPS = 64 * EPS  # of the loss, from which two values differ
STEPS = 10.0 ** np.arange(-12.0, 0.1, 0.5)  # on the way down, in units of the sizes
RESOLVED = 3  # of them, the first ones that rounding does not hide, on which the loss must fall
# A step to where the piece is stationary along the ties, in units of the sizes, and the slope along
# them: at most as `verdict.SCALED` allows a smooth loss.
POLISHED, SLOPE = 1e-6, 1e-7
SURELY = 1e-3  # how far inside a piece, of rows of length one, a direction needs no help
INWARD = 0.25  # of a fall: what a way into the piece may cost of it


class Outcome(IntEnum):
    """What the pieces say together; UNDECIDED where they were too many, or one was.

    SMOOTH: no side makes a difference, and differentiation returns what it should.
    """

    UNDECIDED = 0
    RISES = 1
    FALLS = 2
    SMOOTH = 3


class Examined(NamedTuple):
    """What `examine` found.

    outcome: of all pieces.
    pieces: looked at.
    slope: along the fall, per unit of the sizes; 0 where it begins with curvature.
    displacement: to a lower place, like params, or None.
    drop: by how much, as the derivatives on the way there say.
    """

    outcome: Outcome
    pieces: int
    slope: float = 0.0
    displacement: Params | None = None
    drop: float = 0.0


class _Fall(NamedTuple):
    """A way u = t first + t^2 second, in units of the sizes.

    slope: of the loss at its start.
    """

    first: Any
    second: Any
    slope: float


class _View(NamedTuple):
    """A piece at the point; rows of length one.

    sides: (groups,).
    gradient: (p,).
    noise: bound on its rounding.
    parts: (p,), the same of each of its entries.
    second: with weights zero.
    rows: (m, p), along which the piece extends, those of equal sides included both ways.
    kept: (groups,), whether a tie has a gradient at all; without, it is left out.
    """

    sides: Any
    gradient: Any
    noise: float
    parts: Any
    second: Second
    rows: Any
    kept: Any


def examine(problem: Problem, params: Params, newton: Params, least: int = 0) -> Examined:
    """Of a stationary point. newton: the step to it, like params; least: operations that are known
    to be at a tie.
    """
    flat, unravel = ravel_pytree(params)
    nothing = Examined(outcome=Outcome.UNDECIDED, pieces=0)
    groups = tied(problem, params, newton) if flat.size <= MOST_PARAMETERS else None
    if groups is None or sum(map(len, groups.members)) < least:
        return nothing
    forced = Forced(problem, params, groups)
    if not forced.same_surfaces(_random(SURFACES, len(groups.members))):
        return nothing
    free = _free(forced)
    pieces = None if free is None else _pieces(forced, free)
    if pieces is None:
        return nothing
    base = np.zeros(flat.size)
    if not len(free) and _as_differentiated(forced, pieces[0]):
        return Examined(outcome=Outcome.SMOOTH, pieces=1)
    base = _polished(forced, pieces[0], free)
    outcome, fall = _all(forced, pieces, free, base)
    if fall is None:
        return Examined(outcome=outcome, pieces=len(pieces))
    displacement, drop = fall[1]
    return Examined(
        outcome=outcome,
        pieces=len(pieces),
        slope=fall[0].slope,
        displacement=unravel(jnp.asarray(forced.scale * displacement)),
        drop=drop,
    )


def _free(forced: Forced) -> Any:
    """Groups whose side makes a difference, to the value or the gradient at the point or far from
    it, in some context; None where they are too many to tell.
    """
    groups = forced.groups
    count = len(groups.members)
    contexts = np.concatenate([groups.natural, _random(CONTEXTS, count)])
    if not count or len(contexts) * count > MOST_TURNED:
        return np.zeros(0, int) if not count else None
    differs = np.array(groups.three)
    places = np.stack([np.zeros(len(forced.scale)), groups.places[0], groups.places[-1]])
    for base in contexts:
        turned = np.where(np.eye(count, dtype=bool), -base[None], base[None])
        differs |= _differ(forced, base, turned, places)
    return np.flatnonzero(differs)


def _random(count: int, groups: int) -> Any:
    """(count, groups) sides."""
    sides = np.where(np.asarray(irregular(count + 2, groups))[2:] > 0, ABOVE, BELOW)
    sides[0], sides[1] = ABOVE, BELOW
    return sides.astype(np.int8)


def _differ(forced: Forced, base: Any, turned: Any, places: Any) -> Any:
    """(m,), whether pieces turned (m, groups) differ from base (groups,) at any of places, of
    which the first is the point.
    """
    sides = np.concatenate([base[None], turned])
    each = np.repeat(sides, len(places), axis=0)
    met = forced.slopes(each, np.tile(places, (len(sides), 1)))
    values = met.values.reshape(len(sides), -1)
    gradients = met.gradients.reshape(len(sides), len(places), -1)
    change = np.max(np.abs(gradients[1:] - gradients[:1]), axis=2)
    size = np.max(np.abs(gradients[0, 1:]))
    same = np.all(change[:, 1:] <= ALIKE * size, axis=1) & (change[:, 0] <= ALIKE_HERE * size)
    height = np.max(np.abs(values[0]))
    return ~(same & np.all(np.abs(values[1:] - values[:1]) <= ALIKE * height, axis=1))


def _pieces(forced: Forced, free: Any) -> Any:
    """(c, groups), sides of all pieces that may have an interior; None for too many."""
    groups = forced.groups
    choice = [(ABOVE, BELOW, EQUAL) if groups.three[g] else (ABOVE, BELOW) for g in free]
    count = np.prod([float(len(sides)) for sides in choice])
    if count <= MOST_PIECES:
        own = np.array(list(product(*choice)), np.int8).reshape(int(count), len(free))
    else:
        cells = _cells(forced, free)
        if cells is None:
            return None
        own = np.where(cells, ABOVE, BELOW).astype(np.int8)
    pieces = np.full((len(own), len(groups.members)), ABOVE, np.int8)
    pieces[:, free] = own
    return pieces


def _cells(forced: Forced, free: Any) -> Any:
    """Linear ties cut space into fewer cells than they have sides."""
    if any(forced.groups.three[g] for g in free):
        return None
    values = np.full(len(forced.groups.members), NATURAL, np.int8)
    rows, *others = (forced.second(values, place).rows[free] for place in forced.groups.places)
    if not all(
        np.allclose(rows, other, rtol=0, atol=SAME * np.max(np.abs(rows))) for other in others
    ):
        return None
    return cones.cells(cones.unit_rows(rows)[0], MOST_PIECES, MOST_PROGRAMS)


def _as_differentiated(forced: Forced, sides: Any) -> bool:
    """Whether differentiation returns the derivatives of the one piece there is."""
    zero = np.zeros(len(forced.scale))
    slope = forced.slopes(sides[None], zero[None]).gradients[0]
    gradient, form = forced.differentiated()
    own = forced.second(sides, zero).form
    size = np.max(np.abs(own))
    near = np.max(np.abs(gradient - slope)) <= SAME * max(size, EPS)
    return bool(near and np.all(np.abs(form - own) <= SAME * size))


def _polished(forced: Forced, sides: Any, free: Any) -> Any:
    """(p,), where a piece is stationary along the ties, if that is near; else the point."""
    base = np.zeros(len(forced.scale))
    for _ in range(2):
        slope = forced.slopes(sides[None], base[None]).gradients[0]
        rows = forced.second(sides, base).rows[free]
        if not (np.all(np.isfinite(slope)) and np.all(np.isfinite(rows))):
            return base
        weights = np.zeros(len(sides))
        weights[free] = np.linalg.lstsq(rows.T, slope, rcond=None)[0] if len(free) else 0.0
        form = forced.second(sides, base, weights).form
        along = cones.vanishing(cones.unit_rows(rows)[0], len(base))
        if not np.all(np.isfinite(form)) or not np.linalg.norm(along.T @ slope) <= SLOPE:
            return base
        values, vectors = np.linalg.eigh(along.T @ form @ along)
        firm = np.abs(values) > len(base) * EPS * np.max(np.abs(values), initial=0.0)
        slopes = vectors[:, firm].T @ (along.T @ slope)
        step = -along @ (vectors[:, firm] @ (slopes / values[firm]))
        if not np.linalg.norm(step) <= POLISHED:
            return base
        base = base + step
    return base


def _all(
    forced: Forced, pieces: Any, free: Any, base: Any
) -> tuple[Outcome, tuple[_Fall, tuple[Any, float]] | None]:
    """Of all pieces, and the fall with its displacement and drop."""
    decided = True
    for sides in pieces:
        outcome, fall = _one(forced, sides, free, base)
        if fall is not None:
            way = _followed(forced, fall, base)
            if way is not None:
                return Outcome.FALLS, (fall, way)
        decided &= outcome == Outcome.RISES
    return (Outcome.RISES if decided else Outcome.UNDECIDED), None


def _one(forced: Forced, sides: Any, free: Any, base: Any) -> tuple[Outcome, _Fall | None]:
    """Whether a piece rises, or a way along which it should fall."""
    jitter = JITTER * np.asarray(irregular(JITTERS, len(base)))
    places = base[None] + np.concatenate([np.zeros((1, len(base))), jitter])
    met = forced.slopes(np.repeat(sides[None], len(places), axis=0), places)
    second = forced.second(sides, base)
    sound = all(np.all(np.isfinite(a)) for a in (met.gradients, second.rows, second.form))
    if not sound or second.loose or _idle_matters(forced, sides, free):
        return Outcome.UNDECIDED, None
    here = forced.level
    shaken = np.max(np.abs(met.values - met.values[0])) + np.linalg.norm(met.gradients[0] * base)
    if abs(met.values[0] - here) > JUMPS * abs(here) + ROUNDED * shaken:
        rises = Outcome.RISES if met.values[0] > here else Outcome.UNDECIDED
        return rises, None
    gradient = met.gradients[0]
    changes = met.gradients - gradient
    change = np.max(np.linalg.norm(changes, axis=1))
    sign = np.where(sides == BELOW, -1.0, 1.0)
    rows, lengths = cones.unit_rows(sign[:, None] * second.rows)
    kept = np.isin(np.arange(len(sides)), free) & (lengths > 0)
    view = _View(
        sides=sides,
        gradient=gradient,
        noise=float(ROUNDED * change + SUMMED * EPS * np.linalg.norm(gradient)),
        parts=ROUNDED * np.max(np.abs(changes), axis=0) + SUMMED * EPS * np.abs(gradient),
        second=second._replace(rows=sign[:, None] * second.rows),
        rows=np.concatenate([rows[kept], -rows[kept & (sides == EQUAL)]]),
        kept=kept,
    )
    return _by_slope(forced, view, base, len(free) > 0)


def _idle_matters(forced: Forced, sides: Any, free: Any) -> bool:
    """Whether a side that was found to make no difference makes one in this piece."""
    idle = np.ones(len(sides), bool)
    idle[free] = False
    if not idle.any():
        return False
    turned = np.where(idle[None], _random(2 + 2, len(sides))[1:], sides[None])
    places = np.stack([np.zeros(len(forced.scale)), *forced.groups.places[[0, -1]]])
    return bool(np.any(_differ(forced, sides, turned, places)))


def _by_slope(forced: Forced, view: _View, base: Any, kinked: bool) -> tuple[Outcome, _Fall | None]:
    """First order; where that leaves it open, second."""
    first = cones.multipliers(view.gradient, view.rows)
    rest = float(np.linalg.norm(first.rest))
    # Entry by entry: beside a steep one a small one would be taken for rounding.
    noise = view.parts + SUMMED * EPS * np.abs(view.rows.T) @ first.weights
    if np.all(np.abs(first.rest) <= noise):
        return _by_curvature(forced, view, first.weights, base)
    # Without a kink it is no stationary point.
    if np.all(np.abs(first.rest) <= CLEAR * noise) or not kinked:
        return Outcome.UNDECIDED, None
    deep = cones.inside(view.rows)
    if deep is None:
        empty = not np.any(view.sides == EQUAL) and cones.is_empty(view.rows)
        empty = empty and _is_straight(forced, view, base)
        return (Outcome.RISES if empty else Outcome.UNDECIDED), None
    way = -first.rest / rest
    if not np.all(view.rows @ way > SURELY):
        # A little into the cone, but not so far that the slope is lost.
        cost = abs(float(view.gradient @ deep))
        way = way + deep * (min(0.1, INWARD * rest / cost) if cost > 0 else 0.1)
        way /= np.linalg.norm(way)
    slope = float(view.gradient @ way)
    return Outcome.UNDECIDED, _Fall(first=way, second=np.zeros(len(base)), slope=slope)


def _is_straight(forced: Forced, view: _View, base: Any) -> bool:
    """Whether the ties of a piece are linear: then a cone without an interior is no piece."""
    sign = np.where(view.sides == BELOW, -1.0, 1.0)[:, None]
    size = SAME * np.max(np.abs(view.second.rows), initial=0.0)
    for place in forced.groups.places[[0, -1]]:
        there = sign * forced.second(view.sides, base + place).rows
        if not np.all(np.abs(there - view.second.rows)[view.kept] <= size):
            return False
    return True


def _by_curvature(
    forced: Forced, view: _View, weights: Any, base: Any
) -> tuple[Outcome, _Fall | None]:
    """Of the Lagrangian, in the directions that the first order leaves."""
    own = np.flatnonzero(view.kept)
    both = view.sides[own] == EQUAL
    signed = weights[: len(own)].copy()
    signed[both] -= weights[len(own) :]
    lengths = np.linalg.norm(view.second.rows[own], axis=1)
    sign = np.where(view.sides[own] == BELOW, -1.0, 1.0)
    full = np.zeros(len(view.sides))
    full[own] = sign * signed / lengths
    form = forced.second(view.sides, base, full).form
    if not np.all(np.isfinite(form)):
        return Outcome.UNDECIDED, None
    tight = (np.abs(signed) > view.noise) | both
    rows = view.rows[: len(own)]
    band = 16 * len(form) * EPS * np.max(np.abs(np.linalg.eigvalsh(form)), initial=0.0)
    bent = cones.bending(form, rows[~tight], band, rows[tight])
    if bent.rises:
        return Outcome.RISES, None
    if bent.descent is None:
        return Outcome.UNDECIDED, None
    return Outcome.UNDECIDED, _curved(forced, view, base, bent.descent, form, own[tight])


def _curved(forced: Forced, view: _View, base: Any, v: Any, form: Any, tight: Any) -> _Fall:
    """Along v, bent so that the ties in tight stay at zero to second order, and a little inwards:

    a_e . w = -(v' H_e v) / 2 for u = t v + t^2 w
    """
    step, rows = 1e-3, view.second.rows
    sign = np.where(view.sides == BELOW, -1.0, 1.0)[:, None]
    ahead, behind = (sign * forced.second(view.sides, base + s * v).rows for s in (step, -step))
    bends = (ahead - behind)[tight] @ v / (2 * step)
    bend = np.linalg.lstsq(rows[tight], -0.5 * bends, rcond=None)[0] if len(tight) else 0.0 * v
    deep = cones.inside(view.rows)
    if deep is not None:
        cost = abs(float(view.gradient @ deep))
        fall = 0.5 * abs(float(v @ form @ v))
        bend = bend + deep * (min(1.0, INWARD * fall / cost) if cost > 0 else 0.0)
    return _Fall(first=v, second=bend, slope=0.0)


def _followed(forced: Forced, fall: _Fall, base: Any) -> tuple[Any, float] | None:
    """Displacement (p,) in units of the sizes and drop, where the loss itself falls along a way as
    soon as that can be told from rounding.
    """
    jitter = JITTER * np.asarray(irregular(JITTERS, len(base)))
    beside = np.concatenate([np.zeros((1, len(base))), jitter])
    t = STEPS[:, None]
    ways, towards = t * fall.first + t**2 * fall.second, fall.first + 2 * t * fall.second
    places = (base + ways)[:, None] + beside[None]
    met = forced.natural(places.reshape(-1, len(base)))
    gradients, values = met.gradients, met.values.reshape(places.shape[:2])[:, 0]
    slopes = np.einsum("sjp,sp->sj", gradients.reshape(places.shape), towards)
    noise = ROUNDED * np.max(np.abs(slopes - slopes[:, :1]), axis=1)
    slopes = slopes[:, 0]
    clear = np.flatnonzero(np.isfinite(slopes) & (np.abs(slopes) > noise))[:RESOLVED]
    if len(clear) < RESOLVED or not np.all(slopes[clear] < 0):
        return None
    going = np.cumprod((slopes < 0) | (np.arange(len(STEPS)) < clear[0])) > 0
    last = int(np.flatnonzero(going)[-1])
    here = forced.level
    if here - values[last] > SHOWN * abs(here):
        return base + ways[last], here - float(values[last])
    drop = -np.trapezoid(
        np.append(slopes[0], slopes[: last + 1]), np.append(0.0, STEPS[: last + 1])
    )
    return base + ways[last], float(drop)
