"""How do the results of a sweep outlive their process, and get names that other tools understand?

`names`: what cells and results are called. `directory`: a `Store`, which `create` makes, `sweep`
fills and any number of processes share. `labels`: the same results as an `xarray.Dataset`, from a
store (`open`) or from memory (`dataset`), and into a file (`save`), with what `meaning` knows of
each variable. `tree`: several stores as one `xarray.DataTree` (`open_tree`). `flat`: a row for each
cell (`table`).

>>> import numpy as np
>>> found = dataset({"energy": np.array([[3.0, 4.0], [1.0, 2.0]])}, alpha=[0.5, 0.1], seed=[1, 2])
>>> found.energy.sel(alpha=0.1).values, found.energy.dims
(array([1., 2.]), ('alpha', 'seed'))
"""

from vaesurface.store.chunks import Contents
from vaesurface.store.directory import Store, create, is_store, kept, words
from vaesurface.store.driver import Driver
from vaesurface.store.flat import table
from vaesurface.store.labels import dataset, open, save
from vaesurface.store.names import (
    Axis,
    Columns,
    at,
    canonical,
    columns,
    complaint,
    identities,
    named,
    places,
)
from vaesurface.store.plans import Plan
from vaesurface.store.tree import open_tree

__all__ = [
    "Axis",
    "Columns",
    "Contents",
    "Driver",
    "Plan",
    "Store",
    "at",
    "canonical",
    "columns",
    "complaint",
    "create",
    "dataset",
    "identities",
    "is_store",
    "kept",
    "named",
    "open",
    "open_tree",
    "places",
    "save",
    "table",
    "words",
]
