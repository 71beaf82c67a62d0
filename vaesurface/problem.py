"""What does a loss surface have to provide to be searched, refined and judged?

A `Problem` is a value: a pytree of its arrays (data, hyper-parameters) with pure functions of the
parameters as methods. Only `loss` is needed; each of the others unlocks one thing. Programs take a
problem as an argument, so one compiled program serves all data sets and hyper-parameters of a
shape, and `jax.vmap` and `jax.jvp` go through problems. A loss of your own is one on day one:

>>> import jax.numpy as jnp
>>> from vaesurface import stationary
>>> stationary.analyze(lambda w: w[0] ** 2 - w[1] ** 2, jnp.zeros(2)).label
'saddle of index 1'

`Problem(loss=f, init=g)` is one that can do more. So is a dataclass of your own with a method
`loss`, registered with JAX so that its arrays are data:

>>> @partial(jax.tree_util.register_dataclass, data_fields=["slope"], meta_fields=[])
... @dataclass(frozen=True)
... class Tilted:
...     slope: Array
...
...     def loss(self, w):
...         return jnp.sum((w**2 - 1) ** 2 + self.slope * w)
>>> stationary.analyze(Tilted(jnp.array(0.0)), jnp.array([0.0])).label
'maximum'
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike

from vaesurface import blocks, moved, quick, shards
from vaesurface.glance import brief
from vaesurface.refusal import line, reading, shown

__all__ = [
    "Autoencoder",
    "Deterministic",
    "Params",
    "Parts",
    "PerDatum",
    "Problem",
    "Structure",
    "Symmetry",
    "Theory",
    "adopt",
    "apart",
    "entry",
    "evaluations",
    "hessians",
    "irregular",
    "require_draws",
    "require_float64",
    "require_key",
    "require_numbers",
    "require_scalar",
]

__getattr__ = moved.names(__name__)

Params = Any
# Terms of a per-datum loss up to which all are held at once, and that are held at a time beyond:
# intermediate results then stay in the processor's cache, in derivatives as well.
HELD = 2**14
BLOCK = 2**12
STREAM = 2**22  # terms of a loss (data times output coordinates) up to which all are held at once
BATCH = 2**18  # terms held at a time beyond that
LARGEST_INTEGER = 2**63 - 1  # that JAX has
JITTER = 1e-14  # of a parameter's size: a change that shows nothing but the loss's rounding
JITTERS = 6  # places that rounding is measured at


@brief()
class Theory(NamedTuple):
    """What is known in closed form about one point: numbers, so that it survives `vmap`.

    dead_rows: (), rows of the decoder's weight at zero.
    collapsed: (), whether all of them are, and the posterior is the prior.
    strict: (), number of flat directions along which the energy is known to increase strictly.
    falling: (), number of dead rows along which it is known to fall.
    drop: (), by how much it falls along them, together.
    descent: the displacement to there, like the parameters, or None.
    radius: (), row norm of the decoder's weight, in units of the decoder's output, up to which the
        collapsed point is known to be the lowest (0: unknown). All other parameters are within the
        bounds of `theory.CollapseRadius` there, unless `limit`.
    minimum: (), the infimum of the energy, NaN where unknown.
    slope: (), of the energy in log gamma along a ray where the infimum is -inf.
    push: (), the energy's derivative by log gamma at the point.
    runaway: (), whether a parameter has left every sensible scale, and no minimum is known there.
    doubt: (), where float64 cannot tell whether there is such a ray: how far it is off, in units of
        what rounding the data may do; else NaN.
    family: (), dimension of a continuous family of stationary points of this energy that it is one
        of, for reasons that theory knows (`Problem.family`).
    form: (3,), where the energy has a corner: along how many directions its leading form, which is
        homogeneous of degree two, falls, may do either, rises; then the Hessian has no say. -1
        where it has; None where there is no corner.
    corner: (), whether the point is at another corner, of which nothing is known.
    limit: (), whether radius is `theory.dead_zone_radius`: rows that are shorter lead nowhere lower
        as long as all other parameters are near enough to the collapsed point's, and nothing says
        how near.
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
    doubt: Array | float = math.nan
    family: Array | int = 0
    form: Array | None = None
    corner: Array | bool = False
    limit: Array | bool = False


