"""The network between a sensor and its servers, as bad as a test wants it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from itertools import cycle
from threading import Thread
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

T = TypeVar("T")

ENDLESS = 1 << 62

PIECE, PACE = 4096, 0.002
"""Bytes that are carried at once, and seconds for that, where a connection has an end: so one end has begun
to answer when the connection is reset.
"""

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with which a close() sends an RST (socket(7))."""


class Contexts(NamedTuple):
    """With them a proxy sees what is said: it is a server for the sensor, and a client of the server."""

    server: ssl.SSLContext
    client: ssl.SSLContext


class Proxy:
    """Connections to ``port`` go to the servers' ports in turn. A context manager.

    ``plan`` gives for each connection how many bytes it may bring to the server, and to the sensor, before
    both ends of it are reset. With ``contexts`` it keeps in ``heard`` what each connection has brought to
    the server.
    """

    def __init__(self, servers: Sequence[int], contexts: Contexts | None = None) -> None:
        self.port = 0
        self.connections = 0
        self.cuts = 0
        self.heard: list[bytearray] = []
        self.plan: Callable[[], tuple[int, int]] = lambda: (ENDLESS, ENDLESS)
        self._servers = cycle(servers)
        self._contexts = contexts
        self._open: set[Connection] = set()
        self._held: set[Connection] = set()
        """Of those that are open."""
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever)

    def __enter__(self) -> Proxy:
        self._thread.start()
        self.port = self._do(self._listen())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def lead_to(self, *servers: int) -> None:
        """Resets all connections; those to come go to other servers."""
        self._servers = cycle(servers)
        self.cut()

    def cut(self) -> None:
        """Resets all connections."""

        async def cut() -> None:
            for connection in tuple(self._open):
                connection.reset()

        self._do(cut())

    def hold(self) -> int:
        """From now on nothing comes through the connections that are open, though neither end hears of it.

        Returns how many bytes are held on their way to the server; what comes later is held too.
        """

        async def hold() -> int:
            for connection in self._open - self._held:
                connection.holding = True
                self._held.add(connection)
            return sum(len(connection.held) for connection in self._held)

        return self._do(hold())

    def leave(self) -> None:
        """The sensor hears of the end of connections that are held; the server does not."""

        async def leave() -> None:
            for connection in self._held:
                connection.reset_sensor()

        self._do(leave())

    def release(self) -> None:
        """What was held on its way to the server arrives there after all."""

        async def release() -> None:
            for connection in tuple(self._held):
                await connection.release()

        self._do(release())

    async def _listen(self) -> int:
        tls = self._contexts and self._contexts.server
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def _stop(self) -> None:
        self._server.close()
        for connection in tuple(self._open):
            connection.reset()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        tls = self._contexts and self._contexts.client
        try:
            server = await asyncio.open_connection("127.0.0.1", next(self._servers), ssl=tls)
        except OSError:
            writer.transport.abort()  # the server is not there
            return
        connection = Connection((reader, writer), server, *self.plan())
        if self._contexts:
            self.heard.append(connection.heard)
        self._open.add(connection)
        try:
            self.cuts += await connection.run()
        finally:
            self._open.discard(connection)
            self._held.discard(connection)

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


End = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connection:
    """One connection, by way of the proxy."""

    def __init__(self, sensor: End, server: End, up: int, down: int) -> None:
        self.holding = False
        self.heard = bytearray()
        self.held = bytearray()
        self._from_sensor, self._to_sensor = sensor
        self._from_server, self._to_server = server
        self._up, self._down = up, down
        for writer in (self._to_sensor, self._to_server):
            writer.transport.set_write_buffer_limits(high=1)  # with 0 a TLS transport never goes on

    async def run(self) -> bool:
        """Carries bytes until an end is closed, or until there were as many as there may be: then True."""
        up = asyncio.create_task(self._carry(self._from_sensor, self._to_server, self._up))
        down = asyncio.create_task(self._carry(self._from_server, self._to_sensor, self._down))
        try:
            done, _ = await asyncio.wait((up, down), return_when="FIRST_COMPLETED")
            cut = any(way.result() for way in done)
            if self.holding:
                await down  # the server hears of the end when all that was held has come to it
            return cut
        finally:
            up.cancel()
            down.cancel()
            self.reset()

    async def release(self) -> None:
        """Gives the server what was held, and then the end of the connection."""
        with suppress(OSError, RuntimeError):  # if it has not closed, or got that already
            self._to_server.write(self.held)
            await self._to_server.drain()
            self._to_server.write_eof()

    def reset(self) -> None:
        """Ends it by an RST on both sides; to an end that is closed already nothing happens."""
        self.reset_sensor()
        _reset(self._to_server)

    def reset_sensor(self) -> None:
        """Ends it on the side of the sensor."""
        _reset(self._to_sensor)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most: int) -> bool:
        with suppress(OSError):
            limited = most < ENDLESS
            while data := await reader.read(min(most, PIECE if limited else 1 << 16)):
                most -= len(data)
                if limited:
                    await asyncio.sleep(PACE)
                if writer is self._to_server:
                    self.heard += data
                if not self.holding:
                    writer.write(data)
                    await writer.drain()
                elif writer is self._to_server:
                    self.held += data
                if not most:
                    return True
        return False


def _reset(writer: asyncio.StreamWriter) -> None:
    tcp = writer.get_extra_info("socket")
    if tcp is not None and tcp.fileno() >= 0:
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
