"""Which share of a sum of exponentials does each term have?

>>> terms = np.log(np.array([[1.0, 3.0], [2.0, 2.0]]))
>>> into_shares(terms).round(6)  # log 4, twice
array([1.386294, 1.386294])
>>> terms.round(6)
array([[0.25, 0.75],
       [0.5 , 0.5 ]])
"""

import numpy as np

__all__ = ["into_shares"]


def into_shares(terms: np.ndarray) -> np.ndarray:
    """log sum_j exp(t_ij), (n,), of terms t (n, m), which become exp(t_ij) over that sum: nothing
    of their size is made beside them.
    """
    highest = terms.max(axis=1)
    terms -= highest[:, None]
    np.exp(terms, out=terms)
    total = terms.sum(axis=1)
    terms *= (1.0 / total)[:, None]
    return highest + np.log(total)
