"""The page for administrators in a real Chromium: from the first login to a sensor that was approved."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from administering import PASSWORD, Administration, page_alone
from browsing import (
    brightness,
    click,
    come_in,
    complaints,
    fill,
    look_at,
    needs_chromium,
    overflows,
    text,
    wait,
    webdriver,
)
from operating import do
from populating import populate
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from demo.chain import PYTHON, environment

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administration]:
    """The page of a server that has been at work for weeks."""
    with page_alone(tmp_path_factory.mktemp("page")) as made:
        populate(made.server.redis_path)
        made.visitor().come_in()
        yield made


def test_from_the_first_login_to_a_sensor(
    administration: Administration, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    page, first = administration, administration.first_password()
    browser.get(f"{page.url}/sensors")
    assert browser.current_url == f"{page.url}/login?next=%2Fsensors"
    fill(browser, user="admin", password="guess")
    wait(browser, lambda: text(browser, "[role=alert]") == "That user or password is not right.")
    fill(browser, password=first)
    wait(browser, lambda: text(browser, "h1") == "Change your password")
    fill(browser, old=first, new="short-one", again="short-one")
    wait(browser, lambda: text(browser, "#new-problem") == "Must have 10 characters at least")
    fill(browser, old=first, new=PASSWORD, again=PASSWORD)
    wait(browser, lambda: text(browser, "h1") == "Overview")
    assert text(browser, "[role=status]").startswith("Your password is changed")
    assert "No sensor sends to this server yet" in text(browser, "main")

    # A sensor asks to be let in, and waits.
    config = tmp_path / "sensor.conf"
    config.write_text("")
    asking = subprocess.Popen(
        [PYTHON, "-m", "d4sensor", "--config", str(config), "enroll", f"127.0.0.1:{page.server.port}"]
        + ["--ca", str(page.server.ca), "--name", "edge-1"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        browser.get(f"{page.url}/sensors?state=pending")
        wait(browser, lambda: "edge-1" in text(browser, "tbody"))
        shown = text(browser, "td .under b")
        click(browser, "edge-1")
        wait(browser, lambda: text(browser, "h1") == "edge-1")
        click(browser, "Approve")
        wait(browser, lambda: text(browser, ".code") == shown)
        click(browser, "Approve")
        wait(browser, lambda: text(browser, ".head .state") == "approved")
        output, _ = asking.communicate(timeout=30)
        assert asking.returncode == 0, output
        assert shown in output
    finally:
        asking.kill()
        asking.wait()

    click(browser, "Change the description")
    fill(browser, description="In the cellar.")
    click(browser, "Save")
    wait(browser, lambda: "In the cellar." in text(browser, "main"))
    click(browser, "Revoke")
    wait(browser, lambda: text(browser, "h1") == "Revoke a sensor")
    click(browser, "Revoke")
    wait(browser, lambda: text(browser, ".head .state") == "revoked")
    click(browser, "Remove")
    click(browser, "Remove")
    wait(browser, lambda: text(browser, "[role=status]") == "The sensor is removed.")
    assert [said for said in complaints(browser) if "401" not in said and "422" not in said] == []


def test_a_key_is_shown_once_and_can_be_copied(page: Administration, browser: webdriver.Chrome) -> None:
    come_in(browser, page, "/sensors/add")
    fill(browser, uuid="none", name="edge-2")
    wait(browser, lambda: "UUID of version 4" in text(browser, "#uuid-problem"))
    assert browser.find_element(By.ID, "name").get_attribute("value") == "edge-2"
    browser.find_element(By.ID, "uuid").clear()
    click(browser, "Add")
    wait(browser, lambda: text(browser, "h1") == "The sensor may connect.")
    assert len(str(browser.find_element(By.ID, "key").get_attribute("value"))) == 64
    assert browser.find_element(By.CSS_SELECTOR, "[data-copy=key]").is_displayed()
    click(browser, "Done")
    wait(browser, lambda: "edge-2" in text(browser, "tbody"))


def test_keys_times_and_themes(page: Administration, browser: webdriver.Chrome) -> None:
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": "Asia/Kathmandu"})
    come_in(browser, page, "/sensors")
    wait(browser, lambda: "border-north" in text(browser, "tbody"))
    browser.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "Skip to content"
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    browser.switch_to.active_element.send_keys("border-north", Keys.ENTER)
    wait(browser, lambda: "border-south" not in text(browser, "tbody"))
    click(browser, "border-north")
    wait(browser, lambda: text(browser, "h1") == "border-north")
    shown = browser.find_element(By.CSS_SELECTOR, "time:not(.ago)")
    utc = str(shown.get_attribute("title"))
    assert utc.endswith(" UTC") and shown.text[:4] == utc[:4]
    assert (int(utc[14:16]) + 45) % 60 == int(shown.text[14:16])  # UTC+05:45
    for theme, dark in (("Dark", True), ("Light", False)):
        browser.find_element(By.CSS_SELECTOR, ".menu summary").click()
        browser.find_element(By.XPATH, f"//button[.='{theme}']").click()
        wait(browser, lambda theme=theme: is_in(browser, theme))  # type: ignore[misc]
        ink, ground = brightness(browser, "h1")
        assert (ink > ground) == dark
        assert text(browser, "h1") == "border-north"
    browser.find_element(By.CSS_SELECTOR, ".menu summary").send_keys(Keys.ENTER)
    assert browser.find_element(By.CSS_SELECTOR, ".menu").get_attribute("open")
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not browser.find_element(By.CSS_SELECTOR, ".menu").get_attribute("open")
    assert complaints(browser) == []


def is_in(browser: webdriver.Chrome, theme: str) -> bool:
    """Whether the page came in this theme."""
    return bool(browser.find_elements(By.CSS_SELECTOR, f"html[data-theme={theme.lower()}]"))


def test_what_moves_is_fresh_without_a_reload(page: Administration, browser: webdriver.Chrome) -> None:
    come_in(browser, page, "/sensors?search=edge-3")
    assert "No sensor is like that" in text(browser, "main")
    browser.execute_script("window.same = true")
    do(page.server.redis_path, "sensors.add", name="edge-3")
    wait(browser, lambda: "edge-3" in text(browser, "tbody"))
    assert browser.execute_script("return window.same")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_wide_and_narrow(page: Administration, browser: webdriver.Chrome, scheme: str) -> None:
    one = f"/sensors/{do(page.server.redis_path, 'sensors.list', search='border-north').items[0].uuid}"
    come_in(browser, page, "/")
    for width in (1280, 375):
        look_at(browser, width, 800, scheme)
        for path in ("/", "/sensors", one, f"{one}/kick", "/sensors/enrolment", "/blacklist", "/password"):
            browser.get(page.url + path)
            assert not overflows(browser), (path, width)
            for element in ("h1", "nav a", "main"):
                ink, ground = brightness(browser, element)
                assert (ink > ground) == (scheme == "dark"), (path, element)
                assert abs(ink - ground) > 90, (path, element)
    assert complaints(browser) == []
