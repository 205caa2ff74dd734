"""What DNS answers."""

from __future__ import annotations

from collections import Counter

import frames
import pytest
from frames import AAAA, A, packed, record
from hypothesis import given
from hypothesis import strategies as st
from sensing import batch, told, trails_of

from d4sensor.engine import Engine
from d4sensor.trails import Trail, Trails

RESOLVER, CLIENT = "10.0.0.53", "10.0.0.1"
HOLE, HOLE6, PARK, BAD, GOOD = "203.0.113.7", "2001:db8::7", "203.0.113.8", "203.0.113.9", "192.0.2.1"
INFOS = {
    HOLE: "sinkhole conficker (malware)",
    HOLE6: "sinkhole conficker (malware)",
    PARK: "parking site (suspicious)",
    BAD: "netsupport (malware)",
    "198.51.100.0/24": "sinkhole net (malware)",
}
SINKHOLED, PARKED = "sinkholed by conficker (malware)", "parked site (suspicious)"


def answer(*records: bytes, name: str = "www.evil.tld", flags: int = 0x8180) -> bytes:
    """A resolver's answer."""
    return frames.udp(
        RESOLVER, 53, CLIENT, 40000, frames.dns_message(frames.question(name), flags=flags, answers=records)
    )


def said(*packets: bytes, disabled: str = "") -> list[tuple[str, str]]:
    """Text and info of the events of these frames."""
    engine = Engine(trails_of(INFOS), "sensor", frozenset({disabled}))
    return [(event.trail, event.info) for event in engine.judge(batch(*packets))]


def test_event_is_the_line_that_maltrail_writes() -> None:
    (event,) = Engine(trails_of(INFOS), "sensor").judge(batch(answer(record(A, packed(HOLE)))))
    assert event.line().split(" ", 3)[3] == (
        f'{RESOLVER} 53 {CLIENT} 40000 UDP DNS (www.evil).tld "{SINKHOLED}" (heuristic)'
    )


CNAME = record(5, b"\3cdn\xc0\x10")
OTHER = record(A, packed(GOOD))
TEXT = record(16, b"\x30" + b"x" * 48)


@pytest.mark.parametrize(
    ("records", "info"),
    [
        ([record(A, packed(HOLE))], SINKHOLED),
        ([record(AAAA, packed(HOLE6))], SINKHOLED),
        ([record(A, packed("198.51.100.77"))], "sinkholed by net (malware)"),
        ([record(A, packed(PARK))], PARKED),
        ([CNAME, record(A, packed(HOLE), b"\3cdn\xc0\x10")], SINKHOLED),
        ([CNAME, record(A, packed(HOLE), b"\xc0\x2c")], SINKHOLED),
        ([OTHER, TEXT, record(AAAA, packed("2001:db8::8")), record(A, packed(PARK))], PARKED),
        ([record(A, packed(BAD)), record(A, packed(PARK))], PARKED),
        ([OTHER] * 8 + [record(A, packed(HOLE))], SINKHOLED),
        ([OTHER] * 40 + [record(A, packed(HOLE))], SINKHOLED),
        ([record(A, packed(HOLE)), record(A, packed(HOLE))], SINKHOLED),
        ([record(A, packed(HOLE), frames.dns_name("www.evil.tld"))], SINKHOLED),
    ],
)
def test_any_record_counts_once(records: list[bytes], info: str) -> None:
    assert said(answer(*records)) == [("(www.evil).tld", info)]


@pytest.mark.parametrize(
    "records",
    [
        [],
        [OTHER],
        [record(A, packed(BAD))],
        [record(16, packed(HOLE))],
        [record(A, packed(HOLE) + bytes(12))],
        [record(AAAA, packed(HOLE))],
        [OTHER] * 20,
        [record(AAAA, packed("2001:db8::8"))],
        [b"\xc0\x0c\0\1\0\3\0\0\0\0\0\4" + packed(HOLE)],
    ],
)
def test_what_says_nothing(records: list[bytes]) -> None:
    assert said(answer(*records)) == []


