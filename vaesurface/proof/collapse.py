"""Is the collapsed point lower than all around it, and how far around?

At alpha > 0 no eigenvalue can say, for the energy is flat to all orders in a weight that is zero;
an inequality does (`theory.collapse_radius` solves the same in float64). X is (n, d), of any size.

With s the standard deviation of row r of W z, a = alpha / s, w = ||w_r||, Q and h2 the Gaussian
tails of `balls`, and in the box

    |log sigma| <= tau,   ||mu_i|| <= t,   ||b - xbar|| <= c,   gamma >= g,   w <= rho

the energy exceeds that at collapse by a term in b and gamma that xbar, gammabar alone minimize, a
term in sigma that 1 alone minimizes, and the mean over i of

    beta ||mu_i||^2 + sum_r [-2 (x_ir - b_r) E pi + E pi^2] / gamma.

With m = w_r . mu_i, |E pi| <= |m| P, since d/dm E pi = P = P(|u| > alpha) grows with |m|; and
E pi^2 is at least its value at m = 0, 2 s^2 h2(a). By Cauchy and Schwarz the mean's terms are a
positive definite form in (||mu_i||, 1), or beta ||mu_i||^2 where W = 0, if in rows with w > 0

    ||x_i - b||^2 w^2 P^2 < 2 beta gamma s^2 h2(a).

As w <= e^tau s and |m| <= w t <= s D, D = e^tau t, it is enough that for a >= alpha / (rho e^tau)

    K [Q(a - D) + Q(a + D)]^2 < 2 h2(a),   K = e^(2 tau) (max ||x_i - xbar|| + c)^2 / (beta g).

With a gamma per feature the deviations x_ir - xbar_r are divided by g_r^(1/2) in K, and c by the
smallest, in place of g.

>>> from vaesurface import data
>>> from vaesurface.proof.balls import arithmetic
>>> settings = Settings(latent=1, alpha=0.5, gamma=None, beta=1.0)
>>> with arithmetic():
...     print(f"{prove(data.antipodal(d=2), settings)['radius']:.3f}")
0.371
"""

import math
from typing import Any, NamedTuple

import numpy as np

from vaesurface.proof.balls import Ball, exactly, flint, second_tail, tail
from vaesurface.proof.form import (
    PER_FEATURE,
    Settings,
    Unproved,
    require_keys,
    require_paper,
)

__all__ = ["NAME", "check", "prove", "statement"]

NAME = "collapsed minimum"
# of the box in all but the weight, in natural sizes, as in `theory.collapse_radius`
BOX_SLACK = 0.01
RADIUS_MARGIN = 1e-4  # by which the radius stays below the largest: then few intervals suffice
# Where the smallest a at which the inequality holds is looked for: 30 standard deviations out it
# holds for every K below e^400. The halvings take log a to rounding.
SMALLEST_A, LARGEST_A, A_HALVINGS = 1e-6, 30.0, 60
INTERVALS = 2000  # of a, at most; dozens are enough a margin away from equality
FAR_GROWTH, FARTHEST_A = 1.25, 1e6  # where the tails' bounds are tried, and where that ends


def statement(settings: Settings, numbers: dict[str, Any]) -> str:
    """What is proved, in words."""
    gamma = f", gamma >= {numbers['gamma']}" if settings.gamma is None else ""
    return (
        f"the collapsed point is a strict local minimum, lower than all else with "
        f"rows of the weight <= {numbers['radius']}, |log_std| <= {numbers['log_std']}, "
        f"norms of the means <= {numbers['mean']}, "
        f"bias within {numbers['bias']} of the data's mean{gamma}."
    )


def prove(X: np.ndarray, settings: Settings, radius: float | None = None) -> dict[str, Any]:
    """Numbers of a proved collapsed minimum: the box, with radius the norm of the weight's rows.

    radius: by default about the largest that can be proved. Raises Unproved where there is no
    proof.
    """
    require_paper(settings, NAME, PER_FEATURE)
    squares = (X - X.mean(axis=0)) ** 2
    gammabar = float(np.mean(squares))
    gamma = settings.gamma
    if settings.likelihood == PER_FEATURE and gamma is None:
        gamma = (np.mean(squares, axis=0) * math.exp(-BOX_SLACK)).tolist()
    elif gamma is None:
        gamma = gammabar * math.exp(-BOX_SLACK)
    bias = BOX_SLACK * math.sqrt(gammabar)
    box = {"log_std": BOX_SLACK, "mean": BOX_SLACK, "bias": bias, "gamma": gamma}
    smallest = _smallest_a(_inequality(X, settings, box))
    largest = settings.alpha * math.exp(-BOX_SLACK) / smallest * (1 - RADIUS_MARGIN)
    numbers = {"radius": largest if radius is None else radius, **box}
    try:
        check(X, settings, numbers)
    except Unproved as error:
        raise Unproved(
            f"expected a box that can be proved, got rows of norm <= {numbers['radius']:g}: "
            f"{error}; choose a radius up to {largest:g}"
        ) from error
    return numbers


