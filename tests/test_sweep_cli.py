"""`vaesurface sweep` beyond one process: shards, workers, more axes, own functions, SIGTERM."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas
import pytest

from vaesurface import cli, files, report, store
from vaesurface.cli import ending, forecasts, grids
from vaesurface.experiments import ends, starts
from vaesurface.store import status

SWEEP = (
    "sweep --data digits-4x4 --limit 12 --latent 1 --alpha 0,0.4 --scale 0.05,1 --seeds 2 "
    "--steps 300"
)


@pytest.fixture(scope="module")
def swept(run_command, tmp_path_factory):
    """A finished sweep, by two shards, that kept verdicts only."""
    out = tmp_path_factory.mktemp("sharded") / "store"
    for shard in ("1/2", "2/2"):
        line = f"{SWEEP} --keep loss,kind --batch-size 2 --out {out}"
        assert run_command(f"{line} --shard {shard}") == 0
        assert status.read(out).missing == (4 if shard == "1/2" else 0)
    return out


def test_a_shard_ends_with_the_status_and_the_last_one_with_the_answer(vaesurface, tmp_path):
    line = f"{SWEEP} --batch-size 2 --out {tmp_path / 's'} --json"
    code, out, _ = vaesurface(f"{line} --shard 2/2")
    assert code == 0
    assert (json.loads(out)["planned"], json.loads(out)["missing"]) == (8, 4)
    code, out, _ = vaesurface(f"{line} --shard 1/2")
    assert code == 0
    assert sum(point["starts"] for point in json.loads(out)["points"]) == 8
    assert len(json.loads(out)["answer"]) > 3


@pytest.mark.slow
def test_a_table_has_all_cells_and_features_are_called_as_the_file_calls_them(vaesurface, tmp_path):
    file, table, out = tmp_path / "rows.csv", tmp_path / "tables" / "cells.csv", tmp_path / "s"
    file.write_text("width,height\n1.5,2.0\n3.1,4.5\n0.2,0.7\n")
    line = f"sweep --data {file} --alpha 0.4 --scale 1 --seeds 2 --steps 20 --out {out}"
    code, said, _ = vaesurface(f"{line} --latent 1,2 --table {table} --json")
    assert code == 0
    assert json.loads(said)["files"] == [str(table)]
    cells = pandas.read_csv(table)
    assert cells[["latent", "alpha", "scale", "seed"]].values.tolist() == [
        [latent, 0.4, 1.0, seed] for latent in (1, 2) for seed in (0, 1)
    ]
    assert cells.label.notna().all()
    tree = store.open_tree(out)
    assert tree["latent=2"].feature.values.tolist() == ["width", "height"]
    assert all(variable.attrs["units"] for variable in tree["latent=1"].variables.values())
    code, _, said = vaesurface(f"{line} --latent 1,2 --table {tmp_path / 'cells.xlsx'}")
    assert (code, said.count("\n")) == (2, 1)
    assert "--table: expected a table's path, which ends in .csv or .parquet" in said


def test_points_are_told_apart_without_parameters_and_figures_say_what_they_lack(
    vaesurface, swept, tmp_path
):
    assert not any("params_w" in name for name in store.kept(swept))
    again = starts.reopen(swept)
    points = ends.distinct(again)
    assert sum(point.starts for point in points) == 8
    assert {point.label for point in points} >= {"global optimum", "collapsed local minimum"}
    code, out, _ = vaesurface(f"plot {swept} --out {tmp_path} --json")
    assert code == 0
    assert [file.rsplit("/", 1)[1] for file in json.loads(out)["files"]] == ["phase.png"]
    assert "--keep all" in json.loads(out)["left_out"]
    code, out, err = vaesurface(f"slice {swept} --out {tmp_path}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected parameters for line, plane" in err
    code, _, _ = vaesurface(f"report {swept} --out {tmp_path / 'page.html'}")
    assert code == 0
    assert not (swept / "report").exists()
    assert "expected parameters" in (tmp_path / "page.html").read_text()


@pytest.fixture(scope="module")
def several(run_command, tmp_path_factory):
    """A sweep over latents and gamma."""
    out = tmp_path_factory.mktemp("several")
    line = SWEEP.replace("--latent 1", "--latent 1,2 --gamma 0.1,0.5").replace("0.05,1", "1")
    assert run_command(f"{line.replace('--seeds 2', '--seeds 4:6')} --out {out}") == 0
    return out


def test_latents_get_a_store_each_and_gamma_an_axis(vaesurface, several, tmp_path):
    assert list(starts.stores(several)) == ["latent=1", "latent=2"]
    ds = store.open(several / "latent=2")
    assert dict(ds.kind.sizes) == {"alpha": 2, "scale": 1, "gamma": 2, "seed": 2}
    assert ds.seed.values.tolist() == [4, 5] and ds.computed.all()
    parts = starts.parts(starts.reopen(several / "latent=1"))
    assert list(parts) == ["gamma=0.1", "gamma=0.5"]
    (low, high) = parts.values()
    assert low.settings["gamma"] == 0.1 and "γ = 0.1" in low.ds.attrs["data"]
    problem = high.problem(0.4)
    assert float(low.ds.loss.min()) < float(problem.loss(problem.collapsed()))
    with pytest.raises(ValueError, match=r"got .* with latent=1, latent=2 in it; name one"):
        starts.reopen(several)
    code, out, _ = vaesurface(f"plot {several} --out {tmp_path} --json")
    assert code == 0
    assert len(list(tmp_path.glob("latent=?,gamma=0.?/phase.png"))) == 4
    code, out, _ = vaesurface(f"report {several} --out {tmp_path / 'page.html'} --json")
    assert code == 0
    assert json.loads(out)["studies"][3] == "Which starts collapse? (latent=2,gamma=0.5)"
    assert "report" not in os.listdir(several)


def test_the_answer_of_several_has_parts(vaesurface, several):
    line = SWEEP.replace("--latent 1", "--latent 1,2 --gamma 0.1,0.5").replace("0.05,1", "1")
    line = line.replace("--seeds 2", "--seeds 4:6")
    code, out, _ = vaesurface(f"{line} --out {several} --json")
    parts = json.loads(out)["parts"]
    assert code == 0
    assert [part["part"] for part in parts] == [
        f"latent={k},gamma={g}" for k in (1, 2) for g in (0.1, 0.5)
    ]
    assert all(sum(point["starts"] for point in part["points"]) == 4 for part in parts)


def test_a_single_gamma_is_a_setting_as_it_was(tmp_path):
    X = np.random.default_rng(0).normal(size=(9, 3))
    axes = {"alpha": [0.1], "scale": [1.0], "seeds": 2}
    one = starts.asked(X, "x", 1, gamma=0.5, **axes)
    assert one.settings["gamma"] == 0.5 and list(one.axes) == ["alpha", "scale", "seed"]
    two = starts.asked(X, "x", 1, gamma=[0.5, 1.0], beta=[1.0, 2.0], **axes)
    assert two.settings["gamma"] == two.settings["beta"] == starts.AXIS
    assert list(two.axes) == ["alpha", "scale", "gamma", "beta", "seed"]


def test_explain_computes_and_writes_nothing(vaesurface, swept, tmp_path):
    line = f"{SWEEP} --out {tmp_path / 'new'} --explain"
    code, out, err = vaesurface(f"{line} --json")
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert (told["cells"], told["there"], told["missing"]) == (8, 0, 8)
    assert told["seconds_per_cell"] > 0 and told["seconds"] > 0
    assert not (tmp_path / "new").exists()
    code, out, _ = vaesurface(line)
    assert [row.partition(":")[0] for row in out.splitlines()] == "cells memory time disk".split()
    more = SWEEP.replace("--seeds 2", "--seeds 5")
    before = {p: p.stat().st_mtime_ns for p in swept.rglob("*")}
    code, out, _ = vaesurface(f"{more} --out {swept} --explain")
    assert code == 0
    assert "20 planned (2 alpha x 2 scale x 5 seed), 8 already there, 12 to compute" in out
    assert "measured on the cells in" in out
    assert {p: p.stat().st_mtime_ns for p in swept.rglob("*")} == before
    code, _, err = vaesurface(f"{SWEEP} --steps 9 --out {swept} --explain")
    assert code == 2 and "expected the sweep that" in err


def test_the_size_on_disk_is_what_explain_said(vaesurface, several, tmp_path):
    line = SWEEP.replace("--latent 1", "--latent 1,2 --gamma 0.1,0.5").replace("0.05,1", "1")
    line = line.replace("--seeds 2", "--seeds 4:6")
    _, out, _ = vaesurface(f"{line} --out {tmp_path} --explain --json")
    told = [part["bytes"] / part["cells"] for part in json.loads(out)["parts"]]
    for name, each in zip(("latent=1", "latent=2"), told, strict=True):
        ds = store.open(several / name)
        kept = sum(v.nbytes for n, v in ds.data_vars.items() if n not in ("label", "computed"))
        assert 0 < each - kept / ds.kind.size < 300  # the axes' values, and words


FUNCTION = """
import jax, jax.numpy as jnp

