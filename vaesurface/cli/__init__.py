"""The command line: `vaesurface demo`, `sweep`, `analyze`, `certify` and others, as `vaesurface
--help` lists them.

Each verb's `--help` shows an example. With `--json` one JSON object goes to stdout and nothing
else. Exit codes: 0 done, 1 the answer is negative, 2 bad usage or bad input, with one line on
stderr. Handlers import what they need, so help is instant. Verbs by what they are about: `sweeps`,
`points`, `geometry`, `diagnosis`, `reproduce`.
"""

import sys

import typer

# Verbs appear in --help in this order.
# isort: off
from vaesurface.cli import sweeps, points, geometry, diagnosis, reproduce
from vaesurface.cli.options import app
# isort: on


def main() -> None:
    """Run a verb; every error is one line on stderr and exit code 2, Ctrl-C one line and 130."""
    if len(sys.argv) == 1:
        sys.argv.append("--help")
    try:
        code = typer.main.get_command(app).main(standalone_mode=False)
        if code == 130:  # typer's word for Ctrl-C
            print(
                "vaesurface: interrupted; finished chunks are kept, run again to go on",
                file=sys.stderr,
            )
    except (ValueError, OSError, RuntimeError) as error:
        print("vaesurface:", " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except Exception as error:  # usage errors of typer's own
        if not hasattr(error, "format_message"):
            raise
        print(
            "vaesurface:", " ".join(error.format_message().split()), "(see --help)", file=sys.stderr
        )
        sys.exit(2)
    sys.exit(code if isinstance(code, int) else 0)
