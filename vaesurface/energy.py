"""What is the energy of one datum made of, and what are the moments of what a decoder makes of z?

The terms are in the paper's units (twice nats, constants dropped), elementwise; the energy of a
datum is their sum over features or latents (eq. 4 of Dai, Wang & Wipf, ICML 2020), as in `drawn`.
For u ~ N(m, v) each of the functions of moments returns `Moments(mean, variance)` of f(u),
elementwise over arrays of one shape: exact for the soft threshold, the identity and the ReLU, by
quadrature for any smooth f. All are finite at v = 0 and differentiable to every order there, which
is where a collapsed decoder sits.

>>> import jax.numpy as jnp
>>> mean, variance = soft_threshold(jnp.array(0.3), jnp.array(0.0), 0.1)
>>> print(f"{mean:.3f} {variance:.3f}")
0.200 0.000
>>> print(divergence(jnp.array(0.0), jnp.array(0.0)))  # of the posterior at the prior
1.0
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

__all__ = [
    "Moments",
    "Tail",
    "VAEParams",
    "divergence",
    "drawn",
    "expected_squared_error",
    "gaussian",
    "identity",
    "quadrature",
    "relu",
    "soft_threshold",
    "tail",
]


class VAEParams(NamedTuple):
    """Parameters of a VAE with one linear map in the decoder and one Gaussian posterior per datum.

    weight (d, k); bias (d,); log_gamma () or None where gamma is fixed; mean and log_std (n, k).
    """

    weight: Array
    bias: Array
    log_gamma: Array | None
    mean: Array
    log_std: Array


def expected_squared_error(x: Array, mean: Array, variance: Array) -> Array:
    """E (x - y)^2 for a reconstruction y of that mean and variance."""
    return (x - mean) ** 2 + variance


def gaussian(squared_error: Array, log_gamma: Array) -> Array:
    """squared_error / gamma + log gamma: twice the negative log-likelihood of one feature, less log
    2 pi.
    """
    return squared_error * jnp.exp(-log_gamma) + log_gamma


def divergence(mean: Array, log_std: Array) -> Array:
    """sigma^2 - log sigma^2 + mu^2 of one latent: twice the KL divergence from the prior, plus
    1.
    """
    return jnp.exp(2.0 * log_std) - 2.0 * log_std + mean**2


def drawn(
    x: Array, y: Array, mean: Array, log_std: Array, log_gamma: Array, beta: ArrayLike
) -> Array:
    """Mean energy of data x (n, d) by reconstructions y (samples, n, d) drawn from posteriors mean,
    log_std (n, k).
    """
    likelihood = jnp.sum(gaussian(jnp.mean((x[None] - y) ** 2, axis=0), log_gamma), axis=1)
    return jnp.mean(likelihood + beta * jnp.sum(divergence(mean, log_std), axis=1))


# (a + 4)^3 h2(a) / phi(a) as a polynomial in t = (a - 4) / (a + 4), a >= 0, highest power first;
# relative error below 3e-15. Printed and checked by scripts/tail_coefficients.
_TAIL = (
    4.190598372474979e-08,
    2.3607572483624864e-07,
    -1.5589134841038844e-07,
    -2.2681577888425953e-06,
    -1.2457243667425517e-06,
    1.0451005810847345e-05,
    1.5165891142020309e-05,
    -2.8433524054338048e-05,
    -8.785181631469414e-05,
    2.7381038246370613e-05,
    0.0003806193093086398,
    0.00021900489003338954,
    -0.0014443659650102225,
    -0.001915267666994924,
    0.005441291143469636,
    0.010867216256534891,
    -0.023651251359844874,
    -0.052976853403141844,
    0.13391995601976134,
    0.20448700581186222,
    -0.927570669890203,
    0.11054380456667333,
    5.414111062719125,
    -15.784498769667648,
    24.682598918122228,
    -23.592785901321268,
    11.822340879632078,
)
_FAR = 40.0  # standard deviations; the density there is below the smallest double


class Moments(NamedTuple):
    """Mean and variance of f(u), u Gaussian; arrays of the inputs' shape."""

    mean: Array
    variance: Array


class Tail(NamedTuple):
    """Integrals of the upper tail of a standard Gaussian beyond a >= 0, each accurate relative to
    itself.

    probability: Q(a);  first: h1(a) = E(z - a)_+;  second: h2(a) = E(z - a)_+^2.
    """

    probability: Array
    first: Array
    second: Array


def tail(a: Array) -> Tail:
    """Tail integrals at a >= 0. The second is fitted; the others follow from it without
    cancellation.
    """
    t = (a - 4.0) / (a + 4.0)
    fitted = jnp.zeros_like(t)
    for coefficient in _TAIL:
        fitted = fitted * t + coefficient
    density = jnp.exp(-0.5 * a * a) / math.sqrt(2 * math.pi)
    second = fitted / (a + 4.0) ** 3
    inverse = 1.0 / (1.0 + a * a)
    return Tail(
        density * (second + a) * inverse, density * (1.0 - a * second) * inverse, density * second
    )


def _standardized(u: Array, v: Array) -> tuple[Array, Array]:
    """|u| / sqrt(v), cut at _FAR, and sqrt(v); 0/0 is 0."""
    s = jnp.sqrt(v)
    reach = _FAR * s
    near = jnp.abs(u) < reach
    return jnp.where(near, jnp.abs(u) / jnp.where(near, s, 1.0), jnp.where(u == 0, 0.0, _FAR)), s


