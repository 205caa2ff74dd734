"""The D4 client against real TLS servers that are there, wrong, absent, slow, or gone half-way."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest
import uvloop
from conftest import Certificates
from waiting import until, wait_for

from d4common import client
from d4common.client import Client, Outbox
from d4common.config import Endpoint
from d4common.sender import Identity, Sender
from d4common.session import Data, Hello, Receiver, Rules
from d4common.tls import client_context, server_context

T = TypeVar("T")

RULES = Rules(frozenset({2, 254}), frozenset({"maltrail"}))
SENDER = Sender(Identity(uuid4(), b"key"), 254, {"type": "maltrail"}, snaplen=100)


class Server:
    """A D4 server that keeps what it was sent, and closes each connection after ``most`` packets."""

    def __init__(self, certificates: Certificates, most: int = 10**9) -> None:
        self.received: list[bytes] = []
        self.connections = 0
        self.port = 0
        self.open: set[asyncio.StreamWriter] = set()
        self._context = server_context(certificates.certificate, certificates.key)
        self._most = most

    async def start(self, address: str = "127.0.0.1") -> None:
        """Listens: on a free port at first, on the same one after a stop."""
        self._server = await asyncio.start_server(self._serve, address, self.port, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Closes the port and every connection."""
        self._server.close()
        for writer in self.open:
            writer.close()
        await until(lambda: not self.open)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open.add(writer)
        receiver, packets = Receiver(RULES), 0
        receiver.authenticate(b"key")
        try:
            while packets < self._most and (data := await reader.read(65536)):
                receiver.receive_data(data)
                while packets < self._most and (event := receiver.next_event()) is not None:
                    packets += not isinstance(event, Hello)
                    if isinstance(event, Data):
                        self.received += event.payload.splitlines()
        except OSError:
            pass
        finally:
            writer.close()
            self.open.discard(writer)


class Chain:
    """A running client with its outbox, and what it said of itself."""

    def __init__(
        self,
        port: int,
        context: Callable[[], ssl.SSLContext],
        host: str = "127.0.0.1",
        sender: Sender = SENDER,
    ) -> None:
        self.outbox = Outbox(10**8)
        self.states: list[str] = []
        self._client = Client(sender, self.outbox, Endpoint(host, port), context, self.states.append)
        self.run = asyncio.create_task(self._client.run())

    def put(self, *lines: bytes) -> None:
        for line in lines:
            self.outbox.put(line + b"\n")

    async def says(self, words: str) -> None:
        """Waits until a state of the client has these words."""
        await until(lambda: any(words in state for state in self.states))

    async def stop(self) -> float:
        """Stops the client; the seconds that it took."""
        started = time.monotonic()
        self._client.stop()
        await asyncio.wait_for(self.run, 10)
        return time.monotonic() - started


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that suit a test."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(client, "DRAIN_TIME", 0.5)


