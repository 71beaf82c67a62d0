"""The report as a reader meets it: in a real browser, without a network, nothing in its console."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from plotly.offline import get_plotlyjs
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from vaesurface import files, report
from vaesurface.report import Figure, Study

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
    # Plotly names addresses in its texts, and is kept from them by the page's policy.
    own = page.replace(get_plotlyjs(), "")
    assert len(own) < 0.1 * len(page)
    assert not any(fetch in own for fetch in ("http:", "https:", "@import", "<link", 'src="//'))
    assert "default-src 'none'" in own
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


def opened(browser, page):
    """Opens a page; returns a wait on the browser, where its three figures are drawn."""
    browser.get(page.as_uri())
    wait = WebDriverWait(browser, 30)
    wait.until(lambda b: len(b.find_elements(By.CSS_SELECTOR, ".js-plotly-plot")) == 3)
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


def click_lower_left_cell(browser, diagram):
    """Of three by two cells."""
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", diagram)
    area = diagram.find_element(By.CSS_SELECTOR, ".nsewdrag")
    left, down = -area.size["width"] // 3, area.size["height"] // 4  # from the middle
    ActionChains(browser).move_to_element_with_offset(area, left, down).click().perform()


def test_in_a_browser_the_surface_turns_and_a_cell_opens(tmp_path, browser):
    made(tmp_path)
    files.write(tmp_path / "report.html", page_of(tmp_path))
    wait = opened(browser, tmp_path / "report.html")
    assert browser.title == "A report"
    drag(browser, wait, browser.find_element(By.ID, "figure-1"))

    def rows():
        return browser.find_element(By.ID, "runs-0").text.splitlines()

    click_lower_left_cell(browser, browser.find_element(By.ID, "figure-0"))
    wait.until(lambda b: rows())
    assert rows()[0].split() == ["seed", "label", "energy", "collapsed"]
    assert rows()[1:] == ["0 local minimum 2.5 false", "1 local minimum 2.5 false"]
    Select(browser.find_element(By.ID, "cells-0")).select_by_visible_text("α = 0.5, scale 0.1")
    collapsed = ["0 collapsed local minimum 3 true", "1 collapsed local minimum 3 true"]
    wait.until(lambda b: rows()[1:] == collapsed)

    if directory := os.environ.get("VAESURFACE_SCREENSHOTS"):
        browser.save_screenshot(f"{directory}/report.png")
    console = browser.get_log("browser")
    print(*(entry["message"] for entry in console), sep="\n")
    assert [entry["message"] for entry in console if entry["level"] == "SEVERE"] == []