@jax.custom_jvp
def _above(u: Array, v: Array) -> tuple[Array, Array, Array]:
    """For x = u + sqrt(v) z: E x_+, E x_+^2 - (u_+)^2, and P(x > 0), which is one half at u = v =
    0.
    """
    a, s = _standardized(u, v)
    beyond = tail(a)
    second = v * beyond.second
    positive = u > 0
    return (
        jnp.maximum(u, 0.0) + s * beyond.first,
        jnp.where(positive, v - second, second),
        jnp.where(positive, 1.0 - beyond.probability, beyond.probability),
    )


@_above.defjvp
def _(primals, tangents):
    (u, v), (du, dv) = primals, tangents
    mean, square, mass = _above(u, v)
    density = _density_at_zero(u, v)
    turn = density * (du - 0.5 * (u / jnp.where(v > 0, v, 1.0)) * dv)
    slope = 2.0 * (mean - jnp.maximum(u, 0.0))
    return (mean, square, mass), (mass * du + 0.5 * density * dv, slope * du + mass * dv, turn)


def _density_at_zero(u: Array, v: Array) -> Array:
    """Density of x at 0; 0 where it underflows, and by convention at v = 0."""
    near = (jnp.abs(u) < _FAR * jnp.sqrt(v)) & (v > 1e-100)  # below, derivatives would overflow
    u, v = jnp.where(near, u, 0.0), jnp.where(near, v, 1.0)
    return jnp.where(near, jnp.exp(-0.5 * u * u / v) / jnp.sqrt(2 * math.pi * v), 0.0)


def identity(m: Array, v: Array) -> Moments:
    """Moments of u itself."""
    return Moments(m, v)


def relu(m: Array, v: Array) -> Moments:
    """Moments of max(u, 0)."""
    mean, square, _ = _above(m, v)
    center = jnp.maximum(m, 0.0)
    return Moments(mean, square - (mean - center) * (mean + center))


def soft_threshold(m: Array, v: Array, alpha: ArrayLike) -> Moments:
    """Moments of pi(u) = sign(u) max(|u| - alpha, 0), alpha >= 0 (eq. 5 of Dai, Wang & Wipf, ICML
    2020).

    m, v, alpha broadcast. E pi is accurate relative to E |pi| and the variance relative to E pi^2,
    also far in the tails; alpha = 0 gives the identity's values and derivatives.
    """
    m, v, alpha = jnp.broadcast_arrays(m, v, jnp.asarray(alpha, m.dtype))
    return Moments(*_threshold(m, v, alpha))


@jax.custom_jvp
def _threshold(m: Array, v: Array, alpha: Array) -> tuple[Array, Array]:
    up, down = m - alpha, -m - alpha  # how far the mean lies beyond +alpha and beyond -alpha
    (mean_up, square_up, _), (mean_down, square_down, _) = _above(up, v), _above(down, v)
    # With c = pi(m) and E pi = c + e, the two squares c^2 cancel by hand: the variance keeps its
    # digits where |m| >> v.
    center = jnp.maximum(up, 0.0) - jnp.maximum(down, 0.0)
    mean = mean_up - mean_down
    return mean, square_up + square_down - (mean - center) * (mean + center)


@_threshold.defjvp
def _(primals, tangents):
    (m, v, alpha), (dm, dv, dalpha) = primals, tangents
    up, down = m - alpha, -m - alpha
    (mean_up, _, mass_up), (mean_down, _, mass_down) = _above(up, v), _above(down, v)
    jump = _density_at_zero(up, v) - _density_at_zero(down, v)
    mass, skew, absolute = mass_up + mass_down, mass_up - mass_down, mean_up + mean_down
    mean, variance = _threshold(m, v, alpha)
    d_mean = mass * dm + 0.5 * jump * dv - skew * dalpha
    d_variance = (
        2.0 * mean * (1.0 - mass) * dm
        + (mass - mean * jump) * dv
        - 2.0 * (absolute - mean * skew) * dalpha
    )
    return (mean, variance), (d_mean, d_variance)


def quadrature(f: Callable[[Array], Array], order: int = 32) -> Callable[[Array, Array], Moments]:
    """Moments of a smooth scalar function f by Gauss-Hermite quadrature with `order` nodes: a
    function of (m, v).

    Derivatives are those of the expectation (d/dm E f = E f', d/dv E f = E f''/2), so they hold at
    v = 0 too; f must be as often differentiable as derivatives are asked for.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    weights = weights / weights.sum()

    def expectation(g: Callable) -> Callable:
        slope = jax.grad(g)

        @jax.custom_jvp
        def mean(m, v, center):
            points = jnp.asarray(nodes).reshape((1,) * m.ndim + (-1,))
            u = m[..., None] + jnp.sqrt(v)[..., None] * points
            return jnp.vectorize(g)(u, center[..., None]) @ weights

        @mean.defjvp
        def _(primals, tangents):
            (m, v, center), (dm, dv, _) = primals, tangents  # the center is a constant: see below
            first = expectation(slope)(m, v, center)
            second = expectation(jax.grad(slope))(m, v, center)
            return mean(m, v, center), first * dm + 0.5 * second * dv

        return mean

    def moments(m: Array, v: Array) -> Moments:
        m, v = jnp.broadcast_arrays(m, v)
        mean = expectation(lambda u, center: f(u))(m, v, m)
        # E (f - c)^2 - (E f - c)^2 for any constant c; c = E f loses no digits.
        center = jax.lax.stop_gradient(mean)
        variance = (
            expectation(lambda u, center: (f(u) - center) ** 2)(m, v, center) - (mean - center) ** 2
        )
        return Moments(mean, variance)

    return moments
