"""From the frames of a batch to the transport headers inside: link layer, VLAN tags, IPv4 and IPv6.

Everything here works on all packets of a batch at once. A frame that is no IP, that ends too soon or that
contradicts itself is counted and left out; nothing here fails on any bytes.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.capture import Batch, CaptureError

Positions = NDArray[np.intp]
"""Offsets in the bytes of a batch."""

Mask = NDArray[np.bool_]


class Datagrams(NamedTuple):
    """IP packets of a batch, or some of them; all columns have the same length.

    ``packet`` is the number of the packet in the batch, ``ip`` where its IP header begins, ``protocol``
    the IANA number of what follows the IP headers, ``transport`` where that begins, and ``end`` where
    the packet ends: behind its last byte that was captured, without the padding of a short frame.
    """

    packet: Positions
    ip: Positions
    protocol: NDArray[np.uint8]
    transport: Positions
    end: Positions

    def where(self, chosen: Mask | Positions) -> Datagrams:
        """Those that are chosen, by a mask or by their places in the columns."""
        packet, ip, protocol, transport, end = self
        return Datagrams(packet[chosen], ip[chosen], protocol[chosen], transport[chosen], end[chosen])

    def followed_by(self, others: Datagrams) -> Datagrams:
        """These and others, in one."""
        return Datagrams(
            np.concatenate((self.packet, others.packet)),
            np.concatenate((self.ip, others.ip)),
            np.concatenate((self.protocol, others.protocol)),
            np.concatenate((self.transport, others.transport)),
            np.concatenate((self.end, others.end)),
        )


class Window:
    """The bytes of a batch, to be read at many positions at once; none may lie beyond the end of them."""

    def __init__(self, data: bytes) -> None:
        self._bytes = data + bytes(_PADDING)

    def u8(self, at: Positions) -> NDArray[np.uint8]:
        """The byte at each position."""
        return np.frombuffer(self._bytes, dtype=np.uint8)[at]

    def u16(self, at: Positions) -> NDArray[np.uint16]:
        """The two bytes at each position, network order, as a number."""
        return self._overlapping(">u2", 2)[at].astype(np.uint16)

    def rows(self, at: Positions, width: int) -> NDArray[np.uint8]:
        """The ``width`` bytes at each position, a row each; what is beyond the end of the batch is zero."""
        return self._overlapping(f"V{width}", width)[at].view(np.uint8).reshape(-1, width)

    def _overlapping(self, dtype: str, width: int) -> NDArray[np.generic]:
        # An element at every offset, each over the next: indexing copies a header in one step.
        shape = (len(self._bytes) - width + 1,)
        return np.ndarray(shape, dtype, buffer=self._bytes, strides=(1,))


def word(rows: NDArray[np.uint8], at: int) -> NDArray[np.uint16]:
    """The two bytes at ``at``, an even number, of each row as a number; they are in network order."""
    return rows.view(">u2")[:, at >> 1]


def find(batch: Batch, window: Window, counts: Counter[str]) -> Datagrams:
    """The IP packets of a batch.

    Counts in ``counts`` what is left out: ``not_ip``, ``truncated`` (captured less than the headers),
    ``malformed``, ``fragments`` (other than the first). Raises CaptureError for a link type that has no
    entry in LINKS.
    """
    start = batch.meta[:, 2].astype(np.intp)
    end = start + batch.meta[:, 3]
    kind, ip = _network(window, start, end, batch.link)
    four, six = np.flatnonzero(kind == _IPV4), np.flatnonzero(kind == _IPV6)
    counts["truncated"] += np.count_nonzero(kind == _CUT)
    counts["not_ip"] += np.count_nonzero((kind != _IPV4) & (kind != _IPV6) & (kind != _CUT))
    datagrams = _ipv4(window, four, ip[four], end[four], counts)
    if not len(six):
        return datagrams
    others = _ipv6(window, six, ip[six], end[six], counts)
    return datagrams.followed_by(others)


class Link(NamedTuple):
    """Where a kind of frame has its EtherType, and where its payload begins, in bytes.

    ``type`` is None for a link whose payload is IP and nothing else.
    """

    type: int | None
    payload: int


LINKS = {
    0: Link(None, 4),  # BSD loopback
    1: Link(12, 14),  # Ethernet
    12: Link(None, 0),  # raw IP, as libpcap has it on Linux
    101: Link(None, 0),  # raw IP
    108: Link(None, 4),  # OpenBSD loopback
    113: Link(14, 16),  # Linux cooked capture v1
    228: Link(None, 0),  # raw IPv4
    229: Link(None, 0),  # raw IPv6
    276: Link(0, 20),  # Linux cooked capture v2
}
"""What is known of each link type, by its number (www.tcpdump.org/linktypes.html)."""

# Bytes behind the batch that may be read: what is read begins inside a packet, and is at most this wide.
_PADDING = 64

# EtherTypes, and a number below all of them for a frame that ends before its payload.
_IPV4, _IPV6 = 0x0800, 0x86DD
_VLAN_TAGS = (0x8100, 0x88A8, 0x9100)
_CUT = 0

# Extension headers of IPv6 that are followed by another header: hop-by-hop options, routing, fragment,
# authentication, destination options, mobility, HIP, Shim6 (RFC 7045).
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS = np.zeros(256, dtype=bool)
_EXTENSIONS[[0, 43, _FRAGMENT, _AUTHENTICATION, 60, 135, 139, 140]] = True
_MAX_EXTENSIONS = 8


def _network(
    window: Window, start: Positions, end: Positions, link: int
) -> tuple[NDArray[np.uint16], Positions]:
    """For each frame the EtherType of its payload, behind up to two VLAN tags, and where that begins."""
    if link not in LINKS:
        raise CaptureError(f"link type {link} is not one that d4-sensor reads")
    type_at, payload = LINKS[link]
    ip = start + payload
    if type_at is None:
        version = window.u8(ip) >> 4
        kind = np.select([version == 4, version == 6], [_IPV4, _IPV6], 1).astype(np.uint16)
    else:
        kind = window.u16(start + type_at)
    for _ in range(2):
        rest = np.flatnonzero((kind != _IPV4) & (kind != _IPV6))
        if not len(rest):
            break
        tagged = rest[np.isin(kind[rest], _VLAN_TAGS) & (ip[rest] + 4 <= end[rest])]
        kind[tagged] = window.u16(ip[tagged] + 2)
        ip[tagged] += 4
    kind[ip > end] = _CUT
    return kind, ip


def _ipv4(
    window: Window, packet: Positions, ip: Positions, end: Positions, counts: Counter[str]
) -> Datagrams:
    head = window.rows(ip, 20)
    first, total = head[:, 0], word(head, 2)
    size = (first & 15).astype(np.intp) * 4
    short = end - ip < np.maximum(size, 20)
    wrong = (first >> 4 != 4) | (size < 20) | ((total < size) & (total != 0))
    later = (word(head, 6) & 0x1FFF) != 0
    # A length of 0 is what a card leaves there that cuts large segments itself.
    end = np.where(total == 0, end, np.minimum(end, ip + total))
    datagrams = Datagrams(packet, ip, head[:, 9], ip + size, end)
    return _sound(datagrams, short, wrong, later, counts)


def _ipv6(
    window: Window, packet: Positions, ip: Positions, end: Positions, counts: Counter[str]
) -> Datagrams:
    head = window.rows(ip, 40)
    short = end - ip < 40
    wrong = head[:, 0] >> 4 != 6
    later = np.zeros(len(ip), dtype=bool)
    total = word(head, 4).astype(np.intp)
    end = np.where(total == 0, end, np.minimum(end, ip + 40 + total))
    protocol, at = head[:, 6].copy(), ip + 40
    for _ in range(_MAX_EXTENSIONS):
        chain = np.flatnonzero(_EXTENSIONS[protocol] & ~(short | wrong | later))
        if not len(chain):
            break
        missing = end[chain] - at[chain] < 8
        short[chain[missing]] = True
        chain = chain[~missing]
        option, kind = window.rows(at[chain], 4), protocol[chain]
        length = option[:, 1].astype(np.intp) * 8 + 8
        length[kind == _FRAGMENT] = 8
        authentication = kind == _AUTHENTICATION
        length[authentication] = option[authentication, 1].astype(np.intp) * 4 + 8
        later[chain] = (kind == _FRAGMENT) & (word(option, 2) & 0xFFF8 != 0)
        protocol[chain] = option[:, 0]
        at[chain] += length
    short |= at > end
    wrong |= _EXTENSIONS[protocol]
    return _sound(Datagrams(packet, ip, protocol, at, end), short, wrong, later, counts)


def _sound(datagrams: Datagrams, short: Mask, wrong: Mask, later: Mask, counts: Counter[str]) -> Datagrams:
    """Those with nothing against them; the others are counted, each once."""
    bad = short | wrong
    out = bad | later
    if not out.any():
        return datagrams
    counts["truncated"] += np.count_nonzero(short)
    counts["malformed"] += np.count_nonzero(bad & ~short)
    counts["fragments"] += np.count_nonzero(out & ~bad)
    return datagrams.where(~out)
