"""Where does a stationary point go as a hyper-parameter moves, and where does it turn, branch or
jump?

`follow` traces gradient(params, value) = 0 by arclength (H. B. Keller, in Applications of
Bifurcation Theory, 1977), so that it passes folds. Folds and branch points are located as roots of
the tangent's share of the value and of an eigenvalue of the Hessian; `switch` starts the branches
that cross there. Arclength is measured in the parameters' natural sizes (`Problem.size`; those of
one datum weigh 1/n) and in the span of the requested values. Directions that nothing drives (rows
of the weight at zero, symmetries) are left where they are. A row that loses its effect on the way
is at zero from there on, without an event: the energy does not show it, the inertia may
(`theory.dead_rows` tells why).

>>> import jax.numpy as jnp
>>> from vaesurface.problem import Problem
>>> make = lambda v: Problem(loss=lambda x: 0.5 * x**2 - v * jnp.exp(x))
>>> branch = follow(make, jnp.array(0.1), v=[0.1, 0.5])
>>> [(str(event.kind), round(event.value, 9)) for event in branch.events], str(branch.ended)
([('fold', 0.367879441)], 'left the requested range')
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from scipy.optimize import brentq

from vaesurface.paths import corrector
from vaesurface.paths.corrector import Curve, Faded, Lost, MakeProblem, Seen
from vaesurface.problem import Params, require_float64
from vaesurface.stationary import tally
from vaesurface.stationary.verdict import StationaryPoint

__all__ = ["Branch", "Ended", "Event", "EventKind", "Start", "follow", "switch"]

BENT, TURNED = (
    0.25,
    0.9,
    # largest distance from the prediction, per length of the step; smallest cosine between its
    # tangents
)
AIM = 0.05  # that distance at which the length is right
SHORTEST = 1e-9  # step, in arclength, at which `follow` gives up
VANISHED = 1e-5  # of what it is at a step's ends: then a quantity is zero at an event in between
APART = 1e-8  # of a step: a requested value nearer to its base than this is the base's own
NEARBY = 2e-3  # of a step: how far from an event the branch is corrected to locate it
LOCATED = 1e-12  # of a step: how closely that is done
PAST = (
    1e-6,
    1e-5,
    1e-4,
    1e-3,
)  # of the span: how far beyond a fold a jump looks for the way down, no farther than it must


class EventKind(StrEnum):
    """fold: the branch turns back in the value. branch point: others cross it. jump: it was left,
    downhill, at a fold.
    """

    FOLD = "fold"
    BRANCH_POINT = "branch point"
    JUMP = "jump"


class Ended(StrEnum):
    """Why a branch ends."""

    RANGE = "left the requested range"
    LOOP = "closed loop"
    RUNAWAY = "gamma runs to zero"
    POINTS = "as many points as allowed"
    LOST = "no convergence"


class Event(NamedTuple):
    """A special point on a branch.

    kind; value: of the hyper-parameter; arclength: from the branch's start; params and loss: there
    (of a jump: where it landed); kernel: orthonormal basis of the Hessian's kernel, without what is
    flat all along the branch, like params with a leading axis of the kernel's dimension; tangent
    and rate: how params and value change along the branch; scale: of the value in arclength; drop:
    by how much the energy falls in a jump, else 0.
    """

    kind: EventKind
    value: float
    arclength: float
    params: Params
    loss: float
    kernel: Params
    tangent: Params
    rate: float
    scale: float
    drop: float = 0.0

    @property
    def dimension(self) -> int:
        """Of the kernel."""
        return len(jax.tree.leaves(self.kernel)[0])


class Branch(NamedTuple):
    """A stationary point as a hyper-parameter moves: m points in the order they were met.

    parameter: the hyper-parameter's name; value and arclength (m,); requested (m,) bool: which
    values are requested ones, to the last bit; point: a `StationaryPoint` with leading axis m;
    events in order of arclength; ended: why.
    """

    parameter: str
    value: np.ndarray
    arclength: np.ndarray
    requested: np.ndarray
    point: StationaryPoint
    events: tuple[Event, ...]
    ended: Ended


class Start(NamedTuple):
    """A point on a branch: follow(make_problem, start, name=[start.value, ...], direction=1), and
    with -1.
    """

    value: float
    params: Params
    loss: float


class _Stride(NamedTuple):
    """One step, with row . base.tangent = row . end.tangent = 1 and span = row . (end.z - base.z).

    bent: distance from the prediction over span; flat: number of directions that are flat all
    along.
    """

    base: Seen
    end: Seen
    row: np.ndarray
    span: float
    bent: float
    flat: int

    def at(self, sigma: float) -> np.ndarray:
        """The cubic through both ends along their tangents, with row . (z - base.z) = sigma."""
        u = sigma / self.span
        along = (1 - u) ** 2 * self.base.tangent + u * (u - 1) * self.end.tangent
        return self.base.z + sigma * along + u**2 * (3 - 2 * u) * (self.end.z - self.base.z)


class _Place(NamedTuple):
    """A point of the branch, as yet alone."""

    arclength: float
    value: float
    requested: bool
    point: StationaryPoint


def follow(
    make_problem: MakeProblem,
    point: Any,
    *,
    jump: bool = False,
    direction: int | None = None,
    step: float = 0.02,
    max_step: float = 0.5,
    max_points: int = 1000,
    **parameter: ArrayLike,
) -> Branch:
    """Follow a stationary point as one hyper-parameter moves: follow(make_problem, point,
    alpha=alphas).

    make_problem(value) -> Problem must take a traced value. point: a `StationaryPoint`, a `Start`
    or parameters, within Newton's reach of a stationary point at the first of the requested values.
    The branch is followed, through folds, until it leaves their span; they are met as often as it
    passes them. direction: 1 sets out towards larger values, -1 towards smaller ones (default:
    towards the second). jump: go down from each fold, along the gradient just beyond it, past
    saddles, and on from the minimum that this leads to, or from a saddle where no descent got past
    it. step and max_step: first and largest step in arclength; max_points: where to stop. Verdicts
    are those of `stationary.analyze` without a look along flat directions. Not for `jit`. Raises
    ValueError for anything but one hyper-parameter with two different values, and where no
    stationary point is in reach.
    """
    name, values = _requested(parameter)
    params = getattr(point, "params", point)
    require_float64("continuation", params)
    curve = Curve(make_problem, params, float(np.ptp(values)))
    sign = float(np.sign(direction or values[values != values[0]][0] - values[0]))
    try:
        start = _started(curve, ravel_pytree(params)[0], values[0], sign)
    except Lost:
        raise ValueError(
            f"expected a stationary point at {name} = {values[0]:g}, got none in reach; refine "
            f"it there"
        ) from None
    places: list[_Place] = []
    events: list[Event] = []
    ended = Ended.LOST
    for item in _walk(curve, start, jump, step, max_step, values):
        if isinstance(item, Ended):
            ended = item
        elif isinstance(item, Event):
            events.append(item)
        else:
            places.append(item)
            known = item.point.theory
            if known is not None and known.runaway:
                ended = Ended.RUNAWAY
                break
            if len(places) >= max_points:
                ended = Ended.POINTS
                break
    return Branch(
        parameter=name,
        value=np.array([place.value for place in places]),
        arclength=np.array([place.arclength for place in places]),
        requested=np.array([place.requested for place in places]),
        point=jax.tree.map(lambda *leaves: np.stack(leaves), *(place.point for place in places)),
        events=tuple(events),
        ended=ended,
    )


def switch(
    make_problem: MakeProblem, event: Event, amplitude: float = 0.01, directions: int = 12
) -> list[Start]:
    """Points on the branches that cross the followed one at a branch point, lowest energy first,
    one for each branch.

    Solutions of H dx + (d gradient / d value) dv = 0 are the kernel and one more; what of them is
    across the followed branch is where to look: amplitude (in arclength) along such a direction is
    held fixed while all else is corrected. Where the kernel has more than one dimension, that many
    directions are tried besides its axes, each turned to where it led, and the ends told apart up
    to the latents' symmetry. Raises ValueError for an event of another kind.
    """
    if event.kind != EventKind.BRANCH_POINT:
        raise ValueError(
            f"expected a branch point, got a {event.kind}; no other branch crosses there"
        )
    curve = Curve(make_problem, event.params, event.scale)
    z = np.append(ravel_pytree(event.params)[0], event.value)
    seen = corrector.look(curve, z, corrector.upright(z))
    kernel = np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(event.kernel))
    flat = np.abs(seen.eigenvalues) <= seen.width
    inverse = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, seen.eigenvalues))
    response = -corrector.solved(curve, z, seen.drive, np.append(inverse, 1.0 / seen.own))
    response -= kernel.T @ (kernel @ response)
    roots = np.sqrt(seen.weights)
    plane = (
        np.vstack([np.column_stack([kernel, np.zeros(len(kernel))]), np.append(response, 1.0)])
        * roots
    )
    basis = np.linalg.qr(plane.T)[0]
    along = np.append(ravel_pytree(event.tangent)[0], event.rate) * roots
    across = np.linalg.svd((along @ basis)[None])[2][1:] @ basis.T
    tries = np.random.default_rng(0).normal(size=(directions, len(across)))
    tries = (
        np.vstack([np.eye(len(across)), tries]) if len(across) > 1 else np.array([[1.0], [-1.0]])
    )
    found: list[Seen] = []
    for direction in tries:
        if len(across) == 1 and found:
            break
        try:
            found.append(_crossing(curve, z, across, direction, roots, amplitude))
        except Lost:
            continue
    if not found:
        return []
    losses = np.array([there.loss for there in found])
    params = [curve.params(there.z[:-1]) for there in found]
    groups = tally.distinct(
        make_problem(event.value), losses, jax.tree.map(lambda *leaves: np.stack(leaves), *params)
    )
    return [Start(float(found[i].z[-1]), params[i], float(losses[i])) for i, *_ in groups]


def _crossing(curve, z, across, direction, roots, amplitude):
    """Where a branch through z, in a direction across the known one (m,), has come to at some
    amplitude.
    """
    for _ in range(4):
        direction = direction / np.linalg.norm(direction)
        aim = direction @ across
        there = corrector.correct(curve, z + amplitude * aim / roots, aim * roots)
        offset = (there.z - z) * roots
        if not np.linalg.norm(offset) <= 3 * amplitude:
            raise Lost
        direction = across @ offset
    return there


def _requested(parameter: dict[str, ArrayLike]) -> tuple[str, np.ndarray]:
    if len(parameter) != 1:
        raise ValueError(
            f"expected one hyper-parameter, got {sorted(parameter)}; call follow(make, point, "
            f"alpha=alphas)"
        )
    ((name, given),) = parameter.items()
    values = np.asarray(given, float)
    if values.ndim != 1 or not np.isfinite(values).all() or len(set(values)) < 2:
        raise ValueError(
            f"expected two or more values of {name}, got {given}; the first is where the point "
            f"is stationary"
        )
    return name, values


def _started(curve: Curve, x: ArrayLike, value: float, sign: float) -> Seen:
    """The stationary point near x at a value, with the tangent towards larger values or smaller
    ones.
    """
    z = np.append(x, value)
    seen = corrector.correct(curve, z, corrector.upright(z))
    return seen._replace(tangent=_unit(seen, sign * seen.tangent))


def _unit(seen: Seen, tangent: np.ndarray) -> np.ndarray:
    return tangent / np.sqrt(np.sum(seen.weights * tangent**2))


def _walk(
    curve: Curve, start: Seen, jump: bool, step: float, max_step: float, values: np.ndarray
) -> Iterator[_Place | Event | Ended]:
    """Points, events and, last, the end of a branch as they are met."""
    yield _place(curve, start, 0.0, True)
    if start.z[-1] == (values.max() if start.tangent[-1] > 0 else values.min()):
        yield Ended.RANGE
        return
    base, behind, length = start, 0.0, step
    while length >= SHORTEST:
        try:
            stride = _stride(curve, base, length, values)
            events, met = _events(curve, stride, behind), _passed(curve, stride, values)
            cut, ended = _end(curve, stride, met, start, values)
        except Faded as row:
            less = corrector.without(curve, base, row.gone)
            if less is None:
                length /= 2
            else:
                base = less._replace(tangent=_unit(less, less.tangent))
            continue
        except Lost:
            length /= 2
            continue
        folds = [
            event
            for event in events
            if event.kind == EventKind.FOLD and event.arclength <= behind + cut
        ]
        if jump and folds:
            cut, ended = folds[0].arclength - behind, None
        yield from (event for event in events if event.arclength <= behind + cut)
        yield from (
            _place(curve, seen, behind + sigma, True) for sigma, seen in met if sigma <= cut
        )
        if cut >= stride.span and not any(seen is stride.end for _, seen in met):
            yield _place(curve, stride.end, behind + cut, False)
        behind, base = (
            behind + cut,
            stride.end._replace(tangent=_unit(stride.end, stride.end.tangent)),
        )
        length = min(
            length * float(np.clip(np.sqrt(AIM / max(stride.bent, 1e-12)), 0.5, 2.0)), max_step
        )
        if jump and folds:
            try:
                base = _landed(
                    curve, folds[0], 1.0 if stride.base.tangent[-1] > 0 else -1.0, values
                )
            except Lost:
                break
            drop, length = folds[0].loss - float(base.loss), step
            here = {
                "value": float(base.z[-1]),
                "params": curve.params(base.z[:-1]),
                "loss": float(base.loss),
            }
            yield folds[0]._replace(kind=EventKind.JUMP, drop=drop, **here)
            yield _place(curve, base, behind, False)
        if ended == Ended.LOOP:
            yield _place(curve, start, behind, False)
        if ended is not None:
            yield ended
            return
    yield Ended.LOST


def _stride(curve: Curve, base: Seen, length: float, values: np.ndarray) -> _Stride:
    """A step of that length along the tangent and back to the branch, not beyond the ends of the
    requested range.
    """
    row = base.weights * base.tangent
    target, plane = base.z + length * base.tangent, row
    edge = np.clip(target[-1], values.min(), values.max())
    if edge != target[-1]:
        target = base.z + (edge - base.z[-1]) / base.tangent[-1] * base.tangent
        target[-1], plane = edge, corrector.upright(target)
    end = corrector.back(curve, base, target, plane)
    span = float(row @ (end.z - base.z))
    share = float(row @ _unit(base, end.tangent))
    if not (span > 0 and abs(share) >= TURNED):
        raise Lost
    end = end._replace(tangent=end.tangent / (row @ end.tangent))
    bent = _distance(base, end.z, base.z + span * base.tangent) / span
    if not bent <= BENT:
        raise Lost
    flat = max(int(np.sum(np.abs(seen.eigenvalues) <= seen.width)) for seen in (base, end))
    return _Stride(base, end, row, span, bent, flat)


def _distance(seen: Seen, a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(np.sum(seen.weights * (a - b) ** 2)))


def _locate(curve: Curve, stride: _Stride, test: Callable[[Seen], float]) -> tuple[float, Seen]:
    """Where in a stride a function with opposite signs at its ends is zero.

    At a branch point Newton's corrections are rounding divided by an eigenvalue near zero. So the
    branch is corrected at some distance on both sides, and the event found on the cubic in between,
    whose error is the fourth power of that distance.
    """
    known = {0.0: stride.base, stride.span: stride.end}

    def seen(sigma):
        if sigma not in known:
            known[sigma] = corrector.back(curve, stride.base, stride.at(sigma), stride.row)
        return known[sigma]

    eps = float(np.finfo(float).eps)
    coarse = brentq(
        lambda sigma: test(seen(sigma)),
        0.0,
        stride.span,
        xtol=0.5 * NEARBY * stride.span,
        rtol=4 * eps,
    )
    left, right = (
        max(0.0, coarse - NEARBY * stride.span),
        min(stride.span, coarse + NEARBY * stride.span),
    )
    base, end = (place._replace(z=place.z + place.step) for place in (seen(left), seen(right)))
    if not test(base) * test(end) < 0:
        raise Lost
    near = stride._replace(base=base, end=end, span=float(stride.row @ (end.z - base.z)))
    looked = {0.0: base, near.span: end}

    def look(sigma):
        if sigma not in looked:
            looked[sigma] = corrector.look(curve, near.at(sigma), near.row)
        return looked[sigma]

    root = brentq(
        lambda sigma: test(look(sigma)), 0.0, near.span, xtol=LOCATED * stride.span, rtol=4 * eps
    )
    return left + root, look(root)


def _events(curve: Curve, stride: _Stride, behind: float) -> list[Event]:
    """Folds and branch points within a stride, in order.

    The eigenvalues that can cross zero are counted from below, those of the per-datum blocks first:
    a block's own one that changes sign takes one of the Schur complement's through infinity and
    changes no count.
    """

    def spectrum(seen):
        return seen.eigenvalues[np.sort(np.argsort(np.abs(seen.eigenvalues))[stride.flat :])]

    def level(seen, i):
        values, i = spectrum(seen), i - int(np.sum(seen.own < 0))
        return values[i] if 0 <= i < len(values) else np.copysign(np.max(np.abs(values)), i)

    def negative(seen):
        return int(np.sum(spectrum(seen) < 0) + np.sum(seen.own < 0))

    base, end = stride.base, stride.end
    low, high = sorted((negative(base), negative(end)))
    crossing = list(range(low, high))
    events = []
    turning = (base.tangent[-1] < 0) != (end.tangent[-1] < 0)
    while crossing or turning:
        test = (lambda seen: seen.tangent[-1]) if turning else partial(level, i=crossing[0])
        sigma, seen = _locate(curve, stride, test)
        zero = [
            i
            for i in crossing
            if abs(level(seen, i)) <= VANISHED * max(abs(level(base, i)), abs(level(end, i)))
        ]
        if not (turning or zero):
            raise Lost
        sizes, *ends = (np.sort(np.abs(spectrum(place))) for place in (seen, base, end))
        dimension = max(1, len(zero), int(np.sum(sizes <= VANISHED * np.maximum(*ends))))
        events.append(_event(curve, stride, sigma, seen, dimension, turning, behind))
        crossing, turning = [i for i in crossing if i not in zero], False
    return sorted(events, key=lambda event: event.arclength)


def _event(
    curve: Curve,
    stride: _Stride,
    sigma: float,
    seen: Seen,
    dimension: int,
    turning: bool,
    behind: float,
) -> Event:
    # In the range of the Hessian at the stride's base there is nothing of what is flat all along.
    random = np.random.default_rng(0).normal(size=(dimension, len(seen.drive)))
    near = np.zeros(len(seen.eigenvalues) + len(seen.own))
    near[np.argsort(np.abs(seen.eigenvalues))[: stride.flat + dimension]] = 1.0
    vectors = [
        corrector.solved(curve, seen.z, corrector.product(curve, stride.base, vector), near)
        for vector in random
    ]
    kernel = np.linalg.qr(np.stack(vectors).T)[0].T
    drives = [np.linalg.norm(kernel @ place.drive) for place in (seen, stride.base, stride.end)]
    fold = turning and drives[0] > np.sqrt(VANISHED) * max(
        drives[1:]
    )  # a branch point's turn is found to half the digits
    # At a branch point the tangent is no solution of a regular system, but between those of both
    # ends.
    u = sigma / stride.span
    tangent = _unit(
        seen, seen.tangent if fold else (1 - u) * stride.base.tangent + u * stride.end.tangent
    )
    return Event(
        kind=EventKind.FOLD if fold else EventKind.BRANCH_POINT,
        value=float(seen.z[-1]),
        arclength=behind + sigma,
        params=curve.params(seen.z[:-1]),
        loss=float(seen.loss),
        kernel=jax.vmap(ravel_pytree(curve.like)[1])(jnp.asarray(kernel)),
        tangent=curve.params(tangent[:-1]),
        rate=float(tangent[-1]),
        scale=curve.scale,
    )


def _passed(curve: Curve, stride: _Stride, values: np.ndarray) -> list[tuple[float, Seen]]:
    """Where in a stride the value is a requested one: distances and places, in order."""
    base, end = stride.base.z[-1], stride.end.z[-1]
    drift = stride.span * stride.base.tangent[-1], stride.span * stride.end.tangent[-1]
    cubic = np.array(
        [2 * (base - end) + sum(drift), 3 * (end - base) - 2 * drift[0] - drift[1], drift[0], base]
    )
    met = []
    for value in np.unique(values):
        if value == end:
            met.append((stride.span, stride.end))
            continue
        roots = np.roots(cubic - np.array([0.0, 0.0, 0.0, value]))
        for u in roots.real[
            (np.abs(roots.imag) <= APART) & (roots.real > APART) & (roots.real < 1)
        ]:
            target = stride.at(u * stride.span)
            target[-1] = value
            seen = corrector.back(curve, stride.base, target, corrector.upright(target))
            sigma = float(stride.row @ (seen.z - stride.base.z))
            if not (
                0 < sigma < stride.span
                and _distance(seen, seen.z, stride.at(sigma)) <= BENT * stride.span
            ):
                raise Lost
            met.append((sigma, seen))
    return sorted(met, key=lambda pair: pair[0])


def _end(
    curve: Curve, stride: _Stride, met: list[tuple[float, Seen]], start: Seen, values: np.ndarray
) -> tuple[float, Ended | None]:
    """How far of a stride belongs to the branch, and whether it ends there."""
    low, high = values.min(), values.max()
    if not low < stride.end.z[-1] < high:
        return max(
            (sigma for sigma, seen in met if seen.z[-1] in (low, high)), default=stride.span
        ), Ended.RANGE
    sigma = float(stride.row @ (start.z - stride.base.z))
    if 0 < sigma <= stride.span and stride.row @ start.tangent > 0:
        if _distance(stride.base, stride.at(sigma), start.z) <= AIM * stride.span:
            there = corrector.back(curve, stride.base, stride.at(sigma), stride.row)
            if _distance(stride.base, there.z, start.z) <= VANISHED * stride.span:
                return sigma, Ended.LOOP
    return stride.span, None


def _landed(curve: Curve, fold: Event, sign: float, values: np.ndarray) -> Seen:
    """The minimum that descent leads to from where a branch has ended in a fold, at the fold's
    value.

    Or a saddle, where descent was caught by one at every distance beyond the fold. Raises Lost
    where nothing is lower.
    """
    saddles: list[Seen] = []
    for past in PAST:
        beyond = float(np.clip(fold.value + sign * past * curve.scale, values.min(), values.max()))
        bottom = corrector.bottom(curve, beyond, fold.params)
        for value in (fold.value, beyond) if bottom is not None else ():
            try:
                seen = _started(curve, ravel_pytree(bottom)[0], value, sign)
            except Lost:
                continue
            noise = curve.make_problem(value).rounding(curve.params(seen.z[:-1]))
            if fold.loss - seen.loss > noise:
                if not (np.any(seen.eigenvalues < -seen.width) or np.any(seen.own < 0)):
                    return seen
                saddles.append(seen)
    if not saddles:
        raise Lost
    return saddles[0]


def _place(curve: Curve, seen: Seen, arclength: float, requested: bool) -> _Place:
    value = float(seen.z[-1])
    point = corrector.judged(curve, value, curve.params(seen.z[:-1]))
    return _Place(arclength, value, requested, point._replace(descent=None))
