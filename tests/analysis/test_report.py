"""The report is one file, complete without network and without scripts, and works in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analysis import claims, make_report, report, runs
from benchmarks.spec import Compute
from benchmarks.store import Store
from benchmarks.studies import STUDIES
from tests.analysis.conftest import record

VOID = {"meta", "link", "img", "br", "hr", "input"}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = Store(tmp_path_factory.mktemp("report") / "runs").open()
    for method in ("random", "darts-1st", "balenas-1st"):
        for seed in range(2):
            store.append(record(method, "nas-bench-201", seed))
    store.append(record("random", "nas-bench-1shot1-s1", 3))
    return store.folder


@pytest.fixture(scope="module")
def page(results: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    assert make_report.main(["--results", str(results), "--output", str(out)]) == 0
    return out / "report.html"


class Outline(HTMLParser):
    """Open tags, ids and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.images = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.stack.append(tag)
        self.images += tag == "img"
        self.ids += [value for name, value in attrs if name == "id" and value]
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action") and value]

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag


def test_one_well_formed_file_without_network(page: Path):
    text = page.read_text()
    outline = Outline(text)
    assert outline.stack == []
    assert len(outline.ids) == len(set(outline.ids))
    assert outline.images >= 8
    assert all(address.startswith(("#", "data:")) for address in outline.addresses)
    assert {address[1:] for address in outline.addresses if address.startswith("#")} <= set(outline.ids)
    assert not re.search(r"@import|url\(|<script[^>]+src|fetch\(", text)


def test_everything_is_in_it(page: Path):
    text = page.read_text()
    for claim in claims.load():
        assert claim.statement.replace("'", "&#x27;") in text, claim.id
    for part in ("Table 1: NAS-Bench-201", "Table 2", "Table 3", "Every search", "Paired differences", "check_claims"):
        assert part in text
    assert text.count("Reproduce: <code>") > 15
    assert "not what the paper claims" in text


def test_commands_name_what_was_run(results: Path):
    loaded = runs.load([results])
    run, rest = "python -m benchmarks.run --methods", "--tier quick --data digits"
    assert report.commands(loaded) == [
        f"{run} random darts-1st balenas-1st --spaces nas-bench-201 --seeds 2 {rest}",
        f"{run} random --spaces nas-bench-1shot1-s1 --seeds 3, {rest}",
    ]


def test_changed_budgets_and_devices_are_in_the_commands(tmp_path: Path):
    """A command at the tier's own numbers would not do such runs again."""
    usual = record("darts-1st", "nas-bench-201", 100, "cpu")
    study = STUDIES["confirmation"]
    made = [
        replace(usual, spec=replace(usual.spec, compute=Compute(device="cuda", precision="bfloat16", together=True))),
        replace(usual, spec=replace(usual.spec, budget=study.budget(study.rows[0]))),
        replace(usual, spec=replace(usual.spec, budget=replace(usual.spec.budget, epochs=7))),
    ]
    store = Store(tmp_path / "runs").open()
    for one in made:
        store.append(one)
    run, where = (
        "python -m benchmarks.run",
        "--spaces nas-bench-201 --seeds 100, --tier cpu --data cifar10 --data-dir DIR",
    )
    assert report.commands(runs.load([store.folder])) == [
        f"{run} --methods darts-1st {where} --device cuda --precision bfloat16 --together",
        f"{run} --study confirmation --data-dir DIR",
        "# without a command: 1 of a budget that no tier or study has; their files hold it",
    ]


def browser(**preferences: Any) -> Any:
    webdriver = pytest.importorskip("selenium.webdriver", reason="the browser test needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("the browser test needs chromium and chromedriver on the path")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_experimental_option("prefs", preferences)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


@pytest.fixture(scope="module")
def chrome(page: Path) -> Iterator[Any]:
    driver = browser()
    try:
        driver.get(page.as_uri())
        yield driver
    finally:
        driver.quit()


def test_browser_reports_no_error_and_shows_every_image(chrome: Any):
    assert [entry for entry in chrome.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")] == []
    sizes = chrome.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth])")
    assert len(sizes) >= 8 and all(complete and width > 300 for complete, width in sizes)


def test_a_click_sorts_numbers_and_another_turns_them_round(chrome: Any):
    script = """
        const table = document.querySelector("[id^='tab-points-nas-bench-201'] table");
        const heading = [...table.tHead.rows[0].cells].find(c => c.textContent === "median");
        heading.click();
        return [heading.getAttribute("aria-sort"),
                [...table.tBodies[0].rows].map(r => Number(r.cells[heading.cellIndex].dataset.value))];
    """
    for order, reverse in (("ascending", False), ("descending", True)):
        state, values = chrome.execute_script(script)
        assert state == order and values == sorted(values, reverse=reverse) and len(set(values)) > 1


def test_readable_at_phone_width(chrome: Any):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert chrome.execute_script("return document.documentElement.scrollWidth") <= 390
        widths = chrome.execute_script("return [...document.images].map(i => i.getBoundingClientRect().width)")
        assert max(widths) <= 390
        texts = "[...document.querySelectorAll('p, td, figcaption')]"
        sizes = chrome.execute_script(f"return {texts}.map(e => parseFloat(getComputedStyle(e).fontSize))")
        assert min(sizes) >= 11
    finally:
        chrome.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_reads_without_scripts(page: Path):
    driver = browser(**{"profile.managed_default_content_settings.javascript": 2})
    try:
        driver.get(page.as_uri())
        text = driver.find_element("tag name", "body").text
        assert "Claims of the paper" in text and "Table 1: NAS-Bench-201" in text and "87.06" in text
    finally:
        driver.quit()
