"""How does any loss curve at a point: which way, how much, and in how many directions not at all?

Everything here takes `loss, params` with params any pytree of p float64 numbers; eigenvalues
ascend. Dense functions cost p Hessian-vector products and p^3 operations: to several thousand
parameters. `extremes`, `descent` and `density` need products only; the Hessian is linearized once
and the product applied often. One program serves the losses of all problems of a kind and shape.

>>> import jax.numpy as jnp
>>> print(*inertia(lambda w: w[0] ** 2 - w[1] ** 2 + w[2] ** 4, jnp.zeros(3)))
1 1 1
"""

from vaesurface.curvature.dense import (
    FLAT,
    Factors,
    Inertia,
    Steps,
    balance,
    band,
    count,
    factor,
    hessian,
    hvp,
    inertia,
    inverses,
    lowest,
    solve,
    spectrum,
    steps,
    steps_from,
    unit,
)
from vaesurface.curvature.ends import extremes
from vaesurface.curvature.krylov import Density, density, krylov_steps
from vaesurface.curvature.search import Descent, descent, symmetries

__all__ = [
    "FLAT",
    "Density",
    "Descent",
    "Factors",
    "Inertia",
    "Steps",
    "balance",
    "band",
    "count",
    "density",
    "descent",
    "extremes",
    "factor",
    "hessian",
    "hvp",
    "inertia",
    "inverses",
    "krylov_steps",
    "lowest",
    "solve",
    "spectrum",
    "steps",
    "steps_from",
    "symmetries",
    "unit",
]
