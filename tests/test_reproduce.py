"""The paper's experiments at toy size: they go on where they stopped, and their sentences follow
from the numbers.
"""

import json
import re
import sys
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot as plt

from vaesurface import cli, data, plot, report
from vaesurface.experiments import fig1, fig2, warm_start
from vaesurface.experiments.warm_start import Count
from vaesurface.vae import architecture, train

NETWORKS = partial(fig1.fully_connected, width=6)
PLAN = fig1.Plan(NETWORKS, (1, 2), ("digits-4x4",), 12, 2, 20, 6)
IMAGES = PLAN._replace(
    networks=partial(fig1.convolutional, scales=1, channels=2, growth=1), depths=(1,)
)


@pytest.fixture
def vaesurface(capsys, monkeypatch):
    """Run the command in this process, with plans of toy size: (exit code, stdout, stderr)."""

    def layered(X, latent, depth):
        return NETWORKS(X, latent, depth[1])

    monkeypatch.setattr(fig1, "LEFT", PLAN._replace(depths=(2,)))
    monkeypatch.setattr(fig1, "MIDDLE", IMAGES)
    monkeypatch.setattr(fig1, "RIGHT", PLAN._replace(networks=layered, depths=((1, 1), (1, 2))))
    monkeypatch.setattr(fig2, "PLAN", IMAGES)
    monkeypatch.setattr(warm_start, "PLAN", PLAN._replace(depths=(1,)))

    def call(line):
        monkeypatch.setattr(sys, "argv", ["vaesurface", *line.split()])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code, *capsys.readouterr()

    return call


def chunks(out):
    """What the runs of a study have left, and when."""
    return {path: path.stat().st_mtime_ns for path in out.glob("runs/*/chunks/*")}


def test_an_interrupted_study_goes_on_and_more_seeds_add_to_it(vaesurface, tmp_path):
    line = f"reproduce fig1-left --json --out {tmp_path}"
    code, out, err = vaesurface(f"{line} --seeds 2")
    assert code == 0 and "0/2" in err
    found = json.loads(out)
    assert len(found["said"]) == 3 and "Median error per feature of 2 seeds" in found["said"][0]
    assert "2 of 2 pairs trained to finite numbers" in found["said"][1]
    assert {"fig1-left.png", "fig1-left.json"} == {
        file.rsplit("/", 1)[1] for file in found["files"]
    }
    before = chunks(tmp_path)
    assert len(before) == 4  # two kinds, two seeds
    lost, *_ = sorted(before)
    content = lost.read_bytes()
    lost.unlink()
    code, again, _ = vaesurface(f"{line} --seeds 2")
    assert code == 0 and json.loads(again)["said"] == found["said"]
    assert lost.read_bytes() == content
    after = chunks(tmp_path)
    assert {path for path in after if after[path] != before[path]} == {lost}
    code, more, _ = vaesurface(f"{line} --seeds 3")
    assert code == 0 and "of 3 seeds" in json.loads(more)["said"][0]
    grown = chunks(tmp_path)
    assert after.items() <= grown.items() and len(grown) == 6
    study = report.load(tmp_path / "fig1-left.json")
    assert study.settings["claim held here"] is False and study.command.endswith("--seeds 3")
    with np.load(tmp_path / "fig1-left.npz") as arrays:
        assert arrays["vae_error"].shape == arrays["autoencoder_error"].shape == (1, 3)


@pytest.mark.slow
def test_figure_two_is_of_the_runs_of_figure_one(vaesurface, tmp_path):
    code, _, _ = vaesurface(f"reproduce fig1-middle --seeds 2 --out {tmp_path}")
    assert code == 0
    before = chunks(tmp_path)
    code, out, _ = vaesurface(f"reproduce fig2 --seeds 2 --json --out {tmp_path}")
    assert code == 0 and chunks(tmp_path) == before
    assert "the share of posterior standard deviations above 0.9" in json.loads(out)["said"][0]
    with np.load(tmp_path / "fig2.npz") as arrays:
        assert (arrays["counts"].sum(axis=-1) == 12).all() and arrays["counts"].shape == (
            1,
            2,
            2,
            50,
        )
    code, out, _ = vaesurface(f"report {tmp_path} --json")
    assert code == 0 and len(json.loads(out)["studies"]) == 2


