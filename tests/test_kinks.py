"""What operations of a loss tell: where it is smooth, which smooth pieces meet where it is not, and
that the words "local minimum" and "saddle" are right there.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array
from scipy.stats import special_ortho_group

from vaesurface import energy, stationary
from vaesurface.problem import Problem
from vaesurface.stationary import Kind, cones, kinks, ties
from vaesurface.stationary.pieces import Outcome, examine

relu = jax.nn.relu
SIZE = 4  # parameters of every loss below; those that it does not name are in a bowl


def rest(w, named):
    return jnp.sum(w[named:] ** 2)


def hand_softplus(x):
    return jnp.maximum(x, 0.0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def hand_logsumexp(w):
    m = jax.lax.stop_gradient(jnp.max(w))
    return m + jnp.log(jnp.sum(jnp.exp(w - m)))


def stacked(sign):
    """Two ReLUs, one on top of the other, that no datum switches on."""

    def loss(w):
        inner = relu(w[0] + w[1])
        return jnp.sum(w**2) + (1 + sign * relu(inner * w[2] + w[3])) ** 2

    return loss


def pulled(w):
    """Convex and sharp, though each side pulls; a datum that is zero keeps its ReLU at a tie."""
    data = jnp.array([[2.0, 1, 2], [0, 2, -2], [0, 0, 0], [1, -1, -2], [2, -1, 2]])
    weights, pull = jnp.array([1.0, 1, 2, 0.5, 1]), jnp.array([-2.5, -0.5, 0])
    return weights @ relu(data @ w[:3]) + pull @ w[:3] + 0.5 * jnp.sum(w**2)


def nothing(w):
    """Is at a tie wherever it is: signs, steps and roots of what is zero."""
    zero = jnp.zeros((2, 2)) @ w[:2]
    steps = jnp.where(zero > 0, 1.0, 0.0) + jnp.where(zero >= 0, 0.0, 1.0) + (zero != 0)
    return jnp.sum(jnp.sign(zero) + jnp.abs(zero) + steps + jnp.floor(zero))


# Truth at zero: strict minima, points from which something falls, and those where only a claim
# would be wrong: flat in some direction.
RISES = {
    "tiny edge": lambda w: 1e-6 * (w[0] ** 2 - w[1] ** 2 + 1e-4 * jnp.abs(w[1])) + rest(w, 2),
    "edge": lambda w: jnp.abs(w[0]) + rest(w, 1),
    "pulled": pulled,
    "edge and nothing": lambda w: jnp.abs(w[0]) + rest(w, 1) + nothing(w),
    "uneven edge": lambda w: jnp.maximum(w[0], -2 * w[0]) + rest(w, 1),
    "greatest of linear forms": lambda w: (
        jnp.max(jnp.array([[1.0, 0.0], [-0.5, 1.0], [-0.5, -1.0]]) @ w[:2]) + rest(w, 2)
    ),
    "half bowls": lambda w: jnp.sum(relu(w) ** 2) + 0.1 * jnp.sum(w**2),
    "Huber": lambda w: jnp.sum(jnp.where(jnp.abs(w) < 1, 0.5 * w**2, jnp.abs(w) - 0.5)),
    "cubes": lambda w: jnp.sum(jnp.abs(w) ** 3) + jnp.sum(w**2),
    "sorted": lambda w: jnp.sum(jnp.arange(4) * jnp.sort(w)) - 1.5 * jnp.sum(w) + jnp.sum(w**2),
    "median": lambda w: jnp.abs(jnp.median(w[:3])) + jnp.sum(w**2),
    "product of ReLUs": lambda w: jnp.sum(w**2) + 5 * relu(w[0]) * relu(w[1]),
    "stacked": stacked(1.0),
    "two bowls": lambda w: jnp.minimum(jnp.sum(w**2), w[0] ** 2 + 3 * w[1] ** 2 + rest(w, 2)),
    "by value": lambda w: jnp.where(w[0] > 0, w[0] ** 2, 2 * w[0] ** 2) + rest(w, 1),
    "branch": lambda w: jax.lax.cond(w[0] > 0, lambda: 2 * w[0], lambda: -w[0]) + jnp.sum(w**2),
    "curved edge": lambda w: jnp.abs(w[1] - w[0] ** 2) + 0.5 * w[1] + rest(w, 2),
    "hand-made softplus": lambda w: jnp.sum(hand_softplus(w)) + jnp.sum(w**2) - 0.5 * jnp.sum(w),
    "hand-made logsumexp": lambda w: hand_logsumexp(w) + 0.5 * jnp.sum(w**2) - jnp.mean(w),
    "clipped": lambda w: jnp.sum(jnp.clip(w, 0, 1)) + jnp.sum(w**2),
    "a step up": lambda w: jnp.sum(w**2) + jnp.where(w[0] > 0, 1.0, 0.0),
    "in a loop": lambda w: (
        jax.lax.fori_loop(0, 4, lambda i, c: c + jnp.abs(w[i]), 0.0) - 0.9 * jnp.sum(w)
    ),
}
FALLS = {
    "cone of the least": lambda w: jnp.sum(w**2) - 3 * relu(jnp.min(w)),
    "narrow cone": lambda w: jnp.sum(w**2) - 3 * relu(w[0] - 10 * jnp.abs(w[1])),
    "very narrow cone": lambda w: jnp.sum(w**2) - 3 * relu(w[0] - 300 * jnp.abs(w[1])),
    "tiny ridge": lambda w: 1e-6 * (w[0] ** 2 + w[1] ** 2 - 1e-4 * jnp.abs(w[1])) + rest(w, 2),
    "half a ridge": lambda w: 0.1 * jnp.sum(w**2) - 0.2 * relu(w[0]) ** 2,
    "sorted downwards": lambda w: (
        1e-4 * jnp.sum(jnp.array([3, 2, 1, 0]) * jnp.sort(w)) - 1.5e-4 * jnp.sum(w) + jnp.sum(w**2)
    ),
    "product of ReLUs": lambda w: jnp.sum(w**2) - 5 * relu(w[0]) * relu(w[1]),
    "gain": lambda w: jnp.sum(w**2) - 3 * relu(w[0]) * w[1],
    "stacked": stacked(-1.0),
    "curved ridge": lambda w: (
        relu(w[1] - w[0] ** 2) + relu(w[0] ** 2 - w[1]) - 0.5 * w[1] + 0.1 * w[1] ** 2 + rest(w, 2)
    ),
    "odd": lambda w: w[0] * jnp.abs(w[0]) + rest(w, 1),
}
# Something falls in a cone so rare that what is in it is at a tie wherever one looks.
HIDDEN = {
    "ReLU of a ReLU": lambda w: jnp.sum(w**2) - 3 * relu(2 * relu(w[0] - 300 * jnp.abs(w[1]))),
    "greatest of ReLUs": lambda w: (
        jnp.sum(w**2) - 3 * jnp.maximum(relu(w[0] - 300 * jnp.abs(w[1])), relu(-relu(w[2])))
    ),
}
FLAT = {
    "half bowls alone": lambda w: jnp.sum(relu(w) ** 2),
    "cube": lambda w: jnp.abs(w[0]) ** 3 + rest(w, 1),
    "open valley": lambda w: (
        jnp.max(jnp.array([[1.0, 0.0], [-0.5, 1.0], [0.5, -1.0]]) @ w[:2]) + rest(w, 2)
    ),
    "root": lambda w: jnp.sum(w**2) + jnp.sqrt(jnp.abs(w[0]) + 1e-300),
    "steps": lambda w: jnp.sum(w**2) + jnp.floor(w[0]) ** 2,
    "unknown": lambda w: (
        jnp.sum(w**2) + jnp.linalg.eigvalsh(jnp.diag(jnp.array([1.0, 2.0]) + w[:2] ** 2))[1]
    ),
}
ALL = (*RISES.values(), *FALLS.values())
SHARE = 11  # of them in a program: each look at one follows the operations of all
TURNS = special_ortho_group(SIZE, seed=0).rvs(3)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["index", "turn", "unit", "lift", "at"],
    meta_fields=["first"],
)
@dataclass(frozen=True, eq=False)
class Turned(Problem):
    """lift + unit f(turn (w - at)) of one of the losses: those from `first` on are one program."""

    first: int
    index: Array
    turn: Array
    unit: Array
    lift: Array
    at: Array

    def loss(self, w):
        """By index."""
        v = self.turn @ (w - self.at)
        share = ALL[self.first : self.first + SHARE]
        return self.lift + self.unit * jax.lax.switch(self.index, share, v)


def turned(name, among, turn=0, unit=1.0, lift=1.0):
    index = (0 if among is RISES else len(RISES)) + list(among).index(name)
    turns = [np.eye(SIZE), *TURNS]
    numbers = (jnp.asarray(x, float) for x in (turns[turn], unit, lift, np.zeros(SIZE)))
    return Turned(index - index % SHARE, jnp.asarray(index % SHARE), *numbers)


def looked(problem):
    return examine(problem, jnp.zeros(SIZE), jnp.zeros(SIZE))


WAYS = [
    (0, 1.0),
    pytest.param(1, 1.0, marks=pytest.mark.slow),
    pytest.param(2, 1e-5, marks=pytest.mark.slow),
]  # rotations, units


@pytest.mark.parametrize(("turn", "unit"), WAYS)
@pytest.mark.parametrize("name", RISES)
def test_where_all_pieces_rise_it_is_a_minimum(name, turn, unit):
    found = looked(turned(name, RISES, turn, unit))
    # Rotation leaves some ties of numbers that are compared no more than rounding apart.
    assert found.outcome in (Outcome.RISES, Outcome.SMOOTH) or (turn and not found.displacement)
    assert turn or found.outcome != Outcome.UNDECIDED


@pytest.mark.parametrize(("turn", "unit"), WAYS)
@pytest.mark.parametrize("name", FALLS)
def test_where_a_piece_falls_it_is_no_minimum(name, turn, unit):
    problem = turned(name, FALLS, turn, unit)
    found = looked(problem)
    assert found.outcome == Outcome.FALLS
    assert found.drop > 0
    fall = float(problem.loss(jnp.zeros(SIZE)) - problem.loss(found.displacement))
    assert fall == pytest.approx(found.drop, rel=0.3, abs=1e-14)


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_at_a_tie_nearly_everywhere_is_no_reason_to_rise(name):
    found = examine(Problem(loss=HIDDEN[name]), jnp.zeros(SIZE), jnp.zeros(SIZE))
    assert found.outcome in (Outcome.FALLS, Outcome.UNDECIDED)


@dataclass(frozen=True, eq=False)
class _Case:
    """A loss at a point, and how its label begins."""

    loss: object
    label: str
    at: tuple = (0.0,) * SIZE


LABELS = {
    "edge": _Case(RISES["edge"], "local minimum"),
    "tiny edge": _Case(lambda w: 1 + RISES["tiny edge"](w), "local minimum"),
    "tiny ridge": _Case(
        lambda w: 1 + FALLS["tiny ridge"](w), "degenerate saddle, descent along a kink"
    ),
    "pulled": _Case(pulled, "local minimum"),
    "pulled, and small": _Case(lambda w: 1e-10 * pulled(w), "local minimum"),
    "edge of a basin": _Case(
        lambda w: 1e-10 * jnp.abs(w[0]) - w[0] ** 2 + rest(w, 1), "local minimum"
    ),
    "walls of a basin": _Case(
        lambda w: 1e8 * relu(-w[0]) + 1e-10 * relu(w[0]) - w[0] ** 2 + rest(w, 1), "local minimum"
    ),
    "cone": _Case(FALLS["cone of the least"], "degenerate saddle, descent along a kink"),
    "logsumexp by hand": _Case(RISES["hand-made logsumexp"], "local minimum"),
    "cube": _Case(FLAT["cube"], "degenerate"),
    # Its gradient is no more than the mean of what it is around: 0 is a minimum, and flat one way.
    "open valley": _Case(FLAT["open valley"], "degenerate, not twice differentiable here"),
    "unknown": _Case(FLAT["unknown"], "local minimum if twice differentiable here"),
    "steps": _Case(FLAT["steps"], "degenerate, not twice differentiable here"),
}


QUICK = (
    "edge",
    "edge of a basin",
    "pulled, and small",
    "tiny ridge",
    "cone",
    "logsumexp by hand",
    "steps",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in LABELS],
)
def test_labels_at_kinks(name):
    case = LABELS[name]
    point = stationary.analyze(Problem(loss=case.loss), jnp.zeros(SIZE))
    assert point.label.startswith(case.label)
    assert (point.label == "local minimum") == (case.label == "local minimum")
    assert point.evidence["kink"]
    if point.kind == Kind.SADDLE:
        assert case.loss(point.descent) < case.loss(jnp.zeros(SIZE))


@pytest.mark.parametrize(
    "distance",
    [1e-9, *(pytest.param(far, marks=pytest.mark.slow) for far in (1e-6, 1e-3))],
)
def test_a_kink_beside_the_point_is_a_fact_about_its_distance(distance):
    def loss(w):
        return jnp.sum(w**2) - 0.1 * relu(jnp.abs(w[0] - w[1]) - distance) - 9.0 * w[2] ** 2

    point = stationary.analyze(Problem(loss=loss), jnp.zeros(SIZE))
    assert point.label == "saddle of index 1"
    assert point.ties.active == 1  # of |w0 - w1|, whose side makes no difference under the ReLU


def test_under_vmap_a_kink_leaves_the_weaker_word():
    def judge(w):
        return stationary.analyze(Problem(loss=RISES["cubes"]), w)

    points = jax.jit(jax.vmap(judge))(jnp.stack([jnp.zeros(SIZE), jnp.ones(SIZE)]))
    assert points.label.tolist() == ["local minimum if twice differentiable here", "not stationary"]
    assert "probability 0.92" in points.evidence[0]["kink"]


@pytest.mark.slow
def test_too_many_pieces_leave_the_weaker_word():
    inputs = np.asarray(np.random.default_rng(0).normal(size=(40, 6)))

    def loss(w):
        hidden = relu(inputs @ w[:6])
        return jnp.mean((1 - 1e-3 * hidden * w[6]) ** 2) + jnp.sum(w**2)

    point = stationary.analyze(Problem(loss=loss), jnp.zeros(7))
    assert point.label in (
        "local minimum if twice differentiable here",
        "degenerate, not twice differentiable here",
    )
    assert "not examined" in point.evidence["kink"]


def dead(w):
    """A ReLU without bias sees a datum that is zero: always at a tie, and no kink."""
    return jnp.sum(relu(jnp.array([[0.0, 0.0], [1.0, 1.0]]) @ (w[:2] + 1.0))) ** 2 + jnp.sum(w**2)


SMOOTH = {
    "logsumexp": jax.nn.logsumexp,
    "softmax": lambda w: jax.nn.softmax(w)[0],
    "log_softmax": lambda w: jax.nn.log_softmax(w)[0],
    "softplus": lambda w: jnp.sum(jax.nn.softplus(w)),
    "log sigmoid": lambda w: jnp.sum(jax.nn.log_sigmoid(w)),
    "tanh, gelu, silu, sinc": lambda w: jnp.sum(
        jnp.tanh(w) + jax.nn.gelu(w) + jax.nn.silu(w) + jnp.sinc(w)
    ),
    "slogdet": lambda w: jnp.linalg.slogdet(jnp.eye(SIZE) + jnp.outer(w, w))[1],
    "solve": lambda w: w @ jnp.linalg.solve(jnp.eye(SIZE) + jnp.outer(w, w), w),
    "log of the normal distribution": lambda w: jax.scipy.stats.norm.logcdf(w[0]),
    "data alone": lambda w: jnp.sum(jnp.maximum(jnp.arange(4.0) - 2.0, 0.0) * w),
    "in a scan": lambda w: jax.lax.scan(lambda c, x: (jnp.tanh(c + x), c), 0.0, w)[0],
    "remat": lambda w: jax.checkpoint(lambda v: jnp.sum(jnp.sin(v)))(w),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_losses_hold_nothing_that_is_not(name):
    assert ties.is_smooth(SMOOTH[name], jnp.zeros(SIZE))


KINKED = {
    "relu": lambda w: jnp.sum(relu(w)),
    "elu": lambda w: jnp.sum(jax.nn.elu(w)),
    "leaky relu": lambda w: jnp.sum(jax.nn.leaky_relu(w)),
    "hypot": lambda w: jnp.sum(jnp.hypot(w, w)),
    "norm": jnp.linalg.norm,
    "power": lambda w: jnp.sum(jnp.abs(w) ** 2.5),
    "argmax": lambda w: w[jnp.argmax(w)],
    "sort of many": lambda w: jnp.sum(jnp.sort(jnp.concatenate([w, w, w]))[:5]),
    "median": jnp.median,
    "pooled": lambda w: jnp.sum(
        jax.lax.reduce_window(w, -jnp.inf, jax.lax.max, (2,), (2,), "VALID")
    ),
    "cummax": lambda w: jnp.sum(jax.lax.cummax(w)),
    "top_k": lambda w: jnp.sum(jax.lax.top_k(w, 2)[0]),
    "round": lambda w: jnp.round(w[0] + 0.5),
    "rem": lambda w: w[0] % 1.0,
    "interp": lambda w: jnp.interp(w[0], jnp.arange(4.0) - 2, jnp.arange(4.0) ** 2),
    "in a loop": lambda w: jax.lax.fori_loop(0, 4, lambda i, c: relu(c + w[i]), 0.0),
    "branch": lambda w: jax.lax.cond(w[0] > 0, lambda: w[1], lambda: w[2]),
    "custom rule": lambda w: _straight_through(w[0]),
}


@jax.custom_vjp
def _straight_through(x):
    return jnp.sign(x)


_straight_through.defvjp(lambda x: (jnp.sign(x), None), lambda _, g: (g,))


@pytest.mark.parametrize("name", KINKED)
def test_operations_at_a_tie_are_seen(name):
    zero = jnp.zeros(SIZE)
    near = jax.jit(lambda w: ties.look(KINKED[name], w, zero, jnp.ones(SIZE)))(zero)
    assert near.active > 0
    away = jnp.array([0.9, 1.3, 1.7, 0.15]) - 0.05
    near = jax.jit(lambda w: ties.look(KINKED[name], w, zero, jnp.ones(SIZE)))(away)
    assert near.active == 0 or name == "sort of many"  # there each number comes three times
    assert not near.opaque


def test_what_is_always_at_a_tie_is_no_kink_and_what_is_not_known_is_said():
    zero, ones = jnp.zeros(SIZE), jnp.ones(SIZE)
    assert ties.look(dead, zero, zero, ones).active == 0
    assert ties.look(FLAT["unknown"], zero, zero, ones).opaque
    assert ties.look(lambda w: w[0] * jax.lax.stop_gradient(w[0]), zero, zero, ones).opaque


def test_a_problem_may_declare_its_loss_smooth():
    problem = Problem(loss=RISES["cubes"], smooth=lambda params: True)
    point = stationary.analyze(problem, jnp.zeros(SIZE))
    assert point.label == "local minimum"
    assert point.ties is None


def test_forced_sides_continue_a_piece_beyond_its_edge():
    def loss(w):
        return jnp.abs(w[0]) + jnp.maximum(w[1], 2 * w[1])

    w = jnp.array([-3.0, 1.0])
    places = list(kinks.evaluate(loss, w).kinds)
    above = {place: jnp.full((), kinks.ABOVE, jnp.int8) for place in places}
    assert kinks.evaluate(loss, w).value == 5.0
    assert kinks.evaluate(loss, w, above).value == -3.0 + 1.0


def test_a_form_that_is_positive_on_a_cone_alone_is_told_from_one_that_is_not():
    rng = np.random.default_rng(0)
    decided = 0
    for _ in range(300):
        p, m = rng.integers(2, 5), rng.integers(0, 5)
        rows = cones.unit_rows(rng.normal(size=(m, p)))[0]
        root = rng.normal(size=(p, p))
        form = root @ root.T - rng.uniform(0, 1.5) * np.eye(p)
        bent = cones.bending(form, rows, 1e-12)
        v = rng.normal(size=(4000, p))
        v = v[np.all(v @ rows.T >= 0, axis=1)]
        lowest = np.min(np.einsum("ij,jk,ik->i", v, form, v), initial=np.inf)
        assert not (bent.rises and lowest < 0)
        if bent.descent is not None:
            assert bent.descent @ form @ bent.descent < 0
            assert np.all(rows @ bent.descent >= -1e-8)
        decided += bent.rises or bent.descent is not None
    assert decided > 290


def test_a_thin_cone_is_not_called_empty():
    thin = cones.unit_rows(np.array([[0.0, 1.0], [1.0, -1e8]]))[0]
    assert cones.inside(thin) is None
    assert not cones.is_empty(thin)
    assert cones.is_empty(np.array([[0.0, 1.0], [0.0, -1.0]]))


def test_planes_cut_space_into_as_many_cells_as_they_should():
    # m planes in general position through the origin: 2 sum_{i < p} (m - 1 choose i) cells.
    rows = cones.unit_rows(np.random.default_rng(1).normal(size=(7, 3)))[0]
    assert len(cones.cells(rows, 1000, 4000)) == 2 * (1 + 6 + 15)
    assert cones.cells(rows, 10, 4000) is None


@jax.custom_vjp
def _reversed(x):
    return x**2


_reversed.defvjp(lambda x: (x**2, x), lambda x, g: (-2 * x * g,))


def test_a_wrong_rule_for_derivatives_is_measured():
    problem = Problem(loss=lambda w: -_reversed(w[0]) + rest(w, 1))
    point = stationary.analyze(problem, jnp.zeros(SIZE))
    assert point.inertia.negative == 0  # as the rule has it, and it falls
    assert point.label == "degenerate saddle, descent along a kink"


STRICT = {
    "at zero": lambda w: w[0] ** 2 + 1e-15 * w[1] ** 2 - w[1] ** 4,
    "smaller still": lambda w: w[0] ** 2 + 1e-30 * w[1] ** 2 - w[1] ** 4,
    "on a plain": lambda w: 1 + w[0] ** 2 + 1e-17 * w[1] ** 2 - w[1] ** 4,
    "in other units": lambda w: (
        1e6 * ((1e-3 * w[0]) ** 2 + 1e-15 * (1e-3 * w[1]) ** 2 - (1e-3 * w[1]) ** 4)
    ),
    "turned": lambda w: (
        (w[0] + w[1]) ** 2 / 2 + 1e-15 * (w[0] - w[1]) ** 2 / 2 - (w[0] - w[1]) ** 4 / 4
    ),
    "of fourth order": lambda w: w[0] ** 2 + 1e-20 * w[1] ** 4 - w[1] ** 6,
}
FALLING = {
    "quartic": lambda w: w[0] ** 2 - w[1] ** 4,
    "turned": lambda w: 1 + (w[0] + w[1]) ** 2 - (w[0] - w[1]) ** 4,
    "cubic": lambda w: w[0] ** 2 + w[1] ** 3,
    "valley": lambda w: (w[1] - w[0] ** 2) ** 2 - w[0] ** 4 / 2,
}


def test_a_descent_that_begins_beyond_a_rise_is_no_saddle():
    losses = [*STRICT.values(), *FALLING.values()]

    @jax.jit
    def judge(i):
        problem = Problem(loss=lambda w: jax.lax.switch(i, losses, w))
        return stationary.analyze(problem, jnp.zeros(2))

    for i, name in enumerate([*STRICT, *FALLING]):
        point = judge(i)
        if i < len(STRICT):
            assert point.label == "degenerate, 1 flat direction", name
            assert "a fact about that distance" in point.evidence["probe"]
            assert point.probe.begins > 0
        else:
            assert point.label == "degenerate saddle, descent along a flat direction", name
            assert "from distance" in point.evidence["probe"]


def rare(w, steepness=20.0):
    """Positive in a thin cone around the third axis alone."""
    return w[2] - steepness * jnp.abs(w[0]) - steepness * jnp.abs(w[1])


def two_surfaces(w):
    """Ties at w[0] and, but in a thin cone, at w[0] again."""
    other = w[0] - 100.0 * relu(rare(w))
    return jnp.sum(w**2) - 3.0 * jnp.minimum(relu(w[0]), relu(-other))


# None of these is a minimum at zero, and where they fall is easily missed.
MISSED = {
    "dead unit and a gate": lambda w: (
        jnp.abs(w[0]) - w[1] ** 2 + 5 * w[1] ** 2 * (relu(-1 - w[0] ** 2) > 0)
    ),
    "dead unit and a sign": lambda w: (
        jnp.abs(w[0]) - w[1] ** 2 + 5 * w[1] ** 2 * jnp.sign(relu(-1 - w[0] ** 2))
    ),
    "stacked": lambda w: jnp.sum(w**2) - 3 * jnp.maximum(0.0, jnp.maximum(0.0, rare(w))),
    "two surfaces": two_surfaces,
    "thin cone": lambda w: jnp.sum(w**2) - 3 * relu(w[0] - 1e8 * jnp.abs(w[1])),
    "cusp of a Bessel function": lambda w: w[0] ** 2 + jax.scipy.special.i0e(w[1]),
    "a small slope beside a steep one": lambda w: (
        jnp.sum(w**2) + 1e8 * jnp.abs(w[0]) - 1e-7 * jnp.abs(w[1])
    ),
    "sign bit": lambda w: w[0] ** 2 + jnp.where(jnp.signbit(w[1]), -(w[1] ** 2), w[1] ** 2),
    "end of a domain": lambda w: (
        w[0] ** 2 + jnp.where(jnp.isnan(jnp.log(w[1])), -(w[1] ** 2), w[1] ** 2)
    ),
}
FEW = ("stacked",)


@pytest.mark.parametrize(
    "name", [n if n in FEW else pytest.param(n, marks=pytest.mark.slow) for n in MISSED]
)
def test_what_falls_in_a_place_that_is_easily_missed_is_no_minimum(name):
    size = 3 if name in ("stacked", "two surfaces") else 2
    point = stationary.analyze(Problem(loss=MISSED[name]), jnp.zeros(size))
    print(point.label)
    assert point.kind != Kind.MINIMUM
    assert point.label != "local minimum"
    assert not point.label.startswith("saddle")


def test_a_relu_keeps_its_kink_whatever_was_traced_before_it():
    """Both moments share formulas. Without noise a threshold's are smooth still, a ReLU's not."""

    def threshold(w):
        return jnp.sum(energy.soft_threshold(w, w**2, 0.1).mean)

    def rectified(w):
        return jnp.sum(energy.relu(w, w**2).mean)

    w = jnp.zeros(SIZE)
    for _ in range(2):
        assert ties.is_smooth(threshold, w)
        walk, _ = ties.by_shapes(rectified, w)
        assert {"max", "root"} <= set(walk.kinds.values())  # of the moments, not their center alone
