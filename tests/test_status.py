"""How far a store is: what was planned, who is at it, what failed, how long it may take."""

import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

from vaesurface import store, sweep
from vaesurface.store import claims, compaction, plans, status
from vaesurface.sweep import filling

AXES = {"alpha": [0.0, 0.5, 1.0], "number": [1, 2, 3, 4]}


def cheap(alpha, number):
    return {"energy": alpha * number, "many": number + np.zeros(3)}


@pytest.fixture
def half(tmp_path):
    """A store of which the first of two shards is done."""
    return sweep.fill(cheap, store=tmp_path / "half", shard=(1, 2), batch_size=2, **AXES)


def test_a_shard_leaves_the_rest_missing_and_the_other_finishes_it(half):
    found = status.read(half.path)
    assert (found.planned, found.done, found.missing) == (12, 6, 6)
    assert found.running == [] and found.failed == []
    assert sum(found.made.values()) == 6 and next(iter(found.made)).endswith(f":{os.getpid()}")
    assert found.rate > 0 and 0 < found.left < 60
    assert "nobody is at work" in found.words
    sweep.fill(cheap, store=half, shard=(2, 2), batch_size=2, **AXES)
    found = status.read(half.path)
    assert (found.planned, found.done, found.left) == (12, 12, 0.0)
    assert found.words[0] == "12 cells planned, 12 done, 0 missing"


def test_plans_that_overlap_are_counted_once(half):
    sweep.fill(cheap, store=half, shard=(1, 6), alpha=[1.0, 2.0], number=[4, 5], batch_size=1)
    assert status.read(half.path).planned == 12 + 3  # one of its cells is in the first plan
    assert status.present(half.path, AXES) == 7


def test_what_is_there_of_a_grid_is_counted_without_a_plan(tmp_path):
    assert status.present(tmp_path, AXES) == 0
    made = store.create(tmp_path / "s", None, kind="plain")
    assert status.present(made.path, AXES) == 0
    sweep.fill(cheap, store=made, alpha=[0.5, 9.0], number=[1])
    assert status.present(made.path, AXES) == 1
    shutil.rmtree(made.path / "plans")
    found = status.read(made.path)
    assert (found.planned, found.done) == (2, 2)


def test_claims_alive_are_running_and_others_are_not(half):
    (plan,) = plans.read(half.path)
    other = {"by": "node7:99", "machine": "another", "pid": 1, "began": 1}
    for block, age in ((1, 0.0), (3, 0.0), (5, 2 * claims.LEASE)):
        file = half.path / "claims" / f"{plan.name}-{block}"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(other))
        os.utime(file, (time.time() - age,) * 2)
    (half.path / "claims" / "compacting").write_text(json.dumps(other))
    found = status.read(half.path)
    assert [one._asdict() for one in found.running] == [
        {"by": "node7:99", "blocks": [1, 3], "cells": 4}
    ]
    assert any(line == "running: node7:99 at blocks 1, 3 (4 cells)" for line in found.words)


def test_what_failed_is_told_until_it_is_done(half):
    (plan,) = plans.read(half.path)
    folder = half.path / "failures"
    folder.mkdir()
    told = {"error": "ValueError: odd", "by": "node7:99", "block": 3, "time": 5.0}
    (folder / f"{plan.name}-3.json").write_text(json.dumps(told))
    (folder / f"{plan.name}-0.json").write_text(json.dumps(told))  # done meanwhile
    (folder / f"{plan.name}-1.json").write_text("{")
    found = status.read(half.path)
    assert [(one.block, one.cells, one.error[:16]) for one in found.failed] == [
        (3, 2, "ValueError: odd"),
        (1, 2, "not known, " + str(folder)[:5]),
    ]
    sweep.fill(cheap, store=half, batch_size=2, **AXES)
    assert status.read(half.path).failed == []


def test_a_damaged_store_is_one_line_that_names_the_file(half, vaesurface):
    file = next((half.path / "chunks").iterdir())
    file.write_bytes(file.read_bytes()[:-40])
    code, out, err = vaesurface(f"status {half.path}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert str(file) in err and "delete it" in err


def test_the_verb_says_it_in_words_and_json_and_leaves_the_store_alone(half, vaesurface):
    before = {p: p.stat().st_mtime_ns for p in half.path.rglob("*")}
    code, out, _ = vaesurface(f"status {half.path} --json")
    told = json.loads(out)
    assert code == 0
    assert (told["planned"], told["done"], told["missing"]) == (12, 6, 6)
    assert told["seconds_left"] > 0 and told["failed"] == []
    code, out, _ = vaesurface(f"status {half.path}")
    assert code == 0 and out.startswith("12 cells planned, 6 done, 6 missing\n")
    assert {p: p.stat().st_mtime_ns for p in half.path.rglob("*")} == before
    shutil.copytree(half.path, half.path.parent / "other")
    code, out, _ = vaesurface(f"status {half.path.parent} --json")
    assert code == 0 and [one["done"] for one in json.loads(out)["stores"]] == [6, 6]


def test_an_exit_code_of_1_says_that_something_failed(half, vaesurface):
    (half.path / "failures").mkdir()
    (half.path / "failures" / "somebody-else-3.json").write_text('{"error": "odd"}')
    code, out, _ = vaesurface(f"status {half.path}")
    assert code == 1
    assert "failed: a block, by somebody: odd" in out


def test_a_compacted_store_still_tells_who_did_how_much(tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "EVERY", 0.0)
    monkeypatch.setattr(compaction, "MANY", 3)
    made = sweep.fill(cheap, store=tmp_path / "s", batch_size=2, **AXES)
    assert len([*made.path.glob("chunks/*.npz")]) < 6
    found = status.read(made.path)
    assert sum(found.made.values()) == 12 and len(found.made) == 1
    assert found.rate > 0


def test_status_may_be_asked_while_a_driver_is_at_work(tmp_path):
    store.create(tmp_path, None)
    ends = threading.Event()

    def work():
        try:
            sweep.fill(cheap, store=tmp_path, batch_size=1, **AXES)
        finally:
            ends.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not ends.is_set():
        found = status.read(tmp_path)
        assert 0 <= found.done <= found.planned <= 12
    thread.join()
    assert status.read(tmp_path).missing == 0


def test_stores_of_a_directory_are_found(half):
    assert status.below(half.path) == {"": half.path}
    assert status.below(half.path.parent) == {"half": half.path}
    assert status.below(half.path / "nowhere") == {}
