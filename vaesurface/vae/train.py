"""What does training end in? Deep VAEs and autoencoders trained by sampled noise on mini-batches,
and what to know of them.

`train` and `train_autoencoder` are functions of a key that `sweep.grid` maps over seeds, resumable
with a store:

    def run(seed):
        return train.train(X, network, jax.random.key(seed), steps=2000)._replace(params=None)

    runs = sweep.grid(run, store="runs", seed=range(3))

>>> from vaesurface import data
>>> from vaesurface.vae import architecture
>>> X, network = data.antipodal(d=2), architecture.mlp(2, 1, depth=1, width=8)
>>> trained = train(X, network, jax.random.key(0), steps=50, batch=2)
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
from vaesurface.energy import gammabar, gaussian, information
from vaesurface.glance import brief
from vaesurface.problem import BATCH
from vaesurface.vae import network
from vaesurface.vae.architecture import Architecture
from vaesurface.vae.network import NetworkParams

__all__ = ["SIGMA", "Schedule", "Trained", "train", "train_autoencoder", "warm_start"]

Schedule = Callable[[Array], ArrayLike]  # of the step
Optimizer = Callable[[optax.Schedule], optax.GradientTransformation]  # of the learning rate

# A learned gamma is kept above this fraction of the mean squared deviation: float32 resolves errors
# to some 1e-7 of it.
GAMMA_FLOOR = 1e-6
# Log gamma moves by this part of a Newton step: its second derivative is d where gamma is optimal.
# So gamma is the squared error averaged over some hundred steps, to the end: at the weights'
# falling learning rate it would stay behind.
GAMMA_RATE = 0.01
# Relative excess of the error over gamma that counts: log gamma moves by at most 0.1 in a step.
GAMMA_EXCESS = 10.0
# Of a latent, per datum, to measure errors with.
ERROR_DRAWS = 16
# Edges of the bins in which posterior standard deviations are counted, the last one open.
SIGMA = np.linspace(0.0, 1.25, 51)


@brief()
class Trained(NamedTuple):
    """The end of training, over all data; energies in twice nats per datum, errors squared, per
    coordinate. Of an autoencoder, what it has none of is None.

    params: `network.NetworkParams` (None: not kept).
    error: (), E ||x - decode(z)||^2 / d from fresh noise; at a stationary point of gamma, gamma is
        that error (eq. 10).
    error_std: (), its standard error.
    autoencoder_error: (), the same with z at the posterior's mean, no noise: eq. 8 asks whether an
        autoencoder gets as low.
    gamma: (), as trained, at the floor where it equals `floor`.
    floor: (), below which it was not let; None where it was not learned.
    energy: (), from that error.
    kl: (k,), nats per datum and latent.
    sigma: (k, 50), how many data have a posterior standard deviation between those `SIGMA`.
    history: (record,), the sampled loss, each averaged over that part of the steps.
    finite: (), whether all of it is; a run that diverged says so here.
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
    optimizer: Optimizer = optax.adam,
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
    gammas = None if held is None else _schedule(held)
    return _train(options, X, key, learning_rate, gammas, _schedule(beta), scale)


