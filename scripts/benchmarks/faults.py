"""Is anything lost when processes are killed, disks fill up and files are damaged:
`scripts/bench --faults [KILLS]`.

Sweeps are started as processes, and drivers, workers and schedulers killed (SIGKILL) at random
times until as many kills are done; every sweep is then finished, and its results compared with
those of one that nothing happened to, bit by bit.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from benchmarks.driver import AXES, BLOCK, cell
from vaesurface import store, sweep

__all__ = ["main"]

KILLS = 200
# Kinds, with their shares of the kills.
SHARES = {"driver alone": 0.3, "driver of processes": 0.2, "one of three drivers": 0.15}
SHARES |= {"worker of a pool": 0.2, "worker of dask": 0.1, "scheduler of dask": 0.05}
LONGEST = 300.0  # seconds that a sweep may take until it is said to hang
ORPHANS = 20.0  # seconds within which workers have to end after their driver


class Outcome(NamedTuple):
    """What became of the sweeps of one kind.

    kills: how many. sweeps: that were finished after them. finished: cells that were kept before
    a kill, lost: those of them that were gone afterwards. twice: cells that are in two chunks.
    differ: whose bits are not those of an undisturbed sweep. orphans: processes left behind.
    """

    kills: int = 0
    sweeps: int = 0
    finished: int = 0
    lost: int = 0
    twice: int = 0
    differ: int = 0
    orphans: int = 0


class Trial:
    """One sweep, killed until it has had enough."""

    def __init__(self, place: Path, reference: dict[str, np.ndarray]) -> None:
        self.place, self.reference = place, reference
        self.kept: set[int] = set()
        self.outcome = Outcome()

    def count(self, **more: int) -> None:
        """Add to the outcome."""
        old = self.outcome._asdict()
        self.outcome = Outcome(**{name: old[name] + more.get(name, 0) for name in old})

    def look(self) -> None:
        """Which cells are kept: never fewer than before."""
        if not (self.place / "store.json").exists():
            return
        try:
            there = set(np.flatnonzero(store.open(self.place).computed.values))
        except ValueError as error:
            if "without" not in str(error):  # no results yet
                raise
            there = set()
        self.count(finished=len(there - self.kept), lost=len(self.kept - there))
        self.kept |= there

    def compare(self) -> None:
        """All cells against the reference."""
        ds = store.open(self.place).load()
        wrong = ~ds.computed.values
        for name, leaf in self.reference.items():
            bits = ds[name].values.view(np.int64) != leaf.view(np.int64)
            wrong |= bits.reshape(*wrong.shape, -1).any(axis=-1)
        chunks = [np.load(file)["axis_seed"].size for file in self.place.glob("chunks/*.npz")]
        self.count(sweeps=1, differ=int(wrong.sum()), twice=sum(chunks) - wrong.size)


def main() -> None:
    """Prints a table; fails where anything was lost."""
    jax.config.update("jax_enable_x64", True)
    random.seed(0)
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    reference = sweep.grid(cell, batch_size=BLOCK, **AXES)
    kinds: dict[str, Callable[[Trial, int], None]] = {
        "driver alone": driver_killed,
        "driver of processes": pool_driver_killed,
        "one of three drivers": one_of_three_killed,
        "worker of a pool": worker_killed,
        "worker of dask": dask_worker_killed,
        "scheduler of dask": scheduler_killed,
    }
    begin, total = time.monotonic(), Outcome()
    print(f"{'killed':22s}" + "".join(f"{name:>10s}" for name in Outcome._fields), flush=True)
    for kind, kill in kinds.items():
        outcome = Outcome()
        while outcome.kills < round(kills * SHARES[kind]):
            with tempfile.TemporaryDirectory() as folder:
                trial = Trial(Path(folder) / "store", reference)
                kill(trial, round(kills * SHARES[kind]) - outcome.kills)
                trial.compare()
            outcome = Outcome(*map(sum, zip(outcome, trial.outcome, strict=True)))
        print(f"{kind:22s}" + "".join(f"{number:10d}" for number in outcome), flush=True)
        total = Outcome(*map(sum, zip(total, outcome, strict=True)))
    print(f"{'all':22s}" + "".join(f"{number:10d}" for number in total))
    full_disk(reference)
    print(f"{time.monotonic() - begin:.0f} s")
    assert total.lost == total.differ == total.orphans == 0


def driver_killed(trial: Trial, most: int, how: str = "alone") -> None:
    """At any time, from the import on."""
    for _ in range(most):
        driver = start(trial.place, how)
        if ended(driver, random.uniform(0.5, 6.0)):
            return
        children = offspring(driver.pid)
        driver.kill()
        driver.wait()
        trial.count(kills=1, orphans=survivors(children))
        trial.look()
    finish(trial, how)


def pool_driver_killed(trial: Trial, most: int) -> None:
    """While its two processes work; they have to end too."""
    driver_killed(trial, most, "processes")


def one_of_three_killed(trial: Trial, most: int) -> None:
    """The others take over what it was at."""
    drivers = [start(trial.place, "alone") for _ in range(3)]
    for driver in drivers[: min(2, most)]:
        if ended(driver, random.uniform(1.5, 3.0)):
            break
        driver.kill()
        trial.count(kills=1)
        trial.look()
    for driver in drivers:
        driver.wait(LONGEST)
    assert drivers[2].returncode == 0


def worker_killed(trial: Trial, most: int) -> None:
    """The pool is made anew, twice; the sweep ends by itself."""
    driver = start(trial.place, "processes")
    for _ in range(min(2, most)):
        if ended(driver, random.uniform(3.0, 5.0)):
            break
        workers = [pid for pid in offspring(driver.pid) if "spawn_main" in command(pid)]
        if workers:
            os.kill(random.choice(workers), signal.SIGKILL)
            trial.count(kills=1)
            trial.look()
    driver.wait(LONGEST)
    if driver.returncode:  # three lost pools are enough: one line, and all is kept
        finish(trial, "alone")


def dask_worker_killed(trial: Trial, most: int) -> None:
    """The scheduler gives its work to the other one, and another worker comes."""
    with scheduler() as (_, address), worker(address), worker(address) as second:
        driver = start(trial.place, "cluster", address)
        if not ended(driver, random.uniform(3.0, 6.0)):
            second.kill()
            trial.count(kills=1)
            trial.look()
        with worker(address):
            driver.wait(LONGEST)
    assert driver.returncode == 0


def scheduler_killed(trial: Trial, most: int) -> None:
    """The driver ends in a line; the next one finds what was kept."""
    with scheduler() as (process, address), worker(address):
        driver = start(trial.place, "cluster", address)
        if not ended(driver, random.uniform(3.0, 6.0)):
            process.kill()
            trial.count(kills=1)
        driver.wait(LONGEST)
        trial.look()
    finish(trial, "alone")


def full_disk(reference: dict[str, np.ndarray]) -> None:
    """A file may not grow beyond 2 kB, as on a disk that is full: nothing half is left."""
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder) / "store", reference)
        driver = start(trial.place, "alone", limit=2)
        driver.wait(LONGEST)
        left = [file for file in trial.place.rglob("*") if file.suffix == ".tmp"]
        finish(trial, "alone")
        trial.compare()
        print(f"disk full: exit {driver.returncode}, half written {len(left)}, {trial.outcome}")
        assert driver.returncode and trial.outcome.differ == 0


def start(place: Path, *args: str, limit: int | None = None) -> subprocess.Popen:
    """A driver."""

    words = [sys.executable, "-m", "benchmarks.driver", str(place), *args]
    if limit is not None:  # in blocks of 1024 bytes
        words = ["bash", "-c", f'trap "" XFSZ; ulimit -f {limit}; exec "$@"', "bash", *words]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def finish(trial: Trial, how: str) -> None:
    """Run until all is there."""
    assert start(trial.place, how).wait(LONGEST) == 0
    trial.look()


def ended(process: subprocess.Popen, seconds: float) -> bool:
    """Whether it ends by itself within some time."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def offspring(parent: int) -> list[int]:
    """Processes that a process has started."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True)
    return [int(pid) for pid in listed.stdout.split()]


def command(pid: int) -> str:
    """How a process was started."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def survivors(pids: list[int]) -> int:
    """How many processes do not end in time."""
    begin = time.monotonic()
    while left := [pid for pid in pids if command(pid)]:
        if time.monotonic() - begin > ORPHANS:
            return len(left)
        time.sleep(0.1)
    return 0


@contextmanager
def scheduler() -> Iterator[tuple[subprocess.Popen, str]]:
    """A dask scheduler and its address."""
    words = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    process = dask("scheduler", *words)
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"Scheduler at:\s+(tcp://\S+)", line):
            break
    else:
        raise RuntimeError("expected a dask scheduler, got none; is the extra cluster installed?")
    try:
        yield process, found[1]
    finally:
        process.kill()
        process.wait()


@contextmanager
def worker(address: str) -> Iterator[subprocess.Popen]:
    """A dask worker of one thread."""
    place = tempfile.mkdtemp()
    words = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", place]
    process = dask("worker", address, *words)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(place, ignore_errors=True)


def dask(*words: str) -> subprocess.Popen:
    """One of dask's own commands."""
    errors = subprocess.PIPE if words[0] == "scheduler" else subprocess.DEVNULL
    code = "import sys; from dask.__main__ import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.DEVNULL,
        stderr=errors,
        text=True,
    )


if __name__ == "__main__":
    main()
