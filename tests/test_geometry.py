"""The verbs about the surface between points, as a user meets them; all on one tiny data set, so
that compiled programs are shared.
"""

import json
import re

import numpy as np
import pandas
import pytest

from vaesurface import report
from vaesurface.stationary import Kind

COMMON = "--data antipodal --latent 1 --starts 2 --json --out"


def judged(result, name):
    """A point's label and energy."""
    (verdict,) = (v for v in result["verdicts"] if v["name"] == name)
    return verdict["label"], verdict["energy"]


@pytest.mark.slow
def test_path_finds_the_rim_of_collapse(vaesurface, tmp_path):
    code, out, _ = vaesurface(f"path --alpha 0.2 {COMMON} {tmp_path}")
    result = json.loads(out)
    assert code == 0
    assert judged(result, "collapsed point") == ("collapsed local minimum", 3.0)
    label, energy = judged(result, "saddle")
    assert label == "saddle of index 1"
    assert energy - 3 == pytest.approx(0.009 * 0.2**2, rel=0.05)
    assert {judged(result, f"{side} side")[0] for side in ("one", "other")} == {
        "collapsed local minimum",
        "global infimum -inf along this ray",
    }
    assert re.match(r"At alpha = 0[.]2 the lowest pass .* is 0[.]000\d+ high", result["said"][0])
    assert result["said"][1].endswith("a pass out of collapse.")
    rows = (tmp_path / "path.txt").read_text().splitlines()
    assert [row.split()[0] for row in rows[1:]] == ["collapsed", "saddle", "one", "other", "far"]
    with np.load(tmp_path / "path.npz") as path, np.load(tmp_path / "saddle.npz") as saddle:
        assert path["energy"].max() == pytest.approx(energy, abs=1e-6)
        assert saddle["weight"].shape == (2, 1)
    study = report.load(tmp_path / "path.json")
    assert [f.file for f in study.figures] == [
        "path_profile.png",
        "path_plane.png",
        "path_eigenvalue.png",
    ]
    assert study.command.startswith("vaesurface path --alpha 0.2")
    assert [one["kind"] for one in study.interactive] == ["surface", "spectrum"]


def test_without_a_way_out_path_says_so_and_exits_with_1(vaesurface, tmp_path, monkeypatch):
    none = "no way over a saddle to anything lower than collapse was found"
    monkeypatch.setattr("vaesurface.experiments.rim.rim", lambda setting, alpha: none)
    code, out, _ = vaesurface(f"path --alpha 0.2 {COMMON} {tmp_path}")
    assert code == 1
    assert json.loads(out)["found"] is False
    code, out, _ = vaesurface(f"path --alpha 0.2 --data antipodal --latent 1 --out {tmp_path}")
    assert code == 1
    assert out.startswith(none)


@pytest.mark.slow
def test_basin_puts_three_lengths_side_by_side(vaesurface, tmp_path):
    table = tmp_path / "tables/basin.csv"
    code, out, _ = vaesurface(f"basin --alpha 0.2 --runs 0 --table {table} {COMMON} {tmp_path}")
    assert code == 0
    with np.load(tmp_path / "basin.npz") as curves:
        assert curves["width"].shape == (1, 2)
        assert 0.008 < curves["rise"][0] / 0.2**2 < 0.01
        # The certificate reaches beyond the crest, which is said.
        assert np.nanmin(curves["width"]) == pytest.approx(curves["saddle"][0], rel=1e-2)
        assert curves["certified"][0] > curves["saddle"][0]
    conclusion, sentence = json.loads(out)["said"]
    assert re.match(r"The basin of collapse is 0[.]\d+ alpha wide", conclusion)
    assert (tmp_path / "basin.txt").read_text().split()[:3] == ["alpha", "certified", "narrowest"]
    (row,) = pandas.read_csv(table).itertuples()
    assert row.alpha == 0.2 and 0.14 < row.certified < 0.15
    assert row.narrowest == pytest.approx(row.saddle, rel=1e-2)
    assert str(table) in json.loads(out)["files"]
    assert "The three are not in order: descent leaves from within the certified radius" in sentence


