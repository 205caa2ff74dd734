"""d4exporter.pace: how many records go in which time."""

from __future__ import annotations

import asyncio

import pytest

from d4exporter.pace import SLACK, Pace


@pytest.mark.parametrize(("rate", "records"), [(1000, 100), (10_000, 1000)])
def test_no_more_go_than_the_rate_allows(rate: int, records: int) -> None:
    assert seconds_for(rate, records) >= records / rate - SLACK


def test_without_a_limit_nothing_waits() -> None:
    assert seconds_for(0, 10_000) < 1


def test_what_was_not_used_is_not_saved_up() -> None:
    async def test() -> float:
        loop = asyncio.get_running_loop()
        pace = Pace(1000)
        await pace.step()
        await asyncio.sleep(0.2)
        began = loop.time()
        for _ in range(100):
            await pace.step()
        return loop.time() - began

    assert asyncio.run(test()) >= 0.1 - SLACK - 0.001


def seconds_for(rate: int, records: int) -> float:
    """How long it takes until so many records may have gone."""

    async def test() -> float:
        loop = asyncio.get_running_loop()
        pace = Pace(rate)
        began = loop.time()
        for _ in range(records):
            await pace.step()
        return loop.time() - began

    return asyncio.run(test())
