"""What comes to d4-server's port and is no sensor, or a broken one: the good sensor does not notice."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import ssl
import struct
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from conftest import Certificates
from serving import KEY, META, Server, closed, packet
from waiting import wait_for

from d4common import redis_client, tls
from d4common.sender import Identity
from d4common.session import Rules
from d4server import sensors
from d4server.ingest import Ingest
from d4server.store import Store


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, redis_server: Path) -> Iterator[Server]:
    """A running server."""
    server = Server(tmp_path_factory.mktemp("server"), redis_server)
    server.daemon.start()
    yield server
    server.daemon.stop()
    server.redis.close()


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """The running server. A connected sensor does not notice what a test does; no traceback is logged."""
    good = running.sensor()
    with running.connect() as connection:
        connection.sendall(packet(good, 3, b"before\n"))
        wait_for(lambda: running.lines(good, "3") == [b"before"])
        yield running
        connection.sendall(packet(good, 3, b"after\n"))
        wait_for(lambda: running.lines(good, "3") == [b"before", b"after"])
    assert "Traceback" not in running.log()


def plain(server: Server) -> socket.socket:
    """A connection without TLS."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


@pytest.mark.parametrize(
    "said",
    [b"GET / HTTP/1.1\r\nHost: d4\r\n\r\n", b"\x16\x03\x01\xff\xff" + bytes(2000), bytes(5000), b"\n"],
    ids=["HTTP", "half a record", "zeros", "a line feed"],
)
def test_what_is_no_tls_is_closed(server: Server, said: bytes) -> None:
    with plain(server) as connection, suppress(ConnectionError):
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):  # an alert may come first
            pass


def test_tls_of_old_is_refused(server: Server) -> None:
    context = ssl.create_default_context(cafile=server.ca)
    context.set_ciphers("DEFAULT@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with plain(server) as connection, pytest.raises(ssl.SSLError):
        context.wrap_socket(connection, server_hostname="127.0.0.1")


def test_random_bytes_after_the_handshake_are_refused(server: Server) -> None:
    for seed in range(20):
        with server.connect() as connection:
            connection.sendall(random.Random(seed).randbytes(3000))
            assert closed(connection)
    wait_for(lambda: "refused sensor unknown at 127.0.0.1: claims " in server.log())


def test_a_torn_tls_record_closes(server: Server) -> None:
    with server.connect() as connection:
        os.write(connection.fileno(), b"\x17\x03\x03\x00\x20" + bytes(32))
        assert closed(connection)


def test_connections_that_break_off_leave_what_was_whole(server: Server) -> None:
    uuid = server.sensor()
    whole = packet(uuid, 3, b"x\n" * 100)
    for size in (0, 1, 30, 62, 100):
        with server.connect() as connection:
            connection.sendall(whole[:size])
    with server.connect() as connection:
        connection.sendall(whole + whole[:100])
        wait_for(lambda: server.lines(uuid, "3") == [b"x"] * 100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset


def test_many_at_once_are_served(server: Server) -> None:
    logged = len(server.log())
    uuids = [server.sensor() for _ in range(3)]
    silent: list[socket.socket] = []
    with ExitStack() as stack:
        silent = [stack.enter_context(plain(server)) for _ in range(100)]
        quiet = [stack.enter_context(server.connect()) for _ in range(100)]
        talking = [stack.enter_context(server.connect()) for _ in range(300)]
        for number, connection in enumerate(talking):
            uuid = uuids[number % 3]
            connection.sendall(packet(uuid, 2, META) + packet(uuid, 254, b"%d\n" % number))
        wait_for(lambda: sum(len(server.lines(uuid)) for uuid in uuids) == 300)
        assert {int(line) for uuid in uuids for line in server.lines(uuid)} == set(range(300))
        assert len(silent) == len(quiet) == 100
    assert "refused" not in server.log()[logged:]


def test_a_wrong_key_cannot_be_hidden_by_many_connections(server: Server) -> None:
    """An approved sensor's refusals are one line, however many there are of strangers; theirs is another."""
    uuid, strangers = server.sensor(), [uuid4() for _ in range(30)]
    for stranger in strangers:
        with server.connect() as connection:
            connection.sendall(packet(uuid, 3, b"x\n", key=b"wrong"))
            assert closed(connection)
        with server.connect() as connection:
            connection.sendall(packet(stranger, 3, b"x\n"))
            assert closed(connection)
    wait_for(lambda: server.log().count(f"refused sensor {uuid}") == 1)
    assert sum(server.log().count(f"refused sensor {stranger}") for stranger in strangers) <= 1


SILENT = {
    "nothing": b"",
    "half a header": packet(UUID("ff7ba400-e76c-4053-982d-feec42bdef38"), 3, b"x\n")[:31],
    "half a packet": packet(UUID("ff7ba400-e76c-4053-982d-feec42bdef38"), 3, b"x\n" * 50)[:100],
}


@pytest.mark.parametrize("said", SILENT.values(), ids=SILENT.keys())
def test_who_does_not_prove_itself_in_time_is_refused(
    redis_socket: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    """In this process, since no test waits for half a minute."""
    monkeypatch.setattr("d4server.connection.SILENCE", 0.5)
    uuid = UUID("ff7ba400-e76c-4053-982d-feec42bdef38")

    async def test(listening: socket.socket) -> None:
        redis = redis_client.connect(f"unix://{redis_socket}")
        await sensors.add(redis, Identity(uuid, KEY))
        served = Ingest(redis, Store(redis), Rules(frozenset({3}), frozenset()))
        context = tls.server_context(certificates.certificate, certificates.key)
        server = await served.listen(listening, context)
        trusting = tls.client_context(certificates.ca, verify=True)
        address = listening.getsockname()[:2]
        good, speaking = await asyncio.open_connection(*address, ssl=trusting)
        bad, writer = await asyncio.open_connection(*address, ssl=trusting)
        began = asyncio.get_running_loop().time()
        speaking.write(packet(uuid, 3, b"x\n"))
        writer.write(said)
        with suppress(ConnectionError):
            assert await bad.read() == b""
        assert 0.4 < asyncio.get_running_loop().time() - began < 5
        counted, there = dict(served.refused), not good.at_eof()
        speaking.close()
        writer.close()
        server.close()
        await served.stop_reading()
        await served.close()
        await redis_client.close(redis)
        assert counted == {"silent": 1}
        assert there, "who has proved itself may be silent"

    with socket.create_server(("127.0.0.1", 0)) as listening:
        asyncio.run(test(listening))
