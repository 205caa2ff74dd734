"""From the frames of a batch to the transport headers inside: link layer, tags and labels, IPv4 and IPv6.

Everything here works on all packets of a batch at once. A frame that is no IP, that ends too soon or that
contradicts itself is counted and left out; nothing here fails on any bytes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.capture import Batch
from d4sensor.links import BRIDGED, IP, LINKS, PPP, PPPOE

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
        self._bytes = data
        self._padded_size = len(data) + _PADDING

    def u8(self, at: Positions) -> NDArray[np.uint8]:
        """The byte at each position."""
        return self._overlapping("u1", 1, at)

    def u16(self, at: Positions) -> NDArray[np.uint16]:
        """The two bytes at each position, network order, as a number."""
        return self._overlapping(">u2", 2, at).astype(np.uint16)

    def rows(self, at: Positions, width: int) -> NDArray[np.uint8]:
        """The ``width`` bytes at each position, a row each; what is beyond the end of the batch is zero."""
        return self._overlapping(f"V{width}", width, at).view(np.uint8).reshape(-1, width)

    def _overlapping(self, dtype: str, width: int, at: Positions) -> NDArray[Any]:
        try:
            return _everywhere(self._bytes, dtype, width)[at]
        except IndexError:
            # This is rare, and to pad each batch would be to copy it.
            self._bytes = self._bytes.ljust(self._padded_size, b"\0")
            return _everywhere(self._bytes, dtype, width)[at]


def _everywhere(data: bytes, dtype: str, width: int) -> NDArray[Any]:
    """An element at every offset, each over the next: indexing copies a header in one step."""
    return np.ndarray((max(len(data) - width + 1, 0),), dtype, buffer=data, strides=(1,))


def word(rows: NDArray[np.uint8], at: int) -> NDArray[np.uint16]:
    """The two bytes at ``at``, an even number, of each row as a number; they are in network order."""
    return rows.view(">u2")[:, at >> 1]


class Payloads(NamedTuple):
    """What frames, or tunnels, carry; all columns have the same length.

    ``packet`` is the number of the packet in the batch, ``kind`` the EtherType of what it carries (or
    CUT), ``at`` where that begins, and ``end`` where the packet ends.
    """

    packet: Positions
    kind: NDArray[np.uint16]
    at: Positions
    end: Positions

    def where(self, chosen: Positions) -> Payloads:
        """Those at these places in the columns."""
        packet, kind, at, end = self
        return Payloads(packet[chosen], kind[chosen], at[chosen], end[chosen])


CUT = 0
"""In place of an EtherType: the frame ends before its payload."""


def find(batch: Batch, window: Window, counts: Counter[str]) -> Datagrams:
    """The IP packets of a batch, the outermost of each frame. Counts what is left out, as ``within`` does."""
    start = batch.meta[:, 2].astype(np.intp)
    end = start + batch.meta[:, 3]
    size, type_at, fixed = LINKS[batch.link]
    if type_at is None:
        kind = _by_version(window.u8(start + size)) if fixed == IP else np.full(len(start), fixed, np.uint16)
    else:
        kind = window.u16(start + type_at)
    return within(window, Payloads(np.arange(len(start)), kind, start + size, end), counts)


def within(window: Window, payloads: Payloads, counts: Counter[str]) -> Datagrams:
    """The IP packets that payloads are, or that stand behind up to MAX_SHIMS tags, labels and the like.

    Counts in ``counts`` what is left out: ``not_ip``, ``truncated`` (captured less than the headers),
    ``malformed``, ``fragments`` (other than the first).
    """
    payloads = _unwrapped(window, payloads)
    six = payloads.kind == _IPV6
    is_ip = six | (payloads.kind == _IPV4)
    if not is_ip.all():
        cut = np.count_nonzero(payloads.kind == CUT)
        counts["truncated"] += cut
        counts["not_ip"] += len(is_ip) - np.count_nonzero(is_ip) - cut
        chosen = np.flatnonzero(is_ip)
        payloads, six = payloads.where(chosen), six[chosen]
    return _ip(window, payloads, np.flatnonzero(six), counts)


MAX_SHIMS = 8
"""VLAN tags, MPLS labels and other such headers between the link and IP, at most."""

# Bytes behind the batch that may be read: what is read begins inside a packet, and is at most this wide.
_PADDING = 64

# EtherTypes: of IP, of the shims before it, and a number below all of them for whatever is no IP.
_IPV4, _IPV6 = 0x0800, 0x86DD
_MPLS = (0x8847, 0x8848)
_SHIMS = np.zeros(1 << 16, dtype=bool)
_SHIMS[[0x8100, 0x88A8, 0x9100, *_MPLS, PPPOE, PPP, BRIDGED]] = True
_OTHER = 2

# Protocol numbers of PPP and the EtherTypes for the same (RFC 1332, RFC 5072, RFC 3032).
_IN_PPP = {0x0021: _IPV4, 0x0057: _IPV6, 0x0281: _MPLS[0], 0x0283: _MPLS[1]}

# Extension headers of IPv6 that are followed by another header: hop-by-hop options, routing, fragment,
# authentication, destination options, mobility, HIP, Shim6 (RFC 7045).
_FRAGMENT, _AUTHENTICATION = 44, 51
_EXTENSIONS = np.zeros(256, dtype=bool)
_EXTENSIONS[[0, 43, _FRAGMENT, _AUTHENTICATION, 60, 135, 139, 140]] = True
_MAX_EXTENSIONS = 8


def _unwrapped(window: Window, payloads: Payloads) -> Payloads:
    """The payloads without the shims before them; ``kind`` and ``at`` are changed in place."""
    _, kind, at, end = payloads
    kind[at > end] = CUT
    for _ in range(MAX_SHIMS):
        shims = np.flatnonzero(_SHIMS.take(kind))
        if not len(shims):
            break
        following, size = _shim(window.rows(at[shims], 14), kind[shims])
        kind[shims] = following
        at[shims] += size
        kind[at > end] = CUT
    return payloads


def _shim(head: NDArray[np.uint8], kind: NDArray[np.uint16]) -> tuple[NDArray[np.uint16], Positions]:
    """The kind of what follows a shim that begins with these 14 bytes, and how long the shim is.

    VLAN tags: IEEE 802.1Q; MPLS: RFC 3032, 2.1; PPPoE: RFC 2516, 4; PPP: RFC 1661, 2 and RFC 1662, 3.1.
    """
    label, ppp, pppoe, bridged = np.isin(kind, _MPLS), kind == PPP, kind == PPPOE, kind == BRIDGED
    bottom = head[:, 2] & 1 == 1
    below = np.where(bottom, _by_version(head[:, 4]), kind)
    framed = word(head, 0) == 0xFF03
    protocol = np.where(framed, word(head, 2), word(head, 0))
    in_ppp = np.select([protocol == number for number in _IN_PPP], list(_IN_PPP.values()), _OTHER)
    session = np.where(head[:, 1] == 0, PPP, _OTHER)
    following = np.select(
        [label, ppp, pppoe, bridged], [below, in_ppp, session, word(head, 12)], word(head, 2)
    )
    size = np.select([ppp & ~framed, pppoe, bridged], [2, 6, 14], 4)
    return following.astype(np.uint16), size


def _by_version(first: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The EtherType of what begins with this byte, if it is IP."""
    version = first >> 4
    return np.select([version == 4, version == 6], [_IPV4, _IPV6], _OTHER).astype(np.uint16)


