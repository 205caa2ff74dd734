"""The heads of HTTP/1 requests and responses, as far as one TCP segment shows them (RFC 9112). No I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from d4sensor.indicator import printable


class HttpError(ValueError):
    """The bytes do not begin with the first line of an HTTP/1 message."""


class Request(NamedTuple):
    """A request. ``host`` is empty where no Host field came; ``body`` is what follows the head, if any.

    ``target`` and ``host`` are in lower case and printable ASCII; other bytes of a target are ``%nn``.
    ``fields`` are the lines of the head behind the first, each with the line's end before it; ``whole``
    says whether the end of the head was seen.
    """

    method: str
    target: str
    host: str
    body: bytes = b""
    fields: bytes = b""
    whole: bool = True


class Response(NamedTuple):
    """A response: the segment, the lines of the head behind the first, as in a request, and the rest."""

    segment: bytes
    fields: bytes
    body: bytes


def parse(segment: bytes) -> Request:
    """The request with which a segment begins. Raises HttpError."""
    line = _REQUEST_LINE.match(segment)
    if not line:
        raise HttpError("no request line: a method, a target and HTTP/ with single spaces between")
    fields, body, whole = _split(segment, line.end() - 2)
    host = _HOST.search(fields)
    target = line[2]
    return Request(
        line[1].decode(),
        (target.decode() if target.isascii() else printable(target)).lower(),
        host[1].decode().lower() if host else "",
        body,
        fields,
        whole,
    )


def parse_response(segment: bytes) -> Response:
    """The response with which a segment begins. Raises HttpError."""
    line = _STATUS_LINE.match(segment)
    if not line:
        raise HttpError("no status line: HTTP/, a space and a status of three digits")
    fields, body, _ = _split(segment, line.end() - 2)
    return Response(segment, fields, body)


def field(fields: bytes, name: str) -> str:
    """The value of the first field of that name, in any case; empty where there is none, or its end is not.

    Bytes outside ASCII become the characters of Latin-1 with the same number.
    """
    found = _field(name).search(fields)
    return found[1].decode("latin-1").strip() if found else ""


# No control characters and no spaces: these texts reach logs and terminals.
_REQUEST_LINE = re.compile(rb"([A-Z][A-Z_-]*) ([^\x00-\x20\x7f]+) HTTP/[0-9][^\r\n ]*\r\n")
_STATUS_LINE = re.compile(rb"HTTP/[0-9][^\r\n ]* [0-9]{3}[^\r\n]*\r\n")
_HOST = re.compile(rb"\r\nhost:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)


@lru_cache(maxsize=16)
def _field(name: str) -> re.Pattern[bytes]:
    return re.compile(rb"\r\n%b:([^\r\n]*)\r\n" % name.encode(), re.IGNORECASE)


def _split(segment: bytes, line_end: int) -> tuple[bytes, bytes, bool]:
    """Fields, body, and whether the empty line between them was seen."""
    end = segment.find(b"\r\n\r\n", line_end)
    if end < 0:
        return segment[line_end:], b"", False
    return segment[line_end : end + 2], segment[end + 4 :], True