@pytest.mark.slow
def test_residual_errors_are_relative_to_the_shallowest(vaesurface, tmp_path):
    code, out, _ = vaesurface(f"reproduce fig1-right --seeds 2 --json --out {tmp_path}")
    assert code == 0 and "with 1 block per scale" in json.loads(out)["said"][0]
    with np.load(tmp_path / "fig1-right.npz") as arrays:
        assert arrays["ratio"].shape == (1, 2, 2)
        np.testing.assert_allclose(np.median(arrays["ratio"][0, 0]), 1.0, rtol=1e-6)


@pytest.mark.parametrize("plan", ["LEFT", "MIDDLE", "RIGHT"])
@pytest.mark.parametrize("full", ["", "_FULL"])
def test_plans_make_the_networks_that_they_say(plan, full):
    chosen = getattr(depth, plan + full)
    X = np.zeros((1, 3 * 32 * 32 if full else 64))
    for one in (chosen.depths[0], chosen.depths[-1]):
        layers, blocks = (one[1], one[0]) if plan == "RIGHT" else (one, 0)
        name = chosen.networks(X, chosen.latent, one).name
        assert (
            f"{layers} hidden layers of {512 if full else 64}" in name
            if plan == "LEFT"
            else f"{layers} layers" in name
        )
        assert (f"{blocks} blocks of" in name) is (plan == "RIGHT")


