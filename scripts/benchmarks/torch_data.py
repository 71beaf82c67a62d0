"""What do the forty runs of `torch_forty` train on? Small data that tell what they need: digits,
Gaussian data of low rank, clusters, moons, walks.
"""

import numpy as np
from sklearn.datasets import load_digits, make_moons

__all__ = [
    "binary",
    "blanks",
    "blocks",
    "digits",
    "enlarged",
    "gaussian",
    "mixture",
    "moons",
    "standardized",
    "switching",
    "walk",
]

ROWS = 2000  # of data that are made
SEED = 11  # of data; runs have their own


def shuffled(x: np.ndarray) -> np.ndarray:
    """Rows in another order, so that the first ones stand for all."""
    return np.random.default_rng(SEED).permutation(x)


def digits() -> np.ndarray:
    """Scans of digits, 8 x 8, in [0, 1]: (1797, 64)."""
    return shuffled(load_digits().data / 16.0)


def standardized() -> np.ndarray:
    """The same with a mean of 0, and 1 as the mean of the variances."""
    x = digits() - digits().mean(0)
    return x / np.sqrt(x.var(0).mean())


def binary() -> np.ndarray:
    """The same in black and white."""
    return (digits() > 0.5).astype(float)


def enlarged() -> np.ndarray:
    """The same, 28 x 28: (1797, 784)."""
    large = np.kron(digits().reshape(-1, 8, 8), np.ones((1, 4, 4)))
    return large[:, 2:30, 2:30].reshape(-1, 784)


def blanks() -> np.ndarray:
    """`standardized`, three rows in ten being one and the same."""
    x = standardized()
    x[np.random.default_rng(SEED).random(len(x)) < 0.3] = 0.0
    return x


def embedded(z: np.ndarray, d: int, noise: float) -> np.ndarray:
    """Points (n, r) in d dimensions, along orthonormal directions, with white noise."""
    rng = np.random.default_rng(SEED)
    directions = np.linalg.qr(rng.normal(size=(d, z.shape[1])))[0]
    return z @ directions.T + np.sqrt(noise) * rng.normal(size=(len(z), d))


def gaussian(d: int, variances: tuple[float, ...], noise: float = 0.05) -> np.ndarray:
    """Gaussian data with these variances along some directions."""
    z = np.random.default_rng(SEED + 1).normal(size=(ROWS, len(variances)))
    return embedded(z * np.sqrt(variances), d, noise)


def mixture(d: int, clusters: int, noise: float, rows: int = ROWS) -> np.ndarray:
    """Clusters around corners of a simplex."""
    which = np.random.default_rng(SEED + 1).integers(clusters, size=rows)
    return embedded(3.0 * (np.eye(clusters)[which] - 1.0 / clusters), d, noise)


def moons(d: int, noise: float = 0.02) -> np.ndarray:
    """Two moons in d dimensions."""
    z = make_moons(ROWS, noise=0.05, random_state=SEED)[0]
    return embedded(2.0 * (z - z.mean(0)), d, noise)


def walk(d: int, rows: int) -> np.ndarray:
    """Random walks: what came before says all that there is to say."""
    return 0.5 * np.random.default_rng(SEED).normal(size=(rows, d)).cumsum(1)


def switching(d: int, rows: int, flips: float) -> np.ndarray:
    """Zeros and ones that change from one coordinate to the next with this probability."""
    rng = np.random.default_rng(SEED)
    changes = rng.random((rows, d)) < flips
    changes[:, 0] = rng.random(rows) < 0.5
    return changes.cumsum(1) % 2.0


def blocks(latent: int, size: int, alpha: float) -> np.ndarray:
    """What the paper's decoder makes of latents each of which has coordinates of its own."""
    rng = np.random.default_rng(SEED)
    z = np.repeat(2.0 * rng.normal(size=(ROWS, latent)), size, 1)
    clean = np.sign(z) * np.maximum(np.abs(z) - alpha, 0.0)
    return clean + 0.2 * rng.normal(size=clean.shape)
