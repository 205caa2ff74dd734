"""Groups of sensors, which have names; a sensor may be in several. Queues can be for one group alone.

In Redis as d4common.queue_settings has it, since consumers read them too.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis

from d4common import queue_settings
from d4common.queue_settings import GROUPS, members_of
from d4common.queues import queues
from d4server.sensors import Refused


class Group(NamedTuple):
    """A group, and how many sensors are in it."""

    name: str
    sensors: int


def parse(text: str) -> str:
    """The name of a group. Raises ValueError."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text):
        raise ValueError("must be at most 64 letters, digits, dots, dashes and underscores")
    return text


async def groups(redis: Redis) -> list[Group]:
    """All groups, by name."""
    names = await _names(redis)
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.scard(members_of(name))
        counts = await pipe.execute() if names else []
    return [Group(name, count) for name, count in zip(names, counts, strict=True)]


async def members(redis: Redis, group: str) -> list[UUID]:
    """The sensors in a group. Raises Refused where there is no such group."""
    await _look(redis, group)
    return sorted(UUID(each.decode()) for each in await redis.smembers(members_of(group)))


async def groups_of(redis: Redis, sensor: UUID) -> list[str]:
    """The groups that a sensor is in, by name."""
    names = await _names(redis)
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.sismember(members_of(name), str(sensor))
        found = await pipe.execute() if names else []
    return [name for name, inside in zip(names, found, strict=True) if inside]


async def memberships(redis: Redis) -> dict[UUID, tuple[str, ...]]:
    """Every sensor that is in any group, and which these are, by name."""
    names = await _names(redis)
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.smembers(members_of(name))
        answers = await pipe.execute() if names else []
    found: dict[UUID, tuple[str, ...]] = {}
    for name, inside in zip(names, answers, strict=True):
        for uuid in inside:
            sensor = UUID(uuid.decode())
            found[sensor] = (*found.get(sensor, ()), name)
    return found


async def create(redis: Redis, group: str) -> None:
    """Makes a group, in which no sensor is. Raises Refused where there is one of this name."""
    if not await redis.hsetnx(GROUPS, group, 1):
        raise Refused(f"there is a group {group} already")


async def delete(redis: Redis, group: str) -> None:
    """Deletes a group. Raises Refused where there is none, and where a queue is for it."""
    await _look(redis, group)
    known = await queue_settings.settings(redis, await queues(redis))
    using = [queue for queue, settings in known.items() if settings.group == group]
    if using:
        raise Refused(f"the analyzer queue {using[0]} is for the sensors of {group}; change that first")
    async with redis.pipeline() as pipe:
        pipe.hdel(GROUPS, group)
        pipe.delete(members_of(group))
        await pipe.execute()


async def join(redis: Redis, group: str, sensor: UUID) -> None:
    """Puts a sensor into a group. Raises Refused where there is no such group."""
    await _look(redis, group)
    async with redis.pipeline() as pipe:
        pipe.sadd(members_of(group), str(sensor))
        pipe.hincrby(GROUPS, group, 1)
        await pipe.execute()


async def leave(redis: Redis, group: str, sensor: UUID) -> bool:
    """Takes a sensor out of a group; False if it was not in it. Raises Refused where there is no group."""
    await _look(redis, group)
    async with redis.pipeline() as pipe:
        pipe.srem(members_of(group), str(sensor))
        pipe.hincrby(GROUPS, group, 1)
        removed, _ = await pipe.execute()
    return bool(removed)


async def leave_all(redis: Redis, sensor: UUID) -> None:
    """Takes a sensor out of all groups: it is forgotten."""
    for group in await groups_of(redis, sensor):
        await leave(redis, group, sensor)


async def limit_queue(redis: Redis, queue: str, group: str) -> None:
    """Has a queue give out entries of a group's sensors alone; of all, where the group is "".

    Raises Refused where there is no such group. What others have sent is acknowledged when a consumer
    comes to it.
    """
    if group:
        await _look(redis, group)
    await queue_settings.change(redis, queue, group=group)


async def _names(redis: Redis) -> list[str]:
    return sorted(name.decode() for name in await redis.hkeys(GROUPS))


async def _look(redis: Redis, group: str) -> None:
    """Raises Refused where there is no such group."""
    if not await redis.hexists(GROUPS, group):
        raise Refused(f"there is no group {group}")
