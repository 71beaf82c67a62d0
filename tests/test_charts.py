"""Figures of stationary points and of hyper-parameters say what the data say."""

from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

from vaesurface import plot

draw: Any = plot  # matplotlib declares types too wide to read a figure back
# 0 and 2 join at 3, the pair and 1 at 5 over the lower of two saddles; 3 joins nothing.
MINIMA = [0.0, 2.0, 1.0, 4.0]
EDGES = [(0, 1, 6.0), (2, 1, 5.0), (0, 2, 3.0), (2, 0, 8.0)]
ALPHA = np.array([0.1, 0.01, 1.0])
V = np.linspace(0.0, 1.0, 11)


def branch(kind, loss, events=()):
    point = SimpleNamespace(loss=np.asarray(loss), kind=np.asarray(kind), gamma=10 * V)
    return SimpleNamespace(
        value=V,
        point=point,
        events=[SimpleNamespace(kind=k, value=v, loss=e) for k, v, e in events],
    )


BRANCHES = [
    branch([1] * 6 + [2] * 5, V**2, [("fold", 0.5, 0.25), ("branch point", 0.9, 0.8)]),
    branch([4] * 11, 1 - V, [("jump", 1.0, 0.0)]),
]
FOLD = SimpleNamespace(
    kind="fold",
    values=np.stack([V, V**2], axis=1),
    negative=np.repeat([0, 1], [6, 5]),
    cusps=np.array([[0.5, 0.25]]),
)
VERDICTS = plot.Verdicts(x=V[:3], y=V[::5], active=[[2, 2, 1], [2, 1, np.nan], [0, 0, 0]])
SHARES = np.tile([0.5, 0.4, 0.6], (3, 1))
WIDTH = np.ones((3, 4)) * ALPHA[:, None]
KL = np.ones((3, 2))
DRAW = {
    "index_scatter": lambda ax: draw.index_scatter([0.0, 1.0], [0, 2], [2, 1], ax),
    "disconnectivity": lambda ax: draw.disconnectivity(MINIMA, EDGES, ax, active=[2, 1, 0, 0]),
    "sigma_histogram": lambda ax: draw.sigma_histogram(np.linspace(0, 1, 50), ax),
    "bifurcation": lambda ax: draw.bifurcation(BRANCHES, ax, theory={"theory": 0.3}),
    "boundaries": lambda ax: draw.boundaries([FOLD], ax, verdicts=VERDICTS),
    "active_units": lambda ax: draw.active_units(ALPHA, KL, [2, 2, 2], ax, eigenvalues=[0.5]),
    "basin_width": lambda ax: draw.basin_width(ALPHA, ax, certified=ALPHA / 2, width=WIDTH),
    "basin_volume": lambda ax: draw.basin_volume(ALPHA, {"Adam": SHARES}, ax, scale=1.0),
    "barrier_scaling": lambda ax: draw.barrier_scaling(ALPHA, ALPHA**2, ax),
    "divergences": lambda ax: draw.divergences([0.0, 2.0], ax),
}


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize("name", DRAW)
def test_axes_are_those_given_or_new_settings_stay_and_nothing_is_cut(name):
    before = mpl.rcParams.copy()
    with plt.style.context("default"):
        given = plt.figure().add_subplot()
        assert DRAW[name](given) is given
    new = DRAW[name](None)
    assert new is not given and new.figure.get_figwidth() == plot.COLUMN
    assert mpl.rcParams.copy() == before
    with plot.style():
        new.figure.canvas.draw()
    page = new.figure.bbox
    for artist in filter(None, [new.xaxis.label, new.yaxis.label, new.get_legend()]):
        box = artist.get_window_extent()
        assert box.x0 >= page.x0 and box.x1 <= page.x1 + 1
        assert box.y0 >= page.y0 and box.y1 <= page.y1 + 1


