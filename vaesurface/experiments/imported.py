"""Where is a function that the user names as MODULE:FUNCTION?

>>> function("math:cos")(0.0)
1.0
"""

import importlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle

from vaesurface.refusal import complaint

__all__ = ["carry", "function", "reason"]


def function(name: str) -> Callable[..., Any]:
    """A function by its module, which may be in the current directory, and its name.

    Raises ValueError where there is none.
    """
    module, _, called = name.partition(":")
    expected, remedy = "a function as MODULE:FUNCTION", "write it as it is imported"
    if not (module and all(part.isidentifier() for part in (*module.split("."), called))):
        raise complaint(expected, repr(name), remedy)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found = getattr(importlib.import_module(module), called)
    except Exception as error:  # whatever the module does when it is imported
        raise complaint(expected, f"{name} ({reason(error)})", remedy) from error
    if not callable(found):
        raise complaint(expected, f"{name}, a {type(found).__name__}", remedy)
    return found


def carry(name: str) -> None:
    """Let the module of a function that was imported travel with it to workers that do not have
    it.
    """
    module = sys.modules[name.partition(":")[0]]
    here = Path(getattr(module, "__file__", None) or "/").resolve()
    if here.is_relative_to(Path.cwd().resolve()):
        cloudpickle.register_pickle_by_value(module)


def reason(error: Exception) -> str:
    """The kind of an error and the beginning of what it says."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
