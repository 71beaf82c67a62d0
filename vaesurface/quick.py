"""For which programs is compiling quickly worth running slowly?

Of a small problem nearly all that a user waits for is the compiler. Without the code generator for
fusions and without optimization it takes a third of the time or less, and the program two or three
times as long: milliseconds, where `work` is small. The choice hangs on shapes alone, so what
a call returns does not depend on the calls before it.

>>> import jax.numpy as jnp
>>> work(lambda w: jnp.sum(jnp.tanh(w)), jnp.zeros(100))
200.0
"""

import math
from collections.abc import Callable, Iterator
from functools import cache
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

import jax
import jax.numpy as jnp

__all__ = ["SMALL", "Program", "work"]

# Operations of a small program: it runs some tenths of a second longer.
SMALL = 1e9
MATMUL = 0.25  # of a multiplication and addition in a product of matrices, per other operation
TURNS = 100.0  # of a loop whose length is not known
OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 0}


class Program:
    """A compiled function of (problem, params, ...): quickly where that is worth it, and as part of
    the other where it is called in another.

    function: of pytrees.
    static: its arguments by name of which every value has a program of its own.
    size: its arguments to the operations that it takes; None where it had better run fast.
    """

    def __init__(
        self, function: Callable, static: tuple[str, ...], size: Callable[..., float] | None
    ) -> None:
        self._size = size
        self._thorough: Any = jax.jit(function, static_argnames=static)
        self._quick: Any = jax.jit(function, static_argnames=static, compiler_options=OPTIONS)

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self._is_small(args, options):
            try:
                return self._quick(*args, **options)
            except ValueError as error:
                # It is in a transformation after all, as where a loss closes over what is traced.
                if "compiler_options" not in str(error):
                    raise
        return self._thorough(*args, **options)

    def _is_small(self, args: tuple, options: dict) -> bool:
        if self._size is None or not (_is_outermost(args, options) and _understood()):
            return False
        try:
            return self._size(*args, **options) <= SMALL
        except Exception:  # what does not fit together is refused with words, by the function
            return False

    def _cache_size(self) -> int:
        """How many programs have been compiled."""
        return self._thorough._cache_size() + self._quick._cache_size()


def _is_outermost(*trees: Any) -> bool:
    """Whether a call with these arguments is in no transformation and no other program."""
    leaves = jax.tree.leaves((trees, jnp.zeros(())))
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)


@cache
def _understood() -> bool:
    """Whether this compiler is one that takes the options."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options=OPTIONS)()
    except jax.errors.JaxRuntimeError:
        return False
    return True


_known: WeakKeyDictionary[Callable, dict] = WeakKeyDictionary()


def work(function: Callable, *args: Any) -> float:
    """Operations on numbers in one evaluation, by shapes alone; of unbounded loops a guess."""
    own = function.__self__ if isinstance(function, MethodType) else None
    if isinstance(function, MethodType) and not jax.tree_util.all_leaves([own]):
        # Methods of a problem are made anew, and what they are made of is not.
        function, args = function.__func__, (own, *args)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), jnp.result_type(x)), args)
    leaves, treedef = jax.tree.flatten(shapes)
    key = treedef, tuple((leaf.shape, str(leaf.dtype)) for leaf in leaves)
    try:
        known = _known.setdefault(function, {})
    except TypeError:  # not all callables are kept weakly
        known = {}
    if key not in known:
        known[key] = _operations(jax.make_jaxpr(function)(*shapes).jaxpr)
    return known[key]


def _operations(jaxpr: Any) -> float:
    return math.fsum(map(_of_one, jaxpr.eqns))


def _of_one(eqn: Any) -> float:
    parts = [_operations(part) for part in _parts(eqn.params)]
    match eqn.primitive.name:
        case "scan":
            return eqn.params["length"] * math.fsum(parts)
        case "while":
            return TURNS * math.fsum(parts)
        case "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            return MATMUL * eqn.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
    if parts:
        return max(parts)  # branches, of which one is taken; or a single part
    return float(max(x.aval.size for x in (*eqn.invars, *eqn.outvars)))


def _parts(params: dict) -> Iterator[Any]:
    """Jaxprs in an equation's parameters."""
    for leaf in jax.tree.leaves(list(params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
        if hasattr(leaf, "eqns"):
            yield getattr(leaf, "jaxpr", leaf)
