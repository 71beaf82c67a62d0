"""What every figure keeps, on ordinary and on awkward data: nothing is cut off or covered, nothing
is promised that is not drawn, nothing is left outside the axes.
"""

import numpy as np
import pytest
from figures import FIGURES
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text

from vaesurface import plot

# Figures that show less than all of their data by design: margins beyond the ends of a segment,
# thresholds that no data have.
CUT = ("segment", "collapse_cuts", "phase_diagram, line outside", "sigma_histogram")
NOTHING = (None, "None", "")


@pytest.fixture(scope="module", params=FIGURES)
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