def run(X, width, seed, power=1.0):
    draw = jax.random.normal(jax.random.key(seed), X.shape[1:])
    return {"mean": jnp.mean(X @ draw) * width**power, "many": jnp.ones(3) * width}

def sized(width, seed):
    return jnp.sum(jax.random.normal(jax.random.key(seed), (width,)))

def broken(seed):
    raise ZeroDivisionError("here\\nand there")
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module of the user's in the current directory."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(FUNCTION)
    monkeypatch.chdir(tmp_path)
    return name


def test_a_function_of_the_users_is_swept_over_its_arguments(vaesurface, own, tmp_path):
    line = f"sweep --function {own}:run --axis width=1,2,4 --axis seed=0:10 --set power=2"
    line += f" --data digits-4x4 --limit 9 --out {tmp_path / 'f'}"
    code, out, _ = vaesurface(line)
    assert code == 0
    assert "mean" in out and "30 cells planned, 30 done, 0 missing" in out
    ds = store.open(tmp_path / "f")
    np.testing.assert_allclose(ds["mean"].sel(width=4), 16 * ds["mean"].sel(width=1))
    config = tmp_path / "own.toml"
    config.write_text(
        f'function = "{own}:run"\ndata = "digits-4x4"\nlimit = 9\nout = "{tmp_path / "f"}"\n'
        '[axis]\nwidth = "1,2,4"\nseed = "0:20"\n[set]\npower = 2\n'
    )
    code, out, _ = vaesurface(f"sweep --config {config} --json")
    assert code == 0
    assert json.loads(out)["done"] == 60
    code, _, err = vaesurface(f"{line} --set power=3".replace("--set power=2", ""))
    assert code == 2 and "power 2 there and 3 here" in err


