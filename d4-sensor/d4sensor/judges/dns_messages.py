"""Where in a batch DNS messages are: over UDP and TCP, on any port.

What is said on UDP port 53 is taken for DNS. Anywhere else a message must look like one in its flags and
counts, which is tested of all packets at once, and then be one, with a whole question.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor import dns
from d4sensor.dns import HEADER, NO_ERROR, NO_SUCH_NAME, DnsError
from d4sensor.headers import Mask, Positions, word
from d4sensor.sieve import DNS_PORT, Traffic

SHORTEST = HEADER + 1 + 4
"""Bytes of a message with a question for the root."""


class Messages(NamedTuple):
    """DNS messages; all columns have the same length.

    ``place`` is their place in the traffic's columns, ``start`` and ``end`` where they are in its data.
    """

    place: Positions
    start: Positions
    end: Positions

    def where(self, chosen: Mask | Positions) -> Messages:
        """Those that are chosen, by a mask or by their places in the columns."""
        return Messages(self.place[chosen], self.start[chosen], self.end[chosen])

    def followed_by(self, others: Messages) -> Messages:
        """These and others, in one."""
        return Messages(*(np.concatenate(pair) for pair in zip(self, others, strict=True)))


def find(traffic: Traffic) -> tuple[Messages, Messages]:
    """The queries and the responses of a batch."""
    queries, answers = (
        _datagrams(traffic, np.flatnonzero(chosen)) for chosen in (traffic.query, traffic.answer)
    )
    elsewhere = _elsewhere(traffic)
    if len(elsewhere.place):
        response = traffic.window.u8(elsewhere.start + 2) >= 0x80
        queries = queries.followed_by(elsewhere.where(~response))
        answers = answers.followed_by(elsewhere.where(response))
    return queries, answers


# The bits of a header's flags (RFC 1035, 4.1.1; RFC 4035, 3.2): recursion desired, authentic data and
# checking disabled may be set in a query; in a response all but the opcode and the bit that must be zero.
_QUERY_ONLY = 0xFFFF & ~(0x0100 | 0x0020 | 0x0010)
_OPCODE_AND_ZERO, _CODE = 0x7840, 0x000F

# Answers, and records of the other sections, that a message has where nothing but its looks says what it is.
_MOST_RECORDS = 64


def _datagrams(traffic: Traffic, place: Positions) -> Messages:
    """Messages that datagrams consist of."""
    return Messages(place, traffic.payload[place], traffic.datagrams.end[place])


def _elsewhere(traffic: Traffic) -> Messages:
    """Messages other than those on UDP port 53."""
    few = _other_datagrams(traffic).followed_by(_segments(traffic))
    if not len(few.place):
        return few
    few = few.where(_look_right(traffic.window.rows(few.start, HEADER)))
    spans = zip(few.start.tolist(), few.end.tolist(), strict=True)
    real = [_is_message(traffic.data[start:end]) for start, end in spans]
    return few.where(np.array(real, dtype=bool))


def _other_datagrams(traffic: Traffic) -> Messages:
    """Datagrams that have one question, if they are messages; port 53 is not among them."""
    head = traffic.head
    others = traffic.udp & ~(traffic.query | traffic.answer)
    single = np.flatnonzero(others & (word(head, 12) == 1))
    single = single[traffic.datagrams.end[single] - traffic.payload[single] >= SHORTEST]
    ports = head[single, :4].view(">u2")
    return _datagrams(traffic, single[(ports != DNS_PORT).all(axis=1)])


def _segments(traffic: Traffic) -> Messages:
    """Segments that begin with the length of the rest (RFC 1035, 4.2.2), or on port 53 of some of it."""
    start, end = traffic.payload[traffic.segments] + 2, traffic.datagrams.end[traffic.segments]
    length = traffic.window.u16(start - 2)
    few = np.flatnonzero((length >= SHORTEST) & (start + length <= end))
    place, start, length = traffic.segments[few], start[few], length[few]
    ports = traffic.head[place, :4].view(">u2")
    whole = (start + length == end[few]) | (ports == DNS_PORT).any(axis=1)
    return Messages(place, start, start + length).where(whole)


def _look_right(headers: NDArray[np.uint8]) -> Mask:
    """Which of these headers a query or a response with one question could have."""
    flags = word(headers, 2)
    few = [word(headers, at) <= _MOST_RECORDS for at in (6, 8, 10)]
    query = (flags & _QUERY_ONLY == 0) & (word(headers, 6) == 0) & (word(headers, 8) == 0) & few[2]
    code = flags & _CODE
    response = (flags >= 0x8000) & (flags & _OPCODE_AND_ZERO == 0)
    response &= ((code == NO_ERROR) | (code == NO_SUCH_NAME)) & few[0] & few[1] & few[2]
    looks: Mask = (word(headers, 4) == 1) & (query | response)
    return looks


def _is_message(message: bytes) -> bool:
    """Whether these bytes are a message, from its header to the end of its answers."""
    try:
        _, (asked,), _, rest = dns.parse(message)
    except DnsError:
        return False
    others = message[8:HEADER] != bytes(4)
    return asked.of_internet and asked.type != 0 and (rest > 0) == others
