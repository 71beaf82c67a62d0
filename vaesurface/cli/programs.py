"""Where are compiled programs kept, from one run of the command line to the next?

In the user's cache folder, a folder for each version of jaxlib and each instruction set, through
JAX's persistent compilation cache; unless the user has told JAX where by JAX_COMPILATION_CACHE_DIR,
or not to, by JAX_ENABLE_COMPILATION_CACHE=false.

>>> settings(Path("/cache"))["JAX_COMPILATION_CACHE_DIR"].startswith("/cache/jaxlib-")
True
"""

import hashlib
import os
import platform
import shutil
import stat
import sys
import time
from pathlib import Path

from vaesurface import provenance

__all__ = ["keep", "settings"]

MOST_BYTES = 2**29  # of a folder; JAX drops what was not used for longest. A verb leaves some 5 MB
FORGOTTEN = 30 * 86_400  # seconds after which the folder of another version is removed
TORN = 60  # seconds: JAX writes an entry and its time within one
DIRECTORY = "JAX_COMPILATION_CACHE_DIR"


def keep() -> None:
    """Tell JAX, which reads it when imported, and the processes that this one starts.

    Programs are code: a folder that somebody else could write to is not used, and said so. Where
    none can be made nothing is kept.
    """
    if DIRECTORY in os.environ:
        return
    import platformdirs

    home = platformdirs.user_cache_path("vaesurface", appauthor=False)
    chosen = settings(home)
    folder = Path(chosen[DIRECTORY])
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not _private(folder):
            print(
                f"vaesurface: compiled programs are not kept: expected a folder that only you "
                f"can write to, got {folder}; remove it or set {DIRECTORY}",
                file=sys.stderr,
            )
            return
        _tidy(folder)
    except OSError:
        return
    for name, value in chosen.items():
        os.environ.setdefault(name, value)


def settings(home: Path) -> dict[str, str]:
    """Environment variables for JAX, of a cache folder below `home`."""
    from importlib.metadata import version

    name = f"jaxlib-{version('jaxlib')}-{platform.machine()}-{_instruction_set()}"
    return {
        DIRECTORY: str(home / name),
        "JAX_COMPILATION_CACHE_MAX_SIZE": str(MOST_BYTES),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
    }


def _instruction_set() -> str:
    """A name for what the processor can: a program may hold any of its instructions."""
    return hashlib.sha256(provenance.flags().encode()).hexdigest()[:8]


def _private(folder: Path) -> bool:
    """Whether only this user can write to it."""
    if not hasattr(os, "getuid"):  # Windows, where a user's cache folder is the user's
        return True
    status = folder.stat()
    return status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _tidy(folder: Path) -> None:
    """Remove what no version has used for long, and entries that a killed process left half.

    JAX itself cannot drop an entry without its time, and would keep no other from then on.
    """
    now = time.time()
    os.utime(folder)
    for other in folder.parent.glob("jaxlib-*"):
        if now - other.stat().st_mtime > FORGOTTEN:
            shutil.rmtree(other, ignore_errors=True)
    for entry in folder.glob("*-cache"):
        used = entry.with_name(entry.name.removesuffix("-cache") + "-atime")
        if not used.exists() and now - entry.stat().st_mtime > TORN:
            entry.unlink(missing_ok=True)