class _Headers(NamedTuple):
    """What the IP headers say; all columns have the same length, and may be changed in place.

    ``total`` is the length of the packet, 0 where the header does not say it; ``wrong`` is what contradicts
    itself, ``later`` a fragment other than the first.
    """

    size: Positions
    total: Positions
    protocol: NDArray[np.uint8]
    wrong: Mask
    later: Mask


def _ip(window: Window, payloads: Payloads, six: Positions, counts: Counter[str]) -> Datagrams:
    """The packets that these payloads are: IPv6 those at the places ``six``, the others IPv4."""
    packet, _, ip, end = payloads
    head = window.rows(ip, 20)
    headers = _ipv4(head)
    if len(six):
        _put_ipv6(headers, head.take(six, axis=0), six)
    size, total, protocol, wrong, later = headers
    transport = ip + size
    short = transport > end
    last = np.minimum(end, ip + total)
    if not total.all():
        # A length of 0 is what a card leaves there that cuts large segments itself.
        last = np.where(total == 0, end, last)
    datagrams = Datagrams(packet, ip, protocol, transport, last)
    if len(six):
        _pass_extensions(window, datagrams, six, short, wrong, later)
    return _sound(datagrams, short, wrong, later, counts)


# The size of an IPv4 header, by its first byte; 20 where that is wrong (RFC 791, 3.1).
_IPV4_SIZE = np.maximum(np.arange(256) % 16 * 4, 20)
_NO_IPV4 = (np.arange(256) >> 4 != 4) | (np.arange(256) % 16 < 5)


def _ipv4(head: NDArray[np.uint8]) -> _Headers:
    """What IPv4 headers say, of which these are the first 20 bytes."""
    first = head[:, 0]
    size, total = _IPV4_SIZE.take(first), word(head, 2).astype(np.intp)
    wrong = _NO_IPV4.take(first) | ((total < size) & (total != 0))
    return _Headers(size, total, head[:, 9].copy(), wrong, word(head, 6) & 0x1FFF != 0)


def _put_ipv6(headers: _Headers, head: NDArray[np.uint8], at: Positions) -> None:
    """Puts what IPv6 headers that begin with these bytes say at these places (RFC 8200, 3)."""
    size, total, protocol, wrong, later = headers
    payload = word(head, 4).astype(np.intp)
    size[at] = 40
    total[at] = np.where(payload == 0, 0, 40 + payload)
    protocol[at] = head[:, 6]
    wrong[at] = head[:, 0] >> 4 != 6
    later[at] = False


def _pass_extensions(
    window: Window, datagrams: Datagrams, six: Positions, short: Mask, wrong: Mask, later: Mask
) -> None:
    """Moves ``transport`` behind the extension headers of the IPv6 packets at the places ``six``.

    Everything is changed in place.
    """
    _, _, protocol, at, end = datagrams
    some = chain = six[_EXTENSIONS[protocol[six]]]
    for _ in range(_MAX_EXTENSIONS):
        chain = chain[~(short | wrong | later)[chain]]
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
        chain = chain[_EXTENSIONS[protocol[chain]]]
    short[some] |= at[some] > end[some]
    wrong[some] |= _EXTENSIONS[protocol[some]]


def _sound(datagrams: Datagrams, short: Mask, wrong: Mask, later: Mask, counts: Counter[str]) -> Datagrams:
    """Those with nothing against them; the others are counted, each once."""
    bad = short | wrong
    out = bad | later
    if not out.any():
        return datagrams
    counts["truncated"] += np.count_nonzero(short)
    counts["malformed"] += np.count_nonzero(bad & ~short)
    counts["fragments"] += np.count_nonzero(out & ~bad)
    return datagrams.where(np.flatnonzero(~out))
