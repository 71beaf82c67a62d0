"""How is a run kept? As lines of JSON, one a look, so that whatever kills the run loses none.

>>> import tempfile
>>> from vaesurface.monitor.reading import Reader
>>> import numpy as np
>>> x, off = np.random.default_rng(0).standard_normal((256, 4)), np.zeros((256, 1))
>>> seen = Reader().read(0, 0.0, x=x, mean=off, log_std=off, reconstruction=0 * x, gamma=1.0)
>>> with tempfile.TemporaryDirectory() as folder:
...     writer = Writer(f"{folder}/run.jsonl", {"steps": 100})
...     writer.add(seen)
...     load(f"{folder}/run.jsonl").updates == [seen]
True
"""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import vaesurface
from vaesurface import files
from vaesurface.diagnose import Collapse
from vaesurface.monitor.reading import Update
from vaesurface.refusal import complaint, located, reading

__all__ = ["Record", "Writer", "load"]

FORMAT = 1  # of the file; raised by changes that older code would misread
FORM, REMEDY = "the record of a monitor", "run it again"
LINE = 16  # Python takes that many times the bytes of a line for what it holds


class Record(NamedTuple):
    """A run as it was kept.

    updates: in the order of their steps.
    about: what was known beforehand: steps (planned number, or None), and what else it is about.
    end: the last word, of a run that came to one: label, change and evidence; else empty.
    """

    updates: list[Update]
    about: Mapping[str, Any] = MappingProxyType({})
    end: Mapping[str, Any] = MappingProxyType({})


class Writer:
    """Appends to a file, which is begun anew unless `resume` and it is there.

    Where the disk does not take it any more, nothing is raised: training is worth more than its
    record. `failed` then says why.
    """

    def __init__(
        self, path: str | os.PathLike, about: Mapping[str, Any], resume: bool = False
    ) -> None:
        self.path = Path(path)
        self.failed = ""
        if resume and self.path.exists():
            if _cut_to_whole_lines(self.path):
                self._append({"about": files.plain(dict(about))})
                return
        head = {"format": FORMAT, "vaesurface": vaesurface.__version__, **files.plain(dict(about))}
        files.write(self.path, json.dumps(head, allow_nan=False) + "\n")

    def add(self, update: Update) -> None:
        """One look."""
        self._append(_plain(update))

    def end(self, said: Mapping[str, Any]) -> None:
        """The last word."""
        self._append({"end": files.plain(dict(said))})

    def _append(self, content: Mapping[str, Any]) -> None:
        if self.failed:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(content, allow_nan=False) + "\n")
        except OSError as error:
            self.failed = f"{self.path}: {error.strerror or error}"


def load(path: str | os.PathLike) -> Record:
    """The record in a file; a last line that was cut off is passed over. Of a run that was resumed
    at an earlier step, what came later before counts no more.

    Raises ValueError for other files, FileNotFoundError where there is none.
    """
    with located(path), reading(FORM, REMEDY, path):
        lines = files.content(path, LINE).split(b"\n")
        head = _object(lines[0])
        if head.get("format") != FORMAT or "vaesurface" not in head:
            raise complaint(FORM, "a file that does not begin as one", REMEDY)
        about = {k: v for k, v in head.items() if k not in ("format", "vaesurface")}
        updates: list[Update] = []
        end: Mapping[str, Any] = {}
        for line in lines[1:-1]:
            content = _object(line)
            if "end" in content:
                end = dict(content["end"])
                continue
            if "about" in content:
                about |= {k: v for k, v in dict(content["about"]).items() if v is not None}
                continue
            update, end = _update(content), {}  # what comes after the last word takes it back
            while updates and updates[-1].step >= update.step:
                updates.pop()
            if updates and len(updates[-1].kl) != len(update.kl):
                updates = []  # another model
            updates.append(update)
        return Record(updates=updates, about=about, end=end)


def _object(line: bytes) -> dict[str, Any]:
    content = json.loads(line)
    if not isinstance(content, dict):
        raise ValueError("a line is no object")
    return content


def _plain(update: Update) -> dict[str, Any]:
    """As JSON holds it; what is not finite as null."""
    return files.plain(update._asdict())


def _update(content: dict[str, Any]) -> Update:
    """Of such a line. Raises ValueError for what is none."""
    fields = {name: _read(content[name], kind) for name, kind in Update.__annotations__.items()}
    update = Update(**fields)
    k = len(update.kl)
    if not k or {len(update.carried), len(update.active), len(update.kinds)} != {k}:
        raise ValueError("latents differ in number")
    for kind in (update.kind, *update.kinds):
        Collapse[kind]
    return update


def _read(value: Any, kind: Any) -> Any:
    """A field of that type."""
    if kind is float:
        return math.nan if value is None else float(value)
    if kind is int:
        return int(value)
    if kind is str:
        return str(value)
    if kind == dict[str, float]:
        return {str(name): _read(nats, float) for name, nats in value.items()}
    of = kind.__args__[0]
    return tuple(_read(item, of) if of is not bool else bool(item) for item in value)


def _cut_to_whole_lines(path: Path) -> int:
    """Take off a last line that was cut off when its process was killed: the bytes left."""
    with path.open("rb+") as file:
        end = file.read().rfind(b"\n") + 1
        file.truncate(end)
    return end
