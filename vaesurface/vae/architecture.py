"""Which networks? Encoder and decoder as pure functions of two pytrees: fully connected,
convolutional, residual.

The deep models of the paper's section 5, in the shapes of its figure 1. Rows of data are flattened
(channels, height, width) images, as `data.load` gives them. Activations are ReLU, weights start at
He's scale (He et al. 2015), biases at zero.

>>> import jax
>>> network = mlp(features=64, latent=2, depth=2, width=16)
>>> encoder, decoder = network.init(jax.random.key(0))
>>> mean, log_std = network.encode(encoder, jax.numpy.zeros((5, 64)))
>>> network.decode(decoder, mean).shape
(5, 64)
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Symmetry

__all__ = ["Architecture", "Weights", "conv", "mlp", "resnet"]

Weights = dict[Any, Any]  # of a network: nested dicts of arrays
Path = tuple[Any, ...]  # to a layer in them
Options = dict[str, Any]  # of flax's modules: param_dtype and rngs
Initial = Callable[..., Array]  # standard deviations of weights, as an initializer

# Bias at which no hidden unit fires: twenty times what a unit with He's weights gets from a latent
# of size sqrt(k).
DEAD = -20.0


@dataclass(frozen=True)
class Architecture(ABC):
    """An encoder and a decoder. Those made by the same arguments are equal, so that compiled
    functions are remembered.

    features: d, of the data.
    latent: k.
    """

    features: int
    latent: int

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, in words."""

    @property
    @abstractmethod
    def units(self) -> int:
        """Numbers that the decoder computes for one latent: its memory."""

    @abstractmethod
    def encoder(self, options: Options) -> nnx.Module:
        """x (n, d) to mean and log_std (n, k)."""

    @abstractmethod
    def decoder(self, options: Options) -> nnx.Module:
        """z (..., k) to (..., d)."""

    @property
    def symmetry(self) -> Symmetry | None:
        """Of the pair (encoder, decoder): what a ReLU unit or channel lets in may grow as what it
        hands on shrinks. None without hidden layers.
        """
        size = sum(stream.size for stream in _modules(self).streams)
        return Symmetry(size, _Rescaling(self)) if size else None

    def init(self, key: Array, dtype: Any = jnp.float32) -> tuple[Weights, Weights]:
        """Random weights of the encoder and the decoder in that dtype, which decides what is
        computed in.
        """
        return _drawn(self, key, dtype)

    def encode(self, encoder: Weights, x: Array) -> tuple[Array, Array]:
        """mean and log_std (n, k) of the posteriors of x (n, d)."""
        x = jnp.asarray(x, encoder["mean"]["bias"].dtype)
        return nnx.merge(_modules(self).encoder, nnx.State(encoder))(x)

    def decode(self, decoder: Weights, z: Array) -> Array:
        """Means (..., d) of the decoder at z (..., k)."""
        return nnx.merge(_modules(self).decoder, nnx.State(decoder))(z)

    def silence(
        self, encoder: Weights, decoder: Weights, center: Array, dead: bool = False
    ) -> tuple[Weights, Weights]:
        """The same with the decoder constant at center (d,) and the posterior the prior, by zeros
        in the last layers; dead: no hidden unit of the decoder fires, either.
        """
        heads = {head: jax.tree.map(jnp.zeros_like, encoder[head]) for head in ("mean", "log_std")}
        bias = jnp.asarray(center, decoder["bias"].dtype)
        last = {"out": jax.tree.map(jnp.zeros_like, decoder["out"]), "bias": bias}
        if dead and "hidden" in decoder:
            last["hidden"] = jax.tree.map(_deadened, decoder["hidden"])
        return encoder | heads, decoder | last

    def restrict(self, encoder: Weights, decoder: Weights, keep: Array) -> tuple[Weights, Weights]:
        """The same where latents outside keep (k,) bool are ignored by the decoder, and their
        posterior is the prior.
        """

        def of_kept(a: Array) -> Array:
            return jnp.where(keep.reshape((1,) * (a.ndim - 1) + (-1,)), a, 0.0)

        def ignoring(layer: Weights) -> Weights:
            return layer | {"kernel": jnp.where(keep[:, None], layer["kernel"], 0.0)}

        heads = {head: jax.tree.map(of_kept, encoder[head]) for head in ("mean", "log_std")}
        first = ("hidden", 0) if "hidden" in decoder else ("out",)
        decoder = _edited(decoder, first, ignoring)
        for i in decoder.get("skips", ()):
            decoder = _edited(decoder, ("skips", i), ignoring)
        return encoder | heads, decoder


