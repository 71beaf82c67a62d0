"""Which structure of rows, seen in one half of them, is there in the other half too?

Structure lasts, sampling noise does not. Rows (n, d) are float64 NumPy; they are split at random,
the same way every time, and used both ways round. Rows of one group (`repeats.groups`) stay
together.

>>> import numpy as np
>>> held_out(np.array([[1.0, 1.0], [-1.0, -1.0]]), count=1)  # one row each
array([2.])
"""

import warnings

import numpy as np
from scipy import linalg
from scipy.cluster.vq import kmeans2, vq

__all__ = ["codes", "gram", "held_out"]

CODE_SIZES = (2, 4, 8, 16)  # words in a code
CODE_DIRECTIONS = 5  # leading principal directions along which words are looked for
LLOYD_STEPS = 20  # that look for them
SEED_OF_SPLIT = 191210702  # a diagnosis is the same twice, and no one else splits the same way

Halves = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def held_out(rows: np.ndarray, count: int, groups: np.ndarray | None = None) -> np.ndarray:
    """Variance (count,) of one half of the rows (n, d) along the leading principal directions of
    the other, averaged both ways; groups (n,): numbers of what is not to be split.

    Of white rows the first is their variance, where the covariance's largest eigenvalue is (1 +
    sqrt(d / n))^2 times that.
    """
    variances = np.zeros((2, count))
    for along, (first, second) in zip(variances, _halves(rows, groups), strict=True):
        directions = _leading(first, count)
        along[: directions.shape[1]] = np.mean((second @ directions) ** 2, axis=0)
    return variances.mean(axis=0)


def codes(rows: np.ndarray, groups: np.ndarray | None = None) -> np.ndarray:
    """What codes of CODE_SIZES words take off the rows' mean squared length, and their entropies in
    nats: (sizes, 2).

    The words are Lloyd's, of one half of the rows along its leading directions, and used on the
    other half, both ways round. Where they save more, over 2 beta gamma, than the entropy, the
    mixture with one component a word is more likely than one component: there are clusters, and no
    affine addition finds them. Whether Gaussian posteriors can tell them apart is another question,
    so it is a reason for doubt alone. Of white normal rows no code is worth its entropy.
    """
    values = np.zeros((2, len(CODE_SIZES), 2))
    for of_half, (first, second) in zip(values, _halves(rows, groups), strict=True):
        plane = _leading(first, CODE_DIRECTIONS)
        Z, Y = first @ plane, second @ plane
        words = _far_apart(Z, CODE_SIZES[-1])
        for value, size in zip(of_half, CODE_SIZES, strict=True):
            value[:] = _worth(Y, _lloyd(Z, words[:size]))
    return values.mean(axis=0)


def _halves(rows: np.ndarray, groups: np.ndarray | None) -> Halves:
    """Centered rows in two halves at random, both ways round; every group in one of them."""
    Z = rows - rows.mean(axis=0)
    of_row = np.arange(len(Z)) if groups is None else groups
    order = np.random.default_rng(SEED_OF_SPLIT).permutation(of_row.max() + 1)
    chosen = np.isin(of_row, order[::2])
    first, second = Z[chosen], Z[~chosen]
    return (first, second), (second, first)


def _leading(Z: np.ndarray, count: int) -> np.ndarray:
    """Leading principal directions (d, min(count, n, d)) of centered rows Z (n, d), zero beyond
    their rank.

    Of the smaller of Z'Z and ZZ': an eigenvector v of the latter gives the direction Z'v over the
    square root of its eigenvalue.
    """
    n, d = Z.shape
    products = gram(Z)
    ends = (max(0, len(products) - count), len(products) - 1)
    values, vectors = linalg.eigh(products, subset_by_index=ends)
    values, vectors = values[::-1], vectors[:, ::-1]
    if n > d:
        return vectors
    present = values > n * np.finfo(float).eps * values[0]
    scales = np.where(present, 1.0 / np.sqrt(np.where(present, values, 1.0)), 0.0)
    return Z.T @ (vectors * scales[None])


def gram(Z: np.ndarray) -> np.ndarray:
    """Z'Z or ZZ', the smaller: they share their eigenvalues but for zeros."""
    return Z.T @ Z if len(Z) > Z.shape[1] else Z @ Z.T


def _far_apart(Z: np.ndarray, count: int) -> np.ndarray:
    """The longest row of Z (n, m) and others, count in all if there are so many, each as far from
    those before as there is.
    """
    words = Z[np.argmax(np.sum(Z**2, axis=1))][None]
    while len(words) < min(count, len(Z)):
        distances = np.min(np.sum((Z[:, None] - words[None]) ** 2, axis=2), axis=1)
        words = np.append(words, Z[np.argmax(distances)][None], axis=0)
    return words


def _lloyd(Z: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Words after LLOYD_STEPS steps of Lloyd's algorithm on rows Z; one that no row is next to
    stays where it is.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One of the clusters is empty", UserWarning)
        return kmeans2(Z, words, iter=LLOYD_STEPS, minit="matrix")[0]


def _worth(Y: np.ndarray, words: np.ndarray) -> tuple[float, float]:
    """What the words take off the mean squared length of rows Y, and the entropy of their use."""
    nearest, _ = vq(Y, words)
    saved = np.sum(Y**2, axis=1) - np.sum((Y - words[nearest]) ** 2, axis=1)
    share = np.bincount(nearest) / len(Y)
    entropy = -np.sum(share * np.log(np.where(share > 0, share, 1.0)))
    return float(saved.mean()), float(entropy)
