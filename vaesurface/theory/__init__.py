"""What is known in closed form about the loss surface, to test everything else against?

`affine`: all stationary points of the affine model (alpha = 0) and its global minimum. `collapse`:
how far around the collapsed point nothing is lower (alpha > 0). `corner`: how the energy curves
there where an activation has a corner. `natural`: when a latent pays under
other likelihoods than the Gaussian. `ray`: where the energy falls
without bound. `rows`: what becomes of rows of the weight at zero. `thresholds`: the gamma above
which a decoder, or one of its latents, does not pay (Proposition 5.1); for that `encoders` finds
the best encoder of a decoder. `spectra`: what a covariance's eigenvalues say of affine VAEs; it
and `natural` need no JAX. X is (n, d); energies in the paper's units, mean per datum.

>>> from vaesurface import data, theory
>>> X = data.gaussian(50, [4.0, 2.0, 1.0, 0.5], seed=0)
>>> [(e.retained, e.negative) for e in theory.stationary_points(X, latent=1)]
[((), 2), ((0,), 0), ((1,), 1)]
"""

from typing import TYPE_CHECKING

from vaesurface import late, moved
from vaesurface.theory.natural import collapse_index, collapse_ratios
from vaesurface.theory.spectra import Optimum, affine_optimum, eigenvalues

if TYPE_CHECKING:
    from vaesurface.theory.affine import Expected, global_minimum, stationary_points
    from vaesurface.theory.collapse import CollapseRadius, collapse_radius, dead_zone_radius
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
    "dead_zone_radius",
    "eigenvalues",
    "global_minimum",
    "latent_thresholds",
    "ray_slope",
    "stationary_points",
    "unbounded_ray",
]

LATE = {
    "affine": "Expected global_minimum stationary_points",
    "collapse": "CollapseRadius collapse_radius dead_zone_radius",
    "corner": "",
    "encoders": "",
    "ray": "Ray ray_slope unbounded_ray",
    "rows": "Rows dead_rows",
    "thresholds": "LatentThresholds Threshold collapse_threshold latent_thresholds",
}
__getattr__ = late.names(__name__, LATE, moved.names(__name__))
