"""Names, fingerprints and certificates of TLS."""

from __future__ import annotations

import hashlib

import frames
import pytest
from sensing import batch, told, trails_of

from d4sensor import tls
from d4sensor.engine import Engine
from d4sensor.judges import tls as judge

CLIENT, SERVER = "10.0.0.1", "192.0.2.44"
MESSAGE = frames.hello_message(
    (0x1301, 0x1302), [frames.server_name("cdn.evil.tld"), (16, b"\0\3\2h2"), (43, b"\2\3\4")]
)
HELLO = tls.hello(MESSAGE)
DER = b"\x30\x82" + bytes(range(250))
FLIGHT = frames.records(frames.server_hello() + frames.certificate(DER, b"another"))


def says(data: bytes, client: str = CLIENT, server: str = SERVER, port: int = 443) -> bytes:
    """What a client says, in one segment."""
    return frames.tcp(client, 4000, server, port, data)


@pytest.mark.parametrize("port", [443, 22, 31337])
def test_name_that_is_asked_for(port: int) -> None:
    assert told({"evil.tld": "bad"}, says(frames.records(MESSAGE), port=port)) == [
        f"{CLIENT} 4000 {SERVER} {port} TCP DNS (cdn).evil.tld"
    ]


def test_name_over_ipv6_and_in_several_segments() -> None:
    data = frames.records(MESSAGE, 50)
    source, server = "2001:db8::1", "2001:db8::2"
    parts = [
        frames.tcp(source, 4000, server, 443, data[at : at + 30], seq=at) for at in range(0, len(data), 30)
    ]
    assert told({"cdn.evil.tld": "bad"}, *parts) == [f"{source} 4000 {server} 443 TCP DNS cdn.evil.tld"]


@pytest.mark.parametrize(
    "name", ["good.tld", "192.0.2.1", "evil", "x.local", "\0.evil.tld", "ev\xefl.tld", ""]
)
def test_names_that_no_trail_holds(name: str) -> None:
    message = frames.hello_message(extensions=[frames.server_name(name)])
    trails = {"evil.tld": "bad", "local": "bad", "192.0.2.1": "bad", "evil": "bad"}
    assert told(trails, says(frames.records(message))) == []


def test_long_name_is_told_as_in_dns() -> None:
    name = "a" * 30 + ".fine.tld"
    packet = says(frames.records(frames.hello_message(extensions=[frames.server_name(name)])))
    assert told({}, packet) == [f"{CLIENT} 4000 {SERVER} 443 TCP DNS ({'a' * 30}).fine.tld"]
    disabled = Engine(trails_of({}), "sensor", frozenset(("long_domain",)))
    assert disabled.judge(batch(packet)) == []


def test_fingerprints_of_a_client() -> None:
    ja3, ja4 = tls.ja3(HELLO), tls.ja4(HELLO, "t")
    start = f"{CLIENT} 4000 {SERVER} 443 TCP"
    assert told({ja3: "bad"}, says(frames.records(MESSAGE))) == [f"{start} JA3 {ja3}"]
    assert told({ja3.upper(): "bad"}, says(frames.records(MESSAGE))) == [f"{start} JA3 {ja3}"]
    assert told({ja4: "bad"}, says(frames.records(MESSAGE))) == [f"{start} JA4 {ja4}"]
    assert told({tls.ja4(HELLO, "q"): "bad"}, says(frames.records(MESSAGE))) == []


@pytest.mark.parametrize(("client", "server"), [(CLIENT, SERVER), ("2001:db8::1", "2001:db8::2")])
def test_certificate_of_a_server(client: str, server: str) -> None:
    key = hashlib.sha1(DER, usedforsecurity=False).hexdigest()
    packet = frames.tcp(server, 8443, client, 4000, FLIGHT)
    assert told({key: "bad"}, packet) == [f"{server} 8443 {client} 4000 TCP CERT {key}"]
    other = hashlib.sha1(b"another", usedforsecurity=False).hexdigest()
    assert told({other: "bad"}, packet) == []


def test_what_is_counted() -> None:
    engine = Engine(trails_of({"evil.tld": "bad"}), "sensor")
    broken = frames.records(frames.handshake_message(1, b"no hello"))
    empty = frames.records(frames.certificate(b""))
    packets = [says(data) for data in (frames.records(MESSAGE), FLIGHT, broken, empty)]
    engine.judge(batch(*packets))
    counts = engine.counts
    assert (counts["tls_hellos"], counts["tls_certificates"], counts["tls_malformed"]) == (1, 1, 2)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "NAMES", 10)
    monkeypatch.setattr(judge, "CLIENTS", 10)
    client = judge.ClientJudge(trails_of({"evil.tld": "bad"}), "t")
    for n in range(100):
        message = frames.hello_message((n,), [frames.server_name(f"x{n}.evil.tld")])
        assert [verdict.text for verdict in client.of(tls.hello(message))] == [f"(x{n}).evil.tld"]
        assert len(client._names) <= 10 and len(client._clients) <= 10
