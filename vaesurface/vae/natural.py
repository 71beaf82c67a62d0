"""What is the energy of a VAE with another likelihood than the Gaussian?

The decoder's natural parameter is W z + b, the posterior of each datum a Gaussian with its own mean
and standard deviations. The natural parameter is then Gaussian too, and a datum's term is

    2 (E A(u) - x E u),    u ~ N(w.mu + b, sum_j w_j^2 sigma_j^2)

per coordinate, with A the cumulant function: softplus (Bernoulli), exp (Poisson), log-sum-exp over
the classes of a group (categorical). In twice nats, the constants dropped that depend on x alone:
none of a Bernoulli or a categorical, 2 log x! of a Poisson likelihood. E A is in closed form for
Poisson; else by Gauss and Hermite's rule, over one dimension (Bernoulli; to 1e-12 up to a deviation
of u of 1.5, 1e-10 at 2, 1e-7 at 3, 1e-4 at 5) or over the latents (categorical, at most three).

>>> X = np.array([[1.0, 1.0], [0.0, 0.0]])
>>> problem = elementwise_vae(X, latent=1, likelihood="bernoulli")
>>> print(f"{problem.loss(problem.collapsed()):.6f}")  # four times log 2, and 1 for the posterior
3.772589
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data, energy, shards
from vaesurface.energy import VAEParams
from vaesurface.problem import Autoencoder, Parts, Problem, Symmetry, require_float64
from vaesurface.refusal import shown, whole
from vaesurface.theory import doors
from vaesurface.theory.natural import LIKELIHOODS, require_range
from vaesurface.vae.elementwise import ElementwiseVAE
from vaesurface.vae.threshold import ThresholdVAE, threshold_vae

__all__ = ["CategoricalVAE", "NaturalVAE", "elementwise_vae"]

NODES = {"bernoulli": 64, "poisson": 1, "categorical": 20}  # per dimension of the quadrature
MOST_LATENTS = 3  # of a categorical likelihood: 20^3 nodes per datum
# Mean of a coordinate that is constant, or of a class that does not occur: its natural parameter is
# infinite, and from here on its gradient is below rounding.
FAINT = 1e-15


@jax.custom_jvp
def softplus(u: Array) -> Array:
    """log(1 + e^u), whose derivatives are those of the sigmoid: nowhere kinked, and cheap."""
    return jnp.logaddexp(u, 0.0)


@softplus.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (u,), (du,) = primals, tangents
    return softplus(u), jax.lax.logistic(u) * du


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "gamma", "beta"],
    meta_fields=["latent", "likelihood", "nodes"],
)
@dataclass(frozen=True, eq=False)
class NaturalVAE(ElementwiseVAE):
    """`ElementwiseVAE` with natural parameter W z + b; `elementwise_vae` makes one and checks what
    goes in. gamma is 1 and has no meaning.

    likelihood: "bernoulli" or "poisson".
    nodes: of the quadrature.
    """

    likelihood: str
    nodes: int

    def activation(self, u: Array) -> Array:
        """u itself: the natural parameter is affine."""
        return u

    def moments(self, mean: Array, variance: Array) -> energy.Moments:
        """Of the natural parameter less its bias."""
        return energy.identity(mean, variance)

    def term(
        self,
        row: tuple[Array, Array],
        log_gamma: Array | None,
        local: tuple[Array, Array],
        x: Array,
    ) -> Array:
        """2 (E A(u) - x E u) of one coordinate of one datum."""
        weight, bias = row
        mean, variance = self.reconstruction(weight, *local)
        if self.likelihood == "poisson":
            expected = jnp.exp(mean + bias + 0.5 * variance)
        else:
            expected = energy.quadrature(softplus, self.nodes)(mean + bias, variance).mean
        return 2.0 * (expected - x * (mean + bias))

    def cumulant(self, u: Array) -> Array:
        """A(u) (...), summed over coordinates, of natural parameters u (..., d)."""
        terms = jnp.exp(u) if self.likelihood == "poisson" else softplus(u)
        return jnp.sum(terms, axis=-1)

    def answer(self, u: Array) -> Array:
        """The decoder's mean A'(u) (..., d)."""
        return jnp.exp(u) if self.likelihood == "poisson" else jax.nn.sigmoid(u)

    def link(self, mean: Array) -> Array:
        """The inverse of `answer`, finite where a mean is at the end of its range."""
        below = jnp.log(jnp.maximum(mean, FAINT))
        if self.likelihood == "poisson":
            return below
        return below - jnp.log(jnp.maximum(1.0 - mean, FAINT))

    def collapsed(self) -> VAEParams:
        """W = 0, the mean of the data as the answer, q(z|x) = N(0, I)."""
        return ElementwiseVAE.collapsed(self)._replace(bias=self.link(self.center))

    def init(self, key: Array, scale: ArrayLike = 0.1) -> VAEParams:
        """As `ElementwiseVAE.init`, but for entries of W that are scale times standard normal."""
        start = ElementwiseVAE.init(self, key, scale)
        weight = start.weight / jnp.sqrt(self.gammabar)
        return start._replace(weight=weight, bias=self.link(self.center))

    def size(self, params: VAEParams) -> VAEParams:
        """max(1, |theta|): natural parameters have no unit."""
        return Problem.size(self, params)

    def autoencoder(self, params: VAEParams) -> Autoencoder:
        """The VAE that the parameters make; its expected negative log-likelihood is exact."""
        return Autoencoder(
            data=self.X,
            mean=params.mean,
            log_std=params.log_std,
            decode=partial(self.decode, params),
            gamma=jnp.asarray(self.gamma),
            learned=False,
            beta=self.beta,
            error=partial(self.error, params),
            likelihood=self.likelihood,
            classes=self.classes,
        )

    @property
    def classes(self) -> int:
        """Of a group of coordinates."""
        return 1

    def decode(self, params: VAEParams, z: Array) -> Array:
        """Latents (..., k) to the decoder's mean (..., d)."""
        return self.answer(self._natural(params, z))

    def _natural(self, params: VAEParams, z: Array) -> Array:
        u = z @ params.weight.T
        return u + jnp.broadcast_to(params.bias, u.shape)

    def error(self, params: VAEParams, mean: Array, log_std: Array, x: Array) -> Array:
        """E -log p(x | z) of one datum (d,), nats, for z of that mean and log_std (k,)."""
        rows = self.split(params._replace(mean=mean[None], log_std=log_std[None])).rows
        at = jax.vmap(self.term, (0, None, None, 0))
        return 0.5 * jnp.sum(at(rows, None, (mean, log_std), x.reshape(self.data.shape[1:])))

    def drawn(self, params: VAEParams, x: Array, z: Array) -> Array:
        """As `ElementwiseVAE.drawn`."""
        u = self._natural(params, z)
        terms = jnp.mean(2.0 * (self.cumulant(u) - jnp.sum(x[None] * u, axis=-1)), axis=0)
        penalties = jnp.sum(energy.divergence(params.mean, params.log_std), axis=1)
        return jnp.mean(terms + self.beta * penalties)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "gamma", "beta"],
    meta_fields=["latent", "likelihood", "nodes", "size_of_group"],
)
@dataclass(frozen=True, eq=False)
class CategoricalVAE(NaturalVAE):
    """The same where coordinates are groups of classes, each with a softmax.

    size_of_group: the number of classes.
    """

    size_of_group: int

    @property
    def classes(self) -> int:
        """Of a group of coordinates."""
        return self.size_of_group

    @property
    def data(self) -> Array:
        """(n, groups, classes)."""
        return self.X.reshape(len(self.X), -1, self.classes)

    def split(self, params: VAEParams) -> Parts:
        """Groups of rows of the decoder, and posteriors."""
        rows = (
            params.weight.reshape(-1, self.classes, self.latent),
            params.bias.reshape(-1, self.classes),
        )
        return Parts(rows=rows, shared=params.log_gamma, local=(params.mean, params.log_std))

    def join(self, parts: Parts) -> VAEParams:
        """The inverse of `split`."""
        (weight, bias), (mean, log_std) = parts.rows, parts.local
        weight = weight.reshape(-1, self.latent)
        return VAEParams(weight, bias.reshape(-1), parts.shared, mean, log_std)

    def term(
        self,
        row: tuple[Array, Array],
        log_gamma: Array | None,
        local: tuple[Array, Array],
        x: Array,
    ) -> Array:
        """2 (E log sum_c exp u_c - x.E u) of one group (classes,) of one datum."""
        (weight, bias), (mean, log_std) = row, local
        points, shares = _grid(self.nodes, self.latent)
        center = weight @ mean + bias
        # A product with points that are the same for all data, and so in the derivatives.
        u = center[None] + points @ (weight * jnp.exp(log_std)[None]).T
        expected = jnp.dot(shares, jax.nn.logsumexp(u, axis=1))
        return 2.0 * (expected * jnp.sum(x) - jnp.dot(x, center))

    def cumulant(self, u: Array) -> Array:
        """A(u) (...), summed over groups, of natural parameters u (..., d)."""
        return jnp.sum(jax.nn.logsumexp(self._grouped(u), axis=-1), axis=-1)

    def answer(self, u: Array) -> Array:
        """Probabilities (..., d)."""
        return jax.nn.softmax(self._grouped(u), axis=-1).reshape(u.shape)

    def link(self, mean: Array) -> Array:
        """Logarithms of the probabilities."""
        return jnp.log(jnp.maximum(mean, FAINT))

    def _grouped(self, u: Array) -> Array:
        return u.reshape(*u.shape[:-1], -1, self.classes)

    @property
    def symmetry(self) -> Symmetry:
        """What is added to all logits of a group changes nothing: a number, and one per latent."""
        groups = self.X.shape[1] // self.classes

        def move(params: VAEParams, t: Array) -> VAEParams:
            shift = jnp.repeat(t.reshape(groups, self.latent + 1), self.classes, axis=0)
            return params._replace(
                weight=params.weight + shift[:, 1:], bias=params.bias + shift[:, 0]
            )

        return Symmetry(size=groups * (self.latent + 1), move=move)


