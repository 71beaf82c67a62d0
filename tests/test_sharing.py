"""Drivers share a store, workers may die, files may vanish: nothing is lost, bits are equal."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ThreadPoolExecutor
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import store, sweep
from vaesurface.store import canonical, chunks, claims, compaction, plans, record
from vaesurface.sweep import filling, travel, workers

AXES = {"a": np.linspace(0.0, 1.0, 6), "seed": np.arange(5)}


def cell(a, seed):
    draw = jax.random.normal(jax.random.key(seed), (3,))
    return {"loss": jnp.sum(jnp.exp(a * draw)), "point": a * draw}


def same(one, other):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


@pytest.fixture(scope="module")
def expected():
    return sweep.grid(cell, **AXES)


@pytest.fixture
def a_chunk_a_block(monkeypatch):
    monkeypatch.setattr(filling, "EVERY", 0.0)


def computed(path):
    """How many cells there are in a store's chunks, by where they are."""
    axes, there = canonical(AXES), Counter()
    for file in path.glob("chunks/*.npz"):
        found = chunks.read(file, record.read(path))
        there.update(store.places(axes, found.cells).tolist())
    return there


class TakenAway:
    """Progress, at whose second step something happens."""

    def __init__(self, **_):
        self._steps = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, cells):
        self._steps += 1
        if self._steps == 2:
            self.taken_away()


# Claims


def test_a_claim_is_had_by_one_only_however_many_want_it(tmp_path):
    makers = [claims.Claims(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        for name in map(str, range(20)):
            assert sum(pool.map(lambda one, name=name: one.take(name), makers)) == 1
    for one in makers:
        one.__exit__()
    assert not list(tmp_path.iterdir())


def test_an_abandoned_claim_is_had_by_one_only(tmp_path):
    (tmp_path / "a").write_text('{"by": "elsewhere:1"}')
    os.utime(tmp_path / "a", (0, 0))
    makers = [claims.Claims(tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda one: one.take("a"), makers)) == 1
    assert [claim.name for claim in claims.living(tmp_path)] == ["a"]
    for one in makers:
        one.__exit__()


def test_a_claim_holds_while_it_is_renewed_and_no_longer(tmp_path):
    with claims.Claims(tmp_path, lease=0.5) as one, claims.Claims(tmp_path, lease=0.5) as other:
        assert one.take("a")
        (tmp_path / "b").write_text('{"by": "elsewhere:1"}')
        assert not other.take("b")
        time.sleep(1.0)
        assert not other.take("a")
        assert other.take("b")


def test_the_age_of_a_claim_is_by_the_disks_clock(tmp_path, monkeypatch):
    (tmp_path / "a").write_text('{"by": "elsewhere:1"}')
    monkeypatch.setattr(time, "time", lambda: 1e10)
    with claims.Claims(tmp_path) as one:
        assert not one.take("a")


def test_a_claim_from_the_future_holds_no_longer_than_another(tmp_path):
    (tmp_path / "a").write_text('{"by": "elsewhere:1"}')
    os.utime(tmp_path / "a", (time.time() + 1e5,) * 2)
    assert claims.living(tmp_path) == []
    with claims.Claims(tmp_path) as one:
        assert one.take("a")


@pytest.mark.parametrize("make", [os.mkdir, lambda file: os.symlink(file, file)])
def test_what_is_no_claim_but_called_like_one_is_in_nobodys_way(tmp_path, make):
    make(tmp_path / "a")
    with claims.Claims(tmp_path, lease=0.2) as one:
        assert not one.take("a") and len(claims.living(tmp_path, 0.2)) == 1
        time.sleep(0.3)
        assert one.take("a")


def test_a_claim_of_a_process_that_is_gone_is_free_at_once(tmp_path):
    code = f"""if True:
        import os, pathlib
        from vaesurface.store.claims import Claims
        Claims(pathlib.Path({str(tmp_path)!r})).take("a")
        os._exit(1)
    """
    subprocess.run([sys.executable, "-c", code], check=False)
    assert (tmp_path / "a").exists()
    with claims.Claims(tmp_path) as one:
        assert claims.living(tmp_path) == [] and one.take("a")


# Drivers


@pytest.mark.usefixtures("a_chunk_a_block")
def test_drivers_divide_a_grid(tmp_path, expected):
    grid = partial(sweep.grid, cell, batch_size=2, **AXES)
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: grid(store=tmp_path / "s"), range(3)))
    for result in results:
        same(result, expected)
    assert set(computed(tmp_path / "s").values()) == {1}
    assert list((tmp_path / "s" / "claims").iterdir()) == []


