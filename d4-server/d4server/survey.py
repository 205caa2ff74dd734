"""What lies in Redis at the moment: streams, analyzer queues and how far behind they are, memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from redis.asyncio import Redis

from d4common import queue_settings
from d4common.queue_settings import Settings
from d4common.queues import left, parse_id, queues
from d4common.records import streams


class Stream(NamedTuple):
    """The streams of one data type together: entries, and bytes of memory that they take, about."""

    type: str
    entries: int
    bytes: int


class Queue(NamedTuple):
    """An analyzer queue: entries that it has not yet given out, and those that it has, unacknowledged.

    ``oldest`` is how long ago the first of all these was stored, in seconds; 0 where there is none.
    """

    name: str
    type: str
    lag: int
    pending: int
    consumers: int
    oldest: float


class Member(NamedTuple):
    """A consumer of a queue: seconds since it last asked, and entries that it has not acknowledged."""

    name: str
    idle: float
    pending: int


class Survey(NamedTuple):
    """All of it. Memory is in bytes; ``memory_limit`` is 0 where Redis has none. Settings are by queue."""

    streams: list[Stream]
    queues: list[Queue]
    memory: int
    memory_limit: int
    settings: dict[str, Settings]


async def survey(redis: Redis, types: Iterable[str]) -> Survey:
    """Looks at the streams of these types, in a few round trips. Raises what redis-py raises."""
    known = await queues(redis)
    found, groups = [], {}
    for type in sorted({*types, *known.values()}):
        stream, groups[type] = await _stream(redis, type)
        if stream.entries or groups[type]:
            found.append(stream)
    behind = [await _queue(redis, name, type, groups[type]) for name, type in sorted(known.items())]
    settings = await queue_settings.settings(redis, known)
    memory = await redis.info("memory")
    return Survey(found, behind, memory["used_memory"], memory["maxmemory"], settings)


async def behind(redis: Redis, names: Iterable[str]) -> list[Queue]:
    """How far behind some queues are, in a few round trips for each of their types and each of them."""
    known = await queues(redis)
    wanted = {name: known[name] for name in names if name in known}
    groups = {type: (await _stream(redis, type))[1] for type in set(wanted.values())}
    return [await _queue(redis, name, type, groups[type]) for name, type in wanted.items()]


Groups = dict[str, tuple[int, dict[str, dict[str, Any]]]]
"""By key of a stream: its entries, and by name its groups as XINFO GROUPS has them."""


async def _stream(redis: Redis, type: str) -> tuple[Stream, Groups]:
    """One type. A stream to which nothing was ever appended does not exist: it has no groups."""
    keys = streams(type)
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.xlen(key)
            pipe.memory_usage(key)
            pipe.xinfo_groups(key)
        answers = await pipe.execute(raise_on_error=False)
    lengths, sizes, groups = answers[::3], answers[1::3], answers[2::3]
    for answer in (*lengths, *sizes):
        if isinstance(answer, Exception):
            raise answer
    found = {
        key: (length, {group["name"].decode(): group for group in groups})
        for key, length, groups in zip(keys, lengths, groups, strict=True)
        if isinstance(groups, list) and groups
    }
    return Stream(type, sum(lengths), sum(size or 0 for size in sizes)), found


async def consumers(redis: Redis, queue: str) -> list[Member]:
    """Who takes from a queue, those too that are gone. Raises KeyError where there is none of this name."""
    keys = streams((await queues(redis))[queue])
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.xinfo_consumers(key, queue)
        answers = await pipe.execute(raise_on_error=False)
    found: dict[str, Member] = {}
    for answer in answers:
        for each in answer if isinstance(answer, list) else ():
            name, idle, pending = each["name"].decode(), each["idle"] / 1000, each["pending"]
            before = found.get(name, Member(name, idle, 0))
            found[name] = Member(name, min(idle, before.idle), pending + before.pending)
    return [found[name] for name in sorted(found)]


async def _queue(redis: Redis, name: str, type: str, groups: Groups) -> Queue:
    lag = pending = 0
    consumers, oldest = 0, 0.0
    for key, (length, found) in groups.items():
        if (group := found.get(name)) is None:
            continue
        fresh = left(group, length)
        lag, pending = lag + fresh, pending + group["pending"]
        consumers = max(consumers, group["consumers"])
        if fresh or group["pending"]:
            oldest = max(oldest, await _age(redis, key, group))
    return Queue(name, type, lag, pending, consumers, oldest)


async def _age(redis: Redis, key: str, group: dict[str, Any]) -> float:
    """Seconds since the first entry was stored that a group has not acknowledged; an id begins with when."""
    if group["pending"]:
        first = (await redis.xpending(key, group["name"]))["min"]
    else:
        after = b"(" + group["last-delivered-id"]
        entries = await redis.xrange(key, min=after, count=1)
        first = entries[0][0] if entries else None
    return max(0.0, time.time() - parse_id(first)[0] / 1000) if first else 0.0
