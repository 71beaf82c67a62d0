"""Who is at work on which part of a grid?

Drivers that share a store divide its work by claims: files made by exclusive creation, which a
driver renews while it lives. A claim that was not renewed for `LEASE` seconds, by the clock of the
disk that holds it, or whose process is known to be gone, is anyone's. No locks are needed, and at
worst something is computed twice.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as place, Claims(Path(place)) as one:
...     with Claims(Path(place)) as other:
...         one.take("a"), other.take("a"), [claim.name for claim in living(Path(place))]
(True, False, ['a'])
"""

import json
import os
import platform
import secrets
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from vaesurface import files, provenance

__all__ = ["LEASE", "Claim", "Claims", "living"]

LEASE = 60.0  # seconds for which a claim holds without being renewed
RENEWALS = 5  # within a lease: a busy disk may miss some
PROC = Path("/proc")


class Claim(NamedTuple):
    """Somebody's, that holds.

    name: of what is claimed. by: the driver, host and process. age: seconds since it was renewed.
    """

    name: str
    by: str
    age: float


class Claims:
    """Those of one driver, in a folder; a context manager that gives them all back."""

    def __init__(self, folder: Path, lease: float = LEASE) -> None:
        self._folder, self._lease = folder, lease
        self._held: set[str] = set()
        self._changing = threading.Lock()
        self._closed = threading.Event()
        self._renewer: threading.Thread | None = None

    def __enter__(self) -> "Claims":
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self.release(list(self._held))
        if self._renewer is not None:
            self._renewer.join()

    def take(self, name: str) -> bool:
        """Claim something, unless somebody else's claim of it holds."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / name
        if not (self._created(file) or self._taken_over(file)):
            return False
        with self._changing:
            self._held.add(name)
        if self._renewer is None:
            self._renewer = threading.Thread(target=self._renew, daemon=True)
            self._renewer.start()
        return True

    def release(self, names: Iterable[str]) -> None:
        """Give claims back."""
        for name in names:
            with self._changing:
                self._held.discard(name)
                (self._folder / name).unlink(missing_ok=True)

    def _created(self, file: Path) -> bool:
        """Make a claim's file, whole: a link to one beside it; or where there are no links, and
        whoever is killed at that moment is not known by it, by exclusive creation.
        """
        draft = file.with_name(f".{file.name}-{secrets.token_hex(8)}.tmp")
        try:
            draft.write_text(json.dumps(_identity()), encoding="utf-8")
            try:
                os.link(draft, file)
            except FileExistsError:
                return False
            except OSError:
                with file.open("x", encoding="utf-8") as new:
                    json.dump(_identity(), new)
        except FileExistsError:
            return False
        finally:
            draft.unlink(missing_ok=True)
        return True

    def _taken_over(self, file: Path) -> bool:
        """Whether a claim held no longer and is ours now. One driver at a time looks and acts: the
        claim that another has just made in its place would be taken for the old one else.
        """
        if _holds(file, _now(self._folder), self._lease):
            return False
        turn = file.with_name(f".{file.name}.turn")
        if not self._created(turn):
            if not _holds(turn, _now(self._folder), self._lease):  # of one that was killed
                turn.unlink(missing_ok=True)
            return False
        try:
            if _holds(file, _now(self._folder), self._lease):
                return False
            old = file.with_name(f".{file.name}-{secrets.token_hex(8)}.tmp")
            with suppress(FileNotFoundError):  # given back in between
                file.rename(old)
            with suppress(OSError):  # which was no file
                old.unlink()
            return self._created(file)
        finally:
            turn.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._closed.wait(self._lease / RENEWALS):
            with self._changing:
                for name in self._held:
                    try:
                        os.utime(self._folder / name)
                    except OSError:  # taken away after a long sleep, or the disk is gone
                        continue


def living(folder: Path, lease: float = LEASE) -> list[Claim]:
    """All claims in a folder that hold."""
    if not folder.is_dir():
        return []
    names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    if not names:
        return []
    now, claims = _now(folder), []
    for name in names:
        try:
            identity, age = _told(folder / name), now - os.lstat(folder / name).st_mtime
        except FileNotFoundError:
            continue
        if _is_recent(age, lease) and not _gone(identity):
            claims.append(Claim(name=name, by=str(identity.get("by", "unknown")), age=age))
    return claims


def _holds(file: Path, now: float, lease: float) -> bool:
    try:
        return _is_recent(now - os.lstat(file).st_mtime, lease) and not _gone(_told(file))
    except FileNotFoundError:
        return False


def _is_recent(age: float, lease: float) -> bool:
    """Whether it was renewed lately: not so in a future that the disk's clock was set back from,
    either.
    """
    return abs(age) < lease


def _now(folder: Path) -> float:
    """The time by the clock that dates the files of a folder; this machine's where it is not to be
    written to.
    """
    probe = folder / f".clock-{secrets.token_hex(8)}.tmp"
    try:
        with probe.open("x"):
            now = probe.stat().st_mtime
        probe.unlink(missing_ok=True)
    except OSError:
        return time.time()
    return now


def _told(file: Path) -> dict[str, Any]:
    """What a claim says; nothing while it is being written."""
    try:
        identity = files.read_json(file)
    except FileNotFoundError:
        raise
    except (OSError, ValueError):
        return {}
    return identity if isinstance(identity, dict) else {}


@cache
def _identity() -> dict[str, Any]:
    """This process, so that others know it, and those of the same machine that it is gone."""
    return {"by": provenance.worker(), "machine": _machine(), **_process(os.getpid())}


def _gone(identity: dict[str, Any]) -> bool:
    """Whether a process is known to have ended: one of this machine only."""
    machine, pid = identity.get("machine"), identity.get("pid")
    if machine is None or machine != _machine() or not isinstance(pid, int):
        return False
    return _process(pid) != {name: identity.get(name) for name in ("pid", "began")}


@cache
def _machine() -> str | None:
    """A name of this boot of this machine, and of the part of it that sees the same processes; None
    where there is none.
    """
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{platform.node()} {boot} {os.readlink(PROC / 'self/ns/pid')}"
    except OSError:
        return None


def _process(pid: int) -> dict[str, Any]:
    """A process by its number and when it began, in ticks since the boot; {} where there is
    none.
    """
    try:
        told = (PROC / str(pid) / "stat").read_text()
    except OSError:
        return {}
    fields = told.rpartition(")")[2].split()
    return {} if fields[0] in "ZX" else {"pid": pid, "began": int(fields[19])}
