"""Which packet may follow which on one connection, seen from the server's end. No I/O.

A connection belongs to one sensor (UUID) and one type. Type 254 is the exception: packets of type 2 come
first and carry the meta header, JSON with a ``type`` that says what the 254 packets hold.

In an **acknowledged session** (docs/protocol.md, section 2) a packet of type 2 that is a d4-session comes
first and may come again between any others. It numbers the packets of data, and the server answers with
packets of type 2 that are d4-acks.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from d4common.packet import CHUNK_NAMES, EXTENDED, META_HEADER, Decoder, Header, Packet, PacketError, encode

ALPN_ACK = "d4-ack/1"
"""What client and server agree on in the TLS handshake (RFC 7301) before an acknowledged session."""

SESSION, ACK = "d4-session", "d4-ack"
"""The ``type`` of what the client announces, and of what the server answers."""

MAX_SEQ = 2**50
"""The highest ``seq`` of a d4-session: numbers stay whole wherever JSON's are floating-point (2^53)."""

MAX_META_HEADER = 100_000
"""Bytes of a meta header over all its packets, the most that the Go client sends."""

MAX_META_FRAGMENTS = 1_000
"""Packets of one meta header; at a snaplen of 10, the least that anybody sets, enough for 10,000 bytes."""


class Reason(StrEnum):
    """Why a packet, or a connection, was refused; the word that is counted and logged."""

    SIZE = "size"
    UUID_VERSION = "uuid-version"
    TYPE = "type"
    TYPE_CHANGE = "type-change"
    UUID_CHANGE = "uuid-change"
    NO_META_HEADER = "no-meta-header"
    META_HEADER = "meta-header"
    META_TYPE = "meta-type"
    SESSION = "session"
    HMAC = "hmac"
    UNKNOWN_SENSOR = "unknown-sensor"
    CERTIFICATE = "certificate"
    SILENT = "silent"
    HANDSHAKE = "handshake"
    CONNECTIONS = "connections"
    ADDRESS_CONNECTIONS = "address-connections"
    ADDRESS_RATE = "address-rate"
    STRANGERS = "strangers"
    MEMORY = "memory"
    BLACKLIST = "blacklist"
    KICKED = "kicked"
    REPLACED = "replaced"
    CAP = "cap"


