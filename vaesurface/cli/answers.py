"""How is an answer printed? The conclusion first, then a table, then the rest in sentences, then
what was written; and on stderr, after all that, one line that says what to look at next.

>>> print("\\n".join(paragraphs(["It is one."], ["a  b", "1  2"], ["So it is."], [])))
It is one.
<BLANKLINE>
a  b
1  2
<BLANKLINE>
So it is.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["PROGRAM", "command", "opened", "paragraphs", "run", "say", "studied"]

PROGRAM = "vaesurface"  # however it was started: completion goes by it


def say(result: dict[str, Any], text: Sequence[str], as_json: bool, then: str = "") -> None:
    """Print a result as JSON, or its text, a line each; then: what to look at next, with the text
    only.
    """
    if as_json:
        from vaesurface import files

        print(json.dumps(files.plain(result), allow_nan=False))
        return
    print("\n".join(text), flush=True)
    if then:
        print(f"next: {then}", file=sys.stderr)


def studied(study: Any, out: Path, as_json: bool, table: str = "", flat: Path | None = None) -> int:
    """Print what a study says, and where it is; table: Markdown, in place of the text that lies
    beside it, if any; flat: the file of the flat table, where one was asked for.
    """
    names = [out / figure.file for figure in study.figures]
    aligned = out / f"{study.name}.txt"
    names += [aligned] * aligned.exists() + [out / f"{study.name}.json"]
    names += [] if flat is None else [flat]
    result: dict[str, Any] = {
        "said": list(study.said),
        "verdicts": list(study.verdicts),
        "files": [str(name) for name in names],
    }
    rows = ""
    if table:
        from vaesurface.experiments import tables

        result, rows = {"table": table, **result}, tables.padded(table)
    elif aligned.exists():
        rows = aligned.read_text(encoding="utf-8")
    wrote = [f"wrote {name}" for name in names]
    text = paragraphs(study.said[:1], rows.splitlines(), study.said[1:], wrote)
    say(result, text, as_json, run("report", out))
    return 0


def paragraphs(*parts: Sequence[str]) -> list[str]:
    """Lines of those that have any, with an empty one between two of them."""
    lines: list[str] = []
    for part in filter(None, parts):
        lines += ["", *part] if lines else part
    return lines


def run(*words: Any) -> str:
    """A command line of this program, to paste into a shell."""
    return shlex.join([PROGRAM, *map(str, words)])


def opened(page: Path) -> str:
    """What to do with a page or a picture."""
    return f"open {shlex.quote(str(page))}" + " in a browser" * (page.suffix == ".html")


def command(without: str = "") -> str:
    """The command line that runs, to paste into a shell; without one of its flags."""
    return shlex.join([PROGRAM, *(word for word in sys.argv[1:] if word != without)])
