"""What every figure keeps, on ordinary and on awkward data: nothing is cut off or covered, nothing
is promised that is not drawn, nothing is left outside the axes.
"""

import numpy as np
import pytest
from figures import FAST, FIGURES, GAMMA, KL, LINE, LONE, PATH, PLANE
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text

from vaesurface import data, diagnose, plot
from vaesurface.cli.diagnosis import _axes
from vaesurface.diagnose.terms import ACTIVE_NATS
from vaesurface.experiments.study import Setting

# Figures that show less than all of their data by design: margins beyond the ends of a segment,
# thresholds that no data have.
CUT = ("segment", "collapse_cuts", "phase_diagram, line outside", "sigma_histogram")
NOTHING = (None, "None", "")


@pytest.fixture(
    scope="module",
    params=[
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in FIGURES
    ],
)
def figure(request):
    """Its name, and the figure laid out as when it is saved."""
    ax = FIGURES[request.param]()
    with plot.style():
        ax.figure.canvas.draw()
    yield request.param, ax.figure
    plt.close(ax.figure)


def texts(figure):
    """All texts that are drawn: no labels of ticks beyond the limits."""
    beyond = set()
    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        low, high = sorted(axis.get_view_interval())
        slack = 1e-9 * (abs(low) + abs(high))
        for tick in [*axis.get_major_ticks(), *axis.get_minor_ticks()]:
            if not low - slack <= tick.get_loc() <= high + slack:
                beyond |= {tick.label1, tick.label2}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_text().strip() and text.get_visible() and text not in beyond
    ]


def box(text):
    """Its own, without the arrow of an annotation."""
    return Text.get_window_extent(text)


def test_all_texts_are_inside_the_column(figure):
    name, drawn = figure
    assert drawn.get_figwidth() == plot.COLUMN == 3.3
    page = drawn.bbox.padded(1.0)
    for text in texts(drawn):
        own = box(text)
        inside = page.x0 <= own.x0 and own.x1 <= page.x1 and page.y0 <= own.y0 and own.y1 <= page.y1
        assert inside, (name, text.get_text(), own, page)


