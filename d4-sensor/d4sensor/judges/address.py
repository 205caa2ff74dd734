"""Address trails: connections opened and datagrams sent to, or from, a listed address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from d4sensor import flow as flows
from d4sensor.flow import Flow
from d4sensor.headers import Positions
from d4sensor.judges import Finding, Verdict
from d4sensor.sieve import ICMP, ICMPV6, TCP, UDP, Traffic
from d4sensor.trails import Trails

LOOPBACK = ("127.0.0.1", "::1")


class AddressJudge:
    """Judges whatever begins a conversation with a listed address."""

    def __init__(self, trails: Trails) -> None:
        self._trails = trails

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings of a batch."""
        begun = beginnings(traffic)
        begun = begun[traffic.listed(begun, self._trails.addresses)]
        columns = (column.tolist() for column in traffic.datagrams.where(begun))
        for packet, ip, protocol, transport, _ in zip(*columns, strict=True):
            flow = flows.read(traffic.data, ip, protocol, transport)
            verdict = of(flow, self._trails)
            if verdict:
                yield Finding(packet, flow, verdict)


def beginnings(traffic: Traffic) -> Positions:
    """Which packets an address trail is about.

    Connections being opened, whatever their ECN bits say; UDP but for DNS; echo requests; other protocols.
    """
    protocol, first = traffic.datagrams.protocol, traffic.head[:, 0]
    syn = traffic.tcp & (traffic.flags & 0x3F == 0x02)
    echo = ((protocol == ICMP) & (first == 8)) | ((protocol == ICMPV6) & (first == 128))
    udp = traffic.udp & ~traffic.query & ~traffic.answer
    return np.flatnonzero(syn | udp | echo | _OTHER[protocol])


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
