"""How is a file written so that nobody ever reads half of it, and what has JSON instead of NaN?

>>> plain({"energy": float("nan"), "gamma": (0.5, 1.0)})
{'energy': None, 'gamma': [0.5, 1.0]}
"""

import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["plain", "replacing", "write"]


def plain(value: Any) -> Any:
    """The same value as JSON can hold it: arrays as lists, infinities and NaN as None."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(path: str | os.PathLike, text: str) -> None:
    """Write a text (UTF-8) all at once or not at all, into a directory that is made if need be."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new:
        new.write_text(text, encoding="utf-8")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new name beside `path`, for a file or a directory.

    What is written there takes the place of `path` if all goes well, and is gone if not.
    """
    new = path.with_name(f".{path.name}-{secrets.token_hex(8)}.tmp")
    try:
        yield new
        if path.is_dir():
            old = path.rename(path.with_name(f"{new.name}-old"))
            new.rename(path)
            shutil.rmtree(old)
        else:
            _sync(new)
            os.replace(new, path)
    except BaseException:
        shutil.rmtree(new) if new.is_dir() else new.unlink(missing_ok=True)
        raise


def _sync(path: Path) -> None:
    """Wait until a file is on the disk, lest a power cut leaves its name without its content."""
    if path.is_file():
        with path.open("rb+") as file:
            os.fsync(file.fileno())
