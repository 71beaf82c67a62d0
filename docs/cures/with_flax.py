"""A VAE in flax that collapses, and the same with the lines that `vaesurface cure` told:

    python docs/cures/with_flax.py before.npz
    vaesurface cure before.npz --framework jax
    python docs/cures/with_flax.py after.npz --cured

It collapses by its beta: gamma is learned, but beta gamma stays above every eigenvalue of the data.
Needs flax, optax and scikit-learn.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from sklearn.datasets import load_digits

LATENTS, WIDTH, BATCH, STEPS, BETA = 8, 128, 128, 2000, 12.0


class VAE(nnx.Module):
    """A hidden layer either way; gamma is learned."""

    def __init__(self, d: int, rngs: nnx.Rngs) -> None:
        self.hidden = nnx.Linear(d, WIDTH, rngs=rngs)
        self.mean = nnx.Linear(WIDTH, LATENTS, rngs=rngs)
        self.log_std = nnx.Linear(WIDTH, LATENTS, rngs=rngs)
        self.told = nnx.Linear(LATENTS, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, d, rngs=rngs)
        self.log_gamma = nnx.Param(jnp.zeros(()))

    def encode(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Means and log deviations."""
        h = nnx.relu(self.hidden(x))
        return self.mean(h), self.log_std(h)

    def decode(self, z: jax.Array) -> jax.Array:
        """Means."""
        return self.out(nnx.relu(self.told(z)))


def energy(model: VAE, x: jax.Array, key: jax.Array, cured: bool) -> jax.Array:
    """The negative ELBO of rows x (n, d) per row, up to a constant; with a weight on its KL."""
    mean, log_std = model.encode(x)
    y = model.decode(mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape))
    kl = 0.5 * (mean**2 + jnp.exp(2 * log_std) - 1 - 2 * log_std)
    log_gamma = model.log_gamma[...]
    reconstruction = ((x - y) ** 2).sum(axis=1).mean() / (2 * jnp.exp(log_gamma))
    reconstruction = reconstruction + x.shape[1] / 2 * log_gamma
    if cured:
        beta = 1.0  # not 12: a latent pays below 9.5
        loss = reconstruction + beta * kl.sum(axis=1).mean()
    else:
        loss = reconstruction + BETA * kl.sum(axis=1).mean()
    return loss


@nnx.jit(static_argnames="cured")
def update(model: VAE, optimizer: nnx.Optimizer, x: jax.Array, key: jax.Array, cured: bool) -> None:
    """A step on a batch."""
    rows, noise = jax.random.split(key)
    batch = x[jax.random.randint(rows, (BATCH,), 0, len(x))]
    optimizer.update(model, nnx.grad(energy)(model, batch, noise, cured))


def main(path: str, cured: bool) -> None:
    """Train, and export to path."""
    x = jnp.asarray(load_digits().data / 16, jnp.float32)
    model = VAE(x.shape[1], nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(3e-3), wrt=nnx.Param)
    for key in jax.random.split(jax.random.key(0), STEPS):
        update(model, optimizer, x, key, cured)
    mean, log_std = model.encode(x)
    arrays = {"x": x, "mean": mean, "log_std": log_std, "reconstruction": model.decode(mean)}
    gamma, beta = jnp.exp(model.log_gamma[...]), 1.0 if cured else BETA
    np.savez(path, **arrays, gamma=gamma, beta=beta, learned_gamma=True)


if __name__ == "__main__":
    main(sys.argv[1], "--cured" in sys.argv)