def test_a_driver_waits_for_what_others_are_at_and_takes_it_over(tmp_path, expected, monkeypatch):
    monkeypatch.setattr(filling, "LOOK", 0.05)
    made = store.create(tmp_path / "s")
    *_, plan = sweep._planned(cell, None, AXES, 2)
    folder = made.path / "claims"
    with claims.Claims(folder) as other:
        assert other.take(f"{plan.name}-3")
        threading.Timer(1.0, other.release, [[f"{plan.name}-3"]]).start()
        begin = time.monotonic()
        same(sweep.grid(cell, store=made, batch_size=2, **AXES), expected)
        assert time.monotonic() - begin > 0.9


@pytest.mark.usefixtures("a_chunk_a_block")
def test_shards_are_parts_of_the_work(tmp_path):
    shards = [(i, 3) for i in (1, 2, 3)]
    for i, shard in enumerate(shards):
        sweep.fill(cell, store=tmp_path, shard=shard, batch_size=4, **AXES)
        assert store.open(tmp_path).computed.sum() == [12, 22, 30][i]
    assert set(computed(tmp_path).values()) == {1}
    refused = (
        r"expected (a shard from \(1, m\) to \(m, m\)|shards >= 1|a whole number of shards), got"
    )
    for wrong in ((0, 3), (4, 3), (1.5, 2)):
        with pytest.raises(ValueError, match=refused):
            sweep.fill(cell, store=tmp_path, shard=wrong, **AXES)


def test_planned_cells_that_are_missing_are_there_as_not_computed(tmp_path):
    sweep.fill(cell, store=tmp_path, shard=(1, 5), batch_size=6, **AXES)
    ds = store.open(tmp_path)
    assert ds.sizes["a"] == 6 and ds.sizes["seed"] == 5
    assert ds.computed.sum() == 6 and np.isnan(ds.loss.values[~ds.computed.values]).all()
    (plan,) = plans.read(tmp_path)
    assert plan.total == 30 and plan.size == 6


# What is kept


def heavy(seed):
    return {"loss": 1.0 * seed, "point": jnp.full(40_000, seed, float), "kind": seed}


def test_a_shard_of_no_blocks_says_what_is_asked_for(tmp_path):
    sweep.fill(cell, store=tmp_path, shard=(5, 5), batch_size=10, **AXES)
    assert store.open(tmp_path).computed.size == 30 and not store.open(tmp_path).computed.any()


def test_large_arrays_are_kept_on_demand_only(tmp_path):
    sweep.fill(heavy, store=tmp_path / "a", seed=range(3))
    assert set(store.open(tmp_path / "a")) == {"loss", "kind", "computed"}
    sweep.fill(heavy, store=tmp_path / "b", keep=["point", "loss"], seed=range(3))
    sweep.fill(heavy, store=tmp_path / "b", seed=range(5))  # as the store has it
    ds = store.open(tmp_path / "b")
    assert set(ds) == {"point", "loss", "computed"} and ds.computed.all()
    assert (ds.point == ds.seed).all()
    with pytest.raises(ValueError, match="leaves kind"):
        sweep.grid(heavy, store=tmp_path / "b", seed=range(3))
    with pytest.raises(ValueError, match=r"expected names of results to keep .*, got weight;"):
        sweep.fill(heavy, store=tmp_path / "c", keep=["weight"], seed=range(3))
    assert not (tmp_path / "c").exists()


