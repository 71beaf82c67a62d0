"""What would a reader who knows nothing of a run have to see of its results?

A study is what one verb of the command line found: sentences, verdicts with their evidence,
figures, the settings to reproduce it; a JSON file beside its figures. `page` makes one HTML file of
several, which needs nothing else, not even a network: a surface that turns, a spectrum, a phase
diagram whose cells open. Imports no JAX and computes nothing.

>>> shown = page([(Study("path", "A way out", said=["The barrier is 0.01 high."]), ".")])
>>> "The barrier is 0.01 high." in shown
True
"""

from vaesurface.report.page import (
    FORMAT,
    MARKERS,
    SOFTWARE,
    TYPES,
    UNIT,
    Figure,
    Study,
    load,
    page,
    phase,
    save,
    spectrum,
    studies,
    surface,
    write,
)

__all__ = [
    "FORMAT",
    "Figure",
    "MARKERS",
    "SOFTWARE",
    "Study",
    "TYPES",
    "UNIT",
    "load",
    "page",
    "phase",
    "save",
    "spectrum",
    "studies",
    "surface",
    "write",
]
