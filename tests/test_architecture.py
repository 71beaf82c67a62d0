"""Networks as functions: shapes, XLA's own convolution as an oracle, symmetries, what is switched
off.
"""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from vaesurface import curvature
from vaesurface.vae import architecture

SHAPE, LATENT = (2, 4, 4), 2
MADE = {
    "affine": architecture.mlp(32, LATENT, depth=0),
    "mlp": architecture.mlp(32, LATENT, depth=2, width=5),
    "skips": architecture.mlp(32, LATENT, depth=3, width=5, skips=True),
    "conv": architecture.conv(SHAPE, LATENT, convs=2, scales=2, channels=2),
    "resnet": architecture.resnet(SHAPE, LATENT, blocks=2, convs=2, scales=1, channels=3),
}
UNITS = {
    "mlp": 2 * 2 * 5,
    "skips": 2 * 3 * 5,
    # Of each layer a number of channels, and of the decoder those that the latents are lifted to.
    "conv": (2 + 2 + 4 + 4) + 4 + (4 + 4 + 2 + 2),
    # Of each network the channels that all blocks pass on, and one layer within each of two blocks.
    "resnet": (3 + 2 * 3) + 3 + (3 + 2 * 3),
}
X = jnp.asarray(np.random.default_rng(0).normal(size=(3, 32)))


def run(made, pair):
    """What data are reconstructed as, and their moments: a function of all weights."""
    mean, log_std = made.encode(pair[0], X)
    return made.decode(pair[1], mean[:, None]), mean, log_std


@pytest.fixture(scope="module", params=MADE)
def case(request):
    made = MADE[request.param]
    pair = made.init(jax.random.key(0), jnp.float64)
    noise = jax.tree.map(
        lambda a: jnp.asarray(0.3 * np.random.default_rng(a.size).normal(size=a.shape)), pair
    )
    # No bias at zero and no head, as after training.
    return (
        request.param,
        made,
        jax.tree.map(jnp.add, pair, noise),
        jax.jit(lambda pair: run(made, pair)),
    )


def test_shapes_and_dtypes_follow_the_weights(case):
    _, made, pair, reconstruct = case
    y, mean, log_std = reconstruct(pair)
    assert (y.shape, mean.shape, log_std.shape) == ((3, 1, 32), (3, LATENT), (3, LATENT))
    assert {a.dtype for a in (y, mean, log_std)} == {jnp.dtype(jnp.float64)}
    single = jax.eval_shape(lambda: run(made, made.init(jax.random.key(0))))
    assert {a.dtype for a in single} == {jnp.dtype(jnp.float32)}


def test_silence_is_collapse_and_a_restricted_latent_is_ignored(case):
    _, made, pair, reconstruct = case
    center = X.mean(axis=0)
    for dead in (False, True):
        y, mean, log_std = reconstruct(made.silence(*pair, center, dead))
        np.testing.assert_array_equal(y, jnp.broadcast_to(center, y.shape))
        assert not jnp.any(mean) and not jnp.any(log_std)
    encoder, decoder = made.restrict(*pair, jnp.array([False, True]))
    _, mean, log_std = reconstruct((encoder, decoder))
    full = reconstruct(pair)
    assert not jnp.any(mean[:, 0]) and not jnp.any(log_std[:, 0])
    np.testing.assert_array_equal(mean[:, 1], full[1][:, 1])
    ignored = made.decode(decoder, mean + jnp.array([[3.0, 0.0]]))
    np.testing.assert_array_equal(ignored, made.decode(decoder, mean))
    without = made.decode(pair[1], mean)  # latent 0 at zero
    np.testing.assert_allclose(ignored, without, rtol=1e-12, atol=1e-13)


