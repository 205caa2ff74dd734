"""From packets to events: the sieve, the judges, what nobody wants to see, and the throttle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from d4common.event import Event
from d4sensor.capture import Batch
from d4sensor.contacts import Openings
from d4sensor.heads import Heads
from d4sensor.ignore import Ignore
from d4sensor.judges import Finding, Judge
from d4sensor.judges.address import AddressJudge, Connections
from d4sensor.judges.beacon import BeaconJudge
from d4sensor.judges.dns import DnsJudge
from d4sensor.judges.dns_exhaustion import DnsExhaustion
from d4sensor.judges.dns_nxdomain import NoSuchDomain
from d4sensor.judges.http import HttpJudge
from d4sensor.judges.http_responses import HttpResponseJudge
from d4sensor.judges.quic import QuicJudge
from d4sensor.judges.scan import ScanJudge
from d4sensor.judges.tls import TlsJudge
from d4sensor.sieve import sieve
from d4sensor.throttle import BURST, Throttle
from d4sensor.trails import Trails


class Engine:
    """Says which events the packets of a batch are, by the trails that it was given.

    ``counts`` has what was seen and what was passed over: ``packets``, ``not_ip``, ``truncated``,
    ``malformed``, ``fragments``, ``nested``, ``dns_queries``, ``dns_malformed``, ``http_requests``,
    ``http_responses``, ``http_malformed``, ``h2c``, ``tls_hellos``, ``tls_certificates``, ``tls_malformed``,
    ``heads_given_up``, ``quic_hellos``, ``quic_opaque``, ``events``, and what became of other sightings:
    ``ignored``, ``repeats`` of the same trail in the same flow and second, ``summed_up``. ``disabled`` names
    heuristics that are not to be used.
    """

    def __init__(
        self,
        trails: Trails,
        sensor: str,
        disabled: frozenset[str] = frozenset(),
        ignore: Ignore | None = None,
        check_missing_host: bool = False,
        burst: int = BURST,
    ) -> None:
        self.sensor = sensor
        self.counts: Counter[str] = Counter()
        self.ignore = ignore or Ignore()
        self._disabled = disabled
        self._check_missing_host = check_missing_host
        self._throttle = Throttle(self.counts, burst)
        self._connections = Connections()
        self._heads = Heads()
        self._exhaustion = DnsExhaustion(disabled)
        self._no_such_domain = NoSuchDomain(disabled)
        openings = Openings()
        self._heuristics: list[Judge] = [ScanJudge(openings, self._is_whitelisted, disabled)]
        if "beaconing" not in disabled:
            self._heuristics.append(BeaconJudge(openings))
        self.trails = trails

    @property
    def trails(self) -> Trails:
        """What packets are judged by, from now on where it is set."""
        return self._trails

    @trails.setter
    def trails(self, trails: Trails) -> None:
        self._trails = trails
        self._judges: list[Judge] = [
            AddressJudge(trails, self._connections),
            DnsJudge(trails, self._exhaustion, self._no_such_domain, self._disabled),
            HttpJudge(trails, trails.user_agents, self._disabled, self._check_missing_host),
            HttpResponseJudge(self._disabled),
            TlsJudge(trails, self._disabled),
            QuicJudge(trails, self._disabled),
            *self._heuristics,
        ]

    def judge(self, batch: Batch) -> list[Event]:
        """The events of a batch, in the order of its packets, and the summaries that are due by its time.

        Nothing that a packet holds raises anything.
        """
        events: list[Event] = []
        for _, _, event in self.find(batch):
            events += self._throttle.admit(event)
        if len(batch.meta):
            events += self._throttle.due(int(batch.meta[-1, 0]))
        self.counts["events"] += len(events)
        return events

    def find(self, batch: Batch) -> Iterator[tuple[Judge, Finding, Event]]:
        """All that a batch shows but for what is to be ignored, in the order of packets, and who found it."""
        traffic = self._heads.add(sieve(batch, self.counts), self.counts)
        found = [(each, finding) for each in self._judges for finding in each.judge(traffic, self.counts)]
        found.sort(key=lambda each: each[1].packet)
        for judge, finding in found:
            event = self._event(batch, finding)
            if self.ignore.ignores(event):
                self.counts["ignored"] += 1
            else:
                yield judge, finding, event

    def due(self, now: int) -> list[Event]:
        """The summaries that are due at ``now``, in seconds since the epoch, though no packet came."""
        return self._counted(self._throttle.due(now))

    def finish(self) -> list[Event]:
        """What was held back until now, at the end of a capture or before a stop."""
        return self._counted(self._throttle.flush())

    def _counted(self, events: Iterator[Event]) -> list[Event]:
        told = list(events)
        self.counts["events"] += len(told)
        return told

    def _is_whitelisted(self, address: str) -> bool:
        return self._trails.whitelisted(address)

    def _event(self, batch: Batch, finding: Finding) -> Event:
        packet, flow, verdict = finding
        sec, usec = batch.meta[packet, :2].tolist()
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
