"""Do Python blocks of a page print what the page says?

A block counts if indented lines follow it: those are what it prints. Blocks of a page share their
names, as cells of a notebook do. `python tests/pages.py README.md` needs nothing but what the
blocks import, so that it runs where there is no pytest.
"""

import contextlib
import io
import re
import sys
from pathlib import Path

__all__ = ["answers", "blocks"]

BLOCK = re.compile(r"```python\n((?:(?!```).)*)```\n\n((?: {4}[^\n]*\n)+)", re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """(code, what it promises to print) of a page."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def answers(page: Path) -> list[tuple[str, str]]:
    """(what a block prints, what it promises) of all blocks of a page, which are run."""
    names: dict = {"__name__": "page"}
    return [(_printed(code, names), promised) for code, promised in blocks(page)]


def _printed(code: str, names: dict) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


def main() -> None:
    """Exit code 1, with what differs, where a page does not print what it says."""
    told = [pair for name in sys.argv[1:] for pair in answers(Path(name))]
    wrong = [pair for pair in told if pair[0].split() != pair[1].split()]
    for printed, promised in wrong:
        print(f"expected\n{promised}got\n{printed}", file=sys.stderr)
    if wrong or not told:
        sys.exit(1)
    print(f"{len(told)} blocks print what they say")


if __name__ == "__main__":
    main()
