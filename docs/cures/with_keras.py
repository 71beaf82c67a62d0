"""A VAE in Keras 3 that collapses, and the same with the lines that `vaesurface cure` told:

    python docs/cures/with_keras.py before.npz
    vaesurface cure before.npz --framework keras
    python docs/cures/with_keras.py after.npz --cured

It collapses by its depth: ten narrow layers either way, without normalization. Needs torch, keras
and scikit-learn.
"""

import os
import sys

os.environ["KERAS_BACKEND"] = "torch"
import keras
import numpy as np
import torch
from keras import layers, ops
from sklearn.datasets import load_digits

LATENTS, WIDTH, DEPTH, BATCH, EPOCHS = 8, 16, 10, 64, 36


def dense(units: int, activation: str | None = None) -> layers.Dense:
    """A layer that starts at He's scale."""
    return layers.Dense(units, activation, kernel_initializer="he_normal")


class VAE(keras.Model):
    """Deep, with gamma learned."""

    def __init__(self, d: int, variance: float, steps: int) -> None:
        super().__init__()
        self.hidden = keras.Sequential([dense(WIDTH, "relu") for _ in range(DEPTH)])
        self.mean, self.log_std = dense(LATENTS), dense(LATENTS)
        self.decode = keras.Sequential([*(dense(WIDTH, "relu") for _ in range(DEPTH)), dense(d)])
        self.log_gamma = self.add_weight(shape=(), name="log_gamma")
        self.log_gamma.assign(np.log(variance))
        self.noise = keras.random.SeedGenerator(0)
        self.steps, self.cured = steps, False

    def call(self, x):
        """Means and log deviations of posteriors, and what is decoded at draws from them."""
        h = self.hidden(x)
        mean, log_std = self.mean(h), self.log_std(h)
        z = mean + ops.exp(log_std) * keras.random.normal(ops.shape(mean), seed=self.noise)
        return mean, log_std, self.decode(z)

    def train_step(self, x):
        """Of Keras' loop, with torch underneath."""
        hidden, encoder_mean, encoder_log_std = self.hidden, self.mean, self.log_std
        decoder, step, steps = self.decode, int(self.optimizer.iterations), self.steps
        # before the forward pass: gamma at the error, posteriors narrow
        if self.cured and step == steps // 2:
            codes = encoder_mean(hidden(x))
            error = ops.maximum(ops.mean((x - decoder(codes)) ** 2), 0.000733)
            self.log_gamma.assign(ops.log(error))
            encoder_log_std.kernel.assign(ops.zeros_like(encoder_log_std.kernel))
            encoder_log_std.bias.assign(ops.log(ops.clip(0.1 * ops.std(codes, axis=0), 1e-3, 1.0)))
        mean, log_std, y = self(x)
        squared_error = (x - y) ** 2
        kl = 0.5 * (mean**2 + ops.exp(2 * log_std) - 1 - 2 * log_std)
        reconstruction = ops.mean(ops.sum(squared_error, axis=1)) / (2 * ops.exp(self.log_gamma))
        reconstruction = reconstruction + x.shape[1] / 2 * self.log_gamma
        loss = reconstruction + ops.mean(ops.sum(kl, axis=1))
        if self.cured and step < steps // 2:  # in place of the loss: no noise, no KL
            loss = ops.mean(ops.sum((x - decoder(encoder_mean(hidden(x)))) ** 2, axis=1))
        self.zero_grad()
        loss.backward()
        with torch.no_grad():
            weights = self.trainable_weights
            self.optimizer.apply([weight.value.grad for weight in weights], weights)
        return {"loss": loss}


def main(path: str, cured: bool) -> None:
    """Train, and export to path."""
    torch.set_num_threads(1)
    keras.utils.set_random_seed(0)
    x = (load_digits().data / 16).astype("float32")
    model = VAE(x.shape[1], x.var(axis=0).mean(), steps=EPOCHS * -(-len(x) // BATCH))
    model.cured = cured
    model.compile(optimizer=keras.optimizers.Adam(1e-3))
    model.fit(x, batch_size=BATCH, epochs=EPOCHS, verbose=0)
    with torch.no_grad():
        mean, log_std, _ = model(x)
        arrays = {"mean": mean, "log_std": log_std, "reconstruction": model.decode(mean)}
        gamma = ops.convert_to_numpy(ops.exp(model.log_gamma))
    arrays = {name: ops.convert_to_numpy(array) for name, array in arrays.items()}
    np.savez(path, x=x, **arrays, gamma=gamma, learned_gamma=True)


if __name__ == "__main__":
    main(sys.argv[1], "--cured" in sys.argv)
