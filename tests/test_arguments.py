"""Arguments of any kind give a right answer or one clear line: no other exception, and no NaN that
nobody speaks of.

Every function is called rightly, and then with one argument after the other replaced by something
odd; what can be refused by shapes and types is, before anything is computed.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import pyplot as plt

from vaesurface import (
    curvature,
    data,
    diagnose,
    landscape,
    paths,
    plot,
    proof,
    stationary,
    theory,
    vae,
)
from vaesurface.paths import events

X = data.antipodal(2)
PROBLEM = vae.threshold_vae(X, latent=1, alpha=0.5)
POINT = PROBLEM.collapsed()
HELD = POINT._replace(log_gamma=None)  # where gamma is fixed
OTHER = POINT._replace(bias=POINT.bias + 1.0)
THIRD = POINT._replace(bias=POINT.bias + jnp.asarray([1.0, -1.0]))
KEY = jax.random.key(0)
LONGEST = 2000  # characters of a line that somebody reads

NUMBERS = (float("nan"), float("inf"), -1.0, 0, 1e300, -1e-300, 10**400, 2.5, True, 1j)
THINGS = (None, "word", b"\xff", [], {}, object(), [1.0, [2.0]], "1.0", np.datetime64("2020"))
ARRAYS = (
    np.zeros((0, 2)),
    np.zeros((2, 0)),
    np.zeros(0),
    np.ones((2, 2)),
    np.ones((3, 3)),
    np.ones((2, 2, 2)),
    np.full((2, 2), np.nan),
    np.full((2, 2), np.inf),
    np.array([[1e300, -1e300], [0.0, 1e300]]),
    np.array([[1e-200, 0.0], [0.0, 1e-300]]),
    np.array([["a", "b"], ["c", "d"]]),
    np.array([[1.0, None], [2.0, "a"]], dtype=object),
    np.array([[1j, 2.0], [0.0, 1.0]]),
    np.array([[True, False], [False, True]]),
    np.ones((2, 2), np.float16),
    np.array([[1, 2], [3, 5]], np.uint8),
    np.zeros(2, [("a", float)]),
    np.ma.masked_array([[1.0, 2.0], [3.0, 5.0]], mask=[[True, False], [False, False]]),
    np.array(["2020-01-01"], "M8[D]"),
    jnp.ones((2, 2), jnp.float32),
    jnp.ones((4, 1)),
)
POINTS = (
    POINT._replace(weight=np.ones((3, 1))),
    POINT._replace(weight=None),
    POINT._replace(bias=np.full(2, np.nan)),
    POINT._replace(mean=np.ones((2, 1), np.float32)),
    POINT._replace(mean=np.zeros((0, 1))),
    POINT._replace(bias="word"),
    POINT._replace(log_gamma=1000.0),
    (),
)
ODD = (*NUMBERS, *THINGS, *ARRAYS, *POINTS)


class Refused(str):
    """The line that a function refuses with."""


class Call(NamedTuple):
    """A function, arguments that it takes, and which of them are replaced."""

    function: Callable
    arguments: dict[str, Any]
    odd: tuple[str, ...]


def call(function, odd, **arguments):
    """`odd`: names of arguments, separated by spaces."""
    return Call(function, arguments, tuple(odd.split()))


def outcome(function, arguments):
    """What a function answers, or the line that it refuses with; AssertionError for all else."""
    try:
        return function(**arguments)
    except (ValueError, TypeError, RuntimeError) as error:
        said = str(error)
        assert said and said.isprintable() and len(said) < LONGEST, said
        return Refused(said)


PLANE = landscape.Plane(
    x=np.arange(3.0),
    y=np.arange(3.0),
    energy=np.add.outer(np.arange(3.0), np.arange(3.0)),
    origin=np.zeros(9),
    basis=np.eye(2, 9),
    points=np.zeros((1, 2)),
    values={},
)
GRID = [0.1, 0.2, 0.3]
BITS = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
ROWS = data.gaussian(5, [2.0, 1.0], seed=0)
EXPORT = {
    "x": X,
    "mean": np.zeros((2, 1)),
    "log_std": np.zeros((2, 1)),
    "reconstruction": 0 * X,
    "gamma": 0.5,
}
SURFACE = {"loss": PROBLEM.loss, "a": POINT, "b": OTHER}


def listed(**arguments):
    """The points that theory lists."""
    return list(theory.stationary_points(**arguments))


CALLS = {
    "antipodal": call(data.antipodal, "d", d=2),
    "gaussian": call(data.gaussian, "n spectrum seed", n=5, spectrum=[1.0, 2.0], seed=0),
    "clusters": call(
        data.clusters, "n d centers noise seed", n=5, d=2, centers=2, noise=0.1, seed=0
    ),
    "check": call(data.check, "X", X=X),
    "digest": call(data.digest, "X", X=X),
    "shape": call(data.shape, "X", X=np.ones((2, 4))),
    "load": call(data.load, "limit", source="antipodal", limit=2),
    "threshold_vae": call(vae.threshold_vae, "X latent alpha gamma beta", X=X, latent=1, alpha=0.5),
    "elementwise_vae": call(
        vae.elementwise_vae, "X latent alpha likelihood posterior gamma beta", X=X, latent=1
    ),
    "global_minimum": call(theory.global_minimum, "X latent gamma beta", X=X, latent=1),
    "stationary_points": call(listed, "X latent gamma beta", X=ROWS, latent=1),
    "collapse_radius": call(theory.collapse_radius, "X alpha gamma beta slack", X=X, alpha=0.5),
    "unbounded_ray": call(theory.unbounded_ray, "X latent alpha beta", X=X, latent=1, alpha=0.5),
    "eigenvalues": call(theory.eigenvalues, "X", X=X),
    "affine_optimum": call(
        theory.affine_optimum, "values latent gamma beta", values=np.array([2.0, 1.0]), latent=1
    ),
    "collapse_index": call(
        theory.collapse_index,
        "X latent likelihood beta classes",
        X=BITS,
        latent=1,
        likelihood="bernoulli",
    ),
    "missing_mass": call(
        stationary.missing_mass, "outcome confidence", outcome=np.array([0, 0, 1])
    ),
    "hvp": call(curvature.hvp, "loss params vector", loss=PROBLEM.loss, params=POINT, vector=POINT),
    "hessian": call(curvature.hessian, "loss params", loss=PROBLEM.loss, params=POINT),
    "spectrum": call(curvature.spectrum, "loss params", loss=PROBLEM.loss, params=POINT),
    "density": call(
        curvature.density,
        "params key num_vectors",
        loss=PROBLEM.loss,
        params=POINT,
        key=KEY,
        num_matvecs=3,
        num_vectors=2,
    ),
    "segment": call(landscape.segment, "loss a b num margin values", num=3, **SURFACE),
    "plane": call(landscape.plane, "loss a b c num margin values", num=3, c=THIRD, **SURFACE),
    "certify": call(proof.certify, "problem params radius index", problem=PROBLEM, params=POINT),
    "certify_unbounded": call(proof.certify_unbounded, "problem bias", problem=PROBLEM),
    "diagnose.arrays": call(
        diagnose.arrays,
        "x mean log_std reconstruction gamma beta learned_gamma sampled_reconstruction "
        "prior_reconstruction affine likelihood prior_mean prior_std",
        **EXPORT,
    ),
    "plot.plane": call(plot.plane, "plane marks best", plane=PLANE),
    "plot.field": call(
        plot.field, "plane values label scale", plane=PLANE, values=np.ones((3, 3)), label="a"
    ),
    "plot.spectrum": call(
        plot.spectrum, "eigenvalues inertia", eigenvalues=[-1.0, 0.0, 2.0], inertia=(1, 1, 1)
    ),
    "plot.divergences": call(plot.divergences, "kl active", kl=GRID),
    "plot.disconnectivity": call(
        plot.disconnectivity, "minima edges active scale", minima=[0.0, 1.0], edges=[(0, 1, 2.0)]
    ),
    "plot.depth_errors": call(
        plot.depth_errors, "depth errors", depth=[1, 2, 3], errors={"a": np.ones((3, 2))}
    ),
    "plot.sigma_histogram": call(plot.sigma_histogram, "sigma", sigma=GRID),
}
# What compiles or computes for long where it is not refused: there only what has to be.
REFUSED = {
    "analyze": call(
        stationary.analyze, "problem params key dense directions", problem=PROBLEM, params=POINT
    ),
    "find": call(stationary.find, "problem key scale escapes", problem=PROBLEM, key=KEY),
    "minimum_energy_path": call(
        paths.minimum_energy_path, "problem a b images tolerance", problem=PROBLEM, a=POINT, b=OTHER
    ),
    "follow": call(
        paths.follow,
        "point alpha",
        make_problem=lambda alpha: vae.threshold_vae(X, 1, alpha),
        point=POINT,
        alpha=[0.5, 0.6],
    ),
    "boundary": call(
        paths.boundary,
        "event alpha gamma",
        make_problem=lambda alpha, gamma: vae.threshold_vae(X, 1, alpha, gamma),
        event=events.Event(
            kind=events.EventKind.FOLD,
            value=0.55,
            arclength=1.0,
            params=HELD,
            loss=1.0,
            kernel=jax.tree.map(lambda leaf: leaf[None], HELD),
            tangent=HELD,
            rate=0.0,
            scale=1.0,
        ),
        alpha=[0.5, 0.6],
        gamma=[1.0, 2.0],
    ),
}
NEVER = (float("nan"), -1.0, 10**400, 1j, "word", b"\xff", object(), *ARRAYS[:4], *ARRAYS[10:12])
# Results that hold NaN for what is not known or not there, as their own words say.
TELLING = ("diagnose.arrays", "unbounded_ray")


def draws(name, function):
    """A test of a function with arguments drawn from the odd ones."""

    @settings(max_examples=30, derandomize=True, deadline=None, database=None)
    @given(st.sampled_from(CALLS[name].odd), st.sampled_from(ODD))
    def spoil(argument, odd):
        function(argument, odd)

    return spoil


@pytest.mark.filterwarnings("ignore")  # of libraries, about numbers that are drawn
@pytest.mark.parametrize("name", CALLS)
def test_an_odd_argument_gives_a_right_answer_or_one_line(name):
    function, arguments, _ = CALLS[name]
    assert not isinstance(outcome(function, arguments), Refused)

    def spoil(argument, odd):
        answer = outcome(function, arguments | {argument: odd})
        plt.close("all")
        if not isinstance(answer, Refused) and name not in TELLING and not is_unknown(odd):
            leaves = [leaf for leaf in jax.tree.leaves(answer) if hasattr(leaf, "dtype")]
            for leaf in leaves:
                assert not np.any(np.isnan(np.asarray(leaf, float))), (argument, odd, answer)

    if name.startswith("plot."):
        draws(name, lambda argument, odd: drawn(function, arguments | {argument: odd}))()
    else:
        draws(name, spoil)()


def drawn(function, arguments):
    outcome(function, arguments)
    plt.close("all")


def is_unknown(odd):
    """Whether NaN or infinity goes in, so that it may come out."""
    leaves = [leaf for leaf in jax.tree.leaves(odd) if hasattr(leaf, "dtype")]
    floats = [np.asarray(leaf, float) for leaf in leaves if leaf.dtype.kind == "f"]
    return any(not np.isfinite(leaf).all() for leaf in floats)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_before_anything_is_computed(name):
    function, arguments, odd = REFUSED[name]
    for argument in odd:
        for value in NEVER:
            said = outcome(function, arguments | {argument: value})
            assert isinstance(said, Refused), (argument, value)
