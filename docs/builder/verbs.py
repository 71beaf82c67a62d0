"""Which options has each verb of the command line? What its `--help` says, as a page.

>>> print(written()[0])
## diagnose
>>> any("--workers" in text for text in written())
True
"""

import re

import typer

from vaesurface.cli import PROGRAM, app

__all__ = ["FENCE", "written"]

# Stands for all verbs, in the order of the first page of help.
FENCE = re.compile(r"^```\{verbs\}\n```$", re.MULTILINE)
WIDTH = 96  # characters of a line: as many as a page has room for


def written() -> list[str]:
    """A heading for each verb, and below it what its help says."""
    group = typer.main.get_command(app)
    lines = []
    with group.context_class(group, info_name=PROGRAM) as above:
        for name in group.list_commands(above):
            verb = group.get_command(above, name)
            context = verb.context_class(verb, above, info_name=name, terminal_width=WIDTH)
            lines += [f"## {name}", "", "```text", verb.get_help(context).strip(), "```", ""]
    return lines
