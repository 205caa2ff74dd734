"""The first packets of a QUIC client, which hold its ClientHello. No I/O.

What protects Initial packets is derived from what they show, so whoever sees them can read them: QUIC v1 is
RFC 9000 and RFC 9001, v2 is RFC 9369.
"""

from __future__ import annotations

import hmac
import re
import struct
from typing import NamedTuple

V1, V2 = 0x00000001, 0x6B3343CF

MIN_DATAGRAM = 1200
"""Bytes of a datagram with an Initial packet, at least (RFC 9000, 14.1)."""


class QuicError(ValueError):
    """The datagram does not begin with an Initial packet of a client, or it is broken."""


class Piece(NamedTuple):
    """Some bytes of the TLS handshake, from a CRYPTO frame (RFC 9000, 19.6)."""

    offset: int
    data: bytes


def connection_id(datagram: bytes) -> bytes:
    """The Destination Connection ID of a long header (RFC 9000, 17.2)."""
    return datagram[6 : 6 + datagram[5]] if len(datagram) > 5 else b""


def pieces(datagram: bytes) -> list[Piece]:
    """What the Initial packets of a client's first datagrams carry of its handshake. Raises QuicError."""
    keys = None
    found: list[Piece] = []
    try:
        while packet := _packet(datagram):
            keys = keys or _keys(packet.version, connection_id(datagram))
            found += _crypto(_decrypted(packet, keys))
            datagram = datagram[packet.end :]
    except (IndexError, struct.error):
        raise QuicError("an Initial packet that ends too soon") from None
    if keys is None:
        raise QuicError("no Initial packet of QUIC v1 or v2")
    return found


class _Version(NamedTuple):
    """What differs between versions; ``initial`` is the type of an Initial packet, in the first byte."""

    initial: int
    salt: bytes
    label: bytes


_VERSIONS = {
    V1: _Version(0x00, bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), b"quic "),
    V2: _Version(0x10, bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2 "),
}


class _Packet(NamedTuple):
    """The Initial packet that is ``data`` up to ``end``; its packet number is at ``number``."""

    data: bytes
    version: _Version
    number: int
    end: int


class _Keys(NamedTuple):
    """What protects the payload, and with ``hp`` the header (RFC 9001, 5.1)."""

    key: bytes
    iv: bytes
    hp: bytes


def _packet(datagram: bytes) -> _Packet | None:
    """The Initial packet with which a datagram begins, if it does (RFC 9000, 17.2.2)."""
    if len(datagram) < 7:
        return None
    version = _VERSIONS.get(int.from_bytes(datagram[1:5], "big"))
    if not version or datagram[0] & 0xB0 != 0x80 | version.initial:
        return None
    at = 6 + datagram[5]
    at += 1 + datagram[at]
    size, at = _varint(datagram, at)
    at += size
    size, at = _varint(datagram, at)
    if at + size > len(datagram):
        raise QuicError("an Initial packet that is longer than its datagram")
    return _Packet(datagram, version, at, at + size)


def _keys(version: _Version, connection_id: bytes) -> _Keys:
    """The keys of a client's Initial packets (RFC 9001, 5.2)."""
    initial = hmac.digest(version.salt, connection_id, "sha256")
    secret = _expand(initial, b"client in", 32)
    label = version.label
    return _Keys(
        _expand(secret, label + b"key", 16),
        _expand(secret, label + b"iv", 12),
        _expand(secret, label + b"hp", 16),
    )


def _expand(secret: bytes, label: bytes, size: int) -> bytes:
    """HKDF-Expand-Label with SHA-256, up to 32 bytes (RFC 8446, 7.1; RFC 5869, 2.3)."""
    label = b"tls13 " + label
    info = struct.pack(f">HB{len(label)}sBB", size, len(label), label, 0, 1)
    return hmac.digest(secret, info, "sha256")[:size]


def _decrypted(packet: _Packet, keys: _Keys) -> bytes:
    """The frames of a packet (RFC 9001, 5.3 and 5.4), one of the first, whose numbers are whole."""
    # Loaded with the first packet that needs it: that takes as long as half of the sensor's start.
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    data, _, at, end = packet
    sample = data[at + 4 : at + 20]
    if at + 20 > end:
        raise QuicError("an Initial packet without room for its protection")
    mask = Cipher(algorithms.AES(keys.hp), modes.ECB()).encryptor().update(sample)
    first = data[0] ^ mask[0] & 0x0F
    size = (first & 3) + 1
    number = bytes(a ^ b for a, b in zip(data[at : at + size], mask[1:], strict=False))
    header = bytes((first,)) + data[1:at] + number
    nonce = int.from_bytes(keys.iv, "big") ^ int.from_bytes(number, "big")
    try:
        return AESGCM(keys.key).decrypt(nonce.to_bytes(12, "big"), data[at + size : end], header)
    except InvalidTag:
        raise QuicError("an Initial packet that its own connection ID does not decrypt") from None


_PING, _ACK, _ACK_ECN, _CRYPTO, _CLOSE = 0x01, 0x02, 0x03, 0x06, 0x1C


# What is no padding.
_FRAME = re.compile(rb"[^\0]")


def _crypto(frames: bytes) -> list[Piece]:
    """The CRYPTO frames among those that an Initial packet may have (RFC 9000, 17.2.2 and 19)."""
    found: list[Piece] = []
    at = 0
    while frame := _FRAME.search(frames, at):
        kind, at = frames[frame.start()], frame.end()
        if kind == _CRYPTO:
            offset, at = _varint(frames, at)
            size, at = _varint(frames, at)
            if at + size > len(frames):
                raise QuicError("a CRYPTO frame that is longer than its packet")
            found.append(Piece(offset, frames[at : at + size]))
            at += size
        elif kind in (_ACK, _ACK_ECN):
            at = _behind_ack(frames, at, kind == _ACK_ECN)
        elif kind == _CLOSE:
            break
        elif kind != _PING:
            raise QuicError(f"frame {kind:#04x} in an Initial packet")
    return found


def _behind_ack(frames: bytes, at: int, ecn: bool) -> int:
    """Where an ACK frame ends (RFC 9000, 19.3)."""
    for _ in range(2):
        _, at = _varint(frames, at)
    ranges, at = _varint(frames, at)
    for _ in range(1 + 2 * ranges + 3 * ecn):
        _, at = _varint(frames, at)
    return at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length and where it ends (RFC 9000, 16). Raises IndexError."""
    size = 1 << (data[at] >> 6)
    end = at + size
    if end > len(data):
        raise IndexError
    return int.from_bytes(data[at:end], "big") & (1 << 8 * size - 2) - 1, end
