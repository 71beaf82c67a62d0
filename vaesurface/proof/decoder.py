"""What are the Gaussian expectations of what a decoder says, and all their derivatives?

Of y = f_alpha(u), u ~ N(m, v), in closed form and in balls. As d/dv E h(u) = E h''(u) / 2, the
derivatives by m up to the fourth say those by (m, v) up to the second: they are a `Jet`. The
formulas are those of `vaesurface.activations`, whose names `DECODERS` has.

>>> from vaesurface.proof.balls import arithmetic
>>> with arithmetic():  # E sin u and E cos u at m = 0, v = 1
...     sine = DECODERS["sin"](Settings(1, alpha=1.0, gamma=None, beta=1.0, activation="sin"))
...     print([x.str(6, radius=False) for x in sine.moments(flint.arb(0), flint.arb(1)).mean[:2]])
['0', '0.606531']
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from vaesurface.proof.balls import Ball, density, flint, second_tail, tail, within
from vaesurface.proof.form import Settings

__all__ = ["DECODERS", "Decoder", "Jet", "Moments", "decoder"]

Jet = list[Ball]  # a function of m and its derivatives up to the fourth
ORDERS = 5  # of them
# Terms of the series of exp(alpha sin u), alpha <= 1: the rest is below 1e-35 of it.
HARMONICS = 30


class Moments(NamedTuple):
    """Of y = f_alpha(u).

    mean: E y.
    square: E y^2.
    """

    mean: Jet
    square: Jet


class Decoder(NamedTuple):
    """What is known of y = f_alpha(u), as functions of (m, v).

    moments: of y.
    exponential: E exp y, None where it is not in closed form.
    """

    moments: Callable[[Ball, Ball], Moments]
    exponential: Callable[[Ball, Ball], Jet] | None = None


def decoder(settings: Settings) -> Decoder:
    """Of these settings; f_0 is the identity."""
    return DECODERS["identity" if settings.alpha == 0 else settings.activation](settings)


class _Kink(NamedTuple):
    """Beyond a place, the slope is another; on its other side, towards 0, f(u) = slope u.

    side: 1 where beyond is above, -1 where it is below.
    place: of the kink.
    turn: f(u) - slope u is turn (side (u - place))_+.
    """

    side: int
    place: Ball
    turn: Ball


def _piecewise(slope: Ball, *kinks: _Kink) -> Decoder:
    """Of a function that is slope u at 0 and turns at most once on either side.

    With h = (side (u - place))_+, and what f says at the place,

        f = slope u + sum turn h,   f^2 = (slope u)^2 + sum [(2 side slope + turn) turn h^2
                                                            + 2 f(place) turn h]
    """

    def moments(m: Ball, v: Ball) -> Moments:
        zero = flint.arb(0)
        mean = [slope * m, slope, zero, zero, zero]
        curved = slope * slope
        square = [curved * (m * m + v), 2 * curved * m, 2 * curved, zero, zero]
        for side, place, turn in kinks:
            beyond = _beyond(side, place, m, v)
            linear, quadratic = 2 * slope * place * turn, (2 * side * slope + turn) * turn
            for j in range(ORDERS):
                mean[j] += turn * side * beyond[j + 1]
                square[j] += 2 * quadratic * beyond[j] + linear * side * beyond[j + 1]
        return Moments(mean=mean, square=square)

    def exponential(m: Ball, v: Ball) -> Jet:
        first = _tilted(slope, m, v)
        total = [slope**j * first for j in range(ORDERS)]
        for kink in kinks:
            more = _exponential_beyond(slope, kink, m, v)
            total = [x + y for x, y in zip(total, more, strict=True)]
        return total

    return Decoder(moments=moments, exponential=exponential)


def _tilted(slope: Ball, m: Ball, v: Ball) -> Ball:
    """E exp(slope u)."""
    return (slope * m + slope * slope * v / 2).exp()


def _exponential_beyond(slope: Ball, kink: _Kink, m: Ball, v: Ball) -> Jet:
    """E (exp f(u) - exp(slope u)) beyond a kink.

    With G(t) = E exp(t (u - place)) beyond, p the density of u at the place and
    t = slope + side turn, derivatives are by G' = t G + side p

        exp(f(place)) [t^j G(t) - slope^j G(slope)
                       + side sum_(i < j - 1) (t^(j - 1 - i) - slope^(j - 1 - i)) p^(i)]
    """
    side, place, turn = kink
    steep = slope + side * turn
    level = (slope * place).exp()
    densities = _beyond(side, place, m, v)[3:]  # side p^(i)
    outer, inner = (
        _tilted(t, m - place, v) * _beyond(side, place, m + t * v, v)[2] for t in (steep, slope)
    )
    total = []
    for j in range(ORDERS):
        jumps = [(steep ** (j - 1 - i) - slope ** (j - 1 - i)) * densities[i] for i in range(j - 1)]
        total.append(level * sum(jumps, steep**j * outer - slope**j * inner))
    return total


def _beyond(side: int, place: Ball, m: Ball, v: Ball) -> list[Ball]:
    """T_0 = E h^2 / 2 of h = (side (u - place))_+, and derivatives T_1 to T_5 by m: side E h is
    T_1, the probability of being beyond T_2, and side times the density of u at the place T_3.

    With s = sqrt v and a = side (place - m) / s,

        v h2(a) / 2,  side s (phi - a Q),  Q,  side phi / s,  a phi / v,  side (a^2 - 1) phi / v s
    """
    gap = side * (place - m)
    if not v > 0:
        return _far_beyond(gap, v)
    s = v.sqrt()
    a = gap / s
    phi, above = density(a), tail(a)
    return [
        v * second_tail(a) / 2,
        side * s * (phi - a * above),
        above,
        side * phi / s,
        a * phi / v,
        side * (a * a - 1) * phi / (v * s),
    ]


def _far_beyond(gap: Ball, v: Ball) -> list[Ball]:
    """`_beyond` where v may be as small as zero, gap = side (place - m) > 0; NaN at a gap of zero.

    Where gap^2 > 5 v, so that a > 1, phi - a Q, Q and h2 are at most phi, and all grow with v: at
    v's largest they are at most (v / 2, s, 1, 1 / s, gap / s^3, gap^2 / s^5) phi.
    """
    largest, near, far = v.upper(), gap.lower(), gap.upper()
    if not (near > 0 and near * near > 5 * largest):
        return [flint.arb.nan()] * 6
    if largest == 0:
        return [flint.arb(0)] * 6
    s = largest.sqrt()
    phi = density(near / s)
    factors = [largest / 2, s, flint.arb(1), 1 / s, far / s**3, far * far / s**5]
    return [within(factor * phi) for factor in factors]


def _identity(settings: Settings) -> Decoder:
    return _piecewise(flint.arb(1))


def _soft_threshold(settings: Settings) -> Decoder:
    alpha = flint.arb(settings.alpha)
    return _piecewise(flint.arb(0), _Kink(1, alpha, flint.arb(1)), _Kink(-1, -alpha, flint.arb(-1)))


def _hard_tanh(settings: Settings) -> Decoder:
    limit = 1 / flint.arb(settings.alpha)
    return _piecewise(flint.arb(1), _Kink(1, limit, flint.arb(-1)), _Kink(-1, -limit, flint.arb(1)))


def _relu(settings: Settings) -> Decoder:
    """max(u, (1 - alpha) u)."""
    alpha = flint.arb(settings.alpha)
    return _piecewise(1 - alpha, _Kink(1, flint.arb(0), alpha))


def _abs(settings: Settings) -> Decoder:
    """(1 - alpha) u + alpha |u|."""
    twice = 2 * flint.arb(settings.alpha)
    return _piecewise(1 - twice, _Kink(1, flint.arb(0), twice))


def _polynomial(settings: Settings) -> Decoder:
    """(1 - alpha) u + alpha sum_j c_j u^j, itself a polynomial, and so is its square."""
    alpha = flint.arb(settings.alpha)
    terms = [alpha * c for c in settings.coefficients or []]
    terms += [flint.arb(0)] * (2 - len(terms))
    terms[1] += 1 - alpha
    y = flint.arb_poly(terms)

    def moments(m: Ball, v: Ball) -> Moments:
        return Moments(mean=_polynomial_jet(y, m, v), square=_polynomial_jet(y * y, m, v))

    return Decoder(moments=moments)


def _polynomial_jet(y: Ball, m: Ball, v: Ball) -> Jet:
    """E y(u), with E u^(j+1) = m E u^j + j v E u^(j-1), and so its derivatives."""
    powers = [flint.arb(1), m]
    for j in range(1, y.degree()):
        powers.append(m * powers[j] + j * v * powers[j - 1])
    jet = []
    for _ in range(ORDERS):
        jet.append(sum((c * x for c, x in zip(y.coeffs(), powers, strict=False)), flint.arb(0)))
        y = y.derivative()
    return jet


class _Bend(NamedTuple):
    """Of a smooth g(u).

    mean: E g with derivatives up to the fifth.
    square: E g^2.
    """

    mean: list[Ball]
    square: Jet


def _blend(alpha: Ball, bend: Callable[[Ball, Ball], _Bend]) -> Callable[[Ball, Ball], Moments]:
    """Moments of (1 - alpha) u + alpha g(u), with E u g = m E g + v E g'."""
    rest = 1 - alpha

    def moments(m: Ball, v: Ball) -> Moments:
        g, square = bend(m, v)
        zero = flint.arb(0)
        line, parabola = [m, 1, zero, zero, zero], [m * m + v, 2 * m, 2, zero, zero]
        product = [m * g[j] + v * g[j + 1] + (j * g[j - 1] if j else zero) for j in range(ORDERS)]
        return Moments(
            mean=[rest * x + alpha * y for x, y in zip(line, g, strict=False)],
            square=[
                rest**2 * x + 2 * rest * alpha * y + alpha**2 * z
                for x, y, z in zip(parabola, product, square, strict=True)
            ],
        )

    return moments


