"""A pace: so many a second, and no more."""

from __future__ import annotations

import asyncio
import time

import uvloop

from d4exporter.pace import SLACK, Pace


def seconds(rate: int, *counts: int, pause: float = 0.0) -> float:
    """The time that these many steps take, with a pause between one lot and the next."""

    async def walk() -> float:
        pace, began = Pace(rate), time.monotonic()
        for number, count in enumerate(counts):
            if number:
                await asyncio.sleep(pause)
            for _ in range(count):
                await pace.step()
        return time.monotonic() - began

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(walk())


def test_no_more_than_the_rate_goes_through() -> None:
    assert 500 / 2000 - 2 * SLACK < seconds(2000, 500) < 2


def test_nothing_waits_for_a_rate_that_it_is_below() -> None:
    assert seconds(1000, 5) < 0.5


def test_time_without_records_is_not_saved_up() -> None:
    assert seconds(2000, 1, 400, pause=0.2) > 0.2 + 400 / 2000 - 2 * SLACK


def test_zero_is_without_limit() -> None:
    assert seconds(0, 100_000) < 2
