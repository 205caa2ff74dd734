"""Which packet may follow which on one connection, seen from the server's end. No I/O.

A connection belongs to one sensor (UUID) and one type. Type 254 is the exception: packets of type 2 come
first and carry the meta header, JSON with a ``type`` that says what the 254 packets hold.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from d4common.packet import EXTENDED, META_HEADER, Decoder, Header, Packet, PacketError

MAX_META_HEADER = 100_000
"""Bytes of a meta header over all its packets, the most that the Go client sends."""

MAX_META_FRAGMENTS = 1_000
"""Packets of one meta header; at a snaplen of 10, the least that anybody sets, enough for 10,000 bytes."""


class Reason(StrEnum):
    """Why a packet was refused; the word that is counted and logged."""

    SIZE = "size"
    UUID_VERSION = "uuid-version"
    TYPE = "type"
    TYPE_CHANGE = "type-change"
    UUID_CHANGE = "uuid-change"
    NO_META_HEADER = "no-meta-header"
    META_HEADER = "meta-header"
    META_TYPE = "meta-type"
    HMAC = "hmac"
    UNKNOWN_SENSOR = "unknown-sensor"
    SILENT = "silent"


class Refused(Exception):
    """A packet that ends its connection, with the reason and a sentence for the log."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Rules:
    """What a server accepts: D4 types, and the names that a meta header may give to type 254."""

    types: frozenset[int]
    meta_types: frozenset[str]


@dataclass(frozen=True)
class Hello:
    """The first header names the sensor. Answer with Receiver.authenticate()."""

    sensor: UUID
    type: int


@dataclass(frozen=True)
class MetaHeader:
    """A meta header is complete and its type accepted."""

    type: str
    document: dict[str, Any]


@dataclass(frozen=True)
class Data:
    """An authentic packet of data. ``type`` is the D4 type as text, or the meta type's name for 254."""

    type: str
    timestamp: int
    payload: bytes


Event = Hello | MetaHeader | Data


class Receiver:
    """The server's end: bytes in, events out.

    The first event is a Hello; nothing follows until authenticate() has given the key. What is refused
    without work (size, UUID, type) is refused on the header, before the payload has arrived; nothing of a
    packet is believed, and no event made of it, until its HMAC has been checked.
    """

    def __init__(self, rules: Rules) -> None:
        self.sensor: UUID | None = None
        """The sensor that the first header named; believe it once ``authentic`` is true."""
        self.authentic = False
        """Whether a packet has proved that the sensor has its key."""
        self._rules = rules
        self._decoder = Decoder()
        self._key: bytes | None = None
        self._first: Header | None = None
        self._type = 0
        self._admitted: Header | None = None
        self._refused: Refused | None = None
        self._meta = bytearray()
        self._fragments = 0
        self._meta_type: str | None = None

    @property
    def buffered(self) -> int:
        """Bytes held that are not yet a packet."""
        return len(self._decoder)

    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the connection."""
        self._decoder.receive_data(data)

    def authenticate(self, key: bytes) -> None:
        """The key of the sensor that the Hello named."""
        self._key = key

    def next_event(self) -> Event | None:
        """The next event, or None until more bytes, or the key, are here.

        Raises Refused, and does so for good: nothing behind a refused packet is ever given out.
        """
        if self._refused is not None:
            raise self._refused
        try:
            return self._next_event()
        except Refused as refusal:
            self._refused = refusal
            raise

    def _next_event(self) -> Event | None:
        while True:
            try:
                header = self._decoder.next_header()
            except PacketError as error:
                raise Refused(Reason.SIZE, str(error)) from None
            if header is None:
                return None
            if header is not self._admitted:
                self._admit(header)
                self._admitted = header
            if self._first is None:
                self._first, self._type = header, header.type
                self.sensor = UUID(bytes=header.uuid)
                return Hello(self.sensor, header.type)
            if self._key is None:
                return None
            packet = self._decoder.next_packet()
            if packet is None:
                return None
            if not packet.authentic(self._key):
                raise Refused(Reason.HMAC, "the HMAC does not match this sensor's key")
            self.authentic = True
            event = self._receive_packet(packet)
            if event is not None:
                return event

    def _admit(self, header: Header) -> None:
        """What a header alone can be refused for, in the order of the reference server."""
        if header.uuid[6] >> 4 != 4 or header.uuid[8] >> 6 != 2:
            raise Refused(Reason.UUID_VERSION, "the UUID is not of version 4")
        if header.type not in self._rules.types:
            accepted = ", ".join(map(str, sorted(self._rules.types)))
            raise Refused(Reason.TYPE, f"type {header.type} is not accepted; {accepted} are")
        if self._first is None:
            if header.type == EXTENDED:
                raise Refused(Reason.NO_META_HEADER, "type 254 came before a type 2 packet")
            return
        if header.type != self._type and (self._type, header.type) != (META_HEADER, EXTENDED):
            raise Refused(Reason.TYPE_CHANGE, f"type {header.type} came after type {self._type}")
        if header.uuid != self._first.uuid:
            other = UUID(bytes=header.uuid)
            raise Refused(Reason.UUID_CHANGE, f"the UUID changed to {other} within the connection")

    def _receive_packet(self, packet: Packet) -> Event | None:
        header, payload, _ = packet
        if header.type == META_HEADER:
            return self._receive_meta_header(payload)
        if header.type != EXTENDED:
            return Data(str(header.type), header.timestamp, payload)
        if self._meta or self._meta_type is None:
            raise Refused(Reason.META_HEADER, "the meta header before type 254 is not whole JSON")
        self._type = EXTENDED
        return Data(self._meta_type, header.timestamp, payload)

    def _receive_meta_header(self, fragment: bytes) -> MetaHeader | None:
        """Joins the fragments of a meta header; clients cut it at their snaplen, white space and all."""
        fragment = fragment.replace(b"\n", b"")
        if not self._meta:
            fragment = fragment.lstrip()
        if not fragment:
            return None
        self._meta += fragment
        self._fragments += 1
        if len(self._meta) > MAX_META_HEADER or self._fragments > MAX_META_FRAGMENTS:
            limits = f"{MAX_META_HEADER} bytes or {MAX_META_FRAGMENTS} packets"
            raise Refused(Reason.META_HEADER, f"the meta header exceeds {limits}")
        if not self._meta.rstrip().endswith(b"}"):
            return None
        try:
            document = json.loads(self._meta.decode(), parse_constant=_no_constant)
        except ValueError:
            return None
        except RecursionError:
            raise Refused(Reason.META_HEADER, "the meta header is nested too deeply") from None
        name = document.get("type") if isinstance(document, dict) else None
        if not isinstance(name, str):
            raise Refused(Reason.META_HEADER, 'the meta header has no "type" that is a text')
        if name not in self._rules.meta_types:
            accepted = ", ".join(sorted(self._rules.meta_types))
            raise Refused(Reason.META_TYPE, f"meta type {name!r:.80} is not accepted; {accepted} are")
        self._meta.clear()
        self._fragments = 0
        self._meta_type = name
        return MetaHeader(name, document)


def _no_constant(name: str) -> None:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(name)
