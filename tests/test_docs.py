"""The documentation has a place for every page, module, name and figure; links lead somewhere.

Building it, `scripts/docs`, finds the rest.
"""

import doctest
import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest
from test_tree import FLOORS

from vaesurface import plot

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
BUILT = DOCS / "_build"
PAGES = sorted(path for path in DOCS.rglob("*.md") if BUILT not in path.parents)
NOTEBOOKS = [path for path in PAGES if "\nkernelspec:\n" in path.read_text()]
# Rooms with a page: those of the floors over the cellar, up to what the command line does.
ROOMS = {room for floor in FLOORS[1:-2] for room in floor} - {"marks"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]+`", re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def names():
    """How the builder reads what a name is for, which needs nothing but the package."""
    sys.path.insert(0, str(DOCS / "builder"))
    try:
        yield importlib.import_module("names")
    finally:
        sys.path.remove(str(DOCS / "builder"))


def toctree(page):
    """The pages that a page's tables of contents list."""
    for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.DOTALL):
        for entry in re.findall(r"^[^:\s].*$", block, re.MULTILINE):
            yield (page.parent / entry).with_suffix(".md")


def anchors(page):
    """What links may name on a page: its headings, as they are shortened, and labels."""
    text = page.read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}
    return slugs | set(re.findall(r"^\(([\w-]+)\)=$", text, re.MULTILINE))


def test_every_page_has_one_place_in_the_contents():
    listed = [entry.resolve() for page in PAGES for entry in toctree(page)]
    assert sorted(listed) == sorted(path for path in PAGES if path != DOCS / "index.md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_links_lead_somewhere(page):
    for link in LINK.findall(CODE.sub("", page.read_text())):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_file(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", NOTEBOOKS, ids=lambda page: page.stem)
def test_no_notebook_decides_whether_it_is_executed(page):
    """`scripts/docs` does: a page that switches it off would stay without what it prints."""
    head = page.read_text().split("\n---\n")[0]
    assert "execution_mode" not in head


def test_every_module_of_the_api_has_a_page(names):
    pages = {path.stem: names.modules_of(path.read_text()) for path in (DOCS / "api").glob("*.md")}
    assert pages.pop("index") == []
    assert pages.keys() == ROOMS
    for room, modules in pages.items():
        assert modules[0] == room and all(m.startswith(f"{room}.") for m in modules[1:])


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_every_name_says_in_a_line_what_it_is_for(room, names):
    for module in names.modules_of((DOCS / "api" / f"{room}.md").read_text()):
        place = importlib.import_module(f"vaesurface.{module}")
        for name in place.__all__:
            line = names.line_of(name, getattr(place, name))
            assert 3 < len(line) < 400 and line[-1] in ".:)!?", f"{module}.{name}: {line}"


def test_every_figure_is_in_the_gallery():
    sections = dict(
        re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", text_of("gallery"), re.DOTALL | re.MULTILINE)
    )
    functions = {name for name in plot.__all__ if inspect.isfunction(getattr(plot, name))}
    assert sections.keys() == functions
    for name, section in sections.items():
        assert re.search(rf"\bplot\.{name}\(", section), name
    for name in set(plot.__all__) - functions:
        assert name in text_of("gallery"), name


def text_of(page):
    return (DOCS / f"{page}.md").read_text()


@pytest.mark.parametrize("page", ["start", "commands"])
def test_sections_that_are_taken_from_the_readme_are_there(page):
    taken = re.compile(r'^:(?:start-after|end-before): "(.+)"$', re.MULTILINE)
    for heading in taken.findall(text_of(page)):
        assert (ROOT / "README.md").read_text().count(f"\n{heading}\n") == 1, heading


def test_the_environment_is_pinned():
    lines = (ROOT / "scripts/docs.txt").read_text().splitlines()
    assert all(re.fullmatch(r"#.*|[a-z0-9-]+==[\w.]+", line) for line in lines)


def test_the_builder_does_what_it_says(names):
    for name in ("docstrings", "names", "verbs"):
        module = importlib.import_module(name)
        assert doctest.testmod(module).attempted and not doctest.testmod(module).failed
