"""Which arrays are in a file of MATLAB's?

SciPy reads them, in C that trusts what a file says of itself: a type that there is not, or a part
that is missing, ends the process. So variables are looked through before it is given any, and those
that are no arrays are kept from it. The form is that of MathWorks' "MAT-File Format", level 5.
"""

import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from vaesurface import files
from vaesurface.data.refusal import opened
from vaesurface.refusal import complaint, reading

__all__ = ["arrays"]

FORM = "MATLAB's arrays, whole"
HEADER = 128  # bytes of a file before its variables
FLAGS = 16  # bytes of a variable before its dimensions
HEAD = 2**16  # bytes that hold the names and types of a variable with one array
COMPRESSED = 15  # type of an element
NUMBERS = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13)  # types of elements that hold numbers
COMPLEX = 0x800  # flag of a variable
# Elements with numbers or text by a variable's class: sparse has rows, columns and values.
PARTS = {4: 1, 5: 3, **dict.fromkeys(range(6, 16), 1)}
ORDER = {b"IM": "<", b"MI": ">"}
CLASSES = {
    *("double", "single", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"),
    *("uint64", "logical", "char", "sparse"),
}
PIECE = 2**20  # bytes that are unpacked at once
TEXT = 4  # the class whose elements have other types, which SciPy checks


def arrays(path: Path) -> dict[str, Any]:
    """Arrays by name; in place of what is no array the ValueError that says so."""
    from scipy.io import loadmat, whosmat

    with reading(FORM, "fetch or save it again"), opened(path) as file:
        # An unreadable variable is only a warning to scipy.
        warnings.simplefilter("error", UserWarning)
        _require_unpacked_small(file)
        _require_whole(file)
        try:
            told = whosmat(file)
        except NotImplementedError as error:
            remedy = "save it with -v7 in MATLAB, or as .npz"
            raise complaint(FORM, "version 7.3 (HDF5)", remedy) from error
        content = {name: _fault(kind) for name, _, kind in told}
        sizes = [math.prod(shape) for name, shape, _ in told if content[name] is None]
        files.affordable(8 * sum(sizes), "in float64")
        numbers = [name for name, fault in content.items() if fault is None]
        read = loadmat(file, variable_names=numbers)
        dense = {name: _dense(read[name]) for name in numbers}
    return {name: dense.get(name, fault) for name, fault in content.items()}


def _dense(array: Any) -> np.ndarray:
    """An array, once it is known that a sparse one has no entries outside itself."""
    if hasattr(array, "toarray"):
        array.check_format(full_check=True)
        return array.toarray()
    return array


def _fault(kind: str) -> ValueError | None:
    """Why a variable of that class is none of numbers; None where it is one."""
    if kind in CLASSES:
        return None
    got = f"MATLAB's cell, structure or function ({kind})"
    return complaint("numbers", got, "save a plain array: cell2mat(it), or one of its fields")


def _require_unpacked_small(file: IO[bytes]) -> None:
    """Refuse a file of version 5 whose variables, which are packed one by one, are larger than
    memory is meant for.

    It holds 128 bytes that end in the order of bytes; of each variable type and length, 32 bits
    both, and its bytes.
    """
    order = ORDER.get(file.read(128)[126:])
    size = 0
    while order is not None and len(tag := file.read(8)) == 8:
        kind, length = struct.unpack(f"{order}LL", tag)
        if length == 0:
            break
        if kind != COMPRESSED:
            size += length
            file.seek(length, 1)
            continue
        for piece in _unpacked(file, length):
            size += len(piece)
            files.affordable(size, "unpacked")
    file.seek(0)


def _unpacked(file: IO[bytes], length: int) -> Iterator[bytes]:
    """What is packed in the next bytes of a file, in pieces."""
    unpacking = zlib.decompressobj()
    while length > 0 and (packed := file.read(min(length, PIECE))):
        length -= len(packed)
        while packed:
            yield unpacking.decompress(packed, PIECE)
            packed = unpacking.unconsumed_tail


def _require_whole(file: IO[bytes]) -> None:
    """Refuse a file of which an array lacks a part; of another level SciPy reads it by other
    means. Raises ValueError.
    """
    header = file.read(HEADER)
    if 0 not in header[:4] and header[124:128] in (b"\0\1IM", b"\1\0MI"):
        order = ORDER[header[126:]]
        while len(tag := file.read(8)) == 8:
            kind, size = struct.unpack(f"{order}II", tag)
            _require_parts(file.read(size), order, kind)
    file.seek(0)


def _require_parts(element: bytes, order: str, kind: int) -> None:
    """The same of a variable."""
    matrix = element
    if kind == COMPRESSED:
        head = zlib.decompressobj().decompress(element, HEAD)
        packed = len(head) == HEAD and _parts(head[8:], order) > 1
        matrix = (zlib.decompress(element) if packed else head)[8:]
    _, (_, name), *rest = _elements(matrix, order)
    parts = [kind for kind, _ in rest[: _parts(matrix, order)]]
    (flags,) = struct.unpack_from(f"{order}I", matrix, 8)
    known = flags & 0xFF == TEXT or all(kind in NUMBERS for kind in parts)
    if len(parts) < _parts(matrix, order) or not known:
        raise ValueError(f"the variable {name.decode('latin1')!r} lacks numbers")


def _parts(matrix: bytes, order: str) -> int:
    """How many elements with numbers or text a variable has to have."""
    (flags,) = struct.unpack_from(f"{order}I", matrix, 8)
    parts = PARTS.get(flags & 0xFF, 0)
    return parts + bool(flags & COMPLEX and parts)


def _elements(matrix: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """Types and contents of a variable's elements after its flags; small ones share a word with
    their type.
    """
    at = FLAGS
    while at + 8 <= len(matrix):
        kind, size = struct.unpack_from(f"{order}II", matrix, at)
        if kind >> 16:
            yield kind & 0xFFFF, matrix[at + 4 : at + 4 + (kind >> 16)]
            at += 8
        else:
            yield kind, matrix[at + 8 : at + 8 + size]
            at += 8 + size + -size % 8
