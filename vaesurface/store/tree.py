"""How are several stores read as one, such as those of a sweep over sizes, or of a study?

>>> import tempfile
>>> import numpy as np
>>> from vaesurface.store.directory import create
>>> from vaesurface.store.names import canonical, columns
>>> with tempfile.TemporaryDirectory() as place:
...     for latent in (2, 10):
...         made = create(f"{place}/latent={latent}", latent=latent)
...         axes = canonical({"alpha": [0.0, 0.5]})
...         results = {"loss": np.ones(2)}
...         _ = made.recall(axes, columns(axes), results)
...         made.add(columns(axes), results)
...     list(open_tree(place).children)
['latent=2', 'latent=10']
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vaesurface.store import directory, record
from vaesurface.store.labels import open
from vaesurface.store.names import complaint

__all__ = ["open_tree"]


def open_tree(path: str | os.PathLike, result: type | None = None) -> Any:
    """All stores below a directory as one `xarray.DataTree`, by their places in it; what a store
    holds is read when it is used, as by `open`.

    Of a directory that is a store itself, the tree is that one. Stores without results are left
    out. result: as of `open`. Raises ValueError where there is no store with results, and for a
    damaged one.
    """
    import xarray as xr

    path = Path(path).expanduser()
    places = [place for place in _stores(path) if record.read(place)["axes"] is not None]
    if not places:
        remedy = "name the directory of a sweep, or of several"
        raise complaint("stores with results", f"{path} without", remedy)
    parts = {place.relative_to(path).as_posix(): place for place in sorted(places, key=_by_numbers)}
    return xr.DataTree.from_dict(
        {"/" if name == "." else name: open(place, result) for name, place in parts.items()}
    )


def _stores(path: Path) -> Iterator[Path]:
    """The stores below a directory, which may be one itself; none is looked into."""
    for place, folders, _ in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if directory.is_store(Path(place)):
            folders.clear()
            yield Path(place)


def _by_numbers(path: Path) -> list[tuple[bool, float, str]]:
    """latent=10 after latent=2."""
    parts = re.split(r"(\d+)", str(path))
    return [(p.isdecimal(), float(p) if p.isdecimal() else 0.0, p) for p in parts]
