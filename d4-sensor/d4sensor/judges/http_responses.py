"""What HTTP responses give away: sinkholes, seized domains, and types of content that only attackers send."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np

from d4sensor import flow as flows
from d4sensor import heuristics, http
from d4sensor.headers import Positions
from d4sensor.judges import Finding, Verdict
from d4sensor.sieve import Traffic

Rule = Callable[[http.Response], Verdict | None]

MAX_JUDGED = 2000
"""Bytes of a response that are looked at."""


class HttpResponseJudge:
    """Judges HTTP responses, on any port; ``disabled`` names the rules (RULES) that are not applied."""

    def __init__(self, disabled: frozenset[str] = frozenset()) -> None:
        self._rules = [rule for name, rule in RULES.items() if name not in disabled]

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among HTTP responses, which are counted in ``http_responses``.

        Those among them that could matter, but have no status line, are counted in ``http_malformed``.
        """
        chosen, data = responses(traffic), traffic.data
        counts["http_responses"] += len(chosen)
        starts = traffic.payload[chosen]
        ends = np.minimum(traffic.datagrams.end[chosen], starts + MAX_JUDGED)
        segments = [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        words = _words_in(segments)
        if not words:
            return
        headers = (column.tolist() for column in traffic.datagrams.where(chosen))
        for segment, (packet, ip, protocol, transport, _) in zip(
            segments, zip(*headers, strict=True), strict=True
        ):
            lower = segment.lower()
            if not any(word in lower for word in words):
                continue
            try:
                response = http.parse_response(segment)
            except http.HttpError:
                counts["http_malformed"] += 1
                continue
            for rule in self._rules:
                verdict = rule(response)
                if verdict:
                    yield Finding(packet, flows.read(data, ip, protocol, transport), verdict)


def responses(traffic: Traffic) -> Positions:
    """Which segments begin as an HTTP response does."""
    window, payload = traffic.window, traffic.payload
    some = traffic.segments
    some = some[window.u8(payload[some]) == ord("H")]
    some = some[payload[some] + _SHORTEST_RESPONSE <= traffic.datagrams.end[some]]
    first = window.rows(payload[some], 8).view(np.uint64)[:, 0]
    chosen: Positions = some[(first & _HTTP_MASK) == _HTTP]
    return chosen


def _words_in(segments: list[bytes]) -> list[bytes]:
    """Which of the words, one of which every rule needs, are in one of many segments at least.

    To look for a word in all of them at once takes half the time, and nearly always none is there.
    """
    together = b"\n".join(segments).lower()
    return [word for word in _WORDS if word in together]


def sinkhole(response: http.Response) -> Verdict | None:
    """Row "sinkhole response": a field or a sentence by which operators of sinkholes name themselves."""
    segment = response.segment.lower()
    if not any(word in segment for word in _SINKHOLE_WORDS):
        return None
    match = _SINKHOLE.search(response.segment)
    return _verdict(match[0].decode("latin-1").strip(), "sinkhole response (malware)") if match else None


def seized(response: http.Response) -> Verdict | None:
    """Row "seized domain": the title with which authorities replace a page."""
    title = _TITLE.search(response.body)
    if not (title and _SEIZED.search(title[1])):
        return None
    text = " ".join(title[1].decode("utf-8", errors="replace").split())
    return _verdict(text, "seized domain (suspicious)")


def content_type(response: http.Response) -> Verdict | None:
    """Row "content type": scripts and shortcuts for the system, not for the browser."""
    kind = http.field(response.fields, "content-type").partition(";")[0].rstrip().lower()
    return _verdict(kind, "content type (suspicious)") if kind in _CONTENT_TYPES else None


RULES: dict[str, Rule] = {
    "sinkhole_response": sinkhole,
    "seized_domain": seized,
    "content_type": content_type,
}
"""The rules, by the names under which they can be disabled."""

_SHORTEST_RESPONSE = len(b"HTTP/1.1 200\r\n")
_HTTP, _HTTP_MASK = np.frombuffer(b"HTTP/\0\0\0" + b"\xff" * 5 + bytes(3), dtype=np.uint64)

# In lower case; what a rule looks for has one of them.
_SINKHOLE_WORDS = (b"sink", b"zinkhole", b"snkz=", b"bots party")
_WORDS = (*_SINKHOLE_WORDS, b"seiz", b"/x-", b"/hta", b"/vnd.ms-htmlhelp")

# It is slow, so its words are looked for first.
_SINKHOLE = re.compile(
    rb"^x-[sz]inkholed?(?:-domain)?:"
    rb"|^server: ?(?:malware-?)?sinkhole"
    rb"|^server: ?apache [0-9.]{1,20}/sinksoft"
    rb"|^set-cookie: ?snkz="
    rb"|^location:[^\r\n]{0,200}\.sinkdns\.org\b"
    rb"|\bsinkhole(?: project)?</title>"
    rb"|\bsinkholed? by "
    rb"|\bthis is a sinkhole\b"
    rb"|\ba malware sinkhole\b"
    rb"|\bconnecting to this sinkhole\b"
    rb"|\bbots party hard\b",
    re.IGNORECASE | re.MULTILINE,
)
_TITLE = re.compile(rb"<title>([^<]{1,300})</title>", re.IGNORECASE)
_SEIZED = re.compile(rb"\bdomain (?:name )?(?:has been )?seized\b|\bdomain seizure\b", re.IGNORECASE)
_CONTENT_TYPES = frozenset(
    ("application/hta", "application/vnd.ms-htmlhelp", "application/x-bsh", "application/x-chm")
    + ("application/x-ms-shortcut", "application/x-ms-vsto", "application/x-sh")
    + ("application/x-shellscript", "text/x-scriptlet", "text/x-sh", "text/x-shellscript")
)


def _verdict(text: str, info: str) -> Verdict:
    return Verdict("HTTP", text, heuristics.trail(info))
