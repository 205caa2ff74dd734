"""Name trails: what DNS queries ask for, and listed name servers that they are sent to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import numpy as np

from d4sensor import dns
from d4sensor import flow as flows
from d4sensor.flow import Flow
from d4sensor.headers import Datagrams
from d4sensor.judges import Finding, Verdict, address
from d4sensor.sieve import Traffic
from d4sensor.trails import Trail, Trails

CACHE = 50_000
"""Questions whose verdict is remembered; names repeat far more often than they change."""


class DnsJudge:
    """Judges queries, and remembers its verdicts."""

    def __init__(self, trails: Trails) -> None:
        self._trails = trails
        self._known: dict[bytes, Verdict | None] = {}

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among DNS queries, which are counted in ``dns_queries``.

        Those whose question is none are counted in ``dns_malformed``.
        """
        queries = np.flatnonzero(traffic.query)
        counts["dns_queries"] += len(queries)
        listed = traffic.listed(queries, self._trails.addresses).tolist()
        yield from self._judge(traffic.data, traffic.datagrams.where(queries), listed, counts)

    def _judge(
        self, data: bytes, queries: Datagrams, may_be_listed: list[bool], counts: Counter[str]
    ) -> Iterator[Finding]:
        packet, ip, protocol, transport, end = (column.tolist() for column in queries)
        find, known = data.find, self._known
        for n, (start, stop, listed) in enumerate(zip(transport, end, may_be_listed, strict=True)):
            at = start + _QUESTION_AT
            # The first zero byte ends the name, and four more bytes the question. Without it: no bytes.
            question = data[at : find(b"\0", at, stop - 4) + 5]
            if question in known:
                verdict = known[question]
                if verdict is None and not listed:
                    continue
            else:
                verdict = self._learn(question, counts)
            flow = flows.read(data, ip[n], protocol[n], start)
            if listed:
                server = _server(flow, question, self._trails)
                if server:
                    yield Finding(packet[n], flow, server)
            if verdict:
                yield Finding(packet[n], flow, verdict)

    def _learn(self, section: bytes, counts: Counter[str]) -> Verdict | None:
        try:
            name = _name(section)
        except dns.DnsError:
            counts["dns_malformed"] += 1
            return None
        if len(self._known) >= CACHE:
            self._known.clear()
        verdict = self._known[section] = of(name, self._trails) if name else None
        return verdict


def of(name: str, trails: Trails) -> Verdict | None:
    """The verdict on a name: its own trail, or that of the nearest parent, down to the top-level domain."""
    if name.replace(".", "").isdigit():
        return None
    suffix = name
    while suffix:
        trail = trails.get(suffix)
        if trail and not _harmless(name, suffix, trail):
            prefix = name[: -len(suffix) - 1]
            return Verdict("DNS", f"({prefix}).{suffix}" if prefix else name, trail)
        suffix = suffix.partition(".")[2]
    return None


def is_judged(name: str) -> bool:
    """Whether a name is one that trails could hold: a host name of two labels or more, and not local."""
    return (
        _NAME.fullmatch(name) is not None
        and name.rpartition(".")[2] not in _LOCAL
        and ".intranet." not in name
    )


# UDP header and DNS header.
_QUESTION_AT = 8 + 12

_NAME = re.compile(r"[a-z0-9._-]*\.[a-z0-9-]+")
_LOCAL = frozenset(
    ("alienvault", "arpa", "corp", "example", "guest", "home", "internal", "intra", "intran", "intranet")
    + ("lan", "local", "localdomain", "localnet", "test", "url", "workgroup")
)
_NAME_SERVER = re.compile(r"(?:[rd]?ns|nf|mx|nic)\d*\.")


def _name(section: bytes) -> str:
    """The name that a question asks about; empty where no trail could hold it. Raises DnsError."""
    question = dns.question(section)
    judged = question.type != dns.PTR and question.class_ == dns.IN and is_judged(question.name)
    return question.name if judged else ""


def _harmless(name: str, suffix: str, trail: Trail) -> bool:
    """Whether a trail does not speak against this name below it.

    A name server or mail exchanger below a suspicious or sinkholed name is its registrar's; the front page
    of a provider of dynamic names or free sites is not what its customers put there.
    """
    if _NAME_SERVER.match(name) and ("suspicious" in trail.info or "sinkhole" in trail.info):
        return True
    front = name == suffix or name.startswith("www.")
    return front and ("dynamic" in trail.info or "free web" in trail.info)


def _server(flow: Flow, section: bytes, trails: Trails) -> Verdict | None:
    """The verdict on the addresses of a query; on a listed server it says what was asked of it."""
    server = address.by_destination(flow, trails)
    try:
        name = _name(section)
    except dns.DnsError:
        name = ""
    if not (server and name):
        return address.of(flow, trails)
    key = flow.dst_ip if server.type == "IPORT" else server.text
    return server._replace(text=f"{key} ({name})")
