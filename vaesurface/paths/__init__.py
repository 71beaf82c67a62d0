"""How high is the lowest pass from one point to another, which minima does it join, and where do
stationary points go as a hyper-parameter moves?

>>> import jax.numpy as jnp
>>> from vaesurface.problem import Problem
>>> wells = Problem(loss=lambda w: (w[0] ** 2 - 1) ** 2 + (w[1] - w[0] ** 2) ** 2)
>>> crossing = barrier(wells, jnp.array([-1.0, 1.0]), jnp.array([1.0, 1.0]))
>>> print(crossing.saddle.label, crossing.ends.label, crossing.barrier.round(9))
saddle of index 1 ['local minimum' 'local minimum'] [1. 1.]
"""

from vaesurface.paths.band import Path, minimum_energy_path
from vaesurface.paths.branch import follow, switch
from vaesurface.paths.passes import Transition, barrier, connect, fall, rim, saddle

__all__ = [
    "Path",
    "Transition",
    "barrier",
    "connect",
    "fall",
    "follow",
    "minimum_energy_path",
    "rim",
    "saddle",
    "switch",
]
