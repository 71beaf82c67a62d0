"""How does every figure, in print or on a page, draw a stationary point of each kind?

Loads neither JAX nor a drawing library, so that `plot` and `report` can both ask here.

>>> KINDS[SADDLE].name, KINDS[SADDLE].marker
('saddle', 'X')
"""

from typing import NamedTuple

__all__ = [
    "DEGENERATE",
    "KINDS",
    "MAXIMUM",
    "MINIMUM",
    "NOT_STATIONARY",
    "SADDLE",
    "UNIT",
    "Look",
]

UNIT = "2 × nats / datum"  # of energies
# The codes of `stationary.Kind`, which itself would load JAX.
NOT_STATIONARY, MINIMUM, SADDLE, MAXIMUM, DEGENERATE = range(5)


class Look(NamedTuple):
    """How a kind of point is drawn.

    name: the kind in words.
    marker: in matplotlib.
    symbol: in plotly's three dimensions, where there are no triangles.
    color: in both.
    """

    name: str
    marker: str
    symbol: str
    color: str


# By code. The colors but the grays are of Okabe & Ito's palette.
KINDS = {
    NOT_STATIONARY: Look("not stationary", marker="D", symbol="diamond", color="#999999"),
    MINIMUM: Look("minimum", marker="o", symbol="circle", color="#0072B2"),
    SADDLE: Look("saddle", marker="X", symbol="x", color="#D55E00"),
    MAXIMUM: Look("maximum", marker="^", symbol="diamond", color="#1a1a1a"),
    DEGENERATE: Look("degenerate", marker="s", symbol="square", color="#CC79A7"),
}
