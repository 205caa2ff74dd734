"""What d4-server does as time goes by: answers again, closes the silent, looks up keys. In this process,
since no test waits for as long as a sensor does."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar
from uuid import UUID, uuid4

import pytest
import uvloop
from acknowledging import Acknowledged
from conftest import Certificates
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from serving import KEY, closed, packet
from waiting import wait_for

from d4common import records, redis_client, tls
from d4common.compression import decompress
from d4common.sender import Identity
from d4common.service import cancel
from d4common.session import Rules
from d4server import acknowledged, figures, ingest, sensors, store
from d4server.config import D4
from d4server.enrolment import Enrolment
from d4server.figures import Figures
from d4server.ingest import Ingest
from d4server.store import Store
from demo.chain import Daemon

T = TypeVar("T")

SOON = 0.2
"""Seconds, instead of ten or more."""


class Site:
    """A server's ingest and store in a thread of this process."""

    def __init__(self, redis: Path, certificates: Certificates) -> None:
        self.certificates = certificates
        self.redis = Redis(unix_socket_path=str(redis))
        self._url = f"unix://{redis}"
        self._started = threading.Event()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serves meanwhile."""
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            assert self._started.wait(10)
            yield
        finally:
            self.loop.call_soon_threadsafe(self.stopping.set)
            thread.join(20)
            self.redis.close()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop, self.stopping = asyncio.get_running_loop(), asyncio.Event()
        client = redis_client.connect(self._url)
        self.store = Store(client)
        self.ingest = Ingest(client, self.store, Rules(frozenset({3}), frozenset()))
        context = tls.server_context(self.certificates.certificate, self.certificates.key, self.ingest.alpn)
        with socket.create_server(("127.0.0.1", 0)) as listening:
            # So that little is on its way which a client does not read.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            self.port = listening.getsockname()[1]
            server = await self.ingest.listen(listening, context)
            works = (self.store.run(), self.ingest.keep_alive(), self.ingest.check_keys())
            tasks = [asyncio.create_task(work) for work in works]
            self._started.set()
            await self.stopping.wait()
            server.close()
            await self.ingest.stop_reading()
            await self.store.flushed()
            await self.ingest.close()
            await cancel(*tasks)
        await redis_client.close(client)

    def sensor(self, uuid: UUID | None = None, key: bytes = KEY) -> UUID:
        """A sensor that is let in, or gets another key."""
        identity = Identity(uuid or uuid4(), key)
        self._do(lambda client: sensors.add(client, identity))
        return identity.uuid

    def revoke(self, sensor: UUID) -> None:
        """Locks a sensor out."""
        assert self._do(lambda client: sensors.revoke(client, sensor))

    def renew(self, sensor: UUID) -> bytes:
        """Gives a sensor another key beside the one that it has."""
        return self._do(lambda client: sensors.renew(client, sensor, KEY))

    def _do(self, work: Callable[[AsyncRedis], Awaitable[T]]) -> T:
        """Does this with Redis."""

        async def with_redis() -> T:
            client = redis_client.connect(self._url)
            done = await work(client)
            await redis_client.close(client)
            return done

        return asyncio.run(with_redis())

    def looked_up(self) -> int:
        """How often keys have been looked up."""
        return int(self.redis.info("commandstats")["cmdstat_hmget"]["calls"])

    def session(self, sensor: UUID, spool: UUID | None = None, receive: int = 0) -> Acknowledged:
        return Acknowledged(self.port, self.certificates.ca, sensor, spool, receive=receive)

    def plain(self) -> socket.socket:
        """A connection of plain D4, by a client that also speaks something else."""
        context = tls.client_context(self.certificates.ca, verify=True, alpn=("http/1.1",))
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        wrapped = context.wrap_socket(connection, server_hostname="127.0.0.1")
        assert wrapped.selected_alpn_protocol() is None
        return wrapped

    def lines(self, sensor: UUID) -> list[bytes]:
        """What is stored of a sensor."""
        found = self.redis.xrange(records.stream("3", records.partition(sensor)))
        return b"".join(decompress(fields) for _, fields in found).splitlines()


@pytest.fixture
def site(
    tmp_path: Path, redis: Daemon, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A server that does everything soon, except to close silent sessions."""
    monkeypatch.setattr(acknowledged, "HEARTBEAT", SOON)
    monkeypatch.setattr(ingest, "LOOK_INTERVAL", SOON / 4)
    monkeypatch.setattr(ingest, "KEYS_INTERVAL", SOON)
    made = Site(tmp_path / "redis.sock", certificates)
    with made.running():
        yield made


