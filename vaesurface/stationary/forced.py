"""What is a loss on one side of each of its ties, continued beyond it?

`tied` lists the operations at a tie at a point (`kinks`, `ties`), in groups that are one surface;
`Forced` evaluates the loss with a side chosen for each group: values, gradients, Hessians, and the
ties' own gradients, in units u of the parameters' natural sizes. NumPy outside, programs inside,
each compiled once for all pieces of a loss.

>>> problem = Problem(loss=lambda w: jnp.abs(w[0]) + jax.nn.relu(-2 * w[0]) + w[1])
>>> groups = tied(problem, jnp.zeros(2), jnp.zeros(2))
>>> forced = Forced(problem, jnp.zeros(2), groups)
>>> sides = np.array([[kinks.ABOVE], [kinks.BELOW]])
>>> print(len(groups.members), forced.slopes(sides, np.zeros((2, 2))).gradients)
1 [[ 1.  1.]
 [-3.  1.]]
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Params, Problem, irregular
from vaesurface.stationary import kinks, ties
from vaesurface.stationary.kinks import ABOVE, BELOW, CHOSEN, EQUAL, NATURAL, Tie

__all__ = ["Forced", "Groups", "Member", "Second", "Slopes", "tied"]

MOST_TIES = 4096  # operations at a tie, elementwise, that are looked at
# Places in units of the parameters' sizes, both ways, at which functions are compared: analytic
# ones that agree there are the same.
FAR = (0.05, 0.1, 0.3)
DIGITS = 9  # to which ties that are multiples of each other there are the same surface
PAIRS = 32  # pieces and places that one program evaluates
LEAST = 16  # groups that programs have room for, at least
OPEN = 1e-3  # distance at which a tie that is none of the point's own is open
ULPS = 8 * float(np.finfo(float).eps)


class Member(NamedTuple):
    """An operation at a tie.

    place: in the jaxpr.
    entry: of it in the operation's flat array.
    orientation: 1 or -1, whether its gap has the sign of that of its group's first member.
    """

    place: str
    entry: int
    orientation: int


class Groups(NamedTuple):
    """Operations at a tie at a point, by surface.

    members: of each.
    three: of each, whether being equal is a side of its own, as of sign and ==.
    places: (m, p), far from the point, in units of the sizes: each way as far as the other.
    natural: (m, groups), on which side they are, 1 or -1.
    steps: (6, p), of which the first is none, at which ties were looked at.
    """

    members: list[list[Member]]
    three: list[bool]
    places: Any
    natural: Any
    steps: Any


def tied(problem: Problem, params: Params, newton: Params) -> Groups | None:
    """newton: the step to the stationary point, like params. None where they are too many, or
    where one of them, or of the others, has no sides to choose from.
    """
    kinds = _kinds(problem, params)
    if kinds is None:
        return None
    steps = ties.shifts(newton, problem.size(params))
    seen = _seen(problem, params, steps)
    standings = {place: ties.standing(tie) for place, tie in seen.items()}
    members = []
    for place, standing in standings.items():
        active = np.flatnonzero(np.asarray(standing.active))
        if len(active) and kinds[place] not in CHOSEN:
            return None
        members += [(place, int(i)) for i in active]
    if len(members) > MOST_TIES:
        return None
    return _grouped(problem, params, members, kinds)._replace(steps=steps)


def _kinds(problem: Problem, params: Params) -> dict[str, str] | None:
    """Of all operations that are not smooth; None where there are others, or too many."""
    walk, count = ties.by_shapes(problem.loss, params)
    return None if walk.opaque or count > ties.MOST_OPERATIONS else walk.kinds


@jax.jit
def _seen(problem: Problem, params: Params, steps: Array) -> dict[str, Tie]:
    """Ties at steps (m, p) from the point, with a leading axis."""
    x, unravel = ravel_pytree(params)
    return jax.lax.map(lambda s: kinks.evaluate(problem.loss, unravel(x + s)).ties, steps)


def _grouped(
    problem: Problem, params: Params, found: list[tuple[str, int]], kinds: dict[str, str]
) -> Groups:
    """Operations whose gaps are multiples of each other wherever one looks are one group."""
    scale = np.asarray(ravel_pytree(problem.size(params))[0])
    places = np.asarray(irregular(len(FAR), scale.size)) * np.asarray(FAR)[:, None]
    places = np.concatenate([places, -places])
    seen = _seen(problem, params, jnp.asarray(scale * places))
    flat = {place: np.asarray(tie.gap).reshape(len(places), -1) for place, tie in seen.items()}
    groups: dict[Any, list[Member]] = {}
    leading: dict[Any, int] = {}
    natural: dict[Any, Any] = {}
    for place, index in found:
        gaps = flat[place][:, index]
        most = gaps[np.argmax(np.abs(gaps))]
        sound = np.all(np.isfinite(gaps)) and most != 0
        key = tuple(np.round(gaps / most, DIGITS) + 0.0) if sound else (place, index)
        orientation = leading.setdefault(key, 1 if most > 0 else -1) * (1 if most > 0 else -1)
        groups.setdefault(key, []).append(Member(place, index, orientation))
        natural.setdefault(key, np.where(gaps >= 0, 1, -1))
    members = list(groups.values())
    return Groups(
        members=members,
        three=[any(kinds[one.place] in ("equal", "sign") for one in group) for group in members],
        places=places,
        natural=np.array(list(natural.values()), np.int8).reshape(len(members), len(places)).T,
        steps=None,
    )


class _Slots(NamedTuple):
    """Of one operation, elementwise: which group it is in, or the last, which is none; its
    orientation there; and the side that it is on at the point, where it is in none: of a gap that
    is zero wherever one looks (a ReLU's of a datum that is zero) the natural one. That it is zero
    in every piece, too, is what `Second.loose` says.
    """

    group: Any
    orientation: Any
    side: Any


class Slopes(NamedTuple):
    """Of pieces at places: values (m,), gradients (m, p)."""

    values: Any
    gradients: Any


class Second(NamedTuple):
    """Of one piece.

    rows: (groups, p), gradients of the gaps of each group's first member.
    form: (p, p), Hessian of the loss less weights times gaps.
    loose: (), operations outside the groups that are at a tie of this piece alone.
    """

    rows: Any
    form: Any
    loose: Any


class Forced:
    """A loss around a point, with sides (groups,) chosen: `kinks.ABOVE` is where the gap of a
    group's first member is positive. All other operations stay on their side, too, however far one
    goes: what is evaluated is one analytic function.
    """

    def __init__(self, problem: Problem, params: Params, groups: Groups) -> None:
        self.problem, self.params, self.groups = problem, params, groups
        self.level = float(problem.loss(params))
        self.scale = np.asarray(ravel_pytree(problem.size(params))[0])
        here = _seen(problem, params, groups.steps)
        shapes = {place: jax.tree.map(lambda a: a[0], tie) for place, tie in here.items()}
        # As many groups as another point may have, so that it shares the programs.
        count = len(groups.members)
        self.padded = max(LEAST, 1 << count.bit_length())
        always = {place: np.asarray(ties.standing(tie).always) for place, tie in here.items()}
        self.slots = {
            place: _Slots(
                group=np.full(tie.gap.shape, self.padded - 1),
                orientation=np.ones(tie.gap.shape, np.int8),
                side=np.where(always[place], NATURAL, np.where(tie.gap >= 0, ABOVE, BELOW)),
            )
            for place, tie in shapes.items()
        }
        offsets, total = {}, 0
        for place in sorted(shapes):
            offsets[place], total = total, total + shapes[place].gap.size
        self.firsts = np.zeros(self.padded, int)
        for g, group in enumerate(groups.members):
            self.firsts[g] = offsets[group[0].place] + group[0].entry
            for one in group:
                slot = self.slots[one.place]
                slot.group.reshape(-1)[one.entry] = g
                slot.orientation.reshape(-1)[one.entry] = one.orientation
        self.real = np.arange(self.padded) < count

    def _padded(self, numbers: Any, dtype: Any, last: int = 0) -> Any:
        numbers = np.asarray(numbers, dtype)
        padded = np.zeros((*numbers.shape[:-1], self.padded), dtype)
        padded[..., : numbers.shape[-1]] = numbers
        padded[..., -1] = last
        return padded

    def natural(self, places: Any) -> Slopes:
        """Of the loss itself at places (m, p), stopped gradients included."""
        return self._slopes(np.zeros((len(places), self.padded), np.int8), places)

    def slopes(self, sides: Any, places: Any) -> Slopes:
        """Pieces sides (m, groups) at places (m, p), in pairs."""
        return self._slopes(self._padded(sides, np.int8, ABOVE), places)

    def _slopes(self, sides: Any, places: Any) -> Slopes:
        values, gradients = [], []
        for start in range(0, len(places), PAIRS):
            count = min(PAIRS, len(places) - start)
            pairs = np.minimum(start + np.arange(PAIRS), len(places) - 1)
            chosen = sides[pairs], np.asarray(places)[pairs]
            out = _slopes(self.problem, self.params, self.scale, self.slots, *chosen)
            values.append(np.asarray(out.values)[:count])
            gradients.append(np.asarray(out.gradients)[:count])
        return Slopes(np.concatenate(values), np.concatenate(gradients))

    def second(self, sides: Any, place: Any, weights: Any = None) -> Second:
        """Of one piece at a place (p,). weights: (groups,), zero by default."""
        weights = self._padded(np.zeros(0) if weights is None else weights, float)
        how = self.scale, self.slots, self.firsts, self.real, self._padded(sides, np.int8, ABOVE)
        out = _second(self.problem, self.params, *how, np.asarray(place), weights)
        rows, *others = jax.tree.map(np.asarray, tuple(out))
        return Second(rows[: np.sum(self.real)], *others)

    def same_surfaces(self, sides: Any) -> bool:
        """Whether the members of each group are multiples of each other in pieces sides
        (m, groups) too, and not only where one happened to look.
        """
        groups = [group for group in self.groups.members if len(group) > 1]
        if not groups:
            return True
        each = np.repeat(self._padded(sides, np.int8, ABOVE), len(self.groups.places), axis=0)
        places = np.tile(self.groups.places, (len(sides), 1))
        met = _gaps(self.problem, self.params, self.scale, self.slots, each, places)
        gaps = {place: np.asarray(gap).reshape(len(each), -1) for place, gap in met.items()}
        for group in groups:
            own = np.stack([gaps[one.place][:, one.entry] for one in group])
            most = np.argmax(np.abs(own[0]))
            factors = own[:, most] / own[0, most] if own[0, most] != 0 else np.nan * own[:, 0]
            size = np.max(np.abs(own), axis=1, keepdims=True)
            if not np.all(np.abs(own - factors[:, None] * own[0]) <= 10.0**-DIGITS * size):
                return False
        return True

    def differentiated(self) -> tuple[Any, Any]:
        """Gradient and Hessian at the point as JAX returns them."""
        out = _differentiated(self.problem, self.params, self.scale)
        return np.asarray(out[0]), np.asarray(out[1])


def _walk(
    problem: Problem, params: Params, scale: Array, slots: dict[str, _Slots], sides: Array, u: Array
) -> kinks.Walk:
    x, unravel = ravel_pytree(params)
    choices = {}
    for place, slot in slots.items():
        own = jnp.asarray(sides)[slot.group]
        chosen = jnp.where(own == EQUAL, EQUAL, own * slot.orientation)
        alone = slot.group == len(sides) - 1
        choices[place] = jnp.where(alone, own * slot.side, chosen).astype(jnp.int8)
    return kinks.evaluate(problem.loss, unravel(x + scale * u), choices)


@jax.jit
def _slopes(
    problem: Problem,
    params: Params,
    scale: Array,
    slots: dict[str, _Slots],
    sides: Array,
    places: Array,
) -> Slopes:
    def one(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        side, place = pair
        value = jax.value_and_grad(lambda u: _walk(problem, params, scale, slots, side, u).value)
        return value(place)

    return Slopes(*jax.lax.map(one, (sides, places)))


@jax.jit
def _gaps(
    problem: Problem,
    params: Params,
    scale: Array,
    slots: dict[str, _Slots],
    sides: Array,
    places: Array,
) -> dict[str, Array]:
    """Of all operations, in pieces at places, with a leading axis."""

    def one(pair: tuple[Array, Array]) -> dict[str, Array]:
        walk = _walk(problem, params, scale, slots, *pair)
        return {place: tie.gap for place, tie in walk.ties.items()}

    return jax.lax.map(one, (sides, places))


@jax.jit
def _second(
    problem: Problem,
    params: Params,
    scale: Array,
    slots: dict[str, _Slots],
    firsts: Array,
    real: Array,
    sides: Array,
    place: Array,
    weights: Array,
) -> Second:
    def walk(u: Array) -> kinks.Walk:
        return _walk(problem, params, scale, slots, sides, u)

    def gaps(met: kinks.Walk) -> Array:
        flat = [met.ties[place].gap.ravel() for place in sorted(met.ties)]
        return jnp.where(real, jnp.concatenate([*flat, jnp.zeros(1)])[firsts], 0.0)

    def lagrangian(u: Array) -> Array:
        met = walk(u)
        return met.value - weights @ gaps(met)

    form = jax.hessian(lagrangian)(place)
    here, there = walk(place), walk(place + OPEN * irregular(scale.size))
    return Second(
        rows=jax.jacrev(lambda u: gaps(walk(u)))(place),
        form=0.5 * (form + form.T),
        loose=_loose(here.ties, there.ties, slots, len(real) - 1),
    )


def _loose(
    here: dict[str, Tie], there: dict[str, Tie], slots: dict[str, _Slots], none: int
) -> Array:
    """How many operations outside the groups are at a tie here, and not there."""
    total = jnp.asarray(0)
    for place, tie in here.items():
        other = there[place]
        alone = (tie.distance <= ULPS * tie.magnitude) & (other.distance > ULPS * other.magnitude)
        total += jnp.sum(alone & (slots[place].group == none))
    return total


@jax.jit
def _differentiated(problem: Problem, params: Params, scale: Array) -> tuple[Array, Array]:
    x, unravel = ravel_pytree(params)

    def value(u: Array) -> Array:
        return problem.loss(unravel(x + scale * u))

    zero = jnp.zeros_like(scale)
    return jax.grad(value)(zero), jax.hessian(value)(zero)
