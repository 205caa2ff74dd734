"""What the pages for administrators show of types, queues, users and the audit trail, and how much of it."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path
from uuid import uuid4

import pytest
from administering import MOST_BYTES, PASSWORD, Administration, Visitor, administering, page_alone
from operating import do, with_redis
from redis.asyncio import Redis
from serving import Server

from d4common import records, totp
from d4common.queue_settings import settings_of
from d4common.queues import QUEUES
from d4common.records import Entry
from d4server.actor import Role
from d4server.sensors import SILENCE
from demo.chain import Daemon

MARKUP = "<img src=x onerror=alert(1)>\"'&<script>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administration]:
    with page_alone(tmp_path_factory.mktemp("page")) as made:
        yield made


@pytest.fixture
def own_page(tmp_path: Path, redis: Daemon) -> Iterator[Administration]:
    with administering(Server(tmp_path, tmp_path / "redis.sock"), tmp_path) as made:
        yield made


def box(text: str, name: str) -> str:
    """What stands in a box of a form, or is shown to be copied."""
    found = re.search(rf'id="{name}"[^>]*value="([^"]*)"', text)
    assert found, text
    return found[1]


def test_the_tutorial_without_scripts(page: Administration) -> None:
    visitor = page.logged_in(Role.OPERATOR)
    answer = visitor.send("/types/accept", type="254", name="of-tests", description="from here")
    assert "The type is accepted." in visitor.ask(answer.headers["Location"]).text
    form = visitor.ask("/queues/-/create?type=254&meta=of-tests")
    typed = {"csrf": form.csrf(), "type": "254", "meta": "of-tests", "description": "kept"}
    made = visitor.ask("/queues/-/create", "POST", {**typed, "name": "", "make": "yes"})
    uuid = box(made.text, "name")
    assert made.status == 200 and re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f-]{17}", uuid)
    assert box(made.text, "meta") == "of-tests" and ">kept</textarea>" in made.text
    assert do(page.server.redis_path, "queues.list", search=uuid).total == 0, "nothing is made by it yet"
    answer = visitor.ask("/queues/-/create", "POST", {**typed, "name": uuid})
    assert answer.headers["Location"] == f"/queues/{uuid}?done=queues.create"
    shown = visitor.ask(answer.headers["Location"]).text
    assert box(shown, "command") == f"d4-exporter udp -t of-tests -u {uuid} -p 8337 -i 127.0.0.1"
    conffile = re.search(r'<textarea [^>]*id="conffile"[^>]*>(.*?)</textarea>', shown, re.DOTALL)
    assert conffile
    parser = ConfigParser()
    parser.read_string(conffile[1])
    assert dict(parser["queue"]) == {"type": "of-tests", "queue": uuid}
    # One's own UUID, and one that is made where the box is empty.
    own = str(uuid4())
    answer = visitor.send("/queues/-/create", type="of-tests", name=own)
    assert answer.headers["Location"].startswith(f"/queues/{own}?")
    answer = visitor.send("/queues/-/create", type="of-tests", name="")
    assert re.match("/queues/[0-9a-f-]{36}[?]", answer.headers["Location"])


def test_what_is_wrong_with_a_queue_stands_beside_its_box(page: Administration) -> None:
    visitor = page.logged_in(Role.OPERATOR)
    for form, problem in (
        ({"type": "254"}, "type-problem"),
        ({"type": "3", "meta": "x"}, "meta-problem"),
        ({"type": "3", "name": "a b"}, "name-problem"),
    ):
        answer = visitor.send("/queues/-/create", description="kept", **form)
        assert answer.status == 422 and f'id="{problem}"' in answer.text and ">kept</textarea>" in answer.text
    answer = visitor.send("/queues/-/create", type="3", group="nobody", description="kept")
    assert answer.status == 409 and "There is no group nobody" in answer.text


def test_records_are_text_or_digits_and_never_markup(page: Administration) -> None:
    visitor, path = page.logged_in(Role.VIEWER), page.server.redis_path
    do(path, "queues.create", type="maltrail", name="lines")
    do(path, "queues.create", type="1", name="frames")
    line = f"{MARKUP} \x1b[31m \N{RIGHT-TO-LEFT OVERRIDE}txt.exe\n".encode()
    stored = [
        Entry(uuid4(), "maltrail", time.time(), line),
        Entry(uuid4(), "1", time.time(), b"\xd4\xc3\0ABC"),
    ]
    with_redis(path, lambda redis: records.append(redis, stored))
    shown = visitor.ask("/queues/lines").text
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown and "<img src=x" not in shown
    assert "\\x1b[31m \\u202etxt.exe" in shown
    assert re.search(r"0000  d4 c3 00 41 42 43 +\.\.\.ABC<", visitor.ask("/queues/frames").text)


def test_names_and_descriptions_are_text_on_every_page(own_page: Administration) -> None:
    path, visitor = own_page.server.redis_path, own_page.logged_in(Role.ADMIN)
    uuid = str(do(path, "sensors.add", name=MARKUP).uuid)
    do(path, "sensors.describe", uuid=uuid, description=MARKUP)
    do(path, "sensors.watch", uuid=uuid, silence="1h")
    do(path, "queues.create", type="maltrail", name="q", description=MARKUP)
    do(path, "types.describe", type="maltrail", description=MARKUP)
    do(path, "tokens.create", name=MARKUP, role="viewer", user="the-admin")
    with_redis(path, lambda redis: redis.hset(settings_of("q"), "group", MARKUP))
    visitor.ask("/sensors", "GET", None, User_Agent=MARKUP)
    visitor.send("/blacklist/add", entry=MARKUP)
    with_redis(path, lambda redis: agents(redis))
    seen = 0
    for shown in (
        *("/", "/sensors", f"/sensors/{uuid}", f"/sensors/{uuid}/rename", "/sensors/watched", "/types"),
        *("/types/maltrail/describe", "/queues", "/queues/q", "/queues/q/describe", "/queues/-/create"),
        *("/users", "/users/the-admin", "/tokens", "/profile", "/audit", "/audit?outcome=refused"),
        *("/queues?search=%3Cimg+src%3Dx", "/users?search=%3Cimg+src%3Dx", "/audit?search=%3Cimg+src%3Dx"),
    ):
        text = visitor.ask(shown).text
        assert "<img src=x" not in text and "<script>" not in text and "'&<" not in text, shown
        seen += "&lt;img src=x" in text
    assert seen > 10


async def agents(redis: Redis) -> None:
    """Has every browser call itself something else."""
    async for key in redis.scan_iter("d4:{admin}:session:*"):
        await redis.hset(key, "agent", MARKUP)


def test_a_thousand_queues_and_ten_thousand_sensors_are_pages(own_page: Administration) -> None:
    visitor, redis = own_page.logged_in(Role.OPERATOR), own_page.server.redis
    with redis.pipeline(transaction=False) as pipe:
        for number in range(1000):
            name = f"queue-{number:03}"
            pipe.hset(QUEUES, name, "maltrail")
            pipe.hset(settings_of(name), "description", "What it is for, in many words. " * 8)
            pipe.hset("d4:{admin}:groups", f"group-{number:03}", 1)
        for _ in range(10_000):
            pipe.hset(SILENCE, str(uuid4()), "60 1")
        for number in range(1000):
            pipe.hset("d4:{admin}:types", f"type-{number:03}", "accepted")
        pipe.execute()
    loaded = sum(
        len(visitor.ask(f"/static/{name}").body)
        for name in ("bootstrap.css", "style.css", "parts.css", "lists.css", "page.js", "icon.svg")
    )
    for path, said in (
        ("/", "All 1,000 queues"),
        ("/queues", "Page 1 of 20"),
        ("/queues?page=20", "queue-999"),
        ("/queues/queue-500", "queue-500"),
        ("/queues/-/create", "group-199"),
        ("/sensors/watched", "Page 1 of 200"),
        ("/sensors/watched?page=200", "10,000 sensors"),
        ("/sensors/watched?search=nobody", "No watched sensor is like that"),
        ("/types", "Page 1 of 21"),
        ("/types?search=TYPE-00", "10 types"),
        ("/types?search=nothing", "No type is like that"),
    ):
        answer = visitor.ask(path)
        assert answer.status == 200 and said in answer.text, path
        assert len(answer.body) + loaded < MOST_BYTES, path
    for wrong in ("/types?page=0", "/sensors/watched?page=x", "/queues?page=-1"):
        assert visitor.ask(wrong).status == 400


def test_a_user_from_the_first_password_to_the_end(own_page: Administration) -> None:
    admin = own_page.visitor()
    admin.come_in()
    made = admin.send("/users/-/create", name="Alice", role="operator")
    password = box(made.text, "password")
    assert password not in admin.ask("/users/alice").text + admin.ask("/audit").text + own_page.log()
    assert "first password" in admin.ask("/users/alice").text
    alice = own_page.visitor()
    alice.log_in(password, "alice")
    assert alice.send("/password", old=password, new=PASSWORD, again=PASSWORD).status == 303
    assert alice.ask("/queues").status == 200
    session = re.search("/users/alice/sessions/([0-9a-f]{16})/end", admin.ask("/users/alice").text)
    assert session
    assert admin.send(f"/users/alice/sessions/{session[1]}/end").status == 303
    assert alice.ask("/queues").headers["Location"].startswith("/login")
    alice.log_in(PASSWORD, "alice")
    assert admin.send("/users/alice/role", role="viewer").status == 303
    alice.log_in(PASSWORD, "alice")
    assert alice.ask("/queues/-/create").status == 403
    assert admin.send("/users/alice/disable").status == 303
    assert alice.log_in(PASSWORD, "alice").status == 401
    assert admin.send("/users/alice/enable").status == 303
    assert box(admin.send("/users/alice/password").text, "password") != password
    confirm = admin.ask("/users/alice/delete").text
    assert "Delete a user" in confirm and "alice" in confirm
    assert admin.send("/users/alice/delete").headers["Location"] == "/users?done=users.delete"
    assert admin.ask("/users/alice").status == 404
    last = admin.send("/users/admin/delete")
    assert last.status == 409 and "is the only admin who can log in" in last.text


def test_the_second_factor_is_set_up_and_removed(own_page: Administration) -> None:
    visitor = own_page.visitor()
    visitor.come_in()
    wrong = visitor.send("/profile/totp", password="guess")
    assert wrong.status == 422 and "Is not right" in wrong.text
    begun = visitor.send("/profile/totp", password=PASSWORD).text
    secret, uri = box(begun, "secret"), box(begun, "uri")
    assert f'href="{uri}"' in begun and uri.startswith("otpauth://totp/") and secret in uri
    assert '<form method="post" action="/profile/totp/confirm"' in begun
    wrong = visitor.send("/profile/totp/confirm", code="000000")
    assert wrong.status == 422 and secret not in wrong.text
    on = visitor.send("/profile/totp/confirm", code=code(secret))
    codes = re.search(r'<textarea [^>]*id="codes"[^>]*>(.*?)</textarea>', on.text, re.DOTALL)
    assert codes and len(codes[1].split()) == 10
    shown = visitor.ask("/profile").text
    assert "10 recovery codes are left" in shown and codes[1].split()[0] not in shown
    assert secret not in own_page.log() + visitor.ask("/audit").text
    assert log_in_with(own_page.visitor(), codes[1].split()[0]) == 303
    assert visitor.send("/profile/totp/remove", password=PASSWORD).status == 303
    assert "The password alone lets you in" in visitor.ask("/profile").text


def code(secret: str) -> str:
    """What an app shows now."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    return totp.code(key, int(time.time()) // totp.STEP)


