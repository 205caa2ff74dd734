"""Records in Redis streams: names, append, consume, trim.

Every data type (a D4 type as text, or a meta type such as ``maltrail``) has PARTITIONS streams; a sensor's
records are all in the one that its UUID chooses, so they keep their order. The partition is the key's hash
tag, so that whatever belongs to one partition lies on one node of a Redis Cluster.

An entry holds what one packet completed: whole records for types that are lines, never one entry per
line. What is numbered (docs/protocol.md, section 2) is appended once, however often it comes: the number
that a spool has come to lies beside its stream, and both change in one step.

An **analyzer queue** is a consumer group of its type's streams, so a further queue copies nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from redis.asyncio import Redis, UnixDomainSocketConnection
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError, ResponseError

log = logging.getLogger(__name__)

T = TypeVar("T")

PARTITIONS = 16
"""Streams per type. Part of the layout of stored data: every server and exporter must agree on it."""

QUEUES = "d4:queues"
"""Hash: name of an analyzer queue to the data type that it takes."""

UNCLAIMED_ENTRIES = 10_000
"""Entries that a stream without any queue keeps, for a queue that is made later and for a look."""

CLAIM_AFTER = 60.0
"""Seconds after which a consumer takes over what another one was given and has not acknowledged."""


SPOOL_LIFETIME = 90 * 86400
"""Seconds after which it is forgotten how far a spool had come from which nothing came since."""

_APPEND = """
-- KEYS: number that the spool has come to, stream. ARGV: lifetime, sensor, then for each entry the number
-- of its first packet, its time, how many packets it has, and their payloads. Of the packets only those
-- are appended whose numbers are higher than what the spool has come to.
local before = tonumber(redis.call('GET', KEYS[1]) or '0')
local stored, entries, repeated, gaps = before, 0, 0, {}
local at = 3
while at <= #ARGV do
  local number, time, count = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  local first, last = at + 3, at + 2 + count
  local again = math.max(0, math.min(count, stored + 1 - number))
  repeated = repeated + again
  if again < count then
    if number > stored + 1 then
      gaps[#gaps + 1] = stored + 1
      gaps[#gaps + 1] = number - 1
    end
    local data = ARGV[last]
    if first + again < last then
      data = table.concat(ARGV, '', first + again, last)
    end
    if data ~= '' then
      redis.call('XADD', KEYS[2], '*', 'sensor', ARGV[2], 'time', time, 'data', data)
      entries = entries + 1
    end
    stored = number + count - 1
  end
  at = last + 1
end
if stored > before then
  redis.call('SET', KEYS[1], string.format('%.0f', stored), 'EX', ARGV[1])
end
return {stored, entries, repeated, unpack(gaps)}
"""


class QueueMissing(Exception):
    """There is no analyzer queue of this name for this type."""


class Entry(NamedTuple):
    """What one packet completed: its sensor, data type, time (seconds since the epoch) and bytes."""

    sensor: UUID
    type: str
    timestamp: int
    data: bytes


class Spool(NamedTuple):
    """A spool of a sensor, as docs/protocol.md 2.1 has it."""

    sensor: UUID
    id: UUID


class Numbered(NamedTuple):
    """Packets of a spool, in a row from ``number`` on, whose payloads make one entry together.

    Without payloads it stores nothing, and only asks how far the spool has come.
    """

    spool: Spool
    type: str
    timestamp: int
    number: int
    payloads: Sequence[bytes]


class Progress(NamedTuple):
    """How far a spool has come: up to the number ``stored`` all is stored.

    And what this append did: ``entries`` it added, packets it left out because they were ``repeated``, and
    ``gaps``, first and last number of those that were skipped.
    """

    spool: Spool
    stored: int
    entries: int
    repeated: int
    gaps: list[tuple[int, int]]


class Delivery(NamedTuple):
    """An entry that a queue gave out, to be acknowledged by stream and id."""

    stream: bytes
    id: bytes
    entry: Entry

    def records(self) -> list[bytes]:
        """The records of an entry of lines, without their line feeds and without empty ones."""
        return [line for line in self.entry.data.split(b"\n") if line]


def connect(url: str) -> Redis:
    """A client for ``url``: unix:///path, redis://host:port/db or rediss://. It connects when used."""
    redis = Redis.from_url(url, socket_connect_timeout=5, socket_timeout=30)
    if redis.connection_pool.connection_class is UnixDomainSocketConnection:
        redis.connection_pool.connection_class = _UnixConnection
    return redis


class _UnixConnection(UnixDomainSocketConnection):  # type: ignore[misc]
    # redis-py 4.3 names them in the error of a connection that breaks, although a Unix socket has neither.
    host, port = "unix", 0


async def patiently(what: str, operation: Callable[[], Awaitable[T]]) -> T:
    """Does a Redis operation again, a second later, until Redis takes it; says when that begins and ends.

    For what must not be lost while Redis is away, is loading its data, or is full.
    """
    waiting = False
    while True:
        try:
            result = await operation()
        except RedisError as error:
            if not waiting:
                log.error("Redis does not %s, trying again: %s", what, explain(error))
            waiting = True
            await asyncio.sleep(1)
            continue
        if waiting:
            log.info("Redis is back")
        return result


def explain(error: RedisError) -> str:
    """What Redis had against it: without the command that redis-py puts in front, which holds data."""
    text = str(error).rpartition("caused error: ")[2]
    if "OutOfMemory" in type(error).__name__ or text.startswith("OOM "):
        return "it holds as much as its maxmemory lets it"
    return type(error).__name__ if "exception.args" in text or not text else text


async def close(redis: Redis) -> None:
    """Closes a client's connections. (redis-py's own close() has another name since 5.0.1.)"""
    await redis.connection_pool.disconnect()


def partition(sensor: UUID) -> int:
    """The partition of a sensor; the last byte of a version 4 UUID is random."""
    return sensor.bytes[15] % PARTITIONS


def stream(type: str, partition: int) -> str:
    """The key of a stream."""
    return f"d4:{{{partition}}}:{type}"


def streams(type: str) -> list[str]:
    """The keys of all streams of a type."""
    return [stream(type, number) for number in range(PARTITIONS)]


async def append(redis: Redis, entries: Sequence[Entry | Numbered]) -> list[Progress]:
    """Appends all entries or, where Redis is full, none, in one round trip; says how far spools have come.

    Raises what redis-py raises. Then what is numbered may be appended again without harm, even where only
    the answer was lost.
    """
    numbered: dict[tuple[Spool, str], list[Numbered]] = {}
    async with redis.pipeline(transaction=True) as pipe:
        for entry in entries:
            if isinstance(entry, Numbered):
                numbered.setdefault((entry.spool, entry.type), []).append(entry)
            else:
                fields = {"sensor": entry.sensor.bytes, "time": entry.timestamp, "data": entry.data}
                pipe.xadd(stream(entry.type, partition(entry.sensor)), fields)
        for (spool, type), group in numbered.items():
            _append_numbered(pipe, spool, type, group)
        answers = await pipe.execute()
    ours = answers[len(answers) - len(numbered) :]
    return [_progress(spool, answer) for (spool, _), answer in zip(numbered, ours, strict=True)]


def _append_numbered(pipe: Pipeline, spool: Spool, type: str, group: Sequence[Numbered]) -> None:
    """Both keys of the script lie in the sensor's partition, so one node of a Redis Cluster has them."""
    number = partition(spool.sensor)
    reached = f"d4:{{{number}}}:spool:{spool.sensor}:{spool.id}"
    arguments: list[bytes | int] = [SPOOL_LIFETIME, spool.sensor.bytes]
    for entry in group:
        if entry.payloads:
            arguments += (entry.number, entry.timestamp, len(entry.payloads), *entry.payloads)
    pipe.eval(_APPEND, 2, reached, stream(type, number), *arguments)


def _progress(spool: Spool, answer: list[int]) -> Progress:
    stored, entries, repeated, *gaps = answer
    return Progress(spool, stored, entries, repeated, list(zip(gaps[::2], gaps[1::2], strict=True)))


async def create_queue(redis: Redis, type: str, name: str) -> None:
    """Makes an analyzer queue that takes what its type's streams hold and will hold; once is enough.

    Raises ValueError where there is one of this name for another type.
    """
    if not await redis.hsetnx(QUEUES, name, type):
        other = (await queues(redis)).get(name, type)
        if other != type:
            raise ValueError(f"the analyzer queue {name} takes {other}, not {type}")
    for key in streams(type):
        try:
            await redis.xgroup_create(key, name, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise


async def queues(redis: Redis) -> dict[str, str]:
    """All analyzer queues: name to data type."""
    found = await redis.hgetall(QUEUES)
    return {name.decode(): type.decode() for name, type in found.items()}


async def trim(redis: Redis, type: str) -> None:
    """Removes from a type's streams what every queue has acknowledged."""
    keys = streams(type)
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.xinfo_groups(key)
        answers = await pipe.execute(raise_on_error=False)
    # A stream to which nothing was ever appended does not exist, and Redis answers with an error.
    groups = {key: found for key, found in zip(keys, answers, strict=True) if isinstance(found, list)}
    for key, found in groups.items():
        if not found:
            await redis.xtrim(key, maxlen=UNCLAIMED_ENTRIES)
            continue
        milliseconds, sequence = min([await _needed(redis, key, group) for group in found])
        await redis.xtrim(key, minid=f"{milliseconds}-{sequence}", approximate=False)


async def _needed(redis: Redis, key: str, group: dict[str, Any]) -> tuple[int, int]:
    """The first entry that a group has not acknowledged, as (milliseconds, sequence)."""
    if group["pending"]:
        pending = await redis.xpending(key, group["name"])
        if pending["min"]:
            return _id(pending["min"])
    milliseconds, sequence = _id(group["last-delivered-id"])
    return milliseconds, sequence + 1


def _id(text: bytes) -> tuple[int, int]:
    milliseconds, _, sequence = text.partition(b"-")
    return int(milliseconds), int(sequence)


class Consumer:
    """One process that takes entries from an analyzer queue, each until it is acknowledged.

    What this consumer was given before and has not acknowledged comes first: a process that is started
    again under its name goes on where it was. Then it takes what other consumers have left for longer
    than CLAIM_AFTER seconds, and what is new.
    """

    def __init__(self, redis: Redis, type: str, queue: str, name: str) -> None:
        self._redis = redis
        self._keys = streams(type)
        self._queue = queue
        self._name = name
        self._since = dict.fromkeys(self._keys, "0")
        self._claimed = 0.0

    async def read(self, count: int, wait: float) -> list[Delivery]:
        """Up to ``count`` entries of each partition; empty when none came in ``wait`` seconds (below 30).

        Raises QueueMissing, and what redis-py raises.
        """
        try:
            return await self._read(count, wait)
        except RedisError as error:
            # An answer that was lost on the way may have held entries, which are this consumer's now.
            self._since = dict.fromkeys(self._keys, "0")
            # UNBLOCKED: the streams went away while Redis waited for something to come.
            if str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise QueueMissing(self._queue) from None
            raise

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Tells the queue that these entries need not be given out again."""
        ids: dict[bytes, list[bytes]] = {}
        for delivery in deliveries:
            ids.setdefault(delivery.stream, []).append(delivery.id)
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, own in ids.items():
                pipe.xack(key, self._queue, *own)
            await pipe.execute()

    async def _read(self, count: int, wait: float) -> list[Delivery]:
        own = {key: since for key, since in self._since.items() if since != ">"}
        if own:
            found = await self._redis.xreadgroup(self._queue, self._name, own, count=count)
            pending = _deliveries(found)
            self._advance(own, found)
            if pending:
                return pending
        claimed = await self._claim(count)
        if claimed:
            return claimed
        fresh = dict.fromkeys(self._keys, ">")
        milliseconds = max(1, int(wait * 1000))
        found = await self._redis.xreadgroup(self._queue, self._name, fresh, count=count, block=milliseconds)
        return _deliveries(found)

    def _advance(self, own: dict[str, str], found: Any) -> None:
        """Remembers how far the reading of this consumer's own pending entries has come."""
        for key, entries in found:
            self._since[key.decode()] = entries[-1][0].decode() if entries else ">"
        for key in own.keys() - {key.decode() for key, _ in found}:
            self._since[key] = ">"

    async def _claim(self, count: int) -> list[Delivery]:
        """Entries that other consumers left behind, looked for once in CLAIM_AFTER seconds."""
        now = asyncio.get_running_loop().time()
        if self._claimed and now - self._claimed < CLAIM_AFTER:
            return []
        claimed = []
        for key in self._keys:
            _, entries, *_ = await self._redis.xautoclaim(
                key, self._queue, self._name, min_idle_time=int(CLAIM_AFTER * 1000), count=count
            )
            claimed += _deliveries([(key.encode(), entries)])
        if len(claimed) < count:
            self._claimed = now
        return claimed


def _deliveries(found: Any) -> list[Delivery]:
    """What Redis answered, as deliveries; an entry that was trimmed meanwhile has no fields."""
    return [
        Delivery(key, id, _entry(key, fields)) for key, entries in found for id, fields in entries if fields
    ]


def _entry(key: bytes, fields: dict[bytes, bytes]) -> Entry:
    """The entry in a stream's fields; nothing, for what no server of this project has put there."""
    type = key.partition(b"}:")[2].decode()
    try:
        return Entry(UUID(bytes=fields[b"sensor"]), type, int(fields[b"time"]), fields[b"data"])
    except (KeyError, ValueError):
        log.warning("%s holds an entry that no server put there; it is passed over", key.decode())
        return Entry(UUID(int=0), type, 0, b"")
