"""maltrail-collector as a process: real datagrams, real logs, real HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from collecting import Collector, an_event, basic
from waiting import wait_for

from d4common.command import BROKEN_CONFIG
from demo.chain import environment
from maltrailcollector.daylog import day_of


def test_what_is_believed_is_logged_to_the_byte_and_the_rest_is_not(collector: Collector) -> None:
    events = [an_event(usec=number, sensor="Büro 2") for number in range(500)]
    expected = "".join(seen.line() + "\n" for seen in events).encode()
    collector.send(b"junk", b"1 <script>alert(1)</script>", *(seen.wire() for seen in events), b"\xff" * 9000)
    wait_for(lambda: collector.logged() == expected)
    (path,) = collector.logs.iterdir()
    assert path.name == f"{day_of(events[0].sec)}.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    wait_for(lambda: "(size)" in collector.said)
    assert "refused a datagram from 127.0.0.1 (fields)" in collector.said
    collector.daemon.stop()
    assert "500 events stored, 2 refused (fields), 1 refused (size), 0 lost" in collector.said


def test_events_gives_tools_the_log(collector: Collector) -> None:
    authorization = basic("admin", collector.password())
    assert collector.ask("/events", Authorization=authorization).body == b""
    seen = an_event()
    collector.send(seen.wire())
    wait_for(collector.logged)
    line = seen.line().encode() + b"\n"
    for path in ("/events", f"/events?date={day_of(seen.sec)}"):
        answer = collector.ask(path, Authorization=authorization)
        assert (answer.status, answer.body) == (200, line)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    part = collector.ask("/events", Authorization=authorization, Range="bytes=1-10")
    assert (part.status, part.body) == (206, line[1:11])
    assert part.headers["Content-Range"] == f"bytes 1-10/{len(line)}"
    assert collector.ask("/events", Authorization=authorization, Range="bytes=9999-").status == 416
    assert collector.ask("/events?date=2001-01-01", Authorization=authorization).body == b""


@pytest.mark.parametrize("date", ["", "yesterday", "2026-13-01", "2026-1-1", "../x", "2026-11-24%00"])
def test_a_date_that_is_none_is_refused(collector: Collector, date: str) -> None:
    cookie = collector.log_in(collector.password())
    for page in ("/", "/events", "/live"):
        answer = collector.ask(f"{page}?date={date}", Cookie=cookie)
        assert (answer.status, answer.body) == (400, b"date must be a day such as 2026-11-24\n")


def test_strangers_see_nothing(collector: Collector) -> None:
    collector.password()
    for authorization in ("", basic("admin", "guess"), "Basic x", "Basic //79"):
        answer = collector.ask("/events", Authorization=authorization)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Basic realm=")
    assert collector.ask("/live").status == 401
    page = collector.ask("/", Cookie="maltrail_collector=guess")
    assert (page.status, page.headers["Location"]) == (303, "/login")
    assert collector.ask("/login").status == 200
    assert collector.ask("/ping").body == b"pong"
    assert collector.ask("/nowhere").status == 404
    assert collector.ask("/static/../web.py").status == 404


def test_a_session_lasts_from_login_to_logout(collector: Collector) -> None:
    password = collector.password()
    refused = collector.ask("/login", "POST", {"user": "admin", "password": "guess"})
    assert refused.status == 401 and b"not right" in refused.body
    answer = collector.ask("/login", "POST", {"user": "admin", "password": password})
    assert re.search("; HttpOnly; Max-Age=43200; Path=/; SameSite=Strict$", answer.headers["Set-Cookie"])
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert collector.ask("/", Cookie=cookie).status == 200
    assert collector.ask("/events", Cookie=cookie).status == 200
    assert collector.ask("/login", Cookie=cookie).headers["Location"] == "/"
    with collector.live(Cookie=cookie) as live:
        assert next(live)["total"] == 0
        assert collector.ask("/logout", "POST", {}, Cookie=cookie).headers["Location"] == "/login"
        assert collector.ask("/", Cookie=cookie).status == 303
        assert list(live) == []


def test_a_new_password_ends_sessions_and_is_good_at_once(collector: Collector) -> None:
    cookie = collector.log_in(collector.password())
    collector.command("password", "--set", input="correct horse\n")
    assert collector.ask("/", Cookie=cookie).status == 303
    assert collector.ask("/", Cookie=collector.log_in("correct horse")).status == 200
    with pytest.raises(subprocess.CalledProcessError) as error:
        collector.command("password", "--set", input="short\n")
    assert error.value.stderr == "a password must have 10 characters at least\n"


def test_the_first_password_is_said_and_works(collector: Collector) -> None:
    said = re.search(r"for user admin: (\S+)", collector.said)
    assert said
    collector.log_in(said[1])
    assert stat.S_IMODE((collector.state / "password").stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://["},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
    ],
)
def test_forms_of_other_sites_are_refused(collector: Collector, headers: dict[str, str]) -> None:
    form = {"user": "admin", "password": collector.password()}
    assert collector.ask("/login", "POST", form, **headers).status == 403
    own = {"Origin": collector.url, "Sec_Fetch_Site": "same-origin"}
    assert collector.ask("/login", "POST", form, **own).status == 303


@pytest.mark.parametrize(
    "request_",
    [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET http://[x/ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nuser",
    ],
)
def test_what_is_not_http_costs_one_line_at_most(collector: Collector, request_: bytes) -> None:
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", collector.http_port)) as client:
            client.sendall(request_)
            client.shutdown(socket.SHUT_WR)
            client.settimeout(10)
            with suppress(ConnectionError):
                while client.recv(65536):
                    pass
    assert collector.ask("/ping").body == b"pong"
    # Newer releases of aiohttp say nothing of what is plainly TLS.
    assert collector.said.count("a request could not be understood") <= 1
    assert "Traceback" not in collector.said


def test_forms_beyond_reason_are_refused(collector: Collector) -> None:
    assert collector.ask("/login", "POST", {"user": "admin", "password": "x" * 20_000}).status == 413
    assert collector.ask("/login", "POST", {"user": "\0\ufffe", "password": "x" * 2000}).status == 401
    assert collector.ask("/login", "POST", {}).status == 401
    assert "Traceback" not in collector.said


def test_every_answer_has_the_headers_that_guard_it(collector: Collector) -> None:
    cookie = collector.log_in(collector.password())
    for path in ("/", "/login", "/events", "/ping", "/nowhere", "/events?date=x", "/static/day.js"):
        headers = collector.ask(path, Cookie=cookie).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "same-origin"
        assert headers["Server"] == "maltrail-collector"
    assert collector.ask("/events").headers["Cache-Control"] == "no-store"


def test_the_style_sheet_of_bootstrap_is_served(collector: Collector) -> None:
    answer = collector.ask("/static/bootstrap5/css/bootstrap.min.css")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/css")
    assert b"Bootstrap" in answer.body
    assert collector.ask("/static/style.css").status == 200


def test_live_follows_the_log_and_goes_on_where_it_was(collector: Collector) -> None:
    cookie = collector.log_in(collector.password())
    with collector.live(Cookie=cookie) as live:
        assert next(live) == {"id": "0", "total": 0, "events": []}
        collector.send(an_event(usec=1).wire())
        first = next(live)
        assert (first["total"], first["events"][0]["trail"]) == (1, "136.161.101.53")
    collector.send(an_event(usec=2).wire())
    wait_for(lambda: collector.logged().count(b"\n") == 2)
    with collector.live(Cookie=cookie, Last_Event_ID=first["id"]) as live:
        again = next(live)
        assert (again["total"], [event["time"][-6:] for event in again["events"]]) == (2, ["000002"])
    with collector.live(Cookie=cookie) as live:
        assert [event["time"][-6:] for event in next(live)["events"]] == ["000001", "000002"]


def test_a_large_day_gives_a_small_page(collector: Collector) -> None:
    line = an_event(info="x" * 100).line() + "\n"
    (collector.logs / f"{day_of(int(time.time()))}.log").write_text(line * 300_000)
    cookie = collector.log_in(collector.password())
    assert len(collector.ask("/", Cookie=cookie).body) < 300_000
    with collector.live(Cookie=cookie) as live:
        message = next(live)
    assert message["total"] == 300_000
    assert len(json.dumps(message)) < 600_000


def test_a_stop_takes_what_waits_and_ends_the_streams(collector: Collector) -> None:
    with collector.live(Cookie=collector.log_in(collector.password())) as live:
        next(live)
        assert collector.daemon.process
        collector.daemon.process.send_signal(signal.SIGSTOP)
        collector.send(*(an_event(usec=number).wire() for number in range(1000)))
        collector.daemon.process.send_signal(signal.SIGTERM)
        collector.daemon.process.send_signal(signal.SIGCONT)
        collector.daemon.stop()
    assert collector.logged().count(b"\n") == 1000
    collector.daemon.start()
    collector.send(an_event().wire())
    wait_for(lambda: collector.logged().count(b"\n") == 1001)


def test_reload_takes_what_can_change_and_keeps_the_old_where_the_new_is_wrong(collector: Collector) -> None:
    assert collector.daemon.process
    drop_in = collector.config.with_name("collector.conf.d") / "50-age.conf"
    drop_in.parent.mkdir()
    drop_in.write_text("[udp]\nmax_age = never\n")
    collector.daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "stays in force" in collector.said)
    assert f"{drop_in}:2: [udp] max_age = never: must be a time span" in collector.said
    drop_in.write_text("[udp]\nmax_age = 1h\nudp_port = 9\n")
    collector.daemon.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "take effect with a restart" in collector.said)
    now = int(time.time())
    collector.send(an_event(sec=now - 7200).wire(), an_event(sec=now).wire())
    wait_for(collector.logged)
    assert collector.logged().decode() == an_event(sec=now).line() + "\n"


def test_sockets_that_systemd_holds_are_taken(collector: Collector) -> None:
    collector.daemon.stop()
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", collector.udp_port))
    web = socket.create_server(("127.0.0.1", collector.http_port))
    collector.send(an_event(usec=1).wire())  # it waits in the socket until the daemon is there
    # As systemd does it (sd_listen_fds(3)): from descriptor 3 on, for the process of this number only.
    script = f'export LISTEN_PID=$$; exec "$@" 3<&{udp.fileno()} 4<&{web.fileno()}'
    process = subprocess.Popen(
        ["bash", "-c", script, "bash", *collector.base, "run"],
        env={**environment(), "LISTEN_FDS": "2", "LISTEN_FDNAMES": "udp:web"},
        pass_fds=(udp.fileno(), web.fileno()),
    )
    try:
        collector.send(an_event(usec=2).wire())
        wait_for(lambda: collector.logged().count(b"\n") == 2)
        assert collector.ask("/ping").body == b"pong"
    finally:
        process.terminate()
        assert process.wait(10) == 0
        udp.close()
        web.close()


def test_what_stops_a_start_is_said_in_one_line(collector: Collector, tmp_path: Path) -> None:
    def start(status: int = 1) -> str:
        result = subprocess.run(
            [*collector.base, "run"], env=environment(), capture_output=True, text=True, timeout=30
        )
        assert result.returncode == status
        return result.stderr

    assert start() == f"cannot listen on 127.0.0.1:{collector.udp_port}: Address already in use\n"
    collector.config.write_text(
        f"[log]\nlog_dir = {tmp_path}/nowhere\n[web]\nstate_dir = {collector.state}\n"
    )
    assert start() == f"{tmp_path}/nowhere must be a directory that this user can write to\n"
    collector.config.write_text("[udp]\nport = 1\nlisten = x\n")
    assert start(BROKEN_CONFIG).splitlines() == [
        f"{collector.config}:2: [udp] has no option port; did you mean udp_port?",
        f"{collector.config}:3: [udp] listen = x: must be an address such as 127.0.0.1, 0.0.0.0 or ::",
    ]


def test_sockets_writes_drop_ins_for_what_is_not_the_default(collector: Collector, tmp_path: Path) -> None:
    out = tmp_path / "generated"
    collector.command("sockets", str(out))
    assert (out / "maltrail-collector.socket.d" / "50-d4.conf").read_text() == (
        f"[Socket]\nListenDatagram=\nListenDatagram=127.0.0.1:{collector.udp_port}\n"
    )
    assert (out / "maltrail-collector-web.socket.d" / "50-d4.conf").read_text() == (
        f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{collector.http_port}\n"
    )
    collector.config.write_text("[web]\nhttp_listen = ::\n")
    collector.command("sockets", str(tmp_path / "web"))
    assert os.listdir(tmp_path / "web") == ["maltrail-collector-web.socket.d"]
    collector.config.write_text("[web]\nhttp_listen = here\n[udp]\nlisten = ::\n")
    with pytest.raises(subprocess.CalledProcessError) as error:
        collector.command("sockets", str(tmp_path / "none"))
    assert "http_listen = here: must be an address" in error.value.stderr
    assert not (tmp_path / "none").exists()
