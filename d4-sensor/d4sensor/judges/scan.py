"""Scans: one host that tries many ports of another, many hosts at one port, or many places of a web server.

The windows slide, by the time of the packets. Each rule picks its packets from the columns, and counts for
a key, such as source and destination, the different items that it was seen with, such as ports.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np

from d4sensor import contacts, heuristics
from d4sensor import flow as flows
from d4sensor.contacts import Contacts, Openings
from d4sensor.flow import Flow
from d4sensor.headers import Positions
from d4sensor.judges import Finding, Verdict
from d4sensor.sieve import Traffic
from d4sensor.spread import Bound, Spread

INFECTED_PORTS = (135, 139, 445, 1433, 3389, 6379, 6892, 6893, 6901)
"""Ports of services through which worms spread."""

Told = Callable[[Flow], Verdict]

FAST = Bound(30, 10)
INFECTION = Bound(30, 32)
SLOW = Bound(3600, 60)
"""One new port a minute, for an hour."""


class ScanJudge:
    """Judges whom a host contacts, over many packets; what it has seen outlives a reload of trails."""

    def __init__(
        self, openings: Openings, whitelisted: Callable[[str], bool], disabled: frozenset[str]
    ) -> None:
        """``whitelisted`` says of which address no scan is told; ``disabled`` holds names of heuristics."""
        self._openings = openings
        self._whitelisted = whitelisted
        self._disabled = disabled
        slow = () if "slow_scanning" in disabled else (SLOW,)
        self._ports = Spread(FAST, *slow)
        self._udp_ports = Spread(FAST, *slow)
        self._hosts = Spread(INFECTION)
        self._places = Spread(FAST)

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings of a batch."""
        connections, datagrams = self._openings.of(traffic)
        if "port_scanning" not in self._disabled:
            probes = _with_stealthy(traffic, connections)
            yield from self._port_scans(traffic, self._ports, probes, "potential port scanning")
        if "udp_scanning" not in self._disabled:
            yield from self._port_scans(traffic, self._udp_ports, datagrams, "potential udp scanning")
        if "infection" not in self._disabled:
            yield from self._infections(traffic, connections)
        if "web_scanning" not in self._disabled:
            yield from self._web_scans(traffic)

    def _port_scans(self, traffic: Traffic, ports: Spread, probes: Contacts, info: str) -> Iterator[Finding]:
        """What tries many ports of a host."""
        if len(probes.at):
            scans = ports.over(probes.pair(), probes.dst_port.astype(np.uint64), probes.sec)
            yield from self._findings(traffic, probes.at, scans, partial(_source, info))

    def _infections(self, traffic: Traffic, opened: Contacts) -> Iterator[Finding]:
        """What tries one of the ports of worms at many hosts, from an address of this network.

        Of IPv4 addresses those that are private; of IPv6 addresses nobody can tell.
        """
        opened = opened.where(_INFECTED.take(opened.dst_port) & (opened.local_src | opened.is_six()))
        if not len(opened.at):
            return
        scans = self._hosts.over(opened.from_port(), opened.dst, opened.sec)
        yield from self._findings(traffic, opened.at, scans, _port)

    def _web_scans(self, traffic: Traffic) -> Iterator[Finding]:
        """What asks a web server, not of the same network, for many places."""
        if not traffic.requests:
            return
        asked = contacts.of(traffic, np.array([request.row for request in traffic.requests], dtype=np.intp))
        places = np.array([hash(_place(request.data)) for request in traffic.requests], dtype=np.int64)
        away = ~(asked.local_src & asked.local_dst)
        asked, places = asked.where(away), places[away]
        scans = self._places.over(asked.pair(), places.view(np.uint64), asked.sec)
        yield from self._findings(traffic, asked.at, scans, _paths)

    def _findings(
        self, traffic: Traffic, at: Positions, scans: Iterable[int], told: Told
    ) -> Iterator[Finding]:
        """What is told of the scans, given by their places in ``at``, unless the source may scan."""
        for scan in scans:
            packet, ip, protocol, transport, _ = (column[at[scan]].item() for column in traffic.datagrams)
            flow = flows.read(traffic.data, ip, protocol, transport)
            if not self._whitelisted(flow.src_ip):
                yield Finding(packet, flow, told(flow))


def _source(info: str, flow: Flow) -> Verdict:
    return Verdict("IP", flow.src_ip, heuristics.trail(info))


def _port(flow: Flow) -> Verdict:
    return Verdict("PORT", str(flow.dst_port), heuristics.trail("potential infection"))


def _paths(flow: Flow) -> Verdict:
    return Verdict("PATH", "*", heuristics.trail("potential web scanning"))


_INFECTED = np.zeros(1 << 16, dtype=bool)
_INFECTED[list(INFECTED_PORTS)] = True


def _with_stealthy(traffic: Traffic, connections: Contacts) -> Contacts:
    """Connections being opened, and segments with flags that none has, and that get past some filters.

    Of the six flags that are not ECN's (RFC 9293, 3.1): none, FIN, and FIN with PSH and URG.
    """
    flags = traffic.flags & 0x3F
    stealthy = np.flatnonzero(traffic.tcp & ((flags <= 0x01) | (flags == 0x29)))
    if not len(stealthy):
        return connections
    return contacts.of(traffic, np.union1d(connections.at, stealthy))


def _place(request: bytes) -> bytes:
    """The first segment of the path that is asked for; a proxy is asked for none."""
    found = _PLACE.match(request, 0, _LINE)
    return found[1] if found else b""


_PLACE = re.compile(rb"[^ ]* /([^/? ]*)")

_LINE = 512
"""Bytes at the beginning of a request in which the first segment of its path must be."""
