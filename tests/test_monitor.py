"""A monitor says of every look what a diagnosis says, knows what several looks say together, and
never stands in the way of training.
"""

import json
import math
import subprocess
import sys
import warnings

import exports
import numpy as np
import pytest

from vaesurface import diagnose, monitor, report
from vaesurface.diagnose.terms import ACTIVE_NATS
from vaesurface.monitor import CollapseWarning, Monitor, Phase, page, record, words
from vaesurface.monitor.course import LOOKS
from vaesurface.monitor.reading import Reader

X = exports.data_of(exports.Setting(n=300))
LATENTS = 3
BEST = exports.affine(X, LATENTS, gamma=0.2)
STEPS = 1000


def quiet():
    """A monitor that keeps what it says to itself."""
    return Monitor(every=1, steps=STEPS, warn=lambda _: None)


def fed(arrays, steps=STEPS, every=50, **options):
    """A monitor that has seen arrays(step) at every so many steps, and what it warned of."""
    said = []
    watching = Monitor(every=every, steps=steps, warn=said.append, **options)
    for step in range(0, STEPS + 1, every):
        assert watching.due(step)
        watching.update(step, **arrays(step))
    return watching, said


def off(gamma, beta=1.0):
    """Everything off, the bias at its best."""
    return exports.off(X, LATENTS, gamma) | {"beta": beta}


# A look


@pytest.mark.parametrize("row", exports.of_known_kind(), ids=lambda row: row.name)
def test_a_look_says_what_a_diagnosis_says(row):
    whole, seen = diagnose.arrays(**row.arrays), quiet().update(0, **row.arrays)
    for name in ("energy", "error", "gamma", "gammabar", "beta", "lasting", "pays"):
        assert getattr(seen, name) == getattr(whole, name), name
    for name in ("kl", "carried", "active"):
        assert getattr(seen, name) == tuple(getattr(whole, name)), name
    assert seen.variance == whole.residual[0]
    assert seen.unsettled == {part.what: part.nats for part in whole.unsettled}
    if not whole.below_floor:  # which takes the gap to know
        assert (seen.kind, seen.label) == (whole.kind.name, whole.label)


def test_rows_are_looked_at_anew_where_they_change():
    reader, other = Reader(), exports.data_of(exports.Setting(n=300, seed=1), (1.0,))
    reader.read(0, 0.0, **BEST)
    arrays = exports.affine(other, LATENTS, gamma=0.2)
    assert reader.read(1, 0.0, **arrays) == Reader().read(1, 0.0, **arrays)


def test_beta_may_be_zero():
    seen = quiet().update(0, **off(0.2, beta=0.0))
    assert (seen.beta, seen.pays) == (0.0, 1)


@pytest.mark.parametrize("likelihood", ["bernoulli", "poisson"])
def test_other_likelihoods_are_read_without_other_decoders(likelihood):
    x = np.random.default_rng(0).integers(0, 2, (200, 6)).astype(float)
    x[:, 1] = x[:, 0]
    arrays = {
        "x": x,
        "mean": np.zeros((200, 2)),
        "log_std": np.zeros((200, 2)),
        "reconstruction": np.tile(x.mean(axis=0), (200, 1)),
        "likelihood": likelihood,
    }
    seen, whole = quiet().update(0, **arrays), diagnose.arrays(**arrays)
    assert seen.energy == whole.energy
    assert (seen.likelihood, seen.gamma) == (likelihood, 1.0)
    assert (seen.pays, seen.lasting) == (whole.pays, whole.lasting)
    assert seen.variance == pytest.approx(whole.residual[0], rel=1e-12)


# Several looks


def test_latents_that_gamma_keeps_off_are_told_of_once():
    watching, said = fed(lambda _: off(gamma=30.0))
    assert watching.course.phase == Phase.SHUT
    assert len(said) == 1
    assert "3 of 3 latents have not switched on: at beta gamma = 30" in said[0]
    assert "the largest in the residual is 9" in said[0]
    assert "learn gamma, or hold it below 9" in said[0]
    # Said early: it cannot change.
    assert int(said[0].split(":")[0].split()[1].replace(",", "")) <= STEPS // 4


