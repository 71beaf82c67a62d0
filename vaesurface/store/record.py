"""What sweep is a store of?

`store.json` says it, and every chunk says it again: where that file is gone or damaged, it is made
again from the chunks.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as place:
...     here = dict.fromkeys(SWEEP) | {"format": FORMAT, "dtype": "float64", "software": []}
...     here["config"] = {"latent": 2}
...     write(Path(place), here)
...     require_same(Path(place), read(Path(place)), {"config": {"latent": 3}})
Traceback (most recent call last):
ValueError: expected the sweep that ... holds, got config latent 2 there and 3 here; choose ...
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaesurface import files
from vaesurface.store import chunks
from vaesurface.store.names import complaint, differences

__all__ = ["FORMAT", "SWEEP", "locked", "read", "require_same", "sweep", "whole", "write"]

FORMAT = 3  # of the directory; raised by changes that older code would misread
SWEEP = ("format", "config", "data", "dtype", "axes", "leaves")  # what a sweep is known by


def read(path: Path) -> dict[str, Any]:
    """What store.json says, or else the chunks.

    Raises ValueError where neither can be read, and for another format.
    """
    file = path / "store.json"
    record = _told(file) or _from_chunks(path)
    if record is None:
        remedy = f"restore it, or delete {path}"
        raise complaint("a whole store.json", f"{file} damaged", remedy)
    if record["format"] != FORMAT:
        remedy = "read it with the vaesurface that wrote it"
        raise complaint(f"format {FORMAT}", f"{record['format']} in {file}", remedy)
    return record


def whole(path: Path) -> bool:
    """Whether store.json itself can be read."""
    return _told(path / "store.json") is not None


def _told(file: Path) -> dict[str, Any] | None:
    """What store.json says, of any format; None where it is gone or damaged."""
    try:
        record = files.read_json(file)
        if record["format"] == FORMAT and not _settings(record):
            return None
    except (KeyError, OSError, RecursionError, TypeError, ValueError):
        return None
    return record


def _settings(record: dict[str, Any]) -> bool:
    """Whether a record has what it must, each of its type."""
    tables = (record["axes"], record["leaves"])
    return (
        isinstance(record["config"], dict)
        and isinstance(record["dtype"], str)
        and isinstance(record["data"], str | None)
        and all(isinstance(table, dict | None) for table in tables)
        and (record["axes"] is None) == (record["leaves"] is None)
        and all(isinstance(kind, str) for kind in record["axes"] or {})
        and all(map(_is_layout, (record["leaves"] or {}).values()))
        and isinstance(record["software"], list)
        and _is_names(record.get("names", {}))
    )


def _is_names(names: Any) -> bool:
    """Whether these are words along dimensions."""
    return isinstance(names, dict) and all(
        isinstance(words, list) and all(isinstance(word, str) for word in words)
        for words in names.values()
    )


def _is_layout(entry: Any) -> bool:
    """Whether this is a shape and a dtype."""
    match entry:
        case [list(shape), str()]:
            return all(isinstance(size, int) and size >= 0 for size in shape)
    return False


def sweep(record: Mapping[str, Any]) -> dict[str, Any]:
    """Of a record, what a sweep is known by."""
    return {name: record[name] for name in SWEEP}


def write(path: Path, record: dict[str, Any]) -> None:
    """Into store.json."""
    files.write(path / "store.json", json.dumps(record, indent=1, allow_nan=False))


def require_same(path: Path, record: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse a store whose record differs in any entry of a sweep, and say in which."""
    if differing := differences(record, expected):
        remedy = "choose another directory (--out), or delete that one"
        raise complaint(f"the sweep that {path} holds", differing, remedy)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the store's lock while its record is changed; it ends with the process at the latest.

    Where there are no locks (Windows, some networks) do not start two processes on a new store at
    the same moment.
    """
    with (path / ".store.lock").open("a") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        yield


def _from_chunks(path: Path) -> dict[str, Any] | None:
    """The record that a store's chunks tell of; None where they do not. Raises ValueError where
    they are of different sweeps.
    """
    known: dict[str, Any] | None = None
    for file in sorted(path.glob("chunks/*.npz")):
        other = chunks.told(file)
        if other is None:
            continue
        if known is not None and (differing := differences(known, other)):
            remedy = f"move those of one to another directory: {file} is of another"
            raise complaint(f"chunks of one sweep in {path}", differing, remedy)
        known = other
    return None if known is None else known | {"software": []}
