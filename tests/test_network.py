"""Points met often are one node, minima join at their lowest known pass, and what no transition
joins stays apart.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import root

from vaesurface import data, stationary, theory, vae
from vaesurface.paths import flows, graph
from vaesurface.paths.exploring import explore
from vaesurface.paths.graph import Passage
from vaesurface.problem import Problem

# K. Mueller and L. D. Brown, Theor. Chim. Acta 53 (1979): three minima in a row, a pass between
# neighbors.
FACTOR = np.array([-200.0, -100.0, -170.0, 15.0])
XX, XY, YY = np.array([[-1, -1, -6.5, 0.7], [0, 0, 11, 0.6], [-10, -10, -6.5, 0.7]])
X0, Y0 = np.array([[1, 0, -0.5, -1], [0, 0.5, 1.5, 1]])


def mueller_brown(w):
    x, y = w[0] - X0, w[1] - Y0
    return 0.01 * jnp.sum(FACTOR * jnp.exp(XX * x**2 + XY * x * y + YY * y**2))


BROWN = Problem(loss=mueller_brown)
MINIMA = np.array([[-0.558, 1.442], [-0.050, 0.467], [0.623, 0.028]])
# The first lies between the first and the second minimum.
SADDLES = np.array([[-0.822, 0.624], [0.212, 0.293]])

# A made-up landscape, its energy the first number: that of `flat`.
LEVEL = Problem(loss=lambda place: place[0])


@pytest.fixture(scope="module")
def judge():
    """Refine and analyze on the Mueller-Brown surface."""

    @jax.jit
    def run(start):
        return stationary.analyze(BROWN, stationary.refine(BROWN, start).params, directions=0)

    return lambda start: run(jnp.asarray(start, float))


@pytest.fixture(scope="module")
def brown(judge):
    """Its minima and passages, from their known places."""
    tops = [judge(place) for place in SADDLES]

    @jax.jit
    def down(start):
        return flows.gradient_flow(BROWN, start, -jnp.inf, time=10.0)

    def passage(top):
        starts = (top.params + sign * 0.01 * top.descent for sign in (1, -1))
        return Passage(top, tuple(judge(down(start)) for start in starts))

    return [judge(place) for place in MINIMA], [passage(top) for top in tops]


def gradient(w):
    """In closed form, on its own."""
    x, y = w[0] - X0, w[1] - Y0
    terms = 0.01 * FACTOR * np.exp(XX * x**2 + XY * x * y + YY * y**2)
    return np.array([np.sum(terms * (2 * XX * x + XY * y)), np.sum(terms * (XY * x + 2 * YY * y))])


def test_the_mueller_brown_surface_has_three_minima_joined_in_a_row_by_two_saddles(brown):
    minima, passages = brown
    net = graph.network(BROWN, [*minima, minima[0]], passages)
    exact = np.array([root(gradient, place, tol=1e-14).x for place in (*MINIMA, *SADDLES)])
    heights = np.array([float(mueller_brown(jnp.asarray(place))) for place in exact])
    np.testing.assert_allclose(net.energy, np.sort(heights), rtol=1e-12)
    np.testing.assert_allclose(net.params, exact[np.argsort(heights)], rtol=1e-8, atol=1e-8)
    assert net.negative.tolist() == [0, 0, 0, 1, 1]
    assert net.met.tolist() == [2, 1, 1, 1, 1]
    stacked = [
        way._replace(ends=jax.tree.map(lambda a, b: jnp.stack([a, b]), *way.ends))
        for way in passages
    ]
    assert graph.network(BROWN, [*minima, minima[0]], stacked).table == net.table
    # Lowest first: the first minimum, the third, the second; the second is joined to the third over
    # the lower saddle.
    assert [edge[:3] for edge in net.edges] == [(1, 2, 3), (0, 2, 4)]
    assert [merge[1:] for merge in net.merges] == [(3, (1,), (2,)), (4, (0,), (1, 2))]
    assert net.islands == ((0, 1, 2),)
    assert net.merges[1].energy == pytest.approx(-0.4066484, abs=1e-7)
    assert "0 + 1, 2 (4)" in net.table


def test_exploring_goes_nearest_first_finds_the_minimum_between_and_reports_what_failed(brown):
    minima, passages = brown
    asked = []

    def nearest(point):
        return int(np.argmin(np.linalg.norm(MINIMA - np.asarray(point.params), axis=1)))

    def connect(problem, a, b):
        """Knows the first pass alone: any path from the first minimum meets it."""
        asked.append({nearest(a), nearest(b)})
        return passages[0] if 0 in asked[-1] else None

    explored = explore(BROWN, [minima[0], minima[2]], connect)
    assert asked == [{0, 2}, {1, 2}]  # all that is left then is the pair asked for first
    assert (len(explored.points), len(explored.transitions), explored.tried) == (3, 1, 2)
    (failed,) = explored.failed
    expected = [float(minima[i].loss) for i in (2, 1)]
    assert [float(point.loss) for point in failed] == pytest.approx(expected)
    net = graph.network(BROWN, explored.points, explored.transitions)
    assert net.islands == ((0, 2), (1,))
    assert "without a known connection: 0, 2 | 1" in net.table

    asked.clear()
    explored = explore(BROWN, minima, connect, budget=2)

    def distance(pair):
        return np.linalg.norm(np.subtract(*MINIMA[sorted(pair)]))

    assert explored.tried == len(asked) == 2
    assert distance(asked[0]) == min(distance(pair) for pair in ({0, 1}, {1, 2}, {0, 2}))
    whole = explore(BROWN, minima, connect, transitions=passages)
    # All hang together: only the pair that nothing joins directly.
    assert asked[2:] == [{0, 2}] and not whole.failed


def bits(explored):
    """All numbers of what was explored."""
    pairs = [(p.saddle, *graph.singly(p.ends)) for p in explored.transitions]
    leaves = jax.tree.leaves((explored.points, pairs, explored.failed, explored.tried))
    return [np.asarray(leaf).tobytes() for leaf in leaves]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_working_ahead_changes_nothing(brown, workers):
    """Though the answer to the first pair changes which one is next, and later ones come first."""
    minima, passages = brown
    asked = []

    def connect(problem, a, b):
        met = {int(np.argmin(np.linalg.norm(MINIMA - p.params, axis=1))) for p in (a, b)}
        asked.append(met)
        time.sleep(0.05 if len(asked) == 1 else 0.0)
        return passages[0] if 0 in met else None

    for known, budget in ([minima, 20], [minima, 2], [[minima[0], minima[2]], 20]):
        expected = bits(explore(BROWN, known, connect, budget))
        asked.clear()
        with ThreadPoolExecutor(workers) as executor:
            assert bits(explore(BROWN, known, connect, budget, executor=executor)) == expected
        assert len(asked) == len(set(map(frozenset, asked)))


def test_what_goes_wrong_ahead_of_its_turn_is_no_error(brown):
    minima, passages = brown

    def connect(problem, a, b):
        """Only the pair that the first answer makes needless fails."""
        met = {int(np.argmin(np.linalg.norm(MINIMA - p.params, axis=1))) for p in (a, b)}
        if met == {0, 2}:
            raise ZeroDivisionError
        return passages[min(met)]

    with ThreadPoolExecutor(3) as executor:
        explored = explore(BROWN, minima, connect, budget=2, executor=executor)
        assert explored.tried == 2
        with pytest.raises(ZeroDivisionError):
            explore(BROWN, minima, connect, budget=3, executor=executor)


@pytest.fixture(scope="module")
def flat(judge):
    """Points of a made-up landscape, told apart by their place alone: (energy, negative) ->
    StationaryPoint.
    """
    minimum, saddle = judge(MINIMA[0]), judge(SADDLES[0])

    def make(energy, negative=0):
        like, place = saddle if negative else minimum, jnp.array([energy, negative], float)
        return like._replace(loss=jnp.asarray(float(energy)), params=place)

    return make


def test_signed_permutations_of_one_point_are_one_node_and_what_is_not_stationary_is_left_out(flat):
    X = data.gaussian(14, [3.0, 1.5, 0.6, 0.3], seed=3)
    problem = vae.threshold_vae(X, 2, 0.0)
    expected = sorted(theory.stationary_points(X, 2), key=lambda e: e.loss)
    params = [e.params for e in expected]
    mirrored = [
        w._replace(weight=-w.weight[:, ::-1], mean=-w.mean[:, ::-1], log_std=w.log_std[:, ::-1])
        for w in params
    ]
    half = params[0]._replace(weight=-params[0].weight)  # without its means this is another point
    points = [
        flat(e.loss, e.negative)._replace(params=w)
        for e, w in zip(expected * 2, params + mirrored, strict=True)
    ]
    off = flat(0)._replace(params=params[0], kind=jnp.asarray(0))
    leading = jax.tree.map(
        lambda *leaves: jnp.stack(leaves), points[0], flat(expected[0].loss)._replace(params=half)
    )
    net = graph.network(problem, [leading, *points[1:], off])
    assert net.energy.tolist() == [expected[0].loss, *(e.loss for e in expected)]
    assert net.met.tolist() == [2, 1, *[2] * (len(expected) - 1)]
    assert net.dropped == 1 and "1 more ended at no stationary point" in net.table
    assert net.params.weight.shape == (len(expected) + 1, 4, 2)


def test_the_merge_tree_of_a_graph_drawn_by_hand(flat):
    # Minima at 0, 1, 2, 3, 4. Passes: 0-1 at 10 and, higher, at 12; 2-3 at 5; 1-3 at 8; 3-3 (a
    # loop) at 7; 4 alone.
    minima = [flat(energy) for energy in range(5)]
    passes = [(0, 1, 10), (0, 1, 12), (2, 3, 5), (1, 3, 8), (3, 3, 7), (0, 2, 11)]

    def passage(i, j, energy):
        return Passage(flat(energy, 1), (minima[i], minima[j]))

    net = graph.network(LEVEL, minima, [passage(*numbers) for numbers in passes])
    assert [(m.energy, m.left, m.right) for m in net.merges] == [
        (5, (2,), (3,)),
        (8, (1,), (2, 3)),
        (10, (0,), (1, 2, 3)),
    ]
    assert net.islands == ((0, 1, 2, 3), (4,))
    assert [edge.energy for edge in net.edges] == sorted(e for *_, e in passes)
    assert [net.energy[m.saddle] for m in net.merges] == [5, 8, 10]
    # Energies may shift as a whole, and the order of what is given does not matter.
    turned = [passage(j, i, energy) for i, j, energy in passes[::-1]]
    again = graph.network(LEVEL, minima[::-1], turned)
    assert again.merges == net.merges and again.table == net.table


def test_a_saddle_whose_fall_float64_does_not_resolve_is_a_bottom_and_stays_a_saddle(flat):
    row = flat(1.0)._replace(kind=jnp.asarray(2))
    weak, strong = (
        row._replace(theory=SimpleNamespace(falling=1, drop=np.array(drop)))
        for drop in (1e-17, 1e-3)
    )
    bottom = partial(graph.is_bottom, LEVEL)
    assert bottom(weak) and not bottom(strong) and not bottom(row)
    assert not bottom(flat(1.0, 1)._replace(theory=weak.theory))
    assert bottom(flat(1.0))


def test_exploring_stays_with_the_nearest_groups_though_a_pair_failed_and_a_bottom_is_no_pass(
    flat,
):
    low, next_, beyond, far = (flat(energy) for energy in (0.0, 1.0, 2.5, 10.0))
    joined = Passage(flat(5, 1), (next_, low))
    weak = flat(6.0)._replace(
        kind=jnp.asarray(2), theory=SimpleNamespace(falling=1, drop=np.array(1e-17))
    )
    strong = weak._replace(theory=SimpleNamespace(falling=1, drop=np.array(1e-3)))
    asked = []

    def connect(top, problem, a, b):
        asked.append({float(a.loss), float(b.loss)})
        return Passage(top, (b, a))

    start = partial(explore, LEVEL, [low, next_, beyond, far], budget=2, transitions=[joined])
    explored = start(partial(connect, weak))
    assert asked == [{1.0, 2.5}, {0.0, 2.5}]
    assert (len(explored.failed), len(explored.transitions)) == (2, 1)
    explored = start(partial(connect, strong))
    assert asked[2:] == [{1.0, 2.5}, {2.5, 10.0}]  # the first of them joined two groups
    assert not explored.failed


def test_a_graph_needs_stationary_points_and_saddles_above_their_ends(flat):
    off = flat(0)._replace(kind=jnp.asarray(0))
    message = "expected at least one stationary point, got none among 1"
    with pytest.raises(ValueError, match=message):
        graph.network(LEVEL, [off])
    with pytest.raises(ValueError, match="expected a saddle above its ends, got 1 below 2"):
        graph.network(LEVEL, [], [Passage(flat(1, 1), (flat(0), flat(2)))])
    # The far end of a path may be no stationary point, where the energy has no lower bound: kept,
    # as a leaf.
    nowhere = flat(-9)._replace(kind=jnp.asarray(0))
    net = graph.network(LEVEL, [flat(0)], [Passage(flat(1, 1), (flat(0), nowhere))])
    assert net.leaves.tolist() == [0, 1]
    assert net.label[0] == "not stationary, though the gradient is small"
    assert len(net.merges) == 1 and net.dropped == 0
