"""The report as a reader meets it: in a real browser, without a network, nothing in its console."""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import pyplot as plt
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from vaesurface import files, report
from vaesurface.report import Figure, Study, camera, interactive
from vaesurface.report.digits import plain, told_apart

GRID = np.linspace(-1.5, 1.5, 25)
SURFACE = {
    "kind": "surface",
    "title": "a double well",
    "quantity": "energy above the best",
    "x": GRID.tolist(),
    "y": GRID.tolist(),
    "values": ((GRID[None] ** 2 - 1) ** 2 + GRID[:, None] ** 2).tolist(),
    "cap": 2.0,
    "marks": [{"x": 0.0, "y": 0.0, "value": 1.0, "label": "saddle of index 1", "kind": 2}],
}
SPECTRUM = {
    "kind": "spectrum",
    "title": "at the saddle",
    "eigenvalues": [-4.0, 0.0, 2.0, 1e3],
    "negative": 1,
    "flat": 1,
}


def run(seed, collapsed):
    label = "collapsed local minimum" if collapsed else "local minimum"
    energy = 3.0 if collapsed else 2.5
    return {"seed": seed, "label": label, "energy": energy, "collapsed": collapsed}


FIRST = [
    [run(0, False), run(1, False)],
    [run(0, True), run(1, False)],
    [run(0, True), run(1, True)],
]
SECOND = [[run(0, False)], [run(0, False)], []]
PHASE = {
    "kind": "phase",
    "title": "which starts collapse",
    "alpha": [0.0, 0.25, 0.5],
    "scale": [0.1, 1.0],
    "runs": [FIRST, SECOND],
}
NASTY = "</script><script>document.title = 'broken'</script> & \"quoted\""
VERDICT = {
    "name": NASTY,
    "label": "saddle of index 1",
    "energy": 1.0,
    "evidence": {"inertia": "exact in float64: 1 negative"},
}

FIGURES = [Figure("flat.png", "Nothing, drawn flat.")]
STUDIES = (
    Study(
        name="a",
        title="Which?",
        said=["Three of five collapse."],
        verdicts=[VERDICT],
        figures=FIGURES,
        interactive=[PHASE, SURFACE],
        settings={"alpha": 0.5, "data": NASTY},
        command="vaesurface sweep",
    ),
    Study("b", "The saddle", [], [], [], [SPECTRUM], {}),
)


def made(tmp_path):
    """Those studies on disk."""
    figure = plt.figure(figsize=(2, 1))
    figure.savefig(tmp_path / "flat.png")
    plt.close(figure)
    for study in STUDIES:
        report.save(study, tmp_path)


def page_of(directory):
    """The page of all studies there."""
    return report.page([(study, directory) for study in report.studies(directory)], "A report")


def test_a_study_comes_back_from_its_file_as_it_was(tmp_path):
    made(tmp_path)
    (tmp_path / "other.json").write_text('{"answer": 42}')
    back = report.studies(tmp_path)
    assert [s.name for s in back] == ["a", "b"]
    assert {"jax", "numpy", "vaesurface"} <= back[0].software.keys()
    assert [s._replace(software={}) for s in back] == [s._replace(software={}) for s in STUDIES]


def test_what_may_have_been_a_study_is_not_passed_over(tmp_path):
    made(tmp_path)
    (tmp_path / "c.json").write_text((tmp_path / "a.json").read_text()[:-9])
    with pytest.raises(ValueError, match=r"expected JSON, whole, got .*c\.json: .* make it again"):
        report.studies(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", 3),
        ("said", [None]),
        ("verdicts", [VERDICT | {"energy": "low"}]),
        ("verdicts", [{"name": "a"}]),
        ("figures", [{"file": "a.png", "caption": []}]),
        ("interactive", [{"kind": "surface"}]),
        ("settings", []),
    ],
)
def test_a_study_of_other_types_is_refused(tmp_path, field, value):
    file = report.save(STUDIES[0]._replace(figures=FIGURES), tmp_path)
    file.write_text(json.dumps(json.loads(file.read_text()) | {field: value}))
    with pytest.raises(ValueError, match=r"expected a study of vaesurface, got .*a\.json: .*again"):
        report.load(file)


