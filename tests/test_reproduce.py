"""The paper's experiments at toy size: they go on where they stopped, and their sentences follow
from the numbers.
"""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot as plt

from vaesurface import data, plot, report
from vaesurface.experiments import fig1, fig2, trained, warm_start
from vaesurface.experiments.warm_start import Count
from vaesurface.sweep import filling
from vaesurface.vae import architecture, train

NETWORKS = partial(trained.fully_connected, width=6)
PLAN = trained.Plan(NETWORKS, (1, 2), ("digits-4x4",), 12, 2, 20, 6)
IMAGES = PLAN._replace(
    networks=partial(trained.convolutional, scales=1, channels=2, growth=1), depths=(1,)
)


@pytest.fixture
def toy(monkeypatch):
    """Plans of toy size."""

    def layered(X, latent, depth):
        return NETWORKS(X, latent, depth[1])

    monkeypatch.setattr(fig1, "LEFT", PLAN._replace(depths=(2,)))
    monkeypatch.setattr(fig1, "MIDDLE", IMAGES)
    monkeypatch.setattr(fig1, "RIGHT", PLAN._replace(networks=layered, depths=((1, 1), (1, 2))))
    monkeypatch.setattr(fig2, "PLAN", IMAGES)
    monkeypatch.setattr(warm_start, "PLAN", PLAN._replace(depths=(1,)))


def chunks(out):
    """What the runs of a study have left, and when."""
    return {path: path.stat().st_mtime_ns for path in out.glob("runs/*/chunks/*")}


def arrays_of(file):
    """What a chunk holds, but for what it says of its making."""
    with np.load(file) as chunk:
        return {name: array.tobytes() for name, array in chunk.items() if name != "about"}


@pytest.mark.usefixtures("toy")
def test_an_interrupted_study_goes_on_and_more_seeds_add_to_it(vaesurface, tmp_path, monkeypatch):
    monkeypatch.setattr(filling, "EVERY", 0.0)  # a chunk a block, however fast blocks are
    line = f"reproduce fig1-left --json --out {tmp_path}"
    code, out, err = vaesurface(f"{line} --seeds 2")
    assert code == 0
    assert "0/2" in err  # the progress bar
    first = json.loads(out)
    assert len(first["said"]) == 3
    assert "Median error per feature of 2 seeds" in first["said"][0]
    assert "2 of 2 pairs trained to finite numbers" in first["said"][1]
    assert {"fig1-left.png", "fig1-left.txt", "fig1-left.json"} == {
        file.rsplit("/", 1)[1] for file in first["files"]
    }
    before = chunks(tmp_path)
    assert len(before) == 4  # two kinds, two seeds
    lost, *_ = sorted(before)
    content = arrays_of(lost)
    lost.unlink()
    code, again, _ = vaesurface(f"{line} --seeds 2")
    assert code == 0
    assert json.loads(again) == first
    assert arrays_of(lost) == content
    after = chunks(tmp_path)
    assert {path for path in after if after[path] != before[path]} == {lost}
    code, more, _ = vaesurface(f"{line} --seeds 3")
    assert code == 0
    assert "of 3 seeds" in json.loads(more)["said"][0]
    grown = chunks(tmp_path)
    assert after.items() <= grown.items()
    assert len(grown) == 6
    study = report.load(tmp_path / "fig1-left.json")
    assert study.settings["claim held here"] is False  # of one depth
    assert study.command.endswith("--seeds 3")
    with np.load(tmp_path / "fig1-left.npz") as arrays:
        assert arrays["vae_error"].shape == arrays["autoencoder_error"].shape == (1, 3)


@pytest.mark.slow
def test_figure_two_is_of_the_runs_of_figure_one(vaesurface, toy, tmp_path):
    code, _, _ = vaesurface(f"reproduce fig1-middle --seeds 2 --out {tmp_path}")
    assert code == 0
    before = chunks(tmp_path)
    code, out, _ = vaesurface(f"reproduce fig2 --seeds 2 --json --out {tmp_path}")
    assert code == 0
    assert chunks(tmp_path) == before
    with np.load(tmp_path / "fig2.npz") as arrays:
        counts = arrays["counts"]
    assert counts.shape == (1, 2, 2, 50)  # depth, seed, latent, bin
    np.testing.assert_array_equal(counts.sum(axis=-1), 12)  # data
    share = 100 * np.median(counts[..., 36:].sum(axis=(2, 3))) / 24  # 36: from 0.9 on
    assert f"above 0.9 is {share:.3g} % at 1 layers per scale" in json.loads(out)["said"][0]
    code, out, _ = vaesurface(f"report {tmp_path} --json")
    assert code == 0
    assert len(json.loads(out)["studies"]) == 2