def test_an_argument_that_sizes_depend_on_gets_a_store_for_each_value(vaesurface, own, tmp_path):
    line = f"sweep --function {own}:sized --axis seed=0:3 --out {tmp_path / 'f'}"
    code, _, err = vaesurface(f"{line} --axis width=1,2")
    assert code == 2 and "--each instead of --axis" in err
    assert not (tmp_path / "f").exists()
    code, out, _ = vaesurface(f"{line} --each width=1,2 --json")
    assert code == 0
    assert [one["done"] for one in json.loads(out)["stores"]] == [3, 3]
    assert sorted(os.listdir(tmp_path / "f")) == ["width=1", "width=2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--function {own}:broken --axis seed=0:3", "ZeroDivisionError: here"),
        ("--function {own}:nothing --axis seed=0:3", "no attribute"),
        ("--function {own} --axis seed=0:3", "MODULE:FUNCTION"),
        ("--function no.such.module:run --axis seed=0:3", "ModuleNotFoundError"),
        ("--function {own}:sized --axis seed=0:3", "missing a required argument: 'width'"),
        ("--function {own}:sized --axis seed=0:3 --each width=2 --limit 9", "which has none"),
        ("--function {own}:sized --axis seed=0:3 --axis seed=4", "seed twice"),
        ("--function {own}:sized --axis seed=0:3 --set seed=4", "seed twice"),
        ("--function {own}:sized --axis store=0:3", "rename it"),
        ("--function {own}:sized --axis seed", "--axis like width=1,2,4"),
        ("--function {own}:sized --alpha 0", "got --alpha"),
        ("--function {own}:sized", "an --axis for --function"),
        ("--axis seed=0:3", "a function for --axis"),
        ("--gamma nan", "--gamma as a finite number"),
        ("--gamma 0.1,0.1", "0.1 twice"),
        ("--beta 0", "--beta > 0"),
        ("--learning-rate nan", "--learning-rate"),
        ("--scale inf", "--scale"),
        ("--seeds 5:3", "a range of seeds"),
        ("--seeds 1,1", "1 twice"),
        ("--seeds 100000000000000000000000", "--seeds"),
        ("--seeds 4294967296:4294967300", "a range of seeds"),
        ("--latent 0", "--latent >= 1"),
        ("--latent 1,x", "whole numbers for --latent"),
        ("--rows 5,99999", "--rows up to the data's 1797"),
        ("--latent 1,17", "1 <= latent <= 16"),
        ("--shard 0/2", "--shard like 1/4"),
        ("--shard 3/2", "--shard like 1/4"),
        ("--batch-size 0", "--batch-size >= 1"),
        ("--workers 0", "--workers >= 1"),
        ("--workers 2 --scheduler tcp://x", "one kind of workers"),
        ("--scheduler-file nowhere.json", "a file for --scheduler-file"),
        ("--memory 0.01", "expected memory for one worker"),
        ("--memory 1 --scheduler tcp://x", "no --memory for a cluster"),
        ("--keep everything", "results out of all"),
    ],
)
def test_bad_options_are_one_line_and_leave_nothing(vaesurface, own, tmp_path, line, message):
    code, out, err = vaesurface(f"sweep --out {tmp_path / 'new'} {line.format(own=own)}")
    assert (code, out) == (2, "")
    assert err.startswith("vaesurface: ") and err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "new").exists()


