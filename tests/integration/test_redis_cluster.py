"""Records and queues in a real Redis Cluster of three masters."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID, uuid4

import pytest
from clustering import Node, RedisCluster
from redis.exceptions import RedisError

from d4common import queues, records, redis_client, redis_cluster
from d4common.compression import decompress
from d4common.queues import Consumer, Delivery, QueueMissing
from d4common.records import Batch, Entry, Numbered, Spool
from d4common.redis_cluster import Cluster

SENSORS = [UUID(f"ff7ba400-e76c-4053-982d-feec42bdef{last:02x}") for last in range(records.PARTITIONS)]
"""One for each partition."""
SPOOLS = [Spool(sensor, uuid4()) for sensor in SENSORS]


@pytest.fixture(scope="module")
def started() -> Iterator[RedisCluster]:
    with TemporaryDirectory(prefix="cluster-") as directory, RedisCluster(Path(directory)) as cluster:
        yield cluster


@pytest.fixture
def cluster(started: RedisCluster) -> RedisCluster:
    """A cluster that holds nothing."""
    for node in started.nodes:
        node.client.flushall()
        node.client.config_resetstat()
    return started


def run(cluster: RedisCluster, test: Callable[[Cluster], Awaitable[None]]) -> None:
    async def connected() -> None:
        redis = redis_client.connect(cluster.url)
        try:
            await asyncio.wait_for(test(redis), 30)
        finally:
            await redis_client.close(redis)

    asyncio.run(connected())


def entries(count: int, sensors: list[UUID] = SENSORS, size: int = 0) -> list[Entry]:
    return [
        Entry(sensor, "maltrail", number, b"%d".ljust(size) % number)
        for number in range(count)
        for sensor in sensors
    ]


def calls(cluster: RedisCluster, command: str) -> int:
    """How often the nodes together have done a command."""
    found = [node.client.info("commandstats") for node in cluster.nodes]
    return sum(each.get(f"cmdstat_{command}", {}).get("calls", 0) for each in found)


async def stored(redis: Cluster, sensor: UUID) -> list[bytes]:
    key = records.stream("maltrail", records.partition(sensor))
    return [decompress(fields) for _, fields in await redis.xrange(key)]


async def consumer_of(redis: Cluster, name: str = "c") -> Consumer:
    await queues.create_queue(redis, "maltrail", "q")
    return Consumer(redis, "maltrail", "q", name)


async def everything(consumer: Consumer, wait: float = 0.1) -> list[Delivery]:
    found: list[Delivery] = []
    while batch := await consumer.read(7, wait):
        found += batch
    await consumer.close()
    return found


def test_each_node_has_some_of_the_partitions(cluster: RedisCluster) -> None:
    assert {cluster.master_of(key).port for key in records.streams("8")} == {
        node.port for node in cluster.nodes
    }


def test_records_of_each_sensor_come_back_in_order(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        consumer = await consumer_of(redis)
        await records.append(redis, entries(20)[:100])
        await records.append(redis, entries(20)[100:])
        found = await everything(consumer)
        for sensor in SENSORS:
            own = [each.entry.timestamp for each in found if each.entry.sensor == sensor]
            assert own == list(range(20))
        await consumer.acknowledge(found)
        await queues.trim(redis, "maltrail")
        assert [await redis.xlen(key) for key in records.streams("maltrail")] == [0] * records.PARTITIONS

    run(cluster, test)


def test_a_batch_takes_a_command_for_each_partition_and_none_for_each_packet(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        await records.append(redis, entries(100))
        numbered = [Numbered(spool, "maltrail", 0, n, [b"x"]) for n in range(1, 101) for spool in SPOOLS]
        found = await records.append(redis, [*entries(100), *numbered])
        assert [each.stored for each in found] == [100] * records.PARTITIONS

    run(cluster, test)
    assert calls(cluster, "eval") == 2 * records.PARTITIONS


def test_what_one_node_has_not_taken_is_appended_by_the_next_try_and_nothing_else(
    cluster: RedisCluster,
) -> None:
    full = cluster.master_of(records.stream("maltrail", 3))

    async def test(redis: Cluster) -> None:
        numbered = [Numbered(spool, "maltrail", 0, n, [b"n%d" % n]) for n in (1, 2) for spool in SPOOLS]
        batch = Batch([*entries(2, size=30_000), *numbered])
        full.client.config_set("maxmemory", 1)
        for _ in range(2):
            with pytest.raises(RedisError, match="maxmemory"):
                await batch.append(redis)
        assert await stored(redis, SENSORS[3]) == []
        full.client.config_set("maxmemory", 0)
        progress = await batch.append(redis)
        assert {each.spool: (each.stored, each.entries, each.repeated) for each in progress} == {
            spool: (2, 2, 0) for spool in SPOOLS
        }
        for sensor in SENSORS:
            assert [data.strip() for data in await stored(redis, sensor)] == [b"0", b"1", b"n1", b"n2"]

    try:
        run(cluster, test)
    finally:
        full.client.config_set("maxmemory", 0)


def test_without_replicas_nothing_counts_as_stored_that_is_to_have_one(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        batch = Batch([*entries(1), Numbered(SPOOLS[0], "maltrail", 0, 1, [b"n"])], replicas=1)
        for _ in range(2):
            with pytest.raises(records.NotReplicated, match="fewer than 1 replicas"):
                await batch.append(redis)
        assert await stored(redis, SENSORS[0]) == [b"0", b"n"], "once"

    run(cluster, test)


def test_a_stream_that_is_always_full_keeps_no_other_waiting(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        consumer = await consumer_of(redis)
        await records.append(redis, entries(1000, SENSORS[:1]))
        await records.append(redis, entries(1, SENSORS[1:]))
        found: list[Delivery] = []
        while {each.entry.sensor for each in found} < set(SENSORS):
            found += await consumer.read(1, 5)
        assert len(found) < 200
        await consumer.close()

    run(cluster, test)


def test_what_is_new_ends_the_wait_in_whichever_stream_it_is(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        consumer = await consumer_of(redis)
        assert await consumer.read(9, 0.01) == []
        for sensor in SENSORS:
            reading = asyncio.create_task(consumer.read(9, 20))
            await asyncio.sleep(0)
            await records.append(redis, entries(1, [sensor]))
            (found,) = await asyncio.wait_for(reading, 5)
            assert found.entry.sensor == sensor
        await consumer.close()

    run(cluster, test)


def test_who_waits_does_not_ask_in_a_loop(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        consumer = await consumer_of(redis)
        for _ in range(3):
            assert await consumer.read(9, 0.3) == []
        await consumer.close()

    run(cluster, test)
    # Once for what was pending, then once in each time.
    assert calls(cluster, "xreadgroup") <= 6 * records.PARTITIONS


def test_a_consumer_goes_on_with_what_it_had_not_acknowledged(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        before = await consumer_of(redis)
        await records.append(redis, entries(3))
        first = await everything(before)
        assert len(first) == 48
        await before.acknowledge([each for each in first if each.entry.timestamp == 1])
        again = await everything(await consumer_of(redis))
        assert sorted(each.entry.timestamp for each in again) == [0] * 16 + [2] * 16

    run(cluster, test)


def test_a_consumer_takes_what_a_dead_one_left(
    cluster: RedisCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def test(redis: Cluster) -> None:
        dead = await consumer_of(redis, "dead")
        await records.append(redis, entries(1))
        assert len(await everything(dead)) == 16
        monkeypatch.setattr(queues, "CLAIM_AFTER", 0.05)
        alive = await consumer_of(redis, "alive")
        left = set(SENSORS)
        while left:  # and what it has itself, again and again, after so short a time
            batch = await alive.read(7, 0.02)
            left -= {each.entry.sensor for each in batch}
            await alive.acknowledge(batch)
        await alive.close()

    run(cluster, test)


def test_a_queue_that_is_missing_is_named(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        consumer = Consumer(redis, "maltrail", "nowhere", "c")
        with pytest.raises(QueueMissing, match="nowhere"):
            await consumer.read(9, 0.01)
        await consumer.close()

    run(cluster, test)


def test_keys_are_asked_of_the_node_that_has_them_even_after_they_moved(cluster: RedisCluster) -> None:
    key = records.stream("8", 3)
    source = cluster.master_of(key)
    target = next(node for node in cluster.nodes if node is not source)
    slot = source.client.execute_command("CLUSTER KEYSLOT", key)

    async def test(redis: Cluster) -> None:
        await redis.set("d4:{3}:x", "before")
        await redis.delete("d4:{3}:x")
        move(cluster, slot, target)
        await redis.set("d4:{3}:x", "after")
        assert await redis.get("d4:{3}:x") == b"after"
        await redis.delete("d4:{3}:x")
        move(cluster, slot, source)
        batch = Batch([Entry(SENSORS[3], "8", 0, b"x"), *entries(1)])
        with pytest.raises(RedisError) as error:
            await batch.append(redis)
        assert redis_client.explain(error.value) == "its nodes change their parts (MOVED)"
        await batch.append(redis)
        assert await redis.xlen(key) == 1
        assert await stored(redis, SENSORS[4]) == [b"0"]

    run(cluster, test)


def test_keys_are_followed_while_their_slot_moves(cluster: RedisCluster) -> None:
    """What is not at the old node any more, or not yet anywhere, is at the new one."""
    old, new = records.stream("8", 3), records.stream("maltrail", 3)
    source = cluster.master_of(old)
    target = next(node for node in cluster.nodes if node is not source)
    slot = source.client.execute_command("CLUSTER KEYSLOT", old)

    async def test(redis: Cluster) -> None:
        await records.append(redis, [Entry(SENSORS[3], "8", 0, b"before")])
        begin_to_move(slot, source, target)
        await records.append(redis, [Entry(SENSORS[3], "8", 0, b"behind")])
        await records.append(redis, entries(2))
        assert await redis.xlen(old) == source.client.xlen(old) == 2
        assert await stored(redis, SENSORS[3]) == [b"0", b"1"]
        with pytest.raises(RedisError) as asked:
            source.client.xlen(new)
        assert redis_cluster.change(asked.value) == "ASK"
        assert await stored(redis, SENSORS[4]) == [b"0", b"1"]
        with pytest.raises(RedisError) as error:
            await Batch(entries(1), replicas=1).append(redis)
        assert redis_client.explain(error.value) == "its nodes change their parts (ASK)"
        source.client.execute_command("MIGRATE", "127.0.0.1", target.port, old, 0, 5000)
        move(cluster, slot, target)
        assert await redis.xlen(old) == await redis.xlen(new) == 2
        await redis.delete(old, new)

    try:
        run(cluster, test)
    finally:
        target.client.flushall()
        move(cluster, slot, source)


def begin_to_move(slot: int, source: Node, target: Node) -> None:
    """Has a slot be on its way from one node to another."""
    names = {node: node.client.execute_command("CLUSTER MYID").decode() for node in (source, target)}
    target.client.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[source])
    source.client.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[target])


def move(cluster: RedisCluster, slot: int, to: Node) -> None:
    """Gives an empty slot to another node, which is told first, and last to those that only watch."""
    name = to.client.execute_command("CLUSTER MYID").decode()
    for node in sorted(cluster.nodes, key=lambda node: node is not to):
        node.client.execute_command("CLUSTER SETSLOT", slot, "NODE", name)


def test_a_transaction_stays_in_one_slot(cluster: RedisCluster) -> None:
    async def test(redis: Cluster) -> None:
        async with redis.pipeline() as pipe:
            pipe.set("d4:{3}:a", 1)
            pipe.incr("d4:{3}:a")
            assert await pipe.execute() == [True, 2]
        async with redis.pipeline() as pipe:
            pipe.set("d4:{3}:b", 1)
            pipe.set("d4:{4}:b", 1)
            with pytest.raises(RedisError):
                await pipe.execute()
        assert not await redis.exists("d4:{3}:b")
        async with redis.pipeline(transaction=False) as pipe:
            for number in range(16):
                pipe.set(f"d4:{{{number}}}:c", number)
            assert await pipe.execute() == [True] * 16

    run(cluster, test)


def test_a_cluster_that_is_away_is_an_error_and_no_wait() -> None:
    async def test() -> None:
        redis = redis_client.connect("redis+cluster://127.0.0.1:1,127.0.0.1:2")
        with pytest.raises(RedisError):
            await records.append(redis, entries(1))
        with pytest.raises(RedisError):
            await redis.get("x")

    asyncio.run(test())


def test_one_redis_that_is_no_cluster_is_said_to_be_none(cluster: RedisCluster, tmp_path: Path) -> None:
    node = Node(tmp_path / "alone")
    node.daemon.start()

    async def test() -> None:
        redis = redis_client.connect(f"redis+cluster://127.0.0.1:{node.port}")
        with pytest.raises(RedisError, match="cluster support disabled"):
            await redis.get("x")

    try:
        asyncio.run(test())
    finally:
        node.client.close()
        node.daemon.stop()
