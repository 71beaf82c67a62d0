"""What do notebooks print that need PyTorch, where there is none? What is kept beside them.

    python docs/builder/kept.py put   # that into the cache of executed notebooks
    python docs/builder/kept.py keep  # what the cache has of them into the files beside them

`scripts/docs` calls it. A notebook needs PyTorch if a line of its code is `import torch`.
"""

import sys
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import read_myst_markdown_notebook

__all__ = ["keep", "put"]

DOCS = Path(__file__).parent.parent


def put(cache) -> None:
    """Ends the process with one line where a page is not what was kept of it."""
    for page in _pages():
        notebook, kept = _notebook(page), page.with_suffix(".ipynb")
        code = _code(notebook)
        known = _code(nbformat.read(kept, as_version=4)) if kept.exists() else []
        if [cell.source.strip() for cell in code] != [cell.source.strip() for cell in known]:
            sys.exit(
                f"vaesurface: expected in {kept.name} what the code of {page.name} prints, got "
                f"that of other code; run scripts/docs --torch"
            )
        for cell, executed in zip(code, known, strict=True):
            cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
        bundle = CacheBundleIn(notebook, uri=str(page))
        cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def keep(cache) -> None:
    """Raises KeyError where a notebook was not executed."""
    for page in _pages():
        _, executed = cache.merge_match_into_notebook(_notebook(page))
        nbformat.write(executed, page.with_suffix(".ipynb"))


def _pages() -> list[Path]:
    pages = sorted((DOCS / "tutorials").glob("*.md"))
    return [page for page in pages if "\nimport torch\n" in page.read_text()]


def _notebook(page: Path) -> nbformat.NotebookNode:
    return read_myst_markdown_notebook(page.read_text())


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


if __name__ == "__main__":
    {"put": put, "keep": keep}[sys.argv[1]](get_cache(DOCS / "_build/cache"))