@pytest.mark.slow
def test_residual_errors_are_relative_to_the_shallowest(vaesurface, toy, tmp_path):
    code, out, _ = vaesurface(f"reproduce fig1-right --seeds 2 --json --out {tmp_path}")
    assert code == 0
    with np.load(tmp_path / "fig1-right.npz") as arrays:
        ratio = arrays["ratio"]
    assert ratio.shape == (1, 2, 2)  # blocks, layers, seed
    shallowest, deepest = np.median(ratio[0], axis=1)
    assert shallowest == pytest.approx(1.0, rel=1e-6)
    (sentence,) = json.loads(out)["said"]
    assert f"goes from 1 to {deepest:.3g} with 1 block per scale" in sentence


@pytest.mark.parametrize("plan", ["LEFT", "MIDDLE", "RIGHT"])
@pytest.mark.parametrize("full", ["", "_FULL"])
def test_plans_make_the_networks_that_they_say(plan, full):
    chosen = getattr(fig1, plan + full)
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


def test_warm_start_counts_collapsed_runs(vaesurface, toy, tmp_path):
    code, out, _ = vaesurface(f"reproduce warm-start --seeds 2 --json --out {tmp_path}")
    assert code == 0
    with np.load(tmp_path / "warm-start.npz") as arrays:
        counts, error = arrays["counts"], arrays["error"]
    assert counts.shape == (1, 2, 4)  # depth, without and with, fields of Count
    assert error.shape == (1, 2)
    collapsed, total = counts[0, :, 0], counts[0, :, 1]
    np.testing.assert_array_equal(total, 2)
    _, sentence = json.loads(out)["said"]
    assert f"without warm-start {collapsed[0]:.0f} of 2 (" in sentence
    assert f"with it {collapsed[1]:.0f} of 2 (" in sentence


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "reproduce fig3",
            "expected one of fig1-left, fig1-middle, fig1-right, fig2, warm-start, prop41, "
            "prop51, nonlinearities, got fig3",
        ),
        ("reproduce fig2 --seeds 0", "expected --seeds >= 1, got 0; choose another value"),
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
def test_bad_input_is_one_line_and_exit_code_2(vaesurface, toy, tmp_path, line, complaint):
    code, out, err = vaesurface(line if "--out" in line else f"{line} --out {tmp_path}")
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1


def test_propositions_are_handed_what_was_asked_for(vaesurface, tmp_path, monkeypatch):
    asked = []

    def stand_in(out, command, full, seeds, executor):
        assert isinstance(executor(), ThreadPoolExecutor)
        asked.append((out, command, full, seeds))
        return report.Study("prop41", "A trap", ["It is one."])

    monkeypatch.setattr("vaesurface.experiments.prop41.prop41", stand_in)
    line = f"reproduce prop41 --full --json --out {tmp_path}"
    code, out, _ = vaesurface(line)
    assert code == 0
    assert json.loads(out)["said"] == ["It is one."]
    assert asked == [(tmp_path, f"vaesurface {line}", True, 3)]


X = jnp.asarray(data.load("digits-4x4", limit=12), jnp.float32)
MLP = architecture.mlp(16, 2, depth=1, width=6)


def test_without_a_warm_start_the_run_is_that_of_figure_one_and_with_it_another():
    vae = jax.jit(lambda: trained.vae(X, MLP, PLAN, 3))()
    warmed = jax.jit(lambda warm: warm_start.warmed(X, MLP, PLAN, warm, 3))
    for name, value in warmed(0.0)._asdict().items():
        if value is not None:
            np.testing.assert_allclose(value, getattr(vae, name), rtol=1e-4, err_msg=name)
    # While beta is small the KL divergence costs nothing, so it grows.
    assert jnp.sum(warmed(1.0).kl) > jnp.sum(vae.kl)
    assert not jnp.allclose(warmed(1.0).history, vae.history, rtol=1e-3)