def test_no_two_texts_overlap(figure):
    name, drawn = figure
    written = texts(drawn)
    boxes = np.array([box(text).padded(-1.0).extents for text in written]).reshape(-1, 4)
    low = np.maximum(boxes[:, None, :2], boxes[:, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[:, 2:])
    pairs = np.argwhere(np.triu((low < high).all(axis=-1), 1))
    assert not len(pairs), (name, [[written[i].get_text() for i in pair] for pair in pairs])


def test_a_legend_names_only_what_is_drawn(figure):
    name, drawn = figure
    legends = [axes.get_legend() for axes in drawn.axes if axes.get_legend()]
    for handle in (handle for legend in legends for handle in legend.legend_handles):
        label = handle.get_label()
        assert any(is_drawn(handle, axes) for axes in drawn.axes), (name, label)


def is_drawn(handle, axes):
    """Whether something in the axes has the look of a legend's handle."""
    if not isinstance(handle, Line2D):
        return bool(axes.patches or axes.collections or axes.patch.get_hatch())
    marker, style = handle.get_marker(), handle.get_linestyle()
    if marker == "o" and any(len(dots.get_offsets()) for dots in axes.collections):
        return True
    if marker == "s" or (marker in NOTHING and style == "-"):
        colors = [color for patch in axes.patches for color in edge_and_face(patch)]
        if any(has_color(handle, color) for color in colors):
            return True
    return any(is_like(line, marker, style, handle) for line in axes.lines)


def edge_and_face(patch):
    return patch.get_edgecolor(), patch.get_facecolor()


def is_like(line, marker, style, handle):
    """Whether a line has a handle's marker or style and its color, and is seen within its axes."""
    points = line.get_transform().transform(np.column_stack(line.get_data()).astype(float))
    seen = inside(points, line.axes.bbox.padded(2.0))
    if marker not in NOTHING:
        return line.get_marker() == marker and seen.any() and has_color(handle, line.get_mec())
    alike = line.get_linestyle() == style or not is_gray(handle.get_color())
    long = (np.isfinite(points).all(axis=1).sum() > 1) & (
        passes(points, line.axes.bbox.padded(2.0))
    )
    return alike and long and has_color(handle, line.get_color())


def passes(points, frame):
    """Whether a line through points gets into a frame."""
    return len(points) > 1 and inside(np.linspace(points[:-1], points[1:], 200), frame).any()


def inside(points, frame):
    """Which of some points (..., 2) are in a frame; none that is not finite."""
    x, y = points[..., 0], points[..., 1]
    return (frame.x0 <= x) & (x <= frame.x1) & (frame.y0 <= y) & (y <= frame.y1)


def is_gray(color):
    return len(set(to_rgb(color))) == 1


def has_color(handle, color):
    """Whether a handle has a color, or is gray and stands for several."""
    own = handle.get_mec() if handle.get_marker() not in NOTHING else handle.get_color()
    return is_gray(own) or np.allclose(to_rgb(own), to_rgb(color), atol=0.01)


def test_all_data_are_inside_the_axes(figure):
    name, drawn = figure
    if name.startswith(CUT):
        return
    for axes in drawn.axes:
        frame = axes.bbox.padded(2.0)
        for line in axes.lines:
            if line.get_transform().contains_branch(axes.transData):
                values = np.column_stack(line.get_data()).astype(float)
                places = line.get_transform().transform(values[np.isfinite(values).all(axis=1)])
                assert inside(places, frame).all(), (name, line.get_label(), values)
        for dots in axes.collections:
            places = dots.get_offset_transform().transform(dots.get_offsets())
            if len(places) > 1:
                assert inside(np.asarray(places), frame).all(), name


def test_energies_are_named_as_such_where_their_unit_is_known_and_losses_elsewhere(figure):
    name, drawn = figure
    words = " ".join(text.get_text() for text in texts(drawn))
    if "of a loss" in name:
        assert "loss above the best" in words and "nats" not in words


def within(axis, *values):
    """Places of values on the page, in shares of the length of their axis."""
    axes = axis.axes
    horizontal = axis.axis_name == "x"
    ends = axes.bbox.extents.reshape(2, 2)[:, 0 if horizontal else 1]
    pairs = [(v, 0.0) if horizontal else (0.0, v) for v in values]
    places = axes.transData.transform(pairs)[:, 0 if horizontal else 1]
    return (places - ends[0]) / np.ptp(ends)


def test_bars_are_on_the_side_of_the_threshold_that_their_color_says():
    rng = np.random.default_rng(0)
    mean = np.stack([rng.normal(size=200), np.full(200, 0.9)], axis=1)  # the second carries nothing
    std = np.stack([np.full(200, 0.1), np.ones(200)], axis=1)
    X = mean[:, :1] * [[1.0, -1.0, 2.0]]
    rough = X + 0.1 * rng.normal(size=X.shape)
    told = diagnose.arrays(x=rough, mean=mean, log_std=np.log(std), reconstruction=X, gamma=0.01)
    assert told.kl[1] > ACTIVE_NATS and not told.active[1]
    ax = _axes(told, "offset.npz")
    active = [handle for handle in ax.get_legend().legend_handles if handle.get_label() == "active"]
    for bar in ax.patches:
        above = bar.get_height() >= ACTIVE_NATS
        assert above == np.allclose(bar.get_facecolor()[:3], to_rgb(active[0].get_mec()))
    plt.close(ax.figure)


def test_a_bar_at_the_threshold_is_active_and_the_smallest_have_their_own_heights():
    ax = plot.divergences([1e-7, 2.0, 1e-9, 0.0, 0.01], active=0.01)
    assert [bar.get_height() for bar in ax.patches] == [2.0, 0.01, 1e-7, 1e-9, 0.0]
    places = within(ax.yaxis, 0.0, 1e-9, 1e-7, 0.01, 2.0)
    assert places[0] == pytest.approx(0.0) and np.all(np.diff(places) > 0.02) and places[-1] < 1
    axes = plot.course(
        [0, 1], [[1e-7, 0.0], [1e-9, 1.0]], [0, 0], error=[1, 1], gamma=[1, 1], gain=[0, 0]
    )
    drawn = np.stack([line.get_ydata() for line in axes[0].lines])
    np.testing.assert_array_equal(drawn, [[1e-7, 1e-9], [0.0, 1.0]])
    assert np.all(np.diff(within(axes[0].yaxis, 0.0, 1e-9, 1e-7, 1.0)) > 0.02)
    plt.close("all")


def test_a_saddle_that_is_in_order_is_not_below_the_width():
    width = [[1.0, 2.0, 4.0], [0.1, 0.3, 0.3]]
    ax = plot.basin_width([1.0, 0.1], certified=[0.7, 0.07], width=width, saddle=[1.5, 0.2])
    least, saddle, certified = (line.get_ydata() for line in ax.lines)
    assert np.all(certified <= least) and np.all(least <= saddle)
    plt.close("all")


def test_widths_that_are_bounds_say_so():
    flags = [[False, True], [True, True]]
    ax = plot.basin_width(
        [0.1, 1.0], certified=[0.1, 1.0], width=[[0.1, 0.4], [2.0, 4.0]], open_ended=flags
    )
    (arrows,) = [line for line in ax.lines if line.get_marker() == "^"]
    np.testing.assert_array_equal(arrows.get_xydata(), [[1.0, 2.0], [0.1, 0.4], [1.0, 4.0]])
    assert arrows.get_label() == "at least"
    plt.close("all")


def test_a_branch_of_one_point_is_more_than_its_event():
    ax = FIGURES["bifurcation, lone"]()
    there = [line for line in ax.lines if tuple(line.get_xydata()[0]) == (0.0, -0.5)]
    assert [line.get_marker() for line in there] == ["o", ">"]
    assert there[0].get_markersize() > there[1].get_markersize()
    ax = FIGURES["bifurcation, turns at last"]()
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["one", "minimum", "not a minimum, one point"]
    plt.close("all")


@pytest.mark.parametrize(
    ("kind", "over", "ends"),
    [("bifurcation", [0.0, 2.0], (0.0, 2.0)), ("active_units", [0.01, 5.0], (0.01, 5.0))],
)
def test_axes_hold_the_range_that_was_asked_for(kind, over, ends):
    draw = {
        "bifurcation": lambda: plot.bifurcation(LONE[:1], over=over),
        "active_units": lambda: plot.active_units(GAMMA, KL, [1] * 7, over=over),
    }
    low, high = draw[kind]().get_xlim()
    assert low <= ends[0] and high >= ends[1]
    plt.close("all")


def test_a_path_that_misses_its_saddle_says_by_how_much():
    ax = FIGURES["path_profile, misses"]()
    (words,) = [text.get_text() for text in ax.texts if "saddle" in text.get_text()]
    assert words.replace("\n", " ") == "saddle 0.5 above the path (0.3 off)"
    joined = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xdata()) == 2]
    assert [[1.0, 1.0], [1.0, 1.5]] in joined
    ax = FIGURES["path_profile"]()
    assert not any("the path" in text.get_text() for text in ax.texts)
    ax = FIGURES["plane, holes, tied, of a loss"]()
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names[-1] == "path, up to 0.25 off the plane"
    plt.close("all")


