"""What does one call take at one size: `python -m benchmarks.growth_points AXIS NAME SIZE`.

Prints the size as it came out, seconds of processor time, and bytes, as JSON.
"""

import contextlib
import ctypes
import json
import math
import resource
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.clock import seconds
from benchmarks.subjects import Network, network
from vaesurface import bordered, curvature, data, optimize, sweep, vae

__all__ = ["CURVES"]

ALPHA = 0.1
SHORT = 0.5  # seconds
ALIKE = 16 * 32  # cells, from which on chunks are as large as they get
Call = Callable[[], Any]
PEAK, RESIDENT = "VmHWM", "VmRSS"  # in /proc/self/status


@dataclass(frozen=True, eq=False)
class Compiled:
    """The call of a compiled program that has not run."""

    program: Any
    args: tuple

    def __call__(self) -> Any:
        return jax.block_until_ready(self.program(*self.args))

    @property
    def planned(self) -> int:
        """Bytes that the compiler sets aside, without what LAPACK takes."""
        plan = self.program.memory_analysis()
        return plan.temp_size_in_bytes + plan.output_size_in_bytes


def compiled(function: Callable, *args: Any) -> Compiled:
    """Of a function."""
    return Compiled(jax.jit(function).lower(*args).compile(), args)


def surface(n: int, d: int, k: int) -> tuple[Any, Any]:
    """An energy of that size, of digits where d is theirs and of noise elsewhere, and a point."""
    rows = data.load("digits") if d == 64 else np.random.default_rng(0).normal(size=(n, d))
    problem = vae.threshold_vae(np.resize(rows, (n, d)), k, ALPHA)
    return problem, problem.init(jax.random.key(0), 1.0)


def gradient(n: int, d: int, k: int) -> Call:
    """Of the energy, with its value."""
    problem, params = surface(n, d, k)
    return compiled(lambda problem, w: jax.value_and_grad(problem.loss)(w), problem, params)


def step(n: int, d: int, k: int) -> Call:
    """Newton's, with inertia, by the structure."""
    problem, params = surface(n, d, k)
    return compiled(bordered.steps, problem.structure, params)


def dense_step(n: int, d: int, k: int) -> Call:
    """The same from the matrix."""
    problem, params = surface(n, d, k)
    return compiled(lambda problem, w: curvature.steps(problem.loss, w), problem, params)


def wide(p: int) -> Network:
    """A network of about p parameters."""
    width = round(-17 + math.sqrt(273 + p))  # of two hidden layers between 16 and 16
    return network((16, width, width, 16))


def product(p: int) -> tuple[int, Call]:
    """With the Hessian."""
    net = wide(p)
    return net.vector.size, compiled(partial(curvature.hvp, net.flat), net.vector, net.direction)


def hessian(p: int) -> tuple[int, Call]:
    """The matrix."""
    net = wide(p)
    return net.vector.size, compiled(partial(curvature.hessian, net.loss), net.layers)


def spectrum(p: int) -> tuple[int, Call]:
    """All eigenvalues."""
    net = wide(p)
    return net.vector.size, compiled(partial(curvature.spectrum, net.loss), net.layers)


def cell(seed: Any) -> Any:
    """A short run on two data."""
    problem = vae.threshold_vae(data.antipodal(d=2), 1, ALPHA)
    return optimize.adam(20)(problem.loss, problem.init(jax.random.key(seed), 1.0))


def grid(cells: int, stored: bool = False) -> Call:
    """A sweep, each time in a new folder where it is stored, of a program compiled before."""
    jax.config.update("jax_compilation_cache_dir", "programs")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    sweep.grid(cell, seed=range(min(cells, ALIKE)))

    def call() -> Any:
        store = Path(tempfile.mkdtemp(dir="."), "store") if stored else None
        return sweep.grid(cell, seed=range(cells), store=store)

    return call


CURVES: dict[str, dict[str, Callable[[int], Any]]] = {
    "n": {
        "energy with gradient": lambda n: gradient(n, 64, 8),
        "bordered Newton step": lambda n: step(n, 64, 8),
        "dense Newton step": lambda n: dense_step(n, 64, 8),
    },
    "d": {
        "energy with gradient": lambda d: gradient(500, d, 2),
        "bordered Newton step": lambda d: step(500, d, 2),
    },
    "k": {
        "energy with gradient": lambda k: gradient(500, 64, k),
        "bordered Newton step": lambda k: step(500, 64, k),
    },
    "p": {"Hessian product": product, "dense Hessian": hessian, "all eigenvalues": spectrum},
    "cells": {"sweep.grid": grid, "sweep.grid, stored": partial(grid, stored=True)},
}


def memory(entry: str) -> int:
    """Bytes that this process holds, or held at most."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:  # not Linux: the peak since the start
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    kib = next(line for line in lines if line.startswith(entry)).split()[1]
    return 1024 * int(kib)


def settled() -> int:
    """Bytes held now. The peak counts from here on, where Linux lets one, so not the compiler's."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what is free goes back to the system
        Path("/proc/self/clear_refs").write_text("5")
    return memory(RESIDENT)


def measured(call: Call) -> dict[str, float]:
    """Of the first call; where it is short, seconds of the mean of several after it.

    Bytes are what the system saw, or, where that fits into what had been freed, what the compiler
    has planned.
    """
    before = settled()
    taken = seconds(call)
    held = max(memory(PEAK) - before, getattr(call, "planned", 0))
    if taken < SHORT:
        taken = seconds(call, math.ceil(SHORT / max(taken, 1e-3)))
    return {"seconds": taken, "bytes": held}


def main(axis: str, name: str, size: str) -> None:
    """Measure and print."""
    made = CURVES[axis][name](int(size))
    actual, call = made if isinstance(made, tuple) else (int(size), made)
    print(json.dumps({"size": actual, **measured(call)}))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        main(*sys.argv[1:])
