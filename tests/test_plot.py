"""Slices, phase diagrams and spectra say what the data say, read back from the axes."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from matplotlib import pyplot as plt

from vaesurface import plot, stationary
from vaesurface.marks import KINDS, UNIT
from vaesurface.plot import Mark, Track
from vaesurface.plot.canvas import readable

draw: Any = plot  # matplotlib declares types too wide to read a figure back
DIMS = ("alpha", "scale", "seed")
X = np.linspace(-1.0, 3.0, 41)
LINE = SimpleNamespace(distance=X, energy=(X * (X - 2)) ** 2 - 7, length=2.0)
Y = np.linspace(-1.0, 2.0, 31)
PLANE = SimpleNamespace(
    x=X,
    y=Y,
    energy=LINE.energy + Y[:, None] ** 2,
    points=np.array([[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]),
)
MARKS = [
    Mark(0, -7, "left", 1),
    Mark(2, -7, "right", 1),
    Mark(1, -6, "pass", 2),
    Mark(1.5, -6.5, "far", 4, 0.25),
]
TRACK = Track(np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.5]]), "a run", 0.25)
AHEAD = np.linspace(0.0, 2.0, 21)
PATH = SimpleNamespace(distance=AHEAD, loss=(AHEAD * (AHEAD - 2)) ** 2 - 7)
SPECTRUM = [-2.0, -1e-3, -1e-3, *np.zeros(24), *np.geomspace(1e-4, 1e3, 30)]


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def runs(**changes):
    """Two by two cells of four runs: 1, 4, 0 and 2 collapsed, one of the last cell's not
    stationary.
    """
    collapsed = np.array([[[1, 0, 0, 0], [1, 1, 1, 1]], [[0, 0, 0, 0], [1, 1, 1, 0]]], dtype=bool)
    kind = np.full(collapsed.shape, 1)
    kind[1, 1, 0] = 0
    variables = {"theory_collapsed": (DIMS, collapsed), "kind": (DIMS, kind)} | changes
    attrs = {"optimizer": "Adam, 10 steps", "data": "digits 4×4, n = 60, 2 latents"}
    return xr.Dataset(
        variables, coords={"alpha": [0.0, 0.25], "scale": [0.1, 1.0], "seed": range(4)}, attrs=attrs
    )


def texts(ax):
    return [text.get_text() for text in ax.texts]


def legend_texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def cells(ax):
    """Texts by column and row."""
    return {tuple(int(v) for v in text.get_position()): text.get_text() for text in ax.texts}


DRAW = {
    "phase_diagram": lambda ax: draw.phase_diagram(runs(), ax),
    "segment": lambda ax: draw.segment(LINE, ax, marks=MARKS),
    "plane": lambda ax: draw.plane(PLANE, ax, marks=MARKS),
    "spectrum": lambda ax: draw.spectrum(SPECTRUM, ax, inertia=(3, 24, 30)),
    "field": lambda ax: draw.field(PLANE, PLANE.energy, ax, label="energy", marks=MARKS),
    "eigenvalue_map": lambda ax: draw.eigenvalue_map(PLANE, PLANE.energy, ax, tracks=[TRACK]),
    "path_profile": lambda ax: draw.path_profile(PATH, ax, barrier=1.0),
}


@pytest.mark.parametrize("name", DRAW)
def test_axes_are_those_given_or_new_and_settings_stay(name):
    before = mpl.rcParams.copy()
    with plt.style.context("default"):
        given = plt.figure().add_subplot()
        assert DRAW[name](given) is given
    new = DRAW[name](None)
    assert new is not given and new.figure.get_figwidth() == plot.COLUMN
    assert new.xaxis.label.get_size() == 8 and new.get_xlabel() and new.get_ylabel()
    new.figure.canvas.draw()
    assert mpl.rcParams.copy() == before


@pytest.mark.parametrize("order", [DIMS, ("seed", "scale", "alpha")])
def test_a_phase_diagram_counts_runs(order):
    ds = runs().transpose(*order).isel(alpha=[1, 0])
    ax = draw.phase_diagram(ds, note="γ learned")
    assert cells(ax) == {(0, 0): "1/4", (0, 1): "4/4", (1, 0): "0/4", (1, 1): "2/4\n1 ns"}
    np.testing.assert_array_equal(ax.collections[0].get_array(), [[0.25, 0], [1, 0.5]])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "0.25"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0.1", "1"]
    assert ax.get_title() == "Adam, 10 steps\ndigits 4×4, n = 60, 2 latents"
    below = ax.collections[0].colorbar.ax
    assert below.get_xlabel() == "probability of collapse"
    caption = below.texts[0].get_text().replace("\n", " ")
    assert caption == "c/m: c of m runs ended collapsed; ns: did not end stationary; γ learned"


def test_a_phase_diagram_of_a_store_names_its_data_and_prints_no_digest():
    told = {"source": "/somewhere/digits-4x4", "rows": 200, "optimizer": "Adam, 10 steps"}
    ds = runs().assign_attrs(data="0f" * 32, config=json.dumps(told))
    del ds.attrs["optimizer"]
    assert draw.phase_diagram(ds).get_title() == "Adam, 10 steps\ndigits-4x4, n = 200"
    ds.attrs["config"] = "{}"
    assert draw.phase_diagram(ds).get_title() == ""


def test_a_theory_line_runs_through_its_scales_on_the_cells():
    alpha = [0.0, 0.01, 0.1]
    shape = (DIMS, np.ones((3, 2, 1)))
    ds = xr.Dataset(
        {"kind": shape, "theory_collapsed": shape},
        {"alpha": alpha, "scale": [0.1, 1.0], "seed": [0]},
    )
    places = np.array(
        [[0.0, 0.0], [0.005, 0.1], [0.01, 1.0], [np.sqrt(1e-3), np.sqrt(0.1)], [1.0, 0.1]]
    )
    ax = draw.phase_diagram(ds, theory=places, theory_label="certified")
    (line,) = ax.lines
    np.testing.assert_allclose(
        line.get_xydata(), [[0, np.nan], [0.5, 0], [1, 1], [1.5, 0.5], [3, 0]], atol=1e-12
    )
    assert line.get_color() == "k" and line.is_dashed() and ax.get_xlim() == (-0.5, 2.5)
    assert legend_texts(ax) == ["certified"]
    with pytest.raises(ValueError, match="expected at least two values a side to draw a line"):
        draw.phase_diagram(ds.isel(scale=[0]), theory=places)


def luminance(color):
    """Of WCAG 2.1."""
    rgb = np.array(mpl.colors.to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_text_is_readable_on_every_color():
    for color in mpl.colormaps[plot.COLORS](np.linspace(0, 1, 50)):
        dark, light = sorted([luminance(color[:3]), luminance(readable(color))])
        assert (light + 0.05) / (dark + 0.05) > 4.5


@pytest.mark.parametrize("how", ["computed", "nan"])
def test_cells_without_runs_are_empty_and_partial_ones_say_so(how):
    computed = np.ones((2, 2, 4), dtype=bool)
    computed[0, 0], computed[0, 1, 2:] = False, False
    if how == "computed":
        ds = runs(computed=(DIMS, computed))
    else:
        ds = runs().where(xr.DataArray(computed, dims=DIMS))
    ax = draw.phase_diagram(ds)
    assert cells(ax) == {(0, 1): "2/2", (1, 0): "0/4", (1, 1): "2/4\n1 ns"}
    assert ax.collections[0].get_array().mask.tolist() == [[True, False], [False, False]]
    caption = ax.collections[0].colorbar.ax.texts[0].get_text()
    assert ax.patch.get_hatch() and "hatched: not computed" in caption


def test_nothing_computed_at_all_draws_an_empty_grid():
    ax = draw.phase_diagram(runs(computed=(DIMS, np.zeros((2, 2, 4), dtype=bool))))
    assert not ax.texts and ax.collections[0].get_array().mask.all()
    ax.figure.canvas.draw()


def test_many_cells_keep_their_counts_apart():
    n = 14
    alpha, scale = np.geomspace(1e-3, 1, n).round(4), np.geomspace(0.01, 2, 3)
    kind = (DIMS, np.ones((n, 3, 16), dtype=int))
    collapsed = (DIMS, np.ones((n, 3, 16), dtype=bool))
    ax = draw.phase_diagram(
        xr.Dataset({"kind": kind, "theory_collapsed": collapsed}, {"alpha": alpha, "scale": scale})
    )
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in [*ax.texts, *ax.get_xticklabels()]]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def test_a_phase_diagram_refuses_other_dims():
    with pytest.raises(
        ValueError, match=r"expected kind with dims .* got \('alpha', 'scale'\); select"
    ):
        draw.phase_diagram(runs().isel(seed=0))


@pytest.mark.parametrize("scale", ["linear", "symlog"])
def test_a_segment_starts_at_the_best_energy(scale):
    ax = draw.segment(LINE, marks=[*MARKS, Mark(0.5, float("nan"), "read off", 0)], scale=scale)
    assert ax.get_yscale() == scale and ax.get_ylim()[0] < 0
    x, y = ax.lines[2].get_data()  # after the two ends
    assert np.all(np.diff(x) >= 0) and y.min() == 0
    np.testing.assert_allclose(y, (x * (x - 2)) ** 2, atol=1e-12)
    assert [line.get_xdata()[0] for line in ax.lines[:2]] == [0, 2]
    drawn = [tuple(line.get_xydata()[0]) for line in ax.lines[3:]]
    np.testing.assert_allclose(
        drawn, [(0, 0), (2, 0), (1, 1), (1.5, 0.5), (0.5, 0.5625)], atol=1e-3
    )


def test_a_mark_shows_a_basin_that_the_line_steps_over():
    ax = draw.segment(LINE, marks=[Mark(0.512, -20.0, "needle", 1)])
    x, y = ax.lines[2].get_data()
    assert x[y.argmin()] == 0.512 and y.min() == 0 and np.sort(y)[1] == 13


def test_steep_margins_are_cut_on_the_linear_scale_only():
    line = SimpleNamespace(distance=X, energy=LINE.energy + 1e4 * np.maximum(X - 2, 0), length=2.0)
    assert draw.segment(line).get_ylim()[1] < 2
    assert draw.segment(line, scale="symlog").get_ylim()[1] > 1e4


def test_a_segment_may_have_holes_but_not_only_holes():
    broken = np.where(X > 1, np.where(X > 2, np.inf, np.nan), LINE.energy)
    ax = draw.segment(SimpleNamespace(distance=X, energy=broken, length=2.0), marks=MARKS)
    assert np.isnan(ax.lines[2].get_ydata()).sum() == (X > 1).sum()
    with pytest.raises(ValueError, match="expected finite energies, got none"):
        draw.segment(SimpleNamespace(distance=X, energy=0 * X + np.nan, length=2.0))
    with pytest.raises(ValueError, match="'linear' or 'symlog', got 'log'"):
        draw.segment(LINE, scale="log")


def test_a_plane_has_equal_axes_and_levels_from_the_best():
    ax = draw.plane(PLANE, best=-7.5, marks=MARKS, unit=UNIT, xlabel="distance along a")
    assert ax.get_aspect() == 1 and ax.get_xlabel() == "distance along a"
    levels = ax.collections[0].levels
    assert levels[0] == 0 and np.all(np.diff(levels) > 0) and len(levels) > 8
    assert 2.5 <= levels[-1] < 4
    bar = ax.collections[0].colorbar
    assert bar.ax.get_xlabel() == "energy above the best (2 × nats / datum)" and bar.extend == "max"


def test_marks_differ_by_kind_and_say_how_far_off_they_are():
    marks = [Mark(0.5, 0, look.name, kind) for kind, look in KINDS.items()]
    ax = draw.plane(PLANE, marks=[*marks, Mark(1.5, 0.5, "far", 2, 0.2468)])
    *on, off = ax.lines[1:]  # after the three points
    assert len({line.get_marker() for line in on}) == len(KINDS)
    assert len({line.get_color() for line in on}) == len(KINDS)
    assert off.get_marker() == on[2].get_marker()
    assert off.get_markerfacecolor() == "none" != on[2].get_markerfacecolor()
    assert texts(ax)[-1] == "far\n(0.25 off)"
    assert legend_texts(ax) == [*(look.name for look in KINDS.values()), "hollow: off the plane"]
    ax.figure.canvas.draw()
    assert ax.get_legend().get_window_extent().y0 >= ax.bbox.y1


def test_every_kind_of_point_has_its_look():
    names = {kind: kind.name.lower().replace("_", " ") for kind in stationary.Kind}
    assert names == {code: look.name for code, look in KINDS.items()}


def test_labels_overlap_no_mark_and_no_label():
    spots = [(0, 0), (0.1, 0), (0.2, 0.1), (2, 0), (2.9, 1.9), (-0.9, -0.9)]
    ax = draw.plane(PLANE, marks=[Mark(x, y, "local minimum", 1) for x, y in spots])
    ax.figure.canvas.draw()
    boxes = [mpl.text.Text.get_window_extent(text) for text in ax.texts]
    places = ax.transData.transform(spots)
    boxes += [mpl.transforms.Bbox([place - 5, place + 5]) for place in places]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes[:6]) for b in boxes[i + 1 :])


@pytest.mark.parametrize("holes", [X < 0, X > 2.5])
def test_a_plane_may_have_holes_and_marks_outside_the_grid(holes):
    energy = np.where(holes, np.inf, PLANE.energy)
    energy[0] = np.nan
    flawed = SimpleNamespace(x=X, y=Y, energy=energy, points=PLANE.points)
    ax = draw.plane(flawed, marks=[Mark(5.0, -2.0, "outside", 1)])
    assert ax.get_xlim() == (-1, 5) and ax.get_ylim() == (-2, 2) and ax.patch.get_hatch()
    ax.figure.canvas.draw()
    flawed.energy = np.full(energy.shape, np.nan)
    with pytest.raises(ValueError, match="expected finite energies, got none"):
        draw.plane(flawed)


@pytest.mark.parametrize(
    "height", [0.0 * X, np.where(X == X[0], 1.0, 0.0), 1e8 * (X - 0.5) ** 8, -1e-3 * X**2]
)
def test_levels_ascend_on_any_surface(height):
    energy = height + 0 * Y[:, None]
    ax = draw.plane(SimpleNamespace(x=X, y=Y, energy=energy, points=PLANE.points))
    assert np.all(np.diff(ax.collections[0].levels) > 0)


def test_a_track_marks_its_start_and_says_how_far_off_its_end_is():
    ax = draw.plane(PLANE, tracks=[TRACK], marks=MARKS[:1])
    way, start, end = ax.lines[1:4]
    np.testing.assert_array_equal(way.get_xydata(), TRACK.points)
    assert tuple(start.get_xydata()[0]) == (0, 0) and tuple(end.get_xydata()[0]) == (2, 0.5)
    assert end.get_markerfacecolor() == "none" != start.get_markerfacecolor()
    assert legend_texts(ax) == ["minimum", "a run", "start", "end (0.25 off the plane)"]
    on = draw.plane(PLANE, tracks=[TRACK._replace(residual=0.0)])
    assert on.lines[3].get_markerfacecolor() != "none"
    assert legend_texts(on) == ["a run", "start", "end"]


def test_images_of_a_path_are_all_dots_and_none_is_outside():
    images = TRACK._replace(points=np.array([[0.0, 0.0], [4.0, 1.0], [2.0, 3.0]]), images=True)
    ax = draw.plane(PLANE, tracks=[images])
    dots = ax.lines[2]
    assert dots.get_marker() == "o" and dots.get_linestyle() == "None"
    np.testing.assert_array_equal(dots.get_xydata(), images.points)
    assert ax.get_xlim() == (-1, 4) and ax.get_ylim() == (-1, 3)


def test_a_plane_through_one_point_has_levels_that_hold_most_of_it():
    one = SimpleNamespace(x=X, y=Y, energy=PLANE.energy, points=np.zeros((1, 2)))
    ax = draw.plane(one)
    assert ax.get_xlabel() == "distance along the first direction"
    assert ax.get_ylabel() == "distance across it"
    height = PLANE.energy - PLANE.energy.min()
    assert 0.85 < np.mean(height <= ax.collections[0].levels[-1]) < 1


def test_a_field_shows_its_values_on_the_scale_asked_for():
    values = np.exp(PLANE.energy)
    values[0, 0], values[1, 1] = np.nan, -1.0
    mesh = draw.field(PLANE, values, label="γ", scale="log").collections[0]
    assert isinstance(mesh.norm, mpl.colors.LogNorm) and mesh.colorbar.ax.get_xlabel() == "γ"
    shown = mesh.get_array()
    assert shown.mask[0, 0] and shown.mask[1, 1] and shown.mask.sum() == 2
    np.testing.assert_array_equal(shown.compressed(), values[~shown.mask])
    count = draw.field(PLANE, np.floor(X % 3) + 0 * Y[:, None], label="active", scale="count")
    bar = count.collections[0].colorbar
    assert list(bar.get_ticks()) == [0, 1, 2]
    assert len({bar.cmap(bar.norm(v)) for v in (0, 1, 2)}) == 3
    with pytest.raises(ValueError, match="expected finite positive values, got none on the plane"):
        draw.field(PLANE, -np.exp(PLANE.energy), label="γ", scale="log")
    with pytest.raises(ValueError, match="expected scale 'linear', 'log' or 'count', got 'symlog'"):
        draw.field(PLANE, values, label="γ", scale="symlog")


@pytest.mark.parametrize(("low", "high"), [(0.0137, 0.038), (0.9, 1.2), (1e-9, 3.0), (2e-3, 0.7)])
def test_logarithmic_color_bars_have_ticks_however_narrow(low, high):
    values = np.broadcast_to(np.geomspace(low, high, X.size), PLANE.energy.shape)
    ax = draw.field(PLANE, values, label="γ", scale="log")
    ticks = ax.collections[0].colorbar.get_ticks()
    assert 2 <= len(ticks) <= 7 and np.all(np.diff(ticks) > 0)
    assert low <= ticks.min() and ticks.max() <= high


def test_an_eigenvalue_map_has_opposite_colors_and_a_line_where_the_sign_changes():
    values = np.broadcast_to(X - 1.02, PLANE.energy.shape)
    ax = draw.eigenvalue_map(PLANE, values)
    mesh, line = ax.collections
    norm, cmap = mesh.norm, mesh.cmap
    assert norm(0.0) == pytest.approx(0.5) and norm(-1.0) + norm(1.0) == pytest.approx(1.0)
    red, blue = cmap(norm(-1.0)), cmap(norm(1.0))
    assert red[0] > red[2] and blue[2] > blue[0]
    where = np.concatenate([path.vertices for path in line.get_paths()])
    np.testing.assert_allclose(where[:, 0], 1.05, atol=1e-12)  # between the cells at 1.0 and 1.1
    assert "smallest Hessian eigenvalue" in mesh.colorbar.ax.get_xlabel()


def test_flat_eigenvalues_count_as_zero_and_draw_no_line():
    noise = 1e-12 * np.random.default_rng(0).normal(size=PLANE.energy.shape)
    ax = draw.eigenvalue_map(PLANE, noise, flat=1e-11)
    assert len(ax.collections) == 1 and not ax.collections[0].get_array().any()
    assert len(draw.eigenvalue_map(PLANE, noise).collections) == 2
    with pytest.raises(ValueError, match="expected finite eigenvalues, got none"):
        draw.eigenvalue_map(PLANE, np.nan * noise)


def test_a_path_profile_starts_at_zero_and_says_its_barrier():
    marks = [Mark(0, -7, "left", 1), Mark(1, np.nan, "pass", 2)]
    ax = draw.path_profile(PATH, marks=marks, barrier=1.0, error=0.012)
    curve = ax.lines[1]
    x, y = curve.get_data()
    assert y[0] == 0 and curve.get_marker() == "o" and len(x) == 21
    np.testing.assert_allclose(y, (x * (x - 2)) ** 2, atol=1e-12)
    assert "barrier 1 ± 0.012" in texts(ax)
    (bar,) = ax.containers
    (segment,) = bar.lines[2][0].get_segments()
    np.testing.assert_allclose(segment, [[1, 1 - 0.012], [1, 1 + 0.012]])
    assert legend_texts(ax) == ["minimum", "saddle"]


def test_a_low_barrier_next_to_a_deep_basin_is_seen_on_the_symlog_scale():
    x = np.concatenate([np.linspace(0, 0.02, 11), [0.1, 1.0, 3.0]])
    y = np.concatenate([1e-6 * np.sin(np.pi * np.linspace(0, 1, 11)), [-1e-3, -1.0, -40.0]])
    ax = draw.path_profile(SimpleNamespace(distance=x, loss=y), barrier=1e-6, scale="symlog")
    ax.figure.canvas.draw()
    (_, zero), (at, top), (end, _) = ax.transData.transform([(0, 0), (0.01, 1e-6), (3.0, -40.0)])
    assert (top - zero) > 0.08 * ax.bbox.height and (at - ax.bbox.x0) > 0.2 * (end - ax.bbox.x0)
    with pytest.raises(ValueError, match="'linear' or 'symlog', got 'log'"):
        draw.path_profile(PATH, scale="log")
    with pytest.raises(ValueError, match="expected finite energies, got none"):
        draw.path_profile(SimpleNamespace(distance=x, loss=np.nan * y))


@pytest.mark.parametrize(
    ("values", "inertia", "summary"),
    [
        (SPECTRUM, (3, 24, 30), "index 3, 24 flat, 30 positive"),
        (SPECTRUM[27:], np.array([0, 0, 30]), "index 0, 0 flat, 30 positive"),
        (SPECTRUM[:3], (3, 0, 0), "index 3, 0 flat, 0 positive"),
        (np.zeros(5), (0, 5, 0), "index 0, 5 flat, 0 positive"),
    ],
)
def test_a_spectrum_says_its_inertia_and_shows_every_eigenvalue(values, inertia, summary):
    ax = draw.spectrum(values[::-1], inertia=inertia, title="collapsed")
    assert ax.get_title() == f"collapsed\n{summary}"
    ticks = [line.get_xdata() for line in ax.lines]
    assert tuple(len(part) for part in ticks) == tuple(inertia)
    np.testing.assert_array_equal(np.concatenate(ticks), np.sort(values))
    bars = [np.round(patch.get_data().values).astype(int) for patch in ax.patches]
    floor = [np.isclose(patch.get_data().values, patch.get_data().baseline) for patch in ax.patches]
    total = [count[~empty].sum() for count, empty in zip(bars, floor, strict=True)]
    assert total == list(inertia)
    left, right = ax.get_xlim()
    assert left < min(values) and max(values) < right
    ax.figure.canvas.draw()


@pytest.mark.parametrize(
    ("values", "inertia"),
    [([1.0], (0, 0, 2)), ([1.0, np.nan], (0, 0, 2)), ([-1.0, 1.0], (0, 0, 2)), ([1.0], (1, 0, 0))],
)
def test_a_spectrum_refuses_an_inertia_that_is_not_its_own(values, inertia):
    with pytest.raises(ValueError, match="expected finite eigenvalues and their inertia, got"):
        draw.spectrum(values, inertia=inertia)


def test_importing_the_module_loads_no_jax():
    code = "import sys, vaesurface.plot; assert not {'jax', 'xarray', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
