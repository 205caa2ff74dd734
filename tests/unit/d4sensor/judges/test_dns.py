"""Name trails, rule by rule."""

from __future__ import annotations

from collections import Counter

import frames
import pytest
from frames import AAAA, HTTPS, NS, PTR, TXT, A
from hypothesis import given, settings
from hypothesis import strategies as st
from sensing import batch, told, trails_of

from d4sensor import dns as parser
from d4sensor.engine import Engine
from d4sensor.judges import dns
from d4sensor.judges.dns import DnsJudge
from d4sensor.judges.dns_exhaustion import DnsExhaustion
from d4sensor.judges.dns_names import is_judged, of
from d4sensor.judges.dns_nxdomain import NoSuchDomain
from d4sensor.sieve import sieve
from d4sensor.trails import Trail, Trails

CLIENT = "10.0.0.1"
EVIL = {"evil.tld": "bad"}


def _message(name: str) -> bytes:
    """A query for any text, if DNS can write it."""
    labels = [label for label in name.split(".") if label][:20]
    return frames.dns(".".join(label[:63] for label in labels) or "x")


def judge_of(trails: Trails) -> DnsJudge:
    """A judge that has seen nothing."""
    return DnsJudge(trails, DnsExhaustion(), NoSuchDomain())


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


def test_local_names_are_not_looked_up() -> None:
    assert told({"evil.lan": "bad", "lan": "bad"}, frames.query(CLIENT, "evil.lan")) == []


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
    (finding,) = judge_of(trails).judge(traffic, counts)
    assert finding.verdict.text == server
    assert counts["dns_malformed"] == 1


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns, "CACHE", 30)
    judge, counts, held = judge_of(trails_of(EVIL)), Counter[str](), []
    for n in range(9):
        packets = [frames.query(CLIENT, f"n{n}-{m}.evil.tld") for m in range(20)] * 2
        found = judge.judge(sieve(batch(*packets), counts), counts)
        assert [each.verdict.text for each in found] == [f"(n{n}-{m}).evil.tld" for m in range(20)] * 2
        held.append(len(judge._known))
    assert held == [20, 40, 20, 40, 20, 40, 20, 40, 20]


def test_messages_that_were_read_are_known_and_their_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[bytes] = []
    questions = parser.questions
    monkeypatch.setattr(parser, "questions", lambda message: read.append(message) or questions(message))
    monkeypatch.setattr(dns, "MESSAGES", 30)
    judge, counts, held = judge_of(trails_of(EVIL)), Counter[str](), []
    for n in range(9):
        names = [f"{'x' * 60}.n{n}-{m}.evil.tld" for m in range(20)]
        packets = [frames.query(CLIENT, name) for name in names * 2]
        found = judge.judge(sieve(batch(*packets), counts), counts)
        assert [each.verdict.text for each in found] == [f"({name[:-9]}).evil.tld" for name in names * 2]
        held.append(len(judge._asked))
    assert len(read) < 9 * 40
    assert max(held) <= 30
    long = frames.udp(CLIENT, 1, "10.0.0.53", 53, frames.dns("x" * 60 + ".evil.tld") + bytes(513))
    list(judge.judge(sieve(batch(long), counts), counts))
    assert len(judge._asked) == held[-1]


def test_several_questions_are_all_judged() -> None:
    sections = frames.question("good.tld"), frames.question("evil.tld"), frames.question("www.evil.tld")
    message = frames.dns_message(*sections)
    assert [line.split()[-1] for line in told(EVIL, frames.udp(CLIENT, 1, "10.0.0.53", 53, message))] == [
        "evil.tld",
        "(www).evil.tld",
    ]


def test_question_with_a_compressed_name() -> None:
    section = b"\3www\xc0\x16\0\1\0\1" + frames.dns_name("evil.tld")
    message = frames.dns_message(section)
    assert told(EVIL, frames.udp(CLIENT, 1, "10.0.0.53", 53, message))[0].endswith(" (www).evil.tld")


def test_second_question_with_a_compressed_name() -> None:
    message = frames.dns_message(frames.question("good.tld"), b"\4evil\xc0\x11\0\1\0\1")
    assert told(EVIL, frames.udp(CLIENT, 1, "10.0.0.53", 53, message))[0].endswith(" evil.tld")


@pytest.mark.parametrize(
    "name",
    [
        "a.b.c.d.e.f.g.h.i.j.k.evil.tld",
        f"{'x' * 44}.evil.tld",
        f"{'-' * 45}.evil.tld",
        f"{'x' * 63}.evil.tld",
    ],
)
def test_names_of_many_labels_and_of_long_ones(name: str) -> None:
    assert told(EVIL, frames.query(CLIENT, name))[0].endswith(f"DNS ({name[:-9]}).evil.tld")


@pytest.mark.parametrize("port", [53, 5300])
def test_over_tcp(port: int) -> None:
    message = frames.dns("evil.tld")
    asked = frames.tcp(CLIENT, 40000, "10.0.0.53", port, len(message).to_bytes(2, "big") + message)
    assert told(EVIL, asked) == [f"{CLIENT} 40000 10.0.0.53 {port} TCP DNS evil.tld"]


