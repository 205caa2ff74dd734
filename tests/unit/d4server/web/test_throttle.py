"""How many requests an address may make."""

from __future__ import annotations

import pytest

from d4server.web import throttle
from d4server.web.throttle import BURST, RATE, Throttle


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [1000.0]
    monkeypatch.setattr(throttle.time, "monotonic", lambda: now[0])
    return now


def test_a_burst_is_let_through_and_then_the_rate(clock: list[float]) -> None:
    made = Throttle()
    assert [made.take("192.0.2.1") for _ in range(int(BURST))] == [0.0] * int(BURST)
    assert made.take("192.0.2.1") == pytest.approx(1 / RATE)
    assert made.take("192.0.2.2") == 0.0
    clock[0] += 1.0
    assert [made.take("192.0.2.1") > 0 for _ in range(int(RATE) + 1)] == [False] * int(RATE) + [True]


def test_a_network_of_ipv6_is_one_address(clock: list[float]) -> None:
    made = Throttle()
    for number in range(int(BURST)):
        assert made.take(f"2001:db8::{number:x}") == 0.0
    assert made.take("2001:db8::ffff") > 0
    assert made.take("2001:db8:0:1::1") == 0.0


def test_it_remembers_so_many_addresses(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "MOST_ADDRESSES", 10)
    made = Throttle()
    while not made.take("192.0.2.1"):
        pass
    for number in range(10):
        made.take(f"198.51.100.{number}")
    assert made.take("192.0.2.1") == 0.0
