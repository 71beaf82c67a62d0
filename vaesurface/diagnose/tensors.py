"""How is a function of PyTorch's called so that training goes on as if it had not been?

Without gradients, with all its modules in eval mode and back in their own, and with the random
state left as it was found. PyTorch is looked for among the modules that are loaded, and never
imported: where it is not, nothing here does anything.

>>> is_tensor([1.0, 2.0]), modules(len)
(False, [])
"""

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np

__all__ = ["is_of_a_module", "is_tensor", "like", "modules", "moved", "tensor", "undisturbed"]

DEPTH = 4  # of functions that call functions that hold modules
HELD = 1000  # things in a container that is looked through: networks are few, data are many


def is_tensor(value: Any) -> bool:
    """Whether it is one of PyTorch's."""
    torch = _torch()
    return torch is not None and isinstance(value, torch.Tensor)


def is_of_a_module(function: Any) -> bool:
    """Whether it is a module, or a method of one: takes tensors, whatever else it does."""
    return any(_is_module(owner) for owner in (function, getattr(function, "__self__", None)))


def modules(function: Any) -> list[Any]:
    """PyTorch's modules that a function is, is a method of, or refers to, each once: through its
    closure, its globals, a partial's arguments, attributes of the object it is a method of, and
    containers and objects there.
    """
    if _torch() is None:
        return []
    found: dict[int, Any] = {}
    _collect(function, found, set(), DEPTH)
    return list(found.values())


def tensor(rows: np.ndarray, owners: list[Any]) -> Any:
    """Rows as a tensor, as modules take them: on their device, in their floating type."""
    torch = _torch()
    assert torch is not None, "asked for where there are modules"
    return moved(torch.as_tensor(np.ascontiguousarray(rows)), owners)


def moved(rows: Any, owners: list[Any]) -> Any:
    """A tensor on the device of modules and, where it is of a floating type, in theirs."""
    for weight in _floating(owners):
        return rows.to(weight.device, weight.dtype if rows.is_floating_point() else rows.dtype)
    return rows


def like(rows: np.ndarray, example: Any) -> Any:
    """Rows as a tensor of the type and on the device of another."""
    torch = _torch()
    assert torch is not None, "asked for where there is a tensor"
    kind = example.dtype if example.is_floating_point() else torch.get_default_dtype()
    return torch.as_tensor(rows, dtype=kind, device=example.device)


@contextmanager
def undisturbed(owners: list[Any], *values: Any) -> Iterator[None]:
    """Modules answer, for as long as the context lasts, as in use; then all is as it was before,
    whatever was raised.

    values: tensors whose devices' random states are kept, beside those of the modules.

    Gradients are off by `no_grad`, not by `inference_mode`: what a module keeps from a call (a
    cached mask) would be refused by the next training step.
    """
    torch = _torch()
    if torch is None:
        yield
        return
    devices = {weight.device for weight in _weights(owners)}
    devices |= {value.device for value in values if is_tensor(value)}
    with ExitStack() as stack:
        stack.enter_context(_same_random_state(torch, devices))
        stack.enter_context(_in_use(owners))
        # Under autocast a weight is cast once, and that without a gradient, unless it is forgotten.
        stack.callback(torch.clear_autocast_cache)
        stack.enter_context(torch.no_grad())
        yield


@contextmanager
def _in_use(owners: list[Any]) -> Iterator[None]:
    """All parts in eval mode. By their flags: `train` may be a method of the user's that does more
    than to set them, and what it was told cannot be asked for.
    """
    parts = {id(part): part for owner in owners for part in owner.modules()}.values()
    before = [(part, part.training) for part in parts]
    try:
        for part, _ in before:
            part.training = False
        yield
    finally:
        for part, training in before:
            part.training = training


@contextmanager
def _same_random_state(torch: Any, devices: set[Any]) -> Iterator[None]:
    """Random numbers drawn within are not missing afterwards."""
    keep = [(torch.set_rng_state, torch.get_rng_state())]
    for device in devices:
        if device.type in ("cuda", "xpu"):
            of_kind = getattr(torch, device.type)
            state = of_kind.get_rng_state(device)
            keep.append((partial(of_kind.set_rng_state, device=device), state))
        elif device.type == "mps":
            keep.append((torch.mps.set_rng_state, torch.mps.get_rng_state()))
    try:
        yield
    finally:
        for restore, state in keep:
            restore(state)


def _torch() -> Any | None:
    """PyTorch, where it is loaded (and wholly so)."""
    torch = sys.modules.get("torch")
    return torch if hasattr(torch, "nn") and hasattr(torch, "Tensor") else None


def _is_module(value: Any) -> bool:
    torch = _torch()
    return torch is not None and isinstance(value, torch.nn.Module)


def _weights(owners: list[Any]) -> Iterator[Any]:
    for owner in owners:
        yield from owner.parameters()
        yield from owner.buffers()


def _floating(owners: list[Any]) -> Iterator[Any]:
    return (weight for weight in _weights(owners) if weight.is_floating_point())


def _collect(value: Any, found: dict[int, Any], seen: set[int], depth: int) -> None:
    """Add the modules in sight of a value."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if _is_module(value):
        found[id(value)] = value
        return
    if not depth or inspect.isclass(value) or inspect.ismodule(value):
        return
    for part in _referred(value) if callable(value) else _held(value):
        _collect(part, found, seen, depth - 1)


def _held(value: Any) -> Iterator[Any]:
    """What a container holds, if it is no large one, or an object in its attributes."""
    if isinstance(value, Mapping):
        yield from value.values() if len(value) <= HELD else ()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value if len(value) <= HELD else ()
    else:
        attributes = getattr(value, "__dict__", {})
        yield from attributes.values() if len(attributes) <= HELD else ()


def _referred(function: Callable) -> Iterator[Any]:
    """What a callable holds or refers to."""
    if isinstance(function, partial):
        yield from (function.func, *function.args, *function.keywords.values())
        return
    owner = getattr(function, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):
        yield owner
        yield from getattr(owner, "__dict__", {}).values()
    inner = getattr(function, "__func__", function)
    if inspect.isfunction(inner):
        yield from _variables(inner)
    else:
        yield from getattr(function, "__dict__", {}).values()


def _variables(function: Callable) -> Iterator[Any]:
    """Values of a function's closure, of the globals it names, and of its defaults."""
    try:
        names = inspect.getclosurevars(function)
    except (TypeError, ValueError):  # a variable that has no value yet
        return
    yield from names.nonlocals.values()
    yield from names.globals.values()
    yield from getattr(function, "__defaults__", None) or ()
