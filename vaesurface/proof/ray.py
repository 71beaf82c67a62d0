"""Has the energy no lower bound, gamma being learned?

Along a ray on which the decoder reproduces the data it falls with log gamma. The rank that decides
is found in rational arithmetic, where `theory.unbounded_ray` has float64. X is (n, d), k latents.

If M = X - b + alpha sign(X - b) = C F with q columns in C, take W = F', mu = C and sigma^2 = gamma
(the other latents at the prior, their columns of W zero): W z has mean M, and pi(M) = X - b. As pi
is 1-Lipschitz, the mean squared error is at most gamma ||F||^2, and so for gamma <= 1

    energy <= ||F||^2 + beta (k + mean ||C_i||^2) + (d - beta q) log gamma.

>>> from vaesurface import data
>>> from vaesurface.proof.balls import arithmetic
>>> settings = Settings(latent=1, alpha=0.5, gamma=None, beta=1.0)
>>> with arithmetic():
...     prove(data.antipodal(d=2), settings)
{'bias': ['0', '0'], 'pivots': [0], 'rank': 1, 'slope': 1.0, 'constant': 5.25}
"""

import math
import re
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from vaesurface.proof.balls import flint
from vaesurface.proof.form import (
    Settings,
    Unproved,
    equal_integers,
    require_keys,
    require_paper,
)

__all__ = ["NAME", "check", "prove", "statement"]

NAME = "unbounded below"
RANK_PRIME = 2**61 - 1  # Modulo a prime a rank can only be smaller, and is quickly found.
# As `str` writes fractions; no exponents, which a short text makes huge, and an end to the digits.
FRACTION = re.compile(r"-?\d{1,4000}(/\d{1,4000})?")


def statement(settings: Settings, numbers: dict[str, Any]) -> str:
    """What is proved, in words."""
    return (
        f"the energy has no lower bound: on a ray of rank {numbers['rank']}, "
        f"energy <= {numbers['constant']} + {numbers['slope']} log gamma for all gamma <= 1."
    )


def prove(X: np.ndarray, settings: Settings, bias: Iterable[Any] | None = None) -> dict[str, Any]:
    """Numbers of a proved ray: bias, pivots, rank, and energy <= constant + slope log gamma.

    bias: (d,), numbers or fractions; by default the data's mean, then their midrange. Raises
    Unproved where there is no ray, ValueError for a bias of another length.
    """
    reason = Unproved()
    for candidate in _means_and_midranges(X) if bias is None else [[*map(_fraction, bias)]]:
        try:
            bound = _bound(X, settings, candidate)
        except Unproved as error:
            reason = error
            continue
        slope, constant = float(bound.slope), float(bound.constant)
        if slope > bound.slope:
            slope = math.nextafter(slope, 0.0)
        if constant < bound.constant:
            constant = math.nextafter(constant, math.inf)
        return {
            "bias": [str(b) for b in candidate],
            "pivots": bound.pivots,
            "rank": len(bound.pivots),
            "slope": slope,
            "constant": constant,
        }
    raise reason


def check(X: np.ndarray, settings: Settings, numbers: dict[str, Any]) -> None:
    """Raises Unproved or ValueError unless the numbers are those of a ray."""
    require_keys(numbers, "bias", "pivots", "rank", "slope", "constant")
    if not all(FRACTION.fullmatch(b) for b in numbers["bias"]):
        raise Unproved("the bias must be fractions")
    pivots, slope, constant = _bound(X, settings, [Fraction(b) for b in numbers["bias"]])
    if not equal_integers([*numbers["pivots"], numbers["rank"]], [*pivots, len(pivots)]):
        raise Unproved(f"the pivots are {pivots}, the rank is {len(pivots)}")
    if not all(type(numbers[name]) is float for name in ("slope", "constant")):
        raise Unproved("slope and constant must be decimal numbers")
    if not (0 < numbers["slope"] <= slope and constant <= numbers["constant"] < math.inf):
        raise Unproved(
            f"the energy is known to be at most {float(constant)} + {float(slope)} log gamma"
        )


class _Bound(NamedTuple):
    """energy <= constant + slope log gamma, for gamma <= 1.

    pivots: the columns of the data, q of them, that make C.
    slope: d - beta q.
    constant: ||F||^2 + beta (k + mean ||C_i||^2).
    """

    pivots: list[int]
    slope: Fraction
    constant: Fraction


def _bound(X: np.ndarray, settings: Settings, bias: list[Fraction]) -> _Bound:
    """The bound along the ray of that bias, exactly. Raises Unproved where there is none."""
    require_paper(settings, NAME)
    d, beta = X.shape[1], Fraction(settings.beta)
    if settings.gamma is not None:
        raise Unproved(
            "expected gamma to be learned, got it fixed: then the energy has a lower bound; "
            "leave gamma out"
        )
    if len(bias) != d:
        raise ValueError(f"expected a bias of {d} numbers, got {len(bias)}; give one a feature")
    M = _reproducing(X, Fraction(settings.alpha), bias)
    pivots, F = _factored(M, settings.latent)
    slope = d - beta * len(pivots)
    if not slope > 0:
        raise Unproved(
            f"expected beta times rank < {d} (features), got {float(d - slope):g}; "
            f"choose a smaller beta"
        )
    square_F = sum((x * x for row in F for x in row), Fraction())
    square_C = sum((row[r] * row[r] for row in M for r in pivots), Fraction())
    constant = square_F + beta * (settings.latent + square_C / len(M))
    return _Bound(pivots=pivots, slope=slope, constant=constant)


def _reproducing(X: np.ndarray, alpha: Fraction, bias: list[Fraction]) -> list[list[Fraction]]:
    """M = X - b + alpha sign(X - b), (n, d): what the threshold takes to X - b."""
    deviations = [[Fraction(x) - b for x, b in zip(row, bias, strict=True)] for row in X.tolist()]
    return [[y + alpha * ((y > 0) - (y < 0)) for y in row] for row in deviations]


def _factored(M: list[list[Fraction]], latent: int) -> tuple[list[int], list[list[Fraction]]]:
    """Pivots (q,) and F (q, d) with M = C F, C the columns of M at the pivots: the reduced row
    echelon form. Raises Unproved where the rank q of M exceeds the number of latents.
    """
    shape, entries = (len(M), len(M[0])), [x for row in M for x in row]
    modular = [x.numerator * pow(x.denominator, -1, RANK_PRIME) % RANK_PRIME for x in entries]
    rank = flint.nmod_mat(*shape, modular, RANK_PRIME).rank()
    if rank <= latent:
        rational = [flint.fmpq(x.numerator, x.denominator) for x in entries]
        reduced, rank = flint.fmpq_mat(*shape, rational).rref()
    if rank > latent:
        raise Unproved(
            f"expected shifted data of rank <= {latent} (latents), got {rank} or more; "
            f"choose another bias"
        )
    F = [[Fraction(int(x.p), int(x.q)) for x in row] for row in reduced.tolist()[:rank]]
    return [next(r for r, x in enumerate(row) if x) for row in F], F


def _means_and_midranges(X: np.ndarray) -> list[list[Fraction]]:
    """Two biases (d,), exactly: the features' means, and the middle of their least and largest."""
    columns = [[Fraction(x) for x in column] for column in X.T.tolist()]
    return [
        [sum(column, Fraction()) / len(column) for column in columns],
        [(min(column) + max(column)) / 2 for column in columns],
    ]


def _fraction(number: Any) -> Fraction:
    """Of a number or a text, exactly."""
    return Fraction(number if isinstance(number, str | Fraction) else float(number))