def test_over_tcp_on_other_ports_and_over_ipv6() -> None:
    message = frames.dns_message(frames.question("evil.tld"), flags=0x8180, answers=[record(A, packed(HOLE))])
    behind = len(message).to_bytes(2, "big") + message
    start = f"{RESOLVER} 53 {CLIENT} 40000"
    assert told(INFOS, frames.tcp(RESOLVER, 53, CLIENT, 40000, behind)) == [f"{start} TCP DNS (evil).tld"]
    assert len(told(INFOS, frames.udp(RESOLVER, 5353, CLIENT, 40000, message))) == 1
    assert len(told(INFOS, frames.udp("2001:db8::53", 53, "2001:db8::1", 40000, message))) == 1


@pytest.mark.parametrize(
    ("flags", "reported"), [(0x8180, True), (0x8580, True), (0x81A0, True), (0x8182, False), (0x8183, False)]
)
def test_only_answers_without_error(flags: int, reported: bool) -> None:
    assert bool(said(answer(record(A, packed(HOLE)), flags=flags))) == reported


@pytest.mark.parametrize("name", ["printer.local", "noname", "7.113.0.203.in-addr.arpa"])
def test_names_that_trails_could_not_hold(name: str) -> None:
    assert said(answer(record(A, packed(HOLE)), name=name)) == []


def test_whitelisted_names() -> None:
    trails = trails_of(INFOS)
    trails = Trails({HOLE: Trail(INFOS[HOLE], "(static)")}, trails.addresses, whitelist=["evil.tld"])
    assert Engine(trails, "sensor").judge(batch(answer(record(A, packed(HOLE))))) == []


def test_each_can_be_disabled() -> None:
    packets = answer(record(A, packed(HOLE))), answer(record(A, packed(PARK)), name="parked.tld")
    assert [info for _, info in said(*packets)] == [SINKHOLED, PARKED]
    assert [info for _, info in said(*packets, disabled="sinkholed_answer")] == [PARKED]
    assert [info for _, info in said(*packets, disabled="parked_answer")] == [SINKHOLED]


def test_sinkhole_of_nobody() -> None:
    (event,) = Engine(trails_of({HOLE: "sinkhole"}), "sensor").judge(batch(answer(record(A, packed(HOLE)))))
    assert event.info == "sinkholed by unknown (malware)"


@pytest.mark.parametrize("name", ["x" * 63 + ".y.tld", "a." * 20 + "tld"])
def test_long_names(name: str) -> None:
    assert said(answer(record(A, packed(HOLE)), name=name)) == [(f"({name[:-4]}).tld", SINKHOLED)]


@pytest.mark.parametrize("questions", [0, 2])
def test_answers_to_no_question_and_to_two(questions: int) -> None:
    sections = [frames.question("evil.tld"), frames.question("good.tld")][:questions]
    records = [record(A, packed(HOLE))]
    message = frames.dns_message(*sections, flags=0x8180, answers=records)
    found = said(frames.udp(RESOLVER, 53, CLIENT, 1, message))
    assert found == ([("(evil).tld", SINKHOLED)] if questions else [])


def test_what_cannot_be_read_is_counted() -> None:
    counts = Counter[str]()
    engine = Engine(trails_of(INFOS), "sensor")
    whole = frames.dns_message(
        frames.question("evil.tld"), flags=0x8180, answers=[record(A, packed(HOLE)), OTHER]
    )
    for size in range(len(whole)):
        assert engine.judge(batch(frames.udp(RESOLVER, 53, CLIENT, 1, whole[:size]))) == []
    counts = engine.counts
    assert counts["dns_malformed"] > 20
    assert len(engine.judge(batch(frames.udp(RESOLVER, 53, CLIENT, 1, whole)))) == 1


@given(st.data())
def test_answers_with_wrong_bytes(data: st.DataObject) -> None:
    wrong = bytearray(answer(CNAME, OTHER, record(AAAA, packed(HOLE6)))[42:])
    for at in data.draw(st.lists(st.integers(0, len(wrong) - 1), max_size=5)):
        wrong[at] = data.draw(st.integers(0, 255))
    alone = said(frames.udp(RESOLVER, 53, CLIENT, 40000, bytes(wrong)))
    behind = said(
        frames.udp(RESOLVER, 53, CLIENT, 40000, bytes(wrong)), answer(record(A, packed(PARK)), name="p.q")
    )
    assert behind == [*alone, ("(p).q", PARKED)]
