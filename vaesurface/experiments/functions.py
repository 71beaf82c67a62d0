"""What does a function of the user's give over a grid of its arguments?

Any JAX function that is named by module and name, into a store; the CLI's `sweep --function`.

>>> what = asked("jax.scipy.stats.expon:logpdf", {"x": [1.0, 2.0]}, {"scale": 1.0}, None)
>>> float(what.cell(x=2.0)), what.settings
(-2.0, {'function': 'jax.scipy.stats.expon:logpdf', 'scale': 1.0})
"""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vaesurface import store, sweep
from vaesurface.experiments import imported
from vaesurface.experiments.starts import Asked
from vaesurface.refusal import complaint

__all__ = ["asked", "carry", "compute", "table", "takes"]

DATA = "X"  # what an argument is called that gets the data
RESERVED = {*inspect.signature(sweep.fill).parameters} - {"axes"}


def asked(
    function: str, axes: Mapping[str, Sequence[Any]], fixed: Mapping[str, Any], X: np.ndarray | None
) -> Asked:
    """A sweep of a function over axes, other arguments fixed; X: for its argument X, if it has one.

    Raises ValueError for arguments that do not fit, and where it cannot be traced.
    """
    called = imported.function(function)
    given = {**axes, **fixed, **({} if X is None else {DATA: X})}
    _require_fit(function, called, given)
    parsed = {name: axis.values for name, axis in store.canonical(axes).items()}
    cell = partial(called, **fixed, **({} if X is None else {DATA: X}))
    _require_traceable(function, cell, parsed)
    return Asked(X, {"function": function, **fixed}, cell, parsed)


def carry(what: Asked) -> None:
    """Let the module of a function travel with it to workers that do not have it."""
    imported.carry(what.settings["function"])


def takes(function: str) -> Collection[str]:
    """Names of a function's arguments."""
    return list(inspect.signature(imported.function(function)).parameters)


def compute(
    what: Asked,
    out: Path,
    *,
    executor: Any = None,
    progress: Any = None,
    keep: Collection[str] | None = None,
    shard: tuple[int, int] = (1, 1),
    batch_size: int | None = None,
) -> Any:
    """The results, labelled, of which a store at `out` keeps what has run.

    keep: names of results, or "all"; else as for `starts.compute`.
    """
    if keep is not None and "all" in keep:
        cell = {name: jax.ShapeDtypeStruct((), v.dtype) for name, v in what.axes.items()}
        keep = list(store.named(jax.eval_shape(what.cell, **cell), what.axes))
    axes: dict[str, Any] = dict(what.axes)
    sweep.fill(
        what.cell,
        store=store.create(out, what.X, **what.settings),
        executor=executor or sweep.threads,
        progress=progress,
        keep=keep,
        shard=shard,
        batch_size=batch_size,
        **axes,
    )
    return store.open(out).sel({name: np.sort(values) for name, values in what.axes.items()})


def table(ds: Any) -> str:
    """Each number of the results over the cells that are there, a line each; of arrays the
    shapes.
    """
    there = ds.computed.values
    lines = [f"{'result':24} {'least':>12} {'median':>12} {'most':>12} {'not finite':>10}"]
    for name, values in ds.data_vars.items():
        if name in ("computed", "label"):
            continue
        if shape := values.shape[there.ndim :]:
            lines.append(f"{name:24} {values.dtype} of shape {shape}")
            continue
        column = values.values[there].astype(complex if values.dtype.kind == "c" else float)
        finite = column[np.isfinite(column)]
        if finite.dtype.kind == "c" or not len(finite):
            lines.append(f"{name:24} {values.dtype}, {len(finite)} of {len(column)} finite")
            continue
        least, median, most = np.quantile(finite, [0.0, 0.5, 1.0])
        odd = len(column) - len(finite)
        lines.append(f"{name:24} {least:12.6g} {median:12.6g} {most:12.6g} {odd:10d}")
    return "\n".join(lines)


def _require_fit(function: str, called: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Refuse arguments that the function does not have, and where it lacks some."""
    if reserved := sorted(RESERVED & given.keys()):
        remedy = "rename it in a function around yours"
        raise complaint(f"arguments other than {', '.join(sorted(RESERVED))}", reserved[0], remedy)
    try:
        inspect.signature(called).bind(**given)
    except TypeError as error:
        remedy = "name them with --axis, --each and --set; X gets the data"
        got = str(error).removeprefix("got ")
        raise complaint(f"the arguments of {function}", got, remedy) from error
    except ValueError:  # of something that has no signature
        return


def _require_traceable(function: str, cell: Callable[..., Any], axes: Mapping[str, Any]) -> None:
    """Refuse a function that fails when JAX traces it, before anything is written."""
    shapes = {name: jax.ShapeDtypeStruct((), values.dtype) for name, values in axes.items()}
    expected = f"{function} to run under jax.jit over {', '.join(axes)}"
    try:
        jax.eval_shape(cell, **shapes)
    except jax.errors.JAXTypeError as error:
        remedy = "give arguments that sizes or branches depend on with --each instead of --axis"
        raise complaint(expected, imported.reason(error), remedy) from error
    except Exception as error:  # whatever somebody's function raises
        remedy = "mend it; what sizes depend on goes with --each instead of --axis"
        raise complaint(expected, imported.reason(error), remedy) from error
