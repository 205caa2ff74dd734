"""Name trails, rule by rule."""

from __future__ import annotations

from collections import Counter

import frames
import pytest
from frames import AAAA, HTTPS, NS, PTR, TXT, A
from sensing import batch, told, trails_of

from d4sensor.judges import dns
from d4sensor.judges.dns import DnsJudge, is_judged, of
from d4sensor.sieve import sieve

CLIENT = "10.0.0.1"
EVIL = {"evil.tld": "bad"}


@pytest.mark.parametrize(
    ("trail", "name", "text"),
    [
        ("evil.tld", "evil.tld", "evil.tld"),
        ("evil.tld", "EVIL.Tld", "evil.tld"),
        ("evil.tld", "cdn.evil.tld", "(cdn).evil.tld"),
        ("evil.tld", "a.b.evil.tld", "(a.b).evil.tld"),
        ("evil.tld", "www.evil.tld", "(www).evil.tld"),
        ("a.evil.tld", "a.evil.tld", "a.evil.tld"),
        (".cc", "any.name.cc", "(any.name).cc"),
        ("xn--bcher-kva.tld", "xn--bcher-kva.tld", "xn--bcher-kva.tld"),
        ("bücher.tld", "xn--bcher-kva.tld", "xn--bcher-kva.tld"),
    ],
)
def test_name_and_parents(trail: str, name: str, text: str) -> None:
    asked = frames.query(CLIENT, name)
    assert told({trail: "bad"}, asked) == [f"{CLIENT} 40000 10.0.0.53 53 UDP DNS {text}"]


@pytest.mark.parametrize("name", ["vil.tld", "notevil.tld", "evil.tld.com", "tld", "evil", "good.tld"])
def test_names_that_are_not_below(name: str) -> None:
    assert told(EVIL, frames.query(CLIENT, name)) == []


def test_nearest_parent_decides() -> None:
    trails = {"evil.tld": "bad", "a.evil.tld": "worse"}
    assert told(trails, frames.query(CLIENT, "x.a.evil.tld"))[0].endswith("DNS (x).a.evil.tld")


@pytest.mark.parametrize("kind", [A, AAAA, HTTPS, TXT, NS, 255])
def test_every_type_counts(kind: int) -> None:
    assert len(told(EVIL, frames.query(CLIENT, "evil.tld", kind))) == 1


def test_reverse_lookups_and_other_classes_do_not() -> None:
    chaos = frames.udp(CLIENT, 1, "10.0.0.53", 53, frames.dns("evil.tld", class_=3))
    assert told(EVIL, frames.query(CLIENT, "evil.tld", PTR), chaos) == []


def test_over_ipv6_and_from_port_53() -> None:
    ask = frames.dns("evil.tld")
    assert len(told(EVIL, frames.udp("2001:db8::1", 1, "2001:db8::53", 53, ask))) == 1
    assert len(told(EVIL, frames.udp(CLIENT, 53, "10.0.0.53", 5000, ask))) == 1


def test_answers_are_not_judged() -> None:
    answer = frames.dns("evil.tld", flags=0x8180, answer=bytes(4))
    assert told(EVIL, frames.udp("10.0.0.53", 53, CLIENT, 40000, answer)) == []


@pytest.mark.parametrize(
    ("name", "judged"),
    [
        ("evil.tld", True),
        ("_dmarc.evil.tld", True),
        ("a-b.c_d.e-f", True),
        ("evil", False),
        ("", False),
        ("ev il.tld", False),
        ("evil.t_d", False),
        ("evil.tld.", False),
        ("ÿ.tld", False),
        ("a.intranet.tld", False),
        ("server.corp", False),
        ("1.0.0.127.in-addr.arpa", False),
        ("printer.local", False),
        ("host.example", False),
        ("host.example.com", True),
    ],
)
def test_names_that_trails_could_hold(name: str, judged: bool) -> None:
    assert is_judged(name) == judged


def test_local_names_are_not_looked_up() -> None:
    assert told({"evil.lan": "bad", "lan": "bad"}, frames.query(CLIENT, "evil.lan")) == []


def test_number_is_no_name() -> None:
    assert of("192.0.2.1", trails_of({"192.0.2.1": "bad"})) is None