def test_a_beta_that_is_too_large_is_named():
    _, said = fed(lambda _: off(gamma=0.2, beta=100.0))
    assert "lower beta from 100 to 1" in said[0]
    assert f"below {9.0 / 0.2:.3g}" in said[0]


def test_latents_that_switch_off_when_beta_rises():
    def arrays(step):
        return BEST if step < 400 else off(gamma=0.2, beta=100.0)

    watching, said = fed(arrays)
    assert watching.course.since == 400
    assert "3 of 3 latents switched off, from step 400 on" in said[0]


def test_a_plateau_is_a_plateau_until_it_has_lasted():
    watching, said = fed(lambda step: off(gamma=0.2) if step < 150 else BEST)
    assert Phase.PLATEAU in watching.course.phases[:3]
    assert (watching.course.phase, said) == (Phase.USED, [])
    watching, said = fed(lambda _: off(gamma=0.2))
    assert watching.course.phase == Phase.STUCK
    assert "a bad local optimum or a long plateau" in said[0]
    assert len(said) == 1


def test_a_latent_on_its_way_is_waited_for():
    def arrays(step):
        made = off(gamma=0.2)
        growing = 0.01 * math.exp(step / 350.0)
        made["mean"] = made["mean"] + growing * BEST["mean"] / BEST["mean"].std(axis=0)
        return made

    watching, said = fed(arrays)
    on = [any(update.active) for update in watching.updates]
    assert on.index(True) > 0.6 * len(on)  # long after a plateau that lasts is called a trap
    assert said == []