@pytest.mark.slow
def test_basin_counts_runs_for_every_way_to_descend(vaesurface, tmp_path):
    code, out, _ = vaesurface(f"basin --alpha 0.2 --runs 3 --steps 40 {COMMON} {tmp_path}")
    assert code == 0
    sentences = json.loads(out)["said"]
    assert sum("random starts of scale 1" in sentence for sentence in sentences) == 6
    assert sum("stays in collapse in 3 of 3 runs" in sentence for sentence in sentences) == 3


@pytest.mark.slow
def test_network_draws_the_tree(vaesurface, tmp_path):
    table = tmp_path / "points.csv"
    code, out, _ = vaesurface(f"network --alpha 0.2 --pairs 1 --table {table} {COMMON} {tmp_path}")
    assert code == 0
    points, joins, _ = (tmp_path / "network.txt").read_text().split("\n\n")
    rows = [line.split(maxsplit=4) for line in points.splitlines()[1:]]
    labels, negative = [row[4] for row in rows], [int(row[2]) for row in rows]
    energies = [float(row[1]) for row in rows]
    minimum, saddle = labels.index("collapsed local minimum"), labels.index("saddle of index 1")
    assert len(rows) == 3
    assert energies == sorted(energies)
    assert (energies[minimum], negative[minimum], negative[saddle]) == (3.0, 0, 1)
    flat = pandas.read_csv(table)
    assert list(flat) == ["label", "kind", "energy", "inertia_negative", "active", "met"]
    assert flat.label.tolist() == labels and flat.kind[saddle] == "saddle"
    np.testing.assert_allclose(flat.energy, energies, rtol=1e-5)
    assert [line.split() for line in joins.splitlines()[1:]] == [
        [rows[saddle][1], "0", "+", str(minimum), f"({saddle})"]
    ]
    assert "led to 3 distinct points, 1 of them minima." in json.loads(out)["said"][0]


@pytest.mark.slow
def test_follow_meets_the_values_that_were_asked_for(vaesurface, tmp_path):
    options = f"--alpha 0.2 --gamma 0.3 --to 3 --values 3 --table {tmp_path / 'points.csv'}"
    code, out, _ = vaesurface(f"follow {options} {COMMON} {tmp_path}")
    assert code == 0
    with np.load(tmp_path / "follow.npz") as branches:
        values, energy = branches["best_minimum_value"], branches["best_minimum_energy"]
        level = branches["collapsed_point_energy"]
    assert all(np.isclose(values, asked, rtol=1e-15).any() for asked in (0.2, 1.6, 3.0))
    flat = pandas.read_csv(tmp_path / "points.csv").set_index("branch")
    np.testing.assert_array_equal(flat.alpha["best minimum"], values)
    np.testing.assert_array_equal(flat.energy["collapsed point"], level)
    assert flat.label["collapsed point"].iloc[0].startswith("collapsed local minimum")
    np.testing.assert_allclose(level, level[0], rtol=1e-12)
    assert np.all(energy < level[0])
    gap = level[0] - energy[-1]
    assert json.loads(out)["said"][0].startswith(
        f"At its end the minimum's branch is {gap:.6g} below collapse"
    )


