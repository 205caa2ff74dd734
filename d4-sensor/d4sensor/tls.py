"""What TLS shows before it encrypts: the ClientHello, and the server's certificate up to TLS 1.2. No I/O.

Records and messages: RFC 8446, 4 and 5.1; Certificate: RFC 5246, 7.4.2; server name: RFC 6066, 3.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Hashable, Iterable
from typing import NamedTuple

CLIENT_HELLO, SERVER_HELLO, CERTIFICATE = 1, 2, 11
"""Types of handshake messages."""


MAX_RECORDS = 64
"""Records that a message may come in."""


MAX_NAME = 255
"""Bytes of a server's name (RFC 1035, 2.3.4)."""


class TlsError(ValueError):
    """The bytes are not the beginning of a TLS handshake, or contradict themselves."""


class ClientHello(NamedTuple):
    """What a client offers.

    ``version`` is that of the message itself, ``ciphers`` holds two bytes for each, ``extensions`` the
    content of each by its type, in their order. ``server_name`` is in lower case, empty where none is named.
    """

    version: int
    ciphers: bytes
    extensions: dict[int, bytes]
    server_name: str


def message(data: bytes) -> bytes | None:
    """The message with which one end of a connection says something about itself, with its header.

    Of ``data``, records from the first on, that is a whole ClientHello, or Certificate at least as far as
    its first certificate. It is empty if none will come in the clear (TLS 1.3, a session resumed), and
    None if there must be more data to tell. Raises TlsError.
    """
    stream, more = _handshake(data)
    while len(stream) >= 4:
        kind, size = stream[0], 4 + int.from_bytes(stream[1:4], "big")
        if kind == CLIENT_HELLO and len(stream) >= size:
            return stream[:size]
        if kind == CERTIFICATE and len(stream) >= 10 + int.from_bytes(stream[7:10], "big"):
            return stream
        if kind not in (CLIENT_HELLO, SERVER_HELLO, CERTIFICATE):
            return b""
        if kind != SERVER_HELLO or len(stream) < size:
            break
        if _encrypts_certificates(stream[:size]):
            return b""
        stream = stream[size:]
    return None if more else b""


def hello(message: bytes) -> ClientHello:
    """The ClientHello that is the whole of a handshake message. Raises TlsError."""
    try:
        header, version = _HELLO(message)
        if header != (CLIENT_HELLO << 24) + len(message) - 4:
            raise TlsError("no ClientHello, or not all of it")
        at = _SESSION + 1 + message[_SESSION]
        at += 2 + _U16(message, at)[0]
        ciphers = message[_SESSION + 3 + message[_SESSION] : at]
        extensions = _extensions(message, at + 1 + message[at])
        name = extensions.get(_SERVER_NAME)
        server_name = _server_name(name) if name else ""
    except (IndexError, struct.error):
        raise TlsError("a ClientHello that ends too soon") from None
    return ClientHello(version, ciphers, extensions, server_name)


def certificate(message: bytes) -> bytes:
    """The first certificate, in DER, of a Certificate message of TLS 1.2 or before. Raises TlsError."""
    size = int.from_bytes(message[7:10], "big")
    if message[:1] != bytes((CERTIFICATE,)) or not 0 < size <= len(message) - 10:
        raise TlsError("no Certificate message, or none with a whole certificate")
    return message[10 : 10 + size]


def traits(hello: ClientHello) -> Hashable:
    """All that the fingerprints of a client are made of; it is the same for all that it connects to."""
    version, ciphers, extensions, _ = hello
    of = extensions.get
    contents = of(_GROUPS), of(_POINT_FORMATS), of(_SIGNATURES), of(_ALPN), of(_VERSIONS)
    return version, ciphers, tuple(extensions), contents


def ja3(hello: ClientHello) -> str:
    """The JA3 fingerprint of a client, in 32 hexadecimal digits (github.com/salesforce/ja3)."""
    extensions = hello.extensions
    fields = (
        (hello.version,),
        _numbers(hello.ciphers),
        _without_grease(extensions),
        _numbers(extensions.get(_GROUPS, b"")[2:]),
        extensions.get(_POINT_FORMATS, b"")[1:],
    )
    text = ",".join("-".join(map(str, field)) for field in fields)
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHello, transport: str) -> str:
    """The JA4 fingerprint of a client (github.com/FoxIO-LLC/ja4, technical_details/JA4.md).

    ``transport`` is ``t`` for TCP and ``q`` for QUIC.
    """
    ciphers, extensions = _numbers(hello.ciphers), _without_grease(hello.extensions)
    version = max(_numbers(hello.extensions.get(_VERSIONS, b"")[1:]), default=hello.version)
    named = "d" if _SERVER_NAME in hello.extensions else "i"
    counts = f"{min(len(ciphers), 99):02}{min(len(extensions), 99):02}"
    rest = _hex(sorted(kind for kind in extensions if kind not in (_SERVER_NAME, _ALPN)))
    signatures = _hex(_numbers(hello.extensions.get(_SIGNATURES, b"")[2:]))
    if signatures:
        rest += "_" + signatures
    return (
        f"{transport}{_JA4_VERSIONS.get(version, '00')}{named}{counts}"
        f"{_first_and_last(_protocol(hello.extensions.get(_ALPN, b'')))}"
        f"_{_digest(_hex(sorted(ciphers)))}_{_digest(rest if extensions else '')}"
    )


