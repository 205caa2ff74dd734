"""What QUIC shows of its clients: the name that one asks for, and its fingerprint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from d4sensor import flow as flows
from d4sensor import quic, tls
from d4sensor.headers import Positions
from d4sensor.judges import Finding
from d4sensor.judges.tls import ClientJudge
from d4sensor.quic import Piece
from d4sensor.sieve import UDP, Traffic
from d4sensor.tls import ClientHello
from d4sensor.trails import Trails

MAX_WAITING = 256
"""Clients whose ClientHello is not whole yet; for one more, the first of them is given up."""

MAX_DONE = 10_000
"""Connections that need no further look."""

MAX_BYTES = 16 * 1024
"""Bytes of a ClientHello."""

MAX_PIECES = 256
"""Pieces that a ClientHello may come in."""


class QuicJudge:
    """Judges the Initial packets of clients, on any port."""

    def __init__(self, trails: Trails, disabled: frozenset[str] = frozenset()) -> None:
        """``disabled`` holds names of heuristics."""
        self._clients = ClientJudge(trails, "q", disabled)
        self._waiting: dict[bytes, set[Piece]] = {}
        self._done: set[bytes] = set()

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among Initial packets.

        Counts ``quic_hellos``, and in ``quic_opaque`` datagrams that show none. A client's later ones are
        among these: their keys are those of its first.
        """
        data = traffic.data
        begun = initials(traffic)
        if not len(begun):
            return
        columns = (column.tolist() for column in traffic.datagrams.where(begun))
        for packet, ip, _, transport, end in zip(*columns, strict=True):
            datagram = data[transport + 8 : end]
            hello = self._hello(_connection(data, ip, transport, datagram), datagram, counts)
            if hello:
                counts["quic_hellos"] += 1
                for verdict in self._clients.of(hello):
                    yield Finding(packet, flows.read(data, ip, UDP, transport), verdict)

    def _hello(self, connection: bytes, datagram: bytes, counts: Counter[str]) -> ClientHello | None:
        """The ClientHello of a connection, with the datagram that makes it whole."""
        if connection in self._done:
            return None
        try:
            found = quic.pieces(datagram)
        except quic.QuicError:
            # Whoever sends this may send the real one yet.
            counts["quic_opaque"] += 1
            return None
        pieces = self._waiting.pop(connection, set()).union(found)
        hello = None
        try:
            message = _joined(pieces)
            if message is None:
                self._wait(connection, pieces)
                return None
            hello = tls.hello(message)
        except (quic.QuicError, tls.TlsError):
            counts["quic_opaque"] += 1
        if len(self._done) >= MAX_DONE:
            self._done.clear()
        self._done.add(connection)
        return hello

    def _wait(self, connection: bytes, pieces: set[Piece]) -> None:
        if len(self._waiting) >= MAX_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[connection] = pieces


def initials(traffic: Traffic) -> Positions:
    """Which datagrams begin, as far as their headers tell, with an Initial packet of a client.

    A server's has the connection ID that the client chose for itself; the client's first is 8 bytes long at
    least (RFC 9000, 7.2), and browsers choose none at all for themselves.
    """
    size = traffic.datagrams.end - traffic.payload
    rows = np.flatnonzero(traffic.udp & (size >= quic.MIN_DATAGRAM))
    if not len(rows):
        return rows
    head = traffic.head.take(rows, axis=0)
    version = head[:, 9:13].astype(np.uint32) @ _PLACES
    kind = head[:, 8] & 0xF0
    first = ((version == quic.V1) & (kind == 0xC0)) | ((version == quic.V2) & (kind == 0xD0))
    begun: Positions = rows[first & (head[:, 13] >= 8)]
    return begun


_PLACES = np.array((1 << 24, 1 << 16, 1 << 8, 1), dtype=np.uint32)


def _joined(pieces: set[Piece]) -> bytes | None:
    """The ClientHello with which the pieces begin; None if it is not whole. Raises QuicError."""
    if len(pieces) > MAX_PIECES or sum(len(piece.data) for piece in pieces) > MAX_BYTES:
        raise quic.QuicError("a handshake in too many pieces, or too long")
    message = b""
    for offset, data in sorted(pieces):
        if offset > len(message):
            break
        message += data[len(message) - offset :]
    size = 4 + int.from_bytes(message[1:4], "big")
    return message[:size] if len(message) >= size else None


def _connection(data: bytes, ip: int, transport: int, datagram: bytes) -> bytes:
    """What tells a connection: addresses, ports and the first connection ID."""
    addresses = data[ip + 12 : ip + 20] if data[ip] >> 4 == 4 else data[ip + 8 : ip + 40]
    return addresses + data[transport : transport + 4] + quic.connection_id(datagram)
