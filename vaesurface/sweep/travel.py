"""How does a function with its data come to a worker?

Once: every array of more than `SMALL` bytes, wherever it is in the function, leaves the pickle and
is known by its digest; what is left is known by its digest too. They lie in a folder that both
sides see, or travel in a way that the executor has. What goes with each block of cells is a digest
and a place.

>>> import tempfile
>>> from functools import partial
>>> parcel = pack(partial(np.dot, np.ones(10_000)))
>>> len(parcel.contents[parcel.digest]) < 1000, len(parcel.contents)
(True, 2)
>>> with tempfile.TemporaryDirectory() as place:
...     leave(parcel, Path(place))
...     float(unpack(parcel.digest, Path(place))(np.ones(10_000)))
10000.0
"""

import hashlib
import io
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import files
from vaesurface.store.names import complaint

__all__ = ["SMALL", "Parcel", "leave", "pack", "unpack"]

SMALL = 2**16  # bytes of an array up to which it stays in the pickle


class Parcel(NamedTuple):
    """What a worker needs.

    digest: of the pickle. contents: pickle and arrays, each by its digest.
    """

    digest: str
    contents: dict[str, bytes | np.ndarray]


def pack(value: Any) -> Parcel:
    """Raises ValueError for what other processes could not use."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer)
    try:
        pickler.dump(value)
    except Exception as error:  # whatever the pickling of somebody's objects raises
        expected = "a function that other processes can unpickle"
        remedy = "define it at the top of a module, without open files, locks and the like"
        raise complaint(expected, f"{error}", remedy) from error
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:32]
    return Parcel(digest=digest, contents={**pickler.arrays, digest: content})


def unpack(digest: str, place: Path | Mapping[str, Any]) -> Any:
    """The value of a parcel whose contents are at a place. Raises ValueError where this process
    cannot import what is needed.
    """
    try:
        return _Unpickler(io.BytesIO(_content(digest, place)), place).load()
    except (AttributeError, ImportError) as error:
        got = f"one they cannot ({error})"
        remedy = "define it at the top of a module that they find"
        raise complaint("a function that workers can import", got, remedy) from error


def leave(parcel: Parcel, folder: Path) -> None:
    """Put the contents where workers find them; what is there already is the same."""
    folder.mkdir(parents=True, exist_ok=True)
    for digest, content in parcel.contents.items():
        file = folder / _name(digest, content)
        if file.exists():
            continue
        with files.replacing(file) as new:
            if isinstance(content, bytes):
                new.write_bytes(content)
            else:
                with new.open("xb") as raw:
                    np.save(raw, content, allow_pickle=False)


def _name(digest: str, content: Any) -> str:
    return f"{digest}.{'pickle' if isinstance(content, bytes) else 'npy'}"


def _content(digest: str, place: Path | Mapping[str, Any]) -> Any:
    if isinstance(place, Mapping):
        return place[digest]
    file = place / f"{digest}.pickle"
    return file.read_bytes() if file.exists() else np.load(place / f"{digest}.npy")


class _Pickler(cloudpickle.Pickler):
    """Keeps arrays apart."""

    def __init__(self, buffer: Any) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self.arrays: dict[str, bytes | np.ndarray] = {}

    def persistent_id(self, value: Any) -> Any:
        """Of an array of numbers, its kind and digest; None leaves a value to pickle, as all that
        is more than its numbers: masked arrays and matrices, arrays of JAX's of a weak type.
        """
        if type(value) not in (np.ndarray, np.memmap) and not isinstance(value, jax.Array):
            return None
        if isinstance(value, jax.core.Tracer) or getattr(value, "weak_type", False):
            return None
        if getattr(value.dtype, "kind", "key") not in "biufc" or value.nbytes <= SMALL:
            return None
        array = np.ascontiguousarray(value)
        content = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
        content.update(array.data)
        digest = content.hexdigest()[:32]
        self.arrays[digest] = array
        return isinstance(value, jax.Array), digest


class _Unpickler(pickle.Unpickler):
    """Finds them again."""

    def __init__(self, buffer: Any, place: Path | Mapping[str, Any]) -> None:
        super().__init__(buffer)
        self._place = place

    def persistent_load(self, identity: Any) -> Any:
        """An array by its kind and digest."""
        of_jax, digest = identity
        array = _content(digest, self._place)
        return jnp.asarray(array) if of_jax else array
