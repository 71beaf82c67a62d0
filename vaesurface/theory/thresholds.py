"""Above which decoder variance is it better to collapse? Proposition 5.1 of Dai, Wang & Wipf (ICML
2020), made computable.

A decoder with means f(z) beats the trivial one (constant at the data's mean, q(z|x) = p(z)) at
gamma and beta exactly when some encoder has (D0 - F) / gamma > beta KL2, where D0 = d gammabar, F =
mean_i E_q ||x_i - f(z)||^2 and KL2 = mean_i sum_j (sigma^2 - log sigma^2 + mu^2 - 1), twice the KL
divergence. So gamma' = sup (D0 - F) / (beta KL2) over encoders: free ones, a Gaussian for each
datum. An encoder network can do no better: the threshold of an architecture is at most this one.

Whatever encoder is found gives a lower bound on gamma'. An upper bound comes from all distributions
q, Gaussian or not: by Gibbs' variational principle the least F + gamma 2 KL of a datum is -2 gamma
log E_p exp(-||x - f(z)||^2 / (2 gamma)). Nothing wins beyond the gamma at which the decoder's
marginal likelihood, at variance beta gamma, is down to that of N(mean, beta gamma I). It is finite
for every decoder, Lipschitz or not: as gamma grows that least value tends to the error at q = p,
which exceeds D0 unless f is the mean almost everywhere, and then nothing wins at any gamma.

Inside this module gamma stands for beta gamma until results are made.

>>> from vaesurface import data, theory, vae
>>> X = data.gaussian(20, [4.0, 1.0, 0.2], seed=0)
>>> minima = (e for e in theory.stationary_points(X, 2, gamma=0.5) if e.negative == 0)
>>> *_, best = minima  # columns for 4 and 1
>>> problem = vae.threshold_vae(X, 2, alpha=0.0, gamma=0.5)
>>> print(f"{collapse_threshold(problem, best.params).gamma:.4f}")
2.3154
>>> print(latent_thresholds(problem, best.params).gamma.round(4))
[2.7216 0.7905]
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.special import logsumexp

from vaesurface import energy
from vaesurface.glance import brief
from vaesurface.problem import Autoencoder, Params, Problem, entry
from vaesurface.theory.bisection import bisect
from vaesurface.theory.encoders import (
    Error,
    Search,
    best_encoders,
    costs,
    error_of,
    parted,
    posteriors,
    prepared,
)

__all__ = ["LatentThresholds", "Threshold", "collapse_threshold", "latent_thresholds"]

# Relative units of rounding, of D0, below which a gain is none.
GAIN_ROUNDINGS = 64
# At most, of Dinkelbach's iteration (it takes five to ten) and in the search for gamma''.
MOST_TURNS = 80
# Of gammabar: a decoder that does not win there is said never to win.
NEVER_BELOW = 1e-8
# Of D0: beyond that nothing wins.
NEVER_ABOVE = 1e4
# Where a latent's worth is looked at: gamma from the first (of D0) down to the second (of gammabar)
# in strides of the third.
WORTH_FROM, WORTH_DOWN_TO, WORTH_STRIDE = 2.0, 1e-3, 0.7
# Per datum, for what is said of the encoder that was found.
DRAWS = 1024
# One draw in so many comes from the prior: importance weights stay below 4 / 3 where the encoder is
# right.
DEFENSIVE = 4


@brief()
class Threshold(NamedTuple):
    """gamma' of a decoder, at the model's beta, and the encoder that attains it; 0: the decoder
    never wins.

    gamma: (), the ratio of the best encoder found, a lower bound on gamma'; by the model's own
        `error` or, where that is sampled, by fresh draws.
    fresh: (), that ratio by fresh draws through the decoder.
    error_bar: (), its standard error: if gamma is many of them away, `error` is not what it claims.
    upper: (), the gamma above which no distribution q at all wins, by importance sampling.
    upper_error: (), its standard error.
    mean: (n, k), the encoder's means.
    log_std: (n, k), logarithms of its standard deviations.
    per_latent: (k,), twice its KL divergence.
    agreed: (n,), how many of `encoders.STARTS` starts, made anew at the last gamma, reached the
        datum's best.
    converged: (), gamma stopped changing.
    """

    gamma: Array
    fresh: Array
    error_bar: Array
    upper: Array
    upper_error: Array
    mean: Array
    log_std: Array
    per_latent: Array
    agreed: Array
    converged: Array


@brief()
class LatentThresholds(NamedTuple):
    """gamma'' of every latent: the largest gamma at which the decoder is better with it than
    without.

    gamma: (k,); 0: never better; inf: better up to the largest gamma looked at.
    low: (k,), where it was found better.
    high: (k,), where it was found worse.
    """

    gamma: Array
    low: Array
    high: Array


def collapse_threshold(
    problem: Problem,
    params: Params,
    key: Array | None = None,
    samples: int | None = None,
    draws: int = DRAWS,
) -> Threshold:
    """gamma' of Proposition 5.1 for the decoder that params make: above it the trivial solution has
    the lower energy.

    By Dinkelbach's iteration (Management Science 13, 1967): at a given gamma the best encoder
    separates over data, 2 k numbers each; its ratio is the next gamma. Those problems are not
    convex, so several starts are made for each.

    samples: the expected error is a mean over as many draws, an even number, the same for all
    encoders (None: the model's own `error`, or `encoders.SEARCH_SAMPLES` where it has none). draws:
    per datum for `fresh` and `upper`, independent of those. One program per make and shape; runs
    under `vmap`. Raises ValueError for a problem without `autoencoder`, RuntimeError without
    float64.
    """
    _require_draws(samples, draws)
    key = jax.random.key(0) if key is None else key
    return _collapse_threshold(problem, params, key, samples=samples, draws=draws)


def latent_thresholds(
    problem: Problem, params: Params, key: Array | None = None, samples: int | None = None
) -> LatentThresholds:
    """gamma'' of every latent: with this decoder, up to which gamma it is worth its KL divergence.

    The least energy over encoders against that of the decoder with the latent ignored
    (`problem.restrict`): the first change of sign from large gamma down, in strides, located by
    Newton's method within the bracket. Both energies are the lowest found from several starts.
    Arguments and errors as in `collapse_threshold`; the problem needs `restrict` as well.
    """
    _require_draws(samples, 1)
    key = jax.random.key(0) if key is None else key
    return _latent_thresholds(problem, params, key, samples=samples)


def _gaussian(model: Autoencoder) -> Autoencoder:
    """Itself. Raises ValueError for another likelihood, which has no gamma."""
    if model.likelihood != "gaussian":
        raise ValueError(
            f"expected a Gaussian decoder, got likelihood={model.likelihood!r}, which has no "
            "gamma; theory.collapse_ratios says up to which beta a latent pays"
        )
    return model


def _require_draws(samples: int | None, draws: int) -> None:
    if draws < 1 or (samples is not None and samples < 1):
        raise ValueError(
            f"expected samples and draws of 1 or more, got {samples} and {draws}; take more"
        )


@entry("thresholds", static=("samples", "draws"))
def _collapse_threshold(
    problem: Problem, params: Params, key: Array, samples: int | None, draws: int
) -> Threshold:
    model = _gaussian(problem.autoencoder(params))
    searching, noise, evaluating, bounding = jax.random.split(key, 4)
    level = _level(model.data)
    error = error_of(model, noise, samples)
    last = _dinkelbach(error, prepared(model, searching), level)
    wins = last.ratio > 0
    fresh, error_bar = _ratio_of_draws(model, last.posterior, level, evaluating, draws)
    upper, upper_error = _upper(model, last.posterior, level, bounding, draws)
    mean, log_std = parted(last.posterior)
    ratio = last.ratio if error is model.error else fresh
    beta = jnp.asarray(model.beta, level.dtype)
    return Threshold(
        gamma=jnp.where(wins, ratio, 0.0) / beta,
        fresh=jnp.where(wins, fresh, 0.0) / beta,
        error_bar=jnp.where(wins, error_bar, 0.0) / beta,
        upper=upper / beta,
        upper_error=upper_error / beta,
        mean=mean,
        log_std=log_std,
        per_latent=energy.information(mean, log_std),
        agreed=last.agreed,
        converged=jnp.asarray(last.turns < MOST_TURNS),
    )


@entry("thresholds", static=("samples",))
def _latent_thresholds(
    problem: Problem, params: Params, key: Array, samples: int | None
) -> LatentThresholds:
    model = _gaussian(problem.autoencoder(params))
    searching, noise = jax.random.split(key)
    k = model.mean.shape[1]

    def least(part: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        """At gamma the value of the decoder with the latents kept, and its best posteriors."""
        keep, g, posterior = part
        kept = problem.autoencoder(problem.restrict(params, keep))
        error = error_of(kept, noise, samples)
        best = best_encoders(error, prepared(kept, searching), g, posterior)
        return jnp.mean(best.value), best.posterior

    def worth(others: Array, g: Array, posterior: Array) -> _Worth:
        keeps = jnp.stack([jnp.ones(k, bool), others])
        values, best = jax.lax.map(least, (keeps, jnp.stack([g, g]), posterior))
        cost, cost_without = jnp.mean(costs(best), axis=1)
        return _Worth(value=values[1] - values[0], slope=cost_without - cost, posterior=best)

    def bracket(others: Array) -> tuple[Array, Array]:
        own = posteriors(model)
        return _bracket(partial(worth, others), model.data, jnp.stack([own, own]))

    low, high = jax.lax.map(bracket, ~jnp.eye(k, dtype=bool))
    gamma = jnp.where(high < jnp.inf, jnp.sqrt(low * high), jnp.inf)
    beta = jnp.asarray(model.beta, low.dtype)
    return LatentThresholds(
        gamma=jnp.where(low > 0, gamma, 0.0) / beta, low=low / beta, high=high / beta
    )


def _level(X: Array) -> Array:
    """D0 = d gammabar: the error of the best constant."""
    return X.shape[1] * energy.gammabar(X)


class _Turn(NamedTuple):
    """Of Dinkelbach's iteration.

    gamma: (), at which encoders were searched for.
    ratio: (), (D0 - F) / KL2 of the best, -1 where nothing wins.
    excess: (), D0 less the least F + gamma KL2: zero at the end.
    posterior: (n, 2 k), the best encoder.
    agreed: (n,), of `STARTS` starts.
    turns: (), made.
    """

    gamma: Array
    ratio: Array
    excess: Array
    posterior: Array
    agreed: Array
    turns: Array | int


def _dinkelbach(error: Error, search: Search, level: Array) -> _Turn:
    """The last turn of gamma <- (D0 - F) / KL2, F and KL2 of the encoder with the least F + gamma
    KL2.
    """
    n, d = search.data.shape
    rounding = GAIN_ROUNDINGS * jnp.finfo(level.dtype).eps * level

    def is_open(last: _Turn) -> Array:
        settled = (last.ratio > 0) & (jnp.abs(last.excess) <= rounding)
        return ~settled & (last.gamma > NEVER_BELOW * level / d) & (last.turns < MOST_TURNS)

    def turn(last: _Turn) -> _Turn:
        # Where nothing wins at a gamma the sign of the ratio is that of the gain: look at smaller
        # ones.
        g = jnp.where(last.ratio > 0, last.ratio, 0.1 * last.gamma)
        g = jnp.where(last.turns == 0, last.gamma, g)
        best = best_encoders(error, search, g, last.posterior)
        excess, cost = level - jnp.mean(best.value), jnp.mean(costs(best.posterior))
        gain = excess + g * cost
        wins = (gain > rounding) & (cost > 0)
        return _Turn(
            gamma=g,
            ratio=jnp.where(wins, gain / jnp.where(wins, cost, 1.0), -1.0),
            excess=excess,
            posterior=best.posterior,
            agreed=best.agreed,
            turns=last.turns + 1,
        )

    start = _Turn(
        gamma=level / d,
        ratio=-jnp.ones_like(level),
        excess=level,
        posterior=search.own,
        agreed=jnp.zeros(n, int),
        turns=0,
    )
    return jax.lax.while_loop(is_open, turn, start)


class _Worth(NamedTuple):
    """Of a latent, at some gamma.

    value: (), the least F + gamma KL2 without it less that with it.
    slope: (), its derivative by gamma.
    posterior: (2, n, 2 k), the best encoders with and without.
    """

    value: Array
    slope: Array
    posterior: Array


class _Bracket(NamedTuple):
    """Of the search for gamma''.

    low: (), the largest gamma at which the latent is worth it, 0 before there is one.
    high: (), the least one above at which it is not, inf before there is one.
    gamma: (), to look at next.
    posterior: (2, n, 2 k), the last best encoders.
    turns: (), made.
    """

    low: Array
    high: Array
    gamma: Array
    posterior: Array
    turns: Array | int


def _bracket(
    worth: Callable[[Array, Array], _Worth], X: Array, posterior: Array
) -> tuple[Array, Array]:
    """low and high around the largest root of a latent's worth(gamma, posterior), or as they are
    where it has none.
    """
    level = _level(X)
    least = WORTH_DOWN_TO * level / X.shape[1]
    closed = GAIN_ROUNDINGS * jnp.finfo(level.dtype).eps

    def is_open(last: _Bracket) -> Array:
        wide = jnp.where(last.low > 0, last.high > last.low * (1.0 + closed), last.gamma >= least)
        return wide & jnp.isfinite(last.gamma) & (last.turns < MOST_TURNS)

    def turn(last: _Bracket) -> _Bracket:
        """Down from the top to where the latent first pays, then closer."""
        g = last.gamma
        at = worth(g, last.posterior)
        pays = at.value > closed * level  # rather than by rounding alone
        low, high = jnp.where(pays, g, last.low), jnp.where(pays, last.high, g)
        falls = at.slope < 0
        root = g - at.value / jnp.where(falls, at.slope, -1.0)
        # A hair more than Newton's step, so that the bracket closes from both sides.
        root = root * (1.0 + jnp.where(at.value > 0, closed, -closed) / 4)
        closer = jnp.where(falls & (root > low) & (root < high), root, jnp.sqrt(low * high))
        return _Bracket(
            low=low,
            high=high,
            gamma=jnp.where(low > 0, closer, g * WORTH_STRIDE),
            posterior=at.posterior,
            turns=last.turns + 1,
        )

    start = _Bracket(
        low=jnp.zeros_like(level),
        high=jnp.full_like(level, jnp.inf),
        gamma=WORTH_FROM * level,
        posterior=posterior,
        turns=0,
    )
    last = jax.lax.while_loop(is_open, turn, start)
    return last.low, last.high


def _ratio_of_draws(
    model: Autoencoder, posterior: Array, level: Array, key: Array, draws: int
) -> tuple[Array, Array]:
    """(D0 - F) / KL2 of an encoder, F by draws of their own for each datum, and its standard
    error.
    """

    def datum(one: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        key, v, x = one
        mean, log_std = parted(v)
        eps = jax.random.normal(key, (draws, mean.size), v.dtype)
        y = model.decode(mean[None] + jnp.exp(log_std)[None] * eps)
        squares = jnp.sum((x[None] - y) ** 2, axis=1)
        return jnp.mean(squares), jnp.var(squares) / draws

    keys = jax.random.split(key, len(posterior))
    errors, variances = jax.lax.map(datum, (keys, posterior, model.data))
    cost = jnp.mean(costs(posterior))
    cost = jnp.where(cost > 0, cost, 1.0)
    error_bar = jnp.sqrt(jnp.mean(variances) / len(posterior))
    return (level - jnp.mean(errors)) / cost, error_bar / cost


def _upper(
    model: Autoencoder, posterior: Array, level: Array, key: Array, draws: int
) -> tuple[Array, Array]:
    """The gamma at which D0 + 2 gamma mean_i log Z_i = 0, Z_i = E_p exp(-||x_i - f(z)||^2 / (2
    gamma)), and its standard error; 0 where no gamma wins.

    The left side is convex and decreases in gamma: from all distributions q it is the largest of D0
    - F - gamma KL2.
    """
    keys = jax.random.split(key, len(posterior))

    def datum(one: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        key, v, x = one
        return _weighed(model, key, v, x, draws)

    weights, squares = jax.lax.map(datum, (keys, posterior, model.data))

    def wins(g: Array) -> Array:
        return _margin(weights, squares, level, g).value > 0

    low = NEVER_BELOW * level / model.data.shape[1]
    rounding = GAIN_ROUNDINGS * jnp.finfo(level.dtype).eps * level
    some = _margin(weights, squares, level, low).value > rounding
    g, _ = bisect(wins, low, NEVER_ABOVE * level)
    at = _margin(weights, squares, level, g)
    error = jnp.sqrt(at.variance) / jnp.abs(at.slope)
    return jnp.where(some, g, 0.0), jnp.where(some, error, 0.0)


def _weighed(model: Autoencoder, key: Array, v: Array, x: Array, draws: int) -> tuple[Array, Array]:
    """Draws for E_p of one datum: logarithms of importance weights p / q, and squared errors, (m,)
    each.

    One draw in `DEFENSIVE` is from the prior p and the rest from the posterior v, so that q is
    their mixture.
    """
    mean, log_std = parted(v)
    eps = jax.random.normal(key, (draws, mean.size), v.dtype)
    prior = (jnp.arange(draws) % DEFENSIVE == 0)[:, None]
    z = jnp.where(prior, eps, mean[None] + jnp.exp(log_std)[None] * eps)
    scaled = (z - mean[None]) / jnp.exp(log_std)[None]
    log_ratio = jnp.sum(0.5 * z**2 - 0.5 * scaled**2 - log_std[None], axis=1)  # posterior / prior
    log_ratio = log_ratio + jnp.log1p(-1.0 / DEFENSIVE)
    weights = -jnp.logaddexp(jnp.log(1.0 / DEFENSIVE), log_ratio)
    return weights, jnp.sum((x[None] - model.decode(z)) ** 2, axis=1)


class _Margin(NamedTuple):
    """D0 + 2 gamma mean_i log Z_i, as estimated.

    value: ().
    slope: (), its derivative by gamma.
    variance: (), of the estimate.
    """

    value: Array
    slope: Array
    variance: Array


def _margin(weights: Array, squares: Array, level: Array, g: Array) -> _Margin:
    """By weights and squares (n, m) of draws, Z_i = mean_m exp(weight - square / (2 gamma)); the
    mean of its logarithm is corrected for half its relative variance.
    """
    n, draws = weights.shape
    terms = weights - squares / (2.0 * g)
    log_z = logsumexp(terms, axis=1) - jnp.log(1.0 * draws)
    share = jax.nn.softmax(terms, axis=1)
    doubt = jnp.sum(share**2, axis=1) - 1.0 / draws  # relative variance of Z
    return _Margin(
        value=level + 2.0 * g * jnp.mean(log_z + 0.5 * doubt),
        slope=2.0 * jnp.mean(log_z) + jnp.mean(jnp.sum(share * squares, axis=1)) / g,
        variance=(2.0 * g) ** 2 * jnp.mean(doubt) / n,
    )
