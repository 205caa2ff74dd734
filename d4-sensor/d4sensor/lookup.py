"""`d4-sensor lookup`: what trails say about a name, an address, an endpoint or a URL, and by which rule."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from d4sensor import http
from d4sensor.indicator import parse, printable
from d4sensor.judges import Verdict, dns_names, http_requests
from d4sensor.judges import http as http_judge
from d4sensor.trails import Trails


class Answer(NamedTuple):
    """What an event would say, and what traffic would cause it."""

    verdict: Verdict
    rule: str

    def __str__(self) -> str:
        kind, text, trail = self.verdict
        source = f"\n    from {trail.source}" if trail.source else ""
        return f'{kind} {text} "{trail.info}" {trail.reference}\n    on {self.rule}{source}'


def lookup(text: str, trails: Trails) -> list[Answer]:
    """The answers about an indicator, as trail files have it, or a URL. Raises IndicatorError."""
    text = text.strip()
    if "://" in text or ("/" in text and not _NETWORK.fullmatch(text)):
        return list(_url(text, trails))
    key, network, _ = parse(text)
    if network is None:
        return list(_name(key, trails))
    return list(_address(key, trails))


_NETWORK = re.compile(r"[0-9a-fA-F.:]+/\d+")
_PORT = re.compile(r":\d+$")


def _name(name: str, trails: Trails) -> Iterator[Answer]:
    """What is said when a name is seen; of what is no host name, its own trail."""
    if dns_names.is_judged(name):
        verdict = dns_names.of(name, trails)
        if verdict:
            yield Answer(verdict, "a DNS query, TLS or QUIC server name, or HTTP host")
    elif trail := trails.get(name):
        yield Answer(Verdict("DNS" if "." in name or name.isalpha() else "TLS", name, trail), "what bears it")


def _address(key: str, trails: Trails) -> Iterator[Answer]:
    """What is said about an address, a network, or an endpoint and its address."""
    own = trails.get(key)
    if own:
        yield Answer(Verdict("IPORT" if _is_endpoint(key) else "IP", key, own), "traffic with it")
    address = key
    if _is_endpoint(key):
        address = _PORT.sub("", key).strip("[]")
    elif own or "/" in key:
        return
    listing = trails.listing(address)
    if listing:
        yield Answer(Verdict("IP", *listing), f"traffic with {address}")


def _is_endpoint(key: str) -> bool:
    return key.startswith("[") or ("." in key and ":" in key and key.count(":") == 1)


def _url(text: str, trails: Trails) -> Iterator[Answer]:
    """What is said when a URL, or a path of any host, is asked for, and about its host."""
    rest = text.rpartition("://")[2]
    host, _, path = rest.partition("/")
    target = printable("/" + path).lower()
    request = http.Request("GET", target, host.lower())
    asked = http_requests.asked(request, host.lower())
    name = asked.name
    whitelisted = trails.whitelisted(name)
    verdict = None if whitelisted else http_judge.of(asked, trails)
    if verdict:
        yield Answer(verdict, "an HTTP request for it")
    if name:
        _, network, _ = parse(name)
        yield from _address(name, trails) if network else _name(name, trails)