def test_a_run_that_gets_on_latent_by_latent_is_waited_for():
    wide = exports.data_of(exports.Setting(n=300, d=20), (9.0, 8.0, 7.0, 6.0, 5.0, 4.0))

    def arrays(step):
        return exports.affine(wide, 6, gamma=0.2, keep=1 + step // 180)

    watching, said = fed(arrays)
    assert [sum(update.active) for update in watching.updates][-1] == 6
    assert Phase.PLATEAU in watching.course.phases
    assert said == []


def test_a_warning_is_void_once_latents_are_in_use():
    watching, said = fed(lambda step: off(gamma=0.2) if step < 500 else BEST)
    assert len(said) == 2
    assert "3 of 3 latents in use now; the earlier warning is void" in said[1]
    assert watching.course.phase == Phase.USED


def test_a_warm_up_that_ends_where_latents_pay_raises_no_alarm():
    def arrays(step):
        beta = min(1.0, step / 500.0)
        return exports.affine(X, LATENTS, gamma=0.2, beta=max(beta, 1e-6)) | {"beta": beta}

    watching, said = fed(arrays)
    assert (watching.course.phase, said) == (Phase.USED, [])


def test_latents_that_no_decoder_needs_are_no_alarm():
    watching, said = fed(lambda _: exports.affine(X, 6, gamma=0.2))
    assert sum(watching.updates[-1].active) == 3
    assert (watching.course.phase, said) == (Phase.USED, [])


def test_without_a_planned_number_of_steps_it_takes_longer():
    watching, _ = fed(lambda _: off(gamma=30.0), steps=None)
    first = next(i for i, phase in enumerate(watching.course.phases) if phase.alarming)
    assert first == LOOKS[False] - 1


def test_what_is_not_finite_is_an_alarm_and_no_error():
    broken = BEST | {"mean": np.full_like(BEST["mean"], np.nan)}
    watching, said = fed(lambda step: BEST if step < 500 else broken)
    assert watching.course.phase == Phase.BROKEN
    assert "expected finite mean" in said[0] and "earlier checkpoint" in said[0]
    assert len(said) == 1


def test_a_state_is_a_sentence_at_every_step():
    watching = quiet()
    assert watching.state == "nothing seen yet"
    watching.update(0, **off(gamma=0.2))
    assert "would gain" in watching.state and "a plateau so far" in watching.state
    watching.update(1, **BEST)
    assert watching.state.startswith("step 1: 3 of 3 latents in use, and no other is wanted")
    assert words.plural(2, "latent") == "2 latents"


def test_a_gamma_on_its_way_down_keeps_nothing_off():
    def arrays(step):
        return off(gamma=20.0 - 19.5 * step / STEPS)

    watching, said = fed(arrays)
    assert said == [], watching.state
    _, said = fed(lambda step: off(gamma=20.0 - 2.0 * step / STEPS))  # too slow
    assert "gamma moves, but does not get below 9" in said[0]


@pytest.mark.parametrize("top", [1.0 + 1e-9, 1.0033])
def test_a_warm_up_that_rounds_beyond_one_is_one(top):
    def arrays(step):
        beta = min(top, top * step / 300.0)
        return exports.affine(X, 6, gamma=0.2, beta=max(beta, 1e-6)) | {"beta": beta}

    assert fed(arrays)[1] == []


def test_latents_that_go_one_by_one_are_told_of_so():
    def arrays(step):
        return exports.affine(X, 3, gamma=0.2, beta=1.0 + 60.0 * max(0, step - 200) / STEPS)

    watching, said = fed(arrays)
    assert not any(watching.updates[-1].active)
    assert "the first of them from step" in said[-1]
    assert "3 of 3 latents switched off" in said[-1]


# Beside training


def test_steps_that_begin_again_each_epoch_are_counted_on():
    said = []
    watching = Monitor(every=10, steps=200, warn=said.append)
    for _ in range(4):
        for step in range(50):
            if watching.due(step):
                watching.update(step, **off(gamma=30.0))
    assert [update.step for update in watching.updates] == list(range(0, 200, 10))
    assert sum("steps begin again at 0 after 49" in sentence for sentence in said) == 1
    assert watching.course.phase == Phase.SHUT


@pytest.mark.parametrize("offered", [range(99, 3000, 100), range(0, 3000, 7)])
def test_looks_come_at_steps_that_are_offered(offered):
    watching = Monitor(every=100, warn=str)
    for step in offered:
        if watching.due(step):
            watching.update(step, **BEST)
    steps = [update.step for update in watching.updates]
    assert len(steps) >= 29
    assert max(np.diff(steps)) <= 106


def test_what_is_no_divergence_is_not_called_one():
    said = []
    watching = Monitor(every=1, warn=said.append)
    watching.update(0, **BEST)
    for step, wrong in enumerate(({"beta": "a"}, {"beta": -1.0}, {"mine": 1}, {"x": X[:2]}), 1):
        watching.update(step, **BEST | wrong)
    assert len(watching.updates) == 1
    assert len(said) == 1 and said[0].startswith("step 1: this look could not be taken")
    watching.update(5, loss={"loss": 1.0}, **BEST | {"beta": np.ones(1)})
    assert math.isnan(watching.updates[-1].loss)
    assert watching.finish().label.startswith("no collapse")


def test_a_run_that_broke_down_has_no_diagnosis(tmp_path):
    watching = Monitor(tmp_path / "run.jsonl", every=1, warn=str)
    watching.update(0, **BEST)
    watching.update(1, **BEST | {"mean": np.full_like(BEST["mean"], np.nan)})
    assert watching.finish() is None
    study = page.study(monitor.load(tmp_path / "run.jsonl"), "run", tmp_path, "")
    assert "earlier checkpoint" in study.said[0]
    assert not any("no collapse" in sentence for sentence in study.said)


def test_what_was_said_at_the_end_is_void_once_a_run_goes_on(tmp_path):
    first = Monitor(tmp_path / "run.jsonl", every=1, warn=str)
    first.update(0, **BEST)
    first.finish()
    second = Monitor(tmp_path / "run.jsonl", every=1, resume=True, steps=20, warn=str)
    for step in range(1, 20):
        second.update(step, **off(gamma=30.0))
    kept = monitor.load(tmp_path / "run.jsonl")
    assert (kept.end, kept.about["steps"]) == ({}, 20)


def test_another_number_of_latents_is_another_run(tmp_path):
    path = tmp_path / "run.jsonl"
    Monitor(path, warn=str).update(0, **BEST)
    second = Monitor(path, resume=True, warn=str)
    second.update(1, **exports.affine(X, 2, gamma=0.2))
    assert [len(u.kl) for u in second.updates] == [2]
    assert [len(u.kl) for u in monitor.load(path).updates] == [2]
    path.write_bytes(b'{"form')  # killed at its very beginning
    Monitor(path, resume=True)
    assert monitor.load(path).updates == []


def test_looks_are_due_as_asked_or_as_time_allows(monkeypatch):
    watching = Monitor(every=100)
    assert [step for step in range(301) if watching.due(step)] == [0, 100, 200, 300]
    now = [0.0]
    monkeypatch.setattr("vaesurface.monitor.loop.time.perf_counter", lambda: now[0])
    watching = Monitor(warn=lambda _: None)
    taken = 0
    for step in range(2000):
        now[0] += 1.0  # a step
        if watching.due(step):
            now[0] += 5.0  # a look
            watching.update(step, **BEST)
            taken += 1
    assert 2 <= taken <= 0.02 * now[0] / 5.0 + 2
    assert not watching.due(watching.updates[-1].step)


def test_by_default_a_warning_is_a_warning_and_numbers_are_logged():
    logged = []
    watching = Monitor(every=10, steps=100, log=lambda *number: logged.append(number))
    with pytest.warns(CollapseWarning, match="have not switched on"):
        for step in range(0, 101, 10):
            watching.update(step, **off(gamma=30.0))
    names = {name for name, _, _ in logged}
    assert {"vaesurface/kl", "vaesurface/active", "vaesurface/gain"} <= names
    assert all(isinstance(value, float) and isinstance(step, int) for _, value, step in logged)


def test_bad_arrays_are_refused_in_one_line():
    with pytest.raises(ValueError, match=r"expected reconstruction of the shape of x.*got"):
        quiet().update(0, **BEST | {"reconstruction": np.zeros((2, 2))})
    with pytest.raises(ValueError, match="expected a look at the run, got none yet"):
        Monitor().finish()
    with pytest.raises(ValueError, match="expected steps between looks >= 1, got 0"):
        Monitor(every=0)


def test_no_jax_is_loaded_beside_other_frameworks(tmp_path):
    np.savez(tmp_path / "best.npz", **BEST)
    program = f"""
import sys, numpy as np
from vaesurface.monitor import Monitor
watching = Monitor({str(tmp_path / "run.jsonl")!r})
watching.update(0, **np.load({str(tmp_path / "best.npz")!r}))
print(watching.finish().label, 'jax' in sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "no collapse: all 3 latents carry information False"


def test_the_end_is_the_whole_diagnosis(tmp_path):
    watching = quiet()
    watching.update(0, **BEST)
    whole, found = diagnose.arrays(**BEST), watching.finish()
    assert (found.label, found.change, found.evidence) == (
        whole.label,
        whole.change,
        whole.evidence,
    )
    watching.export(tmp_path / "last.npz")
    assert diagnose.load(tmp_path / "last.npz").evidence == whole.evidence


def test_a_process_of_its_own_diagnoses_what_needs_jax(tmp_path):
    x = np.repeat([[1.0] * 6, [0.0] * 6], [9, 7], axis=0)
    arrays = {"x": x, "mean": np.zeros((16, 1)), "log_std": np.zeros((16, 1))}
    arrays |= {"reconstruction": 0 * x + 9 / 16, "likelihood": "bernoulli"}
    np.savez(tmp_path / "arrays.npz", **arrays)
    program = f"""
import sys, numpy as np
from vaesurface.monitor import Monitor
watching = Monitor()
arrays = dict(np.load({str(tmp_path / "arrays.npz")!r}))
watching.update(0, **arrays | {{"likelihood": "bernoulli"}})
found = watching.finish()
print(found.label, 'jax' in sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == f"{diagnose.arrays(**arrays).label} False"


# The record


def test_a_run_is_kept_line_by_line(tmp_path):
    path = tmp_path / "run.jsonl"
    watching, _ = fed(lambda _: off(gamma=30.0), path=path)
    watching.finish()
    kept = monitor.load(path)
    assert kept.updates == watching.updates
    assert kept.about["steps"] == STEPS
    assert kept.end["label"].startswith("(ii)")
    path.write_bytes(path.read_bytes()[:-9])  # killed while it wrote
    assert monitor.load(path).updates == watching.updates


def test_a_run_is_taken_up_where_it_was_left(tmp_path):
    path = tmp_path / "run.jsonl"
    first = Monitor(path, steps=STEPS, warn=lambda _: None)
    for step in range(0, 500, 50):
        first.update(step, **off(gamma=30.0))
    with path.open("a") as file:
        file.write('{"step": 5')  # killed
    said = []
    second = Monitor(path, steps=STEPS, resume=True, warn=said.append)
    for step in range(300, 600, 50):  # from an earlier checkpoint
        second.update(step, **off(gamma=30.0))
    assert said == []  # it was said by the first
    steps = [update.step for update in monitor.load(path).updates]
    assert steps == list(range(0, 600, 50)) == [update.step for update in second.updates]
    Monitor(path)
    assert monitor.load(path).updates == []  # begun anew


def test_a_full_disk_costs_the_record_and_not_the_run(tmp_path, monkeypatch):
    said = []
    watching = Monitor(tmp_path / "run.jsonl", every=1, warn=said.append)
    path = tmp_path / "run.jsonl"
    path.unlink()
    path.mkdir()
    for step in range(3):
        watching.update(step, **BEST)
    assert len(watching.updates) == 3
    assert [sentence.split(":")[0] for sentence in said] == ["the record is not written any more"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": 2, "vaesurface": "1"}', "\0\1"])
def test_another_file_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "run.jsonl"
    path.write_text(text + "\n")
    with pytest.raises(ValueError, match=r"run\.jsonl.*expected|expected.*run\.jsonl"):
        record.load(path)


def test_a_page_shows_a_run(tmp_path):
    watching, said = fed(lambda step: BEST if step < 500 else off(gamma=30.0), path=tmp_path / "r")
    watching.finish()
    study = page.study(monitor.load(tmp_path / "r"), "run", tmp_path, "vaesurface report r")
    html = report.page([(study, tmp_path)])
    assert "3 of 3 latents switched off, from step 500 on" in html
    assert watching.finish().label in study.said
    assert study.verdicts[0]["evidence"]["in use"] == "0 of 3 latents"
    bands = page.spells(watching.updates, watching.course)
    assert [phase for _, _, phase in bands] == [Phase.USED, Phase.PLATEAU, Phase.SHUT]
    assert said
    with pytest.raises(ValueError, match="without a look"):
        page.study(record.Record(updates=[]), "none", tmp_path, "")


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["a-9", "a-10"], [9, 10]),
        (["a", "b"], [0, 1]),
        (["m8_9_v2", "m8_10_v2"], [9, 10]),
        (["2024-01-05", "2024-02-03"], [0, 1]),
        (["epoch=0-loss=0.93", "epoch=1-loss=0.5"], [0, 1]),
        (["epoch=0-step=100", "epoch=1-step=200"], [100, 200]),
    ],
)
def test_checkpoints_come_in_the_order_of_their_steps(tmp_path, names, steps):
    for name in names:
        (tmp_path / f"{name}.npz").touch()
    found = [(step, path.stem) for step, path in page.checkpoints(tmp_path)]
    assert found == list(zip(steps, names, strict=True))
    with pytest.raises(ValueError, match=r"expected exports \(\.npz\)"):
        page.checkpoints(tmp_path / "none")


