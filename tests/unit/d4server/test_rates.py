"""How fast a sensor, or an address, may send."""

from __future__ import annotations

import time

import pytest

from d4server.rates import Rate


class Clock:
    """A clock that stands."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


def test_a_burst_is_free_and_the_rest_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch)
    rate = Rate()
    assert rate.take(600, 1000) == 0
    assert rate.take(400, 1000) == 0
    assert rate.take(500, 1000) == pytest.approx(0.5)
    assert rate.take(1000, 1000) == pytest.approx(1.5)


def test_over_time_it_is_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rate = Clock(monkeypatch), Rate()
    began = clock.now
    for _ in range(100):
        clock.now += rate.take(700, 1000)
    assert clock.now - began == pytest.approx(70 - 1)


def test_silence_gives_no_more_than_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rate = Clock(monkeypatch), Rate()
    rate.take(1000, 1000)
    clock.now += 1000
    assert rate.take(1000, 1000) == 0
    assert rate.take(1, 1000) > 0


def test_no_rate_is_no_limit() -> None:
    rate = Rate()
    assert [rate.take(1 << 30, 0) for _ in range(2)] == [0, 0]
    assert rate.take(1, 1) == 0, "nor is it held against anybody later"
