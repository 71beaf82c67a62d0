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
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface.energy import VAEParams
from vaesurface.glance import brief
from vaesurface.refusal import is_traced
from vaesurface.theory import doors
from vaesurface.theory.spectra import (
    affine_optimum,
    centered,
    checked,
    eigenvalues,
    energy_of,
    learned_gamma,
)

__all__ = ["Expected", "family", "global_minimum", "stationary_points"]

EQUAL_ULPS = (
    8  # times max(n, d): singular values that differ by fewer units of the largest's rounding
)
# Share of a unit column, squared, from which on it has a part within an eigenvalue's directions.
RETAINED = 1e-8


@brief("retained", "negative", "loss", "params")
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


class _Spectrum(NamedTuple):
    """Of the covariance of data (n, d).

    center: (d,), their mean.
    values: (d,), its eigenvalues, descending.
    directions: (d, d), its eigenvectors, as columns.
    """

    center: np.ndarray
    values: np.ndarray
    directions: np.ndarray


def family(X: Array, weight: Array, own: Callable[[Array], Array] | None = None) -> Array:
    """Dimension () of the family of stationary points of one energy that a stationary point with
    this weight (d, k) is one of, gamma fixed or learned.

    The energy with posteriors at their best depends on X through its covariance alone, which a
    rotation within the m directions of one eigenvalue leaves as it is. Those rotations move a
    weight of rank r within them in

        m r - r (r + 1) / 2

    dimensions; the sum over eigenvalues, equal ones being those that rounding cannot tell apart.
    own: how many of these, for ranks (groups,), are a symmetry of the posteriors, not counted here.
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
    moved = sizes * rank - rank * (rank + 1) / 2
    return jnp.sum(moved if own is None else moved - own(rank)).astype(int)


def stationary_points(
    X: np.ndarray, latent: int, gamma: float | None = None, beta: float = 1.0
) -> Iterator[Expected]:
    """Stationary points of the affine model whose weight columns are principal directions, fewest
    columns first.

    One for every set of at most `latent` directions with lambda > beta gamma; gamma=None is
    learned. Rotations within the retained directions add saddles that are not listed.
    """
    X = np.asarray(doors.matrix(X), np.float64)
    latent = checked(latent, gamma, beta)
    return _listed(X, latent, gamma, beta)


def _listed(X: np.ndarray, latent: int, gamma: float | None, beta: float) -> Iterator[Expected]:
    """Them, one after the other."""
    spectrum = _spectrum(X)
    d, values = X.shape[1], spectrum.values
    for size in range(min(latent, d) + 1):
        for retained in combinations(range(d), size):
            kept, others = values[list(retained)], np.delete(values, list(retained))
            rest = others.sum()
            variance = float(learned_gamma(d, size, rest, beta)) if gamma is None else gamma
            if not variance > 0 or np.any(kept <= beta * variance):
                continue
            logs = np.log(kept).sum()
            params = _point(X, spectrum, retained, latent, beta * variance)
            if gamma is None:
                params = params._replace(log_gamma=jnp.asarray(math.log(variance), float))
            yield Expected(
                retained=retained,
                params=params,
                loss=float(energy_of(d, latent, size, rest, logs, variance, beta)),
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
    X = X if is_traced(X) else np.asarray(X, np.float64)
    return jnp.asarray(affine_optimum(eigenvalues(X), latent, gamma, beta).energy)


def _spectrum(X: np.ndarray) -> _Spectrum:
    center, Z = centered(X)
    directions = np.linalg.svd(Z, full_matrices=len(X) < X.shape[1])[2]
    return _Spectrum(center=center, values=eigenvalues(X), directions=directions.T)


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
