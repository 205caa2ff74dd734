"""URL trails: what HTTP requests ask for, and listed servers that they ask by name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from d4sensor import flow as flows
from d4sensor import http
from d4sensor.flow import Flow
from d4sensor.headers import Mask, Positions
from d4sensor.indicator import single_slashes, without_www
from d4sensor.judges import Finding, Verdict
from d4sensor.sieve import Traffic
from d4sensor.trails import Trails

MAX_TEXT = 1000
"""Characters of a trail's text in an event, which must fit into one datagram."""


class HttpJudge:
    """Judges HTTP requests, on any port."""

    def __init__(self, trails: Trails) -> None:
        self._trails = trails

    def judge(self, traffic: Traffic, counts: Counter[str]) -> Iterator[Finding]:
        """The findings among HTTP requests.

        Counts ``http_requests``, and in ``http_malformed`` segments that begin like one but are none.
        """
        chosen, data = requests(traffic), traffic.data
        columns = (column.tolist() for column in traffic.datagrams.where(chosen))
        payloads = traffic.payload[chosen].tolist()
        listed = traffic.listed(chosen, self._trails.addresses).tolist()
        for (packet, ip, protocol, transport, end), payload, named in zip(
            zip(*columns, strict=True), payloads, listed, strict=True
        ):
            try:
                request = http.parse(data[payload:end])
            except http.HttpError:
                counts["http_malformed"] += 1
                continue
            counts["http_requests"] += 1
            flow = flows.read(data, ip, protocol, transport)
            if named and request.host[:1].isalpha():
                server = _server(flow, request.host, self._trails)
                if server:
                    yield Finding(packet, flow, server)
            verdict = of(request, flow.dst_ip, self._trails)
            if verdict:
                yield Finding(packet, flow, verdict)


def requests(traffic: Traffic) -> Positions:
    """Which segments begin as an HTTP request does: with three capitals, then a fourth or a space."""
    window, payload = traffic.window, traffic.payload
    some = np.flatnonzero(traffic.tcp & (payload + _SHORTEST_REQUEST <= traffic.datagrams.end))
    some = some[_capital(window.u8(payload[some]))]
    first = window.rows(payload[some], 4)
    method = _capital(first[:, 1]) & _capital(first[:, 2])
    method &= _capital(first[:, 3]) | (first[:, 3] == ord(" "))
    method &= first.view(np.uint32)[:, 0] != _RESPONSE
    return some[method]


_SHORTEST_REQUEST = len(b"GET / HTTP/1.1\r\n")
_RESPONSE = np.frombuffer(b"HTTP", dtype=np.uint32)[0]


def _capital(bytes_: NDArray[np.uint8]) -> Mask:
    return bytes_ - np.uint8(ord("A")) < 26


def of(request: http.Request, server: str, trails: Trails) -> Verdict | None:
    """The verdict on what is asked for; ``server`` is the address, for a request that names no host."""
    host, path = _place(request, server)
    site, plain = without_www(host), single_slashes(path)
    body = request.body.decode("latin-1")
    for form in forms_of(plain, body):
        for key in (form, site + form):
            trail = trails.get(key)
            if not trail:
                continue
            if body and "?" in form and "?" not in plain:
                text = f"{host}({plain} \\({request.method} {body.strip()}\\))"
                return Verdict("HTTP", text[:MAX_TEXT], trail)
            return Verdict("URL", _marked(host + path, key)[:MAX_TEXT], trail)
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
        valueless = _VALUE.sub(r"\1", path)
        forms += (bare, path[: path.find("=") + 1], valueless)
        if valueless.count("/") > 1:
            forms.append("/" + valueless.rpartition("/")[2])
    elif body:
        forms.append(f"{path}?{unquote(body).lower()}")
    if bare.count("/") > 1:
        parent, slash, last = bare.rpartition("/")
        forms += (parent, slash + last)
    return [form for form in dict.fromkeys(forms) if form]


_VALUE = re.compile(r"(?<!\w)(\w+=)[^&=]+")


def _place(request: http.Request, server: str) -> tuple[str, str]:
    """Host and path of what is asked for; the port of HTTP is left out."""
    host, path = request.host or server, request.target
    _, absolute, rest = path.partition("://")
    if absolute and not path.startswith("/"):
        host, _, path = rest.partition("/")
        path = "/" + path
    elif request.method == "CONNECT":
        host, _, path = path.partition("/")
        path = "/" + path
    return host.removesuffix(":80"), path


def _marked(url: str, key: str) -> str:
    """The URL with all that did not match in parentheses."""
    return key.join(f"({part})" if part else "" for part in url.split(key))


def _server(flow: Flow, host: str, trails: Trails) -> Verdict | None:
    """The verdict on the server's address; it says by which name it was asked."""
    listing = trails.listing(flow.dst_ip)
    if not listing:
        return None
    key, trail = listing
    return Verdict("IP", f"{key} ({host.partition(':')[0]})", trail)
