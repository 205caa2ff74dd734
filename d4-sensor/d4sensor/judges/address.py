"""Address trails: whatever begins, or goes on, between this network and a listed address."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterator

import numpy as np

from d4sensor import contacts
from d4sensor import flow as flows
from d4sensor.contacts import Recent
from d4sensor.flow import Flow
from d4sensor.headers import Mask, Positions
from d4sensor.judges import Finding, Verdict
from d4sensor.sieve import ICMP, ICMPV6, TCP, UDP, Traffic
from d4sensor.trails import Trails

LOOPBACK = ("127.0.0.1", "::1")

MAX_CONNECTIONS = 50_000
"""Connections with listed addresses that are remembered; the one that was silent for longest goes first."""

SILENCE = 3600
"""Seconds without a segment after which a connection is a new one."""


class Connections:
    """The connections that were judged. They outlive a reload of trails."""

    def __init__(self) -> None:
        self._last: OrderedDict[int, int] = OrderedDict()
        self._recent = Recent(1)

    def select(self, traffic: Traffic, at: Positions) -> tuple[Positions, list[int], list[int]]:
        """Those of the packets at these places whose connection was not seen a moment ago.

        With their places come the keys of their connections and their times in seconds.
        """
        segments = contacts.of(traffic, at)
        keys = segments.either_way()
        fresh = self._recent.fresh(keys, segments.sec)
        return at[fresh], keys[fresh].tolist(), segments.sec[fresh].tolist()

    def is_new(self, key: int, sec: int) -> bool:
        """Whether a connection is none that was judged; from now on it is one."""
        last = self._last.pop(key, None)
        if len(self._last) >= MAX_CONNECTIONS:
            self._last.popitem(last=False)
        self._last[key] = sec
        return last is None or abs(sec - last) > SILENCE


class AddressJudge:
    """Judges whatever begins a conversation with a listed address, and connections already under way."""

    def __init__(self, trails: Trails, connections: Connections) -> None:
        self._trails = trails
        self._connections = connections

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings of a batch."""
        at = np.flatnonzero(~traffic.query & ~traffic.answer)
        at = at[traffic.listed(at, self._trails.addresses)]
        if not len(at):
            return
        for packet, flow in _flows(traffic, at[beginnings(traffic)[at]]):
            verdict = of(flow, self._trails)
            if verdict:
                yield Finding(packet, flow, verdict)
        yield from self._under_way(traffic, at[traffic.tcp[at] & (traffic.flags[at] & _RST == 0)])

    def _under_way(self, traffic: Traffic, segments: Positions) -> Iterator[Finding]:
        """The findings among connections, each judged once: by its first segment that is seen."""
        at, keys, secs = self._connections.select(traffic, segments)
        flags = (traffic.flags[at] & 0x3F).tolist()
        for (packet, flow), key, sec, flag in zip(_flows(traffic, at), keys, secs, flags, strict=True):
            if not self._connections.is_new(key, sec) or flag == _SYN:
                continue
            verdict = under_way(flow, flag & _SYN != 0, self._trails)
            if verdict:
                yield Finding(packet, flow, verdict)


_SYN, _RST = 0x02, 0x04


def _flows(traffic: Traffic, at: Positions) -> Iterator[tuple[int, Flow]]:
    """The numbers of the packets at these places, each with its flow."""
    columns = (column.tolist() for column in traffic.datagrams.where(at))
    for packet, ip, protocol, transport, _ in zip(*columns, strict=True):
        yield packet, flows.read(traffic.data, ip, protocol, transport)


def beginnings(traffic: Traffic) -> Mask:
    """Which packets begin something, as far as anybody can tell.

    Connections being opened, whatever their ECN bits say; UDP but for DNS; echo requests; other protocols.
    """
    protocol, first = traffic.datagrams.protocol, traffic.head[:, 0]
    syn = traffic.tcp & (traffic.flags & 0x3F == _SYN)
    echo = ((protocol == ICMP) & (first == 8)) | ((protocol == ICMPV6) & (first == 128))
    udp = traffic.udp & ~traffic.query & ~traffic.answer
    begins: Mask = syn | udp | echo | _OTHER[protocol]
    return begins


_OTHER = np.ones(256, dtype=bool)
_OTHER[[ICMP, TCP, UDP, ICMPV6]] = False


def of(flow: Flow, trails: Trails) -> Verdict | None:
    """The verdict on a flow by its addresses and ports: on the destination if that is listed.

    An endpoint (address and port) goes before an address. Not reported is what says nothing against this
    network: that it opens connections to attackers, or to the other services of a parking site, and that
    malware's server opens one to it.
    """
    verdict = by_destination(flow, trails)
    if verdict:
        info = verdict.trail.info
        if flow.protocol != TCP:
            return verdict
        parked = "parking site" in info and flow.dst_port not in (80, 443)
        return None if parked or "attacker" in info else verdict
    if flow.protocol == TCP and flow.dst_ip in LOOPBACK:
        return None
    verdict = by_source(flow, trails)
    if verdict and flow.protocol in (TCP, UDP) and "malware" in verdict.trail.info:
        return None
    return verdict


def under_way(flow: Flow, answers: bool, trails: Trails) -> Verdict | None:
    """The verdict on a connection by a segment that does not open it, as if the opening one had been seen.

    Who opened it is said by a segment that ``answers`` (SYN and ACK); otherwise it is taken to be the side
    with the higher port, unless the other way an endpoint is listed.
    """
    back = Flow(flow.protocol, flow.dst_ip, flow.dst_port, flow.src_ip, flow.src_port)
    if answers or flow.src_port < flow.dst_port:
        opened, other = back, flow
    else:
        opened, other = flow, back
    verdict = of(opened, trails)
    if verdict or answers:
        return verdict
    verdict = of(other, trails)
    return verdict if verdict and verdict.type == "IPORT" else None


def by_destination(flow: Flow, trails: Trails) -> Verdict | None:
    """The verdict on where a flow goes, if it is listed."""
    return _listed(flow.dst_ip, flow.dst if flow.dst_port else "", trails)


def by_source(flow: Flow, trails: Trails) -> Verdict | None:
    """The verdict on where a flow comes from, if it is listed."""
    return _listed(flow.src_ip, flow.src if flow.src_port else "", trails)


def _listed(address: str, endpoint: str, trails: Trails) -> Verdict | None:
    trail = trails.get(endpoint)
    if trail:
        return Verdict("IPORT", endpoint, trail)
    listing = trails.listing(address)
    return Verdict("IP", *listing) if listing else None
