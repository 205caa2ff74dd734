"""Analyzer queues: consumer groups of a type's streams, so that a further queue copies nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from d4common import queue_settings
from d4common.compression import decompress
from d4common.records import Entry, streams
from d4common.redis_cluster import Cluster
from d4common.service import cancel

log = logging.getLogger(__name__)

QUEUES = "d4:queues"
"""Hash: name of an analyzer queue to the data type that it takes."""

FIRST_QUEUE = "d4:{admin}:first-queue"
"""Is there once the queue was made that exists from the start, so that one that was deleted stays so."""

UNCLAIMED_ENTRIES = 10_000
"""Entries that a stream without any queue keeps, for a queue that is made later and for a look."""

CLAIM_AFTER = 60.0
"""Seconds after which a consumer takes over what another one was given and has not acknowledged."""


class QueueMissing(Exception):
    """There is no analyzer queue of this name for this type."""


class Delivery(NamedTuple):
    """An entry that a queue gave out, to be acknowledged by stream and id."""

    stream: bytes
    id: bytes
    entry: Entry

    def records(self, chunks: bool = False) -> list[bytes]:
        """The lines of an entry, without their line feeds and without empty ones.

        Of a type that is chunks the entry's bytes are what there is; they follow on those of the last entry
        of this sensor.
        """
        if chunks:
            return [self.entry.data]
        return [line for line in self.entry.data.split(b"\n") if line]


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


async def create_first_queue(redis: Redis, type: str, name: str) -> None:
    """Makes the queue that exists from the start, anew if Redis was emptied, unless it was deleted."""
    if name in await queues(redis) or not await redis.exists(FIRST_QUEUE):
        await create_queue(redis, type, name)
        await redis.set(FIRST_QUEUE, "")


async def delete_queue(redis: Redis, name: str) -> bool:
    """Deletes an analyzer queue, and what is set of it. What only it needed is trimmed later.

    False if there is none. Consumers that wait for its entries get QueueMissing.
    """
    type = (await queues(redis)).get(name)
    if type is None:
        return False
    async with redis.pipeline(transaction=False) as pipe:
        pipe.hdel(QUEUES, name)
        for key in streams(type):
            pipe.xgroup_destroy(key, name)
        pipe.delete(queue_settings.settings_of(name))
        answers = await pipe.execute(raise_on_error=False)
    for answer in answers:
        # A stream that does not exist has no group either.
        if isinstance(answer, RedisError) and not isinstance(answer, ResponseError):
            raise answer
    return True


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
            return parse_id(pending["min"])
    milliseconds, sequence = parse_id(group["last-delivered-id"])
    return milliseconds, sequence + 1


def left(group: Mapping[str, Any], length: int) -> int:
    """Entries that a queue has not yet given out, of a stream that has so many.

    ``group`` is what XINFO GROUPS says. Redis cannot always tell (null); never more than there are.
    """
    lag: int | None = group.get("lag")
    return length if lag is None else lag


def parse_id(text: bytes) -> tuple[int, int]:
    """The id of an entry: milliseconds since the epoch, and number within these."""
    milliseconds, _, sequence = text.partition(b"-")
    return int(milliseconds), int(sequence)


class Consumer:
    """One process that takes entries from an analyzer queue, each until it is acknowledged.

    What this consumer was given before and has not acknowledged comes first: a process that is started
    again under its name goes on where it was. Then it takes what other consumers have left for longer
    than CLAIM_AFTER seconds, and what is new.

    One Redis is asked for all streams at once. A Cluster knows no question about keys of several slots:
    there a question for each stream is under way, and as soon as any is answered, that is given out. So
    a stream that is always full keeps none of the others waiting, and nobody asks in a loop.

    While the queue is paused it gives out nothing. Of a queue for a group of sensors it acknowledges what
    is of others, and gives out the rest.
    """

    def __init__(self, redis: Redis, type: str, queue: str, name: str) -> None:
        keys = streams(type)
        together = [[key] for key in keys] if isinstance(redis, Cluster) else [keys]
        self._readers = [_Reader(redis, each, queue, name) for each in together]
        self._reading: dict[asyncio.Task[list[Delivery]], _Reader] = {}
        self._redis = redis
        self._queue = queue
        self._settings = queue_settings.Copy(redis, queue)

    @property
    def held(self) -> str:
        """Why the queue gives out nothing at the moment, in words; nothing, if it does."""
        return self._settings.held

    async def read(self, count: int, wait: float) -> list[Delivery]:
        """Up to ``count`` entries of each partition; empty when none came in ``wait`` seconds (below 30).

        It is empty too where all that came is of sensors outside of the queue's group, and while the queue
        is held. Raises QueueMissing, and what redis-py raises.
        """
        await self._settings.renew()
        if self._settings.held:
            await asyncio.sleep(wait)
            return []
        return await self._of_group(await self._read(count, wait))

    async def acknowledge(self, deliveries: Sequence[Delivery]) -> None:
        """Tells the queue that these entries need not be given out again."""
        ids: dict[bytes, list[bytes]] = {}
        for delivery in deliveries:
            ids.setdefault(delivery.stream, []).append(delivery.id)
        async with self._redis.pipeline(transaction=False) as pipe:
            for key, own in ids.items():
                pipe.xack(key, self._queue, *own)
            await pipe.execute()

    async def close(self) -> None:
        """Ends the questions that are under way; what they are answered is given out after a restart."""
        await cancel(*self._reading)
        # What failed is of no interest any more, and asyncio would say that nobody has looked at it.
        await asyncio.gather(*self._reading, return_exceptions=True)
        self._reading.clear()

    async def _read(self, count: int, wait: float) -> list[Delivery]:
        if len(self._readers) == 1:
            return await self._readers[0].read(count, wait)
        asked = self._ask(count, wait)
        while asked:
            done, _ = await asyncio.wait(self._reading, return_when=asyncio.FIRST_COMPLETED)
            found = self._collect(done)
            if found:
                return found
            asked -= done
            self._ask(count, wait)
        return []

    async def _of_group(self, found: list[Delivery]) -> list[Delivery]:
        """What is of the queue's sensors; the rest is acknowledged."""
        members = self._settings.members
        others = [] if members is None else [each for each in found if each.entry.sensor not in members]
        if not others:
            return found
        try:
            await self.acknowledge(others)
        except RedisError:
            for reader in self._readers:
                reader.begin_again()
            raise
        gone = {(each.stream, each.id) for each in others}
        return [each for each in found if (each.stream, each.id) not in gone]

    def _ask(self, count: int, wait: float) -> set[asyncio.Task[list[Delivery]]]:
        """Asks about each stream about which no question is under way, and gives all that are.

        What has failed since the last read is asked again, and fails again if it must.
        """
        for task in [task for task in self._reading if task.done() and task.exception()]:
            del self._reading[task]
        for reader in self._readers:
            if reader not in self._reading.values():
                self._reading[asyncio.create_task(reader.read(count, wait))] = reader
        return set(self._reading)

    def _collect(self, done: set[asyncio.Task[list[Delivery]]]) -> list[Delivery]:
        """What was answered. An error is raised only where nothing was: nodes go on without others."""
        for task in done:
            del self._reading[task]
        failed = [task for task in done if task.exception()]
        found = [delivery for task in done - set(failed) for delivery in task.result()]
        if failed and not found:
            failed[0].result()
        return found


