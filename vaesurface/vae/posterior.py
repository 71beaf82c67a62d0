"""Which Gaussian posteriors may a datum have, and what does the energy need to know of them?

The energy of an elementwise decoder depends on a datum's posterior N(mu, Sigma) through the mean
and variance of w.z for each row w of the decoder, and through its divergence from the prior,

    tr Sigma - log det Sigma + |mu|^2,

k more than twice the KL divergence in nats. Three families of Sigma: `DIAGONAL`; `FULL`, L L' with
L lower triangular; `low_rank`, diag(sigma^2) + F F'. A posterior is a value without arrays, and
what it needs for one datum, next to the mean, are its `spread`: (log_std,), which for FULL are the
logarithms of the diagonal of L, and factor, the rows of L left of its diagonal, one after the
other, or F.

>>> spread = jnp.log(jnp.array([1.0, 2.0])), jnp.array([0.5])
>>> print(FULL.covariance(*spread))
[[1.   0.5 ]
 [0.5  4.25]]
>>> w = jnp.array([1.0, 1.0])
>>> print(FULL.variance(w, *spread), FULL.divergence(jnp.zeros(2), *spread).round(3))
6.25 3.864
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface import energy
from vaesurface.energy import VAEParams
from vaesurface.problem import Symmetry
from vaesurface.refusal import whole

__all__ = [
    "DIAGONAL",
    "FULL",
    "TIED",
    "Diagonal",
    "Full",
    "LowRank",
    "Posterior",
    "Tied",
    "low_rank",
]


class Posterior:
    """A family of Gaussian posteriors. Methods are of one datum's mean (k,) and spread but for
    those that take `VAEParams`.
    """

    name: str
    # Whether a latent's posterior is its own, so that mean and log_std say all.
    independent = False
    # Whether all data have one covariance, whatever the parameters.
    tied = False

    def require(self, latent: int) -> None:
        """Refuse a number of latents that there are no such posteriors of. Raises ValueError."""

    def require_independent(self) -> None:
        """Refuse what a mean and a deviation per latent do not describe. Raises ValueError."""
        if not self.independent:
            raise ValueError(
                f"expected a diagonal posterior, of which mean and log_std say all, got "
                f"{self.name}; take a problem with posterior=DIAGONAL"
            )

    def spread(self, mean: Array) -> tuple[Array, ...]:
        """Of posteriors (n, ...) that are the prior; mean (n, k): their shape."""
        raise NotImplementedError("expected a posterior, got none; write its method spread")

    def start(self, key: Array, mean: Array, scale: ArrayLike) -> tuple[Array, ...]:
        """Spread (n, ...) that a run starts with: the prior's, unless nothing leads away from
        there.
        """
        return self.spread(mean)

    def variance(self, weight: Array, *spread: Array) -> Array:
        """(), of w.z for a row w (k,)."""
        raise NotImplementedError("expected a posterior, got none; write its method variance")

    def divergence(self, mean: Array, *spread: Array) -> Array:
        """(), tr Sigma - log det Sigma + |mu|^2."""
        raise NotImplementedError("expected a posterior, got none; write its method divergence")

    def root(self, *spread: Array) -> Array:
        """(k, m), R with R R' = Sigma: R eps + mu is a draw, for eps (m,) of N(0, I)."""
        raise NotImplementedError("expected a posterior, got none; write its method root")

    def noise(self, latent: int) -> int:
        """m, of `root`."""
        return latent

    def draw(self, mean: Array, *spread: Array, eps: Array) -> Array:
        """(k,), mu + R eps."""
        return mean + self.root(*spread) @ eps

    def scaled(self, weight: Array, *spread: Array) -> Array:
        """(rows, k), W C for a C (k, k) with C C' = Sigma: what W z - W mu is of N(0, I)."""
        return weight @ jnp.linalg.cholesky(self.covariance(*spread))

    def covariance(self, *spread: Array) -> Array:
        """(k, k), Sigma."""
        root = self.root(*spread)
        return root @ root.T

    def widths(self, *spread: Array) -> Array:
        """(k,), logarithms of the standard deviations along the principal axes of Sigma."""
        return 0.5 * jnp.log(jnp.linalg.eigvalsh(self.covariance(*spread)))

    def axes(self, weight: Array) -> Array:
        """(k, k), as columns: directions in z that latents are told apart along, by the decoder
        (d, k) where the posterior has none of its own.
        """
        return jnp.eye(weight.shape[1], dtype=weight.dtype)

    def information(self, params: VAEParams) -> Array:
        """(k,), twice the KL divergence in nats of each latent's marginal, mean over data; along
        `axes`. What latents share, their total correlation, is left out.
        """
        axes = self.axes(params.weight)

        def marginal(mean: Array, *spread: Array) -> tuple[Array, Array]:
            root = axes.T @ self.root(*spread)
            return axes.T @ mean, 0.5 * jnp.log(jnp.sum(root**2, axis=1))

        return energy.information(*jax.vmap(marginal)(*local(params)))

    def symmetry(self, n: int, latent: int) -> Symmetry | None:
        """What may be done to latents or posteriors by numbers without a change of the energy,
        whatever the elementwise decoder; n: data.
        """
        return None

    def family(self, rank: Array) -> Array:
        """Dimensions, of rotations of `rank` latents within equal eigenvalues of the data, that
        are the symmetry's.
        """
        return jnp.zeros_like(rank)

    @property
    def idle(self) -> int:
        """Numbers per latent that do nothing to the energy, to second order, at the prior."""
        return 0

    def latents(self, params: VAEParams) -> tuple[Array, Array, Array]:
        """As `Problem.latents` of what weight and posteriors are, without bias and gamma."""
        raise NotImplementedError("expected a posterior, got none; write its method latents")

    def relabel(self, order: Array, sign: Array, *spread: Array) -> tuple[Array, ...]:
        """Of latents sign[j] z[order[j]]."""
        raise NotImplementedError("expected a posterior, got none; write its method relabel")

    def restrict(self, keep: Array, *spread: Array) -> tuple[Array, ...]:
        """Those of latents in keep (k,) as they are, the others independent and the prior."""
        raise NotImplementedError("expected a posterior, got none; write its method restrict")


