"""Address trails, rule by rule."""

from __future__ import annotations

from collections.abc import Callable

import frames
import pytest
from sensing import batch, batch_at, events, told, trails_of

from d4sensor.engine import Engine
from d4sensor.judges import address
from d4sensor.trails import Trail

BAD = "203.0.113.5"
HOME = "10.0.0.1"


def test_ping_is_the_line_that_maltrail_writes() -> None:
    (event,) = events(
        {"136.161.101.53": "sinkhole conficker (malware)"}, frames.ping("10.0.0.5", "136.161.101.53")
    )
    assert event.line().split(" ", 3)[3] == (
        '10.0.0.5 - 136.161.101.53 - ICMP IP 136.161.101.53 "sinkhole conficker (malware)" (static)'
    )


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (frames.syn(HOME, 4000, BAD, 443), f"{HOME} 4000 {BAD} 443 TCP IP {BAD}"),
        (frames.syn(BAD, 4000, HOME, 443), f"{BAD} 4000 {HOME} 443 TCP IP {BAD}"),
        (frames.syn(HOME, 1, BAD, 2, frames.SYN | frames.ECE | frames.CWR), f"{HOME} 1 {BAD} 2 TCP IP {BAD}"),
        (frames.udp(HOME, 4000, BAD, 443), f"{HOME} 4000 {BAD} 443 UDP IP {BAD}"),
        (frames.udp(BAD, 443, HOME, 4000), f"{BAD} 443 {HOME} 4000 UDP IP {BAD}"),
        (frames.ping(HOME, BAD), f"{HOME} - {BAD} - ICMP IP {BAD}"),
        (frames.ping(BAD, HOME), f"{BAD} - {HOME} - ICMP IP {BAD}"),
        (frames.frame(frames.ip(HOME, BAD, 47, b"x")), f"{HOME} - {BAD} - GRE IP {BAD}"),
        (frames.frame(frames.ip(HOME, BAD, 132, b"x")), f"{HOME} - {BAD} - SCTP IP {BAD}"),
        (frames.udp(HOME, 0, BAD, 0), f"{HOME} - {BAD} - UDP IP {BAD}"),
        (frames.udp(HOME, 4000, BAD, 53, b"no query"), f"{HOME} 4000 {BAD} 53 UDP IP {BAD}"),
    ],
)
def test_listed_address(packet: bytes, line: str) -> None:
    assert told({BAD: "bad"}, packet) == [line]


def test_both_listed_is_told_of_the_destination() -> None:
    assert told({BAD: "bad", HOME: "worse"}, frames.syn(HOME, 1, BAD, 2)) == [
        f"{HOME} 1 {BAD} 2 TCP IP {BAD}"
    ]


@pytest.mark.parametrize("make", [frames.syn, frames.udp])
def test_listed_endpoint(make: Callable[[str, int, str, int], bytes]) -> None:
    proto = "TCP" if make is frames.syn else "UDP"
    trails = {f"{BAD}:4444": "c2"}
    assert told(trails, make(HOME, 1, BAD, 4444)) == [f"{HOME} 1 {BAD} 4444 {proto} IPORT {BAD}:4444"]
    assert told(trails, make(BAD, 4444, HOME, 1)) == [f"{BAD} 4444 {HOME} 1 {proto} IPORT {BAD}:4444"]
    assert told(trails, make(HOME, 1, BAD, 4445)) == []
    assert told(trails, make(HOME, 4444, BAD, 1)) == []


def test_endpoint_goes_before_address() -> None:
    (event,) = events({BAD: "bad", f"{BAD}:443": "c2"}, frames.syn(HOME, 1, BAD, 443))
    assert (event.type, event.trail, event.info) == ("IPORT", f"{BAD}:443", "c2")


@pytest.mark.parametrize("written", ["2001:db8::bad:0:1", "2001:DB8:0:0:0:bad:0:1", "2001:db8:0::0:bad:0:1"])
def test_ipv6_however_the_trail_is_written(written: str) -> None:
    home, bad = "2001:db8::1", "2001:db8::bad:0:1"
    assert told({written: "bad"}, frames.syn(home, 1, bad, 2)) == [f"{home} 1 {bad} 2 TCP IP {bad}"]
    assert told({written: "bad"}, frames.ping(home, bad)) == [f"{home} - {bad} - ICMPV6 IP {bad}"]
    assert told({f"[{written}]:443": "bad"}, frames.udp(home, 1, bad, 443)) == [
        f"{home} 1 {bad} 443 UDP IPORT [{bad}]:443"
    ]
    assert told({written: "bad"}, frames.syn(home, 1, "2001:db8::bad:0:2", 2)) == []


