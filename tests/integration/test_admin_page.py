"""The page for administrators: the real process over HTTPS, what it lets through and what it says."""

from __future__ import annotations

import re
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from administering import (
    MOST_BYTES,
    PASSWORD,
    Administration,
    Answer,
    administering,
    must_have_headers,
    page_alone,
)
from operating import do
from populating import populate
from redis import Redis
from serving import Server
from waiting import wait_for

from d4common import totp
from d4server import sessions
from d4server.actor import Role
from d4server.sensors import ALL
from d4server.web import login
from d4server.web.pages import ROUTES
from demo.chain import Daemon, environment


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Administration]:
    """One for all tests that add to it and no more."""
    with page_alone(tmp_path_factory.mktemp("page")) as made:
        yield made


@pytest.fixture
def own_page(tmp_path: Path, redis: Daemon) -> Iterator[Administration]:
    """One of a test's own."""
    with administering(Server(tmp_path, tmp_path / "redis.sock"), tmp_path) as made:
        yield made


def title(answer: Answer) -> str:
    found = re.search("<h1>(.*?)</h1>", answer.text, re.DOTALL)
    return re.sub("<[^>]*>", "", found[1]).strip() if found else ""


def test_from_the_first_password_to_the_overview_and_out(own_page: Administration) -> None:
    visitor = own_page.visitor()
    answer = visitor.ask("/sensors?state=pending")
    assert (answer.status, answer.headers["Location"]) == (303, "/login?next=%2Fsensors%3Fstate%3Dpending")
    wrong = visitor.log_in("guess")
    assert wrong.status == 401 and login.WRONG in wrong.text and 'value="admin"' in wrong.text
    first = own_page.first_password()
    answer = visitor.send("/login?next=/sensors", user="admin", password=first, next="/sensors")
    assert (answer.status, answer.headers["Location"]) == (303, "/sensors")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith(f"{login.COOKIE}=")
    assert all(part in cookie for part in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"))
    assert "Domain" not in cookie
    # Nothing else before the password is changed.
    for path in ("/", "/sensors", "/sensors/add"):
        assert visitor.ask(path).headers["Location"] == "/password"
    assert "Log out" in visitor.ask("/password").text
    other = visitor.cookies.copy()
    for form, problem in (
        ({"old": "guess", "new": PASSWORD, "again": PASSWORD}, "Is not right"),
        ({"old": first, "new": "short", "again": "short"}, "Must have 10 characters at least"),
        ({"old": first, "new": PASSWORD, "again": PASSWORD + "!"}, "Is not the same as the new one"),
    ):
        answer = visitor.send("/password", **form)
        assert answer.status == 422 and problem in answer.text
        assert PASSWORD not in answer.text
    answer = visitor.send("/password", old=first, new=PASSWORD, again=PASSWORD)
    assert answer.status == 303
    shown = visitor.ask(answer.headers["Location"])
    assert title(shown) == "Overview" and "Your password is changed" in shown.text
    # Sessions from before have ended.
    ended = own_page.visitor()
    ended.cookies = other
    assert ended.ask("/").headers["Location"].startswith("/login")
    csrf = shown.csrf()
    assert visitor.ask("/logout", "POST", {"csrf": csrf}).headers["Location"] == "/login"
    assert login.COOKIE not in visitor.cookies
    assert first not in own_page.log().partition("first password")[2].partition("\n")[2]
    assert PASSWORD not in own_page.log()


def test_the_second_factor(own_page: Administration) -> None:
    visitor = own_page.visitor()
    visitor.come_in()
    redis = own_page.server.redis
    secret = totp.new_secret()
    redis.hset("d4:{admin}:user:admin", mapping={"totp": secret.hex()})
    visitor = own_page.visitor()
    answer = visitor.send("/login", user="admin", password=PASSWORD, next="/sensors")
    assert answer.headers["Location"] == "/login/code?next=%2Fsensors"
    assert visitor.ask("/").headers["Location"].startswith("/login")  # half a session is none
    wrong = visitor.send("/login/code?next=/sensors", code="000000")
    assert wrong.status == 401 and login.WRONG_CODE in wrong.text
    code = totp.code(secret, int(time.time()) // totp.STEP)
    answer = visitor.send("/login/code", code=code, next="/sensors")
    assert (answer.status, answer.headers["Location"]) == (303, "/sensors")
    assert visitor.ask("/sensors").status == 200
    assert own_page.visitor().ask("/login/code").headers["Location"] == "/login"


def test_every_route_has_all_headers_whoever_asks(page: Administration) -> None:
    admin, stranger = page.logged_in(Role.ADMIN), page.visitor()
    uuid = str(do(page.server.redis_path, "sensors.add").uuid)
    paths = [re.sub(r"\{uuid\}", uuid, route.path) for route in ROUTES if route.method == "GET"]
    paths += [
        "/login",
        "/login/code",
        "/ping",
        "/static/style.css",
        "/static/bootstrap.css",
        "/static/page.js",
    ]
    paths += ["/nothing", "/static/nothing", "/api/v1/sensors", "/api/v1/nothing", "/sensors/nobody"]
    for path in paths:
        for visitor in (admin, stranger):
            for method in ("GET", "POST", "PUT"):
                answer = visitor.ask(path, method, {} if method == "POST" else None)
                must_have_headers(answer)
                assert answer.status < 500, (path, method)
                kept = path.startswith("/static/") and answer.status == 200
                assert ("no-store" in answer.headers["Cache-Control"]) == (not kept)
                assert len(answer.body) < MOST_BYTES
                assert " style=" not in answer.text and "<script>" not in answer.text
                assert not re.search(r" on[a-z]+=", answer.text)


def test_no_form_without_its_token_or_from_elsewhere(page: Administration) -> None:
    visitor, path = page.logged_in(Role.ADMIN), "/sensors/add"
    csrf = visitor.ask(path).csrf()
    before = page.server.redis.scard(ALL)
    for form, more in (
        ({}, {}),
        ({"csrf": "0" * 64}, {}),
        ({"csrf": "é"}, {}),
        ({"csrf": page.logged_in(Role.VIEWER).ask("/").csrf()}, {}),
        ({"csrf": csrf}, {"Origin": "https://evil.example"}),
        ({"csrf": csrf}, {"Origin": "null"}),
        ({"csrf": csrf}, {"Sec_Fetch_Site": "cross-site"}),
        ({"csrf": csrf}, {"Sec_Fetch_Site": "same-site"}),
    ):
        assert visitor.ask(path, "POST", form, **more).status == 403
    assert page.server.redis.scard(ALL) == before
    assert visitor.ask(path, "POST", {"csrf": csrf}, Origin=page.url).status == 200
    assert page.server.redis.scard(ALL) == before + 1
    # The login has a token of its own.
    stranger = page.visitor()
    assert stranger.ask("/login", "POST", {"user": "admin", "password": "x", "csrf": ""}).status == 403
    assert stranger.ask("/login", "POST", {"user": "admin", "password": "x", "csrf": csrf}).status == 403


def test_get_changes_nothing(page: Administration) -> None:
    visitor, server = page.logged_in(Role.ADMIN), page.server
    uuid = str(do(server.redis_path, "sensors.add").uuid)
    do(server.redis_path, "queues.create", type="maltrail", name="some")
    for room in ("groups", "users"):
        do(server.redis_path, f"{room}.create", name="some")
    do(server.redis_path, "types.accept", type="77")

    def kept() -> dict[bytes, object]:
        return {key: value_of(server.redis, key) for key in server.redis.scan_iter() if b"session" not in key}

    before = kept()
    for route in ROUTES:
        path = route.path.replace("{uuid}", uuid).replace("{name}", "some").replace("{type}", "77")
        visitor.ask(f"{path}?entry=192.0.2.1&name=x&span=30s&valid=1h&new=x&old=x&theme=dark&type=3&make=yes")
    assert kept() == before


def value_of(redis: Redis, key: bytes) -> object:
    """What a key holds; Redis may give out the same hash or set in another order."""
    match redis.type(key):
        case b"hash":
            return redis.hgetall(key)
        case b"set":
            return redis.smembers(key)
        case _:
            return redis.dump(key)


def test_what_was_typed_stays_and_what_is_wrong_stands_beside_it(page: Administration) -> None:
    visitor = page.logged_in(Role.OPERATOR)
    answer = visitor.send("/sensors/add", uuid="<script>", name="edge", key="a secret that was typed")
    assert answer.status == 422
    assert 'value="&lt;script&gt;"' in answer.text and 'value="edge"' in answer.text
    assert "a secret that was typed" not in answer.text
    assert re.search('aria-invalid="true"[^>]*value="&lt;script&gt;"', answer.text)
    assert '<p class="problem" id="uuid-problem">' in answer.text


def test_a_key_is_shown_once(page: Administration) -> None:
    visitor, server = page.logged_in(Role.OPERATOR), page.server
    answer = visitor.send("/sensors/add", name="edge")
    assert answer.status == 200
    key = re.search('id="key" value="([0-9a-f]{64})"', answer.text)
    uuid = re.search('id="uuid" value="([0-9a-f-]{36})"', answer.text)
    assert key and uuid
    for path in ("/sensors", f"/sensors/{uuid[1]}", "/sensors/add"):
        assert key[1] not in visitor.ask(path).text
    assert key[1] not in page.log()
    # A key that was given is not shown at all.
    answer = visitor.send("/sensors/add", uuid=str(uuid4()), key="given by hand")
    assert answer.headers["Location"] == "/sensors?done=sensors.add"
    assert "The sensor may connect." in visitor.ask(answer.headers["Location"]).text
    rotated = visitor.send(f"/sensors/{uuid[1]}/rotate")
    assert server.redis.hget(f"d4:{{sensors}}:{uuid[1]}", "key").decode() in rotated.text


def test_a_full_server(page: Administration) -> None:
    visitor, server = page.logged_in(Role.ADMIN), page.server
    uuids = populate(server.redis_path)
    wait_for(lambda: ">2 sensors<" in visitor.ask("/sensors?search=branch-").text)
    assert "border-north" in visitor.ask("/sensors").text
    assert "code <b" in visitor.ask("/sensors?state=pending").text
    assert "border-north" not in visitor.ask("/sensors?search=honeypot").text
    assert title(visitor.ask("/sensors?search=nowhere")) == "Sensors"
    assert "No sensor is like that" in visitor.ask("/sensors?search=nowhere").text
    assert visitor.ask("/sensors?state=asleep").status == 400
    one = visitor.ask(f"/sensors/{uuids[0]}").text
    assert "198.51.100.20" in one and "The key does not fit" in one and "<svg" in one
    assert "2 sensors wait for approval" in re.sub(r"\s+", " ", visitor.ask("/").text)
    assert "branch-3" in visitor.ask("/sensors/enrolment").text
    assert "203.0.113.0/28" in visitor.ask("/blacklist").text
    assert visitor.ask(f"/sensors/{uuid4()}").status == 404
    assert visitor.ask(f"/sensors/{uuid4()}/revoke").status == 404


def test_ten_thousand_sensors_are_pages(own_page: Administration) -> None:
    visitor, redis = own_page.logged_in(Role.VIEWER), own_page.server.redis
    with redis.pipeline(transaction=False) as pipe:
        for number in range(10_000):
            uuid = uuid4()
            pipe.hset(
                f"d4:{{sensors}}:{uuid}", mapping={"key": "k", "added": 1, "name": f"sensor-{number:04}"}
            )
            pipe.sadd("d4:{sensors}", str(uuid))
        pipe.execute()
    wait_for(lambda: "10,000 sensors" in visitor.ask("/sensors").text)
    first = visitor.ask("/sensors")
    assert "Page 1 of 200" in first.text
    assert 'href="/sensors?page=2"' in first.text
    last = visitor.ask("/sensors?page=200&sort=-name")
    assert "sensor-0000" in last.text and 'href="/sensors?page=199&amp;sort=-name"' in last.text
    assert len(first.body) + len(visitor.ask("/static/bootstrap.css").body) < MOST_BYTES


def test_bodies_and_fields_have_limits(page: Administration) -> None:
    visitor = page.logged_in(Role.ADMIN)
    csrf = visitor.ask("/sensors/add").csrf()
    assert visitor.ask("/sensors/add", "POST", {"csrf": csrf, "name": "x" * (300 << 10)}).status == 413
    many = {f"field{number}": "" for number in range(200)}
    assert visitor.ask("/sensors/add", "POST", {"csrf": csrf, **many}).status == 400
    assert page.visitor().ask("/login", "POST", {"user": "x" * (300 << 10)}).status == 413


def test_who_asks_too_fast_must_wait(page: Administration) -> None:
    visitor = page.visitor()
    refused = next(answer for _ in range(2000) if (answer := visitor.ask("/ping")).status != 200)
    assert refused.status == 429 and int(refused.headers["Retry-After"]) >= 1
    must_have_headers(refused)
    problem = visitor.ask("/api/v1/sensors")
    if problem.status == 429:
        assert problem.headers.get_content_type() == "application/problem+json"


def test_the_browser_is_sent_nowhere_else(page: Administration) -> None:
    visitor = page.visitor()
    assert 'name="next" value="/"' in visitor.ask("/login?next=//evil.example").text
    visitor = page.logged_in(Role.VIEWER)
    csrf = visitor.ask("/").csrf()
    for back in ("//evil.example", "https://evil.example/", "/\\evil.example"):
        answer = visitor.ask("/theme", "POST", {"csrf": csrf, "theme": "dark", "back": back})
        assert answer.headers["Location"] == "/"
    assert 'data-theme="dark"' in visitor.ask("/").text
    assert visitor.ask("/theme", "POST", {"csrf": csrf, "theme": '"><b>', "back": "/"}).status == 303
    assert 'data-theme="dark"' in visitor.ask("/").text


def test_what_a_page_asks_for_by_itself_keeps_nobody_logged_in(page: Administration) -> None:
    visitor, redis = page.logged_in(Role.VIEWER), page.server.redis
    record = f"d4:{{admin}}:session:{sessions.id_of(visitor.cookies[login.COOKIE])}"
    redis.hset(record, "used", 1)
    assert visitor.ask("/", X_Refresh="yes").status == 200
    assert redis.hget(record, "used") == b"1"
    assert visitor.ask("/").status == 200
    assert redis.hget(record, "used") != b"1"


def test_while_redis_is_away_the_page_says_so(own_page: Administration, redis: Daemon) -> None:
    visitor = own_page.logged_in(Role.ADMIN)
    redis.stop(signal.SIGKILL)
    for asking in (visitor, own_page.visitor()):
        for path in ("/", "/login/code"):
            answer = asking.ask(path)
            assert (answer.status, title(answer)) in ((503, "Redis does not answer"), (303, ""))
    assert visitor.ask("/").status == 503
    assert visitor.ask("/static/style.css").status == 200
    redis.start()
    assert visitor.ask("/").status == 200


def test_tls_alone_and_another_certificate_at_a_reload(own_page: Administration) -> None:
    with socket.create_connection(("127.0.0.1", own_page.port), timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not plain.recv(1000).startswith(b"HTTP")
    before = certificate(own_page)
    tls_directory = own_page.server.ca.with_name("tls")
    (tls_directory / "server.pem").unlink()
    own_page.server.command("certificate", "--directory", str(own_page.server.ca.parent))
    assert own_page.daemon.process is not None
    own_page.daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: certificate(own_page) != before)
    (tls_directory / "server.pem").write_text("none")
    own_page.daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "not reloaded" in own_page.log())
    assert own_page.visitor().ask("/ping").body == b"pong"


def test_the_socket_that_systemd_holds_is_taken(own_page: Administration) -> None:
    own_page.daemon.stop()
    held = socket.create_server(("127.0.0.1", own_page.port))
    # As systemd does it (sd_listen_fds(3)): from descriptor 3 on, for the process of this number only.
    script = f'export LISTEN_PID=$$; exec "$@" 3<&{held.fileno()}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *own_page.server.base, "web"],
        env={**environment(), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"},
        pass_fds=(held.fileno(),),
    )
    try:
        assert own_page.visitor().ask("/ping").body == b"pong"  # it waited in the socket
    finally:
        process.terminate()
        assert process.wait(10) == 0
        held.close()


def certificate(page: Administration) -> str:
    return ssl.get_server_certificate(("127.0.0.1", page.port))
