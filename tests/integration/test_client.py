"""The D4 client against real TLS servers that are there, wrong, absent, slow, or gone half-way."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import Certificates
from delivering import RULES, Chain, Context, Server, free_port, run, trusting
from waiting import until, wait_for

from d4common import client, delivery
from d4common.session import Data, Receiver
from d4common.tls import client_context, server_context


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses that suit a test."""
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.05)
    monkeypatch.setattr(client, "LONGEST_PAUSE", 0.1)
    monkeypatch.setattr(client, "DRAIN_TIME", 0.5)
    monkeypatch.setattr(delivery, "PROBATION", 0.05)


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
        assert chain.states == [f"connected to {host}:{server.port}, by plain D4: it acknowledges nothing"]
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
        await until(lambda: len(chain.outbox) == 0)
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
        await until(lambda: received and not len(chain.outbox))
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


async def stalled(port: int, context: Context) -> Chain:
    """A client that has more to send than the server takes."""
    chain = Chain(port, context, snaplen=50_000)
    chain.put(*(b"%049999d" % number for number in range(5)))
    await chain.says("connected")
    return chain


def test_what_the_peer_has_not_taken_stays_and_a_stop_does_not_wait_for_ever(
    certificates: Certificates,
) -> None:
    released = threading.Event()

    async def test() -> None:
        chain = await stalled(stalled_server(certificates, released, []), trusting(certificates))
        assert 0.9 * client.DRAIN_TIME <= await chain.stop() < client.DRAIN_TIME + 1
        assert len(chain.outbox) == 5

    try:
        run(test)
    finally:
        released.set()


def test_stop_waits_for_what_the_peer_takes_late(
    certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "DRAIN_TIME", 5.0)
    released, received = threading.Event(), list[bytes]()

    async def test() -> None:
        chain = await stalled(stalled_server(certificates, released, received), trusting(certificates))
        asyncio.get_running_loop().call_later(0.1, released.set)
        await chain.stop()
        assert len(chain.outbox) == 0

    run(test)
    wait_for(lambda: b"" in received)
    receiver = Receiver(RULES)
    receiver.authenticate(b"key")
    receiver.receive_data(b"".join(received))
    arrived = 0
    while (event := receiver.next_event()) is not None:
        arrived += isinstance(event, Data)
    assert arrived == 5
