"""Traps, cures and the board: against what is known in closed form, and each way to say the same
against the other.
"""

import ast
import builtins
import dataclasses
import json
import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaesurface import cure, data, optimize, plot, proof, report, stationary, theory, traps, vae
from vaesurface.cure import like, schedules, starts, surfaces, told, words
from vaesurface.cure.board import compared
from vaesurface.cure.descent import Way, descend, energy, finish
from vaesurface.diagnose import Collapse
from vaesurface.experiments import advised
from vaesurface.experiments import cures as experiment

SHORT = Way(first=20, last=20, rate=0.05, batch=None)
BY_NAME = {one.name: one for one in cure.CURES}


@pytest.fixture(scope="module")
def exact():
    return {trap.name: trap for trap in traps.exact()}


@pytest.fixture(scope="module")
def networks():
    return traps.deep()


@pytest.fixture(scope="module")
def antipodal(exact):
    return exact["antipodal, alpha = 0.5"]


# Traps


def test_collapsed_points_of_traps_are_stationary_and_their_radii_are_proved(exact):
    slope = jax.jit(lambda problem, params: jax.grad(problem.loss)(params))
    for trap in exact.values():
        gradient = slope(trap.problem, trap.collapsed)
        assert float(optax.tree.norm(gradient)) < 1e-12
        assert trap.energy == float(trap.problem.loss(trap.collapsed))
        if math.isinf(trap.radius):
            continue
        proved = proof.certify(trap.problem, trap.collapsed)
        # A proof keeps a margin of 1e-4.
        assert proved.numbers["radius"] == pytest.approx(trap.radius, rel=2e-4)
        assert proved.numbers["radius"] <= trap.radius


def test_where_gamma_is_too_large_collapse_is_the_optimum(exact):
    (trap,) = (trap for trap in exact.values() if trap.kind == Collapse.GAMMA)
    assert trap.ratio < 1
    assert trap.optimum == pytest.approx(trap.energy, abs=1e-12)
    others = [other for other in exact.values() if other is not trap]
    assert all(other.ratio > 1 and other.optimum < other.energy for other in others)


def test_barriers_grow_like_alpha_squared_and_radii_like_alpha(exact):
    alphas = {t.name: float(t.problem.alpha) for t in exact.values()}
    own = [trap for trap in exact.values() if trap.family == "antipodal"]
    radii = [trap.radius / alphas[trap.name] for trap in own]
    assert radii == pytest.approx([radii[0]] * len(radii), rel=1e-6)
    heights = [trap.barrier / alphas[trap.name] ** 2 for trap in own]
    assert all(0.009 < height < 0.012 for height in heights)
    one, other = (trap for trap in exact.values() if trap.family == "digits")
    assert other.barrier / one.barrier == pytest.approx(0.3**2 / 0.1**2, rel=0.1)
    assert not any(math.isnan(trap.barrier) for trap in exact.values())


def test_networks_collapsed_points_are_stationary_and_their_energies_known(networks):
    trap = networks[-1]
    value, gradient = jax.value_and_grad(trap.problem.loss)(trap.collapsed)
    assert float(value) == pytest.approx(trap.energy, rel=1e-6)
    assert float(optax.tree.norm(gradient)) < 1e-4 * float(optax.tree.norm(trap.collapsed.decoder))
    local, large = Collapse.LOCAL, Collapse.GAMMA
    assert [trap.kind for trap in networks] == [local, local, large, large]
    assert [trap.ratio > 1 for trap in networks] == [True, True, False, False]
    # By its beta alone: with beta = 1 a latent pays.
    beta = float(trap.problem.beta)
    assert beta * trap.ratio > 1
    assert trap.energy == pytest.approx(trap.optimum)


def test_ends_are_judged_by_what_is_certified(antipodal):
    problem = antipodal.problem
    home = traps.judge(problem, antipodal.collapsed)
    assert (bool(home.collapsed), int(home.active), bool(home.sure)) == (True, 0, True)
    lower = traps.judge(problem, traps.lower(antipodal))
    assert (bool(lower.collapsed), int(lower.active), bool(lower.sure)) == (False, 1, True)
    # Silent, but farther from collapse than is certified: nothing is said of it.
    off = antipodal.collapsed._replace(bias=antipodal.collapsed.bias + 0.1)
    far = traps.judge(problem, off)
    assert (bool(far.collapsed), bool(far.sure)) == (True, False)


@pytest.mark.slow
def test_ends_are_judged_as_stationary_points_are(antipodal):
    optimizer = optimize.adam(3000)
    for seed in range(6):
        key = jax.random.key(seed)
        point = stationary.find(antipodal.problem, key, 1.0, optimizer)
        ended = optimizer(antipodal.problem.loss, antipodal.problem.init(key, 1.0)).params
        end = traps.judge(antipodal.problem, ended)
        assert bool(end.collapsed) == bool(point.theory.collapsed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["antipodal, alpha = 0.5", "gaussian, alpha = 1", "digits, alpha = 0.3"]
)
def test_barriers_and_optima_are_found_again(exact, name):
    trap = exact[name]
    crossing = traps.measured_barrier(trap)
    assert crossing.home
    assert crossing.height == pytest.approx(trap.barrier, rel=1e-6)
    if trap.affine is not None:
        assert float(trap.problem.loss(traps.lower(trap))) >= trap.optimum - 1e-6


