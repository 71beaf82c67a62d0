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
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.flatten_util import ravel_pytree

from vaesurface.problem import Symmetry

Weights = dict[Any, Any]  # of a network: nested dicts of arrays

# Bias at which no hidden unit fires: twenty times what a unit with He's weights gets from a latent
# of size sqrt(k).
DEAD = -20.0


class Architecture(NamedTuple):
    """An encoder and a decoder. Arguments alike make one and the same object, so that compiled
    functions are remembered.

    features d; latent k. init(key, dtype) -> (encoder, decoder), nested dicts of arrays in that
    dtype, which decides what is computed in. encode(encoder, x (n, d)) -> mean, log_std (n, k);
    decode(decoder, z (..., k)) -> (..., d). silence(encoder, decoder, center (d,), dead=False): the
    same with the decoder constant at center and the posterior the prior, by zeros in the last
    layers; dead: no hidden unit of the decoder fires, either. restrict(encoder, decoder, keep (k,)
    bool): latents outside keep are ignored by the decoder, and their posterior is the prior.
    symmetry: of the pair (encoder, decoder): what a ReLU unit or channel lets in may grow as what
    it hands on shrinks; None without hidden layers. units: numbers that the decoder computes for
    one latent, its memory.
    """

    name: str
    features: int
    latent: int
    init: Callable[..., tuple[Weights, Weights]]
    encode: Callable[[Weights, Array], tuple[Array, Array]]
    decode: Callable[[Weights, Array], Array]
    silence: Callable[..., tuple[Weights, Weights]]
    restrict: Callable[[Weights, Weights, Array], tuple[Weights, Weights]]
    symmetry: Symmetry | None
    units: int


def mlp(features: int, latent: int, *, depth: int = 2, width: int = 512) -> Architecture:
    """Fully connected: `depth` hidden layers in the encoder and as many in the decoder; with none,
    both are affine.

    Raises ValueError for sizes below one (depth: zero).
    """
    _require(features=features, latent=latent, width=width, depth=depth + 1)
    return _mlp(features, latent, depth, width)


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
    return _image(_divisible(shape, scales), latent, 0, convs, scales, channels, growth)


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
    return _image(_divisible(shape, scales), latent, blocks, convs, scales, channels, growth)


@cache
def _mlp(features: int, latent: int, depth: int, width: int) -> Architecture:
    def encoder(make: dict[str, Any]) -> nnx.Module:
        sizes = [features, *[width] * depth]
        return _Encoder([_dense(a, b, make) for a, b in pairwise(sizes)], sizes[-1], latent, make)

    def decoder(make: dict[str, Any]) -> nnx.Module:
        sizes = [latent, *[width] * depth]
        hidden = [_dense(a, b, make) for a, b in pairwise(sizes)]
        return _Decoder(
            hidden,
            nnx.Linear(sizes[-1], features, use_bias=False, kernel_init=HE, **make),
            features,
            make,
        )

    return _architecture(
        f"mlp, {depth} hidden layers of {width}",
        features,
        latent,
        encoder,
        decoder,
        features + depth * width,
    )


