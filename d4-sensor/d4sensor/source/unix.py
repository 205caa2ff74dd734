"""A Unix socket to which programs write lines: a stream or datagrams, held by systemd or made here."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from d4common.service import cancel
from d4sensor.source import Intake, SourceError, give, put, readable
from d4sensor.source.cutting import Lines

SOCKETS = "lines"
"""What the unit of the socket calls it (FileDescriptorName=)."""

AT_ONCE = 1 << 18
"""Bytes that are read at once, and the longest datagram."""

PAUSE = 0.1
"""Seconds before another connection is accepted where one could not be."""

LEFT = 1 << 20
"""Bytes that are still read of each socket on a stop: more than its buffer holds."""


def listen(path: Path) -> socket.socket:
    """A listening stream socket at ``path``, for who may write there. Raises SourceError."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        if path.is_socket() and listening.connect_ex(str(path)) == errno.ECONNREFUSED:
            path.unlink()  # left by a process that was killed
        listening.close()
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(path))
        listening.listen()
        listening.setblocking(False)
    except OSError as error:
        listening.close()
        raise SourceError(f"{path}: no socket can be made there: {error.strerror}") from None
    return listening


class Unix:
    """Gives the lines of each connection, and of each datagram, at ``sockets``.

    A writer waits where there is no room. What it has written when a stop comes is still read.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets

    async def run(self, intake: Intake) -> None:
        """Reads for ever."""
        async with asyncio.TaskGroup() as connections:
            listening = [
                asyncio.create_task(self._listen(each, intake, connections)) for each in self._sockets
            ]
            try:
                await asyncio.gather(*listening)
            finally:
                # First these, and then the group's, all of which have begun by then: one that has not would
                # never know of its connection.
                await cancel(*listening)

    async def _listen(self, held: socket.socket, intake: Intake, connections: asyncio.TaskGroup) -> None:
        if held.type == socket.SOCK_DGRAM:
            await self._datagrams(held, intake)
        while True:
            await readable(held.fileno())
            try:
                connection, _ = held.accept()
            except OSError:  # too many are open, or who wanted to connect has given up
                await asyncio.sleep(PAUSE)
                continue
            connection.setblocking(False)
            connections.create_task(self._lines(connection, intake))

    async def _lines(self, connection: socket.socket, intake: Intake) -> None:
        """The lines of one connection, to its end."""
        lines = Lines()
        with connection:
            try:
                while data := await _received(connection):
                    await give(intake, lines.receive(data))
            except asyncio.CancelledError:
                for data in _left(connection):
                    put(intake, lines.receive(data))
                put(intake, lines.finish())
                raise
            await give(intake, lines.finish())

    async def _datagrams(self, bound: socket.socket, intake: Intake) -> None:
        """Each datagram as a line, or several."""
        try:
            while True:
                await readable(bound.fileno())
                await give(intake, _whole(bound.recv(AT_ONCE)))
        except asyncio.CancelledError:
            for data in _left(bound):
                put(intake, _whole(data))
            raise


async def _received(connection: socket.socket) -> bytes:
    """What a writer says next; b"" at its end, orderly or not.

    Not by loop.sock_recv(), which loses what it has read where a cancellation comes in the same turn.
    """
    await readable(connection.fileno())
    try:
        return connection.recv(AT_ONCE)
    except OSError:
        return b""


def _left(readable: socket.socket) -> list[bytes]:
    """What has been written to a socket and not been read yet."""
    found: list[bytes] = []
    with suppress(OSError):
        while sum(map(len, found)) < LEFT and (data := readable.recv(AT_ONCE)):
            found.append(data)
    return found


def _whole(datagram: bytes) -> list[bytes]:
    """A datagram's lines, each with its line feed."""
    lines = Lines()
    return [*lines.receive(datagram), *lines.finish()]
