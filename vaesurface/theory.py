"""What is known in closed form about the loss surface, to test everything else against?

For the affine decoder (alpha = 0) all stationary points with principal-direction columns, their energies and their
indices; for the thresholded one (alpha > 0) how far around the collapsed point nothing is lower. X is (n, d); lambda
are the eigenvalues of its covariance (1/n); energies in the paper's units, mean per datum.

>>> from vaesurface import data
>>> X = data.gaussian(50, [4.0, 2.0, 1.0, 0.5], seed=0)
>>> [(e.retained, e.negative) for e in stationary_points(X, latent=1)]
[((), 2), ((0,), 0), ((1,), 1)]
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import moments
from vaesurface.problem import VAEParams


class Expected(NamedTuple):
    """A stationary point of the affine model.

    retained: principal directions in use, 0 the leading one; loss: its energy; negative: its number of negative Hessian
    eigenvalues over all parameters (exact for distinct eigenvalues).
    """

    retained: tuple[int, ...]
    params: VAEParams
    loss: float
    negative: int


class CollapseRadius(NamedTuple):
    """A region around the collapsed point in which no energy is lower, and only that point's is as low.

    radius: every row norm of the weight; limit: what the radius tends to as the rest of the region shrinks. The region:
    |log sigma| <= log_std, ||mu_i|| <= mean, ||b - xbar|| <= bias, gamma >= gamma.
    """

    radius: Array
    limit: Array
    log_std: Array
    mean: Array
    bias: Array
    gamma: Array


def _spectrum(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, eigenvalues (descending, rounding below zero cut) and directions (columns) of the covariance."""
    center = X.mean(axis=0)
    _, singular, directions = np.linalg.svd(X - center, full_matrices=len(X) < X.shape[1])
    values = np.zeros(X.shape[1])
    values[: singular.size] = singular**2 / len(X)
    values[values < np.finfo(float).eps * len(values) * values[0]] = 0.0
    return center, values, directions.T


def _gamma(values: np.ndarray, retained: Sequence[int], gamma: float | None, beta: float) -> float:
    if gamma is not None:
        return gamma
    rest = np.delete(values, list(retained)).sum()
    free = len(values) - beta * len(retained)
    return rest / free if free > 0 else math.nan


def _energy(values: np.ndarray, retained: Sequence[int], latent: int, gamma: float, beta: float) -> float:
    rest = np.delete(values, list(retained)).sum()
    gain = np.log(values[list(retained)] / (beta * gamma)).sum()
    return float(len(values) * math.log(gamma) + rest / gamma + beta * (len(retained) + latent + gain))


def stationary_points(X: np.ndarray, latent: int, gamma: float | None = None, beta: float = 1.0) -> Iterator[Expected]:
    """Stationary points of the affine model whose weight columns are principal directions, fewest columns first.

    One for every set of at most `latent` directions with lambda > beta gamma; gamma=None is learned. Rotations within
    the retained directions add saddles that are not listed. (Index formula: derived here, checked against dense Hessians.)
    """
    X = np.asarray(X, np.float64)
    center, values, directions = _spectrum(X)
    d = X.shape[1]
    for size in range(min(latent, d) + 1):
        for retained in combinations(range(d), size):
            g = _gamma(values, retained, gamma, beta)
            threshold = beta * g
            if not g > 0 or any(values[j] <= threshold for j in retained):
                continue
            weight = np.zeros((d, latent))
            log_std = np.zeros((len(X), latent))
            for column, j in enumerate(retained):
                weight[:, column] = math.sqrt(values[j] - threshold) * directions[:, j]
                log_std[:, column] = 0.5 * math.log(threshold / values[j])
            mean = np.exp(2 * log_std) * ((X - center) @ weight) / threshold
            others = np.delete(values, list(retained))
            negative = sum(int((others > values[j]).sum()) for j in retained)
            negative += (latent - size) * int((others > threshold).sum())
            params = VAEParams(
                weight=jnp.asarray(weight),
                bias=jnp.asarray(center),
                log_gamma=jnp.asarray(math.log(g)) if gamma is None else None,
                mean=jnp.asarray(mean),
                log_std=jnp.asarray(log_std),
            )
            yield Expected(retained, params, _energy(values, retained, latent, g, beta), negative)