def _grid(nodes: int, latent: int) -> tuple[Array, Array]:
    """Points (nodes^k, k) and shares of Gauss and Hermite's rule for N(0, I)."""
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    shares = weights / weights.sum()
    grid = np.stack(np.meshgrid(*[points] * latent, indexing="ij"), axis=-1).reshape(-1, latent)
    product = np.prod(np.meshgrid(*[shares] * latent, indexing="ij"), axis=0).ravel()
    return jnp.asarray(grid), jnp.asarray(product)


def elementwise_vae(
    X: ArrayLike,
    latent: int,
    activation: None = None,
    alpha: ArrayLike = 0.0,
    likelihood: str = "gaussian",
    posterior: str = "diagonal",
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> ThresholdVAE | NaturalVAE:
    """VAE with natural parameter W z + b and a Gaussian posterior per datum.

    X (n, d), categorical also (n, groups, classes), classes last; latent k with 1 <= k <= d, of a
    categorical likelihood at most 3; likelihood "gaussian" (`threshold_vae` at alpha = 0),
    "bernoulli" (x in [0, 1]), "poisson" (x >= 0, log link) or "categorical" (one-hot); gamma > 0
    fixes a Gaussian's variance (None: it is learned); beta > 0 weighs the KL part. Parameters are
    `VAEParams`. Activations and other posteriors are not built yet. Raises ValueError for those,
    for data outside the likelihood's range and for values out of range, RuntimeError without
    float64.
    """
    _require_built(activation, alpha, likelihood, posterior, gamma)
    if likelihood == "gaussian":
        return threshold_vae(X, latent, 0.0, gamma, beta)
    require_float64("the exact energy")
    shape = np.shape(X)
    classes = shape[-1] if likelihood == "categorical" else 1
    if likelihood == "categorical" and len(shape) > 2:
        X = jnp.asarray(X).reshape(shape[0], -1)
    if not isinstance(X, jax.core.Tracer):
        X = data.check(np.asarray(X))
        require_range("X", X, likelihood, classes)
    made: dict[str, Any] = {
        "X": shards.spread(X),
        "latent": _latents(latent, np.shape(X)[1], likelihood),
        "gamma": jnp.asarray(1.0),
        "beta": _positive("beta", beta),
        "likelihood": likelihood,
        "nodes": NODES[likelihood],
    }
    if likelihood == "categorical":
        return CategoricalVAE(**made, size_of_group=classes)
    return NaturalVAE(**made)


def _require_built(
    activation: Any, alpha: ArrayLike, likelihood: str, posterior: str, gamma: Any
) -> None:
    """Refuse what the family does not have yet."""
    known = not isinstance(alpha, jax.core.Tracer)
    bent = known and not (np.shape(alpha) == () and np.asarray(alpha) == 0)
    if activation is not None or bent:
        raise ValueError(
            f"expected activation=None and alpha=0, an affine decoder, got "
            f"{shown(activation)} and {shown(alpha)}; use vae.threshold_vae for the "
            "soft threshold, others are not built yet"
        )
    if not isinstance(likelihood, str) or likelihood not in LIKELIHOODS:
        raise ValueError(
            f"expected likelihood as one of {', '.join(LIKELIHOODS)}, got "
            f"{shown(likelihood)!r}; others are not built yet"
        )
    if not isinstance(posterior, str) or posterior != "diagonal":
        raise ValueError(
            f"expected posterior='diagonal', got {shown(posterior)!r}; others are not built yet"
        )
    if likelihood != "gaussian" and gamma is not None:
        raise ValueError(
            f"expected no gamma with likelihood={likelihood!r}, got {shown(gamma)}; only "
            "a Gaussian has a variance of its own"
        )


def _latents(latent: Any, features: int, likelihood: str) -> int:
    number = whole("latents", latent)
    most = min(features, MOST_LATENTS) if likelihood == "categorical" else features
    if not 1 <= number <= most:
        reason = (
            "its quadrature is over the latents"
            if likelihood == "categorical"
            else "the data's features"
        )
        raise ValueError(
            f"expected 1 <= latent <= {most} with likelihood={likelihood!r} ({reason}), got "
            f"{shown(number)}; choose another number"
        )
    return number


def _positive(name: str, value: ArrayLike) -> Array:
    doors.positive(name, value)
    return jnp.asarray(value, jnp.float64)
