"""What is the energy of a VAE whose decoder is affine but for an elementwise activation?

The decoder is f(W z) + b, the posterior of each datum a Gaussian with its own mean and standard
deviations (eq. 6 of Dai, Wang & Wipf, ICML 2020). Then W z is Gaussian in every coordinate, and the
energy needs two moments of f per datum and coordinate and no sampling. A class that inherits says
what f and its moments are; an identity:

>>> from vaesurface import data
>>> @partial(
...     jax.tree_util.register_dataclass,
...     data_fields=["X", "gamma", "beta"],
...     meta_fields=["latent"],
... )
... @dataclass(frozen=True, eq=False)
... class AffineVAE(ElementwiseVAE):
...     def activation(self, u):
...         return u
...
...     def moments(self, mean, variance):
...         return energy.identity(mean, variance)
>>> X = jnp.asarray(data.antipodal(d=2))
>>> problem = AffineVAE(X=X, latent=1, gamma=None, beta=jnp.asarray(1.0))
>>> print(problem.loss(problem.collapsed()))
3.0
"""

from dataclasses import dataclass, fields
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface import energy, problem
from vaesurface.energy import VAEParams
from vaesurface.problem import Autoencoder, Deterministic, Parts, PerDatum, Problem

__all__ = ["ElementwiseVAE"]


