"""Scores of optimizers that do odd things, and verdicts on odd ends."""

import math
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vaesurface import optimize, traps, vae


@pytest.fixture(scope="module")
def antipodal():
    return traps.exact("antipodal")[1]


@pytest.fixture(scope="module")
def judged():
    return jax.jit(traps.judge)


def scored(optimizer, *given, **options):
    return traps.score(optimizer, given, starts=2, **options).rows[0]


# Verdicts


def test_a_gamma_below_the_certified_region_is_no_sure_end(antipodal, judged):
    home = antipodal.collapsed
    below = home._replace(log_gamma=home.log_gamma - 0.1)
    ends = [judged(antipodal.problem, one) for one in (home, below)]
    assert [(bool(end.collapsed), bool(end.sure)) for end in ends] == [(True, True), (True, False)]


def test_short_rows_are_in_the_certified_region(antipodal, judged):
    """Where gradients in the weight are too small for an optimizer to end at zero."""
    home = antipodal.collapsed
    edge = antipodal.radius / math.sqrt(home.weight.shape[1])
    for part, sure in ((0.3, True), (0.99, True), (1.01, False)):
        end = judged(antipodal.problem, home._replace(weight=part * edge + home.weight))
        assert (bool(end.collapsed), bool(end.sure)) == (True, sure)


def test_a_saddle_is_no_sure_end(judged):
    """At alpha = 0 collapse is one unless beta gamma is above all eigenvalues."""
    X = np.array([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    for gamma, beta, sure in ((3.0, 1.0, True), (1.0, 1.0, False), (1.0, 3.0, True)):
        problem = vae.threshold_vae(X, 1, 0.0, gamma, beta)
        end = judged(problem, problem.collapsed())
        assert (bool(end.collapsed), bool(end.sure)) == (True, sure)


def test_what_a_trap_keeps(antipodal):
    energy = antipodal.energy + np.array([0.0, 1e-3, -1.0, -1.0, math.nan])
    collapsed = np.array([True, False, False, True, False])
    end = traps.End(collapsed=collapsed, active=~collapsed, sure=collapsed, energy=energy)
    assert traps.kept(antipodal, end).tolist() == [True, True, False, True, True]
    changed = traps.kept(antipodal, end, changed=True)
    assert changed.tolist() == [True, False, False, True, True]


def test_energies_are_told_over_the_optimum(antipodal):
    def of(*energies, dtype=np.float64):
        none = np.zeros(len(energies), bool)
        return traps.End(none, none, none, np.asarray(energies, dtype))

    bounded = antipodal._replace(optimum=-10.0)
    assert traps.over(bounded, of(-9.0, math.nan, -7.0, -8.0)) == 2.0
    assert traps.over(bounded, of(-10.0 + 3e-15)) == 0.0
    assert traps.over(bounded, of(-10.0 + 1e-12)) > 0.0
    assert traps.over(bounded, of(-10.0 + 1e-6, dtype=np.float32)) == 0.0
    assert math.isnan(traps.over(bounded, of(math.nan)))
    assert traps.over(antipodal, of(-5.0)) == math.inf


def test_the_collapsed_energy_is_compiled_without_going_in_circles(antipodal, capfd):
    new = time.time()  # a program that no cache has

    def judged(problem, params):
        return traps.judge(problem, params).sure & (problem.loss(params) < new)

    jax.jit(judged).lower(antipodal.problem, antipodal.collapsed).compile()
    assert "circular" not in capfd.readouterr().err


# Scores


def test_a_run_without_a_number_has_failed_and_not_collapsed(antipodal):
    doors = [
        lambda loss, params: jax.tree.map(lambda x: x * jnp.nan, params),
        traps.through_arrays(lambda f, x: np.nan * x),
    ]
    for door in doors:
        row = scored(door, antipodal)
        assert (row.collapsed.number, row.failed, row.unsure) == (0, 2, 2)
        assert math.isnan(row.over)
    table = str(traps.score(doors[0], [antipodal], starts=2)).splitlines()
    assert table[1].split("  ")[-2:] == ["over optimum", "evaluations"]
    assert table[2].split()[-4:] == ["0", "2", "-", "-"]


def test_where_an_optimizer_does_nothing_runs_are_on_the_way(antipodal):
    row = scored(lambda loss, params: params, antipodal)
    assert (row.collapsed.number, row.failed, row.unsure) == (2, 0, 2)
    assert row.below < 0


def test_arrays_may_be_changed_in_place(antipodal):
    def in_place(value_and_grad, x):
        for _ in range(5):
            _, gradient = value_and_grad(x)
            gradient *= 0.05
            x -= gradient
        return x.astype(np.float32)

    row = scored(traps.through_arrays(in_place), antipodal)
    plain = scored(optax.sgd(0.05), antipodal, steps=5)
    assert row.below == pytest.approx(plain.below, rel=1e-5)
    assert row.evaluations == plain.evaluations == 5


def test_ends_in_float32_and_optimizers_without_a_hash_are_taken(antipodal):
    class Single:
        __hash__ = None

        def __call__(self, loss, params):
            return jax.tree.map(lambda x: x.astype(jnp.float32), params)

    row = scored(Single(), antipodal)
    same = scored(lambda loss, params: params, antipodal)
    assert row.below == pytest.approx(same.below, rel=1e-5)


def test_what_minimize_takes_goes_to_minimize(antipodal):
    size = sum(leaf.size for leaf in jax.tree.leaves(antipodal.collapsed))
    bounds = [(-0.01, 0.01)] * size
    method = traps.scipy_method("L-BFGS-B", maxiter=3, bounds=bounds, tol=1e-3)
    ends = []
    door = traps.through_arrays(lambda f, x: ends.append(method.run(f, x)) or ends[-1])
    scored(door, antipodal)
    assert max(np.abs(end).max() for end in ends) <= 0.01


@pytest.mark.parametrize(
    ("optimizer", "expected"),
    [
        (lambda loss, params: (params, 1), r"parameters like the start's .* got tuple"),
        (lambda loss, params: None, r"parameters like the start's .* got NoneType"),
        (
            lambda loss, params: params._replace(weight=params.weight[:1]),
            r"parameters like the start's .* got VAEParams\(weight=\(1, 1\)",
        ),
        (optax.cosine_decay_schedule(0.1, 10), "expected an optimizer: a function .* got function"),
        (traps.through_arrays(lambda f, x: None), r"expected an end of shape \(9,\)"),
    ],
)
def test_what_returns_no_parameters_is_refused_in_one_line(antipodal, optimizer, expected):
    with pytest.raises(ValueError, match=expected):
        scored(optimizer, antipodal)


@pytest.mark.parametrize("given", [[], ["antipodal"], "antipodal"])
def test_what_are_no_traps_is_refused(given):
    with pytest.raises(ValueError, match="expected a list of traps, got"):
        traps.score(optimize.adam(1), given)


def test_a_trap_alone_is_no_list(antipodal):
    with pytest.raises(ValueError, match="expected a list of traps, got Trap"):
        traps.score(optimize.adam(1), antipodal)
