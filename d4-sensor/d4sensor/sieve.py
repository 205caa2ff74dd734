"""The few packets of a batch that a judge could want, by kind; all the others are passed over here.

What is wanted: whatever begins a conversation with a listed address, every DNS query, every HTTP request.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.addresses import Addresses
from d4sensor.capture import Batch
from d4sensor.headers import Datagrams, Mask, Positions, Window, find, word

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
"""Protocol numbers of IANA."""

DNS_PORT = 53


class Candidates(NamedTuple):
    """Datagrams for one judge. ``listed``: the source or the destination may be an address in trails."""

    datagrams: Datagrams
    listed: Mask


class Sieved(NamedTuple):
    """What is left of a batch. ``addresses`` are all listed; ``queries`` are DNS, ``requests`` HTTP."""

    addresses: Candidates
    queries: Candidates
    requests: Candidates


def sieve(batch: Batch, addresses: Addresses, counts: Counter[str]) -> Sieved:
    """The candidates of a batch.

    Counts all packets in ``packets``, what headers.find leaves out and, by the same names, what ends
    within the header of its transport; in ``dns_malformed`` what is too short for a DNS message. Raises
    CaptureError for a link type that d4-sensor does not read.
    """
    counts["packets"] += len(batch.meta)
    window = Window(batch.data)
    datagrams, head = _transports(window, find(batch, window, counts), counts)
    tcp, udp = datagrams.protocol == TCP, datagrams.protocol == UDP
    query, answer = _dns(datagrams, head, udp, counts)
    request = _requests(window, datagrams, head, tcp)
    begins = _begins(datagrams.protocol, head, tcp, udp & ~query & ~answer)
    wanted = np.flatnonzero(begins | query | request)
    chosen = datagrams.where(wanted)
    listed = _listed(window, chosen.ip, addresses)
    return Sieved(
        *(
            Candidates(chosen.where(kind), listed[kind])
            for kind in (begins[wanted] & listed, query[wanted], request[wanted])
        )
    )


# The shortest header of each protocol that a judge reads, in bytes.
_SHORTEST = np.zeros(256, dtype=np.intp)
_SHORTEST[[ICMP, TCP, UDP, ICMPV6]] = 1, 20, 8, 1

_SHORTEST_REQUEST = len(b"GET / HTTP/1.1\r\n")
_SHORTEST_QUERY = 12 + 1 + 4
_RESPONSE = np.frombuffer(b"HTTP", dtype=np.uint32)[0]


def _transports(
    window: Window, datagrams: Datagrams, counts: Counter[str]
) -> tuple[Datagrams, NDArray[np.uint8]]:
    """Those whose transport header is whole, and its first 16 bytes (UDP: with the first 8 of the data)."""
    head = window.rows(datagrams.transport, 16)
    short = datagrams.end - datagrams.transport < _SHORTEST[datagrams.protocol]
    wrong = (datagrams.protocol == TCP) & (head[:, 12] < 5 << 4) & ~short
    out = short | wrong
    if not out.any():
        return datagrams, head
    counts["truncated"] += np.count_nonzero(short)
    counts["malformed"] += np.count_nonzero(wrong)
    return datagrams.where(~out), head[~out]


def _dns(datagrams: Datagrams, head: NDArray[np.uint8], udp: Mask, counts: Counter[str]) -> tuple[Mask, Mask]:
    """Which datagrams are standard queries with a question, and which are responses (RFC 1035, 4.1.1)."""
    dns = udp & ((word(head, 2) == DNS_PORT) | (word(head, 0) == DNS_PORT))
    whole = dns & (datagrams.end - datagrams.transport >= 8 + _SHORTEST_QUERY)
    counts["dns_malformed"] += np.count_nonzero(dns) - np.count_nonzero(whole)
    flags = head[:, 10]
    query = whole & (flags & 0xFA == 0) & (word(head, 12) != 0)
    return query, whole & (flags >= 0x80)


def _requests(window: Window, datagrams: Datagrams, head: NDArray[np.uint8], tcp: Mask) -> Mask:
    """Which segments begin as an HTTP request does: with three capitals, then a fourth or a space."""
    payload = datagrams.transport + (head[:, 12] >> 4).astype(np.intp) * 4
    some = np.flatnonzero(tcp & (payload + _SHORTEST_REQUEST <= datagrams.end))
    some = some[_capital(window.u8(payload[some]))]
    first = window.rows(payload[some], 4)
    method = _capital(first[:, 1]) & _capital(first[:, 2])
    method &= _capital(first[:, 3]) | (first[:, 3] == ord(" "))
    method &= first.view(np.uint32)[:, 0] != _RESPONSE
    request = np.zeros(len(tcp), dtype=bool)
    request[some[method]] = True
    return request


def _capital(bytes_: NDArray[np.uint8]) -> Mask:
    return bytes_ - np.uint8(ord("A")) < 26


def _begins(protocol: NDArray[np.uint8], head: NDArray[np.uint8], tcp: Mask, udp: Mask) -> Mask:
    """Which datagrams an address trail is about.

    Connections being opened, whatever their ECN bits say; the given UDP; echo requests; other protocols.
    """
    syn = tcp & (head[:, 13] & 0x3F == 0x02)
    echo = ((protocol == ICMP) & (head[:, 0] == 8)) | ((protocol == ICMPV6) & (head[:, 0] == 128))
    begins: Mask = syn | udp | echo | _OTHER[protocol]
    return begins


_OTHER = np.ones(256, dtype=bool)
_OTHER[[ICMP, TCP, UDP, ICMPV6]] = False


def _listed(window: Window, ip: Positions, addresses: Addresses) -> Mask:
    """Which IP headers have a source or a destination that may be listed."""
    four = window.u8(ip) >> 4 == 4
    listed = np.zeros(len(ip), dtype=bool)
    pair = window.rows(ip[four] + 12, 8).view(">u4").astype(np.uint32)
    listed[four] = addresses.hold4(pair[:, 0]) | addresses.hold4(pair[:, 1])
    if not four.all():
        quad = window.rows(ip[~four] + 8, 32).view(">u8").astype(np.uint64)
        listed[~four] = addresses.hold6(quad[:, 0]) | addresses.hold6(quad[:, 2])
    return listed
