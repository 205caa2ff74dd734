"""A listening socket whose connections are given out as they are accepted, so that they may simply be closed.

(asyncio's own servers begin TLS before they tell anybody.)
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

log = logging.getLogger(__name__)

AT_ONCE = 100
"""Connections accepted in one turn of the event loop."""

FEW = 2
"""The same where several processes accept from one socket, so that each gets its share of a burst."""

PAUSE = 1.0
"""Seconds until the next try where the kernel has no room for another connection."""


class Door:
    """One listening socket."""

    def __init__(
        self, listening: socket.socket, accept: Callable[[socket.socket, str], None], at_once: int = AT_ONCE
    ) -> None:
        """``accept`` is given each connection with the peer's address, an IPv4 address always as such."""
        self._listening = listening
        self._accept = accept
        self._at_once = at_once
        self._paused: asyncio.TimerHandle | None = None

    def open(self) -> None:
        """Begins to accept."""
        self._paused = None
        self._listening.setblocking(False)
        asyncio.get_running_loop().add_reader(self._listening.fileno(), self._take)

    def close(self) -> None:
        """Closes the listening socket."""
        if self._paused is not None:
            self._paused.cancel()
        asyncio.get_running_loop().remove_reader(self._listening.fileno())
        self._listening.close()

    def _take(self) -> None:
        for _ in range(self._at_once):
            try:
                connection, peer = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:  # no file, or no memory, is left for it
                self._pause(error)
                return
            connection.setblocking(False)
            self._accept(connection, str(peer[0]).removeprefix("::ffff:"))

    def _pause(self, error: OSError) -> None:
        log.error("cannot accept connections, trying again: %s", error.strerror)
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listening.fileno())
        self._paused = loop.call_later(PAUSE, self.open)
