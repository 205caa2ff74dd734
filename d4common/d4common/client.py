"""A D4 client on asyncio: takes lines, keeps them while nobody can be reached, sends them over TLS."""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from d4common.config import Endpoint
from d4common.sender import Sender
from d4common.tls import TLSError

CONNECT_TIMEOUT = 15.0
"""Seconds for TCP and TLS together."""

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds between attempts to connect: doubled each time, up to the longest."""

DRAIN_TIME = 5.0
"""Seconds that a stop waits for what is still to be sent."""


class Outbox:
    """Lines that wait to be sent, the oldest first, at most ``most`` bytes of them.

    When it is full the oldest go, and are counted in ``dropped``.
    """

    def __init__(self, most: int) -> None:
        self.dropped = 0
        self._most = most
        self._size = 0
        self._lines: deque[bytes] = deque()
        self._in_flight: list[bytes] = []
        self._filled = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """Lines that wait."""
        return len(self._lines)

    def put(self, line: bytes) -> None:
        """Adds a line, which has its line feed."""
        self._lines.append(line)
        self._size += len(line)
        while self._size > self._most and len(self._lines) > 1:
            self._size -= len(self._lines.popleft())
            self.dropped += 1
        self._filled.set()
        self._empty.clear()

    def take(self, most: int) -> list[bytes]:
        """Lines of ``most`` bytes together, at least one if there is any; sent() or put_back() follows."""
        size = 0
        while self._lines and (not self._in_flight or size + len(self._lines[0]) <= most):
            line = self._lines.popleft()
            self._in_flight.append(line)
            size += len(line)
        self._size -= size
        if not self._lines:
            self._filled.clear()
        return self._in_flight

    def sent(self) -> None:
        """What take() gave has been sent."""
        self._in_flight = []
        if not self._lines:
            self._empty.set()

    def put_back(self) -> None:
        """What take() gave could not be sent, and is the next again."""
        self._lines.extendleft(reversed(self._in_flight))
        self._size += sum(map(len, self._in_flight))
        self._in_flight = []
        if self._lines:
            self._filled.set()

    async def filled(self) -> None:
        """Returns when there is a line to take."""
        await self._filled.wait()

    async def empty(self) -> None:
        """Returns when all has been sent."""
        await self._empty.wait()


class Client:
    """Sends what is in ``outbox`` to ``destination``, connecting again for as long as it takes."""

    def __init__(
        self,
        sender: Sender,
        outbox: Outbox,
        destination: Endpoint,
        context: Callable[[], ssl.SSLContext],
        changed: Callable[[str], None],
    ) -> None:
        """``context`` is asked for at each attempt, so a CA may come later or be replaced (TLSError);
        ``changed`` hears in words what became of the connection.
        """
        self._sender = sender
        self._outbox = outbox
        self._destination = destination
        self._context = context
        self._changed = changed
        self.connected = False
        """Whether there is a connection."""
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Connects and sends until stop() has been called."""
        sending = asyncio.create_task(self._send_for_ever())
        stopped = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((sending, stopped), return_when="FIRST_COMPLETED")
            if self.connected:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._outbox.empty(), DRAIN_TIME)
        finally:
            stopped.cancel()
            sending.cancel()
        with suppress(asyncio.CancelledError):
            await sending

    def stop(self) -> None:
        """Asks run() to return: at once, or in DRAIN_TIME seconds if more can be sent until then."""
        self._stopping.set()

    async def _send_for_ever(self) -> None:
        """One connection after the other, with longer and longer pauses until one has lasted."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            began = loop.time()
            try:
                await self._send_once()
            except (OSError, TLSError) as error:
                self._changed(f"{self._destination} cannot be reached: {explain(error)}")
            if loop.time() - began > LONGEST_PAUSE:
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1))
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _send_once(self) -> None:
        """Connects and sends until the connection breaks. Raises OSError or TLSError if there is none."""
        reader, writer = await self._connect()
        self.connected = True
        self._changed(f"connected to {self._destination}")
        try:
            await self._send(reader, writer)
        except OSError as error:
            self.connected = False
            writer.transport.abort()
            self._changed(f"connection to {self._destination} lost: {explain(error)}")
        except asyncio.CancelledError:
            writer.close()
            with suppress(OSError):  # what is still in this process goes out, or takes too long
                await asyncio.wait_for(writer.wait_closed(), DRAIN_TIME)
            raise
        finally:
            self.connected = False

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._destination.host, self._destination.port
        opening = asyncio.open_connection(host, port, ssl=self._context(), server_hostname=host)
        reader, writer = await asyncio.wait_for(opening, CONNECT_TIMEOUT)
        # drain() then waits for nearly all of it to be with the kernel, the most that plain D4 lets a
        # sender know. (With a high mark of 0, TLS would pause for good: 0 bytes reach it.)
        writer.transport.set_write_buffer_limits(high=1, low=0)
        return reader, writer

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Sends until the connection breaks, then raises OSError."""
        writer.write(self._sender.opening(int(time.time())))
        closed = asyncio.create_task(_closed(reader))
        try:
            while True:
                await _or_closed(self._outbox.filled(), closed)
                await self._send_batch(writer, closed)
        finally:
            closed.cancel()

    async def _send_batch(self, writer: asyncio.StreamWriter, closed: asyncio.Task[None]) -> None:
        """Sends one packet of lines; they go back into the outbox if the connection fails meanwhile."""
        try:
            for packet in self._sender.packets(self._outbox.take(self._sender.snaplen), int(time.time())):
                writer.write(packet)
            await _or_closed(writer.drain(), closed)
        except BaseException:
            self._outbox.put_back()
            raise
        self._outbox.sent()


async def _or_closed(work: Coroutine[Any, Any, None], closed: asyncio.Task[None]) -> None:
    """Waits for ``work``, or raises ConnectionResetError when the peer closes before."""
    task = asyncio.create_task(work)
    try:
        await asyncio.wait((task, closed), return_when="FIRST_COMPLETED")
        if closed.done() or not task.done():
            raise ConnectionResetError("the server closed it; its log says why")
        task.result()
    finally:
        task.cancel()


async def _closed(reader: asyncio.StreamReader) -> None:
    """Returns when the peer has closed the connection; what it says before is not for us."""
    with suppress(OSError):
        while await reader.read(4096):
            pass


def explain(error: BaseException) -> str:
    """Why a connection failed, in words that say what to look at."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return f"no answer in {CONNECT_TIMEOUT:.0f} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