def test_the_last_answer_is_given_again(site: Site) -> None:
    with site.session(site.sensor()) as client:
        client.announce(1)
        client.send(b"x\n")
        client.acknowledged(1)
        began = time.monotonic()
        assert [client.answer() for _ in range(3)] == [1, 1, 1]
        assert 2 * SOON < time.monotonic() - began < 20 * SOON


def test_nothing_is_acknowledged_while_redis_is_away_but_it_is_said(
    site: Site, redis: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although the server reads no more, since it holds as much as it may."""
    monkeypatch.setattr(store, "MAX_WAITING", 10_000)
    assert redis.process is not None
    sensor, lines = site.sensor(), [b"%d".ljust(1000) % number + b"\n" for number in range(2, 4000)]
    with site.session(sensor) as client:
        client.announce(1)
        client.send(b"1\n")
        client.acknowledged(1)
        redis.process.send_signal(signal.SIGSTOP)
        try:
            sending = threading.Thread(target=client.send, args=lines)
            sending.start()
            assert [client.answer() for _ in range(6)] == [1] * 6
        finally:
            redis.process.send_signal(signal.SIGCONT)
        sending.join(20)
        client.acknowledged(len(lines) + 1)
    assert [int(line) for line in site.lines(sensor)] == list(range(1, len(lines) + 2))


def test_a_silent_session_is_closed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    sensor = site.sensor()
    monkeypatch.setattr("d4server.connection.SESSION_SILENCE", 1.5)
    with site.plain() as plain, site.session(sensor) as there, site.session(sensor) as silent:
        plain.sendall(packet(sensor, 3, b"x\n"))
        silent.announce(1)
        began = time.monotonic()
        there.announce(1)
        while time.monotonic() - began < 2.5:
            there.announce(1)
            there.answer()
        assert set(silent.rest()) == {0}
        assert site.ingest.refused == {"silent": 1}
        there.announce(1)
        there.answer()
        plain.sendall(packet(sensor, 3, b"y\n"))
        wait_for(lambda: site.lines(sensor) == [b"x", b"y"])


def test_silence_does_not_count_while_the_server_does_not_read(
    site: Site, redis: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_WAITING", 1)
    monkeypatch.setattr("d4server.connection.SESSION_SILENCE", 1.0)
    assert redis.process is not None
    with site.session(site.sensor()) as client:
        client.announce(1)
        client.acknowledged(0)
        redis.process.send_signal(signal.SIGSTOP)
        client.send(b"1\n")
        began = time.monotonic()
        while time.monotonic() - began < 2:
            assert client.answer() == 0
        redis.process.send_signal(signal.SIGCONT)
        client.acknowledged(1)
        client.send(b"2\n")
        client.acknowledged(2)


def test_a_sensor_that_is_revoked_is_closed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    good, revoked = site.sensor(), site.sensor()
    with site.session(good) as kept, site.session(revoked) as one, site.plain() as other:
        for client in (kept, one):
            client.announce(1)
            client.answer()
        other.sendall(packet(revoked, 3, b"x\nhalf"))
        wait_for(lambda: site.lines(revoked) == [b"x"])
        site.revoke(revoked)
        one.rest()
        assert closed(other)
        assert site.ingest.refused == {"unknown-sensor": 2}
        kept.announce(1)
        kept.answer()
        wait_for(lambda: site.lines(revoked) == [b"x", b"half"])
    assert f"refused sensor {revoked} at 127.0.0.1: not a known sensor" in caplog.text


def test_a_new_key_is_taken_over_without_a_break(site: Site) -> None:
    sensor = site.sensor()
    with site.session(sensor) as client:
        client.announce(1)
        client.send(b"1\n")
        client.acknowledged(1)
        site.sensor(sensor, b"another key")
        looked_up = site.looked_up()
        wait_for(lambda: site.looked_up() > looked_up + 1)
        client.keys.append(b"another key")
        client.announce(2)
        client.send(b"2\n")
        client.acknowledged(2)
        client.keys.remove(KEY)
        assert client.answer() == 2, "signed with the new key"
    assert site.lines(sensor) == [b"1", b"2"]


def test_a_key_and_its_successor_are_both_good(site: Site) -> None:
    """Answers have the one that the client has used last."""
    sensor = site.sensor()
    with site.session(sensor) as client:
        client.announce(1)
        client.acknowledged(0)
        key = site.renew(sensor)
        looked_up = site.looked_up()
        wait_for(lambda: site.looked_up() > looked_up + 1)
        client.send(b"1\n")
        client.acknowledged(1)
        client.keys.append(key)
        client.send(b"2\n")
        client.acknowledged(2)
        client.keys = [key, KEY]
        client.send(b"3\n")
        client.acknowledged(3)
        client.keys = [KEY]
        assert client.answer() == 3
    for keys in ([KEY], [key]):
        with site.session(sensor, client.spool) as again:
            again.keys = keys
            again.announce(4)
            assert again.answer() == 3


def test_keys_stay_while_redis_is_away_and_are_looked_up_when_it_is_back(site: Site, redis: Daemon) -> None:
    sensor = site.sensor()
    with site.session(sensor) as client:
        client.announce(1)
        client.acknowledged(0)
        redis.stop(signal.SIGKILL)
        assert [client.answer() for _ in range(5)] == [0] * 5
        redis.start()
        client.send(b"1\n")
        client.acknowledged(1)
        site.revoke(sensor)
        client.rest()
    assert site.ingest.refused == {"unknown-sensor": 1}


def test_a_full_redis_is_no_reason_to_come_again(site: Site) -> None:
    """A sensor that is connected hears that the server is there, and stays."""
    used = site.redis.info("memory")["used_memory"]
    sensor = site.sensor()
    with site.session(sensor) as client:
        client.announce(8)
        client.acknowledged(7)
        site.redis.config_set("maxmemory", used // 2)
        client.send(b"8\n")
        assert [client.answer() for _ in range(2)] == [7, 7]
        site.redis.config_set("maxmemory", 0)
        client.acknowledged(8)


def test_who_comes_while_redis_is_away_comes_again(
    site: Site, redis: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such connections must not gather. In plain D4 they hold what nobody would send again."""
    monkeypatch.setattr("d4server.connection.SILENCE", 0.5)
    sensor = site.sensor()
    redis.stop(signal.SIGKILL)
    with site.plain() as plain, site.session(sensor) as client:
        plain.sendall(packet(sensor, 3, b"plain\n"))
        client.announce(1)
        assert client.rest() == []
        redis.start()
        wait_for(lambda: site.lines(sensor) == [b"plain"])
    assert site.ingest.refused == {}


def test_answers_that_nobody_reads_do_not_gather(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sensor must not make the server grow; when it reads, it hears the last word all the same."""
    monkeypatch.setattr("d4server.connection.MAX_UNREAD", 2000)
    with site.session(site.sensor(), receive=2000) as client:
        client.announce(1)
        opening = bytes(client.sent)
        client.acknowledged(0)
        (connection,) = site.ingest._open.values()
        for _ in range(30):
            client.write(opening * 200)
            assert connection._writer.transport.get_write_buffer_size() < 5000
        client.send(b"1\n")
        client.acknowledged(1)
        assert len(client.answers) < 3000
        client.announce(2)
        client.acknowledged(1)


def test_what_came_twice_or_never_is_in_the_status(site: Site) -> None:
    with site.session(site.sensor()) as client:
        client.announce(11)
        client.send(b"11\n", b"12\n")
        client.acknowledged(12)
    with site.session(client.sensor, client.spool) as client:
        client.announce(11)
        client.send(b"11\n", b"12\n", b"13\n")
        client.acknowledged(13)
        counted = Figures(site.ingest, site.store, Enrolment(site.store._redis, D4()))
        assert figures.summary(counted.collect()) == (
            f"1 connections, 5 packets accepted, {site.store.stored} stored, "
            "2 sent again and left out, 1 gaps, 0 connections refused"
        )
        assert 2 <= site.store.stored <= 3, "the first two may make one entry"


def test_who_says_it_byte_by_byte_has_no_more_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the handshake, or for the first packet."""
    monkeypatch.setattr(ingest, "HANDSHAKE_TIMEOUT", 0.5)
    monkeypatch.setattr("d4server.connection.SILENCE", 0.5)
    load = packet(site.sensor(), 3, b"x" * 1000)
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500)
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as raw, site.plain() as plain:
        began = time.monotonic()
        with suppress(OSError):
            for at in range(1000):
                raw.send(hello[at : at + 1])
                plain.send(load[at : at + 1])
                time.sleep(0.05)
        assert 0.4 < time.monotonic() - began < 5
        wait_for(lambda: site.ingest.refused == {"handshake": 1, "silent": 1})
