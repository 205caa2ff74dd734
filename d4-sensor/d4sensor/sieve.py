"""What the judges choose from: the IP packets of a batch, as columns, with what each judge would ask first.

Everything here works on all packets of a batch at once. A judge picks from these columns the few packets
that it wants, by their places; all the others never become Python objects.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.addresses import Addresses
from d4sensor.capture import Batch
from d4sensor.headers import Datagrams, Mask, Positions, Window, word
from d4sensor.tunnels import find

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
"""Protocol numbers of IANA."""

DNS_PORT = 53


class Head(NamedTuple):
    """The beginning of what one end of a TCP connection says, in one piece: see heads.py.

    ``row`` is the place of the segment that made it whole in the columns of Traffic, and ``packet`` the
    number of its packet. ``headers`` is what flow.read takes.
    """

    row: int
    packet: int
    headers: tuple[bytes, int, int, int]
    data: bytes


class Traffic(NamedTuple):
    """The IP packets of a batch whose transport header is whole; all columns have the same length.

    ``data`` and ``window`` hold the bytes of the batch, ``meta`` a row for each of its packets (seconds,
    microseconds, …), to which ``datagrams.packet`` points. ``head`` has the first 16 bytes of each transport
    header (of UDP with the first 8 of the data), ``payload`` where the data of TCP and UDP begin. ``six`` is
    what is IPv6; of all else, ``pair`` has source and destination as numbers, side by side. ``query``
    and ``answer`` are standard DNS queries and responses over UDP on port 53. ``segments`` is no column: it
    has the places of the segments of TCP with data. ``requests`` are those of HTTP/1, ``handshakes``
    messages of TLS, which heads.py finds; ``unfinished`` are requests of batches before that are waited for
    no longer, at a ``packet`` of this one, and have no ``row``.
    """

    data: bytes
    window: Window
    meta: NDArray[np.uint32]
    datagrams: Datagrams
    head: NDArray[np.uint8]
    payload: Positions
    six: Mask
    pair: NDArray[np.uint32]
    tcp: Mask
    udp: Mask
    query: Mask
    answer: Mask
    segments: Positions
    requests: Sequence[Head] = ()
    handshakes: Sequence[Head] = ()
    unfinished: Sequence[Head] = ()

    @property
    def flags(self) -> NDArray[np.uint8]:
        """The flags of TCP (RFC 9293, 3.1; ECN's two above them); of other protocols, anything."""
        flags: NDArray[np.uint8] = self.head[:, 13]
        return flags

    def listed(self, at: Positions, addresses: Addresses) -> Mask:
        """Which of the packets at these places have a source or a destination that may be listed."""
        held = addresses.hold4(self.pair.take(at, axis=0).ravel())
        listed: Mask = held[::2] | held[1::2]
        six = np.flatnonzero(self.six.take(at))
        if len(six):
            upper = self.six_pair(at[six])[:, ::2]
            listed[six] = addresses.hold6(upper[:, 0]) | addresses.hold6(upper[:, 1])
        return listed

    def six_pair(self, at: Positions) -> NDArray[np.uint64]:
        """Source and destination of the IPv6 packets at these places, in four columns of 64 bits each."""
        return self.window.rows(self.datagrams.ip[at] + 8, 32).view(">u8").astype(np.uint64)


def sieve(batch: Batch, counts: Counter[str]) -> Traffic:
    """The IP packets of a batch.

    Counts all packets in ``packets``, what tunnels.find leaves out and, by the same names, what ends
    within the header of its transport; in ``dns_malformed`` what is too short for a DNS message.
    """
    counts["packets"] += len(batch.meta)
    window = Window(batch.data)
    datagrams, head = _transports(window, find(batch, window, counts), counts)
    tcp, udp = datagrams.protocol == TCP, datagrams.protocol == UDP
    query, answer = _dns(datagrams, head, udp, counts)
    payload = datagrams.transport + np.where(tcp, _TCP_SIZE.take(head[:, 12]), 8)
    segments = np.flatnonzero(tcp & (payload < datagrams.end))
    six, pair = _addresses(window, datagrams.ip)
    return Traffic(
        batch.data, window, batch.meta, datagrams, head, payload, six, pair, tcp, udp, query, answer, segments
    )


# The shortest header of each protocol that a judge reads, in bytes.
_SHORTEST = np.zeros(256, dtype=np.intp)
_SHORTEST[[ICMP, TCP, UDP, ICMPV6]] = 1, 20, 8, 1

# The size of a TCP header, by the byte that says it (RFC 9293, 3.1).
_TCP_SIZE = (np.arange(256) >> 4) * 4

_SHORTEST_QUERY = 12 + 1 + 4


def _transports(
    window: Window, datagrams: Datagrams, counts: Counter[str]
) -> tuple[Datagrams, NDArray[np.uint8]]:
    """Those whose transport header is whole, and its first 16 bytes (UDP: with the first 8 of the data)."""
    head = window.rows(datagrams.transport, 16)
    short = datagrams.end - datagrams.transport < _SHORTEST.take(datagrams.protocol)
    wrong = (datagrams.protocol == TCP) & (head[:, 12] < 5 << 4) & ~short
    out = short | wrong
    if not out.any():
        return datagrams, head
    counts["truncated"] += np.count_nonzero(short)
    counts["malformed"] += np.count_nonzero(wrong)
    whole = np.flatnonzero(~out)
    # take() copies rows in one piece, ten times as fast as an index does.
    return datagrams.where(whole), head.take(whole, axis=0)


def _addresses(window: Window, ip: Positions) -> tuple[Mask, NDArray[np.uint32]]:
    """Which IP headers are of IPv6, and the source and destination of those that are not.

    Most judges ask for these; each would have to fetch the headers from far memory once more.
    """
    head = window.rows(ip, 20)
    return head[:, 0] >> 4 == 6, head[:, 12:].view(">u4").astype(np.uint32)


def _dns(datagrams: Datagrams, head: NDArray[np.uint8], udp: Mask, counts: Counter[str]) -> tuple[Mask, Mask]:
    """Which datagrams are standard queries with a question, and which are responses (RFC 1035, 4.1.1)."""
    dns = udp & ((word(head, 2) == DNS_PORT) | (word(head, 0) == DNS_PORT))
    whole = dns & (datagrams.end - datagrams.transport >= 8 + _SHORTEST_QUERY)
    counts["dns_malformed"] += np.count_nonzero(dns) - np.count_nonzero(whole)
    flags = head[:, 10]
    query = whole & (flags & 0xFA == 0) & (word(head, 12) != 0)
    return query, whole & (flags >= 0x80)
