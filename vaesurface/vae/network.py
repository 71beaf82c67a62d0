"""What is the energy of a VAE whose moments and decoder are networks? Exact in the KL part, by
frozen noise in the other.

The expectation over the posterior is a weighted sum over nodes of the standard normal, the same for
all data. So the energy is a function of the parameters alone, which can be taken apart like any
other, and collapse is stationary to rounding: noise of each datum's own would correlate with the
data there.

>>> from vaesurface import data
>>> problem = mlp_vae(data.antipodal(d=2), latent=1, depth=1, width=8)
# as for any VAE: 2 from the data, 0 from log gamma, 1 from the posterior
>>> print(f"{problem.loss(problem.collapsed()):.3f}")
3.000
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data, energy
from vaesurface.problem import BATCH, STREAM, Autoencoder, Problem, Symmetry, compiled, recipe_of
from vaesurface.vae import architecture as networks
from vaesurface.vae.architecture import Architecture


class NetworkParams(NamedTuple):
    """Weights of the encoder and of the decoder, nested dicts; log_gamma () or None where gamma is
    fixed.
    """

    encoder: networks.Weights
    decoder: networks.Weights
    log_gamma: Array | None


class Nodes(NamedTuple):
    """Standard normal noise (s, k) with weights (s,) that sum to one."""

    noise: Array
    weights: Array


def antithetic(key: Array, latent: int, samples: int) -> Nodes:
    """Random noise (key) and its negative, `samples` in all: odd moments vanish as they should.

    Raises ValueError for an odd number.
    """
    if samples < 2 or samples % 2:
        raise ValueError(f"expected an even number of samples, got {samples}; take one more")
    half = jax.random.normal(key, (samples // 2, latent), float)
    return Nodes(jnp.concatenate([half, -half]), jnp.full(samples, 1.0 / samples))


def gauss_hermite(latent: int, order: int) -> Nodes:
    """Gauss and Hermite's nodes, order^latent of them: exact for polynomials of degree 2 order - 1
    in each latent.

    An odd order has a node at zero, where a decoder whose biases are zero, as at first, has its
    kinks: choose an even one. Raises ValueError for an order below one.
    """
    if order < 1:
        raise ValueError(f"expected order >= 1, got {order}; choose a larger one")
    nodes, weights = np.polynomial.hermite_e.hermegauss(order)
    grid = np.stack(np.meshgrid(*[nodes] * latent, indexing="ij"), axis=-1).reshape(-1, latent)
    products = np.stack(
        np.meshgrid(*[weights / weights.sum()] * latent, indexing="ij"), axis=-1
    ).reshape(-1, latent)
    return Nodes(jnp.asarray(grid), jnp.asarray(products.prod(axis=1)))


def network_vae(
    X: ArrayLike,
    architecture: Architecture,
    *,
    nodes: Nodes | None = None,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> Problem:
    """VAE of these networks (eq. 4); parameters are `NetworkParams`, in X's dtype.

    X (n, d); nodes: 32 antithetic ones from a fixed key by default; gamma > 0 fixes the decoder
    variance (None: it is learned); beta > 0 weighs the KL part. X, nodes, gamma and beta may be
    traced. `init(key, scale=1.0)` is He's start with the last layers times scale, the decoder's
    bias at the data's mean, gamma at the mean squared deviation: at scale 0, collapse.
    `collapsed(key, dead=False)` has such hidden layers, or with dead=True a decoder of which no
    unit fires: a plateau. Raises ValueError for data `data.check` refuses, or of another number of
    features, and values out of range.
    """
    if not isinstance(X, jax.core.Tracer):
        data.check(X)
    Z = jnp.asarray(X)
    Z = Z if jnp.issubdtype(Z.dtype, jnp.floating) else Z.astype(float)
    d = Z.shape[1]
    if d != architecture.features:
        raise ValueError(
            f"expected {architecture.features} features (the architecture's), got {d}; make it "
            f"for these data"
        )
    if nodes is None:
        nodes = antithetic(jax.random.key(0), architecture.latent, 32)
    nodes = Nodes(*(jnp.asarray(a, Z.dtype) for a in nodes))
    if nodes.noise.shape != (len(nodes.weights), architecture.latent):
        raise ValueError(
            f"expected nodes (s, {architecture.latent}), got {nodes.noise.shape}; make them for "
            f"these latents"
        )
    for name, value in (("gamma", gamma), ("beta", beta)):
        if (
            not (value is None or isinstance(value, jax.core.Tracer))
            and not 0 < float(np.asarray(value)) < np.inf
        ):
            raise ValueError(f"expected {name} > 0, got {value}; choose another value")
    beta = jnp.asarray(beta, Z.dtype)
    gamma = None if gamma is None else jnp.asarray(gamma, Z.dtype)
    center = Z.mean(axis=0)
    gammabar = jnp.mean((Z - center[None]) ** 2)

    def log_gamma(params: NetworkParams) -> Array:
        return jnp.asarray(params.log_gamma) if gamma is None else jnp.log(gamma)

    def moments(params: NetworkParams, x: Array) -> tuple[Array, Array]:
        mean, log_std = architecture.encode(params.encoder, x[None])
        return mean[0], log_std[0]

    def squared_error(params: NetworkParams, mean: Array, log_std: Array, x: Array) -> Array:
        z = mean[None] + jnp.exp(log_std)[None] * nodes.noise
        y = architecture.decode(params.decoder, z)
        return jnp.dot(nodes.weights, jnp.sum((x[None] - y) ** 2, axis=1))

    def loss(params: NetworkParams) -> Array:
        def datum(x: Array) -> Array:
            mean, log_std = moments(params, x)
            error = squared_error(params, mean, log_std, x)
            return error * jnp.exp(-log_gamma(params)) + beta * jnp.sum(
                energy.divergence(mean, log_std)
            )

        return _mean_over(datum, Z, len(nodes.weights) * architecture.units) + d * log_gamma(params)

    def assembled(pair: tuple[networks.Weights, networks.Weights]) -> NetworkParams:
        return NetworkParams(*pair, jnp.log(gammabar) if gamma is None else None)

    def collapsed(key: Array | None = None, dead: bool = False) -> NetworkParams:
        pair = architecture.init(jax.random.key(0) if key is None else key, Z.dtype)
        return assembled(architecture.silence(*pair, center, dead))

    def init(key: Array, scale: ArrayLike = 1.0) -> NetworkParams:
        pair = architecture.init(key, Z.dtype)
        silent, still = (architecture.silence(*pair, c) for c in (jnp.zeros_like(center), center))
        factor = jnp.asarray(scale, Z.dtype)
        return assembled(jax.tree.map(lambda a, b, c: c + factor * (a - b), pair, silent, still))

    def information(params: NetworkParams) -> Array:
        return jnp.mean(energy.divergence(*architecture.encode(params.encoder, Z)), axis=0) - 1.0

    def autoencoder(params: NetworkParams) -> Autoencoder:
        mean, log_std = architecture.encode(params.encoder, Z)

        def decode(z):
            return architecture.decode(params.decoder, z)

        # Its expected error is unknown: that of the nodes is no guide to other posteriors, which
        # can be fitted to them.
        return Autoencoder(
            Z, mean, log_std, decode, jnp.exp(log_gamma(params)), gamma is None, beta
        )

    def restrict(params: NetworkParams, keep: Array) -> NetworkParams:
        encoder, decoder = architecture.restrict(params.encoder, params.decoder, jnp.asarray(keep))
        return params._replace(encoder=encoder, decoder=decoder)

    def deterministic() -> Problem:
        def error(params: NetworkParams) -> Array:
            def reconstruct(x):
                return architecture.decode(params.decoder, moments(params, x)[0])

            return _mean_over(lambda x: jnp.mean((x - reconstruct(x)) ** 2), Z, architecture.units)

        return Problem(error, init)

    def recipe() -> tuple[Callable[..., Problem], dict[str, Any]]:
        return _Make(architecture), {"X": Z, "nodes": nodes, "gamma": gamma, "beta": beta}

    def move(params: NetworkParams, t: Array) -> NetworkParams:
        encoder, decoder = architecture.symmetry.move((params.encoder, params.decoder), t)  # type: ignore[union-attr]
        return params._replace(encoder=encoder, decoder=decoder)

    traced = any(isinstance(x, jax.core.Tracer) for x in (Z, *nodes, gamma, beta))
    problem = Problem(
        loss if traced else lambda params: compiled(_loss, problem, params),
        init,
        collapsed,
        information=information,
        symmetry=None
        if architecture.symmetry is None
        else Symmetry(architecture.symmetry.size, move),
        autoencoder=autoencoder,
        restrict=restrict,
        deterministic=deterministic,
        recipe=recipe,
        original=lambda: problem,
    )
    return problem


def mlp_vae(
    X: ArrayLike,
    latent: int,
    *,
    depth: int = 2,
    width: int = 512,
    nodes: Nodes | None = None,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> Problem:
    """`network_vae` of `architecture.mlp`."""
    made = networks.mlp(np.shape(X)[-1], latent, depth=depth, width=width)
    return network_vae(X, made, nodes=nodes, gamma=gamma, beta=beta)


def conv_vae(
    X: ArrayLike,
    shape: Sequence[int],
    latent: int,
    *,
    convs: int = 2,
    scales: int = 2,
    channels: int = 32,
    growth: int = 2,
    nodes: Nodes | None = None,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> Problem:
    """`network_vae` of `architecture.conv`."""
    made = networks.conv(
        shape, latent, convs=convs, scales=scales, channels=channels, growth=growth
    )
    return network_vae(X, made, nodes=nodes, gamma=gamma, beta=beta)


def resnet_vae(
    X: ArrayLike,
    shape: Sequence[int],
    latent: int,
    *,
    blocks: int = 1,
    convs: int = 2,
    scales: int = 2,
    channels: int = 32,
    growth: int = 2,
    nodes: Nodes | None = None,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> Problem:
    """`network_vae` of `architecture.resnet`."""
    made = networks.resnet(
        shape, latent, blocks=blocks, convs=convs, scales=scales, channels=channels, growth=growth
    )
    return network_vae(X, made, nodes=nodes, gamma=gamma, beta=beta)


def sampled(
    problem: Problem, params: NetworkParams, key: Array, samples: int = 1, batch: int | None = None
) -> Array:
    """What training sees of a network VAE's energy: noise drawn anew for each datum, a part of the
    data.

    An unbiased draw of the energy, of which `problem.loss(params)` is the value by fixed nodes.
    samples: latents drawn per datum; batch: data drawn without replacement (None: all). Raises
    ValueError for numbers out of range.
    """
    recipe = recipe_of(problem)
    if recipe is None or not isinstance(recipe[0], _Make):
        raise ValueError(
            "expected a network VAE's problem with its recipe, got another; make it with "
            "deep.network_vae"
        )
    arrays = recipe[1]
    X, gamma, beta = (arrays[name] for name in ("X", "gamma", "beta"))
    if samples < 1 or not 1 <= (len(X) if batch is None else batch) <= len(X):
        raise ValueError(
            f"expected samples >= 1 and a batch of 1 to {len(X)} data, got {samples} and "
            f"{batch}; change either"
        )
    which, noise = jax.random.split(key)
    x = X if batch is None else X[jax.random.choice(which, len(X), (batch,), replace=False)]
    log_gamma = jnp.asarray(params.log_gamma) if gamma is None else jnp.log(gamma)
    return estimate(recipe[0].architecture, params, x, noise, samples, log_gamma, beta)


def estimate(
    architecture: Architecture,
    params: NetworkParams,
    x: Array,
    key: Array,
    samples: int,
    log_gamma: Array,
    beta: ArrayLike,
) -> Array:
    """The mean energy of data x (b, d), of latents drawn `samples` times per datum (Kingma &
    Welling 2014).
    """
    mean, log_std = architecture.encode(params.encoder, x)
    noise = jax.random.normal(key, (samples, *mean.shape), mean.dtype)
    y = architecture.decode(params.decoder, mean[None] + jnp.exp(log_std)[None] * noise)
    return energy.drawn(x, y, mean, log_std, log_gamma, beta)


@dataclass(frozen=True)
class _Make:
    """What of a network VAE's arguments is no array."""

    architecture: Architecture

    def __call__(self, X: Array, nodes: Nodes, gamma: Array | None, beta: Array) -> Problem:
        return network_vae(X, self.architecture, nodes=nodes, gamma=gamma, beta=beta)


def _loss(problem: Any, params: NetworkParams) -> Array:
    return problem.loss(params)


def _mean_over(term: Callable[[Array], Array], X: Array, each: int) -> Array:
    """Mean of term(x) over the rows of X, in batches where `each` numbers a row are too many
    together.

    A derivative computes batches anew rather than remember them.
    """
    if len(X) * each <= STREAM:
        return jnp.mean(jax.vmap(term)(X))
    return jnp.mean(jax.lax.map(jax.checkpoint(term), X, batch_size=max(1, BATCH // each)))
