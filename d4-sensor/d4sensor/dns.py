"""The question of a DNS message (RFC 1035, 4.1.2). No I/O."""

from __future__ import annotations

from typing import NamedTuple

MAX_QUESTION = 255 + 4
"""Bytes of a question: a name, a type and a class."""

PTR = 12
"""The type that asks for the name of an address."""

IN = 1
"""The class of the Internet."""


class DnsError(ValueError):
    """The bytes are not a question; the message says where they fail."""


class Question(NamedTuple):
    """What a query asks. ``name`` is in lower case, without the dot of the root."""

    name: str
    type: int
    class_: int


def question(section: bytes) -> Question:
    """The question with which a question section begins. Raises DnsError.

    Bytes of the name outside ASCII become the characters of Latin-1 with the same number. A compressed
    name is refused: there is nothing before the first question that it could point to.
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
    rest = section[at + 1 : at + 5]
    if len(rest) < 4:
        raise DnsError("the question ends before its type and class")
    name = b".".join(labels).decode("latin-1").lower()
    return Question(name, rest[0] << 8 | rest[1], rest[2] << 8 | rest[3])