def test_units_rescale_without_effect_and_all_such_directions_are_known(case):
    name, made, pair, reconstruct = case
    if name == "affine":
        assert made.symmetry is None
        return
    assert made.symmetry.size == UNITS[name]
    assert curvature.symmetries(made.symmetry, pair) == UNITS[name]
    t = jnp.asarray(np.random.default_rng(1).normal(size=UNITS[name]))
    moved = made.symmetry.move(pair, t)
    assert (
        max(
            float(jnp.max(jnp.abs(a - b)))
            for a, b in zip(*map(jax.tree.leaves, (pair, moved)), strict=True)
        )
        > 0.1
    )
    for a, b in zip(reconstruct(moved), reconstruct(pair), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    jax.tree.map(np.testing.assert_array_equal, made.symmetry.move(pair, 0 * t), pair)


def test_dead_means_that_no_unit_of_the_decoder_fires():
    for made in (MADE["mlp"], MADE["conv"], MADE["resnet"]):
        _, decoder = made.silence(
            *made.init(jax.random.key(1), jnp.float64), jnp.zeros(32), dead=True
        )
        live = decoder | {"out": jax.tree.map(jnp.ones_like, decoder["out"])}
        z = jnp.asarray(np.random.default_rng(0).normal(size=(20, LATENT)))
        assert not jnp.any(made.decode(live, z))


def test_convolution_is_that_of_xla():
    rng = np.random.default_rng(0)
    maps, kernel = (
        jnp.asarray(rng.normal(size=(2, 3, 5, 2))),
        jnp.asarray(rng.normal(size=(3, 3, 2, 4))),
    )
    layer = nnx.Conv(2, 4, (3, 3), param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    layer.kernel[...] = kernel
    np.testing.assert_allclose(
        architecture._correlate(maps, kernel), layer(maps), rtol=1e-12, atol=1e-13
    )


def test_images_are_channel_major_and_a_pixel_stays_near_itself():
    # A change of one pixel of one channel reaches maps around it only: on the way down by one pixel
    # per layer.
    made = architecture.conv((2, 8, 8), 1, convs=1, scales=1, channels=2)
    encoder, _ = made.init(jax.random.key(0), jnp.float64)
    spread = jax.random.normal(jax.random.key(1), encoder["mean"]["kernel"].shape, jnp.float64)
    encoder = encoder | {"mean": encoder["mean"] | {"kernel": spread}}
    image = jnp.zeros((2, 8, 8)).at[1, 6, 1].set(1.0).reshape(1, -1)
    maps = jax.grad(
        lambda kernel: made.encode(encoder | {"mean": encoder["mean"] | {"kernel": kernel}}, image)[
            0
        ][0, 0]
    )(spread)
    rows, columns, _ = np.nonzero(np.asarray(maps).reshape(4, 4, 2))
    assert set(rows) <= {2, 3} and set(columns) <= {0, 1} and len(rows)


def test_he_scale_keeps_the_size_of_what_goes_through():
    wide = architecture.mlp(400, 300, depth=6, width=400)
    pair = wide.init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (64, 400), jnp.float32)
    mean, log_std = wide.encode(pair[0], x)
    y = wide.decode(pair[1], jax.random.normal(jax.random.key(2), (64, 300), jnp.float32))
    ratios = [float(jnp.mean(a**2)) for a in (mean, y)]
    print("mean square of the posterior means and of the output, for 1:", ratios)
    # He: the second moment of what a ReLU layer gets is that of what it hands on; the first, linear
    # one doubles it.
    assert all(0.8 < r < 4 for r in ratios)
    assert not jnp.any(log_std)


def test_arguments_alike_make_equal_architectures_also_elsewhere():
    made = architecture.mlp(4, 2)
    for same in (
        architecture.mlp(4, latent=2, depth=2, width=512),
        pickle.loads(pickle.dumps(made)),
    ):
        assert (same, same.symmetry) == (made, made.symmetry)
        assert hash((same, same.symmetry)) == hash((made, made.symmetry))
    assert architecture.conv([1, 4, 4], 2) == architecture.conv((1, 4, 4), 2, convs=2)
    assert architecture.conv([1, 4, 4], 2) != architecture.conv([1, 4, 4], 2, channels=3)


def test_errors_are_one_line():
    with pytest.raises(ValueError, match="expected depth >= 0, got -1"):
        architecture.mlp(4, 2, depth=-1)
    with pytest.raises(ValueError, match="expected latent >= 1, got 0"):
        architecture.conv(SHAPE, 0)
    with pytest.raises(
        ValueError, match=r"sides divisible by 8, got \(2, 4, 4\); use fewer scales"
    ):
        architecture.resnet(SHAPE, 2, scales=3)