def test_warm_start_counts_collapsed_runs(vaesurface, tmp_path):
    code, out, _ = vaesurface(f"reproduce warm-start --seeds 2 --json --out {tmp_path}")
    assert code == 0
    said = json.loads(out)["said"]
    assert said[0].startswith("The paper's claim ") and "of 2 (" in said[1]
    with np.load(tmp_path / "warm-start.npz") as arrays:
        assert (arrays["counts"][..., 1] == 2).all()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "reproduce fig3",
            "expected one of fig1-left, fig1-middle, fig1-right, fig2, warm-start, prop41, "
            "prop51, got fig3",
        ),
        ("reproduce fig2 --seeds 0", "expected --seeds of 1 or more, got 0"),
        (
            "reproduce fig2 --out pyproject.toml",
            "expected a directory for the results, got the file pyproject.toml",
        ),
        ("reproduce prop41 --steps 5", "expected none of --data, --limit, --steps for prop41"),
        (
            "reproduce fig1-middle --data antipodal",
            "expected rows that are square images, gray or RGB, got 2 features",
        ),
        (
            "reproduce warm-start --data digits --data patches",
            "expected one data set for warm-start, got 2; give one --data",
        ),
        ("reproduce fig1-left --data nowhere.npy", "expected a file or folder, got 'nowhere.npy'"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(vaesurface, tmp_path, line, complaint):
    code, out, err = vaesurface(line if "--out" in line else f"{line} --out {tmp_path}")
    assert (code, out) == (2, "") and complaint in err and err.count("\n") == 1


def test_help_has_an_example_and_propositions_are_handed_what_was_asked_for(
    vaesurface, tmp_path, monkeypatch
):
    code, out, _ = vaesurface("reproduce --help")
    assert code == 0 and "Example: vaesurface reproduce fig1-left" in out and "prop51" in out
    asked = []

    def stand_in(out, command, full, seeds):
        asked.append((out, command, full, seeds))
        return report.Study("prop41", "A trap", ["It is one."])

    monkeypatch.setattr("vaesurface.experiments.prop41.prop41", stand_in)
    code, out, _ = vaesurface(f"reproduce prop41 --full --json --out {tmp_path}")
    assert code == 0 and json.loads(out)["said"] == ["It is one."]
    assert asked == [
        (tmp_path, f"vaesurface reproduce prop41 --full --json --out {tmp_path}", True, 3)
    ]


X = jnp.asarray(data.load("digits-4x4", limit=12), jnp.float32)
MLP = architecture.mlp(16, 2, depth=1, width=6)


def test_without_a_warm_start_the_run_is_that_of_figure_one_and_with_it_another():
    vae = jax.jit(lambda: fig1.vae(X, MLP, PLAN, 3))()
    warmed = jax.jit(lambda warm: warm_start.warmed(X, MLP, PLAN, warm, 3))
    for name, value in warmed(0.0)._asdict().items():
        if value is not None:
            np.testing.assert_allclose(value, getattr(vae, name), rtol=1e-4, err_msg=name)
    # While beta is small the KL divergence costs nothing, so it grows.
    assert jnp.sum(warmed(1.0).kl) > jnp.sum(vae.kl)
    assert not jnp.allclose(warmed(1.0).history, vae.history, rtol=1e-3)


LOW, HIGH = np.array([1.0, 1.1, 1.2]), np.array([2.0, 2.1, 2.2])


@pytest.mark.parametrize(
    ("plain", "variational", "held", "said"),
    [
        (
            [HIGH, LOW, HIGH],
            [3 * HIGH, 3 * LOW, 3 * HIGH],
            True,
            "The paper's claim holds for x: .* 2.1 at 1, 1.1 at 4, 2.1 at 16",
        ),
        (
            [HIGH, LOW, np.inf + HIGH],
            [3 * HIGH, 3 * LOW, np.inf + HIGH],
            True,
            "inf at 16",
        ),  # diverged
        ([HIGH, LOW, LOW], [3 * HIGH] * 3, False, "does not rise again up to 16 layers"),
        (
            [HIGH, LOW, [1.05, 2.0, 2.1]],
            [3 * HIGH] * 3,
            False,
            "does not rise again",
        ),  # one seed of three does not
        ([LOW, LOW, HIGH], [3 * HIGH] * 3, False, "does not fall first"),
        ([HIGH, LOW, HIGH], [HIGH, 0.9 * LOW, HIGH], False, "the VAE's error is not above"),
    ],
)
def test_the_sentence_on_figure_one_follows_from_the_errors(plain, variational, held, said):
    found, sentence = fig1.claim(
        (1, 4, 16), "layers", "x", np.array(plain), np.array(variational), 5.0
    )
    assert found is held
    assert re.search(said, sentence)
    assert sentence.startswith(
        "The paper's claim holds" if held else "The paper's claim is not seen in full"
    )
    assert "the best constant has 5." in sentence


def test_the_sentence_on_residual_networks_names_what_does_not_rise():
    held, said = fig1.relative_claim([1, 2], [2, 5], np.array([[LOW, HIGH], [LOW, HIGH]]))
    assert (
        held
        and "1.1 to 2.1 with 2 blocks per scale," in said
        and said.endswith("the deepest is above the shallowest by the test.")
    )
    held, said = fig1.relative_claim([1, 2], [2, 5], np.array([[LOW, HIGH], [LOW, LOW]]))
    assert (
        not held
        and "1.1 to 1.1 with 2 blocks per scale (no rise by the test)" in said
        and "with 1 block per scale;" in said
    )
    assert said.endswith("the deepest is not above the shallowest by the test.")


@pytest.mark.parametrize(
    ("share", "held"),
    [
        ([0.1 * LOW, 0.2 * LOW, 0.4 * LOW], True),
        ([0.1 * LOW] * 3, False),
        ([0.1 * LOW, 0.05 * LOW, 0.4 * LOW], False),
    ],
)
def test_the_sentence_on_figure_two_asks_for_growth(share, held):
    found, said = fig2.claim((2, 4, 5), "x", np.array(share))
    assert found is held and ("holds" in said) is held and "11 % at 2" in said


def test_equations_are_checked_on_every_pair():
    plain = SimpleNamespace(error=np.array([[0.9, 1.2], [0.5, np.nan]]))
    variational = SimpleNamespace(
        error=np.array([[1.0, 1.0], [1.0, 1.0]]),
        error_std=np.full((2, 2), 0.05),
        gamma=np.array([[1.0, 0.9], [1.05, 9.0]]),
    )
    said = fig1.checks(plain, variational)
    assert (
        "3 of 4 pairs" in said
        and "violated by 1, at worst by 20 %, by more than 3 standard errors in 1: there" in said
    )
    wide = SimpleNamespace(**vars(variational) | {"error_std": np.full((2, 2), 0.1)})
    assert "by more than 3 standard errors in 0. Eq. 10" in fig1.checks(plain, wide)
    assert "met to 5 % in the median, 10 % at worst" in said


def counts(collapsed):
    return warm_start.count(np.arange(12) < collapsed)


@pytest.mark.parametrize(
    ("without", "warm", "stuck", "said"),
    [
        (
            (0, 12),
            (0, 12),
            (False, True),
            "claim holds for x: where .* stuck .16 hidden layers. warm-start changes nothing that",
        ),
        (
            (0, 12),
            (0, 2),
            (False, True),
            "claim fails for x: at 16 hidden layers .* changes the share that collapses;",
        ),
        (
            (5, 12),
            (5, 2),
            (True, True),
            "fails for x: at 16 .* collapses, while at 8 hidden layers it is stuck and nothing",
        ),
        ((0, 11), (0, 5), (False, True), "claim holds for x"),  # p = 0.027 for one of two depths
        (
            (0, 12),
            (0, 2),
            (False, False),
            "is not tested for x: .* up to 16 .* at 16 hidden layers, it changes the share",
        ),
        (
            (0, 12),
            (0, 10),
            (False, False),
            "is not tested .* at 8, 16 hidden layers, it does not measurably change",
        ),
    ],
)
def test_the_sentence_on_warm_start_follows_from_the_counts(without, warm, stuck, said):
    pairs = [(counts(a), counts(b)) for a, b in zip(without, warm, strict=True)]
    sentence = warm_start.claim((8, 16), "x", pairs, stuck)
    assert re.search(said, sentence)


def test_intervals_are_exact():
    # Of no success in n trials the upper end p has (1 - p)^n = 0.025.
    assert counts(0) == Count(0, 12, 0.0, pytest.approx(1 - 0.025 ** (1 / 12)))
    assert counts(12).low == pytest.approx(0.025 ** (1 / 12)) and counts(12).high == 1.0


def test_widths_stand_for_their_counts():
    many = np.random.default_rng(0).integers(0, 9, (3, 2, 50))
    np.testing.assert_array_equal(
        np.histogram(fig2.widths(many), train.SIGMA)[0], many.sum(axis=(0, 1))
    )
    shares = fig1.near_prior(many)
    np.testing.assert_allclose(shares, many[..., 36:].sum(axis=(1, 2)) / many.sum(axis=(1, 2)))
    assert train.SIGMA[36] == pytest.approx(0.9)


def test_figures_show_seeds_medians_and_intervals():
    axes = plot.depth_errors(
        [4, 1], {"one": [HIGH, LOW], "two": [[np.inf] * 3, LOW]}, floor={"constant": 3.0}, title="x"
    )
    medians = [line for line in axes.lines if line.get_linestyle() == "-"]
    np.testing.assert_allclose(medians[0].get_xydata(), [[1, 1.1], [4, 2.1]])
    np.testing.assert_allclose(medians[1].get_xydata(), [[1, 1.1]])  # what diverged is left out
    dots = [line for line in axes.lines if line.get_alpha() == 0.35]
    np.testing.assert_allclose([line.get_ydata() for line in dots[:3]], np.transpose([LOW, HIGH]))
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["one", "two", "constant"]
    axes = plot.collapse_shares(
        [8, 16],
        {"a": [[0.5, 0.2, 0.8], [1, 0.7, 1]], "b": [[0, 0, 0.3]] * 2},
        counts={"a": ["6/12", "12/12"]},
    )
    np.testing.assert_allclose(
        axes.containers[0].lines[0].get_xydata(), [[-0.15, 0.5], [0.85, 1.0]]
    )
    segments = np.array(axes.containers[0].lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(segments, [[0.2, 0.8], [0.7, 1.0]])
    assert [text.get_text() for text in axes.texts] == ["6/12", "12/12"]
    plt.close("all")