@pytest.mark.parametrize(
    "change",
    [
        {"values": [[0.0]]},
        {"cap": None},
        {"marks": [{"kind": 9}]},
        {"kind": "spectrum", "eigenvalues": [1.0], "negative": 10**18, "flat": 0},
        {"kind": "phase", "alpha": [0.1], "scale": [1.0], "runs": [[[{}]]]},
    ],
)
def test_numbers_that_are_no_figure_are_refused(tmp_path, change):
    study = Study("a", "A", interactive=[SURFACE | change])
    with pytest.raises(ValueError, match=r"a\.json.* expected .*, got .*; (make|count)"):
        report.page([(study, tmp_path)])


def test_the_page_is_one_file_that_names_no_other(tmp_path):
    made(tmp_path)
    page = page_of(tmp_path)
    # Plotly is packed; it is kept from the addresses in its texts by the page's policy.
    assert not any(fetch in page for fetch in ("http:", "https:", "@import", "<link", 'src="//'))
    assert "default-src 'none'" in page
    assert "MIT License" in page and "Plotly Technologies" in page
    assert len(page) < 1e6
    assert NASTY not in page
    assert 'src="data:image/png;base64,' in page
    assert "exact in float64: 1 negative" in page


def test_what_cannot_be_shown_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected the figure .*gone\.png .* got none"):
        report.page([(Study("a", "A", figures=[Figure("gone.png", "")]), tmp_path)])
    pie = Study("a", "A", interactive=[{"kind": "pie", "title": ""}])
    with pytest.raises(ValueError, match="a kind out of surface, spectrum, phase, got 'pie'"):
        report.page([(pie, tmp_path)])
    (tmp_path / "a.json").write_text('{"format": 9, "verdicts": []}')
    with pytest.raises(ValueError, match=r"expected a study .*a\.json: it is of another format"):
        report.studies(tmp_path)


def test_what_json_has_no_word_for_becomes_null(tmp_path):
    settings = {"gap": np.float64("nan"), "ends": np.array([1.0, np.inf]), "n": np.int64(3)}
    path = report.save(Study("a", "A", settings=settings), tmp_path)
    assert report.load(path).settings == {"gap": None, "ends": [1.0, None], "n": 3}


