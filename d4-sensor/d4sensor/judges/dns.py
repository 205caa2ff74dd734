"""DNS: what queries ask for, listed name servers that they are sent to, and what is answered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from d4sensor import dns
from d4sensor import flow as flows
from d4sensor.dns import PTR, DnsError, Question
from d4sensor.flow import Flow
from d4sensor.judges import Finding, Verdict, address, dns_messages, dns_patterns, dns_questions
from d4sensor.judges.dns_answers import AnswerJudge
from d4sensor.judges.dns_exhaustion import DnsExhaustion
from d4sensor.judges.dns_messages import Messages
from d4sensor.judges.dns_names import is_judged, of
from d4sensor.judges.dns_nxdomain import NoSuchDomain
from d4sensor.sieve import Traffic
from d4sensor.trails import Trails

CACHE = 50_000
"""Questions, besides those of one batch, whose verdict is remembered; names repeat more than they change."""


class DnsJudge:
    """Judges DNS messages, over UDP and TCP, and remembers its verdicts on questions."""

    def __init__(
        self,
        trails: Trails,
        exhaustion: DnsExhaustion,
        no_such_domain: NoSuchDomain,
        disabled: frozenset[str] = frozenset(),
    ) -> None:
        """``disabled`` holds names of heuristics."""
        self._trails = trails
        self._exhaustion = exhaustion
        self._disabled = disabled
        self._answers = AnswerJudge(trails, no_such_domain, disabled)
        self._known: dict[bytes, Verdict | None] = {}

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among DNS messages; queries are counted in ``dns_queries``.

        Those whose question is none are counted in ``dns_malformed``.
        """
        queries, answers = dns_messages.find(traffic)
        counts["dns_queries"] += len(queries.place)
        yield from self._queries(traffic, queries, counts)
        yield from self._answers.judge(traffic, answers, counts)

    def _queries(self, traffic: Traffic, queries: Messages, counts: Counter[str]) -> Iterator[Finding]:
        data, place = traffic.data, queries.place
        datagrams = traffic.datagrams.where(place)
        seconds = traffic.meta[datagrams.packet, 0].tolist()
        packet, ip, protocol, transport, _ = (column.tolist() for column in datagrams)
        # Elsewhere than on UDP port 53 a listed server is the business of another judge.
        may_be_listed = traffic.query[place] & traffic.listed(place, self._trails.addresses)
        found = dns_questions.find(traffic.window, queries)
        questions = [data[a:b] for a, b in zip(found.start.tolist(), found.end.tolist(), strict=True)]
        new = self._learn(dict(zip(questions, found.labels.tolist(), strict=True)))
        known, exhausted = self._known, self._exhaustion.of
        for n, (question, listed) in enumerate(zip(questions, may_be_listed.tolist(), strict=True)):
            if question:
                verdict = known[question]
                if question in new:
                    verdict = exhausted(new.pop(question), seconds[n], self._trails) or verdict
                if verdict is None and not listed:
                    continue
                verdicts = [verdict] if verdict else []
            else:
                verdicts = self._read(data[queries.start[n] : queries.end[n]], seconds[n], counts)
            flow = flows.read(data, ip[n], protocol[n], transport[n])
            if listed:
                server = _server(flow, data[queries.start[n] : queries.end[n]], self._trails)
                if server:
                    yield Finding(packet[n], flow, server)
            for verdict in verdicts:
                yield Finding(packet[n], flow, verdict)

    def _learn(self, questions: dict[bytes, int]) -> dict[bytes, str]:
        """Learns the trails' verdicts on questions, given how many labels each has.

        The names of those that were not known, and that a trail could hold.
        """
        known = self._known
        if len(known) >= CACHE:
            known.clear()
        names = {
            question: name
            for question, labels in questions.items()
            if question not in known and (name := dns_questions.name(question, labels)) and is_judged(name)
        }
        patterns = dns_patterns.possible(names.values(), self._trails)
        for question in questions:
            known.setdefault(question, None)
        for question, name in names.items():
            known[question] = of(name, self._trails, self._disabled, patterns)
        return names

    def _read(self, message: bytes, second: int, counts: Counter[str]) -> list[Verdict]:
        """The verdicts on a message whose questions are not one and plain."""
        try:
            names = filter(None, map(_judged, dns.questions(message)))
        except DnsError:
            counts["dns_malformed"] += 1
            return []
        trails = self._trails
        verdicts = (
            self._exhaustion.of(name, second, trails) or of(name, trails, self._disabled) for name in names
        )
        return [verdict for verdict in verdicts if verdict]


def _judged(asked: Question) -> str:
    """The name that a question asks about; empty where no trail could hold it."""
    judged = asked.type != PTR and asked.of_internet and is_judged(asked.name)
    return asked.name if judged else ""


def _server(flow: Flow, message: bytes, trails: Trails) -> Verdict | None:
    """The verdict on the addresses of a query; on a listed server it says what was asked of it."""
    server = address.by_destination(flow, trails)
    try:
        name = next(filter(None, map(_judged, dns.questions(message))), "")
    except DnsError:
        name = ""
    if not (server and name):
        return address.of(flow, trails)
    key = flow.dst_ip if server.type == "IPORT" else server.text
    return server._replace(text=f"{key} ({name})")