# Files that vanish or change


@pytest.mark.usefixtures("a_chunk_a_block")
def test_a_record_that_vanishes_while_a_sweep_runs_is_written_again(tmp_path, expected):
    def vanish(total, initial, unit):
        return Meddling(lambda: (tmp_path / "store.json").unlink(missing_ok=True))

    same(sweep.grid(cell, store=tmp_path, batch_size=7, progress=vanish, **AXES), expected)
    assert (tmp_path / "store.json").exists() and store.open(tmp_path).computed.all()


@pytest.mark.usefixtures("a_chunk_a_block")
def test_nothing_is_added_to_what_has_become_another_sweep(tmp_path):
    file = tmp_path / "store.json"

    def change(total, initial, unit):
        other = json.loads(file.read_text()) | {"config": {"latent": 7}}
        return Meddling(lambda: file.write_text(json.dumps(other)))

    with pytest.raises(ValueError, match="as it was when this sweep began, got config latent 7"):
        sweep.grid(cell, store=tmp_path, batch_size=7, progress=change, **AXES)
    assert len(list((tmp_path / "chunks").iterdir())) == 1
    with pytest.raises(
        ValueError, match=r"expected .* to be of the sweep that store.json tells of"
    ):
        store.open(tmp_path)
    file.unlink()
    assert store.open(tmp_path).computed.sum() == 7


class Meddling:
    """A progress bar that does something after the first block."""

    def __init__(self, meddle):
        self.meddle = meddle

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, cells):
        self.meddle()


@pytest.mark.usefixtures("a_chunk_a_block")
def test_an_edited_chunk_is_refused_by_name(tmp_path):
    sweep.fill(cell, store=tmp_path, batch_size=10, **AXES)
    file = sorted(tmp_path.glob("chunks/*.npz"))[1]
    with np.load(file) as chunk:
        arrays = dict(chunk)
    np.savez(file, allow_pickle=False, **arrays | {"leaf_loss": arrays["leaf_loss"] + 1e-9})
    ds = store.open(tmp_path)
    assert np.isfinite(ds.point.values).all()  # what was not edited is there
    with pytest.raises(ValueError, match=f"{file.name} with another leaf_loss than was written"):
        ds.loss.load()


def test_chunks_are_put_together_and_nothing_is_missed(tmp_path, expected, monkeypatch):
    monkeypatch.setattr(filling, "EVERY", 0.0)
    sweep.fill(cell, store=tmp_path, shard=(1, 2), batch_size=1, **AXES)
    before = store.open(tmp_path)
    assert len(list(tmp_path.glob("chunks/*"))) == 15
    monkeypatch.setattr(compaction, "MANY", 8)
    same(sweep.grid(cell, store=tmp_path, batch_size=1, **AXES), expected)
    assert len(list(tmp_path.glob("chunks/*"))) < 8
    assert set(computed(tmp_path).values()) == {1}
    assert not np.isnan(before.loss.values).any()  # opened before, read afterwards
    assert list((tmp_path / "claims").iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE])
def test_a_chunk_that_cannot_be_read_now_is_not_called_damaged(tmp_path, monkeypatch, number):
    sweep.fill(cell, store=tmp_path, **AXES)

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(chunks.files, "opened", refuse)
    file, *_ = tmp_path.glob("chunks/*.npz")
    with pytest.raises(OSError, match=f"{file.name} that cannot be read now"):
        chunks.told(file)