class Refused(Exception):
    """What ends a connection, with the reason and a sentence for the log."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Rules:
    """What a server accepts: D4 types, and the names that a meta header may give to type 254.

    ``chunks`` are those of both, as text, that are bytes, stored as they come; the rest are lines.
    """

    types: frozenset[int]
    meta_types: frozenset[str]
    chunks: frozenset[str] = CHUNK_NAMES


@dataclass(frozen=True)
class Hello:
    """The first header names the sensor. Answer with Receiver.authenticate()."""

    sensor: UUID
    type: int


@dataclass(frozen=True)
class Session:
    """A d4-session: the next packet of data is number ``seq`` of this spool. Answer with a d4-ack."""

    spool: UUID
    seq: int


@dataclass(frozen=True)
class MetaHeader:
    """A meta header is complete and its type accepted."""

    type: str
    document: dict[str, Any]


class Data(NamedTuple):
    """An authentic packet of data. ``type`` is the D4 type as text, or the meta type's name for 254.

    ``number`` is its number in its spool; in plain D4 it has none.
    """

    type: str
    timestamp: int
    payload: bytes
    number: int | None = None


Event = Hello | Session | MetaHeader | Data


class Receiver:
    """The server's end: bytes in, events out.

    The first event is a Hello; nothing follows until authenticate() has given the key. What is refused
    without work (size, UUID, type) is refused on the header, before the payload has arrived; nothing of a
    packet is believed, and no event made of it, until its HMAC has been checked.
    """

    def __init__(self, rules: Rules, acknowledged: bool = False) -> None:
        """``acknowledged``: whether ALPN_ACK was agreed on."""
        self.sensor: UUID | None = None
        """The sensor that the first header named; believe it once ``authentic`` is true."""
        self.authentic = False
        """Whether a packet has proved that the sensor has its key."""
        self.key: bytes | None = None
        """The key that the last packet was signed with."""
        self.hmac = b""
        """The HMAC of the last packet."""
        self._acknowledged = acknowledged
        self._types = rules.types | {META_HEADER} if acknowledged else rules.types
        self._meta_types = rules.meta_types - {SESSION, ACK}
        self._decoder = Decoder()
        self._keys: tuple[bytes, ...] = ()
        self._session: Session | None = None
        self._first: Header | None = None
        self._type = 0
        self._admitted: Header | None = None
        self._refused: Refused | None = None
        self._meta = bytearray()
        self._fragments = 0
        self._meta_type: str | None = None
        self._next = 0

    @property
    def buffered(self) -> int:
        """Bytes held that are not yet a packet, or a meta header."""
        return len(self._decoder) + len(self._meta)

    def receive_data(self, data: bytes) -> None:
        """Takes bytes from the connection."""
        self._decoder.receive_data(data)

    def authenticate(self, *keys: bytes) -> None:
        """The keys of the sensor that the Hello named, each of which is as good; again when they change."""
        self._keys = keys

    def answer(self, seq: int, timestamp: int) -> bytes:
        """The d4-ack, as a packet, that says that all up to number ``seq`` of the spool is stored.

        There is one once the first Session has been given out. ``timestamp`` is in seconds.
        """
        assert self.sensor is not None and self.key is not None and self._session is not None
        document = {"type": ACK, "spool": str(self._session.spool), "seq": seq}
        payload = json.dumps(document, separators=(",", ":")).encode()
        return encode(self.key, self.sensor.bytes, META_HEADER, payload, timestamp)

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
            if not self._keys:
                return None
            packet = self._decoder.next_packet()
            if packet is None:
                return None
            self._authenticate(packet)
            event = self._receive_packet(packet)
            if event is not None:
                return event

    def _admit(self, header: Header) -> None:
        """What a header alone can be refused for, in the order of the reference server."""
        if header.uuid[6] >> 4 != 4 or header.uuid[8] >> 6 != 2:
            raise Refused(Reason.UUID_VERSION, "the UUID is not of version 4")
        if header.type not in self._types:
            accepted = ", ".join(map(str, sorted(self._types)))
            raise Refused(Reason.TYPE, f"type {header.type} is not accepted; {accepted} are")
        if self._first is None:
            if self._acknowledged and header.type != META_HEADER:
                raise Refused(Reason.SESSION, f"type {header.type} came before a type 2 d4-session")
            if header.type == EXTENDED:
                raise Refused(Reason.NO_META_HEADER, "type 254 came before a type 2 packet")
            return
        if not self._may_follow(header.type):
            announced = self._acknowledged and self._type == META_HEADER
            before = "a meta header, which is for type 254" if announced else f"type {self._type}"
            raise Refused(Reason.TYPE_CHANGE, f"type {header.type} came after {before}")
        if header.uuid != self._first.uuid:
            other = UUID(bytes=header.uuid)
            raise Refused(Reason.UUID_CHANGE, f"the UUID changed to {other} within the connection")

    def _may_follow(self, type: int) -> bool:
        """Whether a packet of this type may come now; ``_type`` is 2 until data has come."""
        if type == self._type or (self._type, type) == (META_HEADER, EXTENDED):
            return True
        # A d4-session may come at any time, and any type behind it; behind a meta header only type 254.
        open_to_any = self._type == META_HEADER and not self._meta and self._meta_type is None
        return self._acknowledged and (type == META_HEADER or open_to_any)

    def _authenticate(self, packet: Packet) -> None:
        for key in self._keys:
            if packet.authentic(key):
                self.key, self.hmac, self.authentic = key, packet.header.hmac, True
                return
        raise Refused(Reason.HMAC, "the HMAC does not match this sensor's key")

    def _receive_packet(self, packet: Packet) -> Event | None:
        header, payload, _ = packet
        if header.type == META_HEADER:
            return self._receive_announcement(payload)
        if header.type != EXTENDED:
            type = str(header.type)
        elif self._acknowledged and not self._meta and self._meta_type is None:
            raise Refused(Reason.NO_META_HEADER, "type 254 came before a meta header")
        elif self._meta or self._meta_type is None:
            raise Refused(Reason.META_HEADER, "the meta header before type 254 is not whole JSON")
        else:
            type = self._meta_type
        self._type = header.type
        if self._session is None:
            return Data(type, header.timestamp, payload)
        number = self._next
        self._next += 1
        return Data(type, header.timestamp, payload, number)

    def _receive_announcement(self, payload: bytes) -> Session | MetaHeader | None:
        """A packet of type 2: a d4-session, which is always one packet, or a part of a meta header."""
        document = self._join(payload)
        packets = self._fragments
        if document is not None:
            self._meta.clear()
            self._fragments = 0
        name = None if document is None else document.get("type")
        if document is not None and name == SESSION:
            return self._receive_session(document, packets)
        if self._acknowledged and self._session is None:
            raise Refused(Reason.SESSION, "the first packet is no d4-session")
        if self._acknowledged and self._type != META_HEADER:
            raise Refused(Reason.SESSION, "a packet of type 2 that came after data is no d4-session")
        if document is None:
            return None
        if not isinstance(name, str):
            raise Refused(Reason.META_HEADER, 'the meta header has no "type" that is a text')
        if name not in self._meta_types:
            accepted = ", ".join(sorted(self._meta_types))
            raise Refused(Reason.META_TYPE, f"meta type {name!r:.80} is not accepted; {accepted} are")
        self._meta_type = name
        return MetaHeader(name, document)

    def _join(self, fragment: bytes) -> dict[str, Any] | None:
        """The object that is whole with this fragment, or None; clients cut it anywhere, and pad it."""
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
            document: dict[str, Any] = json.loads(self._meta.decode(), parse_constant=_no_constant)
        except ValueError:
            return None
        except RecursionError:
            raise Refused(Reason.META_HEADER, "the meta header is nested too deeply") from None
        return document

    def _receive_session(self, document: dict[str, Any], packets: int) -> Session:
        if not self._acknowledged:
            raise Refused(Reason.META_TYPE, f"a d4-session needs ALPN {ALPN_ACK} in the TLS handshake")
        if packets > 1:
            raise Refused(Reason.SESSION, f"a d4-session came in {packets} packets; it must be one")
        session = _session(document)
        if self._session is None:
            self._session, self._next = session, session.seq
        elif session.spool != self._session.spool:
            was = self._session.spool
            raise Refused(Reason.SESSION, f"a d4-session names spool {session.spool} after {was}")
        elif session.seq != self._next:
            raise Refused(Reason.SESSION, f"a d4-session has seq {session.seq}; {self._next} is next")
        return session


def _session(document: dict[str, Any]) -> Session:
    """What a d4-session says. Raises Refused."""
    if document.keys() != {"type", "spool", "seq"}:
        raise Refused(Reason.SESSION, "a d4-session must have type, spool and seq, and nothing else")
    spool, seq = _uuid4(document["spool"]), document["seq"]
    if spool is None:
        raise Refused(Reason.SESSION, "the spool of a d4-session must be a UUID of version 4")
    if type(seq) is not int or not 1 <= seq <= MAX_SEQ:
        raise Refused(Reason.SESSION, f"the seq of a d4-session must be a whole number from 1 to {MAX_SEQ}")
    return Session(spool, seq)


def _uuid4(text: object) -> UUID | None:
    """A UUID of version 4 in its usual form, or None."""
    try:
        uuid = UUID(text if isinstance(text, str) else "")
    except ValueError:
        return None
    return uuid if uuid.version == 4 and str(uuid) == str(text).lower() else None


def _no_constant(name: str) -> None:
    """NaN and Infinity are Python's, not JSON's."""
    raise ValueError(name)
