"""The collector's page in a real Chromium: what a person sees, and what hostile events cannot do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import (
    DARK,
    brightness,
    chromium,
    complaints,
    needs_chromium,
    overflows,
    text,
    wait,
    webdriver,
)
from collecting import Collector, an_event
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from maltrailcollector.daylog import day_of

pytestmark = needs_chromium

XSS = (
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    "\"><svg onload='window.pwned=1'>",
    "javascript:window.pwned=1",
    "{{7*7}}${7*7}</td></table><h1>out</h1>",
    "&lt;b&gt;&#60;b&#62;",
    "\u2028window.pwned=1\u2029</script>",
)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path) as driver:
        yield driver


def log_in(browser: webdriver.Chrome, collector: Collector) -> None:
    browser.get(collector.url)
    browser.find_element(By.ID, "password").send_keys(collector.password(), Keys.ENTER)
    wait(browser, lambda: text(browser, "#state") == "live")


def rows(browser: webdriver.Chrome) -> list[list[str]]:
    """The texts of all visible rows."""
    script = """return [...document.querySelectorAll("#events tbody tr")].filter((row) => !row.hidden)
        .map((row) => [...row.cells].map((cell) => cell.textContent))"""
    found: list[list[str]] = browser.execute_script(script)
    return found


def test_from_login_to_a_new_event_without_a_reload(collector: Collector, browser: webdriver.Chrome) -> None:
    browser.get(collector.url)
    assert browser.current_url == f"{collector.url}/login"
    browser.find_element(By.ID, "password").send_keys("guess", Keys.ENTER)
    wait(browser, lambda: text(browser, "[role=alert]") == "That user or password is not right.")
    log_in(browser, collector)
    wait(browser, lambda: text(browser, "#empty h2") == f"No events on {day_of(int(time.time()))}")
    assert "ping -c 1 136.161.101.53" in text(browser, "#empty")
    assert f"127.0.0.1:{collector.udp_port}" in text(browser, "#empty")
    browser.execute_script("window.same = true")
    seen = an_event(usec=1)
    collector.send(seen.wire())
    wait(browser, lambda: rows(browser))
    clock = seen.line()[12:20]
    assert rows(browser) == [
        [
            *(clock, "high", "10.0.0.5:4001", "136.161.101.53:443", "TCP", "IP", "136.161.101.53"),
            *("sinkhole conficker (malware)", "(static)", "vm"),
        ]
    ]
    assert text(browser, "#total") == "1"
    assert not browser.find_element(By.ID, "empty").is_displayed()
    collector.send(an_event(src_ip="2001:db8::1", info="mass scanner").wire())
    wait(browser, lambda: len(rows(browser)) == 2)
    assert rows(browser)[0][1:3] == ["low", "[2001:db8::1]:4001"]
    collector.send(an_event(dst_ip="10.0.0.1,10.0.0.2", dst_port="22,23", src_ip="::1", src_port="-").wire())
    wait(browser, lambda: len(rows(browser)) == 3)
    assert rows(browser)[0][2:4] == ["::1", "10.0.0.1, 10.0.0.2 port 22, 23"]
    assert browser.execute_script("return window.same")
    browser.find_element(By.XPATH, "//button[text()='Log out']").click()
    wait(browser, lambda: browser.current_url == f"{collector.url}/login")
    assert [said for said in complaints(browser) if "401 (Unauthorized)" not in said] == []


def test_the_page_goes_on_after_a_restart(collector: Collector, browser: webdriver.Chrome) -> None:
    log_in(browser, collector)
    collector.daemon.stop()
    wait(browser, lambda: text(browser, "#state") == "reconnecting")
    collector.daemon.start()
    # Sessions do not outlive the daemon: the page asks for the password again.
    wait(browser, lambda: browser.current_url == f"{collector.url}/login")


def test_filter_and_severities(collector: Collector, browser: webdriver.Chrome) -> None:
    log_in(browser, collector)
    infos = ("mass scanner", "potential malware site", "netsupport (malware)")
    collector.send(
        *(an_event(info=info, src_ip=f"10.0.0.{number}").wire() for number, info in enumerate(infos))
    )
    wait(browser, lambda: len(rows(browser)) == 3)
    browser.find_element(By.TAG_NAME, "body").send_keys("/")
    field = browser.switch_to.active_element
    assert field.get_attribute("id") == "filter"
    field.send_keys("MALWARE 10.0.0.2")
    assert [row[7] for row in rows(browser)] == ["netsupport (malware)"]
    assert text(browser, "#shown") == "1 match"
    field.send_keys(Keys.ESCAPE)
    assert len(rows(browser)) == 3
    low = browser.find_element(By.CSS_SELECTOR, "button[data-severity=low]")
    assert low.text.split() == ["low", "1"]
    low.send_keys(Keys.SPACE)
    assert low.get_attribute("aria-pressed") == "false"
    assert [row[1] for row in rows(browser)] == ["high", "medium"]
    collector.send(an_event(info="mass scanner", usec=1).wire(), an_event(trail="new").wire())
    wait(browser, lambda: len(rows(browser)) == 3)
    assert rows(browser)[0][6] == "new"


def test_days(collector: Collector, browser: webdriver.Chrome) -> None:
    now = int(time.time())
    today, before, long_ago = (day_of(now - 86400 * age) for age in (0, 1, 5))
    collector.send(*(an_event(sec=now - 86400 * age, trail=f"t{age}").wire() for age in (0, 1, 5)))
    log_in(browser, collector)
    for click, day in (("‹ Earlier", before), ("‹ Earlier", long_ago), ("Later ›", before), ("Today", today)):
        browser.find_element(By.LINK_TEXT, click).click()
        wait(browser, lambda: text(browser, "#total") == "1")
        assert browser.find_element(By.NAME, "date").get_attribute("value") == day
        assert len(rows(browser)) == 1
    browser.get(f"{collector.url}/?date=2001-01-01")
    wait(browser, lambda: text(browser, "#empty h2") == "No events on 2001-01-01")
    browser.find_element(By.LINK_TEXT, long_ago).click()
    wait(browser, lambda: rows(browser) and rows(browser)[0][6] == "t5")


def test_hostile_events_are_text(collector: Collector, browser: webdriver.Chrome) -> None:
    log_in(browser, collector)
    fields = ("sensor", "trail", "info", "reference")
    believed = [an_event(**{field: payload}) for field in fields for payload in XSS]
    collector.send(*(event.wire() for event in believed))
    # What the intake refuses may be in the log all the same: another program may write there.
    refused = ("src_ip", "src_port", "dst_ip", "dst_port", "proto", "type")
    smuggled = [an_event(**{field: payload}) for field in refused for payload in XSS]
    with (collector.logs / f"{day_of(smuggled[0].sec)}.log").open("a", encoding="utf-8") as log:
        log.write('"<script>window.pwned=1</script>" ' + smuggled[0].line() + "\n")
        for event in smuggled:
            log.write(event.line() + "\n")
    wait(browser, lambda: len(rows(browser)) == len(believed) + len(smuggled))
    shown = "\n".join(cell for row in rows(browser) for cell in row)
    for payload in XSS:
        assert shown.count(payload) >= len(fields + refused)
    for address in (browser.current_url, f"{collector.url}/?date=<script>window.pwned=1</script>"):
        browser.get(address)
        assert browser.execute_script("return window.pwned") is None
    browser.get(collector.url)
    wait(browser, lambda: rows(browser))
    assert (
        browser.execute_script("return document.querySelectorAll('main img, main svg, main script').length")
        == 0
    )
    assert browser.execute_script("return document.querySelectorAll('h1').length") == 1
    assert browser.execute_script("return window.pwned") is None
    assert [said for said in complaints(browser) if "favicon" not in said and "400 (Bad" not in said] == []


def test_a_large_day(collector: Collector, browser: webdriver.Chrome) -> None:
    path = collector.logs / f"{day_of(int(time.time()))}.log"
    path.write_text("".join(an_event(trail=f"t{number}").line() + "\n" for number in range(50_000)))
    log_in(browser, collector)
    wait(browser, lambda: text(browser, "#total") == "50,000")
    assert len(rows(browser)) == 1000
    assert rows(browser)[0][6] == "t49999"
    assert text(browser, "#shown") == "the newest 1,000 are here, the log has all"
    collector.send(an_event(trail="new").wire())
    wait(browser, lambda: rows(browser)[0][6] == "new")
    assert len(rows(browser)) == 1000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark_wide_and_narrow(collector: Collector, tmp_path: Path, scheme: str) -> None:
    infos = ("sinkhole conficker (malware)", "mass scanner", "potential sql injection (suspicious)")
    collector.send(
        *(an_event(info=info, trail="shop.test.org(/a?id=1%20union)").wire() for info in infos * 5)
    )
    with chromium(tmp_path, *(DARK if scheme == "dark" else ())) as browser:
        browser.get(collector.url)
        browser.save_screenshot(str(tmp_path / f"login-{scheme}.png"))
        log_in(browser, collector)
        wait(browser, lambda: len(rows(browser)) == 15)
        lightness = {element: brightness(browser, element) for element in ("body", "td", "input", ".btn")}
        for name, (ink, ground) in lightness.items():
            assert (ink > ground) == (scheme == "dark"), name
            assert abs(ink - ground) > 100, name
        browser.save_screenshot(str(tmp_path / f"wide-{scheme}.png"))
        browser.set_window_size(500, 900)
        assert not overflows(browser)
        browser.save_screenshot(str(tmp_path / f"narrow-{scheme}.png"))
