"""What is said of kinks at a point: the evidence in words.

>>> kinks_in_words(None, None)
''
"""

from vaesurface.stationary.lines import KINK_DISTANCES, KINK_RAYS, Kink
from vaesurface.stationary.pieces import Outcome as Pieces
from vaesurface.stationary.ties import Ties, at_tie

__all__ = ["kinks_in_words"]

SHARE = 0.01  # of all directions: a cone of which the evidence says how likely lines miss it
CLOSE = 0.01  # sizes, up to which a kink beside the point is worth a word


def kinks_in_words(kink: Kink | None, near: Ties | None) -> str:
    """As measured on lines, and as the loss's operations and pieces tell."""
    parts = []
    if kink is not None and kink.found:
        falls = ""
        if kink.falls and near is not None and near.outcome == Pieces.RISES:
            falls = (
                f"; beyond {KINK_DISTANCES[0]:.0e} sizes along a straight line it is lower, by up "
                f"to {float(kink.drop):.3g}: a fact about that distance, not about the point"
            )
        elif kink.falls:
            falls = f"; along a straight line it falls, by {float(kink.drop):.3g}"
        parts.append(
            f"found: the loss leaves its quadratic model by {float(kink.mismatch):.3g} distance^2 "
            f"however near: not twice differentiable here, and eigenvalues say nothing{falls}"
        )
    if near is not None:
        parts.append(_on_the_pieces(near, kink is not None and bool(kink.falls)))
    return "; ".join(part for part in parts if part)


def _on_the_pieces(near: Ties, falls: bool) -> str:
    if not at_tie(near):
        if near.nearest > CLOSE:
            return ""
        return (
            f"counted: no operation of the loss has a kink here; the nearest is about "
            f"{float(near.nearest):.1g} of the parameters' sizes away, and nothing is said of the "
            "loss beyond it"
        )
    count, pieces = int(near.active), int(near.pieces)
    tied = f"{count} operation{'s' * (count != 1)} of the loss at a tie here"
    if near.outcome == Pieces.SMOOTH:
        return f"exact: {tied}, whose sides make no difference"
    meet = f"{pieces} smooth piece{'s' * (pieces != 1)} that meet{'s' * (pieces == 1)} here"
    if near.outcome == Pieces.RISES:
        return (
            f"proved: the loss rises in all of {meet}, by first- and second-order conditions in "
            "float64; eigenvalues are those of one"
        )
    if near.outcome == Pieces.FALLS:
        how = f"with slope {float(near.slope):.3g}" if near.slope else "with its curvature"
        return f"proved: in one of {meet} the loss falls, {how}, by {float(near.drop):.3g} in all"
    lines = "" if falls else f"; {_on_the_lines()}"
    return f"undecided: {_on_what_is_unknown(near, tied, meet)}{lines}"


def _on_what_is_unknown(near: Ties, tied: str, meet: str) -> str:
    if near.pieces:
        return f"{tied}, and not every one of {meet} could be told to rise"
    if near.opaque:
        return (
            "the loss holds operations of which nothing is known, stops gradients, or holds too "
            "many to look at"
        )
    return f"{tied}, and the smooth pieces that meet here were not examined: too many, or traced"


def _on_the_lines() -> str:
    lines = 2 * KINK_RAYS
    missed = (1 - SHARE) ** lines
    return (
        f"{lines} random directions show no fall above rounding, but a cone that holds "
        f"{SHARE:.0%} of all directions is missed by as many with probability {missed:.2f}"
    )
