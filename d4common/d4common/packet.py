"""The D4 packet: 62 bytes of header, then the payload. No I/O.

Layout, little-endian as every client sends it (the specification names no byte order)::

    offset  size  field
    0       1     version
    1       1     type
    2       16    uuid of the sensor, network order (RFC 4122)
    18      8     timestamp, seconds since the epoch
    26      32    HMAC-SHA256
    58      4     size of the payload, bytes
    62      size  payload

The HMAC covers the whole packet with its own 32 bytes set to zero. Packets follow one another on the
stream without anything between them.
"""

from __future__ import annotations

import hmac
import struct
from typing import NamedTuple

HEADER_SIZE = 62
"""Bytes of a header."""

MAX_PAYLOAD = 1_000_000
"""Bytes of a payload. The reference server drops a connection that claims more."""

META_HEADER = 2
"""Type of a packet that describes, in JSON, what the packets of type 254 hold."""

EXTENDED = 254
"""Type of a packet whose content a meta header has described."""

CHUNKS = frozenset({1, 4, 5, 7})
"""Types that are a stream of bytes: pcap, dnscap, pcapng, YAF. The others' records are lines."""

CHUNK_NAMES = frozenset(map(str, CHUNKS))
"""The same, as Redis streams are named by them."""

_LAYOUT = struct.Struct("<BB16sQ32sI")
_SIZE = struct.Struct("<I")
_NO_HMAC = bytes(32)


class PacketError(ValueError):
    """The stream holds something that is not a D4 packet; nothing behind it can be read."""


class Header(NamedTuple):
    """The first 62 bytes of a packet. ``uuid`` and ``hmac`` are raw bytes, ``size`` is in bytes."""

    version: int
    type: int
    uuid: bytes
    timestamp: int
    hmac: bytes
    size: int


class Packet(NamedTuple):
    """A whole packet. ``signed`` is what its HMAC covers."""

    header: Header
    payload: bytes
    signed: bytes

    def authentic(self, key: bytes) -> bool:
        """Whether the packet was signed with ``key``; takes the same time either way."""
        return hmac.compare_digest(hmac.digest(key, self.signed, "sha256"), self.header.hmac)


def encode(key: bytes, uuid: bytes, type: int, payload: bytes, timestamp: int, version: int = 1) -> bytes:
    """A signed packet as it goes over the wire. ``uuid`` is 16 bytes, ``timestamp`` in seconds."""
    if len(payload) > MAX_PAYLOAD:
        raise ValueError(f"a payload of {len(payload)} bytes; {MAX_PAYLOAD} is the most")
    size = len(payload)
    head = _LAYOUT.pack(version, type, uuid, timestamp, _NO_HMAC, size)
    signature = hmac.digest(key, head + payload, "sha256")
    return head[:26] + signature + head[58:] + payload


class Decoder:
    """Cuts a stream of bytes into packets, whatever the chunks it arrives in.

    Feed it with receive_data(), then take packets until there is none. It holds no more than what it was
    fed and has not given out, and refuses a packet as soon as its header claims too much.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._given = 0
        """Bytes of the buffer that were given out; they are removed once for all packets of a read."""
        self._header: Header | None = None

    def __len__(self) -> int:
        """Bytes that wait for the rest of their packet."""
        return len(self._buffer) - self._given

    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the peer."""
        self._forget()
        self._buffer += data

    def next_header(self) -> Header | None:
        """The header of the packet that next_packet() will give, as soon as its 62 bytes are here.

        Raises PacketError where it claims a payload above MAX_PAYLOAD.
        """
        if self._header is None and len(self._buffer) >= self._given + HEADER_SIZE:
            header = Header(*_LAYOUT.unpack_from(self._buffer, self._given))
            if header.size > MAX_PAYLOAD:
                raise PacketError(f"claims {header.size} bytes; {MAX_PAYLOAD} is the most")
            self._header = header
        return self._header

    def next_packet(self) -> Packet | None:
        """The next packet, or None until all of it has arrived. Raises PacketError as next_header()."""
        header = self.next_header()
        if header is None:
            return None
        begin, end = self._given, self._given + HEADER_SIZE + header.size
        if len(self._buffer) < end:
            return None
        with memoryview(self._buffer) as view:
            payload = bytes(view[begin + HEADER_SIZE : end])
            signed = b"".join((view[begin : begin + 26], _NO_HMAC, view[begin + 58 : end]))
        self._given = end
        if end == len(self._buffer):
            self._forget()
        self._header = None
        return Packet(header, payload, signed)

    def _forget(self) -> None:
        del self._buffer[: self._given]
        self._given = 0
