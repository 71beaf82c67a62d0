"""Of which function are folds and branch points the stationary points, so that they can be followed
as stationary points are?

L(x; u, t) is a loss with two hyper-parameters; t is given. A fold in u is where u is extremal on
the surface gradient L = 0, so its Lagrange function

    Lambda(x, y, u; t) = y . gradient L(x; u, t) - rate u

is stationary there: gradient L = 0, H y = 0, y . d gradient L / du = rate, and regular where the
fold is a quadratic one. At a branch point nothing drives the kernel. It is where the imperfection
mu is extremal on the surface gradient L + mu y = 0 with |y| = 1 (M. Golubitsky & D. Schaeffer,
Singularities and Groups in Bifurcation Theory I, 1985, chapter III), so

    Lambda(x, y, u, mu; t) = y . gradient L(x; u, t) + mu (|y|^2 - 1) / 2

is stationary, with mu = 0 as long as there is such a point, and regular at pitchforks and where two
branches cross. Lambda is a mean over data where L is one, so its Hessian has the same borders.

>>> cubic = Losses(lambda a, c: Problem(loss=lambda x: x**3 / 3 - (a - c**2) * x), "c", "a")
>>> fold = Singular(cubic, False, jnp.array(0.5), None, jnp.ones(()), -jnp.ones(()))
>>> here = Extended(x=jnp.array(0.0), y=jnp.array(1.0), solved=jnp.array(0.25), imperfection=None)
>>> print(*jax.tree.leaves(jax.grad(fold.loss)(here)))
0.0 0.0 0.0
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Params, Parts, PerDatum, Problem, adopt
from vaesurface.stationary import model

__all__ = ["Extended", "Losses", "Singular", "drive", "facts", "is_structured", "length"]


@dataclass(frozen=True)
class Losses:
    """Problems of two hyper-parameters.

    make_problem: called with both by name.
    moved: the one that is given.
    solved: the one that is solved for.
    """

    make_problem: Callable[..., Any]
    moved: str
    solved: str

    def problem(self, moved: Any, solved: Any) -> Problem:
        """At values of both."""
        return adopt(self.make_problem(**{self.moved: moved, self.solved: solved}))


class Extended(NamedTuple):
    """The unknowns.

    x: parameters of the loss.
    y: like x, along the kernel of its Hessian.
    solved: (), the hyper-parameter that is solved for.
    imperfection: (), mu; None at folds.
    """

    x: Params
    y: Params
    solved: Array
    imperfection: Array | None


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["value", "data", "span", "rate"],
    meta_fields=["losses", "structured"],
)
@dataclass(frozen=True, eq=False)
class Singular(PerDatum, Problem):
    """Lambda, as a problem whose parameters are `Extended`.

    losses: of two hyper-parameters.
    structured: whether it is a mean over data, as they are.
    value: (), of the hyper-parameter that is given.
    data: theirs, where structured.
    span: (), the size of the one that is solved for.
    rate: (), of a fold; None: of a branch point.
    """

    losses: Losses
    structured: bool
    value: Array
    data: Array | None
    span: Array
    rate: Array | None

    @property
    def structure(self) -> PerDatum | None:
        """Itself, where it is a mean over data."""
        return self if self.structured else None

    def base(self, solved: Any) -> Problem:
        """The problem whose fold or branch point it is."""
        return self.losses.problem(self.value, solved)

    def loss(self, params: Extended) -> Array:
        """Lambda ()."""
        if self.structured:
            return PerDatum.loss(self, params)
        slope = jax.jvp(self.base(params.solved).loss, (params.x,), (params.y,))[1]
        return slope + self._rest(params) + _half(params.imperfection, params.y)

    def term(self, row: tuple, shared: Extended, local: tuple, value: Array) -> Array:
        """The part of one output coordinate of one datum."""
        own = self._parts(shared.solved).term

        def of_pairs(row: Params, shared: Params, local: Params) -> Array:
            return own(row, shared, local, value)

        at, along = zip(row, (shared.x, shared.y), local, strict=True)
        slope = jax.jvp(of_pairs, at, along)[1]
        return slope + _half(shared.imperfection, row[1])

    def penalty(self, shared: Extended, local: tuple) -> Array:
        """The rest of one datum's."""
        own = self._parts(shared.solved).penalty
        at, along = zip((shared.x, shared.y), local, strict=True)
        slope = jax.jvp(own, at, along)[1]
        return slope + self._rest(shared) + _half(shared.imperfection, (shared.y, local[1]))

    def split(self, params: Extended) -> Parts:
        """Rows, shared and local parameters, each of x beside those of y."""
        own = self._parts(params.solved)
        x, y = own.split(params.x), own.split(params.y)
        return Parts(
            rows=(x.rows, y.rows),
            shared=params._replace(x=x.shared, y=y.shared),
            local=(x.local, y.local),
        )

    def join(self, parts: Parts) -> Extended:
        """The inverse of `split`."""
        own, shared = self._parts(parts.shared.solved), parts.shared
        both = zip(parts.rows, (shared.x, shared.y), parts.local, strict=True)
        x, y = (own.join(Parts(*each)) for each in both)
        return shared._replace(x=x, y=y)

    def size(self, params: Extended) -> Extended:
        """The loss's own sizes, or one for all of x; of y, whose length is one, at least one."""
        base = self.base(params.solved)
        if base.has("size"):
            sizes = jax.tree.map(_like, base.size(params.x), params.x)
        else:
            flat = ravel_pytree(params.x)[0]
            extent = jnp.maximum(1.0, jnp.sqrt(jnp.mean(flat**2)))
            sizes = jax.tree.map(partial(_like, extent), params.x)
        sized = jax.tree.map(lambda leaf: jnp.maximum(1.0, jnp.abs(leaf)), params)
        return sized._replace(x=sizes, solved=self.span)

    def settle(self, params: Extended) -> Extended:
        """What has no effect on the loss at zero, and with it what belongs to it in y."""
        x = self.base(params.solved).settle(params.x)
        y = jax.tree.map(_gone_with, params.y, params.x, x)
        return params._replace(x=x, y=y)

    def _parts(self, solved: Any) -> Any:
        """The structure of the loss."""
        return self.base(solved).structure

    def _rest(self, params: Extended) -> Array:
        """What belongs to no parameter of the loss."""
        if self.rate is None:
            return -0.5 * jnp.asarray(params.imperfection)
        return -self.rate * params.solved


