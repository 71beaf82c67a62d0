"""How far off is the quadrature of somebody's own function?

>>> import jax.numpy as jnp
>>> from vaesurface.activations.activation import numeric
>>> print(error(numeric(jnp.tanh)) < 1e-8, error(numeric(jnp.abs)) < 1e-8)
True False
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface.activations.activation import Numeric
from vaesurface.problem import require_float64
from vaesurface.refusal import complaint

__all__ = ["checked", "error"]

MEANS = (-2.0, -0.7, 0.0, 0.3, 1.9)
DEVIATIONS = (0.1, 0.5, 1.0, 2.0)
FINER = 4
WORST = 1e-6  # relative to the second moment


def error(activation: Numeric) -> float:
    """Largest error of mean and variance of g (alpha = 1), relative to its root mean square, for
    means up to 2 and deviations of 0.1 to 2: beside a rule of four times as many nodes.
    """
    m, s = (jnp.asarray(axis.ravel()) for axis in np.meshgrid(MEANS, DEVIATIONS))
    one, finer = activation, replace(activation, nodes=FINER * activation.nodes)
    coarse, fine = (each.moments(m, s**2, jnp.ones(())) for each in (one, finer))
    square = fine.mean**2 + fine.variance
    scale = jnp.sqrt(jnp.maximum(square, jnp.finfo(float).tiny))
    off = jnp.abs(coarse.mean - fine.mean) / scale
    off = jnp.maximum(off, jnp.abs(coarse.variance - fine.variance) / scale**2)
    return float(jnp.max(off))


def checked(activation: Numeric) -> Numeric:
    """The same, if its quadrature is right to 1e-6. Raises ValueError where it is not, or where the
    function is not one of JAX's, RuntimeError without float64.
    """
    require_float64("the quadrature of an activation")
    try:
        off = error(activation)
    except (TypeError, jax.errors.JAXTypeError) as wrong:
        raise complaint(
            "an activation that is a function of JAX arrays, elementwise",
            f"{activation.name}: {type(wrong).__name__}",
            "write it with jax.numpy",
        ) from wrong
    if off <= WORST:
        return activation
    raise complaint(
        "an activation that is smooth between its kinks",
        f"{activation.name}, whose quadrature is off by {off:.1g}",
        "say where it has kinks: activations.numeric(left, right, kinks=(0.0,))",
    )