_RECORD = struct.Struct(">BBBH").unpack_from
_HANDSHAKE, _MAX_RECORD = 22, 2**14 + 2048
_U16 = struct.Struct(">H").unpack_from
_EXTENSION = struct.Struct(">HH").unpack_from
_HELLO = struct.Struct(">IH").unpack_from
# Where a hello has the session's id: behind the header of the message, version and random number.
_SESSION = 4 + 2 + 32

_SERVER_NAME, _GROUPS, _POINT_FORMATS, _SIGNATURES, _ALPN, _VERSIONS = 0, 10, 11, 13, 16, 43
_TLS13 = b"\x03\x04"

# Values without meaning that clients mix in (RFC 8701).
_GREASE = frozenset(0x0A0A + 0x1010 * n for n in range(16))

_JA4_VERSIONS = {
    0x0002: "s2",
    0x0300: "s3",
    0x0301: "10",
    0x0302: "11",
    0x0303: "12",
    0x0304: "13",
}


def _handshake(data: bytes) -> tuple[bytes, bool]:
    """What the handshake records at the beginning carry, and whether there may be more of it to come."""
    at = 0
    parts: list[bytes] = []
    while len(data) - at >= 5:
        kind, major, _, size = _RECORD(data, at)
        if kind != _HANDSHAKE or major != 3 or not 0 < size <= _MAX_RECORD:
            if not parts:
                raise TlsError("no handshake record")
            return b"".join(parts), False
        if len(parts) == MAX_RECORDS:
            raise TlsError(f"a message in more than {MAX_RECORDS} records")
        parts.append(data[at + 5 : at + 5 + size])
        at += 5 + size
    return b"".join(parts), True


def _extensions(message: bytes, at: int) -> dict[int, bytes]:
    """The extensions that begin, with their size, at ``at``, and end the message.

    Raises TlsError and struct.error.
    """
    found: dict[int, bytes] = {}
    end = len(message)
    if at == end:
        return found
    if at + 2 + _U16(message, at)[0] != end:
        raise TlsError("extensions that do not end with their message")
    at += 2
    while at < end:
        kind, size = _EXTENSION(message, at)
        at += 4
        found[kind] = message[at : at + size]
        at += size
    if at != end:
        raise TlsError("extensions that do not end where they should")
    return found


def _server_name(extension: bytes) -> str:
    """The first name in the list, whose type is that of a host name. Raises TlsError and IndexError."""
    if extension[2] != 0:
        return ""
    size = extension[3] << 8 | extension[4]
    if size > MAX_NAME:
        raise TlsError(f"a server's name of more than {MAX_NAME} bytes")
    return extension[5 : 5 + size].decode("latin-1").lower()


def _encrypts_certificates(server_hello: bytes) -> bool:
    """Whether a ServerHello chooses TLS 1.3. Raises TlsError."""
    try:
        at = _SESSION + 1 + server_hello[_SESSION] + 3
        return _extensions(server_hello, at).get(_VERSIONS) == _TLS13
    except (IndexError, struct.error):
        raise TlsError("a ServerHello that ends too soon") from None


def _numbers(data: bytes) -> list[int]:
    """The numbers of two bytes each, without those of GREASE."""
    return _without_grease(struct.unpack_from(f">{len(data) // 2}H", data))


def _without_grease(numbers: Iterable[int]) -> list[int]:
    return [number for number in numbers if number not in _GREASE]


def _protocol(alpn: bytes) -> bytes:
    """The first protocol in the list (RFC 7301, 3.1)."""
    return alpn[3 : 3 + alpn[2]] if len(alpn) > 2 else b""


def _first_and_last(protocol: bytes) -> str:
    """The first and last character; of its hexadecimal form where one of them is no letter or digit."""
    if not protocol:
        return "00"
    ends = bytes((protocol[0], protocol[-1]))
    text = ends.decode() if ends.isalnum() else protocol.hex()
    return text[0] + text[-1]


def _hex(numbers: Iterable[int]) -> str:
    return ",".join(f"{number:04x}" for number in numbers)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12] if text else "0" * 12