def test_a_reader_is_not_misled_by_another_that_finds_chunks_put_together(
    tmp_path, expected, monkeypatch, a_chunk_a_block
):
    sweep.fill(cell, store=tmp_path, batch_size=2, **AXES)
    ds, leaf, reading = store.open(tmp_path), chunks.Chunk.leaf, []

    def put_together_meanwhile(chunk, name):
        value = leaf(chunk, name)
        if not reading:
            reading.append(name)
            compaction.compact(tmp_path, record.sweep(record.read(tmp_path)))
            ds.loss.isel(a=slice(1, 3)).load()
        return value

    monkeypatch.setattr(chunks.Chunk, "leaf", put_together_meanwhile)
    np.testing.assert_array_equal(ds.loss.values, expected["loss"])


def test_chunks_of_older_versions_come_to_know_their_sweep(tmp_path, expected, monkeypatch):
    monkeypatch.setattr(filling, "EVERY", 0.0)
    sweep.fill(cell, store=tmp_path, shard=(1, 2), batch_size=5, **AXES)
    for file in tmp_path.glob("chunks/*.npz"):
        with np.load(file) as chunk:
            arrays = {name: array for name, array in chunk.items() if name != "about"}
        np.savez(file, allow_pickle=False, **arrays)
    same(sweep.grid(cell, store=tmp_path, batch_size=5, **AXES), expected)
    (tmp_path / "store.json").unlink()
    assert store.open(tmp_path).computed.all()
    assert all(chunks.told(file) for file in tmp_path.glob("chunks/*.npz"))


def test_a_store_that_was_taken_away_meanwhile_says_what_it_lacks(tmp_path, a_chunk_a_block):
    path = tmp_path / "store"

    class Progress(TakenAway):
        def taken_away(self):
            path.rename(tmp_path / "moved")

    sweep.fill(cell, store=path, batch_size=5, progress=Progress, **AXES)
    there = [int(store.open(one).computed.sum()) for one in (path, tmp_path / "moved")]
    assert sum(there) == 30 and store.open(path).computed.size == 30


# Workers


class Mortal(Executor):
    """Its workers die as often as told; counts how often it was started."""

    started = deaths = 0

    def __init__(self):
        type(self).started += 1

    def submit(self, work, /, *args):  # type: ignore[override]
        future: Future = Future()
        if type(self).deaths > 0:
            type(self).deaths -= 1
            future.set_exception(BrokenExecutor("a worker was killed"))
        else:
            future.set_result(work(*pickle.loads(pickle.dumps(args))))
        return future


@pytest.mark.parametrize("deaths", [1, 2])
def test_lost_workers_are_replaced(expected, monkeypatch, deaths):
    monkeypatch.setattr(Mortal, "deaths", deaths)
    monkeypatch.setattr(Mortal, "started", 0)
    same(sweep.grid(cell, executor=lambda: Mortal(), batch_size=30, **AXES), expected)
    assert Mortal.started == 1 + deaths


@pytest.mark.parametrize("lost", [BrokenExecutor, CancelledError])
def test_workers_that_are_lost_again_and_again_end_in_one_line(tmp_path, monkeypatch, lost):
    class Doomed(Mortal):
        def submit(self, work, /, *args):
            if args[-1][0] < 14:
                return super().submit(work, *args)
            future: Future = Future()
            future.set_exception(lost("out of memory"))
            return future

    monkeypatch.setattr(Mortal, "started", 0)
    complaint = "expected workers that stay alive, lost them 3 times .*out of memory.*; what is"
    with pytest.raises(RuntimeError, match=complaint):
        sweep.fill(cell, store=tmp_path, executor=lambda: Doomed(), batch_size=7, **AXES)
    assert store.open(tmp_path).computed.sum() == 14
    with pytest.raises(RuntimeError, match="lost them 1 times"):
        sweep.fill(cell, store=tmp_path, executor=Doomed(), batch_size=7, **AXES)


def product(X, a, seed):
    return jnp.sum(X) * a + seed


class Scale(Executor):
    """Weighs what a worker is sent."""

    weights: list[int]

    def __init__(self):
        self.weights = []

    def submit(self, work, /, *args):  # type: ignore[override]
        self.weights.append(len(pickle.dumps((work, args))))
        future: Future = Future()
        future.set_result(work(*args))
        return future


