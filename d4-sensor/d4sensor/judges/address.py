"""Address trails: connections opened and datagrams sent to, or from, a listed address."""

from __future__ import annotations

from collections.abc import Iterator

from d4sensor import flow as flows
from d4sensor.flow import Flow
from d4sensor.judges import Finding, Verdict
from d4sensor.sieve import TCP, UDP, Candidates
from d4sensor.trails import Trails

LOOPBACK = ("127.0.0.1", "::1")


def judge(data: bytes, candidates: Candidates, trails: Trails) -> Iterator[Finding]:
    """The findings among datagrams whose addresses may be listed."""
    columns = (column.tolist() for column in candidates.datagrams)
    for packet, ip, protocol, transport, _ in zip(*columns, strict=True):
        flow = flows.read(data, ip, protocol, transport)
        verdict = of(flow, trails)
        if verdict:
            yield Finding(packet, flow, verdict)


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
