"""From packets to events, and any bytes through all of it."""

from __future__ import annotations

import frames
import pytest
from frames import QINQ, VLAN
from hypothesis import given, settings
from hypothesis import strategies as st
from sensing import SECOND, batch, trails_of

from d4common.event import Event, parse
from d4sensor import throttle
from d4sensor.capture import Batch
from d4sensor.engine import Engine
from d4sensor.headers import LINKS
from d4sensor.ignore import Ignore

TRAILS = trails_of(
    {
        "203.0.113.5": "bad",
        "203.0.113.6:443": "bad",
        "2001:db8:bad::/48": "bad",
        "evil.tld": "bad",
        "/gate.php": "bad",
    }
)
BAD = "203.0.113.5"
IP6 = ("2001:db8::1", "2001:db8:bad::1")
SAMPLES = [
    frames.ping("10.0.0.1", BAD),
    frames.ping(*IP6),
    frames.syn("10.0.0.1", 1, "203.0.113.6", 443),
    frames.udp("10.0.0.1", 1, BAD, 2, b"x" * 30),
    frames.query("10.0.0.1", "www.evil.tld", server=BAD),
    frames.udp("2001:db8::1", 1, "2001:db8::2", 53, frames.dns("evil.tld", frames.AAAA)),
    frames.tcp("10.0.0.1", 1, BAD, 80, frames.request("a.tld", "/gate.php", "POST", b"a=b")),
    frames.frame(frames.ip("10.0.0.1", BAD, 47, b"x" * 20), [(QINQ, 1), (VLAN, 2)]),
    frames.frame(
        frames.ip(*IP6, 6, frames.tcp_segment(*IP6[:1], 1, IP6[1], 2), extensions=[(0, bytes(7))] * 2)
    ),
    frames.frame(
        frames.ip("10.0.0.1", BAD, 17, frames.udp_datagram("10.0.0.1", 1, BAD, 9), options=bytes(12))
    ),
    frames.arp("10.0.0.1", "10.0.0.2"),
]


@pytest.fixture
def engine() -> Engine:
    """An engine that has seen nothing."""
    return Engine(TRAILS, "sensor")


def texts(engine: Engine, given: Batch) -> list[str]:
    """The trails of the events of a batch."""
    return [event.trail for event in engine.judge(given)]


def test_event_has_the_time_of_its_packet_and_the_name_of_the_sensor(engine: Engine) -> None:
    quiet = frames.ping("10.0.0.1", "10.0.0.2")
    (event,) = engine.judge(batch(quiet, quiet, frames.ping("10.0.0.1", BAD)))
    assert (event.sec, event.usec, event.sensor) == (SECOND, 2, "sensor")


def test_events_come_in_the_order_of_their_packets(engine: Engine) -> None:
    order = [
        frames.tcp("10.0.0.1", 1, "10.0.0.2", 80, frames.request("a.tld", "/gate.php")),
        frames.query("10.0.0.1", "evil.tld"),
        frames.ping("10.0.0.1", BAD),
        frames.query("10.0.0.1", "www.evil.tld"),
    ]
    assert texts(engine, batch(*order)) == ["(a.tld)/gate.php", "evil.tld", BAD, "(www).evil.tld"]


def test_same_flow_and_trail_is_told_once_in_a_second(engine: Engine) -> None:
    syn = frames.syn("10.0.0.1", 1, BAD, 2)
    assert texts(engine, batch(syn, syn)) == [BAD]
    assert texts(engine, batch(syn)) == []
    assert engine.counts["repeats"] == 2
    assert texts(engine, batch(syn, sec=SECOND + 1)) == [BAD]


def test_other_flow_or_trail_is_no_repeat(engine: Engine) -> None:
    packets = [
        frames.syn("10.0.0.1", 1, BAD, 2),
        frames.syn("10.0.0.1", 2, BAD, 2),
        frames.udp("10.0.0.1", 1, BAD, 2),
        frames.query("10.0.0.1", "a.evil.tld"),
        frames.query("10.0.0.1", "b.evil.tld"),
    ]
    assert len(texts(engine, batch(*packets))) == 5