def test_network() -> None:
    trails = {"203.0.113.0/24": "net", "2001:db8:bad::/48": "net6"}
    assert told(trails, frames.syn(HOME, 1, BAD, 2)) == [f"{HOME} 1 {BAD} 2 TCP IP 203.0.113.0/24"]
    assert told(trails, frames.syn(HOME, 1, "203.0.114.0", 2)) == []
    assert told(trails, frames.ping("2001:db8::1", "2001:db8:bad:7::9")) == [
        "2001:db8::1 - 2001:db8:bad:7::9 - ICMPV6 IP 2001:db8:bad::/48"
    ]


@pytest.mark.parametrize(
    ("info", "packet", "reported"),
    [
        # Nobody here is accused of talking to an attacker, who may only have asked.
        ("known attacker", frames.syn(HOME, 1, BAD, 2), False),
        ("known attacker", frames.syn(BAD, 1, HOME, 2), True),
        ("known attacker", frames.udp(HOME, 1, BAD, 2), True),
        # A parking site is one for the web.
        ("parking site (suspicious)", frames.syn(HOME, 1, BAD, 80), True),
        ("parking site (suspicious)", frames.syn(HOME, 1, BAD, 443), True),
        ("parking site (suspicious)", frames.syn(HOME, 1, BAD, 25), False),
        # A server of malware is bad to go to; what comes from there may be anything.
        ("x (malware)", frames.syn(HOME, 1, BAD, 2), True),
        ("x (malware)", frames.syn(BAD, 1, HOME, 2), False),
        ("x (malware)", frames.udp(HOME, 1, BAD, 2), True),
        ("x (malware)", frames.udp(BAD, 1, HOME, 2), False),
        ("x (malware)", frames.ping(BAD, HOME), True),
    ],
)
def test_suppression_by_info(info: str, packet: bytes, reported: bool) -> None:
    assert bool(told({BAD: info}, packet)) == reported


def test_connection_to_oneself_is_not_told_of_the_source() -> None:
    assert told({BAD: "bad"}, frames.syn(BAD, 1, "127.0.0.1", 2)) == []
    assert told({"2001:db8::bad": "bad"}, frames.syn("2001:db8::bad", 1, "::1", 2)) == []


def test_reference_is_that_of_the_trail() -> None:
    (event,) = events({BAD: "bad"}, frames.ping(HOME, BAD))
    assert Trail(event.info, event.reference) == Trail("bad", "(static)")


def answer(src: str, sport: int, dst: str, dport: int) -> bytes:
    """What accepts a connection."""
    return frames.syn(src, sport, dst, dport, frames.SYN | frames.ACK)


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (frames.tcp(HOME, 50000, BAD, 443, b"x"), f"{HOME} 50000 {BAD} 443 TCP IP {BAD}"),
        (frames.tcp(BAD, 443, HOME, 50000, b"x"), f"{BAD} 443 {HOME} 50000 TCP IP {BAD}"),
        (frames.syn(HOME, 50000, BAD, 443, frames.ACK), f"{HOME} 50000 {BAD} 443 TCP IP {BAD}"),
        (frames.syn(HOME, 50000, BAD, 443, frames.FIN | frames.ACK), f"{HOME} 50000 {BAD} 443 TCP IP {BAD}"),
        (answer(BAD, 443, HOME, 50000), f"{BAD} 443 {HOME} 50000 TCP IP {BAD}"),
        (answer(HOME, 443, BAD, 50000), f"{HOME} 443 {BAD} 50000 TCP IP {BAD}"),
    ],
)
def test_connection_under_way(packet: bytes, line: str) -> None:
    assert told({BAD: "bad"}, packet) == [line]


def test_connection_under_way_over_ipv6() -> None:
    home, bad = "2001:db8::1", "2001:db8::bad"
    assert told({bad: "bad"}, frames.tcp(bad, 443, home, 50000, b"x")) == [
        f"{bad} 443 {home} 50000 TCP IP {bad}"
    ]