def _sine(settings: Settings) -> Decoder:
    """E sin u = exp(-v / 2) sin m, E sin^2 u = (1 - exp(-2 v) cos 2m) / 2."""
    alpha = flint.arb(settings.alpha)

    def bend(m: Ball, v: Ball) -> _Bend:
        damped = (-v / 2).exp()
        sine, cosine = damped * m.sin(), damped * m.cos()
        strong = (-2 * v).exp() / 2
        twice_sine, twice_cosine = strong * (2 * m).sin(), strong * (2 * m).cos()
        return _Bend(
            mean=[sine, cosine, -sine, -cosine, sine, cosine],
            square=[
                flint.arb(0.5) - twice_cosine,
                2 * twice_sine,
                4 * twice_cosine,
                -8 * twice_sine,
                -16 * twice_cosine,
            ],
        )

    return Decoder(moments=_blend(alpha, bend), exponential=_exponential_of_sine(alpha))


def _exponential_of_sine(alpha: Ball) -> Callable[[Ball, Ball], Jet]:
    """E exp((1 - alpha) u + alpha sin u), 0 < alpha <= 1, by Jacobi and Anger's series

        exp(alpha sin u) = sum_n I_n(alpha) (-i)^n exp(i n u)

    With t = 1 - alpha + i n, n's term is I_n (-i)^n t^j E exp(t u), that of -n its conjugate. As
    I_n(alpha) <= (1 / 2)^n e^(1/4) / n! and |t| <= n + 1, what is left out is less than eight times
    (1 / 2)^n (n + 1)^4 / n! E exp((1 - alpha) u) of the first n of it.
    """
    rest, last = 1 - alpha, HARMONICS + 1
    harmonics = range(HARMONICS + 1)
    weights = [flint.acb(0, -1) ** n * alpha.bessel_i(n) * (2 if n else 1) for n in harmonics]
    small = 8 * flint.arb(0.5) ** last * flint.arb(last + 1) ** 4 / math.factorial(last)

    def exponential(m: Ball, v: Ball) -> Jet:
        total = [within(small * _tilted(rest, m, v))] * ORDERS
        for n, weight in enumerate(weights):
            t = flint.acb(rest, n)
            term = weight * (t * m + t * t * v / 2).exp()
            for j in range(ORDERS):
                total[j] += (term * t**j).real
        return total

    return exponential


