"""HTTP requests: in which order the rules are applied to each, and URL trails, which are one of them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import unquote
from zlib import crc32

import numpy as np

from d4sensor import flow as flows
from d4sensor import http
from d4sensor.flow import Flow
from d4sensor.indicator import single_slashes, without_www
from d4sensor.judges import Finding, Verdict, dns_names, http_attacks, http_requests
from d4sensor.judges.http_requests import RULES, Asked, Rule
from d4sensor.judges.user_agents import UserAgents
from d4sensor.sieve import Traffic
from d4sensor.trails import Trails

MAX_TEXT = 1000
"""Characters of a trail's text in an event, which must fit into one datagram."""

CACHE = 10_000
"""Names of hosts of which it is remembered what trails say of them."""

NAMES = frozenset({"iot_download", "host_names", "proxy_probe", "user_agent", "forwarded_for", *RULES})
"""Rules that can be disabled. Those that trails are looked up by cannot, but for names of hosts."""


class HttpJudge:
    """Judges HTTP requests, on any port.

    ``user_agents`` are patterns (user_agents.py). ``disabled`` has names of rules (NAMES) that are not
    applied. With ``check_missing_host`` a request without a Host field is told.
    """

    def __init__(
        self,
        trails: Trails,
        user_agents: Iterable[str] = (),
        disabled: frozenset[str] = frozenset(),
        check_missing_host: bool = False,
    ) -> None:
        self._trails = trails
        self._disabled = disabled
        self._agents = UserAgents(user_agents)
        self._names: dict[str, Verdict | None] = {}
        # Rows 2 to 7, each with its name and whether it stops; rows 10 to 13, all of which stop.
        first: list[tuple[str, Rule, bool]] = [
            ("iot_download", http_requests.iot_download, True),
            ("host_names", self._host_field, False),
            ("missing_host", http_requests.missing_host, False),
            ("proxy_probe", self._proxy_probe, True),
            ("host_names", self._host_in_target, False),
            ("user_agent", self._user_agent, False),
        ]
        off = disabled if check_missing_host else disabled | {"missing_host"}
        self._first = [(rule, stops) for name, rule, stops in first if name not in off]
        self._last = [rule for name, rule in RULES.items() if name not in off]
        self._rules = [*(rule for rule, _ in self._first), *self._last]
        # What is left of them for a target that shows no attack.
        self._harmless = [rule for rule in self._rules if rule != http_requests.attack_in_target]
        self._forwarded = "forwarded_for" not in off

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among HTTP requests.

        Counts ``http_requests``, and in ``http_malformed`` segments that begin like one but are none.
        """
        rows = np.array([head.row for head in traffic.requests], dtype=np.intp)
        if not len(rows) and not traffic.unfinished:
            return
        listed = traffic.listed(rows, self._trails.addresses).tolist() + [True] * len(traffic.unfinished)
        sent, requests = [], []
        for head, named in zip((*traffic.requests, *traffic.unfinished), listed, strict=True):
            try:
                request = http.parse(head.data)
            except http.HttpError:
                counts["http_malformed"] += 1
                continue
            sent.append((head, named))
            requests.append(http_requests.asked(request, _UNREAD))
        counts["http_requests"] += len(sent)
        suspects = suspected(requests, self._trails)
        attacks = http_attacks.suspected([asked.path for asked in requests])
        for n, (head, named) in enumerate(sent):
            if not named and n not in suspects and self._is_ordinary(requests[n], n in attacks):
                continue
            flow = flows.read(*head.headers)
            for seen, verdict in self._verdicts(requests[n].request, flow, named):
                yield Finding(head.packet, seen, verdict._replace(text=verdict.text[:MAX_TEXT]))

    def _is_ordinary(self, asked: Asked, may_attack: bool) -> bool:
        """Whether a request shows nothing, wherever it was sent, but for trails of addresses and URLs.

        ``may_attack`` says whether its target may show an attack. Nearly all requests are ordinary, and their
        flows are never read: a server only excuses a request, or stands for the host that it does not name.
        """
        if asked.name == _UNREAD:
            return False
        # any() takes half as long again.
        for rule in self._rules if may_attack else self._harmless:  # noqa: SIM110
            if rule(asked):
                return False
        return True

    def _verdicts(self, request: http.Request, flow: Flow, listed: bool) -> Iterator[tuple[Flow, Verdict]]:
        """The verdicts on a request in the order of the rules, each with its flow.

        ``listed`` says whether an address of the flow may be. A rule that stops ends it.
        """
        asked = http_requests.asked(request, flow.dst_ip, flow.dst_port)
        if listed and (server := _server(flow, request.host, self._trails)):
            yield flow, server
        for rule, stops in self._first:
            if verdict := rule(asked):
                yield flow, verdict
                if stops:
                    return
        seen, verdict = flow, of(asked, self._trails)
        if verdict is None:
            verdict = next((verdict for rule in self._last if (verdict := rule(asked))), None)
            if verdict and self._forwarded and (client := http_requests.forwarded_for(request)):
                seen = flow._replace(src_ip=f"{flow.src_ip},{client}")
        if verdict and not self._trails.whitelisted(asked.name):
            yield seen, verdict

    def _host_field(self, asked: Asked) -> Verdict | None:
        """Row 3: the verdict of name trails on the Host field."""
        return self._name(asked.named)

    def _proxy_probe(self, asked: Asked) -> Verdict | None:
        """Row 5, unless the name in the target is whitelisted. It stops."""
        verdict = http_requests.proxy_probe(asked)
        return None if verdict and self._trails.whitelisted(asked.name) else verdict

    def _host_in_target(self, asked: Asked) -> Verdict | None:
        """Row 6: the verdict of name trails on the host that a target has, if the Host field has another.

        A target that would have a server run something is aimed at that server; what it names is no host.
        """
        verdict = None if asked.name == asked.named else self._name(asked.name)
        if verdict is None:
            return None
        return None if http_attacks.is_code_execution(asked.request.target) else verdict

    def _user_agent(self, asked: Asked) -> Verdict | None:
        """Row 7."""
        return self._agents.judge(http.field(asked.request.fields, "user-agent"))

    def _name(self, name: str) -> Verdict | None:
        """What name trails say of a host."""
        if name in self._names:
            return self._names[name]
        if len(self._names) >= CACHE:
            self._names.clear()
        judged = dns_names.is_judged(name)
        verdict = dns_names.of(name, self._trails, self._disabled) if judged else None
        self._names[name] = verdict
        return verdict


# In place of a server's address that was not read: one that excuses nothing.
_UNREAD = "::"


def suspected(requests: Sequence[Asked], trails: Trails) -> set[int]:
    """The places of those among many requests on which ``of`` has a verdict.

    The landmark (indicator.py) of their trail is one of three of such a request: its host, the last segment
    of the page, or that of the page's parent.
    """
    landmarks: list[str] = []
    odd: set[int] = set()
    for n, asked in enumerate(requests):
        site, page = without_www(asked.host), asked.page
        behind_slash = page.endswith("/") and page != asked.path
        if behind_slash or "/" in asked.query or "=" in page or "/" in site:
            odd.add(n)  # Some of its forms have other landmarks.
        parent, _, last = page.rstrip("/").rpartition("/")
        landmarks += (site + "/", "/" + last, "/" + parent.rstrip("/").rpartition("/")[2])
    sums = np.fromiter(map(crc32, map(str.encode, landmarks)), dtype=np.uint32)
    possible = np.flatnonzero(trails.filter.may_hold(sums)) // 3
    return {n for n in odd.union(possible.tolist()) if of(requests[n], trails)}


def of(asked: Asked, trails: Trails) -> Verdict | None:
    """Row 8: the verdict of URL trails on what is asked for. It stops."""
    request, host, path = asked[:3]
    site, plain = without_www(host), single_slashes(path)
    body = request.body.decode("latin-1")
    for form in forms_of(plain, body):
        for key in (form, site + form):
            trail = trails.get(key)
            if not trail:
                continue
            if body and "?" in form and "?" not in plain:
                text = f"{host}({plain} \\({request.method} {body.strip()}\\))"
                return Verdict("HTTP", text, trail)
            return Verdict("URL", _marked(host + path, key), trail)
    trail = trails.get(site + "/")
    return Verdict("URL", site + "/", trail) if trail else None


def forms_of(path: str, body: str) -> list[str]:
    """The forms of a path that trails may have, in the order in which they are tried.

    The path; without its query; up to its first ``=``; with the values of its parameters left out, and
    of that the last segment; where there is no query, the path with ``body`` as one; then, without the
    query, the parent and the last segment.
    """
    bare, query, _ = path.partition("?")
    bare = bare.rstrip("/")
    forms = [path.rstrip("/")]
    if query:
        valueless = "".join(_VALUE.split(path))
        forms += (bare, path[: path.find("=") + 1], valueless)
        if valueless.count("/") > 1:
            forms.append("/" + valueless.rpartition("/")[2])
    elif body:
        forms.append(f"{path}?{unquote(body).lower()}")
    if bare.count("/") > 1:
        parent, slash, last = bare.rpartition("/")
        forms += (parent, slash + last)
    return [form for form in dict.fromkeys(forms) if form]


# A value, behind the end of its parameter's name.
_VALUE = re.compile(r"(\w=)[^&=]+")


def _marked(url: str, key: str) -> str:
    """The URL with all that did not match in parentheses."""
    return key.join(f"({part})" if part else "" for part in url.split(key))


def _server(flow: Flow, host: str, trails: Trails) -> Verdict | None:
    """Row 1: the verdict on the server's address; it says by which name it was asked."""
    listing = trails.listing(flow.dst_ip) if host[:1].isalpha() else None
    if not listing:
        return None
    key, trail = listing
    return Verdict("IP", f"{key} ({host.partition(':')[0]})", trail)
