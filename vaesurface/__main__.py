"""The command line, whose first page of help is there before anything is imported: `--help`.

The page is kept in a file, as typer writes it; a test says when it is out of date.
"""

import os
import sys
from pathlib import Path

__all__ = ["HELP", "main"]

COMPLETE = "_VAESURFACE_COMPLETE"  # which a shell sets that asks how to complete a line
HELP = Path(__file__).parent / "cli" / "help.txt"


def main() -> None:
    """Run a verb."""
    if sys.argv[1:] in ([], ["--help"]) and COMPLETE not in os.environ:
        sys.stdout.write(HELP.read_text(encoding="utf-8"))
        return
    from vaesurface.cli import ending
    from vaesurface.cli import main as run

    try:
        run()
    except SystemExit as stop:
        if stop.code in (ending.INTERRUPTED, ending.TERMINATED):
            ending.leave(stop.code)
        raise


if __name__ == "__main__":
    main()
