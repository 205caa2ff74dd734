"""Sensors that have fallen silent: limits that administrators set, and a look that finds who exceeds them.

A sensor is silent while nothing authentic of it has come for longer than its limit. It is told once, and once
when it is heard again, by whichever server's look is first. What every look has to tell is the business of
alerts.py.

- ``d4:{sensors}:silence``, a hash: UUID to the limit in seconds and since when it is watched, with a space
  between them.
- ``d4:{sensors}:silent``, a hash: UUID of those of whom it was told, to when each was last heard.

Times are seconds since the epoch.
"""

from __future__ import annotations

import time
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis

from d4server.sensors import SILENCE, SILENT, record_of
from d4server.statistics import last_seen


class Watched(NamedTuple):
    """A sensor that is watched. ``seen`` is when it was last heard, 0 if not since statistics are kept.

    ``silent`` is for how long it has been so in seconds, from when it was watched at the earliest.
    """

    sensor: UUID
    limit: int
    since: int
    seen: int
    silent: int

    @property
    def exceeded(self) -> bool:
        """Whether it is silent for longer than its limit."""
        return self.silent > self.limit


class Alert(NamedTuple):
    """What is to be told of a sensor: that it is ``silent``, or that it is ``back``."""

    sensor: UUID
    name: str
    state: str
    seen: int
    limit: int

    def __str__(self) -> str:
        called = f"{self.name} ({self.sensor})" if self.name else str(self.sensor)
        if self.state == "back":
            return f"sensor {called} is heard again"
        last = f"last heard {_time(self.seen)}" if self.seen else "not heard at all"
        return f"sensor {called} is silent for longer than {self.limit} s: {last}"


async def watch(redis: Redis, sensor: UUID, limit: int | None) -> None:
    """Sets how many seconds a sensor may be silent; None ends the watch."""
    async with redis.pipeline() as pipe:
        if limit is None:
            pipe.hdel(SILENCE, str(sensor))
            pipe.hdel(SILENT, str(sensor))
        else:
            pipe.hset(SILENCE, str(sensor), f"{limit} {int(time.time())}")
        await pipe.execute()


async def limit_of(redis: Redis, sensor: UUID) -> int | None:
    """How many seconds a sensor may be silent; None where it is not watched."""
    found = await redis.hget(SILENCE, str(sensor))
    return None if found is None else _limit(found)[0]


async def watched(redis: Redis) -> list[Watched]:
    """All sensors that are watched, by UUID, and how they are now."""
    limits = await redis.hgetall(SILENCE)
    seen = await last_seen(redis) if limits else {}
    now = int(time.time())
    found = []
    for text, value in limits.items():
        sensor, (limit, since) = UUID(text.decode()), _limit(value)
        last = seen.get(sensor, 0)
        found.append(Watched(sensor, limit, since, last, max(0, now - max(last, since))))
    return sorted(found)


async def errors(redis: Redis) -> list[str]:
    """The sensors that are silent for too long, as the reference server names them: 32 hexadecimal digits."""
    return [each.sensor.hex for each in await watched(redis) if each.exceeded]


async def look(redis: Redis) -> list[Alert]:
    """Who has fallen silent since the last look, and who is back. Raises what redis-py raises."""
    alerts = []
    told = {UUID(text.decode()) for text in await redis.hkeys(SILENT)}
    for each in await watched(redis):
        uuid = str(each.sensor)
        if each.exceeded and each.sensor not in told:
            if await redis.hsetnx(SILENT, uuid, each.seen):
                alerts.append(await _alert(redis, each, "silent"))
        elif not each.exceeded and each.sensor in told and await redis.hdel(SILENT, uuid):
            alerts.append(await _alert(redis, each, "back"))
    return alerts


async def _alert(redis: Redis, each: Watched, state: str) -> Alert:
    name = await redis.hget(record_of(each.sensor), "name")
    return Alert(each.sensor, (name or b"").decode(), state, each.seen, each.limit)


def _limit(value: bytes) -> tuple[int, int]:
    limit, since = value.split()
    return int(limit), int(since)


def _time(when: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(when))
