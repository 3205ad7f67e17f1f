# SPDX-License-Identifier: Apache-2.0
"""Both report pages as a person sees them, in headless Chromium."""

import json
import shutil

import pytest

from tests.comparison.fake_comparison import METHODS, make_comparison, make_failure, make_sweep
from tests.evaluation.test_report import make_result
from tf_crossdistil.comparison.comparison_figures import Figures
from tf_crossdistil.comparison.comparison_report import write_comparison_report
from tf_crossdistil.comparison.study_tables import study_tables
from tf_crossdistil.evaluation.report import Report, write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install 'selenium>=4.20'")

FACTS = {"Rows": "3,000", "Command": "crossdistil compare configs/demo.yaml --methods " + ",".join(METHODS)}
PHONE, DESKTOP = (390, 844), (1280, 900)
PLOTS = {
    "evaluate": [
        *["Training loss", "Validation log loss"],
        *(f"{metric} of {task}" for task in ("finish", "like") for metric in ("AUC", "Multi-AUC")),
        *(f"{plot} of {task}" for task in ("finish", "like") for plot in ("Reliability", "Scores")),
    ],
    "compare": ["Multi-AUC by margin", "Test loss over the epochs", "Exchanged labels of like", "Costs"],
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    programs = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    if missing := [name for name, path in programs.items() if path is None]:
        pytest.skip(f"{' and '.join(missing)} not on PATH: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = programs["chromium"]
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    # With the path of the driver given, selenium looks for none and downloads none.
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(programs["chromedriver"]))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The address of each page."""
    folder = tmp_path_factory.mktemp("pages")
    write_report(folder / "evaluate.html", Report("A demo", [make_result("PLE", 1.5), make_result("CrossDistil", 0.5)], FACTS))
    sweeps = [
        make_sweep("distillation.margin", 1.0, [-4.0, 0.0, 1.0, 4.0], lambda value: -0.0004 * (value - 1) ** 2),
        make_sweep("training.label_exchange.like", None, [None, 0.5, 0.9], lambda share: -0.05 * (share or 0)),
    ]
    figures = Figures.of(make_comparison(sweeps=sweeps, failures=[make_failure()]))
    write_comparison_report(folder / "compare.html", figures, study_tables(figures), FACTS)
    return {name: (folder / f"{name}.html").as_uri() for name in PLOTS}


@pytest.fixture(params=list(PLOTS))
def name(request):
    return request.param


@pytest.fixture
def opened(browser, pages, name):
    """The browser with the page open on a desktop."""
    resize(browser, DESKTOP)
    browser.get(pages[name])
    return browser


def resize(browser, size):
    metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def test_the_page_opens_silently_and_asks_for_nothing_else(browser, pages, name):
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(pages[name])
    assert browser.find_element("tag name", "h1").is_displayed()
    assert [entry for entry in browser.get_log("browser") if entry["level"] not in ("DEBUG", "INFO")] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    requests = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert requests == [pages[name]]


def test_every_plot_is_visible_and_has_a_name(opened, name):
    plots = opened.find_elements("css selector", "svg")
    names = [plot.accessible_name.split(". ")[0] for plot in plots]
    assert names == PLOTS[name]
    for plot in plots:
        assert plot.is_displayed() and plot.size["width"] > 200 and plot.size["height"] > 150


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
def test_the_page_does_not_scroll_sideways(opened, size):
    resize(opened, size)
    width = "return [document.documentElement.scrollWidth, document.body.scrollWidth, window.innerWidth]"
    of_document, of_body, of_window = opened.execute_script(width)
    assert of_window == size[0] and of_document <= of_window and of_body <= of_window


def test_on_a_phone_tables_scroll_in_their_own_box_and_keep_their_names(opened):
    resize(opened, PHONE)
    moved = opened.execute_script(
        "const box = document.querySelector('.scroll'); box.scrollLeft = 200;"
        "const left = selector => box.querySelector(selector).getBoundingClientRect().left - box.getBoundingClientRect().left;"
        "const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];"
        "return [box.scrollLeft, left('tbody th.name'), left('thead .name'), left('tbody td'),"
        " of('.scroll tbody th.name', 'backgroundColor'), of('body', 'backgroundColor'), of('.scroll', 'backgroundAttachment')]"
    )
    scrolled, row_name, corner, first_cell, of_name, paper, shadow = moved
    # Opaque names, and a shadow at the edge that the table's end covers.
    assert of_name == paper and shadow == "local, scroll"
    assert scrolled > 0 and abs(row_name) < 1 and abs(corner) < 1 and first_cell < row_name + 200 - scrolled


def test_text_is_readable_by_day_and_by_night(opened):
    colors = {}
    for scheme in ("light", "dark"):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
        paper, ink, axis = opened.execute_script(
            "const of = (selector, name) => getComputedStyle(document.querySelector(selector))[name];"
            "return [of('body', 'backgroundColor'), of('body', 'color'), of('svg [style*=\"stroke: currentColor\"]', 'stroke')]"
        )
        assert axis == ink
        colors[scheme] = (luminance(paper), luminance(ink))
    assert colors["light"][0] > 0.9 and colors["dark"][0] < 0.05
    for paper, ink in colors.values():
        # What WCAG 2 asks of text, level AAA.
        assert (max(paper, ink) + 0.05) / (min(paper, ink) + 0.05) > 7


def luminance(color):
    """The relative luminance of `rgb(r, g, b)`, as WCAG 2 defines it."""
    shares = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
