"""The version is written in one place, and everything else that names one names the same."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import vaesurface as package
from vaesurface import moved

ROOT = Path(__file__).parent.parent
FLAGS = re.DOTALL | re.MULTILINE


def test_the_command_line_tells_the_version(vaesurface):
    assert vaesurface("--version") == (0, f"vaesurface {package.__version__}\n", "")


def test_what_is_built_has_the_version():
    built = subprocess.run(
        [sys.executable, "-m", "hatchling", "version"], cwd=ROOT, capture_output=True, text=True
    )
    assert built.stdout.strip() == package.__version__, built.stderr


def test_citation_and_changelog_have_the_version():
    cited = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert cited == [package.__version__]
    changes = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert changes[0] == package.__version__


def test_changelog_tells_what_moved():
    told = (ROOT / "CHANGELOG.md").read_text().splitlines()
    names = {f"{module}.{name}": new for (module, name), new in moved.NAMES.items()}
    for old, new in {**moved.MODULES, **names}.items():
        places = ", ".join(f"`vaesurface.{place}`" for place in new.split())
        assert f"| `vaesurface.{old}` | {places} |" in told


def test_metadata_name_the_supported_pythons():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    least, beyond = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", project["requires-python"]).groups()
    named = [line for line in project["classifiers"] if ":: 3." in line]
    assert named == [
        f"Programming Language :: Python :: 3.{minor}" for minor in range(int(least), int(beyond))
    ]


@pytest.mark.parametrize(("knows", "set_to"), [("true", 2), ("false", 1)])
def test_scripts_set_the_flags_that_jaxlib_knows(tmp_path, knows, set_to):
    """With an interpreter whose jaxlib aborts on flags that it does not know, and one that does
    not.
    """
    naming = [path.name for path in (ROOT / "scripts").glob("*") if _names_flags(path)]
    assert naming == ["env"]
    python = tmp_path / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        f"#!/bin/sh\n[ $XLA_FLAGS = --xla_cpu_use_fusion_emitters=false ] && {knows}\n"
    )
    python.chmod(0o755)
    function = re.search(r"^compile_quickly\(\).*?^}$", (ROOT / "scripts/env").read_text(), FLAGS)
    program = f"set -eu; root=$1\n{function[0]}\ncompile_quickly; echo $XLA_FLAGS"
    environment = {"PATH": os.environ["PATH"], "XLA_FLAGS": "--xla_own=1"}
    ran = subprocess.run(
        ["bash", "-c", program, "bash", tmp_path], env=environment, capture_output=True, text=True
    )
    told = ["--xla_own=1", "--xla_backend_optimization_level=0"]
    assert ran.stdout.split()[:2] == told, ran.stderr
    assert len(ran.stdout.split()) == 1 + set_to


def _names_flags(path):
    return path.is_file() and "xla_cpu_use_fusion_emitters" in path.read_text()