# Scores


def downhill(value_and_grad, x):
    """Gradient descent, on arrays."""
    for _ in range(30):
        x = x - 0.05 * value_and_grad(x)[1]
    return x


def test_one_optimizer_scores_alike_through_every_door(antipodal):
    doors = [
        traps.through_arrays(downhill),
        optimize.gradient_descent(30, 0.05),
        optax.sgd(0.05),
    ]
    rows = [traps.score(door, [antipodal], starts=3, steps=30).rows[0] for door in doors]
    assert [row.evaluations for row in rows] == [30.0] * 3
    for row in rows[1:]:
        assert row.collapsed == rows[0].collapsed
        assert row.below == pytest.approx(rows[0].below, rel=1e-9)


def test_scipys_methods_are_scored_by_name(antipodal):
    score = traps.score("L-BFGS-B", [antipodal], starts=3)
    assert score.rows[0].evaluations > 1
    assert str(score).splitlines()[0] == "SciPy's L-BFGS-B on 3 starts of each trap, seeds from 0"
    assert "no lower bound" in str(score)
    few = traps.scipy_method("L-BFGS-B", maxiter=1)
    assert traps.score(few, [antipodal], starts=1).rows[0].evaluations <= 21
    assert few.name == "SciPy's L-BFGS-B, maxiter = 1"


def test_what_is_no_optimizer_is_refused_in_one_line(antipodal):
    with pytest.raises(ValueError, match=r"expected an optimizer: a function .* got int"):
        traps.score(3, [antipodal])
    with pytest.raises(ValueError, match="expected starts >= 1, got 0"):
        traps.score("BFGS", [antipodal], starts=0)
    with pytest.raises(ValueError, match="expected an end of shape"):
        traps.score(traps.through_arrays(lambda f, x: x[:1]), [antipodal], starts=1)

    def hosted(loss, params):
        return jax.tree.map(lambda x: x / float(loss(params)), params)

    with pytest.raises(ValueError, match=r"hosted, which asks for .*through_arrays"):
        traps.score(hosted, [antipodal], starts=1)


def test_shares_have_exact_intervals_and_pairs_an_exact_test():
    none = traps.share(np.zeros(20, bool))
    assert none.low == 0
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 20))
    plain = np.array([True] * 6 + [False] * 4)
    cured = np.array([False] * 5 + [True] * 2 + [False] * 3)
    assert compared(plain, cured)[:2] == (5, 1)
    assert compared(plain, cured).p == pytest.approx(2 * (1 + 6) / 2**6)
    assert compared(plain, plain) == (0, 0, 1.0)


# Cures


def losses(monkeypatch, schedule, problem, start):
    """The loss that a schedule descends, and what it holds."""
    seen = {}

    def caught(way, problem, params, key, loss=energy, **options):
        seen.update(loss=loss, **options)
        return params

    monkeypatch.setattr(schedules, "descend", caught)
    schedule(SHORT, problem, start, jax.random.key(0))
    return seen


def test_schedules_end_in_the_traps_own_energy(monkeypatch, antipodal):
    problem = antipodal.problem
    start = problem.init(jax.random.key(0), 1.0)
    own = float(problem.loss(start))
    kl = float(problem.beta * (jnp.sum(problem.information(start)) + problem.latent))
    for schedule, first in (
        (schedules.warm_up, own - kl),
        (schedules.cyclical, own - kl),
        (schedules.homotopy, float(dataclasses.replace(problem, alpha=0.0).loss(start))),
    ):
        loss = losses(monkeypatch, schedule, problem, start)["loss"]
        assert float(loss(problem, start, None, jnp.asarray(0.0))) == pytest.approx(first)
        end = 0.99 if schedule is schedules.cyclical else 1.0
        assert float(loss(problem, start, None, jnp.asarray(end))) == pytest.approx(own)


def test_free_bits_are_free_and_no_more(monkeypatch, antipodal):
    problem = antipodal.problem
    start = problem.init(jax.random.key(0), 1.0)
    loss = losses(monkeypatch, schedules.free_bits, problem, start)["loss"]
    for factor in (0.01, 1.0, 5.0):
        params = start._replace(mean=factor * start.mean)
        nats = float(problem.information(params)[0]) / 2
        free = 2 * max(0.0, schedules.FREE_NATS - nats)
        value = float(loss(problem, params, None, None)) - float(problem.loss(params))
        assert value == pytest.approx(free, abs=1e-12)


def test_a_floor_costs_what_it_says_whatever_the_posterior(monkeypatch, antipodal):
    problem = antipodal.problem
    start = problem.collapsed()
    loss = losses(monkeypatch, schedules.floor, problem, start)["loss"]
    for log_std in (-3.0, 0.0, 2.0, 20.0):
        params = start._replace(log_std=jnp.full_like(start.log_std, log_std))
        value = float(loss(problem, params, None, None)) - float(problem.loss(start))
        assert value >= 2 * schedules.FLOOR_NATS - 1e-9
    assert value == pytest.approx(2 * schedules.FLOOR_NATS, abs=1e-6)