@pytest.mark.parametrize("port", [5353, 443, 9953])
def test_over_udp_on_other_ports(port: int) -> None:
    asked = frames.udp(CLIENT, 40000, "10.0.0.53", port, frames.dns("evil.tld"))
    assert told(EVIL, asked) == [f"{CLIENT} 40000 10.0.0.53 {port} UDP DNS evil.tld"]


def test_listed_server_on_another_port_is_told_once_and_by_its_address() -> None:
    server = "203.0.113.5"
    asked = frames.udp(CLIENT, 1, server, 5353, frames.dns("good.tld"))
    assert told({server: "bad"}, asked) == [f"{CLIENT} 1 {server} 5353 UDP IP {server}"]


def test_queries_are_counted_wherever_they_are() -> None:
    counts, message = Counter[str](), frames.dns("good.tld")
    given = batch(
        frames.query(CLIENT, "good.tld"),
        frames.udp(CLIENT, 1, "10.0.0.53", 5353, message),
        frames.tcp(CLIENT, 1, "10.0.0.53", 53, len(message).to_bytes(2, "big") + message),
        frames.udp(CLIENT, 1, "10.0.0.53", 5353, b"x" * 40),
    )
    list(judge_of(trails_of({})).judge(sieve(given, counts), counts))
    assert counts["dns_queries"] == 3


@pytest.mark.parametrize(
    ("disabled", "reported"), [(frozenset[str](), True), (frozenset({"long_domain"}), False)]
)
def test_long_domain_can_be_disabled(disabled: frozenset[str], reported: bool) -> None:
    asked = frames.query(CLIENT, f"{'x' * 30}.good.tld")
    found = Engine(trails_of({}), "sensor", disabled).judge(batch(asked))
    assert [(e.type, e.trail, e.info, e.reference) for e in found] == reported * [
        ("DNS", f"({'x' * 30}).good.tld", "long domain (suspicious)", "(heuristic)")
    ]


# Names at and beyond the sizes that are read at once, with capitals, and with what no name of a host has.
label = st.one_of(st.text("abE0-_", min_size=1, max_size=3), st.text("aB-/ é", min_size=1, max_size=63))
any_name = st.lists(label, min_size=1, max_size=40).map(
    lambda labels: [each.encode("latin-1") for each in labels]
)


@given(st.data(), st.lists(any_name, min_size=1, max_size=8))
def test_all_names_of_a_batch_are_judged_as_each_alone_is(
    data: st.DataObject, names: list[list[bytes]]
) -> None:
    names = [name for name in names if sum(map(len, name)) + len(name) < 255]
    messages = [
        frames.dns_message(b"".join(bytes([len(each)]) + each for each in name) + b"\0\0\1\0\1")
        for name in names
    ]
    asked = [parser.questions(message)[0].name for message in messages]
    suffixes = [name[at:] for name in asked for at in range(len(name)) if not at or name[at - 1] == "."]
    keys = data.draw(st.lists(st.sampled_from(suffixes), max_size=4)) if suffixes else []
    trails = Trails({key: Trail("bad", "(static)") for key in keys}, [])
    again = data.draw(st.lists(st.sampled_from(range(len(messages))), max_size=12)) if messages else []
    judge, counts = judge_of(trails), Counter[str]()
    for numbers in (again[:5], again[5:], range(len(messages))):
        packets = [frames.udp(CLIENT, 1, "10.0.0.53", 53, messages[n]) for n in numbers]
        found = judge.judge(sieve(batch(*packets), counts), counts)
        alone = [of(asked[n], trails) if is_judged(asked[n]) else None for n in numbers]
        assert [(each.packet, each.verdict) for each in found] == [
            (packet, verdict) for packet, verdict in enumerate(alone) if verdict
        ]


def test_name_of_an_address_does_not_hide_the_name_itself() -> None:
    pointer, plain = frames.query(CLIENT, "evil.tld", PTR), frames.query(CLIENT, "evil.tld")
    assert len(told(EVIL, pointer, plain)) == 1


def test_case_is_ignored_and_new_trails_count_at_once() -> None:
    engine = Engine(trails_of({"other.tld": "bad"}), "sensor")
    assert engine.judge(batch(frames.query(CLIENT, "eViL.tld"))) == []
    engine.trails = trails_of(EVIL)
    assert len(engine.judge(batch(frames.query(CLIENT, "EvIl.tld")))) == 1


@settings(max_examples=40)
@given(
    st.lists(st.one_of(st.binary(max_size=80), st.text("abcxyz0_.-", max_size=60).map(_message)), max_size=6)
)
def test_any_payload_is_judged_as_if_alone(payloads: list[bytes]) -> None:
    packets = [frames.udp(CLIENT, n + 1, "10.0.0.53", 53, payload) for n, payload in enumerate(payloads)]
    together = told(EVIL | {"c": "bad"}, *packets)
    assert together == [line for packet in packets for line in told(EVIL | {"c": "bad"}, packet)]
