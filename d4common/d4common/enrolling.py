"""Enrolment, as both ends speak it (docs/protocol.md, section 3): lines, proof and code. No I/O."""

from __future__ import annotations

import dataclasses
import hmac
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from d4common import config

ALPN_ENROLL = "d4-enroll/1"

MAX_LINE = 1 << 16
"""Bytes of a line, its line feed included."""

MAX_NAME = 64
"""Characters of a sensor's name."""

MAX_TEXT = 1000
"""Characters of a token, a key or a reason."""


class ProtocolError(Exception):
    """What the other end said is no enrolment; the message says why."""


@dataclass(frozen=True)
class Greeting:
    """The server's first line. ``nonce`` has 64 hexadecimal digits."""

    nonce: str


@dataclass(frozen=True)
class Enroll:
    """A sensor without a key asks for one. ``claim`` has 64 hexadecimal digits, ``csr`` is PEM."""

    uuid: UUID
    name: str
    claim: str
    token: str | None = None
    csr: str | None = None


@dataclass(frozen=True)
class Renew:
    """A sensor with a key asks for another. ``proof`` is what proof() gives, ``csr`` is PEM."""

    uuid: UUID
    proof: str
    csr: str | None = None


@dataclass(frozen=True)
class Done:
    """The client has all of the answer on its disk."""


@dataclass(frozen=True)
class Pending:
    """An administrator must approve; ``code`` is that of the claim."""

    code: str


@dataclass(frozen=True)
class Approved:
    """A key as text; the CA that signed the server's certificate, and the sensor's certificate, in PEM."""

    key: str
    ca: str
    certificate: str | None = None


@dataclass(frozen=True)
class Refused:
    """No; ``reason`` is a sentence that says what would be right."""

    reason: str


Request = Enroll | Renew | Done
Answer = Pending | Approved | Refused

_TAGS: dict[type, dict[str, str]] = {
    Greeting: {},
    Enroll: {"op": "enroll"},
    Renew: {"op": "renew"},
    Done: {"op": "done"},
    Pending: {"status": "pending"},
    Approved: {"status": "approved"},
    Refused: {"status": "refused"},
}
"""The member by which each kind of line is known."""


def encode(message: Greeting | Request | Answer) -> bytes:
    """The line that says this, with its line feed."""
    members = {name: str(value) for name, value in vars(message).items() if value is not None}
    return json.dumps({**_TAGS[type(message)], **members}, separators=(",", ":")).encode() + b"\n"


def greeting(line: bytes) -> Greeting:
    """The server's first line. Raises ProtocolError."""
    decoded: Greeting = _decode(line, (Greeting,))
    return decoded


def request(line: bytes) -> Request:
    """What a client asks in a line. Raises ProtocolError."""
    decoded: Request = _decode(line, (Enroll, Renew, Done))
    return decoded


def answer(line: bytes) -> Answer:
    """What a server answers in a line. Raises ProtocolError."""
    decoded: Answer = _decode(line, (Pending, Approved, Refused))
    return decoded


class Lines:
    """Bytes of a connection in, lines out."""

    def __init__(self) -> None:
        self._waiting = b""

    def receive(self, data: bytes) -> None:
        """Takes what came in."""
        self._waiting += data

    def next(self) -> bytes | None:
        """The next line without its line feed, or None if it is not whole. Raises ProtocolError."""
        line, feed, rest = self._waiting.partition(b"\n")
        if len(line) >= MAX_LINE:
            raise ProtocolError(f"a line has more than {MAX_LINE} bytes")
        if not feed:
            return None
        self._waiting = rest
        return line


def random() -> str:
    """A nonce or a claim: 64 hexadecimal digits that nobody can guess."""
    return secrets.token_hex(32)


def digest(text: str) -> str:
    """SHA-256 of a claim or a token, 64 hexadecimal digits: what a server stores of it."""
    return sha256(text.encode()).hexdigest()


def code(claim_digest: str) -> str:
    """What both sides show of a claim, from its digest()."""
    return f"{claim_digest[:4]}-{claim_digest[4:8]}"


def proof(key: bytes, nonce: str) -> str:
    """What shows that a client has the key, on the one connection with this nonce."""
    return hmac.new(key, f"{ALPN_ENROLL} renew {nonce}".encode(), sha256).hexdigest()


def proves(said: str, key: bytes, nonce: str) -> bool:
    """Whether a proof was made with the key."""
    return hmac.compare_digest(said, proof(key, nonce))


def _decode(line: bytes, kinds: tuple[type[Any], ...]) -> Any:
    """What a line says that must be of one of these kinds."""
    document = _document(line)
    for kind in kinds:
        if _TAGS[kind].items() <= document.items():
            return kind(**_members(kind, document))
    wanted = " or ".join(json.dumps(_TAGS[kind]) for kind in kinds)
    raise ProtocolError(f"a line lacks {wanted}")


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line.decode())
    except (ValueError, RecursionError):
        raise ProtocolError("a line is not JSON") from None
    if not isinstance(document, dict):
        raise ProtocolError("a line is not an object of JSON")
    return document


def _members(kind: type[Any], document: dict[str, Any]) -> dict[str, Any]:
    """The fields of a kind of line; only those that have a default may be left out."""
    found = {}
    for field in dataclasses.fields(kind):
        text = document.get(field.name)
        if text is None and field.default is None:
            continue
        try:
            if not isinstance(text, str):
                raise ValueError("must be there, and be a text")
            found[field.name] = _PARSERS[field.name](text)
        except ValueError as error:
            raise ProtocolError(f"{field.name} {error}") from None
    return found


def _printable(most: int) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not text.isprintable() or text != text.strip() or not 0 < len(text) <= most:
            raise ValueError(f"must have 1 to {most} printable characters")
        return text

    return parse


def _matching(pattern: str, meaning: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {meaning}")
        return text

    return parse


name = _printable(MAX_NAME)
"""A sensor's name, as it may be. Raises ValueError."""

_DIGITS = _matching("[0-9a-f]{64}", "64 hexadecimal digits")
_PEM = _matching(r"(?s)-----BEGIN [ -~\n\r]*", "in PEM form")

_PARSERS: dict[str, Callable[[str], Any]] = {
    "nonce": _DIGITS,
    "uuid": config.uuid4,
    "name": name,
    "claim": _DIGITS,
    "token": _printable(MAX_TEXT),
    "csr": _PEM,
    "proof": _DIGITS,
    "code": _matching("[0-9a-f]{4}-[0-9a-f]{4}", "8 hexadecimal digits"),
    "key": _printable(MAX_TEXT),
    "ca": _PEM,
    "certificate": _PEM,
    "reason": _printable(MAX_TEXT),
}
"""What each member may be."""