def _exponential(settings: Settings) -> Decoder:
    """E exp u = exp(m + v / 2), E exp 2u = exp(2 m + 2 v)."""

    def bend(m: Ball, v: Ball) -> _Bend:
        mean, square = (m + v / 2).exp(), (2 * m + 2 * v).exp()
        return _Bend(mean=[mean] * 6, square=[2**j * square for j in range(ORDERS)])

    return Decoder(moments=_blend(flint.arb(settings.alpha), bend))


def _erf(settings: Settings) -> Decoder:
    """With w = 1 + 2 v and k = sqrt(w (1 + 4 v)),

    E erf u = erf(m / sqrt w),   d/dm E erf^2 u = 2 erf(m / k) d/dm E erf u
    """

    def bend(m: Ball, v: Ball) -> _Bend:
        wide = 1 + 2 * v
        mean = _erf_jet(m, wide.sqrt(), 6)
        other = _erf_jet(m, (wide * (1 + 4 * v)).sqrt(), 4)
        slopes = [
            2 * sum(math.comb(j, i) * mean[1 + i] * other[j - i] for i in range(j + 1))
            for j in range(4)
        ]
        # The value is an integral at a point, and from there on by its derivatives in the box.
        middle, spread = m.mid(), v.mid()
        square = _squared_erf(middle, spread)
        square += slopes[0] * (m - middle) + slopes[1] / 2 * (v - spread)
        return _Bend(mean=mean, square=[square, *slopes])

    return Decoder(moments=_blend(flint.arb(settings.alpha), bend))