def test_no_line_is_drawn_through_the_numbers_of_cells():
    ax = FIGURES["phase_diagram"]()
    (line,) = ax.lines
    ax.figure.canvas.draw()
    crossed = 0
    for text in ax.texts:
        ground = text.get_bbox_patch()
        cell = ground.get_facecolor()
        assert cell[3] == 1.0 and text.get_zorder() > line.get_zorder()
        across = line.get_transform().transform(line.get_xydata())
        crossed += passes(across, ground.get_window_extent())
    assert crossed


def test_marks_in_one_place_are_all_seen():
    ax = FIGURES["segment, tied, of a loss"]()
    sizes = [line.get_markersize() for line in ax.lines if len(line.get_xdata()) == 1]
    assert sizes == sorted(sizes, reverse=True) and np.all(np.diff(sizes) <= -3)
    ax = FIGURES["bifurcation, stacked"]()
    marks = sorted(ax.lines[-3:], key=lambda line: line.get_zorder())
    assert np.all(np.diff([line.get_markersize() for line in marks]) < -1)
    ax = FIGURES["trap"]()
    first, second = (container.lines[0].get_xdata() for container in ax.containers)
    assert np.all(np.abs(np.diff(within(ax.xaxis, first[0], second[0]))) > 0.02)
    plt.close("all")