@pytest.mark.slow
def test_follow_says_where_collapse_becomes_the_better_one(vaesurface, tmp_path):
    options = "--parameter gamma --alpha 0.1 --gamma 1 --to 2.2 --values 3"
    code, out, _ = vaesurface(f"follow {options} {COMMON} {tmp_path}")
    assert code == 0
    crossed, fold = (
        float(re.search(pattern, out)[1])
        for pattern in (r"better of the two at gamma = ([\d.]+)\.", r"1 fold; fold at ([\d.]+)\.")
    )
    with np.load(tmp_path / "follow.npz") as branches:
        gamma, energy = branches["best_minimum_value"], branches["best_minimum_energy"]
        kind = branches["best_minimum_kind"]
    top = gamma.argmax()
    assert np.all(kind[:top] == Kind.MINIMUM)
    assert np.all(kind[top + 1 :] == Kind.SADDLE)
    assert gamma[top] == pytest.approx(fold, rel=1e-4)
    # The collapsed point's energy for d = 2, gammabar = 1, one latent.
    lower = energy[:top] < 2 * np.log(gamma[:top]) + 2 / gamma[:top] + 1
    last = np.flatnonzero(lower)[-1]
    assert np.all(lower[: last + 1])
    assert gamma[last] < crossed < gamma[last + 1] < fold


@pytest.mark.slow
def test_follow_draws_the_boundary_of_the_minimum_where_a_grids_verdict_changes(
    vaesurface, tmp_path
):
    options = "--parameter gamma --alpha 0.1 --gamma 1 --to 2.2 --values 3"
    more = "--boundary alpha --between 0.05,0.4"
    code, out, _ = vaesurface(f"follow {options} {more} {COMMON} {tmp_path}")
    assert code == 0
    fold = float(re.search(r"1 fold; fold at ([\d.]+)\.", out)[1])
    assert re.search(r"A minimum's fold goes from gamma = .*, alpha = 0.05 \(left the", out)
    with np.load(tmp_path / "boundaries.npz") as kept:
        gamma, alpha = kept["fold_1_values"].T
        first, second, active = kept["first"], kept["second"], kept["active"]
    assert gamma[alpha == 0.1] == pytest.approx(fold, rel=1e-9)
    order = np.argsort(alpha)
    for row, value in zip(active, second, strict=True):
        edge = np.interp(value, alpha[order], gamma[order])
        near = np.abs(first - edge) < 0.02  # cells that a chord of the boundary may miss
        assert (row[~near] == (first < edge)[~near]).all()


def test_report_shows_all_of_it_on_one_page(vaesurface, tmp_path):
    verdict = {
        "name": "a point",
        "label": "local minimum",
        "energy": 1.0,
        "evidence": {"inertia": "counted by hand"},
    }
    for name in ("another", "network", "path"):
        study = report.Study(name, f"About {name}?", [f"Answer to {name}."], [verdict])
        report.save(study, tmp_path)
    code, out, _ = vaesurface(f"report {tmp_path} --json")
    assert code == 0
    order = ["path", "network", "another"]
    assert json.loads(out) == {
        "file": str(tmp_path / "report.html"),
        "studies": [f"About {name}?" for name in order],
    }
    page = (tmp_path / "report.html").read_text()
    places = [page.index(f'id="study-{name}"') for name in order]
    assert places == sorted(places)
    assert all(f"Answer to {name}." in page for name in order)
    assert page.count("counted by hand") >= 3


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "path --alpha 0 --data antipodal",
            "expected --alpha > 0, got 0",
        ),
        (
            "path --starts 0 --data antipodal",
            "expected --starts >= 1, got 0",
        ),
        ("basin --alpha 0.1,-1 --data antipodal", "got -1"),
        ("basin --runs -1 --data antipodal", "expected --runs >= 0, got -1"),
        ("network --pairs -1 --data antipodal", "expected --pairs >= 0, got -1"),
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
        (
            "report scripts",
            "expected results of sweep, path, follow, basin or network, or records of monitors, in "
            "scripts or below, got none",
        ),
        (
            "path --data antipodal --out pyproject.toml",
            "expected a directory for the results, got the file pyproject.toml",
        ),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(vaesurface, line, complaint):
    code, out, err = vaesurface(line)
    assert (code, out) == (2, "")
    assert err.startswith("vaesurface: ")
    assert complaint in err
    assert err.count("\n") == 1
