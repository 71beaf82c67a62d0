"""How far around the collapsed point is nothing lower?

At alpha > 0 the energy is flat to all orders in the weight where that is zero, so no eigenvalue can
say; an inequality does. X is (n, d); energies in the paper's units, mean per datum.

>>> from vaesurface import data
>>> region = collapse_radius(data.antipodal(d=2), alpha=0.5)
>>> print(f"{region.radius / 0.5:.3f} {region.limit / 0.5:.3f}")  # in units of alpha
0.741 0.771
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface import energy
from vaesurface.energy import VAEParams
from vaesurface.glance import brief
from vaesurface.theory import doors
from vaesurface.theory.bisection import bisect

__all__ = ["CollapseRadius", "collapse_radius", "dead_zone_radius", "is_trivial"]

# Where the edge is looked for, in standard deviations of a row's output: at the upper end the tails
# allow every R below e^400.
NEAREST, FARTHEST = 1e-6, 30.0


@brief()
class CollapseRadius(NamedTuple):
    """A region around the collapsed point in which no energy is lower, and only that point's is as
    low.

    radius: bound on every row norm of the weight.
    limit: what the radius tends to as the rest of the region shrinks.
    log_std: bound on |log sigma|.
    mean: bound on every ||mu_i||.
    bias: bound on ||b - xbar||.
    gamma: lower bound on gamma.
    """

    radius: Array
    limit: Array
    log_std: Array
    mean: Array
    bias: Array
    gamma: Array


def collapse_radius(
    X: ArrayLike,
    alpha: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
    slack: float = 0.01,
) -> CollapseRadius:
    """How far around the collapsed point, at alpha > 0, no energy is lower: a certificate that it
    is a local minimum.

    With rows no longer than rho the cross term of the squared error cannot outweigh the second
    moment of the thresholded decoder plus the KL term if, for every standard deviation s = alpha /
    a that a row can have,

        R e^(2 tau) [Q(a - delta) + Q(a + delta)]^2 <= 2 h2(a)

        delta = e^tau r,    R = (max ||x_i - xbar|| + c)^2 / (beta g)

    with tau, r, c, g the region's bounds and Q, h2 Gaussian tail integrals. `slack` sets those: tau
    = r = slack, c = slack sqrt(gammabar), g = gammabar e^-slack (or gamma, where that is fixed).
    The limit for slack -> 0 is alpha / a*, with 2 R Q(a*)^2 = h2(a*). Zero at alpha = 0. X (n, d)
    and alpha may be traced.
    """
    X = jnp.asarray(doors.matrix(X))
    doors.nonnegative("alpha", alpha)
    doors.positive("beta", beta)
    doors.nonnegative("slack", slack)
    if gamma is not None:
        doors.positive("gamma", gamma, ", or None where it is learned")
    alpha = jnp.asarray(alpha, X.dtype)
    farthest = jnp.max(jnp.linalg.norm(X - X.mean(axis=0)[None], axis=1))
    gammabar = energy.gammabar(X)
    base = gammabar if gamma is None else jnp.asarray(gamma, X.dtype)
    lower = base * jnp.exp(-slack) if gamma is None else base
    bias = slack * jnp.sqrt(gammabar)
    bound = jnp.asarray(slack, X.dtype)
    ratios = jnp.stack([(farthest + bias) ** 2 / (beta * lower), farthest**2 / (beta * base)])
    bounds = jnp.stack([bound, jnp.zeros_like(bound)])
    within, at_the_limit = jax.lax.map(lambda each: _edge(*each), (ratios, bounds, bounds))
    return CollapseRadius(
        radius=alpha * jnp.exp(-slack) / within,
        limit=alpha / at_the_limit,
        log_std=bound,
        mean=bound,
        bias=bias,
        gamma=lower,
    )


def dead_zone_radius(alpha: ArrayLike, pull: ArrayLike, cubic: float = 0.0) -> Array:
    """What `CollapseRadius.limit` is under any likelihood: row norm () up to which no energy is
    lower, as the rest of the region shrinks; positive at every alpha > 0.

    With r_ik = d A / d y of datum i and coordinate k at the collapsed point, D_ik half of twice the
    second derivative A'', and pull R = max_i sum_k r_ik^2 / D_ik / beta, it is alpha / a*, where
    from a* on

        4 R Q(a)^2 <= 2 h2(a) - cubic (2/3) (alpha / a) h3(a)

    cubic: 0 where A'' is constant (Gaussian), 1 where |d log A'' / du| <= 1 (Bernoulli, Poisson,
        negative binomial): then E [A(b + y) - A(b) - A'(b) y] >= A''(b) (E y^2 / 2 - E |y|^3 / 6).
    """
    alpha, pull = (jnp.asarray(x, float) for x in (alpha, pull))

    def fails(a: Array) -> Array:
        part = energy.tail(a)
        third = 2.0 * part.first - a * part.second
        enough = 2.0 * part.second - cubic * (2.0 / 3.0) * alpha / a * third
        return ~(4.0 * pull * part.probability**2 <= enough)

    nearest, farthest = jnp.asarray(NEAREST), jnp.asarray(FARTHEST)
    _, edge = bisect(fails, nearest, farthest)
    return jnp.where(fails(farthest), 0.0, alpha / edge)


def is_trivial(params: VAEParams, region: CollapseRadius, center: Array, short: Array) -> Array:
    """Whether a point lies in the region in which the collapsed point is lowest, but for gamma,
    where it is learned; short: (d,), whether rows of its weight do.
    """
    return (
        jnp.all(short)
        & (jnp.max(jnp.abs(params.log_std)) <= region.log_std)
        & (jnp.max(jnp.linalg.norm(params.mean, axis=1)) <= region.mean)
        & (jnp.linalg.norm(params.bias - center) <= region.bias)
    )


def _edge(ratio: Array, tau: Array, r: Array) -> Array:
    """The a from which on the inequality of `collapse_radius` holds, R being ratio.

    `NEAREST` where it holds for all (R < 1: large gamma or beta), infinite where it does not at
    `FARTHEST`.
    """

    def fails(a: Array) -> Array:
        return ~_holds(a, ratio, tau, r)

    nearest, farthest = (jnp.asarray(a, ratio.dtype) for a in (NEAREST, FARTHEST))
    _, edge = bisect(fails, nearest, farthest)
    return jnp.where(fails(farthest), jnp.inf, edge)


def _holds(a: Array, ratio: Array, tau: Array, r: Array) -> Array:
    """R e^(2 tau) [Q(a - delta) + Q(a + delta)]^2 <= 2 h2(a), delta = e^tau r; compared in
    logarithms.
    """
    delta = jnp.exp(tau) * r
    q = energy.tail(jnp.abs(a - delta)).probability
    q = jnp.where(a > delta, q, 1 - q) + energy.tail(a + delta).probability
    return jnp.log(ratio) + 2 * tau + 2 * jnp.log(q) <= jnp.log(2 * energy.tail(a).second)
