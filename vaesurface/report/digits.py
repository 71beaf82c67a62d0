"""How many digits does a reader need?

Four, and where numbers differ only further on, two of their difference.

>>> plain(0.123456)
'0.1235'
>>> told_apart([3.0, 3.0000902232, 2.36321811])
['3.000000', '3.000090', '2.363218']
"""

import math
from collections.abc import Sequence
from itertools import pairwise

__all__ = ["plain", "told_apart"]

SIGNIFICANT = 4
MOST = 12  # digits, of which float64 is sure
SAME = 1e-9  # parts of the largest number: less is rounding


def plain(value: float) -> str:
    """A number to four digits; a whole one as it is."""
    if math.isfinite(value) and value == round(value) and abs(value) < 10**MOST:
        return str(int(value))
    return f"{value:.{SIGNIFICANT}g}".replace("-inf", "−∞").replace("inf", "∞")


def told_apart(values: Sequence[float | None]) -> list[str]:
    """Numbers with equally many decimals, so many that different ones look different; "" for None
    and NaN.
    """
    finite = sorted(v for v in values if v is not None and math.isfinite(v))
    decimals = _decimals(finite)
    return [_fixed(value, decimals) for value in values]


def _decimals(ascending: Sequence[float]) -> int | None:
    """None where numbers are too large or too small for decimals."""
    largest = max(map(abs, ascending), default=1.0) or 1.0
    size = math.floor(math.log10(largest)) + 1  # digits before the point
    if not -3 < size <= MOST:
        return None
    gaps = [b - a for a, b in pairwise(ascending)]
    told = [gap for gap in gaps if gap > SAME * largest]
    needed = 1 - math.floor(math.log10(min(told))) if told else 0
    return max(0, min(max(SIGNIFICANT - size, needed), MOST - size))


def _fixed(value: float | None, decimals: int | None) -> str:
    if value is None or math.isnan(value):
        return ""
    if decimals is None or math.isinf(value):
        return plain(value)
    return f"{value:.{decimals}f}"
