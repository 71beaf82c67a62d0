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

__all__ = ["CollapseRadius", "collapse_radius", "is_trivial"]


class CollapseRadius(NamedTuple):
    """A region around the collapsed point in which no energy is lower, and only that point's is as
    low.

    radius: every row norm of the weight; limit: what the radius tends to as the rest of the region
    shrinks. The region: |log sigma| <= log_std, ||mu_i|| <= mean, ||b - xbar|| <= bias, gamma >=
    gamma.
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

        R e^(2 tau) [Q(a - delta) + Q(a + delta)]^2 <= 2 h2(a),     delta = e^tau r,  R = (max ||x_i
        - xbar|| + c)^2 / (beta g)

    with tau, r, c, g the region's bounds and Q, h2 Gaussian tail integrals. `slack` sets those: tau
    = r = slack, c = slack sqrt(gammabar), g = gammabar e^-slack (or gamma, where that is fixed).
    The limit for slack -> 0 is alpha / a*, with 2 R Q(a*)^2 = h2(a*). Zero at alpha = 0. X (n, d)
    and alpha may be traced.
    """
    X = jnp.asarray(X)
    alpha = jnp.asarray(alpha, X.dtype)
    square = jnp.sum((X - X.mean(axis=0, keepdims=True)) ** 2, axis=1)
    gammabar = square.mean() / X.shape[1]
    base = gammabar if gamma is None else jnp.asarray(gamma, X.dtype)
    lower = base * jnp.exp(-slack) if gamma is None else base
    bias = slack * jnp.sqrt(gammabar)

    def threshold(ratio, tau, r):
        """Largest a at which the inequality is an equation; it holds for every larger a."""
        delta = jnp.exp(tau) * r

        def holds(a):
            q = energy.tail(jnp.abs(a - delta)).probability
            q = jnp.where(a > delta, q, 1 - q) + energy.tail(a + delta).probability
            return jnp.log(ratio) + 2 * tau + 2 * jnp.log(q) <= jnp.log(2 * energy.tail(a).second)

        def halve(_, bracket):
            low, high = bracket
            middle = jnp.sqrt(low * high)
            return jnp.where(holds(middle), low, middle), jnp.where(holds(middle), middle, high)

        # At 30 standard deviations the tails allow every R below e^400. Where R < 1 (large gamma or
        # beta) every a is allowed and the lower bound comes back. 100 halvings take log a to
        # rounding.
        bracket = jnp.asarray(1e-6, X.dtype), jnp.asarray(30.0, X.dtype)
        root = jax.lax.fori_loop(0, 100, halve, bracket)[1]
        return jnp.where(holds(bracket[1]), root, jnp.inf)  # then the certified radius is zero

    zero = jnp.zeros((), X.dtype)
    limit = alpha / threshold(square.max() / (beta * base), zero, zero)
    ratio = (jnp.sqrt(square.max()) + bias) ** 2 / (beta * lower)
    radius = alpha * jnp.exp(-slack) / threshold(ratio, slack, slack)
    slack_ = jnp.asarray(slack, X.dtype)
    return CollapseRadius(radius, limit, slack_, slack_, bias, lower)


def is_trivial(params: VAEParams, region: CollapseRadius, center: Array, dead: Array) -> Array:
    """Whether a point with those dead rows (d,) lies in the region in which the collapsed point is
    lowest.
    """
    return (
        jnp.all(dead)
        & (jnp.max(jnp.abs(params.log_std)) <= region.log_std)
        & (jnp.max(jnp.linalg.norm(params.mean, axis=1)) <= region.mean)
        & (jnp.linalg.norm(params.bias - center) <= region.bias)
    )
