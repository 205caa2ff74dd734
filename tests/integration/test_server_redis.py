"""d4-server while Redis, or d4-server itself, is killed, full, or not there yet: nothing is lost."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from conftest import Certificates
from redis.exceptions import ConnectionError
from serving import KEY, META, Server, end, own_redis, packet
from storing import noise
from waiting import wait_for

import d4server.certificates
from d4common import queues, records, redis_client, tls
from d4common.client import Client
from d4common.config import Endpoint
from d4common.outbox import MemoryOutbox
from d4common.sender import Identity, Sender
from d4server.store import MAX_BATCH
from demo.chain import Daemon


def numbered(count: int, size: int = 0) -> list[bytes]:
    """Lines with numbers, filled up with ``size`` bytes that cannot be compressed, nor can several."""
    filling = noise(count * size).encode()
    return [b"%d %s\n" % (number, filling[number * size : (number + 1) * size]) for number in range(count)]


def numbers(server: Server, uuid: UUID) -> list[int]:
    """The numbers of the lines that are stored."""
    with suppress(ConnectionError):
        return [int(line.split()[0]) for line in server.lines(uuid)]
    return []


class Streaming(threading.Thread):
    """Sends packets of one numbered line each over one connection, as fast as the server takes them."""

    def __init__(self, server: Server, uuid: UUID, lines: Iterable[bytes]) -> None:
        super().__init__()
        self.sent = 0
        """Packets that were given to the kernel."""
        self._server, self._uuid, self._lines = server, uuid, lines
        self._all, self._stored = threading.Event(), threading.Event()

    def run(self) -> None:
        """Sends, and keeps the connection until close()."""
        with self._server.connect() as connection:
            connection.settimeout(60)
            connection.sendall(packet(self._uuid, 2, META))
            for line in self._lines:
                connection.sendall(packet(self._uuid, 254, line))
                self.sent += 1
            self._all.set()
            self._stored.wait(60)

    def all(self) -> int:
        """How many lines there were: all must be sent, or soon be."""
        assert self._all.wait(60)
        return self.sent

    def close(self) -> None:
        """Closes the connection; all must have been sent."""
        self.all()
        self._stored.set()
        self.join(60)


def test_a_killed_redis_loses_nothing(server: Server, redis: Daemon) -> None:
    uuid = server.sensor()
    said = threading.Event()
    # Sensors that go on until it is said, whatever their speed: none is through before Redis is dead.
    streaming = Streaming(
        server, uuid, (b"%199d\n" % number for number in takewhile(lambda _: not said.is_set(), count()))
    )
    streaming.start()
    wait_for(lambda: len(server.entries(uuid)) > 200)
    redis.stop(signal.SIGKILL)
    wait_for(lambda: "Redis does not store" in server.log())
    said.set()
    redis.start()
    sent = streaming.all()
    wait_for(lambda: len(set(numbers(server, uuid))) >= sent, timeout=30)
    streaming.close()
    found = Counter(numbers(server, uuid))
    assert set(found) == set(range(sent))
    # Redis may have stored the batch that was under way without having said so.
    again = sorted(number for number, times in found.items() if times > 1)
    assert len(again) * 201 <= MAX_BATCH + 201
    assert again == list(range(*((again[0], again[-1] + 1) if again else (0, 0)))), "one batch, in one piece"
    firsts = list(dict.fromkeys(numbers(server, uuid)))
    assert firsts == list(range(sent)), "in order"
    wait_for(lambda: "Redis is back" in server.log())


def test_a_full_redis_stops_the_sensors_and_loses_nothing(server: Server) -> None:
    uuid = server.sensor()
    lines = numbered(6000, 4000)  # 24 MB: more than all buffers on the way hold
    server.redis.config_set("maxmemory", server.redis.info("memory")["used_memory"] + (2 << 20))
    streaming = Streaming(server, uuid, lines)
    streaming.start()
    wait_for(lambda: "Redis does not store" in server.log())
    sent = -1

    def at_rest() -> bool:
        nonlocal sent
        before, sent = sent, streaming.sent
        return before == sent and not streaming._stored.wait(0.3)

    wait_for(at_rest)
    assert streaming.sent < len(lines), "the server goes on reading"
    assert server.log().count("Redis does not") <= 2, "each thing that waits says so once"
    server.redis.config_set("maxmemory", 0)
    wait_for(lambda: set(numbers(server, uuid)) >= set(range(6000)), timeout=30)
    streaming.close()
    assert numbers(server, uuid) == list(range(6000)), "refused as a whole: nothing twice"
    assert "maxmemory" in server.log()


def test_a_full_redis_is_freed_by_what_the_queue_acknowledges(server: Server, tmp_path: Path) -> None:
    """Nobody needs to do anything but wait for the exporter."""
    uuid = server.sensor()
    wait_for(lambda: server.redis.exists(*records.streams("maltrail")) == records.PARTITIONS)
    # (Newer Redis counts what its Lua has needed for a batch, too.)
    server.redis.config_set("maxmemory", server.redis.info("memory")["used_memory"] + (8 << 20))
    lines = numbered(2600, 4000)
    streaming = Streaming(server, uuid, lines)
    streaming.start()
    wait_for(lambda: "Redis does not store" in server.log())
    found: set[int] = set()

    async def consume() -> None:
        client = redis_client.connect(f"unix://{tmp_path}/redis.sock")
        consumer = queues.Consumer(client, "maltrail", "maltrail", "test")
        async with asyncio.timeout(25):
            while len(found) < len(lines):
                batch = await consumer.read(100, 0.1)
                found.update(int(record.split()[0]) for delivery in batch for record in delivery.records())
                await consumer.acknowledge(batch)
        await redis_client.close(client)

    asyncio.run(consume())
    streaming.close()
    assert found == set(range(2600))


def test_a_server_without_redis_stops_promptly(tmp_path: Path) -> None:
    server = Server(tmp_path, tmp_path / "redis.sock")
    server.daemon.start()
    server.redis.close()
    status, seconds = end(server.daemon)
    assert (status, "Traceback" in server.log()) == (0, False)
    assert seconds < 5


def test_a_sensor_that_comes_before_redis_is_served_when_it_comes(tmp_path: Path) -> None:
    redis, server = own_redis(tmp_path), Server(tmp_path, tmp_path / "redis.sock")
    redis.start()
    uuid = server.sensor()
    redis.stop()
    server.daemon.start()
    try:
        with server.connect() as connection:
            connection.sendall(packet(uuid, 3, b"x\n"))
            wait_for(lambda: "Redis does not answer" in server.log())
            redis.start()
            wait_for(lambda: server.lines(uuid, "3") == [b"x"])
        wait_for(lambda: server.redis.exists(queues.QUEUES))
    finally:
        server.daemon.stop()
        server.redis.close()
        redis.stop()


def test_an_acknowledged_session_loses_and_doubles_nothing(server: Server, redis: Daemon) -> None:
    """d4-server and Redis are killed while a client sends, each of them several times."""
    uuid = server.sensor()

    async def kill(daemon: Daemon) -> None:
        await asyncio.to_thread(daemon.stop, signal.SIGKILL)
        await asyncio.to_thread(daemon.start)

    async def test() -> None:
        outbox, states = MemoryOutbox(1 << 24, 4096), list[str]()
        sender = Sender(Identity(uuid, KEY), 254, {"type": "maltrail"})
        context = partial(tls.client_context, server.ca, verify=True)
        client = Client(sender, outbox, [Endpoint("127.0.0.1", server.port)], context, states.append)
        running = asyncio.create_task(client.run())
        lines = numbered(40_000, 100)
        killed = [server.daemon, redis, server.daemon, redis]
        for number, daemon in enumerate(killed):
            first = outbox.first
            for line in lines[number * 10_000 : (number + 1) * 10_000]:
                outbox.put(line)
            while outbox.first == first:
                await asyncio.sleep(0.001)
            await kill(daemon)
        async with asyncio.timeout(30):
            await outbox.empty()
        client.stop()
        await running
        assert states[0] == f"connected to 127.0.0.1:{server.port}"

    asyncio.run(test())
    assert numbers(server, uuid) == list(range(40_000))


def test_a_stop_while_many_stream_is_orderly(server: Server) -> None:
    uuids = [server.sensor() for _ in range(2)]
    stopping = threading.Event()

    def stream(uuid: UUID) -> None:
        line = b"x" * 999 + b"\n"
        with suppress(OSError), server.connect() as connection:
            connection.sendall(packet(uuid, 2, META))
            while not stopping.is_set():
                connection.sendall(packet(uuid, 254, line))

    senders = [threading.Thread(target=stream, args=(uuids[number % 2],)) for number in range(20)]
    for sender in senders:
        sender.start()
    try:
        wait_for(lambda: all(len(server.entries(uuid)) > 500 for uuid in uuids))
        status, seconds = end(server.daemon)
    finally:
        stopping.set()
        for sender in senders:
            sender.join(20)
    assert (status, "Traceback" in server.log()) == (0, False)
    assert seconds < 10
    assert all(set(server.lines(uuid)) == {b"x" * 999} for uuid in uuids), "no line is torn"


@pytest.mark.parametrize("broken", ["key", "certificate"])
def test_a_reload_with_a_certificate_that_cannot_be_used_keeps_the_old_one(
    server: Server, tmp_path: Path, certificates: Certificates, broken: str
) -> None:
    good = {path: path.read_bytes() for path in (tmp_path / "tls").iterdir()}
    if broken == "key":
        (tmp_path / "tls" / "server.key").write_bytes(certificates.key.read_bytes())
    else:
        (tmp_path / "tls" / "server.pem").write_text("not PEM")
    reload(server)
    wait_for(lambda: "not reloaded" in server.log())
    server.connect().close()
    for path, content in good.items():
        path.write_bytes(content)
    reload(server)
    wait_for(lambda: "Reloaded" in server.log())
    server.connect().close()


def test_a_reload_takes_the_new_certificate(server: Server, tmp_path: Path) -> None:
    d4server.certificates.ensure(tmp_path, ["d4.example.org"])
    assert "d4.example.org" not in names(server)
    reload(server)
    wait_for(lambda: "Reloaded" in server.log())
    assert "d4.example.org" in names(server)


def names(server: Server) -> str:
    """The certificate that the server shows, as text."""
    with server.connect() as connection:
        return str(connection.getpeercert())


def reload(server: Server) -> None:
    assert server.daemon.process is not None
    server.daemon.process.send_signal(signal.SIGHUP)


def test_a_reload_changes_the_rules_for_connections_to_come(server: Server) -> None:
    uuid = server.sensor()
    with server.connect() as old:
        old.sendall(packet(uuid, 3, b"one\n"))
        wait_for(lambda: server.lines(uuid, "3") == [b"one"])
        server.config.write_text(server.config.read_text() + "types = 8\n")
        reload(server)
        wait_for(lambda: "Reloaded" in server.log())
        old.sendall(packet(uuid, 3, b"two\n"))
        wait_for(lambda: server.lines(uuid, "3") == [b"one", b"two"])
    with server.connect() as new:
        new.sendall(packet(uuid, 3, b"three\n"))
        wait_for(lambda: "type 3 is not accepted; 8 are" in server.log())


def test_unknown_uuid_is_let_in_as_soon_as_it_is_added(server: Server) -> None:
    uuid = uuid4()
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n"))
        wait_for(lambda: f"d4-server sensors add {uuid}" in server.log())
    server.let_in(Identity(uuid, KEY))
    with server.connect() as connection:
        connection.sendall(packet(uuid, 3, b"x\n"))
        wait_for(lambda: server.lines(uuid, "3") == [b"x"])


def test_a_stop_just_after_the_start_is_prompt(server: Server) -> None:
    """redis-py takes a cancellation for its own at certain moments; the daemon must not rely on one."""
    for _ in range(3):
        status, seconds = end(server.daemon)
        assert (status, seconds < 5) == (0, True)
        server.daemon.start()