def test_connection_under_way_with_a_listed_endpoint() -> None:
    """Whichever port is higher."""
    for port in (443, 60000):
        trails = {f"{BAD}:{port}": "c2 (malware)"}
        there, back = frames.tcp(HOME, 50000, BAD, port, b"x"), frames.tcp(BAD, port, HOME, 50000, b"x")
        assert told(trails, there, back) == [f"{HOME} 50000 {BAD} {port} TCP IPORT {BAD}:{port}"]
        assert told(trails, back, there) == [f"{BAD} {port} {HOME} 50000 TCP IPORT {BAD}:{port}"]
        assert told(trails, frames.tcp(HOME, 50000, BAD, 80, b"x")) == []


def test_reset_is_no_connection() -> None:
    assert told({BAD: "bad"}, frames.syn(HOME, 50000, BAD, 443, frames.RST)) == []
    assert told({BAD: "bad"}, frames.syn(BAD, 443, HOME, 50000, frames.RST | frames.ACK)) == []


def test_connection_is_told_once_whoever_speaks() -> None:
    (line,) = told({BAD: "bad"}, *frames.conversation(HOME, 50000, BAD, 443, b"a", b"b", b"c"))
    assert line == f"{HOME} 50000 {BAD} 443 TCP IP {BAD}"
    assert len(told({BAD: "bad"}, *frames.conversation(HOME, 50000, BAD, 443, b"a", b"b", b"c")[3:])) == 1
    two = [frames.tcp(HOME, port, BAD, 443, b"x") for port in (50000, 50001)]
    assert len(told({BAD: "bad"}, *two)) == 2


def test_connection_is_told_once_for_as_long_as_it_lasts() -> None:
    engine = Engine(trails_of({BAD: "bad"}), "sensor")
    segment = frames.tcp(HOME, 50000, BAD, 443, b"x")
    assert len(engine.judge(batch_at(*((n * 600, segment) for n in range(50))))) == 1
    engine.trails = trails_of({BAD: "bad"})
    assert engine.judge(batch_at((50 * 600, segment))) == []
    assert len(engine.judge(batch_at((50 * 600 + address.SILENCE + 1, segment)))) == 1


@pytest.mark.parametrize(
    ("info", "packet", "reported"),
    [
        ("known attacker", answer(BAD, 443, HOME, 50000), False),
        ("known attacker", answer(HOME, 443, BAD, 50000), True),
        ("known attacker", frames.tcp(HOME, 50000, BAD, 443, b"x"), False),
        ("known attacker", frames.tcp(BAD, 443, HOME, 50000, b"x"), False),
        ("known attacker", frames.tcp(BAD, 50000, HOME, 443, b"x"), True),
        ("parking site (suspicious)", answer(BAD, 443, HOME, 50000), True),
        ("parking site (suspicious)", answer(BAD, 25, HOME, 50000), False),
        ("x (malware)", answer(BAD, 443, HOME, 50000), True),
        ("x (malware)", answer(HOME, 443, BAD, 50000), False),
        ("x (malware)", frames.tcp(HOME, 50000, BAD, 443, b"x"), True),
        ("x (malware)", frames.tcp(BAD, 443, HOME, 50000, b"x"), True),
        ("x (malware)", frames.tcp(HOME, 443, BAD, 50000, b"x"), False),
    ],
)
def test_suppression_by_info_is_that_of_the_opening(info: str, packet: bytes, reported: bool) -> None:
    assert bool(told({BAD: info}, packet)) == reported


def test_connection_whose_opening_was_not_reported_stays_so() -> None:
    opened = frames.conversation(HOME, 50000, BAD, 443, b"a", b"b")
    assert told({BAD: "known attacker"}, *opened) == []
    assert told({BAD: "x (malware)"}, *frames.conversation(BAD, 443, HOME, 50000, b"a", b"b")) == []


def test_connections_under_a_flood_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "MAX_CONNECTIONS", 100)
    engine = Engine(trails_of({BAD: "bad"}), "sensor")
    for n in range(5):
        engine.judge(batch(*(frames.tcp(HOME, n * 1000 + k, BAD, 443, b"x") for k in range(1000))))
    assert len(engine._connections._last) == 100
