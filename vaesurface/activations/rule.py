"""How far off is the quadrature of somebody's own function?

>>> import jax.numpy as jnp
>>> from vaesurface.activations.activation import numeric
>>> print(error(numeric(jnp.tanh)) < 1e-8, error(numeric(jnp.abs)) < 1e-8)
True False
>>> checked(numeric(lambda u: jnp.tanh(6 * u))).nodes  # twice as many as usual
192
"""

import math
from dataclasses import replace
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface.activations.activation import Numeric
from vaesurface.activations.expectation import MOST_KEPT
from vaesurface.problem import require_float64
from vaesurface.refusal import complaint

__all__ = ["checked", "error"]

MEANS = (-2.0, -0.7, 0.0, 0.3, 1.9)
DEVIATIONS = (0.1, 0.5, 1.0, 2.0)
FINER, WIDER = 4, 4.0  # a finer rule has as many times the nodes, and reaches as much farther
WORST = 1e-8  # relative to the second moment
MOST = 4  # times the usual nodes


def error(activation: Numeric) -> float:
    """Largest error of mean and variance of g (alpha = 1), relative to its root mean square, for
    means up to 2 and deviations of 0.1 to 2: beside a wider rule of four times as many nodes.
    """
    m, s = (jnp.asarray(axis.ravel()) for axis in np.meshgrid(MEANS, DEVIATIONS))
    nodes, tilt = FINER * activation.nodes, activation.tilt + WIDER
    one, finer = activation, replace(activation, nodes=nodes, tilt=tilt)
    coarse, fine = (each.moments(m, s**2, jnp.ones(())) for each in (one, finer))
    square = fine.mean**2 + fine.variance
    scale = jnp.sqrt(jnp.maximum(square, jnp.finfo(float).tiny))
    off = jnp.abs(coarse.mean - fine.mean) / scale
    off = jnp.maximum(off, jnp.abs(coarse.variance - fine.variance) / scale**2)
    return float(jnp.max(off))


def checked(activation: Numeric) -> Numeric:
    """The same with as many nodes as its quadrature takes to be right to 1e-8.

    Raises ValueError where four times the usual ones do not do, where it jumps at 0, or where the
    function is not one of JAX's, RuntimeError without float64.
    """
    require_float64("the quadrature of an activation")
    return _checked(activation)


@lru_cache(maxsize=MOST_KEPT)
def _checked(activation: Numeric) -> Numeric:
    try:
        with jax.ensure_compile_time_eval():
            _require_continuous(activation)
            times, off = 1, error(activation)
            while not off <= WORST and times < MOST:
                times *= 2
                off = error(replace(activation, nodes=times * activation.nodes))
    except (TypeError, jax.errors.JAXTypeError) as wrong:
        raise complaint(
            "an activation that is a function of JAX arrays, elementwise",
            f"{activation.name}: {type(wrong).__name__}",
            "write it with jax.numpy",
        ) from wrong
    if off <= WORST:
        return replace(activation, nodes=times * activation.nodes)
    raise complaint(
        "an activation that is finite everywhere and smooth between its kinks",
        f"{activation.name}, whose quadrature is off by {off:.1g}",
        "say where it has kinks: activations.numeric(left, right, kinks=(0.0,)); if it has none, "
        "flatten it",
    )


def _require_continuous(activation: Numeric) -> None:
    """At 0, where a decoder without weight is. Raises ValueError."""
    for kink, left, right in zip(
        activation.kinks, activation.parts, activation.parts[1:], strict=False
    ):
        below, above = (float(part(jnp.asarray(kink))) for part in (left, right))
        if kink == 0.0 and not math.isclose(below, above, rel_tol=1e-12, abs_tol=1e-12):
            raise complaint(
                "an activation that is continuous at 0, where collapse is",
                f"{activation.name}, which jumps there from {below:g} to {above:g}",
                "move the jump, or close it",
            )