def test_the_report_imports_neither_jax_nor_what_draws():
    code = """
import sys
from vaesurface import report
report.page([(report.Study("a", "A"), ".")])
assert not {"jax", "matplotlib", "plotly"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def places(page, *parts):
    """Where parts of a page begin."""
    return [page.index(part) for part in parts]


def test_a_page_begins_with_a_summary_and_its_figures_in_the_plane_come_first(tmp_path):
    made(tmp_path)
    page = page_of(tmp_path)
    order = places(page, "<h1>", 'id="summary"', 'id="contents"', 'id="study-a"', 'id="study-b"')
    assert order == sorted(order)
    kinds = places(page, 'class="phase"', 'src="data:image/png', 'class="surface"')
    assert kinds == sorted(kinds)
    summary = page[order[1] : order[2]]
    assert "3 of 8 starts collapse: 0 of 3 at α = 0, 1 of 3 at α = 0.25, 2 of 2" in summary
    assert 'class="phase"' in summary and "The saddle" in summary
    assert summary.count("2 × nats / datum") == 1


def test_a_single_study_has_its_points_on_the_first_screen(tmp_path):
    made(tmp_path)
    low, high = VERDICT | {"name": "low"}, VERDICT | {"name": "high", "energy": 1.0002}
    study = STUDIES[0]._replace(interactive=[], verdicts=[low, high])
    page = report.page([(study, tmp_path)])
    summary = page[slice(*places(page, 'id="summary"', 'id="contents"'))]
    assert "Three of five collapse." in summary and "data:image/png" in summary
    assert "<td>1.00000</td>" in summary and "<td>1.00020</td>" in summary
    assert page.count("Three of five collapse.") == page.count("data:image/png") == 1


def test_links_lead_somewhere_and_headings_are_in_order(tmp_path):
    made(tmp_path)
    again = STUDIES[0]._replace(name="my run")
    page = report.page([(STUDIES[0], tmp_path), (again, tmp_path, "small data")])
    targets = re.findall(r'href="#([^"]*)"', page)
    names = re.findall(r' id="([^"]*)"', page)
    assert len(set(names)) == len(names) and set(targets) <= set(names)
    assert "study/small-data-my-run" in names and "small data:</span> Which?" in page
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels[0] == 1 and max(np.diff(levels)) <= 1
    assert '<html lang="en">' in page
    assert all(re.findall(r'<img [^>]*alt="([^"]*)"', page))


def test_pages_without_figures_that_turn_carry_no_library(tmp_path):
    made(tmp_path)
    study = STUDIES[0]._replace(interactive=[PHASE])
    assert len(report.page([(study, tmp_path)])) < 50_000


def test_a_page_of_nothing_is_refused():
    with pytest.raises(ValueError, match="expected studies for a page, got none; run one first"):
        report.page([])


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([3.0, 2.5], ["3.000", "2.500"]),
        ([-37.39809722, -37.3975998376], ["-37.39810", "-37.39760"]),
        ([3.0, 3.0 + 1e-13, None, float("nan")], ["3.000", "3.000", "", ""]),
        ([12345.678, float("-inf")], ["12346", "−∞"]),
        ([2e-5, 3e20], ["2e-05", "3e+20"]),
        ([], []),
    ],
)
def test_numbers_have_the_digits_that_tell_them_apart(values, texts):
    assert told_apart(values) == texts


def test_a_number_has_four_digits_and_a_whole_one_its_own():
    assert [plain(v) for v in (0.123456, 600.0, 1e300)] == ["0.1235", "600", "1e+300"]


def corner(height, top):
    """A surface with a mark of some height in the middle, and a corner far above it."""
    values = (GRID[None] ** 2 + GRID[:, None] ** 2) * 0.1
    values[-1, -1] = top
    mark = {"x": 0.0, "y": 0.0, "value": height, "label": "saddle", "kind": 2}
    return SURFACE | {"values": values.tolist(), "cap": top, "marks": [mark]}


def test_a_far_corner_flattens_no_mark_and_the_axis_says_so():
    numbers = corner(0.05, 100.0)
    assert 0.05 < interactive.cap(numbers) < 0.25
    scene = report.surface(numbers).layout.scene
    assert scene.zaxis.range == (0, interactive.cap(numbers))
    assert scene.zaxis.title.text == "energy, cut at 0.2"
    assert report.surface(corner(0.3, 0.45)).layout.scene.zaxis.title.text == "energy"
    low = corner(2.0, 100.0) | {"cap": 1.0}  # a mark above the cut that was asked for
    assert interactive.cap(low) > 2.0


def test_the_camera_looks_at_marks_from_where_no_wall_hides_them():
    valley = np.broadcast_to(np.minimum(20 * GRID[:, None] ** 2, 1.0), (25, 25)).copy()
    valley[:, -3:] = 1.0  # closed at its right end
    eye = camera.eye(GRID, GRID, valley, 1.0, [(-1.0, 0.0, 0.0), (0.5, 0.0, 0.0)])
    assert eye["x"] < 0 or eye["z"] > abs(eye["x"])
    sides = camera.sides([0.0, 1.0], [0.0, 0.1])
    assert sides == (1.3, 0.6)  # not so narrow that nothing is seen


def test_marks_are_drawn_as_in_the_legend(tmp_path):
    page = report.page([(Study("a", "A", interactive=[SURFACE]), tmp_path)])
    start = page.index('id="drawn">') + len('id="drawn">')
    (figure,) = json.loads(page[start : page.index("</script>", start)])
    name, sign = figure["layout"]["scene"]["annotations"]
    assert name["text"] == "saddle of index 1" and sign["text"] == "<b>×</b>"
    assert f'stroke="{sign["font"]["color"]}"' in page and "</svg> saddle</li>" in page


FLAGS = (
    "headless",
    "no-sandbox",
    "disable-dev-shm-usage",
    "enable-unsafe-swiftshader",
    "window-size=1100,900",
    # It asks nothing of its maker.
    "no-first-run",
    "disable-background-networking",
    "disable-component-update",
    "disable-sync",
    "disable-quic",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium that logs its console and has no network to go to."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        assert not os.environ.get("CI"), "scripts/browser should have installed Chromium"
        pytest.skip("no Chromium: scripts/browser says how to get it")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    chrome.set_network_conditions(offline=True, latency=0, throughput=0)
    yield chrome
    chrome.quit()


SIZES = ((1400, 900), (400, 800))


def sized(browser, size, scheme):
    """Make the screen so wide and high (pixels), a telephone's where it is narrow, and dark."""
    width, height = size
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)


def opened(browser, page):
    """Opens a page; returns a wait on the browser, where its figures are drawn once seen."""
    browser.get(page.as_uri())
    wait = WebDriverWait(browser, 60)
    for place in browser.find_elements(By.CSS_SELECTOR, ".drawn"):
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", place)
        wait.until(lambda _, p=place: "js-plotly-plot" in p.get_attribute("class"))
        wait.until(lambda _, p=place: p.find_elements(By.CSS_SELECTOR, ".modebar"))
    return wait