LOW, HIGH = np.array([1.0, 1.1, 1.2]), np.array([2.0, 2.1, 2.2])


@pytest.mark.parametrize(
    ("plain", "variational", "held", "pattern"),
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
def test_the_sentence_on_figure_one_follows_from_the_errors(plain, variational, held, pattern):
    holds, sentence = fig1.claim(
        (1, 4, 16), "layers", "x", np.array(plain), np.array(variational), 5.0
    )
    assert holds is held
    assert re.search(pattern, sentence)
    assert sentence.startswith(
        "The paper's claim holds" if held else "The paper's claim is not seen in full"
    )
    assert "the best constant has 5." in sentence


def test_the_sentence_on_residual_networks_names_what_does_not_rise():
    held, sentence = fig1.relative_claim([1, 2], [2, 5], np.array([[LOW, HIGH], [LOW, HIGH]]))
    assert held
    assert "1.1 to 2.1 with 2 blocks per scale," in sentence
    assert sentence.endswith("the deepest is above the shallowest by the test.")
    held, sentence = fig1.relative_claim([1, 2], [2, 5], np.array([[LOW, HIGH], [LOW, LOW]]))
    assert not held
    assert "1.1 to 1.1 with 2 blocks per scale (no rise by the test)" in sentence
    assert "with 1 block per scale;" in sentence
    assert sentence.endswith("the deepest is not above the shallowest by the test.")


@pytest.mark.parametrize(
    ("share", "held"),
    [
        ([0.1 * LOW, 0.2 * LOW, 0.4 * LOW], True),
        ([0.1 * LOW] * 3, False),
        ([0.1 * LOW, 0.05 * LOW, 0.4 * LOW], False),
    ],
)
def test_the_sentence_on_figure_two_asks_for_growth(share, held):
    holds, sentence = fig2.claim((2, 4, 5), "x", np.array(share))
    assert holds is held
    assert sentence.startswith("The paper's claim holds for x: ") is held
    assert "11 % at 2" in sentence


def test_equations_are_checked_on_every_pair():
    plain = SimpleNamespace(error=np.array([[0.9, 1.2], [0.5, np.nan]]))
    variational = SimpleNamespace(
        error=np.array([[1.0, 1.0], [1.0, 1.0]]),
        error_std=np.full((2, 2), 0.05),
        gamma=np.array([[1.0, 0.9], [1.05, 9.0]]),
    )
    sentence = fig1.checks(plain, variational)
    assert (
        "3 of 4 pairs" in sentence
        and "violated by 1, at worst by 20 %, by more than 3 standard errors in 1: there"
        in sentence
    )
    wide = SimpleNamespace(**vars(variational) | {"error_std": np.full((2, 2), 0.1)})
    assert "by more than 3 standard errors in 0. Eq. 10" in fig1.checks(plain, wide)
    assert "met to 5 % in the median, 10 % at worst" in sentence


def counts(collapsed):
    return warm_start.count(np.arange(12) < collapsed)


@pytest.mark.parametrize(
    ("without", "warm", "stuck", "pattern"),
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
def test_the_sentence_on_warm_start_follows_from_the_counts(without, warm, stuck, pattern):
    pairs = [(counts(a), counts(b)) for a, b in zip(without, warm, strict=True)]
    sentence = warm_start.claim((8, 16), "x", pairs, stuck)
    assert re.search(pattern, sentence)


def test_intervals_are_exact():
    # Of no success in n trials the upper end p has (1 - p)^n = 0.025.
    assert counts(0) == Count(0, 12, 0.0, pytest.approx(1 - 0.025 ** (1 / 12)))
    assert counts(12).low == pytest.approx(0.025 ** (1 / 12))
    assert counts(12).high == 1.0


def test_widths_stand_for_their_counts():
    many = np.random.default_rng(0).integers(0, 9, (3, 2, 50))
    np.testing.assert_array_equal(
        np.histogram(fig2.widths(many), train.SIGMA)[0], many.sum(axis=(0, 1))
    )
    shares = trained.near_prior(many)
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
