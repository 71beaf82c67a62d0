"""What are the stationary points of the affine model, and its global minimum?

At alpha = 0 all stationary points with principal-direction columns, their energies and their
indices are known in closed form: what everything else is tested against. X is (n, d); lambda are
the eigenvalues of its covariance (1/n); energies in the paper's units, mean per datum.

>>> from vaesurface import data
>>> X = data.gaussian(50, [4.0, 2.0, 1.0, 0.5], seed=0)
>>> [(e.retained, e.negative) for e in stationary_points(X, latent=1)]
[((), 2), ((0,), 0), ((1,), 1)]
"""

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface.energy import VAEParams

__all__ = [
    "Expected",
    "Optimum",
    "affine_optimum",
    "centered",
    "eigenvalues",
    "global_minimum",
    "stationary_points",
]


class Expected(NamedTuple):
    """A stationary point of the affine model.

    retained: principal directions in use, 0 the leading one; loss: its energy; negative: its number
    of negative Hessian eigenvalues over all parameters (exact for distinct eigenvalues).
    """

    retained: tuple[int, ...]
    params: VAEParams
    loss: float
    negative: int


class Optimum(NamedTuple):
    """Global minimum of the affine model: number of principal directions kept, decoder variance,
    energy.
    """

    kept: Array
    gamma: Array
    energy: Array


def centered(X: Any) -> tuple[Any, Any]:
    """Mean and deviations from it: twice, as the first mean's rounding would be another principal
    direction.
    """
    center = X.mean(axis=0)
    center = center + (X - center[None]).mean(axis=0)
    Z = X - center[None]
    return center, Z - Z.mean(axis=0)[None]


def eigenvalues(X: ArrayLike) -> Any:
    """Eigenvalues (d,) of the covariance of X (n, d), descending, and exactly zero beyond the rank
    of the data up to rounding.

    They are squared singular values, down to eps^2 of the largest where eigenvalues of the
    covariance end at eps; with the largest features first LAPACK keeps the digits of small ones on
    top. The rank does not depend on the features' units: each is counted in units in the last place
    of its largest number, and what is below the norm of so much random rounding of the data, or
    below that of the decomposition itself, is zero.
    """
    xp = jnp if isinstance(X, jax.Array) else np
    n, d = np.shape(X)
    _, Z = centered(X)
    eps = np.finfo(np.float64).eps
    unit = eps * xp.max(xp.abs(X), axis=0)
    order = xp.argsort(-xp.sum(Z**2, axis=0))
    R = xp.linalg.qr(Z[:, order], mode="r")
    singular = xp.linalg.svd(R, compute_uv=False)
    counted = xp.linalg.svd(R / xp.where(unit > 0, unit, 1.0)[order][None], compute_uv=False)
    rank = xp.sum(counted > 4 * (math.sqrt(n) + math.sqrt(d)) + max(n, d) * eps * counted[0])
    values = xp.where(xp.arange(singular.size) < rank, singular**2 / n, 0.0)
    return xp.concatenate([values, xp.zeros(d - singular.size)])


def _spectrum(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, eigenvalues (descending) and directions (columns) of the covariance."""
    center, Z = centered(X)
    directions = np.linalg.svd(Z, full_matrices=len(X) < X.shape[1])[2]
    return center, eigenvalues(X), directions.T


def _gamma(values: np.ndarray, retained: Sequence[int], gamma: float | None, beta: float) -> float:
    if gamma is not None:
        return gamma
    rest = np.delete(values, list(retained)).sum()
    free = len(values) - beta * len(retained)
    return rest / free if free > 0 else math.nan


def _energy(
    values: np.ndarray, retained: Sequence[int], latent: int, gamma: float, beta: float
) -> float:
    rest = np.delete(values, list(retained)).sum()
    gain = np.log(values[list(retained)] / (beta * gamma)).sum()
    return float(
        len(values) * math.log(gamma) + rest / gamma + beta * (len(retained) + latent + gain)
    )


def stationary_points(
    X: np.ndarray, latent: int, gamma: float | None = None, beta: float = 1.0
) -> Iterator[Expected]:
    """Stationary points of the affine model whose weight columns are principal directions, fewest
    columns first.

    One for every set of at most `latent` directions with lambda > beta gamma; gamma=None is
    learned. Rotations within the retained directions add saddles that are not listed. (Index
    formula: derived here, checked against dense Hessians.)
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
                log_gamma=jnp.asarray(math.log(g), float) if gamma is None else None,
                mean=jnp.asarray(mean),
                log_std=jnp.asarray(log_std),
            )
            yield Expected(retained, params, _energy(values, retained, latent, g, beta), negative)


def global_minimum(
    X: ArrayLike, latent: int, gamma: ArrayLike | None = None, beta: ArrayLike = 1.0
) -> Array:
    """Energy of the affine model's global minimum, -inf where it has no lower bound: see
    `affine_optimum`.

    X, gamma and beta may be traced. O(n d^2) in time.
    """
    # A known X is decomposed here and now, by NumPy, and only its eigenvalues enter a program that
    # is being traced.
    X = X if isinstance(X, jax.core.Tracer) else np.asarray(X, np.float64)
    return jnp.asarray(affine_optimum(eigenvalues(X), latent, gamma, beta).energy)


def affine_optimum(
    values: ArrayLike,
    latent: int,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
    slack: float = 0.0,
) -> Optimum:
    """The affine model's global minimum over data whose covariance has the eigenvalues values (d,),
    descending.

    The energy is -inf, and gamma zero, where gamma is learned and r <= latent directions, with beta
    r < d, are all that is not zero. Otherwise it keeps the leading directions, as many as have
    lambda > beta gamma (Tipping & Bishop 1999 for beta = 1); with slack, the fewest whose energy is
    within slack of the lowest.
    """
    # Without JAX's arrays it is NumPy's, and in float64 whatever JAX is set to.
    xp: Any = jnp if any(isinstance(a, jax.Array) for a in (values, gamma, beta)) else np
    known: Any = xp.asarray(values, float)
    d, b = len(known), xp.asarray(beta, known.dtype)
    size = xp.arange(min(latent, d) + 1)
    least = xp.where(size > 0, known[size - 1], xp.inf)  # of the eigenvalues kept
    rest = xp.append(xp.cumsum(known[::-1])[::-1], 0.0)[size]
    logs = xp.append(0.0, xp.cumsum(xp.log(xp.where(known > 0, known, 1.0))))[size]
    free = (
        d - b * size
    )  # learned gamma: stationary at rest / free, and unbounded below for rest = 0 < free
    learned = xp.where(free > 0, rest / xp.where(free > 0, free, 1.0), 0.0)
    g = learned if gamma is None else xp.full_like(rest, gamma)
    safe = xp.where(g > 0, g, 1.0)
    energy = d * xp.log(safe) + rest / safe + b * (size + latent + logs - size * xp.log(b * safe))
    energy = xp.where((g > 0) & (least > b * g), energy, xp.inf)
    if gamma is None:
        energy = xp.where((rest == 0) & (free > 0), -xp.inf, energy)
    best = xp.argmax(energy <= xp.min(energy) + slack)
    return Optimum(best, g[best], energy[best])
