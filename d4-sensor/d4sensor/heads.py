"""The heads of flows: HTTP requests and TLS handshakes, put together where they come in several segments.

Nearly every head is in one segment. Only a segment that begins like a head becomes a Python object and,
while a head waits for its rest, what comes from the same ports. A head is given out once: when it is whole
or, a request, as far as it goes when it is given up. What waits is bounded in flows, in bytes and in time.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor import tls
from d4sensor.headers import Mask, Positions, word
from d4sensor.sieve import TCP, Head, Traffic

MAX_FLOWS = 1024
"""Heads that wait at the same time; for one more, the one that waits longest is given up."""

MAX_BYTES = 16 * 1024
"""Bytes of a head, and as many of what follows a gap in it."""

MAX_PIECES = 128
"""Segments that a head may come in, and as many behind a gap in it."""

MAX_BODY = 1000
"""Bytes of a request's body that are waited for."""

SECONDS = 10
"""How long a head waits, in the time of the packets."""


class Heads:
    """Finds the heads in the traffic of batch after batch."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, _Waiting] = {}
        self._before: Traffic | None = None

    def add(self, traffic: Traffic, counts: Counter[str]) -> Traffic:
        """The traffic with its ``requests``, ``handshakes`` and ``unfinished``.

        Counts in ``h2c`` connections that begin with HTTP/2 in the clear, in ``tls_malformed`` what begins
        like a handshake and is none, and in ``heads_given_up`` what did not become whole.
        """
        if not len(traffic.head):
            return traffic
        hellos, others = _beginnings(traffic)
        found = _Found([], list(_whole(traffic, hellos)), [], counts)
        self._expire(traffic, found)
        expected: set[int] = set()
        if self._waiting:
            expected.update(_from_ports(traffic, self._waiting.values()).tolist())
        beginnings, taken = set(others.tolist()), expected.intersection(hellos.tolist())
        rows = np.array(sorted(expected | beginnings), dtype=np.intp)
        new: dict[bytes, _Waiting] = {}
        for segment in _segments(traffic, rows):
            known = new or segment.row in expected
            waiting = self._waiting.get(segment.key()) if known else None
            begins = segment.row in beginnings
            if waiting and (begins or segment.row in taken) and waiting.lacks(segment.seq):
                del self._waiting[waiting.key]
                found.give_up(waiting, segment.row, segment.packet)
                waiting = None
            if waiting:
                waiting.row, waiting.packet = segment.row, segment.packet
                self._extend(waiting, segment, found)
            elif begins:
                self._begin(segment, traffic, new, found)
        if new:
            self._catch_up(traffic, new, found)
        self._before = traffic
        return traffic._replace(
            requests=found.requests, handshakes=found.handshakes, unfinished=found.unfinished
        )

    def _begin(self, segment: _Segment, traffic: Traffic, new: dict[bytes, _Waiting], found: _Found) -> None:
        """Takes the heads in a segment; the last waits if it is not whole, and is ``new`` in this batch."""
        rest = found.take(segment.payload, segment.row, segment.packet, segment.headers)
        if not rest:
            return
        waiting = _Waiting(segment, rest, int(traffic.meta[segment.packet, 0]))
        if segment.is_cut() or len(rest) >= MAX_BYTES:
            found.give_up(waiting, segment.row, segment.packet)
            return
        if len(self._waiting) >= MAX_FLOWS:
            self._forget(next(iter(self._waiting.values())), segment.packet, found)
        self._waiting[waiting.key] = new[waiting.key] = waiting

    def _extend(self, waiting: _Waiting, segment: _Segment, found: _Found) -> None:
        """Adds a segment to a head that waits, and takes what is whole now."""
        if not waiting.extend(segment.seq, segment.payload):
            return
        rest = found.take(waiting.data, waiting.row, waiting.packet, waiting.headers)
        waiting.skip(len(waiting.data) - len(rest))
        if len(rest) >= MAX_BYTES or waiting.pieces >= MAX_PIECES:
            found.give_up(waiting, waiting.row, waiting.packet)
            rest = b""
        if not rest:
            del self._waiting[waiting.key]

    def _forget(self, waiting: _Waiting, packet: int, found: _Found) -> None:
        """Waits no longer for the rest of a head, because of a packet of another flow."""
        del self._waiting[waiting.key]
        found.forget(waiting, packet)

    def _catch_up(self, traffic: Traffic, new: dict[bytes, _Waiting], found: _Found) -> None:
        """Adds to heads that began in this batch what else is in it, and what came before its time."""
        for batch in (self._before, traffic) if self._before else (traffic,):
            for segment in _segments(batch, _from_ports(batch, new.values())):
                waiting = new.get(segment.key())
                if waiting and waiting is self._waiting.get(waiting.key):
                    self._extend(waiting, segment, found)

    def _expire(self, traffic: Traffic, found: _Found) -> None:
        now = int(traffic.meta[0, 0])
        while self._waiting:
            waiting = next(iter(self._waiting.values()))
            if 0 <= now - waiting.since <= SECONDS:
                return
            self._forget(waiting, int(traffic.datagrams.packet[0]), found)


def _beginnings(traffic: Traffic) -> tuple[Positions, Positions]:
    """Which segments hold a whole ClientHello in one record, and which others begin as a head does."""
    rows = traffic.segments
    kind = _KINDS.take(traffic.window.u16(traffic.payload[rows]))
    handshakes, methods = rows.compress(kind == _HANDSHAKE), rows.compress(kind == _METHOD)
    whole, begun = _handshakes(traffic, handshakes)
    return handshakes[whole], np.concatenate((handshakes[begun], methods[_methods(traffic, methods)]))


def _methods(traffic: Traffic, rows: Positions) -> Mask:
    """Which segments that begin with two capitals go on like a request, with a third, then one or a space."""
    start = traffic.payload[rows]
    first = traffic.window.rows(start, 4)
    is_request: Mask = _REQUEST_END.take(word(first, 2)) & (first.view(">u4")[:, 0] != _HTTP)
    return is_request & (traffic.datagrams.end[rows] - start >= 4)


def _handshakes(traffic: Traffic, rows: Positions) -> tuple[Mask, Mask]:
    """Which records of a handshake hold a whole ClientHello, and which others the beginning of a message.

    That is ClientHello, ServerHello or Certificate; where the segment is shorter, what is there has to do.
    """
    start = traffic.payload[rows]
    size = traffic.datagrams.end[rows] - start
    head = traffic.window.rows(start, _RECORD_HEAD.itemsize).view(_RECORD_HEAD)[:, 0]
    message, record = head["message"], head["size"].astype(np.intp)
    begun = (head["major"] == 3) | (size < 2)
    begun &= (head["minor"] <= 4) | (size < 3)
    begun &= _MESSAGES.take(message) | (size < 6)
    whole = begun & (message == tls.CLIENT_HELLO) & (record + 5 <= size)
    whole &= (head["high"] == 0) & (head["low"].astype(np.intp) + 4 == record)
    return whole, begun & ~whole


_RECORD = 0x16
_RECORD_HEAD = np.dtype(
    {
        "names": ("type", "major", "minor", "size", "message", "high", "low"),
        "formats": ("u1", "u1", "u1", ">u2", "u1", "u1", ">u2"),
    }
)
_MESSAGES = np.zeros(256, dtype=bool)
_MESSAGES[[tls.CLIENT_HELLO, tls.SERVER_HELLO, tls.CERTIFICATE]] = True

# What two bytes begin, and which two may be the third and fourth of a request.
_HANDSHAKE, _METHOD = 1, 2
_CAPITALS = np.arange(ord("A"), ord("Z") + 1)
_KINDS, _REQUEST_END = np.zeros(1 << 16, dtype=np.uint8), np.zeros(1 << 16, dtype=bool)
_KINDS.reshape(256, 256)[_RECORD] = _HANDSHAKE
_KINDS.reshape(256, 256)[np.ix_(_CAPITALS, _CAPITALS)] = _METHOD
_REQUEST_END.reshape(256, 256)[np.ix_(_CAPITALS, [*_CAPITALS, ord(" ")])] = True
_HTTP = int.from_bytes(b"HTTP", "big")

_REQUEST = re.compile(rb"(?!HTTP)[A-Z]{3}[A-Z ]")

# A request line that ends, or one that may do so in the next segment (RFC 9112, 3).
_LINE = re.compile(rb"[A-Z][A-Z_-]* [^\x00-\x20\x7f]+ HTTP/[0-9][^\r\n ]*\r\n")
_UNFINISHED_LINE = re.compile(rb"[A-Z][A-Z_-]*(?: (?:[^\x00-\x20\x7f]+(?: [HTP/0-9.]{0,8}\r?)?)?)?")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)
_HTTP2 = b"PRI * HTTP/2.0\r\n"


def _request_end(data: bytes, start: int) -> int:
    """Where the request that begins at ``start`` ends; 0 if that must still come.

    What is no request after all ends where ``data`` does.
    """
    line = _LINE.match(data, start)
    if not line:
        more = data.find(b"\r\n", start) < 0 and _UNFINISHED_LINE.fullmatch(data, start)
        return 0 if more else len(data)
    fields = line.end() - 2
    end = data.find(b"\r\n\r\n", fields) + 4
    if end < 4:
        return 0
    length = _LENGTH.search(data, fields, end)
    body = int(length[1]) if length else 0
    return end + body if len(data) >= end + min(body, MAX_BODY) else 0


class _Found(NamedTuple):
    """The heads of a batch."""

    requests: list[Head]
    handshakes: list[Head]
    unfinished: list[Head]
    counts: Counter[str]

    def take(self, data: bytes, row: int, packet: int, headers: tuple[bytes, int, int, int]) -> bytes:
        """Takes the heads with which ``data`` begins; returns what is not whole yet."""
        if data[0] == _RECORD:
            try:
                message = tls.message(data)
            except tls.TlsError:
                self.counts["tls_malformed"] += 1
                return b""
            if message:
                self.handshakes.append(Head(row, packet, headers, message))
            return data if message is None else b""
        start = 0
        while end := _request_end(data, start):
            another = _REQUEST.match(data, end)
            if data.startswith(_HTTP2, start):
                self.counts["h2c"] += 1
            else:
                request = data[start : end if another else None]
                self.requests.append(Head(row, packet, headers, request))
            if not another:
                return b""
            start = end
        return data[start:]

    def give_up(self, waiting: _Waiting, row: int, packet: int) -> None:
        """Takes a request as far as it goes."""
        self.counts["heads_given_up"] += 1
        if waiting.data[0] != _RECORD:
            self.requests.append(Head(row, packet, waiting.headers, waiting.data))

    def forget(self, waiting: _Waiting, packet: int) -> None:
        """The same where ``packet`` is of another flow."""
        self.counts["heads_given_up"] += 1
        if waiting.data[0] != _RECORD:
            self.unfinished.append(Head(0, packet, waiting.headers, waiting.data))


class _Segment(NamedTuple):
    """A TCP segment, by its offsets in the ``data`` of a batch; ``row`` and ``packet`` are as in Head."""

    data: bytes
    row: int
    packet: int
    ip: int
    transport: int
    start: int
    end: int

    @property
    def headers(self) -> tuple[bytes, int, int, int]:
        return self.data, self.ip, TCP, self.transport

    @property
    def payload(self) -> bytes:
        return self.data[self.start : self.end]

    @property
    def ports(self) -> bytes:
        return self.data[self.transport : self.transport + 4]

    @property
    def seq(self) -> int:
        return int.from_bytes(self.data[self.transport + 4 : self.transport + 8], "big")

    def key(self) -> bytes:
        """Addresses and ports, which tell a flow and its direction."""
        data, ip = self.data, self.ip
        return (data[ip + 12 : ip + 20] if data[ip] >> 4 == 4 else data[ip + 8 : ip + 40]) + self.ports

    def is_cut(self) -> bool:
        """Whether less of the segment was captured than was sent."""
        data, ip = self.data, self.ip
        four = data[ip] >> 4 == 4
        size = int.from_bytes(data[ip + 2 : ip + 4] if four else data[ip + 4 : ip + 6], "big")
        return ip + size + (0 if four else 40) > self.end


def _segments(traffic: Traffic, rows: Positions) -> Iterator[_Segment]:
    """The segments at these places."""
    packet, ip, _, transport, end = (column.tolist() for column in traffic.datagrams.where(rows))
    start = traffic.payload[rows].tolist()
    for columns in zip(rows.tolist(), packet, ip, transport, start, end, strict=True):
        yield _Segment(traffic.data, *columns)


def _whole(traffic: Traffic, rows: Positions) -> Iterator[Head]:
    """The messages of segments with one whole ClientHello."""
    data = traffic.data
    packet, ip, _, transport, _ = traffic.datagrams
    start = traffic.payload[rows] + 5
    end = start + traffic.window.u16(start - 2)
    headers = zip(repeat(data), ip[rows].tolist(), repeat(TCP), transport[rows].tolist())
    messages = [data[a:b] for a, b in zip(start.tolist(), end.tolist(), strict=True)]
    return map(Head, rows.tolist(), packet[rows].tolist(), headers, messages)


def _from_ports(traffic: Traffic, heads: Iterable[_Waiting]) -> Positions:
    """Which segments with data have the ports of one of these heads, and a few that have others."""
    marks = np.zeros(1 << 16, dtype=bool)
    marks[_mark(np.frombuffer(b"".join(head.ports for head in heads), dtype=np.uint32))] = True
    rows = traffic.segments
    return rows.compress(marks.take(_mark(traffic.head.view(np.uint32)[:, 0].take(rows))))


def _mark(ports: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """16 bits of two ports, by Fibonacci hashing."""
    return ports * np.uint32(0x9E3779B1) >> np.uint32(16)


class _Waiting:
    """A head that is not whole. It has copies of what it needs, and holds no batch in memory."""

    def __init__(self, segment: _Segment, data: bytes, since: int) -> None:
        self.key, self.ports = segment.key(), segment.ports
        self.headers = (segment.data[segment.ip : segment.ip + 40] + self.ports, 0, TCP, 40)
        self.row, self.packet = segment.row, segment.packet
        self.data, self.since, self.pieces = data, since, 1
        self._seq = segment.seq + len(segment.payload) - len(data)
        self._later: dict[int, bytes] = {}

    def extend(self, seq: int, payload: bytes) -> bool:
        """Adds the data of a segment; says whether there is more in a row now. What came first stays."""
        offset, have = self._offset(seq), len(self.data)
        if offset > have:
            room = MAX_BYTES - sum(map(len, self._later.values()))
            if offset < MAX_BYTES and len(payload) <= room and len(self._later) < MAX_PIECES:
                self._later.setdefault(seq, payload)
            return False
        if offset + len(payload) <= have:
            return False
        self.data += payload[have - offset :]
        self.pieces += 1
        for seq in sorted(self._later, key=self._offset):
            offset = self._offset(seq)
            if offset > len(self.data):
                break
            self.data += self._later.pop(seq)[len(self.data) - offset :]
        return True

    def lacks(self, seq: int) -> bool:
        """Whether there is a gap before this sequence number."""
        return self._offset(seq) > len(self.data)

    def skip(self, size: int) -> None:
        """Leaves out the first bytes, which were taken."""
        self.data = self.data[size:]
        self._seq += size

    def _offset(self, seq: int) -> int:
        """Where a sequence number is in ``data``, or how far before or behind it (RFC 9293, 3.4)."""
        return (seq - self._seq + 2**31) % 2**32 - 2**31
