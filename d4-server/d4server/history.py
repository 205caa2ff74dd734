"""What the statistics say of the last days: of one sensor, and of all of them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis

from d4server import statistics
from d4server.statistics import DAY, Day, Volume


class SensorDay(NamedTuple):
    """A sensor's day: when it was heard first and last (seconds since the epoch; 0: never), and where."""

    date: str
    first: int
    last: int
    address: str
    volumes: dict[str, Volume]
    refused: dict[str, int]


class TotalDay(NamedTuple):
    """A day of all sensors; see statistics.Day."""

    date: str
    volumes: dict[str, Volume]
    refused: dict[str, int]
    strangers: dict[str, int]


async def of_sensor(redis: Redis, sensor: UUID, days: int) -> list[SensorDay]:
    """The last days of a sensor, today at the end; those on which there was nothing too."""
    numbers = _last(days)
    answers = await _hashes(redis, [statistics.day_key(sensor, number) for number in numbers])
    return [_sensor_day(number, fields) for number, fields in zip(numbers, answers, strict=True)]


async def of_all(redis: Redis, days: int) -> list[TotalDay]:
    """The last days of all sensors, today at the end."""
    numbers = _last(days)
    answers = map(
        statistics.read_day, await _hashes(redis, [statistics.total_key(number) for number in numbers])
    )
    return [TotalDay(statistics.date_of(number), *day) for number, day in zip(numbers, answers, strict=True)]


def add_up(days: Iterable[SensorDay | TotalDay]) -> Day:
    """Several days in one."""
    whole = Day({}, {}, {})
    for day in days:
        for type, volume in day.volumes.items():
            sum = whole.volumes.setdefault(type, Volume())
            sum.packets += volume.packets
            sum.bytes += volume.bytes
            sum.records += volume.records
        for reason, number in day.refused.items():
            whole.refused[reason] = whole.refused.get(reason, 0) + number
    return whole


def _last(days: int) -> list[int]:
    today = int(time.time()) // DAY
    return list(range(today - days + 1, today + 1))


async def _hashes(redis: Redis, keys: Iterable[str]) -> list[dict[bytes, bytes]]:
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.hgetall(key)
        answers: list[dict[bytes, bytes]] = await pipe.execute()
    return answers


def _sensor_day(number: int, fields: Mapping[bytes, bytes]) -> SensorDay:
    day = statistics.read_day(dict(fields))
    first, last = (int(fields.get(name, 0)) for name in (b"first", b"last"))
    address = fields.get(b"address", b"").decode()
    return SensorDay(statistics.date_of(number), first, last, address, day.volumes, day.refused)