@dataclass(frozen=True)
class _Rescaling:
    """What moves along an architecture's symmetry: equal for equal ones."""

    architecture: Architecture

    def __call__(self, pair: tuple[Weights, Weights], t: Array) -> tuple[Weights, Weights]:
        """Every unit's input exp(t) times as large, t (size,), and its output taken as much
        smaller.
        """
        weights: Weights = dict(enumerate(pair))
        start = 0
        for stream in _modules(self.architecture).streams:
            factor = jnp.exp(t[start : start + stream.size])
            start += stream.size
            for path in stream.writers:
                weights = _edited(weights, path, partial(_louder, factor))
            for path in stream.readers:
                weights = _edited(weights, path, partial(_softer, factor))
        return weights[0], weights[1]


def mlp(
    features: int, latent: int, *, depth: int = 2, width: int = 512, skips: bool = False
) -> Architecture:
    """Fully connected: `depth` hidden layers in the encoder and as many in the decoder; with none,
    both are affine.

    skips: every hidden layer of the decoder but the first is told the latents too, by a linear map
    of its own (Dieng et al. 2019, "Avoiding latent variable collapse with generative skip models").
    Raises ValueError for sizes below one (depth: zero).
    """
    _require(features=features, latent=latent, width=width, depth=depth + 1)
    return _FullyConnected(features, latent, depth, width, skips)


def conv(
    shape: Sequence[int],
    latent: int,
    *,
    convs: int = 2,
    scales: int = 2,
    channels: int = 32,
    growth: int = 2,
) -> Architecture:
    """Convolutional: at each scale `convs` layers of 3 x 3, then 2 x 2 max-pooling; the decoder
    mirrors it.

    shape: (channels, height, width) of an image. There are `channels` of them at the first scale
    and `growth` times as many at each further one. The moments are affine in the last pooled maps.
    In the decoder a linear layer makes those maps, the first of each scale's `convs` layers doubles
    their size (transposed, 2 x 2, stride 2), and a linear 3 x 3 layer ends. Raises ValueError for
    sizes below one and unless height and width are divisible by 2^scales.
    """
    _require(latent=latent, convs=convs, scales=scales, channels=channels, growth=growth)
    image = _divisible(shape, scales)
    return _Images(math.prod(image), latent, image, 0, convs, scales, channels, growth)


def resnet(
    shape: Sequence[int],
    latent: int,
    *,
    blocks: int = 1,
    convs: int = 2,
    scales: int = 2,
    channels: int = 32,
    growth: int = 2,
) -> Architecture:
    """Residual: at each scale one layer that sets the number of channels, then `blocks` blocks of
    `convs` layers.

    A block is relu(h + f(h)) (He et al. 2016), without normalization. f's last layer starts smaller
    by the square root of the number of blocks in the network, so that what comes out stays of order
    one (Hanin & Rolnick 2018). Scales, shape, ends and errors as for `conv`, with one layer where
    that has `convs`.
    """
    _require(
        latent=latent, blocks=blocks, convs=convs, scales=scales, channels=channels, growth=growth
    )
    image = _divisible(shape, scales)
    return _Images(math.prod(image), latent, image, blocks, convs, scales, channels, growth)


@dataclass(frozen=True)
class _FullyConnected(Architecture):
    """`depth` hidden layers of `width` units in each network; skips: as `mlp` says."""

    depth: int
    width: int
    skips: bool = False

    @property
    def name(self) -> str:
        return f"mlp, {self.depth} hidden layers of {self.width}{', skips' * self.skips}"

    @property
    def units(self) -> int:
        return self.features + self.depth * self.width

    def encoder(self, options: Options) -> nnx.Module:
        sizes, hidden = self._hidden(self.features, options)
        return _Encoder(hidden, sizes[-1], self.latent, options)

    def decoder(self, options: Options) -> nnx.Module:
        sizes, hidden = self._hidden(self.latent, options)
        out = nnx.Linear(sizes[-1], self.features, use_bias=False, kernel_init=HE, **options)
        if not self.skips:
            return _Decoder(hidden, out, self.features, options)
        told = [
            nnx.Linear(self.latent, size, use_bias=False, kernel_init=HE, **options)
            for size in sizes[2:]
        ]
        return _SkipDecoder(hidden, told, out, self.features, options)

    def _hidden(self, inputs: int, options: Options) -> tuple[list[int], list[nnx.Module]]:
        sizes = [inputs, *[self.width] * self.depth]
        return sizes, [_dense(before, after, options) for before, after in pairwise(sizes)]