def test_an_index_scatter_places_points_above_the_best_and_colors_them_by_count():
    ax = draw.index_scatter([-5.0, np.inf, -3.0], [0, 1, 2], [3, 1, 0], best=-6.0)
    drawn = ax.collections[0]
    np.testing.assert_array_equal(drawn.get_offsets(), [[1, 0], [3, 2]])
    np.testing.assert_array_equal(drawn.get_array(), [3, 0])
    assert list(drawn.colorbar.get_ticks()) == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="expected finite energies, got none"):
        draw.index_scatter([np.nan], [0], [0])


def test_a_tree_joins_minima_at_the_lowest_saddle_between_them():
    ax = draw.disconnectivity([m - 7 for m in MINIMA], [(i, j, e - 7) for i, j, e in EDGES])
    lines = [line.get_xydata() for line in ax.lines if len(line.get_xydata()) == 2]
    flat = {line[0, 1]: np.ptp(line[:, 0]) for line in lines if line[0, 1] == line[1, 1]}
    assert sorted(flat) == [3.0, 5.0]  # the joins, above the lowest minimum
    stems = {(line[0, 0], line[0, 1]): line[1, 1] for line in lines if line[0, 0] == line[1, 0]}
    # Leaves from the left: 0, 2, 1, then 3, which stays apart; feet at energies, tops at joins.
    top = ax.get_ylim()[1]
    expected = {(0, 0): 3, (1, 1): 3, (2, 2): 5, (3, 4): top, (0.5, 3): 5, (1.25, 5): top}
    assert stems == expected


def test_leaves_of_a_tree_are_colored_by_count_and_tiny_barriers_are_written():
    minima, edges = [0.0, 3.0], [(0, 1, 3.0 + 1e-6)]
    ax = draw.disconnectivity(minima, edges, active=[2, 0], labels=["best", "collapsed"])
    assert [text.get_text() for text in ax.texts] == ["best", "collapsed, barrier 1e-06"]
    dots = [line for line in ax.lines if len(line.get_xydata()) == 1]
    assert [tuple(dot.get_xydata()[0]) for dot in dots] == [(0, 0), (1, 3)]
    assert dots[0].get_markerfacecolor() != dots[1].get_markerfacecolor()
    ax.figure.canvas.draw()
    for text in ax.texts:
        assert text.get_window_extent().y0 >= ax.bbox.y0 - 1
    assert min(ax.get_yticks()) >= 0
    many = [*minima, *np.arange(4.0, 20.0)]
    ax = draw.disconnectivity(many, [*edges, (2, 3, 5.0), (3, 4, 6.0 + 1e-6)], scale="symlog")
    assert [text.get_text() for text in ax.texts if text.get_text()] == [
        "3 barriers too low to be seen"
    ]


def test_a_tree_of_many_scales_shows_them_on_the_symlog_axis():
    ax = draw.disconnectivity([0.0, 1e-4, 5.0], [(0, 1, 1e-3), (1, 2, 8.0)], scale="symlog")
    heights = ax.transData.transform([(0, 0), (0, 1e-4), (0, 1e-3), (0, 8.0)])[:, 1]
    assert np.all(np.diff(heights) > 0.05 * ax.bbox.height) and heights[-1] < ax.bbox.y1
    assert not any(0 < tick < 1e-4 for tick in ax.get_yticks())


def test_a_tree_refuses_what_is_none():
    with pytest.raises(
        ValueError, match="expected a saddle above the minima 0 and 1, got energy 1; check"
    ):
        draw.disconnectivity(MINIMA, [(0, 1, 1.0)])
    with pytest.raises(ValueError, match="expected finite energies of minima, got"):
        draw.disconnectivity([0.0, -np.inf], [])
    with pytest.raises(ValueError, match="'linear' or 'symlog', got 'log'"):
        draw.disconnectivity(MINIMA, EDGES, scale="log")


