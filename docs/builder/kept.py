"""What do notebooks print that need PyTorch, where there is none?

    python docs/builder/kept.py put   # what is kept of them into the cache of executed notebooks
    python docs/builder/kept.py keep  # what the cache has of them into files beside them

`scripts/docs` calls it. A notebook needs PyTorch if a line of its code begins with `import torch`.
"""

import sys
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import read_myst_markdown_notebook

__all__ = ["keep", "put"]

DOCS = Path(__file__).parent.parent
KEPT = DOCS / "tutorials" / "kept"


def put(cache) -> str:
    """What is wrong with what is kept, in a line."""
    for page in _pages():
        kept = _beside(page)
        if kept.exists():
            bundle = CacheBundleIn(nbformat.read(kept, as_version=4), uri=str(page))
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
        if not _is_cached(cache, page):
            return (
                f"expected in {kept.relative_to(DOCS.parent)} what {page.name} prints as it is "
                f"now, got {'another version' if kept.exists() else 'nothing'}; run scripts/docs "
                f"--torch"
            )
    return ""


def keep(cache) -> str:
    """Raises KeyError where a notebook was not executed."""
    KEPT.mkdir(exist_ok=True)
    for page in _pages():
        record = cache.match_cache_notebook(_notebook(page))
        nbformat.write(cache.get_cache_bundle(record.pk).nb, _beside(page))
    return ""


def _pages() -> list[Path]:
    pages = sorted((DOCS / "tutorials").glob("*.md"))
    return [page for page in pages if "\nimport torch\n" in page.read_text()]


def _beside(page: Path) -> Path:
    return KEPT / page.with_suffix(".ipynb").name


def _notebook(page: Path) -> nbformat.NotebookNode:
    return read_myst_markdown_notebook(page.read_text())


def _is_cached(cache, page: Path) -> bool:
    try:
        cache.match_cache_notebook(_notebook(page))
    except KeyError:
        return False
    return True


if __name__ == "__main__":
    complaint = {"put": put, "keep": keep}[sys.argv[1]](get_cache(DOCS / "_build/cache"))
    if complaint:
        sys.exit(f"vaesurface: {complaint}")