def train_autoencoder(
    X: ArrayLike,
    architecture: Architecture,
    key: Array,
    *,
    steps: int = 2000,
    batch: int = 128,
    learning_rate: ArrayLike = 1e-3,
    scale: ArrayLike = 1.0,
    optimizer: Optimizer = optax.adam,
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
    """What a compiled program of training depends on: arguments of `train`. samples: 0 for an
    autoencoder.
    """

    architecture: Architecture
    steps: int
    batch: int
    samples: int
    optimizer: Optimizer
    record: int
    dtype: Any


class _State(NamedTuple):
    """Of training, between steps.

    params: the networks, and log gamma where it is learned.
    optimizer: state of the weights' optimizer.
    rows: (n,), the order of the data in this epoch.
    """

    params: NetworkParams
    optimizer: Any
    rows: Array


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
    """gamma: None where it is learned, and of an autoencoder."""
    architecture, steps = options.architecture, options.steps
    X = jnp.asarray(X, options.dtype)
    begin, order, noise, fresh = jax.random.split(key, 4)
    learned = options.samples > 0 and gamma is None
    params = _start(architecture, X, begin, scale, learned)
    floor = GAMMA_FLOOR * gammabar(X)
    transformation = options.optimizer(optax.cosine_decay_schedule(learning_rate, steps))

    def at(schedule: Partial, i: ArrayLike) -> Array:
        return jnp.asarray(schedule(i), X.dtype)

    def loss(params: NetworkParams, x: Array, i: Array) -> Array:
        if options.samples == 0:
            mean, _ = architecture.encode(params.encoder, x)
            return jnp.mean((x - architecture.decode(params.decoder, mean)) ** 2)
        log_gamma = jnp.asarray(params.log_gamma) if gamma is None else jnp.log(at(gamma, i))
        drawn = jax.random.fold_in(noise, i)
        return network.estimate(
            architecture, params, x, drawn, options.samples, log_gamma, at(beta, i)
        )

    def step(state: _State, i: Array) -> tuple[_State, Array]:
        x, rows = _batch(X, state.rows, order, i, options.batch)
        value, gradient = jax.value_and_grad(loss)(state.params, x, i)
        moved, inner = _moved(transformation, state, gradient, X.shape[1], floor)
        return _State(params=moved, optimizer=inner, rows=rows), value

    inner = transformation.init(params._replace(log_gamma=None))
    first = _State(params=params, optimizer=inner, rows=jnp.arange(len(X)))
    last, values = jax.lax.scan(step, first, jnp.arange(steps))
    history = _averaged(values, options.record, X.dtype)
    if options.samples == 0:
        return _measured_autoencoder(architecture, last.params, X, history)
    end = jnp.exp(jnp.asarray(last.params.log_gamma)) if gamma is None else at(gamma, steps)
    trained = _measured(architecture, last.params, X, fresh, end, at(beta, steps), history)
    return trained._replace(floor=floor if learned else None)


def _start(
    architecture: Architecture, X: Array, key: Array, scale: Any, learned: bool
) -> NetworkParams:
    """`network_vae`'s start at that scale; log_gamma is None where gamma is not learned."""
    problem = network.network_vae(X, architecture, gamma=None if learned else 1.0)
    return problem.init(key, scale)


def _batch(X: Array, rows: Array, key: Array, i: Array, size: int) -> tuple[Array, Array]:
    """Data (size, d) of step i, and the epoch's order (n,) of all: a new one at its first step,
    else rows.
    """
    epoch = len(X) // size

    def shuffled() -> Array:
        return jax.random.permutation(jax.random.fold_in(key, i), len(X))

    rows = jax.lax.cond(i % epoch == 0, shuffled, lambda: rows)
    return X[jax.lax.dynamic_slice_in_dim(rows, i % epoch * size, size)], rows


def _moved(
    transformation: optax.GradientTransformation,
    state: _State,
    gradient: NetworkParams,
    features: int,
    floor: Array,
) -> tuple[NetworkParams, Any]:
    """Parameters and the optimizer's state after a step: of the weights by the optimizer, of log
    gamma by a part of Newton's, 1/d times its derivative.
    """
    weights = state.params._replace(log_gamma=None)
    change, inner = transformation.update(
        gradient._replace(log_gamma=None), state.optimizer, weights
    )
    moved = optax.apply_updates(weights, change)
    if state.params.log_gamma is not None:
        excess = jnp.asarray(gradient.log_gamma) / features
        excess = jnp.clip(excess, -GAMMA_EXCESS, GAMMA_EXCESS)
        log_gamma = state.params.log_gamma - GAMMA_RATE * excess
        moved = moved._replace(log_gamma=jnp.maximum(log_gamma, jnp.log(floor)))
    return moved, inner


def _averaged(values: Array, record: int, dtype: Any) -> Array:
    """Means (record,) of values (steps,), each over one of `record` parts of the steps."""
    part = jnp.arange(len(values)) * record // len(values)
    sums = jnp.zeros(record, dtype).at[part].add(values)
    return (sums / jnp.bincount(part, length=record)).astype(dtype)


def _measured(
    architecture: Architecture,
    params: NetworkParams,
    X: Array,
    key: Array,
    gamma: Array,
    beta: Array,
    history: Array,
) -> Trained:
    """All of `Trained` of a VAE but `floor`, the data in batches."""

    def datum(one: tuple[Array, Array]) -> tuple[Array, ...]:
        x, key = one
        mean, log_std = (a[0] for a in architecture.encode(params.encoder, x[None]))
        noise = jax.random.normal(key, (ERROR_DRAWS, architecture.latent), mean.dtype)
        z = mean[None] + jnp.exp(log_std)[None] * noise
        drawn = _squared_errors(architecture, params, x, z)
        (exact,) = _squared_errors(architecture, params, x, mean[None])
        return exact, jnp.mean(drawn), jnp.var(drawn, ddof=1) / ERROR_DRAWS, mean, log_std

    n, d = X.shape
    exact, drawn, variance, mean, log_std = jax.lax.map(
        datum, (X, jax.random.split(key, n)), batch_size=_together(architecture)
    )
    error, error_std = jnp.mean(drawn), jnp.sqrt(jnp.sum(variance)) / n
    carried = information(mean, log_std)
    energy = d * gaussian(error, jnp.log(gamma)) + beta * jnp.sum(carried + 1.0)
    return Trained(
        params=params,
        error=error,
        error_std=error_std,
        autoencoder_error=jnp.mean(exact),
        gamma=gamma,
        floor=None,
        energy=energy,
        kl=carried / 2.0,
        sigma=_counts(log_std),
        history=history,
        finite=_finite(params, error, error_std, energy, history),
    )


def _measured_autoencoder(
    architecture: Architecture, params: NetworkParams, X: Array, history: Array
) -> Trained:
    """What of `Trained` an autoencoder has, the data in batches."""

    def datum(x: Array) -> Array:
        mean, _ = architecture.encode(params.encoder, x[None])
        return _squared_errors(architecture, params, x, mean)[0]

    error = jnp.mean(jax.lax.map(datum, X, batch_size=_together(architecture)))
    return Trained(
        params=params,
        error=error,
        error_std=jnp.zeros_like(error),
        autoencoder_error=error,
        gamma=None,
        floor=None,
        energy=None,
        kl=None,
        sigma=None,
        history=history,
        finite=_finite(params, error, history),
    )


def _squared_errors(architecture: Architecture, params: NetworkParams, x: Array, z: Array) -> Array:
    """Mean squared errors (m,), per coordinate, of a datum (d,) by latents (m, k)."""
    return jnp.mean((x[None] - architecture.decode(params.decoder, z)) ** 2, axis=1)


def _together(architecture: Architecture) -> int:
    """Number of data that are measured at a time."""
    return max(1, BATCH // (ERROR_DRAWS * architecture.units))


def _counts(log_std: Array) -> Array:
    """How many (k, bins) of log_std (n, k) are in each of the bins between `SIGMA`."""
    bins = len(SIGMA) - 1
    inner = jnp.asarray(SIGMA[1:-1], log_std.dtype)
    number = jnp.clip(jnp.searchsorted(inner, jnp.exp(log_std), side="right"), 0, bins - 1)
    return jnp.sum(number[..., None] == jnp.arange(bins)[None, None], axis=0)


def _finite(*numbers: Any) -> Array:
    """Whether all are, of pytrees."""
    return jnp.all(jnp.array([jnp.all(jnp.isfinite(a)) for a in jax.tree.leaves(numbers)]))


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
