"""What is done with one connection: packets out of an outbox, in an acknowledged session or in plain D4."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from typing import Any

from d4common.acknowledged import AcknowledgedSession
from d4common.connection import Connection
from d4common.outbox import Outbox
from d4common.packet import HEADER_SIZE
from d4common.sender import Sender
from d4common.service import cancel

WINDOW = 4 << 20
"""Bytes of payload that are sent, and read from the outbox, ahead of the server's acknowledgements."""

KEEP_ALIVE = 10.0
"""Seconds without anything sent before a session shows that it is alive."""

SILENCE = 30.0
"""Seconds without anything heard after which a session is dead."""

PLAIN_WINDOW = 1 << 18
"""Bytes of payload that are sent in plain D4 before the peer's kernel must have all of them.

They are sent again, and stored twice, when the connection breaks meanwhile.
"""

RECORD = 1 << 14
"""Bytes of a record of TLS at most (RFC 8446, 5.1); what is written at once is split into such."""

PROBATION = 1.0
"""Seconds that a connection of plain D4 must survive its first packet.

A server that does not want the sensor closes instead; until then one packet is all that it can swallow.
"""

UNANSWERED = (
    "it ended before the server had answered; a server that does not know this sensor, or its key, closes, "
    "and says so in its log"
)

Acknowledge = Callable[[int], Awaitable[None]]
"""Hears that the server has all packets up to a number."""


class SpoolMoved(Exception):
    """What was to be sent next has been dropped from the outbox; a new session begins behind it."""


class AcknowledgedDelivery:
    """Delivers by an acknowledged session."""

    def __init__(
        self,
        connection: Connection,
        sender: Sender,
        outbox: Outbox,
        known: int,
        taken_in: Callable[[], None],
        acknowledge: Acknowledge,
    ) -> None:
        """``known`` is the last number that earlier connections can have sent; ``taken_in`` hears, once or
        more, that the server has answered.

        No packet is sent before. Of a spool that is a copy the server may have other packets with the same
        numbers, which only its first answer tells.
        """
        self._connection = connection
        self._outbox = outbox
        self._first = outbox.first
        self._session = AcknowledgedSession(sender, outbox.id, self._first, known)
        self._taken_in = taken_in
        self._acknowledge = acknowledge
        self._answer = asyncio.Event()
        self._last_sent = self._last_heard = asyncio.get_running_loop().time()

    @property
    def sent(self) -> int:
        """The number of the last packet that was sent, or of the one before the first."""
        return self._session.next - 1

    @property
    def fruitful(self) -> bool:
        """Whether the server has said that it has stored something of what was sent."""
        return self._session.acknowledged >= self._first

    async def run(self) -> None:
        """Sends until it cannot any more: raises OSError, BadAnswer or SpoolMoved."""
        self._write(self._session.opening(int(time.time())))
        await first(self._send(), self._hear(), self._watch())

    async def _send(self) -> None:
        session = self._session
        await self._until(lambda: session.answered)
        await self._outbox.release()
        while True:
            await self._outbox.filled(session.next)
            await self._until(lambda: session.unacknowledged <= WINDOW // 2)
            packets = await self._outbox.read(session.next, WINDOW - session.unacknowledged)
            if packets and packets[0].number != session.next:
                # What is on its way has been dropped as well, but may still be stored: all of it, unless
                # it ends within a line.
                await first(self._until(lambda: session.acknowledged == self.sent), asyncio.sleep(SILENCE))
                raise SpoolMoved
            self._write(b"".join(session.packet(*packet) for packet in packets))
            await self._take_out()

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Waits for answers until ``condition`` holds."""
        while not condition():
            self._answer.clear()
            await self._answer.wait()

    async def _hear(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await self._connection.read()
            except ConnectionError:
                if self._session.answered:
                    raise
                raise ConnectionResetError(UNANSWERED) from None
            self._last_heard = loop.time()
            self._session.receive_data(data)
            self._answer.set()
            if self._session.answered:
                self._taken_in()
            await self._take_out()

    async def _watch(self) -> None:
        """Keeps the session alive, and notices when it is dead."""
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            if now >= self._last_heard + SILENCE:
                raise ConnectionAbortedError(f"nothing was heard of the server for {SILENCE:.0f} s")
            if now >= self._last_sent + KEEP_ALIVE:
                self._write(self._session.announcement(int(time.time())))
            await asyncio.sleep(min(self._last_heard + SILENCE, self._last_sent + KEEP_ALIVE) - now)

    async def _take_out(self) -> None:
        """Takes out of the outbox what the server has."""
        number = self._session.acknowledged
        if number >= self._outbox.first:
            await self._acknowledge(number)

    def _write(self, data: bytes) -> None:
        self._connection.write(data)
        self._last_sent = asyncio.get_running_loop().time()


class PlainDelivery:
    """Delivers by plain D4, where a packet counts as delivered once the peer's kernel has it."""

    fruitful = False
    """Nobody says whether anything was stored."""

    def __init__(
        self,
        connection: Connection,
        sender: Sender,
        outbox: Outbox,
        taken_in: Callable[[], None],
        acknowledge: Acknowledge,
    ) -> None:
        """``taken_in`` hears that the server has not closed the connection in PROBATION seconds."""
        self._connection = connection
        self._sender = sender
        self._outbox = outbox
        self._taken_in = taken_in
        self._acknowledge = acknowledge
        self.sent = outbox.first - 1
        """The number of the last packet that was sent, or of the one before the first."""

    async def run(self) -> None:
        """Sends until it cannot any more: raises OSError."""
        self._connection.limit_silence()
        surviving = asyncio.get_running_loop().call_later(PROBATION, self._taken_in)
        try:
            await first(self._send(), self._hear())
        finally:
            surviving.cancel()

    async def _send(self) -> None:
        self._connection.write(self._sender.opening(int(time.time())))
        if self.sent:
            self._connection.write(self._sender.resuming(int(time.time())))
        await self._send_some(1)
        await asyncio.sleep(PROBATION)
        while True:
            await self._connection.arrived()
            await self._acknowledge(self.sent)
            await self._send_some(PLAIN_WINDOW)

    async def _send_some(self, most: int) -> None:
        """Sends what there is of ``most`` bytes, at least one packet, each in a write of its own."""
        await self._outbox.filled(self.sent + 1)
        for number, timestamp, payload in await self._outbox.read(self.sent + 1, most):
            for part in parts(self._sender.packet(payload, timestamp)):
                self._connection.write(part)
            self.sent = number

    async def _hear(self) -> None:
        said = await self._connection.read()
        raise ConnectionAbortedError(f"it is no D4 server, which says nothing, but {said[:40]!r}")


def parts(packet: bytes) -> Iterator[bytes]:
    """A packet, to be written one part after the other, so that a d4-core takes it as soon as it has come.

    What it reads at once is a record of TLS. It leaves one of less than HEADER_SIZE bytes lying until more
    comes, unless a packet begins with it.
    """
    if 0 < len(packet) % RECORD < HEADER_SIZE:
        yield packet[:-HEADER_SIZE]
        packet = packet[-HEADER_SIZE:]
    yield packet


async def first(*work: Coroutine[Any, Any, None]) -> None:
    """Runs them together until one returns or raises; the others are cancelled, and their end awaited."""
    tasks = [asyncio.create_task(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when="FIRST_COMPLETED")
    finally:
        await cancel(*tasks)
        errors = [task.exception() for task in tasks if not task.cancelled()]
    for error in errors:
        if error is not None:
            raise error