def test_aggressive_encoders_hold_the_decoder(monkeypatch, antipodal):
    start = antipodal.problem.init(jax.random.key(0), 1.0)
    hold = losses(monkeypatch, schedules.aggressive, antipodal.problem, start)["hold"]
    moves = [float(jnp.abs(hold(start, jnp.asarray(i)).weight).sum()) > 0 for i in range(10)]
    assert moves == [False] * 4 + [True] + [False] * 4 + [True]
    assert np.array_equal(hold(start, jnp.asarray(0)).mean, start.mean)


def test_gamma_at_its_optimum_is_the_expected_error(antipodal):
    problem = antipodal.problem
    start = problem.init(jax.random.key(3), 1.0)
    way = Way(first=1, last=1, rate=0.0, batch=None)
    end = surfaces.best_gamma(way, problem, start, jax.random.key(0))
    model = problem.autoencoder(start)
    errors = jax.vmap(model.error)(model.mean, model.log_std, model.data)
    assert float(jnp.exp(end.log_gamma)) == pytest.approx(float(errors.mean()) / 2, rel=1e-9)


def test_no_row_leaves_collapse(antipodal):
    theory = jax.jit(lambda problem, params: problem.theory(params))
    away = theory(antipodal.problem, antipodal.collapsed).descent.weight
    assert np.array_equal(away, np.zeros_like(away))


def test_starts_beside_a_place_differ_as_plain_ones_do(exact):
    trap = exact["gaussian, alpha = 1"]
    key = jax.random.key(5)
    begun = starts.beside(trap.problem, trap.scale, key, trap.affine)
    plain = trap.problem.init(key, trap.scale)
    np.testing.assert_allclose(
        begun.weight - trap.affine.weight, plain.weight - trap.collapsed.weight, atol=1e-12
    )


def test_every_cure_runs_on_every_trap_that_it_applies_to(exact, networks):
    """By shapes: nothing is compiled."""
    every = [exact["digits, alpha = 0.1"], exact["gaussian, alpha = 1"], networks[-1]]
    ran = 0
    for trap in every:
        way = SHORT._replace(batch=8 if trap.deep else None)
        for one in cure.CURES:
            if one.lacking(trap):
                continue
            run = partial(cure.cured, one, way, scale=trap.scale)
            end = jax.eval_shape(
                lambda p, place, key, run=run: run(problem=p, place=place, key=key),
                trap.problem,
                trap.affine,
                jax.random.key(0),
            )
            assert all(leaf.shape == () for leaf in end)
            ran += 1
    assert ran == sum(not one.lacking(t) for one in cure.CURES for t in every) > 30


def test_what_does_not_apply_says_why(exact, networks):
    lacking = {
        (one.name, trap.name): one.lacking(trap)
        for one in cure.CURES
        for trap in [*exact.values(), *networks]
    }
    bounded, free = "gaussian, alpha = 1", "antipodal, alpha = 0.5"
    assert lacking["learned gamma", free] == "gamma is learned already"
    assert lacking["affine optimum", free] == "the affine energy has no lower bound"
    assert lacking["skip connections", bounded] == "the decoder has one layer"
    assert lacking["alpha homotopy", networks[0].name] == "a network has no alpha"
    assert [lacking["beta = 1", trap.name] for trap in networks] == ["beta is not above 1"] * 3 + [
        ""
    ]
    assert lacking["alpha homotopy", "gaussian, alpha = 0, gamma = 6"].endswith("affine already")
    assert all(not lacking["plain", name] for name in exact)


def test_a_homotopy_leaves_a_trap_that_plain_runs_do_not(antipodal):
    way = Way(first=300, last=300, rate=0.05, batch=None)

    @partial(jax.jit, static_argnums=0)
    def ended(name, problem):
        return cure.cured(BY_NAME[name], way, problem, 0.3, None, jax.random.key(0))

    for name, collapsed in (("plain", True), ("alpha homotopy", False)):
        end = ended(name, antipodal.problem)
        assert (bool(end.collapsed), bool(end.sure)) == (collapsed, True)


def test_skips_do_not_change_what_is_computed_without_them(networks):
    """With the latents' maps at zero, a decoder with skips is the one without."""
    trap = networks[-1]
    problem = surfaces.skipping(trap.problem)
    _, decoder = problem.architecture.init(jax.random.key(0))
    silent = decoder | {"skips": jax.tree.map(jnp.zeros_like, decoder["skips"])}
    bare = {name: part for name, part in decoder.items() if name != "skips"}
    z = jax.random.normal(jax.random.key(1), (3, 8))
    own, other = problem.architecture.decode, trap.problem.architecture.decode
    np.testing.assert_array_equal(own(silent, z), other(bare, z))
    assert float(jnp.abs(own(decoder, z) - other(bare, z)).max()) > 1e-3


# The board


