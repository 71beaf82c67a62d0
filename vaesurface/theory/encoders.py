"""Which encoder suits a decoder best, datum by datum, at a given gamma?

The best Gaussian posterior of a datum has the least expected squared error plus gamma times twice
its KL divergence: 2 k numbers, searched for each datum on its own. That is no convex problem, so
Newton's method begins at several places.

>>> from vaesurface.problem import Autoencoder
>>> x, zero = jnp.array([[1.0], [-3.0]]), jnp.zeros((2, 1))
>>> model = Autoencoder(data=x, mean=zero, log_std=zero, decode=lambda z: 2.0 * z, gamma=1.0)
>>> search, error = prepared(model, jax.random.key(0)), error_of(model, jax.random.key(1))
>>> best = best_encoders(error, search, 1.0, posteriors(model))
>>> mean, log_std = parted(best.posterior)
>>> print(mean.ravel().round(4), (jnp.exp(log_std).ravel() ** 2).round(4))  # 2 x / 5 and 1 / 5
[ 0.4 -1.2] [0.2 0.2]
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from vaesurface import energy
from vaesurface.glance import brief
from vaesurface.problem import Autoencoder

__all__ = [
    "STARTS",
    "Encoders",
    "Error",
    "Search",
    "best_encoders",
    "costs",
    "error_of",
    "parted",
    "posteriors",
    "prepared",
]

# E ||x - decode(z)||^2 of one datum: of mean (k,), log_std (k,), x (d,).
Error = Callable[[Array, Array, Array], Array]

# Latents at which the decoder is looked at for starts, and their standard deviation, the prior's
# being 1.
SCANNED, SCAN_SPREAD = 256, 1.5
# Posterior standard deviations that starts from the scan begin with.
SCAN_WIDTHS = (0.5, 0.1)
# Searches anew at every gamma, per datum: from the model's posterior, near the prior, from the best
# of the scan, at random.
STARTS = 3 + len(SCAN_WIDTHS)
# Of the larger of a datum's value and gamma: values that are closer are the same minimum.
SAME_MINIMUM = 1e-9
# Draws per datum that a search takes the expected error from, where the model does not know it.
SEARCH_SAMPLES = 128
# Of Newton's method, per start.
NEWTON_STEPS = 60
# Of a step that are tried; where none is lower than the first, the search ends.
FRACTIONS = (0.0, 1.0, 0.5, 0.25, 0.1, 1e-2, 1e-3)


@brief()
class Encoders(NamedTuple):
    """The best posterior found of every datum.

    value: (n,), its expected squared error plus gamma times twice its KL divergence.
    posterior: (n, 2 k), means and logarithms of standard deviations.
    agreed: (n,), how many of `STARTS` starts reached that value.
    """

    value: Array
    posterior: Array
    agreed: Array


class Search(NamedTuple):
    """Where searches begin, at every gamma the same but for what the scan offers.

    data: (n, d).
    own: (n, 2 k), the model's posteriors.
    near: (n, 2 k), close to the prior.
    anywhere: (n, 2 k), at random.
    scanned: (m, k), latents at which the decoder was looked at.
    errors: (n, m), squared errors there.
    """

    data: Array
    own: Array
    near: Array
    anywhere: Array
    scanned: Array
    errors: Array


def posteriors(model: Autoencoder) -> Array:
    """The model's posteriors (n, 2 k): means, then logarithms of standard deviations."""
    return jnp.concatenate([model.mean, model.log_std], axis=1)


def parted(posterior: Array) -> tuple[Array, Array]:
    """Means (..., k) and logarithms of standard deviations (..., k) of posteriors (..., 2 k)."""
    mean, log_std = jnp.split(posterior, 2, axis=-1)
    return mean, log_std


def costs(posterior: Array) -> Array:
    """Twice the KL divergence (...) of posteriors (..., 2 k) from the prior."""
    return jnp.sum(energy.divergence(*parted(posterior)) - 1.0, axis=-1)


def error_of(model: Autoencoder, key: Array, samples: int | None = None) -> Error:
    """The expected squared error: the model's own, or by draws that are the same for every encoder
    and datum (samples: how many; None where the model's own is wanted, if it has one).

    Draws are pairs of opposite sign, of unit mean square in each latent: first and second moments
    are right, as a linear decoder asks.
    """
    if samples is None and model.error is not None:
        return model.error
    pairs = ((samples or SEARCH_SAMPLES) + 1) // 2
    half = jax.random.normal(key, (pairs, model.mean.shape[1]), model.data.dtype)
    half = half / jnp.sqrt(jnp.mean(half**2, axis=0, keepdims=True))
    noise = jnp.concatenate([half, -half])

    def error(mean: Array, log_std: Array, x: Array) -> Array:
        y = model.decode(mean[None] + jnp.exp(log_std)[None] * noise)
        return jnp.mean(jnp.sum((x[None] - y) ** 2, axis=1))

    return error


