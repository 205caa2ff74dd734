"""DNS: what queries ask for, listed name servers that they are sent to, and what is answered.

Most names were asked for a moment ago, or are such as no trail holds: none of these becomes a Python object.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from d4sensor import dns
from d4sensor import flow as flows
from d4sensor.dns import PTR, DnsError, Question
from d4sensor.flow import Flow
from d4sensor.headers import Positions
from d4sensor.judges import Finding, Verdict, address, dns_messages, dns_questions, dns_rows, dns_suspects
from d4sensor.judges.dns_answers import AnswerJudge
from d4sensor.judges.dns_exhaustion import DnsExhaustion
from d4sensor.judges.dns_memory import Memory
from d4sensor.judges.dns_messages import Messages
from d4sensor.judges.dns_names import is_judged, of
from d4sensor.judges.dns_nxdomain import NoSuchDomain
from d4sensor.judges.dns_rows import Names, texts
from d4sensor.sieve import Traffic
from d4sensor.trails import Trails

CACHE = 50_000
"""Names, besides those of one batch, whose verdict is remembered where they had to be looked at."""

MESSAGES, MAX_MESSAGE = 10_000, 512
"""Messages whose names are remembered where they had to be read, and how many bytes these have at most."""


class DnsJudge:
    """Judges DNS messages, over UDP and TCP, and remembers its verdicts on names."""

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
        self._memory = Memory()
        self._known: dict[str, Verdict | None] = {}
        self._asked: dict[bytes, list[str]] = {}

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among DNS messages; queries are counted in ``dns_queries``.

        Those whose question is none are counted in ``dns_malformed``.
        """
        if len(self._known) >= CACHE:
            self._known.clear()
        queries, answers = dns_messages.find(traffic)
        counts["dns_queries"] += len(queries.place)
        yield from self._queries(traffic, queries, counts)
        yield from self._answers.judge(traffic, answers, counts)

    def _queries(self, traffic: Traffic, queries: Messages, counts: Counter[str]) -> Iterator[Finding]:
        data, place = traffic.data, queries.place
        # Elsewhere than on UDP port 53 a listed server is the business of another judge.
        listed = traffic.query[place] & traffic.listed(place, self._trails.addresses)
        seconds = traffic.meta[traffic.datagrams.packet[place], 0].astype(np.intp)
        unread, names = dns_questions.find(traffic.window, queries)
        asked = np.flatnonzero(names.labels > 1)
        shown = self._shown(names.where(asked), asked, seconds[asked])
        chosen = listed | unread
        chosen[list(shown)] = True
        few = np.flatnonzero(chosen)
        headers = zip(*(column.tolist() for column in traffic.datagrams.where(place[few])), strict=True)
        for n, (packet, ip, protocol, transport, _) in zip(few.tolist(), headers, strict=True):
            message = data[queries.start[n] : queries.end[n]]
            if unread[n]:
                verdicts = self._read(message, int(seconds[n]), counts)
            else:
                verdicts = [shown[n]] if n in shown else []
            if not (verdicts or listed[n]):
                continue
            flow = flows.read(data, ip, protocol, transport)
            server = _server(flow, message, self._trails) if listed[n] else None
            for verdict in filter(None, (server, *verdicts)):
                yield Finding(packet, flow, verdict)

    def _shown(self, names: Names, places: Positions, seconds: Positions) -> dict[int, Verdict]:
        """What names show that were asked for in these seconds, by their places among the queries."""
        keys = names.keys()
        new, suspect = self._memory.of(keys)
        fresh = np.flatnonzero(new)
        fresh = fresh[dns_rows.of_hosts(names.where(fresh))]
        hosts = names.where(fresh)
        suffixes = dns_rows.suffixes(hosts)
        suspect[fresh] = dns_suspects.find(hosts, suffixes, self._trails)
        few = np.flatnonzero(suspect)
        shown = {}
        for n, name in zip(few.tolist(), texts(names.rows[few]), strict=True):
            verdict = self._verdict(name)
            suspect[n] = verdict is not None
            if verdict:
                shown[int(places[n])] = verdict
        self._memory.note(keys[new], suspect[new])
        for n, verdict in self._exhaustion.among(hosts, suffixes, seconds[fresh], self._trails):
            shown[int(places[fresh[n]])] = verdict
        return shown

    def _verdict(self, name: str) -> Verdict | None:
        """The verdict on a name by the trails."""
        if name not in self._known:
            self._known[name] = of(name, self._trails, self._disabled) if is_judged(name) else None
        return self._known[name]

    def _read(self, message: bytes, second: int, counts: Counter[str]) -> list[Verdict]:
        """The verdicts on a message whose questions are not one, plain and short."""
        asked = message[_BEHIND_FLAGS:]
        if asked in self._asked:
            verdicts = [self._verdict(name) for name in self._asked[asked]]
        else:
            try:
                names = list(filter(None, map(_judged, dns.questions(message))))
            except DnsError:
                counts["dns_malformed"] += 1
                return []
            self._remember(asked, names)
            verdicts = [
                self._exhaustion.of(name, second, self._trails) or self._verdict(name) for name in names
            ]
        return [verdict for verdict in verdicts if verdict]

    def _remember(self, asked: bytes, names: list[str]) -> None:
        """Remembers what the names of a message are, by all that is behind its flags."""
        if len(self._asked) >= MESSAGES:
            self._asked.clear()
        if len(asked) <= MAX_MESSAGE:
            self._asked[asked] = names


# Where in a message its number and its flags end, which say nothing of what is asked.
_BEHIND_FLAGS = 4


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
