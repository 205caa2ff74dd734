"""What administrators set of an analyzer queue, in Redis; and a consumer's copy of it.

- ``d4:{admin}:queue:<name>``, a hash: ``description``; ``cap_entries`` and ``cap_bytes``, how much may wait
  in it; ``paused``; ``group``, the only sensors whose entries it gives out; ``dropped``, entries that were
  dropped because of the caps. What is not there is not set.
- ``d4:{admin}:groups``, a hash: name of a group of sensors to how often it was changed; and for each that
  has any a set of UUIDs, ``d4:{admin}:group:<name>``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError

GROUPS = "d4:{admin}:groups"

INTERVAL = 2.0
"""Seconds after which a consumer looks its queue's settings up again."""


class Settings(NamedTuple):
    """The settings of a queue. A cap of 0 is none; a group of "" is all sensors."""

    description: str = ""
    cap_entries: int = 0
    cap_bytes: int = 0
    paused: bool = False
    group: str = ""
    dropped: int = 0


async def settings(redis: Redis, queues: Iterable[str]) -> dict[str, Settings]:
    """The settings of these queues, in one round trip."""
    names = list(queues)
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hgetall(settings_of(name))
        answers = await pipe.execute() if names else []
    return {name: _settings(answer) for name, answer in zip(names, answers, strict=True)}


async def change(redis: Redis, queue: str, **changes: str | int) -> None:
    """Changes settings, named as in Settings; "" and 0 (for paused too) take one back."""
    key = settings_of(queue)
    kept = {name: value for name, value in changes.items() if value}
    gone = [name for name, value in changes.items() if not value]
    async with redis.pipeline() as pipe:
        if kept:
            pipe.hset(key, mapping=kept)
        if gone:
            pipe.hdel(key, *gone)
        await pipe.execute()


def settings_of(queue: str) -> str:
    """The key in Redis of a queue's settings."""
    return f"d4:{{admin}}:queue:{queue}"


def members_of(group: str) -> str:
    """The key in Redis of the sensors in a group."""
    return f"d4:{{admin}}:group:{group}"


def _settings(fields: Mapping[bytes, bytes]) -> Settings:
    found = {name.decode(): value.decode() for name, value in fields.items()}
    return Settings(
        found.get("description", ""),
        int(found.get("cap_entries", 0)),
        int(found.get("cap_bytes", 0)),
        "paused" in found,
        found.get("group", ""),
        int(found.get("dropped", 0)),
    )


class Copy:
    """What a consumer knows of its queue's settings."""

    def __init__(self, redis: Redis, queue: str) -> None:
        self.held = ""
        """Why nothing may be given out, in words; nothing, if it may."""
        self.members: frozenset[UUID] | None = None
        """The only sensors whose entries are given out; None: all."""
        self._redis = redis
        self._queue = queue
        self._looked: float | None = None
        self._group: tuple[str, bytes | None] = "", None
        """The group's name, and how often it was changed."""

    async def renew(self) -> None:
        """Takes over what Redis has now, at most every INTERVAL seconds.

        Raises what redis-py raises, but only before it has known any: in a Cluster the node that has the
        settings may be away while others have entries.
        """
        loop = asyncio.get_running_loop()
        if self._looked is not None and loop.time() - self._looked < INTERVAL:
            return
        try:
            await self._look()
        except RedisError:
            if self._looked is None:
                raise
        self._looked = loop.time()

    async def _look(self) -> None:
        paused, group = await self._redis.hmget(settings_of(self._queue), "paused", "group")
        if group is None:
            self._group, self.members = ("", None), None
        else:
            await self._take_group(group.decode())
        if paused:
            self.held = "paused by an administrator"
        elif group is not None and self._group[1] is None:
            self.held = f"held back, since there is no group of sensors {group.decode()} any more"
        else:
            self.held = ""

    async def _take_group(self, name: str) -> None:
        """Looks at the members only if they were changed since the last time."""
        changed = await self._redis.hget(GROUPS, name)
        if (name, changed) == self._group:
            return
        async with self._redis.pipeline() as pipe:
            pipe.hget(GROUPS, name)
            pipe.smembers(members_of(name))
            changed, members = await pipe.execute()
        self.members = frozenset(UUID(member.decode()) for member in members)
        self._group = name, changed
