"""What is the energy of a VAE whose decoder is affine but for an elementwise activation?

The decoder is f(W z) + b, the posterior of each datum a Gaussian of its own (eq. 6 of Dai, Wang &
Wipf, ICML 2020, where latents are independent; others in `posterior`). Then W z is Gaussian in
every coordinate, and the energy needs two moments of f per datum and coordinate and no sampling. A
class that inherits says what f and its moments are; an identity:

>>> from vaesurface import data
>>> @partial(
...     jax.tree_util.register_dataclass,
...     data_fields=["X", "gamma", "beta"],
...     meta_fields=["latent", "posterior"],
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

from dataclasses import dataclass, field, fields
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jax.typing import ArrayLike

from vaesurface import energy, problem
from vaesurface.energy import VAEParams
from vaesurface.problem import Autoencoder, Deterministic, Parts, PerDatum, Problem, Symmetry
from vaesurface.vae import posterior as posteriors
from vaesurface.vae.posterior import DIAGONAL, Posterior

__all__ = ["NEGLIGIBLE", "SILENT", "VANISHING", "ElementwiseVAE"]

# A row whose removal changes the energy by less (twice nats per datum) has no effect that float64
# could resolve.
NEGLIGIBLE = 1e-12
# Twice nats per latent below which posteriors are those of the collapsed point.
SILENT = 1e-10
# A learned gamma below this fraction of gammabar is taken to be on its way to zero, unless the
# energy has a lower bound.
VANISHING = 1e-10


@dataclass(frozen=True, eq=False)
class ElementwiseVAE(PerDatum, Problem):
    """The exact energy for a decoder f(W z) + b; parameters are `VAEParams`.

    X: (n, d), the data.
    latent: k.
    gamma: (), decoder variance, or None where it is learned.
    beta: (), weight of the KL part.
    posterior: of every datum.
    """

    X: Array
    latent: int
    gamma: Array | None
    beta: Array
    posterior: Posterior = field(default=DIAGONAL, kw_only=True)

    def __post_init__(self) -> None:
        """Plain numbers, as `dataclasses.replace(problem, beta=2.0)` gives, become arrays. Raises
        ValueError for a posterior that so many latents have none of.
        """
        self.posterior.require(self.latent)
        for name in (each.name for each in fields(self)):
            value = getattr(self, name)
            if isinstance(value, float):
                object.__setattr__(self, name, jnp.asarray(value, float))

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

    @property
    def affine(self) -> Array:
        """(), whether f is known to be the identity, and the likelihood Gaussian."""
        return jnp.asarray(False)

    def activation(self, u: Array) -> Array:
        """f(u), elementwise."""
        raise NotImplementedError("expected an activation, got none; write its method activation")

    def moments(self, mean: Array, variance: Array) -> energy.Moments:
        """Mean and variance of f(u) for u ~ N(mean, variance), elementwise, also at variance 0."""
        raise NotImplementedError("expected moments, got none; write its method moments")

    def gaussian_of(self, weight: Array, mean: Array, *spread: Array) -> tuple[Array, Array]:
        """Mean and variance of w.z for one row w: w.mu and w.Sigma w."""
        return jnp.dot(mean, weight), self.posterior.variance(weight, *spread)

    def reconstruction(self, weight: Array, mean: Array, *spread: Array) -> energy.Moments:
        """Of one output coordinate, less its bias."""
        return self.moments(*self.gaussian_of(weight, mean, *spread))

    @jax.jit
    def loss(self, params: VAEParams) -> Array:
        """The energy, twice nats per datum: `PerDatum` of `term` and `penalty`."""
        return PerDatum.loss(self, params)

    def term(
        self,
        row: tuple[Array, Array],
        log_gamma: Array | None,
        local: tuple[Array, ...],
        x: Array,
    ) -> Array:
        """E (x_r - y_r)^2 / gamma + log gamma of one coordinate of one datum."""
        weight, bias = row
        error = energy.expected_squared_error(x - bias, *self.reconstruction(weight, *local))
        return energy.gaussian(error, self._log_gamma(log_gamma))

    def penalty(self, shared: Array | None, local: tuple[Array, ...]) -> Array:
        """beta (tr Sigma - log det Sigma + |mu|^2) of one datum."""
        return self.beta * self.posterior.divergence(*local)

    def split(self, params: VAEParams) -> Parts:
        """Rows of the decoder, log gamma, posteriors."""
        return Parts(
            rows=(params.weight, params.bias),
            shared=params.log_gamma,
            local=posteriors.local(params),
        )

    def join(self, parts: Parts) -> VAEParams:
        """The inverse of `split`."""
        weight, bias = parts.rows
        return energy.params_of(weight, bias, parts.shared, *parts.local)

    def collapsed(self) -> VAEParams:
        """W = 0, b = xbar, gamma = gammabar where it is learned, q(z|x) = N(0, I)."""
        mean = jnp.zeros((len(self.X), self.latent), self.X.dtype)
        return energy.params_of(
            jnp.zeros((self.X.shape[1], self.latent), self.X.dtype),
            self.center,
            jnp.log(self.gammabar) if self.gamma is None else None,
            mean,
            *self.posterior.spread(mean),
        )

    def lifted(self, params: VAEParams) -> VAEParams:
        """A point whose posteriors are diagonal, as `theory.stationary_points` gives, with this
        problem's parameters.
        """
        return self._moved(
            params,
            params.weight,
            (params.mean, params.log_std, *self.posterior.spread(params.mean)[1:]),
        )

    def init(self, key: Array, scale: ArrayLike = 0.1) -> VAEParams:
        """A random linear decoder and a random linear encoder: entries of W are scale
        sqrt(gammabar) times standard normal, posterior means scale times a random projection of the
        standardized datum (`projection`); the rest as at collapse, or as the posterior starts.
        """
        problem.require_key(key)
        decoder, encoder = jax.random.split(key)
        unit = jnp.sqrt(self.gammabar)
        shape, dtype = (self.X.shape[1], self.latent), self.X.dtype
        weight = jnp.asarray(scale) * unit * jax.random.normal(decoder, shape, dtype)
        standardized = (self.X - self.center[None]) / unit
        mean = jnp.asarray(scale) * standardized @ self._projection(encoder)
        spread = self.posterior.start(jax.random.fold_in(key, 0), mean, scale)
        rest = self.split(self.collapsed()._replace(weight=weight))
        return self.join(rest._replace(local=(mean, *spread)))

    def encoder(self, key: Array, scale: ArrayLike = 0.1) -> Array:
        """(d, k), of `init`: its means are those of x less the data's mean."""
        projection = self._projection(jax.random.split(key)[1])
        return jnp.asarray(scale) * projection / jnp.sqrt(self.gammabar)

    def _projection(self, key: Array) -> Array:
        shape = self.X.shape[1], self.latent
        return jax.random.normal(key, shape, self.X.dtype) / jnp.sqrt(1.0 * shape[0])

    def information(self, params: VAEParams) -> Array:
        """(k,), twice the KL divergence per latent, mean over data; where latents are correlated,
        of the marginals along the posterior's `axes`.
        """
        return self.posterior.information(params)

    def widths(self, params: VAEParams) -> Array:
        """(n, k), logarithms of the posteriors' deviations along their principal axes."""
        return jax.vmap(self.posterior.widths)(*posteriors.local(params)[1:])

    @property
    def symmetry(self) -> Symmetry | None:
        """The posterior's."""
        return self.posterior.symmetry(len(self.X), self.latent)

    def size(self, params: VAEParams) -> VAEParams:
        """max(1, |theta|), and sqrt(gammabar) in place of 1 for what is in the data's units."""
        sizes = jax.tree.map(lambda x: jnp.maximum(1.0, jnp.abs(x)), params)
        unit = jnp.sqrt(self.gammabar)
        return sizes._replace(
            weight=jnp.maximum(unit, jnp.abs(params.weight)),
            bias=jnp.maximum(unit, jnp.abs(params.bias - self.center)),
        )

    def latents(self, params: VAEParams) -> tuple[Array, Array, Array]:
        """The posterior's."""
        rest = params.bias - self.center
        rest = rest if params.log_gamma is None else jnp.append(rest, params.log_gamma)
        odd, even, more = self.posterior.latents(params)
        return odd, even, jnp.concatenate([rest, more])

    def relabel(self, params: VAEParams, order: Array, sign: Array) -> VAEParams:
        """Latent j of the result is sign[j] times latent order[j]."""
        mean, *spread = posteriors.local(params)
        relabel = partial(self.posterior.relabel, order, sign)
        return self._moved(
            params,
            params.weight[:, order] * sign[None],
            (mean[:, order] * sign[None], *jax.vmap(relabel)(*spread)),
        )

    def restrict(self, params: VAEParams, keep: Array) -> VAEParams:
        """Columns of latents outside keep (k,) at zero, their posteriors the prior."""
        mean, *spread = posteriors.local(params)
        restrict = partial(self.posterior.restrict, keep)
        return self._moved(
            params,
            jnp.where(keep[None], params.weight, 0.0),
            (jnp.where(keep[None], mean, 0.0), *jax.vmap(restrict)(*spread)),
        )

    def _moved(self, params: VAEParams, weight: Array, local: tuple[Array, ...]) -> VAEParams:
        """Another weight, and other posteriors."""
        return energy.params_of(weight, params.bias, params.log_gamma, *local)

    def autoencoder(self, params: VAEParams) -> Autoencoder:
        """The VAE that the parameters make; its expected error is exact. Raises ValueError for
        posteriors of which mean and log_std do not say all.
        """
        self.posterior.require_independent()
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

        samples: latents drawn per datum, z = mu + R eps, R R' = Sigma (Kingma & Welling 2014;
        Rezende et al. 2014), the KL part being exact; batch: data drawn without replacement (None:
        all). The gradient of data left out is zero. Where no draw passes a threshold, as at W = 0,
        that of the weight is exactly zero. Raises ValueError for numbers out of range.
        """
        n = len(self.X)
        problem.require_draws(samples, batch, n)
        which, noise = jax.random.split(key)
        local, x = posteriors.local(params), self.X
        if batch is not None:
            chosen = jax.random.choice(which, n, (batch,), replace=False)
            local, x = tuple(part[chosen] for part in local), x[chosen]
        shape = samples, len(x), self.posterior.noise(self.latent)
        eps = jax.random.normal(noise, shape, x.dtype)

        def draw(eps: Array, *local: Array) -> Array:
            return self.posterior.draw(*local, eps=eps)

        z = jax.vmap(lambda eps: jax.vmap(draw)(eps, *local))(eps)
        return self.drawn(self._moved(params, params.weight, local), x, z)

    def drawn(self, params: VAEParams, x: Array, z: Array) -> Array:
        """Mean energy of data x (n, d), whose posteriors are those of params, by draws z
        (samples, n, k).
        """
        y, log_gamma = self.decode(params, z), self._log_gamma(params.log_gamma)
        return energy.drawn(x, y, log_gamma, self.penalties(params))

    def penalties(self, params: VAEParams) -> Array:
        """(n,), `penalty` of every datum."""
        return jax.vmap(partial(self.penalty, params.log_gamma))(posteriors.local(params))

    def gamma_of(self, params: VAEParams) -> Array:
        """(), learned or fixed."""
        return jnp.exp(jnp.asarray(self._log_gamma(params.log_gamma)))

    def _log_gamma(self, log_gamma: Array | None) -> Array:
        return jnp.asarray(log_gamma) if self.gamma is None else jnp.log(self.gamma)
