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

>>> from vaesurface import data, theory, vae
>>> X = data.gaussian(20, [4.0, 1.0, 0.2], seed=0)
# columns for 4 and 1
>>> *_, best = (e.params for e in theory.stationary_points(X, 2, gamma=0.5) if e.negative == 0)
>>> problem = vae.threshold_vae(X, 2, alpha=0.0, gamma=0.5)
>>> print(f"{collapse_threshold(problem, best).gamma:.4f}", latent_thresholds(problem, best).gamma.round(4))
2.3154 [2.7216 0.7905]
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from vaesurface import energy
from vaesurface.problem import Autoencoder, Params, Problem, compiled, require_float64

Error = Callable[[Array, Array, Array], Array]

# per datum, in every search: the model's posterior, near the prior, two from a scan of the decoder,
# a random one
STARTS = 5
SCANNED = 256  # latents at which the decoder is looked at for those
SPREAD = 1.5  # their standard deviation, the prior's being 1
WIDTHS = (0.5, 0.1)  # posterior standard deviations that the scan's two starts begin with
STEPS = 60  # of Newton's method, per start
FRACTIONS = (
    0.0,
    1.0,
    0.5,
    0.25,
    0.1,
    1e-2,
    1e-3,
)  # of a step that are tried; where none is lower than the first, it ends
TURNS = (
    80  # at most, of Dinkelbach's iteration (it takes five to ten) and in the search for gamma''
)
FLOOR = 1e-8  # of gammabar: a decoder that does not win there is said never to win
ROUNDINGS = 64  # relative units of rounding, of D0, below which a gain is none
AGREE = 1e-9  # of the larger of a datum's cost and gamma: closer values are the same minimum
MOST, LEAST, STRIDE = (
    2.0,
    1e-3,
    0.7,
)  # where a latent's worth is looked at: gamma from MOST D0 down to LEAST gammabar
SAMPLES = 128  # for the search, where the model knows no expectations
DRAWS = 1024  # per datum, for what is said of what it found
# one draw in so many comes from the prior: importance weights stay below 4 / 3 where the encoder is
# right
DEFENSIVE = 4


