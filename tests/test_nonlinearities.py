"""Which perturbations make collapse a trap: what is said follows from what is so."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import activations, data, plot, vae
from vaesurface.cli import reproduce
from vaesurface.experiments import member, nonlinear_words, nonlinearities
from vaesurface.experiments.nonlinear_words import Down, Row
from vaesurface.vae import corners

NAMED = activations.NAMED
X = data.gaussian(24, [2.0, 1.2, 0.5, 0.3], seed=0)
ALPHAS = (0.1, 0.9)


@pytest.fixture(scope="module")
def judge():
    leaning = vae.elementwise_vae(X, 2, "tanh").leaning()
    return nonlinearities.judged(corners.residual(leaning), 2, 1.0)


SIGNS = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
TURN = np.array([[1.0, -1.0], [1.0, 1.0]]) / math.sqrt(2.0)


def weak(ratio):
    """Rows with one eigenvalue that is that much of the decoder's variance, along a direction with
    signs of both kinds; the other is small.
    """
    return jnp.asarray(SIGNS * np.sqrt([ratio, 0.2]) @ TURN)


def test_only_a_dead_zone_leaves_no_way_down_at_once(judge):
    tiny = {name: judge(bend, nonlinearities.LEAST) for name, bend in NAMED.items()}
    assert {name for name, down in tiny.items() if down == Down(0, 0)} == {"soft threshold"}
    assert set(tiny.values()) == {Down(0, 0), Down(4, 0)}


def test_what_is_smooth_at_zero_never_changes_the_number_of_ways_down(judge):
    smooth = ["hard tanh", "erf", "sin", "exp", "cubic", "tanh", "softplus"]
    assert all(judge(NAMED[name], alpha) == Down(4, 0) for name in smooth for alpha in ALPHAS)
    gone = {name: nonlinearities.where_none_is_left(judge, NAMED[name]) for name in smooth}
    assert gone.pop("cubic") == 1.0  # where its slope is zero
    assert all(math.isnan(alpha) for alpha in gone.values())
    assert judge(NAMED["cubic"], 1.0).open == 8  # of which the second order says nothing


def test_a_corner_makes_a_trap_of_weak_data_from_some_alpha_on():
    rows = weak(1.1)
    judge = nonlinearities.judged(rows, 1, 1.0)
    where = nonlinearities.where_none_is_left(judge, NAMED["abs"])
    slope, level = 1.0 - where, 2.0 * where / math.sqrt(2.0 * math.pi)
    variance = 0.5 * (1.0 + (1.0 - 2.0 * where) ** 2) - level**2
    angles = np.linspace(0.0, math.pi, 200_001)
    columns = np.stack([np.cos(angles), np.sin(angles)])
    odd, even = (np.mean((rows @ x) ** 2, axis=0) for x in (columns, np.abs(columns)))
    assert np.max(slope**2 * odd + 0.5 * level**2 * even) == pytest.approx(variance, rel=1e-8)
    assert judge(NAMED["abs"], where - 1e-6).known == 1
    assert nonlinearities._right(NAMED["abs"], 1.0, judge) == "leading form"
    strong = nonlinearities.judged(weak(3.0), 1, 1.0)
    assert math.isnan(nonlinearities.where_none_is_left(strong, NAMED["relu"]))


def test_a_slope_of_zero_is_no_dead_zone():
    flat, zone = (vae.elementwise_vae(X, 1, name, 1.0) for name in ("cubic", "soft threshold"))
    assert NAMED["cubic"].dead_zone(1.0) == 0
    assert NAMED["soft threshold"].dead_zone(0.3) == 0.3
    start = flat.collapsed()
    known = jax.jit(lambda problem: problem.theory(problem.collapsed()).strict)
    assert (int(known(flat)), int(known(zone))) == (0, 4)
    values, vectors = np.linalg.eigh(np.cov(X.T, bias=True))
    cubed = 0.05 * vectors[:, -1]  # z^3 is 3 z and more, of variance 15
    pull = 3.0 * (X - X.mean(axis=0)) @ cubed / float(flat.gammabar)
    lower = start._replace(
        weight=jnp.asarray(np.cbrt(cubed)[:, None]), mean=jnp.asarray(pull[:, None])
    )
    assert values[-1] > 15 / 9
    assert float(flat.loss(lower)) < float(flat.loss(start)) - 1e-3


def row(name, **fields):
    plain = {
        "cuts": [(1.0, 1.0)] * 3,
        "down": [Down(4, 0)] * 3,
        "gone": math.nan,
        "right": ["", ""],
        "radius": [math.nan] * 2,
        "collapsed": np.zeros((2, 2), int),
        "lost": np.zeros((2, 2), int),
        "lower": np.ones(2, bool),
        "barrier": [math.nan] * 2,
        "home": [False] * 2,
    }
    return Row(name, **{**plain, **fields})


ROWS = [
    row(
        "dead",
        cuts=[(math.inf, math.inf)] * 3,
        down=[Down(0, 0)] * 3,
        gone=0.0,
        right=["dead zone"] * 2,
        radius=[0.4, 0.4],
        collapsed=np.array([[5, 0], [5, 2]]),
        barrier=[0.01, 0.02],
        home=[True, False],
        agree=(12, 12),
    ),
    row("smooth"),
    row("flat", gone=1.0),
    row(
        "corner",
        cuts=[(1.0, 1.0), (1.01, 1.1), (1.1, 6.0)],
        down=[Down(4, 0), Down(2, 2), Down(0, 0)],
        gone=0.625,
        right=["", "leading form"],
        lower=np.zeros(2, bool),
    ),
]


def test_sentences_say_what_the_numbers_say():
    ratios = np.array([2.0, 1.2, 0.5])
    said = nonlinear_words.sentences("x", 2, ALPHAS, 5, 1.0, ratios, ROWS, {"exp": "diverges"})
    verdict, first, dead, smooth, flat, corner, absent, trapped, free, agree = said
    assert "2 of them are above beta = 1, so from collapse of an affine decoder 4" in first
    assert "none at any alpha > 0" in dead and "shorter than 0.4 alpha" in dead
    assert "0.01, 0.02 alpha^2 high (at 0.9 over a pass between two other points)" in dead
    assert "7 of 10 starts collapse at alpha = 0.9" in dead
    assert "scaled" in smooth and "minimum" not in smooth
    assert "until at alpha = 1 its slope is zero" in flat
    assert "2 to 4 at 0.1, 0 at 0.9; none known from alpha = 0.625 on" in corner
    assert "no start found anything lower" in corner
    assert absent == "No problem with exp: diverges."
    assert "minimum, 12 of 30 starts end in it (40 %" in trapped
    assert "directions down, 0 of 50" in free
    assert agree.startswith("At 12 of 12 ends")
    assert verdict.endswith(
        "dead does so at every alpha > 0; corner does so from some alpha on; smooth, flat do so "
        "never."
    )
    table = nonlinear_words.table(ALPHAS, (0.1, 1.0), 5, ROWS)
    assert "| dead | 0 | 0 | 0 | any > 0 | dead zone | 0.4 | 0.01, 0.02 |" in table
    assert "| dead | 0.9 | 5 (48 to 100) | 2 (5 to 85) | 0 |" in table


def test_where_no_latent_pays_nothing_is_a_perturbations_trap():
    said = nonlinear_words.sentences("x", 2, ALPHAS, 5, 1.0, np.array([0.9]), ROWS, {})
    assert said[0].startswith("No latent of an affine decoder pays here")


def test_figures_name_what_they_draw():
    grid = np.array([0.0, 0.5, 1.0])
    straight, bent = [(1.0, 1.0)] * 3, [(1.0, 1.0), (1.1, 1.2), (1.2, math.inf)]
    cubic = [*straight[:2], (math.inf, math.inf)]
    endless = [(math.inf, math.inf)] * 3
    curves = {"a": straight, "b": bent, "c": cubic, "d": endless}
    ax = plot.collapse_cuts(grid, curves, [1.4, 0.5])
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["a, c", "b", "d", "eigenvalues"]
    shares = {"scale 1": [(0.5, 0.1, 0.9), (0.0, 0.0, 0.3)]}
    ax = plot.collapse_by_activation(["a", "d"], shares, traps=["d"])
    assert [text.get_fontweight() for text in ax.get_yticklabels()] == ["normal", "bold"]
    assert ax.get_ylim() == (1.5, -0.5)
    plot.style()


def test_members_that_do_not_exist_are_said_and_wrong_data_refused(vaesurface, tmp_path):
    plan = nonlinearities.PLAN._replace(names=("tanh", "exp"))
    of = member.named(likelihood="poisson")
    rows, source = nonlinearities.of_data(None, 6, of)
    assert source == f"digits-4x4 as counts up to 16, n = 6, {rows.shape[1]} features that vary"
    assert np.ptp(rows, axis=0).min() > 0
    setting = nonlinearities.Setting(rows, source, 2, None, 1.0, 1, 0.1, 0, tmp_path, "", member=of)
    there, left_out = nonlinearities._settings(plan, setting)
    assert list(there) == ["tanh"]
    assert "no Gaussian expectation" in left_out["exp"]
    for line, message in {
        "nonlinearities --likelihood bernoulli --data antipodal": "in [0, 1]",
        "nonlinearities --likelihood odd": "likelihood as one of",
        "nonlinearities --likelihood categorical": "coordinates one by one",
        "nonlinearities --data antipodal --data digits": "one data set",
        "prop41 --quick": "with nonlinearities only",
    }.items():
        code, out, err = vaesurface(f"reproduce {line} --out {tmp_path / 'new'}")
        assert (code, out, err.count("\n")) == (2, "", 1), line
        assert message in err


@pytest.mark.slow
def test_the_study_is_made_and_goes_on_where_it_stopped(vaesurface, tmp_path, monkeypatch):
    toy = nonlinearities.QUICK._replace(names=("soft threshold", "tanh"), scales=(0.01, 1.0))
    monkeypatch.setattr(nonlinearities, "QUICK", toy._replace(starts=1, steps=400))
    line = f"reproduce nonlinearities --quick --seeds 2 --json --out {tmp_path}"
    code, out, _ = vaesurface(line)
    assert code == 0
    told = json.loads(out)
    assert told["table"] == (tmp_path / "nonlinearities.md").read_text()
    assert "soft threshold does so at every alpha > 0; tanh does so never" in told["said"][0]
    assert (tmp_path / "nonlinearities.png").stat().st_size > 10_000
    with np.load(tmp_path / "nonlinearities.npz") as arrays:
        assert arrays["collapsed"].shape == (2, 2, 2)  # activation, alpha, scale
        assert arrays["collapsed"][1].sum() == 0
        assert np.isfinite(arrays["barrier"][0]).all()
    chunks = {path: path.stat().st_mtime_ns for path in tmp_path.glob("nonlinearities/*/chunks/*")}
    assert chunks
    code, again, _ = vaesurface(line)
    assert (code, json.loads(again)) == (0, told)
    assert {path: path.stat().st_mtime_ns for path in chunks} == chunks
    assert vaesurface(f"report {tmp_path}")[0] == 0
    assert reproduce.BENT in (tmp_path / "report.html").read_text()


def test_an_end_beside_collapse_is_collapsed_where_nothing_sets_rows_to_zero():
    problem = vae.elementwise_vae(X, 1, "tanh", 0.5, beta=3.0)
    known = jax.jit(lambda params: problem.theory(params).collapsed)
    start = problem.collapsed()
    column = jnp.array([[1.0], [0.0], [-1.0], [2.0]])
    assert [bool(known(start._replace(weight=s * column))) for s in (0.0, 1e-9, 1e-3)] == [1, 1, 0]