def local(params: VAEParams) -> tuple[Array, ...]:
    """Mean and spread of all posteriors."""
    both = params.mean, params.log_std
    return both if params.factor is None else (*both, params.factor)


@dataclass(frozen=True)
class Diagonal(Posterior):
    """Sigma = diag(sigma^2)."""

    name = "diagonal"
    independent = True

    def spread(self, mean: Array) -> tuple[Array, ...]:
        """(log_std,)."""
        return (jnp.zeros_like(mean),)

    def variance(self, weight: Array, *spread: Array) -> Array:
        """sum_j w_j^2 sigma_j^2."""
        (log_std,) = spread
        return jnp.dot(jnp.exp(2.0 * log_std), weight**2)

    def divergence(self, mean: Array, *spread: Array) -> Array:
        """sum_j sigma_j^2 - log sigma_j^2 + mu_j^2."""
        (log_std,) = spread
        return jnp.sum(energy.divergence(mean, log_std))

    def root(self, *spread: Array) -> Array:
        """diag(sigma)."""
        return jnp.diag(jnp.exp(spread[0]))

    def draw(self, mean: Array, *spread: Array, eps: Array) -> Array:
        """mu + sigma eps."""
        return mean + jnp.exp(spread[0]) * eps

    def scaled(self, weight: Array, *spread: Array) -> Array:
        """W diag(sigma)."""
        return weight * jnp.exp(spread[0])[None]

    def widths(self, *spread: Array) -> Array:
        """log sigma."""
        return spread[0]

    def information(self, params: VAEParams) -> Array:
        """(k,), twice the KL divergence per latent, mean over data."""
        return energy.information(params.mean, params.log_std)

    def latents(self, params: VAEParams) -> tuple[Array, Array, Array]:
        """Weight and means are odd under a latent's sign flip, deviations even."""
        odd = jnp.concatenate([params.weight, params.mean])
        return odd.T, params.log_std.T, jnp.zeros(0, odd.dtype)

    def relabel(self, order: Array, sign: Array, *spread: Array) -> tuple[Array, ...]:
        """A deviation has no sign."""
        return (spread[0][order],)

    def restrict(self, keep: Array, *spread: Array) -> tuple[Array, ...]:
        """log sigma at 0."""
        return (jnp.where(keep, spread[0], 0.0),)


@dataclass(frozen=True)
class Tied(Diagonal):
    """The same sigma for all data: what an encoder makes whose deviations do not see them."""

    name = "tied"
    tied = True