@dataclass(frozen=True, eq=False)
class ElementwiseVAE(PerDatum, Problem):
    """The exact energy for a decoder f(W z) + b; parameters are `VAEParams`.

    X: (n, d), the data.
    latent: k.
    gamma: (), decoder variance, or None where it is learned.
    beta: (), weight of the KL part.
    """

    X: Array
    latent: int
    gamma: Array | None
    beta: Array

    def __post_init__(self) -> None:
        """Plain numbers, as `dataclasses.replace(problem, beta=2.0)` gives, become arrays."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float):
                object.__setattr__(self, field.name, jnp.asarray(value, float))

    @property
    def data(self) -> Array:
        """(n, d)."""
        return self.X

    @property
    def structure(self) -> PerDatum:
        """Itself: its loss is a mean over data of sums over coordinates."""
        return self

    @property
    def center(self) -> Array:
        """(d,), the data's mean."""
        return self.X.mean(axis=0)

    @property
    def gammabar(self) -> Array:
        """(), the data's mean squared deviation per coordinate."""
        return energy.gammabar(self.X)

    def activation(self, u: Array) -> Array:
        """f(u), elementwise."""
        raise NotImplementedError("expected an activation, got none; write its method activation")

    def moments(self, mean: Array, variance: Array) -> energy.Moments:
        """Mean and variance of f(u) for u ~ N(mean, variance), elementwise, also at variance 0."""
        raise NotImplementedError("expected moments, got none; write its method moments")

    def gaussian_of(self, weight: Array, mean: Array, log_std: Array) -> tuple[Array, Array]:
        """Mean and variance of w.z for one row w: w.mu and sum_j w_j^2 sigma_j^2."""
        return jnp.dot(mean, weight), jnp.dot(jnp.exp(2.0 * log_std), weight**2)

    def reconstruction(self, weight: Array, mean: Array, log_std: Array) -> energy.Moments:
        """Of one output coordinate, less its bias."""
        return self.moments(*self.gaussian_of(weight, mean, log_std))

    @jax.jit
    def loss(self, params: VAEParams) -> Array:
        """The energy, twice nats per datum: `PerDatum` of `term` and `penalty`."""
        return PerDatum.loss(self, params)

    def term(
        self,
        row: tuple[Array, Array],
        log_gamma: Array | None,
        local: tuple[Array, Array],
        x: Array,
    ) -> Array:
        """E (x_r - y_r)^2 / gamma + log gamma of one coordinate of one datum."""
        weight, bias = row
        error = energy.expected_squared_error(x - bias, *self.reconstruction(weight, *local))
        return energy.gaussian(error, self._log_gamma(log_gamma))

    def penalty(self, shared: Array | None, local: tuple[Array, Array]) -> Array:
        """beta sum_j (sigma_j^2 - log sigma_j^2 + mu_j^2) of one datum."""
        return self.beta * jnp.sum(energy.divergence(*local))

    def split(self, params: VAEParams) -> Parts:
        """Rows of the decoder, log gamma, posteriors."""
        return Parts(
            rows=(params.weight, params.bias),
            shared=params.log_gamma,
            local=(params.mean, params.log_std),
        )

    def join(self, parts: Parts) -> VAEParams:
        """The inverse of `split`."""
        (weight, bias), (mean, log_std) = parts.rows, parts.local
        return VAEParams(weight, bias, parts.shared, mean, log_std)

    def collapsed(self) -> VAEParams:
        """W = 0, b = xbar, gamma = gammabar where it is learned, q(z|x) = N(0, I)."""
        posterior = jnp.zeros((len(self.X), self.latent), self.X.dtype)
        return VAEParams(
            weight=jnp.zeros((self.X.shape[1], self.latent), self.X.dtype),
            bias=self.center,
            log_gamma=jnp.log(self.gammabar) if self.gamma is None else None,
            mean=posterior,
            log_std=posterior,
        )

    def init(self, key: Array, scale: ArrayLike = 0.1) -> VAEParams:
        """A random linear decoder and a random linear encoder: entries of W are scale
        sqrt(gammabar) times standard normal, posterior means scale times a random projection of the
        standardized datum; the rest as at collapse.
        """
        problem.require_key(key)
        decoder, encoder = jax.random.split(key)
        unit = jnp.sqrt(self.gammabar)
        shape, dtype = (self.X.shape[1], self.latent), self.X.dtype
        weight = jnp.asarray(scale) * unit * jax.random.normal(decoder, shape, dtype)
        projection = jax.random.normal(encoder, shape, dtype) / jnp.sqrt(1.0 * shape[0])
        standardized = (self.X - self.center[None]) / unit
        mean = jnp.asarray(scale) * standardized @ projection
        return self.collapsed()._replace(weight=weight, mean=mean)

    def information(self, params: VAEParams) -> Array:
        """(k,), twice the KL divergence per latent, mean over data."""
        return energy.information(params.mean, params.log_std)

    def size(self, params: VAEParams) -> VAEParams:
        """max(1, |theta|), and sqrt(gammabar) in place of 1 for what is in the data's units."""
        sizes = jax.tree.map(lambda x: jnp.maximum(1.0, jnp.abs(x)), params)
        unit = jnp.sqrt(self.gammabar)
        return sizes._replace(
            weight=jnp.maximum(unit, jnp.abs(params.weight)),
            bias=jnp.maximum(unit, jnp.abs(params.bias - self.center)),
        )

    def latents(self, params: VAEParams) -> tuple[Array, Array, Array]:
        """Weight and means are odd under a latent's sign flip, deviations even."""
        rest = params.bias - self.center
        rest = rest if params.log_gamma is None else jnp.append(rest, params.log_gamma)
        return jnp.concatenate([params.weight, params.mean]).T, params.log_std.T, rest

    def relabel(self, params: VAEParams, order: Array, sign: Array) -> VAEParams:
        """Latent j of the result is sign[j] times latent order[j]."""
        return params._replace(
            weight=params.weight[:, order] * sign[None],
            mean=params.mean[:, order] * sign[None],
            log_std=params.log_std[:, order],
        )

    def restrict(self, params: VAEParams, keep: Array) -> VAEParams:
        """Columns of latents outside keep (k,) at zero, their posteriors the prior."""
        return params._replace(
            weight=jnp.where(keep[None], params.weight, 0.0),
            mean=jnp.where(keep[None], params.mean, 0.0),
            log_std=jnp.where(keep[None], params.log_std, 0.0),
        )

    def autoencoder(self, params: VAEParams) -> Autoencoder:
        """The VAE that the parameters make; its expected error is exact."""
        return Autoencoder(
            data=self.X,
            mean=params.mean,
            log_std=params.log_std,
            decode=partial(self.decode, params),
            gamma=self.gamma_of(params),
            learned=self.gamma is None,
            beta=self.beta,
            error=partial(self.error, params),
        )

    def decode(self, params: VAEParams, z: Array) -> Array:
        """Latents (..., k) to f(W z) + b (..., d)."""
        u = z @ params.weight.T
        return self.activation(u) + jnp.broadcast_to(params.bias, u.shape)

    def error(self, params: VAEParams, mean: Array, log_std: Array, x: Array) -> Array:
        """E ||x - decode(z)||^2 of one datum (d,) for z of that mean and log_std (k,)."""
        y = jax.vmap(self.reconstruction, (0, None, None))(params.weight, mean, log_std)
        return jnp.sum(energy.expected_squared_error(x - params.bias, *y))

    def deterministic(self) -> Problem:
        """The autoencoder with this decoder and a code per datum."""
        return Deterministic(self)

    def reconstruction_error(self, params: VAEParams) -> Array:
        """Mean squared error per coordinate at the posterior means."""
        return jnp.mean((self.X - self.decode(params, params.mean)) ** 2)

    def sampled(
        self, params: VAEParams, key: Array, samples: int = 1, batch: int | None = None
    ) -> Array:
        """What training sees of the energy: an unbiased draw of it, and so is its gradient.

        samples: latents drawn per datum, z = mu + sigma eps (Kingma & Welling 2014; Rezende et al.
        2014), the KL part being exact; batch: data drawn without replacement (None: all). The
        gradient of data left out is zero. Where no draw passes a threshold, as at W = 0, that of
        the weight is exactly zero. Raises ValueError for numbers out of range.
        """
        n = len(self.X)
        problem.require_draws(samples, batch, n)
        which, noise = jax.random.split(key)
        mean, log_std, x = params.mean, params.log_std, self.X
        if batch is not None:
            chosen = jax.random.choice(which, n, (batch,), replace=False)
            mean, log_std, x = mean[chosen], log_std[chosen], x[chosen]
        eps = jax.random.normal(noise, (samples, *mean.shape), mean.dtype)
        z = mean[None] + jnp.exp(log_std)[None] * eps
        return self.drawn(params._replace(mean=mean, log_std=log_std), x, z)

    def drawn(self, params: VAEParams, x: Array, z: Array) -> Array:
        """Mean energy of data x (n, d), whose posteriors are those of params, by draws z
        (samples, n, k).
        """
        y, log_gamma = self.decode(params, z), self._log_gamma(params.log_gamma)
        return energy.drawn(x, y, params.mean, params.log_std, log_gamma, self.beta)

    def gamma_of(self, params: VAEParams) -> Array:
        """(), learned or fixed."""
        return jnp.exp(jnp.asarray(self._log_gamma(params.log_gamma)))

    def _log_gamma(self, log_gamma: Array | None) -> Array:
        return jnp.asarray(log_gamma) if self.gamma is None else jnp.log(self.gamma)