@pytest.mark.parametrize(
    ("name", "info", "reported"),
    [
        ("ns1.evil.tld", "x (suspicious)", False),
        ("dns.evil.tld", "sinkhole x (malware)", False),
        ("rns2.evil.tld", "x (suspicious)", False),
        ("mx.evil.tld", "x (suspicious)", False),
        ("nic.evil.tld", "x (suspicious)", False),
        ("ns1.evil.tld", "x (malware)", True),
        ("nsa.evil.tld", "x (suspicious)", True),
        ("a.ns1.evil.tld", "x (suspicious)", True),
        ("evil.tld", "dynamic domain (suspicious)", False),
        ("www.evil.tld", "dynamic domain (suspicious)", False),
        ("evil.tld", "free web hosting (suspicious)", False),
        ("my.evil.tld", "dynamic domain (suspicious)", True),
        ("www.my.evil.tld", "free web hosting (suspicious)", False),
    ],
)
def test_harmless_names_below_a_trail(name: str, info: str, reported: bool) -> None:
    assert bool(told({"evil.tld": info}, frames.query(CLIENT, name))) == reported


def test_parent_of_a_harmless_name_still_counts() -> None:
    trails = {"dyn.evil.tld": "dynamic domain (suspicious)", "evil.tld": "bad"}
    assert told(trails, frames.query(CLIENT, "dyn.evil.tld"))[0].endswith("DNS (dyn).evil.tld")


def test_listed_server_is_told_with_the_name_that_it_was_asked() -> None:
    server = "203.0.113.5"
    start = f"{CLIENT} 40000 {server} 53 UDP"
    asked = frames.query(CLIENT, "good.tld", AAAA, server)
    assert told({server: "bad"}, asked) == [f"{start} IP {server} (good.tld)"]
    assert told({f"{server}:53": "bad"}, asked) == [f"{start} IPORT {server} (good.tld)"]
    assert told({"203.0.113.0/24": "bad"}, asked) == [f"{start} IP 203.0.113.0/24 (good.tld)"]
    assert told({f"{server}:54": "bad"}, asked) == []


def test_listed_server_and_bad_name_are_two_events() -> None:
    server = "203.0.113.5"
    found = told(EVIL | {server: "bad"}, frames.query(CLIENT, "evil.tld", server=server))
    assert [line.split(" ", 5)[5] for line in found] == [f"IP {server} (evil.tld)", "DNS evil.tld"]


def test_listed_client_is_told_by_its_address() -> None:
    assert told({CLIENT: "bad"}, frames.query(CLIENT, "good.tld")) == [
        f"{CLIENT} 40000 10.0.0.53 53 UDP IP {CLIENT}"
    ]


@pytest.mark.parametrize("name", ["printer.local", "noname", "ev il.tld"])
def test_listed_server_asked_for_what_no_trail_could_hold(name: str) -> None:
    server = "203.0.113.5"
    found = told({server: "bad"}, frames.query(CLIENT, name, server=server))
    assert found == [f"{CLIENT} 40000 {server} 53 UDP IP {server}"]


@pytest.mark.parametrize(
    "section",
    [
        b"\xc0\x0c\0\1\0\1",
        b"\4evil\3tld",
        b"\4evil\3tld\0\0\1\0",
        b"\x7f" + b"a" * 200 + b"\0\0\1\0\1",
        b"\4ev\0l\0\1\0",
    ],
)
def test_question_that_is_none_is_counted_and_its_address_judged(section: bytes) -> None:
    server, counts = "203.0.113.5", Counter[str]()
    trails = trails_of({server: "bad"})
    message = frames.dns("x")[:12] + section.ljust(5, b"\1")
    given = batch(frames.udp(CLIENT, 1, server, 53, message), frames.query(CLIENT, "evil.tld"))
    traffic = sieve(given, counts)
    (finding,) = DnsJudge(trails).judge(traffic, counts)
    assert finding.verdict.text == server
    assert counts["dns_malformed"] == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "CACHE", 3)
    trails = trails_of(EVIL)
    judge = DnsJudge(trails)
    packets = [frames.query(CLIENT, f"n{n}.evil.tld") for n in range(20)] * 2
    given, counts = batch(*packets), Counter[str]()
    traffic = sieve(given, counts)
    found = [finding.verdict.text for finding in judge.judge(traffic, counts)]
    assert found == [f"(n{n}).evil.tld" for n in range(20)] * 2
    assert len(judge._known) <= 3
