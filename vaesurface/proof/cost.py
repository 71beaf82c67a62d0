"""What does it cost to say f(u) + b of a number x, in balls?

Its expected negative log-likelihood, twice nats, over u ~ N(m, v): `energy.gaussian` of a Gaussian,
and of other likelihoods 2 (E A(y + b) - x E (y + b)), y = f(u) (`vae.likelihood`).

>>> from vaesurface.proof.balls import arithmetic
>>> with arithmetic():  # (3 - 1)^2 and a variance
...     term = cost(Settings(latent=1, alpha=0.0, gamma=1.0, beta=1.0))
...     print(float(term(*map(flint.arb, (3, 1, 0.5, 0, 0))).value))
4.5
"""

from collections.abc import Callable
from typing import NamedTuple

from vaesurface.proof.balls import Ball, flint
from vaesurface.proof.decoder import Decoder, Jet, decoder
from vaesurface.proof.form import GAUSSIAN, PER_FEATURE, Settings, Unproved
from vaesurface.proof.logistic import softplus

__all__ = ["BIAS", "LOG_GAMMA", "MEAN", "VARIANCE", "Cost", "Term", "cost"]

MEAN, VARIANCE, BIAS, LOG_GAMMA = range(4)  # arguments of the energy of one datum in one feature


class Term(NamedTuple):
    """A function of (m, v, b, log gamma) and its derivatives.

    value: a ball.
    first: 4 balls.
    second: 4 x 4 balls.
    """

    value: Ball
    first: list
    second: list


Cost = Callable[[Ball, Ball, Ball, Ball, Ball], Term]  # of x, m, v, b and log gamma


def cost(settings: Settings) -> Cost:
    """Of these settings. Raises Unproved where there is no closed form."""
    y, likelihood = decoder(settings), settings.likelihood
    if likelihood in (GAUSSIAN, PER_FEATURE):
        return _gaussian(y)
    if likelihood == "poisson":
        return _poisson(y, settings)
    return _logistic(settings)


def _gaussian(y: Decoder) -> Cost:
    """(r^2 - 2 r E y + E y^2) / gamma + log gamma, r = x - b."""

    def term(x: Ball, m: Ball, v: Ball, b: Ball, log_gamma: Ball) -> Term:
        (mean, square), rest, precision = y.moments(m, v), x - b, (-log_gamma).exp()
        error = [precision * (q - 2 * rest * s) for s, q in zip(mean, square, strict=True)]
        error[0] += precision * rest * rest
        by_bias = [2 * precision * s for s in mean[:3]]
        by_bias[0] -= 2 * precision * rest
        return _with_gamma(_term(error, by_bias, 2 * precision), log_gamma)

    return term


def _with_gamma(error: Term, log_gamma: Ball) -> Term:
    """A term that is proportional to 1 / gamma, and log gamma."""
    value, first, second = error
    rows = [[*row[:LOG_GAMMA], -x] for row, x in zip(second, first[:LOG_GAMMA], strict=False)]
    return Term(
        value=value + log_gamma,
        first=[*first[:LOG_GAMMA], 1 - value],
        second=[*rows, [*(-x for x in first[:LOG_GAMMA]), value]],
    )


def _poisson(y: Decoder, settings: Settings) -> Cost:
    """2 (exp(b) E exp y - x (E y + b))."""
    exponential = y.exponential
    if exponential is None:
        raise Unproved(
            f"expected an activation of which E exp f(u) is in closed form, got "
            f"{settings.activation} with likelihood poisson; choose sin, or one that is piecewise "
            "affine"
        )

    def term(x: Ball, m: Ball, v: Ball, b: Ball, log_gamma: Ball) -> Term:
        rate = [2 * b.exp() * e for e in exponential(m, v)]
        says = [2 * x * s for s in y.moments(m, v).mean]
        total = [e - s for e, s in zip(rate, says, strict=True)]
        total[0] -= 2 * x * b
        return _term(total, [rate[0] - 2 * x, *rate[1:3]], rate[0])

    return term


def _logistic(settings: Settings) -> Cost:
    """2 ((x + r) E log(1 + exp(u + b - log r)) - x (m + b)), or with 1 for x + r and for r."""
    if settings.alpha != 0 and settings.activation != "identity":
        raise Unproved(
            f"expected an affine decoder with likelihood {settings.likelihood}, got activation "
            f"{settings.activation}: its expectation is only known by quadrature without a bound; "
            "take the Gaussian likelihood, or alpha = 0"
        )
    size = settings.dispersion

    def term(x: Ball, m: Ball, v: Ball, b: Ball, log_gamma: Ball) -> Term:
        factor = flint.arb(2) if size is None else 2 * (x + size)
        shift = flint.arb(0) if size is None else flint.arb(size).log()
        jet = [factor * e for e in softplus(m + b - shift, v)]
        bend = jet[2]
        by_bias = [jet[1] - 2 * x, jet[2], jet[3]]
        jet[0] -= 2 * x * (m + b)
        jet[1] -= 2 * x
        return _term(jet, by_bias, bend)

    return term


def _term(jet: Jet, by_bias: list[Ball], twice_by_bias: Ball) -> Term:
    """From derivatives by m, those of the derivative by b, and the second by b: d/dv is half the
    second derivative by m. Nothing depends on gamma.
    """
    zero = flint.arb(0)
    mv, vv = jet[3] / 2, jet[4] / 4
    mb, vb = by_bias[1], by_bias[2] / 2
    return Term(
        value=jet[0],
        first=[jet[1], jet[2] / 2, by_bias[0], zero],
        second=[
            [jet[2], mv, mb, zero],
            [mv, vv, vb, zero],
            [mb, vb, twice_by_bias, zero],
            [zero] * 4,
        ],
    )
