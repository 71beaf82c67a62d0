"""What is the energy of a VAE whose moments and decoder are networks? Exact in the KL part, by
frozen noise in the other.

The expectation over the posterior is a weighted sum over nodes of the standard normal, the same for
all data. So the energy is a function of the parameters alone, which can be taken apart like any
other, and collapse is stationary to rounding: noise of each datum's own would correlate with the
data there.

>>> from vaesurface import data
>>> problem = mlp_vae(data.antipodal(d=2), latent=1, depth=1, width=8)
>>> print(f"{problem.loss(problem.collapsed()):.3f}")  # 2 from the data, 1 from the posterior
3.000
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from vaesurface import data, energy, moved, problem
from vaesurface.glance import brief
from vaesurface.problem import Autoencoder, Deterministic, Problem, Symmetry
from vaesurface.theory import doors
from vaesurface.vae import architecture as networks
from vaesurface.vae.architecture import Architecture

__all__ = [
    "NetworkParams",
    "NetworkVAE",
    "Nodes",
    "antithetic",
    "conv_vae",
    "estimate",
    "gauss_hermite",
    "mlp_vae",
    "network_vae",
    "resnet_vae",
]

__getattr__ = moved.names(__name__)

NODES = 32  # by default: antithetic ones


@brief()
class NetworkParams(NamedTuple):
    """Weights of the encoder and of the decoder, nested dicts; log_gamma () or None where gamma is
    fixed.
    """

    encoder: networks.Weights
    decoder: networks.Weights
    log_gamma: Array | None


@brief()
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
) -> "NetworkVAE":
    """VAE of these networks (eq. 4); parameters are `NetworkParams`, in X's dtype.

    X (n, d); nodes: 32 antithetic ones from a fixed key by default; gamma > 0 fixes the decoder
    variance (None: it is learned); beta > 0 weighs the KL part. X, nodes, gamma and beta may be
    traced. Raises ValueError for data `data.check` refuses, or of another number of features, and
    for values out of range.
    """
    if not isinstance(X, jax.core.Tracer):
        data.check(X)
    X = jnp.asarray(X)
    X = X if jnp.issubdtype(X.dtype, jnp.floating) else X.astype(float)
    if X.shape[1] != architecture.features:
        raise ValueError(
            f"expected {architecture.features} features (the architecture's), got {X.shape[1]}; "
            "make it for these data"
        )
    if nodes is None:
        nodes = antithetic(jax.random.key(0), architecture.latent, NODES)
    nodes = Nodes(*(jnp.asarray(a, X.dtype) for a in nodes))
    if nodes.noise.shape != (len(nodes.weights), architecture.latent):
        raise ValueError(
            f"expected nodes (s, {architecture.latent}), got {nodes.noise.shape}; make them for "
            "these latents"
        )
    if gamma is not None:
        doors.positive("gamma", gamma, ", or None to learn it")
    doors.positive("beta", beta)
    return NetworkVAE(
        X=X,
        architecture=architecture,
        nodes=nodes,
        gamma=None if gamma is None else jnp.asarray(gamma, X.dtype),
        beta=jnp.asarray(beta, X.dtype),
    )


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["X", "nodes", "gamma", "beta"],
    meta_fields=["architecture"],
)
@dataclass(frozen=True, eq=False)
class NetworkVAE(Problem):
    """The energy of a VAE of networks; `network_vae` makes one and checks what goes in.

    X: (n, d), the data.
    architecture: of encoder and decoder.
    nodes: of the standard normal, that stand for the posterior's noise.
    gamma: (), decoder variance, or None where it is learned.
    beta: (), weight of the KL part.
    """

    X: Array
    architecture: Architecture
    nodes: Nodes
    gamma: Array | None
    beta: Array

    @property
    def symmetry(self) -> Symmetry | None:
        """What goes into a ReLU unit grows as what comes out shrinks."""
        own = self.architecture.symmetry
        return None if own is None else Symmetry(own.size, _Moved(own))

    @jax.jit
    def loss(self, params: NetworkParams) -> Array:
        """The energy, twice nats per datum: a sum over nodes in place of the expectation."""

        def datum(x: Array) -> Array:
            mean, log_std = self._posterior(params, x)
            error = self._squared_error(params, mean, log_std, x)
            divergence = jnp.sum(energy.divergence(mean, log_std))
            return error * jnp.exp(-self._log_gamma(params)) + self.beta * divergence

        each = len(self.nodes.weights) * self.architecture.units
        return _mean_over(datum, self.X, each) + self.X.shape[1] * self._log_gamma(params)

    def init(self, key: Array, scale: ArrayLike = 1.0) -> NetworkParams:
        """He's start with the last layers times scale, the decoder's bias at the data's mean, gamma
        at the mean squared deviation: at scale 0, collapse.
        """
        problem.require_key(key)
        encoder, decoder = pair = self.architecture.init(key, self.X.dtype)
        center = self.X.mean(axis=0)
        silent = self.architecture.silence(encoder, decoder, jnp.zeros_like(center))
        still = self.architecture.silence(encoder, decoder, center)
        factor = jnp.asarray(scale, self.X.dtype)
        return self._params(jax.tree.map(lambda a, b, c: c + factor * (a - b), pair, silent, still))

    def collapsed(self, key: Array | None = None, dead: bool = False) -> NetworkParams:
        """The decoder constant at the data's mean, the posterior the prior; hidden layers as `init`
        has them for that key or, with dead=True, a decoder of which no unit fires: a plateau.
        """
        key = jax.random.key(0) if key is None else key
        encoder, decoder = self.architecture.init(key, self.X.dtype)
        return self._params(self.architecture.silence(encoder, decoder, self.X.mean(axis=0), dead))

    def information(self, params: NetworkParams) -> Array:
        """(k,), twice the KL divergence per latent, mean over data."""
        return energy.information(*self.architecture.encode(params.encoder, self.X))

    def autoencoder(self, params: NetworkParams) -> Autoencoder:
        """The VAE that the parameters make.

        Its expected error is unknown: that of the nodes is no guide to other posteriors, which can
        be fitted to them.
        """
        mean, log_std = self.architecture.encode(params.encoder, self.X)
        return Autoencoder(
            data=self.X,
            mean=mean,
            log_std=log_std,
            decode=partial(self.architecture.decode, params.decoder),
            gamma=jnp.exp(self._log_gamma(params)),
            learned=self.gamma is None,
            beta=self.beta,
        )

    def restrict(self, params: NetworkParams, keep: Array) -> NetworkParams:
        """Latents outside keep (k,) ignored by the decoder, their posteriors the prior."""
        keep = jnp.asarray(keep)
        encoder, decoder = self.architecture.restrict(params.encoder, params.decoder, keep)
        return params._replace(encoder=encoder, decoder=decoder)

    def deterministic(self) -> Problem:
        """The autoencoder of the same networks."""
        return Deterministic(self)

    def reconstruction_error(self, params: NetworkParams) -> Array:
        """Mean squared error per coordinate at the posterior means."""

        def datum(x: Array) -> Array:
            reconstruction = self.architecture.decode(params.decoder, self._posterior(params, x)[0])
            return jnp.mean((x - reconstruction) ** 2)

        return _mean_over(datum, self.X, self.architecture.units)

    def sampled(
        self, params: NetworkParams, key: Array, samples: int = 1, batch: int | None = None
    ) -> Array:
        """What training sees of the energy: noise drawn anew for each datum, a part of the data.

        An unbiased draw of the energy, of which `loss` is the value by fixed nodes. samples:
        latents drawn per datum; batch: data drawn without replacement (None: all). Raises
        ValueError for numbers out of range.
        """
        n = len(self.X)
        problem.require_draws(samples, batch, n)
        which, noise = jax.random.split(key)
        x = self.X
        if batch is not None:
            x = x[jax.random.choice(which, n, (batch,), replace=False)]
        log_gamma = self._log_gamma(params)
        return estimate(self.architecture, params, x, noise, samples, log_gamma, self.beta)

    def _log_gamma(self, params: NetworkParams) -> Array:
        return jnp.asarray(params.log_gamma) if self.gamma is None else jnp.log(self.gamma)

    def _params(self, pair: tuple[networks.Weights, networks.Weights]) -> NetworkParams:
        learned = jnp.log(energy.gammabar(self.X)) if self.gamma is None else None
        return NetworkParams(*pair, learned)

    def _posterior(self, params: NetworkParams, x: Array) -> tuple[Array, Array]:
        """Mean and log_std (k,) of one datum."""
        mean, log_std = self.architecture.encode(params.encoder, x[None])
        return mean[0], log_std[0]

    def _squared_error(self, params: NetworkParams, mean: Array, log_std: Array, x: Array) -> Array:
        """sum_s w_s ||x - decode(mean + sigma z_s)||^2 of one datum."""
        z = mean[None] + jnp.exp(log_std)[None] * self.nodes.noise
        y = self.architecture.decode(params.decoder, z)
        return jnp.dot(self.nodes.weights, jnp.sum((x[None] - y) ** 2, axis=1))


@dataclass(frozen=True)
class _Moved:
    """The architecture's symmetry, of all parameters: equal for equal architectures."""

    pair: Symmetry

    def __call__(self, params: NetworkParams, t: Array) -> NetworkParams:
        encoder, decoder = self.pair.move((params.encoder, params.decoder), t)
        return params._replace(encoder=encoder, decoder=decoder)


