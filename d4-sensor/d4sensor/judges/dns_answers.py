"""What DNS answers: names that have become a sinkhole's, that are parked, or that do not exist."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from d4sensor import dns, heuristics
from d4sensor import flow as flows
from d4sensor.addresses import Addresses
from d4sensor.dns import HEADER, IN, NO_ERROR, NO_SUCH_NAME, DnsError, Message
from d4sensor.headers import Mask, Window, word
from d4sensor.indicator import address_text
from d4sensor.judges import Finding, Verdict
from d4sensor.judges.dns_messages import Messages
from d4sensor.judges.dns_names import bracketed, is_judged
from d4sensor.judges.dns_nxdomain import NoSuchDomain
from d4sensor.sieve import Traffic
from d4sensor.trails import Trail, Trails


class AnswerJudge:
    """Judges the responses among the messages that DnsJudge has found."""

    def __init__(self, trails: Trails, no_such_domain: NoSuchDomain, disabled: frozenset[str]) -> None:
        self._trails = trails
        self._no_such_domain = no_such_domain
        self._disabled = disabled

    def judge(self, traffic: Traffic, answers: Messages, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among responses; those that cannot be read are counted in ``dns_malformed``."""
        chosen = answers.where(_worth_reading(traffic.window, answers, self._trails.addresses))
        headers = (column.tolist() for column in traffic.datagrams.where(chosen.place))
        spans = zip(chosen.start.tolist(), chosen.end.tolist(), strict=True)
        seconds = traffic.meta[traffic.datagrams.packet[chosen.place], 0].tolist()
        for (packet, ip, protocol, transport, _), (start, end), second in zip(
            zip(*headers, strict=True), spans, seconds, strict=True
        ):
            try:
                message = dns.parse(traffic.data[start:end])
            except DnsError:
                counts["dns_malformed"] += 1
                continue
            verdicts = list(self._verdicts(message, second))
            if verdicts:
                flow = flows.read(traffic.data, ip, protocol, transport)
                yield from (Finding(packet, flow, verdict) for verdict in verdicts)

    def _verdicts(self, message: Message, second: int) -> Iterator[Verdict]:
        """The verdicts on what a message answers to its first question."""
        if not message.questions:
            return
        name = message.questions[0].name
        if not (message.questions[0].of_internet and is_judged(name)):
            return
        if message.flags & _CODE == NO_SUCH_NAME:
            yield from self._no_such_domain.of(name, second, self._trails)
            return
        for trail in _trails_of(message, self._trails):
            verdict = _captured(name, trail, self._disabled)
            if verdict and not self._trails.whitelisted(name):
                yield verdict
                return


# Of the flags of a header (RFC 1035, 4.1.1): the code, and that the sender is a resolver.
_CODE, _RECURSION = 0x000F, 0x0080

# Records whose addresses are looked at before a message is read, and bytes of a name that may precede them.
_RECORDS, _NAME = 8, 64


def _worth_reading(window: Window, answers: Messages, addresses: Addresses) -> Mask:
    """Which responses deny a name, answer with an address that may be listed, or are hard to look at."""
    header = window.rows(answers.start, HEADER)
    code = word(header, 2) & (_CODE | _RECURSION)
    worth: Mask = code == (NO_SUCH_NAME | _RECURSION)
    good = (code & _CODE == NO_ERROR) & (word(header, 6) != 0)
    single = word(header, 4) == 1
    worth |= good & ~single
    place = np.flatnonzero(good & single)
    worth[place] = _may_be_listed(window, answers.where(place), addresses)
    return worth


def _may_be_listed(window: Window, answers: Messages, addresses: Addresses) -> Mask:
    """Which responses to one question have a record with an address that may be listed.

    So have, for all that is seen here, those with more records or longer names than most, and those whose
    names of records are no pointers.
    """
    end, count = answers.end, window.u16(answers.start + 6)
    names = window.rows(answers.start + HEADER, _NAME)
    size = (names == 0).argmax(axis=1)
    may: Mask = (size == 0) & (names[:, 0] != 0)
    at = answers.start + HEADER + size + 1 + 4
    rest = np.flatnonzero(~may)
    for number in range(_RECORDS):
        rest = rest[(count[rest] > number) & (at[rest] + _FIXED <= end[rest])]
        if not len(rest):
            return may
        record = window.rows(at[rest], _FIXED + 16)
        kind, size = word(record, 2), word(record, 10)
        four, six = (kind == dns.A) & (size == 4), (kind == dns.AAAA) & (size == 16)
        may[rest[four]] |= addresses.hold4(record[four, 12:16].view(">u4")[:, 0].astype(np.uint32))
        may[rest[six]] |= addresses.hold6(record[six, 12:20].view(">u8")[:, 0].astype(np.uint64))
        named = record[:, 0] < 0xC0
        may[rest[named]] = True
        at[rest] += _FIXED + size.astype(np.intp)
        rest = rest[~may[rest]]
    may[rest[count[rest] > _RECORDS]] = True
    return may


# Bytes of a record whose name is a pointer, without its data.
_FIXED = 2 + 10


def _trails_of(message: Message, trails: Trails) -> Iterator[Trail]:
    """The trails of the addresses with which a message answers."""
    for kind, class_, data in message.answers:
        if class_ == IN and (kind, len(data)) in ((dns.A, 4), (dns.AAAA, 16)):
            listing = trails.listing(address_text(data))
            if listing:
                yield listing[1]


def _captured(name: str, trail: Trail, disabled: frozenset[str]) -> Verdict | None:
    """The verdict on a name whose address has this trail, which speaks of sinkholes or parking."""
    if "sinkhole" in trail.info:
        if "sinkholed_answer" in disabled:
            return None
        by = (trail.info.split() + ["unknown"])[1]
        return Verdict("DNS", bracketed(name, 1), heuristics.trail(f"sinkholed by {by} (malware)"))
    if "parking" in trail.info and "parked_answer" not in disabled:
        return Verdict("DNS", bracketed(name, 1), heuristics.trail("parked site (suspicious)"))
    return None