class _Reader:
    """A consumer's reading of streams about which one question can be asked."""

    def __init__(self, redis: Redis, keys: list[str], queue: str, name: str) -> None:
        self._redis = redis
        self._keys = keys
        self._queue = queue
        self._name = name
        self._claimed = 0.0
        self.begin_again()

    def begin_again(self) -> None:
        """Has what this consumer was given and has not acknowledged come first."""
        self._since = dict.fromkeys(self._keys, "0")

    async def read(self, count: int, wait: float) -> list[Delivery]:
        """Consumer.read() for these streams."""
        try:
            return await self._read(count, wait)
        except RedisError as error:
            # An answer that was lost on the way may have held entries, which are this consumer's now.
            self.begin_again()
            # UNBLOCKED: a stream went away while Redis waited, unless a master became a replica.
            gone = str(error).startswith("UNBLOCKED") and "instance state" not in str(error)
            if gone or str(error).startswith("NOGROUP"):
                raise QueueMissing(self._queue) from None
            raise

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
        return Entry(UUID(bytes=fields[b"sensor"]), type, int(fields[b"time"]), decompress(fields))
    except (KeyError, ValueError):
        log.warning("%s holds an entry that no server put there; it is passed over", key.decode())
        return Entry(UUID(int=0), type, 0, b"")
