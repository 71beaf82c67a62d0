"""What is the energy of a VAE whose decoder is bent away from affine by a chosen strength?

The decoder is pi_alpha(W z) + b with the soft threshold pi_alpha (affine at alpha = 0), the
posterior of each datum is a Gaussian with its own mean and standard deviations (eq. 6 of Dai, Wang
& Wipf, ICML 2020). Exact: no sampling, no noise.

>>> from vaesurface import data
>>> problem = threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1)
>>> print(f"{problem.loss(problem.collapsed()):.3f}")  # 2 from the data, 1 from the posterior
3.000
"""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data, energy, problem, shards, theory
from vaesurface.energy import VAEParams
from vaesurface.problem import Problem, Theory, require_float64
from vaesurface.refusal import shown, whole
from vaesurface.theory import affine, doors, rows
from vaesurface.theory.collapse import is_trivial
from vaesurface.vae import posterior as posteriors
from vaesurface.vae.elementwise import NEGLIGIBLE, SILENT, VANISHING, ElementwiseVAE

__all__ = ["ThresholdVAE", "sampled_loss", "threshold_vae"]

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
    latent = whole("latents", latent)
    if not 1 <= latent <= features:
        raise ValueError(
            f"expected 1 <= latent <= {features} (the data's features), got "
            f"{shown(latent)}; choose fewer latents"
        )
    doors.nonnegative("alpha", alpha)
    doors.positive("beta", beta)
    if gamma is not None:
        doors.positive("gamma", gamma, ", or None to learn it")
        gamma = jnp.asarray(gamma, jnp.float64)
    return ThresholdVAE(
        X=shards.spread(X),
        latent=latent,
        alpha=jnp.asarray(alpha, jnp.float64),
        gamma=gamma,
        beta=jnp.asarray(beta, jnp.float64),
    )


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "alpha", "gamma", "beta"],
    meta_fields=["latent", "posterior"],
)
@dataclass(frozen=True, eq=False)
class ThresholdVAE(ElementwiseVAE):
    """`ElementwiseVAE` of the soft threshold; `threshold_vae` makes one and checks what goes in.

    alpha: (), the threshold.
    """

    alpha: Array

    @property
    def affine(self) -> Array:
        """At alpha = 0."""
        return self.alpha == 0

    def activation(self, u: Array) -> Array:
        """pi_alpha(u), eq. 5."""
        return energy.threshold(u, self.alpha)

    def moments(self, mean: Array, variance: Array) -> energy.Moments:
        """In closed form."""
        return energy.soft_threshold(mean, variance, self.alpha)

    def settle(self, params: VAEParams) -> VAEParams:
        """Rows without effect at zero."""
        silent = self._silent_rows(params)[:, None]
        return params._replace(weight=jnp.where(silent, 0.0, params.weight))

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
            self._covariances(params),
            self.posterior.tied,
        )
        region = theory.collapse_radius(self.X, self.alpha, self.gamma, self.beta)
        # Sigma enters the certificate by its eigenvalues alone.
        widths = params._replace(log_std=self.widths(params))
        trivial = is_trivial(widths, region, self.center, zero.dead)
        falling = zero.falling & ~trivial
        # Where the fall is too weak to be measured, a small step of the row's own scale shows the
        # way.
        way = jnp.where((zero.drop > 0)[:, None], zero.way, HINT * self.alpha * zero.direction)
        move = jnp.where(falling[:, None], way, 0.0)
        silent = jnp.all(zero.dead) & (jnp.max(self.information(params)) < SILENT)
        # At the prior the energy is flat, to second order, in what correlates latents; it falls
        # nowhere there.
        idle = trivial * self.posterior.idle * len(self.X)
        strict = jnp.where(trivial, self.X.shape[1], jnp.sum(zero.strict)) * self.latent
        strict = strict + idle * self.latent
        infimum = self._infimum(params, loss)
        vanishing = self.gamma_of(params) < VANISHING * self.gammabar
        return Theory(
            dead_rows=jnp.sum(zero.dead),
            collapsed=trivial | silent,
            strict=jnp.where(self.alpha > 0, strict, 0),
            falling=jnp.sum(falling),
            drop=jnp.sum(jnp.where(falling, zero.drop, 0.0)),
            descent=jax.tree.map(jnp.zeros_like, params)._replace(weight=move),
            radius=jnp.where(trivial, region.radius, 0.0),
            minimum=infimum.energy,
            slope=infimum.slope,
            push=infimum.push,
            runaway=vanishing & (self.gamma is None) & ~jnp.isfinite(infimum.energy),
            doubt=infimum.doubt,
            family=self.family(params),
        )

    def family(self, params: VAEParams) -> Array:
        """By rotations within equal eigenvalues, of the affine model."""
        return jax.lax.cond(
            self.affine & jnp.any(params.weight != 0),
            lambda: affine.family(self.X, params.weight, self.posterior.family),
            lambda: jnp.asarray(0),
        )

    def _infimum(self, params: VAEParams, loss: Array) -> "_Infimum":
        """With dL/dlog gamma = d - (L - d log gamma - beta KL part)."""
        # At large n this decomposition takes longer than all else here.
        minimum = jax.lax.cond(
            self.alpha == 0,
            lambda: theory.global_minimum(self.X, self.latent, self.gamma, self.beta),
            lambda: jnp.nan,
        )
        if params.log_gamma is None:
            none = jnp.asarray(jnp.nan)
            return _Infimum(energy=minimum, slope=none, push=none, doubt=none)
        ray = theory.unbounded_ray(self.X, self.latent, self.alpha, self.beta, minimum)
        bounded = jnp.where(minimum == -jnp.inf, jnp.nan, minimum)
        d = self.X.shape[1]
        rest = d * params.log_gamma + jnp.mean(self.penalties(params))
        return _Infimum(
            energy=jnp.where(ray.exists, -jnp.inf, bounded),
            slope=ray.slope,
            push=d - (loss - rest),
            doubt=jnp.asarray(ray.doubt),
        )

    def _covariances(self, params: VAEParams) -> Array | None:
        """(n, k, k), of the posteriors; None where latents are independent."""
        if self.posterior.independent:
            return None
        return jax.vmap(self.posterior.covariance)(*posteriors.local(params)[1:])

    def _silent_rows(self, params: VAEParams) -> Array:
        """(d,) rows at zero, or below a threshold so far away that the energy does not feel
        them.
        """

        def effect(weight: Array, deviation: Array) -> Array:
            """mean_i |2 (x - b) E pi| + E pi^2, a bound on what the row changes, times gamma."""
            y = jax.vmap(partial(self.reconstruction, weight))(*posteriors.local(params))
            return jnp.mean(2.0 * jnp.abs(deviation * y.mean) + y.mean**2 + y.variance)

        each = params.weight, (self.X - params.bias[None]).T
        if self.X.size <= problem.STREAM:
            effects = jax.vmap(effect)(*each)
        else:  # a row at a time, since many data fill a core on their own
            effects = jax.lax.map(lambda row: effect(*row), each)
        silent = effects / self.gamma_of(params) < NEGLIGIBLE
        return jnp.all(params.weight == 0, axis=1) | ((self.alpha > 0) & silent)


class _Infimum(NamedTuple):
    """Of the energy; NaN where unknown, and all but the energy where gamma is fixed.

    energy: ().
    slope: (), of the energy in log gamma along a ray to -inf.
    push: (), dL/dlog gamma at the point.
    doubt: (), where float64 cannot tell whether there is such a ray.
    """

    energy: Array
    slope: Array
    push: Array
    doubt: Array


def sampled_loss(
    problem: Problem, params: VAEParams, key: Array, samples: int = 1, batch: int | None = None
) -> Array:
    """`problem.sampled`, as a function that optimizers of noisy losses take."""
    return problem.sampled(params, key, samples, batch)
