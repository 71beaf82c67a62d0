"""The tutorials of docs/tutorials: they read as promised, name what exists, and do what they say.

Slow: the code of those that need no other framework, in a process each.
"""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs/tutorials").glob("*.md"))
KEPT = ROOT / "docs/tutorials/collapsed_vae.ipynb"  # executed where PyTorch is
HERE = [page for page in PAGES if page.stem != KEPT.stem]
CELL = re.compile(r"^```\{code-cell\} ipython3\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def cells(page):
    """The code of a page, a string for each cell, without the options of the cell."""
    found = CELL.findall(page.read_text())
    return [re.sub(r"\A(:.*\n)+\n?", "", cell).strip() for cell in found]


def imported(tree):
    """Names that a page imports from the package: what each stands for."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "vaesurface":
            for alias in node.names:
                yield alias.asname or alias.name, node.module, alias.name


def found(module, name):
    """What `from module import name` gives."""
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        return importlib.import_module(f"{module}.{name}")


def test_there_are_five():
    names = {page.stem for page in PAGES}
    assert names >= {
        "collapsed_vae",
        "own_hessian",
        "own_sweep",
        "proposition41",
        "which_nonlinearity",
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_first_paragraph_says_what_for_and_how_long(page):
    _, _, text = page.read_text().split("---\n", 2)
    title, first = text.strip().split("\n\n")[:2]
    assert re.fullmatch(r"# \S.*", title)
    assert re.match(r"You will ", first)
    assert re.search(r"It takes about \d+ seconds on one core", first.replace("\n", " "))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_cells_are_python_and_the_last_one_asserts(page):
    trees = [ast.parse(cell) for cell in cells(page)]
    assert len(trees) > 5
    asserts = [any(isinstance(node, ast.Assert) for node in ast.walk(tree)) for tree in trees]
    assert asserts == [False] * (len(trees) - 1) + [True]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_names_of_the_package_exist(page):
    tree = ast.parse("\n".join(cells(page)))
    values = {name: found(module, of) for name, module, of in imported(tree)}
    assert values
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = values.get(node.value.id, sys)
            if isinstance(owner, type(sys)) and owner is not sys:
                assert hasattr(owner, node.attr), f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert links and all((page.parent / link).exists() for link in links)


def test_what_is_kept_is_the_page_executed():
    notebook = json.loads(KEPT.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert ["".join(cell["source"]) for cell in code] == cells(KEPT.with_suffix(".md"))
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    kinds = {output["output_type"] for output in outputs}
    assert kinds <= {"stream", "display_data", "execute_result"}  # and no error
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 2


@pytest.mark.slow
@pytest.mark.parametrize("page", HERE, ids=lambda page: page.stem)
def test_cells_run(page, tmp_path):
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n".join(cells(page)))
    settings = {"MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    ran = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