def test_points_in_one_place_are_counted_in_rings_of_their_colors():
    ax = FIGURES["index_scatter, tied"]()
    dots = ax.collections[-1]
    offsets, sizes = np.asarray(dots.get_offsets()), dots.get_sizes()
    here = np.all(offsets == 0, axis=1)
    assert list(dots.get_array()[here]) == [0, 1, 2] and np.all(np.diff(sizes[here]) < 0)
    assert len(offsets) == 4 and sizes[here].max() > sizes[~here].max()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["4 in one place"]
    plt.close("all")


@pytest.mark.parametrize(
    ("name", "axis", "bulk"),
    [
        ("index_scatter, far", "xaxis", (0.0, 0.5)),
        ("bifurcation, spike", "yaxis", (-50.0, -48.6)),
        ("active_units, spike", "yaxis", (0.0, 1.9)),
        ("barrier_scaling, far", "yaxis", (0.01, 0.0103)),
        ("depth_errors, far", "yaxis", (0.1, 0.4)),
    ],
)
def test_a_point_far_off_does_not_flatten_the_others(name, axis, bulk):
    ax = FIGURES[name]()
    low, high = within(getattr(ax, axis), *bulk)
    assert high - low > 0.4 and "log beyond" in getattr(ax, axis).get_label_text()
    plt.close("all")


@pytest.mark.slow
def test_an_axis_is_straight_where_no_point_is_far_off_and_rounding_stays_small():
    for name in ("index_scatter", "bifurcation", "barrier_scaling"):
        ax = FIGURES[name]()
        assert "function" not in (ax.get_xscale(), ax.get_yscale())
    ax = plot.index_scatter([-100.0, -100 + 1e-10, -100 + 2e-10, -88.0], [0, 0, 0, 1], [1] * 4)
    assert ax.get_xscale() == "linear"
    plt.close("all")


def test_titles_of_studies_say_what_was_done(tmp_path):
    X = data.antipodal(d=2)
    setting = Setting(X, "antipodal", 1, None, 4.0, 3, 0.5, 0, tmp_path, "")
    model, starts = setting.heading(alpha=0.1).split("\n")
    assert model == "antipodal, n = 2, 1 latent, γ learned, β = 4, α = 0.1"
    assert starts.startswith("3 random starts of scale 0.5, Adam, 3000 steps")
    assert "γ" not in setting.heading("gamma") and "β" not in setting.heading("beta")
    assert "γ = 0.5" in setting._replace(gamma=0.5).heading()


@pytest.mark.slow
def test_a_loss_of_ones_own_is_no_energy():
    axes = [
        plot.segment(LINE),
        plot.path_profile(PATH),
        plot.plane(PLANE),
        plot.eigenvalue_map(PLANE, np.ones(PLANE.energy.shape)),
        plot.spectrum([1.0], inertia=(0, 0, 1)),
        plot.index_scatter([0.0], [0], [0]),
        plot.disconnectivity([0.0], []),
        plot.bifurcation(LONE),
    ]
    for ax in axes:
        words = " ".join(text.get_text() for text in texts(ax.figure))
        assert "loss" in words and "nats" not in words and "energy" not in words
    plt.close("all")


def test_divergences_that_are_halved_are_called_nats():
    ax = plot.active_units(GAMMA, KL, [1] * 7)
    assert ax.get_ylabel() == "KL divergence per latent\n(nats / datum)"  # as `branches` gives them
    plt.close("all")
