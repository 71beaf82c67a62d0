"""Which data are one and the same, and only seem to be many?

Rows that were repeated (the same data several times over, copies that augmentation moved a little)
would stand in both halves of the data, and noise would last from one to the other.

>>> import numpy as np
>>> np.bincount(groups(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])))
array([2, 1])
"""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["groups"]

# Rows with no more than so many copies are looked for, and among no more than so many rows: all
# pairs of these take seconds, and of more even a repeated half shows what lasts.
COPIES = 15
ROWS = 8192
# Copies are so much nearer than the next row: of independent rows on an m-dimensional surface the
# nearest is that with probability GAP^-m, and links a pair at most.
GAP = 10.0
ROWS_AT_A_TIME = 128  # whose distances to all others are held
ROUNDING = 1e-6  # of the largest number: rows no further apart per coordinate are one in float32


def groups(x: np.ndarray) -> np.ndarray:
    """Number (n,) of the datum that each row of x (n, d) is, from 0 on: rows that are equal, or
    far nearer to each other than to any other row.

    Flipped or shifted images are not found.
    """
    distinct, inverse = np.unique(x, axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    if not 2 < len(distinct) <= ROWS:
        return inverse
    count, labels = connected_components(_copies(distinct), directed=False)
    return labels[inverse] if count > 1 else inverse


def _copies(x: np.ndarray) -> coo_array:
    """Which of the rows x (n, d) are copies, (n, n): those before a gap in the distances to the
    nearest.
    """
    n, d = x.shape
    distances, neighbors = _nearest(x, min(COPIES + 1, n - 1))
    rounding = ROUNDING * np.abs(x).max() * np.sqrt(d)
    distances = np.maximum(distances, rounding)
    gaps = distances[:, 1:] / distances[:, :-1]
    last = np.where(gaps.max(axis=1) >= GAP, gaps.argmax(axis=1), -1)
    rows, places = np.nonzero(np.arange(neighbors.shape[1])[None] <= last[:, None])
    entries = np.ones(len(rows), bool)
    return coo_array((entries, (rows, neighbors[rows, places])), shape=(n, n))


def _nearest(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Distances (n, count) from each row of x (n, d) to the nearest others, ascending, and the
    numbers of these.

    Which ones are nearest is told by products, to a part in 10^8 of the rows' length.
    """
    n = len(x)
    x = x.astype(float)  # of pixels that are on or off, too
    Z = x - x.mean(axis=0)
    squares = np.sum(Z**2, axis=1)
    distances, neighbors = np.empty((n, count)), np.empty((n, count), int)
    for first in range(0, n, ROWS_AT_A_TIME):
        part = np.arange(first, min(first + ROWS_AT_A_TIME, n))
        apart = Z[part] @ (-2.0 * Z.T)
        apart += squares
        apart[np.arange(len(part)), part] = np.inf
        near = np.argpartition(apart, count - 1, axis=1)[:, :count]
        exact = np.sqrt(np.sum((x[part, None] - x[near]) ** 2, axis=2))
        order = np.argsort(exact, axis=1)
        distances[part] = np.take_along_axis(exact, order, axis=1)
        neighbors[part] = np.take_along_axis(near, order, axis=1)
    return distances, neighbors
