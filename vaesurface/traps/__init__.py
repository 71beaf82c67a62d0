"""Which problems are known to be traps, and how does an optimizer of mine do on them?

A trap is a loss surface whose collapsed point, its verdict, certified radius, barrier and optimum
are known: exact ones (`exact`), and small deep networks that collapse (`deep`). `score` runs any
optimizer on them from starts that everybody can draw again.

>>> from vaesurface import optimize
>>> print(score(optimize.adam(300), exact("antipodal")[:1], starts=4))
Adam, 300 steps, rate 0.02 on 4 starts of each trap, seeds from 0
trap                   collapsed  95 % interval  on the way  failed    over optimum  evaluations
antipodal, alpha = 0.2 ...
"""

from vaesurface.traps.deep import deep
from vaesurface.traps.exact import exact, lower, measured_barrier
from vaesurface.traps.score import Row, Score, Share, scipy_method, score, share, through_arrays
from vaesurface.traps.trap import End, Trap, families, judge, kept, over, together

__all__ = [
    "End",
    "Row",
    "Score",
    "Share",
    "Trap",
    "deep",
    "exact",
    "families",
    "judge",
    "kept",
    "lower",
    "measured_barrier",
    "over",
    "scipy_method",
    "score",
    "share",
    "through_arrays",
    "together",
]
