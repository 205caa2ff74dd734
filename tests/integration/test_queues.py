"""Analyzer queues in a real Redis: who gets what, what a dead consumer left, and trimming."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis
from storing import NOW, SENSOR, SENSORS, entries, length, run, texts

from d4common import queues, records
from d4common.compression import decompress
from d4common.queues import Consumer, Delivery, QueueMissing


def test_each_queue_gets_everything_even_what_came_before_it(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await records.append(redis, entries("early"))
        for name in ("one", "one", "two"):
            await queues.create_queue(redis, "maltrail", name)
        await records.append(redis, entries("late") + entries("other", type="8"))
        assert await queues.queues(redis) == {"one": "maltrail", "two": "maltrail"}
        for name in ("one", "two"):
            consumer = Consumer(redis, "maltrail", name, "c")
            assert texts(await consumer.read(9, NOW)) == "early late"
            assert await consumer.read(9, NOW) == []

    run(redis_socket, test)


def test_queue_keeps_its_type(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        with pytest.raises(ValueError, match="q takes maltrail"):
            await queues.create_queue(redis, "8", "q")
        assert await queues.queues(redis) == {"q": "maltrail"}

    run(redis_socket, test)


def test_queue_that_is_missing_is_named(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        with pytest.raises(QueueMissing, match="nowhere"):
            await Consumer(redis, "maltrail", "nowhere", "c").read(9, NOW)
        await queues.create_queue(redis, "8", "eight")
        with pytest.raises(QueueMissing, match="eight"):
            await Consumer(redis, "maltrail", "eight", "c").read(9, NOW)

    run(redis_socket, test)


@pytest.mark.parametrize("how", ["FLUSHALL", "DEL {key}", "XGROUP DESTROY {key} q"])
def test_queue_that_goes_while_a_consumer_waits_is_missing(redis_socket: Path, how: str) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "c")
        await consumer.read(9, NOW)
        reading = asyncio.create_task(consumer.read(9, 20))
        while not (await redis.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.01)
        key = records.streams("maltrail")[3]
        await redis.execute_command(*how.format(key=key).split())
        with pytest.raises(QueueMissing):
            await reading

    run(redis_socket, test)


def test_what_is_new_ends_the_wait(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        consumer = Consumer(redis, "maltrail", "q", "c")
        reading = asyncio.create_task(consumer.read(9, 20))
        while not (await redis.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.01)
        await records.append(redis, entries("new"))
        assert texts(await asyncio.wait_for(reading, 5)) == "new"

    run(redis_socket, test)


def test_consumer_goes_on_with_what_it_had_not_acknowledged(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries("a", "b", "c", "d") + entries("z", sensor=SENSORS[0]))
        before = Consumer(redis, "maltrail", "q", "same")
        first = await before.read(9, NOW)
        await before.acknowledge([delivery for delivery in first if delivery.entry.data in (b"a", b"c")])
        await before.acknowledge([])
        await records.append(redis, entries("e"))
        again = Consumer(redis, "maltrail", "q", "same")
        assert texts(await again.read(1, NOW)) == "z b"
        assert texts(await again.read(1, NOW)) == "d"
        assert texts(await again.read(1, NOW)) == "e"
        assert await again.read(1, NOW) == []

    run(redis_socket, test)


def test_consumer_takes_what_a_dead_one_left(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries("a", "b", "c"))
        dead = Consumer(redis, "maltrail", "q", "dead")
        assert texts(await dead.read(2, NOW)) == "a b"
        await dead.acknowledge([])
        alive = Consumer(redis, "maltrail", "q", "alive")
        assert texts(await alive.read(9, NOW)) == "c"
        assert await alive.read(9, NOW) == []
        monkeypatch.setattr(queues, "CLAIM_AFTER", 0.05)
        found: list[Delivery] = []
        while len(found) < 2:
            found += [delivery for delivery in await alive.read(9, 0.02) if delivery.entry.data != b"c"]
        assert texts(found[:2]) == "a b"
        await alive.acknowledge(found)

    run(redis_socket, test)


def test_entries_that_went_while_pending_are_passed_over(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "q")
        await records.append(redis, entries("a", "b"))
        (first, _) = await Consumer(redis, "maltrail", "q", "c").read(9, NOW)
        await redis.xdel(first.stream, first.id)
        assert texts(await Consumer(redis, "maltrail", "q", "c").read(9, NOW)) == "b"

    run(redis_socket, test)


# Trimming.


def test_trim_keeps_what_any_queue_needs_and_removes_the_rest(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        for name in ("fast", "slow"):
            await queues.create_queue(redis, "maltrail", name)
        await records.append(redis, entries(*"abcdef") + entries("z", sensor=SENSORS[0]))
        fast, slow = (Consumer(redis, "maltrail", name, "c") for name in ("fast", "slow"))
        await fast.acknowledge(await fast.read(9, NOW))
        await queues.trim(redis, "maltrail")
        assert await length(redis) == 7
        taken = [delivery for delivery in await slow.read(4, NOW) if delivery.entry.data != b"z"]
        assert texts(taken) == "a b c d"
        await slow.acknowledge([taken[0], taken[3]])
        await queues.trim(redis, "maltrail")
        stream = taken[0].stream
        assert [decompress(fields) for _, fields in await redis.xrange(stream)] == [
            b"b",
            b"c",
            b"d",
            b"e",
            b"f",
        ]
        await slow.acknowledge(taken)
        await queues.trim(redis, "maltrail")
        assert [decompress(fields) for _, fields in await redis.xrange(stream)] == [b"e", b"f"]
        await slow.acknowledge(await Consumer(redis, "maltrail", "slow", "c").read(9, NOW))
        await slow.acknowledge(await slow.read(9, NOW))
        await queues.trim(redis, "maltrail")
        assert await length(redis) == 0
        await records.append(redis, entries("g"))
        assert texts(await fast.read(9, NOW)) == texts(await slow.read(9, NOW)) == "g"

    run(redis_socket, test)


def test_trim_keeps_all_that_a_new_queue_has_not_read(redis_socket: Path) -> None:
    async def test(redis: Redis) -> None:
        await queues.create_queue(redis, "maltrail", "old")
        await records.append(redis, entries("a"))
        old = Consumer(redis, "maltrail", "old", "c")
        await old.acknowledge(await old.read(9, NOW))
        await queues.create_queue(redis, "maltrail", "new")
        await queues.trim(redis, "maltrail")
        assert texts(await Consumer(redis, "maltrail", "new", "c").read(9, NOW)) == "a"

    run(redis_socket, test)


def test_stream_without_a_queue_keeps_the_newest(redis_socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(redis: Redis) -> None:
        monkeypatch.setattr(queues, "UNCLAIMED_ENTRIES", 100)
        await queues.trim(redis, "8")
        await records.append(redis, entries(*map(str, range(1000)), type="8"))
        await queues.trim(redis, "8")
        kept = await redis.xrange(records.stream("8", records.partition(SENSOR)))
        # Redis removes whole nodes of its tree, of a hundred entries each.
        assert 100 <= len(kept) <= 200
        assert decompress(kept[-1][1]) == b"999"

    run(redis_socket, test)
