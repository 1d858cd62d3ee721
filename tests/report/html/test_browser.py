"""The report in a real browser: headless Chromium, driven with Debian's own driver."""

import json
import os
import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from sdperf.judging.machine import judge_machine, parse_reported_run
from sdperf.report.html.page import render_page
from sdperf.report.pictures.pictures import locate_pictures
from tests.support.reported_runs import (
    real_run,
    save,
    slowed,
    with_cases,
    with_hostile_names,
    with_images,
)

AXE = Path(__file__).parent / "axe" / "axe.min.js"
LARGEST_BYTES = 6_000_000
CASES = 27
MOST_CASES = 60
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        message = "no browser: apt-get install chromium chromium-driver"
        if os.environ.get("SDPERF_BROWSER"):
            pytest.fail(message)
        pytest.skip(message)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-sync",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--window-size=1280,900",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    session = webdriver.Chrome(options=options, service=service)
    yield session
    session.quit()


def write(folder, name, *machines):
    source = locate_pictures([folder / "run.json"])
    judged = [
        judge_machine([parse_reported_run(f"run{n}.json", one) for n, one in enumerate(runs)])
        for runs in machines
    ]
    path = folder / f"{name}.html"
    path.write_text(render_page(judged, source))
    return path


def write_against_a_base(folder, cases):
    before = with_cases(real_run(precision=None), cases - 3)
    after = with_images(slowed(before, 1.6, only="test_throughput[fp32-sync-1w]"), folder)
    save(folder, after)
    return write(folder, "many", [before, after])


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """Three pages: many cases against a base, two machines, and names of an attacker."""
    folder = tmp_path_factory.mktemp("reports")
    h100 = real_run("h100-sd15-stages", "latency")
    return {
        "many": write_against_a_base(folder, CASES),
        "machines": write(folder, "machines", [with_cases(real_run(), 3)], [h100]),
        "hostile": write(folder, "hostile", [with_hostile_names(with_cases(real_run(), 2))]),
    }


def open_page(browser, path):
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(path.as_uri())


def list_requests(browser):
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def shown_rows(browser):
    return browser.execute_script(
        "return [...document.querySelectorAll('[data-cases] tbody tr')]"
        ".filter(row => row.checkVisibility()).map(row => row.dataset.name)"
    )


def run_axe(browser, options=None):
    browser.execute_script(AXE.read_text())
    return browser.execute_async_script(
        "const done = arguments[arguments.length - 1];"
        "axe.run(document, {resultTypes: ['violations'], ...arguments[0]})"
        ".then(found => done(found.violations), done)",
        options or {},
    )


@pytest.mark.parametrize("name", ["many", "machines", "hostile"])
def test_a_page_opens_without_an_error_or_a_request(browser, reports, name):
    open_page(browser, reports[name])
    assert browser.find_element(By.TAG_NAME, "h1").is_displayed()
    requests = [url for url in list_requests(browser) if not url.startswith("data:")]
    assert requests == [reports[name].as_uri()]
    assert browser.get_log("browser") == []


@pytest.mark.long
def test_sixty_cases_stay_below_the_limit(tmp_path):
    assert write_against_a_base(tmp_path, MOST_CASES).stat().st_size < LARGEST_BYTES


def test_many_cases_are_all_shown_with_their_figures(browser, reports):
    open_page(browser, reports["many"])
    assert len(shown_rows(browser)) == CASES
    assert len(browser.find_elements(By.CSS_SELECTOR, "svg.plot")) >= 7
    broken = browser.execute_script(
        "return [...document.images].filter(i => i.complete && !i.naturalWidth).length"
    )
    assert broken == 0


def test_filters_leave_what_was_asked_for(browser, reports):
    open_page(browser, reports["many"])
    form = browser.find_element(By.CSS_SELECTOR, ".filters")
    assert form.is_displayed()
    form.find_element(By.CSS_SELECTOR, "input[value=worse]").click()
    worse = shown_rows(browser)
    assert worse
    assert all("throughput[fp32-sync-1w]" in name or "images" in name for name in worse)
    shown = form.find_element(By.CSS_SELECTOR, ".shown")
    assert shown.text == f"{len(worse)} of {CASES} cases"
    form.find_element(By.CSS_SELECTOR, "input[value=all]").click()
    Select(form.find_element(By.NAME, "precision")).select_by_visible_text("bf16")
    assert [name for name in shown_rows(browser) if "bf16" not in name] == []
    form.find_element(By.NAME, "name").send_keys("STAGE")
    assert all("stage" in name and "bf16" in name for name in shown_rows(browser))
    form.find_element(By.NAME, "name").send_keys("none such")
    assert shown_rows(browser) == []
    assert shown.text == f"0 of {CASES} cases"


