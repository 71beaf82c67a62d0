"""The command line as a user meets it: results, JSON, exit codes, one line per error, nothing
lost.
"""

import html
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import typer
import xarray as xr

from vaesurface import activations, cli, data, proof, report, store, vae
from vaesurface.cli import names
from vaesurface.cli.groups import GROUPS
from vaesurface.experiments import ends, member, starts

SMALL = {"alpha": [0.0, 0.4], "scale": [0.05, 1.0], "seeds": 2, "limit": 12, "steps": 300}
SWEEP = (
    "sweep --data digits-4x4 --limit 12 --latent 1 --alpha 0,0.4 --scale 0.05,1 --seeds 2 "
    "--steps 300 --json --out"
)
VERBS = [name for names in GROUPS.values() for name in names]
LACKS = {  # it writes nothing; it has no data; neither
    "verify": {"--out"},
    "diagnose": {"--data"},
    "status": {"--data", "--out"},
}


@pytest.fixture(scope="module")
def swept(run_command, tmp_path_factory):
    """A small finished sweep."""
    out = tmp_path_factory.mktemp("sweep") / "store"
    assert run_command(f"{SWEEP} {out}") == 0
    return out


def test_help_lists_every_verb_in_its_group_with_a_whole_sentence(vaesurface):
    code, out, err = vaesurface("--help")
    assert (code, err) == (0, "")
    listed = re.findall(r"^  ([a-z]+) +([A-Z][^\n]+[.])$", out, re.MULTILINE)
    assert [verb for verb, _ in listed] == VERBS
    assert sorted(VERBS) == sorted(typer.main.get_command(cli.app).commands)
    assert all(
        " ".join(vaesurface(f"{verb} --help")[1].split()).count(text) for verb, text in listed
    )
    assert re.findall(r"^(\S.+):$", out, re.MULTILINE) == ["Options", *GROUPS]
    assert vaesurface("") == (0, out, "")


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("vaesurface ce", "certify census"),
        ("vaesurface sweep --sc", "--scale --scheduler --scheduler-file"),
        ("vaesurface analyze --data mn", "mnist"),
        ("vaesurface sweep --data digits-", "digits-4x4"),
        ("vaesurface slice store --data mn", "mnist"),
        ("vaesurface analyze --activation so", "soft-threshold softplus"),
        ("vaesurface follow --boundary g", "gamma"),
        ("vaesurface reproduce w", "warm-start"),
    ],
)
def test_a_shell_completes_verbs_options_and_names_of_data(line, completed):
    program = "import sys; from vaesurface import __main__; __main__.main()"
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    asked["_VAESURFACE_COMPLETE"] = "complete_bash"
    command = [sys.executable, "-X", "importtime", "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | asked)
    assert ended.stdout.split() == completed.split()
    assert not re.search(r"\| +(jax|numpy)$", ended.stderr, re.MULTILINE)


def test_names_that_a_shell_completes_are_those_that_there_are():
    assert set(names.SHIPPED) == set(data.known.SHIPPED)
    assert set(names.FETCHED) == set(data.known.FETCHED)
    assert set(names.ACTIVATIONS) == set(activations.NAMED)
    X = np.eye(6)  # counts, shares and classes alike
    for likelihood in names.LIKELIHOODS:
        dispersion = 2.0 if likelihood == "negative binomial" else None
        member.named("identity", likelihood, "diagonal", dispersion).problem(X, 1, 0.0, None, 1)
    for posterior in names.POSTERIORS:
        member.named(posterior=posterior).problem(X, 4, 0.1, None, 1)


def test_the_first_page_of_help_is_kept_as_typer_writes_it():
    def printed(module):
        probe = (
            f"import sys, {module} as module\n"
            "sys.argv = ['vaesurface', '--help']\n"
            "try:\n"
            "    module.main()\n"
            "finally:\n"
            "    print('typer' in sys.modules, file=sys.stderr)\n"
        )
        settings = {"capture_output": True, "text": True, "env": os.environ | {"COLUMNS": "80"}}
        ended = subprocess.run([sys.executable, "-c", probe], **settings)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout, ended.stderr.strip()

    text, typer = printed("vaesurface.cli")
    assert typer == "True"
    again = (
        "COLUMNS=80 python -c 'from vaesurface.cli import main; main()' > vaesurface/cli/help.txt"
    )
    assert printed("vaesurface.__main__") == (text, "False"), f"write it anew: {again}"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_that_it_takes(vaesurface, verb):
    code, out, err = vaesurface(f"{verb} --help")
    assert (code, err) == (0, "")
    explained, _, example = out.partition("Example: ")
    program, name, *words = example.split()
    assert (program, name) == ("vaesurface", verb)
    options = set(re.findall(r"^  (--[a-z-]+)", explained, re.MULTILINE))
    assert {word for word in words if word.startswith("--")} <= options
    assert {"--json", "--data", "--out"} - options == LACKS.get(verb, set())


@pytest.mark.parametrize("line", ["--help", "analyze --help", "dance"])
def test_help_and_usage_load_nothing_heavy(line):
    probe = (
        "import sys, vaesurface.cli\n"
        "try:\n"
        "    vaesurface.cli.main()\n"
        "finally:\n"
        "    heavy = ('jax', 'numpy', 'scipy', 'xarray', 'matplotlib')\n"
        "    print([name for name in heavy if name in sys.modules])\n"
    )
    command = [sys.executable, "-c", probe, *line.split()]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == (2 if line == "dance" else 0), ended.stderr
    assert ended.stdout.splitlines()[-1] == "[]"


def test_demo_leaves_store_figures_table_and_the_answer(vaesurface, tmp_path, monkeypatch):
    monkeypatch.setattr(cli.sweeps, "DEMO", SMALL)
    code, out, err = vaesurface(f"demo --json --out {tmp_path}")
    assert code == 0
    assert "8/8" in err  # the progress bar
    result = json.loads(out)
    assert result["files"][-1] == str(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "Which starts collapse?" in page and html.escape(result["answer"][0]) in page
    labelled = xr.open_dataset(tmp_path / "points.nc")
    assert labelled.sizes["alpha"] == 2
    for name in ("phase", "line", "plane", "spectrum_collapsed", "spectrum_best"):
        assert (tmp_path / f"{name}.png").stat().st_size > 10_000
    for alpha in SMALL["alpha"]:
        cells = labelled.sel(alpha=alpha)
        count = int((cells.theory_collapsed & (cells.kind != 0)).sum())
        assert any(
            f"At alpha = {alpha:g}, {count} of 4 starts collapse" in line
            for line in result["answer"]
        )
        assert count == sum(
            p["starts"] for p in result["points"] if p["alpha"] == alpha and p["collapsed"]
        )
    assert (tmp_path / "table.txt").read_text().count("\n") == 1 + len(result["points"])
    assert store.open(tmp_path / "sweep").computed.all()


def test_sweep_reads_toml_resumes_and_adds_cells(vaesurface, tmp_path, swept):
    config = tmp_path / "sweep.toml"
    config.write_text(
        'data = "digits-4x4"\nlimit = 12\nlatent = 1\nalpha = [0.0, 0.4]\nscale = [0.05, '
        "1]\nseeds = 2\nsteps = 300\n"
    )
    before = {p: p.stat().st_mtime_ns for p in swept.glob("chunks/*")}
    code, out, _ = vaesurface(f"sweep --config {config} --json --out {swept}")
    assert code == 0
    assert {p: p.stat().st_mtime_ns for p in swept.glob("chunks/*")} == before
    first = json.loads(out)
    code, out, err = vaesurface(f"sweep --config {config} --scale 0.05,0.3,1 --json --out {swept}")
    assert code == 0
    assert "12/12" in err
    assert {p: p.stat().st_mtime_ns for p in swept.glob("chunks/*") if p in before} == before
    assert sum(p["starts"] for p in json.loads(out)["points"]) == 12
    assert sum(p["starts"] for p in first["points"]) == 8


def test_sweep_refuses_a_store_of_other_settings_and_leaves_it_alone(vaesurface, swept):
    before = {p: p.stat().st_mtime_ns for p in swept.rglob("*") if p.is_file() and p.suffix}
    for change in ("--steps 400", "--latent 2", "--limit 13", "--gamma 0.1", "--optimizer lbfgs"):
        line = SWEEP.replace("--steps 300", "") if "lbfgs" in change else SWEEP
        code, out, err = vaesurface(f"{line} {swept} {change}")
        assert (code, out) == (2, "")
        assert "expected the sweep that" in err
    assert {p: p.stat().st_mtime_ns for p in swept.rglob("*") if p.is_file() and p.suffix} == before


def test_an_interruption_says_how_to_go_on(vaesurface, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.sweeps, "_sweep", interrupted)
    code, out, err = vaesurface(f"sweep --out {tmp_path}")
    assert (code, out) == (130, "")
    assert "run again to go on" in err


def test_report_makes_a_page_of_a_sweep_whose_cells_hold_its_runs(vaesurface, swept):
    code, out, _ = vaesurface(f"report {swept} --json")
    assert code == 0
    assert json.loads(out) == {
        "file": str(swept / "report.html"),
        "studies": ["Which starts collapse?"],
    }
    study = report.load(swept / "report" / "overview.json")
    phase = next(one for one in study.interactive if one["kind"] == "phase")
    ds = store.open(swept)
    counts = ds.computed.sum("seed").transpose("scale", "alpha").values
    assert [[len(cell) for cell in row] for row in phase["runs"]] == counts.tolist()
    row, column = list(ds.scale.values).index(0.05), list(ds.alpha.values).index(0.4)
    run = phase["runs"][row][column][1]
    assert run["seed"] == 1
    cell = ds.sel(scale=0.05, alpha=0.4, seed=1)
    assert (run["label"], run["energy"], run["collapsed"]) == (
        str(cell.label.values),
        float(cell.loss),
        True,
    )
    assert {one["kind"] for one in study.interactive} == {"phase", "surface", "spectrum"}
    assert study.verdicts[0]["label"] == "collapsed local minimum"


def test_slice_and_plot_draw_from_a_store(vaesurface, swept, tmp_path):
    code, out, _ = vaesurface(f"slice {swept} --alpha 0.4 --json --out {tmp_path}")
    assert code == 0
    code, _, _ = vaesurface(f"plot {swept} --json --out {tmp_path}")
    assert code == 0
    names = {p.name for p in tmp_path.iterdir()}
    assert names >= {"line.png", "plane.png", "phase.png", "spectrum_collapsed.png"}
    assert len(json.loads(out)["files"]) == 2
    code, _, err = vaesurface(f"slice {swept} --alpha 0.123 --out {tmp_path}")
    assert code == 2
    assert "expected an alpha of the sweep, got 0.123" in err
    code, _, err = vaesurface(f"plot {swept} --data antipodal --out {tmp_path}")
    assert code == 2
    assert "name them with --data" in err


def test_analyze_says_what_the_collapsed_point_is_and_why(vaesurface):
    code, out, _ = vaesurface("analyze --data antipodal --latent 1 --alpha 0.5 --json")
    assert code == 0
    result = json.loads(out)
    assert result["label"] == "collapsed local minimum"
    assert result["inertia"] == {"negative": 0, "flat": 2, "positive": 7}
    assert result["evidence"]["flat"].startswith("proved")
    code, out, _ = vaesurface("analyze --data antipodal --latent 1 --alpha 0")
    assert code == 0
    assert out.startswith("saddle of index 1, collapsed\n")


def test_analyze_shows_the_ray_to_minus_infinity_with_its_slope(vaesurface):
    code, out, _ = vaesurface("analyze --data antipodal --latent 1 --alpha 0.5 --json")
    ray = json.loads(out)["ray"]
    assert code == 0
    assert ray["slope_predicted"] == 1.0
    assert ray["slope_measured"] == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(np.outer(ray["weight"], ray["mean"]), [[1.5, -1.5], [1.5, -1.5]])


@pytest.mark.slow
def test_analyze_takes_the_best_of_many_starts_and_says_what_they_missed(vaesurface, tmp_path):
    file = tmp_path / "best.npz"
    line = (
        f"analyze --data digits-4x4 --limit 12 --latent 1 --alpha 0.2 --starts 4 --scale 0.5 "
        f"--out {file}"
    )
    code, out, _ = vaesurface(f"{line} --json")
    result = json.loads(out)
    assert code == 0
    assert result["starts"]["starts"] == 4
    assert result["evidence"]["starts"].startswith("best of 4 starts")
    assert result["inertia_at_ten_times_the_band"] == result["inertia"]
    assert ("descent_weight" in np.load(file)) == (result["kind"] == "SADDLE")
    code, _, err = vaesurface(f"{line} --point {file}")
    assert code == 2
    assert "drop one" in err


def test_a_point_travels_through_a_file_and_is_refined(vaesurface, tmp_path):
    file, other = tmp_path / "point.npz", tmp_path / "refined.npz"
    common = "analyze --data digits-4x4 --limit 12 --latent 1 --alpha 0 --json"
    code, out, _ = vaesurface(f"{common} --seed 1 --scale 0.5 --out {file}")
    assert code == 0
    assert json.loads(out)["label"] == "global optimum"
    arrays = dict(np.load(file))
    arrays["weight"] = arrays["weight"] + 1e-3
    np.savez(file, **arrays)
    code, out, _ = vaesurface(f"{common} --point {file}")
    assert code == 1
    assert json.loads(out)["kind"] == "NOT_STATIONARY"
    code, out, _ = vaesurface(f"{common} --point {file} --refine --out {other}")
    assert code == 0
    assert json.loads(out)["label"] == "global optimum"
    assert other.exists()


def test_census_agrees_with_theory_on_real_data(vaesurface, tmp_path):
    code, out, _ = vaesurface(
        f"census --data digits-4x4 --limit 30 --latent 2 --json --out {tmp_path / 'census.csv'}"
    )
    assert code == 0
    result = json.loads(out)
    assert result["wrong"] == 0
    assert len(result["points"]) == len((tmp_path / "census.csv").read_text().splitlines()) - 1 > 5


def test_a_certificate_is_written_verified_and_refused(vaesurface, tmp_path):
    file, other = tmp_path / "certificate.json", tmp_path / "other.json"
    common = "certify --data antipodal --latent 1 --json"
    code, out, _ = vaesurface(f"{common} --alpha 0.5 --out {file}")
    assert code == 0
    proved = json.loads(out)
    assert proved["claim"] == "collapsed minimum"
    code, out, _ = vaesurface(f"verify {file} --data antipodal")
    assert (code, out) == (0, f"verified: {proved['statement']}\n")
    code, out, _ = vaesurface(f"{common} --alpha 0 --index 1 --out {other}")
    assert code == 0
    assert "saddle of index 1" in json.loads(out)["statement"]
    assert vaesurface(f"{common} --alpha 0.5 --unbounded --out {other}")[0] == 0
    code, out, _ = vaesurface(f"verify {other} --data antipodal --json")
    assert code == 0
    assert "no lower bound" in json.loads(out)["reason"]


def test_verify_finds_the_data_that_a_certificate_names(vaesurface, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", np.vstack([data.antipodal(d=2), [[0.5, 0.25]]]))
    told = "certify --data rows.npy --limit 2 --latent 1 --alpha 0.5 --out proofs"
    code, _, err = vaesurface(told)
    assert (code, err.splitlines()[-1]) == (0, "next: vaesurface verify proofs/certificate.json")
    code, out, err = vaesurface("verify proofs/certificate.json")
    assert code == 0
    assert "strict local minimum" in out and "rows.npy, n = 2)" in err
    code, out, _ = vaesurface("verify proofs/certificate.json --limit 3")
    assert (code, out) == (1, "refused: the certificate is for other data\n")
    np.save("rows.npy", 2 * data.antipodal(d=2))
    code, out, _ = vaesurface("verify proofs/certificate.json")
    assert (code, out) == (1, "refused: the certificate is for other data\n")
    certificate = proof.load("proofs/certificate.json")
    for source, limit, trouble in (
        ("gone.npy", None, "gone.npy' where none is"),
        ("/dev/zero", None, "expected data that ship or lie in"),
        ("../rows.npy", None, "if you trust it, name it with --data"),
        ("mnist", None, "if you trust it, name it with --data"),
        (3, None, "expected data that ship or lie in"),
        ("rows.npy", True, "the certificate's limit as a whole number, got True"),
        (None, None, "which does not; pass --data as certify had it"),
    ):
        proof.save(proof.sourced(certificate, source, limit), "old.json")
        code, out, err = vaesurface("verify old.json")
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert trouble in err


def test_a_certificate_without_a_source_is_written_as_before(tmp_path):
    certificate = proof.certify_unbounded(vae.threshold_vae(data.antipodal(2), 1, 0.5))
    proof.save(certificate, tmp_path / "old.json")
    assert list(json.loads((tmp_path / "old.json").read_text()))[-1] == "checksum"
    assert proof.load(tmp_path / "old.json") == certificate
    named = proof.sourced(certificate, "antipodal")
    assert named.checksum != certificate.checksum
    assert proof.verify(named, data.antipodal(2)).valid


def test_a_page_has_a_section_for_everything_below_its_directory(vaesurface, swept, tmp_path):
    shutil.copytree(swept, tmp_path / "a" / "store", ignore=shutil.ignore_patterns("report*"))
    (tmp_path / "b" / "c").mkdir(parents=True)
    report.save(report.Study("path", "A way out"), tmp_path / "b" / "c")
    report.save(report.Study("path", "Another (of two)"), tmp_path / "b")
    report.save(report.Study("path", "Mine"), tmp_path)
    report.save(report.Study("path", "Nobody's"), tmp_path / "a" / "store" / "chunks")
    (tmp_path / "b" / "torn").mkdir()
    (tmp_path / "b" / "torn" / "x.json").write_text("{")
    assert vaesurface(f"plot {swept} --alpha 0.4 --out {tmp_path / 'figures'}")[0] == 0
    for _ in range(2):  # a page takes nothing of an earlier one
        code, out, err = vaesurface(f"report {tmp_path} --json")
        assert code == 0
        assert json.loads(out)["studies"] == [
            "Mine",
            "Which starts collapse? (a)",
            "Another (of two, b)",
            "A way out (b/c)",
            "Figures of a sweep (figures)",
        ]
        assert f"passed over {tmp_path / 'b' / 'torn'}" in err
    assert 'id="study-b/c-path"' in (tmp_path / "report.html").read_text()


def test_one_file_goes_to_a_directory_or_to_a_name(vaesurface, tmp_path):
    line = "census --data antipodal --latent 1 --out"
    for out, file in (("new", "new/census.csv"), ("mine.csv", "mine.csv"), (".", "census.csv")):
        code, printed, err = vaesurface(f"{line} {tmp_path / out}")
        assert (code, (tmp_path / file).exists()) == (0, True)
        assert printed.endswith(f"wrote {tmp_path / file}\n")
        assert printed.startswith("1 points, 0 disagree with theory\n\nretained  energy")
        assert err.endswith("next: vaesurface path --data antipodal --latent 1\n")


def test_runs_that_did_not_settle_are_no_answer_and_uneven_columns_are_named(swept):
    whole = starts.reopen(swept)
    label = np.full_like(whole.ds.label.values, "not stationary")
    ds = whole.ds.assign(kind=0 * whole.ds.kind, label=(whole.ds.label.dims, label))
    lost = whole._replace(ds=ds)
    found = ends.distinct(lost)
    runs = whole.ds.label.size
    assert ends.conclusion(found).endswith(
        f"; {runs} of {runs} end at no stationary point, so whether these would collapse is open."
    )
    assert ends.legend(found) == []
    uneven = lost._replace(X=np.array([[1.0, 0.0], [-1.0, 500.0]]))
    constant = lost._replace(X=np.ones((2, 2)))
    even, told, flat = (" ".join(ends.prose(one)) for one in (lost, uneven, constant))
    assert "give more --steps" in even and "Refinement" not in even
    assert "give more --steps" in flat
    assert "divide each column" in told and "from 1 to 2.5e+02" in told


def test_figures_of_two_sweeps_lie_apart_and_the_page_gets_the_data_it_needs(
    vaesurface, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    np.save("rows.npy", data.antipodal(d=2))
    for name in ("one", "two"):
        line = "sweep --data rows.npy --latent 1 --alpha 0,0.4 --scale 1 --seeds 1 --steps 3 --out"
        assert vaesurface(f"{line} {name}")[0] == 0
        code, _, err = vaesurface(f"plot {name}")
        assert code == 0 and (tmp_path / "results/figures" / name / "phase.png").exists()
        assert err.splitlines()[-1] == f"next: vaesurface report {name} --data rows.npy"


def test_a_sweep_answers_with_a_row_for_each_alpha_and_says_what_is_next(vaesurface, swept):
    code, out, err = vaesurface(f"{SWEEP.replace('--json ', '')} {swept}")
    assert code == 0
    conclusion, table, prose = out.split("\n\n")
    assert re.fullmatch(
        r"At alpha > 0, . of 4 starts collapse.*; at alpha = 0, 0 of 4 .*", conclusion
    )
    head, *rows = table.splitlines()
    assert head.split()[:3] == ["alpha", "starts", "collapse"]
    assert [row.split()[:2] for row in rows] == [["0", "4"], ["0.4", "4"]]
    assert "judged by its Hessian" in prose and "At alpha" not in prose
    assert err.splitlines()[-1] == f"next: vaesurface plot {swept}"
    _, out, err = vaesurface(f"{SWEEP} {swept}")
    assert json.loads(out)["answer"][0] == conclusion and "next:" not in err


def test_what_is_not_proved_exits_with_1_and_says_why(vaesurface, tmp_path):
    file = tmp_path / "certificate.json"
    code, out, _ = vaesurface(
        f"certify --data antipodal --latent 1 --alpha 0 --index 0 --json --out {file}"
    )
    assert code == 1
    assert "expected index 0" in json.loads(out)["reason"]
    assert not file.exists()
    assert vaesurface(f"certify --data antipodal --latent 1 --alpha 0.5 --out {file}")[0] == 0
    code, out, _ = vaesurface(f"verify {file} --data digits-4x4 --limit 9")
    assert (code, out) == (1, "refused: the certificate is for other data\n")
    file.write_text(file.read_text().replace('"radius": 0.37', '"radius": 0.38'))
    code, out, _ = vaesurface(f"verify {file} --data antipodal --json")
    assert code == 1
    assert json.loads(out) == {
        "valid": False,
        "reason": "the certificate was changed: its checksum is another",
    }
    file.write_text("{}")
    code, out, _ = vaesurface(f"verify {file} --data antipodal")
    assert code == 1
    assert out.startswith("refused: expected a certificate, got")


def write(path, name):
    file = path / name
    match name:
        case "nan.csv":
            file.write_text("1,2\n3,nan\n")
        case "one.csv":
            file.write_text("1,2\n")
        case "constant.csv":
            file.write_text("1,2\n1,2\n")
        case "object.npy":
            np.save(file, np.array([{}, []], dtype=object), allow_pickle=True)
        case "complex.npy":
            np.save(file, np.ones((2, 2)) * 1j)
        case "short.npy":
            np.save(file, data.antipodal(2))
            file.write_bytes(file.read_bytes()[:-8])
        case "bad.toml":
            file.write_text("alpha = [")
        case "odd.toml":
            file.write_text("alhpa = [0.1]")
        case "typed.toml":
            file.write_text('seeds = "three"')
        case "point.npz":
            np.savez(file, weight=np.ones((2, 1)))
    return file


MISSING = "--data missing.npy --latent 1"  # noticed when data are read, before all computing
WRITERS = {  # what writes a directory, and what a file
    f"demo {MISSING}": "directory",
    f"sweep {MISSING}": "directory",
    "slice missing": "directory",
    "plot missing": "directory",
    f"path {MISSING}": "directory",
    f"follow --to 1 {MISSING}": "directory",
    f"basin {MISSING}": "directory",
    f"network {MISSING}": "directory",
    "diagnose missing.npz": "directory",
    "reproduce fig1-left --data missing.npy": "directory",
    f"analyze {MISSING}": ".npz",
    f"census {MISSING}": ".csv",
    f"certify {MISSING}": ".json",
}


@pytest.mark.parametrize("line", WRITERS)
def test_a_place_that_cannot_be_written_to_is_refused_before_all_else(vaesurface, tmp_path, line):
    taken = tmp_path / "taken"
    if WRITERS[line] == "directory":
        taken.write_text("")
        wanted = f"expected a directory for the results, got the file {taken}; name another place"
        ending = ""
    else:
        ending = WRITERS[line]
        taken = taken.with_suffix(ending)
        taken.mkdir()
        wanted = f"expected a file for the result, got the directory {taken}; name one in it"
    below_a_file = tmp_path / "file" / f"below{ending}"
    (tmp_path / "file").write_text("")
    nowhere = f"/proc/nope/there{ending}"
    room = "expected a place that can be written to, got"
    for out, message in ((taken, wanted), (below_a_file, room), (nowhere, room)):
        code, printed, err = vaesurface(f"{line} --out {out}")
        assert (code, printed, err.count("\n")) == (2, "", 1)
        assert message in err and "Errno" not in err
    assert sorted(place.name for place in tmp_path.iterdir()) == sorted({"file", taken.name})
    assert "missing" in vaesurface(f"{line} --out {tmp_path / ('new' + ending)}")[2]


def test_a_page_has_a_place_to_go(vaesurface, tmp_path):
    (tmp_path / "page.html").mkdir()
    code, out, err = vaesurface(f"report {tmp_path} --out {tmp_path / 'page.html'}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "expected a file for the result, got the directory" in err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("analyze --data {nan.csv}", "NaN or infinite"),
        ("analyze --data {one.csv}", "at least 2 rows"),
        ("analyze --data {constant.csv}", "data that vary"),
        ("analyze --data {object.npy}", "expected"),
        ("analyze --data {complex.npy}", "real numbers"),
        ("analyze --data {short.npy}", "expected"),
        ("analyze --data {missing.npy}", "missing.npy"),
        ("analyze --data antipodal --latent 0", "--latent >= 1"),
        ("analyze --data antipodal --latent 3", "1 <= latent <= 2"),
        ("analyze --data antipodal --latent 1 --alpha -1", "alpha >= 0"),
        ("analyze --data antipodal --latent 1 --gamma 0", "gamma > 0"),
        ("analyze --data antipodal --latent 1 --beta 0", "beta > 0"),
        ("analyze --data antipodal --latent 1 --point {point.npz}", "bias"),
        ("analyze --data antipodal --latent 1 --seed 1 --point {point.npz}", "drop one"),
        ("analyze --data antipodal --latent 1 --out point.txt", "ends in .npz"),
        ("analyze --data antipodal --latent 1 --starts 0", "--starts >= 1"),
        ("analyze --latent many", "integer"),
        ("analyze --activation rleu", "an activation out of"),
        ("analyze --activation relu --alpha 2", "alpha <= 1"),
        ("analyze --activation os:path", "MODULE:FUNCTION"),
        ("analyze --likelihood odd", "likelihood as one of"),
        ("analyze --likelihood bernoulli --data antipodal --latent 1", "in [0, 1]"),
        ("analyze --likelihood negative-binomial", "dispersion=r"),
        ("analyze --posterior odd", "posterior"),
        ("certify --posterior full", "diagonal posterior"),
        ("analyze --dispersion 0", "--dispersion > 0"),
        ("certify --activation tanh --alpha 0.1", "a quadrature without a bound"),
        ("follow --activation relu --to 2", "alpha <= 1"),
        ("sweep --out {new} --activation relu --alpha 0,2", "alpha <= 1"),
        ("sweep --out {new} --likelihood bernoulli --data antipodal --latent 1", "in [0, 1]"),
        ("basin --activation relu", "--activation"),
        ("certify --data antipodal --latent 1 --radius 0", "radius > 0"),
        ("verify {none.json} --data antipodal", "none.json"),
        ("census --data antipodal --latent 5", "1 <= latent <= 2"),
        ("sweep --out {new} --alpha ,", "at least one number for --alpha"),
        ("sweep --out {new} --alpha 0,x", "expected numbers for --alpha"),
        ("sweep --out {new} --alpha -0.1", "alpha >= 0"),
        ("sweep --out {new} --alpha inf", "--alpha as a finite number"),
        ("sweep --out {new} --scale -1", "--scale >= 0"),
        ("sweep --out {new} --seeds 0", "--seeds >= 1"),
        ("sweep --out {new} --optimizer magic", "an optimizer out of"),
        ("sweep --out {new} --optimizer lbfgs --learning-rate 1", "no learning rate"),
        ("sweep --out {new} --steps 0", "steps >= 1"),
        ("sweep --out {new} --config {bad.toml}", "TOML"),
        ("sweep --out {new} --config {odd.toml}", "alhpa"),
        ("sweep --out {new} --config {typed.toml}", "whole numbers for seeds in"),
        ("sweep --out {new} --config {none.toml}", "none.toml"),
        ("sweep --out {nan.csv} --data antipodal --latent 1", "expected a directory"),
        ("status {new}", "expected a store"),
        ("slice {new}", "expected a store"),
        ("plot {new}", "expected a store"),
        ("dance", "dance"),
        ("demo --loud", "--loud"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_exit_code_2(vaesurface, tmp_path, line, message):
    for part in line.split():
        if part.startswith("{"):
            line = line.replace(part, str(write(tmp_path, part[1:-1])))
    code, out, err = vaesurface(line)
    assert (code, out) == (2, "")
    assert err.startswith("vaesurface: ")
    assert err.count("\n") == 1
    assert message in err
    assert not (tmp_path / "new").exists()