@pytest.fixture(scope="module")
def board(exact, tmp_path_factory):
    """Two traps, two cures that apply and one that does not."""
    out = tmp_path_factory.mktemp("board")
    chosen = [exact[f"antipodal, alpha = {alpha:g}"] for alpha in (0.5, 1.0)]
    fill = partial(
        cure.scoreboard,
        chosen,
        out=out,
        cures=[BY_NAME[name] for name in ("plain", "alpha homotopy", "learned gamma")],
        ways=(Way(first=200, last=200, rate=0.05, batch=None), cure.NETWORK),
    )
    return chosen, fill, out


def test_a_board_goes_on_where_it_stopped_and_more_starts_add_to_it(board):
    chosen, fill, out = board
    cells = fill(starts=3)
    files = {path: path.stat().st_mtime_ns for path in out.glob("runs/*/chunks/*")}
    assert fill(starts=3) == cells
    assert {p: p.stat().st_mtime_ns for p in out.glob("runs/*/chunks/*")} == files
    more = fill(starts=4)
    assert {path: path.stat().st_mtime_ns for path in files} == files
    for few, many in zip(cells, more, strict=True):
        if few.collapsed is not None:
            assert many.collapsed.total == 4
            assert few.collapsed.number <= many.collapsed.number <= few.collapsed.number + 1
    names = [(cell.trap, cell.cure) for cell in cells]
    assert names[:2] == [(chosen[0].name, "plain"), (chosen[0].name, "alpha homotopy")]
    assert cells[2].lacking == "gamma is learned already"
    assert cells[1].pairs.out >= 2
    assert cells[1].cost == 1


def test_the_board_in_words(board):
    chosen, fill, _ = board
    cells = fill(starts=4)
    said = words.sentences(chosen, cells)
    assert said[0].startswith("On the 2 traps with alpha > 0 no schedule and no start removes")
    assert "up to 0.741 alpha long" in said[0]
    out = sum(cell.pairs.out for cell in cells if cell.cure == "alpha homotopy")
    lost = sum(cell.collapsed.number for cell in cells if cell.cure == "plain")
    assert said[1].startswith(
        f"Alpha homotopy (another way down, as many gradients), on traps of kind (v): of exact "
        f"energies (2 traps) {out} of the {lost} plain runs that collapse come out of it, "
    )
    assert "networks" not in said[1]
    table = words.table(chosen, cells)
    assert table.count("does not apply: gamma is learned already") == 2
    assert "lowest within rows of 0.371 (certified)" in table
    assert words.overview(chosen, cells).count("does not apply |") == 2
    shares = words.matrix(chosen, cells, lambda c: c.collapsed and c.collapsed.value)
    assert np.isnan(shares[2]).all() and shares.shape == (3, 2)


def test_what_differs_is_told_by_all_tests_together():
    def cell(name, p):
        return cure.Cell("a", name, "", pairs=compared(*p))

    same, all_out = ([True] * 12, [True] * 12), ([True] * 12, [False] * 12)
    cells = [cell("plain", same), cell("longer", same), cell("KL warm-up", all_out)]
    assert words.told(cells) == [False, False, True]
    crowd = cells + [cell("free bits", same)] * 200
    assert words.told(crowd)[2] is False


def test_the_verb_writes_a_study_that_a_page_can_show(vaesurface, tmp_path, monkeypatch):
    chosen = tuple(BY_NAME[name] for name in ("plain", "alpha homotopy"))
    monkeypatch.setattr(experiment, "CURES", chosen)
    short = Way(first=100, last=100, rate=0.05, batch=None)
    monkeypatch.setattr(experiment, "WAYS", (short, cure.NETWORK))
    line = f"cure --quick --starts 2 --json --out {tmp_path}"
    code, out, _ = vaesurface(line)
    assert code == 0
    study = report.load(tmp_path / "cures.json")
    assert json.loads(out)["said"] == list(study.said)
    assert [figure.file for figure in study.figures] == ["cures.png"]
    entries = json.loads((tmp_path / "scoreboard.json").read_text())
    assert {entry["trap"] for entry in entries} == {
        f"antipodal, alpha = {alpha}" for alpha in ("0.2", "0.5", "1")
    }
    assert all(entry["starts"] == 2 for entry in entries)


