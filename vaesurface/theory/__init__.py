"""What is known in closed form about the loss surface, to test everything else against?

`affine`: all stationary points of the affine model (alpha = 0) and its global minimum. `collapse`:
how far around the collapsed point nothing is lower (alpha > 0). `natural`: when a latent pays under
other likelihoods than the Gaussian. `ray`: where the energy falls
without bound. `rows`: what becomes of rows of the weight at zero. `thresholds`: the gamma above
which a decoder, or one of its latents, does not pay (Proposition 5.1); for that `encoders` finds
the best encoder of a decoder. X is (n, d); energies in the paper's units, mean per datum.

>>> from vaesurface import data
>>> X = data.gaussian(50, [4.0, 2.0, 1.0, 0.5], seed=0)
>>> [(e.retained, e.negative) for e in stationary_points(X, latent=1)]
[((), 2), ((0,), 0), ((1,), 1)]
"""

from vaesurface import moved
from vaesurface.theory.affine import (
    Expected,
    Optimum,
    affine_optimum,
    eigenvalues,
    global_minimum,
    stationary_points,
)
from vaesurface.theory.collapse import CollapseRadius, collapse_radius
from vaesurface.theory.natural import collapse_index, collapse_ratios
from vaesurface.theory.ray import Ray, ray_slope, unbounded_ray
from vaesurface.theory.rows import Rows, dead_rows
from vaesurface.theory.thresholds import (
    LatentThresholds,
    Threshold,
    collapse_threshold,
    latent_thresholds,
)

__all__ = [
    "CollapseRadius",
    "Expected",
    "LatentThresholds",
    "Optimum",
    "Ray",
    "Rows",
    "Threshold",
    "affine_optimum",
    "collapse_index",
    "collapse_radius",
    "collapse_ratios",
    "collapse_threshold",
    "dead_rows",
    "eigenvalues",
    "global_minimum",
    "latent_thresholds",
    "ray_slope",
    "stationary_points",
    "unbounded_ray",
]

__getattr__ = moved.names(__name__)
