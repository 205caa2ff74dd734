"""Beacons, and what beats as regularly but is none."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import frames
import pytest
from sensing import batch_at, trails_of

from d4sensor.engine import Engine
from d4sensor.judges import beacon
from d4sensor.judges.beacon import INTERVALS, QUIET

HOME, AWAY = "10.0.0.1", "203.0.113.5"

Make = Callable[[str, int, str, int], bytes]


def told(
    times: Iterable[float], src: str = HOME, dst: str = AWAY, port: int = 443, make: Make = frames.syn
) -> list[str]:
    """The events of contacts at these times, each from a port of its own."""
    contacts = [(when, make(src, 40_000 + n, dst, port)) for n, when in enumerate(times)]
    events = Engine(trails_of({}), "sensor").judge(batch_at(*contacts))
    return [f"{each.proto} {each.type} {each.trail} {each.info} {each.reference}" for each in events]


def clock(count: int, interval: float = 60, jitter: float = 0.0) -> list[float]:
    """Times that follow one another like this; ``jitter`` is by how much an interval may be longer."""
    rng = random.Random(4)
    times = [0.0]
    for _ in range(count - 1):
        times.append(times[-1] + interval * (1 + rng.random() * jitter))
    return times


ENOUGH = INTERVALS + 2
"""Contacts of a beacon: of the first only that it was made is known."""

TEXT = "potential periodic beaconing (suspicious) (heuristic)"


@pytest.mark.parametrize("make", [frames.syn, frames.udp])
@pytest.mark.parametrize(
    ("src", "dst", "trail"),
    [(HOME, AWAY, f"{AWAY}:443"), ("2001:db8::1", "2001:db8:1::5", "[2001:db8:1::5]:443")],
)
def test_beacon(make: Make, src: str, dst: str, trail: str) -> None:
    proto = "TCP" if make is frames.syn else "UDP"
    assert told(clock(ENOUGH), src, dst, make=make) == [f"{proto} IPORT {trail} {TEXT}"]
    assert told(clock(ENOUGH - 1), src, dst, make=make) == []


@pytest.mark.parametrize(
    ("interval", "jitter", "found"),
    [(10, 0, 1), (1800, 0, 1), (9, 0, 0), (60, 0.04, 1), (60, 0.15, 0), (60, 3, 0)],
)
def test_intervals(interval: float, jitter: float, found: int) -> None:
    assert len(told(clock(ENOUGH * 3, interval, jitter))) == found


def test_beacon_is_told_once_a_day() -> None:
    assert len(told(clock(QUIET // 600 + ENOUGH, 600))) == 1 + 1


def test_interval_that_differs_begins_a_new_series() -> None:
    half = clock(ENOUGH - 1)
    late = [when + half[-1] + 30 for when in clock(INTERVALS)]
    assert told(half + late) == []
    assert len(told([*half, *late, late[-1] + 60])) == 1


def test_contacts_between_the_beats() -> None:
    """Two connections at once are one contact; a busy host is no beacon."""
    beats = clock(ENOUGH)
    assert len(told(sorted(beats + [when + 0.1 for when in beats]))) == 1
    assert told(sorted(beats + [when + 5 for when in beats])) == []


@pytest.mark.parametrize(
    ("src", "dst", "port"),
    [
        (HOME, AWAY, 123),
        (HOME, AWAY, 53),
        (HOME, AWAY, 853),
        (HOME, "10.9.9.9", 443),
        (HOME, "172.31.0.1", 443),
        (HOME, "192.168.1.1", 443),
        (HOME, "239.255.255.250", 443),
        (HOME, "255.255.255.255", 443),
        (HOME, "169.254.1.1", 443),
        ("127.0.0.1", "127.0.0.1", 443),
        ("2001:db8::1", "fd00::1", 443),
        ("2001:db8::1", "fe80::1", 443),
        ("2001:db8::1", "ff02::1", 443),
        # Whoever watches over a service from outside.
        ("198.51.100.7", AWAY, 443),
    ],
)
@pytest.mark.parametrize("make", [frames.syn, frames.udp])
def test_what_beats_but_is_no_beacon(src: str, dst: str, port: int, make: Make) -> None:
    assert told(clock(30), src, dst, port, make) == []


@pytest.mark.parametrize("make", [frames.syn, frames.udp])
def test_same_port_keeps_something_alive(make: Make) -> None:
    packets = [(n * 25, make(HOME, 40000, AWAY, 51820)) for n in range(50)]
    assert Engine(trails_of({}), "sensor").judge(batch_at(*packets)) == []


def test_contacts_in_batches_of_their_own() -> None:
    engine = Engine(trails_of({}), "sensor")
    found = [
        engine.judge(batch_at((when, frames.syn(HOME, 40_000 + n, AWAY, 443))))
        for n, when in enumerate(clock(ENOUGH))
    ]
    assert list(map(len, found)) == [0] * (ENOUGH - 1) + [1]


def test_it_can_be_disabled() -> None:
    contacts = [(when, frames.syn(HOME, 40_000 + n, AWAY, 443)) for n, when in enumerate(clock(30))]
    assert Engine(trails_of({}), "sensor", frozenset({"beaconing"})).judge(batch_at(*contacts)) == []


def test_series_under_a_flood_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beacon, "MAX_SERIES", 100)
    engine = Engine(trails_of({}), "sensor", frozenset({"port_scanning"}))
    for n in range(5):
        engine.judge(
            batch_at(*((n, frames.syn(HOME, n, f"203.0.{k >> 8}.{k & 255}", 443)) for k in range(1000)))
        )
    (judge,) = (each for each in engine._heuristics if isinstance(each, beacon.BeaconJudge))
    assert len(judge._series) == 100
