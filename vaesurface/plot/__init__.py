"""What does a result look like, at the width of one column?

Every function takes data and, optionally, axes, and returns the axes; none computes an energy.
Energies are drawn above the best one. Give `unit=marks.UNIT` for those of a VAE (twice nats per
datum); without a unit they are called a loss, as one of your own is. Distances are Euclidean, over
all parameters. Where a point lies far off, its axis is logarithmic beyond the others and says so.
Axes that a function makes have the look of `style`; axes of yours keep theirs.

`lines` and `planes`: slices and paths through parameter space. `points` and `tree`: what stationary
points there are, and which minima join. `shares`: how often runs collapse. `branches`: where
stationary points go as a hyper-parameter moves; `sweeps`: what else changes with it. `boundaries`:
where in the plane of two of them minima are lost. `course`: how a run goes. `latents`: what the
latents of one model carry. `thresholds`: where they switch off. `nonlinear`: which bent decoders
have ways down from collapse. `board`: which cures keep runs out of which traps. All are reached
from here:

>>> ax = spectrum([-2.0, 0.0, 1.0, 3.0], inertia=(1, 1, 2))
>>> ax.get_title()
'index 1, 1 flat, 2 positive'
"""

from vaesurface import moved
from vaesurface.plot.board import scoreboard
from vaesurface.plot.boundaries import Verdicts, boundaries
from vaesurface.plot.branches import bifurcation
from vaesurface.plot.canvas import COLORS, COLUMN, style
from vaesurface.plot.course import course
from vaesurface.plot.latents import diagnosis, divergences, residual_spectrum, sigma_histogram
from vaesurface.plot.lines import path_profile, segment
from vaesurface.plot.nonlinear import collapse_by_activation, collapse_cuts
from vaesurface.plot.overlay import Mark, Track
from vaesurface.plot.planes import eigenvalue_map, field, plane
from vaesurface.plot.points import index_scatter, spectrum
from vaesurface.plot.shares import basin_volume, collapse_shares, phase_diagram, trap
from vaesurface.plot.sweeps import (
    active_units,
    barrier_scaling,
    basin_width,
    depth_errors,
)
from vaesurface.plot.thresholds import decoder_thresholds, rays, thresholding
from vaesurface.plot.tree import disconnectivity

__all__ = [
    "COLORS",
    "COLUMN",
    "Mark",
    "Track",
    "Verdicts",
    "active_units",
    "barrier_scaling",
    "basin_volume",
    "basin_width",
    "bifurcation",
    "boundaries",
    "collapse_by_activation",
    "collapse_cuts",
    "collapse_shares",
    "course",
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
    "scoreboard",
    "segment",
    "sigma_histogram",
    "spectrum",
    "style",
    "thresholding",
    "trap",
]

__getattr__ = moved.names(__name__)
