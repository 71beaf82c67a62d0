"""A grid gives what a loop gives, bit for bit, however it is cut up; nothing is computed twice."""

import inspect
import multiprocessing
import os
import pickle
import threading
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial, partialmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import data, optimize, stationary, sweep, vae
from vaesurface.sweep import travel, workers

KEYS = jax.random.split(jax.random.key(3), 3)
ALPHAS, NUMBERS = [0.0, 0.5, 0.25, 1e-3], [3, 1]
AXES: dict[str, Any] = {"alpha": ALPHAS, "number": NUMBERS, "key": KEYS}
uniform = partial(jax.random.uniform, shape=(2,))  # a function that another process can import


class Cell(NamedTuple):
    energy: jax.Array
    inside: dict
    nothing: None = None


def cheap(alpha, number, key):
    draw = jax.random.normal(key, (3,))
    return Cell(
        jnp.exp(jnp.sin(alpha) * draw).sum() / 3, {"number": 2 * number, "big": draw > alpha}
    )


def descend(alpha, scale, key, steps=20):
    problem = vae.threshold_vae(data.gaussian(12, [3.0, 1.0, 0.1], seed=0), latent=2, alpha=alpha)
    return optimize.adam(steps)(problem.loss, problem.init(key, scale))


def find(alpha, scale, key):
    problem = vae.threshold_vae(data.antipodal(d=2), latent=1, alpha=alpha)
    return stationary.find(problem, key, scale=scale, optimizer=optimize.adam(30))


def same(a, b):
    assert str(jax.tree.structure(a)) == str(jax.tree.structure(b))
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


class Bar:
    """A progress bar that keeps what it is told, and may be where the user loses patience."""

    def __init__(self, patience=float("inf")):
        self.updates, self.patience = [], patience

    def __call__(self, total, initial, unit):
        self.total, self.initial, self.unit = total, initial, unit
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.closed = True

    def update(self, cells):
        self.updates.append(cells)
        if sum(self.updates) >= self.patience:
            raise KeyboardInterrupt


class Elsewhere(Executor):
    """Stands for a remote worker: all that it sees has been pickled, its JAX is set to float32."""

    def submit(self, work, /, *args):  # type: ignore[override]
        work, args = pickle.loads(pickle.dumps((work, args)))
        future: Future = Future()
        with jax.enable_x64(False):
            future.set_result(work(*args))
        return future


