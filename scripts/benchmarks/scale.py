"""What does a sweep cost beside its cells, and where is its first bottleneck: `scripts/bench
--scale [LARGEST]`.

Cells cost next to nothing, so that what is measured is ours: handing out, coming back, keeping,
opening and resuming. The data that a function has are 2000 x 784 numbers.
"""

import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from vaesurface import store, sweep
from vaesurface.sweep import workers

__all__ = ["main"]

LARGEST = 10**6
DATA = (2000, 784)


class Row(NamedTuple):
    """Of one size and one kind of workers, seconds where nothing else is said.

    cells. how. first: until the first block is kept: starting, compiling, handing over the data.
    rest: of the other cells. each: microseconds a cell of these. blocks: how many. message: bytes
    of the largest. files: of chunks in the end. opening: `store.open`, in a process that has
    opened one before. reading: one number of all cells. resuming: of a finished sweep.
    """

    cells: int
    how: str
    first: float
    rest: float
    each: float
    blocks: int
    message: int
    files: int
    opening: float
    reading: float
    resuming: float


def cell(X: Any, a: Any, b: Any, seed: Any) -> dict[str, Any]:
    """Next to nothing."""
    return {"loss": X[0, 0] + a * b + seed, "kind": seed % 3, "vector": a * jnp.arange(4.0)}


def main() -> None:
    """Prints a table."""
    jax.config.update("jax_enable_x64", True)
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else LARGEST
    X = np.random.default_rng(0).normal(size=DATA)
    with tempfile.TemporaryDirectory() as folder:
        measured(Path(folder) / "warm", "alone", None, X, 1000)
    print("".join(f"{name:>10s}" for name in Row._fields))
    for how in ("alone", "threads", "processes", "dask"):
        with executor(how) as chosen:
            size = 1000
            while size <= largest:
                with tempfile.TemporaryDirectory() as folder:
                    row = measured(Path(folder) / "store", how, chosen, X, size)
                print("".join(shown(value) for value in row), flush=True)
                assert row.message < 4096
                size *= 10


def measured(place: Path, how: str, executor: Any, X: np.ndarray, cells: int) -> Row:
    """One sweep."""
    axes = {"a": np.linspace(0, 1, 10), "b": np.linspace(1, 2, 10), "seed": np.arange(cells // 100)}
    fill = partial(sweep.fill, partial(cell, X), store=place, **axes)
    clock, messages = Clock(), Messages()
    begin = time.monotonic()
    with messages:
        fill(executor=executor, progress=clock)
    end = time.monotonic()
    opening, ds = timed(partial(store.open, place))
    reading, loss = timed(lambda: ds.loss.values)
    assert np.isfinite(loss).all() and loss.size == cells
    resuming, _ = timed(fill)
    return Row(
        cells=cells,
        how=how,
        first=clock.first - begin,
        rest=end - clock.first,
        each=1e6 * (end - clock.first) / max(1, cells - clock.cells),
        blocks=clock.blocks,
        message=max(messages.sizes, default=0),
        files=len(list(place.glob("chunks/*.npz"))),
        opening=opening,
        reading=reading,
        resuming=resuming,
    )


@contextmanager
def executor(how: str) -> Iterator[Any]:
    """Who computes: on two cores, whatever there are."""
    if how != "dask":
        yield {"alone": None, "threads": sweep.threads, "processes": partial(sweep.processes, 2)}[
            how
        ]
        return
    from distributed import LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        yield sweep.cluster(cluster.scheduler_address)


class Clock:
    """A progress bar that notes when the first block was there."""

    def __init__(self) -> None:
        self.first, self.cells, self.blocks = 0.0, 0, 0

    def __call__(self, **_: Any) -> "Clock":
        return self

    def __enter__(self) -> "Clock":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def update(self, cells: int) -> None:
        """A block."""
        if not self.blocks:
            self.first, self.cells = time.monotonic(), cells
        self.blocks += 1


class Messages:
    """What blocks carry to other processes, in bytes."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __enter__(self) -> "Messages":
        self._submit = workers.Elsewhere.submit

        def weighed(crew: Any, rows: np.ndarray) -> Any:
            place = crew._source if isinstance(crew._source, Path) else list(crew._source)
            message = (workers.work, crew._parcel.digest, place, workers._short(rows))
            self.sizes.append(len(pickle.dumps(message)))
            return self._submit(crew, rows)

        workers.Elsewhere.submit = weighed  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        workers.Elsewhere.submit = self._submit  # type: ignore[method-assign]


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what it gave."""
    begin = time.monotonic()
    value = call()
    return time.monotonic() - begin, value


def shown(value: Any) -> str:
    """In a column."""
    return f"{value:10.3g}" if isinstance(value, float) else f"{value:>10}"


if __name__ == "__main__":
    main()
