"""Whole lines out of payloads that were cut anywhere. No I/O.

In plain D4 the end of a payload waits for the rest of its line. In an acknowledged session whole packets
wait, since a packet is stored as a whole under its number.
"""

from __future__ import annotations

from io import BytesIO

MAX_LINE = 100_000
"""Bytes of an unfinished line that are kept; one that is longer is given out in pieces, as upstream does."""


def count(payload: bytes) -> int:
    """The line feeds in a payload. (For 4 KiB, bytes.count() takes three times as long as this.)"""
    lines = BytesIO(payload).readlines()
    return len(lines) - 1 if lines and not payload.endswith(b"\n") else len(lines)


class Lines:
    """The lines of one connection."""

    def __init__(self) -> None:
        self._unfinished = bytearray()

    def __len__(self) -> int:
        """Bytes of the line that is not finished."""
        return len(self._unfinished)

    def receive(self, payload: bytes) -> bytes:
        """The lines that are complete with this payload, each with its line feed; b"" if none is."""
        if not self._unfinished and payload.endswith(b"\n"):
            return payload  # as good clients cut it
        complete, feed, rest = payload.rpartition(b"\n")
        if feed:
            whole = bytes(self._unfinished) + complete + feed
            self._unfinished[:] = rest
        else:
            whole = b""
            self._unfinished += rest
        if len(self._unfinished) > MAX_LINE:
            whole += self.finish()
        return whole

    def finish(self) -> bytes:
        """The unfinished line at the end of a connection, with a line feed added; b"" if there is none."""
        line = bytes(self._unfinished)
        self._unfinished.clear()
        return line + b"\n" if line else b""


MAX_PACKETS = 10_000
"""Packets that wait for the end of a line; only tiny ones get there."""


class Packets:
    """The packets of one acknowledged session, put together so that lines stay whole (protocol, 2.4).

    How they are put together depends on nothing but the packets since the last that were given out, so that
    packets that are sent again are put together as they were before.
    """

    def __init__(self) -> None:
        self._waiting: list[bytes] = []
        self._size = 0

    def __len__(self) -> int:
        """Bytes that wait."""
        return self._size

    @property
    def waiting(self) -> int:
        """Packets that wait."""
        return len(self._waiting)

    def receive(self, payload: bytes) -> list[bytes]:
        """The payloads to be stored together, this one the last of them; [] if it must wait."""
        self._waiting.append(payload)
        self._size += len(payload)
        full = self._size > MAX_LINE or len(self._waiting) > MAX_PACKETS
        if not full and not payload.endswith(b"\n"):
            return []
        together, self._waiting, self._size = self._waiting, [], 0
        return together