class Failing(ThreadPoolExecutor):
    """Fails the second task."""

    tasks = 0

    def submit(self, work, /, *args):  # type: ignore[override]
        self.tasks += 1
        return super().submit((lambda *_: 1 // 0) if self.tasks == 2 else work, *args)


def test_a_grid_is_a_loop_over_cells():
    cells = sweep.grid(cheap, **AXES)
    assert cells.energy.shape == (4, 2, 3) and cells.nothing is None
    assert cells.inside["big"].shape == (4, 2, 3, 3)
    assert cells.energy.dtype == np.float64 and cells.inside["number"].dtype == np.int64
    for i, j, k in np.ndindex(4, 2, 3):
        expected = cheap(ALPHAS[i], NUMBERS[j], KEYS[k])
        np.testing.assert_allclose(cells.energy[i, j, k], expected.energy, rtol=1e-15)
        assert cells.inside["number"][i, j, k] == 2 * NUMBERS[j]
        assert (cells.inside["big"][i, j, k] == expected.inside["big"]).all()


def test_axes_lead_in_the_order_given():
    turned = sweep.grid(cheap, key=KEYS, number=NUMBERS, alpha=ALPHAS)
    same(turned.energy, np.ascontiguousarray(sweep.grid(cheap, **AXES).energy.T))


@pytest.fixture
def thoroughly(monkeypatch):
    """Sweeps are compiled as users have them, whatever the flags of the tests."""
    options = {"xla_backend_optimization_level": 3}
    if "xla_cpu_use_fusion_emitters" in os.environ.get("XLA_FLAGS", ""):  # which jaxlib knows then
        options["xla_cpu_use_fusion_emitters"] = True
    compiled = partialmethod(jax.stages.Lowered.compile, compiler_options=options)
    monkeypatch.setattr(jax.stages.Lowered, "compile", compiled)


@pytest.mark.usefixtures("thoroughly")
@pytest.mark.parametrize("fn", [cheap, descend, pytest.param(find, marks=pytest.mark.slow)])
def test_bits_do_not_depend_on_chunks_or_threads(fn):
    second = {"number": NUMBERS} if fn is cheap else {"scale": [0.1, 1.0]}
    grid = partial(sweep.grid, fn, alpha=[0.0, 0.3, 0.1], **second, key=KEYS[:2])
    whole = grid(batch_size=12)
    same(grid(batch_size=1, mapper=jax.lax.map), whole)  # by a program for one cell
    with ThreadPoolExecutor(2) as threads:
        same(grid(batch_size=5, executor=threads), whole)


@pytest.mark.parametrize("mapper", [sweep.together, partial(jax.lax.map, batch_size=2)])
def test_cells_may_run_side_by_side(mapper):
    vectorized, plain = sweep.grid(cheap, mapper=mapper, **AXES), sweep.grid(cheap, **AXES)
    np.testing.assert_allclose(vectorized.energy, plain.energy, rtol=1e-14)


def test_a_worker_gets_its_function_pickled_and_computes_in_float64():
    grid = partial(sweep.grid, uniform, key=KEYS, minval=[0.0, 0.1], maxval=[1, 2])
    same(grid(executor=Elsewhere()), grid())


def test_spawned_processes_give_the_same_bits():
    grid = partial(sweep.grid, uniform, key=KEYS, minval=[0.0, 0.1], maxval=[1, 2])
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        same(grid(batch_size=2, executor=processes), grid())


@pytest.mark.slow
def test_spawned_processes_find_the_same_points(tmp_path, monkeypatch):
    script = "from vaesurface import data, optimize, stationary, vae\n\n" + inspect.getsource(find)
    (tmp_path / "someones_script.py").write_text(script)
    monkeypatch.syspath_prepend(tmp_path)
    import someones_script

    axes: Any = {"alpha": [0.0, 0.5], "scale": [0.1, 1.0], "key": KEYS[:2]}
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        same(
            sweep.grid(someones_script.find, executor=processes, batch_size=3, **axes),
            sweep.grid(find, **axes),
        )


@pytest.mark.parametrize("threads", [0, 2])
def test_the_function_is_traced_once(threads):
    traces = []

    def counted(alpha, scale):
        traces.append(alpha)
        return alpha * scale

    executor = ThreadPoolExecutor(threads) if threads else None
    sweep.grid(counted, alpha=np.linspace(0, 1, 7), scale=[1, 2], batch_size=3, executor=executor)
    assert len(traces) == 1


def test_cells_are_added_by_the_program_that_computed_the_first_ones(tmp_path, monkeypatch):
    programs = []
    compiled = jax.stages.Lowered.compile

    def noted(self, *args, **options):
        programs.append(self.as_text())
        return compiled(self, *args, **options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", noted)
    for seeds, batch_size in ((6, None), (60, None), (61, 7)):
        axes = {"alpha": ALPHAS[:3], "number": NUMBERS, "seed": range(seeds)}
        sweep.fill(added, store=tmp_path, batch_size=batch_size, **axes)
    assert len(programs) == 3 and len(set(programs)) == 1


def added(alpha, number, seed):
    return alpha * number + seed


def test_what_a_program_computes_at_a_time_has_room():
    def large(seed):
        return jnp.zeros((1000, 1000)) + seed

    task, _, plan = sweep._planned(large, None, {"seed": range(20)}, None)
    assert (task.size, plan.size) == (8, 1)


def test_progress_counts_cells():
    bar = Bar()
    sweep.grid(cheap, **AXES, batch_size=10, progress=bar)
    assert (bar.total, bar.initial, bar.unit) == (24, 0, "cell")
    assert bar.updates == [10, 10, 4] and bar.closed


def test_padding_is_never_computed():
    ran = []

    def watched(alpha):
        jax.debug.callback(lambda value: ran.append(float(value)), alpha)
        return alpha

    sweep.grid(watched, alpha=ALPHAS, batch_size=3)
    jax.effects_barrier()
    assert sorted(ran) == sorted(ALPHAS)


def test_a_larger_grid_reuses_the_cells_of_a_smaller_one(tmp_path):
    small, large = Bar(), Bar()
    sweep.grid(
        cheap, alpha=ALPHAS[1:3], number=NUMBERS[:1], key=KEYS[1:], store=tmp_path, progress=small
    )
    kept = sweep.grid(cheap, key=KEYS, number=NUMBERS, alpha=ALPHAS, store=tmp_path, progress=large)
    assert (small.initial, sum(small.updates)) == (0, 4)
    assert (large.initial, sum(large.updates)) == (4, 20)
    same(kept, sweep.grid(cheap, key=KEYS, number=NUMBERS, alpha=ALPHAS))


def test_a_finished_grid_is_read_and_not_even_compiled(tmp_path):
    first, bar = sweep.grid(cheap, store=str(tmp_path / "new"), **AXES), Bar()

    def never(fn, cells):
        raise AssertionError("compiled")

    same(sweep.grid(cheap, store=tmp_path / "new", progress=bar, mapper=never, **AXES), first)
    assert bar.updates == [] and bar.initial == 24


def square(x):
    return x**2


class Memory:
    """A store of one axis, in memory: whatever has these two methods is a store."""

    def __init__(self):
        self.kept = {}

    def recall(self, axes, cells, results):
        (column,) = cells.values()
        for row, value in enumerate(column):
            results[row] = self.kept.get(value, np.nan)
        return np.flatnonzero(np.isnan(results))

    def add(self, cells, results):
        (column,) = cells.values()
        self.kept |= dict(zip(column, results, strict=True))


def test_whatever_recalls_and_adds_is_a_store():
    memory, bar = Memory(), Bar()
    sweep.grid(square, x=[1.0, 2.0], store=memory)
    both = sweep.grid(square, x=[3.0, 2.0], store=memory, progress=bar)
    assert both.tolist() == [9.0, 4.0] and bar.initial == 1
    assert memory.kept == {1.0: 1.0, 2.0: 4.0, 3.0: 9.0}


@pytest.mark.parametrize("threads", [0, 2])
def test_an_interrupted_sweep_goes_on_where_it_was(tmp_path, threads):
    executor = ThreadPoolExecutor(threads) if threads else None
    bar = Bar()
    with pytest.raises(KeyboardInterrupt):
        sweep.grid(
            cheap,
            store=tmp_path,
            batch_size=5,
            executor=executor,
            progress=Bar(patience=10),
            **AXES,
        )
    same(
        sweep.grid(cheap, store=tmp_path, batch_size=7, progress=bar, **AXES),
        sweep.grid(cheap, **AXES),
    )
    assert bar.initial == 10


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_one_chunk_keeps_those_under_way(tmp_path, threads):
    bar = Bar()
    with Failing(threads) as executor, pytest.raises(ZeroDivisionError, match="division"):
        sweep.grid(cheap, store=tmp_path, batch_size=5, executor=executor, **AXES)
    same(sweep.grid(cheap, store=tmp_path, progress=bar, **AXES), sweep.grid(cheap, **AXES))
    assert 5 <= bar.initial <= 19


@pytest.mark.parametrize(
    ("axes", "complaint"),
    [
        ({}, "expected at least one axis, got none; name one"),
        ({"alpha": []}, "expected at least one value along alpha, got none; give some"),
        (
            {"alpha": 0.5},
            r"expected a 1-D axis alpha, got shape \(\); put a single value in a list",
        ),
        ({"alpha": [[0.5]]}, r"expected a 1-D axis alpha, got shape \(1, 1\); put"),
        (
            {"alpha": [[0.5], [1.0, 2.0]]},
            "expected numbers along alpha, got an irregular list; give a list",
        ),
        ({"alpha": ["0.5"]}, "expected numbers along alpha, got dtype <U3; give numbers"),
        (
            {"alpha": [0.5, float("nan")]},
            "expected int64 or float64 along alpha, got NaN or .*; leave it out",
        ),
        (
            {"alpha": [2**63]},
            "expected int64 or float64 along alpha, got .* too large a number; leave",
        ),
        (
            {"alpha": [0.0, 1.0, -0.0]},
            "expected distinct values along alpha, got the same one twice; leave",
        ),
        (
            {"key": KEYS[jnp.array([0, 1, 0])]},
            "expected distinct values along key, got the same one twice",
        ),
        ({"key": KEYS[0]}, r"expected a 1-D axis key, got shape \(\); .* jax.random.key"),
        (
            {"key": jax.random.PRNGKey(0)[None]},
            r"expected a 1-D axis key, got shape \(1, 2\); .* jax.random.key",
        ),
        ({"alpha": [1], "batch_size": 0}, "expected batch_size >= 1, got 0; choose another number"),
        (
            {"alpha": [1], "executor": Elsewhere(), "mapper": threading.Lock()},
            "expected a function that other processes can unpickle, .*; define",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_written(tmp_path, axes, complaint):
    with pytest.raises(ValueError, match=complaint):
        sweep.grid(lambda **cell: 1.0, store=tmp_path / "store", **axes)
    assert not list(tmp_path.iterdir())


def test_a_pool_that_forks_is_refused():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as forks:
        with pytest.raises(
            ValueError, match=r"expected a process pool that spawns, .*; give it mp_context"
        ):
            sweep.grid(uniform, key=KEYS, executor=forks)


def test_a_function_that_workers_cannot_import_is_named():
    parcel = travel.pack(uniform)
    content = parcel.contents[parcel.digest].replace(b"uniform", b"unicorn")
    with pytest.raises(
        ValueError, match=r"expected a function that workers can import, .*unicorn.*; define it"
    ):
        workers.work(parcel.digest, {parcel.digest: content}, range(1))


def test_a_function_must_return_numbers():
    with pytest.raises(
        ValueError, match="expected a function that returns numbers, got dtype key<fry>; return"
    ):
        sweep.grid(lambda key: key, key=KEYS)


def test_float32_is_refused():
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="expected float64 for a sweep"):
        sweep.grid(lambda alpha: alpha, alpha=[1.0])
