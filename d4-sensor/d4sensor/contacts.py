"""Who contacts whom, as columns of numbers: for judges that look at many packets at once.

An address is a number of 64 bits: an IPv4 address itself, an IPv6 address a hash of it; the two uppermost
bits say whether it is IPv6, and whether it is local. Keys are sums of such numbers times odd ones that are
drawn at the start, so nobody can choose packets whose keys collide.
"""

from __future__ import annotations

import secrets
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from d4sensor.headers import Mask, Positions, word
from d4sensor.sieve import DNS_PORT, Traffic

Keys = NDArray[np.uint64]

_SIX, _LOCAL = np.uint64(1 << 63), np.uint64(1 << 62)
_ODD = [np.uint64(secrets.randbits(64) | 1) for _ in range(6)]


class Contacts(NamedTuple):
    """Packets of TCP or UDP, in the order of their batch; all columns have the same length.

    ``at`` are their places in the traffic, ``sec`` the times in seconds.
    """

    at: Positions
    sec: NDArray[np.uint32]
    src: Keys
    dst: Keys
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]

    def where(self, chosen: Mask) -> Contacts:
        """Those that are chosen."""
        at, sec, src, dst, src_port, dst_port = self
        return Contacts(at[chosen], sec[chosen], src[chosen], dst[chosen], src_port[chosen], dst_port[chosen])

    def pair(self) -> Keys:
        """A key of source and destination."""
        return self.src * _ODD[0] + self.dst * _ODD[1]

    def either_way(self) -> Keys:
        """A key of both addresses and both ports, the same in both directions."""
        one = self.src * _ODD[3] + self.src_port * _ODD[4]
        other = self.dst * _ODD[3] + self.dst_port * _ODD[4]
        mixed: Keys = (one ^ one >> np.uint64(29)) * _ODD[5] + (other ^ other >> np.uint64(29)) * _ODD[5]
        return mixed

    def from_port(self) -> Keys:
        """A key of source and destination port."""
        return self.src * _ODD[0] + self.dst_port * _ODD[2]

    def service(self) -> Keys:
        """A key of source, destination and destination port."""
        return self.pair() + self.dst_port * _ODD[2]

    def is_six(self) -> Mask:
        """Which are IPv6."""
        six: Mask = self.src >= _SIX
        return six

    @property
    def local_src(self) -> Mask:
        """Of which the source is an address that no one on the Internet has, or has alone."""
        local: Mask = self.src & _LOCAL != 0
        return local

    @property
    def local_dst(self) -> Mask:
        """The same of the destination."""
        local: Mask = self.dst & _LOCAL != 0
        return local


def of(traffic: Traffic, at: Positions) -> Contacts:
    """The contacts of the packets at these places, which must be TCP or UDP."""
    if not len(at):
        return _NONE
    addresses = _four(traffic.pair.take(at, axis=0))
    six = np.flatnonzero(traffic.six.take(at))
    if len(six):
        addresses[six] = _six(traffic.six_pair(at[six]))
    src, dst = addresses.T
    head = traffic.head.take(at, axis=0)
    src_port, dst_port = word(head, 0).astype(np.uint16), word(head, 2).astype(np.uint16)
    sec = traffic.meta[:, 0].take(traffic.datagrams.packet.take(at))
    return Contacts(at, sec, src, dst, src_port, dst_port)


def _four(pair: NDArray[np.uint32]) -> Keys:
    """IPv4 addresses, two columns, as those numbers."""
    numbers: Keys = pair | _LOCAL4.take(pair >> np.uint32(16)) * _LOCAL
    return numbers


def _six(pair: NDArray[np.uint64]) -> Keys:
    """IPv6 addresses, four columns of their halves, as those numbers."""
    upper, lower = pair[:, ::2], pair[:, 1::2]
    mixed = (upper * _ODD[2] + lower * _ODD[5]) & ~_LOCAL
    numbers: Keys = mixed | _LOCAL6[upper >> np.uint64(48)] * _LOCAL | _SIX
    return numbers


