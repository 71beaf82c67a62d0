"""What would a reader who knows nothing of a run have to see of its results?

A study is what one verb of the command line found: sentences, verdicts with their evidence,
figures, the settings to reproduce it; a JSON file beside its figures. `page` makes one HTML file of
several, which needs nothing else, not even a network: a surface that turns, a spectrum, a phase
diagram whose cells open. Imports no JAX and computes nothing.

`study`: what is kept. `phase` and `interactive`, with `camera`: figures that open and turn.
`shown`: how they stand on a page. `summary`: its first screen. `page`: the file. `digits` and
`markup`: how numbers and texts are written.

>>> html = page([(Study("path", "A way out", said=["The barrier is 0.01 high."]), ".")])
>>> "The barrier is 0.01 high." in html
True
"""

from vaesurface import moved
from vaesurface.report.interactive import spectrum, surface
from vaesurface.report.page import page
from vaesurface.report.phase import phase
from vaesurface.report.study import Figure, Study, load, save, studies, write

__all__ = [
    "Figure",
    "Study",
    "load",
    "page",
    "phase",
    "save",
    "spectrum",
    "studies",
    "surface",
    "write",
]

__getattr__ = moved.names(__name__)
