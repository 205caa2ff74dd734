"""HTTP responses, rule by rule."""

from __future__ import annotations

import time
from collections import Counter

import frames
import pytest
from sensing import batch, events

from d4sensor.judges.http_responses import RULES, HttpResponseJudge
from d4sensor.sieve import sieve

CLIENT, SERVER = "10.0.0.1", "192.0.2.80"


def answer(*fields: str, body: bytes = b"", port: int = 80, status: str = "HTTP/1.1 200 OK") -> bytes:
    """A response on the wire."""
    head = "\r\n".join((status, *fields)).encode() + b"\r\n\r\n"
    return frames.tcp(SERVER, port, CLIENT, 4000, head + body)


def told(packet: bytes, disabled: frozenset[str] = frozenset()) -> list[tuple[str, str, str]]:
    """Type, text and info of what a judge says of a packet, whose source is the server."""
    counts: Counter[str] = Counter()
    found = list(HttpResponseJudge(disabled).judge(sieve(batch(packet), counts), counts))
    assert all(f.flow.src_ip == SERVER and f.verdict.trail.reference == "(heuristic)" for f in found)
    return [(f.verdict.type, f.verdict.text, f.verdict.trail.info) for f in found]


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("X-Sinkhole: malware", "X-Sinkhole:"),
        ("x-sinkholed-domain: evil.tld", "x-sinkholed-domain:"),
        ("X-Zinkhole: 1", "X-Zinkhole:"),
        ("Server: malware-sinkhole", "Server: malware-sinkhole"),
        ("Server: Sinkhole/1.0", "Server: Sinkhole"),
        ("Server: Apache 1.0/SinkSoft", "Server: Apache 1.0/SinkSoft"),
        ("Set-Cookie: snkz=192.0.2.1", "Set-Cookie: snkz="),
        ("Location: http://x.sinkdns.org:80/", "Location: http://x.sinkdns.org"),
    ],
)
def test_sinkhole_in_fields(field: str, text: str) -> None:
    assert told(answer("Date: today", field)) == [("HTTP", text, "sinkhole response (malware)")]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"<p>This is a sinkhole.</p>", "This is a sinkhole"),
        (b"<title>The Sinkhole Project</title>", "Sinkhole Project</title>"),
        (b"this domain is sinkholed by x", "sinkholed by"),
        (b"where bots party hard", "bots party hard"),
        (b"you reached a malware sinkhole", "a malware sinkhole"),
        (b"computers connecting to this sinkhole", "connecting to this sinkhole"),
    ],
)
def test_sinkhole_in_body(body: bytes, text: str) -> None:
    assert told(answer("Server: x", body=body)) == [("HTTP", text, "sinkhole response (malware)")]


@pytest.mark.parametrize(
    "packet",
    [
        answer("Server: x", body=b"news of a sinkhole in the street"),
        answer("X-Not: Server: sinkhole"),
        answer("Server: nginx", body=b"X" * 2000 + b" bots party hard"),
        frames.tcp(SERVER, 80, CLIENT, 4000, b"bots party hard, and no HTTP/1.1 200 OK\r\n\r\n"),
        frames.udp(SERVER, 80, CLIENT, 4000, b"HTTP/1.1 200 OK\r\nX-Sinkhole: x\r\n\r\n"),
    ],
)
def test_no_sinkhole(packet: bytes) -> None:
    assert told(packet) == []


@pytest.mark.parametrize(
    ("title", "text"),
    [
        (b"This domain name has been seized by X", "This domain name has been seized by X"),
        (b"Domain Seized", "Domain Seized"),
        (b"\n Domain Seizure \xc3\xa4 ", "Domain Seizure ä"),
        (b"Your domain", None),
        (b"Seized goods for sale", None),
    ],
)
def test_seized_domain(title: bytes, text: str | None) -> None:
    found = told(answer("Server: x", body=b"<html><TITLE>" + title + b"</TITLE>"))
    assert found == ([("HTTP", text, "seized domain (suspicious)")] if text else [])


def test_seizure_is_told_by_the_title_alone() -> None:
    assert told(answer("Server: x", body=b"<title>News</title>a domain seized")) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("application/hta", "application/hta"),
        ("Application/X-SH", "application/x-sh"),
        ("text/x-shellscript; charset=utf-8", "text/x-shellscript"),
        ("application/x-ms-vsto", "application/x-ms-vsto"),
        ("application/x-sharp", None),
        ("text/html", None),
        ("", None),
    ],
)
def test_content_type(value: str, text: str | None) -> None:
    found = told(answer(f"content-type: {value}"))
    assert found == ([("HTTP", text, "content type (suspicious)")] if text else [])


@pytest.mark.parametrize(
    ("name", "packet"),
    [
        ("sinkhole_response", answer("X-Sinkhole: x")),
        ("seized_domain", answer("Server: x", body=b"<title>Domain Seized</title>")),
        ("content_type", answer("Content-Type: application/hta")),
    ],
)
def test_rule_can_be_disabled(name: str, packet: bytes) -> None:
    assert len(told(packet, frozenset(RULES) - {name})) == 1
    assert told(packet, frozenset({name})) == []


def test_event_and_any_port() -> None:
    (event,) = events({}, answer("X-Sinkhole: x", port=31337))
    assert (event.src_ip, event.src_port, event.dst_ip, event.type) == (SERVER, "31337", CLIENT, "HTTP")


def test_what_is_counted() -> None:
    counts: Counter[str] = Counter()
    packets = (
        answer("Server: x"),
        answer("X-Sinkhole: x", status="HTTP/1.1 OK, and more"),
        frames.ping(CLIENT, SERVER),
    )
    assert not list(HttpResponseJudge().judge(sieve(batch(*packets), counts), counts))
    assert (counts["http_responses"], counts["http_malformed"]) == (2, 1)


def test_findings_among_many_responses() -> None:
    packets = (
        answer("Server: x"),
        answer("Content-Type: application/x-javascript"),
        answer("X-Sinkhole: x"),
        answer("Server: x", body=b"sin"),
        answer("Server: x", body=b"k"),
        answer("Server: x", body=b"<title>Domain Seized</title>"),
    )
    counts: Counter[str] = Counter()
    found = HttpResponseJudge().judge(sieve(batch(*packets), counts), counts)
    assert [finding.packet for finding in found] == [2, 5]


@pytest.mark.parametrize(
    "piece",
    [b"sinkhole ", b"server: ", b"server: sinkhol", b"\nlocation:", b"<title>", b"<title>seize", b"x-sink"],
)
def test_long_response_takes_little_time(piece: bytes) -> None:
    packet = answer("Server: x", body=b"sinkhole seize " + piece * (60_000 // len(piece)))
    start = time.process_time()
    told(packet)
    assert time.process_time() - start < 0.1