def test_the_picture_of_a_board_shows_its_numbers():
    share = [[1.0, 0.25], [math.nan, 0.0]]
    axes = plot.scoreboard(share, ["plain", "b"], ["one", "two"], told=[[0, 0], [0, 1]])
    assert [text.get_text() for text in axes.texts] == ["100", "25", "0"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["plain", "b"]
    assert len(axes.patches) == 1
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["does not apply", "differs from plain (exact, 5 % over all)"]
    with pytest.raises(ValueError, match=r"expected what plot\.scoreboard draws"):
        plot.scoreboard([1.0], ["plain"], [])


def test_descent_of_a_network_sees_batches_and_is_a_function_of_its_key(networks):
    trap = networks[-1]
    way = Way(first=2, last=2, rate=1e-3, batch=16)
    start = trap.problem.init(jax.random.key(0), trap.scale)
    run = jax.jit(
        lambda key: finish(way, trap.problem, descend(way, trap.problem, start, key), key)
    )
    one, again, other = (run(jax.random.key(seed)) for seed in (1, 1, 2))
    assert jax.tree.all(jax.tree.map(np.array_equal, one, again))
    assert not jax.tree.all(jax.tree.map(np.array_equal, one, other))


# What helps here


def entry(name, collapsed, out, into=0, cost=1.0, **more):
    own = {"trap": "a", "kind": "LOCAL", "deep": True, "learned": True, "beta": 1.0}
    counts = {"cure": name, "collapsed": collapsed, "out": out, "into": into, "cost": cost}
    return own | counts | {"starts": 20, "changed": False, "over": None} | more


CASE = like.Case(Collapse.LOCAL, deep=True, learned=True, ratio=3.0)
MODEL = told.Model(
    d=64,
    k=8,
    leading=0.5,
    gamma=0.1,
    error=0.1,
    gammabar=0.2,
    alpha=0.3,
    optimum=0.05,
)


def test_the_cheapest_cure_that_worked_is_advised():
    entries = [
        entry("plain", 16, 0),
        entry("longer", 15, 1, cost=2.0),
        entry("KL warm-up", 2, 14),
        entry("free bits", 6, 10),
        entry("affine optimum", 3, 13, cost=0.5),
        entry("more latents", 0, 16, cost=1.5),
    ]
    found = like.advice(CASE, entries)
    assert (found.cure, found.best, found.cost) == ("affine optimum", "more latents", 0.5)
    assert found.rescued[:2] == (13, 16)
    without = [one for one in entries if one["cure"] != "affine optimum"]
    assert like.advice(CASE, without).cure == "KL warm-up"
    # Equally cheap and sure: what ends lower.
    tied = [entry("plain", 8, 0), entry("free bits", 0, 8, over=38.0)]
    tied.append(entry("autoencoder first", 0, 8, over=34.0))
    tied.append(entry("skip connections", 0, 8, changed=True, over=None))
    assert like.advice(CASE, tied).cure == "autoencoder first"
    # As many in as out is no cure, and neither are too few runs to tell.
    weak = [entry("plain", 10, 0), entry("KL warm-up", 10, 6, 6), entry("free bits", 9, 2, 1)]
    none = like.advice(CASE, weak)
    assert (none.cure, none.best) == ("", "KL warm-up")
    assert told.said(CASE, none)[0].startswith("No cure moved half of the runs out")


def test_like_it_means_kind_depth_and_gamma():
    entries = [
        entry("plain", 16, 0),
        entry("KL warm-up", 2, 14),
        entry("plain", 16, 0, trap="b", learned=False),
        entry("free bits", 2, 15, trap="b", learned=False),
        entry("plain", 20, 0, trap="c", kind="GAMMA", learned=False),
        entry("learned gamma", 0, 20, trap="c", kind="GAMMA", learned=False, changed=True),
    ]
    assert like.advice(CASE, entries).cure == "KL warm-up"
    assert like.advice(CASE._replace(learned=False), entries).cure == "free bits"
    held = CASE._replace(kind=Collapse.GAMMA, learned=False, ratio=0.5)
    large = like.advice(held, entries)
    assert (large.cure, large.changed) == ("learned gamma", True)
    said = told.said(held, large)
    assert "no further affine latent pays: a schedule or a start leads to nothing" in said[-1]
    best = told.said(held._replace(optimal=True), large)
    assert "collapse is the best there is: no schedule and no start helps" in best[-1]
    assert "gamma held): c; here" in said[-2]
    assert (
        "stays at the data's variance, no schedule helps"
        in told.said(CASE, like.advice(CASE, entries))[-1]
    )
    for other in (CASE._replace(deep=False), held._replace(learned=True)):
        assert like.advice(other, entries) is None
        assert told.said(other, None)[0].startswith("No trap of the board is like it")


@pytest.mark.parametrize("framework", told.FRAMEWORKS)
def test_every_cure_has_lines_in_every_framework(framework):
    names = [one.name for one in cure.CURES if one.name != "plain"]
    for name in [*names, "lower gamma"]:
        text = told.lines(name, framework, MODEL)
        compile(text.replace("self.", "self_"), name, "exec")
        assert "{" not in text
        assert "nan" not in text
    learned = told.lines("learned gamma", framework, MODEL)
    assert "32 * " in learned and "-2.3" in learned  # d / 2, and the logarithm of the error
    assert "0.05" in told.lines("lower gamma", framework, MODEL)
    # What is not known to be learned is not assigned; beta weighs what it weighed.
    autoencoder = told.lines("autoencoder first", framework, MODEL._replace(learned=False))
    assert "gamma" not in autoencoder
    assert "4 * beta" in told.lines("KL warm-up", framework, MODEL._replace(beta=4.0))
    assert "4 * " not in told.lines("learned gamma", framework, MODEL._replace(beta=4.0))
    half = told.lines("learned gamma", framework, MODEL._replace(beta=0.5))
    assert half.count("0.5 * ") == 1


def test_a_beta_that_is_too_large_is_lowered_first():
    case = like.Case(Collapse.GAMMA, deep=True, learned=False, ratio=0.5, beta=20.0, weighted=True)
    model = MODEL._replace(leading=10.0, gamma=1.0, beta=20.0, learned=False)
    found = advised.Found(case, "", model, instead="As is.")
    result = advised.words(found, "pytorch")
    assert result["lines"].startswith("beta = 1.0  # not 20: a latent pays below 10")
    assert "gamma =" not in result["lines"]
    # The board's trap by beta has gamma learned.
    assert result["said"][0].startswith(
        "No trap of the board is like it: (ii) gamma or beta too large, by beta, networks, gamma "
        "held."
    )
    assert result["said"][-1] == "As is."
    both = advised.words(
        found._replace(case=case._replace(weighted=False), model=model._replace(gamma=30.0)),
        "pytorch",
    )
    assert both["lines"].startswith("# with beta = 1, not 20:\nlog_gamma = torch.nn.Parameter(")
    assert "gamma = 1  # below the residual's" in both["lines"]
    assert "a lower or a learned gamma, with beta = 1, does" in " ".join(both["said"])


def test_a_cure_that_also_brings_runs_in_says_so():
    entries = [entry("plain", 14, 0), entry("KL warm-up", 3, 12, into=1)]
    found = like.advice(CASE, entries)
    assert (found.into, found.others) == (1, 6)
    assert "from it, of the other 6 it moved 1 into it, with as many" in told.said(CASE, found)[0]


def test_what_kept_no_plain_run_is_no_trap():
    assert like.advice(CASE, [entry("plain", 0, 0), entry("KL warm-up", 0, 0)]) is None


def test_traps_by_beta_are_others_than_those_by_gamma():
    shape = {"kind": "GAMMA", "learned": True, "trap": "b"}
    entries = [
        entry("plain", 20, 0, beta=12.0, **shape),
        entry("beta = 1", 0, 20, beta=12.0, changed=True, **shape),
    ]
    case = like.Case(Collapse.GAMMA, deep=True, learned=True, ratio=0.8, beta=9.0, weighted=True)
    assert like.advice(case, entries).cure == "beta = 1"
    assert like.advice(case._replace(weighted=False), entries) is None
    assert like.advice(case._replace(unlike="its likelihood is another"), entries) is None


def test_a_collapse_without_an_affine_cure_need_not_be_the_best_there_is():
    """A few data far out: no affine latent pays, one behind a threshold does."""
    X = np.zeros((100, 1))
    X[:4] = 4.0
    gamma, alpha, k = 1.0, 4.0, 1
    found = advised.of_problem(X, k, alpha, gamma, 1.0)
    assert found.case.kind == Collapse.GAMMA and not found.case.optimal
    problem = vae.threshold_vae(X, k, alpha, gamma)
    home = problem.collapsed()
    mean = np.where(X > 0, 2.5, 0.0)
    lower = home._replace(
        weight=jnp.array([[2.9]]),
        bias=jnp.zeros(1),
        mean=jnp.asarray(mean),
        log_std=jnp.asarray(np.where(X > 0, -0.9, -0.4)),
    )
    lower = optimize.adam(300)(problem.loss, lower).params
    assert float(problem.loss(lower)) < float(problem.loss(home)) - 0.05


def test_names_that_lines_take_are_told():
    text = told.lines("learned gamma", "pytorch", MODEL)
    assert told.names(text, "learned gamma") == "squared_error: (batch, d); kl: (batch, k) in nats"
    text = told.lines("autoencoder first", "keras", MODEL)
    for name in ("hidden", "encoder_mean", "encoder_log_std", "decoder", "step", "steps"):
        assert f"{name}: " in told.names(text, "autoencoder first")
    text = told.lines("affine optimum", "jax", MODEL)
    assert told.names(text, "affine optimum") == "x: all data, (n, d)"


@pytest.mark.parametrize("framework", told.FRAMEWORKS)
def test_every_name_in_lines_is_theirs_or_told(framework):
    known = {"torch", "np", "ops", "keras", "self", "jnp", "jax", "theory", *dir(builtins)}
    for name in [*(one.name for one in cure.CURES if one.name != "plain"), "lower gamma"]:
        text = told.lines(name, framework, MODEL)
        assigned, taken = set(), set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Name):
                (assigned if isinstance(node.ctx, ast.Store) else taken).add(node.id)
            elif isinstance(node, ast.arg):
                assigned.add(node.arg)
        explained = {entry.partition(":")[0] for entry in told.names(text, name).split("; ")}
        assert taken - assigned - known <= explained, name


