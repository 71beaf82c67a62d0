"""What does the spectrum of the data's covariance say of affine VAEs?

Needs no JAX, and takes its arrays, traced or not, where it is loaded: beside another framework a
diagnosis rests on this alone. X is (n, d); lambda are the eigenvalues of its covariance (1/n);
energies in the paper's units, mean per datum.

>>> best = affine_optimum([4.0, 1.0, 1.0], latent=2)
>>> int(best.kept), float(best.gamma)
(1, 1.0)
"""

import math
import sys
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from vaesurface import data
from vaesurface.refusal import LARGEST, is_traced, shown, whole
from vaesurface.theory import doors

__all__ = [
    "Optimum",
    "affine_optimum",
    "centered",
    "checked",
    "eigenvalues",
    "energy_of",
    "learned_gamma",
]


class Optimum(NamedTuple):
    """Global minimum of the affine model.

    kept: (), the number of principal directions in use.
    gamma: (), the decoder variance; zero where the energy has no lower bound.
    energy: (), -inf there.
    """

    kept: Any
    gamma: Any
    energy: Any


def centered(X: Any) -> tuple[Any, Any]:
    """Mean (d,) of X (n, d) and deviations (n, d) from it: twice, as the first mean's rounding
    would be another principal direction.
    """
    center = X.mean(axis=0)
    center = center + (X - center[None]).mean(axis=0)
    Z = X - center[None]
    return center, Z - Z.mean(axis=0)[None]


def eigenvalues(X: npt.ArrayLike) -> Any:
    """Eigenvalues (d,) of the covariance of X (n, d), descending, and exactly zero beyond the rank
    of the data up to rounding.

    They are squared singular values, down to eps^2 of the largest where eigenvalues of the
    covariance end at eps; with the largest features first LAPACK keeps the digits of small ones on
    top. The rank does not depend on the features' units: each is counted in units in the last place
    of its largest number, and what is below the norm of so much random rounding of the data, or
    below that of the decomposition itself, is zero.
    """
    if not is_traced(X):
        known = data.reals(X, "X")
        squared = np.abs(known).max(initial=0.0) <= LARGEST
        if known.ndim != 2 or not len(known) or not squared:
            raise ValueError(
                f"expected finite data (n, d) of at most {LARGEST:g} in size, got shape "
                f"{known.shape}; give one row per datum, in other units"
            )
        X = X if _namespace(X) is not np else known
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


def affine_optimum(
    values: npt.ArrayLike,
    latent: int,
    gamma: npt.ArrayLike | None = None,
    beta: npt.ArrayLike = 1.0,
    slack: float = 0.0,
) -> Optimum:
    """The affine model's global minimum over data whose covariance has the eigenvalues values (d,),
    descending.

    The energy is -inf, and gamma zero, where gamma is learned and r <= latent directions, with beta
    r < d, are all that is not zero. Otherwise it keeps the leading directions, as many as have
    lambda > beta gamma (Tipping & Bishop 1999 for beta = 1); with slack, the fewest whose energy is
    within slack of the lowest.
    """
    latent = checked(latent, gamma, beta)
    if not is_traced(values):
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
    g = learned_gamma(d, size, rest, b) if gamma is None else xp.full_like(rest, gamma)
    energy = energy_of(d, latent, size, rest, logs, xp.where(g > 0, g, 1.0), b)
    energy = xp.where((g > 0) & (least > b * g), energy, xp.inf)
    if gamma is None:
        energy = xp.where((rest == 0) & (b * size < d), -xp.inf, energy)
    best = xp.argmax(energy <= xp.min(energy) + slack)
    return Optimum(kept=best, gamma=g[best], energy=energy[best])


def checked(latent: Any, gamma: Any, beta: Any) -> int:
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
    return values if _namespace(values) is not np else known


def _namespace(*arrays: Any) -> Any:
    """jax.numpy where one of the arrays is JAX's, else numpy."""
    jax = sys.modules.get("jax")
    if jax is not None and any(isinstance(a, jax.Array) for a in arrays):
        return jax.numpy
    return np


def learned_gamma(d: int, kept: Any, rest: Any, beta: Any) -> Any:
    """gamma = rest / (d - beta |J|), for kept = |J| directions and the other eigenvalues' sum; 0
    where no gamma is stationary.
    """
    xp = _namespace(rest, beta)
    free = d - beta * kept
    return xp.where(free > 0, rest / xp.where(free > 0, free, 1.0), 0.0)


def energy_of(d: int, latent: int, kept: Any, rest: Any, logs: Any, gamma: Any, beta: Any) -> Any:
    """d log gamma + rest / gamma + beta (kappa + |J| + sum_J log(lambda_j / (beta gamma)))

    of `kept` = |J| directions whose log lambda_j sum to `logs`, the other eigenvalues to `rest`.
    """
    xp = _namespace(rest, gamma, beta)
    gain = logs - kept * xp.log(beta * gamma)
    return d * xp.log(gamma) + rest / gamma + beta * (kept + latent + gain)
