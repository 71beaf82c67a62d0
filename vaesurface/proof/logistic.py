"""What is the Gaussian expectation of log(1 + e^u), with every error covered?

And of its derivatives, all polynomials in the sigmoid s, which on the strip |Im u| <= pi / 2 is at
most one. The trapezoidal rule's error is bounded there (Trefethen & Weideman 2014, Theorem 5.1):
for an integrand that |.| integrates to at most M on every line |Im z| < a,

    |h sum_k g(k h) - int g| <= 2 M / (exp(2 pi a / h) - 1)

>>> from vaesurface.proof.balls import arithmetic
>>> with arithmetic():
...     print([x.str(6, radius=False) for x in softplus(flint.arb(0), flint.arb(1))[:3]])
['0.806059', '0.500000', '0.206621']
"""

import math

from vaesurface.proof.balls import Ball, density, flint, within
from vaesurface.proof.form import Unproved

__all__ = ["softplus"]

# Coefficients of s, s^2, ... in the first derivatives; the next is p'(s) (s - s^2).
DERIVATIVES = ((1,), (1, -1), (1, -3, 2), (1, -7, 12, -6))
# Bounds of the derivatives from the first to the sixth on the real line, rounded up.
LARGEST = (1.0, 0.25, 0.0963, 0.125, 0.1277, 0.25)
EXPONENT = 85.0  # of the error, about: e^-85 is 1e-37
HIGHEST = 13.0  # half the strip's width, at most, where that gains no more
NARROW = 1.57  # below pi / 2
FARTHEST = 13.5  # standard deviations that nodes reach, beyond which there is 1e-40
MOST = 20000  # nodes


def softplus(c: Ball, v: Ball) -> list[Ball]:
    """E log(1 + e^u), u ~ N(c, v), and its derivatives by c up to the fourth.

    At the middle by quadrature, and from there on by the largest next derivatives: d/dc E h = E h',
    d/dv E h = E h'' / 2. Raises Unproved where v asks for too many nodes.
    """
    middle, spread = c.mid(), v.mid()
    spread = spread if spread > 0 else flint.arb(0)
    values = _at(middle, spread)
    aside, wider = abs(c - middle).upper(), abs(v - spread).upper()
    return [
        value + within(aside * LARGEST[j] + wider / 2 * LARGEST[j + 1])
        for j, value in enumerate(values)
    ]


def _at(c: Ball, v: Ball) -> list[Ball]:
    """The same for numbers, by the trapezoidal rule over z, u = c + sqrt(v) z."""
    s = v.sqrt()
    a = min(HIGHEST, NARROW / max(float(s), 1e-3))
    step = 2 * math.pi * a / (EXPONENT + a * a / 2)
    count = math.ceil(FARTHEST / step)
    if not (s * a * 2 < flint.arb.pi() and count <= MOST):
        raise Unproved(f"the variance of what the decoder says is too large: {float(v):.3g}")
    h = flint.arb(step)
    value, powers = flint.arb(0), [flint.arb(0)] * 4
    for k in range(-count, count + 1):
        z = k * h
        u, weight = c + s * z, h * density(z)
        value += weight * u.exp().log1p()
        sigmoid = 1 / (1 + (-u).exp())
        for j in range(4):
            weight *= sigmoid
            powers[j] += weight
    error = within(_error(c, s, flint.arb(a), h, count))
    powers = [x + error for x in powers]
    rest = [
        sum((x * y for x, y in zip(coefficients, powers, strict=False)), flint.arb(0))
        for coefficients in DERIVATIVES
    ]
    return [value + error, *rest]


def _error(c: Ball, s: Ball, a: Ball, h: Ball, count: int) -> Ball:
    """Of the rule and of what lies beyond its nodes.

    On the strip |sigmoid| <= 1, and so |log(1 + e^w)| <= log(1 + e^(Re w)) + pi / 2 <= |c| + s |x|
    + 3, of which the mean over x is at most B = |c| + s + 3; |phi(x + i y)| = phi(x) e^(y^2 / 2).
    Beyond L = h count the sum is at most the integral, 2 (|c| + 3) Q(L) + 2 s phi(L) <= 2 B phi(L).
    """
    bound = abs(c) + s + 3
    inside = 2 * (a * a / 2).exp() / ((2 * flint.arb.pi() * a / h).exp() - 1)
    return bound * (inside + 2 * density(count * h))
