"""What is the expectation of a function of a Gaussian that is smooth but for kinks?

Over u ~ N(m, v), of a function that is G_0 below the first cut, G_1 between it and the second, and
so on. Where there is no cut by the trapezoidal rule, for v > 1/4 in asinh u, so that nodes are
dense about 0, where functions bend, however wide the Gaussian is; else by Gauss and Legendre's rule
between cuts, beside which its nodes are dense. Derivatives are those of the expectation itself, not
of the rule: with k the cuts, p the density and [.] the jump of a function or of its derivative at a
cut,

    d/dm E G = E G' + sum [G] p(k),    d/dv E G = (E G'' + sum [G'] p(k) + [G] dp/dm(k)) / 2,
    d/ds E G = E dG/ds - sum [G] p(k) dk/ds

so they close, hold at v = 0 away from a cut, and are as exact as the values. At v = 0 on a cut
there is no derivative: the mean of both sides' is taken.

>>> both = expected((lambda u: jnp.zeros_like(u), lambda u: u), lambda: (0.0,))  # max(u, 0)
>>> print(f"{both(jnp.array(0.0), jnp.array(1.0)):.6f}")  # 1 / sqrt(2 pi)
0.398942
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from vaesurface import energy
from vaesurface.energy import Moments

__all__ = [
    "FEW",
    "MOST_KEPT",
    "NODES",
    "Cuts",
    "Piece",
    "expected",
    "gaussian_rule",
    "moments",
    "quadrature",
]

Piece = Callable[..., Array]  # of u and settings, a scalar
Cuts = Callable[..., Sequence]  # of settings
REACH = 9.0  # deviations, beyond which a Gaussian has less than 1e-18
NODES = 96  # of the trapezoidal rule
FEW = 32  # up to which Gauss and Hermite's is better
WIDE = 0.5  # deviation from which on nodes are those of asinh u
MOST_KEPT = 512  # functions whose traces are kept


def _none(*settings: Array) -> tuple:
    return ()


def expected(
    pieces: Sequence[Piece], cuts: Cuts = _none, tilt: float = 0.0, nodes: int = NODES
) -> Callable[..., Array]:
    """E G(u, *settings) as a function of (m, v, *settings), arrays that broadcast.

    pieces: functions of (u, *settings), smooth wherever they are looked at, one more than cuts.
    cuts: of settings, ascending.
    tilt: t where pieces may grow like exp(t |u|): as much wider are the integrals.
    nodes: of the rule without cuts; between two cuts it takes two thirds of them.
    """
    rule = _Rule(cuts=cuts, tilt=tilt, nodes=nodes)

    def mean(m: ArrayLike, v: ArrayLike, *settings: ArrayLike) -> Array:
        of = jnp.result_type(m, v)
        numbers = (jnp.asarray(number, of) for number in (m, v, *settings))
        return _mean(tuple(pieces), rule)(*jnp.broadcast_arrays(*numbers))

    return mean


def moments(
    pieces: Sequence[Piece], cuts: Cuts = _none, tilt: float = 0.0, nodes: int = NODES
) -> Callable[..., Moments]:
    """Mean and variance of G(u, *settings), else as `expected`."""

    def both(m: ArrayLike, v: ArrayLike, *settings: ArrayLike) -> Moments:
        mean = expected(pieces, cuts, tilt, nodes)(m, v, *settings)
        # E (G - c)^2 - (E G - c)^2 for any constant c; c = E G loses no digits.
        center = jax.lax.stop_gradient(mean)
        apart = tuple(_SquaredDeviation(piece) for piece in pieces)
        square = expected(apart, _First(cuts), tilt, nodes)(m, v, *settings, center)
        return Moments(mean=mean, variance=square - (mean - center) ** 2)

    return both


def quadrature(f: Piece, order: int = 32) -> Callable[..., Moments]:
    """Moments of a smooth scalar function f(u, *settings) by a rule of `order` nodes: a function of
    (m, v, *settings), which broadcast.

    f must be as often differentiable as derivatives are asked for. What is traced, as a
    hyper-parameter, has to be among the settings; f itself may hold none.

    >>> bent = quadrature(lambda u, alpha: u + alpha * jnp.sin(u))
    >>> print(f"{bent(jnp.array(1.0), jnp.array(0.0), 0.5).mean:.6f}")  # 1 + sin(1) / 2
    1.420735
    """
    return moments((f,), nodes=order)


@dataclass(frozen=True)
class _SquaredDeviation:
    """(piece(u, *settings) - center)^2, the center being the last setting."""

    piece: Piece

    def __call__(self, u: Array, *settings: Array) -> Array:
        return (self.piece(u, *settings[:-1]) - settings[-1]) ** 2


@dataclass(frozen=True)
class _First:
    """Cuts that the last setting does not move."""

    cuts: Cuts

    def __call__(self, *settings: Array) -> Sequence:
        return self.cuts(*settings[:-1])


class _Rule(NamedTuple):
    """Of quadrature; fields as arguments of `expected`."""

    cuts: Cuts
    tilt: float
    nodes: int


@lru_cache(maxsize=MOST_KEPT)
def _mean(pieces: tuple[Piece, ...], rule: _Rule) -> Callable[..., Array]:
    """The same of arrays of one shape; one function, traced once, for equal pieces and rules."""

    @jax.custom_jvp
    @jax.jit
    def mean(m: Array, v: Array, *settings: Array) -> Array:
        return _quadrature(pieces, rule, m, v, settings)

    @partial(mean.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        m, v, *settings = primals
        within = _within(pieces, rule, primals, tangents)
        at_cuts = _at_cuts(pieces, rule.cuts, primals, tangents)
        return mean(m, v, *settings), within + at_cuts

    return mean


def _within(pieces: tuple[Piece, ...], rule: _Rule, primals: Sequence, tangents: Sequence) -> Array:
    """Change of an expectation by what pieces do; tangents that are no more than zeros cost
    nothing.
    """
    moving = [i for i, tangent in enumerate(tangents) if not isinstance(tangent, SymbolicZero)]
    total = jnp.zeros_like(primals[0])
    for i in moving:
        # Of the pieces' arguments the first is u, the others are settings.
        by = _derived(_derived(pieces, 0), 0) if i == 1 else _derived(pieces, max(0, i - 1))
        change = _mean(by, rule)(*primals) * tangents[i]
        total = total + (0.5 * change if i == 1 else change)
    return total


def _at_cuts(pieces: tuple[Piece, ...], cuts: Cuts, primals: Sequence, tangents: Sequence) -> Array:
    """Change of an expectation by mass that crosses a cut."""
    m, v, *settings = primals
    dm, dv, *changes = (
        jnp.zeros_like(primal) if isinstance(tangent, SymbolicZero) else tangent
        for primal, tangent in zip(primals, tangents, strict=True)
    )
    places, first, total = _places(cuts, m, settings), _derived(pieces, 0), jnp.zeros_like(m)
    moves = _moves(cuts, settings, changes, len(places))
    for j, (place, move) in enumerate(zip(places, moves, strict=True)):
        _, density, slope = energy.masses(m - place, v)
        jump = _jump(pieces[j : j + 2], place, settings)
        bend = _jump(first[j : j + 2], place, settings)
        total = total + density * jump * (dm - move)
        total = total + 0.5 * (bend * density + jump * slope) * dv
    return total


@dataclass(frozen=True)
class _Partial:
    """A derivative of a piece; equal whatever the order in which they were taken.

    orders: how often by each argument, of which the last ones may be missing.
    """

    piece: Piece
    orders: tuple[int, ...]

    def __call__(self, *arguments: Array) -> Array:
        function = self.piece
        for i, order in enumerate(self.orders):
            for _ in range(order):
                function = jax.grad(function, i)
        return function(*arguments)

    def by(self, argument: int) -> "_Partial":
        """One derivative more."""
        orders = list(self.orders) + [0] * (argument + 1 - len(self.orders))
        orders[argument] += 1
        return _Partial(self.piece, tuple(orders))


def _derived(pieces: tuple[Piece, ...], argument: int) -> tuple[Piece, ...]:
    partials = (one if isinstance(one, _Partial) else _Partial(one, ()) for one in pieces)
    return tuple(one.by(argument) for one in partials)


def _jump(pieces: tuple[Piece, ...], place: Array, settings: Sequence[Array]) -> Array:
    """By how much the second of two pieces is above the first."""
    below, above = (jnp.vectorize(piece)(place, *settings) for piece in pieces)
    return above - below


def _places(cuts: Cuts, like: Array, settings: Sequence[Array]) -> list[Array]:
    return [jnp.broadcast_to(jnp.asarray(cut, like.dtype), like.shape) for cut in cuts(*settings)]


def _moves(
    cuts: Cuts, settings: Sequence[Array], changes: Sequence[Array], count: int
) -> list[Array]:
    """Of the cuts, as settings change."""
    if not settings or not count:
        return [jnp.zeros(())] * count

    def all_cuts(*settings: Array) -> list[Array]:
        return _places(cuts, settings[0], settings)

    return jax.jvp(all_cuts, tuple(settings), tuple(changes))[1]


def _quadrature(
    pieces: tuple[Piece, ...], rule: _Rule, m: Array, v: Array, settings: Sequence[Array]
) -> Array:
    s = jnp.sqrt(v)
    places = _places(rule.cuts, m, settings)
    if not places:
        return _uncut(pieces[0], rule, m, s, settings)
    points, weights = _nodes(rule.nodes)
    reach = REACH + rule.tilt * s
    seen = jnp.where(s > 0, s, 1.0)
    # At v = 0 every node is at m: the piece that m is in has all the mass; of a cut at m either
    # side has half, so that derivatives are the means of both sides', as in `energy.masses`.
    edges = [jnp.where(s > 0, (k - m) / seen, jnp.sign(k - m) * reach) for k in places]
    edges = [-reach, *(jnp.clip(edge, -reach, reach) for edge in edges), reach]
    total = jnp.zeros_like(m)
    for piece, low, high in zip(pieces, edges[:-1], edges[1:], strict=True):
        half = 0.5 * (high - low)[..., None]
        t = 0.5 * (high + low)[..., None] + half * _last(points, half)
        share = half * _last(weights, half) * _density(t)
        values = _values(piece, m, s, t, settings)
        # An empty part has no share, whatever the piece is there.
        total = total + jnp.sum(jnp.where(share > 0, share * values, 0.0), axis=-1)
    return total


def _uncut(piece: Piece, rule: _Rule, m: Array, s: Array, settings: Sequence[Array]) -> Array:
    if rule.nodes <= FEW:  # the same for all
        fixed, shares = gaussian_rule(rule.nodes)
        return _values(piece, m, s, fixed, settings) @ shares
    wide, reach = s > WIDE, REACH + rule.tilt * s
    seen = jnp.where(wide, s, 1.0)
    low, high = (
        jnp.where(wide, jnp.arcsinh(m + sign * reach * seen), sign * reach) for sign in (-1.0, 1.0)
    )
    step = ((high - low) / (rule.nodes - 1))[..., None]
    t = low[..., None] + step * _last(np.arange(rule.nodes), step)
    # Between du and dt lies cosh t, and with sinh it takes one exponential.
    grown = 0.5 * jnp.exp(jnp.where(wide[..., None], t, 0.0))
    shrunk = 0.25 / grown
    place = jnp.where(wide[..., None], (grown - shrunk - m[..., None]) / seen[..., None], t)
    density = step * _density(place) * (grown + shrunk) / seen[..., None]
    return jnp.sum(density * _values(piece, m, s, place, settings), axis=-1)


def _values(piece: Piece, m: Array, s: Array, t: Any, settings: Sequence[Array]) -> Array:
    """Of a piece at m + s t, the nodes last."""
    wide = s[..., None]
    u = m[..., None] + wide * _last(t, wide)
    return jnp.vectorize(piece)(u, *(setting[..., None] for setting in settings))


def _last(nodes: Any, like: Array) -> Any:
    """The same with as many axes as like, of which nodes are the last."""
    return nodes.reshape((1,) * (like.ndim - np.ndim(nodes)) + np.shape(nodes))


def _density(t: Any) -> Any:
    """Of a standard Gaussian."""
    exponential = np.exp if isinstance(t, np.ndarray) else jnp.exp
    return exponential(-0.5 * t * t) / math.sqrt(2.0 * math.pi)


@cache
def gaussian_rule(nodes: int, dimensions: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Points and shares (nodes,) for a standard Gaussian: as far out as balances what is cut off
    with the distance of the points, at most `REACH`. Of several dimensions, whose nodes are dear,
    for functions that are analytic up to a deviation away from the real axis.
    """
    if nodes <= FEW:
        points, weights = np.polynomial.hermite_e.hermegauss(nodes)
        return points, weights / weights.sum()
    several = (2.0 * math.pi * nodes) ** (1 / 3)
    reach = min(REACH, math.sqrt(math.pi * nodes / 2.0) if dimensions == 1 else several)
    points = np.linspace(-reach, reach, nodes)
    weights = _density(points)
    return points, weights / weights.sum()


@cache
def _nodes(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and weights on [-1, 1]."""
    points, weights = np.polynomial.legendre.leggauss(2 * nodes // 3)
    return points, weights