@pytest.mark.parametrize("log", [False, True])
def test_a_histogram_of_sigma_counts_everything_and_shows_the_mass_at_one(log):
    sets = {"few": np.array([0.1, 0.2, 1.0, 0.999]), "many": np.array([[1.001, 1.0], [7.0, 0.5]])}
    ax = draw.sigma_histogram(sets, log=log)
    assert legend_texts(ax) == ["few, 50 % within 0.025 of 1", "many, 50 % within 0.025 of 1"]
    for patch in ax.patches:
        values, edges, foot = patch.get_data()
        at_one = values[np.searchsorted(edges, 1.0) - 1]
        assert np.ptp(edges[np.abs(edges - 1) < 0.04]) == pytest.approx(0.05)
        assert at_one == (2 if log else 50)
        assert values[values > foot].sum() == (4 if log else 100)
    assert ax.get_yscale() == ("log" if log else "linear")
    with pytest.raises(ValueError, match="expected finite standard deviations of none, got none"):
        draw.sigma_histogram({"none": [np.nan]})


def test_a_bifurcation_diagram_is_solid_at_minima_only_and_marks_events():
    ax = draw.bifurcation(BRANCHES, labels=["first", "second"], theory={"limit": 0.3})
    curves = [
        line for line in ax.lines if line.get_marker() == "None" and len(line.get_xdata()) > 2
    ]
    solid, dashed, other = curves
    assert solid.get_linestyle() == "-" and dashed.is_dashed() and other.is_dashed()
    # To the first that is none: no gap.
    np.testing.assert_allclose(solid.get_xydata(), np.stack([V, V**2], axis=1)[:7])
    np.testing.assert_allclose(dashed.get_xydata(), np.stack([V, V**2], axis=1)[6:])
    assert solid.get_color() == dashed.get_color() != other.get_color()
    events = {
        line.get_marker(): tuple(line.get_xydata()[0])
        for line in ax.lines
        if len(line.get_xydata()) == 1
    }
    assert events == {">": (0.5, 0.25), "o": (0.9, 0.8), "v": (1.0, 0.0)}
    lines = ["first", "second", "minimum", "not a minimum"]
    assert legend_texts(ax) == [*lines, "fold", "branch point", "jump"]
    ax.figure.canvas.draw()
    (text,) = ax.texts
    assert text.get_text() == "limit"
    assert text.get_window_extent().y0 > ax.transData.transform((0, 1.0))[1]  # above every curve
    with pytest.raises(ValueError, match="expected at least one branch, got none"):
        draw.bifurcation([])


def test_a_bifurcation_diagram_of_another_quantity_moves_events_along():
    ax = draw.bifurcation(BRANCHES[:1], quantity=lambda point: point.gamma, ylabel="γ")
    events = [tuple(line.get_xydata()[0]) for line in ax.lines if len(line.get_xydata()) == 1]
    np.testing.assert_allclose(events, [(0.5, 5.0), (0.9, 9.0)])
    assert ax.get_ylabel() == "γ"


def test_boundaries_are_heavy_where_a_minimum_is_lost_and_lie_over_a_grids_verdicts():
    ax = draw.boundaries([FOLD], verdicts=VERDICTS)
    heavy, light, cusp = ax.lines
    np.testing.assert_array_equal(heavy.get_xydata(), FOLD.values[:7])
    np.testing.assert_array_equal(light.get_xydata(), FOLD.values[6:])
    assert heavy.get_linewidth() > light.get_linewidth()
    np.testing.assert_array_equal(cusp.get_xydata(), FOLD.cusps)
    (cells,) = ax.collections
    np.testing.assert_array_equal(cells.get_array().filled(-1), [[2, 2, 1], [2, 1, -1], [0, 0, 0]])
    assert list(cells.colorbar.get_ticks()) == [0, 1, 2]
    assert ax.patch.get_hatch()  # as a cell is unknown
    assert legend_texts(ax) == ["a minimum ends (fold)", "saddles end (fold)", "cusp"]
    with pytest.raises(ValueError, match="expected at least one boundary, got none"):
        draw.boundaries([])