def test_the_slider_uncovers_one_image_and_covers_the_other(browser, reports):
    open_page(browser, reports["many"])
    compare = browser.find_element(By.CSS_SELECTOR, ".compare")
    slider = compare.find_element(By.CSS_SELECTOR, "input[type=range]")
    after = compare.find_element(By.CSS_SELECTOR, ".after")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", compare)

    def cut():
        return after.value_of_css_property("clip-path")

    assert "50%" in cut()
    slider.send_keys("\ue014" * 10)
    assert slider.get_attribute("value") == "60"
    assert "40%" in cut()
    image = compare.find_element(By.CSS_SELECTOR, ".after img")
    drag = webdriver.ActionChains(browser)
    drag.move_to_element_with_offset(image, 0, 0).click_and_hold()
    drag.move_by_offset(round(image.size["width"] * 0.3), 0).release().perform()
    assert 15 <= int(slider.get_attribute("value")) <= 25
    tile = compare.find_element(By.CSS_SELECTOR, ".after .tile")
    offset = tile.rect["x"] - image.rect["x"]
    assert offset == pytest.approx(image.size["width"] * 64 / 128, abs=3)


def test_names_of_an_attacker_stay_texts(browser, reports):
    open_page(browser, reports["hostile"])
    assert browser.execute_script("return window.hacked") is None
    assert len(browser.find_elements(By.TAG_NAME, "script")) == 2
    assert "<script>window.hacked=1</script>" in browser.find_element(By.TAG_NAME, "body").text


def test_the_policy_stops_a_script_even_where_markup_got_in(browser, reports):
    page = reports["many"].read_text()
    infected = reports["many"].with_name("infected.html")
    infected.write_text(page.replace("<h2>", "<h2><script>window.hacked=1</script>", 1))
    open_page(browser, infected)
    assert browser.execute_script("return window.hacked") is None
    assert "Content Security Policy" in browser.get_log("browser")[0]["message"]


def test_themes_follow_the_system_and_the_button(browser, reports):
    open_page(browser, reports["machines"])

    def background():
        return browser.find_element(By.TAG_NAME, "body").value_of_css_property("background-color")

    light = background()
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    dark = background()
    assert light != dark
    button = browser.find_element(By.ID, "theme")
    button.click()
    assert background() == light
    button.click()
    assert background() == dark
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("name", ["many", "machines", "hostile"])
def test_a_phone_scrolls_in_one_direction(browser, reports, name):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        open_page(browser, reports[name])
        width = browser.execute_script("return document.documentElement.scrollWidth")
        assert width <= 390
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize(("name", "scheme"), [("many", "light"), ("machines", "dark")])
def test_axe_finds_no_serious_fault(browser, reports, name, scheme):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    open_page(browser, reports[name])
    browser.execute_script(
        "for (const one of document.querySelectorAll('details')) one.open = true"
    )
    faults = [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
        for one in run_axe(browser)
        if one["impact"] in SERIOUS
    ]
    assert faults == []


def test_axe_would_find_a_fault(browser, reports):
    page = reports["machines"].read_text()
    faulty = reports["machines"].with_name("faulty.html")
    faulty.write_text(page.replace("<h2", '<img src="data:,"><h2', 1))
    open_page(browser, faulty)
    assert [one["id"] for one in run_axe(browser, {"runOnly": ["image-alt"]})] == ["image-alt"]


def test_print_shows_all_three_pictures_and_no_controls(browser, reports):
    open_page(browser, reports["many"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        compare = browser.find_element(By.CSS_SELECTOR, ".compare")
        before, after = compare.find_elements(By.CSS_SELECTOR, ".frame")
        assert after.value_of_css_property("clip-path") == "none"
        assert after.rect["x"] != before.rect["x"] or after.rect["y"] != before.rect["y"]
        assert not browser.find_element(By.CSS_SELECTOR, ".filters").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
