"""Which VAE's loss surface? Problems whose energy is exact: no sampling, no noise. (`deep` has
those of networks.)

The decoder is pi_alpha(W z) + b with the soft threshold pi_alpha (affine at alpha = 0), the
posterior of each datum is a Gaussian with its own mean and standard deviations (eq. 6 of Dai, Wang
& Wipf, ICML 2020).

>>> from vaesurface.theory.collapse import is_trivial
from vaesurface import data
>>> problem = threshold_vae(data.antipodal(d=2), latent=1, alpha=0.1)
# 2 from the data, 0 from log gamma, 1 from the posterior
>>> print(f"{problem.loss(problem.collapsed()):.3f}")
3.000
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data, energy, theory
from vaesurface.energy import VAEParams
from vaesurface.problem import (
    STREAM,
    Autoencoder,
    Parts,
    Problem,
    Structure,
    Theory,
    compiled,
    recipe_of,
    require_float64,
    resolution,
)
from vaesurface.theory import rows
from vaesurface.theory.collapse import is_trivial

# A row whose removal changes the energy by less (twice nats per datum) has no effect that float64
# could resolve.
NEGLIGIBLE = 1e-12
# A learned gamma below this fraction of gammabar is taken to be on its way to zero, unless the
# energy has a lower bound.
VANISHING = 1e-10


def threshold_vae(
    X: ArrayLike,
    latent: int,
    alpha: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> Problem:
    """VAE with decoder pi_alpha(W z) + b and a Gaussian posterior per datum; parameters are
    `VAEParams`.

    X (n, d); latent k with 1 <= k <= d; alpha >= 0 in the data's units; gamma > 0 fixes the decoder
    variance (None: it is learned); beta > 0 weighs the KL part. alpha, gamma and beta may be
    traced, so one compiled program serves them all. Raises ValueError for data `data.check` refuses
    and for values out of range, RuntimeError without float64.
    """
    require_float64("the exact energy")
    if not isinstance(X, jax.core.Tracer):
        X = data.check(X)
    n, d = np.shape(X)
    if not 1 <= latent <= d:
        raise ValueError(
            f"expected 1 <= latent <= {d} (the data's features), got {latent}; choose fewer latents"
        )
    _require("alpha", alpha, "alpha >= 0", lambda a: np.isfinite(a) & (a >= 0))
    _require("beta", beta, "beta > 0", lambda b: np.isfinite(b) & (b > 0))
    if gamma is not None:
        _require(
            "gamma", gamma, "gamma > 0, or None to learn it", lambda g: np.isfinite(g) & (g > 0)
        )

    Z = jnp.asarray(X, jnp.float64)
    center = Z.mean(axis=0)
    gammabar = jnp.mean((Z - center[None]) ** 2)
    beta = jnp.asarray(beta, Z.dtype)
    alpha = jnp.asarray(alpha, Z.dtype)
    gamma = None if gamma is None else jnp.asarray(gamma, Z.dtype)
    fixed = None if gamma is None else jnp.log(gamma)

    def reconstruction(weight: Array, mean: Array, log_std: Array) -> energy.Moments:
        """Of one output coordinate, less its bias: weight, mean, log_std (k,)."""
        variance = jnp.dot(weight**2, jnp.exp(2.0 * log_std))
        return energy.soft_threshold(jnp.dot(weight, mean), variance, alpha)

    def term(row, log_gamma, local, x):
        weight, bias = row
        error = energy.expected_squared_error(x - bias, *reconstruction(weight, *local))
        return energy.gaussian(error, log_gamma if fixed is None else fixed)

    def penalty(_, local):
        return beta * jnp.sum(energy.divergence(*local))

    def split(params: VAEParams) -> Parts:
        return Parts((params.weight, params.bias), params.log_gamma, (params.mean, params.log_std))

    def join(parts: Parts) -> VAEParams:
        (weight, bias), (mean, log_std) = parts.rows, parts.local
        return VAEParams(weight, bias, parts.shared, mean, log_std)

    structure = Structure(Z, term, penalty, split, join)

    def collapsed() -> VAEParams:
        posterior = jnp.zeros((n, latent), Z.dtype)
        log_gamma = jnp.log(gammabar) if fixed is None else None
        return VAEParams(jnp.zeros((d, latent), Z.dtype), center, log_gamma, posterior, posterior)

    def init(key: Array, scale: ArrayLike = 0.1) -> VAEParams:
        """A random linear decoder and a random linear encoder: entries of W are scale
        sqrt(gammabar) times standard normal, posterior means scale times a random projection of the
        standardized datum; the rest as at collapse.
        """
        decoder, encoder = jax.random.split(key)
        unit = jnp.sqrt(gammabar)
        weight = jnp.asarray(scale) * unit * jax.random.normal(decoder, (d, latent), Z.dtype)
        projection = jax.random.normal(encoder, (d, latent), Z.dtype) / jnp.sqrt(1.0 * d)
        return collapsed()._replace(
            weight=weight, mean=jnp.asarray(scale) * ((Z - center[None]) / unit) @ projection
        )

    def gamma_of(params: VAEParams) -> Array:
        log_gamma = params.log_gamma if fixed is None else fixed
        return jnp.exp(jnp.asarray(log_gamma))

    def dead_rows(params: VAEParams) -> Array:
        """(d,) rows at zero, or below a threshold so far away that the energy does not feel
        them.
        """

        def effect(weight, deviation):
            y = jax.vmap(reconstruction, in_axes=(None, 0, 0))(weight, params.mean, params.log_std)
            return jnp.mean(2.0 * jnp.abs(deviation * y.mean) + y.mean**2 + y.variance)

        # A row at a time where there are many data: they fill a core on their own.
        each = params.weight, (Z - params.bias[None]).T
        effects = (
            jax.vmap(effect)(*each)
            if n * d <= STREAM
            else jax.lax.map(lambda row: effect(*row), each)
        )
        silent = effects / gamma_of(params) < NEGLIGIBLE
        return jnp.all(params.weight == 0, axis=1) | ((alpha > 0) & silent)

    def settle(params: VAEParams) -> VAEParams:
        return params._replace(weight=jnp.where(dead_rows(params)[:, None], 0.0, params.weight))

    def information(params: VAEParams) -> Array:
        return jnp.mean(energy.divergence(params.mean, params.log_std), axis=0) - 1.0

    def known(params: VAEParams, uncertainty: ArrayLike = 0.0) -> Theory:
        loss = structure.loss(params)
        zero = rows.dead_rows(Z, params, alpha, gamma_of(params), uncertainty, resolution(loss))
        region = theory.collapse_radius(Z, alpha, gamma, beta)
        trivial = is_trivial(params, region, center, zero.dead)
        falling = zero.falling & ~trivial
        # Where the fall is too weak to be measured, a small step of the row's own scale shows the
        # way.
        way = jnp.where((zero.drop > 0)[:, None], zero.way, 0.1 * alpha * zero.direction)
        move = jnp.where(falling[:, None], way, 0.0)
        # At large n this decomposition takes longer than all else here.
        minimum = jax.lax.cond(
            alpha == 0, lambda: theory.global_minimum(X, latent, gamma, beta), lambda: jnp.nan
        )
        slope = push = jnp.asarray(jnp.nan)
        if fixed is None:
            ray = theory.unbounded_ray(Z, latent, alpha, beta, minimum)
            slope = ray.slope
            minimum = jnp.where(
                ray.exists, -jnp.inf, jnp.where(minimum == -jnp.inf, jnp.nan, minimum)
            )
            rest = (
                d * params.log_gamma
                + jnp.mean(jnp.sum(energy.divergence(params.mean, params.log_std), axis=1)) * beta
            )
            push = d - (loss - rest)
        return Theory(
            dead_rows=jnp.sum(zero.dead),
            collapsed=trivial | (jnp.all(zero.dead) & (jnp.max(information(params)) < 1e-10)),
            strict=jnp.where(alpha > 0, jnp.where(trivial, d, jnp.sum(zero.strict)) * latent, 0),
            falling=jnp.sum(falling),
            drop=jnp.sum(jnp.where(falling, zero.drop, 0.0)),
            descent=jax.tree.map(jnp.zeros_like, params)._replace(weight=move),
            radius=jnp.where(trivial, region.radius, 0.0),
            minimum=minimum,
            slope=slope,
            push=push,
            runaway=(gamma_of(params) < VANISHING * gammabar)
            & (fixed is None)
            & ~jnp.isfinite(minimum),
        )

    def size(params: VAEParams) -> VAEParams:
        sizes = jax.tree.map(lambda x: jnp.maximum(1.0, jnp.abs(x)), params)
        unit = jnp.sqrt(gammabar)
        return sizes._replace(
            weight=jnp.maximum(unit, jnp.abs(params.weight)),
            bias=jnp.maximum(unit, jnp.abs(params.bias - center)),
        )

    def latents(params: VAEParams) -> tuple[Array, Array, Array]:
        rest = params.bias - center
        rest = rest if params.log_gamma is None else jnp.append(rest, params.log_gamma)
        return jnp.concatenate([params.weight, params.mean]).T, params.log_std.T, rest

    def relabel(params: VAEParams, order: Array, sign: Array) -> VAEParams:
        return params._replace(
            weight=params.weight[:, order] * sign[None],
            mean=params.mean[:, order] * sign[None],
            log_std=params.log_std[:, order],
        )

    def autoencoder(params: VAEParams) -> Autoencoder:
        def decode(z: Array) -> Array:
            return soft_threshold(z @ params.weight.T, alpha) + jnp.broadcast_to(
                params.bias, (*z.shape[:-1], d)
            )

        def error(mean: Array, log_std: Array, x: Array) -> Array:
            y = jax.vmap(reconstruction, in_axes=(0, None, None))(params.weight, mean, log_std)
            return jnp.sum(energy.expected_squared_error(x - params.bias, *y))

        return Autoencoder(
            Z, params.mean, params.log_std, decode, gamma_of(params), fixed is None, beta, error
        )

    def restrict(params: VAEParams, keep: Array) -> VAEParams:
        def off(a):
            return jnp.where(keep[None], a, 0.0)

        return params._replace(
            weight=off(params.weight), mean=off(params.mean), log_std=off(params.log_std)
        )

    def deterministic() -> Problem:
        def error(params: VAEParams) -> Array:
            y = soft_threshold(params.mean @ params.weight.T, alpha) + params.bias[None]
            return jnp.mean((Z - y) ** 2)

        return Problem(error, init)

    def recipe() -> tuple[Callable[..., Problem], dict[str, Any]]:
        return _Make(latent), {"X": Z, "alpha": alpha, "gamma": gamma, "beta": beta}

    def loss(params: VAEParams) -> Array:
        return compiled(_loss, problem, params)

    traced = any(isinstance(x, jax.core.Tracer) for x in (Z, alpha, gamma, beta))
    problem = Problem(
        structure.loss if traced else loss,
        init,
        collapsed,
        structure,
        information,
        settle,
        known,
        size,
        latents,
        relabel,
        autoencoder=autoencoder,
        restrict=restrict,
        deterministic=deterministic,
        recipe=recipe,
        original=lambda: problem,
    )
    return problem


def soft_threshold(u: Array, alpha: ArrayLike) -> Array:
    """sign(u) max(|u| - alpha, 0), elementwise (eq. 5); where alpha = 0 its derivative is 1 at 0
    too.
    """
    return jnp.where(jnp.abs(u) >= alpha, u - alpha * jnp.sign(u), 0.0)


def sampled_loss(
    problem: Problem, params: VAEParams, key: Array, samples: int = 1, batch: int | None = None
) -> Array:
    """What training sees of a threshold VAE's energy: an unbiased draw of `problem.loss(params)`,
    and so is its gradient.

    samples: latents drawn per datum, z = mu + sigma eps (Kingma & Welling 2014; Rezende et al.
    2014), the KL part being exact; batch: data drawn without replacement (None: all). The gradient
    of data left out is zero. Where no draw passes the threshold, as at W = 0 and alpha > 0, that of
    the weight is exactly zero. Raises ValueError for numbers out of range.
    """
    recipe = recipe_of(problem)
    if recipe is None:
        raise ValueError(
            "expected a threshold VAE's problem, got one without recipe; make it with "
            "vae.threshold_vae"
        )
    arrays = recipe[1]
    X, alpha, gamma, beta = (arrays[name] for name in ("X", "alpha", "gamma", "beta"))
    n = len(X)
    if samples < 1 or not 1 <= (n if batch is None else batch) <= n:
        raise ValueError(
            f"expected samples >= 1 and a batch of 1 to {n} data, got {samples} and {batch}; "
            f"change either"
        )
    which, noise = jax.random.split(key)
    mean, log_std, x = params.mean, params.log_std, X
    if batch is not None:
        mean, log_std, x = (
            a[jax.random.choice(which, n, (batch,), replace=False)] for a in (mean, log_std, x)
        )
    z = mean[None] + jnp.exp(log_std)[None] * jax.random.normal(
        noise, (samples, *mean.shape), mean.dtype
    )
    u = z @ params.weight.T
    y = soft_threshold(u, alpha) + params.bias[None, None]
    log_gamma = jnp.asarray(params.log_gamma) if gamma is None else jnp.log(gamma)
    return energy.drawn(x, y, mean, log_std, log_gamma, beta)


@dataclass(frozen=True)
class _Make:
    """What of a threshold VAE's arguments is no array."""

    latent: int

    def __call__(self, X: Array, alpha: Array, gamma: Array | None, beta: Array) -> Problem:
        return threshold_vae(X, self.latent, alpha, gamma, beta)


def _loss(problem: Any, params: VAEParams) -> Array:
    return problem.structure.loss(params)


def _require(name: str, value: ArrayLike, expected: str, allowed: Callable) -> None:
    if not isinstance(value, jax.core.Tracer) and not np.all(allowed(np.asarray(value))):
        raise ValueError(f"expected {expected}, got {name} = {value}; choose another value")
