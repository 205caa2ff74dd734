"""Sensors that fall silent, and how people hear of it: journal, webhook, mail."""

from __future__ import annotations

import asyncio
import email
import json
import os
import ssl
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest
from redis.asyncio import Redis
from serving import Server
from storing import run

from d4common import redis_client
from d4common.records import partition
from d4common.sender import Identity
from d4server import alerts, monitoring, sensors
from d4server.monitoring import Alert
from d4server.statistics import seen_key
from demo.chain import environment

T = TypeVar("T")


async def heard(redis: Redis, sensor: UUID, ago: int) -> None:
    """Says that a sensor was heard so many seconds ago."""
    await redis.zadd(seen_key(partition(sensor)), {str(sensor): int(time.time()) - ago})


async def watched_since(redis: Redis, sensor: UUID, limit: int, ago: int) -> None:
    """Says that a sensor is watched since so many seconds."""
    await redis.hset(sensors.SILENCE, str(sensor), f"{limit} {int(time.time()) - ago}")


def test_a_sensor_is_told_once_when_it_falls_silent_and_once_when_it_is_back(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        sensor = uuid4()
        await sensors.add(redis, Identity(sensor, b"a key of the tests"))
        await sensors.say(redis, sensor, name="lobby")
        await monitoring.watch(redis, sensor, 60)
        assert await monitoring.look(redis) == [], "it was not heard, but is watched since now"
        await watched_since(redis, sensor, 60, 1000)
        await heard(redis, sensor, 50)
        assert await monitoring.look(redis) == [] == await monitoring.errors(redis)
        await heard(redis, sensor, 70)
        [alert] = await monitoring.look(redis)
        assert alert[:3] == (sensor, "lobby", "silent")
        assert f"sensor lobby ({sensor}) is silent for longer than 60 s: last heard 2" in str(alert)
        assert await monitoring.look(redis) == []
        assert await monitoring.errors(redis) == [sensor.hex]
        await heard(redis, sensor, 0)
        [alert] = await monitoring.look(redis)
        assert str(alert) == f"sensor lobby ({sensor}) is heard again"
        assert await monitoring.look(redis) == [] == await monitoring.errors(redis)

    run(redis_socket, test)


def test_two_servers_that_look_tell_it_once(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        lot = [uuid4() for _ in range(20)]
        for sensor in lot:
            await watched_since(redis, sensor, 60, 70)
        found = await asyncio.gather(monitoring.look(redis), monitoring.look(redis))
        told = [alert for alerts in found for alert in alerts]
        assert sorted(alert.sensor for alert in told) == sorted(lot)
        assert str(told[0]) == f"sensor {told[0].sensor} is silent for longer than 60 s: not heard at all"

    run(redis_socket, test)


def test_a_watch_ends_by_hand_and_with_the_sensor(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        one, two = uuid4(), uuid4()
        for sensor in (one, two):
            await sensors.add(redis, Identity(sensor, b"a key of the tests"))
            await watched_since(redis, sensor, 60, 70)
        assert len(await monitoring.look(redis)) == 2
        assert await monitoring.limit_of(redis, one) == 60
        await monitoring.watch(redis, one, None)
        await sensors.remove(redis, two)
        assert await monitoring.watched(redis) == [] == await monitoring.look(redis)
        assert await monitoring.limit_of(redis, one) is None
        assert not await redis.exists(sensors.SILENCE, sensors.SILENT)

    run(redis_socket, test)


class Hook(HTTPServer):
    """A webhook over HTTPS that answers as it is told to, and keeps what it takes."""

    def __init__(self, certificate: Path, key: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = 204
        self.taken: list[Any] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.server_port}/hook/secret-part"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.answer < 300:
            self.server.taken.append(json.loads(body))
        self.send_response(self.server.answer)
        self.send_header("Location", "https://127.0.0.1:1/")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Server]:
    """A d4-server that does not run."""
    server = Server(tmp_path, redis_socket)
    yield server
    server.redis.close()


@pytest.fixture
def hook(server: Server, tmp_path: Path) -> Iterator[Hook]:
    """A webhook that is configured, and that serves with the server's certificate."""
    hook = Hook(tmp_path / "tls" / "server.pem", tmp_path / "tls" / "server.key")
    thread = threading.Thread(target=hook.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with server.config.open("a") as config:
        config.write(f"[monitoring]\nwebhook = {hook.url}\n")
    yield hook
    hook.shutdown()
    thread.join()
    hook.server_close()


def ask(server: Server, work: Callable[[Redis], Awaitable[T]]) -> T:
    """Does something with the server's Redis."""

    async def connected() -> T:
        redis = redis_client.connect(f"unix://{server.redis_path}")
        try:
            return await work(redis)
        finally:
            await redis_client.close(redis)

    return asyncio.run(connected())


def monitor(server: Server, *arguments: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """`d4-server monitor`, which trusts the server's own CA."""
    return subprocess.run(
        [*server.base, "monitor", *arguments],
        env={**environment(), "SSL_CERT_FILE": str(server.ca), **variables},
        capture_output=True,
        timeout=60,
    )


def test_the_webhook_gets_what_the_journal_gets(server: Server, hook: Hook) -> None:
    sensor = uuid4()
    ask(server, lambda redis: watched_since(redis, sensor, 60, 70))
    result = monitor(server)
    assert result.returncode == 0, result.stderr
    line = f"d4-server: WARNING: sensor {sensor} is silent for longer than 60 s: not heard at all\n"
    assert result.stderr.decode() == line
    ask(server, lambda redis: heard(redis, sensor, 0))
    assert b"is heard again" in monitor(server).stderr
    assert monitor(server).stderr == b""
    first, second = hook.taken
    [alert] = first["alerts"]
    assert abs(alert.pop("time") - time.time()) < 60
    assert alert == {
        "sensor": str(sensor),
        "name": "",
        "state": "silent",
        "seen": None,
        "limit": 60,
        "text": f"sensor {sensor} is silent for longer than 60 s: not heard at all",
    }
    assert [(alert["state"], alert["seen"] > 0) for alert in second["alerts"]] == [("back", True)]


@pytest.mark.parametrize(("answer", "said"), [(500, "answers 500"), (302, "answers 302")])
def test_what_the_webhook_does_not_take_it_gets_later(
    server: Server, hook: Hook, answer: int, said: str
) -> None:
    hook.answer = answer
    ask(server, lambda redis: watched_since(redis, uuid4(), 60, 70))
    result = monitor(server)
    assert result.returncode == 1
    assert f"the webhook at 127.0.0.1 {said}" in result.stderr.decode()
    assert b"secret-part" not in result.stderr
    ask(server, lambda redis: watched_since(redis, uuid4(), 60, 70))
    assert monitor(server).returncode == 1
    hook.answer = 200
    assert monitor(server).returncode == 0
    [taken] = hook.taken
    assert len(taken["alerts"]) == 2 and len({alert["sensor"] for alert in taken["alerts"]}) == 2
    assert monitor(server).returncode == 0 and len(hook.taken) == 1


def test_a_webhook_that_is_not_who_it_says_is_told_nothing(server: Server, hook: Hook) -> None:
    ask(server, lambda redis: watched_since(redis, uuid4(), 60, 70))
    result = monitor(server, SSL_CERT_FILE="/dev/null")
    assert (
        result.returncode == 1 and b"cannot be reached" in result.stderr and b"verify failed" in result.stderr
    )
    assert hook.taken == []


def test_mail_goes_out_by_sendmail_when_it_waits(
    redis_socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = tmp_path / "sent"
    program = tmp_path / "sendmail"
    program.write_text(f'#!/bin/sh\necho "$@" > {sent}.arguments\ncat > {sent}\n')
    program.chmod(0o755)
    monkeypatch.setattr(alerts, "SENDMAIL", str(program))
    addresses = ("ops@example.org", "root")
    found = [Alert(uuid4(), "B\xfcro", "silent", 0, 60), Alert(uuid4(), "", "back", 7, 60)]

    async def test(redis: Redis) -> None:
        settings = alerts.Monitoring(None, addresses)
        await alerts.hand_over(redis, [], settings)
        await alerts.hand_over(redis, found, alerts.Monitoring())
        assert not await alerts.mail_waits(redis)
        await alerts.hand_over(redis, found, settings)
        program.chmod(0o644)
        with pytest.raises(alerts.Undelivered, match="no mail: .*Permission denied"):
            await alerts.mail(redis, addresses)
        program.chmod(0o755)
        assert await alerts.mail_waits(redis), "what could not be sent waits"
        await alerts.mail(redis, addresses)
        assert not await alerts.mail_waits(redis)

    run(redis_socket, test)
    assert Path(f"{sent}.arguments").read_text() == "-i -- ops@example.org root\n"
    message = email.message_from_bytes(sent.read_bytes(), policy=email.policy.default)
    assert message["To"] == "ops@example.org, root"
    assert message["Subject"] == "2 alerts about sensors of d4-server"
    assert message.get_content().splitlines() == list(map(str, found))


def test_a_sendmail_that_fails_says_why(
    redis_socket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "sendmail"
    program.write_text("#!/bin/sh\necho no such user >&2\nexit 67\n")
    program.chmod(0o755)
    monkeypatch.setattr(alerts, "SENDMAIL", str(program))

    async def test(redis: Redis) -> None:
        await alerts.hand_over(redis, [Alert(uuid4(), "", "back", 0, 60)], alerts.Monitoring(None, ("a",)))
        with pytest.raises(alerts.Undelivered, match="ends with status 67: no such user"):
            await alerts.mail(redis, ("a",))

    run(redis_socket, test)


def test_systemd_learns_that_mail_waits_by_a_file(server: Server, tmp_path: Path) -> None:
    waits = tmp_path / "run" / "mail"
    waits.parent.mkdir()
    under_systemd = {"RUNTIME_DIRECTORY": str(waits.parent)}
    with server.config.open("a") as config:
        config.write("[monitoring]\nmail_to = ops@example.org\n")
    assert monitor(server, **under_systemd).returncode == 0 and not waits.exists()
    ask(server, lambda redis: watched_since(redis, uuid4(), 60, 70))
    assert monitor(server, **under_systemd).returncode == 0 and waits.exists()
    if not os.path.exists(alerts.SENDMAIL):
        result = monitor(server, "--mail", **under_systemd)
        assert result.returncode == 1 and b"no mail: " in result.stderr
        assert not waits.exists(), "or systemd would try again at once"
        assert monitor(server, **under_systemd).returncode == 0 and waits.exists()


def test_no_more_waits_than_may(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "MOST_WAITING", 3)

    async def test(redis: Redis) -> None:
        lot = [Alert(uuid4(), "", "back", 0, 60) for _ in range(5)]
        await alerts.hand_over(redis, lot, alerts.Monitoring("https://h/", None))
        waiting = await redis.lrange("d4:{sensors}:alerts:webhook", 0, -1)
        assert [json.loads(each)["sensor"] for each in waiting] == [str(each.sensor) for each in lot[2:]]

    run(redis_socket, test)
