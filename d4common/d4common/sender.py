"""What a sensor sends, as signed packets of plain D4, each to be written in one piece. No I/O."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from d4common.packet import META_HEADER, encode


@dataclass(frozen=True)
class Identity:
    """What makes packets a sensor's own: its UUID and the key that it shares with the server."""

    uuid: UUID
    key: bytes


@dataclass(frozen=True)
class Sender:
    """Signs payloads as packets of one D4 type. ``meta_header`` is the JSON that goes before type 254.

    ``preamble`` gives the payload without which data of the type cannot be read that does not begin with
    the first packet, such as the header of a pcap file.
    """

    identity: Identity
    type: int
    meta_header: dict[str, Any] | None = None
    version: int = 1
    preamble: Callable[[], bytes] = bytes

    def opening(self, timestamp: int) -> bytes:
        """What comes before the first data of a connection: the meta header in one packet, or nothing."""
        return b"" if self.meta_header is None else self.meta(self.meta_header, timestamp)

    def resuming(self, timestamp: int) -> bytes:
        """What then comes before the data of plain D4 that goes on with a later packet than the first."""
        preamble = self.preamble()
        return self.packet(preamble, timestamp) if preamble else b""

    def meta(self, document: dict[str, Any], timestamp: int) -> bytes:
        """A packet of type 2: an object of JSON."""
        return self._packet(META_HEADER, json.dumps(document, separators=(",", ":")).encode(), timestamp)

    def packet(self, payload: bytes, timestamp: int) -> bytes:
        """A packet of data. ``timestamp`` is in seconds since the epoch, of when the payload was made."""
        return self._packet(self.type, payload, timestamp)

    def _packet(self, type: int, payload: bytes, timestamp: int) -> bytes:
        return encode(self.identity.key, self.identity.uuid.bytes, type, payload, timestamp, self.version)


def pack_lines(lines: Iterable[bytes], snaplen: int) -> Iterator[bytes]:
    """Joins lines (each with its line feed) into payloads of at most ``snaplen`` bytes.

    A payload ends where a line ends; only a line longer than snaplen is cut.
    """
    waiting: deque[bytes] = deque()
    size = 0
    for line in lines:
        if size + len(line) > snaplen:
            if waiting:
                yield b"".join(waiting)
            waiting.clear()
            size = 0
            while len(line) > snaplen:
                yield line[:snaplen]
                line = line[snaplen:]
        waiting.append(line)
        size += len(line)
    if waiting:
        yield b"".join(waiting)
