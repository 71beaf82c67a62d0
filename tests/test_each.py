"""What is done side by side is what a loop does, whoever does it and whoever is lost."""

import os
import pickle
import signal
import threading
import time
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import sweep

X = np.random.default_rng(0).normal(size=(2000, 784))


def made(X):
    """A function that closes over data."""

    def total(item):
        return {"number": item["number"], "sum": jnp.sum(item["weight"] @ X)}

    return total


def items():
    keys = jax.random.split(jax.random.key(0), 5)
    weights = [jax.random.normal(key, (3, 2000)) for key in keys]
    return [{"number": i, "weight": weight} for i, weight in enumerate(weights)]


class Elsewhere(Executor):
    """Stands for workers elsewhere: all that they see has been pickled, their JAX is set to
    float32; some calls are lost.
    """

    def __init__(self, lost=()):
        self.messages, self.lost = [], lost

    def submit(self, work, /, *args):  # type: ignore[override]
        self.messages.append(len(pickle.dumps(args)))
        future: Future = Future()
        if len(self.messages) in self.lost:
            future.set_exception(BrokenExecutor("a worker was killed"))
            return future
        work, args = pickle.loads(pickle.dumps((work, args)))
        with jax.enable_x64(False):
            future.set_result(work(*args))
        return future


def same(one, other):
    assert len(one) == len(other)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert type(x) is type(y)
        assert np.asarray(x).dtype == np.asarray(y).dtype
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


@pytest.mark.parametrize("executor", [sweep.threads, ThreadPoolExecutor(2), lambda: Elsewhere()])
def test_results_are_those_of_a_loop_in_order(executor):
    same(sweep.each(made(X), items(), executor), list(map(made(X), items())))


def test_workers_that_are_lost_are_replaced():
    started = []

    def start():
        started.append(Elsewhere(lost=(1,) if len(started) < 2 else ()))
        return started[-1]

    same(sweep.each(made(X), items(), start), list(map(made(X), items())))
    assert len(started) == 3


def test_workers_that_are_lost_again_and_again_end_in_one_line():
    complaint = "expected workers that stay alive, lost them 3 times .*was killed.*; look at"
    with pytest.raises(RuntimeError, match=complaint) as error:
        sweep.each(made(X), items(), lambda: Elsewhere(lost=range(100)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("executor", [None, sweep.threads, Elsewhere()])
def test_the_first_error_is_raised(executor):
    def reciprocal(x):
        return 1 / x if x else [][x]

    with pytest.raises(IndexError, match="list index out of range"):
        sweep.each(reciprocal, [1, 0, "a", 0], executor)


def test_a_function_that_cannot_travel_is_refused():
    complaint = "expected a function that other processes can unpickle, got .*lock.*; define it"
    with pytest.raises(ValueError, match=complaint):
        sweep.each(partial(print, threading.Lock()), [1], Elsewhere())
    with pytest.raises(ValueError, match="expected an executor, got str; give one"):
        sweep.each(print, [1], "threads")


@pytest.mark.slow
def test_processes_share_the_data_and_one_that_is_killed_is_replaced(tmp_path):
    file = tmp_path / "killed"

    def killing(item):
        if item["number"] == 3 and not file.exists():
            file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.1)
        return made(X)(item)

    same(sweep.each(killing, items(), partial(sweep.processes, 2)), list(map(made(X), items())))
    assert file.exists()