class Threshold(NamedTuple):
    """gamma' of a decoder, at the model's beta, and the encoder that attains it; 0: the decoder
    never wins.

    gamma: the ratio of the best encoder found, a lower bound on gamma'; by the model's own `error`
    or, where that is sampled, by fresh draws. fresh and error_bar: that ratio by fresh draws
    through the decoder, and its standard error: if gamma is many error bars away, `error` is not
    what it claims. upper and upper_error: the gamma above which no distribution q at all wins, by
    importance sampling, and its standard error. mean and log_std (n, k): the encoder; per_latent
    (k,): twice its KL divergence; agreed (n,): how many of STARTS starts, made anew at the last
    gamma, reached the datum's best; converged: gamma stopped changing.
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


class LatentThresholds(NamedTuple):
    """gamma'' of every latent (k,): the largest gamma at which the decoder is better with it than
    without.

    0: never better; inf: better up to the largest gamma looked at. low and high: where it was found
    better and worse.
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
    convex, so several starts are made for each. samples: the expected error is a mean over as many
    draws, an even number, the same for all encoders (None: the model's own `error`, or SAMPLES
    where it has none). draws: per datum for `fresh` and `upper`, independent of those. One program
    per make and shape; runs under `vmap`. Raises ValueError for a problem without `autoencoder`,
    RuntimeError without float64.
    """
    _require(problem, params, samples, draws)
    key = jax.random.key(0) if key is None else key
    return compiled(_threshold, problem, params, key, samples=samples, draws=draws)


def latent_thresholds(
    problem: Problem, params: Params, key: Array | None = None, samples: int | None = None
) -> LatentThresholds:
    """gamma'' of every latent: with this decoder, up to which gamma it is worth its KL divergence.

    The least energy over encoders against that of the decoder with the latent ignored
    (`problem.restrict`): the first change of sign from large gamma down, in strides, located by
    Newton's method within the bracket. Both energies are the lowest found from several starts.
    Arguments and errors as in `collapse_threshold`; the problem needs `restrict` as well.
    """
    _require(problem, params, samples, 1)
    if problem.restrict is None:
        raise ValueError(
            "expected a problem with restrict, got one without; say how a latent is switched off"
        )
    key = jax.random.key(0) if key is None else key
    return compiled(_latent_thresholds, problem, params, key, samples=samples)


def _require(problem: Problem, params: Params, samples: int | None, draws: int) -> None:
    require_float64("thresholds", params)
    if problem.autoencoder is None:
        raise ValueError(
            "expected a problem with autoencoder, got one without; say which VAE its parameters "
            "make"
        )
    if draws < 1 or (samples is not None and samples < 1):
        raise ValueError(
            f"expected samples and draws of 1 or more, got {samples} and {draws}; take more"
        )


def _threshold(
    problem: Any, params: Params, key: Array, samples: int | None, draws: int
) -> Threshold:
    model = problem.autoencoder(params)
    searching, noise, evaluating, bounding = jax.random.split(key, 4)
    sampled = samples is not None or model.error is None
    error = _error(model, noise, samples or SAMPLES) if sampled else model.error
    encode = _encoder(model, error, searching)
    level = _level(model.data)
    floor, rounding = (
        FLOOR * level / model.data.shape[1],
        ROUNDINGS * jnp.finfo(level.dtype).eps * level,
    )

    def open_(state):
        g, ratio, excess, *_, turns = state
        settled = (ratio > 0) & (jnp.abs(excess) <= rounding)
        return ~settled & (g > floor) & (turns < TURNS)

    def turn(state):
        g, ratio, _, best, _, turns = state
        # Where nothing wins at a gamma the sign of the ratio is that of the gain: look at smaller
        # ones.
        g = jnp.where(turns == 0, g, jnp.where(ratio > 0, ratio, 0.1 * g))
        values, best, agreed = encode(g, best)
        excess, cost = level - jnp.mean(values), jnp.mean(_costs(best))
        gain = excess + g * cost
        wins = (gain > rounding) & (cost > 0)
        return (
            g,
            jnp.where(wins, gain / jnp.where(wins, cost, 1.0), -1.0),
            excess,
            best,
            agreed,
            turns + 1,
        )

    own = jnp.concatenate([model.mean, model.log_std], axis=1)
    agreed = jnp.zeros(len(own), int)
    state = (level / model.data.shape[1], -jnp.ones_like(level), level, own, agreed, 0)
    _, ratio, _, best, agreed, turns = jax.lax.while_loop(open_, turn, state)
    wins = ratio > 0
    ratio = jnp.where(wins, ratio, 0.0)
    errors, variances = _drawn(model, best, evaluating, draws)
    costs = _costs(best)
    cost = jnp.where(wins, jnp.mean(costs), 1.0)
    fresh = jnp.where(wins, (level - jnp.mean(errors)) / cost, 0.0)
    error_bar = jnp.where(wins, jnp.sqrt(jnp.mean(variances) / len(own)) / cost, 0.0)
    upper, upper_error = _upper(model, best, level, bounding, draws)
    mean, log_std = jnp.split(best, 2, axis=1)
    beta = jnp.asarray(model.beta, ratio.dtype)
    return Threshold(
        gamma=(fresh if sampled else ratio) / beta,
        fresh=fresh / beta,
        error_bar=error_bar / beta,
        upper=upper / beta,
        upper_error=upper_error / beta,
        mean=mean,
        log_std=log_std,
        per_latent=jnp.mean(energy.divergence(mean, log_std), axis=0) - 1.0,
        agreed=agreed,
        converged=jnp.asarray(turns < TURNS),
    )


def _latent_thresholds(
    problem: Any, params: Params, key: Array, samples: int | None
) -> LatentThresholds:
    model = problem.autoencoder(params)
    searching, noise = jax.random.split(key)
    level = _level(model.data)
    top, least = MOST * level, LEAST * level / model.data.shape[1]
    k, closed = model.mean.shape[1], ROUNDINGS * jnp.finfo(level.dtype).eps

    def least_energy(one: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        """At gamma, of the decoder with some latents kept, and the encoders; the search begins from
        others.
        """
        keep, g, encoders = one
        part = problem.autoencoder(problem.restrict(params, keep))
        error = (
            _error(part, noise, samples or SAMPLES)
            if samples is not None or part.error is None
            else part.error
        )
        values, encoders, _ = _encoder(part, error, searching)(g, encoders)
        return jnp.mean(values), encoders

    def one(without: Array) -> tuple[Array, Array, Array]:
        keeps = jnp.stack([jnp.ones(k, bool), without])

        # Down from the top to where the latent first pays, then closer; low is 0 until it has.
        def open_(state):
            low, high, g, _, turns = state
            return (
                jnp.where(low > 0, high > low * (1.0 + closed), g >= least)
                & jnp.isfinite(g)
                & (turns < TURNS)
            )

        def turn(state):
            low, high, g, encoders, turns = state
            values, encoders = jax.lax.map(least_energy, (keeps, jnp.stack([g, g]), encoders))
            worth = values[1] - values[0]
            pays = worth > closed * level  # rather than by rounding alone
            low, high = jnp.where(pays, g, low), jnp.where(pays, high, g)
            cost, other = (jnp.mean(_costs(e)) for e in encoders)
            slope = other - cost  # of the worth in gamma, for encoders are at their best
            # Newton's step, and a hair more, so that the bracket closes from both sides.
            root = g - worth / jnp.where(slope < 0, slope, -1.0)
            root = root * (1.0 + jnp.where(worth > 0, closed, -closed) / 4)
            inside = (slope < 0) & (root > low) & (root < high)
            closer = jnp.where(inside, root, jnp.sqrt(low * high))
            return low, high, jnp.where(low > 0, closer, g * STRIDE), encoders, turns + 1

        own = jnp.concatenate([model.mean, model.log_std], axis=1)
        zero = jnp.zeros_like(level)
        state = (zero, jnp.full_like(level, jnp.inf), top, jnp.stack([own, own]), 0)
        low, high, *_ = jax.lax.while_loop(open_, turn, state)
        return (
            jnp.where(
                (low > 0) & (high < jnp.inf), jnp.sqrt(low * high), jnp.where(low > 0, jnp.inf, 0.0)
            ),
            low,
            high,
        )

    found = jax.lax.map(one, ~jnp.eye(k, dtype=bool))
    return LatentThresholds(*(x / jnp.asarray(model.beta, level.dtype) for x in found))


def _level(X: Array) -> Array:
    """D0: the error of the best constant."""
    return jnp.mean(jnp.sum((X - X.mean(axis=0, keepdims=True)) ** 2, axis=1))


def _error(model: Autoencoder, key: Array, samples: int) -> Error:
    """The expected squared error by draws that are the same for every encoder and datum.

    Pairs of opposite sign, of unit mean square in each latent: first and second moments are right,
    as a linear decoder asks.
    """
    half = jax.random.normal(key, ((samples + 1) // 2, model.mean.shape[1]), model.data.dtype)
    half = half / jnp.sqrt(jnp.mean(half**2, axis=0, keepdims=True))
    noise = jnp.concatenate([half, -half])

    def error(mean: Array, log_std: Array, x: Array) -> Array:
        y = model.decode(mean[None] + jnp.exp(log_std)[None] * noise)
        return jnp.mean(jnp.sum((x[None] - y) ** 2, axis=1))

    return error


def _costs(encoders: Array) -> Array:
    """Twice the KL divergence (n,)."""
    mean, log_std = jnp.split(encoders, 2, axis=1)
    return jnp.sum(energy.divergence(mean, log_std) - 1.0, axis=1)


def _encoder(
    model: Autoencoder, error: Error, key: Array
) -> Callable[[Array, Array], tuple[Array, Array, Array]]:
    """encode(gamma, best (n, 2 k)): for each datum the lowest error + gamma 2 KL found, where, how
    many starts agree.
    """
    X = model.data
    n, k = model.mean.shape
    nudge, scan, random = jax.random.split(key, 3)
    latents = SPREAD * jax.random.normal(scan, (SCANNED, k), X.dtype)
    seen = model.decode(latents)
    off = jnp.sum((X**2), axis=1)[:, None] - 2.0 * X @ seen.T + jnp.sum(seen**2, axis=1)[None]
    weighed = jnp.sum(latents**2, axis=1)[None]

    def posterior(mean: Array, width: float) -> Array:
        return jnp.concatenate([mean, jnp.full_like(mean, jnp.log(width))], axis=1)

    near = posterior(0.1 * jax.random.normal(nudge, (n, k), X.dtype), 1.0)
    anywhere = posterior(SPREAD * jax.random.normal(random, (n, k), X.dtype), WIDTHS[0])
    own = jnp.concatenate([model.mean, model.log_std], axis=1)

    def encode(g: Array, best: Array) -> tuple[Array, Array, Array]:
        good = latents[jnp.argmin(off + g * weighed, axis=1)]
        starts = jnp.stack(
            [best, own, near, *(posterior(good, width) for width in WIDTHS), anywhere], axis=1
        )

        def datum(one):
            x, begin = one

            def objective(v):
                mean, log_std = jnp.split(v, 2)
                return error(mean, log_std, x) + g * jnp.sum(energy.divergence(mean, log_std) - 1.0)

            values, ends = jax.vmap(lambda v: _descend(objective, v))(begin)
            lowest = jnp.argmin(values)
            same = values[1:] - values[lowest] <= AGREE * jnp.maximum(g, values[lowest])
            return values[lowest], ends[lowest], jnp.sum(same)

        return jax.lax.map(datum, (X, starts))

    return encode


def _descend(objective: Callable[[Array], Array], start: Array) -> tuple[Array, Array]:
    """Lowest value, and where, by Newton's method with |eigenvalues|; it ends where no part of a
    step leads lower.
    """

    def open_(state):
        *_, fell, steps = state
        return fell & (steps < STEPS)

    def twice(v):
        gradient = jax.grad(objective)(v)
        return gradient, gradient

    def step(state):
        v, _, _, steps = state
        hessian, gradient = jax.jacfwd(twice, has_aux=True)(v)
        values, vectors = jnp.linalg.eigh(hessian)
        size = jnp.abs(values)
        size = jnp.maximum(
            size, jnp.finfo(v.dtype).eps * jnp.maximum(jnp.max(size), jnp.finfo(v.dtype).tiny)
        )
        move = -vectors @ ((vectors.T @ gradient) / size)
        move = move / jnp.maximum(
            1.0, jnp.max(jnp.abs(move))
        )  # one prior's standard deviation, a factor of e in a width
        tried = v[None] + jnp.asarray(FRACTIONS, v.dtype)[:, None] * move[None]
        heights = jax.vmap(objective)(tried)
        best = jnp.argmin(jnp.where(jnp.isfinite(heights), heights, jnp.inf))
        return tried[best], heights[best], best > 0, steps + 1

    v, height, _, _ = jax.lax.while_loop(
        open_, step, (start, jnp.asarray(jnp.inf, start.dtype), jnp.asarray(True), 0)
    )
    return height, v


def _drawn(model: Autoencoder, encoders: Array, key: Array, draws: int) -> tuple[Array, Array]:
    """Expected squared error (n,) by draws of their own for each datum, and the squared standard
    errors (n,).
    """

    def datum(one):
        key, v, x = one
        mean, log_std = jnp.split(v, 2)
        z = mean[None] + jnp.exp(log_std)[None] * jax.random.normal(
            key, (draws, mean.size), v.dtype
        )
        squares = jnp.sum((x[None] - model.decode(z)) ** 2, axis=1)
        return jnp.mean(squares), jnp.var(squares) / draws

    return jax.lax.map(datum, (jax.random.split(key, len(encoders)), encoders, model.data))


def _upper(
    model: Autoencoder, encoders: Array, level: Array, key: Array, draws: int
) -> tuple[Array, Array]:
    """The gamma at which D0 + 2 gamma mean_i log Z_i = 0, Z_i = E_p exp(-||x_i - f(z)||^2 / (2
    gamma)), and its standard error.

    Z by importance sampling, one draw in DEFENSIVE from the prior and the rest from the encoder.
    The left side is convex and decreases in gamma: from all distributions q it is the largest of D0
    - F - gamma KL2.
    """

    def datum(one):
        key, v, x = one
        mean, log_std = jnp.split(v, 2)
        eps = jax.random.normal(key, (draws, mean.size), v.dtype)
        prior = (jnp.arange(draws) % DEFENSIVE == 0)[:, None]
        z = jnp.where(prior, eps, mean[None] + jnp.exp(log_std)[None] * eps)
        scaled = (z - mean[None]) / jnp.exp(log_std)[None]
        excess = jnp.sum(0.5 * z**2 - 0.5 * scaled**2 - log_std[None], axis=1)  # log q - log p
        weight = -jnp.logaddexp(jnp.log(1.0 / DEFENSIVE), excess + jnp.log1p(-1.0 / DEFENSIVE))
        return weight, jnp.sum((x[None] - model.decode(z)) ** 2, axis=1)

    weights, squares = jax.lax.map(
        datum, (jax.random.split(key, len(encoders)), encoders, model.data)
    )

    def excess(g: Array) -> tuple[Array, Array, Array]:
        """The left side, its slope and its variance."""
        terms = weights - squares / (2.0 * g)
        log_z = jax.nn.logsumexp(terms, axis=1) - jnp.log(1.0 * draws)
        share = jax.nn.softmax(terms, axis=1)
        doubt = (
            jnp.sum(share**2, axis=1) - 1.0 / draws
        )  # relative variance of Z; the mean of its log is half that too low
        slope = 2.0 * jnp.mean(log_z) + jnp.mean(jnp.sum(share * squares, axis=1)) / g
        value = level + 2.0 * g * jnp.mean(log_z + 0.5 * doubt)
        return value, slope, (2.0 * g) ** 2 * jnp.mean(doubt) / len(encoders)

    def halve(_, bracket):
        low, high = bracket
        middle = jnp.sqrt(low * high)
        wins = excess(middle)[0] > 0
        return jnp.where(wins, middle, low), jnp.where(wins, high, middle)

    low = FLOOR * level / model.data.shape[1]
    some = excess(low)[0] > ROUNDINGS * jnp.finfo(level.dtype).eps * level
    g, _ = jax.lax.fori_loop(0, 60, halve, (low, 1e4 * level))
    _, slope, variance = excess(g)
    return jnp.where(some, g, 0.0), jnp.where(some, jnp.sqrt(variance) / jnp.abs(slope), 0.0)
