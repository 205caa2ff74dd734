"""A real Chromium for tests: what a person sees of a page, and does with it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from administering import Administration

from d4server.actor import Role

webdriver = pytest.importorskip("selenium.webdriver", reason="needs python3-selenium")
from selenium.common.exceptions import StaleElementReferenceException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromium-driver")

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1400,900"
)
DARK = ("--force-dark-mode", "--blink-settings=preferredColorScheme=0")
"""What makes the system of the browser a dark one."""


@contextmanager
def chromium(directory: Path, *flags: str) -> Iterator[webdriver.Chrome]:
    """A browser with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={directory / 'profile'}", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def wait(browser: webdriver.Chrome, condition: Callable[[], object]) -> None:
    WebDriverWait(browser, 15, poll_frequency=0.05).until(lambda _: condition())


def text(browser: webdriver.Chrome, selector: str) -> str:
    """What is seen of the first such element, in one step: the page may change at any time."""
    found = browser.execute_script("return document.querySelector(arguments[0])?.innerText", selector)
    return str(found or "").strip()


def fill(browser: webdriver.Chrome, **values: str) -> None:
    """Types into the boxes of a form, and sends it by the last."""
    for name, value in values.items():
        browser.find_element(By.NAME, name).send_keys(value)
    browser.switch_to.active_element.send_keys(Keys.ENTER)


def click(browser: webdriver.Chrome, words: str) -> None:
    """The link or button with these words, whose part of the page may just be fetched anew."""
    place = f"//main//*[self::a or self::button][normalize-space()='{words}' and not(@aria-hidden)]"
    for _ in range(3):
        with suppress(StaleElementReferenceException):
            browser.find_element(By.XPATH, place).click()
            return


def come_in(browser: webdriver.Chrome, page: Administration, path: str, role: Role = Role.ADMIN) -> None:
    """As somebody of a role who has logged in on the page for administrators."""
    browser.get(f"{page.url}/login")
    for name, value in page.logged_in(role).cookies.items():
        browser.add_cookie({"name": name, "value": value, "secure": True, "path": "/"})
    browser.get(page.url + path)


def complaints(browser: webdriver.Chrome) -> list[str]:
    """What the browser's console said: errors of scripts, and what the policy stopped."""
    return [entry["message"] for entry in browser.get_log("browser")]


def brightness(browser: webdriver.Chrome, selector: str) -> tuple[float, float]:
    """How bright the text and the ground of an element are, 0 to 255."""
    script = """
        const style = (name) => getComputedStyle(element)[name];
        const parts = (name) => style(name).match(/[0-9.]+/g).slice(0, 3).map(Number);
        const bright = (name) => (Math.max(...parts(name)) + Math.min(...parts(name))) / 2;
        let element = document.querySelector(arguments[0]);
        const ink = bright("color");
        while (style("backgroundColor") === "rgba(0, 0, 0, 0)") element = element.parentElement;
        return [ink, bright("backgroundColor")];"""
    ink, ground = browser.execute_script(script, selector)
    return ink, ground


def overflows(browser: webdriver.Chrome) -> bool:
    """Whether one has to scroll sideways."""
    return bool(
        browser.execute_script(
            "return document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
    )


def look_at(browser: webdriver.Chrome, width: int, height: int, theme: str) -> None:
    """Makes the window so large (CSS pixels, fewer than windows have too), its system light or dark."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": theme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
