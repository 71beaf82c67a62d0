"""What is on which page of the API, and what is each name for, in a line?

>>> modules_of("# paths\\n\\n```{room} paths paths.graph\\n```\\n")
['paths', 'paths.graph']
>>> line_of("modules_of", modules_of)
'The modules that stand on a page, by their names in the package.'
"""

import inspect
import re
from typing import Any

import docstrings

__all__ = ["FENCE", "LINES", "line_of", "modules_of"]

FENCE = re.compile(r"^```\{room\} (.+)\n```$", re.MULTILINE)
# Of what can have no docstring.
LINES = {
    "Columns": "Results as columns: an array for each name.",
    "Points": "Points that a graph is made of: a `StationaryPoint` of several, or a sequence.",
    "Schedule": "A number that may change with the step: a function of the step.",
    "Weights": "The arrays of a network, by layer and name.",
    "BLENDED": "The activations (1 - alpha) u + alpha g(u) that have names.",
    "CELLS": "How many cells of the data are looked at, at most.",
    "COLORS": "The colors of fields and phase diagrams: a map of matplotlib.",
    "COLUMN": "The width of a figure, one column of a paper, in inches.",
    "CURES": "All cures, in the order of the board.",
    "EXACT": "How exact energies are descended: steps with the cure and without, rate, batch.",
    "FLAT": "The flat band's constant: |lambda| <= FLAT p eps max |lambda| counts as zero.",
    "NAMED": "All activations by name.",
    "NETWORK": "How networks are trained: steps with the cure and without, rate, batch.",
    "SIGMA": "Bins of posterior deviations, of the paper's figure 2.",
    "DIAGONAL": "An independent latent for each axis: Sigma = diag(sigma)^2. The default.",
    "FULL": "Any covariance: Sigma = L L'.",
}


def modules_of(page: str) -> list[str]:
    """The modules that stand on a page, by their names in the package."""
    return [name for fence in FENCE.findall(page) for name in fence.split()]


def line_of(name: str, value: Any) -> str:
    """What a name is for, in a line."""
    documented = inspect.isroutine(value) or inspect.isclass(value)
    return LINES.get(name) or (
        docstrings.summary(inspect.getdoc(value) or "") if documented else ""
    )