@pytest.mark.parametrize(("gamma", "beta"), [(0.5, 1.0), (0.5, 3.0), (None, 1.0)])
def test_lines_of_the_affine_optimum_lead_there(gamma, beta):
    X = data.gaussian(24, [4.0, 2.0, 1.0, 0.5], seed=0)
    found = advised.of_problem(X, 2, 0.5, gamma, beta)
    space = {"jnp": jnp, "x": jnp.asarray(X)}
    with jax.numpy_rank_promotion("allow"):
        exec(told.lines("affine optimum", "jax", found.model), space)
    params = vae.threshold_vae(X, 2, 0.0, gamma, beta).collapsed()
    names = ("weight", "bias", "mean", "log_std")
    params = params._replace(**{name: space[name] for name in names})
    if gamma is None:
        params = params._replace(log_gamma=jnp.asarray(space["log_gamma"]))
    energy = float(vae.threshold_vae(X, 2, 0.0, gamma, beta).loss(params))
    assert energy == pytest.approx(float(theory.global_minimum(X, 2, gamma, beta)), abs=1e-4)


def test_lines_of_the_autoencoder_first_are_what_the_board_ran(networks):
    """Where it becomes a VAE, after no step."""
    trap = networks[0]
    problem, start = trap.problem, trap.problem.init(jax.random.key(0), 1.0)
    own = problem.architecture
    space = {
        "jnp": jnp,
        "step": 5,
        "steps": 10,
        "x": problem.X,
        "loss": 0.0,
        "params": {"encoder": dict(start.encoder), "decoder": start.decoder},
        "encode": lambda params, x: own.encode(params["encoder"], x),
        "decode": lambda params, z: own.decode(params["decoder"], z),
    }
    space["params"]["encoder"]["log_std"] = dict(start.encoder["log_std"])
    model = MODEL._replace(gammabar=float(np.var(problem.X, axis=0).mean()))
    with jax.numpy_rank_promotion("allow"):
        exec(told.lines("autoencoder first", "jax", model), space)
    end = starts.autoencoder(SHORT._replace(first=0), problem, start, jax.random.key(0))
    head = space["params"]["encoder"]["log_std"]
    np.testing.assert_allclose(head["bias"], end.encoder["log_std"]["bias"], rtol=1e-4)
    np.testing.assert_array_equal(end.encoder["log_std"]["kernel"], head["kernel"])
    assert float(space["params"]["log_gamma"]) == pytest.approx(float(end.log_gamma), rel=1e-4)


