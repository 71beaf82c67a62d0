"""Keras, on PyTorch or on KERAS_BACKEND: fit trains the same, and the callback looks."""

import os

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import pytest
from frameworks.vaes import LATENTS, X
from keras import layers, ops

from vaesurface import diagnose, monitor
from vaesurface.monitor import for_keras

D = X.shape[1]


class Draw(layers.Layer):
    """A latent of a posterior: its seed is a variable of the model, which calls move."""

    def __init__(self):
        super().__init__()
        self.seed = keras.random.SeedGenerator(7)

    def call(self, inputs):
        mean, log_var = inputs
        return mean + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(mean), seed=self.seed)


class KLTerm(layers.Layer):
    """Adds itself to the loss."""

    def call(self, inputs):
        mean, log_var = inputs
        kl = 0.5 * ops.sum(mean**2 + ops.exp(log_var) - log_var - 1, axis=1)
        self.add_loss(ops.mean(kl))
        return mean


def networks():
    """Encoder (means, log variances, latents), decoder, and both as one to be fitted: squared error
    with gamma = 1/2.
    """
    x = keras.Input((D,))
    h = layers.BatchNormalization()(layers.Dense(16, "relu")(x))
    mean, log_var = layers.Dense(LATENTS)(h), layers.Dense(LATENTS)(h)
    encoder = keras.Model(x, [KLTerm()([mean, log_var]), log_var, Draw()([mean, log_var])])
    z = keras.Input((LATENTS,))
    h = layers.Dropout(0.1)(layers.Dense(16, "relu")(z))
    decoder = keras.Model(z, layers.Dense(D)(h))
    whole = keras.Model(x, decoder(encoder(x)[2]))
    whole.compile(keras.optimizers.Adam(1e-2), loss=lambda x, y: ops.sum((x - y) ** 2, axis=-1))
    return encoder, decoder, whole


def fitted(path=None):
    """The networks after some epochs, and who looked."""
    keras.utils.set_random_seed(0)
    encoder, decoder, whole = networks()
    look, callbacks = None, []
    if path is not None:

        def encode(x):
            mean, log_var, _ = encoder(x, training=False)
            return mean, 0.5 * log_var

        look = monitor.watch(X, encode, decoder, gamma=0.5, every=8, path=path)
        callbacks = [for_keras.callback(look)]
    whole.fit(X, X, batch_size=32, epochs=6, verbose=0, callbacks=callbacks)
    return encoder, decoder, whole, look


def test_training_is_the_same_to_the_bit(tmp_path):
    plain = fitted()[2]
    encoder, decoder, whole, look = fitted(tmp_path / "run.jsonl")
    assert len(plain.variables) == len(whole.variables) > len(whole.weights)
    for a, b in zip(plain.variables, whole.variables, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(a), keras.ops.convert_to_numpy(b))
    kept = monitor.load(tmp_path / "run.jsonl")
    assert kept.about["steps"] == 24
    assert [update.step for update in kept.updates] == [1, 8, 16, 24]
    assert all(update.loss > 0 for update in kept.updates)
    mean, log_var, _ = (ops.convert_to_numpy(a) for a in encoder(X))
    answers = ops.convert_to_numpy(decoder(mean))
    by_hand = diagnose.arrays(X, mean, 0.5 * log_var, answers, gamma=0.5)
    assert look.diagnosis.kl == pytest.approx(by_hand.kl, rel=1e-5)
    # Keras itself loads JAX, for a callback of its own, where orbax is installed.
