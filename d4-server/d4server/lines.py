"""Whole lines out of payloads that were cut anywhere. No I/O."""

from __future__ import annotations

MAX_LINE = 100_000
"""Bytes of an unfinished line that are kept; one that is longer is given out in pieces, as upstream does."""


class Lines:
    """The lines of one connection."""

    def __init__(self) -> None:
        self._unfinished = bytearray()

    def receive(self, payload: bytes) -> bytes:
        """The lines that are complete with this payload, each with its line feed; b"" if none is."""
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
