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

from vaesurface import data
from vaesurface.energy import VAEParams
from vaesurface.refusal import LARGEST, shown, whole
from vaesurface.theory import doors

__all__ = [
    "Expected",
    "Optimum",
    "affine_optimum",
    "centered",
    "eigenvalues",
    "family",
    "global_minimum",
    "stationary_points",
]

EQUAL_ULPS = (
    8  # times max(n, d): singular values that differ by fewer units of the largest's rounding
)
# Share of a unit column, squared, from which on it has a part within an eigenvalue's directions.
RETAINED = 1e-8


class Expected(NamedTuple):
    """A stationary point of the affine model.

    retained: principal directions in use, 0 the leading one.
    params: the point.
    loss: its energy.
    negative: its number of negative Hessian eigenvalues over all parameters, exact for distinct
        eigenvalues of the covariance.
    """

    retained: tuple[int, ...]
    params: VAEParams
    loss: float
    negative: int


class Optimum(NamedTuple):
    """Global minimum of the affine model.

    kept: (), the number of principal directions in use.
    gamma: (), the decoder variance; zero where the energy has no lower bound.
    energy: (), -inf there.
    """

    kept: Array
    gamma: Array
    energy: Array


class _Spectrum(NamedTuple):
    """Of the covariance of data (n, d).

    center: (d,), their mean.
    values: (d,), its eigenvalues, descending.
    directions: (d, d), its eigenvectors, as columns.
    """

    center: np.ndarray
    values: np.ndarray
    directions: np.ndarray


def centered(X: Any) -> tuple[Any, Any]:
    """Mean (d,) of X (n, d) and deviations (n, d) from it: twice, as the first mean's rounding
    would be another principal direction.
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
    if not isinstance(X, jax.core.Tracer):
        known = data.reals(X, "X")
        squared = np.abs(known).max(initial=0.0) <= LARGEST
        if known.ndim != 2 or not len(known) or not squared:
            raise ValueError(
                f"expected finite data (n, d) of at most {LARGEST:g} in size, got shape "
                f"{known.shape}; give one row per datum, in other units"
            )
        X = X if isinstance(X, jax.Array) else known
    xp = _namespace(X)
    n, d = np.shape(X)
    if not d:
        return xp.zeros(0)
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


def family(X: Array, weight: Array) -> Array:
    """Dimension () of the family of stationary points of one energy that a stationary point with
    this weight (d, k) is one of, gamma fixed or learned.

    The energy with posteriors at their best depends on X through its covariance alone, which a
    rotation within the m directions of one eigenvalue leaves as it is. Those rotations move a
    weight of rank r within them in

        m r - r (r + 1) / 2

    dimensions; the sum over eigenvalues, equal ones being those that rounding cannot tell apart.
    """
    _, Z = centered(X)
    _, singular, directions = jnp.linalg.svd(jnp.linalg.qr(Z, mode="r"), full_matrices=False)
    apart = EQUAL_ULPS * max(X.shape) * jnp.finfo(X.dtype).eps * singular[0]
    group = jnp.cumsum(jnp.abs(jnp.diff(singular, prepend=singular[:1])) > apart)
    length = jnp.linalg.norm(weight, axis=0)
    parts = directions @ (weight / jnp.where(length > 0, length, 1.0)[None])
    squares = parts[:, :, None] * parts[:, None]
    count = len(singular)
    sizes = jax.ops.segment_sum(jnp.ones(count), group, count)
    gram = jax.ops.segment_sum(squares, group, count)
    rank = jnp.sum(jnp.linalg.eigvalsh(gram) > RETAINED, axis=1)
    return jnp.sum(sizes * rank - rank * (rank + 1) / 2).astype(int)


def stationary_points(
    X: np.ndarray, latent: int, gamma: float | None = None, beta: float = 1.0
) -> Iterator[Expected]:
    """Stationary points of the affine model whose weight columns are principal directions, fewest
    columns first.

    One for every set of at most `latent` directions with lambda > beta gamma; gamma=None is
    learned. Rotations within the retained directions add saddles that are not listed.
    """
    X = np.asarray(doors.matrix(X), np.float64)
    latent = _checked(latent, gamma, beta)
    return _listed(X, latent, gamma, beta)


def _listed(X: np.ndarray, latent: int, gamma: float | None, beta: float) -> Iterator[Expected]:
    """Them, one after the other."""
    spectrum = _spectrum(X)
    d, values = X.shape[1], spectrum.values
    for size in range(min(latent, d) + 1):
        for retained in combinations(range(d), size):
            kept, others = values[list(retained)], np.delete(values, list(retained))
            rest = others.sum()
            variance = float(_learned(d, size, rest, beta)) if gamma is None else gamma
            if not variance > 0 or np.any(kept <= beta * variance):
                continue
            logs = np.log(kept).sum()
            params = _point(X, spectrum, retained, latent, beta * variance)
            if gamma is None:
                params = params._replace(log_gamma=jnp.asarray(math.log(variance), float))
            yield Expected(
                retained=retained,
                params=params,
                loss=float(_energy(d, latent, size, rest, logs, variance, beta)),
                negative=_index(kept, others, latent, beta * variance),
            )


def global_minimum(
    X: ArrayLike, latent: int, gamma: ArrayLike | None = None, beta: ArrayLike = 1.0
) -> Array:
    """Energy of the affine model's global minimum, -inf where it has no lower bound: see
    `affine_optimum`.

    X, gamma and beta may be traced. O(n d^2) in time.
    """
    # An X that is not traced is decomposed at once, by NumPy, and only its eigenvalues enter a
    # program that is being traced.
    X = doors.matrix(X)
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
    latent = _checked(latent, gamma, beta)
    if not isinstance(values, jax.core.Tracer):
        values = _checked_values(values)
    # Without JAX's arrays it is NumPy's, and in float64 whatever JAX is set to.
    xp = _namespace(values, gamma, beta)
    lambdas = xp.asarray(values, float)
    d, b = len(lambdas), xp.asarray(beta, lambdas.dtype)
    # One candidate for every number of leading directions kept.
    size = xp.arange(min(latent, d) + 1)
    least = xp.where(size > 0, lambdas[size - 1], xp.inf)
    rest = xp.append(xp.cumsum(lambdas[::-1])[::-1], 0.0)[size]
    logs = xp.append(0.0, xp.cumsum(xp.log(xp.where(lambdas > 0, lambdas, 1.0))))[size]
    g = _learned(d, size, rest, b) if gamma is None else xp.full_like(rest, gamma)
    energy = _energy(d, latent, size, rest, logs, xp.where(g > 0, g, 1.0), b)
    energy = xp.where((g > 0) & (least > b * g), energy, xp.inf)
    if gamma is None:
        energy = xp.where((rest == 0) & (b * size < d), -xp.inf, energy)
    best = xp.argmax(energy <= xp.min(energy) + slack)
    return Optimum(kept=best, gamma=g[best], energy=energy[best])


def _checked(latent: Any, gamma: Any, beta: Any) -> int:
    """The number of latents; raises ValueError for one that is none, or gamma, beta out of
    range.
    """
    if gamma is not None:
        doors.positive("gamma", gamma, ", or None to learn it")
    doors.positive("beta", beta)
    return whole("latents", latent, least=0)


NEGATIVE = 1e-9  # of the largest eigenvalue: what rounding leaves below zero


def _checked_values(values: Any) -> Any:
    """Eigenvalues (d,), of JAX where they were. Raises ValueError for what are none."""
    known = data.reals(values, "values")
    vector = known.ndim == 1 and known.size and np.isfinite(known).all()
    if not vector or known.min() < -NEGATIVE * known.max():
        raise ValueError(
            f"expected eigenvalues (d,) >= 0, got {shown(values)}; give a covariance's"
        )
    return values if isinstance(values, jax.Array) else known


def _namespace(*arrays: Any) -> Any:
    """jax.numpy where one of the arrays is JAX's, else numpy."""
    return jnp if any(isinstance(a, jax.Array) for a in arrays) else np


