"""What is printed, or shown in a notebook, is short, is there whatever a value holds, and changes
nothing.
"""

import importlib
import pickle
import subprocess
import sys
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vaesurface import data, diagnose, optimize, paths, proof, stationary, vae
from vaesurface.glance import brief
from vaesurface.problem import Problem

X = data.antipodal(d=2)
VAE = vae.threshold_vae(X, latent=1, alpha=0.5)
WIDE = vae.threshold_vae(data.gaussian(40, [3.0, 2.0, 1.0], seed=0), latent=2, alpha=0.5)


def wells(w):
    return jnp.sum((w["x"] ** 2 - 1) ** 2) + w["y"] ** 2


def start(x=0.0):
    return {"x": jnp.full(3, x), "y": jnp.zeros(())}


@pytest.fixture(scope="module")
def point():
    return stationary.analyze(VAE, VAE.collapsed())


@pytest.fixture(scope="module")
def results(point):
    """One of each kind that people look at."""
    judged = stationary.analyze(Problem(loss=wells), start())
    batch = jax.tree.map(lambda leaf: np.stack([leaf] * 50), point)
    many, one = jnp.zeros(20), jnp.asarray(0)
    way = paths.Path(batch.params, many, many, one, one > 0, one > 0, one, one)
    arrays = {name: np.zeros((20, 3)) for name in ("mean", "log_std")}
    trained = {"x": WIDE.X[:20], "reconstruction": 0 * WIDE.X[:20], "gamma": 1.0}
    return {
        "point": point,
        "judged": judged,
        "refined": stationary.Refinement(start(), one > 0, one, one, one, one, one + 1),
        "params": WIDE.collapsed(),
        "problem": WIDE,
        "own": Problem(loss=wells, init=start),
        "path": way,
        "joined": paths.Transition(judged, batch, many, many),
        "barrier": paths.Barrier(judged, batch, many, many, way, 1.0, 0.0, True),
        "certificate": proof.certify(VAE, point.params),
        "diagnosis": diagnose.arrays(**arrays, **trained),
        "run": optimize.Run(start(), jnp.asarray(3.0), None),
        "theory": point.theory,
        "batch": batch,
    }


def test_a_repr_is_a_few_short_lines(results):
    for name, result in results.items():
        lines = repr(result).split("\n")
        assert len(lines) <= 6, name
        assert max(map(len, lines)) <= 100, name
        assert lines[0].startswith(type(result).__name__), name


def test_it_holds_the_verdict_and_its_numbers(results):
    said = " ".join(repr(results["judged"]).split())
    assert said.startswith("StationaryPoint: saddle of index 3 loss=3,")
    assert "inertia=(negative 3, flat 0, positive 1)" in said
    assert "stationary yes" in said
    assert "x (3,), y 0" in said
    assert "X=float64 (40, 3)" in repr(results["problem"])
    assert "gamma=None" in repr(results["problem"])
    assert repr(results["own"]) == "Problem(init=start, loss=wells)"
    assert repr(results["certificate"]).startswith("Certificate: collapsed minimum")
    assert repr(results["diagnosis"]).startswith("Diagnosis: (")


def test_many_points_show_how_many_of_which(results):
    said = repr(results["batch"])
    assert said.startswith("StationaryPoint: (50,): 50 collapsed local minimum\n")
    assert "loss=float64 (50,), all 3" in said


def test_a_table_is_escaped_and_fetches_and_colors_nothing(results):
    for name, result in results.items():
        table = result._repr_html_()
        assert table.startswith("<table>"), name
        assert table.endswith("</table>"), name
        assert len(table) < 8000, name
        assert not {"script", "http", "url(", "#", "<style"} & set(table.split('"')), name
    hostile = Problem(loss=wells, init=start)
    hostile.init.__name__ = "<script>alert(1)</script>"
    try:
        assert "<script" not in hostile._repr_html_()
    finally:
        start.__name__ = "start"


def test_a_table_has_the_evidence_in_full(point):
    table = point._repr_html_()
    assert "evidence: flat" in table
    assert "nothing is lower while every row" in table


