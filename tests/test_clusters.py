"""On a real cluster, processes of their own, a sweep gives the bits of one thread, and whoever is
killed, nothing that was finished is lost.
"""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import distributed
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from distributed.comm import tcp

from vaesurface import sweep

ROOT = Path(__file__).parent.parent
COPIED = ROOT / "docs" / "clusters"
module = importlib.import_module("vaesurface.sweep.cluster")  # whose function has its name
AXES: dict[str, Any] = {"alpha": np.linspace(0.0, 1.0, 12), "seed": range(10)}
BLOCK = 4  # cells
X = np.random.default_rng(0).normal(size=(2000, 784))  # 12.5 MB
MESSAGE = 4096  # bytes of a block's, at most
PYTHON = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}


def made(X, wait=0.0):
    """A function of a grid's cells that closes over data, NumPy's and JAX's; wait: seconds that a
    cell takes.
    """
    shift = jnp.asarray(X[0, :3])

    def slept(_):
        time.sleep(wait)
        return np.zeros(())

    def cell(alpha, seed):
        zero = jax.pure_callback(slept, jax.ShapeDtypeStruct((), alpha.dtype), seed)
        draw = jax.random.normal(jax.random.key(seed), (3,))
        return jnp.sin((alpha + zero) * X[:5]).sum() + alpha * draw + shift

    return cell


class Lab:
    """A scheduler and its workers, as the commands of dask start them."""

    def __init__(self, place, workers):
        self.place, self.file, self.workers = place, place / "scheduler.json", []
        listen = ["--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self.file)]
        self.scheduler = self._start("dask_scheduler", *listen)
        until(self.file.exists)
        for _ in range(workers):
            self.hire()

    def hire(self):
        """One more worker, of one thread."""
        told = ["--scheduler-file", str(self.file), "--host", "127.0.0.1"]
        self.workers.append(self._start("dask_worker", *told, "--nthreads", "1", "--no-nanny"))

    def kill(self):
        """The worker that was hired first."""
        worker = self.workers.pop(0)
        worker.kill()
        worker.wait()

    def close(self):
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()

    def _start(self, command, *options):
        line = [sys.executable, "-m", f"distributed.cli.{command}", "--no-dashboard", *options]
        with (self.place / "log").open("a") as log:
            return subprocess.Popen(
                line, env=os.environ | PYTHON, cwd=self.place, stdout=log, stderr=log
            )


def until(true, seconds=60):
    """Wait for something."""
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < seconds
        time.sleep(0.05)


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Lab(tmp_path_factory.mktemp("lab"), workers=2)
    yield lab
    lab.close()


@pytest.fixture(scope="module")
def expected():
    return sweep.grid(made(X), batch_size=BLOCK, **AXES)


class At:
    """A progress bar that does something once so many cells are there."""

    def __init__(self, cells, do):
        self._cells, self._do = cells, do

    def __call__(self, total, initial, unit):
        self.initial = self._done = initial
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, cells):
        before, self._done = self._done, self._done + cells
        if before < self._cells <= self._done:
            self._do()


def nothing():
    """Is to be done."""


