"""The head of an HTTP/1 request, as far as one TCP segment shows it (RFC 9112). No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

from d4sensor.indicator import printable


class HttpError(ValueError):
    """The bytes do not begin with an HTTP/1 request line."""


class Request(NamedTuple):
    """A request. ``host`` is empty where no Host header came; ``body`` is what follows the head, if any.

    ``target`` and ``host`` are in lower case and printable ASCII; other bytes of a target are ``%nn``.
    """

    method: str
    target: str
    host: str
    body: bytes


def parse(segment: bytes) -> Request:
    """The request with which a segment begins; header names in any case. Raises HttpError."""
    line = _LINE.match(segment)
    if not line:
        raise HttpError("no request line: a method, a target and HTTP/ with single spaces between")
    end = segment.find(b"\r\n\r\n")
    head_end = end + 2 if end >= 0 else len(segment)
    host = _HOST.search(segment, line.end() - 2, head_end)
    return Request(
        line[1].decode(),
        printable(line[2]).lower(),
        host[1].decode().lower() if host else "",
        segment[end + 4 :] if end >= 0 else b"",
    )


# No control characters and no spaces: these texts reach logs and terminals.
_LINE = re.compile(rb"([A-Z][A-Z_-]*) ([^\x00-\x20\x7f]+) HTTP/[0-9][^\r\n ]*\r\n")
_HOST = re.compile(rb"\r\nhost:[ \t]*([!-~]+)[ \t]*\r\n", re.IGNORECASE)
