"""What is the energy of a VAE whose decoder is bent away from affine by a chosen strength?

The decoder is pi_alpha(W z) + b with the soft threshold pi_alpha (affine at alpha = 0), the
posterior of each datum is a Gaussian with its own mean and standard deviations (eq. 6 of Dai, Wang
& Wipf, ICML 2020). Exact: no sampling, no noise.

>>> from vaesurface import data
>>> problem = threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1)
>>> print(f"{problem.loss(problem.collapsed()):.3f}")  # 2 from the data, 1 from the posterior
3.000
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import index

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data, energy, problem, theory
from vaesurface.energy import VAEParams
from vaesurface.problem import (
    Autoencoder,
    Deterministic,
    Parts,
    PerDatum,
    Problem,
    Theory,
    require_float64,
)
from vaesurface.theory import rows
from vaesurface.theory.collapse import is_trivial

__all__ = ["ThresholdVAE", "sampled_loss", "threshold_vae"]

# A row whose removal changes the energy by less (twice nats per datum) has no effect that float64
# could resolve.
NEGLIGIBLE = 1e-12
# A learned gamma below this fraction of gammabar is taken to be on its way to zero, unless the
# energy has a lower bound.
VANISHING = 1e-10
# Twice nats per latent below which posteriors are those of the collapsed point.
SILENT = 1e-10
# Of alpha: a step along a falling row whose fall is too weak to be measured.
HINT = 0.1


def threshold_vae(
    X: ArrayLike,
    latent: int,
    alpha: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> "ThresholdVAE":
    """VAE with decoder pi_alpha(W z) + b and a Gaussian posterior per datum.

    X (n, d); latent k with 1 <= k <= d; alpha >= 0 in the data's units; gamma > 0 fixes the decoder
    variance (None: it is learned); beta > 0 weighs the KL part. Parameters are `VAEParams`. alpha,
    gamma and beta may be traced, so one compiled program serves them all. Raises ValueError for
    data `data.check` refuses and for values out of range, RuntimeError without float64.
    """
    require_float64("the exact energy")
    if not isinstance(X, jax.core.Tracer):
        X = data.check(X)
    features = np.shape(X)[1]
    try:
        latent = index(latent)
    except TypeError:
        raise ValueError(
            f"expected a whole number of latents, got {latent!r}; give an integer"
        ) from None
    if not 1 <= latent <= features:
        raise ValueError(
            f"expected 1 <= latent <= {features} (the data's features), got {latent}; choose fewer "
            "latents"
        )
    _require("alpha", alpha, "alpha >= 0", lambda a: np.isfinite(a) & (a >= 0))
    _require("beta", beta, "beta > 0", lambda b: np.isfinite(b) & (b > 0))
    if gamma is not None:
        expected = "gamma > 0, or None to learn it"
        _require("gamma", gamma, expected, lambda g: np.isfinite(g) & (g > 0))
        gamma = jnp.asarray(gamma, jnp.float64)
    return ThresholdVAE(
        X=jnp.asarray(X, jnp.float64),
        latent=latent,
        alpha=jnp.asarray(alpha, jnp.float64),
        gamma=gamma,
        beta=jnp.asarray(beta, jnp.float64),
    )


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "alpha", "gamma", "beta"],
    meta_fields=["latent"],
)
@dataclass(frozen=True, eq=False)
class ThresholdVAE(PerDatum, Problem):
    """The exact energy; `threshold_vae` makes one and checks what goes in.

    X: (n, d), the data.
    latent: k.
    alpha: (), threshold of the decoder.
    gamma: (), its variance, or None where it is learned.
    beta: (), weight of the KL part.
    """

    X: Array
    latent: int
    alpha: Array
    gamma: Array | None
    beta: Array

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

    @partial(jax.jit, inline=True)
    def loss(self, params: VAEParams) -> Array:
        """The energy, twice nats per datum: `PerDatum` of `term` and `penalty`."""
        return PerDatum.loss(self, params)

    def reconstruction(self, weight: Array, mean: Array, log_std: Array) -> energy.Moments:
        """Of one output coordinate, less its bias: weight, mean, log_std (k,)."""
        variance = jnp.dot(weight**2, jnp.exp(2.0 * log_std))
        return energy.soft_threshold(jnp.dot(weight, mean), variance, self.alpha)

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

    def settle(self, params: VAEParams) -> VAEParams:
        """Rows without effect at zero."""
        silent = self._silent_rows(params)[:, None]
        return params._replace(weight=jnp.where(silent, 0.0, params.weight))

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
        """Latents (..., k) to pi_alpha(W z) + b (..., d)."""
        u = z @ params.weight.T
        return energy.threshold(u, self.alpha) + jnp.broadcast_to(params.bias, u.shape)

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
        gradient of data left out is zero. Where no draw passes the threshold, as at W = 0 and
        alpha > 0, that of the weight is exactly zero. Raises ValueError for numbers out of range.
        """
        n = len(self.X)
        problem.require_draws(samples, batch, n)
        which, noise = jax.random.split(key)
        mean, log_std, x = params.mean, params.log_std, self.X
        if batch is not None:
            chosen = jax.random.choice(which, n, (batch,), replace=False)
            mean, log_std, x = mean[chosen], log_std[chosen], x[chosen]
        eps = jax.random.normal(noise, (samples, *mean.shape), mean.dtype)
        y = self.decode(params, mean[None] + jnp.exp(log_std)[None] * eps)
        log_gamma = self._log_gamma(params.log_gamma)
        return energy.drawn(x, y, mean, log_std, log_gamma, self.beta)

    def gamma_of(self, params: VAEParams) -> Array:
        """(), learned or fixed."""
        return jnp.exp(jnp.asarray(self._log_gamma(params.log_gamma)))

    def theory(self, params: VAEParams, uncertainty: ArrayLike = 0.0) -> Theory:
        """What is known in closed form: of rows at zero, of collapse, and of the infimum."""
        loss = self.loss(params)
        zero = rows.dead_rows(
            self.X,
            params,
            self.alpha,
            self.gamma_of(params),
            uncertainty,
            self.rounding(params),
        )
        region = theory.collapse_radius(self.X, self.alpha, self.gamma, self.beta)
        trivial = is_trivial(params, region, self.center, zero.dead)
        falling = zero.falling & ~trivial
        # Where the fall is too weak to be measured, a small step of the row's own scale shows the
        # way.
        way = jnp.where((zero.drop > 0)[:, None], zero.way, HINT * self.alpha * zero.direction)
        move = jnp.where(falling[:, None], way, 0.0)
        silent = jnp.all(zero.dead) & (jnp.max(self.information(params)) < SILENT)
        strict = jnp.where(trivial, self.X.shape[1], jnp.sum(zero.strict)) * self.latent
        minimum, slope, push = self._infimum(params, loss)
        vanishing = self.gamma_of(params) < VANISHING * self.gammabar
        return Theory(
            dead_rows=jnp.sum(zero.dead),
            collapsed=trivial | silent,
            strict=jnp.where(self.alpha > 0, strict, 0),
            falling=jnp.sum(falling),
            drop=jnp.sum(jnp.where(falling, zero.drop, 0.0)),
            descent=jax.tree.map(jnp.zeros_like, params)._replace(weight=move),
            radius=jnp.where(trivial, region.radius, 0.0),
            minimum=minimum,
            slope=slope,
            push=push,
            runaway=vanishing & (self.gamma is None) & ~jnp.isfinite(minimum),
        )

    def _infimum(self, params: VAEParams, loss: Array) -> tuple[Array, Array, Array]:
        """The energy's infimum (NaN: unknown), its slope in log gamma along a ray to -inf, and
        dL/dlog gamma = d - (L - d log gamma - beta KL part) here; the last two where gamma is
        learned, else NaN.
        """
        # At large n this decomposition takes longer than all else here.
        minimum = jax.lax.cond(
            self.alpha == 0,
            lambda: theory.global_minimum(self.X, self.latent, self.gamma, self.beta),
            lambda: jnp.nan,
        )
        if params.log_gamma is None:
            return minimum, jnp.asarray(jnp.nan), jnp.asarray(jnp.nan)
        ray = theory.unbounded_ray(self.X, self.latent, self.alpha, self.beta, minimum)
        bounded = jnp.where(minimum == -jnp.inf, jnp.nan, minimum)
        d = self.X.shape[1]
        divergences = jnp.sum(energy.divergence(params.mean, params.log_std), axis=1)
        rest = d * params.log_gamma + jnp.mean(divergences) * self.beta
        return jnp.where(ray.exists, -jnp.inf, bounded), ray.slope, d - (loss - rest)

    def _log_gamma(self, log_gamma: Array | None) -> Array:
        return log_gamma if self.gamma is None else jnp.log(self.gamma)  # type: ignore[return-value]

    def _silent_rows(self, params: VAEParams) -> Array:
        """(d,) rows at zero, or below a threshold so far away that the energy does not feel them."""

        def effect(weight: Array, deviation: Array) -> Array:
            """mean_i |2 (x - b) E pi| + E pi^2, a bound on what the row changes, times gamma."""
            y = jax.vmap(self.reconstruction, (None, 0, 0))(weight, params.mean, params.log_std)
            return jnp.mean(2.0 * jnp.abs(deviation * y.mean) + y.mean**2 + y.variance)

        each = params.weight, (self.X - params.bias[None]).T
        if self.X.size <= problem.STREAM:
            effects = jax.vmap(effect)(*each)
        else:  # a row at a time, since many data fill a core on their own
            effects = jax.lax.map(lambda row: effect(*row), each)
        silent = effects / self.gamma_of(params) < NEGLIGIBLE
        return jnp.all(params.weight == 0, axis=1) | ((self.alpha > 0) & silent)


def sampled_loss(
    problem: Problem, params: VAEParams, key: Array, samples: int = 1, batch: int | None = None
) -> Array:
    """`problem.sampled`, as a function that optimizers of noisy losses take."""
    return problem.sampled(params, key, samples, batch)


def _require(name: str, value: ArrayLike, expected: str, allowed: Callable) -> None:
    if not isinstance(value, jax.core.Tracer) and not np.all(allowed(np.asarray(value))):
        raise ValueError(f"expected {expected}, got {name} = {value}; choose another value")