def drag(browser, wait, surface):
    """Turns a surface with the mouse, and waits until its camera stands elsewhere."""
    drawn = "return !!arguments[0]._fullLayout.scene._scene.glplot"
    wait.until(lambda b: b.execute_script(drawn, surface))
    eye = "const e = arguments[0]._fullLayout.scene._scene.getCamera().eye; return [e.x, e.y, e.z]"
    before = browser.execute_script(eye, surface)
    canvas = surface.find_element(By.TAG_NAME, "canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", surface)
    mouse = ActionChains(browser).move_to_element(canvas).click_and_hold()
    mouse.move_by_offset(150, 40).release().perform()
    wait.until(lambda b: np.linalg.norm(np.subtract(b.execute_script(eye, surface), before)) > 0.1)


def complaints(browser):
    """What the console says is wrong."""
    return [e["message"] for e in browser.get_log("browser") if e["level"] == "SEVERE"]


def photographed(browser, path):
    """The whole page, as it is."""
    size = browser.execute_script(
        "window.scrollTo(0, 0); const e = document.documentElement;"
        "return {width: e.clientWidth, height: e.scrollHeight}"
    )
    clip = {"x": 0, "y": 0, "scale": 1} | size
    options = {"captureBeyondViewport": True, "clip": clip}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", options)
    path.write_bytes(base64.b64decode(shot["data"]))


def test_in_a_browser_the_surface_turns_and_a_cell_opens(tmp_path, browser):
    made(tmp_path)
    files.write(tmp_path / "report.html", page_of(tmp_path))
    sized(browser, SIZES[0], "light")
    wait = opened(browser, tmp_path / "report.html")
    assert browser.title == "A report"
    drag(browser, wait, browser.find_element(By.ID, "figure-1"))
    table = browser.find_element(By.CSS_SELECTOR, ".runs")

    def choose(cell):
        browser.find_element(By.CSS_SELECTOR, f'[aria-label^="{cell}:"]').click()
        wait.until(lambda b: cell in table.text)
        return table.text.splitlines()[1:]

    rows = choose("α = 0, scale 0.1")
    assert rows[0].split() == ["seed", "label", "energy", "collapsed"]
    assert rows[1:] == ["0 local minimum 2.500 no", "1 local minimum 2.500 no"]
    collapsed = ["0 collapsed local minimum 3.000 yes", "1 collapsed local minimum 3.000 yes"]
    assert choose("α = 0.5, scale 0.1")[1:] == collapsed
    fetched = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert not [name for name in browser.execute_script(fetched) if name.startswith("http")]
    assert complaints(browser) == []


PAPER = "return getComputedStyle(document.body).backgroundColor"
INK = "return getComputedStyle(document.querySelector('.drawn text')).fill"


def is_bright(color):
    """Whether a color of CSS is nearly white."""
    return min(int(part) for part in re.findall(r"\d+", color)[:3]) > 200


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}px")
def test_a_page_fits_wide_and_narrow_screens_by_day_and_night(tmp_path, browser, size):
    made(tmp_path)
    files.write(tmp_path / "report.html", page_of(tmp_path))
    sized(browser, size, "light")
    wait = opened(browser, tmp_path / "report.html")
    across = "return [document.documentElement.scrollWidth, innerWidth]"
    scrolled, width = browser.execute_script(across)
    assert scrolled <= width == size[0]
    for figure in browser.find_elements(By.CSS_SELECTOR, "figure:has(.drawn)"):
        title = figure.find_element(By.CSS_SELECTOR, ".title").rect
        bar = figure.find_element(By.CSS_SELECTOR, ".modebar").rect
        assert title["y"] + title["height"] <= bar["y"] + 1
    buttons = browser.find_elements(By.CSS_SELECTOR, ".modebar-btn")
    assert {button.get_attribute("data-attr") for button in buttons} <= {None, "resetDefault"}
    for button in browser.find_elements(By.CSS_SELECTOR, ".cells button"):
        assert min(button.rect["width"], button.rect["height"]) >= 40
    folder = Path(os.environ.get("VAESURFACE_SCREENSHOTS", tmp_path))
    for scheme in ("light", "dark"):
        sized(browser, size, scheme)  # while it is open
        wait.until(lambda b, dark=scheme == "dark": is_bright(b.execute_script(INK)) == dark)
        assert is_bright(browser.execute_script(PAPER)) == (scheme == "light")
        photographed(browser, folder / f"report-{size[0]}-{scheme}.png")
    assert complaints(browser) == []