def mlp_vae(
    X: ArrayLike,
    latent: int,
    *,
    depth: int = 2,
    width: int = 512,
    nodes: Nodes | None = None,
    gamma: ArrayLike | None = None,
    beta: ArrayLike = 1.0,
) -> NetworkVAE:
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
) -> NetworkVAE:
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
) -> NetworkVAE:
    """`network_vae` of `architecture.resnet`."""
    made = networks.resnet(
        shape, latent, blocks=blocks, convs=convs, scales=scales, channels=channels, growth=growth
    )
    return network_vae(X, made, nodes=nodes, gamma=gamma, beta=beta)


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
    costs = jnp.asarray(beta) * jnp.sum(energy.divergence(mean, log_std), axis=1)
    return energy.drawn(x, y, log_gamma, costs)


def _mean_over(term: Callable[[Array], Array], X: Array, each: int) -> Array:
    """Mean of term(x) over the rows of X, in batches where `each` numbers a row are too many
    together.

    A derivative computes batches anew rather than remember them.
    """
    if len(X) * each <= problem.STREAM:
        return jnp.mean(jax.vmap(term)(X))
    batch_size = max(1, problem.BATCH // each)
    return jnp.mean(jax.lax.map(jax.checkpoint(term), X, batch_size=batch_size))
