"""A sweep that `faults` and `scale` start as a process of its own, and kill.

python -m benchmarks.driver STORE HOW [ADDRESS]: HOW is one of alone, threads, processes, cluster.
"""

import sys
import time
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import sweep

__all__ = ["AXES", "BLOCK", "cell", "executor", "main"]

AXES: dict[str, Any] = {"alpha": np.linspace(0.0, 1.0, 20), "seed": np.arange(20)}
BLOCK = 5  # cells
STEPS = 30_000  # of a cell: some hundredths of a second


def cell(alpha: Any, seed: Any) -> dict[str, Any]:
    """Something that takes a while, and whose last bits show whether all went as it should."""
    start = jax.random.normal(jax.random.key(seed), (32,))

    def step(_: Any, x: Any) -> Any:
        return x + 1e-3 * jnp.sin(alpha * x + jnp.roll(x, 1))

    end = jax.lax.fori_loop(0, STEPS, step, start)
    return {"end": end, "sum": jnp.sum(end)}


def executor(how: str, address: str | None = None) -> Any:
    """Who computes."""
    workers = {"alone": None, "threads": sweep.threads, "processes": partial(sweep.processes, 2)}
    return sweep.cluster(address) if how == "cluster" else workers[how]


def main() -> None:
    """Exit code 0: all cells are there."""
    jax.config.update("jax_enable_x64", True)
    place, how, *address = sys.argv[1:]
    begin = time.monotonic()
    sweep.fill(cell, store=place, executor=executor(how, *address), batch_size=BLOCK, **AXES)
    print(f"{time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    main()
