"""Which stationary point does a run end in, of what kind is it, and how do we know?

`refine` takes a point to a stationary point nearby, `descend` down past saddles, `analyze` judges
it, `find` refines and judges after an optimizer's run. All run under `vmap` and `jit`: verdicts are
integers until read as words. `distinct` tells points apart and `best_of` counts them, in NumPy.

>>> from vaesurface import data, vae
>>> problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=0.5)
>>> point = analyze(problem, problem.collapsed())
>>> point.label
'collapsed local minimum'
>>> print(*point.inertia, point.kind == Kind.MINIMUM)
0 2 7 True
"""

from vaesurface.stationary.analysis import analyze
from vaesurface.stationary.descent import descend, refine
from vaesurface.stationary.search import find
from vaesurface.stationary.tally import align, best_of, distance, distinct, missing_mass
from vaesurface.stationary.verdict import Kind, Refinement, StationaryPoint

__all__ = [
    "Kind",
    "Refinement",
    "StationaryPoint",
    "align",
    "analyze",
    "best_of",
    "descend",
    "distance",
    "distinct",
    "find",
    "missing_mass",
    "refine",
]
