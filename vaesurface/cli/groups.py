"""What does the first page of `--help` show? All verbs, by what they are about, each with one whole
sentence: the first of its help.

>>> sentence("Prove what a point is.\\n\\nAnyone can verify it.")
'Prove what a point is.'
"""

from typing import Any

from typer.core import TyperGroup

__all__ = ["GROUPS", "Grouped", "sentence"]

GROUPS = {  # in the order of the page
    "Your own VAE": ("diagnose", "cure", "report"),
    "A loss surface": (
        "analyze",
        "certify",
        "verify",
        "census",
        "path",
        "follow",
        "basin",
        "network",
        "slice",
    ),
    "Sweeps": ("sweep", "status", "plot"),
    "The paper": ("demo", "reproduce"),
}


class Grouped(TyperGroup):
    """The verbs of the command line."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in order."""
        return [name for names in GROUPS.values() for name in names]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write them, a section for each group."""
        widest = max(map(len, self.list_commands(ctx)))
        for group, names in GROUPS.items():
            with formatter.section(group):
                rows = [(n.ljust(widest), sentence(self.commands[n].help or "")) for n in names]
                formatter.write_dl(rows)


def sentence(text: str) -> str:
    """The first paragraph of a help."""
    return " ".join(text.partition("\n\n")[0].split())
