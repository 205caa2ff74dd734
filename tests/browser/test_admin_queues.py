"""Types and queues on the page for administrators, in a real Chromium: the tutorial, and a queue's life."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from administering import Administration, page_alone
from browsing import (
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
from operating import do, with_redis
from populating import ARCHIVE, administer, populate
from receiving import Receiver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from serving import packet
from waiting import wait_for

from d4common import records
from d4common.records import Entry
from d4server.actor import Role
from demo.chain import PYTHON, Daemon, free_port

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administration]:
    """The page of a server that has been at work for weeks."""
    with page_alone(tmp_path_factory.mktemp("page")) as made:
        administer(made.server.redis_path, populate(made.server.redis_path))
        yield made


def value(browser: webdriver.Chrome, id: str) -> str:
    """What is in a box."""
    return str(browser.find_element(By.ID, id).get_attribute("value"))


def test_the_tutorial(administration: Administration, browser: webdriver.Chrome, tmp_path: Path) -> None:
    """Type 254 with a name, a queue for it with a generated UUID, and the exporter gets the data."""
    page, server = administration, administration.server
    come_in(browser, page, "/types", Role.OPERATOR)
    click(browser, "Accept a type")
    fill(browser, type="254", name="maltrail")
    wait(browser, lambda: text(browser, "[role=status]") == "The type is accepted.")
    click(browser, "Create a queue for maltrail")
    wait(browser, lambda: text(browser, "h1") == "Create a queue")
    assert (value(browser, "type"), value(browser, "meta"), value(browser, "name")) == ("254", "maltrail", "")
    click(browser, "Generate")
    uuid = value(browser, "name")
    assert UUID(uuid).version == 4
    click(browser, "Generate")
    assert value(browser, "name") != uuid
    uuid = value(browser, "name")
    browser.find_element(By.ID, "group").send_keys(Keys.ENTER)  # means Create, not Generate
    wait(browser, lambda: text(browser, "h1") == uuid)
    assert value(browser, "command") == f"d4-exporter udp -t maltrail -u {uuid} -p 8337 -i 127.0.0.1"
    port = free_port(socket.SOCK_DGRAM)
    conffile = tmp_path / "one.conf"
    conffile.write_text(
        f"[redis]\nurl = unix://{server.redis_path}\n" + value(browser, "conffile").replace("8337", str(port))
    )
    exporter = Daemon(
        "exporter", [PYTHON, "-m", "d4exporter", "--config", str(conffile), "run", "one"], tmp_path
    )
    receiver, sensor = Receiver(port), server.sensor()
    try:
        exporter.start()
        with server.connect() as connection:
            meta = packet(sensor, 2, b'{"type":"maltrail"}\n')
            connection.sendall(meta + packet(sensor, 254, b"one line\nanother\n"))
            wait_for(lambda: sorted(receiver.datagrams) == [b"another\n", b"one line\n"])
        wait(browser, lambda: text(browser, "main td").endswith("ago"))  # it is among the consumers
    finally:
        exporter.stop()
        receiver.close()
    assert complaints(browser) == []


def test_the_life_of_a_queue(page: Administration, browser: webdriver.Chrome) -> None:
    path, own = page.server.redis_path, str(uuid4())
    come_in(browser, page, "/queues/-/create", Role.OPERATOR)
    fill(browser, type="weather", name=f"{own} x")
    wait(browser, lambda: "1 to 64 letters" in text(browser, "#name-problem"))
    assert value(browser, "type") == "weather" and value(browser, "name") == f"{own} x"
    browser.find_element(By.ID, "name").clear()
    fill(browser, name=own)
    wait(browser, lambda: text(browser, "h1") == own)
    assert "Nothing has come of type weather" in text(browser, "main")

    hostile = "<img src=x onerror=window.pwned=1>\n"
    stored = [Entry(uuid4(), "weather", 0, each.encode()) for each in ("rain\n", hostile)]
    with_redis(path, lambda redis: records.append(redis, stored))
    wait(browser, lambda: "<img src=x onerror=window.pwned=1>" in text(browser, ".records"))  # by itself
    assert "rain" in text(browser, ".records")
    assert browser.execute_script("return window.pwned") is None

    click(browser, "Pause")
    assert own in text(browser, ".subject")
    click(browser, "Pause")
    wait(browser, lambda: text(browser, ".head .state") == "paused")
    click(browser, "Resume")
    click(browser, "Resume")
    wait(browser, lambda: not browser.find_elements(By.CSS_SELECTOR, ".head .state"))

    click(browser, "Change the description")
    fill(browser, description="Who it is for.")
    click(browser, "Save")
    wait(browser, lambda: "Who it is for." in text(browser, "main"))
    click(browser, "Change the cap")
    for name, typed in (("entries", "7"), ("bytes", "much")):
        browser.find_element(By.ID, name).clear()
        browser.find_element(By.ID, name).send_keys(typed)
    click(browser, "Save")
    wait(browser, lambda: text(browser, "#bytes-problem"))
    assert value(browser, "entries") == "7"
    browser.find_element(By.ID, "bytes").clear()
    fill(browser, bytes="2M")
    wait(browser, lambda: "7 entries, 2.0 MiB of memory" in text(browser, "main"))

    click(browser, "Empty")
    assert own in text(browser, ".subject") and "2 entries" in text(browser, ".facts")
    click(browser, "Throw it away")
    wait(browser, lambda: text(browser, "[role=status]") == "The queue is empty.")
    assert do(path, "queues.show", name=own).lag == 0
    click(browser, "Delete")
    assert own in text(browser, ".subject")
    click(browser, "Cancel")
    wait(browser, lambda: text(browser, "h1") == own)
    click(browser, "Delete")
    click(browser, "Delete")
    wait(browser, lambda: text(browser, "[role=status]") == "The queue is deleted.")
    assert own not in text(browser, "tbody")
    assert [said for said in complaints(browser) if "422" not in said] == []


def test_no_page_is_wider_than_its_window(page: Administration, browser: webdriver.Chrome) -> None:
    come_in(browser, page, "/")
    for width in (1280, 375):
        look_at(browser, width, 800, "light")
        for path in (
            *("/queues", f"/queues/{ARCHIVE}", "/queues/maltrail", f"/queues/{ARCHIVE}/delete"),
            *("/queues/-/create", "/types", "/types/accept", "/sensors/watched", "/users", "/users/alice"),
            *("/users/-/create", "/audit", "/audit?outcome=refused", "/tokens", "/profile", "/profile/totp"),
        ):
            browser.get(page.url + path)
            assert not overflows(browser), (path, width)
            assert text(browser, "h1"), path
    assert complaints(browser) == []