@dataclass(frozen=True)
class _Images(Architecture):
    """Layers of 3 x 3 on images.

    shape: (channels, height, width).
    blocks: residual ones, at each scale; 0 for plain layers.
    convs: layers of a block, or of a scale without blocks.
    scales: sizes of maps.
    channels: of the first scale.
    growth: of channels from scale to scale.
    """

    shape: tuple[int, int, int]
    blocks: int
    convs: int
    scales: int
    channels: int
    growth: int

    @property
    def name(self) -> str:
        layers = f"{self.convs} layers"
        what = f"{self.blocks} blocks of {layers}" if self.blocks else layers
        return (
            f"{'resnet' if self.blocks else 'conv'}, {self.scales} scales with {what}, "
            f"{self.channels} channels, growth {self.growth}"
        )

    @property
    def units(self) -> int:
        layers = 1 + self.blocks * self.convs if self.blocks else self.convs
        pixels = self.shape[1] * self.shape[2]
        maps = sum(pixels // 4**scale * size for scale, size in enumerate(self._sizes))
        return self.features + layers * maps

    @property
    def _sizes(self) -> list[int]:
        """Channels of every scale."""
        return [self.channels * self.growth**scale for scale in range(self.scales)]

    @property
    def _bottom(self) -> tuple[int, int, int]:
        """The last maps: height, width, channels."""
        _, height, width = self.shape
        return height // 2**self.scales, width // 2**self.scales, self._sizes[-1]

    def encoder(self, options: Options) -> nnx.Module:
        hidden = []
        for before, size in pairwise([self.shape[0], *self._sizes]):
            hidden += self._scale(_conv(before, size, HE, options), size, options)
        inputs, pool = math.prod(self._bottom), len(hidden) // self.scales
        return _Encoder(hidden, inputs, self.latent, options, self.shape, pool)

    def decoder(self, options: Options) -> nnx.Module:
        sizes = self._sizes[::-1]
        hidden: list[nnx.Module] = [_Lift(self.latent, self._bottom, options)]
        for before, size in pairwise([sizes[0], *sizes]):
            hidden += self._scale(_Up(before, size, options), size, options)
        out = _conv(sizes[-1], self.shape[0], HE, options, use_bias=False)
        return _Decoder(hidden, out, self.features, options)

    def _scale(self, first: nnx.Module, size: int, options: Options) -> list[nnx.Module]:
        """All layers of one scale."""
        if self.blocks:
            total = self.blocks * self.scales
            return [first, *(_Block(size, self.convs, total, options) for _ in range(self.blocks))]
        return [first, *(_conv(size, size, HE, options) for _ in range(self.convs - 1))]


def _scaled(factor: float) -> Initial:
    """Standard deviations of weights, the variance being He's times factor: modules are made of
    these, and `init` draws all weights at once, for each draw takes as long to compile as a layer.
    """

    def deviations(_: Array, shape: Sequence[int], dtype: Any, *__: Any) -> Array:
        return jnp.full(shape, math.sqrt(2.0 * factor / math.prod(shape[:-1])), dtype)

    return deviations


HE = _scaled(1.0)


def _dense(before: int, after: int, options: Options) -> nnx.Linear:
    return nnx.Linear(before, after, kernel_init=HE, **options)


def _conv(
    before: int, after: int, initial: Initial, options: Options, use_bias: bool = True
) -> nnx.Conv:
    return nnx.Conv(
        before,
        after,
        (3, 3),
        use_bias=use_bias,
        kernel_init=initial,
        conv_general_dilated=_correlate,
        **options,
    )


def _correlate(maps: Array, kernel: Array, *_: Any, **__: Any) -> Array:
    """Convolution of maps (n, height, width, in) with a kernel (3, 3, in, out), as products of
    matrices with shifts.

    XLA's own is some ten times slower where it is differentiated in a loop on a CPU, for there it
    is not brought into the order that the fast code needs; with a kernel for each seed, under
    `vmap`, it is slow everywhere. On a GPU both take about the same time (H100, 32 channels of 32 x
    32 pixels, beside other work: 4.5 and 4.8 ms a step of training).
    """
    down, right = (
        jnp.stack([jnp.eye(side, k=i, dtype=maps.dtype) for i in (-1, 0, 1)])
        for side in maps.shape[1:3]
    )
    return jnp.einsum("ihH,jwW,nHWc,ijco->nhwo", down, right, maps, kernel)


class _Block(nnx.Module):
    """h + f(h), for the ReLU that follows every hidden layer."""

    def __init__(self, size: int, convs: int, total: int, options: Options):
        layers = [_conv(size, size, HE, options) for _ in range(convs - 1)]
        self.convs = nnx.List([*layers, _conv(size, size, _scaled(1.0 / total), options)])

    def __call__(self, h: Array) -> Array:
        f = self.convs[0](h)
        for layer in list(self.convs)[1:]:
            f = layer(nnx.relu(f))
        return h + f


class _Up(nnx.Module):
    """Transposed convolution, 2 x 2 with stride 2: every pixel becomes four."""

    def __init__(self, before: int, size: int, options: Options):
        self.kernel = nnx.Param(HE(None, (before, 4 * size), options["param_dtype"]))
        self.bias = nnx.Param(jnp.zeros(size, options["param_dtype"]))
        self.out_features = size

    def __call__(self, h: Array) -> Array:
        *lead, height, width, _ = h.shape
        y = (h @ self.kernel[...]).reshape(*lead, height, width, 2, 2, self.out_features)
        y = jnp.moveaxis(y, -3, -4).reshape(*lead, 2 * height, 2 * width, self.out_features)
        return y + jnp.broadcast_to(self.bias[...], y.shape)


class _Lift(nnx.Linear):
    """Latents to maps (height, width, channels)."""

    def __init__(self, latent: int, maps: tuple[int, int, int], options: Options):
        super().__init__(latent, math.prod(maps), kernel_init=HE, **options)
        self.maps = maps

    def __call__(self, z: Array, out_sharding: Any = None) -> Array:
        return super().__call__(z, out_sharding).reshape(*z.shape[:-1], *self.maps)


class _Encoder(nnx.Module):
    """Hidden layers and the two moments.

    shape: (channels, height, width) of images, None where data go in as they are.
    pool: hidden layers after which maps are halved, 0: never.
    """

    def __init__(
        self,
        hidden: Sequence[nnx.Module],
        inputs: int,
        latent: int,
        options: Options,
        shape: tuple[int, int, int] | None = None,
        pool: int = 0,
    ):
        self.hidden = nnx.List(hidden)
        self.mean = _dense(inputs, latent, options)
        # The posterior starts with standard deviation 1 for all data.
        self.log_std = nnx.Linear(inputs, latent, kernel_init=nnx.initializers.zeros, **options)
        self.shape, self.pool = shape, pool

    def __call__(self, x: Array) -> tuple[Array, Array]:
        h = x if self.shape is None else jnp.moveaxis(x.reshape(-1, *self.shape), 1, -1)
        for i, layer in enumerate(self.hidden, 1):
            h = layer(h)
            if self.pool and i % self.pool == 0:
                n, height, width, channels = h.shape  # before the ReLU, with which it commutes
                h = h.reshape(n, height // 2, 2, width // 2, 2, channels).max(axis=(2, 4))
            h = nnx.relu(h)
        h = h.reshape(len(x), -1)
        return self.mean(h), self.log_std(h)


class _Decoder(nnx.Module):
    """Hidden layers, a linear one, and a bias for each feature: without, no image decoder were
    constant at the data's mean.
    """

    def __init__(
        self, hidden: Sequence[nnx.Module], out: nnx.Module, features: int, options: Options
    ):
        self.hidden, self.out = nnx.List(hidden), out
        self.bias = nnx.Param(jnp.zeros(features, options["param_dtype"]))

    def __call__(self, z: Array) -> Array:
        h = z
        for layer in self.hidden:
            h = nnx.relu(layer(h))
        y = self.out(h)
        if y.ndim > z.ndim:
            y = jnp.moveaxis(y, -1, -3).reshape(*z.shape[:-1], -1)
        return y + jnp.broadcast_to(self.bias[...], y.shape)


class _SkipDecoder(_Decoder):
    """The same, fully connected; from the second on, hidden layers add a linear map of the latents
    to what they have.
    """

    def __init__(
        self,
        hidden: Sequence[nnx.Module],
        skips: Sequence[nnx.Module],
        out: nnx.Module,
        features: int,
        options: Options,
    ):
        super().__init__(hidden, out, features, options)
        self.skips = nnx.List(skips)

    def __call__(self, z: Array) -> Array:
        first, *rest = self.hidden
        h = nnx.relu(first(z))
        for layer, skip in zip(rest, self.skips, strict=True):
            h = nnx.relu(layer(h) + skip(z))
        y = self.out(h)
        return y + jnp.broadcast_to(self.bias[...], y.shape)


class _Stream(NamedTuple):
    """Units or channels that some layers write and others read, each through a ReLU of its own.

    size: how many.
    writers: paths to the layers that write them.
    readers: paths to those that read them.
    """

    size: int
    writers: list[Path]
    readers: list[Path]


class _Modules(NamedTuple):
    """What there is of an architecture before it has weights.

    encoder: flax's graph of it.
    decoder: flax's graph of it.
    streams: of both, in the order of the symmetry's numbers.
    """

    encoder: Any
    decoder: Any
    streams: tuple[_Stream, ...]


def _made(architecture: Architecture, dtype: Any) -> tuple[nnx.Module, nnx.Module]:
    """Modules whose weights are their own standard deviations."""
    options = {"param_dtype": dtype, "rngs": nnx.Rngs(0)}
    return architecture.encoder(options), architecture.decoder(options)


@partial(jax.jit, static_argnums=(0, 2))
def _drawn(architecture: Architecture, key: Array, dtype: Any) -> tuple[Weights, Weights]:
    """Standard deviations times normal numbers, drawn all at once."""
    modules = _made(architecture, dtype)
    deviations, unravel = ravel_pytree(
        tuple(nnx.to_pure_dict(nnx.split(module)[1]) for module in modules)
    )
    return unravel(deviations * jax.random.normal(key, deviations.shape, dtype))


@cache
def _modules(architecture: Architecture) -> _Modules:
    encoder, decoder = nnx.eval_shape(lambda: _made(architecture, jnp.float32))
    return _Modules(
        encoder=nnx.split(encoder)[0],
        decoder=nnx.split(decoder)[0],
        streams=(*_streams(encoder, 0, "mean", "log_std"), *_streams(decoder, 1, "out")),
    )


def _streams(network: Any, side: int, *last: str) -> Iterator[_Stream]:
    """Of one network. Along a skip connection a channel goes through all of a scale's blocks, which
    scale with it.
    """
    stream = None
    for i, layer in enumerate(network.hidden):
        path = (side, "hidden", i)
        if isinstance(layer, _Block):
            inner = [(*path, "convs", j) for j in range(len(layer.convs))]
            for writer, reader in pairwise(inner):
                yield _Stream(layer.convs[0].out_features, [writer], [reader])
            assert stream is not None  # a scale begins with a layer of its own
            stream.readers.append(inner[0])
            stream.writers.append(inner[-1])
            continue
        if stream is not None:
            stream.readers.append(path)
            yield stream
        size = layer.maps[-1] if isinstance(layer, _Lift) else layer.out_features
        stream = _Stream(size, [path], [])
        if i and isinstance(network, _SkipDecoder):
            stream.writers.append((side, "skips", i - 1))
    if stream is not None:
        stream.readers.extend((side, name) for name in last)
        yield stream


def _edited(tree: Weights, path: Sequence[Any], change: Callable[[Any], Any]) -> Weights:
    """A nested dict with the part at path changed."""
    head, *rest = path
    return tree | {head: _edited(tree[head], rest, change) if rest else change(tree[head])}


def _louder(factor: Array, layer: Weights) -> Weights:
    """The layer with what it hands on times factor, a number per channel."""
    return {name: _times(a, factor, -1) for name, a in layer.items()}


def _softer(factor: Array, layer: Weights) -> Weights:
    """The layer with what it lets in divided by factor, a number per channel."""
    return layer | {"kernel": _times(layer["kernel"], 1 / factor, -2)}


def _times(a: Array, factor: Array, axis: int) -> Array:
    """a times a factor per channel along an axis on which channels come last, after pixels."""
    tiled = jnp.tile(factor, a.shape[axis] // factor.size)
    return a * tiled.reshape((1,) * (a.ndim + axis) + (-1,) + (1,) * (-axis - 1))


def _deadened(a: Array) -> Array:
    """A hidden layer's array such that nothing fires: a kernel, which has more axes, as it is."""
    return jnp.full_like(a, DEAD) if a.ndim == 1 else a


def _divisible(shape: Sequence[int], scales: int) -> tuple[int, int, int]:
    sizes = tuple(shape)
    if len(sizes) != 3 or min(sizes) < 1 or any(side % 2**scales for side in sizes[1:]):
        raise ValueError(
            f"expected images (channels, height, width) with sides divisible by {2**scales}, "
            f"got {sizes}; use fewer scales"
        )
    return sizes[0], sizes[1], sizes[2]


def _require(**sizes: int) -> None:
    """All of one or more; of depth one more is given than is meant."""
    for name, size in sizes.items():
        if size < 1:
            off = name == "depth"
            raise ValueError(f"expected {name} >= {1 - off}, got {size - off}; choose a larger one")