def test_codes_that_say_nothing_keep_a_width(antipodal):
    width = starts._widths(jnp.array([[1.0, 3.0, 100.0], [1.0, -3.0, -100.0]]))
    assert np.exp(width).tolist() == pytest.approx([starts.LEAST_WIDTH, 0.3, 1.0])


def test_noise_hangs_on_no_row(monkeypatch):
    """Drawn with the noise's own key, a row would be seen where the noise at its number is low."""

    class Sum(NamedTuple):
        log_gamma: None
        noise: jax.Array

    n, batch, latent = 600, 64, 8

    @dataclasses.dataclass(frozen=True)
    class Rows:
        X: jax.Array

        def sampled(self, params, key):
            _, noise = jax.random.split(key)  # as `NetworkVAE.sampled` draws it
            z = jax.random.normal(noise, (1, batch, latent), jnp.float32)[0]
            rows = self.X[:, 0].astype(int)
            own = jnp.where(rows < batch * latent, z.reshape(-1)[rows % (batch * latent)], 0.0)
            return jnp.sum(params.noise * jnp.mean(own))

    way = Way(first=200, last=1, rate=1.0, batch=batch)
    jax.tree_util.register_dataclass(Rows, ["X"], [])
    monkeypatch.setattr(optax, "adam", optax.sgd)
    start = Sum(None, jnp.zeros(()))
    end = descend(way, Rows(jnp.arange(n)[:, None]), start, jax.random.key(0))
    # Steps add up to minus the sum over batches of the mean noise at a row's number.
    mean = -float(end.noise) / way.first
    assert abs(mean) < 5 / math.sqrt(way.first * batch)


def test_lines_in_jax_are_what_the_board_ran():
    """Free bits, the schedules and the floor, at the middle of the first half."""
    names = {"jax": jax, "jnp": jnp, "step": 25, "steps": 100, "reconstruction": 1.0}
    kl = jnp.array([[0.3, 1.0], [0.1, 2.0]])
    for name, expected in (
        ("KL warm-up", 1.0 + 0.5 * 1.7),
        ("cyclical annealing", 1.0),
        ("free bits", 1.0 + 0.5 + 1.5),
    ):
        space = names | {"kl": kl}
        exec(told.lines(name, "jax", told.Model(d=2, k=2)), space)
        assert float(space["loss"]) == pytest.approx(expected)
    space = names | {"log_std": jnp.array([-2.0, 0.0, 3.0])}
    exec(told.lines("delta-VAE floor", "jax", told.Model(d=2, k=2)), space)
    np.testing.assert_allclose(
        space["log_std"], schedules._narrow(jnp.array([-2.0, 0.0, 3.0])), atol=1e-3
    )


def test_other_frameworks_are_refused():
    with pytest.raises(ValueError, match="expected a framework out of pytorch, keras, jax, got tf"):
        told.lines("KL warm-up", "tf", MODEL)


