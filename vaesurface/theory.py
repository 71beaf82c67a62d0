"""What is known in closed form about the loss surface, to test everything else against?

For the affine decoder (alpha = 0) all stationary points with principal-direction columns, their
energies and their indices; for the thresholded one (alpha > 0) how far around the collapsed point
nothing is lower; for both a ray along which the energy falls without bound. X is (n, d); lambda are
the eigenvalues of its covariance (1/n); energies in the paper's units, mean per datum. `rows` has
what is known of rows of the weight at zero.

>>> from vaesurface import data
>>> X = data.gaussian(50, [4.0, 2.0, 1.0, 0.5], seed=0)
>>> [(e.retained, e.negative) for e in stationary_points(X, latent=1)]
[((), 2), ((0,), 0), ((1,), 1)]
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import moments
from vaesurface.problem import VAEParams
from vaesurface.thresholding import (
    collapse_threshold as collapse_threshold,
)  # Proposition 5.1, with the rest of theory

# of the largest number of a feature (or alpha): errors of a reconstruction below that are rounding
ULPS = 16


class Expected(NamedTuple):
    """A stationary point of the affine model.

    retained: principal directions in use, 0 the leading one; loss: its energy; negative: its number
    of negative Hessian eigenvalues over all parameters (exact for distinct eigenvalues).
    """

    retained: tuple[int, ...]
    params: VAEParams
    loss: float
    negative: int


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


class Optimum(NamedTuple):
    """Global minimum of the affine model: number of principal directions kept, decoder variance,
    energy.
    """

    kept: Array
    gamma: Array
    energy: Array


class Ray(NamedTuple):
    """Decoders and posteriors along which the energy falls without bound as gamma -> 0; gamma must
    be learned.

    exists: whether one was found. slope: of the energy in log gamma as gamma -> 0. weight (d, k),
    zero in columns that are not needed; bias (d,); mean (n, k). All but exists are NaN where none
    was found.
    """

    exists: Array
    slope: Array
    weight: Array
    bias: Array
    mean: Array

    def at(self, gamma: ArrayLike) -> VAEParams:
        """The ray's point at a decoder variance: posterior variances gamma / (gamma + |w_j|^2), so
        the prior where w_j = 0.
        """
        gamma = jnp.asarray(gamma, self.weight.dtype)
        log_std = -0.5 * jnp.log1p(jnp.sum(self.weight**2, axis=0) / gamma)
        return VAEParams(
            self.weight,
            self.bias,
            jnp.log(gamma),
            self.mean,
            jnp.broadcast_to(log_std[None], self.mean.shape),
        )


def _centered(X: Any) -> tuple[Any, Any]:
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
    _, Z = _centered(X)
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
    center, Z = _centered(X)
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
            q = moments.tail(jnp.abs(a - delta)).probability
            q = jnp.where(a > delta, q, 1 - q) + moments.tail(a + delta).probability
            return jnp.log(ratio) + 2 * tau + 2 * jnp.log(q) <= jnp.log(2 * moments.tail(a).second)

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


@partial(jax.jit, static_argnums=1)
def unbounded_ray(
    X: ArrayLike,
    latent: int,
    alpha: ArrayLike,
    beta: ArrayLike = 1.0,
    lowest: ArrayLike | None = None,
) -> Ray:
    """A ray along which the energy tends to minus infinity as gamma -> 0, gamma learned, where one
    is found.

    If W mu_i = M_i = x_i - b + alpha sign(x_i - b) for all i, the decoder reproduces the data
    through the threshold. With q columns of W and sigma^2 proportional to gamma, the error is
    proportional to gamma too and the posteriors cost -beta q log gamma: the energy's slope in log
    gamma is d - beta q, and the ray exists for beta q < d. Of five biases (the data's mean,
    midrange, zero, minimum and maximum, all per feature) the one that needs the fewest columns is
    taken, and its reconstruction compared with the data: each feature must agree to 16 units in the
    last place of its largest number plus alpha, so what is found is true to rounding
    (`proof.certify_unbounded` knows no rounding). At alpha > 0 "not found" proves nothing: another
    bias may do, or other values of M than 0 where x = b. At alpha = 0 the mean is the best of all
    biases, and there is no ray where `global_minimum` is finite (lowest: its value, if known
    already). X (n, d), alpha and beta may be traced. Jitted.
    """
    X = jnp.asarray(X, float)
    alpha = jnp.asarray(alpha, X.dtype)
    n, d = X.shape
    center, low, high = _centered(X)[0], X.min(axis=0), X.max(axis=0)
    biases = jnp.stack([center, 0.5 * (low + high), jnp.zeros_like(low), low, high])
    rounding = ULPS * jnp.finfo(X.dtype).eps * jnp.max(jnp.abs(X), axis=0)
    tolerance = rounding + ULPS * jnp.finfo(X.dtype).eps * alpha

    def exact(bias: Array, u: Array) -> Array:
        y = jnp.sign(u) * jnp.maximum(jnp.abs(u) - alpha, 0.0)
        return jnp.all(jnp.abs(y + bias[None] - X) <= tolerance[None])

    def factor(bias: Array) -> tuple[Array, Array, Array]:
        """Columns (k, n), rows (k, d) and how many are needed, by Gram-Schmidt on the feature that
        is reproduced worst.
        """
        deviation = jnp.where(jnp.abs(X - bias[None]) > rounding[None], X - bias[None], 0.0)
        M = deviation + alpha * jnp.sign(deviation)

        def peel(rest: Array, _: None) -> tuple[Array, tuple[Array, Array, Array]]:
            square = jnp.sum(rest**2, axis=0)
            worst = jnp.argmax(jnp.sqrt(square) / jnp.where(tolerance > 0, tolerance, 1.0))
            column = rest[:, worst] / jnp.where(square[worst] > 0, jnp.sqrt(square[worst]), 1.0)
            row = column @ rest
            rest = rest - column[:, None] * row[None]
            again = (
                column @ rest
            )  # twice, and nothing along the column is left but the rounding of what is left
            rest = rest - column[:, None] * again[None]
            return rest, (column, row + again, exact(bias, M - rest))

        columns, rows, enough = jax.lax.scan(peel, M, length=latent)[1]
        return columns, rows, jnp.where(jnp.any(enough), jnp.argmax(enough) + 1, latent + 1)

    ranks = jax.lax.map(lambda bias: factor(bias)[2], biases)
    bias = biases[jnp.argmin(ranks)]
    columns, rows, rank = factor(bias)
    used = (jnp.arange(latent) < rank)[:, None]
    weight = jnp.where(used, rows, 0.0).T / jnp.sqrt(1.0 * n)
    mean = jnp.where(used, columns, 0.0).T * jnp.sqrt(1.0 * n)
    slope = d - jnp.asarray(beta, X.dtype) * rank
    exists = (rank <= latent) & (slope > 0) & exact(bias, mean @ weight.T)
    if lowest is None:
        lowest = jax.lax.cond(
            exists & (alpha == 0), lambda: global_minimum(X, latent, None, beta), lambda: -jnp.inf
        )
    exists &= (alpha > 0) | (jnp.asarray(lowest) == -jnp.inf)
    return Ray(exists, *(jnp.where(exists, x, jnp.nan) for x in (slope, weight, bias, mean)))


def ray_slope(loss: Callable[[VAEParams], Array], ray: Ray, gammas: ArrayLike) -> Array:
    """Slopes (m - 1,) in log gamma of the energies measured at points (m,) of a ray: they tend to
    `ray.slope`.
    """
    gammas = jnp.asarray(gammas, ray.slope.dtype)
    energies = jax.lax.map(loss, jax.vmap(ray.at)(gammas))
    return jnp.diff(energies) / jnp.diff(jnp.log(gammas))
