"""From packets to events: the sieve, the judges, and no event twice in one second."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter

from d4common.event import Event
from d4sensor.capture import Batch
from d4sensor.flow import Flow
from d4sensor.judges import Finding, Judge
from d4sensor.judges.address import AddressJudge
from d4sensor.judges.dns import DnsJudge
from d4sensor.judges.http import HttpJudge
from d4sensor.sieve import sieve
from d4sensor.trails import Trails

MAX_SEEN = 100_000
"""Sightings of one second that are remembered, so as not to be reported again."""


class Engine:
    """Says which events the packets of a batch are, by the trails that it was given.

    ``counts`` has what was seen and what was passed over: ``packets``, ``not_ip``, ``truncated``,
    ``malformed``, ``fragments``, ``dns_queries``, ``dns_malformed``, ``http_requests``, ``http_malformed``,
    ``events``, and ``repeats``, which are sightings of the same trail in the same flow and second.
    """

    def __init__(self, trails: Trails, sensor: str) -> None:
        self.sensor = sensor
        self.counts: Counter[str] = Counter()
        self._second = 0
        self._seen: set[tuple[Flow, str]] = set()
        self.trails = trails

    @property
    def trails(self) -> Trails:
        """What packets are judged by, from now on where it is set."""
        return self._trails

    @trails.setter
    def trails(self, trails: Trails) -> None:
        self._trails = trails
        self._judges: list[Judge] = [AddressJudge(trails), DnsJudge(trails), HttpJudge(trails)]

    def judge(self, batch: Batch) -> list[Event]:
        """The events of a batch, in the order of its packets.

        Raises CaptureError for a link type that d4-sensor does not read; nothing that a packet holds
        raises anything.
        """
        traffic = sieve(batch, self.counts)
        findings = [finding for each in self._judges for finding in each.judge(traffic, self.counts)]
        findings.sort(key=attrgetter("packet"))
        return [event for finding in findings if (event := self._event(batch, finding))]

    def _event(self, batch: Batch, finding: Finding) -> Event | None:
        """The event of a finding; None where it is a repeat."""
        packet, flow, verdict = finding
        sec, usec = batch.meta[packet, :2].tolist()
        if sec != self._second or len(self._seen) >= MAX_SEEN:
            self._seen.clear()
            self._second = sec
        sighting = (flow, verdict.text)
        if sighting in self._seen:
            self.counts["repeats"] += 1
            return None
        self._seen.add(sighting)
        self.counts["events"] += 1
        return Event(
            sec,
            usec,
            self.sensor,
            flow.src_ip,
            str(flow.src_port or "-"),
            flow.dst_ip,
            str(flow.dst_port or "-"),
            flow.protocol_name,
            verdict.type,
            verdict.text,
            verdict.trail.info,
            verdict.trail.reference,
        )
