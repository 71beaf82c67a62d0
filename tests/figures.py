"""Every plot function on ordinary and on awkward data, drawn as a function saves it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr

from vaesurface import plot
from vaesurface.marks import UNIT
from vaesurface.plot import Mark, Track

__all__ = ["FAST", "FIGURES", "GAMMA", "KL", "LINE", "LONE", "PATH", "PLANE"]

draw: Any = plot  # matplotlib declares types too wide to read a figure back
LONG = (
    "handwritten digits, 4 × 4 pixels, 200 of them, two latents, γ learned, β = 4, Bernoulli "
    "likelihood, softplus decoder, 20 starts of scale 1 by Adam"
)
DIMS = ("alpha", "scale", "seed")
TWELVE = [f"series {i} of twelve" for i in range(12)]
ALPHA = np.array([0.01, 0.1, 0.3, 1.0])
RNG = np.random.default_rng(0)


def runs(alpha, scale, seeds, share=None, data=LONG):
    """A sweep in which that share of the runs collapses, by cell; a growing one by default."""
    shape = (len(alpha), len(scale), seeds)
    grown = np.linspace(0.0, 1.0, len(alpha) * len(scale)).reshape(shape[:2])
    share = grown if share is None else np.broadcast_to(share, shape[:2])
    collapsed = np.arange(seeds) < np.round(seeds * share)[..., None]
    kind = np.where(np.isnan(share)[..., None], np.nan, np.ones(shape))
    return xr.Dataset(
        {"theory_collapsed": (DIMS, collapsed), "kind": (DIMS, kind)},
        {"alpha": alpha, "scale": scale, "seed": range(seeds)},
        {"optimizer": "Adam, 2000 steps", "data": data},
    )


def line(x, energy):
    return SimpleNamespace(distance=x, energy=energy, length=2.0)


def path(x, loss):
    return SimpleNamespace(distance=x, loss=loss)


def sheet(x, y, energy, points):
    return SimpleNamespace(x=x, y=y, energy=energy, points=np.array(points, float))


def branch(value, kind, loss, events=()):
    point = SimpleNamespace(loss=np.asarray(loss, float), kind=np.asarray(kind))
    told = [SimpleNamespace(kind=k, value=v, loss=e) for k, v, e in events]
    return SimpleNamespace(value=np.asarray(value, float), point=point, events=told)


def boundary(kind, values, negative, cusps=()):
    cusps = np.reshape(np.array(cusps, float), (-1, 2))
    return SimpleNamespace(kind=kind, values=values, negative=np.array(negative), cusps=cusps)


def intervals(share):
    share = np.asarray(share, float)
    return np.stack([share, np.maximum(share - 0.2, 0), np.minimum(share + 0.2, 1)], axis=-1)


X = np.linspace(-1.0, 3.0, 41)
Y = np.linspace(-1.0, 2.0, 31)
WELLS = (X * (X - 2)) ** 2 - 7
LINE = line(X, WELLS)
AHEAD = np.linspace(0.0, 2.0, 21)
PATH = path(AHEAD, (AHEAD * (AHEAD - 2)) ** 2 - 7)
THREE = [[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]
PLANE = sheet(X, Y, WELLS + Y[:, None] ** 2, THREE)
HOLES = sheet(X, Y, np.where(X < 0, np.nan, PLANE.energy), THREE)
NARROW = sheet(X, 0.01 * Y, PLANE.energy, [[0.0, 0.0]])
MARKS = [
    Mark(0, -7, "collapsed local minimum", 1),
    Mark(2, -7, "global optimum", 1),
    Mark(1, -6, "saddle of index 1", 2),
    Mark(1.5, -6.5, "far", 4, 0.25),
]
TIED = [Mark(0, -7, "best found", 1), Mark(0, -7, "next best", 1), Mark(0, -7, "collapsed", 4)]
ON = [mark._replace(y=0.3 * i) for i, mark in enumerate(MARKS)]
TOGETHER = [mark._replace(y=0.0) for mark in TIED]
TRACK = Track(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.5]]), "a run of Adam", 0.25)
IMAGES = TRACK._replace(label="path", images=True)
V = np.linspace(0.0, 1.0, 11)
BRANCHES = [
    branch(V, [1] * 6 + [2] * 5, V**2, [("fold", 0.5, 0.25), ("branch point", 0.9, 0.81)]),
    branch(V, [4] * 11, 1 - V, [("jump", 1.0, 0.0)]),
]
LONE = [BRANCHES[0], branch([0.0], [1], [-0.5], [("fold", 0.0, -0.5)])]
TURNS = [branch(V, [1] * 10 + [2], -100 - V)]
SPIKE = [branch(V, [1] * 11, np.where(V == 1.0, 1e6, -50 + V)), branch(V, [2] * 11, -50 + 2 * V)]
STACKED = [
    branch(V, [2] * 11, V, [("fold", 0.5, 0.5), ("branch point", 0.5, 0.5), ("jump", 0.5, 0.5)])
]
MANY = [branch(V, [1 + i % 2] * 11, i + V) for i in range(12)]
FOLD = boundary("fold", np.stack([V, V**2], axis=1), [0] * 6 + [1] * 5, [[0.5, 0.25]])
CROSSING = boundary("branch point", np.stack([V, 1 - V], axis=1), [1] * 11)
CELLS = plot.Verdicts(x=V[:3], y=V[::5], active=[[2, 2, 1], [2, 1, np.nan], [0, 0, 0]])
UNKNOWN = plot.Verdicts(x=V[:2], y=V[:2], active=np.full((2, 2), np.nan))
WIDTH = ALPHA[:, None] * [1.0, 2.0, 3.0, 9.0]
SHARES = {"Adam": intervals([0, 0.3, 0.7, 1]), "gradient flow": intervals([0, 0.3, 1, 1])}
CROWD = {name: intervals([0, 0, 0.5, 1]) for name in TWELVE}
COUNTS = {name: ["0/24", "7/24", "17/24", "24/24"] for name in SHARES}
GAMMA = np.geomspace(0.1, 2.0, 7)
KL = np.maximum(np.log(np.array([1.5, 0.7]) / GAMMA[:, None]), 0.0)
ERRORS = {"autoencoder": RNG.uniform(0.1, 0.2, (4, 3)), "VAE": RNG.uniform(0.2, 0.4, (4, 3))}
SAME = {"autoencoder": np.ones((4, 3)), "VAE": np.ones((4, 3))}
TINY = [2.0, 1e-2, 1e-7, 1e-9, 0.0]
ON_EDGE = [1.0, 0.01, 0.0099999]
KINDS = ["active", "active", "(i) superfluous"]
STEPS = np.arange(0, 50, 10)
CARRIED = np.array([[0.5, 1e-7], [0.2, 1e-9], [0.1, 0], [0, 0], [0, 0]])
ENERGY = np.array([1e6, 3.0, 2.5, 2.2, 2.1])


def course(steps, carried, energy, **options):
    n = len(steps)
    curves = {"error": np.linspace(1, 0.5, n), "gamma": np.linspace(1, 0.4, n)}
    return draw.course(steps, carried, energy, gain=np.linspace(0, 0.1, n), **curves, **options)


FIGURES = {
    "phase_diagram": lambda: draw.phase_diagram(
        runs([0.0, 0.01, 0.1, 0.3, 1.0], [0.03, 0.1, 0.3, 1.0], 20),
        theory=[[0.01, 0.03], [0.1, 0.1], [1.0, 1.0]],
        note="γ learned",
    ),
    "phase_diagram, one cell": lambda: draw.phase_diagram(runs([0.1], [1.0], 1, data="antipodal")),
    "phase_diagram, line outside": lambda: draw.phase_diagram(
        runs([0.01, 0.1], [0.1, 1.0], 4, [[0, 1], [np.nan, 0.5]]), theory=[[5, 90], [9, 99]]
    ),
    "phase_diagram, 40 rows": lambda: draw.phase_diagram(
        runs(np.geomspace(0.001, 1, 12).round(4), np.geomspace(0.01, 2, 40), 100)
    ),
    "segment": lambda: draw.segment(LINE, marks=MARKS, unit=UNIT, title=LONG),
    "segment, tied, of a loss": lambda: draw.segment(LINE, marks=TIED, title="antipodal"),
    "segment, symlog": lambda: draw.segment(
        line(X, np.where(X > 2.5, 1e6, WELLS)), marks=MARKS, scale="symlog", unit=UNIT
    ),
    "segment, flat, holes": lambda: draw.segment(line(X, np.where(X > 1, np.nan, -3.0))),
    "path_profile": lambda: draw.path_profile(
        PATH, marks=MARKS[:3], barrier=1.0, error=0.012, unit=UNIT, title=LONG
    ),
    "path_profile, misses": lambda: draw.path_profile(
        PATH, marks=[MARKS[0], Mark(1.0, -5.5, "saddle", 2, 0.3)], barrier=1.5, scale="symlog"
    ),
    "path_profile, one image": lambda: draw.path_profile(path([0.0], [-7.0])),
    "plane": lambda: draw.plane(PLANE, marks=ON, tracks=[TRACK], unit=UNIT, title=LONG),
    "plane, holes, tied, of a loss": lambda: draw.plane(HOLES, marks=TOGETHER, tracks=[IMAGES]),
    "plane, narrow": lambda: draw.plane(NARROW, unit=UNIT, title="antipodal"),
    "field": lambda: draw.field(PLANE, np.exp(PLANE.energy), label="γ", scale="log", marks=ON),
    "field, constant": lambda: draw.field(PLANE, 0 * PLANE.energy, label="active", scale="count"),
    "eigenvalue_map": lambda: draw.eigenvalue_map(PLANE, PLANE.energy + 6, unit=UNIT, title=LONG),
    "eigenvalue_map, zero": lambda: draw.eigenvalue_map(PLANE, 0 * PLANE.energy, tracks=[IMAGES]),
    "spectrum": lambda: draw.spectrum(
        [-2.0, -1e-3, *np.zeros(24), *np.geomspace(1e-4, 1e3, 30)],
        inertia=(2, 24, 30),
        unit=UNIT,
        title=f"{LONG}\nsaddle of index 2",
    ),
    "spectrum, one": lambda: draw.spectrum([0.0], inertia=(0, 1, 0), title="antipodal"),
    "index_scatter": lambda: draw.index_scatter(
        [-5, -4, -3, -1], [0, 1, 1, 3], [2, 1, 1, 0], unit=UNIT, title=LONG
    ),
    "index_scatter, tied": lambda: draw.index_scatter(
        [-5, -5, -5, -5, -4, -4, np.nan], [0, 0, 0, 0, 2, 2, 1], [2, 2, 1, 0, 1, 1, 0]
    ),
    "index_scatter, far": lambda: draw.index_scatter(
        [-5, -4.9, -4.8, -4.5, 1e7], [0, 0, 1, 2, 3], [2, 2, 1, 0, 1]
    ),
    "index_scatter, one": lambda: draw.index_scatter([-5.0], [0], [2]),
    "disconnectivity": lambda: draw.disconnectivity(
        [0.0, 2.0, 1.0, 4.0],
        [(0, 1, 6.0), (2, 1, 5.0), (0, 2, 3.0)],
        active=[2, 1, 0, 0],
        labels=["best", "", "collapsed", ""],
        unit=UNIT,
        title=LONG,
    ),
    "disconnectivity, one": lambda: draw.disconnectivity([-3.0], [], active=[0], scale="symlog"),
    "disconnectivity, many": lambda: draw.disconnectivity(
        np.geomspace(1e-6, 10, 40), [(0, i, 12.0) for i in range(1, 39)], scale="symlog"
    ),
    "collapse_shares": lambda: draw.collapse_shares(
        [2, 4, 8, 16], SHARES, counts=COUNTS, title=LONG
    ),
    "collapse_shares, twelve": lambda: draw.collapse_shares(
        [2, 4, 8, 16], CROWD, counts=dict.fromkeys(CROWD, COUNTS["Adam"])
    ),
    "collapse_shares, one": lambda: draw.collapse_shares([2], {"Adam": intervals([1.0])}),
    "basin_volume": lambda: draw.basin_volume(ALPHA, SHARES, scale=1.0, title=LONG),
    "basin_volume, twelve": lambda: draw.basin_volume(ALPHA, CROWD, scale=1.0),
    "trap": lambda: draw.trap(ALPHA, SHARES, 0.7 * ALPHA, title=LONG),
    "trap, one alpha": lambda: draw.trap([0.1], {"a": intervals([1.0])}, [0.07], title="antipodal"),
    "trap, zeros": lambda: draw.trap(0 * ALPHA + [0, 0.1, 0.3, 1], SHARES, [0, 0.1, 0.3, np.nan]),
    "bifurcation": lambda: draw.bifurcation(
        BRANCHES,
        labels=["collapsed point", "best minimum"],
        theory={"λ3": 0.3, "λ2": 0.31, "λ1": 0.8},
        ylabel=f"energy ({UNIT})",
        title=LONG,
    ),
    "bifurcation, lone": lambda: draw.bifurcation(
        LONE, labels=["collapsed point", "best minimum"], over=[0.0, 2.0], title="antipodal"
    ),
    "bifurcation, turns at last": lambda: draw.bifurcation(TURNS, labels=["one", "not followed"]),
    "bifurcation, spike": lambda: draw.bifurcation(SPIKE, labels=["one", "two"]),
    "bifurcation, stacked": lambda: draw.bifurcation(STACKED, labels=["one"]),
    "bifurcation, twelve": lambda: draw.bifurcation(MANY, labels=TWELVE),
    "boundaries": lambda: draw.boundaries([FOLD, CROSSING], verdicts=CELLS, title=LONG),
    "boundaries, unknown": lambda: draw.boundaries([], verdicts=UNKNOWN),
    "active_units": lambda: draw.active_units(
        GAMMA, KL, (KL > 0).sum(axis=1), eigenvalues=[1.5, 0.7, 30.0], title=LONG
    ),
    "active_units, one": lambda: draw.active_units([0.5], [[1e-9, 0.0]], [0], eigenvalues=[3.0]),
    "active_units, spike": lambda: draw.active_units(
        GAMMA, np.where(KL == KL.max(), 1e5, KL), (KL > 0).sum(axis=1), over=[0.01, 5]
    ),
    "basin_width": lambda: draw.basin_width(
        ALPHA, certified=0.7 * ALPHA, width=WIDTH, saddle=5 * ALPHA, title=LONG
    ),
    "basin_width, zeros": lambda: draw.basin_width(
        [0.1, 1.0],
        certified=[0.0, 0.5],
        width=[[0.0, 0.1], [np.nan, 2.0]],
        saddle=[np.nan, np.nan],
        open_ended=[[False, True], [False, True]],
    ),
    "basin_width, one": lambda: draw.basin_width([0.1], certified=[0.07], width=[[0.1, 0.3]]),
    "barrier_scaling": lambda: draw.barrier_scaling(
        ALPHA, 0.01 * ALPHA**2, error=0.001 * ALPHA**2, limit=0.0113, title=LONG
    ),
    "barrier_scaling, far": lambda: draw.barrier_scaling(
        ALPHA, [0.01 * 1e-4, 0.0101 * 0.01, 0.0103 * 0.09, 50.0]
    ),
    "depth_errors": lambda: draw.depth_errors(
        [1, 2, 4, 8], ERRORS, floor={"best constant": 0.3}, title=LONG
    ),
    "depth_errors, same, zero": lambda: draw.depth_errors(
        [1, 2, 4, 8], SAME | {"none": np.full((4, 3), np.nan), "perfect": np.zeros((4, 3))}
    ),
    "depth_errors, twelve": lambda: draw.depth_errors(
        [1, 2, 4, 8], {n: i + ERRORS["VAE"] for i, n in enumerate(TWELVE)}, log=False
    ),
    "depth_errors, far": lambda: draw.depth_errors(
        [1, 2, 4, 8],
        ERRORS | {"lost": np.array([[1e6, 0.2], [0.3, 0.3], [0.2, 0.2], [0.3, 0.3]])},
        log=False,
    ),
    "thresholding": lambda: draw.thresholding(
        GAMMA,
        {"affine": KL, "α = 0.1": KL},
        switches={"affine": [1.5, 0.7], "α = 0.1": [1.5, 0.7]},
        theory=KL,
        held=KL + 0.1,
        eigenvalues=[1.5, 0.7, 99.0],
        title=LONG,
    ),
    "thresholding, one": lambda: draw.thresholding(
        [0.5], {"affine": [[0.0, 1e-9]]}, switches={"affine": [np.nan, np.nan]}, theory=[[0.0]]
    ),
    "decoder_thresholds": lambda: draw.decoder_thresholds(
        GAMMA, 2 * GAMMA, np.stack([GAMMA, GAMMA], axis=1), upper=3 * GAMMA, title=LONG
    ),
    "decoder_thresholds, one": lambda: draw.decoder_thresholds([1.0], [2.0], [[0.0, np.inf]]),
    "rays": lambda: draw.rays(
        GAMMA,
        {"α = 0.1": np.log(GAMMA) - 3, "α = 1": np.log(GAMMA) - 3},
        {"α = 0.1": GAMMA, "α = 1": GAMMA},
        level=3.0,
        title=LONG,
    ),
    "rays, one, zero": lambda: draw.rays([0.1], {"a": [-3.0]}, {"a": [0.0]}),
    "divergences": lambda: draw.divergences([2.0, 0.5, 0.0], kinds=KINDS, active=0.01, title=LONG),
    "divergences, tiny": lambda: draw.divergences(TINY, active=0.01, title="antipodal"),
    "divergences, at the edge": lambda: draw.divergences(ON_EDGE, kinds=KINDS, active=0.01),
    "divergences, aside": lambda: draw.divergences(
        [2.0, 0.5, 0.4], carried=[1.9, 0.4, 1e-6], kinds=KINDS, active=0.01
    ),
    "divergences, none": lambda: draw.divergences([0.0, 0.0]),
    "sigma_histogram": lambda: draw.sigma_histogram(
        {"2 layers per scale": np.linspace(0, 1.1, 50), "5": np.ones(9)}, title=LONG
    ),
    "sigma_histogram, twelve": lambda: draw.sigma_histogram(
        {name: [0.1 * i, 1.0] for i, name in enumerate(TWELVE)}, log=True
    ),
    "residual_spectrum": lambda: draw.residual_spectrum([0.1, 3.0, 1.0, 0.0], 0.5, title=LONG),
    "residual_spectrum, one": lambda: draw.residual_spectrum([1.0], 0.0),
    "diagnosis": lambda: draw.diagnosis(
        [2.0, 0.5, 0.4],
        np.linspace(0, 1.1, 50),
        [3.0, 1.0, 0.2],
        0.5,
        carried=[1.9, 0.4, 1e-6],
        kinds=KINDS,
        active=0.01,
        title=LONG,
    )[0],
    "course": lambda: course(
        STEPS, CARRIED, ENERGY, spells=[(10, 30, "off")], active=0.01, alarm=20, title=LONG
    )[0],
    "course, one step": lambda: course([5], [[0.0]], [-3.0], likelihood="bernoulli")[0],
    "collapse_cuts": lambda: draw.collapse_cuts(
        V,
        {n: np.stack([1 + i * V, 1 + 2 * i * V], axis=1) for i, n in enumerate(TWELVE[:5])},
        [1.4, 0.5],
        title=LONG,
    ),
    "collapse_cuts, one": lambda: draw.collapse_cuts([0.5], {"a": [[1.0, 1.2]]}, [0.1]),
    "collapse_by_activation": lambda: draw.collapse_by_activation(
        ["tanh", "relu", "softplus", "cubic"], SHARES, traps=["relu"], title=LONG
    ),
    "collapse_by_activation, 40 rows": lambda: draw.collapse_by_activation(
        [f"activation {i}" for i in range(40)],
        {"scale 1": intervals(np.linspace(0, 1, 40)), "scale 2": intervals(np.ones(40))},
    ),
    "scoreboard": lambda: draw.scoreboard(
        [[1.0, 0.5], [np.nan, 0.0]],
        ["plain", "warm-up"],
        ["a", "b"],
        told=[[0, 0], [0, 1]],
        title=LONG,
    ),
    "scoreboard, 40 rows": lambda: draw.scoreboard(
        np.linspace(0, 1, 800).reshape(40, 20),
        [f"a cure with a long name {i}" for i in range(40)],
        [f"antipodal, α = {i}" for i in range(20)],
    ),
}
# Of the figures that have most to go wrong: the others are drawn by the slow tests.
FAST = ("basin_width, zeros", "divergences, tiny")