def _erf_jet(m: Ball, width: Ball, orders: int) -> list[Ball]:
    """erf(x), x = m / width, and derivatives by m: of order j + 1, with Hermite's polynomials,
    2 (-1)^j H_j(x) exp(-x^2) / sqrt(pi) width^(j + 1).
    """
    x = m / width
    jet, before, hermite = [x.erf()], flint.arb(0), flint.arb(1)
    factor = 2 * (-x * x).exp() / flint.arb.pi().sqrt()
    for j in range(orders - 1):
        factor /= width
        jet.append((-1) ** j * hermite * factor)
        before, hermite = hermite, 2 * x * hermite - 2 * j * before
    return jet


def _squared_erf(m: Ball, v: Ball) -> Ball:
    """E erf^2 u, with Owen's integral (`activations.Erf`) for the variance."""
    wide = 1 + 2 * v
    q = m * m / wide

    def under(x: Ball, analytic: bool) -> Ball:
        square = 1 + x * x
        return (-q * square).exp() / square

    owen = flint.acb.integral(under, 1 / (1 + 4 * v).sqrt(), 1).real
    return 4 / flint.arb.pi() * owen + (m / wide.sqrt()).erf() ** 2


DECODERS: dict[str, Callable[[Settings], Decoder]] = {
    "identity": _identity,
    "soft threshold": _soft_threshold,
    "hard tanh": _hard_tanh,
    "relu": _relu,
    "abs": _abs,
    "erf": _erf,
    "sin": _sine,
    "exp": _exponential,
    "polynomial": _polynomial,
}
