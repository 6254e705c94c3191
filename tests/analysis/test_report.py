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
from benchmarks import tiers
from benchmarks.plan import lineage
from benchmarks.spec import ON_CPU, Compute, RunSpec
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


RUN, USUAL = "python -m benchmarks.run", "--spaces nas-bench-201 --seeds {} --tier cpu --data cifar10 --data-dir DIR"


def commands_of(folder: Path, *specs: RunSpec) -> list[str]:
    """The commands for a store that holds such runs."""
    store = Store(folder).open()
    for spec in specs:
        made = record(spec.method, spec.space, spec.seed, "cpu")
        store.append(replace(made, spec=spec))
    return report.commands(runs.load([folder]))


def planned(method: str, seed: int, compute: Compute = ON_CPU, **changed: int | float) -> RunSpec:
    budget = replace(tiers.budget("cpu", "nas-bench-201"), **changed)  # type: ignore[arg-type]
    return lineage(method, "nas-bench-201", seed, budget, "0" * 64, compute)[-1].spec


def test_commands_name_what_was_run(tmp_path: Path):
    both = [planned(method, seed) for method in ("random", "darts-1st") for seed in range(2)]
    assert commands_of(tmp_path, *both, planned("balenas-1st@samples=4", 3)) == [
        f"{RUN} --methods random darts-1st {USUAL.format(2)}",
        f"{RUN} --methods balenas-1st@samples=4 {USUAL.format('3,')}",
    ]


GPU, OPTIONS = Compute(device="cuda", precision="bfloat16"), "--device cuda --precision bfloat16"


def test_devices_are_in_the_commands_that_of_the_upstream_run_too(tmp_path: Path):
    """BaLeNAS-TF keeps to the CPU, but without the options it would build on another search."""
    assert commands_of(tmp_path, planned("balenas-1st", 0, GPU), planned("balenas-tf-1st", 0, GPU)) == [
        f"{RUN} --methods balenas-1st balenas-tf-1st {USUAL.format(1)} {OPTIONS}"
    ]


def test_runs_of_a_study_are_reproduced_by_the_study(tmp_path: Path):
    (first, *_), changed = STUDIES["confirmation"].rows[0].methods, STUDIES["confirmation"].rows[0].budget
    specs = [planned("darts-1st", seed, GPU, **changed) for seed in (100, 101)]
    line = f"{RUN} --study confirmation --data-dir DIR {OPTIONS}  # 2 of its 40 runs are here"
    assert first == "darts-1st" and commands_of(tmp_path, *specs) == [line]


def test_changed_numbers_of_a_tier_are_in_the_command(tmp_path: Path):
    changed = {"epochs": 7, "arch_lr": 1e-5}
    assert commands_of(tmp_path, planned("darts-1st", 0), planned("darts-1st", 0, **changed)) == [
        f"{RUN} --methods darts-1st {USUAL.format(1)}",
        f"{RUN} --methods darts-1st {USUAL.format(1)} --budget epochs=7 arch_lr=1e-05",
    ]


@pytest.mark.parametrize(
    "spec",
    [
        replace(planned("darts-1st", 0), config={"order": 1}),
        replace(planned("darts-1st", 0), numerics=0),
        replace(planned("darts-1st", 0), budget=replace(planned("darts-1st", 0).budget, tier="mine")),
        replace(planned("darts-1st", 0), method="mine:Own"),
    ],
    ids=("defaults", "numerics", "tier", "method"),
)  # fmt: skip
def test_what_no_command_plans_is_counted(spec: RunSpec, tmp_path: Path):
    (line,) = commands_of(tmp_path, spec)
    assert line.startswith("# left: 1 ")


def test_two_copies_of_the_images_are_told_apart(tmp_path: Path):
    copy = lineage("random", "nas-bench-201", 0, planned("random", 0).budget, "1" * 64)[-1].spec
    lines = commands_of(tmp_path, planned("random", 0), copy)
    assert [line.partition("  # ")[2] for line in lines] == ["images 000000000000", "images 111111111111"]


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