def test_toml_takes_lists_and_texts_alike(tmp_path):
    def told(text):
        file = tmp_path / "sweep.toml"
        file.write_text(text)
        return grids.gathered(grids.Settings(), grids.Own(), file)

    lists = "alpha = [0, 0.1]\nlatent = [1, 2]\nrows = 9\nseeds = 3\ngamma = [0.5]\nbeta = [1, 2]"
    texts = 'alpha = "0,0.1"\nlatent = "1,2"\nrows = "9"\nseeds = "3"\ngamma = "0.5"\nbeta = "1,2"'
    assert told(lists) == told(texts)
    assert told(lists)["gamma"] == 0.5 and told(lists)["beta"] == [1.0, 2.0]
    for bad in ("alpha = [1979-05-27]", 'alpha = ["a"]', "seeds = true", "latent = 1.5"):
        with pytest.raises(ValueError, match=r"^expected .*; [^\n]+$"):
            told(bad)


def test_memory_decides_how_many_workers_there_are_at_a_time():
    X = np.zeros((100, 16))
    what = starts.Asked(X, {"latent": 2}, None, {})
    four = cli.options.Workers(workers=4)
    one = forecasts.fitting(what, cli.options.Workers(workers=1), 100.0)
    assert (one, forecasts.fitting(what, four, 100.0), forecasts.fitting(what, four, 3.0)) == (
        1,
        4,
        2,
    )
    with pytest.raises(ValueError, match=r"expected memory for one worker, about 1.3 GB, got 1 GB"):
        forecasts.fitting(what, four, 1.0)


