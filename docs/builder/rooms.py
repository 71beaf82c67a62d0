"""The pages of the API: for each module what it is for, what each name is for, and all of it.

In a page of docs/api, a fence

    ```{room} paths paths.graph
    ```

stands for these modules of the package, in that order. What is written there comes from the
docstrings; signatures are as the source has them. A fence {verbs} stands for the command line.
"""

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from enum import Enum
from functools import cache
from typing import Any

import docstrings
import verbs
from docutils import nodes
from names import FENCE, LINES, line_of, modules_of
from sphinx.application import Sphinx
from sphinx.util import logging

from vaesurface import plot

__all__ = ["setup"]

PACKAGE = "vaesurface"
logger = logging.getLogger(__name__)


def setup(app: Sphinx) -> dict:
    app.connect("source-read", _expand)
    app.connect("autodoc-process-docstring", _translate)
    app.connect("autodoc-process-signature", _sign)
    app.connect("autodoc-skip-member", _skip)
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _expand(app: Sphinx, page: str, source: list[str]) -> None:
    """Puts what the fences stand for in their places."""
    source[0] = FENCE.sub(lambda fence: "\n".join(_written(fence[1].split())), source[0])
    source[0] = verbs.FENCE.sub(lambda fence: "\n".join(verbs.written()), source[0])


def _written(modules: list[str]) -> Iterator[str]:
    for place, name in enumerate(modules):
        module = importlib.import_module(f"{PACKAGE}.{name}")
        if place:
            yield f"## {name}\n"
        yield from _directive("automodule", module.__name__)
        yield from ["| name | what it is for |", "|---|---|"]
        for member in module.__all__:
            told = docstrings.cell(line_of(member, getattr(module, member)))
            yield f"| {{py:obj}}`{member} <{module.__name__}.{member}>` | {told} |"
        yield ""
        for member in module.__all__:
            yield from _documented(f"{module.__name__}.{member}", getattr(module, member))


def _documented(path: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        options = ["members"] + ["undoc-members"] * issubclass(value, Enum)
        yield from _directive("autoclass", path, *options)
    elif inspect.isroutine(value):
        yield from _directive("autofunction", path)
    else:
        module, _, name = path.rpartition(".")
        yield from ["```{eval-rst}", f".. py:data:: {name}", f"   :module: {module}", ""]
        yield from [f"   {text}" for text in docstrings.restructured([LINES[name]], {})]
        yield from ["```", ""]


def _directive(kind: str, path: str, *options: str) -> list[str]:
    asked = [f"   :{option}:" for option in options]
    return ["```{eval-rst}", f".. {kind}:: {path}", *asked, "```", ""]


def _translate(app, what, name, value, options, lines: list[str]) -> None:
    lines[:] = docstrings.restructured(lines, _targets(app.srcdir, name), _arguments(value))


def _arguments(value: Any) -> list[str]:
    """The names of what a function or a class takes, as far as it says so."""
    try:
        return list(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return []


@cache
def _places(folder) -> dict[str, str]:
    """Where each name that has a page is documented, by its path in the package."""
    places = {}
    for page in sorted((folder / "api").glob("*.md")):
        for module in modules_of(page.read_text()):
            names = importlib.import_module(f"{PACKAGE}.{module}").__all__
            places |= {f"{module}.{name}": f"{PACKAGE}.{module}.{name}" for name in names}
    return places


def _targets(folder, name: str) -> dict[str, str]:
    """What a docstring of that name may mean: what is beside it, and paths from the package on."""
    places = _places(folder)
    inside = name.split(".")[1:]
    beside = {
        path.rpartition(".")[2]: place
        for path, place in places.items()
        if inside and path.rpartition(".")[0] == ".".join(inside[: path.count(".")])
    }
    own = inside[-1] if inside else ""
    return {short: place for short, place in (places | beside).items() if short != own}


def _sign(app, what, name, value, options, signature, returned):
    """The signature as the source has it, for aliases of types would be written out."""
    if not (inspect.isfunction(value) or inspect.isclass(value)):
        return None
    try:
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return None
    if isinstance(tree, ast.ClassDef):
        return _fields(tree), None
    if not isinstance(tree, ast.FunctionDef):
        return None
    arguments = tree.args
    _put_values(arguments, inspect.signature(value))
    if what == "method" and arguments.args and arguments.args[0].arg in ("self", "cls"):
        del arguments.args[0]
    returns = ast.unparse(tree.returns) if tree.returns else None
    return f"({ast.unparse(arguments)})", returns


def _put_values(arguments: ast.arguments, signature: inspect.Signature) -> None:
    """Defaults that are numbers and texts in place of their names."""
    ordered = [*arguments.posonlyargs, *arguments.args]
    first = len(ordered) - len(arguments.defaults)
    for defaults, named in (
        (arguments.defaults, ordered[first:]),
        (arguments.kw_defaults, arguments.kwonlyargs),
    ):
        for place, argument in enumerate(named):
            value = signature.parameters[argument.arg].default
            if isinstance(value, str | int | float) and not isinstance(value, Enum):
                defaults[place] = ast.Constant(value)


def _fields(tree: ast.ClassDef) -> str | None:
    """Of a class its fields, or what `__init__` takes."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            del node.args.args[0]
            return f"({ast.unparse(node.args)})"
    fields = [ast.unparse(node) for node in tree.body if isinstance(node, ast.AnnAssign)]
    return f"({', '.join(fields)})" if fields else None


def _skip(app, what, name, value, skip, options):
    """Fields of a NamedTuple are told in its docstring."""
    return True if type(value).__name__ == "_tuplegetter" else None


def _check(app: Sphinx, environment) -> None:
    """Every name that a page promises has its place there, every function that draws a figure."""
    drawn = len(list(environment.get_doctree("gallery").findall(nodes.image)))
    functions = sum(inspect.isfunction(getattr(plot, name)) for name in plot.__all__)
    if app.config.nb_execution_mode != "off" and drawn < functions:
        logger.warning("expected %s figures in the gallery, got %s", functions, drawn)
    objects = environment.domains["py"].data["objects"]
    for place in _places(app.srcdir).values():
        if place not in objects:
            logger.warning("expected %s on a page of the API, got none", place)
