"""What does a result look like, at the width of one column?

Every function takes data and, optionally, axes, and returns the axes; none computes an energy.
Energies are drawn above the best one, in the paper's units (twice nats per datum); distances are
Euclidean, over all parameters. Axes that a function makes have the look of `style`; axes of yours
keep theirs.

`slices`: lines, planes and paths through parameter space. `points`: what stationary points there
are. `sweeps`: how they change with a hyper-parameter. `depth`: what depth does to trained networks.
`latents`: what the latents of one carry. `thresholds`: where latents switch off. All are reached
from here:

>>> ax = spectrum([-2.0, 0.0, 1.0, 3.0], inertia=(1, 1, 2))
>>> ax.get_title()
'index 1, 1 flat, 2 positive'
"""

from vaesurface.plot.canvas import COLORS, COLUMN, KINDS, Mark, Track, style
from vaesurface.plot.depth import collapse_shares, depth_errors
from vaesurface.plot.latents import diagnosis, divergences, residual_spectrum
from vaesurface.plot.points import disconnectivity, index_scatter, sigma_histogram, spectrum
from vaesurface.plot.slices import eigenvalue_map, field, path_profile, plane, segment
from vaesurface.plot.sweeps import (
    active_units,
    barrier_scaling,
    basin_volume,
    basin_width,
    bifurcation,
    phase_diagram,
)
from vaesurface.plot.thresholds import decoder_thresholds, rays, thresholding, trap

__all__ = [
    "COLORS",
    "COLUMN",
    "KINDS",
    "Mark",
    "Track",
    "active_units",
    "barrier_scaling",
    "basin_volume",
    "basin_width",
    "bifurcation",
    "collapse_shares",
    "decoder_thresholds",
    "depth_errors",
    "diagnosis",
    "disconnectivity",
    "divergences",
    "eigenvalue_map",
    "field",
    "index_scatter",
    "path_profile",
    "phase_diagram",
    "plane",
    "rays",
    "residual_spectrum",
    "segment",
    "sigma_histogram",
    "spectrum",
    "style",
    "thresholding",
    "trap",
]