def test_memory_of_a_second_is_bounded(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MAX_SEEN", 5)
    syns = [frames.syn(f"10.0.0.{n}", 1, BAD, 2) for n in range(1, 30)]
    assert len(texts(engine, batch(*syns))) == 29
    assert len(engine._throttle._seen) <= 5


def test_flood_of_a_trail_is_summed_up(engine: Engine) -> None:
    syns = [frames.syn("10.0.0.1", n, BAD, 2) for n in range(1, 30)]
    assert texts(engine, batch(*syns)) == [BAD] * 3
    assert engine.due(SECOND + 59) == []
    (summary,) = engine.due(SECOND + 60)
    assert summary.reference == "(static) (+26 sightings)"
    assert engine.counts["events"] == 4
    assert engine.counts["summed_up"] == 26
    assert engine.finish() == []


def test_summary_is_due_by_the_time_of_the_packets(engine: Engine) -> None:
    engine.judge(batch(*(frames.syn("10.0.0.1", n, BAD, 2) for n in range(1, 7))))
    quiet = frames.ping("10.0.0.1", "10.0.0.2")
    assert engine.judge(batch(quiet, sec=SECOND + 59)) == []
    assert [event.reference for event in engine.judge(batch(quiet, sec=SECOND + 60))] == [
        "(static) (+3 sightings)"
    ]


def test_what_was_held_back_comes_at_the_end(engine: Engine) -> None:
    engine.judge(batch(*(frames.syn("10.0.0.1", n, BAD, 2) for n in range(1, 7))))
    assert [event.reference for event in engine.finish()] == ["(static) (+3 sightings)"]


def test_what_is_to_be_ignored_is_counted(engine: Engine) -> None:
    ask = frames.query("10.0.0.1", "www.evil.tld")
    engine.ignore = Ignore(trails=["*.evil.tld"])
    assert texts(engine, batch(ask, frames.query("10.0.0.1", "evil.tld"))) == ["evil.tld"]
    assert engine.counts["ignored"] == 1


def test_heuristics_can_be_disabled() -> None:
    scan = batch(*(frames.syn("10.0.0.1", 1, "192.0.2.1", n) for n in range(1, 20)))
    assert len(texts(Engine(TRAILS, "sensor"), scan)) == 1
    assert texts(Engine(TRAILS, "sensor", frozenset({"port_scanning"})), scan) == []


def test_trails_can_be_replaced(engine: Engine) -> None:
    ask = frames.query("10.0.0.1", "evil.tld")
    assert texts(engine, batch(ask)) == ["evil.tld"]
    engine.trails = trails_of({"other.tld": "bad"})
    assert texts(engine, batch(ask, sec=SECOND + 1)) == []
    assert len(engine.trails) == 1


def test_what_is_counted(engine: Engine) -> None:
    engine.judge(
        batch(
            frames.ping("10.0.0.1", BAD),
            frames.query("10.0.0.1", "evil.tld"),
            frames.arp("10.0.0.1", "10.0.0.2"),
            frames.frame(frames.ip("10.0.0.1", BAD, 17, b"x" * 9, fragment=7)),
            frames.ping("10.0.0.1", BAD)[:30],
        )
    )
    assert +engine.counts == {
        "packets": 5,
        "events": 2,
        "dns_queries": 1,
        "not_ip": 1,
        "fragments": 1,
        "truncated": 1,
    }


def test_batch_without_packets(engine: Engine) -> None:
    assert engine.judge(batch()) == []


@given(st.sampled_from(sorted(LINKS)), st.lists(st.binary(max_size=200), max_size=10))
def test_any_bytes(link: int, packets: list[bytes]) -> None:
    check(Engine(TRAILS, "sensor"), batch(*packets, link=link))


@settings(max_examples=500)
@given(st.data())
def test_frames_with_wrong_bytes(data: st.DataObject) -> None:
    packets = [bytearray(packet) for packet in SAMPLES]
    for packet in packets:
        for at in data.draw(st.lists(st.integers(0, len(packet) - 1), max_size=5)):
            packet[at] = data.draw(st.integers(0, 255))
        del packet[data.draw(st.integers(0, 2 * len(packet))) :]
    check(Engine(TRAILS, "sensor"), batch(*map(bytes, packets)))


def test_frames_cut_at_every_byte() -> None:
    behind = frames.ping("10.9.9.9", BAD)
    for packet in SAMPLES:
        for size in range(len(packet)):
            found = check(Engine(TRAILS, "sensor"), batch(packet[:size], behind))
            assert [event for event in found if event.src_ip == "10.9.9.9"], "what is behind is judged"


def check(engine: Engine, given: Batch) -> list[Event]:
    """The events of a batch, which raises nothing; every one of them survives its own line."""
    found = engine.judge(given)
    for event in found:
        assert parse(event.wire().decode()) == event
    return found


@pytest.mark.parametrize("asked", [True, False])
def test_requests_without_a_host_are_told_where_that_is_asked_for(asked: bool) -> None:
    engine = Engine(trails_of({}), "sensor", check_missing_host=asked)
    request = frames.tcp("10.0.0.1", 40000, "203.0.113.9", 80, b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n")
    told = [event.info for event in engine.judge(batch(request))]
    assert told == ["missing host header (suspicious)"] * asked


def test_a_heuristic_that_is_disabled_is_so_whatever_a_name_came_by() -> None:
    name = "a" * 30 + ".some.tld"
    packets = [
        frames.query("10.0.0.1", name),
        frames.tcp("10.0.0.1", 40000, "203.0.113.9", 443, frames.client_hello(name)),
        frames.tcp("10.0.0.1", 40001, "203.0.113.9", 80, frames.request(name, "/")),
    ]
    assert len(Engine(trails_of({}), "sensor").judge(batch(*packets))) == 3
    assert Engine(trails_of({}), "sensor", frozenset({"long_domain"})).judge(batch(*packets)) == []
