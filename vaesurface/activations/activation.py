"""What bends a decoder, by a chosen strength?

An activation is a family of functions f_alpha with f_0 the identity. It is a value without arrays:
programs know it, and alpha is a number that may be traced.

>>> bent = numeric(jnp.tanh)
>>> print(f"{bent.value(jnp.array(2.0), 0.5):.4f}")  # (2 + tanh 2) / 2
1.4820
>>> mean, variance = bent.moments(jnp.array(0.0), jnp.array(1.0), jnp.array(0.5))
>>> print(f"{abs(mean):.6f} {variance:.6f}")
0.000000 0.651426
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface.activations.expectation import MOST_KEPT, NODES, expected, moments
from vaesurface.energy import Moments
from vaesurface.refusal import complaint, shown

__all__ = ["Activation", "Blend", "Identity", "Numeric", "blended", "numeric"]

Function = Callable[[Array], Array]
# A function that is above STEEPEST u at u = FAR is taken to grow faster than u.
FAR, STEEPEST = 60.0, 8.0


@dataclass(frozen=True)
class Activation:
    """f_alpha, smooth but for its cuts; f_0 is the identity.

    name: of it, as the command line takes it.
    nodes: of a quadrature, where one is needed.
    """

    name: str
    nodes: int = field(default=NODES, kw_only=True)
    most = 1.0  # alpha's largest value that makes sense
    tilt = 0.0  # t where |f_alpha(u)| may grow like exp(t |u|)
    exact = True  # whether moments are in closed form
    smooth_at_zero = True  # whatever alpha is
    growth = 1.0  # s where f_alpha(u) is at most about s |u| far out, if it grows like u at all

    def pieces(self) -> tuple[Callable[..., Array], ...]:
        """Functions (u, alpha) that f_alpha is between its cuts."""
        return (self.value,)

    def cuts(self, alpha: ArrayLike) -> Sequence:
        """Where it is not smooth, ascending."""
        return ()

    def value(self, u: Array, alpha: ArrayLike) -> Array:
        """f_alpha(u), elementwise."""
        raise NotImplementedError("expected an activation, got none; write its method value")

    def moments(self, m: Array, v: Array, alpha: ArrayLike) -> Moments:
        """Of f_alpha(u), u ~ N(m, v), elementwise; by quadrature if nothing better is known."""
        rule = moments(self.pieces(), _Cuts(self), self.tilt, self.nodes)
        return rule(m, v, alpha)

    def mean(self, m: Array, v: Array, alpha: ArrayLike) -> Array:
        """E f_alpha(u)."""
        return expected(self.pieces(), _Cuts(self), self.tilt, self.nodes)(m, v, alpha)

    def expected(
        self, outer: Callable[..., Array], m: Array, v: Array, alpha: ArrayLike, *settings: Array
    ) -> Array:
        """E outer(f_alpha(u), *settings) of a smooth outer function, which has a `tilt` where it
        grows like exp.
        """
        pieces = tuple(_Composed(outer, piece) for piece in self.pieces())
        tilt = max(self.tilt, getattr(outer, "tilt", 0.0) * max(1.0, self.growth))
        rule = expected(pieces, _Cuts(self), tilt, self.nodes)
        return rule(m, v, alpha, *settings)

    def slopes(self, alpha: ArrayLike) -> tuple[Array, Array]:
        """f_alpha'(0) from the left and from the right."""
        slope = jax.grad(self.value)(jnp.zeros(()), jnp.asarray(alpha, float))
        return slope, slope

    def dead_zone(self, alpha: ArrayLike) -> Array:
        """Up to which |u| f_alpha is what it is at 0; u^3 has a slope of zero, and no such zone."""
        return jnp.zeros(())

    def diverges(self) -> str:
        """Why E exp(f_alpha(u)) is infinite, of some Gaussian u at some alpha > 0; "" where it
        never is.
        """
        return ""


@dataclass(frozen=True)
class _Composed:
    """outer(piece(u, alpha), *settings); equal by what it is made of."""

    outer: Callable[..., Array]
    piece: Callable[..., Array]

    def __call__(self, u: Array, alpha: Array, *settings: Array) -> Array:
        return self.outer(self.piece(u, alpha), *settings)


@dataclass(frozen=True)
class _Cuts:
    """An activation's cuts, of alpha and settings that do not move them."""

    activation: Activation

    def __call__(self, alpha: Array, *settings: Array) -> Sequence:
        return self.activation.cuts(alpha)


@dataclass(frozen=True)
class Identity(Activation):
    """f(u) = u at every alpha."""

    name: str = "identity"

    def value(self, u: Array, alpha: ArrayLike) -> Array:
        """u."""
        return u

    def moments(self, m: Array, v: Array, alpha: ArrayLike) -> Moments:
        """m and v."""
        return Moments(mean=m, variance=v)

    def mean(self, m: Array, v: Array, alpha: ArrayLike) -> Array:
        """m."""
        return m


