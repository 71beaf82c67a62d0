"""How is a file written so that nobody ever reads half of it, and how is one read that somebody
else made?

`written`: a file takes its place whole or not at all, and what killed processes left is swept away.
`given`: regular files alone, no larger than `most` allows, and where asked for inside a folder.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     write(f"{folder}/a.json", '{"energy": 3.0}')
...     read_json("a.json", within=folder)
{'energy': 3.0}
"""

from vaesurface.files.given import (
    JSON,
    TEXT,
    Refusal,
    affordable,
    confined,
    content,
    inside,
    most,
    opened,
    read_json,
    read_toml,
)
from vaesurface.files.written import plain, replacing, sweep, write

__all__ = [
    "JSON",
    "TEXT",
    "Refusal",
    "affordable",
    "confined",
    "content",
    "inside",
    "most",
    "opened",
    "plain",
    "read_json",
    "read_toml",
    "replacing",
    "sweep",
    "write",
]