@cache
def _image(
    shape: tuple[int, int, int],
    latent: int,
    blocks: int,
    convs: int,
    scales: int,
    channels: int,
    growth: int,
) -> Architecture:
    """blocks: 0 for plain layers."""
    features = math.prod(shape)
    sizes = [channels * growth**s for s in range(scales)]
    bottom = (shape[1] // 2**scales, shape[2] // 2**scales, sizes[-1])

    def stage(first: nnx.Module, size: int, make: dict[str, Any]) -> list[nnx.Module]:
        if blocks:
            return [first, *(_Block(size, convs, blocks * scales, make) for _ in range(blocks))]
        return [first, *(_conv(size, size, HE, make) for _ in range(convs - 1))]

    def encoder(make: dict[str, Any]) -> nnx.Module:
        hidden = []
        for before, size in zip([shape[0], *sizes], sizes, strict=False):
            hidden += stage(_conv(before, size, HE, make), size, make)
        return _Encoder(hidden, math.prod(bottom), latent, make, shape, len(hidden) // scales)

    def decoder(make: dict[str, Any]) -> nnx.Module:
        hidden: list[nnx.Module] = [_Lift(latent, bottom, make)]
        for before, size in zip([sizes[-1], *sizes[::-1]], sizes[::-1], strict=False):
            hidden += stage(_Up(before, size, make), size, make)
        out = _conv(sizes[0], shape[0], HE, make, use_bias=False)
        return _Decoder(hidden, out, features, make)

    what = f"{blocks} blocks of {convs} layers" if blocks else f"{convs} layers"
    name = (
        f"{'resnet' if blocks else 'conv'}, {scales} scales with {what}, {channels} channels, "
        f"growth {growth}"
    )
    layers = 1 + blocks * convs if blocks else convs
    units = features + layers * sum(
        shape[1] * shape[2] // 4**s * size for s, size in enumerate(sizes)
    )
    return _architecture(name, features, latent, encoder, decoder, units)


def _scaled(factor: float) -> Callable[..., Array]:
    """Standard deviations of weights, the variance being He's times factor: modules are made of
    these, and `init` draws all weights at once, for each draw takes as long to compile as a layer.
    """

    def deviations(_: Array, shape: Sequence[int], dtype: Any, *__: Any) -> Array:
        return jnp.full(shape, math.sqrt(2.0 * factor / math.prod(shape[:-1])), dtype)

    return deviations


HE = _scaled(1.0)


def _dense(before: int, after: int, make: dict[str, Any]) -> nnx.Linear:
    return nnx.Linear(before, after, kernel_init=HE, **make)


def _conv(
    before: int,
    after: int,
    initial: Callable[..., Array],
    make: dict[str, Any],
    use_bias: bool = True,
) -> nnx.Conv:
    return nnx.Conv(
        before,
        after,
        (3, 3),
        use_bias=use_bias,
        kernel_init=initial,
        conv_general_dilated=_correlate,
        **make,
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

    def __init__(self, size: int, convs: int, total: int, make: dict[str, Any]):
        layers = [_conv(size, size, HE, make) for _ in range(convs - 1)]
        self.convs = nnx.List([*layers, _conv(size, size, _scaled(1.0 / total), make)])

    def __call__(self, h: Array) -> Array:
        f = self.convs[0](h)
        for layer in list(self.convs)[1:]:
            f = layer(nnx.relu(f))
        return h + f


class _Up(nnx.Module):
    """Transposed convolution, 2 x 2 with stride 2: every pixel becomes four."""

    def __init__(self, before: int, size: int, make: dict[str, Any]):
        self.kernel = nnx.Param(HE(None, (before, 4 * size), make["param_dtype"]))
        self.bias = nnx.Param(jnp.zeros(size, make["param_dtype"]))
        self.out_features = size

    def __call__(self, h: Array) -> Array:
        *lead, height, width, _ = h.shape
        y = (h @ self.kernel[...]).reshape(*lead, height, width, 2, 2, self.out_features)
        y = jnp.moveaxis(y, -3, -4).reshape(*lead, 2 * height, 2 * width, self.out_features)
        return y + jnp.broadcast_to(self.bias[...], y.shape)


class _Lift(nnx.Linear):
    """Latents to maps (height, width, channels)."""

    def __init__(self, latent: int, maps: tuple[int, int, int], make: dict[str, Any]):
        super().__init__(latent, math.prod(maps), kernel_init=HE, **make)
        self.maps = maps

    def __call__(self, z: Array, out_sharding: Any = None) -> Array:
        return super().__call__(z, out_sharding).reshape(*z.shape[:-1], *self.maps)


class _Encoder(nnx.Module):
    """Hidden layers and the two moments. shape: of an image, for maps; pool: halve them after so
    many layers.
    """

    def __init__(self, hidden, inputs, latent, make, shape=None, pool=0):
        self.hidden = nnx.List(hidden)
        self.mean = _dense(inputs, latent, make)
        # The posterior starts with standard deviation 1 for all data.
        self.log_std = nnx.Linear(inputs, latent, kernel_init=nnx.initializers.zeros, **make)
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

    def __init__(self, hidden, out, features, make):
        self.hidden, self.out = nnx.List(hidden), out
        self.bias = nnx.Param(jnp.zeros(features, make["param_dtype"]))

    def __call__(self, z: Array) -> Array:
        h = z
        for layer in self.hidden:
            h = nnx.relu(layer(h))
        y = self.out(h)
        if y.ndim > z.ndim:
            y = jnp.moveaxis(y, -1, -3).reshape(*z.shape[:-1], -1)
        return y + jnp.broadcast_to(self.bias[...], y.shape)


def _architecture(
    name: str,
    features: int,
    latent: int,
    make_encoder: Callable[..., nnx.Module],
    make_decoder: Callable[..., nnx.Module],
    units: int,
) -> Architecture:
    def make(dtype: Any) -> tuple[nnx.Module, nnx.Module]:
        options = {"param_dtype": dtype, "rngs": nnx.Rngs(0)}
        return make_encoder(options), make_decoder(options)

    abstract = nnx.eval_shape(lambda: make(jnp.float32))
    (encoder_graph, _), (decoder_graph, _) = map(nnx.split, abstract)
    streams = [*_streams(abstract[0], 0, "mean", "log_std"), *_streams(abstract[1], 1, "out")]

    @partial(jax.jit, static_argnums=1)
    def init(key: Array, dtype: Any = jnp.float32) -> tuple[Weights, Weights]:
        deviations, unravel = ravel_pytree(
            tuple(nnx.to_pure_dict(nnx.split(module)[1]) for module in make(dtype))
        )
        return unravel(deviations * jax.random.normal(key, deviations.shape, dtype))

    def encode(encoder: Weights, x: Array) -> tuple[Array, Array]:
        x = jnp.asarray(x, encoder["mean"]["bias"].dtype)
        return nnx.merge(encoder_graph, nnx.State(encoder))(x)

    def decode(decoder: Weights, z: Array) -> Array:
        return nnx.merge(decoder_graph, nnx.State(decoder))(z)

    def silence(
        encoder: Weights, decoder: Weights, center: Array, dead: bool = False
    ) -> tuple[Weights, Weights]:
        encoder = encoder | {
            head: jax.tree.map(jnp.zeros_like, encoder[head]) for head in ("mean", "log_std")
        }
        bias = jnp.asarray(center, decoder["bias"].dtype)
        decoder = decoder | {"out": jax.tree.map(jnp.zeros_like, decoder["out"]), "bias": bias}
        if dead and "hidden" in decoder:
            # A kernel has more axes than a bias.
            def deaden(a):
                return jnp.full_like(a, DEAD) if a.ndim == 1 else a

            decoder = decoder | {"hidden": jax.tree.map(deaden, decoder["hidden"])}
        return encoder, decoder

    def restrict(encoder: Weights, decoder: Weights, keep: Array) -> tuple[Weights, Weights]:
        def off(a):
            return jnp.where(keep.reshape((1,) * (a.ndim - 1) + (-1,)), a, 0.0)

        encoder = encoder | {head: jax.tree.map(off, encoder[head]) for head in ("mean", "log_std")}
        first = ("hidden", 0) if "hidden" in decoder else ("out",)

        def ignore(layer):
            return layer | {"kernel": jnp.where(keep[:, None], layer["kernel"], 0.0)}

        return encoder, _edited(decoder, first, ignore)

    def move(params: tuple[Weights, Weights], t: Array) -> tuple[Weights, Weights]:
        pair: Weights = dict(enumerate(params))
        start = 0
        for stream in streams:
            factor = jnp.exp(t[start : start + stream.size])
            start += stream.size
            for path in stream.writers:
                pair = _edited(
                    pair,
                    path,
                    lambda layer: {name: _times(a, factor, -1) for name, a in layer.items()},
                )
            for path in stream.readers:
                pair = _edited(
                    pair,
                    path,
                    lambda layer: layer | {"kernel": _times(layer["kernel"], 1 / factor, -2)},
                )
        return pair[0], pair[1]

    size = sum(stream.size for stream in streams)
    symmetry = Symmetry(size, move) if size else None
    return Architecture(
        name, features, latent, init, encode, decode, silence, restrict, symmetry, units
    )


class _Stream(NamedTuple):
    """Units or channels that some layers write and others read, each through a ReLU of its own:
    paths to those layers.
    """

    size: int
    writers: list[tuple]
    readers: list[tuple]


def _streams(network: Any, side: int, *last: str) -> Iterator[_Stream]:
    """Of one network. Along a skip connection a channel goes through all of a scale's blocks, which
    scale with it.
    """
    stream = None
    for i, layer in enumerate(network.hidden):
        here = (side, "hidden", i)
        if isinstance(layer, _Block):
            inner = [(*here, "convs", j) for j in range(len(layer.convs))]
            for writer, reader in pairwise(inner):
                yield _Stream(layer.convs[0].out_features, [writer], [reader])
            assert stream is not None  # a scale begins with a layer of its own
            stream.readers.append(inner[0])
            stream.writers.append(inner[-1])
            continue
        if stream is not None:
            stream.readers.append(here)
            yield stream
        size = layer.maps[-1] if isinstance(layer, _Lift) else layer.out_features
        stream = _Stream(size, [here], [])
    if stream is not None:
        stream.readers.extend((side, name) for name in last)
        yield stream


def _edited(tree: Weights, path: Sequence[Any], change: Callable[[Any], Any]) -> Weights:
    """A nested dict with the part at path changed."""
    head, *rest = path
    return tree | {head: _edited(tree[head], rest, change) if rest else change(tree[head])}


def _times(a: Array, factor: Array, axis: int) -> Array:
    """a times a factor per channel along an axis on which channels come last, after pixels."""
    tiled = jnp.tile(factor, a.shape[axis] // factor.size)
    return a * tiled.reshape((1,) * (a.ndim + axis) + (-1,) + (1,) * (-axis - 1))


def _divisible(shape: Sequence[int], scales: int) -> tuple[int, int, int]:
    sizes = tuple(shape)
    if len(sizes) != 3 or min(sizes) < 1 or any(side % 2**scales for side in sizes[1:]):
        raise ValueError(
            f"expected images (channels, height, width) with sides divisible by {2**scales}, got "
            f"{sizes}; use fewer scales"
        )
    return sizes[0], sizes[1], sizes[2]


def _require(**sizes: int) -> None:
    for name, size in sizes.items():
        if size < 1:
            low = 0 if name == "depth" else 1
            raise ValueError(
                f"expected {name} >= {low}, got {size - (name == 'depth')}; choose a larger one"
            )
