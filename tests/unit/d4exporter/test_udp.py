"""The UDP sink, with real sockets on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import uvloop

from d4common.config import Endpoint
from d4exporter.pace import Pace
from d4exporter.udp import MAX_DATAGRAM, SinkDown, UDPSink


class Receivers:
    """Sockets that take datagrams, closed at the end of the test."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def bind(self, host: str = "127.0.0.1", port: int = 0) -> tuple[socket.socket, Endpoint]:
        """A receiver and where it is; port 0 is a free one."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        receiver = self._stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
        receiver.settimeout(5)
        receiver.bind((host, port))
        return receiver, Endpoint(host, receiver.getsockname()[1])


@pytest.fixture
def receivers() -> Iterator[Receivers]:
    with ExitStack() as stack:
        yield Receivers(stack)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Runs a test on the event loop that the daemon uses."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(test)


def take(destination: Endpoint, *records: bytes, newline: bool = True) -> None:
    """A sink takes these records, and is closed."""
    sink = UDPSink(destination, newline, Pace(0))
    try:
        run(sink.take(records))
    finally:
        sink.close()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("newline", "ending"), [(True, b"\n"), (False, b"")])
def test_each_record_is_a_datagram(receivers: Receivers, host: str, newline: bool, ending: bytes) -> None:
    receiver, destination = receivers.bind(host)
    take(destination, b"one", b"two two", b"\x00\xff", newline=newline)
    got = [receiver.recv(100) for _ in range(3)]
    assert got == [record + ending for record in (b"one", b"two two", b"\x00\xff")]


def test_all_datagrams_come_from_one_socket(receivers: Receivers) -> None:
    receiver, destination = receivers.bind()
    sink = UDPSink(destination, True, Pace(0))

    async def test() -> None:
        for record in (b"one", b"two"):
            await sink.take([record])

    run(test())
    sink.close()
    assert receiver.recvfrom(100)[1] == receiver.recvfrom(100)[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_port_where_nobody_listens_is_down(receivers: Receivers, host: str) -> None:
    receiver, destination = receivers.bind(host)
    receiver.close()
    with pytest.raises(SinkDown, match="Connection refused"):
        take(destination, b"one")


def test_even_the_last_record_is_known_to_be_refused(receivers: Receivers) -> None:
    """Nothing is taken that the kernel was told nobody wanted, though its send did not fail."""
    receiver, destination = receivers.bind()
    sink = UDPSink(destination, True, Pace(0))

    async def test() -> None:
        await sink.take([b"one"])
        receiver.close()
        with pytest.raises(SinkDown):
            await sink.take([b"two"])
        again, _ = receivers.bind(port=destination.port)
        await sink.take([b"two"])
        assert again.recv(100) == b"two\n"

    run(test())
    sink.close()


def test_a_name_that_is_not_known_is_down() -> None:
    with pytest.raises(SinkDown, match=r"nowhere\.invalid:8337: ."):
        take(Endpoint("nowhere.invalid", 8337), b"one")


def test_a_name_that_comes_to_be_known_is_looked_up_again(
    receivers: Receivers, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, destination = receivers.bind()
    known = socket.getaddrinfo(destination.host, destination.port, type=socket.SOCK_DGRAM)

    async def test() -> None:
        sink = UDPSink(Endpoint("collector.example", destination.port), True, Pace(0))
        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        with pytest.raises(SinkDown, match="not known"):
            await sink.take([b"one"])
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
        await sink.take([b"one"])
        sink.close()
        assert receiver.recv(100) == b"one\n"

    asyncio.run(test())  # whose getaddrinfo() is Python's


def unknown(*_: Any, **__: Any) -> None:
    raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")


def test_each_address_of_a_name_is_tried(receivers: Receivers, monkeypatch: pytest.MonkeyPatch) -> None:
    """localhost is ::1 and 127.0.0.1, and a collector may listen on one of them."""
    receiver, destination = receivers.bind("127.0.0.1")
    found = [
        info
        for host in ("::1", "127.0.0.1")
        for info in socket.getaddrinfo(host, destination.port, type=socket.SOCK_DGRAM)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)

    async def test() -> None:
        sink = UDPSink(Endpoint("localhost", destination.port), True, Pace(0))
        with pytest.raises(SinkDown):
            await sink.take([b"one"])
        await sink.take([b"one"])
        sink.close()

    asyncio.run(test())
    assert receiver.recv(100) == b"one\n"


@pytest.mark.parametrize(("newline", "most"), [(True, MAX_DATAGRAM - 1), (False, MAX_DATAGRAM)])
def test_a_record_too_long_is_left_out_and_counted(
    receivers: Receivers, caplog: pytest.LogCaptureFixture, newline: bool, most: int
) -> None:
    receiver, destination = receivers.bind()
    longest = b"x" * most
    sink = UDPSink(destination, newline, Pace(0))

    async def test() -> None:
        await sink.take([b"before", longest + b"x"])
        await sink.take([longest, longest + b"x", b"after"])

    run(test())
    sink.close()
    got = [receiver.recv(1 << 17).rstrip(b"\n") for _ in range(3)]
    assert got == [b"before", longest, b"after"]
    assert sink.too_long == 2
    assert len(caplog.records) == 1 and str(MAX_DATAGRAM) in caplog.text


def test_a_record_too_long_counts_once_however_often_it_is_tried(
    receivers: Receivers, caplog: pytest.LogCaptureFixture
) -> None:
    receiver, destination = receivers.bind()
    receiver.close()
    records = [b"x" * 70_000, b"one"]
    sink = UDPSink(destination, True, Pace(0))

    async def test() -> None:
        for _ in range(3):
            with pytest.raises(SinkDown):
                await sink.take(records)
        receivers.bind(port=destination.port)
        await sink.take(records)

    run(test())
    sink.close()
    assert sink.too_long == 1 and len(caplog.records) == 1


def test_nothing_to_send_is_taken(receivers: Receivers) -> None:
    receiver, destination = receivers.bind()
    take(destination)
    receiver.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.recv(1)