@dataclass(frozen=True)
class Blend(Activation):
    """f_alpha(u) = (1 - alpha) u + alpha g(u) of a g whose Gaussian moments are in closed form.

    With Stein's identity Cov(u, g) = v E g', the variance of f_alpha is

        (1 - alpha)^2 v + 2 alpha (1 - alpha) v E g' + alpha^2 Var g
    """

    def bend(self, u: Array) -> Array:
        """g(u)."""
        raise NotImplementedError("expected a blend of some g, got none; write its method bend")

    def of_bend(self, m: Array, v: Array) -> tuple[Array, Array, Array]:
        """E g, E g' and Var g."""
        raise NotImplementedError("expected moments of g, got none; write its method of_bend")

    def value(self, u: Array, alpha: ArrayLike) -> Array:
        """f_alpha(u)."""
        return blended(u, self.bend(u), alpha)

    def moments(self, m: Array, v: Array, alpha: ArrayLike) -> Moments:
        """In closed form."""
        mean, slope, variance = self.of_bend(m, v)
        rest = 1.0 - alpha
        return Moments(
            mean=blended(m, mean, alpha),
            variance=v * rest * (rest + 2.0 * alpha * slope) + alpha**2 * variance,
        )

    def mean(self, m: Array, v: Array, alpha: ArrayLike) -> Array:
        """In closed form."""
        return self.moments(m, v, alpha).mean


def blended(u: Array, g: Array, alpha: ArrayLike) -> Array:
    """(1 - alpha) u + alpha g."""
    share = jnp.asarray(alpha)
    return (1.0 - share) * u + share * g


@dataclass(frozen=True)
class Numeric(Activation):
    """f_alpha(u) = (1 - alpha) u + alpha g(u) by quadrature; `numeric` makes one.

    parts: what g is between its kinks.
    kinks: where it is not smooth, ascending.
    """

    parts: tuple[Function, ...] = ()
    kinks: tuple[float, ...] = ()
    tilt: float = field(default=0.0)
    exact = False

    @property
    def smooth_at_zero(self) -> bool:  # type: ignore[override]
        """Whether no kink is there."""
        return 0.0 not in self.kinks

    def pieces(self) -> tuple[Callable[..., Array], ...]:
        """Of f_alpha."""
        return tuple(_Bent(part) for part in self.parts)

    def cuts(self, alpha: ArrayLike) -> Sequence:
        """The kinks, whatever alpha is."""
        return self.kinks

    def value(self, u: Array, alpha: ArrayLike) -> Array:
        """f_alpha(u)."""
        # A function that is not elementwise is taken number by number, as in its moments.
        first, *others = map(jnp.vectorize, self.parts)
        g = first(u)
        for kink, part in zip(self.kinks, others, strict=True):
            g = jnp.where(u > kink, part(u), g)
        return blended(u, g, alpha)

    def slopes(self, alpha: ArrayLike) -> tuple[Array, Array]:
        """From the pieces on either side of 0."""
        left = sum(kink < 0 for kink in self.kinks)
        right = sum(kink <= 0 for kink in self.kinks)
        number = jnp.asarray(alpha, float)
        pieces = self.pieces()
        below, above = (jax.grad(pieces[i])(jnp.zeros(()), number) for i in (left, right))
        return below, above

    @property
    def growth(self) -> float:  # type: ignore[override]
        """By its values far out."""
        return max(_ends(self)) / FAR

    def diverges(self) -> str:
        """Where it grows faster than u to plus infinity, by its value far out."""
        if self.growth <= STEEPEST:
            return ""
        return f"exp of {self.name} has no Gaussian expectation: it grows faster than u"


@lru_cache(maxsize=MOST_KEPT)
def _ends(activation: Numeric) -> tuple[float, float]:
    """g far out, to the left and to the right."""
    with jax.ensure_compile_time_eval():
        ends = activation.parts[0](jnp.asarray(-FAR)), activation.parts[-1](jnp.asarray(FAR))
        return float(ends[0]), float(ends[1])


@dataclass(frozen=True)
class _Bent:
    """(1 - alpha) u + alpha g(u)."""

    g: Function

    def __call__(self, u: Array, alpha: ArrayLike) -> Array:
        return blended(u, self.g(u), alpha)


def numeric(
    *parts: Function, kinks: Sequence[float] = (), name: str = "", tilt: float = 0.0
) -> Numeric:
    """An activation from g, or from what g is between its kinks.

    parts: functions of JAX arrays, elementwise, as often differentiable as derivatives are asked
        for; one more than kinks.
    kinks: where g is not smooth, ascending.
    name: of it, by default the first function's.
    tilt: t where g grows like exp(t |u|).

    Raises ValueError for what is no function, and where parts and kinks do not fit.
    """
    for part in parts:
        if not callable(part):
            raise complaint("functions of JAX arrays", shown(part), "give g, or its parts")
    places = tuple(float(kink) for kink in kinks)
    if len(parts) != len(places) + 1 or sorted(set(places)) != list(places):
        raise _unfitting(parts, places)
    if not all(map(math.isfinite, places)):
        raise _unfitting(parts, places)
    called = name or getattr(parts[0], "__name__", "") or "a function"
    return Numeric(name=str(called), parts=parts, kinks=places, tilt=tilt)


def _unfitting(parts: Any, places: Any) -> ValueError:
    return ValueError(
        f"expected one function more than kinks, which ascend, got {len(parts)} functions and "
        f"kinks at {places}; give what g is between them, from left to right"
    )
