"""The command line: `vaesurface demo`, `sweep`, `analyze`, `certify` and others, as `vaesurface
--help` lists them.

Each verb's `--help` shows an example. With `--json` one JSON object goes to stdout and nothing
else. Exit codes: 0 done, 1 the answer is negative, 2 bad usage or bad input, with one line on
stderr, where a line after the answer says what to look at next. Verbs import what they need when
they run, so help is instant. By what they are about: `sweeps`, `pages`, `points`, `geometry`,
`diagnosis`, `cures`, `reproduce`; `groups` has their order.
"""

import gc
import sys

import typer

from vaesurface.cli import (
    cures,
    diagnosis,
    ending,
    geometry,
    pages,
    points,
    programs,
    reproduce,
    sweeps,
)
from vaesurface.cli.answers import PROGRAM
from vaesurface.cli.options import app

__all__ = [
    "app",
    "cures",
    "diagnosis",
    "geometry",
    "main",
    "pages",
    "points",
    "programs",
    "reproduce",
    "sweeps",
]

YOUNG = 100_000  # objects between two looks for garbage: programs that are traced are no garbage


def main() -> None:
    """Run a verb; every error is one line on stderr and exit code 2, Ctrl-C one line and 130,
    SIGTERM the same line and 143.
    """
    gc.set_threshold(YOUNG, 50, 50)
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    with ending.asked_to_end() as asked:
        code = _run()
    if code == ending.INTERRUPTED:  # typer's word for Ctrl-C
        _complain(ending.WORDS)
        code = ending.TERMINATED if asked.terminated else code
    sys.exit(code)


def _run() -> int:
    """The exit code of the verb that the command line names."""
    try:
        return typer.main.get_command(app).main(prog_name=PROGRAM, standalone_mode=False)
    except (ValueError, OSError, RuntimeError) as error:
        _complain(str(error))
    except MemoryError:
        _complain("expected memory to suffice, got MemoryError; take fewer data")
    except Exception as error:
        if not hasattr(error, "format_message"):  # which typer's own, of usage, have
            raise
        _complain(f"{error.format_message()} (see --help)")
    return 2


def _complain(message: str) -> None:
    """In one line."""
    print("vaesurface:", " ".join(message.split()), file=sys.stderr)