def _spectrum(X: np.ndarray) -> _Spectrum:
    center, Z = centered(X)
    directions = np.linalg.svd(Z, full_matrices=len(X) < X.shape[1])[2]
    return _Spectrum(center=center, values=eigenvalues(X), directions=directions.T)


def _learned(d: int, kept: Any, rest: Any, beta: Any) -> Any:
    """gamma = rest / (d - beta |J|), for kept = |J| directions and the other eigenvalues' sum; 0
    where no gamma is stationary.
    """
    xp = _namespace(rest, beta)
    free = d - beta * kept
    return xp.where(free > 0, rest / xp.where(free > 0, free, 1.0), 0.0)


def _energy(d: int, latent: int, kept: Any, rest: Any, logs: Any, gamma: Any, beta: Any) -> Any:
    """d log gamma + rest / gamma + beta (kappa + |J| + sum_J log(lambda_j / (beta gamma)))

    of `kept` = |J| directions whose log lambda_j sum to `logs`, the other eigenvalues to `rest`.
    """
    xp = _namespace(rest, gamma, beta)
    gain = logs - kept * xp.log(beta * gamma)
    return d * xp.log(gamma) + rest / gamma + beta * (kept + latent + gain)


def _index(kept: np.ndarray, others: np.ndarray, latent: int, threshold: float) -> int:
    """Number of negative Hessian eigenvalues, at threshold = beta gamma:

        sum_{j in J} #{l not in J: lambda_l > lambda_j}
            + (kappa - |J|) #{l not in J: lambda_l > threshold}

    (Derived here, checked against dense Hessians.)
    """
    better = int(np.sum(others[None] > kept[:, None]))
    return better + (latent - len(kept)) * int(np.sum(others > threshold))


def _point(
    X: np.ndarray, spectrum: _Spectrum, retained: Sequence[int], latent: int, threshold: float
) -> VAEParams:
    """The stationary point, gamma fixed, at threshold = beta gamma:

    w_j = sqrt(lambda_j - threshold) u_j,  sigma_j^2 = threshold / lambda_j,
    mu_ij = sigma_j^2 w_j.(x_i - xbar) / threshold
    """
    center, values, directions = spectrum
    weight = np.zeros((X.shape[1], latent))
    log_std = np.zeros((len(X), latent))
    for column, j in enumerate(retained):
        weight[:, column] = math.sqrt(values[j] - threshold) * directions[:, j]
        log_std[:, column] = 0.5 * math.log(threshold / values[j])
    mean = np.exp(2 * log_std) * ((X - center) @ weight) / threshold
    return VAEParams(
        weight=jnp.asarray(weight),
        bias=jnp.asarray(center),
        log_gamma=None,
        mean=jnp.asarray(mean),
        log_std=jnp.asarray(log_std),
    )