def global_minimum(X: ArrayLike, latent: int, gamma: ArrayLike | None = None, beta: ArrayLike = 1.0) -> Array:
    """Energy of the affine model's global minimum.

    It is -inf where gamma is learned and r <= latent directions, with beta r < d, span the data. Otherwise it keeps the
    leading directions, as many as have lambda > beta gamma (Tipping & Bishop 1999 for beta = 1). X, gamma and beta may be
    traced.
    """
    # A known X is decomposed here and now, by NumPy, and only its eigenvalues enter a program that is being traced.
    xp, Z = (jnp, X) if isinstance(X, jax.core.Tracer) else (np, np.asarray(X, np.float64))
    values = jnp.asarray(xp.linalg.eigvalsh(xp.atleast_2d(xp.cov(Z.T, bias=True)))[::-1])
    values = jnp.where(values > len(values) * jnp.finfo(values.dtype).eps * values[0], values, 0.0)
    d, beta = len(values), jnp.asarray(beta, values.dtype)
    energies = []
    for size in range(min(latent, d) + 1):
        kept, rest = values[:size], jnp.sum(values[size:])
        free = d - beta * size  # learned gamma: stationary at rest / free, and unbounded below for rest = 0 < free
        positive = jnp.where(free > 0, free, 1.0)
        g = jnp.where(free > 0, rest / positive, 0.0) if gamma is None else jnp.asarray(gamma, values.dtype)
        safe = jnp.where(g > 0, g, 1.0)
        gain = jnp.sum(jnp.log(jnp.where(kept > 0, kept, 1.0) / (beta * safe)))
        energy = d * jnp.log(safe) + rest / safe + beta * (size + latent + gain)
        admissible = (g > 0) & jnp.all(kept > beta * g)
        unbounded = (rest == 0) & (free > 0) & (gamma is None)
        energies.append(jnp.where(unbounded, -jnp.inf, jnp.where(admissible, energy, jnp.inf)))
    return jnp.min(jnp.stack(energies))


def collapse_radius(
    X: ArrayLike, alpha: ArrayLike, gamma: ArrayLike | None = None, beta: ArrayLike = 1.0, slack: float = 0.01
) -> CollapseRadius:
    """How far around the collapsed point, at alpha > 0, no energy is lower: a certificate that it is a local minimum.

    With rows no longer than rho the cross term of the squared error cannot outweigh the second moment of the thresholded
    decoder plus the KL term if, for every standard deviation s = alpha / a that a row can have,

        R e^(2 tau) [Q(a - delta) + Q(a + delta)]^2 <= 2 h2(a),     delta = e^tau r,  R = (max ||x_i - xbar|| + c)^2 / (beta g)

    with tau, r, c, g the region's bounds and Q, h2 Gaussian tail integrals. `slack` sets those: tau = r = slack,
    c = slack sqrt(gammabar), g = gammabar e^-slack (or gamma, where that is fixed). The limit for slack -> 0 is
    alpha / a*, with 2 R Q(a*)^2 = h2(a*). Zero at alpha = 0. X (n, d) and alpha may be traced.
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
            q = moments.tail(jnp.abs(a - delta)).probability
            q = jnp.where(a > delta, q, 1 - q) + moments.tail(a + delta).probability
            return jnp.log(ratio) + 2 * tau + 2 * jnp.log(q) <= jnp.log(2 * moments.tail(a).second)

        def halve(_, bracket):
            low, high = bracket
            middle = jnp.sqrt(low * high)
            return jnp.where(holds(middle), low, middle), jnp.where(holds(middle), middle, high)

        # At 30 standard deviations the tails allow every R below e^400. Where R < 1 (large gamma or beta) every a is
        # allowed and the lower bound comes back. 100 halvings take log a to rounding.
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
    """Whether a point with those dead rows (d,) lies in the region in which the collapsed point is lowest."""
    return (
        jnp.all(dead)
        & (jnp.max(jnp.abs(params.log_std)) <= region.log_std)
        & (jnp.max(jnp.linalg.norm(params.mean, axis=1)) <= region.mean)
        & (jnp.linalg.norm(params.bias - center) <= region.bias)
    )
