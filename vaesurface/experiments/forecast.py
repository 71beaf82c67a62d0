"""What will a sweep take: memory, time, room on disk?

Room is what the results' shapes say. Memory is estimated from the sizes of the data and of the
Hessian, time from the energy's gradient and an eigendecomposition, which alone are compiled and
timed; or from what a store that has begun tells. Nothing is written, and no cell is computed.

>>> small, large = (Sizes(rows=n, features=16, latent=2) for n in (100, 100_000))
>>> each(small) < 10e6 < each(large)
True
"""

import math
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import store, sweep
from vaesurface.experiments import starts
from vaesurface.experiments.starts import Asked
from vaesurface.refusal import complaint
from vaesurface.store import status

__all__ = ["COMPILING", "PROCESS", "Forecast", "Sizes", "each", "forecast", "memory"]

# Measured with jaxlib 0.10 on x86, 100 to 2000 rows, 16 to 196 features, 2 to 8 latents:
PROCESS = 1.3e9  # bytes of a process that has compiled a sweep of `stationary.find`
SMALL_PROCESS = 0.4e9  # and of one that has compiled something small
COMPILING = 60  # seconds, roughly
# Its program's arrays, as `memory_analysis` has them, up to a quarter: bytes, numbers for each row,
# arrays like X, and matrices of all parameters that the rows share.
OWN, ROW, DATA, MATRICES = 0.5e6, 900, 12, 10
# Steps of a refinement, and gradients that one of them costs beside the eigenvalues of such a
# matrix: right for most cells up to a factor of five.
NEWTON, GRADIENTS = 100, 50
LABEL = 200  # bytes of a verdict in words
TIMED = 0.3  # seconds for which gradients are timed


class Sizes(NamedTuple):
    """Of a problem."""

    rows: int
    features: int
    latent: int


class Forecast(NamedTuple):
    """What a sweep will take.

    cells: of its grid. there: of these, in the store already.
    process: bytes of memory that a process takes by itself. each: that a cell under way takes.
    bytes: on disk, of all cells.
    seconds: of one cell, by one worker; None: not known.
    why: where the seconds come from, in words.
    """

    cells: int
    there: int
    process: float
    each: float
    bytes: float
    seconds: float | None
    why: str


def forecast(what: Asked, out: Path, keep: Any = None) -> Forecast:
    """Of a sweep into a store at `out`. keep: as for `starts.compute`. Raises ValueError where that
    is the store of another.
    """
    if store.is_store(out):
        store.create(out, what.X, **what.settings)  # refuses that of another sweep
    cells = math.prod(len(values) for values in what.axes.values())
    process, one = memory(what)
    seconds, why = _seconds(what, out)
    return Forecast(
        cells=cells,
        there=status.present(out, what.axes),
        process=process,
        each=one,
        bytes=cells * _bytes(what, out, keep),
        seconds=seconds,
        why=why,
    )


def memory(what: Asked) -> tuple[float, float]:
    """Bytes that a process takes by itself, and for each cell under way."""
    if (sizes := _sizes(what)) is None:
        given = 0 if what.X is None else what.X.nbytes
        return SMALL_PROCESS + given, OWN + DATA * given
    return PROCESS + what.X.nbytes, each(sizes)


def each(sizes: Sizes) -> float:
    """Bytes of the program for one cell."""
    n, d, k = sizes
    shared = d * k + d + 1
    return OWN + 8 * n * (ROW + DATA * d) + 8 * MATRICES * shared**2


def _sizes(what: Asked) -> Sizes | None:
    """None of a function of the user's."""
    if "latent" not in what.settings or what.X is None:
        return None
    rows, features = what.X.shape
    return Sizes(rows, features, what.settings["latent"])


def _bytes(what: Asked, out: Path, keep: Any) -> float:
    """On disk, of one cell."""
    cell = {name: jax.ShapeDtypeStruct((), v.dtype) for name, v in what.axes.items()}
    leaves = store.named(jax.eval_shape(what.cell, **cell), what.axes)
    size = {name: leaf.size * leaf.dtype.itemsize for name, leaf in leaves.items()}
    chosen, there = starts.keeping(what, keep), store.kept(out)
    if chosen is not None and there is not None and set(chosen) != set(there):
        remedy = "leave out --keep, or choose another directory (--out)"
        raise complaint(f"--keep as in {out}", "other results", remedy)
    chosen = chosen or there
    if chosen is None:
        chosen = [name for name in size if size[name] <= sweep.LARGEST_LEAF]
    label = LABEL if _sizes(what) is not None else 0
    return sum(size.get(name, 0) for name in chosen) + 8 * len(what.axes) + label


def _seconds(what: Asked, out: Path) -> tuple[float | None, str]:
    """Of one cell by one worker, and where that is known from."""
    if store.is_store(out) and (measured := status.read(out).seconds) is not None:
        return measured, f"measured on the cells in {out}"
    if (sizes := _sizes(what)) is None:
        return None, "not known before some cells are computed"
    gamma, beta = (what.axes.get(n, [what.settings[n]])[0] for n in ("gamma", "beta"))
    member = what.cell.keywords["of"]
    problem = member.problem(what.X, sizes.latent, what.axes["alpha"][-1], gamma, beta)
    one = _timed(jax.value_and_grad(problem.loss), problem.init(jax.random.key(0), 0.3))
    shared = sizes.features * (sizes.latent + 1) + 1
    newton = GRADIENTS * one + _timed(jnp.linalg.eigvalsh, jnp.eye(shared))
    steps = what.cell.keywords["make_optimizer"]().run.steps
    why = (
        f"{steps} steps at {one * 1e3:.2g} ms, measured now, and some {NEWTON} at "
        f"{newton * 1e3:.2g} ms to refine it, a guess that may be wrong by a factor of five"
    )
    return steps * one + NEWTON * newton, why


def _timed(function: Any, argument: Any) -> float:
    """Seconds that a function takes, compiling aside."""
    program = jax.jit(function)
    jax.block_until_ready(program(argument))
    times: list[float] = []
    begin = time.monotonic()
    while not times or time.monotonic() - begin < TIMED:
        last = time.monotonic()
        jax.block_until_ready(program(argument))
        times.append(time.monotonic() - last)
    return float(np.median(times))