def same(one, other):
    assert (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def test_a_cluster_gives_the_bits_of_one_thread_and_a_block_carries_no_data(
    lab, expected, monkeypatch
):
    sent, write = [], tcp.TCP.write

    async def weighed(self, message, *args, **options):
        weight = await write(self, message, *args, **options)
        parts = message if isinstance(message, tuple | list) else [message]
        sent.append((weight, [part.get("op") for part in parts if isinstance(part, dict)]))
        return weight

    monkeypatch.setattr(tcp.TCP, "write", weighed)
    executor = sweep.cluster(scheduler_file=lab.file)
    same(sweep.grid(made(X), executor=executor, batch_size=BLOCK, **AXES), expected)
    blocks = [(weight, ops.count("update-graph")) for weight, ops in sent if "update-graph" in ops]
    assert sum(count for _, count in blocks) == expected.size // 3 // BLOCK
    assert all(weight <= MESSAGE * count for weight, count in blocks)
    assert sum(weight for weight, ops in sent if "scatter" in ops) >= X.nbytes
    assert sum(weight for weight, _ in sent) <= X.nbytes + 2**18


def test_a_cluster_has_an_address_or_is_a_client_of_ones_own(lab, expected):
    with distributed.Client(scheduler_file=str(lab.file), set_as_default=False) as client:
        address = client.scheduler.address
        own = client.get_executor()
        same(sweep.grid(made(X), executor=own, batch_size=BLOCK, **AXES), expected)
    executor = sweep.cluster(address)
    same(sweep.grid(made(X), executor=executor, batch_size=BLOCK, **AXES), expected)


def test_functions_that_are_not_traced_go_to_a_cluster_too(lab):
    def far(item):
        return float(jnp.sum(X[item["row"]] * item["by"])), os.getpid()

    items = [{"row": i, "by": jnp.full(784, 0.1)} for i in range(4)]
    results = sweep.each(far, items, sweep.cluster(scheduler_file=lab.file))
    assert [value for value, _ in results] == [far(item)[0] for item in items]
    assert os.getpid() not in [pid for _, pid in results]


def test_a_worker_that_is_killed_takes_nothing_along_and_one_that_comes_gets_work(
    lab, expected, monkeypatch
):
    monkeypatch.setattr(module, "COUNT", 0.0)
    executor = sweep.cluster(scheduler_file=lab.file)
    bar = At(20, lab.kill)
    cell = made(X, wait=0.02)
    same(sweep.grid(cell, executor=executor, batch_size=BLOCK, progress=bar, **AXES), expected)
    with distributed.Client(scheduler_file=str(lab.file), set_as_default=False) as client:
        there = module.Remote(client.get_executor())
        assert there.threads == 1
        lab.hire()
        until(lambda: there.threads == 2)


def test_an_answer_that_is_lost_on_its_way_is_asked_for_again(lab, expected, monkeypatch):
    gather, lost = distributed.Client._gather_remote, [tcp.CommClosedError("in the middle")]

    async def once(self, *args):
        if lost:
            raise lost.pop()
        return await gather(self, *args)

    monkeypatch.setattr(distributed.Client, "_gather_remote", once)
    executor = sweep.cluster(scheduler_file=lab.file)
    same(sweep.grid(made(X), executor=executor, batch_size=BLOCK, **AXES), expected)
    assert not lost


DRIVER = """
import sys, jax
jax.config.update("jax_enable_x64", True)
import test_clusters
from vaesurface import sweep
cell = test_clusters.made(test_clusters.X, wait=0.05)
executor = sweep.cluster(scheduler_file=sys.argv[1])
sweep.fill(cell, store=sys.argv[2], executor=executor, batch_size=4, **test_clusters.AXES)
"""


def test_what_a_killed_driver_finished_is_there_and_another_goes_on(lab, expected, tmp_path):
    line = [sys.executable, "-c", DRIVER, str(lab.file), str(tmp_path)]
    driver = subprocess.Popen(line, env=os.environ | PYTHON)
    until(lambda: list(tmp_path.glob("chunks/*.npz")) or driver.poll() is not None)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    bar, executor = At(0, nothing), sweep.cluster(scheduler_file=lab.file)
    begin = time.monotonic()
    cells = sweep.grid(
        made(X), executor=executor, store=tmp_path, batch_size=BLOCK, progress=bar, **AXES
    )
    assert time.monotonic() - begin < 30  # no lease is waited for
    assert 0 < bar.initial < expected.size // 3
    same(cells, expected)


@pytest.mark.slow
def test_without_its_scheduler_a_sweep_ends_in_one_line_and_keeps_what_is_finished(
    tmp_path, expected, monkeypatch, capfd
):
    monkeypatch.setattr(module, "PATIENCE", 15)
    lab = Lab(tmp_path, workers=1)
    executor = sweep.cluster(scheduler_file=lab.file)

    def killed():
        monkeypatch.setattr(module, "PATIENCE", 1)
        lab.scheduler.kill()

    options: dict[str, Any] = {"store": tmp_path / "store", "batch_size": BLOCK}
    try:
        complaint = "expected workers that stay alive, lost them .*scheduler.* what is finished"
        with pytest.raises(RuntimeError, match=complaint) as error:
            cell, bar = made(X, wait=0.02), At(20, killed)
            sweep.grid(cell, executor=executor, progress=bar, **options, **AXES)
    finally:
        lab.close()
    assert "\n" not in str(error.value) and "Traceback" not in capfd.readouterr().err
    bar = At(0, nothing)
    same(sweep.grid(made(X), progress=bar, **options, **AXES), expected)
    assert bar.initial >= 20


# The files that users copy


def stubs(place, **scripts):
    """A folder of commands, to be found first."""
    for name, script in scripts.items():
        (place / name).write_text(f"#!/usr/bin/env bash\n{script}\n")
        (place / name).chmod(0o755)
    return os.environ | {"PATH": f"{place}{os.pathsep}{os.environ['PATH']}"}


def test_jobs_of_an_array_run_one_command(tmp_path):
    echo = stubs(tmp_path, srun='exec "$@"', vaesurface='echo "$@"')
    said = [
        subprocess.run(
            ["bash", COPIED / "slurm-array.sh"],
            env=echo | {"SLURM_ARRAY_TASK_ID": str(task)},
            capture_output=True,
            check=True,
        ).stdout
        for task in (1, 2)
    ]
    assert said[0] == said[1] and said[0].startswith(b"sweep ") and b"--out" in said[0]


@pytest.mark.parametrize(("fails", "status"), [("", 0), ("2", 3)])
def test_each_gpu_gets_a_process_of_its_own_and_a_failure_is_told(tmp_path, fails, status):
    seen = f'echo "$CUDA_VISIBLE_DEVICES $@"; [[ $CUDA_VISIBLE_DEVICES != "{fails}" ]] || exit 3'
    environment = stubs(tmp_path, **{"nvidia-smi": "printf '0\\n2\\n'"}, vaesurface=seen)
    line = ["bash", COPIED / "gpus.sh", "--out", "a b"]
    assert subprocess.run(line, env=environment, cwd=tmp_path).returncode == status
    logs = {file.name: file.read_text() for file in tmp_path.glob("gpu-*.log")}
    assert logs == {f"gpu-{gpu}.log": f"{gpu} sweep --out a b\n" for gpu in (0, 2)}


def test_a_cluster_of_kubernetes_is_driven_by_the_service_of_its_scheduler():
    cluster, job = yaml.safe_load_all((COPIED / "kubernetes.yaml").read_text())
    assert (cluster["apiVersion"], cluster["kind"]) == ("kubernetes.dask.org/v1", "DaskCluster")
    (port,) = [p for p in cluster["spec"]["scheduler"]["service"]["ports"] if p["port"] == 8786]
    name = cluster["metadata"]["name"]
    assert cluster["spec"]["scheduler"]["service"]["selector"]["dask.org/cluster-name"] == name
    (driver,) = job["spec"]["template"]["spec"]["containers"]
    assert f"tcp://{name}-scheduler:{port['port']}" in driver["args"]
    assert all(isinstance(argument, str) for argument in driver["args"])


def test_the_driver_for_slurm_is_python():
    compile((COPIED / "slurm-dask.py").read_text(), "slurm-dask.py", "exec")
