"""Where did a module or a name go?

What moved keeps working under its old name for one release, with a DeprecationWarning that says
where it is now; so do arguments of functions.

>>> import warnings
>>> with warnings.catch_warnings():
...     warnings.simplefilter("ignore")
...     from vaesurface.tally import distinct
>>> distinct.__module__
'vaesurface.stationary.tally'
"""

import importlib
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["MODULES", "NAMES", "arguments", "install", "names"]

# To where its names are now.
MODULES = {
    "architecture": "vae.architecture",
    "balls": "proof.balls proof.enclosure",
    "band": "paths.band paths.chain",
    "basin": "paths.basin paths.flows",
    "continuation": "paths.branch paths.events paths.switching",
    "corrector": "paths.corrector",
    "deep": "vae.network",
    "diagnose.words": "diagnose.verdict",
    "experiments.depth": "experiments.fig1 experiments.trained",
    "losses": "energy",
    "moments": "energy",
    "network": "paths.graph paths.exploring",
    "plot.depth": "plot.sweeps plot.shares",
    "plot.slices": "plot.lines plot.planes",
    "probe": "stationary.probe",
    "rows": "theory.rows",
    "second_order": "stationary.model",
    "tally": "stationary.tally",
    "thresholding": "theory.thresholds theory.encoders",
    "train": "vae.train",
    "verdict": "stationary.verdict",
}
# Of modules that are still there: (module, name) to where the name is now.
NAMES = {
    ("energy", "quadrature"): "activations.quadrature",
    ("plot", "KINDS"): "marks.KINDS",
    ("problem", "VAEParams"): "energy.VAEParams",
    ("report", "MARKERS"): "marks.KINDS",
    ("report", "UNIT"): "marks.UNIT",
    ("sweep", "identities"): "store.identities",
    ("theory", "is_trivial"): "theory.collapse.is_trivial",
    ("vae", "soft_threshold"): "energy.threshold",
    ("vae.network", "sampled"): "vae.sampled_loss",
}
PACKAGE = "vaesurface."


class _Finder:
    """Finds and loads old modules: empty ones that ask the new module for every name. By duck
    typing: importing `importlib.abc` takes as long as Python's start.
    """

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Of an old module, None for all others."""
        if not fullname.startswith(PACKAGE) or fullname[len(PACKAGE) :] not in MODULES:
            return None
        return ModuleSpec(fullname, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> None:
        """The usual kind of module."""

    def exec_module(self, module: ModuleType) -> None:
        """Warns, and leads every name on to where it is now."""
        new = [PACKAGE + place for place in MODULES[module.__name__[len(PACKAGE) :]].split()]
        _warn(module.__name__, " and ".join(new))

        def find(name: str) -> Any:
            if name == "__all__":
                return [n for place in new for n in importlib.import_module(place).__all__]
            for place in map(importlib.import_module, new):
                if hasattr(place, name):
                    return getattr(place, name)
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        module.__getattr__ = find  # type: ignore[method-assign]


def install() -> None:
    """Make old modules importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def names(module: str) -> Callable[[str], Any]:
    """`__getattr__` of a module (its `__name__`) that some names have left."""

    def find(name: str) -> Any:
        new = NAMES.get((module.removeprefix(PACKAGE), name))
        if new is None:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", PACKAGE + new)
        place, _, attribute = new.rpartition(".")
        return getattr(importlib.import_module(PACKAGE + place), attribute)

    return find


def arguments(**renamed: str) -> Callable[[Callable], Callable]:
    """Let a function take arguments by their old names too: old="new"."""

    def decorated(function: Callable) -> Callable:
        @wraps(function)
        def taking(*args: Any, **options: Any) -> Any:
            for old in renamed.keys() & options.keys():
                new, called = renamed[old], f"{function.__name__}()"
                if new in options:
                    raise TypeError(f"expected {new} of {called} alone, got {old} too; drop {old}")
                _warn(f"{old} of {called}", new)
                options[new] = options.pop(old)
            return function(*args, **options)

        return taking

    return decorated


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} is now {new}; the old name goes with the next release",
        DeprecationWarning,
        stacklevel=3,
    )
