"""Lines that programs write to a Unix socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import uvloop
from sourcing import Given
from waiting import until

from d4common.service import cancel
from d4sensor.source import SourceError
from d4sensor.source.unix import Unix, listen


@pytest.fixture
def path():  # type: ignore[no-untyped-def]
    """Where a socket can be: its path has room for about a hundred bytes."""
    with TemporaryDirectory(prefix="unix-") as name:
        yield Path(name) / "socket"


@asynccontextmanager
async def serving(*sockets: socket.socket) -> AsyncIterator[Given]:
    """A source that reads these sockets, and what it has given."""
    intake = Given()
    task = asyncio.create_task(Unix(sockets).run(intake))
    try:
        yield intake
    finally:
        await cancel(task)
        for each in sockets:
            each.close()


def connected(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    return client


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_lines_of_each_connection_stay_whole(path: Path, loop: type) -> None:
    async def run() -> None:
        async with serving(listen(path)) as intake:
            one, two = connected(path), connected(path)
            one.sendall(b"one: fir")
            two.sendall(b"two: first\ntwo: sec")
            await until(lambda: intake.records)
            one.sendall(b"st\n")
            one.close()
            await until(lambda: len(intake.records) == 2)
            two.close()
            await until(lambda: len(intake.records) == 3)
            assert intake.records == [b"two: first\n", b"one: first\n", b"two: sec\n"]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(run())


def test_datagrams_are_lines(path: Path) -> None:
    async def run() -> None:
        bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        bound.bind(str(path))
        bound.setblocking(False)
        async with serving(bound) as intake:
            client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            for datagram in (b"one", b"two\n", b"three\nfour", b"", b"x" * 100_000):
                client.sendto(datagram, str(path))
            client.close()
            await until(lambda: len(intake.records) == 5)
            assert intake.records == [b"one\n", b"two\n", b"three\n", b"four\n", b"x" * 100_000 + b"\n"]

    asyncio.run(run())


def test_a_writer_waits_where_there_is_no_room(path: Path) -> None:
    async def run() -> None:
        async with serving(listen(path)) as intake:
            intake.room.clear()
            client = connected(path)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            writing = asyncio.create_task(loop.sock_sendall(client, b"line\n" * 1_000_000))
            await asyncio.wait([writing], timeout=0.3)
            assert not writing.done()
            intake.room.set()
            await writing
            client.close()
            await until(lambda: len(intake.records) == 1_000_000)

    asyncio.run(run())


def test_what_was_written_before_a_stop_is_read(path: Path) -> None:
    async def run() -> None:
        async with serving(listen(path)) as intake:
            intake.room.clear()
            client = connected(path)
            client.sendall(b"one\n")
            await asyncio.sleep(0.05)
            client.sendall(b"two\nunfinished")
        client.close()
        assert intake.records == [b"one\n", b"two\n", b"unfinished\n"]

    asyncio.run(run())


def test_the_socket_of_a_process_that_was_killed_is_replaced(path: Path) -> None:
    listen(path).close()
    with listen(path), connected(path):
        pass


def test_a_socket_that_somebody_listens_at_stays(path: Path) -> None:
    with (
        listen(path),
        pytest.raises(SourceError, match="no socket can be made there: Address already in use"),
    ):
        listen(path)
