"""Whoever listens where an exporter sends."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

SO_RCVBUFFORCE = 33
"""SO_RCVBUF for root, beyond net.core.rmem_max (socket(7))."""

WAITING = 64 << 20
"""Bytes that the kernel keeps: on a busy machine a test may send its tens of thousands before any is read."""


class Receiver:
    """Takes datagrams on loopback; what comes faster than it is read waits in the kernel."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.datagrams: list[bytes] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        for option in (socket.SO_RCVBUF, SO_RCVBUFFORCE):
            with suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, option, WAITING)
        self._socket.settimeout(0.05)
        self._socket.bind((host, port))
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def numbers(self) -> list[int]:
        """The datagrams, each a number."""
        return [int(datagram) for datagram in self.datagrams]

    def close(self) -> None:
        """Stops listening."""
        self._closing.set()
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                self.datagrams.append(self._socket.recv(1 << 17))