def prepared(model: Autoencoder, key: Array) -> Search:
    """Starts for a model's data, and its decoder looked at."""
    X, shape = model.data, model.mean.shape
    nudge, scan, random = jax.random.split(key, 3)
    scanned = SCAN_SPREAD * jax.random.normal(scan, (SCANNED, shape[1]), X.dtype)
    y = model.decode(scanned)
    errors = jnp.sum(X**2, axis=1)[:, None] - 2.0 * X @ y.T + jnp.sum(y**2, axis=1)[None]
    return Search(
        data=X,
        own=posteriors(model),
        near=_of_width(0.1 * jax.random.normal(nudge, shape, X.dtype), 1.0),
        anywhere=_of_width(SCAN_SPREAD * jax.random.normal(random, shape, X.dtype), SCAN_WIDTHS[0]),
        scanned=scanned,
        errors=errors,
    )


def best_encoders(error: Error, search: Search, g: Array, best: Array) -> Encoders:
    """For each datum the lowest error + g 2 KL that is found; one start is `best` (n, 2 k), what
    another gamma's search has found.
    """

    def datum(one: tuple[Array, Array]) -> Encoders:
        x, begin = one

        def objective(v: Array) -> Array:
            return error(*parted(v), x) + g * costs(v)

        values, ends = jax.vmap(lambda v: _newton(objective, v))(begin)
        lowest = jnp.argmin(values)
        same = values[1:] - values[lowest] <= SAME_MINIMUM * jnp.maximum(g, values[lowest])
        return Encoders(value=values[lowest], posterior=ends[lowest], agreed=jnp.sum(same))

    return jax.lax.map(datum, (search.data, _starts(search, g, best)))


def _starts(search: Search, g: Array, best: Array) -> Array:
    """Posteriors (n, 1 + STARTS, 2 k), `best` first. The scan offers the latent of least error +
    g |z|^2.
    """
    squares = jnp.sum(search.scanned**2, axis=1)
    good = search.scanned[jnp.argmin(search.errors + g * squares[None], axis=1)]
    scan = [_of_width(good, width) for width in SCAN_WIDTHS]
    return jnp.stack([best, search.own, search.near, *scan, search.anywhere], axis=1)


def _of_width(mean: Array, width: float) -> Array:
    """Posteriors (n, 2 k) of that standard deviation."""
    return jnp.concatenate([mean, jnp.full_like(mean, jnp.log(width))], axis=1)


def _newton(objective: Callable[[Array], Array], start: Array) -> tuple[Array, Array]:
    """Lowest value, and where, by Newton's method with |eigenvalues|; it ends where no part of a
    step leads lower.
    """

    def is_open(state: tuple[Array, Array, Array, int]) -> Array:
        *_, fell, steps = state
        return fell & (steps < NEWTON_STEPS)

    def step(state: tuple[Array, Array, Array, int]) -> tuple[Array, Array, Array, int]:
        v, _, _, steps = state
        move = _newton_step(objective, v)
        tried = v[None] + jnp.asarray(FRACTIONS, v.dtype)[:, None] * move[None]
        heights = jax.vmap(objective)(tried)
        best = jnp.argmin(jnp.where(jnp.isfinite(heights), heights, jnp.inf))
        return tried[best], heights[best], best > 0, steps + 1

    begin = (start, jnp.asarray(jnp.inf, start.dtype), jnp.asarray(True), 0)
    v, height, _, _ = jax.lax.while_loop(is_open, step, begin)
    return height, v


def _newton_step(objective: Callable[[Array], Array], v: Array) -> Array:
    """-|H|^-1 gradient, no number above 1: a standard deviation of the prior, a factor of e in a
    width.
    """

    def gradient_twice(v: Array) -> tuple[Array, Array]:
        gradient = jax.grad(objective)(v)
        return gradient, gradient

    hessian, gradient = jax.jacfwd(gradient_twice, has_aux=True)(v)
    values, vectors = jnp.linalg.eigh(hessian)
    size = jnp.abs(values)
    machine = jnp.finfo(v.dtype)
    size = jnp.maximum(size, machine.eps * jnp.maximum(jnp.max(size), machine.tiny))
    move = -vectors @ ((vectors.T @ gradient) / size)
    return move / jnp.maximum(1.0, jnp.max(jnp.abs(move)))
