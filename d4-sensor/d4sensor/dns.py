"""DNS messages (RFC 1035, 4). No I/O."""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER = 12
"""Bytes of a header."""

A, PTR, AAAA = 1, 12, 28
"""Types: addresses, the names of addresses, addresses of IPv6 (RFC 3596)."""

IN = 1
"""The class of the Internet."""

NO_ERROR, NO_SUCH_NAME = 0, 3
"""Codes of responses."""

MAX_QUESTIONS = 8
"""Questions of a message that are read. One is what resolvers answer; more can be made costly to read."""


class DnsError(ValueError):
    """The bytes are no message, or no question; the text says where they fail."""


class Question(NamedTuple):
    """What a query asks. ``name`` is in lower case, without the dot of the root."""

    name: str
    type: int
    class_: int

    @property
    def of_internet(self) -> bool:
        """Whether its class is IN, with or without the upper bit that mDNS sets (RFC 6762, 5.4)."""
        return self.class_ & 0x7FFF == IN


class Record(NamedTuple):
    """A record of an answer: ``data`` is as it was sent, 4 or 16 bytes of network order for an address."""

    type: int
    class_: int
    data: bytes


class Message(NamedTuple):
    """A message: the second 16 bits of its header, what it asks and what it answers.

    ``rest`` is how many bytes follow the answers: those of the other sections, or anything.
    """

    flags: int
    questions: list[Question]
    answers: list[Record]
    rest: int


def question(section: bytes) -> Question:
    """The question with which a question section begins. Raises DnsError.

    Bytes of the name outside ASCII become the characters of Latin-1 with the same number. A compressed
    name is refused: what it points to is elsewhere in the message.
    """
    labels = []
    at = 0
    try:
        while length := section[at]:
            if length > 63:
                raise DnsError(f"a label of {length} bytes; 63 is the longest")
            labels.append(section[at + 1 : at + 1 + length])
            at += 1 + length
    except IndexError:
        raise DnsError("the name does not end") from None
    if at >= 255:
        raise DnsError(f"a name of {at + 1} bytes; 255 is the longest")
    return _question(b".".join(labels), section, at + 1)


def questions(message: bytes) -> list[Question]:
    """What a message asks, whatever else is in it; names may be compressed. Raises DnsError."""
    return _questions(message)[0]


def parse(message: bytes) -> Message:
    """The message that these bytes are. Raises DnsError.

    Of its sections, questions and answers must be whole. The names of records are skipped, not read.
    """
    asked, at = _questions(message)
    flags, count = _unpack(_FLAGS_AND_ANSWERS, message, 2)
    answers = []
    for _ in range(count):
        at = _behind_name(message, at)
        kind, class_, _, size = _unpack(_RECORD, message, at)
        at += _RECORD.size
        if at + size > len(message):
            raise DnsError("a record ends before its data")
        answers.append(Record(kind, class_, message[at : at + size]))
        at += size
    return Message(flags, asked, answers, len(message) - at)


_FLAGS_AND_ANSWERS = struct.Struct("!H2xH")
_QUESTIONS = struct.Struct("!H6x")
_RECORD = struct.Struct("!HHIH")


def _question(name: bytes, message: bytes, at: int) -> Question:
    """The question of that name, whose type and class are at ``at``."""
    rest = message[at : at + 4]
    if len(rest) < 4:
        raise DnsError("the question ends before its type and class")
    return Question(name.decode("latin-1").lower(), rest[0] << 8 | rest[1], rest[2] << 8 | rest[3])


def _questions(message: bytes) -> tuple[list[Question], int]:
    """The questions of a message, and where they end."""
    (count,) = _unpack(_QUESTIONS, message, 4)
    if count > MAX_QUESTIONS:
        raise DnsError(f"{count} questions; {MAX_QUESTIONS} are read at most")
    asked, at = [], HEADER
    for _ in range(count):
        name, at = _name(message, at)
        asked.append(_question(name, message, at))
        at += 4
    return asked, at


def _name(message: bytes, at: int) -> tuple[bytes, int]:
    """The name at ``at``, its labels wherever pointers say that they are, and where it ends (4.1.4)."""
    behind = _behind_name(message, at)
    labels: list[bytes] = []
    size = pointers = 0
    try:
        while length := message[at]:
            if length >= 0xC0:
                pointers += 1
                if pointers > _MAX_POINTERS:
                    raise DnsError("a name points to itself")
                at = (length & 0x3F) << 8 | message[at + 1]
                continue
            if length > 63:
                raise DnsError(f"a label of {length} bytes; 63 is the longest")
            labels.append(message[at + 1 : at + 1 + length])
            at += 1 + length
            size += 1 + length
            if size >= 255:
                raise DnsError(f"a name of more than {size} bytes; 255 is the longest")
    except IndexError:
        raise DnsError("the name does not end") from None
    return b".".join(labels), behind


# A name has 127 labels at most, and a pointer to another pointer has no use.
_MAX_POINTERS = 127


def _behind_name(message: bytes, at: int) -> int:
    """Where the name at ``at`` ends: behind its last label, or behind its first pointer."""
    try:
        while length := message[at]:
            if length >= 0xC0:
                return at + 2
            at += 1 + length
    except IndexError:
        raise DnsError("the name does not end") from None
    return at + 1


def _unpack(form: struct.Struct, message: bytes, at: int) -> tuple[int, ...]:
    try:
        return form.unpack_from(message, at)
    except struct.error:
        raise DnsError(f"the message ends at byte {len(message)}, within its header or a record") from None
