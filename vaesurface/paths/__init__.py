"""How high is the lowest pass out of a point, what does it join, and where do stationary points go
as a hyper-parameter moves?

`band` relaxes a path between two points (`chain`: its forces), `climb` finds the saddle above it,
`edge` the lowest place on a basin's edge, `passes` what a saddle joins, `barriers` all of that in
one call. `branch` follows stationary points (`walk`), step by `stride`, by what `corrector` and
`elimination` solve, past `events`, and `landing` and `switching` go on from those; `boundaries`
follows the events, as what `singular` makes of them, in `charts`. `basin` measures basins, by the
ways down of `flows`; `graph` says how points hang together, `exploring` finds out. Energies in the
problem's units, distances along a path Euclidean in all parameters.

`barriers` has an example.
"""

from vaesurface.paths.band import Path, minimum_energy_path
from vaesurface.paths.barriers import Barrier, barrier
from vaesurface.paths.boundaries import Boundary, boundary
from vaesurface.paths.branch import follow
from vaesurface.paths.climb import saddle
from vaesurface.paths.edge import rim
from vaesurface.paths.passes import Transition, connect, fall
from vaesurface.paths.switching import switch

__all__ = [
    "Barrier",
    "Boundary",
    "Path",
    "Transition",
    "barrier",
    "boundary",
    "connect",
    "fall",
    "follow",
    "minimum_energy_path",
    "rim",
    "saddle",
    "switch",
]