def test_active_units_are_sorted_by_gamma_and_by_divergence():
    kl = np.array([[0.0, 1.0], [3.0, 2.0], [0.0, 0.0]])
    ax = draw.active_units(ALPHA, kl, [1, 2, 0], eigenvalues=[0.2, 0.5])
    curves, dotted = ax.lines[:2], ax.lines[2:]
    assert [line.get_xdata()[0] for line in dotted] == [0.2, 0.5]
    assert dotted[0].get_linestyle() == ":"
    np.testing.assert_array_equal([line.get_ydata() for line in curves], [[3, 1, 0], [2, 0, 0]])
    np.testing.assert_array_equal(curves[0].get_xdata(), [0.01, 0.1, 1])
    (right,) = [other for other in ax.figure.axes if other is not ax]
    np.testing.assert_array_equal(right.lines[0].get_ydata(), [2, 1, 0])
    assert legend_texts(ax) == ["KL of each latent", "active latents", "eigenvalues of the data"]


def test_widths_of_a_basin_are_the_least_a_band_and_two_curves():
    width = np.array([[1.0, 2.0, 9.0], [0.1, 0.2, np.inf], [np.nan, np.nan, np.nan]])
    ax = draw.basin_width(ALPHA, certified=ALPHA / 2, width=width, saddle=2 * ALPHA)
    least, saddle, certified = ax.lines
    np.testing.assert_allclose(least.get_xydata(), [[0.01, 0.1], [0.1, 1.0], [1.0, np.nan]])
    np.testing.assert_allclose(saddle.get_ydata(), [0.02, 0.2, 2.0])
    np.testing.assert_allclose(certified.get_ydata(), [0.005, 0.05, 0.5])
    assert certified.is_dashed() and certified.get_color() == "k"
    assert ax.get_xscale() == ax.get_yscale() == "log"
    corners = np.concatenate([path.vertices for path in ax.collections[0].get_paths()])
    expected = {(0.01, 0.1), (0.01, 0.2), (0.1, 1.0), (0.1, 9.0)}
    assert {tuple(row) for row in np.round(corners, 12)} == expected
    assert legend_texts(ax) == [
        "least measured width",
        "up to the largest",
        "nearest saddle",
        "certified radius",
    ]


def test_volumes_are_shares_with_intervals_side_by_side():
    shares = {
        "flow": [[0.2, 0.1, 0.3], [0.5, 0.4, 0.7], [1, 0.9, 1]],
        "Adam": np.tile([0.0, 0.0, 0.1], (3, 1)),
    }
    ax = draw.basin_volume([1.0, 0.1, 0.01], shares, scale=0.3)
    flow, adam = (container.lines[0].get_xydata() for container in ax.containers)
    # In ascending order of alpha.
    np.testing.assert_allclose(flow, [[-0.15, 1.0], [0.85, 0.5], [1.85, 0.2]])
    np.testing.assert_allclose(adam[:, 1], 0.0)
    segments = np.array(ax.containers[0].lines[2][0].get_segments())[:, :, 1]
    np.testing.assert_allclose(segments, [[0.9, 1.0], [0.4, 0.7], [0.1, 0.3]])
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0.01", "0.1", "1"]
    assert legend_texts(ax) == ["flow", "Adam"]


def test_barriers_are_divided_by_alpha_squared_with_their_errors():
    ax = draw.barrier_scaling(ALPHA, 0.01 * ALPHA**2, error=0.001 * ALPHA**2, limit=0.01133)
    curve = ax.lines[0]
    np.testing.assert_allclose(curve.get_xydata(), [[0.01, 0.01], [0.1, 0.01], [1, 0.01]])
    segments = np.array(ax.containers[0].lines[2][0].get_segments())
    np.testing.assert_allclose(segments[:, :, 1], np.tile([0.009, 0.011], (3, 1)))
    (limit,) = [line for line in ax.lines if line.is_dashed()]
    assert limit.get_ydata()[0] == 0.01133 and legend_texts(ax)[-1] == "limit for α → 0: 0.01133"
