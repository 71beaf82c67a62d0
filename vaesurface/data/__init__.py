"""Which data shape the surface?

Real images that ship or can be fetched, files you have, and families made to measure. Every data
matrix is a float64 array (n, d): rows are data, columns features. Pixels are scaled to [0, 1];
color images are flattened channel by channel (red, green, blue, each row by row), as CIFAR's files
are.

`source`: a name or a path in, a matrix out. `known`: data sets that ship or are fetched. `arrays`:
files of arrays with names, with `matlab`. `text`: csv and its kin. `tables`: Arrow, parquet.
`images`: IDX, CIFAR, SVHN, folders. `made`: families made to measure. `matrix`: what a data matrix
is. `refusal`: what readers share.

    >>> from vaesurface import data
    >>> data.load("digits").shape
    (1797, 64)
    >>> data.antipodal(d=2)
    array([[ 1.,  1.],
           [-1., -1.]])
"""

from vaesurface.data.arrays import named
from vaesurface.data.made import antipodal, clusters, gaussian
from vaesurface.data.matrix import check, digest, plain, reals, shape
from vaesurface.data.source import load, names, within

__all__ = [
    "antipodal",
    "check",
    "clusters",
    "digest",
    "gaussian",
    "load",
    "named",
    "names",
    "plain",
    "reals",
    "shape",
    "within",
]