def log_in_with(visitor: Visitor, code: str) -> int:
    """The answer to a login with a code."""
    visitor.log_in(PASSWORD)
    return visitor.send("/login/code", code=code).status


def test_a_token_is_shown_once_and_revoked(page: Administration) -> None:
    visitor = page.logged_in(Role.VIEWER)
    made = visitor.send("/tokens/create", name="of tests", role="viewer", valid="1h")
    token = box(made.text, "token")
    asking = {"Authorization": f"Bearer {token}", "Cookie": ""}
    assert visitor.ask("/api/v1/sensors", **asking).status == 200
    listed = visitor.ask("/tokens").text
    assert "of tests" in listed and token not in listed + page.log()
    id = re.search("/tokens/([0-9a-f]{16})/revoke", listed)
    assert id and visitor.send(f"/tokens/{id[1]}/revoke").status == 303
    assert visitor.ask("/api/v1/sensors", **asking).status == 401


def test_the_audit_trail_is_searched_and_has_what_was_refused(page: Administration) -> None:
    visitor, path = page.logged_in(Role.ADMIN), page.server.redis_path
    do(path, "types.describe", type="3", description="a needle")
    page.logged_in(Role.VIEWER).ask("/users")
    found = visitor.ask("/audit?search=NEEDLE").text
    assert ">1 entry<" in found and "types.describe" in found and "a needle" in found
    assert "users.list" in visitor.ask("/audit?outcome=refused&search=the-viewer").text
    assert "No entry is like that" in visitor.ask("/audit?search=haystack").text
    page.server.redis.xadd("d4:{admin}:audit", {"user": "x", "action": "odd", "values": "not json"})
    assert "not json" in visitor.ask("/audit").text
