"""The tree keeps its promises: who imports whom, and that the README prints what it says."""

import ast
import contextlib
import io
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "data": "",
    "moments": "",
    "losses": "",
    "problem": "",
    "rows": "moments problem",
    "theory": "moments problem thresholding",
    "thresholding": "losses problem",
    "vae": "data deep losses moments problem rows theory",
    "architecture": "problem",
    "deep": "architecture data losses problem",
    "train": "architecture data deep losses problem",
    "optimize": "problem",
    "curvature": "problem",
    "bordered": "curvature problem",
    "probe": "problem",
    "verdict": "curvature probe problem",
    "second_order": "bordered curvature problem",
    "stationary": "curvature optimize probe problem second_order verdict",
    "landscape": "bordered curvature problem",
    "band": "curvature problem second_order tally verdict",
    "corrector": "curvature problem second_order stationary",
    "continuation": "corrector problem stationary tally verdict",
    "paths": "band continuation curvature problem second_order stationary verdict",
    "basin": "optimize problem second_order stationary theory",
    "network": "problem tally verdict",
    "diagnose": "data optimize problem stationary theory",
    "balls": "",
    "proof": "balls data problem",
    "tally": "problem",
    # store inside a function: only a sweep that keeps its results needs it
    "sweep": "problem store",
    "store": "curvature data probe problem stationary sweep",
    "marks": "",
    "plot": "marks",
    "report": "marks",
}


def sources(module):
    """The files of a module: one, or those of its folder."""
    path = ROOT / "vaesurface" / module
    return sorted(path.glob("*.py")) or [path.with_suffix(".py")]


def imported(path):
    """Modules of the package that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == "vaesurface":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vaesurface."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("module", MAY_IMPORT)
def test_modules_import_no_more_than_they_may(module):
    found = {name for path in sources(module) for name in imported(path)}
    assert found <= {module, *MAY_IMPORT[module].split()}


def test_every_module_is_in_the_table_but_those_that_may_import_all():
    package = ROOT / "vaesurface"
    modules = {path.stem for path in package.glob("*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    assert modules == MAY_IMPORT.keys() | {"__init__", "cli", "experiments"}


def test_the_readme_prints_what_it_says():
    blocks = re.findall(
        r"```python\n(.*?)```\n\n((?: {4}[^\n]*\n)+)", (ROOT / "README.md").read_text(), re.DOTALL
    )
    assert len(blocks) == 4
    names: dict = {}
    for code, promised in blocks:
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code, names)
        assert said.getvalue().split() == promised.split()
