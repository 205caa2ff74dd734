"""Pictures of every page for administrators, light and dark, some as on a phone too: `make screenshots`."""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from administering import Administration
from browsing import chromium, look_at
from operating import do
from populating import ARCHIVE, administer, populate
from serving import Server, own_redis
from waiting import wait_for

SIZES = {"wide": (1280, 800), "phone": (375, 812)}
"""Width and height in CSS pixels."""

ON_A_PHONE = ("overview", "sensors", "sensor", "queue", "queue-create")
"""The pages that are shown so."""


def pages(uuid: str, pending: str) -> dict[str, str]:
    """By the name of its picture, each page that is shown."""
    return {
        "overview": "/",
        "sensors": "/sensors",
        "sensor": f"/sensors/{uuid}",
        "sensor-revoke": f"/sensors/{uuid}/revoke",
        "sensor-approve": f"/sensors/{pending}/approve",
        "groups": "/sensors/groups",
        "enrolment": "/sensors/enrolment",
        "enrolment-issue": "/sensors/enrolment/issue",
        "watched": "/sensors/watched",
        "queues": "/queues",
        "queue": "/queues/maltrail",
        "queue-binary": f"/queues/{ARCHIVE}",
        "queue-create": "/queues/-/create?type=254&meta=weather",
        "queue-cap": f"/queues/{ARCHIVE}/cap",
        "queue-delete": "/queues/maltrail/delete",
        "types": "/types",
        "type-accept": "/types/accept",
        "blacklist": "/blacklist",
        "users": "/users",
        "user": "/users/alice",
        "user-create": "/users/-/create",
        "audit": "/audit",
        "audit-refused": "/audit?outcome=refused",
        "profile": "/profile",
        "tokens": "/tokens",
        "token-create": "/tokens/create",
        "second-factor": "/profile/totp",
        "password": "/password",
    }


def main(target: Path) -> None:
    """Writes them into a directory."""
    target.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix="d4-") as name:
        directory = Path(name)
        redis = own_redis(directory)
        server = Server(directory, directory / "redis.sock")
        page = Administration(server, directory)
        daemons = redis, server.daemon, page.daemon
        try:
            redis.start()
            uuids = populate(server.redis_path)
            server.daemon.start()
            page.daemon.start()
            wait_for(lambda: "first password" in page.log())
            administer(server.redis_path, uuids)
            waiting = do(server.redis_path, "sensors.list", state="pending").items[0].uuid
            shoot(page, pages(str(uuids[0]), str(waiting)), directory, target)
        finally:
            for daemon in reversed(daemons):
                daemon.stop()


def shoot(page: Administration, shown: dict[str, str], directory: Path, target: Path) -> None:
    """Takes all pictures."""
    visitor = page.visitor()
    visitor.come_in()
    with chromium(directory, "--ignore-certificate-errors", "--hide-scrollbars") as browser:
        for place, (width, height) in SIZES.items():
            for theme in ("light", "dark"):
                look_at(browser, width, height, theme)
                browser.delete_all_cookies()
                browser.get(f"{page.url}/login")
                if place == "wide":
                    browser.save_screenshot(str(target / f"login-{place}-{theme}.png"))
                for name, value in visitor.cookies.items():
                    browser.add_cookie({"name": name, "value": value, "secure": True, "path": "/"})
                for name, path in shown.items():
                    if place == "phone" and name not in ON_A_PHONE:
                        continue
                    browser.get(page.url + path)
                    browser.save_screenshot(str(target / f"{name}-{place}-{theme}.png"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
