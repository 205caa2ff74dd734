"""What strangers may do to d4-server, as a process: a good sensor must not notice, nor the memory grow."""

from __future__ import annotations

import os
import random
import resource
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from serving import Server, closed, packet
from waiting import wait_for

from bench.memory import of_process
from d4common.records import partition, stream

LINES = 30
"""Lines of the good sensor whose way is timed."""

SLOWEST = 0.25
"""Seconds that the median line may take meanwhile; alone it takes a few milliseconds."""

MOST_MORE = 60.0
"""Megabytes (10^6) by which the server may grow meanwhile."""

CLAIM = packet(UUID("ff7ba400-e76c-4053-982d-feec42bdef38"), 3, b"")[:58]
"""A header without its size."""


class Besieged(Server):
    """A d4-server with a good sensor that is connected."""

    def begin(self, limits: str = "") -> None:
        """Starts, and connects the sensor."""
        self.config.write_text(f"{self.config.read_text()}[limits]\n{limits}")
        self.daemon.start()
        self.good = self.sensor()
        self.connection = self.connect()
        self.sent = 0
        self.latency()

    def latency(self) -> float:
        """The median time that a line of the good sensor takes into Redis, in seconds."""
        return sorted(self._line() for _ in range(LINES))[LINES // 2]

    def memory(self) -> float:
        """Megabytes that the server has for itself."""
        assert self.daemon.process is not None
        return of_process(self.daemon.process.pid).private

    @contextmanager
    def unmoved(self, newcomer: bool = True) -> Iterator[None]:
        """What happens meanwhile must not be noticed, nor what is still going on at the end.

        With ``newcomer`` not by who connects then, either.
        """
        alone, before = self.latency(), self.memory()
        yield
        assert self.latency() < max(SLOWEST, 3 * alone)
        assert self.memory() < before + MOST_MORE
        if not newcomer:
            return
        began = time.monotonic()
        with self.connect() as another:
            another.sendall(packet(self.good, 8, b"another\n"))
            wait_for(lambda: b"another" in self.lines(self.good, "8"))
        assert time.monotonic() - began < 1

    def plain(self, number: int = 0) -> socket.socket:
        """A connection without TLS, from one of many addresses."""
        source = (f"127.0.1.{1 + number % 100}", 0)
        return socket.create_connection(("127.0.0.1", self.port), timeout=10, source_address=source)

    def _line(self) -> float:
        self.sent += 1
        began = time.perf_counter()
        self.connection.sendall(packet(self.good, 3, b"%d\n" % self.sent))
        key = stream("3", partition(self.good))
        while self.redis.xlen(key) < self.sent:
            assert time.perf_counter() - began < 10
        return time.perf_counter() - began


@pytest.fixture
def server(tmp_path: Path, redis_socket: Path) -> Iterator[Besieged]:
    """A d4-server, not yet started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = Besieged(tmp_path, redis_socket)
    yield server
    server.connection.close()
    server.daemon.stop()
    server.redis.close()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_connections_that_say_nothing(server: Besieged) -> None:
    server.begin()
    with ExitStack() as stack, server.unmoved():
        for number in range(1900):
            stack.enter_context(server.plain(number))
    assert "refused" not in server.log()


def test_ten_thousand_connections_that_say_nothing(server: Besieged) -> None:
    """Most are closed at once. Whoever comes new is, too, until the oldest of the others make room."""
    server.begin()
    with ExitStack() as stack, server.unmoved(newcomer=False):
        silent = [stack.enter_context(server.plain(number)) for number in range(10_000)]
        wait_for(lambda: sum(map(is_closed, silent)) >= 8000)
    for address in ("127.0.1.1", "127.0.1.100"):
        assert server.log().count(f"at {address}: 2000 connections have not proved themselves yet") == 1


def test_connections_that_say_nothing_after_the_handshake(server: Besieged) -> None:
    server.begin()
    with ExitStack() as stack, server.unmoved():
        for _ in range(300):
            stack.enter_context(server.connect())


def test_more_connections_than_one_address_may_have(server: Besieged) -> None:
    """They are closed at once, and it is told once."""
    server.begin("address_connections = 50\n")
    with ExitStack() as stack, server.unmoved():
        silent = [stack.enter_context(server.plain(number % 2)) for number in range(1000)]
        wait_for(lambda: sum(map(is_closed, silent)) == 900)
    for address in ("127.0.1.1", "127.0.1.2"):
        assert server.log().count(f"at {address}: 50 connections of this address are open") == 1


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed it by now."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_byte_at_a_time(server: Besieged) -> None:
    """In the handshake, and behind it."""
    server.begin()
    hello, load = (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
        packet(server.good, 3, b"x" * 900),
    )
    with ExitStack() as stack, server.unmoved():
        slow = [(stack.enter_context(server.plain(number)), hello) for number in range(100)]
        slow += [(stack.enter_context(server.connect()), load) for _ in range(100)]
        with going_on(lambda turn: [each.send(said[turn : turn + 1]) for each, said in slow]):
            for _ in range(5):
                assert server.latency() < SLOWEST


@contextmanager
def going_on(act: Callable[[int], object]) -> Iterator[None]:
    """Does this again and again meanwhile, with the number of the turn."""
    over = threading.Event()

    def run() -> None:
        turn = 0
        with suppress(OSError):
            while not over.wait(0.1):
                act(turn)
                turn += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_gigabyte_that_is_claimed(server: Besieged) -> None:
    server.begin()
    with server.unmoved():
        for _ in range(50):
            with server.connect() as connection:
                connection.sendall(CLAIM + (1 << 30).to_bytes(4, "little"))
                assert closed(connection)
    wait_for(lambda: server.log().count("claims 1073741824 bytes") == 1)


def test_packets_that_never_come_whole(server: Besieged) -> None:
    """All but a byte of the largest there is, by who knows a UUID: a few may, then they are closed."""
    server.begin("memory = 16M\n")
    torn = CLAIM[:2] + server.good.bytes + CLAIM[18:] + (1_000_000).to_bytes(4, "little") + bytes(999_999)
    with ExitStack() as stack, server.unmoved():
        for _ in range(60):
            connection = stack.enter_context(server.connect())
            with suppress(OSError):
                connection.sendall(torn)
        wait_for(lambda: "packets that have not come whole take" in server.log())


def test_random_bytes_after_the_handshake(server: Besieged) -> None:
    server.begin()
    with server.unmoved():
        for seed in range(100):
            with server.connect() as connection, suppress(OSError):
                connection.sendall(random.Random(seed).randbytes(20_000))
                assert closed(connection)
    assert 1 <= server.log().count("refused sensor") <= 3, "by size, UUID or type, each once"


def test_plain_text_on_the_port_of_tls(server: Besieged) -> None:
    """It is told once for each address."""
    server.begin()
    with server.unmoved():
        for number in range(200):
            with server.plain(number % 2) as connection, suppress(ConnectionError):
                connection.sendall(b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n")
                while connection.recv(4096):  # an alert may come first
                    pass
    for address in ("127.0.1.1", "127.0.1.2"):
        wait_for(lambda address=address: server.log().count(f"at {address}: the TLS handshake failed") == 1)


def test_strangers_with_uuids_of_their_own(server: Besieged) -> None:
    """An address has one line for all of them, and an approved sensor its own."""
    server.begin()
    with server.unmoved():
        for _ in range(100):
            with server.connect() as connection:
                connection.sendall(packet(uuid4(), 3, b"x\n"))
                assert closed(connection)
    assert server.log().count("refused sensor") == 1
    approved = server.sensor(), server.sensor()
    for uuid in (uuid4(), *approved):
        with server.connect() as connection:
            connection.sendall(packet(uuid, 3, b"x\n", key=b"wrong"))
            assert closed(connection)
    for uuid in approved:
        wait_for(lambda uuid=uuid: f"refused sensor {uuid} at 127.0.0.1: the HMAC" in server.log())


def test_tls_is_not_negotiated_again(server: Besieged) -> None:
    server.begin()
    client = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{server.port}",
        "-tls1_2",
        "-CAfile",
        str(server.ca),
    ]
    with server.unmoved():
        for _ in range(5):
            asked = subprocess.run(client, input=b"R\n" * 5, capture_output=True, timeout=20)
            said = asked.stdout + asked.stderr
            assert b"RENEGOTIATING" in said and b"no renegotiation" in said


def test_handshakes_that_break_off(server: Besieged) -> None:
    server.begin()
    context = ssl.create_default_context(cafile=server.ca)
    with server.unmoved():
        for _ in range(200):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
            with suppress(ssl.SSLWantReadError):
                client.do_handshake()
            hello = outgoing.read()
            with server.plain() as connection:
                os.write(connection.fileno(), hello)
                connection.recv(100)