def test_a_finished_store_needs_no_place_to_write_to(vaesurface, swept, monkeypatch):
    def refused(*_, **__):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", refused)
    monkeypatch.setattr(files, "replacing", refused)
    line = f"{SWEEP} --batch-size 2 --out {swept}"
    assert vaesurface(line)[0] == 0
    code, out, err = vaesurface(line.replace("--seeds 2", "--seeds 3"))
    assert (code, out) == (2, "")
    assert "expected a place that can be written to" in err


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["sweep", "status", "plot", "slice", "report"])
def test_what_is_on_a_read_only_disk_can_be_used(several, tmp_path, verb):
    folder = several / "latent=1"
    write, out = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}", ""
    if verb == "sweep":
        line = SWEEP.replace("0.05,1", "1").replace("--seeds 2", "--seeds 4:6")
        line += f" --gamma 0.1,0.5 --out {folder}"
    else:
        out = "" if verb == "status" else f" --out {tmp_path / 'page.html'}"
        line = f"{verb} {folder}{out}"
    run = f"{write} && ! touch {folder}/x 2> /dev/null && {sys.executable} -m vaesurface {line}"
    mounted = subprocess.run(["unshare", "-m", "sh", "-c", write], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root can mount a folder read-only")
    ended = subprocess.run(["unshare", "-m", "sh", "-c", run], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_sigterm_is_taken_for_an_interruption(monkeypatch):
    def terminated():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(ending, "PATIENCE", 0.5)
    with pytest.raises(KeyboardInterrupt), ending.asked_to_end() as asked:
        terminated()
    assert asked.terminated
    assert signal.getsignal(signal.SIGTERM) is before
    time.sleep(1)  # who has heard of it is not ended, too


def test_sigterm_is_heard_without_set_blocking_as_on_windows_with_python_3_11(monkeypatch):
    monkeypatch.delattr(os, "set_blocking")
    monkeypatch.setattr(signal, "set_wakeup_fd", lambda place, warn_on_full_buffer=True: -1)
    with pytest.raises(KeyboardInterrupt), ending.asked_to_end() as asked:
        signal.raise_signal(signal.SIGTERM)
    assert asked.terminated


def test_a_program_that_cannot_hear_of_sigterm_ends_all_the_same():
    deaf = (
        "import os, signal\n"
        "from vaesurface.cli import ending\n"
        "ending.PATIENCE = 0.2\n"
        "with ending.asked_to_end():\n"
        "    signal.signal(signal.SIGTERM, lambda *_: None)\n"  # as while XLA compiles
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    while True:\n"
        "        pass\n"
    )
    ended = subprocess.run([sys.executable, "-c", deaf], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (143, f"vaesurface: {ending.WORDS}\n")


def test_who_is_interrupted_does_not_wait_for_what_jax_computes_still():
    waiting = (
        "import atexit, multiprocessing, time\n"
        "atexit.register(time.sleep, 1000)\n"  # as JAX's runtime has it, which crashes then
        "import jax\n"
        "from vaesurface.cli import ending\n"
        "lock = multiprocessing.get_context('spawn').Lock()\n"  # is cleared away all the same
        "ending.leave(ending.INTERRUPTED)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", waiting], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (130, "")


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["", "--workers 2"])
def test_a_driver_that_is_terminated_keeps_what_is_finished(tmp_path, workers):
    out = tmp_path / "s"
    line = SWEEP.replace("--seeds 2", "--seeds 20000") + f" --out {out} {workers}"
    command = [sys.executable, "-m", "vaesurface", *line.split()]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 300
    while not [*out.glob("chunks/*.npz")] and time.monotonic() < end:
        time.sleep(0.1)
    running.send_signal(signal.SIGTERM)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 143
    assert err.splitlines()[-1] == f"vaesurface: {ending.WORDS}"
    found = status.read(out)
    assert found.done > 0 and found.missing > 0 and found.running == []
    assert os.listdir(out / "claims") == []


@pytest.mark.slow
def test_processes_give_what_threads_give(vaesurface, swept, tmp_path):
    assert vaesurface(f"{SWEEP} --workers 2 --out {tmp_path / 's'} --json")[0] == 0
    other = store.open(swept).loss.values
    np.testing.assert_array_equal(store.open(tmp_path / "s").loss.values, other)


def test_reports_of_other_stores_are_not_in_the_way(vaesurface, tmp_path):
    study = report.Study("path", "A way out")
    report.save(study, tmp_path)
    store.create(tmp_path / "prop41", None, kind="plain")
    code, out, _ = vaesurface(f"report {tmp_path} --json")
    assert code == 0
    assert json.loads(out)["studies"] == ["A way out"]
