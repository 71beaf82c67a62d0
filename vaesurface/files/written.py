"""How is a file written so that nobody ever reads half of it, and what has JSON instead of NaN?

What is written to `NAME` is written in a room of its own beside it first, a directory
`.NAME-<24 hexadecimal digits>.tmp` that nobody else may enter: 16 of the digits cannot be foreseen,
and no link can stand in it. The other 8 name the machine. The room holds a `lock`, which is locked
as long as its process writes. A process that is killed leaves its room behind; `sweep`, which every
write to the folder begins with, removes rooms whose lock is free: those of this machine at once,
others, and those on file systems without locks, where nothing in them has changed for a day.

>>> plain({"energy": float("nan"), "gamma": (0.5, 1.0)})
{'energy': None, 'gamma': [0.5, 1.0]}
"""

import hashlib
import math
import os
import platform
import re
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

__all__ = ["plain", "replacing", "sweep", "write"]

ROOM = re.compile(r"\..*-(?P<machine>[0-9a-f]{8})[0-9a-f]{16}\.tmp", re.DOTALL)
OLD = re.compile(r"\..*-[0-9a-f]{16}\.tmp", re.DOTALL)  # a file of earlier versions
SHOWN = 40  # characters of a name that its room's name shows: there are longest names
PARTS = {"lock", "new", "old"}  # of a room; old: what is moved aside for a moment
FORGOTTEN = 86_400  # seconds without a change, after which no process writes any more
LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # refused; pipes do not wait


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
    """Write a text (UTF-8) all at once or not at all, into a directory that is made if need be.

    Raises OSError, in one line, as `replacing` does.
    """
    path = Path(path)
    with _answered(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as new, new.open("x", encoding="utf-8", newline="") as file:
        file.write(text)


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A place of the same name to write a file or a directory to, in a room beside `path`.

    What is written there takes the place of `path` if all goes well, and is gone if not. Links are
    not followed and not replaced. Raises OSError, in one line, where there is no room or no
    permission, and where `path` is a link, a device or a pipe, or would change from a directory to
    a file or back.
    """
    path = Path(path)
    with _answered(path):
        _require_replaceable(path)
        sweep(path.parent)
        with _room(path) as room:
            new = room / "new" / path.name
            new.parent.mkdir()
            yield new
            _publish(new, path, room)


def sweep(folder: str | os.PathLike) -> None:
    """Remove what killed processes left in a folder, and put back what they had moved aside.

    Nothing of a process that lives is touched: it holds the lock of its room. Whatever cannot be
    removed stays.
    """
    with suppress(OSError):
        for place in list(Path(folder).iterdir()):
            with suppress(OSError):
                if found := ROOM.fullmatch(place.name):
                    _sweep(place, found["machine"] == _machine())
                elif OLD.fullmatch(place.name):
                    _sweep_old(place)


# Rooms


@contextmanager
def _room(path: Path) -> Iterator[Path]:
    """A locked directory beside `path`, which is gone afterwards."""
    room, lock = _made(path)
    try:
        yield room
    finally:
        # Another process may clear it as well from here on; Windows removes no open file.
        _put_back(room)
        lock.close()
        shutil.rmtree(room, ignore_errors=True)


def _made(path: Path) -> tuple[Path, IO[bytes]]:
    """A new room and its lock, held."""
    while True:
        number = f"{_machine()}{secrets.token_hex(8)}"
        room = path.with_name(f".{path.name[:SHOWN]}-{number}.tmp")
        room.mkdir(mode=0o700)
        lock = None
        try:
            lock = (room / "lock").open("xb")
            _hold(lock)
            # A sweep may have come between; what it holds or has removed is no longer ours.
            if os.path.samestat(os.fstat(lock.fileno()), os.stat(room / "lock")):
                return room, lock
        except (FileNotFoundError, BlockingIOError):
            pass
        except BaseException:
            if lock is not None:
                lock.close()
            shutil.rmtree(room, ignore_errors=True)
            raise
        if lock is not None:
            lock.close()


@cache
def _machine() -> str:
    """Eight digits of this machine."""
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def _hold(lock: IO[bytes]) -> bool:
    """Hold a lock until its file is closed; whether that can be done here. Raises BlockingIOError
    where another holds it.
    """
    try:
        import fcntl

        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except (ImportError, OSError):
        return False  # Windows, and some file systems of clusters
    return True


def _sweep(room: Path, here: bool) -> None:
    """Remove a room if its process is dead; here: whether that was one of this machine."""
    if not _is_own(os.lstat(room)):
        return
    parts = os.listdir(room)
    if not parts and here:
        room.rmdir()  # one whose process is about to lock it makes another
        return
    if not PARTS.issuperset(parts):
        return
    if "lock" not in parts:  # killed before it had one, or when it had done all but tidy up
        if here or _is_forgotten(room):
            shutil.rmtree(room)
        return
    with os.fdopen(os.open(room / "lock", os.O_RDWR | LINKS), "rb") as lock:
        if not (_hold(lock) and here) and not _is_forgotten(room):
            return
        _put_back(room)
        if os.name != "nt":
            shutil.rmtree(room)
    shutil.rmtree(room, ignore_errors=True)


def _sweep_old(path: Path) -> None:
    """The same of a temporary file of earlier versions, which had no locks."""
    status = os.lstat(path)
    if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime > FORGOTTEN:
        path.unlink()


def _is_own(status: os.stat_result) -> bool:
    """Whether it is a directory that nobody but this user could have made or written to."""
    if not stat.S_ISDIR(status.st_mode):
        return False
    return not hasattr(os, "getuid") or (
        status.st_uid == os.getuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


def _is_forgotten(room: Path) -> bool:
    """Whether nothing in a room has changed for long."""
    changed = [os.lstat(place).st_mtime for place in (room, *room.rglob("*"))]
    return time.time() - max(changed) > FORGOTTEN


def _put_back(room: Path) -> None:
    """Put back what was moved aside, unless its successor is there."""
    old = room / "old"
    for kept in old.iterdir() if old.is_dir() and not old.is_symlink() else ():
        if not os.path.lexists(room.with_name(kept.name)):
            kept.rename(room.with_name(kept.name))


# Taking a place


def _require_replaceable(path: Path) -> None:
    """Refuse a path that is there and neither a file nor a directory itself."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(mode):
        raise OSError(f"a link to {os.readlink(path)}")
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError("a device, a pipe or a socket")


def _publish(new: Path, path: Path, room: Path) -> None:
    """Put what is new in its place."""
    if not new.is_dir():
        if path.is_dir():
            raise IsADirectoryError("a directory where a file is to be")
        _sync(new)
        os.replace(new, path)
        return
    if path.is_dir() and not path.is_symlink():
        (room / "old").mkdir()
        path.rename(room / "old" / path.name)
    new.rename(path)


def _sync(path: Path) -> None:
    """Wait until a file is on the disk, lest a power cut leaves its name without its content."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


@contextmanager
def _answered(path: Path) -> Iterator[None]:
    """Say of every error of the file system which file could not be written, in one line."""
    try:
        yield
    except OSError as error:
        reason = " ".join((error.strerror or str(error)).split())
        line = (
            f"expected a place that can be written to, got {path} ({reason}); make room there, or "
            f"name another place"
        )
        builtin = type(error).__module__ == "builtins"
        raise (type(error) if builtin else OSError)(line) from error
