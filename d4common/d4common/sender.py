"""What a sensor sends on one connection of plain D4: the meta header, then data, as packets. No I/O."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
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
    """The sensor's end: what it sends, as packets, each to be written in one piece.

    ``meta_header`` is the JSON of type 2 and goes with type 254; ``snaplen`` is the most bytes of payload
    in one packet.
    """

    identity: Identity
    type: int
    meta_header: dict[str, Any] | None
    snaplen: int
    version: int = 1

    def opening(self, timestamp: int) -> bytes:
        """The packets that open a connection: the meta header in one packet, or nothing."""
        if self.meta_header is None:
            return b""
        document = json.dumps(self.meta_header, separators=(",", ":")).encode()
        return self._packet(META_HEADER, document, timestamp)

    def packets(self, lines: Iterable[bytes], timestamp: int) -> Iterator[bytes]:
        """Packets of whole lines, as many in each as snaplen allows."""
        for payload in pack_lines(lines, self.snaplen):
            yield self._packet(self.type, payload, timestamp)

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