_NONE = Contacts(
    np.zeros(0, np.intp),
    np.zeros(0, np.uint32),
    np.zeros(0, np.uint64),
    np.zeros(0, np.uint64),
    np.zeros(0, np.uint16),
    np.zeros(0, np.uint16),
)


class Openings:
    """Who begins to talk to whom; worked out once for a batch, for all judges that ask."""

    def __init__(self) -> None:
        self._flows = Recent(SILENCE, lasting=True)
        self._meta: NDArray[np.uint32] | None = None  # of which batch; to hold more would hold its bytes
        self._found: tuple[Contacts, Contacts]

    def of(self, traffic: Traffic) -> tuple[Contacts, Contacts]:
        """The connections being opened, and the first datagrams of flows of UDP other than DNS.

        The first datagram is one behind silence in both directions: who sent it asks, the other answers.
        """
        if traffic.meta is not self._meta:
            connections = of(traffic, np.flatnonzero(traffic.tcp & (traffic.flags & 0x3F == _SYN)))
            self._meta, self._found = traffic.meta, (connections, self._datagrams(traffic))
        return self._found

    def _datagrams(self, traffic: Traffic) -> Contacts:
        sent = of(traffic, np.flatnonzero(traffic.udp & ~traffic.query & ~traffic.answer))
        if not len(sent.at):
            return sent
        sent = sent.where((sent.src_port != DNS_PORT) & (sent.dst_port != DNS_PORT))
        flows = sent.either_way()
        return sent.where(self._flows.fresh(flows, sent.sec) & ~repeated(flows))


SILENCE = 30
"""Seconds after which a flow of UDP is a new one."""

_SYN = 0x02
"""A SYN alone, whatever the two bits of ECN above the six flags say (RFC 9293, 3.1; RFC 3168)."""


class Recent:
    """Which keys were seen a moment ago, in a table of fixed size; one may be forgotten early, not added."""

    def __init__(self, seconds: int, slots: int = 1 << 16, lasting: bool = False) -> None:
        """``slots`` is a power of two; each takes 12 bytes.

        ``lasting`` counts the seconds from when a key was seen last, not from when it was noted.
        """
        self._seconds = np.uint32(seconds)
        self._lasting = lasting
        self._key = np.zeros(slots, dtype=np.uint64)
        self._sec = np.zeros(slots, dtype=np.uint32)

    def fresh(self, keys: Keys, sec: NDArray[np.uint32]) -> Mask:
        """Which were not seen within the last seconds, before this batch; those are noted."""
        slot = slots_of(keys, len(self._key))
        fresh: Mask = (self._key[slot] != keys) | (sec - self._sec[slot] >= self._seconds)
        if not self._lasting:
            slot, keys, sec = slot[fresh], keys[fresh], sec[fresh]
        self._key[slot], self._sec[slot] = keys, sec
        return fresh


def slots_of(keys: Keys, slots: int) -> Positions:
    """The place of each key in a table of so many slots, a power of two."""
    return ((keys ^ keys >> np.uint64(32)) & np.uint64(slots - 1)).astype(np.intp)


def repeated(keys: Keys) -> Mask:
    """Which keys occur further to the front too."""
    repeated = np.ones(len(keys), dtype=bool)
    repeated[np.unique(keys, return_index=True)[1]] = False
    return repeated


# By the first two bytes: 0/8, 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12, 192.168/16, and what is from
# 224.0.0.0 on; ::/16, fc00::/7, fe80::/10 and multicast (RFC 6890).
_LOCAL4 = np.zeros(1 << 16, dtype=bool)
for _first, _last in (
    (0x0000, 0x00FF),
    (0x0A00, 0x0AFF),
    (0x6440, 0x647F),
    (0x7F00, 0x7FFF),
    (0xA9FE, 0xA9FE),
    (0xAC10, 0xAC1F),
    (0xC0A8, 0xC0A8),
    (0xE000, 0xFFFF),
):
    _LOCAL4[_first : _last + 1] = True

_LOCAL6 = np.zeros(1 << 16, dtype=bool)
_LOCAL6[0] = True
_LOCAL6[0xFC00:] = True
