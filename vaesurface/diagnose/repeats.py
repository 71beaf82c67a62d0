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
from sklearn.neighbors import NearestNeighbors

__all__ = ["groups"]

# Rows with no more than so many copies are looked for, and among no more than so many rows: all
# pairs of these take seconds, and of more even a repeated half shows what lasts.
COPIES = 15
ROWS = 8192
# Copies are so much nearer than the next row: of independent rows on an m-dimensional surface the
# nearest is that with probability GAP^-m, and links a pair at most.
GAP = 10.0
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
    near = NearestNeighbors(n_neighbors=min(COPIES + 1, n - 1)).fit(x)
    distances, neighbors = near.kneighbors()
    rounding = ROUNDING * np.abs(x).max() * np.sqrt(d)
    distances = np.maximum(distances, rounding)
    gaps = distances[:, 1:] / distances[:, :-1]
    last = np.where(gaps.max(axis=1) >= GAP, gaps.argmax(axis=1), -1)
    rows, places = np.nonzero(np.arange(neighbors.shape[1])[None] <= last[:, None])
    entries = np.ones(len(rows), bool)
    return coo_array((entries, (rows, neighbors[rows, places])), shape=(n, n))
