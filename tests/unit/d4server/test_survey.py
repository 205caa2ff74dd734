"""What is said of the streams and queues of a real Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import pytest
from redis.asyncio import Redis

from d4common import queues, records, redis_client
from d4common.queues import Consumer
from d4common.records import Entry
from d4server.survey import Queue, Survey, behind, survey

SENSORS = [UUID(f"ff7ba400-e76c-4053-982d-feec42bdef{number:02x}") for number in range(records.PARTITIONS)]


def run(path: Path, test: Callable[[Redis], Awaitable[None]]) -> None:
    """Runs a test with the Redis at a Unix socket."""

    async def with_redis() -> None:
        redis = redis_client.connect(f"unix://{path}")
        try:
            await test(redis)
        finally:
            await redis_client.close(redis)

    asyncio.run(with_redis())


async def store(redis: Redis, type: str = "maltrail") -> None:
    """One entry in each stream of a type."""
    await records.append(redis, [Entry(sensor, type, 7, b"x" * 1000 + b"\n") for sensor in SENSORS])


async def only(redis: Redis) -> Queue:
    """The one queue that there is."""
    [queue] = (await survey(redis, ["maltrail"])).queues
    return queue


def test_some_queues_are_looked_at_alone(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        for name, type in (("a", "maltrail"), ("b", "maltrail"), ("c", "1")):
            await queues.create_queue(redis, type, name)
        await store(redis)
        await Consumer(redis, "maltrail", "b", "me").read(9, 0.01)
        found = await behind(redis, ["c", "b", "none"])
        assert [each.name for each in found] == ["c", "b"]
        whole = {each.name: each[:5] for each in (await survey(redis, [])).queues}
        assert [each[:5] for each in found] == [whole["c"], whole["b"]]
        assert (found[0].lag, found[1].lag + found[1].pending) == (0, len(SENSORS))
        assert await behind(redis, []) == []

    run(redis_socket, test)


def test_an_empty_redis_holds_nothing(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        found = await survey(redis, ["1", "maltrail"])
        assert found[:2] == ([], [])
        assert found.memory > 100_000
        assert found.memory_limit == 0
        await redis.config_set("maxmemory", "1gb")
        try:
            assert (await survey(redis, [])).memory_limit == 1 << 30
        finally:
            await redis.config_set("maxmemory", 0)

    run(redis_socket, test)


def test_streams_are_added_up_by_type(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await store(redis)
        await store(redis, "3")
        await records.append(redis, [Entry(SENSORS[0], "3", 7, b"y\n")])
        found = await survey(redis, ["1", "3", "maltrail"])
        assert [(stream.type, stream.entries) for stream in found.streams] == [("3", 17), ("maltrail", 16)]
        assert all(16_000 < stream.bytes < 200_000 for stream in found.streams)
        assert found.queues == []

    run(redis_socket, test)


def test_a_queue_is_behind_until_all_is_acknowledged(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        assert await only(redis) == Queue("q", "maltrail", 0, 0, 0, 0.0)
        await store(redis)
        behind = await only(redis)
        assert behind[:5] == ("q", "maltrail", 16, 0, 0)
        consumer = Consumer(redis, "maltrail", "q", "me")
        deliveries = await consumer.read(10, 1)
        given = await only(redis)
        assert given[:5] == ("q", "maltrail", 0, 16, 1)
        await consumer.acknowledge(deliveries[:7])
        assert (await only(redis)).pending == 9
        await consumer.acknowledge(deliveries[7:])
        assert await only(redis) == Queue("q", "maltrail", 0, 0, 1, 0.0)

    run(redis_socket, test)


def test_the_oldest_entry_is_as_old_as_its_id(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        then = int(time.time() * 1000)
        key = records.stream("maltrail", 3)
        fields = {"sensor": SENSORS[3].bytes, "time": 7, "data": b"x\n"}
        await redis.xadd(key, fields, id=f"{then - 60_000}-0")
        await redis.xadd(key, fields, id=f"{then - 30_000}-0")
        await store(redis)
        assert (await only(redis)).oldest == pytest.approx(60, abs=5)
        consumer = Consumer(redis, "maltrail", "q", "me")
        deliveries = await consumer.read(1, 1)
        assert (await only(redis)).oldest == pytest.approx(60, abs=5), "given out, but not acknowledged"
        await consumer.acknowledge(deliveries)
        assert (await only(redis)).oldest == pytest.approx(30, abs=5)

    run(redis_socket, test)


def test_a_queue_of_a_type_that_is_not_accepted_any_more_is_seen(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "ja3-jl", "old")
        await store(redis, "ja3-jl")
        found = await survey(redis, ["maltrail"])
        assert isinstance(found, Survey)
        assert [(stream.type, stream.entries) for stream in found.streams] == [("ja3-jl", 16)]
        assert [(queue.name, queue.lag) for queue in found.queues] == [("old", 16)]

    run(redis_socket, test)


def test_what_was_trimmed_is_not_behind(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "me")
        for _ in range(3):
            await store(redis)
            await consumer.acknowledge(await consumer.read(10, 1))
            await queues.trim(redis, "maltrail")
        assert await only(redis) == Queue("q", "maltrail", 0, 0, 1, 0.0)
        await store(redis)
        assert (await only(redis)).lag == 16

    run(redis_socket, test)
