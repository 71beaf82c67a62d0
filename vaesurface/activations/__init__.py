"""What can a decoder be bent by? Families f_alpha with f_0 the identity.

`soft threshold` is the paper's. Those of `BLENDED` are (1 - alpha) u + alpha g(u), with 0 <= alpha
<= 1; `relu` among them is the leaky ReLU max(u, (1 - alpha) u). `hard tanh` clips at 1 / alpha.
Moments are in closed form but for `softplus` and functions of your own (`numeric`), which
take a rule of quadrature whose error `checked` measures.

>>> named("relu").name, named(None).name
('relu', 'identity')
>>> import jax.numpy as jnp
>>> named(jnp.arctan).name
'arctan'
"""

from collections.abc import Callable
from typing import Any

import jax
from jax import Array

from vaesurface.activations.activation import Activation, Blend, Identity, Numeric, numeric
from vaesurface.activations.closed import Erf, Exponential, Polynomial, Sine, Tanh, polynomial
from vaesurface.activations.expectation import expected, quadrature
from vaesurface.activations.kinked import HardTanh, Hinge, SoftThreshold
from vaesurface.activations.logistic import log1p_exp
from vaesurface.activations.rule import checked
from vaesurface.refusal import complaint, shown

__all__ = [
    "BLENDED",
    "NAMED",
    "Activation",
    "Blend",
    "Erf",
    "Exponential",
    "HardTanh",
    "Hinge",
    "Identity",
    "Numeric",
    "Polynomial",
    "Sine",
    "SoftThreshold",
    "Tanh",
    "checked",
    "expected",
    "log1p_exp",
    "named",
    "numeric",
    "polynomial",
    "quadrature",
]


def _softplus(u: Array) -> Array:
    return jax.nn.softplus(u)


BLENDED: tuple[Activation, ...] = (
    Hinge("relu", share=1.0),
    Hinge("abs", share=2.0),
    Erf(),
    Sine(),
    Exponential(),
    polynomial((0.0, 0.0, 0.0, 1.0), "cubic"),
    Tanh(),
    numeric(_softplus, name="softplus"),
)
NAMED: dict[str, Activation] = {
    one.name: one for one in (Identity(), SoftThreshold(), HardTanh(), *BLENDED)
}


def named(activation: str | Activation | Callable[[Array], Array] | None) -> Activation:
    """An activation by its name, as it is, or of a function g of one's own, whose quadrature is
    checked; the identity for None.

    Raises ValueError for anything else, and where the quadrature of g is worse than 1e-8.
    """
    if activation is None:
        return NAMED["identity"]
    if isinstance(activation, Numeric) and activation not in NAMED.values():
        return checked(activation)
    if isinstance(activation, Activation):
        return activation
    if isinstance(activation, str) and activation in NAMED:
        return NAMED[activation]
    if callable(activation):
        return checked(numeric(activation))
    raise _unknown(activation)


def _unknown(activation: Any) -> ValueError:
    return complaint(
        f"an activation out of {', '.join(NAMED)}, one of vaesurface.activations, or a function "
        "of JAX arrays",
        shown(activation),
        "choose one",
    )
