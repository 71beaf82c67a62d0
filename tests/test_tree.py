"""The tree keeps its promises: who imports whom, and that the README prints what it says."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pages
import pytest

from vaesurface import moved

ROOT = Path(__file__).parent.parent
# Floors, lowest first: room -> the rooms that it imports. Nobody imports from its own floor or
# above.
FLOORS: tuple[dict[str, str], ...] = (
    {
        "blocks": "",
        "files": "",
        "late": "",
        "moved": "",
        "provenance": "",
        "quick": "",
        "refusal": "",
        "shards": "",
    },
    {"glance": "refusal"},
    {
        "data": "files refusal",
        "energy": "glance moved",
        "marks": "",
        "problem": "blocks glance moved quick refusal shards",
    },
    {
        "activations": "energy problem refusal",
        "curvature": "glance problem refusal",
        "optimize": "glance problem",
        "plot": "marks moved refusal",
        "report": "files marks moved refusal",
        "store": "data files marks provenance refusal",
        "theory": "data energy glance late moved problem refusal",
    },
    {
        "bordered": "curvature glance problem shards",
        "sweep": "files moved problem provenance refusal store",
        "vae": "activations data energy glance moved problem refusal shards theory",
    },
    {
        "landscape": "bordered curvature glance problem refusal",
        "proof": "activations data energy files glance problem refusal vae",
        "stationary": "bordered curvature glance optimize problem refusal shards",
    },
    {
        "diagnose": "data energy glance late moved optimize problem refusal stationary theory vae",
        "paths": "curvature data energy glance optimize problem refusal stationary theory vae",
    },
    {
        "monitor": "data diagnose files plot refusal report",
        "traps": "data diagnose glance optimize paths problem refusal stationary theory vae",
    },
    {
        "cure": "diagnose energy problem refusal store sweep theory traps vae",
    },
    {
        "experiments": "activations cure curvature data diagnose energy files landscape marks "
        "optimize paths plot problem proof refusal report stationary store sweep theory traps vae"
    },
    {
        "cli": "data diagnose experiments files monitor optimize plot proof provenance refusal "
        "report stationary store sweep theory vae"
    },
)
MAY_IMPORT = {room: imports.split() for floor in FLOORS for room, imports in floor.items()}
# Imports inside functions, of what is heavy and not always needed: third parties, or in the command
# line, whose --help answers at once. Three of the package's own: verifying needs no JAX, proving
# does; keeping results needs no xarray, reading them does; measuring a decoder needs no
# JAX, finding better ones does.
LIGHT = {("proof", "activations"), ("proof", "vae"), ("store", "store"), ("diagnose", "diagnose")}


@pytest.mark.parametrize("module", ["diagnose", "monitor", "theory"])
def test_what_stands_beside_other_frameworks_loads_no_jax(module):
    program = f"import sys, vaesurface.{module}; print('jax' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "False"


def sources(room):
    """The files of a room: one, or those of its folder."""
    path = ROOT / "vaesurface" / room
    return sorted(path.glob("*.py")) or [path.with_suffix(".py")]


def imported(path):
    """Rooms of the package that a file imports, anywhere in it."""
    return imported_by(ast.parse(path.read_text()))


def imported_by(tree):
    """The same of a part of a file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "vaesurface":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vaesurface."):
            yield node.module.split(".")[1]


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_no_more_than_they_may(room):
    used = {name for path in sources(room) for name in imported(path)}
    assert used - {room} == set(MAY_IMPORT[room])


def test_nobody_imports_from_its_own_floor_or_above():
    for height, floor in enumerate(FLOORS):
        below = {room for lower in FLOORS[:height] for room in lower}
        for room, imports in floor.items():
            assert set(imports.split()) <= below, room


def test_every_room_is_in_the_table():
    package = ROOT / "vaesurface"
    rooms = {path.stem for path in package.glob("*.py")} - {"__init__", "__main__"}
    rooms |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert rooms == MAY_IMPORT.keys()


def test_no_circle_is_dodged_by_an_import_inside_a_function():
    inside = {
        (room, name)
        for room in MAY_IMPORT.keys() - {"cli"}
        for path in sources(room)
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for name in imported_by(function)
    }
    assert inside == LIGHT


@pytest.mark.parametrize("path", sorted((ROOT / "vaesurface").rglob("*.py")), ids=str)
def test_every_module_says_what_it_offers(path):
    """`__all__`, and nothing in it that is not there."""
    names, offered = set(), None
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            offered = set(ast.literal_eval(node.value))
    if offered is None:
        assert path.parent.name in ("vaesurface", "experiments", "cli")
    else:
        assert offered <= names


@pytest.mark.parametrize(("old", "new"), moved.MODULES.items())
def test_old_modules_lead_to_the_new_ones_with_a_warning(old, new):
    places = [importlib.import_module(f"vaesurface.{place}") for place in new.split()]
    sys.modules.pop(f"vaesurface.{old}", None)
    with pytest.warns(DeprecationWarning, match=f"vaesurface.{old} is now vaesurface."):
        there = importlib.import_module(f"vaesurface.{old}")
    for place in places:
        names = [name for name in place.__all__ if name in vars(place)]
        assert all(hasattr(there, name) for name in names), place
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = there.nonsense


@pytest.mark.parametrize(("module", "name"), moved.NAMES)
def test_old_names_lead_to_the_new_ones_with_a_warning(module, name):
    place, _, new = moved.NAMES[module, name].rpartition(".")
    with pytest.warns(DeprecationWarning, match=f"vaesurface.{module}.{name} is now"):
        old = getattr(importlib.import_module(f"vaesurface.{module}"), name)
    assert old is getattr(importlib.import_module(f"vaesurface.{place}"), new)
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = importlib.import_module(f"vaesurface.{module}").nonsense


@pytest.mark.parametrize(
    ("page", "count"),
    [
        ("README.md", 4),
        ("docs/results.md", 2),
        pytest.param("CONTRIBUTING.md", 1, marks=pytest.mark.slow),
    ],
)
def test_pages_print_what_they_say(page, count):
    told = pages.answers(ROOT / page)
    assert len(told) == count
    for printed, promised in told:
        assert printed.split() == promised.split()
