"""What does a loss surface have to provide to be searched, refined and judged?

A `Problem` is a handful of pure functions of a pytree of parameters. Only `loss` is needed; each of
the others unlocks one thing, and its comment says which. A loss of your own is a problem on day
one:

>>> import jax.numpy as jnp
>>> from vaesurface import stationary
>>> saddle = Problem(loss=lambda w: w[0] ** 2 - w[1] ** 2)
>>> stationary.analyze(saddle, jnp.zeros(2)).label
'saddle of index 1'
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

Params = Any
STREAM = 2**22  # terms of a loss (data times output coordinates) up to which all are held at once
BATCH = 2**18  # terms held at a time beyond that


class Theory(NamedTuple):
    """What is known in closed form about one point: numbers, so that it survives `vmap`.

    dead_rows: rows of the decoder at zero. collapsed: all of them are, and the posterior is the
    prior. strict: number of flat directions along which the energy is known to increase strictly.
    falling: number of dead rows along which it is known to fall; drop: by how much, together;
    descent: the displacement to there, like the parameters, or None. radius: row norm up to which
    the collapsed point is known to be the lowest (0: nothing known). minimum: the infimum, NaN
    where unknown; slope: of the energy in log gamma along a ray where that is -inf; push: its
    derivative by log gamma at the point. runaway: some parameter has left every sensible scale, and
    no minimum is known to be there.
    """

    dead_rows: Array
    collapsed: Array
    strict: Array
    falling: Array
    drop: Array
    descent: Params
    radius: Array
    minimum: Array
    slope: Array
    push: Array
    runaway: Array


class Parts(NamedTuple):
    """Parameters sorted by what they couple to.

    rows: leading axis d, one slice per output coordinate; shared: couples to everything; local:
    leading axis n, one slice per datum.
    """

    rows: Params
    shared: Params
    local: Params


class Structure(NamedTuple):
    """A loss that is a mean over data of terms, one per output coordinate, and a penalty:

        loss = 1/n sum_i [ sum_r term(row_r, shared, local_i, data[i, r]) + penalty(shared, local_i)
        ]

    Compared by identity, so that compiled functions can be remembered by the problem they are for.
    """

    data: Array
    term: Callable[[Params, Params, Params, Array], Array]
    penalty: Callable[[Params, Params], Array]
    split: Callable[[Params], Parts]
    join: Callable[[Parts], Params]

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def loss(self, params: Params) -> Array:
        """The energy, a scalar."""
        parts = self.split(params)

        def datum(local, x):
            terms = jax.vmap(lambda row, value: self.term(row, parts.shared, local, value))(
                parts.rows, x
            )
            return jnp.sum(terms) + self.penalty(parts.shared, local)

        n, d = self.data.shape
        if n * d <= STREAM:
            return jnp.mean(jax.vmap(datum)(parts.local, self.data))
        # Large data go through in batches that a derivative computes anew rather than remembers.
        anew = jax.checkpoint(datum)
        return jnp.mean(
            jax.lax.map(lambda z: anew(*z), (parts.local, self.data), batch_size=max(1, BATCH // d))
        )


class Symmetry(NamedTuple):
    """A continuous symmetry: loss(move(params, t)) is the same for all t (size,), and move(params,
    0) is params.

    A ReLU network has one parameter per hidden unit, for what goes in grows as what comes out
    shrinks:

        Symmetry(size=hidden, move=lambda w, t: w | {"in": w["in"] * jnp.exp(t)[None], "out":
        w["out"] / jnp.exp(t)[:, None]})
    """

    size: int
    move: Callable[[Params, Array], Params]


class Autoencoder(NamedTuple):
    """A trained VAE as arrays and functions, whatever made it: what diagnosis and Proposition 5.1
    ask for.

    data (n, d); mean and log_std (n, k): the data's posteriors; decode: latents (..., k) to the
    decoder's means (..., d); gamma: decoder variance, () or, where the decoder has a covariance of
    its own, (n,) or (n, d) at the posterior means; learned: whether gamma was trained; beta ():
    weight of the KL part; error(mean, log_std, x) = E ||x - decode(z)||^2 of one datum, (k,), (k,),
    (d,) to (): exact for every posterior, None where it has to be sampled; predict(z, x): means
    (..., d) where the decoder sees the datum's other coordinates too, as autoregressive ones do, or
    None.
    """

    data: Array
    mean: Array
    log_std: Array
    decode: Callable[[Array], Array]
    gamma: Array
    learned: bool = True
    beta: ArrayLike = 1.0
    error: Callable[[Array, Array, Array], Array] | None = None
    predict: Callable[[Array, Array], Array] | None = None


class Problem(NamedTuple):
    """A loss surface. `loss(params)` is a scalar; the rest is optional."""

    loss: Callable[[Params], Array]
    init: Callable[..., Params] | None = (
        None  # init(key, scale): random starts, for stationary.find
    )
    collapsed: Callable[[], Params] | None = None  # the collapsed stationary point
    structure: Structure | None = None  # exact inertia and Newton steps in time linear in n
    information: Callable[[Params], Array] | None = (
        None  # (k,) twice the KL in nats per latent: active dimensions
    )
    settle: Callable[[Params], Params] | None = (
        None  # sets what has no effect on the energy to exactly zero
    )
    # theory(params, uncertainty): what is known in closed form about the stationary point that
    # params are so near to, measured as the largest change of a parameter in units of its size
    theory: Callable[[Params, Array], Theory] | None = None
    # natural sizes of the parameters, like params: makes "near" and "small" independent of units;
    # default max(1, |theta|)
    size: Callable[[Params], Params] | None = None
    # (k, .) odd and (k, .) even under a latent's sign flip, and the rest (.): points equal up to
    # symmetry are one
    latents: Callable[[Params], tuple[Array, Array, Array]] | None = None
    # relabel(params, order, sign): latent j of the result is sign[j] times latent order[j]; order
    # and sign (k,)
    relabel: Callable[[Params, Array, Array], Params] | None = None
    symmetry: Symmetry | None = None  # flat directions that are no degeneracy
    autoencoder: Callable[[Params], Autoencoder] | None = None  # the VAE that the parameters make
    # restrict(params, keep): latents outside keep (k,) bool switched off: ignored by the decoder,
    # their posterior the prior
    restrict: Callable[[Params, Array], Params] | None = None
    # deterministic() is the same architecture as an autoencoder: squared error per coordinate, no
    # noise, no KL; its parameters are these too, and what it has no use for is ignored
    deterministic: Callable[[], Any] | None = None
    # recipe() is (make, arrays) with make(**arrays) this problem and make hashable: `compiled`
    # needs it, and `proof`
    recipe: Callable[[], tuple[Callable[..., Any], dict[str, Any]]] | None = None
    # original() is the problem as its recipe makes it: one of which a part was replaced is another,
    # and has no recipe
    original: Callable[[], Any] | None = None


def resolution(loss: Any) -> Any:
    """A change of a loss of that size, in its dtype, that rounding may hide: 256 units in the last
    place.
    """
    return 256 * jnp.finfo(loss.dtype).eps * abs(loss).clip(1.0)


def recipe_of(problem: Problem) -> tuple[Callable[..., Any], dict[str, Any]] | None:
    """(make, arrays) with make(**arrays) this problem, or None: without a recipe, or where
    `_replace` has left it behind.
    """
    if problem.recipe is None:
        return None
    if problem.original is not None and any(
        a is not b for a, b in zip(problem, problem.original(), strict=True)
    ):
        return None
    return problem.recipe()


def compiled(function: Callable, problem: Problem, *args: Any, **static: Any) -> Any:
    """function(problem, *args, **static) as one compiled program.

    Where the problem has a recipe its data are arguments of the program, which then serves every
    problem of that make and shape; without, they become part of it.
    """
    options = tuple(sorted(static.items()))
    recipe = recipe_of(problem)
    if recipe is None:
        return _with_problem(function, problem, options, args)
    make, arrays = recipe
    return _with_recipe(function, make, options, arrays, args)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _with_problem(function, problem, options, args):
    return function(problem, *args, **dict(options))


@partial(jax.jit, static_argnums=(0, 1, 2))
def _with_recipe(function, make, options, arrays, args):
    return function(make(**arrays), *args, **dict(options))


def require_float64(what: str, params: Params = None) -> None:
    """Refuse analysis in float32: signs of small eigenvalues would be noise. Raises RuntimeError
    or, for params, ValueError.
    """
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise RuntimeError(
            f'expected float64 for {what}, got float32; call jax.config.update("jax_enable_x64", '
            f"True) at start-up"
        )
    for leaf in jax.tree.leaves(params):
        if jnp.result_type(leaf) != jnp.float64:
            raise ValueError(
                f"expected float64 parameters for {what}, got {jnp.result_type(leaf)}; convert them"
            )