def is_structured(losses: Losses, moved: float, solved: float) -> bool:
    """Whether losses are means over data that do not depend on what is solved for."""

    def data(solved: Any) -> Any:
        structure = losses.problem(jnp.asarray(moved), solved).structure
        return None if structure is None else structure.data

    held, rate = jax.jvp(data, (jnp.asarray(solved),), (jnp.ones(()),))
    return held is not None and not jnp.any(rate != 0)


@jax.jit
def drive(singular: Singular, params: Extended) -> Array:
    """y . d gradient L / du ()."""

    def slope(solved: Any) -> Array:
        return jax.jvp(singular.base(solved).loss, (params.x,), (params.y,))[1]

    return jax.grad(slope)(params.solved)


@jax.jit
def length(singular: Singular, params: Extended) -> Array:
    """|y| (), where what belongs to one of n data weighs 1/n."""
    problem = singular.base(params.solved)
    weights = model.weigh_data(problem, optax.tree.ones_like(params.y))
    return jnp.sqrt(optax.tree.vdot(optax.tree.mul(weights, params.y), params.y))


@jax.jit
def facts(singular: Singular, params: Extended) -> tuple[Array, Array, Array]:
    """Of the loss at x: its value (), its Hessian's eigenvalues (p,) and their flat bands (p,)."""
    problem = singular.base(params.solved)
    factors = model.methods(problem).factor(params.x)
    return problem.loss(params.x), factors.eigenvalues, factors.width


def _half(imperfection: Any, y: Params) -> Any:
    """mu |y|^2 / 2, of a part of y; nothing at folds."""
    return 0.0 if imperfection is None else 0.5 * imperfection * optax.tree.vdot(y, y)


def _like(size: Any, leaf: Array) -> Array:
    return jnp.broadcast_to(jnp.asarray(size), jnp.shape(leaf))


def _gone_with(y: Array, before: Array, after: Array) -> Array:
    """Zero where the parameter has been set to zero."""
    return jnp.where((after == 0) & (before != 0), 0.0, y)
