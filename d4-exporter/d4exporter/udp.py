"""The UDP sink: one datagram for each record."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Iterable

from d4common.config import Endpoint
from d4exporter.pace import Pace

log = logging.getLogger(__name__)

MAX_DATAGRAM = 65_507
"""Bytes that a datagram can hold over IPv4."""


class SinkDown(Exception):
    """The sink did not take the records; they are to be offered again."""


class UDPSink:
    """Sends records to ``destination``, whose name is looked up each time the sink has been down."""

    def __init__(self, destination: Endpoint, newline: bool, pace: Pace) -> None:
        self.too_long = 0
        """Records that no datagram can hold."""
        self._destination = destination
        self._ending = b"\n" if newline else b""
        self._pace = pace
        self._attempts = 0
        self._socket: socket.socket | None = None

    async def take(self, records: Iterable[bytes]) -> None:
        """Sends each record. Raises SinkDown when any may not have been taken.

        The kernel reports a port where nobody listens at a later send, so nothing counts as taken until
        the socket has been asked for its error after the last one.
        """
        try:
            connected = self._socket or await self._connect()
            too_long = 0
            for record in records:
                await self._pace.step()
                if not await self._send(connected, record + self._ending):
                    too_long += 1
            pending = connected.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if pending:
                raise OSError(pending, os.strerror(pending))
        except OSError as error:
            self.close()
            raise SinkDown(f"{self._destination}: {error.strerror or error}") from None
        self._count(too_long)

    def close(self) -> None:
        """Closes the socket; take() opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    async def _connect(self) -> socket.socket:
        host, port = self._destination.host, self._destination.port
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        # A name may have several addresses, of which only one has somebody listening.
        family, _, _, _, address = found[self._attempts % len(found)]
        self._attempts += 1
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(address)
        return self._socket

    async def _send(self, connected: socket.socket, datagram: bytes) -> bool:
        """Sends a datagram; False where it is too long to be one."""
        try:
            connected.send(datagram)
        except BlockingIOError:
            await asyncio.get_running_loop().sock_sendall(connected, datagram)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            return False
        return True

    def _count(self, too_long: int) -> None:
        """Counts records that were left out, and says so the first time."""
        if too_long and not self.too_long:
            log.warning(
                "a record that fits no datagram (%d bytes) was left out; further ones are only counted",
                MAX_DATAGRAM,
            )
        self.too_long += too_long
