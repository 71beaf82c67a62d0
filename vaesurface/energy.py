"""What is the energy of one datum made of, and what are the moments of what a decoder makes of z?

The terms are in the paper's units (twice nats, constants dropped), elementwise; the energy of a
datum is their sum over features or latents (eq. 4 of Dai, Wang & Wipf, ICML 2020), as in `drawn`.
For u ~ N(m, v) each of the functions of moments returns `Moments(mean, variance)` of f(u),
elementwise over arrays of one shape: exact for the soft threshold, the identity and the ReLU;
`activations` has others. All are finite at v = 0 and differentiable to every order there, which is
where a collapsed decoder sits.

>>> import jax.numpy as jnp
>>> mean, variance = soft_threshold(jnp.array(0.3), jnp.array(0.0), 0.1)
>>> print(f"{mean:.3f} {variance:.3f}")
0.200 0.000
>>> print(threshold(jnp.array([0.3, -0.05, -0.3]), 0.1).round(3))  # the function itself
[ 0.2  0.  -0.2]
>>> print(divergence(jnp.array(0.0), jnp.array(0.0)))  # of the posterior at the prior
1.0
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.custom_derivatives import SymbolicZero
from jax.typing import ArrayLike

from vaesurface import moved
from vaesurface.glance import brief

__all__ = [
    "CorrelatedParams",
    "Moments",
    "Tail",
    "VAEParams",
    "divergence",
    "drawn",
    "expected_squared_error",
    "gammabar",
    "gaussian",
    "identity",
    "information",
    "masses",
    "params_of",
    "passing",
    "relu",
    "soft_threshold",
    "tail",
    "threshold",
]

__getattr__ = moved.names(__name__)


@brief()
class VAEParams(NamedTuple):
    """Parameters of a VAE with one linear map in the decoder and one Gaussian posterior per datum.

    weight: (d, k), the decoder's linear map.
    bias: (d,).
    log_gamma: (), or None where gamma is fixed.
    mean: (n, k), the posteriors' means.
    log_std: (n, k), logarithms of their standard deviations.
    """

    weight: Array
    bias: Array
    log_gamma: Array | None
    mean: Array
    log_std: Array

    @property
    def factor(self) -> Array | None:
        """None: latents are independent."""


@brief()
class CorrelatedParams(NamedTuple):
    """The same with posteriors in which latents are correlated.

    weight, bias, log_gamma, mean, log_std: as in `VAEParams`.
    factor: (n, ...), what correlates them, as a posterior of `vae.posterior` has it.
    """

    weight: Array
    bias: Array
    log_gamma: Array | None
    mean: Array
    log_std: Array
    factor: Array


def params_of(
    weight: Array, bias: Array, log_gamma: Array | None, mean: Array, *spread: Array
) -> Any:
    """`VAEParams`, or `CorrelatedParams` of posteriors with a factor; spread: (log_std,) or
    (log_std, factor).
    """
    made: Any = VAEParams if len(spread) == 1 else CorrelatedParams
    return made(weight, bias, log_gamma, mean, *spread)


def expected_squared_error(x: Array, mean: Array, variance: Array) -> Array:
    """E (x - y)^2 for a reconstruction y of that mean and variance."""
    return (x - mean) ** 2 + variance


def gaussian(squared_error: Array, log_gamma: Array) -> Array:
    """squared_error / gamma + log gamma, of one feature: twice its negative log-likelihood, less
    log 2 pi.
    """
    return squared_error * jnp.exp(-log_gamma) + log_gamma


def divergence(mean: Array, log_std: Array) -> Array:
    """sigma^2 - log sigma^2 + mu^2, of one latent: 1 more than twice its KL divergence from the
    prior.
    """
    return jnp.exp(2.0 * log_std) - 2.0 * log_std + mean**2


def information(mean: Array, log_std: Array) -> Array:
    """Twice the KL divergence (k,) of every latent from the prior, averaged over posteriors (n, k):
    0 at the prior.
    """
    return jnp.mean(divergence(mean, log_std), axis=0) - 1.0


def gammabar(X: Any) -> Any:
    """Mean squared deviation () of data (n, d) from their mean, per feature: the best gamma of a
    decoder that says the mean. NumPy's for its arrays, JAX's for others.
    """
    return ((X - X.mean(axis=0)[None]) ** 2).mean()


def drawn(x: Array, y: Array, log_gamma: Array, costs: Array) -> Array:
    """Mean energy () of data by reconstructions drawn from their posteriors.

    x (n, d); y (samples, n, d); costs (n,), of the KL part.
    """
    likelihood = jnp.sum(gaussian(jnp.mean((x[None] - y) ** 2, axis=0), log_gamma), axis=1)
    return jnp.mean(likelihood + costs)


# (a + 4)^3 h2(a) / phi(a) as a polynomial in t = (a - 4) / (a + 4), a >= 0, highest power first;
# relative error below 3e-15. Printed and checked by scripts/tail_coefficients.
TAIL_COEFFICIENTS = (
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

# In standard deviations: the density there is below the smallest double.
TAIL_END = 40.0

# A variance below which derivatives of the density would overflow.
POINT_MASS = 1e-100


@brief()
class Moments(NamedTuple):
    """Of f(u), u Gaussian; arrays of the inputs' shape.

    mean: E f(u).
    variance: E (f(u) - E f(u))^2.
    """

    mean: Array
    variance: Array


@brief()
class Tail(NamedTuple):
    """Integrals of a standard Gaussian's tail beyond a >= 0, each accurate relative to itself.

    probability: Q(a) = P(z > a).
    first: h1(a) = E (z - a)_+.
    second: h2(a) = E (z - a)_+^2.
    """

    probability: Array
    first: Array
    second: Array


def tail(a: Array) -> Tail:
    """Tail integrals at a >= 0. With q = h2(a) / phi(a), which is fitted, no digits cancel in

    Q(a) = phi(a) (q + a) / (1 + a^2),    h1(a) = phi(a) (1 - a q) / (1 + a^2)
    """
    return _tail(a, _density(a))


def _density(a: Array) -> Array:
    """phi(a), of a standard Gaussian."""
    return jnp.exp(-0.5 * a * a) * (1.0 / math.sqrt(2.0 * math.pi))


@jax.jit  # traced once for a shape; smooth wherever it is used
def _tail(a: Array, density: Array) -> Tail:
    """`tail`, for the density phi(a)."""
    t = (a - 4.0) / (a + 4.0)
    fitted = jnp.zeros_like(t)
    for coefficient in TAIL_COEFFICIENTS:
        fitted = fitted * t + coefficient
    # A division, for what ends in a product XLA computes anew for each that needs it.
    second = fitted / (a + 4.0) ** 3
    inverse = 1.0 / (1.0 + a * a)
    return Tail(
        probability=density * (second + a) * inverse,
        first=density * (1.0 - a * second) * inverse,
        second=density * second,
    )


class _PositivePart(NamedTuple):
    """Of x_+ = max(x, 0), x ~ N(u, v).

    mean: E x_+.
    excess: E x_+^2 - (u_+)^2.
    masses: q_0 = P(x > 0), one half at u = v = 0, and its derivatives q_n by u.
    """

    mean: Array
    excess: Array
    masses: tuple[Array, ...]


def _positive_part(order: int, u: Array, v: Array) -> _PositivePart:
    """With q_n for n < order. With s = sqrt(v), a = |u| / s and Hermite's polynomials He,

        E x_+ = u_+ + s h1(a),    E x_+^2 - (u_+)^2 = v h2(a), or v - v h2(a) where u > 0
        q_n = phi(a) / s (-1 / s)^(n - 1) He_{n - 1}(u / s)

    q_n is 0 where the density is below float64, and by convention where v is.
    """
    s = jnp.sqrt(v)
    near = jnp.abs(u) < TAIL_END * s
    a = jnp.abs(u) / jnp.where(near, s, 1.0)
    a = jnp.where(near, a, jnp.where(u == 0, 0.0, TAIL_END))
    density = _density(a)
    beyond = _tail(a, density)
    second = v * beyond.second
    positive = u > 0
    mass = jnp.where(positive, 1.0 - beyond.probability, beyond.probability)
    bells = _bells(order - 1, u, s, density, near & (v > POINT_MASS))
    return _PositivePart(
        mean=jnp.maximum(u, 0.0) + s * beyond.first,
        excess=jnp.where(positive, v - second, second),
        masses=(mass, *bells)[:order],
    )


def _bells(count: int, u: Array, s: Array, density: Array, seen: Array) -> list[Array]:
    """q_1 to q_count, for s = sqrt(v) and the density phi(u / s); 0 where they are not seen.

    Each ends in a choice, for a product that is added to another's would be fused with the sum, and
    the terms of opposite sides no longer cancel exactly.
    """
    s = jnp.where(seen, s, 1.0)
    x, factor = jnp.where(seen, u, 0.0) / s, density / s
    before, hermite, bells = jnp.zeros_like(x), jnp.ones_like(x), []
    for n in range(count):
        bells.append(jnp.where(seen, factor * hermite, 0.0))
        before, hermite = hermite, x * hermite - n * before
        factor = -factor / s
    return bells


def _orders(order: int, dv: Any) -> int:
    """How many derivatives are needed for those of the first `order` ones."""
    return order + (1 if isinstance(dv, SymbolicZero) else 2)


def _sum(like: Array, *terms: tuple[Callable[[], Array], Any]) -> Array:
    """Coefficients, each made by a function, times tangents; those of tangents that are no more
    than zeros are not computed.
    """
    total = jnp.zeros_like(like)
    for coefficient, tangent in terms:
        if not isinstance(tangent, SymbolicZero):
            total = total + coefficient() * tangent
    return total


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _rectified(order: int, m: Array, v: Array) -> _PositivePart:
    """`_positive_part`, of which all derivatives close:

    d E x_+ = q_0 du + q_1/2 dv,    d(E x_+^2 - (u_+)^2) = 2 (E x_+ - u_+) du + q_0 dv,
    dq_n = q_{n+1} du + q_{n+2}/2 dv
    """
    return _positive_part(order, m, v)


@partial(_rectified.defjvp, symbolic_zeros=True)
def _(order, primals, tangents):
    (u, v), (du, dv) = primals, tangents
    part = _rectified(max(1, _orders(order, dv)), u, v)
    q = part.masses

    def change(n: int) -> Array:
        return _sum(u, (lambda: q[n], du), (lambda: 0.5 * q[n + 1], dv))

    above = part.mean - jnp.maximum(u, 0.0)
    return part._replace(masses=q[:order]), _PositivePart(
        mean=change(0),
        excess=_sum(u, (lambda: 2.0 * above, du), (lambda: q[0], dv)),
        masses=tuple(change(n + 1) for n in range(order)),
    )


def masses(m: Array, v: Array) -> tuple[Array, ...]:
    """P(u > 0) and its first two derivatives by m: the density at 0, and how that changes.

    Derivatives close; where v is 0 the density is 0 by convention.
    """
    return _rectified(3, *jnp.broadcast_arrays(m, v)).masses


def identity(m: Array, v: Array) -> Moments:
    """Moments of u itself."""
    return Moments(mean=m, variance=v)


def relu(m: Array, v: Array) -> Moments:
    """Moments of max(u, 0)."""
    part = _rectified(0, m, v)
    center = jnp.maximum(m, 0.0)
    # The squares of the center cancel by hand: the variance keeps its digits where m >> v.
    return Moments(
        mean=part.mean, variance=part.excess - (part.mean - center) * (part.mean + center)
    )


def threshold(u: Array, alpha: ArrayLike) -> Array:
    """pi(u) = sign(u) max(|u| - alpha, 0), the soft threshold itself, elementwise (eq. 5 of Dai,
    Wang & Wipf, ICML 2020); where alpha = 0 its derivative is 1 at 0 too.
    """
    return jnp.where(jnp.abs(u) >= alpha, u - alpha * jnp.sign(u), 0.0)


def soft_threshold(m: Array, v: Array, alpha: ArrayLike) -> Moments:
    """Moments of pi(u) = sign(u) max(|u| - alpha, 0), alpha >= 0 (eq. 5 of Dai, Wang & Wipf, ICML
    2020).

    m, v, alpha broadcast. E pi is accurate relative to E |pi| and the variance relative to E pi^2,
    also far in the tails; alpha = 0 gives the identity's values and derivatives.
    """
    part = _thresholded(0, *jnp.broadcast_arrays(m, v, jnp.asarray(alpha, m.dtype)))
    return Moments(mean=part.mean, variance=part.variance)


def passing(m: Array, v: Array, alpha: ArrayLike) -> Array:
    """P(|u| > alpha), u ~ N(m, v): the expected slope of the soft threshold."""
    return _thresholded(1, *jnp.broadcast_arrays(m, v, jnp.asarray(alpha, m.dtype))).even[0]


class _Thresholded(NamedTuple):
    """Of pi(u), u ~ N(m, v). With X_n the q_n of u - alpha and Y_n those of -u - alpha
    (`_PositivePart`):

    mean: E pi.
    variance: of pi.
    absolute: E |pi|.
    even: A_n = X_n + (-1)^n Y_n, the n-th derivatives by m of A_0 = P(|u| > alpha).
    odd: B_n = X_n - (-1)^n Y_n.
    """

    mean: Array
    variance: Array
    absolute: Array
    even: tuple[Array, ...]
    odd: tuple[Array, ...]


# Traced once for a shape and order. Of functions that JAX traces once it shares with the ReLU only
# `_tail`, all of whose operations are smooth: operations keep the function that they were first
# traced in, by which `stationary.smooth` knows these.
@partial(jax.custom_jvp, nondiff_argnums=(0,))
@partial(jax.jit, static_argnums=0)
def _thresholded(order: int, m: Array, v: Array, alpha: Array) -> _Thresholded:
    """With A_n and B_n for n < order. With x = u - alpha and y = -u - alpha,

        E pi = E x_+ - E y_+,    E pi^2 = E x_+^2 + E y_+^2

    and, for the mean E, the variance V and D = E |pi|, the derivatives close:

        dE = A_0 dm + A_1/2 dv - B_0 dalpha
        dV = 2 E (1 - A_0) dm + (A_0 - E A_1) dv - 2 (D - E B_0) dalpha
        dD = B_0 dm + B_1/2 dv - A_0 dalpha
        dA_n = A_{n+1} dm + A_{n+2}/2 dv - B_{n+1} dalpha
        dB_n = B_{n+1} dm + B_{n+2}/2 dv - A_{n+1} dalpha

    At alpha = 0 the terms of A_n cancel: A_0 = 1, and the others are 0. In float64 a part in 1e16
    of them would be left where products and sums are fused, and q_n grow like v^(-n/2).
    """
    up, down = _positive_part(order, m - alpha, v), _positive_part(order, -m - alpha, v)
    center = jnp.maximum(m - alpha, 0.0) - jnp.maximum(-m - alpha, 0.0)
    mean = up.mean - down.mean
    # With c = pi(m) the two squares c^2 cancel by hand: the variance keeps its digits where
    # |m| >> v.
    square = up.excess + down.excess
    affine = alpha == 0
    both = enumerate(zip(up.masses, down.masses, strict=True))
    pairs = [(x, (-1) ** n * y) for n, (x, y) in both]
    return _Thresholded(
        mean=mean,
        variance=square - (mean - center) * (mean + center),
        absolute=up.mean + down.mean,
        even=tuple(jnp.where(affine, float(n == 0), x + y) for n, (x, y) in enumerate(pairs)),
        odd=tuple(x - y for x, y in pairs),
    )


@partial(_thresholded.defjvp, symbolic_zeros=True)
def _(order, primals, tangents):
    dm, dv, dalpha = tangents
    part = _thresholded(_orders(order, dv), *primals)
    mean, A, B = part.mean, part.even, part.odd

    def change(own: tuple[Array, ...], other: tuple[Array, ...], n: int) -> Array:
        return _sum(
            mean,
            (lambda: own[n], dm),
            (lambda: 0.5 * own[n + 1], dv),
            (lambda: -other[n], dalpha),
        )

    variance = _sum(
        mean,
        (lambda: 2.0 * mean * (1.0 - A[0]), dm),
        (lambda: A[0] - mean * A[1], dv),
        (lambda: -2.0 * (part.absolute - mean * B[0]), dalpha),
    )
    return part._replace(even=A[:order], odd=B[:order]), _Thresholded(
        mean=change(A, B, 0),
        variance=variance,
        absolute=change(B, A, 0),
        even=tuple(change(A, B, n + 1) for n in range(order)),
        odd=tuple(change(B, A, n + 1) for n in range(order)),
    )
