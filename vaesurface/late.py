"""Which names of a package are loaded only once somebody asks for them? Those that need JAX.

Beside another framework JAX takes most of a GPU's memory, and its import takes a second: what does
without it, a diagnosis of arrays or a monitor, has to be importable without it.
"""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["names"]


def names(
    package: str, modules: Mapping[str, str], otherwise: Callable[[str], Any] | None = None
) -> Callable[[str], Any]:
    """`__getattr__` of a package (its `__name__`): its modules by name, and what they hold of it
    as words.

    otherwise: asked for all other names.
    """
    homes = {name: module for module, held in modules.items() for name in held.split()}

    def find(name: str) -> Any:
        if name in homes:
            return getattr(importlib.import_module(f"{package}.{homes[name]}"), name)
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if otherwise is not None:
            return otherwise(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