def check(X: np.ndarray, settings: Settings, numbers: dict[str, Any]) -> None:
    """Raises Unproved or ValueError unless the numbers are a box in which only the collapsed point
    is as low.
    """
    require_paper(settings, NAME, PER_FEATURE)
    require_keys(numbers, "radius", "log_std", "mean", "bias", "gamma")
    gamma = numbers["gamma"]
    sizes = [numbers[name] for name in ("radius", "log_std", "mean", "bias")]
    sizes += gamma if settings.likelihood == PER_FEATURE else [gamma]
    positive = all(isinstance(x, float) and 0 < x < math.inf for x in sizes)
    if not (positive and settings.alpha > 0):
        raise Unproved("alpha and the sizes of the box must be positive")
    inequality = _inequality(X, settings, numbers)
    growth = flint.arb(numbers["log_std"]).exp()
    nearest = flint.arb(settings.alpha) / (flint.arb(numbers["radius"]) * growth)
    _require_everywhere(inequality, math.nextafter(float(nearest.lower()), 0.0))


class _Inequality(NamedTuple):
    """K [Q(a - D) + Q(a + D)]^2 < 2 h2(a), what has to hold for rows of standard deviation
    alpha / a.

    K: e^(2 tau) (max ||x_i - xbar|| + c)^2 / (beta g), or with a g_r per feature.
    D: e^tau t.
    """

    K: Ball
    D: Ball

    def holds(self, low: float, high: float) -> bool:
        """Whether it is proved on [low, high]: Q and h2 decrease, so the left at low and the right
        at high decide.
        """
        tails = tail(low - self.D) + tail(low + self.D)
        return bool(self.K * tails**2 < 2 * second_tail(flint.arb(high)))

    def holds_from(self, a: float) -> bool:
        """Whether it is proved from a >= max(4, 2 D + 1) on.

        There a - D >= a / 2, Q(x) <= phi(x) / x and h2(a) >= phi(a) (2 / a^3 - 12 / a^5) >= phi(a)
        / a^3 bound left over right by 8 K a exp(2 a D - D^2 - a^2 / 2) / sqrt(2 pi), which
        decreases.
        """
        exponent = 2 * a * self.D - self.D * self.D - flint.arb(a) * a / 2
        return bool(8 * self.K * a * exponent.exp() < (2 * flint.arb.pi()).sqrt())


def _inequality(X: np.ndarray, settings: Settings, box: dict[str, Any]) -> _Inequality:
    """The inequality of a box. Raises Unproved unless the collapsed point has a gamma that the box
    allows.
    """
    Z = exactly(X)
    Z = Z - Z.sum(axis=0) / len(X)
    squares = Z * Z
    gamma, d = exactly(np.atleast_1d(box["gamma"])), X.shape[1]
    if settings.gamma is not None:
        allowed = box["gamma"] == settings.gamma
    elif settings.likelihood == PER_FEATURE:
        allowed = len(gamma) == d and all(gamma < squares.sum(axis=0) / len(X))
    else:
        allowed = gamma[0] < squares.sum() / X.size
    if not allowed:
        raise Unproved(
            "gamma must be below the data's where it is learned, and what it is where it is fixed"
        )
    far = max(x.upper() for x in (squares / gamma).sum(axis=1)).sqrt()
    reach = far + flint.arb(box["bias"]) / min(x.lower() for x in gamma).sqrt()
    growth = flint.arb(box["log_std"]).exp()
    return _Inequality(
        K=growth**2 * reach**2 / flint.arb(settings.beta),
        D=growth * flint.arb(box["mean"]),
    )


def _smallest_a(inequality: _Inequality) -> float:
    """About the smallest a at which the inequality holds, by bisection of log a."""
    low, high = SMALLEST_A, LARGEST_A
    for _ in range(A_HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if inequality.holds(middle, middle) else (middle, high)
    return high


def _require_everywhere(inequality: _Inequality, a: float) -> None:
    """Raises Unproved unless the inequality is proved from a on: on intervals, each twice as wide
    as the last or, where that fails, half, up to where bounds of the tails prove the rest.
    """
    beyond = math.nextafter(float((2 * inequality.D + 1).upper()), math.inf)
    far = max(a, 4.0, beyond)
    while not inequality.holds_from(far):
        far *= FAR_GROWTH
        if not far < FARTHEST_A:
            raise Unproved("the box is too large")
    width = 1.0
    for _ in range(INTERVALS):
        if a >= far:
            return
        if inequality.holds(a, a + width):
            a, width = a + width, 2 * width
        else:
            width /= 2
    raise Unproved(
        f"the inequality fails, or nearly, for rows of standard deviation alpha / {a:.6g}"
    )