@dataclass(frozen=True)
class Full(Posterior):
    """Sigma = L L', L lower triangular with diagonal exp(log_std).

    Rotations of the latents, W R and R' z, change nothing: k (k - 1) / 2 directions.
    """

    name = "full"

    def spread(self, mean: Array) -> tuple[Array, ...]:
        """(log_std, factor): k and k (k - 1) / 2 numbers."""
        n, k = mean.shape
        return jnp.zeros_like(mean), jnp.zeros((n, k * (k - 1) // 2), mean.dtype)

    def variance(self, weight: Array, *spread: Array) -> Array:
        """|L' w|^2."""
        return jnp.sum((weight @ self.root(*spread)) ** 2)

    def divergence(self, mean: Array, *spread: Array) -> Array:
        """|L|^2 - 2 sum_j log L_jj + |mu|^2."""
        log_std, factor = spread
        return jnp.sum(energy.divergence(mean, log_std)) + jnp.sum(factor**2)

    def root(self, *spread: Array) -> Array:
        """L."""
        log_std, factor = spread
        rows, columns = jnp.tril_indices(len(log_std), -1)
        return jnp.diag(jnp.exp(log_std)).at[rows, columns].set(factor)

    def scaled(self, weight: Array, *spread: Array) -> Array:
        """W L."""
        return weight @ self.root(*spread)

    def axes(self, weight: Array) -> Array:
        """Those of W'W, longest first: no others are the decoder's own."""
        return jnp.linalg.eigh(weight.T @ weight)[1][:, ::-1]

    def symmetry(self, n: int, latent: int) -> Symmetry | None:
        """Rotations."""
        size = latent * (latent - 1) // 2
        return Symmetry(size=size, move=_rotated) if size else None

    def family(self, rank: Array) -> Array:
        """Those of the retained latents among each other."""
        return rank * (rank - 1) / 2

    def latents(self, params: VAEParams) -> tuple[Array, Array, Array]:
        """What no rotation changes, which is all that the energy sees: means and variances of W z,
        and what the posteriors cost.
        """

        def datum(mean: Array, *spread: Array) -> Array:
            root = self.root(*spread)
            center, scaled = params.weight @ mean, params.weight @ root
            costs = jnp.stack([mean @ mean, jnp.sum(root**2), jnp.sum(spread[0])])
            return jnp.concatenate([center, jnp.sum(scaled**2, axis=1), costs])

        none = jnp.zeros((0, 0), params.weight.dtype)
        return none, none, jax.vmap(datum)(*local(params)).ravel()

    def relabel(self, order: Array, sign: Array, *spread: Array) -> tuple[Array, ...]:
        """Rows of L, made triangular again."""
        return _packed(_triangular(self.root(*spread)[order] * sign[:, None]))

    def restrict(self, keep: Array, *spread: Array) -> tuple[Array, ...]:
        """Their rows of L, and of the unit matrix the others'."""
        kept = jnp.where(keep[:, None], self.root(*spread), 0.0)
        return _packed(_triangular(jnp.concatenate([kept, jnp.diag(1.0 - keep)], axis=1)))


@dataclass(frozen=True)
class LowRank(Posterior):
    """Sigma = diag(sigma^2) + F F', F (k, rank).

    F Q is as good as F for a rotation Q of a datum's own, rank (rank - 1) / 2 directions each, and
    -F for F: so F = 0 is stationary in F, and at the prior flat to second order. The best of these
    may not exist, as in factor analysis (Heywood's cases): a sigma runs to 0 while F F' keeps
    Sigma, and the energy, finite.
    """

    rank: int

    name = "low rank"

    def require(self, latent: int) -> None:
        """Fewer numbers than a full covariance has: as many, and near most covariances all others
        are of that form too, so that there is one energy twice over, and rotations without a name.
        """
        k, r = latent, self.rank
        if (k - r) ** 2 <= k + r:
            raise ValueError(
                f"expected a rank r with (k - r)^2 > k + r for k = {k} latents, got {r}, which has "
                "no fewer numbers than a full covariance; take a lower rank or a full posterior"
            )

    def spread(self, mean: Array) -> tuple[Array, ...]:
        """(log_std, factor): k and k rank numbers."""
        return jnp.zeros_like(mean), jnp.zeros((*mean.shape, self.rank), mean.dtype)

    def start(self, key: Array, mean: Array, scale: ArrayLike) -> tuple[Array, ...]:
        """Entries of F are scale times standard normal: no gradient leads away from 0."""
        log_std, factor = self.spread(mean)
        return log_std, jnp.asarray(scale) * jax.random.normal(key, factor.shape, factor.dtype)

    def variance(self, weight: Array, *spread: Array) -> Array:
        """sum_j w_j^2 sigma_j^2 + |F' w|^2."""
        log_std, factor = spread
        own = jnp.dot(jnp.exp(2.0 * log_std), weight**2)
        return own + jnp.sum((weight @ factor) ** 2)

    def divergence(self, mean: Array, *spread: Array) -> Array:
        """log det Sigma = sum_j log sigma_j^2 + log det(I + F' diag(sigma^-2) F)."""
        log_std, factor = spread
        inner = factor.T @ (factor * jnp.exp(-2.0 * log_std)[:, None])
        own = jnp.sum(energy.divergence(mean, log_std)) + jnp.sum(factor**2)
        return own - _log_det_from_one(inner)

    def root(self, *spread: Array) -> Array:
        """diag(sigma) and F, side by side."""
        log_std, factor = spread
        return jnp.concatenate([jnp.diag(jnp.exp(log_std)), factor], axis=1)

    def noise(self, latent: int) -> int:
        """k + rank."""
        return latent + self.rank

    def symmetry(self, n: int, latent: int) -> Symmetry | None:
        """Rotations of each F's columns."""
        size = n * self.rank * (self.rank - 1) // 2
        return Symmetry(size=size, move=_turned) if size else None

    @property
    def idle(self) -> int:
        """A row of F."""
        return self.rank

    def latents(self, params: VAEParams) -> tuple[Array, Array, Array]:
        """Of F, whose columns have no axes and no sign of their own, the lengths of its rows; and
        variances of W z, which the rest of it shows in.
        """
        assert params.factor is not None
        odd = jnp.concatenate([params.weight, params.mean])
        even = jnp.concatenate([params.log_std, jnp.linalg.norm(params.factor, axis=2)])
        along = jnp.einsum("dk,nkr->ndr", params.weight, params.factor)
        return odd.T, even.T, jnp.sum(along**2, axis=2).ravel()

    def relabel(self, order: Array, sign: Array, *spread: Array) -> tuple[Array, ...]:
        """Rows of F have a sign."""
        log_std, factor = spread
        return log_std[order], factor[order] * sign[:, None]

    def restrict(self, keep: Array, *spread: Array) -> tuple[Array, ...]:
        """Rows of F at zero."""
        log_std, factor = spread
        return jnp.where(keep, log_std, 0.0), jnp.where(keep[:, None], factor, 0.0)


DIAGONAL, TIED, FULL = Diagonal(), Tied(), Full()


def low_rank(rank: int) -> LowRank:
    """diag(sigma^2) + F F' for k latents with (k - rank)^2 > k + rank (Ledermann 1937), so k >= 4.
    Raises ValueError.
    """
    return LowRank(rank=whole("rank", rank, least=1))


def _log_det_from_one(inner: Array) -> Array:
    """log det(I + A) of a small A, symmetric and nonnegative, by elimination."""
    total = jnp.zeros((), inner.dtype)
    while len(inner):
        pivot, row = inner[0, 0], inner[0, 1:]
        total = total + jnp.log1p(pivot)
        inner = inner[1:, 1:] - jnp.outer(row, row) / (1.0 + pivot)
    return total


def _triangular(root: Array) -> Array:
    """L (k, k), lower triangular with a positive diagonal, L L' = R R' for R (k, m), m >= k."""
    upper = jnp.linalg.qr(root.T, mode="r")
    return upper.T * jnp.where(jnp.diagonal(upper) < 0, -1.0, 1.0)[None]


def _packed(lower: Array) -> tuple[Array, Array]:
    """The spread of `FULL` for L (k, k)."""
    rows, columns = jnp.tril_indices(len(lower), -1)
    return jnp.log(jnp.diagonal(lower)), lower[rows, columns]


def _rotation(t: Array, size: int) -> Array:
    """(size, size), Cayley's of the antisymmetric matrix with t below the diagonal."""
    rows, columns = jnp.tril_indices(size, -1)
    half = jnp.zeros((size, size), t.dtype).at[rows, columns].set(0.5 * t)
    skew, one = half - half.T, jnp.eye(size, dtype=t.dtype)
    return jnp.linalg.solve(one - skew, one + skew)


def _rotated(params: VAEParams, t: Array) -> VAEParams:
    """W R, and posteriors of R' z."""
    rotation = _rotation(t, params.weight.shape[1])

    def spread(*spread: Array) -> tuple[Array, Array]:
        return _packed(_triangular(rotation.T @ FULL.root(*spread)))

    moved = jax.vmap(spread)(*local(params)[1:])
    weight, mean = params.weight @ rotation, params.mean @ rotation
    return energy.params_of(weight, params.bias, params.log_gamma, mean, *moved)


def _turned(params: VAEParams, t: Array) -> VAEParams:
    """F Q, with every datum's own Q."""
    assert params.factor is not None
    n, _, rank = params.factor.shape

    def each(factor: Array, t: Array) -> Array:
        return factor @ _rotation(t, rank)

    spread = params.log_std, jax.vmap(each)(params.factor, t.reshape(n, -1))
    return energy.params_of(params.weight, params.bias, params.log_gamma, params.mean, *spread)
