"""Beacons: a host that contacts one service on the Internet again and again, as regularly as a clock.

A contact is a SYN or the first datagram of a UDP flow, from another source port than the one before: what
keeps a connection alive is none. Ports of services that are asked by the clock anyway are left out.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator

import numpy as np

from d4sensor import flow as flows
from d4sensor import heuristics
from d4sensor.contacts import Contacts, Openings, Recent, repeated
from d4sensor.judges import Finding, Verdict
from d4sensor.sieve import Traffic

INTERVALS = 10
"""Intervals in a row that must be alike."""

JITTER = 0.05
"""By how much of the shortest of its intervals the longest may be longer."""

SHORTEST = 10.0
"""Seconds of an interval, at least. Contacts that follow faster end a series, but for a second's burst."""

BURST = 1.0

QUIET = 86_400
"""Seconds until the same beacon is told of again."""

MAX_SERIES = 20_000
"""Series of contacts that are followed; the one without a contact for longest goes first."""

CLOCKED_PORTS = (53, 67, 68, 123, 547, 853, 1900, 3478, 5351, 5353, 5355)
"""DNS, DHCP, NTP, SSDP, STUN, NAT-PMP, mDNS and LLMNR."""


class BeaconJudge:
    """Judges when hosts contact services; what it has seen outlives a reload of trails."""

    def __init__(self, openings: Openings) -> None:
        self._openings = openings
        self._met = Recent(FOREVER, 1 << 18)
        self._series: OrderedDict[int, _Series] = OrderedDict()

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings of a batch."""
        for opened in self._openings.of(traffic):
            made = self._again(opened)
            if len(made.at):
                yield from self._judge(traffic, made)

    def _judge(self, traffic: Traffic, made: Contacts) -> Iterator[Finding]:
        packets = traffic.datagrams.packet[made.at]
        times = traffic.meta[packets, 0] + traffic.meta[packets, 1] / 1e6
        columns = made.service().tolist(), made.src_port.tolist(), times.tolist()
        for n, (key, port, when) in enumerate(zip(*columns, strict=True)):
            if self._is_beacon(key, port, when):
                _, ip, protocol, transport, _ = (column[made.at[n]].item() for column in traffic.datagrams)
                flow = flows.read(traffic.data, ip, protocol, transport)
                yield Finding(packets[n].item(), flow, Verdict("IPORT", flow.dst, _BEACON))

    def _again(self, opened: Contacts) -> Contacts:
        """The contacts with services on the Internet that a host had before; most it has once."""
        # A source on the Internet is somebody who watches over one of our services.
        ours = (opened.local_src | opened.is_six()) & ~opened.local_dst & _CLOCKLESS.take(opened.dst_port)
        opened = opened.where(ours)
        if not len(opened.at):
            return opened
        services = opened.service()
        return opened.where(~self._met.fresh(services, opened.sec) | repeated(services))

    def _is_beacon(self, key: int, port: int, when: float) -> bool:
        """Whether a contact, from a port and at a time in seconds, makes a series a beacon."""
        series = self._series.get(key)
        if series:
            self._series.move_to_end(key)
            return series.goes_on(port, when)
        if len(self._series) >= MAX_SERIES:
            self._series.popitem(last=False)
        self._series[key] = _Series(port, when)
        return False


FOREVER = 1 << 31

_BEACON = heuristics.trail("potential periodic beaconing (suspicious)")

_CLOCKLESS = np.ones(1 << 16, dtype=bool)
_CLOCKLESS[list(CLOCKED_PORTS)] = False


class _Series:
    """Contacts in a row whose intervals are alike; times are in seconds."""

    __slots__ = ("_intervals", "_last", "_longest", "_port", "_shortest", "_told")

    def __init__(self, port: int, when: float) -> None:
        self._port, self._last = port, when
        self._intervals, self._shortest, self._longest = 0, 0.0, 0.0
        self._told = -float(QUIET)

    def goes_on(self, port: int, when: float) -> bool:
        """Whether one more contact makes this a beacon that is to be told of."""
        interval = when - self._last
        if port == self._port or 0 <= interval < BURST:
            return False
        self._port, self._last = port, when
        shortest, longest = min(self._shortest, interval), max(self._longest, interval)
        if interval < SHORTEST:
            self._intervals = 0
        elif self._intervals and longest <= shortest * (1 + JITTER):
            self._intervals, self._shortest, self._longest = self._intervals + 1, shortest, longest
        else:
            self._intervals, self._shortest, self._longest = 1, interval, interval
        if self._intervals < INTERVALS or when - self._told < QUIET:
            return False
        self._told = when
        return True
