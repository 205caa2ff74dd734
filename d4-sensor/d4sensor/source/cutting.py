"""A stream of bytes, cut into records. No I/O."""

from __future__ import annotations

from base64 import b64encode
from typing import Protocol

LONGEST = 1 << 20
"""Bytes of an unfinished line that are held back; one that is longer is given out in pieces."""


class Cutter(Protocol):
    """Takes a stream in pieces and gives records."""

    @property
    def held(self) -> int:
        """Bytes of the stream, the latest, that are in no record yet."""

    def receive(self, data: bytes) -> list[bytes]:
        """The records that are complete with ``data``."""

    def finish(self) -> list[bytes]:
        """What is left at the end of the stream; another one may begin then."""


class Lines:
    """Records are lines, each with its line feed; an unfinished one at the end gets it."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        return len(self._rest)

    def receive(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).split(b"\n")
        records = [line + b"\n" for line in lines]
        if len(self._rest) > LONGEST:
            records.append(self._rest)
            self._rest = b""
        return records

    def finish(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        return [rest + b"\n"] if rest else []


class Chunks:
    """Records are whatever bytes come together: those of a stream that has no lines."""

    @property
    def held(self) -> int:
        return 0

    def receive(self, data: bytes) -> list[bytes]:
        return [data]

    def finish(self) -> list[bytes]:
        return []


class Base64Line:
    """The stream as one line of base64, in several records."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def held(self) -> int:
        return len(self._rest)

    def receive(self, data: bytes) -> list[bytes]:
        data = self._rest + data
        whole = len(data) // 3 * 3
        self._rest = data[whole:]
        return [b64encode(data[:whole])] if whole else []

    def finish(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        return [b64encode(rest) + b"\n"]
