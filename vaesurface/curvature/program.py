"""How is a function of a loss compiled once for many losses?

A problem's loss is a method of a pytree: its arrays are arguments of the program, not part of it.

>>> from vaesurface import data, vae
>>> traced = []
>>> @program()
... def level(loss, params):
...     traced.append("once")
...     return loss(params)
>>> for alpha in (0.1, 0.2):
...     problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=alpha)
...     print(level(problem.loss, problem.collapsed()), *traced)
3.0 once
3.0 once
"""

from collections.abc import Callable
from functools import wraps
from types import MethodType
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial

from vaesurface.problem import Params, Symmetry, require_numbers, require_scalar
from vaesurface.refusal import shown

__all__ = ["Loss", "Product", "linearized", "program"]

Loss = Callable[[Params], Array]
Product = Callable[[Array], Array]  # of a symmetric matrix with a vector (p,)
P = ParamSpec("P")
R = TypeVar("R")


def program(
    *static: str,
) -> Callable[[Callable[Concatenate[Loss, P], R]], Callable[Concatenate[Loss, P], R]]:
    """Decorator that compiles a function of (loss, ...): once for all problems of a kind and shape.

    static: arguments by name of which every value has a program of its own.
    """

    def decorate(function: Callable[Concatenate[Loss, P], R]) -> Callable[Concatenate[Loss, P], R]:
        @wraps(function)
        def checked(loss: Loss, params: Params, *args: Any, **options: Any) -> R:
            require_scalar(loss, params)
            return function(loss, params, *args, **options)

        compiled = jax.jit(checked, static_argnames=static)

        @wraps(function)
        def door(loss: Loss, *args: P.args, **options: P.kwargs) -> R:
            _require_arguments(loss, args, options, static)
            return compiled(_as_pytree(loss), *args, **options)

        return door

    return decorate


def _require_arguments(
    loss: Any, args: tuple[Any, ...], options: dict[str, Any], static: tuple[str, ...]
) -> None:
    """Refuse what is no function, parameters that JAX knows nothing of, and options that are no
    numbers. Raises ValueError.
    """
    if not callable(loss):
        raise ValueError(
            f"expected a loss, a function of the parameters, got {shown(loss)}; give "
            "one, as problem.loss"
        )
    numbers = {name: value for name, value in options.items() if name not in static}
    # Symmetries bring functions of their own.
    given = [value for value in (*args, *numbers.values()) if not isinstance(value, Symmetry)]
    require_numbers("a Hessian", given)
    for name in static:
        value = options.get(name)
        try:
            hash(value)
        except TypeError:
            raise ValueError(
                f"expected {name} as a plain number, got {shown(value)}; give one"
            ) from None


def _as_pytree(loss: Loss) -> Loss:
    """The same loss as an argument of a compiled program.

    Its arrays stay outside of the program where it is a pytree of arrays, or a method of one, as
    `problem.loss` is; any other function is itself a part of its program.
    """
    tree = Partial(loss.__func__, loss.__self__) if isinstance(loss, MethodType) else loss
    arrays = all(
        isinstance(leaf, Array | np.ndarray | np.generic | float) for leaf in jax.tree.leaves(tree)
    )
    return tree if arrays else Partial(loss)


def linearized(loss: Loss, params: Params) -> tuple[Array, Callable[[Array], Params], Product]:
    """Flat parameters, their inverse map, and the Hessian-vector product at them."""
    flat, unravel = ravel_pytree(params)
    _, product = jax.linearize(jax.grad(lambda w: loss(unravel(w))), flat)
    return flat, unravel, product
