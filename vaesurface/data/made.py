"""Which data can be made to measure? Two points, a given spectrum, clusters.

>>> antipodal(d=3).tolist()
[[1.0, 1.0, 1.0], [-1.0, -1.0, -1.0]]
"""

import numpy as np
import numpy.typing as npt

from vaesurface.data.matrix import check, reals
from vaesurface.data.refusal import count
from vaesurface.refusal import complaint, number

__all__ = ["antipodal", "clusters", "gaussian"]


def antipodal(d: int = 2) -> np.ndarray:
    """Two data (2, d), all ones and all minus ones: the trap of the paper's Proposition 4.1."""
    count("d", d, least=1)
    return np.stack([np.ones(d), -np.ones(d)])


def gaussian(n: int, spectrum: npt.ArrayLike, *, seed: int) -> np.ndarray:
    """Data (n, d) of mean zero whose covariance has just the eigenvalues `spectrum` (d,).

    That is exact up to rounding, for the covariance normalized by 1/n; scores and principal
    directions are uniformly random, as in a normal sample. Raises ValueError where `spectrum` has a
    negative, no positive, or at least n nonzero eigenvalues.

    >>> X = gaussian(20, [4.0, 1.0, 0.0], seed=0)
    >>> np.abs(np.linalg.eigvalsh(X.T @ X / 20)).round(12)
    array([0., 1., 4.])
    """
    count("n", n, least=2)
    count("seed", seed, least=0)
    spectrum = reals(spectrum, "spectrum")
    valid = np.isfinite(spectrum) & (spectrum >= 0)
    if spectrum.ndim != 1 or not valid.all() or not spectrum.any():
        expected = "a spectrum (d,) of eigenvalues >= 0, one of them > 0"
        raise complaint(expected, f"{spectrum.tolist()}", "give a covariance's")
    variances = spectrum[spectrum > 0]
    rank = len(variances)
    if n <= rank:
        raise complaint(f"n > {rank}, the number of nonzero eigenvalues", f"n = {n}", "raise n")
    rng = np.random.default_rng(seed)
    scores = rng.standard_normal((n, rank))
    scores = np.linalg.qr(scores - scores.mean(axis=0)).Q
    directions, triangle = np.linalg.qr(rng.standard_normal((len(spectrum), rank)))
    # This makes them uniform: F. Mezzadri, Notices of the AMS 54 (2007).
    directions *= np.sign(np.diag(triangle))
    return check((scores * np.sqrt(n * variances)) @ directions.T)


def clusters(n: int, d: int, *, centers: int, noise: float, seed: int) -> np.ndarray:
    """Data (n, d) at `centers` standard normal points, plus isotropic noise.

    noise: its standard deviation. Row i belongs to center i mod `centers`. Raises ValueError unless
    1 <= centers <= n and 0 <= noise < inf, and where one center without noise leaves nothing that
    varies.
    """
    count("n", n, least=2)
    count("d", d, least=1)
    count("centers", centers, least=1)
    count("seed", seed, least=0)
    if centers > n:
        raise complaint(f"at most n = {n} centers", f"{centers}", "raise n or lower centers")
    number("noise", noise, least=0.0)
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((centers, d))
    return check(points[np.arange(n) % centers] + noise * rng.standard_normal((n, d)))
