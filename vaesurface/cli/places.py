"""Where may results go? What `--out` names, refused before anything is computed where nothing can
be written.

Verbs with one file take the file, told by its ending, or a directory in which it gets its usual
name. All others take a directory.

>>> str(file_in(Path("results"), "point.npz")), str(file_in(Path("best.npz"), "point.npz"))
('results/point.npz', 'best.npz')
>>> file_in(Path("best.txt"), "point.npz")
Traceback (most recent call last):
ValueError: expected --out as a directory or a file that ends in .npz, got best.txt; rename it
"""

import os
import tempfile
from pathlib import Path

from vaesurface.refusal import complaint

__all__ = ["directory", "file_in", "store"]

# Endings by which a name is that of a file: numbers after a point, as in alpha=0.1, are none.
ENDINGS = frozenset(
    ".csv .gz .htm .html .json .jsonl .nc .npy .npz .pdf .png .svg .toml .tsv .txt".split()
)
# Bytes that a file's name has, while it is written, beyond its own: `files.replacing`.
ROOM = len(".-.tmp") + 16


def directory(out: Path) -> None:
    """Refuse a place where no directory for several files can be."""
    store(out)
    if out.suffix in ENDINGS and not out.exists():
        got = f"{out}, which is a name of a file"
        raise complaint("--out as a directory, for several files", got, f"leave out {out.suffix}")


def store(out: Path) -> None:
    """The same of a sweep's, whose name is its user's."""
    if out.exists() and not out.is_dir():
        raise ValueError(
            f"expected a directory for the results, got the file {out}; name another place with "
            f"--out"
        )
    _require_room(out)


def file_in(out: Path, name: str) -> Path:
    """The one file that goes to `out`; `name` in it, where that is a directory."""
    ending = Path(name).suffix
    if out.suffix in ENDINGS and out.suffix != ending:
        wanted = f"--out as a directory or a file that ends in {ending}"
        raise complaint(wanted, str(out), "rename it")
    is_file = out.suffix == ending or (out.exists() and not out.is_dir())
    chosen = out if is_file else out / name
    _require_one(chosen)
    return chosen


def _require_one(out: Path) -> None:
    """Refuse a place where no file can be."""
    if out.is_dir():
        raise ValueError(
            f"expected a file for the result, got the directory {out}; name one in it with --out"
        )
    if out.exists() and not (out.is_file() and os.access(out, os.W_OK)):
        raise ValueError(
            f"expected a file for the result, got {out}, which may not be written over; name "
            f"another with --out"
        )
    _require_room(out.parent, out.name)


def _require_room(folder: Path, name: str = "") -> None:
    """Refuse a directory that cannot be made or written to, and a name that cannot be one in it;
    leave nothing there.
    """
    if "\0" in str(folder / name):
        raise ValueError(
            f"expected a path, got {str(folder / name)!r}; name another place with --out"
        )
    there = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    new = [*folder.relative_to(there).parts, name]
    longest = max(len(os.fsencode(part)) for part in new)
    try:
        with tempfile.TemporaryDirectory(dir=there, prefix="x" * max(longest + ROOM - 8, 1)):
            pass
    except OSError as error:
        raise ValueError(
            f"expected a place that can be written to, got {folder} ({error.strerror}: {there}); "
            f"name another with --out"
        ) from error