def test_numbers_that_are_not_finite_come_back(tmp_path):
    seen = quiet().update(0, **BEST)._replace(loss=math.nan, energy=math.inf)
    writer = record.Writer(tmp_path / "run.jsonl", {})
    writer.add(seen)
    back = record.load(tmp_path / "run.jsonl").updates[0]
    assert math.isnan(back.loss) and math.isnan(back.energy)
    assert back._replace(loss=0.0, energy=0.0) == seen._replace(loss=0.0, energy=0.0)
    assert json.loads((tmp_path / "run.jsonl").read_text().splitlines()[1])["energy"] is None


def test_an_overflow_is_no_warning():
    arrays = BEST | {"log_std": BEST["log_std"] - 90.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        seen = quiet().update(0, **arrays)
    assert max(seen.carried) > ACTIVE_NATS


# The command line


def test_a_folder_of_checkpoints_is_a_run(tmp_path, vaesurface):
    run, out = tmp_path / "run", tmp_path / "page"
    run.mkdir()
    for step in range(0, 1001, 100):
        arrays = BEST if step < 400 else off(gamma=30.0)
        np.savez(run / f"step-{step}.npz", **arrays)
    code, printed, _ = vaesurface(f"diagnose {run} --out {out} --json")
    told = json.loads(printed)
    assert code == 0
    assert [look["step"] for look in told["checkpoints"]] == list(range(0, 1001, 100))
    assert "3 of 3 latents switched off, from step 400 on" in told["state"]
    assert told["label"] == diagnose.arrays(**off(gamma=30.0)).label
    assert vaesurface(f"report {out}")[0] == 0
    assert "switched off, from step 400 on" in (out / "report.html").read_text()
    few, page_of_few = tmp_path / "few", tmp_path / "page of few"
    few.mkdir()
    for step in (0, 1000):
        np.savez(few / f"step-{step}.npz", **off(gamma=30.0))
    told = json.loads(vaesurface(f"diagnose {few} --json")[1])
    assert "training on changes nothing" in told["state"]
    looks = [Reader().read(step, math.nan, **off(gamma=30.0)) for step in (0, 1000)]
    kept = record.Record(updates=looks, about={"steps": 1000})
    assert page.study(kept, "few", page_of_few, "", least=1).said[0] == told["state"]
    (run / "step-500.npz").write_bytes(b"PK")
    code, printed, _ = vaesurface(f"diagnose {run}")
    assert code == 0 and "left out" in printed and "step-500.npz" in printed
    np.savez(run / "step-2000.npz", **exports.affine(X, 2, gamma=0.2))
    code, _, complaint = vaesurface(f"diagnose {run}")
    assert code == 2 and "expected checkpoints of one model" in complaint


def test_a_record_is_a_page_of_its_own_and_on_that_of_its_folder(tmp_path, vaesurface):
    record_of_one = tmp_path / "mine.jsonl"
    fed(lambda _: off(gamma=30.0), path=record_of_one)
    code, printed, _ = vaesurface(f"report {record_of_one}")
    assert code == 0 and "Does mine collapse?" in printed
    page_of_one = (tmp_path / "mine.html").read_text()
    assert vaesurface(f"report {tmp_path}")[0] == 0
    for html in (page_of_one, (tmp_path / "report.html").read_text()):
        assert "have not switched on" in html
        assert "data:image/png;base64" in html
    (tmp_path / "train.jsonl").write_text('{"loss": 1}\n')
    code, _, told = vaesurface(f"report {tmp_path}")
    assert code == 0 and "passed over" in told and "train.jsonl" in told
    record_of_one.write_text("{}\n")
    code, _, complaint = vaesurface(f"report {record_of_one}")
    assert code == 2 and "mine.jsonl" in complaint
