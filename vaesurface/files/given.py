"""How is a file read that somebody else made? A regular file, no larger than memory is meant for
it, and where asked for none outside a folder.

`most()` bytes, 2 GiB or what VAESURFACE_MAX_BYTES says, are what one file may hold after it is
unpacked, and what its numbers may take in float64. What takes several times as much memory as disk
may hold less: text a sixteenth, JSON a thirty-second, TOML 16 KiB. Readers ask before they take
memory.

>>> affordable(2**50, "in memory")
Traceback (most recent call last):
vaesurface.files.given.Refusal: expected at most 2147483648 bytes in memory, got 1125899906842624 or
more; if you trust the file, set VAESURFACE_MAX_BYTES to 1125899906842624 or more
"""

import io
import json
import os
import stat
import tomllib
from collections.abc import Callable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

__all__ = [
    "JSON",
    "TEXT",
    "Refusal",
    "affordable",
    "confined",
    "content",
    "inside",
    "most",
    "opened",
    "read_json",
    "read_toml",
]

VARIABLE = "VAESURFACE_MAX_BYTES"
MOST = 2**31  # bytes: CIFAR-10 in float64 is 1.5e9
TEXT = 16  # a list of lines takes so many times the bytes of short ones
JSON = 32  # the same of its lists and numbers
TOML = 2**17  # settings are short, and the parser's memory grows with the square of a dotted name
DEPTH = 64  # of JSON and TOML; ours are nested six deep
FLAGS = sum(getattr(os, name, 0) for name in ("O_BINARY", "O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK"))
NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISSOCK, "a socket"),
)


class Refusal(ValueError):
    """A ValueError that says all it has to say."""


def most() -> int:
    """How many bytes one file may hold after it is unpacked. Raises ValueError for a
    VAESURFACE_MAX_BYTES that is no such number.
    """
    said = os.environ.get(VARIABLE, "").strip() or str(MOST)
    if not (said.isascii() and said.isdigit() and 0 < len(said) < 20):
        raise Refusal(
            f"expected a number of bytes as {VARIABLE}, got {said!r}; unset it or give one"
        )
    return int(said)


def affordable(size: int, what: str, share: int = 1) -> None:
    """Raise ValueError where so many bytes are more than the `share`-th part of `most()`."""
    limit = most() // share
    if size > limit:
        raise Refusal(
            f"expected at most {limit} bytes {what}, got {size} or more; if you trust the file, "
            f"set {VARIABLE} to {size * share} or more"
        )


def opened(
    path: str | os.PathLike, share: int = 1, *, within: str | os.PathLike | None = None
) -> BinaryIO:
    """A regular file of at most `most() // share` bytes, open for reading.

    within: a folder that `path` is in, below it; no link leads out of it. Raises ValueError for
    what is no regular file (a pipe is not waited for), too large or outside, OSError as `open`
    does.
    """
    file = _regular(path, path) if within is None else _regular_inside(within, path)
    size = os.fstat(file.fileno()).st_size
    try:
        affordable(size, f"in {os.fspath(path)}", share)
    except ValueError:
        file.close()
        raise
    if size:
        return file
    # What the kernel makes up as it is read, in /proc, has no size and often no end.
    file.close()
    return io.BytesIO()


def content(
    path: str | os.PathLike, share: int = 1, *, within: str | os.PathLike | None = None
) -> bytes:
    """All bytes of such a file."""
    with opened(path, share, within=within) as file:
        return file.read()


def read_json(path: str | os.PathLike, *, within: str | os.PathLike | None = None) -> Any:
    """What a JSON file holds. Raises ValueError for others, and where it is nested deeply."""
    return _parsed(content(path, JSON, within=within), _json)


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """The same of TOML."""
    return _parsed(content(path, TOML), tomllib.loads)


def inside(folder: str | os.PathLike, name: str | os.PathLike) -> Path:
    """The path of what `name` names in a folder, free of links.

    Raises ValueError where the name, on this system or another, or a link leads out of the folder.
    """
    root = _resolved(Path(folder), folder)
    wanted = f"a place inside {os.fspath(folder)}"
    if not isinstance(name, str | os.PathLike):
        raise Refusal(f"expected the name of {wanted}, got {name!r}; correct it")
    for form in (PurePosixPath, PureWindowsPath):
        parts = form(name)
        if parts.anchor or ".." in parts.parts:
            raise Refusal(f"expected the name of {wanted}, got {os.fspath(name)!r}; copy it there")
    path = _resolved(root / name, name)
    if not path.is_relative_to(root):
        raise Refusal(
            f"expected {wanted}, got {os.fspath(name)!r}, a link out of it; copy what it leads to"
        )
    return path


def confined(folder: str | os.PathLike) -> None:
    """Refuse a folder in which a link leads out of it, or that holds pipes or devices."""
    for place, folders, names in os.walk(os.fspath(folder)):
        for name in (*folders, *names):
            path = inside(folder, os.path.relpath(os.path.join(place, name), folder))
            if path.exists() and not path.is_dir():
                _require_regular(path.stat(), os.path.join(place, name))


def _resolved(path: Path, name: Any) -> Path:
    """A path without links."""
    try:
        found = path.resolve()
        # From Python 3.13 on links in a circle are left as they are.
        if any(map(Path.is_symlink, (found, *found.parents))):
            raise OSError("links in a circle")
        return found
    except (OSError, RuntimeError, ValueError) as error:  # links in a circle, a null character
        raise Refusal(
            f"expected the name of a place, got {name!r} ({error}); correct it"
        ) from error


def _regular(path: str | os.PathLike, shown: Any, folder: int | None = None) -> BinaryIO:
    """A regular file, open; in an open folder not through a link. shown: its name in messages."""
    # Asked first, for some devices do something once they are opened; and again of what was opened.
    _require_regular(os.stat(path, dir_fd=folder, follow_symlinks=folder is None), shown)
    flags = os.O_RDONLY | FLAGS | (0 if folder is None else NO_LINKS)
    file = os.fdopen(os.open(path, flags, dir_fd=folder), "rb")
    try:
        _require_regular(os.fstat(file.fileno()), shown)
    except ValueError:
        file.close()
        raise
    return file


def _require_regular(status: os.stat_result, shown: Any) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = next((name for is_it, name in KINDS if is_it(status.st_mode)), "a link")
        raise Refusal(f"expected a regular file, got {os.fspath(shown)}, {kind}; name a file")


def _regular_inside(folder: str | os.PathLike, name: str | os.PathLike) -> BinaryIO:
    """The same below a folder. Links were resolved; one that comes later is not followed."""
    path, root, shown = inside(folder, name), Path(folder).resolve(), Path(folder) / name
    if os.open not in os.supports_dir_fd:
        return _regular(path, shown)
    place = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        *folders, last = path.relative_to(root).parts or (".",)
        for part in folders:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | NO_LINKS, dir_fd=place)
            os.close(place)
            place = below
        return _regular(last, shown, place)
    except OSError as error:
        error.filename = os.fspath(shown)
        raise
    finally:
        os.close(place)


def _parsed(raw: bytes, parse: Callable[[str], Any]) -> Any:
    """A text as a parser has it."""
    try:
        value = parse(raw.decode("utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if _depth(value) > DEPTH:
        raise ValueError(f"it is nested more than {DEPTH} deep")
    return value


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _depth(value: Any) -> int:
    """How deeply lists and dicts are nested, counted level by level."""
    level, depth = [value], 0
    while level := [v for v in level if isinstance(v, list | dict)]:
        level = [item for v in level for item in (v.values() if isinstance(v, dict) else v)]
        depth += 1
    return depth