@pytest.fixture
def exported(tmp_path):
    """A VAE that collapsed since its gamma is too large, as it is exported."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4)) * np.array([1.0, 0.5, 0.4, 0.3])
    off = np.zeros((300, 2))
    mean = np.broadcast_to(x.mean(axis=0), x.shape)
    file = tmp_path / "exported.npz"
    np.savez(file, x=x, mean=off, log_std=off, reconstruction=mean, gamma=2.0, learned=False)
    return file


def test_a_file_is_told_what_worked_on_traps_like_it(vaesurface, exported):
    code, out, _ = vaesurface(f"cure {exported} --json --framework jax")
    result = json.loads(out)
    assert code == 0
    assert result["case"]["kind"] == "GAMMA"
    assert result["advice"]["cure"] in ("learned gamma", "gamma at its optimum")
    assert "# or, with gamma held:" in result["lines"]
    code, text, err = vaesurface(f"cure {exported}")
    assert code == 0
    assert f"next: vaesurface diagnose {exported}  # " in err
    assert "In pytorch (squared_error: (batch, d)" in text
    assert "At this gamma and beta " in text


@pytest.mark.parametrize("framework", told.FRAMEWORKS)
def test_where_gamma_is_learned_it_is_beta_that_is_too_large(vaesurface, exported, framework):
    arrays = dict(np.load(exported))
    gamma = arrays["x"].var(axis=0).mean()
    np.savez(exported, **arrays | {"gamma": gamma, "beta": 6.0, "learned_gamma": True})
    code, text, _ = vaesurface(f"cure {exported} --framework {framework}")
    assert code == 0
    assert "Beta = 1 (Kingma & Welling 2014 (the ELBO)): of the runs" in text
    assert "gamma learned): mlp 2 deep, gamma learned, beta = 12; here" in text
    assert "\nbeta = 1.0  # not 6: a latent pays below" in text
    assert "gamma held" not in text


@pytest.mark.parametrize("beta", [1.0, 16.0])
def test_other_likelihoods_are_not_told_of_gamma(vaesurface, tmp_path, beta):
    rng = np.random.default_rng(0)
    u = 3.0 * rng.standard_normal((300, 1)) @ np.ones((1, 6))
    x = (rng.random(u.shape) < 1 / (1 + np.exp(-u))).astype(float)
    off = np.zeros((300, 2))
    arrays = {"x": x, "mean": off, "log_std": off, "reconstruction": 0 * x + x.mean(axis=0)}
    file = tmp_path / "bernoulli.npz"
    np.savez(file, **arrays, beta=beta, likelihood="bernoulli")
    code, text, _ = vaesurface(f"cure {file}")
    assert "its likelihood is bernoulli, those of the board are Gaussian" in text
    assert "gamma = " not in text and "squared_error" not in text and "Learned gamma" not in text
    assert ("\nbeta = 1.0  # not 16" in text, code) == (beta > 1, 0 if beta > 1 else 1)


def test_where_a_learned_gamma_has_no_optimum_it_is_not_told(vaesurface, exported):
    arrays = dict(np.load(exported))
    x = arrays["x"][:, :2] @ np.ones((2, 4)) * [1, 2, 0, 1]
    mean = np.broadcast_to(x.mean(axis=0), x.shape)
    np.savez(exported, **arrays | {"x": x, "reconstruction": mean, "gamma": 40.0})
    code, text, _ = vaesurface(f"cure {exported}")
    assert code == 0
    assert "so that a learned gamma goes to 0" in text
    assert "log_gamma = " not in text.split("In pytorch")[1]
    assert "gamma = " in text.split("In pytorch")[1]


def test_gamma_per_coordinate_is_no_gamma_of_the_board(vaesurface, exported):
    arrays = dict(np.load(exported))
    np.savez(exported, **arrays | {"gamma": np.array([4.0, 2.0, 1.0, 1.0])})
    _, text, _ = vaesurface(f"cure {exported}")
    assert "its gamma differs between coordinates, on the board it is one number" in text
    assert "In pytorch" not in text


def test_data_are_told_by_what_theory_knows(vaesurface):
    code, out, _ = vaesurface("cure --data antipodal --latent 1 --alpha 0.5 --json")
    result = json.loads(out)
    assert "lowest within rows of 0.3706" in result["label"]
    expected = {"kind": "LOCAL", "deep": False, "learned": True, "ratio": 2.0, "beta": 1.0}
    assert expected.items() <= result["case"].items()
    assert (code == 0) == bool(result["lines"])
    code, out, _ = vaesurface("cure --data antipodal --latent 1 --alpha 0 --json")
    assert code == 1
    assert json.loads(out)["label"] == "collapse is a saddle: almost every descent leaves it"
    code, text, _ = vaesurface("cure --data antipodal --latent 1 --alpha 0.5 --beta 9")
    assert code == 0
    assert "\nbeta = 1.0  # not 9: a latent pays below 2" in text
    assert "Nothing is known to help" not in text
    code, text, _ = vaesurface("cure --data antipodal --latent 1 --alpha 0 --gamma 3 --beta 2")
    assert code == 0
    assert "is the best there is: no schedule and no start helps, a lower gamma, with beta" in text
    assert "# with beta = 1, not 2:\ngamma = 0.2  # below" in text


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("cure a.npz --data digits", "expected a file for FILE, got 'a.npz' where none is"),
        ("cure pyproject.toml --data digits", "expected FILE or --data, got both"),
        ("cure --data antipodal --framework tf", "'tf' is not one of 'pytorch', 'keras', 'jax'"),
        ("cure --data antipodal --latent 9", "expected 1 <= latent <= 2"),
        ("cure --starts 0", "expected --starts >= 1, got 0"),
        ("cure --workers 2 --scheduler tcp://a:1", "expected one kind of workers"),
    ],
)
def test_bad_usage_is_one_line(vaesurface, line, complaint):
    code, out, err = vaesurface(line)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1