def run(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs a test on the event loop that the daemons use."""
    with warnings.catch_warnings(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        # Where this warning is an error, uvloop never comes to an end with what a failed test left open.
        warnings.simplefilter("ignore", ResourceWarning)
        return runner.run(test())


def trusting(certificates: Certificates) -> Callable[[], ssl.SSLContext]:
    return lambda: client_context(certificates.ca, True)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_lines_arrive_in_order_over_verified_tls(certificates: Certificates, host: str) -> None:
    async def test() -> None:
        server = Server(certificates)
        await server.start()
        chain = Chain(server.port, trusting(certificates), host)
        lines = [b"line %d" % n for n in range(500)]
        chain.put(*lines[:300])
        await until(lambda: len(server.received) == 300)
        chain.put(*lines[300:])
        await until(lambda: len(server.received) == 500)
        await chain.stop()
        assert server.received == lines
        assert chain.states == [f"connected to {host}:{server.port}"]
        await server.stop()

    run(test)


@pytest.mark.parametrize(
    ("ca", "host", "complaint"),
    [
        ("other_ca", "127.0.0.1", "its certificate is not trusted: "),
        ("ca", "127.0.0.2", "its certificate is not trusted: IP address mismatch"),
    ],
)
def test_server_that_is_not_who_it_should_be_gets_nothing(
    certificates: Certificates, ca: str, host: str, complaint: str
) -> None:
    async def test() -> None:
        server = Server(certificates)
        await server.start("0.0.0.0")
        chain = Chain(server.port, lambda: client_context(getattr(certificates, ca), True), host)
        chain.put(b"secret")
        await until(lambda: len(chain.states) >= 2)
        for state in chain.states:
            assert state.startswith(f"{host}:{server.port} cannot be reached: {complaint}")
        await chain.stop()
        assert (server.received, len(chain.outbox)) == ([], 1)
        await server.stop()

    run(test)


def test_ca_that_comes_later_is_taken(certificates: Certificates, tmp_path: Path) -> None:
    async def test() -> None:
        server = Server(certificates)
        await server.start()
        ca = tmp_path / "ca.pem"
        chain = Chain(server.port, lambda: client_context(ca, True))
        chain.put(b"line")
        await chain.says(f"{ca} cannot be read: No such file or directory")
        ca.write_bytes(certificates.ca.read_bytes())
        await until(lambda: server.received == [b"line"])
        await chain.stop()
        await server.stop()

    run(test)


def test_server_that_comes_and_goes_gets_all_lines(certificates: Certificates) -> None:
    async def test() -> None:
        server = Server(certificates)
        server.port = free_port()
        chain = Chain(server.port, trusting(certificates))
        chain.put(b"before")
        await chain.says(f"127.0.0.1:{server.port} cannot be reached: ")
        await server.start()
        await until(lambda: server.received == [b"before"])
        await server.stop()
        await chain.says("lost: the server closed it; its log says why")
        chain.put(b"between")
        await server.start()
        await until(lambda: server.received == [b"before", b"between"])
        await chain.stop()
        assert (len(chain.outbox), server.connections) == (0, 2)
        await server.stop()

    run(test)


@pytest.mark.parametrize("host", ["no-such-host.invalid", ".".join("a" * 150) + ".invalid"])
def test_host_that_nobody_knows_is_tried_again(certificates: Certificates, host: str) -> None:
    async def test() -> None:
        chain = Chain(1, trusting(certificates), host)
        await until(lambda: len(chain.states) >= 2 or chain.run.done())
        assert all(state.startswith(f"{host}:1 cannot be reached: ") for state in chain.states)
        await chain.stop()

    run(test)


@pytest.mark.parametrize("politely", [True, False])
def test_line_put_when_the_server_has_just_closed_is_not_lost(
    certificates: Certificates, politely: bool
) -> None:
    """The end of the stream is in the kernel when the line is put: the client must look before it writes."""
    context = server_context(certificates.certificate, certificates.key)
    listening = socket.create_server(("127.0.0.1", 0))
    received: list[bytes] = []
    together = threading.Barrier(2, timeout=10)

    def serve() -> None:
        with listening:
            for _ in range(2):
                receiver = Receiver(RULES)
                receiver.authenticate(b"key")
                with context.wrap_socket(listening.accept()[0], server_side=True) as peer:
                    while not isinstance(event := receiver.next_event(), Data):
                        if event is None:
                            receiver.receive_data(peer.recv(65536))
                    received.append(event.payload)
                    together.wait()
                    if politely:  # says that it closes, and waits in vain for the client to say it too
                        peer.settimeout(0.05)
                        with suppress(OSError):
                            peer.unwrap()
                        together.wait()
                if not politely:
                    together.wait()

    async def test() -> None:
        threading.Thread(target=serve, daemon=True).start()
        chain = Chain(listening.getsockname()[1], trusting(certificates))
        chain.put(b"first")
        await until(lambda: received)
        together.wait(), together.wait()
        chain.put(b"second")
        await until(lambda: received == [b"first\n", b"second\n"])
        await chain.stop()

    try:
        run(test)
    finally:
        together.wait(), together.wait()


def test_server_that_closes_at_once_is_not_asked_without_pause(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sensor that the server refuses must not keep both busy with handshakes."""

    async def test() -> None:
        monkeypatch.setattr(client, "FIRST_PAUSE", 0.1)
        monkeypatch.setattr(client, "LONGEST_PAUSE", 10.0)
        server = Server(certificates, most=0)
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        chain.put(b"line")
        started = time.monotonic()
        await until(lambda: server.connections >= 4)
        # Three pauses, of 0.1, 0.2 and 0.4 seconds, each between half and whole.
        assert time.monotonic() - started >= 0.34
        await chain.stop()
        await server.stop()

    run(test)


def test_stop_sends_what_waits_first(certificates: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "DRAIN_TIME", 5.0)

    async def test() -> None:
        server = Server(certificates)
        await server.start()
        chain = Chain(server.port, trusting(certificates))
        await chain.says("connected")
        lines = [b"%090d" % n for n in range(300)]
        chain.put(*lines)
        await chain.stop()
        assert len(chain.outbox) == 0
        await until(lambda: server.received == lines)
        await server.stop()

    run(test)


def test_stop_does_not_wait_for_a_server_that_is_away(certificates: Certificates) -> None:
    async def test() -> None:
        chain = Chain(free_port(), trusting(certificates))
        chain.put(b"line")
        await chain.says("cannot be reached")
        assert await chain.stop() < client.DRAIN_TIME
        assert len(chain.outbox) == 1

    run(test)


def stalled_server(certificates: Certificates, released: threading.Event, received: list[bytes]) -> int:
    """The port of a server, in a thread, that reads nothing before it is released, then all, slowly."""

    def serve() -> None:
        with listening, context.wrap_socket(listening.accept()[0], server_side=True) as peer:
            released.wait(10)
            with suppress(OSError):
                while data := peer.recv(2048):
                    received.append(data)
                    time.sleep(0.0005)
        received.append(b"")

    context = server_context(certificates.certificate, certificates.key)
    listening = socket.create_server(("127.0.0.1", 0))
    # A connection of small segments with a small window has small buffers at both ends.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    threading.Thread(target=serve, daemon=True).start()
    return int(listening.getsockname()[1])


BIG = replace(SENDER, snaplen=50_000)


async def fill(chain: Chain) -> list[bytes]:
    """Puts lines until the connection takes no more of them; all that were put."""
    lines: list[bytes] = []
    waiting, same = 0, 0
    while same < 10:
        if len(chain.outbox) < 2:
            lines.append(b"%049999d" % len(lines))
            chain.put(lines[-1])
        await asyncio.sleep(0.005)
        waiting, same = len(lines), same + 1 if waiting == len(lines) else 0
    return lines


def test_stop_gives_up_on_a_server_that_takes_nothing_more(certificates: Certificates) -> None:
    released = threading.Event()

    async def test() -> None:
        chain = Chain(stalled_server(certificates, released, []), trusting(certificates), sender=BIG)
        await fill(chain)
        waiting = len(chain.outbox)
        # Once for what the outbox has, once for what the connection has.
        assert await chain.stop() < 2 * client.DRAIN_TIME + 0.5
        assert len(chain.outbox) > waiting

    try:
        run(test)
    finally:
        released.set()


def test_stop_waits_for_what_has_not_left_the_process(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that reads again during the stop gets all that the outbox no longer has."""
    released, received = threading.Event(), list[bytes]()

    async def test() -> int:
        chain = Chain(stalled_server(certificates, released, received), trusting(certificates), sender=BIG)
        put = await fill(chain)
        asyncio.get_running_loop().call_later(0.1, released.set)
        await chain.stop()
        return len(put) - len(chain.outbox)

    sent = run(test)
    wait_for(lambda: b"" in received)
    receiver = Receiver(RULES)
    receiver.authenticate(b"key")
    receiver.receive_data(b"".join(received))
    arrived = 0
    while (event := receiver.next_event()) is not None:
        arrived += isinstance(event, Data)
    assert arrived >= sent > 0
