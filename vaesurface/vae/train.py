"""What does training end in? Deep VAEs and autoencoders trained by sampled noise on mini-batches,
and what to know of them.

`train` and `train_autoencoder` are functions of a key that `sweep.grid` maps over seeds, resumable
with a store:

    run = lambda seed: train.train(X, network, jax.random.key(seed),
    steps=2000)._replace(params=None) runs = sweep.grid(run, store="runs", seed=range(3))

>>> from vaesurface import data
>>> from vaesurface.vae import architecture
>>> trained = train(data.antipodal(d=2), architecture.mlp(2, 1, depth=1, width=8), jax.random.key(0), steps=50, batch=2)
>>> bool(trained.finite), trained.kl.shape
(True, (1,))
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.tree_util import Partial
from jax.typing import ArrayLike

from vaesurface import data
from vaesurface.energy import divergence, gaussian
from vaesurface.problem import BATCH
from vaesurface.vae import network
from vaesurface.vae.architecture import Architecture
from vaesurface.vae.network import NetworkParams

Schedule = Callable[[Array], ArrayLike]

# A learned gamma is kept above this fraction of the mean squared deviation: float32 resolves errors
# to some 1e-7 of it.
FLOOR = 1e-6
# Log gamma moves by this part of a Newton step: its second derivative is d where gamma is optimal.
# So gamma is the squared error averaged over some hundred steps, to the end: at the weights'
# falling learning rate it would stay behind.
FOLLOW = 0.01
# relative excess of the error over gamma that counts: log gamma moves by at most 0.1 in a step
FARTHEST = 10.0
DRAWS = 16  # of a latent, per datum, to measure errors with
SIGMA = np.linspace(
    0.0, 1.25, 51
)  # edges of the bins in which posterior standard deviations are counted, the last one open


class Trained(NamedTuple):
    """The end of training, over all data; energies in twice nats per datum, errors squared, per
    coordinate.

    params: `deep.NetworkParams` (None: not kept). error: E ||x - decode(z)||^2 / d from fresh
    noise, error_std its standard error; at a stationary point of gamma, gamma is that error (eq.
    10). autoencoder_error: the same with z at the posterior's mean, no noise: eq. 8 asks whether an
    autoencoder gets as low. gamma: as trained, at the floor where it equals `floor`. energy: from
    that error. kl (k,): nats per datum and latent. sigma (k, 50): how many data have a posterior
    standard deviation between those `SIGMA`. history (record,): the sampled loss, each averaged
    over that part of the steps. finite: whether all of it is; a run that diverged says so here. Of
    an autoencoder, what it has none of is None.
    """

    params: NetworkParams | None
    error: Array
    error_std: Array
    autoencoder_error: Array
    gamma: Array | None
    floor: Array | None
    energy: Array | None
    kl: Array | None
    sigma: Array | None
    history: Array
    finite: Array


def warm_start(steps: int) -> Schedule:
    """KL warm-start (Bowman et al. 2016; Sonderby et al. 2016): beta grows from 0 to 1 over that
    many steps.
    """
    return optax.linear_schedule(0.0, 1.0, steps)


def train(
    X: ArrayLike,
    architecture: Architecture,
    key: Array,
    *,
    steps: int = 2000,
    batch: int = 128,
    learning_rate: ArrayLike = 1e-3,
    samples: int = 1,
    gamma: ArrayLike | None = None,
    gamma_schedule: Schedule | None = None,
    beta: ArrayLike | Schedule = 1.0,
    scale: ArrayLike = 1.0,
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation] = optax.adam,
    record: int = 50,
    dtype: Any = jnp.float32,
) -> Trained:
    """A VAE of these networks after `steps` steps on mini-batches, from `network_vae`'s start at
    that scale.

    X (n, d); every epoch goes through the data in a new order, leaving out what fills no batch;
    samples: latents drawn per datum. gamma: None learns log gamma by its gradient, at a rate of its
    own; a number fixes it, gamma_schedule(step) sets it at each step. beta: a number, or a function
    of the step, such as `warm_start`. optimizer: makes the optax transformation of the weights from
    the learning rate, which falls to zero along a cosine. record: points of `history`. gamma, beta,
    scale, learning_rate and key may be traced. Raises ValueError for data `data.check` refuses and
    for values out of range.
    """
    if gamma is not None and gamma_schedule is not None:
        raise ValueError("expected gamma or gamma_schedule, got both; leave one out")
    n = _check(X, architecture, steps, batch, samples, record)
    options = _Options(
        architecture, steps, min(batch, n), samples, optimizer, record, jnp.dtype(dtype)
    )
    held = gamma if gamma_schedule is None else gamma_schedule
    return _train(
        options,
        X,
        key,
        learning_rate,
        None if held is None else _schedule(held),
        _schedule(beta),
        scale,
    )


def train_autoencoder(
    X: ArrayLike,
    architecture: Architecture,
    key: Array,
    *,
    steps: int = 2000,
    batch: int = 128,
    learning_rate: ArrayLike = 1e-3,
    scale: ArrayLike = 1.0,
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation] = optax.adam,
    record: int = 50,
    dtype: Any = jnp.float32,
) -> Trained:
    """The same networks as an autoencoder: the posterior's mean is the code, the loss the squared
    error per coordinate.

    The same key gives the same start and the same batches as for `train`; arguments and errors as
    there.
    """
    n = _check(X, architecture, steps, batch, 1, record)
    options = _Options(architecture, steps, min(batch, n), 0, optimizer, record, jnp.dtype(dtype))
    return _train(options, X, key, learning_rate, None, _schedule(1.0), scale)


class _Options(NamedTuple):
    """What a compiled program of training depends on. samples: 0 for an autoencoder."""

    architecture: Architecture
    steps: int
    batch: int
    samples: int
    optimizer: Callable[[optax.Schedule], optax.GradientTransformation]
    record: int
    dtype: Any


@partial(jax.jit, static_argnums=0)
def _train(
    options: _Options,
    X: Any,
    key: Array,
    learning_rate: Any,
    gamma: Partial | None,
    beta: Partial,
    scale: Any,
) -> Trained:
    architecture, steps, dtype = options.architecture, options.steps, options.dtype
    X = jnp.asarray(X, dtype)
    begin, order, noise, fresh = jax.random.split(key, 4)
    held = gamma is not None  # where the decoder variance is not learned
    params = network.network_vae(X, architecture, gamma=1.0 if held else None).init(begin, scale)  # type: ignore[misc]
    if options.samples == 0:
        params = params._replace(log_gamma=None)
    floor = FLOOR * jnp.mean((X - X.mean(axis=0)[None]) ** 2)

    def at(schedule, step):
        return jnp.asarray(schedule(step), dtype)

    def loss(params, x, step):
        if options.samples == 0:
            return jnp.mean(
                (x - architecture.decode(params.decoder, architecture.encode(params.encoder, x)[0]))
                ** 2
            )
        log_gamma = params.log_gamma if gamma is None else jnp.log(at(gamma, step))
        drawn = jax.random.fold_in(noise, step)
        return network.estimate(
            architecture, params, x, drawn, options.samples, log_gamma, at(beta, step)
        )

    rate = optax.cosine_decay_schedule(learning_rate, steps)
    transformation = options.optimizer(rate)
    epoch = len(X) // options.batch

    def step(state, i):
        params, inner, rows = state

        def shuffled():
            return jax.random.permutation(jax.random.fold_in(order, i), len(X))

        rows = jax.lax.cond(i % epoch == 0, shuffled, lambda: rows)
        x = X[jax.lax.dynamic_slice_in_dim(rows, i % epoch * options.batch, options.batch)]
        value, gradient = jax.value_and_grad(loss)(params, x, i)
        change, inner = transformation.update(
            gradient._replace(log_gamma=None), inner, params._replace(log_gamma=None)
        )
        moved = optax.apply_updates(params._replace(log_gamma=None), change)
        if params.log_gamma is not None:
            move = FOLLOW * jnp.clip(gradient.log_gamma / X.shape[1], -FARTHEST, FARTHEST)
            moved = moved._replace(log_gamma=jnp.maximum(params.log_gamma - move, jnp.log(floor)))
        return (moved, inner, rows), value

    start = (params, transformation.init(params._replace(log_gamma=None)), jnp.arange(len(X)))
    (params, _, _), values = jax.lax.scan(step, start, jnp.arange(steps))
    part = jnp.arange(steps) * options.record // steps
    history = jnp.zeros(options.record, dtype).at[part].add(values) / jnp.bincount(
        part, length=options.record
    )
    final = None
    if options.samples:
        final = jnp.exp(params.log_gamma) if gamma is None else at(gamma, steps)
    trained = _measure(
        architecture, params, X, fresh, final, at(beta, steps), history.astype(dtype)
    )
    return trained if final is None else trained._replace(floor=None if held else floor)


def _measure(architecture, params, X, key, gamma, beta, history):
    """All of `Trained`, the data in batches; gamma None: of an autoencoder."""

    def datum(item):
        x, key = item
        mean, log_std = (a[0] for a in architecture.encode(params.encoder, x[None]))

        def error(z):
            return jnp.mean((x[None] - architecture.decode(params.decoder, z)) ** 2, axis=1)

        if gamma is None:
            return error(mean[None])[0], mean, log_std
        noise = jax.random.normal(key, (DRAWS, architecture.latent), mean.dtype)
        drawn = error(mean[None] + jnp.exp(log_std)[None] * noise)
        return error(mean[None])[0], mean, log_std, jnp.mean(drawn), jnp.var(drawn, ddof=1) / DRAWS

    n, d = X.shape
    size = max(1, BATCH // (DRAWS * architecture.units))
    exact, mean, log_std, *drawn = jax.lax.map(
        datum, (X, jax.random.split(key, n)), batch_size=size
    )
    error, error_std = jnp.mean(exact), jnp.zeros((), X.dtype)
    energy = kl = sigma = None
    if gamma is not None:
        error, error_std = jnp.mean(drawn[0]), jnp.sqrt(jnp.sum(drawn[1])) / n
        divergences = jnp.mean(divergence(mean, log_std), axis=0)
        kl = (divergences - 1.0) / 2.0
        energy = d * gaussian(error, jnp.log(gamma)) + beta * jnp.sum(divergences)
        where = jnp.clip(
            jnp.searchsorted(jnp.asarray(SIGMA[1:-1], X.dtype), jnp.exp(log_std), side="right"),
            0,
            len(SIGMA) - 2,
        )
        sigma = jnp.sum(where[..., None] == jnp.arange(len(SIGMA) - 1)[None, None], axis=0)
    numbers = (params, error, error_std, energy, history)
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(numbers)]))
    return Trained(
        params, error, error_std, jnp.mean(exact), gamma, None, energy, kl, sigma, history, finite
    )


def _schedule(value: ArrayLike | Schedule) -> Partial:
    """A function of the step as a pytree: the function is static, a number is an array."""
    return Partial(value) if callable(value) else Partial(_constant, value)


def _constant(value, _):
    return value


def _check(
    X: ArrayLike, architecture: Architecture, steps: int, batch: int, samples: int, record: int
) -> int:
    """The number of data."""
    if not isinstance(X, jax.core.Tracer):
        data.check(X)
    n, d = np.shape(X)
    if d != architecture.features:
        raise ValueError(
            f"expected {architecture.features} features (the architecture's), got {d}; make it "
            f"for these data"
        )
    for name, number in (("batch", batch), ("samples", samples), ("record", record)):
        if number < 1:
            raise ValueError(f"expected {name} >= 1, got {number}; choose a larger one")
    if steps < record:
        raise ValueError(
            f"expected steps >= record = {record}, got {steps}; take more, or record less"
        )
    return n
