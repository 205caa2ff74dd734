"""What a datagram must be before it is believed. No I/O.

Anybody who reaches the port can send anything, so an event is checked whole: its size and encoding, eleven
fields, a time within reason, addresses, ports, protocol and type. What Maltrail's sensors send passes: the
epoch in front or not, comma lists in lines that sum up several packets, ``ip,forwarded_ip`` as a source.
"""

from __future__ import annotations

import re
import socket
import time
from enum import StrEnum
from functools import lru_cache

from d4common.event import MAX_LINE, TYPES


class Reason(StrEnum):
    """Why a datagram was refused; the word that is counted and logged."""

    SIZE = "size"
    ENCODING = "encoding"
    FIELDS = "fields"
    TIME = "time"
    ADDRESS = "address"
    PORT = "port"
    PROTOCOL = "protocol"
    TYPE = "type"


class Refused(ValueError):
    """The datagram is no event to believe; the reason, and a sentence for the log."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


# A control character has no place in a log: a line feed forges a line, a NUL makes grep call the file
# binary, an escape drives the terminal of whoever reads it. So: printable ASCII, and what UTF-8 is made of.
_PLAIN = rb"[!#-~\x80-\xff]+"
_FIELD = rb'(?:%b|"[ !#-~\x80-\xff]*(?:""[ !#-~\x80-\xff]*)*")' % _PLAIN
_DATAGRAM = re.compile(
    rb'(?:(\d{1,11}) )?("(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.\d{6}" '  # the epoch; the line: its time
    rb"%(field)b "  # sensor
    rb"(%(plain)b) (%(plain)b) (%(plain)b) (%(plain)b) "  # source and destination, address and port
    rb"(%(plain)b) (%(plain)b) "  # protocol, type
    rb"%(field)b %(field)b %(field)b)(?:\r?\n)?" % {b"field": _FIELD, b"plain": _PLAIN}  # trail to reference
)
_PORT = re.compile(rb"[0-9]{1,5}")
_PROTOCOLS = re.compile(rb"[A-Z0-9][A-Z0-9_.-]*(?:,[A-Z0-9][A-Z0-9_.-]*)*")
_TYPES = frozenset(name.encode() for name in TYPES)


def check(datagram: bytes, earliest: int, latest: int) -> tuple[int, bytes]:
    """The time (seconds since the epoch) and the log line, without its line feed, that a datagram holds.

    The time must lie between ``earliest`` and ``latest``. Raises Refused.
    """
    if len(datagram) > MAX_LINE:
        raise Refused(Reason.SIZE, f"more than {MAX_LINE} bytes")
    if not datagram.isascii():
        _must_be_utf8(datagram)
    match = _DATAGRAM.fullmatch(datagram)
    if match is None:
        raise Refused(Reason.FIELDS, "not a time and ten more fields, each behind a single space")
    epoch, line, local, src_ip, src_port, dst_ip, dst_port, protocol, kind = match.groups()
    sec = int(epoch) if epoch else _epoch(local)
    if not earliest <= sec <= latest:
        raise Refused(Reason.TIME, "older than max_age" if sec < earliest else "from the future")
    if not _addresses(src_ip) or not _addresses(dst_ip):
        raise Refused(Reason.ADDRESS, "source or destination is not an address or a comma list of them")
    if not _ports(src_port) or not _ports(dst_port):
        raise Refused(Reason.PORT, "a port is not a number up to 65535, a comma list of them, or -")
    if not _protocols(protocol):
        raise Refused(Reason.PROTOCOL, "the protocol is not a name such as UDP or a comma list of them")
    if kind not in _TYPES:
        raise Refused(Reason.TYPE, "the type is none of " + ", ".join(sorted(TYPES)))
    return sec, line


def _must_be_utf8(datagram: bytes) -> None:
    try:
        datagram.decode()
    except UnicodeDecodeError:
        raise Refused(Reason.ENCODING, "not UTF-8") from None


# The same few values come again and again, so each is looked at once.


@lru_cache(maxsize=1024)
def _epoch(local: bytes) -> int:
    """The epoch of a local time of this machine; -1, long ago, for a time of no day."""
    try:
        return int(time.mktime(time.strptime(local.decode(), "%Y-%m-%d %H:%M:%S")))
    except (ValueError, OverflowError):
        return -1


@lru_cache(maxsize=65536)
def _addresses(text: bytes) -> bool:
    return all(map(_is_address, text.decode().split(",")))


def _is_address(text: str) -> bool:
    try:
        socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return False
    return True


@lru_cache(maxsize=65536)
def _ports(text: bytes) -> bool:
    if text == b"-":
        return True
    return all(_PORT.fullmatch(port) and int(port) <= 65535 for port in text.split(b","))


@lru_cache(maxsize=256)
def _protocols(text: bytes) -> bool:
    return _PROTOCOLS.fullmatch(text) is not None