def test_what_is_traced_shows_shapes_and_adds_nothing_to_the_program(point):
    shown = []

    def plain(loss):
        return point._replace(loss=loss).loss * 2

    def printing(loss):
        there = point._replace(loss=loss)
        shown.extend([there._repr_html_(), repr(there)])
        return there.loss * 2

    def problem(alpha):
        shown.append(repr(vae.threshold_vae(X, latent=1, alpha=alpha)))
        return alpha

    assert str(jax.make_jaxpr(plain)(1.0)) == str(jax.make_jaxpr(printing)(1.0))
    assert "loss=float64 ()" in shown[-1]
    for transformed, alpha in ((jax.jit, 0.5), (jax.vmap, jnp.ones(2)), (jax.grad, 0.5)):
        transformed(problem)(alpha)
        assert "alpha=float64 ()" in shown[-1]


@pytest.mark.parametrize("hole", [None, object(), "x", jax.ShapeDtypeStruct((3,), jnp.float32)])
def test_what_jax_puts_in_a_fields_place_is_no_reason_to_fail(point, hole):
    hollow = jax.tree.map(lambda _: hole, point)
    assert repr(hollow).startswith("StationaryPoint")
    assert hollow._repr_html_().startswith("<table>")


def test_float32_and_keys_and_what_was_given_away_show_themselves():
    @brief()
    class Held(NamedTuple):
        single: jax.Array
        key: jax.Array
        gone: jax.Array
        empty: np.ndarray
        holes: np.ndarray

    gone = jnp.ones(9)
    gone.delete()
    held = Held(
        single=jnp.ones((2, 9), jnp.float32),
        key=jax.random.key(0),
        gone=gone,
        empty=np.zeros((0, 2)),
        holes=np.array([np.nan] * 8 + [2.0]),
    )
    said = " ".join(repr(held).split())
    assert "single=float32 (2, 9), all 1" in said
    assert "key=key<fry> ()" in said
    assert "gone=float64 (9,)," in said
    assert "holes=float64 (9,), all 2, 8 not finite" in said


def test_nothing_else_about_a_result_changes(point):
    params = VAE.collapsed()
    assert isinstance(params, tuple)
    assert jax.tree.structure(params) == jax.tree.structure(params._replace())
    one, other = stationary.Refinement(1, 2, 3, 4, 5, 6), stationary.Refinement(1, 2, 3, 4, 5, 6)
    assert one == other == (1, 2, 3, 4, 5, 6, None, None)
    assert hash(one) == hash(other)
    again = pickle.loads(pickle.dumps(point))
    jax.tree.map(np.testing.assert_array_equal, again, point)
    traced = []

    @jax.jit
    def double(point):
        traced.append(0)
        return 2 * point.loss

    double(point)
    repr(point)
    double(jax.tree.map(lambda x: x, point))
    assert len(traced) == 1


def test_a_problem_of_ones_own_shows_shapes_too_unless_it_has_a_repr():
    @dataclass(frozen=True, eq=False)
    class Own(Problem):
        data: jax.Array

    @dataclass(frozen=True, eq=False)
    class Named(Own):
        def __repr__(self):
            return "mine"

    @dataclass(frozen=True, eq=False)
    class Heir(Named):
        more: int = 1

    assert repr(Own(jnp.ones((50, 2)))) == "Own(data=float64 (50, 2), all 1)"
    assert repr(Named(jnp.ones(2))) == repr(Heir(jnp.ones(2))) == "mine"


ROOMS = "bordered curvature diagnose energy landscape paths proof stationary theory traps vae"


@pytest.mark.parametrize("room", ROOMS.split())
def test_all_public_results_that_hold_arrays_are_brief(room):
    home = importlib.import_module(f"vaesurface.{room}")
    for name in home.__all__:
        cls = getattr(home, name)
        if isinstance(cls, type) and hasattr(cls, "_fields"):
            kinds = " ".join(map(str, cls.__annotations__.values()))
            assert hasattr(cls, "_glance") or not ("Array" in kinds or "ndarray" in kinds), name


def test_it_loads_neither_jax_nor_notebooks():
    program = (
        "import sys, vaesurface.glance; "
        "print({'jax', 'IPython', 'pandas', 'matplotlib'} & set(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == "set()"
