"""What viewers, operators and admins see of the page for administrators, and do, in a real Chromium."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator

import pytest
from administering import PASSWORD, Administration, page_alone
from browsing import click, come_in, complaints, fill, needs_chromium, text, wait, webdriver
from operating import do
from selenium.webdriver.common.by import By

from d4common import totp
from d4server.actor import Role

pytestmark = needs_chromium

PLACES = {
    Role.VIEWER: "Overview Sensors Queues Types Blacklist",
    Role.OPERATOR: "Overview Sensors Queues Types Blacklist",
    Role.ADMIN: "Overview Sensors Queues Types Blacklist Users Audit",
    Role.REGISTRAR: "",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administration]:
    with page_alone(tmp_path_factory.mktemp("page")) as made:
        do(made.server.redis_path, "queues.create", type="maltrail", name="mine")
        yield made


def test_each_role_sees_what_it_may_do(page: Administration, browser: webdriver.Chrome) -> None:
    for role in Role:
        look_around(page, browser, role)
    assert [said for said in complaints(browser) if "403" not in said] == []


def look_around(page: Administration, browser: webdriver.Chrome, role: Role) -> None:
    """As somebody of a role."""
    come_in(browser, page, "/", role)
    assert text(browser, ".side").split() == PLACES[role].split()
    may_change = role in (Role.OPERATOR, Role.ADMIN)
    for path, button in (
        ("/queues", "Create a queue"),
        ("/types", "Accept a type"),
        ("/queues/mine", "Delete"),
    ):
        browser.get(page.url + path)
        if role is Role.REGISTRAR:
            assert text(browser, "h1") == "That is not for you"
        else:
            assert (button in text(browser, ".head")) == may_change
    for path in ("/queues/mine/delete", "/users/-/create", "/audit"):
        browser.get(page.url + path)
        allowed = role is Role.ADMIN or (may_change and path.startswith("/queues"))
        assert (text(browser, "h1") != "That is not for you") == allowed, path
    browser.get(f"{page.url}/profile")
    assert text(browser, "h1") == f"the-{role}"


def test_an_admin_makes_a_user_who_logs_in(page: Administration, browser: webdriver.Chrome) -> None:
    come_in(browser, page, "/users")
    click(browser, "Create a user")
    fill(browser, name="Not a name!")
    wait(browser, lambda: "small letters" in text(browser, "#name-problem"))
    browser.find_element(By.ID, "name").clear()
    browser.find_element(By.CSS_SELECTOR, "#role option:nth-child(2)").click()
    fill(browser, name="carol")
    wait(browser, lambda: text(browser, "h1") == "The user is there.")
    password = str(browser.find_element(By.ID, "password").get_attribute("value"))
    click(browser, "Done")
    wait(browser, lambda: text(browser, "h1") == "carol")
    assert text(browser, ".head .state") == "first password" and "operator" in text(browser, ".facts")

    browser.delete_all_cookies()
    browser.get(f"{page.url}/login")
    fill(browser, user="carol", password=password)
    wait(browser, lambda: text(browser, "h1") == "Change your password")
    fill(browser, old=password, new=PASSWORD, again=PASSWORD)
    wait(browser, lambda: text(browser, "h1") == "Overview")

    # A second factor, by which the next login asks for a code.
    browser.get(f"{page.url}/profile")
    click(browser, "Set it up")
    fill(browser, password=PASSWORD)
    wait(browser, lambda: text(browser, "h1") == "Add it to your app")
    secret = str(browser.find_element(By.ID, "secret").get_attribute("value"))
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    fill(browser, code=totp.code(key, int(time.time()) // totp.STEP))
    wait(browser, lambda: text(browser, "h1") == "The second factor is on.")
    recovery = str(browser.find_element(By.ID, "codes").get_attribute("value")).split()
    click(browser, "Done")
    wait(browser, lambda: "10 recovery codes are left" in text(browser, "main"))
    assert recovery[0] not in text(browser, "main")
    browser.delete_all_cookies()
    browser.get(f"{page.url}/login")
    fill(browser, user="carol", password=PASSWORD)
    wait(browser, lambda: browser.find_elements(By.NAME, "code"))
    fill(browser, code=recovery[0])
    wait(browser, lambda: text(browser, "h1") == "Overview")

    # A token, and the end of the session.
    browser.get(f"{page.url}/tokens")
    click(browser, "Make a token")
    fill(browser, name="a script")
    wait(browser, lambda: text(browser, "h1") == "The token is made.")
    assert str(browser.find_element(By.ID, "token").get_attribute("value")).startswith("d4_")
    click(browser, "Done")
    click(browser, "Revoke a script")
    click(browser, "Revoke")
    wait(browser, lambda: text(browser, "[role=status]") == "The token is revoked.")
    browser.get(f"{page.url}/profile")
    row = browser.find_element(By.XPATH, "//tr[contains(., 'this one')]//a")
    row.click()
    click(browser, "End it")
    wait(browser, lambda: browser.current_url.startswith(f"{page.url}/login"))
    assert [said for said in complaints(browser) if "422" not in said] == []
