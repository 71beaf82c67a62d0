"""What are the cells of a sweep called, and what the results?

A cell is known by the values of its axes, a result by its place in what the function returned.

>>> import numpy as np
>>> axes = canonical({"alpha": [0.0, 0.5], "seed": range(2)})
>>> {name: axis.kind for name, axis in axes.items()}
{'alpha': 'float64', 'seed': 'int64'}
>>> columns(axes)["alpha"]
array([0. , 0. , 0.5, 0.5])
>>> list(named({"params": {"weight": np.ones(2)}, "loss": np.ones(2)}, axes))
['loss', 'params_weight']
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface.refusal import complaint

__all__ = [
    "Axis",
    "Columns",
    "at",
    "canonical",
    "columns",
    "complaint",
    "differences",
    "identities",
    "named",
    "places",
    "plain",
]

Columns = dict[str, np.ndarray]  # one array per name, leading axis: cells
# Names that `open` and `dataset` give themselves: which cells are there, and verdicts in words.
RESERVED = ("computed", "label")


class Axis(NamedTuple):
    """The values of one axis.

    values: (m,) in float64 or int64; of PRNG keys their data, (m, words).
    impl: the keys' implementation; None for numbers.
    """

    values: np.ndarray
    impl: str | None = None

    @property
    def kind(self) -> str:
        """What two axes have in common whose values can be compared."""
        return f"keys of {self.impl}" if self.impl else str(self.values.dtype)


def canonical(axes: Mapping[str, Any]) -> dict[str, Axis]:
    """Axes in one dtype per kind.

    Raises ValueError unless each is 1-D, of distinct numbers or typed keys.
    """
    if not axes:
        raise complaint("at least one axis", "none", "name one, like alpha=[0.0, 0.1]")
    return {name: _axis(name, values) for name, values in axes.items()}


def columns(axes: Mapping[str, Axis]) -> Columns:
    """The cells of a grid, the last axis fastest: for each axis its values, once per cell."""
    places = np.indices([len(axis.values) for axis in axes.values()])
    return {
        name: axis.values[place.ravel()]
        for (name, axis), place in zip(axes.items(), places, strict=True)
    }


def at(axes: Mapping[str, Axis], rows: np.ndarray) -> Columns:
    """Some cells of a grid, by their places in it."""
    places = np.unravel_index(rows, [len(axis.values) for axis in axes.values()])
    return {
        name: axis.values[place] for (name, axis), place in zip(axes.items(), places, strict=True)
    }


def places(axes: Mapping[str, Axis], cells: Columns) -> np.ndarray:
    """Where in a grid cells of the same axes are (cells,): as `columns` counts, -1 outside."""
    place = np.zeros(len(next(iter(cells.values()))), np.int64)
    inside = np.ones(len(place), bool)
    for name, axis in axes.items():
        values, column = plain(axis.values), plain(cells[name])
        order = np.argsort(values)
        nearest = np.searchsorted(values, column, sorter=order).clip(max=len(values) - 1)
        inside &= values[order[nearest]] == column
        place = place * len(values) + order[nearest]
    return np.where(inside, place, -1)


def identities(cells: Columns) -> list[bytes]:
    """What each cell is known by among cells of the same axes: its values' bytes, axes by name."""
    parts = [[value.tobytes() for value in cells[name]] for name in sorted(cells)]
    return [b"".join(cell) for cell in zip(*parts, strict=True)]


def plain(column: np.ndarray) -> np.ndarray:
    """Values that can be sorted and compared (m,), in the order of their words: keys as bytes."""
    if column.ndim == 1:
        return column
    words = np.ascontiguousarray(column).astype(column.dtype.newbyteorder(">"))
    # Trailing zero bytes count for nothing in comparisons, which is no harm at one length.
    return words.view(f"S{words.itemsize * words.shape[1]}").reshape(-1)


def named(results: Any, axes: Iterable[str]) -> dict[str, Any]:
    """Leaves by name: their path, joined with underscores; "value" where there is one array only.

    Raises ValueError where two of them, or one and an axis, have the same name.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(results)
    names = [
        jax.tree_util.keystr(path, simple=True, separator="_") or "value" for path, _ in leaves
    ]
    taken = [*names, *axes, *RESERVED]
    if twice := [name for name in taken if taken.count(name) > 1]:
        remedy = "rename that axis or field"
        raise complaint("axes and results with distinct names", f"{twice[0]} twice", remedy)
    return dict(zip(names, (leaf for _, leaf in leaves), strict=True))


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """In which of the entries of `here` two records differ, in words; "" where in none."""
    old, new = (_entries(one, here) for one in (there, here))
    return ", ".join(
        f"{name} {old.get(name, 'absent')} there and {new.get(name, 'absent')} here"
        for name in sorted(old.keys() | new.keys())
        if (name in old, old.get(name)) != (name in new, new.get(name))
    )


def _axis(name: str, values: Any) -> Axis:
    if isinstance(values, jax.Array) and jnp.issubdtype(values.dtype, jax.dtypes.prng_key):
        impl, shape = str(jax.random.key_impl(values)), values.shape
        array = np.asarray(jax.random.key_data(values))
    else:
        impl, array = None, _numbers(name, values)
        shape = array.shape
    if len(shape) != 1:
        remedy = "put a single value in a list; keys come from jax.random.key"
        raise complaint(f"a 1-D axis {name}", f"shape {shape}", remedy)
    if not len(array):
        remedy = "give some, or leave the axis out"
        raise complaint(f"at least one value along {name}", "none", remedy)
    if len(np.unique(array, axis=0)) < len(array):
        remedy = "leave duplicates out"
        raise complaint(f"distinct values along {name}", "the same one twice", remedy)
    return Axis(values=array, impl=impl)


def _numbers(name: str, values: Any) -> np.ndarray:
    """Numbers of any shape in float64 or int64, each of them unchanged."""
    try:
        original = np.asarray(values)
    except (TypeError, ValueError) as error:
        got = f"an irregular {type(values).__name__}"
        remedy = "give a list of numbers, or one array of typed JAX keys"
        raise complaint(f"numbers along {name}", got, remedy) from error
    if original.dtype.kind not in "iuf":
        remedy = "give numbers or typed JAX keys"
        raise complaint(f"numbers along {name}", f"dtype {original.dtype}", remedy)
    # Plus 0, which makes 0.0 of -0.0.
    array = original.astype(np.float64 if original.dtype.kind == "f" else np.int64) + 0
    if (array != original).any():
        remedy = "leave it out"
        raise complaint(f"int64 or float64 along {name}", "NaN or too large a number", remedy)
    return array


def _entries(record: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Some of a record's entries, those of a dict one by one: {"config latent": 2, ...}."""
    entries: dict[str, Any] = {}
    for key in keys:
        value = record.get(key)
        if isinstance(value, dict):
            entries |= {f"{key} {name}": item for name, item in value.items()}
        else:
            entries[key] = value
    return entries
