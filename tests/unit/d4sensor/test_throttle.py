"""The first few, then a line that sums up; nothing is lost."""

from __future__ import annotations

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensing import SECOND

from d4common.event import MAX_LINE, Event, parse
from d4sensor import throttle as throttles
from d4sensor.throttle import BURST, MAX_LISTED, WINDOW, Throttle


def event(
    sec: int = 0,
    port: object = 4000,
    dst: str = "203.0.113.5",
    src: str = "10.0.0.1",
    trail: str = "evil.tld",
    proto: str = "TCP",
) -> Event:
    """A sighting, at a second behind SECOND."""
    return Event(
        SECOND + sec, 7, "sensor", src, str(port), dst, "443", proto, "DNS", trail, "x (malware)", "(static)"
    )


def admitted(throttle: Throttle, events: Iterable[Event]) -> list[Event]:
    """What is told of these events, one after another."""
    return [told for event in events for told in throttle.admit(event)]


@pytest.fixture
def throttle() -> Throttle:
    """A throttle that has seen nothing."""
    return Throttle(Counter())


def test_first_three_are_told_as_they_are_and_the_rest_as_one(throttle: Throttle) -> None:
    seen = [event(n, 4000 + n, f"203.0.113.{n % 2}", proto="UDP" if n == 9 else "TCP") for n in range(10)]
    assert admitted(throttle, seen) == seen[:BURST]
    (summary,) = throttle.flush()
    assert summary.line().split(" ", 3)[3] == (
        "10.0.0.1 4003,4004,4005,4006,4007,4008,4009 203.0.113.0,203.0.113.1 443 TCP,UDP DNS evil.tld "
        '"x (malware)" "(static) (+7 sightings)"'
    )
    assert summary.sec == SECOND + 9
    assert summary.severity == seen[0].severity
    assert list(throttle.flush()) == []


def test_summary_comes_when_the_window_is_over(throttle: Throttle) -> None:
    admitted(throttle, [event(0, n) for n in range(5)])
    assert list(throttle.due(SECOND + WINDOW - 1)) == []
    (summary,) = throttle.due(SECOND + WINDOW)
    assert summary.reference == "(static) (+2 sightings)"
    assert admitted(throttle, [event(WINDOW)]) == [event(WINDOW)]


def test_sighting_behind_the_window_ends_it(throttle: Throttle) -> None:
    admitted(throttle, [event(0, n) for n in range(5)])
    summary, next_one = admitted(throttle, [event(WINDOW + 5)])
    assert summary.reference == "(static) (+2 sightings)"
    assert next_one == event(WINDOW + 5)


def test_one_that_was_held_back_stands_for_itself(throttle: Throttle) -> None:
    seen = [event(0, n) for n in range(BURST + 1)]
    admitted(throttle, seen)
    assert list(throttle.flush()) == seen[BURST:]


def test_window_without_more_ends_silently(throttle: Throttle) -> None:
    admitted(throttle, [event()])
    assert list(throttle.due(SECOND + WINDOW)) == []


def test_other_source_or_trail_has_its_own_window(throttle: Throttle) -> None:
    for other in ({"src": "10.0.0.2"}, {"trail": "b.evil.tld"}, {}):
        assert len(admitted(throttle, [event(0, n, **other) for n in range(5)])) == BURST


def test_same_flow_and_trail_is_told_once_in_a_second(throttle: Throttle) -> None:
    assert admitted(throttle, [event(), event(), event(1)]) == [event(), event(1)]
    assert throttle._counts["repeats"] == 1


def test_no_port_is_not_listed_beside_ports(throttle: Throttle) -> None:
    admitted(throttle, [event(0, n) for n in (1, 2, 3, "-", 10, 9)])
    (summary,) = throttle.flush()
    assert summary.src_port == "9,10"


def test_clock_that_goes_back_ends_a_window(throttle: Throttle) -> None:
    admitted(throttle, [event(1000, n) for n in range(5)])
    assert [each.reference for each in admitted(throttle, [event(0)])] == [
        "(static) (+2 sightings)",
        "(static)",
    ]


def test_oldest_window_makes_room_and_is_told(throttle: Throttle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttles, "MAX_BYTES", 5000)
    admitted(throttle, [event(0, n, src="10.9.9.9") for n in range(5)])
    told = admitted(throttle, [event(0, src=f"10.0.0.{n}") for n in range(50)])
    assert [each.reference for each in told if each.src_ip == "10.9.9.9"] == ["(static) (+2 sightings)"]
    assert len(throttle._windows) < 15


def test_line_that_sums_up_many_fits_and_can_be_parsed(throttle: Throttle) -> None:
    many = [
        event(0, 10_000 + n, f"2001:db8:1111:2222:3333:4444:5555:{n:x}", trail="x" * 1000)
        for n in range(4000)
    ]
    admitted(throttle, many)
    (summary,) = throttle.flush()
    assert MAX_LISTED / 2 - 2 <= len(summary.dst_ip.split(",")) <= MAX_LISTED
    assert summary.reference == f"(static) (+{4000 - BURST} sightings)"
    assert len(summary.wire()) < MAX_LINE
    assert parse(summary.wire().decode()) == summary


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 40), st.sampled_from("ab"))))
def test_nothing_is_lost(sightings: list[tuple[int, int, str]]) -> None:
    counts: Counter[str] = Counter()
    throttle = Throttle(counts)
    told = admitted(throttle, [event(sec, port, trail=trail) for sec, port, trail in sightings])
    told += throttle.flush()
    number = sum(int(each.reference.partition("+")[2].partition(" ")[0] or 1) for each in told)
    assert number + counts["repeats"] == len(sightings)


def sources() -> Iterator[Event]:
    """Many sources, each seen once."""
    return (event(0, 1000, src=f"2001:db8::{n:x}") for n in range(20_000))


def busy_sources() -> Iterator[Event]:
    """Many sources, each of them summed up."""
    return (event(0, 1000 + p, src=f"2001:db8::{n:x}") for n in range(4000) for p in range(6))


def destinations() -> Iterator[Event]:
    """Sources that make lines as long as can be."""
    places = ((n, p) for n in range(400) for p in range(100))
    return (event(0, 1000 + p, f"2001:db8::{p:x}", f"2001:db8::{n:x}") for n, p in places)


def long_trails() -> Iterator[Event]:
    """Trails of which each is as long as an event may be."""
    return (event(0, 1000 + p, trail=f"{n}{'x' * 8000}") for n in range(1000) for p in range(5))


@pytest.mark.parametrize("flood", [sources, busy_sources, destinations, long_trails])
def test_memory_under_a_flood_is_bounded(
    flood: Callable[[], Iterator[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A quarter of the bounds; without them each flood takes more than twice as much."""
    monkeypatch.setattr(throttles, "MAX_BYTES", throttles.MAX_BYTES // 4)
    monkeypatch.setattr(throttles, "MAX_SEEN", throttles.MAX_SEEN // 4)
    throttle = Throttle(Counter())
    tracemalloc.start()
    for each in flood():
        for _ in throttle.admit(each):
            pass
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert throttle._bytes == sum(each.size for each in throttle._windows.values())
    assert used < 3.5e6


@pytest.mark.parametrize("burst", [1, 4])
def test_how_many_are_told_one_by_one_can_be_chosen(burst: int) -> None:
    throttle = Throttle(Counter(), burst)
    assert len(admitted(throttle, [event(0, n) for n in range(10)])) == burst
    (summary,) = throttle.flush()
    assert summary.reference == f"(static) (+{10 - burst} sightings)"