@pytest.mark.parametrize("wrap", [np.asarray, jnp.asarray])
def test_a_block_carries_no_data_wherever_they_are(tmp_path, wrap):
    X = wrap(np.random.default_rng(0).normal(size=(2000, 784)))
    inside = partial(product, {"X": X}["X"])
    for fn in (inside, lambda a, seed: product(X, a, seed)):
        scale = Scale()
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        sweep.fill(fn, store=out, executor=scale, batch_size=2, **AXES)
        assert len(scale.weights) == 15 and max(scale.weights) < 1000
        payload = {file.suffix: file.stat().st_size for file in (out / "payload").iterdir()}
        assert payload[".npy"] > X.nbytes > 1000 * payload[".pickle"] and len(payload) == 2
        found = store.open(out).value.sel(a=1.0, seed=0)
        np.testing.assert_allclose(found, np.sum(X), rtol=1e-10)


def test_a_parcel_has_each_array_once():
    X = np.ones((300, 300))
    parcel = travel.pack({"one": X, "two": [X, X.copy()], "key": jnp.ones(3)})
    assert len(parcel.contents) == 2
    back = travel.unpack(parcel.digest, parcel.contents)
    np.testing.assert_array_equal(back["two"][1], X)


@pytest.mark.parametrize(
    "value",
    [
        np.ma.masked_less(np.arange(30_000.0), 10.0),
        np.ones(30_000).view(np.recarray),
        jnp.full(30_000, 1.0),
    ],
    ids=["masked", "subclass", "weak"],
)
def test_an_array_that_is_more_than_its_numbers_arrives_as_what_it_is(value):
    parcel = travel.pack(value)
    back = travel.unpack(parcel.digest, parcel.contents)
    assert type(back) is type(value)
    assert getattr(back, "weak_type", None) == getattr(value, "weak_type", None)
    assert np.ma.count_masked(back) == np.ma.count_masked(value)
    np.testing.assert_array_equal(np.ma.getdata(back), np.ma.getdata(value))


DRIVER = """if True:
    import sys, jax, numpy as np
    from functools import partial
    jax.config.update("jax_enable_x64", True)
    from vaesurface import sweep
    def slow(a, seed):
        return jax.lax.fori_loop(0, 10**6, lambda i, x: x + 1e-3 * jax.numpy.sin(x), a + seed)
    sweep.fill(
        slow, store=sys.argv[1], a=np.linspace(0, 1, 40), seed=np.arange(10), batch_size=2,
        executor=partial(sweep.processes, 2),
    )
"""


def alive(parent):
    """Processes whose parent is, or was, this one."""
    listed = subprocess.run(
        ["ps", "-eo", "pid,ppid,stat"], capture_output=True, text=True, check=True
    )
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    return {int(pid) for pid, ppid, stat in rows if int(ppid) == parent and stat[0] != "Z"}


def running(pids):
    listed = subprocess.run(["ps", "-eo", "pid,stat"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in listed.stdout.splitlines()[1:]]
    return {int(pid) for pid, stat in rows if int(pid) in pids and stat[0] != "Z"}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="Windows has other signals")
def test_workers_end_when_their_driver_is_killed(tmp_path):
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, tmp_path])
    begin = time.monotonic()
    while not list(tmp_path.glob("chunks/*.npz")) and time.monotonic() - begin < 60:
        time.sleep(0.1)
    children = alive(driver.pid)
    assert len(children) >= 2
    driver.kill()
    driver.wait()
    begin = time.monotonic()
    while running(children) and time.monotonic() - begin < 20:
        time.sleep(0.1)
    assert not running(children)
    assert claims.living(tmp_path / "claims") == []  # and what it was at is anyone's


def test_cores_are_those_that_may_be_used(monkeypatch):
    assert workers.cores() <= len(os.sched_getaffinity(0))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert workers.cores() == 1