class Symmetry(NamedTuple):
    """A continuous symmetry: loss(move(params, t)) is the same for all t, and move(params, 0) is
    params.

    A ReLU network has one parameter per hidden unit, for what goes in grows as what comes out
    shrinks:

        def move(w, t):
            return w | {"in": w["in"] * jnp.exp(t)[None], "out": w["out"] / jnp.exp(t)[:, None]}

    size: length of t.
    move: (params, t (size,)) to parameters of the same loss.
    """

    size: int
    move: Callable[[Params, Array], Params]

    def beside(self, other: "Symmetry | None") -> "Symmetry":
        """Both, of one loss."""
        if other is None:
            return self
        return Symmetry(size=self.size + other.size, move=_Both(self, other))


@dataclass(frozen=True)
class _Both:
    """What moves along two symmetries: equal for equal ones."""

    one: Symmetry
    other: Symmetry

    def __call__(self, params: Params, t: Array) -> Params:
        """One after the other."""
        first = self.one.move(params, t[: self.one.size])
        return self.other.move(first, t[self.one.size :])


@brief()
class Autoencoder(NamedTuple):
    """A trained VAE as arrays and functions, whatever made it: what diagnosis and Proposition 5.1
    ask for.

    data: (n, d).
    mean: (n, k), of the data's posteriors.
    log_std: (n, k), of their standard deviations.
    decode: latents (..., k) to the decoder's means (..., d).
    gamma: decoder variance, () or, where the decoder has a covariance of its own, (n,) or (n, d) at
        the posterior means.
    learned: whether gamma was trained.
    beta: (), weight of the KL part.
    error: (mean (k,), log_std (k,), x (d,)) to E ||x - decode(z)||^2, exact for every posterior;
        None where it has to be sampled.
    predict: (z, x) to means (..., d) where the decoder sees the datum's other coordinates too, as
        autoregressive ones do; else None.
    likelihood: of the decoder; where it is not Gaussian gamma has no meaning, and error is
        E -log p(x | z) in nats.
    classes: of a categorical likelihood, the number of its classes.
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
    likelihood: str = "gaussian"
    classes: int = 1


@brief()
class Problem:
    """A loss surface: what the methods below say; all but `loss` have defaults that know nothing.

    `Problem(loss=f, init=g, ...)` makes one of functions, each named like the method that it stands
    for; they are static, so a new function is a new program. A class that inherits and is
    registered as a pytree keeps its arrays out of the programs.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        """Before `dataclass` has a say, whose `repr` would print all data."""
        super().__init_subclass__(**options)
        inherited = cls.__repr__
        cls.__repr__ = inherited  # type: ignore[method-assign]

    def __init__(self, loss: Callable[[Params], Array], **functions: Any) -> None:
        if unknown := functions.keys() - OPTIONAL:
            raise TypeError(
                f"expected functions named {', '.join(OPTIONAL)}, got {min(unknown)}; rename it"
            )
        self.__dict__.update({k: f for k, f in functions.items() if f is not None}, loss=loss)

    def loss(self, params: Params) -> Array:
        """The energy, a real scalar."""
        raise NotImplementedError("expected a problem with a loss, got one without; write its loss")

    @property
    def structure(self) -> "PerDatum | None":
        """What gives exact inertia and Newton's steps in time linear in n, or None."""
        return self.__dict__.get("structure")

    @property
    def symmetry(self) -> Symmetry | None:
        """Flat directions that are no degeneracy, or None."""
        return self.__dict__.get("symmetry")

    def init(self, key: Array, scale: ArrayLike = 0.1) -> Params:
        """A random start, for `stationary.find`."""
        raise _missing("init", "start from parameters with refine and analyze")

    def collapsed(self) -> Params:
        """The collapsed stationary point."""
        raise _missing("collapsed", "give the point")

    def information(self, params: Params) -> Array | None:
        """(k,), twice the KL divergence in nats per latent, which says what is active; or None."""
        return None

    def settle(self, params: Params) -> Params:
        """The same with all that has no effect on the energy set to exactly zero."""
        return params

    def theory(self, params: Params, uncertainty: ArrayLike = 0.0) -> Theory | None:
        """What is known in closed form about the stationary point that params are so near to.

        uncertainty: the largest change of a parameter on the way there, in units of its size.
        """
        return None

    def family(self, params: Params) -> Array:
        """Dimension () of a continuous family of stationary points of one energy, none of them by
        `symmetry`, that a stationary point at params is one of.
        """
        return jnp.asarray(0)

    def smooth(self, params: Params) -> bool:
        """Whether the loss is known to be twice differentiable at params, and derivatives to be
        right, though an operation in it is not: by shapes alone.
        """
        return False

    def size(self, params: Params) -> Params:
        """Natural sizes of the parameters, like params: "near" and "small" are in units of them."""
        return jax.tree.map(lambda x: jnp.maximum(1.0, jnp.abs(x)), params)

    def latents(self, params: Params) -> tuple[Array, Array, Array]:
        """(k, .) odd and (k, .) even under a latent's sign flip, and the rest (.): points that are
        equal up to a signed permutation of the latents are one.
        """
        return jnp.zeros((0, 0)), jnp.zeros((0, 0)), ravel_pytree(params)[0]

    def relabel(self, params: Params, order: Array, sign: Array) -> Params:
        """Latent j of the result is sign[j] times latent order[j]; order and sign (k,)."""
        raise _missing("relabel", "say how its latents are relabelled")

    def autoencoder(self, params: Params) -> Autoencoder:
        """The VAE that the parameters make."""
        raise _missing("autoencoder", "say which VAE its parameters make")

    def restrict(self, params: Params, keep: Array) -> Params:
        """Latents outside keep (k,) bool switched off: ignored by the decoder, and their posterior
        the prior.
        """
        raise _missing("restrict", "say how a latent is switched off")

    def deterministic(self) -> "Problem":
        """The same architecture as an autoencoder: squared error per coordinate, no noise, no KL;
        its parameters are these too, and what it has no use for is ignored.
        """
        raise _missing("deterministic", "say what its autoencoder is")

    def sampled(
        self, params: Params, key: Array, samples: int = 1, batch: int | None = None
    ) -> Array:
        """An unbiased draw of the loss, as training sees it."""
        raise _missing("sampled", "take one of vae.threshold_vae or vae.network_vae")

    def has(self, name: str) -> bool:
        """Whether a method is the problem's own, and not the default that knows nothing."""
        return name in self.__dict__ or getattr(type(self), name) is not getattr(Problem, name)

    def replace(self, **functions: Any) -> "Problem":
        """A problem of functions: these, and the problem's own for all others; None is the default.

        To change a hyper-parameter use `dataclasses.replace(problem, alpha=...)`.
        """
        own = {name: getattr(self, name) for name in ("loss", *OPTIONAL) if self.has(name)}
        return Problem(**(own | functions))

    def _replace(self, **functions: Any) -> "Problem":
        """The old name of `replace`."""
        warnings.warn(
            "Problem._replace is now Problem.replace; the old name goes with the next release",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.replace(**functions)

    def like(self) -> Params:
        """Shapes of the parameters, or None where they are not known."""
        return jax.eval_shape(self.collapsed) if self.has("collapsed") else None

    @jax.jit
    def rounding(self, params: Params) -> Array:
        """By how much the loss at a point changes where nothing changes but rounding, in its units.

        This, and nothing else, says whether an energy is lower than another one: measured at
        `JITTERS` places beside the point, with four times the largest change as a bound, and 32
        units in the last place for what they may have in common.
        """
        x, unravel = ravel_pytree(params)
        nudges = JITTER * ravel_pytree(self.size(params))[0][None] * irregular(JITTERS, x.size)
        # The place itself is one of them, so that the loss is compiled once.
        places = x[None] + jnp.concatenate([jnp.zeros_like(nudges[:1]), nudges])
        levels = jax.lax.map(lambda place: self.loss(unravel(place)), places)
        jitter = jnp.max(jnp.abs(levels[1:] - levels[0]))
        return 4 * jitter + 32 * jnp.finfo(levels.dtype).eps * jnp.abs(levels[0])


OPTIONAL = (
    "init",
    "collapsed",
    "structure",
    "information",
    "settle",
    "theory",
    "family",
    "smooth",
    "size",
    "latents",
    "relabel",
    "symmetry",
    "autoencoder",
    "restrict",
    "deterministic",
    "sampled",
)


def _missing(name: str, advice: str) -> ValueError:
    return ValueError(f"expected a problem with {name}, got one without; {advice}")


def _flatten(problem: Problem) -> tuple[tuple[Any], tuple]:
    """Functions are part of the tree's structure; the data of a `Structure` are not."""
    functions = {k: f for k, f in problem.__dict__.items() if k != "structure"}
    return (problem.structure,), tuple(sorted(functions.items()))


def _unflatten(functions: tuple, children: Any) -> Problem:
    return Problem(**dict(functions), structure=children[0])


jax.tree_util.register_pytree_node(Problem, _flatten, _unflatten)


@brief()
class Parts(NamedTuple):
    """Parameters sorted by what they couple to.

    rows: leading axis d, one slice per output coordinate.
    shared: couples to everything.
    local: leading axis n, one slice per datum.
    """

    rows: Params
    shared: Params
    local: Params


class PerDatum:
    """A loss that is a mean over data (n, d) of terms, one per output coordinate (of one number or,
    where data are (n, d, ...), of several), and a penalty:

    loss = 1/n sum_i [ sum_r term(row_r, shared, local_i, data[i, r]) + penalty(shared, local_i) ]
    """

    if TYPE_CHECKING:
        data: Any
        term: Any
        penalty: Any
        split: Any
        join: Any

    @property
    def points(self) -> int:
        """By how much a term holds more numbers than most do."""
        return 1

    def loss(self, params: Params) -> Array:
        """The energy, a scalar."""
        parts = self.split(params)
        common = _Common(structure=self, rows=parts.rows, shared=parts.shared)
        each = _Each(local=parts.local, data=self.data)
        n = len(self.data)
        if shards.count(n) == 1:
            return _mean(common, each)
        rest, whole = apart(self)

        def total(common: tuple, each: _Each) -> tuple[Array, tuple]:
            rest, rows, shared = common
            own = _Common(structure=whole(rest), rows=rows, shared=shared)
            return _mean(own, each) * len(each.data), ()

        return shards.summed(total, (rest, parts.rows, parts.shared), each)[0] / n


def apart(structure: PerDatum) -> tuple[list[Any], Callable[[list[Any]], PerDatum]]:
    """A structure's arrays without the data, of which each device has its share only, and the
    function that makes it whole again: terms may ask how many data there are.
    """
    leaves, treedef = jax.tree.flatten(structure)
    own = [leaf is structure.data for leaf in leaves]

    def whole(rest: list[Any]) -> PerDatum:
        others = iter(rest)
        both = [
            leaf if is_data else next(others) for leaf, is_data in zip(leaves, own, strict=True)
        ]
        return jax.tree.unflatten(treedef, both)

    return [leaf for leaf, is_data in zip(leaves, own, strict=True) if not is_data], whole


class _Common(NamedTuple):
    """What the parts of all data depend on.

    structure: for its hyper-parameters.
    rows: parameters, by output coordinate.
    shared: parameters.
    """

    structure: PerDatum
    rows: Params
    shared: Params


class _Each(NamedTuple):
    """What has a slice per datum.

    local: parameters.
    data: (n, d).
    """

    local: Params
    data: Array


def _mean(common: _Common, each: _Each) -> Array:
    """Mean () of the data's parts, in blocks where they are many."""
    n, size = len(each.data), each.data.size * common.structure.points
    if size <= HELD:
        return jnp.mean(_values(common, each))
    return blocks.mean(_values, max(1, BLOCK * n // size), common, each)


def _values(common: _Common, each: _Each) -> Array:
    """Every datum's part (n,) of the loss."""
    structure = common.structure

    def coordinate(row: Params, local: Params, value: Array) -> Array:
        return structure.term(row, common.shared, local, value)

    def datum(one: _Each) -> Array:
        terms = jax.vmap(coordinate, (0, None, 0))(common.rows, one.local, one.data)
        return jnp.sum(terms) + structure.penalty(common.shared, one.local)

    return jax.vmap(datum)(each)


@brief()
@partial(
    jax.tree_util.register_dataclass,
    data_fields=["data"],
    meta_fields=["term", "penalty", "split", "join"],
)
@dataclass(frozen=True, eq=False)
class Structure(PerDatum):
    """`PerDatum` of functions, for a `Problem` of functions: `Problem(loss, structure=...)`.

    data: (n, d).
    term: (row, shared, local, value) to the term of one output coordinate of one datum.
    penalty: (shared, local) to the rest of one datum.
    split: parameters to `Parts`.
    join: its inverse.
    """

    data: Array
    term: Callable[[Params, Params, Params, Array], Array]
    penalty: Callable[[Params, Params], Array]
    split: Callable[[Params], Parts]
    join: Callable[[Parts], Params]


@partial(jax.tree_util.register_dataclass, data_fields=["vae"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class Deterministic(Problem):
    """The autoencoder of a VAE's architecture: its loss is `vae.reconstruction_error`."""

    vae: Any

    def loss(self, params: Params) -> Array:
        """Squared error per coordinate with every latent at its posterior mean."""
        return self.vae.reconstruction_error(params)

    def init(self, key: Array, scale: ArrayLike = 0.1) -> Params:
        """As the VAE's."""
        return self.vae.init(key, scale)


@partial(jax.tree_util.register_dataclass, data_fields=["value"], meta_fields=[])
@dataclass(frozen=True, eq=False)
class _Adopted(Problem):
    """A value of somebody's own class, with those of a problem's methods that it has."""

    value: Any

    def __post_init__(self) -> None:
        self.__dict__.update(_methods(self.value))


def _methods(value: Any) -> dict[str, Any]:
    own = {name: getattr(value, name, None) for name in ("loss", *OPTIONAL)}
    return {name: method for name, method in own.items() if method is not None}


def adopt(value: Any) -> Problem:
    """A problem as it is; one of the methods of anything else with a `loss`; of a function, the one
    whose loss it is: equal functions share a program, and a lambda made anew has a new one.

    Raises TypeError for what may mean something else, and for a class that inherits and is not
    registered.
    """
    opaque = jax.tree_util.all_leaves([value])  # JAX knows no arrays in it
    if isinstance(value, Problem):
        if opaque:
            raise TypeError(
                f"expected a problem that is a pytree, got {type(value).__name__}, which is not "
                "registered; put jax.tree_util.register_dataclass above it"
            )
        return value
    if isinstance(value, type):
        raise TypeError(
            f"expected a problem, got the class {value.__name__}; give one that is made of it"
        )
    if not callable(getattr(value, "loss", None)):
        return _of_function(value, opaque)
    if opaque or any(map(callable, jax.tree.leaves(value))):
        return Problem(**_methods(value))
    return _Adopted(value)


def _of_function(value: Any, opaque: bool) -> Problem:
    """The problem whose loss a function is. Raises TypeError for what is none, or may be more."""
    if isinstance(owner := getattr(value, "__self__", None), Problem):
        raise TypeError(
            f"expected a problem, got a method of {type(owner).__name__}; give that problem, or "
            "Problem(loss=f) to have its loss alone judged"
        )
    if callable(value) and opaque and type(value).__hash__ is not None:
        return Problem(loss=value)
    got = type(value).__name__
    if callable(value):
        raise TypeError(
            f"expected a problem or a loss, got {got}, which holds arrays or has no hash; wrap it: "
            "Problem(loss=lambda params: f(params))"
        )
    raise TypeError(
        f"expected a problem, got {got}; give a function loss(params), or an object with such a "
        "method"
    )


def entry(
    what: str, static: tuple[str, ...] = (), size: Callable[..., float] | None = None
) -> Callable[[Callable], Callable]:
    """Decorator of a function of (problem, params, ...): one program for all problems of a kind and
    shape, behind a door.

    The door refuses, in one line and before anything is computed, what is no problem, float32, a
    loss that is no real scalar, and params of another shape than the problem's. what: is named in
    errors; static: arguments by name of which every value has a program of its own; size: the
    function's arguments to the operations that it takes, where these may be few enough for a
    program that is compiled quickly and runs slowly (`hessians`, `evaluations`).
    """

    def decorate(function: Callable) -> Callable:
        @wraps(function)
        def fitting(problem: Problem, params: Params, *args: Any, **options: Any) -> Any:
            _require_fit(what, problem, params)
            return function(problem, params, *args, **options)

        program = quick.Program(fitting, static, size)

        @wraps(function)
        def door(problem: Any, params: Params, *args: Any, **options: Any) -> Any:
            require_numbers(what, params)
            return program(adopt(problem), params, *args, **options)

        door.program = program  # type: ignore[attr-defined]  # its cache tells what was compiled
        return door

    return decorate


def evaluations(count: float) -> Callable[..., float]:
    """`entry`'s size of so many evaluations of the loss."""

    def size(problem: Problem, params: Params, *_: Any, **__: Any) -> float:
        return count * quick.work(problem.loss, params)

    return size


def hessians(count: float) -> Callable[..., float]:
    """`entry`'s size of so many Hessians by columns: with structure those of a datum's own
    parameters, of which each datum has its own.
    """

    def size(problem: Problem, params: Params, *_: Any, **__: Any) -> float:
        columns = ravel_pytree(params)[0].size
        if problem.structure is not None:
            own = jax.tree.leaves(problem.structure.split(params).local)
            columns = (sum(leaf.size for leaf in own) / len(problem.structure.data)) ** 2
        return count * columns * quick.work(problem.loss, params)

    return size


def require_numbers(what: str, params: Params) -> None:
    """Before JAX sees what it would refuse in a page. Raises ValueError."""
    for leaf in jax.tree.leaves(params):
        dtype = getattr(leaf, "dtype", None)
        plain = dtype is not None or isinstance(leaf, bool | int | float | complex)
        foreign = isinstance(dtype, np.dtype) and (dtype.kind in "OSUMmT" or dtype.names)
        if not plain or foreign or (isinstance(leaf, int) and abs(leaf) > LARGEST_INTEGER):
            raise ValueError(
                f"expected parameters that are float64 arrays for {what}, got "
                f"{type(leaf).__name__}{_quoted(leaf)}; take those of the problem"
            )


def _quoted(value: Any) -> str:
    """The beginning of a value, where it can be written down at all."""
    huge = isinstance(value, int) and abs(value) > LARGEST_INTEGER
    return " beyond all integers of 64 bits" if huge else f" {line(str(value))[:40]!r}"


def _require_fit(what: str, problem: Problem, params: Params) -> None:
    """By shapes alone."""
    require_float64(what, params)
    expected = problem.like()
    if expected is not None and _shapes(expected) != _shapes(params):
        raise ValueError(
            f"expected parameters of shapes {_shapes(expected)} for {what}, got {_shapes(params)}; "
            "take them from this problem"
        )
    require_scalar(problem.loss, params)


def require_scalar(loss: Callable[[Params], Array], params: Params) -> None:
    """Refuse a loss that is no real number, by its shape alone, and one without parameters. Raises
    ValueError.
    """
    if not sum(jnp.size(leaf) for leaf in jax.tree.leaves(params)):
        raise ValueError(
            f"expected at least one parameter, got none in {str(params)[:60]}; give the loss's own"
        )
    remedy = "give those that the loss takes, and nothing else: lambda params: f(params, X)"
    with reading("a loss of parameters of these shapes", remedy):
        value = jax.eval_shape(loss, params)
    if isinstance(value, Problem):
        raise ValueError(
            "expected a loss that is one real number, got a function that makes problems; call it"
        )
    with reading("a loss of parameters of these shapes", remedy):
        jnp.result_type(value)
    if jnp.shape(value) or not jnp.issubdtype(jnp.result_type(value), jnp.floating):
        raise ValueError(
            f"expected a loss that is one real number, got {jnp.result_type(value)} of shape "
            f"{jnp.shape(value)}; sum it up"
        )
    given = jnp.result_type(*jax.tree.leaves(params))
    floats = jnp.issubdtype(given, jnp.floating)
    if floats and jnp.finfo(value.dtype).eps > jnp.finfo(given).eps:
        raise ValueError(
            f"expected a loss of {given} as its parameters are, got {value.dtype}, whose rounding "
            "hides what is judged; compute it without conversions"
        )


def _shapes(params: Params) -> str:
    return str(jax.tree.map(jnp.shape, params))


def require_float64(what: str, params: Params = None) -> None:
    """Refuse analysis in float32: signs of small eigenvalues would be noise. Raises RuntimeError
    or, for params, ValueError.
    """
    if not jax.config.jax_enable_x64:  # type: ignore[attr-defined]
        raise RuntimeError(
            f"expected float64 for {what}, got float32; call "
            'jax.config.update("jax_enable_x64", True) at start-up'
        )
    for leaf in jax.tree.leaves(params):
        if jnp.result_type(leaf) != jnp.float64:
            raise ValueError(
                f"expected float64 parameters for {what}, got {jnp.result_type(leaf)}; convert them"
            )


def require_key(key: Any) -> None:
    """Refuse what is no random key. Raises ValueError."""
    if not hasattr(key, "dtype") or getattr(key.dtype, "kind", "V") in "OSUMmT":
        raise ValueError(
            f"expected a random key, got {shown(key)}; make one with jax.random.key(seed)"
        )
    typed = jnp.issubdtype(jnp.result_type(key), jax.dtypes.prng_key)
    if not typed and (jnp.shape(key) != (2,) or jnp.result_type(key) != jnp.uint32):
        raise ValueError(
            f"expected a random key, got {jnp.result_type(key)} of shape {jnp.shape(key)}; make "
            "one with jax.random.key(seed)"
        )


def require_draws(samples: int, batch: int | None, n: int) -> None:
    """Refuse numbers of draws per datum, and of data in a batch, out of range. Raises
    ValueError.
    """
    if samples < 1 or not 1 <= (n if batch is None else batch) <= n:
        raise ValueError(
            f"expected samples >= 1 and a batch of 1 to {n} data, got {samples} and {batch}; "
            "change either"
        )


def irregular(*shape: int) -> Array:
    """Numbers between -1 and 1 without order, the same ones every time."""
    size = 1
    for length in shape:
        size *= length
    return jnp.cos(jnp.arange(size, dtype=float).reshape(shape) ** 2)
