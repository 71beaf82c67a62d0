"""The verbs about the surface between points, as a user meets them; all on one tiny data set, so
that programs are shared.
"""

import json
import sys

import numpy as np
import pytest

from vaesurface import cli, report

COMMON = "--data antipodal --latent 1 --starts 2 --json --out"


def call(line):
    """Run a verb in this process: exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vaesurface", *line.split()])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    return stop.value.code


@pytest.fixture
def vaesurface(capsys):
    """Run a verb: (exit code, JSON or None, stderr)."""

    def run(line):
        code = call(line)
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else None, err

    return run


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("geometry")


@pytest.mark.slow
def test_path_finds_the_rim_of_collapse(vaesurface, results):
    code, found, _ = vaesurface(f"path --alpha 0.2 {COMMON} {results}")
    assert code == 0
    names = {v["name"]: v["label"] for v in found["verdicts"]}
    assert names["collapsed point"] == "collapsed local minimum"
    assert names["saddle"] == "saddle of index 1"
    assert {names["one side"], names["other side"]} == {
        "collapsed local minimum",
        "global infimum -inf along this ray",
    }
    assert "a pass out of collapse" in found["said"][1]
    energy = next(v["energy"] for v in found["verdicts"] if v["name"] == "saddle")
    with np.load(results / "path.npz") as path, np.load(results / "saddle.npz") as saddle:
        assert path["energy"].max() == pytest.approx(energy, abs=1e-6)
        assert saddle["weight"].shape == (2, 1)
    assert energy - 3 == pytest.approx(0.009 * 0.2**2, rel=0.05)
    study = report.load(results / "path.json")
    assert [f.file for f in study.figures] == [
        "path_profile.png",
        "path_plane.png",
        "path_eigenvalue.png",
    ]
    assert study.command.startswith("vaesurface path --alpha 0.2")
    assert {one["kind"] for one in study.interactive} == {"surface", "spectrum"}


@pytest.mark.slow
def test_basin_puts_three_lengths_side_by_side(vaesurface, results):
    code, found, _ = vaesurface(f"basin --alpha 0.2 --runs 0 {COMMON} {results}")
    assert code == 0
    with np.load(results / "basin.npz") as curves:
        assert curves["width"].shape == (1, 2)
        assert 0.008 < curves["rise"][0] / 0.2**2 < 0.01
        # Here the certificate reaches beyond the crest, which is said.
        assert np.nanmin(curves["width"]) == pytest.approx(curves["saddle"][0], rel=1e-2)
        assert curves["certified"][0] > curves["saddle"][0]
    assert (
        "The three are not in order: descent leaves from within the certified radius"
        in found["said"][0]
    )


@pytest.mark.slow
def test_basin_counts_runs_for_every_way_to_descend(vaesurface, tmp_path):
    code, found, _ = vaesurface(f"basin --alpha 0.2 --runs 3 --steps 40 {COMMON} {tmp_path}")
    assert code == 0
    assert sum("random starts of scale 1" in sentence for sentence in found["said"]) == 6
    assert sum("stays in collapse in 3 of 3 runs" in sentence for sentence in found["said"]) == 3


def test_network_draws_the_tree(vaesurface, results):
    code, found, _ = vaesurface(f"network --alpha 0.2 --pairs 1 {COMMON} {results}")
    assert code == 0
    assert "distinct points" in found["said"][0]
    assert "collapsed local minimum" in (results / "network.txt").read_text()


@pytest.mark.slow
def test_follow_says_where_collapse_becomes_the_better_one(vaesurface, results):
    options = "--alpha 0.2 --gamma 0.3 --to 3 --values 3"
    code, found, _ = vaesurface(f"follow {options} {COMMON} {results}")
    assert code == 0
    said = " ".join(found["said"])
    assert "The collapsed point from alpha = 0.2" in said
    assert "The best minimum from alpha = 0.2" in said
    with np.load(results / "follow.npz") as branches:
        values, energy = branches["best_minimum_value"], branches["best_minimum_energy"]
        assert all(np.isclose(values, asked, rtol=1e-15).any() for asked in (0.2, 1.6, 3.0))
        crossed = "Collapse becomes the better of the two" in said
        assert crossed == bool((energy > branches["collapsed_point_energy"][0]).any())


def test_report_shows_all_of_it_on_one_page(vaesurface, results):
    judged = {
        "name": "a point",
        "label": "local minimum",
        "energy": 1.0,
        "evidence": {"inertia": "counted"},
    }
    report.save(
        report.Study("other", "Another question", ["Answered."], [judged]), results
    )  # whichever verbs ran before
    names = {study.name for study in report.studies(results)}
    code, found, _ = vaesurface(f"report {results} --json")
    assert code == 0
    assert len(found["studies"]) == len(names) >= 1
    page = (results / "report.html").read_text()
    assert all(f'id="{name}"' in page for name in names)
    assert "Answered." in page
    assert "Verdicts, and why they are believed" in page


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "path --alpha 0 --data antipodal",
            "expected --alpha > 0, where collapse is a minimum, got 0",
        ),
        (
            "path --starts 0 --data antipodal",
            "expected --starts of 1 or more and --scale > 0, got 0",
        ),
        ("basin --alpha 0.1,-1 --data antipodal", "got -1"),
        ("basin --runs -1 --data antipodal", "expected --runs of 0 or more"),
        ("network --pairs -1 --data antipodal", "expected --pairs of 0 or more, got -1"),
        (
            "follow --parameter delta --data antipodal",
            "expected --parameter out of alpha, gamma, beta, got delta",
        ),
        (
            "follow --parameter gamma --data antipodal",
            "expected --gamma, where gamma moves from, got none",
        ),
        ("follow --to 0.1 --data antipodal", "expected --to other than 0.1"),
        ("report nowhere", "expected a directory with results, got nowhere"),
        ("report .", "expected results of sweep, path, follow, basin or network in ., got none"),
        (
            "path --data antipodal --out pyproject.toml",
            "expected a directory for the results, got the file pyproject.toml",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(vaesurface, line, complaint):
    code, out, err = vaesurface(line)
    assert (code, out) == (2, None)
    assert complaint in err
    assert err.count("\n") == 1
